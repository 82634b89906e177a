/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration needs at the least, and files of it. */
#include "tests/model/config_rig.h"

#include <stdio.h>
#include <string.h>

#include "tests/expect.h"

const char *
config_rig_text(const char *top, const char *base)
{
    static char text[4096];

    (void)snprintf(
        text, sizeof(text),
        "{\"model_type\":\"armt\",\"base_model_config\":{" CONFIG_RIG_BASE
        "%s%s}%s%s}",
        base[0] != '\0' ? "," : "", base, top[0] != '\0' ? "," : "", top);
    return text;
}

status
config_rig_parse(model_config *cfg, const char *top, const char *base)
{
    const char *text = config_rig_text(top, base);

    return config_parse(cfg, text, strlen(text), "config.json");
}

void
config_rig_expect(status st, status code, const char *name)
{
    if (st != code || strstr(status_text(), name) == NULL)
        fail_msg("got %s (%s), expected %s naming %s", status_name(st),
                 status_text(), status_name(code), name);
}

void
config_rig_write(const char *dir, const char *name, const char *text)
{
    char path[512];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}
