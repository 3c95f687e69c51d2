"""Plans, quotas and limits: through the API, on running instances without a restart, in the kernel, and in the words of refusals."""
import glob, http.client, urllib.parse
from harness import *

MIB = 1 << 20


def setup():
    node = Node("quota", "health: { timeout: 20s, grace: 2s }\n").start()
    node.api("POST", "/v1/plans", {"name": "hobby", "quota": {"memory_bytes": "512MiB", "pids": 300, "instances": 3}, "limits": {"memory_bytes": "96MiB", "pids": 40}}, want=201)
    node.api("POST", "/v1/tenants", {"name": "acme", "plan": "hobby"}, want=201)
    node.acme = node.api("POST", "/v1/tenants/acme/tokens", {"role": "admin"}, want=201)["token"]
    node.app("shop", node.acme)
    node.deploy_ok("shop", node.acme, server("shop"))
    return node


def teardown(node):
    if node:
        node.cleanup()


def one(node, app="shop"):
    return [i for i in node.instances(app) if i["state"] == "running"][0]


def group(node, pid, controller):
    """The control group of a process: of v1's hierarchy, or of the one of v2."""
    v2 = None
    for line in open(f"/proc/{pid}/cgroup"):
        _, names, path = line.rstrip("\n").split(":", 2)
        if controller in names.split(","):
            for mount in glob.glob("/sys/fs/cgroup/*" + path) + glob.glob("/sys/fs/cgroup/*,*" + path):
                if controller in mount.split("/")[4].split(","):
                    return mount
        if names == "":
            v2 = "/sys/fs/cgroup" + path
    if v2 and os.path.exists(v2 + "/cgroup.controllers"):
        return v2
    raise Skip(f"no group of the {controller} controller can be seen from here")


FILES = {"memory": ("memory.limit_in_bytes", "memory.max"), "pids": ("pids.max", "pids.max"), "cpu": ("cpu.cfs_quota_us", "cpu.max")}


def kernel(node, controller, above=0, app="shop"):
    d = group(node, one(node, app)["pid"], controller)
    for _ in range(above):
        d = os.path.dirname(d)
    for f in FILES[controller]:
        if os.path.exists(f"{d}/{f}"):
            return int(open(f"{d}/{f}").read().split()[0].replace("max", "-1"))
    raise Failure(f"{d} has no {FILES[controller]}: {os.listdir(d)}")


def evaluate(node, app, expression):
    try:
        return node.get(app, "/eval?" + urllib.parse.quote(expression))
    except (OSError, http.client.HTTPException):
        return None  # what it did may have killed it


def test_plan_is_what_runs(node):
    """an app without limits of its own has the plan's, in the API and in the kernel, below the tenant's total"""
    t = node.api("GET", "/v1/tenants/acme", token=node.acme, want=200)
    equal((t["plan"], t["quota"]["memory_bytes"]), ("hobby", 512 * MIB), "tenant")
    a = node.api("GET", "/v1/apps/shop", token=node.acme, want=200)
    equal((a["limits"]["memory_bytes"], a["limits"]["pids"], a["limits_own"]), (96 * MIB, 40, False), "app")
    equal(kernel(node, "memory"), 96 * MIB, "the instance's group")
    equal(kernel(node, "pids"), 40, "the instance's group")
    equal(kernel(node, "pids", above=1), 300, "the tenant's group")
    # A build may take as much beside what runs, so the kernel's total for memory lies above the quota.
    check(kernel(node, "memory", above=1) >= 512 * MIB, "the tenant's total is below its quota")


def test_limits_change_without_a_restart(node):
    """PATCH of an app's limits: the kernel has them at once, the process stays"""
    pid = one(node)["pid"]
    node.api("PATCH", "/v1/apps/shop", {"limits": {"memory_bytes": "128MiB", "cpu": 0.25, "pids": 64}}, token=node.acme, want=200)
    wait_for("the instance's memory limit", lambda: kernel(node, "memory") == 128 * MIB)
    wait_for("its pids limit", lambda: kernel(node, "pids") == 64)
    wait_for("its cpu quota", lambda: kernel(node, "cpu") == 25000)
    equal(one(node)["pid"], pid, "pid")
    equal(one(node)["memory_limit_bytes"], 128 * MIB, "shown")
    check(any(e["kind"] == "app.limits" and "96 MiB → 128 MiB" in e["text"] for e in node.events("shop")), node.events("shop"))
    equal(node.api("GET", "/v1/tenants/acme", want=200)["used"]["memory_bytes"], 128 * MIB, "charged")
    a = node.api("PATCH", "/v1/apps/shop", {"limits": None}, token=node.acme, want=200)
    equal((a["limits"]["memory_bytes"], a["limits_own"]), (96 * MIB, False), "the plan's again")
    wait_for("the plan's limit", lambda: kernel(node, "memory") == 96 * MIB)
    equal(one(node)["pid"], pid, "pid")


def test_plan_change_reaches_what_runs(node):
    """PATCH of a plan: tenant, follower and kernel have it, without a restart"""
    pid = one(node)["pid"]
    node.api("PATCH", "/v1/plans/hobby", {"quota": {"pids": 200}, "limits": {"memory_bytes": "112MiB"}}, want=200)
    equal(node.api("GET", "/v1/tenants/acme", want=200)["quota"]["pids"], 200, "tenant")
    wait_for("the instance's limit", lambda: kernel(node, "memory") == 112 * MIB)
    wait_for("the tenant's total", lambda: kernel(node, "pids", above=1) == 200)
    equal(one(node)["pid"], pid, "pid")
    status, value = node.api("DELETE", "/v1/plans/hobby")
    equal(status, 409, "delete")
    check("1 tenant" in value["detail"], value)


def test_change_survives_control(node):
    """a change is in the kernel also when control is killed right after it was accepted"""
    pid = one(node)["pid"]
    control = node.role_pids("control")[0]
    node.api("PATCH", "/v1/apps/shop", {"limits": {"memory_bytes": "120MiB"}}, token=node.acme, want=200)
    os.kill(control, signal.SIGKILL)
    wait_for("the limit", lambda: kernel(node, "memory") == 120 * MIB, 30)
    equal(one(node)["pid"], pid, "pid")
    wait_for("the plan's again", lambda: node.api("PATCH", "/v1/apps/shop", {"limits": None}, token=node.acme)[0] == 200)


def test_refusals_name_limit_owner_and_rest(node):
    """over the quota: which limit, whose, how much is committed, left and needed"""
    status, value = node.api("PATCH", "/v1/apps/shop", {"limits": {"memory_bytes": "1GiB"}}, token=node.acme)
    equal(status, 403, "status")
    check("tenant acme" in value["detail"] and "512 MiB" in value["detail"], value)
    node.api("PUT", "/v1/apps/shop/formation", {"web": 3}, token=node.acme, want=200)
    wait_for("three instances", lambda: sum(i["state"] == "running" for i in node.instances("shop")) == 3)
    # Three times 112 MiB run: 200 MiB each would fit one by one, but not together.
    status, value = node.api("PATCH", "/v1/apps/shop", {"limits": {"memory_bytes": "200MiB"}}, token=node.acme)
    equal(status, 403, "status")
    check("tenant acme: memory quota 512 MiB, 336 MiB committed, 176 MiB left, 264 MiB needed" in value["detail"], value)
    equal(node.api("GET", "/v1/apps/shop", want=200)["limits"]["memory_bytes"], 112 * MIB, "nothing changed")
    status, value = node.api("PUT", "/v1/apps/shop/formation", {"web": 4}, token=node.acme)
    equal(status, 403, "status")
    check("instances" in str(value) and "3" in value["detail"], value)
    node.api("PUT", "/v1/apps/shop/formation", {"web": 1}, token=node.acme, want=200)
    wait_for("one instance", lambda: sum(i["state"] == "running" for i in node.instances("shop")) == 1)


def test_what_does_not_fit_waits_aloud(node):
    """more instances than the memory quota has room for: the answer, apps info and ps say so at once"""
    wait_for("room", lambda: node.api("PATCH", "/v1/apps/shop", {"limits": {"memory_bytes": "300MiB"}}, token=node.acme)[0] == 200)
    node.api("PUT", "/v1/apps/shop/formation", {"web": 2}, token=node.acme, want=200)
    waiting = node.api("GET", "/v1/apps/shop", token=node.acme, want=200)["stats"]["waiting"]
    check(waiting and waiting.startswith("1 of 2 instances fit") and "memory quota 512 MiB" in waiting, waiting)
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=node.acme, TULOU_APP="shop")
    for words in (["scale", "web=2"], ["ps"], ["apps", "info"]):
        r = run(os.path.join(BUILD, "tulou"), *words, env=env)
        check(r.returncode == 0 and "1 of 2 instances fit" in r.stdout, r)
    wait_for("an event", lambda: any(e["kind"] == "instance.refused" and "memory quota" in e["text"] for e in node.events("shop")))
    node.api("PUT", "/v1/apps/shop/formation", {"web": 1}, token=node.acme, want=200)
    equal(node.api("GET", "/v1/apps/shop", token=node.acme, want=200)["stats"]["waiting"], None, "waiting")
    check(any(e["kind"] == "formation.changed" and "web 2 → 1" in e["text"] for e in node.events("shop")), node.events("shop"))
    node.api("PATCH", "/v1/apps/shop", {"limits": None}, token=node.acme, want=200)


def test_policies(node):
    """an app's egress and profile are its tenant's to set; what is set for a tenant holds over its plan, which stays"""
    a = node.api("PATCH", "/v1/apps/shop", {"egress": {"mode": "list", "allow": ["203.0.113.0/24:443"]}}, token=node.acme, want=200)
    equal(a["egress"], {"mode": "list", "allow": ["203.0.113.0/24:443"]}, "egress")
    check(any(e["kind"] == "app.egress" and "203.0.113.0/24:443" in e["text"] for e in node.events("shop")), node.events("shop"))
    before = node.api("GET", "/v1/apps/shop", token=node.acme, want=200)["limits"]
    equal(node.api("PATCH", "/v1/tenants/acme", {"profile": "default"}, token=node.acme)[0], 403, "a tenant's own token")
    t = node.api("PATCH", "/v1/tenants/acme", {"egress": {"mode": "none"}}, want=200)
    equal((t["plan"], t["own"]), ("hobby", ["egress"]), "on the plan, with one value of its own")
    equal(node.api("GET", "/v1/apps/shop", token=node.acme, want=200)["limits"], before, "the limits of apps")
    equal(node.api("PATCH", "/v1/tenants/acme", {"plan": "hobby"}, want=200)["egress"]["mode"], "public", "the plan's again")


def test_hits_are_told(node):
    """forks refused and memory exceeded: an event with the limit, and a metric"""
    node.app("greedy", node.acme, limits={"pids": 24, "memory_bytes": "96MiB"})
    node.deploy_ok("greedy", node.acme, server("greedy"))
    evaluate(node, "greedy", "os.system('for i in $(seq 64); do sleep 2 & done; wait')")
    event = wait_for("an event about forks", lambda: [e for e in node.events("greedy") if e["kind"] == "instance.pids"], 40)[0]
    check("of 24" in event["text"], event)
    # A child is killed; the app itself lives on: out of memory is told all the same.
    wait_for("room for processes", lambda: one(node, "greedy")["pids"] < 10 and node.get("greedy")[0] == 200, 40)
    evaluate(node, "greedy", "os.system('python3 -c \"b=bytearray(300<<20)\"')")
    event = wait_for("an event about memory", lambda: [e for e in node.events("greedy") if e["kind"] == "instance.oom"], 40)[0]
    check("96 MiB" in event["text"], event)
    # Its own limits, not its tenant's: nobody else is to blame.
    text = node.request("GET", "/metrics", token=node.acme)[1].decode()
    blamed = [l for l in text.splitlines() if l.startswith(("tulou_tenant_oom_kills_total{", "tulou_tenant_pids_refused_total{")) and not l.endswith(" 0")]
    blamed += [e for e in node.events("greedy") if e["kind"] in ("tenant.memory", "tenant.pids")]
    check(not blamed, blamed)
    text = node.request("GET", "/metrics", token=node.acme)[1].decode()
    line = [l for l in text.splitlines() if l.startswith("container_threads_max{") and 'app="greedy"' in l]
    check(line and line[0].endswith(" 24"), line)
    check('tulou_tenant_quota{tenant="acme",resource="memory"} 536870912' in text, "no tenant's quota in the metrics")
    node.api("DELETE", "/v1/apps/greedy", token=node.acme, want=204)
    wait_for("its end", lambda: node.api("GET", "/v1/tenants/acme", want=200)["used"]["instances"] == 1)


def test_a_quota_below_what_is_in_use(node):
    """accepted, and told: in the answer's figures, as an event, and again when it holds"""
    node.app("holder", node.acme, limits={"memory_bytes": "300MiB"})
    node.deploy_ok("holder", node.acme, server("holder"))
    evaluate(node, "holder", "globals().__setitem__('held', bytearray(b'x') * (200 << 20))")
    used = lambda: node.api("GET", "/v1/tenants/acme", token=node.acme, want=200)["usage"]
    wait_for("memory in use", lambda: used()["memory_bytes"] > 200 * MIB, 40)
    node.api("PATCH", "/v1/apps/holder", {"limits": {"memory_bytes": "100MiB"}}, token=node.acme, want=200)
    wait_for("the instance's word", lambda: any(e["kind"] == "instance.pending" for e in node.events("holder")), 40)
    check("cannot be lowered to 100 MiB yet" in one(node, "holder")["pending"], one(node, "holder"))
    node.api("PATCH", "/v1/tenants/acme", {"quota": {"memory_bytes": "150MiB"}}, want=200)
    wait_for("the tenant's word", lambda: (used()["pending"] or "").endswith("the instances restart"), 40)
    told = lambda text: [e for e in node.api("GET", "/v1/events?limit=200", want=200)["items"] if e["kind"] == "tenant.pending" and text in e["text"]]
    wait_for("an event", lambda: told("is more than the new 150 MiB"), 40)
    node.api("DELETE", "/v1/apps/holder", token=node.acme, want=204)
    wait_for("it holds", lambda: told("holds now") and used()["pending"] is None, 40)
    node.api("PATCH", "/v1/tenants/acme", {"plan": "hobby"}, want=200)
    wait_for("its end", lambda: node.api("GET", "/v1/tenants/acme", want=200)["used"]["instances"] == 1)


def test_usage_is_shown(node):
    """a tenant sees what is really used beside what counts"""
    def usage():
        t = node.api("GET", "/v1/tenants/acme", token=node.acme, want=200)
        return t if t["usage"]["memory_bytes"] > 1 * MIB and t["usage"]["pids"] > 0 else None
    t = wait_for("a sample", usage, 40)
    check(t["usage"]["memory_bytes"] < t["quota"]["memory_bytes"], t)
    check(t["used"]["disk_bytes"] >= t["usage"]["disk_bytes"] > 0, t)
    equal(t["used"]["instances"], 1, "instances")


def test_command_line(node):
    """tulou plans and tenants set"""
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=node.token)
    env.pop("TULOU_APP", None)
    tulou = lambda *args: run(os.path.join(BUILD, "tulou"), *args, env=env)
    r = tulou("plans", "create", "big", "memory=1GiB", "app.memory=200MiB", "private-layers=no")
    check(r.returncode == 0 and "1 GiB" in r.stdout and "200 MiB" in r.stdout, r)
    r = tulou("tenants", "set", "acme", "plan=big")
    check(r.returncode == 0 and "big" in r.stdout and "COMMITTED" in r.stdout, r)
    # One number of its own: the plan stays, and with it the limits of the app, in the kernel too.
    r = tulou("tenants", "quota", "acme", "pids=123")
    check(r.returncode == 0 and re.search(r"^pids .* 123 +set$", r.stdout, re.M) and re.search(r"^memory .* plan$", r.stdout, re.M) and "big" in r.stdout, r)
    wait_for("the tenant's group", lambda: kernel(node, "pids", above=1) == 123)
    equal(kernel(node, "memory"), 200 * MIB, "the instance's group")
    r = tulou("plans", "set", "big", "pids=150", "apps=9")
    t = node.api("GET", "/v1/tenants/acme", want=200)
    equal((t["plan"], t["own"], t["quota"]["pids"], t["quota"]["apps"]), ("big", ["pids"], 123, 9), "after the plan changed")
    r = tulou("tenants", "quota", "acme", "pids=plan")
    check(r.returncode == 0 and re.search(r"^pids .* 150 +plan$", r.stdout, re.M), r)
    wait_for("the plan's", lambda: kernel(node, "pids", above=1) == 150)
    r = tulou("apps", "limits", "-a", "shop")
    check("200 MiB" in r.stdout and "plan" in r.stdout, r)
    r = tulou("plans", "delete", "big", "--yes")
    check(r.returncode != 0 and "1 tenant" in r.stderr, r)
    check(tulou("tenants", "set", "acme", "plan=hobby").returncode == 0 and tulou("plans", "delete", "big", "--yes").returncode == 0, "delete")


def test_a_lower_quota_names_apps(node):
    """tulou tenants quota says whose limits fell, from what to what, and whose own are above"""
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=node.token)
    env.pop("TULOU_APP", None)
    tulou = lambda *args: run(os.path.join(BUILD, "tulou"), *args, env=env)
    node.app("ownlimits", node.acme, limits={"memory_bytes": "80MiB"})
    was = node.api("GET", "/v1/apps/shop", want=200)["limits"]["memory_bytes"]
    r = tulou("tenants", "quota", "acme", "memory=64MiB")
    check(r.returncode == 0 and re.search(rf"^shop +memory +{was >> 20} MiB +64 MiB$", r.stdout, re.M), r)
    check(re.search(r"^ownlimits +memory +80 MiB +64 MiB$", r.stdout, re.M) and "start no new instance" in r.stdout, r)
    check("OVER" not in r.stdout, f"what runs was lowered to fit: {r}")
    wait_for("the instance's group", lambda: kernel(node, "memory") == 64 * MIB)
    r = tulou("tenants", "quota", "acme", "memory=64MiB", "--json")
    check(r.returncode == 0 and "lowered" not in json.loads(r.stdout) and [a["app"] for a in json.loads(r.stdout)["above"]] == ["ownlimits"], r)
    r = tulou("tenants", "quota", "acme", "memory=plan")
    check(r.returncode == 0 and "ABOVE" not in r.stdout and "LOWERED" not in r.stdout, r)
    check(re.search(rf"^RAISED .*\nshop +memory +64 MiB +{was >> 20} MiB$", r.stdout, re.M), r)
    # Two run, and one may from now on: both run on, and the answer says that no other would start.
    node.api("PUT", "/v1/apps/shop/formation", {"web": 2}, token=node.acme, want=200)
    wait_for("two", lambda: len([i for i in node.api("GET", "/v1/apps/shop/instances", want=200)["items"] if i["state"] == "running"]) == 2, 40)
    r = tulou("tenants", "quota", "acme", "instances=1")
    check(r.returncode == 0 and re.search(r"^OVER .*\nacme +instances +2 +1$", r.stdout, re.M) and "nothing more starts" in r.stdout, r)
    node.api("PUT", "/v1/apps/shop/formation", {"web": 1}, token=node.acme, want=200)
    wait_for("one", lambda: node.api("GET", "/v1/tenants/acme", want=200)["used"]["instances"] == 1, 40)
    r = tulou("tenants", "quota", "acme", "instances=plan")
    check(r.returncode == 0 and "OVER" not in r.stdout, r)
    node.api("DELETE", "/v1/apps/ownlimits", token=node.acme, want=204)
    wait_for("the instance's group", lambda: kernel(node, "memory") == was)


def test_leaves_nothing(node):
    """a stop leaves nothing behind, the tenant's group neither"""
    node.stop()
    equal(node.leftovers(), [], "left behind")
