"""What an app writes is bounded by project quotas of ext4 and xfs, and by full qgroups where the kernel has no simple quotas:
in the virtual machine (make test-vm)."""
import errno, json, os
from harness import *
from test_52_disk import FILL, ask, lines

FILES = lines("import os", "out = [0, 0]", "os.makedirs('/tmp/i', exist_ok=True)", "try:", "  while out[0] < 5000: os.close(os.open('/tmp/i/%d' % out[0], os.O_WRONLY|os.O_CREAT)); out[0] += 1", "except OSError as e: out[1] = e.errno")


def need(fs):
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        raise Skip("for the virtual machine: make test-vm")
    if fs not in open("/proc/filesystems").read():
        raise Skip(f"the kernel has no {fs}")


def fills(node, app, limit):
    written, error = json.loads(ask(node, app, FILL % "/tmp", timeout=180))
    check(error in (errno.EDQUOT, errno.ENOSPC), f"{written} bytes, errno {error}")
    check(limit * 3 // 4 < written <= limit, f"{written} bytes written of {limit}")
    ask(node, app, "__import__('os').unlink('/tmp/fill')")


def bounded(node, says, inodes):
    """A node whose disk is what `says`: bytes, inodes, a change while it runs, and nothing left."""
    node.start()
    said = run(BUILD + "/tuloud", "--check", "-c", node.settings).stdout
    check(says in said, said)
    token = node.tenant("acme")
    node.app("a", token, limits={"disk_bytes": "16MiB", "inodes": 600})
    node.deploy_ok("a", token, server("a"), timeout=600)
    wait_for("the app", lambda: node.get("a", timeout=60)[0] == 200, 120)
    fills(node, "a", 16 << 20)
    if inodes:
        made, error = json.loads(ask(node, "a", FILES, timeout=180))
        check(error in (errno.EDQUOT, errno.ENOSPC), f"{made} files, errno {error}")
        check(400 < made < 600, f"{made} files made")
        ask(node, "a", "__import__('shutil').rmtree('/tmp/i')", timeout=180)
    pid = [i for i in node.instances("a") if i["state"] == "running"][0]["pid"]
    node.api("PATCH", "/v1/apps/a", {"limits": {"disk_bytes": "24MiB"}}, token=token, want=200)
    grown = lambda: json.loads(ask(node, "a", FILL % "/tmp", timeout=180))[0] > 20 << 20
    wait_for("the new limit", grown, 60)
    ask(node, "a", "__import__('os').unlink('/tmp/fill')")
    equal([i for i in node.instances("a") if i["state"] == "running"][0]["pid"], pid, "pid: it was restarted")
    node.kill()
    node.start()
    fills(node, "a", 24 << 20)
    node.stop(seconds=120)
    equal(node.leftovers(), [], "left behind")


def test_ext4():
    """project quotas of ext4, found by themselves"""
    need("ext4")
    if "prjquota" not in open("/proc/mounts").read():
        raise Skip("no file system here has project quotas")
    node = Node("ext4", "health: { timeout: 60s }\n", disk="disk: { backend: auto }")
    try:
        bounded(node, "quota: project quotas", inodes=True)
        check(not os.path.exists(node.data + "/pool.img"), "a pool was made")
        equal(os.listdir(node.data + "/layers"), [], "layers")
    finally:
        node.cleanup()


def test_xfs():
    """project quotas of xfs"""
    need("xfs")
    node = Node("xfs", "health: { timeout: 60s }\n", disk="disk: { backend: auto }")
    try:
        os.makedirs(node.data)
        run("truncate", "-s", "400M", node.dir + "/xfs.img")
        r = run("mkfs.xfs", "-q", node.dir + "/xfs.img")
        equal(r.returncode, 0, r.stderr)
        r = run("mount", "-o", "loop,prjquota", node.dir + "/xfs.img", node.data)
        if r.returncode != 0 or "prjquota" not in [l for l in open("/proc/mounts") if node.data in l][0]:
            raise Skip("xfs without quotas: " + r.stderr)
        os.chmod(node.data, 0o755)
        node.leftovers = lambda: []
        bounded(node, "quota: project quotas", inodes=True)
        equal(os.listdir(node.data + "/layers"), [], "layers")
    finally:
        run("umount", node.data)
        node.cleanup()


def test_btrfs():
    """the pool on this kernel"""
    need("btrfs")
    node = Node("btrfs", "health: { timeout: 60s }\n", disk="disk: { backend: btrfs, pool: 400MiB }")
    try:
        bounded(node, "btrfs: pool", inodes=False)
    finally:
        node.cleanup()
