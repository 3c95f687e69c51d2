/* The operator's certificates.  Layer agent, supervisor process. */
#include "agent/roles/certfiles.h"

#include "agent/roles/messages.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Links are followed: certbot's folders are made of them, and the folder is the operator's. */
static int certfiles_read(int dir, const char *name, mode_t forbidden, char **ret, size_t *n)
{
	OWN_FD int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_mode & forbidden)
		return -EPERM;
	return fd_read_all(fd, LIMIT_CERT_BYTES, ret, n);
}

static int certfiles_pair(struct chan *control, int dir, const char *crt, const char *stem)
{
	struct msg_cert_file m = {.chain_len = 0};
	OWN_FREE char *chain = NULL, *key = NULL, *both = NULL;
	OWN_FD int fd = -1;
	char name[80];
	size_t chain_len = 0, key_len = 0;
	int r;

	snprintf(name, sizeof name, "%s.key", stem);
	r = certfiles_read(dir, crt, 0, &chain, &chain_len);
	if (r == 0)
		r = certfiles_read(dir, name, S_IROTH | S_IWOTH | S_IWGRP, &key, &key_len);
	if (r < 0 || !chain || !key)
		return r < 0 ? r : -EINVAL;
	both = malloc(chain_len + key_len + 1);
	if (!both)
		return -ENOMEM;
	memcpy(both, chain, chain_len);
	both[chain_len] = '\n';
	memcpy(both + chain_len + 1, key, key_len);
	m.chain_len = (uint32_t)chain_len + 1;
	m.key_len = (uint32_t)key_len;
	snprintf(m.name, sizeof m.name, "%s", stem);
	fd = fd_memfd_sealed("tulou-certificate", both, chain_len + 1 + key_len);
	explicit_bzero(both, chain_len + 1 + key_len);
	explicit_bzero(key, key_len);
	return fd < 0 ? fd : chan_send(control, MSG_CERT_FILE, &m, sizeof m, &fd, 1);
}

void certfiles_send(struct chan *control, const char *dir)
{
	OWN_FD int at = *dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	struct dirent *entry;
	struct stat st;
	unsigned n = 0;
	DIR *d = NULL;
	int copy;

	if (!*dir)
		return;
	if (at < 0 || fstat(at, &st) < 0) {
		LOG_WARN("certificates not read", "folder=%s error=\"%s\"", dir, strerror(errno));
		return;
	}
	if (st.st_mode & (S_IWGRP | S_IWOTH)) {
		LOG_WARN("certificates not read", "folder=%s error=\"others may write there\"", dir);
		return;
	}
	copy = fcntl(at, F_DUPFD_CLOEXEC, 3);
	if (copy < 0 || !(d = fdopendir(copy))) {
		own_close(&copy);
		return;
	}
	while ((entry = readdir(d)) && n < LIMIT_CERTS_NODE - 1) {
		size_t len = strlen(entry->d_name);
		char stem[64];
		int r;
		if (len < 5 || len - 4 >= sizeof stem || strcmp(entry->d_name + len - 4, ".crt") != 0)
			continue;
		memcpy(stem, entry->d_name, len - 4);
		stem[len - 4] = '\0';
		/* It is logged: nothing in it needs quoting. */
		if (stem[strspn(stem, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")])
			continue;
		r = certfiles_pair(control, at, entry->d_name, stem);
		if (r < 0)
			LOG_WARN("certificate left out", "folder=%s name=%s error=\"%s\"", dir, stem,
				 r == -EPERM ? "others may read or write its key" : strerror(-r));
		else
			n++;
	}
	closedir(d);
}
