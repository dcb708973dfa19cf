"""How servers say that a request is too long for the model's window, and what window they name."""

import re

from cli.protocol.failures import TOO_LONG, Failure

# In lower case; the group is the window in tokens, where it is said.
SAYINGS = tuple(
    re.compile(saying)
    for saying in (
        r"n_ctx: ?(\d+)",  # LM Studio, which names what it keeps of the prompt before it
        r"context limit: ?[\d+ ]+> ?(\d+)",  # Anthropic
        r"\d+ tokens > (\d+) maximum",  # Anthropic
        r"maximum context length (?:is|of) (\d+)",  # OpenAI, vLLM, SGLang, DeepSeek, OpenRouter
        r"context holds (\d+)",  # LMX
        r"exceeds? (?:the )?(?:available )?context (?:size|window|length)(?: of)? ?\(?(\d+)",  # llama.cpp
        r"longer than the model's context length \((\d+)",  # SGLang
        r"context length of only (\d+)",  # LM Studio
        r"reached context length of (\d+)",  # LM Studio
        r"(\d+) maximum context length",  # Mistral
        r"maximum (?:model|prompt) length (?:of|is) (\d+)",  # vLLM, xAI
        r"maximum number of tokens allowed \((\d+)\)",  # Gemini
        r"`max_new_tokens` must be <= (\d+)",  # TGI
        r"must have less than (\d+) tokens",  # TGI
        r"exceeds? (?:the|this model's) (?:available |maximum )?context",  # llama.cpp, Ollama
        r"context (?:length|size|window)(?: is)? exceeded",
        r"(?:prompt|input) is too long",
        r"reduce the length of (?:the messages|your prompt|the input)",
    )
)
# The codes of what no server has a code for.
UNCODED = ("upstream_refused", "upstream_error")


def too_long(failure: Failure) -> bool:
    """Whether the request was refused for its length."""
    return failure.code == TOO_LONG or (failure.code in UNCODED and heard(failure.message) is not None)


def window(failure: Failure) -> int:
    """The window that the server names, in tokens; 0 when it names none."""
    found = heard(failure.message)
    return int(found[1]) if found and found.re.groups else 0


def heard(message: str) -> re.Match[str] | None:
    said = message.lower()
    return next((found for saying in SAYINGS if (found := saying.search(said))), None)
