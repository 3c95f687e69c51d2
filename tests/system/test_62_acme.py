"""Certificates from an authority: pebble, through a real node."""
import http.client, os, signal, ssl
from acme_world import Authority
from harness import *
from test_60_tls import Named, certificate, https, put, shown


def make(name, more="", **authority):
    node = Node(name, https=True)
    ca = Authority(node.dir, node.port, node.https_port, **authority)
    with open(node.settings, "a") as f:
        f.write(ca.settings(more))
    node.ca = ca
    node.start()
    node.acme = node.shop()
    return node


def setup():
    return make("acme", nonces=50)


def teardown(node):
    if node:
        node.ca.cleanup()
        node.cleanup()


def add(node, host, app="shop", token=None):
    node.api("POST", f"/v1/apps/{app}/domains", {"host": host}, token=token or node.acme, want=201)


def host(node, name, app="shop"):
    hosts = node.api("GET", f"/v1/apps/{app}/certificates", token=node.token, want=200)["hosts"]
    return next((h for h in hosts if h["host"] == name), {})


def issued(node, name, app="shop", seconds=30):
    return wait_for(f"a certificate for {name}: {node.log_tail(6)}", lambda: (lambda h: h if h.get("state") == "issued" else None)(host(node, name, app)), seconds)


def issuer(node, name):
    r = run("openssl", "x509", "-inform", "DER", "-noout", "-issuer", "-ext", "subjectAltName", text=False, input=shown(node, name))
    return r.stdout.decode()


def kinds(node):
    return [e["kind"] for e in node.events("shop", node.acme)]


def test_a_domain_gets_its_certificate(node):
    """a domain that is added is served with a certificate of the authority within seconds, though half of all nonces are refused"""
    add(node, "www.shop.test")
    issued(node, "www.shop.test")
    text = wait_for("it is served", lambda: (lambda t: t if "Pebble" in t else None)(issuer(node, "www.shop.test")), 5)
    check("DNS:www.shop.test" in text, text)
    check("certificate.issued" in kinds(node), kinds(node))
    equal(https(node, "www.shop.test")[0], 200, "over it")
    items = node.api("GET", "/v1/apps/shop/certificates", token=node.acme, want=200)["items"]
    equal([(i["origin"], i["covers"]) for i in items], [("acme", ["www.shop.test"])], "the list")
    check("BEGIN" not in str(items), "a key is shown")
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=node.acme, TULOU_APP="shop")
    r = run(os.path.join(BUILD, "tulou"), "-a", "shop", "certs", env=env)
    check("www.shop.test" in r.stdout and "issued" in r.stdout, r.stdout + r.stderr)
    metrics = node.request("GET", "/metrics", token=node.token)[1].decode()
    check(re.search(r'tulou_certificate_orders_total\{end="issued"\} [12]\n', metrics) and 'host="www.shop.test"' in metrics, metrics[-500:])


def test_the_control_name(node):
    """the node's own name gets a certificate at the start, which `tulou node certs` shows; control's death changes nothing"""
    state = wait_for("it is issued", lambda: (lambda h: h if h["state"] == "issued" else None)(node.api("GET", "/v1/node/certificates", token=node.token, want=200)["hosts"][0]), 30)
    equal((state["host"], state["origin"]), (node.control, "acme"), str(state))
    wait_for("it is served", lambda: "Pebble" in issuer(node, node.control), 5)
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=node.token)
    r = run(os.path.join(BUILD, "tulou"), "node", "certs", env=env)
    check(re.search(node.control + r" +issued +acme", r.stdout), r.stdout + r.stderr)
    node.api("GET", "/v1/node/certificates", token=node.acme, want=403)
    old = shown(node, node.control)
    for role in ("control", "proxy"):
        for pid in node.role_pids(role):
            os.kill(pid, signal.SIGKILL)
        wait_for("the API", lambda: node.request("GET", "/readyz", host=node.control)[0] == 200, 20)
        wait_for("the same", lambda: shown(node, node.control) == old, 10)
    r = run(os.path.join(BUILD, "tulou"), "node", "certs", "--renew", env=env)
    equal(r.returncode, 0, r.stdout + r.stderr)
    wait_for("another", lambda: shown(node, node.control) != old and "Pebble" in issuer(node, node.control), 20)
    equal([i["origin"] for i in node.api("GET", "/v1/node/certificates?within=4000d", token=node.token, want=200)["items"] if not i["app"]].count("acme"), 1, "it took the old one's place")


def test_renewal_under_load(node):
    """renewals under keep-alive and fresh connections: no request fails, and the old certificate is gone"""
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
                c = Named(node, "www.shop.test")

    def fresh():
        while not stop.is_set():
            try:
                if https(node, "www.shop.test")[0] != 200:
                    failed.append("fresh")
                done[1] += 1
            except Exception as e:
                failed.append(repr(e))
    threads = [threading.Thread(target=t) for t in (kept, kept, fresh, fresh)]
    for t in threads:
        t.start()
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=node.acme, TULOU_APP="shop")
    for i in range(3):
        old = shown(node, "www.shop.test")
        r = run(os.path.join(BUILD, "tulou"), "-a", "shop", "certs", "renew", "www.shop.test", env=env)
        check(r.returncode == 0, r.stdout + r.stderr)
        wait_for("another certificate", lambda: shown(node, "www.shop.test") != old, 20)
    stop.set()
    for t in threads:
        t.join()
    equal(failed, [], f"of {done}")
    check(min(done) > 20, str(done))
    equal(len(node.api("GET", "/v1/apps/shop/certificates", token=node.acme, want=200)["items"]), 1, "certificates")
    check("certificate.renewed" in kinds(node), kinds(node))


def test_too_many_tries_are_refused(node):
    """a name is ordered five times within an hour at most, whoever asks"""
    node.api("POST", "/v1/apps/shop/certificates/renew", {"host": "nobody.test"}, token=node.acme, want=404)
    node.api("POST", "/v1/apps/shop/certificates/renew", {"hast": "x"}, token=node.acme, want=400)
    for i in range(8):
        status, value = node.api("POST", "/v1/apps/shop/certificates/renew", {"host": "www.shop.test"}, token=node.acme)
        if status == 409:
            break
        wait_for("it is over", lambda: host(node, "www.shop.test")["state"] == "issued" and host(node, "www.shop.test")["next_try"], 20)
        time.sleep(0.5)
    equal(status, 409, str(value))
    check("within an hour" in str(value), str(value))


def test_a_name_that_leads_elsewhere(node):
    """a domain that does not lead here fails by both challenges, says why, and gets its certificate once it does"""
    node.ca.lost("lost.test")
    add(node, "lost.test")
    failed = wait_for("it failed by both", lambda: (lambda h: h if h.get("state") == "failed" and "tls-alpn-01" in h["error"] or "http-01" in (h.get("error") or "") and "certificate.failed" in kinds(node) else None)(host(node, "lost.test")), 30)
    check("lost.test could not be shown to lead here" in failed["error"], str(failed))
    check(failed["next_try"], str(failed))
    text = [e["text"] for e in node.events("shop", node.acme) if e["kind"] == "certificate.failed"]
    check(text and "lost.test" in text[0], str(text))
    node.ca.found("lost.test")
    node.api("POST", "/v1/apps/shop/certificates/renew", {"host": "lost.test"}, token=node.acme, want=202)
    issued(node, "lost.test")
    equal(host(node, "lost.test")["error"], None, "error")


def test_what_is_not_ordered(node):
    """nothing is ordered for unknown names, wildcards, apps without https, and names with an uploaded certificate"""
    before = node.ca.orders()
    for name in ("unknown.test", "a.apps.test"):
        https(node, name)
    add(node, "*.wild.test")
    node.app("plain", node.acme)
    node.api("PATCH", "/v1/apps/plain", {"https": "off"}, token=node.acme, want=200)
    add(node, "plain.test", "plain")
    time.sleep(2)
    equal(node.ca.orders(), before, "orders")
    check("upload" in host(node, "*.wild.test")["error"], str(host(node, "*.wild.test")))
    equal(host(node, "plain.test", "plain")["state"], "off", "state")
    node.api("PATCH", "/v1/apps/plain", {"https": "redirect"}, token=node.acme, want=200)
    issued(node, "plain.test", "plain")  # http-01 comes before the redirect and before "nothing runs"


def test_any_death(node):
    """kill -9 of the fetcher and of control in the middle of orders: each name ends with one certificate"""
    for i in range(6):
        add(node, f"k{i}.test")
        time.sleep(0.15)
        for role in ("fetcher", "control")[i % 2:i % 2 + 1]:
            for pid in node.role_pids(role):
                os.kill(pid, signal.SIGKILL)
        wait_for("control", lambda: node.request("GET", "/readyz", host=node.control)[0] == 200, 20)
    for i in range(6):
        issued(node, f"k{i}.test", seconds=60)
    accounts = sum("now have" in l and "account" in l.lower() for l in open(node.ca.log, errors="replace"))
    check(accounts <= 1, f"{accounts} accounts")


def test_the_authority_is_away(node):
    """the authority is down, then back without its memory: the account is made again, and the name gets its certificate"""
    node.ca.stop()
    add(node, "later.test")
    failed = wait_for("it is told", lambda: (lambda h: h if h.get("error") else None)(host(node, "later.test")), 20)
    check("cannot be reached" in failed["error"], str(failed))
    node.ca.start()
    issued(node, "later.test", seconds=60)


def test_over_tls_alone():
    """TLS-ALPN-01, and an account elsewhere that the authority wants to see"""
    node = make("alpn", ", challenge: tls-alpn-01, own_names: on, eab_kid: kid-1, eab_key: zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W", nonces=0, eab=True)
    try:
        issued(node, "shop.apps.test")
        check("Pebble" in issuer(node, "shop.apps.test"), "served")
        equal(node.ca.process.poll(), None, "the authority")
    finally:
        teardown(node)


def test_time_renews():
    """certificates of 40 seconds: each is renewed before its end by time alone; a connection that is kept sees nothing of it"""
    node = make("short", nonces=0, valid_s=40)
    try:
        add(node, "www.shop.test")
        issued(node, "www.shop.test")
        wait_for("it is served", lambda: "Pebble" in issuer(node, "www.shop.test"), 5)
        kept, old, seen = Named(node, "www.shop.test"), shown(node, "www.shop.test"), set()
        kept.connect()
        local = kept.sock.getsockname()
        end = time.monotonic() + 70
        while time.monotonic() < end and len(seen) < 2:
            kept.request("GET", "/")
            r = kept.getresponse()
            r.read()
            equal((r.status, kept.sock.getsockname()), (200, local), "the connection that is kept")
            new = shown(node, "www.shop.test")
            pem = run("openssl", "x509", "-inform", "DER", "-noout", "-checkend", "0", text=False, input=new)
            equal(pem.returncode, 0, "one that is over is shown")
            if new != old:
                seen.add(new)
                old = new
            time.sleep(0.2)
        equal(len(seen), 2, "renewals")
        check(kinds(node).count("certificate.renewed") >= 2, kinds(node))
        check("certificate.failed" not in kinds(node), kinds(node))
        kept.close()
    finally:
        teardown(node)


def test_without_an_authority():
    """a node that orders none says so to who asks for one, and knows an uploaded certificate when it serves"""
    node = Node("noacme", https=True)
    node.ca = None
    try:
        node.start()
        node.acme = node.tenant("acme")
        node.app("shop", node.acme)
        add(node, "www.shop.test")
        status, value = node.api("POST", "/v1/apps/shop/certificates/renew", token=node.acme)
        check(status == 409 and "tls.acme.directory" in str(value), str((status, value)))
        check("level=error" not in open(node.log).read(), node.log_tail())
        equal(host(node, "www.shop.test")["state"], "none", "before")
        put(node, certificate(node, "www", "www.shop.test"))
        h = host(node, "www.shop.test")
        equal((h["state"], h["origin"], h["next_try"]), ("issued", "uploaded", None), str(h))
    finally:
        node.cleanup()
