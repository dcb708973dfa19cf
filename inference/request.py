"""The one internal request, and the events a runner answers with: every dialect maps onto these.

Front → runner: Generate, Tokenize, Embed, Rank, Inspect, InspectPrefixes, Cancel.
Runner → front: Ready once; then for

    Generate         Started, (Progress | Text | Reasoning | ToolCall | Ended)…, Finish
    Tokenize         Tokens
    Embed            Vectors
    Rank             Scores
    Inspect          Report
    InspectPrefixes  Prefixes

Failed may take the place of any of them and is the last.
"""

from typing import Any, Literal

import msgspec

# ── How a runner starts ────────────────────────────────────────────────────────────────────────────


class Assignment(msgspec.Struct, frozen=True):
    """What the pool tells a runner process at its start."""

    engine: str
    # A folder with safetensors, or a .gguf file.
    path: str
    # "chat", "embedding" or "reranker".
    kind: str
    # Tokens of prompt and answer together.
    context: int
    # For kept prefixes: bytes in memory, a folder for those on disk, and how many bytes it may hold.
    cache_bytes: int
    disk: str = ""
    disk_bytes: int = 0
    # How many requests may wait.
    queue: int = 128
    # Whether to keep off what a processor has for matrices alone: with it, llama.cpp crashed.
    plain: bool = False


# ── What is asked ──────────────────────────────────────────────────────────────────────────────────


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function that the model may call; `parameters` is a JSON Schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    # Arguments are held to the schema while they are generated, not only asked for.
    strict: bool = False


class Call(msgspec.Struct, frozen=True):
    """A call the assistant made; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation, as chat templates want it."""

    role: str
    content: str = ""
    name: str | None = None
    reasoning: str | None = None
    tool_calls: list[Call] = []
    tool_call_id: str | None = None


class Chat(msgspec.Struct, frozen=True, tag=True):
    """A prompt made by the model's chat template; `variables` are what the template is given besides."""

    messages: list[Message]
    tools: list[Tool] = []
    variables: dict[str, Any] = {}
    # The last message is the assistant's own beginning, to be continued and not answered.
    resume: bool = False


class Plain(msgspec.Struct, frozen=True, tag=True):
    """A prompt of text, as it is."""

    text: str


class Raw(msgspec.Struct, frozen=True, tag=True):
    """A prompt of tokens, as they are."""

    tokens: list[int]


Prompt = Chat | Plain | Raw


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the next token is chosen; both engines mean the same by it, in this order.

    1. `logit_bias` is added (token → -100…100); `repetition_penalty` divides positive and multiplies
       negative scores of every token of prompt and answer; `presence_penalty` and `frequency_penalty`
       × count are subtracted for tokens of the answer. A constraint removes what it forbids.
       Log-probabilities that are reported are of this distribution.
    2. `temperature` divides; 0 takes the best and ends here.
    3. `top_k` (0: all), `top_p`, `min_p` keep the likeliest, each of what the one before left.
    4. One is drawn, by a random state of the request's own: `seed` makes it repeatable, and no
       neighbour in the batch can move it.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[int, float] = {}
    seed: int | None = None


class JsonSchema(msgspec.Struct, frozen=True, tag=True):
    """The answer is a JSON text that the schema holds for."""

    schema: dict[str, Any]


class AnyJson(msgspec.Struct, frozen=True, tag=True):
    """The answer is some JSON object."""


class Function(msgspec.Struct, frozen=True, tag=True):
    """`tool_choice`: this one function."""

    name: str


Priority = Literal["interactive", "batch"]


class Generate(msgspec.Struct, frozen=True, tag=True):
    """Continue `prompt`, `choices` times; `max_tokens` is None for as many as the context holds."""

    id: int
    prompt: Prompt
    choices: int = 1
    max_tokens: int | None = None
    sampling: Sampling = Sampling()
    stop: list[str] = []
    # How many alternatives to report beside each token's own log-probability; None reports nothing.
    logprobs: int | None = None
    format: JsonSchema | AnyJson | None = None
    tool_choice: Literal["auto", "none", "required"] | Function = "auto"
    parallel_tool_calls: bool = True
    # Tokens the model may reason for before its reasoning is closed; None for no limit.
    thinking_budget: int | None = None
    # A smaller context than the model's own; a prompt beyond it is refused.
    context: int | None = None
    # Who asks, for fairness.
    client: str = ""
    priority: Priority = "interactive"


class Tokenize(msgspec.Struct, frozen=True, tag=True):
    """What `prompt` is in tokens and in text; a Raw one is detokenized."""

    id: int
    prompt: Prompt


class Embed(msgspec.Struct, frozen=True, tag=True):
    """One vector for each input."""

    id: int
    inputs: list[Plain | Raw]


class Rank(msgspec.Struct, frozen=True, tag=True):
    """How relevant each document is to the query."""

    id: int
    query: str
    documents: list[str]


class Inspect(msgspec.Struct, frozen=True, tag=True):
    """Ask for a Report."""

    id: int


class InspectPrefixes(msgspec.Struct, frozen=True, tag=True):
    """Ask for what the prefix cache holds, and why the last requests missed it."""

    id: int


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Nobody waits for answer `id` any more."""

    id: int


# ── What is answered ───────────────────────────────────────────────────────────────────────────────


class Activity(msgspec.Struct, frozen=True):
    """How the model runs here, and what it does right now; bytes are of the engine's own memory."""

    engine: str
    device: str
    dtype: str
    # What multiplies matrices when the device is a CPU.
    blas: str
    queued: int
    prefilling: int
    decoding: int
    memory_bytes: int
    peak_memory_bytes: int
    prefix_cache_bytes: int
    prefix_cache_entries: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The model is loaded; always the first event."""

    activity: Activity
    id: int = 0


class Started(msgspec.Struct, frozen=True, tag=True):
    """The prompt was accepted, and has so many tokens; its answer will come."""

    id: int
    prompt_tokens: int


class Progress(msgspec.Struct, frozen=True, tag=True):
    """So many of the prompt's tokens are read; sent while a long prompt is."""

    id: int
    done: int
    total: int


class Alternative(msgspec.Struct, frozen=True):
    """A token that could have come; `bytes` may be a part of a character."""

    bytes: bytes
    logprob: float


class Logprob(msgspec.Struct, frozen=True):
    """The token that came, and the likeliest ones in its place."""

    bytes: bytes
    logprob: float
    top: list[Alternative] = []


class Text(msgspec.Struct, frozen=True, tag=True):
    """More of the answer's text; `logprobs` are of the tokens that it ends, when they were asked for."""

    id: int
    text: str
    choice: int = 0
    logprobs: list[Logprob] = []


class Reasoning(msgspec.Struct, frozen=True, tag=True):
    """More of what the model thinks before it answers."""

    id: int
    text: str
    choice: int = 0


class ToolCall(msgspec.Struct, frozen=True, tag=True):
    """More of call number `index`: its id and name come first and once, then its arguments piece by piece."""

    id: int
    index: int
    call_id: str | None = None
    name: str | None = None
    arguments: str = ""
    choice: int = 0


Reason = Literal["stop", "length", "tool_calls"]


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The end of one choice; `stop` is the stop string that ended it, when one did."""

    id: int
    reason: Reason
    choice: int = 0
    stop: str | None = None


class Finish(msgspec.Struct, frozen=True, tag=True):
    """The end of the answer; `completion_tokens` counts all choices, end tokens and reasoning included."""

    id: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0


class Tokens(msgspec.Struct, frozen=True, tag=True):
    id: int
    tokens: list[int]
    text: str


class Vectors(msgspec.Struct, frozen=True, tag=True):
    """Little-endian float32 values of length 1 together, one bytes per input."""

    id: int
    vectors: list[bytes]
    prompt_tokens: int


class Scores(msgspec.Struct, frozen=True, tag=True):
    """Relevance from 0 to 1, one per document."""

    id: int
    scores: list[float]
    prompt_tokens: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Answer `id` will not come (or, with id 0, the model did not load)."""

    id: int
    message: str
    code: str
    status: int = 500
    field: str | None = None
    # Seconds after which asking again makes sense.
    retry_after: int | None = None


class Report(msgspec.Struct, frozen=True, tag=True):
    id: int
    activity: Activity


class Lookup(msgspec.Struct, frozen=True):
    """How one request fared at the prefix cache; `reason` says why no more of it was cached."""

    at: float
    prompt_tokens: int
    cached_tokens: int
    reason: str
    # Where the nearest kept prompt first differs, and the text on both sides there.
    differs_at: int | None = None
    kept_text: str | None = None
    asked_text: str | None = None


class Prefixes(msgspec.Struct, frozen=True, tag=True):
    """Newest lookup first; bytes are of the tier in memory, and of the one on disk."""

    id: int
    entries: int
    bytes: int
    budget_bytes: int
    disk_entries: int
    disk_bytes: int
    disk_budget_bytes: int
    lookups: list[Lookup]


Command = Generate | Tokenize | Embed | Rank | Inspect | InspectPrefixes | Cancel
Question = Generate | Tokenize | Embed | Rank | Inspect | InspectPrefixes
Piece = Progress | Text | Reasoning | ToolCall | Ended
Last = Finish | Tokens | Vectors | Scores | Report | Prefixes
Event = Ready | Started | Piece | Last | Failed
