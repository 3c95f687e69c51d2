"""Reloads (SIGHUP) and deploys one after the other: what an old worker still serves is not taken from it."""
from harness import *

ECHO = '''
import os, socket, threading
VERSION = %r
def serve(s):
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        more = s.recv(65536)
        if not more: return
        data += more
    if b"websocket" not in data:
        s.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %%d\\r\\nConnection: close\\r\\n\\r\\n" %% len(VERSION) + VERSION.encode())
        s.close()
        return
    s.sendall(b"HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n")
    while True:
        more = s.recv(65536)
        if not more: return
        s.sendall(more)
l = socket.create_server(("0.0.0.0", int(os.environ["PORT"])))
while True:
    threading.Thread(target=serve, args=(l.accept()[0],), daemon=True).start()
'''


def files(version):
    return {"Procfile": "web: python3 echo.py\n", "echo.py": ECHO % version}


def setup():
    node = Node("reloads").start()
    node.acme = node.tenant("acme")
    node.app("chat", node.acme)
    node.deploy_ok("chat", node.acme, files("v1"))
    return node


def teardown(node):
    if node:
        node.cleanup()


def tunnel(node):
    s = socket.create_connection(("127.0.0.1", node.port), 20)
    s.sendall(b"GET / HTTP/1.1\r\nHost: chat.apps.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n")
    head = b""
    while b"\r\n\r\n" not in head:
        more = s.recv(4096)
        check(more, f"end after {head!r}")
        head += more
    check(head.startswith(b"HTTP/1.1 101"), head)
    return s


def echo(s, text):
    s.sendall(text)
    got = b""
    while len(got) < len(text):
        more = s.recv(4096)
        check(more, "the tunnel was cut")
        got += more
    equal(got, text, "echo")


def reload(node):
    before = set(node.role_pids("proxy"))
    node.process.send_signal(signal.SIGHUP)
    wait_for("new workers", lambda: set(node.role_pids("proxy")) - before)
    wait_for("the node", lambda: node.request("GET", "/readyz")[0] == 200)
    return before


def ids(node):
    return {i["id"]: i["state"] for i in node.instances("chat", node.acme)}


def test_an_old_worker_keeps_its_instance(node):
    """a WebSocket in a worker of before a reload outlives a deploy after it; its instance ends soon after it"""
    s = tunnel(node)
    echo(s, b"one")
    old = set(ids(node))
    workers = reload(node)
    node.deploy_ok("chat", node.acme, files("v2"))
    wait_for("the new release", lambda: node.get("chat")[1] == "v2")
    for i in range(20):
        echo(s, b"%03d" % i)
        time.sleep(0.1)
    check(old & set(ids(node)), "the old instance waits for what the old worker serves")
    s.close()
    wait_for("old workers to go", lambda: not workers & set(node.role_pids("proxy")))
    wait_for("the old instance to go", lambda: not old & set(ids(node)), 10)


def test_an_instance_that_drains_through_a_reload(node):
    """a deploy first, a reload while the old instance drains: it drains on"""
    s = tunnel(node)
    old = set(ids(node))
    node.deploy_ok("chat", node.acme, files("v3"))
    wait_for("the new release", lambda: node.get("chat")[1] == "v3")
    echo(s, b"one")
    reload(node)
    for i in range(20):
        echo(s, b"%03d" % i)
        time.sleep(0.1)
    s.close()
    wait_for("the old instance to go", lambda: not old & set(ids(node)), 10)
