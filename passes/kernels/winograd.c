/* 3x3 convolution with stride 1 or 2 by Winograd's transforms (winograd.h), channels last.
 *
 *   for block of tiles               (rows of m x m tiles of output, image after image)
 *     for tile, channels             v[i][tile][c] = B' d B        d: n x n pixels of the input
 *     for panel of output channels
 *       for i of n*n                 p[tile][i] = v[i] u[i]        a matrix product: tiles x channels x panel
 *       for tile                     y = A' p A, bias, epilogue
 *
 * v of a block stays in L2, where every panel reads it; p of a panel and the weights u of a panel (transformed
 * and packed by the compiler, or by the kernel where they are computed: winograd_weights.c) are read once. A
 * vector is lanes of channels throughout. A transform goes over the columns of a tile, then
 * over its rows, with `part` between.
 *
 * With depth, tiles of all planes are transformed, and a product for a plane of the result sums over taps in depth:
 *
 *       for i of n*n, for plane z      p[z][tile][i] = sum over kz of v[i][z * stride + kz] u[i][kz]
 *
 * Tiles that stick out at the far border: pixels beyond the input are those of its edge (results from them are not
 * written). The last block may have fewer tiles than the others; it does its last one over again. */
#include "passes/conv.h"
#include "passes/kernels/winograd.h"
#include "passes/lower/functions.h"
#include <math.h>

typedef struct Tiles {
  Tiling t;                          /* first: the products; rows are the tiles of a block */
  Form f;
  int lanes;                         /* of the input transform */
  Dim tile[3];                       /* tiles along image, y, x; image 1 where those have a loop of their own */
  Dim count;                         /* their product */
  int64_t block_tiles, row, plane;   /* v: elements from tile to tile, from i to i */
  int64_t channels;                  /* of the input; of a group, where there are several */
  bool deep;
  /* of the input's planes that are not padding the first, their number; the result's */
  int64_t first, planes, results;
  Buf *v, *p, *part;
  Expr *image, *block;               /* loops at work; image NULL: blocks go over all images */
} Tiles;

/* Where tile number `tile` stands: image, first row, first column. */
static void tile_place(Tiles *w, Expr *tile, Expr **at) {
  Builder *b = &w->t.l->b;
  lower_unflatten(w->t.l, w->tile, 3, tile, at);
  at[0] = w->image ? w->image : let(b, "image", at[0]);
  at[1] = let(b, "top", ex_mul(b, at[1], ex_int(b, w->f.m)));
  at[2] = let(b, "left", ex_mul(b, at[2], ex_int(b, w->f.m)));
}

/* Index of an element: of plane z, where there is depth. */
static void index_set(const Tiles *w, Expr **j, Expr *image, Expr *channel, Expr *z, Expr *y, Expr *x) {
  int k = 0;
  j[k++] = image;
  j[k++] = channel;
  if (w->deep) j[k++] = z;
  j[k++] = y;
  j[k] = x;
}

/* The channel of all, where c is that of a group of so many. */
static Expr *of_group(Tiles *w, Expr *c, int64_t channels) {
  Builder *b = &w->t.l->b;
  return w->t.g ? ex_add(b, ex_mul(b, w->t.g, ex_int(b, channels)), c) : c;
}

/* A loop over planes; there is one where there is no depth. */
static Expr *plane_loop(Tiles *w, int64_t planes, int kind) {
  Builder *b = &w->t.l->b;
  return w->deep ? loop_begin(b, "z", ex_int(b, 0), ex_int(b, planes), 1, kind) : ex_int(b, 0);
}

static void plane_loop_end(Tiles *w) {
  if (w->deep) loop_end(&w->t.l->b);
}

/* Rows and columns of an image: these axes. */
static Dim across(const Tiles *w, const Type *t, int s) { return t->dims[2 + w->deep + s]; }

/* v = B' d B for the tiles of a block */
static void input_transform(Tiles *w) {
  Lower *l = w->t.l;
  Builder *b = &l->b;
  int n = w->f.n, lanes = w->lanes;
  Expr *at[3], *stride = ex_int(b, w->f.stride), *row[WINOGRAD_MAX], *d[WINOGRAD_MAX], *out[WINOGRAD_MAX];
  Expr *t = loop_begin(b, "t", ex_int(b, 0), ex_int(b, w->block_tiles), 1, FOR_PARALLEL);
  w->part = winograd_part(&w->t.l->b, w->f.n * w->f.n * w->t.l->target->lanes);
  tile_place(w, let(b, "tile", ex_min(b, ex_add(b, w->block, t), last_of(b, w->count))), at);
  for (int i = 0; i < n; i++)
    row[i] = let(b, "row", ex_min(b, ex_add(b, ex_mul(b, at[1], stride), ex_int(b, i)),
                                  last_of(b, across(w, w->t.ta, 0))));
  Expr *z = plane_loop(w, w->planes, FOR_SEQ);
  Expr *c = loop_begin(b, "c", ex_int(b, 0), ex_int(b, w->channels), lanes, FOR_SEQ);
  c = let(b, "c", ex_min(b, c, ex_int(b, w->channels - lanes)));   // the last vector may overlap the one before
  Expr *x = loop_begin(b, "x", ex_int(b, 0), ex_int(b, n), 1, FOR_SEQ);
  Expr *column = let(b, "column", ex_min(b, ex_add(b, ex_mul(b, at[2], stride), x), last_of(b, across(w, w->t.ta, 1))));
  for (int i = 0; i < n; i++) {
    Expr *j[5], *channel = lanes_at(b, of_group(w, c, w->channels), lanes);
    index_set(w, j, at[0], channel, ex_add(b, z, ex_int(b, w->first)), row[i], column);
    d[i] = let(b, "d", lower_read(l, w->t.n->in[0], j));
  }
  winograd_input(b, &w->f, d, out);
  for (int i = 0; i < n; i++)
    st_store(b, w->part, lanes_at(b, ex_mul(b, ex_add(b, ex_int(b, i * n), x), ex_int(b, lanes)), lanes), out[i]);
  loop_end(b);
  Expr *y = loop_begin(b, "y", ex_int(b, 0), ex_int(b, n), 1, FOR_SEQ);
  winograd_load(b, "x", w->part, ex_mul(b, y, ex_int(b, n * lanes)), lanes, n, lanes, d);
  winograd_input(b, &w->f, d, out);
  Expr *to = ex_mul(b, ex_add(b, ex_mul(b, z, ex_int(b, w->block_tiles)), t), ex_int(b, w->row));
  to = ex_add(b, ex_add(b, ex_mul(b, y, ex_int(b, n * w->plane)), to), c);
  for (int j = 0; j < n; j++) st_store(b, w->v, lanes_at(b, ex_add(b, to, ex_int(b, j * w->plane)), lanes), out[j]);
  loop_end(b);
  loop_end(b);
  plane_loop_end(w);
  loop_end(b);
}

/* ---- the products, by the register tile ---- */

static Expr *product_a(Tiling *t, Expr *row, Expr **k, Expr *col) {
  Tiles *w = (Tiles *)t;
  Builder *b = &t->l->b;
  (void)col;
  if (w->deep) {
    Expr *z = ex_add(b, ex_mul(b, t->ctx[1], ex_dim(b, t->strides->dims[0])), ex_sub(b, k[0], ex_int(b, w->first)));
    row = ex_add(b, ex_mul(b, z, ex_int(b, w->block_tiles)), row);
  }
  Expr *from = ex_add(b, ex_mul(b, t->matrix, ex_int(b, w->plane)), ex_mul(b, row, ex_int(b, w->row)));
  return ex_load(b, w->v, ex_add(b, from, k[t->kaxes - 1]));
}

/* Taps in depth that meet the input. */
static void product_range(Tiling *t, int q, Expr **from, Expr **to) {
  Tiles *w = (Tiles *)t;
  Builder *b = &t->l->b;
  if (q || !w->deep || w->planes == t->ta->dims[2].k) return;
  Expr *at = ex_mul(b, t->ctx[1], ex_dim(b, t->strides->dims[0]));
  *from = let(b, "near", ex_max(b, *from, ex_sub(b, ex_int(b, w->first), at)));
  *to = let(b, "far", ex_min(b, *to, ex_sub(b, ex_int(b, w->first + w->planes), at)));
}

static Expr *product_place(Tiling *t, Expr *row, int64_t *rows) {
  Tiles *w = (Tiles *)t;
  Builder *b = &t->l->b;
  *rows = w->block_tiles * w->results;
  return ex_add(b, ex_mul(b, t->ctx[1], ex_int(b, w->block_tiles)), row);
}

static void product_write(Tiling *t, Expr *row, Expr *col, Expr *acc) {
  Tiles *w = (Tiles *)t;
  Builder *b = &t->l->b;
  int64_t all = w->f.n * w->f.n;
  row = product_place(t, row, &(int64_t){0});
  Expr *to = ex_mul(b, ex_add(b, ex_mul(b, row, ex_int(b, all)), t->matrix), ex_int(b, t->panel->width));
  st_store(b, w->p, ex_add(b, to, ex_sub(b, col, t->first)), acc);
}

static void product_begin(Tiling *t) {
  Tiles *w = (Tiles *)t;
  Builder *b = &t->l->b;
  w->p = lower_scratch(t->l, "p", DT_F32, DIM(w->block_tiles * w->results * t->matrices * t->panel->width));
  t->matrix = loop_begin(b, "i", ex_int(b, 0), ex_int(b, t->matrices), 1, FOR_PARALLEL);
  t->ctx[1] = plane_loop(w, w->results, FOR_PARALLEL);
}

/* Output channels of a vector, as vectors: all its lanes, or halves of what there is. */
typedef struct Part { int lanes, from; Expr *channel, *bias; } Part;

static int output_parts(Tiles *w, Expr *first, int channels, Part *to) {
  Lower *l = w->t.l;
  Builder *b = &l->b;
  int n = 0, from = 0;
  for (int lanes = l->target->lanes; lanes >= 1; lanes /= 2) {
    if (!(channels & lanes)) continue;
    to[n] = (Part){.lanes = lanes, .from = from, .channel = lanes_at(b, ex_add(b, first, ex_int(b, from)), lanes)};
    if (w->t.n->nin > 2 && w->t.n->in[2]) to[n].bias = let(b, "bias", lower_read(l, w->t.n->in[2], &to[n].channel));
    from += lanes;
    n++;
  }
  return n;
}

/* y = A' p A for one vector, `v` in the panel, of the tile `t` at `at` in the plane of ctx. */
static void output_tile(Tiles *w, Expr *t, Expr **at, Expr *v, int channels) {
  Builder *b = &w->t.l->b;
  int n = w->f.n, m = w->f.m;
  int lanes = w->t.panel->lanes[0];
  int64_t width = w->t.panel->width;
  Expr *in[WINOGRAD_MAX], *out[WINOGRAD_MAX];
  Expr *x = loop_begin(b, "x", ex_int(b, 0), ex_int(b, n), 1, FOR_SEQ);
  t = product_place(&w->t, t, &(int64_t){0});
  Expr *from = ex_add(b, ex_mul(b, ex_add(b, ex_mul(b, t, ex_int(b, n * n)), x), ex_int(b, width)), v);
  winograd_load(b, "x", w->p, from, n * width, n, lanes, in);
  winograd_output(b, &w->f, in, out);
  for (int i = 0; i < m; i++)
    st_store(b, w->part, lanes_at(b, ex_mul(b, ex_add(b, ex_int(b, i * n), x), ex_int(b, lanes)), lanes), out[i]);
  loop_end(b);
  Expr *end = ex_min(b, ex_add(b, at[1], ex_int(b, m)), ex_dim(b, across(w, w->t.ty, 0)));
  Part parts[5];
  int nparts = output_parts(w, of_group(w, ex_add(b, w->t.first, v), w->t.cols.k), channels, parts);
  Expr *y = loop_begin(b, "y", at[1], let(b, "end", end), 1, FOR_SEQ);
  winograd_load(b, "x", w->part, ex_mul(b, ex_sub(b, y, at[1]), ex_int(b, n * lanes)), lanes, n, lanes, in);
  winograd_output(b, &w->f, in, out);
  for (int j = 0; j < m; j++) {
    Expr *column = ex_add(b, at[2], ex_int(b, j)), *inside = ex_lt(b, column, ex_dim(b, across(w, w->t.ty, 1)));
    int64_t known;
    bool guarded = !ex_is_int(inside, &known);
    if (!guarded && !known) break;
    if (guarded) if_begin(b, inside);
    for (int k = 0; k < nparts; k++) {
      const Part *p = &parts[k];
      Expr **i = NEW_N(b->arena, Expr *, 5), *sum = ex_part(b, out[j], p->from / p->lanes, p->lanes);
      index_set(w, i, at[0], p->channel, w->t.ctx[1], y, column);
      lower_write(w->t.l, i, p->bias ? ex_add(b, sum, p->bias) : sum);
    }
    if (guarded) if_end(b);
  }
  loop_end(b);
}

/* The panel's products are there: its output channels of all tiles. */
static void product_end(Tiling *t) {
  Tiles *w = (Tiles *)t;
  Builder *b = &t->l->b;
  plane_loop_end(w);
  loop_end(b);
  t->matrix = NULL;
  Expr *at[3], *count = let(b, "count", ex_min(b, ex_int(b, w->block_tiles), ex_sub(b, ex_dim(b, w->count), w->block)));
  t->ctx[1] = plane_loop(w, w->results, FOR_PARALLEL);
  Expr *tile = loop_begin(b, "t", ex_int(b, 0), count, 1, FOR_PARALLEL);
  w->part = winograd_part(&w->t.l->b, w->f.n * w->f.n * w->t.l->target->lanes);
  tile_place(w, let(b, "tile", ex_add(b, w->block, tile)), at);
  const Panel *p = t->panel;
  int lanes = p->lanes[0];
  int64_t whole = p->cols / lanes * lanes;
  if (whole) {                                                  // none: an axis of 1 would not take a ramp
    Expr *v = loop_begin(b, "channel", ex_int(b, 0), ex_int(b, whole), lanes, FOR_SEQ);
    output_tile(w, tile, at, v, lanes);
    loop_end(b);
  }
  if (p->cols > whole) output_tile(w, tile, at, ex_int(b, whole), (int)(p->cols - whole));
  loop_end(b);
  plane_loop_end(w);
}

/* ---- sizes ---- */

static int64_t ceiling(int64_t n, int64_t by) { return (n + by - 1) / by; }

/* Blocks of so many tiles, and how their v lies. */
static void set_block(Tiles *w, int64_t tiles) {
  const Target *g = w->t.l->target;
  w->block_tiles = tiles;
  w->t.rows = DIM(tiles);
  w->row = ceiling(w->channels, w->lanes) * w->lanes;
  if (w->row * 4 % 64 == 0 && g->lanes < 16) w->row += w->lanes;   // tile.c: rows whole lines apart are in one bank
  else if (w->row * 4 % 4096 == 0) w->row += w->lanes;
  w->t.row_stride = w->row * 4;
  w->plane = w->row * tiles * w->planes;
  if (w->plane / 16 % 2 == 0) w->plane += 16;                   // the n*n stores of a vector to other sets of the L1
}

/* ---- does it pay? ---- */

static double vectors(int64_t channels, int lanes) { return (double)ceiling(channels, lanes); }

/* What is summed up: taps and channels; by the products, taps in depth only. */
static double taps_and_channels(const Tiling *t) {
  double k = 1;
  for (int q = 0; q < t->kaxes; q++) k *= (double)dim_likely(t->ksize[q]);
  return k;
}

/* A vector of products is a store and the start of a sum. */
static double tiles_cost(const Tiles *w, bool computed) {
  const Tiling *t = &w->t;
  const Target *g = t->l->target;
  const Form *f = &w->f;
  double all = f->n * f->n, in = taps_and_channels(t), out = (double)dim_likely(t->cols);
  double count = (double)dim_likely(t->ty->dims[0]), planes = (double)w->planes, results = (double)w->results;
  for (int s = 0; s < 2; s++) count *= ceil((double)dim_likely(across(w, t->ty, s)) / f->m);
  double blocks = ceil(count / (double)w->block_tiles);
  double from = planes * vectors(w->channels, w->lanes), to = results * vectors(t->cols.k, g->lanes);
  double cost = tile_cycles(t, blocks * (double)w->block_tiles * results * all * in * out);
  cost += count * all * to * (1.0 / g->stores + 1);
  cost += count * (from * winograd_cycles(g, f, f->n, f->n) + to * winograd_cycles(g, f, f->n, f->m));
  double bytes = all * in * out * 4;
  bool large = target_fills_l2(g, bytes), ahead = !computed && w->block_tiles >= 2 * tile_shape(t).rows;
  if (computed) cost += in * to * winograd_cycles(g, f, 3, f->n) + (large ? bytes / 8 : 0);
  return tile_with_weights(g, cost, bytes, blocks, ahead);
}

/* As many tiles as leave v and p of a block in L2, or somewhat fewer, in equal blocks that rows of register tiles fill
 * best; but enough to use a weight several times when it has come from memory; computed ones have just gone there.
 * Threads share an even number of blocks: two take half each. */
static void block_size(Tiles *w, bool computed) {
  enum { TRIED = 4 };
  const Target *g = w->t.l->target;
  int64_t all = w->f.n * w->f.n, least = computed ? 32 : w->deep ? 8 : 16;
  w->t.rows = DIM(least);
  int columns = tile_shape(&w->t).columns;
  int64_t most = target_l2(g, 0.75) / (all * 4 * (w->channels * w->planes + (int64_t)columns * g->lanes * w->results));
  if (most < least) most = least;
  int64_t fewest = dim_is_const(w->count) ? ceiling(w->count.k, most) : 0,
          best = fewest || !dim_is_const(w->count) ? most : 1;
  double lowest = INFINITY;
  for (int64_t blocks = fewest; fewest && blocks < fewest + TRIED; blocks++) {
    if (w->t.l->shared && blocks > 1 && blocks % 2) continue;
    set_block(w, ceiling(w->count.k, blocks));
    double cost = tiles_cost(w, computed);
    if (cost > 0.995 * lowest) continue;                        // more blocks must be worth it
    lowest = cost;
    best = w->block_tiles;
  }
  set_block(w, best);
}

static double direct_cost(const Tiling *t) {
  double k = taps_and_channels(t), out = (double)dim_likely(t->cols), pixels = (double)dim_likely(t->ty->dims[0]);
  for (int s = 2; s < t->ty->rank; s++) pixels *= (double)dim_likely(t->ty->dims[s]);
  return tile_with_weights(t->l->target, tile_cycles(t, pixels * k * out), k * out * 4, 1, true);
}

/* ---- building ---- */

/* RMS error of results over their own RMS, where the cost model chooses. A network is to be within 1e-4: 20 such layers
 * in a row, and a result that is five times as far off as most. */
static const double MOST_ERROR = 5e-6;

typedef struct Packed { const float *u; int64_t out, channels, taps; } Packed;

/* k: i, tap in depth, channel; u has channels before these taps. */
static float packed_at(const void *ctx, int64_t k, int64_t col) {
  const Packed *p = ctx;
  int64_t c = k % p->channels, tap = k / p->channels % p->taps, i = k / (p->channels * p->taps);
  return p->u[((i * p->channels + c) * p->taps + tap) * p->out + col];
}

/* w[out][c][taps in depth][3][3]: as many matrices of 3x3 to a result of a group. */
static int64_t channels_of_weights(const Tiles *w) { return w->channels * (w->deep ? w->t.ksize[0].k : 1); }

static const float *weights_of(const Tiles *w, int64_t group) {
  const Tensor *g = value_of(w->t.l->m, w->t.n->in[1])->constant;
  return g ? (const float *)g->data + group * w->t.cols.k * channels_of_weights(w) * 9 : NULL;
}

/* Fills u, if it is there; gives the bound on the error. */
static double weights_transform(const Tiles *w, const Tiling *direct, const float **u) {
  Arena *a = w->t.l->b.arena;
  int64_t in = channels_of_weights(w), out = w->t.cols.k;
  double error = 0;
  for (int64_t g = 0; g < direct->group; g++) {
    if (u) u[g] = winograd_weights(a, &w->f, weights_of(w, g), in, out);
    error = fmax(error, winograd_error(a, &w->f, weights_of(w, g), u ? u[g] : NULL, in, out));
  }
  return error;
}

static double error_of_direct(const Tiles *w, const Tiling *direct) {
  double error = 0;
  for (int64_t g = 0; g < direct->group; g++)
    error = fmax(error, direct_error(w->t.l->b.arena, weights_of(w, g), channels_of_weights(w), w->t.cols.k));
  return error;
}

static void note(Tiles *w, double error, double direct) {
  Builder *b = &w->t.l->b;
  static const char *const points[2][2] = {{"1, -1", "5/8, -5/8, 3/2, -3/2"}, {"1", "3/4, -3/4, 2"}};
  int m = w->f.m, n = w->f.n, stride = w->f.stride;
  st_note(b, "Winograd F(%dx%d, 3x3), Lavin and Gray 2015: tiles of %dx%d outputs y = A' [u . (B' d B)] A", m, m, m, m);
  st_note(b, "from %dx%d inputs d; weights are u = G g G'. Points 0, %s, infinity.", n, n, points[stride - 1][m == 4]);
  if (stride == 2) st_note(b, "That is for even rows and columns and their taps 0 and 2; odd ones stay as they are.");
  st_note(b, "RMS error within %.1e of the results' RMS, direct sums' within %.1e (independent inputs).", error,
          direct);
}

/* u: transformed weights of each group; NULL: they are to be transformed here. */
static void build(Tiles *w, const float *const *u, Tiling *direct, bool flipped, double cycles, double error) {
  Lower *l = w->t.l;
  Builder *b = &l->b;
  int64_t all = w->f.n * w->f.n, in = channels_of_weights(w), out = w->t.cols.k;
  w->t.matrices = all;
  if (u) {
    Tensor *packed = NULL;
    for (int64_t g = 0; g < direct->group; g++) {
      Packed one = {u[g], out, w->channels, in / w->channels};
      packed = tile_pack_group(&w->t, packed, g, direct->group, all * in, packed_at, &one);
    }
    w->t.pack = lower_weight(l, "weight", packed);
  } else {
    w->t.pack = winograd_weights_here(&w->t, &w->f, direct, flipped);
  }
  note(w, error, error_of_direct(w, direct));
  TileShape shape = tile_shape(&w->t);
  kernel_choice(l, cycles, "winograd F(%dx%d)%s: tile %dx%d of %d lanes, weights %s, blocks of %lld, error %.1e",
                w->f.m, w->f.m, w->f.stride == 2 ? ", stride 2" : "", shape.rows, shape.columns, l->target->lanes,
                u ? "packed" : "transformed here", (long long)w->block_tiles, error);
  tile_groups_begin(&w->t, direct->group);
  Dim images = w->t.ty->dims[0];
  if (!dim_is_const(images)) w->image = loop_begin(b, "image", ex_int(b, 0), ex_dim(b, images), 1, FOR_PARALLEL);
  w->block = loop_begin(b, "block", ex_int(b, 0), ex_dim(b, w->count), w->block_tiles, FOR_PARALLEL);
  w->v = lower_scratch(l, "v", DT_F32, DIM(all * w->plane));
  input_transform(w);
  tile_build(&w->t);
  loop_end(b);
  if (w->image) loop_end(b);
  tile_groups_end(&w->t);
}

static Tiles tiles_of(const Tiling *d, int m, int stride, bool computed) {
  Tiles w = {.t = {.l = d->l, .n = d->n, .cols = d->cols, .pads = true, .a = product_a, .range = product_range,
                   .write = product_write, .place = product_place, .outer_begin = product_begin,
                   .outer_end = product_end,
                   .ta = d->ta, .tb = d->tb, .ty = d->ty, .strides = d->strides},
             .channels = d->ksize[d->kaxes - 1].k, .deep = d->ty->rank == 5, .planes = 1, .results = 1};
  if (w.deep) {
    if (!padded_axis(d->l, d->n->in[0], 2, &w.first, &w.planes)) w.planes = d->ta->dims[2].k;
    w.planes -= w.first;
    w.results = d->ty->dims[2].k;
    w.t.ksize[w.t.kaxes] = d->ksize[0];
    w.t.kname[w.t.kaxes++] = "kz";
  }
  w.t.ksize[w.t.kaxes] = DIM(w.channels);
  w.t.kname[w.t.kaxes++] = "c";
  winograd_form(&w.f, m, stride);
  for (w.lanes = d->l->target->lanes; w.lanes > w.channels; w.lanes /= 2) {}
  w.count = w.tile[0] = dim_is_const(d->ty->dims[0]) ? d->ty->dims[0] : DIM(1);
  for (int s = 0; s < 2; s++) {
    w.tile[1 + s] = dim_ceildiv(across(&w, d->ty, s), DIM(m));
    w.count = dim_mul(w.count, w.tile[1 + s]);
  }
  block_size(&w, computed);
  return w;
}

bool winograd_generate(Tiling *d, bool flipped) {
  Lower *l = d->l;
  if (l->winograd == WINOGRAD_OFF || !conv_is_winograd(l->m, d->n)) return false;
  bool computed = !value_of(l->m, d->n->in[1])->constant;
  int stride = (int)d->strides->dims[d->ty->rank - 3].k;
  if ((flipped && !computed) || !lower_contiguous(l, d->n->in[0], 1)) return false;
  Tiles two = tiles_of(d, 2, stride, computed), four = tiles_of(d, 4, stride, computed), *w = NULL;
  double cost[] = {direct_cost(d), tiles_cost(&two, computed), tiles_cost(&four, computed)};
  // Larger tiles keep more weights and lose more digits: they must be a tenth faster.
  double weighed[] = {cost[0], cost[1] / 0.9, cost[2] / 0.81}, error = 0;
  int form = l->winograd == WINOGRAD_AUTO ? lower_choose(l, weighed, 3) : l->winograd == WINOGRAD_F4 ? 2 : 1;
  const float **u = computed ? NULL : NEW_N(l->b.arena, const float *, d->group);
  for (; form; form = weighed[form - 1] < weighed[0] ? form - 1 : 0) {
    w = form == 2 ? &four : &two;
    error = weights_transform(w, d, u);
    if (l->winograd != WINOGRAD_AUTO || error <= MOST_ERROR) break;
  }
  if (form) build(w, u, d, flipped, cost[form] * (double)d->group, error);
  return form != 0;
}
