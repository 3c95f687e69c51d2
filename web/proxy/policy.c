/* An app's front door: paths, addresses, maintenance, credentials, rates, sticky clients.  Layer web, proxy process.
 *
 * The order of the checks is the order of their cost and of what they give away: addresses, maintenance, the rate of
 * one address, credentials, and only then what an app or tenant has to share, so that nobody without credentials uses
 * it up.
 *
 * Buckets lie in the statistics segment, which all workers map: a rate holds for the node, not for each worker.  Those
 * of single addresses share a table; who is not asked for long is replaced, and under a flood of addresses the buckets
 * of those that are nearest to full go first. */
#include "web/proxy/policy.h"

#include "web/proxy/front.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COOKIE "tulou-instance"
#define COOKIE_DIGITS 16
#define USERPASS_MAX 512 /* bytes of "user:password" in base64 */

/* Wrong passwords of one address for one app: ten at once, then one in six seconds. */
#define GUESSES_BURST 10
#define GUESSES_NS 6000000000ull

enum policy_kind { POLICY_RATE = 1, POLICY_GUESS, POLICY_INSTANCE };

/* --- settings ----------------------------------------------------------------------------------------------------- */

void policy_front(struct proxy *p, const void *body, size_t len)
{
	struct front *f = front_read(body, len);
	struct app *a = f ? map_get(p->apps, &f->m.app, sizeof f->m.app) : NULL;
	struct client *c;

	if (!a) {
		free(f);
		return;
	}
	/* New rates begin with full buckets. */
	if (a->front && memcmp(&a->front->m.rate, &f->m.rate, sizeof f->m.rate) != 0)
		atomic_store_explicit(&p->stats->rate[a->slot], 0, memory_order_relaxed);
	if (a->front && memcmp(&a->front->m.total, &f->m.total, sizeof f->m.total) != 0)
		atomic_store_explicit(&p->stats->total[f->m.tenant_slot], 0, memory_order_relaxed);
	free(a->front);
	f->mark = p->mark;
	a->front = f;
	/* Who waits has passed the door as it was, or none at all where a sync is under way. */
	TAILQ_FOREACH(c, &a->parked, parked)
	c->policy.stale = true;
}

bool policy_recheck(struct client *c)
{
	c->policy.stale = false;
	policy_done(c);
	c->policy.body_max = 0;
	c->policy.end_us = 0;
	c->policy.sticky = 0;
	c->policy.group = 0;
	return !c->app->front || policy_check(c);
}

void policy_front_del(struct proxy *p, uint64_t app)
{
	struct app *a = map_get(p->apps, &app, sizeof app);

	if (!a)
		return;
	free(a->front);
	a->front = NULL;
}

void policy_sweep(struct proxy *p, struct app *a)
{
	if (!a->front || a->front->mark == p->mark)
		return;
	free(a->front);
	a->front = NULL;
}

/* --- paths -------------------------------------------------------------------------------------------------------- */

enum fault policy_path(struct client *c, struct app *host, struct app **ret)
{
	const struct front *f = host->front;
	const struct front_path *path;
	struct app *to;

	*ret = host;
	if (f->m.paths == 0)
		return FAULT_NONE;
	if (front_path_ambiguous(c->target.p, c->target.n))
		return FAULT_PATH;
	if (!(path = front_path_find(f, c->target.p, c->target.n)))
		return FAULT_NONE;
	to = map_get(c->proxy->apps, &path->app, sizeof path->app);
	if (!to || to->tenant != host->tenant)
		return FAULT_APP_GONE;
	c->policy.strip = path->strip ? path->len : 0;
	*ret = to;
	return FAULT_NONE;
}

/* --- addresses and buckets ---------------------------------------------------------------------------------------- */

/* The client's address as one of 16 bytes. */
static void policy_address(const struct client *c, uint8_t out[16])
{
	struct in_addr v4;

	memset(out, 0, 16);
	if (inet_pton(AF_INET, c->addr, &v4) == 1) {
		out[10] = out[11] = 0xff;
		memcpy(out + 12, &v4, 4);
	} else {
		inet_pton(AF_INET6, c->addr, out);
	}
}

/* A number that only who has the app's key can know. */
static uint64_t policy_digest(const struct front *f, enum policy_kind kind, const void *p, size_t n)
{
	uint8_t text[40] = {(uint8_t)kind};

	memcpy(text + 8, p, n);
	return map_siphash(text, n + 8, f->m.key) | 1;
}

/* The bucket of one address: an IPv6 subscriber has a whole /64. */
static _Atomic uint64_t *policy_bucket(struct proxy *p, const struct front *f, enum policy_kind kind,
				       const uint8_t address[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	uint8_t key[16];
	uint64_t tag, oldest = UINT64_MAX;
	struct stats_address *set, *use = NULL;

	memcpy(key, address, 16);
	if (memcmp(key, mapped, sizeof mapped) != 0)
		memset(key + 8, 0, 8);
	tag = policy_digest(f, kind, key, sizeof key);
	set = &p->stats->address[(tag >> 1) % (STATS_ADDRESSES / STATS_WAYS) * STATS_WAYS];
	for (unsigned i = 0; i < STATS_WAYS; i++) {
		uint64_t full = atomic_load_explicit(&set[i].full_ns, memory_order_relaxed);
		if (atomic_load_explicit(&set[i].tag, memory_order_relaxed) == tag)
			return &set[i].full_ns;
		if (full < oldest) {
			oldest = full;
			use = &set[i];
		}
	}
	/* Two workers may take the same place at once: one of the buckets begins anew a moment later. */
	atomic_store_explicit(&use->full_ns, 0, memory_order_relaxed);
	atomic_store_explicit(&use->tag, tag, memory_order_relaxed);
	return &use->full_ns;
}

static bool policy_refuse(struct client *c, enum fault f, uint64_t wait_ns)
{
	c->policy.retry_s = (uint32_t)(wait_ns / 1000000000u + 1);
	client_fault(c, f, 0, "");
	return false;
}

static bool policy_rate(struct client *c, _Atomic uint64_t *bucket, const struct front_rate *r, enum fault f)
{
	uint64_t wait = r->per_s ? front_take(bucket, (uint64_t)proxy_now(c->proxy) * 1000, r, true) : 0;

	return wait == 0 || policy_refuse(c, f, wait);
}

/* --- credentials -------------------------------------------------------------------------------------------------- */

static int policy_base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Strictly (RFC 4648, 4): whole groups, padding only at the end.  Bytes written, -1 when it is malformed. */
static int policy_base64(struct http_str in, char *out)
{
	size_t digits = in.n;
	uint32_t bits = 0;
	int n = 0;

	while (digits > 0 && in.n - digits < 2 && in.p[digits - 1] == '=')
		digits--;
	if (in.n == 0 || in.n % 4 != 0 || in.n > USERPASS_MAX)
		return -1;
	for (size_t i = 0; i < digits; i++) {
		int d = policy_base64_digit(in.p[i]);
		if (d < 0)
			return -1;
		bits = bits << 6 | (uint32_t)d;
		if (i % 4)
			out[n++] = (char)(bits >> (6 - 2 * (i % 4)));
	}
	return n;
}

/* The one Authorization field; false when there is none, or more than one. */
static bool policy_authorization(const struct http_head *h, struct http_str *ret)
{
	unsigned count = 0;

	for (unsigned i = 0; i < h->count; i++)
		if (http_eq(h->fields[i].name, "authorization")) {
			*ret = h->fields[i].value;
			count++;
		}
	return count == 1;
}

static bool policy_user_known(const struct front *f, struct http_str credentials)
{
	char userpass[USERPASS_MAX];
	uint8_t mac[32];
	unsigned known = 0;
	int n;

	if (credentials.n < 7 || strncasecmp(credentials.p, "basic ", 6) != 0)
		return false;
	n = policy_base64((struct http_str){credentials.p + 6, credentials.n - 6}, userpass);
	if (n <= 0)
		return false;
	front_user(f->m.key, userpass, (size_t)n, mac);
	/* All of them, whatever the first ones say: the time tells nothing. */
	for (unsigned i = 0; i < f->m.users; i++)
		known |= CRYPTO_memcmp(mac, f->users + i * sizeof mac, sizeof mac) == 0;
	OPENSSL_cleanse(userpass, sizeof userpass);
	return known != 0;
}

static bool policy_auth(struct client *c, const struct front *f, const uint8_t address[16])
{
	struct proxy *p = c->proxy;
	uint64_t now = (uint64_t)proxy_now(p) * 1000, full, end = now + GUESSES_BURST * GUESSES_NS;
	struct http_str credentials = {"", 0};
	_Atomic uint64_t *bucket;

	client_reparse(c);
	if (!policy_authorization(&p->req.head, &credentials)) {
		client_fault(c, FAULT_AUTH, 401, "");
		return false;
	}
	bucket = policy_bucket(p, f, POLICY_GUESS, address);
	full = atomic_load_explicit(bucket, memory_order_relaxed);
	if (full < now)
		full = now;
	if (full + GUESSES_NS > end)
		return policy_refuse(c, FAULT_GUESSES, full + GUESSES_NS - end);
	if (policy_user_known(f, credentials))
		return true;
	/* Workers that guess along at the same moment may lose one of the notes: not one in a thousand. */
	atomic_store_explicit(bucket, full + GUESSES_NS, memory_order_relaxed);
	client_fault(c, FAULT_AUTH, 401, "");
	return false;
}

/* --- what is shared ----------------------------------------------------------------------------------------------- */

/* Of all workers.  One that was killed may leave a number behind until another worker counts in its place. */
static int64_t policy_app_in_flight(struct proxy *p, uint32_t slot)
{
	int64_t sum = 0;

	for (unsigned w = 0; w < LIMIT_WORKERS; w++) {
		int32_t n = (int32_t)atomic_load_explicit(&p->stats->row[w][slot].in_flight, memory_order_relaxed);
		sum += n > 0 ? n : 0;
	}
	return sum;
}

static int64_t policy_total_in_flight(struct proxy *p, uint32_t slot)
{
	int64_t sum = 0;

	for (unsigned w = 0; w < LIMIT_WORKERS; w++) {
		int32_t n = atomic_load_explicit(&p->stats->total_in_flight[w][slot], memory_order_relaxed);
		sum += n > 0 ? n : 0;
	}
	return sum;
}

static bool policy_crowded(struct client *c, enum fault f)
{
	return policy_refuse(c, f, 0);
}

static bool policy_places(struct client *c, const struct front *f)
{
	struct proxy *p = c->proxy;

	/* This request is among the app's already. */
	if (f->m.in_flight && policy_app_in_flight(p, c->app->slot) > f->m.in_flight)
		return policy_crowded(c, FAULT_CROWD);
	if (!f->m.total_in_flight)
		return true;
	if (policy_total_in_flight(p, f->m.tenant_slot) >= f->m.total_in_flight)
		return policy_crowded(c, FAULT_TOTAL_CROWD);
	c->policy.total = &p->stats->total_in_flight[p->index][f->m.tenant_slot];
	atomic_fetch_add_explicit(c->policy.total, 1, memory_order_relaxed);
	return true;
}

void policy_done(struct client *c)
{
	if (c->policy.total)
		atomic_fetch_sub_explicit(c->policy.total, 1, memory_order_relaxed);
	c->policy.total = NULL;
}

/* --- sticky clients ----------------------------------------------------------------------------------------------- */

static uint64_t policy_instance(const struct front *f, const struct instance *i)
{
	return policy_digest(f, POLICY_INSTANCE, &i->id, sizeof i->id);
}

/* Our cookie among those of one field: its place with the "; " that belongs to it, and its value. */
static bool policy_cookie(struct http_str v, size_t *at, size_t *len, struct http_str *value)
{
	static const char name[] = COOKIE "=";
	const size_t n = sizeof name - 1;

	for (size_t i = 0; i < v.n;) {
		const char *semi = memchr(v.p + i, ';', v.n - i);
		size_t end = semi ? (size_t)(semi - v.p) : v.n, start = i;
		while (start < end && v.p[start] == ' ')
			start++;
		if (end - start >= n && memcmp(v.p + start, name, n) == 0) {
			*value = (struct http_str){v.p + start + n, end - start - n};
			*at = semi ? start : i > 0 ? i - 1 : i;
			*len = (semi ? end + 1 : end) - *at;
			while (semi && *at + *len < v.n && v.p[*at + *len] == ' ')
				++*len;
			return true;
		}
		i = end + 1;
	}
	return false;
}

static uint64_t policy_hex(struct http_str v)
{
	uint64_t x = 0;

	if (v.n != COOKIE_DIGITS)
		return 0;
	for (size_t i = 0; i < v.n; i++) {
		char d = v.p[i];
		if ((d < '0' || d > '9') && (d < 'a' || d > 'f'))
			return 0;
		x = x << 4 | (uint64_t)(d <= '9' ? d - '0' : d - 'a' + 10);
	}
	return x;
}

static void policy_sticky(struct client *c)
{
	struct proxy *p = c->proxy;

	client_reparse(c);
	for (unsigned i = 0; i < p->req.head.count && !c->policy.sticky; i++) {
		struct http_str value;
		size_t at, len;
		if (http_eq(p->req.head.fields[i].name, "cookie") &&
		    policy_cookie(p->req.head.fields[i].value, &at, &len, &value))
			c->policy.sticky = policy_hex(value);
	}
}

enum policy_group { POLICY_GROUP_NONE, POLICY_GROUP_LIVE, POLICY_GROUP_CANARY };

/* Does the request name the canary itself? */
static bool policy_named(struct client *c, const struct front *f)
{
	struct proxy *p = c->proxy;

	if (f->m.header == 0)
		return false;
	client_reparse(c);
	for (unsigned i = 0; i < p->req.head.count; i++) {
		const struct http_field *field = &p->req.head.fields[i];
		if (field->name.n == f->m.header && strncasecmp(field->name.p, f->header, f->m.header) == 0 &&
		    (f->m.value == 0 ||
		     (field->value.n == f->m.value && memcmp(field->value.p, f->value, f->m.value) == 0)))
			return true;
	}
	return false;
}

/* Exactly its percents of a worker's requests go to the canary, evenly spread. */
static enum policy_group policy_group(struct client *c, struct front *f)
{
	if (policy_named(c, f))
		return POLICY_GROUP_CANARY;
	f->turn += f->m.weight;
	if (f->turn < 100)
		return POLICY_GROUP_LIVE;
	f->turn -= 100;
	return POLICY_GROUP_CANARY;
}

/* The group's with the fewest requests in flight; NULL when none of it can serve: then any other may. */
static struct instance *policy_canary(struct client *c)
{
	struct proxy *p = c->proxy;
	struct app *a = c->app;
	struct instance *i = NULL;

	if (!c->policy.group)
		c->policy.group = (uint8_t)policy_group(c, a->front);
	if (c->policy.group == POLICY_GROUP_CANARY)
		i = balance_pick_group(p, a, true, c->tried, c->attempts);
	return i ? i : balance_pick_group(p, a, false, c->tried, c->attempts);
}

struct instance *policy_pick(struct client *c)
{
	const struct app *a = c->app;

	if (!(a->front->m.flags & FRONT_STICKY) || !c->policy.sticky || c->attempts > 0)
		return a->front->m.flags & FRONT_CANARY ? policy_canary(c) : NULL;
	for (unsigned k = 0; k < a->instance_count; k++) {
		struct instance *i = a->instances[k];
		if (i->state == PROXY_INSTANCE_UP && policy_instance(a->front, i) == c->policy.sticky) {
			if (balance_rests(c->proxy, i))
				break;
			return i;
		}
	}
	return a->front->m.flags & FRONT_CANARY ? policy_canary(c) : NULL;
}

/* --- a request's way ---------------------------------------------------------------------------------------------- */

bool policy_check(struct client *c)
{
	const struct front *f = c->app->front;
	struct proxy *p = c->proxy;
	uint8_t address[16];

	policy_address(c, address);
	if ((f->m.flags & FRONT_ALLOW) && !front_net_has(f->allow, f->m.allow, address)) {
		client_fault(c, FAULT_ADDRESS, 403, "");
		return false;
	}
	if ((f->m.flags & FRONT_MAINTENANCE) && !front_net_has(f->pass, f->m.pass, address)) {
		char text[LIMIT_FRONT_TEXT + 1];
		memcpy(text, f->text, f->m.text);
		text[f->m.text] = '\0';
		c->policy.retry_s = f->m.retry_s;
		client_fault(c, FAULT_MAINTENANCE, 503, text);
		return false;
	}
	if (f->m.client.per_s &&
	    !policy_rate(c, policy_bucket(p, f, POLICY_RATE, address), &f->m.client, FAULT_CLIENT_RATE))
		return false;
	if ((f->m.flags & FRONT_AUTH) && !policy_auth(c, f, address))
		return false;
	if (f->m.body_max && c->req.mode == BODY_LENGTH && (uint64_t)c->req.left > f->m.body_max) {
		client_fault(c, FAULT_BODY, 413, "");
		return false;
	}
	if (!policy_rate(c, &p->stats->rate[c->app->slot], &f->m.rate, FAULT_RATE) ||
	    !policy_rate(c, &p->stats->total[f->m.tenant_slot], &f->m.total, FAULT_TOTAL_RATE) || !policy_places(c, f))
		return false;
	c->policy.body_max = f->m.body_max;
	c->policy.end_us = f->m.time_ms ? c->start_us + f->m.time_ms * 1000ll : 0;
	if (f->m.flags & FRONT_STICKY)
		policy_sticky(c);
	return true;
}

/* Cuts [at, at + len) out of a value where it lies, and fills up with spaces, which end a field's value without being
 * of it: the head keeps its length, so that it can be parsed again. */
static void policy_cut(struct http_field *f, size_t at, size_t len)
{
	char *v = (char *)(uintptr_t)f->value.p;

	memmove(v + at, v + at + len, f->value.n - at - len);
	memset(v + f->value.n - len, ' ', len);
	f->value.n -= len;
	while (f->value.n > 0 && v[f->value.n - 1] == ' ')
		f->value.n--;
}

void policy_request(struct client *c)
{
	const struct front *f = c->app->front;
	struct http_head *h = &c->proxy->req.head;

	for (unsigned i = 0; i < h->count; i++) {
		struct http_field *field = &h->fields[i];
		struct http_str value;
		size_t at, len;
		if ((f->m.flags & FRONT_AUTH) && http_eq(field->name, "authorization"))
			field->drop = true;
		else if ((f->m.flags & FRONT_STICKY) && http_eq(field->name, "cookie")) {
			while (policy_cookie(field->value, &at, &len, &value))
				policy_cut(field, at, len);
			field->drop |= field->value.n == 0;
		}
	}
}

char *policy_response(struct client *c, char *o)
{
	const struct front *f = c->app->front;
	uint64_t id;

	if (!(f->m.flags & FRONT_STICKY) || !c->inst || (id = policy_instance(f, c->inst)) == c->policy.sticky)
		return o;
	return o + snprintf(o, 160, "Set-Cookie: " COOKIE "=%016llx; Path=/; HttpOnly; SameSite=Lax%s\r\n",
			    (unsigned long long)id, c->conn.tls ? "; Secure" : "");
}

void policy_fault_fields(struct client *c, enum fault f, char *out, size_t cap)
{
	const struct front *front = c->app ? c->app->front : NULL;

	out[0] = '\0';
	if (f == FAULT_AUTH && front)
		snprintf(out, cap, "WWW-Authenticate: Basic realm=\"%.*s\", charset=\"UTF-8\"\r\n", front->m.realm,
			 front->realm);
}
