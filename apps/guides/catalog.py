"""The pages of help and learn: Markdown files that open with their title and one line that sums them up."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from apps.guides import markdown

CONTENT = Path(__file__).parent / "content"
FILE = re.compile(r"\d+-(?P<slug>[a-z0-9-]+)\.md")
PAGE = re.compile(r"# (?P<title>.+)\n\n(?P<summary>.+)\n\n(?P<body>[^\0]+)")


@dataclass(frozen=True)
class Page:
    """One page; its address is its file's name without the number that orders it."""

    slug: str
    title: str
    summary: str
    body: str

    @cached_property
    def html(self) -> str:
        return markdown.html(self.body)

    @cached_property
    def outline(self) -> list[markdown.Heading]:
        return markdown.outline(self.body)


def read(file: Path) -> Page:
    """Raises ValueError for a file whose name or opening is not as above."""
    name, parts = FILE.fullmatch(file.name), PAGE.fullmatch(file.read_text())
    if not name or not parts:
        raise ValueError(
            f"{file}: name it NN-slug.md and open it with '# Title' and one line that sums it up."
        )
    return Page(slug=name["slug"], **parts.groupdict())


def pages(site: str) -> list[Page]:
    """Every page of a site, in its order."""
    return [read(file) for file in sorted((CONTENT / site).iterdir())]
