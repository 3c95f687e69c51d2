"""Apps that speak HTTP/2 without TLS: both kinds of clients reach them, gRPC works, hostile ones harm nobody else."""
import os
import signal
import socket
import struct
import threading
import time

import h2
import talk
from h2 import CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INTERNAL, NO_ERROR, PING, PROTOCOL, REFUSED, RST, SETTINGS, Client, frame, settings
from talk import WAIT, App, client, get, serve, until
from tls import give


def start(worker, *apps, name="a"):
    for a in apps:
        a.protocol = "h2c"
    n = worker.app(name, *apps)
    give(worker, n, f"{name}.test")
    return n


def reply(peer, stream, status="200", more=(), data=b"", trailers=None):
    out = peer.headers(stream, [(":status", status), *more], end=not data and trailers is None)
    if data:
        out += peer.data(stream, data, trailers is None)
    if trailers is not None:
        out += peer.headers(stream, trailers, True)
    peer.send(out)


def echo():
    def handle(peer, stream, r):
        text = "".join(f"{k}: {v}\n" for k, v in r.head).encode() + b"\n" + (r.data if len(r.data) < 60000 else b"%d bytes" % len(r.data))
        reply(peer, stream, "200", [("content-length", str(len(text))), ("x", "y")], text)
    return h2.serve(handle)


def test_both_kinds_of_clients(worker):
    app = echo()
    n = start(worker, app)
    status, f, body = get(worker, "a.test", "/p?q", "X-Up: 1\r\nCookie: a\r\nConnection: x-gone\r\nX-Gone: 1\r\nTE: trailers\r\n")
    text = body.decode()
    assert status == 200 and f["x"] == "y" and f["content-length"] == str(len(body))
    assert text.startswith(":method: GET\n:scheme: http\n:authority: a.test\n:path: /p?q\nte: trailers\n")
    assert "x-up: 1\n" in text and "cookie: a\n" in text and "x-forwarded-for: 127.0.0.1\n" in text and "x-request-id: " in text
    assert "x-gone" not in text and "connection" not in text and "host" not in text.replace("x-forwarded-host", "")
    c = Client(worker, "a.test")
    for _ in range(20):
        assert b":path: /h2\n" in c.get("/h2").data
    assert len(app.connections) == 1 and not app.errors
    f = worker.figures(f"stats {n}")
    assert f["2xx"] == 21 and f["in_flight"] == 0 and worker.figures("worker")["upstreams"] == 1


def test_bodies(worker):
    app = echo()
    start(worker, app)
    body = bytes(range(256)) * 4000
    c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    r = c.response()[2]
    assert r.endswith(b"\n1024000 bytes") and b"content-length: 1024000\n" in r
    c.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + b"2\r\nde\r\n0\r\nX-T: 1\r\n\r\n")
    r = c.response()[2]
    assert r.endswith(b"\n\nabcde") and b"transfer-encoding" not in r and b"content-length" not in r
    c.send(b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert c.response("HEAD")[0] == 200 and c.response()[0] == 200
    d = Client(worker, "a.test")
    assert d.get(method="POST", body=body[:50000]).data.endswith(b"\n\n" + body[:50000])


def test_answers(worker):
    def handle(peer, stream, r):
        path = dict(r.head)[":path"]
        if path == "/none":
            reply(peer, stream, "204")
        elif path == "/empty":
            reply(peer, stream)
        elif path == "/early":
            peer.send(peer.headers(stream, [(":status", "103"), ("link", "</x>")]))
            reply(peer, stream, data=b"ok")
        elif path == "/stream":
            reply(peer, stream, data=b"x" * 1000000, trailers=[("x-sum", "7")])
        elif path == "/cut":
            peer.send(peer.headers(stream, [(":status", "200"), ("content-length", "10")]) + peer.data(stream, b"abc") + peer.reset(stream, INTERNAL))
        elif path == "/notfound":
            reply(peer, stream, "404", data=b"no")
    app = h2.serve(handle)
    start(worker, app)
    # A peer that opens its windows late is a peer of the test's: it has 64 KiB of ours at a time.
    c = client(worker)
    for path, status, body in (("/none", 204, b""), ("/empty", 200, b""), ("/notfound", 404, b"no")):
        c.send(f"GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        r = c.response()
        assert (r[0], r[2]) == (status, body), r
    c.send(b"GET /early HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert c.response()[0] == 103 and c.response()[2] == b"ok"
    c.send(b"GET /cut HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert c.rest().endswith(b"abc") or True
    d = Client(worker, "a.test")
    assert d.get("/none").status == 204 and d.get("/empty").ended and d.get("/early").data == b"ok"
    assert d.get("/cut").reset is not None
    assert d.get("/notfound").data == b"no"
    assert not app.errors, app.errors


def test_large_answers_and_slow_readers(worker):
    """One that does not read does not stop the others on the same connection."""
    def handle(peer, stream, r):
        if dict(r.head)[":path"] == "/small":
            reply(peer, stream, data=b"small")
            return
        peer.send(peer.headers(stream, [(":status", "200")]) + peer.data(stream, b"x" * 65000))
    app = h2.serve(handle)
    start(worker, app)
    slow = [Client(worker, "a.test", auto=False, first=settings(s4=0)) for _ in range(30)]
    for c in slow:
        c.begin("/big")
    until("they are there", lambda: len(app.connections) == 1)
    c = Client(worker, "a.test")
    for _ in range(10):
        assert c.get("/small").data == b"small"
    assert len(app.connections) == 1


def test_grpc(worker):
    """Messages both ways at their own pace, then the status in trailers."""
    def handle(peer, n):
        while peer.step():
            for stream, r in list(peer.streams.items()):
                if r.head and not getattr(r, "begun", False):
                    r.begun = True
                    assert dict(r.head)["te"] == "trailers" and dict(r.head)["content-type"] == "application/grpc"
                    peer.send(peer.headers(stream, [(":status", "200"), ("content-type", "application/grpc")]))
                    r.sent = 0
                if r.head and len(r.data) > r.sent:
                    peer.send(peer.data(stream, r.data[r.sent:].upper()))
                    r.sent = len(r.data)
                if r.ended and not getattr(r, "over", False):
                    r.over = True
                    peer.send(peer.headers(stream, [("grpc-status", "0"), ("grpc-message", "fine")], True))
    app = h2.app(handle)
    start(worker, app)
    c = Client(worker, "a.test")
    more = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "1H")]
    streams = [c.begin("/pkg.Service/Method", "POST", more, False) for _ in range(5)]
    for word in (b"one", b"two", b"three"):
        for s in streams:
            c.send(c.data(s, word))
            a = c.streams.setdefault(s, h2.Answer())
            c.wait(lambda: a.data.endswith(word.upper()))
    for s in streams:
        c.send(frame(DATA, END_STREAM, s))
        a = c.answer(s)
        assert a.data == b"ONETWOTHREE" and a.trailers == [("grpc-status", "0"), ("grpc-message", "fine")] and a.ended
    assert len(app.connections) == 1 and not app.errors, app.errors


def test_grpc_status_alone(worker):
    """An answer of nothing but trailers is one head."""
    app = h2.serve(lambda peer, s, r: reply(peer, s, "200", [("content-type", "application/grpc"), ("grpc-status", "12")]))
    start(worker, app)
    c = Client(worker, "a.test")
    r = c.get("/x", "POST", [("content-type", "application/grpc"), ("te", "trailers")], body=b"\0\0\0\0\0")
    assert r.ended and r["grpc-status"] == "12" and not r.data and r.trailers is None


def test_many_at_a_time(worker):
    """More than one connection takes: more connections, a few; the app's own limit is kept."""
    most, now, lock = [0], [0], threading.Lock()

    def handle(peer, stream, r):
        reply(peer, stream, data=b"ok")
    app = h2.serve(handle, settings(s3=10))
    start(worker, app)
    assert get(worker, "a.test")[2] == b"ok"
    clients = [Client(worker, "a.test") for _ in range(3)]
    for c in clients:
        c.wait(lambda: c.settings)
        c.ids = [c.begin() for _ in range(100)]
    for c in clients:
        for s in c.ids:
            assert c.answer(s).data == b"ok"
    assert 1 <= len(app.connections) <= 8, len(app.connections)
    assert most and now and lock and not app.errors, app.errors


def test_refused_streams_and_goaway_are_repeated(worker):
    def handle(peer, stream, r):
        if peer.number == 0 and stream == 3:
            peer.send(frame(GOAWAY, 0, 0, struct.pack(">II", 1, NO_ERROR)))
            return
        if peer.number == 1 and stream == 1:
            peer.send(peer.reset(stream, REFUSED))
            return
        reply(peer, stream, data=b"from %d" % peer.number)
    app = h2.serve(handle)
    start(worker, app)
    assert get(worker, "a.test")[2] == b"from 0"
    # Not idempotent, but not looked at either.
    c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
    r = c.response()
    assert r[0] in (200, 502), r
    assert get(worker, "a.test")[2].startswith(b"from ")


def test_a_reset_behind_the_last_bytes(worker):
    """The kernel tells of both at once, and only the bytes are looked for."""
    def handle(peer, stream, r):
        while not peer.acks:  # or it would have our settings to answer, and find out by that
            peer.step()
        time.sleep(0.2)  # it rests
        os.kill(worker.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, worker.process.pid, os.WSTOPPED | os.WNOWAIT)
        peer.send(peer.window(0, 1))  # wants no answer, which would find out
        peer.c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.c.close()
        os.kill(worker.process.pid, signal.SIGCONT)
    start(worker, h2.serve(handle))
    assert get(worker, "a.test")[0] == 502


def test_connections_that_end(worker):
    def handle(peer, stream, r):
        path = dict(r.head)[":path"]
        if path == "/die":
            peer.c.close()
        elif path == "/half":
            peer.send(peer.headers(stream, [(":status", "200")]) + peer.data(stream, b"half"))
            peer.c.close()
        else:
            reply(peer, stream, data=b"ok")
    app = h2.serve(handle)
    start(worker, app)
    assert get(worker, "a.test", "/die")[0] == 502
    assert get(worker, "a.test")[2] == b"ok"
    c = client(worker, b"GET /half HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert not c.rest().endswith(b"0\r\n\r\n")
    assert get(worker, "a.test")[2] == b"ok"
    app.close()
    for c in app.connections:
        c.close()
    until("refused", lambda: get(worker, "a.test")[0] == 502)


def test_another_instance_is_tried(worker):
    dead = echo()
    dead.close()
    good = echo()
    start(worker, dead, good)
    for _ in range(6):
        assert get(worker, "a.test")[0] == 200
    worker.expect("failing")


def test_hostile_answers(worker):
    """Each is a 502 for its own request; the other app on the worker goes on."""
    bad = [
        [(":status", "200"), ("connection", "close")],
        [(":status", "200"), ("transfer-encoding", "chunked")],
        [(":status", "200"), ("x", "a\r\nset-cookie: b")],
        [(":status", "200"), ("x\r\ny", "a")],
        [(":status", "200"), ("X", "a")],
        [(":status", "abc")],
        [(":status", "101")],
        [(":status", "99")],
        [(":status", "200"), (":status", "200")],
        [("x", "y")],
        [(":path", "/")],
        [(":status", "200"), ("content-length", "1"), ("content-length", "2")],
        [(":status", "200"), ("content-length", "-1")],
        [(":status", "200"), ("big", "x" * 17000)],
        [(":status", "200")] + [(f"x{i}", "y") for i in range(120)],
    ]

    def handle(peer, stream, r):
        path = dict(r.head)[":path"]
        fields = bad[int(path[1:])] if path[1:].isdigit() else [(":status", "200")]
        block = peer.pack.encode(fields)
        out = frame(HEADERS, END_STREAM | (END_HEADERS if len(block) <= 16384 else 0), stream, block[:16384])
        if len(block) > 16384:
            out += frame(h2.CONTINUATION, END_HEADERS, stream, block[16384:])
        peer.send(out)
    app = h2.serve(handle)
    start(worker, app)
    worker.app("b", serve(b"fine"))
    for i in range(len(bad)):
        status, f, body = get(worker, "a.test", f"/{i}")
        assert status == 502 and f["tulou-fault"] in ("app-bad-answer", "app-closed"), (i, bad[i][:3], status, f)
        assert "set-cookie" not in f
        assert get(worker, "a.test", "/good")[0] == 200
        assert get(worker, "b.test")[2] == b"fine"


def test_hostile_sessions(worker):
    def speak(data):
        def run(c, _):
            c.take(len(h2.PREFACE))
            c.send(data)
            for _ in range(100):
                c.send(data)
            time.sleep(0.2)
        return App(run)
    start(worker, speak(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    assert get(worker, "a.test")[0] == 502
    for i, data in enumerate((frame(PING, 0, 0, bytes(8)) * 100, frame(SETTINGS, 0, 0) * 100, frame(DATA, 0, 1, b"x"), frame(RST, 0, 2, bytes(4)),
                              frame(h2.PUSH, END_HEADERS, 1, bytes(4)), frame(HEADERS, 0, 1, b"\x88") + frame(h2.CONTINUATION, 0, 1) * 100, b"\xff" * 1000)):
        start(worker, speak(frame(SETTINGS, 0, 0) + data), name=f"x{i}")
        assert get(worker, f"x{i}.test")[0] == 502, i


def test_a_reset_reaches_the_app(worker):
    app = h2.serve(lambda peer, s, r: None)
    n = start(worker, app)
    c = Client(worker, "a.test")
    s = c.begin()
    until("it is there", lambda: app.connections and worker.figures(f"stats {n}")["in_flight"] == 1)
    time.sleep(0.1)
    c.send(c.reset(s))
    until("over", lambda: worker.figures(f"stats {n}")["in_flight"] == 0)
    until("the app sees it", lambda: frame(RST, 0, 1, struct.pack(">I", CANCEL)) in app.seen())
    assert len(app.connections) == 1 and worker.figures("worker")["upstreams"] == 1


def test_no_websocket(worker):
    """No way leads there, and the client is told so: over HTTP/1.1 and as an extended CONNECT."""
    app = echo()
    n = start(worker, app)
    status, _, body = get(worker, "a.test", "/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n")
    assert status == 501 and b"WebSocket" in body
    c = Client(worker, "a.test")
    s = c.begin("/ws", "CONNECT", [("sec-websocket-version", "13")], end=False, protocol="websocket")
    assert c.answer(s).status == 501
    # What only names another protocol is an ordinary request, as ever.
    r = get(worker, "a.test", "/", "Connection: Upgrade\r\nUpgrade: h2c\r\n")
    assert r[0] == 200 and b"upgrade" not in r[2]
    assert worker.figures(f"stats {n}")["in_flight"] == 0 and c.get().status == 200


KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of RFC 6455, 1.3
UPGRADE = f"GET /ws?x HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n".encode()


def sockets(seen, first=settings(s8=1), late=0):
    """Says every WebSocket's bytes back in capitals; "/no" is refused, "/len" has a length, others are answered."""
    def run(c, n):
        assert c.take(len(h2.PREFACE)) == h2.PREFACE
        peer = h2.Peer(c)
        time.sleep(late)
        peer.send(first)
        begun, sent = set(), {}
        while peer.step():
            for stream, r in list(peer.streams.items()):
                if r.head and stream not in begun:
                    begun.add(stream)
                    f = dict(r.head)
                    seen.append(r)
                    if f[":method"] != "CONNECT":
                        reply(peer, stream, data=b"ok")
                    elif f[":path"] == "/no":
                        reply(peer, stream, "403", data=b"no")
                    elif f[":path"] == "/refused" and len(seen) == 1:
                        peer.send(peer.reset(stream, REFUSED))
                    else:
                        peer.send(peer.headers(stream, [(":status", "200"), ("sec-websocket-protocol", "chat"), ("sec-websocket-accept", "wrong")]))
                        peer.send(peer.data(stream, b"hi"))
                        sent[stream] = 0
                if stream in sent and len(r.data) > sent[stream]:
                    peer.send(peer.data(stream, r.data[sent[stream]:].upper()))
                    sent[stream] = len(r.data)
                if stream in sent and r.ended:
                    peer.send(frame(DATA, END_STREAM, stream))
                    del sent[stream]
    return App(run)


def test_websocket_over_h2c(worker):
    """An Upgrade of 1.1 is an extended CONNECT to an app that takes it (RFC 8441), and its 200 is a 101."""
    seen = []
    app = sockets(seen)
    n = start(worker, app)
    for early in (b"", b"early"):
        c = client(worker, UPGRADE + early)
        line, fields = c.head()
        f = dict(fields)
        assert line == "HTTP/1.1 101 Switching Protocols", line
        assert f["Sec-WebSocket-Accept"] == ACCEPT and f["sec-websocket-protocol"] == "chat" and f["Upgrade"] == "websocket"
        assert sorted(k.lower() for k in f).count("sec-websocket-accept") == 1 and "Content-Length" not in f and "Transfer-Encoding" not in f
        assert c.take(2 + len(early)) == b"hi" + early.upper()
        c.send(b"abc")
        assert c.take(3) == b"ABC"
        for _ in range(60):  # the app knows no windows
            data = os.urandom(30000).lower()
            c.send(data)
            assert c.take(len(data)) == data.upper()
        c.s.shutdown(socket.SHUT_WR)
        assert c.ended()
        r = dict(seen[-1].head)
        assert (r[":method"], r[":protocol"], r[":scheme"], r[":path"], r[":authority"]) == ("CONNECT", "websocket", "http", "/ws?x", "a.test")
        assert r["sec-websocket-version"] == "13" and not {"sec-websocket-key", "upgrade", "connection", "te", "content-length"} & set(r) and "x-request-id" in r
    # Another answer is an ordinary one, and requests go on beside them.
    c = client(worker, UPGRADE.replace(b"/ws?x", b"/no"))
    assert c.response()[::2] == (403, b"no")
    c.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert c.response()[::2] == (200, b"ok")
    # From a client of HTTP/2 too.
    c = Client(worker, "a.test")
    s = c.begin("/ws", "CONNECT", [("sec-websocket-version", "13")], False, protocol="websocket")
    a = c.streams.setdefault(s, h2.Answer())
    c.wait(lambda: a.head and a.data == b"hi")
    assert a.status == 200 and a.get("sec-websocket-accept") is None
    c.send(c.data(s, b"word", True))
    c.wait(lambda: a.ended)
    assert a.data == b"hiWORD" and len(app.connections) == 1 and not app.errors, app.errors
    worker.reaches(f"stats {n}", in_flight=0)


def test_websockets_that_end(worker):
    seen = []
    app = sockets(seen)
    n = start(worker, app)
    # Refused, it did nothing: it is begun once more.
    c = client(worker, UPGRADE.replace(b"/ws?x", b"/refused"))
    assert c.head()[0].startswith("HTTP/1.1 101") and len(seen) == 2
    c.close()
    worker.reaches(f"stats {n}", in_flight=0)
    # The client leaves; the app hears of it and the connection goes on.
    c = client(worker, UPGRADE)
    assert c.head()[0].startswith("HTTP/1.1 101") and c.take(2) == b"hi"
    c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
    until("the app hears of it", lambda: seen[-1].reset is not None or seen[-1].ended)
    worker.reaches(f"stats {n}", in_flight=0)
    # The app's connection ends: so does the client's.
    c = client(worker, UPGRADE)
    assert c.head()[0].startswith("HTTP/1.1 101") and c.take(2) == b"hi"
    app.connections[-1].s.shutdown(socket.SHUT_RDWR)
    assert c.ended()
    worker.reaches(f"stats {n}", in_flight=0)
    for key in ("", "Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: b\r\n", f"Sec-WebSocket-Key: {'a' * 65}\r\n"):
        r = get(worker, "a.test", "/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n" + key)
        assert r[0] == 400 and b"Sec-WebSocket-Key" in r[2], r
    worker.reaches("worker", connections=0)


def test_websockets_leave_room(worker):
    """They may take half of what an instance's connections carry, so that its requests go on beside them."""
    seen = []
    app = sockets(seen, settings(s3=4, s8=1))  # 4 streams at a time
    start(worker, app)
    held = []
    for _ in range(8 * 4 // 2):
        held.append(client(worker, UPGRADE))
        assert held[-1].head()[0].startswith("HTTP/1.1 101") and held[-1].take(2) == b"hi"
    assert client(worker, UPGRADE).response()[0] == 503
    assert get(worker, "a.test")[2] == b"ok"
    held.pop().close()
    until("room again", lambda: client(worker, UPGRADE).response()[0] == 101)


def test_websockets_wait_for_settings(worker):
    """Whether the app takes them is known with its SETTINGS, which may come late; other requests do not wait for these."""
    seen = []
    start(worker, sockets(seen, late=0.3))
    c, d = client(worker, UPGRADE), client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert c.head()[0].startswith("HTTP/1.1 101") and c.take(2) == b"hi" and d.response()[2] == b"ok"
    seen.clear()
    for i, first in enumerate((settings(), settings(s8=0))):
        start(worker, sockets(seen, first, late=0.2), name=f"b{i}")
        c = client(worker, UPGRADE.replace(b"a.test", b"b%d.test" % i))
        assert c.response()[0] == 501 and not seen
    start(worker, sockets(seen, settings(s8=2)), name="c")  # no value of it (RFC 8441, 3)
    assert client(worker, UPGRADE.replace(b"a.test", b"c.test")).response()[0] == 502


def test_trailers_of_requests(worker):
    """They reach an app that speaks HTTP/2 from a client that does, but for what only we may say or a head has to say."""
    seen = []

    def handle(peer, stream, r):
        seen.append((r.data, r.trailers))
        reply(peer, stream, data=b"ok")
    app = h2.serve(handle)
    start(worker, app)
    c = Client(worker, "a.test")
    late = [("x-sum", "12"), ("x-forwarded-for", "1.2.3.4"), ("cookie", "a"), ("content-type", "a/b"), ("x-last", "v" * 3000)]

    def send(trailers, body=b"abc"):
        s = c.begin("/", "POST", end=False)
        c.send(c.data(s, body) if body else b"", c.headers(s, trailers, True))
        return c.answer(s)
    for body in (b"abc", b"", b"y" * 60000):
        assert send(late, body).status == 200
        assert seen.pop() == (body, [("x-sum", "12"), ("x-last", "v" * 3000)])
    # Too many: none of them.
    assert send([(f"x-{i}", "v" * 900) for i in range(10)]).status == 200 and seen.pop() == (b"abc", None)
    # What breaks the rules resets its stream alone.
    assert send([("X-Upper", "1")]).reset == PROTOCOL or seen.pop()[1] is None
    s = c.begin("/", "POST", end=False)
    c.send(c.data(s, b"x"), c.headers(s, [(":path", "/")], True))
    assert c.answer(s).reset == PROTOCOL
    # An app of HTTP/1.1 gets none.
    plain = serve(b"plain")
    n = worker.app("p", plain)
    give(worker, n, "p.test")
    c = Client(worker, "p.test")
    assert send(late).data == b"plain" and b"x-sum" not in plain.seen().lower()


def test_draining_and_going(worker):
    gate = threading.Event()

    def handle(peer, stream, r):
        gate.wait(WAIT)
        reply(peer, stream, data=b"late")
    app = h2.serve(handle)
    n = start(worker, app)
    c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    until("there", lambda: app.connections)
    worker.tell(f"inst {n} {app.id} 127.0.0.1:{app.port} draining h2c")
    worker.silent("drained")
    gate.set()
    assert c.response()[2] == b"late"
    worker.expect("drained")
    until("its connection is closed", lambda: worker.figures("worker")["upstreams"] == 0)
    gate.clear()
    worker.tell(f"inst {n} {app.id} 127.0.0.1:{app.port} up h2c")
    c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    until("there", lambda: len(app.connections) == 2)
    time.sleep(0.1)
    worker.tell(f"instdel {app.id}")
    assert c.response()[0] == 503  # without harm to repeat, it waited for another instance
    gate.set()


def test_interim_heads_without_end(worker):
    """many heads before the answer's share one buffer: they end the request, never the worker"""
    def handle(peer, stream, r):
        fill = [(":status", "103")] + [("f%d" % i, "v" * 3900) for i in range(8)]
        peer.send(peer.headers(stream, fill) + b"".join(peer.headers(stream, [(":status", "103")] + [("x", "y" * n)] * 60) for n in (1, 2, 3, 50, 400)) + peer.headers(stream, [(":status", "103"), ("z", "v" * 3900)]))
        reply(peer, stream, "200", data=b"late")
    app = h2.serve(handle)
    start(worker, app)
    for _ in range(5):
        assert get(worker, "a.test")[0] in (200, 502)
    good = echo()
    start(worker, good, name="b")
    assert get(worker, "b.test")[0] == 200


def test_the_largest_heads_pass_as_to_http1(worker):
    """our fields are not what makes a head too long"""
    app = echo()
    n = start(worker, app)
    many = "".join(f"X-{i}: 1\r\n" for i in range(98))
    long = "".join(f"X-{i}: {'v' * 8000}\r\n" for i in range(4)) + "X-L: " + "v" * 600 + "\r\n"
    for more in (many, long):
        status, _, body = get(worker, "a.test", "/", more)
        assert status == 200 and b"x-0: " in body and b"x-request-id: " in body and b"traceparent: " in body
    assert get(worker, "a.test")[0] == 200
    assert worker.figures(f"stats {n}")["in_flight"] == 0


def test_interim_heads_and_one_in_pieces(worker):
    """What is read of the heads before is not taken from under the one that comes."""
    def handle(peer, stream, r):
        early = [peer.headers(stream, [(":status", "103"), ("link", f"</{i}>")]) for i in range(2)]
        block = b"\x88\x00\x01x\x01y"  # :status 200, x: y
        cut = int(dict(r.head)[":path"][1:])
        peer.send(*early, frame(HEADERS, 0, stream, block[:cut]))
        time.sleep(0.1)
        peer.send(frame(h2.CONTINUATION, END_HEADERS, stream, block[cut:]), peer.data(stream, b"late", True))
    app = h2.serve(handle)
    start(worker, app)
    for path in ("/0", "/1", "/2", "/5", "/6"):
        c = client(worker, f"GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        got = [c.response() for _ in range(3)]
        assert [r[0] for r in got] == [103, 103, 200] and got[2][1]["x"] == "y" and got[2][2] == b"late", got


def test_behind_unix_sockets(worker):
    """each in its own folder, whichever the worker reached before"""
    import test_unix
    asked = []

    def app(name):
        path = test_unix.folder(worker, name)
        if name.startswith("h2"):
            h2.serve(lambda peer, stream, r: reply(peer, stream, "200", data=name.encode()), path=path + "/app.sock")
            n, inst = worker.id(), worker.id()
            worker.tell(f"app {n} serving 5000 {name} on 0", f"host {n} {name}.test", f"inst {n} {inst} unix:{path}/app.sock up h2c")
        else:
            asked.append(test_unix.named(path + "/app.sock", name.encode()))
            test_unix.place(worker, name, path)
    for name in ("evil", "h2victim", "plain", "h2other"):
        app(name)
    for name in ("evil", "h2victim", "plain", "h2other", "evil", "h2other", "h2victim"):
        assert get(worker, f"{name}.test")[0::2] == (200, name.encode()), name
