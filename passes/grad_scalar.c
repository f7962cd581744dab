/* Gradients of elementwise functions, dx = dy * f'(x), in the order of scalar.def. Broadcast operands are summed by
 * grad_add_to. Where f' is shorter in terms of the result y, x need not be kept: exp, tanh, sqrt.
 * At a kink the rules do what PyTorch does: relu'(0) = 0, |0|' = 0, equal operands of min and max get half each. */
#include "passes/grad.h"
#include <math.h>

/* What the rules are written with: g where they build, dy, the operands a and b, the result y. */
#define OPERANDS Graph *g = r->g; const ValueId dy = r->dy[0], a = r->in[0], y = r->out[0]; (void)g; (void)a; (void)y
#define ADD(x, z)   build_add(g, x, z)
#define SUB(x, z)   build_sub(g, x, z)
#define MUL(x, z)   build_mul(g, x, z)
#define DIV(x, z)   build_div(g, x, z)
#define NEG(x)      build_neg(g, x)
#define FN(OP, x)   build_op1(g, OP_##OP, x)
#define ADDC(x, c)  build_addc(g, x, c)
#define MULC(x, c)  build_mulc(g, x, c)
#define CSUB(c, x)  build_c2op(g, OP_SUB, c, x)
#define SQUARE(x)   MUL(x, x)
#define ZERO(x)     build_scalar(g, build_dtype(g, x), 0)
#define HALF(x)     build_scalar(g, build_dtype(g, x), 0.5)
#define ONE(x)      build_scalar(g, build_dtype(g, x), 1)

/* One operand: `slope` is the product dy * f'(a). Two: built only where wanted. */
#define UNARY(name, slope) bool grad_##name(GradNode *r) { OPERANDS; grad_add_to(r, 0, slope); return true; }
#define BINARY(name, slope_a, slope_b)          \
  bool grad_##name(GradNode *r) {               \
    OPERANDS;                                   \
    const ValueId b = r->in[1]; (void)b;        \
    if (grad_wants(r, 0)) grad_add_to(r, 0, slope_a); \
    if (grad_wants(r, 1)) grad_add_to(r, 1, slope_b); \
    return true;                                \
  }

/* d a^b / da = b a^(b-1), 0 where b is 0; d a^b / db = y log a, 0 where a is 0 and b is not negative. */
static ValueId pow_base(Graph *g, ValueId dy, ValueId a, ValueId b) {
  ValueId slope = MUL(b, build_op2(g, OP_POW, a, ADDC(b, -1)));
  const Tensor *c = value_of(g->module, b)->constant;
  if (c && tensor_count(c) == 1 && tensor_get(c, 0) != 0) return MUL(dy, slope);
  return MUL(dy, build_where(g, build_op2(g, OP_EQ, b, ZERO(b)), ZERO(b), slope));
}

static ValueId pow_exponent(Graph *g, ValueId dy, ValueId a, ValueId b, ValueId y) {
  ValueId flat = build_op2(g, OP_AND, build_op2(g, OP_EQ, a, ZERO(a)), build_op2(g, OP_GE, b, ZERO(b)));
  return MUL(dy, build_where(g, flat, ZERO(y), MUL(y, FN(LOG, a))));
}

/* dy where `wins`, half of it where the operands are equal, else 0. */
static ValueId share(Graph *g, ValueId dy, ValueId loses, ValueId a, ValueId b) {
  ValueId half = build_where(g, build_op2(g, OP_EQ, a, b), MULC(dy, 0.5), dy);
  return build_where(g, loses, ZERO(dy), half);
}

static ValueId less(Graph *g, ValueId a, ValueId b) { return build_op2(g, OP_LT, a, b); }

BINARY(add, dy, dy)
BINARY(sub, dy, NEG(dy))
BINARY(mul, MUL(dy, b), MUL(dy, a))
BINARY(div, DIV(dy, b), NEG(DIV(MUL(dy, y), b)))
BINARY(mod, dy, MUL(dy, DIV(SUB(y, a), b)))                      /* (y - a) / b: minus the whole quotient */
BINARY(fmod, dy, MUL(dy, DIV(SUB(y, a), b)))
BINARY(pow, pow_base(g, dy, a, b), pow_exponent(g, dy, a, b, y))
BINARY(min, share(g, dy, less(g, b, a), a, b), share(g, dy, less(g, a, b), a, b))
BINARY(max, share(g, dy, less(g, a, b), a, b), share(g, dy, less(g, b, a), a, b))
BINARY(atan2, MUL(dy, DIV(b, ADD(SQUARE(a), SQUARE(b)))), NEG(MUL(dy, DIV(a, ADD(SQUARE(a), SQUARE(b))))))
UNARY(neg, NEG(dy))
UNARY(abs, MUL(dy, FN(SIGN, a)))
UNARY(sqrt, DIV(MULC(dy, 0.5), y))
UNARY(reciprocal, NEG(MUL(dy, SQUARE(y))))
UNARY(exp, MUL(dy, y))
UNARY(expm1, MUL(dy, ADDC(y, 1)))
UNARY(log, DIV(dy, a))
UNARY(log1p, DIV(dy, ADDC(a, 1)))
UNARY(sin, MUL(dy, FN(COS, a)))
UNARY(cos, NEG(MUL(dy, FN(SIN, a))))
UNARY(tan, MUL(dy, ADDC(SQUARE(y), 1)))
UNARY(asin, DIV(dy, FN(SQRT, CSUB(1, SQUARE(a)))))
UNARY(acos, NEG(DIV(dy, FN(SQRT, CSUB(1, SQUARE(a))))))
UNARY(atan, DIV(dy, ADDC(SQUARE(a), 1)))
UNARY(sinh, MUL(dy, FN(COSH, a)))
UNARY(cosh, MUL(dy, FN(SINH, a)))
UNARY(asinh, DIV(dy, FN(SQRT, ADDC(SQUARE(a), 1))))
UNARY(acosh, DIV(dy, FN(SQRT, MUL(ADDC(a, -1), ADDC(a, 1)))))    /* not a^2 - 1, which cancels near 1 */
UNARY(atanh, DIV(dy, CSUB(1, SQUARE(a))))
UNARY(erf, MUL(dy, MULC(FN(EXP, NEG(SQUARE(a))), 2 / sqrt(acos(-1)))))
UNARY(tanh, MUL(dy, CSUB(1, SQUARE(y))))
UNARY(sigmoid, MUL(dy, MUL(y, CSUB(1, y))))
UNARY(relu, build_where(g, build_op2(g, OP_GT, y, ZERO(y)), dy, ZERO(dy)))

/* y = a * f(a): the slope has f(a) too. The forward node becomes the product, and f, expensive, is computed once; a
 * rule (silu, gelu…) makes one function of them again where nobody else wants f.
 *   at = open_begin(r); f = open_end(r, at, what builds f, before the node) */
static NodeId open_begin(GradNode *r) {
  NodeId at = r->g->before;
  if (r->node->graph == r->g) graph_insert_before(r->g, r->id);
  return at;
}

static ValueId open_end(GradNode *r, NodeId at, ValueId f) {
  if (r->node->graph != r->g) return f;                         // back through a region: it keeps its node
  graph_insert_end(r->g);
  if (at) graph_insert_before(r->g, at);
  if (!f) return 0;
  Node *n = node_of(r->grad->m, r->id);
  ValueId *in = NEW_N(&r->grad->m->perm, ValueId, 2);
  in[0] = r->in[0];
  in[1] = f;
  n->op = OP_MUL;
  n->in = in;
  n->nin = 2;
  return f;
}

/* a Phi(a): Phi(a) + a phi(a), with the normal distribution's Phi and phi */
static ValueId gelu_slope(GradNode *r, Graph *g, ValueId a) {
  NodeId at = open_begin(r);
  ValueId cdf = open_end(r, at, MULC(ADDC(FN(ERF, MULC(a, sqrt(0.5))), 1), 0.5));
  ValueId pdf = MULC(FN(EXP, MULC(SQUARE(a), -0.5)), 1 / sqrt(2 * acos(-1)));
  return ADD(cdf, MUL(a, pdf));
}

/* a h with h = (1 + t) / 2, t = tanh(u), u = c (a + k a^3): h + a (1 - t^2) / 2 * c (1 + 3 k a^2); (1 - t^2) / 2 = 2 h
 * (1 - h) */
static ValueId gelu_tanh_slope(GradNode *r, Graph *g, ValueId a) {
  const double c = sqrt(2 / acos(-1)), k = 0.044715;
  NodeId at = open_begin(r);
  ValueId h = open_end(r, at, MULC(ADDC(FN(TANH, MUL(a, ADDC(MULC(SQUARE(a), c * k), c))), 1), 0.5));
  ValueId du = ADDC(MULC(SQUARE(a), 6 * c * k), 2 * c);
  return ADD(h, MUL(MUL(a, MUL(h, CSUB(1, h))), du));
}

/* a s with s = sigmoid(a): s + y (1 - s) */
static ValueId silu_slope(GradNode *r, Graph *g, ValueId a, ValueId y) {
  NodeId at = open_begin(r);
  ValueId s = open_end(r, at, FN(SIGMOID, a));
  return ADD(s, MUL(y, CSUB(1, s)));
}

/* a t with t = tanh(softplus(a)): t + a (1 - t^2) sigmoid(a) */
static ValueId mish_slope(GradNode *r, Graph *g, ValueId a) {
  NodeId at = open_begin(r);
  ValueId t = open_end(r, at, FN(TANH, FN(SOFTPLUS, a)));
  return ADD(t, MUL(MUL(a, CSUB(1, SQUARE(t))), FN(SIGMOID, a)));
}

UNARY(gelu, MUL(dy, gelu_slope(r, g, a)))
UNARY(gelu_tanh, MUL(dy, gelu_tanh_slope(r, g, a)))
UNARY(silu, MUL(dy, silu_slope(r, g, a, y)))
UNARY(mish, MUL(dy, mish_slope(r, g, a)))
UNARY(softplus, MUL(dy, FN(SIGMOID, a)))

bool grad_where(GradNode *r) {
  OPERANDS;
  if (grad_wants(r, 1)) grad_add_to(r, 1, build_where(g, a, dy, ZERO(dy)));
  if (grad_wants(r, 2)) grad_add_to(r, 2, build_where(g, a, ZERO(dy), dy));
  return true;
}
