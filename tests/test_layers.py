"""The rule of imports (who may know whom), read from the source of every module."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = ("opta", "apps", "inference", "cli")
# Floors inside cli and inference, from the ground up; an import goes down or stays in its folder.
CLI = {
    "cli.trust": -1,  # config asks it
    "cli.protocol": 0, "cli.config": 0, "cli.keychain": 0, "cli.output": 0, "cli.sandbox": 0,
    "cli.tools": 1, "cli.clients": 1,
    "cli.agent": 2, "cli.operations": 2, "cli.tui": 2,
    "cli.commands": 3, "cli.daemon": 3, "cli.main": 4,
}  # fmt: skip
INFERENCE = {
    "inference.request": 0, "inference.memory": 0, "inference.errors": 0,
    "inference.config": 0, "inference.gguf": 0,
    "inference.runner": 1, "inference.catalog": 1, "inference.tiny": 1,
    "inference.plan": 2, "inference.quantize": 2, "inference.downloads": 2, "inference.schemas": 2,
    "inference.metadata": 2, "inference.inbox": 2,
    "inference.pool": 3,
    "inference.api": 4, "inference.metrics": 4,
    "inference.urls": 5, "inference.apps": 5, "inference.management": 5,
}  # fmt: skip


def modules() -> dict[str, Path]:
    files = [file for package in OURS for file in (ROOT / package).rglob("*.py")]
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in files
    }


def imports(name: str, file: Path) -> set[str]:
    """Everything a module imports, inside functions too; relative imports made absolute."""
    found = set()
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, base]).rstrip(".")
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def top(name: str) -> str:
    return name.partition(".")[0]


def under(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def offences(forbidden: "callable[[str, str], bool]") -> list[str]:
    return [
        f"{name} imports {target}"
        for name, file in modules().items()
        for target in sorted(imports(name, file))
        if forbidden(name, target)
    ]


def test_it_reads_the_source():
    assert "django" in {top(target) for target in imports("opta.hosts", ROOT / "opta/hosts.py")}


def test_opta_imports_none_of_ours():
    assert offences(lambda name, target: top(name) == "opta" and top(target) in OURS[1:]) == []


def test_apps_inference_and_cli_never_import_one_another():
    sides = OURS[1:]
    assert offences(lambda n, t: top(n) in sides and top(t) in sides and top(n) != top(t)) == []


def test_inside_cli_only_the_daemon_imports_django():
    django = ("django", "ninja", "channels")
    assert offences(lambda n, t: top(n) == "cli" and not under(n, "cli.daemon") and top(t) in django) == []


def test_inside_inference_only_the_runner_imports_an_engine():
    engines = ("mlx", "mlx_lm", "llama_cpp")
    allowed = ("inference.runner", "inference.tiny")
    assert offences(
        lambda n, t: top(n) == "inference" and not any(under(n, a) for a in allowed) and top(t) in engines
    ) == []  # fmt: skip


def floor(name: str) -> tuple[str, int] | None:
    floors = {**CLI, **INFERENCE}
    found = next((key for key in sorted(floors, key=len, reverse=True) if under(name, key)), None)
    return (found, floors[found]) if found else None


def climbs(name: str, target: str) -> bool:
    here, there = floor(name), floor(target)
    if here is None or there is None or here[0] == there[0] or top(name) != top(target):
        return False
    return there[1] >= here[1]


def test_an_import_goes_down_a_floor_or_stays_in_its_folder():
    assert offences(climbs) == []


def test_every_module_of_cli_and_inference_has_a_floor():
    homeless = [n for n in modules() if top(n) in ("cli", "inference") and "." in n and floor(n) is None]
    assert homeless == []
