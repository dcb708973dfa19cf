"""Connections to model servers: to the LAN alone where nothing else was agreed, and no proxy has a say."""

import asyncio
import socket
from contextlib import suppress
from ipaddress import IPv6Address, ip_address

import httpx

from cli.protocol.failures import Failure

# A peer that vanished without a word is noticed within about 90 s, however long an answer may take.
KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), seconds)
        for name, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))
        if hasattr(socket, name)
    ),
]
# A server may close an idle connection after 5 s: ours is gone before, or a request could meet the closing.
LIMITS = httpx.Limits(max_connections=None, keepalive_expiry=2)


class LeavesLan(Failure):
    """A prompt would have gone to a public address that was not configured as a provider."""

    def __init__(self, host: str) -> None:
        super().__init__("leaves_lan", f"{host} is not on this network, and no provider has that address.")


class Open(httpx.AsyncHTTPTransport):
    """To anywhere: the user configured the host as a provider."""

    def __init__(self) -> None:
        super().__init__(limits=LIMITS, trust_env=False, socket_options=KEEPALIVE)


class Lan(Open):
    """To this machine and its network alone: a name is resolved here, and only what is near is asked."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        wait = request.extensions.get("timeout", {}).get("connect")
        found = await addresses(host, request.url.port or 80, wait)
        nearby = [address for address in found if on_lan(address)]
        if not nearby:
            raise LeavesLan(host)
        for address in nearby[:-1]:
            try:
                return await super().handle_async_request(toward(request, address, host))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue  # nothing was sent: `localhost` may be ::1 first, where nobody listens
        return await super().handle_async_request(toward(request, nearby[-1], host))


def toward(request: httpx.Request, address: str, host: str) -> httpx.Request:
    """The request to that address; its Host header, and the name its certificate must have, stay."""
    extensions = {**request.extensions, "sni_hostname": host}
    url = request.url.copy_with(host=address)
    return httpx.Request(
        request.method, url, headers=request.headers, stream=request.stream, extensions=extensions
    )


async def addresses(host: str, port: int, wait: float | None) -> list[str]:
    """Those of a host, in the order to try them. Raises httpx's errors of connecting."""
    with suppress(ValueError):
        return [str(ip_address(host))]  # a number already: no thread has to look it up
    try:
        async with asyncio.timeout(wait):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:  # a timeout is one too
        raise httpx.ConnectError(f"{host} cannot be resolved: {error.strerror or 'no answer'}") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def on_lan(address: str) -> bool:
    """Loopback, private, link-local, or shared (RFC 6598, as VPNs use it): whatever is not the Internet."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return not ip.is_global and not ip.is_multicast
