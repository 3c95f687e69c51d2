/* Watches: for some seconds a worker counts who its clients are, what they ask for and what it costs, and tells
 * control.  Layer web, proxy process.
 *
 * While nobody asks, a request costs one test of a pointer.  While somebody does, every request adds to the totals, and
 * one of `every` goes into the sketches, counted `every` times; the gaps are drawn, so that clients in step with them
 * are not favoured.  `every` doubles when a second has more than LIMIT_TALK_SAMPLES of them, so that a flood, which is
 * when one asks, costs no more than a quiet hour. */
#include "web/proxy/internal.h"
#include "web/proxy/talkers.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct watch {
	LIST_ENTRY(watch) link;
	struct proxy *proxy; /* borrowed */
	struct loop_timer timer;
	uint64_t id, app; /* app 0: the node */
	enum talk_by by;
	uint32_t every, skip; /* requests until the next that is looked at */
	uint32_t samples;     /* in the second that began at second_us */
	int64_t second_us;
	uint64_t seed, sampled;
	struct talk_cost total;
	struct talk_sketch sketch[TALK_KIND_COUNT];
};

static void watch_free(struct watch *w)
{
	loop_timer_stop(&w->timer);
	LIST_REMOVE(w, link);
	w->proxy->watch_count--;
	free(w);
}

static struct watch *watch_find(struct proxy *p, uint64_t id)
{
	struct watch *w;

	LIST_FOREACH(w, &p->watches, link)
	{
		if (w->id == id)
			break;
	}
	return w;
}

static void watch_tell(struct watch *w)
{
	struct proxy_msg_watch_done done = {.id = w->id, .sampled = w->sampled, .total = w->total};
	struct proxy_msg_watch_rows m = {.id = w->id};

	for (uint32_t kind = 0; w->proxy->chan && kind < TALK_KIND_COUNT; kind++) {
		const struct talk_sketch *s = &w->sketch[kind];

		if (!s->count)
			continue;
		m.kind = kind;
		m.count = s->count;
		m.unseen = talk_unseen(s);
		memcpy(m.row, s->row, s->count * sizeof *s->row);
		chan_send(w->proxy->chan, PROXY_WATCH_ROWS, &m,
			  offsetof(struct proxy_msg_watch_rows, row) + s->count * sizeof *s->row, NULL, 0);
	}
	if (w->proxy->chan)
		chan_send(w->proxy->chan, PROXY_WATCH_DONE, &done, sizeof done, NULL, 0);
}

static void watch_on_end(void *arg)
{
	struct watch *w = arg;

	watch_tell(w);
	watch_free(w);
}

void watch_start(struct proxy *p, const struct proxy_msg_watch *m)
{
	struct watch *w = NULL;

	if (m->by >= TALK_BY_COUNT || m->ms == 0 || m->ms > LIMIT_TALK_S * 1000u || watch_find(p, m->id))
		return;
	if (p->watch_count < LIMIT_TALK_WATCHES)
		w = calloc(1, sizeof *w);
	if (!w) { /* what cannot be counted is not waited for */
		struct proxy_msg_watch_done done = {.id = m->id};

		if (p->chan)
			chan_send(p->chan, PROXY_WATCH_DONE, &done, sizeof done, NULL, 0);
		return;
	}
	w->proxy = p;
	w->id = m->id;
	w->app = m->app;
	w->by = (enum talk_by)m->by;
	w->every = 1;
	w->seed = p->id_seed ^ m->id;
	LIST_INSERT_HEAD(&p->watches, w, link);
	p->watch_count++;
	loop_timer_start(p->loop, &w->timer, (int64_t)m->ms * 1000, watch_on_end, w);
}

void watch_stop(struct proxy *p, uint64_t id)
{
	struct watch *w = watch_find(p, id);

	if (w)
		watch_free(w);
}

void watch_done(struct proxy *p)
{
	while (!LIST_EMPTY(&p->watches))
		watch_free(LIST_FIRST(&p->watches));
}

/* How many are left out before the next: 0 .. 2 * every - 2, so `every` on average. */
static uint32_t watch_gap(struct watch *w)
{
	if (w->every == 1)
		return 0;
	w->seed = head_mix(w->seed);
	return (uint32_t)(w->seed % (2u * w->every - 1));
}

static void watch_pace(struct watch *w, int64_t now)
{
	if (now - w->second_us >= 1000000) {
		if (w->samples < LIMIT_TALK_SAMPLES / 4 && w->every > 1)
			w->every /= 2;
		w->second_us = now;
		w->samples = 0;
	}
	if (++w->samples >= LIMIT_TALK_SAMPLES && w->every < LIMIT_TALK_EVERY) {
		w->every *= 2;
		w->samples = LIMIT_TALK_SAMPLES / 2;
	}
	w->skip = watch_gap(w);
}

static void watch_host(struct watch *w, struct http_str host, const struct talk_cost *cost)
{
	char name[LIMIT_TALK_NAME];
	size_t n = 0;

	while (n < host.n && n < sizeof name && (host.p[n] != ':' || host.p[0] == '[')) {
		name[n] = (char)tolower((unsigned char)host.p[n]);
		n++;
	}
	talk_add(&w->sketch[TALK_HOST], w->by, name, n, cost);
}

/* The field, of the head that is still there; "" when it has none.  Looked for here, so that other requests do not pay.
 */
static struct http_str watch_agent(const struct client *c)
{
	static const char name[] = "\nuser-agent:";
	const size_t k = sizeof name - 1;
	const char *p = c->in ? c->in->data : NULL, *end = p ? p + c->head_len : NULL, *v;

	for (; p && (size_t)(end - p) > k; p = memchr(p + 1, '\n', (size_t)(end - p) - 1)) {
		if (*p != '\n' || strncasecmp(p, name, k) != 0)
			continue;
		for (p += k; p < end && (*p == ' ' || *p == '\t'); p++)
			;
		for (v = p; p < end && *p != '\r' && *p != '\n'; p++)
			;
		while (p > v && (p[-1] == ' ' || p[-1] == '\t'))
			p--;
		return (struct http_str){v, (size_t)(p - v)};
	}
	return (struct http_str){"", 0};
}

static void watch_sample(struct watch *w, struct client *c, struct talk_cost cost)
{
	char name[LIMIT_TALK_NAME + 1];
	struct http_str agent;
	int n;

	cost.requests *= w->every;
	cost.bytes *= w->every;
	cost.us *= w->every;
	cost.errors *= w->every;
	w->sampled++;
	talk_client(c->addr, name);
	talk_add(&w->sketch[TALK_CLIENT], w->by, name, strlen(name), &cost);
	watch_host(w, c->host, &cost);
	agent = watch_agent(c);
	talk_agent(agent.p, agent.n, name);
	talk_add(&w->sketch[TALK_AGENT], w->by, name, strlen(name), &cost);
	n = snprintf(name, sizeof name, c->status ? "%uxx" : "none", c->status / 100u);
	talk_add(&w->sketch[TALK_STATUS], w->by, name, (size_t)n, &cost);
	if (w->app) {
		talk_add(&w->sketch[TALK_PATH], w->by, c->target.p, talk_path(c->target.p, c->target.n), &cost);
		return;
	}
	n = snprintf(name, sizeof name, "%s", !c->app ? "@unknown" : c->app->control ? "@control" : c->app->name);
	talk_add(&w->sketch[TALK_APP], w->by, name, (size_t)n, &cost);
	if (!c->app || c->app->control)
		return;
	n = snprintf(name, sizeof name, "%llu", (unsigned long long)c->app->tenant);
	talk_add(&w->sketch[TALK_TENANT], w->by, name, (size_t)n, &cost);
}

void watch_note(struct client *c, int64_t now)
{
	struct talk_cost cost = {.requests = 1,
				 .bytes = c->req.bytes + c->res.bytes,
				 .us = (uint64_t)(now - c->start_us),
				 .errors = c->status >= 400 || c->status == 0};
	struct watch *w;

	LIST_FOREACH(w, &c->proxy->watches, link)
	{
		if (w->app && (!c->app || c->app->control || c->app->id != w->app))
			continue;
		w->total.requests++;
		w->total.bytes += cost.bytes;
		w->total.us += cost.us;
		w->total.errors += cost.errors;
		if (w->skip > 0) {
			w->skip--;
			continue;
		}
		watch_sample(w, c, cost);
		watch_pace(w, now);
	}
}
