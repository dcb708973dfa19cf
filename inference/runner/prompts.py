"""Messages to tokens, by the model's own chat template."""

import copy
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import TemplateError
from mlx_lm.utils import load_config, load_tokenizer

from inference.errors import RunnerRefused
from inference.request import Message
from inference.runner.text import Detokenizer


class Prompts:
    """The model's tokenizer and template. `tokens` is not for two threads at once."""

    def __init__(self, folder: Path, context: int) -> None:
        self.context = context
        self.tokenizer = load_tokenizer(folder, eos_token_ids=load_config(folder).get("eos_token_id"))
        # A tokenizer cannot encode and decode at the same time: "Already borrowed".
        self.decoder = copy.deepcopy(self.tokenizer)

    @property
    def ends(self) -> Collection[int]:
        """The tokens that end an answer."""
        ends: Collection[int] = self.tokenizer.eos_token_ids
        return ends

    def detokenizer(self) -> Detokenizer:
        fresh: Detokenizer = self.decoder.detokenizer
        return fresh

    def tokens(self, messages: list[Message]) -> list[int]:
        """The prompt that asks for the next answer. Raises RunnerRefused."""
        if not self.tokenizer.has_chat_template:
            raise RunnerRefused("This model has no chat template, so it cannot chat.", field="model")
        try:
            tokens = self.render([msgspec.to_builtins(message) for message in messages])
        except (TemplateError, TypeError) as error:
            message = f"The model's chat template refuses these messages: {error}."
            raise RunnerRefused(message, field="messages", code="template_error") from error
        if not tokens:
            raise RunnerRefused(
                "The model's chat template makes an empty prompt of these messages.",
                field="messages",
                code="template_error",
            )
        if len(tokens) >= self.context:
            raise RunnerRefused(
                f"The prompt has {len(tokens)} tokens, and the model's context holds {self.context}, "
                "the answer included. Shorten the messages.",
                field="messages",
                code="context_length_exceeded",
            )
        return tokens

    def render(self, messages: list[dict[str, Any]]) -> list[int]:
        tokens: list[int] = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True)
        return tokens
