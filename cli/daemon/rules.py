"""Where permission rules are kept: the user's and a project's in files, a session's in its row."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from cli.agent import policy
from cli.daemon.errors import BadRules, StorageFailed, UnknownRule, UnknownSession, Untrusted
from cli.daemon.models import Session
from cli.protocol.permissions import ACTIONS, RuleAdd, Rules, RuleScope, RuleView
from cli.trust import too_wide, trusted
from opta import paths
from opta.errors import Refusal

NAME = "permissions.json"
ORDER: tuple[RuleScope, ...] = get_args(RuleScope)


@dataclass(frozen=True)
class Source:
    """Rules that are kept together. `base` is where their paths begin, `file` is none for a session's."""

    scope: RuleScope
    base: Path
    rules: Rules
    session: str = ""
    file: Path | None = None

    @property
    def where(self) -> str:
        return str(self.file or self.session)

    def views(self) -> Iterator[RuleView]:
        for action in ACTIONS:
            for pattern in getattr(self.rules, action):
                said = "\0".join((self.scope, self.where, action, pattern))
                id = sha256(said.encode()).hexdigest()[:16]
                yield RuleView(id=id, action=action, pattern=pattern, scope=self.scope, where=self.where)

    def store(self, rules: Rules) -> None:
        values = rules.model_dump()
        if self.file is None:
            Session.objects.filter(id=self.session).update(rules=values)
            return
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            paths.replace(self.file.resolve(), json.dumps(values, ensure_ascii=False, indent=2) + "\n")
        except OSError as error:
            raise StorageFailed(f"{self.file} could not be written: {error.strerror}.") from error


def holding(session: Session) -> list[policy.Rule]:
    """Every rule that holds in a session. Raises BadRules."""
    found = []
    for source in sources(session):
        for action in ACTIONS:
            for pattern in getattr(source.rules, action):
                found.append(policy.rule(action, pattern, source.scope, source.where, source.base))
    return found


def listed(session: str | None) -> list[RuleView]:
    """The user's rules, and those that hold in a session besides. Raises UnknownSession or BadRules."""
    return [view for source in sources(named(session)) for view in source.views()]


def add(request: RuleAdd) -> tuple[RuleView, bool]:
    """The rule, and whether it is new. Raises UnknownSession, Untrusted, or BadRules."""
    source = kept(request.scope, named(request.session))
    before = getattr(source.rules, request.action)
    new = request.pattern not in before
    if new:
        source.store(source.rules.model_copy(update={request.action: [*before, request.pattern]}))
        source = kept(request.scope, named(request.session))
    views = (view for view in source.views() if view.action == request.action)
    return next(view for view in views if view.pattern == request.pattern), new


def remove(id: str, session: str | None) -> None:
    """Raises UnknownRule, UnknownSession, or BadRules."""
    for source in sources(named(session)):
        for view in source.views():
            if view.id == id:
                left = [each for each in getattr(source.rules, view.action) if each != view.pattern]
                source.store(source.rules.model_copy(update={view.action: left}))
                return
    raise UnknownRule(id)


def sources(session: Session | None) -> list[Source]:
    """The user's, and for a session those of its projects, the nearest first, and its own."""
    base = Path(session.cwd) if session else Path.home()
    found = [Source("user", base, read(user_file()), file=user_file())]
    if session:
        files = (file_of(folder) for folder in projects(base) if file_of(folder).is_file())
        found += [Source("project", file.parent.parent, read(file), file=file) for file in files]
        found.append(own(session))
    return found


def kept(scope: RuleScope, session: Session | None) -> Source:
    """Where a new rule of this scope goes. Raises Untrusted for a project whose rules do not hold."""
    if scope == "user" or session is None:
        return sources(None)[0]
    if scope == "session":
        return own(session)
    there = [source for source in sources(session) if source.scope == "project"]
    if there:
        return there[0]
    folder = Path(session.project)
    if too_wide(folder.resolve()):
        message = f"{folder} is no project: what holds there holds everywhere. Add a rule of the user."
        raise Refusal(message, field="scope")
    if not trusted(folder):
        raise Untrusted(folder)
    return Source("project", folder, Rules(), file=file_of(folder))


def own(session: Session) -> Source:
    rules = Rules.model_validate(session.rules)
    return Source("session", Path(session.cwd), rules, session=session.id)


def projects(cwd: Path) -> list[Path]:
    """The folders from `cwd` upward whose rules hold: those that are trusted."""
    folders = (folder for folder in (cwd, *cwd.parents) if not too_wide(folder.resolve()))
    return [folder for folder in folders if file_of(folder) != user_file() and trusted(folder)]


def user_file() -> Path:
    return paths.private(paths.opta_home()) / NAME


def file_of(folder: Path) -> Path:
    return folder / ".opta" / NAME


def read(file: Path) -> Rules:
    """Raises BadRules for a file that cannot be read: a rule that is not known might have been a denial."""
    try:
        return Rules.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Rules()
    except OSError as error:
        raise BadRules(f"{file}: {error.strerror}.") from error
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(str(part) for part in wrong["loc"])
        raise BadRules(f"{file}: {f'{where}: ' if where else ''}{wrong['msg']}.") from error


def named(session: str | None) -> Session | None:
    """Raises UnknownSession."""
    found = Session.objects.filter(id=session).first() if session else None
    if session and found is None:
        raise UnknownSession(session)
    return found
