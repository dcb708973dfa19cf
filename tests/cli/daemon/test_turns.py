"""The queue of turns: order, cancelling, retries, and every way a turn can fail."""

import asyncio
import json
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from cli.daemon.compaction import KEPT
from tests.cli.daemon.conftest import ENDINGS, V3, body, kind, until
from tests.processes import free_port
from tests.scripted import BREAK, Scripted, call, chunk, end, says, text


@pytest.fixture
def v3(standing_v3: V3) -> V3:
    """One daemon does for all these tests: each has sessions of its own."""
    return standing_v3


@pytest.fixture
def model(standing_model: Scripted) -> Scripted:
    return standing_model


def facts(seen: list[str]) -> list[tuple[str, str]]:
    """(turn, kind) of all but text."""
    return [(json.loads(data)["turn"], kind(data)) for data in seen if not kind(data).startswith("text")]


async def test_turns_of_a_session_run_one_after_the_other(v3: V3, model: Scripted):
    gate = asyncio.Event()
    model.will(text("one"), gate, end())
    model.will(*says("two"))
    model.will(*says("three"))
    session = await v3.create()
    turns = [await v3.submit(session, text) for text in ("a", "b", "c")]
    await until(v3.stream(session), "text.delta")
    assert len(model.requests) == 1
    gate.set()
    seen = await v3.settled(session, turns=3)
    assert [turn for turn, what in facts(seen) if what == "turn.started"] == turns
    assert [turn for turn, what in facts(seen) if what == "turn.done"] == turns
    assert [m["content"] for m in model.requests[2]["messages"][1:]] == ["a", "one", "b", "two", "c"]


async def test_a_request_begins_with_the_one_before_it(v3: V3, model: Scripted):
    session = await v3.create()
    for answer in ("one", "two", "three"):
        model.will(*says(answer))
        await v3.submit(session, f"say {answer}")
    await v3.settled(session, turns=3)
    before = [json.dumps(request["messages"]) for request in model.requests]
    assert all(later.startswith(earlier[:-1]) for earlier, later in pairwise(before))


async def test_sessions_run_side_by_side(v3: V3, model: Scripted):
    gate = asyncio.Event()
    model.will(text("slow"), gate, end())
    model.will(*says("quick"))
    slow, quick = await v3.create(), await v3.create()
    await v3.submit(slow, "a")
    await until(v3.stream(slow), "text.delta")
    await v3.submit(quick, "b")
    assert kind((await v3.settled(quick))[-1]) == "turn.done"
    gate.set()
    assert kind((await v3.settled(slow))[-1]) == "turn.done"


async def test_a_cancelled_turn_stops_the_model_and_keeps_what_it_said(v3: V3, model: Scripted):
    model.will(text("Half"), asyncio.Event())
    session = await v3.create()
    turn = await v3.submit(session, "go on for ever")
    await until(v3.stream(session), "text.delta")
    assert await v3.cancel(session, turn=turn) == [turn]
    await asyncio.wait_for(model.hung_up.wait(), 5)
    seen = await v3.settled(session)
    assert [kind(data) for data in seen[-2:]] == ["text.done", "turn.cancelled"]
    assert await v3.cancel(session) == []

    model.will(*says("ok"))
    await v3.submit(session, "and now?")
    await v3.settled(session, json.loads(seen[-1])["seq"])
    said = [(m["role"], m["content"]) for m in model.requests[1]["messages"][1:]]
    assert said == [("user", "go on for ever"), ("assistant", "Half"), ("user", "and now?")]


async def test_a_queued_turn_is_cancelled_without_a_trace_in_history(v3: V3, model: Scripted):
    gate = asyncio.Event()
    model.will(text("one"), gate, end())
    session = await v3.create()
    await v3.submit(session, "a")
    queued = await v3.submit(session, "b")
    await until(v3.stream(session), "text.delta")
    assert await v3.cancel(session, turn=queued) == [queued]
    gate.set()
    await v3.settled(session, turns=2)
    assert [m["content"] for m in (await v3.detail(session))["messages"]] == ["a", "one"]
    assert len(model.requests) == 1


async def test_cancel_without_a_turn_ends_all_of_the_session(v3: V3, model: Scripted):
    model.will(text("one"), asyncio.Event())
    session = await v3.create()
    turns = [await v3.submit(session, text) for text in ("a", "b", "c")]
    await until(v3.stream(session), "text.delta")
    assert sorted(await v3.cancel(session)) == sorted(turns)
    seen = await v3.settled(session, turns=3)
    assert sum(kind(data) == "turn.cancelled" for data in seen) == 3


async def test_a_turn_is_cancelled_before_its_first_word(v3: V3, model: Scripted):
    model.will(asyncio.Event())
    session = await v3.create()
    turn = await v3.submit(session, "a")
    await model.asked.wait()
    assert await v3.cancel(session) == [turn]
    await asyncio.wait_for(model.hung_up.wait(), 5)
    assert (await v3.detail(session))["messages"] == []


async def test_a_retried_submit_runs_once(v3: V3, model: Scripted):
    model.will(*says("ok"))
    session = await v3.create()
    same = [await v3.submit(session, "hi", id="t1") for _ in range(3)]
    assert same == ["t1"] * 3
    await v3.settled(session)
    assert await v3.submit(session, "hi", id="t1") == "t1"
    assert len(model.requests) == 1
    for fields in ({"text": "else"}, {"text": "hi", "model": "else"}):
        other = await v3.http.post(f"/v3/sessions/{session}/turns", json={"id": "t1", **fields})
        assert (other.status_code, other.json()["field"]) == (409, "id")


async def test_submits_at_once_all_run(v3: V3, model: Scripted):
    session = await v3.create()
    for _ in range(10):
        model.will(*says("ok"))
    turns = await asyncio.gather(*(v3.submit(session, f"{n}") for n in range(10)))
    seen = await v3.settled(session, turns=10)
    assert {turn for turn, what in facts(seen) if what == "turn.done"} == set(turns)


async def test_a_retried_create_makes_one_session(v3: V3):
    first = await v3.http.post("/v3/sessions", json={"id": "mine", "title": "One"})
    again = await v3.http.post("/v3/sessions", json={"id": "mine", "title": "Two"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["title"] == "One"


async def test_the_session_used_last_is_listed_first(v3: V3, model: Scripted):
    ids = [await v3.create() for _ in range(3)]
    model.will(*says("ok"))
    await v3.submit(ids[0], "hi")
    await v3.settled(ids[0])
    listed = (await v3.http.get("/v3/sessions")).json()["sessions"]
    assert [each["id"] for each in listed][:3] == [ids[0], ids[2], ids[1]]


async def test_a_turn_may_name_its_model(v3: V3, model: Scripted):
    model.will(*says("ok"))
    session = await v3.create(model="small")
    await v3.submit(session, "hi", model="large")
    started = body((await v3.settled(session))[1])
    assert (started["type"], started["model"]) == ("turn.started", "large")
    assert model.requests[0]["model"] == "large"


async def test_a_call_of_a_tool_there_is_not_is_told_to_the_model(v3: V3, model: Scripted):
    model.will(call("bash", '{"command": "ls"}'), end("tool_calls"))
    model.will(*says("I cannot."))
    session = await v3.create()
    await v3.submit(session, "list the files")
    seen = await v3.settled(session)
    assert [kind(data) for data in seen if kind(data) != "text.delta"][2:] == [
        "tool.started", "tool.done", "text.done", "turn.done",
    ]  # fmt: skip
    assert model.requests[1]["messages"][2:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call_a",
                    "type": "function",
                    "function": {"name": "bash", "arguments": '{"command": "ls"}'},
                }
            ],
        },
        {"role": "tool", "content": body(seen[3])["result"], "tool_call_id": "call_a"},
    ]
    assert "There is no tool 'bash'" in body(seen[3])["result"]


async def test_a_turn_reads_the_folder_of_its_session(v3: V3, model: Scripted, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("Buy milk.\n")
    model.will(call("read_file", '{"path": "notes.txt"}'), end("tool_calls"))
    model.will(*says("Milk."))
    session = await v3.create(cwd=str(tmp_path))
    await v3.submit(session, "what do I need?")
    seen = await v3.settled(session)
    assert "Buy milk." in body(seen[3])["result"]
    assert body(seen[2])["mutates"] is False
    assert "read_file" in {tool["function"]["name"] for tool in model.requests[0]["tools"]}


async def test_a_turn_that_goes_in_circles_is_stopped_with_a_reason(v3: V3, model: Scripted, tmp_path: Path):
    for _ in range(20):
        model.will(call("list_dir", "{}"), end("tool_calls"))
    session = await v3.create(cwd=str(tmp_path))
    turn = await v3.submit(session, "look")
    seen = await until(v3.stream(session), "turn.stopped")
    stopped = body(seen[-1])
    assert (stopped["reason"], json.loads(seen[-1])["turn"]) == ("loop", turn)
    assert stopped["message"]
    assert stopped["hint"]
    started, done = ([d for d in seen if kind(d) == f"tool.{what}"] for what in ("started", "done"))
    assert len(started) == len(done) == len({body(data)["call"] for data in started})
    model.answers.clear()
    model.will(*says("ok"))
    retried = await v3.http.post(f"/v3/sessions/{session}/turns", json={"id": turn, "text": "look"})
    assert retried.json()["state"] == "stopped"
    await v3.submit(session, "and now?")
    await until(v3.stream(session, json.loads(seen[-1])["seq"]), "turn.done")


async def steer(v3: V3, session: str, turn: str, text: str, **fields: str) -> httpx.Response:
    return await v3.http.post(f"/v3/sessions/{session}/turns/{turn}/steer", json={"text": text, **fields})


async def test_text_added_to_the_last_answer_gets_one_more(v3: V3, model: Scripted):
    gate = asyncio.Event()
    model.will(text("Let me"), gate, text(" see."), end())
    model.will(*says("Blue."))
    session = await v3.create()
    turn = await v3.submit(session, "which colour?")
    await until(v3.stream(session), "text.delta")
    given = [await steer(v3, session, turn, "not red", id="s1") for _ in range(2)]
    assert [answer.status_code for answer in given] == [202, 202]
    assert given[0].json() == given[1].json()
    assert (await steer(v3, session, turn, "not green", id="s1")).json()["field"] == "id"
    assert (await steer(v3, session, turn, "nor green")).status_code == 202
    gate.set()
    seen = await v3.settled(session)
    assert [kind(data) for data in seen if not kind(data).endswith(".delta")] == [
        "turn.queued", "turn.started", "turn.steered", "turn.steered", "text.done",
        "steer.taken", "steer.taken", "text.done", "turn.done",
    ]  # fmt: skip
    assert given[0].json()["seq"] == next(json.loads(d)["seq"] for d in seen if kind(d) == "turn.steered")
    said = [(m["role"], m["content"]) for m in model.requests[1]["messages"][1:]]
    assert said == [("user", "which colour?"), ("assistant", "Let me see."), ("user", "not red\n\nnor green")]
    kept = [(m["role"], m["content"]) for m in (await v3.detail(session))["messages"]]
    assert kept == [*said, ("assistant", "Blue.")]


async def test_text_added_before_a_cancel_is_read_by_the_next_turn(v3: V3, model: Scripted):
    model.will(text("Half"), asyncio.Event())
    model.will(*says("ok"))
    session = await v3.create()
    turn = await v3.submit(session, "a")
    await until(v3.stream(session), "text.delta")
    assert (await steer(v3, session, turn, "b")).status_code == 202
    await v3.cancel(session)
    await v3.submit(session, "c")
    await v3.settled(session, turns=2)
    said = [(m["role"], m["content"]) for m in model.requests[1]["messages"][1:]]
    assert said == [("user", "a"), ("assistant", "Half"), ("user", "b\n\nc")]


async def test_a_turn_that_does_not_run_cannot_be_steered(v3: V3, model: Scripted):
    gate = asyncio.Event()
    model.will(text("one"), gate, end())
    model.will(*says("two"))
    session = await v3.create()
    first, queued = [await v3.submit(session, text) for text in ("a", "b")]
    await until(v3.stream(session), "text.delta")
    waiting = await steer(v3, session, queued, "more")
    assert (waiting.status_code, "queue" in waiting.json()["detail"]) == (409, True)
    gate.set()
    seen = await v3.settled(session, turns=2)
    over = await steer(v3, session, first, "more")
    assert (over.status_code, "of its own" in over.json()["detail"]) == (409, True)
    assert (await steer(v3, session, "nothing", "more")).json()["code"] == "unknown_turn"
    assert (await steer(v3, "nowhere", first, "more")).json()["code"] == "unknown_session"
    assert await v3.events(session) == [json.loads(data) for data in seen]


async def test_a_client_that_has_not_seen_the_newest_fact_is_told_so(v3: V3, model: Scripted):
    model.will(*says("one"))
    model.will(*says("two"))
    session = await v3.create()
    turns = f"/v3/sessions/{session}/turns"
    first = {"text": "a", "id": "t1", "last_seen_seq": 0}
    assert (await v3.http.post(turns, json=first)).status_code == 202
    last = json.loads((await v3.settled(session))[-1])["seq"]
    behind = await v3.http.post(turns, json={"text": "b", "last_seen_seq": last - 1})
    assert (behind.status_code, behind.json()["code"], behind.json()["seq"]) == (409, "behind", last)
    assert json.loads((await v3.settled(session))[-1])["seq"] == last
    assert (await v3.http.post(turns, json=first)).json()["id"] == "t1"
    assert (await v3.http.post(turns, json={"text": "b", "last_seen_seq": last})).status_code == 202
    await v3.settled(session, turns=2)
    assert len(model.requests) == 2


async def test_the_pieces_of_old_turns_go_and_their_messages_stay(v3: V3, model: Scripted):
    session, live = await v3.create(), []
    for number in range(KEPT + 4):
        model.will(*says(f"{number}"))
        await v3.submit(session, f"turn {number}")
        live += await v3.settled(session, json.loads(live[-1])["seq"] if live else 0)
    begins = [place for place, data in enumerate(live) if kind(data) == "turn.queued"]
    replay = await v3.settled(session, turns=KEPT + 4)
    # The end of the last turn but one had this done; that of the last one may be on its way.
    old, recent = live[: begins[3]], live[begins[4] :]
    facts = [data for data in old if kind(data) != "text.delta"]
    assert replay[: len(facts)] == facts
    assert replay[-len(recent) :] == recent
    middle = json.loads(old[4])["seq"]
    going = {json.loads(data)["seq"] for data in live[begins[3] : begins[4]] if kind(data) == "text.delta"}
    left = [each["seq"] for each in await v3.events(session, middle)]
    there = [json.loads(data)["seq"] for data in replay]
    assert [seq for seq in left if seq not in going] == [
        seq for seq in there if seq > middle and seq not in going
    ]


REFUSED = b'{"error": {"message": "No model x.", "type": "invalid_request_error", "code": "model_not_found"}}'
DIED = chunk(error={"message": "The runner died.", "type": "server_error", "code": "runner_died"})


@pytest.mark.parametrize(
    ("steps", "status", "code"),
    [
        ([REFUSED], 404, "model_not_found"),
        ([b'{"error": {"message": "No.", "code": null}}'], 400, "upstream_refused"),
        ([b"<html>Bad gateway"], 502, "upstream_error"),
        ([text("Half"), DIED], 200, "runner_died"),
        ([text("Half")], 200, "upstream_truncated"),
        ([text("Half"), BREAK], 200, "upstream_truncated"),
        ([text("Half"), b"data: {nonsense\n\n"], 200, "upstream_error"),
    ],
)
async def test_a_turn_that_fails_says_why_and_the_session_goes_on(
    v3: V3, model: Scripted, steps, status, code
):
    model.will(*steps, status=status)
    session = await v3.create()
    await v3.submit(session, "hi")
    seen = await v3.settled(session)
    failed = body(seen[-1])
    assert (failed["type"], failed["code"]) == ("turn.failed", code)
    assert failed["message"]
    assert failed["hint"]
    model.will(*says("better"))
    await v3.submit(session, "again")
    assert kind((await v3.settled(session, json.loads(seen[-1])["seq"]))[-1]) == "turn.done"
    half = [("user", "hi"), ("assistant", "Half")] if text("Half") in steps else []
    said = [(m["role"], m["content"]) for m in model.requests[1]["messages"][1:]]
    assert said == [*half, ("user", "again")]


@pytest.mark.parametrize("host", ["127.0.0.1", "300.1.1.1"])
async def test_an_lmx_that_is_not_there_is_named_with_how_to_start_it(start_daemon, connect, host: str):
    url = f"http://{host}:{free_port()}"
    v3 = connect(start_daemon(lmx_url=url))
    session = await v3.create()
    await v3.submit(session, "hi")
    failed = body((await v3.settled(session))[-1])
    assert (failed["type"], failed["code"]) == ("turn.failed", "lmx_unreachable")
    assert url in failed["message"]
    assert "opta serve" in failed["hint"]


async def test_a_defect_of_ours_ends_the_turn_and_not_the_daemon(v3: V3, model: Scripted):
    model.will(call("x", "[" * 100_000), end("tool_calls"))
    session = await v3.create()
    await v3.submit(session, "hi")
    assert kind((await v3.settled(session))[-1]) in ENDINGS
    model.will(*says("ok"))
    await v3.submit(session, "hi")
    await v3.settled(session, turns=2)
