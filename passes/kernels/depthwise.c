/* Depthwise convolution: every channel by itself, so vectors of channels slide over the pixels of a row.
 *
 *   for output row, for tile of pixels          (r accumulators)
 *     for vector of channels                    (innermost: memory is read in its order, every line once)
 *       for tap rows
 *         w[kx] for all taps of the row
 *         for input pixel j                     x = in[j], loaded once for all taps that meet it:
 *           for i, kx with i * stride + kx * dilation = j      acc[i] += x * w[kx]
 *       write(acc)
 *
 * One load serves up to kx multiply-adds, where the tile of tile.c loads for each. Taps that are too many for the
 * registers are a loop, one at a time. */
#include "passes/kernels/tile.h"

/* The tap axis that runs along the rows' pixels; -1: none is unrolled. */
static int window_axis(const Tiling *t) {
  enum { MOST_TAPS = 7 };
  return !t->flat && t->ksize[t->flat_from].k <= MOST_TAPS ? t->flat_from : -1;
}

/* Pixels to a tile: what the registers hold beside a row of weights and a pixel; equal tiles where there are some. */
static int tile_pixels(const Tiling *t, int64_t taps) {
  int most = t->l->target->registers - (int)taps - 1;
  if (most > 14) most = 14;
  if (!dim_is_const(t->rows)) return most < 8 ? most : 8;
  for (int r = most; r > most / 2; r--)
    if (t->rows.k % r == 0) return r;
  return most;
}

/* Column c of a panel: one vector, or a part of the tail. */
static void tile(Tiling *t, const Panel *p, int c, Expr *panel, Expr *row, int rows) {
  Builder *b = &t->l->b;
  int window = window_axis(t), lanes = p->lanes[c], offset = 0;
  for (int q = 0; q < c; q++) offset += p->lanes[q];
  int64_t taps = window < 0 ? 1 : t->ksize[window].k;
  int64_t stride = window < 0 ? 1 : t->strides->dims[window].k,
          dilation = window < 0 ? 1 : t->dilations->dims[window].k;
  Expr *first = ex_add(b, ex_mul(b, panel, ex_int(b, p->width)), ex_int(b, p->start)), *k[MAX_RANK], *w[16],
       *all = ex_int(b, 1), *flat = ex_int(b, 0);
  Expr *col = ex_add(b, first, ex_int(b, offset));
  if (lanes > 1) col = ex_ramp(b, col, 1, lanes);
  Var *acc[16];
  for (int i = 0; i < rows; i++) acc[i] = reg(b, "acc", ex_splat(b, ex_const(b, DT_F32, 0), lanes));
  for (int q = 0; q < t->kaxes; q++) {
    k[q] = q == window ? ex_int(b, 0) : loop_begin(b, t->kname[q], ex_int(b, 0), ex_dim(b, t->ksize[q]), 1, FOR_SEQ);
    flat = ex_add(b, ex_mul(b, flat, ex_dim(b, t->ksize[q])), k[q]);
    all = ex_mul(b, all, ex_dim(b, t->ksize[q]));
  }
  int64_t step = 1;                                             // the weights' distance from tap to tap of the window
  for (int q = t->kaxes - 1; q > window && window >= 0; q--) step *= t->ksize[q].k;
  for (int64_t kx = 0; kx < taps; kx++) {
    Expr *tap = ex_mul(b, ex_add(b, flat, ex_int(b, kx * step)), ex_int(b, p->width));
    Expr *at = ex_add(b, ex_add(b, ex_mul(b, first, all), tap), ex_int(b, offset));
    if (t->pack_base) at = ex_add(b, t->pack_base, at);
    w[kx] = let(b, "w", ex_load(b, t->pack, lanes_at(b, at, lanes)));
  }
  for (int64_t j = 0; j <= (rows - 1) * stride + (taps - 1) * dilation; j++) {
    Expr *x = NULL;
    for (int64_t kx = 0; kx < taps; kx++) {
      int64_t i = (j - kx * dilation) / stride;
      if (j < kx * dilation || (j - kx * dilation) % stride || i >= rows) continue;
      if (window >= 0) k[window] = ex_int(b, kx);
      if (!x) x = let(b, "x", t->a(t, ex_add(b, row, ex_int(b, i)), k, col));
      st_set(b, acc[i], ex_fma(b, as_lanes(b, x, lanes), w[kx], ex_var(b, acc[i])));
    }
  }
  for (int q = 0; q < t->kaxes; q++) if (q != window) loop_end(b);
  Expr *start = t->start ? t->start(t, col) : NULL;
  if (start) start = let(b, "start", as_lanes(b, start, lanes));
  for (int i = 0; i < rows; i++) {
    Expr *sum = ex_var(b, acc[i]);
    t->write(t, ex_add(b, row, ex_int(b, i)), col, start ? ex_add(b, sum, start) : sum);
  }
}

/* The lines of pixels but along the axis of the rows. */
static void line_loops(Tiling *t) {
  Builder *b = &t->l->b;
  static const char *const names[] = {"y", "z", "q", "r"};
  for (int s = 0; !t->flat && s < t->ty->rank - 2; s++)
    if (s != t->flat_from)
      t->ctx[1 + s] = loop_begin(b, names[s & 3], ex_int(b, 0), ex_dim(b, t->ty->dims[2 + s]), 1, FOR_PARALLEL);
}

static void line_loops_end(Tiling *t) {
  for (int s = 0; !t->flat && s < t->ty->rank - 3; s++) loop_end(&t->l->b);
}

/* Bytes of input under a tile of `pixels`, for one channel: those lines stay in the L1 while tiles walk down. */
static int64_t window_bytes(const Tiling *t, int64_t pixels) {
  int64_t cells = 1;
  for (int s = 0; s < t->kaxes; s++) {
    int64_t along = s == t->flat_from ? (pixels - 1) * t->strides->dims[s].k : 0;
    cells *= along + (t->ksize[s].k - 1) * t->dilations->dims[s].k + 1;
  }
  return cells * 4;
}

/* Vectors of channels to a block, so that the window of a tile fits the L1 beside weights and results; 0: lines of the
 * output are better computed whole, for the windows of a whole line fit, or a tile is a short piece of memory: the
 * prefetcher follows whole lines, and loses its way where a page ends. */
static int64_t block_vectors(const Tiling *t, int64_t vectors, int pixels) {
  enum { PAGE = 4096 };
  int64_t room = t->l->target->l1 * (int64_t)768, vector = t->l->target->lanes * 4,
          least = t->l->target->line / vector > 1 ? t->l->target->line / vector : 1;
  if (t->flat || pixels * t->cols.k * 4 < PAGE ||
      (dim_is_const(t->rows) && window_bytes(t, t->rows.k) * t->cols.k <= room))
    return 0;
  int64_t fit = room / (window_bytes(t, pixels) * t->l->target->lanes), blocks;
  if (fit < least) return 0;
  if (fit >= vectors) return vectors;
  blocks = (vectors + fit - 1) / fit;
  return ((vectors + blocks - 1) / blocks + least - 1) / least * least;
}

/* Panels [lo, hi) of one run, all rows of pixels that are asked for. */
static void channels(Tiling *t, const Panel *p, Expr *lo, Expr *hi, Expr *row, int rows) {
  Expr *panel = loop_begin(&t->l->b, "panel", lo, hi, 1, FOR_PARALLEL);
  for (int c = 0; c < p->columns; c++) tile(t, p, c, panel, row, rows);
  loop_end(&t->l->b);
}

/* Tiles of `rows` pixels. Where lines are computed whole: all channels of each; else a tile walks down the image, for
 * one block of channels after the other. */
static void tiles(Tiling *t, const Panel *p, int n, Expr *from, Expr *to, int rows) {
  Builder *b = &t->l->b;
  int64_t block = block_vectors(t, p[0].repeat, rows);
  if (!block) line_loops(t);
  Expr *row = loop_begin(b, "row", from, to, rows, FOR_PARALLEL);
  par_begin(b);
  for (int q = 0; q < n; q++) {
    if (q) par_next(b);
    Expr *lo = ex_int(b, 0), *hi = ex_int(b, p[q].repeat);
    bool several = block && block < p[q].repeat;
    if (several) {
      lo = loop_begin(b, "block", lo, hi, block, FOR_PARALLEL);
      hi = ex_min(b, hi, ex_add(b, lo, ex_int(b, block)));
    }
    if (block) line_loops(t);
    channels(t, &p[q], lo, hi, row, rows);
    if (block) line_loops_end(t);
    if (several) loop_end(b);
  }
  par_end(b);
  loop_end(b);
  if (!block) line_loops_end(t);
}

/* Cycles as counted on whole layers: two multiply-adds a cycle, a fifth more for loads and the epilogue. */
static void choice(Tiling *t, int pixels, int64_t vectors) {
  double work = (double)dim_lo(op_info[t->n->op].flops(t->l->m, t->n)) / 2 / t->l->target->lanes;
  int64_t block = block_vectors(t, vectors, pixels);
  const char *order = !block ? "lines"
      : block < vectors      ? arena_printf(t->l->b.arena, "walking down, %lld vectors a block", (long long)block)
                             : "walking down";
  kernel_choice(t->l, work * 0.6, "depthwise: tiles of %d pixels of %d lanes, %s", pixels, t->l->target->lanes, order);
}

void depthwise_build(Tiling *t) {
  Builder *b = &t->l->b;
  Panel p[8];
  int n = tile_panels(t, p, 8), window = window_axis(t), most = tile_pixels(t, window < 0 ? 1 : t->ksize[window].k);
  choice(t, most, n ? p[0].repeat : 0);
  t->ctx[0] = loop_begin(b, "n", ex_int(b, 0), ex_dim(b, t->ty->dims[0]), 1, FOR_PARALLEL);
  par_begin(b);
  if (dim_is_const(t->rows)) {                                  // split evenly into tiles of two sizes
    int64_t count = (t->rows.k + most - 1) / most, small = count ? t->rows.k / count : 0;
    int64_t large = (t->rows.k - small * count) * (small + 1);
    if (large) tiles(t, p, n, ex_int(b, 0), ex_int(b, large), (int)small + 1);
    par_next(b);
    if (large < t->rows.k) tiles(t, p, n, ex_int(b, large), ex_int(b, t->rows.k), (int)small);
  } else {
    Expr *whole = ex_dim(b, dim_mul(dim_floordiv(t->rows, DIM(most)), DIM(most)));
    tiles(t, p, n, ex_int(b, 0), whole, most);
    par_next(b);
    tiles(t, p, n, whole, ex_dim(b, t->rows), 1);
  }
  par_end(b);
  loop_end(b);
}
