/* tulou-unpack: unpacks the tar on standard input, then becomes another program.  Layer agent, runs only inside
 * sandboxes (build: the source; store: the finished tree), as the tenant.
 *
 * usage: tulou-unpack --to DIR --max-bytes N --max-entries N [--absolute-links] [--stop-at-end] [--report] [-- PROGRAM
 * [ARG…]]
 * --report: prints "BYTES ENTRIES" on standard output. */
#include "agent/build/unpack.h"
#include "base/fd.h"
#include "base/own.h"
#include "base/parse.h"
#include "config/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int unpack_main_usage(const char *why)
{
	dprintf(2,
		"tulou-unpack: %s\nusage: tulou-unpack --to DIR --max-bytes N --max-entries N [--absolute-links] "
		"[--stop-at-end] [--report] [-- PROGRAM [ARG...]]\n",
		why);
	return 2;
}

static int unpack_main_options(int argc, char **argv, const char **to, bool *report, struct unpack_limits *limits)
{
	static const struct option options[] = {
		{"to", required_argument, NULL, 't'},
		{"max-bytes", required_argument, NULL, 'b'},
		{"max-entries", required_argument, NULL, 'e'},
		{"absolute-links", no_argument, NULL, 'l'},
		{"report", no_argument, NULL, 'r'},
		{"stop-at-end", no_argument, NULL, 's'},
		{NULL, 0, NULL, 0},
	};
	struct err e = {0};
	int o, r = 0;

	while (r == 0 && (o = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (o == 't')
			*to = optarg;
		else if (o == 'b')
			r = parse_u64(optarg, strlen(optarg), 1, 1ull << 50, "--max-bytes", &limits->bytes, &e);
		else if (o == 'e')
			r = parse_u64(optarg, strlen(optarg), 1, 1ull << 32, "--max-entries", &limits->entries, &e);
		else if (o == 'l')
			limits->flags |= UNPACK_ABSOLUTE_LINKS;
		else if (o == 's')
			limits->flags |= UNPACK_STOP_AT_END;
		else if (o == 'r')
			*report = true;
		else
			return unpack_main_usage("unknown option");
	}
	if (r < 0)
		return unpack_main_usage(e.text);
	if (!*to || !limits->bytes || !limits->entries)
		return unpack_main_usage("--to, --max-bytes and --max-entries are needed");
	return 0;
}

int main(int argc, char **argv)
{
	struct unpack_limits limits = {0};
	struct unpack_result done;
	const char *to = NULL;
	bool report = false;
	OWN_FD int root = -1;
	struct err e = {0};

	if (unpack_main_options(argc, argv, &to, &report, &limits) != 0)
		return 2;
	setlocale(LC_ALL, "C.UTF-8"); /* names in pax headers are UTF-8 */
	if (mkdir(to, 0755) < 0 && errno != EEXIST) {
		dprintf(2, " !     tulou-unpack: cannot make %s: %s\n", to, strerror(errno));
		return 1;
	}
	root = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0) {
		dprintf(2, " !     tulou-unpack: cannot open %s: %s\n", to, strerror(errno));
		return 1;
	}
	if (unpack_stream(0, root, &limits, &done, &e) < 0) {
		dprintf(2, " !     The archive was refused: %s\n", e.text);
		return 1;
	}
	if (report)
		dprintf(1, "%" PRIu64 " %" PRIu64 "\n", done.bytes, done.entries);
	if (optind < argc) {
		execv(argv[optind], argv + optind);
		dprintf(2, " !     tulou-unpack: cannot start %s: %s\n", argv[optind], strerror(errno));
		return 1;
	}
	return 0;
}
