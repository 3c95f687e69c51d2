/* Settings of the node.  Layer config, supervisor. */
#include "config/settings_private.h"

#include "base/fd.h"
#include "base/json.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "config/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define SETTINGS_FILE_MAX (64u << 10)

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
	{"tls.stapling", SETTING_ON, AT(tls_stapling), 0, 0, 0},
	{"tls.acme.directory", SETTING_URL, AT(acme.directory), 0, 0, 255},
	{"tls.acme.email", SETTING_TEXT, AT(acme.email), 0, 0, 127},
	{"tls.acme.terms_agreed", SETTING_ON, AT(acme.terms_agreed), 0, 0, 0},
	{"tls.acme.challenge", SETTING_CHALLENGE, AT(acme.challenge), 0, 0, 0},
	{"tls.acme.own_names", SETTING_ON, AT(acme.own_names), 0, 0, 0},
	{"tls.acme.control_name", SETTING_ON, AT(acme.control_name), 0, 0, 0},
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
	{"scheduler.confine", SETTING_AUTO, AT(confine), 0, 0, 0},
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
		.tls_stapling = true,
		.acme = {.hourly = 80, .control_name = true},
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
		.confine = true,
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
