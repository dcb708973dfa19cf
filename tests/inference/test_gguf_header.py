"""The header of a GGUF file, honest and hostile."""

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference import gguf


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def header(*pairs: bytes, count: int | None = None, version: int = 3) -> bytes:
    number = len(pairs) if count is None else count
    return b"GGUF" + struct.pack("<IQQ", version, 0, number) + b"".join(pairs)


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.gguf"


def test_a_real_file_says_what_was_written(gguf_models: Path):
    found = gguf.read(gguf_models / "tiny-gguf" / "tiny-F16.gguf")
    assert found["general.architecture"] == "llama"
    assert (found["llama.context_length"], found["llama.block_count"]) == (8192, 4)
    assert found["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-5)
    assert found["tokenizer.ggml.add_bos_token"] is False
    assert "<|im_start|>" in found["tokenizer.chat_template"]


def test_long_lists_are_passed_over(file: Path):
    words = struct.pack("<IQ", 8, 5000) + text("word") * 5000
    numbers = struct.pack("<IQ", 5, 5000) + bytes(4 * 5000)
    few = struct.pack("<IQi", 5, 1, 7)
    file.write_bytes(
        header(pair("w", 9, words), pair("n", 9, numbers), pair("f", 9, few), pair("s", 8, text("x")))
    )
    found = gguf.read(file)
    assert (found["f"], found["s"]) == ([7], "x")
    assert not {"w", "n"} & set(found)


def test_a_file_that_changed_is_read_anew(file: Path):
    file.write_bytes(header(pair("a", 8, text("x"))))
    assert gguf.read(file)["a"] == "x"
    file.write_bytes(header(pair("a", 8, text("other"))))
    assert gguf.read(file)["a"] == "other"


HUGE = 1 << 62


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"GGML" + bytes(40),
        header(version=9),
        header(count=HUGE),
        header(struct.pack("<Q", HUGE)),
        header(pair("a", 8, struct.pack("<Q", HUGE))),
        header(pair("a", 9, struct.pack("<IQ", 8, HUGE))),
        header(pair("a", 9, struct.pack("<IQ", 4, HUGE))),
        header(pair("a", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 9, 1) * 1000)),
        header(pair("a", 99, b"")),
        header(pair("a", 4, b"\x01")),
    ],
    ids=range(12),
)
def test_a_hostile_header_is_an_error(file: Path, content: bytes):
    file.write_bytes(content)
    with pytest.raises(ValueError, match="it"):
        gguf.read(file)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(4, 400), junk=st.binary(min_size=1, max_size=16))
def test_whatever_is_changed_it_is_read_or_refused(gguf_models: Path, file: Path, place: int, junk: bytes):
    content = bytearray((gguf_models / "tiny-reranker" / "bert.gguf").read_bytes())
    content[place : place + len(junk)] = junk
    file.write_bytes(content)
    try:
        found = gguf.read(file)
    except ValueError:
        return
    assert isinstance(found, dict)
