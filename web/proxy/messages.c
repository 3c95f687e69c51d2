/* Permit tables of the channel between control and a proxy worker.  Layer web, control and proxy. */
#include "web/proxy/messages.h"

#include "base/own.h"

#define RULE(t, len)                                                                                                   \
	{                                                                                                              \
		.type = t, .name = #t, .min = (len), .max = (len)                                                      \
	}

const struct chan_rule proxy_rules_from_control[] = {
	RULE(PROXY_SYNC_BEGIN, 0),
	RULE(PROXY_SYNC_END, 0),
	RULE(PROXY_APP, sizeof(struct proxy_msg_app)),
	RULE(PROXY_APP_DEL, sizeof(struct proxy_msg_id)),
	RULE(PROXY_HOST, sizeof(struct proxy_msg_host)),
	RULE(PROXY_HOST_DEL, sizeof(struct proxy_msg_host)),
	{PROXY_INSTANCE, "PROXY_INSTANCE", sizeof(struct proxy_msg_instance), sizeof(struct proxy_msg_instance), 0, 1},
	RULE(PROXY_INSTANCE_DEL, sizeof(struct proxy_msg_id)),
	RULE(PROXY_BARRIER, sizeof(struct proxy_msg_id)),
	{PROXY_CERT, "PROXY_CERT", sizeof(struct proxy_msg_cert), sizeof(struct proxy_msg_cert), 1, 1},
	RULE(PROXY_CERT_DEL, sizeof(struct proxy_msg_id)),
	RULE(PROXY_TICKETS, sizeof(struct proxy_msg_tickets)),
	RULE(PROXY_CHALLENGE, sizeof(struct proxy_msg_challenge)),
	RULE(PROXY_CHALLENGE_DEL, sizeof(struct proxy_msg_challenge)),
	{PROXY_STAPLE, "PROXY_STAPLE", sizeof(struct proxy_msg_staple), sizeof(struct proxy_msg_staple), 1, 1},
	{PROXY_FRONT, "PROXY_FRONT", sizeof(struct proxy_msg_front), FRONT_MSG_MAX, 0, 0},
	RULE(PROXY_FRONT_DEL, sizeof(struct proxy_msg_id)),
	RULE(PROXY_SPREAD, sizeof(struct proxy_msg_spread)),
	RULE(PROXY_WATCH, sizeof(struct proxy_msg_watch)),
	RULE(PROXY_WATCH_DEL, sizeof(struct proxy_msg_id)),
};
const size_t proxy_rules_from_control_count = ARRAY_LEN(proxy_rules_from_control);

const struct chan_rule proxy_rules_from_proxy[] = {
	RULE(PROXY_BARRIER_DONE, sizeof(struct proxy_msg_id)),
	RULE(PROXY_DRAINED, sizeof(struct proxy_msg_id)),
	RULE(PROXY_WAKE, sizeof(struct proxy_msg_id)),
	RULE(PROXY_FAILING, sizeof(struct proxy_msg_id)),
	{PROXY_WATCH_ROWS, "PROXY_WATCH_ROWS", offsetof(struct proxy_msg_watch_rows, row) + sizeof(struct talk_row),
	 sizeof(struct proxy_msg_watch_rows), 0, 0},
	RULE(PROXY_WATCH_DONE, sizeof(struct proxy_msg_watch_done)),
};
const size_t proxy_rules_from_proxy_count = ARRAY_LEN(proxy_rules_from_proxy);
