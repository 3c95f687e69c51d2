/* The root file system of a sandbox.  Layer agent/sandbox, the builder.
 *
 * Everything is mounted by descriptor, and by the host's root: the overlay needs no user-namespace variant, devices are
 * real.  A bounded tmpfs is laid out so:
 *
 *   dev/                    becomes /dev
 *   tmp/                    becomes /tmp where there is no overlay
 *   layer/upper layer/work  the private layer of the overlay, with /tmp, and a build's /app and /cache, in upper
 *   stack/ tree/ root/      where the layers and the result are attached; gone with the old root
 *
 * Over layer/ lies the directory that the supervisor gave, on a disk and bounded there, or else layer/ is a part of the
 * tmpfs.  A program reaches it only through overlayfs, which hands none of the disk's own ioctls on, and which lets
 * fsync(2) do nothing (volatile): nobody needs what is in it after the instance, and its neighbours need the disk.
 *
 * The builder joins the sandbox's mount namespace for this.  An overlay wants its layers attached in the namespace of
 * who mounts it (Linux < 6.15), and there nothing of the host's own mounts is touched. */
#include "agent/sandbox/sandbox.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int has_overlay(const struct sandbox *s)
{
	return s->spec.kind != MSG_KIND_GIT && s->spec.kind != MSG_KIND_STORE;
}

static int is_strict(const struct sandbox *s)
{
	/* Of apps only: a build writes and executes, the others have no root of their own to close. */
	return s->spec.profile == QUOTA_PROFILE_STRICT &&
	       (s->spec.kind == MSG_KIND_APP || s->spec.kind == MSG_KIND_RUN);
}

int root_take(struct sandbox *s)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;

	s->what = "the stack";
	s->stack = sys_open_tree(LAUNCH_FD_STACK, "", flags | AT_EMPTY_PATH);
	if (s->stack < 0)
		return -errno;
	s->what = "/usr";
	s->usr = sys_open_tree(LAUNCH_FD_USR, "", flags | AT_EMPTY_PATH); /* not what is mounted below it */
	if (s->usr < 0)
		return -errno;
	if (s->spec.kind == MSG_KIND_BUILD)
		return 0;
	s->what = "the tree";
	s->tree = sys_open_tree(LAUNCH_FD_TREE, "", flags | AT_EMPTY_PATH);
	return s->tree < 0 ? -errno : 0;
}

static int set_attr(int mount, uint64_t set, int userns)
{
	/* Private always: a clone of a mount that systemd shares would stay its peer, and pass mounts on to the host.
	 */
	struct mount_attr a = {.attr_set = set, .propagation = MS_PRIVATE};

	if (userns >= 0) {
		a.attr_set |= MOUNT_ATTR_IDMAP;
		a.userns_fd = (uint64_t)userns;
	}
	return sys_mount_setattr(mount, "", AT_EMPTY_PATH, &a, sizeof a) < 0 ? -errno : 0;
}

int root_idmap(struct sandbox *s)
{
	uint64_t shared = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
	int userns = openat(s->proc, "ns/user", O_RDONLY | O_CLOEXEC);

	if (userns < 0)
		return -errno;
	/* Files of the host's root belong to the sandbox's root.  Not every file system can (overlayfs, old tmpfs):
	 * there they belong to nobody, which hinders no app. */
	int r = 0;
	if (set_attr(s->stack, shared, userns) < 0)
		r = set_attr(s->stack, shared, -1);
	if (r == 0 && set_attr(s->usr, shared, userns) < 0)
		r = set_attr(s->usr, shared, -1);
	close(userns);
	/* The tree is the tenant's own already. */
	if (r == 0 && s->tree >= 0)
		r = set_attr(s->tree, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (has_overlay(s) ? MOUNT_ATTR_RDONLY : 0),
			     -1);
	return r;
}

static int config(int fs, const char *key, const char *value)
{
	return sys_fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0) < 0 ? -errno : 0;
}

static int config_u64(int fs, const char *key, uint64_t v)
{
	char text[24];
	size_t at = 0;

	text_add_u64(text, sizeof text, &at, v);
	return config(fs, key, text);
}

/* Creates the configured file system, consuming fs: a detached mount, or negative errno. */
static int create(int fs, int r, unsigned attr)
{
	int m = -1;

	if (r == 0 && sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		r = -errno;
	if (r == 0 && (m = sys_fsmount(fs, FSMOUNT_CLOEXEC, attr)) < 0)
		r = -errno;
	close(fs);
	return r < 0 ? r : m;
}

static int make_tmpfs(const struct sandbox *s, uint64_t bytes, const char *mode, unsigned attr)
{
	int fs = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0)
		return -errno;
	int r = config_u64(fs, "size", bytes);
	if (r == 0)
		r = config_u64(fs, "nr_inodes", s->spec.inodes);
	if (r == 0)
		r = config_u64(fs, "uid", s->spec.uid_base);
	if (r == 0)
		r = config_u64(fs, "gid", s->spec.uid_base);
	if (r == 0)
		r = config(fs, "mode", mode);
	return create(fs, r, attr);
}

struct entry {
	const char *path;
	mode_t mode;
	uint32_t owner;	       /* inside */
	const char *target;    /* a symbolic link's */
	unsigned major, minor; /* a device's */
};

static int make_entries(struct sandbox *s, int dir, const struct entry *e, size_t n)
{
	for (; n > 0; n--, e++) {
		s->what = e->path;
		int r;
		if (S_ISDIR(e->mode))
			r = mkdirat(dir, e->path, e->mode & 07777);
		else if (S_ISLNK(e->mode))
			r = symlinkat(e->target, dir, e->path);
		else
			r = mknodat(dir, e->path, e->mode, makedev(e->major, e->minor));
		if (r < 0)
			return -errno;
		uid_t uid = s->spec.uid_base + e->owner;
		if (fchownat(dir, e->path, uid, uid, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	}
	s->what = NULL;
	return 0;
}

static const struct entry common[] = {
	{.path = "root", .mode = S_IFDIR | 0755},
	{.path = "tmp", .mode = S_IFDIR | 01777},
	{.path = "dev", .mode = S_IFDIR | 0755},
	{.path = "dev/null", .mode = S_IFCHR | 0666, .major = 1, .minor = 3},
	{.path = "dev/zero", .mode = S_IFCHR | 0666, .major = 1, .minor = 5},
	{.path = "dev/full", .mode = S_IFCHR | 0666, .major = 1, .minor = 7},
	{.path = "dev/random", .mode = S_IFCHR | 0666, .major = 1, .minor = 8},
	{.path = "dev/urandom", .mode = S_IFCHR | 0666, .major = 1, .minor = 9},
	{.path = "dev/tty", .mode = S_IFCHR | 0666, .major = 5, .minor = 0},
	{.path = "dev/pts", .mode = S_IFDIR | 0755},
	{.path = "dev/shm", .mode = S_IFDIR | 01777},
	{.path = "dev/ptmx", .mode = S_IFLNK, .target = "pts/ptmx"},
	{.path = "dev/fd", .mode = S_IFLNK, .target = "/proc/self/fd"},
	{.path = "dev/stdin", .mode = S_IFLNK, .target = "/proc/self/fd/0"},
	{.path = "dev/stdout", .mode = S_IFLNK, .target = "/proc/self/fd/1"},
	{.path = "dev/stderr", .mode = S_IFLNK, .target = "/proc/self/fd/2"},
};
static const struct entry layered[] = {
	{.path = "stack", .mode = S_IFDIR | 0755},
	{.path = "tree", .mode = S_IFDIR | 0755},
	{.path = "layer", .mode = S_IFDIR | 0755},
};
/* Below layer. */
static const struct entry private[] = {
	{.path = "work", .mode = S_IFDIR | 0755},
	{.path = "upper", .mode = S_IFDIR | 0755},
	{.path = "upper/etc", .mode = S_IFDIR | 0755},
	{.path = "upper/app", .mode = S_IFDIR | 0755, .owner = SANDBOX_UID},
	{.path = "upper/tmp", .mode = S_IFDIR | 01777},
};
/* Beside /tmp and /var/tmp what the strict profile may write, in front of what the release has there. */
static const struct entry closed[] = {
	{.path = "upper/app/tmp", .mode = S_IFDIR | 0755, .owner = SANDBOX_UID},
};
static const struct entry building[] = {
	{.path = "upper/cache", .mode = S_IFDIR | 0755, .owner = SANDBOX_UID},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct entry socketed[] = {
	{.path = KIND_SOCKET_DIR, .mode = S_IFDIR | 0755},
};

/* Where the app's unix socket lies: a few small files of the app's, through which nobody is led elsewhere.  A link
 * cannot be followed here (Linux 5.14), a hard link cannot leave a mount. */
static int make_socket_dir(const struct sandbox *s)
{
	int fs = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0)
		return -errno;
	int r = config_u64(fs, "size", LIMIT_SANDBOX_SOCKET_BYTES);
	if (r == 0)
		r = config_u64(fs, "nr_inodes", LIMIT_SANDBOX_SOCKET_INODES);
	if (r == 0)
		r = config_u64(fs, "uid", s->spec.uid_base + SANDBOX_UID);
	if (r == 0)
		r = config_u64(fs, "gid", s->spec.uid_base + SANDBOX_UID);
	if (r == 0)
		r = config(fs, "mode", "0711");
	return create(fs, r, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW);
}

/* /etc/hosts and /etc/hostname, in the private layer: no mounts of their own. */
static int write_names(struct sandbox *s)
{
	char text[160];
	size_t at = 0;
	const struct launch *l = &s->spec;

	text_add(text, sizeof text, &at, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n");
	if (l->network) {
		for (int shift = 24; shift >= 0; shift -= 8) {
			text_add_u64(text, sizeof text, &at, l->address >> shift & 255);
			text_add(text, sizeof text, &at, shift ? "." : "\t");
		}
	} else {
		text_add(text, sizeof text, &at, "127.0.1.1\t");
	}
	text_add(text, sizeof text, &at, l->hostname);
	text_add(text, sizeof text, &at, "\n");
	int r = text_write(s->layer, "upper/etc/hosts", O_CREAT | O_EXCL, 0644, text);
	at = 0;
	text_add(text, sizeof text, &at, l->hostname);
	text_add(text, sizeof text, &at, "\n");
	if (r == 0)
		r = text_write(s->layer, "upper/etc/hostname", O_CREAT | O_EXCL, 0644, text);
	if (r == 0 && (fchownat(s->layer, "upper/etc/hosts", l->uid_base, l->uid_base, AT_SYMLINK_NOFOLLOW) < 0 ||
		       fchownat(s->layer, "upper/etc/hostname", l->uid_base, l->uid_base, AT_SYMLINK_NOFOLLOW) < 0))
		r = -errno;
	return r;
}

/* The layer: a detached mount of what the supervisor gave, else a directory of the tmpfs. */
static int take_layer(struct sandbox *s)
{
	s->what = "the layer";
	if (s->spec.layer)
		s->layer = sys_open_tree(LAUNCH_FD_LAYER, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	else
		s->layer = openat(s->files, "layer", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return s->layer < 0 ? -errno : s->spec.layer ? set_attr(s->layer, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, -1) : 0;
}

int root_private(struct sandbox *s)
{
	/* nosuid is kept by the clones that become /dev and so on; nodev is not for all of them. */
	s->files = make_tmpfs(s, s->spec.layer ? LIMIT_DISK_FILES_BYTES : s->spec.disk, "0755", MOUNT_ATTR_NOSUID);
	if (s->files < 0)
		return s->files;
	int r = make_entries(s, s->files, common, COUNT(common));
	if (r == 0 && s->spec.socket)
		r = make_entries(s, s->files, socketed, COUNT(socketed));
	if (r < 0 || !has_overlay(s))
		return r;
	r = make_entries(s, s->files, layered, COUNT(layered));
	if (r == 0)
		r = take_layer(s);
	if (r == 0)
		r = make_entries(s, s->layer, private, COUNT(private));
	if (r == 0 && is_strict(s))
		r = make_entries(s, s->layer, closed, COUNT(closed));
	if (r == 0 && s->spec.kind == MSG_KIND_BUILD)
		r = make_entries(s, s->layer, building, COUNT(building));
	if (r == 0)
		r = write_names(s);
	return r;
}

/* Attaches a detached mount (consumed) to a directory below dir; no link is followed on the way. */
static int attach(int mount, int dir, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	if (mount < 0)
		return mount;
	int to = sys_openat2(dir, path, &how);
	int r = to < 0 ? -errno : 0;
	if (r == 0 && sys_move_mount(mount, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		r = -errno;
	if (to >= 0)
		close(to);
	close(mount);
	return r;
}

/* A part of the private tmpfs as a mount of its own at path of the new root. */
static int attach_part(struct sandbox *s, const char *part, const char *path, uint64_t attr)
{
	s->what = path;
	int m = sys_open_tree(s->files, part, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (m < 0)
		return -errno;
	int r = set_attr(m, MOUNT_ATTR_NOSUID | attr, -1);
	if (r < 0) {
		close(m);
		return r;
	}
	return attach(m, s->root, path);
}

/* A folder of the root, which is read-only in the strict profile, as a mount that can be written and executes nothing.
 * A mount of the overlay, not of the layer below it: see the head. */
static int open_part(struct sandbox *s, const char *path)
{
	struct mount_attr a = {
		.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
		.attr_clr = MOUNT_ATTR_RDONLY,
		.propagation = MS_PRIVATE,
	};

	s->what = path;
	int m = sys_open_tree(s->root, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	if (m < 0)
		return -errno;
	if (sys_mount_setattr(m, "", AT_EMPTY_PATH, &a, sizeof a) < 0) {
		int r = -errno;
		close(m);
		return r;
	}
	return attach(m, s->root, path);
}

static int make_overlay(struct sandbox *s)
{
	/* Relative to the private tmpfs, our working directory, so that /proc/mounts tells a tenant nothing of the
	 * host. */
	int tree = s->spec.kind != MSG_KIND_BUILD;
	int r = attach(s->stack, s->files, "stack");
	s->stack = -1;
	if (r == 0 && tree) {
		r = attach(s->tree, s->files, "tree");
		s->tree = -1;
	}
	if (r == 0 && s->spec.layer) {
		r = attach(s->layer, s->files, "layer");
		s->layer = -1;
	}
	if (r < 0)
		return r;
	int fs = sys_fsopen("overlay", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -errno;
	config(fs, "source", "root");
	/* The stack comes first: nothing in a release can stand in for its /etc or a mount point. */
	r = config(fs, "lowerdir", tree ? "stack:tree" : "stack");
	if (r == 0)
		r = config(fs, "upperdir", "layer/upper");
	if (r == 0)
		r = config(fs, "workdir", "layer/work");
	/* Linux 5.10; without it syncs only cost. */
	if (r == 0)
		sys_fsconfig(fs, FSCONFIG_SET_FLAG, "volatile", NULL, 0);
	return create(fs, r, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (is_strict(s) ? MOUNT_ATTR_RDONLY : 0));
}

static int make_devpts(struct sandbox *s)
{
	int fs = sys_fsopen("devpts", FSOPEN_CLOEXEC);

	if (fs < 0)
		return -errno;
	int r = config(fs, "mode", "0620");
	if (r == 0)
		r = config(fs, "ptmxmode", "0666");
	if (r == 0)
		r = config_u64(fs, "max", LIMIT_SANDBOX_TERMINALS);
	if (r == 0)
		r = config_u64(fs, "gid", s->spec.uid_base + 5); /* tty */
	return create(fs, r, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
}

int root_assemble(struct sandbox *s)
{
	int kind = (int)s->spec.kind, r;

	s->what = "entering its mount namespace";
	if (setns(s->pidfd, CLONE_NEWNS) < 0) /* by pidfd: Linux 5.8 */
		return -errno;
	s->what = "the private file system";
	/* Over the old root's /usr, which is there and was opened before.  Not over its "/": then inner_pivot() would
	 * have two mounts to drop, one on the other. */
	if (sys_move_mount(s->files, "", AT_FDCWD, "/usr", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(s->files) < 0)
		return -errno;

	s->what = "the layers";
	int m = s->stack;
	if (has_overlay(s))
		m = make_overlay(s);
	else
		s->stack = -1;
	if (m < 0)
		return m;
	s->root = fcntl(m, F_DUPFD_CLOEXEC, 3);
	if (s->root < 0)
		return -errno;
	if ((r = attach(m, s->files, "root")) < 0)
		return r;

	s->what = "/usr";
	if ((r = attach(s->usr, s->root, "usr")) < 0)
		return r;
	s->usr = -1;
	if ((r = attach_part(s, "dev", "dev", MOUNT_ATTR_NOEXEC)) < 0 ||
	    (!has_overlay(s) && (r = attach_part(s, "tmp", "tmp", MOUNT_ATTR_NODEV)) < 0) ||
	    (is_strict(s) &&
	     ((r = open_part(s, "tmp")) < 0 || (r = open_part(s, "var/tmp")) < 0 || (r = open_part(s, "app/tmp")) < 0)))
		return r;
	s->what = "/dev/pts";
	if ((r = attach(make_devpts(s), s->root, "dev/pts")) < 0)
		return r;
	s->what = "/dev/shm";
	if (s->spec.shm) {
		m = make_tmpfs(s, s->spec.shm, "1777", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
		if ((r = attach(m, s->root, "dev/shm")) < 0)
			return r;
	}
	if (s->spec.socket) {
		s->what = "/" KIND_SOCKET_DIR;
		if ((r = attach(make_socket_dir(s), s->root, KIND_SOCKET_DIR)) < 0)
			return r;
	}
	if (!has_overlay(s)) {
		s->what = kind == MSG_KIND_GIT ? "/repo" : "/out";
		if ((r = attach(s->tree, s->root, s->what + 1)) < 0)
			return r;
		s->tree = -1;
	}
	return 0;
}

int root_hand_over(struct sandbox *s)
{
	return namespace_say(s, SANDBOX_WORD_ROOT, s->root);
}
