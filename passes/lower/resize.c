/* resize: per resized axis a table of input indices and weights, made at compile time by the evaluator's own
 * functions, so that every mode is one nest: y[o] = sum over taps of weight * x[index]. Sizes must be known. */
#include "ir/resize.h"
#include "passes/binds.h"
#include "passes/lower/functions.h"
#include <string.h>

typedef struct Table { int taps; Buf *index, *weight, *outside; bool used; } Table;

static bool make_table(Lower *l, const Node *n, int k, const Tensor *roi, Table *t) {
  const Type *x = &value_of(l->m, n->in[0])->type, *y = &value_of(l->m, n->out[0])->type;
  ResizeAxis s = resize_axis_of(n, x->dims[k].k, y->dims[k].k, roi, x->rank, k);
  bool crop = !strcmp(s.coord, "tf_crop_and_resize");
  if (s.in == s.out && s.scale == 1 && !crop) return true;
  if (s.scale <= 0 || s.in < 1) return lower_fail(l, "scale %g of axis %d", s.scale, k);
  t->used = true;
  double weight[RESIZE_MAX_TAPS + 2];
  int64_t first;
  for (int64_t o = 0; o < s.out; o++) {
    int count = resize_taps(&s, resize_position(&s, o), &first, weight);
    if (count > t->taps) t->taps = count;
  }
  int64_t dims[1] = {s.out * t->taps}, rows[1] = {s.out};
  Tensor *index = tensor_new(l->b.arena, DT_I32, 1, dims), *w = tensor_new(l->b.arena, DT_F32, 1, dims);
  Tensor *outside = crop ? tensor_new(l->b.arena, DT_F32, 1, rows) : NULL;
  for (int64_t o = 0; o < s.out; o++) {
    double at = resize_position(&s, o);
    int count = resize_taps(&s, at, &first, weight);
    for (int q = 0; q < t->taps; q++) {
      int64_t j = first + (q < count ? q : 0);
      tensor_set_int(index, o * t->taps + q, j < 0 ? 0 : j >= s.in ? s.in - 1 : j);
      tensor_set(w, o * t->taps + q, q < count ? weight[q] : 0);
    }
    if (outside) tensor_set(outside, o, at < 0 || at > (double)s.in - 1);
  }
  t->index = lower_weight(l, "index", index);
  if (t->taps > 1) t->weight = lower_weight(l, "weight", w);
  if (outside) t->outside = lower_weight(l, "outside", outside);
  return true;
}

static bool refuse_roi(Lower *l, ValueId roi) {
  Text t = {0};
  binds_put(&t, l->m, &roi, 1);
  lower_fail(l, "its region of interest exists only at run time%s%s", t.len ? "; fix it when compiling, with" : "", t.len ? t.at : "");
  text_free(&t);
  return false;
}

bool lower_resize(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type, *y = &value_of(l->m, n->out[0])->type;
  const Tensor *roi = n->nin > 1 && n->in[1] ? value_of(l->m, n->in[1])->constant : NULL;
  if (n->nin > 1 && n->in[1] && !roi) return refuse_roi(l, n->in[1]);
  if (!type_is_static(x) || !type_is_static(y)) return lower_fail(l, "its sizes must be known: fix the free dims with --dim");
  Table t[MAX_RANK] = {0};
  for (int k = 0; k < x->rank; k++) if (!make_table(l, n, k, roi, &t[k])) return false;
  DType c = dtype_compute(y->dtype);
  Expr *i[MAX_RANK], *j[MAX_RANK], *outside = NULL, *weight = NULL;
  lower_loops_of(l, n->out[0], i);
  bool sum_needed = false;
  for (int k = 0; k < x->rank; k++) sum_needed |= t[k].taps > 1;
  Var *sum = sum_needed ? reg(b, "sum", ex_const(b, c, 0)) : NULL;
  int loops = 0;
  for (int k = 0; k < x->rank; k++) {
    j[k] = i[k];
    if (!t[k].used) continue;
    Expr *at = i[k];
    if (t[k].taps > 1) {
      Expr *q = loop_begin(b, "tap", ex_int(b, 0), ex_int(b, t[k].taps), 1, FOR_SEQ);
      at = let(b, "at", ex_add(b, ex_mul(b, i[k], ex_int(b, t[k].taps)), q));
      loops++;
      Expr *w = ex_cast(b, c, ex_load(b, t[k].weight, at));
      weight = let(b, "weight", weight ? ex_mul(b, weight, w) : w);
    }
    j[k] = let(b, "from", ex_cast(b, DT_I64, ex_load(b, t[k].index, at)));
    if (t[k].outside) {
      Expr *o = ex_scalar(b, S_NE, ex_load(b, t[k].outside, i[k]), ex_const(b, DT_F32, 0), NULL);
      outside = outside ? ex_scalar(b, S_OR, outside, o, NULL) : o;
    }
  }
  Expr *v = lower_read(l, n->in[0], j);
  if (sum) {
    st_set(b, sum, ex_fma(b, v, weight, ex_var(b, sum)));
    v = ex_var(b, sum);
  }
  for (int k = 0; k < loops; k++) loop_end(b);
  if (outside) v = ex_select(b, outside, ex_const(b, c, node_float(n, "extrapolation", 0)), v);
  lower_write(l, i, v);
  lower_loops_end(l, y);
  return true;
}
