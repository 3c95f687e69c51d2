/* The set of instances: what control asks for, what is kept, what is adopted.  Layer agent, supervisor process. */
#include "agent/supervise/supervise.h"

#include "agent/supervise/change.h"
#include "agent/supervise/instance.h"
#include "agent/supervise/private.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/own.h"
#include "base/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TRIES 100 /* of 10 ms: an earlier supervisor's last descriptors close a little after it */
#define MOUNTINFO_MAX (8u << 20)

/* --- start and end -------------------------------------------------------------------------------------------------
 */

static int open_instances(struct supervise *s, struct err *e)
{
	char path[160];
	int r;

	snprintf(path, sizeof path, "%s/instances", s->settings.runtime);
	r = fd_mkdirs(path, 0755);
	if (r < 0)
		return err_set(e, -r, "cannot make %s: %s", path, strerror(-r));
	s->instances_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->instances_dir < 0 || fchown(s->instances_dir, 0, 0) < 0 || fchmod(s->instances_dir, 0700) < 0)
		return err_errno(e, "cannot prepare %s", path);
	for (int i = 0; flock(s->instances_dir, LOCK_EX | LOCK_NB) < 0; i++) {
		if (i == LOCK_TRIES || (errno != EWOULDBLOCK && errno != EINTR))
			return err_field(e, EBUSY, "node.runtime", "another node runs on %s", s->settings.runtime);
		usleep(10000);
	}
	return 0;
}

static int open_cgroup(struct supervise *s, struct err *e)
{
	OWN_FREE char *mountinfo = NULL;
	int r = fd_read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &mountinfo, NULL);

	if (r < 0)
		return err_set(e, -r, "cannot read /proc/self/mountinfo: %s", strerror(-r));
	r = cgroup_new(mountinfo, s->settings.cgroup, false, &s->cgroup, e);
	if (r == 0)
		cgroup_io_path(s->cgroup, s->settings.data);
	return r;
}

static void adopt_one(void *arg, uint64_t id)
{
	struct supervise *s = arg;
	struct record rec;

	/* Without a readable record there is nothing to tell control, and what may run is not known: the sweep ends it.
	 */
	if (record_read(s->instances_dir, id, &rec) < 0)
		record_remove(s->instances_dir, id);
	else
		instance_adopt(s, &rec);
}

static void sweep_group(void *arg, uint32_t slot, uint64_t id)
{
	struct supervise *s = arg;
	const struct instance *in = id == CGROUP_TENANT ? NULL : map_get(s->by_id, &id, sizeof id);
	const struct tenant *t = id == CGROUP_TENANT ? tenant_get(s, slot) : NULL;

	if ((in && in->slot == slot) || (t && t->living))
		return;
	cgroup_kill(s->cgroup, slot, id);
	for (int i = 0; i < 200 && cgroup_remove(s->cgroup, slot, id) == -EBUSY; i++)
		usleep(1000);
}

static bool keep_link(void *arg, const char *name)
{
	struct supervise *s = arg;
	const struct instance *in = NULL;

	TAILQ_FOREACH(in, &s->living, link)
	{
		if (strcmp(in->rec.link, name) == 0)
			return true;
	}
	return false;
}

static bool keep_layer(void *arg, uint64_t id)
{
	struct supervise *s = arg;
	const struct instance *in = map_get(s->by_id, &id, sizeof id);

	return in && in->state != INSTANCE_EXITED;
}

static bool keep_stack(void *arg, const char *name)
{
	struct supervise *s = arg;
	const struct instance *in = NULL;

	if (strcmp(name, s->stack_name) == 0)
		return true;
	TAILQ_FOREACH(in, &s->living, link)
	{
		if (strcmp(in->rec.stack, name) == 0)
			return true;
	}
	return false;
}

static bool storing(void *arg, uint64_t object)
{
	struct supervise *s = arg;
	const struct instance *in = NULL;

	TAILQ_FOREACH(in, &s->living, link)
	{
		if (in->rec.m.kind == MSG_KIND_STORE && in->rec.m.object == object)
			return true;
	}
	return false;
}

static void remove_leftover(void *arg, enum msg_remove_kind kind, uint64_t id)
{
	remove_queue(arg, kind, id, false);
}

static int adopt_all(struct supervise *s, struct err *e)
{
	int r;

	s->quiet = true;
	r = record_each(s->instances_dir, adopt_one, s);
	s->quiet = false;
	if (r < 0)
		return err_set(e, -r, "cannot read the records of running instances: %s", strerror(-r));
	cgroup_each(s->cgroup, sweep_group, s);
	net_links_sweep(&s->net, keep_link, s);
	if (disk_sweep(s->disk, keep_layer, s))
		remove_layers(s);
	stack_sweep(s->settings.data, keep_stack, s);
	tree_leftovers(&s->tree, storing, remove_leftover, s);
	return 0;
}

static void on_private(void *arg);

int supervise_new(struct loop *loop, const struct settings *settings, const char *program_dir,
		  const struct supervise_ops *ops, struct supervise **ret, struct err *e)
{
	struct supervise *s = calloc(1, sizeof *s);
	struct err own = {0};
	int r;

	if (!e)
		e = &own;
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->loop = loop;
	s->settings = *settings;
	s->ops = *ops;
	s->instances_dir = s->stack = -1;
	s->programs = (struct launch_programs)LAUNCH_PROGRAMS_NONE;
	s->tree = (struct tree){-1, -1};
	TAILQ_INIT(&s->living);
	TAILQ_INIT(&s->busy);
	TAILQ_INIT(&s->exited);
	TAILQ_INIT(&s->queue);
	s->by_id = map_new();
	r = s->by_id && tenant_init(s) == 0 && remove_new(s) == 0 ? 0 : err_set(e, ENOMEM, "out of memory");
	if (r == 0)
		r = record_boot(s->boot);
	if (r < 0 && !e->code)
		err_set(e, -r, "cannot read the boot id: %s", strerror(-r));
	if (r == 0)
		r = open_instances(s, e);
	if (r == 0) /* before all that is mounted into instances */
		r = disk_new(settings, &s->disk, e);
	if (r == 0)
		r = launch_load(&s->programs, program_dir, e);
	if (r == 0)
		r = tree_init(&s->tree, settings->data, e);
	if (r == 0)
		r = net_init(&s->net, settings, e);
	if (r == 0) {
		uint32_t names = net_host_address(&s->net);
		s->stack = stack_build(settings->data, program_dir, &names, 1, s->stack_name, e);
		r = s->stack < 0 ? s->stack : 0;
	}
	if (r == 0)
		r = private_new(loop, settings->data, "/usr", s->stack_name, on_private, s, &s->private, e);
	if (r == 0)
		r = open_cgroup(s, e);
	if (r == 0)
		disk_rate_start(s);
	if (r == 0)
		r = adopt_all(s, e);
	if (r == 0) /* after the adoption: the table names the tenants that have instances */
		r = net_setup(&s->net, settings, e);
	if (r == 0 && (usage_start(s) < 0 || confine_start(s) < 0))
		r = err_set(e, ENOMEM, "out of memory");
	if (r < 0) {
		supervise_leave(s);
		return r;
	}
	*ret = s;
	return 0;
}

static void drop_list(struct instance_list *list)
{
	struct instance *in = NULL;

	while ((in = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, in, link);
		instance_drop(in);
	}
}

void supervise_leave(struct supervise *s)
{
	if (!s)
		return;
	usage_stop(s);
	confine_stop(s);
	fsck_stop(s);
	loop_timer_stop(&s->stopped_timer);
	loop_timer_stop(&s->rates_timer);
	loop_timer_stop(&s->rate_timer);
	drop_list(&s->living);
	drop_list(&s->exited);
	remove_free(s);
	private_free(s->private);
	tenant_done(s);
	cgroup_free(s->cgroup);
	net_done(&s->net);
	launch_unload(&s->programs);
	tree_done(&s->tree);
	disk_leave(s->disk);
	own_close(&s->stack);
	own_close(&s->instances_dir);
	map_free(s->by_id);
	free(s);
}

int supervise_teardown(struct supervise *s, struct err *e)
{
	struct instance *in = NULL;
	char path[160];
	int r, first = 0;

	TAILQ_FOREACH(in, &s->exited, link)
	{
		record_remove(s->instances_dir, in->rec.m.instance);
	}
	disk_rate_stop(s);
	cgroup_each(s->cgroup, sweep_group, s);
	r = cgroup_destroy(s->cgroup);
	if (r < 0)
		first = err_set(e, -r, "cannot remove the cgroup %s: %s", s->settings.cgroup, strerror(-r));
	private_close_all(s->private);
	net_links_sweep(&s->net, keep_link, s);
	remove_wait(s);
	r = disk_teardown(s->disk, first ? NULL : e);
	s->disk = NULL;
	if (r < 0 && !first)
		first = r;
	r = net_teardown(&s->net, first ? NULL : e);
	if (r < 0 && !first)
		first = r;
	snprintf(path, sizeof path, "%s/instances", s->settings.runtime);
	if (rmdir(path) < 0 && errno != ENOENT && !first)
		first = err_errno(e, "cannot remove %s", path);
	supervise_leave(s);
	return first;
}

/* --- what control asks for -----------------------------------------------------------------------------------------
 */

static struct instance *find(const struct supervise *s, uint64_t id)
{
	return map_get(s->by_id, &id, sizeof id);
}

static int check_u64(uint64_t v, uint64_t min, uint64_t max, const char *field, struct err *e)
{
	return v >= min && v <= max ? 0
				    : err_field(e, ERANGE, field, "%s is %" PRIu64 ", not %" PRIu64 " to %" PRIu64,
						field, v, min, max);
}

int supervise_check_egress(const struct quota_egress *g, struct err *e)
{
	int r = check_u64(g->mode, 0, QUOTA_EGRESS_MODE_COUNT - 1, "egress", e);

	if (r == 0)
		r = check_u64(g->count, 0, LIMIT_EGRESS_RULES, "egress.count", e);
	for (uint32_t i = 0; r == 0 && i < g->count; i++) {
		const struct quota_egress_rule *one = &g->rules[i];
		r = check_u64(one->prefix, 0, 32, "egress.prefix", e);
		if (r == 0 && (one->port_min > one->port_max || (one->prefix < 32 && one->net << one->prefix)))
			r = err_field(e, EINVAL, "egress", "egress rule %u is not a network with ports", i);
	}
	return r;
}

/* Control is not root: whatever it sends is checked as if it were hostile. */
static int check_launch(const struct supervise *s, const struct msg_launch *m, int blob, size_t n, struct err *e)
{
	bool trees = m->kind == MSG_KIND_APP || m->kind == MSG_KIND_RUN || m->kind == MSG_KIND_STORE;
	uint32_t slots = (UINT32_MAX - s->settings.uid_base) / LIMIT_UID_RANGE;
	struct stat st;
	int r = check_u64(m->instance, 1, INT64_MAX, "instance", e);

	if (r == 0)
		r = check_u64(m->kind, 0, MSG_KIND_COUNT - 1, "kind", e);
	if (r == 0)
		r = check_u64(m->tenant, 1, INT64_MAX, "tenant", e);
	if (r == 0)
		r = check_u64(m->app, 1, INT64_MAX, "app", e);
	if (r == 0)
		r = check_u64(m->object, trees, INT64_MAX, "object", e);
	if (r == 0)
		r = check_u64(m->slot, 0, slots < LIMIT_TENANTS ? slots - 1 : LIMIT_TENANTS - 1, "slot", e);
	if (r == 0)
		r = check_u64(m->profile, 0, QUOTA_PROFILE_COUNT - 1, "profile", e);
	if (r == 0)
		r = check_u64(m->private_layers, 0, 1, "private_layers", e);
	if (r == 0)
		r = check_u64(m->listen_unix, 0, m->kind == MSG_KIND_APP, "listen_unix", e);
	if (r == 0)
		r = quota_check(QUOTA_OF_LIMITS, &m->limits, "", e);
	if (r == 0)
		r = supervise_check_egress(&m->egress, e);
	if (r == 0)
		r = check_u64(m->stdio_count, 0, LAUNCH_STDIO_MAX, "stdio_count", e);
	if (r == 0 && m->stdio_count != n)
		r = err_field(e, EINVAL, "stdio_count", "stdio_count is %u, but %zu descriptors came", m->stdio_count,
			      n);
	if (r == 0 && (!memchr(m->name, 0, sizeof m->name) || parse_name(m->name, LIMIT_APP_NAME, "name", NULL) < 0))
		r = err_field(e, EINVAL, "name", "name is not a DNS label of at most %d characters", LIMIT_APP_NAME);
	if (r == 0 && (!memchr(m->type, 0, sizeof m->type) || parse_name(m->type, LIMIT_TYPE_NAME, "type", NULL) < 0))
		r = err_field(e, EINVAL, "type", "type is not a name of at most %d characters", LIMIT_TYPE_NAME);
	if (r == 0 &&
	    (fstat(blob, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 8 || st.st_size > (off_t)LIMIT_BLOB))
		r = err_field(e, EINVAL, "blob", "argv and environment together must be 8 to %u bytes", LIMIT_BLOB);
	return r;
}

static int check_room(const struct supervise *s, struct err *e)
{
	if (s->stopping)
		return err_set(e, ESHUTDOWN, "the node is stopping");
	if (s->living_count >= LIMIT_INSTANCES)
		return err_set(e, EAGAIN, "the node runs %d instances, its limit", LIMIT_INSTANCES);
	if (s->exited_count >= LIMIT_INSTANCES)
		return err_set(e, EAGAIN, "%d exits wait to be recorded", LIMIT_INSTANCES);
	if (s->queue_count >= LIMIT_LAUNCH_QUEUE)
		return err_set(e, EAGAIN, "%u launches wait already", LIMIT_LAUNCH_QUEUE);
	return 0;
}

void supervise_launch(struct supervise *s, const struct msg_launch *m, int blob, const int *stdio, size_t n)
{
	struct instance *in = find(s, m->instance);
	struct err e = {0};

	if (in) {
		instance_tell(in);
		return;
	}
	if (check_launch(s, m, blob, n, &e) == 0 && check_room(s, &e) == 0)
		in = instance_new(s, m, blob, stdio, &e);
	if (!in) {
		/* Never existed, so nothing is kept: told once. */
		struct msg_instance told = {
			.instance = m->instance,
			.tenant = m->tenant,
			.app = m->app,
			.object = m->object,
			.kind = m->kind,
			.state = MSG_STATE_EXITED,
			.exit = MSG_EXIT_LAUNCH,
			.slot = m->slot,
			.exited_ms = clock_wall_ms(),
		};
		memcpy(told.type, m->type, sizeof told.type - 1);
		snprintf(told.text, sizeof told.text, "%.*s", (int)sizeof told.text - 1, e.text);
		s->ops.on_instance(s->ops.arg, &told);
		return;
	}
	TAILQ_INSERT_TAIL(&s->living, in, link);
	s->living_count++;
	TAILQ_INSERT_TAIL(&s->queue, in, queued);
	s->queue_count++;
	instance_tell(in);
	supervise_turn(s);
}

static void wait_for_private(struct instance *in, bool waits)
{
	if (in->rec.m.waiting == waits)
		return;
	in->rec.m.waiting = waits;
	snprintf(in->rec.m.text, sizeof in->rec.m.text, "%s",
		 waits ? "waits until the private copy of /usr is made" : "");
	instance_tell(in);
}

/* The first one that need not wait for its private copy of /usr; one that begins to wait is told so. */
static struct instance *next_in_queue(struct supervise *s)
{
	struct instance *in = NULL;

	TAILQ_FOREACH(in, &s->queue, queued)
	{
		if (!in->rec.private_layers || private_ask(s->private) != PRIVATE_MAKING)
			break;
		wait_for_private(in, true);
	}
	if (in)
		wait_for_private(in, false);
	return in;
}

/* It is there, or cannot be made: all that waited for it go on, also those for which no builder is free yet. */
static void on_private(void *arg)
{
	struct supervise *s = arg;
	struct instance *in = NULL;

	TAILQ_FOREACH(in, &s->queue, queued)
	wait_for_private(in, false);
	supervise_turn(s);
}

void supervise_turn(struct supervise *s)
{
	struct instance *in = NULL;

	/* A launch that fails at once comes back here: the outer call goes on with the queue. */
	if (s->turning || s->stopping)
		return;
	s->turning = true;
	while (s->building < LIMIT_LAUNCHES && (in = next_in_queue(s))) {
		TAILQ_REMOVE(&s->queue, in, queued);
		s->queue_count--;
		instance_spawn(in);
	}
	s->turning = false;
}

static void on_stopped(void *arg)
{
	struct supervise *s = arg;

	if (s->living_count == 0 && s->on_all_stopped) {
		void (*done)(void *) = s->on_all_stopped;
		s->on_all_stopped = NULL;
		done(s->on_all_stopped_arg);
	}
}

static bool has_private(const struct supervise *s, uint32_t slot)
{
	const struct instance *in = NULL;

	TAILQ_FOREACH(in, &s->living, link)
	{
		if (in->rec.private_layers && in->rec.m.slot == slot)
			return true;
	}
	return false;
}

void supervise_on_exited(struct instance *in)
{
	struct supervise *s = in->s;

	usage_gone(in);
	TAILQ_REMOVE(&s->living, in, link);
	s->living_count--;
	TAILQ_INSERT_TAIL(&s->exited, in, link);
	s->exited_count++;
	if (in->rec.private_layers && !has_private(s, in->rec.m.slot))
		private_close(s->private, in->rec.m.slot);
	if (s->stopping && s->living_count == 0)
		loop_timer_start(s->loop, &s->stopped_timer, 0, on_stopped, s);
}

static void stop_one(struct instance *in, uint32_t grace_ms)
{
	int64_t due = clock_mono_us() + (int64_t)grace_ms * 1000;

	if (in->stop_us && in->stop_us <= due && grace_ms)
		return; /* asked for already, and sooner */
	in->stop_us = due;
	in->grace_ms = grace_ms;
	instance_event(in, INSTANCE_ON_STOP);
}

void supervise_stop(struct supervise *s, uint64_t instance, uint32_t grace_ms)
{
	struct instance *in = find(s, instance);

	if (in)
		stop_one(in, grace_ms);
}

void supervise_forget(struct supervise *s, uint64_t instance)
{
	struct instance *in = find(s, instance);

	if (!in || in->state != INSTANCE_EXITED)
		return;
	record_remove(s->instances_dir, instance);
	map_del(s->by_id, &in->rec.m.instance, sizeof in->rec.m.instance);
	TAILQ_REMOVE(&s->exited, in, link);
	s->exited_count--;
	instance_drop(in);
}

int supervise_disk_grow(struct supervise *s, const struct settings *settings, struct err *e)
{
	return disk_grow(s->disk, settings, e);
}

void supervise_sync(struct supervise *s)
{
	struct instance *in = NULL;

	change_unthrottle(s);
	TAILQ_FOREACH(in, &s->exited, link)
	{
		instance_tell(in);
	}
	TAILQ_FOREACH(in, &s->living, link)
	{
		instance_tell(in);
	}
}

void supervise_reopen_logs(struct supervise *s)
{
	struct instance *in = NULL;

	TAILQ_FOREACH(in, &s->living, link)
	{
		instance_log_open(in);
	}
}

int supervise_remove(struct supervise *s, const struct msg_remove *m)
{
	struct instance *in = NULL;
	int r;

	if ((m->kind != MSG_REMOVE_RELEASE && m->kind != MSG_REMOVE_REPO) || m->id == 0 || m->id > INT64_MAX)
		return -EINVAL;
	TAILQ_FOREACH(in, &s->living, link)
	{
		const struct msg_instance *i = &in->rec.m;
		if (m->kind == MSG_REMOVE_REPO
			    ? i->kind == MSG_KIND_GIT && i->app == m->id
			    : i->kind != MSG_KIND_GIT && i->kind != MSG_KIND_BUILD && i->object == m->id)
			return -EBUSY;
	}
	r = m->kind == MSG_REMOVE_REPO ? disk_retire(s->disk, DISK_REPO, m->id) : 0;
	if (r == 0)
		r = tree_retire(&s->tree, m->kind, m->id);
	return r < 0 ? r : remove_queue(s, m->kind, m->id, true);
}

size_t supervise_living(const struct supervise *s)
{
	return s->living_count;
}

void supervise_stop_all(struct supervise *s, uint32_t grace_ms, void (*done)(void *arg), void *arg)
{
	struct instance *in, *next;

	s->stopping = true;
	s->on_all_stopped = done;
	s->on_all_stopped_arg = arg;
	/* An instance may leave the list as it is stopped, but only itself. */
	for (in = TAILQ_FIRST(&s->living); in; in = next) {
		next = TAILQ_NEXT(in, link);
		stop_one(in, grace_ms);
	}
	if (s->living_count == 0)
		loop_timer_start(s->loop, &s->stopped_timer, 0, on_stopped, s);
}

unsigned supervise_resolvers(const struct supervise *s, uint32_t *ret, unsigned max)
{
	unsigned n = s->net.resolver_count < max ? s->net.resolver_count : max;

	memcpy(ret, s->net.resolvers, n * sizeof *ret);
	return n;
}
