/* Pooling and its gradients, naive, any number of spatial axes. Taps outside x do not take part (max) or count as zeros
 * (average; in the divisor only with count_include_pad, and never beyond the padding that `ceil` adds). */
#include "passes/lower/functions.h"
#include <math.h>

typedef struct Window {
  Lower *l;
  const Type *x, *y;
  const Attr *kernel, *strides, *pads, *dilations;
  int spatial;
  Expr *i[MAX_RANK], *j[MAX_RANK];
} Window;

static Window window_of(Lower *l, const Node *n, ValueId x, ValueId y) {
  return (Window){.l = l, .x = &value_of(l->m, x)->type, .y = &value_of(l->m, y)->type,
                  .spatial = value_of(l->m, x)->type.rank - 2, .kernel = node_dims(n, "kernel"),
                  .strides = node_dims(n, "strides"), .pads = node_dims(n, "pads"),
                  .dilations = node_dims(n, "dilations")};
}

/* Loops over y but its first axis, whose index is there. `mode`: how windows may run; channels share nothing. */
static void plane_open(Window *w, int vector_axis, ForMode mode) {
  // Loop order: channels innermost where they are contiguous, so that lanes are channels.
  Builder *b = &w->l->b;
  bool channels_inner = vector_axis == 1;
  if (!channels_inner) w->i[1] = loop_begin(b, "c", ex_int(b, 0), ex_dim(b, w->y->dims[1]), 1, FOR_PARALLEL);
  for (int s = 0; s < w->spatial; s++)
    w->i[2 + s] = loop_begin(b, "o", ex_int(b, 0), ex_dim(b, w->y->dims[2 + s]), 1, mode);
  if (channels_inner) w->i[1] = loop_begin(b, "c", ex_int(b, 0), ex_dim(b, w->y->dims[1]), 1, FOR_PARALLEL_VECTOR);
  w->j[0] = w->i[0];
  w->j[1] = w->i[1];
}

static void window_open(Window *w, Lower *l, const Node *n, int vector_axis) {
  *w = window_of(l, n, n->in[0], n->out[0]);
  w->i[0] = loop_begin(&l->b, "n", ex_int(&l->b, 0), ex_dim(&l->b, w->y->dims[0]), 1, FOR_PARALLEL);
  plane_open(w, vector_axis, FOR_PARALLEL);
}

static void window_close(Window *w) {
  for (int k = 0; k < w->y->rank; k++) loop_end(&w->l->b);
}

enum { FEW_TAPS = 4 };                                          // of an axis: copied out

/* Along the last axis, may the nearest element stand for one outside x? Then each window has it anyway. */
static bool may_clamp(const Window *w) {
  int s = w->spatial - 1;
  Dim size = w->x->dims[2 + s], kernel = w->kernel->dims[s], pad = w->pads->dims[s];
  Dim last = dim_sub(dim_mul(dim_sub(w->y->dims[2 + s], DIM(1)), w->strides->dims[s]), pad);
  return dim_is(w->dilations->dims[s], 1) && dim_is_const(last) && dim_is_const(size) && dim_is_const(kernel) &&
      last.k < size.k && pad.k < kernel.k && kernel.k <= FEW_TAPS;
}

/* Opens the tap loops. Their bounds cut off what lies outside x, so that no guard is needed inside:
 * tap k is inside when 0 <= o*stride - pad + k*dilation < size. Where taps may count `twice`, as in a maximum, a few of
 * the last axis stay inside instead, and are copied out. */
static void taps_open(Window *w, bool twice) {
  Builder *b = &w->l->b;
  for (int s = 0; s < w->spatial; s++) {
    Dim d = w->dilations->dims[s], size = w->x->dims[2 + s], pad = w->pads->dims[s];
    Expr *first = ex_sub(b, ex_mul(b, w->i[2 + s], ex_dim(b, w->strides->dims[s])), ex_dim(b, pad));
    first = let(b, "first", first);
    Expr *lo = ex_int(b, 0), *hi = ex_dim(b, w->kernel->dims[s]);
    // lo = ceil(-first / d) when first < 0; hi = ceil((size - first) / d)
    Expr *de = ex_dim(b, d), *up = ex_dim(b, dim_sub(d, DIM(1)));
    if (!dim_is(pad, 0))
      lo = ex_div(b, ex_add(b, ex_max(b, ex_sub(b, ex_int(b, 0), first), ex_int(b, 0)), up), de);
    Expr *room = ex_max(b, ex_int(b, 0), ex_sub(b, ex_dim(b, size), first));
    hi = ex_min(b, hi, ex_div(b, ex_add(b, room, up), de));
    bool clamp = twice && s == w->spatial - 1 && may_clamp(w);
    if (clamp) { lo = ex_int(b, 0); hi = ex_dim(b, w->kernel->dims[s]); }
    int64_t from, to;
    bool few = ex_is_int(lo, &from) && ex_is_int(hi, &to) && to - from <= FEW_TAPS;
    Expr *k = loop_begin(b, "k", let(b, "lo", lo), let(b, "hi", hi), 1, few ? FOR_UNROLL : FOR_SEQ),
         *at = ex_add(b, first, ex_mul(b, k, de));
    if (clamp) at = ex_max(b, ex_int(b, 0), ex_min(b, at, ex_dim(b, dim_sub(size, DIM(1)))));
    w->j[2 + s] = let_within(b, "at", at, 0, dim_hi(size) - 1);
  }
}

static void taps_close(Window *w) {
  for (int s = 0; s < w->spatial; s++) loop_end(&w->l->b);
}

/* How many taps of an average count: those inside x, or inside x and its padding. */
static Expr *divisor(Window *w, bool include_pad, DType t) {
  Builder *b = &w->l->b;
  Expr *count = ex_int(b, 1);
  for (int s = 0; s < w->spatial; s++) {
    Dim d = w->dilations->dims[s], before = include_pad ? DIM(0) : w->pads->dims[s];
    Dim size = w->x->dims[2 + s];
    if (include_pad) size = dim_add(size, dim_add(w->pads->dims[s], w->pads->dims[s + w->spatial]));
    Expr *first = ex_sub(b, ex_mul(b, w->i[2 + s], ex_dim(b, w->strides->dims[s])), ex_dim(b, before));
    Expr *up = ex_dim(b, dim_sub(d, DIM(1))), *de = ex_dim(b, d), *zero = ex_int(b, 0);
    Expr *lo = ex_div(b, ex_add(b, ex_max(b, ex_sub(b, zero, first), zero), up), de);
    Expr *hi = ex_min(b, ex_dim(b, w->kernel->dims[s]),
                      ex_div(b, ex_add(b, ex_max(b, zero, ex_sub(b, ex_dim(b, size), first)), up), de));
    count = ex_mul(b, count, ex_max(b, zero, ex_sub(b, hi, lo)));
  }
  return ex_cast(b, t, count);
}

static int pool_vector_axis(Lower *l, const Node *n) {
  return lower_contiguous(l, n->in[0], 1) && lower_contiguous(l, n->out[0], 1) ? 1 : -1;
}

bool lower_max_pool(Lower *l, const Node *n) {
  Builder *b = &l->b;
  Window w;
  bool indices = n->nout > 1 && n->out[1] && value_is_stored(l->fusion, n->out[1]);
  window_open(&w, l, n, indices ? -1 : pool_vector_axis(l, n));
  DType t = dtype_compute(w.x->dtype);
  Expr *lowest = dtype_is_float(t) ? ex_const(b, t, -INFINITY)
                                   : ex_const_int(b, t, dtype_info[t].cls == CLASS_UINT ? 0 : -128);
  Var *best = reg(b, "best", lowest), *where = indices ? reg(b, "where", ex_int(b, 0)) : NULL;
  taps_open(&w, !indices);
  Expr *v = lower_read(l, n->in[0], w.j);
  if (indices) {                                             // flat index in x; storage_order 1: column-major planes
    v = let(b, "v", v);
    Expr *j[MAX_RANK];
    Dim dims[MAX_RANK];
    bool column = node_int(n, "storage_order", 0);
    for (int k = 0; k < w.x->rank; k++) {
      int from = column && k >= 2 ? w.x->rank + 1 - k : k;
      j[k] = w.j[from];
      dims[k] = w.x->dims[from];
    }
    if_begin(b, ex_scalar(b, S_GT, v, ex_var(b, best), NULL));
    st_set(b, best, v);
    st_set(b, where, lower_flatten(l, dims, w.x->rank, j));
    if_end(b);
  } else {
    st_set(b, best, ex_max(b, ex_var(b, best), v));
  }
  taps_close(&w);
  if (indices) lower_write_to(l, n->out[1], w.i, ex_var(b, where));
  lower_write(l, w.i, ex_var(b, best));
  window_close(&w);
  return true;
}

bool lower_avg_pool(Lower *l, const Node *n) {
  Builder *b = &l->b;
  Window w;
  window_open(&w, l, n, pool_vector_axis(l, n));
  DType t = dtype_compute(w.x->dtype);
  Var *sum = reg(b, "sum", ex_const(b, t, 0));
  taps_open(&w, false);
  st_set(b, sum, ex_add(b, ex_var(b, sum), lower_read(l, n->in[0], w.j)));
  taps_close(&w);
  lower_write(l, w.i, ex_scalar(b, S_DIV, ex_var(b, sum), divisor(&w, node_int(n, "count_include_pad", 0), t), NULL));
  window_close(&w);
  return true;
}

/* y = (sum |x|^p)^(1/p); padding adds nothing */
bool lower_lp_pool(Lower *l, const Node *n) {
  Builder *b = &l->b;
  Window w;
  window_open(&w, l, n, pool_vector_axis(l, n));
  DType t = dtype_compute(w.x->dtype);
  double p = (double)node_int(n, "p", 2);
  Var *sum = reg(b, "sum", ex_const(b, t, 0));
  taps_open(&w, false);
  Expr *a = ex_scalar(b, S_ABS, lower_read(l, n->in[0], w.j), NULL, NULL);
  if (p == 2) { a = let(b, "a", a); a = ex_mul(b, a, a); }
  else if (p != 1) a = ex_scalar(b, S_POW, a, ex_const(b, t, p), NULL);
  st_set(b, sum, ex_add(b, ex_var(b, sum), a));
  taps_close(&w);
  Expr *r = ex_var(b, sum);
  if (p == 2) r = ex_scalar(b, S_SQRT, r, NULL, NULL);
  else if (p != 1) r = ex_scalar(b, S_POW, r, ex_const(b, t, 1 / p), NULL);
  lower_write(l, w.i, r);
  window_close(&w);
  return true;
}

/* ---- gradients: image after image, dx = 0, then every window gives its taps what is theirs ---- */

/* Does every element of dx lie in exactly one window? Then nothing is zeroed or added. */
bool pool_grad_tiles(Module *m, const Node *n) {
  const Type *x = &value_of(m, n->out[0])->type, *y = &value_of(m, n->in[n->nin - 1])->type;
  const Attr *kernel = node_dims(n, "kernel"), *strides = node_dims(n, "strides"), *pads = node_dims(n, "pads"),
             *dil = node_dims(n, "dilations");
  for (int s = 0; s < x->rank - 2; s++)
    if (!dim_is(dil->dims[s], 1) || !dim_eq(kernel->dims[s], strides->dims[s]) || !dim_is(pads->dims[s], 0) ||
        !dim_eq(x->dims[2 + s], dim_mul(y->dims[2 + s], strides->dims[s]))) return false;
  return true;
}

static void clear_image(Lower *l, const Node *n, Expr *image, bool lanes) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->out[0])->type;
  Expr *i[MAX_RANK] = {image};
  if (!lanes) i[1] = loop_begin(b, "c", ex_int(b, 0), ex_dim(b, x->dims[1]), 1, FOR_PARALLEL);
  for (int s = 2; s < x->rank; s++)
    i[s] = loop_begin(b, "i", ex_int(b, 0), ex_dim(b, x->dims[s]), 1,
                      !lanes && s == x->rank - 1 ? FOR_PARALLEL_VECTOR : FOR_PARALLEL);
  if (lanes) i[1] = loop_begin(b, "c", ex_int(b, 0), ex_dim(b, x->dims[1]), 1, FOR_PARALLEL_VECTOR);
  lower_write_to(l, n->out[0], i, ex_const(b, dtype_compute(x->dtype), 0));
  for (int k = 1; k < x->rank; k++) loop_end(b);
}

/* dx[j] += v, or = v where nothing was there */
static void give(Window *w, const Node *n, Expr *v, bool tiles) {
  Lower *l = w->l;
  if (tiles) {
    Expr **j = arena_dup(l->b.arena, w->j, sizeof w->j);
    lower_write(l, j, v);
    return;
  }
  Buf *dx = lower_buf(l, n->out[0]);
  dx->role = BUF_INOUT;
  Expr *at = lower_index(l, n->out[0], w->j);
  st_store(&l->b, dx, at, ex_add(&l->b, ex_load(&l->b, dx, at), v));
}

static bool pool_grad(Lower *l, const Node *n) {
  Builder *b = &l->b;
  bool max = n->op == OP_MAX_POOL_GRAD, tiles = pool_grad_tiles(l->m, n), lanes = lower_contiguous(l, n->out[0], 1);
  Window w = window_of(l, n, n->out[0], n->in[n->nin - 1]);
  DType t = dtype_compute(w.x->dtype);
  if (max) lanes = lanes && lower_contiguous(l, n->in[0], 1);
  l->accumulates = !tiles;
  w.i[0] = loop_begin(b, "n", ex_int(b, 0), ex_dim(b, w.y->dims[0]), 1, FOR_PARALLEL);
  if (!tiles) clear_image(l, n, w.i[0], lanes);
  plane_open(&w, lanes ? 1 : -1, tiles ? FOR_PARALLEL : FOR_SEQ);
  Expr *dy = lower_read(l, n->in[n->nin - 1], w.i), *zero = ex_const(b, t, 0);
  if (max) {
    Expr *y = let(b, "best", lower_read(l, n->in[1], w.i));
    Var *rest = reg(b, "rest", dy);                             // dy until the element is found that it belongs to
    taps_open(&w, false);
    Expr *v = let(b, "v", lower_read(l, n->in[0], w.j)), *r = let(b, "r", ex_var(b, rest));
    Expr *hit = ex_scalar(b, S_OR, ex_scalar(b, S_EQ, v, y, NULL), ex_scalar(b, S_NE, v, v, NULL), NULL);
    st_set(b, rest, ex_select(b, hit, zero, r));
    give(&w, n, ex_select(b, hit, r, zero), tiles);
  } else {
    const char *count = node_str(n, "count", "inside");
    if (*count != 'o') dy = ex_scalar(b, S_DIV, dy, divisor(&w, *count == 'p', t), NULL);
    dy = let(b, "part", dy);
    taps_open(&w, false);
    give(&w, n, dy, tiles);
  }
  taps_close(&w);
  window_close(&w);
  return true;
}

bool lower_max_pool_grad(Lower *l, const Node *n) { return pool_grad(l, n); }
bool lower_avg_pool_grad(Lower *l, const Node *n) { return pool_grad(l, n); }
