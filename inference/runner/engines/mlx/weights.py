"""The weights of a model folder, as mlx_lm loads them, in the precision that this machine is fastest in."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import mlx.core as mx
import psutil
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import load_model


class Weights:
    """A model in memory. Raises whatever mlx_lm raises for a folder that it cannot load, or that holds a
    model which cannot take a step."""

    def __init__(self, folder: Path, **options: Any) -> None:
        if on_cpu():
            # Compiled CPU kernels call a C++ compiler at run time: seconds at the first token, no gain after.
            mx.disable_compile()
        self.model, self.config = load_model(folder, lazy=True, **options)
        if on_cpu() and widenable(self.model, self.config):
            self.model.set_dtype(mx.float32)
        mx.eval(self.model.parameters())
        self.dtype = precision(self.model, self.config)
        scores = self.model(mx.array([[0]]), cache=make_prompt_cache(self.model))
        mx.eval(scores)
        # How many tokens the model scores.
        self.vocabulary: int = scores.shape[-1]


def arrays(model: Any) -> list[mx.array]:
    named: Any = tree_flatten(model.parameters())
    return [array for _, array in named]


def on_cpu() -> bool:
    return bool(mx.default_device().type == mx.DeviceType.cpu)


def device() -> str:
    return "cpu" if on_cpu() else "gpu"


def widenable(model: Any, config: dict[str, Any]) -> bool:
    """Whether the weights may become f32, a CPU's fastest: they are not quantized, and memory has room."""
    if "quantization" in config or "quantization_config" in config:
        return False
    parameters = sum(array.size for array in arrays(model))
    return parameters * 4 < psutil.virtual_memory().available * 0.7


def precision(model: Any, config: dict[str, Any]) -> str:
    """How the weights are held: the dtype of most of them, or the bits they were quantized to."""
    if bits := config.get("quantization", {}).get("bits"):
        return f"{bits}-bit"
    sizes: Counter[str] = Counter()
    for array in arrays(model):
        sizes[str(array.dtype).removeprefix("mlx.core.")] += array.nbytes
    return sizes.most_common(1)[0][0]


def blas() -> str:
    """What multiplies matrices on the CPU here; what is loaded, not what was asked for."""
    if not on_cpu():
        return "none"
    if sys.platform == "darwin":
        return "accelerate"
    return "openblas" if "/libopenblas" in Path("/proc/self/maps").read_text() else "reference"
