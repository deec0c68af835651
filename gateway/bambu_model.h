/* How Bambu's models differ in what can be asked of them. */
#ifndef GATEWAY_BAMBU_MODEL_H
#define GATEWAY_BAMBU_MODEL_H

#include <stdbool.h>

struct bambu_model {
	const char *name;
	const char *url;     /* what stands before an uploaded file's name in a start */
	bool clear_data;     /* some firmware cannot encrypt the data connection of an upload */
	bool plain_gcode;    /* prints a .gcode that is no 3MF */
	bool chamber_heater; /* takes a temperature for its chamber */
	bool extra_fans;     /* has an auxiliary and a chamber fan */
	bool jpeg_camera;    /* pictures on a port of their own; else RTSP when switched on */
	bool no_chamber;     /* reports a constant instead of a chamber's temperature */
};

/* By what the printer says it is, else by what its owner says, else by its serial number; never
 * NULL. */
const struct bambu_model *bambu_model(
    const char *product, const char *configured, const char *serial);

#endif
