"""What every engine's tokenizer can do. Encoding and decoding may happen on two threads at once, each
on one at a time."""

from typing import Protocol

from inference.request import Chat


class Detokenizer(Protocol):
    """Text of one answer's tokens as they come; a part of a character waits for its rest."""

    @property
    def last_segment(self) -> str:
        """The text that the last call made certain."""

    def add_token(self, token: int) -> None: ...
    def finalize(self) -> None: ...


class Tokenizer(Protocol):
    # The source of the chat template; None when the model has none.
    template: str | None
    # Tokens that end an answer.
    ends: frozenset[int]
    # The number of tokens the model scores, which may be more than have a text.
    size: int

    def encode(self, text: str) -> list[int]:
        """Markers such as <|im_start|> in `text` become their one token; nothing is put before or after."""

    def plain(self, text: str) -> list[int]:
        """As `encode`, behind what the model expects at the very beginning, such as its BOS."""

    def decode(self, tokens: list[int]) -> str:
        """Markers included. Raises RunnerRefused for a token that there is not."""

    def piece(self, token: int) -> bytes:
        """The bytes of one token, which may be a part of a character."""

    def render(self, chat: Chat, *, answer: bool = True) -> str:
        """`chat` by the model's template, with the beginning of an answer unless `answer` is False.
        Raises RunnerRefused with what the template said."""

    def detokenizer(self) -> Detokenizer: ...

    def guide(self) -> object:
        """The llguidance.LLTokenizer of this vocabulary, `size` tokens wide; made at the first call."""
