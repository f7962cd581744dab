/* Convolution by register tiles over channels-last output: rows are output pixels along the last spatial axis,
 * columns are output channels, the reduction runs over kernel taps and input channels. Weights are packed as
 * panels [channels/width][taps…][input channels][width], by the compiler, or by the kernel where they are computed (a
 * network that trains). Padding was split off (passes/split_pads.c).
 * A 1x1 convolution with stride 1 over dense pixels is a matrix product: all its pixels are rows.
 * Depthwise: columns are channels of input and output alike, A is a vector too; depthwise.c has its loops. Where each
 * channel gives a few, `g` counts these: the output's are written at a distance. */
#include "passes/conv.h"
#include "passes/kernels/winograd.h"
#include "passes/lower/functions.h"

/* Index along spatial axis s: rows run along `flat_from`, the last axis that is not 1; collapsed ones stand at 0. */
static Expr *output_index(Tiling *t, Expr *row, int s) {
  return s == t->flat_from ? row : t->flat ? ex_int(&t->l->b, 0) : t->ctx[1 + s];
}

/* k: taps…, input channel. ctx: image n, output spatial indices but the last. */
static void input_index(Tiling *t, Expr *row, Expr **k, Expr *channel, Expr **j) {
  Builder *b = &t->l->b;
  int spatial = t->ta->rank - 2;
  j[0] = t->ctx[0];
  j[1] = channel;
  for (int s = 0; s < spatial; s++) {
    Expr *o = output_index(t, row, s);
    j[2 + s] = ex_add(b, ex_mul(b, o, ex_dim(b, t->strides->dims[s])),
                      ex_mul(b, k[s], ex_dim(b, t->dilations->dims[s])));
  }
}

static Expr *conv_a(Tiling *t, Expr *row, Expr **k, Expr *col) {
  (void)col;
  Expr *j[MAX_RANK], *c = k[t->kaxes - 1];
  if (t->g) c = ex_add(&t->l->b, ex_mul(&t->l->b, t->g, ex_int(&t->l->b, t->group_in)), c);
  input_index(t, row, k, c, j);
  return lower_read(t->l, t->n->in[0], j);
}

static Expr *depthwise_a(Tiling *t, Expr *row, Expr **k, Expr *col) {
  Expr *j[MAX_RANK];
  input_index(t, row, k, col, j);
  return lower_read(t->l, t->n->in[0], j);
}

static Expr *channel_of(Tiling *t, Expr *col) {
  Builder *b = &t->l->b;
  if (!t->g) return col;
  return t->vector_a ? ex_add(b, ex_mul(b, col, ex_int(b, t->group_out)), t->g)
                     : ex_add(b, ex_mul(b, t->g, ex_int(b, t->group_out)), col);
}

/* w[m, c, taps…] */
static Expr *conv_b(Tiling *t, Expr **k, Expr *col) {
  Expr *j[MAX_RANK];
  int spatial = t->tb->rank - 2;
  j[0] = channel_of(t, col);
  j[1] = t->vector_a ? ex_int(&t->l->b, 0) : k[spatial];
  for (int s = 0; s < spatial; s++) j[2 + s] = k[s];
  return lower_read(t->l, t->n->in[1], j);
}

static Expr *conv_start(Tiling *t, Expr *col) {
  if (t->n->nin < 3 || !t->n->in[2]) return NULL;
  Expr *c = channel_of(t, col);
  return lower_read(t->l, t->n->in[2], &c);
}

static void conv_write(Tiling *t, Expr *row, Expr *col, Expr *acc) {
  Expr **i = NEW_N(t->l->b.arena, Expr *, MAX_RANK);
  int spatial = t->ty->rank - 2;
  i[0] = t->ctx[0];
  i[1] = channel_of(t, col);
  for (int s = 0; s < spatial; s++) i[2 + s] = output_index(t, row, s);
  lower_write(t->l, i, acc);
}

/* Pixels of one image in order. */
static Expr *conv_place(Tiling *t, Expr *row, int64_t *rows) {
  Builder *b = &t->l->b;
  Expr *at = ex_int(b, 0);
  if (t->flat || t->line) return row;
  *rows = 1;
  for (int s = 0; s < t->ty->rank - 2; s++) {
    Dim size = t->ty->dims[2 + s];
    if (!dim_is_const(size)) { *rows = 0; return row; }
    at = ex_add(b, ex_mul(b, at, ex_int(b, size.k)), output_index(t, row, s));
    *rows *= size.k;
  }
  return at;
}

static void image_loops(Tiling *t) {
  Builder *b = &t->l->b;
  int spatial = t->ty->rank - 2;
  t->ctx[0] = loop_begin(b, "n", ex_int(b, 0), ex_dim(b, t->ty->dims[0]), 1, FOR_PARALLEL);
  if (t->flat) return;
  static const char *const names[] = {"y", "z", "q", "r"};
  for (int s = 0; s < spatial; s++) {
    if (s == t->flat_from) continue;
    if (t->line && 1 + s == t->line_axis) continue;
    t->ctx[1 + s] = loop_begin(b, names[s & 3], ex_int(b, 0), ex_dim(b, t->ty->dims[2 + s]), 1, FOR_PARALLEL);
  }
}

static void image_loops_end(Tiling *t) {
  int n = t->flat ? 1 : t->ty->rank - 2 - (t->line > 0);
  for (int s = 0; s < n; s++) loop_end(&t->l->b);
}

/* step: from column to column, in channels */
typedef struct Filter { const float *w; int64_t in, taps, first, step; } Filter;

/* w[m][c][taps]; k runs over taps, then c */
static float filter_at(const void *ctx, int64_t k, int64_t col) {
  const Filter *f = ctx;
  return f->w[((f->first + col * f->step) * f->in + k % f->in) * f->taps + k / f->in];
}

/* Every pixel a row of one matrix? 1x1, stride 1, dense pixels in input, output and epilogue. */
static void try_flat(Tiling *t) {
  int last = t->ty->rank - 1;
  for (int s = 0; s < last - 1; s++)
    if (!dim_is(t->ksize[s], 1) || !dim_is(t->strides->dims[s], 1)) return;
  if (last < 3 || t->l->by_rows || !axes_collapse(t->l, t->n->in[0], 2, last) || !epilogue_collapses(t->l, 2, last))
    return;
  t->flat = true;
  t->rows = DIM(1);
  for (int k = 2; k <= last; k++) t->rows = dim_mul(t->rows, t->ty->dims[k]);
}

/* What the tile's shape depends on: the distance of rows, what they read, and whether tiles may run on over output
 * lines. */
static void set_strides(Tiling *t) {
  int last = t->ty->rank - 1;
  const Value *x = value_of(t->l->m, t->n->in[0]);
  int axis = 2 + t->flat_from;
  Dim stride = x->at.base ? dim_mul(x->at.stride[axis], t->strides->dims[axis - 2]) : DIM(0);
  if (dim_is_const(stride)) t->row_stride = stride.k * 4;
  int64_t dense = 1, taps = 1;
  t->times = dim_is_const(t->ty->dims[0]) ? t->ty->dims[0].k : 1;
  for (int s = 0; s < last - 1; s++) {
    dense *= dim_is_const(t->strides->dims[s]) ? t->strides->dims[s].k : 1;
    taps *= t->ksize[s].k;
  }
  t->row_bytes = (dense < taps ? dense : taps) * t->group_in * 4;
  if (t->flat || t->vector_a || t->l->by_rows || last < 3 || axis != last || !dim_is_const(t->rows) ||
      !dim_is_const(t->ty->dims[last - 1]))
    return;
  t->line_axis = last - 2;
  t->lines = t->ty->dims[last - 1].k;
}

static void build(Tiling *t) {
  if (t->vector_a) depthwise_build(t);
  else tile_build(t);
}

static Tiling tiling_of(Lower *l, const Node *n, bool depthwise) {
  const Type *tx = &value_of(l->m, n->in[0])->type, *tw = &value_of(l->m, n->in[1])->type;
  const Type *ty = &value_of(l->m, n->out[0])->type;
  int spatial = tx->rank - 2;
  int64_t group = node_int(n, "group", 1), out = tw->dims[0].k / group;
  Tiling t = {.l = l, .n = n, .cols = DIM(depthwise ? group : out), .a = depthwise ? depthwise_a : conv_a, .b = conv_b,
              .start = conv_start, .write = conv_write, .writes_out = true, .place = conv_place,
              .outer_begin = image_loops, .outer_end = image_loops_end, .ta = tx, .tb = tw, .ty = ty,
              .strides = node_dims(n, "strides"), .dilations = node_dims(n, "dilations"), .vector_a = depthwise,
              .columns = depthwise, .group = group, .group_in = tw->dims[1].k, .group_out = out};
  t.flat_from = spatial - 1;
  while (t.flat_from > 0 && dim_is(ty->dims[2 + t.flat_from], 1)) t.flat_from--;
  t.rows = ty->dims[2 + t.flat_from];
  static const char *const names[] = {"ky", "kx", "kz", "kq"};
  for (int s = 0; s < spatial; s++) {
    t.ksize[t.kaxes] = tw->dims[2 + s];
    t.kname[t.kaxes++] = spatial == 1 ? "kx" : names[s & 3];
  }
  if (!depthwise) {
    t.ksize[t.kaxes] = tw->dims[1];
    t.kname[t.kaxes++] = "c";
  }
  return t;
}

/* `parts` nests that are alike: groups, or each channel's results. w NULL: weights are computed. */
static void build_parts(Tiling *t, const float *w, int64_t parts) {
  Filter f = {.w = w, .in = t->group_in, .taps = 1, .step = t->vector_a ? parts : 1};
  for (int s = 0; s < t->tb->rank - 2; s++) f.taps *= t->tb->dims[2 + s].k;
  Tensor *all = NULL;
  for (int64_t g = 0; w && g < parts; g++) {
    f.first = t->vector_a ? g : g * t->group_out;
    all = tile_pack_group(t, all, g, parts, f.taps * f.in, filter_at, &f);
  }
  if (w) t->pack = lower_weight(t->l, "weight", all);
  tile_groups_begin(t, parts);
  if (!w) tile_pack_here(t);
  build(t);
  tile_groups_end(t);
}

bool conv_generate(Lower *l, const Node *n) {
  const Type *tw = &value_of(l->m, n->in[1])->type, *ty = &value_of(l->m, n->out[0])->type;
  const Tensor *w = value_of(l->m, n->in[1])->constant;
  const Attr *pads = node_dims(n, "pads");
  int spatial = ty->rank - 2;
  if (l->target->lanes == 1 || ty->dtype != DT_F32 || !type_is_static(tw) || spatial < 1) return false;
  for (int s = 0; s < 2 * spatial; s++) if (!dim_is(pads->dims[s], 0)) return false;
  int64_t group = node_int(n, "group", 1), out = tw->dims[0].k / group;
  bool depthwise = conv_is_depthwise(l->m, n), contiguous = lower_contiguous(l, n->in[0], 1);
  if (depthwise ? !contiguous : group > 1 && out < 4) return false;
  Tiling t = tiling_of(l, n, depthwise);
  t.pads = w && !depthwise;
  if (depthwise || group == 1) try_flat(&t);
  set_strides(&t);
  t.by_blocks = (t.flat || t.lines) && !depthwise;
  if (w && !depthwise && contiguous) tile_try_dot(&t);
  if (winograd_generate(&t, false)) return true;
  build_parts(&t, w ? w->data : NULL, depthwise ? out : group);
  return true;
}
