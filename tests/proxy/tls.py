"""Certificates for tests, and clients that speak TLS."""
import ctypes
import ctypes.util
import hashlib
import hmac
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


class Sealer:
    """Records of TLS 1.3 (RFC 8446, 5.2) that ssl would never send, under a client's secret of AES-GCM."""
    lib = None

    def __init__(self, suite, secret):
        if not Sealer.lib:
            lib = Sealer.lib = ctypes.CDLL(ctypes.util.find_library("crypto"))
            lib.EVP_CIPHER_CTX_new.restype = lib.EVP_aes_128_gcm.restype = lib.EVP_aes_256_gcm.restype = ctypes.c_void_p
        self.size, self.digest, self.cipher = {
            "TLS_AES_128_GCM_SHA256": (16, hashlib.sha256, Sealer.lib.EVP_aes_128_gcm),
            "TLS_AES_256_GCM_SHA384": (32, hashlib.sha384, Sealer.lib.EVP_aes_256_gcm)}[suite]
        self.secret, self.seq = secret, 0

    def expand(self, label, n):
        label = b"tls13 " + label
        return hmac.new(self.secret, n.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0\1", self.digest).digest()[:n]

    def record(self, content, kind=23, padding=0):
        key, iv, lib = self.expand(b"key", self.size), self.expand(b"iv", 12), self.lib
        nonce = (int.from_bytes(iv, "big") ^ self.seq).to_bytes(12, "big")
        self.seq += 1
        inner = content + bytes([kind]) + bytes(padding)
        head = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        out, tag, n = ctypes.create_string_buffer(len(inner)), ctypes.create_string_buffer(16), ctypes.c_int()
        c = ctypes.c_void_p(lib.EVP_CIPHER_CTX_new())
        ok = lib.EVP_EncryptInit_ex(c, ctypes.c_void_p(self.cipher()), None, key, nonce) and \
            lib.EVP_EncryptUpdate(c, None, ctypes.byref(n), head, len(head)) and \
            lib.EVP_EncryptUpdate(c, out, ctypes.byref(n), inner, len(inner)) and \
            lib.EVP_EncryptFinal_ex(c, tag, ctypes.byref(n)) and lib.EVP_CIPHER_CTX_ctrl(c, 0x10, 16, tag)
        lib.EVP_CIPHER_CTX_free(c)
        assert ok
        return head + out.raw + tag.raw

    def update(self, *cuts, asked=0):
        """A KeyUpdate, cut at these places; what follows is under the next key."""
        message, at = bytes([24, 0, 0, 1, asked]), [0, *cuts, 5]
        out = b"".join(self.record(message[a:b], 22) for a, b in zip(at, at[1:]))
        self.secret, self.seq = self.expand(b"traffic upd", len(self.secret)), 0
        return out
