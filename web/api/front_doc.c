/* Settings of the front door: reading, changing, telling.  Layer web, control process.  No I/O but the system's random
 * numbers. */
#include "web/api/front_doc.h"

#include "base/json.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define RETRY_DEFAULT 300

/* The numbers of "limits": 0 = none. */
static const struct {
	const char *key;
	uint64_t max;
} limits[] = {
	{"requests_per_second", LIMIT_FRONT_RATE},
	{"burst", LIMIT_FRONT_RATE},
	{"client_requests_per_second", LIMIT_FRONT_RATE},
	{"client_burst", LIMIT_FRONT_RATE},
	{"concurrent", LIMIT_FRONT_RATE},
	{"body_bytes", LIMIT_FRONT_BODY},
	{"seconds", LIMIT_FRONT_SECONDS},
};

json_t *front_doc_read(const char *text)
{
	json_t *doc = text && *text ? json_read(text, strlen(text), FRONT_DOC_MAX, NULL) : json_object();

	if (doc && json_is_object(doc))
		return doc;
	json_decref(doc);
	return NULL;
}

static json_t *doc_or(json_t *obj, const char *key, json_t *other)
{
	json_t *v = json_object_get(obj, key);

	if (!v)
		return other;
	json_decref(other);
	return json_deep_copy(v);
}

static json_t *doc_show_auth(json_t *auth)
{
	json_t *names, *digest;
	const char *name;

	if (!json_is_object(auth))
		return json_null();
	names = json_array();
	json_object_foreach(json_object_get(auth, "users"), name, digest)
		json_array_append_new(names, json_string(name));
	return json_pack("{s:o, s:o}", "realm", doc_or(auth, "realm", json_string("")), "users", names);
}

json_t *front_doc_show(json_t *doc)
{
	json_t *m = json_object_get(doc, "maintenance"), *l = json_object(), *stored = json_object_get(doc, "limits");

	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		json_object_set_new(l, limits[i].key, doc_or(stored, limits[i].key, json_null()));
	return json_pack("{s:{s:o, s:o, s:o, s:o}, s:o, s:o, s:o, s:o}", "maintenance", "on",
			 doc_or(m, "on", json_false()), "text", doc_or(m, "text", json_string("")), "retry_after",
			 doc_or(m, "retry_after", json_integer(RETRY_DEFAULT)), "allow",
			 doc_or(m, "allow", json_array()), "sticky", doc_or(doc, "sticky", json_false()), "auth",
			 doc_show_auth(json_object_get(doc, "auth")), "allow", doc_or(doc, "allow", json_array()),
			 "limits", l);
}

static int doc_key(json_t *doc, uint8_t key[32], struct err *e)
{
	const char *hex = json_string_value(json_object_get(doc, "key"));
	char text[65];

	if (hex && parse_unhex(hex, key, 32) == 0)
		return 0;
	if (getrandom(key, 32, 0) != 32)
		return err_errno(e, "getrandom");
	parse_hex(key, 32, text);
	return json_object_set_new(doc, "key", json_string(text)) < 0 ? err_set(e, ENOMEM, "out of memory") : 0;
}

/* An object below doc, made when it is missing; borrowed. */
static json_t *doc_sub(json_t *doc, const char *key)
{
	json_t *o = json_object_get(doc, key);

	if (json_is_object(o))
		return o;
	json_object_set_new(doc, key, json_object());
	return json_object_get(doc, key);
}

/* A list of networks in their shortest form. */
static int doc_nets(json_t *to, json_t *from, const char *field, struct err *e)
{
	json_t *list, *v;
	size_t i;

	if (!from)
		return 0;
	if (!json_is_array(from))
		return err_field(e, EINVAL, field, "%s: must be a list like [\"203.0.113.0/24\", \"2001:db8::/32\"]",
				 field);
	if (json_array_size(from) > LIMIT_FRONT_NETS)
		return err_field(e, ERANGE, field, "%s: %zu networks are over the limit of %d", field,
				 json_array_size(from), LIMIT_FRONT_NETS);
	list = json_array();
	json_array_foreach(from, i, v)
	{
		const char *s = json_string_value(v);
		struct front_net n;
		char text[FRONT_NET_TEXT], at[48], safe[49];
		snprintf(at, sizeof at, "%s[%zu]", field, i);
		if (!s || front_net_parse(s, &n) < 0) {
			json_decref(list);
			utf8_escape(safe, sizeof safe, s ? s : "", s ? strlen(s) : 0);
			return err_field(e, EINVAL, at,
					 "%s: must be an address or a network like 203.0.113.0/24, with no bits set "
					 "below its prefix, not \"%s\"",
					 at, safe);
		}
		front_net_text(&n, text);
		json_array_append_new(list, json_string(text));
	}
	json_object_set_new(to, "allow", list);
	return 0;
}

/* An error of a member of `outer` is told with both names. */
static int doc_inner(int r, const char *outer, struct err *e)
{
	char field[sizeof e->field], text[sizeof e->text];

	if (r >= 0 || !e || !e->field[0] || strncmp(e->field, outer, strlen(outer)) == 0)
		return r;
	snprintf(field, sizeof field, "%s.%.40s", outer, e->field);
	snprintf(text, sizeof text, "%s.%.340s", outer, e->text);
	return err_field(e, e->code, field, "%s", text);
}

/* Text that a page shows: no controls, but it may hold any other character. */
static int doc_text(json_t *to, json_t *from, const char *key, size_t max, bool quoted, struct err *e)
{
	const char *s = NULL;
	int r = json_get_str(from, key, false, max, &s, e);

	if (r < 0 || !s)
		return r;
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f || (quoted && (*p == '"' || *p == '\\' || *p & 0x80)))
			return err_field(e, EINVAL, key,
					 quoted ? "%s: must be printable ASCII without '\"' and '\\'"
						: "%s: must not hold control characters",
					 key);
	return json_object_set_new(to, key, json_string(s)) < 0 ? err_set(e, ENOMEM, "out of memory") : 0;
}

static int doc_maintenance(json_t *doc, json_t *patch, struct err *e)
{
	static const char *const keys[] = {"on", "text", "retry_after", "allow", NULL};
	json_t *m, *from = NULL;
	uint64_t retry = UINT64_MAX;
	bool on;
	int r = json_get_obj(patch, "maintenance", false, &from, e);

	if (r < 0 || !from)
		return r;
	m = doc_sub(doc, "maintenance");
	on = json_is_true(json_object_get(m, "on"));
	r = json_only(from, keys, e);
	if (r == 0)
		r = json_get_bool(from, "on", false, &on, e);
	if (r == 0)
		r = doc_text(m, from, "text", LIMIT_FRONT_TEXT, false, e);
	if (r == 0)
		r = json_get_u64(from, "retry_after", false, 1, LIMIT_FRONT_RETRY, &retry, e);
	if (r == 0)
		r = doc_nets(m, json_object_get(from, "allow"), "maintenance.allow", e);
	if (r < 0)
		return doc_inner(r, "maintenance", e);
	json_object_set_new(m, "on", json_boolean(on));
	if (retry != UINT64_MAX)
		json_object_set_new(m, "retry_after", json_integer((json_int_t)retry));
	return 0;
}

static int doc_user(json_t *doc, json_t *users, const char *name, json_t *value, struct err *e)
{
	const char *password = json_string_value(value);
	char userpass[LIMIT_FRONT_USER + LIMIT_FRONT_PASSWORD + 2], hex[65];
	uint8_t key[32], mac[32];
	size_t n = strlen(name);
	int r;

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || name[i] == ':')
			n = 0;
	if (n == 0 || n > LIMIT_FRONT_USER)
		return err_field(e, EINVAL, "auth.users",
				 "auth.users: a name has 1 to %d bytes, no ':' and no control characters",
				 LIMIT_FRONT_USER);
	if (json_is_null(value)) {
		if (json_object_del(users, name) < 0)
			return err_field(e, ENOENT, "auth.users", "auth.users: there is no user \"%s\"", name);
		return 0;
	}
	if (!password || strlen(password) < LIMIT_FRONT_PASSWORD_MIN || strlen(password) > LIMIT_FRONT_PASSWORD)
		return err_field(e, EINVAL, "auth.users",
				 "auth.users: the password of \"%s\" must be text of %d to %d bytes", name,
				 LIMIT_FRONT_PASSWORD_MIN, LIMIT_FRONT_PASSWORD);
	r = doc_key(doc, key, e);
	if (r < 0)
		return r;
	n = (size_t)snprintf(userpass, sizeof userpass, "%s:%s", name, password);
	front_user(key, userpass, n, mac);
	explicit_bzero(userpass, sizeof userpass);
	parse_hex(mac, sizeof mac, hex);
	json_object_set_new(users, name, json_string(hex));
	if (json_object_size(users) > LIMIT_FRONT_USERS)
		return err_field(e, EDQUOT, "auth.users", "auth.users: more than %d users", LIMIT_FRONT_USERS);
	return 0;
}

static int doc_auth(json_t *doc, json_t *patch, struct err *e)
{
	static const char *const keys[] = {"realm", "users", NULL};
	json_t *from = NULL, *auth, *users, *list = NULL, *value;
	const char *name;
	int r;

	if (json_is_null(json_object_get(patch, "auth"))) {
		json_object_del(doc, "auth");
		return 0;
	}
	r = json_get_obj(patch, "auth", false, &from, e);
	if (r < 0 || !from)
		return r;
	auth = doc_sub(doc, "auth");
	users = doc_sub(auth, "users");
	r = json_only(from, keys, e);
	if (r == 0)
		r = doc_text(auth, from, "realm", LIMIT_FRONT_REALM, true, e);
	if (r == 0)
		r = json_get_obj(from, "users", false, &list, e);
	if (r < 0)
		return doc_inner(r, "auth", e);
	json_object_foreach(list, name, value)
	{
		r = doc_user(doc, users, name, value, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int doc_limits(json_t *doc, json_t *patch, struct err *e)
{
	const char *keys[ARRAY_LEN(limits) + 1] = {NULL};
	json_t *from = NULL, *to;
	int r = json_get_obj(patch, "limits", false, &from, e);

	if (r < 0 || !from)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		keys[i] = limits[i].key;
	r = json_only(from, keys, e);
	to = doc_sub(doc, "limits");
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(limits); i++) {
		json_t *v = json_object_get(from, limits[i].key);
		uint64_t n = 0;
		if (!v)
			continue;
		if (!json_is_null(v))
			r = strcmp(limits[i].key, "body_bytes") == 0
				    ? json_get_bytes(from, limits[i].key, false, 0, limits[i].max, &n, e)
				    : json_get_u64(from, limits[i].key, false, 0, limits[i].max, &n, e);
		if (r == 0 && n)
			json_object_set_new(to, limits[i].key, json_integer((json_int_t)n));
		else if (r == 0)
			json_object_del(to, limits[i].key);
	}
	return doc_inner(r, "limits", e);
}

int front_doc_patch(json_t *doc, json_t *patch, struct err *e)
{
	static const char *const keys[] = {"maintenance", "sticky", "auth", "allow", "limits", NULL};
	bool sticky = json_is_true(json_object_get(doc, "sticky"));
	uint8_t key[32];
	int r = json_only(patch, keys, e);

	if (r == 0)
		r = doc_key(doc, key, e);
	if (r == 0)
		r = json_get_bool(patch, "sticky", false, &sticky, e);
	if (r == 0)
		r = doc_nets(doc, json_object_get(patch, "allow"), "allow", e);
	if (r == 0)
		r = doc_maintenance(doc, patch, e);
	if (r == 0)
		r = doc_auth(doc, patch, e);
	if (r == 0)
		r = doc_limits(doc, patch, e);
	if (r < 0)
		return r;
	return json_object_set_new(doc, "sticky", json_boolean(sticky)) < 0 ? err_set(e, ENOMEM, "out of memory") : 0;
}

json_t *front_doc_canary(json_t *doc)
{
	return json_object_get(doc, "canary");
}

int front_doc_canary_set(json_t *doc, uint64_t weight, const char *header, uint64_t instances, struct err *e)
{
	size_t name = strcspn(header, "="), value = header[name] ? strlen(header + name + 1) : 0;
	uint8_t key[32];
	int r = doc_key(doc, key, e);
	bool good = name <= LIMIT_FRONT_HEADER && value <= LIMIT_FRONT_HEADER && (name > 0 || header[0] == '\0');

	for (size_t i = 0; i < name; i++)
		good = good && (strchr("!#$%&'*+-.^_`|~", header[i]) || (header[i] >= '0' && header[i] <= '9') ||
				((header[i] | 0x20) >= 'a' && (header[i] | 0x20) <= 'z'));
	for (const char *p = header + name; *p; p++)
		good = good && *p > ' ' && *p < 0x7f;
	if (r == 0 && !good)
		r = err_field(
			e, EINVAL, "header",
			"header: must be a field's name, or NAME=VALUE with up to %d visible ASCII characters each",
			LIMIT_FRONT_HEADER);
	if (r < 0)
		return r;
	return json_object_set_new(doc, "canary",
				   json_pack("{s:I, s:s, s:I}", "weight", (json_int_t)weight, "header", header,
					     "instances", (json_int_t)instances)) < 0
		       ? err_set(e, ENOMEM, "out of memory")
		       : 0;
}

json_t *front_doc_routes(json_t *doc)
{
	return json_object_get(doc, "routes");
}

static size_t doc_route_find(json_t *doc, const char *path)
{
	json_t *route;
	size_t i;

	json_array_foreach(front_doc_routes(doc), i, route)
	{
		const char *p = json_string_value(json_object_get(route, "path"));
		if (p && strcmp(p, path) == 0)
			return i;
	}
	return SIZE_MAX;
}

int front_doc_route_add(json_t *doc, const char *path, int64_t app, bool strip, struct err *e)
{
	uint8_t key[32];
	json_t *list;
	int r = front_path_check(path, "path", e);

	if (r == 0)
		r = doc_key(doc, key, e);
	if (r < 0)
		return r;
	list = front_doc_routes(doc);
	if (doc_route_find(doc, path) != SIZE_MAX) {
		json_t *route = json_array_get(list, doc_route_find(doc, path));

		if (json_integer_value(json_object_get(route, "app")) != app)
			return err_field(e, EEXIST, "path", "path: \"%s\" leads to another app already", path);
		return json_object_set_new(route, "strip", json_boolean(strip)) < 0
			       ? err_set(e, ENOMEM, "out of memory")
			       : 0;
	}
	if (!list)
		json_object_set_new(doc, "routes", json_array());
	list = front_doc_routes(doc);
	if (json_array_size(list) >= LIMIT_FRONT_PATHS)
		return err_field(e, EDQUOT, "path", "path: an app has at most %d routes", LIMIT_FRONT_PATHS);
	r = json_array_append_new(
		list, json_pack("{s:s, s:I, s:b}", "path", path, "app", (json_int_t)app, "strip", strip ? 1 : 0));
	return r < 0 ? err_set(e, ENOMEM, "out of memory") : 0;
}

int front_doc_route_del(json_t *doc, const char *path, struct err *e)
{
	size_t i = doc_route_find(doc, path);

	if (i == SIZE_MAX)
		return err_field(e, ENOENT, "path", "path: there is no such route");
	json_array_remove(front_doc_routes(doc), i);
	return 0;
}

bool front_doc_empty(json_t *doc)
{
	return !json_is_true(json_object_get(json_object_get(doc, "maintenance"), "on")) &&
	       !json_is_true(json_object_get(doc, "sticky")) && !json_is_object(json_object_get(doc, "auth")) &&
	       json_array_size(json_object_get(doc, "allow")) == 0 &&
	       json_object_size(json_object_get(doc, "limits")) == 0 && json_array_size(front_doc_routes(doc)) == 0;
}

static void doc_put_nets(json_t *list, struct buf *out)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		struct front_net n = {.bits = 128};
		front_net_parse(json_string_value(v) ? json_string_value(v) : "", &n);
		buf_add(out, &n, sizeof n);
	}
}

static void doc_put_paths(json_t *list, struct buf *out)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		const char *path = json_string_value(json_object_get(v, "path"));
		struct front_path_head h;
		memset(&h, 0, sizeof h);
		h.app = (uint64_t)json_integer_value(json_object_get(v, "app"));
		h.strip = json_is_true(json_object_get(v, "strip"));
		h.len = (uint8_t)(path ? strlen(path) : 0);
		buf_add(out, &h, sizeof h);
		buf_add(out, path ? path : "", h.len);
	}
}

static uint64_t doc_number(json_t *l, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(l, key));
}

/* A burst that was not said: as much as comes in a second. */
static struct front_rate doc_rate(json_t *l, const char *rate, const char *burst)
{
	struct front_rate r = {(uint32_t)doc_number(l, rate), (uint32_t)doc_number(l, burst)};

	if (r.burst == 0)
		r.burst = r.per_s;
	return r;
}

int front_doc_message(json_t *doc, const struct proxy_msg_front *base, struct buf *out)
{
	json_t *m = json_object_get(doc, "maintenance"), *auth = json_object_get(doc, "auth"),
	       *l = json_object_get(doc, "limits"), *users = json_object_get(auth, "users"), *digest,
	       *allow = json_object_get(doc, "allow"), *pass = json_object_get(m, "allow");
	json_t *canary = front_doc_canary(doc);
	const char *header = json_string_value(json_object_get(canary, "header"));
	const char *realm = json_string_value(json_object_get(auth, "realm")),
		   *text = json_string_value(json_object_get(m, "text")),
		   *key = json_string_value(json_object_get(doc, "key")), *name;
	struct proxy_msg_front msg = *base;

	msg.flags |= (json_is_true(json_object_get(m, "on")) ? FRONT_MAINTENANCE : 0u) |
		     (json_is_true(json_object_get(doc, "sticky")) ? FRONT_STICKY : 0u) |
		     (json_is_object(auth) ? FRONT_AUTH : 0u) | (json_array_size(allow) ? FRONT_ALLOW : 0u);
	msg.retry_s = (uint32_t)doc_number(m, "retry_after");
	if (!msg.retry_s)
		msg.retry_s = RETRY_DEFAULT;
	msg.rate = doc_rate(l, "requests_per_second", "burst");
	msg.client = doc_rate(l, "client_requests_per_second", "client_burst");
	msg.in_flight = (uint32_t)doc_number(l, "concurrent");
	msg.body_max = doc_number(l, "body_bytes");
	msg.time_ms = (uint32_t)doc_number(l, "seconds") * 1000;
	if (key && parse_unhex(key, msg.key, sizeof msg.key) < 0)
		return -EINVAL;
	msg.allow = (uint16_t)json_array_size(allow);
	msg.pass = (uint16_t)json_array_size(pass);
	msg.users = (uint16_t)json_object_size(users);
	msg.paths = (uint16_t)json_array_size(front_doc_routes(doc));
	msg.realm = (uint16_t)(realm ? strlen(realm) : 0);
	msg.text = (uint16_t)(text ? strlen(text) : 0);
	msg.weight = (uint32_t)doc_number(canary, "weight");
	msg.header = (uint16_t)(header ? strcspn(header, "=") : 0);
	msg.value = (uint16_t)(header && header[msg.header] ? strlen(header + msg.header + 1) : 0);
	buf_add(out, &msg, sizeof msg);
	doc_put_nets(allow, out);
	doc_put_nets(pass, out);
	json_object_foreach(users, name, digest)
	{
		uint8_t mac[32] = {0};
		if (!json_is_string(digest) || parse_unhex(json_string_value(digest), mac, sizeof mac) < 0)
			return -EINVAL;
		buf_add(out, mac, sizeof mac);
	}
	doc_put_paths(front_doc_routes(doc), out);
	buf_add(out, realm ? realm : "", msg.realm);
	buf_add(out, text ? text : "", msg.text);
	buf_add(out, header ? header : "", msg.header);
	if (msg.value)
		buf_add(out, header + msg.header + 1, msg.value);
	return out->failed;
}
