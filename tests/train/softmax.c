/* A bundle by hand, for tests of the trainer: softmax regression of two numbers to CLASSES classes, trained by gradient
 * descent with momentum, a learning rate that falls to zero at total_steps, and noise on the inputs from the counter: so
 * every part of the state decides the next step. */
#include "runtime/lt_ops.h"
#include "runtime/lt_train.h"
#include <math.h>
#include <string.h>

#ifndef CLASSES
#define CLASSES 3
#endif
enum { N_TENSORS = 7, DIM = 2, BATCH_BOUND = 64, HEAD = 64 + 192 * N_TENSORS, LINE = 64, BYTES = HEAD + LINE * N_TENSORS };
enum { WEIGHT, BIAS, M_WEIGHT, M_BIAS, RANDOM, TOTAL, LR_SCALE };

static const int64_t weight_dims[] = {DIM, CLASSES}, bias_dims[] = {CLASSES}, two[] = {2}, one[] = {1};
#define AT(k) (HEAD + LINE * (k))
static const lt_state_tensor tensor[N_TENSORS] = {
  {"net.weight", "f32", 4, LT_PARAMETER, 2, weight_dims, AT(0), 0}, {"net.bias", "f32", 4, LT_PARAMETER, 1, bias_dims, AT(1), 0},
  {"sgd.m/net.weight", "f32", 4, LT_OPTIMIZER, 2, weight_dims, AT(2), 0}, {"sgd.m/net.bias", "f32", 4, LT_OPTIMIZER, 1, bias_dims, AT(3), 0},
  {"random", "i64", 8, LT_COUNTER, 1, two, AT(4), 0}, {"total_steps", "i64", 8, LT_SETTING, 1, one, AT(5), 0},
  {"lr_scale", "f32", 4, LT_SETTING, 1, one, AT(6), 0},
};

typedef struct { char name[96], dtype[8]; uint32_t role, rank; int64_t dims[8]; uint64_t offset, bytes; } Entry;

static void *at(void *state, int k) { return (char *)state + tensor[k].offset; }

static int init(void *state, void *arena, int64_t *symbols, const void *const *in, void *const *out) {
  uint32_t version[2] = {1, 64}, tensors[1] = {N_TENSORS};
  uint64_t sizes[2] = {1000 + CLASSES, BYTES};
  (void)arena; (void)symbols; (void)out;
  memset(state, 0, BYTES);
  memcpy(state, "LATHESTA", 8);
  memcpy((char *)state + 8, version, 8);
  memcpy((char *)state + 16, sizes, 16);
  memcpy((char *)state + 32, tensors, 4);
  for (int k = 0; k < N_TENSORS; k++) {
    Entry e = {.role = (uint32_t)tensor[k].role, .rank = (uint32_t)tensor[k].rank, .offset = tensor[k].offset,
               .bytes = (uint64_t)tensor[k].elem_bytes};
    strcpy(e.name, tensor[k].name);
    strcpy(e.dtype, tensor[k].dtype);
    for (int i = 0; i < tensor[k].rank; i++) e.bytes *= (uint64_t)(e.dims[i] = tensor[k].dims[i]);
    memcpy((char *)state + 64 + 192 * k, &e, sizeof e);
  }
  lt_random_normal(NULL, at(state, WEIGHT), 0, DIM * CLASSES, *(const int64_t *)in[0], 0, 0.1f, 0);
  return 0;
}

/* p [CLASSES] of one row; returns its loss. */
static float forward(void *state, const float *x, int label, float *p, int *hit) {
  const float *w = at(state, WEIGHT), *b = at(state, BIAS);
  float sum = 0, most = -HUGE_VALF;
  int best = 0;
  for (int c = 0; c < CLASSES; c++) {
    p[c] = b[c];
    for (int d = 0; d < DIM; d++) p[c] += x[d] * w[d * CLASSES + c];
    if (p[c] > most) { most = p[c]; best = c; }
  }
  *hit = best == label;
  for (int c = 0; c < CLASSES; c++) sum += p[c] = expf(p[c] - most);
  for (int c = 0; c < CLASSES; c++) p[c] /= sum;
  return -logf(p[label]);
}

static void update(float *w, float *m, const float *g, int n, float lr) {
  for (int i = 0; i < n; i++) {
    m[i] = 0.9f * m[i] + g[i];
    w[i] -= lr * m[i];
  }
}

static int step(void *state, void *arena, int64_t *symbols, const void *const *in, void *const *out) {
  int64_t n = symbols[0], *random = at(state, RANDOM), *total = at(state, TOTAL);
  float *noise = arena, gw[DIM * CLASSES] = {0}, gb[CLASSES] = {0}, loss = 0, hits = 0;
  lt_random_normal(random, noise, 2, n * DIM, 0, 1, 0.05f, 0);
  for (int64_t i = 0; i < n; i++) {
    float x[DIM], p[CLASSES];
    int label = ((const int32_t *)in[1])[i], hit;
    for (int d = 0; d < DIM; d++) x[d] = ((const float *)in[0])[i * DIM + d] + noise[i * DIM + d];
    loss += forward(state, x, label, p, &hit) / (float)n;
    hits += (float)hit / (float)n;
    p[label] -= 1;
    for (int c = 0; c < CLASSES; c++) {
      gb[c] += p[c] / (float)n;
      for (int d = 0; d < DIM; d++) gw[d * CLASSES + c] += x[d] * p[c] / (float)n;
    }
  }
  float lr = 0.1f * *(float *)at(state, LR_SCALE) * (1 - (float)random[0] / (float)*total);
  update(at(state, WEIGHT), at(state, M_WEIGHT), gw, DIM * CLASSES, lr);
  update(at(state, BIAS), at(state, M_BIAS), gb, CLASSES, lr);
  random[0]++;
  *(float *)out[0] = loss;
  *(float *)out[1] = hits;
  return 0;
}

static int eval(void *state, void *arena, int64_t *symbols, const void *const *in, void *const *out) {
  float loss = 0, hits = 0, p[CLASSES];
  int hit;
  (void)arena;
  for (int64_t i = 0; i < symbols[0]; i++) {
    loss += forward(state, (const float *)in[0] + i * DIM, ((const int32_t *)in[1])[i], p, &hit) / (float)symbols[0];
    hits += (float)hit / (float)symbols[0];
  }
  *(float *)out[0] = loss;
  *(float *)out[1] = hits;
  return 0;
}

static size_t arena_bytes(const int64_t *symbols) { return symbols ? (size_t)symbols[0] * DIM * sizeof(float) : 0; }
static void out_dims(const int64_t *symbols, int port, int64_t *dims) { (void)symbols; (void)port; (void)dims; }
static const char *error(int code) { return code ? "error" : "done"; }

static const int64_t x_dims[] = {-1, DIM}, label_dims[] = {-1}, row_dims[] = {DIM};
static const char *const x_text[] = {"N", "2"}, *const seed_text[] = {"1"};
static const lt_port columns[] = {{"x", "f32", 4, 2, x_dims, x_text}, {"kind", "i32", 4, 1, label_dims, x_text}};
static const lt_port seed[] = {{"seed", "i64", 8, 1, one, seed_text}};
static const lt_port scalars[] = {{"loss", "f32", 4, 0, 0, 0}, {"accuracy", "f32", 4, 0, 0, 0}};
static const lt_symbol rows[] = {{"N", 1, BATCH_BOUND, 0, 0}};

static const lt_function init_table = {"init", LT_INIT, 1, 0, 0, seed, 0, 0, arena_bytes, out_dims, init, error, 0, 0};
static const lt_function step_table = {"step", LT_STEP, 2, 2, 1, columns, scalars, rows, arena_bytes, out_dims, step, error, 0, 0};
static const lt_function eval_table = {"eval", LT_EVAL, 2, 2, 1, columns, scalars, rows, arena_bytes, out_dims, eval, error, 0, 0};
static const lt_function *const functions[] = {&init_table, &step_table, &eval_table};

static const lt_column data[] = {
  {"x", "csv(\"t.csv\", columns=\"a,b\")", "f32", 4, 1, row_dims, 0},
  {"kind", "labels(\"t.csv\", column=\"kind\")", "i32", 4, 0, 0, CLASSES},
};

const lt_bundle lt_bundle_softmax;
const lt_bundle lt_bundle_softmax = {
  LT_BUNDLE_VERSION, "softmax", "c99", "# by hand\n", BYTES, 1000 + CLASSES, N_TENSORS, 3, 2, tensor, functions, data, 32, 10, 1, 0.2, 0,
};
