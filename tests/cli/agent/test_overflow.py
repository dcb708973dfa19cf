"""What servers say of a request that is too long, word for word as they say it."""

import pytest

from cli.agent.overflow import too_long, window
from cli.protocol.failures import TOO_LONG, Failure

SAID = {
    "LMX": ("The model's context holds 4096 tokens, and the prompt has 5000.", 4096),
    "OpenAI": (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. "
        "Please reduce the length of the messages.",
        8192,
    ),
    "vLLM": (
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens "
        "(4500 in the messages, 500 in the completion).",
        4096,
    ),
    "vLLM, the engine": (
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096. Make sure that "
        "`max_model_len` is no smaller than the number of text tokens.",
        4096,
    ),
    "llama.cpp": (
        "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
        4096,
    ),
    "llama.cpp, before": ("the request exceeds the available context size, try increasing it", 0),
    "llama-cpp-python": ("Requested tokens (5000) exceed context window of 4096", 4096),
    "Ollama": ("the input length exceeds the context length", 0),
    "LM Studio": (
        "The number of tokens to keep from the initial prompt is greater than the context length "
        "(n_keep: 5000>= n_ctx: 4096). Try to load the model with a larger context length.",
        4096,
    ),
    "LM Studio, before": (
        "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with "
        "context length of only 4096 tokens, which is not enough.",
        4096,
    ),
    "SGLang": ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096),
    "TGI": (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` "
        "tokens and 1 `max_new_tokens`",
        4096,
    ),
    "Anthropic": ("prompt is too long: 212000 tokens > 200000 maximum", 200_000),
    "Anthropic, the answer": (
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length",
        200_000,
    ),
    "Gemini": (
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        1_048_576,
    ),
    "Mistral": (
        "Prompt contains 65673 tokens and 0 draft tokens, too large for model with 32768 maximum context "
        "length",
        32_768,
    ),
    "xAI": (
        "This model's maximum prompt length is 131072 but the request contains 150000 tokens.",
        131_072,
    ),
    "Groq": ("Please reduce the length of the messages or completion.", 0),
}  # fmt: skip


@pytest.mark.parametrize(("words", "tokens"), SAID.values(), ids=SAID.keys())
@pytest.mark.parametrize("code", ["upstream_refused", "upstream_error", TOO_LONG])
def test_a_request_that_is_too_long_is_known_and_so_is_the_window(words: str, tokens: int, code: str):
    failure = Failure(code, words)
    assert (too_long(failure), window(failure)) == (True, tokens)


@pytest.mark.parametrize(
    "words",
    [
        "No model has that name.",
        "failed to create a context of size 4096: out of memory",
        "max_tokens must be at most 8192",
        "Rate limit: 200000 tokens per minute, in the context of your organisation.",
        "messages.2.content: field required",
    ],
)
def test_another_refusal_is_no_matter_of_length(words: str):
    assert not too_long(Failure("upstream_refused", words))


def test_what_has_a_code_of_its_own_is_not_read_as_another():
    assert not too_long(Failure("provider_busy", "This model's maximum context length is 8192 tokens."))
