/* STEP: statements, units, names. */
#include "media_fixture.h"

#define MM "#2=(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.MILLI.,.METRE.));\n"
#define POINTS "#8=CARTESIAN_POINT('',(0.,-1.5,2.E1));\n#9=CARTESIAN_POINT('p',(1.,2.,3.));\n"
#define STEP(data) "ISO-10303-21;\nHEADER;\nENDSEC;\nDATA;\n" data "ENDSEC;\nEND-ISO-10303-21;\n"
#define BOX(x0, y0, z0, x1, y1, z1)                                                                \
	"{\"min\":{\"x_mm\":" x0 ",\"y_mm\":" y0 ",\"z_mm\":" z0 "},\"max\":{\"x_mm\":" x1         \
	",\"y_mm\":" y1 ",\"z_mm\":" z1 "}}"

static void
test_boxes(void)
{
	static const struct {
		const char *name, *text, *box, *code;
	} cases[] = {
	    {"millimetres", STEP(MM POINTS), BOX("0", "-1.5", "3", "1", "2", "20"), NULL},
	    {"no unit", STEP(POINTS), BOX("0", "-1.5", "3", "1", "2", "20"), NULL},
	    {"metres", STEP(POINTS "#2=(NAMED_UNIT(*) SI_UNIT($,.METRE.) LENGTH_UNIT());\n"),
		BOX("0", "-1500", "3000", "1000", "2000", "20000"), NULL},
	    {"inches",
		STEP(MM
		    "#3=LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(25.4),#2);\n"
		    "#4=(CONVERSION_BASED_UNIT('INCH',#3)LENGTH_UNIT()NAMED_UNIT(#5));\n" POINTS),
		BOX("0", "-38.1", "76.2", "25.4", "50.8", "508"), NULL},
	    {"angles are no lengths",
		STEP("#1=(NAMED_UNIT(*)PLANE_ANGLE_UNIT()SI_UNIT($,.RADIAN.));\n" MM POINTS),
		BOX("0", "-1.5", "3", "1", "2", "20"), NULL},
	    {"points of a plane are left out",
		STEP(MM POINTS "#10=CARTESIAN_POINT('',(99.,99.));\n"),
		BOX("0", "-1.5", "3", "1", "2", "20"), NULL},
	    {"statements over lines, comments, quotes",
		STEP(MM POINTS "#10=\nCARTESIAN_POINT(\n'a;b''(',\r\n(5.,\n5.,5.)\n);/* ; ' */\n"
			       "#11/*x*/=CARTESIAN_POINT('',(6.,6.,6.));\n"),
		BOX("0", "-1.5", "3", "6", "6", "20"), NULL},
	    {"cut", "ISO-10303-21;\n" MM POINTS, BOX("0", "-1.5", "3", "1", "2", "20"),
		"truncated"},
	    {"no point", STEP(MM), "", "unparsable"},
	    {"no number", STEP(POINTS "#1=CARTESIAN_POINT('',(a,b,c));\n"),
		BOX("0", "-1.5", "3", "1", "2", "20"), "bad_coordinates"},
	};

	TAP_EACH(cases, c)
	{
		struct fixture f = fixture_read(str_from(c->text), "x.step");

		is_z(f.m->kind, "step", c->name);
		is_z(f.m->reason_code, c->code, "reason");
		is_str(fixture_member(&f, "bounding_box"), str_from(c->box), "box");
		fixture_close(&f);
	}
}

static void
test_names(void)
{
	struct fixture f = fixture_read(
	    STR(STEP(MM POINTS "#20=PRODUCT('id','Bracket','',(#21));\n"
			       "#22=PRODUCT('only id','','',(#21));\n")),
	    "whatever");

	is_z(f.m->kind, "step", "told by its content");
	is_str(fixture_member(&f, "objects"), STR("[{\"name\":\"Bracket\"}]"), "products");
	fixture_close(&f);
}

int
main(void)
{
	test_boxes();
	test_names();
	return tap_done();
}
