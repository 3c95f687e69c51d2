/* Tries every door and prints one line for each: DOOR name OPEN|CLOSED|IRRELEVANT|BROKEN [rule] detail.  tests/redteam.
 *
 *   probe [--outside] [--facts A=b&C=d] [--list] [--only PREFIX] [--serve]
 *
 * --list prints names, rules and why a door is tried inside only.  --serve: as an app; listens on $PORT so that the
 * release counts as healthy, and tries the doors when it is asked: "GET /doors?NAME=value&…" (facts; SKIP and ONLY are
 * prefixes of names), "GET /hog" takes all it can of what the kernel counts per user and holds it. */
#include "tests/redteam/probe.h"
#include "tests/redteam/hog.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 6000
#define DEADLINE_FILL_MS 40000 /* of what fills a limit: the disk is written no faster than the node lets it be */
#define REQUEST_MAX 4096

static const struct door *const tables[] = {doors_calls, doors_sockets,	  doors_users, doors_files,
					    doors_proc,	 doors_resources, doors_net,   doors_strict};
static const char *const names[DOOR_VERDICTS] = {"CLOSED", "OPEN", "IRRELEVANT", "BROKEN"};

/* Shared with the child that tries a door. */
static struct {
	enum verdict verdict;
	bool done;
	char detail[DOOR_DETAIL];
} * result;
static bool outside;

void door_say(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(result->detail, sizeof result->detail, format, args);
	va_end(args);
	for (char *p = result->detail; *p; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
			*p = '?';
}

void door_if_dead(enum verdict v)
{
	result->verdict = v;
}

bool door_outside(void)
{
	return outside;
}

bool door_aside(int flags)
{
	if (!outside)
		return true;
	if (unshare(flags) < 0)
		return false;
	return !(flags & CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

enum verdict door_result(long r, const char *what)
{
	int e = errno;

	if (r >= 0) {
		door_say("%s: %ld", what, r);
		return DOOR_OPEN;
	}
	door_say("%s: %s", what, strerror(e));
	return DOOR_CLOSED;
}

const char *door_fact(const char *name)
{
	const char *v = getenv(name);
	return v && *v ? v : NULL;
}

static long now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void try_door(const struct door *d, FILE *out)
{
	*result = (__typeof__(*result)){.verdict = DOOR_BROKEN};
	fflush(out);
	pid_t pid = fork();
	if (pid == 0) {
		setsid(); /* no controlling terminal, and one group to kill */
		enum verdict v = d->try(d);
		result->verdict = v;
		result->done = true;
		_exit(0);
	}
	long patience = strncmp(d->name, "resources.", 10) == 0 ? DEADLINE_FILL_MS : DEADLINE_MS;
	long end = now_ms() + patience;
	int how = 0;
	pid_t got = 0;
	while (pid > 0 && (got = waitpid(pid, &how, WNOHANG)) == 0 && now_ms() < end)
		usleep(500);
	if (got == 0 && pid > 0) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
		waitpid(pid, &how, 0);
		if (!result->done)
			door_say("no answer in %ld ms", patience);
		if (!result->done)
			result->verdict = DOOR_BROKEN;
	} else if (pid > 0) {
		kill(-pid, SIGKILL); /* what it left in its group */
	}
	if (!result->done && got == pid && WIFSIGNALED(how)) {
		int sig = WTERMSIG(how);
		/* The filter kills with SIGSYS, the memory limit with SIGKILL: both are answers. */
		if (sig == SIGSYS || (sig == SIGKILL && result->verdict == DOOR_BROKEN))
			result->verdict = DOOR_CLOSED;
		if (!*result->detail)
			door_say("killed by signal %d", sig);
	} else if (pid < 0) {
		door_say("fork: %s", strerror(errno));
	}
	fprintf(out, "DOOR %s %s [%s] %s\n", d->name, names[result->verdict], d->rule, result->detail);
	fflush(out);
}

static int try_all(const char *only, FILE *out)
{
	int n = 0;
	const char *skip = door_fact("SKIP");
	for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
		for (const struct door *d = tables[t]; d->name; d++) {
			if (only && strncmp(d->name, only, strlen(only)) != 0)
				continue;
			if (skip && strncmp(d->name, skip, strlen(skip)) == 0)
				continue;
			n++;
			if (outside && d->inside_only)
				fprintf(out, "DOOR %s IRRELEVANT [%s] inside only: %s\n", d->name, d->rule,
					d->inside_only);
			else
				try_door(d, out);
		}
	}
	fprintf(out, "DOORS %d\n", n);
	fflush(out);
	return 0;
}

static void list(void)
{
	for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
		for (const struct door *d = tables[t]; d->name; d++)
			printf("%s\t%s\t%s\n", d->name, d->rule, d->inside_only ? d->inside_only : "");
}

/* "?A=b&C=d" becomes variables. */
static void take_facts(char *query)
{
	for (char *save = NULL, *w = strtok_r(query, "&", &save); w; w = strtok_r(NULL, "&", &save)) {
		char *eq = strchr(w, '=');
		if (!eq)
			continue;
		*eq = '\0';
		setenv(w, eq + 1, 1);
	}
}

static void answer(int client)
{
	char request[REQUEST_MAX], head[160];
	const char *body = "hello\n";
	size_t n = 0;

	while (n < sizeof request - 1) {
		ssize_t got = read(client, request + n, sizeof request - 1 - n);
		if (got <= 0)
			break;
		n += (size_t)got;
		request[n] = '\0';
		if (strstr(request, "\r\n\r\n"))
			break;
	}
	request[n] = '\0';
	char *path = strchr(request, ' '), *end = path ? strchr(path + 1, ' ') : NULL;
	if (end) {
		*end = '\0';
		path++;
		char *query = strchr(path, '?');
		if (query) {
			*query = '\0';
			take_facts(query + 1);
		}
		if (strcmp(path, "/doors") == 0 && fork() == 0) {
			close(client);
			_exit(try_all(door_fact("ONLY"), stdout));
		}
		if (strcmp(path, "/hog") == 0)
			body = hog_take();
	}
	int len = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
			   strlen(body));
	if (write(client, head, (size_t)len) == len)
		(void)!write(client, body, strlen(body));
}

static int serve(void)
{
	const char *port = getenv("PORT");
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((unsigned short)strtoul(port ? port : "0", NULL, 10))};
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(s, (struct sockaddr *)&a, sizeof a) < 0 || listen(s, 64) < 0) {
		perror("listen");
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int client = accept4(s, NULL, NULL, SOCK_CLOEXEC);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (client < 0)
			continue;
		answer(client);
		close(client);
	}
}

/* Before anything of ours is opened. */
static void count_descriptors(void)
{
	char text[16];
	int n = 0;

	for (int fd = 3; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	snprintf(text, sizeof text, "%d", n);
	setenv("FDS", text, 1);
}

int main(int argc, char **argv)
{
	const char *only = NULL;
	bool as_app = false;

	result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (result == MAP_FAILED)
		return 1;
	count_descriptors();
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--facts") == 0 && i + 1 < argc)
			take_facts(argv[++i]);
		else if (strcmp(argv[i], "--outside") == 0)
			outside = true;
		else if (strcmp(argv[i], "--serve") == 0)
			as_app = true;
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
			only = argv[++i];
		else if (strcmp(argv[i], "--list") == 0)
			return list(), 0;
		else
			return fprintf(stderr, "what is %s?\n", argv[i]), 2;
	}
	return as_app ? serve() : try_all(only, stdout);
}
