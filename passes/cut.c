/* Two labels by a minimum cut (Kolmogorov and Zabih, "What energy functions can be minimized via graph cuts?", 2004).
 *
 * A pair that is cheaper when its labels are equal is an edge of a network between the things; what labels cost by
 * themselves are edges from the source (label 0) and to the sink (label 1). The cheapest labels are the two sides of
 * the smallest cut, which a largest flow shows (Dinic, 1970).
 *
 * A pair that is cheaper when its labels differ becomes one of the other kind when the labels of one of its things
 * change their names. Names are chosen along a spanning forest of the pairs, those with most at stake first. Where
 * pairs contradict each other around a cycle, those with least at stake lose what they want in the network; then things
 * are changed one at a time while that gains something. */
#include "passes/cut.h"
#include <stdlib.h>

Cut cut_new(Arena *a, int n) { return (Cut){.n = n, .cost = arena_alloc(a, (size_t)(n + 1) * sizeof(int64_t[2]))}; }

void cut_pair(Arena *a, Cut *c, int x, int y, const int64_t cost[2][2]) {
  CutPair *p = vec_push(a, &c->pairs);
  p->a = x;
  p->b = y;
  memcpy(p->cost, cost, sizeof p->cost);
}

int64_t cut_cost(const Cut *c, const bool *label) {
  int64_t sum = 0;
  for (int k = 0; k < c->n; k++) sum += c->cost[k][label[k]];
  for (int k = 0; k < c->pairs.len; k++) sum += c->pairs.at[k].cost[label[c->pairs.at[k].a]][label[c->pairs.at[k].b]];
  return sum;
}

/* What equal labels cost more than different ones. */
static int64_t differ_gain(const CutPair *p) { return p->cost[0][0] + p->cost[1][1] - p->cost[0][1] - p->cost[1][0]; }

/* ---- names ---- */

/* of a thing: another of its tree, and does its name differ? */
typedef struct Forest { int *up; bool *differs; } Forest;

static int root_of(Forest *f, int x, bool *differs) {
  int root = x;
  bool d = false;
  for (; f->up[root] != root; root = f->up[root]) d ^= f->differs[root];
  *differs = d;
  while (f->up[x] != root) {                                    // the next search is shorter
    int next = f->up[x];
    bool rest = d ^ f->differs[x];
    f->up[x] = root;
    f->differs[x] = d;
    d = rest;
    x = next;
  }
  return root;
}

typedef struct Stake { int64_t gain; int pair; } Stake;

static int most_first(const void *x, const void *y) {
  const Stake *a = x, *b = y;
  return a->gain != b->gain ? (a->gain > b->gain ? -1 : 1) : a->pair - b->pair;
}

static bool *choose_names(const Cut *c, Arena *a) {
  Forest f = {NEW_N(a, int, c->n + 1), NEW_N(a, bool, c->n + 1)};
  Stake *stake = NEW_N(a, Stake, c->pairs.len + 1);
  for (int k = 0; k < c->n; k++) f.up[k] = k;
  for (int k = 0; k < c->pairs.len; k++) stake[k] = (Stake){llabs(differ_gain(&c->pairs.at[k])), k};
  qsort(stake, (size_t)c->pairs.len, sizeof *stake, most_first);
  for (int k = 0; k < c->pairs.len; k++) {
    const CutPair *p = &c->pairs.at[stake[k].pair];
    bool da, db;
    int ra = root_of(&f, p->a, &da), rb = root_of(&f, p->b, &db);
    if (ra == rb || !stake[k].gain) continue;
    f.up[ra] = rb;
    f.differs[ra] = da ^ db ^ (differ_gain(p) > 0);
  }
  bool *names = NEW_N(a, bool, c->n + 1);
  for (int k = 0; k < c->n; k++) root_of(&f, k, &names[k]);
  return names;
}

/* ---- flow ---- */

typedef struct Edge { int to, next; int64_t room; } Edge;      /* its reverse is the edge beside it: index ^ 1 */

typedef struct Network {
  Arena *arena;
  int n, source, sink;
  /* per node; now: the edge that the search goes on with */
  int *first, *depth, *now, *queue;
  VEC(Edge) edges;
} Network;

static void edge_add(Network *w, int from, int to, int64_t room) {
  *vec_push(w->arena, &w->edges) = (Edge){to, w->first[from], room};
  w->first[from] = w->edges.len - 1;
  *vec_push(w->arena, &w->edges) = (Edge){from, w->first[to], 0};
  w->first[to] = w->edges.len - 1;
}

/* Levels from the source over edges with room; is the sink reached? */
static bool levels(Network *w) {
  for (int k = 0; k < w->n; k++) w->depth[k] = -1;
  int len = 0;
  w->queue[len++] = w->source;
  w->depth[w->source] = 0;
  for (int q = 0; q < len; q++)
    for (int e = w->first[w->queue[q]]; e >= 0; e = w->edges.at[e].next) {
      const Edge *x = &w->edges.at[e];
      if (x->room <= 0 || w->depth[x->to] >= 0) continue;
      w->depth[x->to] = w->depth[w->queue[q]] + 1;
      w->queue[len++] = x->to;
    }
  return w->depth[w->sink] >= 0;
}

/* One path from level to level to the sink, found depth first, is filled. False: there is none. */
static bool augment(Network *w, int *path) {
  int len = 0, at = w->source;
  while (at != w->sink) {
    int e = w->now[at];
    while (e >= 0 && (w->edges.at[e].room <= 0 || w->depth[w->edges.at[e].to] != w->depth[at] + 1))
      e = w->edges.at[e].next;
    w->now[at] = e;
    if (e >= 0) {
      path[len++] = e;
      at = w->edges.at[e].to;
    } else {
      if (!len) return false;
      at = w->edges.at[path[--len] ^ 1].to;                     // a dead end: its edge is done with
      w->now[at] = w->edges.at[w->now[at]].next;
    }
  }
  int64_t least = INT64_MAX;
  for (int k = 0; k < len; k++) if (w->edges.at[path[k]].room < least) least = w->edges.at[path[k]].room;
  for (int k = 0; k < len; k++) {
    w->edges.at[path[k]].room -= least;
    w->edges.at[path[k] ^ 1].room += least;
  }
  return true;
}

static void fill(Network *w) {
  int *path = NEW_N(w->arena, int, w->n);
  while (levels(w)) {
    memcpy(w->now, w->first, (size_t)w->n * sizeof(int));
    while (augment(w, path)) {}
  }
}

static Network network_of(const Cut *c, const bool *names, Arena *a) {
  int n = c->n + 2;
  Network w = {.arena = a, .n = n, .source = c->n, .sink = c->n + 1, .first = NEW_N(a, int, n),
               .depth = NEW_N(a, int, n), .now = NEW_N(a, int, n), .queue = NEW_N(a, int, n)};
  for (int k = 0; k < n; k++) w.first[k] = -1;
  int64_t *one = NEW_N(a, int64_t, n);                          // what label 1 costs more than label 0
  for (int k = 0; k < c->n; k++) one[k] = c->cost[k][!names[k]] - c->cost[k][names[k]];
  for (int k = 0; k < c->pairs.len; k++) {
    const CutPair *p = &c->pairs.at[k];
    bool x = names[p->a], y = names[p->b];
    int64_t both0 = p->cost[x][y], a1 = p->cost[!x][y], b1 = p->cost[x][!y], both1 = p->cost[!x][!y];
    one[p->a] += a1 - both0;
    one[p->b] += both1 - a1;
    if (a1 + b1 > both0 + both1) edge_add(&w, p->a, p->b, a1 + b1 - both0 - both1);
  }
  for (int k = 0; k < c->n; k++)
    if (one[k] > 0) edge_add(&w, w.source, k, one[k]);
    else if (one[k] < 0) edge_add(&w, k, w.sink, -one[k]);
  return w;
}

/* ---- one at a time ---- */

typedef VEC(int) PairList;

static void improve(const Cut *c, const PairList *pairs, bool *label) {
  for (bool better = true; better;) {
    better = false;
    for (int k = 0; k < c->n; k++) {
      int64_t gain = c->cost[k][label[k]] - c->cost[k][!label[k]];
      for (int q = 0; q < pairs[k].len; q++) {
        const CutPair *p = &c->pairs.at[pairs[k].at[q]];
        bool x = label[p->a], y = label[p->b];
        gain += p->cost[x][y] - p->cost[x ^ (p->a == k)][y ^ (p->b == k)];
      }
      if (gain <= 0) continue;
      label[k] = !label[k];
      better = true;
    }
  }
}

void cut_minimise(const Cut *c, bool *label) {
  Arena a = {0};
  bool *names = choose_names(c, &a), *found = NEW_N(&a, bool, c->n + 1);
  Network w = network_of(c, names, &a);
  fill(&w);                                                     // its last search marks the source's side
  for (int k = 0; k < c->n; k++) found[k] = (w.depth[k] < 0) ^ names[k];
  PairList *pairs = NEW_N(&a, PairList, c->n + 1);
  for (int k = 0; k < c->pairs.len; k++) {
    *vec_push(&a, &pairs[c->pairs.at[k].a]) = k;
    if (c->pairs.at[k].b != c->pairs.at[k].a) *vec_push(&a, &pairs[c->pairs.at[k].b]) = k;
  }
  improve(c, pairs, found);
  improve(c, pairs, label);
  if (cut_cost(c, found) < cut_cost(c, label)) memcpy(label, found, (size_t)c->n * sizeof *label);
  arena_free(&a);
}
