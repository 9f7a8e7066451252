/* Disk faults for tests: a library that is loaded into a server with LD_PRELOAD. The environment variable DISK_FAULT is the path of
 * a file. While this file contains
 *   fail   fsync and fdatasync fail with EIO,
 *   full   writes to a write-ahead log or to an unfinished backup fail with ENOSPC,
 *   hang   fsync and fdatasync wait until the file contains something else, and then succeed.
 * With any other content, or without the file, there is no fault. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int is(const char *fault) {
    const char *path = getenv("DISK_FAULT");
    char text[8] = {0};
    int file;
    if (!path || (file = open(path, O_RDONLY | O_CLOEXEC)) < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 && !strncmp(text, fault, strlen(fault));
}

static int sync_with(const char *name, int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    if (is("fail")) { errno = EIO; return -1; }
    while (is("hang")) nanosleep(&(struct timespec){0, 1000000}, NULL);
    return real(file);
}

int fsync(int file) { return sync_with("fsync", file); }
int fdatasync(int file) { return sync_with("fdatasync", file); }

static int is_log_or_backup(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, ".partial/") || (length > 4 && !strcmp(path + length - 4, "-wal"));
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    if (is_log_or_backup(file) && is("full")) { errno = ENOSPC; return -1; }
    return real(file, bytes, count, offset);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) { return pwrite64(file, bytes, count, offset); }

ssize_t write(int file, const void *bytes, size_t count) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (is_log_or_backup(file) && is("full")) { errno = ENOSPC; return -1; }
    return real(file, bytes, count);
}
