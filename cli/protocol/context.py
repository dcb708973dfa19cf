"""What fills a model's window, as `GET /v3/sessions/{id}/context` says it."""

from pydantic import BaseModel


class ContextPart(BaseModel):
    """`name` is "system", "instructions", "tools", "summary", "user", "assistant" or "results"."""

    name: str
    tokens: int


class ContextView(BaseModel):
    """The next request of a session, without the message that will make it one.

    Tokens of the whole are the server's where `exact` is true, else estimated; the parts share them by
    their bytes. What compaction leaves out is in `left_out`, in messages; all of them are stored.
    """

    model: str
    window: int
    # Whether the server tells the window; if not, it is what was learnt of it, or a guess.
    told: bool
    exact: bool
    used: int
    parts: list[ContextPart]
    # Kept for the answer and for what tools answer next.
    reserve: int
    free: int
    left_out: int
