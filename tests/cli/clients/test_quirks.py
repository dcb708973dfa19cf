"""Servers that speak OpenAI's wire each in their own way: what they meant is understood, or told."""

import asyncio

import pytest

from cli.clients.openai import OpenAI
from cli.config import Limits
from cli.protocol.failures import Failure
from cli.protocol.messages import Finish, Reasoning, ToolCall
from tests.cli.clients.conftest import said
from tests.scripted import Scripted, chunk, end, text

STOP = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
DONE = b"data: [DONE]\n\n"


@pytest.fixture
def client(one: Scripted, closing) -> OpenAI:
    return closing(OpenAI(one.url, "cloud"))


def delta(**fields: object) -> bytes:
    return chunk(choices=[{"delta": fields}])


def part(name: str | None = None, arguments: object = None, **fields: object) -> dict[str, object]:
    return {"function": {"name": name, "arguments": arguments}, **fields}


F = ("a", "f", "{}")
FRAGMENTS = {
    "no index": ([part("f", "{}", id="a"), part("g", "[]", id="b")], [F, ("b", "g", "[]")]),
    "an index that is null": ([part("f", "{}", id="a", index=None)], [F]),
    "one index for all": ([part("f", "{}", id="a", index=0), part("f", "2", id="b", index=0)],
                          [F, ("b", "f", "2")]),
    "gaps, the later one first": ([part("g", "2", id="b", index=5), part("f", "{}", id="a", index=2)],
                                  [F, ("b", "g", "2")]),
    "by turns": ([part("f", "{", id="a", index=0), part("g", "2", id="b", index=1), part(None, "}", index=0)],
                 [F, ("b", "g", "2")]),
    "a name in pieces": ([part("read_", id="a", index=0), part("file", index=0), part(None, "{}", index=0)],
                         [("a", "read_file", "{}")]),
    "the name each time": ([part("f", "{", id="a", index=0), part("f", "}", id="a", index=0)], [F]),
    "another id each time": ([part("f", "{", id="a", index=0), part(None, "}", id="z", index=0)], [F]),
    "an object": ([part("f", {"x": 1}, id="a", index=0)], [("a", "f", '{"x": 1}')]),
    "no function": ([part("f", "{}", id="a", index=0), {"index": 0, "function": None}], [F]),
    "no id": ([part("f", "1", index=0), part("g", "2", index=1)],
              [("call_0", "f", "1"), ("call_1", "g", "2")]),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "calls"), FRAGMENTS.values(), ids=FRAGMENTS.keys())
@pytest.mark.parametrize("together", [True, False])
async def test_a_call_is_put_together_however_a_server_cuts_it(
    client: OpenAI, one: Scripted, parts, calls, together: bool
):
    cut = [parts] if together else [[each] for each in parts]
    one.will(*(delta(tool_calls=each) for each in cut), end("tool_calls"))
    found = [piece for piece in await said(client) if isinstance(piece, ToolCall)]
    assert [(call.id, call.name, call.arguments) for call in found] == calls


@pytest.mark.parametrize(
    "frames",
    [
        [text("a"), STOP],
        [text("a"), DONE],
        [text("a"), b"data:\n\n", STOP],
        [text("a"), chunk(choices=None, model=None, usage=None), chunk(choices=[{"delta": None}]), DONE],
        [text("a"), STOP, chunk(choices=[], usage={"prompt_tokens": None, "completion_tokens": None})],
        [b'event: x\nid: 1\nretry: 1\ndata: {"choices": [\ndata: {"delta": {"content": "a"}}]}\n\n', DONE],
        [delta(content=[{"type": "text", "text": "a"}]), DONE],
        # A server that does not stream.
        [b'{"choices": [{"message": {"content":\n "a", "tool_calls": null}, "finish_reason": "stop"}]}'],
    ],
)
async def test_an_answer_is_whole_however_a_server_ends_it(client: OpenAI, one: Scripted, frames):
    one.will(*frames)
    assert await said(client) == ["a", Finish(reason="stop")]


async def test_a_list_of_content_has_thoughts_and_text(client: OpenAI, one: Scripted):
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    one.will(delta(content=[thinking, {"type": "text", "text": "a"}]), DONE)
    assert await said(client) == [Reasoning(text="Hm."), "a", Finish(reason="stop")]


@pytest.mark.parametrize("piece", [b"a\\ud83d", b"a\xf0\x9f"])
async def test_half_a_letter_does_not_cost_the_answer(client: OpenAI, one: Scripted, piece: bytes):
    one.will(b'data: {"choices": [{"delta": {"content": "' + piece + b'"}}]}\n\n', text("b"), end())
    (first, second, _) = await said(client)
    assert (str(first)[0], second) == ("a", "b")
    str(first).encode()


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b'{"error": {"message": "none", "code": "model_not_found"}}', "model_not_found", "none"),
        (b'{"error": "no model loaded"}', "upstream_error", "no model loaded"),
        (b'data: {"error": "out of memory"}\n\n', "upstream_error", "out of memory"),
        (b'data: {"object": "error", "message": "bad", "code": 400}\n\n', "upstream_refused", "bad"),
        (b'data: {"error": {"message": "slow down", "code": 429}}\n\n', "provider_busy", "slow down"),
        (b'data: {"error": {"message": "odd", "code": 7}}\n\n', "upstream_error", "odd"),
        (b"<html>Please log in</html>", "upstream_error", "Please log in"),
        (b"data: hello\n\n", "upstream_error", "hello"),
        (text("a") + chunk(choices=[{"delta": {}, "finish_reason": "error"}]), "upstream_error", "broke off"),
        (chunk(choices=[{"finish_reason": "content_filter"}]), "upstream_refused", "withheld"),
        (b"", "upstream_truncated", "before its end"),
    ],
)
async def test_an_error_under_a_200_is_told_in_the_servers_words(
    client: OpenAI, one: Scripted, body, code, words
):
    one.will(body)
    with pytest.raises(Failure, match=words) as caught:
        await said(client)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (400, b'{"detail": "Model not loaded"}', "upstream_refused", "Model not loaded"),
        (422, b'{"detail": [{"msg": "Field required"}]}', "upstream_refused", "Field required"),
        (400, b'{"error": "too long"}', "upstream_refused", r"^too long\.$"),
        (400, b'{"object": "error", "message": "vLLM", "code": 400}', "upstream_refused", r"^vLLM\.$"),
        (429, b'{"error": {"message": "slow down"}}', "provider_busy", "slow down"),
        (503, b'{"error": {"message": "Loading model", "code": 503}}', "provider_busy", "Loading"),
        (500, b"{}", "upstream_error", "500"),
    ],
)
async def test_a_refusal_is_read_in_every_envelope(client: OpenAI, one: Scripted, status, body, code, words):
    one.will(body, status=status)
    with pytest.raises(Failure, match=words) as caught:
        await said(client)
    assert caught.value.code == code


async def test_a_refusal_that_does_not_end_is_a_refusal(one: Scripted, closing):
    client = closing(OpenAI(one.url, "cloud", limits=Limits(idle_seconds=0.2)))
    one.will(b"Out of ", b"memory", asyncio.Event(), status=500)
    with pytest.raises(Failure, match="500: 'Out of memory'"):
        await said(client)


async def test_a_line_without_an_end_does_not_fill_the_memory(client: OpenAI, one: Scripted):
    one.will(*([b"data: " + b"x" * (1 << 20)] * 20))
    with pytest.raises(Failure, match="more than 16 MiB") as caught:
        await said(client)
    assert caught.value.code == "upstream_error"


async def test_a_body_that_cannot_be_unpacked_is_a_failure(client: OpenAI, one: Scripted):
    one.will(b"this is no gzip", content_encoding="gzip")
    with pytest.raises(Failure) as caught:
        await said(client)
    assert caught.value.code == "upstream_truncated"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("whole", "thought", "answer"),
    [
        ("<think>Hm. <b> is < c.</think>\n\nSo.", "Hm. <b> is < c.", "So."),
        ("\n <think></think>So.", "", "So."),
        ("<think>Hm, and cut o</thi", "Hm, and cut o</thi", ""),
        ("<thinking> is a tag.", "", "<thinking> is a tag."),
        ("Say <think>it</think>.", "", "Say <think>it</think>."),
        ("<thi", "", "<thi"),
        ("\n\nSo.\n\n", "", "\n\nSo.\n\n"),
    ],
)
async def test_thoughts_in_the_text_are_told_from_it(
    client: OpenAI, one: Scripted, whole: str, thought: str, answer: str, size: int
):
    one.will(*(text(whole[at : at + size]) for at in range(0, len(whole), size)), end())
    pieces = await said(client)
    assert "".join(piece.text for piece in pieces if isinstance(piece, Reasoning)) == thought
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == answer
