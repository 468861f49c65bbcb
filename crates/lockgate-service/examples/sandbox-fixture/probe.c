/* The program inside test images: says what it sees, or misbehaves on demand. C, because it asks
   the kernel for calls that no safe wrapper offers. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void call(const char *name, long result) {
    printf("call %s %s\n", name, result >= 0 ? "ok" : strerrorname_np(errno));
}

static void show(const char *path, const char *prefix) {
    char line[512];
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) printf("%s%s", prefix, line);
    if (file) fclose(file);
}

static void write_to(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    long done = fd < 0 ? -1 : write(fd, "x", 1);
    char name[128];
    snprintf(name, sizeof name, "write:%s", path);
    call(name, done);
    if (fd >= 0) close(fd);
}

static void report(void) {
    DIR *fds = opendir("/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(fds));) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != dirfd(fds)) printf("fd %d\n", fd);
    }
    closedir(fds);
    show("/proc/self/status", "status ");
    show("/etc/hostname", "hostname ");
    show("/proc/self/limits", "limit ");
    show("/proc/self/cgroup", "cgroup ");
    show("/proc/self/mounts", "mount ");
    printf("ids %d %d pid %d\n", getuid(), getgid(), getpid());
    char cwd[256];
    printf("cwd %s\n", getcwd(cwd, sizeof cwd));
    for (char **variable = environ; *variable; variable++) printf("env %s\n", *variable);
    call("mount", mount("x", "/tmp", "tmpfs", 0, ""));
    call("unshare", unshare(CLONE_NEWUSER));
    call("chroot", chroot("/tmp"));
    call("io_uring_setup", syscall(SYS_io_uring_setup, 1, 0));
    call("bpf", syscall(SYS_bpf, 0, 0, 0));
    call("ptrace", syscall(SYS_ptrace, 0, 0, 0, 0));
    call("clone-newuser", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    call("clone3", syscall(SYS_clone3, 0, 0));
    call("unknown-900", syscall(900));
#ifdef __x86_64__
    call("x32-getpid", syscall(0x40000000 | SYS_getpid));
#endif
    write_to("/probe");
    write_to("/etc/image-file");
    write_to("/new-file");
    write_to("/dev/new");
    write_to("/dev/shm/new");
    write_to("/tmp/new");
    call("open-exe-of-1", open("/proc/1/exe", O_WRONLY));
    call("sethostname", sethostname("x", 1));
}

static void serve(int port) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 64)) {
        perror("bind");
        exit(3);
    }
    printf("serving\n");
    for (;;) {
        char request[2048];
        int client = accept(listener, 0, 0);
        ssize_t length = read(client, request, sizeof request - 1);
        if (length > 0) {
            request[length] = 0;
            const char *status = strstr(request, "/bad") ? "500 Bad" : "200 OK";
            const char *text = getenv("GREETING") ? getenv("GREETING") : "hello";
            dprintf(client, "HTTP/1.1 %s\r\ncontent-length: %zu\r\n\r\n%s", status, strlen(text), text);
        }
        close(client);
    }
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "serve";
    setvbuf(stdout, 0, _IOLBF, 0);
    if (!strcmp(mode, "serve")) serve(atoi(getenv("PORT")));
    if (!strcmp(mode, "report")) report();
    if (!strcmp(mode, "exit")) return atoi(argv[2]);
    if (!strcmp(mode, "speak")) {
        printf("to out\n");
        fprintf(stderr, "to err\n");
        printf("begun");
    }
    if (!strcmp(mode, "deaf")) {
        signal(SIGTERM, SIG_IGN);
        for (int child = 0; child < 3; child++)
            if (fork() == 0) for (;;) pause();
        printf("deaf\n");
        for (;;) pause();
    }
    if (!strcmp(mode, "flood"))
        for (long line = 0;; line++) printf("%090ld\n", line);
    if (!strcmp(mode, "eat"))
        for (;;) memset(malloc(1 << 20), 1, 1 << 20);
    if (!strcmp(mode, "full")) {
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT")))};
        if (bind(listener, (void *)&address, sizeof address) || listen(listener, 0)) return 3;
        printf("full\n");
        for (;;) pause();
    }
    return 0;
}
