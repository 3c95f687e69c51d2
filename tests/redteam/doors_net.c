/* The network.  tests/redteam.
 *
 * Facts are lists "address:port,address:port…" (IPv6 in brackets): HOST (the host's addresses, all that listens),
 * CONTROL (the front door and the API), VICTIM (another tenant's instance), METADATA, LINK_LOCAL, PRIVATE, ON_LINK, V6,
 * PUBLIC (allowed by the policy: the control of the other answers).  VICTIM_ADDRESS is an address to be borrowed. */
#include "tests/redteam/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TARGETS_MAX 64
#define WAIT_MS 500
#define MARK "redteam"

enum form { FORM_PLAIN, FORM_MAPPED };

static socklen_t parse(const char *word, enum form form, struct sockaddr_storage *ret)
{
	char text[80];
	struct in_addr v4;
	struct in6_addr v6;

	memset(ret, 0, sizeof *ret);
	snprintf(text, sizeof text, "%s", word);
	char *colon = strrchr(text, ':'), *host = text;
	if (!colon)
		return 0;
	*colon = '\0';
	unsigned short port = htons((unsigned short)strtoul(colon + 1, NULL, 10));
	if (*host == '[') {
		host[strcspn(host, "]")] = '\0';
		host++;
	}
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)(void *)ret;
	if (inet_pton(AF_INET, host, &v4) == 1) {
		if (form == FORM_PLAIN) {
			struct sockaddr_in *a = (struct sockaddr_in *)(void *)ret;
			*a = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port, .sin_addr = v4};
			return sizeof *a;
		}
		*a6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
		a6->sin6_addr.s6_addr[10] = a6->sin6_addr.s6_addr[11] = 0xff;
		memcpy(a6->sin6_addr.s6_addr + 12, &v4, 4);
		return sizeof *a6;
	}
	if (inet_pton(AF_INET6, host, &v6) == 1) {
		*a6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = v6};
		if (IN6_IS_ADDR_LINKLOCAL(&v6))
			a6->sin6_scope_id = if_nametoindex("eth0");
		return sizeof *a6;
	}
	return 0;
}

/* One attempt at all targets at once: connected or answered means reachable.  A refusal is an answer, unless it is
 * this sandbox's own loopback that speaks. */
static enum verdict attempt(const struct door *d, int type, enum form form)
{
	const char *fact = door_fact(d->text);
	char list[2048], text[300] = "";
	const char *words[TARGETS_MAX];
	struct pollfd p[TARGETS_MAX];
	size_t n = 0, at = 0;

	if (!fact)
		return door_say("no %s", d->text), DOOR_BROKEN;
	snprintf(list, sizeof list, "%s", fact);
	for (char *save = NULL, *w = strtok_r(list, ",", &save); w && n < TARGETS_MAX; w = strtok_r(NULL, ",", &save)) {
		struct sockaddr_storage a;
		socklen_t len = parse(w, form, &a);
		int s = len ? socket(a.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
		if (s < 0)
			continue;
		p[n] = (struct pollfd){.fd = s, .events = type == SOCK_STREAM ? POLLOUT : POLLIN};
		words[n] = w;
		if (connect(s, (struct sockaddr *)&a, len) < 0 && errno != EINPROGRESS) {
			p[n].fd = -1;
			close(s);
		} else if (type == SOCK_DGRAM) {
			(void)!send(s, MARK " echo", sizeof MARK " echo" - 1, 0);
		}
		n++;
	}
	if (n == 0)
		return door_say("no target in %.100s", fact), DOOR_BROKEN;
	size_t waiting = 1;
	for (int left = WAIT_MS; left > 0 && waiting; left -= 50) {
		waiting = 0;
		for (size_t i = 0; i < n; i++)
			waiting += p[i].fd >= 0;
		if (!waiting || poll(p, n, 50) <= 0)
			continue;
		for (size_t i = 0; i < n; i++) {
			if (p[i].fd < 0 || !p[i].revents)
				continue;
			int e = 0;
			socklen_t len = sizeof e;
			getsockopt(p[i].fd, SOL_SOCKET, SO_ERROR, &e, &len);
			bool own = strncmp(words[i], "127.", 4) == 0 || strncmp(words[i], "[::1]", 5) == 0 ||
				   strncmp(words[i], "0.0.0.0", 7) == 0;
			if ((e == 0 || (e == ECONNREFUSED && !own)) && at < sizeof text)
				at += (size_t)snprintf(text + at, sizeof text - at, " %s%s", words[i],
						       e ? " (refused)" : "");
			p[i].fd = -1;
		}
	}
	door_say("%zu targets; answered:%s", n, at ? text : " none");
	return at ? DOOR_OPEN : DOOR_CLOSED;
}

static enum verdict tcp(const struct door *d)
{
	return attempt(d, SOCK_STREAM, FORM_PLAIN);
}

static enum verdict tcp_mapped(const struct door *d)
{
	return attempt(d, SOCK_STREAM, FORM_MAPPED);
}

static enum verdict udp(const struct door *d)
{
	return attempt(d, SOCK_DGRAM, FORM_PLAIN);
}

static enum verdict udp_mapped(const struct door *d)
{
	return attempt(d, SOCK_DGRAM, FORM_MAPPED);
}

/* The gateway and the address that the proxies come from. */
static enum verdict broadcast(const struct door *d)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(7777), .sin_addr.s_addr = inet_addr(d->text)};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;
	char reply[32];
	struct pollfd p = {.fd = s, .events = POLLIN};

	setsockopt(s, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
	setsockopt(s, IPPROTO_IP, IP_MULTICAST_TTL, &(int){8}, sizeof(int));
	if (sendto(s, MARK " echo", sizeof MARK " echo" - 1, 0, (struct sockaddr *)&a, sizeof a) < 0)
		return door_result(-1, "sendto");
	if (poll(&p, 1, WAIT_MS) > 0 && recv(s, reply, sizeof reply, 0) >= 0)
		return door_say("answered"), DOOR_OPEN;
	door_say("sent, no answer");
	return DOOR_CLOSED;
}

static enum verdict option(const struct door *d)
{
	int s = socket(AF_INET, (int)d->args[3], 0), v = (int)d->args[2];

	if (s < 0)
		return DOOR_BROKEN;
	const void *p = d->text ? (const void *)d->text : (const void *)&v;
	socklen_t n = d->text ? (socklen_t)strlen(d->text) : sizeof v;
	errno = 0;
	long r = setsockopt(s, (int)d->args[0], (int)d->args[1], p, n);
	if (r < 0 && door_outside() && (errno == ENOPROTOOPT || errno == ENOENT || errno == EOPNOTSUPP))
		return door_say("this kernel has none: %s", strerror(errno)), DOOR_IRRELEVANT;
	/* Without its filter the kernel would look at the value, or at the state of the connection. */
	if (r < 0 && errno != EPERM && errno != ENOPROTOOPT && errno != ENOSYS && errno != EACCES)
		return door_say("the kernel answered: %s", strerror(errno)), DOOR_OPEN;
	return door_result(r, "setsockopt");
}

/* Many datagrams in one packet, where no filter of system calls sees it: to an address of our own. */
static enum verdict segments(const struct door *d)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char data[128] = {0};
	struct iovec v = {data, sizeof data};
	union {
		char bytes[CMSG_SPACE(sizeof(unsigned short))];
		struct cmsghdr h;
	} control = {.h = {.cmsg_len = CMSG_LEN(sizeof(unsigned short)),
			   .cmsg_level = IPPROTO_UDP,
			   .cmsg_type = 103 /* UDP_SEGMENT */}};
	struct msghdr m = {.msg_name = &to,
			   .msg_namelen = sizeof to,
			   .msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof control};
	unsigned short one = 1;

	(void)d;
	memcpy(CMSG_DATA(&control.h), &one, sizeof one);
	return door_result(sendmsg(s, &m, 0), "sendmsg");
}

/* A foreign address as source: where the socket takes it, a packet is sent, which the harness looks for on the wire. */
static enum verdict foreign_source(const struct door *d)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;
	struct sockaddr_in from = {.sin_family = AF_INET}, to;
	struct sockaddr_storage target;
	const char *victim = door_fact("VICTIM_ADDRESS"), *public = door_fact("PUBLIC");
	char first[80];

	if (!victim || !public)
		return DOOR_BROKEN;
	snprintf(first, sizeof first, "%.*s", (int)strcspn(public, ","), public);
	if (!parse(first, FORM_PLAIN, &target))
		return DOOR_BROKEN;
	memcpy(&to, &target, sizeof to);
	from.sin_addr.s_addr = inet_addr(d->text ? d->text : victim);
	if (setsockopt(s, IPPROTO_IP, (int)d->args[0], &on, sizeof on) < 0 && d->args[0])
		return door_result(-1, "option");
	if (bind(s, (struct sockaddr *)&from, sizeof from) < 0)
		return door_result(-1, "bind");
	if (!door_outside())
		sendto(s, MARK " spoofed", sizeof MARK " spoofed" - 1, 0, (struct sockaddr *)&to, sizeof to);
	door_say("bound");
	return DOOR_OPEN;
}

struct request {
	struct nlmsghdr h;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg address;
		struct rtmsg route;
		struct ndmsg neighbour;
		struct tcmsg qdisc;
		char room[256];
	} body;
};

static void attribute(struct request *r, unsigned short type, const void *data, size_t n)
{
	struct rtattr *a = (struct rtattr *)(void *)((char *)r + NLMSG_ALIGN(r->h.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(n);
	memcpy(RTA_DATA(a), data, n);
	r->h.nlmsg_len = NLMSG_ALIGN(r->h.nlmsg_len) + RTA_ALIGN(a->rta_len);
}

/* Changes by rtnetlink; outside in a network namespace of its own. */
static enum verdict netlink(const struct door *d)
{
	struct request r = {.h = {.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE}};
	unsigned char ten[4] = {10, 255, 7, 7}, mac[6] = {2, 0, 0, 0, 0, 1};
	union {
		char bytes[1024];
		struct nlmsghdr h;
	} ack;

	if (!door_aside(CLONE_NEWNET))
		return DOOR_IRRELEVANT;
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), lo = (int)if_nametoindex("lo");
	if (s < 0)
		return door_result(s, "netlink");
	r.h.nlmsg_type = (unsigned short)d->nr;
	switch (d->nr) {
	case RTM_NEWLINK:
		r.h.nlmsg_len = NLMSG_LENGTH(sizeof r.body.link);
		r.body.link = (struct ifinfomsg){.ifi_index = lo, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
		break;
	case RTM_NEWADDR:
		r.h.nlmsg_len = NLMSG_LENGTH(sizeof r.body.address);
		r.body.address =
			(struct ifaddrmsg){.ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = (unsigned)lo};
		attribute(&r, IFA_LOCAL, ten, 4);
		break;
	case RTM_NEWROUTE:
		r.h.nlmsg_len = NLMSG_LENGTH(sizeof r.body.route);
		r.body.route = (struct rtmsg){.rtm_family = AF_INET,
					      .rtm_dst_len = 32,
					      .rtm_table = 254,
					      .rtm_protocol = RTPROT_STATIC,
					      .rtm_type = RTN_BLACKHOLE};
		attribute(&r, RTA_DST, ten, 4);
		break;
	case RTM_NEWRULE:
		r.h.nlmsg_len = NLMSG_LENGTH(sizeof r.body.route);
		r.body.route = (struct rtmsg){.rtm_family = AF_INET, .rtm_table = 254, .rtm_type = 1};
		break;
	case RTM_NEWNEIGH:
		r.h.nlmsg_len = NLMSG_LENGTH(sizeof r.body.neighbour);
		r.body.neighbour = (struct ndmsg){.ndm_family = AF_INET, .ndm_ifindex = lo, .ndm_state = 0x80};
		attribute(&r, NDA_DST, ten, 4);
		attribute(&r, NDA_LLADDR, mac, 6);
		break;
	default:
		r.h.nlmsg_len = NLMSG_LENGTH(sizeof r.body.qdisc);
		r.body.qdisc = (struct tcmsg){.tcm_family = AF_UNSPEC, .tcm_ifindex = lo, .tcm_parent = TC_H_ROOT};
		attribute(&r, TCA_KIND, "noqueue", 8);
	}
	if (send(s, &r, r.h.nlmsg_len, 0) < 0)
		return door_result(-1, "send");
	if (recv(s, &ack, sizeof ack, 0) < (ssize_t)NLMSG_LENGTH(sizeof(int)) || ack.h.nlmsg_type != NLMSG_ERROR)
		return DOOR_BROKEN;
	struct nlmsgerr *e = NLMSG_DATA(&ack.h);
	errno = -e->error;
	/* Refused for its content, not for who asks: the door is open. */
	if (e->error && errno != EPERM && errno != EACCES && errno != EOPNOTSUPP)
		return door_say("the kernel answered: %s", strerror(errno)), DOOR_OPEN;
	return door_result(e->error ? -1 : 0, "netlink");
}

static enum verdict interface(const struct door *d)
{
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};

	if (!door_aside(CLONE_NEWNET))
		return DOOR_IRRELEVANT;
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (d->args[0] == SIOCSIFADDR) {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("127.0.0.1")};
		memcpy(&r.ifr_addr, &a, sizeof a);
	} else if (d->args[0] == SIOCSIFMTU) {
		r.ifr_mtu = 65536;
	}
	return door_result(ioctl(s, (int)d->args[0], &r), "ioctl");
}

#define NET(what, function, ...)                                                                                       \
	{                                                                                                              \
		.name = "net." what, .rule = RULE_NETWORK, .try = function, __VA_ARGS__                                \
	}
#define ALL(what, fact)                                                                                                \
	NET("tcp_" what, tcp, .text = (fact)), NET("udp_" what, udp, .text = (fact)),                                  \
		NET("tcp_mapped_" what, tcp_mapped, .text = (fact)),                                                   \
		NET("udp_mapped_" what, udp_mapped, .text = (fact))
#define OPTION(what, level, name, value, type) NET("option_" what, option, .args = {level, name, value, type})

const struct door doors_net[] = {
	ALL("host", "HOST"),
	ALL("control", "CONTROL"),
	ALL("victim", "VICTIM"),
	ALL("metadata", "METADATA"),
	ALL("link_local", "LINK_LOCAL"),
	ALL("private", "PRIVATE"),
	ALL("on_link", "ON_LINK"),
	NET("tcp_v6", tcp, .text = "V6"),
	NET("udp_v6", udp, .text = "V6"),
	NET("tcp_public", tcp, .text = "PUBLIC"),
	NET("broadcast", broadcast, .text = "255.255.255.255"),
	NET("segments", segments),
	NET("broadcast_on_link", broadcast, .text = "192.0.2.255"),
	NET("multicast", broadcast, .text = "224.0.0.1"),
	NET("multicast_names", broadcast, .text = "224.0.0.251"),
	NET("source_bind", foreign_source, .args = {0}, .inside_only = "the host has the address, or nobody"),
	NET("source_free", foreign_source, .args = {IP_FREEBIND}),
	NET("source_transparent", foreign_source, .args = {IP_TRANSPARENT}),
	NET("source_host", foreign_source, .args = {IP_FREEBIND}, .text = "192.0.2.2"),
	NET("change_link", netlink, .nr = RTM_NEWLINK),
	NET("change_address", netlink, .nr = RTM_NEWADDR),
	NET("change_route", netlink, .nr = RTM_NEWROUTE),
	NET("change_rule", netlink, .nr = RTM_NEWRULE),
	NET("change_neighbour", netlink, .nr = RTM_NEWNEIGH),
	NET("change_qdisc", netlink, .nr = RTM_NEWQDISC),
	NET("ioctl_flags", interface, .args = {SIOCSIFFLAGS}),
	NET("ioctl_address", interface, .args = {SIOCSIFADDR}),
	NET("ioctl_mtu", interface, .args = {SIOCSIFMTU}),
	OPTION("mark", SOL_SOCKET, SO_MARK, 7, SOCK_STREAM),
	OPTION("priority", SOL_SOCKET, SO_PRIORITY, 7, SOCK_STREAM),
	OPTION("receive_force", SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20, SOCK_STREAM),
	OPTION("debug", SOL_SOCKET, SO_DEBUG, 1, SOCK_STREAM),
	OPTION("transparent", IPPROTO_IP, IP_TRANSPARENT, 1, SOCK_STREAM),
	OPTION("xfrm_policy", IPPROTO_IP, 17, 0, SOCK_STREAM),
	OPTION("ipsec_policy", IPPROTO_IP, 16, 0, SOCK_STREAM),
	OPTION("iptables", IPPROTO_IP, 64, 0, SOCK_STREAM),
	OPTION("multicast_routing", IPPROTO_IP, 200, 0, SOCK_DGRAM),
	OPTION("udp_esp", IPPROTO_UDP, 100, 2, SOCK_DGRAM),
	OPTION("tcp_repair", IPPROTO_TCP, TCP_REPAIR, 1, SOCK_STREAM),
	NET("option_tcp_layer", option, .args = {IPPROTO_TCP, 31 /* TCP_ULP */, 0, SOCK_STREAM}, .text = "tls"),
	OPTION("attach_bpf", SOL_SOCKET, 50, -1, SOCK_STREAM),
	{0},
};
