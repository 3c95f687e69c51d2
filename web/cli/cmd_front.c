/* tulou front, maintenance, auth, routes.  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "base/parse.h"
#include "config/limits.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/list.h"
#include "web/cli/out.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <termios.h>
#include <unistd.h>

/* Of `front set`, `maintenance`, `auth`, `routes`. */
static const char *const front_words[][2] = {{"limits.requests_per_second", "rate"},
					     {"limits.client_requests_per_second", "client-rate"},
					     {"limits.client_burst", "client-burst"},
					     {"limits.burst", "burst"},
					     {"limits.concurrent", "concurrent"},
					     {"limits.body_bytes", "body"},
					     {"limits.seconds", "time"},
					     {"maintenance.text", "--text"},
					     {"maintenance.retry_after", "--retry-after"},
					     {"maintenance.allow", "--allow"},
					     {"auth.users", "NAME and password"},
					     {"auth.realm", "--realm"},
					     {"allow", "allow"},
					     {"path", "PATH"},
					     {"app", "APP"},
					     {NULL, NULL}};

/* "10, 20" of a list of strings; "-" when it is empty. */
static const char *front_list(json_t *list, char *out, size_t cap)
{
	size_t i, n = 0;
	json_t *v;

	snprintf(out, cap, "-");
	json_array_foreach(list, i, v)
	{
		const char *s = json_string_value(v);
		if (n < cap)
			n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? ", " : "", s ? s : "");
	}
	return out;
}

static const char *front_number(json_t *l, const char *key, const char *unit, char out[80])
{
	json_t *v = json_object_get(l, key);
	char bytes[16];

	if (!json_is_integer(v))
		snprintf(out, 80, "no limit");
	else if (!unit)
		snprintf(out, 80, "%s", cli_bytes(bytes, (double)json_integer_value(v)));
	else
		snprintf(out, 80, "%lld %s", (long long)json_integer_value(v), unit);
	return out;
}

static void front_print(struct cli *c, json_t *f)
{
	/* A burst comes after its rate. */
	static const char *const names[][3] = {
		{"rate", "requests_per_second", "requests/s"},
		{"burst", "burst", "requests"},
		{"client-rate", "client_requests_per_second", "requests/s of one address"},
		{"client-burst", "client_burst", "requests"},
		{"concurrent", "concurrent", "requests at a time"},
		{"body", "body_bytes", NULL},
		{"time", "seconds", "s"}};
	json_t *m = json_object_get(f, "maintenance"), *auth = json_object_get(f, "auth");
	char text[4096];

	if (c->json) {
		cli_json(f);
		return;
	}
	cli_pair("maintenance", "%s", json_is_true(json_object_get(m, "on")) ? "on" : "off");
	if (*cli_str(m, "text"))
		cli_pair("  text", "%s", cli_str(m, "text"));
	if (json_is_true(json_object_get(m, "on")))
		cli_pair("  retry after", "%lld s", (long long)cli_num(m, "retry_after"));
	if (json_array_size(json_object_get(m, "allow")))
		cli_pair("  passes", "%s", front_list(json_object_get(m, "allow"), text, sizeof text));
	cli_pair("sticky", "%s", json_is_true(json_object_get(f, "sticky")) ? "yes" : "no");
	cli_pair("auth", "%s",
		 json_is_object(auth) ? front_list(json_object_get(auth, "users"), text, sizeof text) : "off");
	cli_pair("allow", "%s",
		 json_array_size(json_object_get(f, "allow"))
			 ? front_list(json_object_get(f, "allow"), text, sizeof text)
			 : "any");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		json_t *l = json_object_get(f, "limits");
		bool as_rate = strstr(names[i][1], "burst") && !json_is_integer(json_object_get(l, names[i][1])) &&
			       json_is_integer(json_object_get(l, names[i - 1][1]));
		char number[80];

		/* A burst that was not said is as much as comes in a second. */
		cli_pair(names[i][0], "%s%s", front_number(l, names[i - as_rate][1], names[i][2], number),
			 as_rate ? " (as the rate)" : "");
	}
}

static int front_patch(struct cli *c, json_t *body)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[128];
	int code = cli_app_path(c, path, sizeof path, "/front");

	c->words = front_words;
	if (!code)
		code = cli_call(c, body ? "PATCH" : "GET", path, body, &a);
	if (!code)
		front_print(c, a.json);
	return code;
}

int cli_cmd_front(struct cli *c)
{
	return front_patch(c, NULL);
}

/* "any" or "none" is the empty list; else networks separated by commas. */
static json_t *front_nets(const char *value)
{
	json_t *list = json_array();
	char *copy = strdup(value), *save = NULL;

	if (copy && strcmp(value, "any") != 0 && strcmp(value, "none") != 0)
		for (char *t = strtok_r(copy, ",", &save); t; t = strtok_r(NULL, ",", &save))
			json_array_append_new(list, json_string(t));
	free(copy);
	return list;
}

/* A word of `front set` into the body; 0 or -EINVAL with e. */
static int front_word(json_t *body, json_t *limits, const char *word, struct err *e)
{
	static const char *const numbers[][2] = {{"rate", "requests_per_second"},
						 {"burst", "burst"},
						 {"client-rate", "client_requests_per_second"},
						 {"client-burst", "client_burst"},
						 {"concurrent", "concurrent"}};
	const char *eq = strchr(word, '='), *value = eq ? eq + 1 : "";
	size_t n = eq ? (size_t)(eq - word) : 0;
	uint64_t number = 0;
	int r;

	if (n == 6 && strncmp(word, "sticky", n) == 0) {
		if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
			return err_field(e, EINVAL, "sticky", "sticky: yes or no");
		return json_object_set_new(body, "sticky", json_boolean(strcmp(value, "yes") == 0));
	}
	if (n == 5 && strncmp(word, "allow", n) == 0)
		return json_object_set_new(body, "allow", front_nets(value));
	if (n == 4 && strncmp(word, "body", n) == 0) {
		/* 10 for 10MiB would refuse almost every form. */
		if (parse_u64(value, strlen(value), 1, 1023, "body", &number, NULL) == 0)
			return err_field(e, EINVAL, "body",
					 "body: %s is so many bytes: say %sKiB or %sMiB if that is meant, or none for "
					 "no limit",
					 value, value, value);
		return json_object_set_new(limits, "body_bytes",
					   strcmp(value, "none") == 0 ? json_null() : json_string(value));
	}
	if (n == 4 && strncmp(word, "time", n) == 0) {
		if (strcmp(value, "none") == 0)
			return json_object_set_new(limits, "seconds", json_null());
		r = parse_duration_ms(value, 1000, LIMIT_FRONT_SECONDS * 1000ull, "time", &number, e);
		return r < 0 ? r
			     : json_object_set_new(limits, "seconds",
						   json_integer((json_int_t)((number + 999) / 1000)));
	}
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		if (strlen(numbers[i][0]) != n || strncmp(word, numbers[i][0], n) != 0)
			continue;
		if (strcmp(value, "none") == 0)
			return json_object_set_new(limits, numbers[i][1], json_null());
		r = parse_u64(value, strlen(value), 1, LIMIT_FRONT_RATE, numbers[i][0], &number, e);
		return r < 0 ? r : json_object_set_new(limits, numbers[i][1], json_integer((json_int_t)number));
	}
	return err_set(
		e, EINVAL,
		"%.64s: write sticky=, allow=, rate=, burst=, client-rate=, client-burst=, concurrent=, body= or "
		"time=",
		word);
}

int cli_cmd_front_set(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	json_t *limits = json_object();
	struct err e = {0};
	int r = 0;

	for (int i = 0; r >= 0 && i < c->argc; i++)
		r = front_word(body, limits, c->argv[i], &e);
	json_object_set_new(body, "limits", limits);
	if (r < 0)
		return cli_fail(CLI_USAGE, "%s", e.text);
	return front_patch(c, body);
}

int cli_cmd_maintenance(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	const char *text = cli_value(c, "text"), *retry = cli_value(c, "retry-after"), *allow = cli_value(c, "allow");
	json_t *m = json_object();
	uint64_t ms = 0;
	struct err e = {0};

	json_object_set_new(body, "maintenance", m);
	if (c->argc > 0 && strcmp(c->argv[0], "on") != 0 && strcmp(c->argv[0], "off") != 0)
		return cli_fail(CLI_USAGE, "%s: on or off", c->argv[0]);
	if (c->argc > 0)
		json_object_set_new(m, "on", json_boolean(strcmp(c->argv[0], "on") == 0));
	if (text && json_object_set_new(m, "text", json_string(text)) < 0)
		return cli_fail(CLI_USAGE, "text: it is not UTF-8 text");
	if (retry && parse_duration_ms(retry, 1000, LIMIT_FRONT_RETRY * 1000ull, "retry-after", &ms, &e) < 0)
		return cli_fail(CLI_USAGE, "%s", e.text);
	if (retry)
		json_object_set_new(m, "retry_after", json_integer((json_int_t)(ms / 1000)));
	if (allow)
		json_object_set_new(m, "allow", front_nets(allow));
	return front_patch(c, json_object_size(m) ? body : NULL);
}

/* From the terminal without an echo, else the first line of standard input. */
static bool auth_password(char *out, size_t cap)
{
	struct termios was, quiet;
	bool tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &was) == 0, good;

	if (tty) {
		fprintf(stderr, "Password: ");
		quiet = was;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	good = fgets(out, (int)cap, stdin) != NULL;
	if (tty) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
		fprintf(stderr, "\n");
	}
	out[good ? strcspn(out, "\r\n") : 0] = '\0';
	return good;
}

int cli_cmd_auth_add(struct cli *c)
{
	char password[LIMIT_FRONT_PASSWORD + 3];
	OWN_JSON json_t *body = NULL;
	const char *realm = cli_value(c, "realm");

	if (!auth_password(password, sizeof password))
		return cli_fail(CLI_USAGE, "a password is expected on standard input");
	body = json_pack("{s:{s:{s:s}}}", "auth", "users", c->argv[0], password);
	explicit_bzero(password, sizeof password);
	if (!body)
		return cli_fail(CLI_USAGE, "name and password must be UTF-8 text");
	if (realm)
		json_object_set_new(json_object_get(body, "auth"), "realm", json_string(realm));
	return front_patch(c, body);
}

int cli_cmd_auth_remove(struct cli *c)
{
	OWN_JSON json_t *body = json_pack("{s:{s:{s:n}}}", "auth", "users", c->argv[0]);

	return body ? front_patch(c, body) : cli_fail(CLI_USAGE, "the name must be UTF-8 text");
}

int cli_cmd_auth_off(struct cli *c)
{
	OWN_JSON json_t *body = json_pack("{s:n}", "auth");

	return front_patch(c, body);
}

static void routes_row(struct cli_table *t, json_t *route)
{
	cli_table_add(t, cli_str(route, "path"), *cli_str(route, "app") ? cli_str(route, "app") : "(deleted)",
		      json_is_true(json_object_get(route, "strip")) ? "taken off" : "kept");
}

int cli_cmd_routes(struct cli *c)
{
	static const char *const heads[] = {"PATH", "APP", "PREFIX"};
	static const struct cli_list list = {
		heads,	    ARRAY_LEN(heads),
		routes_row, "All paths are its own. Give one to another app with: tulou routes add /PATH APP",
		NULL,	    NULL};

	return cli_list_show_app(c, "/routes", &list);
}

int cli_cmd_routes_add(struct cli *c)
{
	OWN_JSON json_t *body = json_pack("{s:s, s:s, s:b}", "path", c->argv[0], "app", c->argv[1], "strip",
					  cli_value(c, "strip") ? 1 : 0);
	OWN_ANSWER struct cli_answer a = {0};
	char path[128];
	int code = cli_app_path(c, path, sizeof path, "/routes");

	if (!body)
		return cli_fail(CLI_USAGE, "PATH: it is not UTF-8 text");
	c->words = front_words;
	if (!code)
		code = cli_call(c, "POST", path, body, &a);
	if (code)
		return code;
	if (c->json)
		cli_json(a.json);
	else
		cli_say("%s and all below it on the hosts of %s are served by %s, which sees the path %s%s.\n",
			c->argv[0], c->app_name, c->argv[1], cli_value(c, "strip") ? "without " : "as it is",
			cli_value(c, "strip") ? c->argv[0] : "");
	return CLI_OK;
}

int cli_cmd_routes_remove(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[700], rest[560];
	int code;

	cli_path(rest, sizeof rest, "/routes?path=%s", c->argv[0]);
	code = cli_app_path(c, path, sizeof path, rest);
	if (!code)
		code = cli_call(c, "DELETE", path, NULL, &a);
	if (!code && !c->json)
		cli_say("%s is served by %s itself again.\n", c->argv[0], c->app_name);
	return code;
}
