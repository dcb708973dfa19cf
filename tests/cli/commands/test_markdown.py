"""Growing Markdown: what stays on the screen does not depend on how the text came."""

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli.commands.markdown import LiveMarkdown, blocks

DOCUMENT = """# Title

A **bold** paragraph that is long enough to be wrapped at least once.

- one
- two
  - nested

1. first

   still the first
2. second

| a | b |
|---|---|
| 1 | 2 |

```python
def f():

    return "1\u20282"
```

> quoted
> twice
***
last"""


def shown(pieces: list[str]) -> str:
    """What is left on a screen of 40 × 12 when the answer is over."""
    out = io.StringIO()
    with LiveMarkdown(Console(file=out, width=40, height=12), rest=0) as page:
        for piece in pieces:
            page.add(piece)
    return out.getvalue()


@given(st.lists(st.integers(0, len(DOCUMENT)), max_size=30))
def test_it_looks_the_same_however_the_text_was_cut(cuts):
    edges = [0, *sorted(cuts), len(DOCUMENT)]
    pieces = [DOCUMENT[a:b] for a, b in pairwise(edges)]
    assert shown(pieces) == shown([DOCUMENT])


@given(st.text(alphabet="ab \n#-*`|>1."))
def test_no_text_is_lost_between_blocks(text):
    finished, rest = blocks(text)
    assert "".join([*finished, rest]) == text


@pytest.mark.parametrize(
    ("text", "finished", "rest"),
    [
        ("one", [], "one"),
        ("one\n\ntwo", ["one\n\n"], "two"),
        ("```\na\n\nb", [], "```\na\n\nb"),
        ("- a\n\n- b", [], "- a\n\n- b"),
        ("# t\ntext", ["# t\n"], "text"),
    ],
)
def test_only_the_last_block_stays_open(text, finished, rest):
    assert blocks(text) == (finished, rest)


def test_a_block_taller_than_the_screen_is_whole():
    code = "```\n" + "".join(f"line {n}\n" for n in range(100)) + "```"
    screen = shown(code.splitlines(keepends=True))
    assert [f"line {n}" in screen for n in range(100)] == [True] * 100
