"""`/v1/responses`: OpenAI's newer API, whose answers are items and may be gone on from by their id."""

import time
from collections.abc import Iterator
from contextlib import aclosing
from secrets import token_hex
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Router

from inference import request as internal
from inference.api import answers
from inference.api.chat import likely_token
from inference.api.dialect import answer, encode
from inference.api.docs import responses
from inference.api.front import pool_of, store_of
from inference.api.store import Store
from inference.inbox import Pause
from inference.request import Call, Ended, Event, Finish, Generate, Message, Reason, Reasoning, Text, ToolCall
from inference.schemas.responses import ResponsesRequest
from inference.schemas.responses_answer import (
    Deleted,
    Incomplete,
    InputDetails,
    NamedChoice,
    Output,
    OutputCall,
    OutputDetails,
    OutputMessage,
    OutputReasoning,
    OutputText,
    ReasoningText,
    Response,
    ResponseError,
    ResponseEvent,
    ResponsesUsage,
    Status,
)
from opta import sse
from opta.errors import Refusal

router = Router(tags=["OpenAI"])


@router.post("/responses", summary="Respond", openapi_extra=responses(Response, ResponseEvent))
async def respond(request: HttpRequest, wanted: ResponsesRequest) -> HttpResponse | StreamingHttpResponse:
    """Answers whole, or as events with `stream: true`; `previous_response_id` goes on from an answer."""
    store, previous = store_of(request), wanted.previous_response_id
    model = pool_of(request).find(wanted.model)
    before = store.get(previous, "previous_response_id").messages if previous else []
    conversation = wanted.conversation(before)
    asked = wanted.generate(conversation, model.defaults)
    _, events = await answers.ask(request, model, asked)
    reply = Reply(begun(model.id, wanted, asked), store, conversation)
    if wanted.stream:
        return answers.stream(events, reply.frames, reply.failed, first=b"".join(reply.opening()))
    async with aclosing(events):
        async for event in events:
            if not isinstance(event, Pause):
                list(reply.frames(event))  # the whole answer is the last of what a stream says
    return answer(reply.response)


@router.get("/responses/{response_id}", summary="Response", openapi_extra=responses(Response))
async def kept(request: HttpRequest, response_id: str) -> HttpResponse:
    """An answer that is still kept."""
    return HttpResponse(store_of(request).get(response_id).response, content_type="application/json")


@router.delete("/responses/{response_id}", summary="Forget a response", openapi_extra=responses(Deleted))
async def forget(request: HttpRequest, response_id: str) -> HttpResponse:
    """Answers that went on from it still know what was said."""
    store_of(request).delete(response_id)
    return answer(Deleted(response_id))


def begun(model: str, wanted: ResponsesRequest, asked: Generate) -> Response:
    """An answer before its first word."""
    text = wanted.text.format if wanted.text else None
    choice = wanted.tool_choice
    return Response(
        id=f"resp_{token_hex(24)}",
        created_at=int(time.time()),
        model=model,
        parallel_tool_calls=asked.parallel_tool_calls,
        tool_choice=NamedChoice(choice.name) if isinstance(choice, internal.Function) else choice or "auto",
        tools=[tool.model_dump() for tool in wanted.tools or ()],
        temperature=asked.sampling.temperature,
        top_p=asked.sampling.top_p,
        text={"format": text.model_dump(by_alias=True, exclude_none=True) if text else {"type": "text"}},
        reasoning={"effort": wanted.effort, "summary": None},
        metadata=wanted.metadata or {},
        instructions=wanted.instructions,
        previous_response_id=wanted.previous_response_id,
        max_output_tokens=wanted.max_output_tokens,
        store=wanted.store is not False,
        top_logprobs=wanted.top_logprobs or 0,
    )


class Reply:
    """One answer as it grows, and the events that tell of it."""

    def __init__(self, response: Response, store: Store, conversation: list[Message]) -> None:
        self.response, self.store, self.conversation = response, store, conversation
        self.sequence = 0
        # The item that is being written; what follows it closes it.
        self.item: Output | None = None
        self.reason: Reason | None = None

    def opening(self) -> Iterator[bytes]:
        yield self.event("response.created", response=self.response)
        yield self.event("response.in_progress", response=self.response)

    def frames(self, found: Event) -> Iterator[bytes]:
        match found:
            case Reasoning():
                yield from self.reasoning(found.text)
            case Text():
                yield from self.text(found)
            case ToolCall():
                yield from self.call(found)
            case Ended():
                self.reason = found.reason
                yield from self.close("incomplete" if found.reason == "length" else "completed")
            case Finish():
                yield self.finish(found)

    def failed(self, error: Refusal) -> bytes:
        self.response.status, self.response.error = "failed", ResponseError(error.message)
        return self.event("response.failed", response=self.response)

    def open(self, item: Output) -> Iterator[bytes]:
        yield from self.close("completed")
        self.item = item
        self.response.output = [*self.response.output, item]
        yield self.of_item("response.output_item.added", item=item)
        if isinstance(item, OutputMessage):
            item.content = [OutputText()]
            yield self.of_part("response.content_part.added", part=item.content[0])
        elif isinstance(item, OutputReasoning):
            item.content = [ReasoningText()]
            yield self.of_part("response.content_part.added", part=item.content[0])

    def close(self, status: Status) -> Iterator[bytes]:
        item = self.item
        if item is None:
            return
        item.status = status
        match item:
            case OutputMessage(content=[part]):
                yield self.of_part("response.output_text.done", text=part.text, logprobs=part.logprobs)
                yield self.of_part("response.content_part.done", part=part)
            case OutputReasoning(content=[thought]):
                yield self.of_part("response.reasoning_text.done", text=thought.text)
                yield self.of_part("response.content_part.done", part=thought)
            case OutputCall():
                done = {"name": item.name, "arguments": item.arguments, "item_id": item.id}
                yield self.of_item("response.function_call_arguments.done", **done)
        yield self.of_item("response.output_item.done", item=item)
        self.item = None

    def reasoning(self, text: str) -> Iterator[bytes]:
        item = self.item
        if not isinstance(item, OutputReasoning):
            item = OutputReasoning(f"rs_{token_hex(24)}")
            yield from self.open(item)
        item.content[0].text += text
        yield self.of_part("response.reasoning_text.delta", delta=text)

    def text(self, found: Text) -> Iterator[bytes]:
        item = self.item
        if not isinstance(item, OutputMessage):
            item = OutputMessage(f"msg_{token_hex(24)}")
            yield from self.open(item)
        logprobs = [likely_token(one) for one in found.logprobs]
        item.content[0].text += found.text
        item.content[0].logprobs += logprobs
        yield self.of_part("response.output_text.delta", delta=found.text, logprobs=logprobs)

    def call(self, found: ToolCall) -> Iterator[bytes]:
        if found.call_id is not None and found.name is not None:
            yield from self.open(OutputCall(f"fc_{token_hex(24)}", found.call_id, found.name))
        if found.arguments and isinstance(self.item, OutputCall):
            self.item.arguments += found.arguments
            delta = {"delta": found.arguments, "item_id": self.item.id}
            yield self.of_item("response.function_call_arguments.delta", **delta)

    def finish(self, found: Finish) -> bytes:
        """The last event; the answer is kept before anybody can ask for it."""
        response = self.response
        response.usage = usage(found)
        response.status = "completed"
        if self.reason == "length":
            response.status, response.incomplete_details = "incomplete", Incomplete("max_output_tokens")
        if response.store:
            self.store.put(response.id, response, [*self.conversation, said(response.output)])
        return self.event(f"response.{response.status}", response=response)

    def of_item(self, type: str, **parts: Any) -> bytes:
        return self.event(type, output_index=len(self.response.output) - 1, **parts)

    def of_part(self, type: str, **parts: Any) -> bytes:
        """What concerns the one part of an item's content."""
        return self.of_item(type, item_id=self.response.output[-1].id, content_index=0, **parts)

    def event(self, type: str, **parts: Any) -> bytes:
        event = ResponseEvent(type, self.sequence, **parts)
        self.sequence += 1
        return sse.frame(encode(event).decode(), event=type)


def usage(found: Finish) -> ResponsesUsage:
    return ResponsesUsage(
        found.prompt_tokens,
        InputDetails(found.cached_tokens),
        found.completion_tokens,
        OutputDetails(found.reasoning_tokens),
        found.prompt_tokens + found.completion_tokens,
    )


def said(output: list[Output]) -> Message:
    """The items of an answer as one message, as a chat template takes it."""
    texts = [part.text for item in output if isinstance(item, OutputMessage) for part in item.content]
    thoughts = [part.text for item in output if isinstance(item, OutputReasoning) for part in item.content]
    calls = [Call(item.call_id, item.name, item.arguments) for item in output if isinstance(item, OutputCall)]
    return Message("assistant", "".join(texts), reasoning="".join(thoughts) or None, tool_calls=calls)
