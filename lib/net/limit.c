#include "net/limit.h"

const struct limit_values limit_defaults = {.read = 100, .write = 30, .control = 10, .burst = 20};

static const char *const class_names[] = {"read", "write", "control", "login"};

int64_t
limit_of(const struct limit_values *set, enum limit_class cls)
{
	switch (cls) {
	case LIMIT_READ:
		return set->read;
	case LIMIT_WRITE:
		return set->write;
	case LIMIT_CONTROL:
		return set->control;
	case LIMIT_LOGIN:
		break;
	}
	return 0;
}

bool
limit_values_equal(const struct limit_values *a, const struct limit_values *b)
{
	return a->read == b->read && a->write == b->write && a->control == b->control &&
	    a->burst == b->burst;
}

const char *
limit_class_name(enum limit_class cls)
{
	return class_names[cls];
}

void
limit_refuse(struct limit_verdict *v, enum limit_policy by, int64_t retry_ms)
{
	static const char *const names[] = {NULL, NULL, "burst", "address"};

	v->allowed = false;
	v->refused_by = by;
	v->policy = by == LIMIT_BY_CLASS ? limit_class_name(v->cls) : names[by];
	v->retry_after_s = retry_ms <= 1000 ? 1 : (retry_ms + 999) / 1000;
}

/* --- headers ------------------------------------------------------------------------------ */

struct named_quota {
	const char *name;
	const struct limit_quota *q;
};

static size_t
named_quotas(const struct limit_verdict *v, struct named_quota out[3])
{
	size_t n = 0;

	if (v->by_class.limit)
		out[n++] = (struct named_quota){limit_class_name(v->cls), &v->by_class};
	if (v->by_second.limit)
		out[n++] = (struct named_quota){"burst", &v->by_second};
	if (v->by_address.limit)
		out[n++] = (struct named_quota){"address", &v->by_address};
	return n;
}

/* A structured-field list: "read";q=100;w=60, "burst";q=20;w=1 */
static struct str
quota_list(struct arena *a, const struct limit_verdict *v, bool policy)
{
	struct named_quota q[3];
	size_t n = named_quotas(v, q);
	struct str list = STR("");

	for (size_t i = 0; i < n; i++) {
		int64_t first = policy ? q[i].q->limit : q[i].q->remaining;
		int64_t second = policy ? q[i].q->window_s : q[i].q->reset_s;

		list = str_fmt(a,
		    policy ? "%.*s%s\"%s\";q=%lld;w=%lld" : "%.*s%s\"%s\";r=%lld;t=%lld",
		    STR_ARG(list), i ? ", " : "", q[i].name, (long long)first, (long long)second);
	}
	return list;
}

const struct limit_quota *
limit_decisive(const struct limit_verdict *v)
{
	if (v->refused_by == LIMIT_BY_ADDRESS)
		return &v->by_address;
	return v->refused_by == LIMIT_BY_BURST ? &v->by_second : &v->by_class;
}

static struct str
number(struct arena *a, int64_t v)
{
	return str_fmt(a, "%lld", (long long)v);
}

size_t
limit_headers_render(
    struct arena *a, const struct limit_verdict *v, struct limit_header out[LIMIT_HEADERS_MOST])
{
	const struct limit_quota *q = limit_decisive(v);
	size_t n = 0;

	if (v->degraded || v->unavailable)
		return 0;
	out[n++] = (struct limit_header){"RateLimit-Policy", quota_list(a, v, true)};
	out[n++] = (struct limit_header){"RateLimit", quota_list(a, v, false)};
	out[n++] = (struct limit_header){"X-RateLimit-Limit", number(a, q->limit)};
	out[n++] = (struct limit_header){"X-RateLimit-Remaining", number(a, q->remaining)};
	out[n++] = (struct limit_header){"X-RateLimit-Reset", number(a, v->reset_epoch_s)};
	out[n++] = (struct limit_header){
	    "X-RateLimit-Resource", str_from(limit_class_name(v->cls))};
	return n;
}
