/* btrfs: each directory is a subvolume with a limit on its qgroup.  Layer agent, supervisor process.
 *
 * Simple quotas (Linux 6.7) where the kernel has them: an extent belongs to the subvolume that wrote it, and metadata
 * counts.  Otherwise full qgroups, which are slower and say the same as long as nothing is shared, and nothing is: an
 * instance sees its layer only through overlayfs, which passes no btrfs ioctl on, so it can make neither subvolumes
 * (whose qgroups nobody would limit) nor snapshots.
 *
 * btrfs bounds no inodes.  Each takes at least 330 bytes of metadata, within the limit of bytes; below that, they are
 * counted: numbers only ever grow, so a sample looks at those made since the last one, and when the sum is over the
 * bound everything is counted anew.  Over it in a whole count, the qgroup's limit is set below what is used: nothing
 * can be written any more (EDQUOT) until so much was removed that a count is under the bound again. */
#include "agent/supervise/disk_backend.h"
#include "base/fd.h"
#include "base/own.h"
#include "base/parse.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#ifndef BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA /* Linux 6.7 */
#define BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA 4
#endif

#define BTRFS_COUNT_BUFFER (64u << 10) /* of one search: about 330 inodes */
#define BTRFS_COUNT_ANEW 12u	       /* samples, about a minute: what was removed shows by then */
#define BTRFS_COUNT_CHEAP 4096u	       /* inodes; more are only counted anew when they matter */
#define BTRFS_TIDY_MAX 65536u	       /* qgroups looked at in one go */

static int btrfs_probe(const struct settings *s, char *text, size_t cap, struct err *e)
{
	char path[sizeof s->data + 16];
	OWN_FREE char *list = NULL;
	struct stat st;
	uint64_t size;

	if (fd_read_file(AT_FDCWD, "/proc/filesystems", 64 << 10, &list, NULL) < 0 || !strstr(list, "\tbtrfs\n"))
		return err_field(e, ENODEV, "disk.backend", "the kernel has no btrfs (modprobe btrfs)");
	snprintf(path, sizeof path, "%s/%s", s->data, DISK_POOL_FILE);
	if (stat(path, &st) == 0) {
		snprintf(text, cap, "btrfs: pool %s of %ju MiB", path, (uintmax_t)st.st_size >> 20);
		return 0;
	}
	if (!disk_pool_mkfs())
		return err_field(e, ENOENT, "disk.backend", "mkfs.btrfs is missing (package btrfs-progs)");
	int r = disk_pool_size(s, &size, e);
	if (r == 0)
		snprintf(text, cap, "btrfs: a pool of %ju MiB will be made in %s", (uintmax_t)size >> 20, s->data);
	return r;
}

static int btrfs_open(struct disk *d, const struct settings *s, struct err *e)
{
	struct btrfs_ioctl_quota_ctl_args simple = {.cmd = BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA};
	struct btrfs_ioctl_quota_ctl_args full = {.cmd = BTRFS_QUOTA_CTL_ENABLE};
	struct btrfs_ioctl_fs_info_args info = {0};
	int r = disk_pool_open(d, s, e);
	char hex[2 * sizeof info.fsid + 1];

	if (r < 0)
		return r;
	/* Both succeed when any kind is on already. */
	if (ioctl(d->root, BTRFS_IOC_QUOTA_CTL, &simple) < 0 && ioctl(d->root, BTRFS_IOC_QUOTA_CTL, &full) < 0)
		return err_errno(e, "cannot switch the pool's quotas on");
	if (ioctl(d->root, BTRFS_IOC_FS_INFO, &info) < 0)
		return err_errno(e, "cannot ask for the pool's name");
	parse_hex(info.fsid, sizeof info.fsid, hex);
	snprintf(d->uuid, sizeof d->uuid, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
	return 0;
}

/* --- who may take how much of the pool ------------------------------------------------------------------------------
 * Above the qgroups of the subvolumes, "0/<subvolume>", are the tenant's, "1/<slot + 1>", whose bound follows what is
 * free (disk_share()), and for what runs "2/1": that one keeps a reserve of the pool for builds and repositories also
 * when several tenants write so fast that their bounds come too late. */

#define BTRFS_APPS (2ull << 48 | 1)
#define BTRFS_RESERVE 8 /* one part in so many of the pool, and LIMIT_POOL_RESERVE */
#define BTRFS_BURST 8	/* one part in so many of what is free may be written in a second by each */
#define BTRFS_BURST_MAX (1ull << 30)
#define BTRFS_MOVED 32 /* one part in so many: a bound that moved by less is not written */

static uint64_t btrfs_tenant_id(uint32_t slot)
{
	return 1ull << 48 | (slot + 1ull);
}

static int btrfs_group(struct disk *d, uint64_t id, uint64_t bytes)
{
	struct btrfs_ioctl_qgroup_create_args make = {.create = 1, .qgroupid = id};
	struct btrfs_ioctl_qgroup_limit_args limit = {.qgroupid = id};

	if (ioctl(d->root, BTRFS_IOC_QGROUP_CREATE, &make) < 0 && errno != EEXIST)
		return -errno;
	limit.lim.flags = BTRFS_QGROUP_LIMIT_MAX_RFER;
	limit.lim.max_rfer = bytes;
	return ioctl(d->root, BTRFS_IOC_QGROUP_LIMIT, &limit) < 0 ? -errno : 0;
}

static uint64_t btrfs_group_number(const struct disk *d, uint64_t id, const char *file)
{
	OWN_FREE char *text = NULL;
	char path[160];

	snprintf(path, sizeof path, "/sys/fs/btrfs/%s/qgroups/%" PRIu64 "_%" PRIu64 "/%s", d->uuid, id >> 48,
		 (uint64_t)(id & ((1ull << 48) - 1)), file);
	return fd_read_file(AT_FDCWD, path, 64, &text, NULL) < 0 ? 0 : strtoull(text, NULL, 10);
}

/* What a group holds, and what was promised to writes that have not reached the disk: the kernel compares both with the
 * limit, and what the file system says of its room knows only the first. */
static uint64_t btrfs_group_used(const struct disk *d, uint64_t id, uint64_t *late)
{
	*late = btrfs_group_number(d, id, "rsv_data");
	return btrfs_group_number(d, id, "referenced") + *late;
}

static uint64_t btrfs_apps_bytes(uint64_t total)
{
	return total - total / BTRFS_RESERVE - LIMIT_POOL_RESERVE;
}

static int btrfs_apps(struct disk *d)
{
	uint64_t total, left;
	int r = disk_room(d, &total, &left);

	return r < 0 ? r : btrfs_group(d, BTRFS_APPS, btrfs_apps_bytes(total));
}

static int btrfs_share(struct disk *d, uint32_t slot, size_t tenants, struct disk_share *s)
{
	uint64_t id = btrfs_tenant_id(slot), total, left, late, all, room, even, gap, step, now;
	int r = disk_room(d, &total, &left);

	if (r < 0)
		return r;
	s->used = btrfs_group_used(d, id, &late);
	all = btrfs_group_used(d, BTRFS_APPS, &late);
	left = left > late ? left - late : 0;
	/* Without the reserve. */
	room = btrfs_apps_bytes(total) > all ? btrfs_apps_bytes(total) - all : 0;
	left = left < room ? left : room;
	even = btrfs_apps_bytes(total) / (tenants + 1); /* there for all at once */
	s->bound = (s->used + left) / 2;
	s->bound = s->bound > even ? s->bound : even;
	s->hits += s->told && s->used > s->told - s->told / BTRFS_MOVED;
	/* All may write at once before the next call. */
	step = left > s->used ? (left - s->used) / (tenants + 1) : 0;
	if (step < left / BTRFS_BURST)
		step = left / BTRFS_BURST < BTRFS_BURST_MAX ? left / BTRFS_BURST : BTRFS_BURST_MAX;
	now = s->used + step;
	now = now < even ? even : now > s->bound ? s->bound : now;
	gap = now > s->told ? now - s->told : s->told - now;
	if (gap <= s->told / BTRFS_MOVED)
		return 0;
	r = btrfs_group(d, id, now);
	if (r == 0)
		s->told = now;
	return r;
}

static int btrfs_make(struct disk *d, int dir, const char *name, uint32_t slot, bool app, struct err *e)
{
	struct {
		struct btrfs_qgroup_inherit head;
		uint64_t parents[2];
	} inherit = {.head = {.num_qgroups = app ? 2 : 1}, .parents = {btrfs_tenant_id(slot), BTRFS_APPS}};
	struct btrfs_ioctl_vol_args_v2 a = {.flags = BTRFS_SUBVOL_QGROUP_INHERIT,
					    .size = sizeof inherit.head + inherit.head.num_qgroups * sizeof(uint64_t)};
	struct disk_share share = {0};
	int r = btrfs_share(d, slot, d->tenants, &share);

	/* The pool may have grown. */
	if (r == 0 && app)
		r = btrfs_apps(d);
	if (r < 0)
		return err_set(e, -r, "cannot bound the tenant's part of the pool: %s", strerror(-r));
	a.qgroup_inherit = &inherit.head;
	snprintf(a.name, sizeof a.name, "%s", name);
	if (ioctl(dir, BTRFS_IOC_SUBVOL_CREATE_V2, &a) == 0)
		return 0;
	if (errno == EROFS || errno == EIO || errno == EUCLEAN)
		return err_errno(e, "the disk pool is damaged (dmesg says more): restart the node");
	return err_errno(e, "cannot make the subvolume %s", name);
}

/* Number of the subvolume that fd lies in; 0 when it cannot be told. */
static uint64_t btrfs_id(int fd)
{
	struct btrfs_ioctl_ino_lookup_args a = {.objectid = BTRFS_FIRST_FREE_OBJECTID};

	return ioctl(fd, BTRFS_IOC_INO_LOOKUP, &a) < 0 ? 0 : a.treeid;
}

static int btrfs_limit_to(const struct disk *d, int fd, uint64_t bytes)
{
	struct btrfs_ioctl_qgroup_limit_args a = {.qgroupid = btrfs_id(fd)};

	a.lim.flags = BTRFS_QGROUP_LIMIT_MAX_RFER;
	a.lim.max_rfer = bytes;
	/* Asked of the pool's root: the call reserves room in the subvolume that it is asked of, and a full one has
	 * none for being given more. */
	return !a.qgroupid || ioctl(d->root, BTRFS_IOC_QGROUP_LIMIT, &a) < 0 ? -errno : 0;
}

static int btrfs_limit(struct disk *d, int fd, uint64_t bytes, uint32_t inodes)
{
	(void)inodes; /* disk_sample() */
	return btrfs_limit_to(d, fd, bytes);
}

/* Counts inodes from w->next on, LIMIT_DISK_COUNT at most. */
static int btrfs_count(int fd, struct disk_watch *w)
{
	static union {
		struct btrfs_ioctl_search_args_v2 a;
		char room[sizeof(struct btrfs_ioctl_search_args_v2) + BTRFS_COUNT_BUFFER];
	} u;
	uint64_t before = w->found;

	w->behind = true;
	while (w->found - before < LIMIT_DISK_COUNT) {
		const char *at = (const char *)u.a.buf;
		/* tree 0 is the one that fd lies in */
		u.a.key = (struct btrfs_ioctl_search_key){
			.min_objectid = w->next,
			.max_objectid = BTRFS_LAST_FREE_OBJECTID,
			.max_offset = UINT64_MAX,
			.max_transid = UINT64_MAX,
			.min_type = BTRFS_INODE_ITEM_KEY,
			.max_type = BTRFS_INODE_ITEM_KEY,
			.nr_items = UINT32_MAX,
		};
		u.a.buf_size = BTRFS_COUNT_BUFFER;
		if (ioctl(fd, BTRFS_IOC_TREE_SEARCH_V2, &u.a) < 0)
			return -errno;
		for (uint32_t i = 0; i < u.a.key.nr_items; i++) {
			struct btrfs_ioctl_search_header h;
			memcpy(&h, at, sizeof h);
			at += sizeof h + h.len;
			w->next = h.objectid + 1;
			w->found += h.type == BTRFS_INODE_ITEM_KEY;
		}
		if (u.a.key.nr_items == 0) {
			w->behind = false;
			return 0;
		}
	}
	return 0;
}

static void btrfs_count_anew(struct disk_watch *w)
{
	w->next = 0;
	w->found = 0;
	w->samples = 0;
	w->whole = true;
}

static int btrfs_watch(const struct disk *d, int fd, uint64_t bytes, uint32_t inodes, struct disk_watch *w)
{
	int r;

	if (!w->behind &&
	    (w->over || w->samples == 0 || (w->samples >= BTRFS_COUNT_ANEW && w->found <= BTRFS_COUNT_CHEAP)))
		btrfs_count_anew(w);
	w->samples++;
	r = btrfs_count(fd, w);
	if (r < 0)
		return r;
	if (w->behind) {
		/* In a first count of many what was seen so far is better than nothing. */
		if (w->found > w->inodes)
			w->inodes = w->found;
		return 0;
	}
	w->inodes = w->found;
	/* Over by what was made since: it may be that others were removed, so the next one is a whole count. */
	w->over = w->found > inodes;
	if (w->over && !w->whole)
		w->behind = true, btrfs_count_anew(w);
	else if (w->over != w->frozen && btrfs_limit_to(d, fd, w->over ? 1 : bytes) == 0)
		w->frozen = w->over;
	if (!w->behind)
		w->whole = false;
	return 0;
}

static int btrfs_sample(struct disk *d, int fd, uint64_t bytes, uint32_t inodes, struct disk_watch *w,
			struct disk_usage *ret)
{
	char path[128];
	OWN_FREE char *text = NULL;
	int r;

	snprintf(path, sizeof path, "/sys/fs/btrfs/%s/qgroups/0_%" PRIu64 "/referenced", d->uuid, btrfs_id(fd));
	r = fd_read_file(AT_FDCWD, path, 64, &text, NULL);
	if (r < 0)
		return r;
	ret->bytes = strtoull(text, NULL, 10);
	r = inodes ? btrfs_watch(d, fd, bytes, inodes, w) : 0;
	ret->inodes = w->inodes;
	return r;
}

static int btrfs_remove(struct disk *d, int dir, const char *name)
{
	struct btrfs_ioctl_vol_args a = {0};

	(void)d;
	snprintf(a.name, sizeof a.name, "%s", name);
	return ioctl(dir, BTRFS_IOC_SNAP_DESTROY, &a) < 0 && errno != ENOENT ? -errno : 0;
}

/* --- what removed subvolumes leave ---------------------------------------------------------------------------------
 * The kernel keeps the qgroup of a subvolume that is gone (with simple quotas it counts what is still being given
 * back). One that no directory of ours has and that counts nothing is removed. */

struct ids {
	uint64_t *list;
	size_t n;
};

static int ids_compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int ids_add(struct ids *s, uint64_t id)
{
	if (s->n >= BTRFS_TIDY_MAX)
		return -ENOBUFS;
	s->list[s->n++] = id;
	return 0;
}

static int tidy_living(const struct disk *d, struct ids *s)
{
	for (size_t k = 0; k < DISK_KIND_COUNT; k++) {
		int fd = openat(d->dirs[k], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		OWN_DIR DIR *list = fd < 0 ? NULL : fdopendir(fd);
		struct dirent *de;
		if (!list) {
			own_close(&fd);
			return -EIO;
		}
		while ((de = readdir(list))) {
			OWN_FD int one = -1;
			if (de->d_name[0] == '.')
				continue;
			one = openat(dirfd(list), de->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
			if (one >= 0 && ids_add(s, btrfs_id(one)) < 0)
				return -ENOBUFS;
		}
	}
	qsort(s->list, s->n, sizeof *s->list, ids_compare);
	return 0;
}

static void btrfs_tidy(struct disk *d)
{
	OWN_FREE uint64_t *memory = calloc(2 * (size_t)BTRFS_TIDY_MAX, sizeof *memory);
	struct ids groups = {memory, 0}, living = {0};
	char path[96];
	struct dirent *de;
	OWN_DIR DIR *list = NULL;

	snprintf(path, sizeof path, "/sys/fs/btrfs/%s/qgroups", d->uuid);
	if (!memory || !(list = opendir(path)))
		return;
	living.list = memory + BTRFS_TIDY_MAX;
	/* The groups first: one made after this is not looked at. */
	while ((de = readdir(list))) {
		uint64_t id;
		if (strncmp(de->d_name, "0_", 2) == 0 &&
		    parse_u64(de->d_name + 2, strlen(de->d_name + 2), BTRFS_FIRST_FREE_OBJECTID, UINT64_MAX, "", &id,
			      NULL) == 0)
			ids_add(&groups, id);
	}
	if (tidy_living(d, &living) < 0)
		return;
	for (size_t i = 0; i < groups.n; i++) {
		struct btrfs_ioctl_qgroup_create_args a = {.create = 0, .qgroupid = groups.list[i]};
		/* -EBUSY while it counts something: a later one finds it. */
		if (!bsearch(&groups.list[i], living.list, living.n, sizeof *living.list, ids_compare))
			ioctl(d->root, BTRFS_IOC_QGROUP_CREATE, &a);
	}
}

const struct disk_backend disk_btrfs = {
	.name = "btrfs",
	.probe = btrfs_probe,
	.open = btrfs_open,
	.close = disk_pool_close,
	.make = btrfs_make,
	.limit = btrfs_limit,
	.sample = btrfs_sample,
	.remove = btrfs_remove,
	.tidy = btrfs_tidy,
	.share = btrfs_share,
};
