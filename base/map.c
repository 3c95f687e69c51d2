/* Hash map: open addressing, linear probing, deletion by tombstone.  Layer base, any process. */
#include "base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct map_slot {
	const void *key; /* NULL = never used, MAP_DEAD = deleted */
	size_t len;
	uint64_t hash;
	void *value;
};

struct map {
	struct map_slot *slots;
	size_t cap, used, live; /* used counts tombstones too */
	uint8_t key[16];
};

static const char map_dead_mark;
#define MAP_DEAD ((const void *)&map_dead_mark)

static inline uint64_t map_rotl(uint64_t x, int b)
{
	return (x << b) | (x >> (64 - b));
}

#define MAP_SIPROUND                                                                                                   \
	do {                                                                                                           \
		v0 += v1, v1 = map_rotl(v1, 13), v1 ^= v0, v0 = map_rotl(v0, 32);                                      \
		v2 += v3, v3 = map_rotl(v3, 16), v3 ^= v2;                                                             \
		v0 += v3, v3 = map_rotl(v3, 21), v3 ^= v0;                                                             \
		v2 += v1, v1 = map_rotl(v1, 17), v1 ^= v2, v2 = map_rotl(v2, 32);                                      \
	} while (0)

uint64_t map_siphash(const void *p, size_t n, const uint8_t key[16])
{
	const uint8_t *in = p;
	uint64_t k0, k1, m, tail = (uint64_t)n << 56;
	uint64_t v0, v1, v2, v3;

	memcpy(&k0, key, 8);
	memcpy(&k1, key + 8, 8);
	v0 = 0x736f6d6570736575ull ^ k0;
	v1 = 0x646f72616e646f6dull ^ k1;
	v2 = 0x6c7967656e657261ull ^ k0;
	v3 = 0x7465646279746573ull ^ k1;
	for (; n >= 8; n -= 8, in += 8) {
		memcpy(&m, in, 8);
		v3 ^= m;
		MAP_SIPROUND;
		v0 ^= m;
	}
	for (size_t i = 0; i < n; i++)
		tail |= (uint64_t)in[i] << (8 * i);
	v3 ^= tail;
	MAP_SIPROUND;
	v0 ^= tail;
	v2 ^= 0xff;
	MAP_SIPROUND;
	MAP_SIPROUND;
	MAP_SIPROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}

struct map *map_new(void)
{
	struct map *m = calloc(1, sizeof *m);

	if (m && getrandom(m->key, sizeof m->key, 0) != (ssize_t)sizeof m->key) {
		free(m);
		return NULL;
	}
	return m;
}

void map_free(struct map *m)
{
	if (m)
		free(m->slots);
	free(m);
}

size_t map_count(const struct map *m)
{
	return m->live;
}

static struct map_slot *map_find(const struct map *m, const void *key, size_t n, uint64_t h)
{
	if (m->cap == 0)
		return NULL;
	for (size_t i = h & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct map_slot *s = &m->slots[i];
		if (!s->key)
			return NULL;
		if (s->key != MAP_DEAD && s->hash == h && s->len == n && memcmp(s->key, key, n) == 0)
			return s;
	}
}

static int map_resize(struct map *m, size_t cap)
{
	struct map_slot *fresh = calloc(cap, sizeof *fresh);

	if (!fresh)
		return -ENOMEM;
	for (size_t i = 0; i < m->cap; i++) {
		struct map_slot *s = &m->slots[i];
		size_t j;
		if (!s->key || s->key == MAP_DEAD)
			continue;
		for (j = s->hash & (cap - 1); fresh[j].key; j = (j + 1) & (cap - 1))
			;
		fresh[j] = *s;
	}
	free(m->slots);
	m->slots = fresh;
	m->cap = cap;
	m->used = m->live;
	return 0;
}

void *map_get(const struct map *m, const void *key, size_t n)
{
	struct map_slot *s = map_find(m, key, n, map_siphash(key, n, m->key));

	return s ? s->value : NULL;
}

int map_put(struct map *m, const void *key, size_t n, void *value)
{
	uint64_t h = map_siphash(key, n, m->key);
	struct map_slot *s = map_find(m, key, n, h);
	size_t i;

	if (s) {
		s->key = key;
		s->value = value;
		return 0;
	}
	if ((m->used + 1) * 4 > m->cap * 3) {
		size_t cap = 16;
		while (cap < (m->live + 1) * 2)
			cap *= 2;
		if (map_resize(m, cap) < 0)
			return -ENOMEM;
	}
	for (i = h & (m->cap - 1); m->slots[i].key && m->slots[i].key != MAP_DEAD; i = (i + 1) & (m->cap - 1))
		;
	if (!m->slots[i].key)
		m->used++;
	m->live++;
	m->slots[i] = (struct map_slot){.key = key, .len = n, .hash = h, .value = value};
	return 0;
}

void *map_del(struct map *m, const void *key, size_t n)
{
	struct map_slot *s = map_find(m, key, n, map_siphash(key, n, m->key));
	void *value;

	if (!s)
		return NULL;
	value = s->value;
	*s = (struct map_slot){.key = MAP_DEAD};
	m->live--;
	return value;
}

void *map_next(const struct map *m, size_t *pos)
{
	while (*pos < m->cap) {
		const struct map_slot *s = &m->slots[(*pos)++];
		if (s->key && s->key != MAP_DEAD)
			return s->value;
	}
	return NULL;
}
