"""One HTTP request to a role on this machine, by the standard library.

aiohttp, which asks model servers, imports for 200 ms, and this is what stands between the Enter key and
the daemon's first byte. It also ignores HTTP_PROXY, which has no say over a loopback address.
"""

from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

# A connection that could not be made, broke, or said nothing for longer than the timeout.
Broken = (OSError, HTTPException)


def send(
    method: str,
    url: str,
    *,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10,
) -> HTTPResponse:
    """The answer, its body still to be read; closing it closes the connection. Raises one of Broken."""
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    said = {"Connection": "close", **(headers or {})}
    if body is not None:
        said["Content-Type"] = "application/json"
    try:
        connection.request(method, path, body.encode() if body is not None else None, said)
        return connection.getresponse()
    except BaseException:
        connection.close()
        raise


def frames(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The data of each server-sent event that has no name: those that have one say why a stream ends, which
    who asks again is told anyway. A frame that the connection cut short is dropped.

    Lines end in \\n alone: text may hold U+2028, which `str.splitlines` would tear a frame at.
    """
    data: list[bytes] = []
    named = False
    for line in lines:
        line = line.rstrip(b"\r\n")
        if line.startswith(b"event:"):
            named = True
        elif line.startswith(b"data:"):
            data.append(line.removeprefix(b"data:").removeprefix(b" "))
        elif not line:
            if data and not named:
                yield b"\n".join(data)
            data, named = [], False
