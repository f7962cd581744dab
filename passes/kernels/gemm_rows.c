/* Matrix product of one row, or of very few, with constant weights: as fast as memory gives them.
 *
 * Weights larger than the caches are read once, from memory, and nothing else matters. Prefetchers follow a stream page
 * by page and start anew on each; several streams at once hide that (measured on Zen 3: one stream 19 GB/s, four 24).
 * So weights lie in panels two vectors wide, front to back, and a group of panels is read side by side:
 *
 *   for group of `streams` panels
 *     acc = 0
 *     for k          for each panel, vector: acc += a[k] * w[panel][k][vector]
 *     write acc
 *
 * Where a group has fewer accumulators than hide the latency of an addition, as in the last one, each gets several, for
 * successive k. */
#include "passes/kernels/tile.h"

enum { MOST_ROWS = 4, BUSY = 8, MOST_ACC = 32 };               /* BUSY: accumulators that keep two FMA ports busy */

typedef struct Part { int64_t at; int lanes; } Part;            /* of a panel: its vectors */

typedef struct Rows {
  Tiling *t;
  Buf *weights;
  int64_t k, cols;
  int rows, streams, width;          /* width: columns of a whole panel */
} Rows;

/* The vectors of a panel of `width` columns, in halves at the end. */
static int parts_of(const Rows *g, int64_t width, Part *p) {
  int n = 0, lanes = g->t->l->target->lanes;
  for (int64_t at = 0; at < width; at += p[n++].lanes) {
    int w = lanes;
    while (w > width - at) w /= 2;
    p[n] = (Part){at, w};
  }
  return n;
}

static Tensor *pack(const Rows *g, float (*at)(const void *ctx, int64_t k, int64_t col), const void *ctx) {
  int64_t dims[1] = {g->k * g->cols};
  Tensor *out = tensor_new(g->t->l->b.arena, DT_F32, 1, dims);
  float *to = out->data;
  for (int64_t from = 0; from < g->cols; from += g->width)
    for (int64_t k = 0; k < g->k; k++)
      for (int64_t c = from; c < g->cols && c < from + g->width; c++) *to++ = at(ctx, k, c);
  return out;
}

typedef struct Sums { Var *acc[MOST_ROWS][MOST_ACC]; Part part[16]; int nparts, streams, sets; int64_t width; } Sums;

/* `sets` values of k from `k` on, each into accumulators of its own. */
static void add_products(Rows *g, const Sums *s, Expr *first, Expr *k, int sets) {
  Builder *b = &g->t->l->b;
  for (int u = 0; u < sets; u++) {
    Expr *at = ex_add(b, k, ex_int(b, u)), *a[MOST_ROWS];
    for (int r = 0; r < g->rows; r++) a[r] = let(b, "a", g->t->a(g->t, ex_int(b, r), &at, NULL));
    for (int p = 0; p < s->streams; p++)
      for (int q = 0; q < s->nparts; q++) {
        Part v = s->part[q];
        Expr *from = ex_add(b, ex_mul(b, ex_add(b, first, ex_int(b, p * s->width)), ex_int(b, g->k)),
                            ex_mul(b, at, ex_int(b, s->width)));
        Expr *w = ex_load(b, g->weights, lanes_at(b, ex_add(b, from, ex_int(b, v.at)), v.lanes));
        if (g->rows > 1) w = let(b, "w", w);
        for (int r = 0; r < g->rows; r++) {
          Var *acc = s->acc[r][(u * s->streams + p) * s->nparts + q];
          st_set(b, acc, ex_fma(b, v.lanes > 1 ? ex_splat(b, a[r], v.lanes) : a[r], w, ex_var(b, acc)));
        }
      }
  }
}

/* `repeat` groups of `streams` panels that are `width` columns wide, from column `start` on. */
static void groups(Rows *g, int64_t start, int64_t repeat, int streams, int64_t width) {
  Tiling *t = g->t;
  Builder *b = &t->l->b;
  Sums s = {.streams = streams, .width = width};
  if (!repeat || !streams) return;
  s.nparts = parts_of(g, width, s.part);
  int each = streams * s.nparts;
  s.sets = each * g->rows >= BUSY ? 1 : BUSY / (each * g->rows);
  while (s.sets > 1 && (s.sets & (s.sets - 1) || g->k < 2 * s.sets)) s.sets--;
  Expr *group = loop_begin(b, "group", ex_int(b, 0), ex_int(b, repeat), 1, FOR_PARALLEL);
  group = loop_turn(b, "group", group, ex_int(b, repeat), t->backwards);
  Expr *first = let(b, "first", ex_add(b, ex_int(b, start), ex_mul(b, group, ex_int(b, streams * width))));
  for (int r = 0; r < g->rows; r++)
    for (int q = 0; q < each * s.sets; q++) {
      int lanes = s.part[q % s.nparts].lanes;
      s.acc[r][q] = reg(b, "acc", lanes > 1 ? ex_splat(b, ex_const(b, DT_F32, 0), lanes) : ex_const(b, DT_F32, 0));
    }
  int64_t whole = g->k / s.sets * s.sets;
  Expr *k = loop_begin(b, "k", ex_int(b, 0), ex_int(b, whole), s.sets, FOR_SEQ);
  add_products(g, &s, first, k, s.sets);
  loop_end(b);
  if (whole < g->k) {
    k = loop_begin(b, "k", ex_int(b, whole), ex_int(b, g->k), 1, FOR_SEQ);
    add_products(g, &s, first, k, 1);
    loop_end(b);
  }
  for (int n = s.sets / 2; n >= 1; n /= 2)
    for (int r = 0; r < g->rows; r++)
      for (int q = 0; q < n * each; q++)
        st_set(b, s.acc[r][q], ex_add(b, ex_var(b, s.acc[r][q]), ex_var(b, s.acc[r][q + n * each])));
  for (int r = 0; r < g->rows; r++)
    for (int q = 0; q < each; q++) {
      Part v = s.part[q % s.nparts];
      Expr *col = lanes_at(b, ex_add(b, first, ex_int(b, q / s.nparts * width + v.at)), v.lanes),
           *sum = ex_var(b, s.acc[r][q]);
      Expr *bias = t->start ? t->start(t, col) : NULL;
      t->write(t, ex_int(b, r), col, bias ? ex_add(b, sum, bias) : sum);
    }
  loop_end(b);
}

bool gemm_rows(Tiling *t, float (*at)(const void *ctx, int64_t k, int64_t col), const void *ctx) {
  const Target *m = t->l->target;
  if (!dim_is_const(t->rows) || t->rows.k < 1 || t->rows.k > MOST_ROWS || !dim_is_const(t->ksize[0])) return false;
  Rows g = {.t = t, .k = t->ksize[0].k, .cols = t->cols.k, .rows = (int)t->rows.k};
  g.width = m->lanes < 8 ? 16 : 2 * m->lanes;                  // a cache line at least
  int vectors = g.width / m->lanes;
  g.streams = (m->registers - 2 - g.rows) / (vectors * g.rows);
  if (g.streams > 4) g.streams = 4;
  // More rows than streams are left for share what the caches give: the tile is as good, unless all comes from memory.
  if (g.streams < 1 || (g.rows > 1 && (g.streams < 2 || g.k * g.cols * 4 < target_l2(m, 2)))) return false;
  g.weights = lower_weight(t->l, "weight", pack(&g, at, ctx));
  int64_t panels = g.cols / g.width, whole = panels / g.streams;
  groups(&g, 0, whole, g.streams, g.width);
  groups(&g, whole * g.streams * g.width, 1, (int)(panels % g.streams), g.width);
  groups(&g, panels * g.width, g.cols > panels * g.width, 1, g.cols - panels * g.width);
  // Half a fused multiply-add each, or the time of memory: 8 bytes a cycle.
  double multiply = 0.5 / m->lanes * g.rows, stream = g.k * g.cols * 4 > target_l2(m, 2) ? 0.5 : 0.125;
  kernel_choice(t->l, (double)(g.k * g.cols) * (multiply > stream ? multiply : stream),
                "%d streams of weights, %d columns each", g.streams, g.width);
  return true;
}
