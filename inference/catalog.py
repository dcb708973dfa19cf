"""The models on disk: what there is to serve, and what each says about itself."""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from inference import gguf
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
# Encoders compute a whole text at once, in memory that grows with it.
LONGEST_ENCODED = 8192
# A file of several that are one model, and what is no model by itself though it ends in .gguf.
PART = re.compile(r"-(\d{5})-of-(\d{5})$")
PROJECTOR = "mmproj"
# What generation_config.json calls what a GGUF may hold too.
SAMPLING = (("temperature", "temp"), ("top_p", "top_p"))
# A repository's name, alone or at the end of its address.
REPOSITORY = re.compile(r"(?:https?://huggingface\.co/)?([\w.-]+/[\w.-]+?)/?$")
# A model card is a few lines of YAML, then prose.
CARD = re.compile(r"\A---\s*\n(.{0,65536}?)\n---", re.DOTALL)


@dataclass(frozen=True)
class Defaults:
    """What generation_config.json asks for where a request says nothing; else OpenAI's defaults."""

    # None for as many as the context holds.
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0


@dataclass(frozen=True)
class Model:
    """A folder in the Hugging Face or MLX layout, or a GGUF file; its id is its path below all models."""

    id: str
    # The folder, or the (first) file.
    path: Path
    # "mlx" or "gguf".
    engine: str
    # "chat", "embedding" or "reranker".
    kind: str
    # Tokens of prompt and answer together.
    context: int
    defaults: Defaults
    size_bytes: int
    # Seconds since the epoch.
    created: int
    # The repositories that these weights say they are, or are made from; lower case.
    bases: frozenset[str] = frozenset()
    # Whether MLX would compute with weights of fewer bits than 16.
    quantized: bool = False
    # Bytes that one token of context takes, as far as the file tells; 0 when it does not.
    token_bytes: int = 0

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.path if self.path.is_dir() else self.path.parent

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
        # Why what cannot be read cannot, as it was told: once, until it changes.
        self.told: dict[Path, str] = {}

    def models(self) -> list[Model]:
        """Every model that can be read."""
        found = []
        for candidate in (*folders(self.folder), *files(self.folder)):
            try:
                found.append(candidate.read())
                self.told.pop(candidate.path, None)
            except (OSError, ValueError) as error:
                self.tell(candidate.path, str(error))
        return found

    def tell(self, path: Path, reason: str) -> None:
        if self.told.get(path) != reason:
            self.told[path] = reason
            log.warning("%s is left out: %s", path, reason)

    def sibling(self, model: Model, room: int) -> Model | None:
        """A GGUF of the same model by what both declare, not by their names: the largest that fits into
        `room` bytes, else the smallest."""
        found = [
            other
            for other in self.models()
            if other.engine == "gguf" and other.kind == model.kind and other.bases & model.bases
        ]
        fitting = [other for other in found if other.size_bytes <= room]
        if fitting:
            return max(fitting, key=lambda other: other.size_bytes)
        return min(found, key=lambda other: other.size_bytes, default=None)

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


@dataclass(frozen=True)
class Candidate:
    """What may be a model; `read` raises OSError or ValueError when it is a broken one."""

    id: str
    path: Path
    reader: Callable[[str, Path], Model]

    def read(self) -> Model:
        return self.reader(self.id, self.path)


def folders(root: Path) -> Iterator[Candidate]:
    """`root`/name and `root`/org/name with safetensors."""
    for pattern in ("*/config.json", "*/*/config.json"):
        for config in sorted(root.glob(pattern)):
            if any(config.parent.glob("*.safetensors")):
                yield Candidate(config.parent.relative_to(root).as_posix(), config.parent, read_folder)


def files(root: Path) -> Iterator[Candidate]:
    """GGUF files down to `root`/org/name/file; one alone in its folder is called by the folder."""
    taken = {candidate.id for candidate in folders(root)}
    for pattern in ("*.gguf", "*/*.gguf", "*/*/*.gguf"):
        for file in sorted(root.glob(pattern)):
            if not whole(file):
                continue
            alone = sum(map(whole, file.parent.glob("*.gguf"))) == 1 and file.parent != root
            places = [*([file.parent] if alone else []), file.with_name(name_of(file)), file]
            names = (place.relative_to(root).as_posix() for place in places)
            id = next(name for name in names if name not in taken)
            taken.add(id)
            yield Candidate(id, file, read_file)


def whole(file: Path) -> bool:
    """Whether it stands for a model: of several parts, the first does."""
    part = PART.search(file.stem)
    return PROJECTOR not in file.name.lower() and (part is None or int(part[1]) == 1)


def name_of(file: Path) -> str:
    return PART.sub("", file.stem)


def parts(file: Path) -> list[Path]:
    """All files of a model, `file` being the first. Raises FileNotFoundError when one is missing."""
    if not (part := PART.search(file.stem)):
        return [file]
    found = [file.with_name(f"{name_of(file)}-{n:05}-of-{part[2]}.gguf") for n in range(1, int(part[2]) + 1)]
    for each in found:
        if not each.exists():
            raise FileNotFoundError(f"its part {each.name} is missing")
    return found


def read_folder(name: str, folder: Path) -> Model:
    config = read_json(folder / "config.json")
    wanted = folder / "generation_config.json"
    generation = read_json(wanted) if wanted.exists() else {}
    weights = [file.stat() for file in folder.glob("*.safetensors")]
    # Models that also see or hear keep the language model's figures one level down.
    nested = config.get("text_config")
    text = nested if isinstance(nested, dict) else config
    pools = (folder / "modules.json").exists() or (folder / "1_Pooling" / "config.json").exists()
    # A folder called as its repository is that repository's.
    declared = [config.get("_name_or_path"), *card_bases(folder / "README.md"), name]
    return Model(
        id=name,
        path=folder,
        engine="mlx",
        kind="embedding" if pools else "chat",
        context=number(text, "max_position_embeddings") or UNLIMITED,
        defaults=defaults(generation),
        size_bytes=sum(file.st_size for file in weights),
        created=int(max(file.st_mtime for file in weights)),
        bases=repositories(declared),
        quantized="quantization" in config or "quantization_config" in config,
    )


def read_file(name: str, file: Path) -> Model:
    header = gguf.read(file)
    architecture = header.get("general.architecture")
    if architecture == "clip" or header.get("general.type", "model") != "model":
        raise ValueError("it is a part of a model and none by itself")
    about = {
        key.removeprefix(f"{architecture}."): value
        for key, value in header.items()
        if key.startswith(f"{architecture}.")
    }
    stats = [part.stat() for part in parts(file)]
    kind = kind_of(about)
    context = number(about, "context_length") or UNLIMITED
    return Model(
        id=name,
        path=file,
        engine="gguf",
        kind=kind,
        context=context if kind == "chat" else min(context, LONGEST_ENCODED),
        defaults=defaults({key: header.get(f"general.sampling.{name}") for key, name in SAMPLING}),
        size_bytes=sum(stat.st_size for stat in stats),
        created=int(max(stat.st_mtime for stat in stats)),
        bases=repositories(value for key, value in header.items() if declares(key)),
        token_bytes=token_bytes(about),
    )


def kind_of(about: dict[str, Any]) -> str:
    """By how it pools what it computes; source: llama.cpp's llama_pooling_type."""
    pooling = about.get("pooling_type", 0)
    if pooling == 4:
        return "reranker"
    return "embedding" if pooling or about.get("attention.causal") is False else "chat"


def token_bytes(about: dict[str, Any]) -> int:
    """Keys and values in 16 bits, of every layer; heads may differ from layer to layer."""
    layers, heads, width = (
        number(about, key) or 0 for key in ("block_count", "attention.head_count", "embedding_length")
    )
    head = width // heads if heads else 0
    size = sum(number(about, f"attention.{part}_length") or head for part in ("key", "value"))
    groups = about.get("attention.head_count_kv")
    if isinstance(groups, list):
        return 2 * size * sum(group for group in groups if isinstance(group, int))
    return 2 * size * layers * (number(about, "attention.head_count_kv") or heads)


def declares(key: str) -> bool:
    """Whether a value of a GGUF's metadata names the repository of these weights."""
    return key.startswith(("general.base_model.", "general.source.")) and key.endswith(
        ("repo_url", "url", "repository")
    )


def card_bases(card: Path) -> list[object]:
    """`base_model` of a model card, one or several."""
    if not card.is_file():
        return []
    front = CARD.match(card.read_text(errors="replace"))
    try:
        facts = yaml.safe_load(front[1]) if front else {}
    except yaml.YAMLError:  # prose that looks like it: then nothing is declared
        return []
    found = facts.get("base_model") if isinstance(facts, dict) else None
    return found if isinstance(found, list) else [found]


def repositories(declared: Iterable[object]) -> frozenset[str]:
    named = (REPOSITORY.match(value) for value in declared if isinstance(value, str))
    return frozenset(match[1].lower() for match in named if match)


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
