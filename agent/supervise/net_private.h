/* What the files net*.c share.  Layer agent, supervisor process; private to them. */
#ifndef TULOU_AGENT_SUPERVISE_NET_PRIVATE_H
#define TULOU_AGENT_SUPERVISE_NET_PRIVATE_H

#include "agent/supervise/net.h"

/* net.c: runs one nftables transaction; its output, when asked for, is the caller's.  0 or negative errno. */
int net_nft(const char *text, char **output, struct err *e);
/* Bytes: 16,000 tenants at 240 bytes each (pair and three rates), 8,000 policies at up to 32 rules of 80 bytes. */
#define NET_RULESET_MAX (32u << 20)
/* net.c: the transaction for the host as it is now; 0 or negative errno. */
int net_rules_now(const struct net *n, const struct settings *s, struct buf *out);
/* net_compare.c: two listings of tables, changed in place: 1 with the first difference in text, 0 when there is none.
 */
int net_listings_differ(char *have, char *want, char *text, size_t cap);
/* The set of the table that counts, for each tenant, what is dropped at its total of packets. */
#define NET_TENANT_REFUSED "tenant_refused"
/* Whether the tenant has a pair in the table. */
bool net_tenant_has(const struct net *n, uint32_t slot);

/* net_link.c: sends one netlink request and reads its acknowledgement; 0 or negative errno. */
int net_request(int protocol, const void *request, size_t size);
/* net_link.c: a netlink socket in an instance's network namespace, and there the index of eth0 when it is asked for. */
int net_socket_inside(int pidfd, int protocol, unsigned *index);

/* net_policy.c: the parts of the table that stand for policies and rates, for net_ruleset(). */
void net_policy_text(const struct net *n, struct buf *out);
void net_policy_done(struct net *n);

/* A.B.C.D of host byte order, for printf. */
#define NET_IP "%u.%u.%u.%u"
#define NET_IP_ARGS(a) (a) >> 24, (a) >> 16 & 255, (a) >> 8 & 255, (a)&255

#endif
