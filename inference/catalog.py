"""The models on disk: what there is to serve, and what each says about itself."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import UnknownModel
from opta.errors import Refusal

log = logging.getLogger(__name__)

AUTO = "auto"
# Kinds of models, by what they are asked for.
CHAT, ANY = ("chat",), ("chat", "embedding", "reranker")
EMBED, RANK = ("embedding",), ("reranker", "embedding")
# The bundled model speaks nonsense: anything else on disk is rather what the user wants.
LAST_CHOICE = "opta-tiny"
# For a model whose config names no limit, as recurrent ones do.
UNLIMITED = 1 << 20


@dataclass(frozen=True)
class Defaults:
    """What generation_config.json asks for where a request says nothing; else OpenAI's defaults."""

    # None for as many as the context holds.
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0


@dataclass(frozen=True)
class Model:
    """A folder in the Hugging Face or MLX layout; its id is its path below the models folder."""

    id: str
    folder: Path
    # "chat", "embedding" or "reranker".
    kind: str
    # Tokens of prompt and answer together.
    context: int
    defaults: Defaults
    size_bytes: int
    # Seconds since the epoch.
    created: int

    def held_to(self, kinds: tuple[str, ...]) -> "Model":
        """Itself, if it is of one of `kinds`. Raises Refusal."""
        if self.kind not in kinds:
            wanted = " or ".join(kinds)
            raise Refusal(
                f"{self.id} is a {self.kind} model, and this takes {wanted} models. Ask for another one.",
                field="model",
                code="wrong_kind_of_model",
            )
        return self


class Catalog:
    """Looks at the disk whenever it is asked, so a model that was just put there is served."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def models(self) -> list[Model]:
        """Every model that can be read, in the order of their ids."""
        found = []
        for folder in candidates(self.folder):
            try:
                found.append(read(folder, folder.relative_to(self.folder).as_posix()))
            except (OSError, ValueError) as error:
                log.warning("%s is left out: %s", folder, error)
        return found

    def find(self, name: str, kinds: tuple[str, ...] = CHAT) -> Model:
        """The model called `name`; `auto` is the first of `kinds`, the bundled one last. Raises UnknownModel
        when there is none, and Refusal when it is of another kind."""
        models = {model.id: model for model in self.models()}
        if not models:
            raise UnknownModel(f"No model in {self.folder}. Put a model folder there.", field="model")
        if name == AUTO:
            fit = [model for model in models.values() if model.kind in kinds]
            if not fit:
                wanted = " or ".join(kinds)
                raise UnknownModel(f"No {wanted} model in {self.folder}. Put one there.", field="model")
            return min(fit, key=lambda model: model.id == LAST_CHOICE)
        if name not in models:
            known = ", ".join([*models, AUTO])
            raise UnknownModel(f"No model {name!r} in {self.folder}. Ask for one of: {known}.", field="model")
        return models[name].held_to(kinds)


def candidates(root: Path) -> Iterator[Path]:
    """Model folders at `root`/name and `root`/org/name."""
    for pattern in ("*/config.json", "*/*/config.json"):
        for config in sorted(root.glob(pattern)):
            if any(config.parent.glob("*.safetensors")):
                yield config.parent


def read(folder: Path, name: str) -> Model:
    """Raises OSError or ValueError when its JSON cannot be read."""
    config = read_json(folder / "config.json")
    wanted = folder / "generation_config.json"
    generation = read_json(wanted) if wanted.exists() else {}
    weights = [file.stat() for file in folder.glob("*.safetensors")]
    # Models that also see or hear keep the language model's figures one level down.
    nested = config.get("text_config")
    text = nested if isinstance(nested, dict) else config
    return Model(
        id=name,
        folder=folder,
        kind="chat",
        context=number(text, "max_position_embeddings") or UNLIMITED,
        defaults=defaults(generation),
        size_bytes=sum(file.st_size for file in weights),
        created=int(max(file.st_mtime for file in weights)),
    )


def defaults(generation: dict[str, Any]) -> Defaults:
    """A value out of range is not taken."""
    temperature, top_p = generation.get("temperature"), generation.get("top_p")
    if generation.get("do_sample") is False:  # how Hugging Face says greedy
        temperature = 0
    return Defaults(
        max_tokens=number(generation, "max_new_tokens"),
        temperature=float(temperature)
        if isinstance(temperature, int | float) and 0 <= temperature <= 2
        else 1.0,
        top_p=float(top_p) if isinstance(top_p, int | float) and 0 < top_p <= 1 else 1.0,
    )


def number(values: dict[str, Any], key: str) -> int | None:
    value = values.get(key)
    return value if isinstance(value, int) and value > 0 else None


def read_json(file: Path) -> dict[str, Any]:
    value = json.loads(file.read_text())
    if not isinstance(value, dict):
        raise ValueError(f"{file.name} holds no object")
    return value
