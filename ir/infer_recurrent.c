/* Inference of recurrent layers and their gradients. Axes: T steps, B batch, I input size, H hidden size, D directions, G gates.
 *   x [T,B,I]   w [D,G*H,I]   r [D,G*H,H]   b [D,2*G*H]   lens i32[B]   h0, c0 [D,B,H]   p [D,3*H]
 *   y [T,D,B,H]   h, c [D,B,H] */
#include "ir/infer.h"
#include "ir/recurrent.h"

/* `per` activations per direction, or none: the defaults. */
static bool check_activations(Infer *x, int directions, int per) {
  const Attr *a = node_attr(x->n, "activations");
  if (a->n && a->n != directions * per) return infer_fail(x, "%d activations, needs %d", a->n, directions * per);
  for (int i = 0; i < a->n; i++) {
    ActivationKind kind;
    if (!activation_find(a->strs[i], &kind))
      return infer_fail(x, "activation '%.60s' is not known", a->strs[i] ? a->strs[i] : "");
  }
  static const char *const parameters[] = {"alpha", "beta"};
  for (int k = 0; k < 2; k++) {
    const Attr *p = node_attr(x->n, parameters[k]);
    if (p->n > directions * per)
      return infer_fail(x, "%s has %d entries for %d activations", parameters[k], p->n, directions * per);
  }
  return true;
}

/* What all six ops have in common: the attributes. */
static bool check_attributes(Infer *x, int64_t *hidden) {
  if (!infer_int(x, "hidden", 1, ATTR_BOUND, hidden) || !infer_choice(x, "direction", "forward reverse bidirectional"))
    return false;
  if (!check_activations(x, recurrent_directions(x->n), recurrent_activations(x->n))) return false;
  double clip = node_float(x->n, "clip", 0);
  if (!(clip >= 0)) return infer_fail(x, "clip is %g, must not be negative", clip);
  int64_t flag;
  int gates = recurrent_gates(x->n);
  if (gates == 4 && !infer_int(x, "input_forget", 0, 1, &flag)) return false;
  return gates != 3 || infer_int(x, "linear_before_reset", 0, 1, &flag);
}

static bool check_lens(Infer *x, int k, Dim batch) {
  const Type *lens = infer_in(x, k);
  if (!infer_input_shape(x, k, 1, &batch, "sequence lengths [batch]")) return false;
  if (lens && lens->dtype != DT_I32)
    return infer_fail_type(x, "sequence lengths must be i32, are %s", dtype_info[lens->dtype].text);
  return true;
}

static bool check_floats(Infer *x, int lens) {
  for (int k = 0; k < x->n->nin; k++)
    if (k != lens && (!infer_float_input(x, k) || !infer_same_dtype(x, k))) return false;
  return true;
}

/* `states`: h, and c where there is one. `traces`: what training may ask for besides. */
static bool infer_recurrent(Infer *x, int states, int traces) {
  const Type *a = x->in[0];
  int64_t hidden;
  if (!check_floats(x, 4)) return false;
  if (a->rank != 3) return infer_fail(x, "input must be [steps, batch, features], has rank %d", a->rank);
  if (!check_attributes(x, &hidden)) return false;
  if (x->n->nout > 1 + states + traces)
    return infer_fail(x, "%d outputs asked for, there are at most %d", x->n->nout, 1 + states + traces);

  int gates = recurrent_gates(x->n);
  Dim T = a->dims[0], B = a->dims[1], I = a->dims[2], D = DIM(recurrent_directions(x->n)), H = DIM(hidden),
      GH = DIM(gates * hidden);
  if (!infer_input_shape(x, 1, 3, (Dim[]){D, GH, I}, "weight [directions, gates * hidden, features]") ||
      !infer_input_shape(x, 2, 3, (Dim[]){D, GH, H}, "recurrent weight [directions, gates * hidden, hidden]") ||
      !infer_input_shape(x, 3, 2, (Dim[]){D, DIM(2 * gates * hidden)}, "bias [directions, 2 * gates * hidden]") ||
      !check_lens(x, 4, B) ||
      !infer_input_shape(x, 5, 3, (Dim[]){D, B, H}, "initial state [directions, batch, hidden]") ||
      !infer_input_shape(x, 6, 3, (Dim[]){D, B, H}, "initial cell [directions, batch, hidden]") ||
      !infer_input_shape(x, 7, 2, (Dim[]){D, DIM(3 * hidden)}, "peepholes [directions, 3 * hidden]")) return false;

  for (int k = 0; k < x->n->nout; k++) {
    x->out[k] = (Type){.dtype = a->dtype, .rank = 4, .dims = {T, D, B, k == 1 + states ? GH : H}};
    if (k && k <= states) x->out[k] = (Type){.dtype = a->dtype, .rank = 3, .dims = {D, B, H}};
  }
  return true;
}

bool infer_lstm(Infer *x) { return infer_recurrent(x, 2, 2); }
bool infer_gru(Infer *x) { return infer_recurrent(x, 1, 2); }
bool infer_rnn(Infer *x) { return infer_recurrent(x, 1, 1); }

/* ---- gradients ---- */

static bool required(Infer *x, int k, const char *what) {
  return infer_in(x, k) || infer_fail(x, "%s, input %d, is missing", what, k);
}

static bool infer_recurrent_grad(Infer *x) {
  const Type *a = x->in[0];
  int64_t hidden;
  if (!check_floats(x, 2)) return false;
  if (a->rank != 4)
    return infer_fail(x, "gates must be [steps, directions, batch, gates * hidden], have rank %d", a->rank);
  if (!check_attributes(x, &hidden)) return false;
  int gates = recurrent_gates(x->n);
  Dim T = a->dims[0], B = a->dims[2], D = DIM(recurrent_directions(x->n)), H = DIM(hidden), GH = DIM(gates * hidden);
  Dim step[4] = {T, D, B, H}, state[3] = {D, B, H};
  if (!infer_input_shape(x, 0, 4, (Dim[]){T, D, B, GH}, "gates [steps, directions, batch, gates * hidden]") ||
      !infer_input_shape(x, 1, 3, (Dim[]){D, GH, H}, "recurrent weight [directions, gates * hidden, hidden]") ||
      !check_lens(x, 2, B) ||
      !infer_input_shape(x, 3, 4, step, "gradient of y [steps, directions, batch, hidden]") ||
      !infer_input_shape(x, 4, 3, state, "gradient of h [directions, batch, hidden]")) return false;
  if (gates == 4 && (!required(x, 5, "cells") ||
                     !infer_input_shape(x, 5, 4, step, "cells [steps, directions, batch, hidden]") ||
                     !infer_input_shape(x, 6, 3, state, "initial cell [directions, batch, hidden]") ||
                     !infer_input_shape(x, 7, 2, (Dim[]){D, DIM(3 * hidden)}, "peepholes [directions, 3 * hidden]") ||
                     !infer_input_shape(x, 8, 3, state, "gradient of c [directions, batch, hidden]"))) return false;
  if (gates == 3 && (!required(x, 5, "mid") || !required(x, 6, "y") ||
                     !infer_input_shape(x, 5, 4, step, "mid [steps, directions, batch, hidden]") ||
                     !infer_input_shape(x, 6, 4, step, "y [steps, directions, batch, hidden]") ||
                     !infer_input_shape(x, 7, 3, state, "initial state [directions, batch, hidden]"))) return false;
  x->out[0] = *a;
  for (int k = 1; k < x->n->nout; k++) x->out[k] = (Type){.dtype = a->dtype, .rank = 3, .dims = {D, B, H}};
  if (gates == 3) x->out[1] = (Type){.dtype = a->dtype, .rank = 4, .dims = {T, D, B, H}};
  return true;
}

bool infer_lstm_grad(Infer *x) { return infer_recurrent_grad(x); }
bool infer_gru_grad(Infer *x) { return infer_recurrent_grad(x); }
bool infer_rnn_grad(Infer *x) { return infer_recurrent_grad(x); }
