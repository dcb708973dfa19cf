"""Every name of llama_cpp that is used, as it is used: an upgrade that changes one fails here by its name."""

import ctypes
import inspect
import re
from pathlib import Path
from typing import Any

import llama_cpp as C
import pytest
from transformers.utils import chat_template_utils

from inference.runner.engines import gguf

PACKAGE = Path(gguf.__file__).parent
SOURCES = "".join(file.read_text() for file in PACKAGE.glob("*.py"))
USED = sorted(set(re.findall(r"\bC\.(\w+)", SOURCES)))

u32, i32, i8, u8, size, flag = (
    ctypes.c_uint32, ctypes.c_int32, ctypes.c_int8, ctypes.c_uint8, ctypes.c_size_t, ctypes.c_bool
)  # fmt: skip
handle, text, bytes_ = ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(u8)
floats, ids = ctypes.POINTER(ctypes.c_float), ctypes.POINTER(i32)
# name: (argument types, result type), as llama.h of the pinned release has them.
FUNCTIONS = {
    "llama_decode": ((handle, C.llama_batch), i32),
    "llama_free": ((handle,), None),
    "llama_ftype_name": ((ctypes.c_int,), text),
    "llama_get_embeddings_seq": ((handle, i32), floats),
    "llama_get_logits": ((handle,), floats),
    "llama_get_memory": ((handle,), handle),
    "llama_init_from_model": ((handle, C.llama_context_params), handle),
    "llama_memory_clear": ((handle, flag), None),
    "llama_memory_seq_cp": ((handle, i32, i32, i32, i32), None),
    "llama_memory_seq_rm": ((handle, i32, i32, i32), flag),
    "llama_model_ftype": ((handle,), ctypes.c_int),
    "llama_model_get_vocab": ((handle,), handle),
    "llama_model_has_encoder": ((handle,), flag),
    "llama_model_is_diffusion": ((handle,), flag),
    "llama_model_is_hybrid": ((handle,), flag),
    "llama_model_is_recurrent": ((handle,), flag),
    "llama_model_load_from_file": ((text, C.llama_model_params), handle),
    "llama_model_meta_val_str": ((handle, text, text, size), i32),
    "llama_model_n_cls_out": ((handle,), u32),
    "llama_model_n_embd_out": ((handle,), i32),
    "llama_model_size": ((handle,), ctypes.c_uint64),
    "llama_pooling_type": ((handle,), ctypes.c_int),
    "llama_state_seq_get_data": ((handle, bytes_, size, i32), size),
    "llama_state_seq_get_size": ((handle, i32), size),
    "llama_state_seq_set_data": ((handle, bytes_, size, i32), size),
    "llama_set_n_threads": ((handle, i32, i32), None),
    "llama_supports_gpu_offload": ((), flag),
    "llama_token_to_piece": ((handle, i32, text, i32, i32, flag), i32),
    "llama_tokenize": ((handle, text, i32, ids, i32, flag, flag), i32),
    "llama_vocab_bos": ((handle,), i32),
    "llama_vocab_get_attr": ((handle, i32), ctypes.c_int),
    "llama_vocab_eos": ((handle,), i32),
    "llama_vocab_pad": ((handle,), i32),
    "llama_vocab_sep": ((handle,), i32),
    "llama_vocab_get_add_bos": ((handle,), flag),
    "llama_vocab_get_add_eos": ((handle,), flag),
    "llama_vocab_get_add_sep": ((handle,), flag),
    "llama_vocab_is_eog": ((handle, i32), flag),
    "llama_vocab_n_tokens": ((handle,), i32),
    "llama_backend_init": ((), None),
    "llama_log_set": ((C.llama_log_callback, handle), None),
    "llama_model_default_params": ((), C.llama_model_params),
    "llama_context_default_params": ((), C.llama_context_params),
}
# Structures with the fields that are set, and their types.
FIELDS = {
    "llama_model_params": {"n_gpu_layers": i32, "use_extra_bufts": flag},
    "llama_context_params": {
        "n_ctx": u32, "n_seq_max": u32, "n_batch": u32, "n_ubatch": u32, "n_outputs_max": u32,
        "flash_attn_type": ctypes.c_int,
        "kv_unified": flag, "swa_full": flag, "embeddings": flag, "no_perf": flag,
    },
}  # fmt: skip
VALUES = {
    "LLAMA_FLASH_ATTN_TYPE_DISABLED": 0,
    "LLAMA_POOLING_TYPE_UNSPECIFIED": -1,
    "LLAMA_POOLING_TYPE_NONE": 0,
    "LLAMA_POOLING_TYPE_RANK": 4,
    "LLAMA_TOKEN_ATTR_CONTROL": 8,
    "LLAMA_TOKEN_ATTR_USER_DEFINED": 16,
}
TYPES = {"llama_token": i32, "llama_pos": i32, "llama_seq_id": i32}


def alike(found: Any, expected: type | None) -> bool:
    """ctypes has several names for one type, and llama_cpp some of its own for pointers."""
    if expected is None or found is None:
        return found is expected
    if expected is ids:
        return found._type_ is i32
    return found is expected or (ctypes.sizeof(found), found.__name__) == (
        ctypes.sizeof(expected), expected.__name__
    )  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_and_gives_what_we_hand_and_read(name: str):
    function = getattr(C.llama_cpp._lib, name)
    takes, gives = FUNCTIONS[name]
    assert len(function.argtypes) == len(takes)
    assert all(map(alike, function.argtypes, takes)), function.argtypes
    assert alike(function.restype, gives), function.restype


@pytest.mark.parametrize("name", FIELDS)
def test_a_structure_has_the_fields_we_set(name: str):
    fields = dict(getattr(C, name)._fields_)
    assert {field: fields.get(field) for field in FIELDS[name]} == FIELDS[name]


def test_a_batch_is_laid_out_as_ours():
    names = ["n_tokens", "token", "embd", "pos", "n_seq_id", "seq_id", "logits"]
    assert [name for name, _ in C.llama_batch._fields_] == names


def test_constants_have_their_values_and_types():
    assert {name: getattr(C, name) for name in VALUES} == VALUES
    assert {name: getattr(C, name) for name in TYPES} == TYPES


def test_every_name_we_use_stands_here():
    ours = {*FUNCTIONS, *FIELDS, *VALUES, *TYPES, "llama_batch", "llama_cpp", "llama_log_callback"}
    assert set(USED) - ours == set()


def test_hugging_faces_renderer_takes_what_we_hand_it():
    wanted = {"conversations", "chat_template", "add_generation_prompt", "continue_final_message"}
    assert wanted <= set(inspect.signature(chat_template_utils.render_jinja_template).parameters)
