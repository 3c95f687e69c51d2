"""cgroup v2 and systemd, in the virtual machine (make test-vm); skipped where the host has v1 controllers."""
import glob, os, signal
from harness import *
from test_45_neighbours import DEEP, cpus_of


def setup():
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return None
    node = Node("v2", "health: { timeout: 60s }\n")
    node.start()
    node.acme = node.tenant("acme")
    return node


def teardown(node):
    if node:
        node.cleanup()


def need(node):
    if node is None:
        raise Skip("this host has cgroup v1 controllers; make test-vm runs it")


def cgroup_dir(pid):
    with open(f"/proc/{pid}/cgroup") as f:
        return "/sys/fs/cgroup" + f.read().strip().split("::", 1)[1]


def test_deploy_and_limits(node):
    """an instance's limits are in its v2 cgroup"""
    need(node)
    node.app("py", node.acme, limits={"memory_bytes": "128MiB", "cpu": 0.5, "pids": 64})
    node.deploy_ok("py", node.acme, server("v2"), timeout=600)
    check("hello from v2" in node.get("py", timeout=60)[1], "no answer")
    d = cgroup_dir(node.instances("py")[0]["pid"])
    read = lambda f: open(f"{d}/{f}").read().strip()
    equal((read("memory.max"), read("pids.max"), read("cpu.max")), (str(128 << 20), "64", "50000 100000"), d)
    equal(read("memory.oom.group"), "1", "memory.oom.group")


def test_oom(node):
    """an OOM kill is told with its limit"""
    need(node)
    try:
        node.get("py", "/eval?len(bytearray(400*1024*1024))", timeout=60)
    except OSError:
        pass
    wait_for("the event", lambda: [e for e in node.events("py") if e["kind"] == "instance.oom"], 120)
    wait_for("it to come back", lambda: node.get("py", timeout=60)[0] == 200, 120)


def test_confinement(node):
    """a tenant that lives in the kernel is kept off a CPU by the cpuset controller of v2; the quiet stay on it meanwhile"""
    need(node)
    everywhere = os.sched_getaffinity(0)
    if len(everywhere) < 2:
        raise Skip("needs two CPUs")
    evil = node.tenant("evil")
    node.app("deep", evil, limits={"cpu": len(everywhere)})
    node.deploy_ok("deep", evil, {"Procfile": "web: python3 deep.py\n", "deep.py": DEEP}, timeout=600)
    pid, quiet = node.instances("deep")[0]["pid"], node.instances("py")[0]["pid"]
    equal(node.get("deep", "/deep", timeout=60)[0], 200, "two processes that read /dev/zero")
    wait_for("it to be confined", lambda: all(s < everywhere for s in cpus_of(pid)) and len(cpus_of(pid)) >= 4, 60, 0.2)
    confined = cpus_of(pid)[0]
    equal(open(os.path.dirname(cgroup_dir(pid)) + "/cpuset.cpus").read().strip(), ",".join(map(str, sorted(confined))), "cpuset.cpus")
    wait_for("the quiet one to stay on the others", lambda: all(s == everywhere - confined for s in cpus_of(quiet)), 120, 0.2)
    equal(node.get("deep", "/calm", timeout=60)[0], 200, "they end")
    wait_for("it to be free again", lambda: all(s == everywhere for s in cpus_of(pid)), 240, 0.3)
    wait_for("the quiet one too", lambda: all(s == everywhere for s in cpus_of(quiet)), 20, 0.3)


def test_adoption(node):
    """kill -9 of the supervisor: the app is adopted"""
    need(node)
    pid = node.instances("py")[0]["pid"]
    node.kill()
    node.start()
    equal(wait_for("the instance", lambda: node.instances("py"), 60)[0]["pid"], pid, "pid")
    equal(node.get("py", timeout=60)[0], 200, "status")


def test_clean_stop(node):
    """a stop leaves nothing behind on v2 either"""
    need(node)
    node.stop(seconds=120)
    equal(node.leftovers(), [], "left behind")
