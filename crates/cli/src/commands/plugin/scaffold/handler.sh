#!/bin/sh
# Serves the tools of NAME: one JSON message a line on standard input and output (MCP). A shell has no JSON of its own: this
# handler reads only what it needs, from messages in the form that Lazaret writes. For more than a toy take another language.
set -u

tool='{"name":"NAME_greet","description":"Greets somebody by name.","inputSchema":{"type":"object","additionalProperties":false,"required":["who"],"properties":{"who":{"type":"string"}}}}'

# The value of the text field $1 in the message $2, still escaped as JSON.
field() {
    printf '%s\n' "$2" | sed -n 's/.*"'"$1"'" *: *"\(\([^"\\]\|\\.\)*\)".*/\1/p'
}

while IFS= read -r line; do
    id=$(printf '%s\n' "$line" | sed -n 's/.*"id" *: *\([0-9][0-9]*\).*/\1/p')
    [ -n "$id" ] || continue
    case $(field method "$line") in
    initialize)
        version=$(field protocolVersion "$line")
        body='"result":{"protocolVersion":"'"${version:-2025-06-18}"'","capabilities":{"tools":{}},"serverInfo":{"name":"NAME","version":"0.1.0"}}'
        ;;
    tools/list) body='"result":{"tools":['"$tool"']}' ;;
    tools/call) body='"result":{"content":[{"type":"text","text":"Hello, '"$(field who "$line")"'!"}]}' ;;
    ping) body='"result":{}' ;;
    *) body='"error":{"code":-32601,"message":"no such method"}' ;;
    esac
    printf '{"jsonrpc":"2.0","id":%s,%s}\n' "$id" "$body"
done
