"""Requests that two parsers might read differently: refused, or passed on so that only one reading is left.
The app behind is the judge: it reads what arrives as strictly as RFC 9112 allows and counts requests."""
import re
import time

from talk import App, answer, client, serve, until

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
LINE = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS|[A-Z]+) (/[!-\"$-~]*|\*) HTTP/1\.1")
FIELD = re.compile(rb"(" + TOKEN + rb"): ([\t\x20-\x7e\x80-\xff]*)")
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"


class Judge(App):
    """Asserts that each head is in our own strict form; answers with the path, keeps (path, fields, body)."""

    def __init__(self):
        self.requests = []
        super().__init__(self.judge)

    def judge(self, c, _):
        while True:
            lines = c.until(b"\r\n\r\n")[:-4].split(b"\r\n")
            assert LINE.fullmatch(lines[0]), lines[0]
            fields = [FIELD.fullmatch(x) for x in lines[1:]]
            assert all(fields), lines
            fields = [(m.group(1).decode().lower(), m.group(2)) for m in fields]
            names = [n for n, _ in fields]
            for one in ("host", "x-forwarded-for", "x-forwarded-proto", "x-request-id"):
                assert names.count(one) == 1, (one, lines)
            assert names.count("content-length") + names.count("transfer-encoding") <= 1, lines
            assert not any("_" in n for n in names), lines
            f = dict(fields)
            if "transfer-encoding" in f:
                assert f["transfer-encoding"] == b"chunked"
                body = b"".join(c.chunks())
            else:
                length = f.get("content-length", b"0")
                assert re.fullmatch(rb"0|[1-9][0-9]*", length), length
                body = c.take(int(length))
            self.requests.append((lines[0].split()[1], f, body))
            c.send(answer(lines[0].split()[1]))


def refused_or_one(worker, judge, what, data, may_pass):
    """Either a refusal that ends the connection and of which the app saw nothing, or exactly one request, without SMUGGLED as another."""
    before = len(judge.requests)
    c = client(worker, data)
    status, fields, _ = c.response()
    if status in (400, 405, 411, 413, 414, 417, 421, 431, 501, 505):
        assert fields["connection"] == "close" and c.ended(), what
    else:
        assert status == 200 and may_pass, (what, status)
    c.close()
    assert not judge.errors, (what, judge.errors)
    assert not any(r[0] == b"/smuggled" for r in judge.requests), (what, judge.requests[-2:])
    if not may_pass:
        assert status != 200 and len(judge.requests) == before, (what, status)
    return status


def post(*lines, body=b"5\r\nhello\r\n0\r\n\r\n"):
    return b"POST / HTTP/1.1\r\nHost: a.test\r\n" + b"".join(x + b"\r\n" for x in lines) + b"\r\n" + body


ENCODINGS = [b"chunked,", b",chunked", b"chunked, ", b"chunked,identity", b"identity, chunked", b"chunked;q=1", b"chunked; a=b", b"chunk", b"chunkedx", b"x-chunked",
             b"chunked\x00", b"\x00chunked", b"chunked\x0b", b"chunked\x0c", b"chunked\x85", b"chunked\xa0", b"\xa0chunked", b"'chunked'", b"[chunked]", b"c\thunked",
             b"deflate", b"compress", b"trailers", b"gzip", b"\xef\xbb\xbfchunked", b"chunked chunked", b"chun\rked", b"chunked\r", b"\nchunked", b"0", b"chunked=", b"chunKed\x7f",
             b"chun\xc4\xb7ed", b"\xe2\x84\xaahunked"]


def test_encodings_that_are_not_exactly_chunked(worker):
    judge = Judge()
    worker.app("a", judge)
    for e in ENCODINGS:
        for head in ([b"Transfer-Encoding: " + e], [b"Content-Length: 4", b"Transfer-Encoding: " + e], [b"Transfer-Encoding: " + e, b"Content-Length: 4"],
                     [b"Transfer-Encoding: chunked", b"Transfer-Encoding: " + e], [b"Transfer-Encoding: " + e, b"Transfer-Encoding: chunked"]):
            refused_or_one(worker, judge, (e, head), post(*head, body=b"0\r\n\r\n" + SMUGGLED), False)
    assert judge.connections == []


def test_names_that_only_look_like_framing(worker):
    """Names that a lax parser takes for Content-Length or Transfer-Encoding: refused, dropped, or another field."""
    judge = Judge()
    worker.app("a", judge)
    for name in (b"Transfer-Encoding", b"Content-Length"):
        value = b"chunked" if name[:1] == b"T" else b"%d" % len(SMUGGLED)
        for what in (name + b" : ", b" " + name + b": ", b"\t" + name + b": ", name + b"\t: ", name + b"\x00: ", b"\x00" + name + b": ", name + b"\x0b: ", name + b"\r: ", b"\r" + name + b": ",
                     name.replace(b"-", b" ") + b": ", name + b"\xa0: ", b"\xef\xbb\xbf" + name + b": ", b"X: y\n" + name + b": ", b"X: y\r" + name + b": ", b"X: y\r\r\n" + name + b": ",
                     b"X:\n " + name + b": ", b"X: y\r\n\x20" + name + b": ", name + b":\n ", name + b":\r\n ", name + b":\x00", b"\"" + name + b"\": ", b"(" + name + b"): "):
            refused_or_one(worker, judge, what, post(what + value, body=SMUGGLED), False)
        # Tokens, so other fields: they mean nothing, and those with _ are not even passed on.
        for other in (name.replace(b"-", b"_"), name.replace(b"-", b"."), name.replace(b"-", b""), name.replace(b"-", b"--"), b"X-" + name, name + b"-X", name + b"'"):
            data = b"GET /real HTTP/1.1\r\nHost: a.test\r\n" + other + b": " + value + b"\r\nConnection: close\r\n\r\n" + SMUGGLED
            assert refused_or_one(worker, judge, other, data, True) == 200
            assert "content-length" not in judge.requests[-1][1] and "transfer-encoding" not in judge.requests[-1][1]


LENGTHS = [b"5 5", b"5,5", b"5, 5", b"5;", b"5.0", b"5e0", b"0x5", b"0b101", b"0o5", b"1_0", b"+5", b"-5", b"-0", b"\x0b5", b"5\x0c", b"5\x00", b"\x005", b"5\x85", b"\xa05", b"\xd9\xa5", b"'5'", b'"5"',
           b"five", b"", b"18446744073709551621", b"4294967301x", b"9223372036854775808", b"1000000000000000000", b"5\r", b"NaN", b"inf", b"5 ;q", b"5%00", b"(5)"]


def test_lengths_that_are_not_digits(worker):
    judge = Judge()
    worker.app("a", judge)
    for n in LENGTHS:
        for head in ([b"Content-Length: " + n], [b"Content-Length: 5", b"Content-Length: " + n], [b"Content-Length: " + n, b"Content-Length: 5"]):
            refused_or_one(worker, judge, head, post(*head, body=b"hello" + SMUGGLED), False)
    assert judge.connections == []
    # Zeros in front are digits; what goes on is the number.
    assert refused_or_one(worker, judge, "zeros", post(b"Content-Length: 0005", b"Connection: close", body=b"hello" + SMUGGLED), True) == 200
    assert judge.requests[-1][1]["content-length"] == b"5" and judge.requests[-1][2] == b"hello"


def test_white_space_around_values_is_no_part_of_them(worker):
    judge = Judge()
    worker.app("a", judge)
    for head, want in (([b"Transfer-Encoding:\tchunked\t "], "transfer-encoding"), ([b"Transfer-Encoding:chunked"], "transfer-encoding"), ([b"Content-Length: \t 14 \t"], "content-length"),
                       ([b"tRANSFER-eNCODING: CHUNKED"], "transfer-encoding")):
        assert refused_or_one(worker, judge, head, post(*head, body=b"4\r\nwiki\r\n0\r\n\r\n"), True) == 200
        assert want in judge.requests[-1][1], head


CHUNKS = [b"5\r\r\nhello\r\n", b"\n5\r\nhello\r\n", b"5\r\nhello\r\r\n", b"5\r\nhello\n\r\n", b"5\r\nhell\r\n0\r\n\r\n", b"00000000000000005\r\nhello\r\n", b"ffffffffffffffff\r\n", b"fffffffffffffffb\r\nhello\r\n",
          b"8000000000000000\r\n", b"100000005\n\r\n", b"5;\n\r\nhello\r\n", b"5;a=b\nhello\r\n", b"5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n"[:9] + b"\n", b"5\x00\r\nhello\r\n", b"5\t\r\nhello\r\n", b"5\x0b;\r\nhello\r\n",
          b"g\r\n", b"5h\r\nhello\r\n", b"5,5\r\nhello\r\n", b"5_0\r\nhello\r\n", b"5.\r\nhello\r\n", b"\xd9\xa5\r\nhello\r\n", b"5\rX\nhello\r\n", b"0\r\n\rX", b"0\r\nX\r\n\r\n", b"0\r\nX : y\r\n\r\n",
          b"0\r\nX: y\r\n z\r\n\r\n", b"0\r\nX: \x00\r\n\r\n", b"0\r\nX: y\rZ: a\r\n\r\n", b"0\n\n", b"0\r\n\n", b"-1\r\n", b"0x0\r\n\r\n", b"5\r\nhelloworld\r\n0\r\n\r\n", b"", b";\r\n", b"5;" + b"a" * 1100 + b"\r\nhello\r\n"]


def test_chunks_that_parsers_read_differently(worker):
    judge = Judge()
    worker.app("a", judge)
    for data in CHUNKS:
        c = client(worker, post(b"Transfer-Encoding: chunked", body=data + SMUGGLED + SMUGGLED))
        status, fields, _ = c.response()
        assert status == 400 and fields["connection"] == "close", (data, status)
        assert c.ended()
        c.close()
    assert not judge.requests, judge.requests
    assert not judge.errors, judge.errors
    # The last byte of each line that comes alone.
    whole = post(b"Transfer-Encoding: chunked", b"Trailer: x", body=b"5;a\r\nhello\r\n00000\r\nX: y\r\nContent-Length: 99\r\n\r\n")
    for at in range(whole.index(b"\r\n\r\n") + 4, len(whole)):
        c = client(worker, whole[:at])
        time.sleep(0.001)
        c.send(whole[at:])
        assert c.response()[0] == 200
        c.close()
    assert all(r[2] == b"hello" and "content-length" not in r[1] and "x" not in r[1] and "trailer" not in r[1] for r in judge.requests)


def test_trailers_do_not_become_fields(worker):
    judge = Judge()
    worker.app("a", judge)
    c = client(worker, post(b"Transfer-Encoding: chunked", body=b"0\r\nHost: b.test\r\nX-Forwarded-For: 6.6.6.6\r\nAuthorization: x\r\n\r\n") + b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert c.response()[2] == b"/" and c.response()[2] == b"/next"
    assert not any("authorization" in r[1] for r in judge.requests)


def test_ends_of_lines_and_versions(worker):
    judge = Judge()
    worker.app("a", judge)
    for data in (b"GET / HTTP/1.1\r\nHost: a.test\r\n\nX: y\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a.test\n\r\n" + SMUGGLED, b"GET / HTTP/1.1\r\nHost: a.test\r\r\n\r\n", b"GET / HTTP/1.1\rHost: a.test\r\r\r\n\r\n", b"\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
                 b"\r\rGET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"\0GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"GET /\r\n\r\n", b"GET / \r\nHost: a.test\r\n\r\n", b"GET / HTTP/0.9\r\nHost: a.test\r\n\r\n",
                 b"GET / HTTP/1.1\x0b\r\nHost: a.test\r\n\r\n", b"GET / HTTP/1.1, HTTP/1.0\r\nHost: a.test\r\n\r\n", b"GET / HTTP/1\r\nHost: a.test\r\n\r\n", b"GET / HTTP/1.\r\nHost: a.test\r\n\r\n",
                 b"GET / HTTP/+1.1\r\nHost: a.test\r\n\r\n", b"GET / HTTP/1.1HTTP/1.1\r\nHost: a.test\r\n\r\n", b"GET / HTTPS/1.1\r\nHost: a.test\r\n\r\n", b"GET / RTSP/1.0\r\nHost: a.test\r\n\r\n",
                 b"GET / GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"GET\x0b/ HTTP/1.1\r\nHost: a.test\r\n\r\n", b"GET\xa0/ HTTP/1.1\r\nHost: a.test\r\n\r\n", b"GET /\x00 HTTP/1.1\r\nHost: a.test\r\n\r\n",
                 b"GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n", b"GET /\x7f HTTP/1.1\r\nHost: a.test\r\n\r\n", b"GET / HTTP/3.0\r\nHost: a.test\r\n\r\n", b"\"GET\" / HTTP/1.1\r\nHost: a.test\r\n\r\n",
                 b"G\r\n ET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"):
        refused_or_one(worker, judge, data, data, False)
    # One empty line in front is allowed (RFC 9112, 2.2), between two requests too.
    c = client(worker, b"\r\nGET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert c.response()[2] == b"/1" and c.response()[2] == b"/2"


HOSTS_REFUSED = [b"a.test\0", b"a.test#", b"a.test?", b"a%2etest", b"a.test:80:80", b"a.test:-1", b"a.test:+80", b"a.test: 80", b"a.test:0x50", b"a.test:99999", b"a.test:123456", b"[::1", b"::1", b"[::1]x",
                 b"[g::1]", b"[]", b"[::1%25lo]", b"a.test,b.test", b"a.test;b.test", b"a.test\tb.test", b"http://a.test", b"a.test\\b.test", b"@a.test", b"b.test@a.test", b"<a.test>", b"a.test|b", b"\xc3\xa4.test",
                 b"a" * 300, b"a.test/", b"*.test\"", b"(a.test)", b"{a}.test", b"a.test'", b"$a.test", b"a.test~", b"a!.test"]


def test_hosts(worker):
    judge, other = Judge(), Judge()
    worker.app("a", judge)
    worker.app("b", other)
    for h in HOSTS_REFUSED:
        refused_or_one(worker, judge, h, b"GET / HTTP/1.1\r\nHost: " + h + b"\r\n\r\n", False)
    for lines in (b"Host: a.test\r\nHost: a.test", b"Host: a.test\r\nHost: b.test", b"Host: b.test\r\nX: y\r\nhOST: a.test", b"Host: a.test\r\nHost:", b"X-Host: a.test", b"Host : a.test", b"Host: a.test\r\n Host: b.test"):
        refused_or_one(worker, judge, lines, b"GET / HTTP/1.1\r\n" + lines + b"\r\n\r\n", False)
    # These are well formed; whatever they are not, it is not another app's.
    for h, status in ((b"A.TeSt", 200), (b"a.test:80", 200), (b"a.test:", 200), (b"a.test:65535", 200), (b"aa.test", 404), (b".a.test", 404), (b"a..test", 404), (b"a.test.b.test.", 404), (b"xn--a.test", 404), (b"a_.test", 404),
                      (b"[::ffff:1.2.3.4]", 404), (b"[::2]:80", 404), (b"0x7f.1", 404), (b"2130706433", 404), (b"1.2.3.4", 404), (b"-", 404), (b".", 404), (b"*.test", 400)):
        c = client(worker, b"GET / HTTP/1.1\r\nHost: " + h + b"\r\n\r\n")
        assert c.response()[0] == status, h
        c.close()
    # A name with the root's dot is the same name (RFC 3986, 3.2.2), or unknown; never another app.
    c = client(worker, b"GET / HTTP/1.1\r\nHost: a.test.\r\n\r\n")
    assert c.response()[0] in (200, 404)
    assert other.requests == []


def test_targets(worker):
    judge, other = Judge(), Judge()
    worker.app("a", judge)
    worker.app("b", other)
    for t in (b"http://b.test/", b"http://a.test.b.test/", b"http://a.test:80/", b"http://a.test@b.test/", b"http:///", b"http:/a.test/", b"http:a.test", b"//b.test/ x", b"ftp://a.test/", b"file:///etc/passwd", b"a.test:80", b"a.test", b"?q",
              b"http://a.test#f", b"http://a.test?x", b"javascript:x", b"\\", b"http://[::1]/", b"http://a.test,b.test/", b"*", b"**", b"*/", b"./", b"../"):
        refused_or_one(worker, judge, t, b"GET " + t + b" HTTP/1.1\r\nHost: a.test\r\n\r\n", False)
    # Paths are the app's business, byte for byte: nothing is decoded, merged or resolved here.
    for t in (b"//b.test/", b"/..", b"/../../etc/passwd", b"/%2e%2e/", b"/%00", b"/a//b", b"/;x", b"/%", b"/%zz", b"/a\\b", b"/\"<>", b"/a?b?c", b"/a?http://b.test/", b"/?", b"/|{}^`", b"/a%0d%0aX:%20y"):
        assert refused_or_one(worker, judge, t, b"GET " + t + b" HTTP/1.1\r\nHost: a.test\r\n\r\n", True) == 200
        assert judge.requests[-1][0] == t
    for data, want in ((b"GET http://A.test/x HTTP/1.1\r\nHost: a.TEST\r\n\r\n", b"/x"), (b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", b"*"), (b"OPTIONS http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", b"*"),
                       (b"OPTIONS http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", b"/"), (b"GET http://a.test HTTP/1.0\r\nHost: a.test\r\n\r\n", b"/")):
        assert refused_or_one(worker, judge, data, data, True) == 200
        assert judge.requests[-1][0] == want, (data, judge.requests[-1][0])
    # https in the target of a plain connection: no such resource here (RFC 9110, 7.4).
    c = client(worker, b"GET https://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert c.response()[0] == 421
    assert other.requests == []


def test_connection_names_no_field_of_ours(worker):
    judge = Judge()
    worker.app("a", judge)
    names = b"close, Host, Content-Length, Transfer-Encoding, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Port, X-Request-Id, Connection, Cookie, X-Named"
    c = client(worker, b"POST /real HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nX-Forwarded-For: 6.6.6.6\r\nX-Request-Id: mine\r\nCookie: a=b\r\nX-Named: 1\r\nx-named: 2\r\nConnection: " + names + b"\r\n\r\nhello" + SMUGGLED)
    assert c.response()[0] == 200 and c.ended()
    path, f, body = judge.requests[-1]
    assert (path, body, f["host"], f["content-length"], f["x-forwarded-for"]) == (b"/real", b"hello", b"a.test", b"5", b"127.0.0.1"), f
    assert "x-named" not in f and "connection" not in f and f["x-request-id"]
    for bad in (b"\x00", b"close\x0b", b"a:b", b'"close"', b"close; x", b"x y"):
        refused_or_one(worker, judge, bad, b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: " + bad + b"\r\n\r\n", False)
    for several in (b"Connection: x\r\nConnection: close", b"Connection: ,close", b"Connection: close,,", b"Connection: ,, close", b"Connection: CLOSE"):
        c = client(worker, b"GET /c HTTP/1.1\r\nHost: a.test\r\n" + several + b"\r\n\r\n" + SMUGGLED)
        assert c.response()[0] == 200 and c.ended(), several
    assert not any(r[0] == b"/smuggled" for r in judge.requests)


def test_bodies_of_any_method_are_read(worker):
    """A body that one side ignores is the next request of the other."""
    judge = Judge()
    worker.app("a", judge)
    for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"FOO", b"PROPFIND"):
        for framing, body in ((b"Content-Length: %d" % len(SMUGGLED), SMUGGLED), (b"Transfer-Encoding: chunked", b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n")):
            before = len(judge.requests)
            c = client(worker, method + b" /1 HTTP/1.1\r\nHost: a.test\r\n" + framing + b"\r\n\r\n" + body + b"GET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert c.response(method.decode())[0] == 200 and c.response()[2] == b"/2", method
            assert [r[0] for r in judge.requests[before:]] == [b"/1", b"/2"] and judge.requests[before][2] == SMUGGLED, method
            c.close()


def test_an_early_answer_does_not_make_the_body_a_request(worker):
    """The app answers before it has read: what the client still sends of the body is thrown away, not served."""
    seen = []

    def early(c, _):
        head = c.until(b"\r\n\r\n")
        seen.append(head)
        c.send(answer(b"early"))
        c.rest()
    worker.app("a", App(early))
    victim = Judge()
    worker.app("b", victim)
    for framing, rest in ((b"Content-Length: 4000", SMUGGLED * 20), (b"Transfer-Encoding: chunked", b"0\r\n\r\n" + SMUGGLED * 4)):
        c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\n" + framing + b"\r\n\r\n")
        status, fields, body = c.response()
        assert (status, body, fields["connection"]) == (200, b"early", "close"), framing
        try:
            c.send(rest.replace(b"a.test", b"b.test"))
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert c.rest() == b""
    assert victim.requests == [] and not any(b"/smuggled" in s for s in seen)


def test_a_body_cut_short_is_never_completed(worker):
    """The client leaves in the middle of its body; the app's connection ends without the rest, and is not used again."""
    ends = []

    def reader(c, _):
        while True:
            _, fields = c.head()
            try:
                c.send(answer(c.body(fields)))
            except EOFError:
                ends.append(c.buf)
                raise
    app = App(reader)
    worker.app("a", app)
    for framing, body in ((b"Content-Length: 100", b"half"), (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n"), (b"Transfer-Encoding: chunked", b"50\r\nhalf"), (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n")):
        before = len(ends)
        c = client(worker, b"POST / HTTP/1.1\r\nHost: a.test\r\n" + framing + b"\r\n\r\n" + body)
        time.sleep(0.05)
        c.close()
        until("the app saw the end", lambda n=before: len(ends) > n)
    c = client(worker, b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert c.response()[0] == 200


def test_expectations(worker):
    judge = Judge()
    worker.app("a", judge)
    for bad in (b"Expect: 100-continue, 100-continue", b"Expect: 100-continue;q=1", b"Expect:", b"Expect: 100", b"Expect: 100-continue\x0b", b"Expect: x\r\nExpect: 100-continue", b"Expect: 200-ok"):
        refused_or_one(worker, judge, bad, post(bad, b"Content-Length: 5", body=b""), False)
    # Asked for without a body, or with an empty one: there is nothing to wait for.
    for head in (b"", b"Content-Length: 0\r\n"):
        c = client(worker, b"POST /e HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n" + head + b"\r\n")
        assert c.response()[0] == 200, head
    c = client(worker, b"POST /c HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert c.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    c.send(b"5\r\nhello\r\n0\r\n\r\n")
    assert c.response()[0] == 200
    assert all("expect" not in r[1] for r in judge.requests)


def test_a_thousand_pipelined_requests(worker):
    judge = Judge()
    worker.app("a", judge)
    c = client(worker)
    c.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % i for i in range(1000)))
    for i in range(1000):
        assert c.response()[2] == b"/%d" % i
    assert not judge.errors, judge.errors
    assert [r[0] for r in judge.requests] == [b"/%d" % i for i in range(1000)]


def test_upgrades_that_are_none(worker):
    """Nothing but one clean websocket upgrade opens a tunnel: what follows stays a request of its own."""
    judge = Judge()
    worker.app("a", judge)
    follow = b"GET /follows HTTP/1.1\r\nHost: a.test\r\n\r\n"
    for lines in (b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA", b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket", b"Connection: Upgrade\r\nUpgrade: websocket/13",
                  b"Upgrade: websocket", b"Connection: keep-alive\r\nUpgrade: websocket", b"Connection: Upgrade", b"Connection: Upgrade\r\nUpgrade: TLS/1.0", b"Connection: Upgrade\r\nUpgrade: "):
        c = client(worker, b"GET /up HTTP/1.1\r\nHost: a.test\r\n" + lines + b"\r\n\r\n" + follow)
        assert c.response()[2] == b"/up" and c.response()[2] == b"/follows", lines
        assert "upgrade" not in judge.requests[-2][1] and "http2-settings" not in judge.requests[-2][1], lines
        c.close()


def test_heads_that_come_byte_by_byte(worker):
    """As slowly as the deadline allows, next to others who are not held up by it."""
    judge = Judge()
    worker.app("a", judge)
    slow = [client(worker) for _ in range(20)]
    data = b"GET /slow HTTP/1.1\r\nHost: a.test\r\nX: y\r\n\r\n"
    for i in range(len(data)):
        for c in slow:
            c.send(data[i:i + 1])
        if i % 10 == 0:
            quick = client(worker, b"GET /quick HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert quick.response()[2] == b"/quick"
            quick.close()
    for c in slow:
        assert c.response()[2] == b"/slow"


def test_no_answer_to_what_never_was_a_request(worker):
    """Closed before, in, and right after the head; half-closed: nothing is left behind."""
    app = serve()
    worker.app("a", app)
    data = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
    import socket
    for at in range(len(data)):
        c = client(worker, data[:at])
        c.s.shutdown(socket.SHUT_WR)
        assert c.rest() == b"", at
        c.close()
    until("nothing is left", lambda: worker.figures("worker")["connections"] == 0)
    assert app.connections == []
