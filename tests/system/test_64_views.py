"""What users see of the front door: top talkers, latency, canaries, through a whole node and the command line."""
import threading
from harness import *


def setup():
    node = Node("views")
    node.start()
    node.acme, node.evil = node.tenant("acme"), node.tenant("evil")
    for name, token in (("shop", node.acme), ("theirs", node.evil)):
        node.app(name, token)
        node.deploy_ok(name, token, {"server.py": SERVER % {"version": "v1"}, "Procfile": "web: python3 server.py\n"})
    return node


def teardown(node):
    if node:
        node.cleanup()


def tulou(node, *words, token=None, app="shop", want=0):
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=token or node.acme, HOME=node.dir)
    r = run(os.path.join(BUILD, "tulou"), *words, *(("-a", app) if app else ()), env=env, timeout=90)
    check(want is None or r.returncode == want, f"tulou {' '.join(words)}: {r.returncode}: {r.stdout} {r.stderr}")
    return r.stdout + r.stderr


class Visitors:
    """Requests to an app until the end of the block."""

    def __init__(self, node, **apps):
        self.node, self.apps, self.over = node, apps, False

    def __enter__(self):
        self.threads = [threading.Thread(target=self.loop, args=a) for a in self.apps.items()]
        for t in self.threads:
            t.start()

    def loop(self, app, path):
        while not self.over:
            self.node.get(app, path)
            time.sleep(0.02)

    def __exit__(self, *a):
        self.over = True
        for t in self.threads:
            t.join()


def names(doc, kind):
    return [row["name"] for row in doc[kind]]


def test_top_talkers(node):
    """a tenant sees who talks to its own app, the operator the whole node"""
    with Visitors(node, shop="/cart/items/7?token=secret", theirs="/other"):
        doc = json.loads(tulou(node, "top", "--json", "--for", "2s"))
        whole = json.loads(tulou(node, "top", "--node", "--json", "--for", "2s", token=node.token, app=None))
        text = tulou(node, "top", "--once", "--for", "1s", "--by", "time")
    check(doc["requests"] > 5 and doc["sampled"] == doc["requests"] and doc["workers_missing"] == 0, doc)
    equal(names(doc, "paths"), ["/cart/items/"], "paths")
    equal(names(doc, "clients"), ["127.0.0.1"], "clients")
    check(abs(doc["clients"][0]["share"] - 1) < 0.01 and doc["clients"][0]["errors"] == 0, doc)
    check("secret" not in json.dumps(doc) and "theirs" not in json.dumps(doc), "only what is its own, and no queries")
    check({"shop", "theirs", "@control"} >= set(names(whole, "apps")) >= {"shop", "theirs"}, whole)
    equal({a["name"]: a["tenant"] for a in whole["apps"] if a["name"][0] != "@"}, {"shop": "acme", "theirs": "evil"}, "whose apps")
    equal(sorted(names(whole, "tenants")), ["acme", "evil"], "tenants")
    check("paths" not in whole, "no paths of tenants for the node")
    check("/cart/items/" in text and "127.0.0.1" in text and "by time" in text, text)
    time.sleep(0.2)
    check("No request ended" in tulou(node, "top", "--once", "--for", "1s"), "a quiet app")
    tulou(node, "top", "--once", app="theirs", want=1)
    tulou(node, "top", "--node", "--once", app=None, want=3)
    check("--by" in tulou(node, "top", "--by", "cpu", want=2), "usage")
    check("--for" in tulou(node, "top", "--for", "5h", want=2), "usage")


def test_talkers_when_a_worker_dies(node):
    """who looks gets an answer all the same, which says that a worker is missing"""
    out = []

    def ask():
        try:
            out.append(node.api("GET", "/v1/apps/shop/talkers?for=3s", token=node.acme, want=200))
        except (OSError, http.client.HTTPException):
            pass  # it came through the worker that died
    askers = [threading.Thread(target=ask) for _ in range(4)]
    for t in askers:
        t.start()
    time.sleep(0.5)
    victims = node.role_pids("proxy")
    os.kill(victims[0], signal.SIGKILL)
    for t in askers:
        t.join(30)
    check(all(doc["workers_missing"] == 1 and doc["workers"] == len(victims) - 1 for doc in out), out)
    wait_for("all workers are back", lambda: len(node.role_pids("proxy")) == len(victims))

    def whole():
        status, doc = node.api("GET", "/v1/apps/shop/talkers?for=1s", token=node.acme)
        return status == 200 and doc["workers"] == len(victims)
    wait_for("all of them answer", whole)


def test_talkers_are_bounded(node):
    """four at a time of a tenant, the fifth is told so; others are not in the way"""
    got = []
    askers = [threading.Thread(target=lambda: got.append(node.api("GET", "/v1/apps/shop/talkers?for=3s", token=node.acme)[0])) for _ in range(4)]
    for t in askers:
        t.start()
    time.sleep(0.7)
    equal(node.api("GET", "/v1/apps/shop/talkers?for=1s", token=node.acme)[0], 429, "the fifth")
    equal(node.api("GET", "/v1/apps/theirs/talkers?for=1s", token=node.evil)[0], 200, "another tenant's")
    for t in askers:
        t.join()
    equal(got, [200] * 4, "the four")
    equal(node.api("GET", "/v1/apps/shop/talkers?for=1s", token=node.acme)[0], 200, "afterwards")


def source(version, procfile="web: python3 server.py\n", **more):
    return {"server.py": SERVER % {"version": version}, "Procfile": procfile, **more}


def test_latency_and_refusals(node):
    """how long requests took, how they ended, and what the front door refused; over JSON and Prometheus"""
    for _ in range(10):
        node.get("shop")
    tulou(node, "front", "set", "allow=192.0.2.0/24")
    wait_for("the door is shut", lambda: node.get("shop")[0] == 403)
    tulou(node, "front", "set", "allow=any")
    wait_for("it is open", lambda: node.get("shop")[0] == 200)
    doc = node.api("GET", "/v1/apps/shop/latency", token=node.acme, want=200)
    for part in ("recent", "total"):
        of = doc[part]
        check(of["requests"] >= 10 and of["status"]["2xx"] >= 10 and of["status"]["4xx"] >= 1, of)
        check(of["duration"]["count"] == of["requests"] and 0 < of["duration"]["p50_ms"] <= of["duration"]["p99_ms"], of)
    check(doc["refused"]["address-refused"] >= 1 and doc["refused"]["auth-required"] == 0, doc["refused"])
    metrics = node.request("GET", "/metrics", host=node.control, token=node.token)[1].decode()
    check('tulou_app_refused_total{tenant="acme",app="shop",reason="address-refused"}' in metrics, "Prometheus")
    equal(node.api("GET", "/v1/apps/theirs/latency", token=node.acme)[0], 404, "of another tenant")
    check("P99" in tulou(node, "apps", "latency"), "on the command line")


def test_front_speaks_the_words_of_its_command(node):
    """wrong words end with 2 and name what was typed; values come with units"""
    check("requests/s" in tulou(node, "front", "set", "rate=500", "body=10MiB", "time=30s"), "units")
    said = tulou(node, "front")
    check("500 requests/s" in said and "10 MiB" in said and "30 s" in said, said)
    for words, named in ((("front", "set", "allow=10.0.0.1/8"), "allow:"), (("front", "set", "body=2000TiB"), "body:"), (("maintenance", "--allow", "nonsense"), "--allow:"),
                         (("front", "set", "rate=0"), "rate:"), (("canary", "start", "next", "--header", "a b=c"), "--header:")):
        text = tulou(node, *words, want=2)
        check(named in text and "limits." not in text and "maintenance." not in text, f"{words}: {text}")
    tulou(node, "front", "set", "rate=none", "body=none", "time=none")
    node.app("api", node.acme)
    check("PATH:" in tulou(node, "routes", "add", "nopath", "api", want=2), "a path begins with /")
    check("APP:" in tulou(node, "routes", "add", "/api", "nosuch", want=2), "an app that is not there")
    tulou(node, "routes", "add", "/api", "api")
    equal(json.loads(tulou(node, "routes", "--json"))["items"][0]["strip"], False, "as it is")
    tulou(node, "routes", "add", "/api", "api", "--strip")
    equal(json.loads(tulou(node, "routes", "--json"))["items"][0]["strip"], True, "switched")
    tulou(node, "routes", "remove", "/api")
    text = tulou(node, "apps", "egress", "10.0.0.0/8:443", want=None)
    check("stays closed" in text, text)
    tulou(node, "apps", "egress", "203.0.113.0/24:443")
    check("keeps no access log" in tulou(node, "logs", "--access"), "why nothing is shown")
    tulou(node, "apps", "serving", "access_log=all")
    check("keeps no access log" not in tulou(node, "logs", "--access"), "it is on")


def test_commands_say_how_things_ended(node):
    """restart and rollback end with the release, ps says why nothing runs, profile what is so at once, run that it passes no input on"""
    node.app("words", node.acme)
    say = lambda *words, want=0: tulou(node, *words, app="words", want=want)
    check("words was never deployed" in say("ps"), "never deployed")
    node.deploy("words", node.acme, {"package.json": "{"})
    check("its last build failed" in say("ps"), say("ps"))
    tree = {"server.py": SERVER % {"version": "v1"}, "Procfile": "web: python3 server.py\n"}
    node.deploy_ok("words", node.acme, tree)
    check("v2 is the live release of words" in say("apps", "restart", "words"), "a restart")
    check("v3 is the live release" in say("rollback", "v1"), "a rollback")
    say("scale", "web=0")
    wait_for("its end", lambda: not node.instances("words", node.acme), 30)
    check("scaled to zero (web=0)" in say("ps"), "scaled to zero")
    say("scale", "web=1")
    wait_for("an instance", lambda: [i for i in node.instances("words", node.acme) if i["state"] == "running"])
    say("apps", "pause", "words")
    wait_for("its end", lambda: not node.instances("words", node.acme), 30)
    check("words is paused" in say("ps"), "paused")
    say("apps", "resume", "words")
    wait_for("an instance", lambda: [i for i in node.instances("words", node.acme) if i["state"] == "running"])
    text = say("apps", "profile", "strict")
    check(re.search(r"^at once +egress: none \(strict profile\)$", text, re.M) and "from its next start on" in text, text)
    say("apps", "profile", "default")
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=node.acme, TULOU_APP="words", HOME=node.dir)
    r = subprocess.run([os.path.join(BUILD, "tulou"), "run", "cat"], input="lost", capture_output=True, text=True, env=env, timeout=60)
    check(r.returncode == 0 and r.stdout == "" and "standard input was not passed on" in r.stderr, r)
    # One that finds no room beside the old one: the reason is printed, and the old one serves on.
    node.api("PUT", "/v1/tenants/acme/quota", {"memory_bytes": "300MiB"}, want=200)
    text = say("apps", "restart", "words", want=1)
    check(re.search(r"v\d+ failed: tenant acme: memory quota 300 MiB", text) and "serves on" in text, text)
    equal(node.get("words")[0], 200, "the old one")
    node.api("PUT", "/v1/tenants/acme/quota", {"memory_bytes": "4GiB"}, want=200)
    node.api("DELETE", "/v1/apps/words", token=node.acme, want=204)


def test_a_canary_waits_serves_and_is_given_up(node):
    """a deploy to a canary waits for it; one that crashes is taken away, says why, and nobody notices"""
    check("no canary" in tulou(node, "canary", "abort", want=1), "nothing to abort")
    tulou(node, "canary", "start", "next", "--weight", "50", "--header", "X-Canary=yes")
    check("waiting" in tulou(node, "canary"), "armed")
    log = node.deploy_ok("shop", node.acme, source("second"))[1]
    check("is started as the canary" in log and "is the canary and serves its part" in log, log)
    seen = {node.request("GET", "/", host="shop.apps.test", headers={"X-Canary": "yes"})[2].get("X-Version") for _ in range(5)}
    equal(seen, {"second"}, "it serves when the deploy is over")
    for _ in range(20):
        node.get("shop")
    doc = json.loads(tulou(node, "canary", "--json"))
    check(doc["state"] == "serving" and doc["stats"]["requests"] >= 10 and doc["stats"]["live_requests"] >= 5 and doc["stats"]["errors"] == 0, doc)
    text = tulou(node, "canary")
    check("serving, 1 of 1" in text and "requests, 0 errors" in text, text)
    tulou(node, "canary", "abort")
    # The next one begins anew: nothing of the old one's header is left.
    tulou(node, "canary", "start", "next", "--weight", "50")
    equal(json.loads(tulou(node, "canary", "--json"))["header"], "", "the header of a former canary")
    with Visitors(node, shop="/"):
        result, log = node.deploy("shop", node.acme, source("broken", "web: sleep 1; exit 7\n"))
    check(result["result"] != "succeeded" and "exited with code 7" in json.dumps(result) + log, f"{result} {log}")
    wait_for("it is no canary any more", lambda: json.loads(tulou(node, "canary", "--json"))["version"] is None)
    check(any(e["kind"] == "canary.aborted" and "code 7" in e["text"] for e in node.events("shop")), "an event says why")
    equal(node.get("shop")[0], 200, "the live release serves on")


def test_a_formation_of_an_unknown_type(node):
    """a slip in tulou.yaml is told in the build's log"""
    log = node.deploy_ok("shop", node.acme, source("third", **{"tulou.yaml": "formation: { web: 1, wroker: 2 }\n"}))[1]
    check('no process type "wroker"' in log and "the release has: web" in log, log)
