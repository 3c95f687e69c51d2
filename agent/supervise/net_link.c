/* The links of the instances, by rtnetlink(7): names, removal, rates, counters.  Layer agent, supervisor process. */
#include "agent/supervise/net_private.h"

#include "agent/sandbox/tbf.h"
#include "base/log.h"
#include "base/own.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int request_on(int fd, const void *request, size_t size)
{
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		char rest[512];
	} ack;
	ssize_t n;

	if (send(fd, request, size, 0) < 0)
		return -errno;
	n = recv(fd, &ack, sizeof ack, 0);
	if (n < (ssize_t)offsetof(__typeof__(ack), rest) || ack.h.nlmsg_type != NLMSG_ERROR)
		return n < 0 ? -errno : -EPROTO;
	return ack.e.error;
}

int net_request(int protocol, const void *request, size_t size)
{
	OWN_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	return fd < 0 ? -errno : request_on(fd, request, size);
}

void net_link_name(struct net *n, uint32_t address, bool egress, char name[IFNAMSIZ])
{
	/* At most 4 + 1 + 6 + 2 of 15 characters: pools are /8 or smaller. */
	snprintf(name, IFNAMSIZ, "%.4s%c%x%02x", n->prefix, egress ? 'p' : 'n', (address - n->pool.net) & 0xffffff,
		 n->generation++);
}

bool net_link_egress(const struct net *n, const char *name)
{
	size_t k = strlen(n->prefix);

	return strncmp(name, n->prefix, k) == 0 && name[k] == 'p';
}

int net_link_delete(const char *name)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
		struct rtattr a;
		char name[IFNAMSIZ];
	} req = {
		.h = {.nlmsg_len = sizeof req, .nlmsg_type = RTM_DELLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.a = {.rta_len = RTA_LENGTH(IFNAMSIZ), .rta_type = IFLA_IFNAME},
	};
	int r;

	snprintf(req.name, sizeof req.name, "%s", name);
	r = net_request(NETLINK_ROUTE, &req, sizeof req);
	return r == -ENODEV ? 0 : r;
}

int net_probe(void)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
		struct rtattr name;
		char name_text[8];
		struct rtattr info, kind;
		char veth[4];
	} req = {
		.h = {.nlmsg_len = sizeof req,
		      .nlmsg_type = RTM_NEWLINK,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL},
		.name = {.rta_len = RTA_LENGTH(8), .rta_type = IFLA_IFNAME},
		.name_text = "probe0",
		.info = {.rta_len = RTA_LENGTH(RTA_LENGTH(4)), .rta_type = IFLA_LINKINFO},
		.kind = {.rta_len = RTA_LENGTH(4), .rta_type = IFLA_INFO_KIND},
	};
	int r;

	memcpy(req.veth, "veth", 4);
	r = net_request(NETLINK_ROUTE, &req, sizeof req);
	return r < 0 ? r : net_link_rate("probe0", 1u << 20);
}

void net_links_sweep(const struct net *n, bool (*keep)(void *arg, const char *name), void *arg)
{
	struct if_nameindex *list = if_nameindex();

	for (struct if_nameindex *i = list; i && i->if_index; i++)
		if (strncmp(i->if_name, n->prefix, strlen(n->prefix)) == 0 && !keep(arg, i->if_name))
			net_link_delete(i->if_name);
	if (list)
		if_freenameindex(list);
}

static int rate_on(int fd, int index, uint64_t rate)
{
	struct tbf_message set;
	struct tbf_removal clear;
	int r;

	if (rate) {
		tbf_set(&set, index, rate);
		return request_on(fd, &set, sizeof set);
	}
	tbf_clear(&clear, index);
	r = request_on(fd, &clear, sizeof clear);
	return r == -ENOENT || r == -EINVAL ? 0 : r; /* EINVAL: the last one on the link is the kernel's own */
}

int net_link_rate(const char *name, uint64_t rate)
{
	unsigned index = if_nametoindex(name);
	OWN_FD int fd = -1;

	if (!index)
		return -errno;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	return fd < 0 ? -errno : rate_on(fd, (int)index, rate);
}

static void go_home(int home)
{
	if (setns(home, CLONE_NEWNET) == 0)
		return;
	LOG_ERROR("cannot come back from an instance's network", "error=\"%s\"", strerror(errno));
	abort(); /* the next supervisor begins at home */
}

/* A socket belongs to the network namespace it was made in, and so do its requests: this process has one thread, so it
 * may step in and back. */
int net_socket_inside(int pidfd, int protocol, unsigned *index)
{
	OWN_FD int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	OWN_FD int fd = -1;
	int error = 0;

	if (home < 0 || setns(pidfd, CLONE_NEWNET) < 0)
		return -errno;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (fd < 0 || (index && !(*index = if_nametoindex("eth0"))))
		error = errno;
	go_home(home);
	return error ? -error : TAKE_FD(fd);
}

int net_link_rate_inside(int pidfd, uint64_t rate)
{
	unsigned index = 0;
	OWN_FD int fd = net_socket_inside(pidfd, NETLINK_ROUTE, &index);

	return fd < 0 ? fd : rate_on(fd, (int)index, rate);
}

/* nf_tables asks for the modules of its own expressions, but not for those of a match in a table of both families
 * (xt_request_find_match() has no name for it, Linux 6.1 to 6.18); this question does.  The answer does not matter. */
static void load_match(void)
{
	const struct {
		struct nlmsghdr h;
		struct nfgenmsg g;
		struct nlattr name;
		char name_text[4];
		struct nlattr revision;
		uint32_t revision_value;
		struct nlattr type;
		uint32_t type_value;
	} req = {
		.h = {.nlmsg_len = sizeof req,
		      .nlmsg_type = NFNL_SUBSYS_NFT_COMPAT << 8 | NFNL_MSG_COMPAT_GET,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.g = {.nfgen_family = AF_INET},
		.name = {sizeof req.name + sizeof req.name_text, NFTA_COMPAT_NAME},
		.name_text = "bpf",
		.revision = {sizeof req.revision + sizeof req.revision_value, NFTA_COMPAT_REV},
		.revision_value = htonl(1),
		.type = {sizeof req.type + sizeof req.type_value, NFTA_COMPAT_TYPE},
	};

	net_request(NETLINK_NETFILTER, &req, sizeof req);
}

int net_segments(void)
{
	OWN_FD int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	OWN_FD int program = packets_segments();
	OWN_FD int fd = -1;
	int r;

	if (program < 0 || home < 0)
		return program < 0 ? program : -errno;
	load_match();
	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	r = fd < 0 ? -errno : packets_set(fd, PACKETS_MAKE, LIMIT_NET_PACKETS, program);
	go_home(home);
	return r < 0 ? r : TAKE_FD(program);
}

int net_link_packets(int pidfd, enum packets_form form, uint64_t rate, int segments)
{
	OWN_FD int fd = net_socket_inside(pidfd, NETLINK_NETFILTER, NULL);
	int r = fd < 0 ? fd : packets_set(fd, form, rate, segments);

	/* An instance of an earlier version has another table, or none. */
	return r == -ENOENT && form == PACKETS_CHANGE ? packets_set(fd, PACKETS_REPLACE, rate, segments) : r;
}

int net_link_packets_get(int pidfd, struct packets *ret)
{
	OWN_FD int fd = net_socket_inside(pidfd, NETLINK_NETFILTER, NULL);

	return fd < 0 ? fd : packets_get(fd, ret);
}

int net_tenant_refused(const struct net *n, uint32_t slot, uint64_t *ret)
{
	OWN_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	_Alignas(struct nlmsghdr) char room[PACKETS_ROOM];
	size_t size = packets_counter_question(room, sizeof room, n->table, NET_TENANT_REFUSED, net_group(slot));
	ssize_t got;
	int r;

	if (!size)
		return -ENOBUFS;
	if (fd < 0 || send(fd, room, size, 0) != (ssize_t)size)
		return -errno;
	got = recv(fd, room, sizeof room, 0);
	if (got < 0)
		return -errno;
	r = packets_counter_answer(room, (size_t)got, ret);
	if (r == -ENOENT) { /* an element is made by the first drop */
		*ret = 0;
		r = 0;
	}
	return r;
}

int net_link_bytes(const char *name, uint64_t *in, uint64_t *out)
{
	struct {
		struct nlmsghdr h;
		struct if_stats_msg s;
	} req = {
		.h = {.nlmsg_len = sizeof req, .nlmsg_type = RTM_GETSTATS, .nlmsg_flags = NLM_F_REQUEST},
		.s = {.ifindex = if_nametoindex(name), .filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64)},
	};
	struct {
		struct nlmsghdr h;
		struct if_stats_msg s;
		struct rtattr a;
		struct rtnl_link_stats64 stats;
		char rest[256];
	} __attribute__((packed)) answer;
	OWN_FD int fd = req.s.ifindex ? socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE) : -1;
	struct rtnl_link_stats64 stats;
	ssize_t n;

	if (fd < 0 || send(fd, &req, sizeof req, 0) < 0)
		return -errno;
	n = recv(fd, &answer, sizeof answer, 0);
	if (n < (ssize_t)offsetof(__typeof__(answer), stats.rx_packets))
		return n < 0 ? -errno : -EPROTO;
	/* The kernel pads in front of 64-bit values where it must; an older one knows fewer counters at the end. */
	if (answer.h.nlmsg_type != RTM_NEWSTATS || answer.a.rta_type != IFLA_STATS_LINK_64 ||
	    answer.a.rta_len < RTA_LENGTH(offsetof(struct rtnl_link_stats64, rx_errors)))
		return -EPROTO;
	memcpy(&stats, (const char *)&answer + offsetof(__typeof__(answer), stats),
	       offsetof(struct rtnl_link_stats64, rx_errors));
	*in = stats.tx_bytes;
	*out = stats.rx_bytes;
	return 0;
}
