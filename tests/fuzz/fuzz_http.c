/* Fuzzes heads and chunked bodies, and checks what a parser must keep whatever comes: results lie inside the buffer,
 * a head that came byte by byte parses as it does whole, nothing that separates fields is inside one. */
#include "web/http/chunked.h"
#include "web/http/http.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void inside(struct http_str s, const char *buf, int len)
{
	if (s.n && (s.p < buf || s.p + s.n > buf + len || memchr(s.p, '\n', s.n) || memchr(s.p, '\r', s.n) ||
		    memchr(s.p, 0, s.n)))
		abort();
}

static void head(const struct http_head *h, const char *buf, int len)
{
	for (unsigned i = 0; i < h->count; i++) {
		inside(h->fields[i].name, buf, len);
		inside(h->fields[i].value, buf, len);
	}
	if (h->chunked && (h->content_length >= 0 || h->minor == 0))
		abort();
}

static void requests(const char *buf, size_t n)
{
	static struct http_request whole, part;
	int used = http_parse_request(buf, n, 0, &whole), piece = 0;

	if (used > (int)n)
		abort();
	for (size_t k = 0, seen = 0; used > 0 && k <= n && piece == 0; seen = k++)
		piece = http_parse_request(buf, k, seen, &part);
	if (used > 0 && (piece != used || part.head.count != whole.head.count))
		abort();
	if (used > 0) {
		head(&whole.head, buf, used);
		inside(whole.host, buf, used);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct http_response r;
	struct chunked c = {0};
	char *copy;
	int used;

	if (n < 1 || n > 4096)
		return 0;
	copy = malloc(n);
	memcpy(copy, data, n);
	switch (data[0] % 3) {
	case 0:
		requests(copy + 1, n - 1);
		break;
	case 1:
		used = http_parse_response(copy + 1, n - 1, 0, &r);
		if (used > (int)n - 1)
			abort();
		if (used > 0)
			head(&r.head, copy + 1, used);
		break;
	default: {
		size_t len = n - 1, eaten = 0;
		int e = chunked_decode(&c, copy + 1, &len, &eaten);
		if (e >= 0 && (eaten > n - 1 || len > eaten || (e == 0 && eaten != n - 1)))
			abort();
		break;
	}
	}
	free(copy);
	return 0;
}
