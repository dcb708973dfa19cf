"""The one list of tools: to add one, write its function and put a row here."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cli.tools import files
from cli.tools.files import Workspace

# What a tool may do at worst; one that only reads within the working directory needs nobody's permission.
Safety = Literal["read"]
# The parameter by which rules tell a tool's calls apart: `path`, of one file or of all below, or `command`.
Subject = Literal["", "path", "tree", "command"]


class Row(NamedTuple):
    """A tool: a function whose first parameter is the session's Workspace, which the model never sees."""

    run: Callable[..., Any]
    safety: Safety
    subject: Subject = ""


TOOLS = {
    "read_file": Row(files.read_file, "read", "path"),
    "list_dir": Row(files.list_dir, "read", "path"),
    "glob": Row(files.glob, "read", "tree"),
    "grep": Row(files.grep, "read", "tree"),
}


def tools(cwd: Path) -> dict[str, Callable[..., Any]]:
    """The tools of a session in `cwd`, as the agent loop runs them."""
    workspace = Workspace(cwd)
    return {name: bound(row, workspace) for name, row in TOOLS.items()}


def bound(row: Row, workspace: Workspace) -> Callable[..., Any]:
    """The tool for one session; it keeps its docstring, and says whether it changes anything, and what."""
    tool = partial(row.run, workspace)
    tool.__doc__ = row.run.__doc__
    vars(tool).update(mutates=row.safety != "read", subject=row.subject)
    return tool
