/* Known elements. Shape arithmetic (dims -> gather -> mul -> concat -> reshape) works on small integer tensors
 * whose elements are dims of other tensors. Value.content holds them as dims, so that importers can ask for a
 * shape, and the arithmetic itself never reaches a kernel.
 *
 * Only integer values of rank <= 1 get Value.content. On the way to them other small tensors matter: float
 * scale factors, conditions, the [n, 2] matrices in which exporters turn pads around. Their elements are worked
 * out when asked for, by walking back to what is known, with a budget: a hostile graph costs a bounded time.
 *
 * An element is a constant, or dim / den: floor(N * 0.5) passes through a value that is no dim. Everything
 * else is "not known", which is always a correct answer. Integers are taken not to wrap when symbolic. */
#include "ir/infer.h"
#include <math.h>
#include <string.h>

typedef struct Elem {
  Dim d;
  int64_t den;                    /* value d / den when symbolic */
  double f;                       /* the value of a constant in a float tensor */
  bool flt;
} Elem;

typedef struct Walk { Module *m; Arena tmp; int budget, depth; } Walk;
typedef struct Small { DType dtype; int rank, n; int64_t dims[MAX_RANK]; Elem *at; } Small;

enum { BUDGET = 256, DEPTH = 24, TEXT_MAX = 256, DEN_MAX = 1 << 20 };

static bool known(Walk *w, ValueId v, Small *s);

static Elem integer(int64_t v) { return (Elem){.d = DIM(v), .den = 1}; }
static Elem real(double v) { return (Elem){.d = DIM(0), .den = 1, .f = v, .flt = true}; }
static bool is_const(const Elem *e) { return dim_is_const(e->d); }

/* Dims that grew too long are dropped: repeated squaring would fill memory. */
static bool handy(Dim d) { return dim_is_const(d) || strlen(dim_text(d)) <= TEXT_MAX; }

static bool constant_fits(DType t, int64_t v) {
  int bits = dtype_info[t].bits;
  if (dtype_info[t].cls == CLASS_UINT) return v >= 0 && (bits >= 63 || v < INT64_C(1) << bits);
  return bits >= 64 || (v >= -(INT64_C(1) << (bits - 1)) && v < INT64_C(1) << (bits - 1));
}

static bool element_ok(DType t, const Elem *e) {
  if (dtype_is_float(t)) return is_const(e) || ((t == DT_F32 || t == DT_F64) && handy(e->d));
  if (e->flt || e->den != 1) return false;
  if (is_const(e)) return t == DT_BOOL ? e->d.k == 0 || e->d.k == 1 : constant_fits(t, e->d.k);
  return dtype_is_int(t) && handy(e->d) && (dtype_info[t].cls != CLASS_UINT || dim_lo(e->d) >= 0);
}

static bool small_type(const Type *t, Small *s) {
  if (t->kind != KIND_TENSOR || t->rank < 0 || t->rank > MAX_RANK) return false;
  if (!dtype_is_float(t->dtype) && !dtype_is_int(t->dtype) && t->dtype != DT_BOOL) return false;
  *s = (Small){.dtype = t->dtype, .rank = t->rank, .n = 1};
  for (int i = 0; i < t->rank; i++) {
    if (!dim_is_const(t->dims[i]) || t->dims[i].k < 0 || t->dims[i].k > CONTENT_MAX) return false;
    s->dims[i] = t->dims[i].k;
    if ((s->n *= (int)t->dims[i].k) > CONTENT_MAX) return false;
  }
  return true;
}

/* ---- elementwise ---- */

static double round_to(DType t, double v) { return t == DT_F64 ? v : (double)(float)v; }

static bool eval_constants(ScalarOp op, DType t, bool gives_bool, const Elem *e, Elem *r) {
  if (dtype_is_float(t)) {
    if (t != DT_F32 && t != DT_F64) return false;
    double v = scalar_eval_float(op, e[0].f, e[1].f, e[2].f);
    *r = gives_bool ? integer(v != 0) : real(round_to(t, v));
    return true;
  }
  if (dtype_info[t].cls == CLASS_UINT) {
    uint64_t v = scalar_eval_uint(op, (uint64_t)e[0].d.k, (uint64_t)e[1].d.k, (uint64_t)e[2].d.k);
    if (v > INT64_MAX) return false;
    *r = integer((int64_t)v);
    return true;
  }
  Dim exact = DIM(0);                                 // wrapping would make a wrong dim: dims saturate and tell
  if (op == S_ADD) exact = dim_add(e[0].d, e[1].d);
  if (op == S_SUB) exact = dim_sub(e[0].d, e[1].d);
  if (op == S_MUL) exact = dim_mul(e[0].d, e[1].d);
  *r = op == S_ADD || op == S_SUB || op == S_MUL ? integer(exact.k)
                                                 : integer(scalar_eval_int(op, e[0].d.k, e[1].d.k, e[2].d.k));
  return true;
}

/* A factor p / q that floats hold exactly, so that floor(N * p/q) is the same in exact arithmetic. */
static bool dyadic(double f, int64_t *p, int64_t *q) {
  for (*q = 1; *q <= 1024; *q *= 2) {
    double scaled = f * (double)*q;
    if (fabs(scaled) > 1e6) return false;
    if (scaled == floor(scaled)) {
      *p = (int64_t)scaled;
      return true;
    }
  }
  return false;
}

static bool as_fraction(const Elem *e, Dim *num, int64_t *den) {
  int64_t p = 0;
  *den = e->den;
  *num = e->d;
  if (!e->flt || !is_const(e)) return true;
  if (!dyadic(e->f, &p, den)) return false;
  *num = DIM(p);
  return true;
}

/* a op b in float tensors, at least one symbolic */
static bool fraction_op(ScalarOp op, const Elem *a, const Elem *b, Elem *r) {
  Dim na, nb;
  int64_t da, db;
  if (!as_fraction(a, &na, &da) || !as_fraction(b, &nb, &db)) return false;
  Dim num;
  int64_t den = da * db;
  if (op == S_MUL) num = dim_mul(na, nb);
  else if (op == S_DIV) {
    if (!dim_is_const(nb) || nb.k <= 0 || nb.k > DEN_MAX) return false;
    num = dim_mul(na, DIM(db));
    den = da * nb.k;
  } else {
    Dim x = dim_mul(na, DIM(db)), y = dim_mul(nb, DIM(da));
    num = op == S_ADD ? dim_add(x, y) : dim_sub(x, y);
  }
  if (den > DEN_MAX) return false;
  Dim whole;
  if (den > 1 && dim_divisible(num, DIM(den), &whole)) num = whole, den = 1;
  if (dim_is_const(num)) return false;                // 0 * N: rare, and a real would be needed
  *r = (Elem){.d = num, .den = den, .flt = true};
  return true;
}

static bool compare(ScalarOp op, Dim a, Dim b, Elem *r) {
  Dim diff = dim_sub(a, b);
  int64_t lo = dim_lo(diff), hi = dim_hi(diff);
  bool eq = dim_always_eq(a, b), ne = lo > 0 || hi < 0;
  int yes = -1;
  switch (op) {
    case S_EQ: yes = eq ? 1 : ne ? 0 : -1; break;
    case S_NE: yes = eq ? 0 : ne ? 1 : -1; break;
    case S_LT: yes = hi < 0 ? 1 : eq || lo >= 0 ? 0 : -1; break;
    case S_GE: yes = hi < 0 ? 0 : eq || lo >= 0 ? 1 : -1; break;
    case S_GT: yes = lo > 0 ? 1 : eq || hi <= 0 ? 0 : -1; break;
    case S_LE: yes = lo > 0 ? 0 : eq || hi <= 0 ? 1 : -1; break;
    default: break;
  }
  *r = integer(yes);
  return yes >= 0;
}

static bool integer_op(ScalarOp op, Dim a, Dim b, Elem *r) {
  Dim d;
  switch (op) {
    case S_ADD: d = dim_add(a, b); break;
    case S_SUB: d = dim_sub(a, b); break;
    case S_MUL: d = dim_mul(a, b); break;
    case S_MIN: d = dim_min(a, b); break;
    case S_MAX: d = dim_max(a, b); break;
    case S_NEG: d = dim_sub(DIM(0), a); break;
    case S_RELU: d = dim_max(a, DIM(0)); break;
    case S_DIV: case S_FMOD:                          // towards zero: the same as floordiv and mod when a >= 0
      if (dim_lo(a) < 0 || dim_lo(b) < 1) return false;
      d = op == S_DIV ? dim_floordiv(a, b) : dim_mod(a, b);
      break;
    case S_MOD:
      if (dim_lo(b) < 1) return false;
      d = dim_mod(a, b);
      break;
    case S_ABS:
      if (dim_lo(a) < 0 && dim_hi(a) > 0) return false;
      d = dim_lo(a) >= 0 ? a : dim_sub(DIM(0), a);
      break;
    case S_SIGN:
      if (dim_lo(a) < 1 && dim_hi(a) > -1) return false;
      d = DIM(dim_lo(a) >= 1 ? 1 : -1);
      break;
    default: return compare(op, a, b, r);
  }
  *r = (Elem){.d = d, .den = 1};
  return true;
}

static bool float_op(ScalarOp op, const Elem *a, const Elem *b, Elem *r) {
  switch (op) {
    case S_ADD: case S_SUB: case S_MUL: case S_DIV: return fraction_op(op, a, b, r);
    case S_FLOOR: *r = (Elem){.d = dim_floordiv(a->d, DIM(a->den)), .den = 1, .flt = true}; return true;
    case S_CEIL: *r = (Elem){.d = dim_ceildiv(a->d, DIM(a->den)), .den = 1, .flt = true}; return true;
    default: return false;
  }
}

static bool scalar_element(ScalarOp op, DType t, const Elem *e, Elem *r) {
  const ScalarInfo *info = &scalar_info[op];
  if (op == S_WHERE) {
    *r = e[0].d.k ? e[1] : e[2];                      // conditions are bool: always constant
    return true;
  }
  bool all = true;
  for (int k = 0; k < info->arity; k++) all &= is_const(&e[k]);
  if (all) return eval_constants(op, t, info->gives_bool, e, r);
  return dtype_is_float(t) ? float_op(op, &e[0], &e[1], r) : integer_op(op, e[0].d, e[1].d, r);
}

/* ---- index helpers: row-major positions in small shapes ---- */

static void unflatten(int64_t at, const int64_t *dims, int rank, int64_t *i) {
  for (int k = rank - 1; k >= 0; k--) {
    i[k] = dims[k] ? at % dims[k] : 0;
    at = dims[k] ? at / dims[k] : 0;
  }
}

static int64_t flatten(const int64_t *i, const int64_t *dims, int rank) {
  int64_t at = 0;
  for (int k = 0; k < rank; k++) at = at * dims[k] + i[k];
  return at;
}

static int64_t broadcast_at(const int64_t *i, int rank, const Small *a) {
  int64_t j[MAX_RANK];
  for (int k = 0; k < a->rank; k++) j[k] = a->dims[k] == 1 ? 0 : i[k + rank - a->rank];
  return flatten(j, a->dims, a->rank);
}

static bool walk_scalar(Walk *w, const Node *n, Small *y) {
  ScalarOp op = op_scalar(n->op);
  int arity = scalar_info[op].arity;
  Small in[3];
  for (int k = 0; k < arity; k++) if (!known(w, n->in[k], &in[k])) return false;
  for (int p = 0; p < y->n; p++) {
    Elem e[3] = {0};
    int64_t i[MAX_RANK];
    unflatten(p, y->dims, y->rank, i);
    for (int k = 0; k < arity; k++) e[k] = in[k].at[broadcast_at(i, y->rank, &in[k])];
    if (!scalar_element(op, in[op == S_WHERE].dtype, e, &y->at[p])) return false;
  }
  return true;
}

/* ---- views ---- */

static bool cast_element(DType from, DType to, Elem e, Elem *r) {
  *r = e;
  if (dtype_is_float(from) && dtype_is_float(to)) {
    if (is_const(&e)) r->f = round_to(to, e.f);
    return to == DT_F32 || to == DT_F64;
  }
  if (dtype_is_float(to)) {
    if (is_const(&e)) *r = real(round_to(to, (double)e.d.k));
    r->flt = true;
    return to == DT_F32 || to == DT_F64;
  }
  if (to == DT_BOOL) {
    if (!is_const(&e)) {
      *r = integer(1);
      return dim_lo(e.d) > 0 || dim_hi(e.d) < 0;      // anything but zero
    }
    *r = integer(dtype_is_float(from) ? e.f != 0 : e.d.k != 0);
    return true;
  }
  if (!dtype_is_float(from)) return true;
  if (is_const(&e)) {                                 // towards zero
    if (!(fabs(e.f) < 9e15)) return false;
    *r = integer((int64_t)e.f);
    return true;
  }
  if (e.den != 1 && dim_lo(e.d) < 0) return false;
  *r = (Elem){.d = dim_floordiv(e.d, DIM(e.den)), .den = 1};
  return true;
}

static bool walk_cast(Walk *w, const Node *n, Small *y) {
  Small a;
  if (!known(w, n->in[0], &a)) return false;
  for (int p = 0; p < y->n; p++) if (!cast_element(a.dtype, y->dtype, a.at[p], &y->at[p])) return false;
  return true;
}

static bool walk_same_order(Walk *w, const Node *n, Small *y) {
  Small a;
  if (!known(w, n->in[0], &a) || a.n != y->n) return false;
  memcpy(y->at, a.at, sizeof *y->at * (size_t)y->n);
  return true;
}

static bool walk_expand(Walk *w, const Node *n, Small *y) {
  Small a;
  if (!known(w, n->in[0], &a)) return false;
  for (int p = 0; p < y->n; p++) {
    int64_t i[MAX_RANK];
    unflatten(p, y->dims, y->rank, i);
    y->at[p] = a.at[broadcast_at(i, y->rank, &a)];
  }
  return true;
}

static bool walk_transpose(Walk *w, const Node *n, Small *y) {
  Small a;
  const Attr *perm = node_dims(n, "perm");
  if (!known(w, n->in[0], &a)) return false;
  for (int p = 0; p < y->n; p++) {
    int64_t i[MAX_RANK], j[MAX_RANK] = {0};
    unflatten(p, y->dims, y->rank, i);
    for (int k = 0; k < y->rank; k++) j[perm->dims[k].k] = i[k];
    y->at[p] = a.at[flatten(j, a.dims, a.rank)];
  }
  return true;
}

static bool walk_slice(Walk *w, const Node *n, Small *y) {
  Small a;
  const Attr *starts = node_dims(n, "starts"), *steps = node_dims(n, "steps");
  if (!known(w, n->in[0], &a)) return false;
  for (int k = 0; k < y->rank; k++) if (!dim_is_const(starts->dims[k]) || !dim_is_const(steps->dims[k])) return false;
  for (int p = 0; p < y->n; p++) {
    int64_t i[MAX_RANK];
    unflatten(p, y->dims, y->rank, i);
    for (int k = 0; k < y->rank; k++) {
      i[k] = starts->dims[k].k + i[k] * steps->dims[k].k;
      if (i[k] < 0 || i[k] >= a.dims[k]) return false;
    }
    y->at[p] = a.at[flatten(i, a.dims, a.rank)];
  }
  return true;
}

static bool walk_concat(Walk *w, const Node *n, Small *y) {
  int axis = (int)node_int(n, "axis", 0);
  int64_t begin = 0;
  for (int k = 0; k < n->nin; k++) {
    Small a;
    if (!known(w, n->in[k], &a)) return false;
    for (int p = 0; p < a.n; p++) {
      int64_t i[MAX_RANK];
      unflatten(p, a.dims, a.rank, i);
      i[axis] += begin;
      y->at[flatten(i, y->dims, y->rank)] = a.at[p];
    }
    begin += a.dims[axis];
  }
  return true;
}

static bool walk_gather(Walk *w, const Node *n, Small *y) {
  Small a, idx;
  int axis = (int)node_int(n, "axis", 0);
  if (!known(w, n->in[1], &idx) || !known(w, n->in[0], &a)) return false;
  for (int p = 0; p < y->n; p++) {
    int64_t i[MAX_RANK], j[MAX_RANK];
    unflatten(p, y->dims, y->rank, i);
    const Elem *e = &idx.at[flatten(i + axis, idx.dims, idx.rank)];
    if (!is_const(e)) return false;
    for (int k = 0; k < axis; k++) j[k] = i[k];
    j[axis] = e->d.k < 0 ? e->d.k + a.dims[axis] : e->d.k;
    if (j[axis] < 0 || j[axis] >= a.dims[axis]) return false;
    for (int k = axis + 1; k < a.rank; k++) j[k] = i[k - 1 + idx.rank];
    y->at[p] = a.at[flatten(j, a.dims, a.rank)];
  }
  return true;
}

static bool walk_iota(Walk *w, const Node *n, Small *y) {
  (void)w;
  int axis = (int)node_int(n, "axis", 0);
  for (int p = 0; p < y->n; p++) {
    int64_t i[MAX_RANK];
    unflatten(p, y->dims, y->rank, i);
    y->at[p] = dtype_is_float(y->dtype) ? real((double)i[axis]) : integer(i[axis]);
  }
  return true;
}

static bool walk_dims(Walk *w, const Node *n, Small *y) {
  (void)w;
  const Attr *a = node_dims(n, "dims");
  for (int p = 0; p < y->n; p++) y->at[p] = (Elem){.d = a->dims[p], .den = 1};
  return true;
}

static bool walk_reduce(Walk *w, const Node *n, Small *y) {
  static const struct { Op op; ScalarOp by; } ops[] = {
    {OP_REDUCE_SUM, S_ADD}, {OP_REDUCE_PROD, S_MUL}, {OP_REDUCE_MAX, S_MAX}, {OP_REDUCE_MIN, S_MIN}};
  ScalarOp by = S_ADD;
  for (int k = 0; k < 4; k++) if (ops[k].op == n->op) by = ops[k].by;
  const Attr *axes = node_dims(n, "axes");
  bool keep = node_int(n, "keepdims", 0), started[CONTENT_MAX] = {false};
  Small a;
  if (!known(w, n->in[0], &a)) return false;
  unsigned mask = 0;
  for (int k = 0; k < axes->n; k++) mask |= 1u << axes->dims[k].k;
  for (int p = 0; p < a.n; p++) {
    int64_t i[MAX_RANK], j[MAX_RANK] = {0};
    int rank = 0;
    unflatten(p, a.dims, a.rank, i);
    for (int k = 0; k < a.rank; k++) {
      if (!(mask & 1u << k)) j[rank++] = i[k];
      else if (keep) j[rank++] = 0;
    }
    int64_t at = flatten(j, y->dims, y->rank);
    Elem e[3] = {y->at[at], a.at[p]}, r = a.at[p];
    if (started[at] && !scalar_element(by, a.dtype, e, &r)) return false;
    if (!handy(r.d)) return false;
    started[at] = true;
    y->at[at] = r;
  }
  for (int p = 0; p < y->n; p++) {
    if (started[p]) continue;
    if (by == S_MAX || by == S_MIN) return false;
    double unit = by == S_MUL;
    y->at[p] = dtype_is_float(y->dtype) ? real(unit) : integer((int64_t)unit);
  }
  return true;
}

static bool walk_node(Walk *w, const Node *n, Small *y) {
  static bool (*const walk[OP_COUNT])(Walk *w, const Node *n, Small *y) = {
    [OP_DIMS] = walk_dims, [OP_IOTA] = walk_iota, [OP_CAST] = walk_cast, [OP_COPY] = walk_same_order,
    [OP_RESHAPE] = walk_same_order, [OP_EXPAND] = walk_expand, [OP_TRANSPOSE] = walk_transpose, [OP_SLICE] = walk_slice,
    [OP_CONCAT] = walk_concat, [OP_GATHER] = walk_gather, [OP_REDUCE_SUM] = walk_reduce, [OP_REDUCE_PROD] = walk_reduce,
    [OP_REDUCE_MAX] = walk_reduce, [OP_REDUCE_MIN] = walk_reduce,
  };
  if (op_is_scalar(n->op)) return walk_scalar(w, n, y);
  return walk[n->op] && walk[n->op](w, n, y);
}

/* ---- values ---- */

static bool constant_elements(const Tensor *t, Small *s) {
  if (!t->data && s->n) return false;
  for (int p = 0; p < s->n; p++) {
    if (dtype_is_float(s->dtype)) s->at[p] = real(tensor_get(t, p));
    else s->at[p] = integer(tensor_get_int(t, p));
    if (s->dtype == DT_U64 && s->at[p].d.k < 0) return false;       // beyond int64
  }
  return true;
}

static bool has_content_slot(const Type *t) { return t->kind == KIND_TENSOR && t->rank <= 1 && dtype_is_int(t->dtype); }

static bool walk_checked(Walk *w, const Node *n, Small *y) {
  bool ok = walk_node(w, n, y);
  for (int p = 0; ok && p < y->n; p++) ok = element_ok(y->dtype, &y->at[p]);
  return ok;
}

static bool known(Walk *w, ValueId v, Small *s) {
  if (!v || w->budget-- <= 0 || w->depth >= DEPTH) return false;
  const Value *value = value_of(w->m, v);
  if (!small_type(&value->type, s)) return false;
  s->at = NEW_N(&w->tmp, Elem, s->n);
  if (value->content) {
    for (int p = 0; p < s->n; p++) s->at[p] = (Elem){.d = value->content[p], .den = 1};
    return true;
  }
  if (value->constant) return tensor_count(value->constant) == s->n && constant_elements(value->constant, s);
  if (!value->def || has_content_slot(&value->type)) return false;   // tried when its node was inferred
  const Node *n = node_of(w->m, value->def);
  if (value->def_index != 0 || n->dead) return false;
  w->depth++;
  bool ok = walk_checked(w, n, s);
  w->depth--;
  return ok;
}

static void store(Module *m, ValueId v, const Small *s) {
  Dim *d = NEW_N(&m->perm, Dim, s->n);
  for (int p = 0; p < s->n; p++) d[p] = s->at[p].d;
  value_of(m, v)->content = d;
}

void infer_constant_content(Module *m, ValueId v) {
  const Value *value = value_of(m, v);
  Small s;
  if (!value->constant || !has_content_slot(&value->type) || !small_type(&value->type, &s)) return;
  if (tensor_count(value->constant) != s.n) return;
  Elem at[CONTENT_MAX];
  s.at = at;
  if (constant_elements(value->constant, &s)) store(m, v, &s);
}

void infer_content(Module *m, NodeId id) {
  const Node *n = node_of(m, id);
  Small y;
  if (n->nout != 1 || !n->out[0]) return;
  const Type *t = &value_of(m, n->out[0])->type;
  if (!has_content_slot(t) || !small_type(t, &y)) return;
  Walk w = {.m = m, .budget = BUDGET};
  bool saved = dim_overflow;
  dim_overflow = false;
  y.at = NEW_N(&w.tmp, Elem, y.n);
  bool ok = walk_checked(&w, n, &y) && !dim_overflow;
  dim_overflow = saved;
  if (ok) store(m, n->out[0], &y);
  arena_free(&w.tmp);
}
