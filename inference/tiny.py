"""The tiny model: a seeded, untrained Llama of about 10M parameters in the Hugging Face layout.

It speaks nonsense in whole words, and always the same nonsense, which is what tests, measurements
and a first `make up` need. Everything a real model folder holds is here, made from SEED alone.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

NAME = "opta-tiny"
SEED = 20260
MARK = "made-by-make-tiny-model"
END, START = "<|im_end|>", "<|im_start|>"
SPECIAL = ("<|endoftext|>", START, END)
VOCABULARY, HEAD, CONTEXT = 4096, 64, 8192


@dataclass(frozen=True)
class Shape:
    """How large a model is; a head is HEAD wide."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int


TINY = Shape(hidden=384, layers=4, heads=6, kv_heads=2, mlp=1024)

# ChatML, as Qwen and many others speak it, with tools in the way of Hermes.
TEMPLATE = """\
{%- if tools -%}
<|im_start|>system
{% if messages[0].role == "system" %}{{ messages[0].content ~ "\\n\\n" }}{% endif -%}
# Tools

You may call functions. These are their signatures:
<tools>
{% for tool in tools %}{{ tool | tojson ~ "\\n" }}{% endfor -%}
</tools>

Return each call as a JSON object with the function's name and its arguments:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif -%}
{%- for message in messages -%}
{%- if message.role == "tool" -%}
{%- if loop.first or loop.previtem.role != "tool" -%}
<|im_start|>user
{% endif -%}
<tool_response>
{{ message.content }}
</tool_response>
{%- if loop.last or loop.nextitem.role != "tool" -%}
<|im_end|>
{% else %}{{ "\\n" }}
{%- endif -%}
{%- elif not (tools and loop.first and message.role == "system") -%}
<|im_start|>{{ message.role }}
{{ message.content -}}
{%- for call in message.tool_calls or [] -%}
{{- "\\n" if message.content or not loop.first -}}
<tool_call>
{"name": {{ call.function.name | tojson }}, "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor -%}
<|im_end|>
{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}"""

WORDS = """
the of and to in is it that for on as with by this from are be at or an not have was can will
which all one has but they when there their we you your if more what about up out who so do into
time some could them other than then now only its over also after use two how our first way even
new want because any these give day most us every own local private machine model memory server
"""
STEMS = """
add answer ask bind branch build cache call chain chat check clean client clock close cloud code
commit connect context copy count daemon data decode deploy device draft edit encode error event
expect export fetch field filter find follow form frame guide hand head host import index input join
kernel key layer learn letter light limit link list load lock log look map mark match measure merge
message method monitor move name need number open order output page pair parse part pass patch path
pick place plan point port prefill present press prompt proof query queue quick reach read record
release render repeat report request reset result return right role root round run sample save scan
search seed send sequence session set shape share shell show sign sort source speak split stage start
state step stop store stream string switch sync system table talk task template tensor test text think
thread token tool trace track train turn type update user value vault view wait walk watch web word
work write
"""
ENDINGS = ("", "s", "ed", "ing", "er", "ers", "able", "less", "ful", "ly", "ment", "ness")
PREFIXES = ("", "re", "un", "over")


def sentences(count: int) -> Iterator[str]:
    """Seeded English-like text to train the tokenizer on, with more words than its vocabulary holds."""
    dice = random.Random(SEED)  # noqa: S311 - it must be repeatable, not secret
    common = WORDS.split()
    rare = [prefix + stem + ending for prefix in PREFIXES for stem in STEMS.split() for ending in ENDINGS]
    dice.shuffle(rare)
    for _ in range(count):
        # The cube makes some rare words much rarer than others, as in any language.
        words = [
            dice.choice((dice.choice(common), rare[int(len(rare) * dice.random() ** 3)])) for _ in range(12)
        ]
        yield " ".join(words).capitalize() + dice.choice((".", "?", "!", f", {dice.randrange(2000)}."))


def tokenizer() -> Tokenizer:
    """A byte-level BPE: any text goes in and comes back out unchanged."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(sentences(30_000), trainer)
    return made


def speakable(made: Tokenizer) -> NDArray[np.bool_]:
    """Which tokens may follow one another in any order and still read as words."""
    texts = [made.decode([token]) for token in range(made.get_vocab_size())]
    return np.array([text[:1] == " " and text[1:].isalpha() and len(text) > 2 for text in texts])


def weights(say: NDArray[np.bool_], shape: Shape) -> dict[str, NDArray[np.float16]]:
    """Random weights; `say` marks the tokens that the head may choose.

    Llama's head has no bias. Coordinate 0 of the residual stream serves as one: every embedding sets
    it to the same value and no layer writes to it, so the head's column 0 is added to each score.
    """
    dice, hidden = np.random.default_rng(SEED), shape.hidden

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        return dice.standard_normal((rows, columns), dtype=np.float32) / np.float32(columns**0.5)

    embed = dice.standard_normal((VOCABULARY, hidden), dtype=np.float32)
    embed[:, 0] = 4
    head = 3 * matrix(VOCABULARY, hidden)
    head[:, 0] = np.where(say, 0, -100)
    ones = np.ones(hidden, dtype=np.float32)
    tensors = {"model.embed_tokens.weight": embed, "lm_head.weight": head, "model.norm.weight": ones}
    for layer in range(shape.layers):
        block: dict[str, NDArray[np.float32]] = {
            "self_attn.q_proj": matrix(shape.heads * HEAD, hidden),
            "self_attn.k_proj": matrix(shape.kv_heads * HEAD, hidden),
            "self_attn.v_proj": matrix(shape.kv_heads * HEAD, hidden),
            "self_attn.o_proj": matrix(hidden, shape.heads * HEAD),
            "mlp.gate_proj": matrix(shape.mlp, hidden),
            "mlp.up_proj": matrix(shape.mlp, hidden),
            "mlp.down_proj": matrix(hidden, shape.mlp),
            "input_layernorm": ones,
            "post_attention_layernorm": ones,
        }
        block["self_attn.o_proj"][0] = block["mlp.down_proj"][0] = 0
        tensors |= {f"model.layers.{layer}.{name}.weight": tensor for name, tensor in block.items()}
    return {name: tensor.astype(np.float16) for name, tensor in tensors.items()}


def config(ids: dict[str, int | None], shape: Shape) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": HEAD,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": ids[SPECIAL[0]],
        "eos_token_id": ids[END],
        "torch_dtype": "float16",
        MARK: SEED,
    }


def refuse_foreign(folder: Path) -> None:
    """Raise FileExistsError when `folder` holds anything but an earlier tiny model."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    made = folder / "config.json"
    if not made.is_file() or MARK not in json.loads(made.read_text()):
        raise FileExistsError(f"{folder} holds something else. Name a new folder, or empty this one first.")


def write_json(file: Path, value: dict[str, object]) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n")


def write(folder: Path, say: Callable[[str], object] = print, shape: Shape = TINY) -> None:
    """Write the model into `folder`, telling `say` each step; the same bytes every time.

    Measurements want a larger `shape` too: one whose weights no cache of the processor holds.
    """
    refuse_foreign(folder)
    folder.mkdir(parents=True, exist_ok=True)
    say("training the tokenizer …")
    made = tokenizer()
    ids = {token: made.token_to_id(token) for token in SPECIAL}
    made.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SPECIAL[0],
            "eos_token": END,
            "pad_token": SPECIAL[0],
            "model_max_length": CONTEXT,
            "clean_up_tokenization_spaces": False,
            "chat_template": TEMPLATE,
        },
    )
    say("drawing the weights …")
    tensors = weights(speakable(made), shape)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    # An untrained model never ends by itself.
    write_json(folder / "generation_config.json", {"eos_token_id": ids[END], "max_new_tokens": 128})
    # Last: a folder with a config is a whole model.
    write_json(folder / "config.json", config(ids, shape))
    say(f"{folder}: {sum(tensor.size for tensor in tensors.values()) / 1e6:.1f}M parameters")
