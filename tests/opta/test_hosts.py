"""Eight hosts from one table: their pages, their names, their colours, and who is turned away."""

import pytest
from django.test import Client
from django.urls import NoReverseMatch

from opta.hosts import site_url
from opta.urls import SITES

PUBLIC = [site for site in SITES.values() if site.public]
ANONYMOUS = [SITES[label] for label in ("", "init", "status", "help", "learn")]
# Some pages read rows: every test here may.
pytestmark = pytest.mark.django_db


def get(host: str, path: str = "/") -> object:
    response = Client(headers={"host": host}).get(path)
    response.getvalue()  # a file is closed when it has been read
    return response


def test_there_are_eight():
    assert list(SITES) == ["", "init", "accounts", "lmx", "status", "help", "learn", "admin"]


@pytest.mark.parametrize("site", PUBLIC, ids=lambda site: site.host)
def test_a_host_answers_with_its_own_page(site):
    response = get(f"{site.host}:8000")
    page = response.content.decode()
    assert response.status_code == 200
    assert "<title>" in page and '<meta name="description" content="' in page
    assert f'<link rel="canonical" href="{site.origin}/">' in page
    assert f'<meta property="og:url" content="{site.origin}/">' in page
    assert all(f'href="{other.origin}/"' in page for other in SITES.values())
    assert '<a class="skip" href="#main">' in page and "<footer" in page


def test_the_title_and_description_are_what_is_shared():
    page = get("learn.opta.localhost").content.decode()
    title = page.partition("<title>")[2].partition("</title>")[0]
    assert title and f'<meta property="og:title" content="{title}">' in page


def test_admin_asks_who_you_are():
    response = get("admin.opta.localhost", "/accounts/user/")
    assert response.status_code == 302
    assert response["Location"] == "/login/?next=/accounts/user/"


@pytest.mark.parametrize(
    "host", ["OPTA.localhost", "opta.localhost.", "opta.localhost.:8000", "opta.localhost:80"]
)
def test_a_name_is_the_same_in_other_spellings(host):
    assert get(host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "",
        "127.0.0.1",
        "www.opta.localhost",
        "a.status.opta.localhost",
        "evilopta.localhost",
        ".opta.localhost",
    ],
)
def test_a_stranger_gets_our_404(host):
    response = get(host)
    assert response.status_code == 404
    assert "No site of ours has this name." in response.content.decode()


@pytest.mark.parametrize("site", SITES.values(), ids=lambda site: site.host)
def test_an_address_that_leads_nowhere_says_so(site):
    client = Client(headers={"host": site.host})
    client.force_login(staff()) if not site.public else None
    response = client.get("/no/such/page")
    assert response.status_code == 404
    assert f"{site.host}/no/such/page" in response.content.decode()


def staff() -> object:
    from django.contrib.auth import get_user_model

    return get_user_model().objects.create_superuser(
        "alice", "alice@example.com", "a long throw-away password"
    )


def test_site_url_reverses_across_hosts():
    assert site_url("help", "ports") == "http://help.opta.localhost:8000/ports"
    assert site_url("") == "http://opta.localhost:8000/"
    with pytest.raises(NoReverseMatch):
        site_url("help", "no-such-page")
    with pytest.raises(KeyError):
        site_url("nowhere")


@pytest.mark.parametrize("site", ANONYMOUS, ids=lambda site: site.host)
def test_a_page_for_everybody_never_reads_the_session(site):
    signed_in = Client(headers={"host": site.host})
    signed_in.force_login(staff())
    response = signed_in.get("/")
    assert not response.wsgi_request.session.accessed
    assert not response.cookies
    assert response.content == get(site.host).content


@pytest.mark.parametrize("site", PUBLIC, ids=lambda site: site.host)
def test_only_pages_vary_by_cookie_and_only_for_the_theme(site):
    assert "Cookie" in get(site.host)["Vary"]
    for path in ("/robots.txt", "/sitemap.xml", "/api/health", "/static/opta.css"):
        assert "Cookie" not in get(site.host, path).get("Vary", "")


@pytest.mark.parametrize("site", PUBLIC, ids=lambda site: site.host)
def test_a_public_host_invites_crawlers_to_pages_that_exist(site):
    assert f"Sitemap: {site.origin}/sitemap.xml" in get(site.host, "/robots.txt").content.decode()
    sitemap = get(site.host, "/sitemap.xml")
    pages = [loc.partition("</loc>")[0] for loc in sitemap.content.decode().split("<loc>")[1:]]
    assert sitemap["Content-Type"] == "application/xml"
    assert pages and all(page.startswith(f"{site.origin}/") for page in pages)
    assert all(get(site.host, page.removeprefix(site.origin)).status_code == 200 for page in pages)


def test_the_private_host_does_not():
    assert get("admin.opta.localhost", "/robots.txt").content == b"User-agent: *\nDisallow: /\n"
    assert get("admin.opta.localhost", "/sitemap.xml").status_code == 404


@pytest.mark.parametrize(
    "path", ["/favicon.ico", "/static/favicon.svg", "/static/touch-icon.png", "/static/opta.png"]
)
def test_the_mark_is_served(path):
    response = Client(headers={"host": "init.opta.localhost"}).get(path, follow=True)
    assert response.getvalue()
    assert response.status_code == 200 and response["Content-Type"].startswith("image/")
