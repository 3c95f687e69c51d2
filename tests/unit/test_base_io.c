/* Descriptors, the loop, channels, the log. */
#include "base/chan.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[40];
static int top;

static void room(void)
{
	snprintf(dir, sizeof dir, "/tmp/tulou-base-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(top, 0);
}

static void clear(void)
{
	close(top);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, dir), 0);
	cr_assert_eq(access(dir, F_OK), -1);
}

static unsigned open_fds(void)
{
	unsigned n = 0;
	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

TestSuite(base_io, .init = room, .fini = clear);

Test(base_io, files)
{
	char *text;
	size_t n;
	struct stat st;

	cr_assert_eq(fd_replace_file(top, "f", "hello", 5, 0640, true), 0);
	cr_assert_eq(fd_read_file(top, "f", 5, &text, &n), 0);
	cr_assert(n == 5 && strcmp(text, "hello") == 0);
	free(text);
	cr_assert_eq(fd_read_file(top, "f", 4, &text, &n), -EFBIG);
	cr_assert_eq(fd_read_file(top, "g", 4, &text, &n), -ENOENT);
	cr_assert_eq(fstatat(top, "f", &st, 0), 0);
	cr_assert_eq(st.st_mode & 0777, 0640);
	cr_assert_eq(fd_replace_file(top, "f", "", 0, 0600, false), 0);
	cr_assert_eq(fd_read_file(top, "f", 0, &text, NULL), 0);
	cr_assert_str_eq(text, "");
	free(text);
	cr_assert_eq(fd_write_file(top, "f", "1 2"), 0);
	cr_assert_eq(fd_write_file(top, "none", "1"), -ENOENT);
	cr_assert_eq(symlinkat("f", top, "l"), 0);
	cr_assert_eq(fd_read_file(top, "l", 9, &text, &n), -ELOOP);
	cr_assert_eq(fd_write_file(top, "l", "x"), -ELOOP);
	/* A link under the temporary name is replaced, not followed. */
	cr_assert_eq(symlinkat("f", top, "t.new"), 0);
	cr_assert_eq(fd_replace_file(top, "t", "new", 3, 0600, false), 0);
	cr_assert_eq(fd_read_file(top, "f", 9, &text, &n), 0);
	cr_assert_eq(strncmp(text, "1 2", 3), 0);
	free(text);
	cr_assert_eq(fd_replace_file(top, "no/such", "x", 1, 0600, false), -ENOENT);
}

Test(base_io, read_all_of_any_size)
{
	for (size_t size = 4090; size < 4100; size++) {
		OWN_FREE char *data = malloc(size), *text = NULL;
		size_t n;
		memset(data, 'x', size);
		cr_assert_eq(fd_replace_file(top, "f", data, size, 0600, false), 0);
		cr_assert_eq(fd_read_file(top, "f", size, &text, &n), 0, "%zu", size);
		cr_assert(n == size && text[n] == 0);
		char *more;
		cr_assert_eq(fd_read_file(top, "f", size - 1, &more, &n), -EFBIG);
	}
}

Test(base_io, open_beneath)
{
	int fd;
	char path[80];

	cr_assert_eq(mkdirat(top, "d", 0755), 0);
	cr_assert_eq(fd_replace_file(top, "d/f", "x", 1, 0600, false), 0);
	cr_assert_eq(symlinkat("../../etc/passwd", top, "d/out"), 0);
	cr_assert_eq(symlinkat("/etc/passwd", top, "d/abs"), 0);
	cr_assert_eq(symlinkat("f", top, "d/in"), 0);
	fd = fd_open_beneath(top, "d/f", O_RDONLY, 0, true);
	cr_assert_geq(fd, 0);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	fd = fd_open_beneath(top, "d/in", O_RDONLY, 0, false);
	cr_assert_geq(fd, 0);
	close(fd);
	cr_assert_eq(fd_open_beneath(top, "d/in", O_RDONLY, 0, true), -ELOOP);
	cr_assert_eq(fd_open_beneath(top, "d/out", O_RDONLY, 0, false), -EXDEV);
	cr_assert_eq(fd_open_beneath(top, "d/abs", O_RDONLY, 0, false), -EXDEV);
	cr_assert_eq(fd_open_beneath(top, "../etc", O_RDONLY, 0, false), -EXDEV);
	cr_assert_eq(fd_open_beneath(top, "/etc", O_RDONLY, 0, false), -EXDEV);
	snprintf(path, sizeof path, "%s/a/b/c", dir);
	cr_assert_eq(fd_mkdirs(path, 0755), 0);
	cr_assert_eq(fd_mkdirs(path, 0755), 0);
	cr_assert_eq(fd_mkdirs("relative", 0755), -EINVAL);
}

Test(base_io, remove_deep_and_hostile_trees)
{
	int at = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned before = open_fds();

	/* Deeper than PATH_MAX, with files and links on the way. */
	for (int i = 0; i < 3000; i++) {
		int next;
		cr_assert_eq(mkdirat(at, i ? "a-directory-name" : "deep", 0755), 0);
		next = openat(at, i ? "a-directory-name" : "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		cr_assert_geq(next, 0);
		close(at);
		at = next;
		if (i % 100 == 0)
			cr_assert(mkdirat(at, "empty", 0) == 0 && symlinkat("/", at, "link") == 0 &&
				  mkdirat(at, "other", 0700) == 0 && symlinkat("..", at, "other/up") == 0);
	}
	close(at);
	cr_assert_eq(fd_remove_tree(top, "deep"), 0);
	cr_assert_eq(faccessat(top, "deep", F_OK, 0), -1);
	/* Names that the removal itself would like to use. */
	cr_assert_eq(mkdirat(top, "sly", 0755), 0);
	for (int i = 0; i < 40; i++) {
		char name[64];
		snprintf(name, sizeof name, "sly/.rm%d", i);
		cr_assert_eq(mkdirat(top, name, 0755), 0);
		snprintf(name, sizeof name, "sly/.rm%d/.rm%d", i, 39 - i);
		cr_assert_eq(mkdirat(top, name, 0755), 0);
		snprintf(name, sizeof name, "sly/.rm%d/.rm%d/x", i, 39 - i);
		cr_assert_eq(mkdirat(top, name, 0755), 0);
		snprintf(name, sizeof name, "sly/.rm%d/.rm%d/x/f", i, 39 - i);
		cr_assert_eq(fd_replace_file(top, name, "x", 1, 0, false), 0);
	}
	cr_assert_eq(fd_remove_tree(top, "sly"), 0);
	cr_assert_eq(faccessat(top, "sly", F_OK, 0), -1);
	/* A link is removed, not what it leads to. */
	cr_assert_eq(mkdirat(top, "kept", 0755), 0);
	cr_assert_eq(fd_replace_file(top, "kept/f", "x", 1, 0600, false), 0);
	cr_assert_eq(symlinkat("kept", top, "link"), 0);
	cr_assert_eq(fd_remove_tree(top, "link"), 0);
	cr_assert_eq(faccessat(top, "kept/f", F_OK, 0), 0);
	cr_assert_eq(fd_remove_tree(top, "missing"), 0);
	cr_assert_eq(fd_remove_tree(top, "kept/f"), 0);
	cr_assert_eq(open_fds(), before - 1);
}

Test(base_io, sealed_memory)
{
	OWN_FD int fd = fd_memfd_sealed("t", "abc", 3);
	OWN_FD int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), copy = -1;
	char text[4] = "";
	struct stat a, b;

	cr_assert_geq(fd, 0);
	cr_assert_eq(read(fd, text, 4), 3);
	cr_assert_eq(pwrite(fd, "x", 1, 0), -1);
	cr_assert_eq(ftruncate(fd, 0), -1);
	cr_assert_eq(fcntl(fd, F_ADD_SEALS, 0), -1);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	copy = fd_memfd_copy("c", self);
	cr_assert_geq(copy, 0);
	cr_assert(fstat(self, &a) == 0 && fstat(copy, &b) == 0);
	cr_assert(a.st_size == b.st_size && (b.st_mode & 0777) == 0555);
	cr_assert_eq(pwrite(copy, "x", 1, 0), -1);
}

Test(base_io, passing)
{
	int pair[2], fds[FD_PASS_MAX], many[FD_PASS_MAX + 1];
	size_t n;
	char in[8];
	unsigned before;

	cr_assert_eq(chan_pair(pair), 0);
	cr_assert(fcntl(pair[0], F_GETFD) & FD_CLOEXEC);
	before = open_fds();
	for (int i = 0; i <= FD_PASS_MAX; i++)
		many[i] = top;
	cr_assert_eq(fd_send(pair[0], "hello", 5, many, FD_PASS_MAX), 0);
	cr_assert_eq(fd_send(pair[0], "hello", 5, many, FD_PASS_MAX + 1), -EINVAL);
	cr_assert_eq(fd_recv(pair[1], in, sizeof in, fds, &n), 5);
	cr_assert_eq(n, FD_PASS_MAX);
	for (size_t i = 0; i < n; i++) {
		cr_assert(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		close(fds[i]);
	}
	/* Truncated: refused, nothing leaks. */
	cr_assert_eq(fd_send2(pair[0], "hello", 5, "world", 5, many, 3), 0);
	cr_assert_eq(fd_recv(pair[1], in, sizeof in, fds, &n), -EBADMSG);
	cr_assert_eq(n, 0);
	cr_assert_eq(open_fds(), before);
	cr_assert_eq(fd_nonblock(pair[1]), 0);
	cr_assert_eq(fd_recv(pair[1], in, sizeof in, fds, &n), -EAGAIN);
	close(pair[0]);
	cr_assert_eq(fd_recv(pair[1], in, sizeof in, fds, &n), 0);
	cr_assert_eq(fd_send(pair[1], "x", 1, NULL, 0), -EPIPE);
	close(pair[1]);
}

/* The loop. */
struct turns {
	struct loop *l;
	struct loop_timer t, late;
	struct loop_io io;
	struct loop_signal sig;
	int fd[2];
	char order[32];
	unsigned n, deferred;
};

static void on_mark(struct turns *x, char c)
{
	if (x->n < sizeof x->order - 1)
		x->order[x->n++] = c;
}

static void on_deferred_again(void *arg)
{
	on_mark(arg, 'D');
}

static void on_deferred(void *arg)
{
	struct turns *x = arg;
	on_mark(x, 'd');
	loop_defer(x->l, on_deferred_again, x);
}

static void on_late(void *arg)
{
	struct turns *x = arg;
	on_mark(x, 'l');
	loop_stop(x->l);
}

static void on_io(void *arg, short what)
{
	struct turns *x = arg;
	char c;
	cr_assert(what & EV_READ);
	cr_assert_eq(read(x->fd[0], &c, 1), 1);
	on_mark(x, 'i');
	loop_io_stop(&x->io);
	loop_io_stop(&x->io);
	loop_defer(x->l, on_deferred, x);
	cr_assert_eq(loop_timer_start(x->l, &x->late, 1000, on_late, x), 0);
	cr_assert(loop_timer_pending(&x->late));
}

static void on_timer(void *arg)
{
	struct turns *x = arg;
	on_mark(x, 't');
	cr_assert_not(loop_timer_pending(&x->t));
	cr_assert_eq(write(x->fd[1], "x", 1), 1);
}

static void on_never(void *arg)
{
	on_mark(arg, '!');
}

Test(base_io, loop_order)
{
	struct turns x = {.l = loop_new()};
	struct loop_timer never = {0};

	cr_assert_not_null(x.l);
	cr_assert_eq(pipe2(x.fd, O_CLOEXEC | O_NONBLOCK), 0);
	cr_assert_eq(loop_io_start(x.l, &x.io, x.fd[0], EV_READ, on_io, &x), 0);
	cr_assert_eq(loop_timer_start(x.l, &x.t, 10000000, on_timer, &x), 0);
	cr_assert_eq(loop_timer_start(x.l, &x.t, 0, on_timer, &x), 0, "starting again replaces the time");
	cr_assert_eq(loop_timer_start(x.l, &never, 0, on_never, &x), 0);
	loop_timer_stop(&never);
	loop_timer_stop(&never);
	cr_assert_not(loop_timer_pending(&never));
	loop_run(x.l);
	cr_assert_str_eq(x.order, "tidDl");
	loop_free(x.l);
	loop_free(NULL);
	close(x.fd[0]);
	close(x.fd[1]);
}

static void on_signal(void *arg, int signo)
{
	struct turns *x = arg;
	cr_assert_eq(signo, SIGUSR1);
	on_mark(x, 's');
	loop_signal_stop(&x->sig);
	loop_stop(x->l);
}

static void on_raise(void *arg)
{
	(void)arg;
	raise(SIGUSR1);
}

Test(base_io, loop_signal)
{
	struct turns x = {.l = loop_new()};

	cr_assert_eq(loop_signal_start(x.l, &x.sig, SIGUSR1, on_signal, &x), 0);
	cr_assert_eq(loop_timer_start(x.l, &x.t, 0, on_raise, &x), 0);
	loop_run(x.l);
	cr_assert_str_eq(x.order, "s");
	loop_defer(x.l, on_deferred, &x);
	loop_free(x.l);
	cr_assert_str_eq(x.order, "sdD", "what was deferred still happens");
}

/* Channels. */
enum { T_HELLO = 1, T_FD = 2, T_BIG = 3 };
static const struct chan_rule rules[] = {
	{T_HELLO, "hello", 4, 8, 0, 0},
	{T_FD, "fd", 0, 0, 1, 2},
	{T_BIG, "big", 0, CHAN_BODY_MAX, 0, 0},
};

struct peer {
	struct loop *l;
	struct chan *c;
	unsigned msgs, fds, gone, stop_after;
	size_t bytes;
	uint32_t next; /* numbers expected in order */
	char reason[160];
	bool take, close_in_msg;
};

static void on_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct peer *p = arg;

	p->msgs++;
	p->bytes += len;
	p->fds += (unsigned)nfds;
	if (type == T_HELLO) {
		uint32_t n;
		memcpy(&n, body, sizeof n);
		cr_assert_eq(n, p->next++, "in order");
	}
	if (nfds && p->take) {
		close(fds[0]);
		fds[0] = -1;
	}
	if (p->close_in_msg)
		chan_close(p->c);
	if (p->msgs == p->stop_after || p->close_in_msg)
		loop_stop(p->l);
}

static void on_gone(void *arg, const char *reason)
{
	struct peer *p = arg;

	p->gone++;
	snprintf(p->reason, sizeof p->reason, "%s", reason);
	cr_assert_eq(chan_send(p->c, T_HELLO, "1234", 4, NULL, 0), -EPIPE);
	chan_close(p->c);
	chan_close(p->c);
	loop_stop(p->l);
}

static const struct chan_ops ops = {.on_msg = on_msg, .on_gone = on_gone};

static void peer_init(struct peer *p, int *raw)
{
	int pair[2];

	cr_assert_eq(chan_pair(pair), 0);
	*p = (struct peer){.l = loop_new()};
	p->c = chan_new(p->l, pair[0], rules, ARRAY_LEN(rules), &ops, p);
	cr_assert_not_null(p->c);
	*raw = pair[1];
}

static void peer_done(struct peer *p)
{
	chan_close(p->c);
	loop_free(p->l);
}

struct wire {
	uint16_t type, reserved;
	uint32_t len;
	char body[64];
};

Test(base_io, chan_refuses_what_the_table_does_not_permit)
{
	static const struct {
		uint16_t type;
		uint32_t len, sent;
		unsigned nfds;
	} bad[] = {
		{9, 4, 4, 0},	    /* unknown type */
		{T_HELLO, 3, 3, 0}, /* too short */
		{T_HELLO, 9, 9, 0}, /* too long */
		{T_HELLO, 4, 5, 0}, /* length lies low */
		{T_HELLO, 8, 4, 0}, /* length lies high */
		{T_HELLO, 0xffffffff, 4, 0},
		{T_HELLO, 4, 4, 1}, /* a descriptor where none may be */
		{T_FD, 0, 0, 0},    /* none where one must be */
		{T_FD, 0, 0, 3},    /* too many */
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct wire w = {.type = bad[i].type, .len = bad[i].len};
		int fds[3] = {top, top, top}, raw;
		struct peer p;
		unsigned before = open_fds();
		peer_init(&p, &raw);
		cr_assert_eq(fd_send(raw, &w, 8 + bad[i].sent, fds, bad[i].nfds), 0);
		loop_run(p.l);
		cr_assert_eq(p.gone, 1, "row %zu", i);
		cr_assert_eq(p.msgs, 0, "row %zu", i);
		cr_assert(strstr(p.reason, "refused"), "row %zu: %s", i, p.reason);
		p.c = NULL; /* closed in on_gone */
		peer_done(&p);
		close(raw);
		cr_assert_eq(open_fds(), before, "row %zu", i);
	}
	/* Shorter than a header; longer than any message. */
	for (size_t n = 1; n <= 8 + CHAN_BODY_MAX + 1; n += 8 + CHAN_BODY_MAX) {
		static char junk[8 + CHAN_BODY_MAX + 1];
		struct peer p;
		int raw;
		peer_init(&p, &raw);
		cr_assert_eq(fd_send(raw, junk, n, NULL, 0), 0);
		loop_run(p.l);
		cr_assert_eq(p.gone, 1);
		p.c = NULL;
		peer_done(&p);
		close(raw);
	}
}

Test(base_io, chan_descriptors_are_closed_or_taken)
{
	for (int take = 0; take < 2; take++) {
		struct wire w = {.type = T_FD};
		int fds[2] = {top, top}, raw;
		struct peer p;
		unsigned before;
		peer_init(&p, &raw);
		p.take = take;
		p.stop_after = 1;
		before = open_fds();
		cr_assert_eq(fd_send(raw, &w, 8, fds, 2), 0);
		loop_run(p.l);
		cr_assert(p.msgs == 1 && p.fds == 2);
		cr_assert_eq(open_fds(), before);
		peer_done(&p);
		close(raw);
	}
}

Test(base_io, chan_queue_keeps_order_and_descriptors)
{
	enum { N = 3000 };
	unsigned before = open_fds();
	struct loop *l = loop_new();
	struct peer from = {.l = l}, to = {.l = l, .stop_after = N + 1};
	int pair[2], fd = top;

	cr_assert_eq(chan_pair(pair), 0);
	from.c = chan_new(l, pair[0], rules, ARRAY_LEN(rules), &ops, &from);
	to.c = chan_new(l, pair[1], rules, ARRAY_LEN(rules), &ops, &to);
	for (uint32_t i = 0; i < N; i++) {
		cr_assert_eq(chan_send(from.c, T_HELLO, &i, sizeof i, NULL, 0), 0);
		if (i == N / 2)
			cr_assert_eq(chan_send(from.c, T_FD, NULL, 0, &fd, 1), 0);
	}
	cr_assert_gt(chan_backlog(from.c), 0, "more than the kernel takes");
	loop_run(l);
	cr_assert_eq(to.next, N);
	cr_assert_eq(to.fds, 1);
	cr_assert_eq(chan_backlog(from.c), 0);
	cr_assert_eq(chan_send(from.c, T_BIG, dir, CHAN_BODY_MAX + 1, NULL, 0), -EMSGSIZE);
	chan_close(to.c);
	chan_close(from.c);
	loop_free(l);
	cr_assert_eq(open_fds(), before);
}

Test(base_io, chan_backlog_is_bounded)
{
	struct peer p;
	int raw, r;
	uint32_t n = 0;

	peer_init(&p, &raw);
	while ((r = chan_send(p.c, T_HELLO, &n, sizeof n, NULL, 0)) == 0)
		cr_assert_leq(++n, CHAN_QUEUE_MAX + 10000);
	cr_assert_eq(r, -ENOBUFS);
	cr_assert_eq(chan_backlog(p.c), CHAN_QUEUE_MAX);
	peer_done(&p);
	close(raw);
}

Test(base_io, chan_end)
{
	struct wire w = {.type = T_HELLO, .len = 4};
	struct peer p;
	int raw;

	/* What came before the end is delivered first. */
	peer_init(&p, &raw);
	cr_assert_eq(fd_send(raw, &w, 12, NULL, 0), 0);
	close(raw);
	loop_run(p.l);
	cr_assert(p.msgs == 1 && p.gone == 1);
	cr_assert(strstr(p.reason, "closed"), "%s", p.reason);
	loop_free(p.l);
	/* Closing within a callback. */
	peer_init(&p, &raw);
	p.close_in_msg = true;
	for (int i = 0; i < 3; i++)
		cr_assert_eq(fd_send(raw, &w, 12, NULL, 0), 0);
	loop_run(p.l);
	cr_assert(p.msgs == 1 && p.gone == 0);
	loop_free(p.l);
	close(raw);
	chan_close(NULL);
}

Test(base_io, chan_first_message)
{
	struct wire w = {.type = T_HELLO, .len = 4, .body = "abcd"};
	static char body[CHAN_BODY_MAX];
	int pair[2], fds[FD_PASS_MAX];
	uint16_t type;
	size_t len, nfds;

	cr_assert_eq(chan_pair(pair), 0);
	cr_assert_eq(fd_send(pair[0], &w, 12, NULL, 0), 0);
	cr_assert_eq(chan_recv_first(pair[1], rules, ARRAY_LEN(rules), &type, body, &len, fds, &nfds), 0);
	cr_assert(type == T_HELLO && len == 4 && memcmp(body, "abcd", 4) == 0);
	w.type = 9;
	cr_assert_eq(fd_send(pair[0], &w, 12, &top, 1), 0);
	cr_assert_eq(chan_recv_first(pair[1], rules, ARRAY_LEN(rules), &type, body, &len, fds, &nfds), -EBADMSG);
	close(pair[0]);
	cr_assert_eq(chan_recv_first(pair[1], rules, ARRAY_LEN(rules), &type, body, &len, fds, &nfds), -EPIPE);
	close(pair[1]);
}

Test(base_io, log_lines_cannot_be_forged)
{
	int pipes[2], saved = dup(STDERR_FILENO);
	char line[8192], big[4000];
	ssize_t n;

	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = 0;
	cr_assert_eq(pipe(pipes), 0);
	dup2(pipes[1], STDERR_FILENO);
	log_init("test", LOG_LEVEL_INFO);
	errno = ENOENT;
	LOG_DEBUG("hidden", "x=%d", 1);
	LOG_INFO("event", "app=%s", "a\nerror fake: x\x1b[2J\xff");
	int kept = errno;
	dup2(saved, STDERR_FILENO);
	n = read(pipes[0], line, sizeof line - 1);
	cr_assert_gt(n, 0);
	line[n] = 0;
	cr_assert_eq(kept, ENOENT);
	cr_assert_eq(strchr(line, '\n'), line + n - 1, "one line");
	cr_assert(strstr(line, " info test[") && strstr(line, "] event: app=a\\x0aerror fake: x\\x1b[2J\\xff"), "%s",
		  line);
	dup2(pipes[1], STDERR_FILENO);
	LOG_WARN("big", "%s", big);
	dup2(saved, STDERR_FILENO);
	n = read(pipes[0], line, sizeof line - 1);
	cr_assert(n > 1000 && n <= 2048 && line[n - 1] == '\n');
	close(saved);
	close(pipes[0]);
	close(pipes[1]);
}
