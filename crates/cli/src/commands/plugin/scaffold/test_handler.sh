#!/bin/sh
# Speaks with the handler as Lazaret does.
set -eu

answers=$(sh "$(dirname "$0")/handler.sh" <<'MESSAGES'
{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
{"jsonrpc":"2.0","id":2,"method":"tools/list"}
{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"NAME_greet","arguments":{"who":"you"}}}
MESSAGES
)
case $answers in
*'"name":"NAME_greet"'*'Hello, you!'*) echo ok ;;
*) echo "$answers"; exit 1 ;;
esac
