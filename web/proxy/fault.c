/* The answers we give ourselves: which of us failed, and what to do.  Layer web, proxy process.
 * Nothing that a client or an app sent appears in them but the request id, which is a token; an owner's text for
 * maintenance does, escaped. */
#include "web/proxy/fault_text.h"
#include "web/proxy/internal.h"

#include "web/proxy/policy.h"

#include <stdio.h>
#include <string.h>

static const struct {
	unsigned status, retry_s; /* status 0: the caller's */
	const char *name;	  /* for machines */
	const char *who;	  /* which of us failed */
	const char *what, *todo;
} fault_rows[FAULT_COUNT] = {
	[FAULT_REQUEST] = {0, 0, "bad-request", "The request", "The request breaks the rules of HTTP",
			   "Correct the program that sent it; repeating the request as it is will not help."},
	[FAULT_SLOW_REQUEST] = {408, 0, "slow-request", "The request", "The request came too slowly",
				"Try again over a better connection."},
	[FAULT_UNKNOWN_HOST] =
		{404, 0, "unknown-host", "The address", "No app is served under this name",
		 "Check the address. If the app is yours: is it created, and is this domain added to it?"},
	[FAULT_APP_REFUSED] =
		{502, 2, "app-refused", "The app", "The app does not accept connections",
		 "Try again in a moment. If the app is yours: does it listen on $PORT? Its log tells more."},
	[FAULT_APP_CLOSED] =
		{502, 0, "app-closed", "The app", "The app closed the connection without an answer",
		 "If the app is yours: it probably crashed while it worked on this request; its log tells more."},
	[FAULT_APP_BAD_ANSWER] = {502, 0, "app-bad-answer", "The app", "The app's answer breaks the rules of HTTP",
				  "If the app is yours: correct how it writes its answer."},
	[FAULT_APP_SLOW] = {504, 0, "app-slow", "The app", "The app did not answer in time",
			    "Try again later. If the app is yours: answer within 60 seconds, and do longer work in the "
			    "background."},
	[FAULT_APP_SLOW_CONNECT] = {504, 2, "app-stuck", "The app", "The app does not take new connections",
				    "Try again in a moment. If the app is yours: it may be overloaded or stuck."},
	[FAULT_APP_EMPTY] = {503, 30, "app-empty", "The app", "The app has nothing running",
			     "If the app is yours: deploy it, or scale its web process to at least 1."},
	[FAULT_APP_CRASHED] =
		{503, 30, "app-crashed", "The app", "The app keeps crashing",
		 "If the app is yours: its log and events say why it ends. It is started again from time to time."},
	[FAULT_APP_PAUSED] = {503, 60, "app-paused", "The app's owner", "The app is paused",
			      "Its owner can resume it."},
	[FAULT_APP_WAITED] = {503, 2, "app-not-up", "The app", "The app did not come up in time",
			      "Try again in a moment. If the app is yours: its log tells how far the start came."},
	[FAULT_APP_CROWDED] = {503, 5, "app-crowded", "The app", "Too many requests wait for the app to come up",
			       "Try again in a moment."},
	[FAULT_APP_BUSY] = {503, 2, "app-busy", "The app", "The app is busy",
			    "Try again in a moment. If the app is yours: all instances are at its setting concurrency; "
			    "scale it up."},
	[FAULT_APP_GONE] = {404, 0, "unknown-host", "The address", "No app is served under this name",
			    "Check the address. If the app is yours: is it created, and is this domain added to it?"},
	[FAULT_CONTROL_AWAY] = {503, 2, "control-away", "Tulou", "The control plane is restarting",
				"Try again in a moment. Apps are not affected."},
	[FAULT_MISDIRECTED] = {421, 0, "misdirected", "The client",
			       "The connection was opened for another host than the one that is asked for",
			       "Open a connection for this host."},
	[FAULT_HTTPS_OFF] = {421, 0, "https-off", "The address", "This app is not served over https",
			     "Write http:// for it. If the app is yours: its setting https is off."},
	[FAULT_TO_HTTPS] = {308, 0, "to-https", "Nobody", "This app is served over https",
			    "Follow the Location of this answer."},
	[FAULT_PATH] = {400, 0, "ambiguous-path", "The request", "The path can be read in more than one way",
			"Write it without \".\" and \"..\" and without backslashes."},
	[FAULT_ADDRESS] = {403, 0, "address-refused", "The app's owner", "The app does not serve your address",
			   "Its owner can add your address to those that it serves."},
	[FAULT_MAINTENANCE] = {503, 300, "maintenance", "The app's owner", "The app is being worked on",
			       "Try again later."},
	[FAULT_AUTH] = {401, 0, "auth-required", "The request", "The app wants a name and a password",
			"Send them, or correct them. Its owner gives them out."},
	[FAULT_GUESSES] = {429, 6, "too-many-guesses", "The client", "Too many wrong passwords came from your address",
			   "Wait a moment, then try again."},
	[FAULT_CLIENT_RATE] = {429, 1, "client-rate", "The client", "Too many requests came from your address",
			       "Wait a moment, then try again."},
	[FAULT_RATE] = {429, 1, "app-rate", "The app's owner", "The app gets more requests than it is set to serve",
			"Try again in a moment. If the app is yours: its rate is a setting of its front door."},
	[FAULT_TOTAL_RATE] = {429, 1, "tenant-rate", "The app's owner",
			      "The apps of this owner get more requests than their quota",
			      "Try again in a moment. If the app is yours: the operator sets the quota."},
	[FAULT_CROWD] = {429, 1, "app-concurrent", "The app's owner",
			 "The app serves as many requests as it is set to at a time",
			 "Try again in a moment. If the app is yours: the number is a setting of its front door."},
	[FAULT_TOTAL_CROWD] = {429, 1, "tenant-concurrent", "The app's owner",
			       "The apps of this owner serve as many requests as their quota at a time",
			       "Try again in a moment. If the app is yours: the operator sets the quota."},
	[FAULT_BODY] = {413, 0, "body-too-large", "The request", "The body is larger than the app takes",
			"Send less. If the app is yours: the size is a setting of its front door."},
	[FAULT_TIME] = {504, 0, "time-over", "The app", "The request took longer than the app allows",
			"Try again later. If the app is yours: the time is a setting of its front door."},
	[FAULT_BUSY] = {503, 2, "busy", "Tulou", "This host is out of connections or memory", "Try again in a moment."},
};

enum fault_form { FORM_PLAIN, FORM_JSON, FORM_HTML };

static bool fault_has(struct http_str v, const char *what)
{
	return memmem(v.p, v.n, what, strlen(what)) != NULL;
}

/* In which form and language the client wants it. */
static enum fault_form fault_form(struct client *c, const struct fault_text **text)
{
	struct proxy *p = c->proxy;
	struct fault_choice choice = {0};
	enum fault_form form = FORM_PLAIN;

	*text = NULL;
	/* A head that was refused may have been left half way. */
	if (c->head_len == 0 || c->host.n == 0)
		return FORM_PLAIN;
	client_reparse(c);
	for (unsigned i = 0; i < p->req.head.count; i++) {
		const struct http_field *f = &p->req.head.fields[i];
		if (f->id == HTTP_FIELD_ACCEPT && form == FORM_PLAIN)
			form = fault_has(f->value, "text/html") ? FORM_HTML
			       : fault_has(f->value, "json")	? FORM_JSON
								: FORM_PLAIN;
		else if (http_eq(f->name, "accept-language"))
			fault_text_accept(f->value.p, f->value.n, &choice);
	}
	if (form == FORM_HTML)
		*text = choice.text;
	return form;
}

/* The page of a person: what happened and what to do in their language, the rest for whom the app belongs to. */
static int fault_html(struct client *c, enum fault f, unsigned status, const char *why, const struct fault_text *t,
		      char *out, size_t cap)
{
	const char *what = fault_rows[f].what, *todo = fault_rows[f].todo, *sep = why[0] ? ": " : "";
	char english[LIMIT_FRONT_TEXT * 6 + 640];

	snprintf(english, sizeof english, "<p>%s%s%s.</p><p>%s</p>\n", what, sep, why, todo);
	return snprintf(
		out, cap,
		"<!doctype html>\n<html lang=\"%s\"><head><meta charset=\"utf-8\">"
		"<meta name=\"viewport\" content=\"width=device-width\"><title>%u %s</title>\n"
		"<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;"
		"color:#222;background:#fff}h1{font-size:1.4em}small,details{color:#666}"
		"@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}small,details{color:#999}}"
		"</style></head>\n<body><h1>%s</h1>%s%s%s%s%s%s%s%s%s"
		"<p><small lang=\"en\">%u %s &middot; failed: %s</small><br>"
		"<small>%s %.*s</small></p></body></html>\n",
		t ? t->lang : "en", status, t ? t->what[f] : what, t ? t->what[f] : what, t ? "<p>" : "",
		t ? t->todo[fault_todo_of(f)] : "", t ? "</p>\n<details lang=\"en\"><summary lang=\"" : "",
		t ? t->lang : "", t ? "\">" : "", t ? t->details : "", t ? "</summary>" : "", english,
		t ? "</details>" : "", status, http_reason(status), fault_rows[f].who, t ? t->request : "Request",
		c->id_len, c->id);
}

static int fault_body(struct client *c, enum fault f, unsigned status, const char *why, enum fault_form form,
		      const struct fault_text *text, char *out, size_t cap)
{
	const char *who = fault_rows[f].who, *what = fault_rows[f].what, *todo = fault_rows[f].todo;
	const char *sep = why[0] ? ": " : "";
	int id = c->id_len;

	if (form == FORM_HTML)
		return fault_html(c, f, status, why, text, out, cap);
	if (form == FORM_JSON)
		return snprintf(out, cap,
				"{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":\"%s%s%s. %s\","
				"\"fault\":\"%s\",\"request_id\":\"%.*s\"}\n",
				http_reason(status), status, what, sep, why, todo, fault_rows[f].name, id, c->id);
	return snprintf(out, cap, "%u %s\n%s%s%s.\n%s\nfailed: %s, request %.*s\n", status, http_reason(status), what,
			sep, why, todo, who, id, c->id);
}

/* `why` inside JSON and HTML: constant text of ours, or an owner's, which is UTF-8 without controls. */
static void fault_clean(char *out, size_t cap, const char *why, enum fault_form form)
{
	size_t n = 0;

	for (; *why && n + 7 < cap; why++) {
		const char *as = form == FORM_HTML   ? (*why == '<'   ? "&lt;"
							: *why == '>' ? "&gt;"
							: *why == '&' ? "&amp;"
							: *why == '"' ? "&quot;"
								      : NULL)
				 : form == FORM_JSON ? (*why == '"'    ? "\\\""
							: *why == '\\' ? "\\\\"
								       : NULL)
						     : NULL;
		if (as)
			while (*as)
				out[n++] = *as++;
		else
			out[n++] = *why;
	}
	out[n] = '\0';
}

size_t fault_page(struct client *c, enum fault f, unsigned *status, const char *why, bool close, char *out)
{
	static const char *const types[] = {
		[FORM_PLAIN] = "text/plain; charset=utf-8",
		[FORM_JSON] = "application/problem+json",
		[FORM_HTML] = "text/html; charset=utf-8",
	};
	const struct fault_text *text;
	enum fault_form form = fault_form(c, &text);
	char body[6144], clean[LIMIT_FRONT_TEXT * 6 + 8], retry[40] = "", port[8] = "", more[160];
	unsigned retry_s = c->policy.retry_s ? c->policy.retry_s : fault_rows[f].retry_s;
	size_t host = 0;
	int n, len;

	if (fault_rows[f].status)
		*status = fault_rows[f].status;
	fault_clean(clean, sizeof clean, why, form);
	policy_fault_fields(c, f, more, sizeof more);
	if (text && !text->what[f])
		text = NULL;
	len = fault_body(c, f, *status, clean, form, text, body, sizeof body);
	if (retry_s)
		snprintf(retry, sizeof retry, "Retry-After: %u\r\n", retry_s);
	if (f == FAULT_TO_HTTPS) {
		/* Checked: a host holds no control byte, a target none either. */
		for (bool in = false; host < c->host.n && (in || c->host.p[host] != ':'); host++)
			in = (in || c->host.p[host] == '[') && c->host.p[host] != ']';
		if (c->proxy->https_port != 443)
			snprintf(port, sizeof port, ":%u", c->proxy->https_port);
	}
	n = snprintf(out, PBUF_SIZE,
		     "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Language: %s\r\nContent-Length: %d\r\n"
		     "Cache-Control: no-store\r\nVary: Accept, Accept-Language\r\n"
		     "X-Content-Type-Options: nosniff\r\nX-Request-Id: %.*s\r\nTulou-Fault: "
		     "%s\r\n%s%s%s%s%s%.*s%s%.*s%s\r\n",
		     *status, http_reason(*status), types[form], text ? text->lang : "en", len, c->id_len, c->id,
		     fault_rows[f].name, retry, more,
		     *status == 405 ? "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" : "",
		     close	 ? "Connection: close\r\n"
		     : c->minor0 ? "Connection: keep-alive\r\n"
				 : "",
		     f == FAULT_TO_HTTPS ? "Location: https://" : "", (int)host, c->host.p, port,
		     f == FAULT_TO_HTTPS && c->target.p[0] == '/' ? (int)c->target.n : 0, c->target.p,
		     f == FAULT_TO_HTTPS ? "\r\n" : "");
	if (c->method != HTTP_METHOD_HEAD) {
		memcpy(out + n, body, (size_t)len);
		c->res.bytes = (uint64_t)len;
		n += len;
	}
	return (size_t)n;
}
