"""What an edit makes of a text: exactly, with other blanks, in patches, and when it does not fit."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cli.tools.edit import Unmatched, apply, edit
from cli.tools.patch import BadPatch, parsed, paths

PY = "def f():\n    if x:\n        return 1\n    return 2\n"
TABS = "func f() {\n\tif x {\n\t\treturn 1\n\t}\n}\n"

EXACT = [
    ("a word", "one two three", "two", "2", "one 2 three"),
    ("a line", "a\nb\nc\n", "b\n", "B\n", "a\nB\nc\n"),
    ("a line without its end", "a\nb\nc\n", "b", "B", "a\nB\nc\n"),
    ("over lines", "a\nb\nc\n", "a\nb", "x", "x\nc\n"),
    ("nothing for something", "a\nb\nc\n", "b\n", "", "a\nc\n"),
    ("more lines", "a\nc\n", "a\n", "a\nb\n", "a\nb\nc\n"),
    ("at the beginning", "abc", "a", "x", "xbc"),
    ("at the end without a line end", "a\nb", "b", "c", "a\nc"),
    ("what a replacement would read", "x = 1\n", "x", r"\1 $& $1 \g<0> $$", "\\1 $& $1 \\g<0> $$ = 1\n"),
    ("what an expression would read", "a.*b\n", ".*", "+", "a+b\n"),
    ("exactly, though it is alike elsewhere", "  a\na\n", "\na\n", "\nb\n", "  a\nb\n"),
    ("beyond the first plane", "x 😀 y\n", "😀", "🚀🚀", "x 🚀🚀 y\n"),
    ("a form feed is no line end", "a\fb\nc\n", "b\nc", "d", "a\fd\n"),
    ("U+2028 is no line end", "a\u2028b\n", "b", "c", "a\u2028c\n"),
    ("both line ends as they stand", "a\r\nb\nc\r\n", "b\nc", "B\nC", "a\r\nB\nC\r\n"),
    ("tabs", "\ta\n\tb\n", "\ta\n", "\tc\n", "\tc\n\tb\n"),
]  # fmt: skip

TOLERANT = [
    ("blanks behind", "a  \nb\t\nc\n", "a\nb\nc", "x\nb\nz", "x\nb\t\nz\n"),
    ("blanks behind what is looked for", "a\nb\n", "a  \nb", "c", "c\n"),
    ("no indentation", PY, "if x:\n    return 1", "if y:\n    return 3",
     PY.replace("x", "y").replace("1", "3")),
    ("too much indentation", "a:\n  b\n  c\n", "    b\n    c", "    b\n      d\n    c",
     "a:\n  b\n    d\n  c\n"),
    ("spaces for tabs", TABS, "    if x {\n        return 1\n    }", "    if y {\n        return 2\n    }",
     TABS.replace("x", "y").replace("1", "2")),
    ("two spaces for a tab", TABS, "  if x {\n    return 1", "  if x {\n    a()\n    return 1",
     TABS.replace("\t\treturn", "\t\ta()\n\t\treturn")),
    ("tabs for spaces", PY, "\tif x:\n\t\treturn 1", "\tif x:\n\t\treturn 7", PY.replace("1", "7")),
    ("other line ends", "a\r\nb\nc\r\n", "a\nb\nc", "a\nx\nc", "a\r\nx\nc\r\n"),
    ("line ends of another system", "a\nb\nc\n", "a\r\nb\r\n", "a\r\nx\r\n", "a\nx\nc\n"),
    ("nice quotes", "say(“hi”) # it’s\nb\n", "say(\"hi\") # it's", "say(1)", "say(1)\nb\n"),
    ("a line that is kept keeps its nice quotes", "“a”\nb\n", "\"a\"\nb", "\"a\"\nc", "“a”\nc\n"),
    ("a long dash and a hard blank", "a – b\u00a0c\n", "a - b c", "d", "d\n"),
    ("blanks between words", "int  x =   1;\n", "int x = 1;", "int x = 2;", "int x = 2;\n"),
    ("blank lines with blanks in them", "a\n   \nb\n", "a\n\nb", "a\n\nc", "a\n   \nc\n"),
    ("no line end at the end", "x\n  a\n  b", "a\nb", "a\nc", "x\n  a\n  c"),
    ("lines taken away", PY, "if x:\n    return 1\n", "", "def f():\n    return 2\n"),
    ("a new line has its neighbours' indentation", PY, "if x:\n    return 1\n",
     "if x:\n    y()\n    return 1\n", PY.replace("        return", "        y()\n        return")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "old", "new", "then"), [case[1:] for case in EXACT], ids=[case[0] for case in EXACT]
)
def test_what_is_found_exactly_is_replaced_letter_by_letter(text: str, old: str, new: str, then: str):
    assert edit(text, old, new) == then


@pytest.mark.parametrize(
    ("text", "old", "new", "then"), [case[1:] for case in TOLERANT], ids=[case[0] for case in TOLERANT]
)
def test_lines_are_found_with_other_blanks(text: str, old: str, new: str, then: str):
    assert old not in text
    assert edit(text, old, new) == then


UNFIT = [
    ("twice", "a\nb\na\n", "a", "x", r"stands 2 times, in lines 1, 3"),
    ("within itself", "aaa\n", "aa", "x", r"stands 2 times"),
    ("twice with other blanks", "  a b\nx\n\ta b\n", "a  b", "x", r"stands 2 times, from lines 1, 3"),
    ("empty", "a\n", "", "x", "old_text is empty"),
    ("the same", "a\n", "a", "a", "the same"),
    ("not there", "alpha = 1\nbeta = 2\n", "beta = 3", "x", r"not in the file.*2\tbeta = 2"),
    ("upper case", "Alpha = 1\n", "alpha = 1", "x", r"1\tAlpha = 1"),
    ("line numbers", "a = 1\nb = 2\n", "1\ta = 1\n2\tb = 2", "x", "Leave out the line numbers"),
    ("an empty file", "", "a", "b", "The file is empty"),
    ("blank lines", "a\n b\n", "\n\n", "x", "not in the file"),
    ("done already", "a = 2\n", "a = 1\n", "a = 2\n", "new_text stands there already, in line 1"),
    ("indented in no way", "if a:\n   b\n     c\n", "if a:\n b\n c", "x", r"indented otherwise.*2\t   b"),
    ("only a part of a line with other blanks", "x = f( 1 )\n", "f(1)", "y", "not in the file"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "old", "new", "why"), [case[1:] for case in UNFIT], ids=[case[0] for case in UNFIT]
)
def test_what_does_not_fit_is_refused_with_what_stands_there(text: str, old: str, new: str, why: str):
    with pytest.raises(Unmatched, match=f"(?s){why}"):
        edit(text, old, new)


def test_all_are_replaced_where_all_are_meant():
    assert edit("a b a\na", "a", "aa", every=True) == "aa b aa\naa"
    with pytest.raises(Unmatched, match="not in the file"):
        edit("a b a\n", "c", "d", every=True)


LETTERS = st.text(alphabet="ab \t\n{\\$1é\r", max_size=40)


@given(LETTERS, LETTERS, LETTERS, LETTERS)
def test_an_exact_edit_is_one_replacement_and_is_undone_by_its_opposite(before, old, after, new):
    text = before + old + after
    assume(old and old != new and text.count(old) == 1 and text.find(old) == text.rfind(old))
    then = edit(text, old, new)
    assert then == text.replace(old, new, 1)
    if new and then.find(new) == then.rfind(new):
        assert edit(then, new, old) == text


@given(st.lists(st.text(alphabet="ab {}", max_size=6), min_size=1, max_size=12), st.data())
def test_an_edit_of_other_indentation_changes_its_own_lines_alone(lines, data):
    lines = [f"{number}:{line}" for number, line in enumerate(lines)]
    at = data.draw(st.integers(0, len(lines) - 1))
    blanks = data.draw(st.sampled_from(["  ", "\t", "        "]))
    text = "".join(f"{blanks}{line}\n" for line in lines)
    then = edit(text, f"{lines[at]} \n", "new\n").split("\n")[:-1]
    assert then == [f"{blanks}{'new' if n == at else line}" for n, line in enumerate(lines)]


NUMBERS = "".join(f"{n}\n" for n in range(1, 31))
CALLS = "def a():\n    pass\n\ndef b():\n    pass\n"


def updated(body: str) -> str:
    return f"*** Begin Patch\n*** Update File: f\n{body}*** End Patch\n"


def diff(body: str) -> str:
    return f"--- a/f\n+++ b/f\n{body}"


FITTING = [
    ("one hunk", NUMBERS, diff("@@ -4,3 +4,3 @@\n 4\n-5\n+five\n 6\n"), NUMBERS.replace("\n5\n", "\nfive\n")),
    ("two hunks", NUMBERS, diff("@@ -1,2 +1,3 @@\n 1\n+x\n 2\n@@ -20,2 +21,1 @@\n-20\n 21\n"),
     NUMBERS.replace("1\n2\n", "1\nx\n2\n", 1).replace("\n20\n", "\n")),
    ("wrong numbers", NUMBERS, diff("@@ -14,9 +7,1 @@\n 4\n-5\n+five\n"),
     NUMBERS.replace("\n5\n", "\nfive\n")),
    ("the nearer of two", "a\nb\na\nb\n", diff("@@ -3,1 +3,1 @@\n-a\n+c\n"), "a\nb\nc\nb\n"),
    ("no context at all", "a\nb\nc\n", diff("@@ -2,0 +3,1 @@\n+x\n"), "a\nb\nx\nc\n"),
    ("a line end goes", "a\nb\n", diff("@@ -1,2 +1,2 @@\n a\n-b\n+c\n\\ No newline at end of file\n"),
     "a\nc"),
    ("a line end comes", "a\nb", diff("@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n"),
     "a\nb\n"),
    ("none stays none", "a\nb", diff("@@ -1,2 +1,2 @@\n-a\n+c\n b\n\\ No newline at end of file\n"), "c\nb"),
    ("blank context without its blank", "a\n\nb\n", diff("@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n"), "a\n\nc\n"),
    ("other indentation", PY, diff("@@ -2,2 +2,2 @@\n if x:\n-    return 1\n+    return 9\n"),
     PY.replace("1", "9")),
    ("dashes as text", "-- a\n-- b\n", diff("@@ -1,2 +1,2 @@\n -- a\n--- b\n+-- c\n"), "-- a\n-- c\n"),
    ("an envelope", NUMBERS, updated("@@\n 4\n-5\n+five\n"), NUMBERS.replace("\n5\n", "\nfive\n")),
    ("an envelope without @@", NUMBERS, updated(" 4\n-5\n+five\n"), NUMBERS.replace("\n5\n", "\nfive\n")),
    ("behind a heading", CALLS, updated("@@ def b():\n-    pass\n+    b()\n"), CALLS[:-9] + "    b()\n"),
    ("added behind a heading", CALLS, updated("@@ def a():\n+    a()\n"),
     CALLS.replace("():\n", "():\n    a()\n", 1)),
    ("at the end", "a\nb\na\n", updated("@@\n-a\n+c\n*** End of File\n"), "a\nb\nc\n"),
    ("added at the end", "a\n", updated("@@\n+b\n"), "a\nb\n"),
    ("one hunk behind another", "x\na\nx\na\n", updated("@@\n x\n-a\n+b\n x\n@@\n-a\n+c\n"), "x\nb\nx\nc\n"),
    ("in a fence", "a\n", "Here it is:\n```diff\n" + diff("@@ -1 +1 @@\n-a\n+b\n") + "```\n", "b\n"),
    ("with CRLF", "a\n", updated("@@\n-a\n+b\n").replace("\n", "\r\n"), "b\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "patch", "then"), [case[1:] for case in FITTING], ids=[case[0] for case in FITTING]
)
def test_a_patch_is_applied(text: str, patch: str, then: str):
    (one,) = parsed(patch)
    assert (one.what, one.path) == ("update", "f")
    assert apply(text, one.hunks) == then


@pytest.mark.parametrize(
    ("text", "patch", "why"),
    [
        ("a\nb\n", diff("@@ -1,1 +1,1 @@\n-c\n+d\n"), "Hunk 1 of 1 does not fit"),
        ("a\na\n", updated("@@\n-a\n+b\n"), "stand 2 times, from lines 1, 2"),
        ("a\nb\n", updated("@@ class C:\n-a\n+b\n"), "no line 'class C:'"),
        ("a\nb\n", updated("@@\n-b\n+c\n@@\n-a\n+d\n"), "Hunk 2 of 2"),
    ],
)
def test_a_hunk_that_does_not_fit_is_refused(text: str, patch: str, why: str):
    with pytest.raises(Unmatched, match=why):
        apply(text, parsed(patch)[0].hunks)


@pytest.mark.parametrize(
    ("patch", "found"),
    [
        (diff("@@ -1 +1 @@\n-a\n+b\n"), [("update", "f", "")]),
        ("--- f\t2024-01-01 10:00\n+++ f\t2024-01-02\n@@ -1 +1 @@\n-a\n+b\n", [("update", "f", "")]),
        ("--- /dev/null\n+++ b/d/n\n@@ -0,0 +1 @@\n+a\n", [("add", "d/n", "")]),
        ("--- a/o\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", [("delete", "o", "")]),
        ("diff --git a/o b/n\nsimilarity index 100%\nrename from o\nrename to n\n", [("update", "o", "n")]),
        ("diff --git a/o b/n\nsimilarity index 90%\nrename from o\nrename to n\nindex 1..2 100644\n"
         "--- a/o\n+++ b/n\n@@ -1 +1 @@\n-a\n+b\n", [("update", "o", "n")]),
        ("diff --git a/e b/e\nnew file mode 100644\nindex 0..1\n", [("add", "e", "")]),
        ("diff --git a/e b/e\ndeleted file mode 100644\nindex 1..0\n", [("delete", "e", "")]),
        ("diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n--- a/y\n+++ b/y\n"
         "@@ -1 +1 @@\n-a\n+b\n", [("update", "x", ""), ("update", "y", "")]),
        ('--- "a/\\303\\251"\n+++ "b/\\303\\251"\n@@ -1 +1 @@\n-a\n+b\n', [("update", "é", "")]),
        ("*** Begin Patch\n*** Add File: n\n+a\n*** Delete File: o\n*** Update File: m\n*** Move to: k\n"
         "@@\n-a\n+b\n*** End Patch", [("add", "n", ""), ("delete", "o", ""), ("update", "m", "k")]),
    ],
)  # fmt: skip
def test_a_patch_names_its_files(patch: str, found: list[tuple[str, str, str]]):
    assert [(each.what, each.path, each.to) for each in parsed(patch)] == found
    assert paths(patch) == [name for _, path, to in found for name in (path, to) if name]


@pytest.mark.parametrize(
    "patch",
    [
        "", "please change f", "*** Begin Patch\n*** End Patch", "*** Begin Patch\n+a\n*** End Patch",
        updated(""), updated("@@\na line without a sign\n"),
        "diff --git a/x b/x\nold mode 100644\nnew mode 100755\n",
        "diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+/etc/passwd\n",
        "diff --git a/x b/x\nBinary files a/x and b/x differ\n",
    ],
)  # fmt: skip
def test_what_is_no_patch_is_refused(patch: str):
    with pytest.raises(BadPatch):
        parsed(patch)
    assert paths(patch) == []


@given(st.text(alphabet=st.sampled_from("*+- @\nafb/1,") | st.characters(), max_size=200))
def test_no_text_breaks_the_reader_of_patches(text):
    for wrapped in (text, updated(text), diff(f"@@ -1 +1 @@\n{text}")):
        assert isinstance(paths(wrapped), list)


@given(LETTERS, LETTERS)
def test_a_diff_of_two_texts_makes_one_into_the_other(before, after):
    from difflib import unified_diff

    from cli.tools.edit import lines_of

    assume("\r" not in before + after)
    rows = unified_diff(lines_of(before), lines_of(after), "a/f", "b/f")
    text = "".join(row if row.endswith("\n") else f"{row}\n\\ No newline at end of file\n" for row in rows)
    if text:
        assert apply(before, parsed(text)[0].hunks) == after
