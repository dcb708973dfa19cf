"""What a command can still do in the sandbox, what it is given, and what is left of it afterwards."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.commands import permissions
from cli.sandbox import seatbelt
from cli.sandbox.box import Ability, Box, ability, guarantees
from tests.cli.sandbox.conftest import SECRET, World
from tests.processes import wait_until

PYTHON = f"{sys.executable} -I"
LONE = pytest.param(False, id="landlock alone")

ORDINARY = {
    "files": "mkdir -p a/b; echo hi > a/b/c; mv a/b d; ln -s d e; ln d/c f; rm -r a; cat e/c",
    "a temporary file": 'f=$(mktemp); echo hi > "$f"; cat "$f"',
    "devices": "echo hi > /dev/null; head -c 4 /dev/urandom > x; echo hi",
    "the user's settings": "grep mine ~/.bashrc && echo hi",
    "a pipe of programs": "printf 'hi\\nho\\n' | sort | head -1",
    "a repository": (
        "git init -q r; cd r; git -c user.name=a -c user.email=b commit -q --allow-empty -m m; echo hi"
    ),
    "names in a hidden folder's parent": "ls ~ > /dev/null && echo hi",
    "a socket pair": f"{PYTHON} -c 'import asyncio; asyncio.run(asyncio.sleep(0)); print(\"hi\")'",
    "a signal to its own": "sleep 60 & kill $!; wait $!; echo hi",
}
IN_ITS_OWN = {
    "a server for itself": f"{PYTHON} -c \"import socket as s; a = s.create_server(('127.0.0.1', 0)); "
    "s.create_connection(a.getsockname()); print('hi')\"",
    "memory that is shared": f"{PYTHON} -c 'import multiprocessing as m; m.Lock(); print(\"hi\")'",
    "its own processes": "test \"$(ps -A -o pid= | wc -l)\" -lt 9 && echo hi",
}  # fmt: skip


def cases(scripts: dict[str, str]) -> list[object]:
    return [pytest.param(script, id=name) for name, script in scripts.items()]


def able(spaces: bool) -> Ability:
    return ability()._replace(spaces=spaces and ability().spaces)


@pytest.mark.linux
@pytest.mark.parametrize("spaces", [True, LONE])
@pytest.mark.parametrize("script", cases(ORDINARY))
def test_ordinary_work_goes_on(world: World, script: str, spaces: bool):
    done = world.run(script, able(spaces))
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["hi"]), done.stderr


@pytest.mark.linux
@pytest.mark.parametrize("script", cases(IN_ITS_OWN))
def test_in_namespaces_of_its_own_more_goes_on(world: World, script: str):
    if not ability().spaces:
        pytest.skip(
            "users cannot make namespaces here: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    done = world.run(script, able(True))
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["hi"]), done.stderr


@pytest.mark.linux
@pytest.mark.parametrize("spaces", [True, LONE])
def test_with_the_network_that_was_asked_for_a_server_is_reached_and_secrets_are_not_read(
    world: World, spaces: bool
):
    script = '(echo hi > "/dev/tcp/127.0.0.1/$PORT"); cat ~/.ssh/id_rsa; kill -9 $VICTIM'
    done = world.run(script, able(spaces), network=True)
    wait_until(lambda: world.reached, "the connection")
    assert world.harm(done.stdout) == ["reached tcp"]


@pytest.mark.linux
@pytest.mark.parametrize("spaces", [True, LONE])
@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143), ("nope", 127)],
)
def test_its_end_is_the_commands(world: World, script: str, code: int, spaces: bool):
    assert world.run(script, able(spaces)).returncode == code


STRAYS = "sleep 611 & setsid sleep 611 & (trap '' TERM HUP; setsid nohup sleep 611 &) ; "


def alive(world: World) -> list[str]:
    """What runs in the workspace, by the kernel's word for where each process is."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(each / "cwd")).is_relative_to(world.workspace):
                found.append(each.name)
        except OSError:
            continue
    return found


@pytest.mark.linux
@pytest.mark.parametrize("spaces", [True, LONE])
def test_nothing_is_left_after_its_end(world: World, spaces: bool):
    world.run(STRAYS + "exit 0", able(spaces))
    assert alive(world) == []


@pytest.mark.linux
@pytest.mark.parametrize("spaces", [True, LONE])
def test_nothing_is_left_when_it_is_told_to_end_and_does_not_want_to(world: World, spaces: bool):
    box = Box(world.workspace, world.temporary, able=able(spaces))
    script = "trap '' TERM; " + STRAYS + "touch ready; while :; do sleep 1; done"
    words = box.command(["bash", "-c", script])
    process = subprocess.Popen(words, cwd=world.workspace, env=world.env, start_new_session=True)
    wait_until((world.workspace / "ready").exists, "the command")
    process.terminate()
    assert process.wait(timeout=10) == 128 + signal.SIGKILL
    assert alive(world) == []


@pytest.mark.linux
def test_in_namespaces_nothing_is_left_even_when_who_looks_after_it_is_killed(world: World):
    if not ability().spaces:
        pytest.skip(
            "users cannot make namespaces here: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    words = Box(world.workspace, world.temporary).command(["bash", "-c", STRAYS + "touch ready; sleep 611"])
    process = subprocess.Popen(words, cwd=world.workspace, env=world.env, start_new_session=True)
    wait_until((world.workspace / "ready").exists, "the command")
    process.kill()
    process.wait()
    wait_until(lambda: not alive(world), "the end of all that it started")


@pytest.mark.linux
def test_nothing_runs_where_the_sandbox_cannot_be_entered(world: World):
    box = Box(world.workspace, world.temporary, able=able(True)._replace(spaces=True))
    words = [*box.command(["touch", "ran"])]
    at = words.index("touch")
    broken = [*words[:at], "--keep", str(world.root / "nowhere"), *words[at:]]
    done = subprocess.run(broken, cwd=world.workspace, capture_output=True, text=True)
    assert done.returncode == 125 and "nothing has run" in done.stderr
    assert not (world.workspace / "ran").exists()


@pytest.mark.linux
def test_a_folder_that_holds_keys_is_only_read(world: World):
    box = Box(world.root, world.temporary)
    assert "holds keys" in box.only_reads
    words = box.command(["bash", "-c", "cat outside/file home/.ssh/id_rsa; echo evil > new"])
    done = subprocess.run(words, cwd=world.root, env=world.env, capture_output=True, text=True)
    assert done.stdout == "mine\n" and SECRET not in done.stdout
    assert not (world.root / "new").exists()


def test_a_protected_folder_that_is_a_link_makes_all_read_only(world: World):
    (world.workspace / ".opta").symlink_to(world.outside)
    assert ".opta is a link" in Box(world.workspace, world.temporary).only_reads


def test_a_command_sees_no_secret_of_the_environment(world: World):
    given = {
        "PATH": "/bin", "HOME": "/home/a", "LANG": "C", "EDITOR": "vi", "MONEY": "1",
        "TOKENIZERS_PARALLELISM": "1",
        "OPENAI_API_KEY": SECRET, "GH_TOKEN": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "DB_PASSWORD": SECRET,
        "DATABASE_URL": f"postgres://a:{SECRET}@host/db", "SSH_AUTH_SOCK": SECRET, "NPM_CONFIG__AUTH": SECRET,
        "DBUS_SESSION_BUS_ADDRESS": SECRET, "OPTA_HOME": SECRET, "BASH_ENV": SECRET, "LD_PRELOAD": SECRET,
        "GITHUB_PAT": SECRET, "SENTRY_DSN": SECRET, "SERVICE_CREDENTIALS": SECRET,
    }  # fmt: skip
    seen = Box(world.workspace, world.temporary).environment(given)
    assert SECRET not in str(seen)
    assert {"PATH", "HOME", "LANG", "EDITOR", "MONEY", "TOKENIZERS_PARALLELISM"} <= seen.keys()
    assert seen["TMPDIR"] == str(world.temporary)


@pytest.mark.parametrize(
    ("able", "said", "unsaid"),
    [
        (Ability(), "no sandbox", "Files are written"),
        (Ability(7, True), ".git/hooks and .git/config are not written", "Not protected"),
        (Ability(7), "Not protected: .opta", "outlives it"),
        (Ability(2), "be emptied", "outlives it"),
        (Ability(5), "They can be signalled", "be emptied"),
        (Ability(seatbelt=True), "are not written", "Not protected"),
    ],
)
def test_what_holds_is_said_and_what_does_not(able: Ability, said: str, unsaid: str):
    text = "\n".join(guarantees(able))
    assert said in text and unsaid not in text


def test_the_user_reads_what_holds_here():
    said = CliRunner().invoke(permissions.command, ["sandbox"])
    assert (said.exit_code, said.output.splitlines()) == (0, guarantees())


def test_seatbelts_profile_says_the_same(world: World):
    words = Box(world.workspace, world.temporary, able=Ability(seatbelt=True)).command(["bash", "-c", "true"])
    profile = words[words.index("-p") + 1]
    assert words[words.index("-p") - 1] == seatbelt.PROGRAM and words[-3:] == ["bash", "-c", "true"]
    lines = profile.splitlines()
    assert lines[:3] == ["(version 1)", "(allow default)", "(deny file-write*)"]
    assert f'(allow file-write* (subpath "{world.workspace}") (subpath "{world.temporary}")' in lines[3]
    assert f'(subpath "{world.workspace}/.git/hooks")' in lines[4] and lines[4].startswith(
        "(deny file-write*"
    )
    hides = next(line for line in lines if line.startswith("(deny file-read-data"))
    assert f'(subpath "{world.home}/.ssh")' in hides and f'(subpath "{world.opta}")' in hides
    assert "(deny network*)" in lines


def test_seatbelts_profile_takes_any_path_literally():
    profile = seatbelt.profile(['/a"b\\c'], [], [], network=True)
    assert '(subpath "/a\\"b\\\\c")' in profile
    assert "(deny network*)" not in profile
    assert profile.count("(") == profile.count(")")
