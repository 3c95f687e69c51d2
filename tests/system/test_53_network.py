"""The instances' network by packets from inside: names, egress policies and their changes, rates, floods, spoofed sources."""
import ctypes, os, signal, socket, struct, subprocess, sys, tempfile, threading, time, urllib.parse
from harness import *

NEWNS, NEWNET = 0x00020000, 0x40000000
WORLD = ("198.51.100.7", "203.0.113.9", "10.9.9.9")  # TEST-NETs play the public (RFC 5737), 10.9.9.9 a private address
UPSTREAM = "127.0.0.153"

# A little name server: answers A queries for *.example with 192.0.2.1, by UDP and TCP.
DNS = r'''
import socket, struct, threading, sys
def answer(q):
    n = 12
    while q[n]: n += q[n] + 1
    end = n + 5
    name = q[12:n].lower()
    head = q[:2] + struct.pack(">HHHHH", 0x8180 if name.endswith(b"\x07example") else 0x8183, 1, 1 if name.endswith(b"\x07example") else 0, 0, 0)
    if b"big" in name:   # too long for UDP: says so
        return q[:2] + struct.pack(">HHHHH", 0x8380, 1, 0, 0, 0) + q[12:end], head + q[12:end] + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\xc0\0\2\2"
    if b"lost" in name: return None, None
    a = head + q[12:end] + (b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\xc0\0\2\1" if name.endswith(b"\x07example") else b"")
    if b"forged" in name:  # another id, then another question, then the truth
        u.sendto(bytes([q[0] ^ 1]) + a[1:-1] + b"\x66", peer)
        u.sendto(a[:13] + b"F" + a[14:-1] + b"\x66", peer)
    return a, a
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind((sys.argv[1], 53))
t = socket.create_server((sys.argv[1], 53))
def tcp():
    while True:
        c, _ = t.accept()
        try:
            n = struct.unpack(">H", c.recv(2))[0]; a = answer(c.recv(n))[1]; c.sendall(struct.pack(">H", len(a)) + a)
        except Exception: pass
        c.close()
threading.Thread(target=tcp, daemon=True).start()
ports = set()
while True:
    q, peer = u.recvfrom(4096)
    ports.add(peer[1])
    a, _ = answer(q)
    if a: u.sendto(a, peer)
    open(sys.argv[2], "w").write("%d" % len(ports))
'''

# The world: accepts on 80 and 8081 (the latter sends and takes bytes), counts UDP.
SERVE = r'''
import socket, threading, time
def port(p):
    s = socket.create_server(("0.0.0.0", p), backlog=512)
    while True: threading.Thread(target=talk, args=(s.accept()[0],), daemon=True).start()
def talk(c):
    c.settimeout(60)
    try:
        while True:
            line = c.recv(64)
            if not line: break
            if line.startswith(b"get"): c.sendall(b"x" * int(line.split()[1])); break
            if line.startswith(b"put"):
                n = int(line.split()[1])
                while n > 0: n -= len(c.recv(65536))
                c.sendall(b"done"); break
            c.sendall(line)
    except OSError: pass
    c.close()
for p in (80, 8081): threading.Thread(target=port, args=(p,), daemon=True).start()
time.sleep(3600)
'''


def inside(node, expression, app="one", timeout=40):
    return node.get(app, "/eval?" + urllib.parse.quote(expression), timeout)[1]


def connect(host, port, seconds=1.0):
    return f"__import__('socket').create_connection(('{host}', {port}), {seconds}).getpeername()"


def reaches(node, host, port, app="one"):
    return "error" not in inside(node, connect(host, port), app)


def resolve(name):
    return f"sorted(set(a[4][0] for a in __import__('socket').getaddrinfo('{name}', 80, 2)))"


class World:
    """This process in a network namespace of its own, with another one that plays the world."""

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.home = [(os.open("/proc/self/ns/net", os.O_RDONLY), NEWNET), (os.open("/proc/self/ns/mnt", os.O_RDONLY), NEWNS)]
        self.cwd = os.getcwd()
        check(self.libc.unshare(NEWNS | NEWNET) == 0, "unshare: " + os.strerror(ctypes.get_errno()))
        self.dir = tempfile.mkdtemp(prefix="tulou-test-world-")
        self.children = [subprocess.Popen(["unshare", "-n", "sleep", "3600"])]
        world = self.children[0].pid
        wait_for("the world", lambda: os.readlink(f"/proc/{world}/ns/net") != os.readlink("/proc/self/ns/net"))
        self.world = ["nsenter", "-t", str(world), "-n"]
        with open(self.dir + "/resolv.conf", "w") as f:
            f.write(f"nameserver {UPSTREAM}\n")
        with open("/proc/sys/net/ipv4/ip_forward", "w") as f:
            f.write("0")
        for line in ("mount --make-rprivate /", f"mount --bind {self.dir}/resolv.conf /etc/resolv.conf", "ip link set lo up",
                     f"ip link add wan type veth peer name wan netns {world}", "ip addr add 172.31.9.1/30 dev wan", "ip link set wan up", "ip route add default via 172.31.9.2"):
            if line.startswith("ip route"):
                for inner in ["ip link set lo up", "ip link set wan up", "ip addr add 172.31.9.2/30 dev wan"] + [f"ip addr add {a}/32 dev lo" for a in WORLD]:
                    r = run(*self.world, *inner.split())
                    check(r.returncode == 0, inner + ": " + r.stderr)
            r = run(*line.split())
            check(r.returncode == 0, line + ": " + r.stderr)
        self.ports = self.dir + "/ports"
        self.children.append(subprocess.Popen([sys.executable, "-c", DNS, UPSTREAM, self.ports]))
        self.children.append(subprocess.Popen(self.world + [sys.executable, "-c", SERVE]))
        wait_for("the world's server", lambda: socket.create_connection((WORLD[0], 80), 1).close() is None)

    def close(self):
        for c in self.children:
            c.kill()
            c.wait()
        for fd, kind in self.home:
            self.libc.setns(fd, kind)
            os.close(fd)
        os.chdir(self.cwd)
        shutil.rmtree(self.dir, ignore_errors=True)


def setup():
    world = World()
    try:
        node = Node("net")
        node.world = world
        node.start()
        node.acme, node.other = node.tenant("acme"), node.tenant("other")
        for app, token in (("one", node.acme), ("two", node.acme), ("redis", node.acme), ("foreign", node.other)):
            node.app(app, token)
            node.deploy_ok(app, token, server(app))
        node.api("PUT", "/v1/apps/two/formation", {"web": 2}, token=node.acme, want=200)
        wait_for("two of two", lambda: len([i for i in node.instances("two") if i["state"] == "running"]) == 2)
        return node
    except BaseException:
        try:
            node.cleanup()
        finally:
            world.close()
        raise


def teardown(node):
    if not node:
        return
    try:
        node.cleanup()
        check("tulou" not in run("nft", "list", "tables").stdout, "a table is left")
    finally:
        node.world.close()


def table(node):
    """The node's table without what counts or passes, its blocks in an order of their own."""
    text = run("nft", "-s", "list", "table", "inet", "tulou_" + node.cgroup.replace("-", "_")).stdout
    blocks = []
    for b in text.rstrip().rstrip("}").split("\n\n"):
        if any(f"set {s} " in b for s in ("connections", "tenant_connections", "fresh", "tenant_fresh", "names", "tenant_refused")):
            b = b.split("elements")[0].rstrip(" \t\n}")  # there may have been none
        blocks.append(b.strip())
    return sorted(blocks)


def counter(node, chain, needle):
    text = run("nft", "list", "chain", "inet", "tulou_" + node.cgroup.replace("-", "_"), chain).stdout
    for line in text.splitlines():
        if needle in line:
            words = line.split()
            return int(words[words.index("counter") + 2])
    raise Failure(f"no {needle!r} in {text}")


def address(node, app):
    return node.instances(app)[0]["address"]


def egress(node, app, policy):
    """Sets an app's policy while it runs."""
    node.api("PATCH", f"/v1/apps/{app}", {"egress": policy}, token=node.acme if app != "foreign" else node.other, want=200)


# --- names


def test_names(node):
    """a tenant's apps are found by name, all instances of them, and only by their own tenant"""
    equal(eval(inside(node, resolve("redis.internal"))), [address(node, "redis")], "redis.internal")
    two = sorted(i["address"] for i in node.instances("two"))
    equal(eval(inside(node, resolve("two.internal"))), two, "both instances")
    equal(eval(inside(node, resolve("web.two.internal"))), two, "by process type")
    equal(eval(inside(node, resolve("TWO.Internal"))), two, "whatever the case")
    for name in ("foreign.internal", "web.foreign.internal", "worker.two.internal", "nothing.internal", "internal"):
        check("error" in inside(node, resolve(name)), f"{name} was found")
    equal(eval(inside(node, resolve("foreign.internal"), "foreign")), [address(node, "foreign")], "its own")
    check("error" in inside(node, resolve("redis.internal"), "foreign"), "another tenant's name was found")
    check(reaches(node, "redis.internal", 8080), "by name")
    check("error" in inside(node, "__import__('socket').getaddrinfo('redis.internal', 80, 10)"), "an IPv6 address")


def test_names_of_real_resolvers(node):
    """getent and node find them too"""
    sub = lambda *argv: f"__import__('subprocess').run({list(argv)!r}, capture_output=True, text=True, timeout=20).stdout"
    check(address(node, "redis") in inside(node, sub("getent", "hosts", "redis.internal")), inside(node, sub("getent", "hosts", "redis.internal")))
    script = "require('dns').resolve4('redis.internal', {ttl: true}, (e, a) => console.log(e ? e.code : JSON.stringify(a)))"
    text = inside(node, sub("node", "-e", script))
    check(address(node, "redis") in text and ('"ttl":1' in text or '"ttl":0' in text), text)
    script = "require('dns').resolve4('foreign.internal', (e, a) => console.log(e ? e.code : a))"
    check("ENOTFOUND" in inside(node, sub("node", "-e", script)), inside(node, sub("node", "-e", script)))
    script = "require('dns').resolve6('redis.internal', (e, a) => console.log(e ? e.code : a))"
    check("ENODATA" in inside(node, sub("node", "-e", script)), inside(node, sub("node", "-e", script)))


def test_names_of_others(node):
    """other names are the host's resolvers' business: by UDP, by TCP, never a forged answer, from many ports"""
    equal(eval(inside(node, resolve("www.example"))), ["192.0.2.1"], "forwarded")
    equal(eval(inside(node, resolve("big.example"))), ["192.0.2.2"], "by TCP after a truncated answer")
    equal(eval(inside(node, resolve("forged.example"))), ["192.0.2.1"], "the true one of three")
    check("error" in inside(node, resolve("www.invalid")), "found")
    for i in range(20):
        inside(node, resolve(f"p{i}.example"))
    check(int(open(node.world.ports).read()) >= 15, "source ports: " + open(node.world.ports).read())


def rcode_of(text):
    return int(eval(text)[6:8], 16) & 15 if "error" not in text else None


def raw_query(node, body, app="one", seconds=1.5):
    host = str(int(node.pool.split(".")[1]))
    code = f"(lambda s: (s.settimeout({seconds}), s.sendto(bytes.fromhex('{body.hex()}'), ('10.{host}.0.1', 53)), s.recv(4096))[2].hex())(__import__('socket').socket(2, 2))"
    return inside(node, code, app)


def query(name, qtype=1, cls=1, flags=0x0100, count=1):
    q = struct.pack(">HHHHHH", 0x4242, flags, count, 0, 0, 0)
    for label in name.split("."):
        q += bytes([len(label)]) + label.encode()
    return q + b"\0" + struct.pack(">HH", qtype, cls)


def test_names_strictly(node):
    """what is not a plain question is refused or not answered; the service lives on"""
    rcode = rcode_of
    equal(rcode(raw_query(node, query("redis.internal"))), 0, "plain")
    equal(rcode(raw_query(node, query("redis.internal", flags=0x2900))), 4, "update")
    equal(rcode(raw_query(node, query("redis.internal", 252))), 5, "zone transfer")
    equal(rcode(raw_query(node, query("version.bind", 16, 3))), 5, "chaos")
    equal(rcode(raw_query(node, query("redis.internal", count=2))), 1, "two questions")
    equal(rcode(raw_query(node, b"\x42\x42\x01\x00\x00\x01\0\0\0\0\0\0\xc0\x0c\0\1\0\1")), 1, "a pointer to itself")
    equal(rcode(raw_query(node, query("redis.internal", flags=0x8180))), None, "an answer")
    equal(rcode(raw_query(node, b"\0" * 5)), None, "a scrap")
    equal(rcode(raw_query(node, query("redis.internal"))), 0, "plain")


def test_names_are_rate_limited(node):
    """one instance's flood of questions is dropped; another tenant is answered meanwhile"""
    host = node.pool.split(".")[1]
    code = f"exec(\"import socket\\ns=socket.socket(2,2)\\nfor i in range(3000): s.sendto(bytes.fromhex('{query('redis.internal').hex()}'),('10.{host}.0.1',53))\\ns.settimeout(0.5)\\nn=0\\ntry:\\n  while True: s.recv(999); n+=1\\nexcept OSError: pass\\nraise SystemExit(n)\")"
    text = inside(node, code)
    n = int(text.split("(")[1].split(")")[0])
    check(50 <= n <= 1500, f"{n} of 3000 were answered")
    started = time.monotonic()
    equal(eval(inside(node, resolve("foreign.internal"), "foreign")), [address(node, "foreign")], "another tenant's")
    check(time.monotonic() - started < 1.5, "it had to wait")


def test_resolver_dies(node):
    """kill -9 of the resolver, and of control, loses nothing but a question"""
    redis = address(node, "redis")  # asked of the API, which is away for a moment with control
    for role in ("resolver", "control", "resolver"):
        old = node.role_pids(role)[0]
        os.kill(old, signal.SIGKILL)
        equal(eval(inside(node, resolve("redis.internal"))), [redis], f"after {role} was killed")
        wait_for(f"another {role}", lambda: [p for p in node.role_pids(role) if p != old])
    wait_for("the API", lambda: node.request("GET", "/readyz", host=node.control)[0] == 200)
    st = proc_status(node.role_pids("resolver")[0])
    check("0" not in st["Uid"].split() and st["Seccomp"] == "2" and int(st["CapEff"], 16) == 0, st["Uid"])
    equal(os.listdir(f"/proc/{node.role_pids('resolver')[0]}/root"), [], "its root")


def test_upgrade_in_place(node):
    """SIGUSR2 changes the resolver for a new one, and names are answered all the time"""
    old = node.role_pids("resolver")
    node.process.send_signal(signal.SIGUSR2)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        equal(rcode_of(raw_query(node, query("redis.internal"), "two", 2.5)), 0, "during the upgrade")
    wait_for("another resolver", lambda: node.role_pids("resolver") and node.role_pids("resolver") != old and len(node.role_pids("resolver")) == 1)
    wait_for("the API", lambda: node.request("GET", "/readyz", host=node.control)[0] == 200)
    equal(eval(inside(node, resolve("redis.internal"))), [address(node, "redis")], "afterwards")


# --- who reaches whom


def test_closed(node):
    """neither the host on any address, nor private and link-local ranges, nor other tenants, whatever the policy"""
    host = node.pool.split(".")[1]
    own = f"10.{host}.0.1"
    servers = [socket.create_server(("0.0.0.0", 9999))]
    try:
        for what, to, port in (("the host's pool address", own, 9999), ("the host's other address", "172.31.9.1", 9999), ("loopback of the host", "127.0.0.1", 9999), ("the front door", own, node.port),
                               ("a private address", "10.9.9.9", 80), ("the next hop", "172.31.9.2", 80), ("metadata", "169.254.169.254", 80), ("the gateway", "169.254.1.1", 80),
                               ("an IPv4-mapped private address", "::ffff:10.9.9.9", 80), ("an IPv4-mapped host", f"::ffff:{own}", 9999), ("IPv6", "fe80::1%eth0", 80), ("multicast", "224.0.0.1", 80),
                               ("another tenant", address(node, "foreign"), 8080), ("an address nobody has", f"10.{host}.255.1", 80), ("the host's resolver", UPSTREAM, 53)):
            check(not reaches(node, to, port), f"reached {what}")
        for to in ("10.9.9.9", "172.31.9.2", "169.254.169.254"):
            before = counter(node, "from_link_forward", "@closed")
            inside(node, connect(to, 80, 0.3))
            check(counter(node, "from_link_forward", "@closed") > before, f"{to} was not dropped by the rule")
    finally:
        for s in servers:
            s.close()
    check(reaches(node, WORLD[0], 80), "the public")
    check(reaches(node, address(node, "two"), 8080), "its own tenant's")
    check("error" in inside(node, "open('/proc/net/if_inet6').read().split()[5]") or "eth0" not in inside(node, "open('/proc/net/if_inet6').read()"), "eth0 has an IPv6 address")


def test_address_that_nobody_has(node):
    """what the host itself sends to an address of the pool does not leave the host when no instance has it, even where somebody outside would answer"""
    gone = f"10.{node.pool.split('.')[1]}.255.1"
    r = run(*node.world.world, "ip", "addr", "add", gone + "/32", "dev", "lo")
    check(r.returncode == 0, r.stderr)
    before = counter(node, "output", "reject")
    try:
        socket.create_connection((gone, 80), 3).close()
        raise Failure("a stranger answered")
    except ConnectionRefusedError:
        pass
    finally:
        run(*node.world.world, "ip", "addr", "del", gone + "/32", "dev", "lo")
    check(counter(node, "output", "reject") > before, "the rule did not count")
    check(reaches(node, address(node, "two"), 8080), "instances are still reached")


def spoof(node, app, source, target, port=80):
    """Sends one SYN-like UDP packet with a made-up source from inside, as root of the host."""
    code = f"""
import socket, struct
def csum(b):
    s = sum(struct.unpack('>%dH' % (len(b)//2), b)); s = (s >> 16) + (s & 0xffff); return ~(s + (s >> 16)) & 0xffff
ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 29, 1, 0, 64, 17, 0, socket.inet_aton('{source}'), socket.inet_aton('{target}'))
ip = ip[:10] + struct.pack('>H', csum(ip)) + ip[12:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x800))
s.bind(('eth0', 0x800))
hw = s.getsockname()[4]
s.sendto(ip + struct.pack('>HHHH', 4000, {port}, 9, 0) + b'x', ('eth0', 0x800, 0, 0, hw))
"""
    r = run("nsenter", "-t", str(node.instances(app)[0]["pid"]), "-n", sys.executable, "-c", code)
    check(r.returncode == 0, r.stderr)


def test_spoofed_sources(node):
    """a packet with another source address, even of the same tenant's instance, ends at the link"""
    before = counter(node, "from_link_raw", "fib saddr")
    entries = lambda: sum("dport=4321 " in l for l in open("/proc/net/nf_conntrack")) if os.path.exists("/proc/net/nf_conntrack") else 0
    sources = (address(node, "two"), address(node, "foreign"), f"10.{node.pool.split('.')[1]}.0.1", "127.0.0.1", "8.8.8.8", "172.31.9.1", "0.0.0.0", "169.254.169.254", WORLD[0])
    for source in sources:
        spoof(node, "one", source, WORLD[1], 4321)
    # what is no address of a host at all (0.0.0.0, 127/8) the kernel may drop by itself
    check(counter(node, "from_link_raw", "fib saddr") >= before + len(sources) - 2, f"{counter(node, 'from_link_raw', 'fib saddr') - before} of {len(sources)} dropped")
    equal(entries(), 0, "tracked")
    after = counter(node, "from_link_raw", "fib saddr")
    spoof(node, "one", address(node, "one"), WORLD[1], 4321)
    equal(counter(node, "from_link_raw", "fib saddr"), after, "its own address passes")


def test_egress(node):
    """none, a list, and public, changed while the app runs; what is connected is cut; names follow"""
    pid = node.instances("one")[0]["pid"]
    # a connection that is open before
    inside(node, f"globals().__setitem__('KEEP', __import__('socket').create_connection(('{WORLD[0]}', 8081), 2))")
    talk = "(KEEP.settimeout(1.5), KEEP.sendall(b'hi'), KEEP.recv(9))[2]"
    equal(inside(node, talk), "b'hi'", "before")
    egress(node, "one", {"mode": "none"})
    wait_for("the policy", lambda: not reaches(node, WORLD[0], 80))
    check("error" in inside(node, talk), "the open connection was not cut: " + inside(node, talk))
    check("error" in inside(node, resolve("www.example")), "names are a way out")
    check(reaches(node, "redis.internal", 8080), "its own tenant's")
    check(reaches(node, WORLD[0], 80, "two"), "another app's policy changed")
    e = node.api("PATCH", "/v1/apps/one", {"egress": {"mode": "list", "allow": [f"{WORLD[0]}:80", "10.9.9.9"]}}, token=node.acme, want=400)
    equal(e["field"], "egress.allow[1]", e)
    egress(node, "one", {"mode": "list", "allow": [f"{WORLD[0]}:80", f"{WORLD[1]}/32:8000-8100", "0.0.0.0/1:79-80"]})
    wait_for("the list", lambda: reaches(node, WORLD[0], 80))
    check(not reaches(node, WORLD[0], 8081), "another port")
    check(reaches(node, WORLD[1], 8081), "a range of ports")
    check(not reaches(node, WORLD[1], 80), "outside of it")
    check(not reaches(node, "10.9.9.9", 80), "closed stays closed, also in a list")
    equal(eval(inside(node, resolve("www.example"))), ["192.0.2.1"], "names")
    before = table(node)
    check(any("tenant_in" in b and "elements" in b for b in before), "no rate of a tenant")
    check(any("chain e_" in b for b in before), before)
    # the next supervisor writes the same table from the records
    node.kill()
    node.start()
    try:
        wait_for("the same table", lambda: table(node) == before, 15)
    except Failure:
        raise Failure("tables differ: " + repr(set(before) ^ set(table(node))))
    check(reaches(node, WORLD[0], 80) and not reaches(node, WORLD[0], 8081), "after the restart")
    equal(node.instances("one")[0]["pid"], pid, "it runs on")
    equal(eval(inside(node, resolve("redis.internal"))), [address(node, "redis")], "names after the restart")
    # a new instance of it begins with the list
    node.api("POST", "/v1/apps/one/restart", {}, token=node.acme, want=(200, 202, 204))
    wait_for("another instance", lambda: [i for i in node.instances("one") if i["state"] == "running"] and node.instances("one")[0]["pid"] != pid and len(node.instances("one")) == 1, 40)
    check(reaches(node, WORLD[0], 80) and not reaches(node, WORLD[0], 8081), "a new instance")
    equal(sum("chain e_" in b for b in table(node)), 1, "the old one's rules are gone")
    egress(node, "one", {"mode": "public"})
    wait_for("public", lambda: reaches(node, WORLD[0], 8081))
    equal(sum("chain e_" in b for b in table(node)), 0, "no list is left")


# --- rates


def transfer(word, n, host=WORLD[0]):
    code = ("import socket,time\\ns=socket.create_connection(('%s',8081),5); s.settimeout(40); t=time.time(); s.sendall(b'%s %d')\\n" % (host, word, n))
    if word == "get":
        code += "n=0\\nwhile True:\\n  b=s.recv(1<<16)\\n  if not b: break\\n  n+=len(b)\\n"
    else:
        code += "time.sleep(0.2)\\nt=time.time(); s.sendall(b'x'*%d); s.recv(4); n=%d\\n" % (n, n)
    return f"exec(\"{code}raise SystemExit((n,time.time()-t))\")"


def timed(node, word, n, app="one"):
    text = inside(node, transfer(word, n), app, timeout=60)
    got, seconds = eval(text.split("SystemExit(")[1].rsplit(")", 1)[0])
    equal(got, n, "bytes")
    return seconds


def test_rates(node):
    """10 MiB at 2 MiB/s take five seconds each way, at once after the change; then not any more"""
    node.api("PATCH", "/v1/apps/one", {"limits": {"net_in_rate": "2MiB", "net_out_rate": "2MiB"}}, token=node.acme, want=200)
    wait_for("the rate", lambda: "tbf" in run("tc", "qdisc").stdout and "rate 16777Kbit" in run("tc", "qdisc").stdout)
    for word in ("get", "put"):
        seconds = timed(node, word, 10 << 20)
        check(4 <= seconds <= 7, f"{word}: {seconds:.2f} s")
    pid = node.instances("one")[0]["pid"]
    text = run("nsenter", "-t", str(pid), "-n", "tc", "qdisc", "show", "dev", "eth0").stdout
    check("tbf" in text, text)
    for i in (0, 1):  # PID 1 and the app cannot take it away
        p = [pid] + [int(c) for c in open(f"/proc/{pid}/task/{pid}/children").read().split()]
        equal(int(proc_status(p[i])["CapEff"], 16) >> 12 & 1, 0, "CAP_NET_ADMIN")
    node.api("PATCH", "/v1/apps/one", {"limits": {"net_in_rate": 0, "net_out_rate": 0}}, token=node.acme, want=200)
    wait_for("no rate", lambda: "rate 16777Kbit" not in run("tc", "qdisc").stdout)
    for word in ("get", "put"):
        seconds = timed(node, word, 10 << 20)
        check(seconds < 2, f"{word}: {seconds:.2f} s without a rate")


def test_tenant_rate(node):
    """a tenant's total holds for all its instances together, and for no other tenant's"""
    node.api("PUT", "/v1/tenants/acme/quota", {"net_in_rate": "4MiB"}, want=200)
    try:
        wait_for("the rate", lambda: "rate over 4194304 bytes/second" in "".join(table(node)) or "rate over 4 mbytes/second" in "".join(table(node)))
        times = {}
        def one(app):
            times[app] = timed(node, "get", 8 << 20, app)
        threads = [threading.Thread(target=one, args=(a,)) for a in ("one", "two")]
        [t.start() for t in threads]
        [t.join(70) for t in threads]
        check(len(times) == 2 and max(times.values()) >= 2.5, times)
        seconds = timed(node, "get", 8 << 20, "foreign")
        check(seconds < 2, f"another tenant: {seconds:.2f} s")
    finally:
        node.api("PUT", "/v1/tenants/acme/quota", {"net_in_rate": 0}, want=200)


# --- floods


def tracked():
    return int(open("/proc/sys/net/netfilter/nf_conntrack_count").read())


def test_packets_are_bounded(node):
    """a flood of datagrams is refused at its source, also on loopback, and a download beside it is not"""
    pid = node.instances("one")[0]["pid"]
    rules = run("nsenter", "-t", str(pid), "-n", "nft", "list", "table", "inet", "tulou").stdout
    check("type filter hook output priority raw; policy accept;" in rules, rules)
    check("tcp flags" in rules and "accept" in rules and "limit rate over 20000/second burst 5000 packets goto refused" in rules, rules)
    for to in (WORLD[0], "127.0.0.1"):
        # A connection that exists takes its bytes while another thread floods.
        code = ("import socket,threading,time\\ns=socket.create_connection(('%s',8081),5); s.settimeout(40); u=socket.socket(2,2); r=[]\\n"
                "def flood():\\n  t,n=time.time(),0\\n  for i in range(200000):\\n    try: u.sendto(b'x',('%s',9)); n+=1\\n    except PermissionError: pass\\n    except OSError: n+=1\\n"
                "  r.append((n,time.time()-t))\\n"
                "f=threading.Thread(target=flood); f.start(); s.sendall(b'get %d'); n=0\\nwhile True:\\n  b=s.recv(1<<16)\\n  if not b: break\\n  n+=len(b)\\n"
                "f.join()\\n" % (WORLD[0], to, 16 << 20))
        text = inside(node, f"exec(\"{code}raise SystemExit((n,)+r[0])\", {{}})", "one", 60)
        check("SystemExit" in text, text)
        got, sent, seconds = eval(text.split("SystemExit(")[1].rsplit(")", 1)[0])
        equal(got, 16 << 20, "bytes of the download")
        check(5000 <= sent <= 5000 + 20000 * seconds + 1000, f"{to}: {sent} of 200000 sent in {seconds:.2f} s")
    equal(node.get("one")[0], 200, "the front door")


def packets(node, app="one"):
    """What the instance's own namespace says: rate, and how many were refused."""
    text = run("nsenter", "-t", str(node.instances(app)[0]["pid"]), "-n", "nft", "list", "table", "inet", "tulou").stdout
    rate, refused = re.search(r"limit rate over (\d+)/second", text), re.search(r"counter packets (\d+) bytes \d+ drop", text)
    return (int(rate[1]), int(refused[1])) if rate and refused else None


def send(n, host):
    """How many of n datagrams the kernel took."""
    return (f"exec(\"import socket\\nu=socket.socket(2,2); n=0\\nfor i in range({n}):\\n  try: u.sendto(b'x',('{host}',9)); n+=1\\n  except PermissionError: pass\\n  except OSError: n+=1\\n"
            "raise SystemExit(n)\", {})")


def sent(node, n, host="127.0.0.1", app="one"):
    return int(re.search(r"SystemExit\((\d+)", inside(node, send(n, host), app, 60))[1])


def test_packets_change(node):
    """another limit holds at once, keeps what was counted, and is bounded by the tenant's; what was refused is told"""
    before = packets(node)
    check(before[0] == 20000 and before[1] > 0, before)
    node.api("PATCH", "/v1/apps/one", {"limits": {"net_packets_rate": 200}}, token=node.acme, want=200)
    wait_for("the rate", lambda: packets(node)[0] == 200)
    check(packets(node)[1] >= before[1], "the count began anew")
    took = sent(node, 5000)
    check(40 <= took <= 1500, f"{took} of 5000 at 200 a second")  # refusals by ICMP count too, on loopback
    refused = wait_for("the figure", lambda: [i["net_packets_refused"] for i in node.instances("one") if i["net_packets_refused"] >= before[1] + 3500], 20)[0]
    text = node.request("GET", "/metrics", token=node.acme)[1].decode()
    line = [x for x in text.splitlines() if x.startswith("tulou_instance_packets_refused_total{") and 'app="one"' in x]
    check(line and int(line[0].split()[-1]) >= refused, str(line))
    event = [e for e in node.events("one") if e["kind"] == "instance.packets"]
    check(event and "/s beside those of TCP connections" in event[0]["text"], str(event))
    equal(node.get("one")[0], 200, "the front door beside it")
    for value in (99, 1000001, 0):
        r = node.api("PATCH", "/v1/apps/one", {"limits": {"net_packets_rate": value}}, token=node.acme, want=400)
        check("net_packets_rate" in r["detail"] and "100..1000000" in r["detail"], r)
    r = node.api("PATCH", "/v1/apps/one", {"limits": {"net_packets_rate": 20001}}, token=node.acme, want=403)
    check("20001/s is over the tenant's quota of 20000/s" in r["detail"], r)
    node.api("PATCH", "/v1/apps/one", {"limits": {"net_packets_rate": 20000}}, token=node.acme, want=200)
    wait_for("the rate", lambda: packets(node)[0] == 20000)


def arrived(node):
    """Datagrams that came to the world, to whom nobody listens there."""
    lines = [l.split() for l in run(*node.world.world, "cat", "/proc/net/snmp").stdout.splitlines() if l.startswith("Udp:")]
    return int(dict(zip(*lines))["NoPorts"])


def test_packets_of_many(node):
    """datagrams that the kernel would cut out of one packet are refused before they are, whatever asks for them"""
    code = ("exec(\"import socket,struct\\nu=socket.socket(2,2); r={}\\nu.bind(('0.0.0.0',0))\\n"
            "def one(size,to):\\n  try: u.sendmsg([b'x'*%d],[(17,103,struct.pack('H',size))],0,(to,9)); k='sent'\\n  except OSError as e: k=e.errno\\n  r[k]=r.get(k,0)+1\\n"
            "for i in range(%d): one(1,'%s')\\nraise SystemExit((sorted(r.items(),key=str),))\",{})")
    for to in (WORLD[0], "127.0.0.1"):
        before, refused = arrived(node), packets(node)[1]
        text = inside(node, code % (128, 1000, to), "one", 60)
        check("(1, 1000)" in text and "sent" not in text, f"1000 times 128 in one to {to}: {text}")
        check(packets(node)[1] >= refused + 1000, "they are not counted as refused")
        check(arrived(node) - before < 50, f"{arrived(node) - before} datagrams arrived")
    before = arrived(node)
    check("('sent', 100)" in inside(node, code % (1, 100, WORLD[0]), "one", 60), "one in one is refused")
    wait_for("all 100", lambda: arrived(node) - before >= 100)
    for ask in ("setsockopt(17, 103, 1)", "getsockopt(17, 103)"):
        check("not available" in inside(node, "__import__('socket').socket(2, 2)." + ask), ask)


def frag_memory():
    return int(re.search(r"^FRAG: inuse \d+ memory (\d+)", open("/proc/net/sockstat").read(), re.M).group(1))


def test_fragments(node):
    """what does not fit the link is refused at its source, and no piece of a datagram that comes over it takes memory of the host, which all share"""
    code = "exec(\"import socket\\nu=socket.socket(2,2)\\ntry: u.sendto(b'x'*%d,('%s',9)); k='sent'\\nexcept OSError as e: k=e.errno\\nraise SystemExit(k)\",{})"
    for to, size, want in ((WORLD[0], 1472, "sent"), (WORLD[0], 1473, "1"), (WORLD[0], 65000, "1"), ("127.0.0.1", 65000, "sent")):
        refused = packets(node)[1]
        check(want in inside(node, code % (size, to), "one"), f"{size} bytes to {to}")
        equal(packets(node)[1] - refused, want == "1", f"counted as refused: {size} bytes to {to}")
    # Pieces that something else than its own kernel made: the first 8 bytes of 200 datagrams, none of which goes on.
    pid = [i for i in node.instances("one") if i["state"] == "running"][0]["pid"]
    host = node.pool.split("/")[0].rsplit(".", 1)[0] + ".1"
    raw = f"""import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for i in range(200):
    s.sendto(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1428, i, 0x2000, 64, 17, 0, b"\\0" * 4, socket.inet_aton("{host}")) + bytes(1408), ("{host}", 0))
"""
    was, before = counter(node, "fragments", "counter packets"), frag_memory()
    r = run("nsenter", "-t", str(pid), "-n", sys.executable, "-c", raw)
    equal(r.returncode, 0, r.stderr)
    wait_for("they are dropped", lambda: counter(node, "fragments", "counter packets") - was >= 200)
    check(frag_memory() <= before, f"{frag_memory()} bytes for pieces, {before} before")


def test_packets_of_a_tenant(node):
    """a tenant's total holds at the host's end, for all that leaves its instances, but neither for TCP that exists nor for names; who lost what is told"""
    dropped = lambda: counter(node, "tenant_refuse", "counter packets")
    usage = lambda name: node.api("GET", "/v1/tenants/" + name, want=200)["usage"]["net_packets_refused"]
    for a in ("one", "two"):  # limits of their own: they do not fall with the quota
        node.api("PATCH", f"/v1/apps/{a}", {"limits": {"net_packets_rate": 20000}}, token=node.acme, want=200)
    node.api("PUT", "/v1/tenants/acme/quota", {"net_packets_rate": 500}, want=200)
    try:
        wait_for("the rate", lambda: "limit rate over 500/second" in "".join(table(node)))
        was = dropped()
        threads = [threading.Thread(target=sent, args=(node, 4000, WORLD[0], a)) for a in ("one", "two")]
        [t.start() for t in threads]
        [t.join(60) for t in threads]
        check(dropped() > was, "two instances together are not above it")
        check(timed(node, "get", 8 << 20) < 3, "a download")
        was = dropped()
        equal(sent(node, 4000, WORLD[0], "foreign"), 4000, "another tenant's")
        # Names beside a flood that goes on: some 1 in 80 of its packets gets through.
        flood = f"exec(\"import socket,time\\nu=socket.socket(2,2); e=time.time()+3\\nwhile time.time()<e:\\n  try: u.sendto(b'x',('{WORLD[0]}',9))\\n  except OSError: pass\\nraise SystemExit(0)\", {{}})"
        threads = [threading.Thread(target=inside, args=(node, flood, a)) for a in ("one", "two")]
        [t.start() for t in threads]
        time.sleep(0.3)
        was = dropped()
        for i in range(20):
            equal(rcode_of(raw_query(node, query("redis.internal"), "redis", 1)), 0, f"question {i} beside a flood")
        check(dropped() - was > 1000, "there was no flood")
        [t.join(60) for t in threads]
        total = dropped()
        wait_for("the figure", lambda: usage("acme") >= total, 20)
        equal(usage("other"), 0, "another tenant's")
        text = node.request("GET", "/metrics", token=node.acme)[1].decode()
        line = [x for x in text.splitlines() if x.startswith("tulou_tenant_packets_refused_total{")]
        check(len(line) == 1 and int(line[0].split()[-1]) >= total, str(line))
        event = wait_for("the event", lambda: [e for e in node.api("GET", "/v1/events", token=node.acme, want=200)["items"] if e["kind"] == "tenant.packets"])
        check(re.search(r"packets? (was|were) lost: all apps together may send (500|20000)/s", event[0]["text"]), str(event))
    finally:
        node.api("PUT", "/v1/tenants/acme/quota", {"net_packets_rate": 20000}, want=200)


def test_packets_fsck(node):
    """an instance whose table is gone, not whole, or of another rate is named, and mended"""
    pid = str(node.instances("one")[0]["pid"])
    nft = lambda *words: check(run("nsenter", "-t", pid, "-n", "nft", *words).returncode == 0, words)
    def ours(repair):
        body = node.request("POST", "/v1/node/fsck", json.dumps({"repair": repair}), token=node.token, timeout=60)[1]
        return [f for f in map(json.loads, body.splitlines()) if f.get("area") == "network"]
    equal(ours(False), [], "nothing is wrong")
    for words, text in ((("delete", "table", "inet", "tulou"), "is not bound to 20000 packets"), (("flush", "chain", "inet", "tulou", "refused"), "is not bound to 20000 packets"),
                        (("flush", "chain", "inet", "tulou", "out"), "is not bound to 20000 packets"), (7, "may send 7 packets a second, its limit is 20000"), (20000, "count as one")):
        if isinstance(words, tuple):
            nft(*words)
        else:  # a rate, without the rule about segments
            nft("flush", "chain", "inet", "tulou", "out")
            nft("add", "rule", "inet", "tulou", "out", "limit", "rate", "over", f"{words}/second", "goto", "refused")
        found = ours(False)
        check(len(found) == 1 and text in found[0]["text"] and not found[0]["repaired"], str(found))
        check(ours(True)[0]["repaired"], "not mended")
        equal(ours(False), [], "after the repair")
        equal(packets(node)[0], 20000, "the rate")


def test_flood(node):
    """one instance's flood of connections fills neither the kernel's table nor another tenant's way"""
    before = tracked()
    code = (f"exec(\"import socket\\ns=socket.socket(2,2)\\nfor p in range(1,40001):\\n  try: s.sendto(b'x',('{WORLD[0]}',p))\\n  except OSError: pass\\nraise SystemExit(0)\")")
    inside(node, code, "one", 60)
    grown = tracked() - before
    check(100 <= grown <= 2048 + 300, f"{grown} connections tracked after 40,000")
    check(reaches(node, WORLD[0], 80, "foreign"), "another tenant")
    equal(node.get("one")[0], 200, "the front door")


def test_syn_flood(node):
    """connections begun without end are bounded; the kernel's table is not filled by them"""
    before = tracked()
    code = (f"exec(\"import socket\\nfor i in range(12000):\\n  s=socket.socket(); s.setblocking(False)\\n  try: s.connect(('{WORLD[1]}',80))\\n  except OSError: pass\\n  s.close()\\nraise SystemExit(0)\")")
    started = time.monotonic()
    check("SystemExit" in inside(node, code, "two", 60), "did not end")
    seconds, grown = time.monotonic() - started, tracked() - before
    # 2,000 at once and 500 a second
    check(grown <= 2000 + 500 * seconds + 300, f"{grown} connections tracked after 12,000 in {seconds:.1f} s")
    check(counter(node, "from_link_new", "@fresh") + counter(node, "from_link_new", "@connections") > 0, "nothing was dropped")
    check(reaches(node, WORLD[0], 80, "foreign"), "another tenant")


def test_bytes_are_counted(node):
    """what an instance received and sent is known"""
    timed(node, "get", 4 << 20, "two")

    def counted():
        text = node.request("GET", "/metrics", host=node.control, token=node.token)[1].decode()
        return sum(int(float(l.split()[-1])) for l in text.splitlines() if l.startswith("container_network_receive_bytes_total") and 'app="two"' in l) >= 4 << 20
    wait_for("the figures", counted, 15)
