#include "gateway/camera_feeds.h"
#include <stdlib.h>
char *
find_program(const char *name)
{
	(void)name;
	return NULL;
}
bool
feed_rtsp_works(const struct feeds *f)
{
	return f->ffmpeg != NULL;
}
const struct feed_ops feed_rtsp = {NULL, NULL, NULL};
