"""An issuer of logins for tests: signs with keys of its own, turns them over, and lies when it is told to.

Speaks OpenID Connect's authorization code flow with PKCE. What it does next is set with POST /test.
"""

import base64
import hashlib
import http.server
import json
import sys
import time
import urllib.parse

# The curve P-256, in whole numbers: this is no secret's keeper, so it need not be fast or even.
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    if a == b:
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P) % P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(k, point):
    out = None
    while k:
        if k & 1:
            out = add(out, point)
        point = add(point, point)
        k >>= 1
    return out


def number(*parts):
    digest = hashlib.sha512("|".join(str(p) for p in parts).encode()).digest()
    return int.from_bytes(digest, "big") % (N - 1) + 1


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    def __init__(self, n):
        self.kid = f"key-{n}"
        self.secret = number("secret", n, time.time())
        self.point = times(self.secret, G)

    def public(self):
        x, y = (b64(v.to_bytes(32, "big")) for v in self.point)
        return {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid, "x": x, "y": y}

    def sign(self, text):
        e = int.from_bytes(hashlib.sha256(text).digest(), "big")
        k = number("nonce", self.secret, text)
        r = times(k, G)[0] % N
        s = pow(k, -1, N) * (e + r * self.secret) % N
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


STATE = {"keys": [Key(1)], "codes": {}, "claims": {}, "lie": None, "made": 1}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def here(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        asked = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
        if url.path == "/.well-known/openid-configuration":
            issuer = "http://127.0.0.1:1" if STATE["lie"] == "name" else self.here()
            doors = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
            self.answer(200, {"issuer": issuer, **{name: self.here() + path for name, path in doors.items()}})
        elif url.path == "/keys":
            self.answer(200, {"keys": [key.public() for key in STATE["keys"]]})
        elif url.path == "/authorize":
            if asked.get("code_challenge_method") != "S256" or asked.get("response_type") != "code":
                return self.answer(400, {"error": "invalid_request"})
            code = f"code-{len(STATE['codes']) + 1}"
            STATE["codes"][code] = asked
            told = {"code": code, "state": asked["state"], "redirect_uri": asked["redirect_uri"]}
            if "text/html" not in self.headers.get("accept", ""):
                return self.answer(200, told)
            # A browser is sent back, as by an issuer that knows who sits before it.
            back = urllib.parse.urlencode({"code": code, "state": asked["state"]})
            self.send_response(302)
            self.send_header("location", f"{asked['redirect_uri']}?{back}")
            self.send_header("content-length", "0")
            self.end_headers()
        else:
            self.answer(404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
        if self.path == "/test":
            told = json.loads(body)
            STATE.update({k: v for k, v in told.items() if k in ("claims", "lie")})
            if told.get("turn_keys"):
                STATE["made"] += 1
                STATE["keys"] = [Key(STATE["made"])]
            return self.answer(200, {})
        form = {k: v[0] for k, v in urllib.parse.parse_qs(body).items()}
        basic = base64.b64encode(b"lazaret:the-issuers-secret").decode()
        asked = STATE["codes"].pop(form.get("code", ""), None)
        proof = b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if self.headers.get("authorization") != f"Basic {basic}":
            return self.answer(401, {"error": "invalid_client"})
        if not asked or proof != asked["code_challenge"] or form.get("redirect_uri") != asked["redirect_uri"]:
            return self.answer(400, {"error": "invalid_grant"})
        self.answer(200, {"access_token": "unused", "token_type": "Bearer", "id_token": self.token(asked)})

    def token(self, asked):
        now = int(time.time())
        claims = {"iss": self.here(), "sub": "u-1", "aud": "lazaret", "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims.update(STATE["claims"])
        lie = STATE["lie"]
        if lie == "nonce":
            claims["nonce"] = "another"
        elif lie == "audience":
            claims["aud"] = "another"
        elif lie == "old":
            claims["exp"] = now - 3600
        head = {"alg": "none" if lie == "none" else "ES256", "kid": STATE["keys"][0].kid}
        signed = ".".join(b64(json.dumps(part).encode()) for part in (head, claims))
        key = Key(0) if lie == "key" else STATE["keys"][0]
        return f"{signed}.{'' if lie == 'none' else b64(key.sign(signed.encode()))}"


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    sys.exit(0)
