"""SITES, the table of contents of the web: one row a host, and nothing else lists them."""

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module

from django.conf import settings
from django.templatetags.static import static
from django.urls import URLPattern, URLResolver, include, path, reverse
from django.views.generic import RedirectView

from opta import crawlers, health, theme


@dataclass(frozen=True)
class Site:
    """One host: its label before the domain, what it is called and does, and its pages."""

    label: str
    name: str
    about: str
    urls: str
    # The checks of opta.health that decide whether this site can do its work.
    checks: tuple[str, ...] = ("templates",)
    # Whether search engines are welcome.
    public: bool = True

    @property
    def host(self) -> str:
        return f"{self.label}.{settings.DOMAIN}".removeprefix(".")

    @property
    def origin(self) -> str:
        """Scheme, host and port, as a browser sees them."""
        scheme, _, host = settings.SITES_ORIGIN.partition("://")
        return f"{scheme}://{self.label}.{host}" if self.label else settings.SITES_ORIGIN

    @cached_property
    def urlconf(self) -> tuple[URLPattern | URLResolver, ...]:
        """What Django resolves a request to this host with: the shared routes, then the site's own."""
        return (
            path("api/health", health.view, name="health"),
            path("theme", theme.choose, name="theme"),
            path("robots.txt", crawlers.robots, name="robots"),
            path("sitemap.xml", crawlers.sitemap, name="sitemap"),
            path("favicon.ico", RedirectView.as_view(url=static("favicon.ico"))),
            path("", include(self.urls)),
        )

    def url(self, view: str = "index", *args: object) -> str:
        """The absolute address of a view; NoReverseMatch when this site has none of that name."""
        return self.origin + reverse(view, urlconf=self.urlconf, args=args)  # type: ignore[arg-type]  # takes a tuple

    @cached_property
    def listed(self) -> list[str]:
        """The views that the sitemap names: `sitemap` in the site's urls module, else its index."""
        return getattr(import_module(self.urls), "sitemap", ["index"])


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
        Site("admin", "Admin", "Operations, for staff.", "opta.admin", ("database",), public=False),
    )
}

# Django's checks and shell want one urlconf; requests get theirs from opta.hosts.SiteMiddleware.
urlpatterns = list(SITES[""].urlconf)
