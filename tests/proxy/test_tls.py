"""TLS: certificates by name, sessions, what a hostile client may try, https as an app's setting."""
import hashlib
import os
import socket
import ssl
import subprocess
import threading
import time

import talk
from talk import WAIT, App, answer, client, serve, until
from test_policy import front
from tls import context, dial, get, give, shown

BOTH = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
KEY = [bytes([n]) * 80 for n in range(1, 8)]


def slow(function):
    function.slow = True
    return function


def tickets(worker, *keys):
    worker.tell("tickets " + b"".join(keys).hex())


def test_requests_over_both_versions(worker):
    app = serve(b"hello")
    n = worker.app("a", app)
    _, der = give(worker, n, "a.test")
    for version in BOTH:
        c = dial(worker, "a.test", context(version=version))
        assert c.s.getpeercert(True) == der and c.s.selected_alpn_protocol() == "http/1.1"
        for _ in range(3):
            c.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: http\r\n\r\n")
            assert c.response()[2] == b"hello"
        c.close()
    head = app.seen().decode()
    assert head.count("X-Forwarded-Proto: https\r\n") == 6 and "Proto: http\r\n" not in head
    assert head.count(f"X-Forwarded-Port: {worker.tls_port}\r\n") == 6
    assert talk.get(worker, "a.test")[0] == 200 and "X-Forwarded-Proto: http\r\n" in app.seen().decode()
    f = worker.figures("worker")
    assert f["handshakes"] == 2 and f["failed"] == 0 and f["resumed"] == 0


def test_pipelined_and_byte_by_byte(worker):
    n = worker.app("a", serve(b"x"))
    give(worker, n, "a.test")
    c = dial(worker, "a.test", data=b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n" * 20)
    for _ in range(20):
        assert c.response()[0] == 200
    for b in b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc":
        c.send(bytes([b]))
    assert c.response()[0] == 200


def test_names_choose_certificates(worker):
    a, b = worker.app("a", serve()), worker.app("b", serve())
    worker.tell(f"host {a} www.a.test", f"host {a} x.wild.test")
    _, plain = give(worker, 0, "node.test", kind="default")
    _, node = give(worker, 0, "*.test", "b.test", kind="node")
    assert shown(worker, "a.test") == node
    ca, exact = give(worker, a, "a.test", "www.a.test", "b.test")
    _, wild = give(worker, a, "*.wild.test")
    assert shown(worker, "a.test") == exact and shown(worker, "WWW.a.test") == exact
    assert shown(worker, "x.wild.test") == wild
    # What an app's certificate says of another app's name counts for nothing, nor does a name that leads nowhere.
    assert shown(worker, "b.test") == node and shown(worker, "y.wild.test") == plain
    assert shown(worker, "y.test") == node and shown(worker, "x.y.test") == plain
    assert shown(worker, None) == plain and shown(worker, "a_b!.test") == plain
    worker.tell(f"hostdel {a} a.test")
    assert shown(worker, "a.test") == node
    worker.tell(f"certdel {ca}")
    assert shown(worker, "www.a.test") == plain
    # With its app go its certificates; an unknown app gets none.
    worker.tell(f"appdel {a}")
    assert shown(worker, "x.wild.test") == plain
    give(worker, 4711, "x.wild.test")
    assert shown(worker, "x.wild.test") == plain


def test_no_certificate_at_all_is_an_alert(worker):
    worker.app("a", serve())
    try:
        dial(worker, "a.test")
    except ssl.SSLError as e:
        assert "ALERT" in str(e) or "alert" in str(e), e
    else:
        raise AssertionError("a handshake without a certificate")
    assert worker.figures("worker")["failed"] == 1


def test_rsa_keys_too(worker):
    n = worker.app("a", serve(b"rsa"))
    _, der = give(worker, n, "a.test", kind="app")
    _, rsa = give(worker, n, "a.test", "r.test", kind="app")
    from tls import pem
    both, crt = pem("a.test", kind="rsa")
    at = os.path.join(worker.folder, "rsa.pem")
    with open(at, "w") as f:
        f.write(both)
    worker.tell(f"cert {worker.id()} {n} app {at}")
    assert shown(worker, "a.test") == ssl.PEM_cert_to_DER_cert(crt) not in (der, rsa)
    assert get(worker, "a.test")[2] == b"rsa"


def test_a_swap_drops_nothing(worker):
    n = worker.app("a", serve(b"ok"))
    old, first = give(worker, n, "a.test", days=30)
    c = dial(worker, "a.test")
    for days in range(31, 51):
        new, der = give(worker, n, "a.test", days=days)
        worker.tell(f"certdel {old}")
        old = new
        c.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert c.response()[0] == 200
        assert shown(worker, "a.test") == der != first


def test_a_new_table_takes_old_certificates_away(worker):
    n = worker.app("a", serve())
    kept, der = give(worker, n, "a.test")
    gone, _ = give(worker, n, "a.test", days=40)
    worker.tell("newchan", "begin", f"app {n} serving 1000 a", f"host {n} a.test",
                f"cert {kept} {n} app {worker.folder}/cert-{kept}.pem", "end")
    assert gone and shown(worker, "a.test") == der


def test_bad_certificates_are_ignored(worker):
    n = worker.app("a", serve())
    _, der = give(worker, n, "a.test")
    from tls import pem
    both, crt = pem("a.test", days=99)
    for text in (both[:200], crt, both.replace("PRIVATE KEY", "PUBLIC KEY"), "hello", both[:-200] + "\n"):
        at = os.path.join(worker.folder, "bad.pem")
        with open(at, "w") as f:
            f.write(text)
        m = worker.id()
        worker.tell(f"cert {m} {n} app {at}")
        try:
            shown(worker, "a.test")  # may fail; the worker must not
        except ssl.SSLError:
            pass
        worker.tell(f"certdel {m}")
        assert shown(worker, "a.test") == der


def test_sessions_are_resumed_by_tickets(worker):
    n = worker.app("a", serve(b"ok"))
    give(worker, n, "a.test")

    def again(ctx, session):
        c = dial(worker, "a.test", ctx, session, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert c.response()[0] == 200
        reused, session = c.s.session_reused, c.s.session
        c.close()
        return reused, session

    for version in BOTH:
        ctx = context(version=version)
        _, without = again(ctx, None)
        assert not again(ctx, without)[0]  # no keys yet: no tickets
    for version in BOTH:
        ctx = context(version=version)
        tickets(worker, KEY[0])
        _, first = again(ctx, None)
        assert again(ctx, first)[0]
        tickets(worker, KEY[1], KEY[0])
        reused, second = again(ctx, first)
        assert reused
        # Keys that a worker had are kept beside those of a new control, and end when there are enough.
        tickets(worker, KEY[2])
        assert again(ctx, second)[0]
        tickets(worker, KEY[3])
        tickets(worker, KEY[4])
        tickets(worker, KEY[5])
        assert not again(ctx, first)[0]
        tickets(worker, *KEY[3:7])
    assert worker.figures("worker")["resumed"] == 6


def test_large_bodies_both_ways(worker):
    data = os.urandom(1 << 20) * 24
    digest = hashlib.sha256(data).hexdigest()

    def app(c, _):
        _, fields = c.head()
        body = c.body(fields)
        c.send(answer(hashlib.sha256(body).hexdigest().encode()))
        c.head()
        c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(data), 100000):
            piece = data[at:at + 100000]
            c.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        c.send(b"0\r\n\r\n")

    n = worker.app("a", App(app))
    give(worker, n, "a.test")
    before = worker.rss_kib()
    c = dial(worker, "a.test", data=b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(data))
    c.send(data)
    assert c.response()[2].decode() == digest
    c.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    time.sleep(0.5)  # it piles up in front of a client that does not read
    assert hashlib.sha256(c.response()[2]).hexdigest() == digest
    assert worker.sanitized or worker.rss_kib() - before < 3000


def test_websockets(worker):
    def app(c, _):
        c.head()
        c.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while True:
            c.send(c.take(5)[::-1])

    n = worker.app("a", App(app))
    give(worker, n, "a.test")
    c = dial(worker, "a.test", data=b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert c.response()[0] == 101
    for _ in range(50):
        c.send(b"abcde")
        assert c.take(5) == b"edcba"


def test_our_end_is_said_in_tls(worker):
    n = worker.app("a", serve(b"ok"))
    give(worker, n, "a.test")
    for head in (b"Connection: close\r\n", b"Bad Field: x\r\n"):
        c = dial(worker, "a.test", data=b"GET / HTTP/1.1\r\nHost: a.test\r\n" + head + b"\r\n")
        assert c.response()[0] in (200, 400)
        assert c.s.recv(1) == b""  # a ragged end would raise


def test_plain_http_on_the_tls_port_is_told_so(worker):
    n = worker.app("a", serve())
    give(worker, n, "a.test")
    s = socket.create_connection(("127.0.0.1", worker.tls_port), timeout=WAIT)
    c = talk.Conn(s)
    c.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    status, _, body = c.response()
    assert status == 400 and b"https" in body and c.ended()


def test_rubbish_and_cut_handshakes(worker):
    n = worker.app("a", serve(b"ok"))
    give(worker, n, "a.test")
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)
    for data in (b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 20000, os.urandom(600), b"\x80\x2e\x01\x03\x01", hello, b"\x15\x03\x01\x00\x02\x02\x28"):
        s = socket.create_connection(("127.0.0.1", worker.tls_port), timeout=WAIT)
        s.sendall(data)
        try:
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has been cut already
        assert len(talk.Conn(s).rest()) < 100  # an alert at most, then the end
        s.close()
    for n in (1, 5, 60, 200):
        out, inc = ssl.MemoryBIO(), ssl.MemoryBIO()
        o = context().wrap_bio(inc, out, server_hostname="a.test")
        try:
            o.do_handshake()
        except ssl.SSLWantReadError:
            pass
        s = socket.create_connection(("127.0.0.1", worker.tls_port), timeout=WAIT)
        s.sendall(out.read()[:n])
        s.close()
    until("all gone", lambda: worker.figures("worker")["connections"] == 0)
    assert get(worker, "a.test")[0] == 200


@slow
def test_a_slow_handshake_has_a_deadline(worker):
    n = worker.app("a", serve())
    give(worker, n, "a.test")
    s = socket.create_connection(("127.0.0.1", worker.tls_port), timeout=20)
    begin = time.monotonic()
    s.sendall(b"\x16\x03\x01")
    assert talk.Conn(s).ended(20) and 8 < time.monotonic() - begin < 13


def test_old_versions_and_foreign_protocols_are_refused(worker):
    n = worker.app("a", serve())
    give(worker, n, "a.test")
    for ctx in (context(alpn=("smtp",)), context(alpn=("acme-tls/1",)), context(alpn=("http/1.0", "spdy/3"))):
        try:
            dial(worker, "a.test", ctx)
        except ssl.SSLError as e:
            assert "no application protocol" in str(e).lower(), e
        else:
            raise AssertionError("a foreign protocol was agreed to")
    assert dial(worker, "a.test", context(alpn=None)).s.selected_alpn_protocol() is None
    for flag in ("-tls1", "-tls1_1"):
        r = subprocess.run(["openssl", "s_client", flag, "-cipher", "ALL:@SECLEVEL=0", "-connect", f"127.0.0.1:{worker.tls_port}"],
                           input=b"", capture_output=True, timeout=WAIT)
        assert r.returncode != 0 or b"Cipher is (NONE)" in r.stdout, r.stdout
    weak = subprocess.run(["openssl", "s_client", "-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256", "-connect",
                           f"127.0.0.1:{worker.tls_port}"], input=b"", capture_output=True, timeout=WAIT)
    assert b"Cipher is (NONE)" in weak.stdout, weak.stdout


def s_client(worker, lines, *flags):
    """What openssl says to commands: R renegotiates, K asks for new keys of both."""
    p = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{worker.tls_port}", "-servername", "a.test", *flags],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        time.sleep(0.3)
        for line in lines:
            try:
                p.stdin.write(line)
                p.stdin.flush()
            except OSError:
                break
            time.sleep(0.02)
        return p.communicate(timeout=WAIT)[0]
    finally:
        p.kill()


def test_renegotiation_is_refused(worker):
    n = worker.app("a", serve())
    give(worker, n, "a.test")
    out = s_client(worker, [b"R\n", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"], "-tls1_2")
    assert b"no renegotiation" in out.lower() or b"unexpected" in out.lower() or b"HTTP/1.1 200" not in out, out


def test_key_updates_are_answered_but_not_for_ever(worker):
    n = worker.app("a", serve(b"still here"))
    give(worker, n, "a.test")
    out = s_client(worker, [b"K\n"] * 10 + [b"GET / HTTP/1.1\nHost: a.test\n\n"], "-tls1_3", "-crlf")
    assert b"still here" in out, out
    out = s_client(worker, [b"K\n"] * 90 + [b"GET / HTTP/1.1\nHost: a.test\n\n"], "-tls1_3", "-crlf")
    assert b"still here" not in out, out


def test_another_host_than_the_name_is_misdirected(worker):
    a, b = worker.app("a", serve(b"a")), worker.app("b", serve(b"b"))
    worker.tell(f"host {a} www.a.test")
    give(worker, 0, "*.test", kind="default")
    assert get(worker, "a.test:443")[2] == b"a" and get(worker, "A.Test")[2] == b"a"
    assert get(worker, "www.a.test", name="a.test")[2] == b"a"  # one app's
    status, fields, _ = get(worker, "b.test", name="a.test")
    assert status == 421 and fields["tulou-fault"] == "misdirected"
    assert get(worker, "a.test", name="nobody.test")[0] == 421
    assert get(worker, "nobody.test", name="a.test")[0] == 404
    c = dial(worker, None, data=b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n")
    assert c.response()[2] == b"b"
    # An address is no name; openssl's own client says it when it is told to.
    p = subprocess.run(["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{worker.tls_port}", "-servername", "127.0.0.1"],
                       input=b"GET / HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n", capture_output=True, timeout=WAIT)
    assert b"200 OK" in p.stdout, p.stdout
    # The connection lives on.
    c = dial(worker, "a.test", data=b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert c.response()[0] == 421 and c.response()[2] == b"a" and b


def test_https_settings_of_an_app(worker):
    r = worker.app("r", serve(b"ok"), https="redirect", hsts=3600)
    worker.app("off", serve(b"ok"), https="off")
    give(worker, 0, "*.test", kind="default")
    status, fields, _ = talk.get(worker, "r.test:80", "/a/b?c=d")
    assert status == 308 and fields["location"] == f"https://r.test:{worker.tls_port}/a/b?c=d"
    assert "strict-transport-security" not in fields
    c = client(worker, b"OPTIONS * HTTP/1.1\r\nHost: r.test\r\n\r\n")
    assert c.response()[1]["location"] == f"https://r.test:{worker.tls_port}"
    c = client(worker, b"POST / HTTP/1.1\r\nHost: r.test\r\nContent-Length: 5\r\n\r\n")
    assert c.response()[0] == 308
    status, fields, _ = get(worker, "r.test")
    assert status == 200 and fields["strict-transport-security"] == "max-age=3600", (status, fields)
    own = worker.app("own", serve(b"ok", b"Strict-Transport-Security: max-age=1\r\n"), hsts=3600)
    c = dial(worker, "own.test", data=b"GET / HTTP/1.1\r\nHost: own.test\r\n\r\n")
    assert own and [v for k, v in c.head()[1] if k == "Strict-Transport-Security"] == ["max-age=1"]
    assert talk.get(worker, "own.test")[1].get("strict-transport-security") == "max-age=1"
    assert talk.get(worker, "off.test")[0] == 200
    status, fields, _ = get(worker, "off.test")
    assert status == 421 and fields["tulou-fault"] == "https-off"
    # It belongs to the host, whichever app answers a path of it.
    worker.tell(f"front {r} {front(paths=[(own, '/own', 0), (off := worker.app('plain', serve(b'plain')), '/plain', 0)])}")
    status, fields, body = get(worker, "r.test", "/plain/x")
    assert off and body == b"plain" and fields["strict-transport-security"] == "max-age=3600"
    worker.tell(f"app {r} serving 1000 r on 0")
    assert talk.get(worker, "r.test")[0] == 200
    assert "strict-transport-security" not in get(worker, "r.test")[1]


def test_challenges_are_shown_only_to_who_asks(worker):
    n = worker.app("a", serve())
    _, der = give(worker, n, "a.test")
    m, challenge = give(worker, 0, "a.test", kind="challenge", days=1)
    acme = context(alpn=("acme-tls/1",))
    assert shown(worker, "a.test", ctx=acme) == challenge and shown(worker, "a.test") == der
    try:
        shown(worker, "b.test", ctx=acme)
        raise AssertionError("a challenge for another name")
    except ssl.SSLError:
        pass
    # Nothing is served on such a connection.
    c = dial(worker, "a.test", acme)
    try:
        assert c.ended()
    except (ssl.SSLError, OSError):
        pass
    worker.tell(f"certdel {m}")
    try:
        shown(worker, "a.test", ctx=acme)
        raise AssertionError("a challenge that was taken back")
    except ssl.SSLError:
        pass


def test_many_idle_connections_are_small(worker):
    n = worker.app("a", serve(b"ok"))
    give(worker, n, "a.test")
    ctx = context()
    warm = [dial(worker, "a.test", ctx, data=b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") for _ in range(20)]
    assert all(c.response()[0] == 200 for c in warm)
    before, held = worker.rss_kib(), []
    for _ in range(300):
        c = dial(worker, "a.test", ctx, data=b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert c.response()[0] == 200
        held.append(c)
    each = (worker.rss_kib() - before) / len(held)
    assert worker.sanitized or each < 3, f"{each:.1f} KiB each"
    print(f"# {each:.1f} KiB each idle TLS connection", flush=True)


def test_draining(worker):
    gate = threading.Event()

    def app(c, _):
        c.head()
        gate.wait(WAIT)
        c.send(answer(b"late"))

    n = worker.app("a", App(app))
    give(worker, n, "a.test")
    idle = dial(worker, "a.test")
    busy = dial(worker, "a.test", data=b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    until("in flight", lambda: worker.figures(f"stats {n}")["in_flight"] == 1)
    worker.process.stdin.write("drain 5000\n")
    worker.process.stdin.flush()
    assert idle.s.recv(1) == b""
    gate.set()
    status, fields, body = busy.response()
    assert status == 200 and body == b"late" and fields["connection"] == "close"
    assert busy.s.recv(1) == b""
    worker.expect("drain over")
