"""What git ignores is not searched, unless it is asked for or named; git itself says what that is."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cli.tools import search
from tests.cli.tools.test_files import use


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    for name in (
        "src/main.py",
        "src/build/out.py",
        "src/build/deep/more.py",
        "part/local.py",
        "part/other.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("alpha = 1\n")
    git(root, "init", "-q")
    (root / ".gitignore").write_text("# made\nbuild/\n*.log\n!keep.log\n")
    (root / "part" / ".gitignore").write_text("local.py\n")
    (root / ".git" / "info" / "exclude").write_text("/mine.py\n")
    for name in ("mine.py", "src/mine.py", "run.log", "keep.log"):
        (root / name).write_text("alpha = 2\n")
    return root


def git(root: Path, *words: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "HOME": str(root)}
    done = subprocess.run(["git", *words], cwd=root, env=env, capture_output=True, check=True)
    return done.stdout.decode()


SEEN = ["keep.log", "part/other.py", "src/main.py", "src/mine.py"]
HIDDEN = ["mine.py", "part/local.py", "run.log", "src/build/deep/more.py", "src/build/out.py"]


def found(root: Path, **given: object) -> list[str]:
    """What grep finds; glob finds the same."""
    hits = sorted(line.partition(":")[0] for line in use(root, "grep", pattern="alpha", **given).split("\n"))
    names = use(root, "glob", pattern="{*.py,*.log}", **given).split("\n")
    assert sorted(names) == hits
    return hits


def test_what_git_ignores_is_found_only_when_it_is_asked_for(repository: Path):
    assert found(repository) == SEEN
    assert found(repository, ignored=True) == sorted(SEEN + HIDDEN)


def test_what_is_named_is_searched_also_when_it_is_ignored(repository: Path):
    assert found(repository, path="src/build") == ["src/build/deep/more.py", "src/build/out.py"]
    assert found(repository, path="src/build/deep") == ["src/build/deep/more.py"]
    assert use(repository, "grep", pattern="alpha", path="run.log") == "run.log:1: alpha = 2"


def test_the_rules_of_the_whole_repository_hold_in_a_part_of_it(repository: Path):
    assert found(repository / "src") == ["main.py", "mine.py"]
    assert found(repository / "part") == ["other.py"]


def test_a_repository_within_another_has_rules_of_its_own(repository: Path):
    inner = repository / "part" / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / "run.log").write_text("alpha = 3\n")
    assert "part/inner/run.log" in found(repository)


def test_a_folder_in_no_repository_may_say_what_to_ignore(tmp_path: Path):
    (tmp_path / ".gitignore").write_text("a.py\n")
    (tmp_path / "a.py").write_text("alpha")
    (tmp_path / "b.py").write_text("alpha")
    assert found(tmp_path) == ["b.py"]


@pytest.mark.parametrize("pattern", [b"!\n", b"[\n", b"\\\n", b"a***b\n", b"\xff\xfe\n", b"\0\n", b"/\n"])
def test_a_pattern_that_is_none_ignores_nothing(tmp_path: Path, pattern: bytes):
    (tmp_path / ".gitignore").write_bytes(pattern + b"a.py\n")
    (tmp_path / "a.py").write_text("alpha")
    (tmp_path / "b.py").write_text("alpha")
    assert found(tmp_path) == ["b.py"]


def test_a_link_says_nothing_of_what_to_ignore(tmp_path: Path):
    (tmp_path / "list").write_text("*.py\n")
    (tmp_path / ".gitignore").symlink_to(tmp_path / "list")
    (tmp_path / "b.py").write_text("alpha")
    assert found(tmp_path) == ["b.py"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bare")
    git(root, "init", "-q")
    return root


part = st.sampled_from(["a", "b", "ab", "a.c", "d"])
path = st.lists(part, min_size=1, max_size=3).map("/".join)
glob = st.sampled_from(["a", "b", "*", "a*", "*.c", "**", "?", "[ab]", "d", "ab"])
pattern = st.builds(
    lambda no, root, parts, end: f"{no}{root}{'/'.join(parts)}{end}",
    st.sampled_from(["", "", "!"]), st.sampled_from(["", "/"]),
    st.lists(glob, min_size=1, max_size=3), st.sampled_from(["", "/"]),
)  # fmt: skip
# What pathspec takes for `a/` is beyond what anybody writes.
patterns = st.lists(pattern.filter(lambda each: not each.endswith("/**/")), max_size=4)


@given(paths=st.lists(path, min_size=1, max_size=8), top=patterns, below=patterns, exclude=patterns)
@example(paths=["a/b", "a/d"], top=["a/*", "!a/b"], below=[], exclude=[])
@example(paths=["a/b", "a/d"], top=["a", "!a/b"], below=["!b"], exclude=["*"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_what_git_says(
    bare: Path, paths: list[str], top: list[str], below: list[str], exclude: list[str]
):
    for entry in bare.iterdir():
        if entry.name != ".git":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for name in paths:
        if not any((bare / name).is_relative_to(bare / each) and name != each for each in paths):
            (bare / name).parent.mkdir(parents=True, exist_ok=True)
            if not (bare / name).exists():
                (bare / name).write_text("x")
    write(bare / ".gitignore", top)
    write(bare / ".git" / "info" / "exclude", exclude)
    if (bare / "a").is_dir():
        write(bare / "a" / ".gitignore", below)
    said = git(bare, "ls-files", "--others", "--exclude-standard", "-z").split("\0")[:-1]
    ours = [file.relative_to(bare).as_posix() for file in search.walk(bare, bare)]
    assert sorted(ours) == sorted(said)


def write(file: Path, lines: list[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines))
