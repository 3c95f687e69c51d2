/* The pipes of a build.  Layer agent, control process.
 *
 * A job that has ended has left all its bytes in the pipes (its whole pid namespace is gone), so reading until the pipe
 * is empty is enough then; nobody waits for an end of file that another holder of the descriptor could delay. */
#include "agent/build/build_private.h"

#include "base/fd.h"
#include "base/log.h"

#include <inttypes.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PUMP_BYTES 65536
#define PUMP_READS 8 /* per turn and pipe: a loud build does not hold up the rest of control */
#define PUMP_PIPE (1 << 20)

static char pump_buf[PUMP_BYTES]; /* one loop, one thread */

void build_pump_init(struct build *b)
{
	b->source = b->log_r = b->log_w = b->slug_r = b->slug_w = b->manifest_r = b->manifest_w = -1;
	b->cache_in = b->cache_r = b->cache_w = b->cache_file = b->result_r = b->result_w = -1;
	buf_init(&b->manifest_in, LIMIT_MANIFEST_BYTES + 1024);
	b->log.fd = -1;
}

/* Reads up to `reads` pieces and gives them to fn; false when the pipe is at its end. */
static bool build_pump(struct build *b, int fd, unsigned reads, void (*fn)(struct build *b, const char *p, size_t n))
{
	for (unsigned i = 0; i < reads; i++) {
		ssize_t n = read(fd, pump_buf, sizeof pump_buf);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (n == 0)
			return false;
		fn(b, pump_buf, (size_t)n);
	}
	return true;
}

static void build_manifest_in(struct build *b, const char *p, size_t n)
{
	buf_add(&b->manifest_in, p, n);
}

static void build_result_in(struct build *b, const char *p, size_t n)
{
	size_t k = sizeof b->result - 1 - b->result_len;

	k = n < k ? n : k;
	memcpy(b->result + b->result_len, p, k);
	b->result_len += k;
}

static void build_cache_in(struct build *b, const char *p, size_t n)
{
	if (b->cache_dropped)
		return; /* read on, so that the build can end */
	b->cache_bytes += n;
	if (b->cache_bytes > BUILD_CACHE_MAX || b->cache_file < 0 || fd_write_all(b->cache_file, p, n) < 0)
		b->cache_dropped = true;
}

#define PUMP_CALLBACK(name, sink)                                                                                      \
	static void build_on_##name(void *arg, short what)                                                             \
	{                                                                                                              \
		struct build *b = arg;                                                                                 \
		(void)what;                                                                                            \
		if (!build_pump(b, b->name##_r, PUMP_READS, sink))                                                     \
			loop_io_stop(&b->name##_io);                                                                   \
	}
PUMP_CALLBACK(log, build_out)
PUMP_CALLBACK(manifest, build_manifest_in)
PUMP_CALLBACK(cache, build_cache_in)
PUMP_CALLBACK(result, build_result_in)

/* The read end of the tree became readable: a first byte, or its end without one. */
static void build_on_slug(void *arg, short what)
{
	struct build *b = arg;
	int n = 0;

	(void)what;
	loop_io_stop(&b->slug_io);
	if (ioctl(b->slug_r, FIONREAD, &n) == 0 && n > 0)
		build_slug_comes(b);
}

static int build_pipe(int *r, int *w, bool big)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	if (big)
		fcntl(p[0], F_SETPIPE_SZ,
		      PUMP_PIPE); /* may be refused (pipe(7), pipe-user-pages-soft): only slower then */
	*r = p[0];
	*w = p[1];
	return 0;
}

static void build_cache_open(struct build *b)
{
	char path[300];

	snprintf(path, sizeof path, "%s/cache", b->builds->control_dir);
	fd_mkdirs(path, 0750);
	snprintf(path, sizeof path, "%s/cache/%" PRId64 ".tar", b->builds->control_dir, b->app);
	b->cache_in = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (b->cache_in < 0)
		b->cache_in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof path, "%s/cache/%" PRId64 ".new", b->builds->control_dir, b->app);
	b->cache_file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
}

int build_pump_start(struct build *b, struct err *e)
{
	struct loop *l = b->builds->loop;
	int r = build_pipe(&b->log_r, &b->log_w, false);

	if (r == 0)
		r = build_pipe(&b->slug_r, &b->slug_w, true);
	if (r == 0)
		r = build_pipe(&b->manifest_r, &b->manifest_w, false);
	if (r == 0)
		r = build_pipe(&b->cache_r, &b->cache_w, true);
	if (r == 0)
		r = build_pipe(&b->result_r, &b->result_w, false);
	if (r == 0) {
		build_cache_open(b);
		/* Not the tree's pipe: the store job reads that one, and blocks as programs expect. */
		if (fd_nonblock(b->log_r) < 0 || fd_nonblock(b->manifest_r) < 0 || fd_nonblock(b->cache_r) < 0 ||
		    fd_nonblock(b->result_r) < 0 ||
		    loop_io_start(l, &b->log_io, b->log_r, EV_READ, build_on_log, b) < 0 ||
		    loop_io_start(l, &b->slug_io, b->slug_r, EV_READ, build_on_slug, b) < 0 ||
		    loop_io_start(l, &b->manifest_io, b->manifest_r, EV_READ, build_on_manifest, b) < 0 ||
		    loop_io_start(l, &b->cache_io, b->cache_r, EV_READ, build_on_cache, b) < 0 ||
		    loop_io_start(l, &b->result_io, b->result_r, EV_READ, build_on_result, b) < 0)
			r = -ENOMEM;
	}
	return r < 0 ? err_set(e, -r, "the node cannot open the build's pipes: %s", strerror(-r)) : 0;
}

void build_pump_given(struct build *b)
{
	own_close(&b->source);
	own_close(&b->slug_w);
	own_close(&b->manifest_w);
	own_close(&b->cache_in);
	own_close(&b->cache_w);
}

void build_pump_drain(struct build *b)
{
	if (b->log_r >= 0)
		build_pump(b, b->log_r, 1000, build_out);
	if (b->manifest_r >= 0)
		build_pump(b, b->manifest_r, 1000, build_manifest_in);
	if (b->cache_r >= 0)
		build_pump(b, b->cache_r, 1000, build_cache_in);
	if (b->result_r >= 0)
		build_pump(b, b->result_r, 1000, build_result_in);
	if (b->ended[BUILD_JOB_BUILD] && !b->storing && b->slug_io.loop)
		build_on_slug(b, EV_READ);
}

void build_pump_cache_keep(struct build *b)
{
	char from[300], to[300];

	if (b->cache_dropped)
		build_line(b, " !     The build's cache is larger than %llu MiB and was dropped",
			   BUILD_CACHE_MAX >> 20);
	if (b->cache_dropped || b->cache_file < 0 || !b->cache_bytes)
		return;
	snprintf(from, sizeof from, "%s/cache/%" PRId64 ".new", b->builds->control_dir, b->app);
	snprintf(to, sizeof to, "%s/cache/%" PRId64 ".tar", b->builds->control_dir, b->app);
	if (rename(from, to) < 0)
		LOG_WARN("build cache", "app=%s error=\"%s\"", b->name, strerror(errno));
	own_close(&b->cache_file);
}

void build_pump_stop(struct build *b)
{
	int *const fds[] = {&b->source,	    &b->log_r,	  &b->log_w,   &b->slug_r,  &b->slug_w,	  &b->manifest_r,
			    &b->manifest_w, &b->cache_in, &b->cache_r, &b->cache_w, &b->result_r, &b->result_w};
	char path[300];

	loop_io_stop(&b->log_io);
	loop_io_stop(&b->slug_io);
	loop_io_stop(&b->manifest_io);
	loop_io_stop(&b->cache_io);
	loop_io_stop(&b->result_io);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		own_close(fds[i]);
	if (b->cache_file >= 0) { /* not kept */
		snprintf(path, sizeof path, "%s/cache/%" PRId64 ".new", b->builds->control_dir, b->app);
		unlink(path);
		own_close(&b->cache_file);
	}
	buf_done(&b->manifest_in);
}
