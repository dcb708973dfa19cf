"""MLX, through mlx-lm: the only package that imports either."""

from pathlib import Path

from inference.request import Assignment
from inference.runner.engine import Engine
from inference.runner.engines.mlx.embed import MlxEmbedder
from inference.runner.engines.mlx.engine import MlxEngine
from inference.runner.engines.mlx.tokenizer import MlxTokenizer
from inference.runner.tokenizer import Tokenizer


def load(assignment: Assignment) -> tuple[Tokenizer, Engine]:
    """Raises whatever mlx_lm raises for a folder it cannot load, and ValueError for a kind of model."""
    tokenizer = MlxTokenizer(Path(assignment.path))
    if assignment.kind == "chat":
        return tokenizer, MlxEngine(assignment, tokenizer)
    if assignment.kind == "embedding":
        return tokenizer, MlxEmbedder(assignment)
    raise ValueError(
        f"MLX serves chat and embedding models, and {assignment.path} is a {assignment.kind} model"
    )
