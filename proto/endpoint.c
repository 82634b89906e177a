/* SPDX-License-Identifier: Apache-2.0 */
/* Parses endpoints, and looks whether an ipc path is alive. */
#include "proto/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

enum { CLAIM_TRIES = 100, CLAIM_WAIT_US = 10000, MAX_HOST = 64 };

static status
unknown(const char *text)
{
    return status_fail(ST_ARG,
                       "'%s' is not an endpoint: it is ipc:///PATH or "
                       "tcp://ADDRESS:PORT",
                       text);
}

static status
ipc(endpoint *out, const char *text, const char *path)
{
    struct sockaddr_un address;

    /* '@' is the abstract name space, open to every user; '*' is a file of
     * ZeroMQ's choice. */
    if (*path == 0 || *path == '@' || *path == '*')
        return unknown(text);
    if (strlen(path) >= sizeof(address.sun_path))
        return status_fail(ST_ARG,
                           "the path of '%s' is longer than the %zu bytes that "
                           "a socket can have",
                           text, sizeof(address.sun_path) - 1);
    out->path = out->text + (path - text);
    return ST_OK;
}

static bool
is_port(const char *text, endpoint_use use)
{
    unsigned long value = 0;
    size_t n = strspn(text, "0123456789");

    if (use == ENDPOINT_BIND && strcmp(text, "*") == 0)
        return true;
    if (n == 0 || n > 5 || text[n] != 0)
        return false;
    value = strtoul(text, NULL, 10);
    return value <= 65535 && (value > 0 || use == ENDPOINT_BIND);
}

/* The numeric addresses that ZeroMQ takes. */
static bool
read_address(endpoint *out, const char *host)
{
    size_t len = strlen(host);
    char inside[MAX_HOST];
    struct in6_addr six;
    struct in_addr four;

    if (inet_pton(AF_INET, host, &four) == 1) {
        out->loopback = ntohl(four.s_addr) >> 24 == 127;
        return true;
    }
    if (len < 3 || host[0] != '[' || host[len - 1] != ']')
        return false;
    memcpy(inside, host + 1, len - 2);
    inside[len - 2] = '\0';
    out->ipv6 = inet_pton(AF_INET6, inside, &six) == 1;
    out->loopback = out->ipv6 && IN6_IS_ADDR_LOOPBACK(&six);
    return out->ipv6;
}

/* Letters, digits, dots and hyphens, with a letter so that it is no mistyped
 * address. */
static bool
is_name(const char *host)
{
    static const char LETTER[] = "abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t n = 0;

    while (host[n] &&
           (strchr(LETTER, host[n]) || strchr("0123456789", host[n]) ||
            (n > 0 && strchr(".-", host[n]))))
        n++;
    return n > 0 && host[n] == '\0' && host[strcspn(host, LETTER)] != '\0';
}

static status
tcp(endpoint *out, const char *text, const char *address, endpoint_use use)
{
    const char *port = strrchr(address, ':');
    char host[MAX_HOST] = "";
    size_t len = port ? (size_t)(port - address) : 0;
    bool local;

    if (len == 0 || len >= sizeof(host) || !is_port(port + 1, use))
        return unknown(text);
    memcpy(host, address, len);
    local = strcmp(host, "localhost") == 0;
    if (local)
        out->loopback = true;
    else if (!read_address(out, host) &&
             !(use == ENDPOINT_BIND ? strcmp(host, "*") == 0 : is_name(host)))
        return unknown(text);
    snprintf(out->text, sizeof(out->text), "tcp://%s%s",
             local ? "127.0.0.1" : host, port);
    return ST_OK;
}

status
endpoint_parse(endpoint *out, const char *text, endpoint_use use)
{
    if (strlen(text) >= ENDPOINT_MAX)
        return status_fail(ST_ARG, "the endpoint is longer than %d bytes",
                           ENDPOINT_MAX - 1);
    *out = (endpoint){.path = NULL};
    snprintf(out->text, sizeof(out->text), "%s", text);
    if (strncmp(text, "ipc://", 6) == 0)
        return ipc(out, text, text + 6);
    if (strncmp(text, "tcp://", 6) == 0)
        return tcp(out, text, text + 6, use);
    return unknown(text);
}

/* The kernel refuses a connection to a socket file whose owner is gone. */
static status
connects(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    bool refused;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return status_fail(ST_IO, "no socket: %s", strerror(errno));
    memcpy(address.sun_path, path, strlen(path) + 1);
    refused = connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 &&
              (errno == ECONNREFUSED || errno == ENOENT);
    close(fd);
    return refused
               ? status_fail(ST_NOTFOUND, "nobody listens at ipc://%s", path)
               : ST_OK;
}

status
endpoint_probe(const endpoint *e)
{
    struct stat found;

    if (!e->path)
        return ST_OK;
    if (lstat(e->path, &found) != 0)
        return status_fail(errno == ENOENT ? ST_NOTFOUND : ST_IO, "%s: %s",
                           e->path, strerror(errno));
    if (!S_ISSOCK(found.st_mode))
        return status_fail(ST_STATE, "%s is there and is not a socket",
                           e->path);
    return connects(e->path);
}

/* The directory itself is the lock: nothing is left behind. */
static status
lock_directory(int *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    char directory[ENDPOINT_MAX] = ".";
    int fd;

    if (slash)
        snprintf(directory, sizeof(directory), "%.*s",
                 slash == path ? 1 : (int)(slash - path), path);
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return status_fail(ST_IO, "%s: %s", directory, strerror(errno));
    for (int i = 0; i < CLAIM_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            *out = fd;
            return ST_OK;
        }
        clock_sleep_us(CLAIM_WAIT_US);
    }
    close(fd);
    return status_fail(ST_STATE, "another program is starting in %s",
                       directory);
}

status
endpoint_claim(int *lock, const endpoint *e)
{
    int fd = -1;
    status st;

    if (e->path) {
        TRY(lock_directory(&fd, e->path));
        st = endpoint_probe(e);
        if (st == ST_OK)
            st = status_fail(ST_STATE, "%s is in use", e->text);
        if (st != ST_NOTFOUND)
            goto fail;
    }
    *lock = fd;
    return ST_OK;
fail:
    endpoint_release(fd);
    return st;
}

void
endpoint_release(int lock)
{
    if (lock >= 0)
        close(lock); /* and the lock with it */
}
