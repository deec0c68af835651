/* Slicer presets: filament profiles and printer profiles, two resources of one table. Contract:
 * schema/api/profiles.yaml; statements: profiles.sql. */
#include "gen/routes.h"
#include "media/preset.h"
#include "page.h"
#include "profile_files.h"
#include "query.h"
#include "reply.h"

/* What the two have of their own. */
static const struct profile_resource filament = {
    .name = "filament",
    .kind = PRESET_FILAMENT,
    .get = &SQL_filament_profile_get,
};
static const struct profile_resource printer = {
    .name = "printer",
    .kind = PRESET_PRINTER,
    .get = &SQL_printer_profile_get,
};

static void
bind_filament_filters(struct query *q, const void *query_in)
{
	const struct listFilamentProfiles_query *in = query_in;

	bind_contains(q, in->search);
	bind_str(q, in->vendor);
	bind_str(q, in->material);
}

static void
bind_printer_filters(struct query *q, const void *query_in)
{
	const struct listPrinterProfiles_query *in = query_in;

	bind_contains(q, in->search);
	bind_str(q, in->vendor);
	bind_str(q, in->model);
}

static const struct list filament_list = {
    LIST_ORDERS(filament_profiles_orders),
    .total = &SQL_filament_profiles_total,
    .bind_filters = bind_filament_filters,
};
static const struct list printer_list = {
    LIST_ORDERS(printer_profiles_orders),
    .total = &SQL_printer_profiles_total,
    .bind_filters = bind_printer_filters,
};

static bool
is_setting(struct json_object *v)
{
	if (!json_object_is_type(v, json_type_array))
		return json_object_is_type(v, json_type_string);
	for (size_t i = 0; i < json_object_array_length(v); i++) {
		if (!json_object_is_type(json_object_array_get_idx(v, i), json_type_string))
			return false;
	}
	return true;
}

/* A slicer's keys are an object of texts and lists of texts; the contract cannot name them. */
static const struct err *
check_settings(struct req *r)
{
	struct json_object *settings;

	if (!json_object_object_get_ex(r->body_json, "settings", &settings))
		return NULL;
	if (!json_object_is_type(settings, json_type_object)) {
		violation_add(
		    &r->violations, STR("/settings"), STR("type"), STR("must be an object"));
		return &err_validation_failed;
	}
	json_object_object_foreach(settings, key, v) {
		if (is_setting(v))
			continue;
		violation_add(&r->violations, str_fmt(r->arena, "/settings/%s", key), STR("type"),
		    STR("must be a string or a list of strings"));
		return &err_validation_failed;
	}
	return NULL;
}

static struct query *
select_profile(struct req *r, const struct profile_resource *of, struct uuid id)
{
	struct query *q = query(r, of->get);

	bind_uuid(q, id);
	return q;
}

static const struct err *
create(struct req *r, const struct profile_resource *of)
{
	const struct err *e = check_settings(r);
	struct uuid id = uuid_v7();
	struct query *q;

	if (e)
		return refuse(r, e);
	q = query(r, &SQL_profile_insert);
	bind_uuid(q, id);
	bind_str(q, str_from(of->name));
	bind_body(q, r);
	return reply_one(r, select_profile(r, of, id), 201);
}

static const struct err *
update(struct req *r, const struct profile_resource *of, struct uuid id)
{
	const struct err *e = check_settings(r);
	struct query *q;

	if (e)
		return refuse(r, e);
	q = query(r, &SQL_profile_update);
	bind_uuid(q, id);
	bind_str(q, str_from(of->name));
	bind_body(q, r);
	bind_if_match(q, r);
	return reply_one(r, select_profile(r, of, id), 200);
}

static const struct err *
remove_profile(struct req *r, const struct profile_resource *of, struct uuid id)
{
	struct query *q = query(r, &SQL_profile_delete);

	bind_uuid(q, id);
	bind_str(q, str_from(of->name));
	bind_if_match(q, r);
	return reply_gone(r, q);
}

const struct err *
listFilamentProfiles(struct req *r)
{
	const struct listFilamentProfiles_query *in = r->query;

	return reply_list(r, &filament_list, &PAGE_IN(in, LISTFILAMENTPROFILES_Q));
}

const struct err *
listPrinterProfiles(struct req *r)
{
	const struct listPrinterProfiles_query *in = r->query;

	return reply_list(r, &printer_list, &PAGE_IN(in, LISTPRINTERPROFILES_Q));
}

const struct err *
createFilamentProfile(struct req *r)
{
	return create(r, &filament);
}

const struct err *
createPrinterProfile(struct req *r)
{
	return create(r, &printer);
}

const struct err *
getFilamentProfile(struct req *r)
{
	return reply_one(r, select_profile(r, &filament, r->path_params.filament_profile_id), 200);
}

const struct err *
getPrinterProfile(struct req *r)
{
	return reply_one(r, select_profile(r, &printer, r->path_params.printer_profile_id), 200);
}

const struct err *
updateFilamentProfile(struct req *r)
{
	return update(r, &filament, r->path_params.filament_profile_id);
}

const struct err *
updatePrinterProfile(struct req *r)
{
	return update(r, &printer, r->path_params.printer_profile_id);
}

const struct err *
deleteFilamentProfile(struct req *r)
{
	return remove_profile(r, &filament, r->path_params.filament_profile_id);
}

const struct err *
deletePrinterProfile(struct req *r)
{
	return remove_profile(r, &printer, r->path_params.printer_profile_id);
}

const struct err *
importFilamentProfiles(struct req *r)
{
	const struct importFilamentProfiles_body *in = r->in;
	const struct importFilamentProfiles_query *how = r->query;

	return profiles_import(r, &filament, in->filename, in->content, how->replace);
}

const struct err *
importPrinterProfiles(struct req *r)
{
	const struct importPrinterProfiles_body *in = r->in;
	const struct importPrinterProfiles_query *how = r->query;

	return profiles_import(r, &printer, in->filename, in->content, how->replace);
}

const struct err *
exportFilamentProfile(struct req *r)
{
	const struct exportFilamentProfile_query *in = r->query;

	return profile_export(r, &filament, r->path_params.filament_profile_id, in->format);
}

const struct err *
exportPrinterProfile(struct req *r)
{
	const struct exportPrinterProfile_query *in = r->query;

	return profile_export(r, &printer, r->path_params.printer_profile_id, in->format);
}
