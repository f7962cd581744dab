/* mutate MODEL… [--count N] [--from SEED] [--one SEED] [--save FILE]: damaged ONNX files through import and all passes.
 *
 * Mutation SEED of a model is always the same: a few bytes or bits changed, a stretch cut out, doubled, or copied from
 * elsewhere, or the end cut off. Whatever comes of it must be a message or a module; a crash, a hang (over 5 s of work)
 * or an exit code other than 0 and 1 is a failure. BATCH mutations share a process; when that dies, the one at work is
 * named with the command that repeats it. --one runs a single mutation in this process, for a debugger; --save writes
 * the damaged file. */
#define _DEFAULT_SOURCE                        // MAP_ANONYMOUS, SIGPROF
#include "base/text.h"
#include "frontend/import.h"
#include "passes/pipeline.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
enum { BATCH = 50, SECONDS = 20 };                             // sanitizers cost that much
#else
enum { BATCH = 50, SECONDS = 5 };
#endif

static uint64_t random_next(uint64_t *s) {                     // xorshift64* (Vigna)
  *s ^= *s >> 12, *s ^= *s << 25, *s ^= *s >> 27;
  return *s * 2685821657736338717u;
}

static size_t below(uint64_t *s, size_t n) { return n ? (size_t)(random_next(s) >> 11) % n : 0; }

/* Mostly near the beginning or the end, where the graph is; weights are large and dull. */
static size_t place(uint64_t *s, size_t n) {
  size_t w = n < 4096 ? n : 4096;
  switch (below(s, 4)) {
    case 0: return below(s, w);
    case 1: return n - 1 - below(s, w);
    default: return below(s, n);
  }
}

/* The damaged file in `to`, which has room for 2*n bytes; its length. */
static size_t mutate(const char *from, size_t n, uint64_t seed, char *to) {
  static const unsigned char odd[] = {0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x12};
  uint64_t s = seed * 0x9e3779b97f4a7c15u + 1;
  for (int i = 0; i < 4; i++) random_next(&s);
  memcpy(to, from, n);
  for (size_t times = 1 + below(&s, 3); times && n; times--) {
    size_t at = place(&s, n), len = 1 + below(&s, 1 + below(&s, 64));
    if (len > n - at) len = n - at;
    switch (below(&s, 7)) {
      case 0: to[at] = (char)(to[at] ^ 1 << below(&s, 8)); break;
      case 1: to[at] = (char)odd[below(&s, sizeof odd)]; break;
      case 2: for (size_t i = 0; i < len; i++) to[at + i] = (char)random_next(&s); break;
      case 3: memmove(to + at, to + at + len, n - at - len), n -= len; break;                        // cut out
      case 4: memmove(to + at + len, to + at, n - at), n += len; break;                              // doubled
      case 5: memmove(to + at, to + place(&s, n - len + 1), len); break;                             // copied
      case 6: if (below(&s, 4) == 0) n = at; else to[at] = (char)(to[at] + (below(&s, 2) ? 1 : -1)); break;
    }
  }
  return n;
}

/* 0: compiled, 1: refused. */
static int compile(const char *bytes, size_t n, const char *path, bool print) {
  Diags d = {.file = path};
  ImportOptions o = {0};
  Module *m = onnx_import_bytes(bytes, n, path, &o, &d);
  int code = !m || d.errors;
  if (m) {
    Arena a = {0};
    PassOptions po = {0};
    if (!code) code = !compile_module(m, target_find("x86-64-v3"), &po, &a) || m->diags->errors;
    module_free(m);
    arena_free(&a);
  }
  if (print) diags_print(&d, stdout);
  if (code && !d.errors) { printf("refused without a message\n"); exit(3); }
  diags_free(&d);
  return code;
}

// how far a child has come; the slowest so far
typedef struct Shared { uint64_t at, refused, slow; double seconds; } Shared;

static double cpu_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  uint64_t count = 3400, from = 1, one = 0, failed = 0, passed = 0;
  const char *model[16], *save = NULL;
  int models = 0;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--count") && i + 1 < argc) count = strtoull(argv[++i], NULL, 10);
    else if (!strcmp(argv[i], "--from") && i + 1 < argc) from = strtoull(argv[++i], NULL, 10);
    else if (!strcmp(argv[i], "--one") && i + 1 < argc) one = strtoull(argv[++i], NULL, 10);
    else if (!strcmp(argv[i], "--save") && i + 1 < argc) save = argv[++i];
    else if (models < 16) model[models++] = argv[i];
  }
  if (!models) {
    fprintf(stderr, "usage: mutate MODEL... [--count N] [--from SEED] [--one SEED [--save FILE]]\n");
    return 2;
  }
  Shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int k = 0; k < models; k++) {
    char why[300];
    size_t n;
    char *bytes = file_load(model[k], &n, why, sizeof why);
    if (!bytes) { fprintf(stderr, "mutate: %s\n", why); return 2; }
    char *to = malloc(2 * n + 4096);
    if (one) {
      size_t len = mutate(bytes, n, one, to);
      if (save && !file_save(to, len, save, why, sizeof why)) { fprintf(stderr, "mutate: %s\n", why); return 2; }
      return compile(to, len, model[k], true);
    }
    for (uint64_t seed = from; seed < from + count;) {
      uint64_t end = seed + BATCH < from + count ? seed + BATCH : from + count;
      fflush(stdout);
      pid_t child = fork();
      if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(2);
        for (shared->at = seed; shared->at < end; shared->at++) {
          setitimer(ITIMER_PROF, &(struct itimerval){{0, 0}, {SECONDS, 0}}, NULL);
          double since = cpu_now();
          shared->refused += (uint64_t)compile(to, mutate(bytes, n, shared->at, to), model[k], false);
          if (cpu_now() - since > shared->seconds) shared->seconds = cpu_now() - since, shared->slow = shared->at;
        }
        fflush(stdout);
        _exit(0);
      }
      int how = 0;
      waitpid(child, &how, 0);
      if (WIFEXITED(how) && WEXITSTATUS(how) == 0) { passed += end - seed; seed = end; continue; }
      if (WIFEXITED(how) && WEXITSTATUS(how) == 1) {           // out of memory ends the process with a message: allowed
        passed += shared->at - seed + 1;
      } else {
        passed += shared->at - seed;
        failed++;
        if (WIFSIGNALED(how) && WTERMSIG(how) == SIGPROF) printf("over %d s", SECONDS);
        else if (WIFSIGNALED(how)) printf("signal %d", WTERMSIG(how));
        else printf("exit code %d", WEXITSTATUS(how));
        printf(": %s %s --one %llu\n", argv[0], model[k], (unsigned long long)shared->at);
      }
      seed = shared->at + 1;
    }
    printf("%s: %llu mutations, %llu refused; the slowest, --one %llu, took %.2f s\n", model[k],
           (unsigned long long)count, (unsigned long long)shared->refused, (unsigned long long)shared->slow,
           shared->seconds);
    *shared = (Shared){0};
    free(to);
    free(bytes);
  }
  printf("%llu passed, %llu failed\n", (unsigned long long)passed, (unsigned long long)failed);
  return failed != 0;
}
