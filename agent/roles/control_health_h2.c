/* A health check of an app that speaks HTTP/2 without TLS, on nghttp2.  Layer agent, control process. */
#include "agent/roles/control_health_h2.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEALTH_H2_MAX 32768  /* bytes that an app may say before it has answered */
#define HEALTH_H2_HEAD 32768 /* of heads, uncompressed (RFC 7541 makes thousands of one): as of an HTTP/1.1 head */

struct health_h2 {
	nghttp2_session *ng;
	bool greeted, closed;
	int status;
	size_t got, head;
};

static int health_h2_on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct health_h2 *h = arg;

	(void)ng;
	if (f->hd.type == NGHTTP2_SETTINGS && !(f->hd.flags & NGHTTP2_FLAG_ACK))
		h->greeted = true;
	if (f->hd.type == NGHTTP2_GOAWAY)
		h->closed = true;
	return 0;
}

static int health_h2_on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name, size_t n,
			       const uint8_t *value, size_t len, uint8_t flags, void *arg)
{
	struct health_h2 *h = arg;

	(void)ng;
	(void)f;
	(void)flags;
	h->head += n + len + 32; /* as RFC 9113, 6.5.2 counts them */
	if (h->head > HEALTH_H2_HEAD)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	/* nghttp2 has checked that it is three digits. */
	if (n == 7 && memcmp(name, ":status", 7) == 0 && len == 3)
		h->status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
	return 0;
}

/* What is not of HTTP is ignored, and counts. */
static int health_h2_on_invalid(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name, size_t n,
				const uint8_t *value, size_t len, uint8_t flags, void *arg)
{
	struct health_h2 *h = arg;

	(void)ng;
	(void)f;
	(void)name;
	(void)value;
	(void)flags;
	h->head += n + len + 32;
	return h->head > HEALTH_H2_HEAD ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int health_h2_on_closed(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct health_h2 *h = arg;

	(void)ng;
	(void)id;
	(void)code;
	h->closed = true;
	return 0;
}

static nghttp2_nv health_h2_nv(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
			    NGHTTP2_NV_FLAG_NONE};
}

struct health_h2 *health_h2_new(const char *host, const char *path)
{
	struct health_h2 *h = calloc(1, sizeof *h);
	nghttp2_session_callbacks *cb = NULL;
	bool ok = false;

	if (h && nghttp2_session_callbacks_new(&cb) == 0) {
		nghttp2_session_callbacks_set_on_frame_recv_callback(cb, health_h2_on_frame);
		nghttp2_session_callbacks_set_on_header_callback(cb, health_h2_on_header);
		nghttp2_session_callbacks_set_on_invalid_header_callback(cb, health_h2_on_invalid);
		nghttp2_session_callbacks_set_on_stream_close_callback(cb, health_h2_on_closed);
		ok = nghttp2_session_client_new(&h->ng, cb, h) == 0 &&
		     nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, NULL, 0) == 0;
	}
	if (ok && path) {
		const nghttp2_nv nv[] = {health_h2_nv(":method", "GET"),
					 health_h2_nv(":scheme", "http"),
					 health_h2_nv(":authority", host),
					 health_h2_nv(":path", path),
					 health_h2_nv("user-agent", "tulou-health"),
					 health_h2_nv("accept", "*/*"),
					 health_h2_nv("x-forwarded-proto", "http")};
		ok = nghttp2_submit_request(h->ng, NULL, nv, sizeof nv / sizeof nv[0], NULL, NULL) >= 0;
	}
	nghttp2_session_callbacks_del(cb);
	if (ok)
		return h;
	health_h2_free(h);
	return NULL;
}

void health_h2_free(struct health_h2 *h)
{
	if (h)
		nghttp2_session_del(h->ng);
	free(h);
}

int health_h2_send(struct health_h2 *h, int fd)
{
	const uint8_t *data;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(h->ng, &data)) > 0)
		if (write(fd, data, (size_t)n) != n)
			return -EPIPE; /* some hundred bytes that a fresh socket does not take */
	return n < 0 ? -EPROTO : 0;
}

int health_h2_read(struct health_h2 *h, int fd, bool asked, int *status)
{
	uint8_t buf[4096];
	ssize_t n = read(fd, buf, sizeof buf);
	int r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n > 0) {
		h->got += (size_t)n;
		if (h->got > HEALTH_H2_MAX || nghttp2_session_mem_recv(h->ng, buf, (size_t)n) < 0)
			return -EPROTO;
	}
	*status = h->status;
	if (asked ? h->status >= 200 : h->greeted)
		return 1;
	if (n <= 0 || h->closed)
		return h->greeted ? -ECONNRESET : -EPROTO;
	/* It may wait for the answers to its frames; of broken ones GOAWAY is the answer, and the end. */
	if ((r = health_h2_send(h, fd)) < 0)
		return r;
	return nghttp2_session_want_read(h->ng) ? 0 : -EPROTO;
}
