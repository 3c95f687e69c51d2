/* Does everything agree?  Layer agent, control process.
 *
 *   start --MSG_FSCK--> supervisor: compares its records with processes, kernel and disk (agent/supervise/fsck.c)
 *     |                    |  MSG_FSCK_FOUND for each difference, MSG_FSCK_LIST of what it has, MSG_FSCK_DONE
 *     v                    v
 *   database by itself    lists against the database, then the end
 *
 * Channels keep their order, so what the lists show is the state after every launch that was sent before, and before
 * any that is sent later. */
#include "agent/roles/control_core.h"

#include "base/own.h"
#include "base/parse.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FSCK_BUILDS 50 /* newest ones of an app looked at: was it deployed by git? */
#define FSCK_IDS_MAX (4u * LIMIT_INSTANCES + 16u * LIMIT_APPS) /* trees of ten releases an app, and some */
#define FSCK_WAIT_US 120000000				       /* the supervisor walks at most LIMIT_INSTANCES groups */

struct control_fsck {
	struct ops_fsck to;
	uint64_t run;
	bool repair, cancelled;
	unsigned found, repaired;
	struct {
		uint64_t *ids; /* owned, sorted at the end */
		size_t count, cap;
	} lists[MSG_FSCK_KIND_COUNT];
	struct loop_timer deadline;
};

static void fsck_free(struct control *c)
{
	struct control_fsck *f = c->fsck;

	loop_timer_stop(&f->deadline);
	for (unsigned i = 0; i < MSG_FSCK_KIND_COUNT; i++)
		free(f->lists[i].ids);
	free(f);
	c->fsck = NULL;
}

static void fsck_tell(struct control_fsck *f, const char *area, uint64_t id, const char *app, bool repaired,
		      const char *fmt, ...) __attribute__((format(printf, 6, 7)));

static void fsck_tell(struct control_fsck *f, const char *area, uint64_t id, const char *app, bool repaired,
		      const char *fmt, ...)
{
	char text[300];
	va_list ap;
	json_t *j;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	f->found++;
	f->repaired += repaired;
	if (f->cancelled)
		return;
	j = json_pack("{s:s, s:s, s:b}", "area", area, "text", text, "repaired", repaired);
	if (j && id)
		json_object_set_new(j, "id", json_integer((json_int_t)id));
	if (j && app && *app)
		json_object_set_new(j, "app", json_string(app));
	if (j)
		f->to.on_found(f->to.arg, j);
}

static void fsck_end(struct control *c, const char *error)
{
	struct control_fsck *f = c->fsck;

	if (!f->cancelled)
		f->to.on_done(f->to.arg, f->found, f->repaired, error);
	fsck_free(c);
}

static void fsck_on_deadline(void *arg)
{
	fsck_end(arg, "the supervisor did not finish in time");
}

static int fsck_on_store(void *arg, const char *text)
{
	fsck_tell(arg, "database", 0, NULL, false, "%s", text);
	return 0;
}

static int control_fsck_start(void *ctx, bool repair, const struct ops_fsck *to, struct err *e)
{
	static uint64_t runs;
	struct control *c = ctx;
	struct control_fsck *f;
	struct msg_fsck m = {.repair = repair};

	if (!c->synced)
		return err_set(e, EAGAIN, "the node is still starting: try again in a moment");
	if (c->fsck)
		return err_set(e, EBUSY, "a check runs already");
	f = calloc(1, sizeof *f);
	if (!f)
		return err_set(e, ENOMEM, "out of memory");
	*f = (struct control_fsck){.to = *to, .run = c->run << 20 | (++runs & 0xfffff), .repair = repair};
	c->fsck = f;
	m.run = f->run;
	loop_timer_start(c->loop, &f->deadline, FSCK_WAIT_US, fsck_on_deadline, c);
	if (store_check(c->store, fsck_on_store, f, e) < 0) {
		fsck_free(c);
		return -e->code;
	}
	control_send(c, MSG_FSCK, &m, sizeof m, NULL, 0);
	return 0;
}

static void control_fsck_cancel(void *ctx)
{
	struct control *c = ctx;

	if (c->fsck)
		c->fsck->cancelled = true;
}

void control_fsck_init(struct control *c)
{
	c->ops.fsck = control_fsck_start;
	c->ops.fsck_cancel = control_fsck_cancel;
}

void control_fsck_done(struct control *c)
{
	if (c->fsck)
		fsck_free(c);
}

/* --- what the supervisor tells --------------------------------------------------------------------------------------
 */

void control_on_fsck_found(struct control *c, const struct msg_fsck_found *m)
{
	struct control_fsck *f = c->fsck;
	const struct control_instance *ci;
	int64_t id = (int64_t)m->id;

	if (!f || f->run != m->run)
		return;
	ci = map_get(c->instances, &id, sizeof id);
	fsck_tell(f, m->area, m->id, ci ? ci->app->rec.name : NULL, m->repaired != 0, "%.*s", (int)sizeof m->text - 1,
		  m->text);
}

void control_on_fsck_list(struct control *c, const struct msg_fsck_list *m, size_t len)
{
	struct control_fsck *f = c->fsck;
	size_t n = m->count, want;
	uint64_t *fresh;

	if (!f || f->run != m->run || m->kind >= MSG_FSCK_KIND_COUNT || n == 0 || n > MSG_FSCK_IDS_MAX ||
	    len < offsetof(struct msg_fsck_list, ids) + n * sizeof m->ids[0])
		return;
	want = f->lists[m->kind].count + n;
	if (want > FSCK_IDS_MAX)
		return;
	fresh = realloc(f->lists[m->kind].ids, want * sizeof *fresh);
	if (!fresh)
		return;
	memcpy(fresh + f->lists[m->kind].count, m->ids, n * sizeof *fresh);
	f->lists[m->kind].ids = fresh;
	f->lists[m->kind].count = want;
}

static int fsck_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool fsck_has(const struct control_fsck *f, enum msg_fsck_kind kind, uint64_t id)
{
	return f->lists[kind].count &&
	       bsearch(&id, f->lists[kind].ids, f->lists[kind].count, sizeof id, fsck_compare) != NULL;
}

static bool fsck_leaving(const struct control *c, enum msg_remove_kind kind, uint64_t id)
{
	for (unsigned i = 0; i < c->removal_count; i++)
		if (c->removals[i].kind == kind && c->removals[i].id == id)
			return true;
	return false;
}

/* Instances: what the database believes to run and what the supervisor has. */
static void fsck_instances(struct control *c, struct control_fsck *f)
{
	const struct control_instance *ci;
	struct control_app *ca;

	for (size_t i = 0; i < f->lists[MSG_FSCK_INSTANCES].count; i++) {
		uint64_t id = f->lists[MSG_FSCK_INSTANCES].ids[i];
		int64_t key = (int64_t)id;
		struct msg_stop stop = {.instance = id};
		/* A job that ended after the supervisor wrote its list is not left over. */
		if (control_is_job(id) ? map_get(c->jobs, &id, sizeof id) != NULL || control_was_job(c, id)
				       : map_get(c->instances, &key, sizeof key) != NULL)
			continue;
		if (f->repair)
			control_send(c, MSG_STOP, &stop, sizeof stop, NULL, 0);
		fsck_tell(f, "instance", id, NULL, f->repair, "%s %" PRIu64 " runs, but the database does not know it",
			  control_is_job(id) ? "job" : "instance", id);
	}
	TAILQ_FOREACH(ca, &c->all, link)
	{
		TAILQ_FOREACH(ci, &ca->instances, link)
		{
			/* One that was just asked for may still wait in our outbox. */
			if (!ci->known || fsck_has(f, MSG_FSCK_INSTANCES, (uint64_t)ci->rec.id))
				continue;
			fsck_tell(f, "instance", (uint64_t)ci->rec.id, ca->rec.name, false,
				  "%s.%" PRId64 " is %s in the database, but the supervisor does not have it",
				  ci->rec.type, ci->rec.id, model_instance_state_name(ci->rec.state));
		}
	}
}

static int fsck_on_build(void *arg, const struct model_build *b)
{
	bool *pushed = arg;

	*pushed = *pushed || (b->state == MODEL_BUILD_SUCCEEDED && strcmp(b->source, "git") == 0);
	return 0;
}

/* Repositories lie in the pool of the disk, the database does not: a pool that was lost and made anew has none.  What
 * an app runs from is its releases, so nothing stops, but nobody else would notice. */
static void fsck_repos(struct control *c, struct control_fsck *f)
{
	struct control_app *ca;

	TAILQ_FOREACH(ca, &c->all, link)
	{
		bool pushed = false;
		if (ca->deleted || fsck_has(f, MSG_FSCK_REPOS, (uint64_t)ca->rec.id) ||
		    store_build_list(c->store, ca->rec.id, 0, FSCK_BUILDS, fsck_on_build, &pushed, NULL) < 0 || !pushed)
			continue;
		fsck_tell(f, "repository", (uint64_t)ca->rec.id, ca->rec.name, false,
			  "the git repository of %s is missing, though it was deployed by git (was pool.img lost or "
			  "replaced?): its releases are there and run on; the next git push brings the repository "
			  "back, with all history that is pushed",
			  ca->rec.name);
	}
}

/* Stored trees without an owner, and owners without a tree. */
static void fsck_trees(struct control *c, struct control_fsck *f)
{
	struct control_app *ca;

	for (size_t i = 0; i < f->lists[MSG_FSCK_RELEASES].count; i++) {
		uint64_t id = f->lists[MSG_FSCK_RELEASES].ids[i];
		if (store_build_get(c->store, (int64_t)id, NULL, NULL) == 0 || fsck_leaving(c, MSG_REMOVE_RELEASE, id))
			continue;
		if (f->repair)
			control_remove(c, MSG_REMOVE_RELEASE, id);
		fsck_tell(f, "release", id, NULL, f->repair, "the stored tree %" PRIu64 " belongs to no build", id);
	}
	for (size_t i = 0; i < f->lists[MSG_FSCK_REPOS].count; i++) {
		uint64_t id = f->lists[MSG_FSCK_REPOS].ids[i];
		if (store_app_get(c->store, (int64_t)id, NULL, NULL) == 0 || control_app_get(c, (int64_t)id) ||
		    fsck_leaving(c, MSG_REMOVE_REPO, id))
			continue;
		if (f->repair)
			control_remove(c, MSG_REMOVE_REPO, id);
		fsck_tell(f, "repository", id, NULL, f->repair, "the repository %" PRIu64 " belongs to no app", id);
	}
	TAILQ_FOREACH(ca, &c->all, link)
	{
		const struct control_types *needed[] = {&ca->live, &ca->candidate, &ca->canary};
		for (size_t i = 0; i < ARRAY_LEN(needed); i++)
			if (needed[i]->release && !fsck_has(f, MSG_FSCK_RELEASES, (uint64_t)needed[i]->build))
				fsck_tell(f, "release", (uint64_t)needed[i]->build, ca->rec.name, false,
					  "the tree of %s's release v%" PRIu32
					  " is missing: deploy it again, or roll back to another",
					  ca->rec.name, needed[i]->version);
	}
}

static void fsck_logs(struct control *c, struct control_fsck *f)
{
	OWN_DIR DIR *d = opendir(c->log_dir);
	struct dirent *de;

	while (d && (de = readdir(d))) {
		uint64_t id;
		if (parse_u64(de->d_name, strlen(de->d_name), 1, INT64_MAX, "", &id, NULL) < 0 ||
		    store_app_get(c->store, (int64_t)id, NULL, NULL) == 0 || control_app_get(c, (int64_t)id) ||
		    fsck_leaving(c, MSG_REMOVE_LOGS, id))
			continue;
		if (f->repair)
			control_remove(c, MSG_REMOVE_LOGS, id);
		fsck_tell(f, "log", id, NULL, f->repair, "the log folder %" PRIu64 " belongs to no app", id);
	}
}

/* Two living instances with one address would get each other's requests. */
static void fsck_addresses(struct control *c, struct control_fsck *f)
{
	const struct control_instance *ci, *other;
	struct control_app *ca;
	OWN_FREE uint64_t *all = calloc(map_count(c->instances) + 1, sizeof *all);
	size_t n = 0;

	if (!all)
		return;
	TAILQ_FOREACH(ca, &c->all, link)
	{
		TAILQ_FOREACH(ci, &ca->instances, link)
		{
			if (ci->address)
				all[n++] = (uint64_t)ci->address << 32 | (uint32_t)ci->rec.id;
		}
	}
	qsort(all, n, sizeof *all, fsck_compare);
	for (size_t i = 1; i < n; i++) {
		int64_t a = (int64_t)(all[i - 1] & UINT32_MAX), b = (int64_t)(all[i] & UINT32_MAX);
		if (all[i] >> 32 != all[i - 1] >> 32)
			continue;
		ci = map_get(c->instances, &a, sizeof a);
		other = map_get(c->instances, &b, sizeof b);
		fsck_tell(f, "address", (uint64_t)b, ci ? ci->app->rec.name : NULL, false,
			  "instances %" PRId64 " and %" PRId64 " (%s) have one address", a, b,
			  other ? other->app->rec.name : "?");
	}
}

void control_on_fsck_done(struct control *c, const struct msg_fsck_done *m)
{
	struct control_fsck *f = c->fsck;

	if (!f || f->run != m->run)
		return;
	for (unsigned i = 0; i < MSG_FSCK_KIND_COUNT; i++)
		if (f->lists[i].count)
			qsort(f->lists[i].ids, f->lists[i].count, sizeof(uint64_t), fsck_compare);
	fsck_instances(c, f);
	fsck_trees(c, f);
	fsck_repos(c, f);
	fsck_logs(c, f);
	fsck_addresses(c, f);
	if (f->repaired)
		control_event(c, NULL, 0, "node.fsck", "fsck mended %u of %u differences", f->repaired, f->found);
	fsck_end(c, NULL);
}
