"""Requests: what is refused, what goes on and in which form."""
import re
import time

from talk import App, answer, client, get, script, serve, until

OK = b"GET / HTTP/1.1\r\nHost: a.test\r\n"

REFUSED = [
    # what, bytes, status
    ("bare LF after the request line", b"GET / HTTP/1.1\nHost: a.test\r\n\r\n", 400),
    ("bare LF after a field", b"GET / HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n", 400),
    ("folded line", OK + b"X: y\r\n z\r\n\r\n", 400),
    ("folded first line", b"GET / HTTP/1.1\r\n Host: a.test\r\n\r\n", 400),
    ("space before the colon", OK + b"X : y\r\n\r\n", 400),
    ("space inside a name", OK + b"X Y: y\r\n\r\n", 400),
    ("empty name", OK + b": y\r\n\r\n", 400),
    ("no colon", OK + b"X\r\n\r\n", 400),
    ("byte that no name may hold", OK + b"X(: y\r\n\r\n", 400),
    ("high byte in a name", OK + b"X\xff: y\r\n\r\n", 400),
    ("NUL in a value", OK + b"X: a\0b\r\n\r\n", 400),
    ("bare CR in a value", OK + b"X: a\rb\r\n\r\n", 400),
    ("escape in a value", OK + b"X: a\x1bb\r\n\r\n", 400),
    ("DEL in a value", OK + b"X: a\x7fb\r\n\r\n", 400),
    ("no Host", b"GET / HTTP/1.1\r\nX: y\r\n\r\n", 400),
    ("no Host in 1.0", b"GET / HTTP/1.0\r\n\r\n", 400),
    ("two Hosts", OK + b"Host: a.test\r\n\r\n", 400),
    ("two Hosts that differ", OK + b"host: b.test\r\n\r\n", 400),
    ("empty Host", b"GET / HTTP/1.1\r\nHost: \r\n\r\n", 400),
    ("user in Host", b"GET / HTTP/1.1\r\nHost: x@a.test\r\n\r\n", 400),
    ("path in Host", b"GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n", 400),
    ("two names in Host", b"GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", 400),
    ("space in Host", b"GET / HTTP/1.1\r\nHost: a.test b\r\n\r\n", 400),
    ("port of letters", b"GET / HTTP/1.1\r\nHost: a.test:8x\r\n\r\n", 400),
    ("port too large", b"GET / HTTP/1.1\r\nHost: a.test:65536\r\n\r\n", 400),
    ("port only", b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400),
    ("bracket not closed", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
    ("length and encoding", OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("encoding and length", OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    ("two lengths", OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
    ("two equal lengths", OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    ("list of lengths", OK + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    ("length with sign", OK + b"Content-Length: +3\r\n\r\nabc", 400),
    ("negative length", OK + b"Content-Length: -3\r\n\r\nabc", 400),
    ("hexadecimal length", OK + b"Content-Length: 0x3\r\n\r\nabc", 400),
    ("empty length", OK + b"Content-Length:\r\n\r\n", 400),
    ("length beyond numbers", OK + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    ("encoding gzip, chunked", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    ("encoding chunked, chunked", OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    ("encoding identity", OK + b"Transfer-Encoding: identity\r\n\r\n", 400),
    ("encoding xchunked", OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    ("encoding in quotes", OK + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', 400),
    ("encoding with vertical tab", OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    ("two encodings", OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("empty encoding", OK + b"Transfer-Encoding:\r\n\r\n", 400),
    ("encoding in 1.0", b"POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("two spaces", b"GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
    ("tab", b"GET\t/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
    ("leading space", b" GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
    ("space at the end", b"GET / HTTP/1.1 \r\nHost: a.test\r\n\r\n", 400),
    ("no version", b"GET /\r\nHost: a.test\r\n\r\n", 400),
    ("lower-case version", b"GET / http/1.1\r\nHost: a.test\r\n\r\n", 400),
    ("version 1.10", b"GET / HTTP/1.10\r\nHost: a.test\r\n\r\n", 400),
    ("version 01.1", b"GET / HTTP/01.1\r\nHost: a.test\r\n\r\n", 400),
    ("version 2.0", b"GET / HTTP/2.0\r\nHost: a.test\r\n\r\n", 505),
    ("version 1.2", b"GET / HTTP/1.2\r\nHost: a.test\r\n\r\n", 505),
    ("preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("fragment", b"GET /x#y HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
    ("high byte in the target", b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
    ("relative target", b"GET x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
    ("star of GET", b"GET * HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
    ("absolute target of another host", b"GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
    ("absolute target with user", b"GET http://x@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
    ("target of another scheme", b"GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
    ("CONNECT", b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n", 405),
    ("CONNECT with a path", b"CONNECT / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405),
    ("TRACE", b"TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405),
    ("method with a slash", b"GE/T / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
    ("method without end", b"G" * 40, 400),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ("line too long", b"GET /" + b"x" * 8192 + b" HTTP/1.1\r\nHost: a.test\r\n\r\n", 414),
    ("line without end", b"GET /" + b"x" * 9000, 414),
    ("field too long", OK + b"X: " + b"y" * 16384 + b"\r\n\r\n", 431),
    ("101 fields", OK + b"X: y\r\n" * 100 + b"\r\n", 431),
    ("head too long", OK + (b"X: " + b"y" * 8000 + b"\r\n") * 5 + b"\r\n", 431),
    ("head without end", OK + (b"X: " + b"y" * 8000 + b"\r\n") * 5, 431),
    ("other expectation", OK + b"Expect: 200-ok\r\n\r\n", 417),
    ("17 names in Connection", OK + b"Connection: " + b",".join(b"x%d" % i for i in range(17)) + b"\r\n\r\n", 400),
    ("Connection is no list", OK + b"Connection: a b\r\n\r\n", 400),
]


def test_malformed_heads_are_refused_and_reach_no_app(worker):
    app = serve()
    worker.app("a", app)
    for what, data, status in REFUSED:
        c = client(worker, data)
        got, fields, _ = c.response("GET")
        assert got == status, f"{what}: {got} instead of {status}"
        assert fields["connection"] == "close", what
        assert c.ended(), what
        c.close()
    assert app.connections == [], app.seen()
    assert worker.figures("worker")["bad"] == len(REFUSED)


def test_head_cut_anywhere_parses_the_same(worker):
    app = serve()
    worker.app("a", app)
    data = b"\r\nPOST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nX: y\r\n\r\nhello"
    for at in range(1, len(data)):
        c = client(worker, data[:at])
        if at % 3 == 0:
            time.sleep(0.002)
        c.send(data[at:])
        assert c.response()[0] == 200
        c.close()


def heads(app):
    return [part.split(b"\r\n") for part in app.seen().split(b"\r\n\r\n") if part]


def forwarded(worker, app, request):
    c = client(worker, request)
    assert c.response()[0] == 200
    c.close()
    return app.connections[-1].seen


def test_request_is_written_anew(worker):
    app = App(lambda c, _: (c.head(), c.send(answer(more=b"Connection: close\r\n"))))
    worker.app("a", app)
    seen = forwarded(worker, app, b"GET /p?q HTTP/1.1\r\nhost:  a.test \r\nAccept:*/*\r\nX-Empty:\r\nCookie: \t a=b; c=d \t\r\n\r\n")
    seen = re.sub(rb"X-Request-Id: [0-9a-f]{24}", b"X-Request-Id: ID", seen)
    seen = re.sub(rb"traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-00", b"traceparent: TRACE", seen)
    assert seen == (b"GET /p?q HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nX-Empty: \r\nCookie: a=b; c=d\r\n"
                    b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test\r\n"
                    b"X-Forwarded-Port: %d\r\nX-Request-Id: ID\r\ntraceparent: TRACE\r\n\r\n" % worker.port), seen


def test_fields_of_the_hop_and_false_witnesses_are_dropped(worker):
    app = App(lambda c, _: (c.head(), c.send(answer(more=b"Connection: close\r\n"))))
    worker.app("a", app)
    seen = forwarded(worker, app, OK + b"Connection: keep-alive, X-Hop, x-forwarded-for, host, authorization\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"
                     b"Proxy-Connection: x\r\nProxy-Authorization: x\r\nTE: trailers\r\nTrailer: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
                     b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Evil: 1\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n"
                     b"X_Forwarded_For: 6.6.6.6\r\nContent_Length: 5\r\nProxy: http://evil\r\nX-Request-Id: mine-1\r\nX-Stays: 1\r\n\r\n")
    lines = seen.split(b"\r\n")
    names = [x.split(b":")[0] for x in lines[1:] if x]
    assert names == [b"Host", b"X-Stays", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Port",
                     b"X-Request-Id", b"traceparent"], names
    assert b"X-Forwarded-For: 127.0.0.1" in lines and b"X-Request-Id: mine-1" in lines and b"6.6.6.6" not in seen


def test_request_id_is_kept_only_when_it_is_a_token(worker):
    app = App(lambda c, _: (c.head(), c.send(answer(more=b"Connection: close\r\nX-Request-Id: the-app's\r\n"))))
    worker.app("a", app)
    for sent, kept in ((b"abc-1", True), (b"x" * 64, True), (b"x" * 65, False), (b"a b", False), (b'a"b', False), (b"", False)):
        status, fields, _ = get(worker, "a.test", more=f"X-Request-Id: {sent.decode()}\r\n")
        assert status == 200
        got = fields["x-request-id"].encode()
        assert (got == sent) == kept and (kept or re.fullmatch(rb"[0-9a-f]{24}", got)), (sent, got)
        assert b"X-Request-Id: " + got + b"\r\n" in app.connections[-1].seen


def test_absolute_target_becomes_a_path(worker):
    app = App(lambda c, _: (c.head(), c.send(answer(more=b"Connection: close\r\n"))))
    worker.app("a", app)
    for target, path in ((b"http://a.test/x?y", b"/x?y"), (b"HTTP://A.TEST", b"/")):
        seen = forwarded(worker, app, b"GET " + target + b" HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert seen.startswith(b"GET " + path + b" HTTP/1.1\r\nHost: a.test\r\n"), seen
    seen = forwarded(worker, app, b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert seen.startswith(b"OPTIONS * HTTP/1.1\r\n")


def test_largest_allowed_head_passes(worker):
    app = serve()
    worker.app("a", app)
    line = b"GET /" + b"x" * (8192 - len(b"GET / HTTP/1.1")) + b" HTTP/1.1\r\nHost: a.test\r\n"
    c = client(worker, line + b"X: " + b"y" * 16381 + b"\r\n" + b"Z:z\r\n" * 98 + b"\r\n")
    assert c.response()[0] == 200


def test_bodies_by_length_and_in_chunks(worker):
    def echo(c, _):
        while True:
            _, fields = c.head()
            f = {k.lower(): v for k, v in fields}
            body = c.body(fields)
            c.send(answer(b"%s|%s|" % (f.get("content-length", "-").encode(), f.get("transfer-encoding", "-").encode()) + body))
    worker.app("a", App(echo))
    c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello")
    assert c.response()[2] == b"5|-|hello"
    c.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: Chunked\r\n\r\n")
    c.send(b"5;ext=\"1;2\"\r\nhello\r\n001\r\n \r\n5\r\nworld\r\n0;last\r\nTrailer: x\r\nOther: y\r\n\r\n")
    assert c.response()[2] == b"-|chunked|hello world"
    c.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
    assert c.response()[2] == b"0|-|"
    big = bytes(range(256)) * 2000
    c.send(b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(big) + big)
    assert c.response()[2] == b"%d|-|" % len(big) + big
    c.send(b"PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    for i in range(0, len(big), 777):
        c.send(b"%x\r\n" % len(big[i:i + 777]) + big[i:i + 777] + b"\r\n")
    c.send(b"0\r\n\r\n")
    assert c.response()[2] == b"-|chunked|" + big


BAD_CHUNKS = [
    b"x\r\n", b"\r\n", b" 5\r\nhello\r\n", b"5 \r\nhello\r\n", b"0x5\r\nhello\r\n", b"-5\r\n", b"+5\r\nhello\r\n", b"5\nhello\r\n", b"5\r\nhello\n",
    b"5\r\nhelloX\r\n", b"5\r\nhello0\r\n\r\n", b"5;\0\r\nhello\r\n", b"5;a\rb\r\nhello\r\n", b"1000000000000000\r\n", b"0\r\nX y: z\r\n\r\n",
    b"0\r\n folded\r\n\r\n", b"0\r\nX: y\n\r\n", b"0\r\n\n", b"0\r\n:\r\n\r\n"[:3] + b": y\r\n\r\n", b"5;" + b"x" * 2000 + b"\r\nhello\r\n",
    b"0\r\nX: " + b"y" * 9000 + b"\r\n\r\n", b"5\r\n\r\nhello",
]


def test_malformed_chunks_end_the_request(worker):
    def swallow(c, _):
        c.head()
        c.rest()
    for data in BAD_CHUNKS:
        app = App(swallow)
        n = worker.app("a", app)
        c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
        status, fields, _ = c.response()
        assert status == 400 and fields["connection"] == "close", data
        until("the app's connection is closed", lambda: not app.connections or app.connections[0].s.fileno() < 0)
        assert not app.seen().endswith(b"0\r\n\r\n"), data
        c.close()
        worker.tell(f"appdel {n}")
        app.close()


def test_pipelined_requests_are_answered_in_order(worker):
    def numbered(c, _):
        while True:
            line, fields = c.head()
            c.send(answer(line.split()[1].encode() + b":" + c.body(fields)))
    worker.app("a", App(numbered))
    worker.app("b", App(numbered))
    data = b""
    for i in range(60):
        host = b"ab"[i % 2:i % 2 + 1]
        if i % 3 == 0:
            data += b"POST /%d HTTP/1.1\r\nHost: %s.test\r\nContent-Length: 3\r\n\r\n%03d" % (i, host, i)
        elif i % 3 == 1:
            data += b"POST /%d HTTP/1.1\r\nHost: %s.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n%03d\r\n0\r\n\r\n" % (i, host, i)
        else:
            data += b"GET /%d HTTP/1.1\r\nHost: %s.test\r\n\r\n" % (i, host)
    c = client(worker, data)
    for i in range(60):
        want = b"/%d:" % i + (b"%03d" % i if i % 3 < 2 else b"")
        assert c.response()[2] == want


def test_pipelined_behind_close_is_not_served(worker):
    app = serve()
    worker.app("a", app)
    c = client(worker, OK + b"Connection: close\r\n\r\n" + OK + b"\r\n")
    assert c.response()[0] == 200
    assert c.rest() == b""
    assert app.seen().count(b"GET ") == 1


def test_expectation_is_answered_once(worker):
    def late(c, _):
        _, fields = c.head()
        assert "Expect" not in dict(fields)
        c.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = c.body(fields)
        c.send(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(body, b"Connection: close\r\n"))
    app = App(late)
    worker.app("a", app)
    head = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n"
    c = client(worker, head)
    assert c.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    c.send(b"hello")
    status, _, body = c.response()
    assert (status, body) == (200, b"hello")
    # Not to one who did not wait, nor to one who speaks 1.0, nor before a refusal.
    assert client(worker, head + b"hello").response()[0] == 200
    assert client(worker, head.replace(b"1.1", b"1.0") + b"hello").response()[0] == 200
    assert client(worker, head.replace(b"a.test", b"x.test")).response()[0] == 404
    assert app.errors == []


def test_http_1_0_client(worker):
    worker.app("a", serve(b"body"))
    c = client(worker, b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
    status, fields, body = c.response()
    assert (status, body, fields["connection"]) == (200, b"body", "close") and c.ended()
    c = client(worker)
    for _ in range(3):
        c.send(b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: Keep-Alive\r\n\r\n")
        status, fields, body = c.response()
        assert (status, body, fields["connection"]) == (200, b"body", "keep-alive")


def test_client_that_leaves_ends_the_request(worker):
    app = App(lambda c, _: (c.head(), c.rest()))
    worker.app("a", app)
    c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nhello")
    until("the body's start arrived", lambda: b"hello" in app.seen())
    c.close()
    until("the app's connection is closed", lambda: app.connections[0].s.fileno() < 0)
    until("nothing is left", lambda: worker.figures("worker")["connections"] == 0)


def test_half_closed_client_gets_its_answer(worker):
    import socket
    worker.app("a", serve(b"body"))
    c = client(worker, OK + b"\r\n")
    c.s.shutdown(socket.SHUT_WR)
    assert c.response()[2] == b"body" and c.ended()


def test_early_answer_reaches_a_client_that_still_sends(worker):
    app = script(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
    worker.app("a", app)
    c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 400000\r\n\r\n")
    time.sleep(0.2)
    for _ in range(4):
        c.send(b"x" * 100000)
    status, fields, body = c.response()
    assert (status, body, fields["connection"]) == (413, b"big", "close")


def test_slow_head_is_refused(worker):
    worker.app("a", serve())
    c = client(worker, b"GET / HTTP/1.1\r\n")
    c.s.settimeout(14)
    start = time.monotonic()
    assert c.response()[0] == 408
    assert 9.5 < time.monotonic() - start < 12


test_slow_head_is_refused.slow = True


def test_slow_body_is_refused(worker):
    worker.app("a", App(lambda c, _: (c.head(), c.rest())))
    c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n")
    c.s.settimeout(1)
    start = time.monotonic()
    while time.monotonic() - start < 25:
        c.send(b"x" * 20)
        try:
            assert c.response()[0] == 408
            break
        except TimeoutError:
            continue
    assert 19 < time.monotonic() - start < 23


test_slow_body_is_refused.slow = True
