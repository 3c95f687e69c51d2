/* The listening sockets of the front door and of the API.  Layer agent, supervisor process. */
#include "agent/roles/listeners.h"

#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTENERS_BACKLOG 4096 /* capped by net.core.somaxconn */

void listeners_init(struct listeners *l)
{
	memset(l, 0, sizeof *l);
	l->api = l->names_udp = l->names_tcp = -1;
}

void listeners_close(struct listeners *l)
{
	for (unsigned i = 0; i < l->http_count; i++)
		close(l->http[i]);
	for (unsigned i = 0; i < l->https_count; i++)
		close(l->https[i]);
	own_close(&l->api);
	own_close(&l->names_udp);
	own_close(&l->names_tcp);
	listeners_init(l);
}

static bool listeners_same(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET) {
		const struct sockaddr_in *x = (const struct sockaddr_in *)a, *y = (const struct sockaddr_in *)b;
		return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
	}
	if (a->ss_family == AF_INET6) {
		const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)a, *y = (const struct sockaddr_in6 *)b;
		return x->sin6_port == y->sin6_port && memcmp(&x->sin6_addr, &y->sin6_addr, sizeof x->sin6_addr) == 0;
	}
	return false;
}

/* The descriptor among fds[0..n) that listens on addr, -1 when none does. */
static int listeners_find(const int *fds, unsigned n, const struct sockaddr_storage *addr)
{
	for (unsigned i = 0; i < n; i++) {
		struct sockaddr_storage own = {0};
		socklen_t len = sizeof own;
		if (getsockname(fds[i], (struct sockaddr *)&own, &len) == 0 && listeners_same(&own, addr))
			return fds[i];
	}
	return -1;
}

static bool listeners_wants(const struct sockaddr_storage *addr, const struct settings_address *wanted, unsigned n,
			    const int *have, unsigned have_count)
{
	for (unsigned i = 0; i < n; i++)
		if (listeners_same(addr, &wanted[i].addr))
			return listeners_find(have, have_count, addr) < 0;
	return false;
}

bool listeners_proxied(int fd, const struct settings_address *wanted, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (listeners_find(&fd, 1, &wanted[i].addr) >= 0)
			return wanted[i].proxied;
	return false;
}

void listeners_offer(struct listeners *l, const struct settings *s, int fd)
{
	struct sockaddr_storage own = {0};
	socklen_t len = sizeof own, intlen = sizeof(int);
	int listening = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &intlen) == 0 && listening &&
	    getsockname(fd, (struct sockaddr *)&own, &len) == 0) {
		if (l->http_count < LIMIT_LISTEN &&
		    listeners_wants(&own, s->http, s->http_count, l->http, l->http_count)) {
			l->http[l->http_count++] = fd;
			return;
		}
		if (l->https_count < LIMIT_LISTEN &&
		    listeners_wants(&own, s->https, s->https_count, l->https, l->https_count)) {
			l->https[l->https_count++] = fd;
			return;
		}
	}
	close(fd);
}

static int listeners_make(const struct settings_address *a, struct err *e)
{
	OWN_FD int fd = socket(a->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	if (fd < 0)
		return err_errno(e, "cannot listen on %s", a->text);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (a->addr.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	if (bind(fd, (const struct sockaddr *)&a->addr, a->len) < 0 || listen(fd, LISTENERS_BACKLOG) < 0)
		return err_errno(e, "cannot listen on %s", a->text);
	return TAKE_FD(fd);
}

static int listeners_open_kind(const struct settings_address *wanted, unsigned n, int *have, unsigned *count,
			       const char *key, struct err *e)
{
	for (unsigned i = 0; i < n; i++) {
		int fd;
		if (listeners_find(have, *count, &wanted[i].addr) >= 0)
			continue;
		fd = listeners_make(&wanted[i], e);
		if (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT) {
			LOG_WARN("address left out", "address=%s reason=\"this host does not have it\"",
				 wanted[i].text);
			continue;
		}
		if (fd == -EADDRINUSE)
			return err_field(e, EADDRINUSE, key,
					 "%s: %s is in use by another program; stop it, or choose another port", key,
					 wanted[i].text);
		if (fd < 0)
			return fd;
		have[(*count)++] = fd;
	}
	if (n && *count == 0)
		return err_field(e, EADDRNOTAVAIL, key, "%s: none of its addresses belongs to this host", key);
	return 0;
}

int listeners_open(struct listeners *l, const struct settings *s, struct err *e)
{
	int r = listeners_open_kind(s->http, s->http_count, l->http, &l->http_count, "listen.http", e);

	return r < 0 ? r : listeners_open_kind(s->https, s->https_count, l->https, &l->https_count, "listen.https", e);
}

int listeners_open_api(struct listeners *l, const struct settings *s, unsigned gid, struct err *e)
{
	OWN_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char path[160], link[160];

	snprintf(path, sizeof path, "%s/gate/control.sock", s->runtime);
	snprintf(link, sizeof link, "%s/control.sock", s->runtime);
	if (fd < 0)
		return err_errno(e, "cannot make the API's socket");
	if ((size_t)snprintf(a.sun_path, sizeof a.sun_path, "%s.new", path) >= sizeof a.sun_path)
		return err_field(e, ENAMETOOLONG, "node.runtime", "node.runtime: %s is too long for a socket's path",
				 s->runtime);
	unlink(a.sun_path);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || chown(a.sun_path, 0, gid) < 0 ||
	    chmod(a.sun_path, 0660) < 0 || listen(fd, LISTENERS_BACKLOG) < 0 || rename(a.sun_path, path) < 0)
		return err_errno(e, "cannot make the API's socket %s", path);
	unlink(link);
	if (symlink("gate/control.sock", link) < 0)
		return err_errno(e, "cannot make %s", link);
	own_close(&l->api);
	l->api = TAKE_FD(fd);
	return 0;
}

static int listeners_names(int *fd, int type, const struct sockaddr_in *a, struct err *e)
{
	OWN_FD int fresh = -1;
	struct sockaddr_storage want = {0};
	int one = 1;

	memcpy(&want, a, sizeof *a);
	if (*fd >= 0 && listeners_find(fd, 1, &want) >= 0)
		return 0;
	own_close(fd);
	fresh = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fresh < 0)
		return err_errno(e, "cannot make the name server's socket");
	setsockopt(fresh, IPPROTO_IP, IP_FREEBIND, &one, sizeof one);
	if (type == SOCK_STREAM)
		setsockopt(fresh, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fresh, (const struct sockaddr *)a, sizeof *a) < 0 ||
	    (type == SOCK_STREAM && listen(fresh, LISTENERS_BACKLOG) < 0))
		return err_errno(e, "cannot listen on port 53 of the first address of network.pool");
	*fd = TAKE_FD(fresh);
	return 0;
}

int listeners_open_names(struct listeners *l, uint32_t address, struct err *e)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(address)};
	int r = listeners_names(&l->names_udp, SOCK_DGRAM, &a, e);

	return r < 0 ? r : listeners_names(&l->names_tcp, SOCK_STREAM, &a, e);
}
