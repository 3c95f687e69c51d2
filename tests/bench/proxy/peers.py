"""The proxies of the bench, one thread each, with the same hosts and an app server each; theirs write no access log, ours does."""
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def free_port():
    """Below those that the kernel gives to connections, so that it stays free until the proxy listens."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="utf-8") as f:
        low = int(f.read().split()[0])
    while True:
        port = random.randrange(10000, max(low, 12000))
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def version(command):
    r = subprocess.run(command, capture_output=True, text=True, check=False)
    return (r.stdout + r.stderr).splitlines()[0]


class Proxy:
    def __init__(self, name, process, port=0, secure=0):
        self.name, self.process, self.port, self.secure = name, process, port, secure

    def pids(self):
        return [self.process.pid, *(int(p) for p in subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False).stdout.split())]

    def cpu_us(self):
        """Time on a processor, of a process of one thread and its children."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/schedstat", encoding="utf-8") as f:
                total += int(f.read().split()[0])
        return total / 1000

    def pss_kib(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
                total += int(re.search(r"^Pss:\s+(\d+) kB", f.read(), re.M).group(1))
        return total

    def tell(self, *lines):
        self.process.stdin.write("".join(line + "\n" for line in lines))
        self.process.stdin.flush()


class Bench:
    """A folder, the test programs, and what was started; all gone at close()."""

    def __init__(self, build):
        self.build, self.folder, self.started = build, tempfile.mkdtemp(prefix="tulou-bench-proxy-"), []
        os.chmod(self.folder, 0o755)
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", self.path("ends"), os.path.join(HERE, "ends.c")], check=True)
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", self.path("clients"), os.path.join(HERE, "clients.c"), "-lssl", "-lcrypto", "-lpthread"], check=True)
        # One certificate for all hosts, ECDSA on P-256: chain and key in one file, as HAProxy wants it.
        subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", self.path("key"), "-out",
                        self.path("crt"), "-days", "30", "-subj", "/CN=bench", "-addext", "subjectAltName=DNS:*.example.test"], check=True, capture_output=True)
        with open(self.path("crt"), encoding="utf-8") as c, open(self.path("key"), encoding="utf-8") as k:
            self.write("pem", c.read() + k.read())

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def start(self, *command):
        with open(self.path("stderr"), "a", encoding="utf-8") as err:
            p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, stdin=subprocess.PIPE, text=True)
        self.started.append(p)
        return p

    def app(self, where="0", size=512):
        """An app server; its port."""
        return int(self.start(self.path("ends"), "answer", where, str(size)).stdout.readline())

    def stop(self, processes):
        for p in reversed(processes):
            p.send_signal(signal.SIGTERM)
            try:
                p.wait(timeout=5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        self.started = [p for p in self.started if p not in processes]

    def close(self):
        self.stop(self.started)
        shutil.rmtree(self.folder, ignore_errors=True)

    def haproxy(self, hosts):
        app, port, secure = self.app(), free_port(), free_port()
        names = self.write("map", "".join(f"app{i}.example.test b{i}\n" for i in range(hosts)))
        conf = self.write("haproxy.cfg", f"""global
 nbthread 1
 maxconn 9900
defaults
 mode http
 timeout client 600s
 timeout server 60s
 timeout connect 5s
 timeout tunnel 60s
 timeout http-keep-alive 600s
 option forwardfor
 http-reuse always
frontend f
 bind 127.0.0.1:{port} backlog 4096
 bind 127.0.0.1:{secure} backlog 4096 ssl crt {self.path('pem')} ssl-min-ver TLSv1.2 alpn h2,http/1.1
 use_backend %[req.hdr(host),lower,map({names})]
""" + "".join(f"backend b{i}\n server s 127.0.0.1:{app}\n" for i in range(hosts)))
        return Proxy("haproxy", self.start("haproxy", "-db", "-f", conf), port, secure)

    def nginx(self, hosts):
        app, port, secure = self.app(), free_port(), free_port()
        temp = "".join(f"{kind}_temp_path {self.path(kind)};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf = self.write("nginx.conf", f"""daemon off; worker_processes 1; pid {self.path('nginx.pid')}; error_log {self.path('nginx.err')} crit;
events {{ worker_connections 19000; }}
http {{ access_log off; server_names_hash_max_size 65536; server_names_hash_bucket_size 128; keepalive_requests 1000000000; keepalive_timeout 600s;
ssl_certificate {self.path('crt')}; ssl_certificate_key {self.path('key')}; ssl_protocols TLSv1.2 TLSv1.3;
map $http_upgrade $up {{ default upgrade; '' ''; }}
proxy_http_version 1.1; proxy_set_header Connection $up; proxy_set_header Upgrade $http_upgrade;
proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; client_max_body_size 0;
{temp}""" + "".join(
            f"upstream u{i} {{ server 127.0.0.1:{app}; keepalive 64; keepalive_requests 1000000000; }}\n"
            f"server {{ listen 127.0.0.1:{port} backlog=4096; listen 127.0.0.1:{secure} ssl http2 backlog=4096; server_name app{i}.example.test; location / {{ proxy_pass http://u{i}; }} }}\n"
            .replace(" backlog=4096" if i else "never", "") for i in range(hosts)) + "}\n")
        return Proxy("nginx", self.start("nginx", "-c", conf), port, secure)

    def ours(self, hosts, at=None, name="ours"):
        """at: address of the app server as the worker takes it, e.g. unix:PATH."""
        at = at or f"127.0.0.1:{self.app()}"
        routes = self.write("routes", "".join(f"app{i}.example.test {at}\n" for i in range(hosts)))
        p = Proxy(name, self.start(os.path.join(self.build, "worker"), "-p", "0", "-s", "0", "-f", routes, "-l", self.path(name + ".log")))
        p.port, p.secure = int(p.process.stdout.readline().split()[1]), int(p.process.stdout.readline().split()[1])
        p.tell(f"cert 9000001 0 default {self.path('pem')}", f"tickets {'5a' * 80}")
        return p

    def relay(self, _hosts):
        p = self.start(self.path("ends"), "relay", "0", str(self.app()))
        return Proxy("relay", p, int(p.stdout.readline()))
