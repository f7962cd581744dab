/* See recurrent.h. The activations are those of ONNX's RNN, GRU and LSTM, with its default alpha and beta. */
#include "ir/recurrent.h"
#include "ir/ops.h"
#include <math.h>
#include <string.h>
#include <strings.h>

static const struct { const char *name; double alpha, beta; } activations[ACT_COUNT] = {
  [ACT_TANH] = {"tanh", 0, 0},
  [ACT_SIGMOID] = {"sigmoid", 0, 0},
  [ACT_RELU] = {"relu", 0, 0},
  [ACT_AFFINE] = {"affine", 1, 0},
  [ACT_LEAKY_RELU] = {"leakyrelu", 0.01, 0},
  [ACT_THRESHOLDED_RELU] = {"thresholdedrelu", 1, 0},
  [ACT_SCALED_TANH] = {"scaledtanh", 1, 1},
  [ACT_HARD_SIGMOID] = {"hardsigmoid", 0.2, 0.5},
  [ACT_ELU] = {"elu", 1, 0},
  [ACT_SOFTSIGN] = {"softsign", 0, 0},
  [ACT_SOFTPLUS] = {"softplus", 0, 0},
};

bool activation_find(const char *name, ActivationKind *kind) {
  for (int k = 0; name && k < ACT_COUNT; k++)
    if (!strcasecmp(activations[k].name, name)) {
      *kind = (ActivationKind)k;
      return true;
    }
  return false;
}

double activation_value(const Activation *f, double x) {
  switch (f->kind) {
  case ACT_TANH:             return tanh(x);
  case ACT_SIGMOID:          return scalar_eval_float(S_SIGMOID, x, 0, 0);
  case ACT_RELU:             return scalar_eval_float(S_RELU, x, 0, 0);
  case ACT_AFFINE:           return f->alpha * x + f->beta;
  case ACT_LEAKY_RELU:       return x < 0 ? f->alpha * x : x;
  case ACT_THRESHOLDED_RELU: return x > f->alpha ? x : 0;
  case ACT_SCALED_TANH:      return f->alpha * tanh(f->beta * x);
  case ACT_HARD_SIGMOID:     return fmin(1, fmax(0, f->alpha * x + f->beta));
  case ACT_ELU:              return x < 0 ? f->alpha * expm1(x) : x;
  case ACT_SOFTSIGN:         return x / (1 + fabs(x));
  case ACT_SOFTPLUS:         return scalar_eval_float(S_SOFTPLUS, x, 0, 0);
  case ACT_COUNT:            break;
  }
  return 0;
}

double activation_slope(const Activation *f, double x) {
  double y = activation_value(f, x), t;
  switch (f->kind) {
  case ACT_TANH:             return 1 - y * y;
  case ACT_SIGMOID:          return y * (1 - y);
  case ACT_RELU:             return x > 0;
  case ACT_AFFINE:           return f->alpha;
  case ACT_LEAKY_RELU:       return x < 0 ? f->alpha : 1;
  case ACT_THRESHOLDED_RELU: return x > f->alpha;
  case ACT_SCALED_TANH:      t = tanh(f->beta * x); return f->alpha * f->beta * (1 - t * t);
  case ACT_HARD_SIGMOID:     return 0 < y && y < 1 ? f->alpha : 0;
  case ACT_ELU:              return x < 0 ? f->alpha * exp(x) : 1;
  case ACT_SOFTSIGN:         return (1 - fabs(y)) * (1 - fabs(y));
  case ACT_SOFTPLUS:         return scalar_eval_float(S_SIGMOID, x, 0, 0);
  case ACT_COUNT:            break;
  }
  return 0;
}

int recurrent_gates(const Node *n) {
  return n->op == OP_LSTM || n->op == OP_LSTM_GRAD ? 4 : n->op == OP_GRU || n->op == OP_GRU_GRAD ? 3 : 1;
}

int recurrent_activations(const Node *n) { return recurrent_gates(n) == 4 ? 3 : recurrent_gates(n) == 3 ? 2 : 1; }
int recurrent_directions(const Node *n) { return strcmp(node_str(n, "direction", ""), "bidirectional") ? 1 : 2; }

Activation recurrent_activation(const Node *n, int d, int which) {
  const Attr *names = node_attr(n, "activations"), *alpha = node_attr(n, "alpha"), *beta = node_attr(n, "beta");
  int k = d * recurrent_activations(n) + which;
  ActivationKind kind = which == 0 && recurrent_gates(n) > 1 ? ACT_SIGMOID : ACT_TANH;
  if (names && k < names->n) activation_find(names->strs[k], &kind);           // inference has checked them
  Activation f = {kind, activations[kind].alpha, activations[kind].beta};
  if (alpha && k < alpha->n) f.alpha = alpha->floats[k];
  if (beta && k < beta->n) f.beta = beta->floats[k];
  return f;
}
