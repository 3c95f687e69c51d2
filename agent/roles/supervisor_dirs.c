/* Users and directories of a node.  Layer agent, supervisor process. */
#include "agent/roles/supervisor_private.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int supervisor_user(const char *name, struct passwd *ret, struct err *e)
{
	struct passwd *pw = getpwnam(name);

	if (!pw)
		return err_set(
			e, ENOENT,
			"user %s does not exist: run deploy/bootstrap run, or useradd --system --no-create-home %s",
			name, name);
	*ret = *pw;
	return 0;
}

static int supervisor_dir(struct supervisor *s, const char *path, mode_t mode, uid_t uid, gid_t gid, struct err *e)
{
	size_t missing = fd_mkdirs_missing(path);
	int r = fd_mkdirs(path, 0755);

	if (missing && s->made_count < SUPERVISOR_DIRS) {
		snprintf(s->made[s->made_count].path, sizeof s->made[0].path, "%s", path);
		s->made[s->made_count++].missing = missing;
	}
	if (r < 0)
		return err_set(e, -r, "cannot make directory %s: %s", path, strerror(-r));
	if (chown(path, uid, gid) < 0 || chmod(path, mode) < 0)
		return err_errno(e, "cannot give directory %s its owner", path);
	return 0;
}

int supervisor_dirs(struct supervisor *s, struct err *e)
{
	struct passwd control = {0}, log = {0};
	char path[256], link[256];
	int r;

	if ((r = supervisor_user(s->settings.user, &control, e)) < 0 ||
	    (r = supervisor_user(s->settings.user_log, &log, e)) < 0)
		return r;
	snprintf(path, sizeof path, "%s/control", s->settings.data);
	if ((r = supervisor_dir(s, s->settings.data, 0755, 0, 0, e)) < 0 ||
	    (r = supervisor_dir(s, path, 0700, control.pw_uid, control.pw_gid, e)) < 0)
		return r;
	snprintf(path, sizeof path, "%s/logs", s->settings.data);
	if ((r = supervisor_dir(s, path, 02750, log.pw_uid, control.pw_gid, e)) < 0)
		return r;
	s->logs_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if ((r = supervisor_dir(s, s->settings.runtime, 0755, 0, 0, e)) < 0)
		return r;
	snprintf(path, sizeof path, "%s/gate", s->settings.runtime);
	if ((r = supervisor_dir(s, path, 0755, 0, 0, e)) < 0)
		return r;
	snprintf(path, sizeof path, "%s/void", s->settings.runtime);
	if ((r = supervisor_dir(s, path, 0555, 0, 0, e)) < 0)
		return r;
	snprintf(path, sizeof path, "%s/roles", s->settings.runtime);
	if ((r = supervisor_dir(s, path, 0700, 0, 0, e)) < 0)
		return r;
	s->roles_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Control makes the operator's token in its own directory; root finds it where the manual says. */
	snprintf(link, sizeof link, "%s/operator.token", s->settings.data);
	if (symlink("control/operator.token", link) < 0 && errno != EEXIST)
		return err_errno(e, "cannot make %s", link);
	return s->logs_dir < 0 || s->roles_dir < 0 ? err_errno(e, "cannot open our directories") : 0;
}

void supervisor_undo_dirs(struct supervisor *s)
{
	char path[300], to[64];

	while (s->made_count > 0) {
		const char *dir = s->made[--s->made_count].path;
		/* What we put there ourselves meanwhile. */
		snprintf(path, sizeof path, "%s/control.sock", dir);
		unlink(path);
		fd_mkdirs_undo(dir, s->made[s->made_count].missing);
	}
	/* A link to what was never made. */
	snprintf(path, sizeof path, "%s/operator.token", s->settings.data);
	if (readlink(path, to, sizeof to) > 0 && access(path, F_OK) < 0)
		unlink(path);
}

void supervisor_remove_runtime(struct supervisor *s)
{
	int dir = open(s->settings.runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return;
	fd_remove_tree(dir, "roles");
	fd_remove_tree(dir, "gate");
	fd_remove_tree(dir, "void");
	unlinkat(dir, "control.sock", 0);
	unlinkat(dir, "lock", 0);
	close(dir);
	rmdir(s->settings.runtime); /* stays when it holds anything that is not ours */
}
