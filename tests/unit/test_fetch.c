/* Which addresses a tenant's URL may lead to, and what the fetcher refuses. */
#include "agent/fetch/address.h"
#include "agent/fetch/fetch.h"
#include "base/own.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static bool public4(const char *text)
{
	struct sockaddr_in a = {.sin_family = AF_INET};

	cr_assert_eq(inet_pton(AF_INET, text, &a.sin_addr), 1, "%s", text);
	return fetch_address_public((struct sockaddr *)&a);
}

static bool public6(const char *text)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6};

	cr_assert_eq(inet_pton(AF_INET6, text, &a.sin6_addr), 1, "%s", text);
	return fetch_address_public((struct sockaddr *)&a);
}

Test(fetch, only_public_addresses)
{
	static const char *const closed4[] = {
		"0.0.0.0",	   "10.1.2.3",	  "100.64.0.1", "100.127.255.255", "127.0.0.1",
		"169.254.169.254", "172.16.0.1",  "172.31.9.9", "192.0.0.8",	   "192.0.2.1",
		"192.88.99.1",	   "192.168.0.1", "198.18.0.1", "198.19.1.1",	   "198.51.100.1",
		"203.0.113.9",	   "224.0.0.1",	  "240.0.0.1",	"255.255.255.255",
	};
	static const char *const open4[] = {"1.1.1.1",	   "9.255.255.255", "11.0.0.1",	   "100.63.255.255",
					    "100.128.0.1", "172.15.0.1",    "172.32.0.1",  "192.0.1.1",
					    "198.20.0.1",  "223.255.255.1", "169.253.1.1", "8.8.8.8"};
	static const char *const closed6[] = {"::",	   "::1",	  "::ffff:8.8.8.8", "64:ff9b::808:808",
					      "fe80::1",   "fc00::1",	  "fd12::1",	    "ff02::1",
					      "2002:a::1", "2001:0:1::1", "2001:db8::1",    "100::1",
					      "3fff::1",   "4000::1",	  "2001:20::1"};
	static const char *const open6[] = {"2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "2003::1"};

	for (size_t i = 0; i < ARRAY_LEN(closed4); i++)
		cr_assert_not(public4(closed4[i]), "%s", closed4[i]);
	for (size_t i = 0; i < ARRAY_LEN(open4); i++)
		cr_assert(public4(open4[i]), "%s", open4[i]);
	for (size_t i = 0; i < ARRAY_LEN(closed6); i++)
		cr_assert_not(public6(closed6[i]), "%s", closed6[i]);
	for (size_t i = 0; i < ARRAY_LEN(open6); i++)
		cr_assert(public6(open6[i]), "%s", open6[i]);
}

Test(fetch, own_addresses_are_known)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr = {htonl(INADDR_LOOPBACK)}};

	cr_assert(fetch_address_ours((struct sockaddr *)&a));
	inet_pton(AF_INET, "192.0.2.7", &a.sin_addr);
	cr_assert_not(fetch_address_ours((struct sockaddr *)&a));
}

/* --- a server of two lines on loopback ------------------------------------------------------------------------ */

struct asked {
	struct loop *loop;
	struct fetch *fetch;
	unsigned answers;
	struct fetch_answer a;
	char body[256];
	struct loop_timer late;
	const char *reply;
	struct loop_io accept, read;
	int listener, client;
	char got[2048];
	size_t got_len;
};

static void on_answer(void *arg, const struct fetch_answer *a, const void *body)
{
	struct asked *k = arg;

	k->answers++;
	k->a = *a;
	k->body[0] = '\0';
	if (body)
		snprintf(k->body, sizeof k->body, "%.*s", (int)a->len, (const char *)body);
	loop_stop(k->loop);
}

static void on_late(void *arg)
{
	loop_stop(((struct asked *)arg)->loop);
}

static void on_read(void *arg, short what)
{
	struct asked *k = arg;
	ssize_t n = recv(k->client, k->got + k->got_len, sizeof k->got - 1 - k->got_len, 0);

	(void)what;
	k->got_len += n > 0 ? (size_t)n : 0;
	k->got[k->got_len] = '\0';
	if (n > 0 && !strstr(k->got, "\r\n\r\n"))
		return;
	if (n > 0)
		cr_assert(send(k->client, k->reply, strlen(k->reply), MSG_NOSIGNAL) > 0);
	loop_io_stop(&k->read);
	close(k->client);
}

static void on_accept(void *arg, short what)
{
	struct asked *k = arg;

	(void)what;
	k->client = accept(k->listener, NULL, NULL);
	loop_io_start(k->loop, &k->read, k->client, EV_READ, on_read, k);
}

static unsigned start(struct asked *k)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof a;
	struct err e = {0};

	k->loop = loop_new();
	k->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(bind(k->listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(k->listener, 5) == 0);
	getsockname(k->listener, (struct sockaddr *)&a, &len);
	loop_io_start(k->loop, &k->accept, k->listener, EV_READ, on_accept, k);
	cr_assert_eq(fetch_new(k->loop, strdup("\n"), 1, NULL, 0, on_answer, k, &k->fetch, &e), 0, "%s", e.text);
	return ntohs(a.sin_port);
}

static const struct fetch_answer *ask(struct asked *k, uint32_t flags, const char *url)
{
	struct fetch_ask q = {.id = 7, .method = FETCH_GET, .flags = flags, .timeout_ms = 5000};
	unsigned before = k->answers;

	snprintf(q.url, sizeof q.url, "%s", url);
	k->got_len = 0;
	loop_timer_start(k->loop, &k->late, 8000000, on_late, k);
	fetch_ask(k->fetch, &q, sizeof q);
	if (k->answers == before)
		loop_run(k->loop);
	cr_assert_eq(k->answers, before + 1, "%s", url);
	cr_assert_eq(k->a.id, 7);
	return &k->a;
}

static void stop(struct asked *k)
{
	loop_timer_stop(&k->late);
	loop_io_stop(&k->accept);
	close(k->listener);
	fetch_free(k->fetch);
	loop_free(k->loop);
}

Test(fetch, asks_and_refuses)
{
	struct asked k = {.reply = "HTTP/1.1 503 Wait\r\nReplay-Nonce: abc_1\r\nLOCATION:  https://ca.test/o/1 \r\n"
				   "Retry-After: 17\r\nContent-Length: 5\r\n\r\nhello"};
	unsigned port = start(&k);
	char url[128];

	snprintf(url, sizeof url, "http://127.0.0.1:%u/x", port);
	ask(&k, FETCH_PLAIN, url);
	cr_assert_eq(k.a.status, 503, "%s", k.a.error);
	cr_assert_str_eq(k.a.nonce, "abc_1");
	cr_assert_str_eq(k.a.location, "https://ca.test/o/1");
	cr_assert_eq(k.a.retry_after_s, 17);
	cr_assert_str_eq(k.body, "hello");
	cr_assert_not_null(strstr(k.got, "User-Agent: Tulou/"));
	/* By a name too: /etc/hosts is known. */
	snprintf(url, sizeof url, "http://localhost:%u/x", port);
	cr_assert_eq(ask(&k, FETCH_PLAIN, url)->status, 503, "%s", k.a.error);
	/* What a tenant's URL may not reach. */
	cr_assert_eq(ask(&k, FETCH_PLAIN | FETCH_PUBLIC, url)->status, 0);
	cr_assert_not_null(strstr(k.a.error, "public"), "%s", k.a.error);
	snprintf(url, sizeof url, "http://127.0.0.1:%u/x", port);
	cr_assert_eq(ask(&k, FETCH_PLAIN | FETCH_PUBLIC, url)->status, 0);
	cr_assert_not_null(strstr(k.a.error, "public"), "%s", k.a.error);
	snprintf(url, sizeof url, "http://[::ffff:127.0.0.1]:%u/x", port);
	cr_assert_eq(ask(&k, FETCH_PLAIN | FETCH_PUBLIC, url)->status, 0);
	cr_assert_eq(k.got_len, 0, "it was asked");
	/* Other schemes. */
	cr_assert_eq(ask(&k, 0, url)->status, 0);
	cr_assert_not_null(strstr(k.a.error, "https"), "%s", k.a.error);
	cr_assert_eq(ask(&k, FETCH_PLAIN, "file:///etc/passwd")->status, 0);
	cr_assert_eq(ask(&k, FETCH_PLAIN, "gopher://127.0.0.1/")->status, 0);
	cr_assert_eq(ask(&k, FETCH_PLAIN, "http://a:b@127.0.0.1/")->status, 0);
	cr_assert_eq(ask(&k, FETCH_PLAIN, "")->status, 0);
	/* A redirect is an answer. */
	k.reply = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
	snprintf(url, sizeof url, "http://127.0.0.1:%u/x", port);
	cr_assert_eq(ask(&k, FETCH_PLAIN, url)->status, 302);
	k.reply = "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n";
	cr_assert_eq(ask(&k, FETCH_PLAIN, url)->status, 0);
	k.reply = "nonsense\r\n\r\n";
	cr_assert_eq(ask(&k, FETCH_PLAIN, url)->status, 0);
	stop(&k);
}
