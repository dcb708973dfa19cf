"""The tools that change files: what stays as it was, what is refused, and what a result says."""

import asyncio
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.tools.changes import content
from cli.tools.seen import Seen
from cli.tools.table import tools
from cli.tools.text import Text
from cli.tools.writing import Edit, Stale

Use = Callable[..., str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / ".git" / "hooks").mkdir(parents=True)
    (root / "src" / "a.py").write_text("def a():\n    return 1\n")
    (root / "notes").write_text("one\ntwo\nthree\n")
    return root


@pytest.fixture
def use(root: Path) -> Use:
    found = tools(root, "s")

    def using(name: str, **given: Any) -> str:
        said = found[name](**given)
        return asyncio.run(said) if inspect.isawaitable(said) else said

    return using


FORMS = [
    ("utf-8", b"", "\n", "é → 😀"),
    ("utf-8", b"", "\r\n", "é → 😀"),
    ("utf-8", b"\xef\xbb\xbf", "\n", "é"),
    ("utf-8", b"\xef\xbb\xbf", "\r\n", "é"),
    ("utf-16-le", b"\xff\xfe", "\n", "é → 😀"),
    ("utf-16-le", b"\xff\xfe", "\r\n", "é → 😀"),
    ("utf-16-be", b"\xfe\xff", "\n", "é → 😀"),
    ("utf-16-be", b"\xfe\xff", "\r\n", "é"),
    ("cp1252", b"", "\n", "café “x” €"),
    ("cp1252", b"", "\r\n", "café “x” €"),
    ("latin-1", b"", "\n", "café \x81"),
    ("latin-1", b"", "\r\n", "\x8d é"),
]


@pytest.mark.parametrize(("encoding", "mark", "end", "word"), FORMS)
@pytest.mark.parametrize("name", ["edit_file", "write_file", "apply_patch"])
def test_encoding_mark_line_ends_and_mode_survive(
    root: Path, use: Use, name: str, encoding: str, mark: bytes, end: str, word: str
):
    def made(*lines: str) -> bytes:
        return mark + "".join(f"{line}{end}" for line in lines).encode(encoding)

    file = root / "odd"
    file.write_bytes(made(word, "two", "three"))
    file.chmod(0o751)
    assert use("read_file", path="odd") == f"1\t{word}\n2\ttwo\n3\tthree"
    match name:
        case "edit_file":
            use(name, path="odd", old_text=f"{word}\ntwo", new_text=f"{word}\n2\n2")
        case "write_file":
            use(name, path="odd", content=f"{word}\n2\n2\nthree\n")
        case _:
            use(name, patch=f"--- a/odd\n+++ b/odd\n@@ -1,2 +1,3 @@\n {word}\n-two\n+2\n+2\n")
    assert file.read_bytes() == made(word, "2", "2", "three")
    assert file.stat().st_mode & 0o777 == 0o751


@given(st.binary(max_size=60) | st.text(alphabet="ab\r\n\0é€", max_size=20).map(str.encode))
def test_bytes_that_are_text_come_back_as_they_were(data: bytes):
    for mark in (b"", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"):
        try:
            text = Text.of(mark + data)
        except ValueError:
            continue
        assert text.data(text.text) == mark + data


def test_what_an_encoding_does_not_have_is_refused(root: Path, use: Use):
    (root / "odd").write_bytes(b"caf\xe9\n")
    use("read_file", path="odd")
    for call in (
        {"name": "edit_file", "old_text": "caf", "new_text": "→"},
        {"name": "write_file", "content": "→"},
    ):
        with pytest.raises(ValueError, match="odd is cp1252, which has no '→'"):
            use(path="odd", **call)
    assert (root / "odd").read_bytes() == b"caf\xe9\n"


def test_a_result_says_where_and_what(root: Path, use: Use):
    said = use("edit_file", path="notes", old_text="two", new_text="2\n2")
    assert said == "Changed notes:\n@@ -1,3 +1,4 @@\n one\n-two\n+2\n+2\n three"
    assert use("write_file", path="new/deep/file", content="a\nb") == "Made new/deep/file: 2 lines."
    assert (root / "new/deep/file").read_bytes() == b"a\nb"
    assert "all of this stands there already" in use("write_file", path="new/deep/file", content="a\nb")


def test_a_result_is_short_whatever_changed(root: Path, use: Use):
    (root / "long").write_text("".join(f"line {n} {'x' * 90}\n" for n in range(30_000)))
    said = use("edit_file", path="long", old_text="x", new_text="y", replace_all=True)
    assert len(said) < 100 and "lines 1 to 30000 are new" in said
    said = use(
        "multi_edit",
        path="long",
        edits=[Edit(old_text=f"line {n} ", new_text=f"{n} ") for n in range(9, 90)],
    )
    assert len(said.encode()) < 4_200 and said.endswith("lines more)")


def test_several_edits_are_made_one_after_the_other_or_none(root: Path, use: Use):
    def edits(*pairs: tuple[str, str]) -> list[Any]:
        return [Edit(old_text=old, new_text=new) for old, new in pairs]

    use("multi_edit", path="notes", edits=edits(("one", "1"), ("1\ntwo", "x")))
    assert (root / "notes").read_text() == "x\nthree\n"
    with pytest.raises(ValueError, match=r"notes is unchanged\. Edit 2 of 2: old_text is not in the file"):
        use("multi_edit", path="notes", edits=edits(("x", "y"), ("four", "z")))
    assert (root / "notes").read_text() == "x\nthree\n"


def test_a_file_that_exists_is_not_written_over_unread(root: Path, use: Use):
    with pytest.raises(ValueError, match="you have not read it"):
        use("write_file", path="notes", content="x")
    use("read_file", path="notes")
    use("write_file", path="notes", content="x\n")
    use("write_file", path="notes", content="y\n")
    assert (root / "notes").read_text() == "y\n"


def test_what_one_session_has_read_another_has_not(root: Path):
    seen = Seen()
    mine, other = tools(root, "mine", seen=seen), tools(root, "other", seen=seen)
    mine["read_file"](path="notes")
    with pytest.raises(ValueError, match="you have not read it"):
        other["write_file"](path="notes", content="x")
    tools(root, "mine", seen=seen)["write_file"](path="notes", content="x")


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("write_file", {"content": "x"}),
        ("edit_file", {"old_text": "one", "new_text": "1"}),
        ("delete_file", {}),
        ("apply_patch", {"patch": "*** Begin Patch\n*** Update File: notes\n@@\n-one\n+1\n*** End Patch"}),
    ],
)
def test_a_file_that_has_changed_since_is_refused_with_what_changed(
    root: Path, use: Use, name: str, more: dict[str, str]
):
    use("read_file", path="notes")
    (root / "notes").write_text("one\ntwo!\nthree\n")
    where = {} if name == "apply_patch" else {"path": "notes"}
    with pytest.raises(ValueError, match=r"(?s)notes has changed since you read it.*-two\n\+two!"):
        use(name, **where, **more)
    assert (root / "notes").read_text() == "one\ntwo!\nthree\n"
    use(name, **where, **more)  # now it knows
    assert content(root / "notes") != b"one\ntwo!\nthree\n"


def test_a_change_too_long_to_show_is_to_be_read_again(root: Path, use: Use):
    use("read_file", path="notes")
    (root / "notes").write_text("".join(f"{n} {'x' * 50}\n" for n in range(2_000)))
    for _ in range(2):
        with pytest.raises(Stale, match="Read it again"):
            use("edit_file", path="notes", old_text="1999 x", new_text="y")
    use("read_file", path="notes")
    use("edit_file", path="notes", old_text="1999 x", new_text="y")


def test_what_was_read_long_ago_is_forgotten(root: Path):
    seen = Seen(limit=20)
    found = tools(root, "s", seen=seen)
    found["read_file"](path="notes")
    (root / "more").write_text("0123456789")
    found["read_file"](path="more")
    assert (seen.size, len(seen.files)) == (10, 1)
    with pytest.raises(ValueError, match="you have not read it"):
        found["write_file"](path="notes", content="x")


PATCH = """*** Begin Patch
*** Update File: notes
@@
-two
+2
*** Add File: new/file
+hello
*** Delete File: src/a.py
*** Update File: mine
*** Move to: yours
@@
-{line}
+mended
*** End Patch"""


def test_a_patch_changes_several_files(root: Path, use: Use):
    (root / "mine").write_text("broken\n")
    (root / "mine").chmod(0o700)
    said = use("apply_patch", patch=PATCH.format(line="broken"))
    assert [line for line in said.split("\n") if line[:1] not in "@ +-"] == [
        "Changed notes:", "Made new/file: 1 line.", "Deleted src/a.py.", "Changed mine, now yours:"
    ]  # fmt: skip
    assert files_of(root) == {"notes": "one\n2\nthree\n", "new/file": "hello\n", "yours": "mended\n"}
    assert (root / "yours").stat().st_mode & 0o777 == 0o700


def test_a_patch_that_does_not_fit_changes_nothing(root: Path, use: Use):
    (root / "mine").write_text("broken\n")
    before = files_of(root)
    with pytest.raises(ValueError, match=r"Nothing was written, because of mine\. Hunk 1 of 1"):
        use("apply_patch", patch=PATCH.format(line="whole"))
    assert files_of(root) == before


def test_a_patch_that_the_disk_refuses_changes_nothing(root: Path, use: Use):
    (root / "mine").write_text("broken\n")
    (root / "new").write_text("in the way of a folder")
    before = files_of(root)
    with pytest.raises(OSError):
        use("apply_patch", patch=PATCH.format(line="broken"))
    assert files_of(root) == before


@pytest.mark.parametrize(
    "patch",
    [
        "*** Begin Patch\n*** Add File: notes\n+x\n*** End Patch",
        "*** Begin Patch\n*** Update File: src/a.py\n*** Move to: notes\n*** End Patch",
        "*** Begin Patch\n*** Delete File: none\n*** End Patch",
        "--- a/notes\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-one\n",
        "*** Begin Patch\n*** Delete File: notes\n*** Update File: notes\n@@\n-one\n+1\n*** End Patch",
    ],
)
def test_a_patch_takes_no_other_files_away(root: Path, use: Use, patch: str):
    before = files_of(root)
    with pytest.raises(ValueError, match="Nothing was written"):
        use("apply_patch", patch=patch)
    assert files_of(root) == before


def files_of(root: Path) -> dict[str, str]:
    """All files, also drafts that were left."""
    return {file.relative_to(root).as_posix(): file.read_text() for file in root.rglob("*") if file.is_file()}


WRITERS: list[tuple[str, Callable[[str], dict[str, str]]]] = [
    ("write_file", lambda path: {"path": path, "content": "x"}),
    ("edit_file", lambda path: {"path": path, "old_text": "a", "new_text": "b"}),
    ("delete_file", lambda path: {"path": path}),
    ("move_file", lambda path: {"path": path, "to": "here"}),
    ("move_file", lambda path: {"path": "notes", "to": path}),
    ("apply_patch", lambda path: {"patch": f"*** Begin Patch\n*** Add File: {path}\n+x\n*** End Patch"}),
    ("apply_patch", lambda path: {"patch": f"*** Begin Patch\n*** Delete File: {path}\n*** End Patch"}),
    ("apply_patch", lambda path: {
        "patch": f"*** Begin Patch\n*** Update File: notes\n*** Move to: {path}\n*** End Patch"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given"), WRITERS)
@pytest.mark.parametrize(
    "path",
    ["../outside/f", "/etc/f", "out/f", "dangling", "file", ".git/hooks/x", ".git/config", ".GIT/config",
     "sub/.git/x", ".opta/permissions.json", "hooks/x"],
)  # fmt: skip
def test_nothing_is_changed_outside_or_in_folders_that_are_kept(
    root: Path, use: Use, name: str, given: Callable[[str], dict[str, str]], path: str
):
    (root.parent / "outside" / "f").write_text("abc\n")
    (root / "out").symlink_to(root.parent / "outside")
    (root / "file").symlink_to(root.parent / "outside" / "f")
    (root / "dangling").symlink_to(root.parent / "outside" / "none")
    (root / "hooks").symlink_to(root / ".git" / "hooks")
    before = files_of(root.parent)
    with pytest.raises(ValueError, match=r"outside of the working directory|which no tool changes"):
        use(name, **given(path))
    assert files_of(root.parent) == before


def test_a_link_stays_and_what_it_leads_to_is_changed(root: Path, use: Use):
    (root / "link").symlink_to("notes")
    use("edit_file", path="link", old_text="two", new_text="2")
    use("read_file", path="link")
    use("write_file", path="link", content="all\n")
    assert (root / "link").is_symlink() and (root / "notes").read_text() == "all\n"
    for name, more in (("delete_file", {}), ("move_file", {"to": "x"})):
        with pytest.raises(ValueError, match="link is a link to notes"):
            use(name, path="link", **more)


def test_files_are_moved_and_deleted(root: Path, use: Use):
    use("read_file", path="notes")
    assert use("move_file", path="notes", to="deep/er/notes") == "Moved notes to deep/er/notes."
    use("write_file", path="deep/er/notes", content="known still\n")
    with pytest.raises(FileExistsError, match=r"src/a\.py exists already"):
        use("move_file", path="deep/er/notes", to="src/a.py")
    assert use("delete_file", path="deep/er/notes") == "Deleted deep/er/notes."
    with pytest.raises(FileNotFoundError):
        use("delete_file", path="deep/er/notes")
    for name, more in (
        ("delete_file", {}),
        ("move_file", {"to": "x"}),
        ("edit_file", {"old_text": "a", "new_text": "b"}),
    ):
        with pytest.raises(IsADirectoryError, match="src is a folder"):
            use(name, path="src", **more)


def test_what_is_no_text_is_not_edited(root: Path, use: Use):
    (root / "logo").write_bytes(b"\x89PNG\0\0alpha")
    os.mkfifo(root / "pipe")
    with pytest.raises(ValueError, match="logo is binary"):
        use("edit_file", path="logo", old_text="alpha", new_text="beta")
    with pytest.raises(ValueError, match="pipe is no file"):
        use("edit_file", path="pipe", old_text="alpha", new_text="beta")
    (root / "big").write_bytes(b"x" * 10_000_001)
    with pytest.raises(ValueError, match="more than is edited here"):
        use("edit_file", path="big", old_text="x", new_text="y")


FULL = """
import resource, signal, sys
from pathlib import Path
from cli.tools.table import tools
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
found = tools(Path(sys.argv[1]), "s")
found["read_file"](path="notes")
long = "x" * 2000
update = "*** Update File: src/a.py\\n@@\\n-def a():\\n+def b():\\n"
patch = f"*** Begin Patch\\n{update}*** Add File: n/f\\n+{long}"
for name, given in [
    ("write_file", {"path": "notes", "content": long}),
    ("edit_file", {"path": "notes", "old_text": "two", "new_text": long}),
    ("apply_patch", {"patch": patch}),
]:
    try:
        found[name](**given)
    except OSError as error:
        print(name, error.errno)
"""


def test_the_old_text_is_there_when_the_new_one_finds_no_room(root: Path):
    """No file may be longer than 1,000 bytes, which a disk that is full says in the same way."""
    before = files_of(root)
    ran = subprocess.run([sys.executable, "-c", FULL, str(root)], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["write_file", "27", "edit_file", "27", "apply_patch", "27"]
    assert files_of(root) == before
    assert not (root / "n").exists()
