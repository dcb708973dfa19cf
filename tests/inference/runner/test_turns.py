"""Whose prompt a step reads."""

from hypothesis import given
from hypothesis import strategies as st

from inference.runner.turns import OLDEST, Turns

# Tokens left, and how many of them may be read in one piece.
prompts = st.integers(0, 300).flatmap(lambda left: st.tuples(st.just(left), st.integers(0, left)))


@given(st.lists(prompts), st.integers(0, 500))
def test_a_budget_is_spent_and_no_more_than_there_is(waiting: list[tuple[int, int]], budget: int):
    turns = Turns()
    for _ in range(OLDEST):
        counts = turns.shares(waiting, budget)
        assert all(0 <= count <= piece for count, (_, piece) in zip(counts, waiting, strict=True))
        assert sum(counts) == min(budget, sum(piece for _, piece in waiting))


def test_what_is_nearly_read_comes_first():
    assert Turns().shares([(500, 500), (40, 40), (60, 60)], 90) == [0, 40, 50]


def test_the_oldest_is_read_in_the_end_whoever_comes_meanwhile():
    turns, left = Turns(), 100
    for _ in range(100 * OLDEST):
        left -= turns.shares([(left, left), (20, 20), (20, 20)], 1)[0]
    assert left == 0


def test_a_piece_ends_where_it_must():
    assert Turns().shares([(500, 30), (600, 600)], 100) == [30, 70]
