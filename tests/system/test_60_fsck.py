"""tulou node fsck: nothing to say about a sound node; each kind of damage is found, and mended where that is safe."""
import glob, json, os, subprocess, time
from harness import *


def setup():
    node = Node("fsck", "health: { grace: 2s }\n").start()
    node.acme = node.tenant("acme")
    node.app("shop", node.acme)
    node.deploy_ok("shop", node.acme, server("shop"))
    return node


def teardown(node):
    if node:
        node.cleanup()


def fsck(node, repair=False):
    status, body = node.request("POST", "/v1/node/fsck", json.dumps({"repair": repair}), token=node.token, timeout=60)[:2]
    equal(status, 200, body)
    lines = [json.loads(l) for l in body.splitlines() if l.strip()]
    check(lines and "found" in lines[-1] and not lines[-1].get("error"), lines[-3:])
    equal(lines[-1]["found"], len(lines) - 1, "count of differences")
    return lines[:-1]


def words(found):
    return [f"{f['area']}: {f['text']}" for f in found]


def test_sound(node):
    """a node with a running app has nothing to be said about it, also while it deploys"""
    equal(words(fsck(node)), [], "differences")
    node.deploy_ok("shop", node.acme, server("shop"))
    wait_for("only the new instance", lambda: len(node.instances("shop")) == 1)
    equal(words(fsck(node)), [], "differences after a deploy")


def test_roles(node):
    """only an operator may ask"""
    equal(node.request("POST", "/v1/node/fsck", "{}", token=node.acme)[0], 403, "a tenant's token")
    equal(node.request("POST", "/v1/node/fsck", '{"repair":1}', token=node.token)[0], 400, "a wrong type")


def test_leftovers(node):
    """folders of instances, stored trees, repositories and logs that nobody owns are found, then mended"""
    made = [f"{node.runtime}/instances/999999", f"{node.data}/releases/888888", f"{node.data}/repos/777777", f"{node.data}/logs/666666"]
    for path in made:
        os.makedirs(path)
    found = fsck(node)
    text = "\n".join(words(found))
    for number in ("999999", "888888", "777777", "666666"):
        check(number in text, f"{number} was not found: {text}")
    check(all(os.path.isdir(p) for p in made), "looking removed something")
    found = fsck(node, True)
    check(all(f["repaired"] for f in found), words(found))
    wait_for("the leftovers to go", lambda: not any(os.path.exists(p) for p in made), 10)
    equal(words(fsck(node)), [], "differences after the repair")


def test_record(node):
    """a lost record is written again, and the next supervisor finds the instance by it"""
    i = node.instances("shop")[0]
    os.unlink(f"{node.runtime}/instances/{i['id']}/record")
    check(any("record" == f["area"] for f in fsck(node)), "not found")
    fsck(node, True)
    equal(words(fsck(node)), [], "differences after the repair")
    node.process.kill()
    node.process.wait()
    node.start()
    equal(wait_for("the instance", lambda: [x for x in node.instances("shop") if x["state"] == "running"])[0]["pid"], i["pid"], "pid")


def group_files(node, name):
    return [f for f in glob.glob(f"/sys/fs/cgroup/*/{node.cgroup}/**/{name}", recursive=True) + glob.glob(f"/sys/fs/cgroup/{node.cgroup}/**/{name}", recursive=True)]


def test_groups(node):
    """limits that somebody changed in the kernel, and a group that nobody owns, are found and mended"""
    i = node.instances("shop")[0]
    pids = [f for f in group_files(node, "pids.max") if f.split("/")[-2] == str(i["id"])]
    check(pids, "no pids.max of the instance")
    was = open(pids[0]).read()
    with open(pids[0], "w") as f:
        f.write("999")
    tenant = os.path.dirname(os.path.dirname(pids[0]))
    os.mkdir(tenant + "/4444")
    text = "\n".join(words(fsck(node)))
    check("pids.max is 999" in text and "4444" in text, text)
    fsck(node, True)
    equal(open(pids[0]).read(), was, "pids.max")
    check(not os.path.exists(tenant + "/4444"), "the stray group is still there")
    equal(words(fsck(node)), [], "differences after the repair")
    with open(tenant + "/pids.max", "w") as f:
        f.write("max")
    check(any("tenant slot" in w for w in words(fsck(node, True))), "the tenant's group")
    equal(words(fsck(node)), [], "differences after the repair")


def test_rules(node):
    """rules that somebody changed, and a table that somebody deleted, are written again"""
    table = "tulou_" + node.cgroup.replace("-", "_")
    before = run("nft", "list", "table", "inet", table).stdout
    check("chain input" in before, before)
    equal(run("nft", "add", "rule", "inet", table, "forward", "accept").returncode, 0, "nft")
    check(any(f["area"] == "nftables" for f in fsck(node)), "an added rule was not found")
    check(table + "_fsck" not in run("nft", "list", "tables").stdout, "the table of the comparison is still there")
    fsck(node, True)
    equal(words(fsck(node)), [], "differences after the repair")
    equal(run("nft", "delete", "table", "inet", table).returncode, 0, "nft")
    check(any("not there" in w for w in words(fsck(node, True))), "a missing table was not found")
    equal(words(fsck(node)), [], "differences after the repair")
    check("shop" in node.get("shop")[1], "the app does not answer")


def test_lists(node):
    """an egress list that came while the app ran is no difference"""
    node.api("PATCH", "/v1/apps/shop", {"egress": {"mode": "list", "allow": ["203.0.113.0/24:443"]}}, token=node.acme, want=200)
    table = "tulou_" + node.cgroup.replace("-", "_")
    wait_for("the list", lambda: "203.0.113.0/24" in run("nft", "list", "table", "inet", table).stdout, 10)
    equal(words(fsck(node)), [], "differences")
    node.api("PATCH", "/v1/apps/shop", {"egress": {"mode": "public"}}, token=node.acme, want=200)
    wait_for("no list", lambda: "203.0.113.0/24" not in run("nft", "list", "table", "inet", table).stdout, 10)
    equal(words(fsck(node)), [], "differences")


def test_forwarding(node):
    """forwarding that somebody switched off is switched on again"""
    with open("/proc/sys/net/ipv4/ip_forward", "w") as f:
        f.write("0")
    try:
        check(any(f["area"] == "network" for f in fsck(node)), "not found")
        fsck(node, True)
        equal(open("/proc/sys/net/ipv4/ip_forward").read().strip(), "1", "ip_forward")
    finally:
        with open("/proc/sys/net/ipv4/ip_forward", "w") as f:
            f.write("1")


def test_command(node):
    """the command prints what differs, and its exit code says whether something is left"""
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=node.token)
    r = subprocess.run([os.path.join(BUILD, "tulou"), "node", "fsck"], env=env, capture_output=True, text=True, timeout=60)
    equal((r.returncode, "agree" in r.stdout), (0, True), r.stdout + r.stderr)
    os.makedirs(f"{node.data}/releases/555555")
    r = subprocess.run([os.path.join(BUILD, "tulou"), "node", "fsck"], env=env, capture_output=True, text=True, timeout=60)
    equal((r.returncode, "555555" in r.stdout, "--repair" in r.stdout), (1, True, True), r.stdout + r.stderr)
    r = subprocess.run([os.path.join(BUILD, "tulou"), "node", "fsck", "--repair", "--json"], env=env, capture_output=True, text=True, timeout=60)
    out = json.loads(r.stdout)
    equal((r.returncode, out["found"], out["repaired"]), (0, 1, 1), r.stdout + r.stderr)
