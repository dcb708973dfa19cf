"""MLX: the model, and continuous batching of everything that runs on it.

Written against mlx-lm 0.32.2; no other file knows its BatchGenerator. An engine belongs to the
thread that made it: MLX's streams are thread-local.
"""

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import psutil
from mlx.utils import tree_flatten
from mlx_lm.generate import BatchGenerator
from mlx_lm.models.cache import KVCache, make_prompt_cache
from mlx_lm.utils import load_model
from numpy.typing import NDArray

from inference.errors import RunnerRefused
from inference.request import Activity, Assignment
from inference.runner.engine import Job, Step, Token
from inference.runner.engines.mlx.caches import MlxState
from inference.runner.engines.mlx.sampling import sampler
from inference.runner.prefix_cache import PrefixCache
from inference.runner.tokenizer import Tokenizer

# Prompt tokens per step, of all prompts together: many when nobody decodes, few when somebody does.
PREFILL_ALONE, PREFILL_BESIDE_DECODE, PREFILL_LEAST = 2048, 128, 16
PREFILL_BATCH, COMPLETION_BATCH = 8, 32


@dataclass
class Sequence:
    """A job inside the batch."""

    id: int
    cached_tokens: int
    decoding: bool = False


class MlxEngine:
    """Raises whatever mlx_lm raises for a folder it cannot load."""

    def __init__(self, assignment: Assignment, tokenizer: Tokenizer) -> None:
        if on_cpu():
            # Compiled CPU kernels call a C++ compiler at run time: seconds at the first token, no gain after.
            mx.disable_compile()
        self.model, config = load_model(Path(assignment.path), lazy=True)
        if on_cpu() and widenable(self.model, config):
            self.model.set_dtype(mx.float32)
        mx.eval(self.model.parameters())
        self.dtype = precision(self.model, config)
        self.generator = BatchGenerator(
            self.model,
            stop_tokens=[[token] for token in tokenizer.ends],
            prefill_batch_size=PREFILL_BATCH,
            completion_batch_size=COMPLETION_BATCH,
        )
        self.sequences: dict[int, Sequence] = {}
        self.prefixes = PrefixCache(assignment.cache_bytes, revive=MlxState.revive)
        # Recurrent state and a full sliding window cannot be cut back to where a prompt ended.
        self.divisible = all(isinstance(cache, KVCache) for cache in make_prompt_cache(self.model))

    @property
    def activity(self) -> Activity:
        return Activity(
            engine="mlx",
            device="cpu" if on_cpu() else "gpu",
            dtype=self.dtype,
            blas=blas(),
            queued=0,
            prefilling=sum(not sequence.decoding for sequence in self.sequences.values()),
            decoding=sum(sequence.decoding for sequence in self.sequences.values()),
            memory_bytes=mx.get_active_memory(),
            peak_memory_bytes=mx.get_peak_memory(),
            prefix_cache_bytes=self.prefixes.nbytes,
            prefix_cache_entries=self.prefixes.entries,
        )

    @property
    def busy(self) -> bool:
        return bool(self.sequences)

    def admit(self, job: Job) -> None:
        """Add a sequence; the steps that follow prefill it."""
        hit = self.prefixes.find(job.tokens)
        cached = hit.length if hit else 0
        (uid,) = self.generator.insert(
            [job.tokens[cached:]],
            max_tokens=[job.max_tokens],
            caches=[hit.state.cut(cached)] if hit else None,
            all_tokens=[job.tokens[:cached]],
            samplers=[sampler(job.sampling.temperature, job.sampling.top_p, job.sampling.seed)],
        )
        self.sequences[uid] = Sequence(job.id, cached)

    def remove(self, id: int) -> None:
        """Forget a sequence that nobody waits for; what it prefilled is kept for the next."""
        uid = next((uid for uid, sequence in self.sequences.items() if sequence.id == id), None)
        if uid is None:
            return
        del self.sequences[uid]
        for caches, tokens in self.generator.remove([uid], return_prompt_caches=True).values():
            if tokens:
                self.prefixes.keep(tokens, MlxState(caches, len(tokens)))

    def room(self, job: Job) -> bool:
        return True

    def embed(self, inputs: list[list[int]]) -> list[NDArray[np.float32]]:
        raise RunnerRefused("This model is not for embeddings.", field="model")

    def rank(self, query: str, documents: list[str]) -> tuple[list[float], int]:
        raise RunnerRefused("This model is not for ranking.", field="model")

    def step(self, budget: int) -> Step:
        """One token for everyone who decodes, and a piece of the prompt of everyone who does not yet."""
        self.generator.prefill_step_size = self.prefill_size()
        prompts, answers = self.generator.next()
        for prompt in prompts:
            if prompt.end_of_prompt:
                self.begin_decoding(prompt.uid)
        return Step([self.settle(answer) for answer in answers], [])

    def prefill_size(self) -> int:
        waiting = sum(not sequence.decoding for sequence in self.sequences.values())
        if waiting == len(self.sequences):
            return PREFILL_ALONE
        return max(PREFILL_LEAST, PREFILL_BESIDE_DECODE // min(max(waiting, 1), PREFILL_BATCH))

    def begin_decoding(self, uid: int) -> None:
        self.sequences[uid].decoding = True
        if not self.divisible:
            for caches, tokens in self.generator.extract_cache([uid]).values():
                self.prefixes.keep(tokens, MlxState(caches, len(tokens)))

    def settle(self, answer: Any) -> Token:
        sequence = self.sequences[answer.uid]
        if answer.finish_reason:
            del self.sequences[answer.uid]
            tokens = answer.all_tokens
            self.prefixes.keep(tokens, MlxState(answer.prompt_cache, len(tokens)))
        return Token(sequence.id, answer.token, answer.finish_reason, sequence.cached_tokens)


def arrays(model: Any) -> list[mx.array]:
    named: Any = tree_flatten(model.parameters())
    return [array for _, array in named]


def on_cpu() -> bool:
    return bool(mx.default_device().type == mx.DeviceType.cpu)


def widenable(model: Any, config: dict[str, Any]) -> bool:
    """Whether the weights may become f32, a CPU's fastest: they are not quantized, and memory has room."""
    if "quantization" in config or "quantization_config" in config:
        return False
    parameters = sum(array.size for array in arrays(model))
    return parameters * 4 < psutil.virtual_memory().available * 0.7


def precision(model: Any, config: dict[str, Any]) -> str:
    """How the weights are held: the dtype of most of them, or the bits they were quantized to."""
    if bits := config.get("quantization", {}).get("bits"):
        return f"{bits}-bit"
    sizes: Counter[str] = Counter()
    for array in arrays(model):
        sizes[str(array.dtype).removeprefix("mlx.core.")] += array.nbytes
    return sizes.most_common(1)[0][0]


def blas() -> str:
    """What multiplies matrices on the CPU here; what is loaded, not what was asked for."""
    if not on_cpu():
        return "none"
    if sys.platform == "darwin":
        return "accelerate"
    return "openblas" if "/libopenblas" in Path("/proc/self/maps").read_text() else "reference"
