"""How an app is served: roll-outs that hold under load, pauses that hold, limits of concurrency, its access log and figures."""
import http.client
from harness import *


def setup():
    node = Node("serving").start()
    node.acme = node.tenant("acme")
    node.app("py", node.acme)
    node.deploy_ok("py", node.acme, server("d0"))
    return node


def teardown(node):
    if node:
        node.cleanup()


def serving(node, **values):
    return node.api("PATCH", "/v1/apps/py", {"serving": values}, token=node.acme, want=200)["serving"]


def held(version):
    return {**server(version), "tulou.yaml": "rollout: hold\n"}


def test_settings(node):
    """settings are shown as they were set, bad ones change nothing and are named"""
    got = serving(node, concurrency=50, drain_seconds=20, access_log="1/2", rollout="start-first")
    equal(got, {"concurrency": 50, "drain_seconds": 20, "access_log": "1/2", "rollout": "start-first", "hold": False}, "settings")
    for bad, field in (({"concurrency": 10001}, "concurrency"), ({"drain_seconds": 3601}, "drain_seconds"), ({"rollout": "big"}, "serving.rollout"),
                       ({"access_log": "1/0"}, "serving.access_log"), ({"access_log": "some"}, "serving.access_log"), ({"x": 1}, "x"), ({"hold": 1}, "hold")):
        answer = node.api("PATCH", "/v1/apps/py", {"serving": {"concurrency": 1, **bad}}, token=node.acme)
        check(field in str(answer), f"{bad}: {answer}")
    equal(node.api("GET", "/v1/apps/py", token=node.acme, want=200)["serving"], got, "after bad ones")
    serving(node, concurrency=0, drain_seconds=0, access_log="off", rollout="auto")


def test_held_rollouts_lose_nothing(node):
    """deploys and restarts of an app that must not run twice: requests wait and none fails, and never do two run"""
    most, done = [0], [False]

    def watch():
        while not done[0]:
            most[0] = max(most[0], len([i for i in node.instances("py", node.acme) if i["state"] not in ("exited", "stopping")]))
            time.sleep(0.02)
    node.deploy_ok("py", node.acme, held("h0"))
    watcher = threading.Thread(target=watch)
    watcher.start()
    with Load(node, "py", threads=8) as load:
        for i in range(1, 4):
            node.deploy_ok("py", node.acme, held(f"h{i}"))
        node.api("POST", "/v1/apps/py/restart", token=node.acme)
        wait_for("the restart", lambda: node.api("GET", "/v1/apps/py", token=node.acme, want=200)["candidate"] is None, 40)
        time.sleep(0.5)
    done[0] = True
    watcher.join()
    check(not load.failures, f"{len(load.failures)} of {load.ok} failed: {load.failures[:5]}")
    check(load.ok > 50 and {"h1", "h3"} <= load.versions, f"{load.ok} requests, versions {load.versions}")
    equal(most[0], 1, "instances at a time")


def test_a_held_rollout_that_fails_brings_the_old_one_back(node):
    """a new release that ends before it listens: the old one is started again and serves those who waited"""
    with Load(node, "py", threads=4, pause=0.01) as load:
        node.deploy("py", node.acme, {"Procfile": "web: sleep 2; exit 1\n", "tulou.yaml": "rollout: hold\n"})
        wait_for("the old one", lambda: [i for i in node.instances("py", node.acme) if i["state"] == "running"], 60)
        time.sleep(1)
    check(not load.failures, f"{len(load.failures)} of {load.ok} failed: {load.failures[:5]}")
    equal(load.versions, {"h3"}, "versions")


def test_hold(node):
    """a held app keeps its requests waiting while it runs, and serves them all afterwards"""
    serving(node, hold=True)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(node.get("py")[0])) for _ in range(5)]
    for t in threads:
        t.start()
    time.sleep(1)
    equal(answers, [], "answers while it is held")
    serving(node, hold=False)
    for t in threads:
        t.join(20)
    equal(answers, [200] * 5, "answers")


def test_concurrency(node):
    """one request at a time per instance: others wait, over all workers"""
    serving(node, concurrency=1)
    start, codes = time.monotonic(), []
    threads = [threading.Thread(target=lambda: codes.append(node.get("py", "/sleep/0.3")[0])) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    equal(codes, [200] * 5, "answers")
    check(time.monotonic() - start >= 1.5, "they ran beside each other")
    serving(node, concurrency=0)


def test_access_log(node):
    """an app's own access log: on request, without queries, not another tenant's"""
    def lines():
        status, text, _ = node.request("GET", "/v1/apps/py/logs?source=access&lines=100", host="control.test", token=node.acme)
        return status, [json.loads(l) for l in text.splitlines()]
    before = len(lines()[1])
    serving(node, access_log="all")
    node.get("py", "/seen?password=secret")
    wait_for("the line", lambda: any(l["path"] == "/seen" for l in lines()[1]))
    got = [l for l in lines()[1] if l["path"] == "/seen"]
    equal((len(got), got[0]["status"], got[0]["app"], "to" in got[0], "secret" in json.dumps(got)), (1, 200, "py", False, False), "the line")
    check(len(got[0]["trace_id"]) == 32, got[0])
    serving(node, access_log="off")
    other = node.tenant("other")
    equal(node.request("GET", "/v1/apps/py/logs?source=access", host="control.test", token=other)[0], 404, "another tenant")
    check(before == 0, "it was on before")


def test_histograms(node):
    """figures of an app: every histogram is complete and its tenant sees it"""
    text = node.request("GET", "/metrics", host="control.test", token=node.acme)[1].decode()
    for name in ("request_duration_seconds", "upstream_duration_seconds", "queue_seconds", "request_size_bytes", "response_size_bytes"):
        rows = [l for l in text.splitlines() if l.startswith(f"tulou_app_{name}_") and 'app="py"' in l]
        buckets = [int(l.rsplit(" ", 1)[1]) for l in rows if "_bucket{" in l]
        count = int([l for l in rows if "_count{" in l][0].rsplit(" ", 1)[1])
        check(buckets == sorted(buckets) and buckets[-1] == count and "+Inf" in [l for l in rows if "_bucket{" in l][-1], f"{name}: {rows}")
        check(any("_sum{" in l for l in rows), name)
        check(count > 0 or name == "request_size_bytes", f"{name}: nothing was counted")


def test_a_held_rollout_that_does_not_fit_stops_nothing(node):
    """refused with whose limit and how much is left, while the old release serves; when nothing can run, requests are told at once"""
    serving(node, rollout="hold")
    before = [i["id"] for i in node.instances("py", node.acme) if i["state"] == "running"]
    quota = node.api("GET", "/v1/tenants/acme/quota", want=200)["memory_bytes"]
    node.api("PATCH", "/v1/apps/py", {"limits": {"memory_bytes": "128MiB"}}, token=node.acme, want=200)
    node.api("PUT", "/v1/tenants/acme/quota", {"memory_bytes": "100MiB"}, want=200)
    with Load(node, "py", threads=4, pause=0.01) as load:
        result, log = node.deploy("py", node.acme, server("never"))
        equal(result["result"], "failed", log)
        check("tenant acme: memory quota" in result["error"] and "left" in result["error"] and "needed" in result["error"], result)
        status, value = node.api("POST", "/v1/apps/py/restart", token=node.acme)
        equal(status, 403, value)
        time.sleep(0.5)
    check(not load.failures, f"{len(load.failures)} of {load.ok} failed: {load.failures[:5]}")
    equal([i["id"] for i in node.instances("py", node.acme) if i["state"] == "running"], before, "the old instance")
    a = node.api("GET", "/v1/apps/py", token=node.acme, want=200)
    equal((a["state"], a["candidate"]), ("running", None), "app")
    check(any(e["kind"] == "deploy.failed" and "nothing was stopped for it" in e["text"] for e in node.events("py", node.acme)), node.events("py", node.acme))
    # It ends, and cannot come back: known after the second try, so nobody waits for it.
    os.kill(node.instances("py", node.acme)[0]["pid"], signal.SIGKILL)
    wait_for("the app to be called crashed", lambda: node.api("GET", "/v1/apps/py", token=node.acme, want=200)["state"] == "crashed")
    start = time.monotonic()
    equal(node.get("py")[0], 503, "answer")
    check(time.monotonic() - start < 5, f"the answer took {time.monotonic() - start} s")
    node.api("PUT", "/v1/tenants/acme/quota", {"memory_bytes": quota}, want=200)
    wait_for("the app", lambda: node.get("py")[0] == 200)
    node.deploy_ok("py", node.acme, server("fits"))
    node.api("PATCH", "/v1/apps/py", {"limits": None}, token=node.acme, want=200)
    serving(node, rollout="auto")
