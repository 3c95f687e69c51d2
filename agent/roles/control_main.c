/* The control role's way from root into control_main().  Layer agent, control process. */
#include "agent/roles/control.h"
#include "agent/roles/messages.h"
#include "agent/roles/role.h"
#include "base/chan.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/fd.h"

#include <signal.h>
#include <string.h>

int role_control_main(void)
{
	struct err e = {0};
	int fds[FD_PASS_MAX];
	size_t nfds = 0;
	struct loop *loop;
	const struct msg_init_control *init =
		role_begin(MSG_INIT_CONTROL, msg_rules_control, msg_rules_control_count, fds, &nfds);

	if (!init)
		return 1;
	if (role_confine(ROLE_CONTROL, init->settings.user, NULL, &e) < 0) {
		LOG_ERROR("start failed", "reason=\"%s\"", e.text);
		return 1;
	}
	loop = loop_new();
	if (!loop) {
		LOG_ERROR("start failed", "reason=\"out of memory or descriptors\"");
		return 1;
	}
	return control_main(loop, ROLE_CHANNEL_FD, init, fds[0], fds[1]);
}
