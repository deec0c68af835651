/* Notification rules and the inbox. Contract: schema/api/notifications.yaml; statements:
 * notifications.sql; the sending is the courier's. */
#include "faults.h"
#include "gen/routes.h"
#include "page.h"
#include "query.h"
#include "reply.h"
#include "secrets.h"
#include "state.h"

static void
bind_bool_if(struct query *q, bool given, bool v)
{
	if (given)
		bind_bool(q, v);
	else
		bind_null(q);
}

/* --- rules ------------------------------------------------------------------------------------ */

static void
bind_rule_filters(struct query *q, const void *query_in)
{
	const struct listNotificationRules_query *in = query_in;

	bind_contains(q, in->search);
	bind_list(q, &in->channel);
	bind_bool_if(q, FIELD_SET(in, LISTNOTIFICATIONRULES_Q_ENABLED), in->enabled);
}

static const struct list rule_list = {
    LIST_ORDERS(rules_orders),
    .total = &SQL_rules_total,
    .bind_filters = bind_rule_filters,
};

const struct err *
listNotificationRules(struct req *r)
{
	const struct listNotificationRules_query *in = r->query;

	return reply_list(r, &rule_list, &PAGE_IN(in, LISTNOTIFICATIONRULES_Q));
}

static struct query *
select_rule(struct req *r, struct uuid id)
{
	struct query *q = query(r, &SQL_rule_get);

	bind_uuid(q, id);
	return q;
}

/* Where a rule sends to: its host for everybody, the whole of it for the courier alone. Both are
 * STR_NONE when the body has no URL. */
struct target {
	struct str host, sealed;
};

static const struct err *
take_target(struct req *r, struct uuid rule, struct str url, struct target *out)
{
	struct fetch_url checked;

	*out = (struct target){STR_NONE, STR_NONE};
	if (!url.p)
		return NULL;
	if (!url_allowed(r, STR("/url"), url, &checked))
		return &err_validation_failed;
	out->host = checked.host;
	return secret_seal(r, TARGET_OF_RULE, rule, checked.text, &out->sealed);
}

static void
bind_change(struct query *q, struct req *r, const struct uuid *rule, const struct target *to)
{
	if (rule)
		bind_uuid(q, *rule);
	else
		bind_null(q);
	bind_body(q, r);
	bind_str(q, to->host);
}

const struct err *
createNotificationRule(struct req *r)
{
	const struct createNotificationRule_body *in = r->in;
	struct uuid id = uuid_v7();
	struct target to;
	const struct err *e = take_target(r, id, in->url, &to);
	struct query *faults, *q;

	if (e)
		return refuse(r, e);
	faults = query(r, &SQL_rule_faults);
	bind_change(faults, r, NULL, &to);
	q = query(r, &SQL_rule_insert);
	bind_change(q, r, &id, &to);
	bind_sealed(q, to.sealed);
	q = select_rule(r, id);
	e = query_run(r);
	if (e || r->replayed)
		return e;
	e = faults_found(r, faults);
	return e ? e : reply_one(r, q, 201);
}

const struct err *
getNotificationRule(struct req *r)
{
	return reply_one(r, select_rule(r, r->path_params.notification_rule_id), 200);
}

static bool
has_target(struct str channel)
{
	return !str_eq(channel, STR("email")) && !str_eq(channel, STR("in_app"));
}

static void
add_update(struct req *r, struct uuid id, const struct target *to)
{
	const struct updateNotificationRule_body *in = r->in;
	bool sets = to->sealed.p || (in->channel.p && !has_target(in->channel));
	struct query *q = query(r, sets ? &SQL_rule_update_target : &SQL_rule_update);

	bind_change(q, r, &id, to);
	if (sets)
		bind_sealed(q, to->sealed);
}

/* A rule that is not there comes before what is wrong with the patch. */
const struct err *
updateNotificationRule(struct req *r)
{
	const struct updateNotificationRule_body *in = r->in;
	struct uuid id = r->path_params.notification_rule_id;
	struct target to;
	const struct err *e = take_target(r, id, in->url, &to);
	struct query *faults, *q;

	if (e)
		return refuse(r, e);
	q = query(r, &SQL_rule_lock);
	bind_uuid(q, id);
	bind_if_match(q, r);
	faults = query(r, &SQL_rule_faults);
	bind_change(faults, r, &id, &to);
	add_update(r, id, &to);
	q = select_rule(r, id);
	e = query_run(r);
	if (!e && rows_count(q) > 0)
		e = faults_found(r, faults);
	return e ? e : reply_one(r, q, 200);
}

const struct err *
deleteNotificationRule(struct req *r)
{
	struct query *q = query(r, &SQL_rule_delete);

	bind_uuid(q, r->path_params.notification_rule_id);
	bind_if_match(q, r);
	return reply_gone(r, q);
}

/* --- what they send --------------------------------------------------------------------------- */

const struct err *
testNotificationRule(struct req *r)
{
	struct uuid rule = r->path_params.notification_rule_id, id = uuid_v7();
	struct query *q = query(r, &SQL_rule_test);

	bind_uuid(q, rule);
	bind_uuid(q, id);
	q = query(r, &SQL_rule_tested);
	bind_uuid(q, rule);
	bind_uuid(q, id);
	return reply_one(r, q, 202);
}

static void
bind_message_filters(struct query *q, const void *query_in)
{
	const struct listNotificationMessages_query *in = query_in;

	bind_list(q, &in->status);
}

static const struct list message_list = {
    LIST_ORDERS(messages_orders),
    .total = &SQL_messages_total,
    .owner = &SQL_rule_known,
    .bind_filters = bind_message_filters,
};

const struct err *
listNotificationMessages(struct req *r)
{
	const struct listNotificationMessages_query *in = r->query;

	return reply_list_of(r, &message_list, r->path_params.notification_rule_id,
	    &PAGE_IN(in, LISTNOTIFICATIONMESSAGES_Q));
}

/* --- the inbox -------------------------------------------------------------------------------- */

static void
bind_inbox_filters(struct query *q, const void *query_in)
{
	const struct listNotifications_query *in = query_in;

	bind_bool_if(q, FIELD_SET(in, LISTNOTIFICATIONS_Q_UNREAD), in->unread);
	bind_list(q, &in->severity);
	bind_list(q, &in->type);
}

static const struct list inbox = {
    LIST_ORDERS(notifications_orders),
    .total = &SQL_notifications_total,
    .bind_filters = bind_inbox_filters,
};

const struct err *
listNotifications(struct req *r)
{
	const struct listNotifications_query *in = r->query;

	return reply_list(r, &inbox, &PAGE_IN(in, LISTNOTIFICATIONS_Q));
}

static struct query *
select_notification(struct req *r)
{
	struct query *q = query(r, &SQL_notification_get);

	bind_uuid(q, r->path_params.notification_id);
	return q;
}

const struct err *
getNotification(struct req *r)
{
	return reply_one(r, select_notification(r), 200);
}

const struct err *
updateNotification(struct req *r)
{
	const struct updateNotification_body *in = r->in;
	struct query *q = query(r, &SQL_notification_read);

	bind_uuid(q, r->path_params.notification_id);
	bind_bool(q, in->read);
	bind_if_match(q, r);
	return reply_one(r, select_notification(r), 200);
}

const struct err *
readAllNotifications(struct req *r)
{
	return reply_one(r, query(r, &SQL_notifications_read), 200);
}
