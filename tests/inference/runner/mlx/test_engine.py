"""The MLX engine by its own face: jobs in, tokens out."""

import gc

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from inference.request import Sampling
from inference.runner.engines.mlx.engine import segments
from tests.inference.runner.mlx.asking import answer, finish, job, prompt
from tests.inference.runner.mlx.conftest import Engines

FAMILIES = ["llama", "hybrid", "sliding"]
# Greedy, drawn from all, drawn from the likeliest, and with the scores bent.
WAYS = [
    Sampling(temperature=0),
    Sampling(seed=1),
    Sampling(seed=2, temperature=0.7, top_k=40, top_p=0.9),
    Sampling(seed=3, top_p=0.5, min_p=0.02),
    Sampling(seed=4, frequency_penalty=1.5, presence_penalty=0.5, repetition_penalty=1.2),
    Sampling(temperature=0, logit_bias={7: 3.0, 300: -100.0}),
]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_job_gets_the_same_tokens_alone_and_among_fifteen_others(family: str, engines: Engines):
    """Kernels round differently for other shapes, by about one part in 10⁶: two tokens would have to be
    that close for another one to be chosen, and with these seeds none are."""
    jobs = [
        job(number, prompt(number, 20 + 9 * number), 16, sampling=WAYS[number % 6]) for number in range(16)
    ]
    together = answer(engines(family), *jobs)
    alone = engines(family, cache_bytes=0)
    assert [answer(alone, one)[one.id] for one in jobs] == [together[one.id] for one in jobs]


def test_scores_in_a_batch_differ_from_those_alone_by_rounding_only(engines: Engines):
    jobs = [job(number, prompt(number, 20 + number), 12, logprobs=1) for number in range(16)]
    crowd, alone = engines(), engines(cache_bytes=0)
    for one in jobs:
        crowd.admit(one)
    together = finish(crowd)
    for one in jobs:
        alone.admit(one)
        found = finish(alone)[one.id]
        pairs = zip(found, together[one.id], strict=True)
        assert max(abs(here.logprob - there.logprob) for here, there in pairs) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_neighbours_that_come_and_go_change_nothing(family: str, engines: Engines):
    watched = job(1, prompt(1, 50), 30, sampling=Sampling(seed=5))
    expected = answer(engines(family), watched)[1]
    engine = engines(family)
    engine.admit(watched)
    found = []
    for number in range(2, 60):
        if number % 4 == 0:
            engine.admit(job(number, prompt(number, 3 * number), 6, sampling=WAYS[number % 6]))
        if number % 8 == 1:
            engine.remove(number - 1)
        found += [token.token for token in engine.step(40).tokens if token.id == 1]
    assert found == expected


@pytest.mark.parametrize("family", [*FAMILIES, "chunked"])
def test_the_same_prompt_again_is_read_from_what_was_kept(family: str, engines: Engines):
    engine = engines(family)
    tokens = prompt(1, 90)
    engine.admit(job(1, tokens))
    first = finish(engine)[1]
    engine.admit(job(2, tokens))
    again = finish(engine)[2]
    assert [token.token for token in again] == [token.token for token in first]
    assert (first[0].cached_tokens, again[0].cached_tokens) == (0, len(tokens) - 1)


@pytest.mark.parametrize("family", [*FAMILIES, "chunked"])
def test_a_prompt_and_its_answer_can_be_asked_again(family: str, engines: Engines):
    engine = engines(family)
    tokens = prompt(1, 90)
    replay = tokens + answer(engine, job(1, tokens))[1]
    engine.admit(job(2, replay))
    (found,) = finish(engine).values()
    assert found[0].cached_tokens >= 89
    assert [token.token for token in found] == answer(engines(family, cache_bytes=0), job(3, replay))[3]


@pytest.mark.parametrize("family", FAMILIES)
def test_another_end_behind_a_checkpoint_reuses_what_stands_before_it(family: str, engines: Engines):
    """As when the last message of a conversation is another one, or a tool's result."""
    engine = engines(family)
    system = prompt(1, 120)
    answer(engine, job(1, system + prompt(2, 30), checkpoints=[120, 140]))
    other = system + prompt(3, 25)
    engine.admit(job(2, other, checkpoints=[120]))
    (found,) = finish(engine).values()
    assert found[0].cached_tokens == 120
    assert [token.token for token in found] == answer(engines(family, cache_bytes=0), job(3, other))[3]


@pytest.mark.parametrize("family", FAMILIES)
def test_choices_of_one_request_read_their_prompt_once(family: str, engines: Engines):
    engine = engines(family)
    tokens = prompt(1, 200)
    ways = [Sampling(seed=seed) for seed in (1, 2, 3)]
    engine.admit(job(1, tokens, sampling=ways[0]))
    found: dict[int, list[int]] = {1: [], 2: [], 3: []}
    cached: dict[int, int] = {}
    while engine.busy:
        for token in engine.step(64).tokens:
            if token.id == 1 and not found[1]:
                engine.admit(job(2, tokens, sampling=ways[1], after=1))
                engine.admit(job(3, tokens, sampling=ways[2], after=1))
            found[token.id].append(token.token)
            cached[token.id] = token.cached_tokens
    assert cached == {1: 0, 2: 199, 3: 199}
    alone = engines(family, cache_bytes=0)
    assert found == {
        number: answer(alone, job(number, tokens, sampling=ways[number - 1]))[number] for number in found
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_penalties_do_not_depend_on_what_was_cached(family: str, engines: Engines):
    wanted = Sampling(temperature=0, repetition_penalty=1.5, frequency_penalty=1, presence_penalty=1)
    engine = engines(family)
    first = answer(engine, job(1, prompt(1, 80), 20, sampling=wanted))[1]
    assert answer(engine, job(2, prompt(1, 80), 20, sampling=wanted))[2] == first
    assert len(set(first)) == 20


def test_what_a_removed_job_has_read_is_kept(engines: Engines):
    engine = engines()
    tokens = prompt(1, 400)
    engine.admit(job(1, tokens))
    engine.step(150)
    engine.remove(1)
    engine.remove(1)
    assert not engine.busy
    engine.admit(job(2, tokens))
    assert finish(engine)[2][0].cached_tokens == 150


@pytest.mark.parametrize("when", ["before its first step", "while its prompt is read", "while it decodes"])
def test_a_removed_job_is_gone_at_once(when: str, engines: Engines):
    engine = engines()
    engine.admit(job(1, prompt(1, 60), 100))
    for _ in range(3):
        engine.step(500)
    engine.admit(job(2, prompt(2, 100), 100))
    steps = {"before its first step": 0, "while its prompt is read": 1, "while it decodes": 8}[when]
    for _ in range(steps):
        engine.step(40)
    engine.remove(2)
    assert {token.id for token in engine.step(40).tokens} == {1}
    assert (engine.activity.prefilling, engine.activity.decoding) == (0, 1)


@pytest.mark.parametrize("budget", [1, 7, 64])
def test_a_step_reads_no_more_of_all_prompts_than_its_budget(budget: int, engines: Engines):
    engine = engines()
    for number in range(3):
        engine.admit(job(number, prompt(number, 40 + 30 * number), 1))
    left = {number: 40 + 30 * number for number in range(3)}
    while sum(left.values()):
        before = sum(left.values())
        for id, done, total in engine.step(budget).progress:
            left[id] = total - done
        # Each row reads one token at least, and the last one of a prompt is decoded.
        assert 0 < before - sum(left.values()) <= max(budget, 3) + 3


def test_a_budget_of_none_lets_only_those_go_on_who_decode(engines: Engines):
    engine = engines()
    engine.admit(job(1, prompt(1, 20), 50))
    while not engine.step(100).tokens:
        pass
    tokens = {2: prompt(2, 100), 3: prompt(3, 100)}
    for number, asked in tokens.items():
        engine.admit(job(number, asked))
    step = engine.step(0)
    assert [token.id for token in step.tokens] == [1]
    assert step.progress == [(2, 0, 100), (3, 0, 100)]
    engine.remove(1)
    alone = engines(cache_bytes=0)
    found = {id: [token.token for token in told] for id, told in finish(engine).items()}
    assert found == {number: answer(alone, job(number, asked))[number] for number, asked in tokens.items()}


def test_who_waits_for_a_place_takes_nothing_from_the_budget_of_those_who_read(engines: Engines):
    engine = engines()
    for number in range(30):
        engine.admit(job(number, prompt(number, 100)))
    assert sum(done for _, done, _ in engine.step(64).progress) == 64


def test_what_decodes_lends_its_prompt_to_one_that_begins_alike(engines: Engines):
    engine = engines()
    system = prompt(1, 300)
    engine.admit(job(1, system + prompt(2, 10), 60))
    while not engine.step(512).tokens:
        pass
    other = job(2, system + prompt(3, 10))
    engine.admit(other)
    found = finish(engine)[2]
    assert found[0].cached_tokens == 300
    assert [token.token for token in found] == answer(engines(cache_bytes=0), other)[2]


def test_progress_tells_how_much_of_a_prompt_is_read_and_ends_with_all_of_it(engines: Engines):
    engine = engines()
    engine.admit(job(1, prompt(1, 100), 1))
    told = []
    while engine.busy:
        told += engine.step(30).progress
    assert told == [(1, 30, 100), (1, 60, 100), (1, 90, 100), (1, 99, 100), (1, 100, 100)]


def test_models_whose_caches_do_not_merge_serve_one_at_a_time(engines: Engines):
    engine = engines("chunked")
    first, second = job(1, prompt(1, 100), 12), job(2, prompt(2, 70), 12)
    assert engine.room(first)
    engine.admit(first)
    assert not engine.room(second)
    assert len(finish(engine)[1]) == 12
    assert engine.room(second)


def test_there_is_room_for_32_jobs(engines: Engines):
    engine = engines()
    for number in range(32):
        assert engine.room(job(number, prompt(number, 5)))
        engine.admit(job(number, prompt(number, 5), 2))
    assert not engine.room(job(99, prompt(99, 5)))
    assert sorted(finish(engine)) == list(range(32))


class Only:
    """A constraint: these tokens one after another."""

    def __init__(self, *tokens: int) -> None:
        self.tokens = list(tokens)
        self.accepted: list[int] = []

    def mask(self) -> NDArray[np.uint32] | None:
        wanted = self.tokens[len(self.accepted) % len(self.tokens)]
        found = np.zeros(4096 // 32, np.uint32)
        found[wanted // 32] = 1 << wanted % 32
        return found

    def accept(self, token: int) -> None:
        self.accepted.append(token)


@pytest.mark.parametrize("wanted", WAYS)
def test_a_constraint_decides_whatever_the_sampling(wanted: Sampling, engines: Engines):
    engine = engines()
    held = Only(31, 32, 4095, 64)
    jobs = [
        job(1, prompt(1, 30), 4, sampling=wanted, constraint=held),
        job(2, prompt(2, 30), 12, sampling=wanted),
    ]
    found = answer(engine, *jobs)
    assert found[1] == [31, 32, 4095, 64]
    assert held.accepted[:3] == [31, 32, 4095]
    assert found[2] == answer(engine, jobs[1])[2]


def test_what_a_constraint_forbids_is_no_alternative(engines: Engines):
    engine = engines()
    engine.admit(job(1, prompt(1, 30), 2, logprobs=5, constraint=Only(500)))
    assert [(token.logprob, token.top) for token in finish(engine)[1]] == [(0.0, [(500, 0.0)])] * 2


def test_log_probabilities_are_of_the_scores_before_the_temperature(engines: Engines):
    engine = engines()
    tokens = prompt(1, 30)
    wanted = Sampling(temperature=0.5, seed=3, logit_bias={9: 4.0})
    engine.admit(job(1, tokens, 6, sampling=wanted, logprobs=3))
    engine.admit(job(2, prompt(2, 30), 6))
    found = finish(engine)
    assert all(token.top == [] and token.logprob == 0 for token in found[2])
    answered: list[int] = []
    for token in found[1]:
        scores = engine.weights.model(mx.array([tokens + answered]))[0, -1]
        scores = scores + 4.0 * (mx.arange(4096) == 9)
        expected = np.array(scores - mx.logsumexp(scores))
        likeliest = np.argsort(-expected)[:3].tolist()
        assert [other for other, _ in token.top] == likeliest
        assert np.allclose([value for _, value in token.top], expected[likeliest], atol=1e-4)
        assert token.logprob == pytest.approx(expected[token.token], abs=1e-4)
        answered.append(token.token)


def test_an_answer_ends_with_its_end_token_or_its_length(engines: Engines):
    engine = engines()
    engine.admit(job(1, prompt(1, 20), 9, sampling=Sampling(temperature=0, logit_bias={2: 100})))
    engine.admit(job(2, prompt(2, 20), 3))
    found = finish(engine)
    assert [(token.token, token.finish) for token in found[1]] == [(2, "stop")]
    assert [token.finish for token in found[2]] == [None, None, "length"]


def test_top_k_may_be_more_than_there_are_tokens(engines: Engines):
    engine = engines()
    wanted = [Sampling(seed=1, top_k=top_k) for top_k in (0, 4096, 10**9)]
    found = answer(engine, *[job(number, prompt(1, 30), sampling=one) for number, one in enumerate(wanted)])
    assert found[0] == found[1] == found[2]


def test_equal_requests_without_a_seed_differ(engines: Engines):
    found = answer(engines(), *[job(number, prompt(1, 30), 12, sampling=Sampling()) for number in range(4)])
    assert len({tuple(tokens) for tokens in found.values()}) == 4


def test_a_chat_model_neither_embeds_nor_ranks(engines: Engines):
    engine = engines()
    for ask in (lambda: engine.embed([[5]]), lambda: engine.rank("query", ["document"])):
        with pytest.raises(Exception, match="Ask an embedding model") as refused:
            ask()
        assert getattr(refused.value, "field", None) == "model"


def test_nothing_is_left_in_memory_of_jobs_that_ended(engines: Engines):
    engine = engines(cache_bytes=0)

    def rounds() -> int:
        for number in range(3):
            answer(engine, *[job(8 * number + one, prompt(one, 100), 5) for one in range(8)])
        gc.collect()  # what other tests left in cycles goes at no moment of its own
        mx.synchronize(engine.generator.stream)  # its thread lets arrays go a moment after they are read
        mx.clear_cache()
        return mx.get_active_memory()

    rounds()
    before = rounds()
    assert rounds() <= before
    assert (engine.sequences, engine.uids, engine.left_over) == ({}, {}, [])


def test_segments_end_at_checkpoints_and_before_the_last_token():
    tokens = list(range(10))
    assert segments(tokens, 0, []) == [list(range(9)), [9]]
    assert segments(tokens, 0, [4, 9, 10]) == [[0, 1, 2, 3], [4, 5, 6, 7, 8], [9]]
    assert segments(tokens, 6, [4, 6, 8]) == [[6, 7], [8], [9]]
    assert segments(tokens, 9, [4]) == [[9]]
    assert segments([5], 0, [1]) == [[5]]
    for cached in range(10):
        cut = segments(tokens, cached, [3, 7])
        assert [token for segment in cut for token in segment] == tokens[cached:]
        assert len(cut[-1]) == 1
