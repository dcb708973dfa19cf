"""The theme: chosen on one host, rendered by all."""

import pytest
from django.conf import settings
from django.test import Client


def choose(**form: str) -> object:
    # CSRF is enforced here, as for a browser: the form must work without a token.
    return Client(enforce_csrf_checks=True, headers={"host": "help.opta.localhost"}).post("/theme", form)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_choice_is_kept_on_the_parent_domain_and_rendered_by_the_server(theme):
    response = choose(theme=theme, next="/ports")
    cookie = response.cookies["theme"]
    assert (response.status_code, response["Location"]) == (302, "/ports")
    assert (cookie.value, cookie["domain"], cookie["samesite"]) == (
        theme,
        settings.SESSION_COOKIE_DOMAIN,
        "Lax",
    )
    other = Client(headers={"host": "opta.localhost"})
    other.cookies["theme"] = theme
    assert f'<html lang="en" data-theme="{theme}">' in other.get("/").content.decode()


def test_without_a_choice_the_system_decides():
    assert '<html lang="en">' in Client(headers={"host": "opta.localhost"}).get("/").content.decode()
    forgotten = choose(theme="system").cookies["theme"]
    assert (forgotten.value, forgotten["max-age"]) == ("", 0)


def test_a_cookie_that_is_no_theme_is_ignored():
    client = Client(headers={"host": "opta.localhost"})
    client.cookies["theme"] = 'dark" onload="x'
    assert '<html lang="en">' in client.get("/").content.decode()


def test_another_theme_is_refused():
    response = choose(theme="sepia")
    assert response.status_code == 400 and "theme" not in response.cookies


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_it_never_leads_away(back):
    assert choose(theme="dark", next=back)["Location"] == "/"


def test_it_is_not_chosen_by_a_link():
    assert Client(headers={"host": "opta.localhost"}).get("/theme").status_code == 405
