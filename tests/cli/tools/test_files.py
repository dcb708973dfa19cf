"""The tools that read files: what they show, how they cut it, and that they stay in the session's folder."""

import asyncio
import inspect
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cli.tools import files
from cli.tools.table import TOOLS, tools

READING = [name for name, row in TOOLS.items() if row.safety == "read"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("not yours")
    root = tmp_path / "project"
    (root / "src" / "deep").mkdir(parents=True)
    (root / "node_modules").mkdir()
    (root / "README.md").write_text("# Project\nIt is small.\n")
    (root / "src" / "a.py").write_text("import os\n\ndef alpha():\n    return 1\n")
    (root / "src" / "deep" / "b.ts").write_text("const alpha = 1\n")
    (root / "node_modules" / "alpha.py").write_text("alpha\n")
    (root / "logo.png").write_bytes(b"\x89PNG\0\0alpha")
    return root


def use(root: Path, name: str, **given: Any) -> str:
    found = tools(root)[name](**given)
    return asyncio.run(found) if inspect.isawaitable(found) else found


def test_a_file_is_read_with_its_line_numbers(root: Path):
    assert use(root, "read_file", path="README.md") == "1\t# Project\n2\tIt is small."
    assert use(root, "read_file", path=str(root / "README.md"), first_line=2) == "2\tIt is small."


def test_a_long_file_is_cut_and_says_how_to_go_on(root: Path):
    (root / "long.txt").write_text("".join(f"line {n}\n" for n in range(1, 50_001)))
    seen: list[str] = []
    while True:
        *shown, last = use(root, "read_file", path="long.txt", first_line=len(seen) + 1).split("\n")
        assert len("\n".join(shown)) <= files.LIMIT_BYTES
        seen += shown
        if not last.startswith("("):
            seen.append(last)
            break
        assert last == f"(There is more: go on with first_line {len(seen) + 1}.)"
    assert seen == [f"{n}\tline {n}" for n in range(1, 50_001)]


def test_a_line_without_end_is_clipped(root: Path):
    (root / "wide.txt").write_text("x" * 5_000_000)
    shown = use(root, "read_file", path="wide.txt")
    assert shown.endswith("x… (4998000 characters more)")
    assert len(shown) < 2_100


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"", "(odd is empty.)"),
        (b"\xff\xfeh\0i\0", "1\thi"),
        (b"caf\xe9", "1\tcafé"),
        ("\ufeffhi".encode(), "1\thi"),
        (b"a\r\nb", "1\ta\n2\tb"),
    ],
)
def test_odd_text_is_read(root: Path, content: bytes, shown: str):
    (root / "odd").write_bytes(content)
    assert use(root, "read_file", path="odd") == shown


def test_what_is_no_text_is_refused(root: Path):
    os.mkfifo(root / "pipe")
    with pytest.raises(ValueError, match=r"logo\.png is binary \(11 bytes\)"):
        use(root, "read_file", path="logo.png")
    with pytest.raises(ValueError, match="no file that can be read"):
        use(root, "read_file", path="pipe")
    with pytest.raises(IsADirectoryError, match="list_dir"):
        use(root, "read_file", path="src")


def test_a_missing_file_is_said_with_those_that_are_there(root: Path):
    with pytest.raises(FileNotFoundError, match=r"no Readme\.txt in .* Its folder has: README\.md\."):
        use(root, "read_file", path="Readme.txt")


OUTSIDE = [
    "../secret.txt",
    "src/../../secret.txt",
    "/etc/passwd",
    "~",
    "link/secret.txt",
    "file",
    "loop/../..",
]


# Those that change files are held in test_writing.py.
READERS = [name for name, row in TOOLS.items() if row.safety == "read" and row.subject in ("path", "tree")]


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("path", OUTSIDE)
def test_no_tool_leaves_the_folder(root: Path, name: str, path: str):
    (root / "link").symlink_to(root.parent)
    (root / "file").symlink_to(root.parent / "secret.txt")
    (root / "loop").symlink_to(root)
    more = {"pattern": "yours"} if name in ("glob", "grep") else {}
    with pytest.raises(files.Outside, match="outside of the working directory"):
        use(root, name, path=path, **more)


def test_a_search_does_not_follow_links_out_of_the_folder(root: Path):
    (root / "link").symlink_to(root.parent)
    (root / "file.txt").symlink_to(root.parent / "secret.txt")
    (root / "inside.md").symlink_to(root / "README.md")
    assert use(root, "grep", pattern="not yours") == "No line matches 'not yours'."
    assert use(root, "glob", pattern="*.txt") == "No file matches '*.txt'."
    assert use(root, "glob", pattern="*.md") == "README.md\ninside.md"


def test_a_folder_is_listed(root: Path):
    (root / "link").symlink_to("src")
    listed = use(root, "list_dir")
    assert listed == "README.md\t23\nlink → src\nlogo.png\t11\nnode_modules/\nsrc/"
    assert use(root, "list_dir", path="src") == "a.py\t37\ndeep/"
    with pytest.raises(NotADirectoryError, match="read_file"):
        use(root, "list_dir", path="README.md")


def test_a_crowded_folder_says_what_it_leaves_out(root: Path):
    for number in range(files.ENTRIES + 3):
        (root / "src" / "deep" / f"{number:04}").touch()
    assert use(root, "list_dir", path="src/deep").endswith("(4 more: glob finds them by their names.)")


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("*.py", ".", "src/a.py"),
        ("src/*.py", ".", "src/a.py"),
        ("**/*.ts", ".", "src/deep/b.ts"),
        ("src/**/b.ts", ".", "src/deep/b.ts"),
        ("./src/**", ".", "src/a.py\nsrc/deep/b.ts"),
        ("*.{py,ts}", ".", "src/a.py\nsrc/deep/b.ts"),
        ("*.ts", "src", "src/deep/b.ts"),
        ("*.rs", ".", "No file matches '*.rs'."),
    ],
)
def test_files_are_found_by_their_names(root: Path, pattern: str, path: str, found: str):
    assert use(root, "glob", pattern=pattern, path=path) == found


def test_lines_are_found_by_a_regular_expression(root: Path):
    assert use(root, "grep", pattern="al.ha") == "src/a.py:3: def alpha():\nsrc/deep/b.ts:1: const alpha = 1"
    assert use(root, "grep", pattern="alpha", files="*.py") == "src/a.py:3: def alpha():"
    assert use(root, "grep", pattern="small", path="README.md") == "README.md:2: It is small."
    with pytest.raises(ValueError, match="no regular expression"):
        use(root, "grep", pattern="(")


def test_a_search_that_finds_too_much_says_so(root: Path):
    (root / "many.txt").write_text("hit\n" * 5_000)
    *hits, last = use(root, "grep", pattern="hit").split("\n")
    assert (len(hits), last) == (files.FOUND, "(There is more: ask for less at once.)")


def test_a_pattern_that_takes_for_ever_is_given_up(root: Path):
    (root / "a.txt").write_text("a" * 60 + "b")
    workspace = files.Workspace(root, search_seconds=0.3)
    with pytest.raises(ValueError, match=r"took longer than 0\.3 s"):
        asyncio.run(files.grep(workspace, "(a+)+$"))


def test_a_tool_that_only_reads_says_so(root: Path):
    found = tools(root)
    assert not any(found[name].mutates for name in READING)
    assert all(tool.mutates for name, tool in found.items() if name not in (*READING, "web_fetch"))


def test_a_name_that_is_no_utf_8_is_listed_beside_the_others(root: Path):
    with suppress(OSError), open(os.path.join(os.fsencode(root), b"caf\xe9.txt"), "w") as file:
        file.write("alpha")  # macOS keeps no such names
    assert "README.md" in use(root, "list_dir")
    assert "README.md" in use(root, "glob", pattern="*")
    assert "a.py:3: def alpha():" in use(root, "grep", pattern="alpha")
