"""A mail server on free ports of loopback: IMAP (pymap) and SMTP (aiosmtpd) over one mailbox.

Takes a certificate, a key and a file, and prints a line of JSON with its ports. Every mail that was sent is a line of the file before
its sender hears that it was.
"""
import asyncio
import imaplib
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult
from proxyprotocol.reader import ProxyProtocolReader
from pymap.imap import IMAPServer, IMAPService
from pymap.main import main

# Both libraries warn of what is meant here: passwords without TLS, on loopback.
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
USER, SECRET, ADDRESS = "owner", "harbour secret", "owner@mail.test"
CERT, KEY = sys.argv[1], sys.argv[2]
SENT = open(sys.argv[3], "w")


def keep(mail):
    SENT.write(json.dumps(mail) + "\n")
    SENT.flush()


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(CERT, KEY)
    return made


class Deliver:
    def __init__(self, port):
        self.port = port

    def append(self, data):
        box = imaplib.IMAP4("127.0.0.1", self.port)
        box.login(USER, SECRET)
        box.append("INBOX", None, None, data)
        box.logout()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 no such person here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if ADDRESS in envelope.rcpt_tos:
            await asyncio.get_running_loop().run_in_executor(None, self.append, envelope.content)
        keep({"from": envelope.mail_from, "to": envelope.rcpt_tos, "data": envelope.content.decode("utf-8", "replace")})
        return "250 OK"


def allow(server, session, envelope, mechanism, data):
    right = data.login == USER.encode() and data.password == SECRET.encode()
    # Not handled: the library then says the no itself.
    return AuthResult(success=right, handled=False)


async def start(self, stack):
    loop = asyncio.get_running_loop()
    reader = ProxyProtocolReader(self.config.proxy_protocol)
    callback = reader.get_callback(IMAPServer(self.backend.login, self.config))
    ports = {}

    async def serve(name, server):
        await stack.enter_async_context(server)
        ports[name] = server.sockets[0].getsockname()[1]

    await serve("imap", await asyncio.start_server(callback, host="127.0.0.1", port=0))
    await serve("imaps", await asyncio.start_server(callback, host="127.0.0.1", port=0, ssl=context()))
    handler = Deliver(ports["imap"])

    def smtp(tls=None):
        options = {"authenticator": allow, "auth_required": True, "auth_require_tls": tls is not None, "tls_context": tls}
        return lambda: SMTP(handler, hostname="mail.test", require_starttls=tls is not None, loop=loop, **options)

    await serve("smtp", await loop.create_server(smtp(), "127.0.0.1", 0))
    await serve("smtps", await loop.create_server(smtp(), "127.0.0.1", 0, ssl=context()))
    await serve("submission", await loop.create_server(smtp(context()), "127.0.0.1", 0))
    print(json.dumps(ports), flush=True)


IMAPService.start = start
sys.argv = ["pymap", "--cert", CERT, "--key", KEY, "dict", "--demo-user", USER, "--demo-password", SECRET]
main()
