/* The app's own files: Procfile, the buildpack's release YAML, app.json and tulou.yaml.  Layer config, control process.
 * All four are a tenant's bytes: every length, count and nesting is checked here, and nothing is executed or expanded.
 *
 * Read them in the order  appfile_tulou_yaml, appfile_app_json, appfile_procfile, appfile_release_yml  or any other:
 * a Procfile line replaces a type of the same name, release.yml only adds types that are missing, and of formation,
 * health path and release command the later file wins.  A file that is refused may have filled part of *a: throw the
 * whole build away then. */
#ifndef TULOU_CONFIG_APPFILE_H
#define TULOU_CONFIG_APPFILE_H

#include "base/err.h"
#include "config/limits.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

struct appfile_type {
	char name[LIMIT_TYPE_NAME + 1];
	char command[LIMIT_COMMAND + 1];
};

struct appfile_formation {
	char name[LIMIT_TYPE_NAME + 1];
	uint32_t count; /* 0..LIMIT_INSTANCES_PER_TYPE */
};

struct appfile {
	struct appfile_type types[LIMIT_TYPES];
	unsigned type_count;
	struct appfile_formation formation[LIMIT_TYPES];
	unsigned formation_count;
	char health_path[256];			 /* "" = not given; begins with '/' */
	uint32_t health_every_ms;		 /* a running instance is asked for it too; 0 = only at its start */
	uint32_t health_failures;		 /* in a row, before it is sick; 0 = not given */
	bool hold;				 /* rollout: hold */
	char release_command[LIMIT_COMMAND + 1]; /* "" = none; also what a Procfile calls type "release" */
	bool h2c;				 /* protocol: h2c, HTTP/2 without TLS; else http/1.1 */
	bool listen_unix;			 /* the web process listens on a unix socket, whose path is $PORT */
	json_t *env; /* owned; default config vars, an object of strings, never NULL after appfile_init */
};

/* Fills an empty description. */
void appfile_init(struct appfile *a);
void appfile_done(struct appfile *a);

/* All four: 0, or -EINVAL / -ERANGE / -E2BIG / -ENOMEM with e->field = "Procfile", "app.json.env",
 * "tulou.yaml.health.path", … and the line where there is one.  text need not be NUL-terminated. */

/* "type: command" lines; empty lines and lines that begin with '#' are skipped.  Type names: parse_name, at most
 * LIMIT_TYPE_NAME bytes; '_' is refused because the name becomes part of host-side names. */
int appfile_procfile(const char *text, size_t n, struct appfile *a, struct err *e);

/* A buildpack's bin/release: default_process_types and config_vars; "addons" and other keys are ignored as Heroku does.
 */
int appfile_release_yml(const char *text, size_t n, struct appfile *a, struct err *e);

/* Heroku's app.json: env (a string, or an object with "value"), formation.TYPE.quantity, healthchecks.web[].path.  All
 * else in it (name, addons, buildpacks, scripts.postdeploy, …) is for Heroku's own forms and ignored. */
int appfile_app_json(const char *text, size_t n, struct appfile *a, struct err *e);

/* tulou.yaml, strict: health: {path, interval, failures}, formation: {web: 2}, release: command, listen: tcp or unix,
 * protocol: http/1.1 or h2c, rollout: start-first or hold. */
int appfile_tulou_yaml(const char *text, size_t n, struct appfile *a, struct err *e);

#endif
