#!/usr/bin/env python3
"""A channel of the network `lab`: it speaks the channel protocol here and JSON lines with the lab's server, through the proxy."""
import base64, json, os, socket, sys, threading, urllib.parse

ABOUT = {
    "network": "lab", "description": "A network for tests.", "hosts": [], "webhooks": True,
    "credentials": [{"key": "token", "description": "what the lab wants to see", "required": True}],
}
if sys.argv[1] == "about":
    print(json.dumps(ABOUT))
    sys.exit(0)

lock = threading.Lock()
def say(message):
    with lock:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

def report(event, cursor=None, hook=None):
    """Reports are numbered in the order in which they are written, whoever hears them."""
    global seq
    with lock:
        seq += 1
        if hook:
            hooks[seq] = hook
        sys.stdout.write(json.dumps({"type": "report", "seq": seq, "cursor": cursor, "event": event}) + "\n")
        sys.stdout.flush()

start = json.loads(sys.stdin.readline())
config = start["config"]
token = open(os.path.join(os.environ["LAZARET_CREDENTIALS"], "token")).read()
url = urllib.parse.urlparse(config["base_url"])
proxy = urllib.parse.urlparse(os.environ["HTTPS_PROXY"])
link = socket.create_connection((proxy.hostname, proxy.port), 30)
link.settimeout(None)
link.sendall(("CONNECT %s:%d HTTP/1.1\r\nhost: %s:%d\r\n\r\n" % (url.hostname, url.port, url.hostname, url.port)).encode())
head = b""
while not head.endswith(b"\r\n\r\n"):
    byte = link.recv(1)
    if not byte:
        sys.exit("the proxy hung up: %r" % head)
    head += byte
if b" 200 " not in head.split(b"\r\n")[0] + b" ":
    sys.exit("refused: %r" % head)
lines = link.makefile("r", encoding="utf-8", newline="\n")
def put(message):
    with lock:
        link.sendall((json.dumps(message) + "\n").encode())

put({"hello": start.get("cursor") or "0", "token": token})
seq = 0
hooks = {}

def server():
    # Whatever goes wrong here ends the program: one that lives on and reports nothing would only be waited for.
    try:
        listen()
    finally:
        os._exit(1)

def listen():
    for line in lines:
        m = json.loads(line)
        if "heard" in m:
            report(m["heard"], m.get("cursor"))
        elif "welcome" in m:
            say({"type": "ready", "v": 1, "me": {"id": "lab-bot", "name": "Andy", "bot": True}, "abilities": m["welcome"]})
        elif "refused" in m:
            say({"type": "health", "state": "credential", "message": m["refused"]})
        elif "sent" in m:
            say({"type": "delivered", "id": m["sent"], "messages": m["messages"], "again": m.get("again", False)})
        elif "failed" in m:
            say({"type": "failed", "id": m["failed"], "why": m["why"], "message": m.get("message", "the lab said no"), "after_ms": m.get("after_ms")})
        elif "dm" in m:
            say({"type": "dm", "id": m["dm"], "chat": m.get("chat"), "error": m.get("error")})
        elif "raw" in m:
            with lock:
                sys.stdout.write(m["raw"] + "\n")
                sys.stdout.flush()

threading.Thread(target=server, daemon=True).start()

pieces = {}
for line in sys.stdin:
    m = json.loads(line)
    kind = m["type"]
    if kind == "deliver":
        for file in m["act"].get("files", []):
            file["data"] = base64.b64encode(b"".join(pieces.pop(file["id"], []))).decode()
        put({"send": m["id"], "attempt": m["attempt"], "to": m["to"], "act": m["act"]})
    elif kind == "piece":
        pieces.setdefault(m["id"], []).append(base64.b64decode(m["data"]))
    elif kind == "ack":
        put({"acked": m["seq"]})
        for n in [n for n in hooks if n <= m["seq"]]:
            say({"type": "webhook_answer", "id": hooks.pop(n), "status": 200, "headers": [["content-type", "text/html"]], "body": base64.b64encode(b"<b>ok</b>").decode()})
    elif kind == "webhook":
        # The platform's signature is the token itself.
        if dict(m["headers"]).get("x-lab-signature") != token:
            say({"type": "webhook_answer", "id": m["id"], "status": 401, "body": ""})
            continue
        report(json.loads(base64.b64decode(m["body"])), hook=m["id"])
    elif kind == "fetch":
        if m["id"] == "endless":
            data = b"x" * 1000
            n = 0
            while n <= m["max"]:
                chunk = b"x" * (200 << 10)
                n += len(chunk)
                say({"type": "piece", "id": m["id"], "data": base64.b64encode(chunk).decode(), "last": False})
        elif m["id"] == "gone":
            say({"type": "no_file", "id": m["id"], "message": "it expired"})
        else:
            say({"type": "piece", "id": m["id"], "data": base64.b64encode(("file " + m["id"]).encode()).decode(), "last": True})
    elif kind == "open_dm":
        put({"open": m["id"], "handle": m["handle"]})
    elif kind == "typing":
        put({"typing": m["on"], "to": m["to"]})
    elif kind == "stop":
        break
