"""What a line runs when bash reads it: every simple command, however deep, or Unknown.

tree-sitter's grammar of bash is more lenient than bash. What bash would read in another way must not pass:
in its tree everything is accounted for, and between the nodes there are only blanks.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from time import monotonic
from typing import TYPE_CHECKING
from unicodedata import category

from cli.agent.script import MIXED, Script
from cli.agent.words import Simple, Unknown
from cli.agent.wrappers import Inner, inner

if TYPE_CHECKING:
    from tree_sitter import Node

LONGEST = 64 * 1024
DEEPEST = 20
# Some lines of errors cost the grammar their length squared.
SECONDS = 1.0
# Blanks that are none for bash, marks that are not seen, halves of characters.
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}
RESERVED = {
    *("if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "in"),
    *("function", "select", "{", "}", "[[", "]]", "!", "(", ")", "((", "]"),
}


def commands(line: str) -> list[Simple]:
    """Every simple command of a line, those within others included. Raises Unknown."""
    return list(read(line, 0))


def read(line: str, depth: int) -> Iterator[Simple]:
    check(line)
    found = Script()
    root = parsed(line)
    covered(root, line.encode())
    found.statement(root)
    for simple in found.simples:
        yield from unwrapped(simple, depth)


def check(line: str) -> None:
    """Raises Unknown for a line that may be read in another way than it looks."""
    if len(line) > LONGEST or len(line.encode(errors="replace")) > LONGEST:
        raise Unknown("it is longer than 64 KB")
    if not line.isascii() and any(ord(each) > 127 and category(each) in HIDDEN for each in line):
        raise Unknown("it has characters that are not seen")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]|\\\n", line):
        raise Unknown("it has control characters or a line that goes on behind a backslash")


def parsed(line: str) -> "Node":
    from tree_sitter import Language, Parser  # 13 ms
    from tree_sitter_bash import language

    source, until = line.encode(), monotonic() + SECONDS
    parser = Parser(Language(language()))
    try:  # only what it fetches by itself does it stop to parse
        tree = parser.parse(
            lambda at, _: source[at : at + 4096], progress_callback=lambda *_: monotonic() > until
        )
    except ValueError:
        raise Unknown("it takes too long to read") from None
    if tree.root_node.has_error:
        raise Unknown("it is no complete line of bash")
    return tree.root_node


def covered(root: "Node", source: bytes) -> None:
    """Raises Unknown where the grammar leaves out more than blanks, or goes too deep."""
    gaps, nodes = [source[: root.start_byte], source[root.end_byte :]], [(root, 0)]
    while nodes:
        node, depth = nodes.pop()
        if depth > 6 * DEEPEST:
            raise Unknown("it is nested too deep")
        children = node.children
        if node.type not in MIXED:
            pairs = pairwise(children)
            gaps += (source[one.end_byte : other.start_byte] for one, other in pairs)
        nodes += ((child, depth + 1) for child in children)
    if any(gap.strip(b" \t\n") for gap in gaps):
        raise Unknown("a part of it is not understood")


def unwrapped(simple: Simple, depth: int) -> Iterator[Simple]:
    """The command, and what it runs in turn."""
    if depth > DEEPEST:
        raise Unknown("it is nested too deep")
    if not simple.words:
        yield simple
        return
    if simple.words[0].kind != "literal" or not simple.program.isascii() or simple.program in RESERVED:
        raise Unknown(f"the program {simple.words[0].text[:40] or '$…'!r} is not written out")
    within = inner(simple.words)
    wraps = simple.standard and any(each.plain and (each.words or each.script) for each in within)
    yield replace(simple, wraps=wraps)
    for each in within:
        yield from ran(each, depth + 1)


def ran(within: Inner, depth: int) -> Iterator[Simple]:
    if within.script is not None:
        yield from read(within.script, depth)
    elif within.words:
        yield from unwrapped(Simple(tuple(within.words), sets=within.sets), depth)
    elif within.sets:
        yield Simple(sets=within.sets)
