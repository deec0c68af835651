/* Cameras: single pictures, signed URLs of streams, their end. Nothing here waits for a picture:
 * nginx does. Contract: schema/api/cameras.yaml; statements: cameras.sql. */
#include "base/clock.h"
#include "gen/routes.h"
#include "query.h"
#include "reply.h"
#include "signed.h"
#include "state.h"

enum { STREAM_URL_S = 60, SINGLE = 0 };

static const struct {
	struct str trouble;
	const struct err *err;
} troubles[] = {
    {STR_INIT("printer_not_connected"), &err_printer_not_connected},
    {STR_INIT("unsupported_by_printer"), &err_unsupported_by_printer},
    {STR_INIT("camera_unavailable"), &err_camera_unavailable},
};

/* Runs the transaction; the row's trouble as an error with its words, NULL when there is none. */
static const struct err *
judge(struct req *r, struct query *q)
{
	const struct err *e = query_run(r);
	struct str trouble, words;

	if (e)
		return e;
	trouble = rows_get(q, 0, "trouble");
	words = rows_get(q, 0, "message");
	for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++)
		if (str_eq(trouble, troubles[i].trouble)) {
			req_detail(r, "%.*s", STR_ARG(words));
			return troubles[i].err;
		}
	return NULL;
}

static const struct err *
look_at(struct req *r)
{
	struct query *q = query(r, &SQL_camera_state);

	bind_uuid(q, r->path_params.printer_id);
	return judge(r, q);
}

static const struct err *
want(struct req *r, int64_t fps, struct str *channel)
{
	struct query *q = query(r, &SQL_camera_request);
	const struct err *e;

	bind_uuid(q, r->path_params.printer_id);
	bind_i64(q, fps);
	e = judge(r, q);
	*channel = e ? STR_NONE : rows_get(q, 0, "channel");
	return e;
}

const struct err *
getCameraSnapshot(struct req *r)
{
	struct str channel;
	const struct err *e;

	if (r->stage == STAGE_ENDED) { /* nginx waited in vain; the gateway may have said why */
		e = look_at(r);
		if (e)
			return e;
		req_detail(r, "the camera sent no picture in time");
		return &err_gateway_timeout;
	}
	e = want(r, SINGLE, &channel);
	if (!e)
		reply_inner(
		    r, "image/jpeg", str_fmt(r->arena, "/__camera/still/%.*s", STR_ARG(channel)));
	return e;
}

const struct err *
openCameraStream(struct req *r)
{
	const struct openCameraStream_query *in = r->query;
	struct sign_claim c = {.purpose = SIGN_CAMERA,
	    .file = r->path_params.printer_id,
	    .size = in->fps,
	    .expires_s = clock_unix_s() + STREAM_URL_S};
	const struct err *e = look_at(r);
	struct str url;
	struct buf *b;

	if (e)
		return e;
	c.org = r->auth.org_id;
	c.key = r->auth.key_id;
	url = signed_url(r, &c);
	b = reply_json(r, 302);
	reply_header(r, "Location", url);
	buf_str(b, STR("{\"url\":"));
	buf_json_str(b, url);
	buf_str(b, STR(",\"expires_at\":"));
	buf_json_str(b, clock_rfc3339(r->arena, c.expires_s * 1000));
	buf_char(b, '}');
	return NULL;
}

const struct err *
getCameraStream(struct req *r)
{
	const struct getCameraStream_query *in = r->query;
	const struct signed_query sent = {
	    .org = in->org, .exp = in->exp, .key = in->key, .extra = in->fps, .sig = in->sig};
	struct sign_claim claim;
	struct str channel;
	const struct err *e = signed_enter(r, SIGN_CAMERA, &sent, &claim);

	if (!e)
		e = want(r, claim.size, &channel);
	if (e)
		return e;
	/* It ends with the key. */
	reply_inner(r, "multipart/x-mixed-replace;boundary=frame",
	    str_fmt(r->arena, "/__camera/stream/%.*s,key.%.*s", STR_ARG(channel),
		STR_ARG(uuid_str(r->arena, claim.key))));
	return NULL;
}

const struct err *
stopCamera(struct req *r)
{
	struct query *q = query(r, &SQL_camera_stop);

	bind_uuid(q, r->path_params.printer_id);
	return reply_one(r, q, 202);
}
