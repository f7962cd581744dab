/* grid_sample: x [N,C,in…] read at the positions of grid [N,out…,r] -> y [N,C,out…], as ir/eval_sample.c defines it;
 * and its gradients: grid_sample_grad adds dy where y was read from, grid_sample_grad_grid sums dy times what y would
 * change by.
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

// slope: d weight / d g
typedef struct Axis { int taps; Expr *element[MAX_TAPS], *weight[MAX_TAPS], *slope[MAX_TAPS]; } Axis;

typedef struct Sample {
  Lower *l;
  const Node *n;
  const Type *x;
  char mode, padding;
  bool align;
  bool guarded;                                        // some taps count as nothing
  bool slopes;                                         // are they wanted?
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

/* d keys / d t. */
static Expr *keys_slope(Builder *b, Expr *t, bool near) {
  const double a = -0.75, k[2][3] = {{8 * a, -10 * a, 3 * a}, {0, -2 * (a + 3), 3 * (a + 2)}};
  Expr *y = ex_const(b, t->elem, k[near][2]);
  for (int p = 1; p >= 0; p--) y = ex_fma(b, y, t, ex_const(b, t->elem, k[near][p]));
  return y;
}

/* Folds x into [lo, lo + range] like a mirror at both ends. *grows, unless NULL, turns with it. */
static Expr *reflect(Builder *b, Expr *x, Expr *lo, Expr *range, Expr **grows) {
  Expr *zero = ex_const(b, x->elem, 0), *twice = ex_add(b, range, range);
  Expr *r = let(b, "folded", ex_scalar(b, S_FMOD, scalar1(b, S_ABS, ex_sub(b, x, lo)), twice, NULL));
  if (grows) {
    Expr *way = let(b, "way", ex_select(b, ex_lt(b, x, lo), ex_sub(b, zero, *grows), *grows));
    way = ex_select(b, ex_scalar(b, S_LE, r, range, NULL), way, ex_sub(b, zero, way));
    *grows = ex_select(b, ex_scalar(b, S_GT, range, zero, NULL), way, zero);
  }
  r = ex_select(b, ex_scalar(b, S_LE, r, range, NULL), r, ex_sub(b, twice, r));
  return ex_add(b, lo, ex_select(b, ex_scalar(b, S_GT, range, zero, NULL), r, zero));
}

/* Coordinate g in [-1, 1] of axis d -> the position; *grows: its slope by g. */
static Expr *position(Sample *s, int d, Expr *g, Expr *lo, Expr *range, Expr **grows) {
  Builder *b = &s->l->b;
  DType c = s->position;
  Expr *n = float_dim(s, s->x->dims[2 + d]), *last = float_dim(s, dim_sub(s->x->dims[2 + d], DIM(1)));
  Expr *one = ex_const(b, c, 1), *half = ex_const(b, c, 0.5), *zero = ex_const(b, c, 0), *x = ex_add(b, g, one);
  x = s->align ? ex_mul(b, x, ex_mul(b, half, last)) : ex_mul(b, ex_sub(b, ex_mul(b, x, n), one), half);
  x = let(b, "x", x);
  *grows = ex_mul(b, half, s->align ? last : n);
  Expr *far = ex_const(b, c, 1e9), *minus_far = ex_const(b, c, -1e9);
  x = ex_min(b, ex_select(b, ex_scalar(b, S_GT, x, minus_far, NULL), x, minus_far), far);      // NaN too
  if (s->mode == 'n') x = scalar1(b, S_ROUND, x);
  if (s->padding == 'b' && s->mode != 'c') {
    Expr *inside = ex_scalar(b, S_AND, ex_scalar(b, S_GE, x, zero, NULL), ex_scalar(b, S_LE, x, last, NULL), NULL);
    if (s->slopes) *grows = let(b, "grows", ex_select(b, inside, *grows, zero));
    x = ex_max(b, ex_min(b, x, last), zero);
  }
  x = let(b, "at", x);
  if (s->padding != 'r') return x;
  return let(b, "at", reflect(b, x, lo, range, s->slopes ? grows : NULL));
}

/* Coordinate g of axis d -> elements and weights. */
static void axis_taps(Sample *s, int d, Expr *g) {
  Builder *b = &s->l->b;
  DType c = s->position;
  Axis *axis = &s->axis[d];
  Dim size = s->x->dims[2 + d];
  Expr *lo = ex_const(b, c, s->align ? 0 : -0.5), *range = float_dim(s, s->align ? dim_sub(size, DIM(1)) : size),
       *grows;
  Expr *x = position(s, d, g, lo, range, &grows), *one = ex_const(b, c, 1), *none = ex_const(b, c, 0);
  Expr *left = let(b, "left", scalar1(b, S_FLOOR, x)), *ratio = let(b, "ratio", ex_sub(b, x, left));
  Expr *first = let(b, "first", ex_cast(b, DT_I64, left));
  int from = s->mode == 'c' ? -1 : 0;
  axis->taps = s->mode == 'n' ? 1 : s->mode == 'c' ? 4 : 2;
  for (int k = 0; k < axis->taps; k++) {
    bool before = k + from <= 0, near = k == 1 || k == 2;        // t is a distance: it grows with x for taps before x
    Expr *t = before ? ex_add(b, ratio, ex_const(b, c, -(from + k))) : ex_sub(b, ex_const(b, c, from + k), ratio);
    Expr *w = s->mode == 'n' ? one : s->mode == 'l' ? ex_sub(b, one, t) : keys(b, t, near);
    Expr *slope = s->mode == 'n' ? none : s->mode == 'l' ? ex_const(b, c, -1) : keys_slope(b, t, near);
    Expr *i = let(b, "i", ex_add(b, first, ex_int(b, from + k))), *zero = ex_int(b, 0), *end = ex_dim(b, size);
    if (s->padding == 'r') i = let(b, "i", ex_cast(b, DT_I64, reflect(b, ex_cast(b, c, i), lo, range, NULL)));
    Expr *inside = ex_min(b, ex_max(b, i, zero), ex_sub(b, end, ex_int(b, 1)));
    if (s->padding != 'z') i = inside;
    Expr *counts = ex_scalar(b, S_AND, ex_scalar(b, S_GE, i, zero, NULL), ex_lt(b, i, end), NULL);
    slope = ex_mul(b, before ? slope : ex_sub(b, none, slope), grows);
    if (s->guarded) w = ex_select(b, counts, w, none), slope = ex_select(b, counts, slope, none);
    axis->element[k] = let(b, "element", ex_max(b, inside, zero));
    axis->weight[k] = let(b, "weight", ex_cast(b, s->sum, w));
    if (s->slopes) axis->slope[k] = let(b, "slope", ex_cast(b, s->sum, slope));
  }
}

static bool sample_init(Sample *s, Lower *l, const Node *n, const Type *x) {
  const char *mode = node_str(n, "mode", "linear");
  *s = (Sample){.l = l, .n = n, .x = x, .mode = mode[0], .padding = node_str(n, "padding", "zeros")[0],
                .align = node_int(n, "align_corners", 0) != 0,
                .position = dtype_compute(value_of(l->m, n->in[1])->type.dtype),
                .sum = x->dtype == DT_F64 ? DT_F64 : DT_F32, .rank = x->rank - 2};
  s->guarded = s->padding == 'z';
  int points = 1;
  for (int d = 0; d < s->rank; d++) {
    points *= s->mode == 'n' ? 1 : s->mode == 'c' ? 4 : 2;
    s->guarded |= dim_lo(x->dims[2 + d]) < 1;
    if (points > MAX_POINTS)
      return lower_fail(l, "%s in %d axes reads more than %d elements for one", mode, s->rank, MAX_POINTS);
  }
  return true;
}

/* Loops over the points of the grid: where each lies; i: index of the output there, all but its channel. `mode`: how
 * the points of an image may run. */
static void points_begin(Sample *s, Expr **i, ForMode mode) {
  Lower *l = s->l;
  Builder *b = &l->b;
  const Type *grid = &value_of(l->m, s->n->in[1])->type;
  Expr *at[MAX_RANK];
  i[0] = at[0] = loop_begin(b, "n", ex_int(b, 0), ex_dim(b, grid->dims[0]), 1, FOR_PARALLEL);
  for (int d = 0; d < s->rank; d++)
    i[2 + d] = at[1 + d] = loop_begin(b, "o", ex_int(b, 0), ex_dim(b, grid->dims[1 + d]), 1, mode);
  for (int d = 0; d < s->rank; d++) {                           // the grid's coordinates: last axis first
    at[1 + s->rank] = ex_int(b, s->rank - 1 - d);
    axis_taps(s, d, let(b, "g", lower_read(l, s->n->in[1], at)));
  }
}

static Expr *channels_begin(Sample *s, ValueId x, ValueId y, ForMode mode) {
  Lower *l = s->l;
  bool lanes = lower_contiguous(l, x, 1) && lower_contiguous(l, y, 1);
  return loop_begin(&l->b, "c", ex_int(&l->b, 0), ex_dim(&l->b, s->x->dims[1]), 1, lanes ? mode | FOR_VECTOR : mode);
}

/* y where the tap's weight counts, else what there was: the element, read or not, may be an infinity. */
static Expr *guard(Sample *s, Expr *weight, Expr *y, Expr *old) {
  Builder *b = &s->l->b;
  return s->guarded ? ex_select(b, ex_scalar(b, S_NE, weight, ex_const(b, s->sum, 0), NULL), y, old) : y;
}

/* The taps of axes d… at what the axes before chose (j, their weight) go into `sum`. */
static void add_taps(Sample *s, int d, Expr **j, Expr *weight, Var *sum) {
  Builder *b = &s->l->b;
  if (d == s->rank) {
    Expr *v = ex_cast(b, s->sum, lower_read(s->l, s->n->in[0], j));
    st_set(b, sum, guard(s, weight, ex_fma(b, v, weight, ex_var(b, sum)), ex_var(b, sum)));
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
  const Type *y = &value_of(l->m, n->out[0])->type;
  Sample s;
  if (!sample_init(&s, l, n, &value_of(l->m, n->in[0])->type)) return false;
  Expr *i[MAX_RANK], *j[MAX_RANK];
  points_begin(&s, i, FOR_PARALLEL);
  i[1] = channels_begin(&s, n->in[0], n->out[0], FOR_PARALLEL);
  memcpy(j, i, sizeof *j * (size_t)y->rank);
  Var *sum = reg(b, "sum", ex_const(b, s.sum, 0));
  add_taps(&s, 0, j, NULL, sum);
  lower_write(l, i, ex_cast(b, dtype_compute(y->dtype), ex_var(b, sum)));
  for (int k = 0; k < y->rank; k++) loop_end(b);
  return true;
}

/* ---- gradients ---- */

/* The same walk; dy is added to what the taps read. */
static void give_taps(Sample *s, int d, Expr **j, Expr *weight, Expr *dy) {
  Builder *b = &s->l->b;
  ValueId dx = s->n->out[0];
  if (d == s->rank) {
    Expr *old = let(b, "old", ex_cast(b, s->sum, ex_load(b, lower_buf(s->l, dx), lower_index(s->l, dx, j))));
    lower_write(s->l, j, ex_cast(b, dtype_compute(s->x->dtype), guard(s, weight, ex_fma(b, dy, weight, old), old)));
    return;
  }
  for (int k = 0; k < s->axis[d].taps; k++) {
    j[2 + d] = s->axis[d].element[k];
    Expr *w = s->axis[d].weight[k];
    give_taps(s, d + 1, j, weight ? let(b, "w", ex_mul(b, weight, w)) : w, dy);
  }
}

bool lower_grid_sample_grad(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *dx = &value_of(l->m, n->out[0])->type;
  Sample s;
  if (!sample_init(&s, l, n, dx)) return false;
  Expr *i[MAX_RANK], *j[MAX_RANK];
  l->accumulates = true;
  lower_loops_of(l, n->out[0], i);
  lower_write(l, i, ex_const(b, dtype_compute(dx->dtype), 0));
  lower_loops_end(l, dx);
  points_begin(&s, i, FOR_SEQ);                                 // two points may give to the same element
  i[1] = channels_begin(&s, n->out[0], n->in[0], FOR_PARALLEL);
  memcpy(j, i, sizeof *j * (size_t)dx->rank);
  give_taps(&s, 0, j, NULL, let(b, "dy", ex_cast(b, s.sum, lower_read(l, n->in[0], i))));
  for (int k = 0; k < dx->rank; k++) loop_end(b);
  return true;
}

/* The same walk with rank + 1 products: along[d] has the slope of axis d where the others have weights. */
static void slope_taps(Sample *s, int d, Expr **j, Expr *const *along, Expr *dy, Var *const *sum) {
  Builder *b = &s->l->b;
  if (d == s->rank) {
    Expr *v = let(b, "v", ex_mul(b, dy, ex_cast(b, s->sum, lower_read(s->l, s->n->in[0], j))));
    for (int a = 0; a < s->rank; a++)
      st_set(b, sum[a], guard(s, along[a], ex_fma(b, v, along[a], ex_var(b, sum[a])), ex_var(b, sum[a])));
    return;
  }
  for (int k = 0; k < s->axis[d].taps; k++) {
    Expr *next[MAX_RANK];
    j[2 + d] = s->axis[d].element[k];
    for (int a = 0; a < s->rank; a++) {
      Expr *w = a == d ? s->axis[d].slope[k] : s->axis[d].weight[k];
      next[a] = d ? let(b, "w", ex_mul(b, along[a], w)) : w;
    }
    slope_taps(s, d + 1, j, next, dy, sum);
  }
}

bool lower_grid_sample_grad_grid(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type, *dgrid = &value_of(l->m, n->out[0])->type;
  Sample s;
  if (!sample_init(&s, l, n, x)) return false;
  s.slopes = true;
  Expr *i[MAX_RANK], *j[MAX_RANK];
  Var *sum[MAX_RANK];
  points_begin(&s, i, FOR_PARALLEL);
  for (int d = 0; d < s.rank; d++) sum[d] = reg(b, "sum", ex_const(b, s.sum, 0));
  i[1] = channels_begin(&s, n->in[0], n->in[2], FOR_SEQ);
  memcpy(j, i, sizeof *j * (size_t)x->rank);
  slope_taps(&s, 0, j, NULL, let(b, "dy", ex_cast(b, s.sum, lower_read(l, n->in[2], i))), sum);
  loop_end(b);
  for (int d = 0; d < s.rank; d++) {
    j[0] = i[0];
    for (int k = 0; k < s.rank; k++) j[1 + k] = i[2 + k];
    j[1 + s.rank] = ex_int(b, s.rank - 1 - d);
    lower_write(l, j, ex_cast(b, dtype_compute(dgrid->dtype), ex_var(b, sum[d])));
  }
  for (int k = 0; k < 1 + s.rank; k++) loop_end(b);
  return true;
}
