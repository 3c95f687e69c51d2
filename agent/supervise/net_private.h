/* What the files net*.c share.  Layer agent, supervisor process; private to them. */
#ifndef TULOU_AGENT_SUPERVISE_NET_PRIVATE_H
#define TULOU_AGENT_SUPERVISE_NET_PRIVATE_H

#include "agent/supervise/net.h"

/* net.c: runs one nftables transaction; its output, when asked for, is the caller's.  0 or negative errno. */
int net_nft(const char *text, char **output, struct err *e);
/* Whether the tenant has a pair in the table. */
bool net_tenant_has(const struct net *n, uint32_t slot);

/* net_link.c: sends one netlink request and reads its acknowledgement; 0 or negative errno. */
int net_request(int protocol, const void *request, size_t size);

/* net_policy.c: the parts of the table that stand for policies and rates, for net_ruleset(). */
void net_policy_text(const struct net *n, struct buf *out);
void net_policy_done(struct net *n);

/* A.B.C.D of host byte order, for printf. */
#define NET_IP "%u.%u.%u.%u"
#define NET_IP_ARGS(a) (a) >> 24, (a) >> 16 & 255, (a) >> 8 & 255, (a)&255

#endif
