"""An answer's text becomes the same content, reasoning and calls however it is cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inference.runner.parsing.case import Case, Made, gathered, like, said
from tests.inference.runner.parsing.cases import json_formats, tag_formats, thinking, written

CASES: list[Case] = [*written.CASES, *json_formats.CASES, *tag_formats.CASES, *thinking.CASES]


def ids(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_it_reads_the_same_wherever_the_text_is_cut(case):
    whole = said(case, [case.text])
    found = gathered(whole)
    assert like(case.expected, found) == case.expected
    assert said(case, case.text) == whole
    for at in range(1, len(case.text)):
        assert said(case, [case.text[:at], case.text[at:]]) == whole


@given(st.sampled_from(CASES), st.lists(st.integers(0, 600), max_size=12))
def test_it_reads_the_same_in_any_chunks(case, cuts):
    places = sorted({0, len(case.text), *(cut % (len(case.text) + 1) for cut in cuts)})
    chunks = [case.text[start:end] for start, end in pairwise(places)]
    assert said(case, chunks) == said(case, [case.text])


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_every_beginning_of_an_answer_is_read(case):
    """Calls that are cut off have valid JSON all the same; `gathered` asserts it."""
    names = [piece.name for piece in case.expected if isinstance(piece, Made)]
    for end in range(0, len(case.text), 5):
        calls = [piece.name for piece in gathered(said(case, [case.text[:end]])) if isinstance(piece, Made)]
        assert calls == names[: len(calls)]
