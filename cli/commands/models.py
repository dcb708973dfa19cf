"""`opta models`: what LMX can serve."""

import json
from typing import Any

import click

from cli import config
from cli.clients import http
from cli.output import Exit, Failure, document, table
from cli.protocol.failures import HINTS, LMX_UNREACHABLE

NONE = "Put a model's folder into LMX_MODELS (~/.opta-lmx/models by default)."


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(as_json: bool) -> None:
    """List the models that LMX serves."""
    url = config.load().lmx_url
    models = listing(url)
    if as_json:
        document(models)
    elif models:
        table(("MODEL", "STATE", "CONTEXT", "SIZE"), map(row, models))
    else:
        raise Failure(f"LMX at {url} serves no model.", Exit.NO_MODEL, NONE)


def row(model: dict[str, Any]) -> tuple[object, ...]:
    """What LMX says beyond OpenAI's shape stands under `lmx`; another server leaves it out."""
    more = model.get("lmx")
    if more is None:
        return model["id"], "", "", ""
    state = "loaded" if more["loaded"] else "on disk"
    return model["id"], state, more["context"], f"{more['size_bytes'] / 1e6:.0f} MB"


def listing(lmx_url: str) -> list[dict[str, Any]]:
    """The entries of LMX's `/v1/models`. Raises Failure when LMX does not answer, or is not LMX."""
    try:
        with http.send("GET", f"{lmx_url}/v1/models") as answer:
            models: list[dict[str, Any]] = json.loads(answer.read())["data"]
            return models
    except http.Broken as error:
        reason = getattr(error, "strerror", None) or error
        message = f"LMX cannot be reached at {lmx_url}: {reason}."
        raise Failure(message, Exit.LMX_UNREACHABLE, HINTS[LMX_UNREACHABLE]) from error
    except (ValueError, KeyError, TypeError) as error:
        message = f"What answers at {lmx_url} is not LMX."
        raise Failure(message, Exit.LMX_UNREACHABLE, "Set OPTA_LMX_URL to where LMX listens.") from error
