"""Engines in this process, of tiny models with every family of caches."""

from pathlib import Path

import pytest

from inference.request import Assignment
from inference.runner.engines.mlx import load
from inference.runner.engines.mlx.engine import MlxEngine
from tests.inference.runner.mlx import folders

BUDGET = 64 << 20


class Engines:
    """A fresh engine for each call, of a folder that is written once."""

    def __init__(self, tiny: Path, scratch: Path) -> None:
        self.tiny, self.scratch = tiny, scratch

    def __call__(self, family: str = "llama", *, cache_bytes: int = BUDGET) -> MlxEngine:
        _, engine = load(Assignment("mlx", str(self.folder(family)), "chat", 4096, cache_bytes))
        assert isinstance(engine, MlxEngine)
        return engine

    def folder(self, family: str) -> Path:
        folder = self.scratch / family
        return (
            folder if folder.exists() else folders.write(folder, self.tiny, getattr(folders, family.upper()))
        )


@pytest.fixture(scope="session")
def engines(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Engines:
    return Engines(models / "opta-tiny", tmp_path_factory.mktemp("families"))
