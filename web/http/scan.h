/* Byte classes and fast scanning.  Layer web, private to web/http. */
#ifndef TULOU_WEB_HTTP_SCAN_H
#define TULOU_WEB_HTTP_SCAN_H

#include <stdbool.h>
#include <stdint.h>

enum scan_class {
	SCAN_TOKEN = 1,	 /* tchar, RFC 9110 5.6.2 */
	SCAN_TARGET = 2, /* visible ASCII but '#': a fragment never belongs on the wire */
	SCAN_HOST = 4,	 /* [A-Za-z0-9._-] */
	SCAN_VALUE = 8,	 /* field-content and white space: HTAB, 0x20..0x7e, 0x80..0xff */
	SCAN_DIGIT = 16,
};

extern const uint8_t scan_table[256];

static inline bool scan_is(char c, unsigned classes)
{
	return (scan_table[(uint8_t)c] & classes) != 0;
}

/* The first byte of [p, end) that is not in the class, or end. */
const char *scan_while(const char *p, const char *end, unsigned class);
/* The first byte of [p, end) that no field value may hold (a control but HTAB, or DEL), or end. */
const char *scan_value(const char *p, const char *end);

#endif
