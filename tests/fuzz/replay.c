/* replay.c - feeds a fuzz target the files that are named, each one whole: what libFuzzer does with a corpus,
 * under any compiler. The name stands in the output before the file is tried, so that a crash names its
 * input. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    long size = file != NULL && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    uint8_t *data =
        size >= 0 ? malloc((size_t)size) : NULL; /* exactly, so that the sanitizer sees a byte too many */
    if (size < 0 || (data == NULL && size > 0) || fseek(file, 0, SEEK_SET) == -1 ||
        fread(data, 1, (size_t)size, file) != (size_t)size) {
        perror(path);
        return 1;
    }
    (void)fclose(file);
    (void)LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = argc < 2;
    for (int i = 1; i < argc && !failed; i++) {
        (void)puts(argv[i]);
        (void)fflush(stdout);
        failed = replay(argv[i]);
    }
    return failed;
}
