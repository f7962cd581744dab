/* Gradient of a convolution's weights by register tiles: rows are input channels, columns output channels, and the
 * reduction runs over the pixels of all images.
 *
 *   for group of panels               (a panel: a few vectors of output channels; a group: what shares a pass over x)
 *     for range of images             (one where there are several panel groups for threads; else up to MAX_RANGES)
 *       sum = 0                       (scratch [range][panel][c][taps…][width])
 *       for block of pixels           (rows of an image, or several images)
 *         pack dy [panel][pixel][width] and x [tile of c][pixel][c]
 *         for panel, c in tiles, taps…
 *           acc[c][m] = sum; for pixels of the block: acc[c][m] += x[c, pixel under the tap] * dy[m, pixel]; sum = acc
 *     sum += those of the other ranges, in order
 *     dw = sum, transposed
 *
 * Packed, what a tile reads lies together: pixels of many channels are a power of two apart and would evict each other.
 * Few input channels: the last taps are rows too, so that a tile has enough of them, and x is read in place. Depthwise:
 * columns are channels of x and dy alike, A is a vector, all rows are taps, nothing is packed.
 * Padding was split off (passes/split_pads.c). Ranges and blocks depend on shapes and the target only, so sums are the
 * same in every run. */
#include "passes/conv.h"
#include "passes/kernels/winograd.h"
#include "passes/lower/functions.h"

/* pixels, rows; floats of scratch */
enum { MAX_BLOCK = 256, MAX_FLAT_ROWS = 28, MAX_SUMS = 300000, MAX_PACKED = 300000 };
enum { MAX_RANGES = 8, MAX_APART = 2500000, SHORTEST = 64 };    /* floats of their sums; pixels of each */

typedef struct GradWeight {
  Tiling t;                          /* first */
  int spatial, flat;                 /* taps of axes flat… are rows */
  int64_t in, taps, rows;            /* channels per group, all taps, rows */
  int64_t kernel[MAX_RANK];
  Dim size[MAX_RANK];                /* of the reduction: images, output pixels */
  int cut;                           /* axis that blocks cut, into `chunk`; axes before it have one index per block */
  int64_t chunk;
  bool one_block, packs_dy, packs_x;
  int64_t ranges, sums;              /* sums: of one range */
  Buf *sum, *dy, *x;                 /* dy, x: packed block, or NULL */
  int64_t xsize[MAX_RANK], xpixels;  /* packed x: images, input pixels; all of them */
  Expr *pixel[MAX_RANK], *from, *to; /* indices of the block: those before `cut`, then its range */
  Expr *range, *begin, *end;         /* number (NULL: one range), its images */
  Expr *tap[MAX_RANK], *panel, *first;
} GradWeight;

static Expr *grouped(Tiling *t, Expr *channel, int64_t per_group) {
  return t->g ? ex_add(&t->l->b, ex_mul(&t->l->b, t->g, ex_int(&t->l->b, per_group)), channel) : channel;
}

/* x at image j[0] and input pixel j[1…] */
static Expr *read_pixel(GradWeight *w, Expr **j, Expr *channel) {
  Expr *at[MAX_RANK] = {j[0], w->t.vector_a ? channel : grouped(&w->t, channel, w->in)};
  for (int s = 0; s < w->spatial; s++) at[2 + s] = j[1 + s];
  return lower_read(w->t.l, w->t.n->in[0], at);
}

/* x under tap k of the pixel i */
static Expr *read_x(GradWeight *w, Expr **i, Expr **k, Expr *channel) {
  Builder *b = &w->t.l->b;
  Expr *j[MAX_RANK] = {i[0]};
  for (int s = 0; s < w->spatial; s++)
    j[1 + s] = ex_add(b, ex_mul(b, i[1 + s], ex_dim(b, w->t.strides->dims[s])),
                      ex_mul(b, k[s], ex_dim(b, w->t.dilations->dims[s])));
  return read_pixel(w, j, channel);
}

/* An axis of the packed x holds what the block's outputs see; under a kernel of one tap only every stride-th pixel. */
static int64_t x_step(const GradWeight *w, int s) { return w->kernel[s] == 1 ? 1 : w->t.strides->dims[s].k; }

/* The number in the packed block of x's pixel under tap k of pixel i. */
static Expr *x_number(GradWeight *w, Expr **i, Expr **k) {
  Builder *b = &w->t.l->b;
  Expr *at = w->cut == 0 ? ex_sub(b, i[0], w->from) : ex_int(b, 0);
  for (int s = 0; s < w->spatial; s++) {
    Expr *o = 1 + s < w->cut ? ex_int(b, 0) : 1 + s == w->cut ? ex_sub(b, i[1 + s], w->from) : i[1 + s];
    Expr *j = ex_add(b, ex_mul(b, o, ex_int(b, x_step(w, s))), ex_mul(b, k[s], ex_dim(b, w->t.dilations->dims[s])));
    at = ex_add(b, ex_mul(b, at, ex_int(b, w->xsize[1 + s])), j);
  }
  return at;
}

static Expr *read_dy(GradWeight *w, Expr **i, Expr *channel) {
  Expr *j[MAX_RANK] = {i[0], grouped(&w->t, channel, w->t.group_out)};
  for (int s = 0; s < w->spatial; s++) j[2 + s] = i[1 + s];
  return lower_read(w->t.l, w->t.n->in[1], j);
}

static int64_t pixels_of_block(const GradWeight *w) {
  int64_t n = w->chunk;
  for (int k = w->cut + 1; k <= w->spatial; k++) n *= w->size[k].k;
  return n;
}

/* Blocks of about `want` pixels: whole axes from the last on, then a piece of the next. */
static void choose_blocks(GradWeight *w, int64_t want) {
  int64_t inner = 1;
  w->cut = w->spatial;
  while (w->cut > 0 && dim_is_const(w->size[w->cut]) && inner * w->size[w->cut].k <= want) inner *= w->size[w->cut--].k;
  w->chunk = want / (inner > 0 ? inner : 1);
  if (w->chunk < 1) w->chunk = 1;
  if (dim_is_const(w->size[w->cut]) && w->chunk >= w->size[w->cut].k)
    w->chunk = w->size[w->cut].k > 0 ? w->size[w->cut].k : 1;
  if (dim_is_const(w->size[w->cut])) {                          // even pieces
    int64_t n = w->size[w->cut].k, pieces = (n + w->chunk - 1) / w->chunk;
    if (pieces > 0) w->chunk = (n + pieces - 1) / pieces;
  }
  w->one_block = dim_known_le(w->size[w->cut], DIM(w->chunk)) && dim_lo(w->size[w->cut]) > 0;   // and there is one
  for (int k = 0; k < w->cut; k++) w->one_block &= dim_is(w->size[k], 1);
}

/* The packed x of a block. */
static void measure_x(GradWeight *w) {
  w->xpixels = w->xsize[0] = w->cut == 0 ? w->chunk : 1;
  for (int s = 0; s < w->spatial; s++) {
    int64_t outputs = 1 + s < w->cut ? 1 : 1 + s == w->cut ? w->chunk : w->size[1 + s].k;
    w->xsize[1 + s] = (outputs - 1) * x_step(w, s) + (w->kernel[s] - 1) * w->t.dilations->dims[s].k + 1;
    w->xpixels *= w->xsize[1 + s];
  }
}

static void pixel_loops(GradWeight *w, Expr **i) {
  static const char *const names[] = {"n", "y", "x", "z", "q"};
  Builder *b = &w->t.l->b;
  for (int k = 0; k < w->cut; k++) i[k] = w->pixel[k];
  i[w->cut] = loop_begin(b, names[w->cut % 5], w->from, w->to, 1, FOR_SEQ);
  for (int k = w->cut + 1; k <= w->spatial; k++)
    i[k] = loop_begin(b, names[k % 5], ex_int(b, 0), ex_dim(b, w->size[k]), 1, FOR_SEQ);
}

static void pixel_loops_end(GradWeight *w) {
  for (int k = w->cut; k <= w->spatial; k++) loop_end(&w->t.l->b);
}

/* The pixel's number in its block. */
static Expr *pixel_number(GradWeight *w, Expr **i) {
  Builder *b = &w->t.l->b;
  Expr *at = ex_sub(b, i[w->cut], w->from);
  for (int k = w->cut + 1; k <= w->spatial; k++) at = ex_add(b, ex_mul(b, at, ex_dim(b, w->size[k])), i[k]);
  return at;
}

/* Where the sums of (panel of the group, channel c, tap k) begin. */
static Expr *sum_at(GradWeight *w, const Panel *p, Expr *panel, Expr *c, Expr **k) {
  Builder *b = &w->t.l->b;
  Expr *at = ex_add(b, ex_mul(b, panel, ex_int(b, w->in)), c);
  for (int s = 0; s < w->spatial; s++) at = ex_add(b, ex_mul(b, at, ex_int(b, w->kernel[s])), k[s]);
  at = ex_mul(b, at, ex_int(b, p->width));
  return w->range ? ex_add(b, ex_mul(b, w->range, ex_int(b, w->sums)), at) : at;
}

/* `rows` rows from `row` on: channels, or where taps are rows a number. */
static void tile(GradWeight *w, const Panel *p, Expr *panel, Expr *first, Expr *row, int rows) {
  Builder *b = &w->t.l->b;
  Expr *c[16], *k[16][MAX_RANK], *at[16], *col[16], *i[MAX_RANK], *v[16];
  Var *acc[16][16];
  int64_t offset[17] = {0}, number = 0;
  bool counted = ex_is_int(row, &number);
  for (int q = 0; q < p->columns; q++) {
    col[q] = lanes_at(b, ex_add(b, first, ex_int(b, offset[q])), p->lanes[q]);
    offset[q + 1] = offset[q] + p->lanes[q];
  }
  for (int r = 0; r < rows; r++) {
    int64_t rest = counted ? (number + r) / w->in : 0;
    c[r] = counted ? ex_int(b, (number + r) % w->in) : ex_add(b, row, ex_int(b, r));
    for (int s = w->spatial - 1; s >= 0; s--) {
      k[r][s] = s < w->flat ? w->tap[s] : ex_int(b, rest % w->kernel[s]);
      if (s >= w->flat) rest /= w->kernel[s];
    }
    at[r] = let(b, "at", sum_at(w, p, panel, c[r], k[r]));
    for (int q = 0; q < p->columns; q++) {
      Expr *place = lanes_at(b, ex_add(b, at[r], ex_int(b, offset[q])), p->lanes[q]);
      acc[r][q] = reg(b, "acc",
                      w->one_block ? ex_splat(b, ex_const(b, DT_F32, 0), p->lanes[q]) : ex_load(b, w->sum, place));
    }
  }
  pixel_loops(w, i);
  Expr *packed = ex_mul(b, ex_add(b, ex_mul(b, panel, ex_int(b, pixels_of_block(w))), pixel_number(w, i)),
                        ex_int(b, p->width));
  for (int q = 0; q < p->columns; q++) {
    Expr *x = w->dy ? ex_load(b, w->dy, lanes_at(b, ex_add(b, packed, ex_int(b, offset[q])), p->lanes[q]))
                    : read_dy(w, i, col[q]);
    v[q] = let(b, "dy", x);
  }
  Expr *xs = w->x
      ? let(b, "xs",
            ex_add(b, ex_mul(b, row, ex_int(b, w->xpixels)), ex_mul(b, x_number(w, i, w->tap), ex_int(b, rows))))
      : NULL;
  for (int r = 0; r < rows; r++) {
    Expr *a = w->t.vector_a
        ? NULL
        : let(b, "a", xs ? ex_load(b, w->x, ex_add(b, xs, ex_int(b, r))) : read_x(w, i, k[r], c[r]));
    for (int q = 0; q < p->columns; q++) {
      Expr *x = a ? ex_splat(b, a, p->lanes[q]) : read_x(w, i, k[r], col[q]);
      st_set(b, acc[r][q], ex_fma(b, x, v[q], ex_var(b, acc[r][q])));
    }
  }
  pixel_loops_end(w);
  for (int r = 0; r < rows; r++)
    for (int q = 0; q < p->columns; q++)
      st_store(b, w->sum, lanes_at(b, ex_add(b, at[r], ex_int(b, offset[q])), p->lanes[q]), ex_var(b, acc[r][q]));
}

static int most_rows(const GradWeight *w, const Panel *p) {
  int fit = target_tile_rows(w->t.l->target, p->columns, w->t.vector_a);
  return fit > 14 ? 14 : fit;
}

/* Loops over channels in tiles of nearly equal size: runs of two sizes. */
static void channel_tiles(GradWeight *w, const Panel *p,
                          void (*body)(GradWeight *w, const Panel *p, Expr *row, int rows)) {
  Builder *b = &w->t.l->b;
  int64_t most = most_rows(w, p), tiles = (w->rows + most - 1) / most, small = w->rows / tiles,
          large = w->rows - tiles * small, at = 0;
  par_begin(b);
  for (int run = 0; run < 2; run++) {
    int64_t rows = run ? small : small + 1, to = run ? w->rows : large * rows;
    if (to == at) continue;
    if (run) par_next(b);
    Expr *row = loop_begin(b, "c", ex_int(b, at), ex_int(b, to), rows, FOR_PARALLEL);
    body(w, p, row, (int)rows);
    loop_end(b);
    at = to;
  }
  par_end(b);
}

static void tap_tiles(GradWeight *w, const Panel *p, Expr *row, int rows) {
  Builder *b = &w->t.l->b;
  static const char *const names[] = {"ky", "kx", "kz"};
  for (int s = 0; s < w->flat; s++)
    w->tap[s] = loop_begin(b, names[s % 3], ex_int(b, 0), ex_int(b, w->kernel[s]), 1, FOR_PARALLEL);
  tile(w, p, w->panel, w->first, row, rows);
  for (int s = 0; s < w->flat; s++) loop_end(b);
}

/* All rows: a loop over channels, or tile after tile where taps are rows. */
static void all_tiles(GradWeight *w, const Panel *p) {
  if (w->flat == w->spatial) { channel_tiles(w, p, tap_tiles); return; }
  int64_t tiles = (w->rows + most_rows(w, p) - 1) / most_rows(w, p), at = 0;
  par_begin(&w->t.l->b);
  for (int64_t q = 0; q < tiles; q++) {
    if (q) par_next(&w->t.l->b);
    int rows = (int)(w->rows / tiles + (q < w->rows % tiles));
    tap_tiles(w, p, ex_int(&w->t.l->b, at), rows);
    at += rows;
  }
  par_end(&w->t.l->b);
}

/* One tile of channels: [pixel][channel] */
static void pack_x_tile(GradWeight *w, const Panel *p, Expr *row, int rows) {
  Builder *b = &w->t.l->b;
  Expr *j[MAX_RANK], *at = ex_int(b, 0);
  int loops = 0;
  (void)p;
  for (int k = 0; k <= w->spatial; k++) {
    bool dense = k > 0 && w->kernel[k - 1] == 1;                // only pixels that windows start at
    Dim stride = k ? w->t.strides->dims[k - 1] : DIM(1);
    Expr *n = ex_int(b, w->xsize[k]);
    if (k == w->cut && !dim_is(w->size[k], w->chunk)) {         // the last block may be smaller
      n = ex_mul(b, ex_sub(b, ex_sub(b, w->to, w->from), ex_int(b, 1)), ex_int(b, k ? x_step(w, k - 1) : 1));
      n = ex_add(b, n, ex_int(b, w->xsize[k] - (w->chunk - 1) * (k ? x_step(w, k - 1) : 1)));
    }
    Expr *q = loop_begin(b, "p", ex_int(b, 0), n, 1, FOR_SEQ);
    Expr *start = k < w->cut ? w->pixel[k] : k == w->cut ? w->from : ex_int(b, 0);
    j[k] = ex_add(b, ex_mul(b, start, ex_dim(b, stride)), dense ? ex_mul(b, q, ex_dim(b, stride)) : q);
    at = ex_add(b, ex_mul(b, at, ex_int(b, w->xsize[k])), q);
    loops++;
  }
  at = let(b, "to", ex_add(b, ex_mul(b, row, ex_int(b, w->xpixels)), ex_mul(b, at, ex_int(b, rows))));
  for (int r = 0, lanes; r < rows; r += lanes) {
    for (lanes = w->t.l->target->lanes; lanes > rows - r; lanes /= 2) {}
    Expr *v = read_pixel(w, j, lanes_at(b, ex_add(b, row, ex_int(b, r)), lanes));
    st_store(b, w->x, lanes_at(b, ex_add(b, at, ex_int(b, r)), lanes), as_lanes(b, v, lanes));
  }
  for (int k = 0; k < loops; k++) loop_end(b);
}

static void pack_dy(GradWeight *w, const Panel *p, Expr *panel, Expr *first) {
  Builder *b = &w->t.l->b;
  Expr *i[MAX_RANK];
  pixel_loops(w, i);
  Expr *to = ex_mul(b, ex_add(b, ex_mul(b, panel, ex_int(b, pixels_of_block(w))), pixel_number(w, i)),
                    ex_int(b, p->width));
  int64_t offset = 0;
  for (int q = 0; q < p->columns; offset += p->lanes[q++]) {
    Expr *v = read_dy(w, i, lanes_at(b, ex_add(b, first, ex_int(b, offset)), p->lanes[q]));
    st_store(b, w->dy, lanes_at(b, ex_add(b, to, ex_int(b, offset)), p->lanes[q]), as_lanes(b, v, p->lanes[q]));
  }
  pixel_loops_end(w);
}

static void clear_sums(GradWeight *w, const Panel *p, Expr *panels) {
  Builder *b = &w->t.l->b;
  Expr *i = loop_begin(b, "i", ex_int(b, 0), ex_mul(b, panels, ex_int(b, w->in * w->taps * p->width)), 1,
                       FOR_PARALLEL_VECTOR);
  if (w->range) i = ex_add(b, ex_mul(b, w->range, ex_int(b, w->sums)), i);
  st_store(b, w->sum, i, ex_const(b, DT_F32, 0));
  loop_end(b);
}

/* The sums of all ranges, in the place of the first. */
static void add_ranges(GradWeight *w) {
  Builder *b = &w->t.l->b;
  Expr *i = loop_begin(b, "i", ex_int(b, 0), ex_int(b, w->sums), 1, FOR_PARALLEL_VECTOR), *sum = ex_load(b, w->sum, i);
  for (int64_t r = 1; r < w->ranges; r++)
    sum = ex_add(b, sum, ex_load(b, w->sum, ex_add(b, i, ex_int(b, r * w->sums))));
  st_store(b, w->sum, i, sum);
  loop_end(b);
}

/* sum [panel][c, taps][width] -> dw [panel, width][c, taps] */
static void write_out(GradWeight *w, const Panel *p, Expr *panel, Expr *first) {
  Tiling *t = &w->t;
  Builder *b = &t->l->b;
  Expr *j = loop_begin(b, "j", ex_int(b, 0), ex_int(b, w->in * w->taps), 1, FOR_PARALLEL_VECTOR);
  Expr *m = loop_begin(b, "m", ex_int(b, 0), ex_int(b, p->width), 1, FOR_PARALLEL);
  Expr *at = ex_add(b, ex_mul(b, ex_add(b, ex_mul(b, panel, ex_int(b, w->in * w->taps)), j), ex_int(b, p->width)), m);
  Expr **i = NEW_N(b->arena, Expr *, MAX_RANK);
  lower_unflatten(t->l, t->ty->dims + 1, t->ty->rank - 1, j, i + 1);
  i[0] = grouped(t, ex_add(b, first, m), t->group_out);
  lower_write(t->l, i, ex_load(b, w->sum, at));
  loop_end(b);
  loop_end(b);
}

/* Opens the loops over panels [0, n) of a group; gives the panel's number and its first column. */
static Expr *panel_loop(GradWeight *w, const Panel *p, Expr *start, Expr *n, Expr **first) {
  Builder *b = &w->t.l->b;
  Expr *panel = loop_begin(b, "panel", ex_int(b, 0), n, 1, FOR_PARALLEL);
  *first = let(b, "first", ex_add(b, ex_mul(b, ex_add(b, start, panel), ex_int(b, p->width)), ex_int(b, p->start)));
  return panel;
}

static int64_t panels_at_once(const GradWeight *w, const Panel *p) {
  int64_t n = MAX_SUMS / (w->in * w->taps * p->width + 1);
  return n < 1 ? 1 : n < p->repeat ? n : p->repeat;
}

/* Ranges of images for a group of panels that no other stands beside: as many as their sums may take memory, each of
 * some whole blocks. */
static int64_t ranges_of(const GradWeight *w, const Panel *p, int64_t panels) {
  int64_t images = dim_hi(w->size[0]), blocks = w->cut ? images : images / w->chunk, n = MAX_RANGES;
  double pixels = (double)images;
  for (int s = 0; s < w->spatial; s++) pixels *= (double)dim_hi(w->size[1 + s]);
  if (w->one_block || panels < p->repeat || w->t.g) return 1;
  while (n > 1 && (n > blocks || n * w->sums > MAX_APART || (double)n * SHORTEST > pixels)) n /= 2;
  return n;
}

/* Opens the loop over ranges; ends with range_end. */
static void range_begin(GradWeight *w) {
  Builder *b = &w->t.l->b;
  Expr *images = ex_dim(b, w->size[0]), *n = ex_int(b, w->ranges);
  w->begin = ex_int(b, 0);
  w->end = images;
  if (w->ranges == 1) return;
  w->range = loop_begin(b, "range", ex_int(b, 0), n, 1, FOR_PARALLEL);
  w->begin = let(b, "begin", ex_div(b, ex_mul(b, images, w->range), n));
  w->end = let(b, "end", ex_div(b, ex_mul(b, images, ex_add(b, w->range, ex_int(b, 1))), n));
}

static void range_end(GradWeight *w) {
  if (w->ranges == 1) return;
  loop_end(&w->t.l->b);
  w->range = NULL;
  add_ranges(w);
}

static void make_packed(GradWeight *w, const Panel *p, int64_t panels) {
  Lower *l = w->t.l;
  int64_t columns = panels * p->width;
  w->dy = w->packs_dy ? lower_scratch(l, "packed_dy", DT_F32, DIM(columns * pixels_of_block(w))) : NULL;
  w->x = w->packs_x ? lower_scratch(l, "packed_x", DT_F32, DIM(w->in * w->xpixels)) : NULL;
}

static void panel_group(GradWeight *w, const Panel *p) {
  Builder *b = &w->t.l->b;
  int64_t at_once = panels_at_once(w, p);
  Expr *start = loop_begin(b, "panels", ex_int(b, 0), ex_int(b, p->repeat), at_once, FOR_PARALLEL);
  w->sums = at_once * p->width * w->in * w->taps;
  w->ranges = ranges_of(w, p, at_once);
  w->sum = lower_scratch(w->t.l, "sum", DT_F32, DIM(w->ranges * w->sums));
  Expr *n = ex_int(b, at_once);
  if (p->repeat % at_once) n = let(b, "count", ex_min(b, n, ex_sub(b, ex_int(b, p->repeat), start)));
  range_begin(w);
  make_packed(w, p, at_once);
  if (!w->one_block) clear_sums(w, p, n);
  Expr *lo[MAX_RANK] = {w->begin}, *hi[MAX_RANK] = {w->end};
  for (int k = 1; k <= w->cut; k++) lo[k] = ex_int(b, 0), hi[k] = ex_dim(b, w->size[k]);
  for (int k = 0; k < w->cut; k++) w->pixel[k] = loop_begin(b, "block", lo[k], hi[k], 1, FOR_SEQ);
  w->from = loop_begin(b, "from", lo[w->cut], hi[w->cut], w->chunk, FOR_SEQ);
  w->to = ex_add(b, w->from, ex_int(b, w->chunk));
  int64_t even = w->chunk * (w->cut ? 1 : w->ranges);
  if (!dim_is_const(w->size[w->cut]) || w->size[w->cut].k % even) w->to = let(b, "to", ex_min(b, w->to, hi[w->cut]));
  if (w->dy) {
    w->panel = panel_loop(w, p, start, n, &w->first);
    pack_dy(w, p, w->panel, w->first);
    loop_end(b);
  }
  if (w->x) channel_tiles(w, p, pack_x_tile);
  w->panel = panel_loop(w, p, start, n, &w->first);
  all_tiles(w, p);
  loop_end(b);
  for (int k = 0; k <= w->cut; k++) loop_end(b);
  range_end(w);
  w->panel = panel_loop(w, p, start, n, &w->first);
  write_out(w, p, w->panel, w->first);
  loop_end(b);
  loop_end(b);
}

/* Taps that become rows: all while there are few. */
static void choose_rows(GradWeight *w) {
  w->flat = w->spatial;
  w->rows = w->in;
  if (w->in >= 4) return;
  while (w->flat > 0 && (w->flat == w->spatial || w->rows * w->kernel[w->flat - 1] <= MAX_FLAT_ROWS))
    w->rows *= w->kernel[--w->flat];
}

bool conv_grad_weight_generate(Lower *l, const Node *n) {
  Module *m = l->m;
  const Type *tx = &value_of(m, n->in[0])->type, *tdy = &value_of(m, n->in[1])->type,
             *tw = &value_of(m, n->out[0])->type;
  const Attr *pads = node_dims(n, "pads");
  int spatial = tx->rank - 2;
  if (l->target->lanes == 1 || tw->dtype != DT_F32 || !type_is_static(tw) || spatial > 3 ||
      dim_is(type_count(tw), 0))
    return false;
  for (int s = 0; s < 2 * spatial; s++) if (!dim_is(pads->dims[s], 0)) return false;
  int64_t group = node_int(n, "group", 1), in = tw->dims[1].k, out = tw->dims[0].k / group;
  bool depthwise = conv_is_depthwise(m, n), contiguous = lower_contiguous(l, n->in[1], 1);
  if (depthwise ? !contiguous || !lower_contiguous(l, n->in[0], 1) : out < 4) return false;
  if (winograd_grad_weight(l, n)) return true;
  GradWeight w = {.spatial = spatial, .in = in, .taps = 1};
  w.t = (Tiling){.l = l, .n = n, .ty = tw, .cols = DIM(depthwise ? group : out), .kaxes = 1, .vector_a = depthwise,
                 .row_stride = 4, .strides = node_dims(n, "strides"), .dilations = node_dims(n, "dilations"),
                 .group_out = out};
  w.size[0] = tdy->dims[0];
  for (int s = 0; s < spatial; s++) {
    w.size[1 + s] = tdy->dims[2 + s];
    w.kernel[s] = tw->dims[2 + s].k;
    w.taps *= w.kernel[s];
  }
  choose_rows(&w);
  for (int64_t want = MAX_BLOCK; want >= MAX_BLOCK / 8; want /= 2) {
    choose_blocks(&w, want);
    measure_x(&w);
    if (w.xpixels * in <= MAX_PACKED) break;
  }
  w.t.rows = DIM(w.rows);
  w.t.ksize[0] = DIM(pixels_of_block(&w));
  Panel p[8];
  int runs = tile_panels(&w.t, p, 8);
  w.packs_dy = !depthwise && (!contiguous || w.flat == spatial);
  w.packs_x = w.flat == spatial;
  if (group > 1 && !depthwise)
    w.t.g = loop_begin(&l->b, "group", ex_int(&l->b, 0), ex_int(&l->b, group), 1, FOR_PARALLEL);
  par_begin(&l->b);
  for (int q = 0; q < runs; q++) {
    if (q) par_next(&l->b);
    panel_group(&w, &p[q]);
  }
  par_end(&l->b);
  if (w.t.g) loop_end(&l->b);
  return true;
}
