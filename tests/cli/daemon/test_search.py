"""What a user looks for, in the language of SQLite's FTS5."""

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from cli.daemon.search import expression

WORDS = sqlite3.connect(":memory:")
WORDS.execute("CREATE VIRTUAL TABLE words USING fts5(text)")


@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=40)
    | st.text(alphabet='"\\0* ()-^:{}+aNO', max_size=12)
)
def test_every_query_is_one_that_sqlite_understands(q: str):
    if match := expression(q):
        WORDS.execute("SELECT * FROM words WHERE words MATCH ?", [match]).fetchall()


@given(st.text(alphabet="abc ", min_size=1, max_size=20))
def test_a_text_is_found_by_any_of_its_words(text: str):
    WORDS.execute("INSERT INTO words VALUES (?)", [text])
    for word in text.split():
        found = WORDS.execute("SELECT text FROM words WHERE words MATCH ?", [expression(word)]).fetchall()
        assert (text,) in found
    WORDS.execute("DELETE FROM words")
