"""Privileges of our processes, and what an instance sees from inside."""
import json, os, re
from harness import *


def setup():
    node = Node("priv", https=True).start()
    node.acme, node.other = node.tenant("acme"), node.tenant("other")
    node.app("one", node.acme)
    node.app("two", node.acme)
    node.app("foreign", node.other)
    for app, token in (("one", node.acme), ("two", node.acme), ("foreign", node.other)):
        node.deploy_ok(app, token, server(app))
    return node


def teardown(node):
    if node:
        node.cleanup()


def inside(node, expression, app="one"):
    """The value of a Python expression inside the app."""
    import urllib.parse
    return node.get(app, "/eval?" + urllib.parse.quote(expression))[1]


def test_roles(node):
    """only the supervisor is root: the others have other users, no capability, no_new_privs, a filter"""
    equal(proc_status(node.process.pid)["Uid"].split()[0], "0", "supervisor")
    users = set()
    for role in ("control", "proxy", "logger", "resolver", "fetcher"):
        pids = node.role_pids(role)
        check(pids, f"no {role} process")
        for pid in pids:
            st = proc_status(pid)
            check(set(st["Uid"].split()) != {"0"} and "0" not in st["Uid"].split(), f"{role}: Uid {st['Uid']}")
            users.add(st["Uid"].split()[0])
            for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                equal(int(st[cap], 16), 0, f"{role} {cap}")
            equal((st["NoNewPrivs"], st["Seccomp"]), ("1", "2"), role)
    equal(len(users), 5, "five different users")
    for role in ("resolver", "fetcher"):
        equal(os.listdir(f"/proc/{node.role_pids(role)[0]}/root"), [], f"root of the {role}")
    for pid in node.role_pids("proxy"):
        check(os.readlink(f"/proc/{pid}/root").endswith("/gate"), os.readlink(f"/proc/{pid}/root"))


def test_instance_from_outside(node):
    """an instance has its own user range, seven namespaces, no capability and a filter"""
    for i in node.instances("one"):
        pid = i["pid"]
        pids = [pid] + [int(c) for c in open(f"/proc/{pid}/task/{pid}/children").read().split()]
        check(len(pids) >= 2, "no child of PID 1")
        for p in pids:
            st = proc_status(p)
            check(all(int(u) >= 0x40000000 for u in st["Uid"].split()), st["Uid"])
            equal(st["Seccomp"], "2", "filter")
            equal(st["NoNewPrivs"], "1", "no_new_privs")
            for ns in ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup"):
                check(os.readlink(f"/proc/{p}/ns/{ns}") != os.readlink(f"/proc/self/ns/{ns}"), f"shares {ns}")
        st = proc_status(pids[1])
        for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            equal(int(st[cap], 16), 0, cap)


def test_tenants_have_distinct_users(node):
    """two tenants' instances run as different users of the host"""
    uid = lambda app: proc_status(int(open("/proc/{0}/task/{0}/children".format(node.instances(app)[0]["pid"])).read().split()[0]))["Uid"].split()[0]
    check(uid("one") != uid("foreign"), "same user")
    equal(uid("one"), uid("two"), "one tenant's")


def test_inside(node):
    """from inside: read-only base, private /dev, no sysfs, masked /proc, no setuid, few descriptors"""
    check("Read-only" in inside(node, "open('/usr/x','w')"), inside(node, "open('/usr/x','w')"))
    check("hello" in inside(node, "open('/app/x','w').write('hello') and open('/app/x').read()"), "cannot write /app")
    dev = inside(node, "sorted(__import__('os').listdir('/dev'))")
    for bad in ("vda", "kmsg", "loop0", "kvm", "mem"):
        check(f"'{bad}'" not in dev, dev)
    equal(inside(node, "__import__('os').listdir('/sys') if __import__('os').path.isdir('/sys') else []"), "[]", "/sys")
    for f in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sysrq-trigger", "/proc/kallsyms"):
        text = inside(node, f"open('{f}','rb').read(64)")
        check(text in ("b''",) or "error" in text, f"{f}: {text}")
    check("error" in inside(node, "open('/proc/sys/kernel/hostname','w').write('x')"), "can write sysctl")
    check("error" in inside(node, "__import__('os').mknod('/tmp/n', 0o20666, 0x103)"), "can make a device")
    fds = inside(node, "sorted(__import__('os').listdir('/proc/self/fd'))")
    check(len(eval(fds)) <= 8, fds)
    equal(inside(node, "__import__('os').getpid() < 20"), "True", "pid namespace")
    check("error" in inside(node, "__import__('os').kill(1, 9) or open('/proc/1/mem')"), "PID 1 readable")
    equal(inside(node, "__import__('os').getuid()"), "1000", "uid")


def connect(host, port, seconds=1.0):
    return f"__import__('socket').create_connection(('{host}', {port}), {seconds}).getpeername()"


def test_network(node):
    """an instance reaches its tenant's instances and nothing else: not the host, control, other tenants, metadata"""
    two, foreign = node.instances("two")[0], node.instances("foreign")[0]
    check("8080" in inside(node, connect(two["address"], two["port"])) or str(two["port"]) in inside(node, connect(two["address"], two["port"])), inside(node, connect(two["address"], two["port"])))
    own = run("ip", "-4", "-o", "addr", "show", "scope", "global").stdout.split()
    addresses = [a.split("/")[0] for i, a in enumerate(own) if own[i - 1] == "inet"]
    for what, host, port in [("another tenant", foreign["address"], foreign["port"]), ("metadata", "169.254.169.254", 80)] + [("the host", a, node.port) for a in addresses] + [("the host", a, 22) for a in addresses]:
        text = inside(node, connect(host, port))
        check("error" in text, f"reached {what}: {text}")


def test_spoof(node):
    """no raw socket, no other source address"""
    check("error" in inside(node, "__import__('socket').socket(2, 3, 1)"), "raw socket")
    check("error" in inside(node, "__import__('socket').socket(17, 3)"), "packet socket")
    check("error" in inside(node, "(lambda s: s.bind(('10.94.0.77', 0)))(__import__('socket').socket())"), "bound a foreign address")


def test_calls(node):
    """dangerous system calls are refused"""
    libc = "__import__('ctypes').CDLL(None, use_errno=True)"
    for name, nr, args in (("unshare", 272, "0x10000000"), ("mount", 165, "0,0,0,0,0"), ("ptrace", 101, "0,0,0,0"), ("bpf", 321, "0,0,0"), ("io_uring_setup", 425, "1,0"), ("keyctl", 250, "0,0"), ("userfaultfd", 323, "0"),
                           ("perf_event_open", 298, "0,0,0,0,0"), ("kexec_load", 246, "0,0,0,0"), ("setns", 308, "0,0"), ("open_by_handle_at", 304, "0,0,0"), ("process_vm_readv", 310, "1,0,0,0,0,0"), ("vmsplice", 278, "0,0,0,0"), ("add_key", 248, "0,0,0,0,0")):
        text = inside(node, f"(lambda l: (l.syscall({nr},{args}), __import__('ctypes').get_errno()))({libc})")
        m = re.match(r"\(-1, (\d+)\)", text)
        check(m and int(m.group(1)) in (1, 38), f"{name}: {text}")


def test_memory_limit(node):
    """an instance over its memory is killed, its owner is told the limit and the peak, and it comes back"""
    node.app("fat", node.acme, limits={"memory_bytes": "64MiB"})
    node.deploy_ok("fat", node.acme, server("fat"))
    try:
        node.get("fat", "/eval?len(bytearray(200*1024*1024))", timeout=10)
    except OSError:
        pass
    events = wait_for("the event", lambda: [e for e in node.events("fat") if e["kind"] == "instance.oom"])
    check("64" in events[-1]["text"] and "MiB" in events[-1]["text"], events[-1])
    wait_for("it to come back", lambda: node.get("fat")[0] == 200, 30)


def test_pids_limit(node):
    """a fork bomb stays inside its app: others answer, and a stop ends all of it"""
    node.app("bomb", node.acme, limits={"pids": 32})
    node.deploy_ok("bomb", node.acme, {"Procfile": "web: python3 server.py\nbomb: sh -c ':(){ :|:& };:; sleep 1000'\n", "server.py": SERVER % {"version": "b"}})
    node.api("PUT", "/v1/apps/bomb/formation", {"web": 1, "bomb": 1}, token=node.acme, want=200)
    time.sleep(2)
    t = time.monotonic()
    equal(node.get("one")[0], 200, "neighbour")
    check(time.monotonic() - t < 2, "the neighbour waits")
    node.api("DELETE", "/v1/apps/bomb", token=node.acme, want=(200, 202, 204))
    gone = lambda: not [p for p in node.leftover_pids() if p not in alive(node)]
    wait_for("its processes to go", gone, 30)


def alive(node):
    """Pids that belong to apps that are meant to run, and to our own processes."""
    out = set(node.roles_all())
    for app in node.api("GET", "/v1/apps", want=200)["items"]:
        for i in node.instances(app["name"]):
            if i.get("pid"):
                todo = [i["pid"]]
                while todo:
                    p = todo.pop()
                    out.add(p)
                    try:
                        todo += [int(c) for t in os.listdir(f"/proc/{p}/task") for c in open(f"/proc/{p}/task/{t}/children").read().split()]
                    except OSError:
                        pass
    return out


def test_disk_limit(node):
    """the private writable layer is bounded: a full one is an error in the app, not on the host"""
    text = inside(node, "open('/app/big','wb').write(b'x'*300*1024*1024)", "two")
    check("error" in text or "hello" not in text, text)
    wait_for("two answers", lambda: node.get("two")[0] == 200, 30)


def test_own_processes_go_first(node):
    """proxies and control before the apps, and the last that the OOM killer takes, where the host allows it"""
    may = int(proc_status(node.process.pid)["CapEff"], 16)
    for role in ("proxy", "control", "logger"):
        for pid in node.role_pids(role):
            nice = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[16])
            equal(nice, -5 if role != "logger" and may & 1 << 23 else 0, f"nice of {role}")
            score = int(open(f"/proc/{pid}/oom_score_adj").read())
            if may & 1 << 24:
                equal(score, -900, f"oom_score_adj of {role}")
