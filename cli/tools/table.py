"""The one list of tools: to add one, write its function and put a row here."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cli.tools import files, web
from cli.tools.files import Workspace
from cli.tools.internet import Internet
from cli.tools.seen import Seen

# What a tool may do at worst, in the working directory; one that only reads there needs nobody's permission.
# "network" reads the web, and tells others something by what it asks for; "request" may change things there.
Safety = Literal["read", "write", "network", "request"]
# The parameter by which rules tell a tool's calls apart: `path`, of one file or of all below, `command`, or
# `url`, with a `method` where there is one.
Subject = Literal["", "path", "tree", "command", "url"]


def one_path(given: dict[str, Any]) -> list[str]:
    return [str(given.get("path", "."))]


CHANGING: set[Safety] = {"write", "request"}


class Row(NamedTuple):
    """A tool: a function whose first parameter is the session's Workspace, which the model never sees.

    `paths` finds in a call's arguments those that it is about, where its subject is one."""

    run: Callable[..., Any]
    safety: Safety
    subject: Subject = ""
    paths: Callable[[dict[str, Any]], list[str]] = one_path


TOOLS = {
    "read_file": Row(files.read_file, "read", "path"),
    "list_dir": Row(files.list_dir, "read", "path"),
    "glob": Row(files.glob, "read", "tree"),
    "grep": Row(files.grep, "read", "tree"),
    "web_fetch": Row(web.web_fetch, "network", "url"),
    "http_request": Row(web.http_request, "request", "url"),
}


def tools(
    cwd: Path, session: str = "", *, seen: Seen | None = None, web: Internet | None = None
) -> dict[str, Callable[..., Any]]:
    """The tools of a session in `cwd`, as the agent loop runs them; `seen` is what sessions have read."""
    workspace = Workspace(cwd, session=session, seen=seen or Seen(), web=web or Internet())
    return {name: bound(row, workspace) for name, row in TOOLS.items()}


def bound(row: Row, workspace: Workspace) -> Callable[..., Any]:
    """The tool for one session; it keeps its docstring, and says whether it changes anything, and what."""
    tool = partial(row.run, workspace)
    tool.__doc__ = row.run.__doc__
    vars(tool).update(mutates=row.safety in CHANGING, subject=row.subject, paths=row.paths)
    return tool
