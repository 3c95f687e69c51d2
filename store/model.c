/* Names of the nouns' states.  Layer store. */
#include "store/model.h"

#include <stdlib.h>
#include <string.h>

static const char *const model_roles[MODEL_ROLE_COUNT] = {"none", "reader", "deployer", "admin", "fleet", "operator"};

const char *model_role_name(enum model_role r)
{
	return r < MODEL_ROLE_COUNT ? model_roles[r] : "unknown";
}

enum model_role model_role_parse(const char *s)
{
	for (unsigned i = 0; i < MODEL_ROLE_COUNT; i++)
		if (strcmp(s, model_roles[i]) == 0)
			return (enum model_role)i;
	return MODEL_ROLE_COUNT;
}

const char *model_release_state_name(enum model_release_state s)
{
	static const char *const names[MODEL_RELEASE_STATE_COUNT] = {"pending", "live", "failed", "retired"};
	return s < MODEL_RELEASE_STATE_COUNT ? names[s] : "unknown";
}

void model_release_done(struct model_release *r)
{
	free(r->types_json);
	free(r->config_json);
	free(r->app_json);
	r->types_json = r->config_json = r->app_json = NULL;
}

const char *model_build_state_name(enum model_build_state s)
{
	static const char *const names[MODEL_BUILD_STATE_COUNT] = {"running", "succeeded", "failed"};
	return s < MODEL_BUILD_STATE_COUNT ? names[s] : "unknown";
}

const char *model_instance_state_name(enum model_instance_state s)
{
	static const char *const names[MODEL_INSTANCE_STATE_COUNT] = {"starting", "running", "draining", "stopping",
								      "exited"};
	return s < MODEL_INSTANCE_STATE_COUNT ? names[s] : "unknown";
}

static const char *const model_https_names[MODEL_HTTPS_COUNT] = {"on", "off", "redirect"};

const char *model_https_name(enum model_https h)
{
	return h < MODEL_HTTPS_COUNT ? model_https_names[h] : "unknown";
}

enum model_https model_https_parse(const char *s)
{
	unsigned i = 0;

	while (i < MODEL_HTTPS_COUNT && strcmp(s, model_https_names[i]) != 0)
		i++;
	return (enum model_https)i;
}

static const char *const model_rollouts[MODEL_ROLLOUT_COUNT] = {"auto", "start-first", "hold"};

const char *model_rollout_name(enum model_rollout r)
{
	return r < MODEL_ROLLOUT_COUNT ? model_rollouts[r] : "unknown";
}

enum model_rollout model_rollout_parse(const char *s)
{
	unsigned i = 0;

	while (i < MODEL_ROLLOUT_COUNT && strcmp(s, model_rollouts[i]) != 0)
		i++;
	return (enum model_rollout)i;
}

const char *model_staple_state_name(enum model_staple_state s)
{
	static const char *const names[MODEL_STAPLE_STATE_COUNT] = {"none", "good", "revoked"};

	return (unsigned)s < MODEL_STAPLE_STATE_COUNT ? names[s] : "none";
}

const char *model_cert_origin_name(enum model_cert_origin o)
{
	static const char *const names[MODEL_CERT_ORIGIN_COUNT] = {"uploaded", "self-signed", "acme"};
	return o < MODEL_CERT_ORIGIN_COUNT ? names[o] : "unknown";
}

const char *model_proof_name(enum model_proof p)
{
	static const char *const names[MODEL_PROOF_COUNT] = {"wanted", "none", "operator", "parent", "dns", "http"};
	return p < MODEL_PROOF_COUNT ? names[p] : "unknown";
}

const char *model_own_name(unsigned bit, bool json)
{
	const struct quota_key *k;

	switch (1u << bit) {
	case MODEL_OWN_PROFILE:
		return "profile";
	case MODEL_OWN_LAYERS:
		return "private_layers";
	case MODEL_OWN_EGRESS:
		return "egress";
	default:
		break;
	}
	k = quota_key(bit);
	return !k || !quota_has(k, QUOTA_OF_TENANT) ? NULL : json ? k->json : k->name;
}
