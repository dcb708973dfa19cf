"""What of a session leaves the daemon as a document, and what outlives a killed daemon."""

import pytest

from cli.daemon.export import closed
from tests.cli.daemon.conftest import V3
from tests.scripted import Scripted, call, end, says, text


async def test_an_export_reads_as_markdown(v3: V3, model: Scripted):
    session = await v3.create(title="On\nfences", tags=["x"], cwd="/")
    model.will(text("Let me look."), call("look", '{"at": "it"}'), end("tool_calls"))
    model.will(*says("```py\n1\n```"))
    await v3.submit(session, "show ````code````")
    await v3.settled(session)
    answer = await v3.http.get(f"/v3/sessions/{session}/export")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="{session}.md"'
    lines = answer.text.split("\n")
    assert lines[0] == "# On fences"
    assert "- Folder: /" in lines
    assert [line for line in lines if line.startswith("## ")] == ["## You", "## Opta", "## Result", "## Opta"]
    assert '**look**\n\n```json\n{"at": "it"}\n```' in answer.text
    assert answer.text.endswith("## Opta\n\n```py\n1\n```\n")


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("```py\n1\n```", ""),
        ("```py\n1", "\n```"),
        ("~~~~\n~~~\n```", "\n~~~~"),
        ("````\n``` x\n```\n```` y\n`````", ""),
        ("```one``` line", ""),
        ("   ```\n1\n", "\n```"),
        ("    ```\nno fence", ""),
    ],
)
def test_an_open_code_block_ends_with_its_message(text: str, end: str):
    assert closed(text) == text + end


async def test_an_export_as_json_has_every_fact(v3: V3, model: Scripted):
    session = await v3.create()
    model.will(*says("one"))
    await v3.submit(session, "a")
    await v3.settled(session)
    await v3.http.patch(f"/v3/sessions/{session}", json={"title": "named"})
    answer = await v3.http.get(f"/v3/sessions/{session}/export", params={"format": "json"})
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document["session"] == await v3.detail(session)
    assert document["events"] == [
        each for each in await v3.events(session) if not each["event"]["type"].endswith(".delta")
    ]


async def test_all_of_it_outlives_a_kill(model: Scripted, start_daemon, connect):
    v3 = connect(start_daemon(lmx_url=model.url))
    session = await v3.create(tags=["x"])
    model.will(*says("the milk"))
    await v3.submit(session, "remember")
    await v3.settled(session)
    await v3.http.patch(f"/v3/sessions/{session}", json={"title": "Errands", "archived": True})
    before, events = await v3.detail(session), await v3.events(session)
    v3.role.kill()
    again = connect(start_daemon(lmx_url=model.url, home=v3.role.home))
    assert await again.detail(session) == before
    assert await again.events(session) == events
    hits = (await again.http.get("/v3/sessions/search?q=milk&archived=any")).json()["hits"]
    assert [hit["snippet"] for hit in hits] == ["the milk"]
    await again.http.patch(f"/v3/sessions/{session}", json={"archived": False})
    assert (await again.events(session))[-1]["seq"] > events[-1]["seq"]
