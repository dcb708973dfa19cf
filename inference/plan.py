"""Which engine runs a model, and from which file: decided before a load, or because one failed."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import psutil

from inference.catalog import Catalog, Model
from inference.errors import LoadFailed

# The package that each engine cannot do without, and how to get it.
PACKAGES = {"mlx": ("mlx_lm", "requirements/lmx.txt"), "gguf": ("llama_cpp", "requirements/gguf.txt")}
# The share of the free memory that a context may take when the model is in it, and what it is worth at least.
CONTEXT_SHARE, LEAST_CONTEXT = 0.5, 2048


@dataclass(frozen=True)
class Plan:
    """`model` is asked for, and `weights` are loaded: its own, or a GGUF of it, for the reason `fallback`;
    `plain` as in Assignment."""

    model: Model
    weights: Model
    fallback: str | None = None
    plain: bool = False

    def after(self, failed: Sequence[LoadFailed]) -> "Plan":
        """The same, knowing what failed before it."""
        if not failed or self.weights is self.model:
            return self
        return replace(self, fallback=failed[0].message)

    def plainly(self) -> "Plan | None":
        """What may serve where this crashed. llama.cpp's way through AMX crashes on some machines with
        quantized weights (seen with llama-cpp-python 0.3.36, Q4_0 and Q8_0)."""
        return replace(self, plain=True) if self.weights.engine == "gguf" and not self.plain else None

    @property
    def context(self) -> int:
        """Tokens of prompt and answer that there is memory for, where the file tells what one takes."""
        each = self.weights.token_bytes
        if not each:
            return self.weights.context
        free = (psutil.virtual_memory().available - self.weights.size_bytes) * CONTEXT_SHARE
        return min(self.weights.context, max(LEAST_CONTEXT, int(free / each)))

    def require_engine(self) -> None:
        """Raises LoadFailed with the line that installs what is missing."""
        package, requirements = PACKAGES[self.weights.engine]
        if find_spec(package) is None:
            raise LoadFailed(
                f"{self.model.id} needs {package}, which is not installed here. Install it, and ask again: "
                f".venv/bin/python -m pip install -r {requirements}",
                field="model",
                status=400,
                code="engine_missing",
            )


def plans(model: Model, catalog: Catalog) -> Iterator[Plan]:
    """What to try in turn. On a CPU, quantized weights are left to llama.cpp where a GGUF of them is here:
    MLX is some forty times slower with them there (measured with 4 bits)."""
    own = Plan(model, model)
    other = catalog.sibling(model, psutil.virtual_memory().available) if model.engine == "mlx" else None
    if other is None:
        yield own
    elif model.quantized and not accelerated() and find_spec("llama_cpp"):
        yield Plan(model, other, "MLX is slow with quantized weights on a CPU")
        yield own
    else:
        yield own
        yield Plan(model, other)


def accelerated() -> bool:
    """Whether this machine has Metal or CUDA."""
    return sys.platform == "darwin" or Path("/dev/nvidiactl").exists()
