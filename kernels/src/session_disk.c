/* session_disk.c - qig_session_save and qig_session_load: a session's bytes as a file that is there whole or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "session_file.h"

enum { BUFFER = 1 << 16 };

typedef struct {
    int fd, why; /* errno of what failed */
    size_t n;
    uint8_t bytes[BUFFER];
} writer;

static int write_out(writer *w, const uint8_t *p, size_t n) {
    while (n > 0) {
        const ssize_t put = write(w->fd, p, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) {
            w->why = errno;
            return -1;
        }
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

static int flush(writer *w) {
    const size_t n = w->n;
    w->n = 0;
    return write_out(w, w->bytes, n);
}

static int take(void *arg, const void *data, size_t n) {
    writer *w = arg;
    if (n > BUFFER - w->n && flush(w) != 0) return -1;
    if (n > BUFFER) return write_out(w, data, n);
    memcpy(w->bytes + w->n, data, n);
    w->n += n;
    return 0;
}

/* What was renamed is on the disk once its folder is; a file system that cannot say so has nothing to add. */
static void sync_folder(const char *partial, size_t folder) {
    char *name = strdup(folder ? partial : ".");
    if (!name) return;
    if (folder) name[folder] = 0; /* with its slash */
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(name);
}

int qig_session_save(const qig_session *s, const char *path, const char *note, size_t note_len, char *err, size_t errlen) {
    if (!s || !path || !*path) return qig_fail(err, errlen, QIG_ERR_ARG, "qig_session_save needs a session and the name of a file");
    struct stat there;
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode)) return qig_fail(err, errlen, QIG_ERR_IO, "cannot write '%s': it is no regular file", path);
    const char *slash = strrchr(path, '/');
    const size_t folder = slash ? (size_t)(slash - path) + 1 : 0, room = strlen(path) + 40;
    char *partial = malloc(room);
    writer *w = malloc(sizeof *w);
    int rc = partial && w ? QIG_OK : qig_fail(err, errlen, QIG_ERR_MEMORY, "no memory to write '%s'", path);
    if (rc == QIG_OK) {
        snprintf(partial, room, "%.*s.%s.%ld.partial", (int)folder, path, path + folder, (long)getpid());
        unlink(partial); /* of a process that died with the same number */
        w->n = 0;
        w->fd = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600); /* what was said is nobody else's */
        if (w->fd < 0) {
            rc = qig_fail(err, errlen, QIG_ERR_IO, "cannot write '%s': %s", path, strerror(errno));
        } else {
            rc = qig_session_write(s, note, note_len, take, w, err, errlen);
            if (rc == QIG_OK && flush(w) != 0) rc = QIG_ERR_IO;
            if (rc == QIG_OK && fsync(w->fd) != 0) rc = QIG_ERR_IO, w->why = errno;
            if (close(w->fd) != 0 && rc == QIG_OK) rc = QIG_ERR_IO, w->why = errno;
            if (rc == QIG_OK && rename(partial, path) != 0) rc = QIG_ERR_IO, w->why = errno;
            if (rc == QIG_ERR_IO) qig_fail(err, errlen, rc, "cannot write '%s': %s", path, strerror(w->why));
            if (rc == QIG_OK) sync_folder(partial, folder);
            else unlink(partial);
        }
    }
    free(partial);
    free(w);
    return rc;
}

/* The n bytes at the descriptor's place, or as many as there are; -1 with errno. */
static ssize_t read_in(int fd, uint8_t *p, size_t n) {
    size_t have = 0;
    while (have < n) {
        const ssize_t got = read(fd, p + have, n - have);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

/* The header first: it says whether the rest is worth its memory. */
static int load(qig_session *s, int fd, uint64_t size, const char *path, char *err, size_t errlen) {
    qig_kept_header h = { 0 };
    const ssize_t first = read_in(fd, (uint8_t *)&h, sizeof h);
    if (first < 0) return qig_fail(err, errlen, QIG_ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    int rc = qig_kept_check_header(s, &h, size, path, err, errlen);
    if (rc != QIG_OK) return rc;
    uint8_t *data = malloc(size);
    if (!data) return qig_fail(err, errlen, QIG_ERR_MEMORY, "no memory for the %llu bytes of '%s'", (unsigned long long)size, path);
    memcpy(data, &h, sizeof h);
    const ssize_t rest = read_in(fd, data + sizeof h, (size_t)size - sizeof h);
    if (rest < 0) rc = qig_fail(err, errlen, QIG_ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    else if ((uint64_t)rest + sizeof h != size) rc = qig_fail(err, errlen, QIG_ERR_FORMAT, "'%s' is truncated: it became shorter while it was read", path);
    else rc = qig_session_read(s, data, (size_t)size, path, err, errlen);
    free(data);
    return rc;
}

int qig_session_load(qig_session *s, const char *path, char *err, size_t errlen) {
    if (!s || !path) return qig_fail(err, errlen, QIG_ERR_ARG, "qig_session_load needs a session and the name of a file");
    struct stat is;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not hold the program */
    if (fd < 0) return qig_fail(err, errlen, QIG_ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    int rc;
    if (fstat(fd, &is) != 0) rc = qig_fail(err, errlen, QIG_ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    else if (!S_ISREG(is.st_mode)) rc = qig_fail(err, errlen, QIG_ERR_IO, "cannot read '%s': it is no regular file", path);
    else rc = load(s, fd, (uint64_t)is.st_size, path, err, errlen);
    close(fd);
    return rc;
}

const char *qig_session_note(const qig_session *s, size_t *len) {
    *len = s->note_len;
    return s->note;
}
