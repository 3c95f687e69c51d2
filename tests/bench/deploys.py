"""Deploys, certificate swaps and reloads of the settings under load, on a whole node: what fails of it.  Called by bench.py.

The load: 64 kept connections, downloads that take seconds, WebSockets with an echo every 50 ms, kept connections over TLS,
and a new TLS handshake each.  An old instance is given `health.drain` to finish, so what lasts less may not be cut."""
import json, os, signal, socket, ssl, subprocess, threading, time
from harness import *

HERE = os.path.dirname(os.path.abspath(__file__))
DOWNLOAD, SLICE, SLICE_S, SOCKET_S = 24 << 20, 256 << 10, 0.04, 4.0
DEPLOYS, SWAPS, RELOADS = 100, 20, 20


def ends(folder):
    """The app server of the proxy bench, static: what an app's files hold."""
    out = os.path.join(folder, "ends")
    subprocess.run(["musl-gcc", "-static", "-O2", "-D_GNU_SOURCE", "-o", out, os.path.join(HERE, "proxy", "ends.c")], check=True)
    with open(out, "rb") as f:
        return f.read()


class Side:
    """One thread that repeats what(); counts and keeps what went wrong."""

    def __init__(self, name, what):
        self.name, self.what, self.done, self.count, self.failures = name, what, False, 0, []
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def loop(self):
        while not self.done:
            try:
                self.what(self)
                self.count += 1
            except Exception as ex:
                self.failures.append(f"{self.name} at {time.monotonic():.1f}: {ex!r}")
                time.sleep(0.05)

    def join(self):
        self.done = True
        self.thread.join(60)


def head(s):
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(65536)
        if not more:
            raise EOFError(f"end in the head after {data[:80]!r}")
        data += more
    top, rest = data.split(b"\r\n\r\n", 1)
    return top.decode("latin-1"), rest


def download(node, host):
    def go(_side):
        with socket.create_connection(("127.0.0.1", node.port), 20) as s:
            s.sendall(f"GET /size/{DOWNLOAD} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            top, rest = head(s)
            check(" 200 " in top, top)
            got = len(rest)
            while got < DOWNLOAD:
                more = s.recv(SLICE)
                check(more, f"cut after {got} bytes")
                got += len(more)
                time.sleep(SLICE_S * len(more) / SLICE)
            equal(got, DOWNLOAD, "bytes")
    return go


def websocket(node, host):
    def go(side):
        with socket.create_connection(("127.0.0.1", node.port), 20) as s:
            s.sendall(f"GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n".encode())
            top, got = head(s)
            check(" 101 " in top, top)
            end = time.monotonic() + SOCKET_S
            n = 0
            while time.monotonic() < end and not side.done:
                n += 1
                text = b"%012d" % n
                s.sendall(text)
                while len(got) < len(text):
                    more = s.recv(4096)
                    check(more, f"cut after {n} echoes")
                    got += more
                equal(got, text, "echo")
                got = b""
                time.sleep(0.05)
    return go


def secure(node, host, kept):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    at = [None]

    def go(_side):
        s = at[0] or context.wrap_socket(socket.create_connection(("127.0.0.1", node.https_port), 20), server_hostname=host)
        at[0] = None
        s.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n{'' if kept else 'Connection: close' + chr(13) + chr(10)}\r\n".encode())
        top, rest = head(s)
        check(" 200 " in top, top)
        length = int(re.search(r"(?i)content-length: (\d+)", top).group(1))
        while len(rest) < length:
            more = s.recv(65536)
            check(more, "cut")
            rest += more
        if kept and "connection: close" not in top.lower():
            at[0] = s
        else:
            s.close()
        time.sleep(0.01)
    return go


def certificate(node, name, host):
    at = os.path.join(node.dir, name)
    r = run("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", at + ".key", "-out", at + ".crt", "-days", "30",
            "-subj", "/CN=" + host, "-addext", "subjectAltName=DNS:" + host)
    check(r.returncode == 0, r.stderr)
    return {"certificate": open(at + ".crt").read(), "key": open(at + ".key").read()}


def changes(node, token, files, deploys, swaps, reloads, told):
    """All of it, mixed evenly."""
    certs = [certificate(node, f"swap{i}", "shop.apps.test") for i in range(4)]
    took = []
    for i in range(deploys):
        t = time.monotonic()
        node.deploy_ok("shop", token, files | {"release": str(i)})
        took.append(time.monotonic() - t)
        if i * swaps // deploys != (i + 1) * swaps // deploys:
            node.api("PUT", "/v1/apps/shop/certificates", certs[i % 4], token=token, want=200)
        if i * reloads // deploys != (i + 1) * reloads // deploys:
            before = set(node.role_pids("proxy"))
            node.process.send_signal(signal.SIGHUP)
            wait_for("new workers", lambda: set(node.role_pids("proxy")) - before, 20)
            wait_for("the node after a reload", lambda: node.request("GET", "/readyz")[0] == 200, 20)
        told.append((time.monotonic(), i))
    return took


def without_loss(build, row, deploys=DEPLOYS, swaps=SWAPS, reloads=RELOADS):
    node = Node("deploys", https=True)
    try:
        node.start()
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", node.dir + "/clients", os.path.join(HERE, "proxy", "clients.c"), "-lssl", "-lcrypto", "-lpthread"], check=True)
        token = node.tenant("shop", {"memory_bytes": "8GiB", "disk_bytes": "8GiB", "cpu": 100})
        node.app("shop", token, limits={"memory_bytes": "64MiB", "disk_bytes": "8MiB"})
        files = {"Procfile": "web: sh -c 'exec ./ends answer $PORT 512'\n", "ends": (ends(node.dir), 0o755)}
        node.deploy_ok("shop", token, files)
        host = "shop.apps.test"
        wait_for("the app", lambda: node.get("shop")[0] == 200)
        started = time.monotonic()
        load = subprocess.Popen([node.dir + "/clients", "steady", str(node.port), "600", "64", host, "/"], stdout=subprocess.PIPE, text=True, env={**os.environ, "PAUSE_US": "10000"})
        sides = [Side("download", download(node, host)) for _ in range(4)] + [Side("websocket", websocket(node, host)) for _ in range(4)] + \
            [Side("tls kept", secure(node, host, True)) for _ in range(2)] + [Side("tls new", secure(node, host, False))]
        told = []
        try:
            took = changes(node, token, files, deploys, swaps, reloads, told)
        finally:
            for s in sides:
                s.done = True
            for s in sides:
                s.join()
            load.send_signal(signal.SIGTERM)
            result = json.loads(load.communicate(timeout=60)[0])
        seconds = time.monotonic() - started
        wrong = [f for s in sides for f in s.failures]
        of = {}
        for s in sides:
            of[s.name] = of.get(s.name, 0) + s.count
        row(f"{deploys} deploys, {swaps} certificates, {reloads} reloads: failed", str(result["failed"] + len(wrong)), "", "0", result["failed"] + len(wrong) == 0,
            "; ".join([result["first"]] * bool(result["first"]) + wrong[:3]))
        row("    of so many requests", str(result["requests"]), "", "", None,
            f"in {seconds:.0f} s, p99 {result['p99']:.1f} ms; " + ", ".join(f"{n} {k}" for k, n in of.items()) + f"; a deploy {sorted(took)[len(took) // 2]:.2f} s")
        for f in wrong[3:20]:
            print("    " + f)
        if result["failed"] or wrong:
            print(node.log_tail(5))
        node.stop()
    finally:
        node.cleanup()
