/* The table of targets, and what "native" means on the machine that runs lathe. */
#include "passes/target.h"
#include <stddef.h>
#include <string.h>

const Target targets[] = {
#define TARGET(...) {__VA_ARGS__},
#include "passes/targets.def"
#undef TARGET
};
const int target_count = sizeof targets / sizeof *targets;

static const Target *row(const char *name) {
  for (int i = 0; i < target_count; i++)
    if (!strcmp(targets[i].name, name)) return &targets[i];
  return NULL;
}

int target_tile_rows(const Target *t, int columns, int more) {
  int room = t->registers - columns - more, rows = t->ahead ? room / (columns + 1) : (room - 1) / columns;
  return rows > 1 ? rows : 1;
}

/* The widest row this CPU can run. */
static const Target *like_this_machine(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return row("x86-64-v4");
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return row("x86-64-v3");
  return row("x86-64");
#elif defined(__aarch64__)
  return row("aarch64");
#else
  return row("c99");
#endif
}

const Target *target_find(const char *name) {
  const Target *t = row(name);
  if (!t || strcmp(name, "native")) return t;
  static Target native;
  const Target *like = like_this_machine();
  native = *like;
  native.name = t->name;
  native.note = like->note;
  native.cflags = like->lanes == 16 ? "-march=native -mprefer-vector-width=512" : like->lanes == 1 ? like->cflags
      : t->cflags;
  native.compiler = t->compiler;
  return &native;
}
