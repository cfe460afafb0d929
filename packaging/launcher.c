/* The head of the one-file executable: unpacks the frozen program once per version and runs it from there.
 *
 * The file is this program, padded to PAYLOAD_OFFSET bytes, followed by a gzipped tar of the program's folder. The first
 * start unpacks it into the first folder that may hold programs (not noexec), has room and belongs to us; later starts
 * only stat one marker file and exec. A folder is written under a temporary name and renamed when whole, so a killed or
 * simultaneous start leaves nothing half-made in use. Folders that another user could write are never trusted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PAYLOAD_OFFSET
#error "PAYLOAD_OFFSET, VERSION_KEY and UNPACKED_BYTES come from scripts/build"
#endif

static char why[512] = "no folder may be written";

static int ours(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == geteuid() && !(info.st_mode & (S_IWGRP | S_IWOTH));
}

static int make_folder(const char *path) {
    return (mkdir(path, 0755) == 0 || errno == EEXIST) && ours(path);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *ftw) {
    (void)info, (void)kind, (void)ftw;
    return remove(path);
}

static void remove_folder(const char *path) { nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

static int unpack(int self, const char *folder) {
    pid_t child = fork();
    if (child < 0) return 0;
    if (child == 0) {
        int quiet = open("/dev/null", O_WRONLY);
        if (lseek(self, PAYLOAD_OFFSET, SEEK_SET) < 0 || dup2(self, 0) < 0 || dup2(quiet, 2) < 0) _exit(126);
        execlp("tar", "tar", "-xzf", "-", "-C", folder, "--no-same-owner", (char *)NULL);
        _exit(127);
    }
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Where the program lies below `base`, unpacking it when it is not there yet; 0 when this base cannot serve. */
static int settle_in(int self, const char *base, char *program) {
    char home[PATH_MAX], folder[PATH_MAX], fresh[PATH_MAX];
    struct statvfs space;
    struct stat info;
    if (!*base || snprintf(home, sizeof home, "%s/mailbox-%u", base, geteuid()) >= PATH_MAX / 2) return 0;
    snprintf(folder, sizeof folder, "%.*s/%s", PATH_MAX / 2, home, VERSION_KEY);
    snprintf(program, PATH_MAX, "%.*s/mailbox", PATH_MAX - 16, folder);
    if (ours(home) && ours(folder) && stat(program, &info) == 0)
        return statvfs(home, &space) == 0 && !(space.f_flag & ST_NOEXEC);
    mkdir(base, 0755);
    if (statvfs(base, &space) != 0) return 0;
    if (space.f_flag & ST_NOEXEC) return snprintf(why, sizeof why, "%.200s does not allow programs", base), 0;
    if ((unsigned long long)space.f_bavail * space.f_frsize < UNPACKED_BYTES + (8ULL << 20))
        return snprintf(why, sizeof why, "%.200s has not enough room", base), 0;
    if (!make_folder(home)) return snprintf(why, sizeof why, "%.200s may not be written", base), 0;
    snprintf(fresh, sizeof fresh, "%.*s/.new-XXXXXX", PATH_MAX / 2, home);
    if (!mkdtemp(fresh) || chmod(fresh, 0755) != 0) return 0;
    if (!unpack(self, fresh)) {
        remove_folder(fresh);
        return snprintf(why, sizeof why, "unpacking into %.200s failed (is tar installed?)", base), 0;
    }
    if (rename(fresh, folder) != 0) remove_folder(fresh); /* somebody else was quicker: theirs is as good */
    return ours(folder) && stat(program, &info) == 0;
}

int main(int argc, char **argv) {
    char beside[PATH_MAX], cache[PATH_MAX] = "", program[PATH_MAX];
    const char *chosen = getenv("MAILBOX_UNPACK_DIR"), *home = getenv("HOME"), *xdg = getenv("XDG_CACHE_HOME"), *temporary = getenv("TMPDIR");
    (void)argc;
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    ssize_t length = readlink("/proc/self/exe", beside, sizeof beside - 1);
    if (self < 0 || length < 0) return fputs("mailbox: /proc is not mounted, so this file cannot find itself; mount it\n", stderr), 1;
    beside[length] = 0;
    setenv("MAILBOX_EXECUTABLE", beside, 1);
    char *slash = strrchr(beside, '/');
    *slash = 0;
    if (xdg && *xdg) snprintf(cache, sizeof cache, "%s", xdg);
    else if (home && *home) snprintf(cache, sizeof cache, "%s/.cache", home);
    const char *bases[] = {chosen ? chosen : "", geteuid() ? "" : "/var/cache", cache, beside, temporary ? temporary : "", "/var/tmp", "/tmp", "/dev/shm"};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        if (!settle_in(self, bases[i], program)) continue;
        execv(program, argv);
        snprintf(why, sizeof why, "%.300s: %s", program, strerror(errno));
    }
    fprintf(stderr, "mailbox: cannot unpack itself: %s; set MAILBOX_UNPACK_DIR to a folder with %llu MB free\n", why, (UNPACKED_BYTES >> 20) + 8);
    return 1;
}
