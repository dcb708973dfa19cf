"""What the status site shows, and says to machines, for every state of what was measured."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pydantic import TypeAdapter

from apps.status.models import record
from apps.status.probes import Result, State
from apps.status.registry import services
from apps.status.summary import Summary

HOST = {"host": "status.opta.localhost:8000"}
pytestmark = pytest.mark.django_db


def get(path: str = "/") -> object:
    return Client(headers=HOST).get(path)


def page() -> str:
    response = get()
    assert response.status_code == 200
    return response.content.decode()


def measured(ago: float = 0, bad: Iterable[Result] = ()) -> datetime:
    """One poll, `ago` seconds ago: every service online in 12 ms, but for the `bad` ones."""
    found = {service.slug: Result(service.slug, State.ONLINE, 12) for service in services()}
    found |= {result.service: result for result in bad}
    at = timezone.now() - timedelta(seconds=ago)
    record(list(found.values()), at)
    return at


@pytest.mark.parametrize("seen", ["", "nonsense", "9" * 5000])
def test_whatever_a_client_says_it_saw_it_gets_the_stream(seen: str):
    assert get(f"/live?seen={seen}")["Content-Type"] == "text/event-stream"


def test_before_the_first_check_it_says_how_to_start():
    shown = page()
    assert "No check yet" in shown
    assert "The worker polls every 30 seconds; start it with <code>make up</code>" in shown
    assert 'class="service"' not in shown


def test_all_online():
    measured(ago=5)
    shown = page()
    assert "All 10 services are online" in shown
    assert shown.count('badge badge-ok">online') == 10
    assert shown.count("12 ms") == 10
    assert '<div class="health-ok">' in shown


def test_a_service_that_is_not_online_says_why():
    measured(ago=5, bad=[
        Result("lmx", State.OFFLINE, reason="no answer within 9 s"),
        Result("help", State.DEGRADED, 2100, "slow: it took 2.1 s to answer"),
    ])  # fmt: skip
    shown = page()
    assert "8 of 10 services are online" in shown
    assert "LMX is offline, Help site is degraded." in shown
    assert "no answer within 9 s" in shown and "slow: it took 2.1 s to answer" in shown
    assert 'badge badge-bad">offline' in shown and 'badge badge-warn">degraded' in shown


def test_when_the_prober_slept_all_is_unknown_and_nothing_is_up():
    measured(ago=3 * 3600)
    shown = page()
    assert "Nobody knows: the checks have stopped" in shown
    assert shown.count('badge badge-unknown">unknown') == 10
    assert "Not checked since; it was online then." in shown
    assert "3 h ago" in shown
    assert "12 ms" not in shown and "badge-ok" not in shown


def test_what_a_service_answers_is_escaped():
    measured(bad=[Result("lmx", State.DEGRADED, 1, "it reports '<script>alert(1)</script>'")])
    assert "<script>alert(1)" not in page()


def test_the_page_holds_no_inline_style_or_script():
    measured()
    shown = page()
    assert " style=" not in shown and "<style" not in shown
    assert "<script>" not in shown and " onclick" not in shown


def test_the_page_costs_two_queries(django_assert_num_queries):
    measured()
    with django_assert_num_queries(2):
        page()


def test_the_summary_says_the_same_to_machines():
    at = measured(ago=5, bad=[Result("daemon", State.OFFLINE, reason="no answer within 9 s")])
    response = get("/api/summary.json")
    assert response["Content-Type"] == "application/json"
    found = TypeAdapter(Summary).validate_json(response.content)
    assert (found.state, found.headline) == (State.OFFLINE, "9 of 10 services are online")
    assert found.checked_at == at
    daemon = next(service for service in found.services if service.slug == "daemon")
    assert (daemon.last.latency_ms, daemon.last.reason) == (None, "no answer within 9 s")
    assert sum(run.minutes for run in daemon.hour) == 60


def test_the_summary_is_described_by_its_schema():
    schema = get("/api/summary.schema.json").json()
    assert set(schema["required"]) == set(get("/api/summary.json").json())


def test_polled_tells_whether_the_worker_polls():
    assert get("/api/polled").status_code == 503
    measured(ago=300)
    assert get("/api/polled").status_code == 503
    measured(ago=3)
    assert get("/api/polled").status_code == 200


def test_only_reading_is_allowed():
    client = Client(headers=HOST)
    assert [client.post(path).status_code for path in ("/", "/live", "/api/summary.json")] == [405] * 3
