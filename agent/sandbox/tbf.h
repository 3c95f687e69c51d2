/* The rate of one end of a link: one rtnetlink message that puts a token bucket (tc-tbf(8)) there, or changes it.
 * Layer agent/sandbox; the builder, PID 1, and the supervisor for changes while the instance runs. */
#ifndef TULOU_AGENT_SANDBOX_TBF_H
#define TULOU_AGENT_SANDBOX_TBF_H

#include "config/limits.h"

#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Every part is a multiple of four bytes long, as netlink wants it, so there is no padding. */
struct tbf_message {
	struct nlmsghdr h;
	struct tcmsg t;
	struct rtattr kind;
	char kind_text[4];
	struct rtattr options;
	struct rtattr parms;
	struct tc_tbf_qopt qopt;
	struct rtattr rate64;
	uint32_t rate64_value[2];
	struct rtattr burst;
	uint32_t burst_value;
};

/* Bytes that may pass at once: 20 ms of the rate, and never less than two packets of 64 KiB, which the kernel would
 * otherwise have to cut up. */
static inline uint32_t tbf_burst(uint64_t rate)
{
	uint64_t n = rate / 50;

	return n < LIMIT_NET_BURST ? LIMIT_NET_BURST : n > (1u << 30) ? 1u << 30 : (uint32_t)n;
}

/* Bytes that may wait beyond that. */
static inline uint32_t tbf_queue(uint64_t rate)
{
	uint64_t n = rate / 1000 * LIMIT_NET_QUEUE_MS;

	return n < LIMIT_NET_BURST ? LIMIT_NET_BURST : n > LIMIT_NET_QUEUE ? LIMIT_NET_QUEUE : (uint32_t)n;
}

/* rate: bytes a second, at least 1. */
static inline void tbf_set(struct tbf_message *m, int index, uint64_t rate)
{
	*m = (struct tbf_message){
		.h = {.nlmsg_len = sizeof *m,
		      .nlmsg_type = RTM_NEWQDISC,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE},
		.t = {.tcm_ifindex = index, .tcm_parent = TC_H_ROOT},
		.kind = {.rta_len = sizeof m->kind + sizeof m->kind_text, .rta_type = TCA_KIND},
		.kind_text = "tbf",
		.options = {.rta_len = (unsigned short)(sizeof *m - offsetof(struct tbf_message, options)),
			    .rta_type = TCA_OPTIONS},
		.parms = {.rta_len = sizeof m->parms + sizeof m->qopt, .rta_type = TCA_TBF_PARMS},
		.qopt = {.rate = {.linklayer = TC_LINKLAYER_ETHERNET,
				  .rate = rate > UINT32_MAX ? UINT32_MAX : (uint32_t)rate},
			 .limit = tbf_burst(rate) + tbf_queue(rate)},
		.rate64 = {.rta_len = sizeof m->rate64 + sizeof m->rate64_value, .rta_type = TCA_TBF_RATE64},
		.burst = {.rta_len = sizeof m->burst + sizeof m->burst_value, .rta_type = TCA_TBF_BURST},
		.burst_value = tbf_burst(rate),
	};
	memcpy(m->rate64_value, &rate, sizeof rate);
}

/* Takes the bucket away: answered with ENOENT when there is none. */
struct tbf_removal {
	struct nlmsghdr h;
	struct tcmsg t;
};
static inline void tbf_clear(struct tbf_removal *m, int index)
{
	*m = (struct tbf_removal){
		.h = {.nlmsg_len = sizeof *m, .nlmsg_type = RTM_DELQDISC, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.t = {.tcm_ifindex = index, .tcm_parent = TC_H_ROOT},
	};
}

#endif
