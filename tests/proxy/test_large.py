"""Large bodies, which pass by the worker in pipes: whole, cut, slow, many at a time; and 4 GiB in constant memory."""
import hashlib
import random
import socket
import struct
import threading
import time

from talk import WAIT, App, answer, client, until

MIB = 1 << 20


def body(n, seed=1):
    return random.Random(seed).randbytes(n)


def digest(data):
    return hashlib.sha256(data).hexdigest().encode()


def post(n, more=b""):
    return b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n%s\r\n" % (n, more)


def whole(c, n):
    """The body of an answer of n bytes; a string that grows by pieces would be copied with each."""
    room, have = memoryview(bytearray(n)), 0
    c.head()
    room[:len(c.buf)] = c.buf
    have = len(c.buf)
    while have < n:
        got = c.s.recv_into(room[have:])
        assert got > 0, have
        have += got
    return room


GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def test_whole_bodies_of_all_sizes(worker):
    """Around the sizes from which they pass by, and with what follows on the same connections."""
    def talk(c, _):
        while True:
            line, fields = c.head()
            data = c.body(fields)
            n = int(line.split()[1][1:] or 0)
            c.send(answer(body(n) if n else digest(data)))
    worker.app("a", App(talk))
    c = client(worker)
    for n in (262143, 262144, 262145, 300001, 278528, 278529, 3 * MIB, 9 * MIB + 1):
        c.send(f"GET /{n} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        assert digest(c.response()[2]) == digest(body(n)), n
        data = body(n, 2)
        c.send(post(n) + data)
        assert c.response()[2] == digest(data), n
    # Behind one body stands the next request, and behind an answer nothing: one connection does all.
    data = body(MIB, 3)
    c.send(post(MIB) + data + post(3) + b"abc" + GET.replace(b"/", b"/400000", 1))
    assert c.response()[2] == digest(data) and c.response()[2] == digest(b"abc") and c.response()[2] == body(400000)
    assert worker.figures("worker")["upstreams"] == 1


def test_pieces_as_they_come(worker):
    """No byte waits for others."""
    step = threading.Semaphore(0)

    def talk(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (4 * MIB))
        for _ in range(20):
            c.send(b"x" * 10)
            assert step.acquire(timeout=WAIT)
        c.send(b"y" * (4 * MIB - 200))
    worker.app("a", App(talk))
    c = client(worker, GET)
    c.head()
    for _ in range(20):
        assert c.take(10) == b"x" * 10
        step.release()
    assert c.take(4 * MIB - 200) == b"y" * (4 * MIB - 200)


def test_cut_bodies_are_seen_to_be_cut(worker):
    seen = []

    def talk(c, n):
        _, fields = c.head()
        if "content-length" in {k.lower() for k, _ in fields}:
            try:
                c.body(fields)
                seen.append("whole")
            except (EOFError, ConnectionResetError):
                seen.append("cut")
            return
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (8 * MIB) + body(3 * MIB))
        if n % 2:
            c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    n = worker.app("a", App(talk))
    for _ in range(4):
        c = client(worker, GET)
        assert c.head()[0].split()[1] == "200"
        data = c.rest()
        assert len(data) <= 3 * MIB and body(3 * MIB).startswith(data)
    # The client leaves in the middle of its own.
    for _ in range(3):
        c = client(worker, post(8 * MIB) + body(2 * MIB))
        c.close()
    until("the app sees it", lambda: len(seen) == 3)
    assert seen == ["cut"] * 3
    until("nothing is left", lambda: worker.figures(f"stats {n}")["in_flight"] == 0 and worker.figures("worker")["upstreams"] == 0)


def test_surplus_behind_a_large_body(worker):
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    def talk(c, n):
        c.head()
        c.send(answer(body(MIB)) + (evil if n == 0 else b""))
        while True:
            c.head()
            c.send(answer(b"good"))
    worker.app("a", App(talk))
    c = client(worker, GET)
    assert c.response()[2] == body(MIB)
    for _ in range(3):
        c.send(GET)
        assert c.response()[2] in (b"good", body(MIB))


def test_more_at_a_time_than_there_are_pipes(worker):
    """And all of them slow: what a pipe holds waits there, others are copied."""
    def talk(c, _):
        while True:
            c.head()
            c.send(answer(data))
    data = body(16 * MIB)  # more than the sockets between them hold
    worker.app("a", App(talk))
    clients = [client(worker, GET) for _ in range(40)]
    time.sleep(0.5)
    want, before = digest(data), worker.rss_kib()
    for s in clients[::2]:
        assert digest(whole(s, 16 * MIB)) == want
    for s in clients[1::4]:
        s.close()
    for s in clients[3::4]:
        assert digest(whole(s, 16 * MIB)) == want
    assert worker.sanitized or worker.rss_kib() < before + 16384


def test_gigabytes_in_constant_memory(worker):
    """4 GiB each way: four seconds in pipes."""
    size = (256 if worker.sanitized else 4096) * MIB
    piece = body(MIB)

    def take(c, n):
        room = memoryview(bytearray(MIB))
        n -= len(c.buf)
        while n > 0:
            got = c.s.recv_into(room, min(n, MIB))
            assert got > 0
            n -= got

    def talk(c, _):
        line, fields = c.head()
        if line.startswith("POST"):
            take(c, size)
            c.send(answer(b"all of it"))
            return
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // MIB):
            c.s.sendall(piece)
    worker.app("a", App(talk))
    before = worker.rss_kib()
    most = [before]
    c = client(worker, GET)
    c.head()
    take(c, size)
    most.append(worker.rss_kib())
    c = client(worker, post(size))
    for _ in range(size // MIB):
        c.s.sendall(piece)
    most.append(worker.rss_kib())
    assert c.response()[2] == b"all of it"
    assert worker.sanitized or max(most) < before + 4096, most


def test_urgent_bytes_hold_nothing_up(worker):
    """splice(2) stops at their mark, with more behind it; they are no part of the stream (tcp(7))."""
    data = body(2 * MIB)

    def talk(c, _):
        line, fields = c.head()
        if line.startswith("GET"):
            c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data[:MIB])
            c.s.send(b"!", socket.MSG_OOB)
            c.send(data[MIB:])
        else:
            c.send(answer(digest(c.body(fields))))
    worker.app("a", App(talk))
    assert client(worker, GET).response()[2] == data
    c = client(worker, post(len(data)) + data[:MIB])
    c.s.send(b"!", socket.MSG_OOB)
    c.send(data[MIB:])
    assert c.response()[2] == digest(data)
