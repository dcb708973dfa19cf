"""Tools that change the files of a session's folder: each says what it changed, with the lines around it."""

from dataclasses import dataclass, field
from pathlib import Path
from stat import S_IMODE
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cli.tools import patch as patches
from cli.tools.changes import Change, carry_out
from cli.tools.difference import difference, shortened
from cli.tools.edit import Unmatched, apply, edit, lines_of
from cli.tools.files import TEXT_BYTES, Where, Workspace
from cli.tools.patch import FilePatch
from cli.tools.text import Text

Old = Annotated[str, Field(description="The lines to replace, as they stand in the file, without numbers.")]
New = Annotated[str, Field(description="What comes in their place.")]
All = Annotated[bool, Field(description="Replace every one, where it stands more than once.")]
# What the result of a patch shows of all its files.
PATCH_BYTES = 8_000


class Edit(BaseModel):
    model_config = ConfigDict(extra="forbid")

    old_text: Old
    new_text: New
    replace_all: All = False


class Stale(ValueError):
    """A file has changed since the session saw it."""


@dataclass
class Plan:
    """Changes that are being made up; nothing is written before `carry_out`."""

    workspace: Workspace
    changes: dict[Path, Change] = field(default_factory=dict)

    def take(self, path: str) -> tuple[Path, bytes]:
        """A file that is there, and what it holds. Raises Stale when it is not as the session saw it."""
        file = existing(self.workspace, path)
        if file.stat().st_size > TEXT_BYTES:
            raise ValueError(f"{path} has {file.stat().st_size} bytes: more than is edited here.")
        if file not in self.changes:
            data = file.read_bytes()
            fresh(self.workspace, path, file, data)
            self.changes[file] = Change(file, data, data)
        now = self.changes[file].after
        if now is None:
            raise FileNotFoundError(f"The same patch takes {path} away.")
        return file, now

    def text(self, path: str) -> tuple[Path, Text]:
        file, data = self.take(path)
        try:
            return file, Text.of(data)
        except ValueError as error:
            raise ValueError(f"{path} {error}.") from error

    def data(self, path: str, before: Text, text: str) -> bytes:
        """Another text for a file, in its own encoding."""
        try:
            return before.data(text)
        except ValueError as error:
            raise ValueError(f"{path} {error}.") from error

    def missing(self, path: str) -> Path:
        """The real path of a file that is not there yet."""
        file = self.workspace.place(path)
        there = self.changes[file].after is not None if file in self.changes else file.exists()
        if there:
            raise FileExistsError(f"{path} exists already.")
        return file

    def put(self, file: Path, after: bytes | None, mode: int | None = None) -> None:
        """Nothing was there before, unless it was taken."""
        before = self.changes[file].before if file in self.changes else None
        self.changes[file] = Change(file, before, after, mode)

    def carry_out(self) -> None:
        seen, session = self.workspace.seen, self.workspace.session
        with seen.writing:
            carry_out(list(self.changes.values()))
        for change in self.changes.values():
            seen.note(session, change.path, change.after)


def existing(workspace: Workspace, path: str) -> Path:
    """The real path of a file that may be changed."""
    file = workspace.place(path)
    workspace.inside(path)  # raises when it is not there
    if file.is_dir():
        raise IsADirectoryError(f"{path} is a folder. Name a file.")
    if not file.is_file():
        raise ValueError(f"{path} is no file: a device, a pipe or a socket.")
    return file


def unlinked(workspace: Workspace, path: str) -> Path:
    """The real path of a file that is no link: rules see what a link leads to, and the link would go."""
    file = existing(workspace, path)
    if (workspace.cwd / Path(path).expanduser()).is_symlink():
        raise ValueError(f"{path} is a link to {workspace.name(file)}. Name that file.")
    return file


def fresh(workspace: Workspace, path: str, file: Path, data: bytes) -> None:
    """Raises Stale where the session knows the file as it was before; it then knows what changed."""
    known = workspace.seen.get(workspace.session, file)
    if known in (None, data):
        return
    try:
        changed, whole = difference(Text.of(known or b"").text, Text.of(data).text)
    except ValueError:
        changed, whole = "", False
    if whole:
        workspace.seen.note(workspace.session, file, data)
    then = "This is what changed; write the edit anew." if whole else "Read it again."
    raise Stale(f"{path} has changed since you read it, and nothing was written. {then}\n{changed}".rstrip())


def write_file(
    workspace: Workspace,
    path: Where,
    content: Annotated[str, Field(description="All of the file's text.")],
) -> str:
    """Make a text file, or write all of one anew. One that exists must have been read."""
    plan, file = Plan(workspace), workspace.place(path)
    if not file.exists():
        plan.put(file, content.encode())
        plan.carry_out()
        return made(path, content)
    existing(workspace, path)
    if workspace.seen.get(workspace.session, file) is None:
        raise ValueError(f"{path} exists, and you have not read it. Read it first, or use edit_file.")
    file, before = plan.text(path)
    return written(plan, path, before, before.given(content))


def edit_file(
    workspace: Workspace, path: Where, old_text: Old, new_text: New, replace_all: All = False
) -> str:
    """Replace a part of a text file. old_text must stand in it once: give enough lines to tell it apart."""
    edits = [Edit(old_text=old_text, new_text=new_text, replace_all=replace_all)]
    return multi_edit(workspace, path, edits)


def multi_edit(
    workspace: Workspace,
    path: Where,
    edits: Annotated[list[Edit], Field(min_length=1, description="Made one after the other.")],
) -> str:
    """Make several edits in one text file: all of them, or none."""
    plan = Plan(workspace)
    _, before = plan.text(path)
    text = before.text
    for number, each in enumerate(edits, 1):
        try:
            old, new = before.given(each.old_text), before.given(each.new_text)
            text = edit(text, old, new, every=each.replace_all)
        except Unmatched as error:
            which = f"Edit {number} of {len(edits)}: " if len(edits) > 1 else ""
            raise Unmatched(f"{path} is unchanged. {which}{error}") from error
    return written(plan, path, before, text)


def written(plan: Plan, path: str, before: Text, text: str) -> str:
    if text == before.text:
        return f"{path} is as it was: all of this stands there already."
    plan.put(plan.workspace.place(path), plan.data(path, before, text))
    plan.carry_out()
    return f"Changed {path}:\n{difference(before.text, text).shown}"


def apply_patch(
    workspace: Workspace,
    patch: Annotated[str, Field(description="A unified diff, or *** Begin Patch … *** End Patch.")],
) -> str:
    """Add, change, rename and delete several files by a patch: all of it is done, or nothing."""
    plan, said = Plan(workspace), []
    for each in patches.parsed(patch):
        try:
            said.append(patched(plan, each))
        except (ValueError, OSError) as error:
            raise ValueError(f"Nothing was written, because of {each.path}. {error}") from error
    plan.carry_out()
    return shortened("\n".join(said), PATCH_BYTES)


def patched(plan: Plan, each: FilePatch) -> str:
    """Make up what a patch does to one file; what is to be said of it."""
    if each.what == "add":
        plan.put(plan.missing(each.path), each.text.encode())
        return made(each.path, each.text)
    if each.what == "delete" and not each.hunks:
        plan.take(each.path)
        plan.put(unlinked(plan.workspace, each.path), None)
        return f"Deleted {each.path}."
    file, before = plan.text(each.path)
    text = apply(before.text, each.hunks)
    if each.what == "delete":
        if text:
            raise Unmatched(f"It has more than the patch takes away: {count(text)}.")
        plan.put(unlinked(plan.workspace, each.path), None)
        return f"Deleted {each.path}."
    data = plan.data(each.path, before, text)
    name = each.path
    if each.to:
        name = f"{each.path}, now {each.to}"
        plan.put(plan.missing(each.to), data, S_IMODE(file.stat().st_mode))
        plan.put(unlinked(plan.workspace, each.path), None)
    else:
        plan.put(file, data)
    return f"Changed {name}:\n{difference(before.text, text).shown}".rstrip(":\n")


def delete_file(workspace: Workspace, path: Where) -> str:
    """Delete a file."""
    file = unlinked(workspace, path)
    with workspace.seen.writing:
        if workspace.seen.get(workspace.session, file) is not None:
            fresh(workspace, path, file, file.read_bytes())
        file.unlink()
    workspace.seen.note(workspace.session, file, None)
    return f"Deleted {path}."


def move_file(
    workspace: Workspace,
    path: Where,
    to: Annotated[str, Field(description="The new path, with the file's name. Nothing is there yet.")],
) -> str:
    """Move or rename a file."""
    file, place = unlinked(workspace, path), workspace.place(to)
    with workspace.seen.writing:
        # On some disks a name in upper case is the same file's.
        if place.exists() and not place.samefile(file):
            raise FileExistsError(f"{to} exists already.")
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(place)
    known = workspace.seen.get(workspace.session, file)
    workspace.seen.note(workspace.session, file, None)
    workspace.seen.note(workspace.session, place, known)
    return f"Moved {path} to {to}."


def made(path: str, text: str) -> str:
    return f"Made {path}: {count(text)}."


def count(text: str) -> str:
    lines = len(lines_of(text))
    return f"{lines} line{'' if lines == 1 else 's'}"
