/* Growable arrays on an arena: `VEC(T) v; *vec_push(arena, &v) = x; v.at[i], v.len`.
 * Growth copies into fresh arena memory: pointers into `at` do not survive a push. */
#ifndef BASE_VEC_H
#define BASE_VEC_H
#include "base/arena.h"
#include <string.h>

#define VEC(T) struct { T *at; int len, cap; }

#define vec_push(arena, v)                                                                        \
  (((v)->len == (v)->cap ? (void)((v)->at = vec_grow((arena), (v)->at, &(v)->cap, sizeof *(v)->at)) : (void)0), \
   &(v)->at[(v)->len++])

static inline void *vec_grow(Arena *a, const void *old, int *cap, size_t item) {
  int want = *cap ? *cap * 2 : 8;
  void *p = arena_alloc(a, (size_t)want * item);
  if (old) memcpy(p, old, (size_t)*cap * item);
  *cap = want;
  return p;
}
#endif
