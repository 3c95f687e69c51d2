"""https of a whole node: its own certificate, those of apps, swaps under load, and what a kill leaves."""
import http.client, os, signal, ssl, stat
from harness import *


def setup():
    node = Node("tls", https=True).start()
    node.acme = node.shop("www.shop.test")
    return node


def teardown(node):
    if node:
        node.cleanup()


def context(trust=None):
    c = ssl.create_default_context(cafile=trust) if trust else ssl.create_default_context()
    if not trust:
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    return c


class Named(http.client.HTTPSConnection):
    """Connects to the node, whatever the name; the name is what TLS asks for."""
    def __init__(self, node, host, trust=None):
        super().__init__(host, node.https_port, context=context(trust), timeout=20)
        self.node = node

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.node.https_port), timeout=20)
        self.sock = self._context.wrap_socket(s, server_hostname=self.host)


def https(node, host, path="/", trust=None, token=None):
    c = Named(node, host, trust)
    try:
        c.request("GET", path, headers={"Authorization": "Bearer " + token} if token else {})
        r = c.getresponse()
        return r.status, r.read().decode(), r.headers, c.sock.getpeercert(True) if c.sock else None
    finally:
        c.close()


def certificate(node, name, *names, days=30):
    """Files of a new certificate: (chain, key)."""
    at = os.path.join(node.dir, name)
    r = run("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", at + ".key", "-out", at + ".crt",
            "-days", str(days), "-subj", "/CN=" + names[0], "-addext", "subjectAltName=" + ",".join("DNS:" + n for n in names))
    check(r.returncode == 0, r.stderr)
    return at + ".crt", at + ".key"


def put(node, files, app="shop", want=200):
    return node.api("PUT", f"/v1/apps/{app}/certificates", {"certificate": open(files[0]).read(), "key": open(files[1]).read()}, token=node.acme, want=want)


def der(files):
    return ssl.PEM_cert_to_DER_cert(open(files[0]).read())


def shown(node, host):
    return https(node, host)[3]


def test_https_works_without_any_setup(node):
    """a node that listens for https serves the API and apps at once, with a certificate of its own"""
    status, body, _, own = https(node, node.control, "/healthz")
    equal((status, "ok" in body), (200, True), "API over https")
    status, body, headers, same = https(node, "shop.apps.test")
    equal((status, "shop" in body, same == own), (200, True, True), "app over https")
    pem = os.path.join(node.dir, "own.pem")
    with open(pem, "w") as f:
        f.write(ssl.DER_cert_to_PEM_cert(own))
    equal(https(node, "shop.apps.test", trust=pem)[0], 200, "it names the apps")
    equal(https(node, node.control, "/healthz", trust=pem)[0], 200, "it names the control host")
    app = node.api("GET", "/v1/apps/shop", token=node.acme, want=200)
    equal(app["url"], f"https://shop.apps.test:{node.https_port}", "the app's URL")


def test_own_certificate(node):
    """an uploaded certificate serves its app's hosts, and only those"""
    files = certificate(node, "www", "www.shop.test")
    item = put(node, files)
    equal(item["covers"], ["www.shop.test"], "covers")
    wait_for("it is served", lambda: shown(node, "www.shop.test") == der(files), 5)
    equal(https(node, "www.shop.test", trust=files[0])[:2], (200, https(node, "shop.apps.test")[1]), "verified")
    check(shown(node, "shop.apps.test") != der(files), "another host keeps the node's")
    node.api("PUT", "/v1/apps/shop/certificates", {"certificate": open(certificate(node, "bad", "elsewhere.test")[0]).read(),
                                                   "key": open(node.dir + "/bad.key").read()}, token=node.acme, want=400)
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=node.acme, TULOU_APP="shop")
    r = run(os.path.join(BUILD, "tulou"), "-a", "shop", "certs", env=env)
    check(r.returncode == 0 and "www.shop.test" in r.stdout, r.stdout + r.stderr)
    new = certificate(node, "cli", "www.shop.test", days=50)
    r = run(os.path.join(BUILD, "tulou"), "-a", "shop", "certs", "add", *new, env=env)
    check(r.returncode == 0 and "www.shop.test" in r.stdout, r.stdout + r.stderr)
    wait_for("the new one is served", lambda: shown(node, "www.shop.test") == der(new), 5)
    equal(len(node.api("GET", "/v1/apps/shop/certificates", token=node.acme, want=200)["items"]), 1, "it took the old one's place")


def test_swaps_under_load(node):
    """20 swaps of a certificate under keep-alive and fresh connections: no request fails"""
    stop, failed, done = threading.Event(), [], [0, 0]

    def kept():
        c = Named(node, "www.shop.test")
        while not stop.is_set():
            try:
                c.request("GET", "/")
                r = c.getresponse()
                r.read()
                done[0] += 1
                if r.status != 200:
                    failed.append(r.status)
            except Exception as e:
                failed.append(repr(e))
                time.sleep(0.1)
                c = Named(node, "www.shop.test")

    def fresh():
        while not stop.is_set():
            try:
                if https(node, "www.shop.test")[0] != 200:
                    failed.append("fresh")
                done[1] += 1
            except Exception as e:
                failed.append(repr(e))
                time.sleep(0.1)

    threads = [threading.Thread(target=t) for t in (kept, kept, fresh, fresh)]
    for t in threads:
        t.start()
    try:
        for n in range(20):
            files = certificate(node, f"swap{n}", "www.shop.test", days=60 + n)
            put(node, files)
            wait_for("the swap", lambda: shown(node, "www.shop.test") == der(files), 5)
    finally:
        stop.set()
        for t in threads:
            t.join()
    equal(failed[:5], [], f"failures among {done} requests")
    check(min(done) > 20, f"too few requests: {done}")
    node.last = files


def test_redirect_and_hsts(node):
    """https: redirect sends clients to https; hsts is said there only"""
    node.api("PATCH", "/v1/apps/shop", {"https": "redirect", "hsts": 600}, token=node.acme, want=200)

    def redirected():
        status, _, headers = node.request("GET", "/a?b=c", host="shop.apps.test")
        return status == 308 and headers["Location"] == f"https://shop.apps.test:{node.https_port}/a?b=c"
    wait_for("the redirect", redirected, 5)
    equal(https(node, "shop.apps.test")[2]["Strict-Transport-Security"], "max-age=600", "HSTS")
    node.api("PATCH", "/v1/apps/shop", {"https": "off"}, token=node.acme, want=200)
    wait_for("no https", lambda: https(node, "shop.apps.test")[0] == 421, 5)
    node.api("PATCH", "/v1/apps/shop", {"https": "on", "hsts": 0}, token=node.acme, want=200)
    wait_for("both again", lambda: node.get("shop")[0] == 200 and https(node, "shop.apps.test")[0] == 200, 5)


def test_kills(node):
    """kill -9 of control and of every proxy: the certificates are there again, control's death is not even seen"""
    want = der(node.last)
    for pid in node.role_pids("control"):
        os.kill(pid, signal.SIGKILL)
    equal(shown(node, "www.shop.test"), want, "while control is away")
    wait_for("control", lambda: node.request("GET", "/readyz")[0] == 200)
    equal(shown(node, "www.shop.test"), want, "with the new control")
    for pid in node.role_pids("proxy"):
        os.kill(pid, signal.SIGKILL)
    wait_for("new proxies", lambda: shown(node, "www.shop.test") == want)
    for _ in range(10):
        equal(shown(node, "www.shop.test"), want, "every worker")


def test_sessions_and_figures(node):
    """a session is resumed by any worker, also by new ones; /metrics counts handshakes"""
    ctx = context()
    session, resumed = None, 0
    for _ in range(12):
        with ctx.wrap_socket(socket.create_connection(("127.0.0.1", node.https_port), timeout=20), server_hostname="www.shop.test", session=session) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: www.shop.test\r\nConnection: close\r\n\r\n")
            while s.recv(65536):
                pass
            resumed += s.session_reused
            session = s.session
        if resumed == 4:
            for pid in node.role_pids("proxy"):
                os.kill(pid, signal.SIGKILL)
            wait_for("new proxies", lambda: shown(node, "www.shop.test"))
    equal(resumed, 11, "resumed sessions")
    status, text, _ = node.request("GET", "/metrics", token=node.token)
    equal(status, 200, "metrics")
    sums = {}
    for line in text.decode().splitlines():
        if line.startswith("tulou_proxy_tls_"):
            name = line.split("{")[0]
            sums[name] = sums.get(name, 0) + float(line.split()[-1])
    check(sums["tulou_proxy_tls_handshakes_total"] > sums["tulou_proxy_tls_resumed_total"] >= 7, sums)


def test_removed(node):
    """a removed certificate is not shown any more; a deleted app's neither"""
    for item in node.api("GET", "/v1/apps/shop/certificates", token=node.acme, want=200)["items"]:
        node.api("DELETE", f"/v1/apps/shop/certificates/{item['id']}", token=node.acme, want=204)
    wait_for("it is gone", lambda: shown(node, "www.shop.test") != der(node.last), 5)
    kinds = [e["kind"] for e in node.events("shop", node.acme)]
    check("certificate.added" in kinds and "certificate.removed" in kinds, kinds)


def test_keys_are_for_few(node):
    """no file with a key is readable by anybody but control, and no log holds one"""
    mode = os.stat(node.data + "/control/tulou.db")
    check(stat.S_IMODE(mode.st_mode) & 0o077 == 0, oct(mode.st_mode))
    r = run("grep", "-rl", "PRIVATE KEY", node.data + "/logs", node.log, node.runtime)
    equal(r.stdout, "", "keys in logs or in the runtime folder")
