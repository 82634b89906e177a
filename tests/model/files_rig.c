/* SPDX-License-Identifier: Apache-2.0 */
/* Files, and the limits within which a wrong one is refused. */
#include "tests/model/files_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/expect.h"

char files_rig_dir[] = "/tmp/longwave-safetensors-XXXXXX";

const char *
files_rig_path(const char *name)
{
    static char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", files_rig_dir, name);
    return path;
}

void
files_rig_write(const char *name, const void *data, size_t len)
{
    FILE *file = fopen(files_rig_path(name), "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

void
files_rig_tensors(const char *name, const char *header, size_t n_data)
{
    uint64_t len = strlen(header);
    size_t size = sizeof(len) + len + n_data;
    unsigned char *bytes = malloc(size);

    assert_non_null(bytes);
    memcpy(bytes, &len, sizeof(len));
    memcpy(bytes + sizeof(len), header, len);
    for (size_t i = 0; i < n_data; i++)
        bytes[sizeof(len) + len + i] = (unsigned char)i;
    files_rig_write(name, bytes, size);
    free(bytes);
}

/* Lets the process have `more` bytes of address space beyond what it has, so
 * that whoever believes a size in a file fails with the wrong status.  0: as
 * much as it likes.  A sanitizer needs terabytes. */
static void
limit_memory(size_t more)
{
#ifndef LONGWAVE_SANITIZED
    struct rlimit limit;
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    (void)fclose(file);
    assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur =
        more ? pages * (rlim_t)sysconf(_SC_PAGESIZE) + more : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
#else
    (void)more;
#endif
}

void
files_rig_refused_within(size_t memory, const char *path, const char *what,
                         const char *sentence)
{
    safetensors *s = NULL;
    struct stat info;
    status st;

    limit_memory((stat(path, &info) == 0 ? (size_t)info.st_size : 0) + memory);
    st = safetensors_open(&s, path);
    limit_memory(0);

    if (st != ST_ARG || s != NULL || strstr(status_text(), sentence) == NULL)
        fail_msg("%s: got %s (%s)", what, status_name(st), status_text());
}

void
files_rig_refused(const char *path, const char *what, const char *sentence)
{
    files_rig_refused_within(16 << 20, path, what, sentence);
}

int
files_rig_open(void **state)
{
    (void)state;
    return mkdtemp(files_rig_dir) != NULL ? 0 : -1;
}

int
files_rig_close(void **state)
{
    static const char *const names[] = {
        "bad",           "cut",           "good",          "numbers", "alias",
        "1.safetensors", "2.safetensors", "3.safetensors", "w1",      "w2"};

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)unlink(files_rig_path(names[i]));
    return rmdir(files_rig_dir);
}
