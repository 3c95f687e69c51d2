/* UTF-8 checks and escaping for output to people.  Layer base, any process. */
#ifndef TULOU_BASE_UTF8_H
#define TULOU_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Length in bytes (1..4) of the well-formed sequence (RFC 3629, no surrogates, no overlong forms) at the start of
 * s[0..n), 0 when there is none. */
size_t utf8_next(const char *s, size_t n);

/* True when all of s[0..n) is well formed and holds no NUL. */
bool utf8_valid(const char *s, size_t n);

/* Copies s[0..n) to out[0..cap), always NUL-terminated when cap > 0, writing controls (C0, C1, DEL), bidirectional
 * overrides and bytes that are not UTF-8 as \xNN.  Returns the bytes written, without the NUL; cuts at whole
 * characters. */
size_t utf8_escape(char *out, size_t cap, const char *s, size_t n);

#endif
