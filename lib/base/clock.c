#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"

static int64_t
read_us(clockid_t id)
{
	struct timespec ts;

	must(clock_gettime(id, &ts) == 0);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
clock_mono_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

int64_t
clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

int64_t
clock_unix_ms(void)
{
	return read_us(CLOCK_REALTIME) / 1000;
}

int64_t
clock_unix_s(void)
{
	return clock_unix_ms() / 1000;
}

void
clock_rfc3339_to(char out[40], int64_t unix_ms)
{
	time_t s = (time_t)(unix_ms / 1000);
	int ms = (int)(unix_ms % 1000);
	struct tm tm;
	size_t n;

	if (ms < 0) {
		ms += 1000;
		s--;
	}
	must(gmtime_r(&s, &tm) != NULL);
	n = strftime(out, 24, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, 40 - n, ".%03dZ", ms);
}

struct str
clock_rfc3339(struct arena *a, int64_t unix_ms)
{
	char text[40];

	clock_rfc3339_to(text, unix_ms);
	return str_dup(a, str_from(text));
}
