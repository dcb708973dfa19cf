"""`opta providers`: the model servers that may be asked, beside the LMX of the user's own."""

import asyncio
import sys
from typing import TYPE_CHECKING

import click
from pydantic import TypeAdapter, ValidationError

from cli import config
from cli.config import KINDS, Provider, ProviderName
from cli.operations import providers
from cli.output import Exit, Failure, document, note, safe, table, warn
from cli.protocol.failures import HINTS

if TYPE_CHECKING:
    from cli.clients.providers import Listing

BROWSE_SECONDS = 3.0
# Models of a provider that `test` names; some have hundreds.
SHOWN = 8


@click.group("providers", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """The model servers that may be asked, beside your own LMX.

    A provider's models are called NAME/MODEL. Prompts leave your network for a provider alone, and only
    when one of its models is asked for.
    """
    if context.invoked_subcommand is None:
        context.invoke(show)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(as_json: bool = False) -> None:
    """List the providers, without asking them."""
    found = config.load().providers
    if as_json:
        document([{"name": name, **each.model_dump(mode="json")} for name, each in found.items()])
    elif found:
        table(("NAME", "KIND", "URL"), ((name, each.kind, each.url) for name, each in found.items()))
    else:
        warn("There are none. `opta providers add NAME --url URL` adds one; `discover` looks for LMX hosts.")


@command.command()
@click.argument("name")
@click.option("--url", required=True, help="The base of its API, such as https://openrouter.ai/api/v1.")
@click.option("--kind", type=click.Choice(KINDS), default="openai", show_default=True, help="Its API.")
def add(name: str, url: str, kind: str) -> None:
    """Add a provider. Its key is asked for, or read from standard input; empty for none.

    \b
    opta providers add claude --kind anthropic --url https://api.anthropic.com < key.txt
    """
    provider = checked(name, url, kind)
    kept = providers.add(name, provider, read_key(name))
    click.echo(f"Added {name}. Its models are called {name}/MODEL; `opta providers test {name}` lists them.")
    if kept:
        click.echo(f"The key is in {kept}.")


@command.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove a provider, and its key."""
    providers.remove(name)
    click.echo(f"Removed {name} and its key.")


@command.command()
@click.argument("name", required=False)
def test(name: str | None) -> Exit:
    """Ask each provider, or NAME, what models it has. The exit code is 1 when one does not answer."""
    from cli.clients.providers import Providers  # aiohttp: 200 ms

    if name:
        providers.known(name)

    async def listings() -> list["Listing"]:
        providers = Providers(config.Current(config.load()))
        try:
            return await providers.catalogue()
        finally:
            await providers.close()

    found = [each for each in asyncio.run(listings()) if name in (None, each.server.name)]
    rows = [(each.server.name, each.server.url, outcome(each)) for each in found]
    table(("NAME", "URL", "RESULT"), rows)
    return Exit.ERROR if any(each.failure for each in found) else Exit.OK


@command.command()
def discover() -> None:
    """Look for LMX hosts that announce themselves on this network.

    Anybody on it can announce one, so none is asked before you add it, or set lmx_discovery.
    """
    hosts = asyncio.run(browse())
    for label, url in sorted(hosts.items()):
        click.echo(f"{safe(label)}\t{url}\topta providers add NAME --kind lmx --url {url}")
    if not hosts:
        note(f"None announced itself within {BROWSE_SECONDS:.0f} s.")


async def browse() -> dict[str, str]:
    from cli.clients.discovery import Discovery  # zeroconf: 75 ms

    discovery = Discovery()
    try:
        discovery.open()
        await asyncio.sleep(BROWSE_SECONDS)
        return dict(discovery.hosts)
    finally:
        await discovery.close()


def checked(name: str, url: str, kind: str) -> Provider:
    """The provider, refused before its key is asked for."""
    try:
        TypeAdapter(ProviderName).validate_python(name)
        provider = Provider.model_validate({"url": url, "kind": kind})
    except ValidationError as error:
        wrong = error.errors()[0]
        where, said = ".".join(map(str, wrong["loc"])) or "NAME", wrong["msg"].removeprefix("Value error, ")
        raise Failure(f"{where}: {said}.", Exit.MISUSE) from error
    providers.check(name, provider)
    return provider


def read_key(name: str) -> str:
    """The key: never an argument, which every process of the machine can read."""
    if sys.stdin.isatty():
        return str(
            click.prompt(f"Key of {name}, empty for none", default="", hide_input=True, show_default=False)
        )
    key = sys.stdin.read().strip()
    if not key.isascii() or any(character.isspace() for character in key):
        raise Failure(
            "What came on standard input is no key.", Exit.MISUSE, "Give the key alone, on one line."
        )
    return key


def outcome(listing: "Listing") -> str:
    if listing.failure:
        return f"{listing.failure.message} {HINTS[listing.failure.code]}"
    names = [model.id for model in listing.models]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}" or "no model"
