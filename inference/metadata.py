"""What a model's files say of it beyond the catalog: its family, size, precision and template.

Sources: https://huggingface.co/docs/safetensors (the header), mlx-lm's config.json for what is quantized,
llama.cpp's llama_ftype.
"""

import logging
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from inference import gguf
from inference.catalog import Model, parts, read_json

log = logging.getLogger(__name__)

# A header larger than this is no header; safetensors' own bound.
LARGEST_HEADER = 100_000_000
# What mlx packs quantized weights into.
PACKED, PACKED_BITS = "U32", 32
# GGUF's names of what config.json calls otherwise. Source: ggml's docs/gguf.md
INFO = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
}
# How most of a GGUF's weights are held, by general.file_type.
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M",
    18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S",
    25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M",
    32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0",
}  # fmt: skip
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Metadata:
    # "safetensors" or "gguf".
    format: str
    family: str = UNKNOWN
    parameters: int = 0
    # F16, BF16, 4-bit, Q4_K_M, …
    precision: str = UNKNOWN
    template: str = ""
    # By GGUF's names, texts and numbers alone.
    info: dict[str, Any] | None = None

    @property
    def size(self) -> str:
        """As people say it: 9.4M, 7.6B."""
        unit, name = (10**9, "B") if self.parameters >= 10**9 else (10**6, "M")
        return f"{self.parameters / unit:.1f}{name}"


def about(model: Model) -> Metadata:
    """What its files say, as far as they can be read."""
    read, format = (of_file, "gguf") if model.engine == "gguf" else (of_folder, "safetensors")
    try:
        return read(model)
    # The files are somebody else's, and may hold anything.
    except (OSError, ValueError, LookupError, TypeError) as error:
        log.warning("the files of %s cannot be read: %s: %s", model.id, type(error).__name__, error)
        return Metadata(format)


def of_file(model: Model) -> Metadata:
    header = gguf.read(model.path)
    family = str(header.get("general.architecture", UNKNOWN))
    count = sum(gguf.read(part)[gguf.PARAMETERS] for part in parts(model.path))
    told = {key: value for key, value in header.items() if isinstance(value, str | int | float)}
    template = str(told.pop("tokenizer.chat_template", ""))
    precision = FILE_TYPES.get(header.get("general.file_type", -1), UNKNOWN)
    return Metadata("gguf", family, count, precision, template, {**told, gguf.PARAMETERS: count})


def of_folder(model: Model) -> Metadata:
    config = read_json(model.path / "config.json")
    family = str(config.get("model_type", UNKNOWN))
    declared = config.get("quantization")
    quantization = declared if isinstance(declared, dict) else {}
    dtypes = Counter[str]()
    for file in model.path.glob("*.safetensors"):
        for name, tensor in header(file).items():
            dtypes[tensor.dtype] += parameters(name, tensor, quantization)
    bits = quantization.get("bits")
    precision = f"{bits}-bit" if bits else dtypes.most_common(1)[0][0]
    info = {
        "general.architecture": family,
        gguf.PARAMETERS: dtypes.total(),
        f"{family}.context_length": model.context,
        **{f"{family}.{theirs}": config[ours] for ours, theirs in INFO.items() if ours in config},
    }
    return Metadata("safetensors", family, dtypes.total(), precision, template(model.path), info)


def nests(model: Model, dimensions: int) -> bool:
    """Whether the first `dimensions` of its vectors are vectors too (matryoshka), as config.json declares."""
    if model.engine == "gguf":
        return False
    config = read_json(model.path / "config.json")
    sizes = config.get("matryoshka_dimensions")
    return dimensions in sizes if isinstance(sizes, list) else config.get("is_matryoshka") is True


class Tensor(msgspec.Struct):
    dtype: str = ""
    shape: list[int] = []


def header(file: Path) -> dict[str, Tensor]:
    with file.open("rb") as source:
        length = int.from_bytes(source.read(8), "little")
        if length > LARGEST_HEADER:
            raise ValueError(f"{file.name} is no safetensors file")
        found = msgspec.json.decode(source.read(length), type=dict[str, Tensor])
    found.pop("__metadata__", None)
    return found


def parameters(name: str, tensor: Tensor, quantization: dict[str, Any]) -> int:
    """How many weights a tensor holds; scales and biases of quantized ones are none."""
    layer, _, part = name.rpartition(".")
    if quantization and part in ("scales", "biases"):
        return 0
    size: int = math.prod(tensor.shape)
    if quantization and tensor.dtype == PACKED:
        own = quantization.get(layer)
        bits: int = own["bits"] if isinstance(own, dict) else quantization["bits"]
        return size * PACKED_BITS // bits
    return size


def template(folder: Path) -> str:
    """The chat template, from either of the places where Hugging Face keeps it; empty when there is none."""
    if (alone := folder / "chat_template.jinja").exists():
        return alone.read_text()
    if not (config := folder / "tokenizer_config.json").exists():
        return ""
    found = read_json(config).get("chat_template")
    if isinstance(found, list):  # several, by name
        found = next((one["template"] for one in found if one["name"] == "default"), None)
    return found if isinstance(found, str) else ""
