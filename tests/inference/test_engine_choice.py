"""Which engine runs a model: by its files, by what both declare, and by what the machine has."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from gguf import PoolingType

from inference.catalog import Catalog
from inference.plan import plans
from tests.inference import chat
from tests.inference.gguf import write_bert, write_tiny
from tests.processes import Role

BASE = "Opta/Tiny-1"


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """An MLX folder, and a GGUF that declares the same base."""
    shutil.copytree(models / "opta-tiny", tmp_path / "tiny-mlx")
    card = f"---\nlicense: mit\nbase_model:\n- {BASE.lower()}\n---\n# Tiny\n"
    (tmp_path / "tiny-mlx" / "README.md").write_text(card)
    write_tiny(tmp_path / "made" / "by-others" / "x.gguf", models / "opta-tiny", base=BASE)
    return tmp_path


def configure(folder: Path, **changes: object) -> None:
    file = folder / "tiny-mlx" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.fixture
def quantized(llama_cpp: Any, tmp_path: Path, models: Path) -> Path:
    """A folder with a Q8_0 file, made as a user makes one."""
    whole = write_tiny(tmp_path / "whole.gguf", models / "opta-tiny")
    made = tmp_path / "served" / "tiny-Q8_0.gguf"
    made.parent.mkdir()
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype, options.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, 1
    assert llama_cpp.llama_model_quantize(str(whole).encode(), str(made).encode(), options) == 0
    return made.parent


def test_a_quantized_gguf_answers_also_where_llama_cpp_crashes_with_the_processors_matrices(
    quantized: Path, start_lmx: Callable[..., Role]
):
    lmx = start_lmx(LMX_MODELS=str(quantized))
    assert chat.text(lmx.url)
    log = lmx.log.read_text()
    assert ("was killed by SIGSEGV" in log) == ("without the processor's matrix extensions" in log)


def ids(folder: Path) -> dict[str, tuple[str, str]]:
    return {model.id: (model.engine, model.kind) for model in Catalog(folder).models()}


def test_gguf_files_are_models_by_folder_or_by_file(models: Path, tmp_path: Path):
    tiny = models / "opta-tiny"
    write_tiny(tmp_path / "org" / "one" / "one-F16.gguf", tiny)
    shutil.copyfile(tmp_path / "org/one/one-F16.gguf", tmp_path / "org/one/mmproj-one.gguf")
    for name in ("a-Q4", "a-Q8"):
        (tmp_path / "two").mkdir(exist_ok=True)
        shutil.copyfile(tmp_path / "org/one/one-F16.gguf", tmp_path / "two" / f"{name}.gguf")
    shutil.copyfile(tmp_path / "org/one/one-F16.gguf", tmp_path / "bare.gguf")
    write_bert(tmp_path / "embeds" / "b.gguf", PoolingType.CLS)
    write_bert(tmp_path / "ranks" / "b.gguf", PoolingType.RANK)
    shutil.copytree(tiny, tmp_path / "both")
    shutil.copyfile(tmp_path / "bare.gguf", tmp_path / "both" / "q.gguf")
    assert ids(tmp_path) == {
        "both": ("mlx", "chat"),
        "both/q": ("gguf", "chat"),
        "bare": ("gguf", "chat"),
        "org/one": ("gguf", "chat"),
        "two/a-Q4": ("gguf", "chat"),
        "two/a-Q8": ("gguf", "chat"),
        "embeds": ("gguf", "embedding"),
        "ranks": ("gguf", "reranker"),
    }
    assert Catalog(tmp_path).find("org/one").context == 8192


def test_a_split_file_is_one_model_when_it_is_whole(
    models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    first = write_tiny(tmp_path / "split" / "s-00001-of-00002.gguf", models / "opta-tiny")
    catalog = Catalog(tmp_path)
    assert catalog.models() == catalog.models() == []
    assert caplog.text.count("s-00002-of-00002.gguf is missing") == 1
    second = first.with_name("s-00002-of-00002.gguf")
    second.write_bytes(b"x" * 1000)
    (model,) = catalog.models()
    assert (model.id, model.size_bytes) == ("split", first.stat().st_size + 1000)


def test_what_is_broken_is_told_once_until_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "odd.gguf").write_bytes(b"GGML" + bytes(60))
    catalog = Catalog(tmp_path)
    for _ in range(3):
        assert catalog.models() == []
    assert caplog.text.count("is left out") == 1
    (tmp_path / "odd.gguf").write_bytes(b"GGUF" + bytes(60))
    catalog.models()
    assert caplog.text.count("is left out") == 2


def test_a_sibling_declares_the_same_base_and_a_name_is_nothing(folder: Path, models: Path):
    catalog = Catalog(folder)
    mlx = catalog.find("tiny-mlx")
    assert mlx.bases == {BASE.lower()}
    assert catalog.sibling(mlx, 1 << 40).id == "made/by-others"
    (folder / "tiny-mlx" / "README.md").unlink()
    write_tiny(folder / "tiny-mlx-gguf" / "tiny-mlx.gguf", models / "opta-tiny")
    assert catalog.sibling(catalog.find("tiny-mlx"), 1 << 40) is None


def test_folders_called_as_a_repository_are_that_repository(models: Path, tmp_path: Path):
    shutil.copytree(models / "opta-tiny", tmp_path / BASE)
    write_tiny(tmp_path / "x" / "x.gguf", models / "opta-tiny", base=BASE)
    catalog = Catalog(tmp_path)
    assert catalog.sibling(catalog.find(BASE), 0).id == "x"


def test_quantized_weights_are_left_to_llama_cpp_on_a_cpu(folder: Path):
    catalog = Catalog(folder)
    assert [plan.weights.engine for plan in plans(catalog.find("tiny-mlx"), catalog)] == ["mlx", "gguf"]
    configure(folder, quantization={"bits": 4, "group_size": 64})
    (first, second) = plans(catalog.find("tiny-mlx"), catalog)
    assert (first.weights.engine, second.weights.engine) == ("gguf", "mlx")
    assert "slow" in first.fallback


def test_what_mlx_cannot_load_a_gguf_of_it_answers_and_says_so(folder: Path, start_lmx: Callable[..., Role]):
    configure(folder, model_type="from_the_future")
    lmx = start_lmx(LMX_MODELS=str(folder))
    answer = chat.post(lmx.url, model="tiny-mlx")
    assert answer.json()["model"] == "tiny-mlx"
    assert answer.headers["X-Opta-Engine"].startswith("gguf; ")
    assert "from_the_future" in answer.headers["X-Opta-Engine"]
    assert "from_the_future" in chat.runner(lmx.url)["fallback"]
    about = httpx.get(f"{lmx.url}/v1/models/tiny-mlx").json()["lmx"]
    assert (about["loaded"], about["engine"]) == (True, "gguf")
    assert "from_the_future" in about["fallback"]
    log = lmx.log.read_text()
    assert "tiny-mlx does not load with mlx" in log
    assert "x.gguf: tiny-mlx failed" in log


def test_what_nothing_can_load_says_why(folder: Path, start_lmx: Callable[..., Role]):
    configure(folder, model_type="from_the_future")
    shutil.rmtree(folder / "made")
    lmx = start_lmx(LMX_MODELS=str(folder))
    response = chat.post(lmx.url, model="tiny-mlx")
    assert (response.status_code, response.json()["error"]["code"]) == (500, "model_load_failed")
    assert "from_the_future" in response.json()["error"]["message"]


def test_without_llama_cpp_a_gguf_is_refused_with_the_line_that_installs_it(
    gguf_models: Path, tmp_path: Path, start_lmx: Callable[..., Role]
):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['llama_cpp'] = None\n")
    lmx = start_lmx(LMX_MODELS=str(gguf_models), PYTHONPATH=str(tmp_path))
    response = chat.post(lmx.url, model="tiny-gguf")
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "engine_missing", "model")
    assert ".venv/bin/python -m pip install -r requirements/gguf.txt" in error["message"]


def test_a_gguf_model_chats_embeds_and_ranks(gguf_lmx: Role):
    assert len(chat.text(gguf_lmx.url, model="tiny-gguf").split()) == 12
    embedded = httpx.post(
        f"{gguf_lmx.url}/v1/embeddings", json={"model": "tiny-embedding", "input": ["a b", "c"]}, timeout=60
    ).json()
    assert [len(item["embedding"]) for item in embedded["data"]] == [32, 32]
    wanted = {"model": "tiny-reranker", "query": "a", "documents": ["b", "c d"]}
    ranked = httpx.post(f"{gguf_lmx.url}/v1/rerank", json=wanted, timeout=60).json()
    assert {result["index"] for result in ranked["results"]} == {0, 1}
