/* One instance: its state machine, from the builder's first report to the exit.  Layer agent, supervisor process. */
#include "agent/supervise/instance.h"

#include "agent/supervise/change.h"
#include "agent/supervise/layer.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/own.h"
#include "base/sys.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILL_AGAIN_US 1000000 /* SIGKILL is repeated this often: a task may sit in an uninterruptible call */
#define EMPTY_FIRST_US 1000   /* the last task of a group leaves it a little after its parent saw it die */
#define EMPTY_LONGEST_US 1000000
#define BUILDER_PATIENCE 6u /* tries, about 60 ms: a builder that failed takes back what it made, then ends */
#define EMPTY_GIVE_UP 60u   /* tries; about a minute.  A group that cannot be removed is swept at the next start */

const char *instance_state_name(enum instance_state st)
{
	static const char *const names[INSTANCE_STATE_COUNT] = {"queued",  "building", "running", "stopping",
								"killing", "emptying", "exited"};

	return (unsigned)st < INSTANCE_STATE_COUNT ? names[st] : "unknown";
}

/* What control is told in each state. */
static const enum msg_state shown[INSTANCE_STATE_COUNT] = {
	[INSTANCE_QUEUED] = MSG_STATE_STARTING,	 [INSTANCE_BUILDING] = MSG_STATE_STARTING,
	[INSTANCE_RUNNING] = MSG_STATE_RUNNING,	 [INSTANCE_STOPPING] = MSG_STATE_STOPPING,
	[INSTANCE_KILLING] = MSG_STATE_STOPPING, [INSTANCE_EMPTYING] = MSG_STATE_STOPPING,
	[INSTANCE_EXITED] = MSG_STATE_EXITED,
};

#define TO(st) (1u << INSTANCE_##st)
static const unsigned allowed[INSTANCE_STATE_COUNT] = {
	[INSTANCE_QUEUED] = TO(BUILDING) | TO(EMPTYING),
	[INSTANCE_BUILDING] = TO(RUNNING) | TO(KILLING) | TO(EMPTYING),
	[INSTANCE_RUNNING] = TO(STOPPING) | TO(KILLING) | TO(EMPTYING),
	[INSTANCE_STOPPING] = TO(KILLING) | TO(EMPTYING),
	[INSTANCE_KILLING] = TO(EMPTYING),
	[INSTANCE_EMPTYING] = TO(EXITED),
	[INSTANCE_EXITED] = 0,
};

void instance_tell(const struct instance *in)
{
	if (in->s->quiet)
		return;
	if (in->rec.m.state == MSG_STATE_RUNNING)
		instance_socket_open(in);
	in->s->ops.on_instance(in->s->ops.arg, &in->rec.m);
}

static void on_timer(void *arg)
{
	instance_event(arg, INSTANCE_ON_TIMER);
}

static void on_deadline(void *arg)
{
	instance_event(arg, INSTANCE_ON_DEADLINE);
}

void instance_arm(struct instance *in, int64_t us)
{
	loop_timer_start(in->s->loop, &in->timer, us < 0 ? 0 : us, on_timer, in);
}

/* The only place where the state changes. */
void instance_move(struct instance *in, enum instance_state to)
{
	bool news = in->rec.m.state != shown[to];

	assert(allowed[in->state] & (1u << to));
	loop_timer_stop(&in->timer);
	in->state = to;
	in->tries = 0;
	in->rec.m.state = shown[to];
	/* The exit is told when it is complete, and a failed launch or a crash is not first told as a stop. */
	if (news && !in->failed && to != INSTANCE_EMPTYING && to != INSTANCE_EXITED)
		instance_tell(in);
}

static void kill_builder(struct instance *in)
{
	if (in->builder_fd >= 0)
		sys_pidfd_kill(in->builder_fd, SIGKILL);
}

/* Kills PID 1 and with it everything inside. */
static void kill_all(struct instance *in)
{
	in->killed = true;
	if (in->pidfd >= 0)
		sys_pidfd_kill(in->pidfd, SIGKILL);
}

static void enter_killing(struct instance *in)
{
	instance_move(in, INSTANCE_KILLING);
	kill_all(in);
	disk_rate_lift(in->s);
	if (in->gone || in->pidfd < 0) {
		instance_event(in, INSTANCE_ON_GONE);
		return;
	}
	instance_arm(in, KILL_AGAIN_US);
}

static void empty(struct instance *in);

static void enter_emptying(struct instance *in)
{
	instance_move(in, INSTANCE_EMPTYING);
	empty(in);
}

static void set_text(struct instance *in, const char *text)
{
	if (!in->rec.m.text[0])
		snprintf(in->rec.m.text, sizeof in->rec.m.text, "%s", text);
}

static void say_oom(struct instance *in, const struct cgroup_sample *sample)
{
	struct msg_instance *m = &in->rec.m;
	const struct tenant *t = tenant_get(in->s, m->slot);

	m->oom = tenant_oom(in, sample);
	m->memory_total = m->oom == MSG_OOM_TENANT && t ? t->quota.memory + t->lent : 0;
	if (m->oom == MSG_OOM_OWN)
		snprintf(m->text, sizeof m->text,
			 "the kernel killed %u of its processes at the memory limit of %" PRIu64 " MiB",
			 sample->oom_kills, m->memory_limit >> 20);
	else if (m->oom == MSG_OOM_TENANT)
		snprintf(m->text, sizeof m->text,
			 "the kernel killed %u of its processes at the memory total of its tenant, %" PRIu64
			 " MiB; its own limit is %" PRIu64 " MiB",
			 sample->oom_kills, m->memory_total >> 20, m->memory_limit >> 20);
	else
		snprintf(m->text, sizeof m->text,
			 "the kernel killed %u of its processes because the host had no memory left; its own limit is "
			 "%" PRIu64 " MiB",
			 sample->oom_kills, m->memory_limit >> 20);
}

/* Why it ended, from what is left of it. */
static void find_exit(struct instance *in)
{
	struct msg_instance *m = &in->rec.m;
	struct cgroup_sample sample = {0};
	struct launch_status st;
	bool left = record_status(in->s->instances_dir, m->instance, &st) == 0;

	if (cgroup_sample(in->s->cgroup, in->slot, m->instance, &sample) == 0 && sample.memory_peak) {
		m->memory_peak = sample.memory_peak;
		m->cpu_us = sample.cpu_us;
		tenant_count(in, &in->watch.last, &sample);
		in->watch.last = sample;
	}
	m->exited_ms = left ? st.time_ms : clock_wall_ms();
	m->exit_code = left ? st.code : 128 + SIGKILL;
	if (in->failed) {
		m->exit = MSG_EXIT_LAUNCH;
		m->exit_code = 0;
	} else if (in->deadline_hit) {
		m->exit = MSG_EXIT_DEADLINE;
	} else if (left) {
		/* A shell passes its child's SIGKILL on as 137. */
		if (sample.oom_kills && st.code == 128 + SIGKILL)
			m->exit = MSG_EXIT_OOM;
		else if (in->stop_us)
			m->exit = MSG_EXIT_STOPPED;
		else
			m->exit = st.signal ? MSG_EXIT_SIGNAL : MSG_EXIT_CODE;
	} else if (in->killed) {
		m->exit = MSG_EXIT_KILLED;
	} else if (sample.oom_kills) {
		m->exit = MSG_EXIT_OOM;
	} else if (!in->gone && in->pidfd < 0 && in->stop_us) {
		m->exit = MSG_EXIT_STOPPED; /* while it waited for its start */
		m->exit_code = 0;
	} else if (in->ours && in->wait_status != -1) {
		/* PID 1 itself was killed from outside, or could not write its status. */
		m->exit = WIFSIGNALED(in->wait_status) ? MSG_EXIT_SIGNAL : MSG_EXIT_CODE;
		m->exit_code =
			WIFSIGNALED(in->wait_status) ? 128 + WTERMSIG(in->wait_status) : WEXITSTATUS(in->wait_status);
	} else {
		m->exit = MSG_EXIT_LOST;
		m->exit_code = 0;
	}
	if (sample.oom_kills && m->exit != MSG_EXIT_LAUNCH)
		say_oom(in, &sample);
}

/* All is gone: the network, the tree, the record; control hears of it. */
static void finish(struct instance *in)
{
	struct supervise *s = in->s;
	struct msg_instance *m = &in->rec.m;

	loop_timer_stop(&in->deadline);
	tenant_leave(in);
	if (in->rec.link[0] && in->failed)
		net_link_delete(in->rec.link); /* of a pair made by a builder that was killed; else it went with its
						  namespace */
	if (m->address) {
		net_policy_drop(&s->net, m->address);
		net_cut(m->address); /* whoever gets the address next must not meet what this one was connected to */
	}
	layer_drop(in);
	if (in->pooled)
		pool_release(&s->net.pool, m->address, clock_mono_us());
	if (m->kind == MSG_KIND_STORE) {
		bool ok = m->exit == MSG_EXIT_CODE && m->exit_code == 0;
		if (tree_finish(&s->tree, m->object, ok) < 0 && ok) {
			m->exit = MSG_EXIT_LAUNCH;
			snprintf(m->text, sizeof m->text, "the release tree cannot be put in place");
		}
		if (!ok)
			remove_queue(s, MSG_REMOVE_RELEASE, m->object, false);
	}
	instance_move(in, INSTANCE_EXITED);
	in->rec.phase = RECORD_EXITED;
	/* Without a record (full disk) only a restart of ours could lose this exit. */
	record_write(s->instances_dir, &in->rec);
	supervise_on_exited(in);
	instance_tell(in);
	supervise_turn(s);
}

/* A builder that died before it could name PID 1 leaves us a child whose number we do not know, in the builder's
 * process group, which cannot be reused while that child is in it.  True when there is none (any more). */
static bool reap_unknown(struct instance *in)
{
	pid_t r = 0;

	if (in->ours || in->group <= 0)
		return true;
	do
		r = waitpid(-in->group, NULL, WNOHANG);
	while (r > 0 || (r < 0 && errno == EINTR));
	if (r == 0)
		kill(-in->group, SIGKILL);
	return r < 0;
}

/* Tries to remove the control group; it is the fence behind which nothing of the instance can come back. */
static void empty(struct instance *in)
{
	int64_t pause = EMPTY_FIRST_US << (in->tries < 10 ? in->tries : 10);
	uint64_t id = in->rec.m.instance;
	int r = -EBUSY;

	if (in->tries == 0) {
		change_stop(in);
		cgroup_unwatch(&in->watch);
		find_exit(in);
	}
	if (in->builder == 0 && reap_unknown(in)) {
		r = cgroup_remove(in->s->cgroup, in->slot, id);
		if (r == -EBUSY)
			cgroup_kill(in->s->cgroup, in->slot, id);
	} else if (in->tries >= BUILDER_PATIENCE) {
		kill_builder(in);
	}
	if (r < 0 && in->tries++ < EMPTY_GIVE_UP) {
		instance_arm(in, pause < EMPTY_LONGEST_US ? pause : EMPTY_LONGEST_US);
		return;
	}
	finish(in);
}

/* --- actions -------------------------------------------------------------------------------------------------------
 */

static void act_none(struct instance *in)
{
	(void)in;
}

static void act_cancel(struct instance *in)
{
	TAILQ_REMOVE(&in->s->queue, in, queued);
	in->s->queue_count--;
	enter_emptying(in);
}

static void act_term(struct instance *in)
{
	if (in->grace_ms == 0) {
		enter_killing(in);
		return;
	}
	instance_move(in, INSTANCE_STOPPING);
	sys_pidfd_kill(in->pidfd, SIGTERM);
	instance_arm(in, in->stop_us - clock_mono_us());
}

static void act_hurry(struct instance *in)
{
	if (in->grace_ms == 0)
		enter_killing(in);
	else
		instance_arm(in, in->stop_us - clock_mono_us());
}

void instance_deadline(struct instance *in)
{
	int64_t left = in->rec.deadline_us - clock_mono_us();

	if (in->rec.deadline_us)
		loop_timer_start(in->s->loop, &in->deadline, left > 0 ? left : 0, on_deadline, in);
}

static void act_run(struct instance *in)
{
	struct msg_instance *m = &in->rec.m;

	m->start_us = (uint32_t)(clock_mono_us() - in->received_us);
	m->started_ms = clock_wall_ms();
	in->rec.phase = RECORD_RUNNING;
	if (in->deadline_ms)
		in->rec.deadline_us = clock_mono_us() + (int64_t)in->deadline_ms * 1000;
	record_write(in->s->instances_dir, &in->rec);
	instance_move(in, INSTANCE_RUNNING);
	change_network_late(in);
	instance_deadline(in);
	if (in->gone)
		instance_event(in, INSTANCE_ON_GONE);
	if (in->state == INSTANCE_RUNNING && in->stop_us) {
		/* Asked while it was being built: the grace counts from now. */
		in->stop_us = clock_mono_us() + (int64_t)in->grace_ms * 1000;
		instance_event(in, INSTANCE_ON_STOP);
	}
}

static void act_fail(struct instance *in)
{
	in->failed = true;
	set_text(in, "the sandbox ended before it was ready");
	enter_killing(in);
}

static void act_late(struct instance *in)
{
	set_text(in, "the sandbox was not ready within 10 s");
	kill_builder(in);
	act_fail(in);
}

static void act_kill(struct instance *in)
{
	enter_killing(in);
}

static void act_deadline(struct instance *in)
{
	in->deadline_hit = true;
	enter_killing(in);
}

static void act_again(struct instance *in)
{
	kill_all(in);
	cgroup_kill(in->s->cgroup, in->slot, in->rec.m.instance);
	instance_arm(in, KILL_AGAIN_US);
}

static void act_gone(struct instance *in)
{
	enter_emptying(in);
}

static void act_empty(struct instance *in)
{
	empty(in);
}

typedef void action_fn(struct instance *in);

/* clang-format off */
/* In the order of enum instance_event: STOP        EXEC      FAILED    BUILDER   GONE      TIMER      DEADLINE */
static action_fn *const actions[INSTANCE_STATE_COUNT][INSTANCE_EVENT_COUNT] = {
    [INSTANCE_QUEUED] =   {act_cancel, act_none, act_none, act_none, act_none, act_none, act_none},
    [INSTANCE_BUILDING] = {act_none,   act_run,  act_fail, act_fail, act_none, act_late, act_none},
    [INSTANCE_RUNNING] =  {act_term,   act_none, act_none, act_none, act_gone, act_none, act_deadline},
    [INSTANCE_STOPPING] = {act_hurry,  act_none, act_none, act_none, act_gone, act_kill, act_deadline},
    [INSTANCE_KILLING] =  {act_none,   act_none, act_none, act_none, act_gone, act_again, act_none},
    [INSTANCE_EMPTYING] = {act_none,   act_none, act_none, act_empty, act_none, act_empty, act_none},
    [INSTANCE_EXITED] =   {act_none,   act_none, act_none, act_none, act_none, act_none, act_none},
};
/* clang-format on */

void instance_event(struct instance *in, enum instance_event ev)
{
	actions[in->state][ev](in);
}

static void instance_free(void *arg)
{
	struct instance *in = arg;

	own_close(&in->pidfd);
	cgroup_unwatch(&in->watch);
	own_close(&in->builder_fd);
	own_close(&in->report);
	if (in->order) {
		own_close(&in->order->blob);
		for (size_t i = 0; i < LAUNCH_STDIO_MAX; i++)
			own_close(&in->order->stdio[i]);
		free(in->order);
	}
	free(in);
}

void instance_drop(struct instance *in)
{
	loop_io_stop(&in->pid_io);
	loop_io_stop(&in->builder_io);
	loop_io_stop(&in->report_io);
	loop_timer_stop(&in->timer);
	loop_timer_stop(&in->deadline);
	loop_timer_stop(&in->change);
	loop_defer(in->s->loop, instance_free, in);
}
