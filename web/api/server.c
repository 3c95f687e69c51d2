/* libmicrohttpd in control's loop: exchanges from head to end, bodies, parked writes.  Layer web, control process. */
#include "web/api/api.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"
#include "base/parse.h"
#include "web/api/auth.h"
#include "web/api/exchange.h"
#include "web/api/fields.h"
#include "web/api/route.h"
#include "web/api/state.h"

#include <errno.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

static void api_run(void *arg);

static void api_on_io(void *arg, short what)
{
	(void)what;
	api_run(arg);
}

/* Lets MHD work in the next turn: it does not see by itself that a connection was resumed by us. */
static void api_kick(struct api *a)
{
	if (!a->dead)
		loop_timer_start(a->loop, &a->timer, 0, api_run, a);
}

static void api_run(void *arg)
{
	struct api *a = arg;
	MHD_UNSIGNED_LONG_LONG ms;

	if (a->dead)
		return;
	MHD_run(a->daemon);
	if (MHD_get_timeout(a->daemon, &ms) == MHD_YES)
		loop_timer_start(a->loop, &a->timer, ms > 3600000 ? 3600000000 : (int64_t)ms * 1000, api_run, a);
	else
		loop_timer_stop(&a->timer);
}

void api_suspend(struct exchange *x)
{
	if (x->suspended)
		return;
	x->suspended = true;
	MHD_suspend_connection(x->conn);
}

void api_wake(struct exchange *x)
{
	if (!x->suspended)
		return;
	x->suspended = false;
	MHD_resume_connection(x->conn);
	api_kick(x->api);
}

void api_written(struct api *a)
{
	if (a->config.ops->written)
		a->config.ops->written(a->config.ops->ctx);
}

static void api_unpark(struct api *a, bool ok)
{
	struct exchange *x;

	for (x = a->all; x; x = x->next) {
		if (!x->parked)
			continue;
		x->parked = false;
		a->parked--;
		if (!ok) {
			if (x->response && !x->response_shared)
				MHD_destroy_response(x->response);
			x->response = NULL;
			api_answer_problem(x, 503, NULL, "the change could not be saved; nothing was changed");
		}
		x->state = EXCHANGE_READY;
		api_wake(x);
	}
}

void api_committed(struct api *a)
{
	api_unpark(a, true);
	if (a->events_moved) {
		a->events_moved = false;
		api_events_wake(a, NULL);
	}
}

void api_commit_failed(struct api *a)
{
	a->events_moved = false;
	api_unpark(a, false);
}

void api_event(struct api *a, const struct model_event *ev)
{
	if (store_dirty(a->config.store))
		a->events_moved = true;
	else
		api_events_wake(a, ev);
}

/* Once a second: heartbeats are due, and clients that left while we did not look at their connections are found. */
static void api_on_tick(void *arg)
{
	struct api *a = arg;
	int64_t now = clock_mono_us();
	struct exchange *x;
	bool any = false;

	for (x = a->all; x; x = x->next) {
		const union MHD_ConnectionInfo *info;
		struct pollfd p;
		any = true;
		if (!x->suspended)
			continue;
		info = MHD_get_connection_info(x->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
		p = (struct pollfd){.fd = info->connect_fd};
		if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR | POLLNVAL)) && !x->parked) {
			x->gone = true;
			api_wake(x);
		} else if (x->beat_us && now - x->beat_us >= LIMIT_API_HEARTBEAT_MS * 1000)
			api_wake(x);
	}
	if (any)
		loop_timer_start(a->loop, &a->tick, 1000000, api_on_tick, a);
}

static void exchange_free(struct exchange *x)
{
	*x->at = x->next;
	if (x->next)
		x->next->at = x->at;
	x->api->exchanges--;
	if (x->counted)
		x->api->streams--;
	if (x->parked)
		x->api->parked--;
	loop_timer_stop(&x->timer);
	if (x->response && !x->response_shared)
		MHD_destroy_response(x->response);
	json_decref(x->json);
	buf_done(&x->body);
	buf_done(&x->query);
	free(x->idem_key);
	free(x->parts);
	free(x->path);
	free(x);
}

static void api_on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
			     enum MHD_RequestTerminationCode toe)
{
	struct exchange *x = *con_cls;

	(void)cls;
	(void)conn;
	if (!x)
		return;
	*con_cls = NULL;
	x->api->requests[x->status / 100 % 6]++;
	if (x->ops && x->ops->on_done)
		x->ops->on_done(x, toe == MHD_REQUEST_TERMINATED_COMPLETED_OK);
	exchange_free(x);
}

static struct exchange *exchange_new(struct api *a, struct MHD_Connection *conn, const char *url, const char *method)
{
	struct exchange *x = calloc(1, sizeof *x);

	if (!x)
		return NULL;
	x->path = strdup(url);
	if (!x->path) {
		free(x);
		return NULL;
	}
	x->api = a;
	x->conn = conn;
	x->method = method;
	x->since_us = clock_mono_us();
	buf_init(&x->body, LIMIT_JSON_BODY);
	buf_init(&x->query, LIMIT_API_URL);
	x->next = a->all;
	x->at = &a->all;
	if (x->next)
		x->next->at = &x->next;
	a->all = x;
	a->exchanges++;
	if (!loop_timer_pending(&a->tick))
		loop_timer_start(a->loop, &a->tick, 1000000, api_on_tick, a);
	return x;
}

/* Says who may instead.  What only the operator may, no other token of the tenant opens. */
static void api_role_refused(struct exchange *x)
{
	char who[80] = "";
	size_t n = 0;

	for (int role = MODEL_ROLE_READER; role < MODEL_ROLE_COUNT; role++)
		if (x->route->roles & API_ROLE(role))
			n += (size_t)snprintf(who + n, sizeof who - n, "%s%s",
					      n == 0			      ? ""
					      : x->route->roles >> (role + 1) ? ", "
									      : " or ",
					      model_role_name((enum model_role)role));
	if (x->route->roles == API_OPERATOR || x->route->roles == API_NODE)
		snprintf(who, sizeof who, "only an operator may; ask the operator of this node");
	else
		snprintf(who + n, sizeof who - n, " may");
	api_answer_problem(x, 403, NULL, "the role %s may not do this: %s", model_role_name(x->who.role), who);
}

/* Looks up what the path names; other tenants' things do not exist for the asking tenant. */
static bool exchange_scope(struct exchange *x, const char *tenant, const char *app)
{
	struct store *s = x->api->config.store;
	char safe[FIELDS_UNKNOWN];
	struct err e = {0};
	int r = 0;

	if (tenant && !(API_ROLE(x->who.role) & API_FLEET)) {
		if (x->who.tenant && strcmp(tenant, x->who.tenant_name) != 0)
			r = -ENOENT;
		else
			r = store_tenant_find(s, tenant, &x->tenant, &e);
		if (r == -ENOENT) {
			fields_unknown(tenant, safe);
			api_answer_problem(x, 404, NULL, "there is no tenant \"%s\"", safe);
			return false;
		}
	}
	if (app && !(API_ROLE(x->who.role) & API_FLEET)) {
		r = store_app_find(s, app, &x->app, &e);
		if (r == -ENOENT || (r == 0 && x->who.tenant && x->app.tenant != x->who.tenant)) {
			fields_unknown(app, safe);
			api_answer_problem(x, 404, NULL, "there is no app \"%s\"", safe);
			return false;
		}
	}
	if (r < 0) {
		api_answer_err(x, &e);
		return false;
	}
	if (x->route->roles != API_ANY && !(API_ROLE(x->who.role) & x->route->roles)) {
		api_role_refused(x);
		return false;
	}
	return true;
}

/* Content-Type, Content-Encoding and length of a JSON body; false when an answer was prepared. */
static bool exchange_body_ok(struct exchange *x)
{
	const char *type = api_header(x, "Content-Type"), *coding = api_header(x, "Content-Encoding");

	if (x->route->flags & API_STREAM || x->body_length == 0)
		return true;
	if (!(x->route->flags & API_BODY)) {
		api_answer_problem(x, 400, NULL, "%s %s takes no body", x->method, x->route->pattern);
		return false;
	}
	if (coding && strcasecmp(coding, "identity") != 0) {
		api_answer_problem(x, 415, NULL, "Content-Encoding must be identity here");
		return false;
	}
	if (type && strncasecmp(type, "application/json", 16) != 0 &&
	    strncasecmp(type, "application/merge-patch+json", 28) != 0) {
		api_answer_problem(x, 415, NULL, "Content-Type must be application/json");
		return false;
	}
	if (x->body_length != UINT64_MAX && x->body_length > LIMIT_JSON_BODY) {
		api_answer_problem(x, 413, NULL, "the body of %" PRIu64 " bytes is over the limit of %u",
				   x->body_length, LIMIT_JSON_BODY);
		return false;
	}
	return true;
}

/* Digest of what makes a request "the same" for Idempotency-Key. */
static void exchange_idem_hash(struct exchange *x)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	unsigned n = 0;

	if (c && EVP_DigestInit_ex(c, EVP_sha256(), NULL)) {
		EVP_DigestUpdate(c, x->method, strlen(x->method) + 1);
		EVP_DigestUpdate(c, x->path, strlen(x->path) + 1);
		EVP_DigestUpdate(c, x->body.data ? x->body.data : "", x->body.len);
		EVP_DigestFinal_ex(c, md, &n);
	}
	EVP_MD_CTX_free(c);
	parse_hex(md, n < 32 ? 0 : 32, x->idem_hash);
}

/* True when the request was answered before under the same key (or the key is taken): the answer is prepared. */
static bool exchange_idem_replay(struct exchange *x)
{
	OWN_FREE char *body = NULL;
	struct err e = {0};
	int status = 0, r;

	exchange_idem_hash(x);
	r = store_idem_get(x->api->config.store, x->who.token, x->idem_key, x->idem_hash, &status, &body, &e);
	if (r == -ENOENT)
		return false;
	if (r == -EEXIST)
		api_answer_problem(x, 409, "Idempotency-Key", "this Idempotency-Key was used for another request");
	else if (r < 0)
		api_answer_err(x, &e);
	else if (x->route->flags & API_SECRET)
		api_answer_problem(x, 409, "Idempotency-Key",
				   "this request was already done; its secret is shown only once");
	else if (!body || !*body)
		api_answer_empty(x, (unsigned)status);
	else
		api_answer_text(x, (unsigned)status, status >= 400 ? "application/problem+json" : "application/json",
				body, strlen(body));
	api_answer_header(x, "Idempotency-Replayed", "true");
	return true;
}

static bool exchange_idem_ok(struct exchange *x)
{
	const char *key = api_header(x, "Idempotency-Key");
	size_t n = key ? strlen(key) : 0;

	if (!key || strcmp(x->method, "POST") != 0 || x->route->flags & API_STREAM || !x->who.token)
		return true;
	for (const char *p = key; *p; p++)
		if (*p <= ' ' || *p > '~')
			n = 0;
	if (n == 0 || n > LIMIT_API_IDEM_KEY) {
		api_answer_problem(x, 400, "Idempotency-Key",
				   "Idempotency-Key: must be 1 to %d visible ASCII characters", LIMIT_API_IDEM_KEY);
		return false;
	}
	x->idem_key = strdup(key);
	return x->idem_key != NULL;
}

/* Everything that can be said before the body: prepares an answer, or leaves the exchange ready for its body. */
static void exchange_head(struct exchange *x)
{
	const char *length = api_header(x, "Content-Length"), *te = api_header(x, "Transfer-Encoding");
	const char *tenant = NULL, *app = NULL;
	struct err e = {0};
	char allow[64];
	int r;

	if (te)
		x->body_length = UINT64_MAX;
	else if (length && parse_u64(length, strlen(length), 0, INT64_MAX, "Content-Length", &x->body_length, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	if (strlen(x->path) > LIMIT_API_URL) {
		api_answer_problem(x, 414, NULL, "the path is over the limit of %d bytes", LIMIT_API_URL);
		return;
	}
	r = api_route_match(x, &tenant, &app, allow);
	if (r == -EPERM) {
		bool options = strcmp(x->method, "OPTIONS") == 0;
		if (options)
			api_answer_empty(x, 204);
		else
			api_answer_problem(x, 405, NULL, "only %s is possible here", allow);
		api_answer_header(x, "Allow", allow);
		return;
	}
	if (r < 0) {
		api_answer_problem(x, r == -EINVAL ? 400 : 404, NULL,
				   r == -EINVAL ? "the path is malformed" : "there is nothing at this path");
		return;
	}
	if (!api_query_read(x) || (!(x->route->flags & API_COOKIE_FREE) && !api_auth_check(x)) ||
	    !exchange_scope(x, tenant, app) || !exchange_body_ok(x) || !exchange_idem_ok(x))
		return;
	if (x->route->flags & API_STREAM)
		x->route->handler(x);
}

/* The body of a JSON route is complete. */
static void exchange_handle(struct exchange *x)
{
	struct err e = {0};

	if (x->body.len == 0 && (x->route->flags & (API_BODY | API_BODY_OPTIONAL)) == API_BODY) {
		api_answer_problem(x, 400, NULL, "a JSON object is needed as body");
		return;
	}
	if (x->body.len) {
		x->json = json_read(x->body.data, x->body.len, LIMIT_JSON_BODY, &e);
		if (!x->json) {
			api_answer_err(x, &e);
			return;
		}
		if (!json_is_object(x->json)) {
			api_answer_problem(x, 400, NULL, "the body must be a JSON object");
			return;
		}
	}
	if (x->idem_key && exchange_idem_replay(x))
		return;
	x->route->handler(x);
}

static enum MHD_Result exchange_queue(struct exchange *x)
{
	enum MHD_Result r;

	if (x->status >= 500 && x->status != 503)
		LOG_ERROR("api.failed", "method=%s path=%s status=%u tenant=%s", x->method, x->path, x->status,
			  x->who.tenant_name);
	x->state = EXCHANGE_SENT;
	r = MHD_queue_response(x->conn, x->status, x->response);
	if (!x->response_shared)
		MHD_destroy_response(x->response);
	x->response = NULL;
	return r;
}

/* There may be an answer: parks a write until its commit, queues any other. */
static enum MHD_Result exchange_answer(struct exchange *x)
{
	bool write = strcmp(x->method, "GET") != 0 && strcmp(x->method, "HEAD") != 0;

	if (x->gone)
		return MHD_NO;
	if (x->state == EXCHANGE_READY)
		return exchange_queue(x);
	if (store_dirty(x->api->config.store)) {
		api_written(x->api);
		/* Nothing tells this exchange's changes from those of others in the turn: all wait for the one commit.
		 */
		if (x->response && write && x->api->config.ops->written) {
			x->state = EXCHANGE_WAIT;
			x->parked = true;
			x->api->parked++;
			api_suspend(x);
			return MHD_YES;
		}
	}
	if (x->response)
		return exchange_queue(x);
	if (!x->ops) /* out of memory: nothing would ever wake it */
		return MHD_NO;
	x->state = EXCHANGE_WAIT;
	api_suspend(x);
	return MHD_YES;
}

static enum MHD_Result exchange_body(struct exchange *x, const char *p, size_t *n)
{
	size_t taken = *n;

	x->body_seen += *n;
	if (x->gone)
		return MHD_NO;
	if (x->response || x->discard) {
		/* Answered already; reading a little further lets the client see the answer instead of a reset. */
		x->discard = true;
		if (x->body_seen > LIMIT_API_DISCARD)
			return MHD_NO;
	} else if (x->route->flags & API_STREAM) {
		if (x->ops && x->ops->on_body)
			taken = x->ops->on_body(x, p, *n);
		if (taken < *n && !x->response)
			api_suspend(x);
		x->body_seen -= *n - taken;
	} else {
		if (clock_mono_us() - x->since_us > LIMIT_API_BODY_MS * 1000ll)
			return MHD_NO;
		if (buf_add(&x->body, p, *n) < 0) {
			x->discard = true;
			api_answer_problem(x, 413, NULL, "the body is over the limit of %u bytes", LIMIT_JSON_BODY);
		}
	}
	*n -= taken;
	return MHD_YES;
}

static enum MHD_Result api_on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
				      const char *version, const char *upload, size_t *upload_n, void **con_cls)
{
	struct api *a = cls;
	struct exchange *x = *con_cls;

	(void)version;
	if (!x) {
		*con_cls = x = exchange_new(a, conn, url, method);
		if (!x)
			return MHD_NO;
		exchange_head(x);
		x->state = EXCHANGE_BODY;
		/* A refused body that is long, of unknown length or still announced (Expect) is not read. */
		if (x->response && (x->body_length > LIMIT_API_DRAIN || (x->body_length && api_header(x, "Expect"))))
			return exchange_queue(x);
		return MHD_YES;
	}
	if (*upload_n)
		return exchange_body(x, upload, upload_n);
	if (x->state == EXCHANGE_BODY && !x->response) {
		if (x->route->flags & API_STREAM) {
			if (x->ops && x->ops->on_end)
				x->ops->on_end(x);
		} else
			exchange_handle(x);
	} else if (x->state == EXCHANGE_WAIT && !x->response && !x->gone && x->ops && x->ops->on_wake)
		x->ops->on_wake(x);
	return exchange_answer(x);
}

/* Paths and queries are decoded by us, strictly, after they were split. */
static size_t api_on_unescape(void *cls, struct MHD_Connection *conn, char *s)
{
	(void)cls;
	(void)conn;
	return strlen(s);
}

static void __attribute__((format(printf, 2, 0))) api_on_mhd_log(void *cls, const char *fmt, va_list ap)
{
	char line[256];

	(void)cls;
	vsnprintf(line, sizeof line, fmt, ap);
	line[strcspn(line, "\n")] = 0;
	LOG_DEBUG("api.http", "message=%s", line);
}

static int api_hang(struct api *a)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(a->daemon, MHD_DAEMON_INFO_EPOLL_FD);

	return info ? loop_io_start(a->loop, &a->io, info->epoll_fd, EV_READ, api_on_io, a) : -EIO;
}

static void api_begin_late(void *arg)
{
	api_begin(arg);
}

void api_begin(struct api *a)
{
	loop_timer_stop(&a->late);
	if (!a->dead && !a->io.loop && api_hang(a) < 0) {
		LOG_ERROR("api.failed", "reason=\"the HTTP server could not be hung into the loop\"");
		loop_timer_start(a->loop, &a->late, LIMIT_API_READY_MS * 1000ll, api_begin_late, a);
	}
}

int api_new(struct loop *l, const struct api_config *config, struct api **ret, struct err *e)
{
	struct api *a = calloc(1, sizeof *a);
	int r;

	if (!a)
		return err_set(e, ENOMEM, "out of memory");
	a->loop = l;
	a->config = *config;
	a->scheme = config->settings->https_count ? "https" : "http";
	signal(SIGPIPE, SIG_IGN); /* a build or git that ended early shows as EPIPE */
	r = api_auth_new(config->store, &a->auth, e);
	if (r == 0)
		r = api_state_new(&a->state, e);
	if (r == 0)
		r = fd_nonblock(config->listen_fd);
	if (r < 0)
		goto fail;
	a->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, api_on_request, a,
		MHD_OPTION_EXTERNAL_LOGGER, api_on_mhd_log, NULL, MHD_OPTION_LISTEN_SOCKET, config->listen_fd,
		MHD_OPTION_NOTIFY_COMPLETED, api_on_completed, NULL, MHD_OPTION_UNESCAPE_CALLBACK, api_on_unescape,
		NULL, MHD_OPTION_CONNECTION_LIMIT, (unsigned)LIMIT_API_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)(LIMIT_API_IDLE_MS / 1000), MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)LIMIT_API_MEMORY,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
	if (!a->daemon) {
		r = err_set(e, EIO, "the HTTP server could not be started on its listening socket");
		goto fail;
	}
	if (config->ops->ready(config->ops->ctx))
		r = api_hang(a);
	else
		r = loop_timer_start(l, &a->late, LIMIT_API_READY_MS * 1000ll, api_begin_late, a);
	if (r < 0) {
		err_set(e, -r, "the HTTP server could not be hung into the loop");
		MHD_quiesce_daemon(a->daemon); /* the descriptor stays the caller's */
		MHD_stop_daemon(a->daemon);
		goto fail;
	}
	*ret = a;
	return 0;
fail:
	api_auth_free(a->auth);
	api_state_free(a->state);
	free(a);
	return r;
}

void api_free(struct api *a)
{
	struct exchange *x;

	if (!a || a->dead)
		return;
	for (x = a->all; x; x = x->next) {
		x->gone = true;
		api_wake(x);
	}
	a->dead = true;
	loop_io_stop(&a->io);
	loop_timer_stop(&a->late);
	loop_timer_stop(&a->timer);
	loop_timer_stop(&a->tick);
	loop_timer_stop(&a->log_tick);
	MHD_run(a->daemon); /* takes the resumed ones back, as MHD_stop_daemon demands */
	MHD_stop_daemon(a->daemon);
	api_auth_free(a->auth);
	api_state_free(a->state);
	loop_defer(a->loop, free, a);
}
