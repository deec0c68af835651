#include "gateway/pace.h"

static int64_t
due(const struct pace *p, const struct pace_limits *l, int64_t now_us)
{
	int64_t earliest = now_us - (l->burst - 1) * l->gap_us;

	return p->next_us > earliest ? p->next_us : earliest;
}

int64_t
pace_take(struct pace *p, const struct pace_limits *l, int64_t now_us)
{
	int64_t at = due(p, l, now_us);

	p->next_us = at + l->gap_us;
	return at > now_us ? at - now_us : 0;
}

bool
pace_try(struct pace *p, const struct pace_limits *l, int64_t now_us)
{
	if (due(p, l, now_us) > now_us)
		return false;
	pace_take(p, l, now_us);
	return true;
}
