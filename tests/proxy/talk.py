"""A worker under test, scripted apps behind it, clients in front of it.  Every wait has a deadline."""
import os
import queue
import socket
import subprocess
import threading
import time

WAIT = 10


def until(what, condition, seconds=WAIT):
    end = time.monotonic() + seconds
    looked = 0
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        looked += 1
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what} (looked {looked} times)")


class Worker:
    def __init__(self, command, folder, program=(), beside=None):
        """beside: a worker whose statistics it shares, as workers of one node do."""
        self.command = command
        self.number = beside.number + 1 if beside else 0
        stats = beside.stats_fd() if beside else -1
        self.log = os.path.join(folder, "access.log")
        self.control = os.path.join(folder, "control.sock")
        self.process = subprocess.Popen(
            [command, *program, "-p", "0", "-s", "0", "-P", "0", "-S", "0", "-T", "127.0.0.1", "-l", self.log, "-c", self.control, "-w", str(self.number),
             *(["-m", str(stats)] if beside else [])], pass_fds=[stats] if beside else [],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.said = queue.Queue()
        self.stderr = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=lambda: self.stderr.extend(self.process.stderr), daemon=True).start()
        self.port = int(self.expect("port").split()[1])
        self.tls_port = int(self.expect("tlsport").split()[1])
        self.front_port = int(self.expect("frontport").split()[1])
        self.front_tls_port = int(self.expect("fronttlsport").split()[1])
        self.folder = folder
        self.sanitized = "asan" in command  # its memory says nothing
        self.next_id = 1

    def stats_fd(self):
        folder = f"/proc/{self.process.pid}/fd"
        for n in os.listdir(folder):
            if "tulou-stats" in os.readlink(f"{folder}/{n}"):
                return os.open(f"{folder}/{n}", os.O_RDWR)
        raise AssertionError("the worker has no statistics")

    def _read(self):
        for line in self.process.stdout:
            self.said.put(line.strip())

    def expect(self, start, seconds=WAIT):
        """The next line that begins so; others are thrown away."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self.said.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the worker did not say {start!r}; {''.join(self.stderr)[-3000:]}") from None
            if line.startswith(start):
                return line

    def silent(self, start, seconds=0.3):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                line = self.said.get(timeout=0.05)
            except queue.Empty:
                continue
            assert not line.startswith(start), line

    def tell(self, *lines):
        self.process.stdin.write("".join(line + "\n" for line in lines))
        self.process.stdin.flush()
        self.sync()

    def sync(self):
        """All told so far is in force."""
        n = self.id()
        self.process.stdin.write(f"barrier {n}\n")
        self.process.stdin.flush()
        kept, end = [], time.monotonic() + WAIT
        while True:
            line = self.said.get(timeout=max(0.01, end - time.monotonic()))
            if line == f"done {n}":
                break
            kept.append(line)
        for line in kept:
            self.said.put(line)

    def id(self):
        self.next_id += 1
        return self.next_id

    def figures(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        line = self.expect(command.split()[0])
        return {k: int(v) for k, v in (x.split("=") for x in line.split()[1:])}

    def reaches(self, command, **wanted):
        """Waits until the figures are so; says what they were instead."""
        seen = {}

        def look():
            seen.update(self.figures(command))
            return all(seen[k] == v for k, v in wanted.items())
        try:
            until(f"{wanted}", look)
        except AssertionError as e:
            raise AssertionError(f"{e}: {seen}") from None

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(next(line for line in f if line.startswith("VmRSS")).split()[1])

    def app(self, app, *handlers, state="serving", wait=5000, https="on", hsts=0):
        """An app with one instance per app server; host is APP.test.  Returns its number."""
        n = self.id()
        self.tell(f"app {n} {state} {wait} {app} {https} {hsts}", f"host {n} {app}.test",
                  *[f"inst {n} {h.id} 127.0.0.1:{h.port} up {getattr(h, 'protocol', '')}" for h in handlers])
        return n

    def stop(self):
        self.process.stdin.close()
        rc = self.process.wait(timeout=WAIT)
        assert rc == 0, f"worker ended with {rc}: {''.join(self.stderr)[-6000:]}"


class App:
    """A server whose connections each run talk(conn, number) in a thread of their own."""
    ids = 1000

    def __init__(self, talk, path=None):
        App.ids += 1
        self.id = App.ids
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
        else:
            self.listener = socket.socket()
            self.listener.bind(("127.0.0.1", 0))
            self.port = self.listener.getsockname()[1]
        self.listener.listen(128)
        self.talk = talk
        self.connections = []
        self.errors = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            c = Conn(s)
            self.connections.append(c)
            threading.Thread(target=self._run, args=(c, len(self.connections) - 1), daemon=True).start()

    def _run(self, c, n):
        try:
            self.talk(c, n)
        except (OSError, EOFError):
            pass
        except Exception as e:  # pylint: disable=broad-except
            self.errors.append(e)
        c.close()

    def close(self):
        # A blocked accept would keep the listener alive behind close().
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def seen(self):
        return b"".join(c.seen for c in self.connections)


class Conn:
    def __init__(self, s):
        s.settimeout(WAIT)
        self.s = s
        self.buf = b""
        self._seen = bytearray()  # a string would be copied with each piece: minutes for tens of megabytes

    @property
    def seen(self):
        return bytes(self._seen)

    @seen.setter
    def seen(self, data):
        self._seen = bytearray(data)

    def send(self, data):
        self.s.sendall(data)

    def more(self):
        data = self.s.recv(65536)
        self._seen += data
        self.buf += data
        return data

    def take(self, n):
        while len(self.buf) < n:
            if not self.more():
                raise EOFError(f"end after {bytes(self.buf[-200:])!r}")
        data, self.buf = self.buf[:n], self.buf[n:]
        return data

    def until(self, mark):
        while mark not in self.buf:
            if not self.more():
                raise EOFError(f"end after {bytes(self.buf[-200:])!r}")
        at = self.buf.index(mark) + len(mark)
        data, self.buf = self.buf[:at], self.buf[at:]
        return data

    def rest(self):
        """All until the end of the stream; a reset counts as the end."""
        try:
            while self.more():
                pass
        except ConnectionResetError:
            pass
        data, self.buf = self.buf, b""
        return data

    def head(self):
        """(first line, fields as a list of pairs)"""
        lines = self.until(b"\r\n\r\n")[:-4].decode("latin-1").split("\r\n")
        return lines[0], [tuple(x.split(": ", 1)) for x in lines[1:]]

    def chunks(self):
        out = []
        while True:
            n = int(self.until(b"\r\n")[:-2], 16)
            data = self.take(n)
            assert self.take(2) == b"\r\n"
            if n == 0:
                return out
            out.append(data)

    def body(self, fields):
        f = {k.lower(): v for k, v in fields}
        if f.get("transfer-encoding") == "chunked":
            return b"".join(self.chunks())
        return self.take(int(f.get("content-length", "0")))

    def response(self, method="GET"):
        """(status, fields by lower-case name, body)"""
        line, fields = self.head()
        status = int(line.split()[1])
        f = {k.lower(): v for k, v in fields}
        if method == "HEAD" or status in (204, 304) or status < 200:
            return status, f, b""
        if "transfer-encoding" not in f and "content-length" not in f:
            return status, f, self.rest()
        return status, f, self.body(fields)

    def ended(self, seconds=WAIT):
        self.s.settimeout(seconds)
        try:
            return self.more() == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self):
        self.s.close()


def client(worker, data=b""):
    c = Conn(socket.create_connection(("127.0.0.1", worker.port)))
    if data:
        c.send(data)
    return c


def get(worker, host, path="/", more=""):
    """One request on a connection of its own."""
    c = client(worker, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())
    r = c.response()
    c.close()
    return r


def answer(body=b"ok", more=b"", status=b"200 OK"):
    return b"HTTP/1.1 " + status + b"\r\n" + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def serve(body=b"ok", more=b""):
    """An app that reads whole requests and answers all of them alike."""
    def talk(c, _):
        while True:
            _, fields = c.head()
            c.body(fields)
            c.send(answer(body, more))
    return App(talk)


def script(*steps):
    """An app whose n-th connection reads a head and then sends steps[n] and closes."""
    def talk(c, n):
        c.head()
        c.send(steps[min(n, len(steps) - 1)])
    return App(talk)
