"""A real browser at the daemon: let in by a code, its pages served; those of other ports kept out."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests import processes
from tests.processes import Role, free_port

# What a page tries, and how the daemon's answer looks to it.
FETCH = """async ([url, kind]) => {
  const headers = {"Content-Type": kind};
  try { return (await fetch(url, {method: "POST", body: "{}", headers, credentials: "include"})).status }
  catch (error) { return error.name }
}"""
SOCKET = """url => new Promise(done => {
  const socket = new WebSocket(url);
  socket.onopen = () => done("open");
  socket.onerror = () => done("refused");
})"""


class Stranger(BaseHTTPRequestHandler):
    """Another program's page on this machine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>stranger</title>")

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def stranger() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Role]:
    role = processes.daemon(tmp_path / "opta", f"http://127.0.0.1:{free_port()}")
    yield role
    role.stop()


def invitation(daemon: Role) -> str:
    made = httpx.post(f"{daemon.url}/v3/access/codes", json={"scope": "write"}, headers=daemon.headers).json()
    return f"{daemon.url}{made['path']}#{made['code']}"


def let_in(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_text("This browser is let in").wait_for()


def test_a_browser_is_let_in_once_and_signs_out(chromium: Browser, daemon: Role):
    url = invitation(daemon)
    page = chromium.new_page()
    let_in(page, url)
    assert "#" not in page.url
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate(FETCH, ["/v3/sessions", "application/json"]) == 201
    assert page.evaluate(SOCKET, f"{daemon.url.replace('http', 'ws')}/v3/ws") == "open"
    page.reload()
    page.get_by_text("This browser is let in").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_text("This browser is signed out.").wait_for()
    assert page.evaluate(FETCH, ["/v3/sessions", "application/json"]) == 401
    other = chromium.new_page()
    other.goto(url)
    other.get_by_text("The code is unknown, used, or older than a minute.").wait_for()
    page.close()
    other.close()


def test_a_page_of_another_port_uses_no_cookie_of_the_daemon(chromium: Browser, daemon: Role, stranger: str):
    context = chromium.new_context()
    page = context.new_page()
    let_in(page, invitation(daemon))
    page.goto(stranger)
    for kind in ("text/plain", "application/json"):
        assert page.evaluate(FETCH, [f"{daemon.url}/v3/sessions", kind]) == "TypeError"
    assert page.evaluate(SOCKET, f"{daemon.url.replace('http', 'ws')}/v3/ws") == "refused"
    listed = httpx.get(f"{daemon.url}/v3/sessions", headers=daemon.headers).json()
    assert listed["sessions"] == []
    context.close()
