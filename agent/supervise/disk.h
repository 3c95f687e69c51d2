/* Disk of the instances: bounded directories for writable layers and repositories.  Layer agent, supervisor process.
 *
 * A bounded directory has a kind and a number; the backend holds it to bytes and inodes:
 *
 *   quota    a project of ext4's or xfs's project quotas, where the data directory has them: both bounds by the kernel
 *   btrfs    a subvolume with a qgroup, in a pool of our own: <data>/pool.img, mounted in our mount namespace at
 *            <data>/pool.  Bytes (metadata too) by the kernel; inodes are counted, see disk_sample()
 *   memory   none: the sandbox keeps its tmpfs, bounded by its size and charged to the instance's memory
 *
 * A directory that is done with is renamed to <number>.gone at once and removed by a child process. */
#ifndef TULOU_AGENT_SUPERVISE_DISK_H
#define TULOU_AGENT_SUPERVISE_DISK_H

#include "base/err.h"
#include "config/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum disk_kind {
	DISK_LAYER, /* of an instance, by its id; ends with it */
	DISK_REPO,  /* of an app, by its id */
	DISK_KIND_COUNT
};

struct disk;

/* A tenant's part of a btrfs pool: see disk_share(). */
struct disk_share {
	uint64_t used;	/* bytes it holds, what is not written back yet included */
	uint64_t bound; /* bytes it may hold now; 0 = no such bound */
	uint64_t told;	/* what the kernel was told last */
	uint32_t hits;	/* samples in which it held all that the kernel was told */
};

struct disk_usage {
	uint64_t bytes, inodes;
};

/* What disk_sample() remembers of one directory; zero-filled at the beginning. */
struct disk_watch {
	uint64_t next;	   /* inode number from which to count on */
	uint64_t found;	   /* counted so far */
	uint64_t inodes;   /* as last told */
	unsigned samples;  /* since the last whole count */
	bool whole;	   /* this count began at the first inode */
	bool behind;	   /* the count stopped in the middle: ask again soon */
	bool over, frozen; /* more inodes than allowed; growth is stopped for it */
};

/* Opens what settings ask for, making the pool when there is none: blocks for as long as mkfs.btrfs takes.  The btrfs
 * backend moves the calling process into a mount namespace of its own, so it comes before anything whose mounts are
 * cloned later.  0, or negative errno with one sentence in e and nothing half made. */
int disk_new(const struct settings *settings, struct disk **ret, struct err *e);
/* The same by looking only, for --check: 0 with a sentence in text, or negative errno with e. */
int disk_probe(const struct settings *settings, char *text, size_t cap, struct err *e);
/* Frees memory and descriptors; what is mounted stays. */
void disk_leave(struct disk *d);
/* disk_leave() after everything has ended: removes what is gone, unmounts the pool, waits a moment for its loop device
 * to go.  The pool's file stays. */
int disk_teardown(struct disk *d, struct err *e);

const char *disk_backend(const struct disk *d); /* "quota", "btrfs", "memory" */
/* False: directories do not exist (memory), disk_make() gives -1. */
bool disk_bounds(const struct disk *d);

/* Makes an empty directory of a tenant (its slot) with these bounds; app: of something that runs, which must leave the
 * pool's reserve to builds and repositories.  *ret is an O_PATH descriptor owned by the caller, -1 on the memory
 * backend.  -EDQUOT when the pool, or the tenant's part of it, is so full that nothing more may start (e says whose
 * limit, how much is held and how much is free), -EEXIST when it is there. */
int disk_make(struct disk *d, enum disk_kind kind, uint64_t id, uint32_t slot, bool app, uint64_t bytes,
	      uint32_t inodes, int *ret, struct err *e);
/* What a tenant may hold of a pool whose limits add up to more than it: half of what it holds and what is free
 * together, so at most as much as it leaves to the others.  One tenant alone ends at half of the pool, two at a third
 * each, n at 1/(n+1), and as much always stays for the next one (the dynamic thresholds of Choudhury and Hahne, 1998,
 * for shared buffers); never less than such an even part among the `tenants` that live.  The kernel is told less than
 * the bound: what the tenant may take until the next call when all write at once.  To be called for each of them about
 * once a second.  s is zero-filled at first.  0, or -ENOENT where there is no such bound. */
int disk_share(struct disk *d, uint32_t slot, size_t tenants, struct disk_share *s);
/* The same of one that is there; -ENOENT. */
int disk_open(const struct disk *d, enum disk_kind kind, uint64_t id, int *ret);
/* New bounds, at once.  0 also on the memory backend, whose layers keep theirs. */
int disk_limit(struct disk *d, enum disk_kind kind, uint64_t id, uint64_t bytes, uint32_t inodes);
/* What a directory holds.  On btrfs, which cannot bound inodes, they are counted here in steps of LIMIT_DISK_COUNT
 * (w->behind: call again soon); when there are more than allowed the directory may not grow any more, and may again
 * when there are fewer.  -ENOENT when there is none (or memory). */
int disk_sample(struct disk *d, enum disk_kind kind, uint64_t id, uint64_t bytes, uint32_t inodes, struct disk_watch *w,
		struct disk_usage *ret);

/* Takes it out of use; 0 also when there is none. */
int disk_retire(struct disk *d, enum disk_kind kind, uint64_t id);
/* Removes everything that is gone of a kind; slow, for a child process that has called disk_in_child(). */
int disk_remove_gone(struct disk *d, enum disk_kind kind);
/* In a forked child: moves the descriptors needed to 3 and up, and closes all others but the one below `keep`. */
void disk_in_child(struct disk *d, int keep);
/* Retires the layers that keep() does not want; true when anything is gone and waits to be removed. */
bool disk_sweep(struct disk *d, bool (*keep)(void *arg, uint64_t id), void *arg);

/* Calls fn for each directory of a kind that is in use. */
void disk_each(const struct disk *d, enum disk_kind kind, void (*fn)(void *arg, uint64_t id), void *arg);

/* Lets the pool grow to settings->disk_pool, while it is in use; 0 also when it is that large, or there is none. */
int disk_grow(struct disk *d, const struct settings *s, struct err *e);

/* The block device of a pool of our own: 0, or -ENOENT when there is none. */
int disk_device(const struct disk *d, unsigned *major, unsigned *minor);

/* Bytes of the file system that the directories share, and how many are free. */
int disk_room(const struct disk *d, uint64_t *total, uint64_t *free);

#endif
