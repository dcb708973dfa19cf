"""The house rules on size; the exceptions stand here with their reasons, and the list only shrinks."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_LINES, FUNCTION_LINES, POSITIONAL = 400, 50, 5
EXCEPTIONS: dict[str, str] = {}
DRAWERS = {"utils", "helpers", "common", "core", "manager", "managers", "service", "services", "misc"}


def sources() -> list[Path]:
    found = [*ROOT.glob("*.py")]
    for package in ("opta", "apps", "inference", "cli", "tests"):
        found += [file for file in (ROOT / package).rglob("*.py") if "migrations" not in file.parts]
    return found


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def unexcused(found: dict[str, object]) -> dict[str, object]:
    return {place: size for place, size in found.items() if place not in EXCEPTIONS}


def test_files_stay_short():
    lengths = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in sources()}
    assert unexcused({place: n for place, n in lengths.items() if n > FILE_LINES}) == {}


def test_functions_stay_short():
    found = {
        f"{file.relative_to(ROOT)}:{node.name}": node.end_lineno - node.lineno + 1
        for file in sources()
        for node in functions(file)
    }
    assert unexcused({place: n for place, n in found.items() if n > FUNCTION_LINES}) == {}


def test_functions_take_few_positional_parameters():
    found = {
        f"{file.relative_to(ROOT)}:{node.name}": len(node.args.posonlyargs) + len(node.args.args)
        for file in sources()
        if "tests" not in file.parts  # a fixture is asked for by a parameter
        for node in functions(file)
    }
    assert unexcused({place: n for place, n in found.items() if n > POSITIONAL}) == {}


def test_every_module_opens_with_a_docstring():
    silent = [
        str(file.relative_to(ROOT))
        for file in sources()
        if file.read_text().strip() and not ast.get_docstring(ast.parse(file.read_text()))
    ]
    assert unexcused(dict.fromkeys(silent)) == {}


def test_no_file_is_a_drawer():
    assert [str(f.relative_to(ROOT)) for f in sources() if f.stem in DRAWERS] == []


def test_every_exception_is_still_needed():
    places = {str(f.relative_to(ROOT)) for f in sources()}
    assert [place for place in EXCEPTIONS if place.partition(":")[0] not in places] == []
