/* Private layers: the image of /usr and stack, and a mount of it per tenant.  Layer agent, supervisor process. */
#include "agent/supervise/private.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/map.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/sys.h"
#include "config/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define PRIVATE_RETRY_MS 60000	     /* after a failure: the operator may have made room meanwhile */
#define PRIVATE_RESERVE (1ull << 30) /* bytes of the data directory's disk that an image must leave free */
#define PRIVATE_PATH 600
#define PRIVATE_LOOP_TRIES 32 /* others may take the free loop device that the kernel has just named */

struct private_layers {
	struct loop *loop; /* borrowed */
	char dir[256];	   /* <data>/private */
	char stack[320];   /* <data>/stacks/<name> */
	char usr[256];
	char version[17];
	enum private_state state;
	int64_t failed_ms; /* monotonic */
	char why[200];
	pid_t child;
	int child_fd, words; /* owned; words: read end of the child's last words */
	struct loop_io io;
	void (*changed)(void *arg);
	void *arg;
};

/* No app needs these, and they are a quarter of what is left. */
static const char *const left_out[] = {"share/doc", "share/man", "share/info",	"share/help",	"share/lintian",
				       "src",	    "lib/debug", "lib/modules", "lib/firmware", "games"};

/* --- version --------------------------------------------------------------------------------------------------------
 */

/* Installing, upgrading or removing a package, and most of what is done by hand, changes one of these. */
static const char *const witnesses[] = {
	"",	 "bin",	  "sbin",      "lib",	    "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu",
	"share", "local", "local/bin", "local/lib",
};

static void version_make(struct private_layers *p, const char *stack_name)
{
	static const uint8_t key[16] = "tulou private 1"; /* no secret: it only tells versions apart */
	OWN_BUF struct buf b = {0};
	struct stat st;

	buf_init(&b, 8192);
	buf_printf(&b, "%s\n%s\n", stack_name, p->usr);
	for (size_t i = 0; i < ARRAY_LEN(witnesses); i++) {
		char path[PRIVATE_PATH];
		snprintf(path, sizeof path, "%s/%s", p->usr, witnesses[i]);
		if (stat(path, &st) == 0)
			buf_printf(&b, "%s %ju %jd.%09ld\n", witnesses[i], (uintmax_t)st.st_ino,
				   (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	}
	if (stat("/var/lib/dpkg/status", &st) == 0)
		buf_printf(&b, "dpkg %jd %jd.%09ld\n", (intmax_t)st.st_size, (intmax_t)st.st_mtim.tv_sec,
			   st.st_mtim.tv_nsec);
	snprintf(p->version, sizeof p->version, "%016" PRIx64, map_siphash(b.data, b.len, key));
}

/* --- the image, made by a child -------------------------------------------------------------------------------------
 */

static struct {
	uint64_t bytes, files;
} counted;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)path;
	(void)type;
	(void)at;
	counted.files++;
	if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || S_ISLNK(st->st_mode))
		counted.bytes += ((uint64_t)st->st_size + 4095) & ~4095ull;
	return 0;
}

/* The child's end: its last words go to the supervisor. */
_Noreturn static void give_up(int words, const char *what, int error)
{
	if (dprintf(words, "%s%s%s", what, error ? ": " : "", error ? strerror(error) : "") < 0)
		_exit(2);
	_exit(1);
}

/* Shows source read-only at stage/name, without what is mounted below it. */
static int show(const char *source, const char *stage, const char *name)
{
	char path[PRIVATE_PATH];

	snprintf(path, sizeof path, "%s/%s", stage, name);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	if (mount(source, path, NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
		return -errno;
	return 0;
}

static void run_mke2fs(int words, const char *stage, const char *image, uint64_t bytes)
{
	char size[32], inodes[32];
	int how = -1;

	snprintf(size, sizeof size, "%" PRIu64 "k", bytes >> 10);
	snprintf(inodes, sizeof inodes, "%" PRIu64, counted.files + 64);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(LIMIT_PRIVATE_MAKE_S); /* a fork has none of its parent's */
		int null = open("/dev/null", O_RDWR);
		dup2(null, 1);
		dup2(null, 2);
		/* No journal: it is never written to again.  Nothing is kept for root, nothing for growing. */
		execl("/usr/sbin/mke2fs", "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal,^resize_inode", "-m",
		      "0", "-b", "4096", "-I", "256", "-N", inodes, "-d", stage, image, size, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &how, 0) != pid)
		give_up(words, "cannot start mke2fs", errno);
	if (!WIFEXITED(how) || WEXITSTATUS(how) != 0)
		give_up(words,
			WIFEXITED(how) && WEXITSTATUS(how) == 127 ? "mke2fs is missing: install e2fsprogs"
								  : "mke2fs could not copy /usr",
			0);
}

_Noreturn static void make_child(const struct private_layers *p, int words)
{
	char stage[PRIVATE_PATH], path[PRIVATE_PATH + 64], fresh[PRIVATE_PATH + 96];
	struct statvfs disk;
	int r;

	setsid();
	if (words > 3)
		sys_close_range(3, (unsigned)words - 1, 0);
	sys_close_range((unsigned)words + 1, ~0u, 0);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	alarm(LIMIT_PRIVATE_MAKE_S);
	setpriority(PRIO_PROCESS, 0, 10);
	umask(022);

	snprintf(stage, sizeof stage, "%s/stage", p->dir);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		give_up(words, "cannot make a mount namespace", errno);
	if (mkdir(stage, 0700) < 0 && errno != EEXIST)
		give_up(words, "cannot make a folder", errno);
	/* In memory of this namespace: nothing is left when we are gone. */
	if (mount("stage", stage, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755") < 0)
		give_up(words, "cannot mount a folder", errno);
	r = show(p->usr, stage, "usr");
	if (r == 0)
		r = show(p->stack, stage, "stack");
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(left_out); i++) {
		snprintf(path, sizeof path, "%s/usr/%s", stage, left_out[i]);
		if (mount("none", path, "tmpfs", MS_NOSUID | MS_NODEV, "size=4k,mode=0755") < 0 && errno != ENOENT)
			r = -errno;
	}
	if (r < 0)
		give_up(words, "cannot show /usr to mke2fs", -r);

	counted.bytes = counted.files = 0;
	if (nftw(stage, count_one, 64, FTW_PHYS) != 0)
		give_up(words, "cannot count the files of /usr", errno);
	/* Inodes, names, and ext4's own tables. */
	uint64_t bytes = counted.bytes + counted.files * 320 + counted.bytes / 50 + (64ull << 20);
	if (statvfs(p->dir, &disk) < 0)
		give_up(words, "cannot ask for the room on the disk", errno);
	if (disk.f_bavail * disk.f_frsize < bytes + PRIVATE_RESERVE) {
		snprintf(path, sizeof path,
			 "it needs %" PRIu64 " MiB, and %" PRIu64 " MiB more must stay free; %" PRIu64 " MiB are",
			 bytes >> 20, (uint64_t)PRIVATE_RESERVE >> 20, (uint64_t)(disk.f_bavail * disk.f_frsize) >> 20);
		give_up(words, path, 0);
	}

	snprintf(path, sizeof path, "%s/%s.img", p->dir, p->version);
	snprintf(fresh, sizeof fresh, "%s.new", path);
	unlink(fresh);
	run_mke2fs(words, stage, fresh, bytes);
	int fd = open(fresh, O_RDONLY | O_CLOEXEC);
	/* Trusted for ever once its name stands, so it must be on the disk; and not in memory, where nobody reads it.
	 */
	if (fd < 0 || fsync(fd) < 0 || fchmod(fd, 0400) < 0)
		give_up(words, "cannot write the image", errno);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (rename(fresh, path) < 0)
		give_up(words, "cannot rename the image", errno);
	_exit(0);
}

static void failed(struct private_layers *p, const char *why)
{
	p->state = PRIVATE_FAILED;
	p->failed_ms = clock_mono_us() / 1000;
	snprintf(p->why, sizeof p->why, "%s", why);
}

static void on_made(void *arg, short what)
{
	struct private_layers *p = arg;
	char why[160] = "it took too long";
	int how = 0;

	(void)what;
	if (waitpid(p->child, &how, WNOHANG) == 0)
		return;
	loop_io_stop(&p->io);
	own_close(&p->child_fd);
	p->child = 0;
	if (WIFEXITED(how) && WEXITSTATUS(how) == 0) {
		p->state = PRIVATE_READY;
	} else {
		ssize_t n = read(p->words, why, sizeof why - 1);
		if (n > 0)
			why[n] = 0;
		failed(p, why);
	}
	own_close(&p->words);
	p->changed(p->arg);
}

static void make(struct private_layers *p)
{
	sigset_t all, before;
	int pair[2];

	if (pipe2(pair, O_CLOEXEC | O_NONBLOCK) < 0) {
		failed(p, "out of descriptors");
		return;
	}
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before); /* no handler of ours runs in the child */
	p->child = fork();
	if (p->child == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		make_child(p, pair[1]);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(pair[1]);
	p->words = pair[0];
	p->child_fd = p->child > 0 ? sys_pidfd_open(p->child) : -1;
	if (p->child_fd >= 0 && loop_io_start(p->loop, &p->io, p->child_fd, EV_READ, on_made, p) == 0) {
		p->state = PRIVATE_MAKING;
		return;
	}
	if (p->child > 0) {
		kill(-p->child, SIGKILL);
		kill(p->child, SIGKILL);
		waitpid(p->child, NULL, 0);
	}
	p->child = 0;
	own_close(&p->child_fd);
	own_close(&p->words);
	failed(p, "out of processes or descriptors");
}

enum private_state private_ask(struct private_layers *p)
{
	char path[PRIVATE_PATH];

	if (p->state == PRIVATE_NONE) {
		snprintf(path, sizeof path, "%s/%s.img", p->dir, p->version);
		if (access(path, F_OK) == 0)
			p->state = PRIVATE_READY;
	}
	if (p->state == PRIVATE_NONE ||
	    (p->state == PRIVATE_FAILED && clock_mono_us() / 1000 - p->failed_ms > PRIVATE_RETRY_MS))
		make(p);
	return p->state;
}

/* --- mounts ---------------------------------------------------------------------------------------------------------
 */

/* A loop device of its own for the image: its number in path; the descriptor keeps it until it is mounted. */
static int attach_loop(int image, char path[32])
{
	OWN_FD int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config c = {
		.fd = (uint32_t)image,
		.block_size = 4096,
		.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
	};
	int error = EBUSY;

	if (control < 0)
		return -errno;
	for (int i = 0; i < PRIVATE_LOOP_TRIES; i++) {
		int n = ioctl(control, LOOP_CTL_GET_FREE);
		if (n < 0)
			return -errno;
		snprintf(path, 32, "/dev/loop%d", n);
		OWN_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		if (ioctl(fd, LOOP_CONFIGURE, &c) == 0) /* Linux 5.8 */
			return TAKE_FD(fd);
		error = errno;
		if (error == EINVAL && c.info.lo_flags & LO_FLAGS_DIRECT_IO)
			c.info.lo_flags &= ~(uint32_t)LO_FLAGS_DIRECT_IO; /* a file system that cannot */
		else if (error != EBUSY)
			break;
	}
	return -error;
}

static int mount_image(const char *image, const char *at)
{
	OWN_FD int file = open(image, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), device = -1, fs = -1, m = -1;
	char path[32];

	if (file < 0)
		return -errno;
	device = attach_loop(file, path);
	if (device < 0)
		return device;
	fs = sys_fsopen("ext4", FSOPEN_CLOEXEC);
	if (fs < 0 || sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", path, 0) < 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
	    sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	m = sys_fsmount(fs, FSMOUNT_CLOEXEC,
			MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME);
	return m < 0 || sys_move_mount(m, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

static bool is_mounted(const char *at)
{
	char usr[PRIVATE_PATH + 8];

	snprintf(usr, sizeof usr, "%s/usr", at);
	return access(usr, F_OK) == 0;
}

int private_open(struct private_layers *p, uint32_t slot, int *usr, int *stack, struct err *e)
{
	char at[PRIVATE_PATH], image[PRIVATE_PATH];
	OWN_FD int top = -1, u = -1, k = -1;
	int r = 0;

	if (p->state != PRIVATE_READY)
		return err_set(e, EAGAIN, "cannot make the private copy of /usr: %s", p->why);
	snprintf(at, sizeof at, "%s/mounts/%" PRIu32, p->dir, slot);
	if (!is_mounted(at)) {
		snprintf(image, sizeof image, "%s/%s.img", p->dir, p->version);
		if (mkdir(at, 0700) < 0 && errno != EEXIST)
			r = -errno;
		if (r == 0)
			r = mount_image(image, at);
		if (r < 0) {
			rmdir(at);
			return err_set(e, -r, "cannot mount the private copy of /usr: %s", strerror(-r));
		}
	}
	top = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (top >= 0)
		u = openat(top, "usr", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (u >= 0)
		k = openat(top, "stack", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (k < 0)
		return err_errno(e, "cannot open the private copy of /usr");
	*usr = TAKE_FD(u);
	*stack = TAKE_FD(k);
	return 0;
}

void private_close(struct private_layers *p, uint32_t slot)
{
	char at[PRIVATE_PATH];

	snprintf(at, sizeof at, "%s/mounts/%" PRIu32, p->dir, slot);
	umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW);
	rmdir(at);
}

void private_close_all(struct private_layers *p)
{
	char path[PRIVATE_PATH];
	OWN_DIR DIR *d = NULL;
	struct dirent *de;

	snprintf(path, sizeof path, "%s/mounts", p->dir);
	d = opendir(path);
	while (d && (de = readdir(d))) {
		uint64_t slot;
		if (parse_u64(de->d_name, strlen(de->d_name), 0, UINT32_MAX, "", &slot, NULL) == 0)
			private_close(p, (uint32_t)slot);
	}
}

/* Removes images of other versions, also unfinished ones.  What runs from them keeps them until it ends.  True when
 * there was one: somebody here wants private layers. */
static bool sweep_images(struct private_layers *p)
{
	char keep[32];
	bool found = false;
	OWN_DIR DIR *d = opendir(p->dir);
	struct dirent *de;

	snprintf(keep, sizeof keep, "%s.img", p->version);
	while (d && (de = readdir(d)))
		if (strstr(de->d_name, ".img") && strcmp(de->d_name, keep) != 0) {
			found = true;
			unlinkat(dirfd(d), de->d_name, 0);
		}
	return found;
}

int private_new(struct loop *loop, const char *data, const char *usr, const char *stack_name, void (*changed)(void *),
		void *arg, struct private_layers **ret, struct err *e)
{
	struct private_layers *p = calloc(1, sizeof *p);
	char path[PRIVATE_PATH];

	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	p->loop = loop;
	p->changed = changed;
	p->arg = arg;
	p->child_fd = p->words = -1;
	snprintf(p->dir, sizeof p->dir, "%s/private", data);
	snprintf(p->stack, sizeof p->stack, "%s/stacks/%s", data, stack_name);
	snprintf(p->usr, sizeof p->usr, "%s", usr);
	snprintf(path, sizeof path, "%s/mounts", p->dir);
	version_make(p, stack_name);
	int r = fd_mkdirs(path, 0755);
	if (r == 0 && (chown(p->dir, 0, 0) < 0 || chmod(p->dir, 0700) < 0))
		r = -errno;
	if (r < 0) {
		free(p);
		return err_set(e, -r, "cannot make %s: %s", path, strerror(-r));
	}
	private_close_all(p);
	if (sweep_images(p)) /* at once: whoever starts next would have to wait */
		private_ask(p);
	*ret = p;
	return 0;
}

void private_free(struct private_layers *p)
{
	if (!p)
		return;
	loop_io_stop(&p->io);
	/* A child at work would write on beside the next supervisor's. */
	if (p->child > 0) {
		kill(-p->child, SIGKILL);
		waitpid(p->child, NULL, 0);
	}
	own_close(&p->child_fd);
	own_close(&p->words);
	free(p);
}
