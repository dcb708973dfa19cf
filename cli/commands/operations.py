"""`opta operations`: whatever the daemon can be asked to do, by its name."""

import json
import sys
from collections.abc import Iterable
from typing import Any

import click
from pydantic import ValidationError

from cli.clients import launcher
from cli.clients.daemon import Daemon, new_id
from cli.commands.slashes import confirm
from cli.operations.table import OPERATIONS, Operation
from cli.output import Exit, Failure, document, table

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group("operations", invoke_without_command=True)
@as_json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """What the daemon can be asked to do, by its name. Without a command all of it is listed."""
    if context.invoked_subcommand is not None:
        return
    if as_json:
        document([described(id) for id in OPERATIONS])
    else:
        rows = ((id, operation.safety, operation.summary) for id, operation in OPERATIONS.items())
        table(("ID", "SAFETY", "WHAT IT DOES"), rows)


@command.command()
@click.argument("id", type=click.Choice(list(OPERATIONS)), metavar="ID")
def show(id: str) -> None:
    """Print an operation with the JSON Schema of its input."""
    document(described(id))


@command.command()
@click.argument("id", type=click.Choice(list(OPERATIONS)), metavar="ID")
@click.argument("fields", nargs=-1, metavar="[FIELD=TEXT | FIELD:=JSON]...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask, whatever it does.")
def run(id: str, fields: tuple[str, ...], yes: bool) -> None:
    """Run an operation, and print what it answers.

    \b
    opta operations run session.update session=ID title="Another name"
    opta operations run session.list limit:=3
    opta operations run provider.add name=cloud url=https://… key=- < key.txt
    """
    operation = OPERATIONS[id]
    given = operation.once(revealed(operation, read(fields)), new_id())
    try:
        operation.request(given)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise Failure(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}.", Exit.MISUSE) from error
    if not yes:
        confirm(operation)
    answer = Daemon(launcher.ensure).operate(id, given, confirm=bool(operation.danger))
    if answer:
        click.echo(answer.decode().rstrip("\n"))


def described(id: str) -> dict[str, Any]:
    operation = OPERATIONS[id]
    schema = operation.input.model_json_schema()
    return {"id": id, "summary": operation.summary, "safety": operation.safety, "input": schema}


def revealed(operation: Operation, given: dict[str, Any]) -> dict[str, Any]:
    """The input with its secret, which is never an argument: every process of the machine can read those."""
    for name in operation.secrets & given.keys():
        if given[name] != "-":
            raise Failure(
                f"{name} is a secret.", Exit.MISUSE, f"Write {name}=- and give it on standard input."
            )
        given[name] = sys.stdin.read().strip()
    return given


def read(fields: Iterable[str]) -> dict[str, Any]:
    """The input. Raises Failure for a field that is neither FIELD=TEXT nor FIELD:=JSON."""
    given: dict[str, Any] = {}
    for field in fields:
        name, equals, text = field.partition("=")
        if not equals:
            raise Failure(f"{field!r} is no FIELD=TEXT and no FIELD:=JSON.", Exit.MISUSE)
        try:
            given[name.removesuffix(":")] = json.loads(text) if name.endswith(":") else text
        except ValueError as error:
            raise Failure(f"{field!r}: what is behind := is not JSON.", Exit.MISUSE) from error
    return given
