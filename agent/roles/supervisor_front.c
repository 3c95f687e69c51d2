/* The front door's processes as agent/supervise/ sees them: what CPU time they take, and on which CPUs they are to stay
 * while a tenant is confined (scheduler/shelter.h).  Layer agent, supervisor process. */
#include "agent/roles/supervisor_private.h"
#include "base/log.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

/* Calls fn for each proxy worker that is not known to be gone, those that drain included. */
static void front_each(struct supervisor *s, void (*fn)(void *arg, pid_t pid), void *arg)
{
	for (unsigned i = 0; i < LIMIT_WORKERS; i++)
		if (s->workers[i].pid > 0)
			fn(arg, s->workers[i].pid);
	for (unsigned i = 0; i < s->old_count; i++)
		if (s->old_is_worker[i] && s->old[i].pidfd >= 0)
			fn(arg, s->old[i].record.pid);
}

static void front_add(void *arg, pid_t pid)
{
	uint64_t *us = arg;
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &t) == 0)
		*us += (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t supervisor_front_us(void *arg)
{
	uint64_t us = 0;

	front_each(arg, front_add, &us);
	return us;
}

static void front_pin(void *arg, pid_t pid)
{
	if (sched_setaffinity(pid, sizeof(cpu_set_t), arg) < 0 && errno != ESRCH)
		LOG_WARN("CPUs of a proxy worker not set", "pid=%d error=\"%s\"", pid, strerror(errno));
}

void supervisor_front_cpus(void *arg, const unsigned short *cpus, unsigned n)
{
	cpu_set_t own, set;

	/* More than CPU_SETSIZE CPUs: EINVAL, and nobody is moved. */
	if (sched_getaffinity(0, sizeof own, &own) < 0)
		return;
	CPU_ZERO(&set);
	for (unsigned i = 0; i < n; i++)
		if (cpus[i] < CPU_SETSIZE && CPU_ISSET(cpus[i], &own))
			CPU_SET(cpus[i], &set);
	front_each(arg, front_pin, CPU_COUNT(&set) > 0 ? &set : &own);
}
