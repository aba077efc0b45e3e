"""A small internet for the escape suite: one service that answers on every address, and a server of names.

`serve LOG` answers HTTP on ports 80, 8080 and 443 and notes each knock; `names LOG` answers questions on port 53.
Both end with their standard input.
"""

import json, os, socket, struct, sys, threading

LOG = open(sys.argv[2], "a", buffering=1)
lock = threading.Lock()


def note(**what):
    with lock:
        LOG.write(json.dumps(what) + "\n")


def answer(stream, port):
    at = stream.getsockname()[0].removeprefix("::ffff:")
    head = b""
    try:
        stream.settimeout(20)
        while b"\r\n\r\n" not in head and not head.startswith(b"\x16"):
            piece = stream.recv(65536)
            if not piece:
                break
            head += piece
        note(at=at, port=port, head=head.decode("latin-1"))
        more = ""
        if b" /redirect" in head.split(b"\r\n")[0]:
            more = "Location: http://evil.test/\r\nRefresh: 0; url=http://evil.test/\r\nAlt-Svc: h3=\"evil.test:443\"\r\n"
        if b"upgrade: websocket" in head.lower():
            stream.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            stream.sendall(head.split(b"\r\n\r\n", 1)[1] or stream.recv(65536))
            return
        body = "this is " + at
        status = "302 Found" if more else "200 OK"
        stream.sendall(f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
    except OSError as error:
        note(at=at, port=port, error=str(error))
    finally:
        stream.close()


def listen(port):
    s = socket.socket(socket.AF_INET6)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::", port))
    s.listen(64)
    while True:
        stream, _ = s.accept()
        threading.Thread(target=answer, args=(stream, port), daemon=True).start()


PUBLIC, EVIL, PRIVATE, OWN, META = "45.33.32.10", "45.33.32.11", "10.9.8.7", "45.33.32.1", "169.254.169.254"
NAMES = {
    "allowed.test": [PUBLIC], "other.test": [PUBLIC], "evil.test": [EVIL], "evilallowed.test": [EVIL],
    "allowed.test.evil.test": [EVIL], "inside.test": [PRIVATE], "loop.test": ["127.0.0.1"], "meta.test": [META],
    "mixed.test": [PUBLIC, PRIVATE], "own.test": [OWN], "alias.test": [PRIVATE],
}
SIX = {"six.test": ["fd00:ec2::254"], "mapped.test": ["::ffff:10.9.8.7"]}
asked = {}


def reply(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1"))
        at += 1 + query[at]
    kind = struct.unpack(">H", query[at + 1:at + 3])[0]
    question, name = query[12:at + 5], ".".join(labels).lower()
    note(name=name, kind=kind)
    found = []
    if kind == 1:
        if name == "turn.test":
            # Another answer each time: the first leads outside, the second inside.
            asked[name] = asked.get(name, 0) + 1
            found = [PUBLIC if asked[name] % 2 else "127.0.0.1"]
        else:
            found = NAMES.get(name, [])
    records = b""
    owner = b"\xc0\x0c"
    if name == "alias.test" and kind == 1:
        target = b"\x06inside\x04test\x00"
        records += owner + struct.pack(">HHIH", 5, 1, 0, len(target)) + target
        owner = target
    for address in found:
        records += owner + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
    for address in SIX.get(name, []) if kind == 28 else []:
        records += owner + struct.pack(">HHIH", 28, 1, 0, 16) + socket.inet_pton(socket.AF_INET6, address)
        found = [address]
    known = name == "turn.test" or name in NAMES or name in SIX
    count = len(found) + (1 if name == "alias.test" and kind == 1 else 0)
    return query[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, count, 0, 0) + question + records


def names():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 53))
    print("ready", flush=True)
    while True:
        query, who = s.recvfrom(4096)
        try:
            s.sendto(reply(query), who)
        except (IndexError, struct.error):
            pass


if sys.argv[1] == "names":
    threading.Thread(target=names, daemon=True).start()
else:
    for port in (80, 8080, 443):
        threading.Thread(target=listen, args=(port,), daemon=True).start()
    while True:
        try:
            for port in (80, 8080, 443):
                socket.create_connection(("127.0.0.1", port), 5).close()
            break
        except OSError:
            pass
    print("ready", flush=True)
sys.stdin.read()
