"""By which names the tools of MCP servers are known."""

import re

from hypothesis import given
from hypothesis import strategies as st

from cli.tools.mcp import full_name


@given(st.from_regex(r"[a-zA-Z0-9-]{1,24}", fullmatch=True), st.text(), st.text())
def test_a_name_is_lawful_and_two_tools_never_have_the_same(server: str, one: str, other: str):
    begun = "a" * 40
    names = {full_name(server, begun + end) for end in (one, other)}
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
    assert len(names) == len({one, other})
