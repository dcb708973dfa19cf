"""LMX hosts that announce themselves on this network, by mDNS (RFC 6762) and DNS-SD (RFC 6763)."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cli.clients.lan import on_lan

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

SERVICE = "_opta-lmx._tcp.local."
# How long a host that was seen may take to say where it listens.
ASK_MILLISECONDS = 3000


class Discovery:
    """Browses until it is closed; `hosts` are the URLs found by now, by the names they announced."""

    def __init__(self, interfaces: Sequence[str] | None = None) -> None:
        """`interfaces` are addresses of this machine's; all of them by default."""
        self.interfaces = interfaces
        self.hosts: dict[str, str] = {}
        self.changed = asyncio.Event()
        self.asking: set[asyncio.Task[None]] = set()
        self.zeroconf: AsyncZeroconf | None = None
        self.browser: AsyncServiceBrowser | None = None

    def open(self) -> None:
        """Begin to browse, on the running loop. Raises OSError when the machine has no network."""
        from zeroconf import InterfaceChoice  # 75 ms, which only who browses pays
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        interfaces: Any = list(self.interfaces) if self.interfaces else InterfaceChoice.All
        self.zeroconf = AsyncZeroconf(interfaces=interfaces)
        self.browser = AsyncServiceBrowser(self.zeroconf.zeroconf, SERVICE, handlers=[self._heard])

    async def close(self) -> None:
        for task in self.asking:
            task.cancel()
        if self.browser:
            await self.browser.async_cancel()
        if self.zeroconf:
            await self.zeroconf.async_close()

    def _heard(
        self, zeroconf: "Zeroconf", service_type: str, name: str, state_change: "ServiceStateChange"
    ) -> None:
        if state_change.name == "Removed":
            self.hosts.pop(label(name), None)
            self.changed.set()
            return
        task = asyncio.create_task(self._ask(zeroconf, service_type, name))
        self.asking.add(task)
        task.add_done_callback(self.asking.discard)

    async def _ask(self, zeroconf: "Zeroconf", service_type: str, name: str) -> None:
        """Where the host listens. What it says must be on this network: anyone can announce anything."""
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(service_type, name)
        if not await info.async_request(zeroconf, ASK_MILLISECONDS) or not info.port:
            return
        nearby = [each for each in info.parsed_scoped_addresses() if on_lan(each)]
        if nearby:
            self.hosts[label(name)] = url(nearby[0], info.port)
            self.changed.set()


def label(name: str) -> str:
    return name.removesuffix(f".{SERVICE}")


def url(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
