// The view of a run inside of a chat: what a tool answered, shown as it goes on. It speaks with its host only.

import { el, fill } from "./dom.js";
import { RunView } from "./run_view.js";

const PROTOCOL = "2026-01-26";
const CHARTS = "synapse://runs/{run_id}/charts";
// A run that goes on is waited for in one call, which answers early when it ends.
const WAIT_SECONDS = 2;

const host = window.parent;
const answers = new Map();
let lastId = 0;
let abilities = {};
let followed = null;
const view = new RunView({ heading: "h2" });
const content = document.getElementById("content");

function send(message) {
  host.postMessage({ jsonrpc: "2.0", ...message }, "*");
}

function request(method, params) {
  lastId += 1;
  const id = lastId;
  return new Promise((resolve, reject) => {
    answers.set(id, { resolve, reject });
    send({ id, method, params });
  });
}

addEventListener("message", (event) => {
  const message = event.data;
  if (event.source !== host || message?.jsonrpc !== "2.0") return;
  if (message.method === undefined) {
    const waiting = answers.get(message.id);
    answers.delete(message.id);
    if (message.error) waiting?.reject(new Error(message.error.message));
    else waiting?.resolve(message.result);
  } else if (message.method === "ui/notifications/tool-result") showAnswer(message.params);
  else if (message.method === "ui/notifications/host-context-changed") dress(message.params);
  else if (message.method === "ui/resource-teardown") {
    followed = null;
    send({ id: message.id, result: {} });
  } else if (message.id !== undefined) {
    send({ id: message.id, error: { code: -32601, message: "There is no such method here." } });
  }
});

function dress(context) {
  if (context?.theme) document.documentElement.dataset.theme = context.theme;
}

/** Show what a tool answered: the run itself, or the one inside of a failed call. */
function showAnswer(answer) {
  const told = answer?.structuredContent;
  const run = told?.run_id && told.state ? told : told?.run;
  if (!run?.run_id) {
    const words = answer?.content?.find((part) => part.type === "text")?.text;
    return void fill(content, el("pre", { class: "empty" }, words || "The tool told of no run."));
  }
  const isFirst = followed !== run.run_id;
  followed = run.run_id;
  show(run);
  if (isFirst) goOn(run);
}

function show(run) {
  if (!view.root.isConnected) fill(content, view.root);
  view.show({ run, actions: run.actions || [] });
}

/** Ask on until the run has ended, as far as the host lets its pages ask. */
async function goOn(run) {
  let now = run;
  const { run_id: runId } = run;
  try {
    await drawCharts(runId);
    while (!now.done && followed === runId && abilities.serverTools) {
      const answer = await request("tools/call", {
        name: "get_run",
        arguments: { run_id: runId, wait_seconds: WAIT_SECONDS },
      });
      if (!answer?.structuredContent?.run_id) return;
      now = answer.structuredContent;
      show(now);
      await drawCharts(runId);
    }
  } catch {
    // The host lets it ask no more: what is shown is what it was last told.
  }
}

async function drawCharts(runId) {
  if (!abilities.serverResources) return view.showCharts([]);
  const uri = CHARTS.replace("{run_id}", runId);
  const { contents } = await request("resources/read", { uri });
  return view.showCharts(JSON.parse(contents[0].text));
}

request("ui/initialize", {
  protocolVersion: PROTOCOL,
  appInfo: { name: "synapse-run", version: "1" },
  appCapabilities: {},
}).then((told) => {
  abilities = told?.hostCapabilities || {};
  dress(told?.hostContext);
  send({ method: "ui/notifications/initialized", params: {} });
  new ResizeObserver(() => {
    const { width, height } = document.documentElement.getBoundingClientRect();
    send({ method: "ui/notifications/size-changed", params: { width: Math.ceil(width), height: Math.ceil(height) } });
  }).observe(document.documentElement);
});
