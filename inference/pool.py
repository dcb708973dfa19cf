"""Which models are loaded; the only starter of runners."""

import asyncio
import ctypes.util
import itertools
import logging
import os
import signal
import socket
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import TypeVar

import msgspec

from inference.catalog import ANY, AUTO, CHAT, Catalog, Model
from inference.config import Config
from inference.errors import LoadCrashed, LoadFailed, RunnerDied, RunnerRefused, ShuttingDown
from inference.inbox import Inbox, Pause
from inference.plan import Plan, plans
from inference.request import (
    Assignment,
    Cancel,
    Event,
    Failed,
    Inspect,
    InspectPrefixes,
    Last,
    Question,
    Ready,
)
from inference.runner import link
from opta import paths
from opta.errors import Refusal

log = logging.getLogger(__name__)
Answer = TypeVar("Answer", bound=Last)

OPENBLAS_ADVICE = (
    "install OpenBLAS (Debian: libopenblas0-pthread) and start LMX again, to compute several times faster"
)
AGAIN = "Ask again: the model is loaded anew."
# Signals that native code ends a process by, when it is at fault itself.
CRASHES = {signal.SIGSEGV, signal.SIGILL, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE}
# Seconds a runner has to end when it is told to.
PATIENCE = 2.0
# Seconds that an inspection waits for a runner in the middle of a step.
INSPECTION = 5.0
# Seconds without an event before that is told; any proxy on the way surely outlasts them.
SILENCE = 10.0


class Runner:
    """A runner process as the front sees it: a request goes in, its events come out."""

    def __init__(self, plan: Plan, process: Process, reader: StreamReader, writer: StreamWriter) -> None:
        self.process, self.reader, self.writer = process, reader, writer
        # What was asked for, by which its answers are called; what runs it, and why not its own engine.
        self.model, self.engine, self.fallback = plan.model, plan.weights.engine, plan.fallback
        self.ids = itertools.count(1)
        self.answers: dict[int, Inbox] = {}
        self.ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        # Answers that clients wait for.
        self.in_flight = 0
        # Why it takes no more requests; None while it does.
        self.over: Refusal | None = None
        self.tasks = [asyncio.create_task(self.read()), asyncio.create_task(self.relay_log())]

    @classmethod
    async def start(cls, plan: Plan, config: Config) -> "Runner":
        """Start the process and wait until the model is loaded. Raises LoadFailed."""
        plan.require_engine()
        model = plan.model
        runner = await cls.spawn(plan, config)
        try:
            async with asyncio.timeout(config.load_timeout):
                found = (await runner.ready).activity
        except TimeoutError:
            late = LoadFailed(f"{model.id} was not loaded after {config.load_timeout} s (LMX_LOAD_TIMEOUT).")
            await runner.stop(late)
            raise late from None
        except asyncio.CancelledError:  # only Pool.close cancels a load
            stopped = ShuttingDown("LMX was stopped.")
            await runner.stop(stopped)
            raise stopped from None
        how = f"{found.engine} on {found.device}, {found.dtype}, BLAS {found.blas}, pid {runner.process.pid}"
        log.info("%s is loaded: %s", model.id, how)
        if plan.fallback:
            log.warning("%s runs from %s: %s", model.id, plan.weights.path, plan.fallback)
        if found.blas == "reference":
            log.warning("%s has no BLAS of the system: %s", model.id, OPENBLAS_ADVICE)
        return runner

    @classmethod
    async def spawn(cls, plan: Plan, config: Config) -> "Runner":
        """A process in a session of its own: Ctrl-C reaches the front alone, which then ends it in order.

        It inherits one end of a socket pair, so there is no socket file to be left behind or found.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            assignment = Assignment(
                plan.weights.engine,
                str(plan.weights.path),
                plan.weights.kind,
                plan.context,
                config.prefix_cache_bytes,
                str(paths.lmx_home() / "prefixes"),
                config.prefix_disk_mb * 1024 * 1024,
                queue=config.queue,
                plain=plan.plain,
            )
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "inference.runner",
                str(theirs.fileno()), msgspec.json.encode(assignment),
                pass_fds=[theirs.fileno()], start_new_session=True, cwd=paths.CHECKOUT, env=environment(),
                stdin=DEVNULL, stdout=PIPE, stderr=STDOUT,
            )  # fmt: skip
        return cls(plan, process, *await asyncio.open_unix_connection(sock=ours))

    async def ask(self, command: Question) -> AsyncGenerator[Event | Pause]:
        """The events of one request, as request.py tells. Closing it early cancels the request."""
        if self.over:
            raise self.over
        command = msgspec.structs.replace(command, id=next(self.ids))
        inbox = self.answers[command.id] = Inbox()
        link.send(self.writer, [command])
        answered = False
        try:
            while not answered:
                came = await inbox.take(SILENCE)
                for event in came:
                    answered = isinstance(event, Last)
                    yield event
                yield Pause(silent=not came)
        finally:
            del self.answers[command.id]
            if not answered:
                link.send(self.writer, [Cancel(command.id)])

    async def inspect(self, question: Inspect | InspectPrefixes, answer: type[Answer]) -> Answer | None:
        """What it says about itself; None while it is deep in a step, and when it has just ended."""
        try:
            async with asyncio.timeout(INSPECTION), aclosing(self.ask(question)) as events:
                async for event in events:
                    if isinstance(event, answer):
                        return event
        except (TimeoutError, Refusal):
            pass  # whoever inspects it shows by None that nothing was said
        return None

    async def read(self) -> None:
        """Hand out what comes until the process ends, which may be by its own fault."""
        try:
            while (events := await link.receive(self.reader, link.Events)) is not None:
                for event in events:
                    self.route(event)
        except msgspec.DecodeError:
            log.exception("the runner of %s sent what is no frame", self.model.id)
            self.end(RunnerDied(f"The runner of {self.model.id} sent what cannot be read. {AGAIN}"))
        how = await self.exit()
        self.end(RunnerDied(f"The runner of {self.model.id} {how}. {AGAIN}"))

    def route(self, event: Event) -> None:
        if isinstance(event, Ready):
            if not self.ready.done():
                self.ready.set_result(event)
        elif isinstance(event, Failed) and event.id == 0:
            self.end(RunnerDied(f"{self.model.id} failed: {event.message} The log has the trace."))
        elif inbox := self.answers.get(event.id):  # None: it was cancelled meanwhile
            if isinstance(event, Failed):
                inbox.fail(refusal(event))
            elif not inbox.put(event):
                link.send(self.writer, [Cancel(event.id)])

    def end(self, error: Refusal) -> None:
        """Take no more requests, and end those in flight with `error`; the first reason stands."""
        if self.over:
            return
        self.over = error
        if not self.ready.done():
            failed = LoadCrashed if -(self.process.returncode or 0) in CRASHES else LoadFailed
            self.ready.set_exception(failed(error.message, status=error.status))
        for inbox in self.answers.values():
            inbox.fail(error)

    async def stop(self, error: Refusal) -> None:
        self.end(error)
        if self.process.returncode is None:
            self.process.terminate()
        await self.exit()

    async def exit(self) -> str:
        """Wait for the process to end, by force if it must be; how it ended."""
        try:
            async with asyncio.timeout(PATIENCE):
                code = await self.process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.process.kill()
            code = await self.process.wait()
        self.writer.close()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    async def relay_log(self) -> None:
        """The runner's own output, into the log, line by line; unread, it would stop the runner."""
        output = self.process.stdout
        while output and not output.at_eof():
            try:
                line = await output.readline()
            except ValueError:  # beyond the reader's limit, and dropped by it
                line = b"(a line too long to show)"
            if line:
                log.info("%s: %s", self.model.id, line.decode(errors="replace").rstrip())


def refusal(event: Failed) -> Refusal:
    return RunnerRefused(
        event.message, field=event.field, status=event.status, code=event.code, retry_after=event.retry_after
    )


def environment() -> dict[str, str]:
    """What a runner runs in: the system's OpenBLAS before MLX's own, tokenizers kept off the network."""
    chosen = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",  # it would miss PyTorch at every load
    }
    # llama.cpp's threads sleep while they wait: by default they spin, and on a machine that also does
    # something else each layer then waits for a thread that waits for a core (measured: 10 times slower).
    chosen.setdefault("OMP_WAIT_POLICY", "passive")
    if sys.platform == "linux" and (library := ctypes.util.find_library("openblas")):
        chosen["LD_PRELOAD"] = " ".join(filter(None, (library, os.environ.get("LD_PRELOAD"))))
    return chosen


class Pool:
    """The runners by model, the one used last at the end; each model is loaded once at a time."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.catalog = Catalog(config.models)
        self.loads: dict[str, asyncio.Task[Runner]] = {}
        self.closing = False

    @property
    def runners(self) -> list[Runner]:
        """The runners that take requests."""
        return [load.result() for load in self.loads.values() if load.done() and usable(load)]

    @property
    def loading(self) -> list[str]:
        return [id for id, load in self.loads.items() if not load.done()]

    def find(self, name: str, kinds: tuple[str, ...] = CHAT) -> Model:
        """The model called `name`; `auto` is the one of `kinds` used last, where any kind will do the one
        that a chat would get. Raises Refusal."""
        if name == AUTO and kinds == ANY:
            kinds = CHAT
        loaded = {runner.model.id: runner.model for runner in self.runners}
        fit = [model for model in loaded.values() if model.kind in kinds]
        if name == AUTO and fit:
            return fit[-1]
        return loaded[name].held_to(kinds) if name in loaded else self.catalog.find(name, kinds)

    async def get(self, model: Model) -> Runner:
        """The runner of `model`, started if need be; others wait for the same start. Raises LoadFailed."""
        if self.closing:
            raise ShuttingDown("LMX is being stopped.")
        load = self.loads.pop(model.id, None)
        if load is None or not usable(load):
            load = asyncio.create_task(self.load(model))
        self.loads[model.id] = load
        # A client that hangs up does not end a load that others wait for.
        return await asyncio.shield(load)

    async def load(self, model: Model) -> Runner:
        """`model` in a runner, by the first of its plans that succeeds. Raises the first one's LoadFailed."""
        failed: list[LoadFailed] = []
        waiting = list(plans(model, self.catalog))
        while waiting:
            plan = waiting.pop(0)
            try:
                return await Runner.start(plan.after(failed), self.config)
            except LoadFailed as error:
                log.warning("%s does not load with %s: %s", model.id, plan.weights.engine, error.message)
                failed.append(error)
                if isinstance(error, LoadCrashed) and (again := plan.plainly()):
                    log.warning("%s is loaded again without the processor's matrix extensions", model.id)
                    waiting.insert(0, again)
        raise failed[0]

    async def ask(self, model: Model, question: Question, answer: type[Answer]) -> Answer:
        """The one event that answers a question that is no Generate. Raises Refusal."""
        async with aclosing(self.generate(model, question)) as events:
            async for event in events:
                if isinstance(event, answer):
                    return event
        raise AssertionError(f"a runner answers {question} by {answer}, or raises")

    async def generate(self, model: Model, wanted: Question) -> AsyncGenerator[Event | Pause]:
        """The events of one answer; closing it early cancels the answer. Raises Refusal."""
        runner = await self.get(model)
        runner.in_flight += 1
        try:
            async with aclosing(runner.ask(wanted)) as events:
                async for event in events:
                    yield event
        finally:
            runner.in_flight -= 1

    async def close(self) -> None:
        """End every answer in flight with a reason, and every runner."""
        self.closing = True
        runners = self.runners
        for load in self.loads.values():
            load.cancel()
        stopping = (runner.stop(ShuttingDown("LMX was stopped.")) for runner in runners)
        await asyncio.gather(*self.loads.values(), *stopping, return_exceptions=True)


def usable(load: asyncio.Task[Runner]) -> bool:
    """Whether it still loads, or has loaded a runner that takes requests."""
    return not load.done() or (load.exception() is None and load.result().over is None)
