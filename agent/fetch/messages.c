/* Permit tables of the channel between control and the fetcher.  Layer agent, both. */
#include "agent/fetch/messages.h"

#include "base/own.h"

const struct chan_rule fetch_rules_fetcher[] = {
	{FETCH_ASK, "fetch", sizeof(struct fetch_ask), sizeof(struct fetch_ask) + LIMIT_FETCH_BODY, 0, 0},
	{FETCH_STATUS, "status", sizeof(struct fetch_status), sizeof(struct fetch_status), 1, 1},
};
const size_t fetch_rules_fetcher_count = ARRAY_LEN(fetch_rules_fetcher);

const struct chan_rule fetch_rules_control[] = {
	{FETCH_ANSWER, "fetched", sizeof(struct fetch_answer), sizeof(struct fetch_answer), 0, 1},
	{FETCH_STATUS_ANSWER, "status told", sizeof(struct fetch_status_answer), sizeof(struct fetch_status_answer), 0,
	 1},
};
const size_t fetch_rules_control_count = ARRAY_LEN(fetch_rules_control);

_Static_assert(sizeof(struct fetch_ask) + LIMIT_FETCH_BODY <= CHAN_BODY_MAX, "fits one message");
