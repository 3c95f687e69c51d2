"""Instances that listen on a unix socket, in a folder whose descriptor the worker was given."""
import os
import socket
import threading
import time

from talk import App, answer, client, get, until


def folder(worker, name):
    path = os.path.join(worker.folder, name)
    os.mkdir(path)
    return path


def named(path, body):
    def talk(c, _):
        while True:
            _, fields = c.head()
            c.body(fields)
            c.send(answer(body))
    return App(talk, path)


def place(worker, app, path, n=None):
    """An app (or one more instance of n) whose socket is in that folder."""
    inst = worker.id()
    if n is None:
        n = worker.id()
        worker.tell(f"app {n} serving 5000 {app} on 0", f"host {n} {app}.test")
    worker.tell(f"inst {n} {inst} unix:{path}/app.sock up")
    return n, inst


def test_it_is_served_and_its_connection_kept(worker):
    d = folder(worker, "a")
    app = named(d + "/app.sock", b"by file")
    n, inst = place(worker, "a", d)
    for _ in range(20):
        assert get(worker, "a.test")[0::2] == (200, b"by file")
    assert len(app.connections) == 1
    c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000)
    assert c.response()[2] == b"by file"
    # Told again, as control does with each change, it is the same instance.
    worker.tell(f"inst {n} {inst} unix:{d}/app.sock up")
    assert get(worker, "a.test")[2] == b"by file"
    worker.tell(f"inst {n} {inst} unix:{d}/app.sock draining")
    worker.expect(f"drained {inst}")
    worker.tell(f"instdel {inst}")
    assert worker.figures("worker")["upstreams"] == 0


def test_two_apps_with_the_same_file_name(worker):
    places = [folder(worker, name) for name in "ab"]
    apps = [named(p + "/app.sock", p[-1:].encode()) for p in places]
    for p in places:
        place(worker, p[-1:], p)
    for _ in range(10):
        for name in "ab":
            assert get(worker, f"{name}.test")[2] == name.encode()
    assert all(a.connections for a in apps)


def test_what_is_no_socket_of_a_server_is_502(worker):
    d = folder(worker, "a")
    place(worker, "a", d)
    at = d + "/app.sock"
    assert get(worker, "a.test")[0] == 502
    os.mkfifo(at)
    assert get(worker, "a.test")[0] == 502
    os.unlink(at)
    os.mkdir(at)
    assert get(worker, "a.test")[0] == 502
    os.rmdir(at)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(at)
    assert get(worker, "a.test")[0] == 502
    os.unlink(at)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(at)
        assert get(worker, "a.test")[0] == 502
    os.unlink(at)
    app = named(at, b"well")
    time.sleep(1.1)  # the last choice for a second, not for ever
    assert get(worker, "a.test")[2] == b"well"
    app.close()


def test_a_full_backlog_is_503_or_another_instance(worker):
    d = folder(worker, "a")
    full = socket.socket(socket.AF_UNIX)
    full.bind(d + "/app.sock")
    full.listen(0)
    n, _ = place(worker, "a", d)
    held = [client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") for _ in range(4)]
    assert any(h.response()[0] == 503 for h in held[1:]), "nobody was told"
    other = folder(worker, "b")
    app = named(other + "/app.sock", b"other")
    place(worker, "a", other, n)
    for _ in range(4):
        assert get(worker, "a.test")[2] == b"other"
    assert app.connections
    full.close()


def test_the_folder_is_let_go_with_the_instance(worker):
    d = folder(worker, "a")
    app = named(d + "/app.sock", b"x")
    n, inst = place(worker, "a", d)
    assert get(worker, "a.test")[0] == 200
    pid = worker.process.pid

    def holds():
        return [f for f in os.listdir(f"/proc/{pid}/fd") if os.readlink(f"/proc/{pid}/fd/{f}") == d]
    assert len(holds()) == 1
    worker.tell(f"instdel {inst}")
    until("the folder closed", lambda: not holds())
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert n and app


def test_load_from_many_threads(worker):
    d = folder(worker, "a")
    named(d + "/app.sock", b"y")
    place(worker, "a", d)
    failures = []

    def load():
        c = client(worker)
        for _ in range(100):
            c.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            r = c.response()
            if r[0] != 200 or r[2] != b"y":
                failures.append(r)
    threads = [threading.Thread(target=load) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures[:3]
