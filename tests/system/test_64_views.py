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
