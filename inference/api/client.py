"""Who asks, and how urgently: what a runner's queue shares its turns by."""

from collections.abc import Mapping
from hashlib import sha256
from typing import get_args

from django.http import HttpRequest

from inference.config import is_loopback
from inference.request import Priority
from opta.errors import Refusal

PRIORITIES: dict[str, Priority] = {name: name for name in get_args(Priority)}


def client_of(request: HttpRequest) -> str:
    """A name for whoever asks; equal names share one client's turns."""
    return client(request.META.get("REMOTE_ADDR", ""), request.headers)


def priority_of(request: HttpRequest) -> Priority:
    """The `X-Priority` header; without one somebody waits. Raises Refusal."""
    return priority(request.headers)


def client(address: str, headers: Mapping[str, str]) -> str:
    """On this machine a key tells programs apart; from the network it would buy a share by being made up."""
    key = key_of(headers)
    if key and is_loopback(address):
        return f"key {sha256(key.encode()).hexdigest()[:16]}"
    return f"address {address}"


def key_of(headers: Mapping[str, str]) -> str:
    """The API key as OpenAI's clients send it, or Anthropic's; empty when there is none."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    return (key if scheme.lower() == "bearer" else headers.get("x-api-key", "")).strip()


def priority(headers: Mapping[str, str]) -> Priority:
    named = headers.get("X-Priority", "interactive")
    if named not in PRIORITIES:
        known = " or ".join(PRIORITIES)
        raise Refusal(f"X-Priority is {named!r}. Send {known}, or leave it out.", field="X-Priority")
    return PRIORITIES[named]
