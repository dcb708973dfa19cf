"""`python notes_server.py FILE`: an MCP server with those of its tools that are named in FILE.

Written out, without the protocol's library: tests start many, and that takes a second to import.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

WORD = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}}
# What each says of itself, what it takes, and whether it only reads.
TOOLS = {
    "echo": ("Say a word again.", WORD, True),
    "translate": ("Translate a word into the secret language.", WORD, True),
    "die": ("End the server.", NOTHING, True),
    "refuse": ("Say no.", NOTHING, False),
}


def tools(names: list[str]) -> dict[str, Any]:
    rows = [(name, *TOOLS[name]) for name in names]
    return {
        "tools": [
            {
                "name": name,
                "description": about,
                "inputSchema": schema,
                "annotations": {"readOnlyHint": reads},
            }
            for name, about, schema, reads in rows
        ]
    }


def call(name: str, arguments: dict[str, str]) -> dict[str, Any]:
    if name == "die":
        os._exit(1)
    word = arguments.get("word", "")
    said = {"echo": f"{word}, {word}", "translate": word[::-1], "refuse": "not today"}[name]
    return {"content": [{"type": "text", "text": said}], "isError": name == "refuse"}


def answer(method: str, given: dict[str, Any], names: list[str]) -> dict[str, Any] | None:
    match method:
        case "initialize":
            about = {"serverInfo": {"name": "notes", "version": "1"}, "capabilities": {"tools": {}}}
            return {"protocolVersion": given["protocolVersion"], **about}
        case "tools/list":
            return tools(names)
        case "tools/call":
            return call(given["name"], given.get("arguments") or {})
    return None


def main() -> None:
    names = Path(sys.argv[1]).read_text().split()
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" not in asked:
            continue
        result = answer(asked["method"], asked.get("params") or {}, names)
        said = (
            {"result": result} if result is not None else {"error": {"code": -32601, "message": "Unknown."}}
        )
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **said}), flush=True)


if __name__ == "__main__":
    main()
