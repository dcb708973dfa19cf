"""Who asks, and how urgently, from a request's address and headers."""

import pytest
from django.test import RequestFactory

from inference.api.client import client_of, priority_of
from opta.errors import Refusal

HERE, AWAY = "127.0.0.1", "192.168.1.5"
KEY = {"Authorization": "Bearer secret"}


def asks(address: str, **headers: str) -> str:
    return client_of(RequestFactory().get("/", headers=headers, REMOTE_ADDR=address))


def test_keys_tell_the_programs_of_this_machine_apart():
    assert asks(HERE, **KEY) == asks("::1", **KEY) == asks(HERE, **{"x-api-key": "secret"})
    assert len({asks(HERE), asks(HERE, **KEY), asks(HERE, **{"x-api-key": "other"})}) == 3


def test_a_key_is_not_told_to_the_runner():
    assert "secret" not in asks(HERE, **KEY)


def test_a_key_from_the_network_buys_no_share_of_its_own():
    assert asks(AWAY, **KEY) == asks(AWAY) != asks("192.168.1.6")


@pytest.mark.parametrize("header", ["Bearer", "Bearer  ", "Basic c2VjcmV0", "secret"])
def test_what_is_no_key_tells_nobody_apart(header: str):
    assert asks(HERE, Authorization=header) == asks(HERE)


@pytest.mark.parametrize("named", ["interactive", "batch"])
def test_a_priority_is_taken_as_it_is_named(named: str):
    assert priority_of(RequestFactory().get("/", headers={"X-Priority": named})) == named


def test_somebody_waits_unless_told_otherwise():
    assert priority_of(RequestFactory().get("/")) == "interactive"


@pytest.mark.parametrize("named", ["urgent", "", "Batch", "interactive, batch"])
def test_any_other_priority_is_refused_by_its_name(named: str):
    with pytest.raises(Refusal, match="X-Priority") as caught:
        priority_of(RequestFactory().get("/", headers={"X-Priority": named}))
    assert (caught.value.status, caught.value.field) == (400, "X-Priority")
