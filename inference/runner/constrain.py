"""What an answer may be, as masks over tokens: JSON, a schema, a tool call, the end of reasoning."""

from inference.request import Generate
from inference.runner.engine import Constraint
from inference.runner.tokenizer import Tokenizer


def constraint(wanted: Generate, tokenizer: Tokenizer, prompt: str) -> Constraint | None:
    """What `wanted` holds its answer to, which follows the text `prompt`; None when anything may come.

    A new one for each choice. Raises RunnerRefused for a schema that it cannot honour.
    """
    return None
