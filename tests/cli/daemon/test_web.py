"""Tools that ask the web, through a real daemon: asked for, allowed, and closed to what is private."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.cli.daemon.conftest import V3, body, kind, until
from tests.scripted import Scripted, call, end, says


class Site:
    """A web site on this machine, and a session that may ask it once the user listed it."""

    def __init__(self, v3: V3, model: Scripted, session: str) -> None:
        self.v3, self.model, self.session = v3, model, session
        self.seen: list[str] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(f"{request.method} {request.path}")
        return web.Response(text="<title>News</title><h1>Rain</h1>", content_type="text/html")

    def will(self, tool: str, **given: Any) -> None:
        self.model.will(call(tool, json.dumps({"url": f"{self.url}/news", **given})), end("tool_calls"))
        self.model.will(*says("I see."))

    async def results(self, after: int = 0) -> list[tuple[bool, str]]:
        events = [body(data) for data in await self.v3.settled(self.session, after)]
        return [(each["ok"], each["result"]) for each in events if each["type"] == "tool.done"]

    async def turn(self, tool: str, **given: Any) -> tuple[bool, str]:
        """What the model was told in a turn that nobody answers for."""
        self.will(tool, **given)
        seq = (await self.v3.detail(self.session))["seq"]
        await self.v3.submit(self.session, "look")
        (result,) = await self.results(seq)
        return result

    async def allow(self, pattern: str) -> None:
        rule = {"action": "allow", "pattern": pattern, "scope": "session", "session": self.session}
        (await self.v3.http.post("/v3/permissions/rules", json=rule)).raise_for_status()

    def list(self, *hosts: str) -> None:
        (self.v3.role.home / "config.toml").write_text(f"web_allow = {json.dumps(hosts)}\n")


@pytest.fixture
async def site(standing_v3: V3, standing_model: Scripted, tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(standing_v3, standing_model, await standing_v3.create(cwd=str(tmp_path)))
    runner = web.ServerRunner(web.Server(made))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.host = "{}:{}".format(*runner.addresses[0])
    made.url = f"http://{made.host}"
    made.list(made.host)
    yield made
    await runner.cleanup()
    (standing_v3.role.home / "config.toml").unlink()


async def test_a_page_is_fetched_once_somebody_allowed_its_host(site: Site):
    site.will("web_fetch")
    await site.v3.submit(site.session, "look", interactive=True)
    seen = await until(site.v3.stream(site.session), "permission.request", "turn.done", "turn.failed")
    assert kind(seen[-1]) == "permission.request" and site.seen == []
    asked = body(seen[-1])
    assert asked["pattern"] == f"web_fetch({site.url}/**)"
    said = {"request": asked["id"], "decision": "allow", "remember": "session"}
    await site.v3.http.post(f"/v3/sessions/{site.session}/permissions", json=said)
    ((ok, result),) = await site.results(json.loads(seen[-1])["seq"])
    assert ok and result.startswith("(From the web") and result.endswith("Title: News\n\n# Rain")
    ok, result = await site.turn("web_fetch", url=f"{site.url}/more")
    assert ok and site.seen == ["GET /news", "GET /more"]


async def test_nobody_to_ask_is_a_no(site: Site):
    ok, result = await site.turn("web_fetch")
    assert not ok and "nobody can be asked" in result
    ok, result = await site.turn("http_request")
    assert not ok and site.seen == []


async def test_what_is_allowed_and_private_is_closed_until_the_user_lists_it(site: Site):
    await site.allow("web_fetch")
    site.list()
    ok, result = await site.turn("web_fetch")
    assert not ok and "not on the public Internet" in result and site.seen == []
    site.list(site.host)
    ok, result = await site.turn("web_fetch")
    assert ok and site.seen == ["GET /news"]


async def test_the_daemon_itself_is_not_asked(site: Site):
    await site.allow("http_request")
    ok, result = await site.turn("http_request", url=f"{site.v3.role.url}/v3/sessions", method="POST")
    assert not ok and "not on the public Internet" in result


@pytest.mark.parametrize("mode", ["plan", "review", "research"])
async def test_a_mode_that_only_looks_reads_and_sends_nothing(site: Site, mode: str):
    await site.v3.http.patch(f"/v3/sessions/{site.session}", json={"mode": mode})
    await site.allow(f"web_fetch({site.url}/**)")
    await site.allow("http_request")
    assert (await site.turn("web_fetch"))[0]
    ok, result = await site.turn("http_request", method="POST")
    assert not ok and "nothing is changed" in result
    assert site.seen == ["GET /news"]
