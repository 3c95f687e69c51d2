"""Hosts, the API, the table of routes."""
import os

from talk import App, answer, client, get, serve, until


def test_exact_before_wildcard_before_nothing(worker):
    exact, wild, deep = serve(b"exact"), serve(b"wild"), serve(b"deep")
    n = worker.app("w", wild)
    d = worker.app("d", deep)
    e = worker.app("e", exact)
    worker.tell(f"host {n} *.example.test", f"host {d} *.deep.example.test", f"host {e} shop.example.test")
    for host, want in (("shop.example.test", b"exact"), ("SHOP.Example.Test", b"exact"), ("shop.example.test:8080", b"exact"),
                       ("other.example.test", b"wild"), ("x.y.example.test", b"wild"), ("x.deep.example.test", b"deep"),
                       ("deep.example.test", b"wild")):
        assert get(worker, host)[2] == want, host
    for host in ("example.test", "xexample.test", "shop.example.test.", "shop.example.tes", ".example.tes", "a_b", "shop.example.testx"):
        assert get(worker, host)[0] == 404, host
    worker.tell(f"hostdel {n} shop.example.test")  # not its host
    assert get(worker, "shop.example.test")[2] == b"exact"
    worker.tell(f"hostdel {e} shop.example.test")
    assert get(worker, "shop.example.test")[2] == b"wild"
    worker.tell(f"host {d} shop.example.test")
    assert get(worker, "shop.example.test")[2] == b"deep"
    assert worker.figures("worker")["unknown"] == 7


def test_the_api_answers_to_its_name_and_our_addresses(worker):
    app = serve(b"api")
    api = App(app.talk, worker.control)
    n = worker.app("a", serve(b"app"))
    # No app can take these.
    worker.tell(f"host {n} tulou.test", f"host {n} 127.0.0.1")
    for host in ("tulou.test", "Tulou.Test:8080", "127.0.0.1", f"127.0.0.1:{worker.port}", "localhost", "[::ffff:127.0.0.1]:80"):
        assert get(worker, host)[2] == b"api", host
    for host in ("127.0.0.2", "10.0.0.1", "[::1]", "[::2]", "1.2.3", "999.1.1.1", "x.tulou.test"):
        assert get(worker, host)[0] == 404, host
    worker.tell(f"host {n} localhost")
    assert get(worker, "localhost")[2] == b"app"
    c = client(worker)
    for _ in range(5):
        c.send(b"GET / HTTP/1.1\r\nHost: tulou.test\r\n\r\n")
        assert c.response()[2] == b"api"
    assert len(api.connections) < 6


def test_the_api_away_is_said_so(worker):
    status, fields, body = get(worker, "tulou.test")
    assert status == 503 and b"control plane" in body and fields["tulou-fault"] == "control-away"
    api = App(serve(b"api").talk, worker.control)
    assert get(worker, "tulou.test")[2] == b"api"
    for c in api.connections:
        c.s.close()
    api.close()
    os.unlink(worker.control)
    assert get(worker, "tulou.test")[0] == 503


def test_a_silent_stream_ends_with_its_client(worker):
    import socket, struct
    def stream(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        c.rest()
    api, app = App(stream, worker.control), App(stream)
    worker.app("a", app)
    for host, there, reset in (("tulou.test", api, False), ("tulou.test", api, True), ("a.test", app, True)):
        c = client(worker, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert c.head()[0] == "HTTP/1.1 200 OK"
        if reset:
            c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
        until("the other side's connection is closed", lambda: there.connections[-1].s.fileno() < 0)
    until("nothing is left", lambda: worker.figures("worker")["connections"] == 0)


def test_big_bodies_stream_to_the_api(worker):
    size = 48 << 20

    def count(c, _):
        _, fields = c.head()
        assert dict(fields)["Transfer-Encoding"] == "chunked"
        total = 0
        while True:
            n = int(c.until(b"\r\n"), 16)
            total += len(c.take(n))
            c.take(2)
            if n == 0:
                break
        c.send(answer(b"%d" % total))
    App(count, worker.control)
    before = worker.rss_kib()
    c = client(worker, b"POST /git/x HTTP/1.1\r\nHost: tulou.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(size >> 16):
        c.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    c.send(b"0\r\n\r\n")
    assert c.response()[2] == b"%d" % size
    assert worker.rss_kib() - before < 2000


def test_what_a_sync_does_not_name_is_removed(worker):
    a, b = serve(b"a"), serve(b"b")
    n = worker.app("a", a)
    m = worker.app("b", b)
    worker.tell(f"host {n} extra.test", f"host {n} *.wild.test")
    c = client(worker)
    worker.tell("begin", f"app {n} serving 1000 a", f"host {n} a.test", f"inst {n} {a.id} 127.0.0.1:{a.port} up")
    # Until the end, all serve on.
    assert get(worker, "b.test")[2] == b"b" and get(worker, "extra.test")[2] == b"a"
    worker.tell("end")
    assert get(worker, "a.test")[2] == b"a"
    for host in ("b.test", "extra.test", "x.wild.test"):
        assert get(worker, host)[0] == 404, host
    # An end without a beginning says nothing.
    worker.tell("end")
    assert get(worker, "a.test")[2] == b"a"
    worker.tell(f"host {m} late.test", f"inst {m} 5 127.0.0.1:1 up", "appdel 4711", "instdel 4711")
    assert get(worker, "late.test")[0] == 404
    c.close()


def test_a_lost_channel_keeps_the_routes(worker):
    n = worker.app("a", serve(b"a"))
    worker.tell("newchan")
    assert get(worker, "a.test")[2] == b"a"
    # A sync that broke off half way removes nothing, and neither does the next one's end without a beginning.
    worker.tell("begin", "newchan")
    worker.tell("end")
    assert get(worker, "a.test")[2] == b"a"
    worker.tell("begin", "end")
    assert get(worker, "a.test")[0] == 404
    assert n


def test_a_deleted_app_takes_its_hosts_along(worker):
    a = serve(b"a")
    n = worker.app("a", a)
    assert get(worker, "a.test")[2] == b"a"
    worker.tell(f"appdel {n}")
    assert get(worker, "a.test")[0] == 404
    until("its connections are closed", lambda: worker.figures("worker")["upstreams"] == 0)
    worker.app("a", a)
    assert get(worker, "a.test")[2] == b"a"
