/* Addresses, rules and names of the instances' network. */
#include "agent/supervise/net.h"
#include "base/own.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define NET 0x0a5e0000u /* 10.94.0.0 */
#define SECOND 1000000

Test(supervise, pool_gives_lowest_first_and_lets_rest)
{
	struct pool p;

	pool_init(&p, NET, 24);
	cr_assert_eq(pool_take(&p, 0), NET + 2);
	cr_assert_eq(pool_take(&p, 0), NET + 3);
	pool_release(&p, NET + 2, 10 * SECOND);
	cr_assert_eq(pool_take(&p, 11 * SECOND), NET + 4, "the released one rests");
	cr_assert_eq(pool_take(&p, 10 * SECOND + POOL_QUARANTINE_US - 1), NET + 5);
	cr_assert_eq(pool_take(&p, 10 * SECOND + POOL_QUARANTINE_US), NET + 2);
	pool_release(&p, 0, 0);
	cr_assert_eq(p.count, 0);
	pool_done(&p);
}

Test(supervise, pool_that_is_small_takes_what_rested_longest)
{
	struct pool p;

	pool_init(&p, NET, 28); /* 16: .2 to .14 can be given */
	for (uint32_t i = 2; i < 15; i++)
		cr_assert_eq(pool_take(&p, 0), NET + i);
	cr_assert_eq(pool_take(&p, 0), 0, "all in use");
	pool_release(&p, NET + 9, 1);
	pool_release(&p, NET + 4, 2);
	cr_assert_eq(pool_take(&p, 3), NET + 9);
	cr_assert_eq(pool_take(&p, 3), NET + 4);
	cr_assert_eq(pool_take(&p, 3), 0);
	pool_done(&p);
}

Test(supervise, pool_adopts)
{
	struct pool p;

	pool_init(&p, NET, 24);
	cr_assert(pool_reserve(&p, NET + 5, 0));
	cr_assert(pool_reserve(&p, NET + 3, 0));
	cr_assert_not(pool_reserve(&p, NET + 3, 0), "twice");
	cr_assert_not(pool_reserve(&p, NET + 1, 0), "the host's own");
	cr_assert_not(pool_reserve(&p, NET + 255, 0));
	cr_assert_not(pool_reserve(&p, NET - 1, 0));
	cr_assert_not(pool_reserve(&p, 0, 0));
	cr_assert_eq(pool_take(&p, 0), NET + 6, "the gaps rest: their former owners are unknown");
	cr_assert_eq(pool_take(&p, POOL_QUARANTINE_US), NET + 2);
	cr_assert_eq(pool_take(&p, POOL_QUARANTINE_US), NET + 4);
	cr_assert_eq(pool_take(&p, POOL_QUARANTINE_US), NET + 7);
	pool_done(&p);
}

Test(supervise, pool_never_gives_one_address_twice)
{
	static uint8_t used[1 << 12];
	uint32_t held[64] = {0};
	struct pool p;
	unsigned seed = 1;

	pool_init(&p, NET, 20);
	for (int64_t now = 0; now < 20000; now++) {
		size_t k = (seed = seed * 1103515245u + 12345u) >> 16 & 63;
		if (held[k]) {
			used[held[k] - NET] = 0;
			pool_release(&p, held[k], now * 10000);
			held[k] = 0;
		} else {
			held[k] = pool_take(&p, now * 10000);
			cr_assert(held[k]);
			cr_assert_eq(used[held[k] - NET]++, 0);
		}
	}
	pool_done(&p);
}

Test(supervise, resolvers_are_parsed)
{
	uint32_t r[NET_RESOLVERS_MAX];

	cr_assert_eq(net_resolvers_parse("# x\nnameserver 10.0.0.53\nsearch a\nnameserver\t9.9.9.9 # y\n", r,
					 NET_RESOLVERS_MAX),
		     2);
	cr_assert_eq(r[0], 0x0a000035);
	cr_assert_eq(r[1], 0x09090909);
	cr_assert_eq(net_resolvers_parse("nameserver 127.0.0.53\nnameserver ::1\nnameserver 0.0.0.0\n", r,
					 NET_RESOLVERS_MAX),
		     1);
	cr_assert_eq(r[0], 0x7f000035);
	cr_assert_eq(net_resolvers_parse(
			     "nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4", r, 3),
		     3);
	cr_assert_eq(net_resolvers_parse("nameserver 300.1.1.1\nnameserver", r, 3), 0);
	cr_assert_eq(net_resolvers_parse("", r, 3), 0);
}

static void prepare(struct net *n, struct settings *s)
{
	settings_default(s);
	snprintf(s->cgroup, sizeof s->cgroup, "my-node");
	snprintf(s->link_prefix, sizeof s->link_prefix, "zz");
	s->pool_net = NET;
	s->pool_prefix = 16;
	cr_assert_eq(net_init(n, s, NULL), 0);
}

Test(supervise, links_have_short_names_that_do_not_repeat)
{
	char a[IFNAMSIZ], b[IFNAMSIZ], c[IFNAMSIZ];
	struct settings s;
	struct net n;

	prepare(&n, &s);
	net_link_name(&n, NET + 0x1234, true, a);
	net_link_name(&n, NET + 0x1234, true, b);
	net_link_name(&n, NET + 2, false, c);
	cr_assert_eq(strncmp(a, "zzp1234", 7), 0, "%s", a);
	cr_assert_str_neq(a, b);
	cr_assert_eq(strncmp(c, "zzn2", 4), 0, "%s", c);
	cr_assert_eq(net_host_address(&n), NET + 1);
	net_done(&n);
}

Test(supervise, ruleset_has_what_it_must)
{
	static const char *const parts[] = {
		"table inet tulou_my_node {}\ndelete table inet tulou_my_node\n",
		"elements = { 6 . 6, 16000 . 16000 }",
		"10.94.0.0/16, 192.0.2.0/24",
		"169.254.0.0/16",
		"fib saddr . iif oif missing counter drop",
		"meta nfproto ipv6 counter drop",
		"ip daddr 10.94.0.1 udp dport 53 accept",
		"add @connections { ip saddr ct count over 512 } counter drop",
		"add @tenant_connections { iifgroup ct count over 2048 } counter drop",
		"update @tenant_fresh { iifgroup limit rate over 66/second",
		"ip saddr vmap @egress\niifname \"zzp*\" accept\ncounter drop",
		"chain e_a5e0007 {\nmeta l4proto != { tcp, udp } counter drop\n"
		"ip daddr 203.0.113.0/24 th dport 443-443 accept\ncounter drop\n}",
		"elements = { 10.94.0.7 : goto e_a5e0007, 10.94.0.8 : drop, 10.94.0.9 : accept }",
		"iifname \"zzp*\" accept",
		"oifname \"zz*\" iifgroup . oifgroup @tenants accept",
		"ip saddr 10.94.0.0/16 oifname != \"lo\" oifname != \"zz*\" masquerade",
	};
	OWN_BUF struct buf text = {0};
	struct settings s;
	struct net n;

	prepare(&n, &s);
	n.conntrack_max = 16384;
	net_tenant_note(&n, 5);
	net_tenant_note(&n, LIMIT_TENANTS - 1);
	net_tenant_note(&n, LIMIT_TENANTS);
	net_policy_note(&n, NET + 9, "zzn90", &(struct quota_egress){.mode = QUOTA_EGRESS_PUBLIC});
	net_policy_note(&n, NET + 8, "zzp80", &(struct quota_egress){.mode = QUOTA_EGRESS_NONE});
	net_policy_note(
		&n, NET + 7, "zzn70",
		&(struct quota_egress){.mode = QUOTA_EGRESS_LIST, .count = 1, .rules = {{0xcb007100, 24, 443, 443}}});
	net_policy_note(&n, NET + 6, "zzn60", &(struct quota_egress){.mode = QUOTA_EGRESS_NONE});
	net_policy_note(&n, NET + 5, "zzp50", &(struct quota_egress){.mode = QUOTA_EGRESS_PUBLIC});
	buf_init(&text, 1 << 16);
	cr_assert_eq(net_ruleset(&n, &s, ", 192.0.2.0/24", &text), 0);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		cr_assert(strstr(text.data, parts[i]), "%s", parts[i]);
	net_done(&n);
}
