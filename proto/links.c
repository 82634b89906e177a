/* SPDX-License-Identifier: Apache-2.0 */
/* Connections by descriptor. */
#include "proto/links.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/mem.h"

enum { MAX_FD = 1 << 20, MAX_LOOK = 256 };

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
links_hear(links *l, int fd, const zsocket_peer *peer)
{
    links_one *one = find(l, fd);

    if (!one || !is_of(one, peer))
        return false;
    one->heard = true;
    return true;
}

void
links_speak(links *l, int fd, const zsocket_peer *peer)
{
    links_one *one = find(l, fd);

    if (!one)
        return;
    one->peer = *peer;
    one->heard = true;
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

/* What ZeroMQ has read of a connection; false: the kernel does not count it. */
static bool
bytes_read(uint64_t *out, int fd)
{
    struct tcp_info info = {.tcpi_bytes_received = 0};
    socklen_t len = sizeof(info);
    int unread = 0;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
        ioctl(fd, FIONREAD, &unread) != 0 || unread < 0 ||
        info.tcpi_bytes_received < (uint64_t)unread)
        return false;
    *out = info.tcpi_bytes_received - (uint64_t)unread;
    return true;
}

static bool
is_endless(links_one *one, int fd, uint64_t max)
{
    uint64_t n;

    if (one->since_ns == 0 || !bytes_read(&n, fd))
        return false;
    if (!one->heard)
        return n > one->read && n - one->read > max;
    one->heard = false;
    one->read = n;
    return false;
}

size_t
links_hang_up_endless(links *l, uint64_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n && i < MAX_LOOK; i++) {
        size_t fd = l->next < l->n ? l->next : 0;

        l->next = fd + 1;
        if (!is_endless(&l->at[fd], (int)fd, max))
            continue;
        hang_up(l, fd);
        n++;
    }
    return n;
}
