/* An api on a socket of its own, a real store in a temporary folder and fake operations, in a thread of the test. */
#ifndef TULOU_TEST_API_FIXTURE_H
#define TULOU_TEST_API_FIXTURE_H

#include "web/api/api.h"

#include <pthread.h>
#include <stdbool.h>

struct fix {
	char dir[64], log_dir[80], control_dir[80], sock[96];
	struct settings settings;
	struct loop *loop;
	struct store *store;
	struct api *api;
	struct ops ops;
	pthread_t thread;
	int call[2]; /* socket pair: functions to run in the loop's thread */
	struct loop_io call_io;
	unsigned port; /* TCP, 0 = the unix socket */

	/* what the fake operations do and saw */
	bool fail_commit, turn_armed, busy, not_ready;
	unsigned commits, tenant_changed, app_changed, app_deleted, cancelled, talks_cancelled, log_cancelled, stopped,
		released;
	uint64_t upload_bytes;
	bool upload_pause, upload_fail_early;
	int eligible, draining;
	struct ops_log_fn log; /* of the running build */
	struct loop_io upload_io;
	int upload_fd;
	int64_t build;
	char repo[96];

	/* made at the start: one token of each role, two tenants with an app each */
	char operator[STORE_SECRET_MAX], fleet[STORE_SECRET_MAX], admin[STORE_SECRET_MAX], deployer[STORE_SECRET_MAX],
		reader[STORE_SECRET_MAX], other[STORE_SECRET_MAX];
	struct model_tenant acme, evil;
	struct model_app shop, theirs;
};

struct fix *fix_start(bool tcp);
void fix_stop(struct fix *f);
/* Runs fn(f, arg) in the loop's thread and waits for it. */
void fix_call(struct fix *f, void (*fn)(struct fix *f, void *arg), void *arg);
/* Adds a release of shop with types web and worker and makes it live; returns its version. Any thread. */
uint32_t fix_release(struct fix *f);

#endif
