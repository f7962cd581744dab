/* lstm, gru, rnn as ONNX defines them. Shapes:
 *   x [T,B,I]  w [D,G*H,I]  r [D,G*H,H]  b [D,2*G*H]: of w, then of r  lens i32[B]  h0, c0 [D,B,H]  p [D,3*H]: i o f
 *   y [T,D,B,H]  h, c [D,B,H]: after the last step of each sequence; y is 0 beyond its end
 * D is 2 for "bidirectional"; the second direction (and "reverse") starts at the end of each sequence.
 * activations: 3, 2 or 1 names per direction, alpha and beta one number for each, absent: the defaults below. */
#include "ir/eval_kit.h"
#include "ir/recurrent.h"

/* What a step leaves behind for training, at that step: ops.def says what. */
typedef struct Trace { double *gates, *mid; } Trace;

typedef struct Cell Cell;
typedef void (*StepFn)(const Cell *c, int64_t d, const double *x, double *h, double *cell, double *tmp,
                       const Trace *trace);

struct Cell {
  int64_t T, B, I, H, D, G;             // G gates
  double *w, *r, *b, *p;                // b, p: NULL when absent
  Activation f[6];                      // D * (number per direction)
  double clip;                          // 0: none
  bool input_forget, linear_before_reset;
};

static double clipped(const Cell *c, double v) {
  return c->clip > 0 ? fmin(c->clip, fmax(-c->clip, v)) : v;
}

/* Row `g` of W times x plus its bias; row `g` of R times h plus its bias. */
static double from_input(const Cell *c, int64_t d, int64_t g, const double *x) {
  const double *row = c->w + (d * c->G * c->H + g) * c->I;
  double sum = c->b ? c->b[d * 2 * c->G * c->H + g] : 0;
  for (int64_t i = 0; i < c->I; i++) sum += row[i] * x[i];
  return sum;
}

static double from_state(const Cell *c, int64_t d, int64_t g, const double *h) {
  const double *row = c->r + (d * c->G * c->H + g) * c->H;
  double sum = c->b ? c->b[(d * 2 + 1) * c->G * c->H + g] : 0;
  for (int64_t i = 0; i < c->H; i++) sum += row[i] * h[i];
  return sum;
}

/* h' = f(W x + R h) */
static void rnn_step(const Cell *c, int64_t d, const double *x, double *h, double *cell, double *tmp,
                      const Trace *trace) {
  (void)cell;
  for (int64_t j = 0; j < c->H; j++) {
    trace->gates[j] = from_input(c, d, j, x) + from_state(c, d, j, h);
    tmp[j] = activation_value(&c->f[d], clipped(c, trace->gates[j]));
  }
  memcpy(h, tmp, sizeof *h * (size_t)c->H);
}

/* z, r = f(…)   h~ = g(Wh x + Rh (r * h))  or, linear_before_reset, g(Wh x + r * (Rh h))   h' = (1 - z) h~ + z h */
static void gru_step(const Cell *c, int64_t d, const double *x, double *h, double *cell, double *tmp,
                      const Trace *trace) {
  (void)cell;
  const Activation *f = &c->f[2 * d], *g = f + 1;
  int64_t H = c->H;
  double *z = tmp, *r = tmp + H, *rh = tmp + 2 * H, *next = tmp + 3 * H;
  for (int64_t j = 0; j < H; j++) {
    trace->gates[j] = from_input(c, d, j, x) + from_state(c, d, j, h);
    trace->gates[H + j] = from_input(c, d, H + j, x) + from_state(c, d, H + j, h);
    z[j] = activation_value(f, clipped(c, trace->gates[j]));
    r[j] = activation_value(f, clipped(c, trace->gates[H + j]));
  }
  for (int64_t j = 0; j < H; j++) rh[j] = r[j] * h[j];
  for (int64_t j = 0; j < H; j++) {
    double recurrent = from_state(c, d, 2 * H + j, c->linear_before_reset ? h : rh);
    trace->mid[j] = c->linear_before_reset ? recurrent : rh[j];
    if (c->linear_before_reset) recurrent *= r[j];
    trace->gates[2 * H + j] = from_input(c, d, 2 * H + j, x) + recurrent;
    double candidate = activation_value(g, clipped(c, trace->gates[2 * H + j]));
    next[j] = (1 - z[j]) * candidate + z[j] * h[j];
  }
  memcpy(h, next, sizeof *h * (size_t)H);
}

/* i, f = f(… + p * c)   c' = f * c + i * g(…)   o = f(… + p * c')   h' = o * h(c') */
static void lstm_step(const Cell *c, int64_t d, const double *x, double *h, double *cell, double *tmp,
                      const Trace *trace) {
  const Activation *f = &c->f[3 * d], *g = f + 1, *q = f + 2;
  int64_t H = c->H;
  const double *p = c->p ? c->p + d * 3 * H : NULL;
  for (int64_t j = 0; j < H; j++) {
    double gate[4];                                     // i o f c
    for (int k = 0; k < 4; k++) gate[k] = from_input(c, d, k * H + j, x) + from_state(c, d, k * H + j, h);
    if (p) gate[0] += p[j] * cell[j], gate[2] += p[2 * H + j] * cell[j];
    double i = activation_value(f, clipped(c, gate[0]));
    double forget = c->input_forget ? 1 - i : activation_value(f, clipped(c, gate[2]));
    cell[j] = forget * cell[j] + i * activation_value(g, clipped(c, gate[3]));
    if (p) gate[1] += p[H + j] * cell[j];
    double o = activation_value(f, clipped(c, gate[1]));
    tmp[j] = o * activation_value(q, cell[j]);
    for (int k = 0; k < 4; k++) trace->gates[k * H + j] = gate[k];
    trace->mid[j] = cell[j];
  }
  memcpy(h, tmp, sizeof *h * (size_t)H);
}

static double *optional(Arena *a, const Node *n, const Tensor *const *in, int k) {
  return k < n->nin && in[k] ? load_doubles(a, in[k]) : NULL;
}

static bool recurrent(Eval *e, const Node *n, const Tensor *const *in, Tensor **out, StepFn step) {
  int states = recurrent_gates(n) == 4 ? 2 : 1, per = recurrent_activations(n);
  Cell c = {.T = in[0]->dims[0], .B = in[0]->dims[1], .I = in[0]->dims[2], .H = in[2]->dims[2], .D = in[1]->dims[0],
            .G = recurrent_gates(n), .clip = node_float(n, "clip", 0),
            .input_forget = node_int(n, "input_forget", 0) != 0,
            .linear_before_reset = node_int(n, "linear_before_reset", 0) != 0};
  for (int k = 0; k < (int)c.D * per; k++) c.f[k] = recurrent_activation(n, k / per, k % per);
  Arena a = {0};
  double *x = load_doubles(&a, in[0]), *h0 = optional(&a, n, in, 5), *c0 = optional(&a, n, in, 6),
      *tmp = NEW_N(&a, double, 4 * c.H);
  c.w = load_doubles(&a, in[1]); c.r = load_doubles(&a, in[2]);
  c.b = optional(&a, n, in, 3); c.p = optional(&a, n, in, 7);
  int64_t rows = c.T * c.D * c.B, state = c.D * c.B * c.H;
  double *y = NEW_N(&a, double, rows * c.H + 1), *h = NEW_N(&a, double, state + 1),
      *cell = NEW_N(&a, double, state + 1);
  double *gates = NEW_N(&a, double, rows * c.G * c.H + 1), *mid = NEW_N(&a, double, rows * c.H + 1);
  if (h0) memcpy(h, h0, sizeof *h * (size_t)state);
  if (c0) memcpy(cell, c0, sizeof *h * (size_t)state);
  for (int64_t d = 0; d < c.D; d++)
    for (int64_t b = 0; b < c.B; b++) {
      int64_t at = (d * c.B + b) * c.H, len = n->nin > 4 && in[4] ? tensor_get_int(in[4], b) : c.T;
      if (len < 0 || len > c.T) {
        arena_free(&a);
        return eval_fail(e, n, "sequence length %lld of %lld steps", (long long)len, (long long)c.T);
      }
      for (int64_t s = 0; s < len; s++) {
        int64_t t = recurrent_backwards(n, (int)d) ? len - 1 - s : s, row = (t * c.D + d) * c.B + b;
        step(&c, d, x + (t * c.B + b) * c.I, h + at, cell + at, tmp,
             &(Trace){gates + row * c.G * c.H, mid + row * c.H});
        memcpy(y + row * c.H, h + at, sizeof *h * (size_t)c.H);
      }
    }
  double *results[5] = {y, h, cell};
  results[1 + states] = gates;
  results[2 + states] = mid;
  for (int k = 0; k < n->nout && k < 3 + states; k++)
    if (n->out[k]) store_doubles(out[k], results[k]);
  arena_free(&a);
  return true;
}

bool eval_lstm(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return recurrent(e, n, in, out, lstm_step);
}
bool eval_gru(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return recurrent(e, n, in, out, gru_step);
}
bool eval_rnn(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return recurrent(e, n, in, out, rnn_step);
}
