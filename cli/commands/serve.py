"""`opta serve`: LMX in the foreground, in place of this process."""

import importlib.util
import os
from pathlib import Path

import click

from cli.clients import launcher
from cli.output import Failure


@click.command("serve", context_settings={"show_default": True})
@click.option("--host", help="The address to listen on; 127.0.0.1 by default.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port; 1234 by default.")
@click.option(
    "--models",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="The folder of models; ~/.opta-lmx/models by default.",
)
def command(host: str | None, port: int | None, models: Path | None) -> None:
    """Run LMX, the inference server, until Ctrl-C."""
    if importlib.util.find_spec("mlx_lm") is None:
        raise Failure("LMX is not installed here: mlx_lm is missing. Install it: pip install 'opta-cli[lmx]'")
    flags = {"--host": host, "--port": port, "--models": models}
    given = [f"{flag}={value}" for flag, value in flags.items() if value is not None]
    os.environ["DJANGO_SETTINGS_MODULE"] = "opta.settings.lmx"
    launcher.become("django", "lmx", *given)
