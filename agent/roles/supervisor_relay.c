/* Between control and agent/supervise/: orders one way, what was seen the other.  Layer agent, supervisor process. */
#include "agent/roles/messages.h"
#include "agent/roles/supervisor_private.h"
#include "base/log.h"

#include <inttypes.h>
#include <string.h>

#define RELAY_SAMPLES_BEHIND 1000 /* messages that wait for control: past this, samples are dropped */

/* To control, when it is there: it asks for all that it missed when it starts. */
static void relay_to_control(struct supervisor *s, uint16_t type, const void *body, size_t len)
{
	if (s->control.chan)
		chan_send(s->control.chan, type, body, len, NULL, 0);
}

static void relay_to_logger(struct supervisor *s, uint16_t type, const void *body, size_t len, int fd)
{
	if (s->logger.chan)
		chan_send(s->logger.chan, type, body, len, fd < 0 ? NULL : &fd, fd < 0 ? 0 : 1);
}

/* Samples are worth little when control is behind: the next ones come in seconds. */
static void relay_sample(struct supervisor *s, uint16_t type, const void *body, size_t len)
{
	if (s->control.chan && chan_backlog(s->control.chan) < RELAY_SAMPLES_BEHIND)
		relay_to_control(s, type, body, len);
}

static void relay_instance(void *arg, const struct msg_instance *m)
{
	relay_to_control(arg, MSG_INSTANCE, m, sizeof *m);
}

static void relay_socket(void *arg, const struct msg_socket *m, int fd)
{
	struct supervisor *s = arg;

	if (s->control.chan)
		chan_send(s->control.chan, MSG_SOCKET, m, sizeof *m, &fd, 1);
}

static void relay_fsck_found(void *arg, const struct msg_fsck_found *m)
{
	relay_to_control(arg, MSG_FSCK_FOUND, m, sizeof *m);
}

static void relay_fsck_done(void *arg, const struct msg_fsck_done *m)
{
	relay_to_control(arg, MSG_FSCK_DONE, m, sizeof *m);
}

static void relay_fsck_list(void *arg, const struct msg_fsck_list *m, size_t len)
{
	relay_to_control(arg, MSG_FSCK_LIST, m, len);
}

static void relay_removed(void *arg, const struct msg_remove *m)
{
	relay_to_control(arg, MSG_REMOVED, m, sizeof *m);
}

static void relay_usage(void *arg, const struct msg_usage *m, size_t n)
{
	relay_sample(arg, MSG_USAGE, m, n * sizeof *m);
}

static void relay_tenant_usage(void *arg, const struct msg_tenant_usage *m, size_t n)
{
	relay_sample(arg, MSG_TENANT_USAGE, m, n * sizeof *m);
}

static void relay_disk(void *arg, const struct msg_disk *m)
{
	relay_sample(arg, MSG_DISK, m, sizeof *m);
}

static void relay_log_open(void *arg, const struct msg_log_open *m, int fd)
{
	relay_to_logger(arg, MSG_LOG_OPEN, m, sizeof *m, fd);
}

static void relay_log_rate(void *arg, const struct msg_log_rate *m)
{
	relay_to_logger(arg, MSG_LOG_RATE, m, sizeof *m, -1);
}

struct supervise_ops supervisor_relay_ops(struct supervisor *s)
{
	return (struct supervise_ops){.on_instance = relay_instance,
				      .on_socket = relay_socket,
				      .on_usage = relay_usage,
				      .on_tenant_usage = relay_tenant_usage,
				      .on_disk = relay_disk,
				      .front_us = supervisor_front_us,
				      .front_cpus = supervisor_front_cpus,
				      .on_log_open = relay_log_open,
				      .on_log_rate = relay_log_rate,
				      .on_removed = relay_removed,
				      .on_fsck_found = relay_fsck_found,
				      .on_fsck_list = relay_fsck_list,
				      .on_fsck_done = relay_fsck_done,
				      .arg = s};
}

void supervisor_on_control_msg(struct supervisor *s, uint16_t type, const void *body, int *fds, size_t nfds)
{
	struct err e = {0};

	switch (type) {
	case MSG_LAUNCH:
		if (s->phase == PHASE_SERVING)
			supervise_launch(s->supervise, body, fds[0], fds + 1, nfds - 1);
		break;
	case MSG_STOP: {
		const struct msg_stop *m = body;
		supervise_stop(s->supervise, m->instance, m->grace_ms);
		break;
	}
	case MSG_TENANT: {
		const struct msg_tenant *m = body;
		if (supervise_tenant(s->supervise, m, &e) < 0)
			LOG_WARN("tenant's totals not set", "tenant=%" PRIu64 " slot=%u error=\"%s\"", m->tenant,
				 m->slot, e.text);
		break;
	}
	case MSG_LIMITS: {
		const struct msg_limits *m = body;
		if (supervise_limits(s->supervise, m, &e) < 0)
			LOG_WARN("limits not set", "instance=%" PRIu64 " error=\"%s\"", m->instance, e.text);
		break;
	}
	case MSG_THROTTLE: {
		const struct msg_throttle *m = body;
		if (supervise_throttle(s->supervise, m, &e) < 0)
			LOG_WARN("throttle not set", "instance=%" PRIu64 " error=\"%s\"", m->instance, e.text);
		break;
	}
	case MSG_THROTTLE_TENANT: {
		const struct msg_throttle_tenant *m = body;
		if (supervise_throttle_tenant(s->supervise, m, &e) < 0)
			LOG_WARN("throttle not set", "tenant=%" PRIu64 " error=\"%s\"", m->tenant, e.text);
		break;
	}
	case MSG_FORGET:
		supervise_forget(s->supervise, ((const struct msg_forget *)body)->instance);
		break;
	case MSG_FSCK:
		supervise_fsck(s->supervise, body);
		break;
	case MSG_SYNC:
		supervise_sync(s->supervise);
		chan_send(s->control.chan, MSG_SYNC_DONE, NULL, 0, NULL, 0);
		break;
	case MSG_REMOVE: {
		const struct msg_remove *m = body;
		if (m->kind == MSG_REMOVE_LOGS) {
			struct msg_log_drop drop = {m->id};
			relay_to_logger(s, MSG_LOG_DROP, &drop, sizeof drop, -1);
			chan_send(s->control.chan, MSG_REMOVED, m, sizeof *m, NULL, 0);
		} else {
			int r = supervise_remove(s->supervise, m);
			if (r < 0)
				LOG_WARN("tree not removed", "kind=%u id=%" PRIu64 " error=\"%s\"", m->kind, m->id,
					 strerror(-r));
		}
		break;
	}
	default:
		break;
	}
}
