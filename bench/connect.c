/* Load for "a new connection for each request": connect, send, read to the end, close.
 *
 * usage: connect PORT CONNECTIONS SECONDS STATUS SIZE < request-head
 * Keeps CONNECTIONS going for SECONDS against 127.0.0.1:PORT and prints one line of JSON.  An
 * answer counts if its status is STATUS, it has at least SIZE bytes, and the server closed the
 * connection in order; everything else is a failure of the kind it is listed under.  Source
 * addresses 127.0.0.1 to 127.0.0.32 are taken in turn, so that one slice cannot use up the
 * ephemeral ports.  Latency runs from connect() to the end of the answer.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, PIECE = 65536, SOURCES = 32, LONGEST = 10 * 1000 * 1000, STALLED = 2 };

struct client {
    int fd, sent;
    size_t got;
    double began;
    char start[16];
};

static struct {
    long requests, bytes, connect, read, status, size, timeout;
} seen;
static unsigned *spent; /* how many answers took that many microseconds */
static char head[16384], piece[PIECE];
static size_t head_size, least;
static const char *status;
static struct sockaddr_in server;
static int poll_fd;
static double end;

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void begin(struct client *client)
{
    static unsigned turn;
    int one = 1;
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + turn++ % SOURCES);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    client->sent = 0;
    client->got = 0;
    client->began = now();
    struct epoll_event wish = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
    if (client->fd < 0 || bind(client->fd, (struct sockaddr *)&source, sizeof source) ||
        (connect(client->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)) {
        seen.connect++;
        if (client->fd >= 0)
            close(client->fd);
        client->fd = -1;
        return;
    }
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, client->fd, &wish);
}

static void finish(struct client *client, long *failure)
{
    double at = now();
    close(client->fd);
    if (failure) {
        ++*failure;
    } else if (memcmp(client->start, "HTTP/1.", 7) || memcmp(client->start + 9, status, 3)) {
        seen.status++;
    } else if (client->got < least) {
        seen.size++;
    } else if (at < end) {
        long took = (long)((at - client->began) * 1e6);
        spent[took < LONGEST ? took : LONGEST - 1]++;
        seen.requests++;
    }
    client->fd = -1;
    if (at < end)
        begin(client);
}

static void receive(struct client *client)
{
    for (;;) {
        ssize_t got = recv(client->fd, piece, PIECE, 0);
        if (got < 0) {
            if (errno != EAGAIN)
                finish(client, &seen.read);
            return;
        }
        if (got == 0) {
            finish(client, NULL);
            return;
        }
        if (client->got < sizeof client->start) {
            size_t room = sizeof client->start - client->got;
            memcpy(client->start + client->got, piece, (size_t)got < room ? (size_t)got : room);
        }
        client->got += (size_t)got;
        seen.bytes += got;
    }
}

static void ready(struct client *client, unsigned events)
{
    if (!client->sent && (events & EPOLLOUT)) {
        if (send(client->fd, head, head_size, MSG_NOSIGNAL) != (ssize_t)head_size) {
            finish(client, &seen.connect);
            return;
        }
        client->sent = 1;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(client);
}

/* Clients that wait too long are given up; those that could not begin try again. */
static void sweep(struct client *clients, int count)
{
    double at = now();
    for (int i = 0; i < count; i++) {
        if (clients[i].fd < 0)
            begin(&clients[i]);
        else if (at - clients[i].began > STALLED)
            finish(&clients[i], &seen.timeout);
    }
}

static long quantile(double share)
{
    double wanted = share * (double)seen.requests, sum = 0;
    for (long took = 0; took < LONGEST; took++)
        if ((sum += spent[took]) >= wanted && sum > 0)
            return took;
    return 0;
}

int main(int count, char **words)
{
    if (count != 6)
        return fprintf(stderr, "usage: connect PORT CONNECTIONS SECONDS STATUS SIZE\n"), 2;
    int width = atoi(words[2]);
    status = words[4];
    least = (size_t)atol(words[5]);
    head_size = fread(head, 1, sizeof head, stdin);
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(words[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    spent = calloc(LONGEST, sizeof *spent);
    struct client *clients = calloc((size_t)width, sizeof *clients);
    if (!spent || !clients)
        return 1;
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    double began = now(), swept = began;
    end = began + atof(words[3]);
    for (int i = 0; i < width; i++)
        begin(&clients[i]);
    while (now() < end) {
        struct epoll_event events[EVENTS];
        int some = epoll_wait(poll_fd, events, EVENTS, 20);
        for (int i = 0; i < some; i++)
            ready(events[i].data.ptr, events[i].events);
        if (now() - swept > 0.1) {
            sweep(clients, width);
            swept = now();
        }
    }
    double took = now() - began;
    printf("{\"requests\": %ld, \"bytes\": %ld, \"microseconds\": %.0f, \"p50\": %ld, "
           "\"p99\": %ld, \"p999\": %ld, \"failures\": {\"connect\": %ld, \"read\": %ld, "
           "\"write\": 0, \"status\": %ld, \"timeout\": %ld, \"length\": %ld}}\n",
           seen.requests, seen.bytes, took * 1e6, quantile(0.5), quantile(0.99), quantile(0.999),
           seen.connect, seen.read, seen.status, seen.timeout, seen.size);
    return 0;
}
