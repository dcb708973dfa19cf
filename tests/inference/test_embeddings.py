"""Embeddings and rankings over HTTP, with tiny models on both engines behind them."""

import base64
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import ollama
import openai
import pytest
from gguf import PoolingType

from tests import processes
from tests.inference.gguf import write_bert
from tests.processes import Role

EMBEDDERS = ["mlx-embed", "gguf-embed"]
TEXTS = ["the local model", "a private machine", "some of the tokens"]


@pytest.fixture(scope="module")
def lmx(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Role]:
    """An LMX with a chat model, an embedding model on either engine, and a reranker."""
    folder = tmp_path_factory.mktemp("pooling")
    shutil.copytree(models / "opta-tiny", folder / "opta-tiny")
    shutil.copytree(models / "opta-tiny", folder / "mlx-embed")
    parts = [
        {"idx": 0, "path": "", "type": "Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "Pooling"},
    ]
    (folder / "mlx-embed" / "modules.json").write_text(json.dumps(parts))
    (folder / "mlx-embed" / "1_Pooling").mkdir()
    (folder / "mlx-embed" / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    shutil.copytree(folder / "mlx-embed", folder / "mlx-nested")
    config = folder / "mlx-nested" / "config.json"
    more = {"matryoshka_dimensions": [128, 64], "max_position_embeddings": 256}
    config.write_text(json.dumps({**json.loads(config.read_text()), **more}))
    write_bert(folder / "gguf-embed.gguf", PoolingType.MEAN)
    write_bert(folder / "gguf-rank.gguf", PoolingType.RANK)
    role = processes.lmx(tmp_path_factory.mktemp("lmx"), folder)
    yield role
    role.stop()


@pytest.fixture
def client(lmx: Role) -> Iterator[openai.OpenAI]:
    """Not strict: it asks for base64, which it checks against its type before it decodes it."""
    with openai.OpenAI(base_url=f"{lmx.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def post(lmx: Role, path: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{lmx.url}/v1/{path}", json=fields, timeout=60)


def rank(lmx: Role, **fields: Any) -> dict[str, Any]:
    response = post(lmx, "rerank", **fields)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


@pytest.mark.parametrize("model", EMBEDDERS)
def test_texts_become_vectors_of_length_one(client: openai.OpenAI, model: str):
    found = client.embeddings.create(model=model, input=TEXTS)
    vectors = np.array([one.embedding for one in found.data])
    assert [one.index for one in found.data] == [0, 1, 2]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert len({tuple(vector) for vector in vectors.round(4)}) == 3
    assert found.model == model
    alone = client.embeddings.create(model=model, input=TEXTS[1])
    assert np.allclose(alone.data[0].embedding, vectors[1], atol=1e-4)
    assert 0 < alone.usage.prompt_tokens == alone.usage.total_tokens < found.usage.prompt_tokens


@pytest.mark.parametrize("model", EMBEDDERS)
def test_tokens_are_embedded_as_their_text_is(lmx: Role, client: openai.OpenAI, model: str):
    tokens = post(lmx, "tokenize", model=model, prompt=TEXTS[0]).json()["tokens"]
    text = client.embeddings.create(model=model, input=TEXTS[0]).data[0].embedding
    for given in (tokens, [tokens]):
        found = client.embeddings.create(model=model, input=given).data
        assert len(found) == 1
        assert np.allclose(found[0].embedding, text, atol=1e-4)


def test_auto_is_the_chat_model_where_any_kind_will_do(lmx: Role, client: openai.OpenAI):
    client.embeddings.create(model="mlx-embed", input=TEXTS[0])
    assert post(lmx, "tokenize", prompt=TEXTS[0]).json()["model"] == "opta-tiny"
    assert httpx.get(f"{lmx.url}/v1/models/auto").json()["id"] == "opta-tiny"


def test_numbers_come_as_text_or_as_base64(lmx: Role):
    wanted = {"model": "mlx-embed", "input": TEXTS[0]}
    floats = post(lmx, "embeddings", **wanted).json()["data"][0]["embedding"]
    packed = post(lmx, "embeddings", encoding_format="base64", **wanted).json()["data"][0]["embedding"]
    assert list(struct.unpack(f"<{len(floats)}f", base64.b64decode(packed))) == floats
    assert len(floats) == 384
    sized = post(lmx, "embeddings", dimensions=384, user="me", **wanted).json()["data"][0]["embedding"]
    assert sized == floats


def test_a_model_that_was_trained_for_it_makes_shorter_vectors(client: openai.OpenAI):
    whole = np.array(client.embeddings.create(model="mlx-nested", input=TEXTS[0]).data[0].embedding)
    found = client.embeddings.create(model="mlx-nested", input=TEXTS[0], dimensions=64).data[0].embedding
    assert np.allclose(found, whole[:64] / np.linalg.norm(whole[:64]), atol=1e-5)


@pytest.mark.parametrize("model", [*EMBEDDERS, "gguf-rank"])
def test_documents_come_in_the_order_of_their_relevance(lmx: Role, model: str):
    wanted = {"model": model, "query": TEXTS[0], "documents": [TEXTS[1], {"text": TEXTS[0]}, TEXTS[2]]}
    found = rank(lmx, **wanted)
    results = found["results"]
    scores = [one["relevance_score"] for one in results]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert sorted(one["index"] for one in results) == [0, 1, 2]
    assert [one["document"]["text"] for one in results] == [
        [TEXTS[1], TEXTS[0], TEXTS[2]][one["index"]] for one in results
    ]
    assert found["usage"]["total_tokens"] > 0
    best = rank(lmx, **wanted, top_n=1, return_documents=False)["results"]
    assert best == [{"index": results[0]["index"], "relevance_score": pytest.approx(scores[0], abs=1e-4)}]


@pytest.mark.parametrize("model", EMBEDDERS)
def test_by_an_embedding_model_nothing_is_nearer_than_the_query_itself(lmx: Role, model: str):
    best, *_ = rank(lmx, model=model, query=TEXTS[0], documents=[TEXTS[1], TEXTS[0]])["results"]
    assert best["index"] == 1
    assert best["relevance_score"] == pytest.approx(1, abs=1e-4)


def test_auto_is_a_model_of_the_kind_that_is_asked_for(lmx: Role):
    assert post(lmx, "embeddings", input="hi").json()["model"] in (*EMBEDDERS, "mlx-nested")
    assert rank(lmx, query="hi", documents=["you"])["model"] != "opta-tiny"
    assert (
        post(lmx, "apply-template", messages=[{"role": "user", "content": "hi"}]).json()["model"]
        == "opta-tiny"
    )


def test_ollamas_client_embeds_too(lmx: Role, client: openai.OpenAI):
    with ollama.Client(host=lmx.url) as asking:
        found = asking.embed("mlx-embed:latest", TEXTS)
        (alone,) = asking.embed("mlx-embed", TEXTS[1]).embeddings
        older = asking.embeddings("mlx-embed", TEXTS[1]).embedding
        (shown,) = asking.show("gguf-embed").capabilities
    ours = [one.embedding for one in client.embeddings.create(model="mlx-embed", input=TEXTS).data]
    assert np.allclose(found.embeddings, ours, atol=1e-4)
    assert np.allclose(alone, older, atol=1e-4)
    assert found.prompt_eval_count > 0
    assert 0 <= found.load_duration < found.total_duration
    assert shown == "embedding"


@pytest.mark.parametrize("model", ["mlx-nested", "gguf-embed"])
def test_ollamas_client_may_have_a_text_cut_to_what_the_model_reads(lmx: Role, model: str):
    context = httpx.get(f"{lmx.url}/v1/models/{model}").json()["lmx"]["context"]
    long = "hello " * 2 * context
    with ollama.Client(host=lmx.url) as asking:
        cut = asking.embed(model, long, truncate=True)
        short = asking.embed(model, "hello", truncate=True)
        with pytest.raises(ollama.ResponseError) as refused:
            asking.embed(model, long)
        same = asking.embed(model, "hello")
    assert cut.prompt_eval_count == context
    assert refused.value.status_code == 400
    assert short.embeddings == same.embeddings


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a chat model": ("embeddings", {"model": "opta-tiny", "input": "hi"}, "model"),
    "a reranker": ("embeddings", {"model": "gguf-rank", "input": "hi"}, "model"),
    "a chat by an embedding model": (
        "chat/completions", {"model": "mlx-embed", "messages": [{"role": "user", "content": "hi"}]}, "model",
    ),
    "no input": ("embeddings", {"input": []}, "input"),
    "too many inputs": ("embeddings", {"input": ["hi"] * 2049}, "input"),
    "an input that is neither": ("embeddings", {"input": ["hi", 7]}, "input.1"),
    "no tokens": ("embeddings", {"model": "mlx-embed", "input": [[]]}, "input"),
    "a token that there is not": ("embeddings", {"model": "mlx-embed", "input": [[1], [999_999]]}, "input"),
    "a text too long": ("embeddings", {"model": "gguf-embed", "input": ["hi", "a " * 99]}, "input"),
    "a size that the model does not have": (
        "embeddings", {"model": "mlx-embed", "input": "hi", "dimensions": 7}, "dimensions",
    ),
    "a size that the model was not trained for": (
        "embeddings", {"model": "mlx-nested", "input": "hi", "dimensions": 65}, "dimensions",
    ),
    "a format of nobody": ("embeddings", {"input": "hi", "encoding_format": "hex"}, "encoding_format"),
    "one by a chat model": ("rerank", {"model": "opta-tiny", "query": "q", "documents": ["d"]}, "model"),
    "no query": ("rerank", {"query": "", "documents": ["d"]}, "query"),
    "no documents": ("rerank", {"query": "q", "documents": []}, "documents"),
    "no document": ("rerank", {"query": "q", "documents": ["d", {"title": "d"}]}, "documents.1"),
    "a long one": ("rerank", {"model": "gguf-rank", "query": "q", "documents": ["a " * 99]}, "documents"),
    "a long one of several": (
        "rerank", {"model": "gguf-embed", "query": "q", "documents": ["d", "a " * 99]}, "documents",
    ),
    "a long query": ("rerank", {"model": "gguf-embed", "query": "a " * 99, "documents": ["d"]}, "query"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_by_its_name(lmx: Role, case: str):
    path, fields, field = REFUSED[case]
    response = post(lmx, path, **fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, field)
