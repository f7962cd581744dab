/* ONNX LSTM, GRU, RNN -> the canonical rows: time first, one activation name per gate and direction with its
 * alpha and beta in place, hidden size explicit. layout=1 (batch first, version 14) is a transpose around them. */
#include "base/intern.h"
#include "frontend/calc.h"
#include <ctype.h>

/* Activations of the ONNX specification; does it take alpha and beta, and what are they when not given? */
static const struct Activation { const char *name; bool alpha, beta; double a, b; } activations[] = {
  { "Affine", true, true, 1, 0 },       { "Relu", false, false, 0, 0 },         { "LeakyRelu", true, false, 0.01, 0 },
  { "ThresholdedRelu", true, false, 1, 0 }, { "Tanh", false, false, 0, 0 },     { "ScaledTanh", true, true, 1, 1 },
  { "Sigmoid", false, false, 0, 0 },    { "HardSigmoid", true, true, 0.2, 0.5 }, { "Elu", true, false, 1, 0 },
  { "Softsign", false, false, 0, 0 },   { "Softplus", false, false, 0, 0 },
};

static const struct Activation *activation_find(const char *name) {      /* case does not matter in ONNX */
  for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) {
    const char *a = activations[i].name, *b = name;
    while (*a && tolower((unsigned char)*a) == tolower((unsigned char)*b)) a++, b++;
    if (!*a && !*b) return &activations[i];
  }
  return NULL;
}

/* Attributes activations, alpha, beta: alphas are handed out, in order, to the activations that take one. */
static bool activation_attrs(Import *x, const char *const *dflt, int per, int directions, Attr *a) {
  const char *const *names;
  const double *alpha, *beta;
  int n = imp_strs(x, "activations", &names), want = per * directions;
  int na = imp_floats(x, "activation_alpha", &alpha), nb = imp_floats(x, "activation_beta", &beta), ia = 0, ib = 0;
  if (n && n != want && n != per) return imp_fail(x, "shape", "%d activations, %d are needed", n, want);
  const char **name = NEW_N(&x->m->perm, const char *, want);
  double *va = NEW_N(&x->m->perm, double, want), *vb = NEW_N(&x->m->perm, double, want);
  for (int k = 0; k < want; k++) {
    const char *given = n ? names[k % n] : dflt[k % per];
    const struct Activation *f = activation_find(given);
    if (!f) return imp_fail(x, "unsupported", "activation '%s' is not one of ONNX's", given);
    name[k] = f->name;
    va[k] = f->alpha && ia < na ? alpha[ia++] : f->a;
    vb[k] = f->beta && ib < nb ? beta[ib++] : f->b;
  }
  a[0] = (Attr){ .name = intern("activations"), .kind = ATTR_STRS, .n = want, .strs = name };
  a[1] = attr_floats(x->m, "alpha", va, want);
  a[2] = attr_floats(x->m, "beta", vb, want);
  return true;
}

static bool import_recurrent(Import *x, Op op, int outputs, const char *const *dflt, int per, Attr special) {
  static const int time_first[] = { 1, 0, 2 }, y_batch_first[] = { 2, 0, 1, 3 };
  for (int k = 0; k < 3; k++)
    if (!imp_present(x, k) || imp_rank(x, k) != 3)
      return imp_fail(x, "shape", "input %d must be a tensor of rank 3", k);
  const char *direction = imp_str(x, "direction", "forward");
  bool both = !strcmp(direction, "bidirectional"), batch_first = imp_int(x, "layout", 0) != 0;
  if (!both && strcmp(direction, "forward") && strcmp(direction, "reverse"))
    return imp_fail(x, "unsupported", "direction '%s' is not forward, reverse or bidirectional", direction);
  Dim hidden = imp_type(x, 2)->dims[2];
  if (!dim_is_const(hidden)) return imp_fail(x, "shape", "the hidden size (last dim of R) must be known");
  if (imp_has(x, "hidden_size") && imp_int(x, "hidden_size", 0) != hidden.k)
    return imp_fail(x, "shape", "hidden_size=%lld, but R is made for %lld", (long long)imp_int(x, "hidden_size", 0),
                    (long long)hidden.k);

  Attr a[8];
  if (!activation_attrs(x, dflt, per, both ? 2 : 1, a)) return false;
  a[3] = attr_int("hidden", hidden.k);
  a[4] = attr_str("direction", direction);
  a[5] = attr_float("clip", imp_float(x, "clip", 0));
  a[6] = special;
  ValueId in[8] = { 0 }, out[3] = { 0 };
  int nin = x->nin < 8 ? x->nin : 8;
  for (int k = 0; k < nin; k++) in[k] = x->in[k];
  if (in[4]) in[4] = calc_cast(x, in[4], DT_I32);
  if (batch_first) {
    in[0] = calc_transpose(x, in[0], time_first, 3);
    for (int k = 5; k <= 6; k++)
      if (in[k]) in[k] = calc_transpose(x, in[k], time_first, 3);
  }
  while (nin > 3 && !in[nin - 1]) nin--;
  if (!in[0] || !imp_op_multi(x, op, in, nin, a, special.name ? 7 : 6, out, outputs)) return false;
  for (int k = 0; k < outputs; k++) {
    if (k >= x->nout) break;
    ValueId v = out[k];
    if (batch_first) v = k ? calc_transpose(x, v, time_first, 3) : calc_transpose(x, v, y_batch_first, 4);
    if (!calc_set(x, k, v)) return false;
  }
  return true;
}

bool import_lstm(Import *x) {
  static const char *const dflt[] = { "Sigmoid", "Tanh", "Tanh" };
  return import_recurrent(x, OP_LSTM, 3, dflt, 3, attr_int("input_forget", imp_int(x, "input_forget", 0)));
}

bool import_gru(Import *x) {
  static const char *const dflt[] = { "Sigmoid", "Tanh" };
  return import_recurrent(x, OP_GRU, 2, dflt, 2, attr_int("linear_before_reset", imp_int(x, "linear_before_reset", 0)));
}

bool import_rnn(Import *x) {
  static const char *const dflt[] = { "Tanh" };
  return import_recurrent(x, OP_RNN, 2, dflt, 1, (Attr){ 0 });
}
