/* Binary G-code. The files are made here, by the format's published specification. */
#include <zlib.h>

#include "media_case.h"

enum { FILE_METADATA, GCODE, SLICER_METADATA, PRINTER_METADATA, PRINT_METADATA, THUMBNAIL };
enum { PLAIN, DEFLATE, HEATSHRINK };

static struct buf file;

static void
le(int n, uint32_t v)
{
	for (int i = 0; i < n; i++)
		buf_char(&file, (char)(v >> 8 * i));
}

static void
begin(uint16_t checksum)
{
	buf_clear(&file);
	buf_str(&file, STR("GCDE"));
	le(4, 1);
	le(2, checksum);
}

/* Parameters of 2 bytes, or of 6. */
static void
block(uint16_t type, uint16_t compression, uint16_t param, struct str data)
{
	size_t from = file.n;
	unsigned char packed[65536];
	uLongf n = sizeof(packed);

	le(2, type);
	le(2, compression);
	le(4, (uint32_t)data.n);
	if (compression != PLAIN) {
		compress(packed, &n, (const Bytef *)data.p, data.n);
		data = (struct str){(const char *)packed, n};
		le(4, (uint32_t)n);
	}
	le(2, param);
	if (type == THUMBNAIL)
		le(4, 0);
	buf_str(&file, data);
	le(4, (uint32_t)crc32(0, (const Bytef *)file.p + from, (uInt)(file.n - from)));
}

static void
block_z(uint16_t type, uint16_t compression, const char *ini)
{
	block(type, compression, 0, str_from(ini));
}

static const char png[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x20\x08\x06\0\0\0....";

static const char printer[] =
    "printer_model=MK4\nfilament_type=PLA;PETG\nnozzle_diameter=0.4,0.4\nbed_temperature=60,85\n"
    "layer_height=0.2\ntemperature=215,240\nmax_layer_z=12.4\nextruder_colour=#FF8000;#DB5182\n"
    "filament used [mm]=986.61,0.00\nfilament used [g]=2.94,0.00\nfilament cost=0.08,0.00\n"
    "estimated printing time (normal mode)=1d 0h 32m 6s\n"
    "objects_info={\"objects\":[{\"name\":\"box.stl\",\"polygon\":[[1,2]]},{\"name\":\"lid.stl\"}]}\n";

static void
a_file(uint16_t compression)
{
	char ini[4096] = "first_layer_height=0.25\nstart_gcode=";
	size_t n = strlen(ini);

	/* A line that is longer than inih takes at once, and one after it. */
	memset(ini + n, 'x', 1200);
	snprintf(ini + n + 1200, sizeof(ini) - n - 1200,
	    "\\nlayer_height=9\nfilament_settings_id=%s;%s;\"%0200d\"\nprinter_settings_id=MK4 IS\n",
	    "\"Prusament PLA Blend of a long name\"", "\"Prusament PETG\"", 7);
	begin(1);
	block_z(FILE_METADATA, PLAIN, "Producer=PrusaSlicer 2.8.1+win64\n");
	block_z(PRINTER_METADATA, compression, printer);
	block(THUMBNAIL, PLAIN, 0, (struct str){png, sizeof(png) - 1});
	block_z(PRINT_METADATA, compression,
	    "filament used [mm]=986.61,0.00\ntotal filament used [g]=2.95\n");
	block_z(SLICER_METADATA, compression, ini);
}

static struct media *
read_file(void)
{
	return case_read("x.bgcode", buf_view(&file));
}

static void
test_facts(uint16_t compression)
{
	static const struct case_fact facts[] = {
	    {"slicer", "{\"name\":\"PrusaSlicer\",\"version\":\"2.8.1+win64\"}"},
	    {"printer_model", "\"MK4\""},
	    {"printer_profile", "\"MK4 IS\""},
	    {"estimated_time_s", "88326"},
	    {"layer_height_mm", "0.2"},
	    {"first_layer_height_mm", "0.25"},
	    {"max_z_mm", "12.4"},
	    {"nozzle_diameters_mm", "[0.4,0.4]"},
	    {"temperatures", "{\"nozzle_c\":[215,240],\"bed_c\":60}"},
	    {"filaments",
		"[{\"slot\":0,\"material\":\"PLA\",\"color\":\"#FF8000FF\",\"vendor\":null,"
		"\"profile\":\"Prusament PLA Blend of a long name\",\"weight_mg\":2940,"
		"\"length_mm\":986.61}]"},
	    {"filament_weight_mg", "2950"},
	    {"filament_length_mm", "986.61"},
	    {"objects.0.name", "\"box.stl\""},
	    {"objects.1.name", "\"lid.stl\""},
	    {"bounding_box", ""},
	};
	struct media *m;

	a_file(compression);
	block(GCODE, HEATSHRINK, 2, STR("not looked into"));
	m = read_file();
	is_z(m->kind, "bgcode", "its kind");
	is_z(m->reason_code, NULL, "no reason");
	CASE_FACTS(m, compression ? "deflate" : "plain", facts);
	is_int(m->n_thumbnails, 1, "a picture");
	is_int(m->thumbnails[0].height, 32, "its height");
	case_free(m);
}

/* Commands that are not packed are read like text. */
static void
test_commands(void)
{
	struct media *m;

	a_file(DEFLATE);
	block_z(GCODE, DEFLATE, "M83\n;LAYER_CHANGE\nG1 X1 Y2 Z0.2\nG1 X10 Y1");
	block_z(GCODE, PLAIN, "2 E1\n");
	m = read_file();
	is_str(case_at(m, "bounding_box.max"), STR("{\"x_mm\":10,\"y_mm\":12,\"z_mm\":0.2}"),
	    "the box");
	is_str(case_at(m, "layer_count"), STR("1"), "layers");
	case_free(m);
	a_file(DEFLATE);
	block_z(GCODE, DEFLATE, "M83\n;LAYER_CHANGE\nG1 X1 Y2 Z0.2\nG1 X10 Y12 E1\n");
	block(GCODE, DEFLATE, 1, STR("MeatPack"));
	m = read_file();
	is_str(case_at(m, "bounding_box"), STR(""), "a box that is not known to its end is none");
	case_free(m);
}

static void
refused(const char *name, const char *code)
{
	struct media *m = read_file();

	is_z(m->kind, "bgcode", name);
	is_z(m->reason_code, code, "its reason");
	ok(m->reason.n > 0, "in words");
	case_free(m);
}

static void
test_refusals(void)
{
	a_file(PLAIN);
	file.n -= 5;
	refused("truncated", "truncated");
	a_file(PLAIN);
	file.p[30] ^= 1;
	refused("a bit is wrong", "bad_checksum");
	begin(1);
	file.p[4] = 2;
	refused("another version", "unparsable");
	begin(7);
	refused("another checksum", "unparsable");
	begin(1);
	block(9, PLAIN, 0, STR(""));
	refused("another block", "unparsable");
	begin(1);
	block(SLICER_METADATA, PLAIN, 0, STR("a=b\n"));
	file.p[14] = (char)0xff; /* the low byte of a size that grows beyond the file */
	refused("a size that is a lie", "truncated");
	begin(0);
	le(2, SLICER_METADATA);
	le(2, DEFLATE);
	le(4, 0x7fffffff);
	le(4, 8);
	le(2, 0);
	buf_str(&file, STR("12345678"));
	refused("what would be two gigabytes", "too_complex");
	begin(0);
	le(2, SLICER_METADATA);
	le(2, DEFLATE);
	le(4, 100);
	le(4, 8);
	le(2, 0);
	buf_str(&file, STR("12345678"));
	refused("what cannot be inflated", "unparsable");
}

/* What was read before the damage stays. */
static void
test_partial(void)
{
	struct media *m;

	a_file(PLAIN);
	block_z(SLICER_METADATA, PLAIN, "x=y\n");
	file.p[file.n - 1] ^= 1;
	m = read_file();
	is_z(m->reason_code, "bad_checksum", "damaged");
	is_str(case_at(m, "printer_model"), STR("\"MK4\""), "but read so far");
	case_free(m);
}

int
main(void)
{
	buf_init(&file, 1 << 20);
	test_facts(PLAIN);
	test_facts(DEFLATE);
	test_commands();
	test_refusals();
	test_partial();
	buf_fini(&file);
	return tap_done();
}
