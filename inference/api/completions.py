"""`POST /v1/completions`: OpenAI's older API, which continues texts and tokens as they are."""

import codecs
import secrets
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field

import msgspec
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from msgspec import UNSET
from ninja import Router

from inference.api import answers
from inference.api.answers import Events
from inference.api.chat import DONE, NEVER, failed
from inference.api.dialect import answer, event
from inference.api.docs import responses
from inference.api.front import pool_of
from inference.catalog import Model
from inference.inbox import Pause
from inference.pool import Pool
from inference.request import (
    Alternative,
    Ended,
    Event,
    Finish,
    Generate,
    Logprob,
    Plain,
    Progress,
    Prompt,
    Text,
    Tokenize,
    Tokens,
)
from inference.schemas.completions import Completion, CompletionChoice, CompletionLogprobs, CompletionsRequest
from inference.schemas.usage import Usage

router = Router(tags=["OpenAI"])


@router.post("/completions", summary="Completions", openapi_extra=responses(Completion, Completion))
async def completions(
    request: HttpRequest, wanted: CompletionsRequest
) -> HttpResponse | StreamingHttpResponse:
    """The choices of several prompts follow one another: those of the first, those of the second, …"""
    pool = pool_of(request)
    model = pool.find(wanted.model)
    asked = wanted.generates(model.defaults)
    echoed = [await text(pool, model, one.prompt) if wanted.echo else "" for one in asked]
    events = chained(await ask(request, model, asked), asked[0].choices)
    reply = Reply(model.id, wanted, [said for said in echoed for _ in range(asked[0].choices)])
    if wanted.stream:
        return answers.stream(events, reply.frames, failed, first=reply.opening())
    return answer(reply.whole(*await answers.gather(events, len(reply.echoed))))


async def text(pool: Pool, model: Model, prompt: Prompt) -> str:
    """What a prompt says. Raises Refusal for tokens that there are not."""
    if isinstance(prompt, Plain):
        return prompt.text
    return (await pool.ask(model, Tokenize(0, prompt), Tokens)).text


async def ask(request: HttpRequest, model: Model, wanted: list[Generate]) -> list[Events]:
    """The events of each. Raises Refusal for the first that is refused, and takes back those before it."""
    async with AsyncExitStack() as asked:
        found = []
        for one in wanted:
            _, events = await answers.ask(request, model, one)
            found.append(await asked.enter_async_context(aclosing(events)))
        asked.pop_all()
    return found


async def chained(several: list[Events], choices: int) -> Events:
    """The events of several answers of so many choices as if they were one's."""
    finished = []
    async with AsyncExitStack() as opened:
        for events in several:
            await opened.enter_async_context(aclosing(events))
        for position, events in enumerate(several):
            async for found in events:
                if isinstance(found, Finish):
                    finished.append(found)
                elif isinstance(found, Progress | Pause):
                    yield found
                elif isinstance(found, Text | Ended):
                    yield msgspec.structs.replace(found, choice=position * choices + found.choice)
    yield Finish(
        0,
        sum(one.prompt_tokens for one in finished),
        sum(one.cached_tokens for one in finished),
        sum(one.completion_tokens for one in finished),
    )


@dataclass
class Reply:
    """One answer on its way out; `echoed` is what each choice begins with."""

    model: str
    wanted: CompletionsRequest
    echoed: list[str]
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.scores = [Scores(bool(self.wanted.logprobs)) for _ in self.echoed]

    def whole(self, choices: list[answers.Choice], finish: Finish) -> Completion:
        found = [
            CompletionChoice(
                self.echoed[index] + one.text, index, one.reason, self.logprobs(index, one.logprobs)
            )
            for index, one in enumerate(choices)
        ]
        return Completion(self.id, self.created, self.model, found, Usage.of(finish))

    def logprobs(self, choice: int, found: list[Logprob]) -> CompletionLogprobs | None:
        return self.scores[choice].add(found) if self.wanted.logprobs is not None else None

    def opening(self) -> bytes:
        return b"".join(
            self.chunk(CompletionChoice(said, index, None)) for index, said in enumerate(self.echoed) if said
        )

    def frames(self, found: Event) -> Iterator[bytes]:
        match found:
            case Text():
                logprobs = self.logprobs(found.choice, found.logprobs)
                yield self.chunk(CompletionChoice(found.text, found.choice, None, logprobs))
            case Ended():
                yield self.chunk(CompletionChoice("", found.choice, found.reason))
            case Finish():
                if self.wanted.wants_usage:
                    yield event(Completion(self.id, self.created, self.model, [], Usage.of(found)))
                yield DONE

    def chunk(self, choice: CompletionChoice) -> bytes:
        usage = None if self.wanted.wants_usage else UNSET
        return event(Completion(self.id, self.created, self.model, [choice], usage))


class Scores:
    """The log-probabilities of one choice, which knows where in its text each token begins."""

    def __init__(self, wants_top: bool) -> None:
        self.wants_top = wants_top
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.length = 0

    def add(self, found: list[Logprob]) -> CompletionLogprobs:
        offsets = []
        for one in found:
            offsets.append(self.length)
            self.length += len(self.decoder.decode(one.bytes))
        return CompletionLogprobs(
            [name(one) for one in found],
            [max(one.logprob, NEVER) for one in found],
            [alternatives(one) for one in found] if self.wants_top else None,
            offsets,
        )


def alternatives(one: Logprob) -> dict[str, float]:
    """The likeliest tokens, and the one that came."""
    found = {name(each): max(each.logprob, NEVER) for each in one.top}
    return {**found, name(one): max(one.logprob, NEVER)}


def name(one: Alternative | Logprob) -> str:
    """A token's text; a part of a character as OpenAI writes it here, for two of them may not be one key."""
    try:
        return one.bytes.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in one.bytes)
