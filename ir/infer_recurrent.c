/* Inference of recurrent layers. Axes: T steps, B batch, I input size, H hidden size, D directions, G gates.
 *   x [T,B,I]   w [D,G*H,I]   r [D,G*H,H]   b [D,2*G*H]   lens i32[B]   h0, c0 [D,B,H]   p [D,3*H]
 *   y [T,D,B,H]   h, c [D,B,H] */
#include "ir/infer.h"
#include <string.h>
#include <strings.h>

static const char *const activation_names[] = {"Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu",
                                               "ScaledTanh", "HardSigmoid", "Elu", "Softsign", "Softplus"};

/* `per` activations per direction, or none: the defaults. */
static bool check_activations(Infer *x, int directions, int per) {
  const Attr *a = node_attr(x->n, "activations");
  if (a->n && a->n != directions * per) return infer_fail(x, "%d activations, needs %d", a->n, directions * per);
  for (int i = 0; i < a->n; i++) {
    bool known = false;
    for (size_t k = 0; a->strs[i] && k < sizeof activation_names / sizeof *activation_names; k++) {
      known |= !strcasecmp(a->strs[i], activation_names[k]);
    }
    if (!known) return infer_fail(x, "activation '%.60s' is not known", a->strs[i] ? a->strs[i] : "");
  }
  static const char *const parameters[] = {"alpha", "beta"};
  for (int k = 0; k < 2; k++) {
    const Attr *p = node_attr(x->n, parameters[k]);
    if (p->n > directions * per) return infer_fail(x, "%s has %d entries for %d activations", parameters[k], p->n, directions * per);
  }
  return true;
}

static bool infer_recurrent(Infer *x, int gates, int activations) {
  const Type *a = x->in[0];
  int64_t hidden;
  for (int k = 0; k < x->n->nin; k++) {
    if (k == 4) continue;                             // lens
    if (!infer_float_input(x, k) || !infer_same_dtype(x, k)) return false;
  }
  if (a->rank != 3) return infer_fail(x, "input must be [steps, batch, features], has rank %d", a->rank);
  if (!infer_int(x, "hidden", 1, ATTR_BOUND, &hidden) || !infer_choice(x, "direction", "forward reverse bidirectional")) return false;
  int directions = strcmp(node_str(x->n, "direction", ""), "bidirectional") ? 1 : 2;
  if (!check_activations(x, directions, activations)) return false;
  double clip = node_float(x->n, "clip", 0);
  if (!(clip >= 0)) return infer_fail(x, "clip is %g, must not be negative", clip);

  Dim T = a->dims[0], B = a->dims[1], I = a->dims[2], D = DIM(directions), H = DIM(hidden), GH = DIM(gates * hidden);
  if (!infer_input_shape(x, 1, 3, (Dim[]){D, GH, I}, "weight [directions, gates * hidden, features]") ||
      !infer_input_shape(x, 2, 3, (Dim[]){D, GH, H}, "recurrent weight [directions, gates * hidden, hidden]") ||
      !infer_input_shape(x, 3, 2, (Dim[]){D, DIM(2 * gates * hidden)}, "bias [directions, 2 * gates * hidden]") ||
      !infer_input_shape(x, 4, 1, &B, "sequence lengths [batch]") ||
      !infer_input_shape(x, 5, 3, (Dim[]){D, B, H}, "initial state [directions, batch, hidden]") ||
      !infer_input_shape(x, 6, 3, (Dim[]){D, B, H}, "initial cell [directions, batch, hidden]") ||
      !infer_input_shape(x, 7, 2, (Dim[]){D, DIM(3 * hidden)}, "peepholes [directions, 3 * hidden]")) return false;
  const Type *lens = infer_in(x, 4);
  if (lens && lens->dtype != DT_I32) return infer_fail_type(x, "sequence lengths must be i32, are %s", dtype_info[lens->dtype].text);

  x->out[0] = (Type){.dtype = a->dtype, .rank = 4, .dims = {T, D, B, H}};
  for (int k = 1; k < x->n->nout; k++) x->out[k] = (Type){.dtype = a->dtype, .rank = 3, .dims = {D, B, H}};
  return true;
}

bool infer_lstm(Infer *x) {
  int64_t flag;
  return infer_int(x, "input_forget", 0, 1, &flag) && infer_recurrent(x, 4, 3);
}

bool infer_gru(Infer *x) {
  int64_t flag;
  return infer_int(x, "linear_before_reset", 0, 1, &flag) && infer_recurrent(x, 3, 2);
}

bool infer_rnn(Infer *x) { return infer_recurrent(x, 1, 1); }
