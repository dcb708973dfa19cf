"""`python -m inference.runner FD MODEL CONTEXT CACHE_BYTES`: the process that owns one model.

The pool starts it and holds the other end of the socket FD; when that end closes, for whatever
reason, this process ends.
"""

import asyncio
import os
import socket
import sys
import traceback
from asyncio import StreamWriter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from inference.errors import RunnerRefused
from inference.request import (
    Activity,
    Cancel,
    Command,
    Event,
    Failed,
    Finish,
    Generate,
    Inspect,
    Ready,
    Report,
    Started,
    Text,
)
from inference.runner import link
from inference.runner.engines.mlx import MlxEngine
from inference.runner.prompts import Prompts
from inference.runner.scheduler import Engine, Job, Scheduler, Token
from inference.runner.text import Answer


class Session:
    """One front and one model. Its methods run on the event loop; only `load` runs on the model's thread."""

    prompts: Prompts

    def __init__(self, writer: StreamWriter, folder: Path, context: int, cache_bytes: int) -> None:
        self.writer = writer
        self.folder, self.context, self.cache_bytes = folder, context, cache_bytes
        self.loop = asyncio.get_running_loop()
        # An answer whose tokens got lost would never end: better that the process does.
        self.loop.set_exception_handler(self.lost)
        self.answers: dict[int, Answer] = {}
        # Requests whose prompt is not tokens yet; one thread, so that a long one holds up nobody's answer.
        self.beginning: dict[int, asyncio.Task[None]] = {}
        self.tokenising = ThreadPoolExecutor(1, "tokenising")
        self.scheduler = Scheduler(
            self.load,
            ready=self.on_loop(self.ready),
            deliver=self.on_loop(self.deliver),
            fail=self.on_loop(self.fail),
        )

    def on_loop(self, call: Callable[..., None]) -> Callable[..., object]:
        return lambda *args: self.loop.call_soon_threadsafe(call, *args)

    def load(self) -> Engine:
        self.prompts = Prompts(self.folder, self.context)
        return MlxEngine(self.folder, self.prompts.ends, self.cache_bytes)

    def ready(self, activity: Activity) -> None:
        self.send(Ready(activity))

    def fail(self, error: Exception) -> None:
        """The model did not load, or raised in a step: say so, and end; the pool starts afresh."""
        traceback.print_exception(error)
        self.send(Failed(0, f"{type(error).__name__}: {error}", "model_failed"))
        self.writer.close()

    def lost(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.fail(context.get("exception") or RuntimeError(context["message"]))

    def handle(self, command: Command) -> None:
        match command:
            case Generate():
                self.beginning[command.id] = self.loop.create_task(self.begin(command))
            case Cancel():
                self.cancel(command.id)
            case Inspect():
                send = self.on_loop(self.send)
                self.scheduler.inspect(lambda activity: send(Report(command.id, activity)))

    async def begin(self, wanted: Generate) -> None:
        try:
            tokens = await self.loop.run_in_executor(self.tokenising, self.prompts.tokens, wanted.messages)
        except RunnerRefused as error:
            self.send(Failed(wanted.id, error.message, error.code, error.status, error.field))
            return
        except Exception as error:  # templates and tokenizers are the model's own, and may raise anything
            traceback.print_exception(error)
            message = f"The model's tokenizer failed on these messages: {type(error).__name__}: {error}"
            self.send(Failed(wanted.id, message, "tokenizer_failed", field="messages"))
            return
        finally:
            self.beginning.pop(wanted.id, None)
        self.answers[wanted.id] = Answer(self.prompts.detokenizer(), wanted.stop, len(tokens))
        self.send(Started(wanted.id, len(tokens)))
        room = self.context - len(tokens)
        most = min(wanted.max_tokens or room, room)
        self.scheduler.submit(Job(wanted.id, tokens, most, wanted.temperature, wanted.top_p, wanted.seed))

    def cancel(self, id: int) -> None:
        if task := self.beginning.pop(id, None):
            task.cancel()
        if self.answers.pop(id, None):
            self.scheduler.cancel(id)

    def deliver(self, tokens: list[Token]) -> None:
        """One step's tokens, in one frame."""
        self.send(*(event for token in tokens for event in self.advance(token)))

    def advance(self, token: Token) -> Iterator[Event]:
        answer = self.answers.get(token.id)
        if answer is None:  # cancelled while the step ran
            return
        text = answer.add(token.token, silent=token.finish == "stop")
        if answer.stopped and not token.finish:
            self.scheduler.cancel(token.id)
        reason = "stop" if answer.stopped else token.finish
        if reason:
            text += answer.end()
            del self.answers[token.id]
        if text:
            yield Text(token.id, text)
        if reason:
            yield Finish(
                token.id, reason, answer.prompt_tokens, token.cached_tokens, answer.completion_tokens
            )

    def send(self, *events: Event) -> None:
        link.send(self.writer, events)


async def serve(fd: int, *model: Any) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=fd))
    session = Session(writer, *model)
    session.scheduler.start()
    while (commands := await link.receive(reader, link.Commands)) is not None:
        for command in commands:
            session.handle(command)


def main() -> None:
    fd, folder, context, cache_bytes = sys.argv[1:]
    asyncio.run(serve(int(fd), Path(folder), int(context), int(cache_bytes)))
    # Not by returning: the model's thread may be deep in a step or a load, and nobody waits for it.
    os._exit(0)


if __name__ == "__main__":
    main()
