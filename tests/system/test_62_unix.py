"""Apps behind a unix socket: served without TCP, kept over kills of ours, and harmless when they are hostile."""
import os, signal, time
from harness import *

APP = '''
import http.server, os, socket, socketserver, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self): return "-"
    def do_GET(self):
        import urllib.parse
        if self.path.startswith("/eval?"):
            try: out = repr(eval(urllib.parse.unquote(self.path[6:])))
            except Exception as e: out = "error " + repr(e)
        else: out = "NAME by " + os.environ["PORT"]
        out = out.encode()
        self.send_response(200); self.send_header("Content-Length", str(len(out))); self.end_headers(); self.wfile.write(out)
    def log_message(self, *a): pass
class S(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    def server_bind(self):
        self.socket.bind(self.server_address)
S(os.environ["PORT"], H).serve_forever()
'''
FILES = {"Procfile": "web: python3 app.py\n", "tulou.yaml": "listen: unix\n"}


def source(name):
    return {**FILES, "app.py": APP.replace("NAME", name)}


def setup():
    node = Node("unix", "proxy: { workers: 2 }\nhealth: { timeout: 8s }\n").start()
    node.acme = node.tenant("acme")
    node.other = node.tenant("other")
    node.app("one", node.acme)
    node.app("two", node.other)
    node.deploy_ok("one", node.acme, source("one"))
    node.deploy_ok("two", node.other, source("two"))
    return node


def teardown(node):
    if node:
        node.cleanup()


def inside(node, app, code):
    import urllib.parse
    status, body = node.get(app, "/eval?" + urllib.parse.quote(code))[:2]
    equal(status, 200, f"{app}: {code}")
    return body


def test_it_is_served(node):
    """$PORT is a path, each app gets its own requests, and nothing listens on TCP"""
    for app in ("one", "two"):
        for _ in range(20):
            equal(node.get(app)[:2], (200, f"{app} by /dev/tulou/app.sock"), app)
    check("0A" not in [l.split()[3] for l in eval(inside(node, "one", "open('/proc/net/tcp').read()")).splitlines()[1:]], "something listens")
    equal(inside(node, "one", "sorted(__import__('os').listdir('/dev/tulou'))"), "['app.sock']", "the folder")


def test_processes_of_ours_may_die(node):
    """kill -9 of control, a proxy and the supervisor under load: no request fails, the same process serves"""
    before = inside(node, "one", "open('/proc/self/stat').read().split()[21]")
    with Load(node, "one", threads=3) as load:
        for role in ("control", "proxy", "control"):
            pid = wait_for(role, lambda: node.role_pids(role))[0]
            if role == "control":
                os.kill(pid, signal.SIGKILL)
                wait_for("a new one", lambda: [p for p in node.role_pids(role) if p != pid])
            wait_for("the node to be ready", lambda: node.request("GET", "/readyz")[0] == 200, 20)
        node.kill()
        time.sleep(0.05)
        node.start()
        check(node.instances("one"), "no instance after adoption")
    check(not load.failures, f"{len(load.failures)} of {load.ok} failed: {load.failures[:5]}")
    equal(inside(node, "one", "open('/proc/self/stat').read().split()[21]"), before, "start time of the app")
    equal(node.get("two")[:2], (200, "two by /dev/tulou/app.sock"), "the other")


def test_hostile_sockets(node):
    """links, pipes, floods of files: only the app itself is gone; nobody is led to another's socket or to the API"""
    node.app("bad", node.acme)
    node.deploy_ok("bad", node.acme, source("bad"))
    pid = node.instances("bad")[0]["pid"]

    def as_app(code):
        """In the app's file system, as its user, while no connection to it is kept."""
        return run("nsenter", "-t", str(pid), "-m", "-U", "--setuid=1000", "--setgid=1000", "sh", "-c", "cd /dev/tulou && " + code)
    for target in ("kept", "/dev/tulou/kept", "/control.sock", "../../control.sock", "../../../one/app.sock"):
        made = as_app(f"([ -e kept ] || mv app.sock kept) && rm -f app.sock && ln -s {target} app.sock")
        check(made.returncode == 0, made.stderr)
        equal(node.get("bad")[0], 502, target)
    made = as_app("rm -f app.sock && mkfifo app.sock && i=0; while [ $i -lt 100 ] && (: > f$i) 2>/dev/null; do i=$((i+1)); done; ls | wc -l; rm f1; head -c 1000000 /dev/zero > f0 2>/dev/null; stat -c %s f0")
    files, size = made.stdout.split()
    check(int(files) <= 16 and int(size) <= 65536, "in the folder: " + made.stdout)
    equal(node.get("bad")[0], 502, "a pipe")
    check(as_app("ln /etc/hostname f1").returncode != 0, "a hard link from another mount")
    for app in ("one", "two"):
        equal(node.get(app)[:2], (200, f"{app} by /dev/tulou/app.sock"), app)
    # An app that does this by mistake comes back by itself, and is told why.
    wait_for("another instance in its place", lambda: node.get("bad")[0] == 200 and node.instances("bad")[0]["pid"] != pid, 40)
    check("/dev/tulou/app.sock" in str(node.events("bad", node.acme)), node.events("bad", node.acme))
    node.api("DELETE", "/v1/apps/bad", token=node.acme)


def test_a_start_says_what_is_wrong(node):
    """an app that listens on a port instead, and one whose socket is closed to us, fail with the reason"""
    node.app("tcp", node.acme)
    log = str(node.deploy("tcp", node.acme, {"Procfile": "web: python3 -m http.server 8080\n", "tulou.yaml": "listen: unix\nhealth: {}\n"}))
    check("/dev/tulou/app.sock" in log, log[-600:])


def test_nothing_stays(node):
    """fsck agrees, and a stopped node leaves nothing"""
    status, body = node.request("POST", "/v1/node/fsck", "{}", token=node.token, timeout=60)[:2]
    lines = [json.loads(l) for l in body.splitlines() if l.strip()]
    equal((status, lines[:-1]), (200, []), "fsck")
    mounts = open("/proc/self/mountinfo").read()
    check("dev/tulou" not in mounts, "a mount on the host")
