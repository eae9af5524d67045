/* The first program of a guest: makes the host's root, read-only under an overlay in memory, the guest's own, and hands
 * over to guest.sh in it. Static, because nothing else is in the initrd but kernel modules. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { kMountTries = 100 }; /* of 50 ms */

static void check(int failed, const char* what) {
  if (!failed) return;
  printf("weir-vm init: %s: %s\n", what, strerror(errno));
  fflush(stdout);
  sync();
  reboot(RB_AUTOBOOT);
}

static void load_modules(void) {
  char path[256];
  FILE* list = fopen("/modules.list", "r");
  check(!list, "/modules.list");
  while (fscanf(list, "%255s", path) == 1) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    check(fd < 0, path);
    check(syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST, path);
    close(fd);
  }
  fclose(list);
}

static void mount_share(const char* tag, const char* where, unsigned long flags, const char* options) {
  const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
  for (int attempt = 0; mount(tag, where, "9p", flags, options) != 0; ++attempt) {
    check(attempt == kMountTries, where);
    nanosleep(&pause, NULL);  // poll: no event says that a virtio device is there
  }
}

int main(void) {
  static const char* const folders[] = {"/host", "/memory", "/root", NULL};
  for (const char* const* folder = folders; *folder; ++folder) mkdir(*folder, 0755);
  load_modules();
  mount_share("root", "/host", MS_RDONLY, "trans=virtio,version=9p2000.L,msize=512000,cache=loose");
  check(mount("memory", "/memory", "tmpfs", 0, "mode=755") != 0, "tmpfs");
  check(mkdir("/memory/upper", 0755) != 0 || mkdir("/memory/work", 0755) != 0, "overlay folders");
  check(mount("overlay", "/root", "overlay", 0, "lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work") != 0,
        "overlay");
  check(mount("run", "/root/run", "tmpfs", 0, "mode=755") != 0, "/run");
  check(mkdir("/root/run/weir-vm", 0755) != 0, "/run/weir-vm");
  mount_share("share", "/root/run/weir-vm", 0, "trans=virtio,version=9p2000.L,msize=512000,cache=none");
  check(chdir("/root") != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0, "moving into the root");
  execl("/bin/bash", "bash", "/run/weir-vm/guest.sh", (char*)NULL);
  check(1, "/bin/bash");
  return 1;
}
