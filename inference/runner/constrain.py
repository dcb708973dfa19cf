"""What an answer may be, as masks over tokens: JSON, a schema, a tool call, the end of reasoning."""

from functools import lru_cache
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from inference.errors import RunnerRefused
from inference.request import Chat, Generate
from inference.runner import schema
from inference.runner.engine import Constraint
from inference.runner.grammar import Grammar, Thought, bound, grammar, thought
from inference.runner.tokenizer import Tokenizer

# Grammars kept; the largest take some 10 MB each.
COMPILED = 16

Mask = NDArray[np.uint32]


def constraint(wanted: Generate, tokenizer: Tokenizer, prompt: str) -> Constraint | None:
    """What `wanted` holds its answer to, which follows the text `prompt`; None when anything may come.

    A new one for each choice. Raises RunnerRefused for a schema that it cannot honour.
    """
    template = tokenizer.template if isinstance(wanted.prompt, Chat) else None
    reasoning = thought(template, prompt)
    held = None
    if bound(wanted):
        guide: Any = tokenizer.guide()
        begins = matcher(grammar(wanted, tokenizer, template, reasoning), guide)
        if isinstance(wanted.prompt, Chat) and wanted.prompt.resume:
            follow(begins, guide.tokenize_str(wanted.prompt.messages[-1].content))
        held = Held(begins, tokenizer)
    # An answer without reasoning is within any budget, and clients send one to every model.
    if wanted.thinking_budget is None or reasoning is None:
        return held
    return Budget(held, wanted.thinking_budget, reasoning, tokenizer)


def matcher(asked: Grammar, guide: LLTokenizer) -> LLMatcher:
    """Raises RunnerRefused, naming the field of the schema that llguidance cannot compile."""
    found = compiled(guide, asked.lark)
    if found.is_error():
        for field, one in asked.schemas.items():
            if error := LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(one), guide):
                raise schema.explained(error, field)
        raise schema.explained(found.get_error(), next(iter(asked.schemas)))
    return found.deep_copy()


def follow(begins: LLMatcher, said: list[int]) -> None:
    """Go on behind what the answer was begun with. Raises RunnerRefused when it may not begin so."""
    if begins.try_consume_tokens(said) < len(said):
        raise RunnerRefused(
            "The message that is to be continued does not begin as its format or tool_choice wants it.",
            field="messages",
        )


@lru_cache(maxsize=COMPILED)
def compiled(guide: LLTokenizer, lark: str) -> LLMatcher:
    """At the beginning of an answer, to be copied; equal grammars are compiled once."""
    return LLMatcher(guide, lark, log_level=0)


def bits(tokens: frozenset[int], size: int) -> Mask:
    """A mask with these tokens alone."""
    found = np.zeros((size + 31) // 32, np.uint32)
    for token in tokens:
        found[token // 32] |= np.uint32(1 << token % 32)
    return found


class Held:
    """To a grammar; where that ends, or cannot go on, only an end token may come."""

    def __init__(self, matcher: LLMatcher, tokenizer: Tokenizer) -> None:
        self.matcher, self.tokens = matcher, tokenizer.ends
        self.ends = bits(tokenizer.ends, tokenizer.size)
        self.words = np.zeros_like(self.ends)
        self.fresh = self.over = self.stuck = False

    def mask(self) -> Mask:
        if not self.fresh:
            self.fill()
            self.fresh = True
        return self.words

    def fill(self) -> None:
        if self.over or self.matcher.is_stopped():
            self.words[:] = self.ends
            return
        self.matcher.unsafe_compute_mask_ptr(self.words.ctypes.data, self.words.nbytes)
        # llguidance knows one end token, and a model may have several.
        self.words &= ~self.ends
        self.stuck = not self.words.any() and not self.matcher.is_accepting()
        if self.stuck or self.matcher.is_accepting():
            self.words |= self.ends

    def accept(self, token: int) -> None:
        self.fresh = False
        self.over |= token in self.tokens
        if not self.over and not self.matcher.is_stopped():
            self.matcher.consume_token(token)

    @property
    def failed(self) -> bool:
        """A schema may be too much for llguidance only where an answer has come to."""
        return self.stuck or self.matcher.is_error()


class Budget:
    """So many tokens of reasoning, which is then closed; `held` is what the whole answer is held to."""

    def __init__(self, held: Held | None, tokens: int, thought: Thought, tokenizer: Tokenizer) -> None:
        self.held, self.left, self.tokenizer = held, tokens, tokenizer
        self.opens, self.closes = thought.opens.encode(), thought.closes.encode()
        self.closing = tokenizer.encode(thought.closes)
        self.thinking, self.over = thought.begun, False
        # What came, as far as a marker may be in it.
        self.tail = b""

    def mask(self) -> Mask | None:
        free = self.held.mask() if self.held else None
        if not self.due:
            return free
        forced = bits(frozenset(self.closing[:1]), self.tokenizer.size)
        # In the middle of a character its rest comes first.
        return forced if free is None or (free & forced).any() else free

    @property
    def due(self) -> bool:
        return self.thinking and self.left <= 0 and not self.over

    def accept(self, token: int) -> None:
        if self.held:
            self.held.accept(token)
        if self.due and token == self.closing[0]:
            self.closing.pop(0)
            self.over = not self.closing
        elif not self.over:
            self.left -= self.thinking
            self.look(self.tokenizer.piece(token))

    @property
    def failed(self) -> bool:
        return self.held is not None and self.held.failed

    def look(self, piece: bytes) -> None:
        """Whether reasoning begins or ends with this."""
        if self.thinking:
            self.tail = self.tail[-len(self.closes) :] + piece
            self.over = self.closes in self.tail
            return
        self.tail = (self.tail + piece).lstrip()
        self.thinking = self.tail.startswith(self.opens)
        self.over = not self.thinking and not self.opens.startswith(self.tail)
