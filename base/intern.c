/* Open-addressing hash table of strings (xxhash, linear probing, doubled at half full). */
#include "base/intern.h"
#include "base/arena.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static Arena names;
static const char **table;
static size_t slots, count;

static void grow(void) {
  size_t old = slots;
  const char **from = table;
  slots = old ? old * 2 : 1024;
  table = NEW_N(&names, const char *, slots);
  for (size_t i = 0; i < old; i++) {
    if (!from[i]) continue;
    size_t h = XXH3_64bits(from[i], strlen(from[i])) & (slots - 1);
    while (table[h]) h = (h + 1) & (slots - 1);
    table[h] = from[i];
  }
}

const char *intern_n(const char *s, size_t n) {
  if (count * 2 >= slots) grow();
  size_t h = XXH3_64bits(s, n) & (slots - 1);
  for (; table[h]; h = (h + 1) & (slots - 1))
    if (!strncmp(table[h], s, n) && !table[h][n]) return table[h];
  char *copy = arena_alloc(&names, n + 1);
  memcpy(copy, s, n);
  table[h] = copy;
  count++;
  return copy;
}

const char *intern(const char *s) { return intern_n(s, strlen(s)); }

const char *intern_printf(const char *fmt, ...) {
  char buf[501];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(buf, sizeof buf, fmt, ap);
  va_end(ap);
  return intern(buf);
}
