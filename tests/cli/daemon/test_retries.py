"""What is asked for again under the same id: the same answer, or a refusal, and never a second thing."""

from tests.cli.daemon.conftest import V3

MADE = {"cwd": "/", "tools": ["glob"], "system": "Be kind.", "instructions": "Be short."}
OTHERS = ({"cwd": "/usr"}, {"tools": []}, {"system": "Be rude."}, {"instructions": "Be long."})


async def test_an_id_is_refused_to_a_session_of_another_make(standing_v3: V3):
    await standing_v3.create(id="s", **MADE)
    for other in OTHERS:
        answer = await standing_v3.http.post("/v3/sessions", json={"id": "s", **MADE, **other})
        assert (answer.status_code, answer.json()["field"]) == (409, "id"), other
    for less in (MADE, {"title": "another"}):
        assert (await standing_v3.http.post("/v3/sessions", json={"id": "s", **less})).status_code == 200
