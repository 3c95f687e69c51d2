/* The node's nftables table as text.  Layer agent, supervisor process.  Pure. */
#include "agent/supervise/net_private.h"

#include <stdio.h>

static void rules_sets(const struct net *n, const struct settings *s, const char *on_link, struct buf *out)
{
	bool any = false;

	/* The pool too: an address of it that nobody has would otherwise leave by the default route. */
	buf_printf(out,
		   "set closed { type ipv4_addr; flags interval; auto-merge; elements = { %s, " NET_IP "/%u%s }; }\n",
		   QUOTA_EGRESS_CLOSED, NET_IP_ARGS(s->pool_net), s->pool_prefix, on_link);
	buf_adds(out, "set tenants { type devgroup . devgroup;");
	for (uint32_t slot = 0; slot < LIMIT_TENANTS; slot++) {
		if (!net_tenant_has(n, slot))
			continue;
		buf_printf(out, "%s%u . %u", any ? ", " : " elements = { ", net_group(slot), net_group(slot));
		any = true;
	}
	buf_adds(out, any ? " }; }\n" : " }\n");
}

/* One tenant must not fill the table in which the kernel tracks everybody's connections: bounded are those that live at
 * a time, how fast new ones begin, and how long ended ones stay. */
static void rules_connections(const struct net *n, struct buf *out)
{
	uint32_t one = LIMIT_NET_CONNECTIONS, tenant = LIMIT_NET_TENANT_CONNECTIONS;
	uint32_t rate = LIMIT_NET_NEW_RATE, tenant_rate = LIMIT_NET_TENANT_NEW_RATE;

	if (n->conntrack_max && n->conntrack_max / 8 < tenant) {
		tenant = n->conntrack_max / 8;
		one = tenant / 4;
	}
	if (n->conntrack_max && n->conntrack_max / 256 < tenant_rate) {
		tenant_rate = n->conntrack_max / 256 + 2;
		rate = tenant_rate / 2;
	}
	buf_printf(
		out,
		"set connections { type ipv4_addr; size %u; flags dynamic; }\n"
		"set tenant_connections { type devgroup; size %u; flags dynamic; }\n"
		"set fresh { type ipv4_addr; size %u; flags dynamic; timeout 10s; }\n"
		"set tenant_fresh { type devgroup; size %u; flags dynamic; timeout 10s; }\n"
		"ct timeout short {\n"
		"protocol tcp\n"
		"l3proto ip\n"
		"policy = { syn_sent : 10, fin_wait : 20, close_wait : 60, last_ack : 5, time_wait : 2, close : 1 }\n"
		"}\n",
		LIMIT_INSTANCES * 2, LIMIT_TENANTS, LIMIT_INSTANCES * 2, LIMIT_TENANTS);
	buf_printf(out,
		   "chain from_link_new {\n"
		   "update @fresh { ip saddr limit rate over %u/second burst %u packets } counter drop\n"
		   "update @tenant_fresh { iifgroup limit rate over %u/second burst %u packets } counter drop\n"
		   "add @connections { ip saddr ct count over %u } counter drop\n"
		   "add @tenant_connections { iifgroup ct count over %u } counter drop\n"
		   "meta l4proto tcp ct timeout set \"short\"\n"
		   "}\n",
		   rate, LIMIT_NET_NEW_BURST, tenant_rate, LIMIT_NET_TENANT_NEW_BURST, one, tenant);
}

/* What counts against a tenant's packets.  Its questions for names do not, as far as the resolver answers them at all
 * (agent/resolve): an app whose neighbour floods must still find what it connects to. */
static void rules_packets(const struct net *n, struct buf *out)
{
	buf_printf(out,
		   "set names { type ipv4_addr; size %u; flags dynamic; timeout 10s; }\n"
		   "set tenant_refused { type devgroup; size %u; flags dynamic; }\n"
		   "chain tenant_refuse {\n"
		   "update @tenant_refused { iifgroup counter }\n"
		   "counter drop\n"
		   "}\n"
		   "chain tenant_count {\n"
		   "ip daddr " NET_IP
		   " th dport 53 update @names { ip saddr limit rate %u/second burst %u packets } return\n"
		   "iifgroup @tenant_packets goto tenant_refuse\n"
		   "}\n",
		   LIMIT_INSTANCES * 2, LIMIT_TENANTS, NET_IP_ARGS(net_host_address(n)), LIMIT_RESOLVE_RATE,
		   LIMIT_RESOLVE_BURST);
}

static void rules_from_link(const struct net *n, struct buf *out)
{
	uint32_t own = net_host_address(n);

	/* Before connections are tracked: what is dropped or not worth an entry leaves no trace. */
	buf_printf(out,
		   "chain from_link_raw {\n"
		   "meta nfproto ipv6 counter drop\n"
		   "fib saddr . iif oif missing counter drop\n"
		   "iifgroup @tenant_out counter drop\n"
		   "meta l4proto != tcp jump tenant_count\n"
		   "tcp flags & ack == 0x0 jump tenant_count\n"
		   "ip daddr " NET_IP " udp dport 53 notrack\n"
		   "}\n",
		   NET_IP_ARGS(own));
	/* Nothing of the host is open to an instance but the names' port, whichever of the host's addresses it tries.
	 */
	buf_printf(out,
		   "chain from_link_input {\n"
		   "ip daddr " NET_IP " udp dport 53 accept\n"
		   "ip daddr " NET_IP " tcp dport 53 accept\n"
		   "ct direction reply ct state established accept\n"
		   "ct state related accept\n"
		   "counter drop\n"
		   "}\n",
		   NET_IP_ARGS(own), NET_IP_ARGS(own));
	buf_printf(out,
		   "chain from_link_forward {\n"
		   "tcp flags syn / syn,rst tcp option maxseg size set rt mtu\n"
		   "ct state established,related accept\n"
		   "oifname \"%s*\" iifgroup . oifgroup @tenants accept\n"
		   "oifname \"%s*\" counter drop\n"
		   "ip daddr @closed counter drop\n"
		   "ip saddr vmap @egress\n"
		   "iifname \"%sp*\" accept\n"
		   "counter drop\n"
		   "}\n",
		   n->prefix, n->prefix, n->prefix);
}

int net_ruleset(const struct net *n, const struct settings *s, const char *on_link, struct buf *out)
{
	const char *t = n->table, *p = n->prefix;

	/* add, delete, add: replaces the table whether or not it exists, in one transaction. */
	buf_printf(out, "table inet %s {}\ndelete table inet %s\ntable inet %s {\n", t, t, t);
	rules_sets(n, s, on_link, out);
	net_policy_text(n, out);
	rules_connections(n, out);
	rules_packets(n, out);
	rules_from_link(n, out);
	buf_printf(out,
		   "chain to_link_forward {\n"
		   "tcp flags syn / syn,rst tcp option maxseg size set rt mtu\n"
		   "ct state established,related accept\n"
		   "counter drop\n"
		   "}\n"
		   /* Before the kernel puts fragments together (NF_IP_PRI_CONNTRACK_DEFRAG, -400): its memory for that
		    * is one for all, and no instance sends any (agent/sandbox/packets.h). */
		   "chain fragments { type filter hook prerouting priority -450; policy accept;\n"
		   "iifname \"%s*\" ip frag-off & 0x3fff != 0 counter drop\n"
		   "}\n"
		   "chain raw { type filter hook prerouting priority raw; policy accept;\n"
		   "iifname \"%s*\" jump from_link_raw\n"
		   "}\n"
		   "chain raw_output { type filter hook output priority raw; policy accept;\n"
		   "oifname \"%s*\" ip saddr " NET_IP " udp sport 53 notrack\n"
		   "}\n"
		   "chain prerouting { type filter hook prerouting priority mangle; policy accept;\n"
		   "iifname \"%s*\" ct state new jump from_link_new\n"
		   "}\n"
		   "chain input { type filter hook input priority filter; policy accept;\n"
		   "iifname \"%s*\" jump from_link_input\n"
		   "}\n"
		   "chain forward { type filter hook forward priority filter; policy accept;\n"
		   "iifname \"%s*\" goto from_link_forward\n"
		   "oifname \"%s*\" goto to_link_forward\n"
		   "}\n",
		   p, p, p, NET_IP_ARGS(net_host_address(n)), p, p, p, p);
	/* An address of the pool that nobody has any more is refused at once: by the default route, a request would
	 * leave the host and a stranger could answer it. */
	buf_printf(out,
		   "chain output { type filter hook output priority filter; policy accept;\n"
		   "ip daddr " NET_IP "/%u oifname != \"lo\" oifname != \"%s*\" ct state new counter reject\n"
		   "}\n",
		   NET_IP_ARGS(s->pool_net), s->pool_prefix, p);
	buf_printf(out,
		   "chain limit_in { type filter hook postrouting priority mangle; policy accept;\n"
		   "oifname \"%s*\" oifgroup @tenant_in counter drop\n"
		   "}\n"
		   "chain postrouting { type nat hook postrouting priority srcnat; policy accept;\n"
		   "ip saddr " NET_IP "/%u oifname != \"lo\" oifname != \"%s*\" masquerade\n}\n}\n",
		   p, NET_IP_ARGS(s->pool_net), s->pool_prefix, p);
	return out->failed;
}
