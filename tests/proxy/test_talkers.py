"""Top talkers: a worker counts while somebody looks, and only what that one may see."""
import time

from talk import App, answer, client, get, serve

REQUESTS, BYTES, TIME = 0, 1, 2


class Watch:
    """What a worker tells of one watch."""

    def __init__(self, worker, number, app, by, ms):
        self.worker, self.number = worker, number
        worker.tell(f"watch {number} {app} {by} {ms}")

    def result(self):
        rows, kept = {}, []
        while True:
            line = self.worker.expect("", 10)
            what, number, *rest = line.split()
            if number != str(self.number):
                kept.append(line)
            elif what == "watched":
                break
            else:
                rows[rest[0], rest[1]] = {k: int(v) for k, v in (x.split("=") for x in rest[2:])}
        for line in kept:
            self.worker.said.put(line)
        return {k: int(v) for k, v in (x.split("=") for x in rest)}, rows


def test_talkers_of_an_app(worker):
    shop, other = worker.app("shop", serve(b"x" * 1000)), worker.app("other", serve())
    get(worker, "shop.test", "/before")
    w = Watch(worker, 1, shop, REQUESTS, 1500)
    worker.sync()
    for _ in range(6):
        assert get(worker, "shop.test", "/a/b/c?secret=1")[0] == 200
    for _ in range(3):
        assert get(worker, "SHOP.test", "/a/b/d")[0] == 200
    assert get(worker, "shop.test", "/z")[0] == 200
    assert get(worker, "other.test", "/not-mine")[0] == 200
    assert get(worker, "nobody.test", "/unknown")[0] == 404
    c = client(worker, b"POST /up HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 500\r\n\r\n" + b"u" * 500)
    assert c.response()[0] == 200
    c.close()
    total, rows = w.result()
    assert total["requests"] == 11 and total["sampled"] == 11 and total["bytes"] == 11500 and total["errors"] == 0, total
    assert rows["client", "127.0.0.1"]["requests"] == 11
    assert rows["path", "/a/b/"]["requests"] == 9 and rows["path", "/z"]["bytes"] == 1000 and rows["path", "/up"]["bytes"] == 1500
    assert rows["host", "shop.test"]["weight"] == 11 and rows["status", "2xx"]["requests"] == 11
    assert all(r["error"] == 0 for r in rows.values())
    text = " ".join(name for _, name in rows)
    assert "secret" not in text and "before" not in text and "not-mine" not in text and "nobody" not in text, text
    assert not any(kind in ("app", "tenant") for kind, _ in rows)


def test_talkers_of_the_node(worker):
    a, b = worker.app("a", serve()), worker.app("b", serve())
    worker.tell(f"app {b} empty 0 b")
    w = Watch(worker, 5, 0, REQUESTS, 1200)
    worker.sync()
    for _ in range(3):
        get(worker, "a.test", "/")
    assert get(worker, "b.test", "/")[0] == 503
    assert get(worker, "nobody.test", "/")[0] == 404
    c = client(worker, b"nonsense\r\n\r\n")
    assert c.response()[0] == 400
    total, rows = w.result()
    assert total["requests"] == 6 and total["errors"] == 3, total
    assert rows["app", "a"]["requests"] == 3 and rows["app", "b"]["errors"] == 1 and rows["app", "@unknown"]["requests"] == 2
    assert rows["tenant", "1"]["requests"] == 4
    assert rows["status", "5xx"]["requests"] == 1 and rows["status", "4xx"]["errors"] == 2
    assert not any(kind == "path" for kind, _ in rows)


def test_talkers_by_bytes_and_time(worker):
    def slow(c, _):
        while True:
            line, _ = c.head()
            time.sleep(0.3 if "slow" in line else 0)
            c.send(answer(b"x" * (100000 if "big" in line else 10)))
    shop = worker.app("shop", App(slow))
    by_bytes, by_time = Watch(worker, 1, shop, BYTES, 1500), Watch(worker, 2, shop, TIME, 1500)
    worker.sync()
    for path in ("/big", "/slow", "/fast", "/fast", "/fast"):
        assert get(worker, "shop.test", path)[0] == 200
    total, rows = by_bytes.result()
    assert total["bytes"] == 100040 and rows["path", "/big"]["weight"] == 100000 and rows["path", "/fast"]["weight"] == 30
    total, rows = by_time.result()
    assert rows["path", "/slow"]["weight"] >= 290000 and rows["path", "/slow"]["weight"] == rows["path", "/slow"]["us"]
    assert total["us"] >= rows["path", "/slow"]["us"] + rows["path", "/fast"]["us"]


def test_a_flood_is_sampled(worker):
    shop = worker.app("shop", serve())
    w = Watch(worker, 1, shop, REQUESTS, 4000)
    worker.sync()
    n, end = 0, time.monotonic() + 3
    c = client(worker)
    while time.monotonic() < end and n < 6000:  # 4 in 5 for one path
        c.send(b"".join(b"GET /%s HTTP/1.1\r\nHost: shop.test\r\n\r\n" % (b"hot" if i % 5 else b"c%d" % (n + i)) for i in range(20)))
        for _ in range(20):
            assert c.response()[0] == 200
        n += 20
    c.close()
    total, rows = w.result()
    assert total["requests"] == n, (total, n)
    assert total["sampled"] <= 4 * 1024 + 1024, total
    hot = rows["path", "/hot"]
    assert hot["weight"] - hot["error"] <= n * 1.1 and hot["weight"] >= 0.6 * n, (hot, n)
    assert len([1 for kind, _ in rows if kind == "path"]) <= 128


def test_a_watch_ends(worker):
    shop = worker.app("shop", serve())
    worker.tell(f"watch 1 {shop} 0 60000", "watchdel 1")
    for n in range(2, 18):
        worker.tell(f"watch {n} {shop} 0 60000")
    worker.tell(f"watch 18 {shop} 0 60000")  # one too many: answered at once, with nothing
    assert worker.expect("watched 18 ") == "watched 18 sampled=0 requests=0 bytes=0 us=0 errors=0"
    worker.silent("watched")
    worker.tell("watchdel 2", f"watch 19 {shop} 0 1000", f"watch 20 {shop} 9 1000", f"watch 21 {shop} 0 60001", f"watch 22 {shop} 0 0")
    assert worker.expect("watched ", 10).startswith("watched 19 ")
    worker.silent("watched")
    # An app that goes while it is watched, and the channel too.
    worker.tell(f"watch 30 {shop} 0 1000", f"appdel {shop}")
    get(worker, "shop.test", "/")
    assert "requests=0" in worker.expect("watched 30 ", 10)
    worker.tell(f"watch 31 {shop} 0 300", "newchan")
    time.sleep(0.5)
    worker.sync()
    assert get(worker, "shop.test", "/")[0] == 404


def test_talkers_by_user_agent(worker):
    """over both versions of HTTP; whatever a client says is printable and short"""
    from h2 import Client  # only here
    from tls import give
    n = worker.app("a", serve(b"ok"))
    give(worker, n, "a.test")
    for app in (n, 0):
        w = Watch(worker, 7 + app, app, REQUESTS, 1500)
        worker.sync()
        for more in ("User-Agent: bot/1 (x)\r\n", "X-User-Agent: no\r\nuser-agent:\tbot/1 (x) \r\nX: user-agent: no\r\n", "USER-AGENT: bot/1 (x)\r\nUser-Agent: second\r\n"):
            assert get(worker, "a.test", "/", more)[0] == 200
        assert get(worker, "a.test")[0] == 200
        assert get(worker, "a.test", "/?user-agent:x", "User-Agent: \xff\xc3\xa9" + "y" * 500 + "end\r\n")[0] == 200
        assert Client(worker, "a.test").get(more=[("user-agent", "bot/1 (x)")]).status == 200
        c = client(worker, b"nonsense\r\nUser-Agent: nobody\r\n\r\n")
        assert c.response()[0] == 400
        total, rows = w.result()
        agents = {name: r["requests"] for (kind, name), r in rows.items() if kind == "agent"}
        long = next(name for name in agents if name.endswith("end"))
        assert long.startswith("?") and len(long) == 63 and long.isascii(), agents
        assert agents.pop(long) == 1 and agents == {"bot/1_(x)": 4, "(none)": 1 if app else 2}, (agents, total)
