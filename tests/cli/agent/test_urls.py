"""Rules about the web: what a pattern allows, what it denies, and what is asked."""

from json import dumps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.agent.policy import Call, call_of, decide, exactly, rule
from cli.protocol.messages import ToolCall
from cli.protocol.permissions import Action

TOOL = SimpleNamespace(subject="url", mutates=True)


def call(url: str, method: str = "") -> Call:
    said: dict[str, Any] = {"url": url, **({"method": method} if method else {})}
    name = "http_request" if method else "web_fetch"
    return call_of(ToolCall(id="1", name=name, arguments=dumps(said)), TOOL, Path("/"))


def said(seen: Call, *lines: str, mode: str = "chat") -> Action:
    pairs = (line.split(" ", 1) for line in lines)
    rules = [rule(action, pattern, "user", "permissions.json", Path("/")) for action, pattern in pairs]
    return decide(mode, rules, seen).action


@pytest.mark.parametrize(
    ("pattern", "url", "allowed"),
    [
        ("https://docs.python.org/**", "https://docs.python.org/", True),
        ("https://docs.python.org/**", "https://docs.python.org", True),
        ("https://docs.python.org/**", "https://docs.python.org/3/library/a.html?q=1#x", True),
        ("https://docs.python.org/**", "https://DOCS.python.org.:443/3", True),
        ("https://docs.python.org/**", "http://docs.python.org/", False),
        ("https://docs.python.org/**", "https://docs.python.org:8443/", False),
        ("https://docs.python.org/**", "https://docs.python.org.evil.example/", False),
        ("https://docs.python.org/**", "https://evil.example/docs.python.org/", False),
        ("https://docs.python.org/**", "https://docs.python.org@evil.example/", False),
        ("https://docs.python.org/**", "https://evil.example\\@docs.python.org/", False),
        ("https://docs.python.org/**", "https://evil.example/?https://docs.python.org/", False),
        ("https://docs.python.org/**", "https://python.org/", False),
        ("https://docs.python.org", "https://docs.python.org/", True),
        ("https://docs.python.org", "https://docs.python.org/3", False),
        ("docs.python.org/**", "https://docs.python.org/3", True),
        ("docs.python.org/**", "http://docs.python.org/3", False),
        ("https://*.python.org/**", "https://docs.python.org/3", True),
        ("https://*.python.org/**", "https://a.docs.python.org/3", True),
        ("https://*.python.org/**", "https://python.org/3", False),
        ("https://*.python.org/**", "https://evilpython.org/3", False),
        ("https://*/**", "https://python.org/", False),
        ("https://d*.python.org/**", "https://docs.python.org/", False),
        ("https://x.org/a/*", "https://x.org/a/b", True),
        ("https://x.org/a/*", "https://x.org/a/b/c", False),
        ("https://x.org/a/*", "https://x.org/a/../b", False),
        ("https://x.org/a/**", "https://x.org/a/%2e%2e/b", False),
        ("https://x.org/a/**", "https://x.org/a/..%2fb", False),
        ("https://x.org/a/**", "https://x.org/a/..%5Cb", False),
        ("https://x.org/a", "https://x.org/A", False),
        ("https://x.org/a", "https://x.org/a?b=c", False),
        ("https://x.org/a?b=*", "https://x.org/a?b=c", True),
        ("https://x.org/a?b=*", "https://x.org/aXb=c", False),
        ("https://x.org/[ab]", "https://x.org/a", False),
        ("http://127.0.0.1:8000/**", "http://127.0.0.1:8000/x", True),
        ("http://127.0.0.1:8000/**", "http://127.0.0.1/x", False),
        ("http://[::1]:8000/**", "http://[0:0::1]:8000/x", True),
        ("ftp://x.org/**", "ftp://x.org/a", False),
        ("https://x.org:port/**", "https://x.org/a", False),
    ],
)
def test_allow_takes_one_origin_and_its_paths(pattern: str, url: str, allowed: bool):
    assert said(call(url), f"allow web_fetch({pattern})") == ("allow" if allowed else "ask")


@pytest.mark.parametrize(
    ("pattern", "url", "denied"),
    [
        ("evil.example", "https://evil.example/a/b?c", True),
        ("evil.example", "http://evil.example:8080/", True),
        ("evil.example", "https://a.b.EVIL.example./", True),
        ("https://evil.example", "http://evil.example/x", True),
        ("*.evil.example", "https://evil.example/", True),
        ("*evil*", "https://notevil.example/", True),
        ("*", "https://x.org/a", True),
        ("evil.example", "https://notevil.example/", False),
        ("evil.example:8080", "https://evil.example/", False),
        ("evil.example:443", "https://evil.example/", True),
        ("x.org/private", "https://x.org/private/deep?a", True),
        ("x.org/private/**", "https://x.org/private", True),
        ("x.org/private", "https://x.org/private?a=b", True),
        ("x.org/private", "https://x.org/PRIVATE/", True),
        ("x.org/private", "https://x.org/%70rivate/a", True),
        ("x.org/private", "https://x.org/a/../private", True),
        ("x.org/private", "https://x.org/privateer", False),
        ("x.org/private", "https://x.org/", False),
        ("bücher.de", "https://xn--bcher-kva.de/", True),
        ("10.0.0.1", "http://10.0.0.1:8000/", True),
    ],
)
@pytest.mark.parametrize("action", ["deny", "ask"])
def test_deny_and_ask_find_a_host_and_all_below_it(pattern: str, url: str, denied: bool, action: str):
    assert said(call(url), f"{action} web_fetch({pattern})", "allow web_fetch") == (
        action if denied else "allow"
    )


def test_what_sends_is_allowed_by_its_method_alone():
    api = "https://api.example/v1/items"
    assert said(call(api, "GET"), "allow http_request(https://api.example/**)") == "allow"
    assert said(call(api, "HEAD"), "allow http_request(https://api.example/**)") == "allow"
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert said(call(api, method), "allow http_request(https://api.example/**)") == "ask"
        assert said(call(api, method), f"allow http_request({method} https://api.example/**)") == "allow"
        assert said(call(api, method), "deny http_request(api.example)", "allow http_request") == "deny"
    assert said(call(api, "POST"), "deny http_request(DELETE api.example)", "allow http_request") == "allow"


@pytest.mark.parametrize("mode", ["plan", "review", "research"])
def test_modes_that_only_look_may_ask_the_web_and_send_it_nothing(mode: str):
    assert said(call("https://x.org/"), mode=mode) == "ask"
    assert said(call("https://x.org/"), "allow web_fetch(https://x.org/**)", mode=mode) == "allow"
    assert said(call("https://x.org/", "GET"), mode=mode) == "ask"
    assert said(call("https://x.org/", "POST"), "allow http_request", mode=mode) == "deny"


@pytest.mark.parametrize(
    ("seen", "pattern"),
    [
        (call("https://X.org/a/b?c=d"), "web_fetch(https://x.org/**)"),
        (call("http://127.0.0.1:8000/a"), "web_fetch(http://127.0.0.1:8000/**)"),
        (call("http://[::1]:8000/a"), "web_fetch(http://[::1]:8000/**)"),
        (call("https://x.org/a", "GET"), "http_request(https://x.org/**)"),
        (call("https://x.org/a*?b=[c]", "DELETE"), "http_request(DELETE https://x.org/a%2A?b=%5Bc%5D)"),
        (call("file:///etc/passwd"), ""),
        (call("not a url"), ""),
    ],
)
def test_a_question_offers_the_host_for_reading_and_one_request_for_more(seen: Call, pattern: str):
    assert exactly(seen) == pattern
    if pattern:
        assert said(seen, f"allow {pattern}") == "allow"


HOSTS = st.sampled_from(["x.org", "a.x.org", "y.org", "X.org."])
PATHS = st.text(st.sampled_from("/ab.*?%2eé[]&=;:@"), max_size=12)


@given(HOSTS, PATHS, st.sampled_from(["GET", "POST", "DELETE"]))
def test_what_a_question_offers_allows_the_call_and_denying_it_denies_it(host: str, path: str, method: str):
    seen = call(f"https://{host}/{path}", method)
    if pattern := exactly(seen):
        assert said(seen, f"allow {pattern}") == "allow"
        assert said(seen, f"deny {pattern}", "allow *") == "deny"


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_is_allowed_by_the_rule_of_another_host(url: str, host: str):
    assert said(call(url), "allow web_fetch(https://only.example/**)") == "ask"
    assert said(call(f"https://{host}"), "deny web_fetch(*)", "allow web_fetch") == "deny"
