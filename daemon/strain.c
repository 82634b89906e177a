/* SPDX-License-Identifier: Apache-2.0 */
/* Norms against norms. */
#include "daemon/strain.h"

#include <stdio.h>

void
strain_sentence(char out[CLIENT_MAX_WARNING + 1], const document *doc,
                const float *trained, uint32_t n_trained)
{
    uint32_t worst = 0;
    float most = STRAIN_FACTOR;

    *out = '\0';
    if (doc->n_norm != n_trained)
        return;
    for (uint32_t l = 0; l < n_trained; l++) {
        /* A layer that never held anything counts from a thousandth on. */
        float base = trained[l] > 1e-3f ? trained[l] : 1e-3f;
        float times = doc->norm[l] / base;

        if (times > most) {
            most = times;
            worst = l;
        }
    }
    if (most > STRAIN_FACTOR)
        (void)snprintf(out, CLIENT_MAX_WARNING + 1,
                       "the memory of layer %u has a norm of %.4g, %.3g times "
                       "the largest that training knew (%.4g): answers may "
                       "mean nothing",
                       (unsigned)worst, (double)doc->norm[worst], (double)most,
                       (double)trained[worst]);
}
