/* Config vars.  Layer web, control process. */
#include "base/own.h"
#include "base/utf8.h"
#include "web/api/apps.h"
#include "web/api/fields.h"
#include "web/api/route.h"

#include <errno.h>
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

/* Writes the vars that differ; "Set config A, B" into note. */
static int config_write(struct exchange *x, json_t *from, json_t *to, json_t *patch, struct buf *note, struct err *e)
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
		if (note)
			buf_printf(note, "%s%s", count ? ", " : "Set config ", key);
		count++;
	}
	return count;
}

void api_config_patch(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;
	OWN_JSON json_t *now = NULL, *all = NULL;
	OWN_BUF struct buf note;
	struct err e = {0};
	uint32_t version;
	int changed;

	buf_init(&note, 255); /* a longer list of names is cut */
	now = config_json(x, &e);
	all = now ? config_merge(now, x->json, &e) : NULL;
	changed = all ? config_write(x, now, all, x->json, &note, &e) : -1;
	/* The running app gets its vars with a new release; while none can be made, they stay as they are. */
	if (changed > 0 && x->app.release &&
	    ops->release_new(ops->ctx, x->app.id, 0, false, note.data ? note.data : "Set config", &version, &e) < 0) {
		config_write(x, all, now, x->json, NULL, NULL);
		changed = -1;
	}
	if (changed < 0) {
		api_answer_err(x, &e);
		return;
	}
	if (changed > 0)
		apps_changed(x);
	api_config_get(x);
}
