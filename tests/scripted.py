"""An OpenAI-compatible server that says exactly what a test scripts, at the moment the test says.

The main paths are tested on a real LMX; this is for what a real one cannot be made to do on request.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
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


def end(reason: str = "stop", prompt_tokens: int = 3) -> bytes:
    finish = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": reason}])
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": 2, "total_tokens": prompt_tokens + 2}
    return finish + chunk(choices=[], usage=counts) + b"data: [DONE]\n\n"


def says(*pieces: str) -> list[Step]:
    """A whole answer of these pieces."""
    return [*(text(piece) for piece in pieces), end()]


def asked_for(request: dict[str, Any]) -> str:
    """The word that a daemon asks for which doubts our counts, to see whether all is read: it is."""
    said = [str(message["content"]) for message in request.get("messages", ())]
    found = re.search(r"code word is (\w+)", said[0]) if said and "code word" in said[-1] else None
    return found[1] if found else ""


@dataclass
class Answer:
    steps: Sequence[Step]
    status: int = 200
    kind: str = "text/event-stream"
    headers: dict[str, str] = field(default_factory=dict)


NOTHING = Answer([b'{"error": {"message": "There is nothing here."}}'], 404)


@dataclass
class Window:
    """The context of the model, in tokens of `counted`: what the server tells of it, and holds to."""

    tokens: int
    counted: Callable[[dict[str, Any]], int]
    # Whether the server says its length, and counts tokens on request.
    told: bool = True
    counts: bool = True

    def tokenize(self, request: dict[str, Any]) -> Answer:
        if not self.counts:
            return NOTHING
        found = {"model": "auto", "count": self.counted(request), "max_model_len": self.tokens}
        return Answer([json.dumps(found).encode()], kind="application/json")

    def card(self) -> Answer:
        lmx = {"lmx": {"loaded": True, "context": self.tokens}} if self.counts else {}
        said = {"id": "auto", **lmx, **({"max_model_len": self.tokens} if self.told else {})}
        return Answer([json.dumps(said).encode()], kind="application/json")

    def refuse(self, tokens: int) -> Answer:
        message = f"The model's context holds {self.tokens} tokens, and the prompt has {tokens}."
        error = {"message": message, "code": "context_length_exceeded"}
        return Answer([json.dumps({"error": error}).encode()], 400)


@dataclass
class Scripted:
    """`answers` are given in order, and then what `improvise` makes of a request; `requests` are the bodies
    that came in. Without a window it is a server that counts no tokens, tells no length and takes all."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    window: Window | None = None
    improvise: Callable[[dict[str, Any]], Answer] | None = None
    # What it says it has, and the heads of all requests, in lower case.
    models: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    def will(self, *steps: Step, status: int = 200, **headers: str) -> None:
        """Headers are given in Python's spelling: retry_after="1"."""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append(Answer(steps, status, headers=said))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            self.heads.append(head)
            length = next((line for line in head.splitlines() if line.startswith("content-length")), ":0")
            body = await reader.readexactly(int(length.split(":")[1]))
            play = asyncio.create_task(self.play(self.answer(head.split()[1], body), writer))
            watch = asyncio.create_task(self.watch(reader))
            await asyncio.wait([play, watch], return_when=asyncio.FIRST_COMPLETED)
            for task in (play, watch):
                task.cancel()
            await asyncio.gather(play, watch, return_exceptions=True)

    def answer(self, path: str, body: bytes) -> Answer:
        if path.partition("?")[0].endswith("/models"):
            data = [{"id": model} for model in self.models]
            return Answer([json.dumps({"data": data}).encode()], kind="application/json")
        if not body:
            return self.window.card() if self.window and path.endswith("/models/auto") else NOTHING
        request = json.loads(body)
        if path.endswith("/tokenize"):
            return self.window.tokenize(request) if self.window else NOTHING
        if not self.improvise and (word := asked_for(request)):
            return Answer(says(word))
        self.requests.append(request)
        self.asked.set()
        if self.improvise and not self.answers:
            return self.improvise(request)
        return self.answers.pop(0)

    async def watch(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            await reader.read()
        self.hung_up.set()

    async def play(self, answer: Answer, writer: asyncio.StreamWriter) -> None:
        kind = answer.kind if answer.status == 200 else "application/json"
        headers = {"content-type": kind, "connection": "close", **answer.headers}
        lines = [f"HTTP/1.1 {answer.status} Scripted", *(f"{name}: {said}" for name, said in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for step in answer.steps:
            if isinstance(step, asyncio.Event):
                await step.wait()
            elif step is BREAK:
                writer.transport.abort()
            else:
                writer.write(step)
            await writer.drain()


@asynccontextmanager
async def scripted(port: int = 0) -> AsyncIterator[Scripted]:
    script = Scripted()
    server = await asyncio.start_server(script.serve, "127.0.0.1", port)
    script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()
