/* The bound of packets of a new instance (agent/sandbox/packets.h).  Layer agent/sandbox; inside. */
#include "agent/sandbox/packets.h"
#include "agent/sandbox/sandbox.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

int net_bound(struct sandbox *s)
{
	int fd, r;

	if (!s->spec.network)
		return 0;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fd < 0)
		return -errno;
	r = packets_set(fd, PACKETS_MAKE, s->spec.net_packets, s->spec.segments ? LAUNCH_FD_SEGMENTS : -1);
	close(fd);
	if (r == -ENOENT || r == -EOPNOTSUPP)
		s->what = "this kernel has no nftables (NF_TABLES_INET)";
	return r;
}
