"""Apps that want to reach other requests than the one they were asked: no byte of theirs gets into another answer."""
import contextlib
import os
import random
import re
import signal
import socket
import threading
import time

from talk import App, answer, client, get, script, serve, until

REQ = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nSet-Cookie: evil=1\r\n\r\nevil"


def stopped(worker, *steps):
    """Does the steps while the worker does not run, so that it meets all their results at once, in this order."""
    os.kill(worker.process.pid, signal.SIGSTOP)
    try:
        time.sleep(0.02)
        for step in steps:
            step()
            time.sleep(0.02)
    finally:
        os.kill(worker.process.pid, signal.SIGCONT)


def test_surplus_behind_a_full_read(worker):
    """The answer ends exactly where a read of ours ends, and more of it waits in the socket."""
    for size in (32768, 65536, 16384, 49152, 40960):
        for framing in ("length", "chunked"):
            if framing == "length":
                n = size
                while len(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n) + n > size:
                    n -= 1
                data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n + b"x" * n
            else:
                head, tail = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"\r\n0\r\n\r\n"
                n = size - len(head) - len(tail)
                while len(head) + len(b"%x\r\n" % n) + n + len(tail) > size:
                    n -= 1
                body = b"x" * n
                data = head + b"%x\r\n" % n + body + tail
            if len(data) != size:
                continue  # the length's digits did not allow it

            go = threading.Event()

            def first(c, number, data=data, go=go):
                c.head()
                if number == 0:
                    go.wait(5)
                    c.s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                    c.send(data + EVIL)
                    c.rest()
                while True:
                    c.send(answer(b"good"))
                    c.head()
            app = App(first)
            n = worker.app("a", app)
            c = client(worker, REQ)
            until("the app was asked", lambda a=app: a.connections and a.connections[0].seen.endswith(b"\r\n\r\n"))
            stopped(worker, go.set, lambda: None)  # all of it waits when the worker looks
            assert b"evil" not in c.response()[2]
            for method in (b"GET", b"POST"):
                c.send(REQ.replace(b"GET", method))
                assert c.response()[2] == b"good", (size, framing, method)
            c.close()
            worker.tell(f"appdel {n}")
            app.close()


def cut(c):
    """Its own thread waits in recv: shutting it down makes that close the socket, with a reset."""
    c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    c.s.shutdown(socket.SHUT_RD)


@contextlib.contextmanager
def resting(worker):
    """A client that got its first answer, and the app's end of the connection that now rests; all others of the app are good."""
    rests = []

    def talk(c, n):
        if n == 0:
            c.head()
            c.send(answer(b"first"))
            rests.append(c)
            c.rest()
        while True:
            line, _ = c.head()
            c.send(answer(b"good") if not line.startswith("HEAD") else b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
    app = App(talk)
    n = worker.app("a", app)
    c = client(worker, REQ)
    assert c.response()[2] == b"first"
    until("the connection rests", lambda: rests)
    time.sleep(0.05)
    yield c, rests[0]
    c.close()
    worker.tell(f"appdel {n}")
    app.close()


def unharmed(c, method, *case):
    status, fields, body = c.response(method.decode())
    assert status == 200 and "set-cookie" not in fields and body != b"evil", (method, *case, fields, body)


def test_surplus_that_comes_with_the_next_request(worker):
    """An idle connection says something at the very moment at which it is taken for a request: that is no answer to it."""
    for method, reset in ((b"GET", False), (b"POST", False), (b"HEAD", False), (b"DELETE", False), (b"GET", True), (b"POST", True)):
        with resting(worker) as (c, evil):
            stopped(worker, lambda: c.send(REQ.replace(b"GET", method)), lambda: evil.send(EVIL), *[lambda: cut(evil)] * reset)
            unharmed(c, method, reset)


def test_surplus_in_the_very_turn_of_the_next_request(worker):
    """It comes when the worker has looked at its sockets already, but before it takes the connection for a request."""
    def stall():
        worker.process.stdin.write("stall 300\n")
        worker.process.stdin.flush()

    for method in (b"GET", b"POST", b"HEAD"):
        with resting(worker) as (c, evil):
            stopped(worker, stall, lambda: c.send(REQ.replace(b"GET", method)))
            time.sleep(0.1)
            evil.send(EVIL)
            unharmed(c, method)


def test_a_farewell_on_an_idle_connection_is_no_answer(worker):
    """408 as many servers say it when nothing came: it crosses the next request on the wire (RFC 9110, 15.5.9)."""
    def talk(c, n):
        c.head()
        c.send(answer(b"%d" % n))
        c.head()  # asked again, it had said so before
        c.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    worker.app("a", App(talk))
    c = client(worker)
    for i in range(10):
        c.send(REQ)
        status, _, body = c.response()
        assert status == 200 and body == b"%d" % i
    # What may not be repeated gets the answer that there is, and so does who is told so by a fresh connection.
    c.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
    assert c.response()[0] == 408

    def at_once(c, _):
        c.head()
        c.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    worker.app("b", App(at_once))
    assert get(worker, "b.test")[0] == 408


def test_answers_before_the_question(worker):
    """The app answers as soon as somebody connects, and again when asked: the second never becomes the next one's."""
    def eager(c, n):
        c.send(answer(b"eager %d" % n))
        c.head()
        c.send(answer(b"asked %d" % n))
        c.rest()
    app = App(eager)
    worker.app("a", app)
    c = client(worker)
    for i in range(30):
        c.send(REQ)
        assert c.response()[2] == b"eager %d" % i
        time.sleep(0.02)  # the second answer is there before the next question, or could not be told from its answer
    assert len(app.connections) == 30


def test_bodies_where_none_may_be(worker):
    """HEAD, 204, 304 and 1xx with bodies: those bytes are surplus, whatever the fields say."""
    for method, first in ((b"HEAD", answer(b"evil")), (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n"), (b"GET", b"HTTP/1.1 204 No\r\nContent-Length: 4\r\n\r\nevil"),
                          (b"GET", b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n"), (b"GET", b"HTTP/1.1 304 No\r\nContent-Length: 4\r\n\r\nevil"), (b"GET", b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                          (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(EVIL) + EVIL)):
        app = App(lambda c, n, data=first: (c.head(), c.send(data if n == 0 else answer(b"good")), c.rest()))
        n = worker.app("a", app)
        c = client(worker, REQ.replace(b"GET", method))
        status, fields, body = c.response(method.decode())
        assert status in (200, 204, 304) and body == b"" and "transfer-encoding" not in fields or method == b"HEAD", (method, first, fields)
        c.send(REQ)
        assert c.response()[2] == b"good", first
        c.close()
        worker.tell(f"appdel {n}")
        app.close()
    # An interim answer has no body: its bytes are a bad head.
    for first in (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\nevil" + answer(), b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n" + answer()):
        n = worker.app("a", script(first))
        c = client(worker, REQ)
        status = c.response()[0]
        while status == 103:
            status, fields, _ = c.response()
        assert status == 502, first
        c.close()
        worker.tell(f"appdel {n}")


def test_heads_that_split_or_hide(worker):
    """Whatever could end a head early, or begin a second answer in a client's or a cache's eyes."""
    for line in (b"X: a\nSet-Cookie: evil", b"X: a\r\n\nHTTP/1.1 200 OK", b"X: a\rSet-Cookie: evil", b"X: a\x00b", b"X\x00: a", b"X : a", b" X: a", b"\tX: a", b"X", b": a", b"X: a\r\n b", b"X:\r\n\tb", b"\xffX: a", b"X(: a", b"X: \x1b[2J",
                 b"Content-Length: 2\r\nContent-Length: 2", b"Content-Length: 2, 2", b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"Content-Length: -2", b"Content-Length: +2", b"Content-Length: 0x2", b"Content-Length: 2 2", b"Content-Length:",
                 b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: xchunked", b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding: identity", b"Transfer-Encoding:",
                 b"Content-Length\x00: 2", b"Content-Length : 2", b"Transfer-Encoding : chunked", b"Content-Length: 99999999999999999999"):
        n = worker.app("a", script(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n\r\nok"))
        status, fields, _ = get(worker, "a.test")
        assert status == 502 and "set-cookie" not in fields and fields["tulou-fault"] == "app-bad-answer", line
        worker.tell(f"appdel {n}")
    for start in (b"HTTP/1.1 200\x00OK", b"HTTP/1.1 200\tOK", b"HTTP/1.1\t200 OK", b"HTTP/1.1 200 O\nK", b" HTTP/1.1 200 OK", b"\r\nHTTP/1.1 200 OK", b"http/1.1 200 OK", b"HTTP/1.2 200 OK", b"HTTP/1.10 200 OK", b"HTTP/11 200 OK", b"HTTP/1.1 2 0 OK",
                  b"HTTP/1.1 -200 OK", b"HTTP/1.1 0200 OK", b"HTTP/1.1 200OK", b"ICY 200 OK", b"HTTP/1.1 1e2 OK", b"HTTP/1.1"):
        n = worker.app("a", script(start + b"\r\nContent-Length: 2\r\n\r\nok"))
        assert get(worker, "a.test")[0] == 502, start
        worker.tell(f"appdel {n}")


def test_connection_of_an_answer_names_no_field_of_ours(worker):
    worker.app("a", script(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Content-Length, X-Request-Id, Transfer-Encoding, close, X-Named\r\nX-Named: 1\r\nX-Request-Id: theirs\r\n\r\nok" + EVIL))
    c = client(worker, REQ.replace(b"\r\n\r\n", b"\r\nX-Request-Id: mine\r\n\r\n"))
    status, fields, body = c.response()
    assert (status, body, fields["content-length"], fields["x-request-id"]) == (200, b"ok", "2", "mine") and "x-named" not in fields, fields


def test_switches_nobody_asked_for(worker):
    up = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    asked = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
    for request, first in ((REQ, up + EVIL), (asked.replace(b"websocket", b"h2c"), up), (asked, up.replace(b"websocket", b"h2c")), (asked, up.replace(b"Upgrade: websocket\r\n", b"")), (asked, up.replace(b"Connection: Upgrade\r\n", b"")),
                           (asked.replace(b"GET", b"POST"), up), (REQ, b"HTTP/1.1 103 Early Hints\r\n\r\n" + up)):
        n = worker.app("a", script(first))
        c = client(worker, request)
        status, fields, body = c.response()
        while status == 103:
            status, fields, body = c.response()
        assert status == 502 and b"evil" not in body, (request, first)
        c.close()
        worker.tell(f"appdel {n}")


def test_floods_of_interim_answers(worker):
    """Endless, large and slow ones: bounded in number and bytes, and none outlives its request."""
    for first in (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, b"HTTP/1.1 199 X\r\n\r\n" * 17 + answer(), (b"HTTP/1.1 103 Early Hints\r\nLink: <" + b"x" * 8000 + b">\r\n\r\n") * 17 + answer()):
        n = worker.app("a", script(first))
        c = client(worker, REQ)
        status, got = 103, 0
        while 100 <= status < 200:
            status, fields, _ = c.response()
            got += sum(len(k) + len(v) for k, v in fields.items())
        assert status == 502 and got < 16384, (first[:40], status, got)
        c.close()
        worker.tell(f"appdel {n}")


def test_heads_without_end(worker):
    before = worker.rss_kib()

    def pour(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            c.send(b"X: " + b"y" * 1000 + b"\r\n")
    worker.app("a", App(pour))
    for _ in range(20):
        assert get(worker, "a.test")[0] == 502
    assert worker.sanitized or worker.rss_kib() - before < 2000


def test_an_answer_that_comes_byte_by_byte(worker):
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

    def drip(c, _):
        c.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c.head()
        for i in range(len(data)):
            c.send(data[i:i + 1])
            time.sleep(0.001)
        c.rest()
    worker.app("a", App(drip))
    victim = serve(b"fine")
    worker.app("b", victim)
    slow = [client(worker, REQ) for _ in range(10)]
    for _ in range(10):
        assert get(worker, "b.test")[2] == b"fine"
    for c in slow:
        assert c.response()[2] == b"abc"


def test_an_answer_after_the_client_left(worker):
    """The first client gives up; the late answer to it meets a closed connection, never the next client."""
    go = threading.Event()

    def late(c, n):
        c.head()
        if n == 0:
            go.wait(5)
            c.send(answer(b"for the first"))
            c.rest()
        c.send(answer(b"for the second"))
        c.rest()
    app = App(late)
    worker.app("a", app)
    first = client(worker, REQ)
    until("the first is on its way", lambda: app.connections)
    first.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    first.close()
    until("it has left", lambda: worker.figures("worker")["connections"] == 0)
    second = client(worker, REQ)
    go.set()
    assert second.response()[2] == b"for the second"


def test_a_client_that_leaves_while_we_connect(worker):
    """Its reset and the connection to the app are met in one turn: the app is not asked, or the connection not kept."""
    app = App(lambda c, n: (c.head(), time.sleep(0.2), c.send(answer(b"late")), c.rest()))
    worker.app("a", app)
    for _ in range(5):
        c = client(worker)
        stopped(worker, lambda c=c: c.send(REQ), lambda c=c: c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"), c.close)
        until("it has left", lambda: worker.figures("worker")["connections"] == 0, 0.15)
    until("nothing is kept", lambda: worker.figures("worker")["upstreams"] == 0)


def test_all_of_it_before_the_first_look(worker):
    """Connection, request, and what the client does then are there before the worker looks (it watches such a connection only when it
    has to): who leaves is noticed while the app is silent, who asks again or says more is answered, a big answer arrives whole."""
    go = threading.Event()

    def talk(c, _):
        while True:
            line, fields = c.head()
            c.body(fields)
            if "slow" in line:
                go.wait(10)
            c.send(answer(b"x" * 3000000 if "big" in line else line.split()[1].encode()))
    app = App(talk)
    worker.app("a", app)
    slow = REQ.replace(b" / ", b" /slow ")
    reset = lambda c: (c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"), c.close())
    for end in (lambda c: None, reset):
        made = []
        stopped(worker, lambda made=made: made.append(client(worker, slow)), lambda made=made, end=end: end(made[0]))
        until("the app was asked", lambda: worker.figures("worker")["upstreams"] == 1 or end is reset)
        if end is not reset:
            reset(made[0])
        until("it has left", lambda: worker.figures("worker")["connections"] == 0, 1)
        until("nothing is kept for it", lambda: worker.figures("worker")["upstreams"] == 0, 1)
    made = []
    stopped(worker, lambda: made.append(client(worker, slow)), lambda: made[0].send(REQ.replace(b" / ", b" /next ")))
    time.sleep(0.4)
    made[0].send(REQ.replace(b" / ", b" /third "))
    go.set()
    assert [made[0].response()[2] for _ in range(3)] == [b"/slow", b"/next", b"/third"]
    made[0].close()
    made = []
    stopped(worker, lambda: made.append(client(worker, REQ.replace(b" / ", b" /big "))))
    time.sleep(0.4)
    assert made[0].response()[2] == b"x" * 3000000
    made[0].close()
    made = []
    stopped(worker, lambda: made.append(client(worker, REQ[:20])))
    made[0].send(REQ[20:])
    assert made[0].response()[2] == b"/"
    made[0].close()


def test_no_answer_reaches_another_request(worker):
    """Evil apps of all kinds beside honest ones in one worker, under load: each honest answer is its own, byte for byte; what an evil
    app says reaches the clients of that app alone, and never as the answer to a request that it had not read yet."""
    rnd = random.Random(7)

    def evil(c, _):
        while True:
            line, fields = c.head()
            c.body(fields)
            mine = answer(b"evil|" + line.split()[1].encode())
            trick = rnd.randrange(10)
            if trick == 0:
                c.send(mine + mine)
            elif trick == 1:
                c.send(mine)
                time.sleep(0.002)
                c.send(mine)
            elif trick == 2:
                c.send(mine[:-3])
                return
            elif trick == 3:
                c.send(mine + b"HTTP/1.1 100 Continue\r\n\r\n")
            elif trick == 4:
                c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                c.send(mine)
                return
            elif trick == 5:
                c.send(b"\0" * 10)
            elif trick == 6:
                c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + mine)
                return
            elif trick == 7:
                c.send(mine)
                c.s.shutdown(socket.SHUT_WR)
                time.sleep(0.002)
                return
            elif trick == 8:
                c.send(b"HTTP/1.1 204 No\r\n\r\n" + mine)
            else:
                c.send(mine)

    def honest(name):
        def talk(c, _):
            while True:
                line, fields = c.head()
                c.send(answer(name + b"|" + line.split()[1].encode() + b"|" + c.body(fields)))
        return App(talk)
    evils, good = [App(evil) for _ in range(3)], [honest(b"good%d" % i) for i in range(3)]
    for i in range(3):
        worker.app(f"evil{i}", evils[i])
        worker.app(f"good{i}", good[i])
    wrong, done, stop = [], [0], time.monotonic() + 6

    def attack(seed):
        r = random.Random(seed)
        n, c = 0, None
        while time.monotonic() < stop:
            n += 1
            try:
                c = c or client(worker)
                c.send(b"GET /%d-%d HTTP/1.1\r\nHost: evil%d.test\r\n\r\n" % (seed, n, r.randrange(3)))
                status, _, body = c.response()
                if status == 200 and b"good" in body:
                    wrong.append(("good in evil", body))
            except (OSError, EOFError):
                c = None

    def victim(seed):
        r, n, c = random.Random(seed), 0, client(worker)
        while time.monotonic() < stop:
            asked = []
            data = b""
            for _ in range(r.randrange(1, 5)):
                n += 1
                k, body = r.randrange(3), b"%d" % n if r.random() < 0.5 else b""
                asked.append((k, n, body))
                data += (b"POST" if body else b"GET") + b" /%d-%d HTTP/1.1\r\nHost: good%d.test\r\n" % (seed, n, k) + (b"Content-Length: %d\r\n" % len(body) if body else b"") + b"\r\n" + body
            c.send(data)
            for k, number, body in asked:
                status, _, got = c.response()
                if status != 200 or got != b"good%d|/%d-%d|" % (k, seed, number) + body:
                    wrong.append((status, k, number, got))
                done[0] += 1
    threads = [threading.Thread(target=attack, args=(s,)) for s in range(100, 104)] + [threading.Thread(target=victim, args=(s,)) for s in range(200, 204)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong[:5]
    assert done[0] > 200, done
    assert not any(b"good" in c.seen for e in evils for c in e.connections)
