/* Few columns: vectors run along the reduction instead, and what they hold is summed at the end.
 *
 *   acc[r][c] = 0                                (a vector each)
 *     for k in steps of some lanes               acc[r][c] += A[r, k…] * B[k…, c]
 *   write(r, c, sum of lanes of acc[r][c])
 *
 * A lies contiguous along the last axis of the reduction, whose size is a multiple of those lanes; B is packed as
 * panels [columns/c][k in steps][c][lanes]. A tile of columns would compute whole vectors of them, most of which nobody
 * asked for. */
#include "passes/kernels/tile.h"

/* Most columns to a panel: then tiles of four rows or more fit. */
static int most_columns(const Tiling *t) { return t->l->target->registers >= 32 ? 4 : 3; }

/* Lanes that divide the last axis of the reduction; 0: none, or too few to be worth it. */
static int lanes_along_k(const Tiling *t) {
  Dim k = t->ksize[t->kaxes - 1];
  int lanes = t->l->target->lanes;
  while (lanes >= 4 && !(dim_is_const(k) && k.k % lanes == 0 && k.k > 0)) lanes /= 2;
  return lanes >= 4 ? lanes : 0;
}

int dot_panels(const Tiling *t, Panel *p) {
  int64_t count = (t->cols.k + most_columns(t) - 1) / most_columns(t), small = t->cols.k / count,
          large = t->cols.k - small * count, start = 0;
  int n = 0;
  for (int q = 0; q < 2; q++) {
    int64_t repeat = q ? count - large : large, columns = small + !q;
    if (!repeat) continue;
    p[n] = (Panel){.start = start, .columns = (int)columns, .width = columns, .cols = columns, .repeat = repeat};
    for (int c = 0; c < columns; c++) p[n].lanes[c] = 1;
    start += repeat * columns;
    n++;
  }
  return n;
}

/* Cycles for one row and one element of the reduction: by multiply-adds and loads, and what the sums at the end
 * cost. */
double dot_cost(const Tiling *t, int lanes) {
  enum { CYCLES_OF_SUM = 4 };
  int columns = t->cols.k < most_columns(t) ? (int)t->cols.k : most_columns(t);
  double rows = target_tile_rows(t->l->target, columns, 0), k = 1;
  for (int q = 0; q < t->kaxes; q++) k *= dim_is_const(t->ksize[q]) ? (double)t->ksize[q].k : 1;
  double loads = 0.5 / rows + 0.5 / columns, cost = loads > 0.5 ? loads : 0.5;
  return (double)t->cols.k * ((cost + 0.05) / lanes + CYCLES_OF_SUM / k);
}

/* Many columns fill their vectors well enough, and are read once for all of them, not for every few. */
void tile_try_dot(Tiling *t) {
  enum { MOST_VECTORS = 2 };
  int lanes = lanes_along_k(t);
  if (!lanes || t->cols.k > MOST_VECTORS * t->l->target->lanes) return;
  if (dot_cost(t, lanes) < 0.9 * tile_row_cost(t)) t->dot = lanes;
}

Tensor *dot_pack(Tiling *t, int64_t k, float (*at)(const void *ctx, int64_t k, int64_t col), const void *ctx) {
  Tensor *out = tensor_new(t->l->b.arena, DT_F32, 1, &(int64_t){k * t->cols.k});
  float *to = out->data;
  Panel p[2];
  int n = dot_panels(t, p);
  for (int q = 0; q < n; q++)
    for (int64_t first = p[q].start; first < p[q].start + p[q].repeat * p[q].width; first += p[q].width)
      for (int64_t i = 0; i < k; i += t->dot)
        for (int64_t c = 0; c < p[q].width; c++)
          for (int64_t lane = 0; lane < t->dot; lane++) *to++ = at(ctx, i + lane, first + c);
  return out;
}

void dot_body(Tiling *t, const Panel *p, Expr *panel, Expr *first, Expr *row, int rows) {
  Builder *b = &t->l->b;
  int last = t->kaxes - 1;
  Var *acc[16][4];
  Expr *k[MAX_RANK], *w[4], *flat = ex_int(b, 0);
  for (int i = 0; i < rows; i++)
    for (int c = 0; c < p->columns; c++) acc[i][c] = reg(b, "acc", ex_splat(b, ex_const(b, DT_F32, 0), t->dot));
  for (int q = 0; q <= last; q++) {
    Expr *lo = ex_int(b, 0), *hi = ex_dim(b, t->ksize[q]);
    if (t->range) t->range(t, q, &lo, &hi);
    k[q] = loop_begin(b, t->kname[q], lo, hi, q == last ? t->dot : 1, FOR_SEQ);
    flat = ex_add(b, ex_mul(b, flat, ex_dim(b, t->ksize[q])), k[q]);
  }
  k[last] = ex_ramp(b, k[last], 1, t->dot);
  for (int c = 0; c < p->columns; c++) {
    Expr *at = ex_add(b, ex_add(b, panel, ex_mul(b, flat, ex_int(b, p->columns))), ex_int(b, (int64_t)c * t->dot));
    w[c] = let(b, "w", ex_load(b, t->pack, ex_ramp(b, at, 1, t->dot)));
  }
  for (int i = 0; i < rows; i++) {
    Expr *a = let(b, "x", t->a(t, ex_add(b, row, ex_int(b, i)), k, NULL));
    for (int c = 0; c < p->columns; c++) st_set(b, acc[i][c], ex_fma(b, a, w[c], ex_var(b, acc[i][c])));
  }
  for (int q = 0; q <= last; q++) loop_end(b);
  for (int c = 0; c < p->columns; c++) {
    Expr *col = ex_add(b, first, ex_int(b, c)), *start = t->start ? t->start(t, col) : NULL;
    if (start) start = let(b, "start", start);
    for (int i = 0; i < rows; i++) {
      Expr *sum = ex_reduce(b, S_ADD, ex_var(b, acc[i][c]));
      t->write(t, ex_add(b, row, ex_int(b, i)), col, start ? ex_add(b, sum, start) : sum);
    }
  }
}
