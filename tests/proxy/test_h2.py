"""HTTP/2 of clients: ordinary requests, what breaks the rules, floods, slow readers, draining."""
import random
import socket
import ssl
import struct
import subprocess
import threading
import time

import h2
from h2 import hpack
from h2 import (ACK, CALM, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW, HEADERS, NO_ERROR, PADDED, PING, PRIORITY, PROTOCOL, REFUSED, RST, SETTINGS,
                WINDOW, Client, frame, settings)
from talk import WAIT, App, answer, script, serve, until
from tls import context, dial, get, give


def slow(function):
    function.slow = True
    return function


def echo():
    """Answers with the head that it got, then the body."""
    def talk(c, _):
        while True:
            line, fields = c.head()
            body = c.body(fields)
            text = (line + "\n" + "".join(f"{k.lower()}: {v}\n" for k, v in fields)).encode() + b"\n" + body
            c.send(answer(text))
    return App(talk)


def start(worker, *apps, name="a", **more):
    n = worker.app(name, *apps, **more)
    give(worker, n, f"{name}.test")
    return n


def test_an_ordinary_request(worker):
    app = echo()
    n = start(worker, app)
    c = Client(worker, "a.test")
    r = c.get("/x?y=1", more=[("accept", "text/plain"), ("x-request-id", "abc"), ("x-forwarded-for", "6.6.6.6"), ("a_b", "1")])
    text = r.data.decode()
    assert r.status == 200 and r["x-request-id"] == "abc" and r["content-length"] == str(len(r.data))
    assert text.startswith("GET /x?y=1 HTTP/1.1\n") and "host: a.test\n" in text and "x-forwarded-proto: https\n" in text
    assert "x-forwarded-for: 127.0.0.1\n" in text and "6.6.6.6" not in text and "a_b" not in text
    assert f"x-forwarded-port: {worker.tls_port}\n" in text and "content-length" not in text and "chunked" not in text
    assert "connection" not in dict(r.head) and c.settings[3] == 100 and c.settings[8] == 1 and c.settings[9] == 1
    f = worker.figures(f"stats {n}")
    assert f["requests"] == 1 and f["2xx"] == 1 and f["in_flight"] == 0
    assert worker.figures("worker")["connections"] == 1
    until("the log", lambda: '"path":"/x"' in open(worker.log, encoding="utf-8").read())


def test_which_protocol(worker):
    start(worker, serve(b"x"))
    for offered, chosen in ((("http/1.1", "h2"), "h2"), (("h2",), "h2"), (("http/1.1",), "http/1.1"), ((), None)):
        assert dial(worker, "a.test", context(offered)).s.selected_alpn_protocol() == chosen
    assert get(worker, "a.test")[2] == b"x"


def test_methods_and_bodies(worker):
    app = echo()
    start(worker, app)
    c = Client(worker, "a.test")
    body = bytes(range(256)) * 1000
    r = c.get("/p", "POST", [("content-length", str(len(body)))], body[:60000])
    assert r.reset == PROTOCOL  # fewer bytes than said
    r = c.get("/p", "POST", [("content-length", "60000")], body[:60000])
    assert r.data.endswith(body[:60000]) and b"content-length: 60000\n" in r.data
    r = c.get("/p", "PUT", (), body[:60000])
    assert r.data.endswith(b"\n\n" + body[:60000]) and b"transfer-encoding: chunked\n" in r.data
    r = c.get("/p", "POST", [("content-length", "0")])
    assert r.status == 200 and b"content-length: 0\n" in r.data
    r = c.get("/p", "HEAD")
    assert r.status == 200 and r.data == b"" and int(r["content-length"]) > 0
    s = c.begin("/p", "POST", end=False)
    c.send(c.data(s, b"abc"), frame(DATA, PADDED, s, b"\x05def" + bytes(5)), frame(DATA, END_STREAM, s))
    assert c.answer(s).data.endswith(b"\n\nabcdef")
    # Trailers of a request go no further.
    s = c.begin("/p", "POST", end=False)
    c.send(c.data(s, b"abc"), c.headers(s, [("x-trailer", "1")], True))
    r = c.answer(s)
    assert r.data.endswith(b"\n\nabc") and b"x-trailer" not in r.data


def test_cookies_and_hosts(worker):
    start(worker, echo())
    c = Client(worker, "a.test")
    r = c.get(more=[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")])
    assert b"cookie: a=1; b=2; c=3\n" in r.data and r.data.count(b"cookie") == 1
    assert b"host: a.test\n" in c.get(more=[("host", "a.test")]).data
    assert b"host: a.test\n" in c.get(more=[("host", "a.test")], authority=None).data
    assert c.get(more=[("host", "b.test")]).reset == PROTOCOL
    assert c.get(authority=None).reset == PROTOCOL
    assert c.get(authority="").reset == PROTOCOL
    assert c.get(authority="a.test@b.test").status == 400
    assert c.get(authority="no.test").status == 404


def test_misdirected(worker):
    start(worker, serve(b"a"))
    start(worker, serve(b"b"), name="b")
    c = Client(worker, "a.test")
    assert c.get(authority="b.test").status == 421 and c.get().data == b"a"
    worker.app("off", serve(), https="off")
    give(worker, 0, "node.test", kind="default")
    assert Client(worker, None).get(authority="off.test").status == 421


def test_faults_are_answers(worker):
    n = start(worker)
    worker.tell(f"app {n} empty 1000 a on 0")
    c = Client(worker, "a.test")
    r = c.get(more=[("accept", "application/json")])
    assert r.status == 503 and r["tulou-fault"] == "app-empty" and r["content-type"] == "application/problem+json" and r.data
    assert c.get(method="HEAD").data == b""
    # With a body that nobody reads: an answer, then the rest is refused.
    s = c.begin(method="POST", end=False)
    a = c.answer(s)
    c.wait(lambda: a.reset is not None)
    assert a.status == 503 and a.ended and a.reset == NO_ERROR
    b = start(worker, script(b"garbage\r\n\r\n"), name="b")
    assert Client(worker, "b.test").get().status == 502
    assert worker.figures(f"stats {b}")["errors"] == 1
    start(worker, script(b""), name="c")
    assert Client(worker, "c.test").get()["tulou-fault"] == "app-closed"


def test_parked_requests(worker):
    app = serve(b"up")
    n = worker.app("a", wait=20000)
    give(worker, n, "a.test")
    c = Client(worker, "a.test")
    streams = [c.begin() for _ in range(10)]
    worker.expect("wake")
    worker.reaches("worker", parked=10)
    c.send(c.reset(streams.pop()))
    worker.reaches("worker", parked=9)
    worker.tell(f"inst {n} {app.id} 127.0.0.1:{app.port} up")
    assert all(c.answer(s).data == b"up" for s in streams)


def test_a_hundred_streams(worker):
    gate = threading.Event()

    def talk(c, _):
        while True:
            line, _ = c.head()
            gate.wait(WAIT)
            c.send(answer(line.encode()))
    n = start(worker, App(talk))
    c = Client(worker, "a.test")
    c.wait(lambda: 3 in c.settings)
    streams = [c.begin(f"/{i}") for i in range(100)]
    until("all under way", lambda: worker.figures(f"stats {n}")["in_flight"] == 100)
    gate.set()
    for i, s in enumerate(streams):
        assert c.answer(s).data == f"GET /{i} HTTP/1.1".encode()
    # One too many at a time is a fault of the client's.
    gate.clear()
    streams = [c.begin() for _ in range(101)]
    assert c.until_end()[1] in (PROTOCOL, REFUSED) or c.streams[streams[-1]].reset == REFUSED
    gate.set()


def test_answers_of_every_framing(worker):
    def talk(c, _):
        line, _ = c.head()
        path = line.split()[1]
        c.send({"/eof": b"HTTP/1.1 200 OK\r\n\r\nto the end",
                "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                "/trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 12\r\nContent-Length: 4\r\nset-cookie: a\r\n\r\n",
                "/none": b"HTTP/1.1 204 No Content\r\n\r\n",
                "/early": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nConnection: x, close\r\nX: 1\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\nok",
                "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
                "/badchunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}[path])
    start(worker, App(talk))
    c = Client(worker, "a.test")
    assert c.get("/eof").data == b"to the end" and c.get("/chunked").data == b"abc"
    r = c.get("/trailers")
    assert r.data == b"abc" and r.trailers == [("x-sum", "12")], r.trailers
    r = c.get("/none")
    assert r.status == 204 and r.ended and not r.data
    r = c.get("/early")
    assert dict(r.infos[0]) == {":status": "103", "link": "</x>"}
    assert {k for k, _ in r.head} == {":status", "content-length", "x-request-id"} and r.data == b"ok"
    r = c.get("/cut")
    assert r.reset is not None and not r.ended and r.data in (b"abc", b"")
    assert c.get("/badchunk").status == 502


def test_the_largest_heads_pass_as_over_http1(worker):
    """Our own fields make them more than a head may be that comes in: they are not what counts."""
    def talk(c, _):
        path = c.head()[0].split()[1]
        if path == "/many":
            more = "".join(f"X-{i}: {i}\r\n" for i in range(99))
        else:
            more = "".join(f"X-{i}: {'v' * 16000}\r\n" for i in range(2)) + "X-Last: "
            more += "v" * (int(path[1:]) - len(more) - len("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\r\n")) + "\r\n"
        c.send(answer(b"ok", more.encode()))
    start(worker, App(talk), hsts=300)
    c = Client(worker, "a.test")
    for path, status in (("/many", 200), ("/32700", 200), ("/32768", 200), ("/32769", 502)):
        plain, f, _ = get(worker, "a.test", path)
        r = c.get(path)
        assert (plain, r.status) == (status, status) and r.reset is None, (path, plain, r.status)
        if status == 200:
            assert r.data == b"ok" and {k for k, _ in r.head} - {":status"} == set(f) - {"connection"}


def test_records_in_any_pieces(worker):
    """Requests in records of their own, which TCP cuts and joins anywhere: none of them is left lying."""
    waiting, n = 40, start(worker, wait=20000)
    rng = random.Random(7)
    for _ in range(12):
        s = socket.create_connection(("127.0.0.1", worker.tls_port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
        t = context(("h2",)).wrap_bio(inside, outside, server_hostname="a.test")
        while True:
            try:
                t.do_handshake()
                break
            except ssl.SSLWantReadError:
                s.sendall(outside.read())
                inside.write(s.recv(65536))
        t.write(h2.PREFACE + frame(SETTINGS, 0, 0))
        pack = hpack.Encoder()
        for i in range(waiting):
            block = pack.encode([(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", f"/{i}")])
            head = frame(HEADERS, END_STREAM | END_HEADERS, 2 * i + 1, block)
            if rng.random() < 0.2:
                for at in range(len(head)):
                    t.write(head[at:at + 1])
            else:
                t.write(head)
        data = outside.read()  # the end of the handshake as well
        while data:
            cut = min(len(data), rng.choice((1, 3, 20, 90, 400, 5000)))
            s.sendall(data[:cut])
            data = data[cut:]
            if rng.random() < 0.3:
                time.sleep(rng.random() * 0.002)
        worker.reaches("worker", parked=waiting)
        s.close()
        worker.reaches("worker", parked=0)
    assert worker.figures(f"stats {n}")["requests"] == 12 * waiting


def test_continue(worker):
    start(worker, echo())
    c = Client(worker, "a.test")
    s = c.begin(method="POST", more=[("expect", "100-continue"), ("content-length", "3")], end=False)
    a = c.streams.setdefault(s, h2.Answer())
    c.wait(lambda: a.infos)
    assert a.infos[0] == [(":status", "100")]
    c.send(c.data(s, b"abc", True))
    r = c.answer(s)
    assert r.status == 200 and r.data.endswith(b"abc") and b"expect" not in r.data
    assert c.get(more=[("expect", "else")]).status == 417


def test_malformed_requests_are_reset(worker):
    app = echo()
    start(worker, app)
    c = Client(worker, "a.test")
    bad = [
        c.fields(more=[("connection", "close")]),
        c.fields(more=[("keep-alive", "1")]),
        c.fields(more=[("proxy-connection", "x")]),
        c.fields(more=[("transfer-encoding", "chunked")]),
        c.fields(more=[("upgrade", "websocket")]),
        c.fields(more=[("te", "gzip")]),
        c.fields(more=[("X-Upper", "1")]),
        c.fields(more=[("x y", "1")]),
        c.fields(more=[("", "1")]),
        c.fields(more=[("x", "a\r\nb: c")]),
        c.fields(more=[("x", "a\nb")]),
        c.fields(more=[("x", "a\0b")]),
        c.fields(more=[("x", " led")]),
        c.fields(more=[("x:y", "1")]),
        c.fields(more=[(":path", "/again")]),
        c.fields(more=[("x", "1"), (":late", "1")]),
        c.fields() + [("x", "1"), (":authority", "b.test")],
        c.fields(more=[("content-length", "1")]),
        c.fields(more=[("content-length", "+0")]),
        c.fields(more=[("content-length", "0"), ("content-length", "0")]),
        c.fields(path=""),
        c.fields(path="x"),
        c.fields(path="/ HTTP/1.1\r\nX: y"),
        c.fields(path="/a b"),
        c.fields(path=None),
        c.fields(method=None),
        c.fields(method="GE T"),
        c.fields(method="GET / HTTP/1.1\r\n"),
        c.fields(scheme=None),
        c.fields(status="200"),
        c.fields(protocol="websocket"),
        c.fields(method="CONNECT", protocol="bytes"),
    ]
    for i, fields in enumerate(bad):
        s = c.next
        c.next += 2
        c.send(c.headers(s, fields, True))
        r = c.answer(s)
        assert r.reset == PROTOCOL and r.head is None, (i, fields, r.reset, r.head)
    assert c.get().status == 200
    assert app.seen().count(b"GET /") == 1
    f = worker.figures("worker")
    assert f["connections"] == 1


def test_what_the_parser_refuses_is_answered(worker):
    app = echo()
    start(worker, app)
    c = Client(worker, "a.test")
    for status, fields in (
            (431, c.fields(more=[("x", "y" * 17000)])),
            (431, c.fields(more=[(f"x{i}", "y" * 4000) for i in range(12)])),
            (431, c.fields(more=[(f"x{i}", "y") for i in range(110)])),
            (414, c.fields(path="/" + "x" * 9000)),
            (400, c.fields(path="/#x")),
            (421, c.fields(scheme="http")),
            (405, c.fields(method="TRACE")),
            (400, c.fields(authority="a.test:99999"))):
        s = c.next
        c.next += 2
        block = c.pack.encode(fields)
        c.send(frame(HEADERS, END_STREAM | (END_HEADERS if len(block) <= 16384 else 0), s, block[:16384]))
        for at in range(16384, len(block), 16384):
            c.send(frame(CONTINUATION, END_HEADERS if at + 16384 >= len(block) else 0, s, block[at:at + 16384]))
        r = c.answer(s)
        assert (r.status if r.head else r.reset) == (status if "#" not in dict(fields).get(":path", "") else PROTOCOL), (fields[:6], r.head, r.reset)
    s = c.next
    c.send(c.headers(s, [(":method", "CONNECT"), (":authority", "a.test:443")], True))
    c.next += 2
    assert c.answer(s).status == 405
    assert c.get().status == 200 and app.seen().count(b" / ") == 1


# ---- floods: each ends the session, nothing else ----

def ended(worker, c, *codes, apps=()):
    goaway = c.until_end()
    assert goaway and goaway[1] in codes, goaway
    until("the connection is gone", lambda: worker.figures("worker")["connections"] == 0)


def flood(c, data, times=200):
    try:
        for _ in range(times):
            c.send(data)
    except OSError:
        pass


def test_rapid_reset(worker):
    app = App(lambda c, n: time.sleep(WAIT))
    n = start(worker, app)
    c = Client(worker, "a.test")
    for _ in range(30):
        out = b""
        for _ in range(50):
            out += c.headers(c.next, c.fields(), True) + c.reset(c.next)
            c.next += 2
        flood(c, out, 1)
    ended(worker, c, CALM)
    f = worker.figures("worker")
    assert f["h2resets"] <= 3200 and f["h2floods"] == 1, f
    until("nothing under way", lambda: worker.figures(f"stats {n}")["in_flight"] == 0)


def test_made_you_reset(worker):
    """Resets that we are made to send (CVE-2025-8671)."""
    app = App(lambda c, n: time.sleep(WAIT))
    start(worker, app)
    for trick in (lambda c, s: c.window(s, 0), lambda c, s: c.window(s, 0x7fffffff) * 2,
                  lambda c, s: c.headers(s, c.fields(), True), lambda c, s: frame(DATA, 0, s, b"x"),
                  lambda c, s: frame(PRIORITY, 0, s, b"1234"), lambda c, s: frame(PRIORITY, 0, s, struct.pack(">IB", s, 1))):
        c = Client(worker, "a.test")
        for _ in range(60):
            out = b""
            for _ in range(10):
                out += c.headers(c.next, c.fields(), True) + trick(c, c.next)
                c.next += 2
            flood(c, out, 1)
        assert c.until_end() is not None
        until("the connection is gone", lambda: worker.figures("worker")["connections"] == 0)
    assert len(app.connections) < 6 * 400


def test_frame_floods(worker):
    start(worker, App(lambda c, n: time.sleep(WAIT)))
    for what in (frame(PING, 0, 0, bytes(8)) * 100, settings(s3=100) * 100, frame(SETTINGS, 0, 0) * 100,
                 frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1)) * 200, frame(WINDOW, 0, 0, struct.pack(">I", 1)) * 200,
                 frame(SETTINGS, ACK, 0) * 100):
        c = Client(worker, "a.test")
        flood(c, what, 20)
        try:
            goaway = c.until_end()
        except TimeoutError:
            raise AssertionError(f"no end: {what[:12]}") from None
        assert goaway and goaway[1] in (CALM, PROTOCOL), (what[:12], goaway)
    c = Client(worker, "a.test")
    s = c.begin(method="POST", end=False)
    flood(c, frame(DATA, 0, s) * 200, 20)
    ended(worker, c, CALM)


def test_continuations(worker):
    start(worker, serve())
    c = Client(worker, "a.test")
    block = c.pack.encode(c.fields())
    c.send(frame(HEADERS, END_STREAM, 1, block))
    flood(c, frame(CONTINUATION, 0, 1) * 50)
    assert c.until_end()[1] != NO_ERROR
    until("the connection is gone", lambda: worker.figures("worker")["connections"] == 0)


def test_a_bomb_of_fields(worker):
    """Small references to a large entry of the table."""
    start(worker, serve())
    c = Client(worker, "a.test")
    assert c.get(more=[("x-bomb", "b" * 3900)]).status == 200
    before = worker.rss_kib()
    block = c.pack.encode(c.fields())
    c.send(frame(HEADERS, END_STREAM, 3, block) + frame(CONTINUATION, END_HEADERS, 3, b"\xbe" * 16000))
    assert c.until_end()[1] == CALM
    if not worker.sanitized:
        assert worker.rss_kib() - before < 2048


def test_windows_that_stay_shut(worker):
    """100 large answers and no window: bounded memory, and an end."""
    start(worker, serve(b"x" * 1000000))
    c = Client(worker, "a.test", auto=False, first=settings(s4=0))
    before = worker.rss_kib()
    for _ in range(100):
        c.begin()
    time.sleep(1)
    if not worker.sanitized:
        assert worker.rss_kib() - before < 12000, worker.rss_kib() - before
    c.close()


@slow
def test_a_shut_window_ends_its_stream(worker):
    start(worker, serve(b"x" * 1000000))
    c = Client(worker, "a.test", auto=False, first=settings(s4=0))
    s = c.begin()
    c.c.s.settimeout(40)
    a = c.streams.setdefault(s, h2.Answer())
    c.wait(lambda: a.reset is not None, 40)
    assert a.reset == CALM


def test_too_much_is_not_stored(worker):
    start(worker)
    c = Client(worker, "a.test")
    c.wait(lambda: c.settings)
    s = c.begin(method="POST", end=False)
    flood(c, c.data(s, b"x" * 65536), 20)
    a = c.streams.setdefault(s, h2.Answer())
    c.wait(lambda: a.reset is not None or c.goaway)
    assert FLOW in (a.reset, (c.goaway or (0, 0))[1])


def test_a_slow_reader(worker):
    """10 MiB for a client that reads slowly: the app waits, the proxy holds little."""
    def talk(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n")
        for _ in range(160):
            c.send(b"x" * 65536)
    start(worker, App(talk))
    c = Client(worker, "a.test", auto=False, window=65536)
    before = worker.rss_kib()
    s = c.begin()
    time.sleep(0.5)
    if not worker.sanitized:
        assert worker.rss_kib() - before < 1024
    a = c.streams.setdefault(s, h2.Answer())
    taken = 0
    while not a.ended:
        assert c.step()
        if len(a.data) - taken > 30000 or a.ended:
            n = len(a.data) - taken
            taken += n
            c.try_send(c.window(0, n), c.window(s, n))
    assert len(a.data) == 10485760


def test_a_slow_app(worker):
    """10 MiB to an app that reads slowly: the client's window stays shut."""
    got = []

    def talk(c, _):
        c.head()
        time.sleep(0.5)
        n = len(c.buf)
        while n < 10485760:
            n += len(c.more())
            c.buf = c.seen = b""
        got.append(n)
        c.send(answer(b"thanks"))
    start(worker, App(talk))
    before = worker.rss_kib()
    p = subprocess.run(["curl", "-sk", "--http2", "--resolve", f"a.test:{worker.tls_port}:127.0.0.1", "-H", "Expect:", "-H", "Content-Length: 10485760",
                        "--data-binary", "@-", f"https://a.test:{worker.tls_port}/"], input=b"x" * 10485760, capture_output=True, timeout=30, check=True)
    assert (p.stdout, got) == (b"thanks", [10485760])
    if not worker.sanitized:
        assert worker.rss_kib() - before < 1500


def test_reset_ends_the_request(worker):
    def talk(c, _):
        c.head()
        assert c.ended()
        c.was_ended = True
    app = App(talk)
    n = start(worker, app)
    c = Client(worker, "a.test")
    s = c.begin()
    until("it is there", lambda: app.connections)
    c.send(c.reset(s))
    until("the app's connection ends", lambda: getattr(app.connections[0], "was_ended", False))
    assert worker.figures(f"stats {n}")["in_flight"] == 0
    # So does the end of the connection.
    c.begin()
    until("it is there", lambda: len(app.connections) == 2)
    c.close()
    until("the app's connection ends", lambda: getattr(app.connections[1], "was_ended", False))


def test_websocket(worker):
    def talk(c, _):
        _, fields = c.head()
        f = {k.lower(): v for k, v in fields}
        assert f["upgrade"] == "websocket" and f["connection"] == "Upgrade" and len(f["sec-websocket-key"]) == 24
        if f.get("x-no"):
            c.send(answer(b"no", status=b"403 Forbidden"))
            return
        c.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
        while True:
            data = c.take(4)
            c.send(data * 2)
            if data == b"last":
                return
    app = App(talk)
    start(worker, app)
    c = Client(worker, "a.test")
    s = c.begin("/ws", "CONNECT", [("sec-websocket-version", "13")], False, protocol="websocket")
    a = c.streams.setdefault(s, h2.Answer())
    c.wait(lambda: a.head)
    assert a.status == 200 and not a.ended and a.get("sec-websocket-accept") is None and a.get("upgrade") is None
    for word in (b"abcd", b"last"):
        c.send(c.data(s, word))
        c.wait(lambda: a.data.endswith(word * 2))
    c.wait(lambda: a.ended or a.reset is not None)
    s = c.begin("/ws", "CONNECT", [("x-no", "1")], False, protocol="websocket")
    assert c.answer(s).status == 403
    assert not app.errors, app.errors


def test_draining(worker):
    gate = threading.Event()

    def talk(c, _):
        while True:
            c.head()
            gate.wait(WAIT)
            c.send(answer(b"late"))
    start(worker, App(talk))
    busy, idle = Client(worker, "a.test"), Client(worker, "a.test")
    s = busy.begin()
    idle.wait(lambda: idle.settings)
    worker.tell("drain 20000")
    busy.wait(lambda: busy.goaway)
    assert busy.goaway == (0x7fffffff, NO_ERROR)
    # What was on its way is still served.
    s2 = busy.begin()
    busy.wait(lambda: busy.goaway[0] < 0x7fffffff)
    assert busy.goaway == (s2, NO_ERROR)
    gate.set()
    assert busy.answer(s).data == b"late" and busy.answer(s2).data == b"late"
    busy.until_end()
    idle.until_end()
    worker.expect("drain over")


def test_an_instance_that_goes(worker):
    app = App(lambda c, n: (c.head(), time.sleep(WAIT)))
    start(worker, app)
    c = Client(worker, "a.test")
    s = c.begin(method="POST", more=[("content-length", "0")])
    until("it is there", lambda: app.connections and app.connections[0].seen)
    worker.tell(f"instdel {app.id}")
    assert c.answer(s).status == 502


def test_bad_beginnings(worker):
    start(worker, serve())
    for first in (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", h2.PREFACE + frame(PING, 0, 0, bytes(8)), h2.PREFACE + frame(SETTINGS, 0, 0, b"123"),
                  h2.PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 2, b"\x82"),
                  h2.PREFACE + frame(SETTINGS, 0, 0) + frame(DATA, 0, 1, b"x"), h2.PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff")):
        c = dial(worker, "a.test", context(("h2",)), data=first)
        assert c.ended() or c.ended() or c.rest() is not None
        c.close()
    until("all gone", lambda: worker.figures("worker")["connections"] == 0)


def test_idle_sessions_are_small(worker):
    start(worker, serve())
    if worker.sanitized:
        return
    warm = [Client(worker, "a.test") for _ in range(50)]
    for c in warm:
        assert c.get().status == 200
    before = worker.rss_kib()
    more = [Client(worker, "a.test") for _ in range(200)]
    for c in more:
        assert c.get().status == 200
    each = (worker.rss_kib() - before) / 200
    assert each < 40, each


def test_other_clients(worker):
    """nghttp and curl are no scripts of ours."""
    start(worker, serve(b"hello"))
    give(worker, 0, "node.test", kind="default")
    at = f"https://a.test:{worker.tls_port}/"
    out = subprocess.run(["curl", "-sk", "--http2", "--resolve", f"a.test:{worker.tls_port}:127.0.0.1", "-w", " %{http_version}", at], capture_output=True,
                         text=True, timeout=WAIT, check=True).stdout
    assert out == "hello 2"
    out = subprocess.run(["h2load", "-n", "2000", "-c", "4", "-m", "100", "-H", ":authority: a.test", f"https://127.0.0.1:{worker.tls_port}/"], capture_output=True,
                         text=True, timeout=30, check=True).stdout
    assert "2000 succeeded, 0 failed" in out, out
