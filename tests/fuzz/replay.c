/* Runs a fuzz target over stored inputs: the main() of builds without libFuzzer. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

enum { INPUT_MOST = 1 << 20 };

static bool
replay(const char *path, uint8_t *buffer)
{
	FILE *f = fopen(path, "rb");
	uint8_t *exact;
	size_t n;

	if (!f) {
		perror(path);
		return false;
	}
	n = fread(buffer, 1, INPUT_MOST, f);
	fclose(f);
	exact = malloc(n ? n : 1); /* of its own size, so that a read behind its end is seen */
	must(exact != NULL);
	for (size_t i = 0; i < n; i++)
		exact[i] = buffer[i];
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	return true;
}

int
main(int argc, char **argv)
{
	uint8_t *buffer = malloc(INPUT_MOST);
	int good = 0;

	must(buffer != NULL);
	for (int i = 1; i < argc; i++)
		good += replay(argv[i], buffer);
	free(buffer);
	printf("%s: %d of %d inputs replayed\n", argv[0], good, argc - 1);
	return good == argc - 1 ? 0 : 1;
}
