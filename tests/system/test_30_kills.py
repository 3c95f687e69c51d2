"""Anything may die: kill -9 of each of our processes under load stops no app and loses no accepted deploy."""
import os, signal, socket, time
from harness import *

ROUNDS = int(os.environ.get("ROUNDS", "20"))


def setup():
    node = Node("kills", "proxy: { workers: 2 }\n").start()
    node.acme = node.tenant("acme")
    node.app("py", node.acme)
    node.deploy_ok("py", node.acme, server("v1"))
    return node


def teardown(node):
    if node:
        node.cleanup()


def app_pid(node):
    return node.get("py", "/eval?open('/proc/self/stat').read().split()[21]")[1]  # start time of the app's process


def lives(pid):
    try:
        return proc_status(pid)["State"][0] not in "ZX"
    except (OSError, KeyError):
        return False


def ready(node):
    wait_for("the node to be ready", lambda: node.request("GET", "/readyz")[0] == 200, 20)


def test_control(node):
    """kill -9 of control, each round under load: no request fails, the app's process is the same"""
    before = app_pid(node)
    with Load(node, "py", threads=3) as load:
        for i in range(ROUNDS):
            pid = wait_for("control", lambda: node.role_pids("control"))[0]
            os.kill(pid, signal.SIGKILL)
            wait_for("a new control", lambda: [p for p in node.role_pids("control") if p != pid])
            ready(node)
    check(not load.failures, f"{len(load.failures)} of {load.ok} failed: {load.failures[:5]}")
    equal(app_pid(node), before, "start time of the app")
    node.deploy_ok("py", node.acme, server("v2"))


def test_supervisor(node):
    """kill -9 of the supervisor, each round under load: no request fails, the next one adopts the app"""
    before = app_pid(node)
    with Load(node, "py", threads=3) as load:
        for i in range(ROUNDS):
            node.kill()
            time.sleep(0.05)
            node.start()
            check(node.instances("py"), "no instance after adoption")
    check(not load.failures, f"{len(load.failures)} of {load.ok} failed: {load.failures[:5]}")
    equal(app_pid(node), before, "start time of the app")
    equal(len([i for i in node.instances("py") if i["state"] == "running"]), 1, "instances")
    node.deploy_ok("py", node.acme, server("v3"))
    check("v3" in node.get("py")[1], "the new release does not answer")


def test_logger(node):
    """kill -9 of the logger: the app runs on and its later output is logged"""
    node.app("talk", node.acme)
    node.deploy_ok("talk", node.acme, {"Procfile": "web: python3 server.py\ntalk: sh -c 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done'\n", "server.py": SERVER % {"version": "t"}})
    node.api("PUT", "/v1/apps/talk/formation", {"web": 1, "talk": 1}, token=node.acme, want=200)
    wait_for("lines", lambda: "line 5" in node.logs("talk"))
    last = lambda: int(([0] + [int(l.rsplit(" ", 1)[1]) for l in node.logs("talk").splitlines() if " line " in l])[-1])
    for i in range(5):
        pid = wait_for("logger", lambda: node.role_pids("logger"))[0]
        at = last()
        os.kill(pid, signal.SIGKILL)
        wait_for("later lines", lambda: last() > at + 20)
    restarts = {i["type"]: i for i in node.instances("talk")}
    check("talk" in restarts, restarts)


def test_worker_process(node):
    """kill -9 of a proxy worker: another takes its place on the same sockets, the app answers"""
    for i in range(5):
        pids = node.role_pids("proxy")
        equal(len(pids), 2, "workers")
        os.kill(pids[0], signal.SIGKILL)
        wait_for("two workers", lambda: len(set(node.role_pids("proxy")) - {pids[0]}) == 2)
        wait_for("an answer", lambda: node.get("py")[0] == 200)


def test_upgrade_in_place(node):
    """SIGUSR2 executes the program again under load: no request fails, same process id, same app"""
    before, pid = app_pid(node), node.process.pid
    with Load(node, "py", threads=3) as load:
        for i in range(5):
            old = set(node.role_pids("proxy"))
            node.process.send_signal(signal.SIGUSR2)
            wait_for("new workers", lambda: len(set(node.role_pids("proxy")) - old) == 2)
            ready(node)
            time.sleep(0.3)
    check(not load.failures, f"{len(load.failures)} of {load.ok} failed: {load.failures[:5]}")
    equal(app_pid(node), before, "start time of the app")
    equal(node.process.poll(), None, "the supervisor ended")


def test_instance_killed(node):
    """kill -9 of an app: it is started again, its owner reads why"""
    i = node.instances("py")[0]
    os.kill(i["pid"], signal.SIGKILL)
    wait_for("another instance", lambda: [x for x in node.instances("py") if x["id"] != i["id"] and x["state"] == "running"])
    wait_for("an answer", lambda: node.get("py")[0] == 200)
    check(any(e["kind"] == "instance.exited" for e in node.events("py")), "no event")


def test_sigquit(node):
    """SIGQUIT leaves the apps running for the next start"""
    before = app_pid(node)
    node.stop(signal.SIGQUIT)
    check(node.leftover_pids(), "the app is gone")
    node.start()
    wait_for("an answer", lambda: node.get("py")[0] == 200)
    equal(app_pid(node), before, "start time of the app")


def test_all_killed(node):
    """kill -9 of everything of ours at once: the next start adopts"""
    before = app_pid(node)
    for role in ("proxy", "control", "logger"):
        for p in node.role_pids(role):
            os.kill(p, signal.SIGKILL)
    node.kill()
    node.start()
    wait_for("an answer", lambda: node.get("py")[0] == 200)
    equal(app_pid(node), before, "start time of the app")


def test_first_answer(node):
    """the first that a new control says of an app is what runs: who asks early waits for it"""
    before = [(i["id"], i["pid"]) for i in node.instances("py")]
    for _ in range(8):
        control = node.role_pids("control")
        os.kill(control[0], signal.SIGKILL)

        def asked():
            status, body = node.api("GET", "/v1/apps/py/instances")[:2]
            return status == 200 and not set(control) & set(node.role_pids("control")) and body
        first = wait_for("an answer of the new one", asked, 10, 0)
        equal([(i["id"], i["pid"]) for i in first["items"] if i["state"] == "running"], before, "the first answer")
        ready(node)


def test_killed_before_ready(node):
    """kill -9 of everything while new workers wait for their routes: the next start takes their listeners over"""
    before, old = app_pid(node), set(node.role_pids("proxy"))
    control = node.role_pids("control")
    for p in control:
        os.kill(p, signal.SIGSTOP)
    for p in old:
        os.kill(p, signal.SIGKILL)
    wait_for("new workers", lambda: len(set(node.role_pids("proxy")) - old) == 2)
    waiting = set(node.role_pids("proxy")) - old
    port = f"0100007F:{node.port:04X} 00000000:0000 0A"
    listener = next(line.split()[9] for line in open("/proc/net/tcp") if port in line)
    has = lambda pid: any(os.readlink(f) == f"socket:[{listener}]" for f in glob.glob(f"/proc/{pid}/fd/*") if os.path.islink(f))
    wait_for("they have the listener", lambda: all(has(p) for p in waiting))
    node.kill()
    for p in control:
        os.kill(p, signal.SIGKILL)
    with socket.create_connection(("127.0.0.1", node.port), 5) as s:  # into the queue of a listener that nobody accepts from yet
        s.sendall(b"GET / HTTP/1.1\r\nHost: py.apps.test\r\nConnection: close\r\n\r\n")
        node.start()
        wait_for("an answer", lambda: node.get("py")[0] == 200)
        s.settimeout(10)
        check(s.recv(4096).startswith(b"HTTP/1.1 200"), "who waited got no answer")
    wait_for("the earlier workers to go", lambda: not any(lives(p) for p in waiting))
    equal(app_pid(node), before, "start time of the app")


def test_nothing_left(node):
    """after all of it a stop leaves nothing behind"""
    node.stop()
    equal(node.leftovers(), [], "left behind")
