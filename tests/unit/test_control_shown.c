/* What is shown of instances: the sick told from the well, whose place one takes, what is told once. */
#include "tests/unit/control_fake.h"

#include "base/own.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB (1ull << 20)

static struct fake f;
static int64_t app;

struct seen {
	const char *kind;
	unsigned n;
	char text[384];
};

static int see(void *arg, const struct model_event *ev)
{
	struct seen *s = arg;

	if (strcmp(ev->kind, s->kind) == 0) {
		s->n++;
		memcpy(s->text, ev->text, sizeof s->text); /* the newest comes last */
	}
	return 0;
}

static struct seen events(const char *kind)
{
	struct seen s = {.kind = kind};

	store_event_list(f.control->store, 0, 0, 0, 1000, see, &s, NULL);
	return s;
}

static bool two_up(struct fake *x)
{
	return x->up == 2;
}

static void set_web(unsigned n)
{
	cr_assert_eq(store_formation_set(f.control->store, app, "web", n, NULL), 0);
	f.control->ops.app_changed(f.control, app);
}

static void set_memory(uint64_t bytes)
{
	struct model_tenant t;

	cr_assert_eq(store_tenant_find(f.control->store, "acme", &t, NULL), 0);
	t.quota.memory = bytes;
	cr_assert_eq(store_tenant_set(f.control->store, &t, NULL, NULL), 0);
	f.control->ops.tenant_changed(f.control, t.id);
}

/* Two web instances of the first release run. */
static void begin(void)
{
	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app));
	set_web(2);
	cr_assert(fake_until(&f, two_up, 5000));
	fake_run(&f, 50);
}

static struct control_instance *newest(void)
{
	struct fake_instance *i = fake_newest(&f, app);
	int64_t id = i ? (int64_t)i->launch.instance : 0;

	return map_get(f.control->instances, &id, sizeof id);
}

static const char *stat_text(const char *key)
{
	static char text[512];
	json_t *stats = f.control->ops.app_stats(f.control, app), *v = json_object_get(stats, key);

	if (json_is_integer(v))
		snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
	else
		snprintf(text, sizeof text, "%s", json_is_string(v) ? json_string_value(v) : "null");
	json_decref(stats);
	return text;
}

static bool two_well(struct fake *x)
{
	(void)x;
	return strcmp(stat_text("state"), "running") == 0 && strcmp(stat_text("instances_healthy"), "2") == 0;
}

static int64_t before_id;

static bool one_newer(struct fake *x)
{
	struct control_instance *ci = newest();

	return x->up == 2 && ci && ci->rec.id > before_id && ci->routed && fake_alive(x, app) == 2;
}

Test(control_shown, a_sick_one_that_cannot_be_replaced_is_not_called_well)
{
	begin();
	cr_assert_str_eq(stat_text("state"), "running");
	cr_assert_str_eq(stat_text("instances_healthy"), "2");
	set_memory(128 * MIB);
	control_instance_healthy(newest(), false, "nothing accepts connections on port 8080");
	fake_run(&f, 100);
	cr_assert_str_eq(stat_text("state"), "degraded");
	cr_assert_str_eq(stat_text("instances_running"), "2");
	cr_assert_str_eq(stat_text("instances_healthy"), "1");
	cr_assert(strstr(stat_text("waiting"),
			 "1 unhealthy instance cannot be replaced: tenant acme: memory quota 128 MiB"),
		  "%s", stat_text("waiting"));
	/* With room it is replaced. */
	set_memory(512 * MIB);
	cr_assert_str_eq(stat_text("waiting"), "null");
	cr_assert(fake_until(&f, two_well, 10000));
	fake_stop(&f);
}

Test(control_shown, a_refusal_that_goes_on_is_told_once)
{
	begin();
	set_memory(128 * MIB);
	control_instance_healthy(newest(), false, "nothing accepts connections on port 8080");
	fake_run(&f, 5000); /* tried again every 2 s */
	cr_assert_eq(events("instance.refused").n, 1, "%u", events("instance.refused").n);
	cr_assert(strstr(events("instance.refused").text, "memory quota 128 MiB"), "%s",
		  events("instance.refused").text);
	fake_stop(&f);
}

static bool three_up(struct fake *x)
{
	return x->up == 3;
}

Test(control_shown, a_canary_that_is_refused_is_told_once)
{
	struct model_app row;

	begin();
	cr_assert_eq(store_app_get(f.control->store, app, &row, NULL), 0);
	row.canary = MODEL_CANARY_NEXT;
	cr_assert_eq(store_app_update(f.control->store, &row, NULL), 0);
	f.control->ops.app_changed(f.control, app);
	cr_assert(fake_deploy(&f, app));
	cr_assert(fake_until(&f, three_up, 5000));
	set_memory(128 * MIB);
	fake_exit(&f, fake_newest(&f, app), MSG_EXIT_CODE, 1);
	fake_run(&f, 6000);
	cr_assert_eq(events("instance.refused").n, 1, "%u", events("instance.refused").n);
	fake_stop(&f);
}

/* REASON of the newest instance. */
static const char *reason_of_newest(void)
{
	static char text[512];
	json_t *arr = json_array();

	f.control->ops.instances(f.control, app, arr);
	snprintf(text, sizeof text, "%s",
		 json_string_value(json_object_get(json_array_get(arr, json_array_size(arr) - 1), "reason")));
	json_decref(arr);
	return text;
}

Test(control_shown, each_takes_the_place_of_the_one_before_it)
{
	struct control_instance *sick, *next;
	struct err e = {0};

	begin();
	sick = newest();
	control_instance_healthy(sick, false, "nothing accepts connections on port 8080");
	before_id = sick->rec.id;
	cr_assert(fake_until(&f, one_newer, 8000)); /* its replacement serves, and it is gone */
	next = newest();
	cr_assert_neq(next, sick);
	cr_assert_str_eq(reason_of_newest(), "the one before was stopped: it no longer answered its health check");
	cr_assert_eq(next->restarts, 1);
	/* Not that one again: the owner stopped the one before the next. */
	cr_assert_eq(f.control->ops.instance_stop(f.control, app, next->rec.id, &e), 0);
	before_id = next->rec.id;
	cr_assert(fake_until(&f, one_newer, 8000));
	cr_assert_str_eq(reason_of_newest(), "the one before was stopped: its owner stopped it");
	cr_assert_eq(newest()->restarts, 1);
	/* One more has none before it. */
	set_web(3);
	cr_assert(fake_until(&f, three_up, 5000));
	cr_assert_str_eq(reason_of_newest(), "");
	fake_stop(&f);
}

/* What has been asked is answered; the bare connections of running instances are closed. */
static void answer_404(void)
{
	static const char text[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
	static int open[32];
	static unsigned count;
	char sink[1024];
	int fd;

	while (count < ARRAY_LEN(open) && (fd = accept4(f.listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		open[count++] = fd;
	for (unsigned i = 0; i < count; i++) {
		ssize_t n = read(open[i], sink, sizeof sink);

		if (n < 0)
			continue;
		if (n > 0)
			cr_assert_gt(write(open[i], text, sizeof text - 1), 0);
		close(open[i]);
		open[i--] = open[--count];
	}
}

static bool three_launched(struct fake *x)
{
	return x->launches == 3;
}

Test(control_shown, one_that_listened_is_not_said_not_to)
{
	struct model_app row;
	struct control_instance *ci;
	int64_t first;

	begin();
	cr_assert_eq(fcntl(f.listen_fd, F_SETFL, O_NONBLOCK), 0);
	cr_assert_eq(store_app_get(f.control->store, app, &row, NULL), 0);
	snprintf(row.health_path, sizeof row.health_path, "/healthz");
	cr_assert_eq(store_app_update(f.control->store, &row, NULL), 0);
	f.control->ops.app_changed(f.control, app);
	set_web(3);
	cr_assert(fake_until(&f, three_launched, 5000));
	ci = newest();
	first = ci->rec.id;
	for (unsigned i = 0; i < 2000 && map_get(f.control->instances, &first, sizeof first); i++) {
		answer_404();
		fake_run(&f, 5);
	}
	cr_assert(strstr(events("instance.unhealthy").text, "web listens, but is not ready after"), "%s",
		  events("instance.unhealthy").text);
	for (unsigned i = 0; i < 2000 && (!newest() || newest()->rec.id <= first); i++)
		fake_run(&f, 5);
	cr_assert_gt(newest()->rec.id, first);
	cr_assert(strstr(newest()->before, "web listens, but is not ready after 0 s: GET /healthz was answered 404"),
		  "%s", newest()->before);
	fake_stop(&f);
}

Test(control_shown, a_deploy_that_only_loopback_reaches_fails_early, .timeout = 60)
{
	char text[200];
	int64_t start;

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	f.control->settings.health_ms = 30000;
	/* 127.77.0.1 is listened on; control is told 127.77.0.2, which refuses. */
	f.next_app = FAKE_APP_DEAF;
	f.pid = getpid();
	control_proc_listeners(f.pid, text, sizeof text);
	if (!*text)
		cr_skip_test("this host has more sockets than are looked at");
	start = control_now_ms();
	fake_deploy_start(&f, app);
	while (!f.done && control_now_ms() - start < 20000)
		fake_run(&f, 100);
	cr_assert(f.done);
	cr_assert_geq(control_now_ms() - start, LIMIT_HEALTH_LOCAL_MS, "some bind loopback first");
	cr_assert(strstr(f.error, "web listens on $PORT on 127.0.0.1 only"), "%s", f.error);
	fake_stop(&f);
}
