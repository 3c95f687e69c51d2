"""OCSP stapling through a real node: what responders say reaches who connects."""
import os, signal, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from harness import *
from test_60_tls import der, https, put, shown


class Responder:
    """An authority of openssl's and its OCSP responder on loopback: counts what is asked, answers by its list of serial numbers."""

    def __init__(self, folder):
        self.dir = tempfile.mkdtemp(prefix="authority-", dir=folder)
        self.ca, self.key, self.index = self.dir + "/ca.pem", self.dir + "/ca.key", self.dir + "/index"
        self.status, self.asked, self.away, self.serials = {}, 0, False, []
        r = run("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", self.key, "-out", self.ca, "-days", "30", "-subj", "/CN=Test authority")
        check(r.returncode == 0, r.stderr)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, question):
                outer.asked += 1
                body = b"" if outer.away else outer.judge(question)
                self.send_response(500 if outer.away else 200)
                self.send_header("Content-Type", "application/ocsp-response")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.answer(base64.b64decode(urllib.parse.unquote(self.path[1:])))

            def do_POST(self):
                self.answer(self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *a):
                pass
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    others = "V"  # of certificates that it did not make, by turn

    def judge(self, question):
        at = tempfile.mktemp(dir=self.dir)
        with open(at, "wb") as f:
            f.write(question)
        serial = re.search(r"Serial Number: (\w+)", run("openssl", "ocsp", "-reqin", at, "-req_text").stdout).group(1)
        if serial not in self.serials:
            self.serials.append(serial)
            self.status.setdefault(serial, self.others[min(len(self.serials), len(self.others)) - 1])
        with open(at + ".index", "w") as f:
            for serial, state in self.status.items():
                f.write(f"{state}\t351231235959Z\t{'250101000000Z' if state == 'R' else ''}\t{serial}\tunknown\t/CN=x\n")
        r = run("openssl", "ocsp", "-index", at + ".index", "-CA", self.ca, "-rsigner", self.ca, "-rkey", self.key, "-reqin", at, "-respout", at + ".out", "-ndays", "1")
        return open(at + ".out", "rb").read() if r.returncode == 0 else b"broken"

    def certificate(self, name, *names, must=False, responder=True):
        """(chain, key) with the authority behind the leaf; good until said otherwise."""
        at = os.path.join(self.dir, name)
        with open(at + ".ext", "w") as f:
            f.write("subjectAltName=" + ",".join("DNS:" + n for n in names) + "\n" + (f"authorityInfoAccess=OCSP;URI:{self.url}\n" if responder else "") + ("tlsfeature=status_request\n" if must else ""))
        run("openssl", "req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", at + ".key", "-out", at + ".csr", "-subj", "/CN=x")
        serial = "%016X" % random.randrange(1 << 60, 1 << 62)
        r = run("openssl", "x509", "-req", "-in", at + ".csr", "-CA", self.ca, "-CAkey", self.key, "-set_serial", "0x" + serial, "-days", "20", "-extfile", at + ".ext", "-out", at + ".leaf")
        check(r.returncode == 0, r.stderr)
        with open(at + ".crt", "w") as f:
            f.write(open(at + ".leaf").read() + open(self.ca).read())
        os.chmod(at + ".key", 0o600)
        self.status[serial] = "V"
        return at + ".crt", at + ".key", serial

    def cleanup(self):
        self.server.shutdown()
        self.server.server_close()


def staple(node, name):
    """What `openssl s_client -status` says that it was given."""
    r = run("openssl", "s_client", "-connect", f"127.0.0.1:{node.https_port}", "-servername", name, "-status", input="", timeout=20)
    if "OCSP Response Status: successful" in r.stdout:
        return re.search(r"Cert Status: (\w+)", r.stdout).group(1)
    check("OCSP response: no response sent" in r.stdout, r.stdout[:2000] + r.stderr)
    return None


def items(node):
    return node.api("GET", "/v1/apps/shop/certificates", token=node.acme, want=200)["items"]


def kinds(node):
    return [e["kind"] for e in node.events("shop", node.acme)]


def figure(node, name):
    text = node.request("GET", "/metrics", token=node.token)[1].decode()
    return next(float(l.split()[-1]) for l in text.splitlines() if l.startswith(name))


def setup():
    folder = tempfile.mkdtemp(prefix="tulou-ocsp-", dir="/var/tmp")
    responder = Responder(folder)
    certs = os.path.join(folder, "certs")
    os.mkdir(certs, 0o755)
    chain, key, serial = responder.certificate("apps", "*.apps.test")
    shutil.copy(chain, certs + "/apps.crt")
    shutil.copy(key, certs + "/apps.key")
    node = Node("ocsp", extra=f"tls: {{ certificates: {certs} }}", https=True).start()
    node.folder, node.responder, node.certs, node.serial = folder, responder, certs, serial
    node.acme = node.shop("www.shop.test")
    return node


def teardown(node):
    if node:
        node.cleanup()
        node.responder.cleanup()
        shutil.rmtree(node.folder)


def test_the_operators_certificate_is_stapled(node):
    """a certificate from files is handed out with what its responder says, by every worker"""
    wait_for("a staple", lambda: staple(node, "any.apps.test") == "good", 20)
    for _ in range(6):
        equal(staple(node, "any.apps.test"), "good", "every worker")
    equal(figure(node, 'tulou_ocsp_certificates{state="stapled"}'), 1, "metrics")
    equal(node.responder.asked, 1, "questions")


def test_a_restart_staples_at_once(node):
    """control, the proxies, then the whole node are ended while the responder is away: the staple is there again"""
    node.responder.away, before = True, node.responder.asked
    for role in ("control", "proxy"):
        for pid in node.role_pids(role):
            os.kill(pid, signal.SIGKILL)
        wait_for("the API", lambda: node.request("GET", "/readyz", host=node.control)[0] == 200, 20)
        wait_for("a staple", lambda: staple(node, "any.apps.test") == "good", 10)
    node.stop()
    node.start()
    wait_for("a staple", lambda: staple(node, "any.apps.test") == "good", 10)
    equal(node.responder.asked, before, "the responder is not asked before it is due")
    node.responder.away = False


def test_revoked(node):
    """a revoked certificate is handed out without a staple, and the operator is told"""
    chain, key, serial = node.responder.certificate("revoked", "*.apps.test")
    node.responder.status[serial] = "R"
    shutil.copy(chain, node.certs + "/apps.crt")
    shutil.copy(key, node.certs + "/apps.key")
    node.process.send_signal(signal.SIGHUP)
    wait_for("the new certificate", lambda: shown(node, "any.apps.test") == der((chain[:-4] + ".leaf",)), 20)
    wait_for("it is told", lambda: any(e["kind"] == "certificate.revoked" for e in node.api("GET", "/v1/events", token=node.token, want=200)["items"]), 20)
    equal(staple(node, "any.apps.test"), None, "staple")
    equal(figure(node, 'tulou_ocsp_certificates{state="revoked"}'), 1, "metrics")


def test_a_tenants_url_leads_nowhere_inside(node):
    """the responder of an uploaded certificate is asked at public addresses alone; one that demands a staple is served, and its owner is told"""
    before = node.responder.asked
    files = node.responder.certificate("must", "www.shop.test", must=True)
    item = put(node, files)
    equal(item["ocsp"]["must_staple"], True, "must_staple")
    told = wait_for("it is told", lambda: next((i["ocsp"] for i in items(node) if i["ocsp"]["error"]), None), 20)
    check("public" in told["error"], str(told))
    equal((told["status"], told["stapled"]), ("none", False), str(told))
    wait_for("the event", lambda: "certificate.unstapled" in kinds(node), 5)
    wait_for("it is served", lambda: shown(node, "www.shop.test") == der((files[0][:-4] + ".leaf",)), 5)
    equal(staple(node, "www.shop.test"), None, "staple")
    equal(node.responder.asked, before, "questions")
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=node.acme, TULOU_APP="shop")
    r = run(os.path.join(BUILD, "tulou"), "-a", "shop", "certs", env=env)
    check("none: " in r.stdout and "public" in r.stdout, r.stdout + r.stderr)


def test_a_revoked_one_is_ordered_anew():
    """the responder says of a certificate from an authority that it is revoked: another is ordered at once, and stapled"""
    from acme_world import Authority
    node, responder = Node("reorder", https=True), None
    try:
        responder = Responder(node.dir)
        responder.others = "RV"
        node.ca = Authority(node.dir, node.port, node.https_port, nonces=0, ocsp=responder.url)
        with open(node.settings, "a") as f:
            f.write(node.ca.settings(", control_name: off"))
        responder.ca, responder.key = node.ca.issuer()
        node.start()
        node.acme = node.tenant("acme")
        node.app("shop", node.acme)
        node.api("POST", "/v1/apps/shop/domains", {"host": "www.shop.test"}, token=node.acme, want=201)
        wait_for("a staple: " + node.log_tail(5), lambda: staple(node, "www.shop.test") == "good", 40)
        equal(len(responder.serials), 2, "certificates")
        got = [k for k in kinds(node) if k.startswith("certificate.")]
        check("certificate.revoked" in got and "certificate.renewed" in got, got)
        equal([i["ocsp"]["status"] for i in items(node)], ["good"], "one is left")
    finally:
        node.cleanup()
        if responder:
            responder.cleanup()
        if getattr(node, "ca", None):
            node.ca.cleanup()


def test_what_cannot_be_stapled_is_refused(node):
    """a certificate that demands a staple needs a responder, and its issuer in the chain"""
    chain, key, _ = node.responder.certificate("none", "www.shop.test", must=True, responder=False)
    status, value = node.api("PUT", "/v1/apps/shop/certificates", {"certificate": open(chain).read(), "key": open(key).read()}, token=node.acme)
    check(status == 400 and "names no responder" in str(value), str(value))
    chain, key, _ = node.responder.certificate("alone", "www.shop.test", must=True)
    status, value = node.api("PUT", "/v1/apps/shop/certificates", {"certificate": open(chain[:-4] + ".leaf").read(), "key": open(key).read()}, token=node.acme)
    check(status == 400 and "issuer is not in the chain" in str(value), str(value))
