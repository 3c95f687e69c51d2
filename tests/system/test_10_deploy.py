"""Deploys: git push and tarball, releases, rollback, config, scale; and what a broken deploy says."""
import io, json, os, tarfile, time
from harness import *


def setup():
    node = Node("deploy").start()
    node.acme = node.tenant("acme")
    node.other = node.tenant("other")
    return node


def teardown(node):
    if node:
        node.cleanup()


def test_static_push(node):
    """git push of a static site: log in remote: lines, URL answers, mime type is right"""
    node.app("site", node.acme)
    node.site = node.git_repo({"index.html": "<h1>one</h1>", "style.css": "h1{}"})
    r = node.push(node.site, "site", node.acme)
    check(r.returncode == 0, r.stderr)
    check("remote:" in r.stderr and "---->" in r.stderr, r.stderr)
    status, body = node.get("site")
    equal((status, "one" in body), (200, True), "page")
    status, data, headers = node.request("GET", "/style.css", host="site.apps.test")
    check(headers["Content-Type"].startswith("text/css"), headers["Content-Type"])
    app = node.api("GET", "/v1/apps/site", token=node.acme, want=200)
    equal((app["state"], app["release"]["version"]), ("running", 1), "app")


def test_second_push_replaces(node):
    """a second push becomes release 2, and only then answers with the new page"""
    with open(node.site + "/index.html", "w") as f:
        f.write("<h1>two</h1>")
    node.commit(node.site)
    r = node.push(node.site, "site", node.acme)
    check(r.returncode == 0, r.stderr)
    check("two" in node.get("site")[1], node.get("site"))
    equal(node.api("GET", "/v1/apps/site", token=node.acme, want=200)["release"]["version"], 2, "version")


def test_rollback(node):
    """rollback brings release 1's page back without a build"""
    builds = len(node.api("GET", "/v1/apps/site/builds", token=node.acme, want=200)["items"])
    node.api("POST", "/v1/apps/site/rollback", {}, token=node.acme, want=202)
    wait_for("the old page", lambda: "one" in node.get("site")[1])
    equal(len(node.api("GET", "/v1/apps/site/builds", token=node.acme, want=200)["items"]), builds, "builds")


def test_other_branch(node):
    """a push to another branch is stored and not deployed"""
    before = node.api("GET", "/v1/apps/site", token=node.acme, want=200)["release"]["version"]
    r = node.push(node.site, "site", node.acme, "main:feature")
    check(r.returncode == 0, r.stderr)
    equal(node.api("GET", "/v1/apps/site", token=node.acme, want=200)["release"]["version"], before, "version")
    r = node.git(node.site, "-c", f"http.extraHeader=Host: {node.control}", "clone", "-q", f"http://x:{node.acme}@127.0.0.1:{node.port}/git/site.git", node.dir + "/clone")
    check(r.returncode == 0, r.stderr)
    check(os.path.exists(node.dir + "/clone/index.html"), "clone has no files")


def test_push_refused(node):
    """a push without, with a wrong, and with another tenant's token: 401, 401, 404; nothing changes"""
    for token, code in (("", "401"), ("tul_wrong", "401"), (node.other, "404")):
        r = node.push(node.site, "site", token)
        check(r.returncode != 0, f"push with token {token!r} was accepted")
        status = node.request("GET", "/git/site.git/info/refs?service=git-receive-pack", headers={"Authorization": "Basic " + base64.b64encode(f"x:{token}".encode()).decode()} if token else {})[0]
        equal(str(status), code, f"status with {token!r}")
    check(node.token and node.get("site")[0] == 200, "the site went away")


def test_broken_build(node):
    """a failing build rejects the push with the build's own error; the old release serves on"""
    d = node.git_repo({"package.json": '{"name":"x","version":"1.0.0","scripts":{"build":"echo the build says no; exit 3"},"dependencies":{}}', "index.js": ""})
    node.app("broken", node.acme)
    r = node.push(d, "broken", node.acme)
    check(r.returncode != 0 and "the build says no" in r.stderr, r.stderr)
    equal(node.api("GET", "/v1/apps/broken", token=node.acme, want=200)["release"], None, "release")
    node.deploy_ok("broken", node.acme, server("good"))
    r = node.push(d, "broken", node.acme)
    check(r.returncode != 0, "second push was accepted")
    check("good" in node.get("broken")[1], node.get("broken"))


def test_background_of_a_build(node):
    """a process that a build's script leaves behind holds up nothing and ends with the build"""
    node.app("left", node.acme)
    node.deploy_ok("left", node.acme, {"package.json": '{"name":"x","scripts":{"build":"sleep 86417 & echo built","start":"node s.js"}}',
                                       "s.js": "require('http').createServer((q,r)=>r.end('ok')).listen(process.env.PORT)"}, timeout=30)
    wait_for("its end", lambda: run("pgrep", "-fx", "sleep 86417").returncode == 1, 5)


def test_no_buildpack(node):
    """source that nothing recognises is refused with the next step"""
    node.app("what", node.acme)
    result, log = node.deploy("what", node.acme, {"README.txt": "nothing here"})
    equal(result["result"], "failed", "result")
    check("Procfile" in log + result["error"], log + str(result))
    result, log = node.deploy("what", node.acme, {**server(), "app.json": '{"formation":{"web":{"quantity":-1}}}'})
    equal(result.get("error"), "app.json.formation.web.quantity: \"-1\" is not a whole number from 0 to 100", "error")


def test_tarball(node):
    """a tarball deploy answers with the release and the URL"""
    node.app("py", node.acme)
    result, log = node.deploy_ok("py", node.acme, server("v1"))
    equal(result["release"], 1, "release")
    check("hello from v1" in node.get("py")[1], node.get("py"))


def test_config(node):
    """config vars make a release and reach the app; null removes; bad names are refused by name"""
    node.api("PATCH", "/v1/apps/py/config", {"GREETING": "hej"}, token=node.acme, want=200)
    wait_for("the variable", lambda: json.loads(node.get("py", "/env")[1]).get("GREETING") == "hej")
    env = json.loads(node.get("py", "/env")[1])
    for key in ("PORT", "HOME", "PATH"):
        check(key in env, f"{key} is not in the environment")
    node.api("PATCH", "/v1/apps/py/config", {"GREETING": None}, token=node.acme, want=200)
    wait_for("its end", lambda: "GREETING" not in json.loads(node.get("py", "/env")[1]))
    value = node.api("PATCH", "/v1/apps/py/config", {"BAD NAME": "x"}, token=node.acme, want=(400, 422))
    check("BAD" in json.dumps(value), value)


def test_scale(node):
    """scaling to 3 gives three instances that all answer; back to 1 leaves one"""
    node.api("PUT", "/v1/apps/py/formation", {"web": 3}, token=node.acme, want=200)
    wait_for("three", lambda: sum(i["state"] == "running" for i in node.instances("py")) == 3)
    pids = set()

    def three():
        pids.add(json.loads(node.get("py", "/env")[1])["TULOU_INSTANCE"])
        return len(pids) == 3
    wait_for("answers of all three", three)
    node.api("PUT", "/v1/apps/py/formation", {"web": 1}, token=node.acme, want=200)
    wait_for("one", lambda: len([i for i in node.instances("py") if i["state"] in ("running", "draining", "stopping")]) == 1)
    equal(node.get("py")[0], 200, "status")


def test_deploys_under_load(node):
    """10 deploys under load: no request fails"""
    with Load(node, "py", threads=4) as load:
        for i in range(10):
            node.deploy_ok("py", node.acme, server(f"d{i}"))
    check(not load.failures, f"{len(load.failures)} of {load.ok} failed: {load.failures[:5]}")
    check(load.ok > 50 and {"d0", "d8"} <= load.versions, f"{load.ok} requests, versions {load.versions}")


def test_worker(node):
    """a worker process type runs when it is scaled up, and its output is in the logs"""
    node.app("work", node.acme)
    node.deploy_ok("work", node.acme, {"Procfile": "web: python3 server.py\nworker: sh -c 'while :; do echo tick; sleep 0.2; done'\n", "server.py": SERVER % {"version": "w"}})
    node.api("PUT", "/v1/apps/work/formation", {"web": 1, "worker": 2}, token=node.acme, want=200)
    wait_for("ticks", lambda: node.logs("work").count("tick") > 3)
    wait_for("two workers", lambda: sum(i["type"] == "worker" for i in node.instances("work") if i["state"] == "running") == 2)


def test_run(node):
    """a one-off command sees the release and gives back its output and exit code"""
    status, data, _ = node.request("POST", "/v1/apps/py/runs", json.dumps({"command": "ls /app; echo $PORT; exit 7"}), token=node.acme, headers={"Content-Type": "application/json"})
    equal(status, 200, "status")
    lines = [json.loads(l) for l in data.splitlines()]
    check("server.py" in "".join(l.get("output", "") for l in lines), lines)
    equal(lines[-1].get("exit_code"), 7, "exit code")


def test_run_without_client(node):
    """a one-off command whose client went away ends; it does not go on counting against the quota"""
    running = lambda: node.api("GET", "/v1/tenants/acme", token=node.acme, want=200)["used"]["instances"]
    before = running()
    body = json.dumps({"command": "trap '' TERM; sleep 600"}).encode()
    head = f"POST /v1/apps/py/runs HTTP/1.1\r\nHost: {node.control}\r\nAuthorization: Bearer {node.acme}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", node.port)) as s:
        s.sendall(head.encode() + body)
        wait_for("the command", lambda: running() == before + 1, 10)
    wait_for("its end", lambda: running() == before, 10)


def hostile(*infos):
    return {i.name: i for i in infos} | {"Procfile": "web: sleep 9\n"}


def entry(name, **kw):
    t = tarfile.TarInfo(name)
    for k, v in kw.items():
        setattr(t, k, v)
    return t


def test_hostile_tarballs(node):
    """tarballs with .., absolute names, links out, devices: refused by name, nothing left behind"""
    node.app("bad", node.acme)
    cases = {
        "../evil": entry("../evil"),
        "/etc/evil": entry("/etc/evil"),
        "a/../../evil": entry("a/../../evil"),
        "link": entry("link", type=tarfile.SYMTYPE, linkname="/etc"),
        "up": entry("up", type=tarfile.SYMTYPE, linkname="../../etc/passwd"),
        "dev": entry("dev", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        "fifo": entry("fifo", type=tarfile.FIFOTYPE),
        "hard": entry("hard", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    }
    releases = set(os.listdir(node.data + "/releases"))
    for name, info in cases.items():
        result, log = node.deploy("bad", node.acme, hostile(info))
        check(result["result"] == "failed", f"{name} was accepted: {result} {log}")
    result, log = node.deploy("bad", node.acme, {"Procfile": "web: x\n"} | {"x" * 2000: "y"})
    equal(result["result"], "failed", "long name")
    status = node.request("POST", "/v1/apps/bad/builds", b"this is no tar" * 1000, token=node.acme)[1]
    check(b"failed" in status, status)
    wait_for("the half-made trees to go", lambda: set(os.listdir(node.data + "/releases")) <= releases)
    check(not os.path.exists("/etc/evil"), "/etc/evil exists on the host")


def test_bad_names(node):
    """names, quotas and JSON out of range or unknown are refused with the field"""
    for body, field in (({"name": "Bad_Name"}, "name"), ({"name": "x" * 60}, "name"), ({"name": "-x"}, "name"), ({"name": "ok", "nme": 1}, "nme"), ({}, "name"),
                        ({"name": "ok", "limits": {"memory_bytes": 1}}, "memory"), ({"name": "ok", "limits": {"pids": 10**9}}, "pids"), ({"name": 5}, "name")):
        status, value = node.api("POST", "/v1/apps", body, token=node.acme)
        check(status in (400, 422) and field in json.dumps(value), f"{body}: {status} {value}")
    status, data, headers = node.request("POST", "/v1/apps", '{"name": "a", ', token=node.acme)
    equal((status, headers["Content-Type"]), (400, "application/problem+json"), "broken JSON")
    status, value = node.api("POST", "/v1/apps", {"name": "site"}, token=node.acme)
    equal(status, 409, "taken name")
    equal(node.api("PUT", "/v1/apps/site/formation", {"web": 101}, token=node.acme)[0], 400, "formation")


def test_delete(node):
    """deleting an app stops it and removes its trees, repository and route"""
    node.api("DELETE", "/v1/apps/site", token=node.acme, want=(200, 202, 204))
    wait_for("404", lambda: node.get("site")[0] == 404)
    wait_for("its end", lambda: node.api("GET", "/v1/apps/site", token=node.acme)[0] == 404)
    wait_for("the repository to go", lambda: len(node.repos()) == 1)


def test_restart_finds_apps(node):
    """a clean stop leaves nothing behind; the next start runs the same apps"""
    equal(node.stop(), 0, "exit code")
    equal(node.leftovers(), [], "left behind")
    node.start()
    wait_for("the app", lambda: "hello from" in node.get("py")[1], 30)
