"""What LMX answers to whatever its own schema allows, and to what it does not: only what /docs say."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests import processes
from tests.processes import Role

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Role]:
    """LMX with a tiny model that cannot hold more than a few words, whatever it is asked for."""
    folder = tmp_path_factory.mktemp("brief")
    shutil.copytree(models / "opta-tiny", folder / "opta-tiny")
    config = folder / "opta-tiny" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 48}))
    role = processes.lmx(tmp_path_factory.mktemp("lmx"), folder)
    yield role
    role.stop()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """One for all of a test: its connections are closed when it ends, those of broken streams too."""
    with requests.Session() as session:
        yield session


SETTINGS = settings(
    max_examples=6, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_is_documented(brief: Role, mode: GenerationMode, session: requests.Session):
    described = schemathesis.openapi.from_url(f"{brief.url}/openapi.json")
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 15
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue  # nothing to be wrong about

        @SETTINGS
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
                case.body["model"] = "auto"  # or hardly a request would reach the model
            case.call_and_validate(base_url=brief.url, checks=CHECKS, timeout=30, session=session)

        ask()
