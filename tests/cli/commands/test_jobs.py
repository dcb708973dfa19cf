"""`opta jobs`: a command in the background, from its start to its end."""

import json

from cli.output import Exit


def test_a_job_is_started_listed_read_and_stopped(opta):
    refused = opta("jobs", "start", "true")
    assert (refused.returncode, "opta trust" in refused.stderr) == (Exit.NOT_PERMITTED, True)
    assert opta("trust").returncode == 0
    made = opta("jobs", "start", "--label", "waiting", "echo here; sleep 99")
    id = made.stdout.strip()
    assert made.returncode == 0, made.stderr
    (listed,) = [job for job in opta.json("jobs", "list") if job["cwd"] == str(opta.folder)]
    assert (listed["id"], listed["label"], listed["status"]) == (id, "waiting", "running")
    stopped = opta("jobs", "stop", id[:12])
    assert (stopped.returncode, "SIGTERM" in stopped.stdout) == (0, True)
    assert opta("jobs", "logs", id).stdout == "here\n"
    assert id not in [job["id"] for job in opta.json("jobs", "list")]
    assert opta("jobs", "remove", id).returncode == 0
    assert "no job" in opta("jobs", "logs", id).stderr


def test_following_a_job_ends_with_its_exit_code(opta):
    opta("trust")
    made = opta(
        "jobs", "start", "--env", "WORD=two", "--json", "sh", "-c", 'echo "$1 $WORD"; exit 4', "-", "one"
    )
    followed = opta("jobs", "logs", "--follow", json.loads(made.stdout)["id"])
    assert (followed.returncode, followed.stdout) == (4, "one two\n")
    wrong = opta("jobs", "start", "--env", "WORD", "true")
    assert (wrong.returncode, "NAME=VALUE" in wrong.stderr) == (Exit.MISUSE, True)
