"""Everything behind the host's uplink, in a network namespace of its own: addresses that answer whoever reaches them, and an ear on the wire.
Reads "go" from standard input; then one line of JSON per frame that came from the host: {"proto", "from", "to", "port", "data"}."""
import json, select, socket, struct, subprocess, sys

V4 = ["169.254.169.254", "169.254.170.2", "100.100.100.200", "169.254.10.10", "10.1.2.3", "172.16.5.5", "192.168.77.1", "100.64.7.7", "198.18.0.9", "203.0.113.9"]
V6 = ["fd00:ec2::254", "2001:db8::9"]
PORT = 80


def ip(*args):
    subprocess.run(["ip", *args], check=True)


sys.stdin.readline()
ip("link", "set", "lo", "up")
ip("link", "set", "world0", "up")
ip("addr", "add", "192.0.2.1/24", "dev", "world0")
ip("addr", "add", "fd00:5::1/64", "dev", "world0", "nodad")
ip("addr", "add", "fe80::1/64", "dev", "world0", "nodad")
for a in V4:
    ip("addr", "add", a + "/32", "dev", "lo")
for a in V6:
    ip("addr", "add", a + "/128", "dev", "lo")
ip("route", "add", "default", "via", "192.0.2.2")
ip("route", "add", "default", "via", "fd00:5::2")

ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
ear.bind(("world0", 0))
doors = {}
for family, addresses in ((socket.AF_INET, V4 + ["192.0.2.1", "192.0.2.255", "255.255.255.255", "224.0.0.1", "224.0.0.251"]), (socket.AF_INET6, V6 + ["fd00:5::1"])):
    for a in addresses:
        try:
            u = socket.socket(family, socket.SOCK_DGRAM)
            u.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            u.bind((a, PORT))
            doors[u.fileno()] = u
            t = socket.create_server((a, PORT), family=family, backlog=64)
            doors[t.fileno()] = t
        except OSError:
            pass
print(json.dumps({"ready": True}), flush=True)
while True:
    for s in select.select([ear, sys.stdin, *doors.values()], [], [])[0]:
        if s is sys.stdin:
            sys.exit(0)
        if s is not ear:
            try:
                if s.type & socket.SOCK_DGRAM:
                    data, peer = s.recvfrom(2048)
                    s.sendto(data, peer)
                else:
                    s.accept()[0].close()
            except OSError:
                pass
            continue
        frame, where = ear.recvfrom(2048)
        if where[2] == socket.PACKET_OUTGOING:
            continue
        kind = struct.unpack_from("!H", frame, 12)[0]
        if kind == 0x0800:
            head, proto = (frame[14] & 15) * 4, frame[23]
            src, dst = socket.inet_ntop(socket.AF_INET, frame[26:30]), socket.inet_ntop(socket.AF_INET, frame[30:34])
            body = frame[14 + head:]
        elif kind == 0x86dd:
            proto, src, dst = frame[20], socket.inet_ntop(socket.AF_INET6, frame[22:38]), socket.inet_ntop(socket.AF_INET6, frame[38:54])
            body = frame[54:]
        else:
            continue
        if proto in (1, 58):  # neighbour discovery and errors
            continue
        port = struct.unpack_from("!H", body, 2)[0] if len(body) >= 4 else 0
        print(json.dumps({"proto": proto, "from": src, "to": dst, "port": port, "data": body[8:40].decode("latin-1")}), flush=True)
