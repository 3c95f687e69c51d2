/* Our own processes as the supervisor sees them: start, watch, restart with a pause, end.  Layer agent, supervisor. */
#ifndef TULOU_AGENT_ROLES_CHILD_H
#define TULOU_AGENT_ROLES_CHILD_H

#include "agent/roles/role.h"
#include "base/chan.h"
#include "base/loop.h"

#include <sys/types.h>

/*   idle --child_start--> running --process ends--> waiting --pause over--> running
 *     ^                      |  ^________________________________________________|
 *     +---- process ends ----+  (after child_end: no restart) */
struct child {
	enum role_id role;
	unsigned index;	   /* proxy worker */
	pid_t pid;	   /* 0 while not running */
	int pidfd;	   /* owned; -1 while not running */
	struct chan *chan; /* owned; NULL while not running */
	struct loop_io exit_io;
	struct loop_timer restart;
	unsigned failures;  /* in a row */
	int64_t started_us; /* monotonic */
	bool ending;	    /* do not start it again */
	bool ready;	    /* MSG_READY came */
	struct loop *loop;  /* borrowed */
	const struct child_ops *ops;
	void *arg;
};

struct child_ops {
	/* The process runs and its channel is open: send it its first message. */
	void (*on_start)(void *arg, struct child *c);
	/* A permitted message of the child (chan_ops' rules for descriptors). */
	void (*on_msg)(void *arg, struct child *c, uint16_t type, const void *body, size_t len, int *fds, size_t nfds);
	/* The process is gone; it is started again after a pause unless c->ending. */
	void (*on_exit)(void *arg, struct child *c, int status);
};

void child_init(struct child *c, struct loop *l, enum role_id role, unsigned index, const struct child_ops *ops,
		void *arg);
/* Starts the process; a failure is logged and tried again after the pause. */
void child_start(struct child *c);
/* Asks it to end (signo) and does not start it again; harmless when it does not run. */
void child_end(struct child *c, int signo);
/* True when neither running nor waiting to be started again. */
bool child_idle(const struct child *c);

#endif
