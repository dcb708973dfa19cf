"""JavaScript's regular expressions, which JSON Schema has, as Rust's, which llguidance has."""

import re

# White space and line ends as ECMA-262 counts them, for between brackets.
SPACE = r"\t\n\x0B\f\r \u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000\uFEFF"
LINE_END = r"\n\r\u2028\u2029"
# An escape, how a group or a class begins, or any other character; and the parts of a class.
PART = re.compile(r"\\.|\(\?.|\[\^?\]?|.", re.DOTALL)
MEMBER = re.compile(r"\\.|--|.", re.DOTALL)
GROUPS = frozenset(("(?:", "(?<", "(?=", "(?!"))
# One of the two does not know these, or means something else by them.
FOREIGN = frozenset((r"\A", r"\z", r"\Z", r"\a", "[]", "[^]", "--"))
OUTSIDE = {".": f"[^{LINE_END}]", r"\s": f"[{SPACE}]", r"\S": f"[^{SPACE}]"}
# Rust has classes inside of classes, and operations on them.
INSIDE = {"[": r"\[", "&": r"\&", "~": r"\~", r"\s": SPACE, r"\S": f"[^{SPACE}]"}


def rust(pattern: str) -> str:
    """`pattern` with its meaning kept. Raises ValueError for what only one of the two has; lookaround and
    back references, which llguidance has not, it says itself."""
    made, at, inside = "", 0, False
    while found := (MEMBER if inside else PART).match(pattern, at):
        part, at = found.group(), found.end()
        if part in FOREIGN or (part.startswith("(?") and part not in GROUPS):
            raise ValueError(part)
        made += (INSIDE if inside else OUTSIDE).get(part, part)
        inside = part != "]" if inside else part.startswith("[")
    return made
