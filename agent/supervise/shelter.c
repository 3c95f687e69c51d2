/* Keeps the front door and quiet tenants on the clear CPUs while somebody is confined (scheduler/shelter.h).  Layer
 * agent, supervisor process. */
#include "scheduler/shelter.h"

#include "agent/supervise/instance.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHELTER_FRONT_US 1000000 /* the front door's use is a mean over so long */
#define SHELTER_STAT (1u << 20)	 /* bytes of /proc/stat: 1,024 CPUs have some 100 each, interrupts come behind them */

/* Of one line "cpu<n> user nice system idle iowait ..." of proc_stat(5), in ticks. */
static uint64_t idle_ticks(const char *stat, unsigned cpu)
{
	char name[24];
	const char *line;
	unsigned long long idle = 0, wait = 0;

	snprintf(name, sizeof name, "\ncpu%u ", cpu);
	line = strstr(stat, name);
	if (!line || sscanf(line + strlen(name), "%*s %*s %*s %llu %llu", &idle, &wait) != 2)
		return 0;
	return idle + wait;
}

static uint64_t shelter_idle_us(const struct supervise *s, unsigned *clear)
{
	const unsigned short *cpus = cgroup_clear(s->cgroup, clear);
	OWN_FREE char *stat = NULL;
	uint64_t ticks = 0;
	long hz = sysconf(_SC_CLK_TCK);

	if (fd_read_file(AT_FDCWD, "/proc/stat", SHELTER_STAT, &stat, NULL) < 0 || hz <= 0)
		return 0;
	for (unsigned i = 0; i < *clear; i++)
		ticks += idle_ticks(stat, cpus[i]);
	return ticks * 1000000 / (uint64_t)hz;
}

static void shelter_move(struct tenant *t, bool in)
{
	t->sheltered = confine_cpus(t, in ? CGROUP_CPUS_CLEAR : CGROUP_CPUS_ALL) == 0 && in;
}

/* Those that are in first, so that nobody is put out for another. */
static void shelter_tenants(struct supervise *s, unsigned clear)
{
	unsigned moves = LIMIT_CONFINE_LOOKS;
	struct tenant *t = NULL;

	for (int in = 1; in >= 0; in--) {
		TAILQ_FOREACH(t, &s->tenants_living, link)
		{
			bool stay;
			if (t->confined_at || t->sheltered != in)
				continue;
			stay = t->used && shelter_tenant(&s->shelter, clear, t->use, in);
			if (stay != in && moves > 0) {
				moves--;
				shelter_move(t, stay);
				/* One that was put out stands in the second pass too; it is too loud to come back. */
			}
		}
	}
}

static void shelter_front_cpus(struct supervise *s, bool in, unsigned clear)
{
	/* Again each time: there may be workers that began since. */
	if (s->ops.front_cpus && (in || s->front_in))
		s->ops.front_cpus(s->ops.arg, cgroup_clear(s->cgroup, &clear), in ? clear : 0);
	s->front_in = in;
}

static void shelter_close(struct supervise *s)
{
	struct tenant *t = NULL;

	TAILQ_FOREACH(t, &s->tenants_living, link)
	{
		if (t->sheltered)
			shelter_move(t, false);
	}
	shelter_front_cpus(s, false, 0);
}

/* Use of the front door in thousandths of a CPU. */
static void front_sample(struct supervise *s, int64_t now)
{
	uint64_t us;

	if (!s->ops.front_us || (s->front_at && now - s->front_at < SHELTER_FRONT_US))
		return;
	us = s->ops.front_us(s->ops.arg);
	/* Less than before: another worker in its place. */
	if (s->front_at && us >= s->front_last)
		s->front_use = (uint32_t)((us - s->front_last) * 1000 / (uint64_t)(now - s->front_at));
	s->front_last = us;
	s->front_at = now;
}

void shelter_turn(struct supervise *s, int64_t now)
{
	uint64_t idle_us;
	unsigned clear;

	front_sample(s, now);
	if (!s->shelter.open && s->confined == 0)
		return;
	/* At once when it may have to open or to close, else as often as it is to be looked at. */
	if (s->shelter.open && s->confined > 0 && now - s->sheltered_us < SHELTER_LOOK_MS * 1000)
		return;
	s->sheltered_us = now;
	idle_us = shelter_idle_us(s, &clear);
	switch (shelter_look(&s->shelter, s->confined, clear, idle_us, now)) {
	case SHELTER_CLOSE:
		LOG_DEBUG("nobody is sheltered", "confined=%u", s->confined);
		shelter_close(s);
		return;
	case SHELTER_OPEN:
		LOG_DEBUG("the quiet are sheltered", "confined=%u clear=%u front=%u", s->confined, clear, s->front_use);
		break;
	case SHELTER_STAY:
		break;
	}
	if (!s->shelter.open)
		return;
	shelter_round(&s->shelter);
	shelter_front_cpus(s, shelter_front(&s->shelter, clear, s->front_use), clear);
	shelter_tenants(s, clear);
}

void shelter_used(struct tenant *t, uint64_t was_us, uint64_t now_us, int64_t at)
{
	int64_t span = at - t->used_at;

	t->used = t->used_at && span > 0 && now_us >= was_us;
	if (t->used)
		t->use = (uint32_t)((now_us - was_us) * 1000 / (uint64_t)span);
	t->used_at = at;
}

void shelter_stop(struct supervise *s)
{
	if (s->shelter.open)
		shelter_close(s);
	s->shelter = (struct shelter){0};
}
