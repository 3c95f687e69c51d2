"""Under load: no failed request, no misrouted answer, little memory."""
import random
import shutil
import socket
import tempfile
import threading
import time

from talk import App, Conn, Worker, answer, client, serve, until


def named(name):
    """Answers with its own name and the path."""
    def talk(c, _):
        while True:
            line, fields = c.head()
            body = c.body(fields)
            c.send(answer(name.encode() + line.split()[1].encode() + b"|" + body))
    return App(talk)


def test_switching_releases_fails_no_request(worker):
    running = named("0")
    n = worker.app("a", running)
    stop, failures, done = threading.Event(), [], [0]

    def load(seed):
        rnd, c, i = random.Random(seed), None, 0
        while not stop.is_set():
            i += 1
            try:
                c = c or client(worker)
                if rnd.random() < 0.5:
                    c.send(b"GET /%d-%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % (seed, i))
                    want = b"/%d-%d|" % (seed, i)
                else:
                    c.send(b"POST /%d-%d HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\n%04d" % (seed, i, i % 10000))
                    want = b"/%d-%d|%04d" % (seed, i, i % 10000)
                status, _, body = c.response()
                if status != 200 or not body.endswith(want):
                    failures.append((status, body[:200]))
                done[0] += 1
                if rnd.random() < 0.05:
                    c.close()
                    c = None
            except Exception as e:  # pylint: disable=broad-except
                failures.append(repr(e))
                c = None
    threads = [threading.Thread(target=load, args=(s,)) for s in range(6)]
    for t in threads:
        t.start()
    for release in range(1, 25):
        fresh = named(str(release))
        worker.tell(f"inst {n} {fresh.id} 127.0.0.1:{fresh.port} up", f"inst {n} {running.id} 127.0.0.1:{running.port} draining")
        worker.expect(f"drained {running.id}")
        worker.tell(f"instdel {running.id}")
        for c in running.connections:
            c.close()
        running.close()
        running = fresh
        time.sleep(0.02)
    stop.set()
    for t in threads:
        t.join()
    assert not failures, failures[:5]
    assert done[0] > 200, done
    assert worker.figures(f"stats {n}")["in_flight"] == 0


def test_hold_and_swap_fails_no_request(worker):
    running = named("0")
    n = worker.app("a", running)
    stop, failures = threading.Event(), []

    def load(seed):
        c, i = client(worker), 0
        while not stop.is_set():
            i += 1
            c.send(b"GET /%d-%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % (seed, i))
            status, _, body = c.response()
            if status != 200 or not body.endswith(b"/%d-%d|" % (seed, i)):
                failures.append((status, body[:200]))
    threads = [threading.Thread(target=load, args=(s,)) for s in range(4)]
    for t in threads:
        t.start()
    for release in range(1, 12):
        worker.tell(f"app {n} hold 5000 a", f"inst {n} {running.id} 127.0.0.1:{running.port} draining")
        worker.expect(f"drained {running.id}")
        worker.tell(f"instdel {running.id}")
        running.close()
        running = named(str(release))
        worker.tell(f"inst {n} {running.id} 127.0.0.1:{running.port} up", f"app {n} serving 5000 a")
        time.sleep(0.02)
    stop.set()
    for t in threads:
        t.join()
    assert not failures, failures[:5]


def test_no_answer_goes_astray(worker):
    """Many apps, pipelined and random: each answer bears the app's name and the request's path."""
    apps = [named(f"app{i}") for i in range(12)]
    for i, a in enumerate(apps):
        worker.app(f"h{i}", a)
    failures = []

    def load(seed):
        rnd, c = random.Random(seed), client(worker)
        for r in range(40):
            asked = [(rnd.randrange(12), seed * 100000 + r * 100 + k) for k in range(rnd.randrange(1, 9))]
            c.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: h%d.test\r\n\r\n" % (what, host) for host, what in asked))
            for host, what in asked:
                _, _, body = c.response()
                if body != b"app%d/%d|" % (host, what):
                    failures.append((host, what, body[:100]))
    threads = [threading.Thread(target=load, args=(s,)) for s in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures[:5]


def test_idle_connections_are_small(worker):
    worker.app("a", serve())
    warm = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    warm.response()
    before, idle = worker.rss_kib(), []
    for _ in range(2000):
        c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert c.response()[0] == 200
        idle.append(c)
    each = (worker.rss_kib() - before) * 1024 // 2000
    assert worker.figures("worker")["connections"] == 2001
    assert each <= 4096, f"{each} bytes per idle connection"
    print(f"  # {each} bytes per idle connection")
    for c in idle:
        c.close()


def test_out_of_descriptors_pauses_and_recovers(worker):
    """A worker with 200 descriptors serves 68 clients at a time; the others wait in the accept queue."""
    folder = tempfile.mkdtemp(prefix="tulou-proxy-")
    small = Worker("prlimit", folder, program=["--nofile=200:200", worker.process.args[0]])
    try:
        small.app("a", serve())
        held = [client(small) for _ in range(120)]
        until("it is full", lambda: small.figures("worker")["connections"] == 68)
        for c in held[:60]:
            c.close()
        for c in held[60:]:
            c.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert c.response()[0] == 200
        for c in held[60:]:
            c.close()
        until("nothing is left", lambda: small.figures("worker")["connections"] == 0)
        small.stop()
    finally:
        small.process.kill()
        shutil.rmtree(folder)


def test_app_that_never_answers(worker):
    n = worker.app("a", App(lambda c, _: (c.head(), time.sleep(75))))
    c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    c.s.settimeout(70)
    start = time.monotonic()
    status, fields, _ = c.response()
    assert status == 504 and fields["tulou-fault"] == "app-slow"
    assert 59.5 < time.monotonic() - start < 63
    assert worker.figures(f"stats {n}")["5xx"] == 1


test_app_that_never_answers.slow = True


def test_reader_that_stops_is_cut(worker):
    def pour(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
        while True:
            c.send(b"x" * 65536)
    worker.app("a", App(pour))
    c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    c.head()
    start = time.monotonic()
    until("it was cut", lambda: worker.figures("worker")["connections"] == 0, 50)
    assert 18 < time.monotonic() - start < 45


test_reader_that_stops_is_cut.slow = True


def test_events_may_be_far_between(worker):
    """An answer of events is silent for longer than others may be."""
    def talk(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\ndata: 1\n\n")
        time.sleep(63)
        c.send(b"data: 2\n\n")
    worker.app("a", App(talk))
    c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    c.s.settimeout(75)
    status, fields, body = c.response()
    assert status == 200 and body == b"data: 1\n\ndata: 2\n\n"


test_events_may_be_far_between.slow = True


def test_slow_reader_that_reads_is_not_cut(worker):
    def pour(c, _):
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
        while True:
            c.send(b"x" * 65536)
    worker.app("a", App(pour))
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    s.connect(("127.0.0.1", worker.port))
    c = Conn(s)
    c.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    c.head()
    for _ in range(100):
        assert c.s.recv(4096)
        time.sleep(0.5)
    assert worker.figures("worker")["connections"] == 1


test_slow_reader_that_reads_is_not_cut.slow = True


def test_who_always_has_more_takes_turns(worker):
    """Of one client that never waits no more than eight requests are answered in one turn of the loop."""
    worker.figures("turns")
    c = client(worker, b"GET / HTTP/1.1\r\nHost: none.test\r\n\r\n" * 500)
    for _ in range(500):
        assert c.response()[0] == 404
    assert 0 < worker.figures("turns")["most"] <= 8
