"""`opta daemon token` and `opta daemon open`."""

import stat

import httpx


def test_a_token_is_made_listed_and_revoked(bare):
    made = bare("daemon", "token", "create", "--scope", "read", "--name", "ci", "--expires", "30d")
    token, url = made.stdout.strip(), bare.json("daemon", "status")["url"]
    asked = {"url": f"{url}/v3/sessions", "headers": {"Authorization": f"Bearer {token}"}}
    assert httpx.get(**asked).status_code == 200
    (listed,) = bare.json("daemon", "token", "list")
    assert (listed["name"], listed["scope"], token in str(listed)) == ("ci", "read", False)
    assert bare("daemon", "token", "revoke", listed["id"]).returncode == 0
    assert httpx.get(**asked).status_code == 401
    assert bare("daemon", "token", "revoke", listed["id"]).returncode == 1
    wrong = bare("daemon", "token", "create", "--scope", "read", "--name", "ci", "--expires", "30")
    assert (wrong.returncode, "30d" in wrong.stderr) == (2, True)


def test_the_url_for_a_browser_keeps_its_code_from_logs(bare):
    url = bare("daemon", "open", "--print").stdout.strip()
    page, _, code = url.partition("#")
    assert page.endswith("/v3/access/open")
    origin = page.removesuffix("/v3/access/open")
    headers = {"Origin": origin}
    came = httpx.post(f"{origin}/v3/access/browser", json={"code": code}, headers=headers)
    assert came.json()["scope"] == "write"
    assert code not in (bare.daemon_files / "daemon.log").read_text()


def test_a_token_file_that_others_could_read_is_mended_and_told(bare):
    bare("daemon", "start")
    (bare.daemon_files / "token").chmod(0o644)
    told = bare("sessions")
    assert (told.returncode, "was open to other users" in told.stderr) == (0, True)
    assert stat.S_IMODE((bare.daemon_files / "token").stat().st_mode) == 0o600
    assert bare("sessions").stderr == ""
