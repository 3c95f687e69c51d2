/* Hash map from byte keys to pointers.  Layer base, any process.
 * Keys are hashed with SipHash-1-3 under a random key, so hostile keys cannot make it slow. */
#ifndef TULOU_BASE_MAP_H
#define TULOU_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map;

/* An empty map, or NULL when out of memory.  Values and keys are borrowed: a key must live as long as its entry. */
struct map *map_new(void);
/* Frees the map, not the values.  NULL is allowed. */
void map_free(struct map *m);
size_t map_count(const struct map *m);

/* The value of key, NULL when there is none. */
void *map_get(const struct map *m, const void *key, size_t n);
/* Adds or replaces; 0 or -ENOMEM.  A replaced entry takes the new key pointer. */
int map_put(struct map *m, const void *key, size_t n, void *value);
/* Removes and returns the value, NULL when there was none. */
void *map_del(struct map *m, const void *key, size_t n);

/* Walks all entries: start with *pos = 0; NULL at the end.  Deleting the entry just returned is allowed, adding is not.
 */
void *map_next(const struct map *m, size_t *pos);

/* SipHash-1-3 of p[0..n) under the 16-byte key. */
uint64_t map_siphash(const void *p, size_t n, const uint8_t key[16]);

#define map_get_str(m, s) map_get(m, s, strlen(s))
#define map_put_str(m, s, v) map_put(m, s, strlen(s), v)
#define map_del_str(m, s) map_del(m, s, strlen(s))

#endif
