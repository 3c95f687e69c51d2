/* The app's own files. */
#include "config/appfile.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int appfile_fn(const char *text, size_t n, struct appfile *a, struct err *e);

static struct appfile a;
static struct err e;

static int feed(appfile_fn *fn, const char *text)
{
	memset(&e, 0, sizeof e);
	return fn(text, strlen(text), &a, &e);
}

static const char *command(const char *type)
{
	for (unsigned i = 0; i < a.type_count; i++)
		if (strcmp(a.types[i].name, type) == 0)
			return a.types[i].command;
	return NULL;
}

static long wanted(const char *type)
{
	for (unsigned i = 0; i < a.formation_count; i++)
		if (strcmp(a.formation[i].name, type) == 0)
			return a.formation[i].count;
	return -1;
}

static const char *env(const char *key)
{
	return json_string_value(json_object_get(a.env, key));
}

Test(config, procfile)
{
	appfile_init(&a);
	cr_assert_eq(feed(appfile_procfile, "\xef\xbb\xbf# comment\n\nweb:  python app.py --port $PORT \t\r\n  worker "
					    ": a: b\nrelease: ./migrate\nweb: second"),
		     0, "%s", e.text);
	cr_assert_eq(a.type_count, 2);
	cr_assert_str_eq(command("web"), "second");
	cr_assert_str_eq(command("worker"), "a: b");
	cr_assert_str_eq(a.release_command, "./migrate");
	cr_assert_eq(feed(appfile_procfile, ""), 0);
	appfile_done(&a);
}

Test(config, procfile_refusals)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"web", "line 1"},
		{"ok: x\n\nweb python", "line 3"},
		{"web:", "empty"},
		{"web:   \n", "empty"},
		{"Web: x", "line 1: the name of a process type: must be 1 to "},
		{"Web: x", "not \"Web\""},
		{"a_b: x", "line 1"},
		{"abcdefghijklmnopq: x", "16"},
		{": x", "line 1"},
		{"web: a\x01"
		 "b",
		 "control"},
		{"web: \xff", "UTF-8"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		appfile_init(&a);
		cr_assert_eq(feed(appfile_procfile, rows[i].text), -EINVAL, "%s", rows[i].text);
		cr_assert_str_eq(e.field, "Procfile");
		cr_assert_eq(strncmp(e.text, "Procfile: ", 10), 0, "%s", e.text);
		cr_assert(strstr(e.text, rows[i].says), "%s: %s", rows[i].text, e.text);
		appfile_done(&a);
	}
	appfile_init(&a);
	cr_assert_eq(appfile_procfile("web: a\0b", 8, &a, &e), -EINVAL, "NUL");
	char *big = malloc(LIMIT_COMMAND + 20);
	snprintf(big, LIMIT_COMMAND + 20, "web: %0*d", LIMIT_COMMAND + 1, 0);
	cr_assert_eq(feed(appfile_procfile, big), -ERANGE);
	snprintf(big, LIMIT_COMMAND + 20, "web: %0*d", LIMIT_COMMAND, 0);
	cr_assert_eq(feed(appfile_procfile, big), 0);
	free(big);
	char many[LIMIT_TYPES * 16 + 64] = "";
	for (int i = 0; i < LIMIT_TYPES + 1; i++)
		snprintf(many + strlen(many), sizeof many - strlen(many), "t%d: x\n", i);
	cr_assert_eq(feed(appfile_procfile, many), -E2BIG);
	cr_assert_eq(a.type_count, LIMIT_TYPES);
	cr_assert_eq(appfile_procfile("x", 1, &a, NULL), -EINVAL);
	appfile_done(&a);
}

Test(config, release_yml)
{
	appfile_init(&a);
	cr_assert_eq(feed(appfile_procfile, "web: mine"), 0);
	cr_assert_eq(feed(appfile_app_json, "{\"env\": {\"A\": \"app.json\"}}"), 0);
	cr_assert_eq(feed(appfile_release_yml, "---\naddons: []\nconfig_vars:\n  A: pack\n  PATH: /app/bin:/usr/bin\n"
					       "default_process_types:\n  web: theirs\n  worker: run worker\n"),
		     0, "%s", e.text);
	cr_assert_str_eq(command("web"), "mine");
	cr_assert_str_eq(command("worker"), "run worker");
	cr_assert_str_eq(env("A"), "app.json");
	cr_assert_str_eq(env("PATH"), "/app/bin:/usr/bin");
	cr_assert_eq(feed(appfile_release_yml, ""), 0);
	cr_assert_eq(feed(appfile_release_yml, "default_process_types:\nconfig_vars:\n"), 0);
	cr_assert_eq(feed(appfile_release_yml, "- a"), -EINVAL);
	cr_assert_eq(feed(appfile_release_yml, "default_process_types: web"), -EINVAL);
	cr_assert_str_eq(e.field, "release.yml.default_process_types");
	cr_assert_eq(feed(appfile_release_yml, "default_process_types: {web: [a]}"), -EINVAL);
	cr_assert_eq(feed(appfile_release_yml, "default_process_types: {web: \"a\\nb\"}"), -EINVAL);
	cr_assert_eq(feed(appfile_release_yml, "config_vars: {\"A B\": c}"), -EINVAL);
	cr_assert_eq(feed(appfile_release_yml, "a: &x b\nc: *x"), -EINVAL);
	cr_assert_str_eq(e.field, "release.yml");
	cr_assert(strstr(e.text, "line 1"), "%s", e.text);
	appfile_done(&a);
}

Test(config, app_json)
{
	appfile_init(&a);
	cr_assert_eq(feed(appfile_app_json,
			  "{\"name\": \"x\", \"addons\": [\"pg\"], \"scripts\": {\"postdeploy\": \"x\"},"
			  " \"env\": {\"A\": \"1\", \"B\": {\"value\": \"2\", \"required\": true}, \"C\": "
			  "{\"generator\": \"secret\"}},"
			  " \"formation\": {\"web\": {\"quantity\": 2, \"size\": \"eco\"}, \"clock\": {}},"
			  " \"healthchecks\": {\"web\": [{\"type\": \"uptime\"}, {\"type\": \"startup\", \"path\": "
			  "\"/up\"}]}}"),
		     0, "%s", e.text);
	cr_assert_str_eq(env("A"), "1");
	cr_assert_str_eq(env("B"), "2");
	cr_assert_null(env("C"));
	cr_assert_eq(wanted("web"), 2);
	cr_assert_eq(wanted("clock"), -1);
	cr_assert_str_eq(a.health_path, "/up");
	cr_assert_eq(feed(appfile_app_json, "{"), -EINVAL);
	cr_assert_str_eq(e.field, "app.json");
	cr_assert_eq(feed(appfile_app_json, "[]"), -EINVAL);
	cr_assert_eq(feed(appfile_app_json, "{\"env\": {\"A\": 1}}"), -EINVAL);
	cr_assert_str_eq(e.field, "app.json.env.A");
	cr_assert_eq(feed(appfile_app_json, "{\"env\": {\"A\\u001b[31m\": \"1\"}}"), -EINVAL);
	cr_assert_null(strchr(e.text, 27), "no escape sequence comes back");
	cr_assert_eq(feed(appfile_app_json, "{\"formation\": {\"web\": {\"quantity\": -1}}}"), -EINVAL);
	cr_assert_eq(feed(appfile_app_json, "{\"formation\": {\"web\": {\"quantity\": 101}}}"), -ERANGE);
	cr_assert_eq(feed(appfile_app_json, "{\"formation\": {\"web\": 1}}"), -EINVAL);
	cr_assert_eq(feed(appfile_app_json, "{\"healthchecks\": {\"web\": [{\"path\": \"up\"}]}}"), -EINVAL);
	cr_assert_eq(feed(appfile_app_json, "{\"healthchecks\": {\"web\": [{\"path\": 7}]}}"), -EINVAL);
	cr_assert_eq(feed(appfile_app_json, "{\"env\": {\"A\": \"1\", \"A\": \"2\"}}"), -EINVAL, "twice the same key");
	appfile_done(&a);
}

Test(config, app_json_too_much_env)
{
	char *text = malloc(20000);
	size_t n = (size_t)snprintf(text, 20000, "{\"env\": {");
	appfile_init(&a);
	for (int i = 0; i <= LIMIT_CONFIG_VARS; i++)
		n += (size_t)snprintf(text + n, 20000 - n, "%s\"K%d\": \"v\"", i ? "," : "", i);
	snprintf(text + n, 20000 - n, "}}");
	cr_assert_eq(feed(appfile_app_json, text), -E2BIG);
	appfile_done(&a);
	free(text);
}

Test(config, tulou_yaml)
{
	appfile_init(&a);
	cr_assert_eq(feed(appfile_tulou_yaml, "health: { path: /healthz, interval: 10s, failures: 5 }\nformation: { "
					      "web: 3, worker: 0 }\nrelease: "
					      "./migrate now\nlisten: tcp\nprotocol: h2c\n"),
		     0, "%s", e.text);
	cr_assert_str_eq(a.health_path, "/healthz");
	cr_assert_eq(a.health_every_ms, 10000);
	cr_assert_eq(a.health_failures, 5);
	cr_assert_eq(wanted("web"), 3);
	cr_assert_eq(wanted("worker"), 0);
	cr_assert_str_eq(a.release_command, "./migrate now");
	static const struct {
		const char *text, *field;
		int code;
	} rows[] = {
		{"helth: {}", "tulou.yaml.helth", EINVAL},
		{"health: { pfad: /x }", "tulou.yaml.health.pfad", EINVAL},
		{"health: /x", "tulou.yaml.health", EINVAL},
		{"health: { path: x }", "tulou.yaml.health.path", EINVAL},
		{"health: { path: [x] }", "tulou.yaml.health.path", EINVAL},
		{"health: { path: \"/a b\" }", "tulou.yaml.health.path", EINVAL},
		{"health: { path: \"/a\\r\\nX: y\" }", "tulou.yaml.health.path", EINVAL},
		{"health: { interval: 4s }", "tulou.yaml.health.interval", ERANGE},
		{"health: { interval: 11m }", "tulou.yaml.health.interval", ERANGE},
		{"health: { interval: often }", "tulou.yaml.health.interval", EINVAL},
		{"health: { interval: [10s] }", "tulou.yaml.health.interval", EINVAL},
		{"health: { failures: 0 }", "tulou.yaml.health.failures", ERANGE},
		{"health: { failures: 11 }", "tulou.yaml.health.failures", ERANGE},
		{"health: { failures: {} }", "tulou.yaml.health.failures", EINVAL},
		{"formation: { web: many }", "tulou.yaml.formation.web", EINVAL},
		{"formation: { web: 101 }", "tulou.yaml.formation.web", ERANGE},
		{"formation: { web: {quantity: 1} }", "tulou.yaml.formation.web", EINVAL},
		{"formation: { Web: 1 }", "tulou.yaml.formation.Web", EINVAL},
		{"release: [a]", "tulou.yaml.release", EINVAL},
		{"release: \"\"", "tulou.yaml.release", EINVAL},
		{"listen: udp", "tulou.yaml.listen", EINVAL},
		{"protocol: h2", "tulou.yaml.protocol", EINVAL},
		{"protocol: 2", "tulou.yaml.protocol", EINVAL},
		{"listen: [unix]", "tulou.yaml.listen", EINVAL},
		{"[a]", "tulou.yaml", EINVAL},
		{"a: [", "tulou.yaml", EINVAL},
		{"rollout: fast", "tulou.yaml.rollout", EINVAL},
	};
	static const char *const says[][2] = {
		{"listen: udp", "tulou.yaml.listen: must be tcp or unix, not \"udp\""},
		{"listen: [unix]", "tcp or unix, not \"an array\""},
		{"protocol: h2", "http/1.1 or h2c, not \"h2\""},
		{"rollout: fast", "start-first or hold, not \"fast\""},
		{"formation: { web: {quantity: 1} }", "expected a whole number, not an object"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		cr_assert_eq(feed(appfile_tulou_yaml, rows[i].text), -rows[i].code, "%s: %s", rows[i].text, e.text);
		cr_assert_str_eq(e.field, rows[i].field, "%s: %s", rows[i].text, e.field);
	}
	for (size_t i = 0; i < sizeof says / sizeof *says; i++) {
		feed(appfile_tulou_yaml, says[i][0]);
		cr_assert_not_null(strstr(e.text, says[i][1]), "%s: %s", says[i][0], e.text);
	}
	appfile_done(&a);
}
