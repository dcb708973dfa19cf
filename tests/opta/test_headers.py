"""The security headers, on every kind of answer of every host."""

from collections.abc import Callable

import pytest
from django.http import HttpResponse
from django.test import Client

from opta.urls import SITES

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-site",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
KINDS: dict[str, tuple[int, Callable[[Client], HttpResponse]]] = {
    "health": (503, lambda client: client.get("/api/health")),
    "robots": (200, lambda client: client.get("/robots.txt")),
    "static": (200, lambda client: client.get("/static/opta.css")),
    "static not modified": (
        304,
        lambda client: client.get(
            "/static/opta.css", headers={"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"}
        ),
    ),
    "redirect": (302, lambda client: client.get("/favicon.ico")),
    "bad request": (400, lambda client: client.post("/theme", {"theme": "sepia"})),
    "forbidden": (403, lambda client: client.post("/api/health")),
    "not found": (404, lambda client: client.get("/no-such-file.txt/")),
    "wrong method": (405, lambda client: client.get("/theme")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("site", SITES.values(), ids=lambda site: site.host)
def test_every_answer_carries_them(site, kind):
    status, ask = KINDS[kind]
    # No database is given to these tests, so the sites that check theirs are failing.
    if kind == "health" and "database" not in site.checks:
        status = 200
    # The private site asks who you are before it says what there is.
    if kind == "not found" and not site.public:
        status = 302
    response = ask(Client(enforce_csrf_checks=True, headers={"host": site.host}))
    assert response.status_code == status
    assert_guarded(response)


@pytest.mark.django_db
@pytest.mark.parametrize("site", SITES.values(), ids=lambda site: site.host)
def test_every_page_carries_them(site):
    assert_guarded(Client(headers={"host": site.host}).get("/", follow=True))


def test_a_failure_carries_them_and_shows_our_page():
    # Signing in reads the database, which this test has not.
    client = Client(raise_request_exception=False, headers={"host": "admin.opta.localhost"})
    response = client.post("/login/", {"username": "alice", "password": "x"})
    assert response.status_code == 500
    assert "Something broke on our side." in response.content.decode()
    assert_guarded(response)


@pytest.mark.parametrize("host", ["example.com", "bad host", "opta.localhost:no-port"])
def test_a_stranger_carries_them(host):
    response = Client(headers={"host": host}).get("/")
    assert response.status_code in (400, 404)
    assert_guarded(response)


def assert_guarded(response: HttpResponse) -> None:
    response.getvalue()  # a file is closed when it has been read
    assert {name: response.get(name) for name in HEADERS} == HEADERS
    policy = dict(part.split(" ", 1) for part in response["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["style-src"] == "'self'"
    assert policy["script-src"].startswith("'self'")
    assert "unsafe" not in response["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in response  # plain HTTP, on this machine


def test_static_files_are_for_our_own_pages():
    response = Client(headers={"host": "opta.localhost"}).get("/static/opta.css")
    assert response.getvalue()
    assert "Access-Control-Allow-Origin" not in response
