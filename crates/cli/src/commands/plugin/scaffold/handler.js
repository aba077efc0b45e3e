#!/usr/bin/env node
// Serves the tools of NAME: one JSON message a line on standard input and output (MCP).
"use strict";

const tools = {
  NAME_greet: {
    run: ({ who }) => `Hello, ${who}!`,
    about: {
      description: "Greets somebody by name.",
      inputSchema: {
        type: "object",
        additionalProperties: false,
        required: ["who"],
        properties: { who: { type: "string" } },
      },
    },
  },
};

async function call({ name, arguments: args = {} }) {
  try {
    return { content: [{ type: "text", text: String(await tools[name].run(args)) }] };
  } catch (error) {
    // What fails is told to the agent, not to the log alone.
    return { content: [{ type: "text", text: String(error.message ?? error) }], isError: true };
  }
}

async function answer(method, params) {
  switch (method) {
    case "initialize":
      return {
        protocolVersion: params.protocolVersion ?? "2025-06-18",
        capabilities: { tools: {} },
        serverInfo: { name: "NAME", version: "0.1.0" },
      };
    case "tools/list":
      return { tools: Object.entries(tools).map(([name, { about }]) => ({ name, ...about })) };
    case "tools/call":
      return call(params);
    case "ping":
      return {};
    default:
      return undefined;
  }
}

require("node:readline").createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined || method === undefined) return;
  const result = await answer(method, params ?? {});
  const rest = result === undefined ? { error: { code: -32601, message: "no such method" } } : { result };
  process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, ...rest }) + "\n");
});
