/* Importers of activation functions that are more than one scalar function, and of Dropout. In formulas x is
 * input 0; every constant has its type. */
#include <math.h>
#include <string.h>
#include "frontend/import.h"

static ValueId number(Import *x, double v) { return imp_scalar(x, imp_dtype(x, 0), v); }
static ValueId add(Import *x, ValueId a, ValueId b) { return imp_op2(x, OP_ADD, a, b); }
static ValueId mul(Import *x, ValueId a, ValueId b) { return imp_op2(x, OP_MUL, a, b); }
static ValueId max(Import *x, ValueId a, ValueId b) { return imp_op2(x, OP_MAX, a, b); }
static ValueId min(Import *x, ValueId a, ValueId b) { return imp_op2(x, OP_MIN, a, b); }

/* below 0: `negative`, else x */
static ValueId bent(Import *x, ValueId negative) {
  return imp_op3(x, OP_WHERE, imp_op2(x, OP_LT, x->in[0], number(x, 0)), negative, x->in[0]);
}

bool import_leaky_relu(Import *x) {
  imp_set(x, 0, bent(x, mul(x, x->in[0], number(x, imp_float(x, "alpha", 0.01)))));
  return true;
}

/* Until opset 6 the slope is one number per channel (axis 1), without the axes behind it. */
bool import_prelu(Import *x) {
  ValueId slope = x->in[1];
  int rank = imp_rank(x, 0);
  if (x->opset < 7 && imp_rank(x, 1) == 1 && rank > 2) {
    Dim shape[MAX_RANK];
    for (int k = 0; k < rank - 1; k++) shape[k] = k ? DIM(1) : imp_type(x, 1)->dims[0];
    slope = imp_reshape(x, slope, shape, rank - 1);
  }
  imp_set(x, 0, bent(x, mul(x, x->in[0], slope)));
  return true;
}

/* alpha * (exp(x) - 1) */
bool import_elu(Import *x) {
  imp_set(x, 0, bent(x, mul(x, imp_op1(x, OP_EXPM1, x->in[0]), number(x, imp_float(x, "alpha", 1)))));
  return true;
}

bool import_selu(Import *x) {
  double alpha = imp_float(x, "alpha", x->opset < 6 ? 1.6732 : 1.67326319217681884765625);
  double gamma = imp_float(x, "gamma", x->opset < 6 ? 1.0507 : 1.05070102214813232421875);
  imp_set(x, 0, mul(x, bent(x, mul(x, imp_op1(x, OP_EXPM1, x->in[0]), number(x, alpha))), number(x, gamma)));
  return true;
}

/* alpha * (exp(x / alpha) - 1) */
bool import_celu(Import *x) {
  ValueId alpha = number(x, imp_float(x, "alpha", 1));
  imp_set(x, 0, bent(x, mul(x, imp_op1(x, OP_EXPM1, imp_op2(x, OP_DIV, x->in[0], alpha)), alpha)));
  return true;
}

bool import_thresholded_relu(Import *x) {
  ValueId above = imp_op2(x, OP_GT, x->in[0], number(x, imp_float(x, "alpha", 1)));
  imp_set(x, 0, imp_op3(x, OP_WHERE, above, x->in[0], number(x, 0)));
  return true;
}

/* max(0, min(1, alpha * x + beta)) */
static ValueId hard_sigmoid(Import *x, double alpha, double beta) {
  ValueId line = add(x, mul(x, x->in[0], number(x, alpha)), number(x, beta));
  return max(x, min(x, line, number(x, 1)), number(x, 0));
}

bool import_hard_sigmoid(Import *x) {
  imp_set(x, 0, hard_sigmoid(x, imp_float(x, "alpha", 0.2), imp_float(x, "beta", 0.5)));
  return true;
}

bool import_hard_swish(Import *x) {
  imp_set(x, 0, mul(x, x->in[0], hard_sigmoid(x, 1.0 / 6, 0.5)));
  return true;
}

/* x * sigmoid(alpha * x) */
bool import_swish(Import *x) {
  double alpha = imp_float(x, "alpha", 1);
  imp_set(x, 0, alpha == 1 ? imp_op1(x, OP_SILU, x->in[0])
                           : mul(x, x->in[0], imp_op1(x, OP_SIGMOID, mul(x, x->in[0], number(x, alpha)))));
  return true;
}

bool import_softsign(Import *x) {
  imp_set(x, 0, imp_op2(x, OP_DIV, x->in[0], add(x, imp_op1(x, OP_ABS, x->in[0]), number(x, 1))));
  return true;
}

/* x < -lambd: x + bias;  x > lambd: x - bias;  else 0. Integers are compared as numbers, so -lambd may not fit:
 * the comparison is made in floats. */
bool import_shrink(Import *x) {
  double lambd = imp_float(x, "lambd", 0.5), bias = imp_float(x, "bias", 0);
  DType t = imp_dtype(x, 0), wide = dtype_is_float(t) ? t : DT_F32;
  ValueId v = imp_cast(x, x->in[0], wide), b = imp_scalar(x, wide, bias);
  ValueId low = imp_op2(x, OP_LT, v, imp_scalar(x, wide, -lambd)),
          high = imp_op2(x, OP_GT, v, imp_scalar(x, wide, lambd));
  ValueId inner = imp_op3(x, OP_WHERE, high, imp_op2(x, OP_SUB, v, b), imp_scalar(x, wide, 0));
  imp_set(x, 0, imp_cast(x, imp_op3(x, OP_WHERE, low, add(x, v, b), inner), t));
  return true;
}

bool import_gelu(Import *x) {
  const char *how = imp_str(x, "approximate", "none");
  bool tanh_form = !strcmp(how, "tanh");
  if (!tanh_form && strcmp(how, "none"))
    return imp_fail(x, "unsupported", "approximate '%s'; 'none' and 'tanh' are known", how);
  imp_set(x, 0, imp_op1(x, tanh_form ? OP_GELU_TANH : OP_GELU, x->in[0]));
  return true;
}

/* min(max(x, low), high): where low > high, high wins. Bounds are attributes until opset 10, then inputs. */
bool import_clip(Import *x) {
  ValueId v = x->in[0];
  bool inputs = x->opset >= 11;
  if (inputs ? imp_present(x, 1) : imp_has(x, "min"))
    v = max(x, v, inputs ? x->in[1] : number(x, imp_float(x, "min", 0)));
  if (inputs ? imp_present(x, 2) : imp_has(x, "max"))
    v = min(x, v, inputs ? x->in[2] : number(x, imp_float(x, "max", 0)));
  imp_set(x, 0, v);
  return true;
}

/* Inference: the identity, and a mask of ones (of x's type until opset 9, then bool). A model that drops while it
 * runs is one in training mode; that is the trainer's own business, not an import. */
bool import_dropout(Import *x) {
  Type t = *imp_type(x, 0);
  if (imp_present(x, 2)) {
    const Tensor *training = imp_constant(x, 2), *ratio = imp_constant(x, 1);
    if (!training) return imp_fail(x, "unsupported", "training_mode exists only at run time");
    bool drops = !imp_present(x, 1) || !ratio || tensor_get(ratio, 0) != 0;
    if (tensor_get(training, 0) != 0 && drops)
      return imp_fail(x, "unsupported", "is in training mode; export the model for inference");
  }
  imp_set(x, 0, x->in[0]);
  if (imp_wants(x, 1))
    imp_set(x, 1, imp_expand(x, imp_scalar(x, x->opset < 10 ? t.dtype : DT_BOOL, 1), t.dims, t.rank));
  return true;
}
