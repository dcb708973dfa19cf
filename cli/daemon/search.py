"""Full text search over titles and messages, by SQLite's FTS5."""

import re
from collections.abc import Iterable
from typing import Any

from django.db import connection

from cli.daemon import sessions
from cli.daemon.models import Passage
from cli.protocol.sessions import SessionHit, SessionHits, SessionSearch, SessionView

# "a phrase", whose closing quote may be missing, or a word.
TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')
# The snippet's marks around a word that was found: control characters, which no text needs.
OPEN, CLOSE = "\x02", "\x03"
MARK = re.compile(f"{OPEN}([^{OPEN}{CLOSE}]*){CLOSE}")
SNIPPET_WORDS = 24

# The best passage of each session; `rank` is BM25, the smaller the better.
BEST = """
    SELECT passage.id, min(words.rank) AS best FROM daemon_words AS words
    JOIN daemon_passage AS passage ON passage.id = words.rowid
    WHERE daemon_words MATCH %s AND passage.session_id IN ({chosen})
    GROUP BY passage.session_id ORDER BY best, passage.id DESC LIMIT %s
"""
SNIPPET = """
    SELECT rowid, snippet(daemon_words, 0, %s, %s, '…', %s) FROM daemon_words
    WHERE daemon_words MATCH %s AND rowid IN ({ids})
"""


def search(asked: SessionSearch) -> SessionHits:
    """The sessions in which all words of the query stand together in a message or in the title."""
    match = expression(asked.q)
    if not match:
        return SessionHits(hits=[])
    allowed, values = sessions.chosen(asked).values("id").query.sql_with_params()
    best = [id for id, _ in select(BEST.format(chosen=allowed), [match, *values, asked.limit])]
    snippets = dict(snippets_of(best, match))
    passages = Passage.objects.in_bulk(best)
    views = sessions.views(passage.session_id for passage in passages.values())
    return SessionHits(hits=[hit(passages[id], snippets[id], views[passages[id].session_id]) for id in best])


def expression(query: str) -> str:
    """The query in FTS5's language; whatever the user writes is a word or a phrase, never an operator.

    Several of them are joined by AND; what holds no letter and no digit asks for nothing.
    """
    terms = [phrase or word for phrase, word in TERM.findall(query.replace("\0", " "))]
    return " ".join(f'"{term}"*' for term in terms if any(map(str.isalnum, term)))


def snippets_of(ids: list[int], match: str) -> Iterable[tuple[int, str]]:
    names = ",".join(["%s"] * len(ids))
    return select(SNIPPET.format(ids=names), [OPEN, CLOSE, SNIPPET_WORDS, match, *ids]) if ids else []


def hit(passage: Passage, snippet: str, session: SessionView) -> SessionHit:
    text, matches = unmarked(snippet)
    return SessionHit(
        session=session,
        turn=passage.turn or None,
        seq=passage.seq,
        snippet=text,
        matches=matches,
    )


def unmarked(snippet: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without the marks, and where in it the marked words stand."""
    spans = [
        (found.start() - 2 * place, found.end() - 2 * (place + 1))
        for place, found in enumerate(MARK.finditer(snippet))
    ]
    return MARK.sub(r"\1", snippet), spans


def select(sql: str, values: list[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
