/* See random_net.h. A row per layer of each kind of value; x is the value at work, its sizes are in Shape. */
#include "tests/tools/random_net.h"
#include <string.h>

typedef enum { VECTOR, IMAGE, SEQUENCE } Kind;
typedef struct Shape { Kind kind; int c, h, w; } Shape;      /* [N, c]; [N, c, h, w]; [N, h, c] */
typedef struct Net { Text *t; uint64_t *r; Shape s; int tied; } Net;

static unsigned draw(uint64_t *r, unsigned n) {
  *r = *r * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(*r >> 33) % n;
}
static const char *pick(uint64_t *r, const char *const *of, int n) { return of[draw(r, (unsigned)n)]; }
/* One draw: two of them in one call's arguments would come in the compiler's order. */
#define PICK(r, ...) pick(r, (const char *const[]){__VA_ARGS__}, \
                          sizeof (const char *const[]){__VA_ARGS__} / sizeof (char *))

static int width(Net *n) { return (int[]){3, 4, 5, 8, 11, 16}[draw(n->r, 6)]; }

/* ---- layers of every kind of value: the last axis, or the channels ---- */

static void activation(Net *n) {
  const char *f = PICK(n->r, "relu", "tanh", "gelu", "silu", "sigmoid", "softplus", "leaky_relu", "mish", "elu");
  text_printf(n->t, "    x = %s(x)\n", f);
}
static void dropped(Net *n) { text_printf(n->t, "    x = dropout(x, 0.%u)\n", 1 + draw(n->r, 5)); }
static void scaled(Net *n) {
  if (n->s.kind == IMAGE) text_printf(n->t, "    x = x * parameter([%d, 1, 1], init=\"normal(1)\")\n", n->s.c);
  else text_printf(n->t, "    x = x * parameter([%d], init=\"normal(1)\") + parameter([%d])\n", n->s.c, n->s.c);
}

/* ---- vectors and sequences ---- */

static void dense(Net *n) {
  n->s.c = width(n);
  text_printf(n->t, "    x = dense(x, %d%s)\n", n->s.c, PICK(n->r, "", "", ", bias=false"));
}
static void residual(Net *n) {
  text_printf(n->t, "    x = x + %s(dense(x, %d))\n", PICK(n->r, "tanh", "gelu", "relu"), n->s.c);
}
static void norm(Net *n) { text_printf(n->t, "    x = %s(x)\n", PICK(n->r, "layer_norm", "rms_norm")); }
/* One tensor twice: its gradient comes from two places, and it is read after one of them is known. */
static void tied(Net *n) {
  int k = ++n->tied;
  text_printf(n->t, "    w%d = parameter([%d, %d], init=\"normal(0.4)\")\n", k, n->s.c, width(n));
  text_printf(n->t, "    x = x + tanh(x @ w%d) @ transpose(w%d)\n", k, k);
}

/* ---- vectors ---- */

static void batch_norm(Net *n) {
  text_printf(n->t, "    x = batch_norm(x%s)\n", PICK(n->r, ", eps=0.01", ", eps=0.01, momentum=0.3"));
}

/* ---- images ---- */

static int smaller(int size, int kernel, int stride, int pad) { return (size + 2 * pad - kernel) / stride + 1; }

static void conv(Net *n) {
  int k = 1 + (int)draw(n->r, 3), stride = 1 + (int)draw(n->r, 2), pad = (int)draw(n->r, (unsigned)k), c = width(n);
  if (smaller(n->s.h, k, stride, pad) < 2 || smaller(n->s.w, k, stride, pad) < 2) return;
  const char *bias = PICK(n->r, "", ", bias=false");
  text_printf(n->t, "    x = conv(x, %d, kernel=%d, stride=%d, pad=%d%s)\n", c, k, stride, pad, bias);
  n->s = (Shape){IMAGE, c, smaller(n->s.h, k, stride, pad), smaller(n->s.w, k, stride, pad)};
}
static void depthwise(Net *n) {
  text_printf(n->t, "    x = conv(x, %d, kernel=3, pad=1, groups=%d)\n", n->s.c, n->s.c);
}
static void conv_residual(Net *n) {
  text_printf(n->t, "    x = x + relu(conv(x, %d, kernel=3, pad=\"same\"))\n", n->s.c);
}
static void grown(Net *n) {
  if (n->s.h > 8 || n->s.w > 8) return;
  n->s.c = width(n);
  text_printf(n->t, "    x = conv_transpose(x, %d, kernel=4, stride=2, pad=1)\n", n->s.c);
  n->s.h *= 2;
  n->s.w *= 2;
}
static void pool(Net *n) {
  if (n->s.h < 4 || n->s.w < 4) return;
  text_printf(n->t, "    x = %s(x, 2)\n", PICK(n->r, "max_pool", "avg_pool"));
  n->s.h /= 2;
  n->s.w /= 2;
}
static void group_norm(Net *n) { text_printf(n->t, "    x = group_norm(x, %d)\n", n->s.c % 2 ? 1 : 2); }

/* ---- sequences ---- */

static void recurrent(Net *n) {
  int h = 2 + (int)draw(n->r, 7), both = draw(n->r, 4) == 0, layers = 1 + (int)draw(n->r, 2);
  const char *cell = PICK(n->r, "lstm", "gru", "rnn");
  text_printf(n->t, "    x = %s(x, %d, layers=%d%s)\n", cell, h, layers, both ? ", bidirectional=true" : "");
  n->s.c = h * (1 + both);
}
static void attention(Net *n) {
  int heads = n->s.c % 2 ? 1 : 2;
  const char *before = PICK(n->r, "layer_norm", "tanh"), *causal = PICK(n->r, "", ", causal=true");
  const char *more = PICK(n->r, "", ", dropout=0.2", ", bias=false");
  text_printf(n->t, "    x = x + attention(%s(x), %d%s%s)\n", before, heads, causal, more);
}

/* ---- from kind to kind ---- */

static void to_vector(Net *n) {
  if (n->s.kind == IMAGE && draw(n->r, 2)) text_put(n->t, "    x = global_avg_pool(x)\n");
  else if (n->s.kind == IMAGE) {
    text_put(n->t, "    x = flatten(x)\n");
    n->s.c *= n->s.h * n->s.w;
  } else if (draw(n->r, 2)) text_put(n->t, "    x = mean(x, axes=[1])\n");
  else text_put(n->t, "    x = x[:, -1]\n");
  n->s.kind = VECTOR;
}

typedef void (*Layer)(Net *n);
enum { PER_KIND = 9 };
static const Layer layers[][PER_KIND] = {
  [VECTOR] = {dense, dense, activation, residual, norm, tied, batch_norm, dropped, scaled},
  [IMAGE] = {conv, conv, activation, conv_residual, grown, pool, batch_norm, depthwise, group_norm},
  [SEQUENCE] = {dense, recurrent, activation, residual, norm, tied, attention, dropped, scaled},
};

static void put_shape(Text *t, const Shape *s) {
  if (s->kind == VECTOR) text_printf(t, "%d]", s->c);
  else if (s->kind == IMAGE) text_printf(t, "%d, %d, %d]", s->c, s->h, s->w);
  else text_printf(t, "%d, %d]", s->h, s->c);
}

static void put_net(Net *n, const char *name, bool last) {
  text_printf(n->t, "net %s(x: f32[N, ", name);
  put_shape(n->t, &n->s);
  text_put(n->t, ") {\n");
  for (int k = 0, count = 1 + (int)draw(n->r, 4); k < count; k++) layers[n->s.kind][draw(n->r, PER_KIND)](n);
  if (last && n->s.kind != VECTOR) to_vector(n);
  text_printf(n->t, "    return dense(x, %d)\n}\n", n->s.kind == IMAGE ? n->s.w : 5);
  if (n->s.kind == IMAGE) return;
  n->s.c = 5;
}

static void put_optimizer(Net *n) {
  const char *kind = PICK(n->r, "sgd(0.1, momentum=0.9", "sgd(0.1, momentum=0.8, nesterov=true", "sgd(0.3", "adam(0.05",
                          "adamw(0.05", "rmsprop(0.05", "rmsprop(0.05, momentum=0.9, centered=true",
                          "adagrad(0.1, lr_decay=0.1", "lion(0.01", "sgd(0.2, momentum=0.9, dampening=0.5");
  text_put(n->t, kind);
  text_put(n->t, PICK(n->r, "", "", ", weight_decay=0.1", ", weight_decay=0.1, decay_vectors=0"));
  text_put(n->t, PICK(n->r, "", "", ", clip_norm=0.3", ", clip_value=0.05"));
  text_put(n->t, PICK(n->r, "", "", ", ema=0.9"));
  text_put(n->t, PICK(n->r, "", "", ", accumulate=2"));
  text_put(n->t, ")");
}

void random_net(Text *t, uint64_t seed) {
  uint64_t r = seed * 2654435761u + 12345;
  for (int k = 0; k < 5; k++) draw(&r, 2);
  Net n = {.t = t, .r = &r};
  Shape in[] = {{VECTOR, 7, 0, 0}, {IMAGE, 3, 6, 8}, {SEQUENCE, 6, 5, 0}};
  n.s = in[draw(&r, 3)];
  Shape first = n.s;
  put_net(&n, "f", n.s.kind == IMAGE);
  put_net(&n, "g", true);
  bool labels = draw(&r, 2);
  text_put(t, "data {\n    input: f32[");
  put_shape(t, &first);
  text_printf(t, " = npy(\"x\")\n    target: %s = npy(\"y\")\n", labels ? "i32[]" : "f32[5]");
  text_printf(t, "    batch %u\n}\n", 3 + draw(&r, 4));
  const char *loss = labels ? "cross_entropy" : PICK(&r, "mse", "huber"), *more = PICK(&r, "", " + mean(h * h) * 0.1");
  text_printf(t, "train step {\n    h = f(input)\n    y = g(h)\n    loss = %s(y, target)%s\n", loss, more);
  if (draw(&r, 4) == 0) text_put(t, "    freeze f\n");
  text_printf(t, "    minimize loss%s with ", PICK(&r, "", "", " over g"));
  put_optimizer(&n);
  if (draw(&r, 3) == 0 && !strstr(t->at, "freeze f")) {
    text_put(t, " over f with ");
    put_optimizer(&n);
  }
  text_put(t, "\n}\n");
}
