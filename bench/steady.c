/* Load that keeps its pace: requests at fixed moments, whatever became of those before.
 *
 * usage: steady PORT CONNECTIONS WARM SECONDS RATE CHOICES STATUS SIZE [PID ...] < request-head
 * Opens CONNECTIONS to 127.0.0.1:PORT, asks once on each, goes on for WARM seconds uncounted, then
 * measures for SECONDS and prints one line of JSON.  With a RATE, request n is due n / RATE seconds
 * after the start and goes out on the connection that has been free for longest; its latency runs
 * from the moment at which it was due, so that a server that stands still pays for each request
 * that had to wait.  With RATE 0 each connection asks again as soon as it has its answer.  "{n}" in
 * the head becomes a random number below CHOICES.  An answer has SIZE octets and the status STATUS.
 *
 * "lag" is this program's own lateness: from the moment at which a request was due, and a
 * connection free for it, to its sending.  "cpu" is the CPU time of the processes PID meanwhile.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, PIECE = 1 << 20, COPIED = 1 << 16, LONGEST = 10 * 1000 * 1000, START = 12 };

struct client {
    int fd, asking, counts;
    size_t got;
    double due, freed;
    char start[START];
    struct client *next; /* in the queue of those that are free */
};

static struct {
    long requests, bytes, read, status;
} seen;
static unsigned *spent, *late; /* how many requests took, or were late by, that many microseconds */
static char before[16384], after[16384], piece[PIECE];
static size_t before_size, after_size, size;
static long choices;
static int poll_fd, measuring, count_of_pids;
static char **pids;
static const char *status;
static struct sockaddr_in server;
static struct client *first, **last = &first;
static double rate, began;
static long asked; /* requests taken off the schedule */

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static double cpu_used(void)
{
    double sum = 0;
    for (int i = 0; i < count_of_pids; i++) {
        struct timespec used;
        /* A process's CPU clock as the kernel numbers it: ~pid above, 2 = scheduler time. */
        if (!clock_gettime((clockid_t)((~(unsigned)atoi(pids[i]) << 3) | 2), &used))
            sum += (double)used.tv_sec + (double)used.tv_nsec / 1e9;
    }
    return sum;
}

static void note(unsigned *table, double seconds)
{
    long took = (long)(seconds * 1e6);
    table[took < 0 ? 0 : took < LONGEST ? took : LONGEST - 1]++;
}

static int ask(struct client *client)
{
    static uint64_t dice = 88172645463325252u;
    char head[sizeof before + sizeof after + 32];
    size_t length = before_size;
    memcpy(head, before, before_size);
    if (choices) {
        dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
        length += (size_t)sprintf(head + length, "%ld", (long)(dice % (uint64_t)choices));
        memcpy(head + length, after, after_size);
        length += after_size;
    }
    client->got = 0;
    client->asking = 1;
    client->counts = measuring;
    return send(client->fd, head, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* Returns 0 if the server cannot be reached. */
static int open_one(struct client *client)
{
    int one = 1;
    struct linger reset = {.l_onoff = 1};
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&server, sizeof server))
        return 0;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* Thousands of ports that wait for late segments would soon be all there are. */
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event wish = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, client->fd, &wish);
    return 1;
}

/* The connection is of no more use: it is replaced, and what it was asked for has failed. */
static void fail(struct client *client, long *kind)
{
    ++*kind;
    close(client->fd);
    if (!open_one(client) || (client->asking && !ask(client))) {
        fprintf(stderr, "the server takes no connections any more\n");
        exit(1);
    }
}

/* Send what is due, as far as there are connections free for it. */
static void ask_what_is_due(void)
{
    double at = now();
    while (first && began + (double)asked / rate <= at) {
        struct client *client = first;
        first = client->next;
        if (!first)
            last = &first;
        client->due = began + (double)asked++ / rate;
        if (measuring)
            note(late, at - (client->due > client->freed ? client->due : client->freed));
        if (!ask(client))
            fail(client, &seen.read);
        at = now();
    }
}

static void answered(struct client *client)
{
    double at = now();
    if (memcmp(client->start, "HTTP/1.1 ", 9) || memcmp(client->start + 9, status, 3)) {
        fail(client, &seen.status);
        return;
    }
    client->asking = 0;
    if (measuring && client->counts) {
        note(spent, at - client->due);
        seen.requests++;
    }
    client->freed = client->due = at;
    if (rate == 0) {
        if (!ask(client))
            fail(client, &seen.read);
        return;
    }
    client->next = NULL;
    *last = client;
    last = &client->next;
}

static void receive(struct client *client)
{
    size_t left = client->asking ? size - client->got : 1;
    /* Of a large answer only the beginning is copied, so that the load stays cheap. */
    int flags = client->got >= START && size > COPIED ? MSG_TRUNC : 0;
    size_t most = flags ? PIECE : COPIED;
    ssize_t got = recv(client->fd, piece, left < most ? left : most, flags);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0 || !client->asking) {
        fail(client, &seen.read);
        return;
    }
    if (client->got < START) {
        size_t room = START - client->got;
        memcpy(client->start + client->got, piece, (size_t)got < room ? (size_t)got : room);
    }
    client->got += (size_t)got;
    seen.bytes += got;
    if (client->got == size)
        answered(client);
}

static void run_until(double end, int timer, double pace)
{
    struct epoll_event events[EVENTS];
    rate = pace;
    while (now() < end) {
        int some = epoll_wait(poll_fd, events, EVENTS, 20);
        for (int i = 0; i < some; i++) {
            uint64_t ticks;
            if (events[i].data.ptr)
                receive(events[i].data.ptr);
            else if (read(timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN)
                exit(1);
        }
        if (rate > 0)
            ask_what_is_due();
    }
}

/* Whether it is of use to wait for answers: not for large ones, nor where something has failed. */
static int still_well(void)
{
    return size <= COPIED && !seen.read && !seen.status;
}

/* Open all and have each answered once, some at a time, so that no queue runs over. */
static void open_all(struct client *clients, int width)
{
    struct epoll_event events[EVENTS];
    rate = 1; /* an answer frees its connection */
    for (int i = 0; i < width;) {
        int waiting = 0;
        for (; i < width && waiting < EVENTS; i++, waiting++)
            if (!open_one(&clients[i]) || !ask(&clients[i]))
                perror("connect"), exit(1);
        for (double until = now() + 10; clients[i - 1].asking && still_well() && now() < until;)
            for (int k = epoll_wait(poll_fd, events, EVENTS, 20); k > 0; k--)
                receive(events[k - 1].data.ptr);
    }
    for (double until = now() + 0.05; now() < until;)
        for (int k = epoll_wait(poll_fd, events, EVENTS, 20); k > 0; k--)
            receive(events[k - 1].data.ptr);
}

/* What has no answer at the end has taken at least as long as it has waited. */
static void note_unanswered(const struct client *clients, int width, double end)
{
    for (int i = 0; i < width; i++)
        if (clients[i].asking && clients[i].counts)
            note(spent, end - clients[i].due);
    for (; began + (double)asked / rate < end; asked++)
        note(spent, end - (began + (double)asked / rate));
}

static long quantile(const unsigned *table, double share)
{
    double total = 0, sum = 0;
    for (long took = 0; took < LONGEST; took++)
        total += table[took];
    for (long took = 0; took < LONGEST; took++)
        if ((sum += table[took]) >= share * total && sum > 0)
            return took;
    return 0;
}

static void read_head(void)
{
    before_size = fread(before, 1, sizeof before, stdin);
    char *mark = memmem(before, before_size, "{n}", 3);
    if (!mark)
        return;
    after_size = (size_t)(before + before_size - mark) - 3;
    memcpy(after, mark + 3, after_size);
    before_size = (size_t)(mark - before);
}

int main(int count, char **words)
{
    if (count < 9)
        return fprintf(stderr, "usage: steady PORT CONNECTIONS WARM SECONDS RATE CHOICES STATUS"
                               " SIZE [PID ...]\n"), 2;
    int width = atoi(words[2]);
    double warm = atof(words[3]), seconds = atof(words[4]), pace = atof(words[5]);
    choices = atol(words[6]);
    status = words[7];
    size = (size_t)atoll(words[8]);
    pids = words + 9;
    count_of_pids = count - 9;
    read_head();
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(words[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    spent = calloc(LONGEST, sizeof *spent);
    late = calloc(LONGEST, sizeof *late);
    struct client *clients = calloc((size_t)width, sizeof *clients);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!spent || !late || !clients || size < START)
        return 1;
    open_all(clients, width);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (pace > 0) {
        /* Whoever else runs on this core waits for us, if we may ask for that; else we are late. */
        struct sched_param first_of_all = {.sched_priority = 2};
        sched_setscheduler(0, SCHED_FIFO, &first_of_all);
        long pause = (long)(1e9 / pace);
        struct timespec tick = {pause / 1000000000, pause % 1000000000};
        struct itimerspec ticks = {tick, tick};
        struct epoll_event wish = {.events = EPOLLIN, .data.ptr = NULL};
        timerfd_settime(timer, 0, &ticks, NULL);
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer, &wish);
    } else {
        struct client *free_one = first;
        first = NULL;
        for (rate = 0; free_one; free_one = free_one->next)
            if (!ask(free_one))
                fail(free_one, &seen.read);
    }
    began = now();
    run_until(began + warm, timer, pace);
    memset(&seen, 0, sizeof seen);
    measuring = 1;
    double start = now(), cpu = cpu_used();
    run_until(start + seconds, timer, pace);
    double end = now();
    cpu = cpu_used() - cpu;
    if (pace > 0)
        note_unanswered(clients, width, end);
    printf("{\"requests\": %ld, \"bytes\": %ld, \"microseconds\": %.0f, \"cpu\": %.0f, "
           "\"p50\": %ld, \"p99\": %ld, \"p999\": %ld, \"lag\": %ld, "
           "\"failures\": {\"read\": %ld, \"status\": %ld}}\n",
           seen.requests, seen.bytes, (end - start) * 1e6, cpu * 1e6, quantile(spent, 0.5),
           quantile(spent, 0.99), quantile(spent, 0.999), quantile(late, 0.99), seen.read,
           seen.status);
    return 0;
}
