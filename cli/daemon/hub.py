"""What one daemon owns, made once at its start; a request finds it in its scope."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from django.http import HttpRequest

from cli.agent.model import Models
from cli.clients.providers import Providers
from cli.config import Config, Current
from cli.daemon.access.keys import Keys
from cli.daemon.database import Database
from cli.daemon.jobs import Jobs
from cli.daemon.lifetime import Lifetime
from cli.daemon.log import Logs
from cli.daemon.metrics import Metrics
from cli.daemon.questions import Questions
from cli.daemon.turns import Turns
from cli.protocol import state
from cli.tools import table
from cli.tools.internet import Internet
from cli.tools.mcp import Servers
from cli.tools.seen import Seen

log = logging.getLogger(__name__)

# Running turns and jobs get this long to end before their end is left to the next start.
STOP_SECONDS = 2.5


@dataclass(frozen=True)
class Hub:
    keys: Keys
    providers: Providers
    models: Models
    database: Database
    logs: Logs
    turns: Turns
    questions: Questions
    jobs: Jobs
    servers: Servers
    metrics: Metrics
    lifetime: Lifetime
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def make(cls, config: Config, token: str) -> "Hub":
        current = Current(config)
        providers, database = Providers(current), Database()
        metrics = Metrics()
        metrics.watch(providers.everyone)
        logs = Logs(database, metrics)
        keys = Keys(token, state.tokens_file())
        models = Models(providers)
        questions = Questions(logs, database)
        servers = Servers()
        jobs = Jobs(database, logs)
        turns = Turns(
            logs,
            database,
            lambda model, compacted: models.of(model, compacted).chat,
            tools=partial(table.tools, seen=Seen(), web=Internet(lambda: current().web_allow), jobs=jobs),
            servers=servers.tools,
            allow=questions.judge,
        )
        lifetime = Lifetime(turns, jobs, lambda: current().daemon_idle_minutes * 60)
        return cls(
            keys, providers, models, database, logs, turns, questions, jobs, servers, metrics, lifetime
        )

    async def stop(self) -> None:
        """End what runs, then every stream: their last event is how the turn ended. A successor takes
        up the jobs."""
        ends = [self.turns.stop(), *([] if self.lifetime.replaced else [self.jobs.stop()])]
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.gather(*ends)
        except TimeoutError:
            log.warning("turns or jobs did not end within %s s; the next start settles them", STOP_SECONDS)
        finally:
            self.logs.close()
            await self.servers.close()
            await self.providers.close()


def of(request: HttpRequest) -> Hub:
    """The hub that the border put into the request's scope; without the border there is none to serve."""
    return cast(Hub, request.scope["hub"])  # type: ignore[attr-defined]  # an ASGIRequest
