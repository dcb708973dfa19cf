"""Home, help and learn: every page reads, links to what exists, and is light."""

import re

import pytest
from django.test import Client

from apps.guides.catalog import pages, read
from apps.guides.markdown import html, outline
from opta.paths import CHECKOUT
from opta.urls import SITES

ALL = [(site, page.slug) for site in ("help", "learn") for page in pages(site)]
OURS = re.compile(r'href="http://([a-z.]+):8000(/[^"#]*)')


def get(host: str, path: str) -> str:
    response = Client(headers={"host": host}).get(path)
    assert response.status_code == 200, f"{host}{path}"
    return response.content.decode()


def test_help_explains_installing_commands_and_ports():
    assert [page.slug for page in pages("help")] == ["install", "commands", "ports"]


@pytest.mark.parametrize(("site", "slug"), ALL)
def test_a_page_has_its_title_summary_and_neighbours(site, slug):
    text = get(f"{site}.opta.localhost", f"/{slug}")
    page = next(page for page in pages(site) if page.slug == slug)
    assert f"<h1>{page.title}</h1>" in text
    assert f"<title>{page.title} · Opta {SITES[site].name}</title>" in text
    assert 'aria-current="page"' in text
    assert all(f'id="{heading.id}"' in text and f'href="#{heading.id}"' in text for heading in page.outline)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("site", "slug"), [("", ""), ("help", ""), ("learn", ""), ("init", ""), ("lmx", ""), *ALL]
)
def test_every_link_to_a_site_of_ours_leads_somewhere(site, slug):
    for host, path in OURS.findall(get(SITES[site].host, f"/{slug}")):
        assert Client(headers={"host": host}).get(path).status_code in (200, 302), host + path


@pytest.mark.parametrize(("site", "slug"), [("", ""), ("help", ""), ("learn", ""), *ALL])
def test_a_page_weighs_little_and_needs_no_script(site, slug):
    text = get(SITES[site].host, f"/{slug}")
    assert "<script" not in text and "style=" not in text and "onclick" not in text
    assert len(text.encode()) + (CHECKOUT / "static/opta.css").stat().st_size < 100_000


def test_any_cache_may_keep_a_page():
    response = Client(headers={"host": "help.opta.localhost"}).get("/install")
    assert response["Cache-Control"] == "public, max-age=60"


def test_the_diagram_says_in_words_what_it_shows():
    text = get("opta.localhost", "/")
    assert 'role="img" aria-labelledby="diagram-title diagram-text"' in text
    assert "asks the sites, LMX and the daemon for their health every 30 seconds" in text


def test_html_in_markdown_is_shown_not_obeyed():
    assert "<script>" not in html("<script>alert(1)</script>\n\n[x](javascript:alert(1))")


def test_markdown_links_by_site_and_view():
    assert (
        html("[ports](site:help/ports)")
        == '<p><a href="http://help.opta.localhost:8000/ports">ports</a></p>\n'
    )
    assert html("[home](site:)") == '<p><a href="http://opta.localhost:8000/">home</a></p>\n'


def test_code_and_tables_scroll_by_keyboard():
    text = html("```\na < b\n```\n\n| a |\n|---|\n| b |\n")
    assert '<pre tabindex="0"><code>a &lt; b\n</code></pre>' in text
    assert '<div class="scroll" tabindex="0"><table class="table">' in text


def test_sections_have_addresses():
    assert [tuple(heading) for heading in outline("## Start here\n\ntext\n\n### not this\n\n## End")] == [
        ("start-here", "Start here"),
        ("end", "End"),
    ]
    assert '<h2 id="start-here">' in html("## Start here")


@pytest.mark.parametrize(("name", "text"), [("no-number.md", "# A\n\nb\n\nc"), ("10-a.md", "no title")])
def test_a_page_that_is_not_written_right_is_named(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(ValueError, match=name):
        read(file)
