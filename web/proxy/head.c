/* Heads on the way out: written anew from what was parsed, framing and forwarding fields always ours.
 * Layer web, proxy process. */
#include "web/proxy/internal.h"

#include "web/proxy/policy.h"

#include <string.h>

static inline char *put(char *o, const char *p, size_t n)
{
	memcpy(o, p, n);
	return o + n;
}

#define PUT(o, lit) put(o, lit, sizeof(lit) - 1)

static char *put_number(char *o, uint64_t v)
{
	char rev[20];
	size_t k = 0;

	do
		rev[k++] = (char)('0' + v % 10);
	while (v /= 10);
	while (k)
		*o++ = rev[--k];
	return o;
}

/* Those of `also` are left out too, 0 = none. */
static char *put_fields(char *o, const struct http_head *h, uint32_t also)
{
	for (unsigned i = 0; i < h->count; i++) {
		const struct http_field *f = &h->fields[i];
		if (f->drop || also >> f->id & 1)
			continue;
		o = put(o, f->name.p, f->name.n);
		*o++ = ':';
		*o++ = ' ';
		o = put(o, f->value.p, f->value.n);
		*o++ = '\r';
		*o++ = '\n';
	}
	return o;
}

/* Eight digits at once: each byte of v becomes one of the number's nibbles, then its character. */
static void head_hex32(uint32_t x, char out[8])
{
	uint64_t v = x, high;

	v = (v & 0xffff) | (v & 0xffff0000) << 16;
	v = (v & 0x000000ff000000ff) | (v & 0x0000ff000000ff00) << 8;
	v = (v & 0x000f000f000f000f) | (v & 0x00f000f000f000f0) << 4;
	high = (v + 0x0606060606060606) >> 4 & 0x0101010101010101; /* 1 where it is a..f */
	v += 0x3030303030303030 + high * ('a' - '0' - 10);
	for (unsigned k = 0; k < 8; k++) /* one store, once compiled */
		out[k] = (char)(v >> 8 * k);
}

void head_hex(uint64_t x, char out[16])
{
	head_hex32((uint32_t)x, out);
	head_hex32((uint32_t)(x >> 32), out + 8);
}

uint64_t head_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

void head_request_id(struct client *c, const struct http_request *r)
{
	struct proxy *p = c->proxy;
	char seed[16];

	for (unsigned i = 0; r && r->head.request_id && i < r->head.count; i++) {
		const struct http_field *f = &r->head.fields[i];
		if (f->id == HTTP_FIELD_REQUEST_ID && http_is_token(f->value, REQUEST_ID_MAX)) {
			memcpy(c->id, f->value.p, f->value.n);
			c->id_len = (uint8_t)f->value.n;
			return;
		}
	}
	head_hex(p->id_seed, seed);
	memcpy(c->id, seed, 8);
	head_hex(head_mix(p->id_next++), c->id + 8);
	c->id_len = REQUEST_ID_OURS;
}

size_t head_request(struct client *c, const struct http_request *r, char *out)
{
	char *o = out;

	o = put(o, r->method_name.p, r->method_name.n);
	*o++ = ' ';
	if (c->policy.strip && (c->policy.strip == r->target.n || r->target.p[c->policy.strip] != '/'))
		*o++ = '/';
	o = put(o, r->target.p + c->policy.strip, r->target.n - c->policy.strip);
	o = PUT(o, " HTTP/1.1\r\nHost: ");
	o = put(o, r->host.p, r->host.n);
	o = PUT(o, "\r\n");
	o = put_fields(o, &r->head, c->trace_ours ? 1u << HTTP_FIELD_TRACEPARENT | 1u << HTTP_FIELD_TRACESTATE : 0);
	o = PUT(o, "X-Forwarded-For: ");
	o = put(o, c->addr, strlen(c->addr));
	o = c->conn.tls ? PUT(o, "\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: ")
			: PUT(o, "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: ");
	o = put(o, r->host.p, r->host.n);
	o = PUT(o, "\r\nX-Forwarded-Port: ");
	o = put_number(o, c->local_port);
	if (c->policy.strip) {
		o = PUT(o, "\r\nX-Forwarded-Prefix: ");
		o = put(o, r->target.p, c->policy.strip);
	}
	o = PUT(o, "\r\nX-Request-Id: ");
	o = put(o, c->id, c->id_len);
	o = PUT(o, "\r\n");
	if (c->trace_ours)
		o = trace_put(c, o);
	if (c->upgrade) {
		o = PUT(o, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
	} else if (r->head.chunked) {
		o = PUT(o, "Transfer-Encoding: chunked\r\n");
	} else if (r->head.content_length >= 0) {
		o = PUT(o, "Content-Length: ");
		o = put_number(o, (uint64_t)r->head.content_length);
		o = PUT(o, "\r\n");
	}
	o = PUT(o, "\r\n");
	return (size_t)(o - out);
}

/* The app's own word counts more than the setting. */
static bool head_says_hsts(const struct http_head *h)
{
	for (unsigned i = 0; i < h->count; i++)
		if (http_eq(h->fields[i].name, "strict-transport-security"))
			return true;
	return false;
}

size_t head_response(struct client *c, const struct http_response *r, bool info, char *out)
{
	char *o = out;

	o = PUT(o, "HTTP/1.1 ");
	o = put_number(o, r->status);
	*o++ = ' ';
	o = put(o, r->reason.p, r->reason.n);
	o = PUT(o, "\r\n");
	o = put_fields(o, &r->head, 0);
	if (info) {
		if (r->status == 101)
			o = PUT(o, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
		o = PUT(o, "\r\n");
		return (size_t)(o - out);
	}
	o = PUT(o, "X-Request-Id: ");
	o = put(o, c->id, c->id_len);
	o = PUT(o, "\r\n");
	if (c->app && c->app->front)
		o = policy_response(c, o);
	if (c->conn.tls && c->policy.hsts_s && !head_says_hsts(&r->head)) {
		o = PUT(o, "Strict-Transport-Security: max-age=");
		o = put_number(o, c->policy.hsts_s);
		o = PUT(o, "\r\n");
	}
	if (c->out_chunked) {
		o = PUT(o, "Transfer-Encoding: chunked\r\n");
	} else if (r->head.content_length >= 0 && r->status != 204) {
		o = PUT(o, "Content-Length: ");
		o = put_number(o, (uint64_t)r->head.content_length);
		o = PUT(o, "\r\n");
	}
	if (!c->res_keep)
		o = PUT(o, "Connection: close\r\n");
	else if (c->minor0)
		o = PUT(o, "Connection: keep-alive\r\n");
	o = PUT(o, "\r\n");
	return (size_t)(o - out);
}
