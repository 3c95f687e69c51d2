/* The functions behind the table of commands.  Layer web, program tulou.  Each returns an exit code. */
#ifndef TULOU_WEB_CLI_COMMANDS_H
#define TULOU_WEB_CLI_COMMANDS_H

#include <jansson.h>

struct cli;

int cli_cmd_login(struct cli *c);
int cli_cmd_logout(struct cli *c);
int cli_cmd_whoami(struct cli *c);

int cli_cmd_apps(struct cli *c);
int cli_cmd_apps_create(struct cli *c);
int cli_cmd_apps_info(struct cli *c);
int cli_cmd_apps_delete(struct cli *c);
int cli_cmd_apps_pause(struct cli *c);
int cli_cmd_apps_resume(struct cli *c);
int cli_cmd_apps_restart(struct cli *c);
int cli_cmd_apps_limits(struct cli *c);
int cli_cmd_apps_egress(struct cli *c);
int cli_cmd_apps_profile(struct cli *c);
int cli_cmd_apps_health(struct cli *c);
int cli_cmd_open(struct cli *c);

int cli_cmd_top(struct cli *c);
int cli_cmd_apps_latency(struct cli *c);
int cli_cmd_node_certs(struct cli *c);
int cli_certs_node_renew(struct cli *c);	     /* its option --renew (cmd_certs.c) */
void cli_certs_hosts(struct cli *c, json_t *answer); /* prints "hosts" of a list of certificates (cmd_certs.c) */

int cli_cmd_deploy(struct cli *c);
int cli_cmd_builds(struct cli *c);
int cli_cmd_builds_log(struct cli *c);
int cli_cmd_releases(struct cli *c);
int cli_cmd_releases_info(struct cli *c);
int cli_cmd_rollback(struct cli *c);

int cli_cmd_ps(struct cli *c);
int cli_cmd_ps_stop(struct cli *c);
int cli_cmd_scale(struct cli *c);
int cli_cmd_run(struct cli *c);

int cli_cmd_config(struct cli *c);
int cli_cmd_config_get(struct cli *c);
int cli_cmd_config_set(struct cli *c);
int cli_cmd_config_unset(struct cli *c);
int cli_cmd_domains(struct cli *c);
int cli_cmd_domains_add(struct cli *c);
int cli_cmd_canary(struct cli *c);
int cli_cmd_canary_start(struct cli *c);
int cli_cmd_canary_promote(struct cli *c);
int cli_cmd_canary_abort(struct cli *c);
int cli_cmd_front(struct cli *c);
int cli_cmd_front_set(struct cli *c);
int cli_cmd_maintenance(struct cli *c);
int cli_cmd_auth_add(struct cli *c);
int cli_cmd_auth_remove(struct cli *c);
int cli_cmd_auth_off(struct cli *c);
int cli_cmd_routes(struct cli *c);
int cli_cmd_routes_add(struct cli *c);
int cli_cmd_routes_remove(struct cli *c);
int cli_cmd_domains_verify(struct cli *c);
int cli_cmd_domains_remove(struct cli *c);
int cli_cmd_certs(struct cli *c);
int cli_cmd_certs_add(struct cli *c);
int cli_cmd_certs_renew(struct cli *c);
int cli_cmd_certs_remove(struct cli *c);
int cli_cmd_apps_https(struct cli *c);
int cli_cmd_apps_serving(struct cli *c);

int cli_cmd_logs(struct cli *c);
int cli_cmd_events(struct cli *c);

int cli_cmd_plans(struct cli *c);
int cli_cmd_plans_create(struct cli *c);
int cli_cmd_plans_info(struct cli *c);
int cli_cmd_plans_set(struct cli *c);
int cli_cmd_plans_delete(struct cli *c);
int cli_cmd_tenants(struct cli *c);
int cli_cmd_tenants_create(struct cli *c);
int cli_cmd_tenants_info(struct cli *c);
int cli_cmd_tenants_delete(struct cli *c);
int cli_cmd_tenants_quota(struct cli *c);
int cli_cmd_tenants_set(struct cli *c);
int cli_cmd_tenants_usage(struct cli *c);
int cli_cmd_tokens(struct cli *c);
int cli_cmd_tokens_create(struct cli *c);
int cli_cmd_tokens_delete(struct cli *c);

int cli_cmd_node(struct cli *c);
int cli_cmd_node_check(struct cli *c);
int cli_cmd_node_fsck(struct cli *c);
int cli_cmd_node_drain(struct cli *c);
int cli_cmd_node_eligible(struct cli *c);

int cli_cmd_completion(struct cli *c);
int cli_cmd_version(struct cli *c);
int cli_cmd_help(struct cli *c);

#endif
