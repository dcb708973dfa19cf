"""`opta status`: what runs, where, and what to do about the rest."""

import json
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import click

from cli import config
from cli.clients import http, launcher
from cli.commands.models import listing
from cli.output import Exit, Failure, document, table
from opta import paths

LOCAL = ".localhost"


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
    choices = config.load()
    parts = [daemon(choices.daemon_port), lmx(choices.lmx_url), sites(choices.sites_url)]
    if as_json:
        document([asdict(part) for part in parts])
    else:
        head = ("PART", "STATE", "URL", "DETAIL", "NEXT")
        table(head, ((part.name, part.state, part.url, part.detail, part.next) for part in parts))
    return Exit.OK if all(part.state == "up" for part in parts) else Exit.ERROR


def daemon(port: int) -> Part:
    running = launcher.find()
    if running is None:
        return Part("daemon", "down", f"http://127.0.0.1:{port}", next="opta daemon start")
    health = running.health
    return Part("daemon", "up", running.url, f"version {health.version}, pid {health.pid}")


def lmx(url: str) -> Part:
    try:
        models = listing(url)
    except Failure as failure:
        return Part("lmx", "down", url, failure.message, failure.hint)
    names = ", ".join(model["id"] for model in models)
    if not names:
        return Part("lmx", "degraded", url, "no model", f"put a model into {paths.lmx_models()}")
    return Part("lmx", "up", url, names)


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
