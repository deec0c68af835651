/* What Bambu's codes mean, in words of our own, where it is generally known. */
#ifndef GATEWAY_BAMBU_TEXT_H
#define GATEWAY_BAMBU_TEXT_H

#include <stdint.h>

/* Of a print error and of a health message; NULL: not known. */
const char *bambu_error_text(uint32_t error);
const char *bambu_hms_text(uint32_t attr, uint32_t code);

#endif
