"""`POST /v1/rerank`: documents in the order of their relevance to a query."""

from secrets import token_hex

from django.http import HttpRequest, HttpResponse
from ninja import Router

from inference.api.dialect import answer
from inference.api.docs import responses
from inference.api.front import pool_of
from inference.catalog import RANK
from inference.request import Rank, Scores
from inference.schemas.rerank import Ranked, Ranking, RerankRequest, RerankUsage, Result

router = Router(tags=["Rerank"])


@router.post("/rerank", summary="Rerank", openapi_extra=responses(Ranking))
async def rerank(request: HttpRequest, wanted: RerankRequest) -> HttpResponse:
    """By a reranker, or by the nearness of an embedding model's vectors."""
    pool = pool_of(request)
    model = pool.find(wanted.model, RANK)
    found = await pool.ask(model, Rank(0, wanted.query, wanted.documents), Scores)
    usage = RerankUsage(found.prompt_tokens, found.prompt_tokens)
    return answer(Ranking(f"rerank-{token_hex(12)}", model.id, results(wanted, found.scores), usage))


def results(wanted: RerankRequest, scores: list[float]) -> list[Result]:
    """Equal scores keep the documents' order."""
    best = sorted(range(len(scores)), key=lambda index: -scores[index])[: wanted.top_n]
    told = wanted.return_documents is not False
    return [Result(at, scores[at], Ranked(wanted.documents[at]) if told else None) for at in best]
