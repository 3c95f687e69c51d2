"""An app's front door: paths, addresses, maintenance, credentials, limits, sticky clients."""
import base64
import hashlib
import hmac
import ipaddress
import socket
import struct
import tempfile
import threading
import time

from talk import WAIT, App, Worker, answer, client, get, serve, until

KEY = bytes(range(32))
MAINTENANCE, STICKY, AUTH, ALLOW, CANARY = 1, 2, 4, 8, 16


def net(text):
    n = ipaddress.ip_network(text)
    if n.version == 4:
        return b"\0" * 10 + b"\xff\xff" + n.network_address.packed + bytes([96 + n.prefixlen])
    return n.network_address.packed + bytes([n.prefixlen])


def front(flags=0, body=0, retry=300, rate=(0, 0), per_client=(0, 0), total=(0, 0), in_flight=0, total_in_flight=0, slot=7,
          time_ms=0, allow=(), passes=(), users=(), paths=(), realm=b"", text=b"",
          weight=0, header=b"", value=b""):
    head = struct.pack("<QQII6IIIII32s8HII", 0, body, flags, retry, *rate, *per_client, *total, in_flight, total_in_flight, slot,
                       time_ms, KEY, len(allow), len(passes), len(users), len(paths), len(realm), len(text), len(header), len(value),
                       weight, 0)
    tail = b"".join(map(net, allow)) + b"".join(map(net, passes))
    tail += b"".join(hmac.new(KEY, u.encode(), hashlib.sha256).digest() for u in users)
    for app, path, strip in paths:
        tail += struct.pack("<QBB6x", app, strip, len(path)) + path.encode()
    return (head + tail + realm + text + header + value).hex()


def basic(userpass):
    return "Authorization: Basic " + base64.b64encode(userpass.encode()).decode() + "\r\n"


def echo(name=b""):
    """An app that answers with the head it got."""
    def talk(c, _):
        while True:
            line, fields = c.head()
            c.body(fields)
            c.send(answer(name + line.encode() + b"\n" + b"\n".join(f"{k}: {v}".encode() for k, v in fields)))
    return App(talk)


def test_paths_lead_to_other_apps(worker):
    shop, api, v2 = worker.app("shop", echo(b"shop ")), worker.app("api", echo(b"api ")), worker.app("v2", echo(b"v2 "))
    worker.tell(f"front {shop} {front(paths=[(api, '/api', 0), (v2, '/api/v2', 1)])}")
    for path, who, seen in (("/", b"shop", "/"), ("/api", b"api", "/api"), ("/api/", b"api", "/api/"), ("/api?x=1", b"api", "/api?x=1"),
                            ("/api/v1", b"api", "/api/v1"), ("/api/v2", b"v2", "/"), ("/api/v2?q", b"v2", "/?q"),
                            ("/api/v2/x?y=/api", b"v2", "/x?y=/api"), ("/api/v22", b"api", "/api/v22"), ("/apix", b"shop", "/apix"),
                            ("//api", b"shop", "//api"), ("/API", b"shop", "/API"), ("/%61pi", b"shop", "/%61pi"),
                            ("/api%2fv2", b"shop", "/api%2fv2"), ("/api;a=1/v2", b"shop", "/api;a=1/v2"), ("/x/api/v2", b"shop", "/x/api/v2"),
                            ("/api//v2", b"api", "/api//v2"), ("/x?/../api", b"shop", "/x?/../api"), ("/...", b"shop", "/..."),
                            ("/.well-known/x", b"shop", "/.well-known/x"), ("/a..b", b"shop", "/a..b"), ("/api/v2//x", b"v2", "//x")):
        body = get(worker, "shop.test", path)[2]
        assert body.startswith(who + b" GET " + seen.encode() + b" HTTP/1.1"), (path, body)
        assert (b"X-Forwarded-Prefix: /api/v2" in body) == (who == b"v2"), (path, body)
    # Two readers may disagree where these lead.
    for path in ("/api/../x", "/x/../api", "/..", "/.", "/./api", "/x/%2e%2e/api", "/x/.%2E/api", "/%2e", "/x/..;/api", "/x/..;a/api",
                 "/api/..?q", "/x\\..\\api"):
        status, fields, _ = get(worker, "shop.test", path)
        assert status == 400, path
        assert path.find("\\") >= 0 or fields["tulou-fault"] == "ambiguous-path", path
    # Nobody but us says what the prefix was.
    body = get(worker, "shop.test", "/api", "X-Forwarded-Prefix: /evil\r\n")[2]
    assert b"evil" not in body
    # Another host of the app has the same paths; the other app's own hosts do not.
    assert get(worker, "api.test", "/api/v2")[2].startswith(b"api GET /api/v2")
    assert get(worker, "api.test", "/../x")[2].startswith(b"api GET /../x")
    s = worker.figures(f"stats {v2}")
    assert s["requests"] == 4, s
    # What it leads to is gone: not the app whose host it is.
    worker.tell(f"appdel {api}")
    assert get(worker, "shop.test", "/api")[0] == 404
    assert get(worker, "shop.test", "/apix")[0] == 200
    worker.tell(f"frontdel {shop}")
    assert get(worker, "shop.test", "/api/v2")[2].startswith(b"shop GET /api/v2")


def test_the_settings_are_those_of_the_app_that_answers(worker):
    shop, api = worker.app("shop", echo(b"shop ")), worker.app("api", echo(b"api "))
    worker.tell(f"front {shop} {front(paths=[(api, '/api', 0)])}", f"front {api} {front(flags=AUTH, users=['a:secret12'])}")
    for path in ("/api", "/api/", "/api/x", "/api//", "/api?", "/api/%2fx"):
        assert get(worker, "shop.test", path)[0] == 401, path
        assert get(worker, "shop.test", path, basic("a:secret12"))[0] == 200, path
    for path in ("//api", "/%61pi", "/x/..;/api", "/x/../api", "/api%2f", "/API", "/api\t"):
        assert not get(worker, "shop.test", path)[2].startswith(b"api"), path


def test_only_some_addresses_are_served(worker):
    n = worker.app("a", serve())
    worker.tell(f"front {n} {front(flags=ALLOW, allow=['10.0.0.0/8', '2001:db8::/32'])}")
    status, fields, body = get(worker, "a.test")
    assert status == 403 and fields["tulou-fault"] == "address-refused" and b"address" in body
    for allow in ("127.0.0.0/8", "127.0.0.1/32", "0.0.0.0/0", "::ffff:127.0.0.1/128", "::/0"):
        worker.tell(f"front {n} {front(flags=ALLOW, allow=['10.0.0.0/8', allow])}")
        assert get(worker, "a.test")[0] == 200, allow
    for allow in ("127.0.0.2/32", "128.0.0.0/1", "::1/128"):
        worker.tell(f"front {n} {front(flags=ALLOW, allow=[allow])}")
        assert get(worker, "a.test")[0] == 403, allow
    worker.tell(f"front {n} {front(flags=ALLOW)}")
    assert get(worker, "a.test")[0] == 403


def test_maintenance(worker):
    n = worker.app("a", serve(b"app"))
    text = 'Back at 5 & "soon" <b>ö</b> \\o/'
    worker.tell(f"front {n} {front(flags=MAINTENANCE, retry=77, text=text.encode())}")
    status, fields, body = get(worker, "a.test")
    assert status == 503 and fields["retry-after"] == "77" and fields["tulou-fault"] == "maintenance" and text.encode() in body
    body = get(worker, "a.test", more="Accept: text/html\r\n")[2].decode()
    assert "Back at 5 &amp; &quot;soon&quot; &lt;b&gt;ö&lt;/b&gt; \\o/" in body and "<b>" not in body
    import json
    assert text in json.loads(get(worker, "a.test", more="Accept: application/json\r\n")[2])["detail"]
    worker.tell(f"front {n} {front(flags=MAINTENANCE, text=b'<&>' * 166)}")
    assert len(get(worker, "a.test", more="Accept: text/html\r\n")[2]) > 2000
    worker.tell(f"front {n} {front(flags=MAINTENANCE, passes=['127.0.0.0/8'])}")
    assert get(worker, "a.test")[2] == b"app"
    worker.tell(f"front {n} {front()}")
    assert get(worker, "a.test")[2] == b"app"


def test_basic_auth(worker):
    n = worker.app("a", echo())
    worker.tell(f"front {n} {front(flags=AUTH, users=['alice:open sesame', 'bob:päss:word'], realm=b'the shop')}")
    status, fields, _ = get(worker, "a.test")
    assert status == 401 and fields["www-authenticate"] == 'Basic realm="the shop", charset="UTF-8"'
    for good in (basic("alice:open sesame"), basic("bob:päss:word"), basic("alice:open sesame").replace("Basic", "bAsIc")):
        status, _, body = get(worker, "a.test", more=good)
        assert status == 200 and b"uthorization" not in body, body
    ok = basic("alice:open sesame")
    bad = [basic("alice:open sesam"), basic("alice:open sesame\n"), "Authorization: Basic\r\n", "Authorization: Bearer x\r\n", ok + ok,
           ok.replace("=\r\n", "\r\n"), "Authorization: Basic " + "A" * 2000 + "\r\n", basic("")]
    for more in bad[:9]:
        assert get(worker, "a.test", more=more)[0] == 401, more
    # Over a body, and again over one connection.
    c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
    assert c.response()[0] == 401
    worker.tell(f"front {n} {front(flags=AUTH)}")
    assert get(worker, "a.test", more=ok)[0] in (401, 429)


def test_guessing_is_slowed_down(worker):
    n = worker.app("a", echo())
    m = worker.app("b", echo())
    for k in (n, m):
        worker.tell(f"front {k} {front(flags=AUTH, users=[f'a:right-{k}'])}")
    said = [get(worker, "a.test", more=basic(f"a:wrong{i}"))[0] for i in range(15)]
    assert said[:10] == [401] * 10 and said[-1] == 429, said
    status, fields, _ = get(worker, "a.test", more=basic(f"a:right-{n}"))
    assert status == 429 and 1 <= int(fields["retry-after"]) <= 60 and fields["tulou-fault"] == "too-many-guesses"
    assert get(worker, "a.test")[0] == 401  # who says nothing guesses nothing


def test_rates(worker):
    n = worker.app("a", serve())
    for what, fault in (("rate", "app-rate"), ("per_client", "client-rate"), ("total", "tenant-rate")):
        slot = {"rate": 11, "per_client": 12, "total": 13}[what]
        worker.tell(f"front {n} {front(slot=slot, **{what: (1, 5)})}")
        said = [get(worker, "a.test") for _ in range(12)]
        assert [s[0] for s in said[:5]] == [200] * 5, (what, said)
        refused = [s for s in said if s[0] == 429]
        assert len(refused) >= 5 and all(s[1]["tulou-fault"] == fault and int(s[1]["retry-after"]) >= 1 for s in refused), (what, said)
        time.sleep(1.1)
        assert get(worker, "a.test")[0] == 200, what
    # A higher rate holds at once, a lower one does not remember the larger bucket.
    worker.tell(f"front {n} {front(rate=(1000000, 1000000))}")
    assert all(get(worker, "a.test")[0] == 200 for _ in range(20))
    # Over one connection too; the connection lives on.
    worker.tell(f"front {n} {front(rate=(1, 1))}")
    c = client(worker)
    codes = []
    for _ in range(4):
        c.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        codes.append(c.response()[0])
    assert 429 in codes and codes[-1] == 429, codes


def test_requests_at_a_time(worker):
    go = threading.Event()

    def talk(c, _):
        while True:
            c.head()
            go.wait(10)
            c.send(answer())
    n = worker.app("a", App(talk))
    m = worker.app("b", serve())
    for setting, fault in ((dict(in_flight=2), "app-concurrent"), (dict(total_in_flight=2), "tenant-concurrent")):
        go.clear()
        worker.tell(f"front {n} {front(**setting)}", f"front {m} {front(**setting)}")
        busy = [client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") for _ in range(2)]
        until("they are in flight", lambda: worker.figures(f"stats {n}")["in_flight"] == 2)
        status, fields, _ = get(worker, "a.test")
        assert status == 429 and fields["tulou-fault"] == fault, fields
        assert get(worker, "b.test")[0] == (200 if "in_flight" in setting else 429)
        go.set()
        for c in busy:
            assert c.response()[0] == 200
            c.close()
        until("they are over", lambda: worker.figures(f"stats {n}")["in_flight"] == 0)
        assert get(worker, "a.test")[0] == 200 and get(worker, "b.test")[0] == 200
    # Who leaves half way gives the place back.
    go.clear()
    busy = [client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") for _ in range(2)]
    until("they are in flight", lambda: worker.figures(f"stats {n}")["in_flight"] == 2)
    for c in busy:
        import socket
        c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
    until("they are gone", lambda: worker.figures(f"stats {n}")["in_flight"] == 0)
    go.set()
    assert get(worker, "a.test")[0] == 200


def test_large_bodies(worker):
    got = []

    def talk(c, _):
        while True:
            _, fields = c.head()
            got.append(len(c.body(fields)))
            c.send(answer())
    n = worker.app("a", App(talk))
    worker.tell(f"front {n} {front(body=1000)}")
    for size, want in ((1000, 200), (1001, 413), (1 << 40, 413)):
        c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % size + b"x" * min(size, 1000))
        assert c.response()[0] == want, size
        c.close()
    c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n")
    assert c.response()[0] == 413
    for size, want in ((900, 200), (1100, 413), (100000, 413)):
        c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(size // 100):
                c.send(b"64\r\n" + b"x" * 100 + b"\r\n")
            c.send(b"0\r\n\r\n")
        except OSError:
            pass
        assert c.response()[0] == want, size
        c.close()
    assert got == [1000, 900], got


def test_time_of_a_request(worker):
    def talk(c, _):
        line, _ = c.head()
        if "slow" in line:
            time.sleep(5)
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            c.send(b"x" * 10)
            time.sleep(0.2)
    n = worker.app("a", App(talk))
    worker.tell(f"front {n} {front(time_ms=1000)}")
    start = time.monotonic()
    status, fields, _ = get(worker, "a.test", "/slow")
    assert status == 504 and fields["tulou-fault"] == "time-over"
    assert time.monotonic() - start < 3
    c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert c.head()[0] == "HTTP/1.1 200 OK"
    assert len(c.rest()) < 1000
    assert time.monotonic() - start < 8
    c = client(worker, b"POST /slow HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n")
    assert c.response()[0] == 504


def test_a_client_stays_with_its_instance(worker):
    apps = [echo(b"%d " % i) for i in range(4)]
    n = worker.app("a", *apps)
    worker.tell(f"front {n} {front(flags=STICKY)}")
    status, fields, body = get(worker, "a.test")
    name, _, rest = fields["set-cookie"].partition("=")
    value = rest.split(";")[0]
    assert name == "tulou-instance" and len(value) == 16 and "HttpOnly" in rest and "SameSite=Lax" in rest and "Secure" not in rest
    mine = body.split()[0]
    assert str(apps[int(mine)].id) not in value
    for cookie in (f"tulou-instance={value}", f"a=1; tulou-instance={value}; b=2", f"a=1; tulou-instance={value}", f"tulou-instance={value}; b=2"):
        for _ in range(5):
            status, fields, body = get(worker, "a.test", more=f"Cookie: {cookie}\r\n")
            assert body.split()[0] == mine and "set-cookie" not in fields, cookie
            assert b"tulou-instance" not in body, body
            want = "; ".join(x for x in cookie.split("; ") if not x.startswith("tulou"))
            assert (f"Cookie: {want}".encode() in body) if want else (b"Cookie" not in body), body
    # New ones are spread, and forged ones are as good as none.
    seen = {get(worker, "a.test")[2].split()[0] for _ in range(20)}
    assert len(seen) == 4, seen
    for bad in ("0" * 16, "f" * 16, "x" * 16, "", "1" * 4000):
        status, fields, _ = get(worker, "a.test", more=f"Cookie: tulou-instance={bad}\r\n")
        assert status == 200 and "set-cookie" in fields
    # It drains: the client moves on and stays there.
    worker.tell(f"inst {n} {apps[int(mine)].id} 127.0.0.1:{apps[int(mine)].port} draining")
    status, fields, body = get(worker, "a.test", more=f"Cookie: tulou-instance={value}\r\n")
    assert status == 200 and body.split()[0] != mine and "set-cookie" in fields
    # It refuses connections: another one serves.
    moved = fields["set-cookie"].partition("=")[2].split(";")[0]
    apps[int(body.split()[0])].close()
    until("another one answers", lambda: get(worker, "a.test", more=f"Cookie: tulou-instance={moved}\r\n")[0] == 200)


def test_a_canary_gets_its_part(worker):
    live, fresh = [echo(b"live ") for _ in range(3)], echo(b"fresh ")
    n = worker.app("a", *live)
    canary = f"inst {n} {fresh.id} 127.0.0.1:{fresh.port}"
    worker.tell(f"front {n} {front(flags=CANARY, weight=20, header=b'x-canary', value=b'1')}", canary + " up canary")
    who = lambda more="": get(worker, "a.test", more=more)[2].split()[0]
    assert [who() for _ in range(100)].count(b"fresh") == 20
    assert {who("X-Canary: 1\r\n") for _ in range(10)} == {b"fresh"}
    assert [who("X-Canary: 2\r\n") for _ in range(50)].count(b"fresh") == 10
    worker.tell(f"front {n} {front(flags=CANARY, weight=0, header=b'x-canary')}")
    assert {who() for _ in range(20)} == {b"live"} and who("x-CANARY: yes\r\n") == b"fresh"
    worker.tell(f"front {n} {front(flags=CANARY, weight=100)}")
    assert {who() for _ in range(10)} == {b"fresh"}
    # A sticky client stays where it is.
    worker.tell(f"front {n} {front(flags=CANARY | STICKY, weight=50)}")
    fields = get(worker, "a.test")[1]
    cookie = "Cookie: " + fields["set-cookie"].split(";")[0] + "\r\n"
    assert len({who(cookie) for _ in range(10)}) == 1
    # Its end, or the others' end, leaves the rest to serve all.
    worker.tell(f"front {n} {front(flags=CANARY, weight=50)}", canary + " draining canary")
    assert {who() for _ in range(10)} == {b"live"}
    worker.tell(canary + " up canary", *[f"inst {n} {a.id} 127.0.0.1:{a.port} draining" for a in live])
    assert {who() for _ in range(10)} == {b"fresh"}
    # One that refuses connections loses no request.
    worker.tell(*[f"inst {n} {a.id} 127.0.0.1:{a.port} up" for a in live], f"front {n} {front(flags=CANARY, weight=100)}")
    fresh.close()
    for c in fresh.connections:
        c.close()
    until("the live ones serve", lambda: who() == b"live")


class Ill:
    """An app that ends connections without an answer, for as long as it is ill; each has one request."""
    def __init__(self, name):
        self.ill, self.name = False, name
        self.app = App(self.talk)

    def talk(self, c, _):
        c.head()
        if not self.ill:
            c.send(answer(self.name, b"Connection: close\r\n"))


def post(worker, more=""):
    c = client(worker, f"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n{more}\r\n".encode())
    status, fields, body = c.response()
    c.close()
    return status, fields, body


def test_a_group_leaves_out_who_is_put_aside(worker):
    live, fresh = [Ill(b"live") for _ in range(4)], [Ill(b"sick"), Ill(b"well")]
    n = worker.app("a", *[a.app for a in live])
    worker.tell(f"front {n} {front(flags=CANARY, weight=0, header=b'x-canary')}",
                *[f"inst {n} {a.app.id} 127.0.0.1:{a.app.port} up canary" for a in fresh])
    fresh[0].ill = True
    codes = [post(worker, "X-Canary: 1\r\n")[0] for _ in range(20)]
    assert codes.count(502) == 3, codes
    # The whole group: others serve.
    fresh[1].ill = True
    codes = [post(worker, "X-Canary: 1\r\n") for _ in range(20)]
    assert [r[0] for r in codes].count(502) <= 4 and codes[-1][2] == b"live", codes
    # One of the others is left out as well.
    live[0].ill = True
    codes = [post(worker)[0] for _ in range(40)]
    assert codes.count(502) == 3, codes
    fresh[0].ill = fresh[1].ill = False
    until("the canary serves again", lambda: post(worker, "X-Canary: 1\r\n")[2] in (b"sick", b"well"), 5)


def test_a_sticky_client_leaves_who_is_put_aside(worker):
    apps = [Ill(b"%d" % i) for i in range(3)]
    n = worker.app("a", *[a.app for a in apps])
    worker.tell(f"front {n} {front(flags=STICKY)}")
    _, fields, body = post(worker)
    cookie = "Cookie: " + fields["set-cookie"].split(";")[0] + "\r\n"
    assert post(worker, cookie)[2] == body
    apps[int(body)].ill = True
    codes = [post(worker, cookie) for _ in range(10)]
    assert [r[0] for r in codes].count(502) == 3 and all("set-cookie" in r[1] for r in codes[3:]), codes


def test_the_fewest_of_all_workers_decide_in_a_group(worker):
    gate = threading.Event()

    def talk(c, _):
        while True:
            _, fields = c.head()
            c.body(fields)
            gate.wait(WAIT)
            c.send(answer())
    apps = [App(talk) for _ in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        other = Worker(worker.command, folder, beside=worker)
        other.next_id = worker.next_id
        n = worker.app("a", *apps)
        assert other.app("a", *apps) == n
        for w in (worker, other):
            w.tell(f"front {n} {front(flags=CANARY, weight=0, header=b'x-canary')}")
        # The other worker knows one instance only at first, so that has more than its part.
        other.tell(f"instdel {apps[1].id}")
        clients = []
        for w in [other] * 4 + [worker] * 4:
            clients.append(client(w, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"))
            until("it runs", lambda: sum(a.seen().count(b"GET") for a in apps) == len(clients))
        assert [a.seen().count(b"GET") for a in apps] == [4, 4]
        gate.set()
        assert all(c.response()[0] == 200 for c in clients)
        other.stop()


def test_who_is_full_is_not_tried(worker):
    """An instance whose pause is over is tried by a request that is sent, not by one that finds no room there."""
    gate, ill = threading.Event(), [True]

    def talk(name, c):
        line, _ = c.head()
        if ill[0] and name == b"0":
            return
        if "/hold" in line:
            gate.wait(WAIT)
        c.send(answer(name, b"Connection: close\r\n"))
    apps = [App(lambda c, _, i=i: talk(b"%d" % i, c)) for i in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        other = Worker(worker.command, folder, beside=worker)
        other.next_id = worker.next_id
        n = worker.app("a", *apps)
        assert other.app("a", *apps) == n
        for w in (worker, other):
            w.tell(f"front {n} {front(flags=STICKY)}", f"spread {n} 2 0")
        ill[0] = False
        cookies = {}
        for _ in range(20):
            _, fields, body = post(worker)
            cookies[body] = "Cookie: " + fields["set-cookie"].split(";")[0] + "\r\n"
        ill[0] = True
        assert [post(worker, cookies[b"0"])[0] for _ in range(3)] == [502] * 3
        ill[0] = False
        time.sleep(1.1)  # its pause is over
        # Its two places are taken in the other worker, one of each other's here.
        held = [client(w, f"POST /hold HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n{cookies[k]}\r\n".encode())
                for w, k in ((other, b"0"), (other, b"0"), (worker, b"1"), (worker, b"2"))]
        until("they run", lambda: worker.figures(f"stats {n}")["in_flight"] == 4 and sum(a.seen().count(b"/hold") for a in apps) == 4)
        r = post(worker, cookies[b"0"])
        assert r[2] in (b"1", b"2"), r
        for c in held[:2]:
            c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
        until("its places are free", lambda: worker.figures(f"stats {n}")["in_flight"] == 2)
        assert post(worker)[2] == b"0"
        gate.set()
        other.stop()


def test_who_waits_meets_the_door_that_came_meanwhile(worker):
    """As in a worker that serves before it was told all, and when somebody shuts a door on a queue."""
    app = serve(b"secret")
    for flags, more, want in ((AUTH, {"users": ["a:b"]}, 401), (ALLOW, {"allow": ["192.0.2.0/24"]}, 403), (MAINTENANCE, {}, 503), (0, {}, 200)):
        n = worker.app("a", wait=8000)
        c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        until("it waits", lambda: worker.figures("worker")["parked"] == 1)
        worker.tell(f"front {n} {front(flags=flags, **more)}", f"inst {n} {app.id} 127.0.0.1:{app.port} up")
        status, _, body = c.response()
        assert status == want and (body == b"secret") == (want == 200), (flags, status)
        assert worker.figures(f"stats {n}")["in_flight"] == 0
        worker.tell(f"appdel {n}")


def test_refusals_are_counted_by_what_they_are_called(worker):
    n = worker.app("a", serve())
    body = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\n"
    for word, settings, ask, status in (
            ("address-refused", dict(flags=ALLOW, allow=["10.0.0.0/8"]), {}, 403),
            ("maintenance", dict(flags=MAINTENANCE), {}, 503),
            ("auth-required", dict(flags=AUTH, users=["a:longenough"]), {}, 401),
            ("app-rate", dict(rate=(1, 1)), {}, 429),
            ("client-rate", dict(per_client=(1, 1)), {}, 429),
            ("tenant-rate", dict(total=(1, 1)), {}, 429),
            ("ambiguous-path", dict(paths=[(n, "/x", 0)]), {"path": "/a/../b"}, 400)):
        worker.tell(f"front {n} {front(**settings)}")
        before, seen = worker.figures(f"refused {n}")[word], 0
        while seen < 2:
            got, fields, _ = get(worker, "a.test", **ask)
            if got == status:
                assert fields["tulou-fault"] == word, (word, fields)
                seen += 1
        assert worker.figures(f"refused {n}")[word] == before + 2, word
    worker.tell(f"front {n} {front(body=10)}")
    assert client(worker, body).response()[0] == 413
    assert worker.figures(f"refused {n}")["body-too-large"] == 1
    worker.tell(f"frontdel {n}")
    was = worker.figures(f"refused {n}")
    assert get(worker, "a.test")[0] == 200 and get(worker, "nobody.test")[0] == 404
    assert worker.figures(f"refused {n}") == was


def test_both_sides_of_a_canary_are_counted(worker):
    def fails(c, _):
        while True:
            c.head()
            c.send(answer(b"no", status=b"500 No"))
    live, fresh = serve(), App(fails)
    n = worker.app("a", live)
    worker.tell(f"front {n} {front(flags=CANARY, weight=0, header=b'x-canary')}", f"inst {n} {fresh.id} 127.0.0.1:{fresh.port} up canary")
    for _ in range(5):
        assert get(worker, "a.test")[0] == 200
    for _ in range(3):
        assert get(worker, "a.test", more="X-Canary: 1\r\n")[0] == 500
    worker.reaches(f"stats {n}", requests=8, canary=3, canary_errors=3)
    # Kept alive, one after the other: each counts where it went.
    c = client(worker)
    for more in ("", "X-Canary: 1\r\n", ""):
        c.send(f"GET / HTTP/1.1\r\nHost: a.test\r\n{more}\r\n".encode())
        c.response()
    worker.reaches(f"stats {n}", requests=11, canary=4, canary_errors=4)


def test_a_broken_message_changes_nothing(worker):
    n = worker.app("a", serve())
    good = front(flags=ALLOW, allow=["10.0.0.0/8"])
    worker.tell(f"front {n} {good}")
    for bad in (good[:-2], good + "00", front(slot=16000), front(rate=(5, 0)), front(text=b"x" * 501), front(rate=(1000001, 1)),
                front(paths=[(1, "", 0)]), front(paths=[(1, "/" + "a" * 128, 0)])):
        worker.tell(f"front {n} {bad}")
        assert get(worker, "a.test")[0] == 403, bad[:300]
    worker.tell(f"front 4711 {good}", "frontdel 4711")
    # A sync that does not name it removes it.
    a = serve(b"a")
    worker.tell("begin", f"app {n} serving 1000 a", f"host {n} a.test", f"inst {n} 1 127.0.0.1:{a.port} up")
    assert get(worker, "a.test")[0] == 403
    worker.tell("end")
    assert get(worker, "a.test")[2] == b"a"
    worker.tell(f"front {n} {good}", "begin", f"app {n} serving 1000 a", f"host {n} a.test", f"front {n} {good}", "end")
    assert get(worker, "a.test")[0] == 403


def test_a_request_never_reaches_another_apps_instance(worker):
    """Addresses and ports pass from one app to another under load; each answer names the app that was asked."""
    wrong = []

    def strict(c, _):
        first = None
        while True:
            _, fields = c.head()
            host = dict(fields)["Host"]
            first = first or host
            if host != first:
                wrong.append((first, host))
            c.send(answer(host.encode()))
    servers = [App(strict) for _ in range(4)]
    apps = [worker.app(f"x{i}") for i in range(4)]
    stop, failed, served = threading.Event(), [], [0]

    def ask(i):
        c = client(worker)
        while not stop.is_set():
            try:
                c.send(f"GET / HTTP/1.1\r\nHost: x{i}.test\r\n\r\n".encode())
                status, _, body = c.response()
            except (OSError, EOFError):
                c = client(worker)
                continue
            served[0] += 1
            if status == 200 and body != f"x{i}.test".encode():
                failed.append((i, body))
    threads = [threading.Thread(target=ask, args=(i % 4,)) for i in range(8)]
    instance = 100000
    current = {}
    for t in threads:
        t.start()
    end = time.monotonic() + 4
    turn = 0
    while time.monotonic() < end:
        turn += 1
        lines = []
        for i, n in enumerate(apps):
            instance += 1
            port = servers[(i + turn) % 4].port
            if i in current:
                # Ended, or left to drain: its address passes to another app in the same moment.
                lines.append(f"instdel {current[i]}" if turn % 2 else f"inst {n} {current[i]} 127.0.0.1:{servers[(i + turn - 1) % 4].port} draining")
            lines.append(f"inst {n} {instance} 127.0.0.1:{port} up")
            current[i] = instance
        worker.tell(*lines)
    stop.set()
    for t in threads:
        t.join(20)
    assert not failed and not wrong, (failed[:5], wrong[:5])
    assert served[0] > 100 and turn > 20, (served, turn)
