/* The pair of interfaces: `link` on the host, eth0 inside.  Layer agent/sandbox; builder and inside.
 *
 * Both ends carry the same hardware address and do no ARP: a frame goes to "our own" address, which is also the other
 * end's.  So there is nothing to resolve, to time out or to spoof.  Inside, everything goes to one onlink gateway that
 * exists only as a key in the neighbour table: one entry, however many peers an app talks to.
 *
 * rtnetlink(7) in a few lines instead of libmnl: this program has no libraries, and needs seven messages. */
#include "agent/sandbox/sandbox.h"
#include "agent/sandbox/tbf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define GATEWAY 0xa9fe0101u /* 169.254.1.1 */
#define SETTLE_NS 200000    /* a worker of the kernel needs some 50 us where it is needed at all */
#define SETTLE_TRIES 25	    /* 5 ms: far below the second that a lost packet costs */

/* A batch of messages. */
struct batch {
	uint32_t room[256];
	size_t used; /* bytes */
	size_t head; /* where the last message starts */
	unsigned count;
	int full;
};

static void *batch_room(struct batch *b, size_t n)
{
	char *p = (char *)b->room + b->used;

	n = NLMSG_ALIGN(n);
	if (b->used + n > sizeof b->room) {
		b->full = 1;
		return b->room;
	}
	memset(p, 0, n);
	b->used += n;
	return p;
}

static void batch_end(struct batch *b)
{
	struct nlmsghdr *h = (void *)((char *)b->room + b->head);

	h->nlmsg_len = (uint32_t)(b->used - b->head);
}

static void *batch_message(struct batch *b, uint16_t type, uint16_t flags, size_t body)
{
	b->head = b->used;
	struct nlmsghdr *h = batch_room(b, sizeof *h);
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	h->nlmsg_seq = ++b->count;
	return batch_room(b, body);
}

static void batch_attr(struct batch *b, uint16_t type, const void *p, size_t n)
{
	struct rtattr *a = batch_room(b, sizeof *a + n);

	if (b->full)
		return;
	a->rta_type = type;
	a->rta_len = (uint16_t)(sizeof *a + n);
	memcpy(a + 1, p, n);
}

static void batch_attr_u32(struct batch *b, uint16_t type, uint32_t v)
{
	batch_attr(b, type, &v, sizeof v);
}

/* Opens a nested attribute; closed by batch_nest_end with what this returned. */
static size_t batch_nest(struct batch *b, uint16_t type)
{
	size_t at = b->used;
	struct rtattr *a = batch_room(b, sizeof *a);

	a->rta_type = type;
	return at;
}

static void batch_nest_end(struct batch *b, size_t at)
{
	struct rtattr *a = (void *)((char *)b->room + at);

	a->rta_len = (uint16_t)(b->used - at);
}

/* Sends all and reads one answer for each; 0 or the first error. */
static int batch_send(int fd, struct batch *b)
{
	_Alignas(struct nlmsghdr) char answer[2048];
	unsigned answers = 0;
	int error = 0;

	if (b->full)
		return -ENOBUFS;
	if (send(fd, b->room, b->used, 0) != (ssize_t)b->used)
		return -errno;
	while (answers < b->count) {
		ssize_t n = recv(fd, answer, sizeof answer, 0);
		if (n < 0)
			return -errno;
		for (struct nlmsghdr *h = (void *)answer; NLMSG_OK(h, (uint32_t)n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type != NLMSG_ERROR)
				continue;
			const struct nlmsgerr *e = NLMSG_DATA(h);
			answers++;
			if (e->error < 0 && error == 0)
				error = e->error;
		}
	}
	return error;
}

static int open_route(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int on = 1;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on); /* do not send our messages back */
	return fd;
}

static void add_address(struct batch *b, const struct sandbox *s)
{
	/* Locally administered, unicast; unique as the address is. */
	unsigned char mac[6] = {0x02, 0x74};
	uint32_t be = htonl(s->spec.address);

	memcpy(mac + 2, &be, sizeof be);
	batch_attr(b, IFLA_ADDRESS, mac, sizeof mac);
	/* One queue: the default is one per possible CPU, each with its memory. */
	batch_attr_u32(b, IFLA_NUM_TX_QUEUES, 1);
	batch_attr_u32(b, IFLA_NUM_RX_QUEUES, 1);
}

/* Waits until an end that is up carries packets.  Until a worker of the kernel has acted on the new carrier everything
 * sent is dropped, and a lost SYN costs a second.  Asking for the carrier makes it act at once (Linux 6.9,
 * linkwatch_sync_dev); before, it is seen by IFF_RUNNING.  Gives up quietly: then packets may be late, which breaks
 * nothing. */
static void settle(int fd, const char *name)
{
	struct timespec nap = {.tv_nsec = SETTLE_NS};

	for (int i = 0; i < SETTLE_TRIES; i++) {
		struct ethtool_value v = {.cmd = ETHTOOL_GLINK};
		struct ifreq q = {.ifr_data = (void *)&v};
		memcpy(q.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
		if (ioctl(fd, SIOCETHTOOL, &q) < 0 || ioctl(fd, SIOCGIFFLAGS, &q) < 0 || q.ifr_flags & IFF_RUNNING)
			return;
		nanosleep(&nap, NULL);
	}
}

static int index_of(int fd, const char *name)
{
	struct ifreq q = {0};

	memcpy(q.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	return ioctl(fd, SIOCGIFINDEX, &q) < 0 ? -errno : q.ifr_ifindex;
}

static int has_ipv6(void)
{
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	close(fd);
	return 1;
}

static void add_link_up(struct batch *b, int index)
{
	struct ifinfomsg *i = batch_message(b, RTM_NEWLINK, 0, sizeof *i);

	i->ifi_index = index;
	i->ifi_flags = i->ifi_change = IFF_UP;
	batch_end(b);
}

/* No IPv6 address comes by itself: there is no IPv6 on the link.  Must be said before it is up. */
static void add_no_ipv6(struct batch *b, int index)
{
	uint8_t none = IN6_ADDR_GEN_MODE_NONE;

	if (!has_ipv6())
		return;
	struct ifinfomsg *i = batch_message(b, RTM_NEWLINK, 0, sizeof *i);
	i->ifi_index = index;
	size_t spec = batch_nest(b, IFLA_AF_SPEC), inet6 = batch_nest(b, AF_INET6);
	batch_attr(b, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof none);
	batch_nest_end(b, inet6);
	batch_nest_end(b, spec);
	batch_end(b);
}

/* What this end may send: the host's end is the way in, eth0 the way out.  The program never gets CAP_NET_ADMIN, so it
 * stays. */
static void add_rate(struct batch *b, int index, uint64_t rate)
{
	struct tbf_message m;

	if (!rate)
		return;
	tbf_set(&m, index, rate);
	b->head = b->used;
	m.h.nlmsg_seq = ++b->count;
	void *p = batch_room(b, sizeof m);
	if (!b->full)
		memcpy(p, &m, sizeof m);
}

int net_connect(struct sandbox *s)
{
	if (!s->spec.network)
		return 0;
	s->link = open_route();
	if (s->link < 0)
		return s->link;

	struct batch b = {0};
	struct ifinfomsg *i = batch_message(&b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *i);
	i->ifi_flags = i->ifi_change = IFF_NOARP;
	batch_attr(&b, IFLA_IFNAME, s->spec.link, strlen(s->spec.link) + 1);
	batch_attr_u32(&b, IFLA_GROUP, s->spec.link_group);
	add_address(&b, s);
	size_t info = batch_nest(&b, IFLA_LINKINFO);
	batch_attr(&b, IFLA_INFO_KIND, "veth", 4);
	size_t data = batch_nest(&b, IFLA_INFO_DATA), peer = batch_nest(&b, VETH_INFO_PEER);
	struct ifinfomsg *p = batch_room(&b, sizeof *p);
	p->ifi_flags = p->ifi_change = IFF_NOARP;
	batch_attr(&b, IFLA_IFNAME, "eth0", 5);
	batch_attr_u32(&b, IFLA_NET_NS_PID, (uint32_t)s->pid);
	add_address(&b, s);
	batch_nest_end(&b, peer);
	batch_nest_end(&b, data);
	batch_nest_end(&b, info);
	batch_end(&b);
	int r = batch_send(s->link, &b);
	if (r < 0) {
		s->what = r == -EEXIST ? "an interface of that name is still there" : NULL;
		return r;
	}
	s->link_made = 1;
	r = namespace_say(s, SANDBOX_WORD_NETWORK, -1);
	if (r < 0)
		return r;

	/* The host's end; meanwhile the other side does the inner one. */
	s->what = "the host's end";
	int index = index_of(s->link, s->spec.link);
	if (index < 0)
		return index;
	b = (struct batch){0};
	add_no_ipv6(&b, index);
	add_link_up(&b, index);
	struct rtmsg *m = batch_message(&b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof *m);
	m->rtm_family = AF_INET;
	m->rtm_dst_len = 32;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_scope = RT_SCOPE_LINK;
	m->rtm_type = RTN_UNICAST;
	batch_attr_u32(&b, RTA_DST, htonl(s->spec.address));
	batch_attr_u32(&b, RTA_OIF, (uint32_t)index);
	if (s->spec.host_address)
		batch_attr_u32(&b, RTA_PREFSRC, htonl(s->spec.host_address));
	batch_end(&b);
	add_rate(&b, index, s->spec.net_in);
	r = batch_send(s->link, &b);
	if (r == -ENOENT && s->spec.net_in)
		s->what = "this kernel has no token bucket (NET_SCH_TBF)";
	return r;
}

int net_wait_carrier(struct sandbox *s)
{
	if (!s->spec.network)
		return 0;
	int r = namespace_hear(s, SANDBOX_WORD_UP, NULL);
	if (r < 0) {
		if (r == -EPIPE)
			s->what = "the sandbox was killed; too little memory?";
		return r == -EPIPE ? -ECHILD : r;
	}
	settle(s->link, s->spec.link);
	return namespace_say(s, SANDBOX_WORD_LINKED, -1);
}

void net_undo(struct sandbox *s)
{
	if (!s->link_made)
		return;
	/* It would go with its namespace, but later, and its name could not be used until then. */
	struct batch b = {0};
	struct ifinfomsg *i = batch_message(&b, RTM_DELLINK, 0, sizeof *i);
	(void)i;
	batch_attr(&b, IFLA_IFNAME, s->spec.link, strlen(s->spec.link) + 1);
	batch_end(&b);
	batch_send(s->link, &b);
}

int net_configure(struct sandbox *s)
{
	int fd = open_route();
	struct batch b = {0};

	if (fd < 0)
		return fd;
	add_link_up(&b, 1); /* lo */
	int r = batch_send(fd, &b);
	if (r < 0 || !s->spec.network) {
		close(fd);
		return r;
	}
	r = namespace_hear(s, SANDBOX_WORD_NETWORK, NULL);
	int index = r < 0 ? r : index_of(fd, "eth0");
	if (index < 0) {
		close(fd);
		return index;
	}
	b = (struct batch){0};
	struct ifaddrmsg *a = batch_message(&b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *a);
	a->ifa_family = AF_INET;
	a->ifa_prefixlen = 32;
	a->ifa_index = (uint32_t)index;
	batch_attr_u32(&b, IFA_LOCAL, htonl(s->spec.address));
	batch_attr_u32(&b, IFA_ADDRESS, htonl(s->spec.address));
	batch_end(&b);
	add_no_ipv6(&b, index);
	add_link_up(&b, index);
	struct rtmsg *m = batch_message(&b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *m);
	m->rtm_family = AF_INET;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_scope = RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	m->rtm_flags = RTNH_F_ONLINK;
	batch_attr_u32(&b, RTA_GATEWAY, htonl(GATEWAY));
	batch_attr_u32(&b, RTA_OIF, (uint32_t)index);
	batch_end(&b);
	add_rate(&b, index, s->spec.net_out);
	r = batch_send(fd, &b);
	if (r == 0)
		r = namespace_say(s, SANDBOX_WORD_UP, -1);
	close(fd);
	return r;
}

int net_carrier(struct sandbox *s)
{
	if (!s->spec.network)
		return 0;
	/* Either end may have come up first. */
	int r = namespace_hear(s, SANDBOX_WORD_LINKED, NULL);
	int fd = r < 0 ? -1 : socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		settle(fd, "eth0");
		close(fd);
	}
	return r;
}
