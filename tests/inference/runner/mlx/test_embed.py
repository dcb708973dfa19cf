"""Embeddings by MLX: pooled as the folder says, of length 1, the same in any company."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load_model

from inference.errors import RunnerRefused
from inference.request import Assignment
from inference.runner.engines.mlx import load
from inference.runner.engines.mlx.embed import MlxEmbedder, batches, pooling
from tests.inference.runner.mlx import folders
from tests.inference.runner.mlx.asking import job, prompt
from tests.inference.runner.mlx.conftest import Engines

MODES = {
    "last": "pooling_mode_lasttoken",
    "mean": "pooling_mode_mean_tokens",
    "first": "pooling_mode_cls_token",
}


def pooled_by(folder: Path, **modes: bool) -> Path:
    (folder / "1_Pooling").mkdir(parents=True)
    config = {"word_embedding_dimension": 64, "pooling_mode_cls_token": False, **modes}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    return folder


def embedder(folder: Path, context: int = 4096) -> MlxEmbedder:
    _, engine = load(Assignment("mlx", str(folder), "embedding", context, 0))
    assert isinstance(engine, MlxEmbedder)
    return engine


def hidden(folder: Path, tokens: list[int]) -> np.ndarray:
    model: Any
    model, _ = load_model(folder)
    return np.array(model.model(mx.array([tokens]))[0].astype(mx.float32))


@pytest.mark.parametrize("way", MODES)
def test_it_pools_as_the_folder_says(way: str, engines: Engines, tmp_path: Path):
    folder = folders.write(tmp_path / "model", engines.tiny, folders.LLAMA)
    pooled_by(folder, **{MODES[way]: True})
    inputs = [prompt(1, 5), prompt(2, 700), prompt(3, 1)]
    for found, tokens in zip(embedder(folder).embed(inputs), inputs, strict=True):
        states = hidden(folder, tokens)
        expected = {"last": states[-1], "mean": states.mean(axis=0), "first": states[0]}[way]
        assert found.dtype == np.float32
        assert np.allclose(found, expected / np.linalg.norm(expected), atol=1e-4)
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("family", ["llama", "hybrid", "sliding"])
def test_an_input_gets_the_same_vector_alone_and_in_any_company(family: str, engines: Engines):
    """But for rounding, which depends on shapes."""
    engine = embedder(engines.folder(family))
    inputs = [prompt(number, 1 + 37 * number % 600) for number in range(8)]
    together = engine.embed(inputs)
    for found, tokens in zip(together, inputs, strict=True):
        assert np.allclose(found, engine.embed([tokens])[0], atol=1e-5)


def test_weights_may_be_named_as_a_bare_trunk_has_them(engines: Engines, tmp_path: Path):
    """As sentence-transformers saves them: no prefix, and no head."""
    whole = engines.folder("llama")
    bare = folders.write(tmp_path / "bare", engines.tiny, folders.LLAMA)
    weights: Any = mx.load(str(whole / "model.safetensors"))
    mx.save_safetensors(
        str(bare / "model.safetensors"),
        {name.removeprefix("model."): array for name, array in weights.items() if name.startswith("model.")},
    )
    tokens = [prompt(1, 30)]
    assert np.array_equal(embedder(bare).embed(tokens)[0], embedder(whole).embed(tokens)[0])


def test_it_ranks_by_likeness_from_0_to_1(engines: Engines):
    engine = embedder(engines.folder("llama"))
    scores, read = engine.rank("the local model", ["other words", "the local model", "stream of tokens"])
    assert scores[1] == pytest.approx(1, abs=1e-5)
    assert all(0 <= score <= 1 for score in scores)
    assert max(scores[0], scores[2]) < scores[1]
    texts = ["the local model", "other words", "the local model", "stream of tokens"]
    assert read == sum(len(engine.tokenizer.plain(text)) for text in texts)


def test_ranking_names_the_document_that_is_empty_or_too_long(engines: Engines):
    engine = embedder(engines.folder("llama"), context=8)
    for documents, field in ((["fine", ""], "documents.1"), (["word " * 50], "documents.0")):
        with pytest.raises(RunnerRefused) as refused:
            engine.rank("query", documents)
        assert refused.value.field == field


def test_an_embedding_model_does_not_chat(engines: Engines):
    engine = embedder(engines.folder("llama"))
    assert not engine.room(job(1, [5]))
    with pytest.raises(RunnerRefused, match="does not chat"):
        engine.admit(job(1, [5]))


def test_a_reranker_is_not_mistaken_for_another_kind_of_model(engines: Engines):
    with pytest.raises(ValueError, match="is a reranker model"):
        load(Assignment("mlx", str(engines.folder("llama")), "reranker", 4096, 0))


def test_without_a_word_about_pooling_it_is_the_last_token(tmp_path: Path):
    assert pooling(tmp_path) == "last"


def test_what_cannot_be_pooled_that_way_does_not_load(tmp_path: Path):
    with pytest.raises(ValueError, match="pooling_mode_max_tokens"):
        pooling(pooled_by(tmp_path / "max", pooling_mode_max_tokens=True))
    with pytest.raises(ValueError, match="pooling_mode_cls_token, pooling_mode_mean_tokens"):
        pooling(pooled_by(tmp_path / "two", pooling_mode_cls_token=True, pooling_mode_mean_tokens=True))
    dense = tmp_path / "dense"
    dense.mkdir()
    kinds = ("Transformer", "Pooling", "Dense", "Normalize")
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (dense / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match=r"\['Dense'\]"):
        pooling(dense)


def test_inputs_of_like_length_go_together_and_none_is_lost():
    inputs = [[1] * length for length in (3, 4096, 5, 2000, 2040, 1)]
    assert list(batches(inputs)) == [[5, 0, 2], [3, 4], [1]]
    assert list(batches([])) == []
