"""How much was read and written, in OpenAI's words."""

import msgspec

from inference.request import Finish


class PromptDetails(msgspec.Struct):
    cached_tokens: int


class CompletionDetails(msgspec.Struct):
    reasoning_tokens: int


class Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails

    @classmethod
    def of(cls, *finished: Finish) -> "Usage":
        """The sum of several answers."""
        read = sum(one.prompt_tokens for one in finished)
        wrote = sum(one.completion_tokens for one in finished)
        cached = sum(one.cached_tokens for one in finished)
        reasoned = sum(one.reasoning_tokens for one in finished)
        return cls(read, wrote, read + wrote, PromptDetails(cached), CompletionDetails(reasoned))
