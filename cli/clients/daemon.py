"""The daemon as a client sees it: sessions, turns, and a turn's events whatever happens to the connection."""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ValidationError

from cli.clients import http
from cli.output import Exit, Failure
from cli.protocol.catalogue import ModelList
from cli.protocol.context import ContextView
from cli.protocol.events import ENDINGS, Event
from cli.protocol.operations import OperationRun
from cli.protocol.requests import Problem, TurnCancel, TurnSubmit, TurnView
from cli.protocol.sessions import (
    SessionCreate,
    SessionDetail,
    SessionFork,
    SessionHit,
    SessionHits,
    SessionList,
    SessionUpdate,
    SessionView,
)

# The daemon sends at least a ping this often; a longer silence is a dead connection.
SILENCE = 60.0
# The code of a daemon's answer that has begun to stop.
STOPPING = "daemon_stopped"
# Sessions that are asked for at once.
PAGE = 1000
# What an id may begin with.
BEGINNING = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Seconds before each try to get a broken connection back.
BACK_OFF = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Address:
    """Where a daemon listens, and the token that opens it."""

    url: str
    token: str


class Refused(Failure):
    """The daemon understood and said no; `status` is HTTP's, `reason` the code of its problem document."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        code = {401: Exit.NOT_PERMITTED, 403: Exit.NOT_PERMITTED, 422: Exit.MISUSE, 400: Exit.MISUSE}
        super().__init__(message, code.get(status, Exit.ERROR))
        self.status = status
        self.reason = reason


class Daemon:
    """Requests to the daemon. `locate` finds (and may start) it, at first and after it went away."""

    def __init__(self, locate: Callable[[], Address]) -> None:
        self.locate = locate
        self.address = locate()

    def create(self, **fields: Any) -> SessionView:
        body = checked(SessionCreate, id=new_id(), **fields)
        return SessionView.model_validate_json(self.call("POST", "/v3/sessions", body))

    def sessions(self, limit: int = 100, **asked: str) -> list[SessionView]:
        """Those used last, of those asked for by the fields of SessionFilter."""
        found: list[SessionView] = []
        while limit > len(found):
            query = urlencode({**asked, "limit": min(limit - len(found), PAGE)})
            page = SessionList.model_validate_json(self.call("GET", f"/v3/sessions?{query}"))
            found += page.sessions
            if page.next is None:
                break
            asked["before"] = page.next
        return found

    def search(self, words: str, limit: int = 20, **asked: str) -> list[SessionHit]:
        """The best match first; `asked` as for a list."""
        query = urlencode({**asked, "q": words, "limit": limit})
        return SessionHits.model_validate_json(self.call("GET", f"/v3/sessions/search?{query}")).hits

    def session(self, session: str) -> SessionDetail:
        return SessionDetail.model_validate_json(self.call("GET", at(session)))

    def latest(self, cwd: Path) -> SessionView:
        """The session of a folder that was used last. Raises Failure when it has none."""
        found = self.sessions(1, cwd=str(cwd))
        if not found:
            hint = "`opta sessions` lists those of other folders."
            raise Failure(f"There is no session of {cwd}.", Exit.MISUSE, hint)
        return found[0]

    def context(self, session: str) -> ContextView:
        return ContextView.model_validate_json(self.call("GET", at(session, "/context")))

    def models(self) -> ModelList:
        """The models of every server that the daemon asks, and how healthy each server is."""
        return ModelList.model_validate_json(self.call("GET", "/v3/models"))

    def update(self, session: str, **fields: Any) -> SessionView:
        return SessionView.model_validate_json(
            self.call("PATCH", at(session), checked(SessionUpdate, **fields))
        )

    def fork(self, session: str, **fields: Any) -> SessionView:
        body = checked(SessionFork, id=new_id(), **fields)
        return SessionView.model_validate_json(self.call("POST", at(session, "/fork"), body))

    def delete(self, session: str) -> None:
        self.call("DELETE", at(session))

    def export(self, session: str, format: str) -> bytes:
        return self.call("GET", at(session, f"/export?format={format}"))

    def resolve(self, beginning: str) -> str:
        """The id of the one session that begins so; else `beginning`, for the daemon to judge."""
        if not BEGINNING.fullmatch(beginning):
            raise Failure(f"{beginning!r} is no session's id.", Exit.ERROR, "`opta sessions` lists them.")
        ids = [session.id for session in self.sessions(PAGE, id=beginning, archived="any")]
        if len(ids) > 1 and beginning not in ids:
            message = f"Several sessions begin with {beginning!r}."
            raise Failure(message, Exit.MISUSE, "Write more of the id; `opta sessions` lists them.")
        return ids[0] if len(ids) == 1 else beginning

    def submit(
        self, session: str, text: str, *, turn: str, model: str | None = None, interactive: bool = False
    ) -> TurnView:
        """Queue a turn under an id of the caller's, who can so cancel it, and ask again after a failure.

        `interactive`: somebody is there to allow what its tools want.
        """
        body = checked(TurnSubmit, id=turn, text=text, model=model, interactive=interactive)
        return TurnView.model_validate_json(self.call("POST", at(session, "/turns"), body))

    def cancel(self, session: str, turn: str | None = None) -> None:
        self.call("POST", f"/v3/sessions/{session}/cancel", TurnCancel(turn=turn))

    def operate(self, id: str, given: dict[str, Any], *, confirm: bool = False) -> bytes:
        """What an operation answers; what is dangerous is refused unless it is confirmed."""
        return self.call("POST", f"/v3/operations/{id}", OperationRun(input=given, confirm=confirm))

    def follow(self, session: str, turn: TurnView) -> Iterator[Event]:
        """The turn's events to its end, each once: a broken stream is taken up after the last one seen."""
        after, tries = turn.seq, iter(BACK_OFF)
        while True:
            try:
                for event in self.stream(session, after):
                    after, tries = event.seq, iter(BACK_OFF)
                    if event.turn != turn.id:
                        continue
                    yield event
                    if isinstance(event.event, ENDINGS):
                        return
            except http.Broken:
                pass  # as is a stream that ended before the turn did: locate and resume
            self.relocate(tries)

    def stream(self, session: str, after: int) -> Iterator[Event]:
        """The session's events after a number, as they come, for as long as the connection holds."""
        headers = {"Last-Event-ID": str(after), "Accept": "text/event-stream"}
        with self.send("GET", f"/v3/sessions/{session}/stream", headers=headers, timeout=SILENCE) as answer:
            for data in http.frames(answer):
                if event := parsed(data):
                    yield event

    def call(self, method: str, path: str, body: BaseModel | None = None) -> bytes:
        """One request, repeated while the daemon restarts: what creates carries an id of ours."""
        tries = iter(BACK_OFF)
        while True:
            try:
                with self.send(method, path, body=body.model_dump_json() if body else None) as answer:
                    return answer.read()
            except http.Broken:
                self.relocate(tries)

    def send(
        self, method: str, path: str, headers: dict[str, str] | None = None, **rest: Any
    ) -> HTTPResponse:
        """An answer that is 2xx. Raises Refused, or one of http.Broken, as for a daemon about to stop."""
        said = {"Authorization": f"Bearer {self.address.token}", **(headers or {})}
        answer = http.send(method, self.address.url + path, headers=said, **rest)
        if answer.status < 400:
            return answer
        with answer:
            refused = problem(answer.status, answer.read())
        if answer.status in (401, 429) and (found := self.locate()) != self.address:
            # Another daemon listens there since: the token is new at each start.
            self.address = found
            return self.send(method, path, headers, **rest)
        if refused.reason == STOPPING:
            raise ConnectionAbortedError(refused.message)
        raise refused

    def relocate(self, tries: Iterator[float]) -> None:
        pause = next(tries, None)
        if pause is None:
            raise Failure(
                f"The daemon at {self.address.url} keeps dropping the connection.",
                Exit.DAEMON_UNREACHABLE,
                "`opta daemon logs` says why; `opta daemon stop` ends it.",
            )
        time.sleep(pause)
        self.address = self.locate()


def at(session: str, rest: str = "") -> str:
    """The path of a session, whatever a user wrote as its id."""
    return f"/v3/sessions/{quote(session, safe='')}{rest}"


def new_id() -> str:
    return uuid.uuid4().hex


def checked(kind: type[BaseModel], **fields: Any) -> BaseModel:
    """The request body, refused here when it breaks the protocol: no need to ask the daemon."""
    try:
        return kind(**fields)
    except ValidationError as error:
        wrong = error.errors()[0]
        said = wrong["msg"].removeprefix("Value error, ")
        raise Failure(f"{wrong['loc'][0]}: {said}.", Exit.MISUSE) from error


def parsed(data: bytes) -> Event | None:
    """An event; None for one of a kind that only a newer daemon knows."""
    try:
        return Event.model_validate_json(data)
    except ValidationError as error:
        if any(each["type"] != "union_tag_invalid" for each in error.errors()):
            raise
        return None


def problem(status: int, body: bytes) -> Refused:
    """An application/problem+json answer as a failure; anything else is told as it is."""
    try:
        said = Problem.model_validate_json(body)
    except ValidationError:
        return Refused(status, "", f"The daemon answered {status}: {body[:200].decode(errors='replace')!r}.")
    return Refused(status, said.code, said.detail)
