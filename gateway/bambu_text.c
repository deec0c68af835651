#include "gateway/bambu_text.h"

#include <stddef.h>

#define ANY_UNIT 0xFF00FFFFu /* the second byte is the AMS; 0xFF stands for an external spool */
#define ANY_UNIT_SLOT 0xFF00F0FFu /* and the lower half of the third the slot */
#define EXACT 0xFFFFFFFFu

const char *
bambu_error_text(uint32_t error)
{
	static const struct {
		uint32_t mask, code;
		const char *text;
	} errors[] = {
	    {EXACT, 0x03004000, "homing the Z axis did not work; printing was stopped"},
	    {EXACT, 0x03004002, "levelling the bed did not work; printing was stopped"},
	    {EXACT, 0x03004005, "the fan of the hotend does not turn as it should"},
	    {EXACT, 0x03004006, "the nozzle is clogged"},
	    {EXACT, 0x0300400C, "the print was cancelled"},
	    {EXACT, 0x03008001, "paused by a user"},
	    {EXACT, 0x03008002, "paused: the first layer has defects"},
	    {EXACT, 0x03008003, "paused: the print seems to have come loose as spaghetti"},
	    {EXACT, 0x03008004, "paused: the filament has run out"},
	    {EXACT, 0x03008005, "paused: the front cover of the toolhead has come off"},
	    {EXACT, 0x03008006, "paused: the build plate's marker was not found"},
	    {EXACT, 0x03008007, "a print was interrupted by a loss of power and can be resumed"},
	    {EXACT, 0x03008008, "paused: the nozzle's temperature is not as it should be"},
	    {EXACT, 0x03008009, "paused: the bed's temperature is not as it should be"},
	    {EXACT, 0x0300800A, "paused: filament has piled up in the waste chute"},
	    {EXACT, 0x0300800B, "paused: the cutter is stuck"},
	    {EXACT, 0x05004002, "the path or name of the print file cannot be used"},
	    {EXACT, 0x05004003, "the print file cannot be read"},
	    {EXACT, 0x05004004, "the printer is busy and starts no other print"},
	    {EXACT, 0x05004006, "there is too little storage for the print"},
	    {EXACT, 0x0500400E, "the print was cancelled"},
	    {EXACT, 0x05024007, "the command was not signed: the printer is not in Developer Mode"},
	    {EXACT, 0x05024009,
		"the command was not signed validly: the printer is not in Developer Mode"},
	    {EXACT, 0x07FF8011, "the external spool has run out"},
	    {ANY_UNIT, 0x07008001, "the filament could not be cut"},
	    {ANY_UNIT, 0x07008003, "the filament could not be pulled out of the extruder"},
	    {ANY_UNIT, 0x07008004, "the AMS could not pull the filament back"},
	    {ANY_UNIT, 0x07008005, "the AMS could not feed the filament"},
	    {ANY_UNIT, 0x07008006, "the filament did not reach the extruder"},
	    {ANY_UNIT, 0x07008007, "no filament came out of the nozzle"},
	    {ANY_UNIT, 0x07008010, "the motor of the AMS has too much to pull"},
	    {ANY_UNIT, 0x07008011, "the filament in the AMS has run out"},
	    {ANY_UNIT, 0x07008012, "the print's filaments are not assigned to slots of the AMS"},
	};

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if ((error & errors[i].mask) == errors[i].code)
			return errors[i].text;
	return NULL;
}

const char *
bambu_hms_text(uint32_t attr, uint32_t code)
{
	static const struct {
		uint32_t mask, attr, code;
		const char *text;
	} messages[] = {
	    {EXACT, 0x03009600, 0x00030001, "the front door is open"},
	    {EXACT, 0x05000500, 0x00010007,
		"commands must be signed: the printer is not in Developer Mode"},
	    {ANY_UNIT_SLOT, 0x07002000, 0x00020001,
		"the filament in a slot of the AMS has run out"},
	    {ANY_UNIT_SLOT, 0x07002000, 0x00020002, "a slot of the AMS is empty"},
	    {ANY_UNIT_SLOT, 0x07002000, 0x00020003, "the filament may be broken inside the AMS"},
	};

	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
		if ((attr & messages[i].mask) == messages[i].attr && code == messages[i].code)
			return messages[i].text;
	return NULL;
}
