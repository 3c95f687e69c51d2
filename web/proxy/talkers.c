/* Top talkers: sketches and how they are joined.  Layer web, proxy and control. */
#include "web/proxy/talkers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *talk_by_name(enum talk_by by)
{
	static const char *const names[] = {"requests", "bytes", "time"};

	return by < TALK_BY_COUNT ? names[by] : "?";
}

uint64_t talk_measure(enum talk_by by, const struct talk_cost *cost)
{
	return by == TALK_BY_BYTES ? cost->bytes : by == TALK_BY_TIME ? cost->us : cost->requests;
}

static void cost_add(struct talk_cost *to, const struct talk_cost *more)
{
	to->requests += more->requests;
	to->bytes += more->bytes;
	to->us += more->us;
	to->errors += more->errors;
}

/* FNV-1a.  Names are compared too, and there are LIMIT_TALK_ROWS: whoever makes hashes meet gains nothing. */
static uint64_t talk_hash(const char *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)p[i]) * 0x100000001b3u;
	return h;
}

static unsigned talk_lightest(const struct talk_sketch *s)
{
	unsigned at = 0;

	for (unsigned i = 1; i < s->count; i++)
		if (s->row[i].weight < s->row[at].weight)
			at = i;
	return at;
}

uint64_t talk_unseen(const struct talk_sketch *s)
{
	return s->count < LIMIT_TALK_ROWS ? 0 : s->row[talk_lightest(s)].weight;
}

void talk_add(struct talk_sketch *s, enum talk_by by, const char *name, size_t n, const struct talk_cost *cost)
{
	uint64_t weight = talk_measure(by, cost), hash;
	struct talk_row *r;
	unsigned at;

	if (n > LIMIT_TALK_NAME)
		n = LIMIT_TALK_NAME;
	hash = talk_hash(name, n);
	for (at = 0; at < s->count; at++)
		if (s->hash[at] == hash && memcmp(s->row[at].name, name, n) == 0 && s->row[at].name[n] == '\0')
			break;
	if (at == s->count) {
		uint64_t inherited = 0;

		if (s->count < LIMIT_TALK_ROWS) {
			s->count++;
		} else if (weight == 0) {
			return; /* it is not heavier than what it would push out */
		} else {
			at = talk_lightest(s);
			inherited = s->row[at].weight;
		}
		s->hash[at] = hash;
		s->row[at] = (struct talk_row){.weight = inherited, .error = inherited};
		memcpy(s->row[at].name, name, n);
	}
	r = &s->row[at];
	r->weight += weight;
	cost_add(&r->cost, cost);
}

int talk_merge_add(struct talk_merge *m, const struct talk_row *rows, size_t n, uint64_t unseen)
{
	struct talk_row *fresh;

	if (n > LIMIT_TALK_ROWS || m->count + n > (size_t)LIMIT_WORKERS * LIMIT_TALK_ROWS)
		return -E2BIG;
	fresh = n ? realloc(m->row, (m->count + n) * sizeof *fresh) : m->row;
	if (n && !fresh)
		return -ENOMEM;
	m->row = fresh;
	m->unseen += unseen;
	for (size_t i = 0; i < n; i++) {
		struct talk_row *r = &m->row[m->count++];

		*r = rows[i];
		r->name[LIMIT_TALK_NAME] = '\0';
		/* Less what it may have had here without being seen; the end adds that of all sketches. Both wrap. */
		r->weight -= unseen;
		r->error -= unseen;
	}
	return 0;
}

static int row_by_name(const void *a, const void *b)
{
	return strcmp(((const struct talk_row *)a)->name, ((const struct talk_row *)b)->name);
}

static int row_by_weight(const void *a, const void *b)
{
	const struct talk_row *x = a, *y = b;
	uint64_t p = x->weight - x->error, q = y->weight - y->error;

	return p != q ? (p > q ? -1 : 1) : row_by_name(a, b);
}

void talk_merge_end(struct talk_merge *m)
{
	size_t n = 0;

	if (m->count == 0)
		return;
	qsort(m->row, m->count, sizeof *m->row, row_by_name);
	for (size_t i = 1; i < m->count; i++) {
		struct talk_row *to = &m->row[n], *r = &m->row[i];

		if (strcmp(to->name, r->name) != 0) {
			m->row[++n] = *r;
			continue;
		}
		to->weight += r->weight;
		to->error += r->error;
		cost_add(&to->cost, &r->cost);
	}
	m->count = n + 1;
	for (size_t i = 0; i < m->count; i++) {
		m->row[i].weight += m->unseen;
		m->row[i].error += m->unseen;
	}
	qsort(m->row, m->count, sizeof *m->row, row_by_weight);
}

void talk_merge_done(struct talk_merge *m)
{
	free(m->row);
	*m = (struct talk_merge){0};
}

size_t talk_path(const char *target, size_t n)
{
	unsigned slashes = 0;
	size_t i;

	for (i = 0; i < n && target[i] != '?'; i++)
		if (target[i] == '/' && ++slashes == 3)
			return i + 1;
	return i;
}

void talk_client(const char *address, char out[LIMIT_TALK_NAME + 1])
{
	struct in6_addr a;
	char text[INET6_ADDRSTRLEN];

	if (inet_pton(AF_INET6, address, &a) != 1) {
		snprintf(out, LIMIT_TALK_NAME + 1, "%s", address);
		return;
	}
	memset(a.s6_addr + 8, 0, 8);
	inet_ntop(AF_INET6, &a, text, sizeof text);
	snprintf(out, LIMIT_TALK_NAME + 1, "%s/64", text);
}

void talk_agent(const char *value, size_t n, char out[LIMIT_TALK_NAME + 1])
{
	const size_t side = (LIMIT_TALK_NAME - 3) / 2;

	if (n > LIMIT_TALK_NAME) {
		memcpy(out, value, side);
		memcpy(out + side, "...", 3);
		memcpy(out + side + 3, value + n - side, side);
		n = 2 * side + 3;
	} else if (n > 0) {
		memcpy(out, value, n);
	} else {
		n = (size_t)snprintf(out, LIMIT_TALK_NAME + 1, "(none)");
	}
	for (size_t i = 0; i < n; i++)
		if (out[i] < ' ' || out[i] > '~')
			out[i] = '?';
	out[n] = '\0';
}
