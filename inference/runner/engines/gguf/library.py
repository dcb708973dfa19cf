"""llama.cpp as it is used here: a model's file, a context in which it runs, and a batch of tokens.

Written against llama-cpp-python 0.3.36, whose every name used here is held by a contract test.
"""

import ctypes
import sys
from collections import deque
from dataclasses import dataclass
from functools import cache

import llama_cpp as C
import numpy as np
from numpy.typing import NDArray

# What llama_decode returns for a batch that finds no cells; the memory is then as it was before.
NO_SLOT = 1
WARNING, ERROR, CONTINUED = 3, 4, 5
# A context holds many texts here, each of which is held to the model's own length.
EXPECTED = "possible training context overflow"


class LibraryError(Exception):
    """llama.cpp could not do it; the message holds what it said last."""


class Log:
    """llama.cpp's warnings and errors, to stderr; the last ones are remembered for who has to explain."""

    def __init__(self) -> None:
        self.last: deque[str] = deque(maxlen=4)
        self.level = 0
        self.callback = C.llama_log_callback(self.write)
        C.llama_log_set(self.callback, ctypes.c_void_p(0))

    def write(self, level: int, text: bytes, _: object) -> None:
        self.level = self.level if level == CONTINUED else level
        if self.level in (WARNING, ERROR):
            line = text.decode(errors="replace")
            if EXPECTED not in line:
                sys.stderr.write(line)
            if self.level == ERROR:
                self.last.append(line.strip())

    @property
    def reason(self) -> str:
        return " ".join(self.last) or "llama.cpp gave no reason"


@cache
def log() -> Log:
    """The one there is: llama.cpp has one for a process, and calls it until the end."""
    return Log()


class Model:
    """Raises LibraryError for a file that llama.cpp cannot load."""

    def __init__(self, path: str, *, plain: bool = False) -> None:
        self.log = log()
        C.llama_backend_init()
        params = C.llama_model_default_params()
        params.n_gpu_layers = -1  # all of them, where there is a GPU
        params.use_extra_bufts = not plain
        self.pointer = C.llama_model_load_from_file(path.encode(), params)
        if not self.pointer:
            raise LibraryError(f"llama.cpp cannot load {path}: {self.log.reason}")
        self.vocabulary = C.llama_model_get_vocab(self.pointer)
        self.size: int = C.llama_vocab_n_tokens(self.vocabulary)
        self.nbytes: int = C.llama_model_size(self.pointer)
        # What a sequence has read beside attention cannot be cut back, only kept whole.
        self.divisible = not (
            C.llama_model_is_recurrent(self.pointer) or C.llama_model_is_hybrid(self.pointer)
        )

    @property
    def generates(self) -> bool:
        """Whether it continues a text token by token; encoders and diffusion models do not."""
        return not (C.llama_model_has_encoder(self.pointer) or C.llama_model_is_diffusion(self.pointer))

    @property
    def dtype(self) -> str:
        name = C.llama_ftype_name(C.llama_model_ftype(self.pointer))
        return name.decode().removeprefix("(guessed) ") if name else "unknown"

    @property
    def device(self) -> str:
        return "gpu" if C.llama_supports_gpu_offload() else "cpu"

    def meta(self, key: str) -> str | None:
        """The text of one value of the file's metadata; None when it has none."""
        room = 1 << 10
        while True:
            buffer = ctypes.create_string_buffer(room)
            length = C.llama_model_meta_val_str(self.pointer, key.encode(), buffer, room)
            if length < room:
                return buffer.value.decode(errors="replace") if length >= 0 else None
            room = length + 1


@dataclass(frozen=True)
class Shape:
    """How large a context is: `cells` are tokens that it remembers, of all `sequences` together."""

    cells: int
    sequences: int
    # Tokens in one call, and tokens computed at once.
    batch: int
    chunk: int
    pooled: bool = False


class Batch:
    """Tokens of many sequences for one llama_decode; the arrays are its memory, made once."""

    def __init__(self, capacity: int) -> None:
        self.tokens = np.zeros(capacity, np.int32)
        self.positions = np.zeros(capacity, np.int32)
        self.owners = np.zeros(capacity, np.int32)
        self.wanted = np.zeros(capacity, np.int8)
        self.counts = np.ones(capacity, np.int32)
        # llama.cpp takes a list of owners for each token: here a pointer to its one.
        self.lists = self.owners.ctypes.data + np.arange(capacity, dtype=np.uintp) * self.owners.itemsize
        self.struct = C.llama_batch(
            0,
            pointer(self.tokens, C.llama_token),
            None,
            pointer(self.positions, C.llama_pos),
            pointer(self.counts, ctypes.c_int32),
            pointer(self.lists, ctypes.POINTER(C.llama_seq_id)),
            pointer(self.wanted, ctypes.c_int8),
        )

    def __len__(self) -> int:
        return int(self.struct.n_tokens)

    def clear(self) -> None:
        self.struct.n_tokens = 0

    def add(self, owner: int, tokens: list[int], start: int, *, scored: bool) -> None:
        """`tokens` of sequence `owner` from position `start`; `scored`: what comes behind them is wanted."""
        begin, end = len(self), len(self) + len(tokens)
        self.tokens[begin:end] = tokens
        self.positions[begin:end] = np.arange(start, start + len(tokens))
        self.owners[begin:end] = owner
        self.wanted[begin:end] = 0
        self.wanted[end - 1] = scored
        self.struct.n_tokens = end


class Context:
    """A model's memory and its computation. Raises LibraryError when there is no room for it."""

    def __init__(self, model: Model, shape: Shape) -> None:
        self.model, self.shape = model, shape
        params = C.llama_context_default_params()
        params.n_ctx, params.n_seq_max = shape.cells, shape.sequences
        params.n_batch, params.n_ubatch = shape.batch, shape.chunk
        params.n_outputs_max = 0 if shape.pooled else shape.sequences
        # Sequences share cells, so that a prompt is forked for nothing.
        params.kv_unified = params.swa_full = True
        if model.device == "cpu":
            # Four times slower there for a few tokens behind a long context, and no faster for others.
            params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.embeddings = shape.pooled
        params.no_perf = True
        self.pointer = C.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise LibraryError(
                f"llama.cpp has no room for a context of {shape.cells} tokens: {model.log.reason}"
            )
        self.memory = C.llama_get_memory(self.pointer)
        self.scored: NDArray[np.float32] | None = None

    def close(self) -> None:
        C.llama_free(self.pointer)

    def use_threads(self, count: int) -> None:
        C.llama_set_n_threads(self.pointer, count, count)

    def decode(self, batch: Batch) -> bool:
        """Compute; False when there are no cells for the batch, and nothing was done."""
        status = C.llama_decode(self.pointer, batch.struct)
        if status not in (0, NO_SLOT):
            raise LibraryError(f"llama_decode failed with status {status}: {self.model.log.reason}")
        return bool(status == 0)

    def scores(self, rows: int) -> NDArray[np.float32]:
        """(rows, vocabulary), in the batch's order; llama.cpp's own memory, good until the next decode."""
        found = C.llama_get_logits(self.pointer)
        if self.scored is None or self.scored.ctypes.data != ctypes.addressof(found.contents):
            # llama.cpp makes room for a row of every sequence at least.
            self.scored = np.ctypeslib.as_array(found, (self.shape.sequences, self.model.size))
        return self.scored[:rows]

    def pooled(self, owner: int, width: int) -> NDArray[np.float32]:
        """What a pooling model says of one sequence: its vector, or its classes."""
        found = C.llama_get_embeddings_seq(self.pointer, owner)
        return np.ctypeslib.as_array(found, (width,)).copy()

    def copy(self, source: int, target: int, length: int) -> None:
        """`target`, which is empty, begins as the first `length` tokens of `source`."""
        C.llama_memory_seq_cp(self.memory, source, target, 0, length)

    def forget(self, owner: int, start: int = -1) -> None:
        """A sequence from its token `start` on, or all of it."""
        C.llama_memory_seq_rm(self.memory, owner, start, -1)

    def forget_all(self) -> None:
        if self.memory:  # encoders have none
            C.llama_memory_clear(self.memory, False)

    def save(self, owner: int) -> NDArray[np.uint8]:
        """What the model holds of one sequence, as bytes."""
        state = np.empty(C.llama_state_seq_get_size(self.pointer, owner), np.uint8)
        written = C.llama_state_seq_get_data(self.pointer, pointer(state, ctypes.c_uint8), len(state), owner)
        return state[:written]

    def load(self, owner: int, state: NDArray[np.uint8]) -> bool:
        """The opposite of `save`; False when there are no cells, or the bytes are none of this model's."""
        state = np.ascontiguousarray(state)
        buffer = pointer(state, ctypes.c_uint8)
        return bool(C.llama_state_seq_set_data(self.pointer, buffer, len(state), owner))


def pointer(array: NDArray[np.generic], to: type) -> "ctypes._Pointer[ctypes._CData]":
    found: ctypes._Pointer[ctypes._CData] = array.ctypes.data_as(ctypes.POINTER(to))
    return found
