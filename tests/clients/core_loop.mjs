// The core loop as a TypeScript client goes through it. Prints one JSON object.
// node core_loop.mjs v1|v2|v2-modern CALLS http URL
// node core_loop.mjs v1|v2|v2-modern CALLS stdio COMMAND ARGUMENT...
const [which, calls, kind, target, ...args] = process.argv.slice(2);

const about = { name: `tests-${which}`, version: "1" };
const command = { command: target, args, env: process.env, stderr: "inherit" };
let client, transport;
if (which === "v1") {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { StdioClientTransport } = await import("@modelcontextprotocol/sdk/client/stdio.js");
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  client = new Client(about);
  transport = kind === "http" ? new StreamableHTTPClientTransport(new URL(target)) : new StdioClientTransport(command);
} else {
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
  const modern = { versionNegotiation: { mode: { pin: "2026-07-28" } } };
  client = new Client(about, which === "v2-modern" ? modern : {});
  transport = kind === "http" ? new StreamableHTTPClientTransport(new URL(target)) : new StdioClientTransport(command);
}

const call = async (name, params, options) => {
  const request = { name, arguments: params };
  const reply = which === "v1" ? await client.callTool(request, undefined, options) : await client.callTool(request, options);
  if (reply.isError) throw new Error(`${name}: ${reply.content[0].text}`);
  return reply;
};

await client.connect(transport);
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const described = (await call("describe_plugin", { plugin: "hello", action: "greet" })).structuredContent;
const runs = [];
for (let index = 0; index < Number(calls); index++) {
  const progress = [];
  let isAnswered = false, late = 0;
  const onprogress = (told) => { progress.push([told.progress, told.message]); if (isAnswered) late++; };
  const params = { plugin: "hello", action: "greet", params: { name: "Ada", repeat: 5 + index, sleep_seconds: 0.03 } };
  const run = (await call("run_action", params, { onprogress })).structuredContent;
  isAnswered = true;
  runs.push({ run, progress, late });
}
const run_id = runs[0].run.run_id;
const again = (await call("get_run", { run_id })).structuredContent;
const log = (await call("get_run_logs", { run_id })).content[0].text;
await client.close();
console.log(JSON.stringify({ tools, described, runs, again, log }));
