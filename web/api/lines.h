/* Output of builds and commands as lines of JSON (application/x-ndjson).  Layer web, control process. */
#ifndef TULOU_WEB_API_LINES_H
#define TULOU_WEB_API_LINES_H

#include "base/buf.h"

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

/* A bounded queue of lines.  When its reader is slow, text is dropped and the reader is told how much. */
struct lines {
	struct buf queue;
	const char *key; /* "log" or "output", borrowed */
	char tail[4];	 /* the beginning of a character whose rest has not come yet */
	unsigned tail_n;
	uint64_t dropped;
};

void lines_init(struct lines *l, const char *key);
void lines_done(struct lines *l);
/* Text as {"key":"…"}; bytes that are not UTF-8 become U+FFFD, NUL too. */
void lines_text(struct lines *l, const char *p, size_t n);
/* One whole line that is never dropped (the result); json is taken. */
void lines_json(struct lines *l, json_t *json);
/* Takes what fits; 0 when empty. */
ssize_t lines_read(struct lines *l, char *p, size_t max);

#endif
