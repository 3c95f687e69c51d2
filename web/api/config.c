/* Config vars.  Layer web, control process. */
#include "base/own.h"
#include "base/utf8.h"
#include "web/api/apps.h"
#include "web/api/fields.h"
#include "web/api/route.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static json_t *config_json(struct exchange *x, struct err *e)
{
	OWN_FREE char *text = NULL;

	return store_config_json(x->api->config.store, x->app.id, &text, e) < 0 ? NULL : fields_object(text);
}

void api_config_get(struct exchange *x)
{
	struct err e = {0};
	json_t *j = config_json(x, &e);

	if (j)
		api_answer_json(x, 200, j);
	else
		api_answer_err(x, &e);
}

/* Names are those of a shell; ours cannot be set. */
static int config_key_ok(const char *key, struct err *e)
{
	static const char *const ours[] = {"PORT", "HOST_ADDRESS", NULL};
	size_t n = strlen(key);
	char safe[80];

	utf8_escape(safe, sizeof safe, key, n);
	if (n == 0 || n > LIMIT_CONFIG_KEY || (key[0] >= '0' && key[0] <= '9') ||
	    strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != n)
		return err_field(e, EINVAL, safe,
				 "%s: a name is 1 to %d letters, digits and '_', not beginning with a digit", safe,
				 LIMIT_CONFIG_KEY);
	for (int i = 0; ours[i]; i++)
		if (strcmp(key, ours[i]) == 0)
			return err_field(e, EINVAL, safe, "%s: is set by the node", safe);
	if (strncmp(key, "TULOU_", 6) == 0)
		return err_field(e, EINVAL, safe, "%s: names beginning with TULOU_ are the node's", safe);
	return 0;
}

/* Lays the patch over a copy of the present vars and checks the whole; a new reference or NULL. */
static json_t *config_merge(json_t *now, json_t *patch, struct err *e)
{
	json_t *all = json_copy(now), *value;
	size_t total = 0;
	const char *key;

	json_object_foreach(patch, key, value)
	{
		if (config_key_ok(key, e) < 0)
			goto bad;
		if (json_is_null(value)) {
			json_object_del(all, key);
			continue;
		}
		if (!json_is_string(value)) {
			err_field(e, EINVAL, key, "%s: expected a string, or null to remove it", key);
			goto bad;
		}
		if (json_string_length(value) > LIMIT_CONFIG_VALUE) {
			err_field(e, ERANGE, key, "%s: %zu bytes are over the limit of %d", key,
				  json_string_length(value), LIMIT_CONFIG_VALUE);
			goto bad;
		}
		if (!utf8_valid(json_string_value(value), json_string_length(value))) {
			err_field(e, EINVAL, key, "%s: must be UTF-8 text without NUL", key);
			goto bad;
		}
		json_object_set(all, key, value);
	}
	json_object_foreach(all, key, value) total += strlen(key) + json_string_length(value) + 2;
	if (json_object_size(all) > LIMIT_CONFIG_VARS) {
		err_set(e, ERANGE, "%zu config vars are over the limit of %d", json_object_size(all),
			LIMIT_CONFIG_VARS);
		goto bad;
	}
	if (total > LIMIT_CONFIG_TOTAL) {
		err_set(e, ERANGE, "all config vars together are %zu bytes, over the limit of %d", total,
			LIMIT_CONFIG_TOTAL);
		goto bad;
	}
	return all;
bad:
	json_decref(all);
	return NULL;
}

/* Writes the vars that differ; how many. */
static int config_write(struct exchange *x, json_t *from, json_t *to, json_t *patch, struct err *e)
{
	const char *key;
	json_t *value;
	int count = 0;

	json_object_foreach(patch, key, value)
	{
		json_t *was = json_object_get(from, key), *is = json_object_get(to, key);
		int r;
		if (was == is || (was && is && json_equal(was, is)))
			continue;
		r = store_config_set(x->api->config.store, x->app.id, key, json_string_value(is), e);
		if (r < 0)
			return r;
		count++;
	}
	return count;
}

/* Has the release what it would get now, as far as the patch names it?  A roll-out that failed leaves vars that no
 * release has.  When it cannot be seen: no. */
static bool config_reached(struct exchange *x, const struct model_release *r, json_t *patch)
{
	OWN_JSON json_t *file = r->app_json ? fields_object(r->app_json) : NULL;
	OWN_JSON json_t *has = r->config_json ? fields_object(r->config_json) : NULL, *next = NULL;
	OWN_FREE char *env = json_dumps(json_object_get(file, "env"), JSON_COMPACT);
	OWN_FREE char *text = NULL;
	const char *key;
	json_t *value;

	if (store_config_release(x->api->config.store, x->app.id, env, &text, NULL) < 0)
		return false;
	next = fields_object(text);
	json_object_foreach(patch, key, value)
	{
		json_t *a = json_object_get(has, key), *b = json_object_get(next, key);
		if (a != b && !(a && b && json_equal(a, b)))
			return false;
	}
	return true;
}

/* "Set config A, B": the names that change, or else all that were said. */
static void config_note(json_t *now, json_t *all, json_t *patch, int changed, struct buf *note)
{
	const char *key;
	json_t *value;
	int count = 0;

	json_object_foreach(patch, key, value)
	{
		json_t *was = json_object_get(now, key), *is = json_object_get(all, key);
		if (changed && (was == is || (was && is && json_equal(was, is))))
			continue;
		buf_printf(note, "%s%s", count++ ? ", " : "Set config ", key);
	}
}

/* The release that gives the running app its vars: a new one, or the one under way that has them; 0: none is needed. */
static int config_release(struct exchange *x, json_t *patch, int changed, const char *note, uint32_t *version,
			  struct err *e)
{
	const struct ops *ops = x->api->config.ops;
	int64_t next = x->app.candidate ? x->app.candidate : x->app.release;
	struct model_release r = {0};

	*version = 0;
	if (!x->app.release)
		return 0;
	if (changed == 0 && store_release_get(x->api->config.store, next, &r, NULL) == 0) {
		bool reached = config_reached(x, &r, patch);

		*version = reached && x->app.candidate ? r.version : 0;
		model_release_done(&r);
		if (reached)
			return 0;
	}
	return ops->release_new(ops->ctx, x->app.id, 0, false, note, version, e);
}

void api_config_patch(struct exchange *x)
{
	OWN_JSON json_t *now = NULL, *all = NULL;
	OWN_BUF struct buf note;
	struct err e = {0};
	uint32_t version = 0;
	char text[16];
	int changed;

	buf_init(&note, 255); /* a longer list of names is cut */
	now = config_json(x, &e);
	all = now ? config_merge(now, x->json, &e) : NULL;
	changed = all ? config_write(x, now, all, x->json, &e) : -1;
	if (changed >= 0)
		config_note(now, all, x->json, changed, &note);
	/* While no release can be made, they stay as they are. */
	if (changed >= 0 &&
	    config_release(x, x->json, changed, note.data ? note.data : "Set config", &version, &e) < 0) {
		config_write(x, all, now, x->json, NULL);
		changed = -1;
	}
	if (changed < 0) {
		api_answer_err(x, &e);
		return;
	}
	if (changed > 0)
		apps_changed(x);
	api_config_get(x);
	snprintf(text, sizeof text, "%d", changed);
	api_answer_header(x, "Tulou-Changed", text);
	snprintf(text, sizeof text, "%u", version);
	if (version)
		api_answer_header(x, "Tulou-Release", text);
}
