/* Certificates, keys and session tickets on their way to the proxies.  Layer agent, control process.
 *
 * They lie in the database, which only control opens; a proxy gets each in a sealed memfd.  None of it is done on a
 * node without a listener for https.  The node has a certificate of its own, signed by itself and renewed in time, so
 * that https works at once, if with a warning. */
#include "agent/roles/control_core.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"
#include "web/http/cert.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define CERTS_SELF_DAYS 397		     /* what browsers take at most */
#define CERTS_RENEW_MS (30ll * 86400 * 1000) /* before its end */
#define CERTS_ROTATE_US (LIMIT_TLS_TICKET_S * 1000000ll / 3)

/* The memory is kept, not its text: a proxy that comes later gets the same descriptor. */
struct control_cert_file {
	char *names; /* owned: in the form of cert_info.names */
	uint64_t id;
	uint32_t len;
	int fd; /* owned */
};

static bool certs_wanted(const struct control *c)
{
	return c->settings.https_count > 0;
}

/* --- to the proxies ------------------------------------------------------------------------------------------- */

/* Sends one certificate to one worker (NULL: to all). */
static void certs_send(struct control *c, struct control_worker *w, int64_t id, int64_t app, enum proxy_cert_kind kind)
{
	struct proxy_msg_cert m = {.id = (uint64_t)id, .app = (uint64_t)app, .kind = kind};
	struct err e = {0};
	char *text = NULL;
	int fd;

	if (store_cert_text(c->store, id, &text, &e) < 0) {
		LOG_WARN("certificate not read", "id=%" PRId64 " error=\"%s\"", id, e.text);
		return;
	}
	m.len = (uint32_t)strlen(text);
	fd = fd_memfd_sealed("tulou-certificate", text, m.len);
	OPENSSL_cleanse(text, m.len);
	free(text);
	if (fd < 0) {
		LOG_WARN("certificate not sent", "id=%" PRId64 " error=\"%s\"", id, strerror(-fd));
		return;
	}
	for (unsigned i = 0; i < LIMIT_WORKERS; i++)
		if ((w ? w == &c->workers[i] : c->synced) && c->workers[i].chan)
			control_routes_send(&c->workers[i], PROXY_CERT, &m, sizeof m, &fd, 1);
	close(fd);
	control_ocsp_send(c, w, (uint64_t)id);
}

static void certs_send_file(struct control_worker *w, const struct control_cert_file *f)
{
	struct proxy_msg_cert m = {.id = f->id, .kind = PROXY_CERT_NODE, .len = f->len};

	control_routes_send(w, PROXY_CERT, &m, sizeof m, &f->fd, 1);
	control_ocsp_send(w->control, w, f->id);
}

/* Its responder is asked from now on. */
static void certs_watch(struct control *c, int64_t id, int64_t app, enum model_cert_origin origin)
{
	char *text = NULL;

	if (!c->ocsp || store_cert_text(c->store, id, &text, NULL) < 0)
		return;
	control_ocsp_add(c, (uint64_t)id, app, origin == MODEL_CERT_UPLOADED, text, strlen(text));
	OPENSSL_cleanse(text, strlen(text));
	free(text);
}

static void certs_gone(struct control *c, int64_t id)
{
	struct proxy_msg_id m = {(uint64_t)id};

	for (unsigned i = 0; i < LIMIT_WORKERS; i++)
		if (c->synced && c->workers[i].chan)
			control_routes_send(&c->workers[i], PROXY_CERT_DEL, &m, sizeof m, NULL, 0);
	control_ocsp_del(c, (uint64_t)id);
}

void control_certs_sync(struct control_worker *w)
{
	struct control *c = w->control;

	if (!certs_wanted(c))
		return;
	if (c->tickets.count)
		control_routes_send(w, PROXY_TICKETS, &c->tickets, sizeof c->tickets, NULL, 0);
	if (c->default_cert)
		certs_send(c, w, c->default_cert, 0, PROXY_CERT_DEFAULT);
	if (c->node_cert)
		certs_send(c, w, c->node_cert, 0, PROXY_CERT_NODE);
	for (unsigned i = 0; i < c->cert_file_count; i++)
		certs_send_file(w, &c->cert_files[i]);
}

void control_certs_sync_app(struct control_worker *w, struct control_app *ca)
{
	for (unsigned i = 0; i < ca->cert_count; i++)
		certs_send(ca->control, w, ca->certs[i], ca->rec.id, PROXY_CERT_APP);
}

/* --- of apps -------------------------------------------------------------------------------------------------- */

struct certs_ids {
	int64_t id[LIMIT_CERTS_APP];
	enum model_cert_origin origin[LIMIT_CERTS_APP];
	unsigned count;
};

static int certs_id(void *arg, const struct model_cert *cert)
{
	struct certs_ids *ids = arg;

	if (ids->count < LIMIT_CERTS_APP) {
		ids->origin[ids->count] = cert->origin;
		ids->id[ids->count++] = cert->id;
	}
	return 0;
}

static bool certs_has(const int64_t *ids, unsigned n, int64_t id)
{
	for (unsigned i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

void control_certs_load(struct control_app *ca)
{
	struct control *c = ca->control;
	struct certs_ids fresh = {.count = 0};
	struct err e = {0};
	int64_t *copy;

	if (!certs_wanted(c))
		return;
	if (store_cert_list(c->store, ca->rec.id, certs_id, &fresh, &e) < 0) {
		LOG_WARN("certificates not read", "app=%s error=\"%s\"", ca->rec.name, e.text);
		return;
	}
	if (fresh.count == 0 && ca->cert_count == 0)
		return;
	copy = malloc((fresh.count + 1) * sizeof *copy);
	if (!copy)
		return;
	memcpy(copy, fresh.id, fresh.count * sizeof *copy);
	/* The new ones before the old ones go: a name is never without. */
	control_routes_app(ca, false);
	for (unsigned i = 0; i < fresh.count; i++)
		if (!certs_has(ca->certs, ca->cert_count, fresh.id[i])) {
			certs_watch(c, fresh.id[i], ca->rec.id, fresh.origin[i]);
			certs_send(c, NULL, fresh.id[i], ca->rec.id, PROXY_CERT_APP);
		}
	for (unsigned i = 0; i < ca->cert_count; i++)
		if (!certs_has(fresh.id, fresh.count, ca->certs[i]))
			certs_gone(c, ca->certs[i]);
	free(ca->certs);
	ca->certs = copy;
	ca->cert_count = fresh.count;
}

/* --- the node's own ------------------------------------------------------------------------------------------- */

struct certs_self {
	const char *names; /* separated by spaces */
	int64_t good;	   /* id of one that can stay, 0 = none */
	int64_t old[LIMIT_CERTS_NODE];
	unsigned old_count;
};

static int certs_find_self(void *arg, const struct model_cert *cert)
{
	struct certs_self *f = arg;

	if (cert->origin != MODEL_CERT_SELF)
		return 0;
	if (!f->good && strcmp(cert->names, f->names) == 0 && cert->not_after_ms - clock_wall_ms() > CERTS_RENEW_MS)
		f->good = cert->id;
	else if (f->old_count < LIMIT_CERTS_NODE)
		f->old[f->old_count++] = cert->id;
	return 0;
}

/* The names that this node answers to by itself: each ended by NUL and an empty one at the end, and with spaces. */
static void certs_self_names(const struct control *c, char *list, char *text, size_t cap)
{
	size_t n = (size_t)snprintf(text, cap, "%s *.%s", c->settings.domain_control, c->settings.domain_apps);

	memcpy(list, text, n + 1);
	list[n + 1] = '\0';
	for (size_t i = 0; i < n; i++)
		list[i] = list[i] == ' ' ? '\0' : list[i];
}

static int certs_self_make(struct control *c, const char *list, const char *text, int64_t *ret, struct err *e)
{
	struct model_cert cert = {.origin = MODEL_CERT_SELF, .names = text};
	struct cert_info info = {0};
	int64_t now = clock_wall_ms();
	char *key = cert_new_key(), *pem = key ? cert_self_signed(key, list, now, CERTS_SELF_DAYS, NULL) : NULL;
	int r = pem ? cert_check(pem, strlen(pem), key, strlen(key), now, &info, e)
		    : err_set(e, EIO, "cannot make a certificate");

	if (r == 0) {
		memcpy(cert.issuer, info.issuer, sizeof cert.issuer);
		memcpy(cert.kind, info.kind, sizeof cert.kind);
		memcpy(cert.sha256, info.sha256, sizeof cert.sha256);
		cert.not_before_ms = info.not_before_ms;
		cert.not_after_ms = info.not_after_ms;
		r = store_cert_add(c->store, &cert, pem, key, e);
	}
	cert_info_done(&info);
	cert_free_key(key);
	free(pem);
	if (r == 0)
		*ret = cert.id;
	return r;
}

static void certs_self_ensure(struct control *c)
{
	char list[LIMIT_HOST * 2 + 8] = "", text[LIMIT_HOST * 2 + 8] = "";
	struct certs_self f = {.names = text};
	struct err e = {0};
	int r;

	certs_self_names(c, list, text, sizeof text - 1);
	r = store_cert_list(c->store, 0, certs_find_self, &f, &e);
	if (r == 0 && !f.good && (r = certs_self_make(c, list, text, &f.good, &e)) == 0)
		LOG_INFO("certificate made", "names=\"%s\" days=%d", text, CERTS_SELF_DAYS);
	for (unsigned i = 0; r == 0 && i < f.old_count; i++)
		r = store_cert_del(c->store, 0, f.old[i], &e);
	if (r < 0)
		LOG_WARN("no certificate of the node's own", "error=\"%s\"", e.text);
	if (f.good && f.good != c->default_cert) {
		c->default_cert = f.good;
		certs_send(c, NULL, f.good, 0, PROXY_CERT_DEFAULT);
	}
}

/* From an authority, for domains.control: the newest that is not over; those of a name of before go. */
struct certs_node {
	const char *name;
	int64_t best, old[LIMIT_CERTS_NODE];
	unsigned old_count;
};

static int certs_find_node(void *arg, const struct model_cert *cert)
{
	struct certs_node *f = arg;
	bool ours = strcmp(cert->names, f->name) == 0;

	if (cert->origin != MODEL_CERT_ACME)
		return 0;
	if (ours && cert->not_after_ms > clock_wall_ms())
		f->best = cert->id;
	else if (!ours && f->old_count < LIMIT_CERTS_NODE)
		f->old[f->old_count++] = cert->id;
	return 0;
}

void control_certs_node(struct control *c)
{
	struct certs_node f = {.name = c->settings.domain_control};
	int64_t before = c->node_cert;
	struct err e = {0};

	if (store_cert_list(c->store, 0, certs_find_node, &f, &e) < 0) {
		LOG_WARN("certificates not read", "error=\"%s\"", e.text);
		return;
	}
	for (unsigned i = 0; i < f.old_count; i++)
		store_cert_del(c->store, 0, f.old[i], NULL);
	if (f.best == before)
		return;
	c->node_cert = f.best;
	if (f.best) {
		certs_watch(c, f.best, 0, MODEL_CERT_ACME);
		certs_send(c, NULL, f.best, 0, PROXY_CERT_NODE);
	}
	if (before)
		certs_gone(c, before);
}

/* --- the operator's files ------------------------------------------------------------------------------------- */

static int certs_file_check(const struct msg_cert_file *m, int fd, struct cert_info *info, struct err *e)
{
	size_t len = (size_t)m->chain_len + m->key_len;
	char *text;
	int r;

	if (!m->chain_len || !m->key_len || m->chain_len > LIMIT_CERT_BYTES + 1 || m->key_len > LIMIT_CERT_BYTES ||
	    !(text = malloc(len)))
		return err_set(e, EINVAL, "wrong sizes");
	r = pread(fd, text, len, 0) == (ssize_t)len
		    ? cert_check(text, m->chain_len, text + m->chain_len, m->key_len, clock_wall_ms(), info, e)
		    : err_set(e, EIO, "cannot be read");
	OPENSSL_cleanse(text, len);
	free(text);
	return r;
}

static void certs_file_watch(struct control *c, uint64_t id, const struct msg_cert_file *m, int fd)
{
	OWN_FREE char *chain = malloc(m->chain_len);

	if (chain && pread(fd, chain, m->chain_len, 0) == (ssize_t)m->chain_len)
		control_ocsp_add(c, id, 0, false, chain, m->chain_len);
}

bool control_certs_file_covers(const struct control *c, const char *host)
{
	for (unsigned i = 0; i < c->cert_file_count; i++)
		if (cert_covers(c->cert_files[i].names, host))
			return true;
	return false;
}

void control_on_cert_file(struct control *c, const struct msg_cert_file *m, int fd)
{
	struct control_cert_file f = {.len = m->chain_len + m->key_len, .fd = -1}, *grown;
	struct cert_info info = {0};
	struct err e = {0};
	char name[65] = "", digits[15] = "";

	snprintf(name, sizeof name, "%.63s", m->name);
	if (c->cert_file_count >= LIMIT_CERTS_NODE || certs_file_check(m, fd, &info, &e) < 0) {
		LOG_WARN("certificate left out", "name=%s error=\"%s\"", name, e.code ? e.text : "too many");
		return;
	}
	/* The same certificate has the same number, whichever control tells it; bit 62 keeps clear of the store's. */
	memcpy(digits, info.sha256, 14);
	f.id = strtoull(digits, NULL, 16) | 1ull << 62;
	LOG_INFO("certificate of the operator", "name=%s host=%s names=%u kind=%s", name, info.names, info.name_count,
		 info.kind);
	f.names = TAKE_PTR(info.names);
	cert_info_done(&info);
	grown = realloc(c->cert_files, (c->cert_file_count + 1) * sizeof *grown);
	if (!grown || (f.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0) {
		c->cert_files = grown ? grown : c->cert_files;
		free(f.names);
		LOG_WARN("certificate left out", "name=%s error=\"out of memory or descriptors\"", name);
		return;
	}
	c->cert_files = grown;
	c->cert_files[c->cert_file_count++] = f;
	certs_file_watch(c, f.id, m, f.fd);
	for (unsigned i = 0; i < LIMIT_WORKERS; i++)
		if (c->synced && c->workers[i].chan)
			certs_send_file(&c->workers[i], &f);
}

/* --- tickets -------------------------------------------------------------------------------------------------- */

/* A new key in front; they are kept in memory alone, so that no disk betrays sessions of the past. */
static void certs_rotate(struct control *c)
{
	struct proxy_msg_tickets *t = &c->tickets;

	memmove(&t->key[1], &t->key[0], sizeof t->key - sizeof t->key[0]);
	if (getrandom(&t->key[0], sizeof t->key[0], 0) != (ssize_t)sizeof t->key[0])
		abort(); /* a guessable key would open every session */
	if (t->count < LIMIT_TLS_TICKET_KEYS)
		t->count++;
	for (unsigned i = 0; i < LIMIT_WORKERS; i++)
		if (c->synced && c->workers[i].chan)
			control_routes_send(&c->workers[i], PROXY_TICKETS, t, sizeof *t, NULL, 0);
}

static void certs_on_timer(void *arg)
{
	struct control *c = arg;

	certs_rotate(c);
	certs_self_ensure(c);
	control_written(c);
	loop_timer_start(c->loop, &c->tls_timer, CERTS_ROTATE_US, certs_on_timer, c);
}

void control_certs_init(struct control *c)
{
	if (!certs_wanted(c))
		return;
	certs_rotate(c);
	certs_self_ensure(c);
	control_certs_node(c);
	loop_timer_start(c->loop, &c->tls_timer, CERTS_ROTATE_US, certs_on_timer, c);
}

void control_certs_done(struct control *c)
{
	loop_timer_stop(&c->tls_timer);
	OPENSSL_cleanse(&c->tickets, sizeof c->tickets);
	for (unsigned i = 0; i < c->cert_file_count; i++) {
		close(c->cert_files[i].fd);
		free(c->cert_files[i].names);
	}
	free(c->cert_files);
	c->cert_files = NULL;
	c->cert_file_count = 0;
}
