/* resize and resize_grad: per resized axis a table of input indices and weights, made at compile time by the
 * evaluator's own functions, so that every mode is one nest: y[o] = sum over taps of weight * x[index]. Sizes must be
 * known. */
#include "ir/resize.h"
#include "ir/binds.h"
#include "passes/lower/functions.h"
#include <string.h>

// copied out: their indices and weights stay in registers
enum { FEW_TAPS = 4 };

typedef struct Table { int taps; Buf *index, *weight, *outside; bool used; } Table;

static bool is_outside(const ResizeAxis *s, double at) {
  return !strcmp(s->coord, "tf_crop_and_resize") && (at < 0 || at > (double)s->in - 1);
}

/* Output element o's taps: `taps` indices and weights. */
static void forward_table(Lower *l, const ResizeAxis *s, Table *t) {
  double weight[RESIZE_MAX_TAPS + 2];
  int64_t first;
  for (int64_t o = 0; o < s->out; o++) {
    int count = resize_taps(s, resize_position(s, o), &first, weight);
    if (count > t->taps) t->taps = count;
  }
  int64_t dims[1] = {s->out * t->taps}, rows[1] = {s->out};
  Tensor *index = tensor_new(l->b.arena, DT_I32, 1, dims), *w = tensor_new(l->b.arena, DT_F32, 1, dims);
  bool crop = !strcmp(s->coord, "tf_crop_and_resize");
  Tensor *outside = crop ? tensor_new(l->b.arena, DT_F32, 1, rows) : NULL;
  for (int64_t o = 0; o < s->out; o++) {
    double at = resize_position(s, o);
    int count = resize_taps(s, at, &first, weight);
    for (int q = 0; q < t->taps; q++) {
      int64_t j = first + (q < count ? q : 0);
      tensor_set_int(index, o * t->taps + q, j < 0 ? 0 : j >= s->in ? s->in - 1 : j);
      tensor_set(w, o * t->taps + q, q < count ? weight[q] : 0);
    }
    if (outside) tensor_set(outside, o, is_outside(s, at));
  }
  t->index = lower_weight(l, "index", index);
  if (t->taps > 1) t->weight = lower_weight(l, "weight", w);
  if (outside) t->outside = lower_weight(l, "outside", outside);
}

/* The transpose: input element j's list of the outputs that took from it, filled up with weights of 0. */
static void backward_table(Lower *l, const ResizeAxis *s, Table *t) {
  double weight[RESIZE_MAX_TAPS + 2];
  int64_t first, *count = NEW_N(l->b.arena, int64_t, s->in);
  Tensor *index = NULL, *w = NULL;
  for (int fill = 0; fill < 2; fill++) {                        // first the lengths of the lists, then the lists
    for (int64_t j = 0; j < s->in; j++) {
      if (count[j] > t->taps) t->taps = (int)count[j];
      count[j] = 0;
    }
    if (t->taps < 1) t->taps = 1;
    int64_t dims[1] = {s->in * t->taps};
    if (fill) index = tensor_new(l->b.arena, DT_I32, 1, dims), w = tensor_new(l->b.arena, DT_F32, 1, dims);
    for (int64_t o = 0; o < s->out; o++) {
      double at = resize_position(s, o);
      int taps = is_outside(s, at) ? 0 : resize_taps(s, at, &first, weight);
      for (int q = 0; q < taps; q++) {
        if (weight[q] == 0) continue;
        int64_t j = first + q;
        j = j < 0 ? 0 : j >= s->in ? s->in - 1 : j;
        if (fill) tensor_set_int(index, j * t->taps + count[j], o), tensor_set(w, j * t->taps + count[j], weight[q]);
        count[j]++;
      }
    }
  }
  t->index = lower_weight(l, "index", index);
  t->weight = lower_weight(l, "weight", w);
}

static bool make_table(Lower *l, const Node *n, int k, const Tensor *roi, Table *t) {
  bool back = n->op == OP_RESIZE_GRAD;
  const Type *from = &value_of(l->m, n->in[0])->type, *to = &value_of(l->m, n->out[0])->type, *x = back ? to : from,
             *y = back ? from : to;
  ResizeAxis s = resize_axis_of(n, x->dims[k].k, y->dims[k].k, roi, x->rank, k);
  if (s.in == s.out && s.scale == 1 && strcmp(s.coord, "tf_crop_and_resize")) return true;
  if (s.scale <= 0 || s.in < 1) return lower_fail(l, "scale %g of axis %d", s.scale, k);
  t->used = true;
  if (back) backward_table(l, &s, t);
  else forward_table(l, &s, t);
  return true;
}

static bool refuse_roi(Lower *l, ValueId roi) {
  Text t = {0};
  binds_put(&t, l->m, &roi, 1);
  lower_fail(l, "its region of interest exists only at run time%s%s", t.len ? "; fix it when compiling, with" : "",
             t.len ? t.at : "");
  text_free(&t);
  return false;
}

static bool by_tables(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type, *y = &value_of(l->m, n->out[0])->type;
  const Tensor *roi = n->nin > 1 && n->in[1] ? value_of(l->m, n->in[1])->constant : NULL;
  if (n->nin > 1 && n->in[1] && !roi) return refuse_roi(l, n->in[1]);
  if (!type_is_static(x) || !type_is_static(y))
    return lower_fail(l, "its sizes must be known: fix the free dims with --dim");
  Table t[MAX_RANK] = {0};
  for (int k = 0; k < x->rank; k++) if (!make_table(l, n, k, roi, &t[k])) return false;
  DType c = dtype_compute(y->dtype);
  Expr *i[MAX_RANK], *j[MAX_RANK], *outside = NULL, *weight = NULL;
  lower_loops_of(l, n->out[0], i);
  bool sum_needed = false;
  for (int k = 0; k < x->rank; k++) sum_needed |= t[k].weight != NULL;
  Var *sum = sum_needed ? reg(b, "sum", ex_const(b, c, 0)) : NULL;
  int loops = 0;
  for (int k = 0; k < x->rank; k++) {
    j[k] = i[k];
    if (!t[k].used) continue;
    Expr *at = i[k];
    if (t[k].weight) {
      Expr *q = loop_begin(b, "tap", ex_int(b, 0), ex_int(b, t[k].taps), 1,
                           t[k].taps <= FEW_TAPS ? FOR_UNROLL : FOR_SEQ);
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

bool lower_resize(Lower *l, const Node *n) { return by_tables(l, n); }
bool lower_resize_grad(Lower *l, const Node *n) { return by_tables(l, n); }
