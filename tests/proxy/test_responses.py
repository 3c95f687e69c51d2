"""Answers of apps, friendly and hostile."""
import hashlib
import json
import socket
import threading
import time

import talk

from talk import App, answer, client, get, script, serve, until

REQ = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"

BAD = [
    b"garbage\r\n\r\n",
    b"\0" * 50,
    b"SSH-2.0-OpenSSH_9\r\n",
    b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 O\x07K\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: y\r\n folded\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: a\rb\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40000 + b"\r\n\r\n",
    b"HTTP/1.1 200 " + b"y" * 9000 + b"\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"",
    b"HTTP/1.1 200 OK\r\nContent-",
]


def test_malformed_answers_are_ours_to_explain(worker):
    for data in BAD:
        app = script(data)
        n = worker.app("a", app)
        c = client(worker, REQ)
        status, fields, body = c.response()
        while status == 103:
            status, fields, body = c.response()
        assert status == 502, (data[:60], status)
        assert b"The app" in body and fields["tulou-fault"] in ("app-bad-answer", "app-closed"), data[:60]
        # The client is not to blame: its connection lives on.
        c.send(REQ)
        assert c.response()[0] in (502, 103), data[:60]
        c.close()
        worker.tell(f"appdel {n}")
        app.close()


def test_answers_pass_in_every_framing(worker):
    big = bytes(range(256)) * 3000
    cases = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nT: x\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", 200, b"old"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", 500, b"no"),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: x\r\n\r\n", 304, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(big) + big, 200, big),
        (b"HTTP/1.1 200 OK\r\n\r\n" + big, 200, big),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(big) + big + b"\r\n0\r\n\r\n", 200, big),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 16000 + b"\r\nY: " + b"y" * 15000 + b"\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    ]
    for data, want, body in cases:
        for minor in (1, 0):
            app = script(data)
            n = worker.app("a", app)
            c = client(worker, b"GET / HTTP/1.%d\r\nHost: a.test\r\n\r\n" % minor)
            status, fields, got = c.response()
            assert (status, got) == (want, body), (minor, data[:80], status, got[:80])
            assert "content-length" not in fields or "transfer-encoding" not in fields
            if minor == 0:
                assert "transfer-encoding" not in fields and fields["connection"] == "close"
            else:
                assert "connection" not in fields, fields
            c.close()
            worker.tell(f"appdel {n}")
            app.close()


def test_every_cut_of_an_answer_parses_the_same(worker):
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"

    def cut(c, n):
        c.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c.head()
        c.send(data[:n + 1])
        time.sleep(0.002)
        c.send(data[n + 1:])
    worker.app("a", App(cut))
    for _ in range(len(data)):
        assert get(worker, "a.test")[2] == b"hello world"


def test_head_has_no_body_but_its_length(worker):
    app = App(lambda c, _: [(c.head(), c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")) for _ in range(2)])
    worker.app("a", app)
    c = client(worker, b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    status, fields, _ = c.response("HEAD")
    assert (status, fields["content-length"]) == (200, "500")
    c.send(b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert c.response("HEAD")[0] == 200
    assert len(app.connections) == 1
    c.send(b"HEAD / HTTP/1.1\r\nHost: x.test\r\n\r\n" + b"GET / HTTP/1.1\r\nHost: x.test\r\n\r\n")
    assert c.response("HEAD")[0] == 404 and c.response()[0] == 404


def test_fields_of_the_hop_are_dropped(worker):
    worker.app("a", script(b"HTTP/1.1 200 OK\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: h2\r\n"
                           b"Trailer: x\r\nProxy-Authenticate: x\r\nSet-Cookie: a_b=c\r\nX_Y: 1\r\nContent-Length: 2\r\n\r\nok"))
    _, fields, _ = get(worker, "a.test")
    assert sorted(fields) == ["content-length", "set-cookie", "x-request-id", "x_y"], fields


def test_early_hints_pass_to_those_who_know_them(worker):
    worker.app("a", script(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer()))
    c = client(worker, REQ)
    status, fields, _ = c.response()
    assert (status, fields["link"]) == (103, "</x>") and c.response()[0] == 200
    assert client(worker, REQ.replace(b"1.1", b"1.0")).response()[0] == 200


def test_connections_are_used_again(worker):
    app = serve()
    worker.app("a", app)
    c = client(worker)
    for _ in range(20):
        c.send(REQ)
        assert c.response()[0] == 200
    assert len(app.connections) == 1


def test_surplus_bytes_close_the_connection(worker):
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    for first in (answer() + evil, b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n" + evil,
                  b"HTTP/1.1 304 No\r\n\r\n" + evil,
                  b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + evil):
        app = App(lambda c, n, data=first: (c.head(), c.send(data if n == 0 else answer(b"good")), c.rest()))
        n = worker.app("a", app)
        c = client(worker, REQ)
        assert c.response()[2] != b"evil"
        c.send(REQ)
        assert c.response()[2] == b"good"
        worker.tell(f"appdel {n}")
        app.close()


def test_late_surplus_closes_the_idle_connection(worker):
    def late(c, n):
        c.head()
        c.send(answer())
        if n == 0:
            time.sleep(0.1)
            c.send(answer(b"evil"))
            c.rest()
    app = App(late)
    worker.app("a", app)
    assert get(worker, "a.test")[2] == b"ok"
    until("the idle connection was closed", lambda: app.connections[0].s.fileno() < 0)
    assert get(worker, "a.test")[2] == b"ok" and len(app.connections) == 2


def test_stale_connection_repeats_what_may_be_repeated(worker):
    def once(c, n):
        if n % 2 == 0:
            c.head()
            c.send(answer())
            # The next request on this connection is read and gets no answer.
            c.head()
            return
        c.head()
        c.send(answer(b"again"))
    app = App(once)
    worker.app("a", app)
    for method, status, body in (("GET", 200, b"again"), ("POST", 502, None), ("DELETE", 200, b"again")):
        assert get(worker, "a.test")[2] == b"ok"
        c = client(worker, f"{method} / HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        got, _, text = c.response()
        assert got == status and body in (None, text), (method, got, text)
        if method == "POST":
            assert get(worker, "a.test")[2] == b"again"
    # With a body, never.
    assert get(worker, "a.test")[2] == b"ok"
    assert client(worker, b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi").response()[0] == 502


def test_closed_idle_connection_costs_no_request(worker):
    gone = threading.Event()

    def brief(c, _):
        _, fields = c.head()
        c.body(fields)
        c.send(answer())
        c.close()
        gone.set()
    app = App(brief)
    worker.app("a", app)
    c = client(worker)
    for i in range(50):
        c.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
        assert c.response()[0] == 200, i
        assert gone.wait(talk.WAIT)
        gone.clear()


def test_cut_answers_are_seen_to_be_cut(worker):
    worker.app("a", script(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"))
    c = client(worker, REQ)
    assert c.head()[0] == "HTTP/1.1 200 OK" and c.rest() == b"half"
    worker.app("b", script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo"))
    c = client(worker, REQ.replace(b"a.", b"b."))
    c.head()
    rest = c.rest()
    assert b"hello" in rest and not rest.endswith(b"0\r\n\r\n"), rest
    def late(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        time.sleep(0.1)
        c.send(b"zz\r\n")
    worker.app("c", App(late))
    c = client(worker, REQ.replace(b"a.", b"c."))
    c.head()
    assert not c.rest().endswith(b"0\r\n\r\n")
    # When nothing of it went out yet, it can still be said.
    worker.app("d", script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"))
    assert get(worker, "d.test")[0] == 502


def test_reset_by_the_app(worker):
    def reset(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        time.sleep(0.05)
        c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    worker.app("a", App(reset))
    c = client(worker, REQ)
    c.head()
    assert c.rest() == b"half"


def test_pieces_arrive_as_they_are_sent(worker):
    go = threading.Event()

    def events(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        go.wait(5)
        c.send(b"data: 2\n\n")
    worker.app("a", App(events))
    c = client(worker, REQ)
    c.head()
    assert c.until(b"\r\n") == b"9\r\n" and c.take(11) == b"data: 1\n\n\r\n"
    go.set()
    assert c.until(b"\r\n") == b"9\r\n" and c.take(11) == b"data: 2\n\n\r\n" and c.take(5) == b"0\r\n\r\n"


def test_slow_reader_holds_the_app_back_and_no_memory(worker):
    size, block = 64 << 20, bytes(range(256)) * 256
    sent = []

    def pour(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(block)):
            c.send(block)
            sent.append(len(block))
    worker.app("a", App(pour))
    before = worker.rss_kib()
    c = client(worker, REQ)
    c.head()
    time.sleep(0.5)
    assert sum(sent) < size // 2, "all was read ahead of the client"
    assert worker.rss_kib() - before < 2000
    digest, got = hashlib.sha256(c.buf), len(c.buf)
    while got < size:
        data = c.s.recv(1 << 20)
        assert data
        digest.update(data)
        got += len(data)
    want = hashlib.sha256(block * (size // len(block)))
    assert digest.digest() == want.digest()


def test_slow_app_holds_the_client_back_and_no_memory(worker):
    size, block = 32 << 20, bytes(range(256)) * 256
    go = threading.Event()

    def sip(c, _):
        c.head()
        go.wait(10)
        digest, got = hashlib.sha256(c.buf), len(c.buf)
        while got < size:
            data = c.s.recv(1 << 20)
            digest.update(data)
            got += len(data)
        c.send(answer(digest.hexdigest().encode()))
    worker.app("a", App(sip))
    before, sent = worker.rss_kib(), []
    c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % size)

    def pour():
        for _ in range(size // len(block)):
            c.send(block)
            sent.append(len(block))
    t = threading.Thread(target=pour)
    t.start()
    time.sleep(0.5)
    assert sum(sent) < size, "all was read ahead of the app"
    assert worker.rss_kib() - before < 2000
    go.set()
    assert c.response()[2].decode() == hashlib.sha256(block * (size // len(block))).hexdigest()
    t.join()


HELLO = (b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"
         b"Sec-WebSocket-Version: 13\r\n\r\n")


def test_websocket_is_tunnelled_after_a_real_101(worker):
    def chat(c, _):
        _, fields = c.head()
        f = dict(fields)
        assert f["Connection"] == "Upgrade" and f["Upgrade"] == "websocket" and f["Sec-WebSocket-Key"] == "x", f
        time.sleep(0.1)
        assert not c.buf, "bytes came before the 101"
        c.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: y\r\n\r\nhi")
        while True:
            data = c.take(5)
            c.send(data[::-1])
    app = App(chat)
    worker.app("a", app)
    c = client(worker, HELLO + b"early")
    line, fields = c.head()
    assert line.startswith("HTTP/1.1 101") and dict(fields)["Sec-WebSocket-Accept"] == "y"
    assert c.take(2) == b"hi" and c.take(5) == b"ylrae"
    c.send(b"\0\r\n\xff\1GET /")
    assert c.take(10) == b"\1\xff\n\r\0/ TEG"
    c.s.shutdown(socket.SHUT_WR)
    assert c.ended()
    assert app.errors == []
    until("nothing is left", lambda: worker.figures("worker")["connections"] == 0)
    assert worker.figures("worker")["upstreams"] == 0


def test_tunnel_carries_much_both_ways(worker):
    size = 8 << 20

    def chat(c, _):
        c.head()
        c.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        while True:
            c.send(c.more())
            if not c.buf:
                return
            c.buf = b""
    worker.app("a", App(chat))
    c = client(worker, HELLO)
    c.head()
    data = bytes(range(256)) * (size // 256)
    t = threading.Thread(target=lambda: c.send(data))
    t.start()
    assert c.take(size) == data
    t.join()


def test_no_tunnel_without_101(worker):
    def deny(c, _):
        while True:
            c.head()
            c.send(answer(b"no", status=b"400 Bad"))
    app = App(deny)
    worker.app("a", app)
    c = client(worker, HELLO + b"GET /second HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert c.response()[0] == 400 and c.response()[0] == 400
    # The second request is one of ours, not bytes through a hole.
    assert app.seen().count(b"X-Forwarded-For") == 2


def test_other_upgrades_are_not_passed_on(worker):
    app = serve()
    worker.app("a", app)
    for data in (HELLO.replace(b"websocket", b"h2c"), HELLO.replace(b"GET", b"POST"), HELLO.replace(b"1.1\r\n", b"1.0\r\n", 1),
                 HELLO.replace(b"websocket", b"websocket, h2c"), HELLO.replace(b"Connection: Upgrade\r\n", b""),
                 HELLO[:-2] + b"Content-Length: 2\r\n\r\nhi"):
        assert client(worker, data).response()[0] == 200
    assert b"pgrade" not in app.seen()


def test_faults_say_who_failed_in_the_form_asked_for(worker):
    n = worker.app("a", state="crashed")
    status, fields, body = get(worker, "a.test", more="Accept: text/html,*/*\r\nX-Request-Id: id-7\r\n")
    assert status == 503 and fields["content-type"].startswith("text/html") and b"keeps crashing" in body and b"id-7" in body
    assert int(fields["retry-after"]) > 0 and fields["x-request-id"] == "id-7"
    status, fields, body = get(worker, "a.test", more="Accept: application/json\r\n")
    problem = json.loads(body)
    assert fields["content-type"] == "application/problem+json" and problem["fault"] == "app-crashed" and problem["status"] == 503
    assert problem["request_id"] == fields["x-request-id"]
    assert get(worker, "a.test")[1]["content-type"].startswith("text/plain")
    worker.tell(f"appdel {n}")
    assert get(worker, "a.test")[0] == 404
