"""An OpenAI-compatible server that says exactly what a test scripts, at the moment the test says.

The main paths are tested on a real LMX; this is for what a real one cannot be made to do on request.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from typing import Any

# A step: bytes are sent, an event is waited for, BREAK cuts the connection.
Step = bytes | asyncio.Event | None
BREAK = None


def chunk(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def text(piece: str) -> bytes:
    return chunk(choices=[{"index": 0, "delta": {"content": piece}, "finish_reason": None}])


def call(name: str, arguments: str, *, index: int = 0, id: str | None = "call_a") -> bytes:
    part = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
    return chunk(choices=[{"index": 0, "delta": {"tool_calls": [part]}, "finish_reason": None}])


def end(reason: str = "stop") -> bytes:
    finish = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": reason}])
    usage = chunk(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
    return finish + usage + b"data: [DONE]\n\n"


def says(*pieces: str) -> list[Step]:
    """A whole answer of these pieces."""
    return [*(text(piece) for piece in pieces), end()]


@dataclass
class Answer:
    steps: Sequence[Step]
    status: int = 200


@dataclass
class Scripted:
    """`answers` are given in order; `requests` are the bodies that came in."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    def will(self, *steps: Step, status: int = 200) -> None:
        self.answers.append(Answer(steps, status))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = next(line for line in head.splitlines() if line.startswith("content-length"))
            self.requests.append(json.loads(await reader.readexactly(int(length.split(":")[1]))))
            self.asked.set()
            play = asyncio.create_task(self.play(self.answers.pop(0), writer))
            watch = asyncio.create_task(self.watch(reader))
            await asyncio.wait([play, watch], return_when=asyncio.FIRST_COMPLETED)
            for task in (play, watch):
                task.cancel()
            await asyncio.gather(play, watch, return_exceptions=True)

    async def watch(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            await reader.read()
        self.hung_up.set()

    async def play(self, answer: Answer, writer: asyncio.StreamWriter) -> None:
        kind = "text/event-stream" if answer.status == 200 else "application/json"
        head = f"HTTP/1.1 {answer.status} Scripted\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode())
        for step in answer.steps:
            if isinstance(step, asyncio.Event):
                await step.wait()
            elif step is BREAK:
                writer.transport.abort()
            else:
                writer.write(step)
            await writer.drain()


@asynccontextmanager
async def scripted() -> AsyncIterator[Scripted]:
    script = Scripted()
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()
