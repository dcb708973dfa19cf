"""`opta models`: what can be asked for, of every server that the daemon asks."""

import click

from cli.clients import launcher
from cli.clients.daemon import Daemon
from cli.output import Exit, Failure, document, table, warn
from cli.protocol.catalogue import ModelList, ModelView

NONE = "Put a model's folder into LMX_MODELS (~/.opta-lmx/models by default)."


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(as_json: bool) -> None:
    """List the models of LMX and of the providers; a server that does not answer is named."""
    found = available(Daemon(launcher.ensure))
    for provider in found.providers:
        if not provider.healthy:
            warn(f"{provider.name}: {provider.problem}")
    if as_json:
        document([model.model_dump(mode="json") for model in found.models])
    else:
        table(("MODEL", "STATE", "CONTEXT", "SIZE"), map(row, found.models))


def row(model: ModelView) -> tuple[object, ...]:
    """Empty is what its server does not say."""
    state = {True: "loaded", False: "on disk", None: ""}[model.loaded]
    size = f"{model.size_bytes / 1e6:.0f} MB" if model.size_bytes is not None else ""
    return model.id, state, model.context or "", size


def available(daemon: Daemon) -> ModelList:
    """What can be asked for. Raises Failure when that is nothing."""
    found = daemon.models()
    if found.models:
        return found
    if problems := [f"{each.name}: {each.problem}" for each in found.providers if not each.healthy]:
        raise Failure("\n".join(problems), Exit.LMX_UNREACHABLE)
    urls = ", ".join(each.url for each in found.providers)
    raise Failure(f"There is no model at {urls}.", Exit.NO_MODEL, NONE)
