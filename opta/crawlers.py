"""robots.txt and sitemap.xml: a public host lists its pages, a private one asks to be left alone."""

from typing import TYPE_CHECKING

from django.http import Http404, HttpResponse
from django.utils.html import escape
from django.views.decorators.http import require_safe

if TYPE_CHECKING:
    from opta.hosts import SiteRequest

XML = '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{}\n</urlset>\n'


@require_safe
def robots(request: "SiteRequest") -> HttpResponse:
    site = request.site
    rule = f"Disallow:\n\nSitemap: {site.origin}/sitemap.xml" if site.public else "Disallow: /"
    return HttpResponse(f"User-agent: *\n{rule}\n", content_type="text/plain; charset=utf-8")


@require_safe
def sitemap(request: "SiteRequest") -> HttpResponse:
    site = request.site
    if not site.public:
        raise Http404(f"{site.host} has no sitemap: its pages are private.")
    pages = [escape(site.url(view)) for view in site.listed]
    xml = XML.format("".join(f"\n<url><loc>{page}</loc></url>" for page in pages))
    return HttpResponse(xml, content_type="application/xml")
