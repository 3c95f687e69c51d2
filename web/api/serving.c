/* How the requests of an app are served: the object "serving" of an app.  Layer web, control process. */
#include "web/api/serving.h"

#include "base/parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

json_t *serving_json(struct store *s, int64_t app)
{
	struct model_serving f = {0};
	char access[24] = "off";

	store_serving_get(s, app, &f, NULL);
	if (f.access_log == 1)
		snprintf(access, sizeof access, "all");
	else if (f.access_log)
		snprintf(access, sizeof access, "1/%u", f.access_log);
	return json_pack("{s:i, s:i, s:s, s:s, s:b}", "concurrency", (int)f.concurrency, "drain_seconds",
			 (int)f.drain_s, "rollout", model_rollout_name((enum model_rollout)f.rollout), "access_log",
			 access, "hold", f.hold ? 1 : 0);
}

/* "off", "all", "1/N" */
static int serving_access(const char *text, uint32_t *ret, struct err *e)
{
	char words[48];
	uint64_t n = 0;

	if (strcmp(text, "off") == 0)
		*ret = 0;
	else if (strcmp(text, "all") == 0)
		*ret = 1;
	else if (strncmp(text, "1/", 2) == 0 &&
		 parse_u64(text + 2, strlen(text + 2), 1, LIMIT_ACCESS_PART, "serving.access_log", &n, NULL) == 0)
		*ret = (uint32_t)n;
	else {
		snprintf(words, sizeof words, "off, all, or 1/N with N up to %u", LIMIT_ACCESS_PART);
		return parse_must_be(text, words, "serving.access_log", e);
	}
	return 0;
}

int serving_read(struct store *s, int64_t app, json_t *body, struct model_serving *f, bool *given, struct err *e)
{
	static const char *const keys[] = {"concurrency", "drain_seconds", "rollout", "access_log", "hold", NULL};
	const char *rollout = NULL, *access = NULL;
	uint64_t concurrency, drain;
	json_t *serving = NULL;
	int r = json_get_obj(body, "serving", false, &serving, e);

	*given = serving != NULL;
	if (r < 0 || !serving)
		return r;
	if ((r = store_serving_get(s, app, f, e)) < 0)
		return r;
	concurrency = f->concurrency;
	drain = f->drain_s;
	if ((r = json_only(serving, keys, e)) < 0 ||
	    (r = json_get_u64(serving, "concurrency", false, 0, LIMIT_PROXY_CONCURRENCY, &concurrency, e)) < 0 ||
	    (r = json_get_u64(serving, "drain_seconds", false, 0, LIMIT_DRAIN_S, &drain, e)) < 0 ||
	    (r = json_get_str(serving, "rollout", false, 16, &rollout, e)) < 0 ||
	    (r = json_get_str(serving, "access_log", false, 16, &access, e)) < 0 ||
	    (r = json_get_bool(serving, "hold", false, &f->hold, e)) < 0)
		return r;
	f->concurrency = (uint32_t)concurrency;
	f->drain_s = (uint32_t)drain;
	if (access && (r = serving_access(access, &f->access_log, e)) < 0)
		return r;
	if (rollout && (f->rollout = model_rollout_parse(rollout)) == MODEL_ROLLOUT_COUNT)
		return parse_must_be(rollout, "auto, start-first or hold", "serving.rollout", e);
	return 0;
}
