"""What ten quiet apps notice of a hostile one, what crashes leave behind, and starts beside a thousand instances.
Called by bench.py; `row(what, value, unit, target, ok, note)` prints a figure."""
import glob, json, os, re, statistics, subprocess, time
from harness import *

ATTACKS = ("fork", "memory", "tmpfs", "disk", "inodes", "logs", "descriptors", "spin", "network")
QUIET, RATE, GRACE = 10, 40, 3
P99_CHANGE, DAEMONS_KIB, STOP_S = 10.0, 1024, GRACE + 2


def program(build, name):
    with open(os.path.join(build, name), "rb") as f:
        return {"Procfile": f"web: ./{name}\n", name: (f.read(), 0o755)}


def own_kib(pid):
    """What the process has for itself.  Its part of programs and libraries is left out: that grows when somebody else who has them open ends."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return sum(int(n) for n in re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", f.read(), re.M))


def daemons(node):
    return [node.process.pid] + [p for role in ("control", "proxy", "logger") for p in node.role_pids(role)]


def daemons_kib(node):
    """By process: (role, pid) -> KiB."""
    return {(open(f"/proc/{p}/cmdline").read().split("\0")[0].split(" ")[-1].split("/")[-1] if p != node.process.pid else "supervisor", p): own_kib(p) for p in daemons(node)}


def grown_kib(before, after):
    """The sum, and who grew."""
    by = {k[0]: after[k] - before.get(k, 0) for k in after}
    return sum(after.values()) - sum(before.values()), ", ".join(f"{r} {n:+d}" for r, n in by.items() if n)


class LoadRun:
    """The generator beside the node, in the background."""

    def __init__(self, build, node, hosts, seconds):
        self.p = subprocess.Popen([os.path.join(build, "load"), str(node.port), str(RATE), str(seconds)] + hosts, stdout=subprocess.PIPE, text=True)

    def result(self):
        out, _ = self.p.communicate(timeout=60)
        return json.loads(out)


def groups(node, instance):
    return [d for root in glob.glob(f"/sys/fs/cgroup/*/{node.cgroup}") + glob.glob(f"/sys/fs/cgroup/{node.cgroup}") for d in glob.glob(f"{root}/**/{instance}", recursive=True)]


def stop_attacker(node, token):
    """Seconds until no control group of its instances is left."""
    ids = [i["id"] for i in node.instances("evil", token)]
    t = time.monotonic()
    node.api("PUT", "/v1/apps/evil/formation", {"web": 0}, token=token, want=200)
    while any(groups(node, i) for i in ids):
        if time.monotonic() - t > 60:
            return 60.0
        time.sleep(0.05)
    took = time.monotonic() - t
    wait_for("the attacker to be gone", lambda: not node.instances("evil", token), 20, 0.1)
    return took


def one_run(node, build, token, hosts, attack, seconds):
    """Loads before, while it begins, and while it goes on; seconds to stop."""
    before = LoadRun(build, node, hosts, seconds).result()
    node.deploy_ok("evil", token, program(build, "attacker"))  # a new release: no back-off after crashes of the one before
    node.api("PUT", "/v1/apps/evil/formation", {"web": 1}, token=token, want=200)
    wait_for("the attacker", lambda: [i for i in node.instances("evil", token) if i["state"] == "running"], 90, 0.1)
    during = []
    for _ in range(2):
        load = LoadRun(build, node, hosts, seconds)
        end = time.monotonic() + seconds
        while time.monotonic() < end:  # whatever of it was killed begins again
            try:
                node.get("evil", f"/attack/{attack}", timeout=2)
            except Exception:
                pass
            time.sleep(0.5)
        during.append(load.result())
    return before, during[0], during[1], stop_attacker(node, token)


def noisy(build, row, number, runs=3, seconds=8, attacks=ATTACKS):
    node = Node("noisy", f"proxy: {{ workers: 1 }}\nhealth: {{ grace: {GRACE}s, drain: 1s }}\n")
    try:
        node.start()
        good, evil = node.tenant("good"), node.tenant("evil")
        hosts = []
        for i in range(QUIET):
            node.app(f"quiet{i}", good, limits={"memory_bytes": "16MiB", "disk_bytes": "4MiB"})
            node.deploy_ok(f"quiet{i}", good, program(build, "small-server"))
            hosts.append(f"quiet{i}.apps.test")
        node.app("evil", evil, limits={"memory_bytes": "128MiB", "disk_bytes": "64MiB", "cpu": os.cpu_count()})
        node.deploy_ok("evil", evil, program(build, "attacker"))
        stop_attacker(node, evil)
        LoadRun(build, node, hosts, 3).result()  # first use of everything
        for attack in attacks:
            kib, changes, later, stops, failed, p99 = daemons_kib(node), [], [], [], 0, []
            for _ in range(runs):
                before, during, settled, stop = one_run(node, build, evil, hosts, attack, seconds)
                changes.append((during["p99"] / before["p99"] - 1) * 100)
                later.append((settled["p99"] / before["p99"] - 1) * 100)
                p99.append((before["p99"], during["p99"], settled["p99"]))
                stops.append(stop)
                failed += during["failed"] + settled["failed"]
            change, (grown, who) = statistics.median(changes), grown_kib(kib, daemons_kib(node))
            row(f"{attack}: p99 of {QUIET} quiet apps", f"{change:+.0f}", "%", f"<= {P99_CHANGE:.0f} %", change <= P99_CHANGE,
                ", ".join(f"{a:.2f} {b:.2f} {c:.2f}" for a, b, c in p99) + " ms: before, as it begins, later")
            row(f"    the same from its {seconds}. second on", f"{statistics.median(later):+.0f}", "%", f"<= {P99_CHANGE:.0f} %", statistics.median(later) <= P99_CHANGE)
            row("    their requests that failed", str(failed), "", "0", failed == 0)
            row("    our daemons' memory", f"{grown:+d}", "KiB", f"<= {DAEMONS_KIB} KiB", grown <= DAEMONS_KIB, who)
            row("    stop to an empty control group", number(max(stops)), "s", f"<= {STOP_S} s", max(stops) <= STOP_S)
        node.stop(seconds=60)
        left = node.leftovers()
        row("left behind after the stop", str(len(left)), "", "0", not left, "; ".join(left[:3]))
    finally:
        node.cleanup()


def counts(node):
    """What may not grow: descriptors of our daemons, zombies, mounts, control groups, interfaces."""
    zombies = 0
    for f in glob.glob("/proc/[0-9]*/stat"):
        try:
            head, rest = open(f).read().rsplit(")", 1)
            zombies += rest.split()[0] == "Z" and int(rest.split()[1]) in daemons(node)
        except (OSError, IndexError):
            pass
    mounts = sum(node.data in m or node.runtime in m for p in daemons(node) for m in open(f"/proc/{p}/mountinfo"))
    return {"descriptors": sum(len(os.listdir(f"/proc/{p}/fd")) for p in daemons(node)), "zombies": zombies, "mounts": mounts, "control groups": len(node.leftover_cgroups()),
            "interfaces": len(node.leftover_links()), "runtime entries": sum(len(f) + len(d) for _, d, f in os.walk(node.runtime))}


def crashes(build, row, number, total=10000, seconds=200):
    """Instances that crash as soon as they run.  Control pauses after a crash, so each is a one-off run that ends by
    SIGSEGV: the same launch, end and removal, without the pause."""
    node = Node("crash", "proxy: { workers: 1 }\n")
    try:
        node.start()
        token = node.tenant("crash", {"memory_bytes": "64GiB", "pids": 100000, "instances": 4000})
        node.app("boom", token, limits={"memory_bytes": "16MiB", "disk_bytes": "4MiB", "pids": 16})
        node.deploy_ok("boom", token, program(build, "small-server"))
        done, lock, stop = [0, 0], threading.Lock(), [total]

        def worker():
            while True:
                with lock:
                    if stop[0] <= 0:
                        return
                    stop[0] -= 1
                status, data, _ = node.request("POST", "/v1/apps/boom/runs", json.dumps({"command": "kill -SEGV $$"}), token=token, headers={"Content-Type": "application/json"}, timeout=60)
                with lock:
                    done[0 if status == 200 and b"139" in data else 1] += 1

        def batch(n, limit):
            stop[0] = n
            end = time.monotonic() + limit
            threads = [threading.Thread(target=worker) for _ in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                while t.is_alive():
                    t.join(0.2)
                    if time.monotonic() > end:
                        with lock:
                            stop[0] = 0
            time.sleep(3)  # removals that are under way, a round of samples

        batch(300, 60)  # first use of everything
        before, kib, done[:] = counts(node), daemons_kib(node), [0, 0]
        t = time.monotonic()
        batch(total // 2, seconds / 2)
        middle, half = daemons_kib(node), done[0]
        batch(total - total // 2, seconds / 2)
        took = time.monotonic() - t
        after, (grown, who), (first, _) = counts(node), grown_kib(middle, daemons_kib(node)), grown_kib(kib, middle)
        row("crashes of an instance", str(done[0]), "", f"{total}", done[0] >= total, f"{done[0] / took:.0f}/s, {done[1]} that could not be had")
        for what in before:
            row(f"    {what} before and after", f"{before[what]}/{after[what]}", "", "equal", after[what] <= before[what])
        row("    memory of our daemons, second half", f"{grown:+d}", "KiB", "<= 64 KiB", grown <= 64, f"{who}; first half {first:+d} KiB in {half} crashes")
    finally:
        node.cleanup()


def starts_beside(build, row, number, floor_ms, many=1000, n=30):
    """Start against the floor, measured in turn, with nothing and with many instances running."""
    node = Node("starts", "proxy: { workers: 1 }\n")
    try:
        node.start()
        token = node.tenant("starts", {"memory_bytes": "64GiB", "cpu": 1000, "pids": 100000, "disk_bytes": "64GiB", "inodes": 32000000, "apps": 100, "instances": 4000})
        node.app("start", token, limits={"memory_bytes": "32MiB", "disk_bytes": "8MiB"})
        node.deploy_ok("start", token, program(build, "small-server"))

        def measure(title):
            floors, ours = [floor_ms(30)], []
            for i in range(n):
                old = {x["id"] for x in node.instances("start", token)}
                node.api("DELETE", f"/v1/apps/start/instances/{sorted(old, key=int)[-1]}", token=token, want=(200, 202, 204))
                fresh = wait_for("the next instance", lambda: [x for x in node.instances("start", token) if x["id"] not in old and x.get("start_us")], 20, 0.01)
                ours.append(fresh[0]["start_us"] / 1000)
                if i == n // 2:
                    floors.append(floor_ms(30))
            floors.append(floor_ms(30))
            floor, our = statistics.median(floors), statistics.median(ours)
            row(title, number(our / floor), "x floor", "<= 2.5 x", our / floor <= 2.5, f"{our:.2f} ms, floor {floor:.2f} ms")

        measure("start, nothing else running")
        apps = [f"many{i}" for i in range(many // 100)]
        for a in apps:
            node.app(a, token, limits={"memory_bytes": "16MiB", "disk_bytes": "4MiB", "pids": 16, "cpu": 0.1})
            node.deploy_ok(a, token, program(build, "small-server"))
            node.api("PUT", f"/v1/apps/{a}/formation", {"web": 100}, token=token, want=200)
        wait_for("all of them", lambda: node.api("GET", "/v1/node", want=200)["instances"]["running"] >= many, 240, 0.5)
        time.sleep(6)
        measure(f"start, {many} instances running")
        node.stop(seconds=120)
    finally:
        node.cleanup()
