/* The abstract names that are bound, and by whom.  Layer agent, supervisor process. */
#include "agent/supervise/names_diag.h"

#include "base/own.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DIAG_NAME 109	/* sun_path and an end (unix(7)) */
#define DIAG_READ 32768 /* what the kernel fills at a time, at most (netlink(7)) */

static int diag_ask(int fd)
{
	struct {
		struct nlmsghdr h;
		struct unix_diag_req u;
	} req = {
		.h = {.nlmsg_len = sizeof req,
		      .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.u = {.sdiag_family = AF_UNIX, .udiag_states = ~0u, .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_UID},
	};

	return send(fd, &req, sizeof req, 0) < 0 ? -errno : 0;
}

/* A socket's name in text, and its owner; false when it is none of those asked for. */
static bool diag_named(const struct nlmsghdr *h, const char *begins, char text[DIAG_NAME], uid_t *uid, bool *owned)
{
	const struct rtattr *a =
		(const struct rtattr *)((const char *)NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(struct unix_diag_msg)));
	int left = (int)h->nlmsg_len - (int)NLMSG_SPACE(sizeof(struct unix_diag_msg));
	bool named = false;

	*owned = false;
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		const char *data = RTA_DATA(a);
		size_t n = RTA_PAYLOAD(a);
		/* An abstract name begins with a zero byte and ends where its length says. */
		if (a->rta_type == UNIX_DIAG_NAME && n > 1 && n <= DIAG_NAME && data[0] == 0 &&
		    !memchr(data + 1, 0, n - 1)) {
			memcpy(text, data + 1, n - 1);
			text[n - 1] = 0;
			named = strncmp(text, begins, strlen(begins)) == 0;
		}
		if (a->rta_type == UNIX_DIAG_UID && n == sizeof *uid) {
			memcpy(uid, data, sizeof *uid);
			*owned = true;
		}
	}
	return named;
}

int names_diag_each(const char *begins, bool (*fn)(void *arg, const char *name, uid_t uid), void *arg)
{
	OWN_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	_Alignas(struct nlmsghdr) char buf[DIAG_READ];
	char text[DIAG_NAME];
	uid_t uid = 0;
	int r = fd < 0 ? -errno : diag_ask(fd);

	if (r < 0)
		return r;
	for (;;) {
		ssize_t n = recv(fd, buf, sizeof buf, 0);
		if (n <= 0)
			return n < 0 ? -errno : -EPROTO;
		for (const struct nlmsghdr *h = (const struct nlmsghdr *)buf; NLMSG_OK(h, (size_t)n);
		     h = NLMSG_NEXT(h, n)) {
			bool owned;
			if (h->nlmsg_type == NLMSG_DONE)
				return 0;
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (h->nlmsg_len < NLMSG_SPACE(sizeof(struct unix_diag_msg)) ||
			    !diag_named(h, begins, text, &uid, &owned))
				continue;
			if (!owned)
				return -EOPNOTSUPP;
			if (!fn(arg, text, uid))
				return 0;
		}
	}
}
