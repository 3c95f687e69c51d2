/* Answers, headers and queries of one exchange.  Layer web, control process. */
#include "web/api/exchange.h"

#include "base/clock.h"
#include "base/own.h"
#include "base/parse.h"
#include "web/api/route.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>

const char *api_status_title(unsigned status)
{
	static const struct {
		unsigned status;
		const char *title;
	} titles[] = {
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{409, "Conflict"},
		{413, "Content Too Large"},
		{414, "URI Too Long"},
		{415, "Unsupported Media Type"},
		{422, "Unprocessable Content"},
		{429, "Too Many Requests"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
	};

	for (size_t i = 0; i < ARRAY_LEN(titles); i++)
		if (titles[i].status == status)
			return titles[i].title;
	return "Error";
}

void api_etag(const void *p, size_t n, char out[36])
{
	unsigned char md[EVP_MAX_MD_SIZE] = {0};

	EVP_Digest(p, n, md, NULL, EVP_sha256(), NULL);
	out[0] = '"';
	parse_hex(md, 16, out + 1);
	out[33] = '"';
	out[34] = 0;
}

bool api_etag_matches(struct exchange *x, const char *etag)
{
	const char *p = api_header(x, "If-None-Match");

	while (p && *p) {
		size_t n;
		p += strspn(p, " \t,");
		if (*p == '*')
			return true;
		if (strncmp(p, "W/", 2) == 0)
			p += 2;
		n = strcspn(p, ",");
		while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
			n--;
		if (n == strlen(etag) && strncmp(p, etag, n) == 0)
			return true;
		p += strcspn(p, ",");
	}
	return false;
}

void api_answer_header(struct exchange *x, const char *name, const char *value)
{
	const char *was = x->response ? MHD_get_response_header(x->response, name) : NULL;

	if (was)
		MHD_del_response_header(x->response, name, was);
	if (x->response)
		MHD_add_response_header(x->response, name, value);
}

/* Takes r; every answer passes here. */
static void api_answer(struct exchange *x, unsigned status, struct MHD_Response *r)
{
	if (x->response) { /* our own bug, but not worth a process */
		MHD_destroy_response(r);
		return;
	}
	x->response = r;
	x->status = status;
	api_answer_header(x, "X-Content-Type-Options", "nosniff");
}

void api_answer_shared(struct exchange *x, unsigned status, struct MHD_Response *r)
{
	x->response = r;
	x->response_shared = true;
	x->status = status;
}

void api_answer_empty(struct exchange *x, unsigned status)
{
	api_answer(x, status, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

/* Takes p (free). */
static void api_answer_body(struct exchange *x, unsigned status, const char *type, char *p, size_t n)
{
	bool get = x->method[0] == 'G' || x->method[0] == 'H';
	char etag[36] = "";
	struct MHD_Response *r;

	if (get && status == 200) {
		api_etag(p, n, etag);
		if (api_etag_matches(x, etag)) {
			free(p);
			api_answer_empty(x, 304);
			api_answer_header(x, "ETag", etag);
			return;
		}
	}
	r = MHD_create_response_from_buffer(n, p, MHD_RESPMEM_MUST_FREE);
	if (!r) {
		free(p);
		return;
	}
	api_answer(x, status, r);
	api_answer_header(x, "Content-Type", type);
	api_answer_header(x, "Cache-Control", get && status == 200 ? "private, no-cache" : "no-store");
	api_answer_header(x, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
	if (*etag)
		api_answer_header(x, "ETag", etag);
}

void api_answer_text(struct exchange *x, unsigned status, const char *type, const char *p, size_t n)
{
	char *copy = malloc(n + 1);

	if (!copy)
		return;
	memcpy(copy, p, n);
	copy[n] = 0;
	api_answer_body(x, status, type, copy, n);
}

/* Keeps the answer for a repeated Idempotency-Key.  A refusal is not kept: the same request may succeed later. */
static void api_idem_keep(struct exchange *x, unsigned status, const char *text)
{
	if (x->idem_key && *x->idem_hash && status < 300)
		store_idem_put(x->api->config.store, x->who.token, x->idem_key, x->idem_hash, (int)status,
			       x->route->flags & API_SECRET ? "" : text, NULL);
}

void api_answer_json(struct exchange *x, unsigned status, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(12) | JSON_ENCODE_ANY) : NULL;

	json_decref(json);
	if (!text) {
		api_answer_problem(x, 500, NULL, "the answer could not be built");
		return;
	}
	api_idem_keep(x, status, text);
	api_answer_body(x, status, status >= 400 ? "application/problem+json" : "application/json", text, strlen(text));
}

void api_answer_problem(struct exchange *x, unsigned status, const char *field, const char *fmt, ...)
{
	char text[512], *body;
	json_t *j;
	va_list ap;

	if (x->response)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	/* git shows its user what a server says only when it is plain text. */
	if (x->route && x->route->flags & API_BASIC) {
		strncat(text, "\n", sizeof text - strlen(text) - 1);
		api_answer_text(x, status, "text/plain; charset=utf-8", text, strlen(text));
		return;
	}
	j = json_pack("{s:s, s:s, s:i}", "type", "about:blank", "title", api_status_title(status), "status",
		      (int)status);
	json_object_set_new(j, "detail", json_string(text) ?: json_string("the value is not UTF-8"));
	if (field && *field)
		json_object_set_new(j, "field", json_string(field));
	body = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	if (body)
		api_answer_body(x, status, "application/problem+json", body, strlen(body));
	if (status == 429 || status == 503)
		api_answer_header(x, "Retry-After", "5");
}

void api_answer_err(struct exchange *x, const struct err *e)
{
	static const struct {
		int code;
		unsigned status;
	} map[] = {
		{EINVAL, 400}, {ERANGE, 400},  {ENOENT, 404}, {EEXIST, 409},   {EBUSY, 409}, {ESTALE, 409},
		{EDQUOT, 403}, {EACCES, 403},  {EPERM, 403},  {EFBIG, 413},    {E2BIG, 413}, {EAGAIN, 503},
		{ENOSPC, 503}, {ENOTSUP, 501}, {EPIPE, 503},  {ENOTCONN, 503},
	};

	for (size_t i = 0; i < ARRAY_LEN(map); i++)
		if (map[i].code == e->code) {
			api_answer_problem(x, map[i].status, e->field, "%s", e->text);
			return;
		}
	/* What SQLite or the kernel said is for the operator's log, not for tenants. */
	api_answer_problem(x, 500, NULL, "%s",
			   x->who.role == MODEL_ROLE_OPERATOR && *e->text
				   ? e->text
				   : "something went wrong on this node; its log says what");
}

/* MHD asks for more of a streamed body. */
static ssize_t api_on_read(void *cls, uint64_t pos, char *p, size_t max)
{
	struct exchange *x = cls;
	ssize_t n;

	(void)pos;
	if (x->gone)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	n = x->ops->read(x, p, max);
	if (n == 0) {
		api_suspend(x);
		return 0;
	}
	if (n > 0) {
		if (x->beat_us)
			x->beat_us = clock_mono_us();
		return n;
	}
	return n == -1 ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
}

void api_answer_stream(struct exchange *x, const char *type)
{
	struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32768, api_on_read, x, NULL);

	if (!r)
		return;
	api_answer(x, 200, r);
	api_answer_header(x, "Content-Type", type);
	api_answer_header(x, "Cache-Control", "no-cache");
	api_answer_header(x, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
}

const char *api_header(struct exchange *x, const char *name)
{
	return MHD_lookup_connection_value(x->conn, MHD_HEADER_KIND, name);
}

static int unhex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

bool api_unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		int hi, lo;
		if (*s != '%') {
			*to++ = *s;
			continue;
		}
		hi = unhex(s[1]);
		lo = hi < 0 ? -1 : unhex(s[2]);
		if (lo < 0 || hi * 16 + lo == 0)
			return false;
		*to++ = (char)(hi * 16 + lo);
		s += 2;
	}
	*to = 0;
	return true;
}

struct query_walk {
	struct exchange *x;
	unsigned count;
	bool bad;
};

static enum MHD_Result api_on_query(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct query_walk *w = cls;
	struct buf *b = &w->x->query;

	(void)kind;
	for (int i = 0; i < 2 && !w->bad; i++) {
		OWN_FREE char *s = strdup(i == 0 ? key : value ? value : "");
		if (!s || !api_unescape(s) || buf_add(b, s, strlen(s) + 1) < 0)
			w->bad = true;
	}
	if (++w->count > LIMIT_API_QUERY)
		w->bad = true;
	return w->bad ? MHD_NO : MHD_YES;
}

bool api_query_read(struct exchange *x)
{
	struct query_walk w = {.x = x};

	MHD_get_connection_values(x->conn, MHD_GET_ARGUMENT_KIND, api_on_query, &w);
	if (w.bad)
		api_answer_problem(x, 400, NULL, "the query is malformed, over %d bytes or over %d parameters",
				   LIMIT_API_URL, LIMIT_API_QUERY);
	return !w.bad;
}

const char *api_query(struct exchange *x, const char *name)
{
	const char *p = x->query.data, *end = p ? p + x->query.len : p;

	while (p < end) {
		const char *value = p + strlen(p) + 1;
		if (strcmp(p, name) == 0)
			return value;
		p = value + strlen(value) + 1;
	}
	return NULL;
}

bool api_query_u64(struct exchange *x, const char *name, uint64_t min, uint64_t max, uint64_t *ret)
{
	const char *s = api_query(x, name);
	struct err e = {0};

	if (!s || parse_u64(s, strlen(s), min, max, name, ret, &e) == 0)
		return true;
	api_answer_err(x, &e);
	return false;
}

bool api_query_flag(struct exchange *x, const char *name, bool *ret)
{
	const char *s = api_query(x, name);
	struct err e = {0};

	if (!s)
		return true;
	if (strcmp(s, "1") == 0 || strcmp(s, "true") == 0 || !*s)
		*ret = true;
	else if (strcmp(s, "0") == 0 || strcmp(s, "false") == 0)
		*ret = false;
	else {
		parse_must_be(s, "1 or 0", name, &e);
		api_answer_err(x, &e);
		return false;
	}
	return true;
}

bool api_stream_count(struct exchange *x)
{
	struct exchange *other;
	unsigned mine = 0;

	if (x->counted)
		return true;
	for (other = x->api->all; other; other = other->next)
		mine += other->counted && other->who.tenant == x->who.tenant;
	if (x->who.tenant && mine >= LIMIT_API_STREAMS_TENANT) {
		x->api->refused++;
		api_answer_problem(x, 429, NULL, "this tenant has %d streams open already", LIMIT_API_STREAMS_TENANT);
		return false;
	}
	if (x->api->streams >= LIMIT_API_STREAMS) {
		x->api->refused++;
		api_answer_problem(x, 503, NULL, "this node has %d streams open already", LIMIT_API_STREAMS);
		return false;
	}
	x->counted = true;
	x->api->streams++;
	return true;
}

void api_stream_set(struct exchange *x, const struct exchange_stream *ops, void *state)
{
	x->ops = ops;
	x->stream = state;
}
