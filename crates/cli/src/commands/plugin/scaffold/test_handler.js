#!/usr/bin/env node
// Speaks with the handler as Lazaret does.
"use strict";

const assert = require("node:assert");
const path = require("node:path");
const { spawnSync } = require("node:child_process");

const messages = [
  { jsonrpc: "2.0", id: 1, method: "initialize", params: { protocolVersion: "2025-06-18" } },
  { jsonrpc: "2.0", method: "notifications/initialized" },
  { jsonrpc: "2.0", id: 2, method: "tools/list" },
  { jsonrpc: "2.0", id: 3, method: "tools/call", params: { name: "NAME_greet", arguments: { who: "you" } } },
];
const input = messages.map((message) => JSON.stringify(message) + "\n").join("");
const done = spawnSync(process.execPath, [path.join(__dirname, "handler.js")], { input, encoding: "utf8", timeout: 20000 });
const replies = Object.fromEntries(done.stdout.trim().split("\n").map((line) => JSON.parse(line)).map((r) => [r.id, r.result]));
assert.deepStrictEqual(replies[2].tools.map((tool) => tool.name), ["NAME_greet"]);
assert.strictEqual(replies[3].content[0].text, "Hello, you!");
console.log("ok");
