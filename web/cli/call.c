/* Requests to the API.  Layer web, program tulou. */
#include "web/cli/call.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/own.h"
#include "base/parse.h"
#include "config/quota.h"
#include "web/cli/account.h"
#include "web/cli/cli.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define ANSWER_MAX (64u << 20) /* the node's state with 20,000 apps is half of it */
#define CONNECT_S 10
#define ANSWER_S 90 /* above the API's longest wait */

static CURL *curl; /* kept between requests: so is its connection */

struct transfer {
	const struct cli_request *r;
	struct cli_answer *ret;
	bool stopped;	  /* on_data had enough */
	bool idle;	  /* given up: idle_s passed without a byte */
	curl_off_t moved; /* bytes seen so far, both ways */
	int64_t moved_us; /* when the last of them was seen */
};

void cli_answer_done(struct cli_answer *a)
{
	buf_done(&a->body);
	json_decref(a->json);
	a->json = NULL;
}

int cli_status_code(long status)
{
	switch (status) {
	case 400: /* what was typed, which the API knows better */
		return CLI_USAGE;
	case 401:
	case 403: /* a quota, too */
	case 429:
		return CLI_REFUSED;
	case 0:
	case 502:
	case 503:
	case 504:
		return CLI_UNREACHABLE;
	default:
		return status >= 200 && status < 300 ? CLI_OK : CLI_FAILED;
	}
}

/* What to do next, for a person who was refused. */
static const char *next_step(const struct cli *c, long status, const char *detail)
{
	switch (status) {
	case 401:
		return c->bearer ? "\nThe token is not valid here: `tulou login` takes another, `tulou whoami` shows "
				   "the one in use."
				 : "\nThere is no token: `tulou login URL --token TOKEN`, or set TULOU_TOKEN.\n"
				   "The operator's is in the node's data directory: on the node, as root,\n"
				   "tulou login URL --token \"$(cat /var/lib/tulou/control/operator.token)\"  "
				   "(node.data: "
				   "/var/lib/tulou unless its settings say otherwise)";
	case 403:
		/* A quota answers 403 too, and no other token would help. */
		return strstr(detail, "role") && !strstr(detail, "only an operator")
			       ? "\nThe token's role is too weak for that; an admin of the tenant makes "
				 "others with `tulou tokens create`."
			       : "";
	case 409:
		if (strstr(detail, "no live release"))
			return "\n`tulou deploy` makes one; what became of earlier ones: tulou releases, tulou events.";
		if (strstr(detail, "is under way"))
			return "\nHow far it is: tulou ps, tulou events -f.  Try again when it has ended.";
		return strstr(detail, "plan ") && strstr(detail, "still has")
			       ? "\nMove each to another first: tulou tenants set NAME plan=OTHER"
			       : "";
	case 404:
		if (strstr(detail, "no tenant"))
			return "\nAn operator sees them with `tulou tenants`, and makes one with `tulou tenants create "
			       "NAME`.";
		if (strstr(detail, "no plan"))
			return "\n`tulou plans` lists them.";
		if (strstr(detail, "no token"))
			return "\n`tulou tokens` lists them with their ids.";
		if (strstr(detail, "no certificate"))
			return "\n`tulou certs` lists them with their ids.";
		if (strstr(detail, "no build"))
			return "\n`tulou builds` lists them with their ids.";
		return strstr(detail, "no app") ? "\n`tulou apps` lists the apps that this token may see." : "";
	case 429:
		return "\nWait a little, then try again.";
	case 413:
		return "\nLeave out what the app does not need (.gitignore counts).";
	default:
		return "";
	}
}

/* Where the sentence names it, as in "memory_bytes: …" and "tenant acme: memory_bytes: …". */
static const char *in_words_at(const char *detail, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = strstr(detail, name); p; p = strstr(p + n, name))
		if ((p == detail || p[-1] == ' ') && p[n] == ':')
			return p;
	return NULL;
}

/* The refusal in the words of this command line: "limits.burst: 0 is outside …" -> "burst: 0 is outside …", and
 * "memory_bytes: …" -> "memory: …", by the table of config/quota.c. */
static bool in_words(const struct cli *c, const char *detail, const char *field, char *out, size_t cap)
{
	const char *last = field ? strrchr(field, '.') : NULL, *at;
	const struct quota_key *k = field ? quota_key_find(last ? last + 1 : field) : NULL;

	/* KEY=plan, which is null for the API. */
	if (field && strstr(detail, "the tenant is on no plan")) {
		snprintf(out, cap,
			 "%s=plan: the tenant is on no plan\n"
			 "Give a value, or put it on a plan first: tulou tenants set TENANT plan=PLAN",
			 k					? k->name
			 : strcmp(field, "private_layers") == 0 ? "private-layers"
								: field);
		return true;
	}
	for (size_t i = 0; c->words && c->words[i][0]; i++) {
		size_t n = strlen(c->words[i][0]);
		size_t end = strcspn(detail, ":");

		if (strncmp(detail, c->words[i][0], n) != 0 || end < n || (detail[n] != ':' && detail[n] != '['))
			continue;
		snprintf(out, cap, "%s%s", c->words[i][1], detail + end);
		return true;
	}
	/* Of a plan: each instance's, beside the tenant's of the same name. */
	if (k && strncmp(detail, "limits.", 7) == 0 && in_words_at(detail + 7, k->json) == detail + 7) {
		snprintf(out, cap, "app.%s%s", k->name, detail + 7 + strlen(k->json));
		return true;
	}
	at = k ? in_words_at(detail, k->json) : NULL;
	if (at)
		snprintf(out, cap, "%.*s%s%s", (int)(at - detail), detail, k->name, at + strlen(k->json));
	return at != NULL;
}

static int refused(const struct cli *c, const struct cli_request *r, const struct cli_answer *a)
{
	const char *detail = a->json ? json_string_value(json_object_get(a->json, "detail")) : NULL;
	const char *title = a->json ? json_string_value(json_object_get(a->json, "title")) : NULL;
	const char *field = a->json ? json_string_value(json_object_get(a->json, "field")) : NULL;
	int code = cli_status_code(a->status);
	char own[1000];

	if (c->json && (detail || title)) {
		cli_fail_json(a->json);
		return code;
	}
	if (!detail)
		detail = title;
	if (detail && (a->status == 400 || a->status == 403) && in_words(c, detail, field, own, sizeof own))
		return cli_fail(code, "%s", own);
	/* "tenant acme: memory quota 1 GiB, …" names quota.memory already. */
	if (field && (strncmp(field, "quota.", 6) == 0 || strncmp(field, "node.", 5) == 0) && a->status == 403)
		field = NULL;
	/* The field is named unless the sentence does it already. */
	if (detail)
		return cli_fail(code, "%s%s%s%s", field && *field && !strstr(detail, field) ? field : "",
				field && *field && !strstr(detail, field) ? ": " : "", detail,
				next_step(c, a->status, detail ? detail : ""));
	return cli_fail(
		code, "%s answered %ld to %s %s%s%s", c->base, a->status, r->method, r->path,
		a->status == 404 ? "; is that the address of a Tulou node?"
		: a->status == 400 && strncmp(c->base, "http://", 7) == 0
			? "\nIf that is its port for https, write https://: --url, TULOU_URL or `tulou login URL`."
			: "",
		next_step(c, a->status, detail ? detail : ""));
}

/* It answers, with a certificate that nobody known here vouches for, or of another name. */
static int untrusted(const struct cli *c, const char *error)
{
	const char *host = strstr(c->base, "://") ? strstr(c->base, "://") + 3 : c->base, *colon;
	bool local;
	int name;

	if (strstr(error, "subject name"))
		return cli_fail(CLI_UNREACHABLE, "%s: %s\nUse a name that the node's certificate is for.", c->base,
				error);
	colon = host[0] == '[' ? NULL : strchr(host, ':');
	name = (int)(colon ? (size_t)(colon - host) : strlen(host));
	/* Names below localhost are no DNS names: openssl asks DNS alone. */
	local = name >= 9 && strncmp(host + name - 9, "localhost", 9) == 0;
	return cli_fail(
		CLI_UNREACHABLE,
		"%s: its certificate is not trusted here: %s\n"
		"If the node signs its own: copy that from the node, and name the file (PEM) with TULOU_CA=FILE;\n"
		"for git: git config --global http.https://%s/.sslCAInfo FILE.  See tulou(1), ENVIRONMENT.\n"
		"On the node: openssl s_client -connect %s:%s -servername %.*s </dev/null | openssl x509 >FILE",
		c->base, error, host, local ? "127.0.0.1" : "ADDRESS", colon ? colon + 1 : "443", name, host);
}

/* Something answers there, but no TLS. */
static bool speaks_no_tls(CURLcode rc, const char *error)
{
	return rc == CURLE_SSL_CONNECT_ERROR &&
	       (strstr(error, "wrong version number") || strstr(error, "packet length") ||
		strstr(error, "record layer") || strstr(error, "http request"));
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	n *= size;
	if (!t->ret->status)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &t->ret->status);
	if (t->r->on_data && t->ret->status >= 200 && t->ret->status < 300) {
		if (t->r->on_data(t->r->arg, p, n)) {
			t->stopped = true;
			return 0;
		}
		return n;
	}
	return buf_add(&t->ret->body, p, n) ? 0 : n;
}

static int on_progress(void *arg, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total, curl_off_t ul)
{
	struct transfer *t = arg;

	int64_t now = clock_mono_us();

	(void)dl_total;
	if (t->r->on_upload && ul_total > 0)
		t->r->on_upload(t->r->arg, (uint64_t)ul, (uint64_t)ul_total);
	if (dl + ul != t->moved) {
		t->moved = dl + ul;
		t->moved_us = now;
	}
	t->idle = now - t->moved_us >= (t->r->idle_s ? t->r->idle_s : (long)ANSWER_S) * INT64_C(1000000);
	return t->idle;
}

static size_t on_read(char *p, size_t size, size_t n, void *arg)
{
	return fread(p, 1, size * n, arg);
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
	return fseeko(arg, offset, origin) ? CURL_SEEKFUNC_FAIL : CURL_SEEKFUNC_OK;
}

static void set_upload(const struct cli_request *r)
{
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(curl, CURLOPT_READDATA, r->upload);
	curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
	curl_easy_setopt(curl, CURLOPT_SEEKDATA, r->upload);
	curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->upload_size);
	rewind(r->upload);
}

static void set_common(struct cli *c, const struct cli_request *r, struct transfer *t, const char *url,
		       struct curl_slist *head, char error[CURL_ERROR_SIZE])
{
	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, r->method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, head);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "tulou/" TULOU_VERSION);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
	/* A silent connection ends, a slow one does not: on_progress counts, as curl's lowest speed, 1 byte a second,
	 * is more than a heartbeat makes. */
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	if (getenv("TULOU_CA") && *getenv("TULOU_CA"))
		curl_easy_setopt(curl, CURLOPT_CAINFO, getenv("TULOU_CA"));
	/* Names below localhost are this host's, whatever proxy the environment names. */
	if (strstr(c->base, ".localhost") || strstr(c->base, "//localhost") || strstr(c->base, "//127.0.0.1"))
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
}

/* A number that a header of the answer says; -1 when there is none. */
static long answer_header(const char *name)
{
	struct curl_header *h;
	uint64_t n;

	if (curl_easy_header(curl, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK ||
	    parse_u64(h->value, strlen(h->value), 0, INT32_MAX, name, &n, NULL) < 0)
		return -1;
	return (long)n;
}

int cli_request(struct cli *c, const struct cli_request *r, struct cli_answer *ret)
{
	OWN_FREE char *text = r->body ? json_dumps(r->body, JSON_COMPACT) : NULL;
	struct transfer t = {.r = r, .ret = ret, .moved_us = clock_mono_us()};
	struct curl_slist *head = NULL;
	char url[4096], line[1200], error[CURL_ERROR_SIZE] = "";
	struct err e = {0};
	CURLcode rc;

	*ret = (struct cli_answer){.changed = -1, .release = -1};
	buf_init(&ret->body, ANSWER_MAX);
	if (cli_account(c, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	if (!curl && !(curl = curl_easy_init()))
		return cli_fail(CLI_FAILED, "out of memory");
	snprintf(url, sizeof url, "%s%s", c->base, r->path);
	snprintf(line, sizeof line, "Accept: %s", r->accept ? r->accept : "application/json, application/problem+json");
	head = curl_slist_append(head, line);
	if (c->bearer) {
		snprintf(line, sizeof line, "Authorization: Bearer %s", c->bearer);
		head = curl_slist_append(head, line);
	}
	head = curl_slist_append(head, r->upload ? "Content-Type: application/octet-stream"
						 : "Content-Type: application/json");
	head = curl_slist_append(head, "Expect:");
	set_common(c, r, &t, url, head, error);
	if (r->upload) {
		set_upload(r);
	} else if (text) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
	} else if (strcmp(r->method, "POST") == 0 || strcmp(r->method, "PUT") == 0) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "{}");
	}
	if (r->upload)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, r->method);
	rc = curl_easy_perform(curl);
	curl_slist_free_all(head);
	/* Of a broken exchange the status may be there all the same, and says more than the break. */
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret->status);
	ret->changed = answer_header("Tulou-Changed");
	ret->release = answer_header("Tulou-Release");
	if (ret->body.len > 0)
		ret->json = json_read(ret->body.data, ret->body.len, ANSWER_MAX, NULL);
	if (rc && !t.stopped && (ret->status == 0 || (ret->status >= 200 && ret->status < 300))) {
		bool started = ret->status != 0;

		ret->status = 0;
		if (r->quiet)
			return CLI_UNREACHABLE;
		if (rc == CURLE_SSL_CACERT_BADFILE)
			return cli_fail(CLI_USAGE, "TULOU_CA: %s holds no certificates in PEM that can be read",
					getenv("TULOU_CA") ? getenv("TULOU_CA") : "the list of authorities");
		if (rc == CURLE_PEER_FAILED_VERIFICATION)
			return untrusted(c, error[0] ? error : curl_easy_strerror(rc));
		if (speaks_no_tls(rc, error))
			return cli_fail(
				CLI_UNREACHABLE,
				"%s: what answers there speaks no https\n"
				"If that is its port for http, write http://: --url, TULOU_URL or `tulou login URL`.",
				c->base);
		return cli_fail(CLI_UNREACHABLE, "%s %s: %s%s", c->base,
				started ? "broke off the answer" : "does not answer",
				t.idle	   ? "nothing came for too long"
				: error[0] ? error
					   : curl_easy_strerror(rc),
				started || c->url || getenv("TULOU_URL")
					? ""
					: "\nAnother node: --url URL, TULOU_URL, or `tulou login URL`.");
	}
	if (cli_status_code(ret->status) == CLI_OK)
		return CLI_OK;
	return r->quiet ? cli_status_code(ret->status) : refused(c, r, ret);
}

int cli_call(struct cli *c, const char *method, const char *path, json_t *body, struct cli_answer *ret)
{
	struct cli_request r = {.method = method, .path = path, .body = body};
	int code = cli_request(c, &r, ret);

	if (code == CLI_OK && ret->body.len > 0 && !ret->json)
		return cli_fail(CLI_FAILED, "%s answered something that is not JSON to %s %s; is that a Tulou node?",
				c->base, method, path);
	return code;
}

int cli_list(struct cli *c, const char *path, json_t **ret)
{
	OWN_JSON json_t *all = json_array();
	char page[1024], after[400] = "";

	for (;;) {
		OWN_ANSWER struct cli_answer a = {0};
		const char *next;
		int code;

		snprintf(page, sizeof page, "%s%climit=200%s%s", path, strchr(path, '?') ? '&' : '?',
			 after[0] ? "&after=" : "", after);
		code = cli_call(c, "GET", page, NULL, &a);
		if (code)
			return code;
		if (json_array_extend(all, json_object_get(a.json, "items")))
			return cli_fail(CLI_FAILED, "%s answered no list to GET %s", c->base, path);
		next = json_string_value(json_object_get(a.json, "next"));
		if (!next || json_array_size(json_object_get(a.json, "items")) == 0)
			break;
		cli_path(after, sizeof after, "%s", next);
	}
	*ret = json_pack("{s:O}", "items", all);
	return *ret ? CLI_OK : cli_fail(CLI_FAILED, "out of memory");
}

void cli_path(char *out, size_t cap, const char *fmt, ...)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt && n + 4 < cap; fmt++) {
		const char *s;

		if (fmt[0] != '%' || (fmt[1] != 's' && fmt[1] != 'r')) {
			out[n++] = *fmt;
			continue;
		}
		fmt++;
		for (s = va_arg(ap, const char *); *s && n + 4 < cap; s++) {
			unsigned char b = (unsigned char)*s;

			if (*fmt == 'r' || (b >= '0' && b <= '9') || ((b | 32) >= 'a' && (b | 32) <= 'z') ||
			    strchr("-._~", b)) {
				out[n++] = *s;
			} else {
				out[n++] = '%';
				out[n++] = hex[b >> 4];
				out[n++] = hex[b & 15];
			}
		}
	}
	va_end(ap);
	out[n] = 0;
}

int cli_app_path(struct cli *c, char *out, size_t cap, const char *rest)
{
	struct err e = {0};

	if (cli_account_app(c, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	cli_path(out, cap, "/v1/apps/%s%r", c->app_name, rest);
	return CLI_OK;
}

void cli_app_of_word(struct cli *c)
{
	if (c->argc > 0)
		c->app = c->argv[0];
}

void cli_call_done(void)
{
	if (curl)
		curl_easy_cleanup(curl);
	curl = NULL;
}
