/* One value of the settings, by its kind.  Layer config, supervisor. */
#include "config/settings_private.h"

#include "base/parse.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

const char *settings_disk_name(enum settings_disk d)
{
	static const char *const names[SETTINGS_DISK_COUNT] = {"auto", "quota", "btrfs", "memory"};

	return (unsigned)d < SETTINGS_DISK_COUNT ? names[d] : "unknown";
}

static int settings_backend(const char *v, const char *key, uint32_t *ret, struct err *e)
{
	for (uint32_t i = 0; i < SETTINGS_DISK_COUNT; i++)
		if (strcmp(v, settings_disk_name(i)) == 0) {
			*ret = i;
			return 0;
		}
	return parse_must_be(v, "auto, quota, btrfs or memory", key, e);
}

const char *settings_challenge_name(enum settings_challenge c)
{
	static const char *const names[SETTINGS_CHALLENGE_COUNT] = {"auto", "http-01", "tls-alpn-01"};

	return (unsigned)c < SETTINGS_CHALLENGE_COUNT ? names[c] : "unknown";
}

static int settings_challenge(const char *v, const char *key, uint32_t *ret, struct err *e)
{
	for (uint32_t i = 0; i < SETTINGS_CHALLENGE_COUNT; i++)
		if (strcmp(v, settings_challenge_name(i)) == 0) {
			*ret = i;
			return 0;
		}
	return parse_must_be(v, "auto, http-01 or tls-alpn-01", key, e);
}

static int settings_on(const char *v, const char *key, bool *ret, struct err *e)
{
	bool on = strcmp(v, "on") == 0 || strcmp(v, "true") == 0;

	if (!on && strcmp(v, "off") != 0 && strcmp(v, "false") != 0)
		return parse_must_be(v, "on or off", key, e);
	*ret = on;
	return 0;
}

/* Visible ASCII that needs no escape in JSON or a log. */
static int settings_text(const char *v, size_t max, const char *key, const char *begin, char *out, struct err *e)
{
	size_t n = strlen(v), k = strlen(begin);
	bool good = n <= max && n >= k && strncmp(v, begin, k) == 0 && (k == 0 || n > k);

	for (const char *p = v; good && *p; p++)
		good = *p > 0x20 && *p < 0x7f && *p != '"' && *p != '\\';
	if (!good)
		return err_field(e, EINVAL, key, "%s: must be at most %zu visible characters%s%s", key, max,
				 k ? " that begin with " : "", begin);
	memcpy(out, v, n + 1);
	return 0;
}

unsigned settings_workers(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof set, &set) < 0 ? 1 : CPU_COUNT(&set);

	return n < 1 ? 1 : n > LIMIT_WORKERS ? LIMIT_WORKERS : (unsigned)n;
}

int settings_address(const char *text, const char *field, struct settings_address *ret, struct err *e)
{
	struct settings_address a = {0};
	size_t n = strcspn(text, " ");
	int r;

	if (n >= sizeof a.text || (text[n] && strcmp(text + n, " proxy") != 0))
		return parse_must_be(text, "address:port, or \"address:port proxy\"", field, e);
	memcpy(a.text, text, n);
	a.proxied = text[n] != '\0';
	r = parse_sockaddr(a.text, field, &a.addr, &a.len, e);
	if (r < 0)
		return r;
	*ret = a;
	return 0;
}

/* Absolute, canonical text: no empty, "." or ".." parts, no end slash, printable. */
static int settings_path(const char *v, size_t max, const char *key, char *out, struct err *e)
{
	size_t n = strlen(v);
	bool good = v[0] == '/' && n > 1 && n <= max;
	char what[120];

	for (const char *p = v; good && *p; p++) {
		if (*p != '/') {
			good = (unsigned char)*p > 0x20 && *p != 0x7f;
			continue;
		}
		size_t part = strcspn(p + 1, "/");
		good = part > 0 && !(part == 1 && p[1] == '.') && !(part == 2 && p[1] == '.' && p[2] == '.');
	}
	if (!good) {
		snprintf(what, sizeof what,
			 "an absolute path of at most %zu bytes without spaces, \".\", \"..\" or a '/' at its end",
			 max);
		return parse_must_be(v, what, key, e);
	}
	memcpy(out, v, n + 1);
	return 0;
}

static int settings_user(const char *v, size_t max, const char *key, char *out, struct err *e)
{
	size_t n = strspn(v, "abcdefghijklmnopqrstuvwxyz0123456789_-");
	char what[80];

	if (n == 0 || v[n] || n > max || v[0] == '-' || (v[0] >= '0' && v[0] <= '9')) {
		snprintf(what, sizeof what, "a user name of 1 to %zu characters of a-z, 0-9, '_' and '-'", max);
		return parse_must_be(v, what, key, e);
	}
	memcpy(out, v, n + 1);
	return 0;
}

static int settings_link(const char *v, const struct setting *row, char *out, struct err *e)
{
	size_t n = strspn(v, "abcdefghijklmnopqrstuvwxyz0123456789");

	if (n < row->min || n > row->max || v[n] || (v[0] >= '0' && v[0] <= '9'))
		return err_field(e, EINVAL, row->key, "%s: must be %d to %d of a-z and 0-9, beginning with a letter",
				 row->key, (int)row->min, (int)row->max);
	memcpy(out, v, n + 1);
	return 0;
}

static int settings_pool(const char *v, const struct setting *row, struct settings *s, struct err *e)
{
	uint32_t net;
	unsigned prefix;
	int r = parse_cidr4(v, row->key, &net, &prefix, e);

	if (r == 0 && (prefix < row->min || prefix > row->max))
		r = err_field(e, ERANGE, row->key, "%s: the prefix length must be %d to %d", row->key, (int)row->min,
			      (int)row->max);
	if (r == 0) {
		s->pool_net = net;
		s->pool_prefix = prefix;
	}
	return r;
}

static int settings_listen(json_t *list, const struct setting *row, struct settings *s, struct err *e)
{
	struct settings_address *out = (struct settings_address *)(void *)((char *)s + row->offset);
	unsigned *count = (unsigned *)(void *)((char *)s + row->offset2);
	char field[48];

	if (!json_is_array(list))
		return err_field(e, EINVAL, row->key,
				 "%s: expected a list of addresses like [\"0.0.0.0:80\", \"[::]:80\"]", row->key);
	if (json_array_size(list) > LIMIT_LISTEN)
		return err_field(e, ERANGE, row->key, "%s: %zu addresses are over the limit of %d", row->key,
				 json_array_size(list), LIMIT_LISTEN);
	*count = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		int r;
		snprintf(field, sizeof field, "%s[%zu]", row->key, i);
		if (!text)
			return err_field(e, EINVAL, field, "%s: expected address:port", field);
		r = settings_address(text, field, &out[i], e);
		if (r < 0)
			return r;
		for (size_t j = 0; j < i; j++)
			if (out[j].len == out[i].len && memcmp(&out[j].addr, &out[i].addr, out[i].len) == 0)
				return err_field(e, EINVAL, field, "%s: %s is listed twice", field, text);
		++*count;
	}
	return 0;
}

static int settings_nets(json_t *list, const struct setting *row, struct settings *s, struct err *e)
{
	struct cidr *out = (struct cidr *)(void *)((char *)s + row->offset);
	unsigned *count = (unsigned *)(void *)((char *)s + row->offset2);
	char field[48];

	if (!json_is_array(list))
		return err_field(e, EINVAL, row->key, "%s: expected a list of networks like [\"10.0.0.0/8\"]",
				 row->key);
	if (json_array_size(list) > row->max)
		return err_field(e, ERANGE, row->key, "%s: %zu networks are over the limit of %d", row->key,
				 json_array_size(list), (int)row->max);
	*count = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		int r;
		snprintf(field, sizeof field, "%s[%zu]", row->key, i);
		r = cidr_parse(text ? text : "", field, &out[i], e);
		if (r < 0)
			return r;
		++*count;
	}
	return 0;
}

int settings_value(json_t *value, const struct setting *row, struct settings *s, struct err *e)
{
	char *at = (char *)s + row->offset;
	const char *v = json_string_value(value);
	uint64_t number = 0;
	int r;

	if (row->kind == SETTING_LISTEN)
		return settings_listen(value, row, s, e);
	if (row->kind == SETTING_NETS)
		return settings_nets(value, row, s, e);
	if (!v)
		return err_field(e, EINVAL, row->key, "%s: expected one value", row->key);
	switch (row->kind) {
	case SETTING_HOST:
		r = parse_hostname(v, false, row->key, e);
		if (r == 0)
			memcpy(at, v, strlen(v) + 1);
		return r;
	case SETTING_PATH:
		return settings_path(v, row->max, row->key, at, e);
	case SETTING_NAME:
		r = parse_name(v, row->max, row->key, e);
		if (r == 0)
			memcpy(at, v, strlen(v) + 1);
		return r;
	case SETTING_USER:
		return settings_user(v, row->max, row->key, at, e);
	case SETTING_LINK:
		return settings_link(v, row, at, e);
	case SETTING_POOL:
		return settings_pool(v, row, s, e);
	case SETTING_WORKERS:
		if (strcmp(v, "auto") == 0) {
			s->proxy_workers = settings_workers();
			return 0;
		}
		/* fall through */
	case SETTING_U32:
		r = parse_u64(v, strlen(v), row->min, row->max, row->key, &number, e);
		if (r == 0)
			*(uint32_t *)(void *)at = (uint32_t)number;
		return r;
	case SETTING_AUTO:
		if (strcmp(v, "auto") != 0 && strcmp(v, "off") != 0)
			return parse_must_be(v, "auto or off", row->key, e);
		*(bool *)(void *)at = strcmp(v, "auto") == 0;
		return 0;
	case SETTING_PROOF:
		if (strcmp(v, "required") != 0 && strcmp(v, "none") != 0)
			return parse_must_be(v, "required or none", row->key, e);
		*(bool *)(void *)at = strcmp(v, "required") == 0;
		return 0;
	case SETTING_DISK:
		return settings_backend(v, row->key, (uint32_t *)(void *)at, e);
	case SETTING_ON:
		return settings_on(v, row->key, (bool *)at, e);
	case SETTING_URL:
		return settings_text(v, row->max, row->key, "https://", at, e);
	case SETTING_TEXT:
		return settings_text(v, row->max, row->key, "", at, e);
	case SETTING_CHALLENGE:
		return settings_challenge(v, row->key, (uint32_t *)(void *)at, e);
	case SETTING_SIZE:
		if (strcmp(v, "auto") == 0) {
			*(uint64_t *)(void *)at = 0;
			return 0;
		}
		/* fall through */
	case SETTING_BYTES:
		return parse_bytes(v, row->min, row->max, row->key, (uint64_t *)(void *)at, e);
	case SETTING_TIME:
		return parse_duration_ms(v, row->min, row->max, row->key, (uint64_t *)(void *)at, e);
	case SETTING_LISTEN:
	case SETTING_NETS:
		break;
	}
	return 0;
}
