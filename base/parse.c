/* Strict parsing of small values.  Layer base, any process. */
#include "base/parse.h"

#include "base/utf8.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

int parse_not_whole(const char *s, size_t n, uint64_t min, uint64_t max, const char *field, struct err *e)
{
	char range[64] = "";

	if (n > 32)
		for (n = 32; n > 0 && (s[n] & 0xc0) == 0x80; n--) /* no half of a character */
			;
	if (max < INT64_MAX)
		snprintf(range, sizeof range, " from %" PRIu64 " to %" PRIu64, min, max);
	return err_field(e, EINVAL, field, "%s: \"%.*s\" is not a whole number%s", field, (int)n, s, range);
}

int parse_must_be(const char *s, const char *what, const char *field, struct err *e)
{
	char safe[49];

	utf8_escape(safe, sizeof safe, s, strlen(s));
	return err_field(e, EINVAL, field, "%s: must be %s, not \"%s\"", field, what, safe);
}

int parse_u64(const char *s, size_t n, uint64_t min, uint64_t max, const char *field, uint64_t *ret, struct err *e)
{
	uint64_t v = 0;

	if (n == 0 || (n > 1 && s[0] == '0'))
		return parse_not_whole(s, n, min, max, field, e);
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return parse_not_whole(s, n, min, max, field, e);
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v))
			return err_field(e, ERANGE, field, "%s: must be between %" PRIu64 " and %" PRIu64, field, min,
					 max);
	}
	if (v < min || v > max)
		return err_field(e, ERANGE, field, "%s: %" PRIu64 " is outside %" PRIu64 "..%" PRIu64, field, v, min,
				 max);
	*ret = v;
	return 0;
}

void parse_bytes_text(uint64_t v, char out[PARSE_BYTES_TEXT])
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	unsigned u = 0;
	uint64_t unit = 1, tenths;

	while (u < 4 && v / unit >= 1024) {
		unit <<= 10;
		u++;
	}
	tenths = v % unit * 10 / unit;
	if (tenths && v / unit < 100)
		snprintf(out, PARSE_BYTES_TEXT, "%" PRIu64 ".%" PRIu64 " %s", v / unit, tenths, units[u]);
	else
		snprintf(out, PARSE_BYTES_TEXT, "%" PRIu64 " %s", v / unit, v == 1 ? "byte" : units[u]);
}

struct parse_unit {
	const char *name;
	uint64_t factor;
};

static int parse_with_unit(const char *s, const struct parse_unit *units, size_t count, const char *like,
			   const char *field, uint64_t *ret, struct err *e)
{
	size_t digits = strspn(s, "0123456789");
	uint64_t v, factor = 0;
	int r;

	for (size_t i = 0; i < count; i++)
		if (strcmp(s + digits, units[i].name) == 0)
			factor = units[i].factor;
	if (factor == 0 || digits == 0)
		return err_field(e, EINVAL, field, "%s: \"%.32s\" is not %s", field, s, like);
	r = parse_u64(s, digits, 0, UINT64_MAX, field, &v, e);
	if (r < 0)
		return r;
	/* The caller has the range, and says it in its unit: too large is the largest. */
	if (__builtin_mul_overflow(v, factor, &v))
		v = UINT64_MAX;
	*ret = v;
	return 0;
}

int parse_bytes(const char *s, uint64_t min, uint64_t max, const char *field, uint64_t *ret, struct err *e)
{
	static const struct parse_unit units[] = {
		{"", 1},	   {"K", 1ull << 10},	{"KiB", 1ull << 10}, {"M", 1ull << 20},	  {"MiB", 1ull << 20},
		{"G", 1ull << 30}, {"GiB", 1ull << 30}, {"T", 1ull << 40},   {"TiB", 1ull << 40},
	};
	char low[PARSE_BYTES_TEXT], high[PARSE_BYTES_TEXT];
	uint64_t v;
	int r = parse_with_unit(s, units, sizeof units / sizeof *units, "a size like 256MiB (KiB, MiB, GiB, TiB)",
				field, &v, e);

	if (r < 0)
		return r;
	if (v < min || v > max || v == UINT64_MAX) {
		parse_bytes_text(min, low);
		parse_bytes_text(max, high);
		return err_field(e, ERANGE, field, "%s: %.32s is outside %s to %s", field, s, low, high);
	}
	*ret = v;
	return 0;
}

/* "24h", "90s": in the largest unit that says it exactly; a single day is 24 hours. */
#define PARSE_DURATION_TEXT 28
static void parse_duration_text(uint64_t ms, char out[PARSE_DURATION_TEXT])
{
	static const struct parse_unit units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};

	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (ms % units[i].factor == 0 && (i > 0 ? ms > 0 || i == 3 : ms > units[0].factor)) {
			snprintf(out, PARSE_DURATION_TEXT, "%" PRIu64 "%s", ms / units[i].factor, units[i].name);
			return;
		}
	snprintf(out, PARSE_DURATION_TEXT, "%" PRIu64 "ms", ms);
}

int parse_duration_ms(const char *s, uint64_t min, uint64_t max, const char *field, uint64_t *ret, struct err *e)
{
	static const struct parse_unit units[] = {
		{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
	};
	char low[PARSE_DURATION_TEXT], high[PARSE_DURATION_TEXT];
	uint64_t v;
	int r = parse_with_unit(s, units, sizeof units / sizeof *units, "a time like 30s (ms, s, m, h, d)", field, &v,
				e);

	if (r < 0)
		return r;
	if (v < min || v > max || v == UINT64_MAX) {
		parse_duration_text(min, low);
		parse_duration_text(max, high);
		return err_field(e, ERANGE, field, "%s: %.32s is outside %s to %s", field, s, low, high);
	}
	*ret = v;
	return 0;
}

/* Length of the label at s, 0 when there is none that is well formed. */
static size_t parse_label(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n == 0 || n > 63 || s[0] == '-' || s[n - 1] == '-' ? 0 : n;
}

int parse_name(const char *s, size_t max, const char *field, struct err *e)
{
	size_t n = parse_label(s);
	char what[96];

	if (n > 0 && n <= max && s[n] == 0)
		return 0;
	snprintf(what, sizeof what, "1 to %zu characters of a-z, 0-9 and '-', not beginning or ending with '-'", max);
	return parse_must_be(s, what, field, e);
}

int parse_hostname(const char *s, bool wildcard, const char *field, struct err *e)
{
	const char *p = s;

	if (wildcard && strncmp(p, "*.", 2) == 0)
		p += 2;
	if (strlen(s) <= 253)
		for (;;) {
			size_t n = parse_label(p);
			if (n == 0)
				break;
			if (p[n] == 0)
				return 0;
			if (p[n] != '.')
				break;
			p += n + 1;
		}
	return err_field(e, EINVAL, field, "%s: \"%.64s\" is not a host name (lower case, at most 253 characters)",
			 field, s);
}

int parse_sockaddr(const char *s, const char *field, struct sockaddr_storage *ret, unsigned *len, struct err *e)
{
	const char *colon = strrchr(s, ':');
	char host[64];
	uint64_t port;
	size_t n;
	int r;

	if (!colon || (size_t)(colon - s) >= sizeof host)
		return err_field(e, EINVAL, field, "%s: \"%.64s\" is not address:port", field, s);
	n = (size_t)(colon - s);
	r = parse_u64(colon + 1, strlen(colon + 1), 0, 65535, field, &port, e);
	if (r < 0)
		return r;
	memset(ret, 0, sizeof *ret);
	if (n > 2 && s[0] == '[' && s[n - 1] == ']') {
		struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)ret;
		memcpy(host, s + 1, n - 2);
		host[n - 2] = 0;
		a6->sin6_family = AF_INET6;
		a6->sin6_port = htons((uint16_t)port);
		*len = sizeof *a6;
		if (inet_pton(AF_INET6, host, &a6->sin6_addr) == 1)
			return 0;
	} else {
		struct sockaddr_in *a4 = (struct sockaddr_in *)ret;
		memcpy(host, s, n);
		host[n] = 0;
		a4->sin_family = AF_INET;
		a4->sin_port = htons((uint16_t)port);
		*len = sizeof *a4;
		if (inet_pton(AF_INET, host, &a4->sin_addr) == 1)
			return 0;
	}
	return err_field(e, EINVAL, field, "%s: \"%.64s\" is not address:port", field, s);
}

int parse_cidr4(const char *s, const char *field, uint32_t *net, unsigned *prefix, struct err *e)
{
	const char *slash = strchr(s, '/');
	char host[32];
	struct in_addr a;
	uint64_t len = 0;

	if (slash && (size_t)(slash - s) < sizeof host &&
	    parse_u64(slash + 1, strlen(slash + 1), 0, 32, field, &len, NULL) == 0) {
		memcpy(host, s, (size_t)(slash - s));
		host[slash - s] = 0;
		if (inet_pton(AF_INET, host, &a) == 1) {
			uint32_t v = ntohl(a.s_addr), mask = len ? ~0u << (32 - len) : 0;
			if ((v & ~mask) == 0) {
				*net = v;
				*prefix = (unsigned)len;
				return 0;
			}
		}
	}
	return err_field(e, EINVAL, field, "%s: \"%.40s\" is not a network like 10.94.0.0/16", field, s);
}

void parse_hex(const void *in, size_t n, char *out)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = in;

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = hex[p[i] >> 4];
		out[2 * i + 1] = hex[p[i] & 15];
	}
	out[2 * n] = 0;
}

int parse_unhex(const char *s, void *out, size_t n)
{
	unsigned char *p = out;

	if (strlen(s) != 2 * n || strspn(s, "0123456789abcdef") != 2 * n)
		return -EINVAL;
	for (size_t i = 0; i < 2 * n; i++) {
		unsigned v = (unsigned)(s[i] <= '9' ? s[i] - '0' : s[i] - 'a' + 10);
		p[i / 2] = (unsigned char)(i % 2 ? (unsigned)(p[i / 2] << 4) | v : v);
	}
	return 0;
}
