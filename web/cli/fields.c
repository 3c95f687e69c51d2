/* What a person writes, as the API wants it.  Layer web, program tulou. */
#include "web/cli/fields.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "config/limits.h"
#include "web/cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <strings.h>

/* All names of a kind, for the sentence that says there is no such. */
static void names_of(enum quota_of of, char out[300])
{
	const struct quota_key *k;
	size_t n = 0;

	for (unsigned i = 0; (k = quota_key(i)) && n + 20 < 300; i++)
		if (quota_has(k, of))
			n += (size_t)snprintf(out + n, 300 - n, "%s%s", n ? ", " : "", k->name);
}

/* What a list of words is for: whose numbers, what is written before their names, and what else there is. */
struct fields_of {
	enum quota_of of;
	const char *before; /* "app." */
	const char *more;   /* for the sentence that says there is no such, after the names */
	bool policy;	    /* profile, private-layers and egress as well */
};

static const struct fields_of of_limits = {QUOTA_OF_LIMITS, "", "", false};
static const struct fields_of of_quota = {QUOTA_OF_TENANT, "", "; NAME=plan gives one back to the tenant's plan",
					  false};
static const struct fields_of of_tenant = {
	QUOTA_OF_TENANT, "", ", profile, private-layers, egress, plan; NAME=plan gives one back to the tenant's plan",
	true};
static const struct fields_of of_plan = {
	QUOTA_OF_TENANT, "", ", profile, private-layers, egress; app.NAME, like app.memory, is for each instance",
	true};
static const struct fields_of of_plan_app = {QUOTA_OF_LIMITS, "app.", "", false};

/* The name that was meant: what a person would call it ("processes" for pids), its beginning, or one that is spelt
 * nearly so. */
static const char *name_meant(const struct fields_of *f, const char *name)
{
	const char *names[QUOTA_KEYS_MAX + 3];
	const struct quota_key *k;
	size_t n = 0;

	for (unsigned i = 0; (k = quota_key(i)); i++) {
		if (!quota_has(k, f->of))
			continue;
		if (strcasecmp(k->text, name) == 0)
			return k->name;
		names[n++] = k->name;
	}
	if (f->policy) {
		names[n++] = "profile";
		names[n++] = "private-layers";
		names[n++] = "egress";
	}
	for (size_t i = 0; strlen(name) >= 3 && i < n; i++)
		if (strncmp(names[i], name, strlen(name)) == 0)
			return names[i];
	return cli_nearest(name, names, n);
}

static int no_limit(const struct fields_of *f, const char *name, struct err *e)
{
	const char *meant = name_meant(f, name);
	char names[300] = "";

	names_of(f->of, names);
	return err_field(e, EINVAL, name, "there is no limit '%s%.40s'%s%s%s%s; names%s%s: %s%s", f->before, name,
			 meant ? "; did you mean '" : "", meant ? f->before : "", meant ? meant : "", meant ? "'" : "",
			 *f->before ? " after " : "", f->before, names, f->more);
}

static int limit_cpu(json_t *obj, const struct fields_of *f, const struct quota_key *k, const char *shown,
		     const char *value, struct err *e)
{
	char low[QUOTA_TEXT], high[QUOTA_TEXT], *end;
	double cores = strtod(value, &end);

	if (end == value || *end || !isfinite(cores) || !strchr("0123456789.", value[0]))
		return err_field(e, EINVAL, shown, "%s: '%.40s' is not a number of cores, like 0.5 or 2", shown, value);
	/* What was typed is said, not what it is in thousandths. */
	if (cores * 1000 + 0.5 < (double)k->min || cores * 1000 > (double)k->max[f->of] ||
	    (k->min > 0 && cores * 1000 + 0.5 < 1)) {
		quota_text(k, k->min, low);
		quota_text(k, k->max[f->of], high);
		return err_field(e, ERANGE, shown, "%s: %.40s cores is outside %s to %s", shown, value, low, high);
	}
	json_object_set_new(obj, k->json, json_real(cores));
	return 0;
}

static int limit_read(json_t *obj, const struct fields_of *f, const char *name, const char *value, struct err *e)
{
	char key[32], shown[48];
	const struct quota_key *k;
	uint64_t n = 0;

	snprintf(key, sizeof key, "%s", name);
	for (char *p = key; *p; p++)
		if (*p == '-')
			*p = '_';
	k = quota_key_find(key);
	if (!k || !quota_has(k, f->of))
		return no_limit(f, name, e);
	snprintf(shown, sizeof shown, "%s%s", f->before, name);
	if ((f == &of_quota || f == &of_tenant) && strcmp(value, "plan") == 0) {
		json_object_set_new(obj, k->json, json_null());
		return 0;
	}
	if (k->unit == QUOTA_CPU)
		return limit_cpu(obj, f, k, shown, value, e) < 0 ? -EINVAL : 0;
	if (quota_unlimited(k, 0) && strcmp(value, "unlimited") == 0)
		n = 0;
	else if (k->unit == QUOTA_BYTES || k->unit == QUOTA_RATE
			 ? parse_bytes(value, 0, INT64_MAX, shown, &n, e)
			 : parse_u64(value, strlen(value), k->min, k->max[f->of], shown, &n, e))
		return -EINVAL;
	if (quota_range(k, f->of, n, shown, e))
		return -EINVAL;
	json_object_set_new(obj, k->json, json_integer((json_int_t)n));
	return 0;
}

int cli_fields_limit(json_t *obj, enum quota_of of, const char *name, const char *value, struct err *e)
{
	return limit_read(obj, of == QUOTA_OF_TENANT ? &of_quota : &of_limits, name, value, e);
}

/* Splits "NAME=VALUE"; the value, or NULL with e set. */
static const char *word_split(const char *word, char name[40], struct err *e)
{
	const char *equals = strchr(word, '=');

	if (!equals || equals == word || !equals[1]) {
		err_set(e, EINVAL, "'%.60s': write it as NAME=VALUE, like memory=256MiB", word);
		return NULL;
	}
	snprintf(name, 40, "%.*s", (int)(equals - word), word);
	return equals + 1;
}

int cli_fields_limits(json_t *obj, enum quota_of of, char **words, int n, struct err *e)
{
	char name[40];

	for (int i = 0; i < n; i++) {
		const char *value = word_split(words[i], name, e);
		if (!value || cli_fields_limit(obj, of, name, value, e))
			return -EINVAL;
	}
	return 0;
}

int cli_fields_options(struct cli *c, json_t *obj, enum quota_of of, struct err *e)
{
	const struct quota_key *k;

	for (unsigned i = 0; (k = quota_key(i)); i++) {
		const char *value = quota_has(k, of) ? cli_value(c, k->name) : NULL;

		if (value && cli_fields_limit(obj, of, k->name, value, e))
			return -EINVAL;
	}
	return 0;
}

json_t *cli_fields_egress(const char *value, struct err *e)
{
	json_t *allow;

	if (strcmp(value, "none") == 0 || strcmp(value, "public") == 0)
		return json_pack("{s:s}", "mode", value);
	/* No destination begins with a letter: a name was meant. */
	if (!isdigit((unsigned char)value[0])) {
		parse_must_be(value, "none, public or destinations like 203.0.113.0/24:443, separated by commas",
			      "egress", e);
		return NULL;
	}
	allow = json_array();
	for (const char *p = value; *p;) {
		size_t n = strcspn(p, ",");
		struct quota_egress_rule rule;
		char one[64];

		snprintf(one, sizeof one, "%.*s", (int)n, p);
		if (quota_egress_rule_parse(one, "egress", &rule, e) < 0) {
			json_decref(allow);
			return NULL;
		}
		json_array_append_new(allow, json_string(one));
		p += n + (p[n] == ',');
	}
	return json_pack("{s:s, s:o}", "mode", "list", "allow", allow);
}

static int policy_flag(json_t *body, const char *value, struct err *e)
{
	bool yes = strcmp(value, "yes") == 0;

	if (!yes && strcmp(value, "no") != 0)
		return err_field(e, EINVAL, "private-layers", "private-layers: say yes or no");
	return json_object_set_new(body, "private_layers", json_boolean(yes));
}

/* The JSON name of what a policy says beside numbers; NULL when it is none. */
static const char *policy_key(const char *name)
{
	if (strcmp(name, "private-layers") == 0 || strcmp(name, "private_layers") == 0)
		return "private_layers";
	return strcmp(name, "profile") == 0 ? "profile" : strcmp(name, "egress") == 0 ? "egress" : NULL;
}

int cli_fields_policy(json_t *body, char **words, int n, enum cli_fields_of of, struct err *e)
{
	char name[40];

	for (int i = 0; i < n; i++) {
		const char *value = word_split(words[i], name, e), *in = "quota", *key = name;
		const struct fields_of *numbers = of == CLI_FIELDS_OF_PLAN ? &of_plan : &of_tenant;
		json_t *obj;

		if (!value)
			return -EINVAL;
		if (of == CLI_FIELDS_OF_TENANT && strcmp(value, "plan") == 0 && policy_key(name)) {
			json_object_set_new(body, policy_key(name), json_null());
			continue;
		}
		if (strcmp(name, "profile") == 0) {
			json_object_set_new(body, "profile", json_string(value));
			continue;
		}
		if (strcmp(name, "private-layers") == 0 || strcmp(name, "private_layers") == 0) {
			if (policy_flag(body, value, e))
				return -EINVAL;
			continue;
		}
		if (strcmp(name, "egress") == 0) {
			obj = cli_fields_egress(value, e);
			if (!obj)
				return -EINVAL;
			json_object_set_new(body, "egress", obj);
			continue;
		}
		if (of == CLI_FIELDS_OF_TENANT && strcmp(name, "plan") == 0) {
			json_object_set_new(body, "plan",
					    strcmp(value, "none") == 0 ? json_null() : json_string(value));
			continue;
		}
		if (of == CLI_FIELDS_OF_PLAN && strncmp(name, "app.", 4) == 0) {
			in = "limits";
			key = name + 4;
			numbers = &of_plan_app;
		}
		obj = json_object_get(body, in);
		if (!obj) {
			json_object_set_new(body, in, json_object());
			obj = json_object_get(body, in);
		}
		if (limit_read(obj, numbers, key, value, e))
			return -EINVAL;
	}
	return 0;
}

int cli_fields_formation(json_t *obj, char **words, int n, struct err *e)
{
	for (int i = 0; i < n; i++) {
		char *equals = strchr(words[i], '=');
		char type[LIMIT_TYPE_NAME + 2];
		uint64_t count;

		if (!equals)
			return err_set(e, EINVAL, "'%.60s': write it as TYPE=N, like web=2", words[i]);
		snprintf(type, sizeof type, "%.*s", (int)(equals - words[i]), words[i]);
		if (parse_name(type, LIMIT_TYPE_NAME, "type", e) ||
		    parse_u64(equals + 1, strlen(equals + 1), 0, LIMIT_INSTANCES_PER_TYPE, type, &count, e))
			return -EINVAL;
		json_object_set_new(obj, type, json_integer((json_int_t)count));
	}
	return 0;
}

static bool is_key(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(s[i] >= '0' && s[i] <= '9' && i > 0) && !((s[i] | 32) >= 'a' && (s[i] | 32) <= 'z') &&
		    s[i] != '_')
			return false;
	return true;
}

int cli_fields_config(json_t *obj, char **words, int n, bool null_values, struct err *e)
{
	for (int i = 0; i < n; i++) {
		char *equals = strchr(words[i], '=');
		char key[LIMIT_CONFIG_KEY + 2];
		size_t len = equals && !null_values ? (size_t)(equals - words[i]) : strlen(words[i]);

		if (!equals && !null_values)
			return err_set(e, EINVAL, "'%.60s': write it as KEY=VALUE", words[i]);
		if (len == 0 || len > LIMIT_CONFIG_KEY || !is_key(words[i], len))
			return err_field(e, EINVAL, "key",
					 "'%.*s': a key is 1 to %u letters, digits and _, not beginning with a digit",
					 (int)(len > 60 ? 60 : len), words[i], LIMIT_CONFIG_KEY);
		memcpy(key, words[i], len);
		key[len] = 0;
		if (!null_values && strlen(equals + 1) > LIMIT_CONFIG_VALUE)
			return err_field(e, ERANGE, "value", "%s: the value is longer than %u bytes", key,
					 LIMIT_CONFIG_VALUE);
		if (!null_values && !utf8_valid(equals + 1, strlen(equals + 1)))
			return err_field(e, EINVAL, "value", "%s: the value is not UTF-8 text", key);
		json_object_set_new(obj, key, null_values ? json_null() : json_string(equals + 1));
	}
	return 0;
}
