"""Certificates that the operator put into a folder."""
import os, shutil, signal
from harness import *
from test_60_tls import der, https, shown


def pair(folder, name, *names, days=30):
    at = os.path.join(folder, name)
    r = run("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", at + ".key", "-out", at + ".crt",
            "-days", str(days), "-subj", "/CN=x", "-addext", "subjectAltName=" + ",".join("DNS:" + n for n in names))
    check(r.returncode == 0, r.stderr)
    os.chmod(at + ".key", 0o600)
    return at + ".crt", at + ".key"


def setup():
    folder = tempfile.mkdtemp(prefix="tulou-certs-", dir="/var/tmp")
    first = pair(folder, "apps", "*.apps.test")
    os.chmod(pair(folder, "open", "control.test")[1], 0o644)
    with open(folder + "/broken.crt", "w") as f:
        f.write("hello")
    with open(folder + "/broken.key", "w") as f:
        f.write("hello")
    os.chmod(folder + "/broken.key", 0o600)
    node = Node("certs", extra=f"tls: {{ certificates: {folder} }}", https=True).start()
    node.folder, node.first = folder, first
    return node


def teardown(node):
    if node:
        node.cleanup()
        shutil.rmtree(node.folder)


def test_files_serve_what_they_name(node):
    """a pair of files serves the hosts that it names; broken ones and open keys are left out with a reason"""
    equal(shown(node, "any.apps.test"), der(node.first), "by the wildcard")
    check(shown(node, node.control) not in (der(node.first), der((node.folder + "/open.crt",))), "the node's own for others")
    log = open(node.log).read()
    check("name=open" in log and "others may read" in log, log)
    check("name=broken" in log and "PEM" in log, log)


def test_control_dies(node):
    """kill -9 of control: the files are read again"""
    for pid in node.role_pids("control"):
        os.kill(pid, signal.SIGKILL)
    wait_for("control", lambda: node.request("GET", "/readyz")[0] == 200)
    for _ in range(5):
        equal(shown(node, "any.apps.test"), der(node.first), "with the new control")


def test_reload(node):
    """new files are served after SIGHUP"""
    new = pair(node.folder, "apps", "*.apps.test", days=90)
    node.process.send_signal(signal.SIGHUP)
    wait_for("the new certificate", lambda: shown(node, "any.apps.test") == der(new))
    wait_for("the API", lambda: https(node, node.control, "/readyz")[0] == 200)
