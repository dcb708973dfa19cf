"""SITES, the table of contents of the web: one row a host, and nothing else lists them."""

from dataclasses import dataclass
from functools import cached_property

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path

from opta import health


@dataclass(frozen=True)
class Site:
    """One host: its label before the domain, what it is called and does, and its pages."""

    label: str
    name: str
    about: str
    urls: str
    # The checks of opta.health that decide whether this site can do its work.
    checks: tuple[str, ...] = ("templates",)

    @property
    def host(self) -> str:
        return f"{self.label}.{settings.DOMAIN}".removeprefix(".")

    @cached_property
    def urlconf(self) -> tuple[URLPattern | URLResolver, ...]:
        """What Django resolves a request to this host with: the shared routes, then the site's own."""
        return (
            path("api/health", health.view, name="health"),
            path("", include("apps.guides.urls.shared")),
            path("", include(self.urls)),
        )


SITES = {
    site.label: site
    for site in (
        Site("", "Home", "What Opta Local is, and how to start.", "apps.guides.urls.home"),
        Site("init", "Init", "Downloads, release channels and installing.", "apps.releases.urls"),
        Site(
            "accounts",
            "Accounts",
            "One sign-in for every site and device.",
            "apps.accounts.urls",
            ("database",),
        ),
        Site("lmx", "LMX", "The inference server, live.", "apps.dashboard.urls"),
        Site("status", "Status", "What is up, measured every 30 seconds.", "apps.status.urls", ("database",)),
        Site("help", "Help", "The documentation.", "apps.guides.urls.help"),
        Site("learn", "Learn", "Guides to work through.", "apps.guides.urls.learn"),
        Site("admin", "Admin", "Operations, for staff.", "opta.admin", ("database",)),
    )
}

# Django's checks and shell want one urlconf; requests get theirs from opta.hosts.site.
urlpatterns = list(SITES[""].urlconf)
