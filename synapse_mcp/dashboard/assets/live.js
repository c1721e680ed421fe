// The line to the server: questions, streams of changes, and whether it still answers.

import { el, fill } from "./dom.js";

const RETRY_MILLISECONDS = 1500;
let isGone = false;
let whenBack = () => {};
let retry = null;

export class Refused extends Error {
  constructor(status, error) {
    super(error?.message || `The dashboard answered ${status}.`);
    this.hint = error?.hint;
    this.status = status;
  }
}

/** Return the answer to a question. Raises Refused with the server's words; waits for nobody who is gone. */
export async function ask(path, { query = {}, method = "GET", as = "json" } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(given).toString();
  let answer;
  try {
    answer = await fetch(search ? `${path}?${search}` : path, { method });
  } catch (error) {
    setGone(true);
    throw error;
  }
  setGone(false);
  if (answer.status === 401) location.assign("/login");
  if (!answer.ok) throw new Refused(answer.status, (await answer.json().catch(() => ({}))).error);
  return as === "blob" ? answer.blob() : answer.json();
}

/** Call `handlers` by name for every change until `close` of what is returned is called. */
export function follow(path, query, handlers) {
  const given = Object.entries(query).filter(([, value]) => value);
  const source = new EventSource(given.length ? `${path}?${new URLSearchParams(given)}` : path);
  for (const [name, handle] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => {
      setGone(false);
      handle(JSON.parse(event.data));
    });
  }
  source.addEventListener("open", () => setGone(false));
  source.addEventListener("end", () => source.close());
  source.addEventListener("error", () => {
    // What was refused is not asked for again: the page asks itself and tells why.
    if (source.readyState === EventSource.CLOSED) handlers.refused?.();
    else setGone(true);
  });
  return source;
}

/** Have a page made anew when the server is back. */
export function onReturn(handle) {
  whenBack = handle;
}

function setGone(gone) {
  tell(gone);
  if (gone === isGone) return;
  isGone = gone;
  document.getElementById("gone").hidden = !gone;
  document.body.classList.toggle("is-gone", gone);
  clearInterval(retry);
  if (gone) retry = setInterval(() => ask("/api/overview").catch(() => {}), RETRY_MILLISECONDS);
  else whenBack();
}

function tell(gone) {
  const line = document.getElementById("line");
  const word = gone ? "reconnecting" : "connected";
  if (line.textContent === word) return;
  line.className = `line ${gone ? "is-gone" : "is-there"}`;
  fill(line, el("i", { "aria-hidden": "true" }), word);
}
