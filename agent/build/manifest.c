/* What a finished build says about itself.  Layer agent, control process. */
#include "agent/build/manifest.h"

#include "base/json.h"
#include "base/own.h"
#include "base/parse.h"

#include <errno.h>
#include <string.h>

enum manifest_name {
	MANIFEST_TULOU_YAML,
	MANIFEST_APP_JSON,
	MANIFEST_PROCFILE,
	MANIFEST_RELEASE_YML,
	MANIFEST_META,
	MANIFEST_COUNT
};

static const char *const manifest_names[MANIFEST_COUNT] = {"tulou.yaml", "app.json", "Procfile", "release.yml", "meta"};

struct manifest_file {
	const char *p; /* NULL = absent */
	size_t n;
};

void manifest_init(struct manifest *m)
{
	*m = (struct manifest){0};
	appfile_init(&m->app);
}

void manifest_done(struct manifest *m)
{
	appfile_done(&m->app);
}

/* "key=value" lines of the driver's own. */
static void manifest_meta(struct manifest *m, const struct manifest_file *f)
{
	for (const char *p = f->p, *end = f->p + f->n; p && p < end;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((nl ? nl : end) - p);

		if (n > 10 && memcmp(p, "buildpack=", 10) == 0 && n - 10 < sizeof m->buildpack) {
			memcpy(m->buildpack, p + 10, n - 10);
			m->buildpack[n - 10] = 0;
		}
		if (n == 9 && memcmp(p, "profile=1", 9) == 0)
			m->profile = true;
		p = nl ? nl + 1 : end;
	}
	if (m->buildpack[0] && parse_name(m->buildpack, sizeof m->buildpack - 1, "buildpack", NULL) < 0)
		m->buildpack[0] = 0;
}

static int manifest_split(const char *p, size_t n, struct manifest_file files[MANIFEST_COUNT], struct err *e)
{
	while (n) {
		const char *nl = memchr(p, '\n', n < 64 ? n : 64),
			   *space = nl ? memchr(p, ' ', (size_t)(nl - p)) : NULL;
		unsigned i = 0;
		uint64_t size;

		if (!space ||
		    parse_u64(space + 1, (size_t)(nl - space - 1), 0, LIMIT_MANIFEST_BYTES, "size", &size, NULL) < 0)
			return err_set(e, EINVAL, "the build's manifest is malformed");
		while (i < MANIFEST_COUNT && (strlen(manifest_names[i]) != (size_t)(space - p) ||
					      memcmp(manifest_names[i], p, (size_t)(space - p)) != 0))
			i++;
		n -= (size_t)(nl + 1 - p);
		p = nl + 1;
		if (i == MANIFEST_COUNT || files[i].p || size > n)
			return err_set(e, EINVAL, "the build's manifest is malformed");
		files[i] = (struct manifest_file){p, (size_t)size};
		p += size;
		n -= size;
	}
	return 0;
}

int manifest_parse(const char *p, size_t n, struct manifest *m, struct err *e)
{
	typedef int parse_fn(const char *text, size_t n, struct appfile *a, struct err *e);
	static parse_fn *const parsers[MANIFEST_COUNT] = {appfile_tulou_yaml, appfile_app_json, appfile_procfile,
							  appfile_release_yml, NULL};
	struct manifest_file files[MANIFEST_COUNT] = {0};
	int r = manifest_split(p, n, files, e);

	for (unsigned i = 0; r == 0 && i < MANIFEST_COUNT; i++)
		if (files[i].p && parsers[i])
			r = parsers[i](files[i].p, files[i].n, &m->app, e);
	if (r == 0)
		manifest_meta(m, &files[MANIFEST_META]);
	return r;
}

char *manifest_types_json(const struct manifest *m)
{
	OWN_JSON json_t *types = json_object();

	for (unsigned i = 0; i < m->app.type_count; i++)
		if (strcmp(m->app.types[i].name, "release") != 0)
			json_object_set_new(types, m->app.types[i].name, json_string(m->app.types[i].command));
	return json_dumps(types, JSON_COMPACT);
}

char *manifest_app_json(const struct manifest *m)
{
	OWN_JSON json_t *app = json_object();

	if (m->app.health_path[0])
		json_object_set_new(app, "health_path", json_string(m->app.health_path));
	if (m->app.health_every_ms)
		json_object_set_new(app, "health_every_ms", json_integer(m->app.health_every_ms));
	if (m->app.health_failures)
		json_object_set_new(app, "health_failures", json_integer(m->app.health_failures));
	if (m->app.h2c)
		json_object_set_new(app, "protocol", json_string("h2c"));
	if (m->app.listen_unix)
		json_object_set_new(app, "listen", json_string("unix"));
	if (m->app.release_command[0])
		json_object_set_new(app, "release", json_string(m->app.release_command));
	if (m->app.hold)
		json_object_set_new(app, "rollout", json_string("hold"));
	if (m->profile)
		json_object_set_new(app, "profile", json_true());
	if (json_object_size(m->app.env))
		json_object_set(app, "env", m->app.env);
	return json_dumps(app, JSON_COMPACT);
}
