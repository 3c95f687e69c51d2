/* Strict heads of HTTP/1.1.  Layer web, any process. */
#include "web/http/http.h"

#include "web/http/scan.h"

#include <string.h>
#include <strings.h>

static int http_bad(struct http_head *h, int status, const char *why)
{
	h->why = why;
	return -status;
}

bool http_eq(struct http_str s, const char *lit)
{
	return s.n == strlen(lit) && strncasecmp(s.p, lit, s.n) == 0;
}

bool http_is_token(struct http_str s, size_t max)
{
	return s.n > 0 && s.n <= max && scan_while(s.p, s.p + s.n, SCAN_TOKEN) == s.p + s.n;
}

bool http_idempotent(enum http_method m)
{
	return m == HTTP_METHOD_GET || m == HTTP_METHOD_HEAD || m == HTTP_METHOD_PUT || m == HTTP_METHOD_DELETE ||
	       m == HTTP_METHOD_OPTIONS;
}

bool http_bodyless(enum http_method m, unsigned status)
{
	return m == HTTP_METHOD_HEAD || status < 200 || status == 204 || status == 304;
}

static const struct {
	const char *name; /* lower case */
	uint8_t id;
} http_names[] = {
	{"te", HTTP_FIELD_TE},
	{"host", HTTP_FIELD_HOST},
	{"proxy", HTTP_FIELD_PROXY},
	{"accept", HTTP_FIELD_ACCEPT},
	{"expect", HTTP_FIELD_EXPECT},
	{"trailer", HTTP_FIELD_TRAILER},
	{"upgrade", HTTP_FIELD_UPGRADE},
	{"x-real-ip", HTTP_FIELD_FORWARDED},
	{"forwarded", HTTP_FIELD_FORWARDED},
	{"connection", HTTP_FIELD_CONNECTION},
	{"keep-alive", HTTP_FIELD_KEEP_ALIVE},
	{"tracestate", HTTP_FIELD_TRACESTATE},
	{"traceparent", HTTP_FIELD_TRACEPARENT},
	{"x-request-id", HTTP_FIELD_REQUEST_ID},
	{"content-length", HTTP_FIELD_CONTENT_LENGTH},
	{"http2-settings", HTTP_FIELD_HTTP2_SETTINGS},
	{"proxy-connection", HTTP_FIELD_PROXY_CONNECTION},
	{"transfer-encoding", HTTP_FIELD_TRANSFER_ENCODING},
	{"proxy-authenticate", HTTP_FIELD_PROXY_AUTHENTICATE},
	{"proxy-authorization", HTTP_FIELD_PROXY_AUTHORIZATION},
};

static uint8_t http_field_id(struct http_str name)
{
	/* Which lengths occur at all: most fields of most requests are settled by this bit. */
	static const uint32_t lengths = 1u << 2 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 9 | 1u << 10 |
					1u << 11 | 1u << 12 | 1u << 14 | 1u << 16 | 1u << 17 | 1u << 18 | 1u << 19;
	char c = (char)(name.p[0] | 0x20);

	if (c == 'x' && name.n > 12 && strncasecmp(name.p, "x-forwarded-", 12) == 0)
		return HTTP_FIELD_FORWARDED;
	if (name.n > 19 || !(lengths >> name.n & 1))
		return HTTP_FIELD_OTHER;
	for (size_t i = 0; i < sizeof http_names / sizeof http_names[0]; i++)
		if (c == http_names[i].name[0] && http_eq(name, http_names[i].name))
			return http_names[i].id;
	return HTTP_FIELD_OTHER;
}

/* Digits only, at most 18 of them: no overflow, no sign, no list. */
static int64_t http_length(struct http_str v)
{
	int64_t n = 0;

	if (v.n == 0 || v.n > 18)
		return -1;
	for (size_t i = 0; i < v.n; i++) {
		if (!scan_is(v.p[i], SCAN_DIGIT))
			return -1;
		n = n * 10 + (v.p[i] - '0');
	}
	return n;
}

/* One field line at p; the head is known to end before `end`. */
static int http_field(struct http_head *h, const char **at, const char *end)
{
	const char *p = *at, *q = scan_while(p, end, SCAN_TOKEN), *v, *stop;
	struct http_field *f;

	if (q == p)
		return http_bad(h, 400,
				*p == ' ' || *p == '\t' ? "a header line is folded" : "a header name is empty or bad");
	if (q == end || *q != ':')
		return http_bad(h, 400, "a header name holds a bad character or is not followed by a colon");
	if (h->count == (h->ours ? HTTP_FIELDS_MAX + HTTP_FIELDS_OURS : HTTP_FIELDS_MAX))
		return http_bad(h, 431, "there are more than 100 header fields");
	for (v = q + 1; v < end && (*v == ' ' || *v == '\t'); v++)
		;
	stop = scan_value(v, end);
	if (end - stop < 2 || stop[0] != '\r' || stop[1] != '\n')
		return http_bad(h, 400, "a header value holds a control character, or its line does not end in CRLF");
	if (stop - p > HTTP_FIELD_MAX)
		return http_bad(h, 431, "a header field is longer than 16384 bytes");
	*at = stop + 2;
	while (stop > v && (stop[-1] == ' ' || stop[-1] == '\t'))
		stop--;
	f = &h->fields[h->count++];
	f->name = (struct http_str){p, (size_t)(q - p)};
	f->value = (struct http_str){v, (size_t)(stop - v)};
	f->id = http_field_id(f->name);
	f->drop = false;
	return 0;
}

/* Marks what a Connection field names (RFC 9110, 7.6.1). */
static int http_connection(struct http_head *h, struct http_str v, bool *close, bool *keep, bool *upgrade)
{
	unsigned named = 0;

	for (size_t i = 0; i < v.n;) {
		struct http_str t = {v.p + i, 0};
		const char *q = scan_while(t.p, v.p + v.n, SCAN_TOKEN);
		t.n = (size_t)(q - t.p);
		i += t.n;
		while (i < v.n && (v.p[i] == ' ' || v.p[i] == '\t'))
			i++;
		if (i < v.n && v.p[i] != ',')
			return http_bad(h, 400, "the Connection field is not a list of names");
		for (; i < v.n && (v.p[i] == ',' || v.p[i] == ' ' || v.p[i] == '\t'); i++)
			;
		if (t.n == 0)
			continue;
		if (http_eq(t, "close"))
			*close = true;
		else if (http_eq(t, "keep-alive"))
			*keep = true;
		else if (http_eq(t, "upgrade"))
			*upgrade = true;
		else if (++named > 16)
			return http_bad(h, 400, "the Connection field names more than 16 fields");
		else
			for (unsigned k = 0; k < h->count; k++)
				if (h->fields[k].name.n == t.n && strncasecmp(h->fields[k].name.p, t.p, t.n) == 0)
					h->fields[k].drop = true;
	}
	return 0;
}

/* The rules that requests and responses share, once all fields are there. */
static int http_rules(struct http_head *h, bool request)
{
	bool close = false, keep = false, upgrade = false, websocket = false;
	unsigned lengths = 0, encodings = 0, upgrades = 0;

	h->content_length = -1;
	h->chunked = h->request_id = h->traceparent = false;
	for (unsigned i = 0; i < h->count; i++) {
		struct http_field *f = &h->fields[i];
		switch (f->id) {
		case HTTP_FIELD_OTHER:
			/* A_B and A-B become one name in CGI-like environments. */
			if (request && memchr(f->name.p, '_', f->name.n))
				f->drop = true;
			break;
		case HTTP_FIELD_CONTENT_LENGTH:
			f->drop = true;
			h->content_length = http_length(f->value);
			if (++lengths > 1 || h->content_length < 0)
				return http_bad(h, 400, "Content-Length is not one number of digits");
			break;
		case HTTP_FIELD_TRANSFER_ENCODING:
			f->drop = true;
			h->chunked = true;
			if (++encodings > 1 || !http_eq(f->value, "chunked"))
				return http_bad(h, 400, "Transfer-Encoding is not exactly \"chunked\"");
			break;
		case HTTP_FIELD_CONNECTION:
			f->drop = true;
			if (http_connection(h, f->value, &close, &keep, &upgrade) < 0)
				return -400;
			break;
		case HTTP_FIELD_UPGRADE:
			f->drop = true;
			websocket = ++upgrades == 1 && http_eq(f->value, "websocket");
			break;
		case HTTP_FIELD_TRACEPARENT:
			h->traceparent = true;
			break;
		case HTTP_FIELD_REQUEST_ID:
			h->request_id = f->drop = true;
			break;
		case HTTP_FIELD_TE:
		case HTTP_FIELD_TRAILER:
		case HTTP_FIELD_KEEP_ALIVE:
		case HTTP_FIELD_HTTP2_SETTINGS:
		case HTTP_FIELD_PROXY_CONNECTION:
		case HTTP_FIELD_PROXY_AUTHENTICATE:
		case HTTP_FIELD_PROXY_AUTHORIZATION:
			f->drop = true;
			break;
		default:
			break;
		}
	}
	if (h->chunked && lengths)
		return http_bad(h, 400, "there is both a Content-Length and a Transfer-Encoding");
	if (h->chunked && h->minor == 0)
		return http_bad(h, 400, "there is a Transfer-Encoding in HTTP/1.0");
	h->keep_alive = !close && (h->minor == 1 || keep);
	h->upgrade = upgrade && websocket && h->minor == 1;
	return 0;
}

static bool http_port_ok(const char *p, const char *end)
{
	unsigned port = 0;

	if (end - p > 5)
		return false;
	for (; p < end; p++) {
		if (!scan_is(*p, SCAN_DIGIT))
			return false;
		port = port * 10 + (unsigned)(*p - '0');
	}
	return port <= 65535;
}

static bool http_v6_byte(char c)
{
	return scan_is(c, SCAN_DIGIT) || c == ':' || c == '.' || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool http_host_ok(struct http_str h)
{
	const char *p = h.p, *end = h.p + h.n;

	if (h.n == 0 || h.n > HTTP_HOST_MAX)
		return false;
	if (*p == '[') {
		for (p++; p < end && http_v6_byte(*p); p++)
			;
		if (p == end || *p != ']' || p - h.p < 3)
			return false;
		p++;
	} else {
		p = scan_while(p, end, SCAN_HOST);
		if (p == h.p)
			return false;
	}
	if (p == end)
		return true;
	return *p == ':' && http_port_ok(p + 1, end);
}

static enum http_method http_method_of(struct http_str s)
{
	static const char *const names[HTTP_METHOD_COUNT] = {
		[HTTP_METHOD_GET] = "GET",	   [HTTP_METHOD_HEAD] = "HEAD",	    [HTTP_METHOD_POST] = "POST",
		[HTTP_METHOD_PUT] = "PUT",	   [HTTP_METHOD_DELETE] = "DELETE", [HTTP_METHOD_PATCH] = "PATCH",
		[HTTP_METHOD_OPTIONS] = "OPTIONS", [HTTP_METHOD_TRACE] = "TRACE",   [HTTP_METHOD_CONNECT] = "CONNECT",
	};

	for (unsigned m = HTTP_METHOD_GET; m < HTTP_METHOD_COUNT; m++)
		if (strlen(names[m]) == s.n && memcmp(names[m], s.p, s.n) == 0)
			return (enum http_method)m;
	return HTTP_METHOD_OTHER;
}

/* "HTTP/1.0" or "HTTP/1.1" at p[0..8). */
static int http_version(struct http_head *h, const char *p, int other)
{
	if (memcmp(p, "HTTP/", 5) != 0 || !scan_is(p[5], SCAN_DIGIT) || p[6] != '.' || !scan_is(p[7], SCAN_DIGIT))
		return http_bad(h, other == 505 ? 400 : other, "the version is not HTTP/1.0 or HTTP/1.1");
	if (p[5] != '1' || p[7] > '1')
		return http_bad(h, other, "the version is not HTTP/1.0 or HTTP/1.1");
	h->minor = (unsigned)(p[7] - '0');
	return 0;
}

/* Reduces an absolute target to origin form; its authority must be what Host says (checked by the caller). */
static int http_target(struct http_request *r, struct http_str *authority)
{
	struct http_str t = r->target;
	const char *slash;
	size_t scheme;

	authority->n = 0;
	r->target_https = false;
	if (t.p[0] == '/')
		return 0;
	if (t.n == 1 && t.p[0] == '*' && r->method == HTTP_METHOD_OPTIONS)
		return 0;
	/* Absolute (RFC 9112, 3.2.2). */
	r->target_https = t.n > 8 && strncasecmp(t.p, "https://", 8) == 0;
	scheme = r->target_https ? 8 : 7;
	if (t.n <= scheme || (!r->target_https && strncasecmp(t.p, "http://", 7) != 0))
		return http_bad(&r->head, 400, "the request target is not a path");
	slash = memchr(t.p + scheme, '/', t.n - scheme);
	*authority = (struct http_str){t.p + scheme, slash ? (size_t)(slash - t.p) - scheme : t.n - scheme};
	if (authority->n == 0 || memchr(authority->p, '?', authority->n))
		return http_bad(&r->head, 400, "the request target is not a path");
	if (slash)
		r->target = (struct http_str){slash, t.n - (size_t)(slash - t.p)};
	else /* RFC 9112, 3.2.4 */
		r->target = (struct http_str){r->method == HTTP_METHOD_OPTIONS ? "*" : "/", 1};
	return 0;
}

static int http_request_line(struct http_request *r, const char **at, const char *end)
{
	const char *p = *at, *sp = scan_while(p, end, SCAN_TOKEN), *q;
	int bad;

	if (sp == p || sp == end || *sp != ' ' || sp - p > 32)
		return http_bad(&r->head, 400, "the request line does not begin with a method and one space");
	r->method_name = (struct http_str){p, (size_t)(sp - p)};
	r->method = http_method_of(r->method_name);
	p = sp + 1;
	q = scan_while(p, end, SCAN_TARGET);
	if (q == p || end - q < 11 || *q != ' ' || q[9] != '\r' || q[10] != '\n')
		return http_bad(&r->head, 400,
				"the request line is not method, target and version with single spaces, ended by CRLF");
	r->target = (struct http_str){p, (size_t)(q - p)};
	if ((bad = http_version(&r->head, q + 1, 505)) < 0)
		return bad;
	*at = q + 11;
	if (r->method == HTTP_METHOD_CONNECT || r->method == HTTP_METHOD_TRACE)
		return http_bad(&r->head, 405, "the methods CONNECT and TRACE are not served here");
	return 0;
}

static int http_request_rules(struct http_request *r, struct http_str authority)
{
	unsigned hosts = 0;

	for (unsigned i = 0; i < r->head.count; i++) {
		struct http_field *f = &r->head.fields[i];
		if (f->id == HTTP_FIELD_HOST) {
			hosts++;
			r->host = f->value;
			f->drop = true;
		} else if (f->id == HTTP_FIELD_EXPECT) {
			f->drop = true;
			if (!http_eq(f->value, "100-continue"))
				return http_bad(&r->head, 417, "Expect is not \"100-continue\"");
			r->expect_continue = r->head.minor == 1;
		} else if (f->id == HTTP_FIELD_FORWARDED || f->id == HTTP_FIELD_PROXY) {
			f->drop = true;
		}
	}
	if (hosts != 1 || !http_host_ok(r->host))
		return http_bad(&r->head, 400, "there is not exactly one valid Host field");
	if (authority.n && (authority.n != r->host.n || strncasecmp(authority.p, r->host.p, authority.n) != 0))
		return http_bad(&r->head, 400, "the request target names another host than the Host field");
	return 0;
}

/* Finds the end of the head, or says what is too long already.  > 0 the head's length, 0 more, < 0 bad. */
static int http_extent(struct http_head *h, const char *buf, size_t n, size_t seen, int too_long_line, int too_long)
{
	const char *from = buf + (seen > 3 ? seen - 3 : 0), *end, *line;
	const size_t max = h->ours ? HTTP_HEAD_MAX + HTTP_HEAD_OURS : HTTP_HEAD_MAX;

	end = memmem(from, (size_t)(buf + n - from), "\r\n\r\n", 4);
	line = memchr(buf, '\n', n < HTTP_LINE_MAX + 2 ? n : HTTP_LINE_MAX + 2);
	if (!line && n >= HTTP_LINE_MAX + 2)
		return http_bad(h, too_long_line, "the first line is longer than 8192 bytes");
	if (end && (size_t)(end - buf) + 4 <= max)
		return (int)(end - buf) + 4;
	if (end || n > max)
		return http_bad(h, too_long, "the head is longer than 32768 bytes");
	return 0;
}

static int http_request(const char *buf, size_t n, size_t seen, struct http_request *r)
{
	const char *p = buf, *end;
	struct http_str authority = {NULL, 0};
	int len, bad;

	r->head.count = 0;
	r->head.why = "";
	r->expect_continue = false;
	/* One empty line before the request line is to be ignored (RFC 9112, 2.2). */
	if (n > 0 && buf[0] == '\r') {
		if (n > 1 && buf[1] != '\n')
			return http_bad(&r->head, 400, "the request line begins with a bare CR");
		if (n < 3)
			return 0;
		p += 2;
	}
	len = http_extent(&r->head, p, n - (size_t)(p - buf), seen > 2 ? seen - (size_t)(p - buf) : 0, 414, 431);
	if (len < 0)
		return len;
	if (len == 0) {
		/* Bytes that can begin no request are refused before their end: TLS on the plain port, say. */
		const char *q = scan_while(p, buf + n, SCAN_TOKEN);
		if (q < buf + n && (q == p || *q != ' '))
			return http_bad(&r->head, 400, "the request line does not begin with a method and one space");
		if (q - p > 32)
			return http_bad(&r->head, 400, "the request line does not begin with a method and one space");
		return 0;
	}
	end = p + len - 2;
	if ((bad = http_request_line(r, &p, end)) < 0)
		return bad;
	if ((bad = http_target(r, &authority)) < 0)
		return bad;
	while (p < end)
		if ((bad = http_field(&r->head, &p, end)) < 0)
			return bad;
	if ((bad = http_rules(&r->head, true)) < 0 || (bad = http_request_rules(r, authority)) < 0)
		return bad;
	if (r->head.upgrade && (r->method != HTTP_METHOD_GET || r->head.chunked || r->head.content_length > 0))
		r->head.upgrade = false;
	return (int)(end + 2 - buf);
}

int http_parse_request(const char *buf, size_t n, size_t seen, struct http_request *r)
{
	r->head.ours = false;
	return http_request(buf, n, seen, r);
}

int http_parse_own_request(const char *buf, size_t n, struct http_request *r)
{
	r->head.ours = true;
	return http_request(buf, n, 0, r);
}

static int http_response(const char *buf, size_t n, size_t seen, struct http_response *r)
{
	struct http_head *h = &r->head;
	const char *p, *end, *q;
	int len;

	h->count = 0;
	h->why = "";
	/* Refuse what cannot become a status line at once: an app that speaks something else may never send CRLF CRLF.
	 */
	if (n > 0 && memcmp(buf, "HTTP/1.", n < 7 ? n : 7) != 0)
		return http_bad(h, 502, "the app's answer is not HTTP");
	if ((len = http_extent(h, buf, n, seen, 502, 502)) <= 0)
		return len;
	end = buf + len - 2;
	if (len < 16 || http_version(h, buf, 502) < 0 || buf[8] != ' ' || !scan_is(buf[9], SCAN_DIGIT) ||
	    !scan_is(buf[10], SCAN_DIGIT) || !scan_is(buf[11], SCAN_DIGIT))
		return http_bad(h, 502, "the status line of the app's answer is bad");
	r->status = (unsigned)((buf[9] - '0') * 100 + (buf[10] - '0') * 10 + (buf[11] - '0'));
	p = buf + 12;
	if (*p == ' ')
		p++;
	else if (*p != '\r')
		return http_bad(h, 502, "the status line of the app's answer is bad");
	q = scan_value(p, end);
	if (r->status < 100 || r->status > 599 || end - q < 2 || q[0] != '\r' || q[1] != '\n')
		return http_bad(h, 502, "the status line of the app's answer is bad");
	r->reason = (struct http_str){p, (size_t)(q - p)};
	p = q + 2;
	while (p < end)
		if (http_field(h, &p, end) < 0)
			return -502;
	return http_rules(h, false) < 0 ? -502 : len;
}

int http_parse_response(const char *buf, size_t n, size_t seen, struct http_response *r)
{
	r->head.ours = false;
	return http_response(buf, n, seen, r);
}

int http_parse_own_response(const char *buf, size_t n, struct http_response *r)
{
	r->head.ours = true;
	return http_response(buf, n, 0, r);
}

const char *http_reason(unsigned status)
{
	switch (status) {
	case 100:
		return "Continue";
	case 200:
		return "OK";
	case 204:
		return "No Content";
	case 308:
		return "Permanent Redirect";
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 417:
		return "Expectation Failed";
	case 421:
		return "Misdirected Request";
	case 429:
		return "Too Many Requests";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 502:
		return "Bad Gateway";
	case 503:
		return "Service Unavailable";
	case 504:
		return "Gateway Timeout";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "";
	}
}
