/* SPDX-License-Identifier: Apache-2.0 */
/* Connections by descriptor. */
#include "proto/links.h"

#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"

enum { MAX_FD = 1 << 20 };

void
links_fini(links *l)
{
    mem_free(l->at);
    *l = (links){.at = NULL};
}

void
links_come(links *l, int fd, uint64_t now_ns)
{
    size_t want = (size_t)fd + 1;

    if (fd < 0 || fd >= MAX_FD)
        return;
    if (want > l->n) {
        if (mem_resize(&l->at, want, sizeof(*l->at)) != ST_OK)
            return;
        memset(l->at + l->n, 0, (want - l->n) * sizeof(*l->at));
        l->n = want;
    }
    l->at[fd] = (links_one){.since_ns = now_ns > 0 ? now_ns : 1};
}

static links_one *
find(const links *l, int fd)
{
    return fd >= 0 && (size_t)fd < l->n && l->at[fd].since_ns > 0 ? &l->at[fd]
                                                                  : NULL;
}

void
links_go(links *l, int fd)
{
    links_one *one = find(l, fd);

    if (one)
        *one = (links_one){.since_ns = 0};
}

static bool
is_of(const links_one *one, const zsocket_peer *peer)
{
    return one->since_ns > 0 && one->peer.len == peer->len &&
           memcmp(one->peer.id, peer->id, peer->len) == 0;
}

bool
links_is(const links *l, int fd, const zsocket_peer *peer)
{
    const links_one *one = find(l, fd);

    return one && is_of(one, peer);
}

void
links_speak(links *l, int fd, const zsocket_peer *peer)
{
    links_one *one = find(l, fd);

    if (one)
        one->peer = *peer;
}

/* It is closed by who owns it, once that has noticed. */
static void
hang_up(links *l, size_t fd)
{
    (void)shutdown((int)fd, SHUT_RDWR);
    l->at[fd] = (links_one){.since_ns = 0};
}

bool
links_hang_up(links *l, const zsocket_peer *peer)
{
    for (size_t fd = 0; fd < l->n; fd++)
        if (is_of(&l->at[fd], peer)) {
            hang_up(l, fd);
            return true;
        }
    return false;
}

size_t
links_hang_up_silent(links *l, uint64_t before_ns)
{
    size_t n = 0;

    for (size_t fd = 0; fd < l->n; fd++) {
        const links_one *one = &l->at[fd];

        if (one->since_ns == 0 || one->since_ns > before_ns ||
            one->peer.len > 0)
            continue;
        hang_up(l, fd);
        n++;
    }
    return n;
}
