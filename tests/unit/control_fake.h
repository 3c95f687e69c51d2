/* A node around the control role for unit tests: a supervisor and a proxy worker that live in the same loop and do what
 * they are told, without processes.  "Instances" answer on a real listening socket of 127.77.0.1. */
#ifndef TULOU_TESTS_CONTROL_FAKE_H
#define TULOU_TESTS_CONTROL_FAKE_H

#include "agent/roles/control_core.h"

#define FAKE_MAX 64
#define FAKE_WAIT_MS 2500 /* an app's launch that waits begins then: longer than a roll-out may take here */

enum fake_app { FAKE_APP_LISTENS, FAKE_APP_DEAF, FAKE_APP_EXITS, FAKE_APP_SILENT, FAKE_APP_WAITS, FAKE_APP_COUNT };

struct fake_instance {
	struct msg_launch launch;
	struct msg_instance state;
	int fds[8];	/* owned: stdio of jobs */
	char env[4096]; /* blob, NULs as newlines */
	bool alive, forgotten;
};

struct fake {
	struct loop *loop;
	char dir[64];
	struct msg_init_control init;
	struct control *control;
	struct chan *super, *proxy;
	int listen_fd;
	uint16_t port;
	struct fake_instance *late; /* FAKE_APP_WAITS: the one that waits */
	struct loop_timer late_timer;
	int32_t pid;		/* of the next launched app; 0 = none that can be looked at */
	enum fake_app next_app; /* what the next launched app does */
	bool build_fails, refuses_stop, git_pushes, ignore_barrier;
	const char *procfile; /* of the next build */
	const char *extra;    /* its tulou.yaml; NULL = none */
	struct fake_instance inst[FAKE_MAX];
	unsigned count;
	unsigned launches, removes, up, up_min; /* routes that are up now; fewest since `watch` was set */
	bool watch;
	uint64_t up_id[FAKE_MAX];
	unsigned hosts, sync_ends, throttles;
	/* result of the last build that was followed */
	char log[65536];
	size_t log_len;
	bool done;
	uint32_t version;
	char error[400], limit[24];
	char verdict[8];
	/* totals and limits that were told; order counts all messages */
	struct msg_tenant tenant;
	struct msg_limits limits[FAKE_MAX];
	unsigned tenants, limit_count, order, tenant_order, launch_order;
};

/* Makes a directory, the store's folders and a control in it; runs until it is synced. */
void fake_start(struct fake *f);
/* Ends control as kill -9 would, and starts another one that finds what the fake supervisor has. */
void fake_restart(struct fake *f);
void fake_stop(struct fake *f);

/* Runs the loop until *flag or the condition holds; false after ms. */
bool fake_until(struct fake *f, bool (*cond)(struct fake *f), unsigned ms);
void fake_run(struct fake *f, unsigned ms);

/* A tenant and an app in the store, told to control; the app's id. */
int64_t fake_app_new(struct fake *f, const char *name);
/* Begins to; f->done says when it is over. */
void fake_deploy_start(struct fake *f, int64_t app);
/* Builds and rolls out; true when it went live.  f->version, f->error and f->log say more. */
bool fake_deploy(struct fake *f, int64_t app);
/* Ends an instance as the supervisor would report it. */
void fake_exit(struct fake *f, struct fake_instance *i, enum msg_exit exit, int code);
/* The newest living instance of an app; NULL when there is none. */
struct fake_instance *fake_newest(struct fake *f, int64_t app);
unsigned fake_alive(struct fake *f, int64_t app);

#endif
