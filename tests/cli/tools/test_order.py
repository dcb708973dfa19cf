"""Calls that change the same files: their order, their rules, and several at once."""

import threading
from json import dumps
from pathlib import Path
from typing import Any

import pytest

from cli.agent.budget import Budget, Spent
from cli.agent.catalog import Catalog
from cli.agent.execute import Verdict, ready, results
from cli.agent.policy import call_of, decide, exactly, rule
from cli.protocol.messages import ToolCall
from cli.tools.changes import Changed
from cli.tools.seen import Seen
from cli.tools.table import tools
from cli.tools.writing import Stale
from tests.cli.tools.test_writing import PATCH


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "notes").write_text("one\ntwo\nthree\n")
    return tmp_path


def test_edits_at_once_lose_nothing(root: Path):
    seen = Seen()
    (root / "notes").write_text("".join(f"<{n}>\n" for n in range(12)))

    def edit(n: int) -> None:
        while True:
            try:
                tools(root, str(n), seen=seen)["edit_file"](
                    path="notes", old_text=f"<{n}>", new_text=f"[{n}]"
                )
                return
            except (Changed, Stale):
                continue  # another edit came between: once more

    threads = [threading.Thread(target=edit, args=[n]) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (root / "notes").read_text() == "".join(f"[{n}]\n" for n in range(12))


def wants(number: int, name: str, **given: Any) -> ToolCall:
    return ToolCall(id=str(number), name=name, arguments=dumps(given))


async def test_calls_on_one_file_run_in_their_order_and_their_results_come_so(root: Path):
    (root / "link").symlink_to("notes")
    found = tools(root, "s")
    catalog = Catalog(found)
    calls = [wants(0, "read_file", path="notes")]
    for n in range(1, 15, 2):
        path = ["notes", "./notes", "link", "src/../notes"][n // 2 % 4]
        calls += [wants(n, "write_file", path=path, content=f"{n}\n"), wants(n + 1, "read_file", path=path)]

    async def allow(_: ToolCall) -> Verdict:
        return Verdict(True)

    done = await results([ready(call, catalog) for call in calls], allow, Spent(Budget()))
    assert [each.call for each in done] == [str(n) for n in range(15)]
    assert all(each.ok for each in done), done
    assert [each.result for each in done[2::2]] == [f"1\t{n}" for n in range(1, 15, 2)]


@pytest.mark.parametrize(
    ("call", "lines", "action"),
    [
        (wants(1, "move_file", path="src/a", to="src/b"), ["allow move_file(src/**)"], "allow"),
        (wants(1, "move_file", path="src/a", to="b"), ["allow move_file(src/**)"], "ask"),
        (wants(1, "move_file", path="a", to="src/b"), ["allow move_file(src/**)"], "ask"),
        (
            wants(1, "move_file", path="a", to="src/b"),
            ["allow move_file(src/*)", "allow move_file(a)"],
            "allow",
        ),
        (wants(1, "move_file", path="a", to="src/b"), ["allow *", "deny *(src/**)"], "deny"),
        (wants(1, "move_file", path="src/b", to="a"), ["allow *", "deny *(src/**)"], "deny"),
        (wants(1, "apply_patch", patch=PATCH), ["allow apply_patch(**)", "deny *(yours)"], "deny"),
        (wants(1, "apply_patch", patch=PATCH), ["allow apply_patch(**)", "ask *(src/**)"], "ask"),
        (wants(1, "apply_patch", patch=PATCH), ["allow apply_patch(**)"], "allow"),
        (wants(1, "apply_patch", patch=PATCH), ["allow apply_patch(notes)"], "ask"),
        (wants(1, "apply_patch", patch="nothing"), ["allow apply_patch(src/**)"], "ask"),
        (wants(1, "edit_file", path="notes", old_text="", new_text=""), [], "ask"),
    ],
)
def test_a_rule_sees_every_path_that_a_call_is_about(
    root: Path, call: ToolCall, lines: list[str], action: str
):
    said = (line.split(" ", 1) for line in lines)
    found = [rule(what, pattern, "user", "f", root) for what, pattern in said]
    about = call_of(call, tools(root)[call.name], root)
    assert decide("chat", found, about).action == action
    assert decide("plan", found, about).action == "deny"
    assert bool(exactly(about)) == (call.name == "edit_file")
