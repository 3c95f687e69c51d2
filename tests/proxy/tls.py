"""Certificates for tests, and clients that speak TLS."""
import os
import socket
import ssl
import subprocess
import tempfile

from talk import WAIT, Conn

made = {}


def pem(*names, days=30, kind="ec"):
    """(text of chain and key, certificate alone), signed by itself; made once for the same names."""
    key = (names, days, kind)
    if key not in made:
        algorithm = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["rsa:2048"]
        with tempfile.TemporaryDirectory(prefix="tulou-certs-") as folder:
            at = os.path.join(folder, "x")
            subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", *algorithm, "-keyout", at + ".key", "-out", at + ".crt",
                            "-days", str(days), "-subj", "/CN=" + names[0], "-addext",
                            "subjectAltName=" + ",".join("DNS:" + n for n in names)], check=True, capture_output=True)
            with open(at + ".crt", encoding="utf-8") as c, open(at + ".key", encoding="utf-8") as k:
                crt, text = c.read(), k.read()
        made[key] = (crt + text, crt)
    return made[key]


def give(worker, app, *names, kind="app", **more):
    """Tells the worker a certificate; (its number, its DER)."""
    n = worker.id()
    both, crt = pem(*names, **more)
    at = os.path.join(worker.folder, f"cert-{n}.pem")
    with open(at, "w") as f:
        f.write(both)
    worker.tell(f"cert {n} {app} {kind} {at}")
    return n, ssl.PEM_cert_to_DER_cert(crt)


def context(alpn=("http/1.1",), version=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    if alpn:
        c.set_alpn_protocols(list(alpn))
    if version:
        c.minimum_version = c.maximum_version = version
    return c


def dial(worker, name, ctx=None, session=None, data=b""):
    """A connection after its handshake."""
    s = socket.create_connection(("127.0.0.1", worker.tls_port), timeout=WAIT)
    s = (ctx or context()).wrap_socket(s, server_hostname=name, session=session, suppress_ragged_eofs=False)
    c = Conn(s)
    if data:
        c.send(data)
    return c


def shown(worker, name, **more):
    """The DER of the certificate that a name gets."""
    c = dial(worker, name, **more)
    der = c.s.getpeercert(True)
    c.close()
    return der


def get(worker, host, path="/", name=None, more=""):
    c = dial(worker, name or host, data=f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())
    r = c.response()
    c.close()
    return r
