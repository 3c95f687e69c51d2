/* Top talkers of an app or of the node: counted while one waits.  Layer web, control process. */
#include "web/api/fields.h"
#include "web/api/route.h"

#include "base/parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TALK_MS 5000   /* how long is counted when nothing is said */
#define TALK_LIMIT 10u /* names of each list */

struct talkers {
	struct exchange *x;
	json_t *result; /* owned */
	bool done;
};

static void talkers_on_result(void *arg, json_t *result)
{
	struct talkers *t = arg;

	t->done = true;
	t->result = result;
	api_wake(t->x);
}

static void talkers_on_wake(struct exchange *x)
{
	struct talkers *t = x->stream;

	if (!t->done)
		return;
	if (t->result)
		api_answer_json(x, 200, t->result);
	else
		api_answer_problem(x, 503, NULL, "out of memory");
	t->result = NULL;
}

static void talkers_on_done(struct exchange *x, bool whole)
{
	const struct ops *ops = x->api->config.ops;
	struct talkers *t = x->stream;

	(void)whole;
	if (!t->done)
		ops->talkers_cancel(ops->ctx, t);
	json_decref(t->result);
	free(t);
}

static const struct exchange_stream talkers_stream = {.on_wake = talkers_on_wake, .on_done = talkers_on_done};

static int talkers_by(const char *text, enum talk_by *ret, struct err *e)
{
	for (enum talk_by by = 0; by < TALK_BY_COUNT; by++)
		if (!text || strcmp(text, talk_by_name(by)) == 0) {
			*ret = by;
			return 0;
		}
	return err_field(e, EINVAL, "by", "by: requests, bytes or time");
}

static void talkers_ask(struct exchange *x, int64_t app)
{
	const struct ops *ops = x->api->config.ops;
	struct ops_talkers ask = {.app = app, .done = talkers_on_result};
	const char *text = api_query(x, "for");
	uint64_t ms = TALK_MS, limit = TALK_LIMIT;
	struct talkers *t;
	struct err e = {0};

	if (!api_query_u64(x, "limit", 1, LIMIT_TALK_ROWS, &limit))
		return;
	if (talkers_by(api_query(x, "by"), &ask.by, &e) < 0 ||
	    (text && parse_duration_ms(text, 1000, LIMIT_TALK_S * 1000, "for", &ms, &e) < 0)) {
		api_answer_err(x, &e);
		return;
	}
	if (!api_stream_count(x))
		return;
	if (!(t = calloc(1, sizeof *t))) {
		api_answer_problem(x, 503, NULL, "out of memory");
		return;
	}
	t->x = x;
	ask.ms = (uint32_t)ms;
	ask.limit = (unsigned)limit;
	ask.arg = t;
	if (ops->talkers(ops->ctx, &ask, &e) < 0) {
		free(t);
		if (e.code == EBUSY)
			api_answer_problem(x, 429, NULL, "%s", e.text);
		else
			api_answer_err(x, &e);
		return;
	}
	api_stream_set(x, &talkers_stream, t);
	if (t->done)
		talkers_on_wake(x);
}

void api_app_talkers(struct exchange *x)
{
	talkers_ask(x, x->app.id);
}

void api_node_talkers(struct exchange *x)
{
	talkers_ask(x, 0);
}
