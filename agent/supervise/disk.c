/* Bounded directories, whatever holds them.  Layer agent, supervisor process. */
#include "agent/supervise/disk.h"

#include "agent/supervise/disk_backend.h"
#include "base/dir.h"
#include "base/fd.h"
#include "base/own.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const char *const dir_names[DISK_KIND_COUNT] = {"layers", "repos"};

#define DISK_SHARE_FULL 32 /* one part in so many of a tenant's bound is left: nothing more of it starts */

static const struct disk_backend disk_memory = {.name = "memory"};

/* The backends that settings allow, in the order in which they are tried. */
static size_t candidates(const struct settings *s, const struct disk_backend *list[2])
{
	switch (s->disk_backend) {
	case SETTINGS_DISK_QUOTA:
		list[0] = &disk_quota;
		return 1;
	case SETTINGS_DISK_BTRFS:
		list[0] = &disk_btrfs;
		return 1;
	case SETTINGS_DISK_MEMORY:
		list[0] = &disk_memory;
		return 1;
	default:
		list[0] = &disk_quota;
		list[1] = &disk_btrfs;
		return 2;
	}
}

/* Why none could be had: all reasons, then what to do. */
static int refuse(const struct disk_backend *const *list, const struct err *why, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (why[i].code == EUCLEAN) { /* what is there is broken: another backend is no answer to that */
			*e = why[i];
			return -EUCLEAN;
		}
	if (n == 1)
		return err_field(e, why[0].code, why[0].field[0] ? why[0].field : "disk.backend", "disk.backend %s: %s",
				 list[0]->name, why[0].text);
	return err_field(
		e, why[1].code, why[1].field[0] ? why[1].field : "disk.backend",
		"nothing bounds what apps write: %s (disk.backend quota), and %s (disk.backend btrfs); mend one "
		"of them, or set disk.backend: memory",
		why[0].text, why[1].text);
}

static int open_dirs(struct disk *d, struct err *e)
{
	for (size_t i = 0; i < DISK_KIND_COUNT; i++) {
		if (mkdirat(d->root, dir_names[i], 0700) < 0 && errno != EEXIST)
			return err_errno(e, "cannot make the directory %s", dir_names[i]);
		d->dirs[i] = openat(d->root, dir_names[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (d->dirs[i] < 0 || fchown(d->dirs[i], 0, 0) < 0 || fchmod(d->dirs[i], 0700) < 0)
			return err_errno(e, "cannot prepare the directory %s", dir_names[i]);
	}
	return 0;
}

static void close_all(struct disk *d)
{
	own_close(&d->root);
	for (size_t i = 0; i < DISK_KIND_COUNT; i++)
		own_close(&d->dirs[i]);
}

int disk_new(const struct settings *s, struct disk **ret, struct err *e)
{
	const struct disk_backend *list[2];
	size_t n = candidates(s, list);
	struct err why[2] = {0};
	struct disk *d = malloc(sizeof *d);

	if (!d)
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		*d = (struct disk){.backend = list[i], .root = -1, .dirs = {-1, -1}, .loop = -1};
		snprintf(d->data, sizeof d->data, "%s", s->data);
		if (list[i] == &disk_memory || (list[i]->open(d, s, &why[i]) == 0 && open_dirs(d, &why[i]) == 0)) {
			*ret = d;
			return 0;
		}
		disk_teardown(d, NULL);
		if (!(d = malloc(sizeof *d)))
			return err_set(e, ENOMEM, "out of memory");
	}
	free(d);
	return refuse(list, why, n, e);
}

int disk_probe(const struct settings *s, char *text, size_t cap, struct err *e)
{
	const struct disk_backend *list[2];
	size_t n = candidates(s, list);
	struct err why[2] = {0};

	for (size_t i = 0; i < n; i++) {
		if (list[i] == &disk_memory) {
			snprintf(text, cap, "memory: what apps write is charged to their memory");
			return 0;
		}
		if (list[i]->probe(s, text, cap, &why[i]) == 0)
			return 0;
	}
	return refuse(list, why, n, e);
}

void disk_leave(struct disk *d)
{
	if (!d)
		return;
	close_all(d);
	own_close(&d->loop);
	free(d);
}

int disk_teardown(struct disk *d, struct err *e)
{
	int r = 0;

	if (!d)
		return 0;
	for (int k = 0; k < DISK_KIND_COUNT; k++)
		if (d->dirs[k] >= 0)
			disk_remove_gone(d, (enum disk_kind)k);
	close_all(d);
	if (d->backend->close)
		r = d->backend->close(d, e);
	disk_leave(d);
	return r;
}

const char *disk_backend(const struct disk *d)
{
	return d->backend->name;
}

bool disk_bounds(const struct disk *d)
{
	return d->root >= 0;
}

static void disk_name(uint64_t id, const char *suffix, char name[40])
{
	snprintf(name, 40, "%" PRIu64 "%s", id, suffix);
}

int disk_room(const struct disk *d, uint64_t *total, uint64_t *free_bytes)
{
	struct statvfs v;

	if (d->root < 0)
		return -ENOENT;
	if (fstatvfs(d->root, &v) < 0)
		return -errno;
	*total = (uint64_t)v.f_blocks * v.f_frsize;
	*free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	return 0;
}

int disk_device(const struct disk *d, unsigned *ret_major, unsigned *ret_minor)
{
	struct stat st;

	if (d->loop < 0)
		return -ENOENT;
	if (fstat(d->loop, &st) < 0)
		return -errno;
	*ret_major = major(st.st_rdev);
	*ret_minor = minor(st.st_rdev);
	return 0;
}

static int open_path(int dir, const char *name, int flags)
{
	int fd = openat(dir, name, flags | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

int disk_share(struct disk *d, uint32_t slot, size_t tenants, struct disk_share *s)
{
	d->tenants = tenants;
	return d->root >= 0 && d->backend->share ? d->backend->share(d, slot, tenants, s) : -ENOENT;
}

/* Somebody has to stop before those that run find no room. */
static int disk_admit(struct disk *d, uint32_t slot, struct err *e)
{
	uint64_t total = 0, left = 0;
	struct disk_share s = {0};

	if (disk_room(d, &total, &left) == 0 && left < LIMIT_POOL_RESERVE)
		return err_set(e, EDQUOT, "the disk of the apps has only %" PRIu64 " of %" PRIu64 " MiB free: %s",
			       left >> 20, total >> 20,
			       d->loop >= 0 ? "raise disk.pool and send SIGHUP" : "make room on node.data");
	if (disk_share(d, slot, d->tenants, &s) == 0 && s.used > s.bound - s.bound / DISK_SHARE_FULL)
		return err_set(
			e, EDQUOT,
			"the tenant's apps hold %" PRIu64 " of the %" PRIu64 " MiB that one tenant may have of the "
			"node's disk now, of which %" PRIu64 " of %" PRIu64 " MiB are free: remove files or stop "
			"instances, or let the operator raise disk.pool",
			s.used >> 20, s.bound >> 20, left >> 20, total >> 20);
	return 0;
}

int disk_make(struct disk *d, enum disk_kind kind, uint64_t id, uint32_t slot, bool app, uint64_t bytes,
	      uint32_t inodes, int *ret, struct err *e)
{
	OWN_FD int fd = -1;
	char name[40];
	int r;

	*ret = -1;
	if (!disk_bounds(d))
		return 0;
	r = disk_admit(d, slot, e);
	if (r < 0)
		return r;
	disk_name(id, "", name);
	r = d->backend->make(d, d->dirs[kind], name, slot, app, e);
	if (r < 0)
		return r;
	fd = open_path(d->dirs[kind], name, O_RDONLY);
	r = fd < 0 ? fd : d->backend->limit(d, fd, bytes, inodes);
	if (r == 0)
		r = *ret = open_path(d->dirs[kind], name, O_PATH);
	if (r < 0) {
		disk_retire(d, kind, id);
		return err_set(e, -r, "cannot bound the disk of %s: %s", name, strerror(-r));
	}
	return 0;
}

int disk_open(const struct disk *d, enum disk_kind kind, uint64_t id, int *ret)
{
	char name[40];

	*ret = -1;
	if (!disk_bounds(d))
		return -ENOENT;
	disk_name(id, "", name);
	int fd = open_path(d->dirs[kind], name, O_PATH);
	if (fd < 0)
		return fd;
	*ret = fd;
	return 0;
}

int disk_limit(struct disk *d, enum disk_kind kind, uint64_t id, uint64_t bytes, uint32_t inodes)
{
	OWN_FD int fd = -1;
	char name[40];

	if (!disk_bounds(d))
		return 0;
	disk_name(id, "", name);
	fd = open_path(d->dirs[kind], name, O_RDONLY);
	return fd < 0 ? fd : d->backend->limit(d, fd, bytes, inodes);
}

int disk_sample(struct disk *d, enum disk_kind kind, uint64_t id, uint64_t bytes, uint32_t inodes, struct disk_watch *w,
		struct disk_usage *ret)
{
	OWN_FD int fd = -1;
	char name[40];

	*ret = (struct disk_usage){0};
	if (!disk_bounds(d))
		return -ENOENT;
	disk_name(id, "", name);
	fd = open_path(d->dirs[kind], name, O_RDONLY);
	return fd < 0 ? fd : d->backend->sample(d, fd, bytes, inodes, w, ret);
}

int disk_grow(struct disk *d, const struct settings *s, struct err *e)
{
	return d->backend == &disk_btrfs ? disk_pool_grow(d, s, e) : 0;
}

int disk_retire(struct disk *d, enum disk_kind kind, uint64_t id)
{
	char from[40], to[40];

	if (!disk_bounds(d))
		return 0;
	disk_name(id, "", from);
	disk_name(id, ".gone", to);
	return renameat2(d->dirs[kind], from, d->dirs[kind], to, RENAME_NOREPLACE) < 0 && errno != ENOENT ? -errno : 0;
}

struct used {
	void (*fn)(void *arg, uint64_t id);
	void *arg;
};

static void used_one(void *arg, uint64_t id, const char *suffix)
{
	const struct used *u = arg;

	if (!*suffix)
		u->fn(u->arg, id);
}

void disk_each(const struct disk *d, enum disk_kind kind, void (*fn)(void *arg, uint64_t id), void *arg)
{
	struct used u = {fn, arg};

	if (disk_bounds(d))
		dir_each_number(d->dirs[kind], used_one, &u);
}

struct gone {
	struct disk *d;
	enum disk_kind kind;
	int first; /* error */
};

static bool is_gone(const char *suffix)
{
	return strcmp(suffix, ".gone") == 0;
}

static void remove_one(void *arg, uint64_t id, const char *suffix)
{
	struct gone *g = arg;
	char name[40];

	if (!is_gone(suffix))
		return;
	disk_name(id, suffix, name);
	int r = g->d->backend->remove(g->d, g->d->dirs[g->kind], name);
	if (r < 0 && !g->first)
		g->first = r;
}

int disk_remove_gone(struct disk *d, enum disk_kind kind)
{
	struct gone g = {d, kind, 0};

	if (!disk_bounds(d))
		return 0;
	int r = dir_each_number(d->dirs[kind], remove_one, &g);
	if (d->backend->tidy)
		d->backend->tidy(d);
	return r < 0 ? r : g.first;
}

void disk_in_child(struct disk *d, int keep)
{
	int *const kept[] = {&d->root, &d->dirs[DISK_LAYER], &d->dirs[DISK_REPO]};
	const unsigned end = 3 + (unsigned)ARRAY_LEN(kept);
	int high[ARRAY_LEN(kept)];

	d->loop = -1;
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		high[i] = fcntl(*kept[i], F_DUPFD_CLOEXEC, keep);
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		*kept[i] = high[i] < 0 ? -1 : dup3(high[i], 3 + (int)i, O_CLOEXEC);
	sys_close_range(end, (unsigned)keep - 2, 0);
	sys_close_range((unsigned)keep, ~0u, 0);
}

struct sweep {
	struct disk *d;
	bool (*keep)(void *arg, uint64_t id);
	void *arg;
	bool found;
};

static void sweep_layer(void *arg, uint64_t id, const char *suffix)
{
	struct sweep *s = arg;

	if (is_gone(suffix) || (!*suffix && !s->keep(s->arg, id) && disk_retire(s->d, DISK_LAYER, id) == 0))
		s->found = true;
}

static void sweep_repo(void *arg, uint64_t id, const char *suffix)
{
	struct sweep *s = arg;

	(void)id;
	s->found |= is_gone(suffix);
}

bool disk_sweep(struct disk *d, bool (*keep)(void *arg, uint64_t id), void *arg)
{
	struct sweep s = {d, keep, arg, false};

	if (!disk_bounds(d))
		return false;
	dir_each_number(d->dirs[DISK_LAYER], sweep_layer, &s);
	dir_each_number(d->dirs[DISK_REPO], sweep_repo, &s);
	return s.found;
}
