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
