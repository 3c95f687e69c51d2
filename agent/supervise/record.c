/* What outlives a supervisor.  Layer agent, supervisor process. */
#include "agent/supervise/record.h"

#include "base/dir.h"
#include "base/fd.h"
#include "base/own.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static_assert(sizeof(struct record) < 4096, "one write of less than a page");

int record_boot(char boot[RECORD_BOOT])
{
	OWN_FREE char *text = NULL;
	int r = fd_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", RECORD_BOOT, &text, NULL);

	if (r < 0)
		return r;
	memset(boot, 0, RECORD_BOOT);
	snprintf(boot, RECORD_BOOT, "%.*s", (int)strcspn(text, "\n"), text);
	return 0;
}

static int record_path(uint64_t id, const char *file, char *out, size_t cap)
{
	return snprintf(out, cap, "%" PRIu64 "%s%s", id, *file ? "/" : "", file);
}

int record_make(int dir, uint64_t id, int *status_fd)
{
	char path[64];
	int r;

	r = record_remove(dir, id);
	if (r < 0)
		return r;
	record_path(id, "", path, sizeof path);
	if (mkdirat(dir, path, 0700) < 0)
		return -errno;
	record_path(id, "status", path, sizeof path);
	*status_fd = openat(dir, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*status_fd >= 0)
		return 0;
	r = -errno;
	record_remove(dir, id);
	return r;
}

int record_write(int dir, const struct record *rec)
{
	OWN_FD int fd = -1;
	char path[64];
	ssize_t w;

	record_path(rec->m.instance, "", path, sizeof path);
	if (mkdirat(dir, path, 0700) < 0 && errno != EEXIST)
		return -errno;
	record_path(rec->m.instance, "record", path, sizeof path);
	fd = openat(dir, path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	w = pwrite(fd, rec, sizeof *rec, 0);
	return w < 0 ? -errno : w == sizeof *rec ? 0 : -EIO;
}

/* Reads exactly n bytes of a file that has no more. */
static int record_read_exact(int dir, uint64_t id, const char *file, void *ret, size_t n)
{
	OWN_FD int fd = -1;
	char path[64], more;

	record_path(id, file, path, sizeof path);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	return pread(fd, ret, n, 0) == (ssize_t)n && pread(fd, &more, 1, (off_t)n) == 0 ? 0 : -EBADMSG;
}

/* A record of the version before, whose limits were without packets: what runs goes on over the upgrade. */
static int record_read_before(int dir, uint64_t id, struct record *ret)
{
	const size_t at = offsetof(struct record, limits.net_packets), more = sizeof ret->limits.net_packets;
	char *p = (char *)ret;
	int r = record_read_exact(dir, id, "record", p, sizeof *ret - more);

	if (r < 0)
		return r;
	if (ret->size != sizeof *ret - more)
		return -EBADMSG;
	memmove(p + at + more, p + at, sizeof *ret - more - at);
	ret->limits.net_packets = LIMIT_NET_PACKETS;
	ret->size = sizeof *ret;
	return 0;
}

int record_read(int dir, uint64_t id, struct record *ret)
{
	struct record rec = {0};
	int r = record_read_exact(dir, id, "record", &rec, sizeof rec);

	if (r == -EBADMSG)
		r = record_read_before(dir, id, &rec);
	if (r < 0)
		return r;
	if (rec.magic != RECORD_MAGIC || rec.size != sizeof rec || rec.m.instance != id ||
	    rec.phase >= RECORD_PHASE_COUNT || rec.m.kind >= MSG_KIND_COUNT || rec.m.state >= MSG_STATE_COUNT ||
	    rec.m.exit >= MSG_EXIT_COUNT || rec.m.oom >= MSG_OOM_COUNT || rec.m.slot >= LIMIT_TENANTS)
		return -EBADMSG;
	rec.link[sizeof rec.link - 1] = rec.stack[sizeof rec.stack - 1] = rec.boot[sizeof rec.boot - 1] = 0;
	rec.m.type[sizeof rec.m.type - 1] = rec.m.text[sizeof rec.m.text - 1] = 0;
	*ret = rec;
	return 0;
}

int record_status(int dir, uint64_t id, struct launch_status *ret)
{
	struct launch_status st = {0};
	int r = record_read_exact(dir, id, "status", &st, sizeof st);

	if (r < 0)
		return -ENOENT;
	if (st.magic != LAUNCH_STATUS_MAGIC || st.code < 0 || st.code > 255 || st.signal < 0 || st.signal > 64)
		return -ENOENT;
	*ret = st;
	return 0;
}

int record_remove(int dir, uint64_t id)
{
	static const char *const files[] = {"record", "status"};
	char path[64];

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		record_path(id, files[i], path, sizeof path);
		if (unlinkat(dir, path, 0) < 0 && errno != ENOENT)
			return -errno;
	}
	record_path(id, "", path, sizeof path);
	return unlinkat(dir, path, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

struct record_each {
	void (*fn)(void *arg, uint64_t id);
	void *arg;
};

static void record_one(void *arg, uint64_t id, const char *suffix)
{
	const struct record_each *e = arg;

	if (!*suffix)
		e->fn(e->arg, id);
}

int record_each(int dir, void (*fn)(void *arg, uint64_t id), void *arg)
{
	struct record_each e = {fn, arg};

	return dir_each_number(dir, record_one, &e);
}
