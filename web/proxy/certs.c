/* Certificates as control tells them: which one a name gets.  Layer web, proxy process.
 *
 * One is kept as text with its names, and parsed when it is first used: a worker may have thousands, of which few are
 * asked for in its life.  An app's certificates serve only hosts that lead to it, whatever else they name. */
#include "web/proxy/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct cert {
	LIST_ENTRY(cert) link;
	uint64_t id;
	uint32_t kind;
	unsigned mark;
	bool bad; /* control sent what does not parse */
	char *names;
	char *pem; /* owned; NULL once it was parsed */
	size_t len;
	struct cert_parts parts; /* owned */
	uint8_t *staple;	 /* owned; NULL = none */
	size_t staple_len;
	int64_t staple_until_ms;
};

int certs_init(struct proxy *p)
{
	LIST_INIT(&p->node_certs);
	LIST_INIT(&p->challenges);
	return (p->certs = map_new()) ? 0 : -ENOMEM;
}

static void certs_forget_text(struct cert *c)
{
	if (c->pem)
		OPENSSL_cleanse(c->pem, c->len);
	free(c->pem);
	c->pem = NULL;
}

static void certs_free(struct cert *c)
{
	certs_forget_text(c);
	/* Connections that use the parts hold references of their own. */
	X509_free(c->parts.leaf);
	sk_X509_pop_free(c->parts.chain, X509_free);
	EVP_PKEY_free(c->parts.key);
	free(c->staple);
	free(c->names);
	free(c);
}

static void certs_remove(struct proxy *p, struct cert *c)
{
	map_del(p->certs, &c->id, sizeof c->id);
	LIST_REMOVE(c, link);
	if (c->kind == PROXY_CERT_NODE)
		p->node_cert_count--;
	if (p->default_cert == c)
		p->default_cert = NULL;
	certs_free(c);
}

void certs_del(struct proxy *p, uint64_t id)
{
	struct cert *c = map_get(p->certs, &id, sizeof id);

	if (c)
		certs_remove(p, c);
}

void certs_drop_app(struct proxy *p, struct app *a)
{
	struct cert *c;

	while ((c = LIST_FIRST(&a->certs)))
		certs_remove(p, c);
}

void certs_sweep(struct proxy *p)
{
	struct cert *c;

	for (size_t pos = 0; (c = map_next(p->certs, &pos));)
		if (c->mark != p->mark)
			certs_remove(p, c);
}

void certs_done(struct proxy *p)
{
	struct cert *c;

	for (size_t pos = 0; p->certs && (c = map_next(p->certs, &pos));)
		certs_remove(p, c);
	map_free(p->certs);
	p->certs = NULL;
}

/* A copy of the memory, which cannot shrink under us.  All workers may share the descriptor, so none reads from it.
 * fstat(3) is newfstatat(2) in glibc from 2.33 on, which a worker may not call. */
static char *certs_copy(int fd, size_t len, size_t most)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_WRITE;
	char *out = NULL;
	void *map;

	if (len == 0 || len > most || (fcntl(fd, F_GET_SEALS) & seals) != seals || lseek(fd, 0, SEEK_END) != (off_t)len)
		return NULL;
	map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return NULL;
	if ((out = malloc(len)))
		memcpy(out, map, len);
	munmap(map, len);
	return out;
}

void certs_message(struct proxy *p, const struct proxy_msg_cert *m, int fd)
{
	struct app *a = map_get(p->apps, &m->app, sizeof m->app);
	struct cert *c, *old = map_get(p->certs, &m->id, sizeof m->id);

	if (m->kind >= PROXY_CERT_KIND_COUNT || (m->kind == PROXY_CERT_APP && !a))
		return;
	/* Said again by a sync: it never changes. */
	if (old && old->kind == m->kind) {
		old->mark = p->mark;
		return;
	}
	if (old)
		certs_remove(p, old);
	if (map_count(p->certs) >= LIMIT_CERTS ||
	    (m->kind == PROXY_CERT_NODE && p->node_cert_count >= LIMIT_CERTS_NODE) || !(c = calloc(1, sizeof *c)))
		return;
	c->id = m->id;
	c->kind = m->kind;
	c->mark = p->mark;
	c->len = m->len;
	if (!(c->pem = certs_copy(fd, m->len, LIMIT_CERT_BYTES * 2)) || !(c->names = cert_names(c->pem, c->len)) ||
	    map_put(p->certs, &c->id, sizeof c->id, c) < 0) {
		certs_free(c);
		return;
	}
	/* The newest first: of two that fit alike it is taken. */
	switch ((enum proxy_cert_kind)m->kind) {
	case PROXY_CERT_APP:
		LIST_INSERT_HEAD(&a->certs, c, link);
		break;
	case PROXY_CERT_NODE:
		LIST_INSERT_HEAD(&p->node_certs, c, link);
		p->node_cert_count++;
		break;
	case PROXY_CERT_DEFAULT:
		LIST_INSERT_HEAD(&p->challenges, c, link);
		if (p->default_cert)
			certs_remove(p, p->default_cert);
		p->default_cert = c;
		break;
	case PROXY_CERT_CHALLENGE:
		LIST_INSERT_HEAD(&p->challenges, c, link);
		break;
	case PROXY_CERT_KIND_COUNT:
		break;
	}
}

void certs_staple(struct proxy *p, const struct proxy_msg_staple *m, int fd)
{
	struct cert *c = map_get(p->certs, &m->id, sizeof m->id);
	char *copy;

	/* Said again by a sync. */
	if (!c || (c->staple && c->staple_until_ms == m->until_ms))
		return;
	if (!(copy = certs_copy(fd, m->len, LIMIT_STAPLE_BYTES)))
		return;
	free(c->staple);
	c->staple = (uint8_t *)copy;
	c->staple_len = m->len;
	c->staple_until_ms = m->until_ms;
}

static struct cert *certs_best(struct cert_list *list, const char *name, uint32_t kind)
{
	struct cert *c, *best = NULL;
	int best_fit = 0;

	LIST_FOREACH(c, list, link)
	{
		int fit = c->bad || c->kind != kind ? 0 : cert_covers(c->names, name);
		if (fit > best_fit) {
			best = c;
			best_fit = fit;
		}
	}
	return best;
}

static bool certs_use(struct cert *c, struct cert_parts *ret)
{
	if (!c || c->bad)
		return false;
	if (c->pem) {
		c->bad = cert_load(c->pem, c->len, &c->parts.leaf, &c->parts.chain, &c->parts.key) < 0;
		certs_forget_text(c);
	}
	*ret = c->parts;
	ret->staple = c->staple;
	ret->staple_len = c->staple_len;
	ret->staple_until_ms = c->staple_until_ms;
	return !c->bad;
}

bool certs_find(struct proxy *p, const char *name, bool challenge, struct cert_parts *ret)
{
	size_t n = strlen(name);
	struct app *a;

	if (challenge)
		return certs_use(certs_best(&p->challenges, name, PROXY_CERT_CHALLENGE), ret);
	if (n > 0) {
		a = routes_find_name(p, name, n);
		if (a && certs_use(certs_best(&a->certs, name, PROXY_CERT_APP), ret))
			return true;
		if (certs_use(certs_best(&p->node_certs, name, PROXY_CERT_NODE), ret))
			return true;
	}
	return certs_use(p->default_cert, ret);
}
