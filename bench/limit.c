/* The limit of the comparison: an epoll loop that only receives and sends fixed bytes.
 *
 * usage: limit PORT HEAD FILE FIRST SIZE keep|close
 * Answers whatever it receives with one prepared response: the head that is in the file HEAD, and
 * SIZE bytes of FILE from FIRST on.  It parses nothing, checks nothing and takes every receive for
 * one whole request, so it is no web server; it marks what the kernel alone costs.  With "close"
 * each connection is closed after its answer.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, REQUEST = 16384, ANSWER = 1 << 20 };

static char request[REQUEST];
static char answer[ANSWER];
static size_t answer_size;
static int closing;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Adds to the answer what PATH holds from FIRST on, at most MOST bytes; returns how many. */
static size_t add(const char *path, long first, size_t most)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, first, SEEK_SET))
        die(path);
    size_t room = ANSWER - answer_size;
    size_t size = fread(answer + answer_size, 1, most < room ? most : room, file);
    fclose(file);
    answer_size += size;
    return size;
}

static int listen_on(int port)
{
    int one = 1, defer = 5;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer, sizeof defer);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 4096))
        die("listen");
    return fd;
}

/* Returns 0 once the connection is closed. */
static int serve(int fd)
{
    ssize_t got = recv(fd, request, sizeof request, 0);
    if (got < 0)
        return 1;
    if (got > 0 && send(fd, answer, answer_size, MSG_NOSIGNAL) == (ssize_t)answer_size && !closing)
        return 1;
    close(fd);
    return 0;
}

int main(int count, char **words)
{
    if (count != 7)
        return fprintf(stderr, "usage: limit PORT HEAD FILE FIRST SIZE keep|close\n"), 2;
    size_t size = (size_t)atol(words[5]);
    closing = !strcmp(words[6], "close");
    add(words[2], 0, ANSWER);
    if (add(words[3], atol(words[4]), size) != size)
        return fprintf(stderr, "limit: too large, or not there: %s\n", words[3]), 1;
    int door = listen_on(atoi(words[1]));
    int poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event wish = {.events = EPOLLIN, .data.fd = door}, events[EVENTS];
    epoll_ctl(poll, EPOLL_CTL_ADD, door, &wish);
    for (;;) {
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != door) {
                serve(events[i].data.fd);
                continue;
            }
            int fd;
            while ((fd = accept4(door, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                wish.data.fd = fd;
                if (serve(fd))
                    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &wish);
            }
        }
    }
}
