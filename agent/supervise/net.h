/* The instances' network as the host sees it: one nftables table, forwarding, addresses, link names.  Layer agent,
 * supervisor process.  The veth pair itself is made by tulou-sandbox.
 *
 * Table inet tulou_<cgroup name>, one per node, written in one transaction:
 *   raw          from our links only IPv4 whose source address lies behind that very link (no spoofing), below the
 *                tenant's rates of bytes and of packets, where names do not count;
 *   prerouting   new connections only within LIMIT_NET_CONNECTIONS and its kin;
 *   input        from our links only names (port 53 of the host's own address) and replies to what the host began;
 *   forward      from our links: replies; the same tenant's instances (pairs of interface groups); then nothing
 * private, link-local, multicast, of metadata services or of the host's own networks; then what the instance's egress
 * policy says: the map `egress`, else the link's name.  To our links: replies only; limit_in     to our links only
 * below the tenant's rate; postrouting  the pool leaves under the host's address. */
#ifndef TULOU_AGENT_SUPERVISE_NET_H
#define TULOU_AGENT_SUPERVISE_NET_H

#include "agent/sandbox/packets.h"
#include "agent/supervise/pool.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
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
	uint32_t conntrack_max; /* connections that the kernel tracks at most; 0 = unknown */
	struct map *policies;	/* owned: address -> struct net_policy, what is in the map `egress` */
	struct map *rates;	/* owned: slot -> struct net_rate, what is in the sets of tenants' rates */
	bool rates_changed;	/* some are noted that the table does not have */
	uint8_t *tenants;	/* owned bit set by slot: who has a pair in the table */
	uint8_t generation;	/* last part of a link's name: a name is free only when its old namespace is */
};

/* The nftables table of a node with this node.cgroup. */
void net_table_name(const char *cgroup, char out[48]);
/* Reads the resolvers.  Changes nothing on the host.  0 or negative errno. */
int net_init(struct net *n, const struct settings *s, struct err *e);
/* Frees memory; the host's state stays. */
void net_done(struct net *n);

/* Writes the table into nftables in one transaction, gives lo the host's address, switches forwarding on.  Tenants
 * known to n are in the table. */
int net_setup(struct net *n, const struct settings *s, struct err *e);
/* Compares the kernel's table with the one that net_setup() would write now: 0 the same, 1 the first difference is in
 * text, or negative errno.  Takes as long as net_setup(). */
int net_compare(const struct net *n, const struct settings *s, char *text, size_t cap);
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

/* Notes a tenant's rates, bytes a second, 0 = not limited: packets beyond them are dropped.  0 or -ENOMEM.  They hold
 * after net_rates_write(): one transaction for all that changed, none when nothing did. */
int net_tenant_rates(struct net *n, uint32_t slot, const struct quota *q);
int net_rates_write(struct net *n, struct err *e);

/* Packets dropped at the tenant's total since net_setup(), 0 when none was.  0 or negative errno. */
int net_tenant_refused(const struct net *n, uint32_t slot, uint64_t *ret);

/* The egress policy of an address behind a link: no transaction when the link's name says it.  0 or negative errno with
 * the former policy in force. */
int net_policy_set(struct net *n, uint32_t address, const char *link, const struct quota_egress *g, struct err *e);
/* Its instance is gone. */
void net_policy_drop(struct net *n, uint32_t address);
/* Only notes it, before net_setup(). */
void net_policy_note(struct net *n, uint32_t address, const char *link, const struct quota_egress *g);
/* Forgets the connections that the address began, so that their next packets are judged again.  0 or negative errno. */
int net_cut(uint32_t address);

/* A running instance, for changes. */
struct net_instance {
	uint32_t address;
	const char *link; /* the host's end */
	int pidfd;	  /* its PID 1 */
	int segments;	  /* net_segments(), negative = none */
};
/* Rates and egress policy from one set of limits to another, at once; a stricter policy also cuts what is connected.
 * 0, or the first failure with e set. */
int net_change(struct net *n, const struct net_instance *i, const struct quota_limits *from,
	       const struct quota_limits *to, const struct quota_egress *egress_from, const struct quota_egress *egress,
	       struct err *e);

/* A fresh name for the host's end of the link of an address. */
void net_link_name(struct net *n, uint32_t address, bool egress, char name[IFNAMSIZ]);
/* Deletes a link that a failed launch may have left in the host's namespace.  0 also when there is none. */
int net_link_delete(const char *name);
/* Deletes every link with our prefix for which keep() is false. */
void net_links_sweep(const struct net *n, bool (*keep)(void *arg, const char *name), void *arg);

/* Whether a link's name says that its instance may go everywhere. */
bool net_link_egress(const struct net *n, const char *name);
/* What one end may send, bytes a second, 0 = not limited: the host's end is the way in, eth0 inside the way out. */
int net_link_rate(const char *name, uint64_t rate);
int net_link_rate_inside(int pidfd, uint64_t rate);
/* The program of packets_segments(), once the kernel took a whole table with it in a namespace that is made for that: a
 * descriptor, the caller's, or negative errno. */
int net_segments(void);
/* Packets a second that it may begin to send (agent/sandbox/packets.h); a change makes the table where there is none.
 * segments: from net_segments(), negative = none. */
int net_link_packets(int pidfd, enum packets_form form, uint64_t rate, int segments);
/* The rate in force, and what was refused.  -ENOENT when the table is not there, or not whole. */
int net_link_packets_get(int pidfd, struct packets *ret);
/* Bytes to and from an instance since its start, from the host's end. */
int net_link_bytes(const char *name, uint64_t *in, uint64_t *out);

/* Makes a veth pair with a rate in the present namespace (a scratch one), to see that the kernel can; 0 or negative
 * errno. */
int net_probe(void);

/* Parses nameserver lines of text, IPv4 only: the host's resolvers, which only our own resolver asks.  Number found. */
unsigned net_resolvers_parse(const char *text, uint32_t *ret, unsigned max);

#endif
