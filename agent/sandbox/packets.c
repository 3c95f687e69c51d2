/* The bound of packets as messages of nf_tables; the head of packets.h says what it is.  Layer agent/sandbox; PID 1,
 * and the supervisor.  nfnetlink in a few lines, as rtnetlink in net.c. */
#include "agent/sandbox/packets.h"
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TABLE "tulou"
#define CHAIN "out"
#define REFUSED "refused"
#define PRIORITY_RAW (-300) /* NF_IP_PRI_RAW of linux/netfilter_ipv4.h */
#define TCP_FLAGS 13	    /* their offset in the header, RFC 9293 section 3.1 */
#define TCP_ACK 0x10
#define LOOPBACK_IFINDEX 1 /* in every network namespace (net/core/dev.c, since Linux 3.8) */
#define MATCH "bpf"
#define MATCH_REVISION 1

/* struct xt_bpf_info_v1 of linux/netfilter/xt_bpf.h, whose union no compiler takes in strict C. */
struct match_info {
	uint16_t mode, count;
	int32_t fd;
	char path[512];
	uint64_t kernels_own;
};
#define MATCH_MODE_FD 2 /* XT_BPF_MODE_FD_ELF: an eBPF program by its descriptor */
_Static_assert(sizeof(struct match_info) == 528, "as the kernel's");

struct bound {
	char *room;
	size_t used, cap;
	struct nlmsghdr *head;
	uint32_t seq;
};

static void *bound_room(struct bound *b, size_t n)
{
	static char spill[sizeof(struct match_info) + 64];
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

/* Loads 32 bits about the packet, in the host's byte order, and compares them; an order is one of the network's. */
static void compare_meta(struct bound *b, uint32_t key, enum nft_cmp_ops op, uint32_t v)
{
	struct expression x = expression(b, "meta");
	struct nlattr *data;

	bound_u32(b, NFTA_META_DREG, NFT_REG_1);
	bound_u32(b, NFTA_META_KEY, key);
	expression_end(b, x);
	if (op != NFT_CMP_EQ && op != NFT_CMP_NEQ) {
		x = expression(b, "byteorder");
		bound_u32(b, NFTA_BYTEORDER_SREG, NFT_REG_1);
		bound_u32(b, NFTA_BYTEORDER_DREG, NFT_REG_1);
		bound_u32(b, NFTA_BYTEORDER_OP, NFT_BYTEORDER_HTON);
		bound_u32(b, NFTA_BYTEORDER_LEN, 4);
		bound_u32(b, NFTA_BYTEORDER_SIZE, 4);
		expression_end(b, x);
		v = htobe32(v);
	}
	x = expression(b, "cmp");
	bound_u32(b, NFTA_CMP_SREG, NFT_REG_1);
	bound_u32(b, NFTA_CMP_OP, op);
	data = bound_nest(b, NFTA_CMP_DATA);
	bound_attr(b, NFTA_DATA_VALUE, &v, sizeof v);
	bound_nest_end(b, data);
	expression_end(b, x);
}

/* chain: where NFT_GOTO leads; NULL with a verdict that ends there. */
static void verdict(struct bound *b, uint32_t code, const char *chain)
{
	struct expression x = expression(b, "immediate");
	struct nlattr *data, *v;

	bound_u32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = bound_nest(b, NFTA_IMMEDIATE_DATA);
	v = bound_nest(b, NFTA_DATA_VERDICT);
	bound_u32(b, NFTA_VERDICT_CODE, code);
	if (chain)
		bound_text(b, NFTA_VERDICT_CHAIN, chain);
	bound_nest_end(b, v);
	bound_nest_end(b, data);
	expression_end(b, x);
}

/* Opens a rule at the end of a chain; returns the nest of its expressions. */
static struct nlattr *rule(struct bound *b, const char *chain)
{
	bound_message(b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, 0);
	bound_text(b, NFTA_RULE_TABLE, TABLE);
	bound_text(b, NFTA_RULE_CHAIN, chain);
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
	struct nlattr *all = rule(b, CHAIN);
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
	verdict(b, NF_ACCEPT, NULL);
	rule_end(b, all);
}

/* More than one segment, goto refused */
static void rule_of_the_many(struct bound *b, int segments)
{
	struct match_info info = {.mode = MATCH_MODE_FD, .fd = segments};
	struct nlattr *all = rule(b, CHAIN);
	struct expression x = expression(b, "match");

	bound_text(b, NFTA_MATCH_NAME, MATCH);
	bound_u32(b, NFTA_MATCH_REV, MATCH_REVISION);
	bound_attr(b, NFTA_MATCH_INFO, &info, sizeof info);
	expression_end(b, x);
	verdict(b, (uint32_t)NFT_GOTO, REFUSED);
	rule_end(b, all);
}

/* meta oif != lo, meta length > MTU, goto refused */
static void rule_of_the_large(struct bound *b)
{
	struct nlattr *all = rule(b, CHAIN);

	compare_meta(b, NFT_META_OIF, NFT_CMP_NEQ, LOOPBACK_IFINDEX);
	compare_meta(b, NFT_META_LEN, NFT_CMP_GT, PACKETS_MTU);
	verdict(b, (uint32_t)NFT_GOTO, REFUSED);
	rule_end(b, all);
}

/* limit rate over RATE/second burst BURST packets, goto refused */
static void rule_of_the_rest(struct bound *b, uint64_t rate)
{
	struct nlattr *all = rule(b, CHAIN);
	struct expression x = expression(b, "limit");

	bound_u64(b, NFTA_LIMIT_RATE, rate);
	bound_u64(b, NFTA_LIMIT_UNIT, 1);
	bound_u32(b, NFTA_LIMIT_BURST, packets_burst(rate));
	bound_u32(b, NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
	bound_u32(b, NFTA_LIMIT_FLAGS, NFT_LIMIT_F_INV);
	expression_end(b, x);
	verdict(b, (uint32_t)NFT_GOTO, REFUSED);
	rule_end(b, all);
}

/* counter, drop */
static void rule_of_the_refused(struct bound *b)
{
	struct nlattr *all = rule(b, REFUSED);
	struct expression x = expression(b, "counter");

	expression_end(b, x);
	verdict(b, NF_DROP, NULL);
	rule_end(b, all);
}

static void table(struct bound *b, uint16_t type)
{
	bound_message(b, NFNL_SUBSYS_NFTABLES << 8 | type, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0, 0);
	bound_text(b, NFTA_TABLE_NAME, TABLE);
	bound_end(b);
}

static void tables_and_chains(struct bound *b)
{
	struct nlattr *hook;

	table(b, NFT_MSG_NEWTABLE);
	bound_message(b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN, NLM_F_CREATE, 0);
	bound_text(b, NFTA_CHAIN_TABLE, TABLE);
	bound_text(b, NFTA_CHAIN_NAME, REFUSED);
	bound_end(b);
	rule_of_the_refused(b);
	bound_message(b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN, NLM_F_CREATE, 0);
	bound_text(b, NFTA_CHAIN_TABLE, TABLE);
	bound_text(b, NFTA_CHAIN_NAME, CHAIN);
	hook = bound_nest(b, NFTA_CHAIN_HOOK);
	bound_u32(b, NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
	bound_u32(b, NFTA_HOOK_PRIORITY, (uint32_t)PRIORITY_RAW);
	bound_nest_end(b, hook);
	bound_text(b, NFTA_CHAIN_TYPE, "filter");
	bound_end(b);
}

size_t packets_batch(void *room, size_t cap, enum packets_form form, uint64_t rate, int segments)
{
	struct bound b = {.room = room, .cap = cap};

	bound_message(&b, NFNL_MSG_BATCH_BEGIN, 0, NFNL_SUBSYS_NFTABLES);
	bound_end(&b);
	if (form == PACKETS_REPLACE) { /* whether or not it exists, in any form */
		table(&b, NFT_MSG_NEWTABLE);
		table(&b, NFT_MSG_DELTABLE);
	}
	if (form == PACKETS_CHANGE) { /* all rules of the chain */
		bound_message(&b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELRULE, 0, 0);
		bound_text(&b, NFTA_RULE_TABLE, TABLE);
		bound_text(&b, NFTA_RULE_CHAIN, CHAIN);
		bound_end(&b);
	} else {
		tables_and_chains(&b);
	}
	rule_of_connections(&b);
	if (segments >= 0)
		rule_of_the_many(&b, segments);
	rule_of_the_large(&b);
	rule_of_the_rest(&b, rate);
	/* Nothing is acknowledged but the last rule, which comes after all of them. */
	b.head->nlmsg_flags |= NLM_F_ACK;
	bound_message(&b, NFNL_MSG_BATCH_END, 0, NFNL_SUBSYS_NFTABLES);
	bound_end(&b);
	return b.cap ? b.used : 0;
}

/* r0 = skb->gso_segs; r0 >>= 1; return r0: 0 for a packet that is one (0 of UDP, 1 of TCP). */
int packets_segments(void)
{
	struct bpf_insn program[] = {{.code = BPF_LDX | BPF_MEM | BPF_W,
				      .dst_reg = BPF_REG_0,
				      .src_reg = BPF_REG_1,
				      .off = offsetof(struct __sk_buff, gso_segs)},
				     {.code = BPF_ALU64 | BPF_RSH | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
				     {.code = BPF_JMP | BPF_EXIT}};
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
			       .insns = (uint64_t)(uintptr_t)program,
			       .insn_cnt = sizeof program / sizeof program[0],
			       .license = (uint64_t)(uintptr_t) "Apache-2.0",
			       .prog_name = "tulou_segments"};
	long r = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr); /* close-on-exec */

	return r < 0 ? -errno : (int)r;
}

int packets_set(int fd, enum packets_form form, uint64_t rate, int segments)
{
	_Alignas(struct nlmsghdr) char room[PACKETS_ROOM], answer[PACKETS_ROOM];
	size_t n = packets_batch(room, sizeof room, form, rate, segments);
	ssize_t got;

	if (!n)
		return -ENOBUFS;
	if (send(fd, room, n, 0) != (ssize_t)n)
		return -errno;
	/* The first answer is the first message's that failed, else that of the last rule. */
	got = recv(fd, answer, sizeof answer, 0);
	if (got < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return got < 0 ? -errno : -EPROTO;
	return ((struct nlmsghdr *)(void *)answer)->nlmsg_type == NLMSG_ERROR
		       ? ((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)(void *)answer))->error
		       : -EPROTO;
}

/* --- reading --------------------------------------------------------------------------------------------------------
 */

size_t packets_question(void *room, size_t cap)
{
	struct bound b = {.room = room, .cap = cap};

	bound_message(&b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE, NLM_F_DUMP, 0);
	bound_text(&b, NFTA_RULE_TABLE, TABLE);
	bound_end(&b);
	return b.cap ? b.used : 0;
}

size_t packets_counter_question(void *room, size_t cap, const char *table, const char *set, uint32_t key)
{
	struct bound b = {.room = room, .cap = cap};
	struct nlattr *list, *element, *k;

	bound_message(&b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM, 0, 0);
	bound_text(&b, NFTA_SET_ELEM_LIST_TABLE, table);
	bound_text(&b, NFTA_SET_ELEM_LIST_SET, set);
	list = bound_nest(&b, NFTA_SET_ELEM_LIST_ELEMENTS);
	element = bound_nest(&b, NFTA_LIST_ELEM);
	k = bound_nest(&b, NFTA_SET_ELEM_KEY);
	bound_attr(&b, NFTA_DATA_VALUE, &key, sizeof key);
	bound_nest_end(&b, k);
	bound_nest_end(&b, element);
	bound_nest_end(&b, list);
	bound_end(&b);
	return b.cap ? b.used : 0;
}

/* A row of attributes. */
struct attrs {
	const char *at;
	size_t left;
};

static const struct nlattr *attr_next(struct attrs *r)
{
	const struct nlattr *a = (const void *)r->at;
	size_t n;

	if (r->left < sizeof *a || a->nla_len < sizeof *a || a->nla_len > r->left)
		return NULL;
	n = (size_t)NLA_ALIGN(a->nla_len) < r->left ? (size_t)NLA_ALIGN(a->nla_len) : r->left;
	r->at += n;
	r->left -= n;
	return a;
}

static struct attrs attr_inside(const struct nlattr *a)
{
	return a ? (struct attrs){(const char *)a + NLA_HDRLEN, a->nla_len - (size_t)NLA_HDRLEN} : (struct attrs){0};
}

static const struct nlattr *attr_find(struct attrs r, uint16_t type)
{
	const struct nlattr *a;

	while ((a = attr_next(&r)))
		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
	return NULL;
}

static int attr_is(struct attrs r, uint16_t type, const char *text)
{
	struct attrs v = attr_inside(attr_find(r, type));

	return v.left == strlen(text) + 1 && memcmp(v.at, text, v.left) == 0;
}

static uint64_t attr_u64(struct attrs r, uint16_t type)
{
	struct attrs v = attr_inside(attr_find(r, type));
	uint64_t n = 0;

	if (v.left == sizeof n)
		memcpy(&n, v.at, sizeof n);
	return be64toh(n);
}

int packets_counter_answer(const void *answer, size_t n, uint64_t *ret)
{
	const struct nlmsghdr *h = answer;
	const size_t head = NLMSG_LENGTH(sizeof(struct nfgenmsg));
	struct attrs element, x;

	if (n < sizeof *h || h->nlmsg_len < sizeof *h || h->nlmsg_len > n)
		return -EPROTO;
	if (h->nlmsg_type == NLMSG_ERROR && h->nlmsg_len >= NLMSG_LENGTH(sizeof(int)))
		return ((const struct nlmsgerr *)NLMSG_DATA(h))->error ?: -EPROTO;
	if (h->nlmsg_len < head)
		return -EPROTO;
	element = attr_inside(attr_find((struct attrs){(const char *)answer + head, h->nlmsg_len - head},
					NFTA_SET_ELEM_LIST_ELEMENTS));
	element = attr_inside(attr_find(element, NFTA_LIST_ELEM));
	x = attr_inside(attr_find(element, NFTA_SET_ELEM_EXPR));
	if (!attr_is(x, NFTA_EXPR_NAME, "counter"))
		return -EPROTO;
	*ret = attr_u64(attr_inside(attr_find(x, NFTA_EXPR_DATA)), NFTA_COUNTER_PACKETS);
	return 0;
}

static void rule_read(struct attrs rule, struct packets *ret)
{
	struct attrs list = attr_inside(attr_find(rule, NFTA_RULE_EXPRESSIONS));
	int out = attr_is(rule, NFTA_RULE_CHAIN, CHAIN), refused = attr_is(rule, NFTA_RULE_CHAIN, REFUSED);
	const struct nlattr *element;

	while ((element = attr_next(&list))) {
		struct attrs x = attr_inside(element), data = attr_inside(attr_find(x, NFTA_EXPR_DATA));
		if (out && attr_is(x, NFTA_EXPR_NAME, "match"))
			ret->segments = 1;
		if (out && attr_is(x, NFTA_EXPR_NAME, "limit"))
			ret->rate = attr_u64(data, NFTA_LIMIT_RATE);
		if (refused && attr_is(x, NFTA_EXPR_NAME, "counter")) {
			ret->counts = 1;
			ret->refused = attr_u64(data, NFTA_COUNTER_PACKETS);
		}
	}
}

int packets_answer(const void *answer, size_t n, struct packets *ret)
{
	const char *at = answer;

	while (n >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *h = (const void *)at;
		size_t skip;
		if (h->nlmsg_len < sizeof *h || h->nlmsg_len > n)
			return -EPROTO;
		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR && h->nlmsg_len >= NLMSG_LENGTH(sizeof(int)))
			return ((const struct nlmsgerr *)NLMSG_DATA(h))->error ?: -EPROTO;
		if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nfgenmsg)))
			rule_read((struct attrs){at + NLMSG_LENGTH(sizeof(struct nfgenmsg)),
						 h->nlmsg_len - NLMSG_LENGTH(sizeof(struct nfgenmsg))},
				  ret);
		skip = NLMSG_ALIGN(h->nlmsg_len) < n ? NLMSG_ALIGN(h->nlmsg_len) : n;
		at += skip;
		n -= skip;
	}
	return 1;
}

int packets_get(int fd, struct packets *ret)
{
	_Alignas(struct nlmsghdr) char room[PACKETS_ROOM * 4];
	struct packets p = {0};
	size_t n = packets_question(room, sizeof room);
	int r = 1;

	if (send(fd, room, n, 0) != (ssize_t)n)
		return -errno;
	/* Five rules and an end: whatever comes beyond a few datagrams is not ours. */
	for (int i = 0; i < 8 && r == 1; i++) {
		ssize_t got = recv(fd, room, sizeof room, 0);
		if (got < 0)
			return -errno;
		r = packets_answer(room, (size_t)got, &p);
	}
	if (r == 0 && (!p.rate || !p.counts))
		r = -ENOENT;
	if (r == 0)
		*ret = p;
	return r == 1 ? -EPROTO : r;
}
