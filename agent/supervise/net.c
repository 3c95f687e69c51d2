/* The instances' network as the host sees it.  Layer agent, supervisor process. */
#include "agent/supervise/net.h"

#include "base/fd.h"
#include "base/own.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <linux/rtnetlink.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define NET_FORWARD "/proc/sys/net/ipv4/ip_forward"
/* One file for all nodes of a host (of a network namespace): the first node saves, the last one restores. */
#define NET_FORWARD_SAVED "/run/tulou-ip_forward.%ju"
#define NET_RULESET_MAX (1u << 20) /* bytes: 16,000 tenants at most 25 bytes each, and the rules */
#define NET_TEXT_MAX 65536u

OWN_DEFINE(nft, struct nft_ctx *, nft_ctx_free)

/* Nothing here is reachable for an instance unless a rule before says so: RFC 6890's special ranges without the
 * documentation ones, which some laboratories route. */
static const char net_closed[] = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, "
				 "192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/3";

unsigned net_resolvers_parse(const char *text, uint32_t *ret, unsigned max)
{
	unsigned n = 0;

	for (const char *line = text; line && *line && n < max; line = strchr(line, '\n')) {
		char word[64];
		struct in_addr a;
		uint32_t host;
		if (*line == '\n')
			line++;
		if (sscanf(line, "nameserver%*[ \t]%63[0-9.]", word) != 1 || inet_pton(AF_INET, word, &a) != 1)
			continue;
		host = ntohl(a.s_addr);
		if (host >> 24 == 127 || host >> 24 == 0)
			continue;
		ret[n++] = host;
	}
	return n;
}

int net_init(struct net *n, const struct settings *s, struct err *e)
{
	/* systemd-resolved listens on loopback, which an instance cannot reach, and keeps its own upstreams beside. */
	static const char *const files[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};
	size_t k;

	*n = (struct net){.generation = (uint8_t)getpid()};
	pool_init(&n->pool, s->pool_net, s->pool_prefix);
	k = (size_t)snprintf(n->table, sizeof n->table, "tulou_%s", s->cgroup);
	for (size_t i = 0; i < k && n->table[i]; i++)
		if (n->table[i] == '-' || n->table[i] == '.')
			n->table[i] = '_';
	snprintf(n->prefix, sizeof n->prefix, "%s", s->link_prefix);
	for (size_t i = 0; i < ARRAY_LEN(files) && n->resolver_count == 0; i++) {
		OWN_FD int fd = open(files[i], O_RDONLY | O_CLOEXEC);
		OWN_FREE char *text = NULL;
		if (fd >= 0 && fd_read_all(fd, NET_TEXT_MAX, &text, NULL) == 0)
			n->resolver_count = net_resolvers_parse(text, n->resolvers, NET_RESOLVERS_MAX);
	}
	n->tenants = calloc(LIMIT_TENANTS / 8 + 1, 1);
	return n->tenants ? 0 : err_set(e, ENOMEM, "out of memory");
}

void net_done(struct net *n)
{
	pool_done(&n->pool);
	free(n->tenants);
	n->tenants = NULL;
}

uint32_t net_group(uint32_t slot)
{
	return slot + 1; /* 0 is every other link's */
}

static bool tenant_has(const struct net *n, uint32_t slot)
{
	return n->tenants[slot / 8] & (1u << (slot % 8));
}

void net_tenant_note(struct net *n, uint32_t slot)
{
	if (slot < LIMIT_TENANTS)
		n->tenants[slot / 8] |= (uint8_t)(1u << (slot % 8));
}

/* The host's own networks, ", "-separated: other machines there trust this one. */
static int net_on_link(const struct net *n, struct buf *out)
{
	struct ifaddrs *list = NULL;

	if (getifaddrs(&list) < 0)
		return -errno;
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		uint32_t a, m;
		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !i->ifa_netmask ||
		    (i->ifa_flags & IFF_LOOPBACK) || strncmp(i->ifa_name, n->prefix, strlen(n->prefix)) == 0)
			continue;
		a = ntohl(((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr.s_addr);
		m = ntohl(((const struct sockaddr_in *)(const void *)i->ifa_netmask)->sin_addr.s_addr);
		a &= m;
		if (m == 0 || m == 0xffffffff)
			continue;
		buf_printf(out, ", %u.%u.%u.%u/%d", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255,
			   __builtin_popcount(m));
	}
	freeifaddrs(list);
	return out->failed;
}

int net_ruleset(const struct net *n, const struct settings *s, const char *on_link, struct buf *out)
{
	const char *t = n->table, *p = n->prefix;
	bool any = false;

	/* add, delete, add: replaces the table whether or not it exists, in one transaction. */
	buf_printf(out, "table inet %s {}\ndelete table inet %s\ntable inet %s {\n", t, t, t);
	buf_adds(out, "set resolvers { type ipv4_addr;");
	for (unsigned i = 0; i < n->resolver_count; i++) {
		uint32_t a = n->resolvers[i];
		buf_printf(out, "%s%u.%u.%u.%u", i ? ", " : " elements = { ", a >> 24, a >> 16 & 255, a >> 8 & 255,
			   a & 255);
	}
	buf_adds(out, n->resolver_count ? " }; }\n" : " }\n");
	/* The pool too: an address of it that nobody has would otherwise leave by the default route. */
	buf_printf(out,
		   "set closed { type ipv4_addr; flags interval; auto-merge; elements = { %s, %u.%u.%u.%u/%u%s }; }\n",
		   net_closed, s->pool_net >> 24, s->pool_net >> 16 & 255, s->pool_net >> 8 & 255, s->pool_net & 255,
		   s->pool_prefix, on_link);
	buf_adds(out, "set tenants { type devgroup . devgroup;");
	for (uint32_t slot = 0; slot < LIMIT_TENANTS; slot++) {
		if (!tenant_has(n, slot))
			continue;
		buf_printf(out, "%s%u . %u", any ? ", " : " elements = { ", net_group(slot), net_group(slot));
		any = true;
	}
	buf_adds(out, any ? " }; }\n" : " }\n");
	buf_adds(out, "chain from_link_pre {\n"
		      "meta nfproto ipv6 drop\n"
		      "fib saddr . iif oif missing drop\n"
		      "}\n"
		      "chain from_link_input {\n"
		      "ct direction reply ct state established accept\n"
		      "ct state related accept\n"
		      "ip daddr @resolvers meta l4proto { tcp, udp } th dport 53 accept\n"
		      "counter drop\n"
		      "}\n");
	buf_printf(out,
		   "chain from_link_forward {\n"
		   "tcp flags syn / syn,rst tcp option maxseg size set rt mtu\n"
		   "ct state established,related accept\n"
		   "oifname \"%s*\" iifgroup . oifgroup @tenants accept\n"
		   "oifname \"%s*\" counter drop\n"
		   "ip daddr @resolvers meta l4proto { tcp, udp } th dport 53 accept\n"
		   "ip daddr @closed counter drop\n"
		   "iifname \"%sp*\" accept\n"
		   "counter drop\n"
		   "}\n",
		   p, p, p);
	buf_printf(out,
		   "chain to_link_forward {\n"
		   "tcp flags syn / syn,rst tcp option maxseg size set rt mtu\n"
		   "ct state established,related accept\n"
		   "counter drop\n"
		   "}\n"
		   "chain prerouting { type filter hook prerouting priority mangle; policy accept;\n"
		   "iifname \"%s*\" jump from_link_pre\n"
		   "}\n"
		   "chain input { type filter hook input priority filter; policy accept;\n"
		   "iifname \"%s*\" jump from_link_input\n"
		   "}\n"
		   "chain forward { type filter hook forward priority filter; policy accept;\n"
		   "iifname \"%s*\" goto from_link_forward\n"
		   "oifname \"%s*\" goto to_link_forward\n"
		   "}\n"
		   "chain postrouting { type nat hook postrouting priority srcnat; policy accept;\n",
		   p, p, p, p);
	buf_printf(out, "ip saddr %u.%u.%u.%u/%u oifname != \"lo\" oifname != \"%s*\" masquerade\n}\n}\n",
		   s->pool_net >> 24, s->pool_net >> 16 & 255, s->pool_net >> 8 & 255, s->pool_net & 255,
		   s->pool_prefix, p);
	return out->failed;
}

/* Runs one nftables transaction.  A fresh context each time: its cache of the ruleset would cost more memory than the
 * millisecond is worth. */
static int net_nft(const char *text, char **output, struct err *e)
{
	OWN(nft) struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	const char *why;
	int r;

	if (!ctx)
		return err_set(e, ENOMEM, "cannot talk to nftables");
	nft_ctx_buffer_error(ctx);
	nft_ctx_buffer_output(ctx);
	r = nft_run_cmd_from_buffer(ctx, text);
	if (r != 0) {
		why = nft_ctx_get_error_buffer(ctx);
		why = why && *why ? why : "no reason given";
		return err_set(e, EIO, "nftables refused the rules: %.*s", (int)strcspn(why, "\n"), why);
	}
	if (output) {
		why = nft_ctx_get_output_buffer(ctx);
		*output = strdup(why ? why : "");
		if (!*output)
			return err_set(e, ENOMEM, "out of memory");
	}
	return 0;
}

static void net_forward_saved(char path[64])
{
	struct stat st = {0};

	stat("/proc/self/ns/net", &st);
	snprintf(path, 64, NET_FORWARD_SAVED, (uintmax_t)st.st_ino);
}

static int net_forward_on(struct err *e)
{
	char path[64];
	OWN_FREE char *now = NULL;
	OWN_FD int fd = -1;
	int r = fd_read_file(AT_FDCWD, NET_FORWARD, 16, &now, NULL);

	if (r < 0)
		return err_set(e, -r, "cannot read %s: %s", NET_FORWARD, strerror(-r));
	net_forward_saved(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd >= 0)
		fd_write_all(fd, now, strlen(now));
	if (now[0] == '1')
		return 0;
	r = fd_write_file(AT_FDCWD, NET_FORWARD, "1");
	return r < 0 ? err_set(e, -r, "cannot switch on IPv4 forwarding: %s", strerror(-r)) : 0;
}

uint32_t net_host_address(const struct net *n)
{
	return n->pool.net + 1;
}

/* Sends one rtnetlink request and reads its acknowledgement; 0 or negative errno. */
static int net_request(const void *request, size_t size)
{
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		char rest[512];
	} ack;
	OWN_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	ssize_t n;

	if (fd < 0 || send(fd, request, size, 0) < 0)
		return -errno;
	n = recv(fd, &ack, sizeof ack, 0);
	if (n < (ssize_t)offsetof(__typeof__(ack), rest) || ack.h.nlmsg_type != NLMSG_ERROR)
		return n < 0 ? -errno : -EPROTO;
	return ack.e.error;
}

/* Adds or removes the host's own address, a /32 on lo: a source for the proxies' connections that never changes and
 * tells an instance nothing about the host. */
static int net_own_address(const struct net *n, bool add)
{
	struct {
		struct nlmsghdr h;
		struct ifaddrmsg i;
		struct rtattr a;
		uint32_t address;
	} req = {
		.h = {.nlmsg_len = sizeof req,
		      .nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_REPLACE : 0)},
		.i = {.ifa_family = AF_INET,
		      .ifa_prefixlen = 32,
		      .ifa_scope = RT_SCOPE_UNIVERSE,
		      .ifa_index = if_nametoindex("lo")},
		.a = {.rta_len = RTA_LENGTH(sizeof(uint32_t)), .rta_type = IFA_LOCAL},
		.address = htonl(net_host_address(n)),
	};
	int r = net_request(&req, sizeof req);

	return (add && r == -EEXIST) || (!add && r == -EADDRNOTAVAIL) ? 0 : r;
}

int net_setup(struct net *n, const struct settings *s, struct err *e)
{
	OWN_BUF struct buf text = {0}, on_link = {0};
	int r;

	buf_init(&text, NET_RULESET_MAX);
	buf_init(&on_link, NET_TEXT_MAX);
	r = net_on_link(n, &on_link);
	if (r == 0)
		r = net_ruleset(n, s, on_link.data ? on_link.data : "", &text);
	if (r < 0)
		return err_set(e, -r, "cannot write the network rules: %s", strerror(-r));
	r = net_nft(text.data, NULL, e);
	if (r < 0)
		return r;
	r = net_own_address(n, true);
	if (r < 0)
		return err_set(e, -r, "cannot give lo the first address of network.pool: %s", strerror(-r));
	return net_forward_on(e);
}

int net_teardown(struct net *n, struct err *e)
{
	OWN_FREE char *saved = NULL, *tables = NULL;
	char text[160], path[64];
	int r;

	net_forward_saved(path);
	snprintf(text, sizeof text, "table inet %s {}\ndelete table inet %s\n", n->table, n->table);
	net_own_address(n, false);
	r = net_nft(text, NULL, e);
	if (r < 0)
		return r;
	r = net_nft("list tables", &tables, e);
	if (r < 0 || strstr(tables, "table inet tulou_"))
		return r;
	if (fd_read_file(AT_FDCWD, path, 16, &saved, NULL) == 0 && saved[0] == '0') {
		r = fd_write_file(AT_FDCWD, NET_FORWARD, "0");
		if (r < 0)
			return err_set(e, -r, "cannot restore IPv4 forwarding: %s", strerror(-r));
	}
	unlink(path);
	return 0;
}

int net_tenant(struct net *n, uint32_t slot, struct err *e)
{
	char text[160];
	int r;

	if (tenant_has(n, slot))
		return 0;
	snprintf(text, sizeof text, "add element inet %s tenants { %u . %u }\n", n->table, net_group(slot),
		 net_group(slot));
	r = net_nft(text, NULL, e);
	if (r == 0)
		net_tenant_note(n, slot);
	return r;
}

void net_link_name(struct net *n, uint32_t address, bool egress, char name[IFNAMSIZ])
{
	/* At most 4 + 1 + 6 + 2 of 15 characters: pools are /8 or smaller. */
	snprintf(name, IFNAMSIZ, "%.4s%c%x%02x", n->prefix, egress ? 'p' : 'n', (address - n->pool.net) & 0xffffff,
		 n->generation++);
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
	r = net_request(&req, sizeof req);
	return r == -ENODEV ? 0 : r;
}

int net_probe(void)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
		struct rtattr info, kind;
		char veth[4];
	} req = {
		.h = {.nlmsg_len = sizeof req,
		      .nlmsg_type = RTM_NEWLINK,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL},
		.info = {.rta_len = RTA_LENGTH(RTA_LENGTH(4)), .rta_type = IFLA_LINKINFO},
		.kind = {.rta_len = RTA_LENGTH(4), .rta_type = IFLA_INFO_KIND},
	};

	memcpy(req.veth, "veth", 4);
	return net_request(&req, sizeof req);
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
