"""Background jobs on the wire: a command that is started in a session's folder and outlives its turns."""

from datetime import datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, Field, model_validator

from cli.protocol.requests import Id
from opta.strict import Strict

JobStatus = Literal["running", "exited", "killed", "lost"]
SignalName = Literal["term", "kill", "int", "hup", "quit", "usr1", "usr2"]
SIGNALS: tuple[SignalName, ...] = get_args(SignalName)

# No string with a NUL can be handed to a program.
Word = Annotated[str, Field(max_length=100_000, pattern=r"^[^\x00]*$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]


class JobStart(Strict):
    """Either `command`, a program and its arguments, or `line`, which the shell reads.

    `cwd` is taken from the session's folder, and lies in it. `env` is added to the daemon's environment and
    kept nowhere. With an `id` that exists, that job is the answer: a retried start runs once.
    """

    id: Id | None = None
    session: Id
    command: Annotated[list[Word], Field(min_length=1, max_length=1000)] | None = None
    line: Annotated[Word, Field(pattern=r"\S")] | None = None
    cwd: Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")] = "."
    env: Annotated[dict[Variable, Word], Field(max_length=100)] = {}
    label: Annotated[str, Field(max_length=200)] = ""

    @model_validator(mode="after")
    def says_what_to_run(self) -> Self:
        if (self.command is None) == (self.line is None):
            raise ValueError("Give either command or line")
        if self.command is not None and not self.command[0]:
            raise ValueError("The program's name is empty")
        return self

    @property
    def words(self) -> list[str]:
        return self.command or ["/bin/sh", "-c", self.line or ""]


class JobSignal(Strict):
    """Sent to the whole process group of the job."""

    signal: SignalName


class JobFilter(BaseModel):
    session: Id | None = None
    status: JobStatus | None = None


class JobView(BaseModel):
    """`code` is how an exited job ended, `signal` what killed one; of one that is lost neither is known."""

    id: str
    session: str
    label: str
    # As it was run: a line is the shell's argument.
    command: list[str]
    cwd: str
    # The number of its process group as well.
    pid: int
    status: JobStatus
    code: int | None
    signal: str | None
    created: datetime
    ended: datetime | None


class JobList(BaseModel):
    """The one started last comes first."""

    jobs: list[JobView]


class OutputPage(BaseModel):
    """Output is counted in bytes, from the job's beginning. `wait` is in seconds, where there is none yet."""

    after: Annotated[int, Field(ge=0, lt=2**63)] = 0
    limit: Annotated[int, Field(ge=1, le=1_000_000)] = 65_536
    wait: Annotated[float, Field(ge=0, le=60)] = 0


class OutputView(BaseModel):
    """What the job wrote to both its outputs, in the order it did; ask again after `next`.

    `start` is beyond the `after` that was asked for where older output is kept no longer. There is no
    more to come when the job has ended and `more` is false.
    """

    job: JobView
    start: int
    next: int
    more: bool
    text: str
