"""What LMX says about itself: health, models, status, documentation."""

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from inference import schemas
from opta.strict import Strict
from tests.inference import chat
from tests.processes import Role


def test_models_are_listed_in_openais_shape(lmx: Role):
    chat.text(lmx.url, max_tokens=1)
    listed = httpx.get(f"{lmx.url}/v1/models").json()
    (model,) = listed["data"]
    assert listed["object"] == "list"
    assert (model["id"], model["object"], model["owned_by"]) == ("opta-tiny", "model", "local")
    assert model["lmx"]["loaded"] is True
    assert model["lmx"]["context"] == 8192


def test_without_a_model_it_is_alive_but_not_ready(start_lmx: Callable[..., Role], tmp_path: Path):
    lmx = start_lmx(LMX_MODELS=str(tmp_path))
    assert httpx.get(f"{lmx.url}/healthz").status_code == 200
    ready = httpx.get(f"{lmx.url}/readyz")
    assert ready.status_code == 503
    assert str(tmp_path) in ready.json()["reason"]
    assert chat.post(lmx.url).status_code == 404


def test_it_is_ready_when_a_model_is_there(lmx: Role):
    assert httpx.get(f"{lmx.url}/readyz").json() == {"status": "ok", "model": "opta-tiny"}


def test_status_tells_how_the_model_runs(lmx: Role):
    chat.text(lmx.url, max_tokens=1)
    runner = chat.runner(lmx.url)
    activity = runner["activity"]
    assert runner["model"] == "opta-tiny"
    assert runner["pid"] != lmx.pid
    assert activity["memory_bytes"] > 9_000_000
    if activity["device"] == "cpu":
        assert activity["dtype"] == "float32"
        assert activity["blas"] in ("openblas", "accelerate", "reference")
        assert (runner["advice"] is not None) == (activity["blas"] == "reference")


def test_the_documentation_needs_no_other_server(lmx: Role):
    page = httpx.get(f"{lmx.url}/docs")
    assert page.status_code == 200
    assert "//" not in page.text.replace("</", "").partition("<body>")[2]
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-init.js", "favicon.svg"):
        assert f"/docs/{name}" in page.text
        assert httpx.get(f"{lmx.url}/docs/{name}").status_code == 200
    assert httpx.get(f"{lmx.url}/docs/../urls.py").status_code == 404


def test_the_schema_names_what_comes_in_and_what_goes_out(lmx: Role):
    described = httpx.get(f"{lmx.url}/openapi.json").json()
    assert "/v1/chat/stream" in described["info"]["description"]
    paths = described["paths"]
    chat_path = paths["/v1/chat/completions"]["post"]
    assert set(chat_path["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert {"/v1/models", "/healthz", "/readyz", "/admin/status"} < set(paths)
    assert {"400", "404", "429", "503"} < set(chat_path["responses"])
    fields = described["components"]["schemas"]["ChatRequest"]["properties"]
    assert "Accepted without effect" in fields["service_tier"]["description"]


def test_no_two_parts_of_requests_share_a_name():
    # OpenAPI knows them by their names alone, and django-ninja lets the last one stand for all.
    for module in pkgutil.iter_modules(schemas.__path__, f"{schemas.__name__}."):
        importlib.import_module(module.name)
    names = Counter(
        found.__name__ for found in {*below(Strict)} if found.__module__.startswith(schemas.__name__)
    )
    assert len(names) > 20
    assert [name for name, count in names.items() if count > 1] == []


def below(kind: type) -> Iterator[type]:
    for found in kind.__subclasses__():
        yield found
        yield from below(found)
