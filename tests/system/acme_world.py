"""An authority of our own for tests: pebble and its name server on loopback, with a certificate made here."""
import json, shutil, ssl, urllib.request
from harness import *


class Authority:
    """names: everything is at 127.0.0.1 but what lost() moves away."""

    def __init__(self, folder, http_port, tls_port, nonces=20, eab=False, valid_s=0, ocsp=""):
        if not shutil.which("pebble") or not shutil.which("pebble-challtestsrv"):
            raise Skip("pebble is not installed (deploy/bootstrap test)")
        self.dir = tempfile.mkdtemp(prefix="authority-", dir=folder)
        os.chmod(self.dir, 0o755)
        self.port, self.manage, self.dns, self.names = free_port(), free_port(), free_port(), free_port()
        self.nonces = nonces
        self.ca, key = self.dir + "/ca.pem", self.dir + "/ca.key"
        r = run("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out", self.ca, "-days", "3", "-subj", "/CN=test authority",
                "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        check(r.returncode == 0, r.stderr)
        self.config = self.dir + "/pebble.json"
        with open(self.config, "w") as f:
            json.dump({"pebble": {"listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.manage}", "certificate": self.ca, "privateKey": key,
                                  "httpPort": http_port, "tlsPort": tls_port, "ocspResponderURL": ocsp, **({"certificateValidityPeriod": valid_s} if valid_s else {}), "externalAccountBindingRequired": eab,
                                  "externalAccountMACKeys": {"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"} if eab else {}}}, f)
        self.directory = f"https://127.0.0.1:{self.port}/dir"
        self.resolver = subprocess.Popen(["pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", f"127.0.0.1:{self.dns}", "-http01", "", "-https01", "", "-tlsalpn01", "",
                                          "-management", f"127.0.0.1:{self.names}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process = None
        self.log = self.dir + "/log"
        self.start()

    def start(self, **env):
        """pebble keeps nothing: one that starts again knows no account and no order."""
        env = dict(os.environ, PEBBLE_VA_NOSLEEP="1", PEBBLE_VA_ALWAYS_VALID="0", PEBBLE_WFE_NONCEREJECT=str(self.nonces), PEBBLE_AUTHZREUSE="0", **env)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(["pebble", "-config", self.config, "-dnsserver", f"127.0.0.1:{self.dns}", "-strict"], stdout=log, stderr=log, env=env)
        wait_for("the authority", lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() or True, 10)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def lost(self, host, address="127.0.0.99"):
        body = json.dumps({"host": host, "addresses": [address]}).encode()
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{self.names}/add-a", body), timeout=5).read()

    def found(self, host):
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{self.names}/clear-a", json.dumps({"host": host}).encode()), timeout=5).read()

    def orders(self):
        """How many were begun."""
        return sum("Added order" in line for line in open(self.log, errors="replace"))

    def issuer(self):
        """(certificate, key) of what signs: files of PEM."""
        c = ssl.create_default_context()
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
        out = []
        for what in ("intermediates", "intermediate-keys"):
            at = f"{self.dir}/{what}.pem"
            with open(at, "wb") as f:
                f.write(urllib.request.urlopen(f"https://127.0.0.1:{self.manage}/{what}/0", context=c, timeout=5).read())
            out.append(at)
        return out

    def settings(self, more=""):
        return f"tls: {{ acme: {{ directory: \"{self.directory}\", email: op@example.test, terms_agreed: on, ca_file: {self.ca}{more} }} }}\n"

    def cleanup(self):
        for p in (self.process, self.resolver):
            p.kill()
            p.wait()
