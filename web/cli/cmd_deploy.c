/* tulou deploy, builds, releases, rollback.  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "base/utf8.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/follow.h"
#include "web/cli/list.h"
#include "web/cli/out.h"
#include "web/cli/pack.h"

#include <string.h>
#include <sys/stat.h>

/* A build may be silent while it compiles; the node ends it after its own limit (15 minutes by default). */
#define BUILD_IDLE_S 1800

struct deploy {
	struct cli *c;
	struct cli_lines lines;
	long long build;
	bool ended, succeeded, refused, progress;
	char error[512], url[512];
	double release;
};

static int deploy_line(void *arg, char *line, size_t n)
{
	struct deploy *d = arg;
	OWN_JSON json_t *j = json_read(line, n, CLI_LINE_MAX, NULL);
	json_t *log, *result;

	if (d->progress) {
		fputs("\r\033[K", stderr);
		d->progress = false;
	}
	if (!j)
		return 0;
	if (d->c->json) {
		json_dumpf(j, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
		fflush(stdout);
	}
	log = json_object_get(j, "log");
	result = json_object_get(j, "result");
	if (json_is_integer(json_object_get(j, "build")))
		d->build = json_integer_value(json_object_get(j, "build"));
	if (json_is_string(log) && !d->c->json) {
		cli_text(stdout, json_string_value(log), json_string_length(log));
		fflush(stdout);
	}
	if (json_is_string(result)) {
		d->ended = true;
		d->succeeded = strcmp(json_string_value(result), "succeeded") == 0;
		d->release = cli_num(j, "release");
		d->refused = *cli_str(j, "limit") != 0;
		snprintf(d->error, sizeof d->error, "%s", cli_str(j, "error"));
		snprintf(d->url, sizeof d->url, "%s", cli_str(j, "url"));
	}
	return 0;
}

static int deploy_data(void *arg, const char *p, size_t n)
{
	struct deploy *d = arg;

	return cli_lines_feed(&d->lines, p, n);
}

static void deploy_upload(void *arg, uint64_t sent, uint64_t total)
{
	struct deploy *d = arg;
	char a[16], b[16];

	if (!d->c->colour_err || d->build)
		return;
	if (sent >= total && !d->progress)
		return;
	fprintf(stderr, "\r\033[KUploading %s of %s", cli_bytes(a, (double)sent), cli_bytes(b, (double)total));
	d->progress = true;
}

static int deploy_open(struct cli *c, const char *path, struct cli_packed *packed)
{
	struct err e = {0};
	struct stat st;
	char size[16];

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		if (cli_pack(path, packed, &e))
			return cli_fail(CLI_FAILED, "%s", e.text);
		if (!c->json)
			fprintf(stderr, "Packed %u file%s, %s%s\n", packed->files, packed->files == 1 ? "" : "s",
				cli_bytes(size, (double)packed->size),
				packed->skipped ? "; left out what is neither file, folder nor link" : "");
		return CLI_OK;
	}
	return cli_pack_file(path, packed, &e) ? cli_fail(CLI_FAILED, "%s", e.text) : CLI_OK;
}

int cli_cmd_deploy(struct cli *c)
{
	struct deploy d = {.c = c};
	OWN_ANSWER struct cli_answer a = {0};
	struct cli_packed packed = {0};
	OWN_FILE FILE *file = NULL;
	char path[128];
	struct cli_request r = {.method = "POST",
				.path = path,
				.accept = "application/x-ndjson, application/problem+json",
				.idle_s = BUILD_IDLE_S,
				.on_data = deploy_data,
				.on_upload = deploy_upload,
				.arg = &d};
	int code = cli_app_path(c, path, sizeof path, "/builds");

	if (!code)
		code = deploy_open(c, c->argc > 0 ? c->argv[0] : ".", &packed);
	if (code)
		return code;
	file = packed.file;
	d.lines = (struct cli_lines){.on_line = deploy_line, .arg = &d};
	r.upload = file;
	r.upload_size = packed.size;
	code = cli_request(c, &r, &a);
	cli_lines_done(&d.lines);
	if (d.progress)
		fputc('\n', stderr);
	if (code) {
		if (d.build)
			cli_fail(code, "build %lld may go on; look with: tulou builds log %lld -a %s", d.build, d.build,
				 c->app_name);
		return code;
	}
	if (!d.ended)
		return cli_fail(CLI_UNREACHABLE, "the answer ended before the build did; look with: tulou builds -a %s",
				c->app_name);
	if (!d.succeeded)
		return cli_fail(d.refused ? CLI_REFUSED : CLI_FAILED, "not deployed: %s",
				d.error[0] ? d.error : "the build failed");
	if (!c->json)
		cli_say("Deployed v%.0f: %s\n", d.release,
			d.url[0] ? d.url : "nothing answers at an address now; its log above says why");
	return CLI_OK;
}

int cli_cmd_builds(struct cli *c)
{
	static const char *const heads[] = {">ID",	 "STATE", "SOURCE",  "COMMIT",
					    "BUILDPACK", ">SIZE", "STARTED", "ERROR"};
	OWN_JSON json_t *list = NULL;
	struct cli_table *t;
	char path[128];
	json_t *b;
	size_t i;
	int code = cli_app_path(c, path, sizeof path, "/builds");

	if (!code)
		code = cli_list(c, path, &list);
	if (code)
		return code;
	if (c->json) {
		cli_json(list);
		return CLI_OK;
	}
	t = cli_table_new(ARRAY_LEN(heads), heads);
	json_array_foreach(json_object_get(list, "items"), i, b)
	{
		char id[24], commit[9], size[16], ago[32];

		snprintf(commit, sizeof commit, "%.8s", cli_str(b, "commit"));
		if (json_is_string(json_object_get(b, "id")))
			snprintf(id, sizeof id, "%.20s", cli_str(b, "id"));
		else
			snprintf(id, sizeof id, "%.0f", cli_num(b, "id"));
		cli_table_add(t, id, cli_str(b, "state"), cli_str(b, "source"), commit, cli_str(b, "buildpack"),
			      cli_bytes(size, cli_num(b, "size_bytes")), cli_since(ago, cli_str(b, "created_at")),
			      cli_str(b, "error"));
	}
	cli_table_print(c, t, "There are no builds yet. Deploy with: tulou deploy");
	return CLI_OK;
}

static int print_text(void *arg, const char *p, size_t n)
{
	(void)arg;
	cli_text(stdout, p, n);
	fflush(stdout);
	return 0;
}

static int log_line(void *arg, char *line, size_t n)
{
	OWN_JSON json_t *j = json_pack("{s:s%}", "text", line, n);
	char safe[4096];

	(void)arg;
	if (!j) { /* it is not UTF-8 */
		utf8_escape(safe, sizeof safe, line, n);
		j = json_pack("{s:s}", "text", safe);
	}
	json_dumpf(j, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
	fflush(stdout);
	return 0;
}

static int feed_lines(void *arg, const char *p, size_t n)
{
	return cli_lines_feed(arg, p, n);
}

/* The id of the newest build; false when there is none. */
static bool last_build(json_t *list, char out[24])
{
	json_int_t best = 0;
	json_t *b;
	size_t i;

	json_array_foreach(json_object_get(list, "items"), i, b)
	{
		json_t *id = json_object_get(b, "id");
		json_int_t n = json_is_string(id) ? strtoll(json_string_value(id), NULL, 10) : json_integer_value(id);

		if (n > best)
			best = n;
	}
	snprintf(out, 24, "%lld", (long long)best);
	return best > 0;
}

int cli_cmd_builds_log(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	OWN_JSON json_t *list = NULL;
	char path[160], base[128], id[24];
	struct cli_request r = {.method = "GET",
				.path = path,
				.accept = "text/plain, application/problem+json",
				.idle_s = BUILD_IDLE_S,
				.on_data = print_text};
	struct cli_lines lines = {.on_line = log_line};
	int code = cli_app_path(c, base, sizeof base, "/builds");

	if (!code && c->argc == 0)
		code = cli_list(c, base, &list);
	if (code)
		return code;
	if (c->argc == 0 && !last_build(list, id))
		return cli_fail(CLI_FAILED, "there are no builds yet");
	cli_path(path, sizeof path, "%r/%s/log%r", base, c->argc > 0 ? c->argv[0] : id,
		 cli_value(c, "follow") ? "?follow=1" : "");
	if (c->json) { /* a line each, as `tulou logs --json` */
		r.on_data = feed_lines;
		r.arg = &lines;
	}
	code = cli_request(c, &r, &a);
	if (lines.len > 0)
		log_line(NULL, lines.data, lines.len);
	cli_lines_done(&lines);
	return code;
}

int cli_cmd_releases(struct cli *c)
{
	static const char *const heads[] = {"VERSION", "STATE", "MADE", "NOTE"};
	OWN_JSON json_t *list = NULL;
	struct cli_table *t;
	char path[128], none[128];
	json_t *r;
	size_t i;
	int code = cli_app_path(c, path, sizeof path, "/releases");

	if (!code)
		code = cli_list(c, path, &list);
	if (code)
		return code;
	if (c->json) {
		cli_json(list);
		return CLI_OK;
	}
	t = cli_table_new(ARRAY_LEN(heads), heads);
	json_array_foreach(json_object_get(list, "items"), i, r)
	{
		char version[24], ago[32];

		snprintf(version, sizeof version, "v%.0f", cli_num(r, "version"));
		cli_table_add(t, version, cli_str(r, "state"), cli_since(ago, cli_str(r, "created_at")),
			      cli_str(r, "note"));
	}
	snprintf(none, sizeof none, "There are no releases yet. Deploy with: tulou deploy -a %s", c->app_name);
	cli_table_print(c, t, none);
	return CLI_OK;
}

/* "v12" or "12"; 0 when it is neither. */
static unsigned version_of(const char *s)
{
	char *end;
	unsigned long v;

	s += *s == 'v';
	v = *s >= '0' && *s <= '9' ? strtoul(s, &end, 10) : 0;
	return v > 0 && v < 1000000000 && *end == 0 ? (unsigned)v : 0;
}

static void release_print(struct cli *c, json_t *release)
{
	const char *type;
	json_t *command;
	char ago[32];

	(void)c;
	cli_pair("release", "v%.0f", cli_num(release, "version"));
	cli_pair("state", "%s", cli_str(release, "state"));
	cli_pair("made", "%s", cli_since(ago, cli_str(release, "created_at")));
	cli_pair("note", "%s", cli_str(release, "note"));
	json_object_foreach(json_object_get(release, "types"), type, command)
		cli_pair(type, "%s", json_string_value(command) ? json_string_value(command) : "");
}

int cli_cmd_releases_info(struct cli *c)
{
	unsigned version = version_of(c->argv[0]);
	char rest[64];

	if (!version)
		return cli_fail(CLI_USAGE, "version: '%.40s' is not one like v3", c->argv[0]);
	snprintf(rest, sizeof rest, "/releases/%u", version);
	return cli_show_app(c, rest, release_print);
}

int cli_cmd_rollback(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	OWN_ANSWER struct cli_answer a = {0};
	char path[128];
	int code;

	if (c->argc > 0) {
		unsigned version = version_of(c->argv[0]);

		if (!version)
			return cli_fail(CLI_USAGE, "version: '%.40s' is not one like v3", c->argv[0]);
		json_object_set_new(body, "version", json_integer(version));
	}
	code = cli_app_path(c, path, sizeof path, "/rollback");
	if (!code)
		code = cli_call(c, "POST", path, body, &a);
	if (code)
		return code;
	return cli_follow(c, a.json);
}
