"""What the daemon counts of its own work, read as Prometheus reads it."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from itertools import pairwise

import websockets
from prometheus_client.parser import text_string_to_metric_families

from opta.version import VERSION
from tests.cli.daemon.conftest import V3, kind
from tests.processes import Role
from tests.scripted import BREAK, Scripted, call, end, says, text


class Read(dict[str, float]):
    """Samples as Prometheus writes them; a counter that was not counted up yet is none."""

    def __missing__(self, name: str) -> float:
        return 0.0

    def since(self, before: "Read") -> "Read":
        return Read({name: value - before[name] for name, value in self.items()})


async def read(v3: V3) -> Read:
    answer = await v3.http.get("/v3/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = [each for family in text_string_to_metric_families(answer.text) for each in family.samples]
    found = Read()
    for name, labels, value, *_ in samples:
        listed = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        assert found.setdefault(f"{name}{{{listed}}}" if labels else name, value) is value, "named twice"
    return found


async def run(v3: V3, session: str, text: str = "hi") -> list[str]:
    after = (await v3.detail(session))["seq"]
    await v3.submit(session, text)
    return await v3.settled(session, after)


async def unwatched(v3: V3) -> Read:
    """Once nobody follows anything: the daemon hears that a client has gone in its own time."""
    while (found := await read(v3))["opta_followers"] or found["opta_sockets"]:
        pass
    return found


async def test_it_counts_turns_tokens_events_and_the_wait_for_the_first_word(
    standing_v3: V3, standing_model: Scripted
):
    before, session = await read(standing_v3), await standing_v3.create(tools=["read_file"])
    standing_model.will(*says("Hello", " there"))
    standing_model.will(text("half"), BREAK)
    told = await run(standing_v3, session) + await run(standing_v3, session)
    found = (await read(standing_v3)).since(before)
    assert (found["opta_turns_total{ending=done}"], found["opta_turns_total{ending=failed}"]) == (1, 1)
    assert found["opta_turn_failures_total{code=upstream_truncated}"] == 1
    assert (found["opta_tokens_total{kind=prompt}"], found["opta_tokens_total{kind=completion}"]) == (3, 2)
    events = [name for name in found if name.startswith("opta_events_total")]
    assert sum(found[name] for name in events) == len(told)
    assert found["opta_event_bytes_total"] == sum(len(event.encode()) for event in told)
    assert found["opta_first_token_seconds_count"] == 2
    assert 0 < found["opta_first_token_seconds_sum"] < 60
    buckets = [value for name, value in found.items() if name.startswith("opta_first_token_seconds_bucket")]
    assert all(less <= more for less, more in pairwise(buckets))
    assert buckets[-1] == 2


async def test_it_counts_calls_of_tools_and_takes_no_name_from_the_model(
    standing_v3: V3, standing_model: Scripted
):
    before, session = await read(standing_v3), await standing_v3.create(cwd="/")
    for name, arguments in (("list_dir", "{}"), ("read_file", '{"path": "no-such"}'), ("rm_rf_x", "{}")):
        standing_model.will(call(name, arguments), end("tool_calls"))
    standing_model.will(*says("done"))
    await run(standing_v3, session)
    counted = (await read(standing_v3)).since(before)
    found = {name: value for name, value in counted.items() if "tool_calls" in name and value}
    assert found == {
        "opta_tool_calls_total{result=ok,tool=list_dir}": 1,
        "opta_tool_calls_total{result=failed,tool=read_file}": 1,
        "opta_tool_calls_total{result=failed,tool=unknown}": 1,
    }


async def test_it_tells_what_is_under_way_and_forgets_what_is_over(
    standing_v3: V3, standing_model: Scripted, standing: tuple[Role, int]
):
    session, held = await standing_v3.create(), asyncio.Event()
    await unwatched(standing_v3)
    standing_model.will(text("so"), held, end())
    standing_model.will(*says("far"))
    url = f"{standing[0].url.replace('http', 'ws')}/v3/ws?session={session}"
    async with websockets.connect(url, additional_headers=standing[0].headers) as socket:
        await standing_v3.submit(session, "one")
        await standing_v3.submit(session, "two")
        async with aclosing(standing_v3.stream(session)) as stream:
            while kind(await anext(stream)) != "text.delta":
                pass
            found = await read(standing_v3)
        assert found["opta_turns_active{state=running}"] == 1
        assert found["opta_turns_active{state=queued}"] == 1
        assert (found["opta_sockets"], found["opta_followers"]) == (1, 2)
        held.set()
        await standing_v3.settled(session, turns=2)
        await socket.close()
    found = await unwatched(standing_v3)
    assert found["opta_turns_active{state=running}"] == found["opta_turns_active{state=queued}"] == 0


async def test_it_tells_how_the_daemon_and_its_model_servers_are(
    standing: tuple[Role, int], connect: Callable[[Role], V3]
):
    v3 = connect(standing[0])  # nobody listens where the model was
    before, session = await read(v3), await v3.create()
    for _ in range(2):
        await run(v3, session)
    found = await read(v3)
    assert (
        found["opta_provider_failures_total{provider=lmx}"]
        > before["opta_provider_failures_total{provider=lmx}"]
    )
    assert found["opta_provider_breaker_open{provider=lmx}"] == 1
    assert found[f"opta_build_info{{version={VERSION}}}"] == 1
    files = [standing[0].home / "daemon" / f"daemon.sqlite3{end}" for end in ("", "-wal")]
    assert 0 < found["opta_database_bytes"] <= sum(file.stat().st_size for file in files)
    later = (await read(v3)).since(found)
    assert later["opta_uptime_seconds"] > 0
