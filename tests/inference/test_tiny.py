"""The tiny model: the same bytes each time, and never over something else."""

import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from tokenizers import Tokenizer

from inference import tiny


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_it_is_the_same_each_time_and_may_be_written_again(models: Path, tmp_path: Path):
    folder = tmp_path / "new" / "opta-tiny"
    for _ in range(2):
        call_command("make_tiny_model", str(folder), verbosity=0)
        assert contents(folder) == contents(models / "opta-tiny")


def test_it_refuses_a_folder_that_holds_something_else(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CommandError, match="holds something else"):
        call_command("make_tiny_model", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CommandError, match="holds something else"):
        call_command("make_tiny_model", str(tmp_path))
    assert contents(tmp_path) == {"thesis.txt": b"years of work", "config.json": b"{}"}


def test_it_is_about_ten_million_parameters_and_ends_by_itself(models: Path):
    folder = models / "opta-tiny"
    assert 8e6 < (folder / "model.safetensors").stat().st_size / 2 < 12e6
    assert json.loads((folder / "generation_config.json").read_text())["max_new_tokens"] == 128


@pytest.mark.parametrize(
    "text", ["hello world", "naïve café — 日本語 🙂", "<|im_start|>\n\ttabs  and   spaces "]
)
def test_its_tokenizer_gives_back_what_it_was_given(models: Path, text: str):
    tokenizer = Tokenizer.from_file(str(models / "opta-tiny" / "tokenizer.json"))
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    assert tokenizer.get_vocab_size() == tiny.VOCABULARY
