/* Running C compilers, and the cache of what they made. Files compile two at a time, without a shell. */
#include "driver/driver.h"
#define XXH_INLINE_ALL
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

/* Fast, but special values stay exact: never -ffast-math. -fwrapv: integers wrap. */
static const char common_flags[] = "-O2 -fno-math-errno -fno-trapping-math -ffp-contract=fast -fwrapv -Wno-psabi";

Toolchain toolchain_of(const Options *o, const Target *t, Arena *a) {
  const char *flags = t->lanes == 1 ? arena_printf(a, "-O2 -fwrapv %s", t->cflags)
                                    : arena_printf(a, "%s %s", common_flags, t->cflags);
  if (o->cflags) flags = arena_printf(a, "%s %s", flags, o->cflags);
  return (Toolchain){o->cc ? o->cc : t->compiler, flags, t, o->is_static ? "-static" : "",
                     o->sleef ? "-Wl,--as-needed -lsleef -lm -lpthread" : "-Wl,--as-needed -lm -lpthread"};
}

static void add_words(Arena *a, Strings *to, const char *s) {
  while (*(s += strspn(s, " "))) {
    size_t n = strcspn(s, " ");
    *vec_push(a, to) = arena_printf(a, "%.*s", (int)n, s);
    s += n;
  }
}

static pid_t start(const char *dir, Strings *argv, Arena *a) {
  *vec_push(a, argv) = NULL;
  fflush(stdout);
  fflush(stderr);
  pid_t pid = fork();
  if (pid) return pid;
  if (chdir(dir) == 0) execvp(argv->at[0], (char *const *)argv->at);
  fprintf(stderr, "lathe: cannot run %s: %s\n", argv->at[0], strerror(errno));
  _exit(127);
}

static bool finish(pid_t pid, const char *what, Diags *d) {
  int status = 0;
  if (pid < 0) { diag_error(d, "io", NULL, "cannot start a process for %s: %s", what, strerror(errno)); return false; }
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    diag_error(d, "io", NULL, "the C compiler could not be started; --cc names another");
  else diag_error(d, "internal", NULL, "the C compiler failed on %s", what);
  return false;
}

static bool is_c(const char *name) {
  size_t n = strlen(name);
  return n > 2 && !strcmp(name + n - 2, ".c");
}

bool toolchain_build(const Toolchain *t, const char *dir, const EmitFiles *files, const char *out,
                     const char *extra, bool shared, Diags *d) {
  Arena a = {0};
  Strings link = {0};
  pid_t running[2] = {0};
  const char *what[2] = {0};
  bool ok = true;
  int next = 0;
  add_words(&a, &link, t->cc);
  for (int i = 0; ok && i < files->at.len; i++) {
    const char *name = files->at.at[i].name;
    if (!is_c(name)) continue;
    Strings cmd = {0};
    add_words(&a, &cmd, t->cc);
    add_words(&a, &cmd, strncmp(name, "lt_", 3) ? t->flags : "-O1");
    if (shared) *vec_push(&a, &cmd) = "-fPIC";
    add_words(&a, &cmd, extra);
    add_words(&a, &cmd, "-I. -c");
    *vec_push(&a, &cmd) = name;
    *vec_push(&a, &cmd) = "-o";
    *vec_push(&a, &cmd) = *vec_push(&a, &link) = arena_printf(&a, "%.*s.o", (int)strlen(name) - 2, name);
    if (running[next]) ok = finish(running[next], what[next], d);
    running[next] = ok ? start(dir, &cmd, &a) : 0;
    what[next] = name;
    next ^= 1;
  }
  for (int i = 0; i < 2; i++)
    if (running[i]) ok = finish(running[i], what[i], d) && ok;
  if (ok) {
    if (shared) *vec_push(&a, &link) = "-shared";
    *vec_push(&a, &link) = "-o";
    *vec_push(&a, &link) = out;
    add_words(&a, &link, t->link);
    add_words(&a, &link, extra);
    add_words(&a, &link, t->libs);
    ok = finish(start(dir, &link, &a), "linking", d);
  }
  for (int i = 0; i < files->at.len; i++)
    if (is_c(files->at.at[i].name)) {
      const char *name = files->at.at[i].name;
      unlink(arena_printf(&a, "%s/%.*s.o", dir, (int)strlen(name) - 2, name));
    }
  arena_free(&a);
  return ok;
}

static bool copy_file(const char *from, const char *to, Diags *d) {
  char why[300];
  size_t n;
  char *p = file_load(from, &n, why, sizeof why);
  bool ok = p && file_save(p, n, to, why, sizeof why);
  free(p);
  if (!ok) diag_error(d, "io", NULL, "%s", why);
  else if (!(ok = chmod(to, 0755) == 0)) diag_error(d, "io", NULL, "cannot make %s a program: %s", to, strerror(errno));
  return ok;
}

bool toolchain_program(const Toolchain *t, const EmitFiles *files, const char *keep, const char *extra,
                       const char *output, bool shared, const char *beside, Diags *d) {
  Arena a = {0};
  char tmp[] = "/tmp/lathe-XXXXXX";
  const char *dir = keep ? keep : mkdtemp(tmp);
  if (!dir) { diag_error(d, "io", NULL, "cannot make a folder in /tmp: %s", strerror(errno)); return false; }
  const char *made = arena_printf(&a, "%s/lathe-program", dir), *slash = strrchr(output, '/');
  bool ok = files_write(files, dir, d) && toolchain_build(t, dir, files, "lathe-program", extra, shared, d) &&
      copy_file(made, output, d);
  unlink(made);
  if (ok && beside) {
    const char *to = arena_printf(&a, "%.*s%s", slash ? (int)(slash - output + 1) : 0, output, beside);
    ok = copy_file(arena_printf(&a, "%s/%s", dir, beside), to, d);
  }
  if (!keep) files_remove(files, dir);
  arena_free(&a);
  return ok;
}

const char *cache_root(Arena *a) {
  const char *root = getenv("LATHE_CACHE"), *home = getenv("HOME");
  return root && *root ? root : arena_printf(a, "%s/.cache/lathe", home && *home ? home : "/tmp");
}

/* Keyed by every emitted byte that is compiled, the flags and the compiler: equal text is compiled once. */
static const char *cache_dir(Arena *a, const EmitFiles *f, const Toolchain *t, const char *extra) {
  XXH64_state_t *h = XXH64_createState();
  XXH64_reset(h, 0);
  for (int i = 0; i < f->at.len; i++) {
    const EmitFile *x = &f->at.at[i];
    if (!x->pieces) XXH64_update(h, x->data, x->size);
    for (int k = 0; k < x->pieces; k++) XXH64_update(h, x->piece[k].at, x->piece[k].size);
  }
  XXH64_update(h, t->cc, strlen(t->cc) + 1);
  XXH64_update(h, t->flags, strlen(t->flags) + 1);
  XXH64_update(h, extra, strlen(extra));
  unsigned long long key = XXH64_digest(h);
  XXH64_freeState(h);
  return arena_printf(a, "%s/%016llx", cache_root(a), key);
}

/* Built in a directory of this process, then renamed: another process may be making the same. */
const char *toolchain_cached(const Toolchain *t, const EmitFiles *f, const char *name, const char *extra,
                             bool shared, Arena *a, Diags *d) {
  const char *dir = cache_dir(a, f, t, arena_printf(a, "%s %s", extra, name)),
             *made = arena_printf(a, "%s/%s", dir, name);
  if (access(made, R_OK) == 0) return made;
  const char *tmp = arena_printf(a, "%s.%ld", dir, (long)getpid());
  if (!files_write(f, tmp, d) || !toolchain_build(t, tmp, f, name, extra, shared, d)) {
    files_remove(f, tmp);
    return NULL;
  }
  if (rename(tmp, dir) == 0 || access(made, R_OK) == 0) {
    if (access(tmp, F_OK) == 0) { unlink(arena_printf(a, "%s/%s", tmp, name)); files_remove(f, tmp); }
    return made;
  }
  diag_error(d, "io", NULL, "cannot write %s: %s", dir, strerror(errno));
  return NULL;
}
