/* Asks servers on the internet for control.  Layer agent, fetcher process.
 *
 * libcurl is loaded here and nowhere else in the daemon: its thirty libraries would cost every other process memory,
 * and a door each. */
#include "agent/fetch/fetch.h"

#include "agent/fetch/address.h"
#include "base/buf.h"
#include "base/own.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <event2/dns.h>
#include <event2/util.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#define FETCH_HEAD_BYTES 16384
#define FETCH_CONNECT_MS 10000L
#define FETCH_ADDRESSES 8 /* of one name that are tried */

/* Every function of libcurl that is used. */
#define FETCH_CURL(F)                                                                                                  \
	F(curl_global_init)                                                                                            \
	F(curl_multi_init)                                                                                             \
	F(curl_multi_cleanup)                                                                                          \
	F(curl_multi_setopt)                                                                                           \
	F(curl_multi_add_handle)                                                                                       \
	F(curl_multi_remove_handle)                                                                                    \
	F(curl_multi_socket_action)                                                                                    \
	F(curl_multi_info_read)                                                                                        \
	F(curl_multi_assign)                                                                                           \
	F(curl_easy_init)                                                                                              \
	F(curl_easy_cleanup)                                                                                           \
	F(curl_easy_setopt)                                                                                            \
	F(curl_easy_getinfo)                                                                                           \
	F(curl_easy_strerror)                                                                                          \
	F(curl_slist_append)                                                                                           \
	F(curl_slist_free_all)                                                                                         \
	F(curl_url)                                                                                                    \
	F(curl_url_set)                                                                                                \
	F(curl_url_get)                                                                                                \
	F(curl_url_cleanup)                                                                                            \
	F(curl_free)

#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt
static struct {
#define F(name) __typeof__(name) *name;
	FETCH_CURL(F)
#undef F
} lib;

struct fetch_socket {
	struct loop_io io;
	struct fetch *fetch;
	curl_socket_t fd;
};

struct fetch_request {
	TAILQ_ENTRY(fetch_request) link;
	struct fetch *fetch;
	struct fetch_ask ask;
	char body[LIMIT_FETCH_BODY];
	char host[256];
	unsigned port;
	struct evdns_getaddrinfo_request *dns; /* while names are looked up */
	CURL *easy;			       /* owned; NULL before libcurl asks */
	struct curl_slist *head, *resolve;     /* owned */
	struct buf answer;
	size_t head_bytes;
	bool refused; /* its address may not be asked */
	char error[CURL_ERROR_SIZE];
	struct fetch_answer out;
};

struct fetch {
	struct loop *loop;
	char *trust;
	size_t trust_len;
	struct evdns_base *dns;
	CURLM *multi;
	struct loop_timer timer;
	TAILQ_HEAD(, fetch_request) requests;
	unsigned count;
	fetch_answer_fn *fn;
	void *arg;
};

static int fetch_load(struct err *e)
{
	void *so = lib.curl_free ? NULL : dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);

	if (lib.curl_free)
		return 0;
	if (!so)
		return err_set(e, ENOENT, "libcurl cannot be loaded: %s", dlerror());
#define F(name)                                                                                                        \
	if (!(lib.name = (__typeof__(lib.name))dlsym(so, #name)))                                                      \
		return err_set(e, ENOENT, "libcurl is too old: it has no " #name);
	FETCH_CURL(F)
#undef F
	/* The configuration of the host's OpenSSL is not ours, and the fetcher opens no file. */
	if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1 ||
	    lib.curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(e, EIO, "libcurl cannot be initialised");
	return 0;
}

/* --- ends ----------------------------------------------------------------------------------------------------- */

static void fetch_drop(struct fetch_request *r)
{
	struct fetch *f = r->fetch;

	TAILQ_REMOVE(&f->requests, r, link);
	f->count--;
	if (r->easy) {
		lib.curl_multi_remove_handle(f->multi, r->easy);
		lib.curl_easy_cleanup(r->easy);
	}
	lib.curl_slist_free_all(r->head);
	lib.curl_slist_free_all(r->resolve);
	buf_done(&r->answer);
	free(r);
}

static void fetch_say(struct fetch_request *r)
{
	struct fetch *f = r->fetch;

	r->out.id = r->ask.id;
	r->out.len = r->out.status ? (uint32_t)r->answer.len : 0;
	f->fn(f->arg, &r->out, r->out.len ? r->answer.data : NULL);
	fetch_drop(r);
}

static void fetch_fail(struct fetch_request *r, const char *text)
{
	r->out.status = 0;
	snprintf(r->out.error, sizeof r->out.error, "%.*s", (int)sizeof r->out.error - 1, text);
	fetch_say(r);
}

static void fetch_done(struct fetch_request *r, CURLcode code)
{
	long status = 0;
	curl_off_t wait = 0;

	if (code != CURLE_OK) {
		fetch_fail(r, r->refused	 ? "its address is not one of the public internet"
			      : r->answer.failed ? "the answer is too long"
			      : r->error[0]	 ? r->error
						 : lib.curl_easy_strerror(code));
		return;
	}
	lib.curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	lib.curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &wait);
	r->out.status = status >= 100 && status <= 599 ? (uint32_t)status : 0;
	r->out.retry_after_s = wait > 0 && wait < 86400 * 30 ? (uint32_t)wait : 0;
	if (!r->out.status)
		snprintf(r->out.error, sizeof r->out.error, "it is no answer of HTTP");
	fetch_say(r);
}

static void fetch_check(struct fetch *f)
{
	CURLMsg *m;
	int left;

	while ((m = lib.curl_multi_info_read(f->multi, &left))) {
		CURLcode code = m->data.result;
		struct fetch_request *r = NULL;
		if (m->msg != CURLMSG_DONE)
			continue;
		lib.curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &r);
		if (r)
			fetch_done(r, code);
	}
}

/* --- libcurl in our loop -------------------------------------------------------------------------------------- */

static void fetch_on_socket(void *arg, short what)
{
	struct fetch_socket *s = arg;
	struct fetch *f = s->fetch;
	int running;

	lib.curl_multi_socket_action(f->multi, s->fd,
				     (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0),
				     &running);
	fetch_check(f);
}

static int fetch_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket)
{
	struct fetch *f = arg;
	struct fetch_socket *s = socket;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s) {
			loop_io_stop(&s->io);
			loop_defer(f->loop, free, s);
		}
		return 0;
	}
	if (!s) {
		if (!(s = calloc(1, sizeof *s)))
			return -1;
		s->fetch = f;
		s->fd = fd;
		lib.curl_multi_assign(f->multi, fd, s);
	}
	return loop_io_start(f->loop, &s->io, fd,
			     (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0)),
			     fetch_on_socket, s) < 0
		       ? -1
		       : 0;
}

static void fetch_on_timer(void *arg)
{
	struct fetch *f = arg;
	int running;

	lib.curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	fetch_check(f);
}

static int fetch_set_timer(CURLM *multi, long ms, void *arg)
{
	struct fetch *f = arg;

	(void)multi;
	if (ms < 0)
		loop_timer_stop(&f->timer);
	else
		loop_timer_start(f->loop, &f->timer, ms * 1000, fetch_on_timer, f);
	return 0;
}

/* --- one request ---------------------------------------------------------------------------------------------- */

static bool fetch_allowed(const struct fetch_request *r, const struct sockaddr *a)
{
	return !(r->ask.flags & FETCH_PUBLIC) || (fetch_address_public(a) && !fetch_address_ours(a));
}

/* The very address that is connected to: no name can mean another one in between. */
static curl_socket_t fetch_open(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct fetch_request *r = arg;

	(void)purpose;
	if (!fetch_allowed(r, &a->addr)) {
		r->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(a->family, a->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->protocol);
}

static size_t fetch_body(char *p, size_t size, size_t n, void *arg)
{
	struct fetch_request *r = arg;

	return buf_add(&r->answer, p, size * n) < 0 ? 0 : size * n;
}

/* Copies a field's value when the line has its name and all of it is visible ASCII that fits. */
static void fetch_field(const char *line, size_t n, const char *name, char *out, size_t cap)
{
	size_t k = strlen(name);

	if (n <= k || strncasecmp(line, name, k) != 0)
		return;
	line += k;
	n -= k;
	while (n && (*line == ' ' || *line == '\t'))
		line++, n--;
	while (n && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' '))
		n--;
	if (n >= cap)
		return;
	for (size_t i = 0; i < n; i++)
		if (line[i] <= 0x20 || line[i] >= 0x7f)
			return;
	memcpy(out, line, n);
	out[n] = '\0';
}

static size_t fetch_head(char *p, size_t size, size_t n, void *arg)
{
	struct fetch_request *r = arg;

	n *= size;
	r->head_bytes += n;
	if (r->head_bytes > FETCH_HEAD_BYTES)
		return 0;
	fetch_field(p, n, "Replay-Nonce:", r->out.nonce, sizeof r->out.nonce);
	fetch_field(p, n, "Location:", r->out.location, sizeof r->out.location);
	return n;
}

static bool fetch_add(struct curl_slist **list, const char *text)
{
	struct curl_slist *l = lib.curl_slist_append(*list, text);

	if (l)
		*list = l;
	return l != NULL;
}

static bool fetch_configure(struct fetch_request *r)
{
	static const char *const types[FETCH_TYPE_COUNT] = {
		[FETCH_TYPE_NONE] = NULL,
		[FETCH_TYPE_JOSE] = "Content-Type: application/jose+json",
		[FETCH_TYPE_OCSP] = "Content-Type: application/ocsp-request",
	};
	struct fetch *f = r->fetch;
	struct curl_blob trust = {.data = f->trust, .len = f->trust_len, .flags = CURL_BLOB_NOCOPY};
	bool ok = true;

#define SET(option, value) ok = ok && lib.curl_easy_setopt(r->easy, option, value) == CURLE_OK
	ok = fetch_add(&r->head, "Expect:") && fetch_add(&r->head, "Accept-Language: en");
	if (types[r->ask.type])
		ok = ok && fetch_add(&r->head, types[r->ask.type]);
	SET(CURLOPT_URL, r->ask.url);
	SET(CURLOPT_PRIVATE, r);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, r->ask.flags & FETCH_PLAIN ? "http" : "https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_CAPATH, NULL);
	SET(CURLOPT_CAINFO_BLOB, &trust);
	SET(CURLOPT_TIMEOUT_MS, (long)r->ask.timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, FETCH_CONNECT_MS);
	SET(CURLOPT_MAXFILESIZE, (long)LIMIT_FETCH_ANSWER);
	SET(CURLOPT_USERAGENT, "Tulou/" TULOU_VERSION);
	SET(CURLOPT_HTTPHEADER, r->head);
	SET(CURLOPT_RESOLVE, r->resolve);
	SET(CURLOPT_ERRORBUFFER, r->error);
	SET(CURLOPT_WRITEFUNCTION, fetch_body);
	SET(CURLOPT_WRITEDATA, r);
	SET(CURLOPT_HEADERFUNCTION, fetch_head);
	SET(CURLOPT_HEADERDATA, r);
	SET(CURLOPT_OPENSOCKETFUNCTION, fetch_open);
	SET(CURLOPT_OPENSOCKETDATA, r);
	if (r->ask.method == FETCH_HEAD) {
		SET(CURLOPT_NOBODY, 1L);
	} else if (r->ask.method == FETCH_POST) {
		SET(CURLOPT_POSTFIELDS, r->body);
		SET(CURLOPT_POSTFIELDSIZE, (long)r->ask.body_len);
	}
#undef SET
	return ok;
}

static void fetch_go(struct fetch_request *r)
{
	r->easy = lib.curl_easy_init();
	if (!r->easy || !fetch_configure(r) || lib.curl_multi_add_handle(r->fetch->multi, r->easy) != CURLM_OK) {
		if (r->easy)
			lib.curl_easy_cleanup(r->easy);
		r->easy = NULL;
		fetch_fail(r, "out of memory");
	}
}

/* --- names ---------------------------------------------------------------------------------------------------- */

/* What libcurl is told a name means, so that it looks for none by itself. */
static bool fetch_pin(struct fetch_request *r, const struct evutil_addrinfo *list)
{
	char text[sizeof r->host + FETCH_ADDRESSES * (INET6_ADDRSTRLEN + 3) + 16];
	size_t n = (size_t)snprintf(text, sizeof text, "%s:%u", r->host, r->port);
	unsigned count = 0;

	for (const struct evutil_addrinfo *a = list; a && count < FETCH_ADDRESSES; a = a->ai_next) {
		char one[INET6_ADDRSTRLEN];
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		if (a->ai_family == AF_INET && a->ai_addrlen >= sizeof in) {
			memcpy(&in, a->ai_addr, sizeof in);
			inet_ntop(AF_INET, &in.sin_addr, one, sizeof one);
		} else if (a->ai_family == AF_INET6 && a->ai_addrlen >= sizeof in6) {
			memcpy(&in6, a->ai_addr, sizeof in6);
			inet_ntop(AF_INET6, &in6.sin6_addr, one, sizeof one);
		} else {
			continue;
		}
		if (!fetch_allowed(r, a->ai_addr)) {
			r->refused = true;
			continue;
		}
		n += (size_t)snprintf(text + n, sizeof text - n, a->ai_family == AF_INET ? "%c%s" : "%c[%s]",
				      count ? ',' : ':', one);
		count++;
	}
	return count && fetch_add(&r->resolve, text);
}

static void fetch_on_names(int error, struct evutil_addrinfo *list, void *arg)
{
	struct fetch_request *r = arg;
	char text[160];

	r->dns = NULL;
	if (error == EVUTIL_EAI_CANCEL) {
		/* fetch_forget has dropped it from the list already. */
		free(r);
		return;
	}
	if (error) {
		snprintf(text, sizeof text, "the name %.80s is not found: %s", r->host, evutil_gai_strerror(error));
		fetch_fail(r, text);
		return;
	}
	if (fetch_pin(r, list))
		fetch_go(r);
	else
		fetch_fail(r, r->refused ? "its address is not one of the public internet" : "the name has no address");
	evutil_freeaddrinfo(list);
}

/* Scheme, host and port; what is wrong with the URL, or NULL. */
static const char *fetch_parse(struct fetch_request *r)
{
	CURLU *u = lib.curl_url();
	char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
	const char *wrong = "the URL cannot be read";

	if (u && lib.curl_url_set(u, CURLUPART_URL, r->ask.url, 0) == CURLUE_OK &&
	    lib.curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    lib.curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    lib.curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
		wrong = strcmp(scheme, r->ask.flags & FETCH_PLAIN ? "http" : "https") != 0
				? (r->ask.flags & FETCH_PLAIN ? "the URL must begin with http://"
							      : "the URL must begin with https://")
			: lib.curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK ? "the URL holds a user name"
			: strlen(host) >= sizeof r->host			     ? "the URL's host is too long"
			/* Marks of CURLOPT_RESOLVE, by which a name is not what it was resolved to. */
			: strchr("-+*", host[0]) ? "the URL's host is no name"
						 : NULL;
		if (!wrong) {
			memcpy(r->host, host, strlen(host) + 1);
			r->port = (unsigned)strtoul(port, NULL, 10);
		}
	}
	lib.curl_free(scheme);
	lib.curl_free(host);
	lib.curl_free(port);
	lib.curl_free(user);
	lib.curl_url_cleanup(u);
	return wrong;
}

static bool fetch_literal(const char *host)
{
	struct in_addr a;

	return host[0] == '[' || inet_pton(AF_INET, host, &a) == 1;
}

void fetch_ask(struct fetch *f, const struct fetch_ask *ask, size_t len)
{
	struct fetch_answer none = {.id = ask->id};
	struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct evdns_getaddrinfo_request *dns;
	struct fetch_request *r = NULL;
	const char *wrong;

	if (f->count >= LIMIT_FETCH || !(r = calloc(1, sizeof *r))) {
		snprintf(none.error, sizeof none.error, r ? "out of memory" : "too many requests at a time");
		f->fn(f->arg, &none, NULL);
		return;
	}
	r->fetch = f;
	r->ask = *ask;
	r->ask.url[sizeof r->ask.url - 1] = '\0';
	if (r->ask.timeout_ms == 0 || r->ask.timeout_ms > LIMIT_FETCH_MS)
		r->ask.timeout_ms = LIMIT_FETCH_MS;
	buf_init(&r->answer, LIMIT_FETCH_ANSWER);
	TAILQ_INSERT_TAIL(&f->requests, r, link);
	f->count++;
	if (ask->body_len > sizeof r->body || len != sizeof *ask + ask->body_len || ask->method >= FETCH_METHOD_COUNT ||
	    ask->type >= FETCH_TYPE_COUNT) {
		fetch_fail(r, "it is no request");
		return;
	}
	memcpy(r->body, ask + 1, ask->body_len);
	if ((wrong = fetch_parse(r))) {
		fetch_fail(r, wrong);
		return;
	}
	if (fetch_literal(r->host)) {
		fetch_go(r);
		return;
	}
	/* It may call back before it returns, and r is gone then: it returns NULL in that case. */
	dns = evdns_getaddrinfo(f->dns, r->host, NULL, &hints, fetch_on_names, r);
	if (dns)
		r->dns = dns;
}

void fetch_forget(struct fetch *f)
{
	struct fetch_request *r, *next;

	for (r = TAILQ_FIRST(&f->requests); r; r = next) {
		next = TAILQ_NEXT(r, link);
		if (!r->dns) {
			fetch_drop(r);
			continue;
		}
		/* Its callback frees it. */
		TAILQ_REMOVE(&f->requests, r, link);
		f->count--;
		buf_done(&r->answer);
		evdns_getaddrinfo_cancel(r->dns);
	}
}

int fetch_new(struct loop *l, char *trust, size_t trust_len, const uint32_t *servers, unsigned server_count,
	      fetch_answer_fn *fn, void *arg, struct fetch **ret, struct err *e)
{
	struct fetch *f = calloc(1, sizeof *f);
	int r;

	if (!f) {
		free(trust);
		return err_set(e, ENOMEM, "out of memory");
	}
	f->loop = l;
	f->trust = trust;
	f->trust_len = trust_len;
	f->fn = fn;
	f->arg = arg;
	TAILQ_INIT(&f->requests);
	if ((r = fetch_load(e)) < 0) {
		fetch_free(f);
		return r;
	}
	evutil_secure_rng_init();
	f->dns = evdns_base_new(loop_base(l), 0);
	f->multi = lib.curl_multi_init();
	if (!f->dns || !f->multi) {
		fetch_free(f);
		return err_set(e, ENOMEM, "out of memory");
	}
	evdns_base_load_hosts(f->dns, "/etc/hosts");
	evdns_base_set_option(f->dns, "timeout:", "3");
	evdns_base_set_option(f->dns, "attempts:", "3");
	evdns_base_set_option(f->dns, "randomize-case:", "1");
	for (unsigned i = 0; i < server_count; i++)
		evdns_base_nameserver_add(f->dns, htonl(servers[i]));
	lib.curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, fetch_watch);
	lib.curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
	lib.curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, fetch_set_timer);
	lib.curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
	*ret = f;
	return 0;
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	fetch_forget(f);
	if (f->multi)
		lib.curl_multi_cleanup(f->multi);
	if (f->dns)
		evdns_base_free(f->dns, 0);
	loop_timer_stop(&f->timer);
	free(f->trust);
	free(f);
}
