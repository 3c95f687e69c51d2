"""HTTP/2 and gRPC through a whole node: Debian's own gRPC on both ends, deploys of such an app without a failed call."""
import os, ssl, subprocess, threading, time
from harness import *

DEBIAN = "/usr/bin/python3"  # has python3-grpcio, whichever Python runs the tests

SERVER_GRPC = '''
import os, grpc
from concurrent import futures

def unary(request, context):
    context.set_trailing_metadata((("x-sum", str(len(request))),))
    if request == b"fail":
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
    return b"%(version)s " + request

def both(requests, context):
    for r in requests:
        yield r.upper()

class Handler(grpc.GenericRpcHandler):
    def service(self, call):
        if call.method == "/t.T/Unary":
            return grpc.unary_unary_rpc_method_handler(unary)
        if call.method == "/t.T/Both":
            return grpc.stream_stream_rpc_method_handler(both)

server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), handlers=[Handler()])
server.add_insecure_port("0.0.0.0:" + os.environ["PORT"])
server.start()
import signal
signal.signal(signal.SIGTERM, lambda *a: server.stop(5))
server.wait_for_termination()
'''

CLIENT = '''
import sys, time, grpc
port, ca, what = sys.argv[1:4]
channel = grpc.secure_channel("127.0.0.1:" + port, grpc.ssl_channel_credentials(open(ca, "rb").read()),
                              [("grpc.ssl_target_name_override", "calls.apps.test"), ("grpc.default_authority", "calls.apps.test")])
unary = channel.unary_unary("/t.T/Unary")
if what == "once":
    answer, call = unary.with_call(b"hello", timeout=20)
    assert answer.endswith(b" hello"), answer
    assert dict(call.trailing_metadata())["x-sum"] == "5", call.trailing_metadata()
    try:
        unary(b"fail", timeout=20)
        raise SystemExit("it did not fail")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.NOT_FOUND and e.details() == "no such thing", e
    def words():
        for w in (b"a", b"b", b"c"):
            time.sleep(0.2)
            yield w
    assert list(channel.stream_stream("/t.T/Both")(words(), timeout=20)) == [b"A", b"B", b"C"]
    big = b"x" * 3000000
    assert unary(big, timeout=20)[-3000000:] == big
    try:
        channel.unary_unary("/t.T/None")(b"", timeout=20)
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.UNIMPLEMENTED, e
    print("fine")
else:
    end, n, seen = time.time() + float(what), 0, set()
    while time.time() < end:
        seen.add(unary(b"x", timeout=20))
        n += 1
    print(n, len(seen))
'''


def files(version):
    return {"Procfile": f"web: {DEBIAN} server.py\n", "server.py": SERVER_GRPC % {"version": version}, "tulou.yaml": "protocol: h2c\n"}


WELL = """
const http2 = require('http2');
const begun = Date.now();
http2.createServer((q, a) => { a.statusCode = q.url === '/ready' ? (%(well)s ? 200 : 503) : 200; a.end('%(version)s'); }).listen(process.env.PORT);
"""


def setup():
    if subprocess.run([DEBIAN, "-c", "import grpc"], capture_output=True).returncode != 0:
        raise Skip("there is no python3-grpcio")
    node = Node("h2", "health: { timeout: 15s }\n", https=True).start()
    node.acme = node.tenant("acme")
    node.app("calls", node.acme)
    node.deploy_ok("calls", node.acme, files("one"))
    s = ssl.create_default_context()
    s.check_hostname, s.verify_mode = False, ssl.CERT_NONE
    with s.wrap_socket(socket.create_connection(("127.0.0.1", node.https_port)), server_hostname="calls.apps.test") as c:
        pem = ssl.DER_cert_to_PEM_cert(c.getpeercert(True))
    node.ca = os.path.join(node.dir, "ca.pem")
    node.client = os.path.join(node.dir, "client.py")
    for path, text in ((node.ca, pem), (node.client, CLIENT)):
        with open(path, "w") as f:
            f.write(text)
    return node


def teardown(node):
    if node:
        node.cleanup()


def calls(node, what):
    return subprocess.run([DEBIAN, node.client, str(node.https_port), node.ca, what], capture_output=True, text=True, timeout=60)


def test_grpc_end_to_end(node):
    """calls, statuses in trailers, streams both ways, a large message: a real client and a real server"""
    r = calls(node, "once")
    check(r.returncode == 0 and r.stdout == "fine\n", r.stdout + r.stderr + node.log_tail())


def test_deploys_lose_no_call(node):
    """two new releases under steady calls over one kept connection"""
    got = []
    t = threading.Thread(target=lambda: got.append(calls(node, "12")))
    t.start()
    for version in ("two", "three"):
        time.sleep(1)
        node.deploy_ok("calls", node.acme, files(version))
    t.join()
    r = got[0]
    check(r.returncode == 0 and int(r.stdout.split()[0]) > 50, r.stdout + r.stderr)


def test_health_over_h2c(node):
    """health_path is asked in HTTP/2: an answer of 503 fails a deploy with that status"""
    node.app("well", node.acme)
    node.api("PATCH", "/v1/apps/well", {"health_path": "/ready"}, token=node.acme, want=200)
    node_js = lambda version, well: {"Procfile": "web: node well.js\n", "well.js": WELL % {"version": version, "well": well}, "tulou.yaml": "protocol: h2c\n"}
    node.deploy_ok("well", node.acme, node_js("one", "true"))
    equal(node.get("well")[:2], (200, "one"), "answer")
    result, log = node.deploy("well", node.acme, node_js("two", "false"))
    check(result["result"] != "succeeded" and "503" in str(result) + log, f"{result} {log}")
    equal(node.get("well")[:2], (200, "one"), "the live release still answers")
    # While it runs too, where the app wants that.
    node.deploy_ok("well", node.acme, node_js("three", "(Date.now() < begun + 4000)") | {"tulou.yaml": "protocol: h2c\nhealth: { interval: 5s, failures: 1 }\n"})
    event = wait_for("the event", lambda: next((e for e in node.events("well") if e["kind"] == "instance.unhealthy" and "503" in e["text"] and "replaced" in e["text"]), None), 20)
    check("GET /ready" in event["text"], event["text"])
    equal(node.get("well")[:2], (200, "three"), "it answers")


def test_the_api_over_http2(node):
    """the control host speaks HTTP/2 like the apps"""
    out = run("curl", "-sk", "--http2", "--resolve", f"{node.control}:{node.https_port}:127.0.0.1", "-w", " %{http_version} %{http_code}",
              f"https://{node.control}:{node.https_port}/healthz")
    check(out.stdout.endswith(" 2 200"), out.stdout + out.stderr)


def test_protocol_is_checked(node):
    """another word is refused with the field's name"""
    result, log = node.deploy("calls", node.acme, files("bad") | {"tulou.yaml": "protocol: spdy\n"})
    check(result["result"] != "succeeded" and "tulou.yaml.protocol" in log + str(result), log + str(result))
