"""Under load: no failed request, no misrouted answer, little memory."""
import random
import threading
import time

from talk import App, answer, client, serve


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
