"""A node of its own for system tests: own data, runtime, cgroup, address pool, link prefix and port; nothing left behind."""
import base64, glob, http.client, json, os, random, re, shutil, signal, socket, subprocess, sys, tarfile, io, tempfile, threading, time

BUILD = os.environ.get("TULOU_BUILD", "build")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Failure(AssertionError):
    pass


class Skip(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failure(message)


def equal(got, want, what=""):
    if got != want:
        raise Failure(f"{what}: got {got!r}, want {want!r}")


def wait_for(what, fn, seconds=20, step=0.05):
    """Polls fn until it gives something true; its value.  Exceptions of connections count as not yet."""
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            value = fn()
            if value:
                return value
            last = value
        except (OSError, http.client.HTTPException, KeyError, IndexError, ValueError) as ex:
            last = ex
        if time.monotonic() > end:
            raise Failure(f"waited {seconds} s for {what}; last: {last!r}")
        time.sleep(step)


def free_port():
    """A port of 127.0.0.1 that nobody has, below those that the kernel gives to connections (ip(7), ip_local_port_range): one of these
    may be taken again before a node listens on it."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        low = int(f.read().split()[0])
    while True:
        port = random.randrange(10000, max(low, 12000))
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def free_pool():
    """A network that no other node of this host uses just now: its first address is on nobody's lo."""
    taken = run("ip", "-4", "-o", "addr").stdout + run("ip", "-4", "route").stdout
    pools = [n for n in range(100, 250) if f" 10.{n}." not in taken and not taken.startswith(f"10.{n}.") and f"\n10.{n}." not in taken]
    return f"10.{random.choice(pools)}.0.0/16"


def run(*argv, **kw):
    kw.setdefault("capture_output", True)
    kw.setdefault("text", True)
    kw.setdefault("timeout", 120)
    return subprocess.run(argv, **kw)


def proc_status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


class Node:
    def __init__(self, name="t", extra="", control="control.test", https=False, disk="disk: { pool: 512MiB }", proof="none"):
        tag = "%04x" % random.randrange(65536)
        self.name = f"{name}-{tag}"
        self.dir = tempfile.mkdtemp(prefix=f"tulou-test-{name}-", dir="/var/tmp")
        os.chmod(self.dir, 0o755)
        self.data, self.runtime = self.dir + "/data", f"/run/tulou-test-{tag}"
        self.cgroup = f"tulou-test-{tag}"
        # 2..4 characters, distinct from other nodes on this host
        self.prefix = "".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(4))
        self.pool = free_pool()
        self.port = free_port()
        self.https_port = free_port() if https else 0
        self.control = control
        self.settings = self.dir + "/tulou.yaml"
        with open(self.settings, "w") as f:
            f.write(f"""node: {{ name: {self.name}, data: {self.data}, runtime: {self.runtime}, cgroup: {self.cgroup} }}
listen: {{ http: ["127.0.0.1:{self.port}"], https: [{f'"127.0.0.1:{self.https_port}"' if https else ""}] }}
domains: {{ apps: apps.test, control: {self.control}, proof: {proof} }}
network: {{ pool: {self.pool}, link_prefix: {self.prefix} }}
{disk}
{extra}""")
        self.log = self.dir + "/tuloud.log"
        self.process = None
        self.token = None

    # life
    def start(self, wait=True):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([os.path.join(BUILD, "tuloud"), "-c", self.settings], stderr=log, stdout=log, stdin=subprocess.DEVNULL)
        if wait:
            def ready():
                if self.process.poll() is not None:
                    raise Failure("tuloud ended: " + self.log_tail())
                return self.request("GET", "/readyz", host=self.control)[0] == 200
            wait_for("the node to be ready", ready, 30)
            self.token = open(self.data + "/operator.token").read().strip()
        return self

    def log_tail(self, n=25):
        try:
            return "".join(open(self.log, errors="replace").readlines()[-n:])
        except OSError:
            return ""

    def stop(self, signo=signal.SIGTERM, seconds=40):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signo)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise Failure("tuloud did not stop: " + self.log_tail())
        return self.process.returncode if self.process else None

    def kill(self):
        """kill -9 of the supervisor."""
        self.process.kill()
        self.process.wait()

    def cleanup(self):
        """Whatever state the node is in: nothing stays."""
        try:
            if self.process is None or self.process.poll() is not None:
                if os.path.isdir(self.runtime):
                    self.start(wait=False)  # adopts what an earlier one left, so that it can be stopped
                    time.sleep(1)
            self.stop()
        except Exception:
            pass
        for pid in self.leftover_pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.1)
        for link in self.leftover_links():
            run("ip", "link", "del", link)
        run("nft", "delete", "table", "inet", "tulou_" + self.cgroup.replace("-", "_"))
        for d in self.leftover_cgroups():
            try:
                os.rmdir(d)
            except OSError:
                pass
        shutil.rmtree(self.runtime, ignore_errors=True)
        if os.environ.get("KEEP"):
            print(f"# kept {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def disk(self):
        """What bounds the apps' layers, seen through the supervisor's own mounts."""
        pool = f"/proc/{self.process.pid}/root{self.data}/pool"
        return pool if os.path.isdir(pool + "/layers") else self.data

    def repos(self):
        return sorted({r for d in (self.data, self.disk()) for r in os.listdir(d + "/repos")})

    # what a stopped node may not leave
    def leftover_cgroups(self):
        found = []
        for root in glob.glob("/sys/fs/cgroup/*/" + self.cgroup) + glob.glob("/sys/fs/cgroup/" + self.cgroup):
            for d, subs, _ in os.walk(root, topdown=False):
                found.append(d)
        return found

    def leftover_links(self):
        return [n for n in os.listdir("/sys/class/net") if n.startswith(self.prefix)]

    def leftover_pids(self):
        pids = []
        for f in glob.glob("/proc/[0-9]*/cgroup"):
            try:
                if self.cgroup in open(f).read():
                    pids.append(int(f.split("/")[2]))
            except OSError:
                pass
        return pids + [p for p in self.roles_all()]

    def roles_all(self):
        """Pids of our own processes that belong to this node (by their records)."""
        out = []
        for f in glob.glob(self.runtime + "/roles/*"):
            pid = os.path.basename(f)
            if pid.isdigit() and os.path.exists(f"/proc/{pid}"):
                try:
                    if b"tuloud: " in open(f"/proc/{pid}/cmdline", "rb").read():
                        out.append(int(pid))
                except OSError:
                    pass
        return out

    def leftovers(self):
        left = []
        left += [f"process {p}" for p in self.leftover_pids()]
        left += [f"cgroup {c}" for c in self.leftover_cgroups()]
        left += [f"link {l}" for l in self.leftover_links()]
        if self.cgroup.replace("-", "_") in run("nft", "list", "tables").stdout:
            left.append("nftables table")
        left += ["mount " + m for m in open("/proc/self/mountinfo") if self.data in m or self.runtime in m]
        if os.path.exists(self.runtime):
            left.append("runtime directory: " + " ".join(os.listdir(self.runtime)))
        left += ["loop " + l for l in run("losetup", "-a").stdout.splitlines() if self.dir in l]
        return left

    def role_pids(self, role):
        out = []
        for f in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                text = open(f, "rb").read()
                pid = int(f.split("/")[2])
                if text.startswith(b"tuloud: " + role.encode()) and int(proc_status(pid)["PPid"]) == self.process.pid:
                    out.append(pid)
            except (OSError, KeyError, ValueError):
                pass
        return out

    # requests through the front door
    def request(self, method, path, body=None, host=None, token=None, headers=None, timeout=30):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        h = {"Host": host or self.control}
        if token:
            h["Authorization"] = "Bearer " + token
        h.update(headers or {})
        try:
            c.request(method, path, body=body, headers=h)
            r = c.getresponse()
            data = r.read()
            return r.status, data, r.headers
        finally:
            c.close()

    def api(self, method, path, body=None, token=None, want=None, timeout=30):
        """JSON in and out; want: the status (or statuses) that must come."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        status, data, _ = self.request(method, path, json.dumps(body) if body is not None else None, self.control, token or self.token, headers, timeout)
        try:
            value = json.loads(data) if data else None
        except ValueError:
            value = data.decode(errors="replace")
        if want is not None and status not in (want if isinstance(want, tuple) else (want,)):
            raise Failure(f"{method} {path}: status {status}, want {want}: {value!r}")
        return value if want is not None else (status, value)

    def get(self, app, path="/", timeout=30):
        status, data, _ = self.request("GET", path, host=f"{app}.apps.test", timeout=timeout)
        return status, data.decode(errors="replace")

    # tenants and apps
    def tenant(self, name, quota=None):
        body = {"name": name}
        if quota:
            body["quota"] = quota
        self.api("POST", "/v1/tenants", body, want=201)
        return self.api("POST", f"/v1/tenants/{name}/tokens", {"role": "admin"}, want=201)["token"]

    def app(self, name, token, **more):
        return self.api("POST", "/v1/apps", {"name": name, **more}, token=token, want=201)

    def deploy(self, name, token, files, timeout=120):
        """Uploads files {path: text or (text, mode)} as a tarball; (result object, log)."""
        status, data, _ = self.request("POST", f"/v1/apps/{name}/builds", tarball(files), token=token, headers={"Content-Type": "application/gzip"}, timeout=timeout)
        check(status == 200, f"deploy of {name}: status {status}: {data!r}")
        lines = [json.loads(l) for l in data.splitlines()]
        log = "".join(l.get("log", "") for l in lines)
        check(lines and "result" in lines[-1], f"no result in {lines!r}")
        return lines[-1], log

    def deploy_ok(self, name, token, files, timeout=120):
        result, log = self.deploy(name, token, files, timeout)
        check(result["result"] == "succeeded", f"deploy of {name} failed: {result} {log}\n{self.log_tail()}")
        return result, log

    def shop(self, host=None):
        """The tenant acme with an app `shop` of one page, at that host too; returns acme's token."""
        token = self.tenant("acme")
        self.app("shop", token)
        self.deploy_ok("shop", token, {"index.html": "<h1>shop</h1>"})
        if host:
            self.api("POST", "/v1/apps/shop/domains", {"host": host}, token=token, want=201)
        return token

    def git_repo(self, files):
        d = tempfile.mkdtemp(prefix="repo-", dir=self.dir)
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(d, path)), exist_ok=True)
            with open(os.path.join(d, path), "w") as f:
                f.write(text)
        self.git(d, "init", "-q", "-b", "main")
        self.commit(d)
        return d

    def git(self, d, *args, timeout=120):
        env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null", GIT_TERMINAL_PROMPT="0", GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@example.test",
                   GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@example.test")
        return run("git", "-C", d, *args, env=env, timeout=timeout)

    def commit(self, d, message="x"):
        self.git(d, "add", "-A")
        r = self.git(d, "commit", "-q", "--allow-empty", "-m", message)
        check(r.returncode == 0, r.stderr)

    def push(self, d, app, token, ref="main", timeout=180):
        # the control host is found by its address: any address of the host with that Host reaches the API
        return self.git(d, "-c", f"http.extraHeader=Host: {self.control}", "push", f"http://x:{token}@127.0.0.1:{self.port}/git/{app}.git", ref, timeout=timeout)

    def instances(self, app, token=None):
        return self.api("GET", f"/v1/apps/{app}/instances", token=token, want=200)["items"]

    def events(self, app, token=None):
        return self.api("GET", f"/v1/apps/{app}/events", token=token, want=200)["items"]

    def logs(self, app, token=None, lines=200):
        return self.request("GET", f"/v1/apps/{app}/logs?lines={lines}", token=token or self.token)[1].decode(errors="replace")


def tarball(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as t:
        for path, text in files.items():
            if isinstance(text, tarfile.TarInfo):
                t.addfile(text)
                continue
            mode = 0o644
            if isinstance(text, tuple):
                text, mode = text
            data = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), mode
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


SERVER = '''
import os, sys, json, time, signal, http.server, socketserver
VERSION = %(version)r
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/env": text = json.dumps(dict(os.environ))
        elif self.path.startswith("/sleep/"): time.sleep(float(self.path[7:])); text = "slept"
        elif self.path.startswith("/eval?"):
            import urllib.parse, traceback
            try: text = repr(eval(urllib.parse.unquote(self.path[6:])))
            except BaseException as e: text = "error: %%r" %% e
        else: text = "hello from %%s pid %%d path %%s" %% (VERSION, os.getpid(), self.path)
        data = text.encode()
        self.send_response(200); self.send_header("Content-Length", str(len(data))); self.send_header("X-Version", VERSION); self.end_headers(); self.wfile.write(data)
    def do_POST(self):
        n = int(self.headers.get("Content-Length") or 0); body = self.rfile.read(n)
        data = str(len(body)).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(data))); self.end_headers(); self.wfile.write(data)
    def log_message(self, *a): pass
class S(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 512
print("listening on", os.environ["PORT"], flush=True)
signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))
S(("0.0.0.0", int(os.environ["PORT"])), H).serve_forever()
'''


def open_files(pid):
    """What the descriptors of a process lead to; those that close while we look are left out."""
    found = []
    for f in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            found.append(os.readlink(f))
        except FileNotFoundError:
            pass
    return found


def server(version="v1"):
    """A small Python app: Procfile and server.py."""
    return {"Procfile": "web: python3 server.py\n", "server.py": SERVER % {"version": version}}


class Load:
    """Open requests from threads with keep-alive until stopped; counts answers and failures."""

    def __init__(self, node, app, threads=4, path="/", expect=200, pause=0.0):
        self.node, self.app, self.path, self.expect, self.pause = node, app, path, expect, pause
        self.done, self.ok, self.failures, self.versions = False, 0, [], set()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.loop, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def loop(self):
        c = None
        while not self.done:
            try:
                if c is None:
                    c = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=30)
                c.request("GET", self.path, headers={"Host": f"{self.app}.apps.test"})
                r = c.getresponse()
                body = r.read()
                with self.lock:
                    if r.status == self.expect:
                        self.ok += 1
                        self.versions.add(r.headers.get("X-Version"))
                    else:
                        self.failures.append(f"{r.status} {body[:120]!r}")
                if r.will_close:
                    c.close()
                    c = None
            except Exception as ex:
                with self.lock:
                    self.failures.append(repr(ex))
                if c:
                    c.close()
                c = None
            if self.pause:
                time.sleep(self.pause)

    def __exit__(self, *a):
        self.done = True
        for t in self.threads:
            t.join(35)
