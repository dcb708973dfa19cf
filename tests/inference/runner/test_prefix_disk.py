"""The prefix cache on disk: what it keeps over a restart, and what a disk may do to it."""

import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.request import Assignment
from inference.runner.prefix_cache import PrefixCache
from inference.runner.prefix_disk import MOST, DiskTier, Offer, key, name, tier
from tests.inference.runner.states import Held, keep, revive, spell

PROMPT = list(range(100))
OTHER = list(range(1000, 1100))


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., PrefixCache[Held]]:
    """A cache on one and the same disk, as a new process has it."""

    def starting(memory: int = 10_000, *, disk: int = 100_000, key: str = "model") -> PrefixCache[Held]:
        return PrefixCache(memory, revive=revive, disk=DiskTier(tmp_path, key, disk))

    return starting


def saved(cache: PrefixCache[Held], tokens: list[int] = PROMPT, *, divisible: bool = True) -> Path:
    """Keep and save something, and wait until it is written; its file."""
    keep(cache, tokens, divisible=divisible)
    cache.save()
    written(cache)
    assert cache.disk
    return cache.disk.folder / f"{name(np.array(tokens, np.uint32))}.safetensors"


def written(cache: PrefixCache[Held]) -> None:
    assert cache.disk
    cache.disk.flush()


def files(cache: PrefixCache[Held]) -> list[Path]:
    assert cache.disk
    return sorted(cache.disk.folder.iterdir())


def cached(cache: PrefixCache[Held], asked: list[int]) -> int:
    """How many tokens of a request are found, by the way a request takes."""
    cache.fetch(asked)
    hit = cache.find(asked)
    assert hit is None or hit.state.tokens[: hit.length] == asked[: hit.length]
    return hit.length if hit else 0


def test_what_was_saved_is_found_after_a_restart(start):
    saved(start())
    assert cached(start(), [*PROMPT, 7]) == 100
    assert cached(start(), [*PROMPT[:80], 7, 7]) == 80


def test_what_is_on_disk_is_for_its_owner_alone(start):
    assert saved(start()).parent.stat().st_mode & 0o777 == 0o700


def test_an_indivisible_state_is_found_at_its_own_length_alone(start):
    saved(start(), divisible=False)
    assert cached(start(), [*PROMPT, 7]) == 100
    assert cached(start(), [*PROMPT[:80], 7, 7]) == 0


def test_what_memory_has_no_room_for_goes_to_disk_and_comes_back(start):
    cache = start(2000)
    keep(cache, PROMPT)
    keep(cache, [9] * 1950)
    written(cache)
    assert (cache.entries, len(files(cache))) == (1, 1)
    assert cached(cache, [*PROMPT, 7]) == 100


def test_each_entry_is_saved_once_the_one_used_last_first(start):
    cache = start()
    keep(cache, PROMPT)
    keep(cache, OTHER)
    assert [cache.save(), cache.save(), cache.save()] == [True, False, False]
    written(cache)
    report = cache.report(1, spell)
    assert (report.disk_entries, report.disk_budget_bytes) == (2, 100_000)
    assert report.disk_bytes == sum(file.stat().st_size for file in files(cache))


def test_a_few_tokens_are_not_worth_a_file(start):
    cache = start()
    keep(cache, PROMPT[:63])
    assert cache.save() is False
    written(cache)
    assert cached(start(), PROMPT) == 0


def test_a_longer_conversation_takes_the_place_of_its_beginning(start):
    cache = start()
    saved(cache)
    saved(cache, [*PROMPT, *OTHER])
    assert len(files(cache)) == 1
    assert cached(start(), [*PROMPT, *OTHER, 7]) == 200


def test_memory_is_not_replaced_by_what_is_hardly_longer(start):
    saved(start())
    cache = start()
    state = keep(cache, PROMPT[:90])
    cache.fetch([*PROMPT, 7])
    assert cache.find([*PROMPT, 7]) == (state, 90)


def test_another_model_finds_nothing(start):
    saved(start())
    assert cached(start(key="another"), [*PROMPT, 7]) == 0


def test_the_disk_budget_holds_over_all_models_and_the_oldest_goes_first(start):
    first = saved(start(disk=5000))
    second = saved(start(disk=5000), OTHER)
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    cached(start(disk=5000), [*PROMPT, 7])
    third = saved(start(disk=5000, key="another"))
    assert [file.exists() for file in (first, second, third)] == [True, False, True]
    cache = start(disk=5000)
    for seed in range(10):
        saved(cache, [seed, *OTHER])
    assert cache.report(1, spell).disk_entries == len(files(cache)) > 1
    assert sum(file.stat().st_size for file in first.parent.parent.rglob("*.*")) <= 5000


def test_there_are_so_many_entries_at_most_and_the_oldest_go_first(tmp_path):
    disk = DiskTier(tmp_path, "model", 1 << 30)
    for number in range(MOST + 3):
        tokens = np.arange(number, number + 64, dtype=np.uint32)
        disk.write(Offer(tokens, divisible=True, arrays={"keys": np.zeros(4, np.float32)}))
        if number < 3:
            os.utime(disk.folder / f"{name(tokens)}.safetensors", (number, number))
    assert disk.entries == MOST
    found = [disk.find(np.arange(number, number + 65, dtype=np.uint32)) for number in range(4)]
    assert [one and one[1] for one in found] == [None, None, None, 64]


def test_what_is_larger_than_the_disk_budget_is_not_written(start):
    cache = start(disk=500)
    keep(cache, PROMPT)
    cache.save()
    written(cache)
    assert cache.report(1, spell).disk_entries == 0


@pytest.mark.parametrize("damage", [
    lambda whole: whole[: len(whole) // 2],
    lambda whole: whole[:-1],
    lambda whole: b"",
    lambda whole: b"not ours at all" * 100,
    lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
], ids=["half", "short", "empty", "foreign", "flipped"])  # fmt: skip
def test_a_broken_file_is_a_miss_and_is_removed_with_a_word(start, damage, caplog):
    file = saved(start())
    file.write_bytes(damage(file.read_bytes()))
    cache = start()
    assert cached(cache, [*PROMPT, 7]) == 0
    assert cached(cache, [*PROMPT, 7]) == 0
    assert not file.exists()
    assert [record.message.partition(": ")[0] for record in caplog.records] == [
        f"{file} cannot be used as a kept prompt prefix, and is removed"
    ]
    saved(cache)
    assert cached(start(), [*PROMPT, 7]) == 100


@pytest.mark.parametrize(("kind", "shape"), [("U32", []), ("BF16", [2]), ("F8_E4M3", [4])])
def test_a_file_whose_arrays_nobody_here_can_read_is_a_miss(start, kind: str, shape: list[int]):
    file = saved(start())
    facts = {"__metadata__": {"divisible": "1"}}
    tokens = {"tokens": {"dtype": kind, "shape": shape, "data_offsets": [0, 4]}}
    header = json.dumps({**facts, **tokens}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert cached(start(), [*PROMPT, 7]) == 0
    assert not file.exists()


def test_a_folder_that_may_only_be_read_serves(start, monkeypatch: pytest.MonkeyPatch, caplog):
    file = saved(start())
    cache = start()

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    # A disk is not to be had so without being root, who may write to everything else.
    monkeypatch.setattr(os, "utime", refuse)
    assert cached(cache, [*PROMPT, 7]) == 100
    assert file.exists()
    assert not caplog.records


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path, caplog):
    (tmp_path / "prefixes").write_text("a file")
    cache = PrefixCache(10_000, revive=revive, disk=DiskTier(tmp_path / "prefixes", "model", 100_000))
    keep(cache, PROMPT)
    cache.save()
    written(cache)
    assert cached(cache, [*PROMPT, 7]) == 100
    assert len(caplog.records) == 1


def test_an_entry_that_cannot_be_written_keeps_no_other_from_it(start, caplog):
    cache = start()
    cache.disk.offer(np.array(OTHER, np.uint32), True, {"odd": np.array([object()])})
    saved(cache)
    assert cached(start(), [*PROMPT, 7]) == 100
    assert len(caplog.records) == 1


def test_another_prompts_file_under_this_name_is_not_believed(start, tmp_path: Path):
    mine, other = saved(start()), saved(start(key="elsewhere"), OTHER)
    mine.write_bytes(other.read_bytes())
    assert cached(start(), [*PROMPT, 7]) == 0
    assert not mine.exists()


def test_a_state_the_engine_cannot_use_is_a_miss(start, tmp_path: Path):
    saved(start())

    def refuse(arrays: object) -> Held:
        raise ValueError("these are not my arrays")

    cache = PrefixCache(10_000, revive=refuse, disk=DiskTier(tmp_path, "model", 100_000))
    assert cached(cache, [*PROMPT, 7]) == 0
    assert files(cache) == []


def test_a_state_the_engine_has_no_room_for_now_is_a_miss_and_stays_on_disk(start, tmp_path: Path):
    file = saved(start())
    cache = PrefixCache(10_000, revive=lambda arrays: None, disk=DiskTier(tmp_path, "model", 100_000))
    assert cached(cache, [*PROMPT, 7]) == 0
    assert file.exists()


def test_arrays_come_back_as_they_were(tmp_path: Path):
    whole = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    arrays = {
        "whole": whole,
        "turned": whole.transpose(2, 0, 1),
        "cut": whole[:, ::2],
        "number": np.array(-7),
        "yes": np.array([True, False]),
        "nothing": np.empty((0, 5), np.uint8),
    }
    tokens = np.array(PROMPT, np.uint32)
    before, after = (DiskTier(tmp_path, "model", 100_000) for _ in range(2))
    before.offer(tokens, True, arrays)
    before.flush()
    found = after.find(tokens)
    assert found
    back = after.read(found[0])
    assert back and back.keys() == arrays.keys()
    for part, array in arrays.items():
        assert (back[part].dtype, back[part].shape) == (array.dtype, array.shape)
        assert np.array_equal(back[part], array)


def test_a_full_disk_is_no_error_and_leaves_nothing_behind(start, caplog):
    cache = start()
    with files_end_at(200):
        for seed in range(3):
            keep(cache, [seed, *PROMPT])
            cache.save()
            written(cache)
    assert files(cache) == []
    assert len(caplog.records) == 1
    saved(cache, OTHER)
    assert cached(start(), [*OTHER, 7]) == 100


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_two_processes_on_one_folder_see_each_other_and_survive_each_other(start):
    one, two = start(), start()
    assert cached(two, [*PROMPT, 7]) == 0
    file = saved(one)
    assert cached(two, [*PROMPT, 7]) == 100
    saved(two, OTHER)
    file.unlink()
    assert cached(start(), [*PROMPT, 7]) == 0
    assert cached(one, [*OTHER, 7]) == 100


def test_a_file_that_goes_between_finding_and_reading_is_a_miss(start):
    file = saved(start())
    disk = start().disk
    found, length = disk.find(np.array(PROMPT, np.uint32))
    file.unlink()
    assert (disk.read(found), length, disk.entries) == (None, 100, 0)


def test_what_was_fetched_waits_within_the_budget(start):
    for seed in range(5):
        saved(start(), [seed, *PROMPT])
    cache = start(5000)
    for seed in range(5):
        cache.fetch([seed, *PROMPT, 7])
    cache.find([9, 9])
    assert cache.nbytes == cache.entries * 101 == 5000 // 1500 * 101


def test_a_models_key_changes_with_its_files_and_with_every_fact(tmp_path: Path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    before = [key(tmp_path), key(tmp_path, "template"), key(tmp_path, "template", "f16")]
    assert len(set(before)) == 3
    assert key(weights) == before[0]
    assert key(tmp_path, "template") == before[1]
    weights.write_bytes(b"other")
    assert {key(tmp_path), key(weights)}.isdisjoint(before)


def test_no_folder_or_no_bytes_is_no_disk(tmp_path: Path):
    assert tier(Assignment("mlx", str(tmp_path), "chat", 1, 1)) is None
    assert tier(Assignment("mlx", str(tmp_path), "chat", 1, 1, str(tmp_path), 0)) is None
    assert tier(Assignment("mlx", str(tmp_path), "chat", 1, 1, str(tmp_path), 1)) is not None


conversations = st.lists(st.tuples(st.lists(st.integers(0, 1), max_size=4), st.booleans()), max_size=6)


@settings(deadline=None)
@given(saves=conversations, asked=st.lists(st.integers(0, 1), max_size=6))
def test_a_restart_finds_the_longest_usable_beginning(
    tmp_path_factory: pytest.TempPathFactory, saves: list[tuple[list[int], bool]], asked: list[int]
):
    folder = tmp_path_factory.mktemp("disk")
    before = PrefixCache(10_000, revive=revive, disk=DiskTier(folder, "model", 10**6))
    for tokens, divisible in saves:
        keep(before, [*PROMPT, *tokens], divisible=divisible)
        before.save()
        written(before)
    after = PrefixCache(10_000, revive=revive, disk=DiskTier(folder, "model", 10**6))
    found = before.find([*PROMPT, *asked, 7])
    assert cached(after, [*PROMPT, *asked, 7]) == (found.length if found else 0)
