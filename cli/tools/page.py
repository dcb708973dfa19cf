"""A web page as Markdown; as a program (URL CHARSET) it reads the page and prints its title, then its text.

It runs by itself, since a page may be made to keep its reader busy for hours: it can be ended, and nothing
else waits for it.
"""

import re
import resource
import sys
from contextlib import suppress
from itertools import islice
from urllib.parse import urljoin

from bs4 import BeautifulSoup, Tag
from markdownify import MarkdownConverter

MEMORY_BYTES = 1 << 30
CPU_SECONDS = 20
# What is not the page's own text, or cannot be read.
LEFT_OUT = {"script", "style", "noscript", "template", "nav", "aside", "footer", "form", "button", "svg",
            "iframe", "object", "video", "audio", "canvas", "dialog", "head", "title"}  # fmt: skip
HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
LANGUAGE = re.compile(r"(?:language|lang|highlight)-(?:source-)?([\w+#-]+)")
BLANKS = re.compile(r"\n{3,}")


def markdown(html: bytes, url: str, charset: str = "") -> tuple[str, str]:
    """The title, on one line, and what a reader would see, with its links made whole."""
    page = BeautifulSoup(html, "html.parser", from_encoding=charset or None)
    title = " ".join(page.title.get_text().split()) if page.title else ""
    for tag in page(unread):
        tag.decompose()
    address(page, url)
    body = main(page)
    try:
        text = MarkdownConverter(
            heading_style="ATX",
            bullets="-",
            escape_underscores=False,
            escape_asterisks=False,
            code_language_callback=language,
        ).convert_soup(body)
    except RecursionError:  # tags within tags, thousands deep: the words alone
        text = body.get_text("\n")
    lines = (line.rstrip() for line in text.split("\n"))
    return title, BLANKS.sub("\n\n", "\n".join(lines)).strip()


def main(page: BeautifulSoup) -> Tag:
    """The part that the page says is its own, where it says so."""
    for name in ("main", "article"):
        found = page(name)
        if len(found) == 1 and found[0].get_text(strip=True):
            return found[0]
    return page.body or page


def unread(tag: Tag) -> bool:
    if tag.name in LEFT_OUT or tag.has_attr("hidden"):
        return True
    return tag.get("aria-hidden") == "true" or bool(HIDDEN.search(said(tag, "style")))


def address(page: BeautifulSoup, url: str) -> None:
    """Links from the root; what is no link to a page is left as its words."""
    for tag in page(["a", "img"]):
        name = "href" if tag.name == "a" else "src"
        with suppress(ValueError):
            whole = urljoin(url, said(tag, name))
            if whole.startswith(("http://", "https://")) and said(tag, name):
                tag[name] = whole
                continue
        if tag.name == "a":
            tag.unwrap()
        else:
            tag.replace_with(said(tag, "alt"))


def language(tag: Tag) -> str:
    """The language of a block of code, as most programs that colour it say it."""
    for each in [tag, *tag("code"), *islice(tag.parents, 2)]:
        if found := LANGUAGE.search(said(each, "class")):
            return found[1]
    return ""


def said(tag: Tag, name: str) -> str:
    value = tag.get(name) or ""
    return value if isinstance(value, str) else " ".join(value)


def run(url: str, charset: str) -> None:
    with suppress(ValueError, OSError):  # a Mac has no such limits
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    title, text = markdown(sys.stdin.buffer.read(), url, charset)
    sys.stdout.buffer.write(f"{title}\n{text}".encode(errors="replace"))


if __name__ == "__main__":
    run(*sys.argv[1:])
