"""Whether a server reads all that it is sent: a word at a conversation's beginning, asked for at its end."""

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

from cli.agent import context
from cli.protocol.failures import Failure
from cli.protocol.messages import Message

# answer(messages, bytes) is what the model says to them, in about so many bytes at most.
Answers = Callable[[Sequence[Message], int], Awaitable[str]]

QUESTION = "What is the code word from the beginning of this conversation? Answer with it alone."
WORD_BYTES = 200


async def reads(answer: Answers, shown: Sequence[Message], size: int) -> bool:
    """Whether the word reaches the model over a conversation of so many bytes.

    It costs a prompt. A model that cannot repeat the word from nearby proves nothing: it is believed.
    """
    text = context.transcript(shown, size)
    # What a template puts around messages and tools is missing in it.
    text = (text * (size // max(1, len(text)) + 1))[:size]
    word = sha256(text.encode(errors="replace")).hexdigest()[:8]
    try:
        near = await answer(hidden(word, "."), WORD_BYTES)
        return word not in near or word in await answer(hidden(word, text), WORD_BYTES)
    except Failure:
        return True  # it refuses: that is honest


def hidden(word: str, text: str) -> list[Message]:
    """The word is no part of the system prompt: a server that cuts keeps that, and the last message."""
    return [
        Message(role="user", content=f"The code word is {word}. Remember it."),
        Message(role="assistant", content="I will."),
        Message(role="user", content=text),
        Message(role="assistant", content="I have read it."),
        Message(role="user", content=QUESTION),
    ]


def truncated(name: str, tokens: int, got: int) -> str:
    """What the user is told of a server that does not; `got` is 0 where it does not say how much it read."""
    read = f"{got} of about {tokens} tokens" if got else f"less than the about {tokens} tokens"
    return (
        f"The server of {name} read {read} that it was sent, and said nothing: the beginning of the "
        "conversation was lost to this answer. From now on less is sent. Give the model a longer context "
        "where it is served (num_ctx in Ollama) to have all of it read."
    )
