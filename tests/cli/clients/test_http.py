"""Server-sent events as bytes come: what the framing may not lose or tear."""

from cli.clients.http import frames


def lines(text: str) -> list[bytes]:
    return text.encode().splitlines(keepends=True)


def test_a_frame_is_its_data():
    assert list(frames(lines("id: 4\ndata: one\n\ndata:two\n\n"))) == [b"one", b"two"]


def test_lines_of_one_frame_are_joined():
    assert list(frames(lines("data: a\r\ndata: b\r\n\r\n"))) == [b"a\nb"]


def test_pings_are_no_events():
    assert list(frames(lines(": ping\n\n"))) == []


def test_a_frame_that_was_cut_short_is_dropped():
    assert list(frames(lines("data: whole\n\ndata: ha"))) == [b"whole"]


def test_unicode_line_separators_do_not_end_a_line():
    text = "a\u2028b\x85c\x0bd"
    assert list(frames([f"data: {text}\n".encode(), b"\n"])) == [text.encode()]
