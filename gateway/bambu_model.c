#include "gateway/bambu_model.h"

#include "base/str.h"

#define FTP "ftp:///"
#define FTP_BARE "ftp://" /* as an A1 was seen to accept it */

static const struct bambu_model models[] = {
    /* name, url, clear_data, plain_gcode, chamber_heater, extra_fans, jpeg_camera, no_chamber */
    {"A1", FTP_BARE, true, false, false, false, true, true},
    {"A1 mini", FTP_BARE, true, false, false, false, true, true},
    {"A2L", FTP, true, false, false, false, true, true},
    {"P1P", FTP, false, true, false, true, true, true},
    {"P1S", FTP, false, true, false, true, true, true},
    {"X1", FTP, false, true, false, true, false, false},
    {"X1C", FTP, false, true, false, true, false, false},
    {"X1E", FTP, false, true, true, true, false, false},
    {"P2S", FTP, false, false, false, true, false, false},
    {"X2D", FTP, false, false, false, true, false, false},
    {"H2D", FTP, false, false, true, true, false, false},
    {"H2S", FTP, false, false, true, true, false, false},
    {"H2C", FTP, false, false, true, true, false, false},
    {"", FTP, false, false, false, true, false, false}, /* any other */
};
enum { OTHER = sizeof(models) / sizeof(models[0]) - 1 };

/* Other names of the same: in words, and the maker's codes. */
static const struct {
	const char *alias, *name;
} aliases[] = {
    {"A1M", "A1 mini"},
    {"A1MINI", "A1 mini"},
    {"A1-mini", "A1 mini"},
    {"BL-P001", "X1C"},
    {"BL-P002", "X1"},
    {"C11", "P1P"},
    {"C12", "P1S"},
    {"C13", "X1E"},
    {"H2D Pro", "H2D"},
    {"N1", "A1 mini"},
    {"N2S", "A1"},
    {"N6", "X2D"},
    {"N7", "P2S"},
    {"N9", "A2L"},
    {"O1C", "H2C"},
    {"O1C2", "H2C"},
    {"O1D", "H2D"},
    {"O1S", "H2S"},
    {"X1 Carbon", "X1C"},
    {"X1-Carbon", "X1C"},
};

static const struct {
	const char *prefix, *name;
} serials[] = {
    {"00M", "X1C"},
    {"00W", "X1"},
    {"01P", "P1S"},
    {"01S", "P1P"},
    {"030", "A1 mini"},
    {"039", "A1"},
    {"03W", "X1E"},
    {"094", "H2D"},
    {"22E", "P2S"},
};

static const struct bambu_model *
by_name(struct str name)
{
	static const struct str maker[] = {STR_INIT("Bambu Lab "), STR_INIT("Bambu ")};

	name = str_trim(name);
	for (size_t i = 0; i < sizeof(maker) / sizeof(maker[0]); i++)
		if (name.n > maker[i].n && str_ieq((struct str){name.p, maker[i].n}, maker[i]))
			name = (struct str){name.p + maker[i].n, name.n - maker[i].n};
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (str_ieq(name, str_from(aliases[i].alias)))
			name = str_from(aliases[i].name);
	for (int i = 0; i < OTHER; i++)
		if (str_ieq(name, str_from(models[i].name)))
			return &models[i];
	return NULL;
}

static const struct bambu_model *
by_serial(struct str serial)
{
	for (size_t i = 0; i < sizeof(serials) / sizeof(serials[0]); i++)
		if (str_starts(serial, str_from(serials[i].prefix)))
			return by_name(str_from(serials[i].name));
	return NULL;
}

const struct bambu_model *
bambu_model(const char *product, const char *configured, const char *serial)
{
	const struct bambu_model *m = by_name(str_from(product));

	if (!m)
		m = by_name(str_from(configured));
	if (!m)
		m = by_serial(str_from(serial));
	return m ? m : &models[OTHER];
}
