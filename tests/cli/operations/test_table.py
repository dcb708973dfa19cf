"""The one table of operations: what is in it, what is not, and what a client is told of it."""

import json
import re
import subprocess
import sys

import jsonschema_rs
import pytest
from pydantic import ValidationError

from cli.commands.slashes import HANDLERS
from cli.daemon.access.scopes import ROUTES, needed
from cli.operations.slashes import SLASHES
from cli.operations.table import APART, OPERATIONS
from tests.processes import ROOT


def shape(path: str) -> str:
    """A path, whatever its parts are called."""
    return re.sub(r"\{\w+(:path)?\}", "{}", path)


def test_every_route_that_changes_something_is_an_operation_or_is_said_to_be_none():
    changing = {(m, shape(p)) for m, p in ROUTES if m not in ("GET", "WS") and p.startswith("/v3/")}
    named = {(each.method, shape(each.path)) for each in OPERATIONS.values() if each.method != "GET"}
    apart = {(method, shape(path)) for method, path in APART}
    assert changing - named - apart == set()
    assert named - changing == set()
    assert apart - changing == named & apart == set()
    assert len(named) == len([each for each in OPERATIONS.values() if each.method != "GET"])


def test_every_operation_that_looks_has_a_route():
    looking = {(m, shape(p)) for m, p in ROUTES if m == "GET"}
    assert [
        id for id, o in OPERATIONS.items() if o.method == "GET" and ("GET", shape(o.path)) not in looking
    ] == []


@pytest.mark.parametrize("id", OPERATIONS)
def test_its_class_and_the_scope_of_its_route_agree(id: str):
    operation = OPERATIONS[id]
    need = needed(operation.method, operation.path)
    if operation.method == "GET":
        assert operation.safety == "read"
    else:
        assert need in ("write", "admin")
        # What outlives a session or runs on the machine is said before it is done.
        assert operation.safety == "dangerous" or need == "write"


@pytest.mark.parametrize("id", OPERATIONS)
def test_its_schema_is_one_that_needs_what_stands_in_the_path(id: str):
    operation = OPERATIONS[id]
    schema = operation.input.model_json_schema()
    jsonschema_rs.meta.validate(schema)
    assert not set(operation.places) & set(operation.form.model_fields)
    assert set(operation.places) <= set(schema.get("required", []))
    assert schema["additionalProperties"] is False
    json.dumps(schema)


@pytest.mark.parametrize("session", ["../access", "a/b", "", None, 1, "a b", "x" * 65])
def test_nothing_but_an_id_gets_into_a_path(session: object):
    with pytest.raises(ValidationError):
        OPERATIONS["session.delete"].request({"session": session})


def test_a_request_is_that_of_the_route():
    asked = OPERATIONS["turn.steer"].request({"session": "s", "turn": "t", "text": "é", "id": "x"})
    assert (asked.method, asked.path, asked.query) == ("POST", "/v3/sessions/s/turns/t/steer", "")
    assert json.loads(asked.body) == {"text": "é", "id": "x"}
    found = OPERATIONS["session.search"].request({"q": "a&b", "limit": 3, "tag": None})
    assert found[1:] == ("/v3/sessions/search", "q=a%26b&limit=3", b"")
    assert OPERATIONS["session.delete"].request({"session": "s"}).body == b""


def test_every_word_of_a_chat_is_a_row_that_an_operation_or_the_screen_does():
    for word, slash in SLASHES.items():
        assert slash.operation in OPERATIONS or word in HANDLERS, word
        if slash.operation:
            known = OPERATIONS[slash.operation].input.model_fields
            assert {*slash.given, *filter(None, [slash.field])} <= known.keys(), word
    assert HANDLERS.keys() <= SLASHES.keys()


def test_the_command_does_not_load_the_table_to_say_what_it_can():
    code = "import sys; from cli.main import main; main(['--help'], standalone_mode=False)"
    ask = f"try:\n    {code}\nexcept SystemExit:\n    print('cli.operations' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
