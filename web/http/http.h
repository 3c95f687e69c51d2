/* HTTP/1.1 heads, strictly (RFC 9110, RFC 9112).  Layer web, any process; no allocation, no I/O, no state.
 *
 * In picohttpparser's manner: a parser returns > 0 = bytes used, 0 = needs more, < 0 = bad, and what it found points
 * into the caller's buffer.  Strict means: CRLF only, no folded lines, no space around names, no control bytes, one
 * Host, one Content-Length of digits only, Transfer-Encoding exactly "chunked", in 1.1 only and never beside
 * Content-Length.  What a lenient parser would repair is refused here, since the next parser may repair it differently.
 */
#ifndef TULOU_WEB_HTTP_HTTP_H
#define TULOU_WEB_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_LINE_MAX 8192   /* request line or status line, bytes without CRLF */
#define HTTP_FIELD_MAX 16384 /* one field line */
#define HTTP_FIELDS_MAX 100
#define HTTP_HEAD_MAX 32768 /* a whole head: no buffer here is asked to hold more */
#define HTTP_HOST_MAX 260   /* 253 of a name, a colon, a port */
/* What an intermediary may add to a head that was as large as it may be. */
#define HTTP_FIELDS_OURS 12
#define HTTP_HEAD_OURS 2048

/* Bytes in the caller's buffer. */
struct http_str {
	const char *p;
	size_t n;
};

enum http_method {
	HTTP_METHOD_OTHER, /* any token that is not below */
	HTTP_METHOD_GET,
	HTTP_METHOD_HEAD,
	HTTP_METHOD_POST,
	HTTP_METHOD_PUT,
	HTTP_METHOD_DELETE,
	HTTP_METHOD_PATCH,
	HTTP_METHOD_OPTIONS,
	HTTP_METHOD_TRACE,
	HTTP_METHOD_CONNECT,
	HTTP_METHOD_COUNT,
};

/* Fields that mean something to an intermediary. */
enum http_field_id {
	HTTP_FIELD_OTHER,
	HTTP_FIELD_HOST,
	HTTP_FIELD_CONTENT_LENGTH,
	HTTP_FIELD_TRANSFER_ENCODING,
	HTTP_FIELD_CONNECTION,
	HTTP_FIELD_KEEP_ALIVE,
	HTTP_FIELD_PROXY_CONNECTION,
	HTTP_FIELD_PROXY_AUTHENTICATE,
	HTTP_FIELD_PROXY_AUTHORIZATION,
	HTTP_FIELD_TE,
	HTTP_FIELD_TRAILER,
	HTTP_FIELD_UPGRADE,
	HTTP_FIELD_HTTP2_SETTINGS,
	HTTP_FIELD_EXPECT,
	HTTP_FIELD_ACCEPT,
	HTTP_FIELD_FORWARDED,  /* Forwarded, X-Forwarded-*, X-Real-IP: only a proxy may say these */
	HTTP_FIELD_REQUEST_ID, /* X-Request-Id */
	HTTP_FIELD_TRACEPARENT,
	HTTP_FIELD_TRACESTATE,
	HTTP_FIELD_PROXY, /* Proxy: becomes HTTP_PROXY in CGI environments (CVE-2016-5385) */
	HTTP_FIELD_COUNT,
};

struct http_field {
	struct http_str name, value; /* value without white space around it */
	uint8_t id;		     /* enum http_field_id */
	bool drop;		     /* hop-by-hop: Connection, what belongs to it, and what it names */
};

/* What both kinds of head have. */
struct http_head {
	struct http_field fields[HTTP_FIELDS_MAX + HTTP_FIELDS_OURS];
	unsigned count;
	bool ours;		      /* of the call under way */
	bool request_id, traceparent; /* there are such fields */
	unsigned minor;		      /* HTTP/1.minor, 0 or 1 */
	int64_t content_length;	      /* -1 = none */
	bool chunked;
	bool keep_alive; /* what version and Connection say together */
	bool upgrade;	 /* Connection names upgrade and Upgrade is exactly "websocket" */
	const char *why; /* when bad: one sentence, constant text */
};

struct http_request {
	struct http_head head;
	enum http_method method;
	struct http_str method_name;
	struct http_str target; /* origin form ("/..."), or "*" of OPTIONS; an absolute target is reduced to these */
	bool target_https;	/* it was absolute, with the scheme https */
	struct http_str host;	/* as sent, checked: a name or address of [A-Za-z0-9._-] or [v6], maybe ":port" */
	bool expect_continue;	/* 1.1 only */
};

struct http_response {
	struct http_head head;
	unsigned status;	/* 100..599 */
	struct http_str reason; /* may be empty */
};

/* Parses a request head at buf[0..n).  `seen` is the n of the call before on the same bytes (0 at first): a scan for
 * the end of the head starts there, so a head that comes byte by byte is not quadratic. > 0: length of the head with
 * its empty line.  0: incomplete.  < 0: minus the status to answer (400, 405, 414, 417, 431, 501, 505), r->head.why
 * says why. */
int http_parse_request(const char *buf, size_t n, size_t seen, struct http_request *r);

/* The same for a response head; < 0 is always -502. */
int http_parse_response(const char *buf, size_t n, size_t seen, struct http_response *r);

/* The same for heads that were read once and written anew by us: they may have HTTP_FIELDS_OURS fields and
 * HTTP_HEAD_OURS bytes more. */
int http_parse_own_request(const char *buf, size_t n, struct http_request *r);
int http_parse_own_response(const char *buf, size_t n, struct http_response *r);

/* True when s is a token (RFC 9110, 5.6.2) of 1..max bytes. */
bool http_is_token(struct http_str s, size_t max);
/* Compares without regard to ASCII case; lit is lower case. */
bool http_eq(struct http_str s, const char *lit);
/* True when the request method may be repeated without harm (RFC 9110, 9.2.2). */
bool http_idempotent(enum http_method m);
/* True when a response to this has no body whatever its fields say (RFC 9112, 6.3). */
bool http_bodyless(enum http_method m, unsigned status);
/* The usual reason phrase, "" when there is none. */
const char *http_reason(unsigned status);

#endif
