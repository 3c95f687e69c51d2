#!/bin/bash
# System test of agent/supervise without the other roles, as TAP.  usage: tests/system/supervise.sh BUILDDIR   (root)
# Runs in a network namespace of its own, with a second one that plays the world.
set -u
cd "$(dirname "$0")/../.." || exit 1
out=$(realpath "${1:-build}")
n=0 bad=0
ok() { # RESULT NAME
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; else
		bad=1
		echo "not ok $n - $2"
	fi
}
if [ "$(id -u)" != 0 ]; then
	echo "1..0 # SKIP needs root"
	exit 0
fi
if [ "${SUPERVISE_NS:-}" = "" ]; then
	exec env SUPERVISE_NS=1 unshare -n -m "$0" "$out"
fi
${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -I. -O1 -g -o "$out/supervise_driver" tests/system/supervise_driver.c \
	"$out"/lib/{agent_supervise,agent_sandbox,scheduler,config,base}.a -levent_core -ljansson -lyaml -lnftables -lseccomp || exit 1
dir=$(mktemp -d) name=tulou-test-$$
drive() { timeout 120 "$out/supervise_driver" "$dir" "$out" "$name" zt "$@" >"$dir/out" 2>&1; }
said() { grep -q -- "$1" "$dir/out"; }
clean() { # nothing is left
	[ -z "$(find /sys/fs/cgroup -maxdepth 3 -name "$name*" 2>/dev/null)" ] && ! ip -o link | grep -q ': zt' &&
		! nft list tables | grep -q tulou_ && [ ! -e "$dir/run/instances" ] && [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ]
}
settled() {
	for _ in $(seq 50); do clean && return 0; sleep 0.1; done
	{ find /sys/fs/cgroup -maxdepth 3 -name "$name*"; ip -o link; nft list tables; ls "$dir/run"; cat /proc/sys/net/ipv4/ip_forward; } | sed 's/^/# left: /'
	return 1
}

# The world: one namespace behind `wan`, with a public and a private address and a resolver.
# TEST-NET-2 (RFC 5737) plays the public.
unshare -n sleep 300 >/dev/null 2>&1 &
world=$!
trap 'kill $world 2>/dev/null; rm -rf "$dir"' EXIT
inside() { nsenter -t $world -n "$@"; }
ip link set lo up
echo 0 >/proc/sys/net/ipv4/ip_forward # a new namespace inherits the host's
for _ in $(seq 50); do [ "$(readlink /proc/$world/ns/net)" != "$(readlink /proc/self/ns/net)" ] && break; sleep 0.05; done
ip link add wan type veth peer name wan netns $world
ip addr add 172.31.9.1/30 dev wan && ip link set wan up
inside sh -c 'ip link set lo up; ip link set wan up; ip addr add 172.31.9.2/30 dev wan
	for a in 198.51.100.7 10.9.9.9 10.9.9.53; do ip addr add $a/32 dev lo; done'
ip route add default via 172.31.9.2
echo "nameserver 10.9.9.53" >"$dir/resolv.conf"
mount --bind "$dir/resolv.conf" /etc/resolv.conf
nsenter -t $world -n python3 -c '
import socket, threading, time
def serve(port):
    s = socket.create_server(("0.0.0.0", port)); s.settimeout(300)
    while True: s.accept()[0].close()
for p in (53, 80): threading.Thread(target=serve, args=(p,), daemon=True).start()
time.sleep(300)' >/dev/null 2>&1 &
server=$!
python3 -c '
import socket
import threading
def serve(a):
    s = socket.socket(); s.setsockopt(0, 15, 1); s.bind(a); s.listen(9); s.settimeout(300) # IP_FREEBIND
    while True: s.accept()[0].close()
threading.Thread(target=serve, args=(("10.95.0.1", 53),), daemon=True).start()
serve(("0.0.0.0", 9999))' >/dev/null 2>&1 &
host=$!
trap 'kill $world $server $host 2>/dev/null; rm -rf "$dir"' EXIT
sleep 0.5

drive check
said '^ok *cgroups'
ok $? "--check sees the control groups"
drive run 20 http && said 'reached=20' && settled
ok $? "20 servers start, answer, stop, and leave nothing"
drive cases && settled
ok $? "every way to end leaves nothing"
for want in '=1 exit=code code=0' '=2 exit=code code=7' '=3 exit=signal code=143' '=4 exit=deadline' '=5 exit=killed' \
	'=6 exit=stopped' '=7 exit=oom' '=8 exit=launch.*memory' '=9 exit=launch.*No such file'; do
	said "^case$want"
	ok $? "told: case$want"
done
drive churn 200 && settled
ok $? "200 short ones of every kind leak no descriptor and no child"
drive net 198.51.100.7 10.9.9.9 10.9.9.53
ok $? "who reaches whom"
sed 's/^/# /' "$dir/out"
drive die 20 http
[ "$(pgrep -c -f 'http.server 8080')" -ge 20 ]
ok $? "instances outlive a killed supervisor"
drive adopt 20 http && said 'living=20' && said 'logs=20' && said 'reached=20' && settled
ok $? "the next one adopts, reaches and stops them"
echo "1..$n"
exit $bad
