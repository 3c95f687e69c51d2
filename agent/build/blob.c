/* The blob of a launch: argv and environment, sealed in memory.  Layer agent, control process. */
#include "agent/build/blob.h"

#include "base/fd.h"
#include "base/json.h"
#include "config/limits.h"

#include <errno.h>
#include <string.h>

void blob_init(struct blob *b)
{
	*b = (struct blob){0};
	buf_init(&b->args, LIMIT_BLOB);
	buf_init(&b->env, LIMIT_BLOB);
}

void blob_done(struct blob *b)
{
	buf_done(&b->args);
	buf_done(&b->env);
}

void blob_arg(struct blob *b, const char *arg)
{
	if (buf_add(&b->args, arg, strlen(arg) + 1) == 0)
		b->argc++;
}

void blob_argf(struct blob *b, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	blob_arg(b, text);
}

void blob_command(struct blob *b, const char *command, bool profile)
{
	char text[LIMIT_COMMAND + 128];

	blob_arg(b, "/bin/bash");
	blob_arg(b, "-c");
	/* Without a profile the command is the whole script: bash then replaces itself by a simple command. */
	if (profile)
		snprintf(text, sizeof text, "for f in /app/.profile.d/*.sh; do [ -r \"$f\" ] && . \"$f\"; done; %s",
			 command);
	else
		snprintf(text, sizeof text, "%s", command);
	blob_arg(b, text);
}

static void blob_variable(struct blob *b, const char *prefix, const char *key, const char *value)
{
	buf_adds(&b->env, prefix);
	buf_adds(&b->env, key);
	buf_adds(&b->env, "=");
	if (buf_add(&b->env, value, strlen(value) + 1) == 0)
		b->envc++;
}

void blob_env(struct blob *b, const char *key, const char *value)
{
	blob_variable(b, "", key, value);
}

void blob_envf(struct blob *b, const char *key, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	blob_variable(b, "", key, text);
}

static bool blob_name_ok(const char *key)
{
	if (!*key || strlen(key) > LIMIT_CONFIG_KEY || (*key >= '0' && *key <= '9'))
		return false;
	return key[strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")] == 0;
}

void blob_config(struct blob *b, const char *prefix, const char *json)
{
	OWN_JSON json_t *obj = json ? json_read(json, strlen(json), 4u * LIMIT_CONFIG_TOTAL, NULL) : NULL;
	const char *key;
	json_t *value;

	json_object_foreach(obj, key, value)
	{
		if (json_is_string(value) && blob_name_ok(key) &&
		    strlen(json_string_value(value)) == json_string_length(value))
			blob_variable(b, prefix, key, json_string_value(value));
	}
}

int blob_seal(struct blob *b, struct err *e)
{
	struct buf all;
	uint32_t head[2] = {b->argc, b->envc};
	int r = b->args.failed ? b->args.failed : b->env.failed;

	buf_init(&all, LIMIT_BLOB);
	if (r == 0)
		r = buf_add(&all, head, sizeof head);
	if (r == 0)
		r = buf_add(&all, b->args.data, b->args.len);
	if (r == 0 && b->env.len)
		r = buf_add(&all, b->env.data, b->env.len);
	if (r == -ENOSPC)
		r = err_set(e, E2BIG, "command and config vars together are larger than %u KiB", LIMIT_BLOB >> 10);
	else if (r == 0)
		r = fd_memfd_sealed("launch", all.data, all.len);
	if (r < 0 && r != -E2BIG)
		r = err_set(e, -r, "cannot prepare the launch: %s", strerror(-r));
	buf_done(&all);
	return r;
}
