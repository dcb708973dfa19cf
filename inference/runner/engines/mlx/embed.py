"""Embeddings: the hidden states of a model's last layer, pooled into one vector per input.

The folder's layout is sentence-transformers': modules.json, and the pooling's own config.json.
Source: https://www.sbert.net/docs/package_reference/sentence_transformer/models.html
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import _get_classes
from numpy.typing import NDArray

from inference.errors import RunnerRefused
from inference.request import Activity, Assignment
from inference.runner.engine import Job, Step
from inference.runner.engines.mlx import weights
from inference.runner.engines.mlx.caches import MlxState, evaluate
from inference.runner.engines.mlx.tokenizer import MlxTokenizer
from inference.runner.engines.mlx.weights import Weights
from inference.runner.prefix_cache import PrefixCache

# Modules that come with nothing to compute, or that are computed here.
KNOWN = {"Transformer", "Pooling", "Normalize"}
POOLINGS = {
    "pooling_mode_lasttoken": "last",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "first",
}
# Tokens that go through the model at once, of all inputs of a batch together.
TOGETHER = 4096
# Tokens of each input that go through it in one pass.
CHUNK = 512


class MlxEmbedder:
    """An Engine that makes vectors and no text. Raises whatever mlx_lm raises for a folder it cannot load,
    and ValueError for a way of pooling that is not here."""

    divisible = True
    busy = False

    def __init__(self, assignment: Assignment) -> None:
        folder = Path(assignment.path)
        self.pooling = pooling(folder)
        # Such folders hold no head; tied, the model has none of its own to miss.
        self.weights = Weights(folder, model_config={"tie_word_embeddings": True}, get_model_classes=classes)
        self.trunk = trunk(self.weights.model)
        self.context = assignment.context
        # Of its own: the session's is in use on another thread.
        self.tokenizer = MlxTokenizer(folder)
        self.prefixes: PrefixCache[MlxState] = PrefixCache(0, revive=MlxState.revive)

    @property
    def activity(self) -> Activity:
        return Activity(
            engine="mlx",
            device=weights.device(),
            dtype=self.weights.dtype,
            blas=weights.blas(),
            queued=0,
            prefilling=0,
            decoding=0,
            memory_bytes=mx.get_active_memory(),
            peak_memory_bytes=mx.get_peak_memory(),
            prefix_cache_bytes=0,
            prefix_cache_entries=0,
        )

    def room(self, job: Job) -> bool:
        return False

    def admit(self, job: Job) -> NoReturn:
        raise RunnerRefused(
            "This model makes embeddings, and does not chat. Ask a chat model.", field="model"
        )

    def remove(self, id: int) -> None:
        """There is never anything to remove."""

    def step(self, budget: int) -> Step:
        return Step([], [])

    def rest(self) -> None:
        mx.clear_cache()

    def embed(self, inputs: list[list[int]]) -> list[NDArray[np.float32]]:
        """One vector of length 1 per input, which has at least one token."""
        found: dict[int, NDArray[np.float32]] = {}
        for batch in batches(inputs):
            found |= zip(batch, self.vectors([inputs[one] for one in batch]), strict=True)
        return [found[one] for one in range(len(inputs))]

    def rank(self, query: str, documents: list[str]) -> tuple[list[float], int]:
        """Their cosine similarity to the query, from 0 (opposite) to 1 (same)."""
        texts = {"query": query} | {f"documents.{place}": text for place, text in enumerate(documents)}
        inputs = [self.tokens(field, text) for field, text in texts.items()]
        asked, *found = self.embed(inputs)
        scores = [min(max((1 + float(asked @ one)) / 2, 0.0), 1.0) for one in found]
        return scores, sum(map(len, inputs))

    def tokens(self, field: str, text: str) -> list[int]:
        tokens = self.tokenizer.plain(text)
        if not 0 < len(tokens) <= self.context:
            message = f"{field} has {len(tokens)} tokens; the model takes 1 to {self.context}."
            raise RunnerRefused(message, field=field)
        return tokens

    def vectors(self, inputs: list[list[int]]) -> NDArray[np.float32]:
        """(inputs, hidden). Padding stands behind the tokens, which do not look ahead: it changes nothing."""
        lengths = mx.array([len(tokens) for tokens in inputs])[:, None]
        longest = max(map(len, inputs))
        padded = mx.array([tokens + [0] * (longest - len(tokens)) for tokens in inputs])
        caches = make_prompt_cache(self.weights.model)
        pooled: mx.array | int = 0
        for begin in range(0, longest, CHUNK):
            hidden = self.trunk(padded[:, begin : begin + CHUNK], cache=caches).astype(mx.float32)
            place = mx.arange(begin, begin + hidden.shape[1])[None]
            pooled = pooled + mx.sum(hidden * self.share(place, lengths)[..., None], axis=1)
            evaluate(caches)
            mx.eval(pooled)
        found: NDArray[np.float32] = np.array(pooled, np.float32)
        found /= np.linalg.norm(found, axis=-1, keepdims=True)
        return found

    def share(self, place: mx.array, lengths: mx.array) -> mx.array:
        """How much the hidden state at each place counts, (inputs, places)."""
        if self.pooling == "last":
            return place == lengths - 1
        if self.pooling == "first":
            return mx.broadcast_to(place == 0, (len(lengths), place.shape[1]))
        return (place < lengths) / lengths


def batches(inputs: list[list[int]]) -> Iterator[list[int]]:
    """The inputs by number, those of like length together."""
    batch: list[int] = []
    for one in sorted(range(len(inputs)), key=lambda one: len(inputs[one])):
        if batch and (len(batch) + 1) * len(inputs[one]) > TOGETHER:
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def pooling(folder: Path) -> str:
    """ "last", "mean" or "first"; a folder that says nothing means the last token."""
    if (modules := folder / "modules.json").is_file():
        kinds = {module["type"].rpartition(".")[2] for module in json.loads(modules.read_text())}
        if kinds - KNOWN:
            raise ValueError(
                f"{folder.name} ends in modules that MLX does not serve: {sorted(kinds - KNOWN)}"
            )
    if not (config := folder / "1_Pooling" / "config.json").is_file():
        return "last"
    chosen = [
        mode for mode, on in json.loads(config.read_text()).items() if mode.startswith("pooling_mode") and on
    ]
    if len(chosen) != 1 or chosen[0] not in POOLINGS:
        raise ValueError(
            f"{folder.name} pools by {', '.join(chosen) or 'nothing'}; MLX serves {', '.join(POOLINGS)}"
        )
    return POOLINGS[chosen[0]]


def classes(config: dict[str, Any]) -> tuple[Any, Any]:
    """mlx_lm's classes, for weights that are named as the bare trunk has them or as the whole model has."""
    whole, arguments = _get_classes(config)

    class Model(whole):  # type: ignore[misc, valid-type]  # a class of mlx-lm
        def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
            bare = not any(name.startswith(("model.", "language_model.")) for name in weights)
            weights = {f"model.{name}": array for name, array in weights.items()} if bare else weights
            found: dict[str, mx.array] = super().sanitize(weights) if hasattr(whole, "sanitize") else weights
            return found

    return Model, arguments


def trunk(model: Any) -> Any:
    """The part of a model that ends in hidden states. Raises ValueError for a model built otherwise."""
    inner = getattr(model, "language_model", model)
    for name in ("model", "backbone", "transformer"):
        if callable(found := getattr(inner, name, None)):
            return found
    raise ValueError(f"{type(model).__module__} has no hidden states to make embeddings of")
