/* Readers, writers and loops: the core of lowering. See lower.h for what they promise. */
#include "passes/lower/lower.h"

bool lower_fail(Lower *l, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  l->why = arena_vprintf(l->b.arena, fmt, ap);
  va_end(ap);
  return false;
}

/* ---- buffers ---- */

/* What a value of the state is called in a kernel: "weight" of net.dense1.weight, "m" of adam.m/net.dense1.weight, and
 * "new_weight" what it becomes. A word that emitted C may use itself (its helpers have digits in their names, functions
 * of floats end in f) is "state" instead. NULL: it is none. */
static const char *state_word(Lower *l, ValueId v) {
  const StateSlot *s = graph_state_of_value(l->m, v);
  if (!s) return NULL;
  const char *end = s->name + strcspn(s->name, "@/"), *from = end;
  while (from > s->name && from[-1] != '.') from--;
  int n = (int)(end - from);
  bool plain = n > 0 && (int)strspn(from, "abcdefghijklmnopqrstuvwxyz_") >= n && end[-1] != 'f' &&
      strncmp(from, "mem", 3);
  return arena_printf(l->b.arena, "%s%.*s", s->next == v ? "new_" : "", plain ? n : 5, plain ? from : "state");
}

static LowerBuf *buf_slot(Lower *l, ValueId v) {
  Value *val = value_of(l->m, v);
  ValueId base = val->at.base ? val->at.base : v;
  for (int k = 0; k < l->bufs.len; k++)
    if (l->bufs.at[k].base == base) return &l->bufs.at[k];
  Value *of = value_of(l->m, base);
  Dim size = of->at.base ? of->at.size : type_count(&of->type);
  const char *word = state_word(l, base);
  Buf *buf = kernel_buf(&l->b, word ? word : of->name, of->type.dtype, BUF_IN, size, base);
  buf->is_named = word;
  buf->is_constant = of->constant != NULL;
  LowerBuf *slot = vec_push(l->b.arena, &l->bufs);
  *slot = (LowerBuf){base, buf, false};
  return slot;
}

Buf *lower_buf(Lower *l, ValueId v) {
  LowerBuf *slot = buf_slot(l, v);
  slot->elsewhere = true;                                       // what the caller does with it is not known here
  return slot->buf;
}

void lower_symbol(Lower *l, const char *name, Buf *count) {
  *vec_push(l->b.arena, &l->symbols) = (LowerSymbol){name, count};
}

Buf *lower_scratch(Lower *l, const char *name, DType t, Dim elems) {
  Buf *buf = kernel_buf(&l->b, name, t, BUF_SCRATCH, elems, 0);
  buf->private_to = loop_parallel_depth(&l->b);
  *vec_push(l->b.arena, &l->extra) = (LowerScratch){buf, NULL};
  return buf;
}

Buf *lower_weight(Lower *l, const char *name, const Tensor *packed) {
  Buf *buf = kernel_buf(&l->b, name, packed->dtype, BUF_IN, DIM(tensor_count(packed)), 0);
  buf->is_constant = true;
  *vec_push(l->b.arena, &l->extra) = (LowerScratch){buf, packed};
  return buf;
}

Dim lower_stride(Lower *l, ValueId v, int axis) {
  const Value *val = value_of(l->m, v);
  if (val->at.base) return val->at.stride[axis];
  Dim s = DIM(1);
  for (int k = val->type.rank - 1; k > axis; k--) s = dim_mul(s, val->type.dims[k]);
  return s;
}

Expr *lower_index(Lower *l, ValueId v, Expr **i) {
  const Value *val = value_of(l->m, v);
  Expr *at = ex_dim(&l->b, val->at.base ? val->at.offset : DIM(0));
  for (int k = 0; k < val->type.rank; k++) {
    if (dim_is(val->type.dims[k], 1)) continue;               // index 0, whatever the stride
    Dim s = lower_stride(l, v, k);
    if (dim_is(s, 0)) continue;
    at = ex_add(&l->b, at, ex_mul(&l->b, i[k], ex_dim(&l->b, s)));
  }
  return at;
}

bool lower_contiguous(Lower *l, ValueId v, int axis) {
  const Value *val = value_of(l->m, v);
  const Node *def = val->def ? node_of(l->m, val->def) : NULL;
  // a guess; safe: gathers are correct
  if (def && !val->at.base && !value_is_stored(l->fusion, v) && def->nin) return lower_contiguous(l, def->in[0], axis);
  return dim_is(lower_stride(l, v, axis), 1) || dim_is(val->type.dims[axis], 1);
}

/* ---- reading ---- */

static Expr *read_scalar_node(Lower *l, const Node *n, const Type *out, Expr **i) {
  Expr *x[3] = {0};
  for (int k = 0; k < n->nin && k < 3; k++) x[k] = lower_read_broadcast(l, n->in[k], out, i);
  return ex_scalar(&l->b, op_scalar(n->op), x[0], x[1], x[2]);
}

Expr *lower_read_broadcast(Lower *l, ValueId v, const Type *like, Expr **i) {
  const Type *t = &value_of(l->m, v)->type;
  Expr *j[MAX_RANK];
  bool same = t->rank == like->rank;
  for (int k = 0; k < t->rank; k++) {
    int from = k + like->rank - t->rank;
    bool one = dim_is(t->dims[k], 1) && !dim_is(like->dims[from], 1);
    if (one) same = false;
    j[k] = one ? ex_int(&l->b, 0) : i[from];
  }
  return lower_read(l, v, same ? i : j);                       // the same index: the memo knows it by address
}

static bool index_eq(Expr **a, Expr **b, int rank) {
  if (a == b) return true;
  for (int k = 0; k < rank; k++)
    if (!expr_eq(a[k], b[k])) return false;
  return true;
}

Expr *lower_read(Lower *l, ValueId v, Expr **i) {
  const Value *val = value_of(l->m, v);
  int rank = val->type.rank;
  for (int k = l->memo.len - 1; k >= 0; k--)
    if (l->memo.at[k].v == v && (!l->memo.at[k].i || index_eq(l->memo.at[k].i, i, rank))) return l->memo.at[k].x;
  if (val->constant && tensor_count(val->constant) == 1 && dtype_info[val->type.dtype].cls != CLASS_STRING) {
    DType c = dtype_compute(val->type.dtype);
    return dtype_is_float(c) ? ex_const(&l->b, c, tensor_get(val->constant, 0))
                             : ex_const_int(&l->b, c, tensor_get_int(val->constant, 0));
  }
  const Node *def = val->def ? node_of(l->m, val->def) : NULL;
  bool inside = def && (def->group == 0 || def->group == l->group) && val->def != l->root && !val->at.base;
  if (inside && op_is_scalar(def->op)) return read_scalar_node(l, def, &val->type, i);
  if (inside && read_fn[def->op]) return read_fn[def->op](l, def, i);
  LowerBuf *slot = buf_slot(l, v);
  Expr *at = lower_index(l, v, i);
  if (!l->writing || !l->last || !expr_eq(at, lower_index(l, l->last, l->writing))) slot->elsewhere = true;
  if (slot->buf->role == BUF_OUT) slot->buf->role = BUF_INOUT;
  return ex_load(&l->b, slot->buf, at);
}

Expr *lower_read_given(Lower *l, ValueId v, Expr **i, ValueId known, Expr *x) {
  *vec_push(l->b.arena, &l->memo) = (LowerMemo){known, NULL, x};
  x = lower_read(l, v, i);
  l->memo.len--;
  return x;
}

/* ---- writing ---- */

void lower_write_to(Lower *l, ValueId v, Expr **i, Expr *x) {
  Buf *buf = buf_slot(l, v)->buf;
  if (buf->role == BUF_IN) buf->role = BUF_OUT;
  if (buf->role == BUF_OUT && l->accumulates) buf->role = BUF_INOUT;
  st_store(&l->b, buf, lower_index(l, v, i), x);
}

/* Operands as large as the output, then the output: what is smaller is in the cache already. i: scalars. */
static void ask(Lower *l, Expr **i) {
  const Type *out = &value_of(l->m, l->out)->type;
  for (int k = 0; k < l->g->epilogue.len; k++) {
    const Node *n = node_of(l->m, l->g->epilogue.at[k]);
    for (int q = 0; q < n->nin; q++) {
      const Value *v = n->in[q] ? value_of(l->m, n->in[q]) : NULL;
      if (v && v->at.base && type_same_shape(&v->type, out) && !(v->def && node_of(l->m, v->def)->group == l->group))
        st_prefetch(&l->b, buf_slot(l, n->in[q])->buf, lower_index(l, n->in[q], i));
    }
  }
  if (l->last) st_prefetch(&l->b, buf_slot(l, l->last)->buf, lower_index(l, l->last, i));
}

void lower_write(Lower *l, Expr **i, Expr *x) {
  if (l->asks) { ask(l, i); return; }
  l->memo.len = 0;
  l->writing = i;
  ValueId v = l->out;
  for (int k = 0;; k++) {
    bool last = k == l->g->epilogue.len;
    x = let(&l->b, k == 0 ? "y" : "z", x);
    if (value_is_stored(l->fusion, v)) lower_write_to(l, v, i, x);
    *vec_push(l->b.arena, &l->memo) = (LowerMemo){v, i, x};
    if (last) break;
    const Node *n = node_of(l->m, l->g->epilogue.at[k]);
    v = n->out[0];
    const Type *t = &value_of(l->m, v)->type;
    x = op_is_scalar(n->op) ? read_scalar_node(l, n, t, i) : read_fn[n->op](l, n, i);
  }
  l->writing = NULL;
  l->memo.len = 0;
}

/* ---- loops and indices ---- */

void lower_loops(Lower *l, const Type *t, Expr **i, int vector_axis) {
  static const char *const names[] = {"i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"};
  for (int k = 0; k < t->rank; k++)
    i[k] = loop_begin(&l->b, names[k % 12], ex_int(&l->b, 0), ex_dim(&l->b, t->dims[k]), 1,
                      k == vector_axis ? FOR_PARALLEL_VECTOR : FOR_PARALLEL);
}

void lower_loops_end(Lower *l, const Type *t) {
  for (int k = 0; k < t->rank; k++) loop_end(&l->b);
}

int lower_order(Lower *l, ValueId v, const bool *some, int *order) {
  int n = 0;
  for (int k = 0; k < value_of(l->m, v)->type.rank; k++) {      // insertion sort, stable
    if (some && !some[k]) continue;
    int at = n++;
    for (; at > 0 && dim_hi(lower_stride(l, v, order[at - 1])) < dim_hi(lower_stride(l, v, k)); at--)
      order[at] = order[at - 1];
    order[at] = k;
  }
  return n;
}

ValueId lower_stored(Lower *l, ValueId v) {
  return !value_is_stored(l->fusion, v) && l->last ? l->last : v;
}

void lower_loops_of(Lower *l, ValueId v, Expr **i) {
  v = lower_stored(l, v);
  const Type *t = &value_of(l->m, v)->type;
  int order[MAX_RANK];
  lower_order(l, v, NULL, order);
  static const char *const names[] = {"i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"};
  int inner = -1;
  for (int k = t->rank - 1; k >= 0 && inner < 0; k--) if (!dim_is(t->dims[order[k]], 1)) inner = order[k];
  for (int k = 0; k < t->rank; k++)
    i[order[k]] = loop_begin(&l->b, names[k % 12], ex_int(&l->b, 0), ex_dim(&l->b, t->dims[order[k]]), 1,
                             order[k] == inner ? FOR_PARALLEL_VECTOR : FOR_PARALLEL);
}

Expr *lower_flatten(Lower *l, const Dim *dims, int rank, Expr **i) {
  Expr *at = ex_int(&l->b, 0);
  Dim s = DIM(1);
  for (int k = rank - 1; k >= 0; k--) {
    if (!dim_is(dims[k], 1)) at = ex_add(&l->b, at, ex_mul(&l->b, i[k], ex_dim(&l->b, s)));
    s = dim_mul(s, dims[k]);
  }
  return at;
}

void lower_unflatten(Lower *l, const Dim *dims, int rank, Expr *flat, Expr **i) {
  for (int k = rank - 1; k >= 0; k--) {
    bool first = true;                                          // the outermost axis needs no remainder
    for (int q = 0; q < k; q++) first &= dim_is(dims[q], 1);
    Expr *d = ex_dim(&l->b, dims[k]);
    i[k] = dim_is(dims[k], 1) ? ex_int(&l->b, 0) : first ? flat : ex_rem(&l->b, flat, d);
    if (!dim_is(dims[k], 1) && !first) flat = ex_div(&l->b, flat, d);
  }
}

int lower_choose(Lower *l, const double *cost, int n) {
  int pick = l->choice % n, chosen = 0;
  l->choice /= n;
  l->choices *= n;
  bool taken[64] = {false};
  for (int rank = 0; rank <= pick; rank++) {                    // the pick-th cheapest
    chosen = -1;
    for (int i = 0; i < n && i < 64; i++)
      if (!taken[i] && (chosen < 0 || cost[i] < cost[chosen])) chosen = i;
    taken[chosen] = true;
  }
  return chosen;
}
