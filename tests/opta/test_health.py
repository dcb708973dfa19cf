"""/api/health of every host."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from opta.urls import SITES
from opta.version import VERSION


def health(site: object) -> object:
    return Client(headers={"host": site.host}).get("/api/health")


@pytest.mark.django_db
@pytest.mark.parametrize("site", SITES.values(), ids=lambda site: site.host)
def test_it_says_how_the_site_is(site):
    response = health(site)
    body = response.json()
    assert response.status_code == 200
    assert (body["status"], body["service"], body["version"]) == ("ok", site.label or "home", VERSION)
    assert body["checks"] == dict.fromkeys(site.checks, "ok") and body["checks"]
    assert datetime.now(UTC) - datetime.fromisoformat(body["timestamp"]) < timedelta(minutes=1)
    assert body["uptime_seconds"] >= 0
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("site", SITES.values(), ids=lambda site: site.host)
def test_a_site_without_its_database_is_failing_and_the_others_are_not(site):
    # No database is given to this test.
    response = health(site)
    if "database" in site.checks:
        assert (response.status_code, response.json()["status"]) == (503, "failing")
        assert response.json()["checks"]["database"] == "RuntimeError"
    else:
        assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
