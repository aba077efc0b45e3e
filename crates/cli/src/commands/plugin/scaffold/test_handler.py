#!/usr/bin/env python3
"""Speaks with the handler as Lazaret does."""

import json
import pathlib
import subprocess
import sys

handler = pathlib.Path(__file__).with_name("handler.py")
messages = [
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "NAME_greet", "arguments": {"who": "you"}}},
]
lines = "".join(json.dumps(message) + "\n" for message in messages)
done = subprocess.run([sys.executable, handler], input=lines, capture_output=True, text=True, timeout=20, check=True)
replies = {reply["id"]: reply["result"] for reply in map(json.loads, done.stdout.splitlines())}
assert [tool["name"] for tool in replies[2]["tools"]] == ["NAME_greet"], replies
assert replies[3]["content"][0]["text"] == "Hello, you!", replies
print("ok")
