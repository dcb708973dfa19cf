"""This network: what a prompt may go to without being asked, and what it may not."""

from ipaddress import IPv6Address, ip_address

from cli.protocol.failures import Failure


class LeavesLan(Failure):
    """A prompt would have gone to a public address that was not configured as a provider."""

    def __init__(self, host: str) -> None:
        super().__init__("leaves_lan", f"{host} is not on this network, and no provider has that address.")


def on_lan(address: str) -> bool:
    """Loopback, private, link-local, or shared (RFC 6598, as VPNs use it): whatever is not the Internet."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return not ip.is_global and not ip.is_multicast
