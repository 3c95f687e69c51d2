"""Limits of instances and totals of tenants as the kernel holds them, on whichever cgroup version there is."""
import base64, os, signal, subprocess
from harness import *
from shell import Shell, V2, CONTROLLERS

MIB = 1 << 20
HOG = "exec python3 -c \"import time,os; b=bytearray({n}*1048576); [b.__setitem__(i,1) for i in range(0,len(b),4096)]; print('got it'); time.sleep(1000)\""
SPIN = "exec python3 -c \"while True: pass\""
SLEEP = "exec sleep 1000"


def setup():
    if not os.path.exists(os.path.join(BUILD, "supervise_shell")):
        raise Failure("make $(O)/supervise_shell first")
    if not V2 and not os.path.isdir("/sys/fs/cgroup/blkio"):
        raise Failure("a v1 host without blkio")
    return Shell().start()


def teardown(shell):
    if shell:
        shell.cleanup()


def alive(pid):
    """A zombie is dead: after a kill -9 of the supervisor the host's init reaps when it gets to it."""
    try:
        return proc_status(pid)["State"][0] != "Z"
    except OSError:
        return False


def gone(shell, slot):
    """Nothing of the tenant is left."""
    wait_for(f"t{slot} to be gone", lambda: not [g for g in shell.groups() if f"/t{slot}" in g], 5)


def test_numbers(shell):
    """limits and totals are in the kernel, the totals one level up"""
    shell.say("tenant 1 memory=300000000 swap=100000000 cpu=2500 cpu_burst=500 cpu_weight=400 pids=777 io_read=3000000 io_write=4000000")
    one = shell.launch(1, SLEEP, memory=64 * MIB, swap=16 * MIB, cpu=250, cpu_burst=5000, cpu_weight=50, pids=33)
    two = shell.launch(2, SLEEP, memory=64 * MIB)
    equal((shell.memory_max(1, one), shell.memory_max(1)), (64 * MIB, 300000000 // 4096 * 4096), "memory")
    equal((shell.quota(1, one), shell.quota(1)), (25000, 250000), "CPU quota")
    equal(int(shell.read("cpu.cfs_burst_us", "cpu.max.burst", 1, one)), 25000, "burst, at most the quota")
    equal(int(shell.read("cpu.cfs_burst_us", "cpu.max.burst", 1)), 50000, "the tenant's burst")
    equal(shell.read("cpu.shares", "cpu.weight", 1, one), "50" if V2 else "512", "weight")
    equal(shell.read("cpu.shares", "cpu.weight", 1), "400" if V2 else "4096", "the tenant's weight")
    equal(shell.read("cpu.shares", "cpu.weight", None), "50" if V2 else "512", "our root's weight")
    equal((shell.read("pids.max", "pids.max", 1, one), shell.read("pids.max", "pids.max", 1)), ("33", "777"), "pids")
    if V2:
        equal(shell.read("", "memory.swap.max", 1, one), str(16 * MIB), "swap")
        equal((shell.read("", "memory.oom.group", 1, one), shell.read("", "memory.oom.group", 1)), ("1", "0"), "memory.oom.group")
        check("rbps=3000000 wbps=4000000" in shell.read("", "io.max", 1), "io.max")
    else:
        equal(int(shell.read("memory.memsw.limit_in_bytes", "", 1, one)), 80 * MIB + 64 * 4096, "memory and swap, with the spare of cgroup_v1.c")
        check(shell.read("blkio:blkio.throttle.read_bps_device", "", 1).endswith(" 3000000"), "blkio rate")
        equal(shell.pids(1, one), [int(p) for p in shell.read("blkio:cgroup.procs", "", 1).split()], "members of the tenant's blkio group")
        equal(shell.read("memory:notify_on_release", "", 1), "0", "notify_on_release")
    # A tenant that was never told is not unlimited.
    equal((shell.memory_max(2), shell.quota(2)), (4 << 30, 400000), "the embedded default")
    for number in (one, two):
        shell.stop(number)
    gone(shell, 1)
    gone(shell, 2)
    # Remembered.
    one = shell.launch(1, SLEEP, memory=64 * MIB)
    equal(shell.quota(1), 250000, "the total when it comes back")
    shell.stop(one)


def test_memory_total(shell):
    """two instances within their limits cannot hold more than their tenant's total; the neighbour is not touched"""
    shell.say(f"tenant 3 memory={96 * MIB} swap=0")
    other = shell.launch(4, HOG.format(n=60), memory=80 * MIB)
    both = [shell.launch(3, HOG.format(n=60), memory=80 * MIB) for _ in range(2)]
    victim = wait_for("one to be killed", lambda: [i for i in both if shell.now(i)["state"] == "exited"], 60)[0]
    end = shell.now(victim)
    equal(end["exit"], "oom", str(end))
    check("total of its tenant, 96 MiB" in end["text"], end["text"])
    equal((end["oom"], int(end["memory_total"])), ("tenant", 96 * MIB), "whose bound it was")
    if V2 and not os.path.exists(shell.group("", 3)):
        raise Skip("both met the total before the memory of the first was free: this machine is emulated")
    check(int(shell.read("memory.max_usage_in_bytes", "memory.peak" if os.path.exists(shell.group("", 3) + "/memory.peak") else "memory.current", 3)) <= 96 * MIB, "peak of the tenant")
    survivor = [i for i in both if i != victim][0]
    equal((shell.now(survivor)["state"], shell.now(other)["state"]), ("running", "running"), "the others")
    wait_for("the neighbour to have its memory", lambda: shell.memory(4, other) >= 60 * MIB)
    total = shell.sample(shell.totals, 3)
    check(total["oom_kills"] >= 1 and total["memory_hits"] >= 1, str(total))
    for number in (survivor, other):
        shell.stop(number)
    gone(shell, 3)


def test_oom_gives_back_tmpfs(shell):
    """what an instance's tmpfs held is given back when it is killed for memory"""
    shell.say(f"tenant 5 memory={256 * MIB} swap=0")
    quiet = shell.launch(5, SLEEP, memory=32 * MIB)
    hog = shell.launch(5, "dd if=/dev/zero of=/dev/shm/a bs=1M count=24 2>/dev/null; " + HOG.format(n=200), memory=64 * MIB, disk=64 * MIB)
    end = shell.state(hog, "exited")
    equal(end["exit"], "oom", str(end))
    check("at the memory limit of 64 MiB" in end["text"], end["text"])
    equal(end["oom"], "own", "whose bound it was")
    check(not os.path.exists(shell.group("memory", 5, hog)), "its group is there still")
    wait_for("the tenant's memory to come back", lambda: shell.memory(5) < 16 * MIB, 10)
    shell.stop(quiet)
    gone(shell, 5)


def test_pids_total(shell):
    """forks spread over two instances end at the tenant's total, and are counted"""
    shell.say("tenant 6 pids=24")
    fork = "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done 2>/dev/null; wait"
    both = [shell.launch(6, f"while :; do ({fork}); sleep 0.2; done", pids=20) for _ in range(2)]
    count = lambda: int(shell.read("pids.current", "pids.current", 6))
    wait_for("the total to be reached", lambda: count() >= 23, 20)
    # the kernel charges first and takes back what is too much: a single look may see it
    check(all(min(count(), count(), count()) <= 24 for _ in range(200)), "more than the total")
    wait_for("a fork too many to be counted", lambda: shell.sample(shell.totals, 6)["pids_hits"] > 0, 20)
    for number in both:
        shell.stop(number)
    gone(shell, 6)


def test_cpu_total(shell):
    """two spinning instances get their tenant's CPU together, not each"""
    shell.say("tenant 7 cpu=400 cpu_burst=0")
    both = [shell.launch(7, SPIN, cpu=1000, cpu_burst=0, memory=64 * MIB) for _ in range(2)]
    time.sleep(0.5)
    started, before = time.monotonic(), shell.cpu_seconds(7)
    time.sleep(2)
    share = (shell.cpu_seconds(7) - before) / (time.monotonic() - started)
    check(share <= 0.4 * 1.3, f"{share:.2f} of a CPU with a total of 0.4")
    check(share > 0.01, f"only {share:.2f} of a CPU: did they run?")  # beside other work it may be little
    # The total grows and shrinks live.
    shell.say("tenant 7 cpu=100 cpu_burst=0")
    started, before = time.monotonic(), shell.cpu_seconds(7)
    time.sleep(2)
    share = (shell.cpu_seconds(7) - before) / (time.monotonic() - started)
    check(share <= 0.1 * 1.5, f"{share:.2f} of a CPU with a total of 0.1")
    wait_for("the total's waiting to be counted", lambda: shell.sample(shell.totals, 7)["throttled_us"] > 0, 20)
    shell.say("tenant 7 cpu=2000")
    equal(shell.quota(7), 200000, "the total")
    equal(shell.quota(7, both[0]), 100000, "the instance's own quota is back")
    for number in both:
        shell.stop(number)


def test_live_limits(shell):
    """new limits take effect without a restart, also on open descriptors"""
    number = shell.launch(8, SLEEP, memory=128 * MIB, cpu=1000, pids=64, nofile=1024)
    pid = shell.now(number)["pid"]
    shell.say(f"limits {number} memory={256 * MIB} cpu=1500 cpu_burst=1500 cpu_weight=200 pids=99 nofile=512")
    equal(shell.memory_max(8, number), 256 * MIB, "memory")
    equal((shell.quota(8, number), int(shell.read("cpu.cfs_burst_us", "cpu.max.burst", 8, number))), (150000, 150000), "CPU")
    equal(shell.read("pids.max", "pids.max", 8, number), "99", "pids")
    app = [p for p in shell.pids(8, number) if str(p) != pid][0]
    limit = lambda: [l.split()[3:5] for l in open(f"/proc/{app}/limits") if l.startswith("Max open files")][0]
    equal(limit(), ["512", "512"], "open files of the running app")
    shell.say(f"limits {number} memory={64 * MIB} cpu=100 nofile=4096")
    wait_for("less memory", lambda: shell.memory_max(8, number) == 64 * MIB)
    equal((shell.quota(8, number), int(shell.read("cpu.cfs_burst_us", "cpu.max.burst", 8, number))), (10000, 10000), "less CPU")
    check(limit()[0] in ("4096", "512"), "raised, or kept where hard limits cannot be raised")
    equal(shell.now(number)["pid"], pid, "PID 1")
    check(shell.say(f"limits {number} memory=1", want=None).startswith("error memory_bytes"), "a limit out of range is refused")
    shell.say(f"throttle {number} 7 50")
    equal((shell.quota(8, number), shell.read("cpu.shares", "cpu.weight", 8, number)), (5000, "7" if V2 else "71"), "throttled")
    shell.say(f"limits {number} cpu=700")
    equal(shell.quota(8, number), 5000, "the throttle stays in force")
    shell.say(f"throttle {number} 0 0")
    equal((shell.quota(8, number), shell.read("cpu.shares", "cpu.weight", 8, number)), (70000, "200" if V2 else "2048"), "its limits again")
    shell.stop(number)


def test_memory_in_use(shell):
    """memory cannot be lowered below what is in use: told, kept, and done when it becomes possible; nobody is killed"""
    command = "exec python3 -c \"import signal,time; b=[bytearray(100*1048576)]; [b[0].__setitem__(i,1) for i in range(0,len(b[0]),4096)]; signal.signal(signal.SIGUSR1, lambda *a: b.clear()); print('x'); [time.sleep(1) for _ in range(1000)]\""
    number = shell.launch(9, command, memory=160 * MIB)
    wait_for("it to have its memory", lambda: shell.memory(9, number) > 100 * MIB)
    shell.say(f"limits {number} memory={64 * MIB}")
    told = wait_for("the report", lambda: shell.now(number)["text"] and shell.now(number), 20)
    check("cannot be lowered to 64 MiB yet" in told["text"], str(told))
    equal(told["state"], "running", "state")
    check(shell.memory_max(9, number) > 64 * MIB, "a limit below what is in use")
    app = [p for p in shell.pids(9, number) if str(p) != told["pid"]][0]
    os.kill(app, signal.SIGUSR1)
    wait_for("the limit, with the next sample", lambda: shell.memory_max(9, number) == 64 * MIB, 20)
    told = wait_for("the report", lambda: shell.now(number)["memory_limit"] == str(64 * MIB) and shell.now(number), 5)
    equal((told["state"], told["text"]), ("running", ""), "after")
    shell.stop(number)


def test_daemons_die(shell):
    """an orphaned or double-forked process never survives its instance"""
    daemon = "import os,time\\nif os.fork()==0:\\n os.setsid()\\n if os.fork()==0:\\n  import signal\\n  [signal.signal(s, signal.SIG_IGN) for s in (1,2,15)]\\n  time.sleep(1000)\\n os._exit(0)\\nos.wait()"
    for grace in (0, 300):
        number = shell.launch(10, f"python3 -c \"exec('{daemon}')\"; (setsid sleep 1000 &) ; exec sleep 1000")
        members = wait_for("daemons", lambda: len(shell.pids(10, number)) >= 4 and shell.pids(10, number), 20)
        started = time.monotonic()
        shell.stop(number, grace)
        # the rest of the processes is given LIMIT_SANDBOX_LINGER_MS within the grace at most
        check(time.monotonic() - started < grace / 1000 + 2, f"took {time.monotonic() - started:.1f} s")
        check(not os.path.exists(shell.group("memory", 10, number)), "its group is there still")
        equal([p for p in members if alive(p)], [], "still alive")
        gone(shell, 10)


def test_disk_rate(shell):
    """a tenant's instances read from the disk no faster than its rate"""
    if V2 and not os.path.exists(shell.group("", None) + "/io.max"):
        raise Skip("this kernel has no io.max")
    big = shell.dir + "/data/releases/1/app/big"
    with open(big, "wb") as f:
        f.write(os.urandom(8 * MIB))
        f.flush()
        os.fsync(f.fileno())
    os.chmod(big, 0o644)
    shell.say(f"tenant 11 io_read={2 * MIB}")
    with open(big) as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    started = time.monotonic()
    number = shell.launch(11, "cat /app/big >/dev/null; exec sleep 1000")
    if not V2 and not shell.read("blkio:blkio.throttle.read_bps_device", "", 11):
        raise Skip("the data folder lies on no disk")
    wait_for("the file to be read", lambda: any(open(f"/proc/{p}/cmdline").read().startswith("sleep\0") for p in shell.pids(11, number)), 60)
    took = time.monotonic() - started
    check(took > 2, f"8 MiB at 2 MiB/s took {took:.1f} s")
    total = shell.sample(shell.totals, 11)
    check(total["io_read"] >= 7 * MIB, str(total))
    shell.stop(number)


def test_job_memory_is_lent(shell):
    """a build's memory is beside its tenant's total while it lives"""
    shell.say(f"tenant 12 memory={64 * MIB} swap=0")
    app = shell.launch(12, SLEEP, memory=32 * MIB)
    build = shell.launch(12, SLEEP, kind=2, memory=128 * MIB)
    equal(shell.memory_max(12), 192 * MIB, "with the build")
    shell.stop(build)
    wait_for("the loan to be back", lambda: shell.memory_max(12) == 64 * MIB, 5)
    shell.stop(app)
    build = shell.launch(12, SLEEP, kind=2, memory=128 * MIB)
    equal(shell.memory_max(12), 192 * MIB, "the build as the first")
    shell.stop(build)


def test_adoption(shell):
    """after a kill -9 the totals stay as found, and go when the last instance does"""
    shell.say(f"tenant 13 cpu=1300 pids=131")
    number = shell.launch(13, SLEEP, cpu=500)
    shell.say(f"limits {number} cpu=600 pids=50")
    shell.die()
    shell.start()
    shell.say("sync", "synced")
    shell.state(number, "running", 5)
    second = shell.launch(13, SLEEP)
    equal((shell.quota(13), shell.read("pids.max", "pids.max", 13)), (130000, "131"), "the totals, not told again")
    equal((shell.quota(13, number), shell.read("pids.max", "pids.max", 13, number)), (60000, "50"), "its changed limits")
    shell.say("tenant 13 cpu=1400 pids=141")
    equal((shell.quota(13), shell.read("pids.max", "pids.max", 13)), (140000, "141"), "told again")
    shell.stop(number)
    check(os.path.isdir(shell.group("memory", 13)), "the total went with one of two")
    shell.stop(second)
    gone(shell, 13)


def test_flat_layout(shell):
    """an instance that an earlier version put directly below the root is adopted, limited and removed"""
    number = shell.launch(14, SLEEP, cpu=500)
    members = shell.pids(14, number)
    shell.die()
    roots = [shell.group("", None)] if V2 else [f"/sys/fs/cgroup/{c}/{shell.name}" for c in CONTROLLERS if c != "blkio"]
    for root in roots:
        os.mkdir(f"{root}/{number}")
        for p in members:
            with open(f"{root}/{number}/cgroup.procs", "w") as f:
                f.write(str(p))
        os.rmdir(f"{root}/t14/{number}")
    shell.start()
    shell.say("sync", "synced")
    shell.state(number, "running", 5)
    check(not [g for g in shell.groups() if "t14/" in g], "the sweep left groups")
    shell.say(f"limits {number} cpu=300")
    with open(roots[0 if V2 else 1] + f"/{number}/" + ("cpu.max" if V2 else "cpu.cfs_quota_us")) as f:
        equal(f.read().split()[0], "30000", "CPU quota")
    wait_for("a sample", lambda: shell.sample(shell.usages, number)["pids"] == 2, 10)
    shell.stop(number)
    equal([g for g in shell.groups() if f"/{number}" in g], [], "left")
    equal([p for p in members if alive(p)], [], "still alive")


SOCKETS = """import socket, time
keep = []
try:
    l = socket.create_server(("127.0.0.1", 0), backlog=4096)
    for _ in range(300):
        a = socket.create_connection(l.getsockname()); b = l.accept()[0]; a.setblocking(False); keep += [a, b]
        try:
            while True: a.send(b"x" * 65536)
        except BlockingIOError: pass
    for _ in range(300):
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20); u.bind(("127.0.0.1", 0)); keep.append(u)
        for _ in range(40): u.sendto(b"x" * 8000, u.getsockname())
except OSError: pass
time.sleep(1000)"""


def test_sockets(shell):
    """what lies in socket buffers is bounded too: a few hundred full connections do not eat the host"""
    def pages():
        return sum(int(l.split()[l.split().index("mem") + 1]) for l in open(f"/proc/{pid}/net/sockstat") if l.startswith(("TCP:", "UDP:")))
    pid = "self"
    before = pages()
    number = shell.launch(15, f"exec python3 -c \"exec(__import__('base64').b64decode('{base64.b64encode(SOCKETS.encode()).decode()}'))\"", memory=64 * MIB, pids=50, nofile=4096)
    time.sleep(3)
    held = (pages() - before) * 4096
    check(held < 64 * MIB, f"{held >> 20} MiB in socket buffers beside a limit of 64 MiB")
    if not V2:  # there the buffers are part of its memory, and it is killed for them
        check(shell.now(number)["state"] == "running", "it was killed")
    shell.stop(number)


def test_all_gone(shell):
    """a stop leaves no group"""
    shell.launch(15, SLEEP)
    equal(shell.end(), "gone", "the shell's last word")
    equal(shell.groups(), set(), "left")
