"""What the daemon counts of its own work."""

from pathlib import Path

from django.db import connection
from django.http import HttpRequest, HttpResponse
from ninja import Router
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from cli.daemon import hub
from cli.daemon.models import Turn

router = Router()


@router.get("metrics")
async def get_metrics(request: HttpRequest) -> HttpResponse:
    """In Prometheus' text format, for a scraper with a token of the scope `read`."""
    here = hub.of(request)
    queued = await here.database(Turn.objects.filter(state="queued").count)
    database = Path(connection.settings_dict["NAME"])
    text = here.metrics.text(running=len(here.turns.running), queued=queued, database=database)
    return HttpResponse(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)
