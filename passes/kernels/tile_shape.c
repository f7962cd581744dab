/* Which register tile (tile.h): what shapes cost by the model, the panels that follow from one, blocks of rows. */
#include "passes/kernels/tile.h"

int tile_most_rows(const Tiling *t, int columns) {
  int fit = target_tile_rows(t->l->target, columns, t->vector_a);
  int ways = t->l->target->l1_ways < 8 ? t->l->target->l1_ways : 8,
      cap = t->row_stride && t->row_stride % target_set_span(t->l->target) ? 14 : ways;
  return fit < cap ? fit : cap;
}

/* Rows per tile when n rows are split evenly into tiles of at most `most`. */
static double even_rows(int64_t n, int most) {
  int64_t tiles = (n + most - 1) / most;
  return tiles ? (double)n / (double)tiles : 1;
}

/* Cycles per multiply-add of one vector. Fitted to tiles of all shapes, timed on Zen 3 with panels in L1, L2 and L3: a
 * scalar of A takes more of the load ports than a vector of B, since scalars of several rows often lie in one bank. */
static double tile_cost(const Tiling *t, int columns, double rows, double bytes_of_k) {
  const Target *g = t->l->target;
  double tile = rows * columns, panel = bytes_of_k * columns, load = 1.0 / g->loads,
         scalar = (g->lanes < 16 ? 1.3 : 1) * load;
  double ports = 1.0 / g->fmas, latency = 4.0 / tile,
         loads = t->vector_a ? load * (1 + 1 / rows) : load / rows + scalar / columns;
  // cycles per byte
  double from = panel <= g->l1 * 768.0 ? 0 : !target_is_far(g, panel) ? 1.0 / g->from_l2 : 1.0 / g->from_far;
  double stream = g->lanes * 4 * from / rows;
  double cost = ports > latency ? ports : latency;
  if (loads > cost) cost = loads;
  if (stream > cost) cost = stream;
  // start and end of a tile
  return cost + 0.1 * loads + 0.2 * stream + 4 / (tile * (bytes_of_k / (g->lanes * 4.0) + 8));
}

/* The same for the panels of `columns` of a shape. A tile that runs on from line to line divides to find where each of
 * its rows lies, and where these are many it loads their addresses again and again. */
static double shape_cost(const Tiling *t, TileShape s, int columns, double bytes_of_k) {
  enum { ADDRESSES = 8, DIVISION = 4 };
  int64_t n = dim_likely(t->rows) * (s.wraps && !t->line ? t->lines : 1);
  double rows = even_rows(n, tile_most_rows(t, columns)), k = bytes_of_k / (t->l->target->lanes * 4.0);
  double cost = tile_cost(t, columns, rows, bytes_of_k);
  if (!s.wraps) return cost;
  if (rows > ADDRESSES) cost += (rows - ADDRESSES) / (t->l->target->loads * rows * columns);
  return cost + DIVISION / (columns * k);
}

/* Shapes that fit, and what each costs per multiply-add of a vector. */
typedef struct Candidates { int n; TileShape shape[24]; double cost[24]; } Candidates;

static Candidates candidates(const Tiling *t) {
  const Target *g = t->l->target;
  int64_t vectors = (t->cols.k + (t->pads ? g->lanes - 1 : 0)) / g->lanes, n = dim_likely(t->rows);
  double bytes_of_k = g->lanes * 4;
  for (int q = 0; q < t->kaxes; q++) bytes_of_k *= (double)dim_likely(t->ksize[q]);
  Candidates all = {0};
  Panel p[2];
  if (t->dot && dot_panels(t, p)) return (Candidates){1, {{p[0].columns, tile_most_rows(t, p[0].columns), false}}, {1}};
  if (t->columns) return (Candidates){1, {{t->columns, tile_most_rows(t, t->columns), false}}, {1}};
  int widest = n <= 2 ? (g->registers >= 32 ? 8 : 4) : t->vector_a ? 4 : 6;
  for (int c = 1; c <= widest; c++) {
    if (c > 1 && c > vectors) break;
    for (int wraps = 0; wraps <= (t->lines > 1); wraps++) {
      TileShape s = {c, tile_most_rows(t, c), wraps};
      double cost = shape_cost(t, s, c, bytes_of_k);
      int64_t full = vectors / c * c, rest = vectors - full;      // a last panel of fewer columns costs as it does
      if (rest) cost = (cost * (double)full + shape_cost(t, s, (int)rest, bytes_of_k) * (double)rest) / (double)vectors;
      all.shape[all.n] = s;
      all.cost[all.n++] = cost;
    }
  }
  return all;
}

/* Of equals the first: fewer columns. */
static int cheapest(const Candidates *all) {
  int best = 0;
  for (int i = 1; i < all->n; i++) if (all->cost[i] < all->cost[best] - 1e-9) best = i;
  return best;
}

TileShape tile_shape(const Tiling *t) {
  if (t->shape.columns) return t->shape;
  Candidates all = candidates(t);
  return all.shape[cheapest(&all)];
}

/* What a tuning may try instead: a few shapes that the model does not find far worse. */
void tile_decide(Tiling *t) {
  enum { FEW = 4 };
  if (t->shape.columns) return;
  Candidates all = candidates(t), some = {0};
  double lowest = all.cost[cheapest(&all)];
  for (int i = 0; i < all.n; i++) {
    if (all.cost[i] > 1.6 * lowest) continue;
    int at = some.n < FEW ? some.n++ : FEW;
    for (; at > 0 && all.cost[i] < some.cost[at - 1] - 1e-9; at--)
      if (at < FEW) { some.shape[at] = some.shape[at - 1]; some.cost[at] = some.cost[at - 1]; }
    if (at < FEW) { some.shape[at] = all.shape[i]; some.cost[at] = all.cost[i]; }
  }
  t->shape = some.shape[lower_choose(t->l, some.cost, some.n)];
}

double tile_row_cost(const Tiling *t) {
  if (t->dot) return dot_cost(t, t->dot);
  Candidates all = candidates(t);
  int lanes = t->l->target->lanes;
  double lowest = all.cost[cheapest(&all)];
  return lowest * (double)((t->cols.k + lanes - 1) / lanes);
}

int tile_panels(const Tiling *t, Panel *p, int max) {
  if (t->dot) return dot_panels(t, p);
  int lanes = t->l->target->lanes;
  int64_t tail = t->cols.k % lanes, vectors = t->cols.k / lanes + (t->pads && tail), start = 0;
  int n = 0, per = tile_shape(t).columns;
  while (vectors > 0 && n < max) {
    Panel q = {.start = start, .columns = vectors < per ? (int)vectors : per, .repeat = 1};
    q.repeat = vectors / q.columns;
    if (t->pads && tail && q.repeat > 1 && vectors % q.columns == 0) q.repeat--;      // the last one has the tail
    for (int c = 0; c < q.columns; c++) q.lanes[c] = lanes;
    q.width = q.cols = (int64_t)q.columns * lanes;
    vectors -= q.repeat * q.columns;
    start += q.repeat * q.width;
    if (t->pads && tail && !vectors) q.cols -= lanes - tail;
    p[n++] = q;
  }
  if (tail && !t->pads && n < max) {
    Panel q = {.start = start, .repeat = 1};
    for (int w = lanes / 2; w >= 1; w /= 2)
      if (tail & w) { q.lanes[q.columns++] = w; q.width += w; }
    q.cols = q.width;
    p[n++] = q;
  }
  return n;
}

int64_t tile_block_rows(const Tiling *t, int64_t rows, const Panel *p, int n) {
  const Target *g = t->l->target;
  int64_t k = 1, panels = 0, times = t->times ? t->times : 1;
  for (int q = 0; q < t->kaxes; q++) k *= tile_known(t->ksize[q]);
  for (int q = 0; q < n; q++) panels += p[q].repeat;
  if (!t->by_blocks || (t->lines && t->dot) || !rows || !k || panels < 2) return 0;
  int64_t bytes = times * (t->row_bytes ? t->row_bytes : k * 4);
  int64_t most = target_l2(g, 0.5) / bytes, least = 4 * tile_most_rows(t, 1);
  if (rows <= most || most < least) return 0;
  int64_t blocks = (rows + most - 1) / most, limit = 2 * blocks;
  while (blocks < limit && rows % blocks) blocks++;
  double saved = (double)((panels - 1) * rows * bytes - (blocks - 1) * k * t->cols.k * 4) / g->from_far;
  double products = (double)(rows * times * k * t->cols.k) / (g->lanes * g->fmas);
  bool free = !t->lines || tile_shape(t).wraps;
  return rows % blocks || saved < (free ? 0 : products / 8) ? 0 : rows / blocks;
}

double tile_cycles(const Tiling *t, double products) {
  Panel p[8];
  int count = tile_panels(t, p, 8), lanes = t->l->target->lanes;
  TileShape shape = tile_shape(t);
  double k = 1, cycles = 0;
  for (int q = 0; q < t->kaxes; q++) k *= (double)dim_likely(t->ksize[q]);
  if (t->dot) cycles = products / (double)t->cols.k * tile_row_cost(t);
  for (int q = 0; !t->dot && q < count; q++) {
    double share = products / (double)t->cols.k * (double)(p[q].repeat * p[q].columns);
    cycles += share * shape_cost(t, shape, p[q].columns, k * lanes * 4);
  }
  return cycles;
}

double tile_with_weights(const Target *g, double compute, double bytes, double times, bool ahead) {
  double wait = bytes * (1.0 / g->from_memory + (times - 1) / g->from_far);
  if (!target_fills_l2(g, bytes)) return compute;
  if (!ahead) return compute + wait;
  return (compute > wait ? compute : wait) + 0.1 * wait;
}

/* The multiply-adds are the op's. */
void tile_choice(Tiling *t, const char *how) {
  const Node *n = t->n;
  TileShape shape = tile_shape(t);
  double cycles = tile_cycles(t, (double)dim_lo(op_info[n->op].flops(t->l->m, n)) / 2);
  const char *lines = t->line ? " over lines" : "";
  const char *blocks = t->block ? arena_printf(t->l->b.arena, ", blocks of %lld rows", (long long)t->rows.k) : "";
  if (dim_is_const(t->rows) && t->rows.k < shape.rows) shape.rows = (int)t->rows.k;
  kernel_choice(t->l, cycles, "%s: tile %dx%d of %d lanes%s%s%s", how, shape.rows, shape.columns,
                t->dot ? t->dot : t->l->target->lanes, lines,
                !t->pack ? "" : t->pack->is_constant ? ", weights packed" : ", packed here", blocks);
}
