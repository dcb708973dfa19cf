"""The prefix cache in memory: what it finds, what it gives up, and what it says of both."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.runner.prefix_cache import PrefixCache
from tests.inference.runner.states import Held, keep, revive, spell


@pytest.fixture
def cache() -> PrefixCache[Held]:
    return PrefixCache(100, revive=revive, clock=lambda: 7.0)


def reason(cache: PrefixCache[Held], asked: list[int]) -> str:
    cache.find(asked)
    return cache.report(1, spell).lookups[0].reason


def test_one_token_is_always_left_to_read(cache):
    state = keep(cache, [1, 2, 3])
    assert cache.find([1, 2, 3]) == (state, 2)
    assert cache.find([1, 2, 3, 4]) == (state, 3)
    assert cache.find([1]) is None


def test_a_divisible_state_stands_for_every_beginning_of_it(cache):
    state = keep(cache, [1, 2, 3, 4])
    assert cache.find([1, 2, 9, 9]) == (state, 2)


def test_an_indivisible_state_stands_for_its_own_length_alone(cache):
    keep(cache, [1, 2, 3, 4], divisible=False)
    checkpoint = keep(cache, [1, 2], divisible=False)
    assert cache.find([1, 2, 3, 9]) == (checkpoint, 2)
    assert cache.find([1, 2, 3, 4]) == (checkpoint, 2)
    assert cache.find([1, 9]) is None


def test_a_longer_divisible_state_takes_the_place_of_its_beginnings(cache):
    shorter = keep(cache, [1, 2])
    longer = keep(cache, [1, 2, 3])
    assert (shorter.drops, longer.drops, cache.entries, cache.nbytes) == (1, 0, 1, 3)


def test_what_is_kept_already_is_not_kept_twice(cache):
    first, again, beginning = keep(cache, [1, 2, 3]), keep(cache, [1, 2, 3]), keep(cache, [1, 2])
    assert (first.drops, again.drops, beginning.drops, cache.nbytes) == (0, 1, 1, 3)


def test_an_indivisible_state_is_kept_beside_its_beginnings(cache):
    keep(cache, [1, 2], divisible=False)
    keep(cache, [1, 2, 3], divisible=False)
    assert cache.entries == 2


def test_the_least_recently_used_is_given_up_first(cache):
    old, used = keep(cache, [*[1] * 40]), keep(cache, [*[2] * 40])
    cache.find([1] * 40)
    keep(cache, [*[3] * 40])
    assert (old.drops, used.drops) == (0, 1)
    assert [cache.evict(), cache.evict(), cache.evict()] == [True, True, False]
    assert (old.drops, cache.nbytes) == (1, 0)


def test_what_is_larger_than_the_budget_is_not_kept_and_costs_no_other(cache):
    other = keep(cache, [1, 2])
    large = keep(cache, [*[3] * 101])
    assert (other.drops, large.drops, cache.entries) == (0, 1, 1)


def test_it_says_that_nothing_is_kept(cache):
    assert reason(cache, [1, 2]) == "nothing is kept yet"


def test_it_says_where_a_prompt_differs_and_shows_the_text_around(cache):
    keep(cache, [*b"It is 14:02 now and all is well."])
    cache.find(list(b"It is 14:03 now and all is well."))
    (lookup,) = cache.report(1, spell).lookups
    assert (lookup.at, lookup.prompt_tokens, lookup.cached_tokens, lookup.differs_at) == (7.0, 32, 10, 10)
    assert lookup.reason == "differs at token 10: kept '2 no' asked '3 no'"
    assert (lookup.kept_text, lookup.asked_text) == ("It is 14:02 now and al", "It is 14:03 now and al")


def test_it_says_that_a_state_cannot_be_cut_back(cache):
    keep(cache, [*b"abcdef"], divisible=False)
    assert reason(cache, list(b"abcx")) == ("the model's state cannot be cut back (kept 6, shared 3)")
    assert reason(cache, list(b"abcxy")).startswith(
        "the model's state cannot be cut back (kept 6, shared 3); differs at token 3: kept 'def' asked 'x"
    )


def test_it_says_that_what_was_asked_for_was_given_up(cache):
    keep(cache, [*[1] * 60])
    keep(cache, [*[2] * 60])
    assert reason(cache, [1] * 50) == "given up for room (49 tokens of it were once read)"
    keep(cache, [*[3] * 101])
    assert reason(cache, [3] * 50).startswith("too large to keep: ")


def test_it_says_that_all_there_was_is_used(cache):
    keep(cache, [1, 2, 3])
    assert reason(cache, [1, 2, 3, 4, 5]) == "all that was kept of it is"
    assert reason(cache, [1, 2]) == "all of it is, but for the last token, which is always read"


def test_a_report_counts_and_shows_the_newest_lookups_first(cache):
    keep(cache, [1, 2])
    for length in range(1, 100):
        cache.find([1] * length)
    report = cache.report(5, spell)
    assert (report.id, report.entries, report.bytes, report.budget_bytes) == (5, 1, 2, 100)
    assert [lookup.prompt_tokens for lookup in report.lookups] == list(range(99, 35, -1))


prompts = st.lists(st.integers(0, 2), max_size=8)
steps = st.lists(st.tuples(st.sampled_from(["keep", "find", "evict"]), prompts, st.booleans()), max_size=40)


@settings(deadline=None)
@given(st.integers(0, 30), steps)
def test_it_finds_the_longest_usable_beginning_within_its_budget_and_drops_each_state_once(budget, steps):
    cache: PrefixCache[Held] = PrefixCache(budget, revive=revive)
    given: list[Held] = []
    for step, tokens, divisible in steps:
        if step == "keep":
            given.append(keep(cache, tokens, divisible=divisible))
        elif step == "evict":
            there_was_one = any(not state.drops for state in given)
            assert cache.evict() == there_was_one
        elif tokens:
            check(cache.find(tokens), [state for state in given if not state.drops], tokens[:-1])
        held = [state for state in given if not state.drops]
        assert cache.nbytes == sum(state.nbytes for state in held) <= budget
        assert cache.entries == len(held)
        assert all(state.drops <= 1 for state in given)


def check(hit, held: list[Held], asked: list[int]) -> None:
    best = max((stands_for(state, asked) for state in held), default=0)
    assert (hit.length if hit else 0) == best
    if hit:
        assert stands_for(hit.state, asked) == best


def stands_for(state: Held, asked: list[int]) -> int:
    pairs = list(zip(state.tokens, asked, strict=False))
    shared = next((at for at, (left, right) in enumerate(pairs) if left != right), len(pairs))
    return shared if state.divisible or shared == len(state.tokens) else 0
