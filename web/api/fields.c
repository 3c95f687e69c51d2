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

	if (!v)
		return 0;
	if (!json_is_number(v))
		return err_field(e, EINVAL, key, "%s: expected a number of cores, like 0.5", key);
	cores = json_number_value(v);
	milli = round(cores * 1000);
	if (milli < min || milli > max)
		return err_field(e, ERANGE, key, "%s: %g is outside %g..%g cores", key, cores, min / 1000.0,
				 max / 1000.0);
	*ret = (uint32_t)milli;
	return 0;
}

json_t *fields_limits(const struct model_limits *l)
{
	return json_pack("{s:I, s:I, s:o, s:I, s:I}", "memory_bytes", (json_int_t)l->memory, "disk_bytes",
			 (json_int_t)l->disk, "cpu", fields_cpu(l->cpu), "pids", (json_int_t)l->pids, "nofile",
			 (json_int_t)l->nofile);
}

int fields_get_limits(json_t *obj, const struct model_quota *quota, struct model_limits *ret, struct err *e)
{
	static const char *const keys[] = {"memory_bytes", "disk_bytes", "cpu", "pids", "nofile", NULL};
	struct model_limits l = *ret;
	uint64_t pids = l.pids, nofile = l.nofile;
	int r;

	if ((r = json_only(obj, keys, e)) < 0 ||
	    (r = json_get_bytes(obj, "memory_bytes", false, LIMIT_MEMORY_MIN, LIMIT_MEMORY_MAX, &l.memory, e)) < 0 ||
	    (r = json_get_bytes(obj, "disk_bytes", false, LIMIT_DISK_MIN, LIMIT_DISK_MAX, &l.disk, e)) < 0 ||
	    (r = fields_get_cpu(obj, "cpu", LIMIT_CPU_MIN, LIMIT_CPU_MAX, &l.cpu, e)) < 0 ||
	    (r = json_get_u64(obj, "pids", false, LIMIT_PIDS_MIN, LIMIT_PIDS_MAX, &pids, e)) < 0 ||
	    (r = json_get_u64(obj, "nofile", false, 64, LIMIT_API_NOFILE, &nofile, e)) < 0)
		return r;
	l.pids = (uint32_t)pids;
	l.nofile = (uint32_t)nofile;
	if (json_object_get(obj, "memory_bytes") && l.memory > quota->memory)
		return err_field(e, EDQUOT, "memory_bytes",
				 "memory_bytes: %" PRIu64 " is over the tenant's quota of %" PRIu64, l.memory,
				 quota->memory);
	if (json_object_get(obj, "cpu") && l.cpu > quota->cpu)
		return err_field(e, EDQUOT, "cpu", "cpu: %g is over the tenant's quota of %g", l.cpu / 1000.0,
				 quota->cpu / 1000.0);
	if (json_object_get(obj, "pids") && l.pids > quota->pids)
		return err_field(e, EDQUOT, "pids", "pids: %u is over the tenant's quota of %u", l.pids, quota->pids);
	if (json_object_get(obj, "disk_bytes") && l.disk > quota->disk)
		return err_field(e, EDQUOT, "disk_bytes",
				 "disk_bytes: %" PRIu64 " is over the tenant's quota of %" PRIu64, l.disk, quota->disk);
	*ret = l;
	return 0;
}

json_t *fields_quota(const struct model_quota *q)
{
	return json_pack("{s:I, s:o, s:I, s:I, s:I, s:I}", "memory_bytes", (json_int_t)q->memory, "cpu",
			 fields_cpu(q->cpu), "pids", (json_int_t)q->pids, "apps", (json_int_t)q->apps, "instances",
			 (json_int_t)q->instances, "disk_bytes", (json_int_t)q->disk);
}

int fields_get_quota(json_t *obj, struct model_quota *ret, struct err *e)
{
	static const char *const keys[] = {"memory_bytes", "cpu", "pids", "apps", "instances", "disk_bytes", NULL};
	struct model_quota q = *ret;
	uint64_t pids = q.pids, apps = q.apps, instances = q.instances;
	int r;

	if ((r = json_only(obj, keys, e)) < 0 ||
	    (r = json_get_bytes(obj, "memory_bytes", false, LIMIT_MEMORY_MIN, LIMIT_MEMORY_MAX, &q.memory, e)) < 0 ||
	    (r = json_get_bytes(obj, "disk_bytes", false, LIMIT_DISK_MIN, LIMIT_DISK_MAX, &q.disk, e)) < 0 ||
	    (r = fields_get_cpu(obj, "cpu", LIMIT_CPU_MIN, LIMIT_CPU_MAX, &q.cpu, e)) < 0 ||
	    (r = json_get_u64(obj, "pids", false, LIMIT_PIDS_MIN, LIMIT_API_QUOTA_PIDS, &pids, e)) < 0 ||
	    (r = json_get_u64(obj, "apps", false, 0, LIMIT_APPS, &apps, e)) < 0 ||
	    (r = json_get_u64(obj, "instances", false, 0, LIMIT_INSTANCES, &instances, e)) < 0)
		return r;
	q.pids = (uint32_t)pids;
	q.apps = (uint32_t)apps;
	q.instances = (uint32_t)instances;
	*ret = q;
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
