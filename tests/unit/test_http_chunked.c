/* The chunked coding, whole and in pieces. */
#include "web/http/chunked.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static int decode(const char *in, char *out, size_t *n, size_t *used)
{
	struct chunked c = {0};

	*n = strlen(in);
	memcpy(out, in, *n + 1);
	return chunked_decode(&c, out, n, used);
}

Test(http, chunked_whole)
{
	char out[256];
	size_t n, used;

	cr_assert_eq(decode("5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\nA: b\r\n\r\nnext", out, &n, &used), 1);
	cr_assert_eq(n, 11u);
	cr_assert_arr_eq(out, "hello world", 11);
	cr_assert_eq(used, strlen("5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\nA: b\r\n\r\n"));
	cr_assert_eq(decode("0\r\n\r\n", out, &n, &used), 1);
	cr_assert(n == 0 && used == 5);
	cr_assert_eq(decode("00000A\r\n0123456789\r\n", out, &n, &used), 0);
	cr_assert_eq(n, 10u);
}

Test(http, chunked_in_any_pieces)
{
	const char *in = "5\r\nhello\r\n1\r\n \r\n5;e\r\nworld\r\n0\r\nT: v\r\nU: w\r\n\r\n";
	size_t len = strlen(in);

	for (size_t step = 1; step <= len; step++) {
		struct chunked c = {0};
		char got[64] = "", piece[64];
		int r = 0;
		for (size_t at = 0; at < len; at += step) {
			size_t n = len - at < step ? len - at : step, used;
			memcpy(piece, in + at, n);
			cr_assert_eq(r, 0);
			r = chunked_decode(&c, piece, &n, &used);
			cr_assert_geq(r, 0);
			strncat(got, piece, n);
		}
		cr_assert_eq(r, 1);
		cr_assert_str_eq(got, "hello world", "pieces of %zu", step);
	}
}

Test(http, chunked_refuses)
{
	static const char *const bad[] = {
		"\r\n",
		"g\r\n",
		" 1\r\na\r\n",
		"1 \r\na\r\n",
		"1\na\r\n",
		"1\r\nab",
		"1\r\na\n",
		"1\r\na\rb",
		"-1\r\n",
		"0x1\r\n",
		"1000000000000000\r\n",
		"0\r\n x\r\n",
		"0\r\nx\r\n",
		"0\r\nx: \1\r\n",
		"0\r\n\rx",
		"1;\1\r\n",
		"1;a\rb\r\n",
	};
	char out[128];
	size_t n, used;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(decode(bad[i], out, &n, &used), -EBADMSG, "%zu: %s", i, bad[i]);
}

Test(http, chunked_endless_lines)
{
	struct chunked c = {0};
	char piece[100];
	size_t n = 2, used, total;
	int r = 0;

	memcpy(piece, "1;", 2);
	cr_assert_eq(chunked_decode(&c, piece, &n, &used), 0);
	for (total = 0; r == 0 && total < 100000; total += sizeof piece) {
		n = sizeof piece;
		memset(piece, 'x', n);
		r = chunked_decode(&c, piece, &n, &used);
	}
	cr_assert(r == -EBADMSG && total <= CHUNKED_LINE_MAX + 200);
	c = (struct chunked){0};
	n = 3;
	memcpy(piece, "0\r\n", 3);
	cr_assert_eq(chunked_decode(&c, piece, &n, &used), 0);
	for (r = 0, total = 0; r == 0 && total < 100000; total += n) {
		memcpy(piece, "a: b\r\n", 6);
		n = 6;
		r = chunked_decode(&c, piece, &n, &used);
		n = 6;
	}
	/* Line ends are not counted, so a little more than the limit comes through. */
	cr_assert(r == -EBADMSG && total <= CHUNKED_TRAILER_MAX * 2);
}

Test(http, chunked_prefix)
{
	char out[CHUNKED_PREFIX];

	cr_assert_eq(chunked_prefix(out, 1), 3u);
	cr_assert_arr_eq(out, "1\r\n", 3);
	cr_assert_eq(chunked_prefix(out, 32768), 6u);
	cr_assert_arr_eq(out, "8000\r\n", 6);
	cr_assert_eq(chunked_prefix(out, SIZE_MAX), (size_t)CHUNKED_PREFIX);
}
