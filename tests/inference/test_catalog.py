"""The models on disk."""

import json
import shutil
from pathlib import Path

import pytest

from inference.catalog import Catalog
from inference.errors import UnknownModel


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    shutil.copytree(models / "opta-tiny", tmp_path / "opta-tiny")
    return tmp_path


def add(folder: Path, name: str, **generation: object) -> None:
    shutil.copytree(folder / "opta-tiny", folder / name)
    (folder / name / "generation_config.json").write_text(json.dumps(generation))


def test_a_model_is_called_by_its_folder(folder: Path):
    add(folder, "org/model")
    (folder / "notes").mkdir()
    assert [model.id for model in Catalog(folder).models()] == ["opta-tiny", "org/model"]


def test_a_model_that_was_just_put_there_is_found(folder: Path):
    catalog = Catalog(folder)
    with pytest.raises(UnknownModel, match=r"late.*opta-tiny, auto"):
        catalog.find("late")
    add(folder, "late")
    assert catalog.find("late").path == folder / "late"


def test_auto_prefers_a_real_model_to_the_bundled_one(folder: Path):
    assert Catalog(folder).find("auto").id == "opta-tiny"
    add(folder, "zebra")
    assert Catalog(folder).find("auto").id == "zebra"


def test_an_empty_or_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(UnknownModel, match=str(tmp_path / "none")):
        Catalog(tmp_path / "none").find("auto")


def test_a_model_that_cannot_be_read_is_left_out_and_told(folder: Path, caplog: pytest.LogCaptureFixture):
    add(folder, "broken")
    (folder / "broken" / "config.json").write_text("{")
    assert [model.id for model in Catalog(folder).models()] == ["opta-tiny"]
    assert "broken is left out" in caplog.text


def test_a_model_that_says_nothing_of_its_text_is_read(folder: Path):
    add(folder, "blind")
    config = json.loads((folder / "opta-tiny" / "config.json").read_text())
    (folder / "blind" / "config.json").write_text(json.dumps({**config, "text_config": None}))
    assert Catalog(folder).find("blind").context == config["max_position_embeddings"]


def test_the_models_own_defaults_are_read(folder: Path):
    add(folder, "warm", max_new_tokens=7, temperature=0.6, top_p=0.9)
    add(folder, "greedy", do_sample=False, temperature=0.6)
    add(folder, "odd", temperature="hot", top_p=7)
    catalog = Catalog(folder)
    warm, greedy, odd = (catalog.find(name).defaults for name in ("warm", "greedy", "odd"))
    assert (warm.max_tokens, warm.temperature, warm.top_p) == (7, 0.6, 0.9)
    assert greedy.temperature == 0
    assert (odd.max_tokens, odd.temperature, odd.top_p) == (None, 1.0, 1.0)
