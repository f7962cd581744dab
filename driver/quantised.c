/* How far apart the values of a quantised output lie. Emitted code and the evaluator round sums differently; where a sum
 * is nearly halfway between two integers they quantise it to neighbours, and both are right. So `lathe verify` allows an
 * output that comes straight out of such a rounding one step, and says how many values used it. */
#include "driver/driver.h"
#include <math.h>

static const Tensor *constant_of(Module *m, ValueId v) { return v ? value_of(m, v)->constant : NULL; }

static double largest(const Tensor *t) {
  double max = 0;
  for (int64_t i = 0, n = tensor_count(t); i < n; i++) max = fmax(max, fabs(tensor_get(t, i)));
  return max;
}

/* The operand of a node that is not constant, when there is one; *c: the constant beside it. */
static ValueId other_operand(Module *m, const Node *n, const Tensor **c) {
  *c = n->nin > 1 ? constant_of(m, n->in[1]) : NULL;
  if (*c) return n->in[0];
  *c = n->nin > 1 ? constant_of(m, n->in[0]) : NULL;
  return *c ? n->in[1] : 0;
}

double quantised_step(Module *m, ValueId v) {
  double step = 1;
  while (v && value_of(m, v)->def) {
    const Node *n = node_of(m, value_of(m, v)->def);
    const Tensor *c = NULL;
    switch ((int)n->op) {
    case OP_ROUND: return step;
    case OP_COPY: case OP_CAST: case OP_RESHAPE: case OP_TRANSPOSE: case OP_SLICE: v = n->in[0]; break;
    case OP_ADD: case OP_SUB: case OP_MIN: case OP_MAX: v = other_operand(m, n, &c); break;
    case OP_MUL:
      v = other_operand(m, n, &c);
      if (v) step *= largest(c);
      break;
    default: return 0;
    }
  }
  return 0;
}
