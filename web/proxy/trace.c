/* Trace context (W3C Trace Context, level 1): a valid one is passed on as it came, since the front door records no
 * spans of its own; where there is none, or a broken one, a new one begins, not sampled.  Layer web, proxy process. */
#include "web/proxy/internal.h"

#include <string.h>

#define TRACE_ID 3 /* where the trace's id stands in traceparent */
#define TRACE_PARENT 36
#define TRACE_FLAGS 53
#define TRACE_LEN 55 /* of version 00; later versions may be longer */

static bool trace_hex(const char *p, size_t n, bool *zero)
{
	*zero = true;
	for (size_t i = 0; i < n; i++) {
		if ((p[i] < '0' || p[i] > '9') && (p[i] < 'a' || p[i] > 'f'))
			return false;
		*zero &= p[i] == '0';
	}
	return true;
}

/* Section 3.2.2: lower-case hexadecimal, no zero ids, version ff is none. */
static bool trace_ok(struct http_str v)
{
	const char *p = v.p;
	bool zero;

	if (v.n < TRACE_LEN || p[2] != '-' || p[TRACE_PARENT - 1] != '-' || p[TRACE_FLAGS - 1] != '-' ||
	    !trace_hex(p, 2, &zero) || memcmp(p, "ff", 2) == 0)
		return false;
	if (zero ? v.n != TRACE_LEN : v.n > TRACE_LEN && p[TRACE_LEN] != '-')
		return false;
	return trace_hex(p + TRACE_ID, 32, &zero) && !zero && trace_hex(p + TRACE_PARENT, 16, &zero) && !zero &&
	       trace_hex(p + TRACE_FLAGS, 2, &zero);
}

void trace_begin(struct client *c, const struct http_request *r)
{
	struct proxy *p = c->proxy;
	const struct http_field *parent = NULL;
	unsigned count = 0;

	for (unsigned i = 0; r->head.traceparent && i < r->head.count; i++)
		if (r->head.fields[i].id == HTTP_FIELD_TRACEPARENT && ++count == 1)
			parent = &r->head.fields[i];
	c->trace_ours = count != 1 || parent->drop || !trace_ok(parent->value);
	if (!c->trace_ours) {
		memcpy(c->trace, parent->value.p + TRACE_ID, sizeof c->trace);
		return;
	}
	/* A sequence that never says the same twice under a random start; | 1: never 0. */
	head_hex(head_mix(p->id_seed ^ p->id_next) | 1, c->trace);
	head_hex(head_mix(p->id_next++), c->trace + 16);
}

char *trace_put(struct client *c, char *o)
{
	memcpy(o, "traceparent: 00-", 16);
	memcpy(o + 16, c->trace, 32);
	o[48] = '-';
	/* The id of the parent is the head of the trace's own: nobody records a span of that name. */
	memcpy(o + 49, c->trace, 16);
	memcpy(o + 65, "-00\r\n", 5);
	return o + 70;
}
