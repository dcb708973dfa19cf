"""Embedding models and rerankers in llama.cpp."""

from collections.abc import Callable

import numpy as np
import pytest

from inference.errors import RunnerRefused
from inference.runner.engines.gguf import library
from tests.inference.gguf import LENGTH
from tests.inference.runner.gguf.conftest import Loaded
from tests.inference.runner.gguf.running import job

TEXTS = ["a b c", "local model 1", "z", "a b c d e f g"]


@pytest.fixture(scope="module")
def embedding(load_gguf: Callable[..., Loaded]) -> Loaded:
    return load_gguf("tiny-embedding", "embedding", LENGTH, 0)


@pytest.fixture(scope="module")
def reranker(load_gguf: Callable[..., Loaded]) -> Loaded:
    return load_gguf("tiny-reranker", "reranker", LENGTH, 0)


def test_vectors_have_length_one_and_neighbours_change_nothing(embedding: Loaded):
    tokenizer, engine = embedding
    inputs = [tokenizer.plain(text) for text in TEXTS * 40]
    together = engine.embed(inputs)
    assert np.allclose(np.linalg.norm(together, axis=1), 1)
    for place, tokens in enumerate(inputs[: len(TEXTS)]):
        (alone,) = engine.embed([tokens])
        assert alone.dtype == np.float32
        assert np.allclose(alone, together[place], atol=1e-3)
        assert np.allclose(together[place], together[place + len(TEXTS)], atol=1e-3)


def test_encoders_get_their_marks_around_a_text(embedding: Loaded):
    tokenizer, _ = embedding
    assert tokenizer.decode(tokenizer.plain("a")) == "[CLS] a[SEP]"


def test_relevance_is_from_0_to_1_and_of_each_document_alone(reranker: Loaded):
    _, engine = reranker
    scores, tokens = engine.rank("a b", TEXTS)
    assert all(0 < score < 1 for score in scores)
    assert len(set(scores)) == len(TEXTS)
    assert np.isclose(engine.rank("a b", TEXTS[2:3])[0][0], scores[2], atol=1e-3)
    # [CLS] a b [SEP] z [SEP]
    assert engine.rank("a b", ["z"])[1] == 6
    assert tokens > 4 * 6


def test_a_pair_too_long_is_refused_with_both_numbers(reranker: Loaded):
    _, engine = reranker
    with pytest.raises(RunnerRefused, match=f"document 1 has .* tokens; the model takes 1 to {LENGTH}"):
        engine.rank("a", ["b", "c " * LENGTH])


def test_each_does_its_own_alone(embedding: Loaded, reranker: Loaded):
    near, _ = embedding[1].rank("a", ["a", "b c"])
    assert np.isclose(near[0], 1) and 0 <= near[1] < 1
    with pytest.raises(RunnerRefused, match="not for embeddings"):
        reranker[1].embed([[5]])
    with pytest.raises(RunnerRefused, match="does not continue text"):
        embedding[1].admit(job(1, [5]))


def test_an_encoder_cannot_chat(load_gguf: Callable[..., Loaded]):
    with pytest.raises((RunnerRefused, library.LibraryError)):
        load_gguf("tiny-embedding", "chat", LENGTH, 0)
