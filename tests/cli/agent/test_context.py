"""A conversation and its model's window: what is told always fits, and can be told again."""

import itertools
import json
import random
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.agent import context
from cli.agent.model import Models
from cli.clients.lmx import LMX
from cli.protocol.events import ContextCompacted, ContextWarning
from cli.protocol.failures import TOO_LONG, Failure
from cli.protocol.messages import Message, ToolCall
from tests.scripted import Answer, Scripted, Window, chunk, end, scripted, text

STEPS = 200
STOP = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
ASKED = "Find the bug in parser.py and mend it."
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Use {name} on a file of the project, and see what comes of it.",
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
        },
    }
    for name in ("read", "write", "search", "run")
]


def tokens(request: dict[str, Any]) -> int:
    """About as a tokenizer would: four letters or one sign each, and what a template adds."""
    said = [*request["messages"], *request.get("tools", ())]
    words = json.dumps(said, ensure_ascii=False)
    return len(words) // 4 + words.count('"') // 2 + 8 * len(said)


class Talk:
    """A conversation as the loop has it: the messages only grow, and what the model yields is stored."""

    def __init__(self, server: Scripted, client: LMX, seed: int = 0) -> None:
        self.server = server
        self.client = client
        self.model = Models(client).of("auto")
        self.random = random.Random(seed)
        self.messages = [
            Message(role="system", content="You are Opta. " * 20),
            Message(role="user", content=ASKED),
        ]
        self.facts: list[ContextCompacted | ContextWarning] = []
        self.compacted_at: list[int] = []
        server.improvise = self.improvise

    def improvise(self, request: dict[str, Any]) -> Answer:
        """An honest server's answer: it says how much it has read, and no more of it than it says."""
        window = self.server.window
        count = tokens(request)
        if window and count >= window.tokens:
            return window.refuse(count)
        return Answer([text("I look at the next file. " * self.random.randint(0, 6)), end("stop", count)])

    async def ask(self) -> str:
        said = ""
        async for piece in self.model.chat(self.messages, TOOLS):
            if isinstance(piece, str):
                said += piece
            elif isinstance(piece, ContextCompacted | ContextWarning):
                self.facts.append(piece)
        return said

    async def step(self, number: int) -> None:
        """One request, its calls, and their results of any size."""
        before = len(self.facts)
        said = await self.ask()
        self.compacted_at += [number] * (len(self.facts) - before)
        calls = [
            ToolCall(id=f"c{number}_{place}", name="read", arguments=json.dumps({"path": f"f{number}.py"}))
            for place in range(self.random.choice((1, 1, 1, 2, 3)))
        ]
        self.messages.append(Message(role="assistant", content=said, calls=tuple(calls)))
        self.messages += [Message(role="tool", content=self.result(), call=call.id) for call in calls]

    def result(self) -> str:
        """From a word to many times the smallest window."""
        words = int(10 ** self.random.uniform(0, 3.5))
        return " ".join(self.random.choices(("def", "return", "value", "self.found"), k=words))


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as script:
        yield script


@pytest.fixture
async def client(server: Scripted) -> AsyncIterator[LMX]:
    client = LMX(server.url)
    yield client
    await client.close()


def asked(server: Scripted) -> list[dict[str, Any]]:
    """The requests of the conversation, without those that the daemon made for itself."""
    return [request for request in server.requests if "tools" in request]


@pytest.mark.parametrize(
    ("window", "counts"),
    [(4096, True), (8192, True), (16384, True), (32768, True), (4096, False), (32768, False)],
)
async def test_two_hundred_steps_fit_with_at_most_one_compaction_in_eight(
    server: Scripted, client: LMX, window: int, counts: bool
):
    server.window = Window(window, tokens, counts=counts)
    talk = Talk(server, client, seed=window)
    for number in range(STEPS):
        await talk.step(number)
    told = asked(server)
    assert len(told) == STEPS  # none was refused and sent again
    assert max(tokens(request) for request in told) < window * 7 // 8  # and the answer has its room
    assert len(talk.compacted_at) >= 1
    gaps = [later - earlier for earlier, later in zip(talk.compacted_at, talk.compacted_at[1:], strict=False)]
    assert min(gaps, default=8) >= 8
    assert all(fact.after < fact.before <= 10 * window for fact in talk.facts)
    assert ASKED in json.dumps(told[-1]["messages"])


async def test_a_window_that_nobody_tells_is_learnt_from_the_refusal(server: Scripted, client: LMX):
    server.window = Window(4096, tokens, told=False, counts=False)
    talk = Talk(server, client)
    for number in range(30):
        await talk.step(number)
    refused = [request for request in asked(server) if tokens(request) >= 4096]
    assert len(refused) == 1
    assert talk.facts[0].window == 4096


async def test_a_refusal_in_the_midst_of_reading_is_one(server: Scripted, client: LMX):
    """A server that streams says it under a 200, behind how far it has read."""
    server.window = Window(4096, tokens, told=False, counts=False)
    talk = Talk(server, client)
    honest = server.improvise
    assert honest

    def answer(request: dict[str, Any]) -> Answer:
        said = honest(request)
        if said.status == 200:
            return said
        return Answer(
            [b": reading 1/9\n\n", *(b"data: " + bytes(step or b"") + b"\n\n" for step in said.steps)]
        )

    server.improvise = answer
    for number in range(30):
        await talk.step(number)
    assert len([request for request in asked(server) if tokens(request) >= 4096]) == 1
    assert talk.facts[0].window == 4096


async def test_a_server_that_cuts_without_a_word_is_found_out_and_said(server: Scripted, client: LMX):
    talk = cutting(server, client, knows=True)
    for number in range(12):
        await talk.step(number)
    warnings = [fact for fact in talk.facts if isinstance(fact, ContextWarning)]
    assert [warning.window for warning in warnings] == [4000]
    assert "4000 of about" in warnings[0].message
    # The probes are no part of the conversation, and from then on all that is sent is read.
    cut = [request for request in asked(server) if tokens(request) > 4000]
    assert 1 <= len(cut) <= 2  # that a request is no longer than the one it extends, says it at the latest


async def test_a_server_that_never_says_how_much_it_read_is_asked_seldom(server: Scripted, client: LMX):
    talk = cutting(server, client, knows=True, at=400_000, counts=False)
    for number in range(30):
        await talk.step(number)
    longest = max(tokens(request) for request in asked(server))
    assert longest > 10_000
    assert len(server.requests) - len(asked(server)) <= 6
    assert not any(isinstance(fact, ContextWarning) for fact in talk.facts)


async def test_one_that_never_says_it_and_cuts_is_found_out(server: Scripted, client: LMX):
    talk = cutting(server, client, knows=True, counts=False)
    for number in range(12):
        await talk.step(number)
    warnings = [fact for fact in talk.facts if isinstance(fact, ContextWarning)]
    assert warnings
    assert "less than the about" in warnings[0].message
    assert tokens(asked(server)[-1]) < 4_000


async def test_a_model_too_small_to_repeat_a_word_accuses_no_server(server: Scripted, client: LMX):
    talk = cutting(server, client, knows=False)
    for number in range(8):
        await talk.step(number)
    assert not any(isinstance(fact, ContextWarning) for fact in talk.facts)


def cutting(server: Scripted, client: LMX, *, knows: bool, at: int = 4000, counts: bool = True) -> Talk:
    """A talk with a server that drops the oldest messages beyond some tokens, as Ollama does.

    It says how many it has read, if it `counts`.
    """
    server.window = Window(at, tokens, told=False, counts=False)
    talk = Talk(server, client, seed=7)

    def answer(request: dict[str, Any]) -> Answer:
        kept = request["messages"]
        while tokens({"messages": kept}) > at and len(kept) > 1:
            kept = kept[1:]
        found = re.search(r"code word is (\w+)", json.dumps(kept))
        said = found[1] if found and knows and "code word" in kept[-1]["content"] else "I see."
        return Answer([text(said), end("stop", min(at, tokens(request))) if counts else STOP])

    server.improvise = answer
    return talk


async def test_notes_are_made_of_first_words_when_the_model_fails_at_them(server: Scripted, client: LMX):
    server.window = Window(4096, tokens)
    talk = Talk(server, client)
    honest = server.improvise
    assert honest

    def answer(request: dict[str, Any]) -> Answer:
        return honest(request) if "tools" in request else Answer([b"{}"], 500)

    server.improvise = answer
    for number in range(40):
        await talk.step(number)
    notes = [fact for fact in talk.facts if isinstance(fact, ContextCompacted) and fact.summary]
    assert {fact.made for fact in notes} == {"digest"}
    assert ASKED in notes[-1].summary


async def test_a_summary_that_goes_on_for_ever_is_cut(server: Scripted, client: LMX):
    server.window = Window(4096, tokens)
    talk = Talk(server, client)
    honest = server.improvise
    assert honest
    endless = Answer([text("so on " * 9000), end()])
    server.improvise = lambda request: honest(request) if "tools" in request else endless
    for number in range(40):
        await talk.step(number)
    assert max(tokens(request) for request in asked(server)) < 4096 * 7 // 8


async def test_a_message_too_long_for_any_request_is_refused_with_the_window(server: Scripted, client: LMX):
    server.window = Window(4096, tokens)
    talk = Talk(server, client)
    talk.messages[-1] = Message(role="user", content="word " * 9000)
    with pytest.raises(Failure) as failed:
        await talk.ask()
    assert failed.value.code == TOO_LONG
    assert "4096 tokens" in failed.value.message
    assert asked(server) == []


async def test_a_restart_makes_the_same_requests_again(server: Scripted, client: LMX):
    server.window = Window(8192, tokens)
    talk = Talk(server, client)
    for number in range(40):
        await talk.step(number)
    last = [fact for fact in talk.facts if isinstance(fact, ContextCompacted)][-1]
    await talk.ask()
    talk.model = Models(client).of("auto", ContextCompacted.model_validate_json(last.model_dump_json()))
    await talk.ask()
    assert server.requests[-1] == server.requests[-2]


words = st.text(max_size=400)
results = st.lists(words, min_size=1, max_size=3)


@given(st.lists(st.tuples(words, results), max_size=12), st.data())
def test_what_is_told_only_grows_and_every_call_keeps_its_result(
    rounds: list[tuple[str, list[str]]], data: st.DataObject
):
    said = [Message(role="system", content="Be brief."), Message(role="user", content=ASKED)]
    for number, (word, answers) in enumerate(rounds):
        calls = tuple(ToolCall(id=f"{number}_{place}", name="read") for place in range(len(answers)))
        said.append(Message(role="assistant", content=word, calls=calls))
        said += [
            Message(role="tool", content=each, call=call.id)
            for call, each in zip(calls, answers, strict=True)
        ]
    starts = context.groups(said[1:])
    through, masked = sorted(data.draw(st.lists(st.sampled_from(starts), min_size=2, max_size=2)))
    room = data.draw(st.integers(-100, 20_000))
    fact = ContextCompacted(
        summary="Notes.", through=through, masked=masked, room=room,
        messages=masked + 1, before=2, after=1, window=4096, exact=True,
    )  # fmt: skip
    whole = context.view(said, fact)
    for upto in range(masked + 2, len(said) + 1):
        told = context.view(said[:upto], fact)
        assert told == whole[: len(told)]
    calls = [call.id for message in whole for call in message.calls]
    assert calls == [message.call for message in whole if message.role == "tool"]


@given(st.text(), st.integers(0, 500))
def test_a_cut_text_keeps_to_its_size_and_says_so(words: str, size: int):
    short = context.cut(words, size)
    assert short == words or len(short.encode()) <= max(size, context.LINE)


roles = st.lists(st.sampled_from(["tool", "said", "asked"]), max_size=12)


@given(roles, st.booleans())
def test_the_user_never_speaks_right_behind_a_result(kinds: list[str], compacted: bool):
    said = [Message(role="user", content=ASKED)]
    for number, kind in enumerate(kinds):
        if kind == "tool":
            call = ToolCall(id=str(number), name="read")
            said += [
                Message(role="assistant", content="", calls=(call,)),
                Message(role="tool", content="x", call=call.id),
            ]
        elif kind == "said":
            said.append(Message(role="assistant", content="So."))
        elif said[-1].role != "user":
            said.append(Message(role="user", content="And?"))
    fact = ContextCompacted(
        summary="Notes.", through=1, masked=1, room=900, messages=1, before=2, after=1, window=99, exact=True
    )
    for upto in range(1, len(said) + 1):
        told = context.view(said[:upto], fact if compacted and upto > 1 else None)
        pairs = [(one.role, other.role) for one, other in itertools.pairwise(told)]
        assert ("tool", "user") not in pairs
        assert told[-1].role == said[upto - 1].role
