/* The tables, by version.  Layer store, control process.
 *
 * A step is never edited once it has been released: a change of the schema is a new step at the end.  Times are wall
 * clock milliseconds.  AUTOINCREMENT keeps ids from being reused, also after a delete. */
#include "store/db.h"

#include "base/own.h"

#include <errno.h>
#include <stdio.h>

static const char schema_1[] =
	"CREATE TABLE internal (key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"

	"CREATE TABLE tenant (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" slot INTEGER NOT NULL UNIQUE, memory INTEGER NOT NULL, cpu INTEGER NOT NULL, pids INTEGER NOT NULL, apps "
	"INTEGER NOT NULL,"
	" instances INTEGER NOT NULL, disk INTEGER NOT NULL, created_ms INTEGER NOT NULL);"

	/* tenant is NULL for operator and fleet. */
	"CREATE TABLE token (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" tenant INTEGER REFERENCES tenant(id) ON DELETE CASCADE, role INTEGER NOT NULL, name TEXT NOT NULL, hint TEXT "
	"NOT NULL, mac BLOB NOT NULL UNIQUE,"
	" created_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL);"
	"CREATE INDEX token_tenant ON token (tenant, id);"

	"CREATE TABLE app (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL REFERENCES tenant(id),"
	" name TEXT NOT NULL UNIQUE, release INTEGER NOT NULL DEFAULT 0, candidate INTEGER NOT NULL DEFAULT 0,"
	" memory INTEGER NOT NULL, disk INTEGER NOT NULL, cpu INTEGER NOT NULL, pids INTEGER NOT NULL,"
	" nofile INTEGER NOT NULL, health_path TEXT NOT NULL DEFAULT '', paused INTEGER NOT NULL DEFAULT 0,"
	" created_ms INTEGER NOT NULL);"
	"CREATE INDEX app_tenant ON app (tenant, id);"

	"CREATE TABLE config (app INTEGER NOT NULL REFERENCES app(id) ON DELETE CASCADE, key TEXT NOT NULL,"
	" value TEXT NOT NULL, PRIMARY KEY (app, key)) WITHOUT ROWID;"
	"CREATE TABLE formation (app INTEGER NOT NULL REFERENCES app(id) ON DELETE CASCADE, type TEXT NOT NULL,"
	" count INTEGER NOT NULL, PRIMARY KEY (app, type)) WITHOUT ROWID;"
	"CREATE TABLE domain (host TEXT PRIMARY KEY,"
	" app INTEGER NOT NULL REFERENCES app(id) ON DELETE CASCADE) WITHOUT ROWID;"
	"CREATE INDEX domain_app ON domain (app, host);"

	/* A build outlives its app until its tree has been removed: no foreign key. */
	"CREATE TABLE build (id INTEGER PRIMARY KEY AUTOINCREMENT, app INTEGER NOT NULL, state INTEGER NOT NULL,"
	" source TEXT NOT NULL, commit_id TEXT NOT NULL, buildpack TEXT NOT NULL, error TEXT NOT NULL,"
	" bytes INTEGER NOT NULL, created_ms INTEGER NOT NULL, finished_ms INTEGER NOT NULL);"
	"CREATE INDEX build_app ON build (app, id);"

	"CREATE TABLE release (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" app INTEGER NOT NULL REFERENCES app(id) ON DELETE CASCADE, version INTEGER NOT NULL, build INTEGER NOT NULL,"
	" state INTEGER NOT NULL, note TEXT NOT NULL, types TEXT NOT NULL, config TEXT NOT NULL,"
	" app_json TEXT NOT NULL, created_ms INTEGER NOT NULL, UNIQUE (app, version));"
	"CREATE INDEX release_app ON release (app, id);"
	"CREATE INDEX release_build ON release (build);"

	"CREATE TABLE instance (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" app INTEGER NOT NULL REFERENCES app(id) ON DELETE CASCADE, release INTEGER NOT NULL, type TEXT NOT NULL,"
	" state INTEGER NOT NULL, created_ms INTEGER NOT NULL, exited_ms INTEGER NOT NULL, exit_code INTEGER NOT NULL,"
	" reason TEXT NOT NULL);"
	"CREATE INDEX instance_app ON instance (app, id);"
	"CREATE INDEX instance_alive ON instance (id) WHERE state <> 4;" /* 4 = MODEL_INSTANCE_EXITED */
	"CREATE INDEX instance_exited ON instance (app, id) WHERE state = 4;"

	"CREATE TABLE event (id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, tenant INTEGER NOT NULL,"
	" app INTEGER NOT NULL, instance INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL);"
	"CREATE INDEX event_tenant ON event (tenant, id);"
	"CREATE INDEX event_app ON event (app, id);"

	"CREATE TABLE usage (app INTEGER NOT NULL REFERENCES app(id) ON DELETE CASCADE, hour_ms INTEGER NOT NULL,"
	" cpu_us INTEGER NOT NULL, memory_byte_seconds INTEGER NOT NULL, requests INTEGER NOT NULL,"
	" bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL, PRIMARY KEY (app, hour_ms)) WITHOUT ROWID;"
	"CREATE INDEX usage_hour ON usage (hour_ms, app);"

	"CREATE TABLE idem (token INTEGER NOT NULL, key TEXT NOT NULL, hash TEXT NOT NULL, status INTEGER NOT NULL,"
	" body TEXT NOT NULL, created_ms INTEGER NOT NULL, PRIMARY KEY (token, key)) WITHOUT ROWID;"
	"CREATE INDEX idem_created ON idem (created_ms);"
	"CREATE INDEX idem_token ON idem (token, created_ms);";

/* Plans; every number of config/quota.h for tenants and apps; profiles and egress policies.  Rows that exist keep what
 * they had: their new rates are those that were compiled in. */
static const char schema_2[] =
	"ALTER TABLE tenant ADD COLUMN swap INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN cpu_burst INTEGER NOT NULL DEFAULT 4000;"
	"ALTER TABLE tenant ADD COLUMN cpu_weight INTEGER NOT NULL DEFAULT 100;"
	"ALTER TABLE tenant ADD COLUMN inodes INTEGER NOT NULL DEFAULT 4194304;"
	"ALTER TABLE tenant ADD COLUMN io_weight INTEGER NOT NULL DEFAULT 100;"
	"ALTER TABLE tenant ADD COLUMN io_read INTEGER NOT NULL DEFAULT 268435456;"
	"ALTER TABLE tenant ADD COLUMN io_write INTEGER NOT NULL DEFAULT 268435456;"
	"ALTER TABLE tenant ADD COLUMN net_in INTEGER NOT NULL DEFAULT 268435456;"
	"ALTER TABLE tenant ADD COLUMN net_out INTEGER NOT NULL DEFAULT 268435456;"
	"ALTER TABLE tenant ADD COLUMN log_rate INTEGER NOT NULL DEFAULT 10000;"
	"ALTER TABLE tenant ADD COLUMN plan INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN profile INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN private_layers INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN egress TEXT NOT NULL DEFAULT 'public';"
	"CREATE INDEX tenant_plan ON tenant (plan);"

	"ALTER TABLE app ADD COLUMN swap INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE app ADD COLUMN cpu_burst INTEGER NOT NULL DEFAULT 1000;"
	"ALTER TABLE app ADD COLUMN cpu_weight INTEGER NOT NULL DEFAULT 100;"
	"ALTER TABLE app ADD COLUMN inodes INTEGER NOT NULL DEFAULT 16384;"
	"ALTER TABLE app ADD COLUMN io_weight INTEGER NOT NULL DEFAULT 100;"
	"ALTER TABLE app ADD COLUMN io_read INTEGER NOT NULL DEFAULT 67108864;"
	"ALTER TABLE app ADD COLUMN io_write INTEGER NOT NULL DEFAULT 67108864;"
	"ALTER TABLE app ADD COLUMN net_in INTEGER NOT NULL DEFAULT 67108864;"
	"ALTER TABLE app ADD COLUMN net_out INTEGER NOT NULL DEFAULT 67108864;"
	"ALTER TABLE app ADD COLUMN log_rate INTEGER NOT NULL DEFAULT 1000;"
	"ALTER TABLE app ADD COLUMN limits_own INTEGER NOT NULL DEFAULT 1;"
	"ALTER TABLE app ADD COLUMN profile INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE app ADD COLUMN egress TEXT NOT NULL DEFAULT 'public';"

	/* The quota's numbers have the prefix q_, those of one instance l_. */
	"CREATE TABLE plan (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" q_memory INTEGER NOT NULL, q_swap INTEGER NOT NULL, q_cpu INTEGER NOT NULL, q_cpu_burst INTEGER NOT NULL,"
	" q_cpu_weight INTEGER NOT NULL, q_pids INTEGER NOT NULL, q_disk INTEGER NOT NULL, q_inodes INTEGER NOT NULL,"
	" q_io_weight INTEGER NOT NULL, q_io_read INTEGER NOT NULL, q_io_write INTEGER NOT NULL,"
	" q_net_in INTEGER NOT NULL, q_net_out INTEGER NOT NULL, q_log_rate INTEGER NOT NULL, q_apps INTEGER NOT NULL,"
	" q_instances INTEGER NOT NULL,"
	" l_memory INTEGER NOT NULL, l_swap INTEGER NOT NULL, l_cpu INTEGER NOT NULL, l_cpu_burst INTEGER NOT NULL,"
	" l_cpu_weight INTEGER NOT NULL, l_pids INTEGER NOT NULL, l_nofile INTEGER NOT NULL, l_disk INTEGER NOT NULL,"
	" l_inodes INTEGER NOT NULL, l_io_weight INTEGER NOT NULL, l_io_read INTEGER NOT NULL,"
	" l_io_write INTEGER NOT NULL, l_net_in INTEGER NOT NULL, l_net_out INTEGER NOT NULL,"
	" l_log_rate INTEGER NOT NULL,"
	" profile INTEGER NOT NULL, private_layers INTEGER NOT NULL, egress TEXT NOT NULL,"
	" created_ms INTEGER NOT NULL);";

/* Certificates of apps, and of the node (app NULL); whether an app is served over https.  Names are in lower case,
 * separated by spaces. */
static const char schema_3[] =
	"CREATE TABLE certificate (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" app INTEGER REFERENCES app(id) ON DELETE CASCADE, origin INTEGER NOT NULL, names TEXT NOT NULL,"
	" issuer TEXT NOT NULL, kind TEXT NOT NULL, sha256 TEXT NOT NULL, not_before_ms INTEGER NOT NULL,"
	" not_after_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL, chain TEXT NOT NULL, key TEXT NOT NULL);"
	"CREATE INDEX certificate_app ON certificate (app, id);"
	"ALTER TABLE app ADD COLUMN https INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE app ADD COLUMN hsts INTEGER NOT NULL DEFAULT 0;";

/* Domains wait for proof of ownership: several apps may want one, at most one has it.  Those of before were asked for
 * none.  Front doors: settings of an app as JSON (store/front.h), rows only of apps that have any. */
static const char schema_4[] =
	"CREATE TABLE domain_4 (host TEXT NOT NULL, app INTEGER NOT NULL REFERENCES app(id) ON DELETE CASCADE,"
	" proof INTEGER NOT NULL, token TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,"
	" created_ms INTEGER NOT NULL DEFAULT 0, checked_ms INTEGER NOT NULL DEFAULT 0,"
	" proved_ms INTEGER NOT NULL DEFAULT 0, next_ms INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',"
	" PRIMARY KEY (host, app)) WITHOUT ROWID;"
	"INSERT INTO domain_4 (host, app, proof, token)"
	" SELECT host, app, 1, 'tulou-' || lower(hex(randomblob(16))) FROM domain;"
	"DROP TABLE domain;"
	"ALTER TABLE domain_4 RENAME TO domain;"
	"CREATE INDEX domain_app ON domain (app, host);"
	"CREATE UNIQUE INDEX domain_proved ON domain (host) WHERE proof <> 0;" /* 0 = MODEL_PROOF_WANTED */
	"CREATE INDEX domain_next ON domain (next_ms) WHERE proof = 0 AND next_ms > 0;"
	"CREATE TABLE front (app INTEGER PRIMARY KEY REFERENCES app(id) ON DELETE CASCADE, json TEXT NOT NULL);";

/* Totals of the front door: nothing is limited that was not before. */
static const char schema_5[] = "ALTER TABLE tenant ADD COLUMN requests INTEGER NOT NULL DEFAULT 0;"
			       "ALTER TABLE tenant ADD COLUMN concurrent INTEGER NOT NULL DEFAULT 0;"
			       "ALTER TABLE plan ADD COLUMN q_requests INTEGER NOT NULL DEFAULT 0;"
			       "ALTER TABLE plan ADD COLUMN q_concurrent INTEGER NOT NULL DEFAULT 0;";

static const char schema_6[] = "ALTER TABLE app ADD COLUMN canary INTEGER NOT NULL DEFAULT 0;";

_Static_assert(MODEL_PROOF_WANTED == 0 && MODEL_PROOF_NONE == 1, "schema 4 names these numbers");

/* Accounts at authorities that sign certificates, by the directory's URL; what is ordered there, and how it went. */
static const char schema_7[] =
	"CREATE TABLE acme_account (directory TEXT PRIMARY KEY, key TEXT NOT NULL, url TEXT NOT NULL);"
	"CREATE TABLE acme_name (host TEXT PRIMARY KEY, app INTEGER NOT NULL, key TEXT NOT NULL, order_url TEXT NOT "
	"NULL,"
	" challenge INTEGER NOT NULL, failures INTEGER NOT NULL, next_ms INTEGER NOT NULL, window_ms INTEGER NOT NULL,"
	" window_count INTEGER NOT NULL, error TEXT NOT NULL);";

/* How the requests of an app are served; no row = all 0. */
static const char schema_8[] = "CREATE TABLE serving (app INTEGER PRIMARY KEY REFERENCES app(id) ON DELETE CASCADE,"
			       " concurrency INTEGER NOT NULL, drain_s INTEGER NOT NULL, rollout INTEGER NOT NULL,"
			       " access_log INTEGER NOT NULL, hold INTEGER NOT NULL);";

/* Values of a tenant that hold over its plan's, by name: "memory profile". */
static const char schema_9[] = "ALTER TABLE tenant ADD COLUMN own TEXT NOT NULL DEFAULT '';";

/* What responders said of certificates, by the SHA-256 of the leaf: the operator's files are in no table. */
static const char schema_10[] =
	"CREATE TABLE staple (sha256 TEXT PRIMARY KEY, state INTEGER NOT NULL, this_ms INTEGER NOT NULL,"
	" next_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, revoked_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL,"
	" failures INTEGER NOT NULL, error TEXT NOT NULL, response BLOB);";

/* Packets a second: what held for every instance before, and as much for all of a tenant's. */
static const char schema_11[] = "ALTER TABLE tenant ADD COLUMN net_packets INTEGER NOT NULL DEFAULT 20000;"
				"ALTER TABLE app ADD COLUMN net_packets INTEGER NOT NULL DEFAULT 20000;"
				"ALTER TABLE plan ADD COLUMN q_net_packets INTEGER NOT NULL DEFAULT 20000;"
				"ALTER TABLE plan ADD COLUMN l_net_packets INTEGER NOT NULL DEFAULT 20000;";

/* Which release one repeats: see store/model.h. */
static const char schema_12[] = "ALTER TABLE release ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;";

_Static_assert(MODEL_INSTANCE_EXITED == 4, "the partial indexes name this number");

static const char *const schema_steps[] = {schema_1, schema_2, schema_3, schema_4,  schema_5,  schema_6,
					   schema_7, schema_8, schema_9, schema_10, schema_11, schema_12};

int db_schema_version(void)
{
	return (int)ARRAY_LEN(schema_steps);
}

int db_migrate(struct store *s, struct err *e)
{
	int64_t version;
	int r = db_number(s, 0, &version, "PRAGMA user_version", DB_NONE, e);

	if (r < 0)
		return r;
	if (version > db_schema_version())
		return err_set(e, EPROTO,
			       "database: it was written by a newer Tulou (schema %lld, this program knows %d)",
			       (long long)version, db_schema_version());
	for (size_t i = (size_t)version; i < ARRAY_LEN(schema_steps); i++) {
		char done[64];
		snprintf(done, sizeof done, "PRAGMA user_version = %zu; COMMIT", i + 1);
		if (sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
		    sqlite3_exec(s->db, schema_steps[i], NULL, NULL, NULL) != SQLITE_OK ||
		    sqlite3_exec(s->db, done, NULL, NULL, NULL) != SQLITE_OK) {
			r = err_set(e, EIO, "database: schema step %zu: %s", i + 1, sqlite3_errmsg(s->db));
			sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
			return r;
		}
	}
	return 0;
}
