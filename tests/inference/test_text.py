"""Stop strings: whatever the cuts between chunks, the text is the same, and no stop leaks."""

from hypothesis import given
from hypothesis import strategies as st

from inference.runner.text import Stops

LETTERS = st.text("abc", max_size=24)
STOPS = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3)


def fed(stops: list[str], chunks: list[str]) -> tuple[str, bool]:
    filter = Stops(stops)
    out = ""
    for chunk in chunks:
        out += filter.feed(chunk)
        if filter.stopped:
            return out, True
    return out + filter.flush(), False


def expected(stops: list[str], text: str) -> tuple[str, bool]:
    """By definition: cut before the stop string that is complete first, the longest if several are."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))], True
    return text, False


@given(LETTERS, STOPS, st.data())
def test_every_cut_gives_the_text_before_the_first_stop(text: str, stops: list[str], data: st.DataObject):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    chunks = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert fed(stops, chunks) == expected(stops, text)


@given(LETTERS, STOPS)
def test_what_is_held_back_may_begin_a_stop(text: str, stops: list[str]):
    filter = Stops(stops)
    filter.feed(text)
    assert filter.held == "" or any(stop.startswith(filter.held) for stop in stops)


def test_without_stops_nothing_is_held_back():
    filter = Stops([])
    assert filter.feed("anything") == "anything"
    assert filter.held == ""
