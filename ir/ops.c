/* The tables of ops: op_info from ops.def and scalar.def, and the scalar functions' meanings as C.
 * An elementwise op has no infer or eval of its own in the table: infer.c and eval.c treat all of them by
 * the same rule (broadcast, then scalar_eval_… on each element). */
#include "ir/op_functions.h"
#include <float.h>
#include <math.h>
#include <string.h>

#define EVAL_VIEW(name)      eval_##name
#define EVAL_LOWER(name)     eval_##name
#define EVAL_CALL(name)      eval_##name
#define EVAL_CONTROL(name)   eval_##name
#define EVAL_DECOMPOSE(name) eval_##name

/* ---- operations, for reports: the column `flops` ---- */

static Dim elements(const Module *m, ValueId v) { return v ? type_count(&m->values.at[v].type) : DIM(0); }

static Dim size(const Module *m, ValueId v, int axis) {
  const Type *t = v ? &m->values.at[v].type : NULL;
  if (t && axis < 0) axis += t->rank;
  return t && axis >= 0 && axis < t->rank ? dim_max(t->dims[axis], DIM(1)) : DIM(1);
}

static Dim window(const Node *n) {
  const Attr *k = node_dims(n, "kernel");
  Dim d = DIM(1);
  for (int i = 0; k && i < k->n; i++) d = dim_mul(d, k->dims[i]);
  return d;
}

#define OUT             elements(m, n->out[0])
#define IN(k)           (n->nin > (k) ? elements(m, n->in[k]) : DIM(0))
#define SIZE(k, axis)   size(m, n->in[k], axis)
#define WINDOW          window(n)
#define TIMES(k, x, y)  dim_mul(DIM(k), dim_mul(x, y))
#define OVER(x, y)      dim_floordiv(x, y)
#define PLUS(x, y)      dim_add(x, y)
#define NO_FLOPS        DIM(0)
#define OP(E, name, min_in, max_in, outs, how, attributes, flags, flops, grad) \
  static Dim flops_##name(const Module *m, const Node *n) { (void)m, (void)n; return flops; }
#include "ir/ops.def"
#undef OP

static Dim flops_scalar(const Module *m, const Node *n) { return OUT; }

/* ---- ops ---- */

#define GRAD(name)     GRAD_RULE, NULL
#define ZERO_GRAD(why) GRAD_ZERO, why
#define NO_GRAD(why)   GRAD_NONE, why
const OpInfo op_info[OP_COUNT] = {
  [OP_NONE] = {"none", 0, 0, 0, HOW_SCALAR, "", 0, NULL, NULL, NULL, NO_GRAD("there is no op")},
#define SCALAR(E, name, arity, domain, result, f, i, c_operator, vecmath, libm, body, grad) \
  [OP_##E] = {name, arity, arity, 1, HOW_SCALAR, "", ELEMENTWISE, flops_scalar, NULL, NULL, grad},
#include "ir/scalar.def"
#undef SCALAR
#define OP(E, name, min_in, max_in, outs, how, attributes, flags, flops, grad)                  \
  [OP_##E] = {#name,        min_in,       max_in,           outs, HOW_##how, attributes, flags, \
              flops_##name, infer_##name, EVAL_##how(name), grad},
#include "ir/ops.def"
#undef OP
};
#undef GRAD
#undef ZERO_GRAD
#undef NO_GRAD

Op op_from_text(const char *s) {
  for (int o = 1; o < OP_COUNT; o++)
    if (!strcmp(op_info[o].text, s)) return (Op)o;
  return OP_NONE;
}

/* ---- scalar functions ---- */

#define GIVES_SAME false
#define GIVES_BOOL true
#define C_NONE                 {NULL, NULL, NULL}
#define C_FLOAT(flt)           {flt, NULL, NULL}
#define C_INT(sint, uint)      {NULL, sint, uint}
#define C_ANY(flt, sint, uint) {flt, sint, uint}
const ScalarInfo scalar_info[SCALAR_COUNT] = {
#define SCALAR(E, name, arity, domain, result, f, i, c_operator, vecmath, libm, body, grad) \
  [S_##E] = {name, arity, DOM_##domain, GIVES_##result, c_operator, vecmath, libm, body},
#include "ir/scalar.def"
#undef SCALAR
};

bool scalar_is_long(ScalarOp op) {
  const ScalarInfo *s = &scalar_info[op];
  if (op == S_ABS || op == S_FLOOR || op == S_CEIL || op == S_TRUNC || op == S_ROUND || op == S_SQRT) return false;    // an instruction each
  return s->libm || (s->body.flt && strstr(s->body.flt, "@m("));
}

bool scalar_takes(ScalarDomain domain, DType t) {
  switch (domain) {
  case DOM_NUM: return dtype_is_float(t) || dtype_is_int(t);
  case DOM_FLT: return dtype_is_float(t);
  case DOM_INT: return dtype_is_int(t);
  case DOM_BITS: return dtype_is_int(t) || t == DT_BOOL;
  case DOM_LOGIC: return t == DT_BOOL;
  case DOM_ANY: return true;
  }
  return false;
}

static double scalar_mod(double a, double b) {                  // sign of b, as in Python
  double r = fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static int64_t int_mod(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return 0;
  int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static uint64_t uint_pow(uint64_t a, uint64_t n) {              // modulo 2^64
  uint64_t r = 1;
  for (; n; n >>= 1, a *= a)
    if (n & 1) r *= a;
  return r;
}

static int64_t int_pow(int64_t a, int64_t n) {                  // a^-n = 1 / a^n towards zero
  if (n >= 0) return (int64_t)uint_pow((uint64_t)a, (uint64_t)n);
  return a == 1 ? 1 : a == -1 ? (n % 2 ? -1 : 1) : 0;
}

static int64_t int_shr(int64_t a, int64_t n) { return n < 0 || n > 63 ? (a < 0 ? -1 : 0) : a >> n; }
static uint64_t uint_shl(uint64_t a, uint64_t n) { return n > 63 ? 0 : a << n; }
static uint64_t uint_shr(uint64_t a, uint64_t n) { return n > 63 ? 0 : a >> n; }

double scalar_eval_float(ScalarOp op, double a, double b, double c) {
  switch (op) {
#define SCALAR(E, name, arity, domain, result, meaning, ...) case S_##E: return meaning;
#include "ir/scalar.def"
#undef SCALAR
    case SCALAR_COUNT: break;
  }
  return 0;
}

#pragma GCC diagnostic ignored "-Wtype-limits"                   // "a < 0" is a rule's text, also where a is unsigned

/* Where C leaves overflow undefined the meaning is two's complement: those rows go by way of uint64. */
int64_t scalar_eval_int(ScalarOp op, int64_t a, int64_t b, int64_t c) {
  bool wraps = op == S_ADD || op == S_SUB || op == S_MUL || op == S_NEG || (op == S_DIV && b == -1);
  if (wraps)
    return op == S_DIV ? (int64_t)(0 - (uint64_t)a) : (int64_t)scalar_eval_uint(op, (uint64_t)a, (uint64_t)b, 0);
  if (op == S_FMOD && b == -1) return 0;
#define SCALAR_INT_MOD(x, y) int_mod(x, y)
#define SCALAR_INT_POW(x, y) int_pow(x, y)
#define SCALAR_INT_ABS(x) ((x) < 0 ? (int64_t)(0 - (uint64_t)(x)) : (x))
#define SCALAR_INT_SIGN(x) (((x) > 0) - ((x) < 0))
#define SCALAR_SHL(x, y) (int64_t)uint_shl((uint64_t)(x), (uint64_t)(y))
#define SCALAR_SHR(x, y) int_shr(x, y)
  switch (op) {
#define SCALAR(E, name, arity, domain, result, f, meaning, ...) case S_##E: return meaning;
#include "ir/scalar.def"
#undef SCALAR
    case SCALAR_COUNT: break;
  }
  return 0;
}

#undef SCALAR_INT_MOD
#undef SCALAR_INT_POW
#undef SCALAR_INT_ABS
#undef SCALAR_INT_SIGN
#undef SCALAR_SHL
#undef SCALAR_SHR
uint64_t scalar_eval_uint(ScalarOp op, uint64_t a, uint64_t b, uint64_t c) {
#define SCALAR_INT_MOD(x, y) ((y) == 0 ? 0 : (x) % (y))
#define SCALAR_INT_POW(x, y) uint_pow(x, y)
#define SCALAR_INT_ABS(x) (x)
#define SCALAR_INT_SIGN(x) ((x) > 0)
#define SCALAR_SHL(x, y) uint_shl(x, y)
#define SCALAR_SHR(x, y) uint_shr(x, y)
  switch (op) {
#define SCALAR(E, name, arity, domain, result, f, meaning, ...) case S_##E: return meaning;
#include "ir/scalar.def"
#undef SCALAR
    case SCALAR_COUNT: break;
  }
  return 0;
}
