/* /proc, its masks, and the step into the new root.  Layer agent/sandbox, inside. */
#include "agent/sandbox/sandbox.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum mask { MASK_FILE, MASK_FOLDER, MASK_READ_ONLY };

/* The default profile's: Docker's list, and what else tells of the host or of its other tenants.  Names that this
 * kernel lacks are skipped, and those that only the host's root can open (pagetypeinfo, kpage*, vmallocinfo) are left
 * as they are: each row costs every start some 13 us. */
static const struct {
	const char *path;
	enum mask mask;
} masks[] = {
	{"interrupts", MASK_FILE},
	{"softirqs", MASK_FILE},
	{"keys", MASK_FILE},
	{"key-users", MASK_FILE},
	{"kallsyms", MASK_FILE},
	{"kcore", MASK_FILE},
	{"timer_list", MASK_FILE},
	{"timer_stats", MASK_FILE},
	{"sched_debug", MASK_FILE},
	{"latency_stats", MASK_FILE},
	{"slabinfo", MASK_FILE},
	{"iomem", MASK_FILE},
	{"ioports", MASK_FILE},
	{"cmdline", MASK_FILE},
	{"modules", MASK_FILE},
	{"diskstats", MASK_FILE},
	{"partitions", MASK_FILE},
	{"zoneinfo", MASK_FILE},
	{"buddyinfo", MASK_FILE},
	{"mtrr", MASK_FILE},
	{"kmsg", MASK_FILE},
	{"acpi", MASK_FOLDER},
	{"asound", MASK_FOLDER},
	{"scsi", MASK_FOLDER},
	{"driver", MASK_FOLDER},
	{"bus", MASK_FOLDER},
	{"fs", MASK_FOLDER},
	{"irq", MASK_FOLDER},
	{"pressure", MASK_FOLDER},
	{"sys", MASK_READ_ONLY},
	{"sysrq-trigger", MASK_READ_ONLY},
};

int inner_wait(struct sandbox *s)
{
	int r = namespace_hear(s, SANDBOX_WORD_ROOT, &s->root);

	return r < 0 ? r : s->root < 0 ? -EBADF : 0;
}

/* A new file system of the user namespace, detached. */
static int make(const char *type, const char *const options[][2], unsigned attr)
{
	int fs = sys_fsopen(type, FSOPEN_CLOEXEC), m = -1, ok = 1;

	if (fs < 0)
		return -errno;
	for (; ok && options && (*options)[0]; options++)
		ok = sys_fsconfig(fs, FSCONFIG_SET_STRING, (*options)[0], (*options)[1], 0) == 0;
	ok = ok && sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0 &&
	     (m = sys_fsmount(fs, FSMOUNT_CLOEXEC, attr)) >= 0;
	int r = ok ? m : -errno;
	close(fs);
	return r;
}

int inner_proc(struct sandbox *s)
{
	/* Processes only, and only those that the reader might trace: no PID 1, nothing of the host (Linux 5.8). */
	static const char *const closed[][2] = {{"subset", "pid"}, {"hidepid", "invisible"}, {NULL, NULL}};
	/* Nothing in it is an app's to write: without CAP_SYS_RESOURCE of ours, oom_score_adj could be lowered to what
	 * the supervisor was started with (proc_pid_oom_score_adj(5)).  Descriptors below /proc/self/fd are of other
	 * mounts. */
	unsigned attr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY;

	if (fchdir(s->root) < 0)
		return -errno;
	/* Its pid namespace is ours.  The kernel allows this only where the host's own /proc is still seen whole:
	 * before the old root goes, and not when the host is a container with a masked /proc. */
	int m = make("proc", s->spec.profile == QUOTA_PROFILE_STRICT ? closed : NULL, attr);
	if (m < 0) {
		if (m == -EPERM)
			s->what = "the host's own /proc is partly covered";
		return m;
	}
	int r = sys_move_mount(m, "", AT_FDCWD, "proc", MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
	close(m);
	return r;
}

int inner_masks(struct sandbox *s)
{
	static const char *const bounded[][2] = {{"nr_inodes", "2"}, {NULL, NULL}};
	int empty = -1; /* made when the first folder has to be hidden */
	unsigned clone = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;

	if (s->spec.profile == QUOTA_PROFILE_STRICT)
		return 0; /* nothing of all this is there */
	if (chdir("proc") < 0)
		return -errno;
	for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
		const char *path = masks[i].path;
		int m;
		s->what = path;
		if (masks[i].mask == MASK_READ_ONLY) {
			m = sys_open_tree(AT_FDCWD, path, clone | AT_SYMLINK_NOFOLLOW);
			struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY};
			if (m >= 0 && sys_mount_setattr(m, "", AT_EMPTY_PATH, &a, sizeof a) < 0)
				return -errno;
		} else if (faccessat(AT_FDCWD, path, F_OK, 0) < 0) {
			m = -1;
		} else if (masks[i].mask == MASK_FILE) {
			if ((m = sys_open_tree(s->root, "dev/null", clone)) < 0)
				return -errno;
		} else if (empty < 0) {
			m = make("tmpfs", bounded,
				 MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
			if (m < 0)
				return m;
		} else {
			if ((m = sys_open_tree(empty, "", clone | AT_EMPTY_PATH)) < 0)
				return -errno;
		}
		if (m < 0) {
			if (errno != ENOENT)
				return -errno;
			continue;
		}
		if (sys_move_mount(m, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
			return -errno;
		if (masks[i].mask == MASK_FOLDER && empty < 0)
			empty = m;
		else
			close(m);
	}
	if (empty >= 0)
		close(empty);
	return 0;
}

int inner_pivot(struct sandbox *s)
{
	/* The old root ends up on top of the new one (pivot_root(2), "pivot_root(".", ".")"), from where it is dropped
	 * with all that was on it: the host's mounts, the layers' attachments. */
	if (fchdir(s->root) < 0 || sys_pivot_root(".", ".") < 0 || syscall(SYS_umount2, ".", 2 /* MNT_DETACH */) < 0 ||
	    chdir("/") < 0)
		return -errno;
	close(s->root);
	s->root = -1;

	/* Nothing is above or under the new root, or the whole host would be one ".." away. */
	struct stat root, above, here;
	if (stat("/", &root) < 0 || stat("/..", &above) < 0 || stat(".", &here) < 0)
		return -errno;
	if (root.st_dev != above.st_dev || root.st_ino != above.st_ino || root.st_dev != here.st_dev ||
	    root.st_ino != here.st_ino) {
		s->what = "the old root is still there";
		return -EXDEV;
	}
	return 0;
}

int inner_socket(struct sandbox *s)
{
	struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY};

	if (!s->spec.socket)
		return 0;
	/* For the front door: a mount of its own that is attached nowhere, so that nothing else of this sandbox is one
	 * ".." away from it, and that nobody makes files through. */
	int m = sys_open_tree(AT_FDCWD, "/" KIND_SOCKET_DIR, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (m < 0)
		return -errno;
	if (sys_mount_setattr(m, "", AT_EMPTY_PATH, &a, sizeof a) < 0 || dup3(m, LAUNCH_FD_SOCKET, O_CLOEXEC) < 0)
		return -errno;
	close(m);
	return 0;
}
