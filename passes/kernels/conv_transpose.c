/* Transposed convolution by phases: outputs whose index has the same remainder r by the stride use the same taps,
 *   o = i*stride + k*dilation - pad   =>   for o = q*stride + r:  i = q + (r + pad - k*dilation) / stride,
 * so each phase is a small convolution from input pixels to every stride-th output pixel, with register tiles:
 * rows are q along the last axis, columns output channels. Taps of a phase are an arithmetic progression.
 * split_pads.c has padded the input so that every i is inside. Weights [C, M, taps…]; groups one after the other, or
 * depthwise: columns are channels of input and output alike, A is a vector. */
#include "passes/conv.h"
#include "passes/kernels/winograd.h"
#include "passes/lower/functions.h"

typedef struct Phase { int64_t r, k0, kstep, taps, shift, shift_step, count; } Phase;   /* of one axis */

/* t first */
typedef struct Phases {
  Tiling t;
  Phase axis[MAX_RANK];
  int spatial;
  int64_t kernel[MAX_RANK], out_channels;
  const float *w;
} Phases;

static Expr *grouped(Tiling *t, Expr *channel, int64_t per_group) {
  return t->g ? ex_add(&t->l->b, ex_mul(&t->l->b, t->g, ex_int(&t->l->b, per_group)), channel) : channel;
}

static Expr *phase_a(Tiling *t, Expr *row, Expr **k, Expr *col) {
  Phases *p = (Phases *)t;
  Builder *b = &t->l->b;
  Expr *j[MAX_RANK];
  j[0] = t->ctx[0];
  j[1] = t->vector_a ? col : grouped(t, k[p->spatial], t->group_in);
  for (int s = 0; s < p->spatial; s++) {
    Expr *q = s == p->spatial - 1 ? row : t->ctx[1 + s];
    j[2 + s] = ex_sub(b, ex_add(b, q, ex_int(b, p->axis[s].shift)), ex_mul(b, k[s], ex_int(b, p->axis[s].shift_step)));
  }
  return lower_read(t->l, t->n->in[0], j);
}

/* w[c, m, taps…]: those of the phase */
static Expr *phase_b(Tiling *t, Expr **k, Expr *col) {
  Phases *p = (Phases *)t;
  Builder *b = &t->l->b;
  Expr *j[MAX_RANK] = {t->vector_a ? col : grouped(t, k[p->spatial], t->group_in), t->vector_a ? ex_int(b, 0) : col};
  for (int s = 0; s < p->spatial; s++)
    j[2 + s] = ex_add(b, ex_int(b, p->axis[s].k0), ex_mul(b, k[s], ex_int(b, p->axis[s].kstep)));
  return lower_read(t->l, t->n->in[1], j);
}

static Expr *phase_start(Tiling *t, Expr *col) {
  if (t->n->nin < 3 || !t->n->in[2]) return NULL;
  col = grouped(t, col, t->group_out);
  return lower_read(t->l, t->n->in[2], &col);
}

static void phase_write(Tiling *t, Expr *row, Expr *col, Expr *acc) {
  Phases *p = (Phases *)t;
  Builder *b = &t->l->b;
  Expr **i = NEW_N(b->arena, Expr *, MAX_RANK);
  i[0] = t->ctx[0];
  i[1] = grouped(t, col, t->group_out);
  for (int s = 0; s < p->spatial; s++) {
    Expr *q = s == p->spatial - 1 ? row : t->ctx[1 + s];
    i[2 + s] = ex_add(b, ex_mul(b, q, ex_dim(b, t->strides->dims[s])), ex_int(b, p->axis[s].r));
  }
  lower_write(t->l, i, acc);
}

/* Taps of axis q that meet more than padding, where a sixteenth or more do not:
 *   lo <= index + shift - k < hi   for the output index of ctx */
static void phase_range(Tiling *t, int q, Expr **from, Expr **to) {
  Phases *p = (Phases *)t;
  Builder *b = &t->l->b;
  int64_t lo, hi, met = 0;
  if (q >= p->spatial - 1 || p->axis[q].shift_step != 1 || !padded_axis(t->l, t->n->in[0], 2 + q, &lo, &hi)) return;
  const Phase *a = &p->axis[q];
  for (int64_t i = 0; i < a->count; i++)
    for (int64_t k = 0; k < a->taps; k++) met += i + a->shift - k >= lo && i + a->shift - k < hi;
  if (met * 16 > a->count * a->taps * 15) return;
  Expr *at = ex_add(b, t->ctx[1 + q], ex_int(b, a->shift));
  *from = let(b, "from", ex_max(b, *from, ex_sub(b, at, ex_int(b, hi - 1))));
  *to = let(b, "to", ex_min(b, *to, ex_sub(b, at, ex_int(b, lo - 1))));
}

static void phase_loops(Tiling *t) {
  Phases *p = (Phases *)t;
  Builder *b = &t->l->b;
  t->ctx[0] = loop_begin(b, "n", ex_int(b, 0), ex_dim(b, t->ty->dims[0]), 1, FOR_PARALLEL);
  for (int s = 0; s < p->spatial - 1; s++)
    t->ctx[1 + s] = loop_begin(b, "y", ex_int(b, 0), ex_int(b, p->axis[s].count), 1, FOR_PARALLEL);
}

static void phase_loops_end(Tiling *t) {
  for (int s = 0; s < ((Phases *)t)->spatial; s++) loop_end(&t->l->b);
}

/* k runs over the phase's taps, then input channels */
static float phase_at(const void *ctx, int64_t k, int64_t col) {
  const Phases *p = ctx;
  int64_t channels = p->t.ksize[p->spatial].k, c = k % channels, at = 0, rest = k / channels, all = 1;
  int64_t tap[MAX_RANK];
  for (int s = p->spatial - 1; s >= 0; s--) {
    tap[s] = p->axis[s].k0 + rest % p->axis[s].taps * p->axis[s].kstep;
    rest /= p->axis[s].taps;
  }
  for (int s = 0; s < p->spatial; s++) { at = at * p->kernel[s] + tap[s]; all *= p->kernel[s]; }
  return p->w[(c * p->out_channels + col) * all + at];
}

static void phase_of(Phases *p, int s, int64_t r, int64_t pad) {
  int64_t stride = p->t.strides->dims[s].k, dil = p->t.dilations->dims[s].k;
  Phase *a = &p->axis[s];
  *a = (Phase){.r = r, .k0 = -1, .kstep = 1};
  for (int64_t k = 0; k < p->kernel[s]; k++) {
    if ((r + pad - k * dil) % stride) continue;
    if (a->k0 < 0) a->k0 = k;
    else if (a->taps == 1) a->kstep = k - a->k0;
    a->taps++;
  }
  if (a->taps) a->shift = (r + pad - a->k0 * dil) / stride;
  a->shift_step = a->kstep * dil / stride;
  a->count = (p->t.ty->dims[2 + s].k - r + stride - 1) / stride;
}

/* Taps that no output of a phase has: the value is the bias. */
static void bias_only(Phases *p) {
  Tiling *t = &p->t;
  Builder *b = &t->l->b;
  phase_loops(t);
  Expr *row = loop_begin(b, "x", ex_int(b, 0), ex_int(b, p->axis[p->spatial - 1].count), 1, FOR_PARALLEL);
  Expr *c = loop_begin(b, "c", ex_int(b, 0), ex_dim(b, t->cols), 1, FOR_PARALLEL_VECTOR);
  Expr *v = phase_start(t, c);
  phase_write(t, row, c, v ? v : ex_const(b, DT_F32, 0));
  loop_end(b);
  loop_end(b);
  phase_loops_end(t);
}

/* Are all inputs of all phases inside x? */
static bool inside(const Phases *p, int s, int64_t size) {
  const Phase *a = &p->axis[s];
  int64_t lowest = a->shift - (a->taps - 1) * a->shift_step, highest = a->count - 1 + a->shift;
  return a->taps == 0 || a->count <= 0 || (lowest >= 0 && highest < size);
}

/* Stride 1, and every input that a tap meets is there: a convolution of the input with the taps in reverse. */
static bool is_filter(const Phases *p) {
  for (int s = 0; s < p->spatial; s++) {
    const Phase *a = &p->axis[s];
    int64_t size = p->t.ta->dims[2 + s].k;
    if (!dim_is(p->t.strides->dims[s], 1) || a->taps != p->kernel[s] || a->shift != a->taps - 1 ||
        size != a->count + a->taps - 1)
      return false;
  }
  return true;
}

static Phases phases_new(Lower *l, const Node *n, bool depthwise) {
  const Type *tx = &value_of(l->m, n->in[0])->type, *tw = &value_of(l->m, n->in[1])->type;
  const Tensor *w = value_of(l->m, n->in[1])->constant;
  int64_t group = node_int(n, "group", 1), in = tw->dims[0].k / group, out = tw->dims[1].k;
  Phases p = {.spatial = tx->rank - 2, .out_channels = out, .w = w ? w->data : NULL};
  p.t = (Tiling){.l = l, .n = n, .cols = depthwise ? tw->dims[0] : tw->dims[1], .a = phase_a, .b = phase_b,
                 .start = phase_start, .write = phase_write, .writes_out = true, .range = phase_range,
                 .outer_begin = phase_loops, .outer_end = phase_loops_end, .ta = tx, .tb = tw,
                 .ty = &value_of(l->m, n->out[0])->type, .strides = node_dims(n, "strides"),
                 .dilations = node_dims(n, "dilations"), .vector_a = depthwise,
                 .group = group, .group_in = in, .group_out = out};
  static const char *const names[] = {"ky", "kx", "kz"};
  for (int s = 0; s < p.spatial; s++) {
    p.kernel[s] = tw->dims[2 + s].k;
    p.t.kname[s] = names[s];
  }
  p.t.kaxes = p.spatial + !depthwise;
  p.t.ksize[p.spatial] = DIM(in);
  p.t.kname[p.spatial] = "c";
  return p;
}

/* Outputs at rest + stride i along each axis; `number` says which rests. */
static void phase_build(Phases *p, int64_t number) {
  Tiling *t = &p->t;
  const Attr *pads = node_dims(t->n, "pads");
  int64_t k = t->group_in;
  bool none = false, empty = false;
  for (int s = p->spatial - 1; s >= 0; s--) {
    int64_t stride = t->strides->dims[s].k;
    phase_of(p, s, number % stride, pads->dims[s].k);
    number /= stride;
    t->ksize[s] = DIM(p->axis[s].taps);
    k *= p->axis[s].taps;
    none |= p->axis[s].taps == 0;
    empty |= p->axis[s].count <= 0;
  }
  if (empty) return;
  if (none) { bias_only(p); return; }
  t->rows = DIM(p->axis[p->spatial - 1].count);
  t->pads = p->w && t->group == 1 && !t->vector_a;
  t->dot = 0;
  t->shape = (TileShape){0};
  if (t->pads && lower_contiguous(t->l, t->n->in[0], 1)) tile_try_dot(t);
  if (p->w && t->group == 1) t->pack = lower_weight(t->l, "weight", tile_pack(t, k, phase_at, p));
  else tile_pack_here(t);
  tile_build(t);
}

bool conv_transpose_generate(Lower *l, const Node *n) {
  const Type *tx = &value_of(l->m, n->in[0])->type, *tw = &value_of(l->m, n->in[1])->type,
             *ty = &value_of(l->m, n->out[0])->type;
  int spatial = tx->rank - 2;
  if (l->target->lanes == 1 || ty->dtype != DT_F32 || !type_is_static(tw) || spatial < 1 || spatial > 3) return false;
  bool depthwise = conv_is_depthwise(l->m, n);
  Phases p = phases_new(l, n, depthwise);
  if (depthwise ? !lower_contiguous(l, n->in[0], 1) : p.t.group > 1 && p.t.group_out < 4) return false;
  const Attr *pads = node_dims(n, "pads");
  int64_t phases = 1;
  for (int s = 0; s < spatial; s++) {
    if (!dim_is_const(tx->dims[2 + s]) || !dim_is_const(ty->dims[2 + s]) || !dim_is_const(pads->dims[s])) return false;
    int64_t stride = p.t.strides->dims[s].k;
    phases *= stride;
    for (int64_t r = 0; r < stride; r++) {
      phase_of(&p, s, r, pads->dims[s].k);
      if (!inside(&p, s, tx->dims[2 + s].k)) return false;
    }
  }
  if (phases > 64) return false;                                // code would outgrow its use
  if (is_filter(&p) && winograd_generate(&p.t, true)) return true;
  if (p.t.group > 1 && !depthwise)
    p.t.g = loop_begin(&l->b, "group", ex_int(&l->b, 0), ex_int(&l->b, p.t.group), 1, FOR_PARALLEL);
  par_begin(&l->b);
  for (int64_t f = 0; f < phases; f++) {
    if (f) par_next(&l->b);
    phase_build(&p, f);
  }
  par_end(&l->b);
  if (p.t.g) loop_end(&l->b);
  return true;
}
