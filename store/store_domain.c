/* Domains of apps and the proof that they are whose they are said to be.  Layer store, control process. */
#include "store/store.h"

#include "base/clock.h"
#include "base/own.h"
#include "base/parse.h"
#include "store/db.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define DOMAIN_SELECT                                                                                                  \
	"SELECT d.host, d.app, a.tenant, d.proof, d.token, d.tries, d.created_ms, d.checked_ms, d.proved_ms,"          \
	" d.next_ms, d.error FROM domain d JOIN app a ON a.id = d.app "

static void domain_row(struct db_query *q, struct model_domain *d)
{
	*d = (struct model_domain){
		.app = db_int(q, 1),
		.tenant = db_int(q, 2),
		.proof = (enum model_proof)db_int(q, 3),
		.tries = (uint32_t)db_int(q, 5),
		.created_ms = db_int(q, 6),
		.checked_ms = db_int(q, 7),
		.proved_ms = db_int(q, 8),
		.next_ms = db_int(q, 9),
	};
	db_text(q, 0, d->host, sizeof d->host);
	db_text(q, 4, d->token, sizeof d->token);
	db_text(q, 10, d->error, sizeof d->error);
}

/* Does the tenant hold this very name, proved, with another of its apps?  With `other` 0: with any app. */
static int domain_held(struct store *s, int64_t tenant, int64_t other, const char *host, int64_t *count, struct err *e)
{
	return db_number(s, 0, count,
			 "SELECT count(*) FROM domain d JOIN app a ON a.id = d.app"
			 " WHERE d.host = ? AND a.tenant = ? AND d.app <> ? AND d.proof <> 0",
			 DB_ARGS(DB_S(host), DB_I(tenant), DB_I(other)), e);
}

/* Has the tenant proved a wildcard that the name lies below? */
static int domain_covered(struct store *s, int64_t tenant, const char *host, bool *ret, struct err *e)
{
	const char *name = strncmp(host, "*.", 2) == 0 ? host + 2 : host;
	int64_t count = 0;
	int r = 0;

	for (const char *dot = strchr(name, '.'); r == 0 && count == 0 && dot; dot = strchr(dot + 1, '.')) {
		char wild[LIMIT_HOST + 3];
		snprintf(wild, sizeof wild, "*%s", dot);
		r = domain_held(s, tenant, 0, wild, &count, e);
	}
	*ret = count > 0;
	return r;
}

static int domain_room(struct store *s, int64_t app, struct err *e)
{
	int64_t count;
	int r = db_number(s, 0, &count, "SELECT count(*) FROM domain WHERE app = ?", DB_ARGS(DB_I(app)), e);

	if (r == 0 && count >= LIMIT_DOMAINS)
		r = err_field(e, EDQUOT, "host", "host: an app has at most %d domains", LIMIT_DOMAINS);
	return r;
}

static int domain_token(char out[MODEL_TOKEN + 1], struct err *e)
{
	unsigned char bytes[16];
	char hex[33];

	if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
		return err_errno(e, "getrandom");
	parse_hex(bytes, sizeof bytes, hex);
	snprintf(out, MODEL_TOKEN + 1, "tulou-%s", hex);
	return 0;
}

int store_domain_add(struct store *s, int64_t app, const char *host, enum model_proof proof, struct model_domain *ret,
		     struct err *e)
{
	struct model_domain d = {.app = app, .proof = proof, .created_ms = clock_wall_ms()};
	bool covered = false;
	struct model_app a = {0};
	int64_t held = 0;
	int r = parse_hostname(host, true, "host", e);

	if (r == 0)
		r = store_app_get(s, app, &a, e);
	if (r == 0)
		r = domain_room(s, app, e);
	if (r == 0)
		r = domain_held(s, a.tenant, app, host, &held, e);
	if (r == 0 && held)
		r = err_field(e, EEXIST, "host", "host: another app of this tenant has \"%.200s\"", host);
	/* What another tenant has proved is not lost to a wildcard: that very name must be proved too. */
	if (r == 0 && proof == MODEL_PROOF_WANTED && store_domain_holder(s, host, &held, NULL) == -ENOENT)
		r = domain_covered(s, a.tenant, host, &covered, e);
	if (r == 0)
		r = domain_token(d.token, e);
	if (r < 0)
		return r;
	if (covered)
		d.proof = MODEL_PROOF_PARENT;
	snprintf(d.host, sizeof d.host, "%s", host);
	d.tenant = a.tenant;
	d.proved_ms = d.proof == MODEL_PROOF_WANTED ? 0 : d.created_ms;
	d.next_ms = d.proof == MODEL_PROOF_WANTED ? d.created_ms : 0;
	r = db_run(s,
		   "INSERT INTO domain (host, app, proof, token, created_ms, proved_ms, next_ms)"
		   " VALUES (?, ?, ?, ?, ?, ?, ?)",
		   DB_ARGS(DB_S(d.host), DB_I(app), DB_I(d.proof), DB_S(d.token), DB_I(d.created_ms), DB_I(d.proved_ms),
			   DB_I(d.next_ms)),
		   e);
	if (r == -EEXIST)
		return err_field(e, EEXIST, "host", "host: \"%.200s\" is taken", host);
	if (r < 0)
		return r;
	db_touch(s);
	if (ret)
		*ret = d;
	return 0;
}

int store_domain_del(struct store *s, int64_t app, const char *host, struct err *e)
{
	int r = db_run(s, "DELETE FROM domain WHERE host = ? AND app = ?", DB_ARGS(DB_S(host), DB_I(app)), e);

	if (r == 0)
		return err_field(e, ENOENT, "host", "host: \"%.200s\" is not a domain of this app", host);
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}

int store_domain_get(struct store *s, int64_t app, const char *host, struct model_domain *ret, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, DOMAIN_SELECT "WHERE d.host = ? AND d.app = ?", DB_ARGS(DB_S(host), DB_I(app)),
			       e);

	if (r == 0)
		r = db_query_step(&q, e);
	if (r == 0)
		return err_field(e, ENOENT, "host", "host: \"%.200s\" is not a domain of this app", host);
	if (r < 0)
		return r;
	domain_row(&q, ret);
	return 0;
}

static int domain_write(struct store *s, const struct model_domain *d, struct err *e)
{
	int r = 0;

	if (d->proof != MODEL_PROOF_WANTED)
		r = db_run(s,
			   "UPDATE domain SET proof = 0, proved_ms = 0, next_ms = 0,"
			   " error = 'another app has proved that this name is its owner''s'"
			   " WHERE host = ? AND app <> ? AND proof <> 0",
			   DB_ARGS(DB_S(d->host), DB_I(d->app)), e);
	if (r >= 0)
		r = db_run(
			s,
			"UPDATE domain SET proof = ?, tries = ?, checked_ms = ?, proved_ms = ?, next_ms = ?, error = ?"
			" WHERE host = ? AND app = ?",
			DB_ARGS(DB_I(d->proof), DB_I(d->tries), DB_I(d->checked_ms), DB_I(d->proved_ms),
				DB_I(d->next_ms), DB_S(d->error), DB_S(d->host), DB_I(d->app)),
			e);
	if (r == 0)
		return err_field(e, ENOENT, "host", "host: \"%.200s\" is not a domain of this app", d->host);
	return r < 0 ? r : 0;
}

int store_domain_set(struct store *s, const struct model_domain *d, struct err *e)
{
	int r = db_group_start(s, e);

	if (r == 0)
		r = db_group_end(s, domain_write(s, d, e), e);
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}

int store_domain_list(struct store *s, int64_t app, store_pair_fn *fn, void *arg, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, "SELECT host FROM domain WHERE app = ? AND proof <> 0 ORDER BY host",
			       DB_ARGS(DB_I(app)), e);

	while (r == 0 && (r = db_query_step(&q, e)) > 0) {
		char host[LIMIT_HOST + 1];
		db_text(&q, 0, host, sizeof host);
		r = fn(arg, host, "");
		if (r != 0)
			return r;
	}
	return r;
}

static int domain_walk(struct db_query *q, int r, store_domain_fn *fn, void *arg, struct err *e)
{
	while (r == 0 && (r = db_query_step(q, e)) > 0) {
		struct model_domain d;
		domain_row(q, &d);
		r = fn(arg, &d);
		if (r != 0)
			return r;
	}
	return r;
}

int store_domain_all(struct store *s, int64_t app, store_domain_fn *fn, void *arg, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, DOMAIN_SELECT "WHERE d.app = ? ORDER BY d.host", DB_ARGS(DB_I(app)), e);

	return domain_walk(&q, r, fn, arg, e);
}

int store_domain_others(struct store *s, const struct model_domain *d, int64_t tenant, unsigned limit,
			store_domain_fn *fn, void *arg, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q,
			       DOMAIN_SELECT "WHERE d.host = ?1 AND d.app <> ?2 AND (a.tenant = ?3 OR ?3 = 0)"
					     " ORDER BY d.proof DESC, d.app LIMIT ?4",
			       DB_ARGS(DB_S(d->host), DB_I(d->app), DB_I(tenant), DB_I(db_limit(limit))), e);

	return domain_walk(&q, r, fn, arg, e);
}

int store_domain_holder(struct store *s, const char *host, int64_t *app, struct err *e)
{
	int64_t id;
	int r = db_number(s, 0, &id, "SELECT app FROM domain WHERE host = ? AND proof <> 0", DB_ARGS(DB_S(host)), e);

	if (r == 0 && id == 0)
		return err_field(e, ENOENT, "host", "host: nobody has proved \"%.200s\"", host);
	if (r == 0)
		*app = id;
	return r;
}

int store_domain_due(struct store *s, int64_t now_ms, unsigned limit, store_domain_fn *fn, void *arg, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q,
			       DOMAIN_SELECT "WHERE d.proof = 0 AND d.next_ms > 0 AND d.next_ms <= ?"
					     " ORDER BY d.next_ms LIMIT ?",
			       DB_ARGS(DB_I(now_ms), DB_I(db_limit(limit))), e);

	return domain_walk(&q, r, fn, arg, e);
}
