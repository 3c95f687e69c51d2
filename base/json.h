/* JSON with limits and field errors, over jansson.  Layer base, control and CLI. */
#ifndef TULOU_BASE_JSON_H
#define TULOU_BASE_JSON_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Parses text[0..n): one value, duplicate keys refused, nesting at most 32, at most max bytes.
 * A new reference, or NULL with e set. */
json_t *json_read(const char *text, size_t n, size_t max, struct err *e);

/* Refuses any key of obj that is not in the NULL-terminated list, and a value that is not an object; 0 or -EINVAL. */
int json_only(json_t *obj, const char *const *keys, struct err *e);

/* Getters.  A missing key is 0 with *ret untouched, unless required, then -EINVAL.  Wrong type or out of range is
 * -EINVAL / -ERANGE naming key and limits.  Strings are borrowed from obj, valid UTF-8 without NUL, at most max bytes.
 */
int json_get_str(json_t *obj, const char *key, bool required, size_t max, const char **ret, struct err *e);
int json_get_u64(json_t *obj, const char *key, bool required, uint64_t min, uint64_t max, uint64_t *ret, struct err *e);
int json_get_bool(json_t *obj, const char *key, bool required, bool *ret, struct err *e);
/* A value for a sentence that says what was given: a number or word of JSON as it is, a string in quotes, escaped and
 * cut, else "an object" or "an array".  Returns out. */
#define JSON_SHOWN 51
const char *json_shown(const json_t *v, char out[JSON_SHOWN]);
/* Says that v is no whole number: -EINVAL with e naming `field`, what is there instead, and the limits. */
int json_not_whole(json_t *v, const char *field, uint64_t min, uint64_t max, struct err *e);
/* Bytes: a number, or a string like "256MiB" (parse_bytes). */
int json_get_bytes(json_t *obj, const char *key, bool required, uint64_t min, uint64_t max, uint64_t *ret,
		   struct err *e);
/* An object or array member, borrowed; *ret NULL when missing. */
int json_get_obj(json_t *obj, const char *key, bool required, json_t **ret, struct err *e);
int json_get_arr(json_t *obj, const char *key, bool required, json_t **ret, struct err *e);

static inline void own_json_p(json_t **j)
{
	json_decref(*j);
}
#define OWN_JSON __attribute__((cleanup(own_json_p)))

#endif
