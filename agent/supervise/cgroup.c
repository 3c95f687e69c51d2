/* Control groups: finding the hierarchies, our root in each, and their files.  Layer agent, supervisor process. */
#include "agent/supervise/cgroup.h"

#include "agent/supervise/cgroup_backend.h"
#include "base/fd.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const controller_names[CGROUP_CONTROLLER_COUNT] = {"memory",	 "cpu",	  "pids",
								      "cpuacct", "blkio", "cpuset"};

/* One mount of a cgroup file system, as found in mountinfo. */
struct mount_found {
	bool v2;
	char path[512];
	char options[256]; /* of the super block: the v1 controllers */
};

int cgroup_open(const struct cgroup *c, enum cgroup_controller k, const char *name, const char *file, int flags)
{
	char path[CGROUP_NAME_MAX + 64];
	int fd;

	if (c->of[k] < 0)
		return -ENOENT;
	snprintf(path, sizeof path, "%s%s%s", name, *file ? "/" : "", file);
	fd = openat(c->root[c->of[k]], path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

int cgroup_write(const struct cgroup *c, enum cgroup_controller k, const char *name, const char *file, const char *text)
{
	OWN_FD int fd = cgroup_open(c, k, name, file, O_WRONLY | (c->create ? O_CREAT | O_TRUNC : 0));
	size_t n = strlen(text);
	ssize_t w;

	if (fd < 0)
		return fd;
	w = write(fd, text, n);
	return w < 0 ? -errno : (size_t)w == n ? 0 : -EIO;
}

int cgroup_write_u64(const struct cgroup *c, enum cgroup_controller k, const char *name, const char *file,
		     uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, value);
	return cgroup_write(c, k, name, file, text);
}

size_t cgroup_read(const struct cgroup *c, enum cgroup_controller k, const char *name, const char *file, char *text,
		   size_t cap)
{
	OWN_FD int fd = cgroup_open(c, k, name, file, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, cap - 1);

	text[n < 0 ? 0 : n] = 0;
	return n < 0 ? 0 : (size_t)n;
}

uint64_t cgroup_read_u64(const struct cgroup *c, enum cgroup_controller k, const char *name, const char *file)
{
	char text[32];

	cgroup_read(c, k, name, file, text, sizeof text);
	return strtoull(text, NULL, 10);
}

uint64_t cgroup_key(const char *text, const char *key)
{
	size_t k = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (strncmp(line, key, k) == 0 && line[k] == ' ')
			return strtoull(line + k + 1, NULL, 10);
	}
	return 0;
}

bool cgroup_list_has(const char *list, const char *sep, const char *word)
{
	size_t n = strlen(word);

	while (*list) {
		size_t k = strcspn(list, sep);
		if (k == n && memcmp(list, word, n) == 0)
			return true;
		list += k;
		list += strspn(list, sep);
	}
	return false;
}

/* Undoes the octal escapes of proc(5) in place. */
static void mount_unescape(char *s)
{
	char *w = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
		    s[3] <= '7') {
			*w++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*w++ = *s++;
		}
	}
	*w = 0;
}

/* Reads the next cgroup mount at *text: "id parent dev root point options [optional...] - type source super" (proc(5)).
 * False at the end. */
static bool mount_next(const char **text, struct mount_found *ret)
{
	while (**text) {
		char line[1024], *save = NULL, *fields[16], *f;
		size_t n = strcspn(*text, "\n"), k = 0, dash = 0;
		bool fits = n < sizeof line;

		if (fits) {
			memcpy(line, *text, n);
			line[n] = 0;
		}
		*text += n + ((*text)[n] == '\n');
		if (!fits)
			continue; /* longer than any cgroup mount */
		for (f = strtok_r(line, " ", &save); f && k < ARRAY_LEN(fields); f = strtok_r(NULL, " ", &save)) {
			if (strcmp(f, "-") == 0 && !dash)
				dash = k;
			fields[k++] = f;
		}
		if (dash < 6 || k < dash + 4)
			continue;
		ret->v2 = strcmp(fields[dash + 1], "cgroup2") == 0;
		if ((!ret->v2 && strcmp(fields[dash + 1], "cgroup") != 0) || strcmp(fields[3], "/") != 0)
			continue;
		mount_unescape(fields[4]);
		snprintf(ret->path, sizeof ret->path, "%s", fields[4]);
		snprintf(ret->options, sizeof ret->options, "%s", fields[dash + 3]);
		return true;
	}
	return false;
}

static int add_hierarchy(struct cgroup *c, const char *path, struct err *e)
{
	int fd;

	if (c->count == CGROUP_HIERARCHIES)
		return err_set(e, E2BIG, "more than %d cgroup mounts", CGROUP_HIERARCHIES);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "cannot open the cgroup mount %s", path);
	c->mount[c->count] = fd;
	return (int)c->count++;
}

static int find_v1(struct cgroup *c, const char *mountinfo, struct err *e)
{
	struct mount_found m;

	while (mount_next(&mountinfo, &m)) {
		int index = -1;
		if (m.v2)
			continue;
		for (unsigned k = 0; k < CGROUP_CONTROLLER_COUNT; k++) {
			if (c->of[k] >= 0 || !cgroup_list_has(m.options, ",", controller_names[k]))
				continue;
			/* Instances join the tenant's group of these, so they must have hierarchies of their own. */
			if ((k == CGROUP_IO || k == CGROUP_CPUSET) && index >= 0)
				continue;
			if (index < 0)
				index = add_hierarchy(c, m.path, e);
			if (index < 0)
				return index;
			c->of[k] = index;
		}
	}
	for (unsigned k = 0; k < CGROUP_NEEDED; k++)
		if (c->of[k] < 0)
			return err_set(
				e, ENOENT,
				"the cgroup controller `%s` is mounted nowhere: mount cgroup2, or the v1 controllers "
				"memory, cpu, cpuacct and pids",
				controller_names[k]);
	return 0;
}

/* 1 when the v2 tree with all needed controllers was taken, 0 when there is none. */
static int find_v2(struct cgroup *c, const char *mountinfo, struct err *e)
{
	struct mount_found m;

	while (mount_next(&mountinfo, &m)) {
		char path[600];
		OWN_FREE char *have = NULL;
		int index;
		if (!m.v2)
			continue;
		snprintf(path, sizeof path, "%s/cgroup.controllers", m.path);
		if (fd_read_file(AT_FDCWD, path, CGROUP_FILE_MAX, &have, NULL) < 0 ||
		    !cgroup_list_has(have, " \n", "memory") || !cgroup_list_has(have, " \n", "cpu") ||
		    !cgroup_list_has(have, " \n", "pids"))
			continue;
		index = add_hierarchy(c, m.path, e);
		if (index < 0)
			return index;
		for (unsigned k = 0; k < CGROUP_NEEDED; k++)
			c->of[k] = index;
		if (cgroup_list_has(have, " \n", "io"))
			c->of[CGROUP_IO] = index;
		if (cgroup_list_has(have, " \n", "cpuset"))
			c->of[CGROUP_CPUSET] = index;
		return 1;
	}
	return 0;
}

static int make_roots(struct cgroup *c, struct err *e)
{
	for (unsigned i = 0; i < c->count; i++) {
		if (mkdirat(c->mount[i], c->name, 0755) < 0 && errno != EEXIST)
			return err_errno(e, "cannot make the cgroup %s", c->name);
		c->root[i] = openat(c->mount[i], c->name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (c->root[i] < 0)
			return err_errno(e, "cannot open the cgroup %s", c->name);
	}
	return 0;
}

/* The hierarchies, without any change to them. */
static int find_all(const char *mountinfo, const char *name, struct cgroup **ret, struct err *e)
{
	struct cgroup *c = calloc(1, sizeof *c);
	int r;

	*ret = c;
	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	for (unsigned i = 0; i < CGROUP_HIERARCHIES; i++)
		c->mount[i] = c->root[i] = -1;
	for (unsigned k = 0; k < CGROUP_CONTROLLER_COUNT; k++)
		c->of[k] = -1;
	snprintf(c->name, sizeof c->name, "%s", name);
	r = find_v2(c, mountinfo, e);
	c->ops = r == 1 ? &cgroup_v2_ops : &cgroup_v1_ops;
	return r == 0 ? find_v1(c, mountinfo, e) : r;
}

int cgroup_open_root(const char *mountinfo, const char *name, bool make, struct err *e)
{
	struct cgroup *c = NULL;
	int r = find_all(mountinfo, name, &c, e), mount;

	if (r >= 0) {
		mount = c->mount[c->of[CGROUP_MEMORY]];
		if (make && mkdirat(mount, name, 0755) < 0 && errno != EEXIST)
			r = err_errno(e, "cannot make the cgroup %s", name);
		else if ((r = openat(mount, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) < 0)
			r = err_errno(e, "cannot open the cgroup %s", name);
	}
	cgroup_free(c);
	return r;
}

void cgroup_unmake_root(const char *mountinfo, const char *name)
{
	struct cgroup *c = NULL;

	if (find_all(mountinfo, name, &c, NULL) >= 0)
		unlinkat(c->mount[c->of[CGROUP_MEMORY]], name, AT_REMOVEDIR);
	cgroup_free(c);
}

int cgroup_new(const char *mountinfo, const char *name, bool create_files, struct cgroup **ret, struct err *e)
{
	struct cgroup *c = NULL;
	int r = find_all(mountinfo, name, &c, e);

	if (!c)
		return r;
	c->create = create_files ? O_CREAT : 0;
	if (r >= 0 && cgroup_is_v2(c))
		r = cgroup_v2_delegate(c, e);
	if (r >= 0)
		r = make_roots(c, e);
	if (r >= 0)
		r = cgroup_is_v2(c) ? cgroup_v2_root(c, e) : cgroup_v1_root(c, e);
	if (r >= 0)
		cgroup_cpuset_root(c);
	if (r < 0) {
		cgroup_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void cgroup_free(struct cgroup *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < CGROUP_HIERARCHIES; i++) {
		own_close(&c->mount[i]);
		own_close(&c->root[i]);
	}
	free(c);
}

const char *cgroup_version(const struct cgroup *c)
{
	return c->ops->version;
}

bool cgroup_is_v2(const struct cgroup *c)
{
	return c->ops == &cgroup_v2_ops;
}

bool cgroup_has_io(const struct cgroup *c)
{
	return c->of[CGROUP_IO] >= 0;
}

void cgroup_release_agent(const struct cgroup *c, char *out, size_t cap)
{
	*out = 0;
	for (unsigned i = 0; i < c->count && !*out && !cgroup_is_v2(c); i++) {
		OWN_FD int fd = openat(c->mount[i], "release_agent", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		ssize_t n = fd < 0 ? -1 : read(fd, out, cap - 1);
		out[n < 0 ? 0 : n] = 0;
		out[strcspn(out, "\n")] = 0;
	}
}

int cgroup_destroy(struct cgroup *c)
{
	int r = 0;

	for (unsigned i = 0; i < c->count; i++)
		if (unlinkat(c->mount[i], c->name, AT_REMOVEDIR) < 0 && errno != ENOENT && r == 0)
			r = -errno;
	return r;
}
