"""Tiny GGUF files: the tiny model's own weights, an embedding model and a reranker, by the `gguf` writer."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter, LlamaFileType, PoolingType, TokenType
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from inference import tiny

Tensor = NDArray[Any]
# GGUF's names of a Llama's tensors. Source: llama.cpp, gguf-py/gguf/tensor_mapping.py
LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write_tiny(
    file: Path, folder: Path, *, base: str | None = None, template: str | None = tiny.TEMPLATE
) -> Path:
    """The tiny model in `folder` as a GGUF; `base` is the repository it declares itself to be made from."""
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    writer = GGUFWriter(file, "llama")
    writer.add_name(tiny.NAME)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    if base:
        writer.add_base_model_count(1)
        writer.add_base_model_repo_url(0, f"https://huggingface.co/{base}")
    architecture(writer, json.loads((folder / "config.json").read_text()))
    vocabulary(writer, made)
    if template is not None:
        writer.add_chat_template(template)
    for name, tensor in load_file(folder / "model.safetensors").items():
        writer.add_tensor(*renamed(name, tensor))
    return finish(writer, file)


def architecture(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def vocabulary(writer: GGUFWriter, made: Tokenizer) -> None:
    """The tokenizer as it is: its pre-tokenizer is the one of GPT-2."""
    model = json.loads(made.to_str())["model"]
    tokens = [made.id_to_token(id) for id in range(made.get_vocab_size())]
    kinds = [TokenType.CONTROL if token in tiny.SPECIAL else TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(made.token_to_id(tiny.SPECIAL[0]))
    writer.add_eos_token_id(made.token_to_id(tiny.END))
    writer.add_add_bos_token(False)


def renamed(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    name = name.removesuffix(".weight")
    if name in OUTER:
        found = OUTER[name]
    else:
        _, _, layer, part = name.split(".", 3)
        found = f"blk.{layer}.{LAYER[part]}"
        if part in ("self_attn.q_proj", "self_attn.k_proj"):
            tensor = interleaved(tensor)
    # llama.cpp wants what is no matrix in f32.
    return f"{found}.weight", tensor.astype(np.float32) if tensor.ndim == 1 else tensor


def interleaved(tensor: Tensor) -> Tensor:
    """Rotated pairs side by side, as llama.cpp's rope has them; Hugging Face's are half a head apart."""
    rows, columns = tensor.shape
    heads = tensor.reshape(rows // tiny.HEAD, 2, tiny.HEAD // 2, columns)
    return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(rows, columns)


def finish(writer: GGUFWriter, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    writer.write_header_to_file(file)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


# ── Recurrent models ───────────────────────────────────────────────────────────────────────────────

MAMBA, BLOCKS, INNER, STATE, KERNEL, RANK = 32, 2, 64, 16, 4, 4


def write_mamba(file: Path, folder: Path) -> Path:
    """An untrained Mamba with the tokenizer and template of the tiny model in `folder`."""
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    writer = GGUFWriter(file, "mamba")
    writer.add_name("tiny-mamba")
    writer.add_context_length(2048)
    writer.add_embedding_length(MAMBA)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_ssm_conv_kernel(KERNEL)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    vocabulary(writer, made)
    writer.add_chat_template(tiny.TEMPLATE)
    for name, tensor in recurrent(made.get_vocab_size()):
        writer.add_tensor(name, tensor)
    return finish(writer, file)


def recurrent(words: int) -> Iterable[tuple[str, Tensor]]:
    dice = np.random.default_rng(tiny.SEED)

    def matrix(rows: int, columns: int) -> Tensor:
        return dice.standard_normal((rows, columns), dtype=np.float32) / np.float32(columns**0.5)

    yield "token_embd.weight", matrix(words, MAMBA) * 4
    yield "output_norm.weight", np.ones(MAMBA, np.float32)
    for layer in range(BLOCKS):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", np.ones(MAMBA, np.float32)
        yield f"{block}.ssm_in.weight", matrix(2 * INNER, MAMBA)
        yield f"{block}.ssm_conv1d.weight", matrix(INNER, KERNEL)
        yield f"{block}.ssm_conv1d.bias", np.zeros(INNER, np.float32)
        yield f"{block}.ssm_x.weight", matrix(RANK + 2 * STATE, INNER)
        yield f"{block}.ssm_dt.weight", matrix(INNER, RANK)
        yield f"{block}.ssm_dt.bias", np.zeros(INNER, np.float32)
        # How fast the state fades: slowly, so that the beginning of a text still counts at its end.
        yield f"{block}.ssm_a", np.full((INNER, STATE), -0.05, np.float32)
        yield f"{block}.ssm_d", np.ones(INNER, np.float32)
        yield f"{block}.ssm_out.weight", matrix(MAMBA, INNER)


# ── Encoders ───────────────────────────────────────────────────────────────────────────────────────

WIDTH, DEEP, LENGTH = 32, 2, 64
# "▁" begins a word in GGUF's WordPiece, where Hugging Face's marks what continues one.
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_bert(file: Path, pooling: PoolingType) -> Path:
    """An untrained BERT: an embedding model, or with PoolingType.RANK a reranker."""
    words = [f"▁{first}{second}" for first in LETTERS for second in "aeo"]
    tokens = [*MARKS, *LETTERS, *(f"▁{letter}" for letter in LETTERS), *words]
    writer = GGUFWriter(file, "bert")
    writer.add_name("tiny-bert")
    writer.add_context_length(LENGTH)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(DEEP)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in MARKS else TokenType.NORMAL for token in tokens])
    writer.add_token_type_count(2)
    for name, add in marked(writer):
        add(tokens.index(name))
    for name, tensor in encoder(len(tokens), ranks=pooling is PoolingType.RANK):
        writer.add_tensor(name, tensor)
    return finish(writer, file)


def marked(writer: GGUFWriter) -> Iterable[tuple[str, Any]]:
    return (
        ("[PAD]", writer.add_pad_token_id),
        ("[UNK]", writer.add_unk_token_id),
        ("[CLS]", writer.add_bos_token_id),
        ("[SEP]", writer.add_sep_token_id),
        ("[SEP]", writer.add_eos_token_id),
        ("[MASK]", writer.add_mask_token_id),
    )


def encoder(words: int, *, ranks: bool) -> Iterable[tuple[str, Tensor]]:
    dice = np.random.default_rng(tiny.SEED)

    def matrix(rows: int, columns: int) -> Tensor:
        return dice.standard_normal((rows, columns), dtype=np.float32) / np.float32(columns**0.5)

    def norm(name: str) -> Iterable[tuple[str, Tensor]]:
        yield f"{name}.weight", np.ones(WIDTH, np.float32)
        yield f"{name}.bias", np.zeros(WIDTH, np.float32)

    yield "token_embd.weight", matrix(words, WIDTH)
    yield "position_embd.weight", matrix(LENGTH, WIDTH)
    yield "token_types.weight", matrix(2, WIDTH)
    yield from norm("token_embd_norm")
    for layer in range(DEEP):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{part}.weight", matrix(WIDTH, WIDTH)
        yield f"blk.{layer}.ffn_up.weight", matrix(2 * WIDTH, WIDTH)
        yield f"blk.{layer}.ffn_down.weight", matrix(WIDTH, 2 * WIDTH)
        yield from norm(f"blk.{layer}.attn_output_norm")
        yield from norm(f"blk.{layer}.layer_output_norm")
    if ranks:
        yield "cls.output.weight", matrix(1, WIDTH)
