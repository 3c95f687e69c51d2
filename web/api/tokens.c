/* Tokens of a tenant and of the node.  Layer web, control process. */
#include "base/parse.h"
#include "web/api/auth.h"
#include "web/api/fields.h"
#include "web/api/route.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

static int tokens_row(void *arg, const struct model_token *t)
{
	json_array_append_new(arg,
			      json_pack("{s:I, s:s, s:o, s:s, s:o, s:o}", "id", (json_int_t)t->id, "role",
					model_role_name(t->role), "name", fields_safe(t->name), "hint", t->hint,
					"created_at", fields_time(t->created_ms), "used_at", fields_time(t->used_ms)));
	return 0;
}

/* x->tenant.id is 0 on the routes of the node's own tokens. */
void api_tokens_list(struct exchange *x)
{
	json_t *items = json_array();
	struct err e = {0};

	if (store_token_list(x->api->config.store, x->tenant.id, tokens_row, items, &e) < 0) {
		json_decref(items);
		api_answer_err(x, &e);
		return;
	}
	api_answer_json(x, 200, json_pack("{s:o, s:n}", "items", items, "next"));
}

static int tokens_count(void *arg, const struct model_token *t)
{
	(void)t;
	++*(unsigned *)arg;
	return 0;
}

void api_tokens_post(struct exchange *x)
{
	static const char *const keys[] = {"role", "name", NULL};
	const char *role = NULL, *name = NULL;
	char secret[STORE_SECRET_MAX] = "";
	struct model_token t;
	struct err e = {0};
	enum model_role r;
	unsigned count = 0;
	bool fits;

	if (json_only(x->json, keys, &e) < 0 || json_get_str(x->json, "role", true, 32, &role, &e) < 0 ||
	    json_get_str(x->json, "name", false, LIMIT_TOKEN_NAME, &name, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	r = model_role_parse(role);
	fits = x->tenant.id ? r == MODEL_ROLE_READER || r == MODEL_ROLE_DEPLOYER || r == MODEL_ROLE_ADMIN
			    : r == MODEL_ROLE_OPERATOR || r == MODEL_ROLE_FLEET;
	if (!fits) {
		parse_must_be(role, x->tenant.id ? "admin, deployer or reader" : "operator or fleet", "role", &e);
		api_answer_err(x, &e);
		return;
	}
	store_token_list(x->api->config.store, x->tenant.id, tokens_count, &count, NULL);
	if (count >= LIMIT_API_TOKENS) {
		api_answer_problem(x, 403, NULL, "there are %d tokens already, the most there may be",
				   LIMIT_API_TOKENS);
		return;
	}
	if (store_token_add(x->api->config.store, x->tenant.id, r, name ? name : model_role_name(r), secret, &t, &e) <
	    0) {
		api_answer_err(x, &e);
		return;
	}
	api_auth_known(x->api->auth, secret);
	api_answer_json(x, 201,
			json_pack("{s:I, s:s, s:o, s:s}", "id", (json_int_t)t.id, "role", model_role_name(t.role),
				  "name", fields_safe(t.name), "token", secret));
	OPENSSL_cleanse(secret, sizeof secret);
}

void api_tokens_delete(struct exchange *x)
{
	struct err e = {0};
	char safe[FIELDS_UNKNOWN];
	uint64_t id;

	fields_unknown(x->arg[0], safe);
	if (parse_u64(x->arg[0], strlen(x->arg[0]), 1, INT64_MAX, "id", &id, NULL) < 0)
		api_answer_problem(x, 404, NULL, "there is no token \"%s\" here", safe);
	else if (x->tenant.id == 0 && (int64_t)id == x->who.token) /* so that one operator always remains */
		api_answer_problem(x, 409, NULL, "a token cannot revoke itself; use another operator's");
	else if (store_token_del(x->api->config.store, x->tenant.id, (int64_t)id, &e) == -ENOENT)
		api_answer_problem(x, 404, NULL, "there is no token \"%s\" here", safe);
	else if (e.code)
		api_answer_err(x, &e);
	else
		api_answer_empty(x, 204);
}
