/* Counts the calls of a process that change files, and at one of them ends it or makes the call fail.
 *
 * Loaded before libc (LD_PRELOAD). Python, diskcache and SQLite all reach files through these functions. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { COUNT, KILL_BEFORE, KILL_HALFWAY, FAIL, SHORT_WRITE, FAIL_ALWAYS };

static long calls, target = -1;
static int action = COUNT, error_number;
static char folder[4096];

/* Arms the fault: at call `at` (the first is 1), counting only calls under a folder where a path is known. */
void iofault_arm(long at, int what, int error, const char *under) {
    calls = 0;
    target = at;
    action = what;
    error_number = error;
    strncpy(folder, under ? under : "", sizeof folder - 1);
}

long iofault_calls(void) { return calls; }

static int is_ours(const char *path, int descriptor) {
    char link[64], buffer[4096];
    if (!folder[0]) return 0;
    if (!path) {
        int length;
        static const char digits[] = "0123456789";
        char number[16];
        int at = 15, rest = descriptor;
        number[at] = 0;
        do { number[--at] = digits[rest % 10]; rest /= 10; } while (rest > 0 && at > 0);
        strcpy(link, "/proc/self/fd/");
        strcat(link, number + at);
        length = (int)readlink(link, buffer, sizeof buffer - 1);
        if (length <= 0) return 0;
        buffer[length] = 0;
        path = buffer;
    }
    return strstr(path, folder) != NULL;
}

/* Returns nonzero if the call is to fail; for writes, 2 if it is to be short. */
static int reached(const char *path, int descriptor) {
    if (action == COUNT && target < 0) return 0;
    if (!is_ours(path, descriptor)) return 0;
    calls++;
    if (action == FAIL_ALWAYS ? calls < target : calls != target) return 0;
    if (action == KILL_BEFORE) kill(getpid(), SIGKILL);
    if (action == FAIL || action == FAIL_ALWAYS) { errno = error_number; return 1; }
    if (action == SHORT_WRITE || action == KILL_HALFWAY) return 2;
    return 0;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define WRITE(name, offset_type) \
    ssize_t name(int descriptor, const void *data, size_t size, offset_type offset) { \
        REAL(ssize_t, name, int, const void *, size_t, offset_type); \
        int fault = reached(NULL, descriptor); \
        if (fault == 1) return -1; \
        if (fault == 2 && size > 1) { \
            ssize_t done = real(descriptor, data, size / 2, offset); \
            if (action == KILL_HALFWAY) kill(getpid(), SIGKILL); \
            return done; \
        } \
        if (fault == 2 && action == KILL_HALFWAY) kill(getpid(), SIGKILL); \
        return real(descriptor, data, size, offset); \
    }
WRITE(pwrite, off_t)
WRITE(pwrite64, off64_t)

ssize_t write(int descriptor, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    int fault = reached(NULL, descriptor);
    if (fault == 1) return -1;
    if (fault == 2 && size > 1) {
        ssize_t done = real(descriptor, data, size / 2);
        if (action == KILL_HALFWAY) kill(getpid(), SIGKILL);
        return done;
    }
    if (fault == 2 && action == KILL_HALFWAY) kill(getpid(), SIGKILL);
    return real(descriptor, data, size);
}

#define BY_DESCRIPTOR(name) \
    int name(int descriptor) { \
        REAL(int, name, int); \
        int fault = reached(NULL, descriptor); \
        if (fault == 1) return -1; \
        if (fault == 2 && action == KILL_HALFWAY) { real(descriptor); kill(getpid(), SIGKILL); } \
        return real(descriptor); \
    }
BY_DESCRIPTOR(fsync)
BY_DESCRIPTOR(fdatasync)

#define BY_PATH(name) \
    int name(const char *path) { \
        REAL(int, name, const char *); \
        int fault = reached(path, -1); \
        if (fault == 1) return -1; \
        if (fault == 2 && action == KILL_HALFWAY) { real(path); kill(getpid(), SIGKILL); } \
        return real(path); \
    }
BY_PATH(unlink)
BY_PATH(rmdir)

#define BY_PATHS(name) \
    int name(const char *from, const char *to) { \
        REAL(int, name, const char *, const char *); \
        int fault = reached(to, -1); \
        if (fault == 1) return -1; \
        if (fault == 2 && action == KILL_HALFWAY) { real(from, to); kill(getpid(), SIGKILL); } \
        return real(from, to); \
    }
BY_PATHS(rename)
BY_PATHS(link)

#define TRUNCATE(name, length_type) \
    int name(int descriptor, length_type length) { \
        REAL(int, name, int, length_type); \
        int fault = reached(NULL, descriptor); \
        if (fault == 1) return -1; \
        if (fault == 2 && action == KILL_HALFWAY) { real(descriptor, length); kill(getpid(), SIGKILL); } \
        return real(descriptor, length); \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    int fault = reached(path, -1);
    if (fault == 1) return -1;
    if (fault == 2 && action == KILL_HALFWAY) { real(path, mode); kill(getpid(), SIGKILL); }
    return real(path, mode);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        mode_t mode = 0; \
        if (flags & O_CREAT) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = (mode_t)va_arg(rest, int); \
            va_end(rest); \
        } \
        /* Opening for reading changes nothing, but can fail. */ \
        int fault = (flags & O_CREAT) || action == FAIL || action == FAIL_ALWAYS ? reached(path, -1) : 0; \
        if (fault == 1) return -1; \
        if (fault == 2 && action == KILL_HALFWAY) { real(path, flags, mode); kill(getpid(), SIGKILL); } \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
