/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over files and directories of files, without libFuzzer:
 * the committed corpora with every compiler. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

enum { INPUT_CAP = 1 << 20, PATH_CAP = 4096 };

/* Its size exactly, so that a sanitizer sees the first byte behind it. */
static int
run_file(const char *path)
{
    static uint8_t buffer[INPUT_CAP];
    FILE *file = fopen(path, "rb");
    uint8_t *data;
    size_t n;

    if (!file) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 0;
    }
    n = fread(buffer, 1, sizeof(buffer), file);
    (void)fclose(file);
    data = malloc(n > 0 ? n : 1);
    CHECK(data);
    memcpy(data, buffer, n);
    (void)LLVMFuzzerTestOneInput(data, n);
    free(data);
    return 1;
}

static int
run_directory(const char *path)
{
    DIR *list = opendir(path);
    struct dirent *entry;
    int n = 0;

    while (list && (entry = readdir(list)) != NULL) {
        char file[PATH_CAP];
        int len = snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);

        if (entry->d_name[0] != '.' && len > 0 && (size_t)len < sizeof(file))
            n += run_file(file);
    }
    if (list)
        (void)closedir(list);
    return n;
}

int
main(int argc, char **argv)
{
    int n = 0;

    for (int i = 1; i < argc; i++) {
        struct stat info;

        if (stat(argv[i], &info) == 0 && S_ISDIR(info.st_mode))
            n += run_directory(argv[i]);
        else
            n += run_file(argv[i]);
    }
    printf("%d inputs\n", n);
    return n > 0 ? 0 : 1; /* a corpus that is not found is no success */
}
