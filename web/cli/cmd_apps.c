/* tulou apps …, open.  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "web/cli/account.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/fields.h"
#include "web/cli/follow.h"
#include "web/cli/list.h"
#include "web/cli/numbers.h"
#include "web/cli/out.h"
#include "web/cli/pack.h"

#include <spawn.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

/* Those that run and whose checks succeed; an older node does not tell them apart. */
static double apps_healthy(json_t *stats)
{
	return cli_num(stats, json_object_get(stats, "instances_healthy") ? "instances_healthy" : "instances_running");
}

/* Its requests wait for `apps resume`. */
static bool apps_held(json_t *app)
{
	return json_is_true(json_object_get(json_object_get(app, "serving"), "hold"));
}

static void apps_row(struct cli_table *t, json_t *app)
{
	json_t *stats = json_object_get(app, "stats"), *release = json_object_get(app, "release");
	char running[48], memory[16], rate[24], version[24] = "-", state[48];

	snprintf(running, sizeof running, "%.0f/%.0f", apps_healthy(stats), cli_num(stats, "instances_wanted"));
	snprintf(rate, sizeof rate, "%.1f", cli_num(stats, "requests_per_second"));
	if (json_is_object(release))
		snprintf(version, sizeof version, "v%.0f", cli_num(release, "version"));
	snprintf(state, sizeof state, "%.20s%s", cli_str(app, "state"), apps_held(app) ? ", held" : "");
	if (strcmp(state, "empty") == 0 && *cli_str(app, "empty"))
		snprintf(state, sizeof state, "empty, %.24s", cli_str(app, "empty"));
	cli_table_add(t, cli_str(app, "name"), cli_str(app, "tenant"), state, running,
		      cli_bytes(memory, cli_num(stats, "memory_bytes")), rate, version, cli_str(app, "url"));
}

int cli_cmd_apps(struct cli *c)
{
	static const char *const heads[] = {"NAME",    "TENANT", "STATE",   ">INSTANCES",
					    ">MEMORY", ">REQ/S", "RELEASE", "URL"};
	static const struct cli_list list = {heads,    ARRAY_LEN(heads),
					     apps_row, "There are no apps. Make one with: tulou apps create NAME",
					     NULL,     NULL};

	return cli_list_show(c, "/v1/apps", &list);
}

/* Adds the git remote `tulou`; the password is not written into the repository's settings. */
static void add_remote(const char *url)
{
	const char *const argv[] = {"git", "remote", "add", "tulou", url, NULL};
	OWN_FREE char *out = NULL;
	size_t n = 0;

	if (cli_pack_command(argv, 4096, &out, &n))
		cli_fail(CLI_FAILED,
			 "the git remote was not added: is this a repository, and has it one named tulou already?");
	else
		printf("Added the git remote tulou; deploy with: git push tulou main\n");
}

/* "http://host/git/shop.git" to the form git wants, with a place for the token. */
static void git_hint(const struct cli *c, const char *url, const char *app)
{
	const char *host = strstr(url, "://"), *base = strstr(c->base, "://"), *ca = getenv("TULOU_CA");
	bool secure = strncmp(url, "https://", 8) == 0;

	if (host)
		cli_pair("push with", "git push %.*s://x:TOKEN@%s main", (int)(host - url), url, host + 3);
	/* Whoever came without https, or with a certificate named by hand: git may not trust the node's. */
	if (host && secure && base && strncmp(c->base, "http://", 7) == 0)
		cli_pair("as here", "git push http://x:TOKEN@%s/git/%s.git main  (without https, as this command)",
			 base + 3, app);
	else if (host && secure && ca && *ca)
		cli_pair("git trusts", "git config --global http.https://%.*s/.sslCAInfo %s",
			 (int)strcspn(host + 3, "/"), host + 3, ca);
	cli_pair("or", "tulou deploy -a %s", app);
}

static const char *const create_words[][2] = {{"tenant", "--tenant TENANT"}, {NULL, NULL}};

int cli_cmd_apps_create(struct cli *c)
{
	OWN_JSON json_t *body = json_pack("{s:s, s:s*}", "name", c->argv[0], "tenant", cli_value(c, "tenant"));
	OWN_JSON json_t *limits = json_object();
	OWN_ANSWER struct cli_answer a = {0};
	struct err e = {0};
	int code;

	if (!body)
		return cli_fail(CLI_USAGE, "name: '%.60s' is not UTF-8 text", c->argv[0]);
	if (cli_fields_options(c, limits, QUOTA_OF_LIMITS, &e) ||
	    cli_fields_limits(limits, QUOTA_OF_LIMITS, c->argv + 1, c->argc - 1, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	if (json_object_size(limits) > 0)
		json_object_set(body, "limits", limits);
	c->words = create_words;
	code = cli_call(c, "POST", "/v1/apps", body, &a);
	if (code)
		return code;
	if (c->json) {
		cli_json(a.json);
		return CLI_OK;
	}
	cli_say("Made the app %s.\n", c->argv[0]);
	cli_pair("url", "%s", cli_str(a.json, "url"));
	git_hint(c, cli_str(a.json, "git_url"), c->argv[0]);
	if (cli_value(c, "remote"))
		add_remote(cli_str(a.json, "git_url"));
	return CLI_OK;
}

static void print_limits(json_t *limits)
{
	char memory[16], disk[16], cpu[24];

	cli_pair("limits", "memory %s, cpu %s, disk %s, pids %.0f, nofile %.0f (each instance)",
		 cli_bytes(memory, cli_num(limits, "memory_bytes")), cli_plain(cpu, cli_num(limits, "cpu")),
		 cli_bytes(disk, cli_num(limits, "disk_bytes")), cli_num(limits, "pids"), cli_num(limits, "nofile"));
}

/* "GET /healthz, every 10 s, unhealthy after 3 failures in a row (tulou.yaml or app.json of the release)" */
static const char *health_text(json_t *app, char *out, size_t cap)
{
	json_t *health = json_object_get(app, "health");
	const char *path = *cli_str(health, "path") ? cli_str(health, "path") : cli_str(app, "health_path"),
		   *check = cli_str(health, "check");
	char every[120] = "a connection every 10 s", count[24];
	bool release = strcmp(cli_str(health, "from"), "release") == 0;

	if (json_is_number(json_object_get(health, "interval_seconds")))
		snprintf(every, sizeof every, "the same every %s s",
			 cli_plain(count, cli_num(health, "interval_seconds")));
	if (!*path)
		snprintf(out, cap, "%s",
			 strcmp(check, "h2c") == 0    ? "SETTINGS of HTTP/2"
			 : strcmp(check, "unix") == 0 ? "connection to the unix socket"
						      : "TCP connection");
	else
		snprintf(out, cap, "GET %.255s (%s)", path,
			 release ? "of the release's tulou.yaml or app.json"
				 : "set for the app, whatever its files say");
	if (health)
		snprintf(out + strlen(out), cap - strlen(out),
			 "; while it runs %s, unhealthy after %.0f failures in a row", every,
			 cli_num(health, "failures"));
	return out;
}

static void info_print(struct cli *c, json_t *app)
{
	json_t *release = json_object_get(app, "release"), *candidate = json_object_get(app, "candidate"),
	       *stats = json_object_get(app, "stats"), *count;
	char ago[32], memory[16], sick[40] = "", formation[512] = "", health[512], egress[CLI_EGRESS_TEXT];
	const char *type;

	(void)c;
	json_object_foreach(json_object_get(app, "formation"), type, count)
		snprintf(formation + strlen(formation), sizeof formation - strlen(formation), "%s%s=%lld",
			 *formation ? " " : "", type, (long long)json_integer_value(count));
	cli_pair("app", "%s", cli_str(app, "name"));
	cli_pair("tenant", "%s", cli_str(app, "tenant"));
	cli_pair("state", "%s%s%s%s", cli_str(app, "state"), *cli_str(app, "empty") ? ", " : "", cli_str(app, "empty"),
		 json_is_true(json_object_get(app, "paused")) ? " (paused)" : "");
	if (apps_held(app))
		cli_pair("held", "its requests wait, up to 2 minutes each; let them in with: tulou apps resume %s",
			 cli_str(app, "name"));
	cli_pair("url", "%s", cli_str(app, "url"));
	cli_pair("git", "%s", cli_str(app, "git_url"));
	if (json_is_object(release))
		cli_pair("release", "v%.0f, %s: %s", cli_num(release, "version"),
			 cli_since(ago, cli_str(release, "created_at")), cli_str(release, "note"));
	else
		git_hint(c, cli_str(app, "git_url"), cli_str(app, "name"));
	if (json_is_object(candidate))
		cli_pair("rolling out", "v%.0f: %s", cli_num(candidate, "version"), cli_str(candidate, "note"));
	cli_pair("formation", "%s", *formation ? formation : "-");
	if (apps_healthy(stats) < cli_num(stats, "instances_running"))
		snprintf(sick, sizeof sick, ", %.0f unhealthy",
			 cli_num(stats, "instances_running") - apps_healthy(stats));
	cli_pair("instances", "%.0f of %.0f %s%s, %s", apps_healthy(stats), cli_num(stats, "instances_wanted"),
		 *sick ? "healthy" : "running", sick, cli_bytes(memory, cli_num(stats, "memory_bytes")));
	if (*cli_str(stats, "waiting"))
		cli_pair("waiting", "%s", cli_str(stats, "waiting"));
	cli_pair("requests", "%.0f in all, %.1f/s, half within %.3g ms, 99 of 100 within %.3g ms",
		 cli_num(stats, "requests_total"), cli_num(stats, "requests_per_second"), cli_num(stats, "p50_ms"),
		 cli_num(stats, "p99_ms"));
	print_limits(json_object_get(app, "limits"));
	cli_pair("profile", "%s", cli_str(app, "profile"));
	cli_pair("egress", "%s", cli_numbers_effective(egress, app));
	cli_pair("health", "%s", health_text(app, health, sizeof health));
}

int cli_cmd_apps_info(struct cli *c)
{
	cli_app_of_word(c);
	return cli_show_app(c, "", info_print);
}

int cli_cmd_apps_delete(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[128];
	int code;

	cli_app_of_word(c);
	code = cli_app_path(c, path, sizeof path, "");
	if (!code)
		code = cli_confirm(c, c->app_name, "remove the app %s with its releases, logs and repository",
				   c->app_name);
	if (!code)
		code = cli_call(c, "DELETE", path, NULL, &a);
	if (!code && !c->json)
		printf("Removed the app %s.\n", c->app_name);
	return code;
}

static int patch(struct cli *c, json_t *body, const char *said)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[128];
	int code = cli_app_path(c, path, sizeof path, "");

	if (!code)
		code = cli_call(c, "PATCH", path, body, &a);
	if (code)
		return code;
	if (c->json)
		cli_json(a.json);
	else if (said)
		printf("%s %s.\n", c->app_name, said);
	else
		print_limits(json_object_get(a.json, "limits"));
	return CLI_OK;
}

/* For what running instances keep until they are replaced. */
static int patch_next(struct cli *c, json_t *body, const char *what)
{
	char said[200];
	struct err e = {0};

	if (cli_account_app(c, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	snprintf(said, sizeof said, "%s from its next start on; now: tulou apps restart -a %s", what, c->app_name);
	return patch(c, body, said);
}

int cli_cmd_apps_pause(struct cli *c)
{
	OWN_JSON json_t *body = json_pack("{s:b}", "paused", 1);

	cli_app_of_word(c);
	if (cli_value(c, "hold")) {
		json_object_clear(body);
		json_object_set_new(body, "serving", json_pack("{s:b}", "hold", 1));
		return patch(c, body,
			     "is held: its requests wait up to 2 minutes each; `tulou apps resume` lets them in");
	}
	return patch(c, body, "is paused: its instances stop; `tulou apps resume` starts them again");
}

int cli_cmd_apps_resume(struct cli *c)
{
	OWN_JSON json_t *body = json_pack("{s:b, s:{s:b}}", "paused", 0, "serving", "hold", 0);

	cli_app_of_word(c);
	return patch(c, body, "starts again");
}

int cli_cmd_apps_restart(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[128];
	int code;

	cli_app_of_word(c);
	code = cli_app_path(c, path, sizeof path, "/restart");
	if (!code)
		code = cli_call(c, "POST", path, NULL, &a);
	return code ? code : cli_follow(c, a.json);
}

static int print_all_limits(struct cli *c, json_t *app)
{
	if (c->json) {
		cli_json(json_object_get(app, "limits"));
		return CLI_OK;
	}
	cli_pair("set by", "%s",
		 json_is_true(json_object_get(app, "limits_own")) ? "the app" : "the tenant's plan, else the node");
	cli_numbers_print(QUOTA_OF_LIMITS, json_object_get(app, "limits"));
	return CLI_OK;
}

int cli_cmd_apps_limits(struct cli *c)
{
	OWN_JSON json_t *limits = json_object();
	OWN_JSON json_t *body = json_pack("{s:O}", "limits", limits);
	OWN_ANSWER struct cli_answer a = {0};
	struct err e = {0};
	char path[128];
	int code;

	if (c->argc == 1 && strcmp(c->argv[0], "reset") == 0)
		json_object_set_new(body, "limits", json_null());
	else if (cli_fields_limits(limits, QUOTA_OF_LIMITS, c->argv, c->argc, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	code = cli_app_path(c, path, sizeof path, "");
	if (!code)
		code = cli_call(c, c->argc > 0 ? "PATCH" : "GET", path, c->argc > 0 ? body : NULL, &a);
	return code ? code : print_all_limits(c, a.json);
}

/* Destinations are words of their own, or one with commas. */
int cli_cmd_apps_egress(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	OWN_ANSWER struct cli_answer a = {0};
	char path[128], words[CLI_EGRESS_TEXT] = "", text[CLI_EGRESS_TEXT];
	struct err e = {0};
	json_t *egress;
	int code;

	for (int i = 0; i < c->argc; i++)
		snprintf(words + strlen(words), sizeof words - strlen(words), "%s%s", i ? "," : "", c->argv[i]);
	if (c->argc > 0) {
		egress = cli_fields_egress(words, &e);
		if (!egress)
			return cli_fail(CLI_USAGE, "%s", e.text);
		json_object_set_new(body, "egress", egress);
	}
	code = cli_app_path(c, path, sizeof path, "");
	if (!code)
		code = cli_call(c, c->argc > 0 ? "PATCH" : "GET", path, c->argc > 0 ? body : NULL, &a);
	if (code)
		return code;
	if (c->json) {
		cli_json(json_object_get(a.json, "egress"));
		return CLI_OK;
	}
	cli_pair("egress", "%s", cli_numbers_effective(text, a.json));
	/* What was asked for is kept, and holds once nothing stands against it. */
	if (*cli_str(json_object_get(a.json, "egress_effective"), "why"))
		cli_pair("asked for", "%s", cli_numbers_egress(text, json_object_get(a.json, "egress")));
	return CLI_OK;
}

/* One value of the app; none: the word for an empty one. */
static int show_value(struct cli *c, const char *key, const char *label, const char *none)
{
	OWN_ANSWER struct cli_answer a = {0};
	OWN_JSON json_t *one = NULL;
	char path[128];
	int code = cli_app_path(c, path, sizeof path, "");

	if (!code)
		code = cli_call(c, "GET", path, NULL, &a);
	if (code)
		return code;
	one = json_pack("{s:O*}", key, json_object_get(a.json, key));
	if (c->json)
		cli_json(one);
	else
		cli_pair(label, "%s", *cli_str(one, key) ? cli_str(one, key) : none);
	return CLI_OK;
}

int cli_cmd_apps_profile(struct cli *c)
{
	OWN_JSON json_t *body = c->argc > 0 ? json_pack("{s:s}", "profile", c->argv[0]) : NULL;
	OWN_ANSWER struct cli_answer a = {0};
	char path[128], text[CLI_EGRESS_TEXT];
	int code;

	if (c->argc == 0)
		return show_value(c, "profile", "profile", "-");
	code = cli_app_path(c, path, sizeof path, "");
	if (!code)
		code = cli_call(c, "PATCH", path, body, &a);
	if (code)
		return code;
	if (c->json) {
		cli_json(a.json);
		return CLI_OK;
	}
	cli_say("%s has the %s profile.\n", c->app_name, cli_str(a.json, "profile"));
	cli_pair("at once", "egress: %s", cli_numbers_effective(text, a.json));
	cli_pair("later", "what it may see and execute, from its next start on; now: tulou apps restart -a %s",
		 c->app_name);
	return CLI_OK;
}

int cli_cmd_apps_health(struct cli *c)
{
	OWN_JSON json_t *body = c->argc > 0 ? json_pack("{s:s}", "health_path", c->argv[0]) : NULL, *one = NULL;
	OWN_ANSWER struct cli_answer a = {0};
	char path[128], text[512];
	int code;

	if (c->argc > 0)
		return patch_next(c, body, "has another health check");
	code = cli_app_path(c, path, sizeof path, "");
	if (!code)
		code = cli_call(c, "GET", path, NULL, &a);
	if (code)
		return code;
	if (c->json) {
		one = json_pack("{s:O*, s:O*}", "health_path", json_object_get(a.json, "health_path"), "health",
				json_object_get(a.json, "health"));
		cli_json(one);
	} else {
		cli_pair("health", "%s", health_text(a.json, text, sizeof text));
	}
	return CLI_OK;
}

int cli_cmd_open(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[128];
	const char *url;
	int code;

	cli_app_of_word(c);
	code = cli_app_path(c, path, sizeof path, "");
	if (!code)
		code = cli_call(c, "GET", path, NULL, &a);
	if (code)
		return code;
	url = cli_str(a.json, "url");
	if (c->json)
		cli_json(json_object_get(a.json, "url"));
	else
		cli_say("%s\n", url);
	/* Only addresses of the web go to another program, and only where a person has a screen. */
	if ((getenv("DISPLAY") || getenv("WAYLAND_DISPLAY")) && isatty(STDOUT_FILENO) && strncmp(url, "http", 4) == 0) {
		char name[] = "xdg-open";
		OWN_FREE char *copy = strdup(url);
		char *argv[] = {name, copy, NULL};
		pid_t pid;

		if (copy)
			posix_spawnp(&pid, name, NULL, NULL, argv, environ);
	}
	return CLI_OK;
}
