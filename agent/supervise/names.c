/* Names of a node that no other may have.  Layer agent, supervisor process. */
#include "agent/supervise/names.h"

#include "agent/supervise/cgroup.h"
#include "agent/supervise/names_diag.h"
#include "agent/supervise/net.h"
#include "base/cidr.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#define NAMES_ENV "TULOU_NAMES" /* "pid fd fd …" over an execution in place */
#define NAMES_TRIES 50		/* of 10 ms: a child of a killed supervisor closes a little after it */
#define NAMES_BACKLOG 128
#define NAMES_MOUNTINFO (8u << 20)
#define NAMES_ROOT "tulou/" /* what every abstract name of ours begins with */
#define NAMES_SECOND "#"    /* and what follows it where a stranger had the name itself */

enum name_kind { NAME_LOCK_FILE, NAME_FOLDER, NAME_CGROUP, NAME_TABLE, NAME_POOL, NAME_LINKS };

struct name {
	enum name_kind kind;
	const char *field; /* the setting */
	char value[256];   /* as the operator knows it */
	char path[256];	   /* what is locked, or the abstract name without its first byte */
};

/* What is tried, and what came of it. */
struct names_try {
	const struct name *name;
	const char *mountinfo;
	pid_t holder; /* another process; 0 = nobody, -1 = not to be seen from here */
	bool take;
};

static unsigned names_of(const struct settings *s, struct name out[NAMES_MAX])
{
	unsigned n = 0;
	char table[48];

	net_table_name(s->cgroup, table);
	out[n] = (struct name){.kind = NAME_LOCK_FILE, .field = "node.runtime"};
	snprintf(out[n].value, sizeof out[n].value, "%s", s->runtime);
	snprintf(out[n].path, sizeof out[n].path, "%s/lock", s->runtime);
	n++;
	out[n] = (struct name){.kind = NAME_FOLDER, .field = "node.data"};
	snprintf(out[n].value, sizeof out[n].value, "%s", s->data);
	snprintf(out[n].path, sizeof out[n].path, "%s", s->data);
	n++;
	out[n] = (struct name){.kind = NAME_POOL, .field = "network.pool"};
	snprintf(out[n].value, sizeof out[n].value, "%u.%u.%u.%u/%u", s->pool_net >> 24, s->pool_net >> 16 & 255,
		 s->pool_net >> 8 & 255, s->pool_net & 255, s->pool_prefix);
	snprintf(out[n].path, sizeof out[n].path, NAMES_ROOT "pool/%.*s", 20, out[n].value);
	n++;
	out[n] = (struct name){.kind = NAME_LINKS, .field = "network.link_prefix"};
	snprintf(out[n].value, sizeof out[n].value, "%s", s->link_prefix);
	snprintf(out[n].path, sizeof out[n].path, NAMES_ROOT "links/%s", s->link_prefix);
	n++;
	out[n] = (struct name){.kind = NAME_TABLE, .field = "node.cgroup"};
	snprintf(out[n].value, sizeof out[n].value, "%s (nftables table %s)", s->cgroup, table);
	snprintf(out[n].path, sizeof out[n].path, NAMES_ROOT "table/%s", table);
	n++;
	/* Last: it is the only one whose making is seen by others when a later one would be refused. */
	out[n] = (struct name){.kind = NAME_CGROUP, .field = "node.cgroup"};
	snprintf(out[n].value, sizeof out[n].value, "%s", s->cgroup);
	snprintf(out[n].path, sizeof out[n].path, "%s", s->cgroup);
	return n + 1;
}

static bool name_is_socket(const struct name *n)
{
	return n->kind == NAME_TABLE || n->kind == NAME_POOL || n->kind == NAME_LINKS;
}

static int names_refuse(struct err *e, const struct name *n, pid_t holder)
{
	char who[40] = "whose process is not seen from here";

	if (holder > 0)
		snprintf(who, sizeof who, "pid %d", holder);
	return err_field(e, EBUSY, n->field,
			 "%s: %s is taken by another node (%s): stop that one, or set %s to another value", n->field,
			 n->value, who, n->field);
}

/* --- locks ------------------------------------------------------------------------------------------------------ */

/* Anybody may lock what he may open, as he may bind any abstract name (flock(2) asks for no right to write): only
 * root, and who we are, can be a node. */
static bool is_node(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

static bool is_node_pid(pid_t pid)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof path, "/proc/%d", (int)pid);
	return stat(path, &st) < 0 || is_node(st.st_uid);
}

/* Who holds the flock of this file (proc(5), /proc/locks), a node before others; -1 when that does not say. */
static pid_t lock_holder(const struct stat *st, bool *node)
{
	OWN_FREE char *text = NULL;
	pid_t found = -1;

	*node = true;
	if (fd_read_file(AT_FDCWD, "/proc/locks", NAMES_MOUNTINFO, &text, NULL) < 0)
		return -1;
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		unsigned major, minor;
		uintmax_t inode;
		int pid;
		line += *line == '\n';
		if (sscanf(line, "%*u: FLOCK %*s %*s %d %x:%x:%ju", &pid, &major, &minor, &inode) != 4 ||
		    inode != st->st_ino || pid <= 0)
			continue;
		if (found > 0 && !is_node_pid(pid))
			continue;
		found = pid;
		*node = is_node_pid(pid);
		/* btrfs has a number of its own for each subvolume, which is not the one that is told here. */
		if (*node && makedev(major, minor) == st->st_dev)
			break;
	}
	return found;
}

static int lock_open(const struct names_try *t, struct err *e)
{
	const struct name *n = t->name;
	int fd, r;

	if (n->kind == NAME_CGROUP)
		return cgroup_open_root(t->mountinfo, n->path, t->take, e);
	if (t->take) {
		r = fd_mkdirs(n->value, 0755);
		if (r < 0)
			return err_set(e, -r, "cannot make directory %s: %s", n->value, strerror(-r));
	}
	fd = n->kind == NAME_FOLDER ? open(n->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
				    : open(n->path, O_RDWR | (t->take ? O_CREAT : 0) | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? err_errno(e, "cannot open %s", n->path) : fd;
}

/* An earlier node may have removed what was opened before it was locked: then that lock holds nothing. */
static bool lock_stands(const struct names_try *t, const struct stat *st)
{
	struct names_try again = *t;
	struct stat now;
	OWN_FD int fd = -1;

	again.take = false;
	fd = lock_open(&again, NULL);
	return fd >= 0 && fstat(fd, &now) == 0 && now.st_dev == st->st_dev && now.st_ino == st->st_ino;
}

/* A descriptor that holds it, or -EBUSY with the holder in t, or -errno. */
static int lock_try(struct names_try *t, struct err *e)
{
	struct stat st;

	t->holder = 0;
	for (int i = 0; i < NAMES_TRIES; i++) {
		OWN_FD int fd = lock_open(t, e);
		if (fd < 0)
			return fd;
		if (fstat(fd, &st) < 0)
			return err_errno(e, "cannot look at %s", t->name->path);
		if (flock(fd, (t->take ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0) {
			int why = errno;
			bool node;
			t->holder = lock_holder(&st, &node);
			if (why == EWOULDBLOCK && !node) {
				LOG_WARN("a name of this node is locked by somebody who is none",
					 "setting=%s value=%s pid=%d", t->name->field, t->name->value, (int)t->holder);
				return TAKE_FD(fd);
			}
			errno = why;
			return errno == EWOULDBLOCK || t->holder ? -EBUSY
								 : err_errno(e, "cannot lock %s", t->name->path);
		}
		if (!t->take || lock_stands(t, &st))
			return TAKE_FD(fd);
	}
	return err_set(e, EAGAIN, "%s is removed again and again", t->name->path);
}

/* --- abstract sockets ------------------------------------------------------------------------------------------- */

static socklen_t socket_address(const char *name, struct sockaddr_un *a)
{
	size_t n = strlen(name);

	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = n < sizeof a->sun_path - 1 ? n : sizeof a->sun_path - 1;
	memcpy(a->sun_path + 1, name, n);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

/* The process that listens there, by its credentials when it began to (unix(7), SO_PEERCRED): its pid, 0 when nobody
 * does, -1 when that is not to be seen, as with a full backlog; then *uid is root's. */
static pid_t socket_holder(const char *name, uid_t *uid)
{
	OWN_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a;
	socklen_t len = socket_address(name, &a);
	struct ucred who = {0};
	socklen_t size = sizeof who;

	*uid = 0;
	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&a, len) < 0)
		return errno == ECONNREFUSED ? 0 : -1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
		return -1;
	*uid = who.uid;
	return who.pid > 0 ? who.pid : -1;
}

/* As names_diag_each(), of a kernel that does not say owners: those who listen are asked (proc(5), /proc/net/unix). */
static int socket_each_asked(bool (*fn)(void *arg, const char *name, uid_t uid), void *arg)
{
	OWN_FILE FILE *in = fopen("/proc/net/unix", "re");
	OWN_FREE char *line = NULL;
	size_t cap = 0;
	uid_t uid;

	if (!in)
		return -errno;
	while (getline(&line, &cap, in) > 0) {
		char *at = strchr(line, '@');
		if (!at || strncmp(at + 1, NAMES_ROOT, sizeof NAMES_ROOT - 1) != 0)
			continue;
		at[strcspn(at, "\n")] = 0;
		if (socket_holder(at + 1, &uid) && !fn(arg, at + 1, uid))
			break;
	}
	return 0;
}

/* Whether two names of one kind cannot be side by side. */
static bool socket_clash(const struct name *n, const char *bound)
{
	const char *value = n->path + sizeof NAMES_ROOT - 1, *other;
	size_t kind = strcspn(value, "/") + 1, a, b;
	char plain[sizeof n->path];
	struct cidr x, y;

	if (strncmp(bound, NAMES_ROOT, sizeof NAMES_ROOT - 1) != 0)
		return false;
	snprintf(plain, sizeof plain, "%s", bound + sizeof NAMES_ROOT - 1);
	plain[strcspn(plain, NAMES_SECOND)] = 0;
	other = plain;
	if (strncmp(value, other, kind) != 0)
		return false;
	value += kind;
	other += kind;
	switch (n->kind) {
	case NAME_POOL:
		return cidr_parse(value, "pool", &x, NULL) == 0 && cidr_parse(other, "pool", &y, NULL) == 0 &&
		       (cidr_has(&x, y.ip) || cidr_has(&y, x.ip));
	case NAME_LINKS: /* links are found by how their names begin */
		a = strlen(value);
		b = strlen(other);
		return strncmp(value, other, a < b ? a : b) == 0;
	case NAME_TABLE:
	case NAME_LOCK_FILE:
	case NAME_FOLDER:
	case NAME_CGROUP:
		break;
	}
	return strcmp(value, other) == 0;
}

struct socket_walk {
	struct names_try *t;
	const char *own; /* the name that we have bound, NULL = none */
	bool clash;	 /* a node has one that cannot be beside ours */
	bool stranger;	 /* somebody who is none has ours, or one that cannot be beside it */
	uid_t uid;	 /* who that is */
};

static bool on_socket(void *arg, const char *name, uid_t uid)
{
	struct socket_walk *w = arg;

	if (!socket_clash(w->t->name, name) || (w->own && strcmp(name, w->own) == 0))
		return true;
	/* Anybody may bind any name: what is not root's is no node's. */
	if (!is_node(uid)) {
		w->stranger = true;
		w->uid = uid;
		return true;
	}
	w->t->holder = socket_holder(name, &uid);
	/* A name that nobody listens on is one of a node that takes it just now. */
	w->t->holder = w->t->holder ? w->t->holder : -1;
	w->clash = w->t->holder != getpid();
	return !w->clash;
}

/* Looks through all abstract names of the network namespace for one that a node holds and that clashes. */
static int socket_clashes(struct names_try *t, const char *own, struct socket_walk *w, struct err *e)
{
	int r;

	*w = (struct socket_walk){.t = t, .own = own};
	t->holder = 0;
	r = names_diag_each(NAMES_ROOT, on_socket, w);
	if (r < 0) {
		*w = (struct socket_walk){.t = t, .own = own};
		r = socket_each_asked(on_socket, w);
	}
	if (r < 0)
		return err_set(e, -r, "cannot list the names of sockets: %s", strerror(-r));
	if (!w->clash)
		t->holder = 0;
	return 0;
}

/* A socket that listens on the name and, with `second`, one beside it: NAMES_SECOND and a number.  A descriptor, or
 * negative errno. */
static int socket_bind(const char *name, bool second, char bound[128])
{
	OWN_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a;
	socklen_t len;
	uint32_t mark = 0;

	if (fd < 0 || (second && getrandom(&mark, sizeof mark, 0) != sizeof mark))
		return -errno;
	snprintf(bound, 128, second ? "%.90s" NAMES_SECOND "%08" PRIx32 : "%.90s", name, mark);
	len = socket_address(bound, &a);
	if (bind(fd, (const struct sockaddr *)&a, len) < 0 || listen(fd, NAMES_BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int socket_try(struct names_try *t, struct err *e)
{
	struct socket_walk w;
	OWN_FD int fd = -1;
	char bound[128];
	int r;

	if (t->take)
		fd = socket_bind(t->name->path, false, bound);
	if (fd < 0) {
		if (t->take && fd != -EADDRINUSE)
			return err_set(e, -fd, "cannot hold the name %s: %s", t->name->path, strerror(-fd));
		r = socket_clashes(t, NULL, &w, e);
		if (r < 0 || w.clash)
			return r < 0 ? r : -EBUSY;
		fd = t->take ? socket_bind(t->name->path, true, bound) : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			return err_errno(e, "cannot hold the name %s", t->name->path);
		if (!t->take)
			return TAKE_FD(fd);
	}
	/* Ours stands before the others are looked at: of two that start at once at least one sees the other. */
	r = socket_clashes(t, bound, &w, e);
	if (r < 0 || w.clash)
		return r < 0 ? r : -EBUSY;
	if (w.stranger)
		LOG_WARN("a name of this node is bound by somebody who is none", "setting=%s value=%s uid=%u",
			 t->name->field, t->name->value, (unsigned)w.uid);
	return TAKE_FD(fd);
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

/* The descriptors that an execution in place left to us. */
static void names_inherit(struct names *carried)
{
	const char *text = getenv(NAMES_ENV);
	char *end = NULL;

	carried->count = 0;
	if (!text || strtol(text, &end, 10) != getpid())
		return;
	for (text = end; *text == ' ' && carried->count < NAMES_MAX; text = end) {
		int fd = (int)strtol(text, &end, 10);
		if (end == text)
			break;
		if (fd > 2 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
			carried->fds[carried->count++] = fd;
	}
	unsetenv(NAMES_ENV);
}

static bool name_is(const struct names_try *t, int fd)
{
	struct sockaddr_un want, have = {0};
	socklen_t len = socket_address(t->name->path, &want), got = sizeof have;
	size_t second = sizeof NAMES_SECOND - 1;
	struct stat st;

	if (fstat(fd, &st) < 0 || S_ISSOCK(st.st_mode) != name_is_socket(t->name))
		return false;
	if (!name_is_socket(t->name))
		return lock_stands(t, &st);
	return getsockname(fd, (struct sockaddr *)&have, &got) == 0 && got >= len && memcmp(&have, &want, len) == 0 &&
	       (got == len || (got > len + second && memcmp((char *)&have + len, NAMES_SECOND, second) == 0));
}

static int names_take_one(struct names *n, struct names *carried, struct names_try *t, struct err *e)
{
	int fd = -1;

	for (unsigned i = 0; i < carried->count && fd < 0; i++) {
		if (carried->fds[i] < 0 || !name_is(t, carried->fds[i]))
			continue;
		fd = carried->fds[i];
		carried->fds[i] = -1;
	}
	for (int i = 0; fd < 0 && i < NAMES_TRIES; i++) {
		fd = name_is_socket(t->name) ? socket_try(t, e) : lock_try(t, e);
		/* Only what a dead process left open is worth waiting for. */
		if (fd != -EBUSY || (t->holder > 0 && (kill(t->holder, 0) == 0 || errno == EPERM)))
			break;
		usleep(10000);
	}
	if (fd == -EBUSY)
		return names_refuse(e, t->name, t->holder);
	if (fd < 0)
		return fd;
	n->fds[n->count++] = fd;
	return 0;
}

static int names_mountinfo(const char **text, char **owned, struct err *e)
{
	int r = *text ? 0 : fd_read_file(AT_FDCWD, "/proc/self/mountinfo", NAMES_MOUNTINFO, owned, NULL);

	if (r < 0)
		return err_set(e, -r, "cannot read /proc/self/mountinfo: %s", strerror(-r));
	if (!*text)
		*text = *owned;
	return 0;
}

/* Notes what is missing before it is made. */
static void names_note(struct names *n, const struct name *name, const char *mountinfo)
{
	struct names_made *m = &n->made[n->made_count];
	OWN_FD int fd = -1;

	*m = (struct names_made){0};
	if (name->kind == NAME_CGROUP) {
		fd = cgroup_open_root(mountinfo, name->path, false, NULL);
		if (fd == -ENOENT)
			snprintf(m->cgroup, sizeof m->cgroup, "%.63s", name->path);
	} else if (name->kind == NAME_FOLDER || name->kind == NAME_LOCK_FILE) {
		snprintf(m->folder, sizeof m->folder, "%s", name->value);
		m->missing = fd_mkdirs_missing(name->value);
		m->lock = name->kind == NAME_LOCK_FILE && access(name->path, F_OK) < 0 && errno == ENOENT;
	}
	n->made_count += m->cgroup[0] || m->missing || m->lock;
}

/* Newest first: a folder may lie in another.  The lock is held meanwhile, so nobody else's file is removed. */
void names_undo(struct names *n, const char *mountinfo)
{
	OWN_FREE char *own = NULL;
	char path[300];

	while (n->made_count > 0 && names_mountinfo(&mountinfo, &own, NULL) == 0) {
		const struct names_made *m = &n->made[--n->made_count];
		if (m->cgroup[0])
			cgroup_unmake_root(mountinfo, m->cgroup);
		snprintf(path, sizeof path, "%s/lock", m->folder);
		if (m->lock)
			unlink(path);
		fd_mkdirs_undo(m->folder, m->missing);
	}
	names_release(n);
}

int names_take(struct names *n, const struct settings *s, const char *mountinfo, struct err *e)
{
	OWN_FREE char *own = NULL;
	struct names carried = {0};
	struct name all[NAMES_MAX];
	unsigned count = names_of(s, all);
	int r = names_mountinfo(&mountinfo, &own, e);

	*n = (struct names){0};
	names_inherit(&carried);
	for (unsigned i = 0; r == 0 && i < count; i++) {
		struct names_try t = {.name = &all[i], .mountinfo = mountinfo, .take = true};
		names_note(n, &all[i], mountinfo);
		r = names_take_one(n, &carried, &t, e);
	}
	for (unsigned i = 0; i < carried.count; i++)
		own_close(&carried.fds[i]);
	if (r < 0)
		names_undo(n, mountinfo);
	return r;
}

void names_release(struct names *n)
{
	for (unsigned i = 0; i < n->count; i++) {
		loop_io_stop(&n->io[i]);
		own_close(&n->fds[i]);
	}
	n->count = 0;
}

void names_carry(const struct names *n)
{
	char text[16 + NAMES_MAX * 12];
	size_t k = (size_t)snprintf(text, sizeof text, "%d", getpid());

	for (unsigned i = 0; i < n->count; i++)
		if (fcntl(n->fds[i], F_SETFD, 0) == 0)
			k += (size_t)snprintf(text + k, sizeof text - k, " %d", n->fds[i]);
	setenv(NAMES_ENV, text, 1);
}

static void names_on_asker(void *arg, short what)
{
	const int *fd = arg;
	int asker = accept4(*fd, NULL, NULL, SOCK_CLOEXEC);

	(void)what;
	own_close(&asker);
}

void names_answer(struct names *n, struct loop *loop)
{
	struct stat st;

	for (unsigned i = 0; i < n->count; i++)
		if (fstat(n->fds[i], &st) == 0 && S_ISSOCK(st.st_mode))
			loop_io_start(loop, &n->io[i], n->fds[i], EV_READ, names_on_asker, &n->fds[i]);
}

unsigned names_look(const struct settings *s, const char *mountinfo,
		    void (*report)(void *arg, const char *field, const char *value, pid_t pid), void *arg)
{
	OWN_FREE char *own = NULL;
	struct name all[NAMES_MAX];
	unsigned count = names_of(s, all), held = 0;

	if (names_mountinfo(&mountinfo, &own, NULL) < 0)
		return 0;
	for (unsigned i = 0; i < count; i++) {
		struct names_try t = {.name = &all[i], .mountinfo = mountinfo};
		OWN_FD int fd = name_is_socket(&all[i]) ? socket_try(&t, NULL) : lock_try(&t, NULL);
		if (fd != -EBUSY || t.holder == getpid())
			continue;
		report(arg, all[i].field, all[i].value, t.holder > 0 ? t.holder : 0);
		held++;
	}
	return held;
}

struct names_first {
	struct err *e;
	bool told;
};

static void names_on_first(void *arg, const char *field, const char *value, pid_t pid)
{
	struct names_first *f = arg;
	struct name n = {.field = field};

	if (f->told)
		return;
	f->told = true;
	snprintf(n.value, sizeof n.value, "%s", value);
	names_refuse(f->e, &n, pid ? pid : -1);
}

int names_free_for(const struct settings *s, struct err *e)
{
	struct names_first f = {.e = e};

	return names_look(s, NULL, names_on_first, &f) ? -EBUSY : 0;
}
