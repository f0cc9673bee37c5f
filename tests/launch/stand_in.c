/* stand_in.c - a program that behaves like an engine, well or badly: the first argument says how.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void wait_for_ever(void)
{
    for (;;)
        pause();
}

/* lines N CODE: N numbered lines on stdout, every tenth on stderr too, then that exit status. */
static int mode_lines(char **args)
{
    const long count = strtol(args[0], NULL, 10);

    for (long i = 0; i < count; i++) {
        printf("line %ld\n", i);
        if (i % 10 == 0)
            fprintf(stderr, "error %ld\n", i);
    }
    return (int)strtol(args[1], NULL, 10);
}

/* signal N: dies by it. */
static int mode_signal(char **args)
{
    printf("about to die\n");
    fflush(stdout);
    raise((int)strtol(args[0], NULL, 10));
    return 99;
}

static int mode_ignore_term(char **args)
{
    (void)args;
    signal(SIGTERM, SIG_IGN);
    printf("ready\n");
    fflush(stdout);
    wait_for_ever();
    return 0;
}

static volatile sig_atomic_t termed;

static void on_term(int number)
{
    (void)number;
    termed++;
}

/* Ends in good order on TERM: says so, exit status 3. */
static int end_in_order(int terms)
{
    struct sigaction action = {.sa_handler = on_term};
    sigset_t term, none;

    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    sigaction(SIGTERM, &action, NULL);
    printf("ready\n");
    fflush(stdout);
    sigemptyset(&none);
    while (termed < terms)
        sigsuspend(&none);
    printf("goodbye\n");
    return 3;
}

static int mode_polite(char **args)
{
    (void)args;
    return end_in_order(1);
}

/* Loses the first TERM, as llama-server 0.7.0 does while it starts its loop. */
static int mode_forgetful(char **args)
{
    (void)args;
    return end_in_order(2);
}

/* Says nothing, ever. */
static int mode_hang(char **args)
{
    (void)args;
    wait_for_ever();
    return 0;
}

/* NULs, escapes, bytes that are no UTF-8, a line of 10000 bytes, no newline at the end. */
static int mode_garbage(char **args)
{
    static const char bytes[] = "a\0b\xff\xfe\x1b[31m\n";

    (void)args;
    fwrite(bytes, 1, sizeof bytes - 1, stdout);
    for (int i = 0; i < 10000; i++)
        putchar('x');
    printf("\nprogress 1\rprogress 2\r\nno end");
    return 0;
}

/* flood BYTES WIDTH: lines of so many bytes, newline included, as fast as the pipe takes them. */
static int mode_flood(char **args)
{
    const long bytes = strtol(args[0], NULL, 10), width = strtol(args[1], NULL, 10);

    for (long i = 0; i < bytes / width; i++)
        if (width > 1)
            printf("%0*ld\n", (int)width - 1, i);
        else
            putchar('\n');
    return 0;
}

static void tell_pids(const char *who)
{
    printf("%s %d parent %d\n", who, (int)getpid(), (int)getppid());
    fflush(stdout);
}

/* A child of the stand-in that lives on and holds its stdout, deaf to TERM; away: in its own
 * session and orphaned.  It writes a byte to `told` when its numbers are out. */
static void leave_behind(bool away, int told)
{
    fflush(stdout);
    if (fork() != 0)
        return;
    signal(SIGTERM, SIG_IGN);
    if (away) {
        setsid();
        if (fork() != 0)
            _exit(0);
    }
    tell_pids(away ? "away" : "child");
    (void)!write(told, "", 1);
    wait_for_ever();
}

/* family stay|leave: one child in the group and one that went away; then it lives on, or exits. */
static int mode_family(char **args)
{
    int told[2];
    char byte;

    if (pipe(told) < 0)
        return 98;
    tell_pids("engine");
    leave_behind(false, told[1]);
    leave_behind(true, told[1]);
    for (int i = 0; i < 2; i++)
        if (read(told[0], &byte, 1) != 1)
            return 97;
    printf("complete\n");
    fflush(stdout);
    if (!strcmp(args[0], "stay"))
        wait_for_ever();
    return 7;
}

/* tick N: a line every 10 ms, then it exits with 7; 0: for ever. */
static int mode_tick(char **args)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    const long count = strtol(args[0], NULL, 10);

    tell_pids("engine");
    for (long i = 1; count == 0 || i <= count; i++) {
        printf("tick %ld\n", i);
        fflush(stdout);
        nanosleep(&pause, NULL);
    }
    return 7;
}

/* inside: what the child was given, one fact a line. */
static int mode_inside(char **args)
{
    struct sigaction action;
    struct rlimit core;
    sigset_t blocked;
    char directory[4096];
    char byte;
    int number = 0, open_count = 0, ignored = 0, blocked_count = 0;

    (void)args;
    for (int fd = 3; fd < 256; fd++)
        open_count += fcntl(fd, F_GETFD) >= 0;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    for (number = 1; number < 32; number++) {
        blocked_count += sigismember(&blocked, number) == 1;
        ignored += sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
    }
    getrlimit(RLIMIT_CORE, &core);
    printf("open %d\nblocked %d\nignored %d\ncore %lu\n", open_count, blocked_count, ignored,
           (unsigned long)core.rlim_cur);
    printf("stdin %zd\n", read(STDIN_FILENO, &byte, 1));
    printf("group %s\n", getpgrp() == getppid() ? "of the guard" : "other");
    printf("directory %s\n", getcwd(directory, sizeof directory));
    for (char **variable = environ; *variable; variable++)
        printf("variable %s\n", *variable);
    return 0;
}

static int listen_any(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        exit(97);
    *port = ntohs(address.sin_port);
    return fd;
}

static void answer(int peer, int status, size_t body_bytes)
{
    char request[4096];
    char head[256];
    const ssize_t got = read(peer, request, sizeof request - 1);

    request[got > 0 ? got : 0] = '\0';
    request[strcspn(request, "\r\n")] = '\0';
    printf("request %s\n", request);
    fflush(stdout);
    snprintf(head, sizeof head,
             "HTTP/1.1 %d Status\r\nContent-Length: %zu\r\nLocation: http://192.0.2.1/\r\n\r\n",
             status, body_bytes);
    (void)!write(peer, head, strlen(head));
    for (size_t left = body_bytes; left > 0;) {
        static const char body[1024];
        const ssize_t sent = write(peer, body, left < sizeof body ? left : sizeof body);

        if (sent <= 0)
            break;
        left -= (size_t)sent;
    }
}

/* http COUNT STATUS BODY: tells its port, answers COUNT requests with STATUS, then 200 for ever. */
static int mode_http(char **args)
{
    long left = strtol(args[0], NULL, 10);
    const int status = (int)strtol(args[1], NULL, 10);
    const size_t body_bytes = (size_t)strtol(args[2], NULL, 10);
    int port;
    const int fd = listen_any(&port);
    int peer;

    signal(SIGPIPE, SIG_IGN);
    printf("port %d\n", port);
    fflush(stdout);
    while ((peer = accept(fd, NULL, NULL)) >= 0) {
        answer(peer, left > 0 ? status : 200, body_bytes);
        left -= left > 0;
        close(peer);
    }
    return 95;
}

/* mute: accepts and never answers. */
static int mode_mute(char **args)
{
    int port;

    (void)args;
    (void)listen_any(&port);
    printf("port %d\n", port);
    fflush(stdout);
    wait_for_ever();
    return 0;
}

/* silent: closes both streams and lives on. */
static int mode_silent(char **args)
{
    (void)args;
    close(STDOUT_FILENO);
    close(STDERR_FILENO);
    wait_for_ever();
    return 0;
}

static const struct {
    const char *name;
    int arg_count;
    int (*run)(char **args);
} modes[] = {
    {"lines", 2, mode_lines},
    {"signal", 1, mode_signal},
    {"polite", 0, mode_polite},
    {"forgetful", 0, mode_forgetful},
    {"ignore-term", 0, mode_ignore_term},
    {"hang", 0, mode_hang},
    {"garbage", 0, mode_garbage},
    {"flood", 2, mode_flood},
    {"family", 1, mode_family},
    {"inside", 0, mode_inside},
    {"tick", 1, mode_tick},
    {"http", 3, mode_http},
    {"mute", 0, mode_mute},
    {"silent", 0, mode_silent},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof modes[0]; i++)
        if (!strcmp(argv[1], modes[i].name) && argc == modes[i].arg_count + 2)
            return modes[i].run(argv + 2);
    fprintf(stderr, "stand_in: no such mode\n");
    return 96;
}
