"""Apps that misbehave: their owner is told in plain words, nobody else notices."""
import time
from harness import *


def setup():
    node = Node("bad", "health: { timeout: 4s, grace: 2s }\n").start()
    node.acme = node.tenant("acme")
    node.app("good", node.acme)
    node.deploy_ok("good", node.acme, server("good"))
    return node


def teardown(node):
    if node:
        node.cleanup()


def failed(node, name, files):
    node.app(name, node.acme)
    result, log = node.deploy(name, node.acme, files)
    equal(result["result"], "failed", "result")
    return result["error"] + "\n" + log


def test_never_listens(node):
    """an app that never listens: the deploy fails and says $PORT"""
    check("PORT" in failed(node, "deaf", {"Procfile": "web: sleep 1000\n"}), "no word about $PORT")


def test_wrong_port(node):
    """an app that listens on another port, or on 127.0.0.1 only: the deploy fails and says so"""
    text = failed(node, "wrong", {"Procfile": "web: python3 -m http.server 9999\n"})
    check("PORT" in text, text)
    text = failed(node, "local", {"Procfile": "web: python3 -m http.server --bind 127.0.0.1 $PORT\n"})
    check("0.0.0.0" in text, text)


def test_health_path_says_no(node):
    """an app whose health path is answered with an error: the deploy fails with path and status, not with a guess about ports"""
    text = failed(node, "unwell", {"Procfile": "web: python3 -m http.server $PORT\n", "tulou.yaml": "health: { path: /up }\n"})
    check("web listens, but is not ready after 4 s: GET /up was answered 404, wanted is 2xx or 3xx" in text, text)
    check("0.0.0.0" not in text and "must listen" not in text, text)


def test_exits_at_once(node):
    """an app that exits at once: the deploy fails with its exit code and its last words"""
    text = failed(node, "exits", {"Procfile": "web: sh -c 'echo my last words; exit 42'\n"})
    check("42" in text and "my last words" in text, text)


def test_old_release_serves(node):
    """a new release that fails its check leaves the old one serving"""
    with Load(node, "good", threads=2) as load:
        result, log = node.deploy("good", node.acme, {"Procfile": "web: sleep 1000\n"})
    equal(result["result"], "failed", "result")
    check(not load.failures, load.failures[:3])
    check("good" in node.get("good")[1], "the old release is gone")
    equal(node.api("GET", "/v1/apps/good", token=node.acme, want=200)["release"]["version"], 1, "release")


ILL = """import http.server, os, signal, sys, time
me, ill = os.environ["TULOU_INSTANCE"], [time.time() > END]
signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a):
        pass
    def do_GET(self):
        if self.path in ("/break?" + me, "/mend?" + me):
            ill[0] = self.path[1] == "b"
        print("asked", self.headers.get("User-Agent"), flush=True) if self.path == "/up" else None
        self.send_response(503 if self.path == "/up" and ill[0] else 200)
        self.send_header("Content-Length", str(len(me)))
        self.end_headers()
        self.wfile.write(me.encode())
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), H).serve_forever()
"""


def deploy_ill(node, name, more, end="1e18"):
    """end: who starts later is ill from the first"""
    node.app(name, node.acme)
    node.deploy_ok(name, node.acme, {"Procfile": "web: python3 server.py\n", "server.py": ILL.replace("END", end),
                                     "tulou.yaml": "health: { path: /up, interval: 5s, failures: 2 }\n" + more})


def test_running_one_fails_its_check(node):
    """a running instance whose health path fails: an event, no request more, another takes its place, none fails"""
    deploy_ill(node, "ill", "formation: { web: 2 }\n")
    who = lambda: {node.get("ill")[1] for _ in range(12)}
    names = wait_for("both", lambda: (lambda x: x if len(x) == 2 else None)(who()))
    bad = sorted(names)[0]
    wait_for("it is ill", lambda: node.get("ill", f"/break?{bad}")[1] == bad)
    with Load(node, "ill", threads=1, pause=0.02) as load:
        event = wait_for("the event", lambda: next((e for e in node.events("ill") if e["kind"] == "instance.unhealthy"), None), 30)
        wait_for("no request more", lambda: bad not in who(), 2)
        wait_for("another", lambda: len(who() - names) == 1, 20)
        check(bad not in who(), "the ill one serves again")
        wait_for("it is gone", lambda: bad not in [f"web.{i['id']}" for i in node.instances("ill") if i["state"] != "exited"], 20)
    check(bad in event["text"] and "GET /up was answered 503" in event["text"], event["text"])
    check(not load.failures and load.ok, load.failures[:3])


def test_the_only_one_fails_its_check_and_recovers(node):
    """it serves on when what would take its place is ill too, and is well again once it says so; without an interval nobody asks"""
    end = time.time() + 12  # build and start of the first take less, beside other work too
    deploy_ill(node, "alone", "", str(end))
    time.sleep(max(0, end - time.time()))
    kinds = lambda: [e["kind"] for e in node.events("alone")]
    me = node.get("alone")[1]
    node.get("alone", f"/break?{me}")
    wait_for("the event", lambda: "instance.unhealthy" in kinds(), 30)
    wait_for("one that is ill from the first", lambda: len([i for i in node.instances("alone") if i["state"] != "exited"]) > 1, 10)
    for _ in range(5):
        equal(node.get("alone"), (200, me), "it serves on")
        time.sleep(1)
    node.get("alone", f"/mend?{me}")
    wait_for("it is well", lambda: "instance.healthy" in kinds(), 20)
    equal(node.get("alone"), (200, me), "it serves")
    asked = node.logs("alone", lines=100).count("asked tulou-health")
    check(asked >= 4, f"asked {asked} times")
    node.app("quiet", node.acme)
    node.deploy_ok("quiet", node.acme, {"Procfile": "web: python3 server.py\n", "server.py": ILL.replace("END", "1e18"), "tulou.yaml": "health: { path: /up }\n"})
    time.sleep(12)
    equal(node.logs("quiet", lines=100).count("asked tulou-health"), 1, "asked at its start alone")


def test_crash_loop(node):
    """an app that starts to crash: back-off, a verdict, an event, and a page that says who failed"""
    node.app("loop", node.acme)
    node.deploy_ok("loop", node.acme, {"Procfile": "web: python3 server.py\n", "server.py": "import os, threading\nthreading.Timer(1.5, lambda: os._exit(3)).start()\n" + SERVER % {"version": "x"}})
    wait_for("the verdict", lambda: any(e["kind"] == "instance.crashloop" for e in node.events("loop")), 60)
    equal(node.api("GET", "/v1/apps/loop", token=node.acme, want=200)["state"], "crashed", "state")
    status, body = node.get("loop")
    equal(status, 503, "status")


def test_ignores_term(node):
    """an app that ignores SIGTERM is killed after the grace, and its owner reads it"""
    node.app("stubborn", node.acme)
    node.deploy_ok("stubborn", node.acme, {"Procfile": "web: python3 server.py\n", "server.py": SERVER.replace("lambda *a: sys.exit(0)", "signal.SIG_IGN") % {"version": "x"}})
    pid = node.instances("stubborn")[0]["pid"]
    t = time.monotonic()
    node.api("PUT", "/v1/apps/stubborn/formation", {"web": 0}, token=node.acme, want=200)
    wait_for("its end", lambda: not node.instances("stubborn") or all(i["state"] == "exited" for i in node.instances("stubborn")), 15)
    check(time.monotonic() - t > 1.5, "it was not given its grace")
    check(any("SIGTERM" in e["text"] or "killed" in e["text"] for e in node.events("stubborn")), node.events("stubborn"))


def test_endless_output(node):
    """an app that prints without end: bounded logs, a note about what was dropped, the neighbour is quick"""
    node.app("loud", node.acme)
    node.deploy_ok("loud", node.acme, {"Procfile": "web: python3 server.py\nyes: yes yes yes\n", "server.py": SERVER % {"version": "x"}})
    node.api("PUT", "/v1/apps/loud/formation", {"web": 1, "yes": 1}, token=node.acme, want=200)
    time.sleep(3)
    slow = []
    for i in range(20):
        t = time.monotonic()
        equal(node.get("good")[0], 200, "neighbour")
        slow.append(time.monotonic() - t)
    check(sorted(slow)[10] < 0.25, f"median of the neighbour: {sorted(slow)[10]:.3f} s")
    check("dropped" in node.logs("loud", lines=200) or wait_for("a note", lambda: "dropped" in node.logs("loud", lines=200)), "no note")
    size = int(run("du", "-sb", node.data + "/logs").stdout.split()[0])
    check(size < 32 << 20, f"logs are {size} bytes")
    node.api("PUT", "/v1/apps/loud/formation", {"web": 0, "yes": 0}, token=node.acme, want=200)


def test_binary_output(node):
    """output with NUL, escape sequences and half lines does no harm"""
    node.app("binary", node.acme)
    node.deploy_ok("binary", node.acme, {"Procfile": "web: python3 server.py\nb: sh -c 'printf \"\\\\033[31mred\\\\0nul\\\\r\\\\nno end\"; sleep 100'\n", "server.py": SERVER % {"version": "x"}})
    node.api("PUT", "/v1/apps/binary/formation", {"web": 1, "b": 1}, token=node.acme, want=200)
    wait_for("the line", lambda: "red" in node.logs("binary"))


def test_unknown_host(node):
    """a host that nobody has: 404 with a page in words"""
    status, body = node.get("nobody")
    equal(status, 404, "status")
    check("nobody" not in body or "<script" not in body, body)


def test_tenant_quota(node):
    """a tenant over its memory is refused with limit, use and need"""
    poor = node.tenant("poor", {"memory_bytes": "300MiB"})
    node.app("p1", poor)
    node.deploy_ok("p1", poor, server("p1"))
    status, value = node.api("PUT", "/v1/apps/p1/formation", {"web": 5}, token=poor)
    if status == 200:
        wait_for("an event about the quota", lambda: any("quota" in e["text"] for e in node.events("p1", poor)))
    else:
        check("quota" in str(value), value)
    check(sum(i["state"] == "running" for i in node.instances("p1", poor)) <= 1, "over the quota")
    equal(node.get("p1")[0], 200, "status")


def test_log_rate(node):
    """lines over an app's rate are dropped and counted; a new rate holds at once, without a restart"""
    node.app("talk", node.acme, limits={"log_rate": 50})
    node.deploy_ok("talk", node.acme, {"Procfile": "web: python3 server.py\ntalk: sh -c 'while :; do for i in 1 2 3 4 5 6 7 8 9 10; do echo word; done; sleep 0.02; done'\n",
                                       "server.py": SERVER % {"version": "x"}})
    node.api("PUT", "/v1/apps/talk/formation", {"talk": 1}, token=node.acme, want=200)
    wait_for("a note about what was dropped", lambda: "more than 50 lines a second" in node.logs("talk", lines=500), 20)
    pid = [i["pid"] for i in node.instances("talk") if i["type"] == "talk"]
    node.api("PATCH", "/v1/apps/talk", {"limits": {"log_rate": 20}}, token=node.acme, want=200)
    wait_for("the new rate", lambda: "more than 20 lines a second" in node.logs("talk", lines=500), 20)
    equal([i["pid"] for i in node.instances("talk") if i["type"] == "talk"], pid, "pid")
    node.api("PUT", "/v1/apps/talk/formation", {"talk": 0}, token=node.acme, want=200)
