/* The pool of instance addresses.  Layer agent, supervisor process. */
#include "agent/supervise/pool.h"

#include <stdlib.h>
#include <string.h>

void pool_init(struct pool *p, uint32_t net, unsigned prefix)
{
	*p = (struct pool){.net = net, .size = 1u << (32 - prefix), .next = POOL_FIRST};
}

void pool_done(struct pool *p)
{
	free(p->rest);
	*p = (struct pool){0};
}

/* Makes room for one more in the ring.  Out of memory, the address is lost to the pool until the next start. */
static bool rest_grow(struct pool *p)
{
	size_t cap = p->cap ? p->cap * 2 : 64;
	struct pool_rest *fresh;

	if (p->count < p->cap)
		return true;
	fresh = malloc(cap * sizeof *fresh);
	if (!fresh)
		return false;
	for (size_t i = 0; p->cap && i < p->count; i++)
		fresh[i] = p->rest[(p->head + i) % p->cap];
	free(p->rest);
	p->rest = fresh;
	p->head = 0;
	p->cap = cap;
	return true;
}

static void rest_push(struct pool *p, uint32_t index, int64_t now_us)
{
	if (rest_grow(p))
		p->rest[(p->head + p->count++) % p->cap] = (struct pool_rest){index, now_us};
}

static uint32_t rest_pop(struct pool *p)
{
	uint32_t index = p->rest[p->head].index;

	p->head = (p->head + 1) % p->cap;
	p->count--;
	return index;
}

uint32_t pool_take(struct pool *p, int64_t now_us)
{
	if (p->count && now_us - p->rest[p->head].since_us >= POOL_QUARANTINE_US)
		return p->net + rest_pop(p);
	if (p->next < p->size - 1)
		return p->net + p->next++;
	return p->count ? p->net + rest_pop(p) : 0;
}

bool pool_reserve(struct pool *p, uint32_t address, int64_t now_us)
{
	uint32_t index = address - p->net;

	if (index < POOL_FIRST || index >= p->size - 1)
		return false;
	if (index >= p->next) {
		while (p->next < index)
			rest_push(p, p->next++, now_us);
		p->next = index + 1;
		return true;
	}
	for (size_t i = 0; i < p->count; i++) {
		if (p->rest[(p->head + i) % p->cap].index != index)
			continue;
		for (size_t j = i; j + 1 < p->count; j++)
			p->rest[(p->head + j) % p->cap] = p->rest[(p->head + j + 1) % p->cap];
		p->count--;
		return true;
	}
	return false;
}

void pool_release(struct pool *p, uint32_t address, int64_t now_us)
{
	if (address)
		rest_push(p, address - p->net, now_us);
}
