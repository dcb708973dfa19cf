"""Requests to the web as rules are about them: a URL, and before it the method where it is not GET or HEAD.

    web_fetch(https://docs.python.org/**)        * within a part of the path, ** for any parts
    web_fetch(https://*.python.org/**)           any host below python.org
    http_request(POST https://api.example/v1/*)  without a method, GET and HEAD alone are allowed

Allow matches narrowly: one scheme, one host and port, the query too. Deny and ask match widely: any scheme
and, where none is named, any port and method; the hosts below the one that is named; all that lies below
the path.
"""

from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from yarl import URL

from cli.agent.wildcards import same
from cli.tools.address import PORTS, parsed

READING = ("GET", "HEAD")
# What a server may take for the end of a part of the path.
ENDS = ("%2f", "%5c", "\\")


class Request(NamedTuple):
    """`port` is 0 where a pattern names none; `path` has a slash before each of its parts, and the query
    in the last."""

    method: str
    scheme: str
    host: str
    port: int
    path: str


def subject(method: str, url: str) -> str:
    """A request in the one way in which it is written; empty for what is no URL."""
    try:
        return f"{method} {parsed(url)}"
    except ValueError:
        return ""


def read(text: str) -> Request:
    """A subject, or what a pattern says. Raises ValueError."""
    method, _, url = text.strip().rpartition(" ")
    scheme, found, rest = url.partition("://")
    if not found:
        scheme, rest = "", url
    place = urlsplit(f"//{rest}")
    labels = (place.hostname or "").removesuffix(".").split(".")
    host = ".".join(label if label.isascii() else coded(label) for label in labels)
    path = f"{place.path or '/'}?{place.query}" if place.query else place.path or "/"
    return Request(method.upper(), scheme.lower(), host, place.port or 0, path)


def coded(label: str) -> str:
    """A part of a host's name as the network has it. Raises ValueError."""
    return URL.build(scheme="http", host=label).raw_host or ""


def allows(about: str, said: str) -> bool:
    """Whether the pattern names just this request."""
    try:
        wanted, asked = read(about), read(said)
    except ValueError:
        return False
    scheme = wanted.scheme or "https"
    if asked.scheme != scheme or scheme not in PORTS or port(asked) != (wanted.port or PORTS[scheme]):
        return False
    if asked.method != wanted.method and (wanted.method or asked.method not in READING):
        return False
    if any(end in asked.path.lower() for end in ENDS) and wanted.path != "/**":
        return False
    below = wanted.host.startswith("*.") and asked.host.endswith(wanted.host[1:])
    return (below or asked.host == wanted.host) and along(asked.path.replace("*", "%2A"), wanted.path)


def names(about: str, said: str) -> bool:
    """Whether the pattern is about this request in any way; a request that cannot be read may be."""
    if not said:
        return True
    try:
        wanted, asked = read(about), read(said)
    except ValueError:
        return True
    host = wanted.host.removeprefix("*.")
    if not (fnmatchcase(asked.host, host) or fnmatchcase(asked.host, f"*.{host}")):
        return False
    if wanted.port not in (0, port(asked)) or wanted.method not in ("", asked.method):
        return False
    path = unquote(asked.path).casefold()
    bare = path.partition("?")[0]
    theirs = unquote(wanted.path).casefold().removesuffix("/")
    return any(along(each, f"{theirs}{rest}") for each in (path, bare) for rest in ("", "/", "/**"))


def pattern(said: str) -> str:
    """For a request that only reads, all of its host; for another, that request alone."""
    method, _, url = said.partition(" ")
    if method in READING:
        place = urlsplit(url)
        return f"{place.scheme}://{place.netloc}/**"
    return f"{method} {url.replace('*', '%2A')}"


def along(path: str, wanted: str) -> bool:
    """Whether the parts of a path are those wanted."""
    return same(path.split("/"), [literal(part) for part in wanted.split("/")], "**")


def literal(part: str) -> str:
    """A glob in which nothing but * is special: a ? begins a query."""
    return part.replace("[", "[[]").replace("?", "[?]")


def port(request: Request) -> int:
    return request.port or PORTS.get(request.scheme, 0)
