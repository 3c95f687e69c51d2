"""HTTP/2 frame by frame: clients over TLS, apps over cleartext.  Fields are packed by Debian's python3-hpack."""
import socket
import struct
import sys
import time

try:
    import hpack
except ImportError:  # another Python than Debian's runs the tests
    sys.path.append("/usr/lib/python3/dist-packages")
    import hpack

from talk import WAIT, App, Conn
from tls import context

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_ERROR, PROTOCOL, INTERNAL, FLOW, _, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, _, CALM = range(12)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(**values):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", int(k[1:]), v) for k, v in values.items()))


class Answer:
    def __init__(self):
        self.infos, self.head, self.data, self.trailers, self.ended, self.reset = [], None, b"", None, False, None

    @property
    def status(self):
        return int(dict(self.head)[":status"])

    def __getitem__(self, name):
        return dict(self.head)[name]

    def get(self, name):
        return dict(self.head).get(name)


class Peer:
    """One end of a session.  auto: opens windows as data comes."""
    def __init__(self, conn, auto=True):
        self.c, self.auto = conn, auto
        self.pack, self.unpack = hpack.Encoder(), hpack.Decoder()
        self.streams, self.settings, self.goaway, self.acks, self.pings = {}, {}, None, 0, 0
        self.sizes = []
        self.closed = False
        self.block, self.block_flags = b"", 0

    def send(self, *frames):
        self.c.send(b"".join(frames))

    def headers(self, stream, fields, end=False, flags=0):
        return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0) | flags, stream, self.pack.encode(list(fields)))

    def data(self, stream, data, end=False):
        out = b""
        while True:
            out += frame(DATA, END_STREAM if end and len(data) <= 16384 else 0, stream, data[:16384])
            data = data[16384:]
            if not data:
                return out

    def window(self, stream, n):
        return frame(WINDOW, 0, stream, struct.pack(">I", n))

    def reset(self, stream, code=CANCEL):
        return frame(RST, 0, stream, struct.pack(">I", code))

    def step(self):
        """Takes one frame; False at the end."""
        try:
            head = self.c.take(9)
            n, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
            payload = self.c.take(n)
        except (EOFError, ConnectionResetError, BrokenPipeError):
            self.closed = True
            return False
        a = self.streams.setdefault(stream, Answer()) if stream else None
        if kind == SETTINGS and not flags & ACK:
            for i in range(0, n, 6):
                k, v = struct.unpack(">HI", payload[i:i + 6])
                self.settings[k] = v
            self.try_send(frame(SETTINGS, ACK, 0))
        elif kind == SETTINGS:
            self.acks += 1
        elif kind == PING and flags & ACK:
            self.pings += 1
        elif kind == GOAWAY:
            self.goaway = struct.unpack(">II", payload[:8])
        elif kind == RST:
            a.reset = struct.unpack(">I", payload)[0]
        elif kind == DATA:
            a.data += payload
            self.sizes.append(n)
            a.ended = bool(flags & END_STREAM)
            if self.auto and n:
                self.try_send(self.window(0, n), b"" if a.ended else self.window(stream, n))
        elif kind in (HEADERS, CONTINUATION):
            if kind == HEADERS:
                self.block, self.block_flags = b"", flags
            self.block += payload
            if flags & END_HEADERS:
                fields = self.unpack.decode(self.block)
                if a.head:
                    a.trailers = fields
                elif dict(fields).get(":status", "200")[0] == "1":
                    a.infos.append(fields)
                else:
                    a.head = fields
                a.ended = bool(self.block_flags & END_STREAM)
        return True

    def try_send(self, *frames):
        try:
            self.send(*frames)
        except (OSError, EOFError):
            pass

    def wait(self, condition, seconds=WAIT):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "not in time"
            if not self.step():
                assert condition(), f"the session ended; GOAWAY {self.goaway}"
                return

    def answer(self, stream):
        a = self.streams.setdefault(stream, Answer())
        self.wait(lambda: a.ended or a.reset is not None)
        return a

    def until_end(self, seconds=WAIT):
        """All until the peer closes; what it said with GOAWAY."""
        self.c.s.settimeout(seconds)
        while self.step():
            pass
        return self.goaway

    def close(self):
        self.c.close()


class Client(Peer):
    def __init__(self, worker, name, auto=True, first=None, window=None):
        s = socket.create_connection(("127.0.0.1", worker.tls_port), timeout=WAIT)
        if window:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        s = context(("h2", "http/1.1")).wrap_socket(s, server_hostname=name, suppress_ragged_eofs=False)
        assert s.selected_alpn_protocol() == "h2", s.selected_alpn_protocol()
        super().__init__(Conn(s), auto)
        self.name, self.next = name, 1
        self.send(PREFACE + (frame(SETTINGS, 0, 0) if first is None else first))

    def fields(self, path="/", method="GET", more=(), **pseudo):
        head = {"method": method, "scheme": "https", "authority": self.name, "path": path, **pseudo}
        return [(":" + k, v) for k, v in head.items() if v is not None] + list(more)

    def begin(self, path="/", method="GET", more=(), end=True, **pseudo):
        stream = self.next
        self.next += 2
        self.send(self.headers(stream, self.fields(path, method, more, **pseudo), end))
        return stream

    def get(self, path="/", method="GET", more=(), body=None, **pseudo):
        stream = self.begin(path, method, more, body is None, **pseudo)
        if body is not None:
            self.send(self.data(stream, body, True))
        return self.answer(stream)


def app(talk):
    """An app that speaks HTTP/2 by prior knowledge: talk(peer, number of the connection) after the preface."""
    def run(c, n):
        assert c.take(len(PREFACE)) == PREFACE
        peer = Peer(c)
        peer.number = n
        peer.send(frame(SETTINGS, 0, 0))
        talk(peer, n)
    return App(run)


def serve(handle, first=frame(SETTINGS, 0, 0), path=None):
    """An app that calls handle(peer, stream, request) for each complete request."""
    def run(c, n):
        assert c.take(len(PREFACE)) == PREFACE
        peer = Peer(c)
        peer.number = n
        peer.send(first)
        done = set()
        while peer.step():
            for stream, r in list(peer.streams.items()):
                if r.ended and stream not in done:
                    done.add(stream)
                    handle(peer, stream, r)
                    del r.data
                    r.data = b""
    return App(run, path)
