"""GGUF, through llama.cpp's low-level API: the only package that imports llama_cpp."""

from inference.errors import RunnerRefused
from inference.request import Assignment
from inference.runner.engine import Engine
from inference.runner.engines.gguf.embed import Embedder
from inference.runner.engines.gguf.engine import GgufEngine
from inference.runner.engines.gguf.library import Model
from inference.runner.engines.gguf.tokenizer import GgufTokenizer
from inference.runner.tokenizer import Tokenizer


def load(assignment: Assignment) -> tuple[Tokenizer, Engine]:
    """Raises LibraryError for a file that llama.cpp cannot load, RunnerRefused for one of the wrong kind."""
    model = Model(assignment.path, plain=assignment.plain)
    if assignment.kind != "chat":
        tokenizer = GgufTokenizer(model, whole=True)
        return tokenizer, Embedder(assignment, model, tokenizer)
    if not model.generates:
        raise RunnerRefused(
            "This model encodes text and does not continue it, so it cannot chat.", field="model"
        )
    tokenizer = GgufTokenizer(model)
    return tokenizer, GgufEngine(assignment, model, tokenizer)
