/* When an authority wants a certificate replaced (RFC 9773).  Layer agent, control process. */
#include "agent/acme/acme_private.h"

#include "base/own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void renewal_drop(struct acme *a, struct acme_renewal *r)
{
	TAILQ_REMOVE(&a->renewals, r, link);
	free(r);
}

static void renewal_end(struct acme *a, struct acme_renewal *r, int64_t from_ms, int64_t to_ms, uint32_t retry_s)
{
	void *name = r->name;

	renewal_drop(a, r);
	a->ops->renewal(a->arg, name, from_ms, to_ms, retry_s);
}

static bool renewal_send(struct acme *a, struct acme_renewal *r)
{
	char url[ACME_URL + 1];

	if (strlen(a->renewal_info) + 1 + strlen(r->id) > ACME_URL)
		return false;
	snprintf(url, sizeof url, "%.*s/%s", (int)(ACME_URL - sizeof r->id), a->renewal_info, r->id);
	r->ticket = acme_get(a, url);
	return true;
}

void acme_renewals_go(struct acme *a)
{
	struct acme_renewal *r, *next;

	for (r = TAILQ_FIRST(&a->renewals); r; r = next) {
		next = TAILQ_NEXT(r, link);
		if (!r->ticket && (!a->renewal_info[0] || !renewal_send(a, r)))
			renewal_end(a, r, 0, 0, 0);
	}
}

/* RFC 3339: "2026-01-02T03:04:05Z", perhaps with a fraction, or an offset; -1 when it is none. */
static int64_t renewal_time_ms(const char *s)
{
	struct tm tm = {0};
	const char *p = s ? strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	int hours, minutes;
	char sign, end;
	int64_t at;

	if (!p)
		return -1;
	if (*p == '.')
		p += 1 + strspn(p + 1, "0123456789");
	at = (int64_t)timegm(&tm) * 1000;
	if (strcmp(p, "Z") == 0 || strcmp(p, "z") == 0)
		return at;
	if (sscanf(p, "%c%2d:%2d%c", &sign, &hours, &minutes, &end) != 3 || (sign != '+' && sign != '-') ||
	    hours > 23 || minutes > 59 || hours < 0 || minutes < 0)
		return -1;
	return at + (sign == '-' ? 1 : -1) * (hours * 60ll + minutes) * 60000;
}

bool acme_renewal_answer(struct acme *a, uint64_t ticket, const struct fetch_answer *ans, const char *body)
{
	OWN_JSON json_t *o = NULL;
	struct acme_renewal *r;
	json_t *window;
	int64_t from, to;

	TAILQ_FOREACH(r, &a->renewals, link)
	{
		if (r->ticket == ticket)
			break;
	}
	if (!r)
		return false;
	o = ans->status == 200 ? acme_json(ans, body) : NULL;
	window = json_object_get(o, "suggestedWindow");
	from = renewal_time_ms(json_string_value(json_object_get(window, "start")));
	to = renewal_time_ms(json_string_value(json_object_get(window, "end")));
	if (from <= 0 || to <= from)
		from = to = 0;
	renewal_end(a, r, from, to, ans->retry_after_s);
	return true;
}

bool acme_renewal_ask(struct acme *a, void *name, const char *id)
{
	struct acme_renewal *r;
	bool known = a->state != ACME_UNKNOWN && a->state != ACME_ASKED;

	if ((known && !a->renewal_info[0]) || strlen(id) > LIMIT_RENEWAL_ID || !(r = calloc(1, sizeof *r)))
		return false;
	r->name = name;
	snprintf(r->id, sizeof r->id, "%s", id);
	TAILQ_INSERT_TAIL(&a->renewals, r, link);
	if (known && !renewal_send(a, r)) {
		renewal_drop(a, r);
		return false;
	}
	if (!known)
		acme_account_go(a);
	return true;
}

void acme_renewal_drop(struct acme *a, const void *name)
{
	struct acme_renewal *r, *next;

	for (r = TAILQ_FIRST(&a->renewals); r; r = next) {
		next = TAILQ_NEXT(r, link);
		if (r->name == name)
			renewal_drop(a, r);
	}
}

void acme_renewals_free(struct acme *a)
{
	struct acme_renewal *r;

	while ((r = TAILQ_FIRST(&a->renewals)))
		renewal_drop(a, r);
}
