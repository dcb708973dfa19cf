"""Fixtures every folder of tests shares: the tiny model, and real roles on free ports."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from hypothesis import HealthCheck, settings
from pytest_django import Settings

from tests import processes
from tests.processes import ROOT, Role

# How fast examples are made and tried is the machine's matter, and two processes share it.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# A shell starts what runs in its background with these ignored, and every process that a test starts
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Every process that a test starts, and whatever that starts, has ended with the last test."""
    os.environ["OPTA_TEST_RUN"] = run = uuid4().hex
    yield
    left = [process for process in psutil.process_iter() if belongs(process, run)]
    for process in left:
        process.kill()
    assert left == []


def belongs(process: psutil.Process, run: str) -> bool:
    """Whether this run started it: a process shows the environment that it was started with."""
    try:
        return process.environ().get("OPTA_TEST_RUN") == run
    except psutil.Error:  # it ended meanwhile, or is somebody else's
        return False


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that holds `opta-tiny`."""
    folder = tmp_path_factory.mktemp("models")
    make = [sys.executable, "manage.py", "make_tiny_model", str(folder / "opta-tiny")]
    subprocess.run(make, cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="session")
def long_winded(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """The tiny model told to speak for 500 tokens, so that there is a middle to break off in."""
    return speaking(models, tmp_path_factory.mktemp("long"), tokens=500)


def speaking(models: Path, folder: Path, tokens: int) -> Path:
    """A folder of models like `models`, whose tiny model says so many tokens."""
    shutil.copytree(models / "opta-tiny", folder / "opta-tiny")
    config = folder / "opta-tiny" / "generation_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_new_tokens": tokens}))
    return folder


@pytest.fixture(scope="session")
def lmx(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Role]:
    """One LMX for the whole run; a test that kills it starts its own by `start_lmx`."""
    role = processes.lmx(tmp_path_factory.mktemp("lmx"), models)
    yield role
    role.stop()


@pytest.fixture
def start_lmx(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Callable[..., Role]]:
    yield from starter(lambda **env: processes.lmx(tmp_path_factory.mktemp("lmx"), models, **env))


@pytest.fixture
def start_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Role]]:
    """start_daemon(lmx_url=…, home=…): the same home twice is the same daemon started again."""

    def start(lmx_url: str, home: Path | None = None, **env: str) -> Role:
        return processes.daemon(home or tmp_path_factory.mktemp("opta"), lmx_url, **env)

    yield from starter(start)


@pytest.fixture
def start_sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Role]]:
    yield from starter(lambda **env: processes.sites(tmp_path_factory.mktemp("sites"), **env))


def starter(start: Callable[..., Role]) -> Iterator[Callable[..., Role]]:
    """Hand out `start`, and end what it started when the test is over."""
    started: list[Role] = []

    def starting(*args: Any, **kwargs: Any) -> Role:
        started.append(start(*args, **kwargs))
        return started[-1]

    yield starting
    for role in started:
        role.stop()


def role(settings: Settings, name: str) -> None:
    """Give an in-process test the urls, middleware and hosts of a role: `role(settings, "daemon")`."""
    wiring = importlib.import_module(f"opta.settings.{name}")
    for key in ("ROOT_URLCONF", "MIDDLEWARE", "WEBSOCKETS", "ALLOWED_HOSTS"):
        setattr(settings, key, getattr(wiring, key))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Other systems have no test of what Linux alone has, rather than one that is skipped."""
    if sys.platform == "linux":
        return
    foreign = [item for item in items if item.get_closest_marker("linux")]
    config.hook.pytest_deselected(items=foreign)
    items[:] = [item for item in items if item not in foreign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[Any]:
    """OPTA_NO_SKIPS=1, for a machine that has every part: a skipped test is a failed one."""
    report = yield
    return refuse_skip(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[Any]:
    report = yield
    return refuse_skip(report)


def refuse_skip(report: Any) -> Any:
    if report.skipped and os.environ.get("OPTA_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped where no skip is allowed: {report.longrepr}"
    return report
