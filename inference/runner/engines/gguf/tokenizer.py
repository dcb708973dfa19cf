"""The tokenizer and the chat template in a GGUF file."""

import codecs
import ctypes
from functools import cached_property
from typing import Any

import llama_cpp as C
import numpy as np
from llguidance import LLTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from inference.errors import RunnerRefused
from inference.request import Chat
from inference.runner.engines.gguf.library import Model, pointer
from inference.runner.template import in_time, messages, variables
from inference.runner.tokenizer import Detokenizer

# Bytes of one token's text, at first: longer ones are asked for again.
PIECE = 64


class GgufTokenizer:
    """`whole` puts what the model expects around a text, not only before it: so encoders want it."""

    def __init__(self, model: Model, *, whole: bool = False) -> None:
        self.model, self.vocabulary, self.whole = model, model.vocabulary, whole
        self.size = model.size
        self.template = model.meta("tokenizer.chat_template")
        self.ends = frozenset(
            token for token in range(self.size) if C.llama_vocab_is_eog(self.vocabulary, token)
        )
        self.pieces: dict[int, bytes] = {}

    def encode(self, text: str) -> list[int]:
        return self.tokenize(text, around=False)

    def plain(self, text: str) -> list[int]:
        if self.whole:
            return self.tokenize(text, around=True)
        begins = C.llama_vocab_get_add_bos(self.vocabulary)
        first = [C.llama_vocab_bos(self.vocabulary)] if begins else []
        tokens = self.encode(text)
        return tokens if tokens[:1] == first else first + tokens

    def tokenize(self, text: str, *, around: bool) -> list[int]:
        written = text.encode()
        # No token is shorter than a byte, and few texts have less than three bytes in each.
        room = len(written) // 3 + 16
        while True:
            tokens = np.empty(room, np.int32)
            buffer = pointer(tokens, C.llama_token)
            count = C.llama_tokenize(self.vocabulary, written, len(written), buffer, room, around, True)
            if count >= 0:
                return tokens[:count].tolist()  # type: ignore[no-any-return]  # numpy
            room = -count

    def decode(self, tokens: list[int]) -> str:
        return b"".join(map(self.piece, tokens)).decode(errors="replace")

    def piece(self, token: int) -> bytes:
        if token not in self.pieces:
            self.pieces[token] = self.spell(token)
        return self.pieces[token]

    def spell(self, token: int) -> bytes:
        if not 0 <= token < self.size:
            raise RunnerRefused(f"There is no token {token}: the model has {self.size}.", field="prompt")
        room = PIECE
        while True:
            buffer = ctypes.create_string_buffer(room)
            length = C.llama_token_to_piece(self.vocabulary, token, buffer, room, 0, True)
            if length >= 0:
                return buffer.raw[:length]
            room = -length

    def render(self, chat: Chat, *, answer: bool = True) -> str:
        """As Hugging Face renders it, by the same code."""
        with in_time():
            try:
                rendered: Any = render_jinja_template(
                    [messages(chat)],
                    chat_template=self.template,
                    add_generation_prompt=answer and not chat.resume,
                    continue_final_message=chat.resume,
                    **{**self.marks, **variables(chat)},
                )
            except Exception as error:  # a template is a program of its own
                message = f"The model's chat template refuses these messages: {error}."
                raise RunnerRefused(message, field="messages", code="template_error") from error
        return str(rendered[0][0])

    @cached_property
    def marks(self) -> dict[str, str]:
        """The names that templates know special tokens by."""
        named = {
            "bos_token": C.llama_vocab_bos,
            "eos_token": C.llama_vocab_eos,
            "pad_token": C.llama_vocab_pad,
            "sep_token": C.llama_vocab_sep,
        }
        found = {name: ask(self.vocabulary) for name, ask in named.items()}
        return {name: self.decode([token]) for name, token in found.items() if token >= 0}

    def detokenizer(self) -> Detokenizer:
        return Spelling(self)

    @cached_property
    def guidance(self) -> Any:
        made: Any = LLTokenizer
        return made.from_llamacpp(
            tokens=[self.spelled(token) for token in range(self.size)],
            vocab_ptr=self.vocabulary,
            tokenize_fptr=ctypes.cast(C.llama_cpp._lib.llama_tokenize, ctypes.c_void_p).value,
            eos_token=sorted(self.ends),
        )

    def spelled(self, token: int) -> bytes:
        """Its piece as llguidance wants it: behind 0xFF when it is a marker and no text. As its own
        lltokenizer_from_vocab, which calls what llama.cpp deprecates."""
        piece, kind = self.piece(token), C.llama_vocab_get_attr(self.vocabulary, token)
        marks = kind & C.LLAMA_TOKEN_ATTR_USER_DEFINED and piece[:1] == b"<" and piece[-1:] == b">"
        return b"\xff" + piece if marks or kind & C.LLAMA_TOKEN_ATTR_CONTROL else piece

    def guide(self) -> Any:
        return self.guidance


class Spelling:
    """A token's bytes are its own, so the only thing to wait for is the rest of a character."""

    def __init__(self, tokenizer: GgufTokenizer) -> None:
        self.tokenizer = tokenizer
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.last_segment = ""

    def add_token(self, token: int) -> None:
        self.last_segment = self.decoder.decode(self.tokenizer.piece(token))

    def finalize(self) -> None:
        self.last_segment = self.decoder.decode(b"", final=True)
