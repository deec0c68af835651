#include "media/formats.h"

static bool
is(const struct media *m, struct str head)
{
	(void)m;
	(void)head;
	return false;
}

static void
read_all(struct media *m)
{
	media_fail(m, "unparsable", "Not read yet.");
}

const struct media_format format_gcode = {"gcode", is, read_all};
