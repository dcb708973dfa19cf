"""The worker as the Procfile runs it: one process, on folders of files and on Redis."""

import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from honcho.environ import parse_procfile

from tests.processes import ROOT, free_port, wait_until


def command() -> list[str]:
    """The worker's line of the Procfile, by this interpreter."""
    words = shlex.split(parse_procfile((ROOT / "Procfile").read_text()).processes["worker"])
    return [sys.executable, "-m", *words[words.index("celery") :]]


@dataclass
class Worker:
    """A worker with a data folder, and a database, of its own."""

    data: Path
    env: dict[str, str]
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def log(self) -> str:
        return (self.data / "worker.log").read_text()

    @property
    def queue(self) -> list[str]:
        """The messages that wait in the folder."""
        return sorted(os.listdir(self.data / "celery" / "queue"))

    def python(self, *arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], cwd=ROOT, env=self.env, check=True)

    def start(self) -> None:
        with (self.data / "worker.log").open("ab") as out:
            self.process = subprocess.Popen(command(), cwd=ROOT, env=self.env, stdout=out, stderr=out)

    def wait(self, true: Callable[[], object], what: str, deadline: float = 60) -> None:
        """Wait for a condition; a worker that ended meanwhile fails the test with its log."""
        wait_until(lambda: self.process.poll() is not None or true(), f"{what}\n{self.log}", deadline)
        assert self.process.poll() is None, self.log

    def polls(self) -> list[str]:
        """When each poll that left rows began."""
        database = sqlite3.connect(f"file:{self.data / 'sites.sqlite3'}?mode=ro", uri=True)
        try:
            return [at for (at,) in database.execute("SELECT DISTINCT at FROM status_check ORDER BY at")]
        finally:
            database.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=5)  # `make up` waits that long, then kills


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """start_worker(REDIS_URL=…): everything polled is where nothing listens, unless said otherwise."""
    started: list[Worker] = []

    def start(*, before: Callable[[Worker], None] = lambda worker: None, **env: str) -> Worker:
        nobody = f"http://127.0.0.1:{free_port()}"
        env = {
            **os.environ, "DJANGO_SETTINGS_MODULE": "opta.settings.sites", "OPTA_DATA": str(tmp_path),
            "OPTA_SITES_PORT": str(free_port()), "OPTA_LMX_URL": nobody, "OPTA_DAEMON_URL": nobody,
            "DATABASE_URL": "", "REDIS_URL": "", **env,
        }  # fmt: skip
        worker = Worker(tmp_path, env)
        worker.python("manage.py", "migrate", "--verbosity=0")
        before(worker)
        started.append(worker)
        worker.start()
        return worker

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port), "redis-server")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


def test_it_polls_at_its_start_and_again_by_the_timetable(start_worker):
    worker = start_worker()
    worker.wait(worker.polls, "the first poll", 20)
    assert psutil.Process(worker.process.pid).children() == [], "one process, so that none is left behind"
    worker.wait(lambda: len(worker.polls()) > 1, "the poll that is due after 30 s", 60)
    worker.wait(lambda: worker.queue == [], "an empty queue")
    assert worker.stop() == 0
    assert worker.queue == []


def test_it_stops_while_a_service_keeps_it_waiting(start_worker):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and never answers
        worker = start_worker(OPTA_LMX_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        silent.settimeout(60)
        with silent.accept()[0]:
            assert worker.stop() == 0
    assert worker.polls() == [], "half a poll is no poll"


def test_a_killed_worker_leaves_no_one_who_fills_the_queue(start_worker):
    worker = start_worker()
    worker.wait(worker.polls, "the first poll", 20)
    family = [
        psutil.Process(worker.process.pid),
        *psutil.Process(worker.process.pid).children(recursive=True),
    ]
    worker.process.kill()
    worker.process.wait()
    assert not any(process.is_running() for process in family)
    assert worker.queue == []


def test_polls_that_waited_too_long_are_dropped_not_caught_up(start_worker):
    def old(worker: Worker) -> None:
        late = "from opta.celery import POLL, app\nfor _ in range(20): app.send_task(POLL, expires=0.01)"
        worker.python("-c", late)
        assert len(worker.queue) == 20

    worker = start_worker(before=old)
    worker.wait(worker.polls, "the first poll", 20)
    worker.wait(lambda: worker.queue == [], "an empty queue", 30)
    assert worker.stop() == 0
    assert len(worker.polls()) == 1
    assert worker.log.count("Discarding revoked task") == 20


def test_it_works_on_redis_when_there_is_one(start_worker, redis_url):
    worker = start_worker(REDIS_URL=redis_url)
    worker.wait(worker.polls, "the first poll", 20)
    assert not (worker.data / "celery").exists()
    assert worker.stop() == 0
