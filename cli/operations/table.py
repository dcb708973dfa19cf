"""The one table of operations: whatever can be done to the daemon.

An operation is a route of the daemon by its name: `POST /v3/operations/{id}` runs that very route. To add
one, write its route and put a row here. What it may do is told by the method, and by what it warns of.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote, urlencode

from pydantic import BaseModel, create_model
from pydantic_core import to_json

from cli.operations.changes import Change
from cli.operations.providers import ProviderCreate
from cli.protocol.access import CodeCreate, TokenCreate
from cli.protocol.jobs import JobFilter, JobSignal, JobStart, OutputPage
from cli.protocol.operations import Safety
from cli.protocol.permissions import RuleAdd, RulesOf
from cli.protocol.requests import HandOff, Id, TurnCancel, TurnSteer, TurnSubmit
from cli.protocol.sessions import (
    SessionCreate,
    SessionFork,
    SessionPage,
    SessionSearch,
    SessionUpdate,
)
from cli.protocol.settings import SettingsQuery
from cli.protocol.socket import PermissionDecision
from cli.protocol.trust import TrustDecide
from opta.strict import Strict


class Request(NamedTuple):
    """What a route is sent; `body` is JSON, and empty where it takes none."""

    method: str
    path: str
    query: str
    body: bytes


class Operation(NamedTuple):
    """`path` names fields of the input in braces; the rest is the query or the body, as `form` has it."""

    summary: str
    method: str
    path: str
    form: type[BaseModel] = Strict
    # What it takes away or lets in, for good; nothing for what can be undone.
    danger: str = ""

    @property
    def safety(self) -> Safety:
        if self.danger:
            return "dangerous"
        return "read" if self.method == "GET" else "write"

    @property
    def places(self) -> list[str]:
        """The fields of the input that stand in the path."""
        return [part[1:-1] for part in self.path.split("/") if part[:1] == "{"]

    @property
    def secrets(self) -> set[str]:
        """The fields of the input that nobody should see, such as a program that lists processes."""
        extras = {name: each.json_schema_extra for name, each in self.form.model_fields.items()}
        return {name for name, extra in extras.items() if isinstance(extra, dict) and extra.get("writeOnly")}

    @property
    def input(self) -> type[BaseModel]:
        return model(self)

    def once(self, given: Mapping[str, Any], id: str) -> dict[str, Any]:
        """The input under an id of the caller's where one can be: asked again, it makes no second one."""
        makes = self.method == "POST" and "id" in self.form.model_fields
        return {"id": id, **given} if makes else dict(given)

    def request(self, given: Mapping[str, Any]) -> Request:
        """Raises pydantic's ValidationError for an input that its schema does not allow."""
        self.input.model_validate_json(to_json(given))
        path = self.path.format_map({name: quote(str(given[name]), safe="") for name in self.places})
        rest = {name: value for name, value in given.items() if name not in self.places}
        if self.method in ("GET", "DELETE"):
            said = {name: value for name, value in rest.items() if value is not None}
            return Request(self.method, path, urlencode(said), b"")
        return Request(self.method, path, "", to_json(rest) if self.form is not Strict else b"")


@cache
def model(operation: Operation) -> type[BaseModel]:
    """The input of an operation; made when it is asked for, since all of them take a while."""
    places: dict[str, Any] = dict.fromkeys(operation.places, (Id, ...))
    fields: dict[str, Any] = {
        name: (Annotated[(each.annotation, *each.metadata)] if each.metadata else each.annotation, each)
        for name, each in operation.form.model_fields.items()
    }
    made: type[BaseModel] = create_model("Input", __base__=Strict, **places, **fields)
    return made


SESSION = "/v3/sessions/{session}"

OPERATIONS = {
    "session.list": Operation("List sessions, the one used last first.", "GET", "/v3/sessions", SessionPage),
    "session.search": Operation(
        "Search what was said in sessions.", "GET", "/v3/sessions/search", SessionSearch
    ),
    "session.create": Operation("Open a session.", "POST", "/v3/sessions", SessionCreate),
    "session.show": Operation("Show a session with its history.", "GET", SESSION),
    "session.update": Operation("Rename, tag, archive or retune a session.", "PATCH", SESSION, SessionUpdate),
    "session.fork": Operation(
        "Copy a session, up to one of its turns.", "POST", f"{SESSION}/fork", SessionFork
    ),
    "session.export": Operation("Write a session as Markdown.", "GET", f"{SESSION}/export"),
    "session.context": Operation("Say what fills the model's window.", "GET", f"{SESSION}/context"),
    "session.delete": Operation(
        "Delete a session.", "DELETE", SESSION, danger="The session and all its messages are gone for good."
    ),
    "turn.submit": Operation("Queue a turn.", "POST", f"{SESSION}/turns", TurnSubmit),
    "turn.steer": Operation(
        "Add text to the turn that runs.", "POST", f"{SESSION}/turns/{{turn}}/steer", TurnSteer
    ),
    "turn.cancel": Operation(
        "End one turn, or all that run or wait.", "POST", f"{SESSION}/cancel", TurnCancel
    ),
    "job.list": Operation("List background jobs.", "GET", "/v3/background", JobFilter),
    "job.start": Operation(
        "Run a command in the background of a session.",
        "POST",
        "/v3/background",
        JobStart,
        danger="The command runs on this machine with your rights.",
    ),
    "job.show": Operation("Show a background job.", "GET", "/v3/background/{job}"),
    "job.output": Operation(
        "Read what a background job wrote.", "GET", "/v3/background/{job}/output", OutputPage
    ),
    "job.signal": Operation(
        "Send a signal to a background job.",
        "POST",
        "/v3/background/{job}/signal",
        JobSignal,
        danger="The job's processes may end with their work half done.",
    ),
    "job.remove": Operation(
        "Remove a background job.",
        "DELETE",
        "/v3/background/{job}",
        danger="The job is ended if it runs, and its output is gone for good.",
    ),
    "permission.list": Operation(
        "List what waits for a permission.", "GET", "/v3/permissions/requests", RulesOf
    ),
    "permission.answer": Operation(
        "Allow or deny what waits for a permission.", "POST", f"{SESSION}/permissions", PermissionDecision
    ),
    "rule.list": Operation("List the permission rules.", "GET", "/v3/permissions/rules", RulesOf),
    "rule.add": Operation(
        "Add a permission rule.",
        "POST",
        "/v3/permissions/rules",
        RuleAdd,
        danger="What a rule allows runs without anybody being asked.",
    ),
    "rule.remove": Operation(
        "Remove a permission rule.",
        "DELETE",
        "/v3/permissions/rules/{rule}",
        RulesOf,
        danger="What the rule denied, or asked about, may run.",
    ),
    "model.list": Operation("List the models there are.", "GET", "/v3/models"),
    "provider.add": Operation(
        "Add a model server.",
        "POST",
        "/v3/providers",
        ProviderCreate,
        danger="Prompts leave for that address when one of its models is asked for.",
    ),
    "provider.remove": Operation(
        "Remove a model server.",
        "DELETE",
        "/v3/providers/{provider}",
        danger="Its address and its key are forgotten.",
    ),
    "config.list": Operation("List the settings.", "GET", "/v3/config", SettingsQuery),
    "config.change": Operation(
        "Change settings.",
        "PATCH",
        "/v3/config",
        Change,
        danger="The settings say where prompts go, and what the daemon serves.",
    ),
    "trust.list": Operation("List the folders that were decided on.", "GET", "/v3/trust"),
    "trust.decide": Operation(
        "Trust a folder, or trust it no longer.",
        "POST",
        "/v3/trust",
        TrustDecide,
        danger="What a trusted folder brings takes effect, also what will be put into it one day.",
    ),
    "token.list": Operation("List the tokens of other programs.", "GET", "/v3/access/tokens"),
    "token.create": Operation(
        "Make a token for another program.",
        "POST",
        "/v3/access/tokens",
        TokenCreate,
        danger="Whoever has the token does what its scope allows until it is revoked.",
    ),
    "token.revoke": Operation(
        "Revoke a token.",
        "DELETE",
        "/v3/access/tokens/{token}",
        danger="The program that has the token is shut out at once.",
    ),
    "browser.invite": Operation(
        "Make a code that lets a browser in.",
        "POST",
        "/v3/access/codes",
        CodeCreate,
        danger="Whoever brings the code first does what its scope allows until the daemon ends.",
    ),
    "daemon.health": Operation("Say how the daemon is.", "GET", "/v3/health"),
    "daemon.stop": Operation(
        "Let the turns that run end, and stop the daemon.",
        "POST",
        "/v3/handoff",
        HandOff,
        danger="Turns that are not done in time are cut short; those that wait go on at the next start.",
    ),
}

# Routes of /v3 that change something and have no name here, and why.
APART = {
    (
        "POST",
        "/v3/access/browser",
    ): "A browser exchanges its code for a cookie, which only its own request gets.",
    ("DELETE", "/v3/access/browser"): "A browser signs itself out: it is about the cookie of that request.",
    ("POST", "/v3/operations/{id}"): "It runs operations.",
}
