/* The app's own files.  Layer config, control process.  All input is a tenant's. */
#include "config/appfile.h"

#include "base/json.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "config/yaml.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void appfile_init(struct appfile *a)
{
	memset(a, 0, sizeof *a);
	a->env = json_object();
}

void appfile_done(struct appfile *a)
{
	json_decref(a->env);
	a->env = NULL;
}

/* Puts file (and, as a field, file.path) before an error that was made without them; text is kept. */
static int appfile_wrap(struct err *e, const char *file, int r)
{
	if (!e)
		return r;
	if (!e->field[0])
		snprintf(e->field, sizeof e->field, "%s", file);
	err_wrap(e, "%s", file);
	return r;
}

/* A name out of a tenant's file, safe to be shown. */
struct shown {
	char text[64];
};
static struct shown appfile_shown(const char *s)
{
	struct shown out = {0};

	utf8_escape(out.text, sizeof out.text, s, strlen(s));
	return out;
}

/* A command is one line of text; tabs are allowed. */
static int appfile_command(const char *s, size_t n, const char *field, char out[LIMIT_COMMAND + 1], struct err *e)
{
	while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		n--;
	while (n && (*s == ' ' || *s == '\t'))
		s++, n--;
	if (n == 0)
		return err_field(e, EINVAL, field, "%s: the command is empty", field);
	if (n > LIMIT_COMMAND)
		return err_field(e, ERANGE, field, "%s: a command of %zu bytes is over the limit of %d", field, n,
				 LIMIT_COMMAND);
	if (!utf8_valid(s, n))
		return err_field(e, EINVAL, field, "%s: the command must be UTF-8 text", field);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 && s[i] != '\t')
			return err_field(e, EINVAL, field,
					 "%s: the command must be one line without control characters", field);
	memcpy(out, s, n);
	out[n] = 0;
	return 0;
}

/* Adds a type, or replaces its command; "release" is no process type but the command of the release phase. */
static int appfile_type_set(struct appfile *a, const char *name, const char *command, size_t n, bool replace,
			    const char *field, struct err *e)
{
	struct appfile_type *t = NULL;
	char checked[LIMIT_COMMAND + 1];
	int r = parse_name(name, LIMIT_TYPE_NAME, field, e);

	if (r == 0)
		r = appfile_command(command, n, field, checked, e);
	if (r < 0)
		return r;
	if (strcmp(name, "release") == 0) {
		if (replace || !a->release_command[0])
			memcpy(a->release_command, checked, strlen(checked) + 1);
		return 0;
	}
	for (unsigned i = 0; i < a->type_count; i++)
		if (strcmp(a->types[i].name, name) == 0)
			t = &a->types[i];
	if (t && !replace)
		return 0;
	if (!t) {
		if (a->type_count == LIMIT_TYPES)
			return err_field(e, E2BIG, field, "%s: more than %d process types", field, LIMIT_TYPES);
		t = &a->types[a->type_count++];
		memcpy(t->name, name, strlen(name) + 1);
	}
	memcpy(t->command, checked, strlen(checked) + 1);
	return 0;
}

static int appfile_formation_set(struct appfile *a, const char *name, uint64_t count, const char *field, struct err *e)
{
	struct appfile_formation *f = NULL;
	int r = parse_name(name, LIMIT_TYPE_NAME, field, e);

	if (r < 0)
		return r;
	if (count > LIMIT_INSTANCES_PER_TYPE)
		return err_field(e, ERANGE, field, "%s: %" PRIu64 " is outside 0..%d", field, count,
				 LIMIT_INSTANCES_PER_TYPE);
	for (unsigned i = 0; i < a->formation_count; i++)
		if (strcmp(a->formation[i].name, name) == 0)
			f = &a->formation[i];
	if (!f) {
		if (a->formation_count == LIMIT_TYPES)
			return err_field(e, E2BIG, field, "%s: more than %d process types", field, LIMIT_TYPES);
		f = &a->formation[a->formation_count++];
		memcpy(f->name, name, strlen(name) + 1);
	}
	f->count = (uint32_t)count;
	return 0;
}

static int appfile_env_set(struct appfile *a, const char *key, json_t *value, bool replace, const char *field,
			   struct err *e)
{
	size_t n = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"), total = 0;
	const char *k;
	json_t *v;

	if (n == 0 || key[n] || n > LIMIT_CONFIG_KEY || (key[0] >= '0' && key[0] <= '9'))
		return err_field(e, EINVAL, field,
				 "%s: a name must be 1 to %d of A-Z, a-z, 0-9 and '_', not beginning with a digit",
				 field, LIMIT_CONFIG_KEY);
	if (!json_is_string(value))
		return err_field(e, EINVAL, field, "%s: expected a string", field);
	if (json_string_length(value) > LIMIT_CONFIG_VALUE)
		return err_field(e, ERANGE, field, "%s: %zu bytes are over the limit of %d", field,
				 json_string_length(value), LIMIT_CONFIG_VALUE);
	if (!utf8_valid(json_string_value(value), json_string_length(value)))
		return err_field(e, EINVAL, field, "%s: must be UTF-8 text without NUL", field);
	if (json_object_get(a->env, key) && !replace)
		return 0;
	if (json_object_set(a->env, key, value) < 0)
		return err_set(e, ENOMEM, "out of memory");
	json_object_foreach(a->env, k, v) total += strlen(k) + json_string_length(v) + 2;
	if (json_object_size(a->env) > LIMIT_CONFIG_VARS || total > LIMIT_CONFIG_TOTAL)
		return err_field(e, E2BIG, field, "%s: more than %d config vars, or more than %d bytes of them", field,
				 LIMIT_CONFIG_VARS, LIMIT_CONFIG_TOTAL);
	return 0;
}

static int appfile_health_set(struct appfile *a, const char *path, const char *field, struct err *e)
{
	size_t n = path ? strlen(path) : 0;
	bool good = n > 0 && n < sizeof a->health_path && path[0] == '/';

	for (size_t i = 0; good && i < n; i++)
		good = (unsigned char)path[i] > 0x20 && (unsigned char)path[i] < 0x7f;
	if (!good)
		return err_field(e, EINVAL, field,
				 "%s: must begin with '/' and have at most %zu printable ASCII characters", field,
				 sizeof a->health_path - 1);
	memcpy(a->health_path, path, n + 1);
	return 0;
}

static int appfile_procfile_line(const char *s, size_t n, unsigned line, struct appfile *a, struct err *e)
{
	char name[LIMIT_TYPE_NAME + 2], where[40], type[80];
	const char *colon;
	size_t k;
	int r;

	snprintf(where, sizeof where, "line %u", line);
	while (n && (*s == ' ' || *s == '\t'))
		s++, n--;
	if (n == 0 || *s == '#')
		return 0;
	colon = memchr(s, ':', n);
	if (!colon)
		return err_field(e, EINVAL, "Procfile", "%s: expected \"type: command\", for example \"web: ./server\"",
				 where);
	k = (size_t)(colon - s);
	while (k && (s[k - 1] == ' ' || s[k - 1] == '\t'))
		k--;
	/* One byte too many is kept, so that parse_name refuses the name rather than a cut one being taken. */
	snprintf(name, sizeof name, "%.*s", (int)(k < sizeof name ? k : sizeof name - 1), s);
	snprintf(type, sizeof type, "%s: the name of a process type", where);
	r = parse_name(name, LIMIT_TYPE_NAME, type, e);
	if (r < 0)
		return r;
	return appfile_type_set(a, name, colon + 1, n - (size_t)(colon + 1 - s), true, where, e);
}

int appfile_procfile(const char *text, size_t n, struct appfile *a, struct err *e)
{
	const char *end = text + n;
	unsigned line = 0;
	int r = 0;

	if (n > LIMIT_MANIFEST_BYTES)
		return err_field(e, E2BIG, "Procfile", "Procfile: %zu bytes are over the limit of %u", n,
				 LIMIT_MANIFEST_BYTES);
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3; /* the byte order mark of some editors */
	while (text < end && r == 0) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t len = (size_t)((nl ? nl : end) - text);
		size_t plain = len && text[len - 1] == '\r' ? len - 1 : len;
		r = appfile_procfile_line(text, plain, ++line, a, e);
		text += len + 1;
	}
	if (r < 0 && e)
		snprintf(e->field, sizeof e->field, "Procfile");
	return r < 0 ? appfile_wrap(e, "Procfile", r) : 0;
}

/* An object of the file, or NULL in *ret when it is not there; a wrong type is refused. */
static int appfile_object(json_t *root, const char *file, const char *key, json_t **ret, struct err *e)
{
	json_t *v = json_object_get(root, key);
	char field[64];

	snprintf(field, sizeof field, "%s.%s", file, key);
	*ret = NULL;
	if (v && !json_is_null(v) && !json_is_object(v))
		return err_field(e, EINVAL, field, "%s: expected names and values below it", field);
	*ret = v && json_is_object(v) ? v : NULL;
	return 0;
}

int appfile_release_yml(const char *text, size_t n, struct appfile *a, struct err *e)
{
	OWN_JSON json_t *root = yaml_read(text, n, LIMIT_MANIFEST_BYTES, e);
	json_t *types, *vars, *v;
	const char *key;
	char field[128];
	int r;

	if (!root)
		return appfile_wrap(e, "release.yml", e && e->code ? -e->code : -EINVAL);
	if (!json_is_object(root))
		return err_field(e, EINVAL, "release.yml",
				 "release.yml: expected default_process_types and config_vars");
	r = appfile_object(root, "release.yml", "default_process_types", &types, e);
	if (r == 0)
		r = appfile_object(root, "release.yml", "config_vars", &vars, e);
	if (r < 0)
		return r;
	json_object_foreach(types, key, v)
	{
		snprintf(field, sizeof field, "release.yml.default_process_types.%s", appfile_shown(key).text);
		if (!json_is_string(v))
			return err_field(e, EINVAL, field, "%s: expected a command", field);
		r = appfile_type_set(a, key, json_string_value(v), json_string_length(v), false, field, e);
		if (r < 0)
			return r;
	}
	json_object_foreach(vars, key, v)
	{
		snprintf(field, sizeof field, "release.yml.config_vars.%s", appfile_shown(key).text);
		r = appfile_env_set(a, key, v, false, field, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* healthchecks: {"web": [{"type": "startup", "path": "/up"}]}: the first path counts. */
static int appfile_json_health(json_t *checks, struct appfile *a, struct err *e)
{
	json_t *list = json_object_get(checks, "web"), *check;
	size_t i;

	if (list && !json_is_array(list))
		return err_field(e, EINVAL, "app.json.healthchecks.web",
				 "app.json.healthchecks.web: expected an array");
	json_array_foreach(list, i, check)
	{
		json_t *path = json_object_get(check, "path");
		if (path)
			return appfile_health_set(a, json_string_value(path), "app.json.healthchecks.web.path", e);
	}
	return 0;
}

static int appfile_json_env(json_t *env, struct appfile *a, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach(env, key, v)
	{
		char field[128];
		int r;
		snprintf(field, sizeof field, "app.json.env.%s", appfile_shown(key).text);
		if (json_is_object(v)) {
			v = json_object_get(v, "value");
			if (!v) /* only described: its owner sets it */
				continue;
		}
		r = appfile_env_set(a, key, v, true, field, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int appfile_json_formation(json_t *formation, struct appfile *a, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach(formation, key, v)
	{
		json_t *quantity = json_object_get(v, "quantity");
		char field[128], inner[144];
		int r;
		snprintf(field, sizeof field, "app.json.formation.%s", appfile_shown(key).text);
		snprintf(inner, sizeof inner, "%s.quantity", field);
		if (!json_is_object(v))
			return err_field(e, EINVAL, field, "%s: expected an object like {\"quantity\": 1}", field);
		if (!quantity)
			continue;
		if (!json_is_integer(quantity) || json_integer_value(quantity) < 0)
			return json_not_whole(quantity, inner, 0, LIMIT_INSTANCES_PER_TYPE, e);
		r = appfile_formation_set(a, key, (uint64_t)json_integer_value(quantity), field, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int appfile_app_json(const char *text, size_t n, struct appfile *a, struct err *e)
{
	OWN_JSON json_t *root = json_read(text, n, LIMIT_MANIFEST_BYTES, e);
	json_t *env, *formation, *checks;
	int r;

	if (!root)
		return appfile_wrap(e, "app.json", e && e->code ? -e->code : -EINVAL);
	if (!json_is_object(root))
		return err_field(e, EINVAL, "app.json", "app.json: expected a JSON object");
	r = appfile_object(root, "app.json", "env", &env, e);
	if (r == 0)
		r = appfile_object(root, "app.json", "formation", &formation, e);
	if (r == 0)
		r = appfile_object(root, "app.json", "healthchecks", &checks, e);
	if (r == 0)
		r = appfile_json_env(env, a, e);
	if (r == 0)
		r = appfile_json_formation(formation, a, e);
	if (r == 0)
		r = appfile_json_health(checks, a, e);
	return r;
}

/* Refuses what is not in the list. */
static int appfile_only(json_t *obj, const char *prefix, const char *const *keys, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach(obj, key, v)
	{
		const char *const *k = keys;
		char field[128];
		while (*k && strcmp(*k, key) != 0)
			k++;
		if (*k)
			continue;
		snprintf(field, sizeof field, "%s.%s", prefix, appfile_shown(key).text);
		return err_field(e, EINVAL, field, "%s: unknown key", field);
	}
	return 0;
}

static int appfile_yaml_formation(json_t *formation, struct appfile *a, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach(formation, key, v)
	{
		const char *s = json_string_value(v);
		uint64_t count = 0;
		char field[128];
		int r;
		snprintf(field, sizeof field, "tulou.yaml.formation.%s", appfile_shown(key).text);
		r = s ? parse_u64(s, strlen(s), 0, LIMIT_INSTANCES_PER_TYPE, field, &count, e)
		      : json_not_whole(v, field, 0, LIMIT_INSTANCES_PER_TYPE, e);
		if (r == 0)
			r = appfile_formation_set(a, key, count, field, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int appfile_yaml_health(json_t *health, struct appfile *a, struct err *e)
{
	static const char *const keys[] = {"path", "interval", "failures", NULL};
	const json_t *path = json_object_get(health, "path"), *every = json_object_get(health, "interval"),
		     *failures = json_object_get(health, "failures");
	uint64_t v = 0;
	int r = appfile_only(health, "tulou.yaml.health", keys, e);

	if (r == 0 && path)
		r = appfile_health_set(a, json_string_value(path), "tulou.yaml.health.path", e);
	if (r == 0 && every) {
		const char *field = "tulou.yaml.health.interval", *s = json_string_value(every);
		r = s ? parse_duration_ms(s, LIMIT_HEALTH_EVERY_MIN_MS, LIMIT_HEALTH_EVERY_MAX_MS, field, &v, e)
		      : err_field(e, EINVAL, field, "%s: expected a time like 10s", field);
		a->health_every_ms = r == 0 ? (uint32_t)v : 0;
	}
	if (r == 0 && failures) {
		const char *field = "tulou.yaml.health.failures", *s = json_string_value(failures);
		r = s ? parse_u64(s, strlen(s), 1, LIMIT_HEALTH_FAILURES, field, &v, e)
		      : err_field(e, EINVAL, field, "%s: expected a whole number", field);
		a->health_failures = r == 0 ? (uint32_t)v : 0;
	}
	return r;
}

static int appfile_protocol(const json_t *v, struct appfile *a, struct err *e)
{
	char is[JSON_SHOWN];
	const char *s = json_is_string(v) ? json_string_value(v) : json_shown(v, is);

	if (!v)
		return 0;
	if (strcmp(s, "http/1.1") != 0 && strcmp(s, "h2c") != 0)
		return parse_must_be(s, "http/1.1 or h2c", "tulou.yaml.protocol", e);
	a->h2c = strcmp(s, "h2c") == 0;
	return 0;
}

int appfile_tulou_yaml(const char *text, size_t n, struct appfile *a, struct err *e)
{
	static const char *const top[] = {"health", "formation", "release", "listen", "protocol", "rollout", NULL};
	OWN_JSON json_t *root = yaml_read(text, n, LIMIT_MANIFEST_BYTES, e);
	json_t *health, *formation, *release, *listen, *rollout;
	char is[JSON_SHOWN];
	int r;

	if (!root)
		return appfile_wrap(e, "tulou.yaml", e && e->code ? -e->code : -EINVAL);
	if (!json_is_object(root))
		return err_field(e, EINVAL, "tulou.yaml", "tulou.yaml: expected keys like \"health: { path: /up }\"");
	r = appfile_only(root, "tulou.yaml", top, e);
	if (r == 0)
		r = appfile_object(root, "tulou.yaml", "health", &health, e);
	if (r == 0)
		r = appfile_object(root, "tulou.yaml", "formation", &formation, e);
	if (r == 0)
		r = appfile_yaml_health(health, a, e);
	if (r == 0)
		r = appfile_yaml_formation(formation, a, e);
	release = json_object_get(root, "release");
	if (r == 0 && release)
		r = json_is_string(release)
			    ? appfile_command(json_string_value(release), json_string_length(release),
					      "tulou.yaml.release", a->release_command, e)
			    : err_field(e, EINVAL, "tulou.yaml.release", "tulou.yaml.release: expected a command");
	listen = json_object_get(root, "listen");
	if (r == 0 && listen) {
		const char *how = json_is_string(listen) ? json_string_value(listen) : json_shown(listen, is);
		a->listen_unix = strcmp(how, "unix") == 0;
		if (!a->listen_unix && strcmp(how, "tcp") != 0)
			r = parse_must_be(how, "tcp or unix", "tulou.yaml.listen", e);
	}
	if (r == 0)
		r = appfile_protocol(json_object_get(root, "protocol"), a, e);
	rollout = json_object_get(root, "rollout");
	a->hold = rollout && json_is_string(rollout) && strcmp(json_string_value(rollout), "hold") == 0;
	if (r == 0 && rollout && !a->hold &&
	    (!json_is_string(rollout) || strcmp(json_string_value(rollout), "start-first") != 0))
		r = parse_must_be(json_is_string(rollout) ? json_string_value(rollout) : json_shown(rollout, is),
				  "start-first or hold", "tulou.yaml.rollout", e);
	return r;
}
