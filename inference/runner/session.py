"""A runner's side of the talk with its front: commands in, events out, the model on its own thread."""

import asyncio
import importlib
import traceback
from asyncio import StreamWriter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from inference.errors import RunnerRefused
from inference.request import (
    Activity,
    Assignment,
    Cancel,
    Chat,
    Command,
    Embed,
    Event,
    Failed,
    Finish,
    Generate,
    Inspect,
    InspectPrefixes,
    Progress,
    Rank,
    Ready,
    Reasoning,
    Report,
    Sampling,
    Scores,
    Started,
    Text,
    Tokenize,
    Tokens,
    Vectors,
)
from inference.runner import heap
from inference.runner.answer import Answer
from inference.runner.constrain import constraint
from inference.runner.engine import Constraint, Engine, Job, Step, Token
from inference.runner.outbox import Outbox
from inference.runner.parsing.stream import Parser, Through, parser
from inference.runner.prefix_cache import PrefixCache
from inference.runner.prompts import Prepared, Prompts
from inference.runner.queue import Queue
from inference.runner.scheduler import Scheduler
from inference.runner.tokenizer import Tokenizer

# Each holds `load(assignment) -> (Tokenizer, Engine)`.
ENGINES = {"mlx": "inference.runner.engines.mlx", "gguf": "inference.runner.engines.gguf"}

# Seconds without a request after which what is kept goes to disk, and between two entries that do: somebody
# who asks sooner makes a longer one of it.
IDLE = 5.0
# Seconds to write what is kept at the end, of those that the pool waits for it.
FAREWELL = 1.5


@dataclass
class Request:
    """A Generate under way: its choices by job."""

    id: int
    prompt_tokens: int
    choices: dict[int, Answer]
    constraints: dict[int, Constraint | None]
    over: list[Answer] = field(default_factory=list)

    def finish(self) -> Finish:
        return Finish(
            self.id,
            self.prompt_tokens,
            min(answer.cached_tokens for answer in self.over),
            sum(answer.completion_tokens for answer in self.over),
            sum(answer.reasoning_tokens for answer in self.over),
        )


class Session:
    """One front and one model. Its methods run on the event loop; only `load` runs on the model's thread."""

    tokenizer: Tokenizer
    prompts: Prompts
    prefixes: PrefixCache[Any]

    def __init__(self, writer: StreamWriter, assignment: Assignment) -> None:
        self.writer, self.outbox, self.assignment = writer, Outbox(writer), assignment
        self.loop = asyncio.get_running_loop()
        # An answer whose tokens got lost would never end: better that the process does.
        self.loop.set_exception_handler(self.lost)
        # Commands that are not with the model yet, by id; requests that are, by each of their jobs.
        self.beginning: dict[int, asyncio.Task[None]] = {}
        self.requests: dict[int, Request] = {}
        self.jobs = 0
        # Whether the model is loaded, and has not failed.
        self.working = False
        self.resting: asyncio.TimerHandle | None = None
        # One thread, because a tokenizer is not for two; a long prompt holds up nobody's answer.
        self.tokenising = ThreadPoolExecutor(1, "tokenising")
        self.scheduler = Scheduler(
            self.load,
            Queue(assignment.queue),
            ready=self.on_loop(self.ready),
            deliver=self.on_loop(self.deliver),
            fail=self.on_loop(self.fail),
        )

    def on_loop(self, call: Callable[..., None]) -> Callable[..., object]:
        return lambda *args: self.loop.call_soon_threadsafe(call, *args)

    def load(self) -> Engine:
        package = importlib.import_module(ENGINES[self.assignment.engine])
        self.tokenizer, engine = package.load(self.assignment)
        found: Engine = engine
        self.prompts = Prompts(self.tokenizer, self.assignment.context, checkpoints=not found.divisible)
        self.prefixes = found.prefixes
        return found

    def ready(self, activity: Activity) -> None:
        self.working = True
        self.send(Ready(activity))

    def fail(self, error: Exception) -> None:
        """The model did not load, or raised in a step: say so, and end; the pool starts afresh."""
        self.working = False
        traceback.print_exception(error)
        self.send(Failed(0, f"{type(error).__name__}: {error}", "model_failed"))
        self.writer.close()

    def lost(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.fail(context.get("exception") or RuntimeError(context["message"]))

    def handle(self, command: Command) -> None:
        if isinstance(command, Cancel):
            self.cancel(command.id)
        else:
            self.beginning[command.id] = self.loop.create_task(self.begin(command))

    async def begin(self, command: Command) -> None:
        try:
            await self.answer(command)
        except RunnerRefused as error:
            self.send(refused(command.id, error))
        except Exception as error:  # templates and tokenizers are the model's own, and may raise anything
            traceback.print_exception(error)
            message = f"The model's tokenizer failed on this: {type(error).__name__}: {error}"
            self.send(Failed(command.id, message, "tokenizer_failed", field="messages"))
        finally:
            self.beginning.pop(command.id, None)

    def answer(self, command: Command) -> Awaitable[None]:
        match command:
            case Generate():
                return self.generate(command)
            case Tokenize():
                return self.tokenize(command)
            case Embed():
                return self.embed(command)
            case Rank():
                return self.rank(command)
            case Inspect():
                return self.inspect(command)
            case InspectPrefixes():
                return self.inspect_prefixes(command)
        raise AssertionError(command)

    async def generate(self, wanted: Generate) -> None:
        prepared, jobs = await self.prepare(self.plan, wanted)
        held = {job.id: job.constraint for job in jobs}
        answers = {
            job.id: Answer(wanted, choice, self.tokenizer, parser_of(wanted, self.tokenizer, prepared))
            for choice, job in enumerate(jobs)
        }
        # Raises when the queue is full. Whatever else may raise is before it: no job runs for nobody.
        self.scheduler.submit(jobs)
        request = Request(wanted.id, len(prepared.tokens), answers, held)
        self.requests.update(dict.fromkeys(answers, request))
        self.send(Started(wanted.id, len(prepared.tokens)))

    def plan(self, wanted: Generate) -> tuple[Prepared, list[Job]]:
        """The jobs of a request, one per choice; the later ones share the first one's prompt."""
        if (kind := self.assignment.kind) != "chat":
            raise RunnerRefused(f"This is a model for {kind}: it continues no text.", field="model")
        if isinstance(wanted.prompt, Chat) and wanted.tool_choice == "none":
            # A model that sees no tools calls none.
            unoffered = msgspec.structs.replace(wanted.prompt, tools=[])
            wanted = msgspec.structs.replace(wanted, prompt=unoffered)
        prepared = self.prompts.prepare(wanted)
        self.prefixes.fetch(prepared.tokens)
        room = min(wanted.context or self.assignment.context, self.assignment.context) - len(prepared.tokens)
        first = self.jobs + 1
        self.jobs += wanted.choices
        return prepared, [
            Job(
                first + choice,
                prepared.tokens,
                min(wanted.max_tokens or room, room),
                seeded(wanted.sampling, choice),
                prepared.checkpoints,
                wanted.logprobs,
                constraint(wanted, self.tokenizer, prepared.text),
                wanted.client,
                wanted.priority,
                after=first if choice else None,
            )
            for choice in range(wanted.choices)
        ]

    async def prepare(self, call: Callable[..., Any], *args: Any) -> Any:
        return await self.loop.run_in_executor(self.tokenising, call, *args)

    async def between_steps(self, order: Callable[[Engine], Any]) -> Any:
        """What `order` returns, done on the model's thread between two steps. Raises its RunnerRefused."""
        done: asyncio.Future[Any] = self.loop.create_future()

        def settle(result: Any, error: Exception | None) -> None:
            if done.cancelled():
                return
            if error:
                done.set_exception(error)
            else:
                done.set_result(result)

        self.scheduler.order(order, self.on_loop(settle))
        return await done

    async def tokenize(self, wanted: Tokenize) -> None:
        text, tokens = await self.prepare(self.prompts.read, wanted.prompt)
        self.send(Tokens(wanted.id, tokens, text))

    async def embed(self, wanted: Embed) -> None:
        inputs = await self.prepare(self.prompts.inputs, wanted.inputs)
        vectors = await self.between_steps(lambda engine: engine.embed(inputs))
        found = [vector.astype("<f4").tobytes() for vector in vectors]
        self.send(Vectors(wanted.id, found, sum(map(len, inputs))))

    async def rank(self, wanted: Rank) -> None:
        self.prompts.hold_texts([wanted.query, *wanted.documents], "documents")
        scores, read = await self.between_steps(lambda engine: engine.rank(wanted.query, wanted.documents))
        self.send(Scores(wanted.id, scores, read))

    async def inspect(self, wanted: Inspect) -> None:
        self.send(Report(wanted.id, await self.between_steps(self.scheduler.activity)))

    async def inspect_prefixes(self, wanted: InspectPrefixes) -> None:
        self.send(self.prefixes.report(wanted.id, self.tokenizer.decode))

    def cancel(self, id: int) -> None:
        if task := self.beginning.pop(id, None):
            task.cancel()
        for job in [job for job, request in self.requests.items() if request.id == id]:
            del self.requests[job]
            self.scheduler.cancel(job)
        self.rest()

    def rest(self) -> None:
        """When nobody asks anything for a while, give memory back and write what is kept to disk, one entry
        at a time."""
        if self.resting:
            self.resting.cancel()
        if not self.requests:
            self.resting = self.loop.call_later(IDLE, self.save)

    def save(self) -> None:
        if not self.requests:
            self.scheduler.order(resting, self.on_loop(self.saved))

    def saved(self, more: bool, _: None) -> None:
        if more:
            self.rest()

    async def close(self) -> None:
        """Write to disk what is kept, as much of it as there is time for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                more = self.working
                while more:
                    more = await self.between_steps(lambda engine: engine.prefixes.save())
                    await asyncio.to_thread(self.prefixes.flush)

    def deliver(self, step: Step) -> None:
        """What one step brought; text may wait for that of the next."""
        events = [event for token in step.tokens for event in self.advance(token)]
        for job, done, total in step.progress:
            if request := self.requests.get(job):
                events.append(Progress(request.id, done, total))
        text = all(isinstance(event, Text | Reasoning) for event in events)
        (self.outbox.gather if text else self.outbox.send)(events)

    def advance(self, token: Token) -> Iterator[Event]:
        request = self.requests.get(token.id)
        if request is None:  # cancelled while the step ran
            return
        answer, held = request.choices[token.id], request.constraints[token.id]
        if token.finish and held and held.failed:
            self.cancel(request.id)
            yield refused(request.id, too_much())
            return
        yield from answer.add(token)
        if answer.stopped and not token.finish:
            self.scheduler.cancel(token.id)
        if answer.stopped or token.finish:
            del self.requests[token.id], request.choices[token.id]
            request.over.append(answer)
            if not request.choices:
                yield request.finish()
            self.rest()

    def send(self, *events: Event) -> None:
        self.outbox.send(events)


def too_much() -> RunnerRefused:
    return RunnerRefused(
        "The answer could not be held to what was asked of it any longer: that became too complex. "
        "Ask for less, with fewer optional properties or simpler patterns.",
        code="constraint_too_complex",
    )


def parser_of(wanted: Generate, tokenizer: Tokenizer, prepared: Prepared) -> Parser:
    """A prompt without template has no markers either: its answer is text."""
    if not isinstance(wanted.prompt, Chat):
        return Through()
    offered = [] if wanted.tool_choice == "none" else wanted.prompt.tools
    return parser(
        tokenizer.template, prepared.text, offered, forced=wanted.tool_choice not in ("auto", "none")
    )


def resting(engine: Engine) -> bool:
    """What is done between two requests that are far apart; whether there is more of it."""
    engine.rest()
    heap.trim()
    return engine.prefixes.save()


def seeded(sampling: Sampling, choice: int) -> Sampling:
    """The choices of one request differ, and each is repeatable."""
    if sampling.seed is None or choice == 0:
        return sampling
    return msgspec.structs.replace(sampling, seed=sampling.seed + choice)


def refused(id: int, error: RunnerRefused) -> Failed:
    return Failed(id, error.message, error.code, error.status, error.field, error.retry_after)
