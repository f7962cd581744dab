/* lstm_grad, gru_grad, rnn_grad: back through time, one sequence after the other. Shapes as in eval_recurrent.c; a
 * gradient is called d + the name of what it belongs to. Per step, last to first, from what the forward step left:
 * dh += dy; the cell's formulas turned around give dgates; dh = R^T dgates, what the step before sees. Beyond the end
 * of a sequence dgates is 0. `clip` cuts what an activation gets: no gradient passes where it did. */
#include "ir/eval_kit.h"
#include "ir/recurrent.h"

typedef struct Back Back;
/* h, c: the states before this step; dh, dc: gradients of those after it, then of those before it. */
typedef void (*BackFn)(const Back *k, int64_t d, int64_t row, const double *h, const double *c, double *dh, double *dc,
                       double *tmp);

struct Back {
  int64_t T, B, H, D, G;
  double *gates, *r, *mid, *y, *p;      // mid: cells of lstm; p, y: NULL when absent
  double *dgates, *drec;
  Activation f[6];
  int per;
  double clip;
  bool input_forget, linear_before_reset;
};

/* Activation `which` of direction d at x, and its slope. */
static double act(const Back *k, int64_t d, int which, double x, double *slope) {
  const Activation *f = &k->f[d * k->per + which];
  bool cut = k->clip > 0 && fabs(x) > k->clip;
  if (cut) x = x < 0 ? -k->clip : k->clip;
  *slope = cut ? 0 : activation_slope(f, x);
  return activation_value(f, x);
}

/* to[i] += sum over `gates` gates from `first` of R[g, i] * dgate[g] */
static void through_r(const Back *k, int64_t d, int64_t first, int64_t gates, const double *dgate, double *to) {
  for (int64_t g = 0; g < gates * k->H; g++)
    for (int64_t i = 0; i < k->H; i++) to[i] += k->r[(d * k->G * k->H + first * k->H + g) * k->H + i] * dgate[g];
}

static void lstm_back(const Back *k, int64_t d, int64_t row, const double *h, const double *c, double *dh, double *dc,
                      double *tmp) {
  (void)h, (void)tmp;
  int64_t H = k->H;
  const double *pre = k->gates + row * 4 * H, *cell = k->mid + row * H, *p = k->p ? k->p + d * 3 * H : NULL;
  double *out = k->dgates + row * 4 * H;
  for (int64_t j = 0; j < H; j++) {
    double si, so, sf = 0, sg;
    double i = act(k, d, 0, pre[j], &si), o = act(k, d, 0, pre[H + j], &so), g = act(k, d, 1, pre[3 * H + j], &sg);
    double f = k->input_forget ? 1 - i : act(k, d, 0, pre[2 * H + j], &sf);
    const Activation *q = &k->f[d * 3 + 2];                     // of the cell, which is not clipped
    double d_o = dh[j] * activation_value(q, cell[j]) * so;
    double d_c = dc[j] + dh[j] * o * activation_slope(q, cell[j]) + (p ? p[H + j] * d_o : 0);
    double d_i = d_c * (g - (k->input_forget ? c[j] : 0)) * si, d_f = d_c * c[j] * sf;
    dc[j] = d_c * f + (p ? p[j] * d_i + p[2 * H + j] * d_f : 0);
    out[j] = d_i, out[H + j] = d_o, out[2 * H + j] = d_f, out[3 * H + j] = d_c * i * sg;
    dh[j] = 0;
  }
  through_r(k, d, 0, 4, out, dh);
}

static void gru_back(const Back *k, int64_t d, int64_t row, const double *h, const double *c, double *dh, double *dc,
                     double *tmp) {
  (void)c, (void)dc;
  int64_t H = k->H;
  const double *pre = k->gates + row * 3 * H, *mid = k->mid + row * H;
  double *out = k->dgates + row * 3 * H, *drec = k->drec + row * H, *drh = tmp, slope;
  memset(drh, 0, sizeof *drh * (size_t)H);
  for (int64_t j = 0; j < H; j++) {
    double z = act(k, d, 0, pre[j], &slope), n;
    out[j] = dh[j] * slope;
    n = act(k, d, 1, pre[2 * H + j], &slope);
    out[j] *= h[j] - n;
    out[2 * H + j] = dh[j] * (1 - z) * slope;
    drec[j] = out[2 * H + j];
    if (k->linear_before_reset) drec[j] *= act(k, d, 0, pre[H + j], &slope);
    dh[j] *= z;
  }
  through_r(k, d, 2, 1, drec, k->linear_before_reset ? dh : drh);
  for (int64_t j = 0; j < H; j++) {
    double r = act(k, d, 0, pre[H + j], &slope);
    out[H + j] = (k->linear_before_reset ? out[2 * H + j] * mid[j] : drh[j] * h[j]) * slope;
    dh[j] += r * drh[j];
  }
  through_r(k, d, 0, 2, out, dh);
}

static void rnn_back(const Back *k, int64_t d, int64_t row, const double *h, const double *c, double *dh, double *dc,
                     double *tmp) {
  (void)h, (void)c, (void)dc, (void)tmp;
  double *out = k->dgates + row * k->H, slope;
  for (int64_t j = 0; j < k->H; j++) {
    act(k, d, 0, k->gates[row * k->H + j], &slope);
    out[j] = dh[j] * slope;
    dh[j] = 0;
  }
  through_r(k, d, 0, 1, out, dh);
}

static double *optional(Arena *a, const Node *n, const Tensor *const *in, int k) {
  return k < n->nin && in[k] ? load_doubles(a, in[k]) : NULL;
}

static double *optional_copy(Arena *a, const Node *n, const Tensor *const *in, int k, int64_t count) {
  double *v = optional(a, n, in, k);
  return v ? v : NEW_N(a, double, count + 1);
}

/* after, first: the value that holds the state after each step, and the initial state (NULL: zeros). */
static void sequence(const Back *k, const Node *n, BackFn back, int64_t d, int64_t b, int64_t len, const double *after,
                     const double *first, const double *dy, double *dh, double *dc, double *tmp) {
  int64_t H = k->H;
  for (int64_t s = len - 1; s >= 0; s--) {
    bool backwards = recurrent_backwards(n, (int)d);
    int64_t t = backwards ? len - 1 - s : s, row = (t * k->D + d) * k->B + b;
    const double *before = first ? first + (d * k->B + b) * H : tmp + H;      // tmp + H: zeros
    if (s) before = after ? after + (row + (backwards ? 1 : -1) * k->D * k->B) * H : NULL;
    for (int64_t j = 0; dy && j < H; j++) dh[j] += dy[row * H + j];
    back(k, d, row, before, before, dh, dc, tmp);
  }
}

static bool recurrent_grad(Eval *e, const Node *n, const Tensor *const *in, Tensor **out, BackFn back) {
  Back k = {.T = in[0]->dims[0], .B = in[0]->dims[2], .H = in[1]->dims[2], .D = in[1]->dims[0], .G = recurrent_gates(n),
            .per = recurrent_activations(n), .clip = node_float(n, "clip", 0),
            .input_forget = node_int(n, "input_forget", 0) != 0,
            .linear_before_reset = node_int(n, "linear_before_reset", 0) != 0};
  bool lstm = k.G == 4, gru = k.G == 3;
  for (int q = 0; q < (int)k.D * k.per; q++) k.f[q] = recurrent_activation(n, q / k.per, q % k.per);
  Arena a = {0};
  int64_t rows = k.T * k.D * k.B, state = k.D * k.B * k.H;
  k.gates = load_doubles(&a, in[0]);
  k.r = load_doubles(&a, in[1]);
  k.mid = optional(&a, n, in, 5);
  k.p = lstm ? optional(&a, n, in, 7) : NULL;
  k.dgates = NEW_N(&a, double, rows * k.G * k.H + 1);
  k.drec = NEW_N(&a, double, rows * k.H + 1);
  double *after = lstm ? k.mid : gru ? optional(&a, n, in, 6) : NULL, *first = optional(&a, n, in, lstm ? 6 : 7);
  double *dy = optional(&a, n, in, 3), *dh = optional_copy(&a, n, in, 4, state),
      *dc = optional_copy(&a, n, in, 8, state);
  double *tmp = NEW_N(&a, double, 2 * k.H);
  for (int64_t d = 0; d < k.D; d++)
    for (int64_t b = 0; b < k.B; b++) {
      int64_t at = (d * k.B + b) * k.H, len = n->nin > 2 && in[2] ? tensor_get_int(in[2], b) : k.T;
      if (len < 0 || len > k.T) {
        arena_free(&a);
        return eval_fail(e, n, "sequence length %lld of %lld steps", (long long)len, (long long)k.T);
      }
      sequence(&k, n, back, d, b, len, after, first, dy, dh + at, dc + at, tmp);
    }
  const double *results[3] = {k.dgates, gru ? k.drec : dh, gru ? dh : dc};
  for (int q = 0; q < n->nout && q < 3; q++)
    if (n->out[q]) store_doubles(out[q], results[q]);
  arena_free(&a);
  return true;
}

bool eval_lstm_grad(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return recurrent_grad(e, n, in, out, lstm_back);
}
bool eval_gru_grad(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return recurrent_grad(e, n, in, out, gru_back);
}
bool eval_rnn_grad(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return recurrent_grad(e, n, in, out, rnn_back);
}
