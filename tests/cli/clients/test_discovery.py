"""LMX hosts found by mDNS, against a real registration on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from cli.clients.discovery import SERVICE, Discovery
from cli.clients.providers import Providers
from tests.cli.clients.conftest import Choices, said
from tests.scripted import Scripted, says

LOOPBACK = ["127.0.0.1"]


@asynccontextmanager
async def announced(name: str, port: int, address: str = "127.0.0.1") -> AsyncIterator[None]:
    info = ServiceInfo(
        SERVICE,
        f"{name}.{SERVICE}",
        addresses=[socket.inet_aton(address)],
        port=port,
        server=f"{name}.local.",
    )
    zeroconf = AsyncZeroconf(interfaces=LOOPBACK)
    await (await zeroconf.async_register_service(info, cooperating_responders=True))
    try:
        yield
    finally:
        await (await zeroconf.async_unregister_service(info))
        await zeroconf.async_close()


async def until(discovery: Discovery, true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():
            discovery.changed.clear()
            await discovery.changed.wait()


async def test_a_host_comes_and_goes_and_one_elsewhere_is_not_believed(closing):
    discovery = closing(Discovery(LOOPBACK))
    discovery.open()
    async with announced("far", 1, "8.8.8.8"), announced("studio", 4321):
        await until(discovery, lambda: discovery.hosts)
        assert discovery.hosts == {"studio": "http://127.0.0.1:4321"}
    await until(discovery, lambda: not discovery.hosts)


async def test_a_host_that_was_found_answers_when_the_user_wants_that(closing, one: Scripted):
    choices = Choices(lmx_url="http://127.0.0.1:1", lmx_discovery=True)
    providers = closing(Providers(choices, interfaces=LOOPBACK))
    providers.refresh()
    one.models = ["m"]
    one.will(*says("found"))
    async with announced("studio", int(one.url.rpartition(":")[2])):
        await until(providers.discovery, lambda: providers.discovery.hosts)
        assert "found" in await said(providers)
        choices.config = choices.config.model_copy(update={"lmx_discovery": False})
        assert [listing.server.name for listing in await providers.catalogue()] == ["lmx"]
