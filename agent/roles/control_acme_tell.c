/* What API and metrics say of automatic certificates.  Layer agent, control process. */
#include "agent/roles/control_acme.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static json_t *tell_time(int64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	char text[32];

	if (ms <= 0 || ms == INT64_MAX || !gmtime_r(&s, &tm))
		return json_null();
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

static const char *tell_state(const struct control *c, const struct control_app *ca, const struct acme_name *n)
{
	if (ca && ca->rec.https == MODEL_HTTPS_OFF)
		return "off";
	if ((n->cert && n->not_after_ms > clock_wall_ms()) || control_certs_file_covers(c, n->host))
		return "issued";
	if (n->host[0] == '*')
		return "unsupported";
	if (!c->acme || !n->wanted)
		return "none";
	return n->order ? "pending" : n->error ? "failed" : "pending";
}

static json_t *tell_name(const struct control *c, const struct control_app *ca, const struct acme_name *n)
{
	const char *state = tell_state(c, ca, n), *error = n->error, *origin = NULL;
	bool automatic = c->acme && n->wanted && !n->uploaded && n->host[0] != '*' && !n->order;

	if (n->cert)
		origin = n->uploaded ? "uploaded" : "acme";
	else if (control_certs_file_covers(c, n->host))
		origin = "operator";
	if (strcmp(state, "unsupported") == 0)
		error = "A wildcard cannot be shown over http or TLS: upload a certificate for it";
	return json_pack("{s:s, s:s, s:s?, s:o, s:o, s:o, s:s?}", "host", n->host, "state", state, "origin", origin,
			 "certificate", n->cert ? json_sprintf("%" PRId64, n->cert) : json_null(), "not_after",
			 n->cert ? tell_time(n->not_after_ms) : json_null(), "next_try",
			 automatic ? tell_time(acme_due(n)) : json_null(), "error", error);
}

/* One that is not ordered may be served by a certificate all the same. */
static json_t *tell_host(struct control *c, struct control_app *ca, const char *host)
{
	struct acme_name *n = c->acme ? map_get_str(c->acme->names, host) : NULL, *passing;
	json_t *o;

	if (n)
		return tell_name(c, ca, n);
	if (!(passing = calloc(1, sizeof *passing + strlen(host) + 1)))
		return json_null();
	passing->control = c;
	passing->app = ca ? ca->rec.id : 0;
	memcpy(passing->host, host, strlen(host) + 1);
	acme_name_certs(passing);
	o = tell_name(c, ca, passing);
	free(passing);
	return o;
}

json_t *control_acme_json(struct control *c, struct control_app *ca)
{
	json_t *all = json_array();
	char own[LIMIT_HOST + 64];

	if (!ca) {
		json_array_append_new(all, tell_host(c, NULL, c->settings.domain_control));
		return all;
	}
	snprintf(own, sizeof own, "%s.%s", ca->rec.name, c->settings.domain_apps);
	if (c->settings.acme.own_names)
		json_array_append_new(all, tell_host(c, ca, own));
	for (const char *p = ca->domains; p && *p; p += strlen(p) + 1)
		json_array_append_new(all, tell_host(c, ca, p));
	return all;
}

int control_acme_renew(struct control *c, struct control_app *ca, const char *host, struct err *e)
{
	struct control_acme *m = c->acme;
	int64_t now = clock_wall_ms(), next = 0, app = ca ? ca->rec.id : 0;
	struct acme_name *n;
	unsigned count = 0;

	if (!m)
		return err_set(e, EBUSY,
			       "this node orders no certificates: its operator has not set tls.acme.directory");
	for (size_t pos = 0; (n = map_next(m->names, &pos));) {
		if (n->app != app || !n->wanted || (host && strcmp(host, n->host) != 0))
			continue;
		if (n->uploaded || (!app && control_certs_file_covers(c, n->host)))
			continue;
		count++;
		next = pace_window_next(&n->window, LIMIT_ACME_TRIES, now);
		if (n->order || next)
			continue;
		n->forced = true;
		n->next_ms = now;
		acme_save(n);
	}
	if (!count)
		return err_field(e, ENOENT, "host", "host: no name of %s gets its certificate by itself%s",
				 ca ? "this app" : "this node", host ? " under this name" : "");
	if (host && next)
		return err_field(e, EBUSY, "host",
				 "host: it was tried %d times within an hour; the next is in %d minutes",
				 LIMIT_ACME_TRIES, (int)((next - now) / 60000 + 1));
	acme_arm(m, 0);
	return 0;
}

void control_acme_metrics(struct control *c, struct buf *out)
{
	static const char *const ends[ACME_END_COUNT] = {"issued", "refused", "unavailable", "limited"};
	struct control_acme *m = c->acme;
	struct acme_name *n;

	if (!m)
		return;
	buf_adds(out, "# HELP tulou_certificate_orders_total Orders of certificates that ended, by how.\n"
		      "# TYPE tulou_certificate_orders_total counter\n");
	for (unsigned i = 0; i < ACME_END_COUNT; i++)
		buf_printf(out, "tulou_certificate_orders_total{end=\"%s\"} %" PRIu64 "\n", ends[i], m->ends[i]);
	buf_adds(out, "# HELP tulou_certificate_not_after_seconds When a name's certificate ends, Unix time.\n"
		      "# TYPE tulou_certificate_not_after_seconds gauge\n");
	for (size_t pos = 0; (n = map_next(m->names, &pos));)
		if (n->cert)
			buf_printf(out, "tulou_certificate_not_after_seconds{host=\"%s\",origin=\"%s\"} %" PRId64 "\n",
				   n->host, n->uploaded ? "uploaded" : "acme", n->not_after_ms / 1000);
	buf_adds(out, "# HELP tulou_certificate_failures Tries in a row that failed, of names that have failed.\n"
		      "# TYPE tulou_certificate_failures gauge\n");
	for (size_t pos = 0; (n = map_next(m->names, &pos));)
		if (n->failures)
			buf_printf(out, "tulou_certificate_failures{host=\"%s\"} %" PRIu32 "\n", n->host, n->failures);
}
