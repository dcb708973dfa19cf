"""Web addresses: the one way in which each is written, and which of them lead to the public Internet."""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import ifaddr
from yarl import URL

HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
# The last part of a name that a resolver takes for an IPv4 address, in one of its spellings.
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
Networks = Collection[IPv4Network | IPv6Network]
PORTS = {"http": 80, "https": 443}
# IPv6 addresses that hold an IPv4 one in their last 32 bits: mapped (RFC 4291), translated (RFC 7915) and
# NAT64 (RFC 6052). It is the IPv4 address that is reached.
HOLDING = [IPv6Network(net) for net in ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")]
# All that is given out as global unicast (RFC 4291); in it Teredo and 6to4, which are tunnels into IPv4
# that nobody should need, and addresses for documentation (RFC 9637).
GIVEN_OUT = IPv6Network("2000::/3")
TUNNELS = [IPv6Network(net) for net in ("2001::/32", "2002::/16", "3fff::/20")]
# Public by their number alone: Azure's server for its machines' metadata, Oracle's within the addresses of
# protocols (RFC 6890), and relays of 6to4 (RFC 7526).
INNER = [IPv4Network(net) for net in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")]


def parsed(text: str) -> URL:
    """The URL, in lower case, resolved and escaped, without a fragment. Raises ValueError for what none is.

    What a program could take for something else than it looks like is refused: names and passwords, and
    IPv4 addresses that are not written as four numbers.
    """
    if not text.isprintable() or " " in text:
        raise ValueError("A URL has no spaces and no characters that are not shown.")
    url = URL(text).with_fragment(None)
    if url.scheme not in PORTS:
        raise ValueError("Only URLs that begin with http:// or https:// can be asked.")
    if "@" in text.partition("://")[2].partition("/")[0].partition("?")[0].partition("#")[0]:
        raise ValueError("No name and password may stand in a URL.")
    host = named(url.raw_host or "")
    if url.port == 0:
        raise ValueError("There is no port 0.")
    return url.with_host(host).with_port(None if url.is_default_port() else url.port)


def named(host: str) -> str:
    """A host by the one spelling that it has here. Raises ValueError."""
    host = host.lower().removesuffix(".")
    if "%" in host:
        raise ValueError("An address of the web has no zone.")
    if ":" in host:
        return IPv6Address(host).compressed
    if not HOST.fullmatch(host) or len(host) > 253:
        raise ValueError(f"{host!r} is no name of a host.")
    if NUMBER.fullmatch(host.rpartition(".")[2]):
        return str(IPv4Address(host))
    return host


def public(address: str, own: Networks = ()) -> bool:
    """Whether an address leads to the Internet, and not into this machine, its networks or its cloud's."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and any(ip in net for net in HOLDING):
        ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    if any(ip in net for net in own):
        return False
    if isinstance(ip, IPv6Address):
        return ip in GIVEN_OUT and ip.is_global and not any(ip in net for net in TUNNELS)
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in INNER)


def neighbours() -> Networks:
    """The networks that this machine is in: with IPv6 what a home has in it has public addresses too."""
    found = [each for adapter in ifaddr.get_adapters() for each in adapter.ips if each.network_prefix]
    pairs = [(each.ip if isinstance(each.ip, str) else each.ip[0], each.network_prefix) for each in found]
    return {ip_network(pair, strict=False) for pair in pairs}
