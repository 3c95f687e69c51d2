/* Which node, as whom, which app.  Layer web, program tulou. */
#include "web/cli/account.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/own.h"
#include "base/parse.h"
#include "config/limits.h"
#include "web/cli/cli.h"
#include "web/cli/pack.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_URL "http://tulou.localhost:8080" /* the embedded default of a node */
#define CONFIG_MAX 65536

/* Where a node on this host with embedded defaults keeps the operator's token; only root can read it. */
static const char *const token_files[] = {"/var/lib/tulou/control/operator.token", "/var/lib/tulou/operator.token"};

static void own_curlu_p(CURLU **u)
{
	curl_url_cleanup(*u);
}

static void own_curl_free_p(char **p)
{
	curl_free(*p);
}

int cli_account_url(const char *text, char **ret, struct err *e)
{
	__attribute__((cleanup(own_curlu_p))) CURLU *u = curl_url();
	__attribute__((cleanup(own_curl_free_p))) char *scheme = NULL, *user = NULL, *query = NULL, *fragment = NULL,
						       *whole = NULL;
	char with_scheme[1024];
	size_t n;

	if (!u)
		return err_set(e, ENOMEM, "out of memory");
	if ((size_t)snprintf(with_scheme, sizeof with_scheme, "%s%s", strstr(text, "://") ? "" : "http://", text) >=
	    sizeof with_scheme)
		return err_field(e, EINVAL, "url", "the URL is longer than %zu bytes", sizeof with_scheme - 1);
	if (curl_url_set(u, CURLUPART_URL, with_scheme, 0) || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
	    (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		return err_field(e, EINVAL, "url",
				 "'%.100s' is not the URL of a node; write it as https://tulou.example.com", text);
	curl_url_get(u, CURLUPART_USER, &user, 0);
	curl_url_get(u, CURLUPART_QUERY, &query, 0);
	curl_url_get(u, CURLUPART_FRAGMENT, &fragment, 0);
	if (user || query || fragment)
		return err_field(e, EINVAL, "url",
				 "a node's URL has no user, query or fragment; the token goes into --token");
	if (curl_url_get(u, CURLUPART_URL, &whole, 0))
		return err_set(e, ENOMEM, "out of memory");
	n = strlen(whole);
	while (n > 0 && whole[n - 1] == '/')
		n--;
	*ret = strndup(whole, n);
	return *ret ? 0 : err_set(e, ENOMEM, "out of memory");
}

/* The folder of the saved file; "" when there is no home. */
static void config_dir(char out[512])
{
	const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	out[0] = 0;
	if (xdg && xdg[0] == '/')
		snprintf(out, 512, "%s/tulou", xdg);
	else if (home && home[0] == '/')
		snprintf(out, 512, "%s/.config/tulou", home);
}

static int saved_read(char **url, char **token, struct err *e)
{
	OWN_JSON json_t *j = NULL;
	OWN_FREE char *text = NULL;
	const char *u = NULL, *t = NULL;
	char dir[512], path[600];
	size_t n = 0;
	int r;

	config_dir(dir);
	if (!dir[0])
		return 0;
	snprintf(path, sizeof path, "%s/config.json", dir);
	r = fd_read_file(AT_FDCWD, path, CONFIG_MAX, &text, &n);
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r)
		return err_set(e, -r, "%s cannot be read: %s", path, strerror(-r));
	j = json_read(text, n, CONFIG_MAX, e);
	if (!j || json_get_str(j, "url", false, 1024, &u, e) || json_get_str(j, "token", false, 1024, &t, e)) {
		err_wrap(e, "%s", path);
		return -EINVAL;
	}
	if (u)
		*url = strdup(u);
	if (t)
		*token = strdup(t);
	return 0;
}

static void token_of_host(struct cli *c)
{
	for (size_t i = 0; !c->bearer && i < ARRAY_LEN(token_files); i++) {
		OWN_FREE char *text = NULL;
		size_t n = 0;

		if (fd_read_file(AT_FDCWD, token_files[i], 256, &text, &n))
			continue;
		text[strcspn(text, " \r\n")] = 0;
		c->bearer = TAKE_PTR(text);
	}
}

int cli_account(struct cli *c, struct err *e)
{
	OWN_FREE char *saved_url = NULL, *saved_token = NULL;
	const char *env_url = getenv("TULOU_URL"), *env_token = getenv("TULOU_TOKEN");
	const char *url = c->url ? c->url : env_url && env_url[0] ? env_url : NULL;
	const char *token = c->token ? c->token : env_token && env_token[0] ? env_token : NULL;
	int r;

	if (c->base)
		return 0;
	r = saved_read(&saved_url, &saved_token, e);
	if (r)
		return r;
	r = cli_account_url(url ? url : saved_url ? saved_url : DEFAULT_URL, &c->base, e);
	if (r)
		return r;
	if (!token && saved_url && saved_token && strcmp(saved_url, c->base) == 0)
		token = saved_token;
	if (token) {
		/* It becomes a header line. */
		for (const char *p = token; *p; p++)
			if (*p <= ' ' || *p > '~')
				return err_field(e, EINVAL, "token",
						 "a token has no blanks, controls or letters beyond ASCII");
		c->bearer = strdup(token);
		if (!c->bearer)
			return err_set(e, ENOMEM, "out of memory");
	} else if (strcmp(c->base, DEFAULT_URL) == 0) { /* whoever holds another port may be anybody */
		token_of_host(c);
	}
	return 0;
}

void cli_account_done(struct cli *c)
{
	free(TAKE_PTR(c->base));
	free(TAKE_PTR(c->bearer));
	free(TAKE_PTR(c->app_name));
}

int cli_account_save(const char *url, const char *token, struct err *e)
{
	OWN_JSON json_t *j = json_pack("{s:s, s:s}", "url", url, "token", token);
	OWN_FREE char *text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;
	char dir[512], path[600];
	int r;

	config_dir(dir);
	if (!dir[0])
		return err_set(e, ENOENT, "there is no home directory to save it in; use TULOU_URL and TULOU_TOKEN");
	if (!text)
		return err_set(e, ENOMEM, "out of memory");
	snprintf(path, sizeof path, "%s/config.json", dir);
	r = fd_mkdirs(dir, 0700);
	if (!r)
		r = fd_replace_file(AT_FDCWD, path, text, strlen(text), 0600, false);
	return r ? err_set(e, -r, "%s cannot be written: %s", path, strerror(-r)) : 0;
}

int cli_account_forget(struct err *e)
{
	char dir[512], path[600];

	config_dir(dir);
	if (!dir[0])
		return 0;
	snprintf(path, sizeof path, "%s/config.json", dir);
	if (unlink(path) && errno != ENOENT)
		return err_errno(e, "%s cannot be removed", path);
	return 0;
}

bool cli_account_remote(const char *url, char *out, size_t cap)
{
	const char *git = strstr(url, "/git/"), *name = git ? git + 5 : NULL;
	size_t n = name ? strcspn(name, "/ \r\n") : 0;

	if (n > 4 && strncmp(name + n - 4, ".git", 4) == 0)
		n -= 4;
	if (n == 0 || n >= cap)
		return false;
	memcpy(out, name, n);
	out[n] = 0;
	return parse_name(out, LIMIT_APP_NAME, "app", NULL) == 0;
}

int cli_account_app(struct cli *c, struct err *e)
{
	OWN_FREE char *text = NULL;
	const char *env = getenv("TULOU_APP"), *name = c->app ? c->app : env && env[0] ? env : NULL;
	char from_remote[LIMIT_APP_NAME + 1];
	size_t n = 0;

	if (c->app_name)
		return 0;
	if (!name) {
		const char *const argv[] = {"git", "config", "--get", "remote.tulou.url", NULL};

		if (cli_pack_command(argv, 4096, &text, &n) == 0 &&
		    cli_account_remote(text, from_remote, sizeof from_remote))
			name = from_remote;
	}
	if (!name) {
		OWN_FREE char *json = NULL;
		size_t len = 0;

		if (fd_read_file(AT_FDCWD, "app.json", LIMIT_MANIFEST_BYTES, &json, &len) == 0) {
			OWN_JSON json_t *j = json_read(json, len, LIMIT_MANIFEST_BYTES, NULL);
			const char *s = j ? json_string_value(json_object_get(j, "name")) : NULL;

			if (s && parse_name(s, LIMIT_APP_NAME, "name", NULL) == 0)
				c->app_name = strdup(s);
		}
		if (c->app_name)
			return 0;
	}
	if (!name)
		return err_set(e, ENOENT, "which app? Say -a APP or set TULOU_APP; `tulou apps` lists them");
	if (parse_name(name, LIMIT_APP_NAME, "app", e))
		return -EINVAL;
	c->app_name = strdup(name);
	return c->app_name ? 0 : err_set(e, ENOMEM, "out of memory");
}
