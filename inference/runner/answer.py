"""One choice of one answer, from its tokens to its events."""

from collections.abc import Iterator
from secrets import token_hex

from inference.request import Alternative, Ended, Event, Generate, Logprob, Reason, Reasoning, Text, ToolCall
from inference.runner.engine import Token
from inference.runner.parsing.stream import Arguments, CallBegins, Content, Parser, Piece, Thought
from inference.runner.text import Stops
from inference.runner.tokenizer import Tokenizer


class Answer:
    """`add` every token of one job; the events that come back are those of one choice of a request."""

    def __init__(self, wanted: Generate, choice: int, tokenizer: Tokenizer, parser: Parser) -> None:
        self.id, self.choice = wanted.id, choice
        self.tokenizer, self.parser = tokenizer, parser
        self.detokenizer = tokenizer.detokenizer()
        self.stops = Stops(wanted.stop)
        self.wants_logprobs = wanted.logprobs is not None
        # Of tokens whose text is not out yet.
        self.logprobs: list[Logprob] = []
        self.completion_tokens = self.reasoning_tokens = self.cached_tokens = 0
        self.called = False

    @property
    def stopped(self) -> bool:
        """Whether a stop string ended it, which the model does not know."""
        return self.stops.stopped is not None

    def add(self, token: Token) -> Iterator[Event]:
        """The events that one token brings; the token that ends an answer has no text."""
        self.completion_tokens += 1
        self.cached_tokens = token.cached_tokens
        if token.finish != "stop":
            if self.wants_logprobs:
                self.logprobs.append(self.logprob(token))
            self.detokenizer.add_token(token.token)
            yield from self.say(self.stops.feed(self.detokenizer.last_segment))
        self.reasoning_tokens += self.parser.thinking
        if token.finish or self.stopped:
            yield from self.end("length" if token.finish == "length" and not self.stopped else "stop")

    def say(self, text: str) -> Iterator[Event]:
        for piece in self.parser.feed(text) if text else ():
            yield self.event(piece)

    def end(self, reason: Reason) -> Iterator[Event]:
        if not self.stopped:
            self.detokenizer.finalize()
            rest = self.stops.feed(self.detokenizer.last_segment)
            yield from self.say(rest if self.stopped else rest + self.stops.flush())
        for piece in self.parser.end():
            yield self.event(piece)
        if self.called and reason == "stop":
            reason = "tool_calls"
        yield Ended(self.id, reason, self.choice, self.stops.stopped)

    def event(self, piece: Piece) -> Event:
        # Those of tokens that only closed the reasoning or a call belong to no text.
        logprobs, self.logprobs = self.logprobs, []
        match piece:
            case Content():
                return Text(self.id, piece.text, self.choice, logprobs)
            case Thought():
                return Reasoning(self.id, piece.text, self.choice)
            case CallBegins():
                self.called = True
                name = piece.id or f"call_{token_hex(12)}"
                return ToolCall(self.id, piece.call, name, piece.name, choice=self.choice)
            case Arguments():
                return ToolCall(self.id, piece.call, arguments=piece.text, choice=self.choice)

    def logprob(self, token: Token) -> Logprob:
        piece = self.tokenizer.piece
        top = [Alternative(piece(other), value) for other, value in token.top]
        return Logprob(piece(token.token), token.logprob, top)
