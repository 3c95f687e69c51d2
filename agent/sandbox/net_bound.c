/* How many packets a second the program may begin to send, held inside its own network namespace.  Layer agent/sandbox;
 * inside.
 *
 * A packet that is refused by the host's rules has already cost a soft interrupt, a look at the routes and the kernel's
 * table of connections, and a flood of small ones takes that time from whoever was to run next: neither a rate in bytes
 * nor a rule on the host's end of the link spares it.  So the bound lies at the source, in front of everything:
 * sendto(2) fails with EPERM, in the sender's own time.
 *
 * One table of nf_tables (type filter, hook output, priority raw), its answer to every packet:
 *   TCP with ACK      passes: only the kernel makes these, from connections that both ends agreed to, and the rates in
 *                     bytes bound them
 *   all else          below the rate, loopback included: datagrams, connections that begin, ICMP
 *
 * The program never gets CAP_NET_ADMIN, so it stays.  nfnetlink in a few lines, as rtnetlink in net.c. */
#include "agent/sandbox/sandbox.h"
#include "config/limits.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TABLE "tulou"
#define CHAIN "out"
#define PRIORITY_RAW (-300) /* NF_IP_PRI_RAW of linux/netfilter_ipv4.h */
#define TCP_FLAGS 13	    /* their offset in the header, RFC 9293 section 3.1 */
#define TCP_ACK 0x10

struct bound {
	char *room;
	size_t used, cap;
	struct nlmsghdr *head;
	uint32_t seq;
};

static void *bound_room(struct bound *b, size_t n)
{
	static char spill[64];
	char *p = b->room + b->used;

	n = NLMSG_ALIGN(n);
	if (b->used + n > b->cap || n > sizeof spill) {
		b->cap = 0;
		return spill;
	}
	memset(p, 0, n);
	b->used += n;
	return p;
}

static void bound_message(struct bound *b, uint16_t type, uint16_t flags, uint16_t res)
{
	struct nfgenmsg *g;

	b->head = bound_room(b, sizeof *b->head);
	b->head->nlmsg_type = type;
	b->head->nlmsg_flags = NLM_F_REQUEST | flags;
	b->head->nlmsg_seq = ++b->seq;
	g = bound_room(b, sizeof *g);
	g->nfgen_family = res ? AF_UNSPEC : NFPROTO_INET;
	g->res_id = htons(res);
}

static void bound_end(struct bound *b)
{
	if (b->cap)
		b->head->nlmsg_len = (uint32_t)(b->used - (size_t)((char *)b->head - b->room));
}

static void bound_attr(struct bound *b, uint16_t type, const void *p, size_t n)
{
	struct nlattr *a = bound_room(b, sizeof *a + n);

	a->nla_type = type;
	a->nla_len = (uint16_t)(sizeof *a + n);
	memcpy(a + 1, p, b->cap ? n : 0);
}

static void bound_text(struct bound *b, uint16_t type, const char *text)
{
	bound_attr(b, type, text, strlen(text) + 1);
}

static void bound_u32(struct bound *b, uint16_t type, uint32_t v)
{
	v = htonl(v);
	bound_attr(b, type, &v, sizeof v);
}

static void bound_u64(struct bound *b, uint16_t type, uint64_t v)
{
	v = htobe64(v);
	bound_attr(b, type, &v, sizeof v);
}

static struct nlattr *bound_nest(struct bound *b, uint16_t type)
{
	struct nlattr *a = bound_room(b, sizeof *a);

	a->nla_type = NLA_F_NESTED | type;
	return a;
}

static void bound_nest_end(struct bound *b, struct nlattr *a)
{
	if (b->cap)
		a->nla_len = (uint16_t)(b->room + b->used - (char *)a);
}

/* One expression of a rule: a list element with a name and a nest of data, which is left open. */
struct expression {
	struct nlattr *element, *data;
};

static struct expression expression(struct bound *b, const char *name)
{
	struct expression x = {.element = bound_nest(b, NFTA_LIST_ELEM)};

	bound_text(b, NFTA_EXPR_NAME, name);
	x.data = bound_nest(b, NFTA_EXPR_DATA);
	return x;
}

static void expression_end(struct bound *b, struct expression x)
{
	bound_nest_end(b, x.data);
	bound_nest_end(b, x.element);
}

static void value(struct bound *b, uint16_t type, uint8_t v)
{
	struct nlattr *a = bound_nest(b, type);

	bound_attr(b, NFTA_DATA_VALUE, &v, sizeof v);
	bound_nest_end(b, a);
}

/* Register 1 against one byte. */
static void compare(struct bound *b, enum nft_cmp_ops op, uint8_t v)
{
	struct expression x = expression(b, "cmp");

	bound_u32(b, NFTA_CMP_SREG, NFT_REG_1);
	bound_u32(b, NFTA_CMP_OP, op);
	value(b, NFTA_CMP_DATA, v);
	expression_end(b, x);
}

static void verdict(struct bound *b, uint32_t code)
{
	struct expression x = expression(b, "immediate");
	struct nlattr *data, *v;

	bound_u32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = bound_nest(b, NFTA_IMMEDIATE_DATA);
	v = bound_nest(b, NFTA_DATA_VERDICT);
	bound_u32(b, NFTA_VERDICT_CODE, code);
	bound_nest_end(b, v);
	bound_nest_end(b, data);
	expression_end(b, x);
}

/* Opens a rule at the end of the chain; returns the nest of its expressions. */
static struct nlattr *rule(struct bound *b)
{
	bound_message(b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, 0);
	bound_text(b, NFTA_RULE_TABLE, TABLE);
	bound_text(b, NFTA_RULE_CHAIN, CHAIN);
	return bound_nest(b, NFTA_RULE_EXPRESSIONS);
}

static void rule_end(struct bound *b, struct nlattr *expressions)
{
	bound_nest_end(b, expressions);
	bound_end(b);
}

/* meta l4proto tcp, tcp flags & ack != 0, accept */
static void rule_of_connections(struct bound *b)
{
	struct nlattr *all = rule(b);
	struct expression x = expression(b, "meta");

	bound_u32(b, NFTA_META_DREG, NFT_REG_1);
	bound_u32(b, NFTA_META_KEY, NFT_META_L4PROTO);
	expression_end(b, x);
	compare(b, NFT_CMP_EQ, IPPROTO_TCP);
	x = expression(b, "payload");
	bound_u32(b, NFTA_PAYLOAD_DREG, NFT_REG_1);
	bound_u32(b, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
	bound_u32(b, NFTA_PAYLOAD_OFFSET, TCP_FLAGS);
	bound_u32(b, NFTA_PAYLOAD_LEN, 1);
	expression_end(b, x);
	x = expression(b, "bitwise");
	bound_u32(b, NFTA_BITWISE_SREG, NFT_REG_1);
	bound_u32(b, NFTA_BITWISE_DREG, NFT_REG_1);
	bound_u32(b, NFTA_BITWISE_LEN, 1);
	value(b, NFTA_BITWISE_MASK, TCP_ACK);
	value(b, NFTA_BITWISE_XOR, 0);
	expression_end(b, x);
	compare(b, NFT_CMP_NEQ, 0);
	verdict(b, NF_ACCEPT);
	rule_end(b, all);
}

/* limit rate over RATE/second burst BURST packets, counter, drop */
static void rule_of_the_rest(struct bound *b, uint32_t rate, uint32_t burst)
{
	struct nlattr *all = rule(b);
	struct expression x = expression(b, "limit");

	bound_u64(b, NFTA_LIMIT_RATE, rate);
	bound_u64(b, NFTA_LIMIT_UNIT, 1);
	bound_u32(b, NFTA_LIMIT_BURST, burst);
	bound_u32(b, NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
	bound_u32(b, NFTA_LIMIT_FLAGS, NFT_LIMIT_F_INV);
	expression_end(b, x);
	x = expression(b, "counter");
	expression_end(b, x);
	verdict(b, NF_DROP);
	rule_end(b, all);
}

size_t net_bound_batch(void *room, size_t cap, uint32_t rate, uint32_t burst)
{
	struct bound b = {.room = room, .cap = cap};
	struct nlattr *hook;

	bound_message(&b, NFNL_MSG_BATCH_BEGIN, 0, NFNL_SUBSYS_NFTABLES);
	bound_end(&b);
	bound_message(&b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE, NLM_F_CREATE, 0);
	bound_text(&b, NFTA_TABLE_NAME, TABLE);
	bound_end(&b);
	bound_message(&b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN, NLM_F_CREATE, 0);
	bound_text(&b, NFTA_CHAIN_TABLE, TABLE);
	bound_text(&b, NFTA_CHAIN_NAME, CHAIN);
	hook = bound_nest(&b, NFTA_CHAIN_HOOK);
	bound_u32(&b, NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
	bound_u32(&b, NFTA_HOOK_PRIORITY, (uint32_t)PRIORITY_RAW);
	bound_nest_end(&b, hook);
	bound_text(&b, NFTA_CHAIN_TYPE, "filter");
	bound_end(&b);
	rule_of_connections(&b);
	rule_of_the_rest(&b, rate, burst);
	/* Nothing is acknowledged but the last rule, which comes after all of them. */
	b.head->nlmsg_flags |= NLM_F_ACK;
	bound_message(&b, NFNL_MSG_BATCH_END, 0, NFNL_SUBSYS_NFTABLES);
	bound_end(&b);
	return b.cap ? b.used : 0;
}

int net_bound(struct sandbox *s)
{
	_Alignas(struct nlmsghdr) char room[1024], answer[1024];
	size_t n = net_bound_batch(room, sizeof room, LIMIT_NET_PACKETS, LIMIT_NET_PACKETS_BURST);
	int fd, r = 0;
	ssize_t got;

	if (!s->spec.network)
		return 0;
	if (!n)
		return -ENOBUFS;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fd < 0)
		return -errno;
	if (send(fd, room, n, 0) != (ssize_t)n) {
		r = -errno;
		close(fd);
		return r;
	}
	/* The first answer is the first message's that failed, else that of the last rule. */
	got = recv(fd, answer, sizeof answer, 0);
	if (got < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		r = got < 0 ? -errno : -EPROTO;
	else if (((struct nlmsghdr *)(void *)answer)->nlmsg_type == NLMSG_ERROR)
		r = ((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)(void *)answer))->error;
	if (r == -ENOENT || r == -EOPNOTSUPP)
		s->what = "this kernel has no nftables (NF_TABLES_INET)";
	close(fd);
	return r;
}
