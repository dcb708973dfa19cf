"""HTTP/1.1 as servers write it: whole answers, broken ones, and connections that are asked again."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cli.clients.transport import Open

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = OK + b"Content-Length: 5\r\n\r\n"
PACKED = gzip.compress(b"hello")


class Peer:
    """A server that writes each of `answers` to one request, and hangs up once it is told to."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.size = 1 << 20
        self.hangs_up = False
        self.asked, self.left = asyncio.Event(), asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                self.asked.set()
                answer = self.answers.pop(0)
                for start in range(0, len(answer), self.size):
                    writer.write(answer[start : start + self.size])
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.hangs_up:
                    break
        writer.close()
        self.left.set()


@pytest.fixture
async def peer() -> Peer:
    return Peer()


@pytest.fixture
async def url(peer: Peer) -> AsyncIterator[str]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/models?x=1"
    server.close()


@pytest.fixture
async def http() -> AsyncIterator[Open]:
    transport = Open(5)
    yield transport
    transport.close()


async def get(http: Open, url: str, **headers: str) -> bytes:
    async with asyncio.timeout(10):
        response = await http.send(httpx.Request("GET", url, headers=headers))
        try:
            return await response.aread()
        finally:
            await response.aclose()


WHOLE = {
    "sized": SIZED + b"hello",
    "chunked": CHUNKED + b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nA-Trailer: 1\r\n\r\n",
    "up to its end": OK + b"\r\nhello",
    "of an older server": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "announced": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + SIZED + b"hello",
    "packed": OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED,
}


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("answer", WHOLE.values(), ids=WHOLE.keys())
async def test_an_answer_is_the_same_however_it_is_framed_and_cut(peer: Peer, url: str, http, answer, size):
    peer.answers, peer.size, peer.hangs_up = [answer], size, True
    assert await get(http, url) == b"hello"
    assert peer.requests[0].startswith(b"GET /v1/models?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")


BROKEN = {
    "nothing": (b"", "hung up without an answer"),
    "half a head": (OK, "hung up without an answer"),
    "half a body": (SIZED + b"he", "hung up before the end"),
    "half a chunk": (CHUNKED + b"5\r\nhe", "hung up before the end"),
    "no last chunk": (CHUNKED + b"5\r\nhello\r\n", "hung up before the end"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", "no HTTP"),
    "no number": (OK + b"Content-Length: many\r\n\r\n", "no HTTP"),
    "a head without end": (OK + b"X: y\r\n" * 20_000, "longer than 64 KB"),
    "hints without end": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5_000, "longer than 64 KB"),
    "a trailer without end": (CHUNKED + b"1\r\nh\r\n0\r\n" + b"X: y\r\n" * 100_000, "longer than 64 KB"),
}


@pytest.mark.parametrize(("answer", "why"), BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_no_whole_answer_is_an_error(peer: Peer, url: str, http: Open, answer: bytes, why: str):
    peer.answers, peer.hangs_up = [answer], True
    with pytest.raises(httpx.TransportError, match=why):
        await get(http, url)


async def test_a_connection_is_asked_again(peer: Peer, url: str, http: Open):
    peer.answers = [WHOLE["chunked"], SIZED + b"again"]
    assert [await get(http, url), await get(http, url)] == [b"hello", b"again"]
    assert peer.connections == 1


CLOSING = {
    "it hung up": (SIZED + b"hello", True),
    "it said that it will": (OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", False),
    "it said more than was asked": (SIZED + b"hello" + SIZED + b"wrong", False),
}


@pytest.mark.parametrize(("answer", "hangs_up"), CLOSING.values(), ids=CLOSING.keys())
async def test_no_request_meets_the_end_of_a_connection(peer: Peer, url: str, http, answer, hangs_up):
    peer.answers, peer.hangs_up = [answer, SIZED + b"again"], hangs_up
    assert await get(http, url) == b"hello"
    await asyncio.wait_for(peer.left.wait(), 5)
    assert await get(http, url) == b"again"
    assert peer.connections == 2


@pytest.mark.parametrize("answer", [b"", OK], ids=["no answer", "half a head"])
async def test_who_stops_waiting_hangs_up(peer: Peer, url: str, http: Open, answer: bytes):
    peer.answers = [answer]
    waiting = asyncio.create_task(get(http, url))
    await asyncio.wait_for(peer.asked.wait(), 5)
    waiting.cancel()
    await asyncio.wait_for(peer.left.wait(), 5)


async def test_who_leaves_before_the_end_hangs_up(peer: Peer, url: str, http: Open):
    peer.answers = [SIZED + b"he"]
    response = await http.send(httpx.Request("GET", url))
    await response.aclose()
    await asyncio.wait_for(peer.left.wait(), 5)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_long_answer_waits_for_a_slow_reader(run: Callable[..., None]):
    async def read() -> None:
        peer, http, size = Peer(), Open(5), 8 << 20
        peer.answers = [OK + b"Content-Length: %d\r\n\r\n" % size + bytes(size), SIZED + b"again"]
        server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        response, lengths = await http.send(httpx.Request("GET", url)), []
        async for piece in response.aiter_raw():
            lengths.append(len(piece))
            await asyncio.sleep(0.001)
        assert sum(lengths) == size
        assert max(lengths) < 1 << 20
        assert await get(http, url) == b"again"
        http.close()
        await asyncio.wait_for(peer.left.wait(), 5)
        server.close()

    run(read())


async def test_a_key_with_a_line_break_is_neither_sent_nor_shown(peer: Peer, url: str, http: Open):
    with pytest.raises(httpx.LocalProtocolError) as caught:
        await get(http, url, Authorization="Bearer sk-1\r\nX-Admin: 1")
    assert "sk-1" not in str(caught.value)
    assert peer.connections == 0


async def test_a_host_with_several_addresses_is_asked_at_the_one_that_answers(peer: Peer, url: str):
    class Several(Open):
        async def hosts(self, url: httpx.URL, port: int) -> list[str]:
            return ["192.0.2.1", "127.0.0.2", "127.0.0.1"]  # none, nobody, and the peer

    http = Several(5)
    peer.answers = [SIZED + b"hello"]
    assert await get(http, url) == b"hello"
    http.close()
    await asyncio.wait_for(peer.left.wait(), 5)


async def test_nobody_there_is_said_in_the_systems_words(http: Open, url: str):
    with pytest.raises(httpx.ConnectError, match="Connection refused"):
        await get(http, "http://127.0.0.1:1/")


async def test_a_certificate_that_nobody_vouches_for_is_refused(peer: Peer, http: Open, tmp_path: Path):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate(tmp_path / "own.pem"))
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        await get(http, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert not peer.requests
    server.close()


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
