/* Between disk.c and its backends.  Layer agent, supervisor process. */
#ifndef TULOU_AGENT_SUPERVISE_DISK_BACKEND_H
#define TULOU_AGENT_SUPERVISE_DISK_BACKEND_H

#include "agent/supervise/disk.h"

struct disk;

struct disk_backend {
	const char *name;
	/* Looks whether it can be had; text says what is there.  Changes nothing. */
	int (*probe)(const struct settings *s, char *text, size_t cap, struct err *e);
	/* Fills d->root, below which the directories lie, and what the backend keeps. */
	int (*open)(struct disk *d, const struct settings *s, struct err *e);
	/* Unmounts and waits; d->root and the kinds' directories are closed. */
	int (*close)(struct disk *d, struct err *e);
	/* An empty directory name below dir, of the tenant with this slot, app: of what runs; bounded by limit() next.
	 */
	int (*make)(struct disk *d, int dir, const char *name, uint32_t slot, bool app, struct err *e);
	int (*limit)(struct disk *d, int fd, uint64_t bytes, uint32_t inodes);
	int (*sample)(struct disk *d, int fd, uint64_t bytes, uint32_t inodes, struct disk_watch *w,
		      struct disk_usage *ret);
	int (*remove)(struct disk *d, int dir, const char *name);
	/* After removals: takes back what the kernel keeps of them.  May be NULL. */
	void (*tidy)(struct disk *d);
	/* disk_share(); NULL where a tenant's total is not bounded. */
	int (*share)(struct disk *d, uint32_t slot, size_t tenants, struct disk_share *s);
};

struct disk {
	const struct disk_backend *backend;
	char data[sizeof((struct settings *)0)->data];
	int root;		   /* owned directory; -1 = memory */
	int dirs[DISK_KIND_COUNT]; /* owned directories */
	char uuid[40];		   /* btrfs: of the pool */
	size_t tenants;		   /* of the last disk_share() */
	int loop;		   /* btrfs, owned: the pool's loop device */
};

extern const struct disk_backend disk_quota, disk_btrfs;

/* disk_pool.c: the pool's file, its loop device and its mount. */
#define DISK_POOL_FILE "pool.img"
#define DISK_POOL_MOUNT "pool"
/* Bytes that a new pool gets (whole MiB); -ENOSPC with e naming disk.pool. */
int disk_pool_size(const struct settings *s, uint64_t *ret, struct err *e);
/* Makes the file when there is none, attaches and mounts it, lets it grow to settings->disk_pool. */
int disk_pool_open(struct disk *d, const struct settings *s, struct err *e);
/* To settings->disk_pool, when that is more than it has. */
int disk_pool_grow(struct disk *d, const struct settings *s, struct err *e);
int disk_pool_close(struct disk *d, struct err *e);
/* Path of mkfs.btrfs, NULL when there is none. */
const char *disk_pool_mkfs(void);

#endif
