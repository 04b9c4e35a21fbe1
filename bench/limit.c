/* The limit of the comparison: an epoll loop that only receives and sends fixed bytes.
 *
 * usage: limit PORT FILE keep|close
 * Answers whatever it receives with one prepared response, which is in FILE.  It parses nothing,
 * checks nothing and takes every receive for one whole request, so it is no web server; it marks
 * what the kernel alone costs.  With "close" each connection is closed after its answer.
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
    if (count != 4)
        return fprintf(stderr, "usage: limit PORT FILE keep|close\n"), 2;
    closing = !strcmp(words[3], "close");
    FILE *file = fopen(words[2], "rb");
    if (!file)
        die(words[2]);
    answer_size = fread(answer, 1, ANSWER, file);
    fclose(file);
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
