"""What the engine relies on in mlx-lm and MLX, by name: an upgrade that changes it fails here first."""

import copy
import inspect
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm import utils
from mlx_lm.generate import BatchGenerator, GenerationBatch, PromptProcessingBatch
from mlx_lm.models import cache
from mlx_lm.sample_utils import greedy_sampler
from mlx_lm.tokenizer_utils import TokenizerWrapper

from inference.runner.engines.mlx.batch import Batches, Decoding, Reading
from inference.runner.engines.mlx.caches import Apart
from inference.runner.engines.mlx.sampling import Choice
from tests.inference.runner.mlx.asking import job, prompt
from tests.inference.runner.mlx.conftest import Engines

PARAMETERS = {
    BatchGenerator.__init__: [
        "self", "model", "max_tokens", "stop_tokens", "sampler", "logits_processors",
        "completion_batch_size", "prefill_batch_size", "prefill_step_size", "max_kv_size", "stream",
    ],
    BatchGenerator.insert_segments: [
        "self", "segments", "max_tokens", "caches", "all_tokens", "samplers", "logits_processors",
        "stop_sequences",
    ],
    BatchGenerator.next: ["self"],
    BatchGenerator.extract_cache: ["self", "uids"],
    BatchGenerator.remove: ["self", "uids", "return_prompt_caches"],
    PromptProcessingBatch.__init__: [
        "self", "model", "uids", "caches", "tokens", "prefill_step_size", "samplers", "fallback_sampler",
        "logits_processors", "stop_sequences", "max_tokens",
    ],
    PromptProcessingBatch.empty: ["model", "fallback_sampler", "prefill_step_size"],
    PromptProcessingBatch.prompt: ["self", "tokens"],
    PromptProcessingBatch.generate: ["self", "tokens"],
    PromptProcessingBatch.extract_cache: ["self", "idx"],
    GenerationBatch.__init__: [
        "self", "model", "uids", "inputs", "prompt_cache", "tokens", "samplers", "fallback_sampler",
        "logits_processors", "stop_sequences", "max_tokens",
    ],
    GenerationBatch.empty: ["model", "fallback_sampler"],
    GenerationBatch.extract_cache: ["self", "idx"],
    GenerationBatch._step: ["self"],
    cache.make_prompt_cache: ["model", "max_kv_size"],
    cache.KVCache.merge: ["caches"],
    cache.KVCache.trim: ["self", "n"],
    cache.BatchKVCache.extract: ["self", "idx"],
    utils.load_model: [
        "model_path", "lazy", "strict", "model_config", "get_model_classes", "trust_remote_code",
    ],
    utils.load_config: ["model_path"],
    utils.load_tokenizer: ["model_path", "tokenizer_config_extra", "eos_token_ids"],
    utils._get_classes: ["config"],
}  # fmt: skip


@pytest.mark.parametrize("call", PARAMETERS, ids=lambda call: call.__qualname__)
def test_a_call_takes_what_it_took(call: Any):
    assert list(inspect.signature(call).parameters) == PARAMETERS[call]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (PromptProcessingBatch.Response, ["uid", "progress", "end_of_segment", "end_of_prompt"]),
        (
            GenerationBatch.Response,
            ["uid", "token", "logprobs", "finish_reason", "prompt_cache", "all_tokens"],
        ),
    ],
)
def test_a_response_says_what_it_said(kind: Any, fields: list[str]):
    assert list(inspect.signature(kind).parameters) == fields


@pytest.mark.parametrize("name", ["eos_token_ids", "chat_template", "has_chat_template", "detokenizer"])
def test_a_tokenizer_tells_its_ends_its_template_and_gives_detokenizers(name: str, engines: Engines):
    tokenizer = utils.load_tokenizer(engines.folder("llama"))
    assert isinstance(tokenizer, TokenizerWrapper)
    assert getattr(tokenizer, name)
    assert tokenizer.detokenizer is not tokenizer.detokenizer


def plain(engines: Engines, **options: Any) -> BatchGenerator:
    return BatchGenerator(engines().weights.model, **options)


def test_the_generator_holds_its_two_halves_where_ours_replace_them(engines: Engines):
    made = plain(engines)
    assert type(made._prompt_batch) is PromptProcessingBatch
    assert type(made._generation_batch) is GenerationBatch
    ours = Batches(engines().weights.model, {2})
    assert type(ours._prompt_batch) is Reading
    assert type(ours._generation_batch) is Decoding


def test_the_attributes_that_ours_read_and_write_are_there(engines: Engines):
    made = GenerationBatch.empty(engines().weights.model, greedy_sampler)
    for name in (
        "_current_tokens",
        "_next_tokens",
        "_current_logprobs",
        "_next_logprobs",
        "samplers",
        "tokens",
    ):
        assert hasattr(made, name), name
    # What a step returns beside its tokens is handed out row by row, and asked no more of than a list.
    for method, words in {
        GenerationBatch.next: ["tokens, logprobs = self._step()", "logprobs=logprobs[i]"],
        GenerationBatch.filter: ["self._next_logprobs[idx] for idx in keep"],
        GenerationBatch.extend: ["self._next_logprobs.extend(batch._next_logprobs)"],
    }.items():
        assert all(word in inspect.getsource(method) for word in words), method


def test_segments_end_where_they_were_cut_and_the_last_token_begins_decoding(engines: Engines):
    made = plain(engines)
    tokens = prompt(1, 60)
    (uid,) = made.insert_segments([[tokens[:40], tokens[40:]]], max_tokens=[2])
    told, answered = [], []
    while len(answered) < 2:
        prompts, answers = made.next()
        told += [(one.uid, one.progress, one.end_of_segment, one.end_of_prompt) for one in prompts]
        answered += answers
    assert told == [
        (uid, (40, 60), True, False),
        (uid, (59, 60), True, False),
        (uid, (60, 60), True, True),
    ]
    assert [one.finish_reason for one in answered] == [None, "length"]
    assert answered[1].all_tokens == [*tokens, answered[0].token, answered[1].token]
    assert answered[1].prompt_cache[0].offset == 62


def test_what_our_loop_needs_of_the_generator_is_there(engines: Engines):
    """What waits, what is read, and how a row of it looks; and the loop that ours stands for."""
    made = plain(engines)
    made.insert_segments([[prompt(1, 40), prompt(2, 5)]])
    made.prefill_step_size = 10
    ((told,), answers) = made.next()
    assert (told.progress, told.end_of_segment, told.end_of_prompt, answers) == ((10, 45), False, False, [])
    ((segments, done, whole, *_),) = made._currently_processing
    assert ([len(segment) for segment in segments], done, whole) == ([30, 4, 1], 10, 45)
    assert (len(made._unprocessed_sequences), made._prompt_batch.uids) == (0, [told.uid])
    source = inspect.getsource(BatchGenerator._next)
    for word in ("self._make_batch(n)", ".split(split).generate(last_inputs)", "segments.pop(0)"):
        assert word in source, word
    assert "return self._next()" in inspect.getsource(BatchGenerator.next)


def test_a_budget_is_spent_on_what_is_nearly_read(engines: Engines):
    engine = engines()
    made = engine.generator
    for number, size in enumerate((100, 30)):
        choice: Any = Choice(job(number, prompt(number, size)), 4096)
        made.insert_segments(
            [[prompt(number, size - 1), prompt(9, 1)]],
            max_tokens=[9], caches=[[Apart(engine.new_caches())]], samplers=[choice],
        )  # fmt: skip
    done = []
    for made.budget in (10, 0, 25):
        told, _ = made.next()
        done.append([one.progress[0] for one in told])
    assert done == [[0, 10], [0, 10], [6, 29]]


def test_samplers_and_caches_go_with_their_rows(engines: Engines):
    engine = engines()
    made = engine.generator
    made.budget = 100
    choices: list[Any] = [Choice(job(number, prompt(number, 9)), 4096) for number in range(4)]
    for number, choice in enumerate(choices):
        made.insert_segments(
            [[prompt(number, 9)]], max_tokens=[50], caches=[[Apart(engine.new_caches())]], samplers=[choice]
        )
    for _ in range(3):
        made.next()
    assert (made._generation_batch.uids, made._generation_batch.samplers) == ([0, 1, 2, 3], choices)
    made.remove([1])
    made.insert_segments(
        [[prompt(7, 9)]], max_tokens=[50], caches=[[Apart(engine.new_caches())]], samplers=[choices[1]]
    )
    for _ in range(3):
        made.next()
    assert made._generation_batch.uids == [0, 2, 3, 4]
    assert made._generation_batch.samplers == [choices[0], choices[2], choices[3], choices[1]]


def test_an_empty_prompt_or_answer_is_refused_before_anything_is_touched(engines: Engines):
    made = plain(engines)
    for segments, max_tokens in (([[[]]], 1), ([[[5]]], 0)):
        with pytest.raises(ValueError, match="Sequence 0"):
            made.insert_segments(segments, max_tokens=[max_tokens])
    assert made.next() == ([], [])


@pytest.mark.parametrize("kind", ["KVCache", "RotatingKVCache", "ArraysCache"])
def test_caches_merge_extend_filter_and_extract(kind: str):
    made = {
        "KVCache": cache.KVCache,
        "RotatingKVCache": lambda: cache.RotatingKVCache(max_size=16),
        "ArraysCache": lambda: cache.ArraysCache(1),
    }[kind]
    rows: list[Any] = [made() for _ in range(3)]
    for number, row in enumerate(rows):
        values = mx.full((1, 2, 3 + number, 4), float(number))
        if kind == "ArraysCache":
            row[0] = values[:, :, 0]
        else:
            row.update_and_fetch(values, values)
    merged = rows[0].merge(rows[:2])
    merged.extend(rows[0].merge(rows[2:]))
    merged.filter([0, 2])
    for place, number in enumerate((0, 2)):
        leaves: Any = [
            leaf for _, leaf in tree_flatten(merged.extract(place).state) if isinstance(leaf, mx.array)
        ]
        expected: Any = [leaf for _, leaf in tree_flatten(rows[number].state) if isinstance(leaf, mx.array)]
        shape = (..., slice(0, 3 + number), slice(None)) if kind != "ArraysCache" else (...,)
        assert all(mx.array_equal(one, other[shape]) for one, other in zip(leaves, expected, strict=True))


def test_a_cache_is_what_its_state_says():
    held = cache.KVCache()
    held.update_and_fetch(mx.ones((1, 1, 5, 4)), mx.ones((1, 1, 5, 4)))
    keys, values, offset = held.state
    assert (keys.shape, values.shape, offset) == ((1, 1, 256, 4), (1, 1, 256, 4), 5)
    again = cache.KVCache.from_state(held.state)
    assert (again.offset, again.keys.shape) == (5, keys.shape)
    assert held.trim(2) == 2
    assert held.offset == 3


def test_a_copied_array_is_another_one_once_it_is_written():
    first = mx.zeros(4)
    second = copy.deepcopy(first)
    second[0] = 1
    assert first.tolist() == [0, 0, 0, 0]


def test_trees_keep_their_leaves_and_their_order():
    tree = [["a", [mx.zeros(1), None, 3]] for _ in range(12)]
    leaves: Any = tree_flatten(tree)
    assert ("11.1.1", None) in leaves
    rebuilt: Any = tree_unflatten(leaves)
    assert [one[1][2] for one in rebuilt] == [3] * 12


def test_the_first_of_equals_is_the_greatest():
    assert mx.argmax(mx.array([[1, 2, 2, 1]]), axis=-1).tolist() == [1]
    assert mx.argsort(-mx.array([1.0, 1.0, 2.0, 1.0])).tolist() == [2, 0, 1, 3]


def test_an_evaluated_array_is_read_without_a_copy():
    array = mx.arange(5)
    mx.eval(array)
    assert np.asarray(array).base is not None
    assert mx.where(mx.array([False]), 1.0, -mx.inf).item() == -mx.inf
