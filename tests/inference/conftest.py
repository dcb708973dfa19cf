"""The tiny model as a GGUF, an embedding model and a reranker beside it, and an LMX that serves them."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai
import pytest
from gguf import PoolingType

from tests import processes
from tests.inference.gguf import write_bert, write_tiny
from tests.processes import Role

# Where there was no compiler for it: what imports it cannot even be collected.
WITHOUT = find_spec("llama_cpp") is None and not os.environ.get("OPTA_NO_SKIPS")
collect_ignore = ["runner/gguf"] if WITHOUT else []


def pytest_report_header() -> str | None:
    return "llama.cpp is not installed: tests/inference/runner/gguf is left out" if WITHOUT else None


@pytest.fixture(scope="session")
def llama_cpp() -> Any:
    return pytest.importorskip("llama_cpp", reason="llama.cpp is not installed (requirements/gguf.txt)")


@pytest.fixture(scope="session")
def gguf_models(llama_cpp: Any, tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
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


@pytest.fixture
def client(lmx: Role) -> Iterator[openai.OpenAI]:
    """OpenAI's client, which raises when an answer is not of its types."""
    url = f"{lmx.url}/v1"
    with openai.OpenAI(
        base_url=url, api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client
