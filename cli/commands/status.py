"""`opta status`: what runs, where, and what to do about the rest."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from urllib.parse import urlsplit

import click

from cli import config
from cli.clients import http, launcher
from cli.clients.daemon import Address, Daemon
from cli.clients.launcher import Running
from cli.config import Config
from cli.output import Exit, Failure, document, table
from cli.protocol import state
from cli.protocol.catalogue import ModelView, ProviderView
from cli.protocol.failures import HINTS, LMX_UNREACHABLE
from opta import paths

LOCAL = ".localhost"
# Models of a server that are named; some have hundreds.
SHOWN = 8


@dataclass(frozen=True)
class Part:
    """One part of the stack: `state` is "up", "degraded" or "down", `next` what to do about it."""

    name: str
    state: str
    url: str
    detail: str = ""
    next: str = ""


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(as_json: bool) -> Exit:
    """Say what runs, where, and what to do about the rest. The exit code is 1 when something is down."""
    choices, running = config.load(), launcher.find()
    parts = [daemon(running, choices.daemon_port), *servers(running, choices), sites(choices.sites_url)]
    if as_json:
        document([asdict(part) for part in parts])
    else:
        head = ("PART", "STATE", "URL", "DETAIL", "NEXT")
        table(head, ((part.name, part.state, part.url, part.detail, part.next) for part in parts))
    return Exit.OK if all(part.state == "up" for part in parts) else Exit.ERROR


def daemon(running: Running | None, port: int) -> Part:
    if running is None:
        return Part("daemon", "down", f"http://127.0.0.1:{port}", next="opta daemon start")
    health = running.health
    return Part("daemon", "up", running.url, f"version {health.version}, pid {health.pid}")


def servers(running: Running | None, choices: Config) -> list[Part]:
    """The model servers that the daemon asks; without a daemon the LMX that one would ask."""
    if running is None:
        return [lmx(choices.lmx_url)]
    try:
        found = Daemon(lambda: Address(running.url, state.token())).models()
    except (Failure, OSError) as error:
        return [Part("lmx", "down", choices.lmx_url, f"The daemon does not say: {error}", "opta daemon logs")]
    parts = [server(each, found.models) for each in found.providers]
    if found.providers[0].url.rstrip("/") != choices.lmx_url.rstrip("/"):
        parts[0] = replace(parts[0], next=f"opta daemon stop; the next one asks {choices.lmx_url}")
    return parts


def server(view: ProviderView, models: Sequence[ModelView]) -> Part:
    names = [model.id for model in models if model.provider == view.name]
    if not view.healthy:
        return Part(view.name, "down", view.url, view.problem)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return part(view.name, view.url, ", ".join(names[:SHOWN]) + more)


def lmx(url: str) -> Part:
    """Asked by this command itself: the daemon does not run."""
    try:
        with http.send("GET", f"{url}/v1/models", timeout=3) as answer:
            return part("lmx", url, ", ".join(model["id"] for model in json.loads(answer.read())["data"]))
    except http.Broken as error:
        reason = getattr(error, "strerror", None) or error
        return Part("lmx", "down", url, f"It cannot be reached: {reason}.", HINTS[LMX_UNREACHABLE])
    except (ValueError, KeyError, TypeError):
        return Part("lmx", "down", url, "What answers there is not LMX.", "set lmx_url to where LMX listens")


def part(name: str, url: str, models: str) -> Part:
    if models:
        return Part(name, "up", url, models)
    return Part(name, "degraded", url, "no model", f"put a model into {paths.lmx_models()}")


def sites(url: str) -> Part:
    """The home site's own health. On a `.localhost` name the address is known, whatever the resolver says."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    local = host.endswith(LOCAL)
    target = f"{parts.scheme}://127.0.0.1:{parts.port or 80}" if local else url
    try:
        with http.send("GET", f"{target}/api/health", headers={"Host": parts.netloc}, timeout=3) as answer:
            health = json.loads(answer.read())
            service, state = health["service"], health["status"]
    except (*http.Broken, ValueError, KeyError, TypeError):
        return Part("sites", "down", url, next="make up" if local else f"look at {url}")
    if state != "ok":
        return Part("sites", "degraded", url, f"{service}: {state}", f"open {url}/api/health")
    return Part("sites", "up", url, f"version {health.get('version', '?')}")
