/* ACME's challenges over plain HTTP (RFC 8555, 8.3).  Layer web, proxy process.
 *
 * The authority asks port 80, and what it gets decides whether a certificate is signed: so these come before redirects,
 * routes and apps, for exactly the host, path and token that control told.  Everything else below the same path is the
 * app's own.  Without open challenges a request costs one comparison. */
#include "web/proxy/internal.h"

#include "base/parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char challenge_path[] = "/.well-known/acme-challenge/";

struct challenge {
	LIST_ENTRY(challenge) link;
	unsigned mark; /* of the last sync that named it */
	struct proxy_msg_challenge m;
};

static bool challenge_text(const char *s, size_t cap, bool dot)
{
	size_t n = strnlen(s, cap);

	return n > 0 && n < cap &&
	       strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == n &&
	       (dot || !memchr(s, '.', n));
}

static struct challenge *challenge_get(struct proxy *p, const struct proxy_msg_challenge *m)
{
	struct challenge *ch;

	LIST_FOREACH(ch, &p->http_challenges, link)
	{
		if (strncmp(ch->m.host, m->host, sizeof m->host) == 0 &&
		    strncmp(ch->m.token, m->token, sizeof m->token) == 0)
			return ch;
	}
	return NULL;
}

static void challenge_free(struct proxy *p, struct challenge *ch)
{
	LIST_REMOVE(ch, link);
	p->http_challenge_count--;
	free(ch);
}

void challenge_put(struct proxy *p, const struct proxy_msg_challenge *m)
{
	struct challenge *ch = challenge_get(p, m);

	if (!challenge_text(m->host, sizeof m->host, true) || !challenge_text(m->token, sizeof m->token, false) ||
	    !challenge_text(m->answer, sizeof m->answer, true))
		return;
	if (!ch) {
		if (p->http_challenge_count >= LIMIT_ACME_CHALLENGES || !(ch = calloc(1, sizeof *ch)))
			return;
		LIST_INSERT_HEAD(&p->http_challenges, ch, link);
		p->http_challenge_count++;
	}
	ch->m = *m;
	ch->mark = p->mark;
}

void challenge_del(struct proxy *p, const struct proxy_msg_challenge *m)
{
	struct challenge *ch = challenge_get(p, m);

	if (ch)
		challenge_free(p, ch);
}

void challenge_sweep(struct proxy *p, bool all)
{
	struct challenge *ch, *next;

	for (ch = LIST_FIRST(&p->http_challenges); ch; ch = next) {
		next = LIST_NEXT(ch, link);
		if (all || ch->mark != p->mark)
			challenge_free(p, ch);
	}
}

bool challenge_answer(struct client *c)
{
	const size_t path = sizeof challenge_path - 1;
	struct proxy *p = c->proxy;
	struct challenge *ch;
	size_t host = 0, n;
	bool close;

	if (c->conn.tls || (c->method != HTTP_METHOD_GET && c->method != HTTP_METHOD_HEAD) || c->target.n <= path ||
	    memcmp(c->target.p, challenge_path, path) != 0)
		return false;
	while (host < c->host.n && c->host.p[host] != ':')
		host++;
	LIST_FOREACH(ch, &p->http_challenges, link)
	{
		if (strlen(ch->m.host) == host && strncasecmp(c->host.p, ch->m.host, host) == 0 &&
		    strlen(ch->m.token) == c->target.n - path &&
		    memcmp(c->target.p + path, ch->m.token, c->target.n - path) == 0)
			break;
	}
	if (!ch)
		return false;
	close = !c->keep_alive || !c->req.done || p->draining;
	c->res.bytes = c->method == HTTP_METHOD_HEAD ? 0 : strlen(ch->m.answer);
	n = (size_t)snprintf(p->wbuf, PBUF_SIZE,
			     "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %zu\r\n"
			     "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n%s\r\n%s",
			     strlen(ch->m.answer),
			     close	 ? "Connection: close\r\n"
			     : c->minor0 ? "Connection: keep-alive\r\n"
					 : "",
			     c->method == HTTP_METHOD_HEAD ? "" : ch->m.answer);
	client_say(c, n, 200, close);
	return true;
}
