"""`POST /v1/embeddings`: texts as vectors."""

import asyncio
import math
import struct
from base64 import b64encode

from django.http import HttpRequest, HttpResponse
from ninja import Router

from inference.api.dialect import answer
from inference.api.docs import responses
from inference.api.front import pool_of
from inference.catalog import EMBED, Model
from inference.metadata import nests
from inference.pool import Pool
from inference.request import Embed, Plain, Raw, Vectors
from inference.schemas.embeddings import Embedding, EmbeddingList, EmbeddingsRequest, EmbeddingsUsage
from opta.errors import Refusal

router = Router(tags=["OpenAI"])
FLOAT = 4  # bytes


@router.post("/embeddings", summary="Embeddings", openapi_extra=responses(EmbeddingList))
async def embeddings(request: HttpRequest, wanted: EmbeddingsRequest) -> HttpResponse:
    """One vector of length 1 for each input, in their order."""
    pool = pool_of(request)
    model = pool.find(wanted.model, EMBED)
    found = await vectors(pool, model, wanted.input, wanted.dimensions)
    tell = base64 if wanted.encoding_format == "base64" else floats
    data = [Embedding(tell(vector), index) for index, vector in enumerate(found.vectors)]
    return answer(EmbeddingList(data, model.id, EmbeddingsUsage(found.prompt_tokens, found.prompt_tokens)))


async def vectors(pool: Pool, model: Model, inputs: list[Plain | Raw], dimensions: int | None) -> Vectors:
    """Raises Refusal, also for a number of dimensions that the model does not make."""
    found = await pool.ask(model, Embed(0, inputs), Vectors)
    own = len(found.vectors[0]) // FLOAT
    if dimensions in (None, own):
        return found
    if dimensions > own or not await asyncio.to_thread(nests, model, dimensions):
        raise Refusal(f"Vectors of {model.id} have {own} dimensions, not {dimensions}.", field="dimensions")
    return Vectors(0, [shortened(vector, dimensions) for vector in found.vectors], found.prompt_tokens)


def shortened(vector: bytes, dimensions: int) -> bytes:
    """Its first numbers, of length 1 together again."""
    kept = floats(vector)[:dimensions]
    length = math.hypot(*kept) or 1.0
    return struct.pack(f"<{dimensions}f", *(number / length for number in kept))


def floats(vector: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(vector) // FLOAT}f", vector))


def base64(vector: bytes) -> str:
    return b64encode(vector).decode()
