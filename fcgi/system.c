/* The service itself, and who asks. Contract: schema/api/system.yaml; statements: system.sql. */
#include <unistd.h>

#include "base/clock.h"
#include "db/rows_json.h"
#include "gen/routes.h"
#include "http/version.h"
#include "query.h"
#include "reply.h"
#include "state.h"

const struct err *
getVersion(struct req *r)
{
	struct buf *b = reply_json(r, 200);

	buf_str(b,
	    STR("{\"series\":\"" API_SERIES "\",\"version\":\"" API_VERSION
		"\",\"supported_versions\":[\"" API_VERSION "\"],\"docs\":"));
	buf_json_str(b, str_from(r->w->cfg->docs_url));
	buf_str(b, STR(",\"changelog\":"));
	buf_json_str(b, str_from(r->w->cfg->changelog_url));
	buf_str(b, STR(",\"openapi\":\"/v1/openapi.json\",\"status\":\"current\"}"));
	return NULL;
}

const struct err *
getOpenapi(struct req *r)
{
	struct str etag = str_from(openapi_json_etag);

	reply_header(r, "ETag", etag);
	if (r->in_headers.if_none_match.p && etag_in_list(r->in_headers.if_none_match, etag))
		reply_empty(r, 304);
	else
		reply_raw(r, 200, (struct str){(const char *)openapi_json, openapi_json_len});
	return NULL;
}

/* --- health ----------------------------------------------------------------------------------- */

struct component {
	const char *name, *status, *message; /* message NULL: nothing to say */
};

static const char *
up(bool yes)
{
	return yes ? "healthy" : "unhealthy";
}

static struct component
check_storage(const struct req *r)
{
	const char *dir = r->w->cfg->storage;

	if (!*dir)
		return (struct component){"storage", "not_configured", NULL};
	if (access(dir, R_OK | W_OK | X_OK) == 0)
		return (struct component){"storage", "healthy", NULL};
	return (struct component){
	    "storage", "unhealthy", "the directory is not readable and writable"};
}

/* A service that reports to the database. */
static struct component
check_reports(const char *name, const struct query *q, bool database, const char *silent)
{
	if (!database)
		return (struct component){name, "unknown", "the database is not reachable"};
	if (rows_i64(q, 0, "alive") > 0)
		return (struct component){name, "healthy", NULL};
	return (struct component){name, "unhealthy", silent};
}

static void
write_components(struct buf *b, const struct component *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_fmt(b, "%s\"%s\":{\"status\":\"%s\",\"message\":", i ? "," : "", c[i].name,
		    c[i].status);
		if (c[i].message)
			buf_json_str(b, str_from(c[i].message));
		else
			buf_str(b, STR("null"));
		buf_char(b, '}');
	}
}

static bool
all_well(const struct component *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!str_eq(str_from(c[i].status), STR("healthy")) &&
		    !str_eq(str_from(c[i].status), STR("not_configured")))
			return false;
	return true;
}

const struct err *
getHealth(struct req *r)
{
	struct query *gateway = query(r, &SQL_gateway_health);
	struct query *courier = query(r, &SQL_courier_health);
	bool database = query_run(r) == NULL, redis = limiter_alive(r->w->limiter);
	const struct component c[] = {
	    {"database", up(database), database ? NULL : "not reachable"},
	    {"redis", up(redis), redis ? NULL : "not reachable; limits are kept by each process"},
	    check_storage(r),
	    check_reports("gateway", gateway, database, "no gateway has reported for 15 s"),
	    check_reports("courier", courier, database, "no courier has reported for 15 s"),
	    {"backup", "not_configured", NULL},
	};
	size_t n = sizeof(c) / sizeof(c[0]);
	struct buf *b = reply_json(r, database ? 200 : 503);

	buf_fmt(b, "{\"status\":\"%s\",\"service\":\"soloprint\",\"components\":{",
	    !database            ? "unhealthy"
		: all_well(c, n) ? "healthy"
				 : "degraded");
	write_components(b, c, n);
	buf_str(b, STR("}}"));
	return NULL;
}

/* --- who asks --------------------------------------------------------------------------------- */

const struct err *
getMe(struct req *r)
{
	return reply_one(r, query(r, &SQL_me_get), 200);
}

const struct err *
getOrgContext(struct req *r)
{
	const struct err *e = reply_one(r, query(r, &SQL_org_context), 200);
	const struct limit_values *l = &r->auth.limits;
	struct buf *b = &r->reply.body;

	if (e)
		return e == &err_resource_not_found ? &err_organization_not_found : e;
	b->n--;
	buf_fmt(b, ",\"limits\":{\"read\":%lld,\"write\":%lld,\"control\":%lld,\"burst\":%lld}}",
	    (long long)l->read, (long long)l->write, (long long)l->control, (long long)l->burst);
	return NULL;
}

const struct err *
getSystemInfo(struct req *r)
{
	struct query *q = query(r, &SQL_system_info);
	const struct err *e = query_run(r);
	struct str now = clock_rfc3339(r->arena, clock_unix_ms());
	int64_t uptime_s = (clock_mono_ms() - r->w->cfg->since_ms) / 1000;
	struct buf *b;

	if (e)
		return e;
	b = reply_json(r, 200);
	buf_fmt(b,
	    "{\"version\":\"" SOLOPRINT_VERSION "\",\"series\":\"" API_SERIES
	    "\",\"api_version\":\"" API_VERSION
	    "\",\"time\":\"%.*s\",\"uptime\":%lld,\"database\":",
	    STR_ARG(now), (long long)uptime_s);
	rows_json_row(b, q, 0);
	buf_char(b, '}');
	return NULL;
}
