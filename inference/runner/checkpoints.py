"""Where in a prompt it is worth keeping what the model holds, for models that cannot cut it back later.

A state with recurrent layers serves a later prompt only if that begins with all of its tokens. So it is
kept at places where later prompts are likely to part: behind what every conversation with the same system
prompt and tools begins with, and at the end of each message. Any length is a right one; a bad guess costs
room, never truth.
"""

from bisect import bisect_left

import msgspec
import numpy as np

from inference.request import Chat, Message, Prompt
from inference.runner.tokenizer import Tokenizer

# Messages at the end of a conversation that get one. As it grows, each gets its own in its turn.
LATEST = 8
# The prompt's own end gets one when so many tokens are behind its last message.
NEAR = 16
# How no first message begins.
STRANGE = "\ue000"


def checkpoints(tokenizer: Tokenizer, prompt: Prompt, text: str, tokens: list[int]) -> list[int]:
    """Lengths in tokens, in order; the last is the prompt's end, or that of its last message just before."""
    ends = ends_of_parts(tokenizer, prompt, text) if isinstance(prompt, Chat) else []
    found = sorted({length for length in in_tokens(tokenizer, text, tokens, ends) if length})
    if not found or len(tokens) - found[-1] > NEAR:
        found.append(len(tokens))
    return found


def ends_of_parts(tokenizer: Tokenizer, chat: Chat, text: str) -> list[int]:
    """Lengths in characters."""
    others = (at for at, one in enumerate(chat.messages) if one.role not in ("system", "developer"))
    leading = next(others, len(chat.messages))
    beginnings = [[*chat.messages[:leading], Message("user", STRANGE)]]
    for count in range(max(leading, len(chat.messages) - LATEST) + 1, len(chat.messages) + 1):
        beginnings.append(chat.messages[:count])
    return [shared(tokenizer, chat, beginning, text) for beginning in beginnings]


def shared(tokenizer: Tokenizer, chat: Chat, messages: list[Message], text: str) -> int:
    """How far `text` begins as a conversation of these messages alone does."""
    try:
        begun = tokenizer.render(msgspec.structs.replace(chat, messages=messages, resume=False), answer=False)
    except Exception:  # templates are made for whole conversations, and may raise anything on less
        return 0
    return bisect_left(range(len(begun)), True, key=lambda at: not text.startswith(begun[: at + 1]))


def in_tokens(tokenizer: Tokenizer, text: str, tokens: list[int], ends: list[int]) -> list[int]:
    """The lengths in tokens that reach to no further than `ends`, which are in characters."""
    pieces = [tokenizer.piece(token) for token in tokens]
    wanted = text.encode()
    spelt = b"".join(pieces)
    # A tokenizer may put a space in front. One that spells the text otherwise cannot be followed.
    if not spelt.endswith(wanted):
        return []
    reached = np.cumsum([len(piece) for piece in pieces]) - (len(spelt) - len(wanted))
    return [int(np.searchsorted(reached, len(text[:end].encode()), side="right")) for end in ends]
