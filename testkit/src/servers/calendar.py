"""A calendar server (Radicale) on a free port of loopback, with one account and two calendars.

Takes a directory for its files and prints a line of JSON with its port.
"""
import http.client
import json
import socketserver
import sys
import threading
from base64 import b64encode
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from radicale.app import Application
from radicale.config import load

folder = sys.argv[1]
with open(folder + "/users", "w") as users:
    users.write("owner@mail.test:harbour secret\n")
configuration = load()
configuration.update(
    {
        "storage": {"filesystem_folder": folder + "/collections"},
        "auth": {"type": "htpasswd", "htpasswd_filename": folder + "/users", "htpasswd_encryption": "plain", "delay": "0"},
        "logging": {"level": "critical"},
    }
)


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


server = make_server("127.0.0.1", 0, Application(configuration), Server, Quiet)
port = server.server_address[1]
thread = threading.Thread(target=server.serve_forever)
thread.start()
authorization = {"Authorization": "Basic " + b64encode(b"owner@mail.test:harbour secret").decode(), "Content-Type": "application/xml"}
for slug, name in [("harbour", "Harbour"), ("tides", "Tides & ebbs")]:
    body = (
        '<?xml version="1.0"?><c:mkcalendar xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:set><d:prop>'
        "<d:displayname>" + name.replace("&", "&amp;") + "</d:displayname></d:prop></d:set></c:mkcalendar>"
    )
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("MKCALENDAR", "/owner@mail.test/" + slug + "/", body, authorization)
    status = connection.getresponse().status
    if status != 201:
        sys.exit("MKCALENDAR answered %d" % status)
print(json.dumps({"port": port}), flush=True)
thread.join()
