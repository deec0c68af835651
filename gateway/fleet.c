#include "gateway/fleet.h"

#include "base/log.h"
#include "gateway/task.h"

static void
assign(void *ctx, const struct work *w)
{
	struct fleet *f = ctx;
	struct session *s = uuid_map_get(&f->sessions, w->printer);

	if (s)
		session_update(s, w);
	else
		uuid_map_put(&f->sessions, w->printer, session_new(f->gateway, w));
}

static void
revoke(void *ctx, struct uuid printer)
{
	struct fleet *f = ctx;
	struct session *s = uuid_map_take(&f->sessions, printer);

	if (f->cameras)
		cameras_forget(f->cameras, printer);
	if (s)
		session_free(s);
}

static void
refresh(void *ctx, struct uuid printer)
{
	struct fleet *f = ctx;
	struct session *s = uuid_map_get(&f->sessions, printer);

	if (s)
		session_refresh(s);
}

static void
camera(void *ctx, struct uuid printer, const struct camera_channel *v, size_t n)
{
	struct fleet *f = ctx;

	if (f->cameras && uuid_map_get(&f->sessions, printer))
		cameras_want(f->cameras, printer, v, n);
}

static int
sessions(void *ctx)
{
	struct fleet *f = ctx;

	return (int)f->sessions.n;
}

static bool
ready(void *ctx, struct uuid printer)
{
	struct fleet *f = ctx;

	return uuid_map_get(&f->sessions, printer) != NULL;
}

static void
task(void *ctx, const struct work_task *w)
{
	struct fleet *f = ctx;
	struct session *s = uuid_map_get(&f->sessions, w->printer);

	if (s)
		tasks_take(session_tasks(s), w);
	else
		errands_take(f->errands, w);
}

static void
may_start(void *ctx, struct uuid printer, struct uuid job, bool may)
{
	struct fleet *f = ctx;
	struct session *s = uuid_map_get(&f->sessions, printer);

	if (s)
		tasks_may_start(session_tasks(s), job, may);
}

struct sink_client
fleet_client(struct fleet *f)
{
	return (struct sink_client){
	    .ctx = f,
	    .assign = assign,
	    .revoke = revoke,
	    .refresh = refresh,
	    .camera = camera,
	    .sessions = sessions,
	    .ready = ready,
	    .task = task,
	    .may_start = may_start,
	};
}

void
fleet_stop(struct fleet *f)
{
	size_t at = 0;
	struct session *s;

	while ((s = uuid_map_next(&f->sessions, &at)) != NULL)
		session_stop(s);
}

void
fleet_fini(struct fleet *f)
{
	size_t at = 0;
	struct session *s;

	while ((s = uuid_map_next(&f->sessions, &at)) != NULL)
		session_free(s);
	uuid_map_fini(&f->sessions);
}
