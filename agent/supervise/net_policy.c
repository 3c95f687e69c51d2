/* Egress policies that a link's name does not say, and the tenants' rates.  Layer agent, supervisor process.
 *
 * A start costs no transaction: "public" and "none" are in the link's name.  A list, and whatever was changed while the
 * instance runs, is an element of the map `egress`, looked up before the name:
 *
 *   10.94.0.7 : accept         public
 *   10.94.0.7 : drop           none
 *   10.94.0.7 : goto e_5e0007  a list: a chain of its own, so that lists may overlap in themselves
 *
 * What is in the table is always what n->policies says: an entry goes from there only after it went from the table, so
 * that an address is never given out with its former owner's policy. */
#include "agent/supervise/net_private.h"

#include "base/map.h"
#include "base/own.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLICY_TEXT_MAX 16384u
#define RATES_TEXT_MAX (24u << 20) /* six lines of at most 200 bytes for each tenant */

struct net_policy {
	uint32_t address; /* host byte order; key */
	struct quota_egress egress;
};

enum net_rate_kind { NET_RATE_IN, NET_RATE_OUT, NET_RATE_PACKETS, NET_RATE_COUNT };

struct net_rate {
	uint32_t slot;		      /* key */
	uint64_t now[NET_RATE_COUNT]; /* bytes or packets a second as in the table, 0 = not limited */
	uint64_t want[NET_RATE_COUNT];
};

static const char *net_rate_set(enum net_rate_kind kind)
{
	static const char *const names[NET_RATE_COUNT] = {"tenant_in", "tenant_out", "tenant_packets"};

	return names[kind];
}

/* --- text ----------------------------------------------------------------------------------------------------------
 */

static void chain_rules(const struct quota_egress *g, const char *before, struct buf *out)
{
	buf_printf(out, "%smeta l4proto != { tcp, udp } counter drop\n", before);
	for (uint32_t i = 0; i < g->count && i < LIMIT_EGRESS_RULES; i++) {
		const struct quota_egress_rule *r = &g->rules[i];
		buf_printf(out, "%sip daddr " NET_IP "/%u th dport %u-%u accept\n", before, NET_IP_ARGS(r->net),
			   r->prefix, r->port_min, r->port_max);
	}
	buf_printf(out, "%scounter drop\n", before);
}

static void verdict(const struct net_policy *p, struct buf *out)
{
	if (p->egress.mode == QUOTA_EGRESS_LIST)
		buf_printf(out, NET_IP " : goto e_%x", NET_IP_ARGS(p->address), p->address);
	else
		buf_printf(out, NET_IP " : %s", NET_IP_ARGS(p->address),
			   p->egress.mode == QUOTA_EGRESS_PUBLIC ? "accept" : "drop");
}

/* "limit rate" counts in whole bytes of 32-bit bursts. */
static void rate_element(uint32_t slot, enum net_rate_kind kind, uint64_t rate, struct buf *out)
{
	uint64_t burst = rate / 10;

	if (kind == NET_RATE_PACKETS) {
		buf_printf(out, "%u limit rate over %" PRIu64 "/second burst %u packets", net_group(slot), rate,
			   packets_burst(rate));
		return;
	}
	burst = burst < 4 * LIMIT_NET_BURST ? 4 * LIMIT_NET_BURST : burst > (1u << 30) ? 1u << 30 : burst;
	buf_printf(out, "%u limit rate over %" PRIu64 " bytes/second burst %" PRIu64 " bytes", net_group(slot), rate,
		   burst);
}

static int by_address(const void *a, const void *b)
{
	const struct net_policy *x = *(struct net_policy *const *)a, *y = *(struct net_policy *const *)b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static void policies_text(const struct net *n, struct buf *out)
{
	size_t count = map_count(n->policies), pos = 0, k = 0;
	OWN_FREE struct net_policy **list = calloc(count + 1, sizeof(void *));

	if (!list) {
		out->failed = -ENOMEM;
		return;
	}
	while (k < count && (list[k] = map_next(n->policies, &pos)))
		k++;
	qsort(list, k, sizeof *list, by_address); /* the same table from the same records */
	for (size_t i = 0; i < k; i++) {
		if (list[i]->egress.mode != QUOTA_EGRESS_LIST)
			continue;
		buf_printf(out, "chain e_%x {\n", list[i]->address);
		chain_rules(&list[i]->egress, "", out);
		buf_adds(out, "}\n");
	}
	buf_adds(out, "map egress { type ipv4_addr : verdict;");
	for (size_t i = 0; i < k; i++) {
		buf_adds(out, i ? ", " : " elements = { ");
		verdict(list[i], out);
	}
	buf_adds(out, k ? " }; }\n" : " }\n");
}

static void rates_text(const struct net *n, enum net_rate_kind kind, struct buf *out)
{
	struct net_rate *r;
	size_t pos = 0;
	bool any = false;

	/* The limit of the set is only the kind of its elements' own. */
	buf_printf(out, "set %s { type devgroup; limit rate over %s;", net_rate_set(kind),
		   kind == NET_RATE_PACKETS ? "1/second burst 1 packets" : "1 bytes/second burst 1 bytes");
	while ((r = map_next(n->rates, &pos))) {
		if (!r->now[kind])
			continue;
		buf_adds(out, any ? ", " : " elements = { ");
		rate_element(r->slot, kind, r->now[kind], out);
		any = true;
	}
	buf_adds(out, any ? " }; }\n" : " }\n");
}

void net_policy_text(const struct net *n, struct buf *out)
{
	policies_text(n, out);
	for (unsigned kind = 0; kind < NET_RATE_COUNT; kind++)
		rates_text(n, (enum net_rate_kind)kind, out);
}

/* --- policies -------------------------------------------------------------------------------------------------------
 */

static bool by_name(const struct net *n, const char *link, const struct quota_egress *g)
{
	return g->mode == (net_link_egress(n, link) ? QUOTA_EGRESS_PUBLIC : QUOTA_EGRESS_NONE);
}

static struct net_policy *policy_of(const struct net *n, uint32_t address)
{
	return map_get(n->policies, &address, sizeof address);
}

static struct net_policy *policy_new(uint32_t address, const struct quota_egress *g)
{
	struct net_policy *p = calloc(1, sizeof *p);

	if (p)
		*p = (struct net_policy){.address = address, .egress = *g};
	return p;
}

static int policy_put(struct net *n, struct net_policy *p)
{
	struct net_policy *old = map_del(n->policies, &p->address, sizeof p->address);

	free(old);
	return map_put(n->policies, &p->address, sizeof p->address, p);
}

/* The transaction from one policy to the next, either may be NULL. */
static void policy_change(const struct net *n, const struct net_policy *from, const struct net_policy *to,
			  struct buf *out)
{
	const char *t = n->table;
	bool was = from && from->egress.mode == QUOTA_EGRESS_LIST, is = to && to->egress.mode == QUOTA_EGRESS_LIST;
	char before[96];

	if (is) {
		snprintf(before, sizeof before, "add rule inet %s e_%x ", t, to->address);
		buf_printf(out, "add chain inet %s e_%x\nflush chain inet %s e_%x\n", t, to->address, t, to->address);
		chain_rules(&to->egress, before, out);
	}
	if (from)
		buf_printf(out, "delete element inet %s egress { " NET_IP " }\n", t, NET_IP_ARGS(from->address));
	if (to) {
		buf_printf(out, "add element inet %s egress { ", t);
		verdict(to, out);
		buf_adds(out, " }\n");
	}
	if (was && !is)
		buf_printf(out, "delete chain inet %s e_%x\n", t, from->address);
}

int net_policy_set(struct net *n, uint32_t address, const char *link, const struct quota_egress *g, struct err *e)
{
	struct net_policy *from = policy_of(n, address), *to = NULL;
	OWN_BUF struct buf text = {0};
	int r;

	if (!by_name(n, link, g)) {
		to = policy_new(address, g);
		if (!to)
			return err_set(e, ENOMEM, "out of memory");
	}
	if (!from && !to)
		return 0;
	buf_init(&text, POLICY_TEXT_MAX);
	policy_change(n, from, to, &text);
	r = text.failed ? err_set(e, -text.failed, "cannot write the network rules: %s", strerror(-text.failed))
			: net_nft(text.data, NULL, e);
	if (r < 0) {
		free(to);
		return r;
	}
	if (to)
		return policy_put(n, to) < 0 ? err_set(e, ENOMEM, "out of memory") : 0;
	free(map_del(n->policies, &from->address, sizeof from->address));
	return 0;
}

void net_policy_drop(struct net *n, uint32_t address)
{
	struct net_policy *from = policy_of(n, address);
	OWN_BUF struct buf text = {0};

	if (!from)
		return;
	buf_init(&text, POLICY_TEXT_MAX);
	policy_change(n, from, NULL, &text);
	/* What cannot be removed now is removed when the address is given out again. */
	if (!text.failed && net_nft(text.data, NULL, NULL) == 0)
		free(map_del(n->policies, &from->address, sizeof from->address));
}

void net_policy_note(struct net *n, uint32_t address, const char *link, const struct quota_egress *g)
{
	struct net_policy *p = by_name(n, link, g) ? NULL : policy_new(address, g);

	if (p && policy_put(n, p) < 0)
		free(p);
}

void net_policy_done(struct net *n)
{
	struct net_policy *p;
	struct net_rate *r;
	size_t pos = 0;

	while (n->policies && (p = map_next(n->policies, &pos)))
		free(p);
	for (pos = 0; n->rates && (r = map_next(n->rates, &pos));)
		free(r);
	map_free(n->policies);
	map_free(n->rates);
	n->policies = n->rates = NULL;
}

/* Forgets every connection that the address began: the next packet of each is judged again.  One message, answered when
 * all are gone (Linux 5.8: CTA_FILTER). */
int net_cut(uint32_t address)
{
	struct {
		struct nlmsghdr h;
		struct nfgenmsg g;
		struct nlattr tuple, ip, source;
		uint32_t address;
		struct nlattr filter, flags;
		uint32_t flags_value;
	} req = {
		.h = {.nlmsg_len = sizeof req,
		      .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		/* A version above 0 makes the kernel heed the family. */
		.g = {.nfgen_family = AF_INET, .version = 1},
		.tuple = {sizeof req.tuple + sizeof req.ip + sizeof req.source + sizeof req.address,
			  CTA_TUPLE_ORIG | NLA_F_NESTED},
		.ip = {sizeof req.ip + sizeof req.source + sizeof req.address, CTA_TUPLE_IP | NLA_F_NESTED},
		.source = {sizeof req.source + sizeof req.address, CTA_IP_V4_SRC},
		.address = htonl(address),
		.filter = {sizeof req.filter + sizeof req.flags + sizeof req.flags_value, CTA_FILTER | NLA_F_NESTED},
		.flags = {sizeof req.flags + sizeof req.flags_value, CTA_FILTER_ORIG_FLAGS},
		.flags_value = 1, /* CTA_FILTER_F_CTA_IP_SRC of net/netfilter/nf_internals.h */
	};

	return net_request(NETLINK_NETFILTER, &req, sizeof req);
}

/* --- rates of tenants -----------------------------------------------------------------------------------------------
 */

static void rate_change(const struct net *n, const struct net_rate *r, enum net_rate_kind kind, struct buf *out)
{
	const char *set = net_rate_set(kind);

	if (r->now[kind] == r->want[kind])
		return;
	if (r->now[kind])
		buf_printf(out, "delete element inet %s %s { %u }\n", n->table, set, net_group(r->slot));
	if (r->want[kind]) {
		buf_printf(out, "add element inet %s %s { ", n->table, set);
		rate_element(r->slot, kind, r->want[kind], out);
		buf_adds(out, " }\n");
	}
}

int net_tenant_rates(struct net *n, uint32_t slot, const struct quota *q)
{
	const uint64_t want[NET_RATE_COUNT] = {q->net_in, q->net_out, q->net_packets};
	struct net_rate *r = map_get(n->rates, &slot, sizeof slot);

	if (!r && !want[NET_RATE_IN] && !want[NET_RATE_OUT] && !want[NET_RATE_PACKETS])
		return 0;
	if (!r) {
		r = calloc(1, sizeof *r);
		if (!r)
			return -ENOMEM;
		r->slot = slot;
		if (map_put(n->rates, &r->slot, sizeof r->slot, r) < 0) {
			free(r);
			return -ENOMEM;
		}
	}
	memcpy(r->want, want, sizeof r->want);
	n->rates_changed = n->rates_changed || memcmp(r->now, r->want, sizeof r->now) != 0;
	return 0;
}

int net_rates_write(struct net *n, struct err *e)
{
	OWN_BUF struct buf text = {0};
	struct net_rate *r;
	size_t pos = 0;
	int error;

	if (!n->rates_changed)
		return 0;
	n->rates_changed = false; /* also when it fails: the next change tries it all again */
	buf_init(&text, RATES_TEXT_MAX);
	while ((r = map_next(n->rates, &pos))) {
		for (unsigned kind = 0; kind < NET_RATE_COUNT; kind++)
			rate_change(n, r, (enum net_rate_kind)kind, &text);
	}
	if (text.failed)
		return err_set(e, -text.failed, "cannot write the tenants' rates: %s", strerror(-text.failed));
	if (!text.len)
		return 0;
	error = net_nft(text.data, NULL, e);
	if (error < 0)
		return error;
	for (pos = 0; (r = map_next(n->rates, &pos));)
		memcpy(r->now, r->want, sizeof r->now);
	return 0;
}

/* --- changes of a running instance ----------------------------------------------------------------------------------
 */

int net_change(struct net *n, const struct net_instance *i, const struct quota_limits *from,
	       const struct quota_limits *to, const struct quota_egress *egress_from, const struct quota_egress *egress,
	       struct err *e)
{
	int r = 0;

	if (to->net_in != from->net_in)
		r = net_link_rate(i->link, to->net_in);
	if (r == 0 && to->net_out != from->net_out)
		r = net_link_rate_inside(i->pidfd, to->net_out);
	if (r == 0 && to->net_packets != from->net_packets)
		r = net_link_packets(i->pidfd, PACKETS_CHANGE, to->net_packets, i->segments);
	if (r < 0)
		return err_set(e, -r, "cannot change the network rate of %s: %s", i->link, strerror(-r));
	if (egress_from->mode == egress->mode && egress_from->count == egress->count &&
	    memcmp(egress_from->rules, egress->rules, egress->count * sizeof *egress->rules) == 0)
		return 0;
	r = net_policy_set(n, i->address, i->link, egress, e);
	if (r < 0 || egress->mode == QUOTA_EGRESS_PUBLIC)
		return r;
	r = net_cut(i->address);
	return r < 0 ? err_set(e, -r, "cannot end the connections of %s: %s", i->link, strerror(-r)) : 0;
}
