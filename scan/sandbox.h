/* What soloprint-scan gives up before it reads a byte of its input. */
#ifndef SCAN_SANDBOX_H
#define SCAN_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

enum { SANDBOX_MEMORY_MIB = 256 };

struct sandbox_limits {
	int64_t file_bytes; /* how far any file may be written */
	int64_t cpu_s;
};

/* From here on the process can read, write and map memory, and end; no new descriptor, process or
 * privilege can be had. False when the kernel refuses: then nothing may be read. */
bool sandbox_enter(const struct sandbox_limits *limits);

#endif
