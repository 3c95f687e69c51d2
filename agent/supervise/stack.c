/* The root skeleton below every instance.  Layer agent, supervisor process. */
#include "agent/supervise/stack.h"

#include "base/buf.h"
#include "base/fd.h"
#include "base/map.h"
#include "base/own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define STACK_FORMAT "1"	      /* in the fingerprint: change it when this file makes something else */
#define STACK_MANIFEST_MAX (4u << 20) /* bytes of names, sizes and times: 40,000 files */
#define STACK_DEPTH 12u
#define STACK_FILE_MAX (16ll << 20) /* larger files in /etc are none that an app needs */

static const struct {
	const char *path;
	mode_t mode;
} stack_dirs[] = {
	{"usr", 0755},	      {"etc", 0755},	 {"proc", 0555},    {"sys", 0555},	{"dev", 0755},
	{"tmp", 01777},	      {"app", 0755},	 {"repo", 0755},    {"out", 0755},	{"cache", 0755},
	{"buildpacks", 0755}, {"run", 0755},	 {"var", 0755},	    {"var/tmp", 01777}, {"var/cache", 0755},
	{"var/lib", 0755},    {"var/log", 0755}, {"home", 0755},    {"root", 0700},	{"mnt", 0755},
	{"opt", 0755},	      {"srv", 0755},	 {"etc/ssl", 0755},
};

/* Links of a merged /usr, taken over as the host has them. */
static const char *const stack_links[] = {"bin", "sbin", "lib", "lib64", "lib32", "libx32"};

/* Patterns below /etc that runtimes read. */
static const char *const stack_etc[] = {
	"/etc/ld.so.cache",  "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ssl/certs",	"/etc/ssl/openssl.cnf",
	"/etc/alternatives", "/etc/localtime",	"/etc/timezone",     "/etc/mime.types", "/etc/services",
	"/etc/protocols",    "/etc/host.conf",	"/etc/gai.conf",     "/etc/os-release", "/etc/debian_version",
	"/etc/locale.alias", "/etc/fonts",	"/etc/magic",	     "/etc/java-*",	"/etc/python3*",
	"/etc/perl",	     "/etc/php",	"/etc/ruby*",	     "/etc/terminfo",	"/etc/ImageMagick-*",
};

/* Ours: an instance knows only its own users. */
static const struct {
	const char *path, *text;
} stack_files[] = {
	{"etc/passwd", "root:x:0:0:root:/root:/usr/sbin/nologin\n"
		       "app:x:1000:1000:app:/app:/bin/bash\n"
		       "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
	{"etc/group", "root:x:0:\ntty:x:5:\napp:x:1000:\nnogroup:x:65534:\n"},
	{"etc/shells", "/bin/sh\n/bin/bash\n"},
	{"etc/hosts", "127.0.0.1\tlocalhost\n"},
	{"etc/hostname", "localhost\n"},
	{"etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
			      "protocols: files\nservices: files\n"},
};

/* One pass over the inputs.  With to < 0 it only writes the manifest. */
struct stack_pass {
	int to;		      /* root of the version being built, -1 = none */
	struct buf *manifest; /* NULL while copying */
};

static int copy_file(int from_dir, const char *name, int to_dir, mode_t mode)
{
	OWN_FD int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	OWN_FD int to = -1;
	struct stat st;
	off_t off = 0;

	if (from < 0 || fstat(from, &st) < 0)
		return -errno;
	to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (to < 0 || fchmod(to, mode) < 0)
		return -errno;
	while (off < st.st_size) {
		ssize_t n = sendfile(to, from, &off, (size_t)(st.st_size - off));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0; /* it shrank meanwhile */
	}
	return 0;
}

static int take(struct stack_pass *p, int from_dir, const char *name, int to_dir, unsigned depth);

static int take_dir(struct stack_pass *p, int from_dir, const char *name, int to_dir, unsigned depth)
{
	int fd = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	OWN_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	OWN_FD int sub = -1;
	struct dirent **list = NULL;
	int n, r = 0;

	if (!d) {
		r = -errno;
		own_close(&fd);
		return r;
	}
	if (to_dir >= 0) {
		if (mkdirat(to_dir, name, 0755) < 0 && errno != EEXIST)
			return -errno;
		sub = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (sub < 0 || fchmod(sub, 0755) < 0)
			return -errno;
	}
	n = scandirat(fd, ".", &list, NULL,
		      alphasort); /* sorted: the manifest must not depend on the directory's order */
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (r == 0 && strcmp(list[i]->d_name, ".") != 0 && strcmp(list[i]->d_name, "..") != 0)
			r = take(p, fd, list[i]->d_name, sub, depth + 1);
		free(list[i]);
	}
	free(list);
	if (p->manifest)
		buf_adds(p->manifest, "end\n");
	return r;
}

/* Takes name of from_dir over into to_dir (or the manifest): files, links and directories that everybody may read. */
static int take(struct stack_pass *p, int from_dir, const char *name, int to_dir, unsigned depth)
{
	char target[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (fstatat(from_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISLNK(st.st_mode)) {
		n = readlinkat(from_dir, name, target, sizeof target - 1);
		if (n < 0)
			return -errno;
		target[n] = 0;
		if (p->manifest)
			return buf_printf(p->manifest, "%s -> %s\n", name, target);
		return symlinkat(target, to_dir, name) < 0 ? -errno : 0;
	}
	if (S_ISDIR(st.st_mode)) {
		if ((st.st_mode & 05) != 05 || depth > STACK_DEPTH)
			return 0;
		if (p->manifest)
			buf_printf(p->manifest, "%s/\n", name);
		return take_dir(p, from_dir, name, to_dir, depth);
	}
	if (!S_ISREG(st.st_mode) || !(st.st_mode & 04) || st.st_size > STACK_FILE_MAX)
		return 0;
	if (p->manifest)
		return buf_printf(p->manifest, "%s %o %jd %jd.%09ld\n", name, st.st_mode & 0777, (intmax_t)st.st_size,
				  (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	return copy_file(from_dir, name, to_dir, st.st_mode & 0111 ? 0755 : 0644);
}

/* Takes what stands at an absolute path of the host to the directory `into` of the version. */
static int take_path(struct stack_pass *p, const char *path, const char *into)
{
	OWN_FREE char *copy = strdup(path);
	OWN_FD int from = -1, to = -1;
	char *slash = copy ? strrchr(copy, '/') : NULL;

	if (!slash)
		return -ENOMEM;
	*slash = 0;
	from = open(*copy ? copy : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (from < 0)
		return errno == ENOENT ? 0 : -errno;
	if (p->to >= 0) {
		to = openat(p->to, into, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (to < 0)
			return -errno;
	}
	return take(p, from, slash + 1, to, 0);
}

static int take_etc(struct stack_pass *p)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(stack_etc) && r == 0; i++) {
		const char *into = strncmp(stack_etc[i], "/etc/ssl/", 9) == 0 ? "etc/ssl" : "etc";
		glob_t g = {0};
		if (glob(stack_etc[i], 0, NULL, &g) == 0)
			for (size_t k = 0; k < g.gl_pathc && r == 0; k++)
				r = take_path(p, g.gl_pathv[k], into);
		globfree(&g);
	}
	return r;
}

static int take_links(struct stack_pass *p)
{
	for (size_t i = 0; i < ARRAY_LEN(stack_links); i++) {
		char path[16];
		struct stat st;
		snprintf(path, sizeof path, "/%s", stack_links[i]);
		if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
			int r = take_path(p, path, ".");
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* The folder of the buildpacks; false when there is none. */
static bool buildpacks_find(const char *program_dir, char path[PATH_MAX])
{
	char beside[PATH_MAX];

	if ((size_t)snprintf(beside, sizeof beside, "%s/../deploy/buildpacks", program_dir) < sizeof beside &&
	    realpath(beside, path))
		return true;
	return realpath("/usr/share/tulou/buildpacks", path) != NULL;
}

static int take_buildpacks(struct stack_pass *p, const char *program_dir)
{
	char path[PATH_MAX];
	struct stack_pass renamed = *p;

	if (!buildpacks_find(program_dir, path))
		return 0;
	/* Its last part is "buildpacks" in both places, so it lands on /buildpacks. */
	return take_path(&renamed, path, ".");
}

static int write_own(int to, const struct buf *resolv)
{
	for (size_t i = 0; i < ARRAY_LEN(stack_files); i++) {
		int r = fd_replace_file(to, stack_files[i].path, stack_files[i].text, strlen(stack_files[i].text), 0644,
					false);
		if (r < 0)
			return r;
	}
	return fd_replace_file(to, "etc/resolv.conf", resolv->data ? resolv->data : "", resolv->len, 0644, false);
}

static int take_all(struct stack_pass *p, const char *program_dir)
{
	int r = take_links(p);

	if (r == 0)
		r = take_etc(p);
	return r == 0 ? take_buildpacks(p, program_dir) : r;
}

static int build_version(int to, const char *program_dir, const struct buf *resolv)
{
	struct stack_pass p = {to, NULL};

	for (size_t i = 0; i < ARRAY_LEN(stack_dirs); i++)
		if (mkdirat(to, stack_dirs[i].path, stack_dirs[i].mode) < 0 ||
		    fchmodat(to, stack_dirs[i].path, stack_dirs[i].mode, 0) < 0)
			return -errno;
	int r = take_all(&p, program_dir);
	if (r == 0 && symlinkat("/proc/mounts", to, "etc/mtab") < 0)
		r = -errno;
	if (r == 0 && fchmod(to, 0755) < 0)
		r = -errno;
	return r == 0 ? write_own(to, resolv) : r;
}

static int fingerprint(const char *program_dir, const struct buf *resolv, char name[STACK_NAME])
{
	static const uint8_t key[16] = "tulou root stack"; /* no secret: it only tells versions apart */
	OWN_BUF struct buf m = {0};
	struct stack_pass p = {-1, &m};
	uint64_t h;
	int r;

	buf_init(&m, STACK_MANIFEST_MAX);
	buf_adds(&m, "format " STACK_FORMAT "\n");
	buf_add(&m, resolv->data, resolv->len);
	r = take_all(&p, program_dir);
	for (size_t i = 0; i < ARRAY_LEN(stack_files); i++)
		buf_printf(&m, "%s\n%s", stack_files[i].path, stack_files[i].text);
	if (r == 0)
		r = m.failed;
	if (r < 0)
		return r;
	h = map_siphash(m.data, m.len, key);
	snprintf(name, STACK_NAME, "%016" PRIx64, h);
	return 0;
}

/* Points <data>/stack at the version. */
static int make_current(const char *data, const char *name)
{
	char link[512], fresh[512], target[64];

	snprintf(link, sizeof link, "%s/stack", data);
	snprintf(fresh, sizeof fresh, "%s/stack.new", data);
	snprintf(target, sizeof target, "stacks/%s", name);
	unlink(fresh);
	return symlink(target, fresh) < 0 || rename(fresh, link) < 0 ? -errno : 0;
}

int stack_build(const char *data, const char *program_dir, const uint32_t *resolvers, unsigned resolver_count,
		char name[STACK_NAME], struct err *e)
{
	OWN_BUF struct buf resolv = {0};
	OWN_FD int all = -1, to = -1;
	char path[512], fresh[STACK_NAME + 8];
	int r;

	buf_init(&resolv, 1024);
	/* A query lost while the resolver is started again costs two seconds, not five. */
	buf_adds(&resolv, "options timeout:2 attempts:3\n");
	for (unsigned i = 0; i < resolver_count; i++)
		buf_printf(&resolv, "nameserver %u.%u.%u.%u\n", resolvers[i] >> 24, resolvers[i] >> 16 & 255,
			   resolvers[i] >> 8 & 255, resolvers[i] & 255);
	snprintf(path, sizeof path, "%s/stacks", data);
	r = fd_mkdirs(path, 0755);
	if (r == 0) {
		all = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		r = all < 0 ? -errno : fingerprint(program_dir, &resolv, name);
	}
	if (r < 0)
		return err_set(e, -r, "cannot prepare the root skeleton in %s: %s", path, strerror(-r));
	if (faccessat(all, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
		snprintf(fresh, sizeof fresh, "%s.new", name);
		r = fd_remove_tree(all, fresh);
		if (r == 0 && mkdirat(all, fresh, 0755) < 0)
			r = -errno;
		if (r == 0) {
			to = openat(all, fresh, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
			r = to < 0 ? -errno : build_version(to, program_dir, &resolv);
		}
		/* Once the name stands, it is trusted for ever: it may not outlive a power cut with empty files. */
		if (r == 0 && syncfs(to) < 0)
			r = -errno;
		if (r == 0 && renameat(all, fresh, all, name) < 0)
			r = -errno;
		if (r < 0)
			return err_set(e, -r, "cannot build the root skeleton %s/%s: %s", path, name, strerror(-r));
	}
	r = make_current(data, name);
	if (r < 0)
		return err_set(e, -r, "cannot make %s/stack: %s", data, strerror(-r));
	r = openat(all, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return r < 0 ? err_errno(e, "cannot open the root skeleton %s/%s", path, name) : r;
}

void stack_sweep(const char *data, bool (*keep)(void *arg, const char *name), void *arg)
{
	char path[512];
	OWN_DIR DIR *d = NULL;
	struct dirent *de;

	snprintf(path, sizeof path, "%s/stacks", data);
	d = opendir(path);
	while (d && (de = readdir(d)))
		if (de->d_name[0] != '.' && !keep(arg, de->d_name))
			fd_remove_tree(dirfd(d), de->d_name);
}
