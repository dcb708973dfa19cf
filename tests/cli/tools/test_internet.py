"""What of the web can be asked: nothing that is not public, by whatever name, unless the user listed it."""

import asyncio
import resource
import socket
import zlib
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from cli.tools import internet
from cli.tools.address import neighbours, parsed, public
from cli.tools.files import Workspace
from cli.tools.internet import Asked, Closed, Internet, Unanswered, dial
from cli.tools.web import web_fetch
from tests.cli.tools.website import Server, dripping, leads

INNER = [
    "0.0.0.0", "0.1.2.3",  # noqa: S104  # an address is not bound to here
    "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
    "168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.251",
    "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::a00:1", "::808:808", "::ffff:7f00:1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0:7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1",
    "2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00::1",
    "fd00:ec2::254", "fe80::1", "fe80::a9fe:a9fe", "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.0.1.1", "::ffff:8.8.8.8", "64:ff9b::808:808",
          "2606:4700:4700::1111", "2a00:1450:4001:800::200e"]  # fmt: skip
NO_URL = [
    "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "javascript:alert(1)", "data:,x",
    "//example.com/", "example.com", "http:example.com", "http:///x", "http://", "",
    "http://good@127.0.0.1/", "http://@127.0.0.1/", "https://a:b@example.com/", "http://good\\@127.0.0.1/",
    "http://2130706433/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://127.1/",
    "http://127.0.0.01/", "http://0/", "http://1.2.3.4.5/", "http://example.0x7f/", "http://256.1.1.1/",
    "http://[fe80::1%25eth0]/", "http://[::1/", "http://[::gggg]/", "http://exa mple.com/", "http://a\n.b/",
    "http://a\t.b/", "http://\u200bexample.com/", "http://ex%61mple.com/", "http://localhost%00.example.com/",
    "http://example.com:0/", "http://example.com:99999/", "http://example.com:-1/", "http://a..b/", "http://./",
]  # fmt: skip


class Names(AbstractResolver):
    """A resolver whose answers a test says, one after the other; the last goes on."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        kind = socket.AF_INET6 if ":" in said else socket.AF_INET
        flags = socket.AI_NUMERICHOST
        return [ResolveResult(hostname=host, host=said, port=port, family=kind, proto=0, flags=flags)]

    async def close(self) -> None:
        pass


def reached(address: str) -> Any:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.SOCK_STREAM, 0, "", (address, 443)


@pytest.mark.parametrize("address", INNER)
async def test_an_address_that_is_not_public_is_not_connected_to_under_any_name(address: str, tmp_path: Path):
    assert not public(address)
    names = Names(address)
    with pytest.raises(Closed, match="not on the public Internet"):
        await Internet(resolver=lambda: names).ask(Asked(parsed("https://example.com/")))
    literal = f"[{address}]" if ":" in address else address
    with pytest.raises(ValueError, match="not on the public Internet"):
        await web_fetch(Workspace(tmp_path, web=Internet()), f"http://{literal}/")
    assert names.asked == ["example.com"]
    with pytest.raises(Closed):
        dial(parsed("https://example.com/"), public, reached(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_may_be_connected_to(address: str):
    dial(parsed("https://example.com/"), public, reached(address)).close()
    assert public(address)


@pytest.mark.parametrize("address", ["2a02:8100::7", "5.5.5.9", "::ffff:5.5.5.9", "64:ff9b::505:509"])
async def test_a_public_address_in_a_network_of_this_machine_is_not_connected_to(address: str):
    own = [ip_network("2a02:8100::/64"), ip_network("5.5.5.0/24")]
    assert public(address) and not public(address, own)
    with pytest.raises(Closed):
        names = Names(address)
        await Internet(resolver=lambda: names, own=lambda: own).ask(Asked(parsed("https://nas.example/")))


def test_the_networks_of_this_machine_are_known():
    assert ip_network("127.0.0.0/8") in neighbours()


@pytest.mark.parametrize("url", NO_URL)
def test_what_is_no_plain_url_of_the_web_is_refused_as_it_is_written(url: str):
    with pytest.raises(ValueError):
        parsed(url)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("HTTP://EXAMPLE.com:80/a/../b/%2e%2e/c?x=1#f", "http://example.com/c?x=1"),
        ("https://example.com./", "https://example.com/"),
        ("http://１２７.0.0.1/", "http://127.0.0.1/"),
        ("http://127。0。0。1/", "http://127.0.0.1/"),
        ("http://ⓛocalhost/", "http://localhost/"),
        ("http://bücher.de/ü", "http://xn--bcher-kva.de/%C3%BC"),
        ("http://[0:0:0:0:0:ffff:127.0.0.1]:8080/", "http://[::ffff:7f00:1]:8080/"),
        ("https://example.com/?@127.0.0.1", "https://example.com/?@127.0.0.1"),
    ],
)
def test_a_url_has_one_spelling(written: str, meant: str):
    assert str(parsed(written)) == meant
    assert parsed(meant) == parsed(written)


@pytest.mark.parametrize("host", ["localhost", "localhost.", "LOCALHOST", "127.0.0.1."])
async def test_this_machine_is_not_asked_by_its_names(server: Server, host: str):
    with pytest.raises(Closed):
        await Internet().ask(Asked(parsed(f"http://{host}:{server.port}/")))
    assert server.seen == []


async def test_the_address_that_counts_is_the_one_that_is_connected_to(server: Server):
    """A name that led to another place when somebody looked leads nowhere now."""
    names = Names("127.0.0.1", "10.0.0.1", "127.0.0.1")
    web = Internet(resolver=lambda: names)
    for _ in range(3):
        with pytest.raises(Closed):
            await web.ask(Asked(parsed(f"http://rebound.example:{server.port}/")))
    assert len(names.asked) == 3 and server.seen == []


async def test_a_name_with_a_public_address_and_a_private_one_is_not_asked(server: Server):
    class Both(Names):
        async def resolve(
            self, host: str, port: int = 0, family: Any = socket.AF_INET
        ) -> list[ResolveResult]:
            return [*await Names("127.0.0.1").resolve(host, port), *await Names("::1").resolve(host, port)]

    with pytest.raises(Closed):
        await Internet(resolver=Both).ask(Asked(parsed(f"http://both.example:{server.port}/")))
    assert server.seen == []


@pytest.mark.parametrize("port", [1, 22, 25, 79, 81, 445, 631, 1023])
async def test_ports_of_other_services_are_not_asked(port: int):
    names = Names("8.8.8.8")
    with pytest.raises(Closed, match="port"):
        await Internet(resolver=lambda: names).ask(Asked(parsed(f"http://example.com:{port}/")))
    assert names.asked == []


async def test_a_host_of_the_users_list_may_be_private_at_its_port_alone(server: Server):
    names = Names("127.0.0.1")
    listed = Internet(lambda: [f"intranet.example:{server.port}"], resolver=lambda: names)
    assert (await listed.ask(Asked(parsed(f"http://intranet.example:{server.port}/")))).body == b"hello"
    for host in ("other.example", "intranet.example.evil", "127.0.0.1"):
        with pytest.raises(Closed):
            await listed.ask(Asked(parsed(f"http://{host}:{server.port}/")))
    for port in (":1", "", ":65535"):
        with pytest.raises(Closed):
            await listed.ask(Asked(parsed(f"http://intranet.example{port}/")))
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "where",
    ["http://127.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "//10.0.0.1/",
     "http://localhost/", "https://elsewhere.example/"],
)  # fmt: skip
async def test_a_redirect_to_another_host_is_told_of_and_not_followed(
    server: Server, where: str, status: int
):
    server.handler = leads(where, status)
    answer = await server.web().ask(Asked(parsed(server.url)))
    assert answer.elsewhere == parsed(server.url).join(
        parsed(where) if "://" in where else internet.URL(where)
    )
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "where",
    ["file:///etc/passwd", "ftp://127.0.0.1/", "http://good@127.0.0.1/", "http://2130706433/", "gopher://x/",
     "http://0x7f.1/"],
)  # fmt: skip
async def test_a_redirect_to_what_is_no_plain_url_ends_there(server: Server, where: str):
    server.handler = leads(where)
    with pytest.raises(Closed, match="does not go on"):
        await server.web().ask(Asked(parsed(server.url)))


async def test_redirects_on_one_host_are_followed_five_times(server: Server):
    async def handler(request: web.Request) -> web.Response:
        step = int(request.path.strip("/") or 0)
        if step == 5:
            return web.Response(text="there")
        return web.Response(status=302, headers={"Location": f"/{step + 1}"})

    server.handler = handler
    answer = await server.web().ask(Asked(parsed(server.url)))
    assert (answer.body, answer.url.path) == (b"there", "/5")
    server.handler = leads("/again")
    with pytest.raises(Unanswered, match="on and on"):
        await server.web().ask(Asked(parsed(server.url)))
    assert len(server.seen) == 12


async def test_a_redirect_never_leads_from_https_down_to_http():
    class Response:
        status = 302
        headers = {"Location": "http://example.com/"}

    with pytest.raises(Closed, match="from https"):
        internet.leading(parsed("https://example.com/"), Response())


def test_headers_stay_with_the_server_that_they_were_written_for():
    secret = Asked(parsed("http://example.com/a"), "POST", {"Authorization": "k"}, "x")
    there, up = parsed("http://example.com/b"), parsed("https://example.com/a")
    assert internet.onward(secret, there, "307") == Asked(there, "POST", {"Authorization": "k"}, "x")
    assert internet.onward(secret, there, "302") == Asked(there, "GET", {"Authorization": "k"})
    assert internet.onward(secret, up, "308") == Asked(up, "POST", {}, "x")
    assert internet.upward(secret.url, up)
    assert not internet.upward(secret.url, parsed("http://example.com:8080/a"))
    assert not internet.upward(parsed("http://example.com:8080/"), up)


async def test_no_proxy_no_cookie_and_no_password_of_the_environment_goes_along(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hush\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/again":
            return web.Response(text="ok")
        return web.Response(status=302, headers={"Location": "/again", "Set-Cookie": "a=b"})

    server.handler = handler
    assert (await server.web().ask(Asked(parsed(server.url)))).body == b"ok"
    for request in server.seen:
        assert not {"Cookie", "Authorization"} & set(request.headers)
        assert request.headers["User-Agent"].startswith("opta/")


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65_536)


async def test_a_body_without_an_end_is_read_up_to_the_bound(server: Server):
    server.handler = endless
    answer = await server.web().ask(Asked(parsed(server.url)))
    assert answer.cut and len(answer.body) == internet.BODY_BYTES
    await server.free.wait()
    assert server.open == 0


async def test_a_server_that_drips_is_left_when_the_time_is_over(server: Server):
    server.handler = dripping
    with pytest.raises(Unanswered, match=r"longer than 0\.3 s"):
        await server.web(seconds=0.3).ask(Asked(parsed(server.url)))
    await server.free.wait()
    assert server.open == 0


def packed(piece: bytes, times: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(piece) for _ in range(times)), packer.flush()])


async def test_a_body_that_unpacks_to_gigabytes_is_unpacked_no_further_than_the_bound(server: Server):
    bomb = packed(b" " * 1_000_000, 200)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"})

    server.handler = handler
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = await server.web().ask(Asked(parsed(server.url)))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert answer.cut and len(answer.body) == internet.BODY_BYTES
    assert grown < 100_000, f"{grown} KB more"


async def test_a_call_that_is_cancelled_hangs_up(server: Server, tmp_path: Path):
    server.handler = dripping
    task = asyncio.create_task(web_fetch(Workspace(tmp_path, web=server.web()), server.url))
    await server.busy.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.free.wait()
    assert server.open == 0


async def test_an_answer_that_breaks_off_or_is_none_is_told(server: Server):
    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain", "Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport
        request.transport.close()
        return response

    server.handler = broken
    with pytest.raises(Unanswered):
        await server.web().ask(Asked(parsed(server.url)))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unanswered, match="no answer"):
            await Internet(lambda: [nobody]).ask(Asked(parsed(f"http://{nobody}/")))
