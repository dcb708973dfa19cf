"""Which rule decides a call: precedence, patterns of commands and of paths, and modes."""

import shlex
from json import dumps
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.agent.policy import Call, Rule, call_of, decide, exactly, patterns, rule
from cli.agent.readers import reads_only
from cli.protocol.messages import ToolCall
from cli.protocol.permissions import ACTIONS, Action

RUNS = SimpleNamespace(subject="command", mutates=True)
READS = SimpleNamespace(subject="path", mutates=False)
SEARCHES = SimpleNamespace(subject="tree", mutates=False)


def rules(cwd: Path, *lines: str) -> list[Rule]:
    """`deny read_file(x)` and so on, written by the user."""
    said = (line.split(" ", 1) for line in lines)
    return [rule(action, pattern, "user", "permissions.json", cwd) for action, pattern in said]


def command(line: str) -> Call:
    return call_of(ToolCall(id="1", name="run_command", arguments=dumps({"command": line})), RUNS, Path("/"))


def reading(path: str, cwd: Path, tool: SimpleNamespace = READS, name: str = "read_file") -> Call:
    return call_of(ToolCall(id="1", name=name, arguments=dumps({"path": path})), tool, cwd)


def said(line: str, *lines: str, mode: str = "chat") -> Action:
    return decide(mode, rules(Path("/"), *lines), command(line)).action


@pytest.mark.parametrize(
    ("pattern", "line", "allowed"),
    [
        ("run_command(git *)", "git status", True),
        ("run_command(git *)", "git commit -m 'one; two'", True),
        ("run_command(git *)", "git", True),
        ("run_command(git *)", "github status", False),
        ("run_command(git status)", "git status", True),
        ("run_command(git push)", "git push --force", False),
        ("run_command(git * --short)", "git status -b --short", True),
        ("run_command(npm run test*)", "npm run test:unit", True),
        ("run_command(npm run test*)", "npm run deploy", False),
        ("run_command(git *)", "/opt/git status", False),
        ("run_command(git *)", "X=1 git status", False),
        ("run_command(git *)", "'git status' x", False),
        ("run_command(git *)", "git log 'an unfinished quote", False),
        ("run_command(git *)", "GIT status", False),
        ("run_command", "rm -rf /", True),
        ("*", "rm -rf /", True),
        ("run_*", "ls", True),
        ("read_file", "make", False),
    ],
)
def test_an_allow_rule_takes_one_plain_command_word_for_word(pattern: str, line: str, allowed: bool):
    assert said(line, f"allow {pattern}") == ("allow" if allowed else "ask")


@pytest.mark.parametrize(
    "rest",
    ["; rm -rf /", " && rm x", " || rm x", " | sh", " & rm x", "\nrm x", "\rrm x", " > /etc/passwd", " < $x",
     " $(rm x)", " `rm x`", ' "$(rm x)"', " <(rm x)", " ${x}", " $x", "\\\nrm x", " (rm x)", " {rm,x}",
     " x\0y"],
)  # fmt: skip
def test_no_operator_of_a_shell_is_ever_allowed_by_a_prefix(rest: str):
    assert said(f"git status{rest}", "allow run_command(git *)") == "ask"
    assert said(f"git push{rest}", "allow run_command(git *)") == "ask"


@pytest.mark.parametrize(
    "line",
    ["rm -rf /", "git status; rm -rf /", "true && rm x", "cat x | xargs rm", "$(rm x)", "`rm x`", "sudo rm x",
     "/bin/rm x", "X=1 rm x", "bash -c 'rm x'", 'sh -c "cd / && rm x"', "r''m x", "r\\m x", "RM x", "rm",
     "rm${IFS}x", "echo 'open; rm x", "(rm x)", "true\nrm x", "env -i rm x"],
)  # fmt: skip
@pytest.mark.parametrize("action", ["deny", "ask"])
def test_deny_and_ask_find_a_command_wherever_it_stands(line: str, action: str):
    assert said(line, f"{action} run_command(rm *)", "allow run_command") == action
    assert said(line, f"{action} run_command(rm)", "allow run_command") == action


def test_deny_and_ask_leave_other_commands_alone():
    assert said("git push --force", "deny run_command(git * --force)", "allow run_command") == "deny"
    assert said("git push", "deny run_command(git * --force)", "allow run_command") == "allow"
    assert said("echo farm x", "deny run_command(rm *)", "allow run_command") == "allow"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a secret and a project, in which links lead out and in."""
    for name in ("secret/deep", "project/src/inner", "project/secretary"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "secret/key").write_text("k")
    (tmp_path / "project/src/out").symlink_to(tmp_path / "secret")
    (tmp_path / "project/alias").symlink_to(tmp_path / "project/src")
    (tmp_path / "door").symlink_to(tmp_path / "secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "path",
    ["~/secret/key", "../secret/key", "src/../../secret/deep/x", "src/out/key", "src/out", "~/door/key",
     "{home}/secret/key", "{home}/project/../SECRET/key", "~/secret", "~/secret/deep/none/yet"],
)  # fmt: skip
@pytest.mark.parametrize("pattern", ["~/secret/**", "~/secret", "{home}/secret", "../secret/*", "~/door/**"])
def test_a_path_that_is_denied_is_denied_under_every_name(home: Path, path: str, pattern: str):
    if pattern == "../secret/*" and path in ("~/secret", "src/out"):
        return  # the folder itself is none of what lies in it
    here = home / "project"
    found = rules(here, f"deny read_file({pattern.format(home=home)})", "allow read_file(/**)")
    assert decide("chat", found, reading(path.format(home=home), here)).action == "deny"


@pytest.mark.parametrize("path", ["src/a", "secretary/x", "~/secrets", "~/project/secret"])
def test_a_path_that_only_looks_alike_is_not_denied(home: Path, path: str):
    here = home / "project"
    assert decide("chat", rules(here, "deny read_file(~/secret/**)"), reading(path, here)).action == "allow"


@pytest.mark.parametrize(
    ("pattern", "path", "allowed"),
    [
        ("src/**", "src/a", True),
        ("src/**", "src/inner/a", True),
        ("src/**", "./src/../src/a", True),
        ("src/**", "alias/a", True),
        ("alias/**", "src/a", True),
        ("src/*", "src/inner/a", False),
        ("src/*.py", "src/a.py", True),
        ("**/*.py", "src/inner/a.py", True),
        ("src/**", "src/out/key", False),
        ("src/**", "src/../../secret/key", False),
        ("src/**", "source/a", False),
        ("src", "src/a", False),
        ("src/**", "SRC/a", False),
    ],
)
def test_an_allow_rule_takes_a_path_with_its_links_followed(
    home: Path, pattern: str, path: str, allowed: bool
):
    here = home / "project"
    writes = SimpleNamespace(subject="path", mutates=True)
    call = reading(path, here, writes, "write_file")
    decision = decide("chat", rules(here, f"allow write_file({pattern})"), call)
    assert decision.action == ("allow" if allowed else "ask")


@pytest.mark.parametrize(
    ("path", "action"), [(".", "deny"), ("..", "deny"), ("src/out", "deny"), ("secretary", "allow")]
)
def test_a_search_is_about_all_that_lies_below(home: Path, path: str, action: str):
    here = home / "project"
    found = rules(here, "deny grep(secret)", "deny grep(src/private/**)", "deny grep(~/secret/*)")
    assert decide("chat", found, reading(path, here, SEARCHES, "grep")).action == action


def test_what_cannot_be_compared_is_denied_and_never_allowed():
    call = Call("mcp__db__query", mutates=True)
    assert decide("chat", rules(Path("/"), "allow mcp__db__query(SELECT *)"), call).action == "ask"
    assert decide("chat", rules(Path("/"), "deny mcp__db__query(DROP *)"), call).action == "deny"
    assert decide("chat", rules(Path("/"), "allow mcp__db__*"), call).action == "allow"


@pytest.mark.parametrize("mode", ["plan", "review", "research"])
def test_a_mode_that_only_looks_changes_nothing_whatever_the_rules_say(mode: str):
    decision = decide(mode, rules(Path("/"), "allow *"), command("touch x"))
    assert (decision.action, decision.rule, mode in decision.reason) == ("deny", None, True)
    assert decide(mode, [], Call("read_file", mutates=False)).action == "allow"


LINES = st.sampled_from(
    ["run_command", "run_command(git *)", "run_command(git status)", "run_command(rm *)", "read_file", "*"]
)
SETS = st.lists(st.tuples(st.sampled_from(ACTIONS), LINES), max_size=8)
COMMANDS = st.sampled_from(["git status", "git push", "rm x", "git status; rm x", "ls"])


@given(SETS, COMMANDS, st.randoms())
def test_the_strictest_rule_that_matches_decides_in_any_order(found, line, random):
    written = [f"{action} {pattern}" for action, pattern in found]
    decision, unsaid = decide("chat", rules(Path("/"), *written), command(line)), "ask"
    if reads_only(line):
        unsaid = "allow"
    matching = {
        each.split()[0] for each in written if decide("chat", rules(Path("/"), each), command(line)).rule
    }
    assert decision.action == next((action for action in ACTIONS if action in matching), unsaid)
    assert (decision.rule is None) == (not matching)
    random.shuffle(written)
    assert decide("chat", rules(Path("/"), *written), command(line)).action == decision.action


@given(SETS, COMMANDS, LINES)
def test_another_deny_never_lets_more_happen(found, line, pattern):
    written = [f"{action} {each}" for action, each in found]
    before = decide("chat", rules(Path("/"), *written), command(line)).action
    after = decide("chat", rules(Path("/"), *written, f"deny {pattern}"), command(line)).action
    assert ACTIONS.index(after) <= ACTIONS.index(before)


WORDS = st.text(alphabet="ab*?[]-'\" ;$", min_size=1, max_size=8)


@given(WORDS, WORDS)
def test_the_rules_that_are_offered_for_a_command_allow_it_and_no_other_program(line, other):
    if found := patterns(command(line)):
        offered = [f"allow {pattern}" for pattern in found]
        assert said(line, *offered) == "allow"
        if said(other, *offered) == "allow" and not reads_only(other):
            assert shlex.split(other)[0] in shlex.split(line)


@given(st.text(alphabet="ab*?[]\\ ./'", min_size=1, max_size=20))
def test_the_rule_for_exactly_this_path_allows_no_other(path):
    writes = SimpleNamespace(subject="path", mutates=True)
    call = reading(path, Path("/nowhere"), writes)
    found = rules(Path("/nowhere"), f"allow {exactly(call)}")
    assert decide("chat", found, call).action == "allow"
    assert decide("chat", found, reading(f"{call.subject}x", Path("/nowhere"), writes)).action == "ask"
