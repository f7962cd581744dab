/* The cheapest labels, against trying all of them, on small random problems. */
#include "passes/cut.h"
#include <criterion/criterion.h>

static uint32_t state;

static int64_t random_below(int64_t n) {
  state = state * 1664525u + 1013904223u;
  return (int64_t)(state >> 8) % n;
}

static int64_t best_of_all(const Cut *c) {
  int64_t best = INT64_MAX;
  for (int bits = 0; bits < 1 << c->n; bits++) {
    bool label[16];
    for (int k = 0; k < c->n; k++) label[k] = bits >> k & 1;
    int64_t cost = cut_cost(c, label);
    if (cost < best) best = cost;
  }
  return best;
}

// TWO_SIDES: pairs want to differ where one thing is odd
typedef enum { ALIKE, TWO_SIDES, ANYTHING } Kind;

static Cut random_cut(Arena *a, Kind kind) {
  int n = 1 + (int)random_below(11), pairs = (int)random_below(3 * n + 1);
  Cut c = cut_new(a, n);
  for (int k = 0; k < n; k++)
    for (int l = 0; l < 2; l++) c.cost[k][l] = random_below(20);
  for (int q = 0; q < pairs && n > 1; q++) {
    int x = (int)random_below(n), y = (int)random_below(n);
    if (x == y) continue;
    bool differ = kind == TWO_SIDES && (x + y) % 2;
    int64_t cost[2][2];
    for (int l = 0; l < 4; l++) cost[l / 2][l % 2] = random_below(9);
    if (kind != ANYTHING) cost[0][!differ] += 9, cost[1][differ] += 9;
    cut_pair(a, &c, x, y, (const int64_t(*)[2])cost);
  }
  return c;
}

Test(cut, cheapest) {
  int level = 0, dearer = 0;
  for (state = 1; state < 3000; state++) {
    uint32_t keep = state;
    Arena a = {0};
    Kind kind = (Kind)(state % 3);
    Cut c = random_cut(&a, kind);
    bool label[16], start[16];
    for (int k = 0; k < c.n; k++) label[k] = start[k] = random_below(2);
    cut_minimise(&c, label);
    int64_t got = cut_cost(&c, label), best = best_of_all(&c);
    if (kind != ANYTHING)
      cr_expect(got == best, "problem %u: %lld, there is %lld", keep, (long long)got, (long long)best);
    cr_expect(got <= cut_cost(&c, start), "problem %u: dearer than its start", keep);
    level += kind == ANYTHING && got == best;
    dearer += kind == ANYTHING && got != best;
    arena_free(&a);
    state = keep;
  }
  cr_expect(level > 9 * dearer, "of those that contradict themselves %d found, %d missed", level, dearer);
}

Test(cut, long_chain) {                                         // a path of flow as long as the chain
  enum { N = 20000 };
  Arena a = {0};
  Cut c = cut_new(&a, N);
  bool *label = NEW_N(&a, bool, N);
  c.cost[0][0] = 5;
  c.cost[N - 1][1] = 7;
  for (int k = 0; k + 1 < N; k++) cut_pair(&a, &c, k, k + 1, (const int64_t[2][2]){{0, 6}, {6, 0}});
  for (int k = 0; k < N; k++) label[k] = k % 3 == 0;
  cut_minimise(&c, label);
  cr_expect(cut_cost(&c, label) == 5);
  arena_free(&a);
}
