"""A model whose state cannot be cut back: it goes on from where it was kept, or from the beginning."""

from pathlib import Path

import msgspec
import pytest

from inference.request import Assignment, Sampling
from inference.runner.engines.gguf import load
from inference.runner.engines.gguf.engine import LIVE_RECURRENT, GgufEngine
from tests.inference.gguf import write_mamba
from tests.inference.runner.gguf.running import drain, ids, job, prompt, run, said


@pytest.fixture(scope="module")
def mamba(tmp_path_factory: pytest.TempPathFactory, models: Path) -> GgufEngine:
    file = write_mamba(tmp_path_factory.mktemp("mamba") / "mamba.gguf", models / "opta-tiny")
    _, engine = load(Assignment("gguf", str(file), "chat", 2048, 1 << 26))
    assert isinstance(engine, GgufEngine)
    return engine


@pytest.fixture
def engine(mamba: GgufEngine) -> GgufEngine:
    while mamba.prefixes.evict():
        pass
    return mamba


def test_its_state_is_kept_whole(engine: GgufEngine):
    assert engine.divisible is False


@pytest.mark.parametrize("temperature", [0, 1])
def test_neighbours_change_nothing(engine: GgufEngine, temperature: float):
    """As in test_engine.py: sums in another order may part two texts at a near tie, one in sixteen."""
    drawn = Sampling(temperature=temperature)
    jobs = [job(n, prompt(n), sampling=msgspec.structs.replace(drawn, seed=n)) for n in range(1, 17)]
    alone = {one.id: said(engine, one) for one in jobs}
    while engine.prefixes.evict():
        pass
    together = run(engine, *jobs)
    assert sum(ids(together[one.id]) != alone[one.id] for one in jobs) <= 1


def test_the_same_prompt_again_reads_its_last_token_alone(engine: GgufEngine):
    first = said(engine, job(1, prompt(1, 50)))
    again = run(engine, job(2, prompt(1, 50)))[2]
    assert again[0].cached_tokens == 49
    assert ids(again) == first


def test_another_end_goes_on_from_the_last_checkpoint(engine: GgufEngine):
    begun = prompt(2, 40)
    run(engine, job(1, begun + prompt(3, 20), checkpoints=[40]))
    changed = begun + prompt(4, 20)
    found = run(engine, job(2, changed, checkpoints=[40]))[2]
    assert found[0].cached_tokens == 40
    while engine.prefixes.evict():
        pass
    assert said(engine, job(3, changed)) == ids(found)


def test_the_next_turn_goes_on_from_the_answer(engine: GgufEngine):
    asked = prompt(5, 30)
    answer = said(engine, job(1, asked, 8))
    found = run(engine, job(2, asked + answer + prompt(6, 10)))[2]
    assert found[0].cached_tokens == len(asked) + len(answer) - 1


def test_there_are_as_many_at_once_as_have_a_state_set_aside(engine: GgufEngine):
    jobs = [job(n, prompt(n), 4) for n in range(1, LIVE_RECURRENT + 5)]
    found = run(engine, *jobs)
    assert sorted(found) == [one.id for one in jobs]
    assert drain(engine) == {}
    assert len(engine.memory.owners) == engine.context.shape.sequences
