/* Fronts: reading the message, networks, prefixes, buckets.  Layer web, control and proxy.  No I/O. */
#include "web/proxy/front.h"

#include "base/err.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool front_rate_ok(const struct front_rate *r)
{
	return r->per_s <= LIMIT_FRONT_RATE && r->burst <= LIMIT_FRONT_RATE && (r->per_s == 0 || r->burst > 0);
}

static bool front_counts_ok(const struct proxy_msg_front *m)
{
	return m->allow <= LIMIT_FRONT_NETS && m->pass <= LIMIT_FRONT_NETS && m->users <= LIMIT_FRONT_USERS &&
	       m->paths <= LIMIT_FRONT_PATHS && m->realm <= LIMIT_FRONT_REALM && m->text <= LIMIT_FRONT_TEXT &&
	       m->header <= LIMIT_FRONT_HEADER && m->value <= LIMIT_FRONT_HEADER && m->weight <= 100 &&
	       m->tenant_slot < LIMIT_TENANTS && front_rate_ok(&m->rate) && front_rate_ok(&m->client) &&
	       front_rate_ok(&m->total);
}

/* The paths at p[0..n): how many bytes they take, 0 when they do not fit. */
static size_t front_paths_read(struct front *f, const char *p, size_t n)
{
	size_t at = 0;

	for (unsigned i = 0; i < f->m.paths; i++) {
		struct front_path_head h;
		unsigned k = i;
		if (n - at < sizeof h)
			return 0;
		memcpy(&h, p + at, sizeof h);
		at += sizeof h;
		if (h.len == 0 || h.len > LIMIT_FRONT_PATH || n - at < h.len)
			return 0;
		for (; k > 0 && f->paths[k - 1].len < h.len; k--)
			f->paths[k] = f->paths[k - 1];
		f->paths[k] = (struct front_path){h.app, h.strip != 0, h.len, p + at};
		at += h.len;
	}
	return at;
}

struct front *front_read(const void *msg, size_t n)
{
	OWN_FREE struct front *f = NULL;
	struct proxy_msg_front m;
	size_t fixed, paths;
	const char *p;

	if (n < sizeof m)
		return NULL;
	memcpy(&m, msg, sizeof m);
	if (!front_counts_ok(&m))
		return NULL;
	n -= sizeof m;
	fixed = (m.allow + (size_t)m.pass) * sizeof(struct front_net) + m.users * (size_t)32;
	if (n < fixed || !(f = calloc(1, sizeof *f + n)))
		return NULL;
	f->m = m;
	memcpy(f->data, (const char *)msg + sizeof m, n);
	p = f->data;
	f->allow = (const struct front_net *)(const void *)p;
	f->pass = f->allow + m.allow;
	f->users = (const uint8_t *)(const void *)(f->pass + m.pass);
	paths = front_paths_read(f, p + fixed, n - fixed);
	if ((paths == 0 && m.paths > 0) || n - fixed - paths != (size_t)m.realm + m.text + m.header + m.value)
		return NULL;
	f->realm = p + fixed + paths;
	f->text = f->realm + m.realm;
	f->header = f->text + m.text;
	f->value = f->header + m.header;
	for (unsigned i = 0; i < m.allow + (unsigned)m.pass; i++)
		if (f->allow[i].bits > 128)
			return NULL;
	return TAKE_PTR(f);
}

void front_user(const uint8_t key[32], const char *userpass, size_t n, uint8_t out[32])
{
	unsigned len = 32;

	HMAC(EVP_sha256(), key, 32, (const unsigned char *)userpass, n, out, &len);
}

static bool front_net_matches(const struct front_net *n, const uint8_t a[16])
{
	unsigned whole = n->bits / 8, rest = n->bits % 8;

	return memcmp(n->address, a, whole) == 0 && (rest == 0 || (n->address[whole] ^ a[whole]) >> (8 - rest) == 0);
}

bool front_net_has(const struct front_net *nets, unsigned count, const uint8_t address[16])
{
	for (unsigned i = 0; i < count; i++)
		if (front_net_matches(&nets[i], address))
			return true;
	return false;
}

int front_net_parse(const char *s, struct front_net *ret)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct front_net n = {.bits = 128};
	const char *slash = strchr(s, '/');
	size_t len = slash ? (size_t)(slash - s) : strlen(s);
	char text[INET6_ADDRSTRLEN];
	uint64_t bits = 128;
	bool v4;

	if (len == 0 || len >= sizeof text)
		return -EINVAL;
	memcpy(text, s, len);
	text[len] = '\0';
	v4 = strchr(text, ':') == NULL;
	if (v4)
		memcpy(n.address, mapped, sizeof mapped);
	if (inet_pton(v4 ? AF_INET : AF_INET6, text, n.address + (v4 ? 12 : 0)) != 1)
		return -EINVAL;
	if (slash && parse_u64(slash + 1, strlen(slash + 1), 0, v4 ? 32 : 128, "prefix", &bits, NULL) < 0)
		return -EINVAL;
	n.bits = (uint8_t)(slash && v4 ? bits + 96 : bits);
	for (unsigned i = n.bits; i < 128; i++)
		if (n.address[i / 8] >> (7 - i % 8) & 1)
			return -EINVAL;
	*ret = n;
	return 0;
}

void front_net_text(const struct front_net *n, char out[FRONT_NET_TEXT])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	bool v4 = n->bits >= 96 && memcmp(n->address, mapped, sizeof mapped) == 0;
	unsigned bits = v4 ? n->bits - 96u : n->bits;
	char text[INET6_ADDRSTRLEN];

	inet_ntop(v4 ? AF_INET : AF_INET6, n->address + (v4 ? 12 : 0), text, sizeof text);
	if (n->bits == 128)
		snprintf(out, FRONT_NET_TEXT, "%s", text);
	else
		snprintf(out, FRONT_NET_TEXT, "%s/%u", text, bits);
}

/* Bytes of a dot at p, written as such or as %2e; 0 when there is none. */
static size_t front_dot(const char *p, size_t n)
{
	if (n > 0 && p[0] == '.')
		return 1;
	return n > 2 && p[0] == '%' && p[1] == '2' && (p[2] | 0x20) == 'e' ? 3 : 0;
}

bool front_path_ambiguous(const char *target, size_t n)
{
	for (size_t i = 0; i < n && target[i] != '?'; i++) {
		size_t at = i + 1, dot;
		if (target[i] == '\\')
			return true;
		if (target[i] != '/' || (dot = front_dot(target + at, n - at)) == 0)
			continue;
		at += dot;
		at += front_dot(target + at, n - at);
		if (at == n || strchr("/\\?;", target[at]))
			return true;
	}
	return false;
}

const struct front_path *front_path_find(const struct front *f, const char *target, size_t n)
{
	for (unsigned i = 0; i < f->m.paths; i++) {
		const struct front_path *p = &f->paths[i];
		if (p->len <= n && memcmp(p->path, target, p->len) == 0 &&
		    (p->len == n || target[p->len] == '/' || target[p->len] == '?'))
			return p;
	}
	return NULL;
}

int front_path_check(const char *path, const char *field, struct err *e)
{
	size_t n = strlen(path);
	bool good = path[0] == '/' && n > 1 && n <= LIMIT_FRONT_PATH;
	char safe[49];

	for (const char *p = path; good && *p; p++)
		good = *p == '/' ? p[1] != '/' && p[1] != '\0'
				 : strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", *p) !=
					   NULL;
	if (good && !front_path_ambiguous(path, n))
		return 0;
	utf8_escape(safe, sizeof safe, path, strlen(path));
	return err_field(e, EINVAL, field,
			 "%s: must be a path of at most %d bytes like /api or /v1/files: letters, digits, '-', '.', "
			 "'_' and '~', no empty or dot segment, no '/' at its end, not \"%s\"",
			 field, LIMIT_FRONT_PATH, safe);
}

uint64_t front_take(_Atomic uint64_t *full_ns, uint64_t now_ns, const struct front_rate *r, bool take)
{
	uint64_t cost = 1000000000ull / r->per_s, room = cost * r->burst;
	uint64_t was = atomic_load_explicit(full_ns, memory_order_relaxed), next;

	do {
		uint64_t from = was > now_ns ? was : now_ns;
		/* It was larger before a change of the settings: it begins anew.  A second for workers whose turn of
		 * the loop began earlier. */
		if (from > now_ns + 2 * room + 1000000000u)
			from = now_ns;
		next = from + cost;
		if (next > now_ns + room)
			return next - now_ns - room;
	} while (take && !atomic_compare_exchange_weak_explicit(full_ns, &was, next, memory_order_relaxed,
								memory_order_relaxed));
	return 0;
}
