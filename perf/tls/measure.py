#!/usr/bin/env python3
"""Fan-out to streams over TLS, each server in turn: memory of an idle stream, and the server's
processor time for each message that was delivered. Prints one line a server and round. `seal` is
ahm with sealed sessions.

usage: measure.py AHM NGINX_CONF ROUNDS STREAMS SECONDS

AHM is the program, NGINX_CONF the configuration with nchan that scripts/compare uses. Runs on
loopback, ends by itself and ends what it started.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import selectors
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
PAYLOAD = b"EURUSD 1.09214 1.09217 " + b"x" * 41
RATE = 100
# Which servers, and whether over TLS.
KINDS = (("ahm", 0), ("nchan", 0), ("seal", 0), ("ahm", 1), ("nchan", 1), ("seal", 1))


def of_process(pid):
    """Seconds of processor time and bytes of memory of a process and its children."""
    pids = [pid]
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    pids += [int(child) for child in children.stdout.split()]
    seconds, memory = 0.0, 0
    for one in pids:
        with open(f"/proc/{one}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        seconds += (int(fields[11]) + int(fields[12])) / TICK
        with open(f"/proc/{one}/status") as file:
            memory += next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) * 1024
    return seconds, memory


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """One of the servers that are measured."""

    def __init__(self, kind, secure, work, ahm, conf):
        self.kind, self.secure = kind, secure
        # A sealed line does not show what it says; heartbeats are fewer than any other.
        self.mark = b"<p q=" if kind == "seal" else b"EURUSD 1.09"
        port, self.private = free_port(), free_port()
        self.port = port
        cert, key = f"{work}/cert.pem", f"{work}/key.pem"
        if kind != "nchan":
            listen = f"127.0.0.1:{port}" + (":tls" if secure else "")
            args = [ahm, "serve", "--listen", listen, "--private", f"127.0.0.1:{self.private}"]
            args += ["--shards", "1", "--resource", "fx:feed", "--set", "registry.listen=off"]
            args += ["--set", f"tls.certificates={cert} {key}"]
            args += ["--set", "protocol.seal_without_tls=true"]
            args += ["--set", "limits.logins=0"]
        else:
            words = {"PORT": port, "WORK": work, "WORKERS": 1, "FILES": 20000, "BUFFER": 100}
            words["CONNECTIONS"] = 19000
            text = open(conf).read()
            for word, value in words.items():
                text = text.replace(f"@{word}@", str(value))
            own = f"listen 127.0.0.1:{self.private};"
            if secure:
                text = text.replace(" backlog=4096;", " ssl backlog=4096;")
                own += f" ssl_certificate {cert}; ssl_certificate_key {key};"
            path = f"{work}/nginx-{port}.conf"
            with open(path, "w") as file:
                file.write(text.replace("server {", "server {" + own, 1))
            args = ["nginx", "-p", work, "-c", path]
        self.logins = None
        self.log = open(f"{work}/log", "a")
        self.process = subprocess.Popen(args, stdout=self.log, stderr=self.log)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                # pause: until it listens
                time.sleep(0.05)
        raise SystemExit(f"{kind} does not listen")

    def request(self):
        if self.kind == "seal":
            target, more = self.sealed_target(), ""
        elif self.kind == "ahm":
            target, more = "/ahm/mux.html?open=fx/EURUSD", ""
        else:
            # Without that field it gives one message and ends.
            target, more = "/sub/EURUSD", "TE: chunked\r\n"
        return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()

    def sealed_target(self):
        """A new session, and the request for its document, which proves itself."""
        if self.logins is None:
            if self.secure:
                context = unverified()
                self.logins = http.client.HTTPSConnection("127.0.0.1", self.port, context=context)
            else:
                self.logins = http.client.HTTPConnection("127.0.0.1", self.port)
        self.logins.request("GET", "/ahm/login?seal=aes-256-gcm")
        made = json.loads(self.logins.getresponse().read())
        # RFC 5869 with an empty salt, one block.
        secret = base64.urlsafe_b64decode(made["secret"] + "=")
        extracted = hmac.digest(bytes(32), secret, "sha256")
        info = f"ahm seal 1 aes-256-gcm command {made['mid']}".encode()
        key = hmac.digest(extracted, info + b"\x01", "sha256")
        target = f"mux.html?open=fx/EURUSD&scs={made['scs']}&mid={made['mid']}&q=1"
        covered = f"GET\n{target}\n".encode() + hashlib.sha256(b"").digest()
        code = base64.urlsafe_b64encode(hmac.digest(key, covered, "sha256")).decode().rstrip("=")
        return f"/ahm/{target}&mac={code}"

    def publish(self, link):
        path = "/pub/EURUSD" if self.kind == "nchan" else "/publish/fx/EURUSD"
        link.request("POST", path, PAYLOAD, {"Host": "localhost"})
        link.getresponse().read()

    def publisher(self):
        return http.client.HTTPConnection("127.0.0.1", self.private)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def unverified():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def connect(server, count):
    context = unverified()
    streams = []
    for _ in range(count):
        link = socket.create_connection(("127.0.0.1", server.port))
        if server.secure:
            link = context.wrap_socket(link)
        link.sendall(server.request())
        link.setblocking(False)
        streams.append(link)
    return streams


def drain(selector, mark, until, wanted=None):
    """Reads whatever comes until that moment, or until so many messages have."""
    seen = 0
    while time.monotonic() < until and (wanted is None or seen < wanted):
        for key, _ in selector.select(0.02):
            while True:
                try:
                    data = key.fileobj.recv(65536)
                except (BlockingIOError, ssl.SSLWantReadError):
                    break
                if not data:
                    raise SystemExit("a stream has ended")
                seen += data.count(mark)
    return seen


def measure(server, count, seconds):
    _, before = of_process(server.process.pid)
    streams = connect(server, count)
    selector = selectors.DefaultSelector()
    for link in streams:
        selector.register(link, selectors.EVENT_READ)
    drain(selector, server.mark, time.monotonic() + 1.0)
    started, idle = of_process(server.process.pid)
    link, sent, seen = server.publisher(), 0, 0
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        server.publish(link)
        sent += 1
        seen += drain(selector, server.mark, began + sent / RATE)
    seen += drain(selector, server.mark, time.monotonic() + 10, sent * count - seen)
    ended, _ = of_process(server.process.pid)
    for one in streams:
        one.close()
    return (idle - before) / count, (ended - started) / max(seen, 1) * 1e6, seen, sent * count


def main():
    ahm, conf = sys.argv[1], sys.argv[2]
    rounds, count, seconds = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
    work = tempfile.mkdtemp()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-keyout", f"{work}/key.pem", "-out", f"{work}/cert.pem", "-days", "30"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True,
        capture_output=True,
    )
    for path in ("cert.pem", "key.pem"):
        os.chmod(f"{work}/{path}", 0o644)
    os.chmod(work, 0o755)
    try:
        for number in range(rounds):
            for kind, secure in KINDS:
                server = Server(kind, secure, work, ahm, conf)
                try:
                    memory, micros, seen, wanted = measure(server, count, seconds)
                finally:
                    server.stop()
                transport = "tls" if secure else "plain"
                print(
                    f"round {number + 1}: {kind:5} {transport:5} {memory:8.0f} bytes a stream, "
                    f"{micros:6.2f} us a delivery, {seen} of {wanted} delivered",
                    flush=True,
                )
    finally:
        shutil.rmtree(work)


main()
