/* The words of our own pages in other languages than English.  Layer web, proxy process. */
#ifndef TULOU_WEB_PROXY_FAULT_TEXT_H
#define TULOU_WEB_PROXY_FAULT_TEXT_H

#include "web/proxy/fault_kind.h"

#include <stdbool.h>
#include <stddef.h>

/* What a visitor can do about a fault. */
enum fault_todo {
	TODO_RETRY,  /* in a moment: also of faults that are not told apart below */
	TODO_REPEAT, /* repeating it will not help */
	TODO_LINE,   /* a better connection may */
	TODO_LATER,
	TODO_ADDRESS, /* check it */
	TODO_OWNER,   /* the app's owner can resume it */
	TODO_RELOAD,
	TODO_HTTP,   /* write http:// in front */
	TODO_FOLLOW, /* the redirect */
	TODO_COUNT,
};

struct fault_text {
	const char *lang;	       /* RFC 5646: lang="…" and Content-Language */
	const char *request, *details; /* words before the request's id, and for what is in English */
	const char *what[FAULT_COUNT]; /* NULL = shown in English */
	const char *todo[TODO_COUNT];
};

enum fault_todo fault_todo_of(enum fault f);

/* Row i of the table, NULL behind the last. */
const struct fault_text *fault_text_row(size_t i);

/* The best so far; begin with all 0.  text NULL = English. */
#define FAULT_TEXT_ELEMENTS 32
struct fault_choice {
	const struct fault_text *text;
	unsigned weight; /* thousandths */
	unsigned seen;	 /* elements of the list, of which the first FAULT_TEXT_ELEMENTS count */
};
/* Goes through one Accept-Language field's value (RFC 9110, 12.5.4): of the languages that we have, the one with the
 * highest weight, of equals the first; what is malformed is passed over. */
void fault_text_accept(const char *p, size_t n, struct fault_choice *c);

#endif
