/* What was hit: samples of the supervisor become events for the tenant.  Layer agent, control process.
 *
 * The counters of two samples are compared; what happened in between is told as one event for each kind of limit, at
 * most once a minute, and less often the longer it goes on: an app that lives at its limit must not push its deploys
 * out of the bounded list of events.  Events name the limit, whose it is and what was refused. */
#include "agent/roles/control_core.h"

#include <inttypes.h>
#include <stdio.h>

#define HITS_PAUSE_MS 60000	  /* between two events of one kind */
#define HITS_PAUSE_MAX_MS 3600000 /* while it goes on */
#define HITS_MEMORY 100		  /* times the limit was reached in one sample: fewer is the page cache being trimmed */
#define HITS_CONFINED_US 10000000 /* confined for so long in all is told, and again for as long */
#define HITS_PERIODS 50		  /* periods of CPU time (100 ms each) before a share says something */
#define HITS_THROTTLED 25	  /* percent of them in which it had to wait */
#define HITS_FULL 95		  /* percent of a disk's bytes or inodes */

/* Adds n hits; true when it is time to tell, with all that were not told yet in *sum. */
static bool hits_due(struct control_hits *h, enum control_hit kind, uint64_t n, uint64_t *sum)
{
	int64_t now = control_now_ms(), passed = now - h->told_ms[kind];

	if (n == 0)
		return false;
	h->since[kind] += n;
	if (h->told_ms[kind] && passed < h->pause_ms[kind])
		return false;
	/* Quiet for long enough: it begins anew. */
	if (!h->told_ms[kind] || passed > 4 * h->pause_ms[kind])
		h->pause_ms[kind] = HITS_PAUSE_MS;
	else if (h->pause_ms[kind] < HITS_PAUSE_MAX_MS)
		h->pause_ms[kind] *= 2;
	h->told_ms[kind] = now;
	*sum = h->since[kind];
	h->since[kind] = 0;
	return true;
}

/* A counter's growth; one that fell began anew. */
static uint64_t hits_grown(uint64_t was, uint64_t is)
{
	return is >= was ? is - was : is;
}

static const char *hits_bytes(uint64_t v, char out[QUOTA_TEXT])
{
	quota_text(quota_key_find("memory"), v, out);
	return out;
}

static void hits_throttled(struct control_instance *ci, const struct msg_usage *now)
{
	struct control_app *ca = ci->app;
	uint64_t throttled = hits_grown(ci->usage.throttled, now->throttled), sum = 0, periods;
	char cpu[QUOTA_TEXT];
	bool due;

	if (ci->use.state
		    .cpu) { /* it waits at the node's quota of now, not at its limit: "instance.slowed" tells that */
		ci->hits.periods = 0;
		ci->hits.since[CONTROL_HIT_CPU] = 0;
		return;
	}
	ci->hits.periods += hits_grown(ci->usage.periods, now->periods);
	if (ci->hits.periods < HITS_PERIODS) {
		ci->hits.since[CONTROL_HIT_CPU] += throttled;
		return;
	}
	periods = ci->hits.periods;
	throttled += ci->hits.since[CONTROL_HIT_CPU];
	ci->hits.since[CONTROL_HIT_CPU] = 0;
	ci->hits.periods = 0;
	due = throttled * 100 >= periods * HITS_THROTTLED && hits_due(&ci->hits, CONTROL_HIT_CPU, throttled, &sum);
	ci->hits.since[CONTROL_HIT_CPU] = 0; /* a share is told of its own window only */
	if (!due)
		return;
	quota_text(quota_key_find("cpu"), ci->limits.cpu, cpu);
	control_event(ca->control, ca, ci->rec.id, "instance.throttled",
		      "%s.%" PRId64 " had to wait for CPU in %" PRIu64 " %% of its periods: its limit is %s",
		      ci->rec.type, ci->rec.id, throttled * 100 / periods, cpu);
}

static void hits_disk(struct control_instance *ci, const struct msg_usage *now)
{
	struct control_app *ca = ci->app;
	const struct quota_limits *l = &ci->limits;
	char used[QUOTA_TEXT], limit[QUOTA_TEXT];
	uint64_t sum;

	if (l->disk && now->disk * 100 >= l->disk * HITS_FULL && hits_due(&ci->hits, CONTROL_HIT_DISK, 1, &sum))
		control_event(ca->control, ca, ci->rec.id, "instance.disk",
			      "The disk of %s.%" PRId64 " is full: %s of %s in use", ci->rec.type, ci->rec.id,
			      hits_bytes(now->disk, used), hits_bytes(l->disk, limit));
	if (l->inodes && now->inodes * 100 >= (uint64_t)l->inodes * HITS_FULL &&
	    hits_due(&ci->hits, CONTROL_HIT_INODES, 1, &sum))
		control_event(ca->control, ca, ci->rec.id, "instance.disk",
			      "The disk of %s.%" PRId64 " is full: %" PRIu64 " of %" PRIu32 " files", ci->rec.type,
			      ci->rec.id, now->inodes, l->inodes);
}

/* Whose bound it was decides what helps, so each is an event of its own. */
static void hits_oom(struct control_instance *ci, const struct msg_usage *now, const char *limit, const char *peak)
{
	struct control_app *ca = ci->app;
	const struct msg_usage *was = &ci->usage;
	uint64_t kills = hits_grown(was->oom_kills, now->oom_kills), sum,
		 tenant = hits_grown(was->oom_tenant, now->oom_tenant), host = hits_grown(was->oom_host, now->oom_host);
	char total[QUOTA_TEXT];

#define HITS_KILLED "%" PRIu64 " process%s of %s.%" PRId64 " killed: "
#define HITS_WHO sum, sum == 1 ? " was" : "es were", ci->rec.type, ci->rec.id
	if (kills > tenant + host && hits_due(&ci->hits, CONTROL_HIT_OOM, kills - tenant - host, &sum))
		control_event(ca->control, ca, ci->rec.id, "instance.oom",
			      HITS_KILLED "more memory was needed than the limit of %s (peak %s)", HITS_WHO, limit,
			      peak);
	if (hits_due(&ci->hits, CONTROL_HIT_OOM_TENANT, tenant, &sum))
		control_event(ca->control, ca, ci->rec.id, "instance.oom",
			      HITS_KILLED "the tenant's memory total of %s was reached, below the instance's own limit "
					  "of %s (peak %s)",
			      HITS_WHO, hits_bytes(ca->tenant->rec.quota.memory, total), limit, peak);
	if (hits_due(&ci->hits, CONTROL_HIT_OOM_HOST, host, &sum))
		control_event(ca->control, ca, ci->rec.id, "instance.oom",
			      HITS_KILLED "the host had no memory left, below the instance's own limit of %s (peak %s)",
			      HITS_WHO, limit, peak);
#undef HITS_KILLED
#undef HITS_WHO
}

void control_hits_instance(struct control_instance *ci, const struct msg_usage *now)
{
	struct control_app *ca = ci->app;
	struct control *c = ca->control;
	const struct msg_usage *was = &ci->usage;
	char limit[QUOTA_TEXT], peak[QUOTA_TEXT];
	uint64_t sum, hits;

	if (ci->rec.state == MODEL_INSTANCE_EXITED)
		return;
	hits_disk(ci, now);
	if (!ci->has_base) /* counted before this control looked */
		return;
	hits_bytes(ci->limits.memory, limit);
	hits_bytes(now->memory_peak, peak);
	hits_oom(ci, now, limit, peak);
	hits = hits_grown(was->memory_hits, now->memory_hits);
	if (hits >= HITS_MEMORY && now->memory * 10 >= ci->limits.memory * 9 &&
	    hits_due(&ci->hits, CONTROL_HIT_MEMORY, hits, &sum))
		control_event(c, ca, ci->rec.id, "instance.memory",
			      "%s.%" PRId64 " reached its memory limit of %s %" PRIu64
			      " times: it is slowed by reclaim",
			      ci->rec.type, ci->rec.id, limit, sum);
	if (hits_due(&ci->hits, CONTROL_HIT_PIDS, hits_grown(was->pids_hits, now->pids_hits), &sum))
		control_event(c, ca, ci->rec.id, "instance.pids",
			      "%s.%" PRId64 " could not start a process or thread (%" PRIu64 " times): it has %" PRIu32
			      " of %" PRIu32 ", its tenant at most %" PRIu32,
			      ci->rec.type, ci->rec.id, sum, now->pids, ci->limits.pids, ca->tenant->rec.quota.pids);
	quota_text(quota_key_find("net_packets"), ci->limits.net_packets, limit);
	if (hits_due(&ci->hits, CONTROL_HIT_PACKETS, hits_grown(was->net_refused, now->net_refused), &sum))
		control_event(c, ca, ci->rec.id, "instance.packets",
			      "%" PRIu64 " packet%s of %s.%" PRId64 " refused: it may send %s beside those of TCP "
			      "connections that exist (net_packets)",
			      sum, sum == 1 ? " was" : "s were", ci->rec.type, ci->rec.id, limit);
	hits_throttled(ci, now);
}

void control_hits_tenant(struct control *c, struct control_tenant *t, const struct msg_tenant_usage *now)
{
	const struct msg_tenant_usage *was = &t->usage;
	uint64_t memory, pids, oom, packets, sum;
	char limit[QUOTA_TEXT], peak[QUOTA_TEXT];

	if (!was->tenant)
		return;
	memory = hits_grown(was->memory_hits, now->memory_hits);
	pids = hits_grown(was->pids_hits, now->pids_hits);
	oom = hits_grown(was->oom_kills, now->oom_kills);
	t->memory_hits += memory;
	t->pids_hits += pids;
	t->oom_kills += oom;
	packets = hits_grown(was->net_refused, now->net_refused);
	t->net_refused += packets;
	hits_bytes(t->rec.quota.memory, limit);
	hits_bytes(now->memory_peak, peak);
	if (oom && hits_due(&t->hits, CONTROL_HIT_OOM, oom, &sum))
		control_tenant_event(c, t, "tenant.memory",
				     "%" PRIu64 " process%s killed: all apps together needed more memory than the "
				     "quota of %s (peak %s)",
				     sum, sum == 1 ? " was" : "es were", limit, peak);
	else if (memory >= HITS_MEMORY && now->memory * 10 >= t->rec.quota.memory * 9 &&
		 hits_due(&t->hits, CONTROL_HIT_MEMORY, memory, &sum))
		control_tenant_event(c, t, "tenant.memory",
				     "All apps together reached the memory quota of %s %" PRIu64
				     " times: they are slowed by reclaim",
				     limit, sum);
	if (hits_due(&t->hits, CONTROL_HIT_POOL, hits_grown(was->disk_hits, now->disk_hits), &sum))
		control_tenant_event(
			c, t, "tenant.disk",
			"Writes were refused: all apps together hold %s of the node's disk and may hold %s "
			"now, whatever their own limits. One tenant has at most as much as is free for the "
			"others, and takes it step by step",
			hits_bytes(now->disk, peak), hits_bytes(now->disk_bound, limit));
	/* A start or a build may be kept off some CPUs for a moment; that is nothing to tell. */
	if (hits_due(&t->hits, CONTROL_HIT_CONFINED,
		     hits_grown((uint32_t)(was->confined_us / HITS_CONFINED_US),
				(uint32_t)(now->confined_us / HITS_CONFINED_US)),
		     &sum))
		control_tenant_event(
			c, t, "tenant.confined",
			"Its processes spend much time in the kernel (forks, packets, files): all apps together were "
			"kept off some CPUs, so that others do not wait for them; %" PRIu64 " s so far",
			now->confined_us / 1000000);
	if (hits_due(&t->hits, CONTROL_HIT_PIDS, pids, &sum))
		control_tenant_event(c, t, "tenant.pids",
				     "A process or thread could not be started (%" PRIu64
				     " times): all apps together have %" PRIu32 ", the quota is %" PRIu32,
				     sum, now->pids, t->rec.quota.pids);
	quota_text(quota_key_find("net_packets"), t->rec.quota.net_packets, limit);
	if (hits_due(&t->hits, CONTROL_HIT_PACKETS, packets, &sum))
		control_tenant_event(c, t, "tenant.packets",
				     "%" PRIu64 " packet%s lost: all apps together may send %s beside those of TCP "
				     "connections that exist (net_packets)",
				     sum, sum == 1 ? " was" : "s were", limit);
}
