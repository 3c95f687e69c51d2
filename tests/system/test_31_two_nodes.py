"""Two nodes on one host: what one has, the other is refused, and the first one's apps live on."""
import re, tempfile
from harness import *


def setup():
    node = Node("two").start()
    node.acme = node.tenant("acme")
    node.app("py", node.acme)
    node.deploy_ok("py", node.acme, server("first"))
    return node


def teardown(node):
    if node:
        node.cleanup()


def second(node, check_only=False, **same):
    """A second tuloud whose settings differ from the node's but for what is given; (exit code, what it said)."""
    tag = "%04x" % random.randrange(65536)
    own = {"data": f"{node.dir}/second-{tag}", "runtime": f"/run/tulou-test-{tag}s", "cgroup": f"tulou-test-{tag}s", "pool": "198.18.255.0/24",
           "prefix": "".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(4)), "http": f"127.0.0.1:{free_port()}", "https": ""}
    own.update(same)
    settings = f"{node.dir}/second-{tag}.yaml"
    with open(settings, "w") as f:
        f.write(f"""node: {{ data: {own["data"]}, runtime: {own["runtime"]}, cgroup: {own["cgroup"]} }}
listen: {{ http: ["{own["http"]}"], https: [{own["https"]}] }}
network: {{ pool: {own["pool"]}, link_prefix: {own["prefix"]} }}
disk: {{ pool: 512MiB }}
""")
    r = run(os.path.join(BUILD, "tuloud"), "-c", settings, *(["--check"] if check_only else []), timeout=20)
    if r.returncode == 1:  # refused: nothing that was not there is there now
        left = [p for p in (own["data"], own["runtime"]) if p not in (node.data, node.runtime) and os.path.exists(p)]
        left += [p for p in glob.glob(f"/sys/fs/cgroup/**/{own['cgroup']}", recursive=True) if own["cgroup"] != node.cgroup]
        equal(left, [], f"left behind: {[os.listdir(p) for p in left]}, {r.stderr}")
    return r.returncode, r.stdout + r.stderr


def app(node):
    i = node.instances("py")
    return [(x["id"], x["pid"], x["state"]) for x in i]


def taken(node):
    net, bits = node.pool.split("/")
    return [
        ("node.runtime", {"runtime": node.runtime}),
        ("node.data", {"data": node.data}),
        ("node.cgroup", {"cgroup": node.cgroup}),
        ("network.pool", {"pool": node.pool}),
        ("network.pool", {"pool": net.rsplit(".", 2)[0] + ".64.0/20"}),
        ("network.pool", {"pool": "10.0.0.0/8"}),
        ("network.link_prefix", {"prefix": node.prefix}),
        ("network.link_prefix", {"prefix": node.prefix[:2]}),
    ]


def test_refused(node):
    """each name of the running node is refused to a second one, with the setting and the pid; the app does not notice"""
    before = app(node)
    for setting, same in taken(node):
        code, said = second(node, **same)
        equal(code, 1, f"exit code with {same}: {said}")
        check("start failed" in said and f"field={setting} " in said, f"{same}: {said}")
        if same.get("pool") != "10.0.0.0/8":  # other nodes of this host may lie in that one too
            check(f"(pid {node.process.pid})" in said, f"{same}: {said}")
    equal(app(node), before, "instances")
    equal(node.get("py")[0], 200, "the app")


def test_leaves_only_what_was_there(node):
    """a start that fails later, at a port or a user, takes back all that it made, and leaves the operator's own"""
    code, said = second(node, http=f"127.0.0.1:{node.port}")
    check(code == 1 and "listen.http" in said, said)
    tag = "%04x" % random.randrange(65536)
    data, runtime = f"{node.dir}/kept-{tag}/data", f"/run/tulou-test-{tag}k"
    os.makedirs(data)
    os.makedirs(runtime)
    for same in ({"http": f"127.0.0.1:{node.port}"}, {"pool": node.pool}):
        with open(f"{data}/mine", "w") as f:
            f.write("x")
        r = None
        try:
            second(node, data=data, runtime=runtime, **same)
        except Failure as e:  # both are still there: that is the point
            r = str(e)
        check(r and f"left behind: [['mine'], []]" in r, r)
    shutil.rmtree(runtime)


def test_check(node):
    """--check says the same, and that a node with these settings runs is no fault of them"""
    for setting, same in taken(node)[1:]:
        code, said = second(node, True, **same)
        check(re.search(rf"^fail +{re.escape(setting)} ", said, re.M), f"{same}: {said}")
    r = run(os.path.join(BUILD, "tuloud"), "-c", node.settings, "--check")
    check(f"(pid {node.process.pid})" in r.stdout and not re.search(r"^fail +(node|network)\.", r.stdout, re.M), r.stdout)
    code, said = second(node, True, http="0.0.0.0:18999", https='"127.0.0.1:18999"')
    equal(code, 1, said)
    check("listen.https[0]" in said and "listen.http[0]" in said, said)


def test_check_more_than_the_host_has(node):
    """--check names settings by which an instance may use more than the host has"""
    path = os.path.join(node.dir, "wide.yaml")
    for app, words in (("{ memory: 4TiB, cpu: 1000000 }", "warn"), ("{ memory: 64MiB, cpu: 100 }", "ok")):
        with open(path, "w") as f:
            f.write(open(node.settings).read() + f"\napp: {app}\n")
        said = run(os.path.join(BUILD, "tuloud"), "-c", path, "--check").stdout
        check(re.search(rf"^{words} +app.memory .*this host", said, re.M), said)
        equal(bool(re.search(r"^warn +app.cpu .*nothing can use so much", said, re.M)), words == "warn", said)
    os.unlink(path)


def test_kept_in_place(node):
    """the names are held over SIGHUP and SIGUSR2, and over settings that would take another node's"""
    before = app(node)
    for signo in (signal.SIGHUP, signal.SIGUSR2):
        done = open(node.log, errors="replace").read().count("node serves")
        node.process.send_signal(signo)
        wait_for("the program to be executed again", lambda: open(node.log, errors="replace").read().count("node serves") > done)
        fds = open_files(node.process.pid)
        equal(fds.count(node.runtime + "/lock"), 1, f"locks of the runtime folder in {fds}")
        code, said = second(node, cgroup=node.cgroup)
        check(code == 1 and f"(pid {node.process.pid})" in said, said)
    wait_for("the app", lambda: node.get("py")[0] == 200)
    equal(app(node), before, "instances")
    other = Node("other").start()
    try:
        text = open(node.settings).read()
        with open(node.settings, "w") as f:
            f.write(text.replace(node.pool, other.pool))
        node.process.send_signal(signal.SIGHUP)
        wait_for("the refusal", lambda: "settings refused" in node.log_tail() and "field=network.pool" in node.log_tail())
        check(f"pid {other.process.pid}" in node.log_tail(), node.log_tail())
        equal(node.get("py")[0], 200, "the app after refused settings")
        with open(node.settings, "w") as f:
            f.write(text)
    finally:
        other.cleanup()


def test_strangers(node):
    """a stranger on a node's names, who listens or not, with room in the backlog or without, does not keep it from starting, is told of, and lets no second node in"""
    for how in ("bound", "listens", "full"):
        other = Node("squat")
        own = [f"tulou/pool/{other.pool}", f"tulou/table/tulou_{other.cgroup.replace('-', '_')}", f"tulou/links/{other.prefix[:2]}"]
        squatter = subprocess.Popen([sys.executable, "-c", f"""
import os, socket
os.setgroups([]); os.setgid(65534); os.setuid(65534)
kept = []
for name in {own!r}:
    s = socket.socket(socket.AF_UNIX)
    s.bind("\\0" + name)
    kept.append(s)
    if {how!r} == "bound":
        continue
    s.listen(0)
    for _ in range({2 if how == "full" else 0}):
        c = socket.socket(socket.AF_UNIX)
        c.setblocking(False)
        kept.append(c)
        try:
            c.connect("\\0" + name)
        except BlockingIOError:
            pass
print(flush=True)
input()
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            equal(squatter.stdout.readline(), b"\n", "the stranger")
            other.start()
            text = open(other.log, errors="replace").read()
            equal(text.count("bound by somebody who is none"), 3, text)
            check("uid=65534" in text, text)
            for setting, same in (("network.pool", {"pool": other.pool}), ("network.link_prefix", {"prefix": other.prefix})):
                code, said = second(other, **same)
                check(code == 1 and f"field={setting} " in said and f"(pid {other.process.pid})" in said, said)
            if how == "full":  # the names are carried over an execution in place, a second choice too
                other.process.send_signal(signal.SIGUSR2)
                wait_for("the program to be executed again", lambda: open(other.log, errors="replace").read().count("node serves") > 1)
                code, said = second(other, pool=other.pool)
                check(code == 1 and "field=network.pool " in said, said)
        finally:
            squatter.kill()
            squatter.wait()
            other.cleanup()


def test_free_after_kill(node):
    """kill -9 gives the names back: the next start of the same node has them"""
    before = app(node)
    node.kill()
    node.start()
    wait_for("the app", lambda: node.get("py")[0] == 200)
    equal(app(node), before, "instances")
