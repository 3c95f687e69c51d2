/* The node: figures, eligibility, drain, fleet work.  Layer web, control process. */
#include "base/own.h"
#include "base/parse.h"
#include "web/api/apps.h"
#include "web/api/fields.h"
#include "web/api/route.h"
#include "web/api/state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define EPOCH "fleet.epoch"

void api_node_get(struct exchange *x)
{
	api_answer_json(x, 200, api_node_json(x->api));
}

void api_node_history(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;
	uint64_t minutes = 60;

	if (api_query_u64(x, "minutes", 1, 1440, &minutes))
		api_answer_json(x, 200, ops->history(ops->ctx, 0, (unsigned)minutes));
}

/* Every fleet write carries the epoch of its controller; one from before the newest accepted is refused, so that a
 * controller that lost its lease cannot undo its successor's work.  An operator may leave it out. */
static int node_epoch(struct exchange *x, struct err *e)
{
	struct store *s = x->api->config.store;
	OWN_FREE char *text = NULL;
	uint64_t newest = 0, epoch = 0;
	char line[24];
	int r;

	r = json_get_u64(x->json, "epoch", x->who.role == MODEL_ROLE_FLEET, 0, INT64_MAX, &epoch, e);
	if (r < 0)
		return r;
	if (store_meta_get(s, EPOCH, &text, NULL) == 0)
		parse_u64(text, strlen(text), 0, INT64_MAX, EPOCH, &newest, NULL);
	if (!json_object_get(x->json, "epoch"))
		return 0;
	if (epoch < newest)
		return err_field(e, ESTALE, "epoch",
				 "epoch: %" PRIu64 " is older than %" PRIu64 ", the newest accepted", epoch, newest);
	if (epoch == newest)
		return 0;
	snprintf(line, sizeof line, "%" PRIu64, epoch);
	return store_meta_set(s, EPOCH, line, e);
}

static void node_answer(struct exchange *x, unsigned status)
{
	OWN_JSON json_t *node = api_node_json(x->api);
	OWN_FREE char *text = NULL;
	uint64_t epoch = 0;
	json_t *j = json_object();

	if (store_meta_get(x->api->config.store, EPOCH, &text, NULL) == 0)
		parse_u64(text, strlen(text), 0, INT64_MAX, EPOCH, &epoch, NULL);
	json_object_set(j, "eligible", json_object_get(node, "eligible"));
	json_object_set(j, "draining", json_object_get(node, "draining"));
	json_object_set_new(j, "epoch", json_integer((json_int_t)epoch));
	api_answer_json(x, status, j);
}

static void node_set(struct exchange *x, int eligible, int draining, unsigned status)
{
	const struct ops *ops = x->api->config.ops;
	struct err e = {0};

	if (node_epoch(x, &e) < 0 || ops->node_set(ops->ctx, eligible, draining, &e) < 0)
		api_answer_err(x, &e);
	else
		node_answer(x, status);
}

/* Becoming eligible again ends a drain. */
void api_node_eligibility(struct exchange *x)
{
	static const char *const keys[] = {"eligible", "epoch", NULL};
	bool eligible = false;
	struct err e = {0};

	if (json_only(x->json, keys, &e) < 0 || json_get_bool(x->json, "eligible", true, &eligible, &e) < 0)
		api_answer_err(x, &e);
	else
		node_set(x, eligible, eligible ? 0 : -1, 200);
}

void api_node_drain(struct exchange *x)
{
	static const char *const keys[] = {"epoch", NULL};
	struct err e = {0};

	if (!x->json)
		x->json = json_object();
	if (json_only(x->json, keys, &e) < 0)
		api_answer_err(x, &e);
	else
		node_set(x, 0, 1, 202);
}

/* One item of work: 0, or negative errno with why it is refused. */
static int node_work(struct api *a, json_t *item, struct err *e)
{
	static const char *const keys[] = {"op", "app", "formation", NULL};
	const char *op = NULL, *name = NULL;
	struct model_app app;
	json_t *counts = NULL;
	int r;

	if ((r = json_only(item, keys, e)) < 0 || (r = json_get_str(item, "op", true, 32, &op, e)) < 0)
		return r;
	if (strcmp(op, "formation") != 0)
		return parse_must_be(op, "formation", "op", e);
	if ((r = json_get_str(item, "app", true, LIMIT_APP_NAME, &name, e)) < 0 ||
	    (r = json_get_obj(item, "formation", true, &counts, e)) < 0)
		return r;
	if (store_app_find(a->config.store, name, &app, NULL) < 0)
		return err_field(e, ENOENT, "app", "app: there is no app \"%s\"", name);
	return formation_set(a, &app, counts, e);
}

void api_node_work(struct exchange *x)
{
	static const char *const keys[] = {"epoch", "work", NULL};
	json_t *work = NULL, *refused, *item;
	struct err e = {0};
	size_t i;

	if (json_only(x->json, keys, &e) < 0 || json_get_arr(x->json, "work", true, &work, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	if (json_array_size(work) > LIMIT_API_WORK) {
		api_answer_problem(x, 400, "work", "work: %zu items are over the limit of %d", json_array_size(work),
				   LIMIT_API_WORK);
		return;
	}
	if (node_epoch(x, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	refused = json_array();
	json_array_foreach(work, i, item)
	{
		struct err why = {0};
		if (node_work(x->api, item, &why) < 0)
			json_array_append_new(refused, json_pack("{s:I, s:o}", "index", (json_int_t)i, "reason",
								 fields_safe(why.text)));
	}
	api_answer_json(x, 200, json_pack("{s:o}", "refused", refused));
}
