/* Matrix product by Strassen's algorithm, once, in Winograd's form (1971): seven products of halves instead of eight.
 * Sums of the halves of B, which is constant, are made at compile time, those of A once per call; the additions of
 * products are part of the tiles' ends.
 *
 *   A = a11 a12   S1 = a21 + a22    B = b11 b12   T1 = b12 - b11      C = c11 c12
 *       a21 a22   S2 = S1 - a11         b21 b22   T2 = b22 - T1           c21 c22
 *                 S3 = a11 - a21                  T3 = b22 - b12
 *                 S4 = a12 - S2                   T4 = b21 - T2       (-T4 of the usual form: only additions follow)
 *
 *   x0 = a11 b11;  x1 = x0 + S2 T2;  x2 = x1 + S3 T3;  c21 = x2 + a22 T4;  c22 = x2 + S1 T1, x1 += S1 T1
 *   c12 = x1 + S4 b22;  c11 = x0 + a12 b21
 *
 * Groups of columns, so that x stays in the L2; in a group product after product, so that one of the seven halves of B
 * and of A is read at a time. Of an odd number of rows one has no partner: any will do, since it drops out of what is
 * written. As rows are added to others, a row that is not finite spoils its partner, and rounding follows the larger of
 * the two. Where rows are alike, errors are about 1.4 times those of plain sums. */
#include "passes/kernels/tile.h"
#include <string.h>

enum { PRODUCTS = 7, SUMS = 4, PARTIAL = 3 };

/* a: which half of A (row, column), or sum S. from, to: which x is added, and where the sum goes (-1: nowhere). c: the
 * half of C (row, column) that is then complete, NONE: of none. */
enum { NONE = -1 };
typedef struct Product { int sum, a_row, a_col, from, to, c_row, c_col; } Product;
static const Product products[PRODUCTS] = {
  {NONE, 0, 0, NONE, 0, NONE, 0},
  {1, 0, 0, 0, 1, NONE, 0},
  {2, 0, 0, 1, 2, NONE, 0},
  {NONE, 1, 1, 2, NONE, 1, 0},
  {0, 0, 0, 2, NONE, 1, 1},                                     // and x1
  {3, 0, 0, 1, NONE, 0, 1},
  {NONE, 0, 1, 0, NONE, 0, 0},
};
enum { TWICE = 4 };                                             // the product that two results need

typedef struct Halved {
  Tiling t;                                                     // of one product and one group
  Tiling *whole;
  int64_t upper, lower, k, cols, width;                         // rows, depth and columns of halves; columns of a group
  Buf *sums, *x;                                                // [SUMS, upper, k], [PARTIAL, upper, width]
  Expr *group;                                                  // its first column
  int product;
} Halved;

/* ---- B ---- */

typedef struct Half {
  float (*at)(const void *ctx, int64_t k, int64_t col);
  const void *ctx;
  int64_t k, cols, first;                                       // of a half; the group's first column
  int product;
} Half;

/* The right operand of a product. */
static float half_at(const void *ctx, int64_t k, int64_t col) {
  const Half *h = ctx;
  col += h->first;
  float b11 = h->at(h->ctx, k, col), b12 = h->at(h->ctx, k, col + h->cols);
  float b21 = h->at(h->ctx, k + h->k, col), b22 = h->at(h->ctx, k + h->k, col + h->cols);
  float t1 = b12 - b11, t2 = b22 - t1;
  const float all[PRODUCTS] = {b11, t2, b22 - b12, b21 - t2, t1, b22, b21};
  return all[h->product];
}

/* [group][product][panel][k][columns of a panel] */
static Buf *pack(Halved *s, float (*at)(const void *ctx, int64_t k, int64_t col), const void *ctx) {
  Arena *a = s->t.l->b.arena;
  int64_t part = s->k * s->width, parts = s->cols / s->width * PRODUCTS, all = part * parts;
  Tensor *out = tensor_new(a, DT_F32, 1, &all);
  for (int64_t i = 0; i < parts; i++) {
    Half h = {at, ctx, s->k, s->cols, i / PRODUCTS * s->width, (int)(i % PRODUCTS)};
    memcpy((float *)out->data + i * part, tile_pack(&s->t, s->k, half_at, &h)->data, (size_t)part * 4);
  }
  return lower_weight(s->t.l, "weight", out);
}

/* ---- A ---- */

static Expr *a_half(Halved *s, Expr *row, int col_half, Expr *k) {
  k = plus(&s->t.l->b, k, col_half * s->k);
  return s->whole->a(s->whole, row, &k, NULL);
}

static void sums(Halved *s) {
  Builder *b = &s->t.l->b;
  s->sums = lower_scratch(s->t.l, "sums", DT_F32, DIM(SUMS * s->upper * s->k));
  Expr *row = loop_begin(b, "row", ex_int(b, 0), ex_int(b, s->upper), 1, FOR_PARALLEL), *other = plus(b, row, s->upper);
  if (s->lower < s->upper) other = let(b, "other", ex_min(b, other, last_of(b, s->whole->rows)));
  Expr *k = loop_begin(b, "k", ex_int(b, 0), ex_int(b, s->k), 1, FOR_PARALLEL_VECTOR);
  Expr *a11 = let(b, "a", a_half(s, row, 0, k)), *a21 = let(b, "a", a_half(s, other, 0, k));
  Expr *s1 = let(b, "s", ex_add(b, a21, a_half(s, other, 1, k))), *s2 = let(b, "s", ex_sub(b, s1, a11));
  Expr *sum[SUMS] = {s1, s2, ex_sub(b, a11, a21), ex_sub(b, a_half(s, row, 1, k), s2)};
  for (int i = 0; i < SUMS; i++) st_store(b, s->sums, ex_add(b, times(b, plus(b, row, i * s->upper), s->k), k), sum[i]);
  loop_end(b);
  loop_end(b);
}

static Expr *product_a(Tiling *t, Expr *row, Expr **k, Expr *col) {
  Halved *s = (Halved *)t;
  Builder *b = &t->l->b;
  const Product *p = &products[s->product];
  (void)col;
  if (p->sum == NONE) return a_half(s, plus(b, row, p->a_row * s->upper), p->a_col, k[0]);
  return ex_load(b, s->sums, ex_add(b, times(b, plus(b, row, p->sum * s->upper), s->k), k[0]));
}

/* ---- C ---- */

static Expr *x_at(Halved *s, int i, Expr *row, Expr *col) {
  Builder *b = &s->t.l->b;
  return ex_add(b, times(b, plus(b, row, i * s->upper), s->width), col);
}

static void product_write(Tiling *t, Expr *row, Expr *col, Expr *acc) {
  Halved *s = (Halved *)t;
  Builder *b = &t->l->b;
  const Product *p = &products[s->product];
  Expr *c_row = plus(b, row, p->c_row * s->upper), *c_col = ex_add(b, plus(b, s->group, p->c_col * s->cols), col);
  if (t->l->asks) { s->whole->write(s->whole, c_row, c_col, NULL); return; }
  acc = let(b, "product", acc);
  if (s->product == TWICE) {
    Expr *at = x_at(s, 1, row, col);
    st_store(b, s->x, at, ex_add(b, ex_load(b, s->x, at), acc));
  }
  if (p->from != NONE) acc = ex_add(b, ex_load(b, s->x, x_at(s, p->from, row, col)), acc);
  if (p->to != NONE) st_store(b, s->x, x_at(s, p->to, row, col), acc);
  if (p->c_row == NONE) return;
  bool missing = p->c_row && dim_lo(t->rows) > s->lower;
  if (missing) if_begin(b, ex_lt(b, row, ex_int(b, s->lower)));
  s->whole->write(s->whole, c_row, c_col, acc);
  if (missing) if_end(b);
}

/* ---- does it pay? ---- */

/* The widest group whose x is a quarter of the L2; false: halves are no whole vectors. */
static bool halves(Halved *s) {
  const Tiling *t = s->whole;
  if (!dim_is_const(t->rows) || !dim_is_const(t->ksize[0])) return false;
  int64_t rows = t->rows.k, k = t->ksize[0].k, lanes = t->l->target->lanes;
  if (rows < 2 || k % 2 || t->cols.k % (2 * lanes)) return false;
  s->upper = (rows + 1) / 2;
  s->lower = rows / 2;
  s->k = k / 2;
  s->cols = t->cols.k / 2;
  s->t.rows = DIM(s->upper);
  s->t.ksize[0] = DIM(s->k);
  int64_t most = target_l2(t->l->target, 0.25) / (PARTIAL * s->upper * 4);
  int64_t widest = 0;                                           // or the widest of whole panels
  for (int64_t width = s->cols; width >= lanes; width -= lanes) {
    if (s->cols % width || width > most) continue;
    s->t.cols = DIM(width);
    if (!widest) widest = width;
    if (width % (tile_shape(&s->t).columns * lanes)) continue;
    widest = width;
    break;
  }
  s->t.cols = DIM(widest);
  s->width = widest;
  return widest;
}

static double cost_of(const Halved *s) {
  const Target *g = s->t.l->target;
  double half = (double)(s->upper * s->k * s->cols), lanes = g->lanes;
  double cycles = PRODUCTS * tile_cycles(&s->t, (double)(s->upper * s->k * s->width)) * (double)(s->cols / s->width);
  cycles += 6 * (double)(s->upper * (s->k + s->cols)) / (lanes * g->stores);       // sums of A, and x back and forth
  return tile_with_weights(g, cycles, PRODUCTS * half / (double)s->upper * 4, 1, true);
}

bool gemm_strassen(Tiling *whole, float (*at)(const void *ctx, int64_t k, int64_t col), const void *ctx) {
  Lower *l = whole->l;
  Builder *b = &l->b;
  Halved s = {.whole = whole, .t = {.l = l, .n = whole->n, .kaxes = 1, .kname = {"k"}, .a = product_a,
                                      .write = product_write, .pads = true, .part = true,
                                      .ta = whole->ta, .tb = whole->tb, .ty = whole->ty}};
  if (l->strassen == STRASSEN_OFF || node_int(whole->n, "exact", 0) || !halves(&s)) return false;
  double k = (double)whole->ksize[0].k, plain = tile_cycles(whole, (double)whole->rows.k * k * (double)whole->cols.k);
  double cost[] = {tile_with_weights(l->target, plain, k * (double)whole->cols.k * 4, 1, true), cost_of(&s)};
  // It keeps more weights and loses a digit or so: it must be faster by a twentieth.
  double weighed[] = {cost[0], cost[1] / 0.95};
  if (l->strassen == STRASSEN_AUTO && !lower_choose(l, weighed, 2)) return false;
  s.t.pack = pack(&s, at, ctx);
  TileShape shape = tile_shape(&s.t);
  kernel_choice(l, cost[1],
                "Strassen's products of halves: tile %dx%d of %d lanes, weights packed, groups of %lld columns",
                shape.rows, shape.columns, l->target->lanes, (long long)s.width);
  sums(&s);
  s.group = loop_begin(b, "group", ex_int(b, 0), ex_int(b, s.cols), s.width, FOR_PARALLEL);
  s.x = lower_scratch(l, "x", DT_F32, DIM(PARTIAL * s.upper * s.width));
  for (s.product = 0; s.product < PRODUCTS; s.product++) {
    const Product *p = &products[s.product];
    s.t.rows = DIM(p->c_row == 1 && p->a_row == 1 ? s.lower : s.upper);
    s.t.writes_out = p->c_row != NONE;
    s.t.row_stride = p->sum == NONE ? whole->row_stride : s.k * 4;
    s.t.pack_base = let(b, "weights", plus(b, times(b, s.group, PRODUCTS * s.k), s.product * s.k * s.width));
    tile_build(&s.t);
  }
  loop_end(b);
  return true;
}
