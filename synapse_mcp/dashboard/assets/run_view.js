// Everything about one run but its log: the same on the dashboard and in a chat.

import { CurveChart } from "./chart.js";
import { el, fill, ticking } from "./dom.js";
import { ago, bytes, clock, counted, duration, elapsedOf, figure, percent, progressBar, stateMark } from "./words.js";

/** The view of a run. Parts are made anew only when what they show has changed. */
export class RunView {
  constructor({ heading = "h1" } = {}) {
    this.heading = heading;
    this.told = new Map();
    this.charts = new Map();
    this.head = el("header", { class: "run-head" });
    this.failure = el("div");
    this.progress = el("div");
    this.chartArea = el("section", { class: "charts", "aria-label": "Metrics" });
    this.main = el("div", { class: "main" }, this.chartArea);
    this.steps = el("div");
    this.figures = el("div");
    this.result = el("div");
    this.files = el("div");
    this.params = el("div");
    this.side = el("div", { class: "side" }, this.steps, this.figures, this.result, this.files, this.params);
    this.columns = el("div", { class: "columns" }, this.main, this.side);
    this.root = el("article", { class: "run" }, this.head, this.progress, this.failure, this.columns);
  }

  /** run: the record. steps, actions, params: what the record alone does not tell. */
  show({ run, steps = [], actions = [], params = null }) {
    const { progress = {}, failure = null } = run;
    const { state, done } = run;
    const facts = [run.run_id, run.plugin, run.action, run.mode, state, run.created, run.elapsed_seconds];
    this.part(this.head, facts, () => this.headOf(run));
    this.part(this.progress, [progress, run.waiting, state, actions.length], () => progressOf(run));
    this.part(this.failure, [failure, run.result_warnings, state], () => [
      failureOf(run),
      warningsOf(run.result_warnings),
    ]);
    this.part(this.steps, [steps, actions, done], () => [actionsOf(actions, run), stepsOf(steps, run)]);
    this.part(this.figures, [run.metrics], () => figuresOf(run.metrics));
    this.part(this.result, [run.result], () => dataPanel("Result", run.result, true));
    this.part(this.files, [run.artifacts, run.artifacts_left_out], () => artifactsOf(run));
    this.part(this.params, [params], () => dataPanel("Parameters", params, false));
    this.side.hidden = [...this.side.children].every((part) => !part.childNodes.length);
  }

  /** charts: those of which there is more than one value. */
  showCharts(charts) {
    const wanted = charts.filter((chart) => chart.series.some((one) => one.points.length > 1));
    const keys = wanted.map((chart) => `${chart.title}\0${chart.place}`);
    wanted.forEach((chart, index) => {
      const known = this.charts.get(keys[index]);
      if (known) known.show(chart);
      else {
        const made = new CurveChart(chart);
        this.charts.set(keys[index], made);
        this.chartArea.append(made.root);
      }
    });
    for (const [key, chart] of this.charts) {
      if (!keys.includes(key)) {
        chart.root.remove();
        this.charts.delete(key);
      }
    }
    this.chartArea.hidden = !this.charts.size;
  }

  part(node, facts, make) {
    const text = JSON.stringify(facts);
    if (this.told.get(node) === text) return;
    this.told.set(node, text);
    fill(node, make());
  }

  headOf(run) {
    const created = new Date(run.created);
    const sep = () => el("span", { class: "sep", "aria-hidden": "true" }, "·");
    return [
      el(
        "div",
        { class: "title-line" },
        el(this.heading, { tabindex: -1 }, el("span", { class: "of" }, `${run.plugin} / `), run.action),
        stateMark(run.state),
      ),
      el(
        "p",
        { class: "facts" },
        el("code", { class: "id" }, run.run_id),
        sep(),
        el("span", {}, `mode ${run.mode}`),
        sep(),
        ticking("span", { title: clock(created) }, () => `submitted ${ago(created)}`),
        sep(),
        run.done
          ? el("span", {}, `took ${duration(run.elapsed_seconds)}`)
          : ticking("span", {}, () => `for ${duration(elapsedOf(run))}`),
      ),
    ];
  }
}

function progressOf(run) {
  const { progress = {} } = run;
  if (run.done && run.state === "succeeded") return [];
  const words = [];
  if (progress.step) words.push(el("b", {}, progress.step));
  if (progress.total) words.push(`${figure(progress.current)} of ${figure(progress.total)}`);
  if (!run.done && progress.eta_seconds) words.push(`about ${duration(progress.eta_seconds)} left`);
  if (run.waiting) words.push(`waiting: ${run.waiting}`);
  if (!words.length) words.push(run.state === "queued" ? "not begun yet" : "");
  const said = words.flatMap((word, index) => (index ? [" · ", word] : [word]));
  return el(
    "div",
    { class: "progress-line" },
    progressBar(progress.fraction, run.state, `Progress of ${run.plugin} ${run.action}`),
    el("div", { class: "said" }, el("span", {}, said), el("span", { class: "number" }, percent(progress.fraction))),
    progress.message && !run.done ? el("p", { class: "message" }, progress.message) : null,
  );
}

function failureOf(run) {
  const { failure } = run;
  if (!failure) return null;
  const isQuiet = run.state === "stopped";
  return el(
    "section",
    { class: `failure${isQuiet ? " quiet" : ""}`, "aria-label": isQuiet ? "How it ended" : "Failure" },
    el("p", { class: "what" }, isQuiet ? null : el("code", {}, failure.code), failure.message),
    failure.hint ? el("p", { class: "hint" }, failure.hint) : null,
    failure.log_excerpt && !isQuiet
      ? el("details", {}, el("summary", {}, "The end of its log"), el("pre", {}, failure.log_excerpt))
      : null,
    failure.details && Object.keys(failure.details).length
      ? el("details", {}, el("summary", {}, "Details"), el("pre", {}, pretty(failure.details)))
      : null,
  );
}

function warningsOf(warnings) {
  if (!warnings?.length) return null;
  return el("section", { class: "failure quiet" }, warnings.map((text) => el("p", {}, text)));
}

function stepsOf(steps, run) {
  if (!steps.length) return null;
  const rows = steps.map((step) => {
    const state = run.done && step.state === "running" ? "cut_off" : step.state;
    const started = step.started ? Date.parse(step.started) : Date.now();
    const took =
      state === "running"
        ? ticking("span", { class: "took" }, () => duration(Math.max(0, (Date.now() - started) / 1000)))
        : el("span", { class: "took" }, tookOf(step, state));
    const name = step.action ? `${step.action}: ${step.name}` : step.name;
    return el(
      "li",
      { class: `step is-${state}` },
      stateMark(state, ""),
      el("span", { class: "name" }, name, el("span", { class: "hidden" }, `, ${state.replace("_", " ")}`)),
      took,
      step.error ? el("p", { class: "error" }, step.error) : null,
    );
  });
  return panel("Steps", el("ol", { class: "steps" }, rows));
}

function actionsOf(actions) {
  if (!actions.length) return null;
  const rows = actions.map((one) =>
    el(
      "li",
      { class: `step is-${one.state}` },
      stateMark(one.state, ""),
      el(
        "span",
        { class: "name" },
        one.name,
        one.attempt > 1 ? el("small", {}, ` attempt ${one.attempt}`) : null,
        el("span", { class: "hidden" }, `, ${one.state}`),
      ),
      el("span", { class: "took" }, one.state === "running" ? percent(one.fraction) : tookOf(one, one.state)),
      one.state === "running" ? progressBar(one.fraction, "running", `Progress of ${one.name}`) : null,
      one.failure ? el("p", { class: "error" }, one.failure) : null,
    ),
  );
  return panel("Actions", el("ol", { class: "steps" }, rows));
}

function tookOf(one, state) {
  const word = state === "succeeded" ? "" : state === "cut_off" ? "not finished" : state.replace("_", " ");
  return [word, one.elapsed_seconds ? duration(one.elapsed_seconds) : ""].filter(Boolean).join(" · ");
}

function figuresOf(metrics) {
  if (!metrics || metrics.truncated) return null;
  const groups = Object.entries(metrics).map(([category, values]) => {
    const rows = Object.entries(values).map(([name, value]) => [
      el("dt", {}, name),
      el("dd", {}, typeof value === "number" ? figure(value) : typeof value === "string" ? value : pretty(value)),
    ]);
    const title = category === "__default__" ? null : el("h4", {}, category);
    return el("div", { class: "figures" }, title, el("dl", {}, rows));
  });
  return groups.length ? panel("Latest metrics", groups) : null;
}

function artifactsOf(run) {
  const { artifacts = [] } = run;
  if (!artifacts.length) return null;
  const rows = artifacts.map((one) =>
    el(
      "li",
      {},
      el("span", { class: "name" }, one.name),
      el("span", { class: "took" }, bytes(one.bytes)),
      el("code", { class: "path" }, one.uri),
    ),
  );
  const more = run.artifacts_left_out ? el("p", { class: "quiet" }, `and ${run.artifacts_left_out} more`) : null;
  return panel(`Artifacts`, el("ul", { class: "files" }, rows), more);
}

function dataPanel(title, value, isOpen) {
  if (value === null || value === undefined) return null;
  const isPlain = typeof value === "object" && !Array.isArray(value);
  const entries = isPlain ? Object.entries(value) : [];
  if (isPlain && !entries.length) return null;
  const isFlat = isPlain && entries.every(([, one]) => typeof one !== "object" || one === null);
  const content = isFlat
    ? el("dl", { class: "data" }, entries.map(([name, one]) => [el("dt", {}, name), el("dd", {}, plainValue(one))]))
    : el("pre", {}, pretty(value));
  const label = isPlain && !isFlat ? ` (${counted(entries.length, "entry").replace("entrys", "entries")})` : "";
  return el("details", { class: "panel", open: isOpen || isFlat }, el("summary", {}, title, el("small", {}, label)), content);
}

function plainValue(value) {
  return value === null ? "none" : String(value);
}

function panel(title, ...content) {
  return el("section", { class: "panel" }, el("h3", {}, title), content);
}

function pretty(value) {
  return JSON.stringify(value, null, 2);
}
