/* ONNX losses, gradients and optimizer steps; all but the gradients by arithmetic.
 *
 * Negative log likelihood: loss = -w[t] * input[n, t, …], 0 where t is ignore_index; 'mean' divides the sum by
 * the sum of the weights that took part. Softmax cross entropy is the same after a log softmax over axis 1. */
#include "frontend/calc.h"

/* prob: [N, C, d…] log probabilities; input 1: targets [N, d…]; input 2: weights [C]. */
static ValueId likelihood_loss(Import *x, ValueId prob) {
  if (!prob) return 0;
  DType t = calc_dtype(x, prob);
  const char *reduction = imp_str(x, "reduction", "mean");
  bool none = !strcmp(reduction, "none"), mean = !strcmp(reduction, "mean");
  if (!none && !mean && strcmp(reduction, "sum")) {
    imp_fail(x, "unsupported", "reduction '%s' is not none, sum or mean", reduction);
    return 0;
  }
  bool ignores = imp_has(x, "ignore_index");
  ValueId target = x->in[1], keep = 0, weight = 0;
  if (ignores) {
    keep = calc_op2c(x, OP_NE, target, (double)imp_int(x, "ignore_index", 0));
    target = calc_where(x, keep, target, imp_scalar(x, calc_dtype(x, target), 0));
  }
  if (!target) return 0;
  Attr axis1 = attr_int("axis", 1);
  ValueId column = calc_unsqueeze(x, target, 1);
  ValueId picked = calc_squeeze(x, calc_op(x, OP_GATHER_ELEMENTS, (ValueId[]){ prob, column }, 2, &axis1, 1), 1);
  if (imp_present(x, 2)) weight = calc_gather(x, calc_cast(x, x->in[2], t), 0, target);
  ValueId zero = imp_scalar(x, t, 0), loss = calc_op1(x, OP_NEG, picked);
  if (weight) loss = calc_mul(x, loss, weight);
  if (keep) loss = calc_where(x, keep, loss, zero);
  if (none) return loss;
  if (!mean) return calc_reduce_all(x, OP_REDUCE_SUM, loss);
  ValueId count;
  if (weight) count = calc_reduce_all(x, OP_REDUCE_SUM, keep ? calc_where(x, keep, weight, zero) : weight);
  else if (keep) count = calc_reduce_all(x, OP_REDUCE_SUM, calc_cast(x, keep, t));
  else count = calc_dim_value(x, t, type_count(calc_type(x, loss)));
  return calc_div(x, calc_reduce_all(x, OP_REDUCE_SUM, loss), count);
}

bool import_nll_loss(Import *x) {
  if (!calc_needs(x, 2)) return false;
  if (imp_rank(x, 0) < 2) return imp_fail(x, "shape", "input has rank %d, [N, C, …] is needed", imp_rank(x, 0));
  return calc_set(x, 0, likelihood_loss(x, x->in[0]));
}

bool import_softmax_cross_entropy(Import *x) {
  if (!calc_needs(x, 2)) return false;
  if (imp_rank(x, 0) < 2) return imp_fail(x, "shape", "input has rank %d, [N, C, …] is needed", imp_rank(x, 0));
  ValueId prob = calc_softmax(x, OP_LOG_SOFTMAX, x->in[0], 1);
  if (x->nout > 1) calc_set(x, 1, prob);
  return calc_set(x, 0, likelihood_loss(x, prob));
}

/* ---- optimizer steps (ai.onnx.preview.training): inputs R, T, then per tensor X…, G…, states…; outputs
 * X…, states…. R and T are scalars (or vectors of one). */

typedef struct Optimizer { ValueId rate, step; int tensors; DType type; } Optimizer;

static bool optimizer_read(Import *x, int per, Optimizer *o) {
  if (x->nin < 2 + per || (x->nin - 2) % per)
    return imp_fail(x, "parse", "%d inputs: R, T and a multiple of %d tensors are needed", x->nin, per);
  if (!calc_needs(x, x->nin)) return false;
  o->tensors = (x->nin - 2) / per;
  o->type = imp_dtype(x, 2);
  o->rate = calc_reshape(x, calc_cast(x, x->in[0], o->type), NULL, 0);
  o->step = calc_reshape(x, x->in[1], NULL, 0);
  return o->rate && o->step;
}

/* norm * X + G */
static ValueId regularised(Import *x, ValueId v, ValueId g, double norm) {
  return norm == 0 ? g : calc_add(x, calc_mulc(x, v, norm), g);
}

bool import_adagrad(Import *x) {
  Optimizer o;
  if (!optimizer_read(x, 3, &o)) return false;
  double decay = imp_float(x, "decay_factor", 0), epsilon = imp_float(x, "epsilon", 1e-6),
         norm = imp_float(x, "norm_coefficient", 0);
  ValueId rate = calc_div(x, o.rate, calc_addc(x, calc_mulc(x, calc_cast(x, o.step, o.type), decay), 1));
  for (int k = 0; k < o.tensors; k++) {
    const ValueId *in = x->in + 2 + k;
    ValueId v = in[0], g = regularised(x, v, in[o.tensors], norm);
    ValueId h = calc_add(x, in[2 * o.tensors], calc_mul(x, g, g));
    ValueId adaptive = calc_addc(x, calc_op1(x, OP_SQRT, h), epsilon);
    v = calc_sub(x, v, calc_div(x, calc_mul(x, rate, g), adaptive));
    if (!calc_set(x, k, v) || !calc_set(x, k + o.tensors, h)) return false;
  }
  return true;
}

bool import_momentum(Import *x) {
  Optimizer o;
  if (!optimizer_read(x, 3, &o)) return false;
  double alpha = imp_float(x, "alpha", 0), beta = imp_float(x, "beta", 0), norm = imp_float(x, "norm_coefficient", 0);
  bool nesterov = !strcmp(imp_str(x, "mode", "standard"), "nesterov");
  ValueId first = calc_op2c(x, OP_GT, o.step, 0);
  ValueId beta_now = calc_where(x, first, imp_scalar(x, o.type, beta), imp_scalar(x, o.type, 1));
  for (int k = 0; k < o.tensors; k++) {
    const ValueId *in = x->in + 2 + k;
    ValueId g = regularised(x, in[0], in[o.tensors], norm);
    ValueId m = calc_add(x, calc_mulc(x, in[2 * o.tensors], alpha), calc_mul(x, beta_now, g));
    ValueId direction = nesterov ? calc_add(x, g, calc_mulc(x, m, alpha)) : m;
    if (!calc_set(x, k, calc_sub(x, in[0], calc_mul(x, o.rate, direction))) || !calc_set(x, k + o.tensors, m))
      return false;
  }
  return true;
}

bool import_adam(Import *x) {
  Optimizer o;
  if (!optimizer_read(x, 4, &o)) return false;
  double alpha = imp_float(x, "alpha", 0.9), beta = imp_float(x, "beta", 0.999),
         epsilon = imp_float(x, "epsilon", 1e-6);
  double norm = imp_float(x, "norm_coefficient", 0), post = imp_float(x, "norm_coefficient_post", 0);
  ValueId t = calc_cast(x, o.step, o.type);
  ValueId bias1 = calc_c2op(x, OP_SUB, 1, calc_c2op(x, OP_POW, alpha, t));
  ValueId bias2 = calc_op1(x, OP_SQRT, calc_c2op(x, OP_SUB, 1, calc_c2op(x, OP_POW, beta, t)));
  ValueId adjusted = calc_div(x, calc_mul(x, o.rate, bias2), bias1);
  ValueId rate = calc_where(x, calc_op2c(x, OP_GT, o.step, 0), adjusted, o.rate);
  int n = o.tensors;
  for (int k = 0; k < n; k++) {
    const ValueId *in = x->in + 2 + k;
    ValueId g = regularised(x, in[0], in[n], norm);
    ValueId v = calc_add(x, calc_mulc(x, in[2 * n], alpha), calc_mulc(x, g, 1 - alpha));
    ValueId h = calc_add(x, calc_mulc(x, in[3 * n], beta), calc_mulc(x, calc_mul(x, g, g), 1 - beta));
    ValueId root = calc_addc(x, calc_op1(x, OP_SQRT, h), epsilon);
    ValueId w = calc_sub(x, in[0], calc_div(x, calc_mul(x, rate, v), root));
    if (!calc_set(x, k, calc_mulc(x, w, 1 - post)) || !calc_set(x, k + n, v) || !calc_set(x, k + 2 * n, h))
      return false;
  }
  return true;
}

/* Gradient: of the value named y with respect to those named xs. Its inputs are the values of xs (and zs, which y may
 * depend on too) at which it is taken: only where they are the values of the graph itself is there something to
 * differentiate. */
bool import_gradient(Import *x) {
  const char *const *xs, *const *zs;
  int n = imp_strs(x, "xs", &xs), nz = imp_strs(x, "zs", &zs);
  const char *y = imp_str(x, "y", "");
  ValueId in[64] = {imp_named(x, y)}, out[64];
  if (n < 1 || n > 63 || n + nz != x->nin || x->nout > n)
    return imp_fail(x, "parse", "%d inputs and %d outputs for %d names in xs and %d in zs", x->nin, x->nout, n, nz);
  if (!in[0]) return imp_fail(x, "parse", "there is no value '%.100s' before it", y);
  for (int k = 0; k < n + nz; k++) {
    const char *name = k < n ? xs[k] : zs[k - n];
    ValueId v = imp_named(x, name);
    if (!v || v != x->in[k])
      return imp_fail(x, "unsupported", "takes the gradient at another value than '%.100s' of the graph itself", name);
    if (k < n) in[k + 1] = v;
  }
  if (!imp_op_multi(x, OP_GRADIENT, in, n + 1, NULL, 0, out, n)) return false;
  for (int k = 0; k < x->nout; k++) imp_set(x, k, out[k]);
  return true;
}
