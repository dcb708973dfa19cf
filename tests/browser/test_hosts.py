"""Every host in a real browser: nothing fails, nothing is blocked, nothing overflows."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request

from opta.urls import SITES
from tests.processes import ROOT, Role

VIEWS = {"dark": (1280, "dark"), "light": (1280, "light"), "small": (360, "dark")}
TITLES = {
    "": "Opta Local: private AI on hardware you own",
    "init": "Init: downloads and channels · Opta Local",
    "accounts": "Accounts · Opta Local",
    "lmx": "LMX: the inference server · Opta Local",
    "help": "Help · Opta Local",
    "learn": "Learn · Opta Local",
    "admin": "Log in · Opta Admin",
}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
GROUNDS = {"dark": "rgb(9, 9, 11)", "light": "rgb(250, 250, 250)"}


def address(sites: Role, label: str, path: str = "/") -> str:
    port = sites.url.rpartition(":")[2]
    return f"http://{SITES[label].host}:{port}{path}"


@pytest.fixture(params=VIEWS)
def view(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[tuple[str, BrowserContext]]:
    width, scheme = VIEWS[request.param]
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    yield scheme, context
    context.close()


def lost(request: Request) -> bool:
    """Whether nobody meant to end it: leaving a page aborts what it was still loading."""
    return request.failure != "net::ERR_ABORTED"


def watch(page: Page) -> list[str]:
    """What goes wrong on a page from now on. A blocked part is a console error, so CSP is in here too."""
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "requestfailed", lambda request: wrong.append(f"failed: {request.url}") if lost(request) else None
    )
    page.on(
        "response",
        lambda answer: wrong.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None,
    )
    return wrong


@pytest.mark.parametrize("label", SITES)
def test_a_host_opens_without_a_fault(label, view, sites):
    scheme, context = view
    page = context.new_page()
    wrong = watch(page)
    page.goto(address(sites, label))
    page.wait_for_load_state("load")
    assert page.title() == TITLES[label] if label in TITLES else "Opta" in page.title()
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(BACKGROUND) == GROUNDS[scheme]
    assert wrong == []


def test_the_theme_chosen_on_one_host_holds_on_all(chromium, sites):
    context = chromium.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(address(sites, "help", "/ports"))
    page.get_by_role("button", name="Light").click()
    page.wait_for_url(address(sites, "help", "/ports"))
    for label in SITES:
        page.goto(address(sites, label))
        assert page.evaluate(BACKGROUND) == GROUNDS["light"], label
    context.close()


def test_the_keyboard_reaches_the_content_first(chromium, sites):
    page = chromium.new_page()
    page.goto(address(sites, ""))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.close()


def test_staff_sign_in_and_add_a_user_under_the_policy(chromium, sites):
    env = {**os.environ, **sites.env, "DJANGO_SUPERUSER_PASSWORD": "a long throw-away password"}
    create = ["createsuperuser", "--noinput", "--username", "alice", "--email", "alice@example.com"]
    subprocess.run([sys.executable, "manage.py", *create], cwd=ROOT, env=env, check=True)
    context = chromium.new_context()
    page = context.new_page()
    wrong = watch(page)
    page.goto(address(sites, "admin"))
    page.fill("#id_username", "alice")
    page.fill("#id_password", "a long throw-away password")
    page.get_by_role("button", name="Log in").click()
    page.goto(address(sites, "admin", "/accounts/user/add/"))
    page.fill("#id_username", "bob")
    page.fill("#id_email", "bob@example.com")
    page.fill("#id_password1", "another throw-away password")
    page.fill("#id_password2", "another throw-away password")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("was added successfully").wait_for()
    # The widget that JavaScript builds: the policy lets it.
    page.locator("#id_groups_filter").wait_for()
    assert wrong == []
    context.close()
