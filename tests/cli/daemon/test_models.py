"""Providers as the daemon's clients see them: their models, LMX's own words, and turns that they answer."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.operations import settings
from tests.cli.daemon.conftest import V3, body, kind
from tests.processes import Role, free_port
from tests.scripted import Scripted, chunk, says, scripted

Start = Callable[..., Role]
Connect = Callable[[Role], V3]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a daemon to start, where this process writes what a user would."""
    monkeypatch.setenv("OPTA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


async def test_the_models_of_all_that_answer_are_listed(
    start_daemon: Start, connect: Connect, lmx: Role, model: Scripted, home: Path
):
    model.models = ["gpt-mini", "org/large"]
    gone = {"url": f"http://127.0.0.1:{free_port()}", "kind": "anthropic"}
    settings.change({"providers": {"cloud": {"url": model.url}, "gone": gone}})
    v3 = connect(start_daemon(lmx_url=lmx.url, home=home))
    found = (await v3.http.get("/v3/models")).raise_for_status().json()
    own, *others = found["models"]
    assert (own["id"], own["provider"], own["context"] > 0) == ("opta-tiny", "lmx", True)
    assert own["loaded"] in (True, False)
    assert [(each["id"], each["provider"], each["context"], each["loaded"]) for each in others] == [
        ("cloud/gpt-mini", "cloud", None, None),
        ("cloud/org/large", "cloud", None, None),
    ]
    healthy = {each["name"]: (each["kind"], each["healthy"]) for each in found["providers"]}
    assert healthy == {"lmx": ("lmx", True), "cloud": ("openai", True), "gone": ("anthropic", False)}
    assert "cannot be reached" in next(each["problem"] for each in found["providers"] if each["problem"])


# What is asked below /v3/lmx, and the status and code of the refusal.
REFUSED = [
    ("prefix-cache?model=nobody", 404, "model_not_found"),
    ("prefix-cache?models=x", 400, "invalid_request"),
    ("health?model=x", 400, "invalid_request"),
    ("health?host=studio", 404, "unknown_provider"),
    ("shutdown", 404, "not_found"),
    ("..%2f..%2fadmin", 400, "invalid_path"),
]


async def test_what_lmx_says_of_itself_passes_through_and_nothing_else_is_asked(
    start_daemon: Start, connect: Connect, lmx: Role
):
    v3 = connect(start_daemon(lmx_url=lmx.url))
    health = (await v3.http.get("/v3/lmx/health")).raise_for_status().json()
    assert (health["service"], health["status"]) == ("lmx", "ok")
    models = (await v3.http.get("/v3/lmx/models?host=lmx")).raise_for_status().json()
    assert [each["id"] for each in models["data"]] == ["opta-tiny"]
    assert "data" in (await v3.http.get("/v3/lmx/prefix-cache")).raise_for_status().json()
    answers = [await v3.http.get(f"/v3/lmx/{path}") for path, *_ in REFUSED]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (status, code) for _, status, code in REFUSED
    ]
    assert "nobody" in answers[0].json()["detail"]


async def test_a_provider_added_while_the_daemon_runs_answers_with_its_key(
    start_daemon: Start, connect: Connect, home: Path
):
    async with scripted() as cloud:
        v3 = connect(start_daemon(lmx_url=f"http://127.0.0.1:{free_port()}", home=home))
        gone = await v3.http.get("/v3/lmx/health")
        assert (gone.status_code, gone.json()["code"]) == (502, "lmx_unreachable")
        assert "opta serve" in gone.json()["detail"]
        cloud.will(*says("from afar"))
        settings.change({"providers": {"cloud": {"url": cloud.url}}})
        (home / "keys.json").write_text(json.dumps({"cloud": "sk-secret"}))
        session = await v3.create(model="cloud/big")
        await v3.submit(session, "hi")
        done = body((await v3.settled(session))[-1])
        assert (done["type"], done["text"]) == ("turn.done", "from afar")
        assert "authorization: bearer sk-secret" in cloud.heads[-1]
        assert cloud.requests[-1]["model"] == "big"
    assert "sk-secret" not in v3.role.log.read_text()


async def test_reading_and_thinking_are_events_and_no_part_of_the_history(v3: V3, model: Scripted):
    thought = chunk(choices=[{"index": 0, "delta": {"reasoning_content": "Greet."}, "finish_reason": None}])
    model.will(b": reading 512/2000\n\n", thought, *says("Hello"))
    model.will(*says("Bye"))
    session = await v3.create()
    await v3.submit(session, "hi")
    live = await v3.settled(session)
    assert [kind(data) for data in live] == [
        "turn.queued", "turn.started", "turn.progress", "reasoning.delta", "reasoning.done",
        "text.delta", "text.done", "turn.done",
    ]  # fmt: skip
    progress = next(body(data) for data in live if kind(data) == "turn.progress")
    assert (progress["done"], progress["total"]) == (512, 2000)
    numbers = [json.loads(data)["seq"] for data in live]
    assert numbers == sorted(set(numbers))
    assert await v3.settled(session) == live
    await v3.submit(session, "bye")
    await v3.settled(session, numbers[-1])
    assert "Greet." not in json.dumps(model.requests[-1])
    assert [message["content"] for message in model.requests[-1]["messages"][1:]] == ["hi", "Hello", "bye"]
