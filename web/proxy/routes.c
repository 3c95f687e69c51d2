/* The routing table: apps, hosts, instances, as control describes them.  Layer web, proxy process.
 * What a message names and we do not know is ignored: control sends an app before what belongs to it. */
#include "web/proxy/internal.h"

#include "base/own.h"
#include "base/parse.h"
#include "config/kind.h"
#include "web/proxy/policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define TELL_US 1000000 /* PROXY_WAKE per app and PROXY_FAILING per instance: at most one in this time */

static void routes_tell(struct proxy *p, enum proxy_msg_type type, uint64_t id)
{
	struct proxy_msg_id m = {id};

	if (p->chan)
		chan_send(p->chan, (uint16_t)type, &m, sizeof m, NULL, 0);
}

bool routes_has_up(const struct app *a)
{
	for (unsigned i = 0; i < a->instance_count; i++)
		if (a->instances[i]->state == PROXY_INSTANCE_UP)
			return true;
	return false;
}

static void routes_app_unref(struct app *a)
{
	if (--a->refs > 0 || !a->dead)
		return;
	balance_unqueue(a);
	free(a->instances);
	free(a->front);
	free(a);
}

void routes_touch(struct proxy *p, struct app *a)
{
	a->touched = true;
	atomic_fetch_or_explicit(&p->stats->touched[p->index][a->slot / 64], 1ull << a->slot % 64,
				 memory_order_relaxed);
}

void routes_drop_app(struct proxy *p, struct app *a)
{
	(void)p;
	routes_app_unref(a);
}

static void routes_instance_unref(struct instance *i)
{
	if (!i->dead || i->in_flight > 0 || i->upstreams > 0)
		return;
	routes_app_unref(i->app);
	if (i->dir >= 0) {
		/* It may be where we stand, which would keep it alive: back to our own root. */
		(void)!chdir("/");
		close(i->dir);
	}
	free(i);
}

void routes_drop_instance(struct proxy *p, struct instance *i)
{
	(void)p;
	routes_instance_unref(i);
}

/* A draining instance that has nothing to do here any more. */
static void routes_check_drained(struct proxy *p, struct instance *i)
{
	if (i->dead || i->state != PROXY_INSTANCE_DRAINING || i->in_flight > 0 || i->drain_told)
		return;
	i->drain_told = true;
	upstream_close_idle(i);
	routes_tell(p, PROXY_DRAINED, i->id);
}

void routes_request_done(struct proxy *p, struct instance *i)
{
	struct app *a = i->app;

	balance_give(p, i);
	if (a->is_queued)
		balance_queue(p, a);
	routes_check_drained(p, i);
	routes_instance_unref(i);
}

void routes_wake(struct proxy *p, struct app *a)
{
	int64_t now = proxy_now(p);

	if (a->control || (a->wake_us && now - a->wake_us < TELL_US))
		return;
	a->wake_us = now;
	routes_tell(p, PROXY_WAKE, a->id);
}

void routes_failing(struct proxy *p, struct instance *i)
{
	int64_t now = proxy_now(p);

	if (i->app->control || i->dead || (i->failing_us && now - i->failing_us < TELL_US))
		return;
	i->failing_us = now;
	routes_tell(p, PROXY_FAILING, i->id);
}

/* Lets parked requests look again, when what they would find has changed. */
static void routes_release(struct app *a)
{
	struct client *c;

	if (a->state == PROXY_APP_HOLD && !a->dead)
		return;
	if (a->state == PROXY_APP_SERVING && !a->dead && !routes_has_up(a))
		return;
	TAILQ_FOREACH(c, &a->parked, parked)
	proxy_ready(c);
}

static void routes_detach_instance(struct instance *i)
{
	struct app *a = i->app;

	for (unsigned k = 0; k < a->instance_count; k++)
		if (a->instances[k] == i) {
			a->instances[k] = a->instances[--a->instance_count];
			return;
		}
}

/* Takes an instance out of service for good.  Its requests in flight end now: the process is gone. */
static void routes_del_instance(struct proxy *p, struct instance *i)
{
	struct client *c, *next;

	map_del(p->instances, &i->id, sizeof i->id);
	routes_detach_instance(i);
	i->dead = true;
	balance_instance_gone(i);
	i->in_flight++;
	upstream_close_idle(i);
	h2_back_drop(i, true);
	i->in_flight--;
	if (i->in_flight > 0)
		for (c = TAILQ_FIRST(&p->clients); c; c = next) {
			next = TAILQ_NEXT(c, all);
			if (c->inst != i || !c->up)
				continue;
			/* The connection looks ended, and the ordinary path decides: retry, 502, or cut. */
			if (!c->up->conn.stream)
				shutdown(c->up->conn.fd, SHUT_RDWR);
			c->up->conn.can_read = c->up->conn.can_write = c->up->conn.closing = true;
			proxy_ready(c);
		}
	routes_instance_unref(i);
}

static void routes_del_host(struct proxy *p, struct host *h)
{
	map_del(h->wildcard ? p->wildcards : p->hosts, h->name, h->len);
	free(h);
}

static void routes_del_app(struct proxy *p, struct app *a)
{
	struct map *maps[2] = {p->hosts, p->wildcards};

	map_del(p->apps, &a->id, sizeof a->id);
	certs_drop_app(p, a);
	for (int m = 0; m < 2; m++) {
		struct host *h;
		size_t pos = 0;
		while ((h = map_next(maps[m], &pos)))
			if (h->app == a)
				routes_del_host(p, h);
	}
	a->refs++;
	while (a->instance_count > 0)
		routes_del_instance(p, a->instances[0]);
	a->dead = true;
	routes_release(a);
	routes_app_unref(a);
}

static void routes_app(struct proxy *p, const struct proxy_msg_app *m)
{
	struct app *a = map_get(p->apps, &m->app, sizeof m->app);

	if (m->slot >= LIMIT_APPS || m->state >= PROXY_APP_STATE_COUNT)
		return;
	if (!a) {
		if (map_count(p->apps) >= LIMIT_APPS || !(a = calloc(1, sizeof *a)))
			return;
		a->id = m->app;
		TAILQ_INIT(&a->parked);
		a->repeats = LIMIT_PROXY_REPEATS * LIMIT_PROXY_REPEAT_PART;
		if (map_put(p->apps, &a->id, sizeof a->id, a) < 0) {
			free(a);
			return;
		}
	}
	a->tenant = m->tenant;
	/* A worker that was killed may have left what it had in flight. */
	if (!a->row)
		atomic_store_explicit(&p->stats->row[p->index][m->slot].in_flight, 0, memory_order_relaxed);
	a->slot = m->slot;
	a->row = &p->stats->row[p->index][m->slot];
	a->state = m->state;
	a->https = m->https < PROXY_HTTPS_COUNT ? m->https : PROXY_HTTPS_ON;
	a->hsts_s = m->hsts_s;
	a->wait_ms = m->wait_ms < LIMIT_PROXY_WAIT_MS ? m->wait_ms : LIMIT_PROXY_WAIT_MS;
	memcpy(a->name, m->name, sizeof a->name);
	a->name[sizeof a->name - 1] = '\0';
	a->mark = p->mark;
	routes_release(a);
}

static void routes_spread(struct proxy *p, const struct proxy_msg_spread *m)
{
	struct app *a = map_get(p->apps, &m->app, sizeof m->app);

	if (!a)
		return;
	a->concurrency = m->concurrency <= LIMIT_PROXY_CONCURRENCY ? m->concurrency : 0;
	a->access = m->access;
	routes_release(a);
}

static struct host *routes_host_get(struct proxy *p, const struct proxy_msg_host *m, char name[LIMIT_HOST + 1],
				    struct map **map)
{
	memcpy(name, m->host, LIMIT_HOST + 1);
	name[LIMIT_HOST] = '\0';
	*map = NULL;
	if (parse_hostname(name, true, "host", NULL) < 0)
		return NULL;
	*map = p->hosts;
	if (name[0] == '*') {
		memmove(name, name + 1, strlen(name));
		*map = p->wildcards;
	}
	return map_get_str(*map, name);
}

static void routes_host(struct proxy *p, const struct proxy_msg_host *m)
{
	struct app *a = map_get(p->apps, &m->app, sizeof m->app);
	char name[LIMIT_HOST + 1];
	struct map *map;
	struct host *h = routes_host_get(p, m, name, &map);

	if (!a || !map)
		return;
	if (!h) {
		if (map_count(p->hosts) + map_count(p->wildcards) >= LIMIT_PROXY_HOSTS || !(h = calloc(1, sizeof *h)))
			return;
		memcpy(h->name, name, sizeof h->name);
		h->len = strlen(name);
		h->wildcard = map == p->wildcards;
		if (map_put(map, h->name, h->len, h) < 0) {
			free(h);
			return;
		}
	}
	h->app = a;
	h->mark = p->mark;
}

static void routes_host_del(struct proxy *p, const struct proxy_msg_host *m)
{
	char name[LIMIT_HOST + 1];
	struct map *map;
	struct host *h = routes_host_get(p, m, name, &map);

	/* Only of the app that has it: the host may have moved on already. */
	if (h && h->app->id == m->app)
		routes_del_host(p, h);
}

static struct instance *routes_instance_new(struct proxy *p, struct app *a, uint64_t id)
{
	struct instance *i = calloc(1, sizeof *i);

	if (a->instance_count == a->instance_cap) {
		unsigned cap = a->instance_cap ? a->instance_cap * 2 : 2;
		struct instance **v = realloc(a->instances, cap * sizeof *v);
		if (!v) {
			free(i);
			return NULL;
		}
		a->instances = v;
		a->instance_cap = cap;
	}
	if (!i)
		return NULL;
	i->id = id;
	i->dir = -1;
	i->app = a;
	TAILQ_INIT(&i->idle);
	TAILQ_INIT(&i->sessions);
	if (!a->control && map_put(p->instances, &i->id, sizeof i->id, i) < 0) {
		free(i);
		return NULL;
	}
	a->refs++;
	a->instances[a->instance_count++] = i;
	balance_instance(p, i);
	return i;
}

/* Its address: of the folder of a unix socket, when there is one (taken), else as the message says. */
static void routes_place(struct instance *i, const struct sockaddr_in *in, int *fd)
{
	if (fd) {
		i->addr.un = (struct sockaddr_un){.sun_family = AF_UNIX, .sun_path = KIND_SOCKET_NAME};
		i->addr_len = sizeof i->addr.un;
		i->dir = TAKE_FD(*fd);
	} else {
		i->addr.in = *in;
		i->addr_len = sizeof *in;
	}
}

/* Does it listen somewhere else than the message says? */
static bool routes_moved(const struct instance *i, const struct sockaddr_in *in, bool local)
{
	if (local || i->dir >= 0)
		return local != (i->dir >= 0);
	return i->addr.in.sin_addr.s_addr != in->sin_addr.s_addr || i->addr.in.sin_port != in->sin_port;
}

/* It leaves: those who may not be there any more get less time. */
static void routes_hurry(struct proxy *p, const struct instance *i)
{
	struct client *c;

	if (i->in_flight > 0)
		TAILQ_FOREACH(c, &p->clients, all)
	if (c->inst == i)
		relay_hurry(c);
}

static void routes_instance(struct proxy *p, const struct proxy_msg_instance *m, int *fd)
{
	struct app *a = map_get(p->apps, &m->app, sizeof m->app);
	struct instance *i = map_get(p->instances, &m->instance, sizeof m->instance);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(m->port), .sin_addr = {htonl(m->address)}};

	if (!a || m->state >= PROXY_INSTANCE_STATE_COUNT || (m->port == 0 && !fd))
		return;
	/* An id never changes hands or place; a message that says so describes another thing than we know. */
	if (i && (i->app != a || routes_moved(i, &in, fd != NULL))) {
		routes_del_instance(p, i);
		i = NULL;
	}
	if (!i) {
		if (a->instance_count >= LIMIT_INSTANCES || !(i = routes_instance_new(p, a, m->instance)))
			return;
		routes_place(i, &in, fd);
		i->h2c = m->protocol == PROXY_PROTOCOL_H2C;
	}
	i->mark = p->mark;
	i->canary = m->group == 1;
	i->sick = m->state == PROXY_INSTANCE_SICK;
	i->state = i->sick ? PROXY_INSTANCE_UP : m->state;
	if (i->state == PROXY_INSTANCE_UP) {
		i->drain_told = false;
		routes_release(a);
	} else {
		/* Asked again is answered again. */
		i->drain_told = false;
		upstream_close_idle(i);
		routes_hurry(p, i);
		routes_check_drained(p, i);
	}
}

/* Removes what control did not name between SYNC_BEGIN and SYNC_END. */
static void routes_sweep(struct proxy *p)
{
	struct app *a;
	struct instance *i;
	struct host *h;
	size_t pos = 0;

	while ((a = map_next(p->apps, &pos)))
		if (a->mark != p->mark)
			routes_del_app(p, a);
	certs_sweep(p);
	challenge_sweep(p, false);
	for (pos = 0; (a = map_next(p->apps, &pos));)
		policy_sweep(p, a);
	for (pos = 0; (i = map_next(p->instances, &pos));)
		if (i->mark != p->mark)
			routes_del_instance(p, i);
	for (pos = 0; (h = map_next(p->hosts, &pos));)
		if (h->mark != p->mark)
			routes_del_host(p, h);
	for (pos = 0; (h = map_next(p->wildcards, &pos));)
		if (h->mark != p->mark)
			routes_del_host(p, h);
	/* A wake that the old channel lost is said again. */
	for (pos = 0; (a = map_next(p->apps, &pos));)
		if (a->parked_count > 0 && a->state == PROXY_APP_SERVING && !routes_has_up(a)) {
			a->wake_us = 0;
			routes_wake(p, a);
		}
}

void routes_message(struct proxy *p, uint16_t type, const void *body, int *fd)
{
	const struct proxy_msg_id *id = body;

	switch (type) {
	case PROXY_SYNC_BEGIN:
		p->syncing = true;
		p->mark++;
		break;
	case PROXY_SYNC_END:
		if (p->syncing)
			routes_sweep(p);
		p->syncing = false;
		if (p->on_synced) {
			void (*fn)(void *arg) = p->on_synced;
			p->on_synced = NULL;
			fn(p->arg);
		}
		break;
	case PROXY_APP:
		routes_app(p, body);
		break;
	case PROXY_APP_DEL: {
		struct app *a = map_get(p->apps, &id->id, sizeof id->id);
		if (a)
			routes_del_app(p, a);
		break;
	}
	case PROXY_SPREAD:
		routes_spread(p, body);
		break;
	case PROXY_HOST:
		routes_host(p, body);
		break;
	case PROXY_HOST_DEL:
		routes_host_del(p, body);
		break;
	case PROXY_INSTANCE:
		routes_instance(p, body, fd);
		break;
	case PROXY_INSTANCE_DEL: {
		struct instance *i = map_get(p->instances, &id->id, sizeof id->id);
		if (i)
			routes_del_instance(p, i);
		break;
	}
	case PROXY_FRONT_DEL:
		policy_front_del(p, id->id);
		break;
	case PROXY_CERT_DEL:
		certs_del(p, id->id);
		break;
	case PROXY_TICKETS:
		tls_tickets(p, body);
		break;
	case PROXY_CHALLENGE:
		challenge_put(p, body);
		break;
	case PROXY_CHALLENGE_DEL:
		challenge_del(p, body);
		break;
	case PROXY_WATCH:
		watch_start(p, body);
		break;
	case PROXY_WATCH_DEL:
		watch_stop(p, id->id);
		break;
	case PROXY_BARRIER:
		routes_tell(p, PROXY_BARRIER_DONE, id->id);
		break;
	default:
		break;
	}
}

/* Is the host, without port, a literal of the address that the client reached us at? */
static bool routes_is_own_address(const char *name, size_t n, struct client *c)
{
	struct sockaddr_storage a = {0};
	socklen_t len = sizeof a;
	char text[64];
	struct in6_addr want, have;
	struct in_addr v4;

	if (n >= sizeof text || getsockname(c->conn.fd, (struct sockaddr *)&a, &len) < 0)
		return false;
	if (a.ss_family == AF_INET6) {
		have = ((struct sockaddr_in6 *)(void *)&a)->sin6_addr;
	} else {
		memset(&have, 0, sizeof have);
		have.s6_addr[10] = have.s6_addr[11] = 0xff;
		memcpy(&have.s6_addr[12], &((struct sockaddr_in *)(void *)&a)->sin_addr, 4);
	}
	if (n == 9 && memcmp(name, "localhost", 9) == 0)
		return IN6_IS_ADDR_LOOPBACK(&have) || (IN6_IS_ADDR_V4MAPPED(&have) && have.s6_addr[12] == 127);
	memcpy(text, name, n);
	text[n] = '\0';
	if (text[0] == '[') {
		text[n - 1] = '\0';
		return inet_pton(AF_INET6, text + 1, &want) == 1 && memcmp(&want, &have, sizeof want) == 0;
	}
	return inet_pton(AF_INET, text, &v4) == 1 && IN6_IS_ADDR_V4MAPPED(&have) &&
	       memcmp(&v4, &have.s6_addr[12], 4) == 0;
}

static bool routes_is_dotted(const char *name, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (name[i] != '.' && (name[i] < '0' || name[i] > '9'))
			return false;
	return true;
}

struct app *routes_find_name(struct proxy *p, const char *name, size_t n)
{
	struct host *h = map_get(p->hosts, name, n);
	const char *dot;

	if (h)
		return h->app;
	if (map_count(p->wildcards) > 0)
		for (dot = memchr(name, '.', n); dot; dot = memchr(dot + 1, '.', (size_t)(name + n - dot - 1)))
			if ((h = map_get(p->wildcards, dot, (size_t)(name + n - dot))))
				return h->app;
	return NULL;
}

struct app *routes_find(struct proxy *p, struct http_str host, struct client *c)
{
	char name[HTTP_HOST_MAX];
	struct app *a;
	size_t n = 0;

	/* Without the port; a literal in brackets keeps its colons. */
	for (bool in = false; n < host.n; n++) {
		char b = host.p[n];
		if (b == ':' && !in)
			break;
		in = (in || b == '[') && b != ']';
		name[n] = (char)(b >= 'A' && b <= 'Z' ? b | 0x20 : b);
	}
	if (n == 0)
		return NULL;
	/* The API's name and literal addresses come first: no route may take them. */
	if (n == p->control_host_len && memcmp(name, p->control_host, n) == 0)
		return p->control;
	if (name[0] == '[' || (name[n - 1] >= '0' && name[n - 1] <= '9' && routes_is_dotted(name, n)))
		return routes_is_own_address(name, n, c) ? p->control : NULL;
	if ((a = routes_find_name(p, name, n)))
		return a;
	return n == 9 && memcmp(name, "localhost", 9) == 0 && routes_is_own_address(name, n, c) ? p->control : NULL;
}

int routes_init(struct proxy *p, const struct proxy_config *cfg)
{
	struct instance *i;

	if (!(p->apps = map_new()) || !(p->instances = map_new()) || !(p->hosts = map_new()) ||
	    !(p->wildcards = map_new()) || !(p->control = calloc(1, sizeof *p->control)))
		return -ENOMEM;
	memcpy(p->control_host, cfg->control_host, sizeof p->control_host);
	p->control_host[sizeof p->control_host - 1] = '\0';
	p->control_host_len = strlen(p->control_host);
	/* The API is an app like any other, with one instance behind a unix socket. */
	p->control->control = true;
	p->control->state = PROXY_APP_SERVING;
	TAILQ_INIT(&p->control->parked);
	if (!(i = routes_instance_new(p, p->control, 0)))
		return -ENOMEM;
	i->addr.un.sun_family = AF_UNIX;
	memcpy(i->addr.un.sun_path, cfg->control_path, sizeof cfg->control_path);
	i->addr.un.sun_path[sizeof cfg->control_path - 1] = '\0';
	i->addr_len = sizeof i->addr.un;
	return 0;
}

void routes_done(struct proxy *p)
{
	struct app *a;
	size_t pos = 0;

	while (p->apps && (a = map_next(p->apps, &pos)))
		routes_del_app(p, a);
	if (p->control) {
		if (p->control->instance_count > 0) {
			struct instance *i = p->control->instances[0];
			routes_detach_instance(i);
			i->dead = true;
			upstream_close_idle(i);
			p->control->refs++;
			routes_instance_unref(i);
			p->control->dead = true;
			routes_app_unref(p->control);
		} else {
			free(p->control);
		}
	}
	map_free(p->apps);
	map_free(p->instances);
	map_free(p->hosts);
	map_free(p->wildcards);
}
