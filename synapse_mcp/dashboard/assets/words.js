// How numbers, times and states are said.

import { draw, el } from "./dom.js";

/** '3 min 20 s' for 200. */
export function duration(seconds) {
  if (!(seconds >= 0)) return "";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** '5 min ago' for a date. */
export function ago(date) {
  const seconds = Math.max(0, (Date.now() - date.getTime()) / 1000);
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

export function elapsedOf(run) {
  return run.done ? run.elapsed_seconds : Math.max(0, (Date.now() - Date.parse(run.created)) / 1000);
}

export function bytes(count) {
  let value = count;
  for (const unit of ["bytes", "kB", "MB", "GB"]) {
    if (value < 1000 || unit === "GB") return `${unit === "bytes" ? value : value.toPrecision(3)} ${unit}`;
    value /= 1000;
  }
  return "";
}

/** Four figures of a number, as few signs as they take. */
export function figure(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

export function percent(fraction) {
  return `${Math.floor((fraction || 0) * 100)} %`;
}

export function counted(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}

/** A date as the reader's own clock has it. */
export function clock(date) {
  return date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

const SIGNS = {
  succeeded: ["M4 8.5l2.6 2.6L12 5.4"],
  running: [],
  failed: ["M5 5l6 6M11 5l-6 6"],
  stopped: ["M5.5 5.5h5v5h-5z"],
  skipped: ["M5 4.8l4 3.2-4 3.2M11.2 5v6"],
  rolled_back: ["M11 11V8a2.5 2.5 0 0 0-2.5-2.5H5M7 3.5l-2 2 2 2"],
  lost: ["M6.2 6.3a1.9 1.9 0 1 1 2.6 1.8c-.6.3-.8.7-.8 1.3M8 11.6v.1"],
};
const SAME = { unhealthy: "failed", gone: "lost", starting: "queued", pending: "queued", cut_off: "stopped" };

/** A state as a sign of its own form and colour, with its word. */
export function stateMark(state, word = state.replace("_", " ")) {
  const kind = SIGNS[state] ? state : SAME[state] || "queued";
  const sign = draw(
    "svg",
    { viewBox: "0 0 16 16", class: "sign", "aria-hidden": "true" },
    draw("circle", { cx: 8, cy: 8, r: 6.6, class: kind === "running" ? "track" : "ring" }),
    kind === "running" ? draw("path", { d: "M8 1.4a6.6 6.6 0 0 1 6.6 6.6", class: "turn" }) : null,
    (SIGNS[kind] || []).map((path) => draw("path", { d: path })),
  );
  return el("span", { class: `state is-${kind}` }, sign, word ? el("span", {}, word) : null);
}

/** A bar that is filled as far as something is. */
export function progressBar(fraction, state, label) {
  const value = Math.min(1, Math.max(0, fraction || 0));
  const full = el("span", { class: "filled" });
  full.style.setProperty("width", `${(value * 100).toFixed(2)}%`);
  const said = { role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": label };
  return el("span", { class: `progress of-${state}`, ...said, "aria-valuenow": Math.floor(value * 100) }, full);
}

/** What to do where there is nothing to see. */
export function empty(title, ...advice) {
  return el("div", { class: "empty" }, el("p", { class: "title" }, title), advice);
}
