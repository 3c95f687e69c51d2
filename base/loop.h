/* The event loop: libevent behind four verbs.  Layer base, every daemon process, one per process, one thread.
 *
 * A callback never blocks.  An object dies in two steps: its close function unregisters it (harmless twice) and calls
 * loop_defer(), whose function frees it at the end of the turn, so that no callback of this turn meets freed memory. */
#ifndef TULOU_BASE_LOOP_H
#define TULOU_BASE_LOOP_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

/* A new loop; NULL when out of memory or descriptors. */
struct loop *loop_new(void);
void loop_free(struct loop *l);
/* Runs until loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* The libevent base, for libraries that want it. Borrowed. */
struct event_base *loop_base(struct loop *l);

/* Embedded in its owner; zero-filled = unregistered. */
struct loop_io {
	struct event ev;
	struct loop *loop;		   /* borrowed; NULL while unregistered */
	void (*fn)(void *arg, short what); /* what: EV_READ | EV_WRITE | EV_CLOSED */
	void *arg;
};

/* Watches fd (borrowed) for `what` (EV_READ, EV_WRITE, with EV_ET for edge-triggered, EV_CLOSED to be told that the
 * peer ended its direction) until loop_io_stop().  May be called again to change `what`.  0 or negative errno. */
int loop_io_start(struct loop *l, struct loop_io *io, int fd, short what, void (*fn)(void *arg, short what), void *arg);
void loop_io_stop(struct loop_io *io);

struct loop_timer {
	struct event ev;
	struct loop *loop;
	void (*fn)(void *arg);
	void *arg;
};

/* Calls fn once after us microseconds (0 = next turn); starting again replaces the time. */
int loop_timer_start(struct loop *l, struct loop_timer *t, int64_t us, void (*fn)(void *arg), void *arg);
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_pending(const struct loop_timer *t);

struct loop_signal {
	struct event ev;
	struct loop *loop;
	void (*fn)(void *arg, int signo);
	void *arg;
};
int loop_signal_start(struct loop *l, struct loop_signal *s, int signo, void (*fn)(void *arg, int signo), void *arg);
void loop_signal_stop(struct loop_signal *s);

/* Calls fn(arg) when the current turn's callbacks are done.  Cannot fail short of out of memory, which aborts. */
void loop_defer(struct loop *l, void (*fn)(void *arg), void *arg);

#endif
