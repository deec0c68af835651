#include "http/accept_type.h"

/* "0.85" as 850; 1000 when absent, 0 when malformed. */
static int
quality(struct str params)
{
	while (params.n) {
		struct str p = str_trim(str_cut(&params, ';'));
		int q, scale = 1000;

		if (!str_starts(p, STR("q=")) && !str_starts(p, STR("Q=")))
			continue;
		p = (struct str){p.p + 2, p.n - 2};
		q = p.n && p.p[0] == '1' ? 1000 : 0;
		for (size_t i = 2; i < p.n && i < 5; i++) {
			scale /= 10;
			if (p.p[i] >= '0' && p.p[i] <= '9')
				q += (p.p[i] - '0') * scale;
		}
		return q > 1000 ? 1000 : q;
	}
	return 1000;
}

/* The quality given to a media type by name; -1 when it is not named. */
static int
named_quality(struct str accept, struct str wanted)
{
	while (accept.n) {
		struct str params = str_cut(&accept, ',');
		struct str type = str_trim(str_cut(&params, ';'));

		if (str_ieq(type, wanted))
			return quality(params);
	}
	return -1;
}

bool
accept_names(struct str accept, struct str wanted, struct str usual)
{
	int q = named_quality(accept, wanted);

	return q > 0 && q >= named_quality(accept, usual);
}

bool
content_type_is(struct str content_type, struct str wanted)
{
	return str_ieq(str_trim(str_cut(&content_type, ';')), wanted);
}
