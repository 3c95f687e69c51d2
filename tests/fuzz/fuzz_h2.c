/* Fuzzes HTTP/2 on both sides of a worker: a client that speaks it, an app of HTTP/1.1 (a.test) and one that speaks
 * HTTP/2 (b.test) do what the input tells them to, in one process, and what comes out at all ends is checked.
 *
 * The client has sent the preface and SETTINGS, and so has each connection of the second app.  An input is a script;
 * 0xff 0xff begins a step, 0xff 0xfe one that the worker meets together with the step before:
 *   f type flags stream payload      the client sends a frame (lengths are ours)   c bytes   it sends them as they are
 *   F n type flags stream payload    an app sends a frame on its n-th connection   r n bytes as they are
 *   A n v                            the app of HTTP/1.1 answers in form v         X n       the n-th connection ends
 *   p                                the client stops reading, or goes on          x         it closes
 * stream is one byte.
 *
 * Checked: all that the worker sends are frames in order, whose heads unpack, with fields as RFC 9113 wants them; no
 * more DATA than the window of the connection lets through; nothing of a stream after its end; requests to the app of
 * HTTP/1.1 are in our own strict form; in the end nothing is left over. */
#include "tests/fuzz/fuzz_common.h"
#include "web/http/scan.h"
#include "web/proxy/h2.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS 8
#define STREAM 524288
#define STREAMS 256 /* numbers of them that are looked after */
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

/* What came from the worker over one connection. */
struct end {
	int fd; /* -1 = closed */
	bool h2, paused, tunnel;
	size_t len, parsed;
	size_t data_bytes; /* in DATA */
	char data[STREAM];
	nghttp2_hd_inflater *inflater;
	unsigned char over[STREAMS], heads[STREAMS];
	uint8_t block[STREAM]; /* of a head in pieces */
	size_t block_len;
	uint32_t block_stream;
	uint8_t block_flags;
};

static struct proxy *proxy;
static struct listener front;
static int listeners[2];
static struct end client, back[CONNS];
static unsigned back_count;
static uint64_t window;
static bool window_known;

static void start(void)
{
	proxy = fuzz_start();
	listeners[0] = fuzz_app(1, "a", PROXY_PROTOCOL_HTTP1);
	listeners[1] = fuzz_app(2, "b", PROXY_PROTOCOL_H2C);
	front = (struct listener){.proxy = proxy, .port = 443};
}

/* ---- ends ---- */
static void end_open(struct end *e, int fd, bool h2)
{
	e->fd = fd;
	e->h2 = h2;
	e->paused = e->tunnel = false;
	e->len = e->parsed = e->data_bytes = e->block_len = 0;
	e->block_stream = 0;
	memset(e->over, 0, sizeof e->over);
	memset(e->heads, 0, sizeof e->heads);
	MUST(nghttp2_hd_inflate_new(&e->inflater) == 0);
}

static void shut(struct end *e)
{
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
}

static void push(struct end *e, const void *p, size_t n)
{
	if (e->fd >= 0 && send(e->fd, p, n, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
		shut(e);
}

static void push_frame(struct end *e, uint8_t type, uint8_t flags, uint8_t stream, const void *p, size_t n)
{
	uint8_t f[9 + 16384] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, type, flags, 0, 0, 0, stream};

	memcpy(f + 9, p, n);
	push(e, f, n + 9);
}

static void pull(struct end *e)
{
	ssize_t n;

	if (e->paused)
		return;
	while (e->fd >= 0 && e->len < STREAM && (n = recv(e->fd, e->data + e->len, STREAM - e->len, 0)) != -1) {
		if (n == 0)
			shut(e);
		e->len += n > 0 ? (size_t)n : 0;
	}
	if (e->len == STREAM)
		shut(e);
}

static void client_open(void)
{
	int fd;
	struct client *c = fuzz_client(&front, &fd);

	end_open(&client, fd, true);
	/* As after a handshake; the rest is the same without TLS. */
	c->state = CLIENT_HANDSHAKE;
	client_move(c, CLIENT_H2);
	MUST(h2_front_open(c) == 0);
	push(&client, PREFACE, sizeof PREFACE - 1);
	push_frame(&client, NGHTTP2_SETTINGS, 0, 0, "", 0);
	window = 65535;
	window_known = true;
}

static void accept_all(void)
{
	for (unsigned k = 0; k < 2; k++) {
		int fd;
		while ((fd = accept4(listeners[k], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
			if (back_count == CONNS) {
				close(fd);
				continue;
			}
			end_open(&back[back_count], fd, k == 1);
			if (k == 1)
				push_frame(&back[back_count], NGHTTP2_SETTINGS, 0, 0, "", 0);
			back_count++;
		}
	}
}

/* ---- what came ---- */
static void judge_head(struct end *e)
{
	const uint8_t *p = e->block;
	size_t left = e->block_len;
	unsigned pseudo = 0, fields = 0;
	uint32_t stream = e->block_stream;
	int flags = 0;

	do {
		nghttp2_nv nv;
		ssize_t n = nghttp2_hd_inflate_hd2(e->inflater, &nv, &flags, p, left, 1);
		MUST(n >= 0);
		p += n;
		left -= (size_t)n;
		if (!(flags & NGHTTP2_HD_INFLATE_EMIT))
			continue;
		if (nv.namelen > 0 && nv.name[0] == ':') {
			MUST(fields == 0);
			pseudo++;
		} else {
			const char *name = (const char *)nv.name, *value = (const char *)nv.value;
			MUST(nv.namelen > 0 && scan_while(name, name + nv.namelen, SCAN_TOKEN) == name + nv.namelen);
			for (size_t i = 0; i < nv.namelen; i++)
				MUST(name[i] < 'A' || name[i] > 'Z');
			MUST(scan_value(value, value + nv.valuelen) == value + nv.valuelen);
			MUST(!(nv.namelen == 10 && memcmp(name, "connection", 10) == 0));
			MUST(!(nv.namelen == 17 && memcmp(name, "transfer-encoding", 17) == 0));
			fields++;
		}
	} while (!(flags & NGHTTP2_HD_INFLATE_FINAL) && left > 0);
	nghttp2_hd_inflate_end_headers(e->inflater);
	/* Heads begin with what is theirs, trailers have none of it. */
	MUST(e == &client ? pseudo <= 1 : pseudo == 4 || pseudo == 0);
	if (stream < STREAMS) {
		MUST(!e->over[stream]);
		MUST(pseudo > 0 || e->heads[stream]);
		MUST(e == &client || pseudo == 0 || !e->heads[stream]);
		e->heads[stream] = 1;
		e->over[stream] |= e->block_flags & NGHTTP2_FLAG_END_STREAM;
	}
	e->block_len = 0;
	e->block_stream = 0;
}

static void judge_frames(struct end *e)
{
	if (e->parsed == 0 && e != &client) {
		if (e->len < sizeof PREFACE - 1)
			return;
		MUST(memcmp(e->data, PREFACE, sizeof PREFACE - 1) == 0);
		e->parsed = sizeof PREFACE - 1;
	}
	while (e->len - e->parsed >= 9) {
		const uint8_t *f = (const uint8_t *)e->data + e->parsed;
		size_t n = (size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2];
		uint32_t stream = (uint32_t)f[5] << 24 | (uint32_t)f[6] << 16 | (uint32_t)f[7] << 8 | f[8];
		MUST(n <= 16384 && f[3] <= NGHTTP2_CONTINUATION && f[3] != NGHTTP2_PUSH_PROMISE && stream < 1u << 31);
		if (e->len - e->parsed - 9 < n)
			return;
		MUST(e->block_stream ? f[3] == NGHTTP2_CONTINUATION && stream == e->block_stream
				     : f[3] != NGHTTP2_CONTINUATION);
		MUST(!(f[3] == NGHTTP2_HEADERS || f[3] == NGHTTP2_DATA) || (stream & 1));
		if (f[3] == NGHTTP2_DATA) {
			e->data_bytes += n;
			MUST(e != &client || !window_known || e->data_bytes <= window);
			if (stream < STREAMS) {
				MUST(e->heads[stream] && !e->over[stream]);
				e->over[stream] |= f[4] & NGHTTP2_FLAG_END_STREAM;
			}
		} else if (f[3] == NGHTTP2_RST_STREAM && stream < STREAMS) {
			/* Behind an answer's end it only says that the rest of the request is not wanted. */
			e->over[stream] = 1;
		} else if (f[3] == NGHTTP2_HEADERS || f[3] == NGHTTP2_CONTINUATION) {
			if (f[3] == NGHTTP2_HEADERS) {
				MUST(!(f[4] & (NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY)));
				e->block_stream = stream;
				e->block_flags = f[4];
			}
			memcpy(e->block + e->block_len, f + 9, n);
			e->block_len += n;
			if (f[4] & NGHTTP2_FLAG_END_HEADERS)
				judge_head(e);
		}
		e->parsed += 9 + n;
	}
}

/* Requests in our own form, one behind the other. */
static void judge_text(struct end *e)
{
	static struct http_request r;
	static char copy[STREAM];

	while (e->parsed < e->len && !e->tunnel) {
		size_t left = e->len - e->parsed, used, len;
		int n = http_parse_own_request(e->data + e->parsed, left, &r);
		unsigned forwarded = 0;
		if (n == 0)
			return;
		MUST(n > 0 && r.head.minor == 1);
		for (unsigned i = 0; i < r.head.count; i++)
			forwarded += http_eq(r.head.fields[i].name, "x-forwarded-for");
		MUST(forwarded == 1);
		e->tunnel = r.head.upgrade; /* what follows may be anything */
		left -= (size_t)n;
		if (r.head.chunked) {
			struct chunked c = {0};
			memcpy(copy, e->data + e->parsed + n, left);
			len = left;
			if (chunked_decode(&c, copy, &len, &used) != 1)
				return;
			used += (size_t)n;
		} else {
			used = (size_t)n + (r.head.content_length > 0 ? (size_t)r.head.content_length : 0);
		}
		if (used > e->len - e->parsed)
			return;
		e->parsed += used;
	}
}

static void settle(void)
{
	for (unsigned k = 0; k < 3; k++) {
		fuzz_run(2);
		accept_all();
		pull(&client);
		judge_frames(&client);
		for (unsigned i = 0; i < back_count; i++) {
			pull(&back[i]);
			if (back[i].h2)
				judge_frames(&back[i]);
			else
				judge_text(&back[i]);
		}
	}
}

/* ---- the script ---- */
static void answer(struct end *e, unsigned form)
{
	static const char *const forms[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Mixed-Case: Yes\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the "
		"end",
		"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\ntunnel",
		"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut",
	};
	static char big[70000];
	int n;

	form %= sizeof forms / sizeof forms[0] + 1;
	if (form < sizeof forms / sizeof forms[0]) {
		push(e, forms[form], strlen(forms[form]));
		return;
	}
	memset(big, 'b', sizeof big);
	n = snprintf(big, 64, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", sizeof big - 64);
	memset(big + n, 'b', sizeof big - (size_t)n);
	push(e, big, (size_t)n + sizeof big - 64);
}

static void step(const uint8_t *p, size_t n)
{
	struct end *e = n > 1 && p[1] - '0' < (int)back_count && p[1] >= '0' ? &back[p[1] - '0'] : NULL;

	switch (p[0]) {
	case 'f':
		if (n < 4 || n - 4 > 16384)
			break;
		if (p[1] == NGHTTP2_WINDOW_UPDATE && n == 8 && p[3] == 0)
			window += (uint32_t)(p[4] & 0x7f) << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7];
		push_frame(&client, p[1], p[2], p[3], p + 4, n - 4);
		break;
	case 'c':
		window_known = false;
		push(&client, p + 1, n - 1);
		break;
	case 'F':
		if (e && n >= 5 && n - 5 <= 16384)
			push_frame(e, p[2], p[3], p[4], p + 5, n - 5);
		break;
	case 'r':
		if (e)
			push(e, p + 2, n - 2);
		break;
	case 'A':
		if (e && !e->h2 && n > 2)
			answer(e, p[2]);
		break;
	case 'X':
		if (e)
			shut(e);
		break;
	case 'p':
		client.paused = !client.paused;
		break;
	case 'x':
		shut(&client);
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const uint8_t *p = data, *end = data + n, *q;

	if (n > 16384)
		return 0;
	if (!proxy)
		start();
	back_count = 0;
	client_open();
	settle();
	for (; p < end; p = q) {
		bool together = end - p > 1 && p[0] == 0xff && p[1] == 0xfe;
		if (end - p > 1 && p[0] == 0xff && p[1] >= 0xfe)
			p += 2;
		for (q = p; q < end && !(end - q > 1 && q[0] == 0xff && q[1] >= 0xfe); q++)
			;
		if (!together)
			settle();
		if (q > p)
			step(p, (size_t)(q - p));
	}
	client.paused = false;
	settle();
	shut(&client);
	for (unsigned k = 0; k < 20 && (proxy->client_count || proxy->upstream_count || k < 2); k++) {
		fuzz_run(2);
		accept_all();
		for (unsigned i = 0; i < back_count; i++)
			shut(&back[i]);
	}
	MUST(proxy->client_count == 0 && proxy->stream_count == 0 && proxy->upstream_count == 0 &&
	     proxy->parked_count == 0);
	nghttp2_hd_inflate_del(client.inflater);
	for (unsigned i = 0; i < back_count; i++)
		nghttp2_hd_inflate_del(back[i].inflater);
	return 0;
}
