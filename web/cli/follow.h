/* Waiting for a release that was begun.  Layer web, program tulou. */
#ifndef TULOU_WEB_CLI_FOLLOW_H
#define TULOU_WEB_CLI_FOLLOW_H

struct cli;

#include <jansson.h>

/* Follows the release that the answer names ({"version","note"}) until it is live, the canary, or has failed, and
 * prints that; with
 * --json the release as it is then.  With --no-wait only that it began.  CLI_OK, CLI_FAILED with the printed reason, or
 * CLI_UNREACHABLE. */
int cli_follow(struct cli *c, json_t *release);
/* The same, but prints only why it failed. */
int cli_follow_quiet(struct cli *c, json_t *release);

#endif
