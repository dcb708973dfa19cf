"""The models that can be asked for, and the servers that have them."""

from pydantic import BaseModel


class ModelView(BaseModel):
    """`id` is the name to ask for it by. `context` is in tokens, `size_bytes` on its server's disk; null is
    what the server does not say."""

    id: str
    provider: str
    context: int | None
    loaded: bool | None
    size_bytes: int | None


class ProviderView(BaseModel):
    """A model server; `problem` says what is wrong when it is not healthy, and what to do about it."""

    name: str
    kind: str
    url: str
    healthy: bool
    problem: str = ""


class ModelList(BaseModel):
    """The models of all healthy servers; LMX's own come first."""

    models: list[ModelView]
    providers: list[ProviderView]
