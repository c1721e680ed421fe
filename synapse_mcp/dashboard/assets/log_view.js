// The end of a run's log, which grows as the run goes: searched and filtered by the server.

import { el, fill } from "./dom.js";
import { ask } from "./live.js";

const FIRST_LINES = 500;
const MOST_LINES = 3000;
const LEVEL = /^\d\d:\d\d:\d\d ([A-Z]+) /;
const PAUSE_MILLISECONDS = 250;

export class LogView {
  constructor(runId) {
    this.path = `/api/runs/${encodeURIComponent(runId)}/log`;
    this.cursor = 0;
    this.size = 0;
    this.version = 0;
    this.isBusy = false;
    this.search = el("input", {
      type: "search",
      placeholder: "Search (regular expression)",
      "aria-label": "Search the log, a regular expression",
      oninput: () => this.searchSoon(),
    });
    this.level = el(
      "select",
      { "aria-label": "Least level", onchange: () => this.restart() },
      el("option", { value: "" }, "all levels"),
      ["info", "warning", "error"].map((level) => el("option", { value: level }, `${level} and above`)),
    );
    this.follows = el("input", { type: "checkbox", checked: true, onchange: () => this.scroll() });
    this.note = el("p", { class: "note", role: "status" });
    this.lines = el("div", {
      class: "lines",
      role: "log",
      "aria-label": "Log",
      "aria-live": "off",
      tabindex: 0,
      onscroll: () => this.scrolled(),
    });
    this.root = el(
      "section",
      { class: "panel log" },
      el(
        "div",
        { class: "tools" },
        el("h3", {}, "Log"),
        this.search,
        this.level,
        el("label", { class: "check" }, this.follows, "follow"),
      ),
      this.note,
      this.lines,
    );
  }

  /** The log is `size` bytes long: read what is new of it. */
  grown(size) {
    this.size = size;
    if (this.version === 0) this.restart();
    else if (size > this.cursor) this.more();
  }

  searchSoon() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.restart(), PAUSE_MILLISECONDS);
  }

  get query() {
    return { grep: this.search.value, level: this.level.value };
  }

  async restart() {
    const version = (this.version += 1);
    const page = await this.read({ ...this.query, tail: FIRST_LINES }, version);
    if (!page) return;
    this.cursor = page.cursor;
    const isFiltered = this.search.value || this.level.value;
    const none = isFiltered ? "No line of the log is like that." : "Nothing has been printed or logged yet.";
    this.note.textContent = page.is_cut ? `The last ${page.lines.length} lines` : page.lines.length ? "" : none;
    fill(this.lines, page.lines.map(lineOf));
    this.scroll();
    this.more();
  }

  async more() {
    if (this.isBusy) return;
    this.isBusy = true;
    const version = this.version;
    try {
      while (this.size > this.cursor && version === this.version) {
        const page = await this.read({ ...this.query, tail: 1000, cursor: this.cursor }, version);
        if (!page || (page.cursor === this.cursor && !page.lines.length)) break;
        this.cursor = page.cursor;
        if (page.lines.length && !this.lines.childNodes.length) this.note.textContent = "";
        this.lines.append(...page.lines.map(lineOf));
        while (this.lines.childNodes.length > MOST_LINES) this.lines.firstChild.remove();
        this.scroll();
      }
    } finally {
      this.isBusy = false;
    }
  }

  /** Return a page of lines, null where another question has been asked since, or it was refused. */
  async read(query, version) {
    try {
      const page = await ask(this.path, { query });
      return version === this.version ? page : null;
    } catch (error) {
      if (version === this.version) this.note.textContent = error.status ? error.message : "";
      return null;
    }
  }

  scroll() {
    if (!this.follows.checked) return;
    this.isScrolling = true;
    this.lines.scrollTop = this.lines.scrollHeight;
  }

  /** Whoever scrolls up wants to read: following ends until he is at the end again. */
  scrolled() {
    if (this.isScrolling) {
      this.isScrolling = false;
      return;
    }
    const rest = this.lines.scrollHeight - this.lines.scrollTop - this.lines.clientHeight;
    this.follows.checked = rest < 24;
  }
}

function lineOf(text) {
  const level = LEVEL.exec(text)?.[1].toLowerCase();
  return el("div", { class: level ? `entry at-${level}` : "entry" }, text || " ");
}
