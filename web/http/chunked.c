/* The chunked transfer coding.  Layer web, any process. */
#include "web/http/chunked.h"

#include "web/http/scan.h"

#include <errno.h>
#include <string.h>

enum chunked_state {
	CHUNKED_SIZE,
	CHUNKED_EXT,
	CHUNKED_SIZE_LF,
	CHUNKED_DATA,
	CHUNKED_DATA_CR,
	CHUNKED_DATA_LF,
	CHUNKED_TRAILER, /* at the start of a line: CR ends the body, anything else begins a field */
	CHUNKED_TRAILER_NAME,
	CHUNKED_TRAILER_VALUE,
	CHUNKED_TRAILER_LF,
	CHUNKED_LAST_LF,
	CHUNKED_ENDED,
};

static int chunked_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Counts a byte of a trailer, and keeps it if somebody wants it. */
static int chunked_keep(struct chunked *c, char b)
{
	if (c->run >= CHUNKED_TRAILER_MAX)
		return -EBADMSG;
	if (c->keep)
		c->keep[c->run] = b;
	c->run++;
	return 0;
}

/* One byte of framing; 0 or -EBADMSG. */
static int chunked_byte(struct chunked *c, char b)
{
	int x;

	switch ((enum chunked_state)c->state) {
	case CHUNKED_SIZE:
		if ((x = chunked_hex(b)) >= 0) {
			/* 15 digits: the sum cannot overflow and nobody sends an exabyte. */
			if (++c->digits > 15)
				return -EBADMSG;
			c->left = c->left << 4 | (unsigned)x;
			return 0;
		}
		if (c->digits == 0)
			return -EBADMSG;
		c->run = 0;
		if (b == '\r')
			c->state = CHUNKED_SIZE_LF;
		else if (b == ';')
			c->state = CHUNKED_EXT;
		else
			return -EBADMSG;
		return 0;
	case CHUNKED_EXT:
		if (++c->run > CHUNKED_LINE_MAX)
			return -EBADMSG;
		if (b == '\r')
			c->state = CHUNKED_SIZE_LF;
		else if (!scan_is(b, SCAN_VALUE))
			return -EBADMSG;
		return 0;
	case CHUNKED_SIZE_LF:
		c->run = 0;
		c->state = c->left ? CHUNKED_DATA : CHUNKED_TRAILER;
		return b == '\n' ? 0 : -EBADMSG;
	case CHUNKED_DATA_CR:
		c->state = CHUNKED_DATA_LF;
		return b == '\r' ? 0 : -EBADMSG;
	case CHUNKED_DATA_LF:
		c->state = CHUNKED_SIZE;
		c->digits = 0;
		return b == '\n' ? 0 : -EBADMSG;
	case CHUNKED_TRAILER:
		if (b == '\r') {
			c->state = CHUNKED_LAST_LF;
			return 0;
		}
		c->state = CHUNKED_TRAILER_NAME;
		return scan_is(b, SCAN_TOKEN) ? chunked_keep(c, b) : -EBADMSG;
	case CHUNKED_TRAILER_NAME:
		if (b == ':')
			c->state = CHUNKED_TRAILER_VALUE;
		else if (!scan_is(b, SCAN_TOKEN))
			return -EBADMSG;
		return chunked_keep(c, b);
	case CHUNKED_TRAILER_VALUE:
		if (b == '\r')
			c->state = CHUNKED_TRAILER_LF;
		else if (!scan_is(b, SCAN_VALUE))
			return -EBADMSG;
		return chunked_keep(c, b == '\r' ? '\n' : b);
	case CHUNKED_TRAILER_LF:
		c->state = CHUNKED_TRAILER;
		return b == '\n' ? 0 : -EBADMSG;
	case CHUNKED_LAST_LF:
		c->state = CHUNKED_ENDED;
		return b == '\n' ? 0 : -EBADMSG;
	case CHUNKED_DATA:
	case CHUNKED_ENDED:
		break;
	}
	return -EBADMSG;
}

bool chunked_in_trailer(const struct chunked *c)
{
	return c->state >= CHUNKED_TRAILER && c->run > 0;
}

int chunked_decode(struct chunked *c, char *buf, size_t *n, size_t *used)
{
	size_t in = 0, out = 0, len = *n;

	while (in < len && c->state != CHUNKED_ENDED) {
		if (c->state == CHUNKED_DATA) {
			size_t k = len - in < c->left ? len - in : (size_t)c->left;
			if (out != in)
				memmove(buf + out, buf + in, k);
			in += k;
			out += k;
			c->left -= k;
			if (c->left == 0)
				c->state = CHUNKED_DATA_CR;
			continue;
		}
		if (chunked_byte(c, buf[in]) < 0)
			return -EBADMSG;
		in++;
	}
	*n = out;
	*used = in;
	return c->state == CHUNKED_ENDED;
}

size_t chunked_prefix(char out[CHUNKED_PREFIX], size_t n)
{
	char rev[16];
	size_t k = 0, len = 0;

	for (; n; n >>= 4)
		rev[k++] = "0123456789abcdef"[n & 15];
	while (k)
		out[len++] = rev[--k];
	out[len++] = '\r';
	out[len++] = '\n';
	return len;
}
