/* Health checks over HTTP/2, with an app at the other end of a socket pair. */
#include "agent/roles/control_health_h2.h"

#include "base/fd.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SETTINGS "\0\0\0\4\0\0\0\0\0"
#define HEADERS_200 "\0\0\1\1\5\0\0\0\1\x88"
#define HEADERS_100 "\0\0\x05\1\4\0\0\0\1\x48\x03\x31\x30\x33" /* 103, not the end */
#define HEADERS_500 "\0\0\1\1\5\0\0\0\1\x8e"
#define GOAWAY "\0\0\x8\7\0\0\0\0\0\0\0\0\0\0\0\0\0"

/* What the check says of an app that answers so and then, maybe, ends. */
static int asked(const char *path, const void *answer, size_t n, bool ends, int *status)
{
	struct health_h2 *h = health_h2_new("a.test", path);
	int pair[2], r = 0;
	char said[1024];
	ssize_t got;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	cr_assert_eq(health_h2_send(h, pair[0]), 0);
	got = read(pair[1], said, sizeof said);
	cr_assert(got >= 24 + 9 && memcmp(said, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24) == 0);
	cr_assert_eq(path != NULL, got > 24 + 9);
	*status = 0;
	/* Byte by byte: what is there is understood whatever the pieces. */
	for (size_t i = 0; i < n && r == 0; i++) {
		cr_assert_eq(write(pair[1], (const char *)answer + i, 1), 1);
		r = health_h2_read(h, pair[0], path != NULL, status);
	}
	if (ends && r == 0) {
		shutdown(pair[1], SHUT_WR);
		r = health_h2_read(h, pair[0], path != NULL, status);
	}
	health_h2_free(h);
	close(pair[0]);
	close(pair[1]);
	return r;
}

#define ASKED(path, text, ends, status) asked(path, text, sizeof(text) - 1, ends, status)

Test(health_h2, settings_are_enough_without_a_path)
{
	int status;

	cr_assert_eq(ASKED(NULL, SETTINGS, false, &status), 1);
	cr_assert_eq(ASKED(NULL, "", false, &status), 0);
	cr_assert_eq(ASKED(NULL, "", true, &status), -EPROTO);
	cr_assert_eq(ASKED(NULL, "HTTP/1.1 400 Bad Request\r\n\r\n", true, &status), -EPROTO);
	cr_assert_eq(ASKED(NULL, GOAWAY, true, &status), -EPROTO);
}

Test(health_h2, a_path_is_asked_for)
{
	int status;

	cr_assert_eq(ASKED("/up", SETTINGS, false, &status), 0);
	cr_assert_eq(ASKED("/up", SETTINGS HEADERS_200, false, &status), 1);
	cr_assert_eq(status, 200);
	cr_assert_eq(ASKED("/up", SETTINGS HEADERS_100 HEADERS_500, false, &status), 1);
	cr_assert_eq(status, 500);
	cr_assert_eq(ASKED("/up", SETTINGS HEADERS_100, true, &status), -ECONNRESET);
	cr_assert_eq(ASKED("/up", SETTINGS "\0\0\4\3\0\0\0\0\1\0\0\0\7", false, &status), -ECONNRESET);
	cr_assert_eq(ASKED("/up", SETTINGS GOAWAY, false, &status), -ECONNRESET);
	cr_assert_eq(ASKED("/up", SETTINGS "\xff\xff\xff\xff\xff\xff\xff\xff\xff", false, &status), -EPROTO);
}

/* A field of 4 KiB, kept in the table of RFC 7541 and named 20,000 times by a byte each: the check ends long before. */
Test(health_h2, a_head_of_thousands_of_fields_ends_it)
{
	enum { VALUE = 4000, TIMES = 20000, FRAME = 16384 };
	static uint8_t block[VALUE + TIMES + 32], out[sizeof block + 64] = {0};
	size_t n = 0, len = 0;
	int status;

	memcpy(block,
	       "\x08\x03"
	       "103"
	       "\x40\x01"
	       "a\x7f\xa1\x1e",
	       11);
	n = 11;
	memset(block + n, 'x', VALUE);
	n += VALUE;
	memset(block + n, 0xbe, TIMES);
	n += TIMES;
	memcpy(out, SETTINGS, sizeof SETTINGS - 1);
	len = sizeof SETTINGS - 1;
	for (size_t at = 0; at < n; at += FRAME) {
		size_t part = n - at < FRAME ? n - at : FRAME;
		uint8_t head[9] = {0, (uint8_t)(part >> 8), (uint8_t)part, at ? 9 : 1, at + part == n ? 4 : 0, 0, 0, 0,
				   1};
		memcpy(out + len, head, 9);
		memcpy(out + len + 9, block + at, part);
		len += 9 + part;
	}
	cr_assert_eq(asked("/up", out, len, false, &status), -EPROTO);
	cr_assert_eq(asked("/up", out, sizeof SETTINGS - 1 + 9 + 11 + VALUE, false, &status), 0,
		     "up to there it is allowed");
}
