/* Arenas: a list of malloc'ed blocks, each at least twice as large as the last up to 1 MiB.
 * Large requests get a block of their own, so that weights of hundreds of MB waste nothing. */
#include "base/arena.h"
#include "runtime/lt_memory.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ArenaBlock { ArenaBlock *next; size_t used, cap; char *data; };

enum { ALIGN = 64, BLOCK = 64 << 10 };

static _Noreturn void out_of_memory(size_t bytes) {
  fprintf(stderr, "lathe: error[memory]: out of memory (asked for %zu bytes)\n", bytes);
  exit(1);
}

void *xrealloc(void *p, size_t bytes) {
  void *q = realloc(p, bytes ? bytes : 1);
  if (!q) out_of_memory(bytes);
  return q;
}

static ArenaBlock *block_new(size_t cap) {
  ArenaBlock *b = calloc(1, sizeof *b + cap + ALIGN);   // calloc: large weights come zeroed and untouched
  if (!b) out_of_memory(cap);
  lt_huge_pages(b, sizeof *b + cap + ALIGN);            // for bench, which runs a model on weights that lie here
  b->cap = cap;
  b->data = (char *)(((uintptr_t)(b + 1) + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
  return b;
}

void *arena_alloc(Arena *a, size_t bytes) {
  if (bytes > SIZE_MAX / 4) out_of_memory(bytes);
  size_t need = (bytes + 15) & ~(size_t)15;
  if (need >= ALIGN) need = (need + ALIGN - 1) & ~(size_t)(ALIGN - 1);
  if (!need) need = 16;
  ArenaBlock *b = a->head;
  if (need > BLOCK / 4) {                               // its own block, behind the head so the head keeps filling
    ArenaBlock *big = block_new(need);
    big->used = need;
    if (b) { big->next = b->next; b->next = big; } else a->head = big;
    a->used += need;
    return big->data;
  }
  size_t at = b ? (need >= ALIGN ? (b->used + ALIGN - 1) & ~(size_t)(ALIGN - 1) : b->used) : 0;
  if (!b || at + need > b->cap) {
    ArenaBlock *n = block_new(BLOCK);
    n->next = b; a->head = b = n; at = 0;
  }
  b->used = at + need;
  a->used += need;
  return b->data + at;
}

void *arena_dup(Arena *a, const void *p, size_t bytes) {
  void *q = arena_alloc(a, bytes);
  if (bytes) memcpy(q, p, bytes);
  return q;
}

char *arena_strdup(Arena *a, const char *s) { return arena_dup(a, s, strlen(s) + 1); }

char *arena_vprintf(Arena *a, const char *fmt, va_list ap) {
  va_list again;
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, again);
  va_end(again);
  char *s = arena_alloc(a, (size_t)n + 1);
  vsnprintf(s, (size_t)n + 1, fmt, ap);
  return s;
}

char *arena_printf(Arena *a, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  char *s = arena_vprintf(a, fmt, ap);
  va_end(ap);
  return s;
}

void arena_free(Arena *a) {
  for (ArenaBlock *b = a->head, *next; b; b = next) {
    next = b->next;
#ifdef LATHE_POISON
    memset(b->data, 0xdb, b->used);
#endif
    free(b);
  }
  a->head = NULL;
  a->used = 0;
}
