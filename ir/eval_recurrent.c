/* lstm, gru, rnn as ONNX defines them. Shapes:
 *   x [T,B,I]  w [D,G*H,I]  r [D,G*H,H]  b [D,2*G*H]: of w, then of r  lens i32[B]  h0, c0 [D,B,H]  p [D,3*H]: i o f
 *   y [T,D,B,H]  h, c [D,B,H]: after the last step of each sequence; y is 0 beyond its end
 * D is 2 for "bidirectional"; the second direction (and "reverse") starts at the end of each sequence.
 * activations: 3, 2 or 1 names per direction, alpha and beta one number for each, absent: the defaults below. */
#include "ir/eval_kit.h"
#include <strings.h>

typedef struct Activation { const char *name; int kind; double alpha, beta; } Activation;

enum { A_TANH, A_SIGMOID, A_RELU, A_AFFINE, A_LEAKY, A_THRESHOLD, A_SCALED_TANH, A_HARD_SIGMOID, A_ELU, A_SOFTSIGN, A_SOFTPLUS };

static const Activation activations[] = {
  {"tanh", A_TANH, 0, 0}, {"sigmoid", A_SIGMOID, 0, 0}, {"relu", A_RELU, 0, 0}, {"affine", A_AFFINE, 1, 0},
  {"leakyrelu", A_LEAKY, 0.01, 0}, {"thresholdedrelu", A_THRESHOLD, 1, 0}, {"scaledtanh", A_SCALED_TANH, 1, 1},
  {"hardsigmoid", A_HARD_SIGMOID, 0.2, 0.5}, {"elu", A_ELU, 1, 0}, {"softsign", A_SOFTSIGN, 0, 0}, {"softplus", A_SOFTPLUS, 0, 0},
};

static double activate(const Activation *f, double x) {
  switch (f->kind) {
  case A_TANH:         return tanh(x);
  case A_SIGMOID:      return scalar_eval_float(S_SIGMOID, x, 0, 0);
  case A_RELU:         return scalar_eval_float(S_RELU, x, 0, 0);
  case A_AFFINE:       return f->alpha * x + f->beta;
  case A_LEAKY:        return x < 0 ? f->alpha * x : x;
  case A_THRESHOLD:    return x > f->alpha ? x : 0;
  case A_SCALED_TANH:  return f->alpha * tanh(f->beta * x);
  case A_HARD_SIGMOID: return fmin(1, fmax(0, f->alpha * x + f->beta));
  case A_ELU:          return x < 0 ? f->alpha * expm1(x) : x;
  case A_SOFTSIGN:     return x / (1 + fabs(x));
  default:             return scalar_eval_float(S_SOFTPLUS, x, 0, 0);
  }
}

typedef struct Cell Cell;
typedef void (*StepFn)(const Cell *c, int64_t d, const double *x, double *h, double *cell, double *tmp);

struct Cell {
  int64_t T, B, I, H, D, G;             // G gates
  double *w, *r, *b, *p;                // b, p: NULL when absent
  Activation f[6];                      // D * (number per direction)
  int per_direction;
  double clip;                          // 0: none
  bool input_forget, linear_before_reset;
};

static bool read_activations(Eval *e, const Node *n, Cell *c, const char *const *dflt) {
  const Attr *names = node_attr(n, "activations"), *alpha = node_attr(n, "alpha"), *beta = node_attr(n, "beta");
  for (int k = 0; k < (int)c->D * c->per_direction; k++) {
    const char *name = names && k < names->n ? names->strs[k] : dflt[k % c->per_direction];
    const Activation *found = NULL;
    for (size_t a = 0; a < sizeof activations / sizeof *activations; a++)
      if (!strcasecmp(activations[a].name, name)) found = &activations[a];
    if (!found) return eval_fail(e, n, "unknown activation '%s'", name);
    c->f[k] = *found;
    if (alpha && k < alpha->n) c->f[k].alpha = alpha->floats[k];
    if (beta && k < beta->n) c->f[k].beta = beta->floats[k];
  }
  return true;
}

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
static void rnn_step(const Cell *c, int64_t d, const double *x, double *h, double *cell, double *tmp) {
  (void)cell;
  for (int64_t j = 0; j < c->H; j++)
    tmp[j] = activate(&c->f[d], clipped(c, from_input(c, d, j, x) + from_state(c, d, j, h)));
  memcpy(h, tmp, sizeof *h * (size_t)c->H);
}

/* z, r = f(…)   h~ = g(Wh x + Rh (r * h))  or, linear_before_reset, g(Wh x + r * (Rh h))   h' = (1 - z) h~ + z h */
static void gru_step(const Cell *c, int64_t d, const double *x, double *h, double *cell, double *tmp) {
  (void)cell;
  const Activation *f = &c->f[2 * d], *g = f + 1;
  int64_t H = c->H;
  double *z = tmp, *r = tmp + H, *rh = tmp + 2 * H, *next = tmp + 3 * H;
  for (int64_t j = 0; j < H; j++) {
    z[j] = activate(f, clipped(c, from_input(c, d, j, x) + from_state(c, d, j, h)));
    r[j] = activate(f, clipped(c, from_input(c, d, H + j, x) + from_state(c, d, H + j, h)));
  }
  for (int64_t j = 0; j < H; j++) rh[j] = r[j] * h[j];
  for (int64_t j = 0; j < H; j++) {
    double recurrent = c->linear_before_reset ? r[j] * from_state(c, d, 2 * H + j, h) : from_state(c, d, 2 * H + j, rh);
    double candidate = activate(g, clipped(c, from_input(c, d, 2 * H + j, x) + recurrent));
    next[j] = (1 - z[j]) * candidate + z[j] * h[j];
  }
  memcpy(h, next, sizeof *h * (size_t)H);
}

/* i, f = f(… + p * c)   c' = f * c + i * g(…)   o = f(… + p * c')   h' = o * h(c') */
static void lstm_step(const Cell *c, int64_t d, const double *x, double *h, double *cell, double *tmp) {
  const Activation *f = &c->f[3 * d], *g = f + 1, *q = f + 2;
  int64_t H = c->H;
  const double *p = c->p ? c->p + d * 3 * H : NULL;
  for (int64_t j = 0; j < H; j++) {
    double gate[4];                                     // i o f c
    for (int k = 0; k < 4; k++) gate[k] = from_input(c, d, k * H + j, x) + from_state(c, d, k * H + j, h);
    double i = activate(f, clipped(c, gate[0] + (p ? p[j] * cell[j] : 0)));
    double forget = c->input_forget ? 1 - i : activate(f, clipped(c, gate[2] + (p ? p[2 * H + j] * cell[j] : 0)));
    cell[j] = forget * cell[j] + i * activate(g, clipped(c, gate[3]));
    double o = activate(f, clipped(c, gate[1] + (p ? p[H + j] * cell[j] : 0)));
    tmp[j] = o * activate(q, cell[j]);
  }
  memcpy(h, tmp, sizeof *h * (size_t)H);
}

static double *optional(Arena *a, const Node *n, const Tensor *const *in, int k) {
  return k < n->nin && in[k] ? load_doubles(a, in[k]) : NULL;
}

static bool recurrent(Eval *e, const Node *n, const Tensor *const *in, Tensor **out, int gates, StepFn step,
                      int per_direction, const char *const *dflt) {
  const char *direction = node_str(n, "direction", "forward");
  Cell c = {.T = in[0]->dims[0], .B = in[0]->dims[1], .I = in[0]->dims[2], .H = in[2]->dims[2], .D = in[1]->dims[0],
            .G = gates, .per_direction = per_direction, .clip = node_float(n, "clip", 0),
            .input_forget = node_int(n, "input_forget", 0) != 0,
            .linear_before_reset = node_int(n, "linear_before_reset", 0) != 0};
  if (c.D != (strcmp(direction, "bidirectional") ? 1 : 2)) return eval_fail(e, n, "%s with %lld directions", direction, (long long)c.D);
  if (!read_activations(e, n, &c, dflt)) return false;
  Arena a = {0};
  double *x = load_doubles(&a, in[0]), *h0 = optional(&a, n, in, 5), *c0 = optional(&a, n, in, 6), *tmp = NEW_N(&a, double, 4 * c.H);
  c.w = load_doubles(&a, in[1]); c.r = load_doubles(&a, in[2]);
  c.b = optional(&a, n, in, 3); c.p = optional(&a, n, in, 7);
  double *y = NEW_N(&a, double, c.T * c.D * c.B * c.H + 1), *h = NEW_N(&a, double, c.D * c.B * c.H + 1), *cell = NEW_N(&a, double, c.D * c.B * c.H + 1);
  for (int64_t d = 0; d < c.D; d++)
    for (int64_t b = 0; b < c.B; b++) {
      int64_t state = (d * c.B + b) * c.H, len = n->nin > 4 && in[4] ? tensor_get_int(in[4], b) : c.T;
      if (len < 0 || len > c.T) { arena_free(&a); return eval_fail(e, n, "sequence length %lld of %lld steps", (long long)len, (long long)c.T); }
      if (h0) memcpy(h + state, h0 + state, sizeof *h * (size_t)c.H);
      if (c0) memcpy(cell + state, c0 + state, sizeof *h * (size_t)c.H);
      bool backwards = d == 1 || direction[0] == 'r';
      for (int64_t s = 0; s < len; s++) {
        int64_t t = backwards ? len - 1 - s : s;
        step(&c, d, x + (t * c.B + b) * c.I, h + state, cell + state, tmp);
        memcpy(y + ((t * c.D + d) * c.B + b) * c.H, h + state, sizeof *h * (size_t)c.H);
      }
    }
  double *results[3] = {y, h, cell};
  for (int k = 0; k < n->nout && k < 3; k++)
    if (n->out[k]) store_doubles(out[k], results[k]);
  arena_free(&a);
  return true;
}

bool eval_lstm(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return recurrent(e, n, in, out, 4, lstm_step, 3, (const char *const[]){"sigmoid", "tanh", "tanh"});
}

bool eval_gru(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return recurrent(e, n, in, out, 3, gru_step, 2, (const char *const[]){"sigmoid", "tanh"});
}

bool eval_rnn(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return recurrent(e, n, in, out, 1, rnn_step, 1, (const char *const[]){"tanh"});
}
