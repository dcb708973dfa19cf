"""The status page in a browser: it follows the checks without a reload, and survives a lost server."""

from collections.abc import Callable

from playwright.sync_api import Browser, Page

from tests.apps.status.polling import nobody, poll
from tests.processes import Role

CHECKED = "document.querySelector('#board time')?.dateTime"


def follows(page: Page, sites: Role) -> None:
    before = page.evaluate(CHECKED) or ""
    poll(sites)
    page.wait_for_function(f"before => ({CHECKED} ?? '') > before", arg=before)


def test_it_follows_the_checks_and_survives_a_restart(chromium: Browser, start_sites: Callable[..., Role]):
    sites = start_sites(**nobody())
    address = sites.url.replace("127.0.0.1", "status.opta.localhost")
    page = chromium.new_page(viewport={"width": 360, "height": 800})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(address)
    page.evaluate("window.same = true")

    follows(page, sites)
    assert page.locator("#headline").inner_text() == "8 of 10 services are online"
    assert page.locator("#said").inner_text() == "8 of 10 services are online"
    assert page.locator(".service").count() == 10
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert said == [], "nothing against the content security policy"

    sites.kill()
    page.get_by_text("The connection is lost; trying again.").wait_for()
    sites.start("/api/health", Host=address.removeprefix("http://"))
    page.get_by_text("Live: new results appear by themselves.").wait_for()
    follows(page, sites)
    assert page.evaluate("window.same"), "and never was the page loaded again"
    page.close()


def test_it_is_complete_without_script(chromium: Browser, start_sites: Callable[..., Role]):
    sites = start_sites(**nobody())
    poll(sites)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(sites.url.replace("127.0.0.1", "status.opta.localhost"))
    assert page.locator("#headline").inner_text() == "8 of 10 services are online"
    assert "nothing listens there: connection refused" in page.locator("#lmx").inner_text()
    assert page.get_by_text("Reload the page for newer results.").is_visible()
    context.close()
