"""What was asked, as the tokens that the model continues."""

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

from inference.errors import RunnerRefused
from inference.request import Chat, Generate, Plain, Prompt, Raw
from inference.runner.checkpoints import checkpoints
from inference.runner.tokenizer import Tokenizer

# Bytes of a token in most texts, and more: a shorter text need not be looked at.
USUAL = 8
# Characters, of which no model holds more today: to tokenise so many takes a second or two.
LARGEST = 2**22


class Prepared(NamedTuple):
    """A prompt ready for the model; `checkpoints` are the lengths at which its parts end, in order."""

    text: str
    tokens: list[int]
    checkpoints: list[int]


class Prompts:
    """The model's tokenizer and template. `prepare` is not for two threads at once."""

    def __init__(self, tokenizer: Tokenizer, context: int, *, checkpoints: bool = False) -> None:
        self.tokenizer, self.context, self.checkpoints = tokenizer, context, checkpoints

    def prepare(self, wanted: Generate) -> Prepared:
        """The prompt of `wanted`, with room for an answer behind it. Raises RunnerRefused."""
        context = min(wanted.context or self.context, self.context)
        text, tokens = self.read(wanted.prompt, context)
        if not tokens:
            raise RunnerRefused("The prompt has no tokens.", field=field(wanted.prompt), code="empty_prompt")
        self.check_bias(wanted.sampling.logit_bias)
        if len(tokens) >= context:
            raise too_long(wanted.prompt, str(len(tokens)), context)
        wished = checkpoints(self.tokenizer, wanted.prompt, text, tokens) if self.checkpoints else []
        return Prepared(text, tokens, wished)

    def check_bias(self, bias: dict[int, float]) -> None:
        """Raises RunnerRefused for a token that the model does not score."""
        if unknown := next((token for token in bias if not 0 <= token < self.tokenizer.size), None):
            message = f"There is no token {unknown} to bias: this model has {self.tokenizer.size}, from 0."
            raise RunnerRefused(message, field="logit_bias", code="unknown_token")

    def read(self, prompt: Prompt, context: int | None = None) -> tuple[str, list[int]]:
        """The text and the tokens of a prompt. Raises RunnerRefused, and before the tokens are made when the
        text cannot fit in `context`."""
        match prompt:
            case Raw():
                return self.tokenizer.decode(prompt.tokens), prompt.tokens
            case Plain():
                self.hold(prompt, prompt.text, context)
                return prompt.text, self.tokenizer.plain(prompt.text)
            case Chat():
                if self.tokenizer.template is None:
                    raise RunnerRefused("This model has no chat template, so it cannot chat.", field="model")
                text = self.tokenizer.render(prompt)
                self.hold(prompt, text, context)
                return text, self.tokenizer.encode(text)

    def hold(self, prompt: Prompt, text: str, context: int | None) -> None:
        """Refuse megabytes without tokenising them: meanwhile nobody else's prompt could be."""
        if context and len(text) > USUAL * context:
            least = len(text.encode()) // self.longest
            if least >= context:
                raise too_long(prompt, f"at least {least}", context)
        if len(text) > LARGEST:
            raise RunnerRefused(
                f"The prompt has {len(text)} characters, and at most {LARGEST} are read. Shorten it.",
                field=field(prompt),
                code="prompt_too_large",
            )

    @cached_property
    def longest(self) -> int:
        """The bytes of the longest token."""
        return max(len(self.tokenizer.piece(token)) for token in range(self.tokenizer.size))

    def inputs(self, wanted: list[Plain | Raw]) -> list[list[int]]:
        """The tokens of what is to be embedded. Raises RunnerRefused."""
        self.hold_texts((one.text for one in wanted if isinstance(one, Plain)), "input")
        return [self.input(one, position) for position, one in enumerate(wanted)]

    def hold_texts(self, texts: Iterable[str], field: str) -> None:
        """Refuse more text than is tokenised for one request."""
        characters = sum(map(len, texts))
        if characters > LARGEST:
            raise RunnerRefused(
                f"The texts have {characters} characters, and at most {LARGEST} are read. Send fewer.",
                field=field,
                code="prompt_too_large",
            )

    def input(self, wanted: Plain | Raw, position: int) -> list[int]:
        try:
            tokens = self.read(wanted)[1]
        except RunnerRefused as error:
            raise RunnerRefused(f"Input {position}: {error.message}", field="input") from error
        if not 0 < len(tokens) <= self.context:
            raise RunnerRefused(
                f"Input {position} has {len(tokens)} tokens; the model takes 1 to {self.context}.",
                field="input",
            )
        return tokens


def too_long(prompt: Prompt, tokens: str, context: int) -> RunnerRefused:
    return RunnerRefused(
        f"The prompt has {tokens} tokens, and the model's context holds {context}, "
        "the answer included. Shorten it.",
        field=field(prompt),
        code="context_length_exceeded",
    )


def field(prompt: Prompt) -> str:
    return "messages" if isinstance(prompt, Chat) else "prompt"
