/* How fast the pool is written by all together.  Layer agent, supervisor process.
 *
 * cgroup v1 charges what was buffered to nobody: the kernel's threads write it back, compute checksums, and commit when
 * a layer is full, at the cost of everybody's CPUs.  The device's bound is the only one that reaches them: a writer
 * that waits for its writing (a full layer, too much in memory) waits longer, everybody else notices nothing.  On v2
 * each instance's io_write does that. */
#include "agent/supervise/instance.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define LIFT_US 2000000 /* without a bound after a SIGKILL: who waits for its writing cannot die */

static uint64_t rate_of(const struct settings *s)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return s->disk_write_rate ? s->disk_write_rate : LIMIT_POOL_RATE_CPU * (uint64_t)(cpus < 2 ? 2 : cpus);
}

static int rate_set(struct supervise *s, uint64_t rate)
{
	unsigned ma, mi;

	if (disk_device(s->disk, &ma, &mi) < 0)
		return -EOPNOTSUPP;
	return cgroup_write_rate(s->cgroup, ma, mi, rate);
}

static void on_again(void *arg)
{
	struct supervise *s = arg;

	rate_set(s, rate_of(&s->settings));
}

void disk_rate_start(struct supervise *s)
{
	uint64_t rate = rate_of(&s->settings);
	int r = rate_set(s, rate);

	if (r == 0)
		LOG_INFO("the pool's writes are bounded", "rate=%" PRIu64, rate);
	else if (r != -EOPNOTSUPP)
		LOG_WARN("the pool's writes are not bounded", "error=\"%s\"", strerror(-r));
}

void disk_rate_lift(struct supervise *s)
{
	if (!loop_timer_pending(&s->rate_timer) && rate_set(s, 0) < 0)
		return;
	loop_timer_start(s->loop, &s->rate_timer, LIFT_US, on_again, s);
}

void disk_rate_stop(struct supervise *s)
{
	loop_timer_stop(&s->rate_timer);
	rate_set(s, 0);
}
