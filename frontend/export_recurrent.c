/* LSTM, GRU, RNN: lathe's rows are ONNX's, but for the way activations and their numbers are listed. */
#include "frontend/export.h"
#include "ir/recurrent.h"

static const struct { const char *name; bool alpha, beta; } activations[ACT_COUNT] = {
  [ACT_TANH] = {"Tanh", false, false},           [ACT_SIGMOID] = {"Sigmoid", false, false},
  [ACT_RELU] = {"Relu", false, false},           [ACT_AFFINE] = {"Affine", true, true},
  [ACT_LEAKY_RELU] = {"LeakyRelu", true, false}, [ACT_THRESHOLDED_RELU] = {"ThresholdedRelu", true, false},
  [ACT_SCALED_TANH] = {"ScaledTanh", true, true}, [ACT_HARD_SIGMOID] = {"HardSigmoid", true, true},
  [ACT_ELU] = {"Elu", true, false},              [ACT_SOFTSIGN] = {"Softsign", false, false},
  [ACT_SOFTPLUS] = {"Softplus", false, false},
};

/* Left out where they are the defaults. Alphas and betas stand in the order of the activations that take one. */
static void activation_attributes(Export *x) {
  int per = recurrent_activations(x->n), n = 0, na = 0, nb = 0;
  const char *name[6];
  double alpha[6], beta[6];
  bool dflt = true;
  for (int d = 0; d < recurrent_directions(x->n); d++)
    for (int k = 0; k < per; k++) {
      Activation f = recurrent_activation(x->n, d, k);
      dflt &= f.kind == (per > 1 && k == 0 ? ACT_SIGMOID : ACT_TANH);
      name[n++] = activations[f.kind].name;
      if (activations[f.kind].alpha) alpha[na++] = f.alpha;
      if (activations[f.kind].beta) beta[nb++] = f.beta;
    }
  if (dflt) return;
  exp_str_list(x, "activations", name, n);
  if (na) exp_float_list(x, "activation_alpha", alpha, na);
  if (nb) exp_float_list(x, "activation_beta", beta, nb);
}

bool export_recurrent(Export *x) {
  bool lstm = x->n->op == OP_LSTM;
  for (int k = lstm ? 3 : 2; k < x->n->nout; k++)
    if (x->n->out[k]) return exp_fail(x, "it has outputs for its gradient, which belongs to a training step");
  bool ok = exp_direct(x, lstm ? "LSTM" : x->n->op == OP_GRU ? "GRU" : "RNN");
  exp_int(x, "hidden_size", node_int(x->n, "hidden", 0));
  exp_str(x, "direction", node_str(x->n, "direction", "forward"));
  activation_attributes(x);
  double clip = node_float(x->n, "clip", 0);
  if (clip > 0) exp_float(x, "clip", clip);
  if (lstm && node_int(x->n, "input_forget", 0)) exp_int(x, "input_forget", 1);
  if (x->n->op == OP_GRU) exp_int(x, "linear_before_reset", node_int(x->n, "linear_before_reset", 0));
  return ok;
}
