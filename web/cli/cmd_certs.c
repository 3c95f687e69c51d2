/* tulou certs, apps https.  Layer web, program tulou. */
#include "base/fd.h"
#include "base/own.h"
#include "config/limits.h"
#include "base/json.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/fields.h"
#include "web/cli/list.h"
#include "web/cli/out.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "a.test, b.test" in out, cut with an ellipsis. */
static const char *certs_names(char *out, size_t cap, json_t *names)
{
	size_t i, n = 0;
	json_t *v;

	out[0] = '\0';
	json_array_foreach(names, i, v)
	{
		const char *s = json_string_value(v);
		size_t len = s ? strlen(s) : 0;
		if (n + len + 8 > cap) {
			snprintf(out + n, cap - n, ", ...");
			break;
		}
		n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? ", " : "", s ? s : "");
	}
	return out;
}

/* Hosts that get their certificates by themselves, or could. */
static void certs_hosts(struct cli *c, json_t *hosts)
{
	static const char *const heads[] = {"HOST", "STATE", "FROM", "ENDS", "NEXT TRY", "WHY"};
	struct cli_table *t;
	json_t *h;
	size_t i;

	if (json_array_size(hosts) == 0)
		return;
	t = cli_table_new(ARRAY_LEN(heads), heads);
	json_array_foreach(hosts, i, h)
	{
		char ends[20], next[20];
		snprintf(ends, sizeof ends, "%.10s", cli_str(h, "not_after"));
		snprintf(next, sizeof next, "%.16s", cli_str(h, "next_try"));
		cli_table_add(t, cli_str(h, "host"), cli_str(h, "state"), cli_str(h, "origin"), ends, next,
			      cli_str(h, "error"));
	}
	cli_table_print(c, t, "");
	cli_say("\n");
}

int cli_cmd_certs_renew(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	OWN_ANSWER struct cli_answer a = {0};
	char path[128];
	int code = cli_app_path(c, path, sizeof path, "/certificates/renew");

	if (c->argc > 0)
		json_object_set_new(body, "host", json_string(c->argv[0]));
	if (!code)
		code = cli_call(c, "POST", path, body, &a);
	if (code)
		return code;
	if (c->json)
		cli_json(a.json);
	else
		cli_say("Certificates of %s are ordered; see: tulou certs -a %s\n", c->app_name, c->app_name);
	return CLI_OK;
}

static void certs_before(struct cli *c, json_t *answer)
{
	certs_hosts(c, json_object_get(answer, "hosts"));
}

/* "good", "none: why", "revoked", or "-" for one without a responder. */
static const char *certs_ocsp(char *out, size_t cap, json_t *ocsp)
{
	const char *status = cli_str(ocsp, "status"), *error = cli_str(ocsp, "error");

	if (!json_is_object(ocsp))
		return "-";
	snprintf(out, cap, "%s%s%s", strcmp(status, "none") == 0 && !*error ? "asked" : status, *error ? ": " : "",
		 error);
	return out;
}

static void certs_row(struct cli_table *t, json_t *cert)
{
	char names[160], ends[11], ocsp[240];

	snprintf(ends, sizeof ends, "%.10s", cli_str(cert, "not_after"));
	cli_table_add(t, cli_str(cert, "id"), certs_names(names, sizeof names, json_object_get(cert, "covers")),
		      cli_str(cert, "issuer"), cli_str(cert, "kind"), ends,
		      certs_ocsp(ocsp, sizeof ocsp, json_object_get(cert, "ocsp")));
}

int cli_cmd_certs(struct cli *c)
{
	static const char *const heads[] = {"ID", "SERVES", "ISSUER", "KIND", "ENDS", "OCSP"};
	static const struct cli_list list = {
		heads,	      ARRAY_LEN(heads),
		certs_row,    "It has no certificates of its own. Add one with: tulou certs add CHAIN KEY",
		certs_before, NULL};

	return cli_list_show_app(c, "/certificates", &list);
}

void cli_certs_hosts(struct cli *c, json_t *answer)
{
	certs_before(c, answer);
}

int cli_certs_node_renew(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	int code = cli_call(c, "POST", "/v1/node/certificates/renew", NULL, &a);

	if (code)
		return code;
	if (c->json)
		cli_json(a.json);
	else
		cli_say("The certificate of the control name is ordered; see: tulou node certs\n");
	return CLI_OK;
}

static json_t *certs_read(const char *path)
{
	OWN_FREE char *text = NULL;
	size_t n;
	int r = fd_read_file(AT_FDCWD, path, LIMIT_CERT_BYTES, &text, &n);

	if (r < 0) {
		cli_fail(CLI_USAGE, "%s: %s", path, strerror(-r));
		return NULL;
	}
	return json_stringn(text, n);
}

int cli_cmd_certs_add(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	OWN_ANSWER struct cli_answer a = {0};
	json_t *chain = certs_read(c->argv[0]), *key = chain ? certs_read(c->argv[1]) : NULL;
	char path[128], names[400];
	int code;

	if (!chain || !key) {
		json_decref(chain);
		return CLI_USAGE;
	}
	json_object_set_new(body, "certificate", chain);
	json_object_set_new(body, "key", key);
	code = cli_app_path(c, path, sizeof path, "/certificates");
	if (!code)
		code = cli_call(c, "PUT", path, body, &a);
	if (code)
		return code;
	if (c->json)
		cli_json(a.json);
	else
		cli_say("%s serves https with it until %.10s: %s\n", c->app_name, cli_str(a.json, "not_after"),
			certs_names(names, sizeof names, json_object_get(a.json, "covers")));
	return CLI_OK;
}

int cli_cmd_certs_remove(struct cli *c)
{
	int code = cli_list_remove(c, "certificates");

	if (!code && !c->json)
		cli_say("%s has lost certificate %s.\n", c->app_name, c->argv[0]);
	return code;
}

int cli_cmd_apps_https(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	OWN_ANSWER struct cli_answer a = {0};
	char path[128], *end = NULL;
	int code = cli_app_path(c, path, sizeof path, "");

	if (c->argc > 0)
		json_object_set_new(body, "https", json_string(c->argv[0]));
	if (c->argc > 1) {
		unsigned long hsts = strtoul(c->argv[1], &end, 10);
		if (!*c->argv[1] || *end || *c->argv[1] == '-')
			return cli_fail(CLI_USAGE, "%s: seconds are a whole number", c->argv[1]);
		json_object_set_new(body, "hsts", json_integer((json_int_t)hsts));
	}
	if (!code)
		code = cli_call(c, c->argc > 0 ? "PATCH" : "GET", path, c->argc > 0 ? body : NULL, &a);
	if (code)
		return code;
	if (c->json) {
		cli_json(a.json);
		return CLI_OK;
	}
	cli_pair("https", "%s", cli_str(a.json, "https"));
	cli_pair("hsts", "%lld", (long long)json_integer_value(json_object_get(a.json, "hsts")));
	if (*cli_str(a.json, "note"))
		cli_pair("note", "%s", cli_str(a.json, "note"));
	return CLI_OK;
}
