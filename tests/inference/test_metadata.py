"""What model files say of themselves, read without any engine."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from inference.catalog import Catalog
from inference.metadata import about
from tests.inference.gguf import write_tiny


def test_a_folder_and_a_gguf_of_one_model_say_the_same(models: Path, tmp_path: Path):
    write_tiny(tmp_path / "tiny.gguf", models / "opta-tiny")
    folder = about(Catalog(models).find("opta-tiny"))
    file = about(Catalog(tmp_path).find("tiny"))
    assert (folder.format, file.format) == ("safetensors", "gguf")
    assert folder.family == file.family == "llama"
    assert folder.parameters == file.parameters
    assert folder.size == "9.4M"
    assert folder.template == file.template
    for key in ("context_length", "embedding_length", "block_count", "attention.head_count_kv"):
        assert folder.info[f"llama.{key}"] == file.info[f"llama.{key}"]


def test_packed_weights_are_counted_as_what_they_stand_for(tmp_path: Path):
    folder = tmp_path / "packed"
    folder.mkdir()
    plain = {"norm.weight": np.ones(64, np.float16)}
    # 64 x 64 weights, of four bits and of eight, in words of 32.
    packed = {"four.weight": np.zeros((64, 8), np.uint32), "eight.weight": np.zeros((64, 16), np.uint32)}
    scales = {
        f"{name}.{part}": np.ones((64, 1), np.float16)
        for name in ("four", "eight")
        for part in ("scales", "biases")
    }
    save_file({**plain, **packed, **scales}, folder / "model.safetensors")
    quantization = {"bits": 4, "group_size": 64, "eight": {"bits": 8, "group_size": 64}}
    (folder / "config.json").write_text(json.dumps({"model_type": "m", "quantization": quantization}))
    found = about(Catalog(tmp_path).find("packed"))
    assert (found.parameters, found.precision) == (64 + 2 * 64 * 64, "4-bit")


def test_files_that_hold_anything_are_told_as_unknown(tmp_path: Path):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for content in (
        b"",
        b"\xff" * 64,
        (2).to_bytes(8, "little") + b"{}",
        (4).to_bytes(8, "little") + b'"hi"',
    ):
        (folder / "model.safetensors").write_bytes(content)
        found = about(Catalog(tmp_path).find("odd"))
        assert (found.format, found.parameters, found.precision) == ("safetensors", 0, "unknown")
