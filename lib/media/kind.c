#include "media/kind.h"

/* Longer endings before those they end with. */
static const struct {
	struct str ending;
	const char *kind;
} endings[] = {
    {STR_INIT(".gcode.3mf"), "gcode_3mf"},
    {STR_INIT(".3mf"), "3mf"},
    {STR_INIT(".bgcode"), "bgcode"},
    {STR_INIT(".bgc"), "bgcode"},
    {STR_INIT(".gcode"), "gcode"},
    {STR_INIT(".gco"), "gcode"},
    {STR_INIT(".g"), "gcode"},
    {STR_INIT(".nc"), "gcode"},
    {STR_INIT(".ngc"), "gcode"},
    {STR_INIT(".stl"), "stl"},
    {STR_INIT(".step"), "step"},
    {STR_INIT(".stp"), "step"},
    {STR_INIT(".obj"), "obj"},
    {STR_INIT(""), "other"},
};

enum { N_ENDINGS = sizeof(endings) / sizeof(endings[0]) };

static bool
ends_with(struct str s, struct str ending)
{
	return s.n >= ending.n && str_ieq((struct str){s.p + (s.n - ending.n), ending.n}, ending);
}

const char *
kind_by_name(struct str filename)
{
	size_t i = 0;

	while (!ends_with(filename, endings[i].ending))
		i++;
	return endings[i].kind;
}

const char *
kind_named(struct str kind)
{
	for (size_t i = 0; i < N_ENDINGS; i++)
		if (str_eq(kind, str_from(endings[i].kind)))
			return endings[i].kind;
	return NULL;
}
