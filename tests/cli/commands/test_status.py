"""`opta status`, `opta models`, `opta sessions` and `opta serve`: what a script and a person read."""

import http.server
import json
import signal
import threading
from collections.abc import Iterator

import pytest

from tests.processes import answers, free_port, wait_until


@pytest.fixture
def stranger() -> Iterator[str]:
    """A web server that is none of ours."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def states(shell) -> dict[str, str]:
    return {part["name"]: part["state"] for part in shell.json("status")}


def test_what_is_down_is_named_with_its_url_and_what_to_do(bare):
    done = bare("status")
    rows = {line.split("\t")[0]: line.split("\t") for line in done.stdout.splitlines()}
    assert done.returncode == 1
    assert {name: row[1] for name, row in rows.items()} == dict.fromkeys(("daemon", "lmx", "sites"), "down")
    assert rows["daemon"][4] == "opta daemon start"
    assert rows["lmx"][2] == bare.env["OPTA_LMX_URL"]
    assert "opta serve" in rows["lmx"][4]
    assert bare.env["OPTA_SITES_PORT"] in rows["sites"][2]


def test_asking_starts_nothing(bare):
    bare("status")
    assert bare("daemon", "status").returncode == 5


def test_what_is_up_is_said_to_be(opta):
    opta("daemon", "start")
    assert states(opta) == {"daemon": "up", "lmx": "up", "sites": "down"}


def test_the_sites_count_too(opta, start_sites):
    opta("daemon", "start")
    opta.env["OPTA_SITES_PORT"] = start_sites().url.rpartition(":")[2]
    done = opta("status")
    assert done.returncode == 0, done.stdout


def test_models_are_listed(opta):
    assert opta("models").stdout.split("\t")[0] == "opta-tiny"
    assert [model["id"] for model in opta.json("models")] == ["opta-tiny"]


def test_models_without_lmx(stranded):
    done = stranded("models")
    assert done.returncode == 4
    assert stranded.env["OPTA_LMX_URL"] in done.stderr


def test_something_else_on_lmxs_port_is_not_lmx(bare, stranger):
    bare.env["OPTA_LMX_URL"] = stranger
    done = bare("models")
    assert done.returncode == 4
    assert stranger.rpartition(":")[2] in done.stderr
    assert states(bare)["lmx"] == "down"
    bare("daemon", "stop")
    (part,) = [part for part in bare.json("status") if part["name"] == "lmx"]
    assert (part["state"], "not LMX" in part["detail"]) == ("down", True)


def test_the_models_and_the_state_of_every_server_are_the_daemons(opta, lmx):
    away = f"http://127.0.0.1:{free_port()}"
    for name, url in (("studio", lmx.url), ("gone", away)):
        assert opta("providers", "add", name, "--kind", "lmx", "--url", url).returncode == 0
    listed = opta("models", "--json", OPTA_LMX_URL=away)
    models = json.loads(listed.stdout)
    assert [model["id"] for model in models] == ["opta-tiny", "studio/opta-tiny"]
    assert {(model["size_bytes"] > 0, model["context"] > 0) for model in models} == {(True, True)}
    assert "gone: " in listed.stderr and away in listed.stderr
    parts = {part["name"]: part for part in json.loads(opta("status", "--json", OPTA_LMX_URL=away).stdout)}
    assert {name: parts[name]["state"] for name in ("lmx", "studio", "gone")} == {
        "lmx": "up", "studio": "up", "gone": "down",
    }  # fmt: skip
    assert (parts["lmx"]["url"], away in parts["lmx"]["next"]) == (opta.env["OPTA_LMX_URL"], True)
    assert "opta-tiny" in parts["studio"]["detail"]
    for name in ("studio", "gone"):
        opta("providers", "remove", name)
    empty = opta("providers", "list")
    assert (empty.stdout, "opta providers add" in empty.stderr) == ("", True)


def test_what_fills_the_window_is_shown(opta):
    nothing = opta("context")
    assert (nothing.returncode, str(opta.folder) in nothing.stderr) == (2, True)
    opta("do", "hello")
    rows = [line.split("\t") for line in opta("context").stdout.splitlines()]
    names = [row[0] for row in rows]
    assert names[:2] == ["system prompt", "tools"]
    assert names[-2:] == ["kept for the answer", "free"]
    view = opta.json("context", opta.sessions()[0]["id"][:8])
    assert sum(int(row[1]) for row in rows) == view["window"] == view["used"] + view["reserve"] + view["free"]
    chat = opta("chat", "-r", input=b"/context\n")
    assert "system prompt" in chat.stdout, chat.stderr


def test_sessions_are_listed_newest_first_for_a_script(opta):
    opta("do", "first")
    opta("do", "second")
    rows = [line.split("\t") for line in opta("sessions").stdout.splitlines()][:2]
    assert [row[1] for row in rows] == ["second", "first"]
    assert [row[0] for row in rows] == [session["id"] for session in opta.sessions()]
    shown = opta("sessions", "show", rows[0][0][:8]).stdout
    assert shown.startswith("user:\nsecond\n")


def test_serve_runs_lmx_in_the_foreground(bare, models):
    port = free_port()
    process = bare.start("serve", "--port", str(port), "--models", str(models))
    wait_until(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}/healthz"), "LMX")
    bare.env["OPTA_LMX_URL"] = f"http://127.0.0.1:{port}"
    assert bare("models").stdout.startswith("opta-tiny")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert bare("models").returncode == 4
