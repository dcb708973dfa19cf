"""Calls become results: read, checked, allowed one after the other, run up to eight at once."""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from json import dumps
from time import monotonic
from typing import Any, NamedTuple

from cli.agent.arguments import parsed
from cli.agent.budget import Spent
from cli.agent.catalog import Catalog, Offer, Unfit
from cli.agent.policy import both
from cli.protocol.events import ToolDone, ToolStarted
from cli.protocol.messages import ToolCall

AT_ONCE = 8
CUT_OFF = "The call was cut off at the limit of tokens and did not run. Write less at a time."
# What every API takes as a tool's name; history repeats the names that a model made up.
FOREIGN = re.compile(r"[^a-zA-Z0-9_-]+")
LONGEST_NAME = 64
TIME_OVER = "Stopped before its end: the turn has used the time that it may take."


class Verdict(NamedTuple):
    """Whether a tool may run; `why` not, in words for the model."""

    may: bool
    why: str = ""


Allow = Callable[[ToolCall], Awaitable[Verdict]]


@dataclass(frozen=True)
class Ready:
    """A call as it will run; `problem` says to the model why it will not."""

    call: ToolCall
    given: dict[str, Any]
    offer: Offer | None = None
    problem: str = ""

    @property
    def mendable(self) -> bool:
        """Whether only the arguments are wrong, of a tool that the request's list has."""
        return bool(self.problem and self.offer and self.offer.listed)

    def started(self) -> ToolStarted:
        mutates = self.offer is None or self.offer.mutates
        return ToolStarted(call=self.call.id, name=self.call.name, arguments=self.given, mutates=mutates)

    def done(self, result: str, *, ok: bool = True) -> ToolDone:
        """The result, sendable: names of files may hold what is no UTF-8."""
        said = result.encode(errors="replace").decode()
        return ToolDone(call=self.call.id, name=self.call.name, ok=ok, result=said)


def ready(call: ToolCall, catalog: Catalog, *, cut: bool = False) -> Ready:
    """Read what the model wrote. Of an answer that was `cut` off nothing is repaired: the end is missing."""
    call = catalog.meant(call)
    given, offer = parsed(call.arguments, repair=not cut), catalog.offers.get(call.name)
    problem = CUT_OFF if cut and given is None else ""
    if offer is None:
        problem = catalog.unknown(call.name)
    elif not problem:
        try:
            given = offer.fit(given)
        except Unfit as unfit:
            problem = str(unfit)
    # As history will have it: the same words, so that a server's kept prefix goes on holding.
    name = call.name if offer else FOREIGN.sub("_", call.name)[:LONGEST_NAME] or "unnamed"
    call = call.model_copy(update={"name": name, "arguments": dumps(given or {})})
    return Ready(call, given or {}, offer, problem)


async def results(calls: Sequence[Ready], allow: Allow, spent: Spent) -> list[ToolDone]:
    """One for each call, in their order; of two that are about one file, the second runs after the first."""
    began = monotonic()
    allowed = [await may(each, allow) for each in calls]
    spent.pause(monotonic() - began)
    why = [verdict.why for verdict in allowed if not verdict.may]
    spent.refused = [*spent.refused, why[-1]] if why and len(why) == len(calls) else []
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(each: Ready, allowed: Verdict, before: set[asyncio.Task[ToolDone]]) -> ToolDone:
        if not allowed.may:
            return each.done(allowed.why, ok=False)
        if before:
            await asyncio.wait(before)
        async with gate:
            return await execute(each, spent)

    running: list[asyncio.Task[ToolDone]] = []
    last: dict[str, asyncio.Task[ToolDone]] = {}
    named = await asyncio.to_thread(lambda: [files(each) for each in calls])
    async with asyncio.TaskGroup() as group:
        for each, yes, names in zip(calls, allowed, named, strict=True):
            before = {last[name] for name in names if name in last}
            running.append(group.create_task(one(each, yes, before)))
            last.update(dict.fromkeys(names, running[-1]))
    return [task.result() for task in running]


def files(ready: Ready) -> set[str]:
    """The files that a call is about, under one name each. Looks at the disk for links."""
    tool: Any = ready.offer.tool if ready.offer and not ready.problem else None
    if getattr(tool, "subject", "") != "path":
        return set()
    return {both(tool.cwd, name)[0] for name in tool.paths(ready.given)}


async def may(ready: Ready, allow: Allow) -> Verdict:
    """Nobody is asked for a call that will not run, or only looks for tools."""
    if ready.problem or ready.offer is None or ready.offer.inner:
        return Verdict(True)
    return await allow(ready.call)


async def execute(ready: Ready, spent: Spent) -> ToolDone:
    """The result, which is always one: what goes wrong is told to the model, which can mend it."""
    if ready.problem or ready.offer is None:
        return ready.done(ready.problem, ok=False)
    try:
        async with asyncio.timeout(spent.left()) as limit:
            return ready.done(str(await invoke(ready.offer, ready.given)))
    except Exception as error:  # a tool may raise anything; the model reads it
        said = TIME_OVER if limit.expired() else f"{type(error).__name__}: {error}"
        return ready.done(said, ok=False)


async def invoke(offer: Offer, given: dict[str, Any]) -> Any:
    values = offer.values(given)
    if inspect.iscoroutinefunction(offer.tool):
        return await offer.tool(**values)
    return await asyncio.to_thread(offer.tool, **values)
