"""From tokens to events: text whole, log-probabilities beside the text they belong to, ends told apart."""

from pathlib import Path

import pytest

from inference.request import Ended, Event, Generate, Plain, Text, ToolCall
from inference.runner.answer import Answer
from inference.runner.engine import Token
from inference.runner.engines.mlx.tokenizer import MlxTokenizer
from inference.runner.parsing.stream import Arguments, CallBegins, Parser, Piece, Through


@pytest.fixture(scope="module")
def tokenizer(models: Path) -> MlxTokenizer:
    return MlxTokenizer(models / "opta-tiny")


def answered(
    tokenizer: MlxTokenizer,
    tokens: list[int],
    finish: str = "length",
    parser: Parser | None = None,
    **wanted: object,
) -> list[Event]:
    """The events of an answer of `tokens`, whose last one carries `finish`, as far as it is not stopped."""
    answer = Answer(Generate(1, Plain(""), **wanted), 0, tokenizer, parser or Through())
    events: list[Event] = []
    for position, token in enumerate(tokens):
        last = position == len(tokens) - 1
        events += answer.add(Token(1, token, finish if last else None, 0, -float(position), [(token, 0.0)]))
        if answer.stopped:
            break
    return events


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def logged(events: list[Event]) -> list[bytes]:
    return [found.bytes for event in events if isinstance(event, Text) for found in event.logprobs]


def test_every_token_of_the_text_has_its_log_probability(tokenizer: MlxTokenizer):
    tokens = tokenizer.encode("the model answers, né 😀 so")
    events = answered(tokenizer, tokens, logprobs=1)
    assert text(events) == "the model answers, né 😀 so"
    assert b"".join(logged(events)).decode() == text(events)
    (first, *_) = [event for event in events if isinstance(event, Text)]
    assert (first.logprobs[0].logprob, first.logprobs[0].top[0].bytes) == (0.0, first.logprobs[0].bytes)


def test_a_character_cut_by_the_limit_is_shown_as_one_that_is_missing(tokenizer: MlxTokenizer):
    tokens = tokenizer.encode("😀")
    assert len(tokens) > 1
    events = answered(tokenizer, tokens[:-1], logprobs=0)
    assert text(events) == "\N{REPLACEMENT CHARACTER}"
    assert len(logged(events)) == len(tokens) - 1


def test_a_stop_string_leaves_neither_text_nor_log_probability(tokenizer: MlxTokenizer):
    tokens = tokenizer.encode("say model server now")
    events = answered(tokenizer, tokens, logprobs=0, stop=[" server"])
    assert text(events) == "say model"
    assert b"".join(logged(events)) == b"say model"
    assert events[-1] == Ended(1, "stop", 0, " server")


@pytest.mark.parametrize(("finish", "shown"), [("stop", "the"), ("length", "the model")])
def test_the_token_that_ends_an_answer_is_not_shown(tokenizer: MlxTokenizer, finish: str, shown: str):
    events = answered(tokenizer, tokenizer.encode("the model"), finish)
    assert text(events) == shown
    assert events[-1] == Ended(1, finish, 0)


class Calling:
    """A parser for which everything is a call."""

    thinking = False

    def __init__(self) -> None:
        self.begun = False

    def feed(self, text: str) -> list[Piece]:
        begins = [] if self.begun else [CallBegins(0, "look")]
        self.begun = True
        return [*begins, Arguments(0, text)]

    def end(self) -> list[Piece]:
        return []


@pytest.mark.parametrize(("finish", "reason"), [("stop", "tool_calls"), ("length", "length")])
def test_an_answer_that_calls_a_tool_says_so_unless_it_was_cut_short(
    tokenizer: MlxTokenizer, finish: str, reason: str
):
    events = answered(tokenizer, tokenizer.encode("{} "), finish, Calling())
    calls = [event for event in events if isinstance(event, ToolCall)]
    assert (calls[0].name, calls[0].index) == ("look", 0)
    assert calls[0].call_id
    assert all(call.call_id is None and call.name is None for call in calls[1:])
    assert events[-1] == Ended(1, reason, 0)
