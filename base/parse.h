/* Strict parsing of small values: the whole string or nothing.  Layer base, any process. */
#ifndef TULOU_BASE_PARSE_H
#define TULOU_BASE_PARSE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Decimal digits only (no sign, space, or leading zero besides "0"), min..max.
 * 0, or -EINVAL / -ERANGE with e naming `field` and the limits. */
int parse_u64(const char *s, size_t n, uint64_t min, uint64_t max, const char *field, uint64_t *ret, struct err *e);

/* Says that s is no such number: -EINVAL with e naming `field`, what it is instead, and the limits (when max is one).
 */
int parse_not_whole(const char *s, size_t n, uint64_t min, uint64_t max, const char *field, struct err *e);

/* Says that s is not what field takes, "on or off": -EINVAL with e naming `field`, that, and what it is instead,
 * escaped and cut. */
int parse_must_be(const char *s, const char *what, const char *field, struct err *e);

/* "8 MiB", "1.5 GiB", "1 byte": a size for a person, cut to a tenth. */
#define PARSE_BYTES_TEXT 24
void parse_bytes_text(uint64_t v, char out[PARSE_BYTES_TEXT]);

/* Bytes: digits and an optional KiB, MiB, GiB or TiB (K, M, G, T alone mean the same).  Errors as parse_u64. */
int parse_bytes(const char *s, uint64_t min, uint64_t max, const char *field, uint64_t *ret, struct err *e);

/* Duration to milliseconds: digits and ms, s, m, h, d; no unit means seconds.  Errors as parse_u64. */
int parse_duration_ms(const char *s, uint64_t min, uint64_t max, const char *field, uint64_t *ret, struct err *e);

/* Name of a tenant, app or process type: [a-z0-9] then [a-z0-9-], not ending in '-', 1..max bytes (max <= 63: a DNS
 * label, RFC 1035).  0 or -EINVAL with e naming `field`. */
int parse_name(const char *s, size_t max, const char *field, struct err *e);

/* Host name of 1..253 bytes, labels as parse_name (upper case refused); wildcard allows a leading "*.". */
int parse_hostname(const char *s, bool wildcard, const char *field, struct err *e);

/* "a.b.c.d:port" or "[v6]:port" into an address of sockaddr_storage size.  0 or -EINVAL. */
struct sockaddr_storage;
int parse_sockaddr(const char *s, const char *field, struct sockaddr_storage *ret, unsigned *len, struct err *e);

/* "a.b.c.d/len" to host byte order; the bits below the prefix must be zero.  0 or -EINVAL. */
int parse_cidr4(const char *s, const char *field, uint32_t *net, unsigned *prefix, struct err *e);

/* Lower-case hex of in[0..n) into out[0..2n], NUL-terminated; and back (0 or -EINVAL, exactly n bytes). */
void parse_hex(const void *in, size_t n, char *out);
int parse_unhex(const char *s, void *out, size_t n);

#endif
