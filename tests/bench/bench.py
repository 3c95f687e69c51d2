"""make bench: what the node costs, measured in one run beside the kernel's floor and the peers.
usage: bench.py --build DIR [--only starts,instances,state,push,proxy,starts1000,noisy,crashes] [--instances 500]
       [--attacks spin,fork] [--runs 3] [--crashes 10000] [--rows keepalive,tls,…]   (of the proxy's table; tests/bench/proxy/run)
Prints one table; exits 1 when a figure that the product promises is missed."""
import argparse, json, os, re, statistics, subprocess, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))
parser = argparse.ArgumentParser()
parser.add_argument("--build", default="build")
parser.add_argument("--only", default="")
parser.add_argument("--instances", type=int, default=500)
parser.add_argument("--attacks", default="")
parser.add_argument("--runs", type=int, default=3)
parser.add_argument("--crashes", type=int, default=10000)
parser.add_argument("--rows", default="")
args = parser.parse_args()
os.environ["TULOU_BUILD"] = os.path.abspath(args.build)
from harness import *
import deploys, noisy

rows, missed = [], []


def row(what, value, unit, target=None, ok=None, note=""):
    verdict = "" if ok is None else ("reached" if ok else "MISSED")
    rows.append((what, value, unit, target or "", verdict, note))
    print(f"{what:<58} {value:>10} {unit:<8} {target or '':<22} {verdict:<8} {note}", flush=True)
    if ok is False:
        missed.append(what)


def number(x):
    return f"{x:.2f}" if x < 100 else f"{x:.0f}"


def floor_ms(n=60, pause_ms=0):
    """The kernel's floor: the same isolation by our own small program, request to exec, median in ms."""
    out = run(os.path.join(args.build, "floor"), "--count", str(n), "--pause-ms", str(pause_ms), "--json", timeout=120)
    if out.returncode != 0:
        raise Failure(f"floor: {out.stderr}")
    return json.loads(out.stdout)["median_us"] / 1000


def small_files():
    with open(os.path.join(args.build, "small-server"), "rb") as f:
        return {"Procfile": "web: ./small-server\n", "small-server": (f.read(), 0o755)}


def wait_running(node, apps, n, seconds=120):
    """Until n instances in all run; the time it took."""
    started = time.monotonic()

    def count():
        return node.api("GET", "/v1/node", want=200)["instances"]["running"] >= n
    wait_for(f"{n} instances", count, seconds, 0.05)
    return time.monotonic() - started


def starts(node, token):
    """One start at a time, at once after the other and after idle pauses, beside the floor in the same minute."""
    node.app("start", token, limits={"memory_bytes": "32MiB", "disk_bytes": "8MiB"})
    node.deploy_ok("start", token, small_files())
    for title, pause in (("start of one instance, request to exec", 0), ("the same after an idle pause of 100 ms", 0.1)):
        floors, ours = [floor_ms(40, int(pause * 1000))], []
        for i in range(30):
            if pause:
                time.sleep(pause)
            old = {x["id"] for x in node.instances("start", token)}
            node.api("DELETE", f"/v1/apps/start/instances/{sorted(old, key=int)[-1]}", token=token, want=(200, 202, 204))
            fresh = wait_for("the next instance", lambda: [x for x in node.instances("start", token) if x["id"] not in old and x.get("start_us")], 20, 0.01)
            ours.append(fresh[0]["start_us"] / 1000)
        floors.append(floor_ms(40, int(pause * 1000)))
        floor, our = statistics.mean(floors), statistics.median(ours)
        row(title, number(our), "ms", "", None, f"floor with veth {floor:.2f} ms")
        row("    ratio to the floor", number(our / floor), "x", "<= 3 x", our / floor <= 3)


def pss(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Pss:\s+(\d+) kB", f.read(), re.M).group(1))


def our_pids(node):
    return [node.process.pid] + node.role_pids("control") + node.role_pids("proxy") + node.role_pids("logger")


def instances(node, token):
    """Many instances of a small server: time to start, answers through the proxy, memory."""
    n, per = args.instances, 50
    apps = [f"many{i}" for i in range((n + per - 1) // per)]
    for a in apps:
        node.app(a, token, limits={"memory_bytes": "16MiB", "disk_bytes": "4MiB", "pids": 16, "cpu": 0.1})
        node.deploy_ok(a, token, small_files())
        node.api("PUT", f"/v1/apps/{a}/formation", {"web": 0}, token=token, want=200)
    wait_for("none of them to run", lambda: not any(node.instances(a, token) for a in apps), 60, 0.5)
    base_running = node.api("GET", "/v1/node", want=200)["instances"]["running"]
    for a in apps:  # touch every path once, so that growth is per instance and not first use
        node.get(a)
    before = {p: pss(p) for p in our_pids(node)}
    cpu0 = os.times()
    t0 = time.monotonic()
    for a in apps:
        node.api("PUT", f"/v1/apps/{a}/formation", {"web": per}, token=token, want=200)
    wait_running(node, apps, n + base_running, 180)
    started = time.monotonic() - t0
    bad = 0
    for a in apps:
        for _ in range(per * 2):
            bad += node.get(a)[0] != 200
    row(f"{n} instances, all running", number(started), "s", "<= 10 s" if n == 500 else "", started <= 10 if n == 500 else None)
    row("    requests through the proxy that failed", str(bad), "", "0", bad == 0)
    row("    starts per second", number(n / started), "/s")
    time.sleep(8)  # one round of usage samples
    after = {p: pss(p) for p in our_pids(node)}
    sandboxes = [pss(i["pid"]) for a in apps for i in node.instances(a, token) if i.get("pid")]
    growth = sum(after.values()) - sum(before.values())
    each = (sum(sandboxes) + growth) / max(len(sandboxes), 1)
    row("our memory per running instance (PSS)", number(each), "KiB", "<= 128 KiB", each <= 128,
        f"tulou-sandbox {statistics.mean(sandboxes):.1f} KiB each, daemons grew by {growth} KiB")
    return apps


def many_apps(node, token, n=500):
    """State of many apps to a polling controller."""
    have = len(node.api("GET", "/v1/apps?limit=200", want=200)["items"])
    for i in range(max(0, n - have)):
        node.app(f"state{i}", token)
    times = []
    for i in range(15):
        # a change each time, so that the answer is made anew
        node.api("PUT", "/v1/apps/start/formation", {"web": i % 2}, token=token)
        t = time.monotonic()
        state = node.api("GET", "/v1/node/state", want=200)
        times.append((time.monotonic() - t) * 1000)
    row(f"GET /v1/node/state, {len(state['apps'])} apps, changed", number(statistics.median(times)), "ms", "<= 20 ms", statistics.median(times) <= 20,
        f"worst {max(times):.1f} ms, client's JSON parsing included")
    pid = node.role_pids("control")[0]
    time.sleep(3)
    state = node.api("GET", "/v1/node/state", want=200)
    ticks = lambda: sum(int(x) for x in open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[11:13])
    idle0 = ticks()
    time.sleep(4)
    idle = ticks() - idle0
    c0, statuses = ticks(), []
    polls = [threading.Thread(target=lambda: statuses.append(node.request("GET", f"/v1/node/state?since={state['generation']}&wait=4s", token=node.token)[0])) for _ in range(50)]
    for p in polls:
        p.start()
    for p in polls:
        p.join()
    used = (ticks() - c0 - idle) * 10
    row("    50 long polls of 4 s, nothing changed: CPU of control", str(max(used, 0)), "ms", "", None, f"statuses {sorted(set(statuses))}")


def push(node, token):
    """git push of a static site, built before, to live; the build itself is not counted."""
    node.app("site", token)
    repo = node.git_repo({"index.html": "<h1>0</h1>"} | {f"page{i}.html": f"<p>{i}</p>" for i in range(20)})
    r = node.push(repo, "site", token)
    check(r.returncode == 0, r.stderr)
    times = []
    for i in range(1, 8):
        with open(repo + "/index.html", "w") as f:
            f.write(f"<h1>push {i}</h1>")
        node.commit(repo)
        t = time.monotonic()
        r = node.push(repo, "site", token)
        times.append(time.monotonic() - t)
        check(r.returncode == 0 and f"push {i}" in node.get("site")[1], r.stderr)
    row("git push of a static site to live (build included)", number(statistics.median(times)), "s", "<= 1.5 s", statistics.median(times) <= 1.5, f"worst {max(times):.2f} s")


def proxy():
    """Front door against HAProxy and nginx: its own script prints JSON lines, one by one."""
    p = subprocess.Popen([os.path.join(HERE, "proxy", "run"), args.build, "--rows", ",".join(r for r in args.rows.split(",") if r != "deploys")], stdout=subprocess.PIPE, text=True)
    for line in p.stdout:
        if line.startswith("{"):
            r = json.loads(line)
            row(r["what"], number(r["value"]), r.get("unit", ""), r.get("target", ""), r.get("ok"), r.get("note", ""))
        else:
            print(line, end="", flush=True)
    if p.wait() != 0:
        row("proxy bench", "failed", "", "", False)


def wanted(name):
    return not args.only or name in args.only.split(",")


print(f"tulou bench: {os.cpu_count()} cores, Linux {os.uname().release}")
print(run("haproxy", "-v").stdout.splitlines()[0] if run("sh", "-c", "command -v haproxy").returncode == 0 else "haproxy is not installed")
node = Node("bench", "proxy: { workers: 1 }\n")
try:
    if any(wanted(x) for x in ("starts", "instances", "state", "push")):
        node.start()
        token = node.tenant("bench", {"memory_bytes": "64GiB", "cpu": 1000, "pids": 100000, "disk_bytes": "64GiB", "inodes": 32000000, "apps": 1000, "instances": 4000})
        if wanted("starts"):
            starts(node, token)
        if wanted("push"):
            push(node, token)
        if wanted("instances"):
            instances(node, token)
        if wanted("state"):
            many_apps(node, token)
        node.stop(seconds=60)
        left = node.leftovers()
        row("left behind after the stop", str(len(left)), "", "0", not left, "; ".join(left[:3]))
finally:
    node.cleanup()
if wanted("starts1000"):
    noisy.starts_beside(args.build, row, number, floor_ms)
if wanted("noisy"):
    noisy.noisy(args.build, row, number, args.runs, attacks=args.attacks.split(",") if args.attacks else noisy.ATTACKS)
if wanted("crashes"):
    noisy.crashes(args.build, row, number, args.crashes)
if wanted("proxy") and args.rows != "deploys":
    proxy()
if wanted("proxy") and (not args.rows or "deploys" in args.rows.split(",")):
    deploys.without_loss(args.build, row)
print(f"\n{len(rows)} figures, {len(missed)} missed" + (": " + ", ".join(m.strip() for m in missed) if missed else ""))
sys.exit(1 if missed else 0)
