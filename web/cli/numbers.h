/* Limits, quotas and policies for people: the numbers of config/quota.h.  Layer web, program tulou. */
#ifndef TULOU_WEB_CLI_NUMBERS_H
#define TULOU_WEB_CLI_NUMBERS_H

#include "config/quota.h"

#include <jansson.h>
#include <stdbool.h>

struct cli;
struct cli_table;

/* obj[k->json] as text, "256 MiB"; "-" when it is missing.  Returns out. */
const char *cli_numbers_text(char out[QUOTA_TEXT], const struct quota_key *k, json_t *obj);
/* Each number of obj on a line of its own, its name before it. */
void cli_numbers_print(enum quota_of of, json_t *obj);
/* {"mode":"list","allow":[…]} in words. */
#define CLI_EGRESS_TEXT 1400
const char *cli_numbers_egress(char out[CLI_EGRESS_TEXT], json_t *egress);
/* What an app really has, "none (strict profile)"; of a node that does not say, what it asks for. */
const char *cli_numbers_effective(char out[CLI_EGRESS_TEXT], json_t *app);
/* Whether the tenant's value of this name holds over its plan's. */
bool cli_numbers_own(json_t *tenant, const char *key);
/* A tenant's quota beside what counts against it and what is really used, and whether its plan says so. */
void cli_numbers_shares(struct cli *c, json_t *tenant);
/* What a new quota or plan did to tenants and apps: `lowered`, `raised`, `above` and `over` of the answer
 * (web/api/lowered.h), nothing when there is none.  tenants: apps with whose they are. */
void cli_numbers_lowered(struct cli *c, json_t *answer, bool tenants);
/* A line for each limit of a plan that is above its own quota (`clamped`). */
void cli_numbers_clamped(json_t *plan);

#endif
