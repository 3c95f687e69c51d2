# What a Python server does: threads, processes, names, files, signals, foreign functions.
import ctypes, fcntl, hashlib, http.server, multiprocessing, os, signal, socket, socketserver, struct, subprocess, sys, tempfile, threading


def thread():
    got = []
    t = threading.Thread(target=lambda: got.append(42))
    t.start()
    t.join()
    assert got == [42]


def double(x):
    return 2 * x


def child():
    assert subprocess.run(["/bin/sh", "-c", "echo child"], capture_output=True, text=True, check=True).stdout == "child\n"


def pool():
    with multiprocessing.get_context("fork").Pool(2) as p:  # semaphores in /dev/shm
        assert p.map(double, [1, 2]) == [2, 4]


def name():
    assert socket.getaddrinfo("localhost", 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0] == "127.0.0.1"


def file():
    with tempfile.TemporaryDirectory() as d:
        open(d + "/x", "w").write("x")


def random():
    assert hashlib.pbkdf2_hmac("sha256", os.urandom(8), b"x", 1000)


def code():
    # libffi makes code for a callback at run time
    add = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)
    assert add(41) == 42


def interfaces():
    with socket.socket() as s:
        a = fcntl.ioctl(s, 0x8915, struct.pack("256s", b"eth0"))  # SIOCGIFADDR
    assert a[20:24] != b"\0\0\0\0"


class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = f"hello from python {sys.version.split()[0]}\n"
        if self.path == "/probe":
            text = ""
            for f in (thread, child, pool, name, file, random, code, interfaces):
                try:
                    f()
                    text += f.__name__ + "=ok\n"
                except BaseException as e:
                    text += f"{f.__name__}={e!r}\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *a):
        pass


class S(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


def bye(*a):
    print("bye", flush=True)
    os._exit(0)


signal.signal(signal.SIGTERM, bye)
S(("0.0.0.0", int(os.environ["PORT"])), H).serve_forever()
