"""`make bench`: LMX beside mlx_lm.server and llama_cpp.server of the pinned versions, on the same files.

Prints every figure and its ratio, and what the server around an engine costs. The status is 1 when a
ratio misses its bound.
"""

import asyncio
import importlib.metadata
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inference.pool import environment
from tests import processes
from tests.bench.measure import compare
from tests.inference.gguf import write_tiny
from tests.processes import ROOT, Role

ROUNDS = 3
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
        bounds(1.0, 1.0, 1.0, 1.2) if METAL else bounds(2.5, 0.25, 0.4, 4.0),
    ),
    Match(
        "gguf", "llama-cpp-python", llama_server, "/v1/models",
        {"decode_tps": ("≥", 1.0), "tps@8": ("≥", 3.5), "ttft@8_ms": ("≤", 0.2)},
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


def alone(engine: str, model: Path) -> float:
    """Tokens per second of one stream in the engine itself, as a runner's process is started."""
    command = [sys.executable, "-m", "tests.bench.alone", engine, str(model)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True, text=True)
    return float(done.stdout)


def play(match: Match, folder: Path, model: Path, served: Path) -> bool:
    """Measure and print one match; whether every bound held."""
    version = importlib.metadata.version(match.package)
    print(f"\n{match.engine}: LMX and {match.package} {version}, {ROUNDS} rounds each …", flush=True)
    bare = alone(match.engine, model)
    ours, theirs = processes.lmx(folder, served), peer(match, folder, model)
    try:
        figures = asyncio.run(compare([ours.url, theirs.url], ROUNDS))
    finally:
        ours.stop()
        theirs.kill()
    print(f"{'figure':<14}{'LMX':>10}{'peer':>10}{'ratio':>8}  bound")
    for name, (our, their) in figures.items():
        print(line(match.bounds, name, our, their))
    decode = figures["decode_tps"][0]
    print(line(AROUND, "around", decode, bare), "(of the engine alone)", flush=True)
    held = [holds(match.bounds, name, our / their) for name, (our, their) in figures.items()]
    return all(held) and holds(AROUND, "around", decode / bare)


def main() -> int:
    wanted = sys.argv[1:] or [match.engine for match in MATCHES]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tiny = folder / "mlx" / "opta-tiny"
        make = [sys.executable, "manage.py", "make_tiny_model", str(tiny)]
        subprocess.run(make, cwd=ROOT, check=True)
        models = {"mlx": tiny, "gguf": write_tiny(folder / "gguf" / "tiny.gguf", tiny)}
        held = [
            play(match, folder, models[match.engine], folder / match.engine)
            for match in MATCHES
            if match.engine in wanted
        ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
