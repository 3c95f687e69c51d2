/* The instances' network as the host sees it: one nftables table, forwarding, addresses, link names.  Layer agent,
 * supervisor process.  The veth pair itself is made by tulou-sandbox.
 *
 * Table inet tulou_<cgroup name>, one per node:
 *   prerouting   from our links only IPv4 whose source address lies behind that very link (no spoofing);
 *   input        from our links only replies to what the host began, and DNS to a resolver that is the host itself;
 *   forward      from our links: replies; the same tenant's instances (pairs of interface groups); DNS to the
 * resolvers; then nothing private, link-local, multicast, of metadata services or of the host's own networks; then
 *                everything else, when the link's name says that its instance may.  To our links: replies only;
 *   postrouting  the pool leaves under the host's address. */
#ifndef TULOU_AGENT_SUPERVISE_NET_H
#define TULOU_AGENT_SUPERVISE_NET_H

#include "agent/supervise/pool.h"
#include "base/buf.h"
#include "base/err.h"
#include "config/settings.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#define NET_RESOLVERS_MAX 3 /* as resolv.conf(5) */

struct net {
	struct pool pool;
	char table[48];			       /* of nftables: "tulou_<cgroup name>" */
	char prefix[8];			       /* of our links */
	uint32_t resolvers[NET_RESOLVERS_MAX]; /* IPv4, host byte order */
	unsigned resolver_count;
	uint8_t *tenants;   /* owned bit set by slot: who has a pair in the table */
	uint8_t generation; /* last part of a link's name: a name is free only when its old namespace is */
};

/* Reads the resolvers.  Changes nothing on the host.  0 or negative errno. */
int net_init(struct net *n, const struct settings *s, struct err *e);
/* Frees memory; the host's state stays. */
void net_done(struct net *n);

/* Writes the table into nftables in one transaction, gives lo the host's address, switches forwarding on.  Tenants
 * known to n are in the table. */
int net_setup(struct net *n, const struct settings *s, struct err *e);
/* The transaction's text, for net_setup and its test; on_link are the host's own networks, as text. */
int net_ruleset(const struct net *n, const struct settings *s, const char *on_link, struct buf *out);
/* Deletes the table and restores ip_forward when no other node's table is left.  0 or the first failure. */
int net_teardown(struct net *n, struct err *e);

/* The host's own address in the pool (its first): what instances see requests come from.  Host byte order. */
uint32_t net_host_address(const struct net *n);
/* Interface group of a tenant's links. */
uint32_t net_group(uint32_t slot);
/* Lets the instances of a tenant reach each other (first launch of that tenant: one transaction). */
int net_tenant(struct net *n, uint32_t slot, struct err *e);
/* Only notes it, before net_setup(). */
void net_tenant_note(struct net *n, uint32_t slot);

/* A fresh name for the host's end of the link of an address. */
void net_link_name(struct net *n, uint32_t address, bool egress, char name[IFNAMSIZ]);
/* Deletes a link that a failed launch may have left in the host's namespace.  0 also when there is none. */
int net_link_delete(const char *name);
/* Deletes every link with our prefix for which keep() is false. */
void net_links_sweep(const struct net *n, bool (*keep)(void *arg, const char *name), void *arg);

/* Makes a veth pair in the present namespace (a scratch one), to see that the kernel can; 0 or negative errno. */
int net_probe(void);

/* Parses nameserver lines of text: IPv4, not loopback (an instance's loopback is its own).  Number found. */
unsigned net_resolvers_parse(const char *text, uint32_t *ret, unsigned max);

#endif
