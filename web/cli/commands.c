/* The table of commands: the one place that says what `tulou` can do.  Layer web, program tulou. */
#include "web/cli/commands.h"
#include "web/cli/cli.h"

#include "config/limits.h"

#define ANY 1000 /* words; more do not fit a request anyway */

const struct cli_option cli_globals[] = {
	{"app", 'a', "APP", "the app (else $TULOU_APP, the git remote `tulou`, or the name in app.json)"},
	{"json", 0, NULL, "print what the API answered, errors too, as JSON"},
	{"url", 0, "URL", "the node (else $TULOU_URL, or what `tulou login` saved)"},
	{"token", 0, "TOKEN", "the token (else $TULOU_TOKEN, or what `tulou login` saved)"},
	{"help", 'h', NULL, "explain a command"},
	{NULL, 0, NULL, NULL},
};

#define END                                                                                                            \
	{                                                                                                              \
		NULL, 0, NULL, NULL                                                                                    \
	}
static const struct cli_option names_only[] = {{"names", 0, NULL, "only the names, one on each line"}, END};
static const struct cli_option create_app[] = {
	{"tenant", 't', "TENANT", "whose app it is (operators only)"},
	{"memory", 0, "BYTES", "memory of one instance, as 256MiB"},
	{"cpu", 0, "CORES", "CPU of one instance, as 0.5"},
	{"disk", 0, "BYTES", "private disk of one instance"},
	{"pids", 0, "N", "processes and threads of one instance"},
	{"remote", 0, NULL, "add the git remote `tulou` to the repository here"},
	END,
};
static const struct cli_option yes[] = {{"yes", 'y', NULL, "do not ask"}, END};
static const struct cli_option follow[] = {{"follow", 'f', NULL, "go on until interrupted"}, END};
static const struct cli_option logs[] = {
	{"access", 0, NULL, "the requests it got, where its access_log is on"},
	{"follow", 'f', NULL, "go on until interrupted"},
	{"lines", 'n', "N", "how many of the last lines (100)"},
	END,
};
static const struct cli_option events[] = {
	{"follow", 'f', NULL, "go on until interrupted"},
	{"lines", 'n', "N", "how many of the last events (50)"},
	{"all", 0, NULL, "of every app, also when one is chosen"},
	END,
};
static const struct cli_option quota[] = {
	{"memory", 0, "BYTES", "memory of everything of the tenant, as 4GiB"},
	{"cpu", 0, "CORES", "CPU of everything of the tenant"},
	{"pids", 0, "N", "processes and threads"},
	{"apps", 0, "N", "apps"},
	{"instances", 0, "N", "instances"},
	{"disk", 0, "BYTES", "releases, repositories and caches"},
	END,
};
static const struct cli_option top[] = {
	{"by", 0, "WHAT", "order by requests, bytes or time (requests)"},
	{"for", 0, "TIME", "how long each look counts, up to 60s (2s, or 5s once)"},
	{"limit", 0, "N", "names of each kind (10)"},
	{"node", 0, NULL, "of the whole node, by app and tenant (operators)"},
	{"once", 0, NULL, "print one look and end"},
	END,
};
static const struct cli_option usage[] = {{"since", 0, "TIME", "first hour, as 2026-01-31T00:00:00Z"}, END};
static const struct cli_option tenant[] = {{"tenant", 't', "TENANT", "whose tokens (default: your own tenant's)"}, END};
static const struct cli_option token[] = {
	{"tenant", 't', "TENANT", "for which tenant (default: your own)"},
	{"name", 0, "TEXT", "what the token is for"},
	END,
};
static const struct cli_option canary[] = {
	{"weight", 0, "PERCENT", "of the requests that it gets (0)"},
	{"header", 0, "NAME=VALUE", "requests with this header field are its own ('' for none)"},
	{"instances", 0, "N", "how many of it run (1)"},
	END,
};
static const struct cli_option maintenance[] = {
	{"text", 0, "TEXT", "what the page says"},
	{"retry-after", 0, "TIME", "when to come again, as 10m (5m)"},
	{"allow", 0, "NETWORKS", "who sees the app all the same: addresses and networks, separated by commas"},
	END,
};
static const struct cli_option realm[] = {{"realm", 0, "TEXT", "what browsers show with the question"}, END};
static const struct cli_option strip[] = {{"strip", 0, NULL, "the app does not see the path's beginning"}, END};
static const struct cli_option accept[] = {{"accept", 0, NULL, "the operator's word is the proof"}, END};
static const struct cli_option no_wait[] = {{"no-wait", 0, NULL, "do not wait for how it ends"}, END};
static const struct cli_option pause_hold[] = {{"hold", 0, NULL, "let instances run and requests wait"}, END};
static const struct cli_option fsck[] = {{"repair", 0, NULL, "mend what can be mended"}, END};
static const struct cli_option node_certs[] = {{"renew", 0, NULL, "order that of the control name now"}, END};
static const struct cli_option epoch[] = {
	{"epoch", 0, "N", "not below the last that a fleet controller used (0)"},
	{"yes", 'y', NULL, "do not ask"},
	END,
};

const struct cli_command cli_commands[] = {
	{"login", NULL, "[URL]", 0, 1, cli_cmd_login, "save a node's URL and your token", NULL, false},
	{"logout", NULL, "", 0, 0, cli_cmd_logout, "forget them", NULL, false},
	{"whoami", NULL, "", 0, 0, cli_cmd_whoami, "show role and tenant of the token in use", NULL, false},

	{"apps", NULL, "", 0, 0, cli_cmd_apps, "list apps", names_only, false},
	{"apps", "create", "NAME [KEY=VALUE...]", 1, 20, cli_cmd_apps_create, "make an app, with limits of its own",
	 create_app, false},
	{"apps", "info", "[APP]", 0, 1, cli_cmd_apps_info, "show one app", NULL, false},
	{"apps", "delete", "[APP]", 0, 1, cli_cmd_apps_delete, "remove an app with all its releases", yes, false},
	{"apps", "pause", "[APP]", 0, 1, cli_cmd_apps_pause, "stop all instances, keep the formation", pause_hold,
	 false},
	{"apps", "resume", "[APP]", 0, 1, cli_cmd_apps_resume, "start them again", NULL, false},
	{"apps", "restart", "[APP]", 0, 1, cli_cmd_apps_restart, "replace every instance, new ones first", no_wait,
	 false},
	{"apps", "limits", "[KEY=VALUE...|reset]", 0, 20, cli_cmd_apps_limits,
	 "show or set the limits of one instance; reset: those of the plan", NULL, false},
	{"apps", "egress", "[none|public|DESTINATION...]", 0, LIMIT_EGRESS_RULES, cli_cmd_apps_egress,
	 "show or set where the app may connect to", NULL, false},
	{"apps", "profile", "[default|strict]", 0, 1, cli_cmd_apps_profile, "show or set how strictly it is closed",
	 NULL, false},
	{"apps", "health", "[PATH]", 0, 1, cli_cmd_apps_health,
	 "show or set the path of the health check ('' for none)", NULL, false},
	{"apps", "https", "[on|off|redirect [SECONDS]]", 0, 2, cli_cmd_apps_https,
	 "show or set whether https is served, or what leads there; SECONDS: browsers are told to stay (HSTS)", NULL,
	 false},
	{"apps", "serving", "[KEY=VALUE...]", 0, 5, cli_cmd_apps_serving,
	 "show or set concurrency, drain_seconds, rollout, access_log and hold", NULL, false},
	{"apps", "latency", "[APP]", 0, 1, cli_cmd_apps_latency,
	 "show how long requests took, how they ended, and what the front door refused", NULL, false},
	{"open", NULL, "[APP]", 0, 1, cli_cmd_open, "print an app's URL, and open it where there is a desktop", NULL,
	 false},

	{"deploy", NULL, "[DIR|TARBALL]", 0, 1, cli_cmd_deploy,
	 "build and release a folder (default: this one) or a tar file", NULL, false},
	{"builds", NULL, "", 0, 0, cli_cmd_builds, "list builds", NULL, false},
	{"builds", "log", "[ID]", 0, 1, cli_cmd_builds_log, "print a build's log (default: the last)", follow, false},
	{"releases", NULL, "", 0, 0, cli_cmd_releases, "list releases", NULL, false},
	{"releases", "info", "VERSION", 1, 1, cli_cmd_releases_info, "show one release", NULL, false},
	{"rollback", NULL, "[VERSION]", 0, 1, cli_cmd_rollback,
	 "go back to an earlier release (default: the last other one that served)", no_wait, false},

	{"canary", NULL, "", 0, 0, cli_cmd_canary, "show the release that serves a part of the requests", NULL, false},
	{"canary", "start", "[next|VERSION]", 0, 1, cli_cmd_canary_start,
	 "let a release, or the next one deployed, serve a part of the requests", canary, false},
	{"canary", "promote", "", 0, 0, cli_cmd_canary_promote, "roll it out", NULL, false},
	{"canary", "abort", "", 0, 0, cli_cmd_canary_abort, "let the live release serve alone", NULL, false},

	{"ps", NULL, "", 0, 0, cli_cmd_ps, "list instances", NULL, false},
	{"ps", "stop", "ID", 1, 1, cli_cmd_ps_stop, "stop one instance; another takes its place", NULL, false},
	{"scale", NULL, "[TYPE=N...]", 0, 16, cli_cmd_scale, "show or set how many instances of each type run", NULL,
	 false},
	{"run", NULL, "COMMAND...", 1, ANY, cli_cmd_run, "run a command once, in an instance of its own", NULL, true},

	{"config", NULL, "", 0, 0, cli_cmd_config, "list config vars", NULL, false},
	{"config", "get", "KEY", 1, 1, cli_cmd_config_get, "print one value", NULL, false},
	{"config", "set", "KEY=VALUE...", 1, ANY, cli_cmd_config_set, "set config vars and release them", no_wait,
	 false},
	{"config", "unset", "KEY...", 1, ANY, cli_cmd_config_unset, "remove config vars and release that", no_wait,
	 false},
	{"domains", NULL, "", 0, 0, cli_cmd_domains, "list the app's own domains", NULL, false},
	{"domains", "add", "HOST", 1, 1, cli_cmd_domains_add, "serve the app under another name", NULL, false},
	{"domains", "verify", "HOST", 1, 1, cli_cmd_domains_verify, "look for the proof that a domain is yours", accept,
	 false},
	{"domains", "remove", "HOST", 1, 1, cli_cmd_domains_remove, "stop serving it there", NULL, false},
	{"front", NULL, "", 0, 0, cli_cmd_front, "show the settings of the app's front door", NULL, false},
	{"front", "set", "KEY=VALUE...", 1, 20, cli_cmd_front_set,
	 "set sticky=, allow=, rate=, burst=, client-rate=, client-burst=, concurrent=, body= or time=", NULL, false},
	{"maintenance", NULL, "[on|off]", 0, 1, cli_cmd_maintenance,
	 "show or set whether visitors see a page instead of the app", maintenance, false},
	{"auth", NULL, "", 0, 0, cli_cmd_front, "show whom the app asks for, with the rest of its front door", NULL,
	 false},
	{"auth", "add", "NAME", 1, 1, cli_cmd_auth_add, "ask visitors for a name and the password on standard input",
	 realm, false},
	{"auth", "remove", "NAME", 1, 1, cli_cmd_auth_remove, "remove a name", NULL, false},
	{"auth", "off", "", 0, 0, cli_cmd_auth_off, "ask for no name any more", NULL, false},
	{"routes", NULL, "", 0, 0, cli_cmd_routes, "list the paths that other apps serve", NULL, false},
	{"routes", "add", "PATH APP", 2, 2, cli_cmd_routes_add, "let another app serve a path and all below it", strip,
	 false},
	{"routes", "remove", "PATH", 1, 1, cli_cmd_routes_remove, "serve it by the app itself again", NULL, false},
	{"certs", NULL, "", 0, 0, cli_cmd_certs, "list the app's hosts and certificates", NULL, false},
	{"certs", "add", "CHAIN KEY", 2, 2, cli_cmd_certs_add, "serve https with a certificate: two PEM files", NULL,
	 false},
	{"certs", "renew", "[HOST]", 0, 1, cli_cmd_certs_renew, "order a certificate now, for one host or all", NULL,
	 false},
	{"certs", "remove", "ID", 1, 1, cli_cmd_certs_remove, "remove a certificate", NULL, false},

	{"logs", NULL, "", 0, 0, cli_cmd_logs, "print an app's output", logs, false},
	{"events", NULL, "", 0, 0, cli_cmd_events, "print what happened", events, false},
	{"top", NULL, "[APP]", 0, 1, cli_cmd_top,
	 "show who makes the load: clients, paths, hosts; of the node also apps", top, false},

	{"plans", NULL, "", 0, 0, cli_cmd_plans, "list plans", names_only, false},
	{"plans", "create", "NAME [KEY=VALUE...]", 1, 40, cli_cmd_plans_create, "make a plan", NULL, false},
	{"plans", "info", "PLAN", 1, 1, cli_cmd_plans_info, "show one plan", NULL, false},
	{"plans", "set", "PLAN KEY=VALUE...", 2, 40, cli_cmd_plans_set, "change a plan and with it the tenants on it",
	 NULL, false},
	{"plans", "delete", "PLAN", 1, 1, cli_cmd_plans_delete, "remove a plan that no tenant is on", yes, false},
	{"tenants", NULL, "", 0, 0, cli_cmd_tenants, "list tenants", names_only, false},
	{"tenants", "create", "NAME [KEY=VALUE...]", 1, 24, cli_cmd_tenants_create, "make a tenant", quota, false},
	{"tenants", "info", "[TENANT]", 0, 1, cli_cmd_tenants_info, "show a tenant's quota and what it uses", NULL,
	 false},
	{"tenants", "delete", "TENANT", 1, 1, cli_cmd_tenants_delete, "remove a tenant that has no apps", yes, false},
	{"tenants", "quota", "TENANT [KEY=VALUE...]", 1, 20, cli_cmd_tenants_quota,
	 "show or change a tenant's quota; KEY=plan: as its plan has it", quota, false},
	{"tenants", "set", "TENANT KEY=VALUE...", 2, 24, cli_cmd_tenants_set,
	 "change a tenant's plan, profile, layers, egress or quota", NULL, false},
	{"tenants", "usage", "[TENANT]", 0, 1, cli_cmd_tenants_usage, "show use by app and hour", usage, false},
	{"tokens", NULL, "", 0, 0, cli_cmd_tokens, "list tokens", tenant, false},
	{"tokens", "create", "ROLE", 1, 1, cli_cmd_tokens_create,
	 "make a token: admin, deployer, reader, operator or fleet", token, false},
	{"tokens", "delete", "ID", 1, 1, cli_cmd_tokens_delete, "make a token void", tenant, false},

	{"node", NULL, "", 0, 0, cli_cmd_node, "show the node", NULL, false},
	{"node", "status", "", 0, 0, cli_cmd_node, "show the node", NULL, false},
	{"node", "check", "", 0, 0, cli_cmd_node_check, "say whether the node is ready", NULL, false},
	{"node", "drain", "", 0, 0, cli_cmd_node_drain, "stop every app of the node", epoch, false},
	{"node", "fsck", "", 0, 0, cli_cmd_node_fsck,
	 "compare database, disk, processes and kernel, and print what differs", fsck, false},
	{"node", "certs", "[WITHIN]", 0, 1, cli_cmd_node_certs,
	 "show the control name's certificate, and those of node and apps that end within a time (30d)", node_certs,
	 false},
	{"node", "eligible", "yes|no", 1, 1, cli_cmd_node_eligible, "say whether a fleet may place apps here", epoch,
	 false},

	{"completion", NULL, "bash", 1, 1, cli_cmd_completion, "print the completion for a shell", NULL, false},
	{"version", NULL, "", 0, 0, cli_cmd_version, "print the version", NULL, false},
	{"help", NULL, "[COMMAND...]", 0, 2, cli_cmd_help, "explain a command", NULL, false},
	{NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, false},
};
