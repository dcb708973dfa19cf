"""`make bench`: LMX beside mlx_lm.server of the same version, on the same files, in one run.

Prints every figure and its ratio. The status is 1 when a ratio misses its bound.
"""

import asyncio
import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import processes
from tests.bench.measure import compare
from tests.processes import ROOT, Role

ROUNDS = 3
# What the ratio of ours to the peer's must be: of speeds at least, of times at most.
BOUNDS = {"decode_tps": ("≥", 1.5), "prefill_tps": ("≥", 3.0), "warm_ttft_ms": ("≤", 1.0)}


def peer(folder: Path, model: Path) -> Role:
    port = processes.free_port()
    command = [sys.executable, "-m", "mlx_lm.server", "--model", str(model), "--port", str(port)]
    role = Role(command, f"http://127.0.0.1:{port}", folder, {"HF_HUB_OFFLINE": "1"}, folder / "peer.log")
    return role.start("/health")


def holds(name: str, ratio: float) -> bool:
    sign, bound = BOUNDS.get(name, ("≥", 0.0))
    return ratio >= bound if sign == "≥" else ratio <= bound


def line(name: str, ours: float, theirs: float) -> str:
    ratio = ours / theirs
    sign, bound = BOUNDS.get(name, ("", ""))
    verdict = f"{sign} {bound} {'ok' if holds(name, ratio) else 'MISSED'}" if sign else ""
    return f"{name:<14}{ours:>10.1f}{theirs:>10.1f}{ratio:>8.2f}  {verdict}".rstrip()


def main() -> int:
    version = importlib.metadata.version("mlx-lm")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = folder / "models" / "opta-tiny"
        make = [sys.executable, "manage.py", "make_tiny_model", str(model)]
        subprocess.run(make, cwd=ROOT, check=True)
        servers = [processes.lmx(folder, model.parent), peer(folder, model)]
        print(f"LMX and mlx_lm.server {version}, {ROUNDS} rounds each …", flush=True)
        try:
            ours, theirs = servers
            figures = asyncio.run(compare([ours.url, theirs.url], ROUNDS))
        finally:
            for server in servers:
                server.stop()
    print(f"{'figure':<14}{'LMX':>10}{'mlx_lm':>10}{'ratio':>8}  bound")
    for name, (our, their) in figures.items():
        print(line(name, our, their))
    return 0 if all(holds(name, our / their) for name, (our, their) in figures.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
