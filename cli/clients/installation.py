"""The daemon as a service: installed where the machine starts programs at login, and taken out again."""

from collections.abc import Callable

from cli.clients import launcher, supervisors
from cli.clients.launcher import Running
from cli.clients.supervisors import Command, Supervisor
from cli.output import Exit, Failure
from opta import paths

Say = Callable[[str], None]


def text() -> str:
    """The file as `install` would write it."""
    supervisor = supervisors.here()
    found = supervisor.text(supervisors.program(supervisor.name))
    return found.decode("utf-16" if found[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")


def install(say: Say) -> Running:
    """Write the file and have the daemon run by it; one that runs already hands over. `say` is told each
    step. Raises Failure where nothing here can do that, and changes nothing then."""
    supervisor = usable(supervisors.here())
    running = launcher.find()
    if running:
        launcher.outrank(running)
    file = supervisor.file()
    file.parent.mkdir(parents=True, exist_ok=True)
    paths.replace(file, supervisor.text(supervisors.program(supervisor.name)))
    say(f"Wrote {file}")

    def begin() -> Running:
        for command in (*supervisor.install(file), supervisor.start(file)):
            do(command, say)
        return launcher.appear()

    return launcher.replace(running, say=say, begin=begin) if running else launcher.start(begin)


def uninstall(say: Say) -> Supervisor | None:
    """Stop the daemon, if it runs by it, and delete the file; None when there was none."""
    supervisor = supervisors.installed()
    if supervisor is None:
        return None
    file = supervisor.file()
    for command in supervisor.uninstall(file):
        say(f"$ {' '.join(command)}")
        done = supervisors.run(command)
        if done.returncode:  # it may be loaded no more, or the machine have none to ask: the file goes anyway
            say(supervisors.words(done))
    file.unlink()
    say(f"Deleted {file}")
    return supervisor


def usable(supervisor: Supervisor) -> Supervisor:
    done = supervisors.run(supervisor.probe)
    if done.returncode:
        message = f"{supervisor.name} does not answer here: {supervisors.words(done)}"
        raise Failure(message, hint=f"{supervisors.BY_HAND} `opta daemon install --print` shows the file.")
    return supervisor


def do(command: Command, say: Say) -> None:
    say(f"$ {' '.join(command)}")
    done = supervisors.run(command)
    if done.returncode:
        message = f"`{' '.join(command)}` failed: {supervisors.words(done)}"
        raise Failure(message, Exit.ERROR, "`opta daemon uninstall` takes back what was done.")
