"""LMX: OpenAI's wire, and what LMX tells of itself beyond it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from cli.clients.openai import Model, OpenAI, wire
from cli.clients.server import Card
from cli.protocol.failures import LMX_UNREACHABLE
from cli.protocol.messages import Message


@dataclass(frozen=True)
class Read:
    """A path of LMX's, and the query it takes."""

    path: str
    query: frozenset[str] = frozenset()


# What may be read of LMX through the daemon. Nothing here changes LMX.
READS = {
    "health": Read("/healthz"),
    "ready": Read("/readyz"),
    "status": Read("/admin/status"),
    "models": Read("/v1/models"),
    "prefix-cache": Read("/admin/prefix-cache", frozenset({"model"})),
}


class Count(BaseModel):
    count: int


class LMX(OpenAI):
    """`url` may be given with /v1 at its end, or without. It stays on the LAN unless told otherwise."""

    unreachable = LMX_UNREACHABLE

    def __init__(self, url: str, name: str = "LMX", *, lan: bool = True, **options: Any) -> None:
        super().__init__(url.rstrip("/").removesuffix("/v1"), name, lan=lan, **options)
        self.base = f"{self.url}/v1"

    @property
    def title(self) -> str:
        return "LMX" if self.name.lower() == "lmx" else f"LMX {self.name}"

    async def card(self, model: str) -> Card:
        found = self.parse(Model, await self.fetch(f"{self.base}/models/{quote(model)}"))
        return Card(context=found.known.context, counts=found.lmx is not None)

    async def count(self, model: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> int:
        """By the model's own template and tokenizer; a model that is not loaded is loaded for it."""
        body = {"model": model, "messages": [wire(message) for message in messages]}
        asked = {**body, "tools": list(tools)} if tools else body
        within = self.limits.first_token_seconds
        said = await self.fetch(f"{self.base}/tokenize", method="POST", within=within, json=asked)
        return self.parse(Count, said).count

    async def read(self, name: str, query: Mapping[str, str]) -> bytes:
        """What stands at one of READS, as LMX wrote it. Raises Refused with LMX's status."""
        return await self.fetch(f"{self.url}{READS[name].path}", params=dict(query))
