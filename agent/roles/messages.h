/* Messages between supervisor, control, logger and proxies: every type, its body, and who may send it.
 * Layer agent.  Control <-> proxy messages are in web/proxy/messages.h.  Bodies are plain structs, host byte order,
 * zero-filled padding; numbers that come from another process are checked against config/limits.h before use. */
#ifndef TULOU_AGENT_ROLES_MESSAGES_H
#define TULOU_AGENT_ROLES_MESSAGES_H

#include "base/chan.h"
#include "config/kind.h"
#include "config/settings.h"
#include "store/model.h"

#include <stdint.h>

enum msg_type {
	/* supervisor -> any role */
	MSG_INIT_CONTROL = 1, /* struct msg_init_control; fds: API listener, stats memfd */
	MSG_INIT_PROXY,	      /* struct msg_init_proxy; fds: stats memfd, access-log pipe (write end), listeners... */
	MSG_INIT_LOGGER,      /* struct msg_init_logger; fds: log directory (O_DIRECTORY) */
	MSG_PEER_CONTROL,  /* to a proxy, the resolver or the fetcher: empty; fds: channel to control (replaces an older
			      one) */
	MSG_PEER_PROXY,	   /* to control: struct msg_peer; fds: channel to that worker */
	MSG_INIT_RESOLVER, /* struct msg_init_resolver; fds: UDP socket, TCP listener */
	MSG_PEER_RESOLVER, /* to control: empty; fds: channel to the resolver (replaces an older one) */
	MSG_DRAIN,	   /* to a proxy: stop accepting, finish, exit: struct msg_drain */
	MSG_INIT_FETCHER,  /* struct msg_init_fetcher; fds: files of trusted authorities, PEM */
	MSG_PEER_FETCHER,  /* to control: empty; fds: channel to the fetcher (replaces an older one) */
	MSG_READY,	   /* role -> supervisor: initialised, privileges dropped; int32_t[]: numbers of the descriptors
			      that a later supervisor may take back with pidfd_getfd (proxy: stats, log, listeners; resolver:
			      its two) */

	/* control -> supervisor */
	MSG_LAUNCH = 32, /* struct msg_launch; fds: blob memfd, then stdio as `stdio_count` says */
	MSG_STOP,	 /* struct msg_stop */
	MSG_FORGET,	 /* struct msg_forget: control has recorded the exit */
	MSG_SYNC,	 /* empty: send MSG_INSTANCE for all, then MSG_SYNC_DONE */
	MSG_REMOVE,	 /* struct msg_remove: delete a stored tree */
	MSG_TENANT,	 /* struct msg_tenant: its totals; before the first launch of a tenant, and when they change */
	MSG_LIMITS,	 /* struct msg_limits: new limits of a running instance */
	MSG_THROTTLE,	 /* struct msg_throttle: its share for the present */
	MSG_THROTTLE_TENANT, /* struct msg_throttle_tenant */
	MSG_FSCK,	     /* struct msg_fsck: compare what is there with what is known */

	/* supervisor -> control */
	MSG_INSTANCE = 64, /* struct msg_instance */
	MSG_SYNC_DONE,	   /* empty */
	MSG_USAGE,	   /* array of struct msg_usage, 1..MSG_USAGE_MAX */
	MSG_REMOVED,	   /* struct msg_remove, echoed when done */
	MSG_TENANT_USAGE,  /* array of struct msg_tenant_usage, 1..MSG_TENANT_USAGE_MAX */
	MSG_FSCK_FOUND,	   /* struct msg_fsck_found: one difference */
	MSG_FSCK_LIST,	   /* struct msg_fsck_list */
	MSG_FSCK_DONE,	   /* struct msg_fsck_done */
	MSG_OLD_WORKERS,   /* struct msg_old_workers */
	MSG_DISK,	   /* struct msg_disk */
	MSG_SOCKET,    /* struct msg_socket; fds: O_PATH, the folder of an instance's unix socket; before its RUNNING */
	MSG_CERT_FILE, /* struct msg_cert_file; fds: sealed memfd: the operator's chain, then its key */

	/* supervisor -> logger */
	MSG_LOG_OPEN = 96, /* struct msg_log_open; fds: pipe (read end) */
	MSG_LOG_DROP,	   /* struct msg_log_drop: delete an app's logs */
	MSG_LOG_RATE,	   /* struct msg_log_rate: other rates from now on */
};

#define MSG_READY_FDS (2 + 2 * LIMIT_LISTEN) /* a proxy's: statistics, log, listeners for http and for https */

struct msg_init_control {
	struct settings settings;
	uint64_t boot; /* number of this supervisor's run: changes when the supervisor was restarted */
};

struct msg_init_proxy {
	uint32_t worker;		  /* 0..workers-1; row of the stats segment */
	uint32_t http_count, https_count; /* listeners among the descriptors, in this order */
	uint32_t proxied;		  /* bit i: the i-th of them is behind a balancer */
	uint32_t proxy_from_count;
	struct cidr proxy_from[LIMIT_PROXY_FROM]; /* whose PROXY headers are believed there */
	char control_path[100]; /* unix socket of the API, relative to the proxy's root directory: "/control.sock" */
	char control_host[LIMIT_HOST + 1];
	char node_name[LIMIT_HOST + 1];
	char user[32];	    /* to become */
	char root_dir[120]; /* <runtime>/gate: its root directory */
};

/* Proxy workers of an earlier run that still finish what they have.  Control has no channel to them: whatever leaves
 * the routes may still serve their requests until there are none of them. */
struct msg_old_workers {
	uint32_t count;
};

/* A pair of files of tls.certificates, read by the supervisor and not looked into. */
struct msg_cert_file {
	uint32_t chain_len, key_len; /* bytes in the memfd, 1..LIMIT_CERT_BYTES each */
	char name[64];		     /* of the files, without .crt */
};

struct msg_init_logger {
	uint32_t line_rate, line_burst;
	uint64_t file_bytes;
	char user[32];
};

#define MSG_RESOLVERS_MAX 3 /* as resolv.conf(5) */
struct msg_init_resolver {
	uint32_t servers[MSG_RESOLVERS_MAX]; /* the host's resolvers, host byte order */
	uint32_t server_count;
	char user[32];
	char root_dir[120]; /* <runtime>/void: empty */
};

struct msg_init_fetcher {
	uint32_t servers[MSG_RESOLVERS_MAX]; /* the host's resolvers, host byte order */
	uint32_t server_count;
	char user[32];
	char root_dir[120]; /* <runtime>/void: empty */
};
struct msg_peer {
	uint32_t worker;
	int32_t pid;
};
struct msg_drain {
	uint32_t deadline_ms;
};

/* What runs in a sandbox: enum msg_kind of config/kind.h. */
const char *msg_kind_name(enum msg_kind k);

struct msg_launch {
	uint64_t instance;	      /* chosen by control, unique for ever: jobs use ids with bit 62 set */
	uint64_t tenant, app, object; /* object: build id whose tree is mounted (APP, RUN) or written (STORE) */
	uint32_t kind;		      /* enum msg_kind */
	uint32_t slot;		      /* tenant's uid range */
	uint32_t stdio_count; /* 0 (APP: output goes to the logger), or 1..8: descriptors that become 0,1,2,3... */
	struct quota_limits limits;
	struct quota_egress egress;
	uint32_t profile;	       /* enum quota_profile */
	uint32_t listen_unix;	       /* 1: it listens on a unix socket (APP) */
	uint32_t private_layers;       /* 1: share no file of the stack with other tenants */
	uint32_t deadline_ms;	       /* 0 = none; killed then with reason MSG_EXIT_DEADLINE */
	char name[LIMIT_APP_NAME + 1]; /* host name inside, and for logs */
	char type[LIMIT_TYPE_NAME + 1];
	char tenant_name[LIMIT_TENANT_NAME + 1]; /* cgroup level; parse_name()d again by the supervisor */
};

/* The blob of a launch: opaque to the supervisor, read by tulou-sandbox inside the finished sandbox.
 *   u32 argc, u32 envc, then argc + envc NUL-terminated strings.
 * argv[0] beginning with '/' is executed as it is; "@unpack" means tulou-unpack (a sealed memfd, not in the sandbox's
 * file tree).  In values of the environment nothing is expanded, but tulou-sandbox appends PORT, HOST_ADDRESS... as
 * listed in agent/sandbox/README.md. */

/* $PORT of an instance that has an address: each address belongs to one instance, so all use the same port. */
#define MSG_INSTANCE_PORT 8080

struct msg_stop {
	uint64_t instance;
	uint32_t grace_ms; /* 0 = kill at once */
	uint32_t pad;
};
struct msg_forget {
	uint64_t instance;
};

/* LAYERS is the supervisor's own: control cannot ask for it. */
enum msg_remove_kind { MSG_REMOVE_RELEASE, MSG_REMOVE_REPO, MSG_REMOVE_LOGS, MSG_REMOVE_LAYERS, MSG_REMOVE_KIND_COUNT };
struct msg_remove {
	uint32_t kind;
	uint32_t pad;
	uint64_t id; /* build id, or app id */
};

enum msg_state { MSG_STATE_STARTING, MSG_STATE_RUNNING, MSG_STATE_STOPPING, MSG_STATE_EXITED, MSG_STATE_COUNT };
enum msg_exit {
	MSG_EXIT_NONE,
	MSG_EXIT_CODE,
	MSG_EXIT_SIGNAL,
	MSG_EXIT_OOM,
	MSG_EXIT_DEADLINE,
	MSG_EXIT_STOPPED, /* as asked, within the grace */
	MSG_EXIT_KILLED,  /* as asked, had to be killed after the grace */
	MSG_EXIT_LAUNCH,  /* never reached exec: text says which step failed */
	MSG_EXIT_LOST,	  /* ended while no supervisor ran and left no status */
	MSG_EXIT_COUNT,
};

/* At whose bound the kernel killed processes of an instance for memory. */
enum msg_oom {
	MSG_OOM_NONE,
	MSG_OOM_OWN,	/* its own limit */
	MSG_OOM_TENANT, /* its tenant's total, its own limit was not reached */
	MSG_OOM_HOST,	/* neither was reached: the host itself ran out of memory */
	MSG_OOM_COUNT,
};

struct msg_socket {
	uint64_t instance;
};
struct msg_instance {
	uint64_t instance, tenant, app, object;
	uint32_t kind, state, exit; /* enum msg_kind, msg_state, msg_exit */
	int32_t exit_code;	    /* 0..255, or 128 + signal */
	int32_t pid;		    /* host pid of its PID 1 */
	uint32_t address;	    /* IPv4, host byte order; 0 = none */
	uint32_t slot;
	uint32_t start_us;	       /* message received to exec of the app */
	int64_t started_ms, exited_ms; /* wall */
	uint64_t memory_limit, memory_peak, cpu_us;
	uint64_t memory_total; /* oom TENANT: the tenant's total at that time, in bytes; else 0 */
	uint32_t oom;	       /* enum msg_oom, at its exit */
	uint32_t waiting;      /* 1: STARTING, and not launched yet for the reason in text: no deadline counts */
	char type[LIMIT_TYPE_NAME + 1];
	char text[200]; /* launch failures: the step and why */
};

/* A tenant's totals, kept in the kernel above its instances.  Asked for by number only: the supervisor derives names.
 */
struct msg_tenant {
	uint64_t tenant;
	uint32_t slot;
	uint32_t pad;
	struct quota quota;
};

/* Takes effect at once, without a restart of the instance; inodes and disk too where the disk's backend can. */
struct msg_limits {
	uint64_t instance;
	struct quota_limits limits;
	struct quota_egress egress;
};

/* The scheduler's answer to contention (scheduler/throttle.h): until the next one, the instance's weight and CPU quota
 * are these instead of those of its limits. */
struct msg_throttle {
	uint64_t instance;
	uint32_t cpu_weight; /* 1..10000, 0 = that of its limits */
	uint32_t cpu;	     /* thousandths, never above its limits; 0 = that of its limits */
};

/* The same for a tenant as a whole.  Weight 1, here and above: the idle class, which everybody preempts. */
struct msg_throttle_tenant {
	uint64_t tenant;
	uint32_t slot;
	uint32_t cpu_weight; /* 1..10000, 0 = that of its totals */
};

struct msg_fsck {
	uint64_t run;	 /* echoed */
	uint32_t repair; /* 1: mend what can be mended */
	uint32_t pad;
};
struct msg_fsck_found {
	uint64_t run;
	uint64_t id;	   /* instance, tenant's slot or object; 0 = none */
	uint32_t repaired; /* 1: mended just now */
	char area[16];	   /* "cgroup", "mount", "nftables", … */
	char text[200];	   /* what differs, for a person */
};
struct msg_fsck_done {
	uint64_t run;
	uint32_t found, repaired;
};

/* What the supervisor has, for control to compare with the database; sorted by nothing, complete before FSCK_DONE. */
enum msg_fsck_kind { MSG_FSCK_INSTANCES, MSG_FSCK_RELEASES, MSG_FSCK_REPOS, MSG_FSCK_KIND_COUNT };
#define MSG_FSCK_IDS_MAX 1000
struct msg_fsck_list {
	uint64_t run;
	uint32_t kind, count; /* 1..MSG_FSCK_IDS_MAX of ids are there; the message ends behind them */
	uint64_t ids[MSG_FSCK_IDS_MAX];
};

#define MSG_USAGE_MAX 128
struct msg_usage {
	uint64_t instance, memory, memory_peak, cpu_us, throttled_us;
	uint64_t disk, inodes;	    /* of its writable layer */
	uint64_t net_in, net_out;   /* bytes since its start */
	uint64_t net_refused;	    /* packets refused at its own limit, since its start */
	uint64_t io_read, io_write; /* bytes since its start; 0 where not counted per instance (cgroup v1) */
	uint32_t pids, oom_kills;
	uint32_t oom_tenant, oom_host; /* of oom_kills: at its tenant's total, and by the host's lack of memory */
	uint32_t pids_hits;	       /* forks refused at its own limit or its tenant's */
	uint32_t memory_hits;	       /* times its memory limit was reached (reclaim or refusal) */
	uint32_t throttled;	       /* periods in which it had to wait for its CPU quota */
	uint32_t periods;	       /* periods in which it ran */
};

#define MSG_TENANT_USAGE_MAX 128
struct msg_tenant_usage {
	uint64_t tenant, memory, memory_peak, cpu_us, throttled_us, io_read, io_write;
	uint32_t slot, pids, pids_hits, oom_kills, memory_hits;
	uint32_t pending; /* 1: its memory is not down to its total yet, more of it is in use */
	/* Bytes that it holds of a pool that tenants share, and may hold now; 0 = there is no such bound. */
	uint64_t disk, disk_bound;
	uint32_t disk_hits;   /* samples in which it had no room left to write */
	uint32_t confines;    /* times it was kept off some CPUs since its first instance */
	uint64_t confined_us; /* and for how long in all */
	uint64_t net_refused; /* packets dropped at its total, since the node's rules were written */
};

/* What layers and repositories of all tenants share: a pool, or the disk with project quotas. */
struct msg_disk {
	uint64_t total, free; /* bytes */
};

struct msg_log_open {
	uint64_t app, instance;		   /* app 0: the access log of the proxies, written raw */
	char source[LIMIT_TYPE_NAME + 24]; /* "web.123": begins each line */
	uint32_t slot;			   /* tenant, whose streams share tenant_rate */
	uint32_t rate, tenant_rate;	   /* lines a second, 0 = not limited */
};
struct msg_log_rate {
	uint64_t instance; /* 0: the tenant's only */
	uint32_t slot, rate, tenant_rate, pad;
};
struct msg_log_drop {
	uint64_t app;
};

/* Permit tables, one per receiver: what may come in on the channel to that peer. */
extern const struct chan_rule msg_rules_supervisor_from_control[];
extern const size_t msg_rules_supervisor_from_control_count;
extern const struct chan_rule msg_rules_supervisor_from_other[]; /* proxy, logger: MSG_READY only */
extern const size_t msg_rules_supervisor_from_other_count;
extern const struct chan_rule msg_rules_control[];
extern const size_t msg_rules_control_count;
extern const struct chan_rule msg_rules_proxy[];
extern const size_t msg_rules_proxy_count;
extern const struct chan_rule msg_rules_resolver[];
extern const size_t msg_rules_resolver_count;
extern const struct chan_rule msg_rules_fetcher[];
extern const size_t msg_rules_fetcher_count;
extern const struct chan_rule msg_rules_logger[];
extern const size_t msg_rules_logger_count;

#endif
