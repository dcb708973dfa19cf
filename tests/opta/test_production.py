"""The sites' settings on a real domain, loaded by a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

ASK = """
import json, sys
import django; django.setup()
from django.test import Client
client = Client(headers=json.loads(sys.argv[2]))
response = client.get(sys.argv[1], secure="--secure" in sys.argv)
cookies = {name: [bool(c["secure"]), c["domain"]] for name, c in response.cookies.items()}
print(json.dumps({"status": response.status_code, "cookies": cookies, **response.headers}))
"""
ADDRESSES = """
import django; django.setup()
from opta.hosts import site_url
print(site_url("help", "ports"), site_url(""))
"""


@pytest.fixture
def production(tmp_path: Path):
    """Run Python as the sites of optalocal.com would, and return the finished process."""
    base = {
        "OPTA_DOMAIN": "optalocal.com",
        "DJANGO_SETTINGS_MODULE": "opta.settings.sites",
        "OPTA_DATA": str(tmp_path),
    }
    key = {"SECRET_KEY": "a key that is long enough for the check of the deployment, and not a real one"}

    def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, **base, **key, **env}
        return subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environ, capture_output=True, text=True
        )

    return run


def ask(production, path: str, *options: str, headers: dict[str, str], **env: str) -> dict[str, object]:
    done = production("-c", ASK, path, json.dumps(headers), *options, **env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_does_not_start_without_a_secret_key(production):
    done = production("manage.py", "check", SECRET_KEY="")
    assert done.returncode != 0
    assert "SECRET_KEY must be set to serve optalocal.com." in done.stderr


def test_django_finds_nothing_to_warn_about(production):
    done = production("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr


def test_every_address_is_https_on_its_own_port(production):
    done = production("-c", ADDRESSES)
    assert done.stdout.split() == ["https://help.optalocal.com/ports", "https://optalocal.com/"], done.stderr


def test_plain_http_is_sent_to_https(production):
    answer = ask(production, "/ports", headers={"host": "help.optalocal.com"})
    assert (answer["status"], answer["Location"]) == (301, "https://help.optalocal.com/ports")


def test_health_is_answered_on_this_side_of_the_proxy(production):
    assert ask(production, "/api/health", headers={"host": "help.optalocal.com"})["status"] == 200


def test_a_stranger_is_turned_away_and_not_redirected(production):
    answer = ask(production, "/", headers={"host": "evil.example"})
    assert answer["status"] == 404 and answer["X-Frame-Options"] == "DENY"


def test_https_pages_carry_hsts_and_cookies_are_secure(production):
    answer = ask(production, "/login/", "--secure", headers={"host": "admin.optalocal.com"})
    assert answer["status"] == 200
    assert answer["Strict-Transport-Security"] == "max-age=63072000; includeSubDomains; preload"
    assert answer["cookies"] == {"__Host-opta_csrf": [True, ""]}


def test_the_word_of_a_proxy_is_believed_only_where_one_is_known_to_stand(production):
    headers = {"host": "help.optalocal.com", "x-forwarded-proto": "https"}
    assert ask(production, "/", headers=headers)["status"] == 301
    assert ask(production, "/", headers=headers, OPTA_BEHIND_PROXY="1")["status"] == 200


def test_the_session_belongs_to_the_parent_domain_over_https_only(production):
    names = ("SESSION_COOKIE_NAME", "SESSION_COOKIE_DOMAIN", "SESSION_COOKIE_SECURE")
    code = f"from opta.settings import sites; print(*(getattr(sites, name) for name in {names}))"
    assert production("-c", code).stdout.split() == ["__Secure-opta_session", ".optalocal.com", "True"]


def test_on_this_machine_the_key_is_made_once_and_kept(production, tmp_path):
    for _ in range(2):
        production("-c", "import opta.settings.sites", OPTA_DOMAIN="opta.localhost", SECRET_KEY="")
    key = tmp_path / "secret_key"
    assert len(key.read_text()) > 50 and key.stat().st_mode & 0o077 == 0
    assert [file.name for file in tmp_path.iterdir()] == ["secret_key"]
