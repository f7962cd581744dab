/* Rules on elementwise ops: identities, and functions that exporters spell out. See rules.def.
 *
 * The spelled functions are matched through their products: the factors of nested multiplications are
 * collected, numbers among them multiplied, and the rest compared with what the formula has, so that the order
 * in which an exporter multiplied does not matter. */
#include "passes/rules.h"
#include <math.h>

/* ---- identities ---- */

static bool neutral_side(const Rules *r, const Node *n, ValueId *x) {
  double c;
  bool right = n->nin == 2 && match_splat(r, n->in[1], &c);
  if (right) {
    *x = n->in[0];
    if ((n->op == OP_ADD || n->op == OP_SUB) && c == 0) return true;
    if ((n->op == OP_MUL || n->op == OP_DIV || n->op == OP_POW) && c == 1) return true;
    if ((n->op == OP_MAX && c == -INFINITY) || (n->op == OP_MIN && c == INFINITY)) return true;
  }
  if (n->nin != 2 || !match_splat(r, n->in[0], &c)) return false;
  *x = n->in[1];
  return (n->op == OP_ADD && c == 0) || (n->op == OP_MUL && c == 1) || (n->op == OP_MAX && c == -INFINITY) ||
         (n->op == OP_MIN && c == INFINITY);
}

bool rule_neutral(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  ValueId x;
  if (!op_is_scalar(n->op) || !neutral_side(r, n, &x) || !match_same_type(r, x, n->out[0]) || !rule_may_replace(r, x))
    return false;
  return rule_go(r) && rule_replace(r, x);
}

bool rule_twice(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  bool undoes = n->op == OP_NEG || n->op == OP_NOT || n->op == OP_BITNOT;
  bool repeats = n->op == OP_RELU || n->op == OP_ABS || n->op == OP_FLOOR || n->op == OP_CEIL || n->op == OP_TRUNC ||
      n->op == OP_ROUND;
  if (!undoes && !repeats) return false;
  const Node *inner = match_def(r, n->in[0], n->op);
  if (!inner) return false;
  ValueId x = undoes ? inner->in[0] : n->in[0];
  return rule_may_replace(r, x) && rule_go(r) && rule_replace(r, x);
}

/* Whole numbers for certain: rounded, and what sums and bounds in whole numbers make of that. */
static bool is_whole(const Rules *r, ValueId v) {
  double c;
  if (match_splat(r, v, &c)) return c == floor(c);
  const NodeId d = value_of(r->m, v)->def;
  const Node *n = d ? node_of(r->m, d) : NULL;
  if (!n || !op_is_scalar(n->op)) return false;
  if (n->op == OP_ROUND || n->op == OP_FLOOR || n->op == OP_CEIL || n->op == OP_TRUNC) return true;
  if (n->op == OP_RELU) return is_whole(r, n->in[0]);
  if (n->op != OP_ADD && n->op != OP_SUB && n->op != OP_MIN && n->op != OP_MAX) return false;
  return is_whole(r, n->in[0]) && is_whole(r, n->in[1]);
}

/* The lowest or, for OP_MIN, the highest value that a bound of v's own computation leaves; without one, infinite. */
static double bound_of(const Rules *r, ValueId v, Op bound) {
  double c;
  ValueId x;
  const Node *n;
  if (match_with_splat(r, v, bound, &c, &x)) return c;
  if (bound == OP_MAX && match_def(r, v, OP_RELU)) return 0;
  if (match_with_splat(r, v, bound == OP_MIN ? OP_MAX : OP_MIN, &c, &x)) {              // the other bound is outside
    double inner = bound_of(r, x, bound);
    return bound == OP_MIN ? fmax(c, inner) : fmin(c, inner);
  }
  if (bound == OP_MIN && (n = match_def(r, v, OP_RELU))) return fmax(0, bound_of(r, n->in[0], bound));
  return bound == OP_MIN ? INFINITY : -INFINITY;
}

/* What quantised networks do between layers: the integers are not needed where only their values are. NaN stays NaN. */
bool rule_cast_whole(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id), *inner = match_def(r, n->in[0], OP_CAST);
  if (!inner) return false;
  ValueId x = inner->in[0];
  DType t = match_type(r, n->in[0])->dtype;
  if (!dtype_is_int(t) || !match_same_type(r, x, n->out[0])) return false;
  if (match_type(r, x)->dtype != DT_F32 || !is_whole(r, x)) return false;
  int bits = dtype_info[t].bits - dtype_is_signed(t);
  double highest = ldexp(1, bits) - 1, lowest = dtype_is_signed(t) ? -ldexp(1, bits) : 0;
  if (bits > 16 || bound_of(r, x, OP_MAX) < lowest || bound_of(r, x, OP_MIN) > highest) return false;
  return rule_may_replace(r, x) && rule_go(r) && rule_replace(r, x);
}

bool rule_pow(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  double e;
  ValueId x = n->in[0];
  if (!match_splat(r, n->in[1], &e) || !match_same_type(r, x, n->out[0])) return false;
  bool is_float = dtype_is_float(match_type(r, x)->dtype);
  if (e != 2 && e != 3 && !(is_float && (e == 0.5 || e == -1 || e == -0.5))) return false;
  if (!rule_go(r)) return false;
  if (e == 2) return rule_replace(r, rule_op2(r, OP_MUL, x, x));
  if (e == 3) return rule_replace(r, rule_op2(r, OP_MUL, rule_op2(r, OP_MUL, x, x), x));
  if (e == 0.5) return rule_replace(r, rule_op1(r, OP_SQRT, x));
  return rule_replace(r, rule_op1(r, OP_RECIP, e == -1 ? x : rule_op1(r, OP_SQRT, x)));
}

bool rule_div_power(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  double c;
  DType t = match_type(r, n->out[0])->dtype;
  if (t != DT_F32 && t != DT_F64) return false;
  if (match_splat(r, n->in[0], &c) && c == 1 && match_same_type(r, n->in[1], n->out[0])) {
    ValueId x = n->in[1];
    return rule_go(r) && rule_replace(r, rule_op1(r, OP_RECIP, x));
  }
  int e;
  if (!match_splat(r, n->in[1], &c) || fabs(frexp(c, &e)) != 0.5 || e < -100 || e > 100) return false;
  ValueId x = n->in[0];
  const Type *ct = match_type(r, n->in[1]);
  if (ct->rank && !match_same_type(r, x, n->out[0])) return false;   // the constant's shape matters
  if (!rule_go(r)) return false;
  return rule_replace(r, rule_op2(r, OP_MUL, x, graph_scalar(r->m, t, 1 / c)));
}

bool match_is_rounded(const Rules *r, ValueId v) {
  for (int i = 1; i < r->m->nodes.len; i++) {
    const Node *n = node_of(r->m, (NodeId)i);
    for (int k = 0; !n->dead && k < n->nin; k++) {
      if (n->in[k] != v) continue;
      if (n->op == OP_ROUND || n->op == OP_FLOOR || n->op == OP_CEIL || n->op == OP_TRUNC || n->op == OP_SIGN ||
          n->op == OP_MOD || n->op == OP_FMOD)
        return true;
      if (op_is_scalar(n->op) && scalar_info[op_scalar(n->op)].gives_bool) return true;
      if (n->op == OP_CAST && !dtype_is_float(value_of(r->m, n->out[0])->type.dtype)) return true;
    }
  }
  return false;
}

bool rule_div_constant(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  const Tensor *t = match_constant(r, n->in[1]);
  if (!t || (t->dtype != DT_F32 && t->dtype != DT_F64) || match_constant(r, n->in[0]) || match_is_rounded(r, n->out[0]))
    return false;
  for (int64_t i = 0, count = tensor_count(t); i < count; i++) {
    double c = fabs(tensor_get(t, i));
    if (!(c > 1e-30 && c < 1e30)) return false;      // the reciprocal would lose range
    double inverse = t->dtype == DT_F32 ? (float)(1 / c) : 1 / c;
    // the same error in every element: it adds up from layer to layer
    if (fabs(inverse * c - 1) > 0x1p-27) return false;
  }
  ValueId x = n->in[0];
  if (!rule_go(r)) return false;
  Tensor *inverse = tensor_new(&r->m->perm, t->dtype, t->rank, t->dims);
  for (int64_t i = 0, count = tensor_count(t); i < count; i++) tensor_set(inverse, i, 1 / tensor_get(t, i));
  return rule_replace(r, rule_op2(r, OP_MUL, x, graph_add_constant(r->m, NULL, inverse)));
}

bool rule_add_neg(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  for (int k = 1; k >= 0; k--) {
    const Node *neg = match_def(r, n->in[k], OP_NEG);
    if (!neg || !match_once(r, n->in[k])) continue;
    ValueId x = n->in[1 - k], y = neg->in[0];
    return rule_go(r) && rule_replace(r, rule_op2(r, OP_SUB, x, y));
  }
  return false;
}

bool rule_merge_constants(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  if (n->op != OP_ADD && n->op != OP_MUL) return false;
  for (int k = 0; k < 2; k++) {
    if (!match_constant(r, n->in[k])) continue;
    const Node *inner = match_def(r, n->in[1 - k], n->op);
    if (!inner || !match_once(r, n->in[1 - k])) continue;
    for (int j = 0; j < 2; j++) {
      if (!match_constant(r, inner->in[j]) || match_constant(r, inner->in[1 - j])) continue;
      ValueId x = inner->in[1 - j], c = inner->in[j], d = n->in[k];
      const Type *a = match_type(r, c), *b = match_type(r, d);
      Dim bound = dim_max(type_count(a), type_count(b));
      // c+d is no larger than either
      bool nests = dim_is(type_count(a), 1) || dim_is(type_count(b), 1) || type_eq(a, b);
      if (!nests || !dim_is_const(bound) || (a->rank != b->rank && a->rank && b->rank)) continue;
      Op op = n->op;
      if (!rule_go(r)) return false;
      return rule_replace(r, rule_op2(r, op, x, rule_op2(r, op, c, d)));
    }
  }
  return false;
}

bool rule_max_zero(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  double c;
  for (int k = 0; k < 2; k++) {
    ValueId x = n->in[1 - k];
    if (!match_splat(r, n->in[k], &c) || c != 0 || !match_same_type(r, x, n->out[0])) continue;
    return rule_go(r) && rule_replace(r, rule_op1(r, OP_RELU, x));
  }
  return false;
}

bool rule_where_constant(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  double c;
  if (!match_splat(r, n->in[0], &c)) return false;
  ValueId x = c != 0 ? n->in[1] : n->in[2];
  return match_same_type(r, x, n->out[0]) && rule_may_replace(r, x) && rule_go(r) && rule_replace(r, x);
}

/* ---- functions spelled out ---- */

bool rule_sigmoid(Rules *r, NodeId id) {
  ValueId e, x;
  if (!match_with_number(r, node_of(r->m, id)->in[0], OP_ADD, 1, &e)) return false;
  const Node *ex = match_def(r, e, OP_EXP), *neg = ex ? match_def(r, ex->in[0], OP_NEG) : NULL;
  if (!neg && !(ex && match_with_number(r, ex->in[0], OP_MUL, -1, &x))) return false;
  if (neg) x = neg->in[0];
  return match_same_type(r, x, node_of(r->m, id)->out[0]) && rule_go(r) && rule_replace(r, rule_op1(r, OP_SIGMOID, x));
}

bool rule_softplus(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  ValueId e = 0;
  if (n->op == OP_LOG1P) e = n->in[0];
  else if (n->op != OP_LOG || !match_with_number(r, n->in[0], OP_ADD, 1, &e)) return false;
  const Node *ex = match_def(r, e, OP_EXP);
  if (!ex || !match_same_type(r, ex->in[0], n->out[0])) return false;
  ValueId x = ex->in[0];
  return rule_go(r) && rule_replace(r, rule_op1(r, OP_SOFTPLUS, x));
}

/* x * f(g(x)) -> op(x); g NONE: x * f(x). Not where f is computed anyway. */
static bool product_with(Rules *r, NodeId id, Op f, Op g, Op op) {
  const Node *n = node_of(r->m, id);
  for (int k = 0; k < 2; k++) {
    const Node *a = match_def(r, n->in[k], f);
    if (a && g) a = match_def(r, a->in[0], g);
    if (!a || a->in[0] != n->in[1 - k] || !match_once(r, n->in[k])) continue;
    ValueId x = a->in[0];
    return rule_go(r) && rule_replace(r, rule_op1(r, op, x));
  }
  return false;
}

bool rule_silu(Rules *r, NodeId id) { return product_with(r, id, OP_SIGMOID, OP_NONE, OP_SILU); }
bool rule_mish(Rules *r, NodeId id) { return product_with(r, id, OP_TANH, OP_SOFTPLUS, OP_MISH); }

enum { MAX_FACTORS = 8 };
typedef struct Factors { ValueId at[MAX_FACTORS]; int n; double number; } Factors;

/* v = number * at[0] * at[1] …, through products, divisions by numbers and x^3. What is used elsewhere too is a
 * factor as it stands: the x of x * f(x) may itself be a product. */
static bool factors(const Rules *r, ValueId v, Factors *f, bool top) {
  double c;
  ValueId x;
  const Node *n;
  if (match_splat(r, v, &c)) { f->number *= c; return true; }
  if (!top && !match_once(r, v)) {
    if (f->n == MAX_FACTORS) return false;
    f->at[f->n++] = v;
    return true;
  }
  if (match_with_splat(r, v, OP_DIV, &c, &x) && c != 0) { f->number /= c; return factors(r, x, f, false); }
  if (match_with_splat(r, v, OP_POW, &c, &x) && c == 3) {
    for (int i = 0; i < 3; i++)
      if (!factors(r, x, f, false)) return false;
    return true;
  }
  if ((n = match_def(r, v, OP_MUL))) return factors(r, n->in[0], f, false) && factors(r, n->in[1], f, false);
  if (f->n == MAX_FACTORS) return false;
  f->at[f->n++] = v;
  return true;
}

static bool near(double a, double b) { return fabs(a - b) <= 1e-3 * fabs(b); }

/* The root as 0.5 * x * (1 + f(u)): gives x and u. */
static bool half_x_one_plus(const Rules *r, const Node *n, Op f, ValueId *x, ValueId *u) {
  Factors p = {.number = 1};
  if (!factors(r, n->out[0], &p, true) || p.n != 2 || !near(p.number, 0.5)) return false;
  for (int k = 0; k < 2; k++) {
    ValueId inner;
    const Node *d;
    if (!match_with_number(r, p.at[k], OP_ADD, 1, &inner) || !(d = match_def(r, inner, f))) continue;
    *x = p.at[1 - k];
    *u = d->in[0];
    return match_same_type(r, *x, n->out[0]);
  }
  return false;
}

bool rule_gelu(Rules *r, NodeId id) {
  ValueId x, u;
  if (!half_x_one_plus(r, node_of(r->m, id), OP_ERF, &x, &u)) return false;
  Factors p = {.number = 1};
  if (!factors(r, u, &p, true) || p.n != 1 || p.at[0] != x || !near(p.number, 0.7071067811865476)) return false;
  return rule_go(r) && rule_replace(r, rule_op1(r, OP_GELU, x));
}

bool rule_gelu_tanh(Rules *r, NodeId id) {
  ValueId x, u;
  if (!half_x_one_plus(r, node_of(r->m, id), OP_TANH, &x, &u)) return false;
  Factors p = {.number = 1};
  if (!factors(r, u, &p, true) || p.n != 1 || !near(p.number, 0.7978845608028654)) return false;
  const Node *sum = match_def(r, p.at[0], OP_ADD);
  for (int k = 0; sum && k < 2; k++) {
    Factors cube = {.number = 1};
    if (sum->in[k] != x || !factors(r, sum->in[1 - k], &cube, true)) continue;
    if (cube.n != 3 || cube.at[0] != x || cube.at[1] != x || cube.at[2] != x || !near(cube.number, 0.044715)) continue;
    return rule_go(r) && rule_replace(r, rule_op1(r, OP_GELU_TANH, x));
  }
  return false;
}
