"""The prefix cache as clients and operators of LMX see it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import processes
from tests.inference import chat
from tests.inference.runner.mlx import folders
from tests.processes import Role, wait_until

SYSTEM = "You keep a lighthouse. " + "The sea is wide and the night is long. " * 10
QUESTION = {"role": "user", "content": "Which ships pass tonight, and where do they go?"}
TOOL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def system(text: str = SYSTEM) -> dict[str, str]:
    return {"role": "system", "content": text}


@pytest.fixture(scope="module")
def both(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: opta-tiny, and one whose state cannot be cut back."""
    folder = tmp_path_factory.mktemp("both")
    (folder / "opta-tiny").symlink_to(models / "opta-tiny")
    folders.write(folder / "hybrid", models / "opta-tiny", folders.HYBRID)
    return folder


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory, both: Path) -> Callable[..., Role]:
    """start(home=…): the same home twice is the same LMX started again."""
    yield from starting(tmp_path_factory, both)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, both: Path) -> Role:
    for start in starting(tmp_path_factory, both):
        yield start()


def starting(tmp_path_factory: pytest.TempPathFactory, both: Path):
    started: list[Role] = []

    def start(home: Path | None = None, **env: str) -> Role:
        started.append(processes.lmx(home or tmp_path_factory.mktemp("lmx"), both, **env))
        return started[-1]

    yield start
    for role in started:
        role.stop()


def ask(role: Role, *messages: dict[str, Any], model: str = "opta-tiny") -> dict[str, Any]:
    return chat.answer(role.url, model=model, messages=list(messages))


def cached(answer: dict[str, Any]) -> int:
    found: int = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    return found


def prompt(answer: dict[str, Any]) -> int:
    found: int = answer["usage"]["prompt_tokens"]
    return found


def said(answer: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": answer["choices"][0]["message"]["content"]}


def report(role: Role, model: str = "opta-tiny") -> dict[str, Any]:
    response = httpx.get(f"{role.url}/admin/prefix-cache", params={"model": model}, timeout=30)
    assert response.status_code == 200, response.text
    (found,) = response.json()["data"]
    return dict(found)


def files(role: Role) -> set[Path]:
    return set((role.home / "lmx" / "prefixes").glob("*/*.safetensors"))


def test_the_next_turn_reads_only_what_is_new(running):
    first = ask(running, system(), QUESTION)
    second = ask(running, system(), QUESTION, said(first), {"role": "user", "content": "And then?"})
    assert cached(second) >= prompt(first)


def test_a_prompt_asked_again_is_answered_the_same(running):
    first = ask(running, system("Again. " + SYSTEM), QUESTION)
    again = ask(running, system("Again. " + SYSTEM), QUESTION)
    assert (cached(first) < 20, cached(again)) == (True, prompt(first) - 1)
    assert said(again) == said(first)


def test_it_says_why_a_changed_system_prompt_was_read_anew(running):
    ask(running, system("It is 14:02 now. " + SYSTEM), QUESTION)
    answer = ask(running, system("It is 14:03 now. " + SYSTEM), QUESTION)
    found = report(running)
    newest = found["lookups"][0]
    assert (newest["prompt_tokens"], newest["cached_tokens"]) == (prompt(answer), cached(answer))
    assert newest["differs_at"] == newest["cached_tokens"] < 20
    assert "14:02 now." in newest["kept_text"] and "14:03 now." in newest["asked_text"]
    assert newest["reason"] == f"differs at token {newest['differs_at']}: kept '02 now. ' asked '03 now. '"
    assert 0 < found["bytes"] <= found["budget_bytes"]


def test_it_tells_of_loaded_models_alone_and_of_no_disk_where_there_is_none(start):
    role = start(LMX_PREFIX_DISK_MB="0")
    assert httpx.get(f"{role.url}/admin/prefix-cache", timeout=30).json() == {"data": []}
    unknown = httpx.get(f"{role.url}/admin/prefix-cache", params={"model": "nobody"}, timeout=30)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    ask(role, system(), QUESTION)
    (found,) = httpx.get(f"{role.url}/admin/prefix-cache", timeout=30).json()["data"]
    assert (found["model"], found["lookups"][0]["reason"]) == ("opta-tiny", "nothing is kept yet")
    assert found["disk_budget_bytes"] == 0
    assert not (role.home / "lmx" / "prefixes").exists()


def test_a_restart_finds_what_the_disk_kept_unless_it_rotted(start):
    role = start()
    whole, rotten = ask(role, system(), QUESTION), ask(role, system("Brief. " + SYSTEM[:200]), QUESTION)
    role.stop()
    shorter, _ = sorted(files(role), key=lambda file: file.stat().st_size)
    turn_one_bit(shorter)
    role = start(role.home)
    again, anew = ask(role, system(), QUESTION), ask(role, system("Brief. " + SYSTEM[:200]), QUESTION)
    assert (cached(again), said(again)) == (prompt(whole) - 1, said(whole))
    assert (cached(anew) < 20, said(anew)) == (True, said(rotten))
    assert (
        role.log.read_text().count(f"{shorter} cannot be used as a kept prompt prefix, and is removed") == 1
    )


def turn_one_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_what_memory_has_no_room_for_goes_to_disk_within_its_budget(start):
    role = start(LMX_PREFIX_CACHE_MB="1", LMX_PREFIX_DISK_MB="1")
    for number in range(6):
        answer = ask(role, system(f"{number} {SYSTEM[:150]}"), QUESTION)
        # Two fit into a MiB, at 4 KiB of keys and values per token.
        assert 1024 / 3 < 4 * (prompt(answer) + 12) < 1024 / 2
    wait_until(lambda: report(role)["disk_entries"] == 2, "the disk to be as full as it may be")
    assert sum(file.stat().st_size for file in files(role)) <= 1 << 20
    assert report(role)["entries"] == 2


def test_an_idle_model_writes_what_it_keeps(running):
    ask(running, system("Idle. " + SYSTEM), QUESTION)
    wait_until(lambda: report(running)["disk_entries"], "an entry on disk")
    assert files(running)


def test_a_state_that_cannot_be_cut_is_reused_from_its_checkpoints(running):
    def turn(*messages: dict[str, Any]) -> dict[str, Any]:
        return ask(running, *messages, model="hybrid")

    first = turn(system(), QUESTION)
    assert cached(first) == 0
    stranger = turn(system(), {"role": "user", "content": "Is the lamp lit?"})
    assert cached(stranger) > 90
    again = turn(system(), QUESTION)
    assert prompt(again) - cached(again) < 8
    assert said(again) == said(first)
    called = {"role": "assistant", "content": None, "tool_calls": [TOOL]}
    result = {"role": "tool", "tool_call_id": "1", "content": "Two ships, both for the north."}
    looked = turn(system(), QUESTION, called, result)
    assert cached(looked) > cached(stranger)
    after = turn(system(), QUESTION, called, result, said(looked), {"role": "user", "content": "Thanks."})
    assert cached(after) >= prompt(looked) - 8


def test_it_says_that_a_state_cannot_be_cut(running):
    ask(running, system("A" + SYSTEM), QUESTION, model="hybrid")
    ask(running, system("A" + SYSTEM[:150]), QUESTION, model="hybrid")
    assert "the model's state cannot be cut back (kept " in report(running, "hybrid")["lookups"][0]["reason"]
