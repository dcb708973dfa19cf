"""`make bench`: LMX beside mlx_lm.server and llama_cpp.server of the pinned versions, on the same files.

Prints every figure and its ratio, and what the server around an engine costs. The status is 1 when a
ratio misses its bound.
"""

import asyncio
import importlib.metadata
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

from inference import tiny
from inference.pool import environment
from tests import processes
from tests.bench import alone
from tests.bench.measure import compare, decode_speed
from tests.inference.gguf import write_tiny
from tests.processes import ROOT, Role

ROUNDS = 3
# Measurements of a stream with a server around it and without, in turn.
PAIRS = 9
SMALL = tiny.Shape(hidden=768, layers=8, heads=12, kv_heads=4, mlp=2048)
Bounds = dict[str, tuple[str, float]]


@dataclass(frozen=True)
class Match:
    """One engine against its peer; a ratio is ours to theirs: of speeds at least, of times at most."""

    engine: str
    package: str
    # Its command for a model and a port, the path that answers when it is ready.
    command: Callable[[Path, int], list[str]]
    ready: str
    bounds: Bounds
    # Writes the model into a folder of its own.
    model: Callable[[Path], Path]


def tiny_folder(folder: Path) -> Path:
    """10M parameters."""
    model = folder / "tiny" / tiny.NAME
    tiny.write(model, quietly)
    return model


def tiny_gguf(folder: Path) -> Path:
    return write_tiny(folder / "tiny-gguf" / "opta-tiny.gguf", tiny_folder(folder))


def small_gguf(folder: Path) -> Path:
    """57M parameters: the weights are fetched from memory for each step, as with every model in use."""
    weights = folder / "small" / "opta-small"
    tiny.write(weights, quietly, SMALL)
    return write_tiny(folder / "small-gguf" / "opta-small.gguf", weights)


def quietly(_: str) -> None:
    """No word of how a model is made."""


def mlx_server(model: Path, port: int) -> list[str]:
    return ["-m", "mlx_lm.server", "--model", str(model), "--port", str(port)]


def llama_server(model: Path, port: int) -> list[str]:
    """By default it breaks off an answer when another one is asked for; here it lets eight queue."""
    given = {"model": model, "port": port, "n_ctx": 8192, "interrupt_requests": "false"}
    options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    return ["-m", "llama_cpp.server", *options]


def bounds(decode: float, prefill: float, turn: float, together: float) -> Bounds:
    return {
        "decode_tps": ("≥", decode), "prefill_ms": ("≤", prefill),
        "turn_ttft_ms": ("≤", turn), "tps@8": ("≥", together),
    }  # fmt: skip


METAL = sys.platform == "darwin"
MATCHES = (
    Match(
        "mlx", "mlx-lm", mlx_server, "/health",
        bounds(1.0, 1.0, 1.0, 1.2) if METAL else bounds(2.5, 0.25, 0.4, 4.0), tiny_folder,
    ),
    Match(
        "gguf", "llama-cpp-python", llama_server, "/v1/models",
        {"decode_tps": ("≥", 1.0), "tps@8": ("≥", 3.5), "ttft@8_ms": ("≤", 0.2)}, tiny_gguf,
    ),
    Match(
        "gguf", "llama-cpp-python", llama_server, "/v1/models",
        {"decode_tps": ("≥", 1.0), "tps@8": ("≥", 3.5), "ttft@8_ms": ("≤", 0.2)}, small_gguf,
    ),
)  # fmt: skip
# Of the speed of an engine alone, what is left with the front and the socket around it.
AROUND = {"around": ("≥", 0.95)}


def holds(bounds: Bounds, name: str, ratio: float) -> bool:
    sign, bound = bounds.get(name, ("≥", 0.0))
    return ratio >= bound if sign == "≥" else ratio <= bound


def line(bounds: Bounds, name: str, ours: float, theirs: float) -> str:
    ratio = ours / theirs
    sign, bound = bounds.get(name, ("", ""))
    verdict = f"{sign} {bound} {'ok' if holds(bounds, name, ratio) else 'MISSED'}" if sign else ""
    return f"{name:<14}{ours:>10.1f}{theirs:>10.1f}{ratio:>8.2f}  {verdict}".rstrip()


def peer(match: Match, folder: Path, model: Path) -> Role:
    port = processes.free_port()
    command = [sys.executable, *match.command(model, port)]
    role = Role(command, f"http://127.0.0.1:{port}", folder, {"HF_HUB_OFFLINE": "1"}, folder / "peer.log")
    return role.start(match.ready)


def around(match: Match, folder: Path, model: Path) -> tuple[float, float]:
    """Tokens per second of one stream over HTTP, and in the engine itself in a process like a runner's:
    measured in turn, and the mean of each."""
    command = [sys.executable, "-m", "tests.bench.alone", match.engine, str(model)]
    pipes: dict[str, Any] = {"stdin": PIPE, "stdout": PIPE, "text": True, "bufsize": 1}
    lmx = processes.lmx(folder, model.parent)
    try:
        with subprocess.Popen(command, cwd=ROOT, env=environment(), **pipes) as bare:
            pairs = []
            for round in range(1 + PAIRS):  # the first one warms up
                bare.stdin.write("\n")
                engines = float(bare.stdout.readline())
                pairs.append((decode_speed(lmx.url, round, alone.TOKENS), engines))
            bare.stdin.close()
    finally:
        lmx.stop()
    served, engine = zip(*pairs[1:], strict=True)
    return statistics.harmonic_mean(served), statistics.harmonic_mean(engine)


def play(match: Match, folder: Path) -> bool:
    """Measure and print one match in an empty `folder`; whether every bound held."""
    model = match.model(folder)
    version = importlib.metadata.version(match.package)
    print(
        f"\n{match.engine}, {model.name}: LMX and {match.package} {version}, {ROUNDS} rounds each …",
        flush=True,
    )
    ours, theirs = processes.lmx(folder, model.parent), peer(match, folder, model)
    try:
        figures = asyncio.run(compare([ours.url, theirs.url], ROUNDS))
    finally:
        ours.stop()
        theirs.kill()
    served, bare = around(match, folder, model)
    print(f"{'figure':<14}{'LMX':>10}{'peer':>10}{'ratio':>8}  bound")
    for name, (our, their) in figures.items():
        print(line(match.bounds, name, our, their))
    print(line(AROUND, "around", served, bare), "(the engine alone)", flush=True)
    held = [holds(match.bounds, name, our / their) for name, (our, their) in figures.items()]
    return all(held) and holds(AROUND, "around", served / bare)


def main() -> int:
    wanted = sys.argv[1:] or [match.engine for match in MATCHES]
    with tempfile.TemporaryDirectory() as temporary:
        played = [match for match in MATCHES if match.engine in wanted]
        held = [play(match, Path(temporary) / match.engine) for match in played]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
