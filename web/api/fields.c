/* JSON fields that several resources share.  Layer web, control process. */
#include "web/api/fields.h"

#include "base/clock.h"
#include "base/parse.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

json_t *fields_time(int64_t wall_ms)
{
	char text[25];

	if (wall_ms <= 0)
		return json_null();
	clock_rfc3339(wall_ms, text);
	return json_string(text);
}

json_t *fields_cpu(uint64_t milli)
{
	return json_real((double)milli / 1000);
}

json_t *fields_text(const char *s)
{
	return *s ? fields_safe(s) : json_null();
}

void fields_unknown(const char *name, char out[FIELDS_UNKNOWN])
{
	utf8_escape(out, FIELDS_UNKNOWN, name, strlen(name));
}

json_t *fields_safe(const char *s)
{
	json_t *j = json_string(s);
	char safe[2048];

	if (j)
		return j;
	utf8_escape(safe, sizeof safe, s, strlen(s));
	return json_string(safe);
}

json_t *fields_object(const char *text)
{
	json_t *j = text ? json_loads(text, 0, NULL) : NULL;

	if (json_is_object(j))
		return j;
	json_decref(j);
	return json_object();
}

int fields_get_cpu(json_t *obj, const char *key, uint32_t min, uint32_t max, uint32_t *ret, struct err *e)
{
	json_t *v = json_object_get(obj, key);
	double cores, milli;
	char is[JSON_SHOWN];

	if (!v)
		return 0;
	if (!json_is_number(v))
		return err_field(e, EINVAL, key, "%s: expected a number of cores, like 0.5, not %s", key,
				 json_shown(v, is));
	cores = json_number_value(v);
	milli = round(cores * 1000);
	if (milli < min || milli > max)
		return err_field(e, ERANGE, key, "%s: %g is outside %g..%g cores", key, cores, min / 1000.0,
				 max / 1000.0);
	*ret = (uint32_t)milli;
	return 0;
}

/* One number as JSON: cores as a real number, all others as integers. */
static json_t *number_json(const struct quota_key *k, uint64_t v)
{
	return k->unit == QUOTA_CPU ? fields_cpu(v) : json_integer((json_int_t)v);
}

static json_t *numbers_json(enum quota_of of, const void *p)
{
	json_t *o = json_object();
	const struct quota_key *k;

	for (unsigned i = 0; (k = quota_key(i)); i++)
		if (quota_has(k, of))
			json_object_set_new(o, k->json, number_json(k, quota_get(k, of, p)));
	return o;
}

/* Reads what obj has over *ret; unknown keys are refused. */
static int numbers_read(json_t *obj, enum quota_of of, void *ret, struct err *e)
{
	const char *known[QUOTA_KEYS_MAX + 1];
	const struct quota_key *k;
	unsigned n = 0;
	int r;

	for (unsigned i = 0; (k = quota_key(i)); i++)
		if (quota_has(k, of))
			known[n++] = k->json;
	known[n] = NULL;
	if ((r = json_only(obj, known, e)) < 0)
		return r;
	for (unsigned i = 0; (k = quota_key(i)); i++) {
		uint64_t v = 0;
		uint32_t cpu = 0;
		if (!quota_has(k, of) || !json_object_get(obj, k->json))
			continue;
		if (k->unit == QUOTA_CPU) {
			r = fields_get_cpu(obj, k->json, (uint32_t)k->min, (uint32_t)k->max[of], &cpu, e);
			v = cpu;
		} else if (k->unit == QUOTA_BYTES || k->unit == QUOTA_RATE) {
			r = json_get_bytes(obj, k->json, false, k->min, k->max[of], &v, e);
		} else {
			r = json_get_u64(obj, k->json, false, k->min, k->max[of], &v, e);
		}
		if (r < 0)
			return r;
		quota_set(k, of, ret, v);
	}
	return 0;
}

json_t *fields_limits(const struct quota_limits *l)
{
	return numbers_json(QUOTA_OF_LIMITS, l);
}

static bool was_asked(void *arg, const char *key)
{
	return json_object_get(arg, key) != NULL;
}

int fields_get_limits(json_t *obj, const struct quota *quota, struct quota_limits *ret, struct err *e)
{
	struct quota_limits l = *ret;
	int r = numbers_read(obj, QUOTA_OF_LIMITS, &l, e);

	if (r == 0 && quota)
		r = quota_within(&l, quota, was_asked, obj, e);
	if (r == 0)
		*ret = l;
	return r;
}

json_t *fields_quota(const struct quota *q)
{
	return numbers_json(QUOTA_OF_TENANT, q);
}

int fields_get_quota(json_t *obj, struct quota *ret, struct err *e)
{
	struct quota q = *ret;
	int r = numbers_read(obj, QUOTA_OF_TENANT, &q, e);

	if (r == 0)
		*ret = q;
	return r;
}

json_t *fields_used(const struct quota *used)
{
	json_t *o = json_object();
	const struct quota_key *k;

	for (unsigned i = 0; (k = quota_key(i)); i++)
		if (quota_has(k, QUOTA_OF_TENANT) &&
		    (k->unit == QUOTA_BYTES || k->unit == QUOTA_COUNT || strcmp(k->name, "cpu") == 0))
			json_object_set_new(o, k->json, number_json(k, quota_get(k, QUOTA_OF_TENANT, used)));
	return o;
}

json_t *fields_egress(const struct quota_egress *g)
{
	json_t *o = json_pack("{s:s}", "mode", quota_egress_name((enum quota_egress_mode)g->mode)), *allow;
	char text[QUOTA_EGRESS_TEXT];

	if (g->mode != QUOTA_EGRESS_LIST)
		return o;
	allow = json_array();
	for (uint32_t i = 0; i < g->count; i++) {
		quota_egress_rule_text(&g->rules[i], text);
		json_array_append_new(allow, json_string(text));
	}
	json_object_set_new(o, "allow", allow);
	return o;
}

json_t *fields_egress_effective(const struct model_tenant *t, const struct model_app *app)
{
	char asked[QUOTA_EGRESS_MAX], given[QUOTA_EGRESS_MAX];
	const char *why = NULL;
	struct quota_egress g;
	json_t *o;

	quota_egress_meet(&t->egress, &app->egress, &g);
	quota_egress_text(&app->egress, asked);
	quota_egress_text(&g, given);
	if (app->profile == QUOTA_PROFILE_STRICT || t->profile == QUOTA_PROFILE_STRICT) {
		g = (struct quota_egress){.mode = QUOTA_EGRESS_NONE};
		why = app->profile == QUOTA_PROFILE_STRICT ? "strict profile" : "the tenant's strict profile";
	} else if (strcmp(asked, given) != 0) {
		why = "the tenant's policy";
	}
	o = fields_egress(&g);
	json_object_set_new(o, "why", why ? json_string(why) : json_null());
	return o;
}

int fields_get_egress(json_t *obj, const char *key, struct quota_egress *ret, struct err *e)
{
	static const char *const keys[] = {"mode", "allow", NULL};
	struct quota_egress g = {0};
	json_t *o = NULL, *allow = NULL, *item;
	const char *mode = NULL;
	char field[64], is[JSON_SHOWN];
	size_t i;
	int r = json_get_obj(obj, key, false, &o, e);

	if (r < 0 || !o)
		return r;
	if ((r = json_only(o, keys, e)) < 0 || (r = json_get_str(o, "mode", true, 32, &mode, e)) < 0 ||
	    (r = json_get_arr(o, "allow", false, &allow, e)) < 0)
		return err_wrap(e, "%s", key);
	g.mode = quota_egress_parse(mode);
	if (g.mode == QUOTA_EGRESS_MODE_COUNT)
		return parse_must_be(mode, "none, public or list", "egress.mode", e);
	if (allow && g.mode != QUOTA_EGRESS_LIST)
		return err_field(e, EINVAL, "egress.allow", "%s.allow: goes with the mode \"list\" only", key);
	if (json_array_size(allow) > LIMIT_EGRESS_RULES)
		return err_field(e, ERANGE, "egress.allow", "%s.allow: at most %d destinations", key,
				 LIMIT_EGRESS_RULES);
	json_array_foreach(allow, i, item)
	{
		snprintf(field, sizeof field, "%s.allow[%zu]", key, i);
		if (!json_is_string(item))
			return err_field(e, EINVAL, field, "%s: must be a string, not %s", field, json_shown(item, is));
		r = quota_egress_rule_parse(json_string_value(item), field, &g.rules[g.count], e);
		if (r < 0)
			return r;
		if (quota_egress_is_closed(&g.rules[g.count]))
			return err_field(
				e, EINVAL, field,
				"%s: %s lies in a range that stays closed whatever the policy says (this host's, "
				"private, link-local and multicast addresses); apps of one tenant reach each other "
				"without a rule",
				field, json_string_value(item));
		g.count++;
	}
	*ret = g;
	return 0;
}

int fields_get_profile(json_t *obj, const char *key, uint32_t *ret, struct err *e)
{
	const char *name = NULL;
	enum quota_profile p;
	int r = json_get_str(obj, key, false, 32, &name, e);

	if (r < 0 || !name)
		return r;
	p = quota_profile_parse(name);
	if (p == QUOTA_PROFILE_COUNT)
		return parse_must_be(name, "default or strict", key, e);
	*ret = p;
	return 0;
}

json_t *fields_release(const struct model_release *r)
{
	return json_pack("{s:I, s:s, s:o, s:I, s:o, s:o}", "version", (json_int_t)r->version, "state",
			 model_release_state_name(r->state), "note", fields_safe(r->note), "build",
			 (json_int_t)r->build, "types", fields_object(r->types_json), "created_at",
			 fields_time(r->created_ms));
}

json_t *fields_build(const struct model_build *b)
{
	return json_pack("{s:I, s:s, s:s, s:o, s:o, s:o, s:I, s:o, s:o}", "id", (json_int_t)b->id, "state",
			 model_build_state_name(b->state), "source", b->source, "commit", fields_text(b->commit),
			 "buildpack", fields_text(b->buildpack), "error", fields_text(b->error), "size_bytes",
			 (json_int_t)b->bytes, "created_at", fields_time(b->created_ms), "finished_at",
			 fields_time(b->finished_ms));
}

json_t *fields_formation(struct store *s, int64_t app)
{
	struct model_formation rows[LIMIT_TYPES * 2];
	int n = store_formation_get(s, app, rows, LIMIT_TYPES * 2, NULL);
	json_t *j = json_object();

	for (int i = 0; i < n; i++)
		json_object_set_new(j, rows[i].type, json_integer(rows[i].count));
	return j;
}

bool fields_page_read(struct exchange *x, struct fields_page *p)
{
	uint64_t limit = 100, after = UINT64_MAX;

	if (!api_query_u64(x, "limit", 1, LIMIT_API_PAGE, &limit) || !api_query_u64(x, "after", 0, INT64_MAX, &after))
		return false;
	*p = (struct fields_page){
		.limit = (unsigned)limit, .after = after == UINT64_MAX ? -1 : (int64_t)after, .api = x->api};
	p->items = json_array();
	return true;
}

int fields_page_add(struct fields_page *p, int64_t id, json_t *item)
{
	json_array_append_new(p->items, item);
	p->last = id;
	p->count++;
	return 0;
}

bool fields_page_full(const struct fields_page *p)
{
	return p->count >= p->limit;
}

void fields_page_answer(struct exchange *x, struct fields_page *p, bool more)
{
	char next[24];

	snprintf(next, sizeof next, "%" PRId64, p->last);
	api_answer_json(x, 200,
			json_pack("{s:o, s:o}", "items", p->items, "next", more ? json_string(next) : json_null()));
}
