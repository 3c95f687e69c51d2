/* One instance: its states, and what the parts of this folder share.  Layer agent, supervisor process.
 *
 *            launch
 *              |  (LIMIT_LAUNCHES builders at work)
 *           QUEUED ----------------------------- stop ------------------------------.
 *              | spawned                                                            |
 *          BUILDING --- failed, too late, builder gone ----.                        |
 *              | EXEC reported                             |                        |
 *           RUNNING --- deadline, stop with no grace ----->|                        |
 *              |   \ stop: SIGTERM                         |                        |
 *              |    STOPPING --- grace over, deadline ---->|                        |
 *              |        |                               KILLING (SIGKILL to PID 1)  |
 *              | PID 1 gone      PID 1 gone                | PID 1 gone             |
 *              '--------+----------------------------------'                        |
 *                       v                                                           |
 *                   EMPTYING  until the builder is reaped and the cgroup removed <--'
 *                       | reported, recorded
 *                    EXITED --- forget ---> (freed)
 *
 * SIGKILL to PID 1 ends its whole pid namespace (pid_namespaces(7)); the kernel reaps everything in it before the pidfd
 * of PID 1 becomes readable.  Removing the cgroup is the fence: whatever has not joined by then never can. */
#ifndef TULOU_AGENT_SUPERVISE_INSTANCE_H
#define TULOU_AGENT_SUPERVISE_INSTANCE_H

#include "agent/supervise/cgroup.h"
#include "agent/supervise/disk.h"
#include "agent/supervise/launch.h"
#include "agent/supervise/net.h"
#include "agent/supervise/record.h"
#include "agent/supervise/stack.h"
#include "agent/supervise/supervise.h"
#include "agent/supervise/tenant.h"
#include "agent/supervise/tree.h"
#include "base/map.h"
#include "scheduler/shelter.h"

#include <stdbool.h>
#include <sys/queue.h>

enum instance_state {
	INSTANCE_QUEUED,
	INSTANCE_BUILDING,
	INSTANCE_RUNNING,
	INSTANCE_STOPPING,
	INSTANCE_KILLING,
	INSTANCE_EMPTYING,
	INSTANCE_EXITED,
	INSTANCE_STATE_COUNT,
};

enum instance_event {
	INSTANCE_ON_STOP,     /* asked to stop; grace_ms is set */
	INSTANCE_ON_EXEC,     /* the builder's report: the program runs */
	INSTANCE_ON_FAILED,   /* the builder's report, or ours: m.text says why */
	INSTANCE_ON_BUILDER,  /* the builder was reaped */
	INSTANCE_ON_GONE,     /* PID 1 ended */
	INSTANCE_ON_TIMER,    /* the state's own deadline */
	INSTANCE_ON_DEADLINE, /* the launch's deadline */
	INSTANCE_EVENT_COUNT,
};

/* What a launch holds until its builder is started. */
struct instance_order {
	struct msg_launch m;
	int blob, stdio[LAUNCH_STDIO_MAX]; /* owned; -1 = none */
};

struct instance {
	struct supervise *s; /* borrowed */
	struct record rec;   /* rec.m is what control is told */
	enum instance_state state;
	struct instance_order *order; /* owned; NULL once spawned or adopted */
	int64_t received_us;	      /* monotonic */
	int64_t stop_us;	      /* monotonic: SIGKILL is due then; 0 = no stop was asked for */
	uint32_t grace_ms;	      /* of the last stop request */
	uint32_t deadline_ms;	      /* of the launch, 0 = none; counts from the exec */
	unsigned tries;		      /* of the state's timer */
	int pidfd;		      /* owned: PID 1; -1 before it is known */
	int builder_fd, report;	      /* owned; -1 = none */
	pid_t builder;		      /* 0 = none, or reaped */
	pid_t group;		      /* the builder's process group, also after it is gone; 0 = none */
	int wait_status;	      /* waitpid(2)'s of PID 1, -1 when it is not our child or lives */
	bool ours;		      /* PID 1 is our child: we reap it */
	bool gone;		      /* PID 1 ended */
	bool pooled;		      /* its address is to be given back: false for one of a pool configured before */
	bool killed, deadline_hit, failed;
	bool rates_late;			/* its network rates changed while it was being built */
	uint32_t slot;				/* where its cgroup is: its tenant's slot, or CGROUP_FLAT */
	bool in_tenant;				/* between tenant_enter() and tenant_leave() */
	uint64_t lent, lent_swap;		/* bytes, to its tenant's total */
	uint32_t throttle_weight, throttle_cpu; /* of supervise_throttle(); 0 = none */
	bool shrinking;				/* its memory is not down to rec.limits yet */
	unsigned change_tries;
	struct cgroup_watch watch;
	uint32_t oom_tenant, oom_host; /* kills that were not at its own limit */
	uint64_t net_in, net_out;      /* of the last sample */
	uint64_t net_refused;	       /* the same: packets */
	int64_t sampled_us;	       /* monotonic: it; 0 = not yet */
	bool busy;		       /* in s->busy */
	struct disk_watch disk;
	struct loop_io pid_io, builder_io, report_io;
	struct loop_timer timer, deadline, change;
	TAILQ_ENTRY(instance) link;   /* in s->living or s->exited */
	TAILQ_ENTRY(instance) queued; /* in s->queue while QUEUED */
	TAILQ_ENTRY(instance) works;  /* in s->busy */
};

TAILQ_HEAD(instance_list, instance);

struct supervise_removal;
struct private_layers;
struct fsck;

struct supervise {
	struct loop *loop; /* borrowed */
	struct settings settings;
	struct supervise_ops ops;
	struct cgroup *cgroup; /* owned */
	struct net net;
	struct launch_programs programs;
	struct tree tree;
	struct disk *disk; /* owned */
	int instances_dir; /* owned: <runtime>/instances, locked: one supervisor per runtime directory */
	int stack;	   /* owned, O_PATH: the current root skeleton */
	char stack_name[STACK_NAME];
	char boot[RECORD_BOOT];
	struct map *by_id; /* owned: instance id -> struct instance */
	struct instance_list living, exited, queue;
	struct instance_list busy; /* living ones that use CPU: usage.c */
	size_t living_count, exited_count, queue_count, building;
	struct map *tenants; /* owned: slot -> struct tenant */
	struct tenant_list tenants_living;
	size_t tenants_count;		   /* of tenants_living */
	struct tenant_list tenants_looked; /* the same, in the order in which confine.c looks */
	unsigned confined, confine_turns;  /* tenants; looks since the last at those */
	bool cpus_late;			   /* some tenant's list of CPUs was refused */
	uint64_t confine_all;		   /* microseconds of kernel time of all, at confine_us (monotonic) */
	int64_t confine_us;
	struct shelter shelter;
	bool front_in;			/* the front door is kept on the clear CPUs */
	uint32_t front_use;		/* thousandths of a CPU */
	uint64_t front_last;		/* its CPU time in microseconds at front_at (monotonic; 0 = none) */
	int64_t front_at, sheltered_us; /* the last look at who is sheltered */
	bool stopping;			/* supervise_stop_all() was called */
	bool quiet;			/* adopting: nobody is told anything yet */
	bool turning;			/* inside supervise_turn() */
	void (*on_all_stopped)(void *arg);
	void *on_all_stopped_arg;
	struct loop_timer usage_timer, stopped_timer, rates_timer, disk_timer, rate_timer, confine_timer;
	struct supervise_removal *removal; /* owned: remove.c */
	struct private_layers *private;	   /* owned: private.c */
	struct fsck *fsck;		   /* owned: fsck.c; NULL while none runs */
	struct loop_timer fsck_timer;
	int64_t disk_us; /* monotonic: the shared disk was told */
};

/* disk_rate.c: bounds the writing to the pool; takes the bound away while somebody who was killed may wait for it, and
 * for good. */
void disk_rate_start(struct supervise *s);
void disk_rate_lift(struct supervise *s);
void disk_rate_stop(struct supervise *s);

/* Kinds with a private writable layer. */
bool instance_has_layer(uint32_t kind);
/* Number of the instance's uid range. */
uint32_t instance_uid_base(const struct supervise *s, uint32_t slot);

/* A new instance for a checked launch, in QUEUED; takes duplicates of the descriptors.  NULL with e set. */
struct instance *instance_new(struct supervise *s, const struct msg_launch *m, int blob, const int *stdio,
			      struct err *e);
/* One from a record, in the state that fits: its PID 1 lives, is half made, or has ended. */
struct instance *instance_adopt(struct supervise *s, const struct record *rec);
/* Unregisters and frees at the end of the turn; touches neither the process nor the disk. */
void instance_drop(struct instance *in);

/* Starts the builder of a QUEUED instance (or ends it as failed). */
void instance_spawn(struct instance *in);

/* The only entrance to its state machine. */
void instance_event(struct instance *in, enum instance_event ev);
/* For spawn.c: the move itself, the state's timer, and the launch's deadline from rec.deadline_us. */
void instance_move(struct instance *in, enum instance_state to);
void instance_arm(struct instance *in, int64_t us);
void instance_deadline(struct instance *in);

/* Tells control the current state. */
void instance_tell(const struct instance *in);
/* Hands the output pipe to the logger again; nothing when there is none. */
void instance_log_open(const struct instance *in);

/* Hands the folder of its unix socket to control again; nothing when there is none. */
void instance_socket_open(const struct instance *in);

const char *instance_state_name(enum instance_state st);

/* supervise.c: an instance reached EXITED, or a builder is done: others may go on. */
void supervise_turn(struct supervise *s);
void supervise_on_exited(struct instance *in);
int supervise_check_egress(const struct quota_egress *g, struct err *e);

/* usage.c */
int usage_start(struct supervise *s);
void usage_stop(struct supervise *s);
void usage_gone(struct instance *in); /* it is sampled no more */

/* confine.c */
int confine_start(struct supervise *s);
void confine_stop(struct supervise *s);
void confine_gone(struct tenant *t); /* its group goes */
/* The CPUs that its instances may run on.  What the kernel refuses is told once, and tried again with each
 * look.  0 or
 * negative errno. */
int confine_cpus(struct tenant *t, enum cgroup_cpus which);
uint64_t confine_time_us(const struct tenant *t); /* confined in all, since its first instance */

/* shelter.c */
void shelter_turn(struct supervise *s, int64_t now); /* after each look at who is confined */
void shelter_stop(struct supervise *s);		     /* everybody may run everywhere again */
/* A tenant's CPU time at its sample before and at this one, in microseconds. */
void shelter_used(struct tenant *t, uint64_t was_us, uint64_t now_us, int64_t at);

/* fsck.c: forgets a run */
void fsck_stop(struct supervise *s);

/* remove.c */
int remove_new(struct supervise *s);
void remove_free(struct supervise *s);
/* Queues the removal of <id>.gone; tell: on_removed follows. */
int remove_queue(struct supervise *s, enum msg_remove_kind kind, uint64_t id, bool tell);
/* Queues the removal of all layers that are gone. */
void remove_layers(struct supervise *s);
/* Waits for the child at work: for the end of the node. */
void remove_wait(struct supervise *s);
bool remove_idle(const struct supervise *s);

#endif
