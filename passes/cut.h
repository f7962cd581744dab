/* The cheapest of 2^n ways to give n things one of two labels each, where labels cost something by themselves and in
 * pairs. */
#ifndef PASSES_CUT_H
#define PASSES_CUT_H
#include "base/arena.h"
#include "base/vec.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct CutPair { int a, b; int64_t cost[2][2]; } CutPair;       /* cost[label of a][label of b], >= 0 */

typedef struct Cut {
  int n;
  int64_t (*cost)[2];                  /* per thing, of each label; >= 0 */
  VEC(CutPair) pairs;
} Cut;

Cut cut_new(Arena *a, int n);
void cut_pair(Arena *a, Cut *c, int x, int y, const int64_t cost[2][2]);
int64_t cut_cost(const Cut *c, const bool *label);
/* In: labels to start from. Out: the cheapest there are, or, where pairs contradict each other (see cut.c), labels that
 * are no dearer than those given. */
void cut_minimise(const Cut *c, bool *label);
#endif
