/* grid_sample: x [N,C,in…] read at the positions of grid [N,out…,r] -> y [N,C,out…], as ir/eval_sample.c defines it.
 *
 * Per output point and axis: the position, then for every tap the element it reads and its weight, in registers;
 * then per channel one sum over all combinations of taps, written out. Channels are lanes where they are
 * contiguous. Positions are computed in the grid's type, sums in f32 or, for f64, in f64.
 *
 * A tap outside x is read at the nearest element inside, so that every load is in bounds. Where such a tap counts
 * as nothing (zeros; an axis that may be empty) its weight is 0 and a select skips it: the element there
 * may be an infinity. */
#include "passes/lower/functions.h"
#include <string.h>

enum { MAX_TAPS = 4, MAX_POINTS = 256 };               // taps per axis; combinations of them

typedef struct Axis { int taps; Expr *element[MAX_TAPS], *weight[MAX_TAPS]; } Axis;

typedef struct Sample {
  Lower *l;
  const Node *n;
  const Type *x;
  char mode, padding;
  bool align;
  bool guarded;                                        // some taps count as nothing
  DType position, sum;
  int rank;                                            // spatial axes
  Axis axis[MAX_RANK];
} Sample;

static Expr *scalar1(Builder *b, ScalarOp op, Expr *x) { return ex_scalar(b, op, x, NULL, NULL); }
static Expr *float_dim(Sample *s, Dim d) { return ex_cast(&s->l->b, s->position, ex_dim(&s->l->b, d)); }

/* Keys' kernel at distance t, 0 <= t <= 2, whose formula depends on which side of 1 t lies. */
static Expr *keys(Builder *b, Expr *t, bool near) {
  DType c = t->elem;
  const double a = -0.75, k[2][4] = {{-4 * a, 8 * a, -5 * a, a}, {1, 0, -(a + 3), a + 2}};     // powers of t, rising
  Expr *y = ex_const(b, c, k[near][3]);
  for (int p = 2; p >= 0; p--) y = ex_fma(b, y, t, ex_const(b, c, k[near][p]));
  return y;
}

/* Folds x into [lo, lo + range] like a mirror at both ends. */
static Expr *reflect(Builder *b, Expr *x, Expr *lo, Expr *range) {
  Expr *zero = ex_const(b, x->elem, 0), *twice = ex_add(b, range, range);
  Expr *r = let(b, "folded", ex_scalar(b, S_FMOD, scalar1(b, S_ABS, ex_sub(b, x, lo)), twice, NULL));
  r = ex_select(b, ex_scalar(b, S_LE, r, range, NULL), r, ex_sub(b, twice, r));
  return ex_add(b, lo, ex_select(b, ex_scalar(b, S_GT, range, zero, NULL), r, zero));
}

/* Coordinate g in [-1, 1] of axis d -> elements and weights. */
static void axis_taps(Sample *s, int d, Expr *g) {
  Builder *b = &s->l->b;
  DType c = s->position;
  Axis *axis = &s->axis[d];
  Dim size = s->x->dims[2 + d];
  Expr *n = float_dim(s, size), *last = float_dim(s, dim_sub(size, DIM(1))), *one = ex_const(b, c, 1), *half = ex_const(b, c, 0.5);
  Expr *lo = s->align ? ex_const(b, c, 0) : ex_const(b, c, -0.5), *range = s->align ? last : n;
  Expr *x = ex_add(b, g, one);
  x = s->align ? ex_mul(b, x, ex_mul(b, half, last)) : ex_mul(b, ex_sub(b, ex_mul(b, x, n), one), half);
  x = let(b, "x", x);
  Expr *far = ex_const(b, c, 1e9), *minus_far = ex_const(b, c, -1e9);
  x = ex_min(b, ex_select(b, ex_scalar(b, S_GT, x, minus_far, NULL), x, minus_far), far);      // NaN too
  if (s->mode == 'n') x = scalar1(b, S_ROUND, x);
  if (s->padding == 'b' && s->mode != 'c') x = ex_max(b, ex_min(b, x, last), ex_const(b, c, 0));
  x = let(b, "at", x);
  if (s->padding == 'r') x = let(b, "at", reflect(b, x, lo, range));
  Expr *left = let(b, "left", scalar1(b, S_FLOOR, x)), *ratio = let(b, "ratio", ex_sub(b, x, left));
  Expr *first = let(b, "first", ex_cast(b, DT_I64, left));
  int from = s->mode == 'c' ? -1 : 0;
  axis->taps = s->mode == 'n' ? 1 : s->mode == 'c' ? 4 : 2;
  for (int k = 0; k < axis->taps; k++) {
    Expr *t = k + from <= 0 ? ex_add(b, ratio, ex_const(b, c, -(from + k))) : ex_sub(b, ex_const(b, c, from + k), ratio);
    Expr *w = s->mode == 'n' ? one : s->mode == 'l' ? ex_sub(b, one, t) : keys(b, t, k == 1 || k == 2);
    Expr *i = let(b, "i", ex_add(b, first, ex_int(b, from + k))), *zero = ex_int(b, 0), *end = ex_dim(b, size);
    if (s->padding == 'r') i = let(b, "i", ex_cast(b, DT_I64, reflect(b, ex_cast(b, c, i), lo, range)));
    Expr *inside = ex_min(b, ex_max(b, i, zero), ex_sub(b, end, ex_int(b, 1)));
    if (s->padding != 'z') i = inside;
    Expr *counts = ex_scalar(b, S_AND, ex_scalar(b, S_GE, i, zero, NULL), ex_lt(b, i, end), NULL);
    if (s->guarded) w = ex_select(b, counts, w, ex_const(b, c, 0));
    axis->element[k] = let(b, "element", ex_max(b, inside, zero));
    axis->weight[k] = let(b, "weight", ex_cast(b, s->sum, w));
  }
}

/* Adds the taps of axes d… at what the axes before chose. */
static void add_taps(Sample *s, int d, Expr **j, Expr *weight, Var *sum) {
  Builder *b = &s->l->b;
  if (d == s->rank) {
    Expr *v = ex_cast(b, s->sum, lower_read(s->l, s->n->in[0], j)), *more = ex_fma(b, v, weight, ex_var(b, sum));
    if (s->guarded) more = ex_select(b, ex_scalar(b, S_NE, weight, ex_const(b, s->sum, 0), NULL), more, ex_var(b, sum));
    st_set(b, sum, more);
    return;
  }
  for (int k = 0; k < s->axis[d].taps; k++) {
    j[2 + d] = s->axis[d].element[k];
    Expr *w = s->axis[d].weight[k];
    add_taps(s, d + 1, j, weight ? let(b, "w", ex_mul(b, weight, w)) : w, sum);
  }
}

bool lower_grid_sample(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type, *grid = &value_of(l->m, n->in[1])->type, *y = &value_of(l->m, n->out[0])->type;
  const char *mode = node_str(n, "mode", "linear");
  Sample s = {.l = l, .n = n, .x = x, .mode = mode[0], .padding = node_str(n, "padding", "zeros")[0],
              .align = node_int(n, "align_corners", 0) != 0, .position = dtype_compute(grid->dtype),
              .sum = x->dtype == DT_F64 ? DT_F64 : DT_F32, .rank = x->rank - 2};
  s.guarded = s.padding == 'z';
  int points = 1;
  for (int d = 0; d < s.rank; d++) {
    points *= s.mode == 'n' ? 1 : s.mode == 'c' ? 4 : 2;
    s.guarded |= dim_lo(x->dims[2 + d]) < 1;
    if (points > MAX_POINTS) return lower_fail(l, "%s in %d axes reads more than %d elements for one", mode, s.rank, MAX_POINTS);
  }
  bool lanes = lower_contiguous(l, n->in[0], 1) && lower_contiguous(l, n->out[0], 1);
  Expr *i[MAX_RANK], *j[MAX_RANK], *at[MAX_RANK];
  i[0] = at[0] = loop_begin(b, "n", ex_int(b, 0), ex_dim(b, y->dims[0]), 1, FOR_SEQ);
  for (int d = 0; d < s.rank; d++)
    i[2 + d] = at[1 + d] = loop_begin(b, "o", ex_int(b, 0), ex_dim(b, y->dims[2 + d]), 1, FOR_SEQ);
  for (int d = 0; d < s.rank; d++) {                            // the grid's coordinates: last axis first
    at[1 + s.rank] = ex_int(b, s.rank - 1 - d);
    axis_taps(&s, d, let(b, "g", lower_read(l, n->in[1], at)));
  }
  i[1] = loop_begin(b, "c", ex_int(b, 0), ex_dim(b, y->dims[1]), 1, lanes ? FOR_VECTOR : FOR_SEQ);
  memcpy(j, i, sizeof *j * (size_t)x->rank);
  Var *sum = reg(b, "sum", ex_const(b, s.sum, 0));
  add_taps(&s, 0, j, NULL, sum);
  lower_write(l, i, ex_cast(b, dtype_compute(y->dtype), ex_var(b, sum)));
  for (int k = 0; k < y->rank; k++) loop_end(b);
  return true;
}
