/* How many packets a second the program may begin to send, held inside its own network namespace.  Layer agent/sandbox;
 * PID 1 at the start, and the supervisor for changes and looks while the instance runs.
 *
 * A packet that is refused by the host's rules has already cost a soft interrupt, a look at the routes and the kernel's
 * table of connections, and a flood of small ones takes that time from whoever was to run next: neither a rate in bytes
 * nor a rule on the host's end of the link spares it.  So the bound lies at the source, in front of everything:
 * sendto(2) fails with EPERM, in the sender's own time.
 *
 * One table of nf_tables, whose chain `out` (type filter, hook output, priority raw) answers to every packet:
 *   TCP with ACK      passes: only the kernel makes these, from connections that both ends agreed to, and the rates in
 *                     bytes bound them
 *   many in one       refused: UDP_SEGMENT (udp(7)) makes up to 128 datagrams of one packet, behind this hook.  As an
 *                     option of the socket seccomp refuses it (agent/supervise/seccomp_args.c), but as a control
 *                     message of sendmsg(2) no filter of system calls can see it, nor do nf_tables' own expressions
 *   large             refused, but over loopback: it would be cut into fragments behind this hook
 *   all else          below the rate, loopback included: datagrams, connections that begin, ICMP; beyond it, the chain
 *                     `refused` counts and drops.  A change of the rate leaves that chain, and so the count, alone
 *
 * Pieces of datagrams that never become whole fill the memory in which the host puts them together again, 4 MiB for all
 * (ip-sysctl, ipfrag_high_thresh), for 30 s.  So the host also drops fragments that come over a link in any way, before
 * it would begin to (agent/supervise/net_rules.c).
 *
 * How many segments a packet has is said by a BPF program of three instructions, as xt_bpf(8)'s match; it is loaded
 * once for all instances (packets_segments(), Linux 5.1).  A kernel without CONFIG_NFT_COMPAT or
 * CONFIG_NETFILTER_XT_MATCH_BPF gets the table without that rule; the supervisor tries it when it starts
 * (net_segments()).
 *
 * The program never gets CAP_NET_ADMIN, so it stays. */
#ifndef TULOU_AGENT_SANDBOX_PACKETS_H
#define TULOU_AGENT_SANDBOX_PACKETS_H

#include "config/limits.h"

#include <stddef.h>
#include <stdint.h>

#define PACKETS_ROOM 2560 /* bytes of a batch, and of its answer */
#define PACKETS_MTU 1500  /* of the link; the kernel's default for veth */

enum packets_form {
	PACKETS_MAKE,	 /* there is none */
	PACKETS_CHANGE,	 /* another rate; -ENOENT where there is no such table */
	PACKETS_REPLACE, /* whatever is there; the count begins anew */
	PACKETS_FORM_COUNT
};

struct packets {
	uint64_t rate;	  /* a second */
	uint64_t refused; /* since the table was made */
	int counts;	  /* the counter was found */
	int segments;	  /* the rule against many in one was found */
};

/* What may be sent at once. */
static inline uint32_t packets_burst(uint64_t rate)
{
	uint64_t n = rate / LIMIT_NET_PACKETS_BURST;

	return n < LIMIT_NET_PACKETS_BURST_MIN ? LIMIT_NET_PACKETS_BURST_MIN
	       : n > UINT32_MAX		       ? UINT32_MAX
					       : (uint32_t)n;
}

/* Loads the program that says a packet's segments: a descriptor, the caller's, or negative errno.  Needs CAP_BPF of the
 * first user namespace; who has the descriptor needs nothing. */
int packets_segments(void);

/* One transaction: its bytes, 0 = no room.  segments: a descriptor from packets_segments(), -1 = without that rule. */
size_t packets_batch(void *room, size_t cap, enum packets_form form, uint64_t rate, int segments);
/* Asks for the table's rules: bytes, 0 = no room. */
size_t packets_question(void *room, size_t cap);
/* Reads one datagram of the answer into *ret: 1 more will come, 0 that was the last, or negative errno. */
int packets_answer(const void *answer, size_t n, struct packets *ret);

/* Asks a set of an inet table, whose elements count and have keys of 32 bits, for one of them: bytes, 0 = no room. */
size_t packets_counter_question(void *room, size_t cap, const char *table, const char *set, uint32_t key);
/* Reads its answer, one datagram: 0 with the packets counted, -ENOENT where there is no such element, or negative
 * errno.
 */
int packets_counter_answer(const void *answer, size_t n, uint64_t *ret);

/* Both on a blocking NETLINK_NETFILTER socket that was made in the instance's network namespace.  0 or negative errno.
 */
int packets_set(int fd, enum packets_form form, uint64_t rate, int segments);
/* -ENOENT when the table is not there, or not whole. */
int packets_get(int fd, struct packets *ret);

#endif
