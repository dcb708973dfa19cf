"""The one table of what is polled: where each service answers, and as whom."""

from dataclasses import dataclass

from django.conf import settings

from opta.urls import SITES, Site


@dataclass(frozen=True)
class Service:
    """One row: `url` answers with a health report that calls itself `speaks_as`.

    `host` is the Host header to send where a name is not resolved; `ready_url` answers 2xx
    when the service can also take work now.
    """

    slug: str
    name: str
    about: str
    url: str
    speaks_as: str
    host: str = ""
    ready_url: str = ""


def site(row: Site) -> Service:
    """A host of ours; `lmx` the site is not `lmx` the server."""
    slug = {"": "home", "lmx": "lmx-site"}.get(row.label, row.label)
    name = f"{row.name} site"
    if not settings.LOCAL:
        return Service(slug, name, row.host, f"https://{row.host}/api/health", row.label or "home")
    # Browsers resolve *.localhost by themselves; Python asks the system, which often does not know it.
    origin = f"127.0.0.1:{settings.SITES_PORT}"
    host = f"{row.host}:{settings.SITES_PORT}"
    return Service(slug, name, row.host, f"http://{origin}/api/health", row.label or "home", host=host)


def services() -> list[Service]:
    """Every service that is polled, in the order in which they are shown."""
    lmx, daemon = settings.LMX_URL.rstrip("/"), settings.DAEMON_URL.rstrip("/")
    return [
        Service("lmx", "LMX", "Inference", f"{lmx}/healthz", "lmx", ready_url=f"{lmx}/readyz"),
        Service("daemon", "Daemon", "Sessions and tools", f"{daemon}/v3/health", "opta-daemon"),
        *(site(row) for row in SITES.values()),
    ]
