"""A TOML file changed by a merge patch (RFC 7396), with all that its writer put around the values."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

Patch = Mapping[str, Any]


def merged(values: Mapping[str, Any], patch: Patch) -> dict[str, Any]:
    """The values as they are to be."""
    found = dict(values)
    for key, change in patch.items():
        if change is None:
            found.pop(key, None)
        elif isinstance(change, Mapping):
            inside = found.get(key)
            found[key] = merged(inside if isinstance(inside, Mapping) else {}, change)
        else:
            found[key] = change
    return found


def pruned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without empty tables, which say nothing."""
    inside = {key: pruned(each) if isinstance(each, Mapping) else each for key, each in values.items()}
    return {key: each for key, each in inside.items() if each != {}}


def edited(text: str, patch: Patch) -> str:
    """The file as it is to be, comments and order kept."""
    import tomlkit  # 30 ms, which only a change costs

    document = tomlkit.parse(text)
    apply(document, patch)
    return re.sub(r"(\r?\n)+\Z", r"\1", document.as_string()).lstrip("\r\n")


def apply(table: MutableMapping[str, Any], patch: Patch) -> None:
    for key, change in patch.items():
        if change is None:
            if key in table:
                remove(table, key)
        elif isinstance(change, Mapping):
            if not isinstance(table.get(key), MutableMapping):
                table[key] = fresh(table, change)
            apply(table[key], change)
        else:
            table[key] = change


def fresh(parent: Any, change: Patch) -> Any:
    """A new table for what a patch says, and a blank line behind it; in a line of its own within a line."""
    import tomlkit
    from tomlkit.items import InlineTable

    if isinstance(parent, InlineTable):
        return tomlkit.inline_table()
    if all(isinstance(each, Mapping) for each in change.values()):
        return tomlkit.table(is_super_table=True)  # its tables name it, it needs no line
    table = tomlkit.table()
    for key in change:
        table.add(key, "")
    return table.add(tomlkit.nl())


def remove(table: Any, key: str) -> None:
    """Take a key out. What is written behind a table's last value is about what follows, and stays."""
    from tomlkit.items import Table, Whitespace

    item, body = table.get(key), getattr(getattr(table, "value", None), "body", [])
    rest = trailing(item) if isinstance(item, Table) else ""
    places = [place for place, (name, _) in enumerate(body) if name and name.key == key]
    del table[key]
    if rest and len(places) == 1:
        body[places[0]] = (None, Whitespace(rest))


def trailing(table: Any) -> str:
    """The comments and blank lines behind a table's last value."""
    body = table.value.body
    last = max((place for place, (name, _) in enumerate(body) if name is not None), default=-1)
    return "".join(item.as_string() for _, item in body[last + 1 :]).lstrip("\n")
