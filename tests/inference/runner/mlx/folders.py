"""Folders with tiny random models of every family of caches, by the tokenizer of opta-tiny."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map_with_path

SIZES = {
    "vocab_size": 4096,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "eos_token_id": 2,
}
# Keys and values in every layer, the usual.
LLAMA = {**SIZES, "model_type": "llama", "num_hidden_layers": 2, "tie_word_embeddings": False}
# Convolutions' states and keys and values, layer by layer.
HYBRID = {
    **SIZES, "model_type": "lfm2", "num_hidden_layers": 3, "norm_eps": 1e-5, "conv_bias": False,
    "conv_L_cache": 3, "block_dim": 64, "block_ff_dim": 128, "block_multiple_of": 8,
    "block_ffn_dim_multiplier": 1.0, "block_auto_adjust_ff_dim": False,
    "layer_types": ["conv", "full_attention", "conv"],
}  # fmt: skip
# Keys and values of the last 48 tokens only, in every other layer.
WINDOW = 48
SLIDING = {
    **SIZES, "model_type": "llama", "num_hidden_layers": 2, "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention"], "tie_word_embeddings": True,
}  # fmt: skip
# Keys and values in chunks, which mlx-lm cannot merge.
CHUNKED = {
    "model_type": "llama4", "vocab_size": 4096, "eos_token_id": 2, "max_position_embeddings": 4096,
    "text_config": {
        **SIZES, "model_type": "llama4_text", "num_hidden_layers": 4, "attention_bias": False,
        "attention_chunk_size": 64, "interleave_moe_layer_step": 1, "intermediate_size_mlp": 128,
        "num_experts_per_tok": 1, "num_local_experts": 2, "rope_scaling": None, "rope_theta": 10000.0,
        "use_qk_norm": True, "no_rope_layers": [1, 1, 1, 0], "attn_temperature_tuning": False,
    },
}  # fmt: skip


def write(folder: Path, tiny: Path, config: dict[str, Any]) -> Path:
    """A random model of `config`, which speaks the tokens of the model folder `tiny`."""
    shutil.copytree(tiny, folder, ignore=shutil.ignore_patterns("model.safetensors", "config.json"))
    (folder / "config.json").write_text(json.dumps(config))
    family: Any = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    mx.random.seed(7)
    model = family.Model(family.ModelArgs.from_dict(config))
    # Larger than models begin with, so that what they say depends on what they were told.
    weights: Any = tree_map_with_path(
        lambda name, array: array * (6 if array.ndim > 1 and "embed" not in name else 1), model.parameters()
    )
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(weights)))
    return folder
