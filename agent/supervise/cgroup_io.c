/* Which disks lie below a folder, for the rates of reading and writing.  Layer agent, supervisor process.
 *
 * The kernel takes whole disks only (blk-cgroup.c refuses partitions).  A file system of its own device number (ext4,
 * xfs) is on that device; btrfs has an anonymous number, and its devices in mountinfo; a loop device stands on the disk
 * of its backing file, where the loop driver charges the same group again. */
#include "agent/supervise/cgroup_backend.h"

#include "base/fd.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/major.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define IO_DEPTH 3 /* loop devices on loop devices */
#define IO_MOUNTINFO (8u << 20)
#define ROOT_WRITE_RATE "blkio.throttle.write_bps_device"

static void add_path(struct cgroup *c, const char *path, unsigned depth);

static void add_disk(struct cgroup *c, dev_t dev)
{
	for (unsigned i = 0; i < c->disk_count; i++)
		if (c->disks[i] == dev)
			return;
	if (c->disk_count < CGROUP_DISKS)
		c->disks[c->disk_count++] = dev;
}

/* The first line of a file of sysfs, "" when there is none. */
static void sys_line(dev_t dev, const char *file, char *out, size_t cap)
{
	char path[96];
	OWN_FREE char *text = NULL;

	*out = 0;
	snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%s", major(dev), minor(dev), file);
	if (fd_read_file(AT_FDCWD, path, CGROUP_FILE_MAX, &text, NULL) == 0)
		snprintf(out, cap, "%.*s", (int)strcspn(text, "\n"), text);
}

static void add_device(struct cgroup *c, dev_t dev, unsigned depth)
{
	unsigned ma, mi;
	char text[512];

	sys_line(dev, "partition", text, sizeof text);
	if (*text) {
		sys_line(dev, "../dev", text, sizeof text);
		if (sscanf(text, "%u:%u", &ma, &mi) != 2)
			return;
		dev = makedev(ma, mi);
	}
	sys_line(dev, "dev", text, sizeof text);
	if (!*text)
		return; /* not a block device */
	add_disk(c, dev);
	sys_line(dev, "loop/backing_file", text, sizeof text);
	if (*text == '/' && depth < IO_DEPTH)
		add_path(c, text, depth + 1);
}

/* The source of the mount with this device number (proc(5)), when it is a device. */
static dev_t mount_source(dev_t dev)
{
	OWN_FREE char *text = NULL;
	char want[32], *save = NULL;
	struct stat st;

	snprintf(want, sizeof want, " %u:%u ", major(dev), minor(dev));
	if (fd_read_file(AT_FDCWD, "/proc/self/mountinfo", IO_MOUNTINFO, &text, NULL) < 0)
		return 0;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *at = strstr(line, want), *dash = strstr(line, " - ");
		char source[256];
		if (!at || !dash || at > dash || sscanf(dash, " - %*s %255s", source) != 1 || source[0] != '/')
			continue;
		if (stat(source, &st) == 0 && S_ISBLK(st.st_mode))
			return st.st_rdev;
	}
	return 0;
}

static void add_path(struct cgroup *c, const char *path, unsigned depth)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return;
	if (major(st.st_dev) == 0)
		st.st_dev = mount_source(st.st_dev);
	if (st.st_dev)
		add_device(c, st.st_dev, depth);
}

int cgroup_io_path(struct cgroup *c, const char *path)
{
	if (c->of[CGROUP_IO] >= 0)
		add_path(c, path, 0);
	return (int)c->disk_count;
}

int cgroup_write_disks(const struct cgroup *c, const char *name, const char *file, const char *value)
{
	int r = 0;

	for (unsigned i = 0; i < c->disk_count; i++) {
		char text[128];
		int one;
		snprintf(text, sizeof text, "%u:%u %s", major(c->disks[i]), minor(c->disks[i]), value);
		one = cgroup_write(c, CGROUP_IO, name, file, text);
		if (one < 0 && r == 0)
			r = one;
	}
	return r;
}

/* --- what the kernel writes back -----------------------------------------------------------------------------------
 */

static int root_rule(int root, unsigned major, unsigned minor, uint64_t rate)
{
	OWN_FD int fd = openat(root, ROOT_WRITE_RATE, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[64];
	int n = snprintf(text, sizeof text, "%u:%u %" PRIu64, major, minor, rate);

	return fd < 0 || write(fd, text, (size_t)n) != n ? -errno : 0;
}

/* Whoever gets such a device next would be slowed by the rule of a node that was killed. */
static void root_sweep(int root)
{
	OWN_FREE char *text = NULL;
	char path[64], *save = NULL;

	if (fd_read_file(root, ROOT_WRITE_RATE, CGROUP_FILE_MAX, &text, NULL) < 0)
		return;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned ma, mi;
		if (sscanf(line, "%u:%u ", &ma, &mi) != 2 || ma != LOOP_MAJOR)
			continue;
		snprintf(path, sizeof path, "/sys/dev/block/%u:%u/loop", ma, mi);
		if (access(path, F_OK) < 0)
			root_rule(root, ma, mi, 0);
	}
}

int cgroup_write_rate(const struct cgroup *c, unsigned major, unsigned minor, uint64_t rate)
{
	int root;

	if (cgroup_is_v2(c) || c->of[CGROUP_IO] < 0)
		return -EOPNOTSUPP;
	root = c->mount[c->of[CGROUP_IO]];
	root_sweep(root);
	return root_rule(root, major, minor, rate);
}
