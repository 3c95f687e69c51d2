/* Who owns an abstract socket that cannot be asked.  Layer agent, supervisor process. */
#include "agent/supervise/names_diag.h"

#include "base/own.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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
		.u = {.sdiag_family = AF_UNIX,
		      .udiag_states = 1u << TCP_LISTEN,
		      .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_UID},
	};

	return send(fd, &req, sizeof req, 0) < 0 ? -errno : 0;
}

/* One socket of the answer: 0 when it is the one, -ENOENT when not, -EOPNOTSUPP when its owner is not said. */
static int diag_one(const struct nlmsghdr *h, const char *name, size_t len, uid_t *ret)
{
	const struct rtattr *a =
		(const struct rtattr *)((const char *)NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(struct unix_diag_msg)));
	int left = (int)h->nlmsg_len - (int)NLMSG_SPACE(sizeof(struct unix_diag_msg));
	bool named = false, owned = false;
	uid_t uid = 0;

	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		const char *data = RTA_DATA(a);
		size_t n = RTA_PAYLOAD(a);
		/* An abstract name begins with a zero byte and ends where its length says. */
		if (a->rta_type == UNIX_DIAG_NAME)
			named = n == len + 1 && data[0] == 0 && memcmp(data + 1, name, len) == 0;
		if (a->rta_type == UNIX_DIAG_UID && n == sizeof uid) {
			memcpy(&uid, data, sizeof uid);
			owned = true;
		}
	}
	if (!named)
		return -ENOENT;
	*ret = uid;
	return owned ? 0 : -EOPNOTSUPP;
}

int names_diag_uid(const char *name, uid_t *ret)
{
	OWN_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	_Alignas(struct nlmsghdr) char buf[DIAG_READ];
	size_t len = strlen(name);
	int r = fd < 0 ? -errno : diag_ask(fd);

	while (r == 0) {
		ssize_t n = recv(fd, buf, sizeof buf, 0);
		if (n < 0)
			return -errno;
		for (const struct nlmsghdr *h = (const struct nlmsghdr *)buf; NLMSG_OK(h, (size_t)n);
		     h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return -ENOENT;
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
			r = h->nlmsg_len < NLMSG_SPACE(sizeof(struct unix_diag_msg)) ? -ENOENT
										     : diag_one(h, name, len, ret);
			if (r != -ENOENT)
				return r;
		}
		r = 0;
	}
	return r;
}
