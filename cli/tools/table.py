"""The one list of tools: to add one, write its function and put a row here."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cli.tools import files, patch, shell, web, writing
from cli.tools.background import Background
from cli.tools.files import Workspace
from cli.tools.internet import Internet
from cli.tools.seen import Seen

# What a tool may do at worst, in the working directory; one that only reads there needs nobody's permission.
# "network" reads the web, and tells others something by what it asks for; "request" may change things there.
# "command" runs a program, in the sandbox.
Safety = Literal["read", "write", "network", "request", "command"]
# The parameter by which rules tell a tool's calls apart: `path`, of one file or of all below, `command`, or
# `url`, with a `method` where there is one.
Subject = Literal["", "path", "tree", "command", "url"]


def one_path(given: dict[str, Any]) -> list[str]:
    return [str(given.get("path", "."))]


def both_paths(given: dict[str, Any]) -> list[str]:
    return [str(given.get(name, ".")) for name in ("path", "to")]


def of_patch(given: dict[str, Any]) -> list[str]:
    return patch.paths(str(given.get("patch", "")))


CHANGING: set[Safety] = {"write", "request", "command"}


class Row(NamedTuple):
    """A tool: a function whose first parameter is the session's Workspace, which the model never sees.

    `paths` finds in a call's arguments those that it is about, where its subject is one. What is not `listed`
    is to be searched for: a small model drowns in many tools."""

    run: Callable[..., Any]
    safety: Safety
    subject: Subject = ""
    paths: Callable[[dict[str, Any]], list[str]] = one_path
    listed: bool = True


TOOLS = {
    "read_file": Row(files.read_file, "read", "path"),
    "list_dir": Row(files.list_dir, "read", "path"),
    "glob": Row(files.glob, "read", "tree"),
    "grep": Row(files.grep, "read", "tree"),
    "edit_file": Row(writing.edit_file, "write", "path"),
    "multi_edit": Row(writing.multi_edit, "write", "path", listed=False),
    "write_file": Row(writing.write_file, "write", "path"),
    "apply_patch": Row(writing.apply_patch, "write", "path", of_patch, listed=False),
    "delete_file": Row(writing.delete_file, "write", "path", listed=False),
    "move_file": Row(writing.move_file, "write", "path", both_paths, listed=False),
    "run_command": Row(shell.run_command, "command", "command"),
    "bg_start": Row(shell.bg_start, "command", "command", listed=False),
    "bg_status": Row(shell.bg_status, "read", listed=False),
    "bg_output": Row(shell.bg_output, "read", listed=False),
    "bg_kill": Row(shell.bg_kill, "write", listed=False),
    "web_fetch": Row(web.web_fetch, "network", "url"),
    "http_request": Row(web.http_request, "request", "url", listed=False),
}


def tools(
    cwd: Path,
    session: str = "",
    *,
    seen: Seen | None = None,
    web: Internet | None = None,
    jobs: Background | None = None,
) -> dict[str, Callable[..., Any]]:
    """The tools of a session in `cwd`, as the agent loop runs them; `seen` is what sessions have read."""
    workspace = Workspace(cwd, session=session, seen=seen or Seen(), web=web or Internet(), jobs=jobs)
    return {name: bound(row, workspace) for name, row in TOOLS.items()}


def bound(row: Row, workspace: Workspace) -> Callable[..., Any]:
    """The tool for one session; it keeps its docstring, and says whether it changes anything, and what."""
    tool = partial(row.run, workspace)
    tool.__doc__ = row.run.__doc__
    about = {"subject": row.subject, "paths": row.paths, "listed": row.listed}
    vars(tool).update(mutates=row.safety in CHANGING, cwd=workspace.cwd, **about)
    return tool
