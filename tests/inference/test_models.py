"""What can be asked for, one by one and all together."""

import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import openai

from tests.inference import chat
from tests.processes import Role


def test_a_model_is_found_by_an_id_with_slashes(start_lmx: Callable[..., Role], models: Path, tmp_path: Path):
    shutil.copytree(models / "opta-tiny", tmp_path / "org" / "tiny")
    lmx = start_lmx(LMX_MODELS=str(tmp_path))
    with openai.OpenAI(base_url=f"{lmx.url}/v1", api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["org/tiny"]
        assert client.models.retrieve("org/tiny").id == "org/tiny"
    for path in ("org/tiny", "org%2Ftiny", "auto"):
        found = httpx.get(f"{lmx.url}/v1/models/{path}").json()
        assert (found["id"], found["lmx"]["loaded"], found["lmx"]["kind"]) == ("org/tiny", False, "chat")
    chat.text(lmx.url)
    found = httpx.get(f"{lmx.url}/v1/models/org/tiny").json()
    assert (found["lmx"]["loaded"], found["lmx"]["engine"], found["lmx"]["fallback"]) == (True, "mlx", None)


def test_a_model_that_is_not_there_is_a_404(lmx: Role):
    response = httpx.get(f"{lmx.url}/v1/models/no/such")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


def test_head_is_answered_where_get_is(lmx: Role):
    for path in ("/v1/models", "/v1/models/opta-tiny", "/healthz"):
        response = httpx.head(lmx.url + path)
        assert (response.status_code, response.content) == (200, b"")
    assert httpx.head(f"{lmx.url}/v1/models/no/such").status_code == 404
    assert httpx.head(f"{lmx.url}/v1/chat/completions").status_code == 405
