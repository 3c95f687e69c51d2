/* Settings of the node.  Layer config, supervisor. */
#include "config/settings.h"

#include "base/fd.h"
#include "base/json.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "config/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define SETTINGS_FILE_MAX (64u << 10)

enum setting_kind {
	SETTING_HOST,	 /* char[LIMIT_HOST + 1] */
	SETTING_PATH,	 /* char[max + 1], absolute */
	SETTING_NAME,	 /* char[max + 1], parse_name */
	SETTING_USER,	 /* char[max + 1], a Unix user name */
	SETTING_LINK,	 /* char[5] */
	SETTING_POOL,	 /* pool_net, pool_prefix */
	SETTING_LISTEN,	 /* addresses and, in `offset2`, their count */
	SETTING_NETS,	 /* networks and, in `offset2`, their count */
	SETTING_WORKERS, /* unsigned or "auto" */
	SETTING_AUTO,	 /* bool: "auto" or "off" */
	SETTING_PROOF,	 /* bool: "required" or "none" */
	SETTING_U32,
	SETTING_BYTES, /* uint64_t */
	SETTING_TIME,  /* uint64_t, milliseconds */
	SETTING_DISK,  /* enum settings_disk */
	SETTING_SIZE,  /* uint64_t, bytes, or "auto" = 0 */
	SETTING_ON,    /* bool: "on" or "off" */
	SETTING_URL,   /* char[max + 1], https:// */
	SETTING_TEXT,  /* char[max + 1], visible ASCII without quotes and spaces */
	SETTING_CHALLENGE,
};

struct setting {
	const char *key;
	enum setting_kind kind;
	size_t offset, offset2;
	uint64_t min, max;
};

#define AT(field) offsetof(struct settings, field)
static const struct setting settings_table[] = {
	{"node.name", SETTING_HOST, AT(node_name), 0, 0, 0},
	{"node.data", SETTING_PATH, AT(data), 0, 0, sizeof((struct settings *)0)->data - 1},
	{"node.runtime", SETTING_PATH, AT(runtime), 0, 0, 70}, /* what is put below it must fit sun_path */
	{"node.cgroup", SETTING_NAME, AT(cgroup), 0, 0, sizeof((struct settings *)0)->cgroup - 1},
	/* All ranges end below 2^31: ids beyond are negative to programs that keep them in an int. */
	{"node.uid_base", SETTING_U32, AT(uid_base), 0, LIMIT_UID_RANGE, 0x80000000u - LIMIT_TENANTS *LIMIT_UID_RANGE},
	{"node.user", SETTING_USER, AT(user), 0, 0, sizeof((struct settings *)0)->user - 1},
	{"node.user_proxy", SETTING_USER, AT(user_proxy), 0, 0, sizeof((struct settings *)0)->user_proxy - 1},
	{"node.user_log", SETTING_USER, AT(user_log), 0, 0, sizeof((struct settings *)0)->user_log - 1},
	{"node.user_resolver", SETTING_USER, AT(user_resolver), 0, 0, sizeof((struct settings *)0)->user_resolver - 1},
	{"node.user_fetcher", SETTING_USER, AT(user_fetcher), 0, 0, sizeof((struct settings *)0)->user_fetcher - 1},
	{"listen.http", SETTING_LISTEN, AT(http), AT(http_count), 0, 0},
	{"listen.https", SETTING_LISTEN, AT(https), AT(https_count), 0, 0},
	{"listen.proxy_from", SETTING_NETS, AT(proxy_from), AT(proxy_from_count), 0, LIMIT_PROXY_FROM},
	{"tls.certificates", SETTING_PATH, AT(tls_certificates), 0, 0,
	 sizeof((struct settings *)0)->tls_certificates - 1},
	{"tls.acme.directory", SETTING_URL, AT(acme.directory), 0, 0, 255},
	{"tls.acme.email", SETTING_TEXT, AT(acme.email), 0, 0, 127},
	{"tls.acme.terms_agreed", SETTING_ON, AT(acme.terms_agreed), 0, 0, 0},
	{"tls.acme.challenge", SETTING_CHALLENGE, AT(acme.challenge), 0, 0, 0},
	{"tls.acme.own_names", SETTING_ON, AT(acme.own_names), 0, 0, 0},
	{"tls.acme.ca_file", SETTING_PATH, AT(acme.ca_file), 0, 0, 199},
	{"tls.acme.eab_kid", SETTING_TEXT, AT(acme.eab_kid), 0, 0, 127},
	{"tls.acme.eab_key", SETTING_TEXT, AT(acme.eab_key), 0, 0, 255},
	{"tls.acme.hourly", SETTING_U32, AT(acme.hourly), 0, 1, 10000},
	{"domains.apps", SETTING_HOST, AT(domain_apps), 0, 0, 0},
	{"domains.control", SETTING_HOST, AT(domain_control), 0, 0, 0},
	{"domains.proof", SETTING_PROOF, AT(domain_proof), 0, 0, 0},
	{"network.pool", SETTING_POOL, AT(pool_net), AT(pool_prefix), 8, 28},
	{"network.link_prefix", SETTING_LINK, AT(link_prefix), 0, 2, 4},
	{"disk.backend", SETTING_DISK, AT(disk_backend), 0, 0, 0},
	{"disk.pool", SETTING_SIZE, AT(disk_pool), 0, LIMIT_POOL_MIN, LIMIT_POOL_MAX},
	{"disk.write_rate", SETTING_SIZE, AT(disk_write_rate), 0, LIMIT_POOL_RATE_MIN, LIMIT_POOL_RATE_MAX},
	{"proxy.workers", SETTING_WORKERS, AT(proxy_workers), 0, 1, LIMIT_WORKERS},
	{"scheduler.throttle", SETTING_AUTO, AT(throttle), 0, 0, 0},
	{"build.concurrent", SETTING_U32, AT(build_concurrent), 0, 1, 64},
	{"build.time", SETTING_TIME, AT(build_time_ms), 0, 10000, 4 * 3600000},
	{"health.timeout", SETTING_TIME, AT(health_ms), 0, 1000, 600000},
	{"health.drain", SETTING_TIME, AT(drain_ms), 0, 0, 600000},
	{"health.grace", SETTING_TIME, AT(grace_ms), 0, 100, 600000},
};

/* Sections whose keys are those of the limits of one sandbox. */
static const struct {
	const char *name;
	size_t offset;
} settings_limits[] = {{"app", AT(app)}, {"build", AT(build)}};

const char *settings_key(unsigned i)
{
	static char text[ARRAY_LEN(settings_limits) * 32][32];
	unsigned n = ARRAY_LEN(settings_table);

	if (i < n)
		return settings_table[i].key;
	for (size_t s = 0; s < ARRAY_LEN(settings_limits); s++) {
		const struct quota_key *k;
		for (unsigned j = 0; (k = quota_key(j)); j++) {
			if (!quota_has(k, QUOTA_OF_LIMITS) || n++ != i)
				continue;
			snprintf(text[i - ARRAY_LEN(settings_table)], sizeof text[0], "%s.%s", settings_limits[s].name,
				 k->name);
			return text[i - ARRAY_LEN(settings_table)];
		}
	}
	return NULL;
}

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
	return err_field(e, EINVAL, key, "%s: must be auto, quota, btrfs or memory", key);
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
	return err_field(e, EINVAL, key, "%s: must be auto, http-01 or tls-alpn-01", key);
}

static int settings_on(const char *v, const char *key, bool *ret, struct err *e)
{
	bool on = strcmp(v, "on") == 0 || strcmp(v, "true") == 0;

	if (!on && strcmp(v, "off") != 0 && strcmp(v, "false") != 0)
		return err_field(e, EINVAL, key, "%s: must be on or off", key);
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

/* One proxy worker per CPU that we may run on. */
static unsigned settings_workers(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof set, &set) < 0 ? 1 : CPU_COUNT(&set);

	return n < 1 ? 1 : n > LIMIT_WORKERS ? LIMIT_WORKERS : (unsigned)n;
}

/* The host's first label as a name; "node" when nothing usable is left. */
static void settings_hostname(char out[LIMIT_HOST + 1])
{
	char host[256] = "";
	size_t n = 0;

	gethostname(host, sizeof host - 1);
	for (const char *p = host; *p && *p != '.' && n < 63; p++) {
		char c = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
		bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		if (plain || n > 0)
			out[n++] = plain ? c : '-';
	}
	while (n && out[n - 1] == '-')
		n--;
	out[n] = 0;
	if (n == 0)
		snprintf(out, LIMIT_HOST + 1, "node");
}

static int settings_address(const char *text, const char *field, struct settings_address *ret, struct err *e)
{
	struct settings_address a = {0};
	size_t n = strcspn(text, " ");
	int r;

	if (n >= sizeof a.text || (text[n] && strcmp(text + n, " proxy") != 0))
		return err_field(e, EINVAL, field, "%s: expected address:port, or \"address:port proxy\"", field);
	memcpy(a.text, text, n);
	a.proxied = text[n] != '\0';
	r = parse_sockaddr(a.text, field, &a.addr, &a.len, e);
	if (r < 0)
		return r;
	*ret = a;
	return 0;
}

void settings_default(struct settings *s)
{
	*s = (struct settings){
		.data = "/var/lib/tulou",
		.runtime = "/run/tulou",
		.cgroup = "tulou",
		.uid_base = LIMIT_UID_BASE,
		.user = "tulou",
		.user_proxy = "tulou-proxy",
		.user_log = "tulou-log",
		.user_resolver = "tulou-resolver",
		.user_fetcher = "tulou-fetcher",
		.acme = {.hourly = 80},
		.http_count = 2,
		.domain_apps = "localhost",
		.domain_control = "tulou.localhost",
		.domain_proof = true,
		.pool_net = 0x0a5e0000, /* 10.94.0.0/16 */
		.pool_prefix = 16,
		.link_prefix = "tl",
		.proxy_workers = settings_workers(),
		.app = quota_app_default,
		.build = quota_build_default,
		.throttle = true,
		.build_concurrent = 2,
		.build_time_ms = LIMIT_BUILD_MS,
		.health_ms = LIMIT_HEALTH_MS,
		.drain_ms = LIMIT_DRAIN_MS,
		.grace_ms = LIMIT_STOP_GRACE_MS,
	};
	settings_hostname(s->node_name);
	settings_address("127.0.0.1:8080", "listen.http", &s->http[0], NULL);
	settings_address("[::1]:8080", "listen.http", &s->http[1], NULL);
}

/* Absolute, canonical text: no empty, "." or ".." parts, no end slash, printable. */
static int settings_path(const char *v, size_t max, const char *key, char *out, struct err *e)
{
	size_t n = strlen(v);
	bool good = v[0] == '/' && n > 1 && n <= max;

	for (const char *p = v; good && *p; p++) {
		if (*p != '/') {
			good = (unsigned char)*p > 0x20 && *p != 0x7f;
			continue;
		}
		size_t part = strcspn(p + 1, "/");
		good = part > 0 && !(part == 1 && p[1] == '.') && !(part == 2 && p[1] == '.' && p[2] == '.');
	}
	if (!good)
		return err_field(e, EINVAL, key,
				 "%s: must be an absolute path of at most %zu bytes without spaces, \".\", \"..\" or a "
				 "'/' at its end",
				 key, max);
	memcpy(out, v, n + 1);
	return 0;
}

static int settings_user(const char *v, size_t max, const char *key, char *out, struct err *e)
{
	size_t n = strspn(v, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	if (n == 0 || v[n] || n > max || v[0] == '-' || (v[0] >= '0' && v[0] <= '9'))
		return err_field(e, EINVAL, key,
				 "%s: must be a user name of 1 to %zu characters of a-z, 0-9, '_' and '-'", key, max);
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

static int settings_value(json_t *value, const struct setting *row, struct settings *s, struct err *e)
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
			return err_field(e, EINVAL, row->key, "%s: auto or off", row->key);
		*(bool *)(void *)at = strcmp(v, "auto") == 0;
		return 0;
	case SETTING_PROOF:
		if (strcmp(v, "required") != 0 && strcmp(v, "none") != 0)
			return err_field(e, EINVAL, row->key, "%s: required or none", row->key);
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

/* A number of a section of limits, NULL when there is no such section or key. */
static const struct quota_key *settings_limit(const char *section, const char *key, size_t *offset)
{
	const struct quota_key *k = quota_key_find(key);

	for (size_t i = 0; i < ARRAY_LEN(settings_limits); i++) {
		if (strcmp(section, settings_limits[i].name) != 0)
			continue;
		*offset = settings_limits[i].offset;
		return k && quota_has(k, QUOTA_OF_LIMITS) && strcmp(k->name, key) == 0 ? k : NULL;
	}
	return NULL;
}

static int settings_limit_value(json_t *value, const char *section, const struct quota_key *k, void *limits,
				struct err *e)
{
	const char *v = json_string_value(value);
	uint64_t number = 0;
	char field[48];
	int r;

	snprintf(field, sizeof field, "%s.%s", section, k->name);
	if (!v)
		return err_field(e, EINVAL, field, "%s: expected one value", field);
	if (k->unit == QUOTA_BYTES || k->unit == QUOTA_RATE)
		r = parse_bytes(v, k->min, k->max[QUOTA_OF_LIMITS], field, &number, e);
	else
		r = parse_u64(v, strlen(v), k->min, k->max[QUOTA_OF_LIMITS], field, &number, e);
	if (r == 0)
		quota_set(k, QUOTA_OF_LIMITS, limits, number);
	return r;
}

/* Of one family and port, and one of them is every address or both are the same: the kernel gives that to one only. */
static bool settings_listen_clash(const struct settings_address *a, const struct settings_address *b)
{
	const struct sockaddr_in *a4 = (const void *)&a->addr, *b4 = (const void *)&b->addr;
	const struct sockaddr_in6 *a6 = (const void *)&a->addr, *b6 = (const void *)&b->addr;

	if (a->addr.ss_family != b->addr.ss_family)
		return false;
	if (a->addr.ss_family == AF_INET)
		return a4->sin_port == b4->sin_port &&
		       (a4->sin_addr.s_addr == INADDR_ANY || b4->sin_addr.s_addr == INADDR_ANY ||
			a4->sin_addr.s_addr == b4->sin_addr.s_addr);
	return a6->sin6_port == b6->sin6_port &&
	       (IN6_IS_ADDR_UNSPECIFIED(&a6->sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&b6->sin6_addr) ||
		IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr));
}

static int settings_check_listen(const struct settings *s, struct err *e)
{
	char field[48];

	for (unsigned i = 0; i < s->https_count; i++) {
		for (unsigned j = 0; j < s->http_count; j++) {
			if (!settings_listen_clash(&s->https[i], &s->http[j]))
				continue;
			snprintf(field, sizeof field, "listen.https[%u]", i);
			return err_field(
				e, EINVAL, field,
				"%s: %s is where listen.http[%u] (%s) listens: http and https need ports of their own",
				field, s->https[i].text, j, s->http[j].text);
		}
	}
	return 0;
}

/* What single values cannot say. */
static int settings_check(const struct settings *s, struct err *e)
{
	size_t n = strlen(s->data), m = strlen(s->runtime);
	bool proxied = false;

	if (s->http_count == 0)
		return err_field(e, EINVAL, "listen.http", "listen.http: at least one address is needed");
	if (strcmp(s->domain_apps, s->domain_control) == 0)
		return err_field(e, EINVAL, "domains.control", "domains.control: must differ from domains.apps (%s)",
				 s->domain_apps);
	if (s->acme.directory[0] && s->https_count == 0)
		return err_field(e, EINVAL, "tls.acme.directory", "tls.acme.directory: listen.https has no address");
	if (s->acme.directory[0] && !s->acme.terms_agreed)
		return err_field(e, EINVAL, "tls.acme.terms_agreed",
				 "tls.acme.terms_agreed: must be on; the directory names the authority's terms");
	if (!s->acme.eab_kid[0] != !s->acme.eab_key[0])
		return err_field(e, EINVAL, "tls.acme.eab_key",
				 "tls.acme.eab_key: tls.acme.eab_kid and eab_key go together");
	for (unsigned i = 0; i < s->http_count; i++)
		proxied |= s->http[i].proxied;
	for (unsigned i = 0; i < s->https_count; i++)
		proxied |= s->https[i].proxied;
	if (proxied && s->proxy_from_count == 0)
		return err_field(e, EINVAL, "listen.proxy_from",
				 "listen.proxy_from: name the balancers of the address that says proxy; nobody else's "
				 "word on who the client is may be taken");
	if (!proxied && s->proxy_from_count > 0)
		return err_field(e, EINVAL, "listen.proxy_from",
				 "listen.proxy_from: no address of listen.http or listen.https says proxy, like "
				 "\"0.0.0.0:80 proxy\"");
	if (settings_check_listen(s, e) < 0)
		return -EINVAL;
	/* One is emptied when the node stops, the other is kept for ever. */
	if (strncmp(s->data, s->runtime, n < m ? n : m) == 0 && (n == m || (n < m ? s->runtime[n] : s->data[m]) == '/'))
		return err_field(e, EINVAL, "node.runtime",
				 "node.runtime: must not be node.data, nor lie below it or above it");
	return 0;
}

/* The table's row of section.key, NULL when there is none; *section_known says whether any row begins with the section.
 */
static const struct setting *settings_find(const char *section, const char *key, bool *section_known)
{
	size_t n = strlen(section);

	*section_known = false;
	for (size_t i = 0; i < ARRAY_LEN(settings_limits); i++)
		*section_known |= strcmp(section, settings_limits[i].name) == 0;
	for (size_t i = 0; i < ARRAY_LEN(settings_table); i++) {
		const char *k = settings_table[i].key;
		if (strncmp(k, section, n) != 0 || k[n] != '.')
			continue;
		*section_known = true;
		if (key && strcmp(k + n + 1, key) == 0)
			return &settings_table[i];
	}
	return NULL;
}

static int settings_unknown(const char *section, const char *key, struct err *e)
{
	char raw[120], safe[64];

	snprintf(raw, sizeof raw, "%s%s%s", section, key ? "." : "", key ? key : "");
	utf8_escape(safe, sizeof safe, raw, strlen(raw));
	return err_field(e, EINVAL, safe, "%s: unknown setting", safe);
}

/* What lies below one section; of "tls: { acme: { … } }" the inner one is "tls.acme". */
static int settings_section(const char *section, json_t *body, struct settings *s, struct err *e)
{
	const char *key;
	json_t *value;
	bool known;

	json_object_foreach(body, key, value)
	{
		const struct setting *row = settings_find(section, key, &known);
		size_t offset = 0;
		const struct quota_key *k = row ? NULL : settings_limit(section, key, &offset);
		char inner[64];
		int r;
		if (!row && !k && json_is_object(value) &&
		    (size_t)snprintf(inner, sizeof inner, "%s.%s", section, key) < sizeof inner) {
			settings_find(inner, NULL, &known);
			r = known ? settings_section(inner, value, s, e) : settings_unknown(section, key, e);
		} else {
			r = row ? settings_value(value, row, s, e)
			    : k ? settings_limit_value(value, section, k, (char *)s + offset, e)
				: settings_unknown(section, key, e);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int settings_apply(json_t *root, struct settings *s, struct err *e)
{
	const char *section;
	json_t *body;
	bool known;
	int r;

	if (!json_is_object(root))
		return err_set(e, EINVAL, "expected settings like \"node: { name: node-1 }\"");
	json_object_foreach(root, section, body)
	{
		settings_find(section, NULL, &known);
		if (!known)
			return settings_unknown(section, NULL, e);
		if (json_is_null(body))
			continue;
		if (!json_is_object(body))
			return err_field(e, EINVAL, section, "%s: expected settings below it", section);
		if ((r = settings_section(section, body, s, e)) < 0)
			return r;
	}
	return settings_check(s, e);
}

int settings_parse(const char *text, size_t n, struct settings *s, struct err *e)
{
	OWN_JSON json_t *root = NULL;
	struct err inner = {0};
	struct settings fresh = *s;
	int r;

	root = yaml_read(text, n, SETTINGS_FILE_MAX, &inner);
	r = root ? settings_apply(root, &fresh, &inner) : -inner.code;
	if (r < 0) {
		if (e)
			*e = inner;
		return r;
	}
	*s = fresh;
	return 0;
}

int settings_load(const char *path, struct settings *s, struct err *e)
{
	OWN_FREE char *text = NULL;
	OWN_FD int fd = -1;
	struct settings fresh;
	size_t n;
	int r;

	settings_default(&fresh);
	if (path) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return err_errno(e, "%s", path);
		r = fd_read_all(fd, SETTINGS_FILE_MAX, &text, &n);
		if (r == -EFBIG)
			return err_set(e, EFBIG, "%s: the file is over the limit of %u bytes", path, SETTINGS_FILE_MAX);
		if (r < 0)
			return err_set(e, -r, "%s: %s", path, strerror(-r));
		r = settings_parse(text, n, &fresh, e);
		if (r < 0)
			return err_wrap(e, "%s", path), r;
	}
	*s = fresh;
	return 0;
}
