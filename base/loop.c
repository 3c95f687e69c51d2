/* The event loop.  Layer base, every daemon process. */
#include "base/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct loop_deferred {
	void (*fn)(void *arg);
	void *arg;
};

struct loop {
	struct event_base *base;
	struct loop_deferred *queue;
	size_t count, cap;
	bool stopped;
};

static void loop_flush(struct loop *l)
{
	/* A deferred function may defer again; those run in this pass too. */
	for (size_t i = 0; i < l->count; i++) {
		struct loop_deferred d = l->queue[i];
		d.fn(d.arg);
	}
	l->count = 0;
}

struct loop *loop_new(void)
{
	struct loop *l = calloc(1, sizeof *l);
	struct event_config *cfg = event_config_new();

	if (l && cfg) {
		event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
		l->base = event_base_new_with_config(cfg);
	}
	if (cfg)
		event_config_free(cfg);
	if (!l || !l->base) {
		loop_free(l);
		return NULL;
	}
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	if (l->base) {
		loop_flush(l);
		event_base_free(l->base);
	}
	free(l->queue);
	free(l);
}

void loop_run(struct loop *l)
{
	/* One turn at a time: libevent's priorities would starve a "last" event for as long as others are ready. */
	for (l->stopped = false; !l->stopped;) {
		loop_flush(l);
		if (l->stopped || event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY) < 0)
			break;
	}
	loop_flush(l);
}

void loop_stop(struct loop *l)
{
	l->stopped = true;
	event_base_loopbreak(l->base);
}

struct event_base *loop_base(struct loop *l)
{
	return l->base;
}

static void loop_on_io(evutil_socket_t fd, short what, void *arg)
{
	struct loop_io *io = arg;

	(void)fd;
	io->fn(io->arg, (short)(what & (EV_READ | EV_WRITE | EV_CLOSED)));
}

int loop_io_start(struct loop *l, struct loop_io *io, int fd, short what, void (*fn)(void *arg, short what), void *arg)
{
	if (io->loop)
		event_del(&io->ev);
	io->loop = NULL;
	io->fn = fn;
	io->arg = arg;
	if (event_assign(&io->ev, l->base, fd, (short)(what | EV_PERSIST), loop_on_io, io) < 0)
		return -EINVAL;
	if (event_add(&io->ev, NULL) < 0)
		return -ENOMEM;
	io->loop = l;
	return 0;
}

void loop_io_stop(struct loop_io *io)
{
	if (io->loop)
		event_del(&io->ev);
	io->loop = NULL;
}

static void loop_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	(void)fd;
	(void)what;
	t->fn(t->arg);
}

int loop_timer_start(struct loop *l, struct loop_timer *t, int64_t us, void (*fn)(void *arg), void *arg)
{
	struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};

	if (t->loop)
		event_del(&t->ev);
	else if (evtimer_assign(&t->ev, l->base, loop_on_timer, t) < 0)
		return -EINVAL;
	t->loop = l;
	t->fn = fn;
	t->arg = arg;
	return event_add(&t->ev, &tv) < 0 ? -ENOMEM : 0;
}

void loop_timer_stop(struct loop_timer *t)
{
	if (t->loop)
		event_del(&t->ev);
	t->loop = NULL;
}

bool loop_timer_pending(const struct loop_timer *t)
{
	return t->loop && evtimer_pending(&t->ev, NULL);
}

static void loop_on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct loop_signal *s = arg;

	(void)what;
	s->fn(s->arg, (int)signo);
}

int loop_signal_start(struct loop *l, struct loop_signal *s, int signo, void (*fn)(void *arg, int signo), void *arg)
{
	loop_signal_stop(s);
	s->fn = fn;
	s->arg = arg;
	if (evsignal_assign(&s->ev, l->base, signo, loop_on_signal, s) < 0 || event_add(&s->ev, NULL) < 0)
		return -EINVAL;
	s->loop = l;
	return 0;
}

void loop_signal_stop(struct loop_signal *s)
{
	if (s->loop)
		event_del(&s->ev);
	s->loop = NULL;
}

void loop_defer(struct loop *l, void (*fn)(void *arg), void *arg)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct loop_deferred *q = realloc(l->queue, cap * sizeof *q);
		if (!q)
			abort();
		l->queue = q;
		l->cap = cap;
	}
	l->queue[l->count++] = (struct loop_deferred){fn, arg};
}
