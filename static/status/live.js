// Shows each new board as the server sends it, and keeps the ages right between.
// The page is complete without this script: it is then as of when it was loaded.
"use strict";
{
  const board = document.getElementById("board");
  const said = document.getElementById("said");
  const connection = document.getElementById("connection");
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  // The same words as the filter `ago` in apps/status/templatetags/status_board.py.
  const ago = (time) => {
    const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000));
    const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? [1, "s"];
    return `${Math.floor(seconds / size)} ${unit} ago`;
  };
  const age = () => {
    for (const span of board.querySelectorAll("[data-ago]")) span.textContent = ago(span.closest("time"));
  };
  const headline = () => document.getElementById("headline").textContent;

  const show = (event) => {
    const before = headline();
    board.innerHTML = event.data; // our own template's output, escaped there
    age();
    // Read aloud only what changed, not every half minute the same.
    if (headline() !== before) said.textContent = headline();
  };
  const connect = () => {
    const stream = new EventSource(board.dataset.live);
    stream.addEventListener("board", show);
    stream.addEventListener("open", () => { connection.textContent = "Live: new results appear by themselves."; });
    stream.addEventListener("error", () => {
      connection.textContent = "The connection is lost; trying again.";
      // The browser tries again by itself after a broken connection, but not after an answer such as 502.
      if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 5000);
    });
  };
  connect();
  setInterval(age, 1000);
}
