/* Uploads, git, runs, logs, events, long polls. */
#include "tests/unit/test_api_client.h"
#include "tests/unit/test_api_fixture.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/own.h"
#include "web/api/lines.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void send_head(int fd, const char *method, const char *path, const char *token, const char *more)
{
	char *head;
	int n = asprintf(&head, "%s %s HTTP/1.1\r\nHost: tulou.localhost\r\nAuthorization: Bearer %s\r\n%s\r\n", method,
			 path, token, more);

	cr_assert_eq(fd_write_all(fd, head, (size_t)n), 0);
	free(head);
}

/* Polls a condition written by the loop's thread. */
#define EVENTUALLY(cond)                                                                                               \
	do {                                                                                                           \
		int64_t end_ = clock_mono_us() + 5000000;                                                              \
		while (!(cond) && clock_mono_us() < end_)                                                              \
			usleep(5000);                                                                                  \
		cr_assert(cond);                                                                                       \
	} while (0)

Test(api, a_tarball_streams_in_and_its_log_out)
{
	struct fix *f = fix_start(false);
	struct reply r = fix_request(f, "POST", "/v1/apps/shop/builds", f->deployer,
				     "Content-Type: application/x-tar\r\n", "not really a tar");

	cr_assert_eq(r.status, 200, "%s", r.text);
	cr_assert_str_eq(reply_header(&r, "Content-Type"), "application/x-ndjson");
	cr_assert_str_eq(r.body,
			 "{\"build\":1}\n{\"log\":\"-----> half a \"}\n{\"log\":\"\xe2\x82\xac and \xef\xbf\xbd\\n\"}\n"
			 "{\"result\":\"succeeded\",\"release\":3,\"url\":\"http://shop.localhost:8080\"}\n",
			 "%s", r.body);
	cr_assert_eq(f->upload_bytes, 16);
	reply_done(&r);
	f->upload_fail_early = true;
	r = fix_request(f, "POST", "/v1/apps/shop/builds", f->deployer, NULL, "x");
	cr_assert_not_null(strstr(r.body, "{\"result\":\"failed\",\"error\":\"no good\"}"), "%s", r.body);
	reply_done(&r);
	f->busy = true;
	cr_assert_eq(fix_status(f, "POST", "/v1/apps/shop/builds", f->deployer, "x"), 409);
	cr_assert_eq(fix_status(f, "POST", "/v1/apps/shop/builds", f->deployer, NULL), 400);
	cr_assert_eq(f->cancelled, 0);
	r = fix_request(f, "POST", "/v1/apps/shop/builds", f->deployer, "Content-Length: 536870913\r\n", NULL);
	cr_assert_eq(r.status, 413);
	reply_done(&r);
	fix_stop(f);
}

static void resume_upload(struct fix *f, void *arg);

Test(api, a_slow_build_holds_the_upload_back)
{
	struct fix *f = fix_start(false);
	int fd = fix_connect(f);
	static char chunk[65536];
	size_t sent = 0, total = 8 << 20;
	char out[4096];

	f->upload_pause = true;
	send_head(fd, "POST", "/v1/apps/shop/builds", f->deployer, "Content-Length: 8388608\r\nConnection: close\r\n");
	fd_nonblock(fd);
	for (int idle = 0; idle < 10;) {
		ssize_t n = write(fd, chunk, sizeof chunk);
		if (n > 0) {
			sent += (size_t)n;
			idle = 0;
		} else {
			idle++;
			usleep(20000);
		}
	}
	cr_assert_lt(sent, 2 << 20, "%zu bytes went into nowhere", sent);
	fix_call(f, resume_upload, NULL);
	while (sent < total) {
		ssize_t n = write(fd, chunk, total - sent < sizeof chunk ? total - sent : sizeof chunk);
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		if (n > 0)
			sent += (size_t)n;
		else
			cr_assert_gt(poll(&p, 1, 5000), 0);
	}
	cr_assert(fix_read_until(fd, "succeeded", out, sizeof out), "%s", out);
	cr_assert_eq(f->upload_bytes, total);
	close(fd);
	fix_stop(f);
}

Test(api, a_broken_upload_is_cancelled)
{
	struct fix *f = fix_start(false);
	int fd = fix_connect(f);
	char out[2048];

	send_head(fd, "POST", "/v1/apps/shop/builds", f->deployer, "Content-Length: 1000\r\n");
	fd_write_all(fd, "half", 4);
	EVENTUALLY(f->upload_bytes == 4);
	close(fd);
	EVENTUALLY(f->cancelled == 1);
	cr_assert_eq(f->log_cancelled, 1);
	/* one that leaves while the log comes only stops listening */
	fd = fix_connect(f);
	f->upload_pause = true;
	send_head(fd, "POST", "/v1/apps/shop/builds", f->deployer, "Content-Length: 4\r\n");
	fd_write_all(fd, "full", 4);
	cr_assert(fix_read_until(fd, "{\"build\":2}", out, sizeof out), "%s", out);
	close(fd);
	EVENTUALLY(f->log_cancelled == 2);
	cr_assert_eq(f->cancelled, 1);
	cr_assert_eq(fix_status(f, "GET", "/healthz", NULL, NULL), 200);
	fix_stop(f);
}

Test(api, build_logs_from_file_and_live)
{
	struct fix *f = fix_start(false);
	char dir[128], path[160], out[4096];
	struct reply r;
	int fd, up = fix_connect(f);

	snprintf(dir, sizeof dir, "%s/builds", f->control_dir);
	mkdir(dir, 0755);
	snprintf(path, sizeof path, "%s/1.log", dir);
	f->upload_pause = true;
	send_head(up, "POST", "/v1/apps/shop/builds", f->deployer, "Content-Length: 4\r\n");
	fd_write_all(up, "full", 4);
	cr_assert(fix_read_until(up, "{\"build\":1}", out, sizeof out));
	cr_assert_eq(fd_replace_file(AT_FDCWD, path, "early\n", 6, 0644, false), 0);
	r = fix_request(f, "GET", "/v1/apps/shop/builds/1/log", f->reader, NULL, NULL);
	cr_assert_str_eq(r.body, "early\n");
	reply_done(&r);
	fd = fix_connect(f);
	send_head(fd, "GET", "/v1/apps/shop/builds/1/log?follow=1", f->reader, "");
	cr_assert(fix_read_until(fd, "early\n", out, sizeof out));
	fix_call(f, resume_upload, NULL);
	cr_assert(fix_read_until(fd, "\r\n0\r\n", out, sizeof out), "%s", out);
	cr_assert_not_null(strstr(out, "half a"));
	close(fd);
	close(up);
	cr_assert_eq(fix_status(f, "GET", "/v1/apps/theirs/builds/1", f->other, NULL), 404);
	cr_assert_eq(fix_status(f, "GET", "/v1/apps/shop/builds/1", f->reader, NULL), 200);
	fix_stop(f);
}

extern char **environ;

static int __attribute__((format(printf, 1, 2))) sh(const char *fmt, ...)
{
	char *line = NULL, *argv[] = {"sh", "-c", NULL, NULL};
	va_list ap;
	int r, status = -1;
	pid_t pid;

	va_start(ap, fmt);
	r = vasprintf(&line, fmt, ap);
	va_end(ap);
	argv[2] = line;
	if (r >= 0 && posix_spawnp(&pid, "sh", NULL, NULL, argv, environ) == 0)
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	free(line);
	return status;
}

Test(api, git_clone_and_push_through_the_api)
{
	struct fix *f = fix_start(true);
	char url[256];
	const char *git = "GIT_TERMINAL_PROMPT=0 GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null git -c user.name=a "
			  "-c user.email=a@b -c http.proxy=";

	if (sh("git --version >/dev/null 2>&1") != 0)
		cr_skip_test("git is not installed");
	snprintf(f->repo, sizeof f->repo, "%s/repo.git", f->dir);
	cr_assert_eq(sh("git init -q --bare -b main %s", f->repo), 0);
	snprintf(url, sizeof url, "http://x:%s@127.0.0.1:%u/git/shop.git", f->deployer, f->port);
	cr_assert_eq(sh("cd %s && git init -q -b main w && cd w && head -c 3000000 /dev/urandom > big && for i in "
			"$(seq 300); do echo $i > f$i; done && "
			"git add . && %s commit -q -m one && %s push -q %s main 2>%s/err || { cat %s/err; false; }",
			f->dir, git, git, url, f->dir, f->dir),
		     0);
	/* many negotiated commits make a client gzip its request */
	cr_assert_eq(sh("cd %s && %s clone -q %s c && cmp w/big c/big", f->dir, git, url), 0);
	cr_assert_eq(
		sh("cd %s/w && for i in $(seq 120); do %s commit -q --allow-empty -m $i; done && %s push -q %s main",
		   f->dir, git, git, url),
		0);
	cr_assert_eq(sh("cd %s/c && for i in $(seq 60); do %s commit -q --allow-empty -m l$i; done && %s -c "
			"protocol.version=0 fetch -q && test $(git rev-list --count origin/main) = 121",
			f->dir, git, git),
		     0);
	/* a reader may fetch, not push; a stranger finds nothing */
	snprintf(url, sizeof url, "http://x:%s@127.0.0.1:%u/git/shop.git", f->reader, f->port);
	cr_assert_eq(sh("cd %s && %s ls-remote -q %s >/dev/null", f->dir, git, url), 0);
	cr_assert_neq(sh("cd %s/w && %s push -q %s main:x 2>%s/err", f->dir, git, url, f->dir), 0);
	cr_assert_eq(sh("grep -q 'may not push' %s/err || { cat %s/err; false; }", f->dir, f->dir), 0);
	snprintf(url, sizeof url, "http://x:%s@127.0.0.1:%u/git/shop.git", f->other, f->port);
	cr_assert_neq(sh("cd %s && %s ls-remote %s 2>%s/err", f->dir, git, url, f->dir), 0);
	cr_assert_eq(sh("grep -q 'not found' %s/err", f->dir), 0);
	fix_stop(f);
}

Test(api, git_bodies_are_bounded)
{
	struct fix *f = fix_start(false);
	struct reply r;

	snprintf(f->repo, sizeof f->repo, "%s/repo.git", f->dir);
	if (sh("git init -q --bare %s", f->repo) != 0)
		cr_skip_test("git is not installed");
	r = fix_request(f, "POST", "/git/shop.git/git-receive-pack", f->deployer, NULL, "x");
	cr_assert_eq(r.status, 415);
	reply_done(&r);
	r = fix_request(f, "POST", "/git/shop.git/git-receive-pack", f->deployer,
			"Content-Type: application/x-git-receive-pack-request\r\nContent-Length: 600000000\r\n", NULL);
	cr_assert_eq(r.status, 413);
	reply_done(&r);
	r = fix_request(f, "POST", "/git/shop.git/git-upload-pack", f->reader,
			"Content-Type: application/x-git-upload-pack-request\r\nContent-Encoding: gzip\r\n",
			"this is no gzip");
	cr_assert_eq(r.status, 400);
	cr_assert_str_eq(r.body, "the gzipped body is damaged\n", "%s", r.body);
	reply_done(&r);
	r = fix_request(f, "POST", "/git/shop.git/git-upload-pack", f->reader,
			"Content-Type: application/x-git-upload-pack-request\r\n", "0000");
	cr_assert(r.status == 200 || r.status == 502, "%d", r.status);
	reply_done(&r);
	fix_stop(f);
}

Test(api, runs_answer_output_and_exit_code)
{
	struct fix *f = fix_start(false);
	struct reply r;

	cr_assert_eq(fix_status(f, "POST", "/v1/apps/shop/runs", f->deployer, "{\"command\":\"x\"}"), 409,
		     "no release yet");
	fix_release(f);
	r = fix_request(f, "POST", "/v1/apps/shop/runs", f->deployer, NULL,
			"{\"command\":\"printf 'a\\\\n\\\\377'; sleep 0.1; echo b\"}");
	cr_assert_eq(r.status, 200, "%s", r.text);
	cr_assert_str_eq(r.body, "{\"output\":\"a\\n\xef\xbf\xbd\"}\n{\"output\":\"b\\n\"}\n{\"exit_code\":7}\n", "%s",
			 r.body);
	reply_done(&r);
	/* its client leaves before the end */
	{
		int fd = fix_connect(f);
		send_head(fd, "POST", "/v1/apps/shop/runs", f->deployer,
			  "Content-Type: application/json\r\nContent-Length: 23\r\n");
		fd_write_all(fd, "{\"command\":\"echo 12345\"}", 24);
		close(fd);
		usleep(500000);
	}
	cr_assert_eq(fix_status(f, "GET", "/healthz", NULL, NULL), 200);
	fix_stop(f);
}

static void log_write_file(struct fix *f, const char *name, const char *text, int flags)
{
	char path[200];
	int fd;

	snprintf(path, sizeof path, "%s/%lld", f->log_dir, (long long)f->shop.id);
	mkdir(path, 0755);
	snprintf(path, sizeof path, "%s/%lld/%s", f->log_dir, (long long)f->shop.id, name);
	fd = open(path, O_WRONLY | O_CREAT | flags, 0644);
	cr_assert_geq(fd, 0);
	fd_write_all(fd, text, strlen(text));
	close(fd);
}

Test(api, logs_past_and_followed_over_a_rotation)
{
	struct fix *f = fix_start(false);
	char out[8192], a[200], b[200];
	struct reply r;
	int fd, sse;

	r = fix_request(f, "GET", "/v1/apps/shop/logs", f->reader, NULL, NULL);
	cr_assert_eq(r.status, 200);
	cr_assert_eq(r.len, 0, "no log yet");
	reply_done(&r);
	log_write_file(f, "previous", "1\n2\n3\n", O_TRUNC);
	log_write_file(f, "current", "4\n5 \x1b[31mred\n", O_TRUNC);
	r = fix_request(f, "GET", "/v1/apps/shop/logs?lines=3", f->reader, NULL, NULL);
	cr_assert_str_eq(r.body, "3\n4\n5 \x1b[31mred\n", "%s", r.body);
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/apps/shop/logs?lines=1", f->reader, NULL, NULL);
	cr_assert_str_eq(r.body, "5 \x1b[31mred\n");
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/apps/shop/logs?lines=0", f->reader, NULL, NULL);
	cr_assert_eq(r.len, 0);
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/apps/shop/logs", f->reader, NULL, NULL);
	cr_assert_str_eq(r.body, "1\n2\n3\n4\n5 \x1b[31mred\n");
	reply_done(&r);

	fd = fix_connect(f);
	sse = fix_connect(f);
	send_head(fd, "GET", "/v1/apps/shop/logs?lines=1&follow=1", f->reader, "");
	send_head(sse, "GET", "/v1/apps/shop/logs?lines=1&follow=1", f->reader, "Accept: text/event-stream\r\n");
	cr_assert(fix_read_until(fd, "red\n", out, sizeof out));
	cr_assert(fix_read_until(sse, "data: 5 \\x1B[31mred\n\n", out, sizeof out) ||
			  strstr(out, "data: 5 \\x1b[31mred\n\n"),
		  "%s", out);
	log_write_file(f, "current", "6\n", O_APPEND);
	cr_assert(fix_read_until(fd, "6\n", out, sizeof out));
	cr_assert(fix_read_until(sse, "data: 6\n\n", out, sizeof out));
	/* the last line before the rotation and the first behind it both come */
	log_write_file(f, "current", "7\n", O_APPEND);
	snprintf(a, sizeof a, "%s/%lld/current", f->log_dir, (long long)f->shop.id);
	snprintf(b, sizeof b, "%s/%lld/previous", f->log_dir, (long long)f->shop.id);
	cr_assert_eq(rename(a, b), 0);
	log_write_file(f, "current", "8\n", O_APPEND);
	cr_assert(fix_read_until(fd, "8\n", out, sizeof out), "%s", out);
	cr_assert_not_null(strstr(out, "7\n"));
	cr_assert(fix_read_until(sse, "data: 8\n\n", out, sizeof out));
	close(fd);
	close(sse);
	fix_stop(f);
}

static void add_event(struct fix *f, void *arg)
{
	struct model_event ev = {.tenant = arg ? f->evil.id : f->acme.id, .app = arg ? f->theirs.id : f->shop.id};

	snprintf(ev.kind, sizeof ev.kind, "deploy.succeeded");
	snprintf(ev.text, sizeof ev.text, "%s", arg ? "secret of evil" : "line\nbreak <b>");
	cr_assert_eq(store_event_add(f->store, &ev, NULL), 0);
	api_event(f->api, &ev);
	f->ops.written(f);
}

Test(api, events_are_followed_per_tenant)
{
	struct fix *f = fix_start(false);
	char out[8192];
	struct reply r;
	int fd = fix_connect(f), op = fix_connect(f);

	send_head(fd, "GET", "/v1/events?follow=1", f->reader, "");
	send_head(op, "GET", "/v1/apps/theirs/events", f->operator, "Accept: text/event-stream\r\n");
	cr_assert(fix_read_until(fd, ":\n\n", out, sizeof out), "the head comes at once");
	cr_assert_not_null(strstr(out, "Content-Type: text/event-stream"));
	cr_assert(fix_read_until(op, ":\n\n", out, sizeof out));
	fix_call(f, add_event, f);
	fix_call(f, add_event, NULL);
	cr_assert(fix_read_until(fd, "break", out, sizeof out), "%s", out);
	cr_assert_null(strstr(out, "secret"), "another tenant's event: %s", out);
	cr_assert_not_null(strstr(out, "event: deploy.succeeded\ndata: {\"id\":"));
	cr_assert_not_null(strstr(out, "line\\nbreak"));
	cr_assert(fix_read_until(op, "secret of evil", out, sizeof out));
	cr_assert_null(strstr(out, "break"));
	close(fd);
	close(op);
	r = fix_request(f, "GET", "/v1/events?limit=1", f->operator, NULL, NULL);
	cr_assert_not_null(strstr(r.body, "\"tenant\":\"acme\",\"app\":\"shop\",\"instance\":null"), "%s", r.body);
	cr_assert_not_null(strstr(r.body, "\"next\":null"));
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/events?limit=1&after=0", f->operator, NULL, NULL);
	cr_assert_null(strstr(r.body, "\"next\":null"), "%s", r.body);
	reply_done(&r);
	fix_stop(f);
}

Test(api, followers_are_limited_per_tenant)
{
	struct fix *f = fix_start(false);
	int fd[LIMIT_API_STREAMS_TENANT];
	char out[2048];

	for (int i = 0; i < LIMIT_API_STREAMS_TENANT; i++) {
		fd[i] = fix_connect(f);
		send_head(fd[i], "GET", "/v1/events?follow=1", f->reader, "");
		cr_assert(fix_read_until(fd[i], ":\n\n", out, sizeof out));
	}
	cr_assert_eq(fix_status(f, "GET", "/v1/events?follow=1", f->admin, NULL), 429);
	cr_assert_eq(fix_status(f, "GET", "/v1/apps/shop/logs", f->other, NULL), 404);
	cr_assert_eq(fix_status(f, "GET", "/v1/apps/theirs/logs", f->other, NULL), 200, "others are not touched");
	for (int i = 0; i < LIMIT_API_STREAMS_TENANT; i++)
		close(fd[i]);
	EVENTUALLY(fix_status(f, "GET", "/v1/apps/shop/logs", f->admin, NULL) == 200);
	fix_stop(f);
}

Test(api, node_state_is_polled_long)
{
	struct fix *f = fix_start(false);
	struct reply r = fix_request(f, "GET", "/v1/node/state", f->fleet, NULL, NULL);
	json_t *j = json_loads(r.body, 0, NULL), *apps = json_object_get(j, "apps");
	char path[128], out[8192];
	long long g = json_integer_value(json_object_get(j, "generation"));
	int64_t since;
	int fd;

	cr_assert_eq(r.status, 200, "%s", r.text);
	cr_assert_eq(json_array_size(apps), 2);
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(apps, 0), "tenant")), "acme");
	cr_assert_eq(json_number_value(json_object_get(json_array_get(apps, 0), "cpu_seconds")), 12.5);
	json_decref(j);
	reply_done(&r);
	snprintf(path, sizeof path, "/v1/node/state?since=%lld", g);
	cr_assert_eq(fix_status(f, "GET", path, f->fleet, NULL), 304);
	snprintf(path, sizeof path, "/v1/node/state?since=%lld&wait=300ms", g);
	since = clock_mono_us();
	cr_assert_eq(fix_status(f, "GET", path, f->fleet, NULL), 304);
	cr_assert_geq(clock_mono_us() - since, 290000);
	snprintf(path, sizeof path, "/v1/node/state?since=%lld&wait=30s", g);
	fd = fix_connect(f);
	since = clock_mono_us();
	send_head(fd, "GET", path, f->fleet, "");
	usleep(50000);
	cr_assert_eq(fix_status(f, "PUT", "/v1/apps/shop/formation", f->deployer, "{\"web\":4}"), 200);
	cr_assert(fix_read_until(fd, "]}", out, sizeof out), "%s", out);
	cr_assert_not_null(strstr(out, "\"formation\":{\"web\":4}"), "%s", out);
	cr_assert_lt(clock_mono_us() - since, 5000000);
	close(fd);
	/* deleted apps leave it */
	cr_assert_eq(fix_status(f, "DELETE", "/v1/apps/shop", f->admin, NULL), 204);
	cr_assert_eq(f->app_deleted, 1);
	r = fix_request(f, "GET", "/v1/node/state", f->fleet, NULL, NULL);
	cr_assert_null(strstr(r.body, "shop"));
	reply_done(&r);
	fix_stop(f);
}

Test(api, fleet_writes_carry_an_epoch)
{
	struct fix *f = fix_start(false);
	struct reply r;

	cr_assert_eq(fix_status(f, "PUT", "/v1/node/eligibility", f->fleet, "{\"eligible\":false}"), 400);
	r = fix_request(f, "PUT", "/v1/node/eligibility", f->fleet, NULL, "{\"eligible\":false,\"epoch\":5}");
	cr_assert_str_eq(r.body, "{\"eligible\":false,\"draining\":false,\"epoch\":5}", "%s", r.body);
	reply_done(&r);
	cr_assert_eq(fix_status(f, "PUT", "/v1/node/eligibility", f->fleet, "{\"eligible\":true,\"epoch\":4}"), 409);
	cr_assert_eq(f->eligible, 0);
	cr_assert_eq(fix_status(f, "POST", "/v1/node/drain", f->fleet, "{\"epoch\":5}"), 202);
	cr_assert_eq(f->draining, 1);
	cr_assert_eq(fix_status(f, "PUT", "/v1/node/eligibility", f->operator, "{\"eligible\":true}"), 200);
	cr_assert(f->eligible == 1 && f->draining == 0);
	r = fix_request(f, "POST", "/v1/node/work", f->fleet, NULL,
			"{\"epoch\":6,\"work\":[{\"op\":\"formation\",\"app\":\"shop\",\"formation\":{\"web\":2}},{"
			"\"op\":\"fly\"},"
			"{\"op\":\"formation\",\"app\":\"none\",\"formation\":{}},7,{\"op\":\"formation\",\"app\":"
			"\"shop\",\"formation\":{\"web\":500}}]}");
	cr_assert_eq(r.status, 200);
	cr_assert_null(strstr(r.body, "\"index\":0"));
	cr_assert_not_null(strstr(r.body, "{\"index\":1,\"reason\":\"op: must be formation, not \\\"fly\\\"\"}"), "%s",
			   r.body);
	cr_assert_not_null(strstr(r.body, "{\"index\":2,"));
	cr_assert_not_null(strstr(r.body, "{\"index\":3,"));
	cr_assert_not_null(strstr(r.body, "outside 0..100"));
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/stats/summary", f->fleet, NULL, NULL);
	cr_assert_not_null(strstr(r.body, "\"podRef\":{\"name\":\"shop\",\"namespace\":\"acme\",\"uid\":\"41\"}"), "%s",
			   r.body);
	cr_assert_not_null(strstr(r.body, "\"usageCoreNanoSeconds\":1500000000"));
	reply_done(&r);
	fix_stop(f);
}

static void set_config(struct fix *f, void *arg)
{
	cr_assert_eq(store_config_set(f->store, f->shop.id, "LATE", arg, NULL), 0);
}

static void config_of_4(struct fix *f, void *arg)
{
	struct model_release r = {0};

	cr_assert_eq(store_release_find(f->store, f->shop.id, 4, &r, NULL), 0);
	snprintf(arg, 64, "%s", r.config_json);
	model_release_done(&r);
}

/* The newest release goes live, as after its roll-out. */
static void newest_live(struct fix *f, void *arg)
{
	struct model_release r = {0};
	uint32_t v = 1;

	(void)arg;
	while (store_release_find(f->store, f->shop.id, v, &r, NULL) == 0) {
		model_release_done(&r);
		v++;
	}
	cr_assert_eq(store_release_find(f->store, f->shop.id, v - 1, &r, NULL), 0);
	store_release_state(f->store, f->shop.release, MODEL_RELEASE_RETIRED, NULL);
	store_release_state(f->store, r.id, MODEL_RELEASE_LIVE, NULL);
	f->shop.release = r.id;
	cr_assert_eq(store_app_update(f->store, &f->shop, NULL), 0);
	model_release_done(&r);
}

/* POSTs to the shop and makes the release live; its note must be so.  Without a note there must be none to go to. */
static void roll(struct fix *f, const char *path, const char *note)
{
	struct reply r = fix_request(f, "POST", path, f->deployer, NULL, NULL);

	cr_assert_eq(r.status, note ? 202 : 409, "%s", r.text);
	cr_assert_not_null(strstr(r.body, note ? note : "no earlier release"), "%s", r.body);
	reply_done(&r);
	if (note)
		fix_call(f, newest_live, NULL);
}

static void forget_build_1(struct fix *f, void *arg)
{
	(void)arg;
	cr_assert_eq(store_build_del(f->store, 1, NULL), 0);
}

Test(api, rollback_goes_to_another_release_and_then_further)
{
	struct fix *f = fix_start(false);
	struct reply r;

	fix_release(f);
	fix_release(f);
	roll(f, "/v1/apps/shop/restart", "\"Restart\"");
	roll(f, "/v1/apps/shop/rollback", "\"Rollback to v1 (build 1)\"");
	roll(f, "/v1/apps/shop/rollback", NULL);
	roll(f, "/v1/apps/shop/restart", "\"Restart\"");
	roll(f, "/v1/apps/shop/rollback", NULL);
	fix_release(f);
	roll(f, "/v1/apps/shop/rollback", "\"Rollback to v5 (build 1)\"");
	roll(f, "/v1/apps/shop/rollback", NULL);
	/* Of one build another config is another release. */
	fix_call(f, set_config, "yes");
	roll(f, "/v1/apps/shop/restart", "\"Restart\"");
	roll(f, "/v1/apps/shop/rollback", "\"Rollback to v7 (build 1)\"");
	/* Not to what is not there any more. */
	fix_release(f);
	fix_call(f, forget_build_1, NULL);
	r = fix_request(f, "POST", "/v1/apps/shop/rollback", f->deployer, NULL, "{\"version\":1}");
	cr_assert(r.status == 409 && strstr(r.body, "not kept any more"), "%s", r.body);
	reply_done(&r);
	roll(f, "/v1/apps/shop/rollback", "\"Rollback to v6 (build 3)\"");
	fix_stop(f);
}

Test(api, releases_rollback_and_restart)
{
	struct fix *f = fix_start(false);
	char config[64] = "";
	struct reply r;

	cr_assert_eq(fix_status(f, "POST", "/v1/apps/shop/restart", f->deployer, NULL), 409);
	fix_release(f);
	fix_release(f);
	r = fix_request(f, "POST", "/v1/apps/shop/rollback", f->deployer, NULL, NULL);
	cr_assert_eq(r.status, 202, "%s", r.text);
	cr_assert_not_null(strstr(r.body, "\"version\":3,\"state\":\"pending\",\"note\":\"Rollback to v1 (build 1)\""),
			   "%s", r.body);
	reply_done(&r);
	/* Set by a config change whose roll-out failed. */
	fix_call(f, set_config, "yes");
	r = fix_request(f, "POST", "/v1/apps/shop/restart", f->deployer, NULL, "{}");
	cr_assert_not_null(strstr(r.body, "\"note\":\"Restart\""), "%s", r.body);
	reply_done(&r);
	fix_call(f, config_of_4, config);
	cr_assert_str_eq(config, "{\"LATE\":\"yes\"}", "a restart has the config as it is set now");
	f->busy = true;
	cr_assert_eq(fix_status(f, "POST", "/v1/apps/shop/restart", f->deployer, NULL), 409);
	r = fix_request(f, "GET", "/v1/apps/shop/releases?limit=1", f->reader, NULL, NULL);
	cr_assert_not_null(strstr(r.body, "\"version\":4"));
	cr_assert_null(strstr(r.body, "\"next\":null"), "%s", r.body);
	reply_done(&r);
	cr_assert_eq(fix_status(f, "GET", "/v1/apps/shop/releases/v2", f->reader, NULL), 200);
	cr_assert_eq(fix_status(f, "DELETE", "/v1/apps/shop/instances/41", f->deployer, NULL), 204);
	cr_assert_eq(f->stopped, 1);
	cr_assert_eq(fix_status(f, "POST", "/v1/apps/shop/domains", f->deployer, "{\"host\":\"*.example.com\"}"), 201);
	cr_assert_eq(fix_status(f, "POST", "/v1/apps/theirs/domains", f->other, "{\"host\":\"*.example.com\"}"), 409);
	cr_assert_eq(fix_status(f, "DELETE", "/v1/apps/shop/domains/%2A.example.com", f->deployer, NULL), 204);
	cr_assert_eq(fix_status(f, "DELETE", "/v1/apps/shop/domains/%2A.example.com", f->deployer, NULL), 404);
	fix_stop(f);
}

static void want_proof(struct fix *f, void *arg)
{
	(void)arg;
	f->settings.domain_proof = true;
}

static void sister_wants(struct fix *f, void *arg)
{
	struct model_app a = {0};
	struct err e = {0};

	cr_assert_eq(store_app_add(f->store, f->acme.id, "sister", &f->shop.limits, false, &a, &e), 0, "%s", e.text);
	cr_assert_eq(store_domain_add(f->store, a.id, arg, MODEL_PROOF_WANTED, NULL, &e), 0, "%s", e.text);
}

Test(api, domains_wait_for_proof)
{
	struct fix *f = fix_start(false);
	struct reply r;

	fix_call(f, want_proof, NULL);
	r = fix_request(f, "POST", "/v1/apps/shop/domains", f->deployer, NULL, "{\"host\":\"shop.example\"}");
	cr_assert_eq(r.status, 201);
	cr_assert_not_null(strstr(r.body, "\"pending\""));
	cr_assert_not_null(strstr(r.body, "\"_tulou.shop.example\""));
	cr_assert_not_null(strstr(r.body, "http://shop.example/.well-known/tulou-proof"));
	reply_done(&r);
	/* Who only says so does not keep it from another. */
	cr_assert_eq(fix_status(f, "POST", "/v1/apps/theirs/domains", f->other, "{\"host\":\"shop.example\"}"), 201);
	cr_assert_eq(fix_status(f, "POST", "/v1/apps/shop/domains/shop.example/verify", f->reader, "{}"), 403);
	cr_assert_eq(fix_status(f, "POST", "/v1/apps/shop/domains/shop.example/verify", f->deployer, "{}"), 202);
	cr_assert_eq(fix_status(f, "POST", "/v1/apps/shop/domains/shop.example/verify", f->deployer, NULL), 202);
	cr_assert_eq(fix_status(f, "POST", "/v1/apps/shop/domains/none.example/verify", f->deployer, "{}"), 404);
	cr_assert_eq(fix_status(f, "POST", "/v1/apps/shop/domains/shop.example/verify", f->deployer, "{\"yes\":true}"),
		     400);
	cr_assert_eq(fix_status(f, "POST", "/v1/apps/shop/domains/shop.example/verify", f->admin, "{\"accept\":true}"),
		     403);
	cr_assert_eq(
		fix_status(f, "POST", "/v1/apps/shop/domains/shop.example/verify", f->operator, "{\"accept\":true}"),
		200);
	r = fix_request(f, "GET", "/v1/apps/shop/domains", f->reader, NULL, NULL);
	cr_assert_not_null(strstr(r.body, "\"verified\""));
	cr_assert_not_null(strstr(r.body, "\"operator\""));
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/apps/theirs/domains", f->other, NULL, NULL);
	cr_assert_not_null(strstr(r.body, "\"pending\""));
	reply_done(&r);
	/* Another app of the tenant is told that one has it, the operator of all; nobody of another tenant's. */
	fix_call(f, sister_wants, "both.example");
	r = fix_request(f, "POST", "/v1/apps/theirs/domains", f->other, NULL, "{\"host\":\"both.example\"}");
	cr_assert_not_null(strstr(r.body, "\"also\":[]"), "%s", r.body);
	reply_done(&r);
	r = fix_request(f, "POST", "/v1/apps/shop/domains", f->deployer, NULL, "{\"host\":\"both.example\"}");
	cr_assert_not_null(strstr(r.body, "\"also\":[{\"app\":\"sister\",\"tenant\":\"acme\",\"state\":\"pending\"}]"),
			   "%s", r.body);
	reply_done(&r);
	r = fix_request(f, "POST", "/v1/apps/shop/domains/both.example/verify", f->operator, NULL, "{\"accept\":true}");
	cr_assert(r.status == 200 && strstr(r.body, "\"app\":\"sister\"") && strstr(r.body, "\"app\":\"theirs\""), "%s",
		  r.body);
	reply_done(&r);
	r = fix_request(f, "POST", "/v1/apps/theirs/domains/both.example/verify", f->operator, NULL,
			"{\"accept\":true}");
	cr_assert_not_null(strstr(r.body, "{\"app\":\"shop\",\"tenant\":\"acme\",\"state\":\"verified\"}"), "%s",
			   r.body);
	reply_done(&r);
	/* What the operator adds needs no more. */
	r = fix_request(f, "POST", "/v1/apps/shop/domains", f->operator, NULL, "{\"host\":\"*.shop.example\"}");
	cr_assert_eq(r.status, 201);
	cr_assert_not_null(strstr(r.body, "\"verified\""));
	cr_assert_not_null(strstr(r.body, "\"_tulou.shop.example\""));
	reply_done(&r);
	r = fix_request(f, "POST", "/v1/apps/shop/domains", f->deployer, NULL, "{\"host\":\"a.shop.example\"}");
	cr_assert_not_null(strstr(r.body, "\"parent\""));
	reply_done(&r);
	fix_stop(f);
}

Test(api, lines_drop_what_their_reader_cannot_take)
{
	struct lines l;
	char chunk[4096], out[65536];
	size_t total = 0;
	ssize_t n;

	lines_init(&l, "log");
	memset(chunk, 1, sizeof chunk); /* six bytes each in JSON */
	for (int i = 0; i < 1000; i++)
		lines_text(&l, chunk, sizeof chunk);
	cr_assert_leq(l.queue.len, LIMIT_API_QUEUE);
	cr_assert_gt(l.dropped, 0);
	lines_json(&l, json_pack("{s:s}", "result", "succeeded"));
	cr_assert_eq(l.queue.failed, 0, "the result always fits");
	while ((n = lines_read(&l, out, sizeof out)) > 0)
		total += (size_t)n;
	lines_text(&l, "x", 1);
	n = lines_read(&l, out, sizeof out - 1);
	out[n] = 0;
	cr_assert_not_null(strstr(out, "bytes dropped"), "%s", out);
	cr_assert_not_null(strstr(out, "{\"log\":\"x\"}\n"));
	/* a character cut in three; one that never ends */
	lines_text(&l, "\xf0\x9f", 2);
	lines_text(&l, "\x98", 1);
	lines_text(&l, "\x80!\xe2\x82x", 5);
	n = lines_read(&l, out, sizeof out - 1);
	out[n] = 0;
	cr_assert_str_eq(out, "{\"log\":\"\xf0\x9f\x98\x80!\xef\xbf\xbd\xef\xbf\xbdx\"}\n", "%s", out);
	lines_done(&l);
}

static void resume_upload(struct fix *f, void *arg)
{
	(void)arg;
	f->upload_pause = false;
	loop_io_start(f->loop, &f->upload_io, f->upload_fd, EV_READ, f->upload_io.fn, f);
}
