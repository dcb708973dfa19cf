"""MLX, through mlx-lm: the only package that imports either."""

from pathlib import Path

from inference.request import Assignment
from inference.runner.engine import Engine
from inference.runner.engines.mlx.engine import MlxEngine
from inference.runner.engines.mlx.tokenizer import MlxTokenizer
from inference.runner.tokenizer import Tokenizer


def load(assignment: Assignment) -> tuple[Tokenizer, Engine]:
    """Raises whatever mlx_lm raises for a folder it cannot load."""
    tokenizer = MlxTokenizer(Path(assignment.path))
    return tokenizer, MlxEngine(assignment, tokenizer)
