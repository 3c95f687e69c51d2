"""TLS 1.3 once the handshake is over, where the worker goes on without OpenSSL: records cut, joined, changed, repeated, keys renewed."""
import hashlib
import os
import random
import select
import socket
import ssl
import struct
import subprocess
import threading
import time

from talk import WAIT, App, answer, serve, until
from test_tls import KEY, tickets
from tls import Sealer, context, dial, get, give

V13 = ssl.TLSVersion.TLSv1_3
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")


class Cut:
    """A client whose records pass through the test's hands: what wrap() gives is sent by send()."""

    def __init__(self, worker, ctx=None, first=b"", **more):
        self.s = socket.create_connection(("127.0.0.1", worker.tls_port), timeout=WAIT, **more)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.inc, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.o = (ctx or context(version=V13)).wrap_bio(self.inc, self.out, server_hostname="a.test")
        self.plain = b""
        while True:
            try:
                self.o.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.s.sendall(self.out.read())
                self.feed()
        if first:
            self.o.write(first)  # in one segment with our Finished
        self.s.sendall(self.out.read())

    def feed(self):
        data = self.s.recv(65536)
        if data:
            self.inc.write(data)
        else:
            self.inc.write_eof()
        return data

    def wrap(self, data):
        self.o.write(data)
        return self.out.read()

    def send(self, records):
        self.s.sendall(records)

    def more(self):
        """Some text, b"" at the end that TLS knows."""
        while True:
            try:
                return self.o.read(65536)
            except ssl.SSLWantReadError:
                data = self.out.read()
                if data:
                    self.s.sendall(data)
                self.feed()
            except ssl.SSLZeroReturnError:
                return b""

    def response(self):
        while b"\r\n\r\n" not in self.plain:
            self._more()
        head, self.plain = self.plain.split(b"\r\n\r\n", 1)
        n = next((int(x.split(b": ")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")), 0)
        while len(self.plain) < n:
            self._more()
        body, self.plain = self.plain[:n], self.plain[n:]
        return int(head.split()[1]), body

    def _more(self):
        data = self.more()
        if not data:
            raise EOFError(f"end after {self.plain[-200:]!r}")
        self.plain += data

    def alert(self):
        """What the worker gave as its reason; "" where there was no word."""
        try:
            while self.more():
                pass
        except ssl.SSLError as e:
            return e.reason or ""
        except OSError:
            pass
        return ""


def begin(worker, app=None):
    n = worker.app("a", app or serve(b"ok"))
    give(worker, n, "a.test")
    return n


def records(data):
    out = []
    while data:
        n = 5 + int.from_bytes(data[3:5], "big")
        out.append(data[:n])
        data = data[n:]
    return out


def test_a_request_with_the_finished(worker):
    begin(worker)
    for _ in range(10):
        c = Cut(worker, first=GET)
        assert c.response() == (200, b"ok")
        c.send(c.wrap(GET))
        assert c.response() == (200, b"ok")
    # More than what is read at a time, and the last record not whole.
    c = Cut(worker, first=GET * 1000)
    for _ in range(1000):
        assert c.response() == (200, b"ok")


def test_records_byte_by_byte(worker):
    begin(worker)
    c = Cut(worker)
    for b in c.wrap(GET) + c.wrap(GET):
        c.send(bytes([b]))
    assert c.response() == c.response() == (200, b"ok")
    # Cut at each place, with a moment between.
    for at in range(1, len(GET) + 22):
        data = c.wrap(GET)
        c.send(data[:at])
        time.sleep(0.002)
        c.send(data[at:])
        assert c.response() == (200, b"ok"), at


def test_many_records_in_one_segment(worker):
    begin(worker)
    c = Cut(worker)
    c.send(b"".join(c.wrap(bytes([b])) for b in GET * 20))
    for _ in range(20):
        assert c.response() == (200, b"ok")


def test_bodies_both_ways_in_random_pieces(worker):
    data = os.urandom(10 << 20)
    digest = hashlib.sha256(data).digest()
    good = []

    def app(c, _):
        while True:
            line, fields = c.head()
            body = c.body(fields)
            if line.startswith("POST"):
                good.append(hashlib.sha256(body).digest() == digest)
                c.send(answer(b"thanks"))
            else:
                c.send(answer(data))
    begin(worker, App(app))
    for seed, suite in enumerate(SUITES):
        r = random.Random(seed)
        ctx = context(version=V13)
        c = Cut(worker, ctx)
        head = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(data)
        text, at, wire = head + data, 0, b""
        while at < len(text):
            n = r.choice((1, 100, 1400, 16384, 16385, 40000, 100000)) if suite != SUITES[0] else 16384
            wire += c.wrap(text[at:at + n])
            at += n
            while len(wire) > 200000 or (at >= len(text) and wire):
                n = r.choice((1, 4, 5, 6, 21, 22, 1460, 16405, 16406, 16407, 33000, 65536, 150000))
                c.send(wire[:n])
                wire = wire[n:]
        assert c.response() == (200, b"thanks") and good.pop()
        c.send(c.wrap(GET))
        status, body = c.response()
        assert status == 200 and hashlib.sha256(body).digest() == digest, suite


def test_a_slow_reader(worker):
    data = os.urandom(3 << 20)

    def app(c, _):
        while True:
            c.head()
            c.send(answer(data))
    begin(worker, App(app))
    c = Cut(worker)
    c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c.send(c.wrap(GET))
    got = 0
    while got < 2 << 20:
        got += len(c.more())
        time.sleep(0.0005)
    while got < len(data):
        got += len(c.more())
    assert got >= len(data)


def test_uploads_to_a_slow_app(worker):
    """The worker stops reading and goes on: no edge is lost behind records that wait here."""
    def app(c, _):
        while True:
            _, fields = c.head()
            left = int(dict(fields)["Content-Length"]) - len(c.buf)
            c.buf = b""
            while left > 0:
                left -= len(c.s.recv(random.choice((1000, 20000, 100000))))
                time.sleep(0.001)
            c.send(answer(b"thanks"))
    begin(worker, App(app))
    c = Cut(worker)
    for n in (100000, 1 << 20, 1 << 21):
        wire = c.wrap(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % n) + c.wrap(bytes(n))
        while wire:
            k = random.choice((100, 16406, 30000))
            c.send(wire[:k])
            wire = wire[k:]
        assert c.response() == (200, b"thanks")


def refused(worker, change, reason):
    """A POST whose second record is changed: the first is all that the app sees of the body."""
    seen = []

    def app(c, _):
        c.head()
        while True:
            seen.append(c.take(1))
    begin(worker, App(app))
    before = worker.figures("worker")["connections"]
    for _ in range(3):
        seen.clear()
        c = Cut(worker)
        c.send(c.wrap(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n") + c.wrap(b"a"))
        until("the first byte", lambda: seen)
        try:
            c.send(change(c))
        except OSError:
            pass
        said = c.alert()
        assert said in (reason, ""), (said, reason)
        assert said or change in (replay,), said
        worker.reaches("worker", connections=before)
        assert seen == [b"a"], seen


def flip(c):
    data = bytearray(c.wrap(b"bc"))
    data[-1] ^= 4
    return bytes(data) + c.wrap(b"d")


def replay(c):
    data = c.wrap(b"b")
    return data[:-1] + bytes([data[-1] ^ 255]) + data


def test_a_flipped_bit(worker):
    refused(worker, flip, "SSLV3_ALERT_BAD_RECORD_MAC")


def test_a_record_left_out(worker):
    refused(worker, lambda c: c.wrap(b"b") and c.wrap(b"c"), "SSLV3_ALERT_BAD_RECORD_MAC")


def test_change_cipher_spec_after_finished(worker):
    refused(worker, lambda c: b"\x14\x03\x03\x00\x01\x01" + c.wrap(b"b"), "SSLV3_ALERT_UNEXPECTED_MESSAGE")


def test_plain_records_after_finished(worker):
    refused(worker, lambda c: b"\x15\x03\x03\x00\x02\x01\x00" + c.wrap(b"b"), "SSLV3_ALERT_UNEXPECTED_MESSAGE")


def test_too_long_records(worker):
    refused(worker, lambda c: b"\x17\x03\x03\x41\x01" + c.wrap(b"b"), "TLSV1_ALERT_RECORD_OVERFLOW")


def test_too_short_records(worker):
    refused(worker, lambda c: b"\x17\x03\x03\x00\x10" + bytes(16), "TLSV1_ALERT_DECODE_ERROR")


def test_a_replayed_record(worker):
    seen = []

    def app(c, _):
        c.head()
        while True:
            seen.append(c.take(1))
    begin(worker, App(app))
    c = Cut(worker)
    c.send(c.wrap(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n"))
    data = c.wrap(b"a")
    c.send(data + data)
    assert c.alert() == "SSLV3_ALERT_BAD_RECORD_MAC"
    worker.reaches("worker", connections=0)
    assert seen in ([], [b"a"])


def test_what_came_before_the_fault_counts(worker):
    app = serve(b"ok")
    begin(worker, app)
    c = Cut(worker)
    good, bad = c.wrap(GET), bytearray(c.wrap(GET))
    bad[20] ^= 1
    c.send(good)
    assert c.response() == (200, b"ok")
    c.send(bytes(bad))
    assert c.alert() == "SSLV3_ALERT_BAD_RECORD_MAC"
    assert app.seen().count(b"GET /") == 1
    worker.reaches("worker", connections=0)


def test_close_notify(worker):
    begin(worker)
    # Alone, with a request, and in pieces; the end is said back.
    for last in (0, 1, 2):
        c = Cut(worker)
        data = c.wrap(GET) if last else b""
        try:
            c.o.unwrap()
        except ssl.SSLWantReadError:
            pass
        data += c.out.read()
        if last == 2:
            for b in data:
                c.send(bytes([b]))
        else:
            c.send(data)
        if last:
            c.plain = b""
            while b"ok" not in c.plain:
                c._more()
        try:
            c.o.unwrap()
        except ssl.SSLWantReadError:
            c.feed()
            c.o.unwrap()  # theirs has come
    worker.reaches("worker", connections=0)


def test_an_end_without_close_notify(worker):
    """Between records it is an end, as of a plain connection; inside of one it is a fault.  Neither cuts a request short."""
    got, gate = [], threading.Event()

    def app(c, _):
        while True:
            _, fields = c.head()
            got.append(c.body(fields))
            gate.wait(WAIT)
            c.send(answer(b"late"))
    begin(worker, App(app))
    c = Cut(worker)
    c.send(c.wrap(GET))
    until("asked", lambda: got)
    c.s.shutdown(socket.SHUT_WR)
    gate.set()
    assert c.response() == (200, b"late")
    worker.reaches("worker", connections=0)
    for cut in (0, 1, 4, 5, 10, 22):
        c = Cut(worker)
        c.send(c.wrap(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n") + c.wrap(b"a" * 8) + c.wrap(b"b")[:cut])
        c.s.shutdown(socket.SHUT_WR)
        try:
            while c.more():
                pass
        except (ssl.SSLError, OSError):
            pass
        worker.reaches("worker", connections=0)
    assert got == [b""]


def test_resets(worker):
    begin(worker)
    for k in range(20):
        c = Cut(worker)
        data = c.wrap(GET)
        c.send(data[:k * 3])
        c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.s.close()
    worker.reaches("worker", connections=0)


def openssl(worker, steps, *flags):
    """s_client reads a line of each step (K: new keys of both, k: of its own; all else is sent) and prints what the step says,
    before it is given the next one; all it said."""
    p = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{worker.tls_port}", "-servername", "a.test", "-tls1_3", "-crlf", *flags],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = bytearray()

    def until_said(what, times=1):
        end = time.monotonic() + WAIT
        while said.count(what) < times and time.monotonic() < end and select.select([p.stdout], [], [], end - time.monotonic())[0]:
            more = os.read(p.stdout.fileno(), 65536)
            if not more:
                return
            said.extend(more)
    try:
        until_said(b"Verify return code")
        for line, what in steps:
            times = said.count(what) + 1
            p.stdin.write(line)
            p.stdin.flush()
            until_said(what, times)
        p.stdin.close()
        until_said(b"that it ends")
    except OSError:
        said.extend(p.stdout.read())
    finally:
        p.kill()
        p.wait()
    return bytes(said)


def test_key_updates_of_each_side(worker):
    app = serve(b"still here")
    begin(worker, app)
    ask = [(b"GET / HTTP/1.1\nHost: a.test\n\n", b"still here")]
    ours, both = (b"k\n", b"KEYUPDATE"), (b"K\n", b"KEYUPDATE")
    for suite in SUITES:
        for keys in ([ours], [both], [ours, both, both, ours]):
            out = openssl(worker, keys + ask + keys + ask, "-ciphersuites", suite)
            assert out.count(b"still here") == 2 and b"KEYUPDATE" in out, out
    # Answered where that was asked, and not else.
    for key, answers in ((ours, 0), (both, 1)):
        out = openssl(worker, [key] + ask, "-msg")
        assert out.count(b"<<< TLS 1.3, Handshake [length 0005], KeyUpdate") == answers, out
    out = openssl(worker, [ours] * 70 + ask)
    assert b"still here" not in out, out


def test_sessions_go_on(worker):
    """Tickets are sealed by OpenSSL before the connection is taken over."""
    begin(worker)
    tickets(worker, KEY[0])
    for version in (V13, ssl.TLSVersion.TLSv1_2):
        ctx, session = context(version=version), None
        for n in range(4):
            c = dial(worker, "a.test", ctx, session, GET)
            for _ in range(3):
                assert c.response()[2] == b"ok"
                c.send(GET)
            assert c.response()[2] == b"ok" and c.s.session_reused == (n > 0)
            session = c.s.session
            c.close()
    worker.reaches("worker", resumed=6, failed=0)


def test_all_suites(worker):
    begin(worker)
    for suite in SUITES:
        out = openssl(worker, [(b"GET / HTTP/1.1\nHost: a.test\nConnection: close\n\n", b"\r\n\r\nok")], "-ciphersuites", suite)
        assert f"New, TLSv1.3, Cipher is {suite}".encode() in out and b"200 OK" in out, out
    # CCM stays OpenSSL's, were it to be offered; it is not.
    out = openssl(worker, [], "-ciphersuites", "TLS_AES_128_CCM_SHA256")
    assert b"Cipher is (NONE)" in out, out


def test_http2_in_random_pieces(worker):
    begin(worker, serve(b"x" * 30000))
    for seed in range(3):
        r = random.Random(seed)
        c = Cut(worker, context(alpn=("h2",), version=V13))
        assert c.o.selected_alpn_protocol() == "h2"
        # GET / of a.test by literals without Huffman (RFC 7541, 6.2.2), on 30 streams.
        head = b"\x82\x87\x84\x01\x06a.test"
        text = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + b"\x00\x04\x7f\xff\xff\xff" + \
            b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\x00\x00\x00" + \
            b"".join(len(head).to_bytes(3, "big") + b"\x01\x05" + (2 * i + 1).to_bytes(4, "big") + head for i in range(30))
        wire = b""
        while text:
            n = r.choice((1, 9, 100))
            wire += c.wrap(text[:n])
            text = text[n:]
        while wire:
            n = r.choice((1, 5, 22, 100, 1000))
            c.send(wire[:n])
            wire = wire[n:]
        ends = 0
        buf = b""
        while ends < 30:
            buf += c.more()
            while len(buf) >= 9 and len(buf) >= 9 + int.from_bytes(buf[:3], "big"):
                ends += buf[3] == 0 and buf[4] & 1
                assert buf[3] not in (3, 7), buf[:30]
                buf = buf[9 + int.from_bytes(buf[:3], "big"):]


def test_websockets_in_pieces(worker):
    def app(c, _):
        c.head()
        c.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while True:
            data = c.buf or c.s.recv(65536)
            c.buf = b""
            if not data:
                return
            c.send(data)
    begin(worker, App(app))
    c = Cut(worker)
    c.send(c.wrap(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n") + c.wrap(b"first"))
    assert c.response()[0] == 101
    want = b"first"
    r = random.Random(1)
    for _ in range(100):
        data = os.urandom(r.choice((1, 5, 1000, 20000, 70000)))
        wire = c.wrap(data)
        want += data
        while wire:
            n = r.choice((1, 21, 5000, 100000))
            c.send(wire[:n])
            wire = wire[n:]
        while len(c.plain) < len(want):
            c.plain += c.more()
        assert c.plain == want
        c.plain = want = b""


def test_the_old_version_goes_the_old_way(worker):
    """TLS 1.2: a request with the Finished, records in pieces."""
    begin(worker)
    ctx = context(version=ssl.TLSVersion.TLSv1_2)
    for _ in range(5):
        c = Cut(worker, ctx, first=GET)
        assert c.response() == (200, b"ok")
        for b in c.wrap(GET):
            c.send(bytes([b]))
        assert c.response() == (200, b"ok")
        c.send(c.wrap(GET) + c.wrap(GET * 100))
        for _ in range(101):
            assert c.response() == (200, b"ok")


def test_handshakes_in_pieces(worker):
    """Each flight byte by byte, the request behind the Finished too."""
    begin(worker)
    for version in (V13, ssl.TLSVersion.TLSv1_2):
        c = Cut.__new__(Cut)
        c.s = socket.create_connection(("127.0.0.1", worker.tls_port), timeout=WAIT)
        c.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c.inc, c.out, c.plain = ssl.MemoryBIO(), ssl.MemoryBIO(), b""
        c.o = context(version=version).wrap_bio(c.inc, c.out, server_hostname="a.test")
        while True:
            try:
                c.o.do_handshake()
                break
            except ssl.SSLWantReadError:
                for b in c.out.read():
                    c.send(bytes([b]))
                c.feed()
        c.o.write(GET)
        for b in c.out.read():
            c.send(bytes([b]))
        assert c.response() == (200, b"ok")


def test_bad_certificates_on_the_clients_side(worker):
    """The client ends the handshake with an alert instead of its Finished."""
    begin(worker)
    ctx = ssl.create_default_context()
    for _ in range(5):
        try:
            dial(worker, "a.test", ctx)
            raise AssertionError("the certificate was believed")
        except ssl.SSLError:
            pass
    worker.reaches("worker", connections=0, failed=5)
    assert get(worker, "a.test")[2] == b"ok"


def test_small_records_stay_openssls(worker):
    """A client that asked for short records (RFC 6066, 4) gets them: OpenSSL keeps the length, the worker knows none."""
    give(worker, worker.app("a", serve(b"x" * 5000)), "a.test")
    for length in ("512", "4096"):
        r = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{worker.tls_port}", "-servername", "a.test", "-tls1_3", "-maxfraglen", length, "-ign_eof", "-quiet"],
                           input=GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), capture_output=True, timeout=WAIT)
        assert r.stdout.endswith(b"\r\n\r\n" + b"x" * 5000), (length, r.stdout[:100], r.stderr[-200:])


def test_padded_heads_hold_nobody_up(worker):
    """Each record of a head may be padding but for one byte: others get their turn between them, and it is read all the same."""
    give(worker, worker.app("a", serve(b"ok")), "a.test")
    c = Cut(worker)
    head = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Long: " + b"y" * 300 + b"\r\n\r\n"
    c.send(b"".join(c.wrap(head[i:i + 1]) for i in range(len(head))))
    assert c.response()[0] == 200


def sealed(worker, alpn=("http/1.1",)):
    """A connection whose records of the client's are the test's own."""
    ctx = context(alpn=alpn, version=V13)
    ctx.keylog_filename = os.path.join(worker.folder, f"keys-{worker.id()}")
    c = Cut(worker, ctx)
    with open(ctx.keylog_filename) as f:
        secret = next(line.split()[2] for line in f if line.startswith("CLIENT_TRAFFIC_SECRET_0"))
    return c, Sealer(c.o.cipher()[0], bytes.fromhex(secret))


def test_key_updates_in_pieces(worker):
    begin(worker)
    c, k = sealed(worker)
    for cuts in ((), (1,), (2,), (3,), (4,), (1, 2), (1, 2, 3, 4)):
        for asked in (0, 1):
            c.send(k.update(*cuts, asked=asked) + k.record(GET))
            assert c.response() == (200, b"ok"), cuts
            for b in k.update(*cuts, asked=asked) + k.record(GET):
                c.send(bytes([b]))
            assert c.response() == (200, b"ok"), cuts
    # The end while one has begun is like any other.
    c.send(k.record(b"\x18\0", 22))
    c.s.close()
    worker.reaches("worker", connections=0)
    half = b"\x18\0\0"
    for rest in ((GET, 23), (b"", 23), (b"\x01\0", 21), (b"", 22), (b"\x01\0\x18", 22), (b"\x01\0\x18\0\0\x01\0", 22)):
        c, k = sealed(worker)
        c.send(k.record(half, 22) + k.record(*rest))
        assert c.alert() == "SSLV3_ALERT_UNEXPECTED_MESSAGE", rest
    c, k = sealed(worker)
    c.send(k.record(b"\x18\0\0\x01\0\x18\0\0\x01\0", 22))
    assert c.alert() == "SSLV3_ALERT_UNEXPECTED_MESSAGE"
    c, k = sealed(worker)
    c.send(b"".join(k.update(1, 2, 3, 4) for _ in range(64)) + k.record(GET))
    assert c.response() == (200, b"ok")
    c.send(k.update(3))
    assert c.alert() == "SSLV3_ALERT_UNEXPECTED_MESSAGE"
    worker.reaches("worker", connections=0)


def test_records_of_padding(worker):
    """As many as may stand between two with content are read over, a few in one turn of the loop; so are those with a byte each."""
    begin(worker)
    h2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\x0b\1\5\0\0\0\1\x82\x87\x84\x01\x06a.test"
    for alpn, text in (("http/1.1", GET), ("h2", h2)):
        for cut in (0, 1, 10, len(text) - 1):
            c, k = sealed(worker, (alpn,))
            assert c.o.selected_alpn_protocol() == alpn
            c.send((k.record(text[:cut]) if cut else b"") + b"".join(k.record(b"", padding=16384) for _ in range(32)) + k.record(text[cut:]))
            while b"ok" not in c.plain:
                c._more()
        c, k = sealed(worker, (alpn,))
        c.send(b"".join(k.record(text[i:i + 1], padding=16383) for i in range(len(text))))
        while b"ok" not in c.plain:
            c._more()
        c, k = sealed(worker, (alpn,))
        c.send(b"".join(k.record(b"", padding=16384) for _ in range(33)))
        assert c.alert() == "SSLV3_ALERT_UNEXPECTED_MESSAGE"
