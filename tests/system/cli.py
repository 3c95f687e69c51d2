"""The tulou command against a small server that plays the API, hostile answers included.  Speaks TAP by itself.

usage: python3 tests/system/cli.py [PROGRAM]
"""

import http.server
import io
import json
import os
import re
import ssl
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

TULOU = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("TULOU_BUILD", "build") + "/tulou")
EVIL = "evil\x1b[2J\u202e\x07"
NOW = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
APP = {"name": "shop", "tenant": "acme", "url": "http://shop.localhost", "git_url": "http://tulou.localhost/git/shop.git", "created_at": NOW,
       "state": "running", "release": {"version": 3, "created_at": NOW, "note": "Deploy 3f2a91c"}, "candidate": None,
       "limits": {"memory_bytes": 268435456, "disk_bytes": 67108864, "cpu": 0.5, "pids": 256, "nofile": 4096},
       "health_path": "", "paused": False, "formation": {"web": 2, "worker": 1},
       "stats": {"state": "running", "instances_running": 2, "instances_wanted": 3, "memory_bytes": 1048576, "requests_total": 7,
                 "requests_per_second": 1.5, "p50_ms": 1.2, "p99_ms": 30}}


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = []      # (method, path, token, body)
    drops = 0      # connections of followers to cut before the end

    def log_message(self, *args):
        pass

    def answer(self, status, body, kind="application/json", headers=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/problem+json" if status >= 400 else kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)

    def problem(self, status, detail, field=None):
        self.answer(status, {"type": "about:blank", "title": "No", "status": status, "detail": detail, **({"field": field} if field else {})})

    def stream(self, kind, pieces):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece.encode())
            self.wfile.flush()
        self.close_connection = True

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        Api.seen.append((self.command, self.path, token, body))
        path, _, query = self.path.partition("?")
        key = f"{self.command} {path}"
        if token != "tul_good":
            return self.problem(401, "the token is not known")
        if key == "GET /v1/whoami":
            return self.answer(200, {"role": "admin", "tenant": "acme", "token_id": 1})
        if key == "PUT /v1/tenants/acme/quota":
            return self.problem(400, "memory_bytes: null is for the plan's value, and the tenant is on no plan", "memory_bytes")
        if key == "POST /v1/tenants":
            return self.problem(400, "pids: 9 is outside 10..20", "quota.pids")
        if key == "PATCH /v1/tenants/acme":
            return self.problem(400, "memory_bytes: 1 byte is outside 8 MiB to 4 TiB", "memory_bytes")
        if key == "PATCH /v1/plans/tight":
            return self.problem(400, "limits.memory_bytes: 1 KiB is outside 8 MiB to 1 TiB", "limits.memory_bytes")
        if key == "PATCH /v1/plans/hobby":
            return self.answer(200, {"name": "hobby", "created_at": NOW, "tenants": 2, "profile": "default", "lowered_more": 7,
                                     "clamped": {"limits": {"memory_bytes": 1 << 30}, "quota": {"memory_bytes": 1 << 26}},
                                     "raised": [{"app": "up", "tenant": "acme", "from": {"cpu": 0.5}, "to": {"cpu": 1}}],
                                     "over": [{"tenant": EVIL, "committed": {"instances": 9}, "limit": {"instances": 1}}], "over_more": 3,
                                     "lowered": [{"app": "shop", "tenant": "acme", "from": {"pids": 90}, "to": {"pids": 70}}],
                                     "above": [{"app": EVIL, "tenant": "other", "limits": {"memory_bytes": 83886080}, "quota": {"memory_bytes": 67108864}}]})
        if key == "GET /v1/plans":
            return self.answer(200, {"items": [{"name": "hobby"}], "next": None})
        if key == "GET /v1/tenants":
            return self.answer(200, {"items": [{"name": "acme"}], "next": None})
        if key == "GET /v1/apps":
            if "after=two%20words" in query:
                return self.answer(200, {"items": [{**APP, "name": "last"}], "next": None})
            return self.answer(200, {"items": [APP, {**APP, "name": EVIL, "state": "crashed"}, {**APP, "name": "fresh", "state": "empty", "empty": "build failed"},
                                              {**APP, "name": "late", "serving": {"hold": True}}], "next": "two words"})
        if key == "POST /v1/apps":
            name = json.loads(body)["name"]
            if name == "full":
                return self.problem(403, "tenant acme: 50 apps are allowed", "name")
            if name == "wide":
                return self.problem(403, "tenant acme: net_packets_rate: 2000/s is over the tenant's quota of 1000/s", "net_packets_rate")
            if name == "nofit":
                return self.problem(403, "tenant acme: memory quota 1 GiB, 1 GiB committed, 0 bytes left, 64 MiB needed", "quota.memory")
            if name == "shop":
                return self.problem(409, "name: it is taken", "name")
            if name == "Bad":
                return self.problem(400, "name: must be 1 to 40 characters", "name")
            if name == "nobodys":
                return self.problem(400, "tenant: an operator must say whose app it is", "tenant")
            return self.answer(201, {**APP, "name": name, **({"git_url": "https://tulou.localhost/git/x.git"} if name in ("cert", "plain") else {}), **json.loads(body)})
        if m := re.fullmatch(r"/v1/apps/idle-([a-z]+)(/[a-z]+)?", path):
            return self.idle(m[1], m[2])
        if path.startswith("/v1/apps/shop"):
            return self.app(key[:key.index(" ") + 1] + (path[len("/v1/apps/shop"):] or "/"), query, body)
        return self.problem(404, "there is no app of this name")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def idle(self, why, rest):
        """An app without an instance, for each reason."""
        if why == "degraded" and not rest:
            stats = {**APP["stats"], "state": why, "instances_running": 2, "instances_healthy": 1, "instances_wanted": 2, "waiting": "1 unhealthy instance cannot be replaced: memory quota 1 GiB"}
            return self.answer(200, {**APP, "state": why, "stats": stats})
        if why == "checked":
            return self.answer(200, {**APP, "health": {"check": "http", "path": "/up", "from": "release", "interval_seconds": 7.5, "failures": 2}})
        if why == "held":
            return self.answer(200, {"items": [{"id": "7", "type": "web", "release": 3, "state": "running"}], "next": None, "waiting": None, "held": True} if rest else
                               {**APP, "name": "held", "serving": {"hold": True}})
        state = {"building": "empty", "failed": "empty", "refused": "empty"}.get(why, why)
        if rest == "/instances":
            return self.answer(200, {"items": [], "next": None, "waiting": None})
        if rest == "/releases":
            return self.answer(200, {"items": [], "next": None})
        if rest == "/builds":
            builds = {"building": [{"id": 1, "state": "running"}], "failed": [{"id": 1, "state": "failed", "error": "npm ended with 1" + EVIL}]}
            return self.answer(200, {"items": builds.get(why, []), "next": None})
        if rest == "/events":
            events = {"refused": [{"kind": "deploy.failed", "text": "v1 failed: no $PORT"}], "crashed": [{"kind": "instance.exited", "text": "old"}, {"kind": "instance.crashloop", "text": "web.3 ends again and again"}]}
            return self.answer(200, {"items": events.get(why, []), "next": None})
        return self.answer(200, {**APP, "name": "idle", "state": state, "formation": {"web": 0, "worker": 0}, "candidate": {"version": 9} if state == "deploying" else None})

    rolls = 0

    def app(self, key, query, body):
        if key == "GET /":
            return self.answer(200, APP)
        if key == "PATCH /":
            return self.answer(200, {**APP, **json.loads(body)})
        if key == "GET /formation":
            return self.answer(200, APP["formation"])
        if key == "PUT /formation":
            return self.answer(200, json.loads(body))
        if key == "POST /builds":
            names = self.names(body)
            if "bad.txt" in names:
                return self.stream("application/x-ndjson", ['{"build":8}\n', '{"log":" !     no\\n"}\n', '{"result":"failed","error":"compile failed"}\n'])
            if "large.txt" in names:
                return self.stream("application/x-ndjson", ['{"build":11}\n', '{"result":"failed","error":"tenant acme: memory quota 1 GiB","limit":"quota.memory"}\n'])
            if "worker.txt" in names:
                return self.stream("application/x-ndjson", ['{"build":10}\n', '{"result":"succeeded","release":5,"url":null}\n'])
            if "cut.txt" in names:
                return self.stream("application/x-ndjson", ['{"build":9}\n', '{"log":"half'])
            log = json.dumps({"log": "-----> " + " ".join(names) + EVIL + "\n"}) + "\n"
            return self.stream("application/x-ndjson", ['{"build":7}\n', log[:9], log[9:], '{"result":"succeeded","release":4,"url":"http://shop.localhost"}\n'])
        if key == "GET /config":
            return self.answer(200, {"KEY": "a\nb", "EVIL": EVIL})
        if key == "PATCH /config":
            first = next(iter(json.loads(body)))
            return self.answer(200, json.loads(body), headers={"NOPE": {"Tulou-Changed": 0}, "GOOD": {"Tulou-Changed": 0, "Tulou-Release": 5}, "NONE": {"Tulou-Changed": 1, "Tulou-Release": 7},
                                                               "BOOM": {"Tulou-Changed": 2, "Tulou-Release": 6}}.get(first, {"Tulou-Changed": len(json.loads(body))}))
        if key == "GET /instances":
            return self.answer(200, {"items": [{"id": "17", "type": "web", "release": 3, "state": "running", "memory_bytes": 5000000, "memory_limit_bytes": 268435456,
                                                "cpu_seconds": 1.5, "pids": 3, "started_at": NOW, "restarts": 0, "reason": EVIL}]})
        if key == "GET /talkers":
            row = {"name": EVIL, "requests": 30, "bytes": 300000, "seconds": 1.5, "errors": 3, "share": 0.75, "uncertain": 0.01}
            return self.answer(200, {"by": "requests", "seconds": 5.0, "requests": 40, "bytes": 400000, "request_seconds": 2.0, "errors": 4, "sampled": 20, "workers": 3,
                                     "workers_missing": 1, "clients": [row], "paths": [{**row, "name": "/cart/"}], "hosts": [], "statuses": [], "agents": [{**row, "name": "bot/1 (x)"}]})
        if key == "PUT /canary":
            return self.answer(200, {"version": 3, "weight": 0, "header": "", "instances": 1, "state": "starting", **json.loads(body)})
        if key == "GET /latency":
            some = {"seconds": 340, "requests": 10, "status": {"2xx": 10}, "duration": {"count": 10, "p50_ms": 1.5, "p95_ms": 2, "p99_ms": 20}, "upstream": None, "queue": None}
            return self.answer(200, {"recent": some, "total": some, "refused": {}})
        if key == "GET /releases":
            return self.answer(200, {"items": [{"version": 3, "state": "live", "created_at": NOW, "note": "Deploy"}], "next": None})
        if key == "GET /releases/3":
            return self.answer(200, {"version": 3, "state": "live", "created_at": NOW, "note": "Deploy", "types": {"web": "node a.js"}})
        if key == "GET /front":
            return self.answer(200, {"maintenance": {"on": False}, "limits": {"requests_per_second": 100, "burst": 300, "client_requests_per_second": 10, "client_burst": None}})
        if key == "PATCH /front":
            return self.problem(400, "limits.body_bytes: 5 EiB is outside 0 B to 1 TiB", "limits.body_bytes")
        if key == "GET /logs" and "follow=1" in query:
            lines = [f"data: {NOW[:-1]}.{i:03}Z web.17 line {i}\n\n" for i in range(1, 7)]
            Api.drops += 1
            if Api.drops > 2:
                return self.problem(410, "enough")
            return self.stream("text/event-stream", lines[:3] if Api.drops == 1 else lines)
        if key == "GET /logs":
            return self.answer(200, f"{NOW} web.17 hello{EVIL}\n".encode(), "text/plain")
        if key == "DELETE /certificates/77":
            return self.problem(404, 'this app has no certificate "77"')
        if key == "POST /runs":
            if b"nowhere" in body:
                return self.problem(409, "this app has no live release to run a command of")
            command = json.loads(body)["command"]
            return self.stream("application/x-ndjson", [json.dumps({"output": command + "\n"}) + "\n", '{"exit_code":7}\n'])
        if key == "POST /rollback":
            return self.answer(202, {"version": 5, "note": "Rollback to v2"})
        if key == "POST /restart":
            return self.answer(202, {"version": 6, "note": "Restart"})
        if key == "POST /domains":
            host = json.loads(body)["host"]
            return self.answer(201, {"host": host, "state": "pending" if host.startswith("p") else "verified", "record": {"name": "_tulou." + host, "value": "x"},
                                     "also": [{"app": "blog", "tenant": "acme", "state": "pending"}]})
        if key == "GET /releases/7":
            return self.answer(200, {"version": 7, "note": "x", "state": "live"})
        if key in ("GET /releases/5", "GET /releases/6"):
            Api.rolls += 1
            if Api.rolls == 1:
                return self.problem(503, "the node is not ready")
            return self.answer(200, {"version": int(key[-1]), "note": "x", "state": "pending" if Api.rolls == 2 else {"5": "live", "6": "failed"}[key[-1]]})
        if key == "GET /events":
            return self.answer(200, {"items": [{"kind": "deploy.failed", "text": "v6 failed: web exited with code 3"},
                                               {"kind": "deploy.succeeded", "text": "v5 is live"},
                                               {"kind": "deploy.succeeded", "text": "v7 is the live release; nothing runs of it, as the app is paused"}], "next": None})
        return self.problem(404, "there is no such thing")

    @staticmethod
    def names(body):
        z = subprocess.run(["zstd", "-dcq"], input=body, capture_output=True, check=True).stdout
        return sorted(m.name for m in tarfile.open(fileobj=io.BytesIO(z)) if m.isfile())


class Anything(Api):
    """Answers whatever is asked with an object that every command finds something in."""

    def serve(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        if path.endswith("/config"):
            return self.answer(200, {"KEY": "value"})
        if path.endswith("/log") or path.endswith("/logs"):
            return self.answer(200, b"a line\n", "text/plain")
        if path.endswith("/fsck"):
            return self.stream("application/x-ndjson", ['{"found":0,"repaired":0}\n'])
        self.answer(200, {**APP, "items": [{"id": "17", "version": 3, "name": "acme", "host": "a.example"}], "next": None, "profile": "strict", "egress": {"mode": "public"},
                          "role": "admin", "status": "ok", "version": 3, "recent": {}, "total": {}, "hosts": [], "maintenance": {"on": False}, "https": "on", "serving": {}})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve


class WrongPort(Api):
    """What a node says on its port for https to whoever speaks none."""

    def serve(self):
        self.answer(400, b"400 Bad Request\n", "text/plain")

    do_GET = serve


def is_json(text):
    for pieces in ([text], text.splitlines()):
        try:
            return bool([json.loads(p) for p in pieces])
        except ValueError:
            pass
    return False


def showing():
    """Every command that shows something, as its help says, with the words it needs."""
    text = subprocess.run([TULOU, "help"], capture_output=True).stdout.decode()
    groups = re.findall(r"^  ([a-z]+) ", text, re.M)
    words = {"KEY": "KEY", "VERSION": "3", "PLAN": "acme", "TENANT": "acme"}
    for g in groups:
        help = subprocess.run([TULOU, "help", g], capture_output=True).stdout.decode()
        for name, args, what in re.findall(r"^tulou ([a-z]+(?: [a-z]+)?)((?: [^:]*?)?): (.*)$", help, re.M):
            if re.match(r"(show|list|print|say)\b|compare", what) and g not in ("completion", "help") and "whether a fleet" not in what:
                yield name.split() + [words[a] for a in args.split() if a in words]


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    home = tempfile.mkdtemp(prefix="tulou-cli-")
    env = {"PATH": os.environ["PATH"], "HOME": home, "TULOU_URL": url, "TULOU_TOKEN": "tul_good", "TULOU_APP": "shop", "LANG": "C.UTF-8"}
    tests = []

    def run(*args, cwd=home, stdin=None, **more):
        e = {k: v for k, v in {**env, **more}.items() if v is not None}
        p = subprocess.run([TULOU, *args], env=e, cwd=cwd, capture_output=True, timeout=60, input=stdin)
        return p.returncode, p.stdout.decode(), p.stderr.decode()

    def check(name, good, *shown):
        tests.append(good)
        print(f"{'ok' if good else 'not ok'} {len(tests)} - cli: {name}")
        if not good:
            print("\n".join("  # " + line for s in shown for line in str(s).splitlines()))

    def folder(**files):
        d = tempfile.mkdtemp(dir=home)
        for name, text in files.items():
            with open(os.path.join(d, name.replace("_", ".")), "w") as f:
                f.write(text)
        return d

    r = run("apps")
    check("apps: all pages, aligned", r[0] == 0 and "last" in r[1] and r[1].startswith("NAME") and len({line.index("http://") for line in r[1].splitlines()[1:]}) == 1, *r)
    check("apps: what is empty says why, and what is held that it is", re.search(r"^fresh .* empty, build failed ", r[1], re.M) and re.search(r"^late .* running, held ", r[1], re.M), r[1])
    check("apps: nothing of a name reaches the terminal raw", "\x1b" not in r[1] and "\u202e" not in r[1] and "\\x1b" in r[1], repr(r[1]))
    r = run("apps", "--json")
    check("apps --json: one list of all pages", r[0] == 0 and len(json.loads(r[1])["items"]) == 5, *r)
    r = run("apps", "--names")
    check("apps --names", r[1].splitlines()[0] == "shop" and len(r[1].splitlines()) == 5, *r)
    r = run("apps", "info")
    check("apps info: formation and limits in words", r[0] == 0 and "web=2 worker=1" in r[1] and "memory 256 MiB, cpu 0.5" in r[1], *r)
    r = run("apps", "create", "full")
    check("a quota is exit code 3 and says so", r[0] == 3 and "50 apps are allowed" in r[2] and r[1] == "", *r)
    r = run("apps", "create", "new", "--memory", "64MiB", "--cpu", "0.25")
    sent = json.loads([b for m, p, t, b in Api.seen if m == "POST" and p == "/v1/apps"][-1])
    check("apps create sends limits", r[0] == 0 and sent == {"name": "new", "limits": {"memory_bytes": 67108864, "cpu": 0.25}}, r, sent)
    r = run("apps", "create", "plain")
    check("apps create: whoever came without https may push so", r[0] == 0 and f"git push {url.replace('//', '//x:TOKEN@')}/git/plain.git main" in r[1], *r)
    r = run("apps", "create", "shop")
    check("what is there already is exit code 1", r[0] == 1 and "taken" in r[2], *r)
    r = run("apps", "create", "Bad")
    check("400 is exit code 2: what was typed is wrong", r[0] == 2 and "characters" in r[2], *r)
    r = run("apps", "create", "nobodys")
    check("an operator is told the option", r[0] == 2 and "--tenant TENANT: " in r[2], *r)
    r = run("apps", "info", "other")
    check("404 is exit code 1 and names the next step", r[0] == 1 and "tulou apps" in r[2], *r)
    r = run("whoami", TULOU_TOKEN="tul_bad")
    check("401 is exit code 3 and names the next step", r[0] == 3 and "tulou login" in r[2], *r)
    r = run("whoami", TULOU_URL="http://127.0.0.1:1")
    check("no connection is exit code 4", r[0] == 4 and "does not answer" in r[2], *r)
    r = run("whoami", TULOU_TOKEN="a\nX-Evil: 1")
    check("a token cannot carry another header", r[0] == 2 and not any("Evil" in str(s) for s in Api.seen), *r)
    r = run("scale", "web=5")
    check("scale keeps what is not named", json.loads([s for s in Api.seen if s[0] == "PUT"][-1][3]) == {"web": 5, "worker": 1} and r[0] == 0, *r)
    n = len(Api.seen)
    r = run("scale", "web=101")
    check("scale web=101 is refused with the limit, without a write", r[0] == 2 and "100" in r[2] and not any(s[0] == "PUT" for s in Api.seen[n:]), *r)
    r = run("apps", "limits", "memory=64MiB", "cpu=2")
    check("apps limits", r[0] == 0 and json.loads(Api.seen[-1][3]) == {"limits": {"memory_bytes": 67108864, "cpu": 2.0}}, r)
    r = run("apps", "limits", "net-out=1MiB", "cpu_weight=10")
    check("apps limits: every key of the table", r[0] == 0 and json.loads(Api.seen[-1][3]) == {"limits": {"net_out_rate": 1048576, "cpu_weight": 10}}, r)
    r = run("apps", "limits", "reset")
    check("apps limits reset", r[0] == 0 and json.loads(Api.seen[-1][3]) == {"limits": None}, r)
    n = len(Api.seen)
    r = run("apps", "limits", "memry=1")
    check("an unknown limit is refused with the names, without a request", r[0] == 2 and "io_weight" in r[2] and len(Api.seen) == n, r)
    n = len(Api.seen)
    r = run("apps", "limits", "log_rate=-1")
    check("what is no number is named with the range", r[0] == 2 and 'log_rate: "-1" is not a whole number from 0 to ' in r[2] and len(Api.seen) == n, r)
    r = run("apps", "serving", "foo=1")
    check("apps serving names the keys there are", r[0] == 2 and "foo=1: write concurrency=" in r[2] and len(Api.seen) == n, r)
    r = run("front", "set", "time=0s")
    check("a range of times is said in their units", r[0] == 2 and "time: 0s is outside 1s to 24h" in r[2] and len(Api.seen) == n, r)
    r = run("front", "set", "body=10")
    check("a body of some bytes is asked after: MiB were meant", r[0] == 2 and "body: 10 is so many bytes: say 10KiB or 10MiB" in r[2] and len(Api.seen) == n, r)
    r = run("node", "fsck", "extra")
    check("a command without words is suggested without a blank", r[0] == 2 and "`tulou node fsck`" in r[2] and len(Api.seen) == n, r)
    r = run("tenants", "quota", "acme", "memory=plan")
    check("KEY=plan without a plan: the words typed and the next step", r[0] == 2 and "memory=plan: the tenant is on no plan\n" in r[2] and "plan=PLAN" in r[2]
          and "null" not in r[2], *r)
    r = run("tenants", "set", "acme", "memory=8MiB")
    check("a refused number has the name that was typed", r[0] == 2 and "tulou: memory: 1 byte is outside" in r[2], *r)
    r = run("tenants", "quota", "acme", "memry=1GiB")
    check("tenants quota tells of KEY=plan", r[0] == 2 and "NAME=plan" in r[2], *r)
    r = run("apps", "egress", "203.0.113.0/24:443", "198.51.100.7")
    check("apps egress", r[0] == 0 and json.loads(Api.seen[-1][3]) == {"egress": {"mode": "list", "allow": ["203.0.113.0/24:443", "198.51.100.7"]}}, r)
    r = run("apps", "delete")
    check("delete asks, and without a terminal wants --yes", r[0] == 2 and "--yes" in r[2], *r)
    r = run("plans", "delete", "small")
    check("and says what it would do", r[0] == 2 and "this would remove the plan small, and nobody can be asked here: say so with --yes" in r[2], *r)
    r = run("canary", "start", "3")
    check("canary start: that it gets no requests is said, and how it would", r[0] == 0 and "gets no requests" in r[1] and "--weight 10" in r[1], *r)
    r = run("canary", "start", "3", "--weight", "5")
    check("canary start --weight: nothing is missing", r[0] == 0 and "5 %" in r[1] and "no requests" not in r[1], *r)
    r = run("apps", "latency", "shop")
    check("apps latency: how long the first part is, in minutes", r[0] == 0 and r[1].startswith("The last 5 min 40 s: 10 requests\n") and "100.00 %" in r[1], *r)
    r = run("apps", "latency", "shop", "--json")
    check("apps latency --json", r[0] == 0 and json.loads(r[1])["recent"]["seconds"] == 340, *r)
    r = run("releases", "info", "v3")
    check("releases info", r[0] == 0 and "v3" in r[1] and "node a.js" in r[1], *r)

    r = run("top", "--by", "requests")
    check("top: one picture, what was left out is said", r[0] == 0 and "40 requests" in r[1] and "20 were looked at" in r[1] and "1 workers did not answer" in r[1]
          and "/cart/" in r[1] and "75.0 %" in r[1] and "USER AGENT" in r[1] and "bot/1 (x)" in r[1] and "HOST" not in r[1], *r)
    check("top: no name moves a cursor", "\x1b" not in r[1] and "\u202e" not in r[1], repr(r[1]))
    r = run("top", "--for", "90s")
    check("top: a time that is too long is wrong usage", r[0] == 2 and "--for" in r[2], *r)
    r = run("front", "set", "body=5EiB")
    check("a refusal names what was typed and is wrong usage", r[0] == 2 and "body: 5 EiB is outside" in r[2] and "limits" not in r[2], *r)

    r = run("deploy", folder(index_html="hi", a_js="1"))
    check("deploy: packs, shows the log, names the release", r[0] == 0 and "a.js index.html" in r[1] and "Deployed v4: http://shop.localhost" in r[1], *r)
    check("deploy: the log moves no cursor", "\x1b" not in r[1], repr(r[1]))
    r = run("deploy", folder(bad_txt="x"))
    check("deploy: a failed build is exit code 1 with its reason", r[0] == 1 and "compile failed" in r[2] and " !     no" in r[1], *r)
    r = run("deploy", folder(large_txt="x"))
    check("deploy: a quota that is reached after the build is a refusal too", r[0] == 3 and "memory quota" in r[2], *r)
    r = run("apps", "create", "wide", "net_packets=2000")
    check("a quota's refusal names the limit as this command line does", r[0] == 3 and r[2] == "tulou: tenant acme: net_packets: 2000/s is over the tenant's quota of 1000/s\n", *r)
    r = run("apps", "create", "nofit")
    check("and not by the API's name before it", r[0] == 3 and r[2].startswith("tulou: tenant acme: memory quota"), *r)
    r = run("deploy", folder(worker_txt="x"))
    check("deploy: without a web process, no address is said", r[0] == 0 and "Deployed v5: nothing answers at an address now" in r[1], *r)
    r = run("deploy", folder(cut_txt="x"))
    check("deploy: an answer that breaks off is exit code 4 and says where to look", r[0] == 4 and "tulou builds" in r[2], *r)
    r = run("deploy", "--json", folder(index_html="hi"))
    check("deploy --json: one object a line", r[0] == 0 and [list(json.loads(x))[0] for x in r[1].splitlines()] == ["build", "log", "result"], *r)
    r = run("deploy", folder())
    check("deploy: an empty folder is refused", r[0] == 1 and "nothing to deploy" in r[2], *r)
    r = run("deploy", "/nonexistent")
    check("deploy: a missing path is named", r[0] == 1 and "/nonexistent" in r[2], *r)

    r = run("config")
    check("config: values on one line each", r[0] == 0 and "a\\x0ab" in r[1] and "\x1b" not in r[1], *r)
    r = run("config", "get", "KEY")
    check("config get: a script gets the bytes", r == (0, "a\nb\n", ""), *r)
    r = run("config", "set", "A=1", "B=x=y")
    check("config set", r[0] == 0 and json.loads(Api.seen[-1][3]) == {"A": "1", "B": "x=y"}, r)
    r = run("config", "unset", "A")
    check("config unset", r[0] == 0 and json.loads(Api.seen[-1][3]) == {"A": None}, r)
    r = run("ps")
    check("ps", r[0] == 0 and "4.8 MiB of 256 MiB" in r[1] and "\x1b" not in r[1], *r)
    r = run("logs")
    check("logs: escaped", r[0] == 0 and "hello" in r[1] and "\x1b" not in r[1], *r)
    r = run("logs", "-f")
    lines = [line.rsplit(" ", 1)[1] for line in r[1].splitlines()]
    check("logs -f: outlives a connection, shows each line once", lines == ["1", "2", "3", "4", "5", "6"] and r[0] == 1, *r)
    r = run("plans", "set", "hobby", "pids=70")
    check("plans set names whose apps fell, and whose", r[0] == 0 and re.search(r"^shop +pids +90 +70 +acme$", r[1], re.M) and "and 7 more" in r[1]
          and re.search(r"memory +80 MiB +64 MiB +other$", r[1], re.M) and "start no new instance" in r[1] and "\x1b" not in r[1], *r)
    check("plans set names whose apps rose, what is above the plan's own total, and tenants over one", re.search(r"^RAISED +LIMIT", r[1], re.M) and re.search(r"^up +cpu +0.5 cores +1 core +acme$", r[1], re.M)
          and "app.memory=1 GiB is above the plan's memory=64 MiB: an instance gets 64 MiB." in r[1] and re.search(r"instances +9 +1$", r[1], re.M) and "and 3 more tenants" in r[1], *r)
    r = run("plans", "set", "tight", "app.memory=9MiB")
    check("plans set: a limit that the node refuses keeps its app.", r[0] == 2 and r[2] == "tulou: app.memory: 1 KiB is outside 8 MiB to 1 TiB\n", *r)
    r = run("logs", "-n", "0")
    check("logs -n 0 is refused with the limits", r[0] == 2 and "1" in r[2] and "10000" in r[2], *r)
    r = run("run", "sh", "-c", "echo 'a b'; exit 7")
    check("run: quotes words, ends with the command's code", r[0] == 7 and r[1] == "sh -c 'echo '\\''a b'\\''; exit 7'\n", *r)
    r = run("rollback", "v2")
    check("rollback v2", r[0] == 0 and [json.loads(x[3]) for x in Api.seen if x[1].endswith("/rollback")][-1] == {"version": 2} and "v5" in r[1], *r)
    check("rollback ends when the release is live", Api.rolls == 3 and "v5 is the live release of shop" in r[1], Api.rolls, *r)
    r = run("apps", "restart")
    check("apps restart says that it failed, and why", r[0] == 1 and "Rolling out v6" in r[1] and "v6 failed: web exited with code 3" in r[2], *r)
    r = run("apps", "restart", "--no-wait")
    check("apps restart --no-wait says that it may fail", r[0] == 0 and "may fail yet" in r[1] and "tulou events" in r[1], *r)
    r = run("rollback", "--json")
    check("rollback --json: the release as it ended", r[0] == 0 and json.loads(r[1])["state"] == "live", *r)
    r = run("config", "set", "GOOD=1")
    check("config set of what no release has follows its release", r[0] == 0 and "v5 is the live release of shop" in r[1] and "Changed" not in r[1], *r)
    r = run("config", "set", "BOOM=1", "FIZZ=2")
    check("config set fails as its roll-out does, and says what stays", r[0] == 1 and "Changed 2 config vars of shop" in r[1] and "v6 failed: web exited with code 3" in r[2]
          and "tulou config unset BOOM FIZZ -a shop" in r[2], *r)
    r = run("config", "set", "BOOM=1", "--json")
    check("config set --json: the vars, and how it ended", r[0] == 1 and json.loads(r[1]) == {"BOOM": "1"} and "v6 failed" in r[2], *r)
    r = run("config", "set", "BOOM=1", "--no-wait")
    check("config set --no-wait", r[0] == 0 and "may fail yet" in r[1], *r)
    r = run("config", "set", "NONE=1")
    check("a live release of which nothing runs is not said to run", r[0] == 0 and "v7 is the live release; nothing runs of it, as the app is paused" in r[1], *r)
    r = run("domains", "add", "p.example")
    check("domains add names a sister that has it pending", r[0] == 0 and "App blog of acme has p.example pending too: the one that is proved first serves it." in r[1], *r)
    r = run("domains", "add", "v.example")
    check("and who serves it when that is known", r[0] == 0 and "shop serves it now, blog only once it is proved there" in r[1], *r)
    r = run("config", "unset", "NOPE")
    check("config unset of an unknown name says that nothing changed", r[0] == 0 and "Nothing changed" in r[1] and "Rolling" not in r[1], *r)
    for why, says in {"empty": "was never deployed.  Deploy it with: tulou deploy -a idle-empty", "paused": "is paused.  Start it again with: tulou apps resume idle-paused",
                      "stopped": "scaled to zero (web=0 worker=0)", "deploying": "v9 is being rolled out", "building": "a build is under way", "failed": "its last build failed: npm ended with 1",
                      "refused": "v1 failed: no $PORT", "crashed": "web.3 ends again and again\nIt is tried again every 5 minutes"}.items():
        r = run("ps", "-a", f"idle-{why}")
        check(f"ps without instances: {why}", r[0] == 0 and says in r[1] and r[1].startswith("Nothing runs") and "\x1b" not in r[1], *r)
    r = run("apps", "info", "idle-degraded")
    check("apps info tells the sick from the well", re.search(r"^state +degraded$", r[1], re.M) and re.search(r"^instances +1 of 2 healthy, 1 unhealthy, ", r[1], re.M)
          and re.search(r"^waiting +1 unhealthy instance cannot be replaced: memory quota 1 GiB$", r[1], re.M), *r)
    r = run("apps", "health", "-a", "idle-checked")
    check("apps health: what is used, whose it is, how often", "GET /up (of the release's tulou.yaml or app.json); while it runs the same every 7.5 s, unhealthy after 2 failures in a row" in r[1], *r)
    r = run("apps", "health")
    check("apps health: none", r[0] == 0 and "TCP connection" in r[1], *r)
    r = run("ps", "-a", "idle-held")
    check("ps names a hold and what lifts it", r[0] == 0 and "Let them in with: tulou apps resume idle-held" in r[1], *r)
    r = run("apps", "info", "idle-held")
    check("apps info too", re.search(r"^held +its requests wait, .*: tulou apps resume held$", r[1], re.M), *r)
    r = run("releases", "-a", "idle-empty")
    check("releases, none: the next step names the app that was named", r[0] == 0 and r[1].strip().endswith("tulou deploy -a idle-empty"), *r)
    r = run("ps", "-a", "idle-empty", "--json")
    check("ps --json without instances", json.loads(r[1])["items"] == [], *r)
    r = run("front")
    check("front: a burst that was not set is the rate's", re.search(r"^client-burst +10 requests \(as the rate\)$", r[1], re.M) and re.search(r"^burst +300 requests$", r[1], re.M)
          and re.search(r"^concurrent +no limit$", r[1], re.M), *r)
    pem = os.path.join(home, "node.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", pem + ".key", "-out", pem, "-days", "1",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem, pem + ".key")
    secure = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    secure.socket = tls.wrap_socket(secure.socket, server_side=True)
    threading.Thread(target=secure.serve_forever, daemon=True).start()
    there = f"https://localhost:{secure.server_address[1]}"
    r = run("whoami", TULOU_URL=there)
    check("a certificate that is not trusted: says so, and what to do", r[0] == 4 and "not trusted" in r[2] and "TULOU_CA=FILE" in r[2] and f"http.{there}/.sslCAInfo" in r[2], *r)
    untrusted = r[2]
    r = run("apps", "create", "cert", TULOU_URL=there, TULOU_CA=pem)
    check("apps create: how git trusts the certificate", r[0] == 0 and f"git config --global http.https://tulou.localhost/.sslCAInfo {pem}" in r[1], *r)
    r = run("whoami", TULOU_URL=there, TULOU_CA=pem)
    check("TULOU_CA: it is", r[0] == 0 and "acme" in r[1], *r)
    r = run("whoami", TULOU_URL=there.replace("localhost", "127.0.0.1"), TULOU_CA=pem)
    check("a certificate of another name", r[0] == 4 and "a name that the node's certificate is for" in r[2], *r)
    check("how its certificate is had on the node, without DNS", f"-connect 127.0.0.1:{secure.server_address[1]} -servername localhost <" in untrusted, untrusted)
    wrong = http.server.ThreadingHTTPServer(("127.0.0.1", 0), WrongPort)
    threading.Thread(target=wrong.serve_forever, daemon=True).start()
    r = run("whoami", TULOU_URL=f"http://127.0.0.1:{wrong.server_address[1]}")
    check("http to the port of https: the next step", r[0] == 2 and "answered 400" in r[2] and "write https://" in r[2], *r)
    wrong.shutdown()
    secure.shutdown()
    r = run("whoami", TULOU_URL=url.replace("http:", "https:"))
    check("https to the port of http: the next step, not OpenSSL's words", r[0] == 4 and "speaks no https" in r[2] and "write http://" in r[2] and "SSL routines" not in r[2], *r)
    r = run("whoami", TULOU_TOKEN="")
    check("no token: where the operator's is", r[0] == 3 and "There is no token" in r[2] and "control/operator.token" in r[2], *r)
    r = run("apps", "info", "other", "--json")
    check("--json: an error is the API's problem object", r[0] == 1 and r[1] == "" and json.loads(r[2])["status"] == 404 and "no app" in json.loads(r[2])["detail"], *r)
    r = run("apps", "create", "full", "--json")
    check("--json: with its field, the exit code stays", r[0] == 3 and json.loads(r[2])["field"] == "name", *r)
    for words, code in {("apps", "limits", "memry=1", "--json"): 2, ("--json", "deplyo"): 2, ("releases", "infos", "--json"): 2, ("whoami", "--json", "--url", "http://127.0.0.1:1"): 4}.items():
        r = run(*words)
        check(f"--json: what is refused here has the same shape: {' '.join(words)}", r[0] == code and r[1] == "" and json.loads(r[2])["detail"] and "status" not in json.loads(r[2]), *r)
    r = run("deploy", folder(bad_txt="x"), "--json")
    check("deploy --json: so has what failed", r[0] == 1 and "compile failed" in json.loads(r[2])["detail"], *r)
    r = run("run", "--json", "--", "nowhere", "--json")
    check("run --json", r[0] == 1 and json.loads(r[2])["status"] == 409, *r)
    r = run("apps", "profile", "strict")
    check("apps profile: what is so at once, and what later", r[0] == 0 and re.search(r"^at once +egress: ", r[1], re.M) and "from its next start on" in r[1], *r)
    r = run("run", "cat", stdin=b"hello\n")
    check("run: says that it passes no input on", r[0] == 7 and "standard input was not passed on" in r[2], *r)
    r = run("run", "cat", stdin=b"")
    check("run: no word without input", r[0] == 7 and r[2] == "", *r)
    r = run("run", "nowhere")
    check("run without a release: the next step", r[0] == 1 and "`tulou deploy` makes one" in r[2], *r)
    r = run("certs", "remove", "77")
    check("a certificate that is not there: which, and the next step", r[0] == 1 and 'no certificate "77"' in r[2] and "`tulou certs` lists them" in r[2], *r)
    r = run("rollback", "two")
    check("rollback two is wrong usage", r[0] == 2, *r)

    r = run("login", url, "--token", "tul_good", TULOU_URL=None, TULOU_TOKEN=None)
    saved = os.path.join(home, ".config/tulou/config.json")
    check("login saves with mode 0600", r[0] == 0 and os.stat(saved).st_mode & 0o777 == 0o600 and os.stat(os.path.dirname(saved)).st_mode & 0o777 == 0o700, *r)
    r = run("whoami", TULOU_URL=None, TULOU_TOKEN=None)
    check("and is used", r[0] == 0 and "acme" in r[1], *r)
    r = run("whoami", "--url", url.replace("127.0.0.1", "localhost"), TULOU_URL=None, TULOU_TOKEN=None)
    check("a saved token does not go to another address", Api.seen[-1][2] != "tul_good", *r)
    r = run("login", url, TULOU_URL=None, TULOU_TOKEN=None, stdin=b"tul_bad\n")
    check("a login that fails saves nothing", r[0] == 3 and json.load(open(saved))["token"] == "tul_good", *r)
    r = run("logout")
    check("logout forgets", r[0] == 0 and not os.path.exists(saved), *r)
    r = run("deplyo")
    check("did you mean", r[0] == 2 and "'deploy'" in r[2], *r)
    def complete(*words):
        line = " ".join(f"'{w}'" for w in ("tulou", *words))
        p = subprocess.run(["bash", "-c", f"compopt() {{ :; }}; source <(tulou completion bash) && COMP_WORDS=({line}) COMP_CWORD={len(words)} && _tulou && echo ${{COMPREPLY[*]}}"],
                           capture_output=True, env={**env, "PATH": os.path.dirname(TULOU) + ":" + env["PATH"]})
        return p.stdout.decode().split() + p.stderr.decode().split()

    for words, all_of in {("apps", "cr"): ["create"], ("apps", "https", "o"): ["on", "off"], ("apps", "profile", "s"): ["strict"], ("apps", "egress", "p"): ["public"],
                          ("plans", "set", ""): ["hobby"], ("plans", "info", ""): ["hobby"], ("tenants", "set", "ac"): ["acme"], ("plans", "set", "hobby", "app.mem"): ["app.memory="],
                          ("tenants", "set", "acme", "plan", "="): ["none", "hobby"], ("tenants", "set", "acme", "plan", "=", "h"): ["hobby"], ("tenants", "set", "acme", "eg"): ["egress="],
                          ("tenants", "quota", "acme", "pr"): [], ("tenants", "set", "acme", "profile", "=", ""): ["default", "strict"], ("config", "set", "A", "=", "u"): [], ("apps", "limits", "net_in", "=", "u"): ["unlimited"], ("front", "set", "cl"): ["client-rate=", "client-burst="],
                          ("apps", "serving", "ro"): ["rollout="], ("apps", "limits", "re"): ["reset"], ("scale", ""): ["web=", "worker="], ("rollback", "v"): ["v3"],
                          ("apps", "info", "sh"): ["shop"], ("open", "sh"): ["shop"], ("logs", "-a", "sh"): ["shop"], ("maintenance", "o"): ["on", "off"], ("node", "eligible", "y"): ["yes"],
                          ("tokens", "create", "de"): ["deployer"], ("top", "--by", "b"): ["bytes"], ("help", "roll"): ["rollback"], ("depl",): ["deploy"]}.items():
        r = complete(*words)
        check(f"completion: tulou {' '.join(words)}", sorted(r) == sorted(all_of), words, r)

    # What a program reads is JSON, whole or a line each, whatever the command shows.
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Anything)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    commands = list(showing())
    check("commands that show are found", len(commands) > 40 and ["apps", "health"] in commands and ["releases", "info", "3"] in commands, commands)
    for words in commands:
        r = run(*words, "--json", TULOU_URL=f"http://127.0.0.1:{other.server_address[1]}", TULOU_TOKEN="tul_good")
        check(f"{' '.join(words)} --json", r[0] == 0 and is_json(r[1]), *r)
    r = run("apps", "profile", "--json", TULOU_URL=f"http://127.0.0.1:{other.server_address[1]}")
    check("apps profile --json: the API's own field", r[1] and json.loads(r[1]) == {"profile": "strict"}, *r)
    r = run("apps", "health", "--json")
    check("apps health --json: also when there is none", r[1] and json.loads(r[1]) == {"health_path": ""}, *r)
    other.shutdown()

    server.shutdown()
    subprocess.run(["rm", "-rf", home], check=False)
    print(f"1..{len(tests)}")
    return 0 if all(tests) else 1


if __name__ == "__main__":
    sys.exit(main())
