/* What the resolver knows: whose address each is, and which names lead to it.  Layer agent, control process.
 *
 * One entry for each address that an instance or job of ours has, kept here too, so that a resolver that comes up is
 * told everything; each message says a state, not a difference. */
#include "agent/resolve/messages.h"
#include "agent/roles/control_core.h"

#include "base/log.h"
#include "base/own.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct control_name {
	struct resolve_entry e; /* e.address is the key */
	uint64_t instance;	/* whose it is: an address may have passed on before its old owner's end is told */
};

static void names_lost(void *arg, const char *reason)
{
	struct control *c = arg;

	LOG_INFO("resolver gone", "reason=\"%s\"", reason);
	chan_close(c->resolver);
	c->resolver = NULL;
}

static void names_send(struct control *c, uint16_t type, const struct resolve_entry *e)
{
	if (c->resolver && c->synced && chan_send(c->resolver, type, e, e ? sizeof *e : 0, NULL, 0) < 0)
		names_lost(c, "it does not read what it is told");
}

void control_names_sync(struct control *c)
{
	struct control_name *n;
	size_t pos = 0;

	names_send(c, RESOLVE_BEGIN, NULL);
	while ((n = map_next(c->names, &pos)))
		names_send(c, RESOLVE_PUT, &n->e);
	names_send(c, RESOLVE_END, NULL);
}

static void names_on_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	(void)len;
	(void)fds;
	(void)nfds;
	if (type == RESOLVE_PROVED)
		control_domains_on_proved(arg, body);
}

void control_names_add(struct control *c, int fd)
{
	static const struct chan_ops ops = {names_on_msg, names_lost};

	chan_close(c->resolver);
	c->resolver = chan_new(c->loop, fd, resolve_rules_back, resolve_rules_back_count, &ops, c);
	if (!c->resolver) {
		close(fd);
		return;
	}
	control_names_sync(c);
}

static void names_put(struct control *c, uint64_t instance, const struct resolve_entry *e)
{
	struct control_name *n = map_get(c->names, &e->address, sizeof e->address);

	if (!n) {
		n = calloc(1, sizeof *n);
		if (!n)
			return;
		n->e.address = e->address;
		if (map_put(c->names, &n->e.address, sizeof n->e.address, n) < 0) {
			free(n);
			return;
		}
	} else if (n->instance == instance && memcmp(&n->e, e, sizeof *e) == 0) {
		return;
	}
	n->instance = instance;
	n->e = *e;
	names_send(c, RESOLVE_PUT, e);
}

void control_names_instance(struct control_instance *ci)
{
	struct control_app *ca = ci->app;
	struct resolve_entry e = {.address = ci->address, .slot = ca->tenant->rec.slot};
	struct quota_egress egress;

	if (!ci->address)
		return;
	control_egress(ca, &egress);
	if (egress.mode != QUOTA_EGRESS_NONE)
		e.flags |= RESOLVE_FORWARD;
	if (ci->healthy && ci->rec.state == MODEL_INSTANCE_RUNNING)
		e.flags |= RESOLVE_NAMED;
	snprintf(e.app, sizeof e.app, "%s", ca->rec.name);
	snprintf(e.type, sizeof e.type, "%s", ci->rec.type);
	names_put(ca->control, (uint64_t)ci->rec.id, &e);
}

void control_names_app(struct control_app *ca)
{
	struct control_instance *ci;

	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		control_names_instance(ci);
	}
}

void control_names_job(struct control *c, const struct msg_instance *m, bool forward)
{
	struct resolve_entry e = {
		.address = m->address, .slot = m->slot, .flags = forward ? (uint32_t)RESOLVE_FORWARD : 0};

	if (m->address)
		names_put(c, m->instance, &e);
}

void control_names_gone(struct control *c, uint64_t instance, uint32_t address)
{
	struct control_name *n = address ? map_get(c->names, &address, sizeof address) : NULL;

	if (!n || n->instance != instance)
		return;
	names_send(c, RESOLVE_DEL, &n->e);
	map_del(c->names, &n->e.address, sizeof n->e.address);
	free(n);
}

void control_names_free(struct control *c)
{
	struct control_name *n;
	size_t pos = 0;

	chan_close(c->resolver);
	c->resolver = NULL;
	while (c->names && (n = map_next(c->names, &pos)))
		free(n);
	map_free(c->names);
	c->names = NULL;
}
