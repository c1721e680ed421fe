// The pages: each fills the content, and returns what ends it.

import { el, fill, ticking } from "./dom.js";
import { ask, follow } from "./live.js";
import { LogView } from "./log_view.js";
import { RunView } from "./run_view.js";
import { ago, bytes, clock, counted, duration, elapsedOf, empty, figure, percent, progressBar, stateMark } from "./words.js";

const STATES = ["", "active", "succeeded", "failed", "stopped", "lost"];
// Deployments change without a word to this home; whoever looks at them is told this often.
const LOOK_MILLISECONDS = 10_000;

export function runsPage(content, query) {
  const state = STATES.includes(query.get("state")) ? query.get("state") : "";
  const plugin = query.get("plugin") || "";
  const place = (changes) => {
    const next = new URLSearchParams(Object.entries({ state, plugin, ...changes }).filter(([, one]) => one));
    return `#/runs${next.size ? `?${next}` : ""}`;
  };
  const count = el("span", { class: "count", role: "status" });
  const list = el("div", { class: "run-list" });
  const older = el("div");
  const more = el("div", { class: "more" });
  const tabs = STATES.map((one) =>
    el("a", { href: place({ state: one }), "aria-current": one === state ? "true" : null }, one || "all"),
  );
  const search = el("input", {
    type: "search",
    value: plugin,
    placeholder: "Plugin",
    "aria-label": "Only runs of this plugin",
    onchange: (event) => location.assign(place({ plugin: event.target.value.trim() })),
  });
  fill(
    content,
    el("div", { class: "page-head" }, el("h1", { tabindex: -1 }, "Runs"), count),
    el("div", { class: "filters" }, el("nav", { class: "tabs", "aria-label": "State" }, tabs), search),
    list,
    older,
    more,
  );
  let isMore = false;

  const show = ({ runs, active, next_cursor: cursor }) => {
    count.textContent = active ? `${active} active` : "";
    document.title = active ? `${active} active · Synapse` : "Synapse";
    if (!runs.length) fill(list, state || plugin ? noneLikeThat() : noRunsYet());
    else keepFocus(list, () => fill(list, runHead(), runs.map(runRow)));
    if (!isMore) fill(more, cursor ? el("button", { onclick: () => showOlder(cursor) }, "Show older runs") : null);
  };

  async function showOlder(cursor) {
    isMore = true;
    const page = await ask("/api/runs", { query: { state, plugin, cursor } });
    older.append(el("div", { class: "run-list" }, page.runs.map(runRow)));
    const next = page.next_cursor;
    fill(more, next ? el("button", { onclick: () => showOlder(next) }, "Show older runs") : null);
  }

  const line = follow("/api/changes", { state, plugin }, { runs: show, refused: () => tellRefusal(content, "/api/runs") });
  return () => line.close();
}

function noRunsYet() {
  return empty(
    "No runs yet.",
    el("p", {}, "Run something and watch it here:"),
    el("pre", { class: "command" }, "synapse-mcp run hello greet"),
    el("p", { class: "quiet" }, "Runs that an agent starts through MCP appear by themselves."),
  );
}

function noneLikeThat() {
  return empty("No run is like that.", el("p", {}, el("a", { href: "#/runs" }, "Show all runs")));
}

function runHead() {
  const names = ["State", "Run", "Progress", "Metrics", "Took", "Submitted"];
  return el("div", { class: "run-row head", "aria-hidden": "true" }, names.map((name) => el("span", {}, name)));
}

function runRow(run) {
  const created = new Date(run.created);
  const figures = Object.entries(run.figures || {});
  return el(
    "a",
    { class: "run-row", href: `#/runs/${run.run_id}`, "data-run": run.run_id },
    stateMark(run.state),
    el(
      "span",
      { class: "who" },
      el("b", {}, el("span", { class: "of" }, `${run.plugin} / `), run.action),
      el(
        "small",
        { class: "under" },
        el("code", { class: "id" }, run.run_id),
        run.actions ? ` · ${counted(run.actions, "action")}` : null,
      ),
    ),
    el("span", { class: "how" }, howFar(run)),
    el(
      "span",
      { class: "figures-line" },
      figures.map(([name, value]) => el("span", {}, el("small", {}, name), " ", el("b", {}, figure(value)))),
    ),
    ticking("span", { class: "took" }, () => duration(elapsedOf(run))),
    ticking("span", { class: "when", title: clock(created) }, () => ago(created)),
  );
}

function howFar(run) {
  if (run.done) {
    const words = run.state === "succeeded" ? null : el("span", { class: "note-line" }, run.note || "");
    return words;
  }
  const step = run.step || (run.state === "queued" ? run.note || "not begun yet" : "running");
  const left = run.eta_seconds ? ` · ${duration(run.eta_seconds)} left` : "";
  return [
    progressBar(run.fraction, run.state, `Progress of ${run.plugin} ${run.action}`),
    el("small", {}, el("span", {}, `${step}${left}`), el("span", {}, percent(run.fraction))),
  ];
}

export function runPage(content, runId) {
  const view = new RunView();
  const log = new LogView(runId);
  view.main.append(log.root);
  const back = el("p", { class: "crumb" }, el("a", { href: "#/runs" }, "← All runs"));
  let line = null;
  const show = (details) => {
    if (!view.root.isConnected) fill(content, back, view.root);
    const { run } = details;
    document.title = `${run.plugin}/${run.action} ${run.done ? run.state : percent(run.progress?.fraction)} · Synapse`;
    view.show(details);
    log.grown(details.log_bytes);
  };
  line = follow(`/api/changes/${encodeURIComponent(runId)}`, {}, {
    run: show,
    charts: (charts) => view.showCharts(charts),
    refused: () => tellRefusal(content, `/api/runs/${encodeURIComponent(runId)}`, back),
  });
  return () => line.close();
}

export function modelsPage(content, query) {
  const asked = query.get("query") || "";
  const list = el("div", {}, el("p", { class: "loading" }, "Loading…"));
  const search = el("input", {
    type: "search",
    value: asked,
    placeholder: "Name, plugin or description",
    "aria-label": "Search models",
    onchange: (event) => {
      const given = event.target.value.trim();
      location.assign(given ? `#/models?${new URLSearchParams({ query: given })}` : "#/models");
    },
  });
  document.title = "Models · Synapse";
  fill(
    content,
    el("div", { class: "page-head" }, el("h1", { tabindex: -1 }, "Models")),
    el("div", { class: "filters" }, search),
    list,
  );
  const body = el("tbody");
  const more = el("div", { class: "more" });
  const load = async (cursor) => {
    const page = await ask("/api/models", { query: { query: asked, cursor } });
    body.append(...page.models.map(modelRow));
    const next = page.next_cursor;
    fill(more, next ? el("button", { onclick: () => load(next) }, "Show older models") : null);
    if (body.childNodes.length) {
      const names = ["Model", "Metrics", "Made by", "Size", "Registered", "SHA-256"];
      const head = el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name))));
      fill(list, el("div", { class: "scroll" }, el("table", {}, head, body)), more);
    } else fill(list, asked ? noModelLikeThat() : noModelsYet());
  };
  load().catch((error) => tellError(list, error));
  return () => {};
}

function noModelLikeThat() {
  return empty("No model is like that.", el("p", {}, el("a", { href: "#/models" }, "Show all models")));
}

function noModelsYet() {
  return empty(
    "No models yet.",
    el("p", {}, "Train one, then have your agent register what the run has written:"),
    el("pre", { class: "command" }, "synapse-mcp run digits_classifier train"),
    el("p", { class: "quiet" }, "register_model(name, source=run_id) adds it."),
  );
}

function modelRow(model) {
  const made = new Date(model.created * 1000);
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, model.name, el("span", { class: "of" }, ` @ ${model.version}`),
      model.description ? el("small", { class: "block" }, model.description) : null),
    el("td", { class: "figures-line" }, Object.entries(model.figures || {}).map(([name, value]) =>
      el("span", {}, el("small", {}, name || "value"), " ", el("b", {}, figure(value))))),
    el("td", { "data-name": "Made by" },
      model.run_id ? el("a", { href: `#/runs/${model.run_id}` }, model.plugin || model.run_id) : model.plugin || "–"),
    el("td", { "data-name": "Size", class: "number" }, bytes(model.size_bytes)),
    el("td", { "data-name": "Registered" },
      model.created ? ticking("span", { title: clock(made) }, () => ago(made)) : "–"),
    el("td", { "data-name": "SHA-256" }, el("code", { class: "id", title: model.sha256 }, model.sha256.slice(0, 12))),
  );
}

export function deploymentsPage(content) {
  const list = el("div", { class: "cards" }, el("p", { class: "loading" }, "Asking the cluster…"));
  document.title = "Deployments · Synapse";
  fill(content, el("div", { class: "page-head" }, el("h1", { tabindex: -1 }, "Deployments")), list);
  const probes = new Map();
  let told = "";
  const load = async () => {
    try {
      const { deployments } = await ask("/api/deployments");
      const text = JSON.stringify(deployments);
      if (text === told) return;
      told = text;
      fill(list, deployments.length ? deployments.map((one) => deploymentCard(one, probes)) : noDeployments());
    } catch (error) {
      told = "";
      tellError(list, error);
    }
  };
  const timer = setInterval(() => document.visibilityState === "visible" && load(), LOOK_MILLISECONDS);
  load();
  return () => clearInterval(timer);
}

function noDeployments() {
  return empty(
    "Nothing is deployed.",
    el("p", {}, "Ask your agent to put a registered model behind an address:"),
    el("pre", { class: "command" }, 'deploy_model(model="digits@1", name="digits")'),
  );
}

function deploymentCard(one, probes) {
  const outcome = probes.get(one.name) || el("span", { role: "status" });
  probes.set(one.name, outcome);
  const lastProbe = () => {
    if (outcome.childNodes.length) return "";
    if (one.probe_seconds === undefined) return "not tried yet";
    return `${duration(one.probe_seconds)}${one.probe_at ? `, ${ago(new Date(one.probe_at * 1000))}` : ""}`;
  };
  const button = el("button", { class: "small", onclick: () => probe(one.name, button, outcome), disabled: !one.url }, "Try it now");
  const facts = [
    ["Version", one.version === undefined ? "–" : `${one.version}${one.coming ? `, ${one.coming} is coming` : ""}`],
    ["Model", one.model || "–"],
    ["Replicas", one.replicas_wanted ? `${one.replicas} of ${one.replicas_wanted} answer` : "–"],
    ["Latency", [ticking("span", {}, lastProbe), outcome, " ", button]],
    ["Address", one.url ? el("code", {}, one.url) : "–"],
    ["Deployed", one.deployed_at ? ticking("span", {}, () => ago(new Date(one.deployed_at * 1000))) : "–"],
    ["Run", one.run_id ? el("a", { href: `#/runs/${one.run_id}` }, one.run_id) : "–"],
  ];
  return el(
    "section",
    { class: "panel card" },
    el("div", { class: "title-line" }, el("h2", {}, one.name), stateMark(one.state)),
    el("dl", { class: "data" }, facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    one.error ? el("section", { class: "failure" }, el("pre", {}, one.error)) : null,
    one.last_failure ? el("section", { class: "failure quiet" }, el("p", {}, `Failed to come up: ${one.last_failure}`)) : null,
  );
}

async function probe(name, button, outcome) {
  button.disabled = true;
  fill(outcome, "asking…");
  try {
    const answer = await ask(`/api/deployments/${encodeURIComponent(name)}/probe`, { method: "POST" });
    fill(outcome, el("b", {}, duration(answer.seconds)), ", just now");
  } catch (error) {
    fill(outcome, el("span", { class: "wrong" }, error.message));
  } finally {
    button.disabled = false;
  }
}

export function datasetsPage(content, query) {
  const path = query.get("path") || "";
  const shown = el("div", { class: "dataset" });
  const known = el("div");
  const field = el("input", {
    type: "text",
    name: "path",
    value: path,
    placeholder: "/data/birds, or an annotation file",
    "aria-label": "Path of a dataset",
    spellcheck: "false",
  });
  const form = el("form", {
    class: "filters",
    onsubmit: (event) => {
      event.preventDefault();
      location.assign(`#/datasets?${new URLSearchParams({ path: field.value.trim() })}`);
    },
  }, field, el("button", { type: "submit" }, "Show"));
  document.title = "Datasets · Synapse";
  fill(content, el("div", { class: "page-head" }, el("h1", { tabindex: -1 }, "Datasets")), form, shown, known);
  let isOver = false;
  const urls = [];
  if (path) showDataset(shown, path, () => isOver, urls);
  ask("/api/datasets").then(({ datasets }) => !isOver && fill(known, knownDatasets(datasets, path)), () => {});
  return () => {
    isOver = true;
    urls.forEach((url) => URL.revokeObjectURL(url));
  };
}

function knownDatasets(datasets, path) {
  if (!datasets.length) {
    return path
      ? null
      : empty(
          "No conversions yet.",
          el("p", {}, "Give the path of any annotated dataset above, or convert one:"),
          el("pre", { class: "command" }, "synapse-mcp convert DATASET --to coco --output DIR"),
          el("p", { class: "quiet" }, "Datasets that an agent's convert_dataset has written are listed here."),
        );
  }
  const rows = datasets.map((one) =>
    el(
      "li",
      {},
      el("a", { class: "name", href: `#/datasets?${new URLSearchParams({ path: one.path })}`,
        "aria-current": one.path === path ? "true" : null }, one.path),
      el("span", { class: "took" }, [one.format, one.images === undefined || one.images === null ? "" : counted(one.images, "image")]
        .filter(Boolean).join(" · ")),
    ),
  );
  return el("section", { class: "panel" }, el("h3", {}, "Written by conversions"), el("ul", { class: "files" }, rows));
}

async function showDataset(shown, path, isOver, urls) {
  const picture = el("div", { class: "picture" }, el("p", { class: "loading" }, "Drawing some of its images…"));
  const facts = el("div", {}, el("p", { class: "loading" }, "Reading it…"));
  fill(shown, facts, picture);
  const drawn = ask("/api/datasets/preview", { query: { path }, as: "blob" });
  drawn.catch(() => {});
  try {
    const summary = await ask("/api/datasets/summary", { query: { path } });
    if (isOver()) return;
    fill(facts, datasetFacts(summary, path));
  } catch (error) {
    fill(picture);
    return void tellError(facts, error);
  }
  try {
    const url = URL.createObjectURL(await drawn);
    urls.push(url);
    fill(picture, el("img", { src: url, alt: `Some images of ${path} with their annotations` }));
  } catch (error) {
    tellError(picture, error);
  }
}

function datasetFacts(found, path) {
  const most = Math.max(1, ...found.classes.map((one) => one.annotations));
  const classes = found.classes.map((one) => {
    const bar = el("span", { class: "filled" });
    bar.style.setProperty("width", `${(100 * one.annotations) / most}%`);
    return el("li", {}, el("span", { class: "name" }, one.name), el("span", { class: "amount" }, bar),
      el("span", { class: "took" }, one.annotations.toLocaleString("en")));
  });
  const tiles = [
    ["Format", found.format],
    ["Images", found.images.toLocaleString("en")],
    ["Annotations", found.annotations.toLocaleString("en")],
    ["Classes", String(found.class_count)],
    ...Object.entries(found.kinds).map(([kind, number]) => [kind, number.toLocaleString("en")]),
  ];
  const splits = found.splits.filter((one) => one.name).map((one) => `${one.name} ${one.images ?? ""}`.trim());
  const problems = found.problems.map((one) =>
    el("li", {}, el("span", { class: "name" }, one.message || one.code), el("span", { class: "took" }, String(one.count ?? ""))));
  return [
    el("h2", { class: "path" }, path),
    el("dl", { class: "tiles" }, tiles.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    splits.length ? el("p", { class: "quiet" }, `Splits: ${splits.join(", ")}`) : null,
    classes.length ? el("section", { class: "panel" }, el("h3", {}, "Classes"), el("ul", { class: "amounts" }, classes),
      found.classes_left_out ? el("p", { class: "quiet" }, `and ${found.classes_left_out} more`) : null) : null,
    problems.length ? el("section", { class: "panel" }, el("h3", {}, "Problems"), el("ul", { class: "files" }, problems)) : null,
  ];
}

async function tellRefusal(content, path, ...before) {
  try {
    await ask(path);
  } catch (error) {
    fill(content, before, errorBox(error));
  }
}

function tellError(place, error) {
  // One that is gone is told at the top of the page.
  if (error.status) fill(place, errorBox(error));
}

function errorBox(error) {
  return el("div", { class: "failure", role: "alert" }, el("p", { class: "what" }, error.message),
    error.hint ? el("p", { class: "hint" }, error.hint) : null);
}

/** Make a list anew, and give the focus back to the run that had it. */
function keepFocus(list, make) {
  const run = list.contains(document.activeElement) ? document.activeElement.dataset.run : null;
  make();
  if (run) list.querySelector(`[data-run="${CSS.escape(run)}"]`)?.focus({ preventScroll: true });
}
