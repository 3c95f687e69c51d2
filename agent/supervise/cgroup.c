/* Control groups: finding the hierarchies, and all that both versions do alike.  Layer agent, supervisor process. */
#include "agent/supervise/cgroup.h"

#include "agent/supervise/cgroup_backend.h"
#include "base/fd.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CGROUP_KILL_CHUNK 64	     /* pidfds open at a time */
#define CGROUP_LIST_MAX (512u << 10) /* bytes of one cgroup.procs: 32,768 pids of up to 8 bytes with room to spare */
#define CGROUP_FILE_MAX 8192u	     /* bytes of any other control file */

static const char *const controller_names[CGROUP_CONTROLLER_COUNT] = {"memory", "cpu", "pids", "cpuacct"};

/* One mount of a cgroup file system, as found in mountinfo. */
struct mount_found {
	bool v2;
	char path[512];
	char options[256]; /* of the super block: the v1 controllers */
};

int cgroup_open(const struct cgroup *c, enum cgroup_controller k, const char *name)
{
	int fd;

	if (c->of[k] < 0)
		return -ENOENT;
	fd = openat(c->root[c->of[k]], name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int cgroup_write(const struct cgroup *c, int dir, const char *file, const char *text)
{
	OWN_FD int fd = openat(dir, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | c->create, 0600);
	size_t n = strlen(text);
	ssize_t w;

	if (fd < 0)
		return -errno;
	w = write(fd, text, n);
	return w < 0 ? -errno : (size_t)w == n ? 0 : -EIO;
}

int cgroup_write_u64(const struct cgroup *c, int dir, const char *file, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, value);
	return cgroup_write(c, dir, file, text);
}

uint64_t cgroup_read_u64(int dir, const char *file)
{
	OWN_FD int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[32];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (n <= 0)
		return 0;
	text[n] = 0;
	return strtoull(text, NULL, 10);
}

uint64_t cgroup_read_key(int dir, const char *file, const char *key)
{
	OWN_FD int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[CGROUP_FILE_MAX];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	size_t k = strlen(key);

	if (n <= 0)
		return 0;
	text[n] = 0;
	for (char *line = text; line; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (strncmp(line, key, k) == 0 && line[k] == ' ')
			return strtoull(line + k + 1, NULL, 10);
	}
	return 0;
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

/* True when word stands in the list, separated by any of sep. */
static bool list_has(const char *list, const char *sep, const char *word)
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

static int add_hierarchy(struct cgroup *c, const char *path, struct err *e)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

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
			if (c->of[k] >= 0 || !list_has(m.options, ",", controller_names[k]))
				continue;
			if (index < 0)
				index = add_hierarchy(c, m.path, e);
			if (index < 0)
				return index;
			c->of[k] = index;
		}
	}
	for (unsigned k = 0; k < CGROUP_CPUACCT; k++)
		if (c->of[k] < 0)
			return err_set(
				e, ENOENT,
				"the cgroup controller `%s` is mounted nowhere: mount cgroup2, or the v1 controllers "
				"memory, cpu, cpuacct and pids",
				controller_names[k]);
	return 0;
}

/* 1 when the v2 tree with all three controllers was taken, 0 when there is none. */
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
		    !list_has(have, " \n", "memory") || !list_has(have, " \n", "cpu") || !list_has(have, " \n", "pids"))
			continue;
		index = add_hierarchy(c, m.path, e);
		if (index < 0)
			return index;
		for (unsigned k = 0; k < CGROUP_CPUACCT; k++)
			c->of[k] = index;
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

int cgroup_new(const char *mountinfo, const char *name, bool create_files, struct cgroup **ret, struct err *e)
{
	struct cgroup *c = calloc(1, sizeof *c);
	int r;

	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	for (unsigned i = 0; i < CGROUP_HIERARCHIES; i++)
		c->mount[i] = c->root[i] = -1;
	for (unsigned k = 0; k < CGROUP_CONTROLLER_COUNT; k++)
		c->of[k] = -1;
	c->create = create_files ? O_CREAT : 0;
	snprintf(c->name, sizeof c->name, "%s", name);
	r = find_v2(c, mountinfo, e);
	c->ops = r == 1 ? &cgroup_v2_ops : &cgroup_v1_ops;
	if (r == 0)
		r = find_v1(c, mountinfo, e);
	if (r >= 0 && cgroup_is_v2(c))
		r = cgroup_v2_delegate(c, e);
	if (r >= 0)
		r = make_roots(c, e);
	if (r >= 0 && cgroup_is_v2(c)) {
		r = cgroup_write(c, c->root[0], "cgroup.subtree_control", "+memory +cpu +pids");
		if (r < 0)
			r = err_set(e, -r, "cannot enable the controllers of cgroup %s: %s", name, strerror(-r));
	}
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

static void name_of(uint64_t id, char name[CGROUP_NAME_MAX])
{
	snprintf(name, CGROUP_NAME_MAX, "%" PRIu64, id);
}

int cgroup_make(struct cgroup *c, uint64_t id, const struct quota_limits *l, int *fds, size_t *nfds, struct err *e)
{
	char name[CGROUP_NAME_MAX];
	int r = 0;

	name_of(id, name);
	*nfds = 0;
	for (unsigned i = 0; i < c->count && r == 0; i++)
		if (mkdirat(c->root[i], name, 0755) < 0 && errno != EEXIST)
			r = err_errno(e, "cannot make the cgroup %s/%s", c->name, name);
	if (r == 0)
		r = c->ops->set(c, name, l, fds, nfds, e);
	if (r < 0) {
		while (*nfds > 0)
			close(fds[--*nfds]);
		cgroup_remove(c, id);
	}
	return r;
}

int cgroup_sample(const struct cgroup *c, uint64_t id, struct cgroup_sample *ret)
{
	char name[CGROUP_NAME_MAX];
	OWN_FD int dir = -1;

	name_of(id, name);
	*ret = (struct cgroup_sample){0};
	dir = cgroup_open(c, CGROUP_MEMORY, name);
	if (dir < 0)
		return dir;
	c->ops->sample(c, name, ret);
	return 0;
}

/* The members of a group as text, one pid a line; owned by the caller.  0 or negative errno. */
static int members(const struct cgroup *c, const char *name, char **ret)
{
	OWN_FD int dir = cgroup_open(c, CGROUP_PIDS, name);

	return dir < 0 ? dir : fd_read_file(dir, "cgroup.procs", CGROUP_LIST_MAX, ret, NULL);
}

static bool members_have(const char *list, pid_t pid)
{
	char word[16];

	snprintf(word, sizeof word, "%d", (int)pid);
	return list_has(list, "\n", word);
}

bool cgroup_holds(const struct cgroup *c, uint64_t id, pid_t pid)
{
	char name[CGROUP_NAME_MAX];
	OWN_FREE char *list = NULL;

	name_of(id, name);
	return members(c, name, &list) == 0 && members_have(list, pid);
}

/* Kills pids[0..n) that are members still after their pidfd was opened: a number that meanwhile went to another process
 * cannot be hit. */
static int kill_chunk(const struct cgroup *c, const char *name, const pid_t *pids, size_t n)
{
	int pidfds[CGROUP_KILL_CHUNK], killed = 0;
	OWN_FREE char *list = NULL;

	for (size_t i = 0; i < n; i++)
		pidfds[i] = sys_pidfd_open(pids[i]);
	if (members(c, name, &list) == 0)
		for (size_t i = 0; i < n; i++)
			if (pidfds[i] >= 0 && members_have(list, pids[i]) && sys_pidfd_kill(pidfds[i], SIGKILL) == 0)
				killed++;
	for (size_t i = 0; i < n; i++)
		own_close(&pidfds[i]);
	return killed;
}

int cgroup_kill(const struct cgroup *c, uint64_t id)
{
	char name[CGROUP_NAME_MAX];
	OWN_FREE char *list = NULL;
	pid_t pids[CGROUP_KILL_CHUNK];
	size_t n = 0;
	int r, killed = 0;

	name_of(id, name);
	r = members(c, name, &list);
	if (r < 0 || !*list)
		return r == -ENOENT ? 0 : r;
	if (c->ops->kill(c, name) == 0)
		return 1;
	for (const char *p = list; *p;) {
		char *end;
		long pid = strtol(p, &end, 10);
		if (end == p)
			break;
		if (pid > 1) /* 0: a process outside our pid namespace */
			pids[n++] = (pid_t)pid;
		p = *end ? end + 1 : end;
		if (n == ARRAY_LEN(pids) || !*p) {
			killed += kill_chunk(c, name, pids, n);
			n = 0;
		}
	}
	return killed;
}

int cgroup_remove(struct cgroup *c, uint64_t id)
{
	char name[CGROUP_NAME_MAX];
	int r = 0;

	name_of(id, name);
	for (unsigned i = 0; i < c->count; i++)
		if (unlinkat(c->root[i], name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			r = errno == ENOTEMPTY ? -EBUSY : -errno;
	return r;
}

int cgroup_each(const struct cgroup *c, void (*fn)(void *arg, uint64_t id), void *arg)
{
	for (unsigned i = 0; i < c->count; i++) {
		int fd = openat(c->root[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		OWN_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
		struct dirent *de;
		if (!d) {
			int r = -errno;
			own_close(&fd);
			return r;
		}
		while ((de = readdir(d))) {
			uint64_t id;
			if (parse_u64(de->d_name, strlen(de->d_name), 1, UINT64_MAX, "", &id, NULL) == 0 &&
			    de->d_type == DT_DIR)
				fn(arg, id);
		}
	}
	return 0;
}

int cgroup_destroy(struct cgroup *c)
{
	int r = 0;

	for (unsigned i = 0; i < c->count; i++)
		if (unlinkat(c->mount[i], c->name, AT_REMOVEDIR) < 0 && errno != ENOENT && r == 0)
			r = -errno;
	return r;
}
