"""The login script of a web site: it knows its users, and asks the server for their sessions.

usage: login.py SOCKET PRIVATE

Serves HTTP on the Unix socket SOCKET, for nginx, and says so in a line; PRIVATE is the server's
private listener, a Unix socket too.
"""

import http.client
import json
import socket
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

USERS = {"anna": "secret"}


class Private(http.client.HTTPConnection):
    """The private listener."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[2])


class Script(BaseHTTPRequestHandler):
    def log_message(self, *_):
        # A test says what it has to say itself.
        pass

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        asked = json.loads(self.rfile.read(length))
        status, answer = 403, {"ok": False}
        if USERS.get(asked["user"]) == asked["password"]:
            link = Private("localhost")
            wish = {"user": asked["user"], "groups": ["traders"], "expires": 3600}
            if "seal" in asked:
                wish["seal"] = asked["seal"]
            link.request("POST", "/control/session", json.dumps(wish))
            made = link.getresponse()
            status, answer = made.status, json.loads(made.read())
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = socketserver.ThreadingUnixStreamServer(sys.argv[1], Script)
print("listening", flush=True)
server.serve_forever()
