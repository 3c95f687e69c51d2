"""The front door of a whole node through the command line: domains that are proved, paths to other apps, maintenance, basic auth, limits."""
import base64, ctypes, signal, threading
from harness import *

NEWNS, NEWNET = 0x00020000, 0x40000000
OUTSIDE = "45.83.0.7"  # plays a public server, in a network namespace of its own
NAMESERVER = "127.0.0.163"
RECORDS = {}  # name -> list of texts, or a code


def dns_answer(q):
    n, labels = 12, []
    while q[n]:
        labels.append(q[n + 1:n + 1 + q[n]].decode())
        n += 1 + q[n]
    question, name = q[12:n + 5], ".".join(labels).lower()
    for zone, address in ((".outside.example", OUTSIDE), (".inside.example", "127.0.0.1")):
        if name.endswith(zone) and not name.startswith("_"):
            a = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address) if q[n + 1:n + 3] == b"\0\1" else b""
            return q[:2] + b"\x81\x80\0\1\0" + bytes([len(a) > 0]) + b"\0\0\0\0" + question + a
    texts = RECORDS.get(name)
    if texts is None or isinstance(texts, int):
        return q[:2] + b"\x81" + bytes([0x80 | (texts if texts is not None else 3)]) + b"\0\1\0\0\0\0\0\0" + question
    out = q[:2] + b"\x81\x80\0\1" + len(texts).to_bytes(2, "big") + b"\0\0\0\0" + question
    for t in texts:
        data = b"".join(bytes([len(t[i:i + 20])]) + t[i:i + 20].encode() for i in range(0, len(t), 20))  # strings are put together
        out += b"\xc0\x0c\0\x10\0\1\0\0\0\1" + len(data).to_bytes(2, "big") + data
    return out


def serve_dns(s, over):
    s.settimeout(0.2)
    while not over.is_set():
        try:
            q, peer = s.recvfrom(2000)
        except TimeoutError:
            continue
        s.sendto(dns_answer(q), peer)
    s.close()  # by who reads it, or its number may be another's file meanwhile


def setup():
    libc, cwd = ctypes.CDLL(None, use_errno=True), os.getcwd()
    home = [(os.open("/proc/self/ns/net", os.O_RDONLY), NEWNET), (os.open("/proc/self/ns/mnt", os.O_RDONLY), NEWNS)]
    check(libc.unshare(NEWNS | NEWNET) == 0, "unshare: " + os.strerror(ctypes.get_errno()))
    world = subprocess.Popen(["unshare", "-n", "sleep", "3600"])
    wait_for("the world", lambda: os.readlink(f"/proc/{world.pid}/ns/net") != os.readlink("/proc/self/ns/net"))
    inner = ["nsenter", "-t", str(world.pid), "-n"]
    for line in ("ip link set lo up", f"ip link add wan type veth peer name wan netns {world.pid}", "ip addr add 172.31.8.1/30 dev wan", "ip link set wan up",
                 "@ip link set lo up", "@ip link set wan up", "@ip addr add 172.31.8.2/30 dev wan", f"@ip addr add {OUTSIDE}/32 dev lo",
                 "ip route add default via 172.31.8.2"):
        r = run(*(inner if line[0] == "@" else []), *line.lstrip("@").split())
        check(r.returncode == 0, line + ": " + r.stderr)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((NAMESERVER, 53))
    over = threading.Event()
    dns = threading.Thread(target=serve_dns, args=(s, over), daemon=True)
    dns.start()
    node = Node("front", proof="required")
    node.outside = node.dir + "/outside"
    os.makedirs(node.outside + "/.well-known")
    server = subprocess.Popen(inner + [sys.executable, "-m", "http.server", "80", "--bind", OUTSIDE, "--directory", node.outside],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    node.undo = lambda: (over.set(), dns.join(), [(p.kill(), p.wait()) for p in (server, world)], [(libc.setns(fd, kind), os.close(fd)) for fd, kind in home], os.chdir(cwd))
    conf = node.dir + "/resolv.conf"
    with open(conf, "w") as f:
        f.write(f"nameserver {NAMESERVER}\n")
    for line in ("mount --make-rprivate /", f"mount --bind {conf} /etc/resolv.conf"):
        r = run(*line.split())
        check(r.returncode == 0, line + ": " + r.stderr)
    node.start()
    node.acme, node.evil = node.tenant("acme"), node.tenant("evil")
    for name, token in (("shop", node.acme), ("api", node.acme), ("theirs", node.evil)):
        node.app(name, token)
        node.deploy_ok(name, token, {"server.py": SERVER % {"version": name}, "Procfile": "web: python3 server.py\n"})
    return node


def teardown(node):
    if node:
        try:
            node.cleanup()
        finally:
            run("umount", "/etc/resolv.conf")
            node.undo()


def tulou(node, *words, token=None, stdin="", app="shop", want=0):
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=token or node.acme, HOME=node.dir)
    r = run(os.path.join(BUILD, "tulou"), *words, *(("-a", app) if app else ()), env=env, input=stdin, timeout=60)
    check(want is None or r.returncode == want, f"tulou {' '.join(words)}: {r.returncode}: {r.stdout} {r.stderr}")
    return r.stdout + r.stderr


def status(node, host, path="/", **headers):
    return node.request("GET", path, host=host, headers=headers)[0]


def test_a_domain_is_proved_by_its_record(node):
    """a tenant's domain serves nothing until its TXT record is there; the operator's does at once"""
    said = tulou(node, "domains", "add", "www.shop.example")
    check("pending" in said and "_tulou.www.shop.example" in said, said)
    equal(status(node, "www.shop.example"), 404, "a pending domain")
    d = json.loads(tulou(node, "domains", "--json"))["items"][0]
    equal(d["state"], "pending", "state")
    check("no such TXT record" in tulou(node, "domains", "verify", "www.shop.example", want=1), "NXDOMAIN is told")
    RECORDS["_tulou.www.shop.example"] = ["tulou-0000", "v=spf1 -all"]
    check("another value" in tulou(node, "domains", "verify", "www.shop.example", want=1), "another value is told")
    RECORDS["_tulou.www.shop.example"] = 2
    check("did not answer" in tulou(node, "domains", "verify", "www.shop.example", want=1), "SERVFAIL is told")
    RECORDS["_tulou.www.shop.example"] = ["v=spf1 -all", d["record"]["value"]]
    check("is served" in tulou(node, "domains", "verify", "www.shop.example"), "proved")
    wait_for("it is served", lambda: status(node, "www.shop.example") == 200)
    tulou(node, "domains", "add", "op.example", token=node.token)
    wait_for("the operator's is served", lambda: status(node, "op.example") == 200)
    tulou(node, "domains", "verify", "www.shop.example", "--accept", want=3)
    check(any(e["kind"] == "domain.proved" for e in node.events("shop")), "an event says so")


def test_two_tenants_want_one_name(node):
    """who proves it has it, whoever came first; who has lost it serves it no more"""
    tulou(node, "domains", "add", "www.shop.example", token=node.evil, app="theirs")
    equal(status(node, "www.shop.example"), 200, "to claim is not to have")
    d = json.loads(tulou(node, "domains", "--json", token=node.evil, app="theirs"))["items"][0]
    RECORDS["_tulou.www.shop.example"] = [d["record"]["value"]]
    tulou(node, "domains", "verify", "www.shop.example", token=node.evil, app="theirs")
    wait_for("it has moved", lambda: node.request("GET", "/", host="www.shop.example")[2].get("X-Version") == "theirs")
    d = [d for d in json.loads(tulou(node, "domains", "--json"))["items"] if d["host"] == "www.shop.example"][0]
    check(d["state"] == "pending" and "another app" in d["error"], str(d))
    check(any(e["kind"] == "domain.lost" for e in node.events("shop")), "an event says so")
    for host in ("theirs.apps.test", "x.apps.test", "control.test", "*.test"):
        tulou(node, "domains", "add", host, want=None)
        check(host not in tulou(node, "domains", "--json"), f"{host} was claimed")


def test_it_is_looked_for_by_itself(node):
    """the node looks again without being asked, also after control and the resolver were killed"""
    tulou(node, "domains", "add", "*.auto.example")
    d = [d for d in json.loads(tulou(node, "domains", "--json"))["items"] if d["host"] == "*.auto.example"][0]
    for role in ("resolver", "control"):
        os.kill(node.role_pids(role)[0], signal.SIGKILL)
    RECORDS["_tulou.auto.example"] = [d["record"]["value"]]
    wait_for("it is served", lambda: status(node, "x.auto.example") == 200, 120)
    tulou(node, "domains", "add", "y.auto.example", app="api")
    wait_for("below it nothing more is asked", lambda: node.request("GET", "/", host="y.auto.example")[2].get("X-Version") == "api")


def test_a_domain_is_proved_by_a_file(node):
    """the web server that the name leads to today says the token; what leads to this host proves nothing"""
    for host in ("www.outside.example", "www.inside.example"):
        tulou(node, "domains", "add", host)
    get = lambda host: [d for d in json.loads(tulou(node, "domains", "--json")) ["items"] if d["host"] == host][0]
    d = get("www.outside.example")
    equal(d["url"], "http://www.outside.example/.well-known/tulou-proof", "where it is to be")
    said = tulou(node, "domains", "verify", "www.outside.example", want=1)
    check("answers 404" in said, said)
    with open(node.outside + "/.well-known/tulou-proof", "w") as f:
        f.write(d["record"]["value"] + "x\n")
    check("something else" in tulou(node, "domains", "verify", "www.outside.example", want=1), "another text")
    with open(node.outside + "/.well-known/tulou-proof", "w") as f:
        f.write(d["record"]["value"] + "\n")
    check("is served" in tulou(node, "domains", "verify", "www.outside.example"), "proved")
    equal(get("www.outside.example")["proof"], "http", "by what")
    check("web server" in tulou(node, "domains", "verify", "www.inside.example", want=1), "this host is not asked")


def test_paths_of_another_app(node):
    """a prefix leads to another app of the tenant, never to another tenant's"""
    tulou(node, "routes", "add", "/api", "api", "--strip")
    get = lambda path: node.request("GET", path, host="shop.apps.test")[1].decode()
    wait_for("it is there", lambda: get("/api/x").startswith("hello from api"))
    check(get("/api/x").endswith("path /x"), get("/api/x"))
    check(get("/apix").startswith("hello from shop"), "a border is a border")
    equal(status(node, "shop.apps.test", "/x/../api"), 400, "dot segments")
    check("no app" in tulou(node, "routes", "add", "/evil", "theirs", want=None), "another tenant's app")
    check("/api" in tulou(node, "routes"), "it is listed")
    tulou(node, "routes", "add", "/api", "api", want=None)
    for bad in ("api", "/", "/a/", "/a//b", "/a/../b", "/ä", "/a?b"):
        check("path" in tulou(node, "routes", "add", bad, "api", want=None), bad)
    os.kill(node.role_pids("control")[0], signal.SIGKILL)
    wait_for("control is back", lambda: node.request("GET", "/readyz", host=node.control)[0] == 200)
    check(get("/api/x").startswith("hello from api"), "it outlives control")
    tulou(node, "routes", "remove", "/api")
    wait_for("it is gone", lambda: get("/api/x").startswith("hello from shop"))


def test_maintenance_auth_and_limits(node):
    """settings reach the workers at once and outlive a restart of any process"""
    tulou(node, "maintenance", "on", "--text", "New <shelves> & more", "--retry-after", "10m")
    wait_for("the page is shown", lambda: status(node, "shop.apps.test") == 503)
    code, page, headers = node.request("GET", "/", host="shop.apps.test", headers={"Accept": "text/html"})
    check("New &lt;shelves&gt; &amp; more" in page.decode() and headers["Retry-After"] == "600", page.decode())
    equal(status(node, "api.apps.test"), 200, "another app")
    tulou(node, "maintenance", "--allow", "127.0.0.0/8,10.0.0.0/8")
    wait_for("we pass", lambda: status(node, "shop.apps.test") == 200)
    tulou(node, "maintenance", "off")
    said = tulou(node, "auth", "add", "alice", stdin="open sesame\n")
    check("alice" in said and "sesame" not in said, said)
    basic = lambda s: "Basic " + base64.b64encode(s.encode()).decode()
    wait_for("a name is wanted", lambda: status(node, "shop.apps.test") == 401)
    for pid in node.role_pids("proxy") + node.role_pids("control"):
        os.kill(pid, signal.SIGKILL)
    wait_for("all is back", lambda: node.request("GET", "/readyz", host=node.control)[0] == 200)
    wait_for("with its settings", lambda: status(node, "shop.apps.test") == 401)
    equal(status(node, "shop.apps.test", Authorization=basic("alice:open sesame")), 200, "the right one")
    equal(status(node, "shop.apps.test", Authorization=basic("alice:wrong")), 401, "a wrong one")
    check(open(node.data + "/control/tulou.db", "rb").read().find(b"open sesame") < 0 if os.path.exists(node.data + "/control/tulou.db") else True, "the password is stored")
    tulou(node, "auth", "off")
    tulou(node, "front", "set", "rate=1", "burst=3", "body=1KiB", "allow=127.0.0.1")
    wait_for("the rate holds", lambda: status(node, "shop.apps.test") == 429)
    time.sleep(1.2)
    equal(node.request("POST", "/", body=b"x" * 2000, host="shop.apps.test")[0], 413, "a large body")
    tulou(node, "front", "set", "rate=none", "burst=none", "allow=192.0.2.0/24")
    wait_for("others are refused", lambda: status(node, "shop.apps.test") == 403)
    tulou(node, "front", "set", "allow=any", "sticky=yes")
    wait_for("a cookie is set", lambda: "tulou-instance" in node.request("GET", "/", host="shop.apps.test")[2].get("Set-Cookie", ""))
    check("yes" in tulou(node, "front"), "it is shown")
    check("rate" in tulou(node, "front", "set", "rate=-1", want=2), "the field is named")
    tulou(node, "front", "set", "sticky=no")


def test_a_canary(node):
    """the next release serves a part of the requests, is promoted, or is gone without a trace; no request fails"""
    source = lambda v: {"server.py": SERVER % {"version": v}, "Procfile": "web: python3 server.py\n"}
    seen = lambda n=40, **h: [node.request("GET", "/", host="shop.apps.test", headers=h)[2].get("X-Version") for _ in range(n)]
    check("next" in tulou(node, "canary", "start", "next", "--weight", "25", "--header", "X-Canary=yes"), "it is armed")
    node.deploy_ok("shop", node.acme, source("second"))
    wait_for("it serves", lambda: seen(1, **{"X-Canary": "yes"}) == ["second"])
    got = seen(80)
    check(18 <= got.count("second") <= 22 and got.count("second") + got.count("shop") == 80, str(got))
    check("25" in tulou(node, "canary"), "it is shown")
    os.kill(node.role_pids("control")[0], signal.SIGKILL)
    wait_for("control is back", lambda: node.request("GET", "/readyz", host=node.control)[0] == 200)
    wait_for("it still gets its part", lambda: 5 <= seen(40).count("second") <= 15)
    tulou(node, "canary", "start", "--weight", "50")
    wait_for("more of it", lambda: 18 <= seen(40).count("second") <= 22)
    stop, bad = threading.Event(), []

    def load():
        while not stop.is_set():
            code = status(node, "shop.apps.test")
            if code != 200:
                bad.append(code)
    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    tulou(node, "canary", "promote")
    wait_for("it is live", lambda: set(seen(20)) == {"second"}, 60)
    wait_for("it is no canary any more", lambda: json.loads(tulou(node, "canary", "--json"))["version"] is None)
    tulou(node, "canary", "start", "1", "--weight", "50")
    wait_for("an old one serves", lambda: 15 <= seen(40).count("shop") <= 25, 60)
    tulou(node, "canary", "abort")
    wait_for("it is gone", lambda: set(seen(20)) == {"second"})
    wait_for("its instance ends", lambda: len(node.instances("shop", node.acme)) == 1, 60)
    stop.set()
    for t in threads:
        t.join()
    check(not bad, f"requests failed: {bad[:10]}")
    check("live already" in tulou(node, "canary", "start", "2", want=None), "the live release is no canary")


def test_totals_of_a_tenant(node):
    """the operator bounds all apps of a tenant together"""
    tulou(node, "tenants", "quota", "acme", "requests=2", token=node.token, app=None)
    wait_for("the total holds", lambda: 429 in (status(node, "shop.apps.test"), status(node, "api.apps.test")))
    equal(status(node, "theirs.apps.test"), 200, "another tenant")
    tulou(node, "tenants", "quota", "acme", "requests=unlimited", token=node.token, app=None)
    time.sleep(0.5)
    check(all(status(node, "shop.apps.test") == 200 for _ in range(30)), "unlimited again")
