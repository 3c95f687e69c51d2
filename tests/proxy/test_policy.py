"""An app's front door: paths, addresses, maintenance, credentials, limits, sticky clients."""
import base64
import hashlib
import hmac
import ipaddress
import struct
import threading
import time

from talk import App, answer, client, get, serve, until

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
