/* The stored trees that instances see.  Layer agent, supervisor process. */
#include "agent/supervise/tree.h"

#include "base/dir.h"
#include "base/fd.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int tree_folder(const char *data, const char *name, int *ret, struct err *e)
{
	char path[256];
	int r;

	snprintf(path, sizeof path, "%s/%s", data, name);
	r = fd_mkdirs(path, 0755);
	if (r < 0)
		return err_set(e, -r, "cannot make %s: %s", path, strerror(-r));
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (*ret < 0 || fchown(*ret, 0, 0) < 0 || fchmod(*ret, 0700) < 0)
		return err_errno(e, "cannot prepare %s", path);
	return 0;
}

int tree_init(struct tree *t, const char *data, struct err *e)
{
	int r;

	*t = (struct tree){-1, -1};
	r = tree_folder(data, "releases", &t->releases, e);
	if (r == 0)
		r = tree_folder(data, "repos", &t->repos, e);
	if (r < 0)
		tree_done(t);
	return r;
}

void tree_done(struct tree *t)
{
	own_close(&t->releases);
	own_close(&t->repos);
}

static void tree_name(uint64_t id, const char *suffix, char name[40])
{
	snprintf(name, 40, "%" PRIu64 "%s", id, suffix);
}

/* Makes dir/name owned by uid; an existing one is kept and given to that uid again. */
static int tree_mkdir(int dir, const char *name, mode_t mode, uint32_t uid)
{
	OWN_FD int fd = -1;

	if (mkdirat(dir, name, mode) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 || fchown(fd, uid, uid) < 0 || fchmod(fd, mode) < 0 ? -errno : 0;
}

static int tree_make_new(struct tree *t, uint64_t object, uint32_t uid, struct err *e)
{
	OWN_FD int fd = -1;
	char name[40];
	int r;

	tree_name(object, "", name);
	if (faccessat(t->releases, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(e, EEXIST, "release tree %s exists already", name);
	tree_name(object, ".new", name);
	if (mkdirat(t->releases, name, 0755) < 0)
		return err_errno(e, "cannot make the release tree %s", name);
	fd = openat(t->releases, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	r = fd < 0 ? -errno : tree_mkdir(fd, "app", 0755, uid);
	if (r == 0 && (fchown(fd, uid, uid) < 0 || fchmod(fd, 0755) < 0))
		r = -errno;
	return r < 0 ? err_set(e, -r, "cannot prepare the release tree %s: %s", name, strerror(-r)) : 0;
}

int tree_open(struct tree *t, enum msg_kind kind, uint64_t app, uint64_t object, uint32_t uid_base, int *ret,
	      struct err *e)
{
	int dir = t->releases, r = 0;
	char name[40];

	*ret = -1;
	switch (kind) {
	case MSG_KIND_APP:
	case MSG_KIND_RUN:
		tree_name(object, "", name);
		break;
	case MSG_KIND_STORE:
		r = tree_make_new(t, object, uid_base + TREE_UID, e);
		tree_name(object, ".new", name);
		break;
	case MSG_KIND_GIT:
		dir = t->repos;
		tree_name(app, "", name);
		r = tree_mkdir(dir, name, 0700, uid_base + TREE_UID);
		if (r < 0)
			err_set(e, -r, "cannot make the repository of app %s: %s", name, strerror(-r));
		break;
	case MSG_KIND_BUILD:
	case MSG_KIND_COUNT:
	default:
		return 0;
	}
	if (r < 0)
		return r;
	*ret = openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (*ret < 0)
		return err_errno(e, "cannot open the %s %s", dir == t->repos ? "repository of app" : "release tree",
				 name);
	return 0;
}

bool tree_has_repo(const struct tree *t, uint64_t app)
{
	char name[40];

	tree_name(app, "", name);
	return faccessat(t->repos, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int tree_finish(struct tree *t, uint64_t object, bool ok)
{
	char from[40], to[40];

	tree_name(object, ".new", from);
	tree_name(object, ok ? "" : ".gone", to);
	return renameat2(t->releases, from, t->releases, to, RENAME_NOREPLACE) < 0 && errno != ENOENT ? -errno : 0;
}

static int tree_dir(const struct tree *t, enum msg_remove_kind kind)
{
	return kind == MSG_REMOVE_REPO ? t->repos : t->releases;
}

int tree_retire(struct tree *t, enum msg_remove_kind kind, uint64_t id)
{
	char from[40], to[40];
	int dir = tree_dir(t, kind);

	tree_name(id, "", from);
	tree_name(id, ".gone", to);
	/* An earlier removal may still be at work under that name: the child then finds both. */
	return renameat2(dir, from, dir, to, RENAME_NOREPLACE) < 0 && errno != ENOENT ? -errno : 0;
}

int tree_remove_gone(struct tree *t, enum msg_remove_kind kind, uint64_t id)
{
	char name[40];

	tree_name(id, ".gone", name);
	return fd_remove_tree(tree_dir(t, kind), name);
}

struct tree_leftovers {
	struct tree *t;
	enum msg_remove_kind kind;
	bool (*busy)(void *arg, uint64_t object);
	void (*fn)(void *arg, enum msg_remove_kind kind, uint64_t id);
	void *arg;
};

static void tree_leftover(void *arg, uint64_t id, const char *suffix)
{
	const struct tree_leftovers *l = arg;

	if (strcmp(suffix, ".gone") == 0 ||
	    (strcmp(suffix, ".new") == 0 && !l->busy(l->arg, id) && tree_finish(l->t, id, false) == 0))
		l->fn(l->arg, l->kind, id);
}

int tree_leftovers(struct tree *t, bool (*busy)(void *arg, uint64_t object),
		   void (*fn)(void *arg, enum msg_remove_kind kind, uint64_t id), void *arg)
{
	static const enum msg_remove_kind kinds[] = {MSG_REMOVE_RELEASE, MSG_REMOVE_REPO};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct tree_leftovers l = {t, kinds[i], busy, fn, arg};
		int r = dir_each_number(tree_dir(t, kinds[i]), tree_leftover, &l);
		if (r < 0)
			return r;
	}
	return 0;
}

struct tree_each {
	void (*fn)(void *arg, uint64_t id);
	void *arg;
};

static void tree_one(void *arg, uint64_t id, const char *suffix)
{
	const struct tree_each *e = arg;

	if (!*suffix)
		e->fn(e->arg, id);
}

int tree_each(const struct tree *t, enum msg_remove_kind kind, void (*fn)(void *arg, uint64_t id), void *arg)
{
	struct tree_each e = {fn, arg};

	return dir_each_number(tree_dir(t, kind), tree_one, &e);
}
