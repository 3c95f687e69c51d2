/* The table of limits and quotas, profiles, egress policies.  Layer config. */
#include "config/quota.h"

#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define L(field) (int)offsetof(struct quota_limits, field)
#define Q(field) (int)offsetof(struct quota, field)
#define NO (-1)
#define RATE_MAX (1ull << 40)

/* clang-format off */
static const struct quota_key keys[] = {
	{"memory", "memory_bytes", "memory", QUOTA_BYTES, true, {L(memory), Q(memory)}, LIMIT_MEMORY_MIN, {LIMIT_MEMORY_MAX, LIMIT_MEMORY_MAX}},
	{"swap", "swap_bytes", "swap", QUOTA_BYTES, true, {L(swap), Q(swap)}, 0, {LIMIT_MEMORY_MAX, LIMIT_MEMORY_MAX}},
	{"cpu", "cpu", "CPU", QUOTA_CPU, false, {L(cpu), Q(cpu)}, LIMIT_CPU_MIN, {LIMIT_CPU_MAX, LIMIT_CPU_MAX}},
	{"cpu_burst", "cpu_burst", "CPU burst", QUOTA_CPU, false, {L(cpu_burst), Q(cpu_burst)}, 0, {LIMIT_CPU_MAX, LIMIT_CPU_MAX}},
	{"cpu_weight", "cpu_weight", "CPU weight", QUOTA_WEIGHT, false, {L(cpu_weight), Q(cpu_weight)}, 1, {LIMIT_WEIGHT_MAX, LIMIT_WEIGHT_MAX}},
	{"pids", "pids", "processes", QUOTA_COUNT, false, {L(pids), Q(pids)}, LIMIT_PIDS_MIN, {LIMIT_PIDS_MAX, LIMIT_TENANT_PIDS_MAX}},
	{"nofile", "nofile", "open files per process", QUOTA_COUNT, false, {L(nofile), NO}, LIMIT_NOFILE_MIN, {LIMIT_NOFILE_MAX, 0}},
	{"disk", "disk_bytes", "disk", QUOTA_BYTES, true, {L(disk), Q(disk)}, LIMIT_DISK_MIN, {LIMIT_DISK_MAX, LIMIT_DISK_MAX}},
	{"inodes", "inodes", "files", QUOTA_COUNT, false, {L(inodes), Q(inodes)}, LIMIT_INODES_MIN, {LIMIT_INODES_MAX, UINT32_MAX}},
	{"io_weight", "io_weight", "disk weight", QUOTA_WEIGHT, false, {L(io_weight), Q(io_weight)}, 1, {LIMIT_WEIGHT_MAX, LIMIT_WEIGHT_MAX}},
	{"io_read", "io_read_rate", "disk read rate", QUOTA_RATE, true, {L(io_read), Q(io_read)}, 0, {RATE_MAX, RATE_MAX}},
	{"io_write", "io_write_rate", "disk write rate", QUOTA_RATE, true, {L(io_write), Q(io_write)}, 0, {RATE_MAX, RATE_MAX}},
	{"net_in", "net_in_rate", "network rate in", QUOTA_RATE, true, {L(net_in), Q(net_in)}, 0, {RATE_MAX, RATE_MAX}},
	{"net_out", "net_out_rate", "network rate out", QUOTA_RATE, true, {L(net_out), Q(net_out)}, 0, {RATE_MAX, RATE_MAX}},
	{"net_packets", "net_packets_rate", "network packets out", QUOTA_PERCOUNT, true, {L(net_packets), Q(net_packets)}, LIMIT_NET_PACKETS_MIN, {LIMIT_NET_PACKETS_MAX, LIMIT_NET_PACKETS_MAX}},
	{"log_rate", "log_rate", "log lines", QUOTA_PERCOUNT, false, {L(log_rate), Q(log_rate)}, 0, {LIMIT_LOG_RATE_MAX, LIMIT_LOG_RATE_MAX}},
	{"apps", "apps", "apps", QUOTA_COUNT, false, {NO, Q(apps)}, 0, {0, LIMIT_APPS}},
	{"instances", "instances", "instances", QUOTA_COUNT, false, {NO, Q(instances)}, 0, {0, LIMIT_INSTANCES}},
	{"requests", "requests_rate", "requests", QUOTA_PERCOUNT, false, {NO, Q(requests)}, 0, {0, LIMIT_FRONT_RATE}},
	{"concurrent", "concurrent", "requests at a time", QUOTA_CAP, false, {NO, Q(concurrent)}, 0, {0, LIMIT_FRONT_RATE}},
};
/* clang-format on */

const struct quota_limits quota_app_default = {
	.memory = 256ull << 20,
	.disk = 128ull << 20,
	.io_read = 64ull << 20,
	.io_write = 64ull << 20,
	.net_in = 64ull << 20,
	.net_out = 64ull << 20,
	.net_packets = LIMIT_NET_PACKETS,
	.inodes = 16384,
	.cpu = 1000,
	.cpu_burst = 1000,
	.cpu_weight = 100,
	.io_weight = 100,
	.pids = 256,
	.nofile = 4096,
	.log_rate = LIMIT_LOG_RATE,
};

const struct quota_limits quota_build_default = {
	.memory = 1ull << 30,
	.disk = 1ull << 30,
	.io_read = 128ull << 20,
	.io_write = 128ull << 20,
	.net_in = 64ull << 20,
	.net_out = 64ull << 20,
	.net_packets = LIMIT_NET_PACKETS,
	.inodes = 262144,
	.cpu = 2000,
	.cpu_burst = 0,
	.cpu_weight = 50,
	.io_weight = 50,
	.pids = 1024,
	.nofile = 4096,
	.log_rate = LIMIT_LOG_RATE,
};

const struct quota quota_default = {
	.memory = 4ull << 30,
	.disk = 20ull << 30,
	.io_read = 256ull << 20,
	.io_write = 256ull << 20,
	.net_in = 256ull << 20,
	.net_out = 256ull << 20,
	.net_packets = LIMIT_NET_PACKETS,
	.inodes = 4194304,
	.cpu = 4000,
	.cpu_burst = 4000,
	.cpu_weight = 100,
	.io_weight = 100,
	.pids = 4096,
	.log_rate = 10 * LIMIT_LOG_RATE,
	.apps = 50,
	.instances = 100,
};

const struct quota_key *quota_key(unsigned i)
{
	return i < ARRAY_LEN(keys) ? &keys[i] : NULL;
}

const struct quota_key *quota_key_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (strcmp(keys[i].name, name) == 0 || strcmp(keys[i].json, name) == 0)
			return &keys[i];
	return NULL;
}

uint64_t quota_get(const struct quota_key *k, enum quota_of of, const void *p)
{
	const char *at = (const char *)p + k->offset[of];
	uint64_t wide;
	uint32_t narrow;

	if (k->wide) {
		memcpy(&wide, at, sizeof wide);
		return wide;
	}
	memcpy(&narrow, at, sizeof narrow);
	return narrow;
}

void quota_set(const struct quota_key *k, enum quota_of of, void *p, uint64_t value)
{
	char *at = (char *)p + k->offset[of];
	uint32_t narrow = (uint32_t)value;

	memcpy(at, k->wide ? (const void *)&value : (const void *)&narrow, k->wide ? sizeof value : sizeof narrow);
}

bool quota_unlimited(const struct quota_key *k, uint64_t value)
{
	return value == 0 && k->min == 0 &&
	       (k->unit == QUOTA_RATE || k->unit == QUOTA_PERCOUNT || k->unit == QUOTA_CAP);
}

void quota_text(const struct quota_key *k, uint64_t value, char out[QUOTA_TEXT])
{
	char bytes[PARSE_BYTES_TEXT];

	if (quota_unlimited(k, value)) {
		snprintf(out, QUOTA_TEXT, "unlimited");
		return;
	}
	switch (k->unit) {
	case QUOTA_BYTES:
	case QUOTA_RATE:
		parse_bytes_text(value, bytes);
		snprintf(out, QUOTA_TEXT, "%s%s", bytes, k->unit == QUOTA_RATE ? "/s" : "");
		return;
	case QUOTA_CPU:
		snprintf(out, QUOTA_TEXT, "%g %s", (double)value / 1000, value == 1000 ? "core" : "cores");
		return;
	case QUOTA_PERCOUNT:
		snprintf(out, QUOTA_TEXT, "%" PRIu64 "/s", value);
		return;
	case QUOTA_COUNT:
	case QUOTA_CAP:
	case QUOTA_WEIGHT:
	case QUOTA_UNIT_COUNT:
		break;
	}
	snprintf(out, QUOTA_TEXT, "%" PRIu64, value);
}

int quota_range(const struct quota_key *k, enum quota_of of, uint64_t v, const char *field, struct err *e)
{
	char low[QUOTA_TEXT], high[QUOTA_TEXT], is[QUOTA_TEXT];

	if (v >= k->min && v <= k->max[of])
		return 0;
	quota_text(k, k->min, low);
	quota_text(k, k->max[of], high);
	quota_text(k, v, is);
	return err_field(e, ERANGE, field, "%s: %s is outside %s to %s", field, is, low, high);
}

int quota_check(enum quota_of of, const void *p, const char *prefix, struct err *e)
{
	char field[64];
	int r;

	for (const struct quota_key *k = keys; k < keys + ARRAY_LEN(keys); k++) {
		if (!quota_has(k, of))
			continue;
		snprintf(field, sizeof field, "%s%s%s", prefix, *prefix ? "." : "", k->json);
		if ((r = quota_range(k, of, quota_get(k, of, p), field, e)) < 0)
			return r;
	}
	return 0;
}

int quota_within(const struct quota_limits *l, const struct quota *q, bool (*ask)(void *arg, const char *json),
		 void *arg, struct err *e)
{
	char one[QUOTA_TEXT], all[QUOTA_TEXT];

	for (const struct quota_key *k = keys; k < keys + ARRAY_LEN(keys); k++) {
		uint64_t a, b;
		/* A weight is a share within the tenant's, so any is fine. */
		if (!quota_has(k, QUOTA_OF_LIMITS) || !quota_has(k, QUOTA_OF_TENANT) || k->unit == QUOTA_WEIGHT ||
		    (ask && !ask(arg, k->json)))
			continue;
		a = quota_get(k, QUOTA_OF_LIMITS, l);
		b = quota_get(k, QUOTA_OF_TENANT, q);
		/* No rate of its own: the tenant's holds. */
		if (a <= b || quota_unlimited(k, a) || quota_unlimited(k, b))
			continue;
		quota_text(k, a, one);
		quota_text(k, b, all);
		return err_field(e, EDQUOT, k->json, "%s: %s is over the tenant's quota of %s", k->json, one, all);
	}
	return 0;
}

void quota_clamp(struct quota_limits *l, const struct quota *q)
{
	for (const struct quota_key *k = keys; k < keys + ARRAY_LEN(keys); k++) {
		uint64_t b;
		if (!quota_has(k, QUOTA_OF_LIMITS) || !quota_has(k, QUOTA_OF_TENANT) || k->unit == QUOTA_WEIGHT)
			continue;
		b = quota_get(k, QUOTA_OF_TENANT, q);
		if (!quota_unlimited(k, b) && quota_get(k, QUOTA_OF_LIMITS, l) > b)
			quota_set(k, QUOTA_OF_LIMITS, l, b);
	}
}

const char *quota_profile_name(enum quota_profile p)
{
	static const char *const names[QUOTA_PROFILE_COUNT] = {"default", "strict"};

	return (unsigned)p < QUOTA_PROFILE_COUNT ? names[p] : "unknown";
}

enum quota_profile quota_profile_parse(const char *s)
{
	for (unsigned i = 0; i < QUOTA_PROFILE_COUNT; i++)
		if (strcmp(s, quota_profile_name((enum quota_profile)i)) == 0)
			return (enum quota_profile)i;
	return QUOTA_PROFILE_COUNT;
}

const char *quota_egress_name(enum quota_egress_mode m)
{
	static const char *const names[QUOTA_EGRESS_MODE_COUNT] = {"none", "public", "list"};

	return (unsigned)m < QUOTA_EGRESS_MODE_COUNT ? names[m] : "unknown";
}

enum quota_egress_mode quota_egress_parse(const char *s)
{
	for (unsigned i = 0; i < QUOTA_EGRESS_MODE_COUNT; i++)
		if (strcmp(s, quota_egress_name((enum quota_egress_mode)i)) == 0)
			return (enum quota_egress_mode)i;
	return QUOTA_EGRESS_MODE_COUNT;
}

static int egress_ports(const char *s, struct quota_egress_rule *r)
{
	size_t n = strcspn(s, "-");
	uint64_t low, high;

	if (parse_u64(s, n, 1, 65535, "port", &low, NULL) < 0)
		return -EINVAL;
	high = low;
	if (s[n] && (parse_u64(s + n + 1, strlen(s + n + 1), low, 65535, "port", &high, NULL) < 0))
		return -EINVAL;
	r->port_min = (uint16_t)low;
	r->port_max = (uint16_t)high;
	return 0;
}

int quota_egress_rule_parse(const char *s, const char *field, struct quota_egress_rule *ret, struct err *e)
{
	struct quota_egress_rule r = {.port_max = 65535};
	size_t n = strcspn(s, ":");
	char net[24], safe[49];
	unsigned prefix = 32;

	if (n < sizeof net - 4) {
		memcpy(net, s, n);
		memcpy(net + n, strchr(s, '/') ? "" : "/32", strchr(s, '/') ? 1 : 4);
		if (parse_cidr4(net, field, &r.net, &prefix, NULL) == 0 &&
		    (!s[n] || egress_ports(s + n + 1, &r) == 0)) {
			r.prefix = prefix;
			*ret = r;
			return 0;
		}
	}
	utf8_escape(safe, sizeof safe, s, strlen(s));
	return err_field(e, EINVAL, field,
			 "%s: \"%s\" is no IPv4 address or network with optional ports, like 203.0.113.0/24:443 or "
			 "203.0.113.7:8000-8100",
			 field, safe);
}

bool quota_egress_is_closed(const struct quota_egress_rule *r)
{
	static const char closed[] = QUOTA_EGRESS_CLOSED;

	for (const char *p = closed; *p; p += strspn(p, ", ")) {
		size_t n = strcspn(p, ",");
		char text[24];
		uint32_t net, mask;
		unsigned prefix;

		snprintf(text, sizeof text, "%.*s", (int)n, p);
		p += n;
		if (parse_cidr4(text, "closed", &net, &prefix, NULL) < 0)
			continue;
		mask = prefix ? ~0u << (32 - prefix) : 0;
		if (r->prefix >= prefix && (r->net & mask) == net)
			return true;
	}
	return false;
}

void quota_egress_rule_text(const struct quota_egress_rule *r, char out[QUOTA_EGRESS_TEXT])
{
	int n = snprintf(out, QUOTA_EGRESS_TEXT, "%u.%u.%u.%u/%u", r->net >> 24, r->net >> 16 & 255, r->net >> 8 & 255,
			 r->net & 255, r->prefix);

	if (r->port_min == 0 && r->port_max == 65535)
		return;
	if (r->port_min == r->port_max)
		snprintf(out + n, (size_t)(QUOTA_EGRESS_TEXT - n), ":%u", r->port_min);
	else
		snprintf(out + n, (size_t)(QUOTA_EGRESS_TEXT - n), ":%u-%u", r->port_min, r->port_max);
}

static bool rule_within(const struct quota_egress_rule *a, const struct quota_egress_rule *b)
{
	uint32_t mask = b->prefix ? ~0u << (32 - b->prefix) : 0;

	return a->prefix >= b->prefix && (a->net & mask) == b->net && a->port_min >= b->port_min &&
	       a->port_max <= b->port_max;
}

void quota_egress_meet(const struct quota_egress *tenant, const struct quota_egress *app, struct quota_egress *ret)
{
	struct quota_egress out = {.mode = QUOTA_EGRESS_NONE};

	if (tenant->mode == QUOTA_EGRESS_NONE || app->mode == QUOTA_EGRESS_NONE) {
		*ret = out;
		return;
	}
	if (tenant->mode == QUOTA_EGRESS_PUBLIC || app->mode == QUOTA_EGRESS_PUBLIC) {
		*ret = app->mode == QUOTA_EGRESS_PUBLIC ? *tenant : *app;
		return;
	}
	out.mode = QUOTA_EGRESS_LIST;
	for (uint32_t i = 0; i < app->count; i++)
		for (uint32_t j = 0; j < tenant->count; j++)
			if (rule_within(&app->rules[i], &tenant->rules[j])) {
				out.rules[out.count++] = app->rules[i];
				break;
			}
	*ret = out;
}

void quota_egress_text(const struct quota_egress *g, char out[QUOTA_EGRESS_MAX])
{
	size_t n = (size_t)snprintf(out, QUOTA_EGRESS_MAX, "%s", quota_egress_name((enum quota_egress_mode)g->mode));

	for (uint32_t i = 0; i < g->count; i++) {
		out[n++] = ' ';
		quota_egress_rule_text(&g->rules[i], out + n);
		n += strlen(out + n);
	}
}

int quota_egress_read(const char *text, struct quota_egress *ret)
{
	struct quota_egress g = {0};
	char copy[QUOTA_EGRESS_MAX], *save = NULL, *word;

	if (strlen(text) >= sizeof copy)
		return -EINVAL;
	memcpy(copy, text, strlen(text) + 1);
	word = strtok_r(copy, " ", &save);
	g.mode = word ? quota_egress_parse(word) : QUOTA_EGRESS_MODE_COUNT;
	if (g.mode == QUOTA_EGRESS_MODE_COUNT)
		return -EINVAL;
	while ((word = strtok_r(NULL, " ", &save))) {
		if (g.mode != QUOTA_EGRESS_LIST || g.count == LIMIT_EGRESS_RULES ||
		    quota_egress_rule_parse(word, "egress", &g.rules[g.count], NULL) < 0)
			return -EINVAL;
		g.count++;
	}
	*ret = g;
	return 0;
}
