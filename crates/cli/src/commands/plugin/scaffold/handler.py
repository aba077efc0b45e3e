#!/usr/bin/env python3
"""Serves the tools of NAME: one JSON message a line on standard input and output (MCP)."""

import json
import sys


def greet(arguments):
    return f"Hello, {arguments['who']}!"


TOOLS = {
    "NAME_greet": (
        greet,
        {
            "description": "Greets somebody by name.",
            "inputSchema": {
                "type": "object",
                "additionalProperties": False,
                "required": ["who"],
                "properties": {"who": {"type": "string"}},
            },
        },
    ),
}


def call(params):
    try:
        text, failed = TOOLS[params["name"]][0](params.get("arguments", {})), False
    except Exception as error:  # What fails is told to the agent, not to the log alone.
        text, failed = str(error), True
    return {"content": [{"type": "text", "text": text}], "isError": failed}


def answer(method, params):
    if method == "initialize":
        return {
            "protocolVersion": params.get("protocolVersion", "2025-06-18"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "NAME", "version": "0.1.0"},
        }
    if method == "tools/list":
        return {"tools": [{"name": name, **about} for name, (_, about) in TOOLS.items()]}
    if method == "tools/call":
        return call(params)
    return {} if method == "ping" else None


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    result = answer(message["method"], message.get("params") or {})
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    if result is None:
        reply["error"] = {"code": -32601, "message": "no such method"}
    else:
        reply["result"] = result
    print(json.dumps(reply), flush=True)
