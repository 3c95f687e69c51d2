/* A health check of an app that speaks HTTP/2 without TLS (RFC 9113, 3.3): SETTINGS both ways, and maybe a GET.
 * Layer agent, control process. */
#ifndef TULOU_AGENT_ROLES_CONTROL_HEALTH_H2_H
#define TULOU_AGENT_ROLES_CONTROL_HEALTH_H2_H

#include <stdbool.h>

struct health_h2;

/* path NULL: nothing is asked for.  NULL without memory. */
struct health_h2 *health_h2_new(const char *host, const char *path);
void health_h2_free(struct health_h2 *h);
/* Writes what is to be said to a socket that just connected; 0, or -EPIPE when it is not taken. */
int health_h2_send(struct health_h2 *h, int fd);
/* Reads once.  0: wait for more.  1: the app's SETTINGS came, or the answer when one was asked for; *status is its.
 * -EPROTO: what came is not HTTP/2, or too much; -ECONNRESET, -EPIPE: it ended without an answer. */
int health_h2_read(struct health_h2 *h, int fd, bool asked, int *status);

#endif
