"""Which server answers: a model's name leads to hosts, and what fails to connect to the next of them.

`claude/opus` is the provider `claude`'s model `opus`; any other name is asked of the LMX hosts, which are
`lmx_url`, the providers of kind lmx, and those found on the network if the user wants that. An alias
stands for one such name, or for several, of which the first that can be reached answers.

Another server is asked only as long as none has begun: an answer is never sent for twice.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from cli import keychain
from cli.clients.anthropic import Anthropic
from cli.clients.breaker import Breaker
from cli.clients.discovery import Discovery
from cli.clients.lmx import LMX
from cli.clients.openai import OpenAI
from cli.clients.refusals import Busy, Unreachable
from cli.clients.server import Card, Known, Server
from cli.config import Config, Limits, Provider
from cli.protocol.failures import Failure
from cli.protocol.messages import Message, Piece

log = logging.getLogger(__name__)

T = TypeVar("T")

# The name of the LMX at `lmx_url`, and of the LMX hosts together.
OWN = "lmx"
# Several hosts are asked for what they have that often, and given that long to say it.
FRESH_SECONDS = 10.0
LISTING_SECONDS = 2.0
# A busy server is asked again when it says, so many times; if that is further off the user should know.
WAITS = 4
LONGEST_WAIT = 60.0


@dataclass(frozen=True)
class Target:
    """A server, and what it calls the model."""

    server: Server
    model: str


@dataclass(frozen=True)
class Listing:
    """What a server has, or why that is not known."""

    server: Server
    models: Sequence[Known] = ()
    failure: Failure | None = None


class Providers:
    """The servers of the choices as they are now. Every method raises Failure."""

    def __init__(
        self,
        choices: Callable[[], Config],
        *,
        clock: Callable[[], float] = monotonic,
        interfaces: Sequence[str] | None = None,
    ) -> None:
        """`choices` is asked before each request; `interfaces` are where to browse, all by default."""
        self.choices = choices
        self.clock = clock
        self.interfaces = interfaces
        self.config: Config | None = None
        self.servers: dict[str, Server] = {}
        self.discovery: Discovery | None = None
        self.found: dict[str, LMX] = {}
        # Those of former choices: an answer of theirs may still be under way.
        self.retired: list[Server] = []
        self.listed: list[Listing] = []
        self.listed_at = -FRESH_SECONDS
        # Who answered last for a model: a host that read the prompt before has its beginning kept.
        self.last: dict[str, Server] = {}

    async def chat(
        self, model: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]], **options: Any
    ) -> AsyncGenerator[Piece, None]:
        """One answer, of the first server that takes the request."""
        targets, waits = await self.targets(model), WAITS
        while True:
            (target, *others) = targets
            async with aclosing(target.server.chat(target.model, messages, tools, **options)) as pieces:
                try:
                    first = await anext(pieces)
                except (Unreachable, Busy) as failure:
                    log.info("%s: %s", target.server.name, failure.message)
                    if others:
                        targets = others
                        continue
                    after = failure.after if isinstance(failure, Busy) else None
                    if after is None or after > LONGEST_WAIT or not waits:
                        raise
                    waits -= 1
                    await asyncio.sleep(after)
                    continue
                self.last[model] = target.server
                yield first
                async for piece in pieces:
                    yield piece
                return

    async def card(self, model: str) -> Card:
        """What is known of a model, by the first of its servers that can be reached."""
        return await self.ask(model, lambda target: target.server.card(target.model))

    async def count(self, model: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> int:
        """How many tokens the prompt has, for a model whose card says that they are counted."""
        return await self.ask(model, lambda target: target.server.count(target.model, messages, tools))

    async def ask(self, model: str, question: Callable[[Target], Awaitable[T]]) -> T:
        *others, last = await self.targets(model)
        for target in others:
            try:
                return await question(target)
            except Unreachable as failure:
                log.info("%s: %s", target.server.name, failure.message)
        return await question(last)

    async def targets(self, model: str) -> list[Target]:
        """Where to ask for a model, in order, and never nowhere: a host left alone is the last resort."""
        config = self.refresh()
        found: list[Target] = []
        for name in config.aliases.get(model, [model]):
            provider, slash, rest = name.partition("/")
            if slash and rest and provider in self.servers and provider != OWN:
                found.append(Target(self.servers[provider], rest))
            else:
                asked = rest if slash and rest and provider == OWN else name
                found += [Target(host, asked) for host in await self.pool(asked)]
        return sorted(found, key=lambda target: target.server.breaker.open)

    async def pool(self, model: str) -> list[LMX]:
        """The LMX hosts, best first: one that can be reached, has the model, answered last, has it loaded."""
        hosts = self.hosts()
        if len(hosts) == 1:
            return hosts
        has = {listing.server: listing.models for listing in await self.listings(hosts)}

        def rank(host: LMX) -> tuple[bool, bool, bool, bool]:
            models = [each for each in has.get(host, ()) if model in (each.id, "auto")]
            loaded = any(each.loaded for each in models)
            return host.breaker.open, not models, self.last.get(model) is not host, not loaded

        return sorted(hosts, key=rank)

    def hosts(self) -> list[LMX]:
        """Every LMX, in the order of the choices; those that announced themselves come last."""
        return [server for server in self.everyone() if isinstance(server, LMX)]

    def everyone(self) -> list[Server]:
        return [*self.servers.values(), *self.found.values()]

    async def listings(self, servers: Sequence[Server]) -> list[Listing]:
        """What these servers have, asked a few seconds ago at most."""
        known = [listing for listing in self.listed if listing.server in servers]
        if self.clock() - self.listed_at > FRESH_SECONDS or len(known) < len(servers):
            asked = [server for server in servers if not server.breaker.open]
            known = [*await asyncio.gather(*map(listing, asked))]
            known += [Listing(server) for server in servers if server not in asked]
            self.listed = known
            self.listed_at = self.clock()
        return known

    async def catalogue(self) -> list[Listing]:
        """What each server has right now, or why that is not known: how healthy each is."""
        self.refresh()
        return list(await asyncio.gather(*map(listing, self.everyone())))

    def host(self, name: str) -> LMX:
        """One LMX by its name. Raises KeyError."""
        self.refresh()
        return {host.name: host for host in self.hosts()}[name]

    def refresh(self) -> Config:
        """Take up the choices, if they are others than before, and the hosts found on the network."""
        config = self.choices()
        if config is not self.config:
            self._take_up(config)
            self.config = config
        if config.lmx_discovery:
            self._look_around(config)
        else:
            self.retired += self.found.values()
            self.found = {}
        return config

    async def close(self) -> None:
        if self.discovery:
            await self.discovery.close()
        for server in (*self.everyone(), *self.retired):
            await server.close()

    def _take_up(self, config: Config) -> None:
        """A client for each server; one that is configured as before is kept, with what is known of it."""
        before, limits = self.config, config.limits
        same = before is not None and before.limits == limits
        servers: dict[str, Server] = {}
        for name, provider in specs(config).items():
            if before is not None and same and specs(before).get(name) == provider:
                servers[name] = self.servers.pop(name)
            else:
                servers[name] = make(name, provider, limits, Breaker(self.clock))
        self.retired += self.servers.values()
        self.servers = servers

    def _look_around(self, config: Config) -> None:
        """Begin to browse, and make clients of the hosts that announced themselves since."""
        if self.discovery is None:
            self.discovery = Discovery(self.interfaces)
            try:
                self.discovery.open()
            except OSError as error:
                log.warning("no LMX can be found on the network: %s", error)
        urls = self.discovery.hosts
        for name in [name for name, host in self.found.items() if urls.get(name) != host.url]:
            self.retired.append(self.found.pop(name))
        for name in urls.keys() - self.found.keys():
            self.found[name] = LMX(urls[name], name, limits=config.limits, breaker=Breaker(self.clock))


def specs(config: Config) -> dict[str, Provider]:
    """Every configured server by its name: the LMX of the user's own, and the providers."""
    return {OWN: Provider(url=config.lmx_url, kind="lmx"), **config.providers}


def make(name: str, provider: Provider, limits: Limits, breaker: Breaker) -> Server:
    """A configured provider may be anywhere; the LMX of the user's own is on this network."""
    if name == OWN:
        return LMX(provider.url, name, limits=limits, breaker=breaker)
    rest: dict[str, Any] = {"limits": limits, "breaker": breaker, "key": partial(keychain.find, name)}
    match provider.kind:
        case "anthropic":
            return Anthropic(provider.url, name, max_output_tokens=provider.max_output_tokens, **rest)
        case "lmx":
            return LMX(provider.url, name, lan=False, **rest)
        case "openai":
            return OpenAI(provider.url, name, **rest)


async def listing(server: Server) -> Listing:
    """What a server has; a server that does not say so at once counts as one that cannot be reached."""
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            return Listing(server, await server.listing())
    except TimeoutError:
        server.breaker.failed()
        return Listing(server, failure=server.silent(LISTING_SECONDS))
    except Failure as failure:
        return Listing(server, failure=failure)
