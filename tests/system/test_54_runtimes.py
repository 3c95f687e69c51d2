"""The runtimes of Debian, unchanged, under the default profile: each answers, uses threads, children, names, files and signals as it normally does."""
import json, os, time
from harness import *

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runtimes")


def setup():
    node = Node("runtimes", "health: { timeout: 90s, grace: 5s }\n").start()
    node.acme = node.tenant("acme", {"memory_bytes": 4 << 30})
    return node


def teardown(node):
    if node:
        node.cleanup()


def source(name):
    with open(os.path.join(HERE, name)) as f:
        return f.read()


def built(node, name, *argv, **env):
    """A program built on the host, as a tenant's build machine would."""
    out = os.path.join(node.dir, name)
    r = run(*argv, "-o", out, os.path.join(HERE, "server.go" if "go" in argv[0] else "server.c"), env=dict(os.environ, GOCACHE=node.dir + "/go", GOFLAGS="-mod=mod", **env), timeout=300)
    equal(r.returncode, 0, r.stderr)
    with open(out, "rb") as f:
        return f.read()


def need(program):
    if not os.path.exists("/usr/bin/" + program):
        raise Skip(f"/usr/bin/{program} is not installed")


def drive(node, app, files, says, bye=True, without=(), **more):
    node.app(app, node.acme, **more)
    node.deploy_ok(app, node.acme, files, timeout=240)
    status, text = wait_for(f"{app} to answer", lambda: (lambda r: r[0] == 200 and r)(node.get(app)), 60)
    check(says in text, f"{app} says {text!r}")
    status, text = node.get(app, "/probe", timeout=90)
    equal(status, 200, f"probe of {app}: {text}")
    found = dict(line.split("=", 1) for line in text.splitlines())
    check(len(found) >= 5, f"probes of {app}: {text!r}")
    equal({k: v for k, v in found.items() if v != "ok" and k not in without}, {}, f"what fails in {app}")
    for k in without:
        check(found[k] != "ok", f"{k} works in {app}, and should not")
    # Graceful: asked to stop, it says good-bye and ends by itself, long before the grace is over.
    before = len(node.instances(app, node.acme))
    equal(before, 1, "instances")
    node.api("PUT", f"/v1/apps/{app}/formation", {"web": 0}, token=node.acme, want=(200, 202))
    started = time.monotonic()
    wait_for(f"{app} to stop", lambda: not node.instances(app, node.acme), 20)
    check(time.monotonic() - started < 4.5, f"{app} did not end by itself")
    if bye:
        wait_for(f"the good-bye of {app}", lambda: "bye" in node.logs(app, node.acme), 10)


def test_node(node):
    """Node.js: worker threads, child, WebAssembly, watched files"""
    need("node")
    drive(node, "node", {"Procfile": "web: node server.js\n", "server.js": source("server.js")}, "hello from node")


def test_python(node):
    """Python: threads, processes with semaphores, callbacks made by libffi"""
    need("python3")
    drive(node, "python", {"Procfile": "web: python3 server.py\n", "server.py": source("server.py")}, "hello from python")


def test_ruby(node):
    """Ruby: threads, fork, interfaces"""
    need("ruby")
    drive(node, "ruby", {"Procfile": "web: ruby server.rb\n", "server.rb": source("server.rb")}, "hello from ruby")


def test_php(node):
    """PHP: its own server, sessions, child processes"""
    need("php")
    drive(node, "php", {"Procfile": "web: php -S 0.0.0.0:$PORT index.php\n", "index.php": source("index.php")}, "hello from php", bye=False)


def test_java(node):
    """Java from its source: compiler, thread pools, garbage of twice its memory within its limit"""
    need("java")
    drive(node, "java", {"Procfile": "web: java Server.java\n", "Server.java": source("Server.java")}, "hello from java", limits={"memory_bytes": 256 << 20, "cpu": 1})


def test_go(node):
    """Go: a static program; threads, relaying connections, its own resolver"""
    need("go")
    binary = built(node, "server-go", "/usr/bin/go", "build", CGO_ENABLED="0", HOME=node.dir)
    drive(node, "go", {"Procfile": "web: ./server\n", "server": (binary, 0o755)}, "hello from go")


def test_static(node):
    """a static program of musl's"""
    need("musl-gcc")
    binary = built(node, "server-musl", "musl-gcc", "-static", "-pthread")
    drive(node, "static", {"Procfile": "web: ./server\n", "server": (binary, 0o755)}, "hello from c")


def test_glibc(node):
    """a program of the host's libc"""
    binary = built(node, "server-glibc", "gcc", "-pthread")
    drive(node, "glibc", {"Procfile": "web: ./server\n", "server": (binary, 0o755)}, "hello from c")


def test_heaps(node):
    """each runtime's heap is told what the instance may use, unless the owner says otherwise"""
    node.app("env", node.acme)
    node.deploy_ok("env", node.acme, server())
    env = json.loads(node.get("env", "/env")[1])
    memory = int(env["TULOU_MEMORY"])
    equal(env["JAVA_TOOL_OPTIONS"], f"-XX:MaxRAM={memory}", "Java")
    equal(env["NODE_OPTIONS"], f"--max-old-space-size={memory // 4 * 3 >> 20}", "Node")
    equal(env["GOMEMLIMIT"], str(memory // 10 * 9), "Go")
    node.api("PATCH", "/v1/apps/env/config", {"GOMEMLIMIT": "1000000"}, token=node.acme, want=(200, 202))
    wait_for("the owner's value", lambda: json.loads(node.get("env", "/env")[1])["GOMEMLIMIT"] == "1000000", 30)


SHELL = """
import http.server, os, subprocess
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        r = subprocess.run(["/bin/sh", "-c", self.rfile.read(int(self.headers["Content-Length"])).decode()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.send_response(200); self.end_headers(); self.wfile.write(b"%d\\n" % r.returncode + r.stdout)
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *a): pass
http.server.HTTPServer(("0.0.0.0", int(os.environ["PORT"])), H).serve_forever()
"""


def test_strict_runtimes(node):
    """strict: Node, Python, Java, Go and a static program run; only the list of interfaces is missing"""
    need("node")
    drive(node, "s-node", {"Procfile": "web: node server.js\n", "server.js": source("server.js")}, "hello from node", without=("interfaces",), profile="strict")
    drive(node, "s-python", {"Procfile": "web: python3 server.py\n", "server.py": source("server.py")}, "hello from python", profile="strict")
    drive(node, "s-static", {"Procfile": "web: ./server\n", "server": (built(node, "server-static", "musl-gcc", "-static", "-pthread"), 0o755)}, "hello from c", profile="strict")
    if os.path.exists("/usr/bin/go"):
        binary = built(node, "server-go2", "/usr/bin/go", "build", CGO_ENABLED="0", HOME=node.dir)
        drive(node, "s-go", {"Procfile": "web: ./server\n", "server": (binary, 0o755)}, "hello from go", without=("interfaces",), profile="strict")
    if os.path.exists("/usr/bin/java"):
        drive(node, "s-java", {"Procfile": "web: java Server.java\n", "Server.java": source("Server.java")}, "hello from java", profile="strict", limits={"memory_bytes": 256 << 20, "cpu": 1})


def test_strict_writes_and_runs(node):
    """strict: what an app can write it cannot execute, by no way; the default profile lets it"""
    files = {"Procfile": "web: python3 shell.py\n", "shell.py": SHELL, "bin/tool": ("#!/bin/sh\necho tool\n", 0o755)}
    for app, profile in (("closed", "strict"), ("open", "default")):
        node.app(app, node.acme, profile=profile)
        node.deploy_ok(app, node.acme, files)

        def sh(line):
            status, text, _ = node.request("POST", "/", line, host=f"{app}.apps.test")
            equal(status, 200, "status")
            code, text = text.decode().split("\n", 1)
            return int(code), text

        strict = profile == "strict"
        for d in ("/tmp", "/var/tmp", "/app/tmp") if strict else ("/tmp", "/var/tmp", "/app"):
            equal(sh(f"cp /bin/true {d}/t && chmod 755 {d}/t")[0], 0, f"{app}: writing in {d}")
            equal(sh(f"{d}/t")[0], 126 if strict else 0, f"{app}: executing {d}/t")
            equal(sh(f"/lib64/ld-linux-x86-64.so.2 {d}/t")[0] != 0, strict, f"{app}: {d}/t by the dynamic loader")
        lib = "cp /lib/x86_64-linux-gnu/libdl.so.2 /tmp/l.so && LD_PRELOAD=/tmp/l.so /bin/true 2>&1"
        equal("failed to map" in sh(lib)[1], strict, f"{app}: a library from /tmp")
        memfd = """python3 -c 'import os; fd = os.memfd_create("x", 0); os.write(fd, open("/bin/true", "rb").read()); os.execv("/proc/self/fd/%d" % fd, ["x"])'"""
        equal(sh(memfd)[0] != 0, strict, f"{app}: executing a memfd")
        for path in ("/app/x", "/etc/x", "/x", "/home/x"):
            if strict:
                check(sh(f"touch {path}")[0] != 0, f"{path} can be written")
        equal(sh("bin/tool"), (0, "tool\n"), f"{app}: the release's own program")
        equal(sh("echo 'echo script' > /tmp/s; sh /tmp/s"), (0, "script\n"), f"{app}: a script is read, not executed")
        listing = sh("ls /proc")[1].split()
        equal([x for x in listing if not x.isdigit() and x not in ("self", "thread-self")] == [], strict, f"{app}: /proc holds {listing}")
        equal("1" in listing, not strict, f"{app}: PID 1 in /proc")
