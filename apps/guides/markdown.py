"""Markdown to HTML: CommonMark with tables; HTML in the source is shown, not obeyed."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from django.utils.html import escape
from django.utils.text import slugify
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from opta.hosts import site_url

# [the ports](site:help/ports) links to a view of a site of ours, wherever it is served.
OURS = re.compile(r"site:(?P<label>[a-z]*)(?:/(?P<view>[a-z-]+))?")


class Heading(NamedTuple):
    id: str
    text: str


def address(link: str) -> str:
    """The address a link means; NoReverseMatch or KeyError when one of ours names nothing."""
    ours = OURS.fullmatch(link)
    return site_url(ours["label"], ours["view"] or "index") if ours else link


def headings(tokens: Sequence[Token]) -> list[Heading]:
    """The second-level headings, in order."""
    texts = [after.content for token, after in pairwise(tokens) if is_section(token)]
    return [Heading(slugify(text), text) for text in texts]


def is_section(token: Token) -> bool:
    return token.type == "heading_open" and token.tag == "h2"


def heading_open(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    if is_section(tokens[at]):
        tokens[at].attrSet("id", slugify(tokens[at + 1].content))
    return self.renderToken(tokens, at, options, env)


def link_open(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    tokens[at].attrSet("href", address(str(tokens[at].attrGet("href"))))
    return self.renderToken(tokens, at, options, env)


def fence(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    # A block that may scroll sideways must be reachable by keyboard.
    return f'<pre tabindex="0"><code>{escape(tokens[at].content)}</code></pre>\n'


def table_open(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return '<div class="scroll" tabindex="0"><table class="table">\n'


def table_close(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


def parser() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False}).enable("table")
    for rule in (heading_open, link_open, fence, table_open, table_close):
        made.add_render_rule(rule.__name__, rule)
    return made


PARSER = parser()


def html(source: str) -> str:
    return str(PARSER.render(source))


def outline(source: str) -> list[Heading]:
    return headings(PARSER.parse(source))
