/* Errors, buffers, UTF-8, parsing, maps, JSON, times. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/map.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(base, err)
{
	struct err e = {.field = "old"};

	cr_assert_eq(err_set(&e, EDQUOT, "%d of %d", 3, 3), -EDQUOT);
	cr_assert(e.code == EDQUOT && e.field[0] == 0 && strcmp(e.text, "3 of 3") == 0);
	cr_assert_eq(err_field(&e, ERANGE, "app.memory", "app.memory: too much"), -ERANGE);
	cr_assert_str_eq(e.field, "app.memory");
	cr_assert_eq(err_wrap(&e, "line %d", 7), -ERANGE);
	cr_assert_str_eq(e.text, "line 7: app.memory: too much");
	cr_assert_str_eq(e.field, "app.memory");
	errno = ENOENT;
	cr_assert_eq(err_errno(&e, "open %s", "x"), -ENOENT);
	cr_assert_str_eq(e.text, "open x: No such file or directory");
	errno = 0;
	cr_assert_eq(err_errno(&e, "x"), -EIO);
	/* Too long is cut, never overrun. */
	char big[1000];
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = 0;
	err_field(&e, EINVAL, big, "%s", big);
	cr_assert_eq(strlen(e.field), sizeof e.field - 1);
	cr_assert_eq(strlen(e.text), sizeof e.text - 1);
	err_wrap(&e, "%s", big);
	errno = EIO;
	err_errno(&e, "%s", big);
	cr_assert_eq(strlen(e.text), sizeof e.text - 1);
	cr_assert_eq(err_set(NULL, EPERM, "x"), -EPERM);
	cr_assert_eq(err_field(NULL, EPERM, "f", "x"), -EPERM);
	errno = EACCES;
	cr_assert_eq(err_errno(NULL, "x"), -EACCES);
	cr_assert_lt(err_wrap(NULL, "x"), 0);
}

Test(base, buf)
{
	struct buf b;
	char *p;

	buf_init(&b, 10);
	cr_assert_eq(buf_add(&b, "", 0), 0);
	cr_assert_eq(buf_adds(&b, "hello"), 0);
	cr_assert_eq(buf_printf(&b, "%03d", 7), 0);
	cr_assert_str_eq(b.data, "hello007");
	cr_assert_eq(buf_printf(&b, "%d", 100), -ENOSPC);
	cr_assert_str_eq(b.data, "hello007", "a failed append changes nothing");
	cr_assert_eq(b.failed, -ENOSPC);
	cr_assert_eq(buf_adds(&b, "xy"), 0, "what fits still fits");
	cr_assert_eq(b.failed, -ENOSPC, "but the failure is remembered");
	cr_assert_null(buf_reserve(&b, 1));
	cr_assert_null(buf_reserve(&b, SIZE_MAX));
	buf_consume(&b, 5);
	cr_assert_str_eq(b.data, "007xy");
	buf_consume(&b, 100);
	cr_assert(b.len == 0 && b.data[0] == 0 && b.failed == 0);
	buf_adds(&b, "z");
	p = buf_take(&b);
	cr_assert_str_eq(p, "z");
	free(p);
	p = buf_take(&b);
	cr_assert_str_eq(p, "", "never NULL");
	free(p);
	buf_done(&b);
	buf_init(&b, 1 << 20);
	for (int i = 0; i < 10000; i++)
		cr_assert_eq(buf_printf(&b, "%04d", i), 0);
	cr_assert_eq(b.len, 40000);
	cr_assert_eq(strncmp(b.data + 4 * 1234, "1234", 4), 0);
	buf_done(&b);
	buf_done(&b);
}

Test(base, utf8)
{
	static const struct {
		const char *s;
		size_t n, len;
	} rows[] = {
		{"a", 1, 1},
		{"", 0, 0},
		{"\xc3\xa9", 2, 2},
		{"\xc3", 1, 0},
		{"\xc0\x80", 2, 0},
		{"\xc1\xbf", 2, 0},
		{"\xe2\x82\xac", 3, 3},
		{"\xe0\x9f\xbf", 3, 0},
		{"\xed\xa0\x80", 3, 0},
		{"\xed\x9f\xbf", 3, 3},
		{"\xf0\x9f\x98\x80", 4, 4},
		{"\xf0\x8f\xbf\xbf", 4, 0},
		{"\xf4\x8f\xbf\xbf", 4, 4},
		{"\xf4\x90\x80\x80", 4, 0},
		{"\xf5\x80\x80\x80", 4, 0},
		{"\x80", 1, 0},
		{"\xff", 1, 0},
		{"\xe2\x82", 2, 0},
		{"\xe2\x28\xa1", 3, 0},
		{"\xf0\x9f\x98", 3, 0},
	};
	char out[64];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_assert_eq(utf8_next(rows[i].s, rows[i].n), rows[i].len, "row %zu", i);
	cr_assert(utf8_valid("", 0) && utf8_valid("h\xc3\xa9", 3));
	cr_assert_not(utf8_valid("a\0b", 3));
	cr_assert_not(utf8_valid("a\xc3", 2));
	cr_assert_eq(utf8_escape(out, sizeof out, "a\n\x1b[1m\x7f\0\xff\xc3\xa9", 11), 26);
	cr_assert_str_eq(out, "a\\x0a\\x1b[1m\\x7f\\x00\\xff\xc3\xa9");
	utf8_escape(out, sizeof out,
		    "\xe2\x80\xae"
		    "evil",
		    7);
	cr_assert_str_eq(out, "\\xe2\\x80\\xaeevil", "bidirectional override");
	utf8_escape(out, sizeof out, "\xe2\x81\xa6x", 4);
	cr_assert_str_eq(out, "\\xe2\\x81\\xa6x");
	utf8_escape(out, sizeof out,
		    "\xc2\x9b"
		    "31m",
		    5);
	cr_assert_str_eq(out, "\\xc2\\x9b31m", "C1 control");
	/* Every capacity: terminated, within bounds, whole characters. */
	const char *s = "ab\xc3\xa9\n\xf0\x9f\x98\x80z";
	for (size_t cap = 0; cap < 24; cap++) {
		memset(out, '#', sizeof out);
		size_t n = utf8_escape(out, cap, s, strlen(s));
		cr_assert(cap == 0 ? n == 0 : n < cap && out[n] == 0 && utf8_valid(out, n));
		cr_assert_eq(out[cap], '#');
	}
}

Test(base, parse_u64)
{
	static const struct {
		const char *s;
		int r;
		uint64_t v;
	} rows[] = {
		{"0", 0, 0},
		{"10", 0, 10},
		{"99", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"01", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{" 1", -EINVAL, 0},
		{"1 ", -EINVAL, 0},
		{"0x1", -EINVAL, 0},
		{"1e1", -EINVAL, 0},
		{"18446744073709551616", -ERANGE, 0},
		{"99999999999999999999999999", -ERANGE, 0},
	};
	struct err e;
	uint64_t v;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		v = 4711;
		cr_assert_eq(parse_u64(rows[i].s, strlen(rows[i].s), 0, 50, "f", &v, &e), rows[i].r, "%s", rows[i].s);
		cr_assert_eq(v, rows[i].r ? 4711 : rows[i].v);
		cr_assert(rows[i].r == 0 || strcmp(e.field, "f") == 0);
	}
	/* What was given and what may be, whatever it is. */
	cr_assert_eq(parse_u64("-1", 2, 0, 50, "f", &v, &e), -EINVAL);
	cr_assert_str_eq(e.text, "f: \"-1\" is not a whole number from 0 to 50");
	cr_assert_eq(parse_u64("12x34", 3, 0, UINT64_MAX, "f", &v, &e), -EINVAL);
	cr_assert_str_eq(e.text, "f: \"12x\" is not a whole number");
	cr_assert_eq(parse_u64("-234567890123456789012345678901\xc3\xa9", 33, 0, 50, "f", &v, &e), -EINVAL);
	cr_assert_str_eq(e.text, "f: \"-234567890123456789012345678901\" is not a whole number from 0 to 50");
	cr_assert_eq(parse_u64("18446744073709551615", 20, 0, UINT64_MAX, "f", &v, &e), 0);
	cr_assert_eq(v, UINT64_MAX);
}

Test(base, parse_units)
{
	struct err e;
	uint64_t v;

	cr_assert(parse_bytes("256MiB", 0, UINT64_MAX, "f", &v, &e) == 0 && v == 256ull << 20);
	cr_assert(parse_bytes("4G", 0, UINT64_MAX, "f", &v, &e) == 0 && v == 4ull << 30);
	cr_assert(parse_bytes("1TiB", 0, UINT64_MAX, "f", &v, &e) == 0 && v == 1ull << 40);
	cr_assert(parse_bytes("17", 0, UINT64_MAX, "f", &v, &e) == 0 && v == 17);
	cr_assert_eq(parse_bytes("256MB", 0, UINT64_MAX, "f", &v, &e), -EINVAL);
	cr_assert_eq(parse_bytes("MiB", 0, UINT64_MAX, "f", &v, &e), -EINVAL);
	cr_assert_eq(parse_bytes("1.5G", 0, UINT64_MAX, "f", &v, &e), -EINVAL);
	cr_assert_eq(parse_bytes("1 G", 0, UINT64_MAX, "f", &v, &e), -EINVAL);
	cr_assert_eq(parse_bytes("18446744073709551615K", 0, UINT64_MAX, "f", &v, &e), -ERANGE);
	cr_assert_eq(parse_bytes("1K", 0, 1023, "f", &v, &e), -ERANGE);
	/* A range is said in units, and what is no size is told the units. */
	cr_assert_eq(parse_bytes("1", 8u << 20, 4ull << 40, "f", &v, &e), -ERANGE);
	cr_assert_str_eq(e.text, "f: 1 is outside 8 MiB to 4 TiB");
	cr_assert_eq(parse_bytes("-1", 0, UINT64_MAX, "f", &v, &e), -EINVAL);
	cr_assert_str_eq(e.text, "f: \"-1\" is not a size like 256MiB (KiB, MiB, GiB, TiB)");
	cr_assert_eq(parse_duration_ms("soon", 0, 1000, "f", &v, &e), -EINVAL);
	cr_assert(strstr(e.text, "(ms, s, m, h, d)"), "%s", e.text);
	cr_assert(parse_duration_ms("15m", 0, UINT64_MAX, "f", &v, &e) == 0 && v == 900000);
	cr_assert(parse_duration_ms("100ms", 0, UINT64_MAX, "f", &v, &e) == 0 && v == 100);
	cr_assert(parse_duration_ms("2", 0, UINT64_MAX, "f", &v, &e) == 0 && v == 2000);
	cr_assert_eq(parse_duration_ms("0s", 1000, 86400000, "f", &v, &e), -ERANGE);
	cr_assert_str_eq(e.text, "f: 0s is outside 1s to 24h");
	cr_assert_eq(parse_duration_ms("1h", 0, 1500, "f", &v, &e), -ERANGE);
	cr_assert_str_eq(e.text, "f: 1h is outside 0s to 1500ms");
	cr_assert_eq(parse_duration_ms("1s", 90000, 30ull * 86400000, "f", &v, &e), -ERANGE);
	cr_assert_str_eq(e.text, "f: 1s is outside 90s to 30d");
	cr_assert_eq(parse_duration_ms("2w", 0, UINT64_MAX, "f", &v, &e), -EINVAL);
	cr_assert_eq(parse_duration_ms("99999999999999999d", 0, UINT64_MAX, "f", &v, &e), -ERANGE);
}

Test(base, parse_names)
{
	static const char *const good[] = {"a", "0", "a-b", "a--b", "a1234567"}, *const bad[] = {
											 "",	     "-a",  "a-",
											 "A",	     "a_b", "a.b",
											 "a b",	     "a\n", "\xc3\xa9",
											 "a12345678"};
	static const char *const hosts[] = {"localhost", "a.b", "*.example.com", "1.2.3.4", "xn--a.b"};
	static const char *const not_hosts[] = {"",   ".",     "a.",   ".a",	"a..b", "A.b", "*",
						"*.", "a.*.b", "**.a", "a_b.c", "-a.b", "a/b", "a:80"};
	struct err e;
	char label[80];

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		cr_assert_eq(parse_name(good[i], 8, "f", &e), 0, "%s", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_eq(parse_name(bad[i], 8, "f", &e), -EINVAL, "%s", bad[i]);
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
		cr_assert_eq(parse_hostname(hosts[i], true, "f", &e), 0, "%s", hosts[i]);
	for (size_t i = 0; i < ARRAY_LEN(not_hosts); i++)
		cr_assert_eq(parse_hostname(not_hosts[i], true, "f", &e), -EINVAL, "%s", not_hosts[i]);
	cr_assert_eq(parse_hostname("*.a", false, "f", &e), -EINVAL);
	snprintf(label, sizeof label, "%064d", 0);
	cr_assert_eq(parse_hostname(label, false, "f", &e), -EINVAL);
	cr_assert_eq(parse_hostname(label + 1, false, "f", &e), 0);
	char longest[300] = "";
	for (int i = 0; i < 127; i++)
		memcpy(longest + 2 * i, "a.", 3);
	longest[253] = 0;
	cr_assert_eq(strlen(longest), 253);
	cr_assert_eq(parse_hostname(longest, false, "f", &e), 0);
	memcpy(longest + 253, "b", 2);
	cr_assert_eq(parse_hostname(longest, false, "f", &e), -EINVAL);
}

Test(base, parse_addresses)
{
	static const char *const bad[] = {
		"",	  "1.2.3.4", ":80",   "1.2.3:80",     "1.2.3.4:65536", "1.2.3.4:",    "1.2.3.4:08",
		"::1:80", "[::1]",   "[]:80", "[1.2.3.4]:80", "host:80",       "[::1%lo]:80", "1.2.3.4:80 "};
	static const char *const bad_nets[] = {"",	   "10.0.0.0",	  "10.0.0.0/33", "10.0.0.1/8",
					       "10.0.0/8", "10.0.0.0/08", "::/0",	 "10.0.0.0/"};
	struct sockaddr_storage a;
	struct err e;
	unsigned len, prefix;
	uint32_t net;

	cr_assert_eq(parse_sockaddr("1.2.3.4:80", "f", &a, &len, &e), 0);
	cr_assert(len == sizeof(struct sockaddr_in) &&
		  ((struct sockaddr_in *)&a)->sin_addr.s_addr == htonl(0x01020304));
	cr_assert_eq(parse_sockaddr("[2001:db8::1]:0", "f", &a, &len, &e), 0);
	cr_assert(len == sizeof(struct sockaddr_in6) && a.ss_family == AF_INET6);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_lt(parse_sockaddr(bad[i], "f", &a, &len, &e), 0, "%s", bad[i]);
	cr_assert(parse_cidr4("10.94.0.0/16", "f", &net, &prefix, &e) == 0 && net == 0x0a5e0000 && prefix == 16);
	cr_assert(parse_cidr4("0.0.0.0/0", "f", &net, &prefix, &e) == 0 && net == 0 && prefix == 0);
	cr_assert(parse_cidr4("1.2.3.4/32", "f", &net, &prefix, &e) == 0);
	for (size_t i = 0; i < ARRAY_LEN(bad_nets); i++)
		cr_assert_eq(parse_cidr4(bad_nets[i], "f", &net, &prefix, &e), -EINVAL, "%s", bad_nets[i]);
}

Test(base, parse_hex)
{
	unsigned char raw[4] = {0, 0x7f, 0xab, 0xff}, back[4];
	char text[9];

	parse_hex(raw, 4, text);
	cr_assert_str_eq(text, "007fabff");
	cr_assert_eq(parse_unhex(text, back, 4), 0);
	cr_assert_eq(memcmp(raw, back, 4), 0);
	cr_assert_eq(parse_unhex("007FABFF", back, 4), -EINVAL);
	cr_assert_eq(parse_unhex("007fabf", back, 4), -EINVAL);
	cr_assert_eq(parse_unhex("007fabfg", back, 4), -EINVAL);
	cr_assert_eq(parse_unhex("007fabff0", back, 4), -EINVAL);
}

Test(base, map)
{
	enum { N = 5000 };
	struct map *m = map_new();
	static char keys[N][16];
	static int values[N];
	size_t pos = 0, seen = 0;

	cr_assert_null(map_get_str(m, "x"));
	cr_assert_null(map_del_str(m, "x"));
	for (int i = 0; i < N; i++) {
		snprintf(keys[i], sizeof keys[i], "k%d", i);
		cr_assert_eq(map_put_str(m, keys[i], &values[i]), 0);
	}
	cr_assert_eq(map_count(m), N);
	for (int i = 0; i < N; i++)
		cr_assert_eq(map_get_str(m, keys[i]), (void *)&values[i]);
	cr_assert_eq(map_put_str(m, keys[7], &values[8]), 0);
	cr_assert_eq(map_get_str(m, "k7"), (void *)&values[8]);
	cr_assert_eq(map_put_str(m, keys[7], &values[7]), 0);
	cr_assert_eq(map_count(m), N);
	for (int *v; (v = map_next(m, &pos)); seen++)
		if (seen % 2)
			cr_assert_eq(map_del_str(m, keys[v - values]), (void *)v);
	cr_assert_eq(seen, N);
	cr_assert_eq(map_count(m), N / 2);
	/* Deleting and adding for ever does not grow it for ever, nor make a miss endless. */
	for (int i = 0; i < 200000; i++) {
		cr_assert_eq(map_put(m, "cycle", 5, &values[0]), 0);
		cr_assert_not_null(map_del(m, "cycle", 5));
	}
	cr_assert_null(map_get_str(m, "missing"));
	map_free(m);
	map_free(NULL);
	m = map_new();
	cr_assert_eq(map_put(m, "a\0b", 3, &values[1]), 0);
	cr_assert_null(map_get(m, "a", 1));
	cr_assert_null(map_get(m, "a\0c", 3));
	cr_assert_not_null(map_get(m, "a\0b", 3));
	cr_assert_eq(map_put(m, "", 0, &values[2]), 0);
	cr_assert_eq(map_get(m, "", 0), (void *)&values[2]);
	map_free(m);
}

Test(base, siphash)
{
	/* SipHash-1-3 of 0, 1, 2 ... bytes under the key 00..0f: the values that other implementations give. */
	static const uint64_t want[] = {0xabac0158050fc4dcull, 0xc9f49bf37d57ca93ull, 0x82cb9b024dc7d44dull,
					0x8bf80ab8e7ddf7fbull};
	uint8_t key[16], in[8];

	for (uint8_t i = 0; i < 16; i++)
		key[i] = i;
	for (uint8_t i = 0; i < 8; i++)
		in[i] = i;
	for (size_t n = 0; n < ARRAY_LEN(want); n++)
		cr_assert_eq(map_siphash(in, n, key), want[n], "%zu bytes", n);
}

Test(base, json)
{
	static const char *const only[] = {"s", "n", "b", "z", "o", "a", "size", NULL}, *const less[] = {"s", NULL};
	const char *text = "{\"s\":\"h\xc3\xa9\",\"n\":5,\"b\":true,\"z\":null,\"o\":{},\"a\":[],\"size\":\"1KiB\"}";
	OWN_JSON json_t *j = NULL;
	struct err e;
	const char *s = "kept";
	uint64_t n = 1;
	bool b = false;
	json_t *o;
	char deep[200];

	j = json_read(text, strlen(text), 1000, &e);
	cr_assert_not_null(j, "%s", e.text);
	cr_assert_eq(json_only(j, only, &e), 0);
	cr_assert_eq(json_only(j, less, &e), -EINVAL);
	cr_assert_neq(e.field[0], 0);
	cr_assert(json_get_str(j, "s", true, 3, &s, &e) == 0 && strcmp(s, "h\xc3\xa9") == 0);
	cr_assert_eq(json_get_str(j, "s", true, 2, &s, &e), -ERANGE);
	cr_assert_eq(json_get_str(j, "n", true, 9, &s, &e), -EINVAL);
	cr_assert_eq(json_get_str(j, "q", false, 9, &s, &e), 0);
	cr_assert_str_eq(s, "h\xc3\xa9", "untouched when missing");
	cr_assert_eq(json_get_str(j, "q", true, 9, &s, &e), -EINVAL);
	cr_assert_str_eq(e.field, "q");
	cr_assert(json_get_u64(j, "n", true, 0, 5, &n, &e) == 0 && n == 5);
	cr_assert_eq(json_get_u64(j, "n", true, 0, 4, &n, &e), -ERANGE);
	cr_assert_eq(json_get_u64(j, "s", true, 0, 4, &n, &e), -EINVAL);
	cr_assert(json_get_bytes(j, "size", true, 0, 2000, &n, &e) == 0 && n == 1024);
	cr_assert(json_get_bytes(j, "n", true, 0, 2000, &n, &e) == 0 && n == 5);
	cr_assert_eq(json_get_bytes(j, "b", true, 0, 2000, &n, &e), -EINVAL);
	cr_assert(json_get_bool(j, "b", true, &b, &e) == 0 && b);
	cr_assert_eq(json_get_bool(j, "n", true, &b, &e), -EINVAL);
	cr_assert(json_get_obj(j, "o", true, &o, &e) == 0 && o);
	cr_assert(json_get_obj(j, "q", false, &o, &e) == 0 && !o);
	cr_assert_eq(json_get_arr(j, "o", true, &o, &e), -EINVAL);
	cr_assert_eq(json_only(json_object_get(j, "a"), only, &e), -EINVAL);
	cr_assert_null(json_read(text, strlen(text), 10, &e));
	cr_assert_eq(e.code, EFBIG);
	static const char *const bad[] = {"",	  "{",	     "{}x",	    "{\"a\":1,\"a\":2}",
					  "[1,]", "{'a':1}", "\"\\u0000\"", "\"\xff\"",
					  "nul",  "01",	     "1e999",	    "[\"\\ud800\"]"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_null(json_read(bad[i], strlen(bad[i]), 1000, &e), "%s", bad[i]);
	memset(deep, '[', 33);
	memset(deep + 33, ']', 33);
	cr_assert_null(json_read(deep, 66, 1000, &e));
	o = json_read(deep + 1, 64, 1000, &e);
	cr_assert_not_null(o);
	json_decref(o);
	o = json_read("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"", 48, 1000, &e);
	cr_assert_not_null(o, "brackets in a string are not nesting");
	json_decref(o);
	o = json_pack("{s:I}", "n", (json_int_t)-1);
	cr_assert_eq(json_get_u64(o, "n", true, 0, UINT64_MAX, &n, &e), -ERANGE);
	json_decref(o);
}

Test(base, clock)
{
	char out[25];
	int64_t a = clock_mono_us(), b;

	clock_rfc3339(1767323045678, out);
	cr_assert_str_eq(out, "2026-01-02T03:04:05.678Z");
	clock_rfc3339(0, out);
	cr_assert_str_eq(out, "1970-01-01T00:00:00.000Z");
	b = clock_mono_us();
	cr_assert_geq(b, a);
	cr_assert_gt(clock_wall_ms(), 1700000000000);
}
