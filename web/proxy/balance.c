/* Which instance gets a request, and which are left alone for a while.  Layer web, proxy process.
 *
 * The fewest requests in flight win, counted over all workers: each publishes its own counts in the statistics segment
 * and reads those of the others, so nothing has to be locked or repaired when one dies.
 *
 * An instance that fails is put aside for a pause that doubles (1 s .. LIMIT_PROXY_ASIDE_MS); then one request tries
 * it.  When more than half of an app's would be aside it is not the instances that are ill, or leaving them out would
 * kill the rest: all are used again.  One whose health check fails, as control says, is used when no other is up.
 *
 * With a limit of concurrency requests wait in the order they came.  A worker's queue goes on when one of its own
 * requests ends, and every QUEUE_US while others have requests too; the oldest of all workers goes first. */
#include "web/proxy/internal.h"

#define ERRORS 3	   /* in a row, before an instance is put aside for other things than a refused connection */
#define ASIDE_US 1000000   /* first pause */
#define REFUSED_US 1000000 /* an instance that refused a connection is the last choice for this long */
#define BEAT_MS 1000	   /* a worker with requests beats every 262 ms */
#define QUEUE_US 2000
#define DEFER_US 20000 /* another worker's older request has so long to take what is free */

/* Over the workers beside this one that have requests: index in w. */
#define PEERS(p, w)                                                                                                    \
	for (uint32_t mask_ = (p)->peers, w; mask_ && (w = (uint32_t)__builtin_ctz(mask_), 1); mask_ &= mask_ - 1)

/* Who else has requests now. */
static void balance_peers(struct proxy *p)
{
	uint64_t ms = (uint64_t)(proxy_now(p) / 1000);

	p->peers = 0;
	for (uint32_t mask = p->known; mask; mask &= mask - 1) {
		unsigned w = (unsigned)__builtin_ctz(mask);
		if (atomic_load_explicit(&p->stats->worker[w].beat_ms, memory_order_relaxed) + BEAT_MS > ms)
			p->peers |= 1u << w;
	}
}

void balance_tick(struct proxy *p, int64_t now)
{
	atomic_store_explicit(&p->worker->beat_ms, (uint64_t)(now / 1000), memory_order_relaxed);
	p->known = 0;
	for (unsigned w = 0; w < LIMIT_WORKERS; w++)
		if (w != p->index && atomic_load_explicit(&p->stats->worker[w].beat_ms, memory_order_relaxed))
			p->known |= 1u << w;
	balance_peers(p);
}

void balance_init(struct proxy *p)
{
	/* What a worker before this one left behind. */
	for (unsigned k = 0; k < STATS_CELLS; k++) {
		struct stats_cell *cell = &p->stats->cell[p->index][k];
		if (atomic_load_explicit(&cell->id, memory_order_relaxed) == 0)
			continue;
		atomic_store_explicit(&cell->id, 0, memory_order_relaxed);
		atomic_store_explicit(&cell->in_flight, 0, memory_order_relaxed);
		atomic_store_explicit(&cell->aside_ms, 0, memory_order_relaxed);
	}
	LIST_INIT(&p->queued);
	balance_tick(p, proxy_now(p));
}

void balance_instance(struct proxy *p, struct instance *i)
{
	struct stats_cell *cell = &p->stats->cell[p->index][i->id % STATS_CELLS];

	if (i->app->control || atomic_load_explicit(&cell->id, memory_order_relaxed) != 0)
		return;
	atomic_store_explicit(&cell->in_flight, 0, memory_order_relaxed);
	atomic_store_explicit(&cell->aside_ms, 0, memory_order_relaxed);
	atomic_store_explicit(&cell->id, i->id, memory_order_release);
	i->cell = cell;
}

void balance_instance_gone(struct instance *i)
{
	if (i->cell)
		atomic_store_explicit(&i->cell->id, 0, memory_order_relaxed);
	i->cell = NULL;
}

void balance_hold(struct instance *i)
{
	i->in_flight++;
	if (i->cell)
		atomic_store_explicit(&i->cell->in_flight, i->in_flight, memory_order_relaxed);
}

void balance_take(struct proxy *p, struct instance *i)
{
	/* Its pause is over: this request tries it, others wait for how that ends. */
	if (i->pauses && proxy_now(p) >= i->aside_us) {
		i->aside_us = proxy_now(p) + ASIDE_US;
		i->trying = true;
	}
	balance_hold(i);
}

void balance_give(struct proxy *p, struct instance *i)
{
	(void)p;
	i->in_flight--;
	if (i->cell)
		atomic_store_explicit(&i->cell->in_flight, i->in_flight, memory_order_relaxed);
}

/* In flight over all workers; *aside when another worker has put it aside. */
static unsigned balance_count(struct proxy *p, const struct instance *i, bool *aside)
{
	unsigned n = i->in_flight;

	PEERS(p, w)
	{
		struct stats_cell *cell = &p->stats->cell[w][i->id % STATS_CELLS];
		uint32_t until;
		if (atomic_load_explicit(&cell->id, memory_order_acquire) != i->id)
			continue;
		n += atomic_load_explicit(&cell->in_flight, memory_order_relaxed);
		until = atomic_load_explicit(&cell->aside_ms, memory_order_relaxed);
		if (until && (int32_t)(until - (uint32_t)(proxy_now(p) / 1000)) > 0)
			*aside = true;
	}
	return n;
}

bool balance_fits(struct proxy *p, struct instance *i)
{
	bool aside, fits;

	/* One that began a moment ago counts too; the tick comes later. */
	balance_peers(p);
	if (!p->peers)
		return i->in_flight < i->app->concurrency;
	/* Said first and counted then, in one order for all: of two that meet at the last place at most one gets it. */
	balance_hold(i);
	atomic_thread_fence(memory_order_seq_cst);
	fits = balance_count(p, i, &aside) <= i->app->concurrency;
	balance_give(p, i);
	return fits;
}

static bool balance_tried(const struct instance *i, const uint64_t *tried, unsigned n)
{
	for (unsigned t = 0; t < n; t++)
		if (tried[t] == i->id)
			return true;
	return false;
}

/* More than half aside: then none is. */
static bool balance_panic(struct proxy *p, const struct app *a)
{
	unsigned up = 0, aside = 0;

	for (unsigned k = 0; k < a->instance_count; k++) {
		const struct instance *i = a->instances[k];
		bool out = i->pauses && proxy_now(p) < i->aside_us;
		if (i->state != PROXY_INSTANCE_UP)
			continue;
		balance_count(p, i, &out);
		up++;
		aside += out;
	}
	return aside * 2 > up;
}

/* 0 = as good as any, 1 = refused a moment ago, 2 = put aside, 3 = its health check fails. */
static unsigned balance_rank(struct proxy *p, const struct instance *i, unsigned *count)
{
	bool aside = i->pauses && proxy_now(p) < i->aside_us;

	*count = p->peers ? balance_count(p, i, &aside) : i->in_flight;
	if (i->sick)
		return 3;
	return aside ? 2 : i->failed_us && proxy_now(p) - i->failed_us < REFUSED_US ? 1 : 0;
}

bool balance_rests(struct proxy *p, const struct instance *i)
{
	const struct app *a = i->app;
	unsigned count, rank = balance_rank(p, i, &count);

	for (unsigned k = 0; rank == 3 && k < a->instance_count; k++)
		if (a->instances[k]->state == PROXY_INSTANCE_UP && !a->instances[k]->sick)
			return true;
	return rank == 2 && !balance_panic(p, a);
}

/* group: GROUP_ANY, or whether it is the canary's; of one group none that is put aside.  When all that are not the
 * canary's are sick they keep their share: a canary of one instance cannot serve for all. */
#define GROUP_ANY 2
static struct instance *balance_best(struct proxy *p, struct app *a, unsigned group, const uint64_t *tried, unsigned n,
				     bool *busy)
{
	struct instance *best = NULL;
	unsigned best_rank = 0, best_count = 0;
	bool well = false;			 /* one that has no place now is not sick */
	int panic = group == GROUP_ANY ? -1 : 0; /* -1: not looked at yet */

	*busy = false;
	if (a->concurrency)
		balance_peers(p);
	/* Begin at another one each time, so that equals take turns.  The list may have become shorter since. */
	if (++a->next >= a->instance_count)
		a->next = 0;
	for (unsigned k = 0; k < a->instance_count; k++) {
		unsigned at = a->next + k, rank, count;
		struct instance *i = a->instances[at < a->instance_count ? at : at - a->instance_count];
		if (i->state != PROXY_INSTANCE_UP || (n > 0 && balance_tried(i, tried, n)) ||
		    (group != GROUP_ANY && i->canary != group))
			continue;
		rank = balance_rank(p, i, &count);
		if (a->concurrency && count >= a->concurrency) {
			*busy = true;
			well |= !i->sick;
			continue;
		}
		if (rank == 2) {
			if (panic < 0)
				panic = balance_panic(p, a);
			rank = panic ? 0 : 2;
		}
		if (group != GROUP_ANY && (rank == 2 || (rank == 3 && group)))
			continue;
		if (!best || rank < best_rank || (rank == best_rank && count < best_count)) {
			best = i;
			best_rank = rank;
			best_count = count;
		}
	}
	/* Better to wait for its place than to go to a sick one. */
	if (best && best_rank == 3 && well)
		return NULL;
	if (best)
		*busy = false;
	return best;
}

struct instance *balance_pick(struct proxy *p, struct app *a, const uint64_t *tried, unsigned n, bool *busy)
{
	return balance_best(p, a, GROUP_ANY, tried, n, busy);
}

struct instance *balance_pick_group(struct proxy *p, struct app *a, bool canary, const uint64_t *tried, unsigned n)
{
	bool busy;

	return balance_best(p, a, canary, tried, n, &busy);
}

static void balance_aside(struct proxy *p, struct instance *i)
{
	int64_t us = (int64_t)ASIDE_US << (i->pauses < 5 ? i->pauses : 5);

	if (us > LIMIT_PROXY_ASIDE_MS * 1000ll)
		us = LIMIT_PROXY_ASIDE_MS * 1000ll;
	i->pauses++;
	i->trying = false;
	i->aside_us = proxy_now(p) + us;
	if (i->cell)
		atomic_store_explicit(&i->cell->aside_ms, (uint32_t)(i->aside_us / 1000) | 1, memory_order_relaxed);
}

void balance_bad(struct proxy *p, struct instance *i, bool refused)
{
	if (!i || i->app->control || i->dead)
		return;
	i->errors++;
	if (refused)
		i->failed_us = proxy_now(p);
	else if (i->errors >= ERRORS)
		routes_failing(p, i);
	/* While it is aside, what was sent before comes back: that is no new reason. */
	if (i->errors >= ERRORS && (i->pauses == 0 || i->trying || proxy_now(p) >= i->aside_us))
		balance_aside(p, i);
}

void balance_good(struct proxy *p, struct instance *i)
{
	/* What began before it was put aside says nothing of how it is now. */
	if (i->pauses && !i->trying && proxy_now(p) < i->aside_us)
		return;
	i->errors = i->pauses = 0;
	i->trying = false;
	i->aside_us = 0;
	if (i->cell)
		atomic_store_explicit(&i->cell->aside_ms, 0, memory_order_relaxed);
}

bool balance_repeat(struct app *a)
{
	if (a->control)
		return true;
	if (a->repeats < LIMIT_PROXY_REPEAT_PART)
		return false;
	a->repeats -= LIMIT_PROXY_REPEAT_PART;
	return true;
}

/* The time since when the oldest request waits in another worker, 0 = none. */
static int64_t balance_oldest(struct proxy *p, const struct app *a)
{
	int64_t oldest = 0;

	if (a->control)
		return 0;
	PEERS(p, w)
	{
		int64_t us = (int64_t)atomic_load_explicit(&p->stats->row[w][a->slot].head_us, memory_order_relaxed);
		/* What is older than any wait was left behind. */
		if (us && proxy_now(p) - us <= LIMIT_PROXY_WAIT_MS * 1000ll && (!oldest || us < oldest))
			oldest = us;
	}
	return oldest;
}

bool balance_behind(struct proxy *p, struct app *a)
{
	return a->state == PROXY_APP_SERVING && routes_has_up(a) && (a->is_queued || balance_oldest(p, a));
}

static void balance_on_timer(void *arg)
{
	struct proxy *p = arg;
	struct app *a, *next;

	for (a = LIST_FIRST(&p->queued); a; a = next) {
		next = LIST_NEXT(a, queued);
		balance_queue(p, a);
	}
}

void balance_unqueue(struct app *a)
{
	if (!a->is_queued)
		return;
	LIST_REMOVE(a, queued);
	a->is_queued = false;
	a->deferred_us = 0;
	if (a->row)
		atomic_store_explicit(&a->row->head_us, 0, memory_order_relaxed);
}

void balance_queue(struct proxy *p, struct app *a)
{
	struct client *c = TAILQ_FIRST(&a->parked);
	int64_t oldest;
	bool busy;

	if (!c || !a->concurrency) {
		balance_unqueue(a);
		return;
	}
	if (!a->is_queued) {
		a->is_queued = true;
		LIST_INSERT_HEAD(&p->queued, a, queued);
	}
	if (a->row)
		atomic_store_explicit(&a->row->head_us, (uint64_t)c->start_us, memory_order_relaxed);
	if (p->peers && !loop_timer_pending(&p->queue_timer))
		loop_timer_start(p->loop, &p->queue_timer, QUEUE_US, balance_on_timer, p);
	if (c->in_ready || !balance_pick(p, a, NULL, 0, &busy)) {
		a->deferred_us = 0;
		return;
	}
	/* There is room: for whom? */
	oldest = balance_oldest(p, a);
	if (oldest && oldest < c->start_us) {
		if (!a->deferred_us)
			a->deferred_us = proxy_now(p);
		if (proxy_now(p) - a->deferred_us < DEFER_US)
			return;
	}
	a->deferred_us = 0;
	proxy_ready(c);
}
