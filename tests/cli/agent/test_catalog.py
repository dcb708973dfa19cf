"""Which tool a call means, and how one is told of: by its own name, a name like it, or a search."""

import gc
import re
import weakref
from pathlib import Path

import pytest

from cli.agent.catalog import LISTED, Catalog, permitted, tiers
from cli.agent.execute import Verdict
from cli.protocol.events import ToolDone, ToolStarted
from cli.protocol.messages import ToolCall
from cli.tools import table
from tests.cli.agent.test_loop import Model, add, played, wants


async def test_a_tool_is_described_by_its_signature_and_docstring():
    model = Model(["ok"])
    await played(model)
    about = model.tools[0][0]["function"]
    assert (about["name"], about["description"]) == ("add", "Add two numbers.")
    assert about["parameters"]["required"] == ["a"]
    assert about["parameters"]["properties"]["b"] == {"default": 1, "type": "integer"}


def test_of_many_tools_the_core_is_listed_and_the_others_are_searched_for():
    own = table.tools(Path("/"))
    listed, searched = tiers(own, None)
    assert listed | (searched or {}) == own
    assert len(Catalog(listed, searched).schemas) <= LISTED < len(own)
    assert {"read_file", "edit_file", "run_command"} <= listed.keys()
    assert tiers(own, {"add": add}) == (listed, {**(searched or {}), "add": add})
    few = permitted(own, ["grep", "move_file"])
    assert tiers(few, None) == (few, None)
    assert tiers(few, {"add": add}) == ({**few, "add": add}, {})


def test_what_is_remembered_of_tools_keeps_no_turns_catalog():
    catalog = Catalog({"add": add}, {})
    left = weakref.ref(catalog)
    del catalog
    gc.collect()
    assert left() is None


@pytest.mark.parametrize("name", ["", "repo.browse files", "sub<|channel|>json", "x" * 300, "лес"])
async def test_a_name_that_a_model_made_up_stays_lawful_in_history(name: str):
    """Every API takes names of this kind alone: one other would make all later requests fail."""
    model = Model([wants("", name)], ["I see."])
    bodies = await played(model)
    (started,) = (body for body in bodies if isinstance(body, ToolStarted))
    (done,) = (body for body in bodies if isinstance(body, ToolDone))
    assert repr(name) in done.result
    call, result = model.asked[-1][-2].calls[0], model.asked[-1][-1]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call.name)
    assert started.name == done.name == call.name
    assert started.call == call.id == result.call != ""


@pytest.mark.parametrize("name", ["functions.add", "add<|channel|>commentary", "Add", "A-d_d", "aDd"])
async def test_a_name_that_is_spelt_a_little_differently_is_the_tools(name: str):
    bodies = await played(Model([wants("1", name, '{"a": 1}')], ["2"]))
    assert [body.name for body in bodies if isinstance(body, ToolStarted)] == ["add"]
    assert [body.result for body in bodies if isinstance(body, ToolDone)] == ["2"]


async def test_a_name_that_may_mean_two_tools_means_none():
    bodies = await played(Model([wants("1", "AddUp")], ["2"]), tools={"add_up": add, "addup": add})
    (done,) = (body for body in bodies if isinstance(body, ToolDone))
    assert "There is no tool 'AddUp'" in done.result


def secret(word: str) -> str:
    """Translate a word into the secret language."""
    return word[::-1]


@pytest.mark.parametrize("name", ["call_tool", "secret", "functions.secret"])
async def test_a_tool_that_was_searched_for_is_callable_without_a_change_of_the_list(name: str):
    inner = '{"name": "secret", "arguments": {"word": "abc"}}'
    model = Model(
        [wants("1", "tool_search", '{"query": "translate words"}')],
        [wants("2", name, inner if name == "call_tool" else '{"word": "abc"}')],
        ["cba"],
    )
    asked = []

    async def allow(call: ToolCall) -> Verdict:
        asked.append((call.name, call.arguments))
        return Verdict(True)

    bodies = await played(model, more={"secret": secret}, allow=allow)
    found, called = (body for body in bodies if isinstance(body, ToolDone))
    assert '"description": "Translate a word into the secret language."' in found.result
    assert (called.name, called.ok, called.result) == ("secret", True, "cba")
    assert asked == [("secret", '{"word": "abc"}')]
    names = [tool["function"]["name"] for tool in model.tools[0]]
    assert names == ["add", "shout", "fail", "tool_search", "call_tool"]
    assert model.tools[0] == model.tools[1] == model.tools[2]


async def test_the_list_stays_as_it_was_told_when_tools_come_and_go():
    first = Model(["ok"])
    await played(first, more={})
    schemas = [{**each, "told": "before"} for each in first.tools[0]]
    model = Model(
        [wants("1", "shout", '{"words": "a"}')],
        [wants("2", "tool_search", '{"query": "translate"}')],
        [wants("3", "call_tool", '{"name": "secret", "arguments": {"word": "abc"}}')],
        ["ok"],
    )
    bodies = await played(model, tools={"add": add, "secret": secret}, more={}, schemas=schemas)
    away, found, called = (body for body in bodies if isinstance(body, ToolDone))
    assert (away.ok, "'shout' is away" in away.result) == (False, True)
    assert "secret" in found.result
    assert (called.name, called.result) == ("secret", "cba")
    assert all(told == schemas for told in model.tools)


async def test_without_more_tools_there_is_nothing_to_search():
    model = Model(["ok"])
    await played(model)
    assert [tool["function"]["name"] for tool in model.tools[0]] == ["add", "shout", "fail"]
