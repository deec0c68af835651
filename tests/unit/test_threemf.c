/* 3MF: core, production extension, slicers' parts. Whole files of the slicers are in tests/media.
 */
#include "media_fixture.h"

#define CORE "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
#define MESH                                                                                       \
	"<mesh><vertices><vertex x='0' y='0' z='0'/><vertex x='10' y='0' z='0'/>"                  \
	"<vertex x='0' y='20' z='0'/><vertex x='0' y='0' z='30'/></vertices><triangles>"           \
	"<triangle v1='0' v2='2' v3='1'/><triangle v1='0' v2='1' v3='3'/>"                         \
	"<triangle v1='0' v2='3' v3='2'/><triangle v1='1' v2='2' v3='3'/></triangles></mesh>"
#define MODEL(unit, resources, build)                                                              \
	"<model unit='" unit "' xmlns='" CORE "'><resources>" resources                            \
	"</resources><build>" build "</build></model>"
#define TETRA "<object id='1' name='tetra'>" MESH "</object>"

static struct buf archive;

static struct fixture
read_with(const char *model, const char *name, const char *content)
{
	struct zip_item items[] = {
	    {"3D/3dmodel.model", str_from(model)}, {name, str_from(content)}, {NULL, STR_NONE}};

	fixture_zip(&archive, items);
	return fixture_read(buf_view(&archive), "x.3mf");
}

static void
test_boxes(void)
{
#define BOX(x0, y0, z0, x1, y1, z1)                                                                \
	"{\"min\":{\"x_mm\":" x0 ",\"y_mm\":" y0 ",\"z_mm\":" z0 "},\"max\":{\"x_mm\":" x1         \
	",\"y_mm\":" y1 ",\"z_mm\":" z1 "}}"
	static const struct {
		const char *name, *model, *want;
	} cases[] = {
	    {"as it is", MODEL("millimeter", TETRA, "<item objectid='1'/>"),
		BOX("0", "0", "0", "10", "20", "30")},
	    {"moved",
		MODEL("millimeter", TETRA,
		    "<item objectid='1' transform='1 0 0 0 1 0 0 0 1 5 6 7'/>"),
		BOX("5", "6", "7", "15", "26", "37")},
	    {"turned by a quarter",
		MODEL("millimeter", TETRA,
		    "<item objectid='1' transform='0 1 0 -1 0 0 0 0 1 0 0 0'/>"),
		BOX("-20", "0", "0", "0", "10", "30")},
	    {"twice",
		MODEL("millimeter", TETRA,
		    "<item objectid='1'/><item objectid='1' transform='2 0 0 0 2 0 0 0 2 100 0 0'/>"),
		BOX("0", "0", "0", "120", "40", "60")},
	    {"centimetres, and the move too",
		MODEL("centimeter", TETRA,
		    "<item objectid='1' transform='1 0 0 0 1 0 0 0 1 1 0 0'/>"),
		BOX("10", "0", "0", "110", "200", "300")},
	    {"inches", MODEL("inch", TETRA, "<item objectid='1'/>"),
		BOX("0", "0", "0", "254", "508", "762")},
	    {"not printed",
		MODEL("millimeter", TETRA,
		    "<item objectid='1'/><item objectid='1' printable='0' transform='9 0 0 0 9 0 0 0 9 0 0 0'/>"),
		BOX("0", "0", "0", "10", "20", "30")},
	    {"first the component's move, then the item's",
		MODEL("millimeter",
		    TETRA "<object id='2'><components><component objectid='1' "
			  "transform='1 0 0 0 1 0 0 0 1 1 0 0'/></components></object>",
		    "<item objectid='2' transform='0 1 0 -1 0 0 0 0 1 0 0 0'/>"),
		BOX("-20", "1", "0", "0", "11", "30")},
	    {"no build", MODEL("millimeter", TETRA, ""), BOX("0", "0", "0", "10", "20", "30")},
	    {"support is not the part",
		MODEL("millimeter", TETRA "<object id='3' type='support'>" MESH "</object>",
		    "<item objectid='1'/><item objectid='3' transform='1 0 0 0 1 0 0 0 1 99 0 0'/>"),
		BOX("0", "0", "0", "10", "20", "30")},
	};

	TAP_EACH(cases, c)
	{
		struct fixture f = read_with(c->model, "x", "");

		is_z(f.m->reason_code, NULL, c->name);
		is_str(fixture_member(&f, "bounding_box"), str_from(c->want), "its box");
		is_str(fixture_member(&f, "triangle_count"), STR("4"), "triangles");
		fixture_close(&f);
	}
}

static void
test_parts(void)
{
	struct fixture f = read_with(
	    MODEL("millimeter",
		"<object id='2' name='both'><components><component p:path='/3D/Objects/a.model' "
		"objectid='1'/><component objectid='1' p:path='/3D/Objects/a.model' "
		"transform='1 0 0 0 1 0 0 0 1 50 0 0'/></components></object>",
		"<item objectid='2'/>"),
	    "3D/Objects/a.model", MODEL("millimeter", TETRA, ""));

	is_z(f.m->reason_code, NULL, "a part of the production extension");
	is_str(fixture_member(&f, "bounding_box"), STR(BOX("0", "0", "0", "60", "20", "30")),
	    "is placed twice");
	is_str(fixture_member(&f, "triangle_count"), STR("4"), "and counted once");
	is_str(fixture_member(&f, "objects"), STR("[{\"name\":\"both\"}]"), "what is built");
	is_int(f.m->n_keys, 2, "keys of the mesh");
	fixture_close(&f);
}

static void
test_keys(void)
{
	struct fixture
	    a = read_with(MODEL("millimeter", TETRA,
			      "<item objectid='1' transform='0 1 0 -1 0 0 0 0 1 100 0 0'/>"),
		"x", ""),
	    b = fixture_read(
		STR("solid t\nfacet\nvertex 7 25 30\nvertex 7 5 60\nvertex 17 5 30\nendfacet\n"
		    "facet\nvertex 7 5 30\nvertex 7 25 30\nvertex 17 5 30\nendfacet\n"
		    "facet\nvertex 7 5 30\nvertex 17 5 30\nvertex 7 5 60\nendfacet\n"
		    "facet\nvertex 7 5 60\nvertex 7 25 30\nvertex 7 5 30\nendfacet\nendsolid\n"),
		"t.stl");

	is_int(a.m->n_keys, 2, "keys of the object");
	is_str(a.m->keys[0], b.m->keys[0], "are the STL's, wherever the build puts it");
	is_str(a.m->keys[1], b.m->keys[1], "both of them");
	fixture_close(&a);
	fixture_close(&b);
}

static void
test_metadata(void)
{
	struct fixture f = read_with(
	    "<model xmlns='" CORE "'><metadata name='Title'> A &amp; B </metadata>"
	    "<metadata name='Designer'>Ann\n\x01</metadata><metadata "
	    "name='Application'>BambuStudio-01.09.00.70</metadata><resources/><build/></model>",
	    "x", "");

	is_z(f.m->reason_code, "xml_malformed", "control characters are not XML");
	is_str(fixture_member(&f, "title"), STR("\"A & B\""), "what stood before them is kept");
	fixture_close(&f);
	f = read_with("<model><metadata name='Designer'>Ann</metadata><metadata "
		      "name='Application'>BambuStudio-01.09.00.70</metadata></model>",
	    "Metadata/Slic3r_PE_model.config",
	    "<config><object id='1'><metadata type='object' key='name' value='Base'/><volume>"
	    "<metadata key='name' value='no'/></volume></object><object id='2'><metadata key='name' "
	    "value='Lid'/></object></config>");
	is_str(fixture_member(&f, "designer"), STR("\"Ann\""), "designer");
	is_str(fixture_member(&f, "slicer"),
	    STR("{\"version\":\"01.09.00.70\",\"name\":\"BambuStudio\"}"), "slicer");
	is_str(fixture_member(&f, "objects"), STR("[{\"name\":\"Base\"},{\"name\":\"Lid\"}]"),
	    "names beside the model");
	fixture_close(&f);
}

static void
test_plates(void)
{
	struct fixture f = read_with(MODEL("millimeter", TETRA, ""), "Metadata/slice_info.config",
	    "<config><plate><metadata key='index' value='2'/><metadata key='prediction' value='61.4'/>"
	    "<metadata key='weight' value='1.2345'/><metadata key='printer_model_id' value='C12'/>"
	    "<metadata key='nozzle_diameters' value='0.4,0.6'/>"
	    "<filament id='2' type='PLA' color='#ff00aa' used_m='0.5' used_g='1.5'/>"
	    "<filament id='0'/><filament id='65'/><filament id='1' color='red' used_g='nan'/></plate>"
	    "<plate><metadata key='index' value='1'/><filament id='2' type='PETG' color='#01020304' "
	    "used_m='0.25' used_g='0.5'/></plate></config>");

	is_z(f.m->kind, "3mf", "no G-code in it");
	is_z(f.m->reason_code, NULL, "read");
	is_str(fixture_member(&f, "printer_model"), STR("\"Bambu Lab P1S\""), "printer");
	is_str(fixture_member(&f, "nozzle_diameters_mm"), STR("[0.4,0.6]"), "nozzles");
	is_str(fixture_member(&f, "estimated_time_s"), STR("61"), "time");
	is_str(fixture_member(&f, "filament_length_mm"), STR("750"), "length");
	is_str(fixture_member(&f, "plates"),
	    STR("[{\"index\":1,\"name\":null,\"estimated_time_s\":null,\"filament_weight_mg\":null,"
		"\"bed_type\":null,\"filaments\":[{\"slot\":1,\"material\":\"PETG\",\"color\":\"#01020304\","
		"\"weight_mg\":500,\"length_mm\":250}],\"objects\":[],\"thumbnail\":null},"
		"{\"index\":2,\"name\":null,\"estimated_time_s\":61,\"filament_weight_mg\":1235,"
		"\"bed_type\":null,\"filaments\":[{\"slot\":1,\"material\":\"PLA\",\"color\":\"#FF00AAFF\","
		"\"weight_mg\":1500,\"length_mm\":500},{\"slot\":0,\"material\":null,\"color\":null,"
		"\"weight_mg\":0,\"length_mm\":0}],\"objects\":[],\"thumbnail\":null}]"),
	    "plates in their order");
	fixture_close(&f);
}

int
main(void)
{
	buf_init(&archive, 1 << 20);
	test_boxes();
	test_parts();
	test_keys();
	test_metadata();
	test_plates();
	buf_fini(&archive);
	return tap_done();
}
