/* Project quotas: each directory is a project of its own.  Layer agent, supervisor process.
 *
 * A project's number is inherited by what is made below (FS_XFLAG_PROJINHERIT), and only the host's own user namespace
 * may change it (fileattr_set_prepare() in Linux), so no instance leaves its project.  ext4 and xfs answer to the same
 * quotactl(2) commands.  Numbers are found by trying from a random one, so that several nodes, and others who use
 * projects, share a file system without an agreement: one without usage and without limits is free. */
#include "agent/supervise/disk_backend.h"
#include "base/fd.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define QUOTA_TRIES 64u
#define QUOTA_PROJECTS 0x40000000u /* our numbers begin here: people's own are small, Kubernetes' begin at 1048576 */

static int quota_call(int fd, unsigned cmd, uint32_t project, void *arg)
{
	return syscall(SYS_quotactl_fd, fd, QCMD(cmd, PRJQUOTA), project, arg) < 0 ? -errno : 0;
}

/* 0 when project quotas are counted and enforced where fd lies. */
static int quota_ask(int fd, const char *data, struct err *e)
{
	struct fs_quota_statv st = {.qs_version = FS_QSTATV_VERSION1};
	struct fsxattr x;
	int r = quota_call(fd, Q_XGETQSTATV, 0, &st);

	if (r == -ENOSYS && syscall(SYS_quotactl_fd, -1, 0, 0, NULL) < 0 && errno == ENOSYS)
		return err_field(e, ENOSYS, "disk.backend", "quotactl_fd(2) is missing (Linux 5.14)");
	if (r < 0 || !(st.qs_flags & FS_QUOTA_PDQ_ENFD))
		return err_field(e, EOPNOTSUPP, "disk.backend", "%s has no project quotas (mount option prjquota)",
				 data);
	if (ioctl(fd, FS_IOC_FSGETXATTR, &x) < 0)
		return err_field(e, errno, "disk.backend", "%s cannot be given projects: %s", data, strerror(errno));
	return 0;
}

/* The data directory, or the nearest one above it that exists. */
static int quota_nearest(const char *data)
{
	char path[sizeof((struct settings *)0)->data];
	char *slash;
	int fd;

	snprintf(path, sizeof path, "%s", data);
	while ((fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 && errno == ENOENT &&
	       (slash = strrchr(path, '/')))
		slash[slash == path] = 0;
	return fd;
}

static int quota_probe(const struct settings *s, char *text, size_t cap, struct err *e)
{
	OWN_FD int fd = quota_nearest(s->data);
	struct statvfs v;
	int r = fd < 0 ? err_errno(e, "cannot open %s", s->data) : quota_ask(fd, s->data, e);

	if (r == 0 && fstatvfs(fd, &v) == 0)
		snprintf(text, cap, "quota: project quotas of %s, %ju MiB free", s->data,
			 (uintmax_t)v.f_bavail * v.f_frsize >> 20);
	return r;
}

static int quota_open(struct disk *d, const struct settings *s, struct err *e)
{
	int r = fd_mkdirs(s->data, 0755);

	if (r < 0)
		return err_set(e, -r, "cannot make %s: %s", s->data, strerror(-r));
	d->root = open(s->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->root < 0)
		return err_errno(e, "cannot open %s", s->data);
	return quota_ask(d->root, s->data, e);
}

/* A project that nobody uses. */
static int quota_free_project(int fd, uint32_t *ret)
{
	uint32_t at;

	if (getrandom(&at, sizeof at, 0) != sizeof at)
		return -EIO;
	for (unsigned i = 0; i < QUOTA_TRIES; i++, at++) {
		struct if_dqblk q = {0};
		uint32_t project = QUOTA_PROJECTS | (at & (QUOTA_PROJECTS - 1));
		int r = quota_call(fd, Q_GETQUOTA, project, &q);
		if (r < 0 && r != -ENOENT && r != -ESRCH)
			return r;
		if (r < 0 || (!q.dqb_curspace && !q.dqb_curinodes && !q.dqb_bhardlimit && !q.dqb_ihardlimit)) {
			*ret = project;
			return 0;
		}
	}
	return -EBUSY;
}

static int quota_bound(int fd, uint32_t project, uint64_t bytes, uint64_t inodes)
{
	struct if_dqblk q = {
		.dqb_bhardlimit = bytes >> QIF_DQBLKSIZE_BITS,
		.dqb_ihardlimit = inodes,
		.dqb_valid = QIF_LIMITS,
	};

	return quota_call(fd, Q_SETQUOTA, project, &q);
}

static int quota_make(struct disk *d, int dir, const char *name, uint32_t slot, bool app, struct err *e)
{
	OWN_FD int fd = -1;
	struct fsxattr x = {0};
	uint32_t project = 0;
	int r = 0;

	(void)slot; /* projects have no groups: the tenant's total is held by admission */
	(void)app;
	(void)d;
	if (mkdirat(dir, name, 0755) < 0)
		return err_errno(e, "cannot make the directory %s", name);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	r = fd < 0 ? -errno : quota_free_project(fd, &project);
	if (r == 0)
		r = ioctl(fd, FS_IOC_FSGETXATTR, &x) < 0 ? -errno : 0;
	if (r == 0) {
		x.fsx_projid = project;
		x.fsx_xflags |= FS_XFLAG_PROJINHERIT;
		r = ioctl(fd, FS_IOC_FSSETXATTR, &x) < 0 ? -errno : 0;
	}
	if (r == 0)
		return 0;
	unlinkat(dir, name, AT_REMOVEDIR);
	return err_set(e, -r, "cannot make a project for %s: %s", name, strerror(-r));
}

/* The directory's project; -ENODATA when it has none (made before there were quotas). */
static int quota_project(int fd, uint32_t *ret)
{
	struct fsxattr x;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &x) < 0)
		return -errno;
	if (!x.fsx_projid || !(x.fsx_xflags & FS_XFLAG_PROJINHERIT))
		return -ENODATA;
	*ret = x.fsx_projid;
	return 0;
}

static int quota_limit(struct disk *d, int fd, uint64_t bytes, uint32_t inodes)
{
	uint32_t project = 0;
	int r = quota_project(fd, &project);

	(void)d;
	return r < 0 ? r : quota_bound(fd, project, bytes, inodes);
}

static int quota_sample(struct disk *d, int fd, uint64_t bytes, uint32_t inodes, struct disk_watch *w,
			struct disk_usage *ret)
{
	struct if_dqblk q = {0};
	uint32_t project = 0;
	int r = quota_project(fd, &project);

	(void)d;
	(void)bytes;
	if (r == 0)
		r = quota_call(fd, Q_GETQUOTA, project, &q);
	if (r < 0)
		return r;
	*ret = (struct disk_usage){q.dqb_curspace, q.dqb_curinodes};
	w->inodes = q.dqb_curinodes;
	w->over = inodes && q.dqb_curinodes >= inodes;
	return 0;
}

static int quota_remove(struct disk *d, int dir, const char *name)
{
	OWN_FD int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	uint32_t project = 0;
	int r = fd < 0 ? -errno : quota_project(fd, &project);

	(void)d;
	/* First the limits: what is killed in between leaves a directory, which is found again. */
	if (r == 0)
		quota_bound(fd, project, 0, 0);
	return r == -ENOENT ? 0 : fd_remove_tree(dir, name);
}

const struct disk_backend disk_quota = {
	.name = "quota",
	.probe = quota_probe,
	.open = quota_open,
	.make = quota_make,
	.limit = quota_limit,
	.sample = quota_sample,
	.remove = quota_remove,
};
