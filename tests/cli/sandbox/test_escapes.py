"""Ways out of the sandbox, each tried for real: nothing outside may have changed, been read or reached."""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest

from cli.sandbox.box import Ability, ability, guarantees
from tests.cli.sandbox.conftest import World
from tests.processes import free_port

pytestmark = pytest.mark.linux

PYTHON = f"{sys.executable} -I -S -c"
SYSCALL = f'{PYTHON} "import ctypes, os, sys; c = ctypes.CDLL(None, use_errno=True); '

# What does harm wherever nothing holds it back, which is tried as well.
HARMFUL = {
    "write by an absolute path": 'echo evil > "$OUTSIDE/new"',
    "overwrite": 'echo evil > "$OUTSIDE/file"',
    "append": 'echo evil >> "$OUTSIDE/file"',
    "truncate": 'truncate -s 0 "$OUTSIDE/file"',
    "delete": 'rm -f "$OUTSIDE/file"',
    "write by a relative path": "echo evil > ../outside/file",
    "write through a link": 'ln -s "$OUTSIDE/file" way; echo evil > way',
    "write through a linked folder": 'ln -s "$OUTSIDE" way; echo evil > way/new',
    "write through a hard link": 'ln "$OUTSIDE/file" way && echo evil > way',
    "move in, change, move back": 'mv "$OUTSIDE/file" here && echo evil > here && mv here "$OUTSIDE/file"',
    "move out": 'echo evil > new; mv new "$OUTSIDE/new"',
    "by /proc/self/root": 'echo evil > "/proc/self/root$OUTSIDE/file"',
    "by /proc/self/cwd": "echo evil > /proc/self/cwd/../outside/file",
    "by another's root": 'echo evil > "/proc/$VICTIM/root$OUTSIDE/file"',
    "by an open folder": 'cd "$OUTSIDE"; echo evil > new',
    "the shell's start file": 'echo evil >> "$HOME/.bashrc"',
    "a new start file": 'echo evil > "$HOME/.bash_profile"',
    "read a private key": 'cat "$HOME/.ssh/id_rsa"',
    "read the daemon's token": 'cat "$OPTA/daemon/token"',
    "read a key through a link": 'ln -s "$HOME/.ssh/id_rsa" key; cat key',
    "read a key through a hard link": 'ln "$HOME/.ssh/id_rsa" key; cat key',
    "move a key here": 'mv "$HOME/.ssh" ssh; cat ssh/id_rsa',
    "read a key by /proc/self/root": 'cat "/proc/self/root$HOME/.ssh/id_rsa"',
    "authorize a key": 'echo evil > "$HOME/.ssh/authorized_keys"',
    "write Opta's own files": 'echo evil > "$OPTA/permissions.json"',
    "connect by TCP": '(echo evil > "/dev/tcp/127.0.0.1/$PORT")',
    "connect by a socket's path": f"{PYTHON} \"import socket, os; socket.socket(1).connect('../socket')\"",
    "connect to an abstract socket": (
        f"{PYTHON} \"import socket, os; socket.socket(1).connect(chr(0) + os.environ['ABSTRACT'])\""
    ),
    "end another process": 'kill -9 "$VICTIM"',
    "end all of a name": 'kill -9 $(pgrep -x sleep | grep -x "$VICTIM")',
}  # fmt: skip

# What nobody should try without a sandbox, or what needs one to be harmful.
HOSTILE = {
    "trace another process": (
        SYSCALL + "v = int(os.environ['VICTIM']); print(c.ptrace(16, v, 0, 0) or 'hush-4711')\""
    ),
    "another's memory": 'dd if=/dev/zero of="/proc/$VICTIM/mem" bs=1 count=1',
    "another's variables": 'tr "\\0" "\\n" < "/proc/$VICTIM/environ" | grep ^PATH && echo hush-4711',
    "another's open files": 'readlink "/proc/$VICTIM/fd/0" && echo hush-4711',
    "mount over": 'mount -t tmpfs none "$OUTSIDE" && echo hush-4711',
    "bind elsewhere": 'mkdir w; mount --bind "$OUTSIDE" w && echo evil > w/file',
    "its own root": 'chroot / /bin/true && echo hush-4711',
    "another's namespace": "nsenter -t 1 -m -n true && echo hush-4711",
    "become somebody else": f"{PYTHON} \"import os; os.setuid(12345); print('hush-4711')\"",
    "the kernel's settings": "echo evil > /proc/sys/kernel/core_pattern && echo hush-4711",
    "the kernel's keys": SYSCALL + "print('hush-4711' if c.syscall(250, 0, -3, 1) >= 0 else '')\"",
    "io_uring": SYSCALL + "b = bytes(120); print('hush-4711' if c.syscall(425, 4, b) >= 0 else '')\"",
    "a 32-bit number": SYSCALL + "print('hush-4711' if c.syscall(0x40000000 + 41, 1, 1, 0) >= 0 else '')\"",
    "a device": "mknod disk b 8 0 && echo hush-4711",
    "the terminal": "echo evil > /dev/tty && echo hush-4711",
    "the folder for all": 'echo evil > "/tmp/opta-escape-$PORT" && echo hush-4711',
    "the lasting folder for all": 'echo evil > "/var/tmp/opta-escape-$PORT" && echo hush-4711',
    "ask a name server": (
        f"{PYTHON} \"import socket; socket.socket(2, 2).sendto(b'x', ('192.0.2.1', 53)); print('hush-4711')\""
    ),
    "gain rights by a program": 'cp "$(command -v id)" id; chmod u+s id; su -c "echo hush-4711" nobody',
}  # fmt: skip

# What only namespaces hold: a part of the workspace that is not to be written.
PROTECTED = {
    "write a hook": "echo evil > .git/hooks/pre-commit",
    "a new hook": "echo evil > .git/hooks/post-checkout",
    "the repository's settings": "echo '[core] fsmonitor = evil' >> .git/config",
    "settings by git": "git config core.hooksPath /evil",
    "replace the settings": "echo evil > new; mv -f new .git/config",
    "move the hooks away": "mv .git/hooks h; mkdir .git/hooks; echo evil > .git/hooks/pre-commit",
    "move the repository away": "mv .git g; mkdir -p .git/hooks; echo evil > .git/hooks/pre-commit",
    "a hook through a link": "ln -s .git/hooks h; echo evil > h/pre-commit",
    "a hook through a hard link": "ln .git/hooks/pre-commit h && echo evil > h",
    "servers for the project": 'mkdir -p .opta; echo "{}" > .opta/mcp.json',
    "Opta's folder replaced": "rm -rf .opta; mv .opta o; mkdir .opta; echo evil > .opta/config.toml",
    "lift a protection": "umount .git/hooks; umount -l .git/hooks; echo evil > .git/hooks/pre-commit",
    "make it writable again": "mount -o remount,rw,bind .git/hooks; echo evil > .git/hooks/pre-commit",
    "a namespace of its own": "unshare -Urm bash -c 'umount .git/hooks; echo evil > .git/hooks/pre-commit'",
    "rights to write": "chmod -R a+w .git; echo evil > .git/hooks/pre-commit",
}

WAYS = [pytest.param(True, id="namespaces"), pytest.param(False, id="landlock alone")]


def way(spaces: bool) -> Ability:
    """Landlock with namespaces or without; CI has both."""
    here = ability()
    assert here.landlock, "this kernel has no Landlock"
    if spaces and not here.spaces:
        pytest.skip(
            "users cannot make namespaces here: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    return here._replace(spaces=spaces)


@pytest.mark.parametrize("spaces", WAYS)
@pytest.mark.parametrize(
    "script", [pytest.param(script, id=name) for name, script in {**HARMFUL, **HOSTILE}.items()]
)
def test_it_does_not_get_out(world: World, script: str, spaces: bool):
    done = world.run(script, way(spaces))
    assert "could not be entered" not in done.stderr
    assert world.harm(done.stdout) == [], done.stderr


@pytest.mark.parametrize("script", [pytest.param(script, id=name) for name, script in PROTECTED.items()])
def test_what_is_believed_outside_is_not_written_inside(world: World, script: str):
    done = world.run(script, way(True))
    assert world.harm(done.stdout) == [], done.stderr


@pytest.mark.parametrize("script", [pytest.param(script, id=name) for name, script in HARMFUL.items()])
def test_without_a_sandbox_the_same_does_harm(world: World, script: str):
    done = world.run(script, None)
    assert world.harm(done.stdout), done.stderr


@pytest.mark.parametrize("network", [False, True], ids=["cut", "asked for"])
def test_a_server_is_found_from_outside_only_where_the_network_was_asked_for(world: World, network: bool):
    port = free_port()
    serve = f"{PYTHON} \"import socket; s = socket.create_server(('127.0.0.1', {port})); s.accept()\""
    with ThreadPoolExecutor() as pool:
        done = pool.submit(world.run, f"timeout 2 {serve}", way(ability().spaces), network=network)
        found = 1
        while found and not done.done():
            with socket.socket() as client:
                found = client.connect_ex(("127.0.0.1", port))
            sleep(0.02)  # between tries, of which the last is when it has ended
    assert (found == 0) == network


def test_what_holds_here_is_said(capsys: pytest.CaptureFixture[str]):
    said = guarantees()
    with capsys.disabled():
        print(f"\nLandlock {ability().landlock}, namespaces {ability().spaces}:", *said, sep="\n  ")
    assert said[0].startswith("Files are written in the working directory")
    unprotected = any(line.startswith("Not protected") for line in said)
    assert unprotected == (not ability().spaces)
