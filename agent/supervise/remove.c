/* Removal of stored trees, one at a time, in a child process: a tree may have 200,000 files.  Layer agent, supervisor
 * process. */
#include "agent/supervise/instance.h"

#include "base/own.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define REMOVE_TREE_FD 16      /* above the descriptors that the child keeps of the disk */
#define REMOVE_RETRY_US 200000 /* after a fork that failed */
#define REMOVE_PAUSE_US 200000 /* before the layers of ended instances are removed */

struct removal {
	TAILQ_ENTRY(removal) link;
	enum msg_remove_kind kind;
	uint64_t id;
	bool tell;
};

struct supervise_removal {
	TAILQ_HEAD(removal_list, removal) queue; /* the first one is at work when child != 0 */
	size_t count;
	pid_t child;
	int child_fd; /* owned pidfd */
	struct loop_io io;
	struct loop_timer retry;
};

static void remove_next(struct supervise *s);

int remove_new(struct supervise *s)
{
	struct supervise_removal *r = calloc(1, sizeof *r);

	if (!r)
		return -ENOMEM;
	TAILQ_INIT(&r->queue);
	r->child_fd = -1;
	s->removal = r;
	return 0;
}

void remove_free(struct supervise *s)
{
	struct supervise_removal *r = s->removal;
	struct removal *one;

	if (!r)
		return;
	loop_io_stop(&r->io);
	loop_timer_stop(&r->retry);
	own_close(&r->child_fd);
	while ((one = TAILQ_FIRST(&r->queue))) {
		TAILQ_REMOVE(&r->queue, one, link);
		free(one);
	}
	free(r);
	s->removal = NULL;
}

bool remove_idle(const struct supervise *s)
{
	return TAILQ_EMPTY(&s->removal->queue);
}

static void remove_on_done(void *arg, short what)
{
	struct supervise *s = arg;
	struct supervise_removal *r = s->removal;
	struct removal *one = TAILQ_FIRST(&r->queue);
	struct msg_remove m = {.kind = one->kind, .id = one->id};
	bool tell = one->tell;

	(void)what;
	if (waitpid(r->child, NULL, WNOHANG) == 0)
		return;
	loop_io_stop(&r->io);
	own_close(&r->child_fd);
	r->child = 0;
	TAILQ_REMOVE(&r->queue, one, link);
	r->count--;
	free(one);
	remove_next(s);
	/* Whatever the child could not remove is taken up again at the next start: to control the tree is gone. */
	if (tell)
		s->ops.on_removed(s->ops.arg, &m);
}

static void remove_on_retry(void *arg)
{
	remove_next(arg);
}

_Noreturn static void remove_child(struct supervise *s, const struct removal *one)
{
	int dir = one->kind == MSG_REMOVE_REPO ? s->tree.repos : s->tree.releases, r = 0;
	struct sched_param idle = {0};
	struct tree t;

	/* The loop's descriptors must not live on in here: epoll would report them for as long as we do. */
	setsid();
	dir = one->kind == MSG_REMOVE_LAYERS ? -1 : fcntl(dir, F_DUPFD_CLOEXEC, REMOVE_TREE_FD);
	if (dir >= 0)
		dir = dup3(dir, REMOVE_TREE_FD - 1, O_CLOEXEC);
	disk_in_child(s->disk, REMOVE_TREE_FD);
	t = (struct tree){dir, dir};
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	sched_setscheduler(0, SCHED_BATCH, &idle);
	setpriority(PRIO_PROCESS, 0, 10);
	if (one->kind != MSG_REMOVE_RELEASE)
		r = disk_remove_gone(s->disk, one->kind == MSG_REMOVE_REPO ? DISK_REPO : DISK_LAYER);
	if (one->kind != MSG_REMOVE_LAYERS && tree_remove_gone(&t, one->kind, one->id) < 0)
		r = -1;
	_exit(r < 0);
}

static void remove_next(struct supervise *s)
{
	struct supervise_removal *r = s->removal;
	struct removal *one = TAILQ_FIRST(&r->queue);
	sigset_t all, before;
	pid_t pid;

	if (!one || r->child)
		return;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before); /* no handler of ours runs in the child */
	pid = fork();
	if (pid == 0)
		remove_child(s, one);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0) {
		loop_timer_start(s->loop, &r->retry, REMOVE_RETRY_US, remove_on_retry, s);
		return;
	}
	r->child = pid;
	r->child_fd = sys_pidfd_open(pid);
	if (r->child_fd < 0 || loop_io_start(s->loop, &r->io, r->child_fd, EV_READ, remove_on_done, s) < 0) {
		/* Out of descriptors: rather wait for this one than lose sight of it. */
		own_close(&r->child_fd);
		waitpid(pid, NULL, 0);
		r->child = 0;
		loop_timer_start(s->loop, &r->retry, REMOVE_RETRY_US, remove_on_retry, s);
	}
}

int remove_queue(struct supervise *s, enum msg_remove_kind kind, uint64_t id, bool tell)
{
	struct supervise_removal *r = s->removal;
	struct removal *one;

	if (r->count >= LIMIT_REMOVALS)
		return -ENOBUFS;
	one = calloc(1, sizeof *one);
	if (!one)
		return -ENOMEM;
	*one = (struct removal){.kind = kind, .id = id, .tell = tell};
	TAILQ_INSERT_TAIL(&r->queue, one, link);
	r->count++;
	/* A layer is left when its instance ends, which is when another one starts: that goes first, and the ends that
	 * come meanwhile share one child. */
	if (kind == MSG_REMOVE_LAYERS && r->count == 1)
		loop_timer_start(s->loop, &r->retry, REMOVE_PAUSE_US, remove_on_retry, s);
	else
		remove_next(s);
	return 0;
}

void remove_layers(struct supervise *s)
{
	const struct removal *last = TAILQ_LAST(&s->removal->queue, removal_list);

	/* One that has not begun takes these along; the one at work may have passed them. */
	if (last && last->kind == MSG_REMOVE_LAYERS && (last != TAILQ_FIRST(&s->removal->queue) || !s->removal->child))
		return;
	remove_queue(s, MSG_REMOVE_LAYERS, 0, false);
}

void remove_wait(struct supervise *s)
{
	struct supervise_removal *r = s->removal;

	if (r->child)
		waitpid(r->child, NULL, 0);
	r->child = 0;
}
