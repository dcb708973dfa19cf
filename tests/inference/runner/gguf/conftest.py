"""The tiny model in llama.cpp, loaded once for the tests of this folder."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# As the pool starts runners, and before llama.cpp is loaded: its threads sleep while they wait.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from inference.request import Assignment
from inference.runner.engines.gguf import load
from inference.runner.engines.gguf.engine import GgufEngine
from inference.runner.engines.gguf.tokenizer import GgufTokenizer

Loaded = tuple[GgufTokenizer, GgufEngine]


@pytest.fixture(scope="session")
def load_gguf(gguf_models: Path) -> Callable[..., Loaded]:
    """load_gguf(name, kind, context, cache_bytes): the tokenizer and the engine."""

    def loading(
        name: str = "tiny-gguf", kind: str = "chat", context: int = 2048, cache_bytes: int = 1 << 26
    ) -> Loaded:
        (file,) = (gguf_models / name).glob("*.gguf")
        return load(Assignment("gguf", str(file), kind, context, cache_bytes))

    return loading


@pytest.fixture(scope="session")
def loaded(load_gguf: Callable[..., Loaded]) -> Loaded:
    return load_gguf()


@pytest.fixture
def tokenizer(loaded: Loaded) -> GgufTokenizer:
    return loaded[0]


@pytest.fixture
def engine(loaded: Loaded) -> GgufEngine:
    """With nothing kept."""
    engine = loaded[1]
    while engine.prefixes.evict():
        pass
    return engine
