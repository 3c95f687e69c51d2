"""What an app writes is bounded: bytes, inodes, on the btrfs pool (or whatever disk.backend the node has)."""
import concurrent.futures, errno, glob, json, os, signal, time, urllib.parse
from harness import *

POOL = "disk: { backend: btrfs, pool: 512MiB }\n"


def setup():
    if "btrfs" not in open("/proc/filesystems").read():
        return None
    node = Node("disk", "health: { grace: 2s }\n", disk=POOL)
    try:
        node.start()
        node.acme = node.tenant("acme")
        for name in ("greedy", "calm"):
            node.app(name, node.acme, limits={"disk_bytes": "32MiB", "inodes": 3000})
            node.deploy_ok(name, node.acme, server(name))
    except BaseException:
        node.cleanup()
        raise
    return node


def teardown(node):
    if node:
        node.cleanup()


def ask(node, app, expression, timeout=60):
    status, text = node.get(app, "/eval?" + urllib.parse.quote(expression), timeout=timeout)
    equal(status, 200, text)
    return text


def lines(*statements):
    """Statements as one expression: the value of `out` after them."""
    return f"(lambda g: (exec({chr(10).join(statements)!r}, g), g['out'])[1])({{}})"


FILL = lines("import os", "out = [0, 0]", "f = os.open('%s/fill', os.O_WRONLY|os.O_CREAT)", "try:", "  while out[0] < 1 << 30: out[0] += os.write(f, b'x' * 65536)", "except OSError as e: out[1] = e.errno",
             "try: os.fsync(f)", "except OSError as e: out[1] = out[1] or e.errno", "os.close(f)")


# BTRFS_IOC_SUBVOL_CREATE
SUBVOLUME = lines("import os, fcntl, struct", "f = os.open('%s', os.O_RDONLY)", "try: out = fcntl.ioctl(f, 0x5000940e, bytearray(struct.pack('q4088s', 0, b'sub')))", "except OSError as e: out = e.errno")


def layers(node):
    return sorted(os.listdir(node.disk() + "/layers"))


def loops(node):
    return [l for l in run("losetup", "-a").stdout.splitlines() if node.dir in l]


def instance(node, app):
    return [i for i in node.instances(app) if i["state"] == "running"][0]


def test_bytes(node):
    """an app that fills its disk gets EDQUOT at its limit; the others and the node write on"""
    for where in ("/tmp", "/app", "/var/tmp"):
        written, error = json.loads(ask(node, "greedy", FILL % where))
        check(error in (errno.EDQUOT, errno.ENOSPC), f"{where}: {written} bytes, errno {error}")
        check(24 << 20 < written <= 32 << 20, f"{where}: {written} bytes written")
        equal(ask(node, "calm", "open('/tmp/a','w').write('x' * 1000000)"), "1000000", "the neighbour")
        equal(ask(node, "greedy", f"__import__('os').unlink('{where}/fill')"), "None", "it may remove")
    node.app("another", node.acme)  # the node writes


def test_space_comes_back(node):
    """what was removed can be written again"""
    wait_for("the room", lambda: json.loads(ask(node, "greedy", FILL % "/tmp"))[0] > 24 << 20, 10)
    ask(node, "greedy", "__import__('os').unlink('/tmp/fill')")


def test_shm_is_memory(node):
    """/dev/shm is bounded by itself, /dev can hold nothing"""
    written, error = json.loads(ask(node, "calm", FILL % "/dev/shm"))
    equal(error, errno.ENOSPC, "errno")
    ask(node, "calm", "__import__('os').unlink('/dev/shm/fill')")
    check("error" in ask(node, "calm", "open('/dev/x','w')"), "a file in /dev")


def test_inodes(node):
    """more inodes than allowed: soon nothing more can be made, and what was removed makes room again"""
    more = lines("import os", "out = ''", "n = 0", "try:", "  for n in range(20000): os.close(os.open('/tmp/i/%d' % n, os.O_WRONLY|os.O_CREAT))", "  out = 'all'", "except OSError as e: out = e.errno")
    ask(node, "greedy", "__import__('os').mkdir('/tmp/i')")
    ask(node, "greedy", more)
    refused = lambda: "error" in ask(node, "greedy", "open('/tmp/i/one-more','w').write('x' * 8192)")
    wait_for("the refusal", refused, 20)
    equal(ask(node, "calm", "open('/tmp/a','w').write('y' * 1000)"), "1000", "the neighbour")
    equal(ask(node, "greedy", "__import__('shutil').rmtree('/tmp/i')"), "None", "it may remove")
    wait_for("room again", lambda: ask(node, "greedy", "open('/tmp/one-more','w').write('x' * 8192)") == "8192", 20)


def test_no_way_around(node):
    """no subvolume, no snapshot, no quota of its own: the disk's ioctls do not reach an app"""
    for where in ("/tmp", "/app", "/"):
        got = ask(node, "calm", SUBVOLUME % where)
        check(got in (str(errno.ENOTTY), str(errno.EPERM), str(errno.EACCES)), f"{where}: {got}")


def test_strict(node):
    """the strict profile: a closed root; what may be written is the same bounded layer and executes nothing"""
    node.app("closed", node.acme, profile="strict", limits={"disk_bytes": "32MiB"})
    node.deploy_ok("closed", node.acme, server("closed"))
    equal(ask(node, "closed", "open('/app/x','w')")[:6], "error:", "/app")
    for where in ("/tmp", "/var/tmp", "/app/tmp"):
        written, error = json.loads(ask(node, "closed", FILL % where))
        check(error == errno.EDQUOT and 24 << 20 < written <= 32 << 20, f"{where}: {written} {error}")
        ask(node, "closed", f"__import__('os').unlink('{where}/fill')")
        ran = lines("import os, shutil", f"shutil.copy('/bin/true', '{where}/true')", "try: os.execv('%s/true', ['true'])" % where, "except OSError as e: out = e.errno")
        equal(ask(node, "closed", ran), str(errno.EACCES), f"execution in {where}")
        got = ask(node, "closed", SUBVOLUME % where)
        check(got in (str(errno.ENOTTY), str(errno.ENOSYS)), f"{where}: {got}")
    node.api("DELETE", "/v1/apps/closed", token=node.acme, want=(200, 202, 204))
    wait_for("its end", lambda: node.api("GET", "/v1/apps/closed", token=node.acme)[0] == 404)


def test_usage(node):
    """use of disk and inodes is sampled"""
    ask(node, "calm", "open('/tmp/b','wb').write(b'z' * (5 << 20))")
    ask(node, "calm", "__import__('os').sync()")
    # btrfs tells what has been written back: vm.dirty_expire_centisecs and a commit later
    wait_for("the figure", lambda: instance(node, "calm")["disk_bytes"] >= 5 << 20, 90, 0.5)
    check(instance(node, "calm")["disk_limit_bytes"] >= instance(node, "calm")["disk_bytes"], "the limit")


def test_part_of_the_pool(node):
    """one tenant cannot take the pool from all others, whatever its limits add up to"""
    evil = node.tenant("evil")
    node.app("hog", evil, limits={"disk_bytes": "2GiB"})
    node.deploy_ok("hog", evil, server("hog"))
    written, error = json.loads(ask(node, "hog", FILL % "/tmp"))
    check(error == errno.EDQUOT and written <= 256 << 20, f"{written >> 20} MiB of 512, {error}")
    equal(ask(node, "calm", "open('/tmp/c','w').write('y' * 1000000)"), "1000000", "the neighbour")
    node.deploy_ok("calm", node.acme, server("calm"))
    node.api("DELETE", "/v1/apps/hog", token=evil, want=(200, 202, 204))
    wait_for("its end", lambda: node.api("GET", "/v1/apps/hog", token=evil)[0] == 404)


def stored(node):
    """All that a deploy makes on disk and in the database, for the apps of one tenant."""
    trees = sorted(os.listdir(node.data + "/releases")) if os.path.isdir(node.data + "/releases") else []
    return trees, layers(node), node.repos()


def settled(node, *apps):
    """Each app has one instance, it runs, and nothing else has a layer."""
    found = [i for a in apps for i in node.instances(a)]
    return len(found) == len(apps) and all(i["state"] == "running" for i in found) and layers(node) == sorted(i["id"] for i in found)


def group(node, slot, name):
    """A number of the tenant's group in the pool (sysfs): its pool is the one that knows all of its subvolumes."""
    found = []
    for f in glob.glob(f"/sys/fs/btrfs/*/qgroups/1_{slot + 1}/{name}"):
        if os.path.basename(os.path.dirname(os.path.dirname(os.path.dirname(f)))) == pool_uuid(node):
            found.append(int(open(f).read()))
    return found[0]


def pool_uuid(node):
    """By the loop device that our pool's file hangs on."""
    device = os.path.basename(loops(node)[0].split(":")[0])
    return [u for u in os.listdir("/sys/fs/btrfs") if os.path.exists(f"/sys/fs/btrfs/{u}/devices/{device}")][0]


def fill_a_tenant(node, token):
    node.app("packed", token, limits={"disk_bytes": "2GiB"})
    node.deploy_ok("packed", token, server("packed"))
    repo = node.git_repo(server("pushed"))
    builds = lambda: node.api("GET", "/v1/apps/packed/builds", token=token, want=200)["items"]
    releases = lambda: [r["version"] for r in node.api("GET", "/v1/apps/packed/releases", token=token, want=200)["items"]]
    wait_for("only what runs", lambda: settled(node, "greedy", "calm", "packed"), 20)
    r = node.push(repo, "packed", token)  # makes the repository, so that a refused push makes none
    equal(r.returncode, 0, r.stderr)
    wait_for("only what runs", lambda: settled(node, "greedy", "calm", "packed"), 20)

    # Its own total: told before anything is uploaded.
    was = (stored(node), len(builds()), releases())
    node.api("PUT", "/v1/tenants/full/quota", {"disk_bytes": "16MiB"}, want=200)
    status, data, _ = node.request("POST", "/v1/apps/packed/builds", tarball(server("never")), token=token, headers={"Content-Type": "application/gzip"})
    check(status == 403 and b"tenant full: disk quota 16 MiB" in data and b"in use" in data, f"{status} {data}")
    node.commit(repo)
    r = node.push(repo, "packed", token)
    check(r.returncode != 0 and "tenant full: disk quota 16 MiB" in r.stderr, r.stderr)
    equal((stored(node), len(builds()), releases()), was, "after refusals by the tenant's total")
    node.api("PUT", "/v1/tenants/full/quota", {"disk_bytes": "100GiB"}, want=200)

    # Its part of the pool: the kernel holds it at every moment, not only on the average.
    slot = int(run("stat", "-c", "%u", f"/proc/{instance(node, 'packed')['pid']}").stdout)
    slot = (slot - (1 << 30)) // 65536
    over, looks, done = [0], [0], [False]

    def watch():
        while not done[0]:
            try:
                held = group(node, slot, "referenced")
                over[0] = max(over[0], held - group(node, slot, "max_referenced"))
                looks[0] += 1
            except (OSError, IndexError, ValueError):
                pass
            time.sleep(0.01)
    watcher = threading.Thread(target=watch)
    watcher.start()
    full = False
    for _ in range(40):
        written, error = json.loads(ask(node, "packed", FILL.replace("O_CREAT", "O_CREAT|os.O_APPEND") % "/tmp", 120))
        if full and written < 1 << 20:
            break
        full = error == errno.EDQUOT
        time.sleep(1)
    done[0] = True
    watcher.join()
    check(full, "the tenant's part was never full")
    print(f"# most above the group's limit in {looks[0]} looks: {over[0] >> 10} KiB", flush=True)
    why = "that one tenant may have of the node's disk now"
    upload = lambda: node.request("POST", "/v1/apps/packed/builds", tarball(server("never")), token=token, headers={"Content-Type": "application/gzip"}, timeout=60)
    status, data, _ = wait_for("the sample that shows it", lambda: [r for r in [upload()] if r[0] == 403], 30, 1)[0]
    check(b"tenant full: " in data and why.encode() in data, data)
    was = (stored(node), releases())
    r = node.push(repo, "packed", token)
    check(r.returncode != 0 and why in r.stderr, r.stderr)
    wait_for("nothing half-made", lambda: (stored(node), releases()) == was, 20)
    equal(ask(node, "calm", "open('/tmp/c','w').write('y' * 1000000)"), "1000000", "the neighbour")
    equal(node.get("packed")[0], 200, "the app that is full")

    # Room again: the same deploy goes through.
    ask(node, "packed", "__import__('os').unlink('/tmp/fill')")
    wait_for("a deploy", lambda: b'"result":"succeeded"' in upload()[1].replace(b" ", b""), 60, 2)


def test_a_full_tenant_deploys_nothing(node):
    """at its own total, or at its part of the pool, a tenant's deploy and push are refused with whose limit it is; nothing half-made stays"""
    token = node.tenant("full")
    try:
        fill_a_tenant(node, token)
    finally:
        node.api("DELETE", "/v1/apps/packed", token=token, want=(200, 202, 204))
        wait_for("its end", lambda: node.api("GET", "/v1/apps/packed", token=token)[0] == 404)
        wait_for("the room again", lambda: os.statvfs(node.disk()).f_bavail * 4096 > 300 << 20, 60)


def test_several_greedy_tenants(node):
    """three tenants that write all they can leave as much for the next one; its app, its push and its build go on"""
    evil = [node.tenant(f"evil{i}") for i in range(3)]
    for i, token in enumerate(evil):
        node.app(f"hog{i}", token, limits={"disk_bytes": "2GiB"})
        node.deploy_ok(f"hog{i}", token, server(f"hog{i}"))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:  # at once, so that each sees the same room free
        results = list(pool.map(lambda i: json.loads(ask(node, f"hog{i}", FILL % "/tmp", 120)), range(3)))
    held = [n >> 20 for n, _ in results]
    for _ in range(60):  # what is free is taken step by step
        more = [json.loads(ask(node, f"hog{i}", FILL.replace("O_CREAT", "O_CREAT|os.O_APPEND") % "/tmp", 120)) for i in range(3)]
        results += more
        held = [h + (n >> 20) for h, (n, _) in zip(held, more)]
        if sum(n for n, _ in more) < 3 << 20:
            break
        time.sleep(1)
    check(all(error == errno.EDQUOT for _, error in results), f"{results}: not refused by a bound")
    print(f"# held MiB: {held}, free {os.statvfs(node.disk()).f_bavail * 4096 >> 20} of 512", flush=True)
    check(max(held) <= 2 * min(held), f"{held}: not shared evenly")
    free = os.statvfs(node.disk()).f_bavail * os.statvfs(node.disk()).f_frsize
    check(free >= 40 << 20, f"{free >> 20} MiB left")
    told = wait_for("the tenants' figures", lambda: [e for e in node.api("GET", "/v1/events", token=evil[0], want=200)["items"] if e["kind"] == "tenant.disk"], 30)
    check("Writes were refused" in told[0]["text"], told)
    # The others.
    equal(ask(node, "calm", "open('/tmp/c','w').write('y' * 10000000)"), "10000000", "the neighbour")
    node.deploy_ok("calm", node.acme, server("calm"))
    node.app("mine", node.acme)
    r = node.push(node.git_repo(server("mine")), "mine", node.acme)
    equal(r.returncode, 0, r.stderr)
    text = node.request("GET", "/metrics", token=node.token)[1].decode()
    line = [l for l in text.splitlines() if l.startswith("tulou_node_apps_disk_free_bytes ")]
    check(line and 0 < int(line[0].split()[1]) < 512 << 20, line)
    node.api("DELETE", "/v1/apps/mine", token=node.acme, want=(200, 202, 204))
    for i, token in enumerate(evil):
        node.api("DELETE", f"/v1/apps/hog{i}", token=token, want=(200, 202, 204))
        wait_for("its end", lambda: node.api("GET", f"/v1/apps/hog{i}", token=token)[0] == 404)
    wait_for("the room again", lambda: os.statvfs(node.disk()).f_bavail * 4096 > 300 << 20, 60)


def test_kill_and_adopt(node):
    """kill -9 of the supervisor: the app writes on, bounded, and the next one finds its layer"""
    # that of the test before is removed in its own time
    running = wait_for("only the layers of what runs", lambda: layers(node) == sorted(i["id"] for a in ("greedy", "calm") for i in node.instances(a)) and layers(node), 20)
    node.kill()
    node.start()
    equal(layers(node), running, "layers")
    equal(len(loops(node)), 1, "loop devices")
    written, error = json.loads(ask(node, "greedy", FILL % "/tmp"))
    check(error == errno.EDQUOT and written <= 32 << 20, f"{written} {error}")
    ask(node, "greedy", "__import__('os').unlink('/tmp/fill')")


def test_gone_with_the_instance(node):
    """a stopped instance's layer is removed, and so is what the kernel kept of it"""
    pid, old = instance(node, "greedy")["pid"], layers(node)
    node.api("PUT", "/v1/apps/greedy/formation", {"web": 0}, token=node.acme, want=200)
    wait_for("its end", lambda: not os.path.exists(f"/proc/{pid}"))
    wait_for("its layer to go", lambda: len(layers(node)) == len(old) - 1)
    check(not any(l.endswith(".gone") for l in layers(node)), layers(node))
    node.api("PUT", "/v1/apps/greedy/formation", {"web": 1}, token=node.acme, want=200)
    wait_for("it again", lambda: node.get("greedy")[0] == 200)


def test_quit_keeps_the_pool(node):
    """SIGQUIT leaves apps and pool; the next start takes both up"""
    pid = instance(node, "calm")["pid"]
    node.stop(signal.SIGQUIT)
    check(os.path.exists(f"/proc/{pid}"), "the app is gone")
    equal(len(loops(node)), 1, "loop devices")
    node.start()
    equal(instance(node, "calm")["pid"], pid, "pid")
    equal(ask(node, "calm", "open('/tmp/c','w').write('y')"), "1", "written")
    equal(len(loops(node)), 1, "loop devices")


RATES = "/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device"


def rates():
    return dict(line.split() for line in open(RATES).read().splitlines())


def test_write_rate():
    """cgroup v1: what the kernel writes back to the pool is bounded, not while a killed one may wait for it, and nothing stays"""
    if not os.path.exists(RATES):
        raise Skip("no blkio of cgroup v1")
    node = Node("rate", "health: { grace: 1s }\n", disk="disk: { backend: btrfs, pool: 512MiB, write_rate: 24MiB }\n")
    bound = str(24 << 20)
    try:
        node.start()
        token = node.tenant("acme")
        node.app("stubborn", token)
        node.deploy_ok("stubborn", token, {**server(), "Procfile": "web: trap '' TERM; python3 server.py & while :; do sleep 1; done\n"})
        device = open(f"/sys/block/{os.path.basename(loops(node)[0].split(':')[0])}/dev").read().strip()
        equal(rates().get(device), bound, "the rule")
        node.api("PUT", "/v1/apps/stubborn/formation", {"web": 0}, token=token, want=200)
        wait_for("the bound to be lifted", lambda: device not in rates(), 10, 0.02)
        wait_for("the bound again", lambda: rates().get(device) == bound, 10)
        node.kill()
        node.start()
        equal(rates().get(device), bound, "the next supervisor's")
        node.stop()
        check(device not in rates(), "the rule stayed")
    finally:
        node.cleanup()


def test_grow(node):
    """a larger disk.pool and SIGHUP: the pool grows under the running apps"""
    size = lambda: os.statvfs(node.disk()).f_blocks * os.statvfs(node.disk()).f_frsize
    equal(size(), 512 << 20, "before")
    text = open(node.settings).read()
    open(node.settings, "w").write(text.replace("pool: 512MiB", "pool: 640MiB"))
    pid = instance(node, "calm")["pid"]
    starts = lambda: open(node.log).read().count("node serves")
    before = starts()
    node.process.send_signal(signal.SIGHUP)
    wait_for("the growth", lambda: size() == 640 << 20)
    wait_for("the node", lambda: starts() > before and node.api("GET", "/v1/apps/calm/instances")[0] == 200)
    equal(instance(node, "calm")["pid"], pid, "pid")
    equal(os.path.getsize(node.data + "/pool.img"), 640 << 20, "the file")


def test_push(node):
    """a repository lies in the pool, bounded too"""
    node.app("pushed", node.acme)
    r = node.push(node.git_repo(server("pushed")), "pushed", node.acme)
    equal(r.returncode, 0, r.stderr)
    equal(len(os.listdir(node.disk() + "/repos")), 1, "repositories in the pool")
    node.api("DELETE", "/v1/apps/pushed", token=node.acme, want=(200, 202, 204))
    wait_for("it to go", lambda: os.listdir(node.disk() + "/repos") == [])


def test_clean_stop(node):
    """a stop unmounts the pool and detaches its loop device; the file stays"""
    node.stop()
    equal(node.leftovers(), [], "left behind")
    check(os.path.exists(node.data + "/pool.img"), "the pool's file is gone")


def words(node):
    body = node.request("POST", "/v1/node/fsck", "{}", token=node.token, timeout=60)[1]
    return [f"{f['area']}: {f['text']}" for f in map(json.loads, filter(str.strip, body.decode().splitlines())) if "text" in f]


def test_damaged_and_lost():
    """a damaged pool stops the start with a sentence that says so; of a lost one fsck tells what went with it, and a push mends it"""
    if "btrfs" not in open("/proc/filesystems").read():
        raise Skip("no btrfs")
    node = Node("lost", "health: { grace: 2s }\n", disk=POOL.replace("512", "256"))
    image = node.data + "/pool.img"
    try:
        node.start()
        token = node.tenant("acme")
        node.app("pushed", token)
        source = node.git_repo(server("pushed"))
        equal(node.push(source, "pushed", token).returncode, 0, "push")
        equal(words(node), [], "differences")
        node.stop()
        with open(image, "r+b") as f:  # both copies of the superblock
            for at in (64 << 10, 64 << 20):
                f.seek(at)
                f.write(bytes(4096))
        node.start(wait=False)
        check(node.process.wait(20) != 0, "it started")
        log = node.log_tail()
        check("pool.img is damaged" in log and "move it away" in log and "repositories" in log, log)
        check("pool" not in os.listdir(node.data) and not loops(node), f"{os.listdir(node.data)} {loops(node)}")
        os.unlink(image)
        node.start()
        wait_for("the app", lambda: node.get("pushed")[0] == 200)
        found = words(node)
        check(len(found) == 1 and "repository of pushed is missing" in found[0], found)
        source2 = node.git_repo(server("pushed2"))
        equal(node.push(source2, "pushed", token).returncode, 0, "push again")
        equal(words(node), [], "differences")
    finally:
        node.cleanup()


def refusal(disk, prepare=None):
    """tuloud with that disk: section in a data directory of its own; (exit code, log, files left)."""
    node = Node("full", disk=disk)
    try:
        if prepare:
            prepare(node)
        node.start(wait=False)
        code = node.process.wait(20)
        left = sorted(os.listdir(node.data)) if os.path.isdir(node.data) else []
        check(not [l for l in loops(node) if "pool.img" in l], loops(node))
        return code, node.log_tail(), left
    finally:
        if prepare:
            run("umount", node.data)
        node.cleanup()


def small_disk(node, size="160M"):
    os.makedirs(node.data)
    run("truncate", "-s", size, node.dir + "/small.img")
    equal(run("mkfs.ext4", "-q", "-F", "-m", "0", node.dir + "/small.img").returncode, 0, "mkfs.ext4")
    r = run("mount", "-o", "loop", node.dir + "/small.img", node.data)
    equal(r.returncode, 0, r.stderr)


def test_refused_too_small():
    """no quotas and no room for a pool: the node says so in one sentence and leaves nothing"""
    code, log, left = refusal("disk: { backend: auto }", small_disk)
    check(code != 0, "it started")
    check("disk.pool" in log and "prjquota" in log and "memory" in log, log)
    check(not [f for f in left if f.startswith("pool")], left)


def test_full_host_disk():
    """the disk of the node itself is full: the API answers, a deploy is refused in words, and all is well with room again"""
    node = Node("nospace", disk="disk: { backend: memory }")
    try:
        small_disk(node, "320M")
        node.start()
        token = node.tenant("acme")
        node.app("a", token)
        node.deploy_ok("a", token, server("a"))
        ballast = node.data + "/control/ballast"
        wait_for("the ballast", lambda: os.path.getsize(ballast) == 16 << 20, 20)
        run("sh", "-c", f"cat /dev/zero > {node.data}/fill")
        check(os.statvfs(node.data).f_bavail * 4096 < 1 << 20, "the disk is not full")
        names = (f"n{i}" for i in range(1000))
        make = lambda: node.api("POST", "/v1/apps", {"name": next(names)}, token=token)[0] == 201
        # the first ones still fit; then a commit fails, and control starts again without its ballast
        wait_for("10 apps in a row", lambda: all(make() for _ in range(10)) and not os.path.exists(ballast), 30, 0.5)
        equal(node.get("a")[0], 200, "the app")
        result, log = node.deploy("a", token, server("a2"))
        check(result["result"] == "failed" and "free" in result["error"] + log, f"{result} {log}")
        os.unlink(node.data + "/fill")
        wait_for("the ballast again", lambda: os.path.getsize(ballast) == 16 << 20, 30)
        node.deploy_ok("a", token, server("a3"))
    finally:
        node.stop()
        wait_for("the unmount", lambda: run("umount", node.data).returncode == 0 or not os.path.ismount(node.data), 10)
        node.cleanup()


def test_refused_quota():
    """disk.backend: quota where there are none"""
    if "prjquota" in open("/proc/mounts").read():
        raise Skip("this host has project quotas")
    code, log, left = refusal("disk: { backend: quota }")
    check(code != 0 and "prjquota" in log, log)


def test_memory():
    """disk.backend: memory is today's tmpfs, and only when asked for"""
    node = Node("mem", disk="disk: { backend: memory }")
    try:
        node.start()
        token = node.tenant("acme")
        node.app("m", token, limits={"disk_bytes": "16MiB"})
        node.deploy_ok("m", token, server("m"))
        written, error = json.loads(ask(node, "m", FILL % "/tmp"))
        check(error == errno.ENOSPC and 12 << 20 < written <= 16 << 20, f"{written} {error}")
        check(not os.path.exists(node.data + "/pool.img"), "a pool was made")
        node.stop()
        equal(node.leftovers(), [], "left behind")
    finally:
        node.cleanup()
