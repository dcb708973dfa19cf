"""A poll writes one row a service; old rows are deleted."""

import socket
import threading
from datetime import timedelta

import pytest
from django.db import connection
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


def rows() -> dict[str, Check]:
    return {check.service: check for check in Check.objects.all()}


def test_a_poll_writes_a_row_for_every_service():
    poll()
    assert set(rows()) == {service.slug for service in services()}
    assert len({check.at for check in rows().values()}) == 1
    lmx = rows()["lmx"]
    assert (lmx.state, lmx.latency_ms) == (State.OFFLINE, None)
    assert lmx.reason == "nothing listens there: connection refused"


def test_it_knows_the_daemon_and_lmx_when_it_meets_them(settings, start_daemon, lmx):
    daemon = start_daemon(lmx_url=lmx.url)
    settings.LMX_URL, settings.DAEMON_URL = lmx.url, daemon.url
    poll()
    assert [(rows()[slug].state, rows()[slug].reason) for slug in ("lmx", "daemon")] == [
        (State.ONLINE, "")
    ] * 2
    settings.LMX_URL = daemon.url
    poll()
    assert Check.objects.filter(service="lmx").latest("at").state == State.OFFLINE


def test_two_polls_at_once_do_no_harm():
    def once() -> None:
        poll()
        connection.close()  # as the worker does after each task

    threads = [threading.Thread(target=once) for _ in range(2)]
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
