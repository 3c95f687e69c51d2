/* The instances' network as the host sees it.  Layer agent, supervisor process. */
#include "agent/supervise/net.h"

#include "agent/supervise/net_private.h"
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
#define NET_TEXT_MAX 65536u

OWN_DEFINE(nft, struct nft_ctx *, nft_ctx_free)

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
		if (host == 0)
			continue;
		ret[n++] = host;
	}
	return n;
}

static void net_conntrack_max(struct net *n);

void net_table_name(const char *cgroup, char out[48])
{
	size_t k = (size_t)snprintf(out, 48, "tulou_%s", cgroup);

	for (size_t i = 0; i < k && out[i]; i++)
		if (out[i] == '-' || out[i] == '.')
			out[i] = '_';
}

int net_init(struct net *n, const struct settings *s, struct err *e)
{
	OWN_FD int fd = open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC);
	OWN_FREE char *text = NULL;

	*n = (struct net){.generation = (uint8_t)getpid()};
	pool_init(&n->pool, s->pool_net, s->pool_prefix);
	net_table_name(s->cgroup, n->table);
	snprintf(n->prefix, sizeof n->prefix, "%s", s->link_prefix);
	if (fd >= 0 && fd_read_all(fd, NET_TEXT_MAX, &text, NULL) == 0)
		n->resolver_count = net_resolvers_parse(text, n->resolvers, NET_RESOLVERS_MAX);
	net_conntrack_max(n);
	n->policies = map_new();
	n->rates = map_new();
	n->tenants = calloc(LIMIT_TENANTS / 8 + 1, 1);
	if (n->tenants && n->policies && n->rates)
		return 0;
	net_done(n);
	return err_set(e, ENOMEM, "out of memory");
}

void net_done(struct net *n)
{
	pool_done(&n->pool);
	net_policy_done(n);
	free(n->tenants);
	n->tenants = NULL;
}

uint32_t net_group(uint32_t slot)
{
	return slot + 1; /* 0 is every other link's */
}

bool net_tenant_has(const struct net *n, uint32_t slot)
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

/* Runs one nftables transaction.  A fresh context each time: its cache of the ruleset would cost more memory than the
 * millisecond is worth. */
int net_nft(const char *text, char **output, struct err *e)
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

/* How many connections the kernel tracks: bounds what one tenant may take of them. */
static void net_conntrack_max(struct net *n)
{
	OWN_FREE char *text = NULL;

	if (fd_read_file(AT_FDCWD, "/proc/sys/net/netfilter/nf_conntrack_max", 24, &text, NULL) == 0)
		n->conntrack_max = (uint32_t)strtoul(text, NULL, 10);
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
	int r = net_request(NETLINK_ROUTE, &req, sizeof req);

	return (add && r == -EEXIST) || (!add && r == -EADDRNOTAVAIL) ? 0 : r;
}

int net_rules_now(const struct net *n, const struct settings *s, struct buf *out)
{
	OWN_BUF struct buf on_link = {0};
	int r;

	buf_init(&on_link, NET_TEXT_MAX);
	r = net_on_link(n, &on_link);
	return r < 0 ? r : net_ruleset(n, s, on_link.data ? on_link.data : "", out);
}

/* The first node of a network namespace saves anew: the file may be one of an earlier namespace with the same number,
 * whose nodes were killed. */
static void net_forward_forget(void)
{
	OWN_FREE char *tables = NULL;
	char path[64];

	if (net_nft("list tables", &tables, NULL) < 0 || !tables || strstr(tables, "table inet tulou_"))
		return;
	net_forward_saved(path);
	unlink(path);
}

int net_setup(struct net *n, const struct settings *s, struct err *e)
{
	OWN_BUF struct buf text = {0};
	int r;

	net_forward_forget();

	buf_init(&text, NET_RULESET_MAX);
	r = net_rules_now(n, s, &text);
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
	char text[320], path[64];
	int r;

	net_forward_saved(path);
	/* The second one is net_compare's, of a supervisor that was killed in the midst of it. */
	snprintf(text, sizeof text,
		 "table inet %s {}\ndelete table inet %s\ntable inet %.42s_fsck {}\ndelete table inet %.42s_fsck\n",
		 n->table, n->table, n->table, n->table);
	net_own_address(n, false);
	r = net_nft(text, NULL, e);
	if (r < 0)
		return r;
	r = net_nft("list tables", &tables, e);
	if (r < 0 || !tables || strstr(tables, "table inet tulou_"))
		return r;
	if (fd_read_file(AT_FDCWD, path, 16, &saved, NULL) == 0 && saved && saved[0] == '0') {
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

	if (net_tenant_has(n, slot))
		return 0;
	snprintf(text, sizeof text, "add element inet %s tenants { %u . %u }\n", n->table, net_group(slot),
		 net_group(slot));
	r = net_nft(text, NULL, e);
	if (r == 0)
		net_tenant_note(n, slot);
	return r;
}
