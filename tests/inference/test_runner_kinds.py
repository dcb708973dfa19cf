"""A runner asked, past the front's own check, for what its model is not for: it refuses, and goes on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inference.config import Config
from inference.errors import RunnerRefused
from inference.inbox import Pause
from inference.pool import Pool, Runner
from inference.request import Embed, Event, Generate, Plain, Question, Rank, Vectors


@pytest.fixture
async def runner(gguf_models: Path) -> AsyncIterator[Runner]:
    pool = Pool(Config(models=gguf_models, prefix_disk_mb=0))
    yield await pool.get(pool.find("tiny-embedding", ("embedding",)))
    await pool.close()


async def last(runner: Runner, question: Question) -> Event:
    *_, found = [event async for event in runner.ask(question) if not isinstance(event, Pause)]
    return found


async def test_an_embedding_model_refuses_to_write_and_goes_on(runner: Runner):
    with pytest.raises(RunnerRefused, match="for embedding") as refused:
        await last(runner, Generate(0, Plain("hello")))
    assert (refused.value.status, refused.value.field) == (400, "model")
    assert isinstance(await last(runner, Embed(0, [Plain("hello")])), Vectors)


async def test_more_text_than_is_read_is_refused_before_it_is(runner: Runner):
    with pytest.raises(RunnerRefused, match="characters") as refused:
        await last(runner, Rank(0, "hello", ["a" * 2**22, "b"]))
    assert (refused.value.code, refused.value.field) == ("prompt_too_large", "documents")
    assert isinstance(await last(runner, Embed(0, [Plain("hello")])), Vectors)
