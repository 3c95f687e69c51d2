/* Fuzzes a whole worker: two clients and an app's connections say what the input tells them to, in one process, and
 * what comes out at both ends is checked.
 *
 * An input is a script; 0xff begins a step, 0xfe one that the worker meets together with the step before:
 *   A, B bytes   client A or B sends them              a, b    it closes            h   A ends its direction
 *   Q, q         A or B sends a GET with a path of its own (Q1, q1: a POST; Q2, q2: HEAD)
 *   0..7 bytes   the app sends them on its n-th connection
 *   R n v        the app answers the n-th connection in form v (see script_answer), with an id of the request
 *   C n          the app closes its n-th connection    s       A stops reading, or goes on
 *
 * Checked: what reaches the app is in our own strict form, and each request there was in a client's stream, with that
 * body, or a part of it; answers parse and are not more than the requests; an answer with an id is the answer to that
 * request, and one that the app gave before it was asked reaches nobody; in the end nothing is left over. */
#include "tests/fuzz/fuzz_common.h"
#include "web/http/chunked.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS 8
#define STREAM 262144
#define REQUESTS 256
#define SURPLUS 0x5eed0fbadull

struct stream {
	int fd; /* -1 = closed */
	size_t len;
	char data[STREAM];
};
/* What a client sent is kept beside what it got. */
struct side {
	struct stream in;
	size_t sent_len;
	char sent[STREAM];
	bool paused;
};
struct backend {
	struct stream in;
	size_t parsed;	/* bytes of heads and bodies that were understood */
	size_t body;	/* of a Content-Length still to come */
	bool in_chunks; /* a chunked body is on its way */
	struct chunked chunked;
	unsigned asked, answered;
	uint64_t id; /* of the last request */
	bool dirty;  /* raw bytes were sent: answers cannot be told apart any more */
};
struct want {
	struct http_str method, target;
	bool head;
	const char *body; /* decoded, in arena */
	size_t body_len;
	bool whole;
};

static struct proxy *proxy;
static struct listener front;
static int listener = -1;
static struct side client[2];
static struct backend back[CONNS];
static unsigned back_count;
static uint64_t next_id;
static struct want wants[2][REQUESTS];
static unsigned want_count[2];
static char arena[2][STREAM];

static void start(void)
{
	proxy = fuzz_start();
	listener = fuzz_app(1, "a", PROXY_PROTOCOL_HTTP1);
	front = (struct listener){.proxy = proxy, .port = 80};
}

/* ---- ends ---- */
static void open_client(struct side *s)
{
	fuzz_client(&front, &s->in.fd);
	s->in.len = s->sent_len = 0;
	s->paused = false;
}

static void shut(struct stream *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static size_t push(struct stream *s, const char *p, size_t n)
{
	ssize_t w = s->fd >= 0 ? send(s->fd, p, n, MSG_NOSIGNAL) : -1;

	return w > 0 ? (size_t)w : 0;
}

static void pull(struct stream *s)
{
	ssize_t n;

	while (s->fd >= 0 && s->len < STREAM && (n = recv(s->fd, s->data + s->len, STREAM - s->len, 0)) != -1) {
		if (n == 0) {
			shut(s);
			break;
		}
		s->len += (size_t)n;
	}
	if (s->fd >= 0 && s->len == STREAM)
		shut(s);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * 0x9e3779b97f4a7c15ull;
	return x ^ x >> 29;
}

/* ---- what the app sees ---- */
/* The bytes of a request that came to it, and whether the body is whole. */
static void judge_request(const struct http_request *r, const char *body, size_t len, bool whole)
{
	for (unsigned c = 0; c < 2; c++)
		for (unsigned k = 0; k < want_count[c]; k++) {
			const struct want *w = &wants[c][k];
			if (w->method.n == r->method_name.n &&
			    memcmp(w->method.p, r->method_name.p, w->method.n) == 0 && w->target.n == r->target.n &&
			    memcmp(w->target.p, r->target.p, w->target.n) == 0 &&
			    (whole ? w->whole && w->body_len == len : w->body_len >= len) &&
			    (len == 0 || memcmp(w->body, body, len) == 0))
				return;
		}
	fprintf(stderr, "fuzz_worker: a request that no client sent: %.*s %.*s, %zu bytes of body\n",
		(int)r->method_name.n, r->method_name.p, (int)r->target.n, r->target.p, len);
	abort();
}

static void strict_form(const struct http_request *r)
{
	unsigned hosts = 0, framings = 0, forwarded = 0;

	for (unsigned i = 0; i < r->head.count; i++) {
		const struct http_field *f = &r->head.fields[i];
		hosts += f->id == HTTP_FIELD_HOST;
		framings += f->id == HTTP_FIELD_CONTENT_LENGTH || f->id == HTTP_FIELD_TRANSFER_ENCODING;
		forwarded += http_eq(f->name, "x-forwarded-for");
		MUST(!memchr(f->name.p, '_', f->name.n));
		MUST(f->id != HTTP_FIELD_EXPECT && f->id != HTTP_FIELD_TE && f->id != HTTP_FIELD_TRAILER);
		MUST(r->head.upgrade || (f->id != HTTP_FIELD_CONNECTION && f->id != HTTP_FIELD_UPGRADE));
	}
	MUST(hosts == 1 && framings <= 1 && forwarded == 1 && r->head.minor == 1);
}

/* The last request's path gives its id: /q and digits. */
static uint64_t id_of(struct http_str t)
{
	char text[24] = "";

	if (t.n < 3 || t.n > 20 || t.p[0] != '/' || t.p[1] != 'q')
		return 0;
	memcpy(text, t.p + 2, t.n - 2);
	return strtoull(text, NULL, 10);
}

/* Counts heads as they come, so that it is known whether an answer was asked for.  The whole is judged at the end. */
static void follow(struct backend *b)
{
	static struct http_request r;
	static char copy[STREAM];

	for (;;) {
		size_t left = b->in.len - b->parsed, len, used;
		int n;
		if (left == 0)
			return;
		if (b->body > 0) {
			used = left < b->body ? left : b->body;
			b->body -= used;
			b->parsed += used;
			continue;
		}
		if (b->in_chunks) {
			memcpy(copy, b->in.data + b->parsed, left);
			len = left;
			n = chunked_decode(&b->chunked, copy, &len, &used);
			MUST(n >= 0);
			b->parsed += used;
			b->in_chunks = n == 0;
			continue;
		}
		n = http_parse_request(b->in.data + b->parsed, left, 0, &r);
		MUST(n >= 0);
		if (n == 0)
			return;
		strict_form(&r);
		b->parsed += (size_t)n;
		b->asked++;
		b->id = id_of(r.target);
		b->body = r.head.content_length > 0 ? (size_t)r.head.content_length : 0;
		b->in_chunks = r.head.chunked;
		memset(&b->chunked, 0, sizeof b->chunked);
		if (r.head.upgrade) {
			/* After our 101 there is no HTTP any more: the rest is not looked at. */
			b->body = SIZE_MAX / 2;
			b->dirty = true;
		}
	}
}

static void judge_backend(struct backend *b)
{
	static struct http_request r;
	static char copy[STREAM];
	size_t at = 0;

	while (at < b->in.len) {
		size_t left = b->in.len - at, len = 0, used = 0;
		int n = http_parse_request(b->in.data + at, left, 0, &r), end = 1;
		MUST(n >= 0);
		if (n == 0)
			return;
		at += (size_t)n;
		left -= (size_t)n;
		memcpy(copy, b->in.data + at, left);
		if (r.head.chunked) {
			len = left;
			end = chunked_decode(&(struct chunked){0}, copy, &len, &used);
			MUST(end >= 0);
		} else if (r.head.content_length > 0) {
			len = used = left < (size_t)r.head.content_length ? left : (size_t)r.head.content_length;
			end = used == (size_t)r.head.content_length;
		}
		judge_request(&r, copy, len, end == 1);
		if (r.head.upgrade)
			return;
		at += used;
	}
}

/* ---- what a client may expect ---- */
/* All requests in what it sent, as one strict reader sees them; stops at the first that is bad or not whole. */
static void understand(unsigned c)
{
	static struct http_request r;
	const struct side *s = &client[c];
	size_t at = 0, room = 0;

	want_count[c] = 0;
	while (at < s->sent_len && want_count[c] < REQUESTS) {
		struct want *w = &wants[c][want_count[c]];
		int n = http_parse_request(s->sent + at, s->sent_len - at, 0, &r), end = 1;
		size_t left, len = 0, used = 0;
		if (n <= 0)
			return;
		at += (size_t)n;
		left = s->sent_len - at;
		memcpy(arena[c] + room, s->sent + at, left);
		if (r.head.chunked) {
			len = left;
			end = chunked_decode(&(struct chunked){0}, arena[c] + room, &len, &used);
			if (end < 0)
				len = left; /* what of it went on before the fault is a part of this */
		} else if (r.head.content_length > 0) {
			len = used = left < (size_t)r.head.content_length ? left : (size_t)r.head.content_length;
			end = used == (size_t)r.head.content_length;
		}
		*w = (struct want){.method = r.method_name,
				   .target = r.target,
				   .head = r.method == HTTP_METHOD_HEAD,
				   .body = arena[c] + room,
				   .body_len = len,
				   .whole = end == 1};
		room += len;
		want_count[c]++;
		if (end != 1 || room + (s->sent_len - at) > STREAM)
			return;
		at += used;
	}
}

static void judge_id(unsigned c, unsigned k, const char *body, size_t len)
{
	const char *p = len >= 19 ? memmem(body, len, "id=", 3) : NULL;
	char text[17] = "";
	uint64_t id;

	if (!p || p + 19 > body + len)
		return;
	memcpy(text, p + 3, 16);
	id = strtoull(text, NULL, 16);
	MUST(id != mix(SURPLUS));
	for (uint64_t q = 1; q <= next_id; q++)
		if (id == mix(q)) {
			/* It is of a request of ours: this one's. */
			MUST(k < want_count[c] && id_of(wants[c][k].target) == q);
			return;
		}
}

/* Answers parse strictly, and are as many as requests, or one more that refuses. */
static void judge_client(unsigned c)
{
	static struct http_response r;
	static char copy[STREAM];
	const struct stream *s = &client[c].in;
	size_t at = 0;

	for (unsigned k = 0; at < s->len;) {
		size_t left = s->len - at, len = 0, used = 0;
		bool head = k < want_count[c] && wants[c][k].head;
		int n = http_parse_response(s->data + at, left, 0, &r);
		MUST(n >= 0);
		if (n == 0)
			return;
		at += (size_t)n;
		left -= (size_t)n;
		if (r.status == 101)
			return;
		if (r.status < 200)
			continue;
		MUST(k <= want_count[c]);
		memcpy(copy, s->data + at, left);
		if (head || r.status == 204 || r.status == 304) {
			used = 0;
		} else if (r.head.chunked) {
			len = left;
			MUST(chunked_decode(&(struct chunked){0}, copy, &len, &used) >= 0);
		} else if (r.head.content_length >= 0) {
			len = used = left < (size_t)r.head.content_length ? left : (size_t)r.head.content_length;
		} else {
			MUST(!r.head.keep_alive);
			len = used = left;
		}
		judge_id(c, k, copy, len);
		MUST(r.head.keep_alive || at + used == s->len);
		at += used;
		k++;
	}
}

/* ---- the script ---- */
static void say(unsigned c, const char *p, size_t n)
{
	struct side *s = &client[c];

	if (n > STREAM - s->sent_len)
		n = STREAM - s->sent_len;
	n = push(&s->in, p, n);
	memcpy(s->sent + s->sent_len, p, n);
	s->sent_len += n;
}

static void script_ask(unsigned c, char form)
{
	static const char *const methods[] = {"GET", "POST", "HEAD"};
	char text[128];
	int n = snprintf(text, sizeof text, "%s /q%llu HTTP/1.1\r\nHost: a.test\r\n\r\n",
			 methods[form >= '1' && form <= '2' ? form - '0' : 0], (unsigned long long)++next_id);

	say(c, text, (size_t)n);
}

/* Forms: 0 length, 1 chunked, 2 until the end, 3 with an interim answer, 4 as long as one read, 5 says close. */
static void script_answer(struct backend *b, char form)
{
	static char text[40000];
	unsigned long long id = mix(b->answered < b->asked ? b->id : SURPLUS);
	int n = 0, pad = 0;

	if (b->in.fd < 0 || b->dirty)
		return;
	if (form == '1') {
		n = snprintf(text, sizeof text,
			     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n13\r\nid=%016llx\r\n0\r\n\r\n", id);
	} else if (form == '2') {
		n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n\r\nid=%016llx", id);
	} else if (form == '4') {
		n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: 00000\r\n\r\n");
		pad = 32768 - n;
		n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %05d\r\n\r\nid=%016llx", pad, id);
		memset(text + n, 'x', (size_t)(32768 - n));
		n = 32768;
	} else {
		n = snprintf(text, sizeof text, "%sHTTP/1.1 200 OK\r\n%sContent-Length: 19\r\n\r\nid=%016llx",
			     form == '3' ? "HTTP/1.1 103 Early Hints\r\n\r\n" : "",
			     form == '5' ? "Connection: close\r\n" : "", id);
	}
	/* Half an answer is raw bytes. */
	if (push(&b->in, text, (size_t)n) != (size_t)n)
		b->dirty = true;
	b->answered++;
	if (form == '2')
		shut(&b->in);
}

static void accept_all(void)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct backend *b;
		if (back_count == CONNS) {
			close(fd);
			continue;
		}
		b = &back[back_count++];
		*(struct stream *)&b->in = (struct stream){.fd = fd};
		memset((char *)b + offsetof(struct backend, parsed), 0, sizeof *b - offsetof(struct backend, parsed));
	}
}

static void settle(void)
{
	for (unsigned k = 0; k < 3; k++) {
		fuzz_run(2);
		accept_all();
		for (unsigned i = 0; i < back_count; i++) {
			pull(&back[i].in);
			follow(&back[i]);
		}
		for (unsigned c = 0; c < 2; c++)
			if (!client[c].paused)
				pull(&client[c].in);
	}
}

static void step(const char *p, size_t n)
{
	struct backend *b =
		n > 1 && p[1] >= '0' && p[1] <= '7' && (unsigned)(p[1] - '0') < back_count ? &back[p[1] - '0'] : NULL;

	switch (p[0]) {
	case 'A':
	case 'B':
		say((unsigned)(p[0] - 'A'), p + 1, n - 1);
		break;
	case 'a':
	case 'b':
		shut(&client[p[0] - 'a'].in);
		break;
	case 'h':
		if (client[0].in.fd >= 0)
			shutdown(client[0].in.fd, SHUT_WR);
		break;
	case 's':
		client[0].paused = !client[0].paused;
		break;
	case 'Q':
	case 'q':
		script_ask(p[0] == 'q', n > 1 ? p[1] : '0');
		break;
	case 'R':
		if (b)
			script_answer(b, n > 2 ? p[2] : '0');
		break;
	case 'C':
		if (b)
			shut(&b->in);
		break;
	default:
		if (p[0] >= '0' && p[0] <= '7' && (unsigned)(p[0] - '0') < back_count) {
			back[p[0] - '0'].dirty = true;
			push(&back[p[0] - '0'].in, p + 1, n - 1);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *p = (const char *)data, *end = p + n, *q;

	if (n > 16384)
		return 0;
	if (!proxy)
		start();
	next_id = 0;
	back_count = 0;
	open_client(&client[0]);
	open_client(&client[1]);
	for (; p < end; p = q) {
		bool together = (uint8_t)*p == 0xfe;
		for (q = p + 1; q < end && (uint8_t)*q != 0xff && (uint8_t)*q != 0xfe; q++)
			;
		if (!together)
			settle();
		if (q > p + 1)
			step(p + 1, (size_t)(q - p - 1));
	}
	settle();
	client[0].paused = false;
	settle();
	for (unsigned c = 0; c < 2; c++)
		understand(c);
	for (unsigned i = 0; i < back_count; i++)
		judge_backend(&back[i]);
	for (unsigned c = 0; c < 2; c++)
		judge_client(c);
	/* All leave: nothing may be left behind. */
	for (unsigned c = 0; c < 2; c++)
		shut(&client[c].in);
	for (unsigned i = 0; i < back_count; i++)
		shut(&back[i].in);
	for (unsigned k = 0; k < 20 && (proxy->client_count || proxy->upstream_count); k++) {
		fuzz_run(2);
		accept_all();
		for (unsigned i = 0; i < back_count; i++)
			shut(&back[i].in);
	}
	MUST(proxy->client_count == 0 && proxy->upstream_count == 0 && proxy->idle_count == 0 &&
	     proxy->parked_count == 0);
	return 0;
}
