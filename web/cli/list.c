/* Lists as tables.  Layer web, program tulou. */
#include "web/cli/list.h"

#include "base/json.h"
#include "base/own.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"

static int list_print(struct cli *c, json_t *answer, const struct cli_list *l)
{
	struct cli_table *t;
	json_t *item;
	size_t i;

	if (c->json) {
		cli_json(answer);
		return CLI_OK;
	}
	if (l->before)
		l->before(c, answer);
	t = cli_table_new(l->count, l->heads);
	json_array_foreach(json_object_get(answer, "items"), i, item) l->row(t, item);
	cli_table_print(c, t, l->none);
	if (l->after)
		l->after(c, answer);
	return CLI_OK;
}

int cli_list_show(struct cli *c, const char *path, const struct cli_list *l)
{
	OWN_JSON json_t *list = NULL;
	json_t *item;
	size_t i;
	int code = cli_list(c, path, &list);

	if (code)
		return code;
	if (c->json || !cli_value(c, "names"))
		return list_print(c, list, l);
	json_array_foreach(json_object_get(list, "items"), i, item) cli_say("%s\n", cli_str(item, "name"));
	return CLI_OK;
}

int cli_list_show_one(struct cli *c, const char *path, const struct cli_list *l)
{
	OWN_ANSWER struct cli_answer a = {0};
	int code = cli_call(c, "GET", path, NULL, &a);

	return code ? code : list_print(c, a.json, l);
}

int cli_list_show_app(struct cli *c, const char *rest, const struct cli_list *l)
{
	char path[256];
	int code = cli_app_path(c, path, sizeof path, rest);

	return code ? code : cli_list_show_one(c, path, l);
}

int cli_show_app(struct cli *c, const char *rest, void (*print)(struct cli *c, json_t *answer))
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[256];
	int code = cli_app_path(c, path, sizeof path, rest);

	if (!code)
		code = cli_call(c, "GET", path, NULL, &a);
	if (code)
		return code;
	if (c->json)
		cli_json(a.json);
	else
		print(c, a.json);
	return CLI_OK;
}

int cli_list_remove(struct cli *c, const char *list)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[512], rest[400];
	int code;

	cli_path(rest, sizeof rest, "/%r/%s", list, c->argv[0]);
	code = cli_app_path(c, path, sizeof path, rest);
	return code ? code : cli_call(c, "DELETE", path, NULL, &a);
}
