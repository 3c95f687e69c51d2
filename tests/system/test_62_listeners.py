"""As many listeners as the settings allow, of both kinds together."""
import re, socket, ssl
from harness import *

EACH = 8  # LIMIT_LISTEN


def ports(n):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    numbers = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return numbers


def listen(node, http, https):
    addresses = lambda list: ", ".join(f'"127.0.0.1:{p}"' for p in list)
    text = open(node.settings).read()
    open(node.settings, "w").write(re.sub(r"(?m)^listen:.*$", f"listen: {{ http: [{addresses(http)}], https: [{addresses(https)}] }}", text))


def answers(port, tls):
    s = socket.create_connection(("127.0.0.1", port), 5)
    if tls:
        context = ssl._create_unverified_context()
        s = context.wrap_socket(s, server_hostname="nobody.test")
    with s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: nobody.test\r\nConnection: close\r\n\r\n")
        return s.recv(12)


def test_most_listeners():
    """eight addresses for http and eight for https all answer, also after kill -9 of the node; nine are refused in words"""
    node = Node("listen")
    try:
        more = ports(2 * EACH - 1)
        http, https = [node.port] + more[:EACH - 1], more[EACH - 1:]
        listen(node, http, https)
        node.start()
        for _ in range(2):
            for port in http + https:
                answer = wait_for(f"port {port}", lambda: answers(port, port in https))
                check(answer.startswith(b"HTTP/1.1 "), f"{port}: {answer}")
            node.kill()
            node.start()
        node.stop()
        listen(node, http, https + ports(1))
        node.start(wait=False)
        check(node.process.wait(20) != 0, "it started")
        check("listen.https" in node.log_tail() and "9 addresses are over the limit of 8" in node.log_tail(), node.log_tail())
    finally:
        node.cleanup()


ECHO = """
import os, http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        data = ("%s|%s" % (self.headers["X-Forwarded-For"], self.headers["X-Forwarded-Proto"])).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(data))); self.end_headers(); self.wfile.write(data)
    def log_message(self, *a): pass
http.server.HTTPServer(("0.0.0.0", int(os.environ["PORT"])), H).serve_forever()
"""


def seen(port, first, tls=False, source="127.0.0.1"):
    """What the app says of a client behind a balancer that begins like this; b"" when it was cut off."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5, (source, 0)) as s:
            s.sendall(first)
            if tls:
                s = ssl._create_unverified_context().wrap_socket(s, server_hostname="echo.apps.test")
            with s:
                s.sendall(b"GET / HTTP/1.1\r\nHost: echo.apps.test\r\nConnection: close\r\n\r\n")
                got = b""
                while more := s.recv(4096):
                    got += more
                return got.rsplit(b"\r\n", 1)[-1].decode() if b" 200 " in got[:15] else ""
    except OSError:
        return ""


def test_behind_a_balancer():
    """the client's address comes by PROXY protocol 1 and 2, over http and https, from the balancers that were named and nobody else"""
    node = Node("balancer", https=True)
    try:
        text = open(node.settings).read()
        mine, https = node.port, node.https_port
        behind, secure = ports(2)
        text = re.sub(r"(?m)^listen:.*$", f'listen: {{ http: ["127.0.0.1:{mine}", "127.0.0.1:{behind} proxy"], https: ["127.0.0.1:{https}", "127.0.0.1:{secure} proxy"], proxy_from: ["127.0.0.2/31"] }}', text)
        open(node.settings, "w").write(text)
        node.start()
        token = node.tenant("acme")
        node.app("echo", token)
        node.deploy_ok("echo", token, {"Procfile": "web: python3 echo.py\n", "echo.py": ECHO})
        one = b"PROXY TCP4 203.0.113.9 198.51.100.1 4711 80\r\n"
        two = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" + socket.inet_pton(socket.AF_INET6, "2001:db8::9") + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + bytes([18, 103, 1, 187])
        equal(seen(behind, one, source="127.0.0.2"), "203.0.113.9|http", "version 1")
        equal(seen(behind, two, source="127.0.0.3"), "2001:db8::9|http", "version 2")
        equal(seen(secure, one, True, "127.0.0.2"), "203.0.113.9|https", "version 1 before TLS")
        equal(seen(secure, two, True, "127.0.0.2"), "2001:db8::9|https", "version 2 before TLS")
        equal(seen(behind, b"", source="127.0.0.2"), "", "no preface")
        equal(seen(behind, one), "", "not a balancer")
        equal(seen(mine, one), "", "a preface where none is expected")
        equal(seen(mine, b""), "127.0.0.1|http", "the plain address beside it")
    finally:
        node.cleanup()
