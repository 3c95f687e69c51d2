"""Answers that take their time: event streams, long polls, 100-continue, half-closed clients, and very large bodies."""
import socket
import threading
import time

from talk import App, answer, client, until

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def stepped(head, pieces, seconds=10):
    """An app that sends its head, and each piece when it is told to: (app, events)."""
    go = [threading.Event() for _ in pieces]

    def talk(c, _):
        c.head()
        c.send(head)
        for e, piece in zip(go, pieces):
            assert e.wait(seconds)
            c.send(piece)
        time.sleep(0.2)
    return App(talk), go


def test_events_pass_at_once_in_chunks(worker):
    app, go = stepped(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
                      [b"9\r\ndata: 1\n\n\r\n", b"9\r\ndata: 2\n\n\r\n", b"0\r\n\r\n"])
    worker.app("a", app)
    c = client(worker, GET)
    line, fields = c.head()  # before any event
    assert line == "HTTP/1.1 200 OK" and ("Content-Type", "text/event-stream") in fields
    for i, e in enumerate(go[:2]):
        e.set()
        assert c.until(b"\n\n\r\n").endswith(b"data: %d\n\n\r\n" % (i + 1))
    go[2].set()
    assert c.chunks() == []
    # The connection serves on.
    c.send(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n")
    assert c.response()[0] == 404


def test_events_until_the_end_of_the_connection(worker):
    app, go = stepped(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", [b"data: 1\n\n", b"data: 2\n\n"])
    worker.app("a", app)
    old = client(worker, b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
    line, fields = old.head()
    assert "transfer-encoding" not in {k.lower() for k, _ in fields}, fields
    go[0].set()
    assert old.until(b"\n\n") == b"data: 1\n\n"
    go[1].set()
    assert old.rest() == b"data: 2\n\n"


def test_an_event_stream_may_be_silent(worker):
    app, go = stepped(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
                      [b"9\r\ndata: 1\n\n\r\n", b"0\r\n\r\n"], 60)
    worker.app("a", app)
    c = client(worker, GET)
    c.s.settimeout(40)
    c.head()
    threading.Timer(25, go[0].set).start()  # longer than a slow client's window of 20 s
    assert c.until(b"\n\n\r\n").endswith(b"data: 1\n\n\r\n")
    go[1].set()
    assert c.chunks() == []


test_an_event_stream_may_be_silent.slow = True


def test_a_long_poll_is_answered_late(worker):
    def talk(c, _):
        while True:
            c.head()
            time.sleep(3)
            c.send(answer(b"late"))
    worker.app("a", App(talk))
    c = client(worker, GET)
    assert c.response()[2] == b"late"
    c.send(GET)
    assert c.response()[2] == b"late"


def test_100_continue_is_said_once(worker):
    def talk(c, _):
        while True:
            _, fields = c.head()
            assert "expect" not in {k.lower() for k, _ in fields}
            c.send(b"HTTP/1.1 100 Continue\r\n\r\n")  # this one is not passed on
            body = c.body(fields)
            c.send(answer(body))
    app = App(talk)
    worker.app("a", app)
    ask = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    c = client(worker, ask)
    assert c.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    c.send(b"hello")
    assert c.response()[0::2] == (200, b"hello")
    # Who sends its body at once needs none.
    c.send(ask + b"there")
    assert c.response()[0::2] == (200, b"there")
    # A 1.0 client knows none.
    old = client(worker, ask.replace(b"1.1", b"1.0", 1) + b"older")
    assert old.response()[0::2] == (200, b"older")
    assert not app.errors, app.errors


def leaving(worker, seconds):
    """A request in flight at an instance that leaves: (its connection, number of the instance)."""
    seen = threading.Event()

    def talk(c, _):
        c.head()
        seen.set()
        time.sleep(seconds)
        c.send(answer(b"late"))
    app = App(talk)
    n = worker.app("a", app)
    c = client(worker, GET)
    assert seen.wait(10)
    return c, n, app


def test_who_asks_and_leaves_does_not_hold_an_instance(worker):
    c, n, app = leaving(worker, 40)
    c.close()
    worker.tell(f"inst {n} {app.id} 127.0.0.1:{app.port} draining")
    worker.silent("drained", 1)
    start = time.monotonic()
    worker.expect(f"drained {app.id}", 12)
    assert time.monotonic() - start < 8


test_who_asks_and_leaves_does_not_hold_an_instance.slow = True


def test_who_leaves_during_the_drain_does_not_hold_it_either(worker):
    c, n, app = leaving(worker, 40)
    worker.tell(f"inst {n} {app.id} 127.0.0.1:{app.port} draining")
    worker.silent("drained", 6)  # who stays is waited for
    c.close()
    worker.expect(f"drained {app.id}", 8)


test_who_leaves_during_the_drain_does_not_hold_it_either.slow = True


def test_a_half_closed_client_gets_its_answer_during_a_drain(worker):
    c, n, app = leaving(worker, 3)
    c.s.shutdown(socket.SHUT_WR)
    worker.tell(f"inst {n} {app.id} 127.0.0.1:{app.port} draining")
    assert c.response()[2] == b"late"
    worker.expect(f"drained {app.id}")


test_a_half_closed_client_gets_its_answer_during_a_drain.slow = True


def test_a_gigabyte_both_ways_in_constant_memory(worker):
    size = (64 if worker.sanitized else 1024) << 20
    piece = bytes(1 << 20)

    def talk(c, _):
        line, fields = c.head()
        if line.startswith("POST"):
            left = int(dict(fields)["Content-Length"]) - len(c.buf)
            c.buf, room = b"", bytearray(1 << 20)
            while left > 0:
                got = c.s.recv_into(room)
                assert got
                left -= got
            c.send(answer(b"taken"))
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 20):
            c.s.sendall(piece)
    app = App(talk)
    n = worker.app("a", app)
    c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % size)
    before = worker.rss_kib()
    for _ in range(size >> 20):
        c.s.sendall(piece)
    assert c.response()[2] == b"taken"
    c.send(GET)
    _, fields = c.head()
    left, room, most = size - len(c.buf), bytearray(1 << 20), 0
    while left > 0:
        got = c.s.recv_into(room)
        assert got
        left -= got
        if left % 64 == 0:
            most = max(most, worker.rss_kib())
    assert left == 0
    if not worker.sanitized:
        assert max(most, worker.rss_kib()) - before < 2048, (before, most)
    until("counted", lambda: worker.figures(f"stats {n}")["out"] >= size)
