/* The node's check of itself, as lines of JSON.  Layer web, control process. */
#include "web/api/fields.h"
#include "web/api/lines.h"
#include "web/api/route.h"

#include <stdlib.h>

struct fsck {
	struct exchange *x;
	struct lines lines;
	bool done;
};

static void fsck_on_found(void *arg, json_t *json)
{
	struct fsck *f = arg;

	lines_json(&f->lines, json);
	api_wake(f->x);
}

static void fsck_on_done(void *arg, unsigned found, unsigned repaired, const char *error)
{
	struct fsck *f = arg;
	json_t *last = json_pack("{s:i, s:i}", "found", (int)found, "repaired", (int)repaired);

	if (error)
		json_object_set_new(last, "error", fields_safe(error));
	lines_json(&f->lines, last);
	f->done = true;
	api_wake(f->x);
}

static ssize_t fsck_read(struct exchange *x, char *p, size_t max)
{
	struct fsck *f = x->stream;
	ssize_t n = lines_read(&f->lines, p, max);

	return n > 0 ? n : f->done ? -1 : 0;
}

static void fsck_on_end(struct exchange *x, bool whole)
{
	const struct ops *ops = x->api->config.ops;
	struct fsck *f = x->stream;

	(void)whole;
	if (!f->done)
		ops->fsck_cancel(ops->ctx);
	lines_done(&f->lines);
	free(f);
}

static const struct exchange_stream fsck_stream = {.read = fsck_read, .on_done = fsck_on_end};

void api_node_fsck(struct exchange *x)
{
	static const char *const keys[] = {"repair", NULL};
	const struct ops *ops = x->api->config.ops;
	struct err e = {0};
	bool repair = false;
	struct fsck *f;

	if (x->json && (json_only(x->json, keys, &e) < 0 || json_get_bool(x->json, "repair", false, &repair, &e) < 0)) {
		api_answer_err(x, &e);
		return;
	}
	if (!api_stream_count(x) || !(f = calloc(1, sizeof *f)))
		return;
	f->x = x;
	lines_init(&f->lines, "found");
	if (ops->fsck(ops->ctx, repair, &(struct ops_fsck){fsck_on_found, fsck_on_done, f}, &e) < 0) {
		lines_done(&f->lines);
		free(f);
		api_answer_err(x, &e);
		return;
	}
	api_stream_set(x, &fsck_stream, f);
	api_answer_stream(x, "application/x-ndjson");
}
