/* See frontier.h.
 *
 *   iota - iota < c, and the like            a frontier between true and false
 *   constant                                 scanned
 *   op(x, y…) elementwise                    the number on either side, where frontiers agree
 *   views that keep the last two axes, a slice of them
 */
#include "passes/frontier.h"
#include "ir/ops.h"
#include <math.h>

enum { MOST_STEPS = 32 };
/* masks are made of -infinity, the lowest float, or this */
static const double LOW = -1e9;

/* An integer of its index: row * i + col * j + c over the last two axes. */
typedef struct Line { int row, col; Dim c; } Line;

static const Node *def_of(Module *m, ValueId v) {
  NodeId id = value_of(m, v)->def;
  return id ? node_of(m, id) : NULL;
}

/* ---- lines ---- */

/* The one axis longer than 1, counted from the end; -1: none, -2: several. */
static int only_axis(const Type *t) {
  int found = -1;
  for (int k = 0; k < t->rank; k++)
    if (!dim_is(t->dims[k], 1)) found = found == -1 ? t->rank - 1 - k : -2;
  return found;
}

/* Coefficients of `x` for axis `from` as those of axis `to`, counted from the end; there are but two. */
static bool line_turn(Line *x, int from, int to) {
  if (from == to || from < 0) return true;
  int c = from == 0 ? x->col : from == 1 ? x->row : 0;
  *x = (Line){to == 1 ? c : 0, to == 0 ? c : 0, x->c};
  return c == 0 || to < 2;
}

static bool line_of(Module *m, ValueId v, int steps, Line *x);

static bool line_of_view(Module *m, const Node *n, int steps, Line *x) {
  const Type *from = &value_of(m, n->in[0])->type, *to = &value_of(m, n->out[0])->type;
  if (!line_of(m, n->in[0], steps, x)) return false;
  if (n->op == OP_RESHAPE) return only_axis(from) >= -1 && line_turn(x, only_axis(from), only_axis(to));
  if (n->op != OP_SLICE) return true;                           // expand, copy, cast
  const Attr *starts = node_dims(n, "starts"), *step = node_dims(n, "steps");
  for (int k = 0; k < to->rank; k++) {
    int end = to->rank - 1 - k, c = end == 0 ? x->col : end == 1 ? x->row : 0;
    if (c && !dim_is(step->dims[k], 1)) return false;
    x->c = dim_add(x->c, dim_mul(DIM(c), starts->dims[k]));
  }
  return true;
}

static bool line_of(Module *m, ValueId v, int steps, Line *x) {
  const Node *n = def_of(m, v);
  const Tensor *t = value_of(m, v)->constant;
  const Type *type = &value_of(m, v)->type;
  *x = (Line){0, 0, DIM(0)};
  if (t) {                                                      // one number, or a folded iota
    int64_t count = tensor_count(t);
    int axis = only_axis(type);
    if (!t->data || !dtype_is_int(type->dtype) || count < 1 || axis > 1 || axis == -2) return false;
    x->c = DIM(tensor_get_int(t, 0));
    for (int64_t k = 1; k < count; k++) if (tensor_get_int(t, k) != x->c.k + k) return false;
    x->row = axis == 1;
    x->col = axis == 0;
    return true;
  }
  if (!n || !steps) return false;
  switch ((int)n->op) {
  case OP_IOTA: {
    int axis = (int)node_int(n, "axis", 0);
    x->row = axis == type->rank - 2;
    x->col = axis == type->rank - 1;
    return x->row || x->col;
  }
  case OP_DIMS: x->c = node_dims(n, "dims")->dims[0]; return node_dims(n, "dims")->n == 1;
  case OP_CAST: if (type->dtype == DT_BOOL) return false; return line_of_view(m, n, steps - 1, x);
  case OP_EXPAND: case OP_COPY: case OP_RESHAPE: case OP_SLICE: return line_of_view(m, n, steps - 1, x);
  case OP_ADD: case OP_SUB: {
    Line y;
    int sign = n->op == OP_ADD ? 1 : -1;
    if (!line_of(m, n->in[0], steps - 1, x) || !line_of(m, n->in[1], steps - 1, &y)) return false;
    *x = (Line){x->row + sign * y.row, x->col + sign * y.col, dim_add(x->c, dim_mul(DIM(sign), y.c))};
    return true;
  }
  default: return false;
  }
}

/* ---- frontiers ---- */

static bool is_comparison(Op op) { return op == OP_LT || op == OP_LE || op == OP_GT || op == OP_GE; }

/* a op b of two lines whose difference is j - i + c, or the negative of it. */
static bool frontier_of_comparison(Module *m, const Node *n, int steps, Frontier *f) {
  Line a, b;
  if (!line_of(m, n->in[0], steps, &a) || !line_of(m, n->in[1], steps, &b)) return false;
  Line d = {a.row - b.row, a.col - b.col, dim_sub(a.c, b.c)};
  bool above = n->op == OP_GT || n->op == OP_GE, strict = n->op == OP_GT || n->op == OP_LT;
  if (d.row == 1 && d.col == -1) {
    d = (Line){-1, 1, dim_sub(DIM(0), d.c)};
    above = !above;
  }
  if (d.row != -1 || d.col != 1) return false;
  bool zero_is_near = above == strict;                          // where j - i + c is 0
  *f = (Frontier){true, dim_sub(DIM(zero_is_near ? 0 : -1), d.c), !above, above};
  return true;
}

static bool frontier_of_constant(const Tensor *t, Frontier *f) {
  DClass cls = dtype_info[t->dtype].cls;
  int64_t count = tensor_count(t);
  if (!t->data || count < 1 || (cls != CLASS_FLOAT && cls != CLASS_INT && cls != CLASS_UINT && cls != CLASS_BOOL))
    return false;
  *f = (Frontier){.near = tensor_get(t, 0)};
  if (count == 1) return true;
  if (t->rank < 2) return false;
  int64_t rows = t->dims[t->rank - 2], cols = t->dims[t->rank - 1], ahead = 0;
  f->moves = true;
  f->far = tensor_get(t, cols - 1);
  while (ahead + 1 < cols && tensor_get(t, ahead + 1) == f->near) ahead++;
  f->ahead = DIM(ahead);
  for (int64_t k = 0; k < count; k++)
    if (tensor_get(t, k) != (k % cols <= k / cols % rows + ahead ? f->near : f->far)) return false;
  return f->near != f->far;
}

/* An elementwise op on both sides of what its operands have in common. */
static bool frontier_of_scalar(Module *m, const Node *n, Frontier *f, const Frontier *x) {
  DType decides = value_of(m, n->in[n->nin - 1])->type.dtype;
  if (!dtype_is_float(decides) && decides != DT_BOOL) return false;
  *f = (Frontier){0};
  for (int k = 0; k < n->nin; k++) {
    if (x[k].moves && f->moves && !dim_eq(x[k].ahead, f->ahead)) return false;
    if (x[k].moves) { f->moves = true; f->ahead = x[k].ahead; }
  }
  double side[2];
  for (int s = 0; s < 2; s++) {
    double v[3] = {0};
    for (int k = 0; k < n->nin && k < 3; k++) v[k] = s && x[k].moves ? x[k].far : x[k].near;
    side[s] = scalar_eval_float(op_scalar(n->op), v[0], v[1], v[2]);
  }
  f->near = side[0];
  f->far = side[1];
  return true;
}

/* Do the last two axes of n's operand stay as they are, or a part of them? */
static bool keeps_square(Module *m, const Node *n, Frontier *f) {
  const Type *x = &value_of(m, n->in[0])->type, *y = &value_of(m, n->out[0])->type;
  if (!f->moves) return true;
  if (x->rank < 2 || y->rank < 2) return false;
  if (n->op == OP_SLICE) {
    const Attr *starts = node_dims(n, "starts"), *steps = node_dims(n, "steps");
    if (!dim_is(steps->dims[y->rank - 1], 1) || !dim_is(steps->dims[y->rank - 2], 1)) return false;
    f->ahead = dim_add(f->ahead, dim_sub(starts->dims[y->rank - 2], starts->dims[y->rank - 1]));
    return true;
  }
  return dim_eq(x->dims[x->rank - 1], y->dims[y->rank - 1]) && dim_eq(x->dims[x->rank - 2], y->dims[y->rank - 2]);
}

static bool find(Module *m, ValueId v, int steps, Frontier *f) {
  const Value *val = value_of(m, v);
  const Node *n = def_of(m, v);
  if (val->constant) return frontier_of_constant(val->constant, f);
  if (!n || !steps) return false;
  if (is_comparison(n->op) && frontier_of_comparison(m, n, steps - 1, f)) return true;
  bool view = n->op == OP_RESHAPE || n->op == OP_EXPAND || n->op == OP_SLICE || n->op == OP_COPY || n->op == OP_CAST;
  if (view) {
    if (!find(m, n->in[0], steps - 1, f) || !keeps_square(m, n, f)) return false;
    if (val->type.dtype == DT_BOOL) { f->near = f->near != 0; f->far = f->far != 0; }
    return true;
  }
  if (!op_is_scalar(n->op)) return false;
  Frontier x[3];
  for (int k = 0; k < n->nin && k < 3; k++) if (!n->in[k] || !find(m, n->in[k], steps - 1, &x[k])) return false;
  return frontier_of_scalar(m, n, f, x);
}

bool frontier_of(Module *m, ValueId v, Frontier *f) { return find(m, v, MOST_STEPS, f); }

/* ---- masked scores ---- */

static bool spans(Module *m, ValueId v, const Type *t) {
  const Type *x = &value_of(m, v)->type;
  return x->rank >= 2 && dim_eq(x->dims[x->rank - 1], t->dims[t->rank - 1]) &&
      dim_eq(x->dims[x->rank - 2], t->dims[t->rank - 2]);
}

bool frontier_masked(Module *m, ValueId scores, ValueId *x, Dim *ahead) {
  const Node *n = def_of(m, scores);
  const Type *t = &value_of(m, scores)->type;
  Frontier f, low;
  if (!n || t->rank < 2) return false;
  bool found = false;
  if (n->op == OP_WHERE && frontier_of(m, n->in[0], &f) && f.moves && spans(m, n->in[0], t)) {
    int near = f.near != 0 ? 1 : 2;
    *x = n->in[near];
    found = (f.near != 0) != (f.far != 0) && frontier_of(m, n->in[3 - near], &low) && !low.moves && low.near <= LOW;
  }
  for (int k = 0; n->op == OP_ADD && !found && k < 2; k++) {
    *x = n->in[1 - k];
    found = frontier_of(m, n->in[k], &f) && f.moves && spans(m, n->in[k], t) && f.near == 0 && f.far <= LOW;
  }
  if (!found || !type_eq(&value_of(m, *x)->type, t) || dim_lo(f.ahead) < 0) return false;
  *ahead = f.ahead;
  return true;
}
