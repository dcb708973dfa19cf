"""`/v1/tokenize`, `/v1/detokenize` and `/v1/apply-template` on the wire, near vLLM's and llama.cpp's."""

from typing import Annotated

import msgspec
from pydantic import Field, ValidationInfo, field_validator

from inference.request import Chat, Plain
from inference.schemas.accepted import Accepting
from inference.schemas.chat import Effort, Message
from inference.schemas.tools import FunctionTool, Templated, distinct

MOST_TOKENS = 2**20


class Conversation(Templated):
    """What of a chat makes its prompt."""

    model: str = Field("auto", description="an id of /v1/models, or auto")
    tools: list[FunctionTool] | None = Field(None, max_length=512)
    reasoning_effort: Effort | None = None

    @field_validator("tools")
    @classmethod
    def are_distinct(cls, tools: list[FunctionTool] | None) -> list[FunctionTool] | None:
        distinct([tool.function.tool for tool in tools or ()])
        return tools

    def chat(self, messages: list[Message]) -> Chat:
        tools = [tool.function.tool for tool in self.tools or ()]
        return Chat([one.said for one in messages], tools, self.variables(self.reasoning_effort))


class TemplateRequest(Conversation):
    messages: list[Message] = Field(min_length=1)

    @property
    def asked(self) -> Chat:
        return self.chat(self.messages)


class TokenizeRequest(Conversation):
    prompt: str | None = Field(None, description="a text as it is")
    messages: list[Message] | None = Field(
        None, min_length=1, validate_default=True, description="or a chat, by the model's template"
    )

    @field_validator("messages")
    @classmethod
    def is_the_other_one(
        cls, messages: list[Message] | None, request: ValidationInfo
    ) -> list[Message] | None:
        if (messages is None) == (request.data.get("prompt", "") is None):
            raise ValueError("send prompt or messages, one of them")
        return messages

    @property
    def asked(self) -> Plain | Chat:
        return Plain(self.prompt or "") if self.messages is None else self.chat(self.messages)


class Tokenized(msgspec.Struct):
    model: str
    count: int
    # The model's context, which prompt and answer share.
    max_model_len: int
    tokens: list[int]


class DetokenizeRequest(Accepting):
    model: str = Field("auto", description="an id of /v1/models, or auto")
    tokens: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(max_length=MOST_TOKENS)


class Detokenized(msgspec.Struct):
    model: str
    text: str


class Rendered(msgspec.Struct):
    """The text of the prompt, and how many tokens it has."""

    model: str
    prompt: str
    count: int
