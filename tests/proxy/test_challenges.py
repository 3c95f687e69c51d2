"""ACME's challenges over plain HTTP, and OCSP responses beside certificates."""
import os
import subprocess
import time

import talk
from talk import client, serve
from tls import give

PATH = "/.well-known/acme-challenge/"


def test_a_token_is_answered_for_its_host_alone(worker):
    app = serve(b"app")
    worker.app("a", app)
    worker.app("b", serve(b"other"))
    worker.tell("challenge a.test tok-EN_1 tok-EN_1.thumb")
    status, head, body = talk.get(worker, "a.test", PATH + "tok-EN_1")[:3]
    assert (status, body) == (200, b"tok-EN_1.thumb"), (status, body)
    assert talk.get(worker, "A.test:80", PATH + "tok-EN_1")[2] == b"tok-EN_1.thumb"
    assert talk.get(worker, "b.test", PATH + "tok-EN_1")[2] == b"other"
    for path in ("tok-EN_", "tok-EN_12", "tok-en_1", "", "tok-EN_1?x", "tok-EN_1/"):
        assert talk.get(worker, "a.test", PATH + path)[2] == b"app", path
    c = client(worker)
    c.send(f"HEAD {PATH}tok-EN_1 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n".encode())
    assert c.rest().endswith(b"\r\n\r\n")
    c.close()
    worker.tell("challengedel a.test tok-EN_1")
    assert talk.get(worker, "a.test", PATH + "tok-EN_1")[2] == b"app"


def test_before_redirects_pauses_and_unknown_hosts(worker):
    n = worker.id()
    worker.tell(f"app {n} paused 100 a redirect 0", f"host {n} a.test", "challenge a.test t1 one", "challenge nowhere.test t2 two")
    assert talk.get(worker, "a.test", PATH + "t1")[2] == b"one"
    assert talk.get(worker, "nowhere.test", PATH + "t2")[2] == b"two"
    assert talk.get(worker, "a.test", PATH + "t2")[0] == 308
    assert talk.get(worker, "nowhere.test", PATH + "t1")[0] == 404


def test_a_new_table_takes_old_challenges_away(worker):
    worker.tell("challenge a.test t1 one", "begin", "challenge a.test t2 two", "end")
    assert talk.get(worker, "a.test", PATH + "t1")[0] == 404
    assert talk.get(worker, "a.test", PATH + "t2")[2] == b"two"


def test_there_are_so_many_at_most(worker):
    for i in range(80):
        worker.tell(f"challenge a.test t{i} answer{i}")
    assert talk.get(worker, "a.test", PATH + "t63")[2] == b"answer63"
    assert talk.get(worker, "a.test", PATH + "t64")[0] == 404


def status(worker, name):
    """What openssl's client is told beside the certificate."""
    r = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{worker.tls_port}", "-servername", name, "-status", "-alpn", "http/1.1"],
                       input=b"", capture_output=True, timeout=20)
    return r.stdout.decode(errors="replace")


def response(worker, name):
    """A true OCSP response for a certificate that signs it by itself: (number, file)."""
    n, der = give(worker, worker.id(), name, kind="node")
    at = os.path.join(worker.folder, f"cert-{n}.pem")
    serial = subprocess.run(["openssl", "x509", "-in", at, "-noout", "-serial"], capture_output=True, text=True).stdout.strip().split("=")[1]
    index = at + ".index"
    with open(index, "w") as f:
        f.write(f"V\t351231235959Z\t\t{serial}\tunknown\t/CN={name}\n")
    ask, out = at + ".req", at + ".ocsp"
    subprocess.run(["openssl", "ocsp", "-issuer", at, "-cert", at, "-no_nonce", "-reqout", ask], check=True, capture_output=True)
    subprocess.run(["openssl", "ocsp", "-index", index, "-CA", at, "-rsigner", at, "-rkey", at, "-reqin", ask, "-respout", out, "-ndays", "1"],
                   check=True, capture_output=True)
    return n, out


def test_a_response_is_given_to_who_asks(worker):
    n, out = response(worker, "s.test")
    assert "OCSP response: no response sent" in status(worker, "s.test")
    soon = int(time.time() * 1000) + 86400000
    worker.tell(f"staple {n} {soon} {out}")
    text = status(worker, "s.test")
    assert "OCSP Response Status: successful" in text and "Cert Status: good" in text, text[:1500]
    assert "successful" not in status(worker, "other.test")
    # One that is over is not given.
    worker.tell(f"staple {n} {int(time.time() * 1000) - 1000} {out}")
    assert "no response sent" in status(worker, "s.test")
    worker.tell(f"staple 4711 {soon} {out}")
