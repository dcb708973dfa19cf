"""What a table and a text look like to a pipe, and to a terminal that must not be driven."""

from cli.output import safe, table


def test_a_piped_table_is_a_line_a_row_and_tabs(capsys):
    table(("A", "B"), [("one", 1), ("two\nlines", 2)])
    assert capsys.readouterr().out == "one\t1\ntwo lines\t2\n"


def test_control_characters_do_not_reach_a_terminal():
    assert safe("a\x1b]52;c;aGk=\x07b\x9b2Jc\r\n\td\u2028é") == "a]52;c;aGk=b2Jc\n\td\u2028é"
