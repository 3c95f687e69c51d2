/* The addresses of all instances.  Layer agent, resolver process. */
#include "agent/resolve/names.h"

#include "base/map.h"
#include "base/own.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_SUFFIX ".internal"
#define NAMES_MAX (LIMIT_INSTANCES * 2) /* instances and jobs, and those that have just gone */

const struct chan_rule resolve_rules[] = {
	{RESOLVE_BEGIN, "begin", 0, 0, 0, 0},
	{RESOLVE_END, "end", 0, 0, 0, 0},
	{RESOLVE_PUT, "put", sizeof(struct resolve_entry), sizeof(struct resolve_entry), 0, 0},
	{RESOLVE_DEL, "del", sizeof(struct resolve_entry), sizeof(struct resolve_entry), 0, 0},
	{RESOLVE_PROVE, "prove", sizeof(struct resolve_prove), sizeof(struct resolve_prove), 0, 0},
};
const size_t resolve_rules_count = ARRAY_LEN(resolve_rules);
const struct chan_rule resolve_rules_back[] = {
	{RESOLVE_PROVED, "proved", sizeof(struct resolve_proved), sizeof(struct resolve_proved), 0, 0},
};
const size_t resolve_rules_back_count = ARRAY_LEN(resolve_rules_back);

/* A tenant's app is looked up by both together: no other tenant's can be found. */
struct names_key {
	uint32_t slot;
	char app[LIMIT_APP_NAME + 1];
	char pad[3];
};

struct names_app {
	struct names_key key;
	TAILQ_HEAD(names_list, names_entry) entries;
};

struct names {
	struct map *addresses; /* address -> struct names_entry, owned */
	struct map *apps;      /* struct names_key -> struct names_app, owned; none is empty */
	uint64_t round;
	bool syncing;
};

struct names *names_new(void)
{
	struct names *n = calloc(1, sizeof *n);

	if (!n)
		return NULL;
	n->addresses = map_new();
	n->apps = map_new();
	if (n->addresses && n->apps)
		return n;
	names_free(n);
	return NULL;
}

size_t names_count(const struct names *n)
{
	return map_count(n->addresses);
}

static struct names_key key_of(uint32_t slot, const char *app)
{
	struct names_key k = {.slot = slot};

	memcpy(k.app, app, strnlen(app, sizeof k.app - 1)); /* zero-filled: the whole key is hashed */
	return k;
}

static void unlink_app(struct names *n, struct names_entry *en)
{
	struct names_app *a = en->app;

	en->app = NULL;
	if (!a)
		return;
	TAILQ_REMOVE(&a->entries, en, link);
	if (!TAILQ_EMPTY(&a->entries))
		return;
	map_del(n->apps, &a->key, sizeof a->key);
	free(a);
}

static int link_app(struct names *n, struct names_entry *en)
{
	struct names_key k = key_of(en->e.slot, en->e.app);
	struct names_app *a = map_get(n->apps, &k, sizeof k);

	if (!a) {
		a = calloc(1, sizeof *a);
		if (!a)
			return -ENOMEM;
		a->key = k;
		TAILQ_INIT(&a->entries);
		if (map_put(n->apps, &a->key, sizeof a->key, a) < 0) {
			free(a);
			return -ENOMEM;
		}
	}
	en->app = a;
	TAILQ_INSERT_TAIL(&a->entries, en, link);
	return 0;
}

static void remove_entry(struct names *n, struct names_entry *en)
{
	unlink_app(n, en);
	map_del(n->addresses, &en->e.address, sizeof en->e.address);
	free(en);
}

void names_free(struct names *n)
{
	struct names_entry *en;
	size_t pos = 0;

	if (!n)
		return;
	while (n->addresses && (en = map_next(n->addresses, &pos)))
		remove_entry(n, en);
	map_free(n->addresses);
	map_free(n->apps);
	free(n);
}

int names_put(struct names *n, const struct resolve_entry *e)
{
	struct names_entry *en = names_source(n, e->address);

	if (!e->address || e->slot >= LIMIT_TENANTS || !memchr(e->app, 0, sizeof e->app) ||
	    !memchr(e->type, 0, sizeof e->type))
		return -EINVAL;
	if (!en) {
		if (names_count(n) >= NAMES_MAX)
			return -ENOSPC;
		en = calloc(1, sizeof *en);
		if (!en)
			return -ENOMEM;
		en->e.address = e->address;
		if (map_put(n->addresses, &en->e.address, sizeof en->e.address, en) < 0) {
			free(en);
			return -ENOMEM;
		}
	}
	en->round = n->round;
	unlink_app(n, en);
	en->e = *e;
	return e->flags & RESOLVE_NAMED ? link_app(n, en) : 0;
}

void names_del(struct names *n, uint32_t address)
{
	struct names_entry *en = names_source(n, address);

	if (en)
		remove_entry(n, en);
}

void names_begin(struct names *n)
{
	n->round++;
	n->syncing = true;
}

void names_end(struct names *n)
{
	struct names_entry *en;
	size_t pos = 0;

	while (n->syncing && (en = map_next(n->addresses, &pos)))
		if (en->round != n->round)
			remove_entry(n, en);
	n->syncing = false;
}

struct names_entry *names_source(const struct names *n, uint32_t address)
{
	return map_get(n->addresses, &address, sizeof address);
}

unsigned names_find(struct names *n, uint32_t slot, const char *name, uint32_t *ret, unsigned max)
{
	char text[LIMIT_TYPE_NAME + 1 + LIMIT_APP_NAME + 1];
	size_t k = strlen(name), tail = sizeof NAMES_SUFFIX - 1;
	const char *type = NULL, *app = text;
	struct names_entry *en, *first;
	struct names_app *a;
	struct names_key key;
	unsigned found = 0;
	char *dot;

	if (k <= tail || k - tail >= sizeof text || strcmp(name + k - tail, NAMES_SUFFIX) != 0)
		return 0;
	memcpy(text, name, k - tail);
	text[k - tail] = 0;
	dot = strchr(text, '.');
	if (dot) {
		*dot = 0;
		type = text;
		app = dot + 1;
	}
	if (strlen(app) > LIMIT_APP_NAME)
		return 0;
	key = key_of(slot, app);
	a = map_get(n->apps, &key, sizeof key);
	if (!a)
		return 0;
	/* The first one goes to the end, so that the next asker begins with another. */
	first = TAILQ_FIRST(&a->entries);
	TAILQ_REMOVE(&a->entries, first, link);
	TAILQ_INSERT_TAIL(&a->entries, first, link);
	TAILQ_FOREACH(en, &a->entries, link)
	{
		if (found < max && (!type || strcmp(en->e.type, type) == 0))
			ret[found++] = en->e.address;
	}
	return found;
}
