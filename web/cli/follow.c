/* Waiting for a release that was begun.  Layer web, program tulou. */
#include "web/cli/follow.h"

#include "base/clock.h"
#include "base/json.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/out.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FOLLOW_PAUSE_MS 300
#define FOLLOW_LOST_MS 30000   /* the node may be upgraded meanwhile */
#define FOLLOW_MAX_MS 1800000L /* above any deadline of a roll-out */

/* How it ended, in the words of its event: the newest of the kind that begins so; false when there is none. */
static bool event_text(struct cli *c, const char *kind, const char *begins, char *out, size_t cap)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[160];
	struct cli_request r = {.method = "GET", .path = path, .quiet = true};
	bool found = false;
	json_t *ev;
	size_t i;

	if (cli_app_path(c, path, sizeof path, "/events?limit=50") || cli_request(c, &r, &a))
		return false;
	json_array_foreach(json_object_get(a.json, "items"), i, ev)
	{
		if (strcmp(cli_str(ev, "kind"), kind) != 0 || strncmp(cli_str(ev, "text"), begins, strlen(begins)) != 0)
			continue;
		snprintf(out, cap, "%s", cli_str(ev, "text"));
		found = true;
	}
	return found;
}

/* A live release of which nothing runs or answers is said to be so, in the node's words. */
static void say_live(struct cli *c, double version)
{
	char text[400], begins[32], plain[40];

	snprintf(begins, sizeof begins, "v%.0f ", version);
	snprintf(plain, sizeof plain, "v%.0f is live", version);
	if (event_text(c, "deploy.succeeded", begins, text, sizeof text) && strcmp(text, plain) != 0)
		cli_say("%s\n", text);
	else
		cli_say("v%.0f is the live release of %s\n", version, c->app_name);
}

static int follow_end(struct cli *c, json_t *release, bool quiet)
{
	double version = cli_num(release, "version");
	const char *state = cli_str(release, "state");
	char why[600], begins[32];

	if (c->json && !quiet)
		cli_json(release);
	if (strcmp(state, "live") == 0) {
		if (!c->json && !quiet)
			say_live(c, version);
		return CLI_OK;
	}
	if (strcmp(state, "failed") != 0)
		return cli_fail(CLI_FAILED, "v%.0f was ended, or another took its place, before it was live", version);
	snprintf(begins, sizeof begins, "v%.0f failed: ", version);
	if (!event_text(c, "deploy.failed", begins, why, sizeof why))
		snprintf(why, sizeof why, "%sits log and `tulou events` say why", begins);
	if (strstr(why, "the app was paused"))
		return cli_fail(CLI_FAILED, "%s\nThe release before it stays the live one: tulou apps resume %s", why,
				c->app_name);
	return cli_fail(CLI_FAILED, "%s\nThe release before it serves on.", why);
}

/* A release that becomes the canary is pending for as long as it is one. */
static bool is_canary(struct cli *c, double version)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[160];
	struct cli_request r = {.method = "GET", .path = path, .quiet = true};

	return !cli_app_path(c, path, sizeof path, "/canary") && !cli_request(c, &r, &a) &&
	       json_is_number(json_object_get(a.json, "version")) && cli_num(a.json, "version") == version;
}

static int follow(struct cli *c, json_t *release, bool quiet)
{
	double version = cli_num(release, "version");
	int64_t begun = clock_mono_us(), seen = begun;
	char path[160], rest[48];
	struct cli_request r = {.method = "GET", .path = path, .quiet = true};

	if (cli_value(c, "no-wait") && (c->json || quiet)) {
		if (!quiet)
			cli_json(release);
		return CLI_OK;
	}
	if (!c->json && !quiet)
		cli_say("Rolling out v%.0f: %s\n", version, cli_str(release, "note"));
	if (cli_value(c, "no-wait")) {
		cli_say("It may fail yet: `tulou events -a %s` says how it ended\n", c->app_name);
		return CLI_OK;
	}
	fflush(stdout);
	snprintf(rest, sizeof rest, "/releases/%.0f", version);
	if (cli_app_path(c, path, sizeof path, rest))
		return CLI_USAGE;
	for (;;) {
		OWN_ANSWER struct cli_answer a = {0};
		int code = cli_request(c, &r, &a);
		int64_t now = clock_mono_us();

		if (!code && strcmp(cli_str(a.json, "state"), "pending") != 0)
			return follow_end(c, a.json, quiet);
		if (!code && is_canary(c, version)) {
			if (c->json && !quiet)
				cli_json(a.json);
			else if (!quiet)
				cli_say("v%.0f is the canary of %s: `tulou canary -a %s` shows how it does\n", version,
					c->app_name, c->app_name);
			return CLI_OK;
		}
		if (!code)
			seen = now;
		if ((code && code != CLI_UNREACHABLE) || now - seen > FOLLOW_LOST_MS * 1000 ||
		    now - begun > FOLLOW_MAX_MS * 1000)
			return cli_fail(code ? code : CLI_FAILED,
					"v%.0f goes on, but its end was not seen; look with: tulou events -a %s",
					version, c->app_name);
		usleep(FOLLOW_PAUSE_MS * 1000);
	}
}

int cli_follow(struct cli *c, json_t *release)
{
	return follow(c, release, false);
}

int cli_follow_quiet(struct cli *c, json_t *release)
{
	return follow(c, release, true);
}
