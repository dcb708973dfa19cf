"""A poll writes one row a service; old rows are deleted."""

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone

from apps.status.models import KEPT, Check, record
from apps.status.probes import Result, State
from apps.status.registry import services
from apps.status.tasks import poll, prune
from tests.processes import free_port

# Tasks run in threads of their own, and see only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nobody(settings) -> None:
    """Addresses where nothing listens, for those that a test does not set."""
    settings.SITES_PORT = free_port()
    settings.LMX_URL = settings.DAEMON_URL = f"http://127.0.0.1:{free_port()}"


class Daemon(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"status": "ok", "service": "opta-daemon"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Silent: the test reads rows, not this log."""


@pytest.fixture
def daemon_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Daemon)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_poll_writes_a_row_for_every_service(settings, daemon_url):
    settings.DAEMON_URL = daemon_url
    poll()
    rows = {check.service: check for check in Check.objects.all()}
    assert set(rows) == {service.slug for service in services()}
    assert len({check.at for check in rows.values()}) == 1
    assert rows["daemon"].state == State.ONLINE
    assert rows["daemon"].latency_ms is not None
    assert (rows["lmx"].state, rows["lmx"].latency_ms) == (State.OFFLINE, None)
    assert rows["lmx"].reason == "nothing listens there: connection refused"


def test_two_polls_at_once_do_no_harm():
    threads = [threading.Thread(target=poll) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Check.objects.count() == 2 * len(services())


def test_a_poll_says_nothing_of_the_server_but_the_kind_of_error(settings):
    with socket.socket() as taken:  # bound, not listening: refused
        taken.bind(("127.0.0.1", 0))
        settings.LMX_URL = f"http://127.0.0.1:{taken.getsockname()[1]}"
        poll()
    assert not any("127.0.0.1" in check.reason for check in Check.objects.all())


def test_what_is_too_old_is_deleted_and_nothing_else():
    now = timezone.now()
    record([Result("lmx", State.ONLINE, 1)], now - KEPT - timedelta(seconds=5))
    record([Result("lmx", State.ONLINE, 2)], now - KEPT + timedelta(minutes=5))
    record([Result("lmx", State.ONLINE, 3)], now)
    prune()
    assert sorted(Check.objects.values_list("latency_ms", flat=True)) == [2, 3]
