/* The writable layer of an instance, and the repository of an app.  Layer agent, supervisor process. */
#include "agent/supervise/layer.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LAYER_AGAIN_US 20000 /* between two steps of a count that was cut off */

bool instance_has_layer(uint32_t kind)
{
	return kind == MSG_KIND_APP || kind == MSG_KIND_BUILD || kind == MSG_KIND_RUN;
}

int layer_make(struct instance *in, int *ret, struct err *e)
{
	const struct quota_limits *l = &in->rec.limits;
	struct tenant *t = tenant_get(in->s, in->rec.m.slot);

	*ret = -1;
	if (!instance_has_layer(in->rec.m.kind))
		return 0;
	if (t)
		t->share.told = 0; /* told anew here, by what is free now */
	return disk_make(in->s->disk, DISK_LAYER, in->rec.m.instance, in->rec.m.slot, in->rec.m.kind != MSG_KIND_BUILD,
			 l->disk, l->inodes, ret, e);
}

int layer_room(const struct supervise *s, struct err *e)
{
	struct statvfs v;
	uint64_t left;

	if (fstatvfs(s->tree.releases, &v) < 0)
		return 0;
	left = (uint64_t)v.f_bavail * v.f_frsize;
	return left >= LIMIT_DATA_RESERVE
		       ? 0
		       : err_set(e, ENOSPC,
				 "the disk of the node has only %ju MiB free: remove apps, or make room on %s",
				 (uintmax_t)left >> 20, s->settings.data);
}

static bool counts(const struct instance *in)
{
	return in->disk.behind && (in->state == INSTANCE_RUNNING || in->state == INSTANCE_STOPPING);
}

/* One step of one count: those cut off take turns, because usage.c moves instances through the list. */
static void on_again(void *arg)
{
	struct supervise *s = arg;
	struct instance *in = NULL, *next = NULL;
	struct msg_usage u;

	TAILQ_FOREACH(in, &s->living, link)
	{
		if (counts(in) && next) {
			loop_timer_start(s->loop, &s->disk_timer, LAYER_AGAIN_US, on_again, s);
			break;
		}
		if (counts(in))
			next = in;
	}
	if (next)
		layer_sample(next, &u);
}

void layer_sample(struct instance *in, struct msg_usage *u)
{
	const struct quota_limits *l = &in->rec.limits;
	struct disk_usage use;

	u->disk = u->inodes = 0;
	if (!instance_has_layer(in->rec.m.kind) ||
	    disk_sample(in->s->disk, DISK_LAYER, in->rec.m.instance, l->disk, l->inodes, &in->disk, &use) < 0) {
		in->disk.behind = false;
		return;
	}
	u->disk = use.bytes;
	u->inodes = use.inodes;
	if (counts(in) && !loop_timer_pending(&in->s->disk_timer))
		loop_timer_start(in->s->loop, &in->s->disk_timer, LAYER_AGAIN_US, on_again, in->s);
}

int layer_change(struct instance *in)
{
	const struct quota_limits *l = &in->rec.limits;
	int r;

	if (!instance_has_layer(in->rec.m.kind))
		return 0;
	r = disk_limit(in->s->disk, DISK_LAYER, in->rec.m.instance, l->disk, l->inodes);
	in->disk.frozen = false; /* the next sample stops it again if it must */
	return r == -ENOENT ? 0 : r;
}

void layer_drop(struct instance *in)
{
	if (instance_has_layer(in->rec.m.kind) && disk_bounds(in->s->disk) &&
	    disk_retire(in->s->disk, DISK_LAYER, in->rec.m.instance) == 0)
		remove_layers(in->s);
}

int layer_repo(struct supervise *s, uint64_t app, uint32_t uid_base, int *ret, struct err *e)
{
	OWN_FD int fd = -1;
	uint32_t uid = uid_base + TREE_UID;
	int r;

	if (!disk_bounds(s->disk) || tree_has_repo(&s->tree, app))
		return tree_open(&s->tree, MSG_KIND_GIT, app, 0, uid_base, ret, e);
	r = disk_open(s->disk, DISK_REPO, app, &fd);
	if (r == -ENOENT)
		r = disk_make(s->disk, DISK_REPO, app, (uid_base - s->settings.uid_base) / LIMIT_UID_RANGE, false,
			      LIMIT_REPO_BYTES, LIMIT_TREE_ENTRIES, &fd, e);
	else if (r < 0)
		err_set(e, -r, "cannot open the repository: %s", strerror(-r));
	if (r < 0)
		return r;
	if (fchownat(fd, "", uid, uid, AT_EMPTY_PATH) < 0)
		return err_errno(e, "cannot give the repository its owner");
	*ret = TAKE_FD(fd);
	return 0;
}

struct repos {
	struct supervise *s;
	void (*fn)(void *arg, uint64_t app);
	void *arg;
};

/* With project quotas both folders are the same. */
static void repos_one(void *arg, uint64_t app)
{
	const struct repos *r = arg;

	if (!tree_has_repo(&r->s->tree, app))
		r->fn(r->arg, app);
}

void layer_repos(struct supervise *s, void (*fn)(void *arg, uint64_t app), void *arg)
{
	struct repos r = {s, fn, arg};

	tree_each(&s->tree, MSG_REMOVE_REPO, fn, arg);
	disk_each(s->disk, DISK_REPO, repos_one, &r);
}
