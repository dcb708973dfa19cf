"""`manage.py lmx`: serve the models of this machine over HTTP."""

import gc
import socket
from contextlib import suppress
from typing import Any

import uvicorn
from django.core.asgi import get_asgi_application
from django.core.management.base import BaseCommand, CommandError, CommandParser

from inference.api import websocket
from inference.api.front import Front
from inference.config import Config, ConfigError, load, variable
from inference.pool import Pool
from opta import body, head

# Seconds for connections to end by themselves after their answers were ended.
DRAIN = 1


class Server(uvicorn.Server):
    """Ends the answers in flight and the runners before it waits for connections to drain."""

    def __init__(self, config: uvicorn.Config, pool: Pool) -> None:
        super().__init__(config)
        self.pool = pool

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.pool.close()
        await super().shutdown(sockets)


class Command(BaseCommand):
    help = "Serve the models of this machine: OpenAI's API, one process per loaded model."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        for name, choice in Config.model_fields.items():
            text = f"{choice.description} ({variable(name)})"
            parser.add_argument(f"--{name.replace('_', '-')}", help=text)

    def handle(self, **options: Any) -> None:
        try:
            config = load({name: options[name] for name in Config.model_fields})
        except ConfigError as error:
            raise CommandError(str(error)) from error
        listening = listen(config)
        pool = Pool(config)
        self.announce(config, pool)
        server = Server(
            uvicorn.Config(
                Front(get_asgi_application(), websocket.serve, pool),
                lifespan="off",
                http=head.Protocol,
                ws="websockets-sansio",
                ws_max_size=body.LIMIT,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=DRAIN,
            ),
            pool,
        )
        gc.freeze()  # what is there now stays: looking through it again takes 30 ms
        gc.set_threshold(10_000)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])

    def announce(self, config: Config, pool: Pool) -> None:
        names = ", ".join(model.id for model in pool.catalog.models())
        self.stdout.write(f"LMX on {config.url}/v1 · API at {config.url}/docs")
        self.stdout.write(f"models in {config.models}: {names or 'none yet'}")


def listen(config: Config) -> socket.socket:
    """Raises CommandError when the address cannot be listened on."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise CommandError(
            f"Cannot listen on {config.host} port {config.port}: {error.strerror}. Set LMX_HOST and LMX_PORT."
        ) from error
    return listening
