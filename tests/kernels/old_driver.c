/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's library as one of CUDA 11.4 would be: what a runtime asks of it
 * before it sees how old it is. */

enum { VERSION = 11040, NOT_FOUND = 500 };

int cuInit(unsigned flags);
int cuDriverGetVersion(int *version);
int cuGetProcAddress(const char *name, void **out, int version,
                     unsigned long flags);

int
cuInit(unsigned flags)
{
    (void)flags;
    return 0;
}

int
cuDriverGetVersion(int *version)
{
    *version = VERSION;
    return 0;
}

int
cuGetProcAddress(const char *name, void **out, int version, unsigned long flags)
{
    (void)name, (void)version, (void)flags;
    *out = (void *)0;
    return NOT_FOUND;
}
