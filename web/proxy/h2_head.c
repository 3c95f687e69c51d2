/* Between the fields of HTTP/2 and the text of HTTP/1.1.  Layer web, proxy process.
 *
 * What comes in is written as a head of 1.1 and judged by http_parse_request() or http_parse_response(), so every rule
 * of theirs holds here too.  What such text cannot say in one way only is refused before it is written: a byte that
 * ends a line, a field that belongs to one connection (RFC 9113, 8.2.2), an authority beside another Host (8.3.1). */
#include "web/proxy/h2.h"

#include "web/http/scan.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define H2_COOKIES HTTP_HEAD_MAX /* offset in the buffer where the crumbs of the Cookie field are joined */
#define H2_TAIL 64		 /* of the text: kept for what ends it */

enum { METHOD, SCHEME, AUTHORITY, PATH, PROTOCOL };
static const char *const pseudo_names[H2_PSEUDO] = {":method", ":scheme", ":authority", ":path", ":protocol"};

static struct http_str h2_str(nghttp2_rcbuf *b)
{
	nghttp2_vec v = b ? nghttp2_rcbuf_get_buf(b) : (nghttp2_vec){NULL, 0};

	return (struct http_str){v.base ? (const char *)v.base : "", v.len};
}

void h2_head_done(struct h2 *h)
{
	for (unsigned i = 0; i < H2_PSEUDO; i++) {
		if (h->pseudo[i])
			nghttp2_rcbuf_decref(h->pseudo[i]);
		h->pseudo[i] = NULL;
	}
}

void h2_head_begin(struct h2 *h, const struct pbuf *b, bool trailer)
{
	h2_head_done(h);
	h->fields = h->total = h->cookie = 0;
	h->text = b ? (unsigned)b->w : 0;
	h->line = h->length = false;
	h->trailer = trailer;
}

/* Appends; what does not fit makes the head too long. */
static void h2_put(struct h2 *h, struct h2_stream *st, struct pbuf *b, const char *p, size_t n)
{
	const size_t max = HTTP_HEAD_MAX - H2_TAIL;

	/* Heads before it may stand in the same buffer. */
	if (st->over || h->text > max || n > max - h->text) {
		st->over = true;
		return;
	}
	memcpy(b->data + h->text, p, n);
	h->text += (unsigned)n;
}

#define PUT(lit) h2_put(h, st, b, lit, sizeof(lit) - 1)

static bool h2_is(struct http_str s, unsigned class)
{
	return s.n > 0 && scan_while(s.p, s.p + s.n, class) == s.p + s.n;
}

/* The request line and Host, once all that they are made of is there. */
static void h2_put_line(struct h2 *h, struct h2_stream *st, struct pbuf *b)
{
	struct http_str method = h2_str(h->pseudo[METHOD]), path = h2_str(h->pseudo[PATH]),
			host = h2_str(h->pseudo[AUTHORITY]);

	h->line = true;
	if (h->pseudo[PROTOCOL]) {
		/* A WebSocket (RFC 8441) is one of 1.1 to the app. */
		if (!http_eq(h2_str(h->pseudo[PROTOCOL]), "websocket") || !http_eq(method, "connect"))
			st->malformed = true;
		st->tunnel = true;
		method = (struct http_str){"GET", 3};
	}
	if (!h2_is(method, SCAN_TOKEN) || (path.n && !h2_is(path, SCAN_TARGET)) || (host.n && !h2_is(host, 0xff))) {
		st->malformed = true;
		return;
	}
	h2_put(h, st, b, method.p, method.n);
	PUT(" ");
	/* CONNECT to elsewhere has none, and is refused for its method. */
	if (path.n)
		h2_put(h, st, b, path.p, path.n);
	else
		PUT("/");
	PUT(" HTTP/1.1\r\n");
	if (h->pseudo[AUTHORITY]) {
		PUT("Host: ");
		h2_put(h, st, b, host.p, host.n);
		PUT("\r\n");
	}
}

/* Crumbs become one field (RFC 9113, 8.2.3); they are collected behind the text. */
static void h2_put_cookie(struct h2 *h, struct h2_stream *st, struct pbuf *b, struct http_str v)
{
	char *at = b->data + H2_COOKIES + h->cookie;
	size_t sep = h->cookie ? 2 : 0;

	if (sep + v.n > PBUF_SIZE - H2_COOKIES - h->cookie) {
		st->over = true;
		return;
	}
	memcpy(at, "; ", sep);
	memcpy(at + sep, v.p, v.n);
	h->cookie += (unsigned)(sep + v.n);
}

static bool h2_of_connection(struct http_str n)
{
	return http_eq(n, "connection") || http_eq(n, "keep-alive") || http_eq(n, "proxy-connection") ||
	       http_eq(n, "transfer-encoding") || http_eq(n, "upgrade");
}

static bool h2_upper(struct http_str n)
{
	for (size_t i = 0; i < n.n; i++)
		if (n.p[i] >= 'A' && n.p[i] <= 'Z')
			return true;
	return false;
}

static void h2_put_field(struct h2 *h, struct h2_stream *st, struct pbuf *b, struct http_str n, struct http_str v)
{
	if (h2_upper(n) || !h2_is(n, SCAN_TOKEN) || scan_value(v.p, v.p + v.n) != v.p + v.n || h2_of_connection(n)) {
		st->malformed = true;
		return;
	}
	if (!h->back && http_eq(n, "te") && !http_eq(v, "trailers")) {
		st->malformed = true;
		return;
	}
	if (!h->back && http_eq(n, "host") && h->pseudo[AUTHORITY]) {
		struct http_str a = h2_str(h->pseudo[AUTHORITY]);
		/* Said twice the same is said once. */
		if (a.n != v.n || strncasecmp(a.p, v.p, a.n) != 0)
			st->malformed = true;
		return;
	}
	if (!h->back && http_eq(n, "cookie")) {
		h2_put_cookie(h, st, b, v);
		return;
	}
	/* The answer to a WebSocket is one of CONNECT, which has no length (RFC 9110, 9.3.6); the word is ours. */
	if (h->back && st->tunnel && st->final && (http_eq(n, "content-length") || http_eq(n, "sec-websocket-accept")))
		return;
	h->length |= http_eq(n, "content-length");
	/* The key belongs to WebSocket of 1.1 and is ours there. */
	if (st->tunnel && http_eq(n, "sec-websocket-key"))
		return;
	h2_put(h, st, b, n.p, n.n);
	PUT(": ");
	h2_put(h, st, b, v.p, v.n);
	PUT("\r\n");
}

static void h2_put_status(struct h2 *h, struct h2_stream *st, struct pbuf *b, struct http_str v)
{
	char line[80];
	unsigned status = 0;

	for (size_t i = 0; i < v.n && i < 4; i++)
		status = scan_is(v.p[i], SCAN_DIGIT) ? status * 10 + (unsigned)(v.p[i] - '0') : 1000;
	/* 101 does not exist in HTTP/2 (RFC 9113, 8.6). */
	if (v.n != 3 || status < 100 || status > 599 || status == 101) {
		st->malformed = true;
		return;
	}
	h->line = true;
	st->final = st->final || status >= 200;
	if (st->tunnel && st->final && status < 300) {
		PUT("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
		    "websocket\r\nSec-WebSocket-Accept: ");
		h2_put(h, st, b, st->accept, strlen(st->accept));
		PUT("\r\n");
		return;
	}
	st->tunnel &= !st->final;
	h2_put(h, st, b, line, (size_t)snprintf(line, sizeof line, "HTTP/1.1 %u %s\r\n", status, http_reason(status)));
}

static void h2_head_pseudo(struct h2 *h, struct h2_stream *st, struct pbuf *b, nghttp2_rcbuf *name,
			   nghttp2_rcbuf *value)
{
	struct http_str n = h2_str(name);

	if (h->line || h->trailer) {
		st->malformed = true;
		return;
	}
	if (h->back) {
		if (http_eq(n, ":status"))
			h2_put_status(h, st, b, h2_str(value));
		else
			st->malformed = true;
		return;
	}
	for (unsigned i = 0; i < H2_PSEUDO; i++)
		if (http_eq(n, pseudo_names[i])) {
			if (h->pseudo[i]) {
				st->malformed = true;
				return;
			}
			nghttp2_rcbuf_incref(value);
			h->pseudo[i] = value;
			return;
		}
	st->malformed = true;
}

bool h2_head_field(struct h2 *h, struct h2_stream *st, struct pbuf *b, nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
	struct http_str n = h2_str(name), v = h2_str(value);

	/* Small references to large entries of the table (a bomb): the rest of the head is decoded, but not kept. */
	h->total += (unsigned)(n.n + v.n + 32);
	if (++h->fields > LIMIT_H2_FIELDS || h->total > LIMIT_H2_HEAD)
		return false;
	if (h->fields > HTTP_FIELDS_MAX + H2_PSEUDO)
		st->over = true;
	if (st->over || st->malformed)
		return true;
	if (n.n > 0 && n.p[0] == ':') {
		h2_head_pseudo(h, st, b, name, value);
		return true;
	}
	if (!h->line && !h->trailer) {
		if (h->back)
			st->malformed = true;
		else
			h2_put_line(h, st, b);
	}
	h2_put_field(h, st, b, n, v);
	return true;
}

/* 16 random bytes are asked for, but nobody checks that they are: what matters is that no cache mixes two of them up.
 */
static void h2_put_websocket(struct h2 *h, struct h2_stream *st, struct pbuf *b)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct proxy *p = h->proxy;
	uint64_t x[2] = {p->id_seed, p->id_next++ * 0x9e3779b97f4a7c15ull};
	char key[24];

	/* 21 digits of 6 bits, one of 2, two of padding. */
	for (unsigned i = 0; i < 21; i++)
		key[i] = digits[x[i / 11] >> (i % 11 * 6 % 64) & 63];
	key[21] = 'A', key[22] = key[23] = '=';
	PUT("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ");
	h2_put(h, st, b, key, sizeof key);
	PUT("\r\n");
}

unsigned h2_head_request(struct h2 *h, struct h2_stream *st, struct pbuf *b, bool body, const char **why)
{
	if (!h->line)
		h2_put_line(h, st, b);
	if (h->cookie > 0) {
		PUT("cookie: ");
		h2_put(h, st, b, b->data + H2_COOKIES, h->cookie);
		PUT("\r\n");
	}
	if (st->tunnel)
		h2_put_websocket(h, st, b);
	st->chunked = body && !h->length && !st->tunnel;
	if (st->chunked)
		PUT("Transfer-Encoding: chunked\r\n");
	if (st->over) {
		*why = "the head is longer than 32768 bytes, or has more than 100 fields";
		return 431;
	}
	memcpy(b->data + h->text, "\r\n", 2);
	b->w = h->text + 2;
	*why = "the scheme is not the connection's";
	return http_eq(h2_str(h->pseudo[SCHEME]), "https") || http_eq(h2_str(h->pseudo[METHOD]), "connect") ? 0 : 421;
}

void h2_head_answer(struct h2 *h, struct h2_stream *st, struct pbuf *b)
{
	if (!h->trailer) {
		st->chunked = st->final && !h->length && !st->tunnel;
		if (st->chunked)
			PUT("Transfer-Encoding: chunked\r\n");
		PUT("\r\n");
		if (st->over)
			return;
	}
	b->w = h->text;
}

/* ---- on the way out ---- */

static nghttp2_nv h2_nv(const char *name, size_t n, const char *value, size_t len)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, n, len, NGHTTP2_NV_FLAG_NONE};
}
#define NV(lit, p, n) h2_nv(lit, sizeof(lit) - 1, p, n)

/* What HTTP/1.1 says about a connection is not said here; Host is :authority, the length is added by the caller. */
static bool h2_is_dropped(const struct http_field *f)
{
	switch (f->id) {
	case HTTP_FIELD_HOST:
	case HTTP_FIELD_CONTENT_LENGTH:
	case HTTP_FIELD_TRANSFER_ENCODING:
	case HTTP_FIELD_CONNECTION:
	case HTTP_FIELD_KEEP_ALIVE:
	case HTTP_FIELD_PROXY_CONNECTION:
	case HTTP_FIELD_TE:
	case HTTP_FIELD_UPGRADE:
	case HTTP_FIELD_HTTP2_SETTINGS:
		return true;
	default:
		return false;
	}
}

static size_t h2_fields(const struct http_head *head, nghttp2_nv *nv, size_t at, const char *drop)
{
	for (unsigned i = 0; i < head->count; i++) {
		const struct http_field *f = &head->fields[i];
		if (h2_is_dropped(f) || (drop && http_eq(f->name, drop)))
			continue;
		/* The text is ours and lies in a buffer of ours. */
		for (size_t k = 0; k < f->name.n; k++) {
			char *c = (char *)(uintptr_t)f->name.p + k;
			if (*c >= 'A' && *c <= 'Z')
				*c = (char)(*c | 0x20);
		}
		nv[at] = h2_nv(f->name.p, f->name.n, f->value.p, f->value.n);
		/* Said once: it would only push others out of the table. */
		if (f->id == HTTP_FIELD_REQUEST_ID)
			nv[at].flags = NGHTTP2_NV_FLAG_NO_INDEX;
		at++;
	}
	return at;
}

static size_t h2_length(const struct http_head *head, nghttp2_nv *nv, size_t at, char digits[20])
{
	if (head->content_length >= 0)
		nv[at++] = NV("content-length", digits,
			      (size_t)snprintf(digits, 20, "%lld", (long long)head->content_length));
	return at;
}

int h2_head_send_answer(struct h2_stream *st, char **data, size_t *len, bool done)
{
	struct h2 *h = st->h2;
	struct http_response *r = &h->proxy->h2->res;
	nghttp2_nv *nv = h->proxy->h2->nv;
	nghttp2_data_provider body = {.read_callback = h2_data};

	while (!st->sent && *len > 0) {
		int n = http_parse_own_response(*data, *len, r), e;
		char status[4], digits[20];
		bool switched = n > 0 && r->status == 101;
		size_t count = 1;
		if (n <= 0)
			return -EPROTO;
		snprintf(status, sizeof status, "%u", switched ? 200 : r->status % 1000);
		nv[0] = NV(":status", status, 3);
		count = h2_fields(&r->head, nv, count, switched ? "sec-websocket-accept" : NULL);
		count = h2_length(&r->head, nv, count, digits);
		*data += n;
		*len -= (size_t)n;
		st->sent = switched || r->status >= 200;
		/* 2xx would say that the WebSocket stands (RFC 8441, 5). */
		if (st->tunnel && !switched && st->sent && r->status < 300)
			return -EPROTO;
		if (!st->sent)
			e = nghttp2_submit_headers(h->ng, NGHTTP2_FLAG_NONE, st->id, NULL, nv, count, NULL);
		else
			e = nghttp2_submit_response(h->ng, st->id, nv, count,
						    done && *len == 0 && !st->trailers ? NULL : &body);
		if (e < 0)
			return e == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
	}
	return 0;
}

/* What shows that the key was read (RFC 6455, 4.2.2). */
static bool h2_accept(const struct http_head *head, char out[29])
{
	static const char id[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char text[64 + sizeof id];
	uint8_t digest[20];
	size_t n = 0;

	for (unsigned i = 0; i < head->count; i++) {
		const struct http_field *f = &head->fields[i];
		if (!http_eq(f->name, "sec-websocket-key"))
			continue;
		if (n > 0 || f->value.n == 0 || f->value.n > 64)
			return false;
		memcpy(text, f->value.p, n = f->value.n);
	}
	if (n == 0)
		return false;
	memcpy(text + n, id, sizeof id - 1);
	if (EVP_Digest(text, n + sizeof id - 1, digest, NULL, EVP_sha1(), NULL) != 1)
		return false;
	return EVP_EncodeBlock((uint8_t *)out, digest, sizeof digest) == 28;
}

int h2_head_send_request(struct h2_stream *st, char **data, size_t *len, bool done)
{
	struct h2 *h = st->h2;
	struct http_request *r = &h->proxy->h2->req;
	nghttp2_nv *nv = h->proxy->h2->nv;
	nghttp2_data_provider body = {.read_callback = h2_data};
	int n = http_parse_own_request(*data, *len, r);
	char digits[20];
	size_t count = 4;

	if (n <= 0)
		return -EPROTO;
	st->tunnel = r->head.upgrade;
	if (st->tunnel && !h2_accept(&r->head, st->accept))
		return -EBADMSG;
	nv[0] = NV(":method", r->method_name.p, r->method_name.n);
	nv[1] = NV(":scheme", "http", 4);
	nv[2] = NV(":authority", r->host.p, r->host.n);
	nv[3] = NV(":path", r->target.p, r->target.n);
	if (st->tunnel) {
		/* An extended CONNECT (RFC 8441, 4 and 5). */
		nv[0] = NV(":method", "CONNECT", 7);
		nv[count++] = NV(":protocol", "websocket", 9);
	} else {
		nv[count++] = NV("te", "trailers", 8);
	}
	count = h2_fields(&r->head, nv, count, st->tunnel ? "sec-websocket-key" : NULL);
	count = h2_length(&r->head, nv, count, digits);
	*data += n;
	*len -= (size_t)n;
	st->sent = true;
	done &= *len == 0 && !st->tunnel;
	st->id = nghttp2_submit_request(h->ng, NULL, nv, count, done ? NULL : &body, st);
	if (st->id < 0)
		return st->id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
	return 0;
}

/* Fields that say what the head had to say (RFC 9110, 6.5.1), and those of connections. */
static bool h2_is_trailer(struct http_str n)
{
	static const char *const heads[] = {
		"authorization",   "cache-control", "date",	  "expires", "age",	"host",
		"location",	   "retry-after",   "set-cookie", "te",	     "trailer", "vary",
		"www-authenticate"};

	if (n.n > 8 && strncasecmp(n.p, "content-", 8) == 0)
		return false;
	if (h2_of_connection(n))
		return false;
	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
		if (http_eq(n, heads[i]))
			return false;
	return true;
}

/* What only a proxy may say, and what would be read as a part of the head. */
static bool h2_is_late(struct http_str n)
{
	static const char *const ours[] = {"forwarded", "x-real-ip", "x-request-id", "cookie",
					   "expect",	"proxy",     "traceparent",  "tracestate"};

	if (n.n > 12 && strncasecmp(n.p, "x-forwarded-", 12) == 0)
		return false;
	for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
		if (http_eq(n, ours[i]))
			return false;
	return h2_is_trailer(n);
}

void h2_head_late(struct h2_stream *st, nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
	struct http_str n = h2_str(name), v = h2_str(value);
	size_t need = n.n + v.n + 3;
	char *o;

	if (st->late_len > CHUNKED_TRAILER_MAX)
		return;
	if (!h2_is(n, SCAN_TOKEN) || h2_upper(n) || scan_value(v.p, v.p + v.n) != v.p + v.n ||
	    need > CHUNKED_TRAILER_MAX - st->late_len || (!st->late && !(st->late = malloc(CHUNKED_TRAILER_MAX)))) {
		st->late_len = CHUNKED_TRAILER_MAX + 1; /* none of them */
		return;
	}
	if (!h2_is_late(n))
		return;
	o = st->late + st->late_len;
	memcpy(o, n.p, n.n);
	o[n.n] = ':';
	o[n.n + 1] = ' ';
	memcpy(o + n.n + 2, v.p, v.n);
	o[need - 1] = '\n';
	st->late_len += need;
}

bool h2_head_send_trailers(struct h2_stream *st)
{
	nghttp2_nv *nv = st->h2->proxy->h2->nv;
	size_t count = 0;

	for (char *p = st->trailers, *end = p + st->trailers_len, *nl; p < end && count < HTTP_FIELDS_MAX; p = nl + 1) {
		char *colon;
		struct http_str n, v;
		nl = memchr(p, '\n', (size_t)(end - p));
		colon = nl ? memchr(p, ':', (size_t)(nl - p)) : NULL;
		if (!colon)
			break;
		n = (struct http_str){p, (size_t)(colon - p)};
		v = (struct http_str){colon + 1, (size_t)(nl - colon - 1)};
		while (v.n > 0 && (*v.p == ' ' || *v.p == '\t'))
			v.p++, v.n--;
		while (v.n > 0 && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
			v.n--;
		if (!h2_is_trailer(n))
			continue;
		for (char *c = p; c < colon; c++)
			if (*c >= 'A' && *c <= 'Z')
				*c = (char)(*c | 0x20);
		nv[count++] = h2_nv(n.p, n.n, v.p, v.n);
	}
	if (count > 0 && nghttp2_submit_trailer(st->h2->ng, st->id, nv, count) < 0)
		count = 0;
	free(st->trailers);
	st->trailers = NULL;
	st->trailers_len = 0;
	return count > 0;
}
