"""Connections to model servers: asked again while they live, hung up by who leaves, on this network alone."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import certifi
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cli.clients.lmx import LMX
from cli.clients.transport import Transport
from cli.config import Limits
from cli.protocol.failures import Failure

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = OK + b"Content-Length: 5\r\n\r\n"


class Peer:
    """A server that writes each of `answers` to one request, and hangs up once it is told to."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.hangs_up = False
        self.url = ""
        self.asked, self.left = asyncio.Event(), asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                self.asked.set()
                writer.write(self.answers.pop(0))
                await writer.drain()
                if self.hangs_up:
                    break
        writer.close()
        self.left.set()


@asynccontextmanager
async def listening(**tls: Any) -> AsyncIterator[Peer]:
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, **tls)
    peer.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield peer
    server.close()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with listening() as peer:
        yield peer


@pytest.fixture
def http(closing: Callable[..., Any]) -> Transport:
    found: Transport = closing(Transport(5, lan=True))
    return found


async def get(http: Transport, url: str, method: str = "GET") -> bytes:
    async with asyncio.timeout(10), await http.send(method, url) as response:
        return await response.read()


BROKEN = {
    "nothing": (b"", "hung up without an answer"),
    "half a head": (OK, "hung up without an answer"),
    "half a body": (SIZED + b"he", "received 2 of 5 bytes"),
    "half a chunk": (CHUNKED + b"5\r\nhe", "Not enough data"),
    "no last chunk": (CHUNKED + b"5\r\nhello\r\n", "Not enough data"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", "Bad status line"),
    "no number": (OK + b"Content-Length: many\r\n\r\n", "Content-Length"),
    "a head without end": (OK + b"X: y\r\n" * 20_000, "Too many headers"),
    "a line without end": (OK + b"X: " + b"y" * 100_000, "more than 8190 bytes"),
    "hints without end": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5_000, "hung up without an answer"),
    "a trailer without end": (CHUNKED + b"1\r\nh\r\n0\r\n" + b"X: y\r\n" * 100_000, "Too many headers"),
}


@pytest.mark.parametrize(("answer", "why"), BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_no_whole_answer_is_told_on_one_line(peer: Peer, closing, answer: bytes, why: str):
    peer.answers, peer.hangs_up = [answer] * 2, True  # what changes nothing is asked twice
    with pytest.raises(Failure, match=why) as caught:
        await closing(LMX(peer.url)).fetch(peer.url)
    assert caught.value.code == "upstream_truncated"
    assert "\n" not in caught.value.message


async def test_a_connection_is_asked_again(peer: Peer, http: Transport):
    peer.answers = [CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", SIZED + b"again"]
    assert [await get(http, peer.url, "POST"), await get(http, peer.url, "POST")] == [b"hello", b"again"]
    assert peer.connections == 1


CLOSING = {
    "it hung up": (SIZED + b"hello", True),
    "it said that it will": (OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", False),
    "it said more than was asked": (SIZED + b"hello" + SIZED + b"wrong", False),
}


@pytest.mark.parametrize(("answer", "hangs_up"), CLOSING.values(), ids=CLOSING.keys())
async def test_no_request_meets_the_end_of_a_connection(peer: Peer, http: Transport, answer, hangs_up: bool):
    peer.answers, peer.hangs_up = [answer, SIZED + b"again"], hangs_up
    assert await get(http, peer.url, "POST") == b"hello"
    await asyncio.wait_for(peer.left.wait(), 5)
    assert await get(http, peer.url, "POST") == b"again"
    assert peer.connections == 2


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_nor_one_that_ended_while_nobody_looked(run: Callable[..., None]):
    async def answer(listener: socket.socket, word: bytes) -> socket.socket:
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(listener)
        assert b"\r\n\r\n" in await loop.sock_recv(connection, 1 << 16)
        await loop.sock_sendall(connection, SIZED + word)
        return connection

    async def ask(listener: socket.socket) -> None:
        http, url = Transport(5, lan=True), f"http://127.0.0.1:{listener.getsockname()[1]}/"
        for word in (b"hello", b"again"):
            answering = asyncio.create_task(answer(listener, word))
            assert await get(http, url, "POST") == word
            (await answering).close()  # and the next is asked before the loop could learn of it
        await http.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        run(ask(listener))


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Peer]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate(tmp_path / "own.pem"))
    async with listening(ssl=tls) as peer:
        yield peer


@pytest.mark.parametrize("answer", [b"", OK], ids=["no answer", "half a head"])
async def test_who_stops_waiting_hangs_up(peer: Peer, http: Transport, answer: bytes):
    peer.answers = [answer]
    waiting = asyncio.create_task(get(http, peer.url))
    await asyncio.wait_for(peer.asked.wait(), 5)
    waiting.cancel()
    await asyncio.wait_for(peer.left.wait(), 5)


async def test_who_leaves_before_the_end_hangs_up(peer: Peer, http: Transport):
    peer.answers = [SIZED + b"he"]
    response = await http.send("GET", peer.url)
    response.close()
    await asyncio.wait_for(peer.left.wait(), 5)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_long_answer_waits_for_a_slow_reader(run: Callable[..., None]):
    async def read() -> None:
        http, size = Transport(5, lan=True), 8 << 20
        async with listening() as peer:
            peer.answers = [OK + b"Content-Length: %d\r\n\r\n" % size + bytes(size), SIZED + b"again"]
            response, lengths = await http.send("GET", peer.url), []
            async for piece in response.content.iter_any():
                lengths.append(len(piece))
                await asyncio.sleep(0.001)
            assert sum(lengths) == size
            assert max(lengths) < 1 << 20
            assert await get(http, peer.url) == b"again"
            assert peer.connections == 1
            await http.close()
            await asyncio.wait_for(peer.left.wait(), 5)

    run(read())


async def test_a_peer_that_vanishes_is_noticed(peer: Peer, http: Transport):
    peer.answers = [SIZED]
    response = await http.send("GET", peer.url)
    found = response.connection.transport.get_extra_info("socket")
    assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 6
    response.close()


async def test_a_key_with_a_line_break_is_neither_sent_nor_shown(peer: Peer, closing):
    with pytest.raises(Failure, match="cannot be sent") as caught:
        await closing(LMX(peer.url, key=lambda: "sk-1\r\nX-Admin: 1")).listing()
    assert caught.value.code == "key_unreadable"
    assert "sk-1" not in caught.value.message
    assert not peer.requests


def leading_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have every name lead to these."""

    async def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        kind = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, ""
        return [(*kind, (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def test_a_name_is_asked_at_what_is_near_and_answers(peer: Peer, closing, monkeypatch):
    leading_to(monkeypatch, "8.8.8.8", "127.0.0.2", "127.0.0.1")  # far, nobody, and the peer
    peer.answers = [SIZED + b"hello"]
    url = peer.url.replace("127.0.0.1", "studio")
    assert await closing(LMX(url)).fetch(url) == b"hello"


async def test_a_name_that_leads_off_this_network_is_not_asked(closing, monkeypatch):
    leading_to(monkeypatch, "8.8.8.8", "1.1.1.1")
    with pytest.raises(Failure, match="studio is not on this network") as caught:
        await closing(LMX("http://studio:1")).listing()
    assert caught.value.code == "leaves_lan"


@pytest.mark.parametrize("url", ["http://134744072:1", "http://8.8.8.8.:1", "http://" + "a" * 64])
async def test_what_is_nearly_an_address_is_none(closing, url: str):
    with pytest.raises(Failure) as caught:
        await closing(LMX(url, lan=False)).listing()
    assert caught.value.code == "lmx_unreachable"


async def test_nobody_there_is_said_in_the_systems_words(closing):
    with pytest.raises(Failure, match=r":1: Connection refused"):
        await closing(LMX("http://127.0.0.1:1")).listing()


async def test_one_who_does_not_speak_tls_is_not_waited_for(peer: Peer, closing):
    client = LMX(peer.url.replace("http", "https"), limits=Limits(connect_seconds=0.2))
    with pytest.raises(Failure, match="did not answer in time") as caught:
        await closing(client).listing()
    assert caught.value.code == "lmx_unreachable"


async def test_tls_is_asked_again_and_hung_up_on(secure: Peer, http: Transport, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "own.pem"))
    secure.answers = [SIZED + b"hello", SIZED + b"he"]
    assert await get(http, secure.url) == b"hello"
    (await http.send("GET", secure.url)).close()
    await asyncio.wait_for(secure.left.wait(), 5)
    assert secure.connections == 1


async def test_a_certificate_that_nobody_vouches_for_is_refused(secure: Peer, closing):
    with pytest.raises(Failure, match="CERTIFICATE_VERIFY_FAILED") as caught:
        await closing(LMX(secure.url)).listing()
    assert caught.value.code == "lmx_unreachable"
    assert not secure.requests


def certificate(file: Path) -> Path:
    """A key, and a certificate that it signed for itself."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]),
    )
    now, address = datetime.now(UTC), x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now).not_valid_after(now + timedelta(days=1)).add_extension(address, False)
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    file.write_bytes(key.private_bytes(pem, *plain) + made.sign(key, hashes.SHA256()).public_bytes(pem))
    return file
