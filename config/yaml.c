/* YAML as a JSON tree, by libyaml's events.  Layer config, supervisor and control. */
#include "config/yaml.h"

#include "base/json.h"
#include "base/own.h"
#include "base/utf8.h"

#include <errno.h>
#include <string.h>
#include <yaml.h>

#define YAML_DEPTH 16
#define YAML_NODES 4096

struct yaml_tree {
	json_t *root;		   /* owned */
	json_t *stack[YAML_DEPTH]; /* open collections, borrowed from root */
	char *key[YAML_DEPTH];	   /* owned: the key waiting for its value in an open mapping */
	unsigned depth, nodes;
};

static void yaml_tree_done(struct yaml_tree *t)
{
	json_decref(t->root);
	for (unsigned i = 0; i < YAML_DEPTH; i++)
		free(t->key[i]);
}

static int yaml_fail(const yaml_mark_t *at, struct err *e, const char *why)
{
	return err_set(e, EINVAL, "line %zu, column %zu: %s", at->line + 1, at->column + 1, why);
}

/* Hangs value (a reference that is given away) where the tree is open. */
static int yaml_put(struct yaml_tree *t, json_t *value, const yaml_mark_t *at, struct err *e)
{
	unsigned top = t->depth - 1;

	if (!value)
		return err_set(e, ENOMEM, "out of memory");
	if (++t->nodes > YAML_NODES) {
		json_decref(value);
		return yaml_fail(at, e, "too many values");
	}
	if (t->depth == 0) {
		t->root = value;
		return 0;
	}
	if (json_is_array(t->stack[top]))
		return json_array_append_new(t->stack[top], value) < 0 ? err_set(e, ENOMEM, "out of memory") : 0;
	if (!t->key[top]) {
		json_decref(value);
		return yaml_fail(at, e, "a key must be plain text");
	}
	if (json_object_set_new(t->stack[top], t->key[top], value) < 0)
		return err_set(e, ENOMEM, "out of memory");
	free(t->key[top]);
	t->key[top] = NULL;
	return 0;
}

static int yaml_open(struct yaml_tree *t, json_t *value, const yaml_mark_t *at, struct err *e)
{
	int r;

	if (t->depth == YAML_DEPTH) {
		json_decref(value);
		return yaml_fail(at, e, "nested too deeply");
	}
	r = yaml_put(t, value, at, e);
	if (r == 0)
		t->stack[t->depth++] = value; /* the tree holds it */
	return r;
}

static bool yaml_is_null(const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;

	return ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (*s == 0 || strcmp(s, "~") == 0 || strcmp(s, "null") == 0);
}

static int yaml_scalar(struct yaml_tree *t, const yaml_event_t *ev, struct err *e)
{
	const char *s = (const char *)ev->data.scalar.value;
	size_t n = ev->data.scalar.length;
	const yaml_mark_t *at = &ev->start_mark;

	if (!utf8_valid(s, n))
		return yaml_fail(at, e, "text must be UTF-8 without NUL");
	if (t->depth && json_is_object(t->stack[t->depth - 1]) && !t->key[t->depth - 1]) {
		if (json_object_get(t->stack[t->depth - 1], s)) {
			char safe[80];
			utf8_escape(safe, sizeof safe, s, n);
			yaml_fail(at, e, "the key is given twice");
			return err_wrap(e, "%s", safe);
		}
		t->key[t->depth - 1] = strdup(s);
		return t->key[t->depth - 1] ? 0 : err_set(e, ENOMEM, "out of memory");
	}
	return yaml_put(t, yaml_is_null(ev) ? json_null() : json_stringn(s, n), at, e);
}

/* One event: 1 at the end of the stream. */
static int yaml_event(struct yaml_tree *t, const yaml_event_t *ev, struct err *e)
{
	const yaml_mark_t *at = &ev->start_mark;

	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		return t->root ? yaml_fail(at, e, "only one document is expected") : 0;
	case YAML_ALIAS_EVENT:
		return yaml_fail(at, e, "aliases (*name) are not accepted");
	case YAML_SCALAR_EVENT:
		if (ev->data.scalar.anchor || ev->data.scalar.tag)
			return yaml_fail(at, e, "anchors (&name) and tags (!name) are not accepted");
		return yaml_scalar(t, ev, e);
	case YAML_SEQUENCE_START_EVENT:
		if (ev->data.sequence_start.anchor || ev->data.sequence_start.tag)
			return yaml_fail(at, e, "anchors (&name) and tags (!name) are not accepted");
		return yaml_open(t, json_array(), at, e);
	case YAML_MAPPING_START_EVENT:
		if (ev->data.mapping_start.anchor || ev->data.mapping_start.tag)
			return yaml_fail(at, e, "anchors (&name) and tags (!name) are not accepted");
		return yaml_open(t, json_object(), at, e);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		t->depth--;
		return 0;
	case YAML_STREAM_END_EVENT:
		return 1;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		break;
	}
	return 0;
}

json_t *yaml_read(const char *text, size_t n, size_t max, struct err *e)
{
	struct yaml_tree t = {0};
	yaml_parser_t parser;
	json_t *root = NULL;
	int r = 0;

	if (n > max) {
		err_set(e, EFBIG, "YAML of %zu bytes is over the limit of %zu", n, max);
		return NULL;
	}
	if (!yaml_parser_initialize(&parser)) {
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
	while (r == 0) {
		yaml_event_t ev;
		if (!yaml_parser_parse(&parser, &ev)) {
			char safe[160];
			const char *why = parser.problem ? parser.problem : "out of memory";
			utf8_escape(safe, sizeof safe, why, strlen(why));
			r = yaml_fail(&parser.problem_mark, e, safe);
			break;
		}
		r = yaml_event(&t, &ev, e);
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&parser);
	if (r > 0) {
		root = !t.root || json_is_null(t.root) ? json_object() : json_incref(t.root);
		if (!root)
			err_set(e, ENOMEM, "out of memory");
	}
	yaml_tree_done(&t);
	return root;
}
