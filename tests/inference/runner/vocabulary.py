"""opta-tiny's vocabulary with a template and markers of choice, and a model that speaks it at random."""

import random
from functools import cache

import numpy as np
from llguidance import LLTokenizer
from tokenizers import AddedToken

from inference import tiny
from inference.request import Chat, Generate, Message, Tool
from inference.runner.constrain import constraint
from inference.runner.engine import Constraint

CLOSING = frozenset(b'"]}<')


@cache
def trained() -> str:
    return tiny.tokenizer().to_str()


class Vocabulary:
    """As much of a Tokenizer as a constraint needs; the markers are tokens of their own."""

    def __init__(self, template: str = "", *markers: str) -> None:
        self.words = tiny.Tokenizer.from_str(trained())
        self.words.add_tokens([AddedToken(marker, special=True, normalized=False) for marker in markers])
        self.template = template
        self.end = self.words.token_to_id(tiny.END)
        self.ends = frozenset((self.end, self.words.token_to_id(tiny.SPECIAL[0])))
        # More than it has, as many models do.
        self.size = self.words.get_vocab_size() + 17
        self.made = LLTokenizer(self.words.to_str(), n_vocab=self.size, eos_token=[self.end])
        self.closing = {token for token in range(self.size) if CLOSING & set(self.piece(token))}

    def guide(self) -> LLTokenizer:
        return self.made

    def encode(self, text: str) -> list[int]:
        return self.words.encode(text).ids

    def piece(self, token: int) -> bytes:
        return self.made.decode_bytes([token])

    def text(self, tokens: list[int]) -> str:
        return self.made.decode_bytes(tokens).decode()


@cache
def vocabulary(template: str = "", *markers: str) -> Vocabulary:
    return Vocabulary(template, *markers)


def asked(words: Vocabulary, prompt: str = "", tools: list[Tool] = [], **wanted: object) -> Constraint | None:  # noqa: B006
    return constraint(Generate(1, Chat([], tools), **wanted), words, prompt)


def resumed(words: Vocabulary, begun: str, **wanted: object) -> Constraint | None:
    """For an answer that was begun already."""
    return constraint(Generate(1, Chat([Message("assistant", begun)], resume=True), **wanted), words, begun)


def allowed(held: Constraint, words: Vocabulary) -> list[int]:
    mask = held.mask()
    assert mask is not None
    assert (mask.dtype, len(mask)) == (np.uint32, (words.size + 31) // 32)
    bits = np.unpackbits(mask.view(np.uint8), bitorder="little")
    assert not bits[words.size :].any()
    return [int(token) for token in np.flatnonzero(bits)]


def spoken(held: Constraint, words: Vocabulary, dice: random.Random, most: int = 400) -> tuple[str, bool]:
    """What a model without sense says under the constraint, and whether it came to an end; it ends soon,
    and likes what closes brackets."""
    said: list[int] = []
    while len(said) < most:
        can = allowed(held, words)
        ending = words.ends & set(can)
        if ending and (len(ending) == len(can) or dice.random() < 0.4):
            held.accept(dice.choice(sorted(ending)))
            assert set(allowed(held, words)) == words.ends
            return words.text(said), True
        going = [token for token in can if token not in words.ends]
        closing = [token for token in going if token in words.closing]
        token = dice.choice(closing if closing and dice.random() < 0.5 else going)
        held.accept(token)
        said.append(token)
    return words.text(said), False


def takes(held: Constraint, words: Vocabulary, text: str) -> bool:
    """Whether the constraint lets the model say `text`, token by token, and end there."""
    for token in words.encode(text):
        if token not in allowed(held, words):
            return False
        held.accept(token)
    return words.end in allowed(held, words)
