"""Processes: runners that die, servers that are stopped or killed, models that do not load."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from tests.inference import chat
from tests.processes import ROOT, Role, wait_until

Start = Callable[..., Role]


def run(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def test_a_killed_runner_fails_the_answers_in_flight_and_the_next_request_loads_it_again(start_lmx: Start):
    lmx = start_lmx()
    expected = chat.text(lmx.url)
    first = chat.runner(lmx.url)["pid"]
    with chat.streaming(lmx.url, max_tokens=8000) as chunks, ThreadPoolExecutor() as threads:
        next(chunks)
        whole = threads.submit(chat.post, lmx.url, max_tokens=8000)
        wait_until(lambda: chat.runner(lmx.url)["in_flight"] == 2, "both requests to run")
        os.kill(first, signal.SIGKILL)
        *_, last = chunks
        assert last["error"]["code"] == "runner_died"
        assert "SIGKILL" in last["error"]["message"]
        assert (whole.result().status_code, whole.result().json()["error"]["code"]) == (500, "runner_died")
    assert chat.text(lmx.url) == expected
    assert chat.runner(lmx.url)["pid"] != first


LONG = {"model": "auto", "stream": True}
# How the last line of a broken stream begins, in each dialect.
BROKEN: dict[str, tuple[dict[str, object], str]] = {
    "/v1/completions": ({"prompt": "hello", "max_tokens": 8000}, 'data: {"error":{"message":"'),
    "/v1/responses": ({"input": "hello", "max_output_tokens": 8000}, 'data: {"type":"response.failed",'),
    "/v1/messages": (
        {"messages": chat.HELLO, "max_tokens": 8000},
        'data: {"type":"error","error":{"type":"api_error","message":"',
    ),
    "/api/chat": ({"messages": chat.HELLO, "options": {"num_predict": -1}}, '{"error":"'),
    "/api/generate": ({"prompt": "hello", "options": {"num_predict": -1}}, '{"error":"'),
}


def test_a_killed_runner_is_told_of_in_every_dialect(start_lmx: Start):
    lmx = start_lmx()
    chat.text(lmx.url)

    def last(path: str) -> str:
        with httpx.stream("POST", lmx.url + path, json={**LONG, **BROKEN[path][0]}, timeout=60) as response:
            return [line for line in response.iter_lines() if line][-1]

    with ThreadPoolExecutor() as threads:
        told = [threads.submit(last, path) for path in BROKEN]
        wait_until(lambda: chat.runner(lmx.url)["activity"]["decoding"] == len(BROKEN), "all of them to run")
        os.kill(chat.runner(lmx.url)["pid"], signal.SIGKILL)
        for (_, beginning), line in zip(BROKEN.values(), told, strict=True):
            assert line.result().startswith(beginning)
            assert "SIGKILL" in line.result()


def test_requests_that_come_together_wait_for_one_load(start_lmx: Start):
    lmx = start_lmx()
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: chat.text(lmx.url), range(6)))
    assert len(set(answers)) == 1
    assert len(psutil.Process(lmx.pid).children()) == 1


def test_stopping_ends_open_streams_with_a_reason_and_leaves_no_process(start_lmx: Start):
    lmx = start_lmx()
    chat.text(lmx.url)
    runner = psutil.Process(chat.runner(lmx.url)["pid"])
    with chat.streaming(lmx.url, max_tokens=8000) as chunks:
        next(chunks)
        lmx.process.send_signal(signal.SIGTERM)
        *_, last = chunks
        assert last["error"]["code"] == "shutting_down"
    lmx.process.wait(3)
    assert not runner.is_running()


def test_a_runner_outlives_a_killed_front_by_moments_only(start_lmx: Start):
    lmx = start_lmx()
    chat.text(lmx.url)
    runner = psutil.Process(chat.runner(lmx.url)["pid"])
    lmx.kill()
    wait_until(lambda: not runner.is_running(), "the runner to end by itself", 5)


def test_a_model_that_cannot_be_loaded_is_told_why(start_lmx: Start, models: Path, tmp_path: Path):
    shutil.copytree(models / "opta-tiny", tmp_path / "opta-tiny")
    broken = tmp_path / "org" / "broken"
    shutil.copytree(models / "opta-tiny", broken)
    (broken / "model.safetensors").write_bytes(b"no tensors")
    lmx = start_lmx(LMX_MODELS=str(tmp_path))
    for stream in (False, True):
        response = chat.post(lmx.url, model="org/broken", stream=stream)
        assert response.status_code == 500
        assert response.json()["error"]["code"] == "model_load_failed"
        assert "org/broken" in response.json()["error"]["message"]
    assert "Traceback" in lmx.log.read_text()
    # The other model is there for whoever asks for it.
    assert chat.text(lmx.url, model="opta-tiny")


def with_template(models: Path, folder: Path, template: str) -> None:
    """A copy of the tiny model in `folder`, whose chat template is `template`."""
    shutil.copytree(models / "opta-tiny", folder)
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "chat_template": template}))


def test_a_runner_that_says_very_much_is_not_held_up(start_lmx: Start, models: Path, tmp_path: Path):
    with_template(models, tmp_path / "loud", "{{ 'x'.encode(messages[0]['content']) }}")
    lmx = start_lmx(LMX_MODELS=str(tmp_path))
    long = [{"role": "user", "content": "x" * 200_000}]
    codes = [chat.post(lmx.url, messages=long).json()["error"]["code"] for _ in range(4)]
    assert codes == ["tokenizer_failed"] * 4


def test_a_template_that_makes_nothing_ends_only_its_own_request(
    start_lmx: Start, models: Path, tmp_path: Path
):
    with_template(models, tmp_path / "shy", "{{ messages[0]['name'] }}")
    lmx = start_lmx(LMX_MODELS=str(tmp_path))
    named = [{"role": "user", "content": "hello", "name": "alice"}]
    with chat.streaming(lmx.url, messages=named, max_tokens=60) as chunks:
        found = [next(chunks)]
        refused = chat.post(lmx.url)
        found += chunks
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "empty_prompt")
    assert found[-1]["choices"][0]["finish_reason"]


def test_a_taken_port_is_named(lmx: Role, tmp_path: Path):
    port = lmx.env["LMX_PORT"]
    env = {**os.environ, **lmx.env}
    found = subprocess.run(
        [sys.executable, "manage.py", "lmx"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert found.returncode == 1
    assert f"127.0.0.1 port {port}" in found.stderr
    assert "Traceback" not in found.stderr


def test_wrong_choices_are_named_all_at_once():
    env = {**os.environ, "LMX_PORT": "eleven", "LMX_MODELS": "relative/path"}
    command = [sys.executable, "manage.py", "lmx", "--load-timeout", "0"]
    found = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert found.returncode == 1
    assert all(
        name in found.stderr for name in ("LMX_PORT=eleven", "LMX_MODELS=relative/path", "--load-timeout=0")
    )
