"""The tokenizer and template of a model folder, as mlx_lm loads them."""

import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import llguidance.hf
from jinja2 import TemplateError
from mlx_lm.utils import load_config, load_tokenizer

from inference.errors import RunnerRefused
from inference.request import Chat
from inference.runner.template import in_time, messages, variables
from inference.runner.tokenizer import Detokenizer


class MlxTokenizer:
    def __init__(self, folder: Path) -> None:
        config = load_config(folder)
        self.tokenizer = load_tokenizer(folder, eos_token_ids=config.get("eos_token_id"))
        # A tokenizer cannot encode and decode at the same time: "Already borrowed".
        self.decoder = copy.deepcopy(self.tokenizer)
        keep_first_space(self.decoder._detokenizer)
        self.ends = frozenset(self.tokenizer.eos_token_ids)
        self.template: str | None = self.tokenizer.chat_template if self.tokenizer.has_chat_template else None
        self.size: int = config.get("text_config", config).get("vocab_size") or len(self.tokenizer)

    def encode(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return tokens

    def plain(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer.encode(text)
        return tokens

    def decode(self, tokens: list[int]) -> str:
        if unknown := next((token for token in tokens if not 0 <= token < self.size), None):
            message = f"Token {unknown} does not exist; this model has {self.size}, from 0."
            raise RunnerRefused(message, field="prompt", code="unknown_token")
        text: str = self.decoder.decode(tokens)
        return text

    def piece(self, token: int) -> bytes:
        return self.guide().decode_bytes([token])  # type: ignore[no-any-return]  # llguidance

    def render(self, chat: Chat, *, answer: bool = True) -> str:
        resume = answer and chat.resume
        with in_time():
            try:
                text: str = self.tokenizer.apply_chat_template(
                    messages(chat),
                    add_generation_prompt=answer and not resume,
                    continue_final_message=resume,
                    tokenize=False,
                    **variables(chat),
                )
            except (TemplateError, TypeError, ValueError) as error:
                message = f"The model's chat template refuses these messages: {error}."
                raise RunnerRefused(message, field="messages", code="template_error") from error
        return text

    def detokenizer(self) -> Detokenizer:
        fresh: Detokenizer = self.decoder.detokenizer
        return fresh

    @cached_property
    def guidance(self) -> Any:
        return llguidance.hf.from_tokenizer(self.tokenizer._tokenizer, n_vocab=self.size)

    def guide(self) -> Any:
        return self.guidance


def keep_first_space(detokenizer: Any) -> None:
    """mlx_lm drops it. In a text that goes on from the prompt it is what parts two words."""
    detokenizer.trim_space = False  # of sentencepiece's
    detokenizer._maybe_trim_space = lambda text: text  # of byte-level BPE's
