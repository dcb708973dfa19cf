"""`/v1/tokenize`, `/v1/detokenize`, `/v1/apply-template`: what a model reads, without an answer to it."""

from django.http import HttpRequest, HttpResponse
from ninja import Router

from inference.api.dialect import answer
from inference.api.docs import responses
from inference.api.front import pool_of
from inference.catalog import ANY
from inference.errors import RunnerRefused
from inference.request import Raw, Tokenize, Tokens
from inference.schemas.tokens import (
    Detokenized,
    DetokenizeRequest,
    Rendered,
    TemplateRequest,
    Tokenized,
    TokenizeRequest,
)

router = Router(tags=["Tokens"])


@router.post("/tokenize", summary="Tokenize", openapi_extra=responses(Tokenized))
async def tokenize(request: HttpRequest, wanted: TokenizeRequest) -> HttpResponse:
    """The tokens of a text, behind what the model expects at the very beginning, or those of a chat."""
    pool = pool_of(request)
    model = pool.find(wanted.model, ANY)
    found = await pool.ask(model, Tokenize(0, wanted.asked), Tokens)
    return answer(Tokenized(model.id, len(found.tokens), model.context, found.tokens))


@router.post("/detokenize", summary="Detokenize", openapi_extra=responses(Detokenized))
async def detokenize(request: HttpRequest, wanted: DetokenizeRequest) -> HttpResponse:
    """The text of tokens, markers included."""
    pool = pool_of(request)
    model = pool.find(wanted.model, ANY)
    try:
        found = await pool.ask(model, Tokenize(0, Raw(wanted.tokens)), Tokens)
    except RunnerRefused as error:
        error.field = "tokens"  # a runner knows prompts alone
        raise
    return answer(Detokenized(model.id, found.text))


@router.post("/apply-template", summary="Apply template", openapi_extra=responses(Rendered))
async def apply_template(request: HttpRequest, wanted: TemplateRequest) -> HttpResponse:
    """The prompt that the model's chat template makes of a chat, up to where the answer begins."""
    pool = pool_of(request)
    model = pool.find(wanted.model)
    found = await pool.ask(model, Tokenize(0, wanted.asked), Tokens)
    return answer(Rendered(model.id, found.text, len(found.tokens)))
