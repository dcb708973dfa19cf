"""Chat over HTTP, with the real tiny model behind it."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import openai

from tests.inference import chat
from tests.processes import Role, wait_until


def test_it_streams_the_same_text_it_answers_whole(client: openai.OpenAI):
    wanted = {"model": "auto", "messages": chat.HELLO, "temperature": 0, "max_tokens": 40}
    whole = client.chat.completions.create(**wanted)
    stream = client.chat.completions.create(stream=True, **wanted)
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole.choices[0].message.content
    )
    assert whole.model == "opta-tiny"


def test_it_answers_in_whole_words(lmx: Role):
    words = chat.text(lmx.url, temperature=1, max_tokens=60).split()
    assert len(words) > 40
    assert all(word.isalpha() for word in words)


def test_it_streams_word_by_word_and_ends_with_the_reason(lmx: Role):
    with chat.streaming(lmx.url, max_tokens=9) as chunks:
        found = list(chunks)
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len(found) == 1 + 9 + 1
    assert found[-1]["choices"][0]["finish_reason"] == "length"
    assert all("usage" not in chunk for chunk in found)


def test_usage_comes_last_when_it_is_asked_for(lmx: Role):
    with chat.streaming(lmx.url, max_tokens=5, stream_options={"include_usage": True}) as chunks:
        *before, last = list(chunks)
    assert all(chunk["usage"] is None for chunk in before)
    assert last["choices"] == []
    whole = chat.answer(lmx.url, max_tokens=5)["usage"]
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [last["usage"][count] for count in counts] == [whole[count] for count in counts]
    assert last["usage"]["completion_tokens"] == 5


def test_the_prompt_is_counted_with_its_template(lmx: Role):
    short = chat.answer(lmx.url, messages=[{"role": "user", "content": "the"}])["usage"]
    longer = chat.answer(lmx.url, messages=[{"role": "user", "content": "the the the"}])["usage"]
    assert longer["prompt_tokens"] == short["prompt_tokens"] + 2
    assert longer["total_tokens"] == longer["prompt_tokens"] + longer["completion_tokens"]


def test_the_models_own_limit_holds_when_none_is_asked_for(lmx: Role):
    found = chat.answer(lmx.url, max_tokens=None)
    assert found["usage"]["completion_tokens"] == 128
    assert found["choices"][0]["finish_reason"] == "length"


def test_null_means_the_default(lmx: Role):
    plain = chat.text(lmx.url, seed=1, temperature=1)
    nulls = dict.fromkeys(("top_p", "stop", "stream", "n", "user", "stream_options", "max_completion_tokens"))
    assert chat.text(lmx.url, seed=1, temperature=1, **nulls) == plain


def test_text_parts_are_read_as_one_text(lmx: Role):
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    assert chat.text(lmx.url, messages=[{"role": "user", "content": parts}]) == chat.text(lmx.url)


def test_every_role_is_heard(lmx: Role):
    roles = ("system", "developer", "user", "assistant", "tool", "user")
    messages = [{"role": role, "content": f"{role} speaks"} for role in roles]
    assert chat.answer(lmx.url, messages=messages)["usage"]["prompt_tokens"] > 6 * 4


def test_the_same_seed_draws_the_same_words_and_another_draws_others(lmx: Role):
    drawn = [chat.text(lmx.url, temperature=1, top_p=0.9, seed=seed) for seed in (7, 7, 8)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_seed_holds_beside_other_requests(lmx: Role):
    alone = chat.text(lmx.url, temperature=1, seed=11, max_tokens=24)
    with ThreadPoolExecutor() as threads:
        others = [threads.submit(chat.text, lmx.url, temperature=1, max_tokens=24) for _ in range(3)]
        beside = threads.submit(chat.text, lmx.url, temperature=1, seed=11, max_tokens=24)
        assert beside.result() == alone
        assert len({other.result() for other in others}) == 3


def test_many_at_once_each_get_their_own_answer(lmx: Role):
    questions = [[{"role": "user", "content": f"question {number}"}] for number in range(8)]
    alone = [chat.text(lmx.url, messages=question) for question in questions]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda question: chat.text(lmx.url, messages=question), questions))
    assert together == alone


def test_a_stop_string_ends_the_answer_and_is_not_in_it(lmx: Role):
    words = chat.text(lmx.url, max_tokens=20).split(" ")
    # It begins inside one token and ends inside the next.
    stop = f"{words[5][-2:]} {words[6][:2]}"
    found = chat.answer(lmx.url, max_tokens=20, stop=["never said", stop])
    said = found["choices"][0]["message"]["content"]
    assert said == " ".join(words)[: " ".join(words).index(stop)]
    assert found["choices"][0]["finish_reason"] == "stop"
    assert found["usage"]["completion_tokens"] <= 8
    with chat.streaming(lmx.url, max_tokens=20, stop=stop) as chunks:
        assert chat.content(list(chunks)) == said
    wait_until(lambda: chat.idle(lmx.url), "the stopped sequence to leave the batch")


def test_a_prompt_that_came_before_is_not_prefilled_again(lmx: Role):
    messages = [{"role": "user", "content": "a prefix to keep " * 20}]
    first = chat.answer(lmx.url, messages=messages)
    again = chat.answer(lmx.url, messages=messages)
    prompt = again["usage"]["prompt_tokens"]
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == prompt - 1
    assert again["choices"] == first["choices"]
    turn = [*messages, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "go on"}]
    cached = chat.answer(lmx.url, messages=turn)["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert prompt - 8 < cached <= prompt


def test_hanging_up_ends_the_generation(lmx: Role):
    with chat.streaming(lmx.url, max_tokens=8000) as chunks:
        for _ in range(3):
            next(chunks)
        assert chat.runner(lmx.url)["activity"]["decoding"] == 1
    wait_until(lambda: chat.idle(lmx.url), "the sequence to leave the batch", 5)


def test_hanging_up_ends_every_choice_those_that_wait_too(lmx: Role):
    with chat.streaming(lmx.url, n=16, temperature=1, max_tokens=8000) as chunks:
        next(chunks)
    wait_until(lambda: chat.idle(lmx.url), "the choices to leave the batch", 10)
    assert chat.text(lmx.url)


def test_hanging_up_on_a_whole_answer_ends_the_generation_too(lmx: Role):
    with chat.unanswered(lmx.url, max_tokens=8000):
        wait_until(lambda: chat.decoding(lmx.url) == 1, "the generation to begin")
    wait_until(lambda: chat.idle(lmx.url), "the sequence to leave the batch", 5)


def test_a_running_answer_goes_on_while_a_long_prompt_joins(lmx: Role):
    long = [{"role": "user", "content": "word " * 3000}]
    with ThreadPoolExecutor() as threads, chat.streaming(lmx.url, max_tokens=400) as chunks:
        next(chunks)
        joining = threads.submit(chat.answer, lmx.url, messages=long, max_tokens=1)
        meanwhile = sum(1 for _ in iter(lambda: joining.done() or next(chunks), True))
        assert joining.result()["usage"]["prompt_tokens"] > 3000
    assert meanwhile > 10


def test_a_long_prompt_is_told_of_while_it_is_read(lmx: Role):
    wanted = chat.body(stream=True, messages=[{"role": "user", "content": "word " * 1500}], max_tokens=1)
    with httpx.stream("POST", f"{lmx.url}/v1/chat/completions", json=wanted, timeout=120) as response:
        lines = [line for line in response.iter_lines() if line]
    told = [line for line in lines if line.startswith(": reading ")]
    reading = [tuple(map(int, line.split()[-1].split("/"))) for line in told]
    assert len(reading) > 1
    assert reading == sorted(reading)
    assert {total for _, total in reading} == {reading[-1][1]}
    assert lines[-1] == "data: [DONE]"
