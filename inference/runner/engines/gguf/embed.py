"""Embedding models and rerankers through llama.cpp: whole texts in, one vector or one score out of each."""

import math
from collections.abc import Iterator

import llama_cpp as C
import numpy as np
from numpy.typing import NDArray

from inference.errors import RunnerRefused
from inference.request import Activity, Assignment
from inference.runner.engine import Job, Step
from inference.runner.engines.gguf.library import Batch, Context, LibraryError, Model, Shape
from inference.runner.engines.gguf.states import Saved
from inference.runner.engines.gguf.threads import cores
from inference.runner.engines.gguf.tokenizer import GgufTokenizer
from inference.runner.prefix_cache import PrefixCache

# Texts that are computed together at most.
TOGETHER = 64
# Encoders look at a whole text at once, so a batch holds the longest one, and many short ones.
BATCH = 512


class Embedder:
    """An Engine that generates nothing. Raises LibraryError when llama.cpp has no room for the context."""

    busy = False
    divisible = True

    def __init__(self, assignment: Assignment, model: Model, tokenizer: GgufTokenizer) -> None:
        self.model, self.tokenizer, self.kind = model, tokenizer, assignment.kind
        self.limit = assignment.context
        size = max(BATCH, assignment.context)
        self.context = Context(model, Shape(size, TOGETHER, size, size, pooled=True))
        self.context.use_threads(cores())
        self.batch = Batch(size)
        pooling = C.llama_pooling_type(self.context.pointer)
        if pooling in (C.LLAMA_POOLING_TYPE_NONE, C.LLAMA_POOLING_TYPE_UNSPECIFIED):
            raise LibraryError("the file does not say how the model pools its vectors")
        self.ranks = pooling == C.LLAMA_POOLING_TYPE_RANK
        classes, width = C.llama_model_n_cls_out(model.pointer), C.llama_model_n_embd_out(model.pointer)
        self.width = classes if self.ranks else width
        self.prefixes: PrefixCache[Saved] = PrefixCache(0, revive=never)

    @property
    def activity(self) -> Activity:
        return Activity(
            engine="gguf",
            device=self.model.device,
            dtype=self.model.dtype,
            blas="ggml" if self.model.device == "cpu" else "none",
            queued=0,
            prefilling=0,
            decoding=0,
            memory_bytes=self.model.nbytes,
            peak_memory_bytes=self.model.nbytes,
            prefix_cache_bytes=0,
            prefix_cache_entries=0,
        )

    def room(self, job: Job) -> bool:
        return False

    def admit(self, job: Job) -> None:
        raise RunnerRefused("This model does not continue text.", field="model")

    def remove(self, id: int) -> None:
        """There is never a job."""

    def step(self, budget: int) -> Step:
        return Step([], [])

    def rest(self) -> None:
        """All of llama.cpp's memory was set aside at the load."""

    def embed(self, inputs: list[list[int]]) -> list[NDArray[np.float32]]:
        if self.ranks:
            raise RunnerRefused("This model is for ranking, not for embeddings.", field="model")
        return [unit(vector) for vector in self.pooled(inputs)]

    def rank(self, query: str, documents: list[str]) -> tuple[list[float], int]:
        if not self.ranks:
            return self.near(query, documents)
        pairs = [self.pair(query, document) for document in documents]
        for place, pair in enumerate(pairs):
            self.fits(pair, f"Query with document {place}", "documents")
        return [relevance(classes) for classes in self.pooled(pairs)], sum(map(len, pairs))

    def near(self, query: str, documents: list[str]) -> tuple[list[float], int]:
        """Of an embedding model: their cosine similarity to the query, from 0 (opposite) to 1 (same)."""
        texts = [self.tokenizer.plain(text) for text in (query, *documents)]
        self.fits(texts[0], "The query", "query")
        for place, text in enumerate(texts[1:]):
            self.fits(text, f"Document {place}", "documents")
        asked, *found = self.embed(texts)
        scores = [min(max((1 + float(asked @ one)) / 2, 0.0), 1.0) for one in found]
        return scores, sum(map(len, texts))

    def fits(self, tokens: list[int], what: str, field: str) -> None:
        if not 0 < len(tokens) <= self.limit:
            raise RunnerRefused(
                f"{what} has {len(tokens)} tokens; the model takes 1 to {self.limit}.", field=field
            )

    def pair(self, query: str, document: str) -> list[int]:
        """By the file's own template, else as rerankers are trained: BOS query EOS SEP document EOS, with
        those marks that the model has; one without EOS ends by SEP."""
        encode, vocabulary = self.tokenizer.encode, self.model.vocabulary
        if template := self.model.meta("tokenizer.chat_template.rerank"):
            parts = [part.replace("{query}", query) for part in template.split("{document}")]
            return encode(document.join(parts))
        begin = [C.llama_vocab_bos(vocabulary)] if C.llama_vocab_get_add_bos(vocabulary) else []
        end = [C.llama_vocab_eos(vocabulary)] if C.llama_vocab_get_add_eos(vocabulary) else []
        middle = [C.llama_vocab_sep(vocabulary)] if C.llama_vocab_get_add_sep(vocabulary) else []
        return [*begin, *encode(query), *end, *middle, *encode(document), *(end or middle)]

    def pooled(self, texts: list[list[int]]) -> Iterator[NDArray[np.float32]]:
        for group in groups(texts, len(self.batch.tokens)):
            self.batch.clear()
            for owner, tokens in enumerate(group):
                self.batch.add(owner, tokens, 0, scored=True)
            self.batch.wanted[: len(self.batch)] = 1
            self.context.decode(self.batch)
            yield from [self.context.pooled(owner, self.width) for owner in range(len(group))]
            self.context.forget_all()


def groups(texts: list[list[int]], size: int) -> Iterator[list[list[int]]]:
    """Texts in their order, as many together as have at most `size` tokens."""
    group: list[list[int]] = []
    for tokens in texts:
        if len(group) == TOGETHER or sum(map(len, group)) + len(tokens) > size:
            yield group
            group = []
        group.append(tokens)
    if group:
        yield group


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else vector


def relevance(classes: NDArray[np.float32]) -> float:
    """One class is a score without bounds; of several, llama.cpp tells the probability of "yes" first."""
    if len(classes) > 1:
        return float(classes[0])
    # By halves, because exp overflows for what is far below zero.
    return float(0.5 + 0.5 * math.tanh(classes[0] / 2))


def never(_: object) -> Saved:
    raise LibraryError("a model that generates nothing keeps no prefixes")
