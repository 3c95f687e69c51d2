/* tuloud: the node agent.  Started by hand or by systemd it is the supervisor; executed again with --role it is one of
 * its own unprivileged processes.  Layer agent. */
#include "agent/roles/role.h"
#include "agent/roles/supervisor.h"
#include "agent/supervise/supervise.h"
#include "base/log.h"
#include "config/settings.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char tuloud_usage[] =
	"usage: tuloud [-c FILE] [--check]\n"
	"\n"
	"Runs the Tulou node in the foreground; logs go to standard error.\n"
	"\n"
	"  -c, --config FILE  settings (tulou.yaml(5)); without it the embedded defaults apply:\n"
	"                     data in /var/lib/tulou, http://tulou.localhost:8080\n"
	"      --check        check settings and host, say what is missing, change nothing\n"
	"      --version      print the version\n"
	"  -h, --help         print this text\n"
	"\n"
	"SIGTERM stops node and apps, SIGQUIT leaves the apps running for the next start, SIGHUP re-reads the\n"
	"settings, SIGUSR2 upgrades in place.  Set it all up with: make run\n";

static void tuloud_on_check(void *arg, enum supervise_verdict v, const char *what, const char *text)
{
	unsigned *warnings = arg;

	*warnings += v == SUPERVISE_WARN;
	printf("%-4s  %-24s %s\n", supervise_verdict_name(v), what, text);
}

static int tuloud_check(const struct settings *s, const char *program)
{
	char dir[4096];
	unsigned warnings = 0, failures;

	snprintf(dir, sizeof dir, "%s", program);
	*strrchr(dir, '/') = 0;
	failures = supervise_check(s, dir, tuloud_on_check, &warnings);
	printf("\n%u failed, %u warnings\n", failures, warnings);
	return failures ? 1 : 0;
}

int main(int argc, char **argv)
{
	enum { OPT_CHECK = 256, OPT_ROLE, OPT_VERSION };
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, OPT_CHECK},
		{"role", required_argument, NULL, OPT_ROLE},
		{"version", no_argument, NULL, OPT_VERSION},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	const char *path = NULL;
	static char program[4096];
	static struct settings settings;
	bool check = false;
	struct err e = {0};
	enum role_id role;
	ssize_t n;
	int opt;

	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			path = optarg;
			break;
		case OPT_CHECK:
			check = true;
			break;
		case OPT_ROLE:
			role = role_parse(optarg);
			if (role == ROLE_COUNT) {
				fprintf(stderr, "tuloud: --role is for tuloud itself\n");
				return 2;
			}
			log_init(role_name(role), LOG_LEVEL_INFO);
			return role_main(role);
		case OPT_VERSION:
			printf("tuloud %s (%s)\n", TULOU_VERSION, TULOU_COMMIT);
			return 0;
		case 'h':
			fputs(tuloud_usage, stdout);
			return 0;
		default:
			fprintf(stderr, "Try: tuloud --help\n");
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "tuloud: unexpected argument: %s\nTry: tuloud --help\n", argv[optind]);
		return 2;
	}
	if (settings_load(path, &settings, &e) < 0) {
		fprintf(stderr, "tuloud: %s\n", e.text);
		return 1;
	}
	n = readlink("/proc/self/exe", program, sizeof program - 1);
	if (n <= 0) {
		fprintf(stderr, "tuloud: cannot find my own program: %s\n", strerror(errno));
		return 1;
	}
	program[n] = 0;
	/* After the file was replaced by a newer one the link says "... (deleted)": the upgrade wants the new file. */
	if (n > 10 && strcmp(program + n - 10, " (deleted)") == 0)
		program[n - 10] = 0;
	if (check)
		return tuloud_check(&settings, program);
	if (geteuid() != 0) {
		fprintf(stderr,
			"tuloud: must be started by root: it makes namespaces, cgroups and mounts; everything that\n"
			"listens to the network or reads tenants' data runs as other users.\n");
		return 1;
	}
	return supervisor_run(&settings, path, program, argv);
}
