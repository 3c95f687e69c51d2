"""States of apps and instances: waiting, waking, draining, failing."""
import json
import socket
import threading
import time

from talk import App, answer, client, get, script, serve, until


def refusing():
    """An instance whose port nobody listens on."""
    a = serve()
    a.close()
    return a


def test_states_that_are_answered_at_once(worker):
    for state, words in (("empty", b"nothing running"), ("crashed", b"keeps crashing"), ("paused", b"paused")):
        n = worker.app("a", serve(), state=state)
        status, fields, body = get(worker, "a.test")
        assert status == 503 and words in body and "retry-after" in fields, state
        worker.tell(f"appdel {n}")


def test_requests_wait_for_an_instance_and_wake_the_app(worker):
    n = worker.app("a")
    waiting = [client(worker, b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % i) for i in range(5)]
    worker.expect(f"wake {n}")
    worker.silent("wake")
    until("they wait", lambda: worker.figures("worker")["parked"] == 5)
    a = serve(b"awake")
    worker.tell(f"inst {n} {a.id} 127.0.0.1:{a.port} up")
    for c in waiting:
        assert c.response()[2] == b"awake"
    s = worker.figures(f"stats {n}")
    assert s["waited"] == 5 and s["requests"] == 5 and s["in_flight"] == 0, s
    assert worker.figures("worker")["parked"] == 0


def test_waiting_has_an_end(worker):
    worker.app("a", wait=500)
    start = time.monotonic()
    status, fields, body = get(worker, "a.test")
    assert status == 503 and fields["tulou-fault"] == "app-not-up" and "retry-after" in fields, body
    assert 0.4 < time.monotonic() - start < 1.5


def test_waiting_room_is_bounded(worker):
    n = worker.app("a", wait=20000)
    waiting = [client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") for _ in range(256)]
    until("they wait", lambda: worker.figures("worker")["parked"] == 256)
    assert get(worker, "a.test")[1]["tulou-fault"] == "app-crowded"
    worker.tell(f"app {n} crashed 1000 a")
    for c in waiting:
        assert c.response()[1]["tulou-fault"] == "app-crashed"
        c.close()


def test_held_requests_wait_whatever_runs(worker):
    a = serve()
    n = worker.app("a", a, state="hold")
    c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
    until("it waits", lambda: worker.figures("worker")["parked"] == 1)
    worker.silent("wake")
    assert a.connections == []
    worker.tell(f"app {n} serving 5000 a")
    assert c.response()[0] == 200


def test_a_deleted_app_lets_go_of_those_who_wait(worker):
    n = worker.app("a")
    c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    until("it waits", lambda: worker.figures("worker")["parked"] == 1)
    worker.tell(f"appdel {n}")
    assert c.response()[0] == 404


def test_one_who_waits_may_leave(worker):
    n = worker.app("a", wait=600)
    client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").close()
    until("it has left", lambda: worker.figures("worker")["connections"] == 0)
    assert worker.figures(f"stats {n}")["in_flight"] == 0


def test_a_new_channel_hears_who_waits(worker):
    n = worker.app("a")
    c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    worker.expect(f"wake {n}")
    worker.tell("newchan")
    a = serve()
    worker.tell("begin", f"app {n} serving 5000 a", f"host {n} a.test", "end")
    worker.expect(f"wake {n}")
    worker.tell(f"inst {n} {a.id} 127.0.0.1:{a.port} up")
    assert c.response()[0] == 200


def test_refused_connections_go_to_another_instance(worker):
    bad, good = refusing(), serve(b"good")
    n = worker.app("a", bad, good)
    for _ in range(10):
        assert get(worker, "a.test")[2] == b"good"
    worker.expect(f"failing {bad.id}")
    worker.silent("failing")
    # A body waits with it: none of it was sent yet.
    c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
    assert c.response()[2] == b"good"
    assert worker.figures(f"stats {n}")["errors"] > 0


def test_all_refuse(worker):
    worker.app("a", refusing(), refusing())
    status, fields, body = get(worker, "a.test")
    assert status == 502 and fields["tulou-fault"] == "app-refused" and b"$PORT" in body
    worker.app("b", *[refusing() for _ in range(5)])
    assert get(worker, "b.test")[0] == 502


def test_load_is_spread_by_requests_in_flight(worker):
    go = threading.Event()

    def slow(c, _):
        while True:
            c.head()
            go.wait(5)
            c.send(answer())
    apps = [App(slow) for _ in range(4)]
    worker.app("a", *apps)
    clients = [client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") for _ in range(16)]
    until("all are on their way", lambda: sum(len(a.connections) for a in apps) == 16)
    assert [len(a.connections) for a in apps] == [4] * 4
    go.set()
    for c in clients:
        assert c.response()[0] == 200


def test_draining_lets_requests_finish_and_takes_no_new_ones(worker):
    go = threading.Event()

    def slow(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nol")
        go.wait(5)
        c.send(b"d!")
        c.rest()
    old, new = App(slow), serve(b"new")
    n = worker.app("a", old)
    c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    c.head()
    worker.tell(f"inst {n} {new.id} 127.0.0.1:{new.port} up", f"inst {n} {old.id} 127.0.0.1:{old.port} draining")
    for _ in range(5):
        assert get(worker, "a.test")[2] == b"new"
    worker.silent("drained")
    go.set()
    worker.expect(f"drained {old.id}")
    assert c.take(4) == b"old!"
    until("its connection was closed", lambda: old.connections[0].s.fileno() < 0)
    # One with nothing to do says so at once, and again when asked again.
    worker.tell(f"inst {n} {new.id} 127.0.0.1:{new.port} draining")
    worker.expect(f"drained {new.id}")
    worker.tell(f"inst {n} {new.id} 127.0.0.1:{new.port} draining")
    worker.expect(f"drained {new.id}")


def test_a_removed_instance_is_cut_off(worker):
    def half(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        c.rest()
    a = App(half)
    n = worker.app("a", a)
    c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    c.head()
    worker.tell(f"instdel {a.id}")
    assert c.rest() == b"half"
    assert worker.figures("worker")["upstreams"] == 0
    assert n


def test_idle_connections_of_a_removed_instance_are_closed(worker):
    a = serve()
    worker.app("a", a)
    assert get(worker, "a.test")[0] == 200
    assert worker.figures("worker")["upstreams"] == 1
    worker.tell(f"instdel {a.id}")
    assert worker.figures("worker")["upstreams"] == 0


def test_a_number_that_moved_is_another_instance(worker):
    a, b = serve(b"a"), serve(b"b")
    n = worker.app("a", a)
    assert get(worker, "a.test")[2] == b"a"
    worker.tell(f"inst {n} {a.id} 127.0.0.1:{b.port} up")
    assert get(worker, "a.test")[2] == b"b"


def test_an_instance_that_dies_between_requests(worker):
    """A deploy that lost its old instance: what may be repeated goes to the new one."""
    def dies(c, _):
        c.head()
        c.send(answer(b"old"))
        c.head()
    old, new = App(dies), serve(b"new")
    n = worker.app("a", old)
    assert get(worker, "a.test")[2] == b"old"
    worker.tell(f"inst {n} {new.id} 127.0.0.1:{new.port} up")
    old.close()
    for _ in range(4):
        assert get(worker, "a.test")[2] in (b"new", b"old")


def test_access_log_is_json(worker):
    n = worker.app("a", serve(b"four"))
    c = client(worker, b'POST /a"b\\c?secret=1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nX-Request-Id: r1\r\n\r\nabc')
    assert c.response()[0] == 200
    get(worker, "nobody.test", "/x")
    client(worker, b"nonsense\r\n\r\n").response()
    def read():
        with open(worker.log, encoding="utf-8") as f:
            lines = [json.loads(x) for x in f]
        return lines if len(lines) == 3 else None
    a, b, d = until("three lines", read)
    assert a["app"] == "a" and a["path"] == '/a"b\\c' and a["status"] == 200 and a["bytes"] == 4 and a["request_id"] == "r1"
    assert a["method"] == "POST" and a["client"] == "127.0.0.1" and a["host"] == "a.test" and int(a["instance"]) > 0
    assert a["duration_us"] >= a["upstream_us"] >= 0 and a["time"].endswith("Z")
    assert (b["status"], b["app"], d["status"], d["method"]) == (404, "", 400, "")
    s = worker.figures(f"stats {n}")
    assert s["requests"] == s["2xx"] == 1 and s["in"] == 3 and s["out"] == 4, s


def test_worker_drains(worker):
    go = threading.Event()

    def slow(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nol")
        go.wait(5)
        c.send(b"d!")
    worker.app("a", App(slow))
    worker.app("b", serve())
    busy = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    busy.head()
    idle, fresh = client(worker, b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n"), client(worker)
    assert idle.response()[0] == 200
    worker.tell("drain 8000")
    # One that speaks again soon is told to go.
    idle.send(b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n")
    status, fields, _ = idle.response()
    assert status == 200 and fields["connection"] == "close"
    idle.close()
    try:
        socket.create_connection(("127.0.0.1", worker.port))
        raise AssertionError("still accepting")
    except ConnectionRefusedError:
        pass
    assert fresh.ended(3)
    worker.silent("drain")
    go.set()
    assert busy.take(4) == b"old!"
    busy.close()
    worker.expect("drain over")


def test_worker_drain_has_an_end(worker):
    worker.app("a", App(lambda c, _: (c.head(), c.rest())))
    c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    time.sleep(0.1)
    start = time.monotonic()
    worker.tell("drain 500")
    worker.expect("drain over")
    assert 0.4 < time.monotonic() - start < 2 and c.ended()
