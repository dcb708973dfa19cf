"""What was asked, as the tokens that the model continues."""

from typing import NamedTuple

from inference.errors import RunnerRefused
from inference.request import Chat, Generate, Plain, Prompt, Raw
from inference.runner.tokenizer import Tokenizer


class Prepared(NamedTuple):
    """A prompt ready for the model; `checkpoints` are the lengths at which its parts end, in order."""

    text: str
    tokens: list[int]
    checkpoints: list[int]


class Prompts:
    """The model's tokenizer and template. `prepare` is not for two threads at once."""

    def __init__(self, tokenizer: Tokenizer, context: int) -> None:
        self.tokenizer, self.context = tokenizer, context

    def prepare(self, wanted: Generate) -> Prepared:
        """The prompt of `wanted`, with room for an answer behind it. Raises RunnerRefused."""
        text, tokens = self.read(wanted.prompt)
        if not tokens:
            raise RunnerRefused("The prompt has no tokens.", field=field(wanted.prompt), code="empty_prompt")
        context = min(wanted.context or self.context, self.context)
        if len(tokens) >= context:
            raise RunnerRefused(
                f"The prompt has {len(tokens)} tokens, and the model's context holds {context}, "
                "the answer included. Shorten it.",
                field=field(wanted.prompt),
                code="context_length_exceeded",
            )
        return Prepared(text, tokens, [])

    def read(self, prompt: Prompt) -> tuple[str, list[int]]:
        """The text and the tokens of a prompt. Raises RunnerRefused."""
        match prompt:
            case Raw():
                return self.tokenizer.decode(prompt.tokens), prompt.tokens
            case Plain():
                return prompt.text, self.tokenizer.plain(prompt.text)
            case Chat():
                if self.tokenizer.template is None:
                    raise RunnerRefused("This model has no chat template, so it cannot chat.", field="model")
                text = self.tokenizer.render(prompt)
                return text, self.tokenizer.encode(text)

    def inputs(self, wanted: list[Plain | Raw]) -> list[list[int]]:
        """The tokens of what is to be embedded. Raises RunnerRefused."""
        return [self.input(one, position) for position, one in enumerate(wanted)]

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


def field(prompt: Prompt) -> str:
    return "messages" if isinstance(prompt, Chat) else "prompt"
