"""Many jobs in one llama.cpp context."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import RunnerRefused
from inference.request import Assignment, Sampling
from inference.runner.engines import mlx
from inference.runner.engines.gguf import library
from inference.runner.engines.gguf.engine import LIVE, GgufEngine
from inference.runner.turns import Turns
from tests.inference.runner.gguf.conftest import Loaded
from tests.inference.runner.gguf.running import GREEDY, drain, ids, job, prompt, run, said

DRAWN = Sampling(temperature=0.9, top_p=0.95, seed=7)


def unheld(engine: GgufEngine) -> bool:
    """Whether, with nothing kept, every sequence and every cell is free again."""
    while engine.prefixes.evict():
        pass
    shape, memory = engine.context.shape, engine.memory
    return len(memory.owners) == shape.sequences and len(memory.free) == shape.cells


def forget(engine: GgufEngine) -> None:
    while engine.prefixes.evict():
        pass


def test_it_says_what_mlx_says_with_the_same_weights(engine: GgufEngine, models: Path):
    """Both round differently, and these weights are random: they may part where two tokens are nearly as
    likely, so what is asked is that most answers are the same to their ends."""
    assignment = Assignment("mlx", str(models / "opta-tiny"), "chat", 2048, 0)
    _, other = mlx.load(assignment)
    same = [
        said(engine, job(seed, prompt(seed))) == said(other, job(seed, prompt(seed))) for seed in range(8)
    ]
    assert sum(same) >= 6


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_neighbours_change_nothing(engine: GgufEngine, sampling: Sampling):
    """llama.cpp sums in another order when it computes one token alone than when there are several, so a
    near tie may fall otherwise, and that text goes on otherwise: one in sixteen at most."""
    jobs = [job(n, prompt(n), sampling=msgspec.structs.replace(sampling, seed=n)) for n in range(1, 17)]
    alone = {}
    for one in jobs:
        alone[one.id] = said(engine, one)
        forget(engine)
    together = run(engine, *jobs)
    assert sum(ids(together[one.id]) != alone[one.id] for one in jobs) <= 1


def test_neighbours_of_another_seed_draw_something_else(engine: GgufEngine):
    both = run(engine, *(job(n, prompt(1), sampling=Sampling(seed=n)) for n in (1, 2)))
    assert ids(both[1]) != ids(both[2])
    assert ids(both[1]) == said(engine, job(3, prompt(1), sampling=Sampling(seed=1)))


def test_a_prompt_read_in_pieces_is_the_same_prompt(engine: GgufEngine):
    whole = said(engine, job(1, prompt(5, 300)))
    forget(engine)
    assert said(engine, job(1, prompt(5, 300)), budget=17) == whole


def test_a_step_reads_no_more_than_its_budget_and_tells_how_far_it_is(engine: GgufEngine):
    engine.turns = Turns()
    engine.admit(job(1, prompt(1, 100)))
    engine.admit(job(2, prompt(2, 20)))
    step = engine.step(16)
    assert (step.tokens, step.progress) == ([], [(2, 16, 20)])
    step = engine.step(16)
    assert ([token.id for token in step.tokens], step.progress) == ([2], [(1, 12, 100)])
    drain(engine)


def test_who_waits_longest_is_read_on_whatever_comes_after(engine: GgufEngine):
    said: set[int] = set()
    engine.admit(job(1, prompt(1, 100)))
    for n in range(2, 32):
        engine.admit(job(n, prompt(n, 20), 1))
        said |= {token.id for token in engine.step(20).tokens}
    assert 1 in said
    drain(engine)


def test_a_running_answer_lends_its_prompt(engine: GgufEngine):
    engine.admit(job(1, prompt(5, 60), 40))
    (first,) = engine.step(512).tokens
    engine.admit(job(2, prompt(5, 60), 40))
    found = drain(engine)
    assert (first.cached_tokens, found[2][0].cached_tokens) == (0, 59)
    assert ids([first, *found[1]]) == ids(found[2])
    assert unheld(engine)


def test_those_who_decode_go_on_beside_a_long_prompt(engine: GgufEngine):
    engine.admit(job(1, prompt(1), 40))
    engine.step(512)
    engine.admit(job(2, prompt(2, 500)))
    for _ in range(10):
        assert [token.id for token in engine.step(16).tokens] == [1]
    drain(engine)


def test_a_step_without_a_budget_only_decodes(engine: GgufEngine):
    engine.admit(job(1, prompt(1), 8))
    engine.step(512)
    engine.admit(job(2, prompt(2)))
    step = engine.step(0)
    assert ([token.id for token in step.tokens], step.progress) == ([1], [])
    drain(engine)


def test_a_prompt_that_was_read_before_is_not_read_again(engine: GgufEngine):
    first = run(engine, job(1, prompt(3, 200)))[1]
    again = run(engine, job(2, prompt(3, 200)))[2]
    assert (first[0].cached_tokens, again[0].cached_tokens) == (0, 199)
    assert ids(again) == ids(first)
    longer = run(engine, job(3, prompt(3, 200) + ids(first)[:-1] + prompt(4)))[3]
    assert longer[0].cached_tokens == 200 + len(first) - 1


def test_the_choices_of_one_request_read_its_prompt_once(engine: GgufEngine):
    jobs = [job(1, prompt(6, 200)), *(job(n, prompt(6, 200), after=1) for n in (2, 3, 4))]
    read, found = 0, {}
    for one in jobs:
        engine.admit(one)
    while engine.busy:
        step = engine.step(64)
        read += sum(done for _, done, _ in step.progress)
        for token in step.tokens:
            found.setdefault(token.id, []).append(token)
    assert [found[n][0].cached_tokens for n in (1, 2, 3, 4)] == [0, 199, 199, 199]
    assert len({tuple(ids(tokens)) for tokens in found.values()}) == 1


def test_the_end_token_ends_an_answer(engine: GgufEngine):
    end = min(engine.ends)
    (token,) = run(engine, job(1, prompt(1), sampling=Sampling(temperature=0, logit_bias={end: 1e6})))[1]
    assert (token.token, token.finish) == (end, "stop")


def test_an_unknown_token_in_a_bias_is_nothing(engine: GgufEngine):
    biased = Sampling(temperature=0, logit_bias={10**9: 5.0, -1: 5.0})
    assert said(engine, job(1, prompt(1), sampling=biased)) == said(engine, job(2, prompt(1)))


def test_jobs_beyond_the_cells_step_aside_and_lose_nothing(load_gguf: Callable[..., Loaded]):
    """Four answers of 40 tokens behind prompts of 20 do not fit into 128 cells together."""
    _, small = load_gguf(context=128, cache_bytes=0)
    assert small.context.shape.cells == 128
    jobs = [job(n, prompt(n, 20), 40) for n in range(1, 5)]
    alone = {one.id: said(small, one) for one in jobs}
    together = run(small, *jobs)
    assert sum(ids(together[one.id]) != alone[one.id] for one in jobs) <= 1
    assert [len(together[one.id]) for one in jobs] == [40] * 4
    assert unheld(small)


def test_there_is_room_for_many_but_not_for_any_number(engine: GgufEngine):
    admitted = 0
    while engine.room(one := job(admitted + 1, prompt(admitted), 8)):
        engine.admit(one)
        admitted += 1
    assert 16 <= admitted <= LIVE
    found = drain(engine)
    assert len(found) == admitted


def test_a_long_job_waits_for_room(engine: GgufEngine):
    for n in range(1, 9):
        engine.admit(job(n, prompt(n, 1000), 1000))
    assert not engine.room(job(9, prompt(9, 2000), 40))
    for n in range(1, 9):
        engine.remove(n)
    assert engine.room(job(9, prompt(9, 2000), 40))


def test_removed_in_the_middle_it_keeps_what_it_read(engine: GgufEngine):
    engine.admit(job(1, prompt(8, 100)))
    engine.step(60)
    engine.remove(1)
    engine.remove(1)
    assert not engine.busy
    assert run(engine, job(2, prompt(8, 100)))[2][0].cached_tokens == 60


Order = tuple[str, int]
ORDERS = st.lists(st.tuples(st.sampled_from(["admit", "remove", "step"]), st.integers(1, 6)), max_size=40)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=ORDERS)
def test_no_cell_is_ever_lost(engine: GgufEngine, orders: list[Order]):
    for what, n in orders:
        if what == "admit" and n not in engine.running:
            engine.admit(job(n, prompt(n % 3, 10 * n), 4 * n))
        elif what == "remove":
            engine.remove(n)
        else:
            engine.step(8 * n)
    drain(engine)
    assert unheld(engine)


def test_what_was_dumped_goes_on_as_what_was_not(engine: GgufEngine):
    before = said(engine, job(1, prompt(9, 100)))
    hit = engine.prefixes.find(prompt(9, 100))
    arrays = hit.state.dump()
    forget(engine)
    engine.prefixes.keep(prompt(9, 100) + before[:-1], engine.revive(arrays))
    (first, *rest) = run(engine, job(2, prompt(9, 100)))[2]
    assert first.cached_tokens == 99
    assert ids([first, *rest]) == before


def test_a_chat_model_embeds_nothing_and_ranks_nothing(engine: GgufEngine):
    with pytest.raises(RunnerRefused, match="not for embeddings"):
        engine.embed([[1, 2]])
    with pytest.raises(RunnerRefused, match="not for ranking"):
        engine.rank("a", ["b"])


def test_a_file_that_cannot_be_loaded_says_why(gguf_models: Path, tmp_path: Path):
    whole = (gguf_models / "tiny-gguf" / "tiny-F16.gguf").read_bytes()
    (tmp_path / "half.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(library.LibraryError, match="not within the file bounds"):
        library.Model(str(tmp_path / "half.gguf"))
