/* The permit tables: which role may send what to whom.  Layer agent, every daemon process. */
#include "agent/roles/messages.h"

#include "base/fd.h"

#include "base/own.h"

#include <assert.h>

static_assert(sizeof(struct msg_init_control) <= CHAN_BODY_MAX, "fits one message");
static_assert(sizeof(struct msg_usage) * MSG_USAGE_MAX <= CHAN_BODY_MAX, "fits one message");
static_assert(MSG_READY_FDS <= FD_PASS_MAX, "fits one message");
static_assert(sizeof(struct msg_tenant_usage) * MSG_TENANT_USAGE_MAX <= CHAN_BODY_MAX, "fits one message");

#define EXACT(t) sizeof(t), sizeof(t)
#define EMPTY 0, 0

/* Control never names a path, a user id or a command line to the supervisor: only numbers, and a blob that the
 * supervisor hands on unread. */
const struct chan_rule msg_rules_supervisor_from_control[] = {
	{MSG_READY, "ready", 0, MSG_READY_FDS * sizeof(int32_t), 0, 0},
	{MSG_LAUNCH, "launch", EXACT(struct msg_launch), 1, 9},
	{MSG_STOP, "stop", EXACT(struct msg_stop), 0, 0},
	{MSG_FORGET, "forget", EXACT(struct msg_forget), 0, 0},
	{MSG_SYNC, "sync", EMPTY, 0, 0},
	{MSG_REMOVE, "remove", EXACT(struct msg_remove), 0, 0},
	{MSG_TENANT, "tenant", EXACT(struct msg_tenant), 0, 0},
	{MSG_LIMITS, "limits", EXACT(struct msg_limits), 0, 0},
	{MSG_THROTTLE, "throttle", EXACT(struct msg_throttle), 0, 0},
	{MSG_THROTTLE_TENANT, "throttle-tenant", EXACT(struct msg_throttle_tenant), 0, 0},
	{MSG_FSCK, "fsck", EXACT(struct msg_fsck), 0, 0},
};
const size_t msg_rules_supervisor_from_control_count = ARRAY_LEN(msg_rules_supervisor_from_control);

const struct chan_rule msg_rules_supervisor_from_other[] = {
	{MSG_READY, "ready", 0, MSG_READY_FDS * sizeof(int32_t), 0, 0},
};
const size_t msg_rules_supervisor_from_other_count = ARRAY_LEN(msg_rules_supervisor_from_other);

const struct chan_rule msg_rules_control[] = {
	{MSG_INIT_CONTROL, "init", EXACT(struct msg_init_control), 2, 2},
	{MSG_PEER_PROXY, "peer", EXACT(struct msg_peer), 1, 1},
	{MSG_PEER_RESOLVER, "peer-resolver", EMPTY, 1, 1},
	{MSG_PEER_FETCHER, "peer-fetcher", EMPTY, 1, 1},
	{MSG_INSTANCE, "instance", EXACT(struct msg_instance), 0, 0},
	{MSG_SYNC_DONE, "sync-done", EMPTY, 0, 0},
	{MSG_USAGE, "usage", sizeof(struct msg_usage), sizeof(struct msg_usage) * MSG_USAGE_MAX, 0, 0},
	{MSG_REMOVED, "removed", EXACT(struct msg_remove), 0, 0},
	{MSG_TENANT_USAGE, "tenant-usage", sizeof(struct msg_tenant_usage),
	 sizeof(struct msg_tenant_usage) * MSG_TENANT_USAGE_MAX, 0, 0},
	{MSG_FSCK_FOUND, "fsck-found", EXACT(struct msg_fsck_found), 0, 0},
	{MSG_FSCK_LIST, "fsck-list", sizeof(struct msg_fsck_list) - (MSG_FSCK_IDS_MAX - 1) * sizeof(uint64_t),
	 sizeof(struct msg_fsck_list), 0, 0},
	{MSG_FSCK_DONE, "fsck-done", EXACT(struct msg_fsck_done), 0, 0},
	{MSG_OLD_WORKERS, "old-workers", EXACT(struct msg_old_workers), 0, 0},
	{MSG_DISK, "disk", EXACT(struct msg_disk), 0, 0},
	{MSG_SOCKET, "socket", EXACT(struct msg_socket), 1, 1},
	{MSG_CERT_FILE, "cert-file", EXACT(struct msg_cert_file), 1, 1},
};
const size_t msg_rules_control_count = ARRAY_LEN(msg_rules_control);

const struct chan_rule msg_rules_proxy[] = {
	{MSG_INIT_PROXY, "init", EXACT(struct msg_init_proxy), 2, MSG_READY_FDS},
	{MSG_PEER_CONTROL, "peer", EMPTY, 1, 1},
	{MSG_DRAIN, "drain", EXACT(struct msg_drain), 0, 0},
};
const size_t msg_rules_proxy_count = ARRAY_LEN(msg_rules_proxy);

const struct chan_rule msg_rules_resolver[] = {
	{MSG_INIT_RESOLVER, "init", EXACT(struct msg_init_resolver), 2, 2},
	{MSG_PEER_CONTROL, "peer", EMPTY, 1, 1},
};
const size_t msg_rules_resolver_count = ARRAY_LEN(msg_rules_resolver);

const struct chan_rule msg_rules_fetcher[] = {
	{MSG_INIT_FETCHER, "init", EXACT(struct msg_init_fetcher), 0, 2},
	{MSG_PEER_CONTROL, "peer", EMPTY, 1, 1},
};
const size_t msg_rules_fetcher_count = ARRAY_LEN(msg_rules_fetcher);

const struct chan_rule msg_rules_logger[] = {
	{MSG_INIT_LOGGER, "init", EXACT(struct msg_init_logger), 1, 1},
	{MSG_LOG_OPEN, "log-open", EXACT(struct msg_log_open), 1, 1},
	{MSG_LOG_DROP, "log-drop", EXACT(struct msg_log_drop), 0, 0},
	{MSG_LOG_RATE, "log-rate", EXACT(struct msg_log_rate), 0, 0},
};
const size_t msg_rules_logger_count = ARRAY_LEN(msg_rules_logger);

const char *msg_kind_name(enum msg_kind k)
{
	static const char *const names[MSG_KIND_COUNT] = {"app", "git", "build", "store", "run"};

	return (unsigned)k < MSG_KIND_COUNT ? names[k] : "unknown";
}
