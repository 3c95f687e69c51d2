"""Behind a balancer: PROXY headers, and who may say them."""
import ipaddress
import json
import socket
import ssl
import struct
import time

import tls
from talk import WAIT, App, Conn, serve, until

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def echo():
    """Answers with the fields that it got."""
    def talk(c, _):
        while True:
            _, fields = c.head()
            c.body(fields)
            body = "".join(f"{k}: {v}\n" for k, v in fields).encode()
            c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return App(talk)


def v1(src="192.0.2.7", dst="198.51.100.9", sport=40000, dport=8443, family="TCP4"):
    return f"PROXY {family} {src} {dst} {sport} {dport}\r\n".encode()


def v2(src="192.0.2.7", dst="198.51.100.9", sport=40000, dport=8443, command=1, tlvs=b""):
    a, b = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    body = a.packed + b.packed + struct.pack(">HH", sport, dport) + tlvs
    return SIGNATURE + bytes([0x20 | command, 0x11 if a.version == 4 else 0x21]) + struct.pack(">H", len(body)) + body


def dial(worker, data=b"", source="127.0.0.1", port=None):
    c = Conn(socket.create_connection(("127.0.0.1", port or worker.front_port), timeout=WAIT, source_address=(source, 0)))
    if data:
        c.send(data)
    return c


GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def fields(c):
    status, _, body = c.response()
    assert status == 200, status
    return dict(line.split(": ", 1) for line in body.decode().splitlines())


def test_both_versions_name_the_client(worker):
    worker.app("a", echo())
    for head, addr in [(v1(), "192.0.2.7"), (v2(), "192.0.2.7"), (v2("2001:db8::5", "2001:db8::6"), "2001:db8::5"),
                       (v1("2001:db8::5", "2001:db8::6", family="TCP6"), "2001:db8::5"),
                       (v2("::ffff:192.0.2.7", "::1"), "192.0.2.7"), (v2(tlvs=b"\x04\0\3abc"), "192.0.2.7")]:
        c = dial(worker, head + GET)
        f = fields(c)
        assert f["X-Forwarded-For"] == addr, (head, f)
        assert f["X-Forwarded-Port"] == "8443"
        # The next request of the connection is the same client's.
        c.send(GET)
        assert fields(c)["X-Forwarded-For"] == addr
        c.close()

    def lines():
        with open(worker.log, encoding="utf-8") as log:
            return [json.loads(x) for x in log]
    got = until("the log", lambda: len(lines()) == 12 and lines())
    assert {x["client"] for x in got} == {"192.0.2.7", "2001:db8::5"}, got[0]


def test_a_balancer_that_speaks_for_itself(worker):
    worker.app("a", echo())
    for head in (b"PROXY UNKNOWN\r\n", v2(command=0), SIGNATURE + b"\x20\0\0\0", SIGNATURE + b"\x21\0\0\0"):
        assert fields(dial(worker, head + GET))["X-Forwarded-For"] == "127.0.0.1"


def test_a_header_in_pieces(worker):
    worker.app("a", echo())
    for head in (v1(), v2(tlvs=b"\x04\0\3abc")):
        c = dial(worker)
        for i in range(len(head)):
            c.send(head[i:i + 1])
            time.sleep(0.002)
        c.send(GET)
        assert fields(c)["X-Forwarded-For"] == "192.0.2.7"


def test_without_a_header_nothing_is_answered(worker):
    worker.app("a", echo())
    for data in (GET, b"\x16\x03\x01", v1().replace(b"TCP4", b"TCP9") + GET, b"PROXY TCP4 1.2.3.4\r\n" + GET, v2()[:15] + b"\xff" + GET,
                 b"PROXY UNKNOWN " + b"x" * 200, SIGNATURE + b"\x21\x11\xff\xff"):
        c = dial(worker, data)
        assert c.rest() == b"", data
    c = dial(worker, v1()[:20])
    c.s.shutdown(socket.SHUT_WR)
    assert c.rest() == b""


def test_a_header_that_does_not_come_ends_in_time(worker):
    worker.app("a", echo())
    c = dial(worker, v1()[:20])
    assert c.ended(6)


test_a_header_that_does_not_come_ends_in_time.slow = True


def test_others_than_the_balancer_are_refused(worker):
    """127.0.0.2 is not among those whose word counts."""
    worker.app("a", echo())
    c = dial(worker, source="127.0.0.2")
    try:
        c.send(v1() + GET)
    except OSError:
        pass
    assert c.rest() == b""


def test_ordinary_listeners_take_no_header(worker):
    worker.app("a", echo())
    c = dial(worker, v1() + GET, port=worker.port)
    assert c.response()[0] == 400


def test_it_comes_before_tls(worker):
    n = worker.app("a", echo())
    tls.give(worker, n, "a.test")
    s = socket.create_connection(("127.0.0.1", worker.front_tls_port), timeout=WAIT)
    s.sendall(v2())
    c = Conn(tls.context().wrap_socket(s, server_hostname="a.test"))
    c.send(GET)
    f = fields(c)
    assert f["X-Forwarded-For"] == "192.0.2.7" and f["X-Forwarded-Proto"] == "https", f
    # In one piece with the client's first message, too: nothing behind the header is lost.
    plain = socket.create_connection(("127.0.0.1", worker.front_tls_port), timeout=WAIT)
    inc, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = tls.context().wrap_bio(inc, out, server_hostname="a.test")
    try:
        o.do_handshake()
    except ssl.SSLWantReadError:
        pass
    plain.sendall(v1() + out.read())
    assert plain.recv(1) == b"\x16"
    # TLS without the header is not answered.
    s = socket.create_connection(("127.0.0.1", worker.front_tls_port), timeout=WAIT)
    s.sendall(b"\x16\x03\x01\x02\0")
    assert Conn(s).rest() == b""


def test_limits_count_the_balancers_client(worker):
    """1,024 connections of one client's address, and the next one is refused; another client is served."""
    worker.app("a", serve())
    held = [dial(worker, v1()) for _ in range(1024)]
    until("all counted", lambda: worker.figures("worker")["connections"] >= 1024)
    until("read", lambda: dial(worker, v1() + GET).rest() == b"")
    c = dial(worker, v1("192.0.2.8") + GET)
    assert c.response()[0] == 200
    held.pop().close()
    until("room again", lambda: dial(worker, v1() + GET + b"").more() != b"")
    for h in held:
        h.close()
