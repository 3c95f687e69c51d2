/* What a person writes, as the API wants it.  Layer web, program tulou. */
#include "web/cli/fields.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "config/limits.h"
#include "web/cli/cli.h"

#include <errno.h>
#include <math.h>
#include <string.h>

int cli_fields_limit(json_t *obj, const char *name, const char *value, struct err *e)
{
	uint64_t n;
	char *end;

	if (strcmp(name, "memory") == 0 || strcmp(name, "disk") == 0) {
		char key[32];

		if (parse_bytes(value, 0, INT64_MAX, name, &n, e))
			return -EINVAL;
		snprintf(key, sizeof key, "%s_bytes", name);
		json_object_set_new(obj, key, json_integer((json_int_t)n));
	} else if (strcmp(name, "cpu") == 0) {
		double cores = strtod(value, &end);

		if (end == value || *end || !isfinite(cores) || cores <= 0 || !strchr("0123456789.", value[0]))
			return err_field(e, EINVAL, name, "cpu: '%.40s' is not a number of cores, like 0.5 or 2",
					 value);
		json_object_set_new(obj, name, json_real(cores));
	} else {
		if (parse_u64(value, strlen(value), 0, INT64_MAX, name, &n, e))
			return -EINVAL;
		json_object_set_new(obj, name, json_integer((json_int_t)n));
	}
	return 0;
}

static bool is_known(const char *name, const char *const *known)
{
	for (; *known; known++)
		if (strcmp(*known, name) == 0)
			return true;
	return false;
}

int cli_fields_limits(json_t *obj, char **words, int n, const char *const *known, struct err *e)
{
	char names[200] = "";

	for (const char *const *k = known; *k; k++)
		snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", k == known ? "" : ", ", *k);
	for (int i = 0; i < n; i++) {
		char *equals = strchr(words[i], '=');
		char name[32];

		if (!equals || equals == words[i] || !equals[1])
			return err_set(e, EINVAL, "'%.60s': write it as NAME=VALUE, like memory=256MiB; names: %s",
				       words[i], names);
		snprintf(name, sizeof name, "%.*s", (int)(equals - words[i]), words[i]);
		if (!is_known(name, known))
			return err_field(e, EINVAL, name, "there is no limit '%s'; names: %s", name, names);
		if (cli_fields_limit(obj, name, equals + 1, e))
			return -EINVAL;
	}
	return 0;
}

int cli_fields_options(struct cli *c, json_t *obj, const char *const *known, struct err *e)
{
	for (; *known; known++) {
		const char *value = cli_value(c, *known);

		if (value && cli_fields_limit(obj, *known, value, e))
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
