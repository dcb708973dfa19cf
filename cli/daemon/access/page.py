"""The page a browser gets in by: it brings the code behind the # of its URL, which no log ever sees."""

import base64
import hashlib

SCRIPT = """
const said = document.querySelector("output"), leave = document.querySelector("button");
const ask = async (method, path, body) => {
  const headers = body ? {"Content-Type": "application/json"} : {};
  const answer = await fetch(path, {method, headers, body: body && JSON.stringify(body)});
  return {ok: answer.ok, body: answer.status === 204 ? {} : await answer.json()};
};
const code = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
const came = code ? await ask("POST", "browser", {code}) : await ask("GET", "../access");
leave.hidden = !came.ok;
said.textContent = came.ok
  ? `This browser is let in, with the scope “${came.body.scope}”, until ` +
    `${new Date(came.body.expires).toLocaleString()} or the daemon's end.`
  : came.body.detail;
leave.onclick = async () => {
  const left = await ask("DELETE", "browser");
  leave.hidden = left.ok;
  said.textContent = left.ok ? "This browser is signed out." : left.body.detail;
};
"""
STYLE = (
    "body{font:1rem/1.5 system-ui;max-width:36rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark}"
)
HTML = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Opta Local</title>
<style>{STYLE}</style>
<main><h1>Opta Local</h1><p><output>One moment …</output></p><button hidden>Sign out</button></main>
<script type="module">{SCRIPT}</script>
</html>
"""


def source(text: str) -> str:
    """An inline script or style as the policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {source(SCRIPT)}; style-src {source(STYLE)}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
