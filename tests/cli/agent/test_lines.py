"""What a shell's line really runs, and what rules about commands make of it."""

from json import dumps
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.agent.bash import commands
from cli.agent.policy import Call, Decision, call_of, decide, patterns, rule
from cli.agent.readers import reads_only
from cli.agent.words import Unknown
from cli.protocol.messages import ToolCall

RUNS = SimpleNamespace(subject="command", mutates=True)
GIT = "allow run_command(git *)"
TESTS = "allow run_command(pytest *)"


def command(line: str) -> Call:
    return call_of(ToolCall(id="1", name="run_command", arguments=dumps({"command": line})), RUNS, Path("/"))


def decision(line: str, *rules: str, mode: str = "chat") -> Decision:
    said = (each.split(" ", 1) for each in rules)
    found = [rule(action, pattern, "user", "permissions.json", Path("/")) for action, pattern in said]
    return decide(mode, found, command(line))


READING = """
ls -la
cat a b | head -5 | wc -l
grep -rn "foo bar" src --include=*.py
rg -n foo src
find . -name '*.py' -type f
find . -name x -exec grep foo {} \\;
find . -name '*.py' | xargs wc -l
find . -print0 | xargs -0 grep -l foo
git status --short
git diff HEAD~1 -- a.py
git log --oneline -5 | cat
git show HEAD@{1}:a
git branch -a
git stash list
git remote -v
git config --get user.name
git log --author="a b" --stat
cd src && ls 2>/dev/null
ls 2>&1 | tail -3
sort -u a | uniq -c
sort -k1,2n a
sed -n '1,20p' a
sed 's/a/b/g' a
awk -F: '{print $1}' a
echo "$HOME" $x
for f in a b; do cat "$f"; done
if [ -f x ]; then cat x; fi
[[ -d x && $y == a* ]] && echo yes
case $x in a) ls;; *.py) pwd;; esac
timeout -k 5 10 nice -n 3 ls
env LC_ALL=C ls
bash -lc 'ls | wc'
diff <(ls a) <(ls b)
x=$(ls); echo "$x"
command -v git
python3 --version
echo $((1+2))
wc -l < a
set -euo pipefail; ls
test -f x || echo no
(cd a; /bin/ls)
printf '%s\\n' a
date +%s # the time (of now)
""".strip().splitlines()

WRITING = """
rm x
ls > f
ls &> f
ls >| f
ls >& f
ls <> f
ls 2>$x
{ ls; } >> f
cat a | tee b
sort -o f a
sort -uof a
sort --outp=f a
sort *
sed -i s/a/b/ f
sed 's/a/b/w f' a
sed 's/a/b/e' a
sed -n 'w f' a
awk '{print > "f"}' a
awk 'BEGIN{system("rm")}'
find . -delete
find . -fprintf f x
find . -exec rm {} +
find . -exec echo {} + -exec rm {} \\;
git diff --output=f
git diff --outp f
git log --ext-diff
git grep -Ovi foo
git branch new
git tag v1
git stash
git remote add a b
git config a.b c
git -C x status
cd x && git status
git -c core.pager=x log
./ls
./env ls
PATH=. ls
env PATH=. ls
export PATH=.; ls
for PATH in .; do ls; done
GIT_EXTERNAL_DIFF=x git diff
cat < /dev/tcp/a/1
xargs rm
ls | sh
uniq a b
rg --pre x y
rg $x
printf -v PATH x
[ -v 'a[$(rm)]' ]
[[ x -eq 1 ]]
echo ${x@P}
echo ${PATH:=.}
((x=1))
source x
read x
cat ~/.ssh/id_rsa
grep KEY .env.local
cat < /proc/self/environ
git show HEAD:.env
tree -o f
less x
""".strip().splitlines()


@pytest.mark.parametrize("line", [*READING, "cat <<EOF\nhi\nEOF", "cat <<'E' | wc\n$(rm x)\nE"])
def test_what_only_reads_needs_no_question_in_any_mode(line: str):
    assert reads_only(line)
    assert [decision(line, mode=mode).action for mode in ("chat", "plan", "review")] == ["allow"] * 3


@pytest.mark.parametrize("line", [*WRITING, "cat <<E\n$(rm x)\nE", "cat <<E\n`rm x`\nE"])
def test_what_may_do_more_is_asked_for_and_refused_where_nothing_is_changed(line: str):
    assert not reads_only(line)
    assert decision(line).action == "ask"
    assert decision(line, "allow *", mode="plan").action == "deny"


@pytest.mark.parametrize(
    ("line", "rules", "action"),
    [
        ("pytest -x tests/a.py", [TESTS], "allow"),
        ("cd src && pytest -q 2>&1 | tail -5", [TESTS], "allow"),
        ("pytest; git push", [TESTS], "ask"),
        ("pytest; git push", [TESTS, GIT], "allow"),
        ("pytest && git push || echo no", [GIT, TESTS], "allow"),
        ("timeout 60 pytest -q", [TESTS], "allow"),
        ("sudo pytest", [TESTS], "ask"),
        ("sudo pytest", [TESTS, "allow run_command(sudo pytest)"], "allow"),
        ("pytest > out", [TESTS], "ask"),
        ("pytest > /dev/null 2>&1", [TESTS], "allow"),
        ("pytest < in", [TESTS], "allow"),
        ("pytest $x", [TESTS], "ask"),
        ("pytest *.py", [TESTS], "allow"),
        ("pytest {a,b}", [TESTS], "ask"),
        ("X=1 pytest", [TESTS], "ask"),
        ("./pytest", [TESTS], "ask"),
        ("bash -c 'pytest -x'", [TESTS], "allow"),
        ("bash -c 'pytest -x; make'", [TESTS], "ask"),
        ("xargs pytest", [TESTS], "ask"),
        ("for x in a b; do pytest tests; done", [TESTS], "allow"),
        ("for x in a b; do pytest $x; done", [TESTS], "ask"),
        ("if pytest; then git push; fi", [TESTS, GIT], "allow"),
        ("(pytest &)", [TESTS], "allow"),
        ("git commit -m 'one; two'", [GIT], "allow"),
        ('git commit -m "a $(rm x)"', [GIT], "ask"),
        ("git apply <<'E'\nfix (this)\nE", [GIT], "allow"),
        ("git -c alias.x='!rm y' x", [GIT], "ask"),
        ("git -c color.ui=never push", [GIT], "allow"),
        ("git bisect run make", [GIT], "ask"),
        ("git rebase -x make", [GIT], "ask"),
        ("make", ["allow run_command(*)"], "allow"),
        ("eval $x", ["allow run_command(*)"], "ask"),
        ("eval $x", ["allow run_command"], "allow"),
        ("eval $x", ["allow run_command", "deny run_command(rm *)"], "ask"),
        ("git $x", ["allow run_command", "deny run_command(git push *)"], "ask"),
        ("git add *", ["allow run_command", "deny run_command(git push *)"], "allow"),
        ("ls", ["ask run_command(ls *)"], "ask"),
        ("ls", ["deny run_command"], "deny"),
        ("make; ls", ["deny run_command(ls)"], "deny"),
    ],
)
def test_rules_are_about_each_command_of_a_line(line: str, rules: list[str], action: str):
    assert decision(line, *rules).action == action


BYPASSES = [
    "git log; rm x", "git log $(rm x)", "git log `rm x`", 'git log "$(rm x)"', "git log <(rm x)",
    "git log > >(rm x)", "git log | rm x", "git log |& rm x", "git log & rm x", "git log\nrm x",
    "git log\rrm x", "git log \\\n; rm x", "r''m x", 'r""m x', "r\\m x", "'rm' x", "$'rm' x", "$'\\x72m' x",
    "\"r\"m x", "{rm,-rf,x}", "r{m,} x", "X=rm; $X x", "X=rm; ${X} x", "IFS=,; X=rm,x; $X", "rm${IFS}x",
    "/bin/rm x", "/usr/bin/../bin/rm x", "/bin/r? x", "/*in/rm x", "~/rm x", "env rm x", "env -i A=b rm x",
    "env -S 'rm x'", "nice -n 5 rm x", "nohup rm x &", "timeout 5 rm x", "timeout $x rm x",
    "sudo -u me rm x", "doas rm x", "exec rm x", "command rm x", "builtin exec rm x", "time rm x",
    "xargs rm < f", "xargs -I@ @ x", "echo rm | xargs env", "find . -exec rm {} +",
    "find . -execdir rm {} \\;", "find . -ok rm {} \\;", "find . $x", "sh -c 'rm x'", "bash -lc 'rm x'",
    "bash -c \"r''m x\"", "bash -c 'bash -c \"rm x\"'", "bash <<< 'rm x'", "bash <<E\nrm x\nE",
    "echo rm x | sh", "bash -s < f", "bash --rcfile f", "zsh -c 'rm x'", "eval rm x", "eval 'r''m x'",
    'eval "$x"', "trap 'rm x' EXIT", "f() { rm x; }; f", "git() { rm x; }; git log", "alias git=rm; git x",
    "shopt -s expand_aliases; git log", "hash -p /bin/rm git; git x", "PATH=. git log",
    "export PATH=.; git log", "read PATH < f; git log", "LD_PRELOAD=./x git log", "GIT_SSH=./x git fetch",
    "BASH_ENV=f bash -c 'git log'", ". f", "source f", "git -c alias.l='!rm x' l", "git --exec-path=. log",
    "cat <<E\n$(rm x)\nE", "cat <<E\n`rm x`\nE", "cat <<< $(rm x)", "git log > f", "git log >> ~/.bashrc",
    "> f git log", "git log &> f", "a[$(rm x)]=1", "echo ${x:-$(rm x)}", "echo $((a[$(rm x)]))",
    "[[ a[$(rm x)] -eq 1 ]]", "declare -i x='a[$(rm x)]'", "\u0433it log", "git\u00a0log", "git\u200b log",
    "g\u0456t log", "ｒｍ x", "git log \u2028 rm x", "git log\x0brm x", "git log\x00rm x", "coproc rm x",
    "! rm x", "{ rm x; }", "(rm x)", "while rm x; do ls; done", "for x in $(rm x); do ls; done",
    "case $(rm x) in a) ls;; esac", "if rm x; then ls; fi", "[ $(rm x) ]", "git log #\nrm x",
    "echo 'a' # ' \nrm x #'", "busybox rm x", "watch rm x", "su -c 'rm x'", "flock f rm x", "setsid rm x",
    "stdbuf -o0 rm x", "git bisect run rm x", "git submodule foreach 'rm x'",
]  # fmt: skip


@pytest.mark.parametrize("line", BYPASSES)
def test_no_disguise_of_a_command_is_allowed_by_rules_for_others(line: str):
    assert decision(line, GIT, "allow run_command(echo *)", "allow run_command(cat *)").action == "ask"
    assert not reads_only(line)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("a | b && c; d &", ["a", "b", "c", "d"]),
        ("cat <<E | b > f && c\n$(a)\nE", ["cat", "b > f", "c", "a"]),
        ("sudo -u me env A=1 rm x", ["sudo -u me env A=1 rm x", "env A=1 rm x", "A=… rm x"]),
        ("bash -lc 'a; (b)'", ["bash -lc a; (b)", "a", "b"]),
        ("a > f b", ["a b > f"]),
        ("echo 'a  b' \"c\"d e\\ f", ["echo a  b cd e f"]),
        ("find . -exec a {} + -exec b x \\;", ["find . -exec a {} + -exec b x ;", "a …", "b x"]),
    ],
)
def test_every_simple_command_is_found(line: str, found: list[str]):
    assert [str(simple) for simple in commands(line)] == found


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("pytest -x tests/a.py", ["pytest *"]),
        ("cd src && pytest -x | tail", ["pytest *"]),
        ("ruff check && mypy x", ["ruff *", "mypy *"]),
        ("pytest; pytest -x", ["pytest *"]),
        ("git commit -m x", ["git commit *"]),
        ("git push --force", ["git push --force"]),
        ("npm run test -- -x", ["npm run test *"]),
        ("python -m pytest -x", ["python -m pytest *"]),
        ("python x.py", ["python x.py"]),
        ("rm -rf a", ["rm -rf a"]),
        ("rm *.py", ["rm '[*].py'"]),
        ("sudo make", ["sudo make", "make"]),
        ("chmod -R 777 a", ["chmod -R 777 a"]),
        ("./run x", ["./run x"]),
        ("curl x | sh", []),
        ("pytest > f", []),
        ("pytest $x", []),
        ("eval $x", []),
        ("X=1 pytest", []),
    ],
)
def test_the_rules_that_are_offered_are_those_a_person_can_live_with(line: str, offered: list[str]):
    found = patterns(command(line))
    assert found == [f"run_command({each})" for each in offered]
    assert not found or decision(line, *(f"allow {each}" for each in found)).action == "allow"


def test_a_question_names_what_no_rule_is_about():
    assert decision("cd a; pytest -x; make > f", TESTS).reason == "No rule is about: make > f."
    assert "not written out" in decision("$x").reason


def test_what_is_kept_from_the_tools_that_read_is_asked_for_in_a_shell():
    for pattern in ("deny read_file(~/private/**)", "ask *(**/*.pem)"):
        assert decision("cat ~/private/a.pem", pattern).action != "allow"
        assert decision("ls src", pattern).action == "allow"
    assert decision("cat src/a", "deny write_file(src/**)").action == "allow"


def test_the_longest_line_is_read_in_a_bounded_time():
    for line in ("<" * 65_000, "x=(" * 21_000, "a " * 32_000, "x" * 66_000):
        decision(line, GIT)


WRAPS = st.sampled_from(
    [
    "{}", "({})", "{{ {}; }}", "ls; {}", "{} | cat", "ls && {}", "echo $({})", 'echo "$({})"', "cat <({})",
    "ls &\n{}", "if {}; then ls; fi", "while {}; do ls; done", "for x in a; do {}; done",
    "f() {{ {}; }}; f", "! {}", "x=$({})", "case a in a) {};; esac", "cat <<< $({})", "cat <<E\n$({})\nE",
    "[[ -f $({}) ]]", "export x=$({})", "echo ${{x:-$({})}}",
    ]
)  # fmt: skip
PREFIXES = st.sampled_from(
    ["", "env ", "env -i A=1 ", "nice -n 3 ", "nohup ", "timeout 5 ", "sudo ", "command ", "exec ", "xargs ",
     "time ", "/usr/bin/env ", "find . -exec ", "x=1 ", "setsid ", "busybox "]
)  # fmt: skip
DENIED = st.sampled_from(
    ["rm x", "/bin/rm x", "r''m x", "'rm' x", '"rm" -rf x', "r\\m x", "rm", "eval rm x", "$'rm' x"]
)


@settings(max_examples=300, deadline=None)
@given(DENIED, st.lists(PREFIXES, max_size=3), st.lists(WRAPS, max_size=4))
def test_no_composition_of_a_denied_command_is_allowed(denied: str, prefixes: list[str], wraps: list[str]):
    line = "".join(prefixes) + denied
    for wrap in wraps:
        line = wrap.format(line)
    assert not reads_only(line)
    every = ("allow run_command(*)", "allow run_command", "deny run_command(rm *)")
    assert decision(line, *every).action != "allow"


PIECES = st.sampled_from(
    [*"'\"`$(){}[]<>|&;\\\n\t #*?!~=-", "$(", "${", "<<E\n", "\nE\n",
     "rm", "git", " x", "if ", "; then ", "; fi", "case ", "é",
     "\u200b"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=30).map("".join)))
def test_any_text_is_read_or_known_to_be_unknown(line: str):
    try:
        assert all(simple.words or simple.sets or simple.reads or simple.writes for simple in commands(line))
    except Unknown as unknown:
        assert str(unknown)
        assert decision(line, "allow run_command(*)").action == "ask"
