"""The `opta` command. A command's module is imported when it is called, so that `opta --help` is quick."""

import importlib
import sys
import traceback
from typing import Any

import click

from cli.output import Exit, Failure
from opta.env import EnvError
from opta.version import VERSION

# Every command: its module, and its line in `opta --help`.
COMMANDS = {
    "chat": ("cli.commands.chat", "Talk with a model in the terminal."),
    "do": ("cli.commands.do", "Ask once; the answer streams to standard output."),
    "models": ("cli.commands.models", "List the models there are."),
    "sessions": ("cli.commands.sessions", "List, search and keep order among conversations."),
    "context": ("cli.commands.context", "Show what fills the window of a conversation's model."),
    "jobs": ("cli.commands.jobs", "Run commands in the background of a session."),
    "status": ("cli.commands.status", "Say what runs, where, and what to do about the rest."),
    "serve": ("cli.commands.serve", "Run LMX, the inference server, in the foreground."),
    "config": ("cli.commands.config", "Say what is set, where that comes from, and set it."),
    "trust": ("cli.commands.trust", "Let what a project brings take effect."),
    "permissions": ("cli.commands.permissions", "Say what tools may do unasked, and what never."),
    "providers": ("cli.commands.providers", "Add, test and remove other model servers."),
    "operations": ("cli.commands.operations", "Do whatever the daemon can do, by its name."),
    "daemon": ("cli.commands.daemon", "Start, stop and watch the daemon."),
    "acp": ("cli.commands.acp", "Be the agent of an editor that speaks the Agent Client Protocol."),
    "mcp": ("cli.commands.mcp", "Offer the sessions as tools of an MCP server."),
}


def remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """`--debug` outlives its context: it decides how the failure that ended the context is told."""
    Opta.debug = value


class Opta(click.Group):
    """The group of COMMANDS, and the one place where a failure becomes a line and an exit code."""

    debug = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run, and leave the process with the exit code; what a command returns is its exit code."""
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
        except Exception as error:  # whatever happens, the user gets a line, not a trace
            code = self.report(error)
        sys.exit(code or Exit.OK)

    def report(self, error: Exception) -> int:
        if self.debug:
            traceback.print_exception(error)
        if isinstance(error, click.Abort):
            return Exit.INTERRUPTED
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            error.show()
            return Exit.MISUSE
        message, code = explain(error)
        click.echo(f"opta: {message}", err=True)
        return code


def explain(error: Exception) -> tuple[str, int]:
    """What to say about `error`, and the exit code."""
    trace = "`opta --debug …` shows where."
    if isinstance(error, Failure):
        return str(error), error.code
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "opta"
        return f"{error.format_message()} See `{where} --help`.", Exit.MISUSE
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, EnvError):
        return str(error), Exit.MISUSE
    if isinstance(error, PermissionError):
        return f"No permission for {error.filename}: {error.strerror}. Check who owns it.", Exit.NOT_PERMITTED
    if isinstance(error, OSError) and error.errno:  # the machine's answer: a full disk, a folder that is gone
        return f"{f'{error.filename}: ' if error.filename else ''}{error.strerror}. {trace}", Exit.ERROR
    return f"{type(error).__name__}: {error}. This is a fault in opta; {trace}", Exit.ERROR


@click.group("opta", cls=Opta, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, "-V", "--version", message="opta %(version)s")
@click.option("--debug", is_flag=True, expose_value=False, callback=remember, help="Show a failure's trace.")
def main() -> None:
    """Opta Local: private AI on hardware you own."""


if __name__ == "__main__":
    main(prog_name="opta")
