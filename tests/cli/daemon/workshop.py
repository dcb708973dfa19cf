"""`python -m tests.cli.daemon.workshop`: the daemon with two tools of its own, one of which leaves marks."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

from cli.agent.execute import Verdict


def tools(cwd: Path, session: str) -> dict[str, Callable[..., Any]]:
    def mark(word: str) -> str:
        """Write a word down, for ever."""
        with (cwd / "marks").open("a") as file:
            file.write(f"{word}\n")
        return f"{word} is written"

    def look(word: str) -> str:
        """Look for a word."""
        return f"{word} is there" if (cwd / "marks").exists() else "There is nothing yet."

    async def wait(word: str) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()

    vars(look)["mutates"] = False
    return {"mark": mark, "look": look, "wait": wait}


async def anything(turn: object, call: object, tools: object) -> Verdict:
    return Verdict(True)


def main() -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "opta.settings.daemon"
    django.setup()
    from cli.config import Config
    from cli.daemon import process  # needs the settings
    from cli.daemon.hub import Hub

    def make(choices: Config, token: str) -> Hub:
        hub = Hub.make(choices, token)
        hub.turns.tools, hub.turns.allow = tools, anything
        return hub

    return process.run(make)


if __name__ == "__main__":
    sys.exit(main())
