#include "gateway/octoprint_link.h"

void
octo_push_begin(struct octo *o)
{
	(void)o;
}

void
octo_push_end(struct octo *o)
{
	(void)o;
}
