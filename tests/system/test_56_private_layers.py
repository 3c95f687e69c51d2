"""Private layers: a tenant's instances share no file of /usr and of the stack with other tenants."""
import os, time
from harness import *


def usr_bytes():
    return int(run("du", "-sxB1", "/usr", timeout=300).stdout.split()[0])


def setup():
    # All of /usr is copied: on a machine for development that is 10 GB.
    if not os.path.exists("/dev/loop-control") or not os.path.exists("/usr/sbin/mke2fs"):
        return None
    if not os.environ.get("TULOU_TEST_PRIVATE") and usr_bytes() > 3 << 30:
        return None
    node = Node("private").start()
    node.plain = node.tenant("plain")
    for t in ("one", "two"):
        setattr(node, t, node.tenant(t))
        node.api("PATCH", f"/v1/tenants/{t}", {"private_layers": True}, want=200)
    return node


def teardown(node):
    if node:
        node.cleanup()


def device(node, app, path):
    return node.get(app, f"/eval?__import__('os').stat('{path}').st_dev")[1]


def mounts(node):
    with open(f"/proc/{node.process.pid}/mountinfo") as f:  # the supervisor's: it may have a namespace of its own
        return [line.split()[4] for line in f if node.data + "/private/mounts/" in line]


def test_private_layers(node):
    """tenants with private layers have devices of their own for /usr; nothing stays mounted without instances"""
    if node is None:
        raise Skip("/usr is larger than 3 GiB and TULOU_TEST_PRIVATE is not set, or loop devices or mke2fs are missing")
    started = time.monotonic()
    for app, token in (("a", node.one), ("b", node.two), ("c", node.plain), ("d", node.one)):
        node.app(app, token)
        node.deploy_ok(app, token, server(app), timeout=900)
        print(f"# {app} is deployed after {time.monotonic() - started:.1f} s", flush=True)
    devices = {app: device(node, app, "/usr/bin/python3.11") for app in "abcd"}
    for app in "abc":
        check(devices[app].isdigit(), f"device of {app}: {devices[app]}")
    equal(devices["a"], devices["d"], "two apps of one tenant")
    equal(len({devices["a"], devices["b"], devices["c"]}), 3, f"devices of three tenants: {devices}")
    check(device(node, "a", "/etc/passwd").isdigit(), "the stack")
    equal(len(mounts(node)), 2, "mounts")
    images = [f for f in os.listdir(node.data + "/private") if f.endswith(".img")]
    equal(len(images), 1, "images")
    st = os.stat(node.data + "/private/" + images[0])
    print(f"# image: {st.st_size >> 20} MiB, {st.st_blocks * 512 >> 20} MiB on disk", flush=True)


def test_kill_and_return(node):
    """kill -9 of the supervisor: instances go on, later ones of the tenant start"""
    if node is None:
        raise Skip("see above")
    before = device(node, "a", "/usr")
    node.kill()
    node.start()
    wait_for("the app", lambda: node.get("a")[0] == 200)
    equal(device(node, "a", "/usr"), before, "the running instance's device")
    node.api("POST", "/v1/apps/a/restart", {}, token=node.one, want=(200, 202, 204))
    wait_for("a new instance", lambda: device(node, "a", "/usr") not in (before, ""), 60)


def test_gone(node):
    """the tenant's last instance goes: its mount goes, and its loop device"""
    if node is None:
        raise Skip("see above")
    for app, token in (("a", node.one), ("b", node.two), ("d", node.one)):
        node.api("PUT", f"/v1/apps/{app}/formation", {"web": 0}, token=token, want=(200, 202))
    wait_for("the mounts to go", lambda: not mounts(node), 30)
    wait_for("the loop devices to go", lambda: node.data + "/private/" not in run("losetup", "-a").stdout, 30)
    node.stop()
    equal(node.leftovers(), [], "left behind")
