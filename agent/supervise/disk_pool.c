/* The btrfs pool: a file, its loop device, its mount.  Layer agent, supervisor process.
 *
 * The file is allocated whole before it is formatted, and never punched (nodiscard): however full the host's disk gets,
 * the pool has every block that it promised.  The loop device is told to go with its last user (autoclear) and the
 * mount lies in a mount namespace of our own, so that after any death nothing stays: with our last process and the last
 * instance go the mount, the file system and the device.  While an instance lives they stay, and the next supervisor
 * finds the device by the file's identity and mounts the same file system again. */
#include "agent/supervise/disk_backend.h"
#include "base/fd.h"
#include "base/own.h"
#include "base/parse.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define POOL_SECTOR 4096u     /* of the loop device: what direct I/O wants, and btrfs' own */
#define POOL_THREADS 8L	      /* btrfs' own default is at most that */
#define POOL_ATTACH_TRIES 64u /* another node may take the free device before us */
#define POOL_GONE_TRIES 200u  /* of 10 ms: the device goes a little after the unmount */

const char *disk_pool_mkfs(void)
{
	static const char *const paths[] = {"/usr/sbin/mkfs.btrfs", "/sbin/mkfs.btrfs", "/usr/bin/mkfs.btrfs"};

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (access(paths[i], X_OK) == 0)
			return paths[i];
	return NULL;
}

int disk_pool_size(const struct settings *s, uint64_t *ret, struct err *e)
{
	char path[sizeof s->data];
	struct statvfs v;
	uint64_t left, size = s->disk_pool;
	char *slash;

	snprintf(path, sizeof path, "%s", s->data);
	while (statvfs(path, &v) < 0) {
		if (errno != ENOENT || !(slash = strrchr(path, '/')))
			return err_errno(e, "cannot look at %s", s->data);
		slash[slash == path] = 0;
	}
	left = (uint64_t)v.f_bavail * v.f_frsize;
	if (!size) {
		size = left / 4 < LIMIT_POOL_AUTO_MAX ? left / 4 : LIMIT_POOL_AUTO_MAX;
		if (size < LIMIT_POOL_AUTO_MIN)
			return err_field(
				e, ENOSPC, "disk.pool",
				"a quarter of the %ju MiB free on %s is less than the 1 GiB that a pool should "
				"have: make room, or set disk.pool (at least %ju MiB)",
				(uintmax_t)left >> 20, s->data, (uintmax_t)LIMIT_POOL_MIN >> 20);
	}
	size &= ~(uint64_t)((1 << 20) - 1);
	if (size > left)
		return err_field(e, ENOSPC, "disk.pool", "disk.pool is %ju MiB, but %s has only %ju MiB free",
				 (uintmax_t)size >> 20, s->data, (uintmax_t)left >> 20);
	*ret = size;
	return 0;
}

/* Formats the file behind fd (inherited as 3); the program's last words become the error. */
static int pool_format(int fd, struct err *e)
{
	const char *mkfs = disk_pool_mkfs();
	char words[256] = "";
	int out[2], status;
	ssize_t n;
	pid_t pid;

	if (!mkfs)
		return err_field(e, ENOENT, "disk.backend", "mkfs.btrfs is missing (package btrfs-progs)");
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_errno(e, "cannot make a pipe");
	pid = fork();
	if (pid == 0) {
		if (fd == 3)
			fcntl(fd, F_SETFD, 0);
		else
			dup2(fd, 3);
		dup2(out[1], 1);
		dup2(out[1], 2);
		execl(mkfs, mkfs, "-q", "-f", "-L", "tulou", "-m", "single", "-d", "single", "/proc/self/fd/3",
		      (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	while ((n = read(out[0], words, sizeof words - 1)) > 0)
		words[n] = 0;
	close(out[0]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return err_errno(e, "cannot run %s", mkfs);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	words[strcspn(words, "\n")] = 0;
	return err_set(e, EIO, "%s failed: %s", mkfs, words[0] ? words : "no reason given");
}

/* A new pool, complete before it has its name. */
static int pool_make(int data, const struct settings *s, struct err *e)
{
	static const char fresh[] = DISK_POOL_FILE ".new";
	OWN_FD int fd = -1;
	uint64_t size;
	int r;

	unlinkat(data, fresh, 0);
	r = disk_pool_size(s, &size, e);
	if (r < 0)
		return r;
	fd = openat(data, fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, "cannot make %s/%s", s->data, fresh);
	r = fallocate(fd, 0, 0, (off_t)size) < 0
		    ? err_errno(e, "cannot allocate the %ju MiB of the pool", (uintmax_t)size >> 20)
		    : pool_format(fd, e);
	if (r == 0 && (fsync(fd) < 0 || renameat(data, fresh, data, DISK_POOL_FILE) < 0 || fsync(data) < 0))
		r = err_errno(e, "cannot put %s/%s in place", s->data, DISK_POOL_FILE);
	if (r < 0)
		unlinkat(data, fresh, 0);
	return r;
}

/* --- the loop device -----------------------------------------------------------------------------------------------
 */

static bool loop_holds(int loop, const struct stat *image)
{
	struct loop_info64 info;

	return ioctl(loop, LOOP_GET_STATUS64, &info) == 0 && info.lo_device == image->st_dev &&
	       info.lo_inode == image->st_ino;
}

static int loop_open(long number)
{
	char path[32];

	snprintf(path, sizeof path, "/dev/loop%ld", number);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* The device that an earlier supervisor attached and that instances keep; -1 when there is none. */
static int loop_find(const struct stat *image)
{
	OWN_DIR DIR *d = opendir("/sys/block");
	struct dirent *de;
	char path[300];

	while (d && (de = readdir(d))) {
		uint64_t number;
		if (strncmp(de->d_name, "loop", 4) != 0 ||
		    parse_u64(de->d_name + 4, strlen(de->d_name + 4), 0, 1u << 20, "", &number, NULL) < 0)
			continue;
		snprintf(path, sizeof path, "/sys/block/%s/loop", de->d_name);
		if (access(path, F_OK) < 0)
			continue; /* not attached */
		int fd = loop_open((long)number);
		/* While it is open it does not go: what is seen now stays true. */
		if (fd >= 0 && loop_holds(fd, image))
			return fd;
		own_close(&fd);
	}
	return -1;
}

static int loop_attach(int image, struct err *e)
{
	OWN_FD int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config c = {
		.fd = (uint32_t)image,
		.block_size = POOL_SECTOR,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
	};

	if (control < 0)
		return err_errno(e, "cannot open /dev/loop-control");
	snprintf((char *)c.info.lo_file_name, sizeof c.info.lo_file_name, "%s", DISK_POOL_FILE);
	for (unsigned i = 0; i < POOL_ATTACH_TRIES; i++) {
		long number = ioctl(control, LOOP_CTL_GET_FREE);
		OWN_FD int fd = number < 0 ? -1 : loop_open(number);
		if (fd < 0)
			return err_errno(e, "no loop device is free");
		if (ioctl(fd, LOOP_CONFIGURE, &c) == 0) /* Linux 5.8 */
			return TAKE_FD(fd);
		if (errno == EINVAL && c.info.lo_flags & LO_FLAGS_DIRECT_IO)
			c.info.lo_flags &= ~(uint32_t)LO_FLAGS_DIRECT_IO; /* the file's file system cannot */
		else if (errno != EBUSY)
			break;
	}
	return err_errno(e, "cannot attach %s to a loop device", DISK_POOL_FILE);
}

/* --- the mount -----------------------------------------------------------------------------------------------------
 */

/* The mounted pool, or -1 when there is nothing at its place but the data directory's own. */
static int mount_find(int data)
{
	OWN_FD int fd = openat(data, DISK_POOL_MOUNT, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat here, above;
	struct statfs v;

	if (fd < 0 || fstat(fd, &here) < 0 || fstat(data, &above) < 0 || here.st_dev == above.st_dev ||
	    fstatfs(fd, &v) < 0 || v.f_type != BTRFS_SUPER_MAGIC)
		return -1;
	return TAKE_FD(fd);
}

/* Our own file, whole and formatted when it got its name: what btrfs does not take is damaged. */
static int mount_failed(const struct disk *d, int error, struct err *e)
{
	if (error == ENODEV)
		return err_field(e, ENODEV, "disk.backend", "the kernel has no btrfs");
	if (error == ENOMEM || error == EPERM || error == EBUSY || error == EMFILE || error == ENFILE)
		return err_set(e, error, "cannot mount %s/%s: %s", d->data, DISK_POOL_FILE, strerror(error));
	return err_set(
		e, EUCLEAN,
		"%s/%s is damaged: btrfs does not mount it (%s; dmesg says more). Copy it, then repair it (losetup "
		"-f, btrfs rescue); or move it away: the next start makes a new pool, and only the apps' git "
		"repositories are lost with it, which their next pushes bring back",
		d->data, DISK_POOL_FILE, strerror(error));
}

static int pool_mount(struct disk *d, int data, struct err *e)
{
	char device[64], link[32], path[sizeof d->data + 16], options[80];
	ssize_t n;
	long cpus;

	snprintf(link, sizeof link, "/proc/self/fd/%d", d->loop);
	n = readlink(link, device, sizeof device - 1);
	if (n < 0)
		return err_errno(e, "cannot name the loop device");
	device[n] = 0;
	if (mkdirat(data, DISK_POOL_MOUNT, 0700) < 0 && errno != EEXIST)
		return err_errno(e, "cannot make %s/%s", d->data, DISK_POOL_MOUNT);
	/* The host's mounts still reach us, ours nobody: what a service copied into its own namespace would keep the
	 * pool mounted for as long as it lives. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_errno(e, "cannot enter a mount namespace of our own");
	snprintf(path, sizeof path, "%s/%s", d->data, DISK_POOL_MOUNT);
	/* What a layer holds is known with each commit: every 30 s by default is too late for who watches it.  What is
	 * written costs the kernel's threads, and so everybody, as little CPU as may be: no checksums of data (layers
	 * end with their instance, git has its own), and never all CPUs at a time. */
	cpus = sysconf(_SC_NPROCESSORS_ONLN) / 2;
	snprintf(options, sizeof options, "nodiscard,commit=5,nodatasum,thread_pool=%ld",
		 cpus < 1	       ? 1
		 : cpus > POOL_THREADS ? POOL_THREADS
				       : cpus);
	if (mount(device, path, "btrfs", MS_NODEV | MS_NOSUID | MS_NOATIME, options) < 0)
		return mount_failed(d, errno, e);
	d->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return d->root < 0 ? err_errno(e, "cannot open %s", path) : 0;
}

/* File, device and file system, in this order. */
int disk_pool_grow(struct disk *d, const struct settings *s, struct err *e)
{
	struct btrfs_ioctl_vol_args resize = {.name = "max"};
	uint64_t size = s->disk_pool & ~(uint64_t)((1 << 20) - 1);
	char path[sizeof d->data + 16];
	OWN_FD int image = -1;
	struct stat st;

	snprintf(path, sizeof path, "%s/%s", d->data, DISK_POOL_FILE);
	image = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (image < 0 || fstat(image, &st) < 0)
		return err_errno(e, "cannot open %s", path);
	if (size <= (uint64_t)st.st_size)
		return 0;
	if (fallocate(image, 0, st.st_size, (off_t)size - st.st_size) < 0) {
		int error = errno;
		if (ftruncate(image, st.st_size) < 0) /* what was allocated beyond the end is given back */
			error = errno;
		return err_field(e, error, "disk.pool", "the pool of %ju MiB cannot grow to disk.pool = %ju MiB: %s",
				 (uintmax_t)st.st_size >> 20, (uintmax_t)size >> 20, strerror(error));
	}
	if (ioctl(d->loop, LOOP_SET_CAPACITY, 0) < 0 || ioctl(d->root, BTRFS_IOC_RESIZE, &resize) < 0)
		return err_errno(e, "cannot let the pool's file system grow");
	return 0;
}

int disk_pool_open(struct disk *d, const struct settings *s, struct err *e)
{
	OWN_FD int data = -1, image = -1;
	struct stat st;
	int r = fd_mkdirs(s->data, 0755);

	if (r < 0)
		return err_set(e, -r, "cannot make %s: %s", s->data, strerror(-r));
	data = open(s->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (data < 0)
		return err_errno(e, "cannot open %s", s->data);
	image = openat(data, DISK_POOL_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (image < 0 && errno == ENOENT) {
		r = pool_make(data, s, e);
		if (r < 0)
			return r;
		image = openat(data, DISK_POOL_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	}
	if (image < 0 || fstat(image, &st) < 0)
		return err_errno(e, "cannot open %s/%s", s->data, DISK_POOL_FILE);
	d->loop = loop_find(&st);
	d->root = mount_find(data);
	if (d->loop < 0 && d->root >= 0)
		return err_set(e, EBUSY, "%s/%s is mounted, but not from %s", s->data, DISK_POOL_MOUNT, DISK_POOL_FILE);
	if (d->loop < 0 && (d->loop = loop_attach(image, e)) < 0)
		return -e->code;
	r = d->root < 0 ? pool_mount(d, data, e) : 0;
	/* A pool that cannot grow serves on as it is: refusing to start would stop what runs.  Who asked for it by
	 * SIGHUP has been told. */
	if (r == 0)
		disk_pool_grow(d, s, NULL);
	return r;
}

int disk_pool_close(struct disk *d, struct err *e)
{
	char path[sizeof d->data + 16];
	struct stat st;
	int r = 0;

	own_close(&d->loop);
	snprintf(path, sizeof path, "%s/%s", d->data, DISK_POOL_MOUNT);
	if (umount2(path, UMOUNT_NOFOLLOW) < 0 && errno == EBUSY) {
		r = err_set(e, EBUSY, "%s is still in use", path);
		umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
	}
	rmdir(path);
	snprintf(path, sizeof path, "%s/%s", d->data, DISK_POOL_FILE);
	for (unsigned i = 0; r == 0 && stat(path, &st) == 0 && i < POOL_GONE_TRIES; i++) {
		OWN_FD int loop = loop_find(&st);
		if (loop < 0)
			break;
		own_close(&loop); /* open, it would never go */
		usleep(10000);
	}
	return r;
}
