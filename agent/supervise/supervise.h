/* Life of the sandboxed instances: start, adopt, watch, limit, stop, clean up.  Layer agent, supervisor process (root).
 *
 * Everything here runs in the supervisor's loop and answers through callbacks.  Calls come from control's messages,
 * whose numbers and names are checked again here; paths, interface names, user ids and cgroups are derived from numbers
 * only.
 *
 * One instance, as control sees it:
 *
 *   launch -> STARTING -> RUNNING -> STOPPING -> EXITED -> (forget)
 *                  \________________________/^
 *
 * Every change is reported once by on_instance.  An EXITED instance is kept, also over a restart of the supervisor,
 * until supervise_forget(), so that no exit is lost. */
#ifndef TULOU_AGENT_SUPERVISE_SUPERVISE_H
#define TULOU_AGENT_SUPERVISE_SUPERVISE_H

#include "agent/roles/messages.h"
#include "base/err.h"
#include "base/loop.h"
#include "config/settings.h"

#include <stddef.h>

struct supervise;

/* Callbacks; the structs are borrowed for the call.  None may call supervise_leave(). */
struct supervise_ops {
	/* An instance was started, changed its state, or ended. */
	void (*on_instance)(void *arg, const struct msg_instance *m);
	/* The folder of the unix socket that a running instance listens on (O_PATH, borrowed for the call); told
	 * before on_instance.  May be NULL. */
	void (*on_socket)(void *arg, const struct msg_socket *m, int fd);
	/* Samples of living instances, 1..MSG_USAGE_MAX of them. */
	void (*on_usage)(void *arg, const struct msg_usage *list, size_t n);
	/* The same of tenants that have living instances, 1..MSG_TENANT_USAGE_MAX of them; may be NULL. */
	void (*on_tenant_usage)(void *arg, const struct msg_tenant_usage *list, size_t n);
	/* The disk that the instances share, every LIMIT_USAGE_MS; may be NULL. */
	void (*on_disk)(void *arg, const struct msg_disk *m);
	/* CPU time of the front door's processes so far, in microseconds, and on which CPUs they are to stay; n = 0: on
	 * all that we may use ourselves.  Both may be NULL. */
	uint64_t (*front_us)(void *arg);
	void (*front_cpus)(void *arg, const unsigned short *cpus, unsigned n);
	/* The output pipe of an instance, for the logger.  fd is the read end, borrowed for the call (sending it
	 * duplicates it). */
	void (*on_log_open)(void *arg, const struct msg_log_open *m, int fd);
	/* Other rates of an instance's output, or of a tenant's together. */
	void (*on_log_rate)(void *arg, const struct msg_log_rate *m);
	/* A stored tree is gone. */
	void (*on_removed)(void *arg, const struct msg_remove *m);
	/* supervise_fsck: differences, what is there, the end; a list's message has len bytes. */
	void (*on_fsck_found)(void *arg, const struct msg_fsck_found *m);
	void (*on_fsck_list)(void *arg, const struct msg_fsck_list *m, size_t len);
	void (*on_fsck_done)(void *arg, const struct msg_fsck_done *m);
	void *arg;
};

/* Prepares the host (directories, root skeleton, cgroup roots, nftables, forwarding) and adopts the instances that an
 * earlier supervisor left running.  program_dir holds tulou-sandbox and tulou-unpack.  settings is copied, ops too.
 * No callback is called from here: ask for the adopted ones with supervise_sync(), and for their pipes with
 * supervise_reopen_logs().  0, or negative errno with e set and nothing changed that a second try would trip over. */
int supervise_new(struct loop *loop, const struct settings *settings, const char *program_dir,
		  const struct supervise_ops *ops, struct supervise **ret, struct err *e);

/* Starts an instance.  blob and stdio[0..n) are borrowed (duplicated here).  Never fails towards the caller: whatever
 * goes wrong, at once or later, is an EXITED report with exit MSG_EXIT_LAUNCH and the reason in its text.  A launch of
 * an instance that exists already only repeats its report.  Work is asynchronous: at most LIMIT_LAUNCHES builders work
 * at a time, further launches wait in order. */
void supervise_launch(struct supervise *s, const struct msg_launch *m, int blob, const int *stdio, size_t n);

/* SIGTERM now, SIGKILL grace_ms later (0 = kill at once).  Unknown or already ending instances: only a shorter grace
 * has an effect. */
void supervise_stop(struct supervise *s, uint64_t instance, uint32_t grace_ms);

/* A tenant's totals, kept in the kernel above its instances: remembered, and in force while it has any.  A tenant that
 * was never told gets quota_default.  0, or negative errno with e set: -ERANGE for a number out of range, else what the
 * kernel refused (the numbers are remembered all the same). */
int supervise_tenant(struct supervise *s, const struct msg_tenant *m, struct err *e);

/* New limits of an instance, in force at once and kept for the next supervisor; unknown and ending ones are left alone.
 * Memory that is in use above a lower limit is pushed out from the loop; when that does not help, on_instance tells so
 * in its text, memory_limit stays what holds, and it is tried again until it does.  Errors as supervise_tenant(). */
int supervise_limits(struct supervise *s, const struct msg_limits *m, struct err *e);

/* Another share of the CPU than its limits say, for the present: neither recorded nor kept by the next supervisor's
 * records (though by the kernel until it is told otherwise).  Errors as supervise_tenant(). */
int supervise_throttle_tenant(struct supervise *s, const struct msg_throttle_tenant *m, struct err *e);
int supervise_throttle(struct supervise *s, const struct msg_throttle *m, struct err *e);

/* Control has recorded the exit: drops the EXITED instance.  Others are left alone. */
void supervise_forget(struct supervise *s, uint64_t instance);

/* on_instance for every instance known, living or EXITED. */
void supervise_sync(struct supervise *s);

/* on_log_open for every living instance with an output pipe: a new logger came up. */
void supervise_reopen_logs(struct supervise *s);

/* Removes a release's or repository's tree in a child process; on_removed follows, also when there was nothing.
 * 0, -EBUSY while a living instance uses it, -EINVAL for a kind or id that is not ours (logs are the logger's),
 * -ENOBUFS when LIMIT_REMOVALS wait. */
int supervise_remove(struct supervise *s, const struct msg_remove *m);

/* Compares records, processes, groups, namespaces, mounts, interfaces, rules and trees, some instances a turn; the
 * answers come through ops.  A second call ends the first without an answer. */
void supervise_fsck(struct supervise *s, const struct msg_fsck *m);

/* Instances that are not EXITED yet. */
size_t supervise_living(const struct supervise *s);

/* Stops all instances and refuses new ones; done(arg) when none lives (at once, from the loop, when there is none). */
void supervise_stop_all(struct supervise *s, uint32_t grace_ms, void (*done)(void *arg), void *arg);

/* The host's own resolvers, host byte order; how many there are (<= max). */
unsigned supervise_resolvers(const struct supervise *s, uint32_t *ret, unsigned max);

/* Lets the pool of the instances' disk grow to settings->disk_pool, in use; 0 also when there is nothing to do. */
int supervise_disk_grow(struct supervise *s, const struct settings *settings, struct err *e);

/* Our process goes, the instances stay: frees memory and descriptors, touches nothing else. */
void supervise_leave(struct supervise *s);

/* After supervise_stop_all(): removes cgroups, the nftables table, the records below the runtime directory, restores
 * ip_forward, and frees s.  Logs nothing; what could not be removed is named in e (then negative). */
int supervise_teardown(struct supervise *s, struct err *e);

/* `tuloud --check`: looks at the host and says for each need whether it is met. */
enum supervise_verdict { SUPERVISE_OK, SUPERVISE_WARN, SUPERVISE_FAIL, SUPERVISE_VERDICT_COUNT };
const char *supervise_verdict_name(enum supervise_verdict v); /* "ok", "warn", "fail" */
/* Calls report once per need: what was looked at (a few words) and what to do about it (one sentence).  program_dir as
 * in supervise_new.  Returns how many failed. */
unsigned supervise_check(const struct settings *settings, const char *program_dir,
			 void (*report)(void *arg, enum supervise_verdict v, const char *what, const char *text),
			 void *arg);
/* The same, but only the host's limits that bite at hundreds of apps, and settings that say more than the host has, for
 * a node that starts: cheap, changes nothing. */
void supervise_check_limits(const struct settings *settings,
			    void (*report)(void *arg, enum supervise_verdict v, const char *what, const char *text),
			    void *arg);

#endif
