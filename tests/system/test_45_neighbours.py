"""Noisy neighbours: who takes more CPU than its share while others wait yields, and both tenant and operator see it."""
import time
from harness import *

SPINNER = """
import os, threading, http.server
if os.fork() == 0:
    while True: pass
if os.fork() == 0:
    while True: pass
for _ in range(os.cpu_count()):
    if os.fork() == 0:
        while True: pass
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *a): pass
http.server.HTTPServer(("0.0.0.0", int(os.environ["PORT"])), H).serve_forever()
"""


def setup():
    node = Node("noisy", "health: { grace: 2s }\n").start()
    node.acme, node.evil = node.tenant("acme"), node.tenant("evil")
    node.app("good", node.acme)
    node.deploy_ok("good", node.acme, server("good"))
    return node


def teardown(node):
    if node:
        node.cleanup()


def idle_groups(node):
    """Control groups of the node that are in the idle class."""
    return [f for f in glob.glob(f"/sys/fs/cgroup/*/{node.cgroup}/**/cpu.idle", recursive=True) + glob.glob(f"/sys/fs/cgroup/{node.cgroup}/**/cpu.idle", recursive=True)
            if open(f).read().strip() == "1"]


def test_spinner_yields(node):
    """an app that spins on every core is slowed while another serves, its owner is told, and it is over when it stops"""
    node.app("spin", node.evil, limits={"cpu": os.cpu_count()})
    node.deploy_ok("spin", node.evil, {"Procfile": "web: python3 spin.py\n", "spin.py": SPINNER})
    with Load(node, "good", threads=1, pause=0.02) as load:
        slowed = wait_for("the spinner to be slowed", lambda: [i for i in node.instances("spin", node.evil) if (i["throttle"] or {}).get("state") == "slowed"], 40, 0.3)
        check("fair share" in slowed[0]["throttle"]["reason"], slowed)
        if glob.glob("/sys/fs/cgroup/**/cpu.idle"):  # Linux 5.15
            wait_for("its groups to be in the idle class", lambda: len(idle_groups(node)) == 2, 10, 0.2)
        wait_for("the event", lambda: [e for e in node.events("spin", node.evil) if e["kind"] == "instance.slowed"], 20, 0.3)
        for i in node.instances("good", node.acme):
            check((i["throttle"] or {}).get("state") != "slowed", i)
        throttle = node.api("GET", "/v1/node", want=200)["throttle"]
        check(throttle["slowed"] >= 1 and any(x["app"] == "spin" for x in throttle["items"]), throttle)
        metrics = node.request("GET", "/metrics", token=node.token)[1].decode()
        check('tulou_instance_throttle_weight_ratio{tenant="evil",app="spin"' in metrics, "no metric")
    check(not load.failures, load.failures[:3])
    check(not [e for e in node.events("good", node.acme) if e["kind"] == "instance.slowed"], "the quiet one was slowed")
    node.api("PUT", "/v1/apps/spin/formation", {"web": 0}, token=node.evil, want=200)
    wait_for("nobody to be slowed", lambda: node.api("GET", "/v1/node", want=200)["throttle"]["slowed"] == 0, 30, 0.3)
    wait_for("no group in the idle class", lambda: not idle_groups(node), 30, 0.3)


def test_control_dies(node):
    """what one control lowered, the next one's first message puts back"""
    node.api("PUT", "/v1/apps/spin/formation", {"web": 1}, token=node.evil, want=200)
    with Load(node, "good", threads=1, pause=0.02):
        wait_for("the idle class", lambda: idle_groups(node), 40, 0.2)
        os.kill(node.role_pids("control")[0], signal.SIGKILL)
        wait_for("all to be put back", lambda: not idle_groups(node), 5, 0.02)
    node.api("PUT", "/v1/apps/spin/formation", {"web": 0}, token=node.evil, want=200)


def test_off(node):
    """scheduler.throttle: off changes nothing, and says so"""
    other = Node("noisyoff", "scheduler: { throttle: off }\n")
    try:
        other.start()
        equal(other.api("GET", "/v1/node", want=200)["throttle"]["mode"], "off", "mode")
    finally:
        other.cleanup()


DEEP = """
import os, signal, http.server
class H(http.server.BaseHTTPRequestHandler):
    children = []
    def do_GET(self):
        if self.path == "/deep":
            for _ in range(2):
                pid = os.fork()
                if pid == 0:
                    zero = os.open("/dev/zero", os.O_RDONLY)
                    while True: os.read(zero, 1 << 20)
                self.children.append(pid)
        while self.path == "/calm" and self.children:
            os.kill(self.children[-1], signal.SIGKILL)
            os.waitpid(self.children.pop(), 0)
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *a): pass
http.server.HTTPServer(("0.0.0.0", int(os.environ["PORT"])), H).serve_forever()
"""


def cpus_of(pid):
    """The CPUs on which this process and each below it may run."""
    try:
        children = open(f"/proc/{pid}/task/{pid}/children").read().split()
        return [os.sched_getaffinity(pid)] + [s for c in children for s in cpus_of(int(c))]
    except OSError:
        return []


def test_kernel_time_is_confined(node):
    """a tenant that lives in the kernel is kept off a CPU, for as long as it does, its owner is told, and the quiet have that CPU meanwhile"""
    if len(os.sched_getaffinity(0)) < 2 or not glob.glob(f"/sys/fs/cgroup/cpuset/{node.cgroup}") + glob.glob(f"/sys/fs/cgroup/{node.cgroup}/cpuset.cpus"):
        raise Skip("needs two CPUs and the cpuset controller")
    everywhere = os.sched_getaffinity(0)
    node.app("deep", node.evil, limits={"cpu": os.cpu_count()})
    node.deploy_ok("deep", node.evil, {"Procfile": "web: python3 deep.py\n", "deep.py": DEEP})
    pid = node.instances("deep", node.evil)[0]["pid"]
    good = node.instances("good", node.acme)[0]["pid"]
    wait_for("it to be free after its start", lambda: all(s == everywhere for s in cpus_of(pid)), 60, 0.3)
    equal(node.get("deep", "/deep")[0], 200, "two processes that read /dev/zero")
    wait_for("all its processes to be confined", lambda: all(s < everywhere and s for s in cpus_of(pid)) and len(cpus_of(pid)) >= 4, 10, 0.05)
    confined = cpus_of(pid)[0]
    front = lambda: [os.sched_getaffinity(p) for p in node.role_pids("proxy")]
    wait_for("the quiet one and the front door to stay on the other CPUs", lambda: all(s == everywhere - confined for s in cpus_of(good) + front()), 30, 0.1)
    equal(node.get("good")[0], 200, "and it answers")
    wait_for("the event", lambda: [e for e in node.api("GET", "/v1/events?limit=200", want=200)["items"] if e["kind"] == "tenant.confined" ], 30, 0.5)
    metrics = node.request("GET", "/metrics", token=node.token)[1].decode()
    line = next(x for x in metrics.split("\n") if x.startswith('tulou_tenant_confined_seconds_total{tenant="evil"'))
    check(float(line.split()[-1]) >= 9, line)
    check(node.api("GET", "/v1/tenants/evil", want=200)["usage"]["confined_seconds"] >= 9, "the tenant's own view")
    equal(node.get("deep", "/calm")[0], 200, "they end")
    wait_for("it to be free again", lambda: all(s == everywhere for s in cpus_of(pid)), 60, 0.3)
    wait_for("the others too", lambda: all(s == everywhere for s in cpus_of(good) + front()), 5, 0.1)
