"""Which server is asked: names, aliases, several hosts, and what happens when one cannot be reached."""

import asyncio

import pytest

from cli.clients import providers as table
from cli.clients.breaker import FAILURES, PAUSE_SECONDS, Breaker
from cli.clients.lan import on_lan
from cli.clients.providers import Providers
from cli.protocol.failures import Failure
from tests.cli.clients.conftest import Choices, Clock, said
from tests.processes import free_port
from tests.scripted import BREAK, Scripted, says, scripted, text


def nowhere() -> str:
    return f"http://127.0.0.1:{free_port()}"


def host(script: Scripted) -> dict[str, str]:
    return {"url": script.url, "kind": "lmx"}


@pytest.fixture
def providers(closing):
    """providers(**choices): with a clock that stands still unless a test moves it."""
    return lambda clock=None, **fields: closing(Providers(Choices(**fields), clock=clock or Clock()))


async def test_a_name_is_the_providers_and_what_it_calls_the_model(providers, one: Scripted, other: Scripted):
    client = providers(lmx_url=one.url, providers={"cloud": {"url": other.url}})
    one.will(*says("here"))
    one.will(*says("here too"))
    other.will(*says("there"))
    assert "here" in await said(client, "org/model")
    assert "here too" in await said(client, "lmx/org/model")
    assert "there" in await said(client, "cloud/org/model")
    assert [request["model"] for request in one.requests] == ["org/model", "org/model"]
    assert [request["model"] for request in other.requests] == ["org/model"]


async def test_an_alias_names_each_servers_own_model(providers, one: Scripted):
    client = providers(
        lmx_url=nowhere(),
        providers={"cloud": {"url": one.url}},
        aliases={"fast": ["qwen-4b", "cloud/gpt-mini"], "auto": ["cloud/gpt"]},
    )
    for _ in range(2):
        one.will(*says("a"))
    await said(client, "fast")
    await said(client, "auto")
    assert [request["model"] for request in one.requests] == ["gpt-mini", "gpt"]


async def test_nothing_goes_to_a_provider_that_the_name_does_not_lead_to(providers, one: Scripted):
    client = providers(lmx_url=nowhere(), providers={"cloud": {"url": one.url}})
    with pytest.raises(Failure) as caught:
        await said(client, "auto")
    assert caught.value.code == "lmx_unreachable"
    assert not one.heads


async def test_the_host_that_has_the_model_answers(providers, one: Scripted, other: Scripted):
    client = providers(lmx_url=one.url, providers={"studio": host(other)})
    one.models, other.models = ["small"], ["large"]
    other.will(*says("large"))
    one.will(*says("small"))
    assert "large" in await said(client, "large")
    assert "small" in await said(client, "small")


async def test_the_host_that_answered_before_answers_again(providers, one: Scripted, other: Scripted):
    client = providers(lmx_url=one.url, providers={"studio": host(other)})
    one.models, other.models = [], ["m"]
    other.will(*says("a"))
    await said(client)
    one.models = ["m"]
    client.clock.now += 60
    other.will(*says("a"))
    await said(client)
    assert (len(one.requests), len(other.requests)) == (0, 2)


async def test_a_host_that_cannot_be_reached_is_left_alone_and_tried_again_after_a_pause(
    providers, one: Scripted
):
    port, clock = free_port(), Clock()
    client = providers(
        clock,
        lmx_url=f"http://127.0.0.1:{port}",
        providers={"cloud": {"url": one.url}},
        aliases={"fast": ["m", "cloud/m"]},
    )
    for _ in range(FAILURES + 1):
        one.will(*says("cloud"))
    for _ in range(FAILURES):
        assert "cloud" in await said(client, "fast")
    async with scripted(port) as back:
        back.will(*says("lmx"))
        assert "cloud" in await said(client, "fast")
        assert not back.heads
        clock.now += PAUSE_SECONDS
        assert "lmx" in await said(client, "fast")


async def test_while_a_host_is_left_alone_it_is_still_asked_when_there_is_no_other(providers):
    port = free_port()
    client = providers(lmx_url=f"http://127.0.0.1:{port}")
    for _ in range(FAILURES + 1):
        with pytest.raises(Failure):
            await said(client)
    async with scripted(port) as back:
        back.will(*says("back"))
        assert "back" in await said(client)


def test_a_half_open_host_is_tried_by_one_at_a_time():
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        assert not breaker.open
        breaker.failed()
    assert breaker.open
    clock.now += PAUSE_SECONDS
    assert not breaker.open
    breaker.trying()
    assert breaker.open
    breaker.answered()
    assert not breaker.open


async def test_what_a_server_has_begun_is_never_asked_of_another(providers, one: Scripted, other: Scripted):
    choices = {"one": {"url": one.url}, "other": {"url": other.url}}
    client = providers(providers=choices, aliases={"m": ["one/m", "other/m"]})
    for steps in ([text("half"), BREAK], [b": reading 1/9\n\n", BREAK], [BREAK]):
        one.will(*steps)
        with pytest.raises(Failure) as caught:
            await said(client)
        assert caught.value.code == "upstream_truncated"
    one.will(b'{"error": {"message": "broken"}}', status=500)
    with pytest.raises(Failure, match="broken"):
        await said(client)
    assert len(one.requests) == 4
    assert not other.heads


async def test_a_busy_server_is_asked_again_when_it_says(providers, one: Scripted):
    client = providers(lmx_url=one.url)
    one.will(b'{"error": {"message": "full"}}', status=429, retry_after="0.05")
    one.will(b'{"error": {"message": "starting"}}', status=503, retry_after="0")
    one.will(*says("at last"))
    assert "at last" in await said(client)
    assert len({str(request) for request in one.requests}) == 1


async def test_another_server_is_asked_while_one_is_busy(providers, one: Scripted, other: Scripted):
    choices = {"one": {"url": one.url}, "other": {"url": other.url}}
    client = providers(providers=choices, aliases={"m": ["one/m", "other/m"]})
    one.will(b"{}", status=429, retry_after="30")
    other.will(*says("free"))
    assert "free" in await said(client)


async def test_a_wait_that_is_too_long_is_the_users_to_decide(providers, one: Scripted):
    client = providers(lmx_url=one.url)
    one.will(b'{"error": {"message": "come back tomorrow"}}', status=429, retry_after="86400")
    with pytest.raises(Failure, match="come back tomorrow"):
        await said(client)
    for _ in range(table.WAITS + 1):
        one.will(b'{"error": {"message": "still full"}}', status=429, retry_after="0")
    with pytest.raises(Failure, match="still full"):
        await said(client)


async def test_busy_without_a_time_is_not_asked_again(providers, one: Scripted):
    client = providers(lmx_url=one.url)
    one.will(b'{"error": {"message": "full"}}', status=429)
    with pytest.raises(Failure, match="full"):
        await said(client)


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_another_server_is_asked_when_one_has_no_time_and_does_not_say_until_when(
    providers, one: Scripted, other: Scripted, status: int
):
    choices = {"one": {"url": one.url}, "other": {"url": other.url}}
    client = providers(providers=choices, aliases={"m": ["one/m", "other/m"]})
    one.will(b'{"error": {"message": "draining"}}', status=status)
    other.will(*says("free"))
    assert "free" in await said(client)


async def test_a_change_of_the_choices_holds_from_the_next_answer(closing, one: Scripted, other: Scripted):
    choices = Choices(lmx_url=one.url)
    client = closing(Providers(choices))
    gate = asyncio.Event()
    one.will(text("old"), gate, *says(" server"))
    under_way = asyncio.create_task(said(client))
    await one.asked.wait()
    choices.config = choices.config.model_copy(update={"lmx_url": other.url})
    other.will(*says("new server"))
    assert "new server" in await said(client)
    gate.set()
    assert (await under_way)[:2] == ["old", " server"]


async def test_what_each_has_and_what_is_wrong_with_it_is_told(providers, one: Scripted, other: Scripted):
    client = providers(
        lmx_url=one.url, providers={"studio": host(other), "gone": {"url": nowhere(), "kind": "anthropic"}}
    )
    one.models, other.models = ["a"], ["b", "c"]
    found = {listing.server.name: listing for listing in await client.catalogue()}
    assert {name: [m.id for m in listing.models] for name, listing in found.items()} == {
        "lmx": ["a"], "studio": ["b", "c"], "gone": [],
    }  # fmt: skip
    assert found["lmx"].failure is found["studio"].failure is None
    assert found["gone"].failure.code == "provider_unreachable"


@pytest.mark.parametrize(
    "url", ["http://8.8.8.8:1", "http://[2001:4860:4860::8888]:1", "http://[::ffff:8.8.8.8]:1"]
)
async def test_an_lmx_outside_of_this_network_is_not_asked_unless_it_is_a_provider(providers, url):
    with pytest.raises(Failure) as caught:
        await said(providers(lmx_url=url))
    assert caught.value.code == "leaves_lan"
    client = providers(providers={"far": {"url": url, "kind": "lmx"}})
    assert [target.server.lan for target in await client.targets("far/m")] == [False]


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("127.0.0.1", True), ("::1", True), ("10.1.2.3", True), ("172.31.0.1", True), ("192.168.0.9", True),
        ("169.254.1.1", True), ("fe80::1", True), ("fd00::1", True), ("100.64.0.1", True),
        ("::ffff:192.168.0.9", True), ("8.8.8.8", False), ("172.32.0.1", False), ("2606:4700::1111", False),
        ("::ffff:8.8.8.8", False), ("224.0.0.251", False), ("100.128.0.1", False),
    ],
)  # fmt: skip
def test_what_is_on_this_network(address: str, near: bool):
    assert on_lan(address) is near


async def test_a_name_that_leads_to_this_machine_is_on_this_network(providers, one: Scripted):
    one.will(*says("here"))
    assert "here" in await said(providers(lmx_url=one.url.replace("127.0.0.1", "localhost")))
    assert f"host: {one.url.replace('http://127.0.0.1', 'localhost')}" in one.heads[0]


async def test_a_name_that_leads_nowhere_is_unreachable(providers):
    with pytest.raises(Failure) as caught:
        await said(providers(lmx_url="http://nobody.invalid:1"))
    assert caught.value.code == "lmx_unreachable"
    assert "nobody.invalid" in caught.value.message
