"""The tiny model as a GGUF, an embedding model and a reranker beside it, and an LMX that serves them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gguf import PoolingType

from tests import processes
from tests.inference.gguf import write_bert, write_tiny
from tests.processes import Role


@pytest.fixture(scope="session")
def gguf_models(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """A folder of GGUF models: `tiny-gguf`, `tiny-embedding` and `tiny-reranker`."""
    folder = tmp_path_factory.mktemp("gguf")
    write_tiny(folder / "tiny-gguf" / "tiny-F16.gguf", models / "opta-tiny")
    write_bert(folder / "tiny-embedding" / "bert.gguf", PoolingType.MEAN)
    write_bert(folder / "tiny-reranker" / "bert.gguf", PoolingType.RANK)
    return folder


@pytest.fixture(scope="session")
def gguf_lmx(tmp_path_factory: pytest.TempPathFactory, gguf_models: Path) -> Iterator[Role]:
    role = processes.lmx(tmp_path_factory.mktemp("gguf-lmx"), gguf_models)
    yield role
    role.stop()
