/* Gradient of a convolution's weights by register tiles: rows are input channels, columns output channels, and the
 * reduction runs over the pixels of all images.
 *
 *   for group of panels               (a panel: a few vectors of output channels; a group: what shares a pass over x)
 *     sum = 0                         (scratch [panel][c][taps…][width])
 *     for block of pixels             (rows of an image, or several images: what the L2 holds)
 *       for panel, c in tiles, taps…
 *         acc[c][m] = sum; for pixels of the block: acc[c][m] += x[c, pixel under the tap] * dy[m, pixel]; sum = acc
 *     dw = sum, transposed
 *
 * Few input channels: the last taps are rows too, so that a tile has enough of them. Depthwise: columns are channels of
 * x and dy alike, A is a vector, all rows are taps. A dy whose channels are not contiguous is packed block by block.
 * Padding was split off (passes/split_pads.c). Blocks depend on shapes and the target only, so sums are the same in
 * every run. */
#include "passes/kernels/tile.h"
#include "passes/lower/functions.h"

enum { PANELS_AT_ONCE = 4, MAX_FLAT_ROWS = 28 };

typedef struct GradWeight {
  Tiling t;                          /* first */
  int spatial, flat;                 /* taps of axes flat… are rows */
  int64_t in, taps, rows;            /* channels per group, all taps, rows */
  int64_t kernel[MAX_RANK];
  Dim size[MAX_RANK];                /* of the reduction: images, output pixels */
  int cut;                           /* axis that blocks cut, into `chunk`; axes before it have one index per block */
  int64_t chunk;
  bool one_block;
  Buf *sum, *dy;                     /* dy: packed block, or NULL */
  Expr *pixel[MAX_RANK], *from, *to; /* indices of the block: those before `cut`, then its range */
  Expr *tap[MAX_RANK];
} GradWeight;

static Expr *grouped(Tiling *t, Expr *channel, int64_t per_group) {
  return t->g ? ex_add(&t->l->b, ex_mul(&t->l->b, t->g, ex_int(&t->l->b, per_group)), channel) : channel;
}

/* x under tap k of the pixel i */
static Expr *read_x(GradWeight *w, Expr **i, Expr **k, Expr *channel) {
  Tiling *t = &w->t;
  Builder *b = &t->l->b;
  Expr *j[MAX_RANK] = {i[0], t->vector_a ? channel : grouped(t, channel, w->in)};
  for (int s = 0; s < w->spatial; s++)
    j[2 + s] = ex_add(b, ex_mul(b, i[1 + s], ex_dim(b, t->strides->dims[s])), ex_mul(b, k[s], ex_dim(b, t->dilations->dims[s])));
  return lower_read(t->l, t->n->in[0], j);
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
  if (dim_is_const(w->size[w->cut]) && w->chunk >= w->size[w->cut].k) w->chunk = w->size[w->cut].k > 0 ? w->size[w->cut].k : 1;
  if (dim_is_const(w->size[w->cut])) {                          // even pieces
    int64_t n = w->size[w->cut].k, pieces = (n + w->chunk - 1) / w->chunk;
    if (pieces > 0) w->chunk = (n + pieces - 1) / pieces;
  }
  w->one_block = dim_known_le(w->size[w->cut], DIM(w->chunk));
  for (int k = 0; k < w->cut; k++) w->one_block &= dim_is(w->size[k], 1);
}

static void pixel_loops(GradWeight *w, Expr **i) {
  static const char *const names[] = {"n", "y", "x", "z", "q"};
  Builder *b = &w->t.l->b;
  for (int k = 0; k < w->cut; k++) i[k] = w->pixel[k];
  i[w->cut] = loop_begin(b, names[w->cut % 5], w->from, w->to, 1, FOR_SEQ);
  for (int k = w->cut + 1; k <= w->spatial; k++) i[k] = loop_begin(b, names[k % 5], ex_int(b, 0), ex_dim(b, w->size[k]), 1, FOR_SEQ);
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

static Expr *lanes_at(Builder *b, Expr *at, int lanes) { return lanes > 1 ? ex_ramp(b, at, 1, lanes) : at; }

/* Where the sums of (panel of the group, channel c, tap k) begin. */
static Expr *sum_at(GradWeight *w, const Panel *p, Expr *panel, Expr *c, Expr **k) {
  Builder *b = &w->t.l->b;
  Expr *at = ex_add(b, ex_mul(b, panel, ex_int(b, w->in)), c);
  for (int s = 0; s < w->spatial; s++) at = ex_add(b, ex_mul(b, at, ex_int(b, w->kernel[s])), k[s]);
  return ex_mul(b, at, ex_int(b, p->width));
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
      acc[r][q] = reg(b, "acc", w->one_block ? ex_splat(b, ex_const(b, DT_F32, 0), p->lanes[q]) : ex_load(b, w->sum, place));
    }
  }
  pixel_loops(w, i);
  Expr *packed = ex_mul(b, ex_add(b, ex_mul(b, panel, ex_int(b, pixels_of_block(w))), pixel_number(w, i)), ex_int(b, p->width));
  for (int q = 0; q < p->columns; q++) {
    Expr *x = w->dy ? ex_load(b, w->dy, lanes_at(b, ex_add(b, packed, ex_int(b, offset[q])), p->lanes[q])) : read_dy(w, i, col[q]);
    v[q] = let(b, "dy", x);
  }
  for (int r = 0; r < rows; r++) {
    Expr *a = w->t.vector_a ? NULL : let(b, "a", read_x(w, i, k[r], c[r]));
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
  int fit = (w->t.l->target->registers - p->columns - 1 - w->t.vector_a) / p->columns;
  return fit < 1 ? 1 : fit > 14 ? 14 : fit;
}

/* All rows in tiles of nearly equal size: a loop over channels, or tile after tile where taps are rows. */
static void all_tiles(GradWeight *w, const Panel *p, Expr *panel, Expr *first) {
  Builder *b = &w->t.l->b;
  int64_t tiles = (w->rows + most_rows(w, p) - 1) / most_rows(w, p), small = w->rows / tiles, large = w->rows - tiles * small, at = 0;
  for (int64_t q = 0; w->flat < w->spatial && q < tiles; q++) {
    int rows = (int)small + (q < large);
    for (int s = 0; s < w->flat; s++) w->tap[s] = loop_begin(b, "k", ex_int(b, 0), ex_int(b, w->kernel[s]), 1, FOR_SEQ);
    tile(w, p, panel, first, ex_int(b, at), rows);
    for (int s = 0; s < w->flat; s++) loop_end(b);
    at += rows;
  }
  for (int run = 0; w->flat == w->spatial && run < 2; run++) {
    int64_t rows = run ? small : small + 1, to = run ? w->rows : large * rows;
    if (to == at) continue;
    Expr *row = loop_begin(b, "c", ex_int(b, at), ex_int(b, to), rows, FOR_SEQ);
    for (int s = 0; s < w->flat; s++) w->tap[s] = loop_begin(b, "k", ex_int(b, 0), ex_int(b, w->kernel[s]), 1, FOR_SEQ);
    tile(w, p, panel, first, row, (int)rows);
    for (int s = 0; s < w->flat; s++) loop_end(b);
    loop_end(b);
    at = to;
  }
}

static void pack_dy(GradWeight *w, const Panel *p, Expr *panel, Expr *first) {
  Builder *b = &w->t.l->b;
  Expr *i[MAX_RANK];
  pixel_loops(w, i);
  Expr *to = ex_mul(b, ex_add(b, ex_mul(b, panel, ex_int(b, pixels_of_block(w))), pixel_number(w, i)), ex_int(b, p->width));
  int64_t offset = 0;
  for (int q = 0; q < p->columns; offset += p->lanes[q++]) {
    Expr *v = read_dy(w, i, lanes_at(b, ex_add(b, first, ex_int(b, offset)), p->lanes[q]));
    st_store(b, w->dy, lanes_at(b, ex_add(b, to, ex_int(b, offset)), p->lanes[q]), v->lanes == p->lanes[q] ? v : ex_splat(b, v, p->lanes[q]));
  }
  pixel_loops_end(w);
}

static void clear_sums(GradWeight *w, const Panel *p, Expr *panels) {
  Builder *b = &w->t.l->b;
  Expr *i = loop_begin(b, "i", ex_int(b, 0), ex_mul(b, panels, ex_int(b, w->in * w->taps * p->width)), 1, FOR_VECTOR);
  st_store(b, w->sum, i, ex_const(b, DT_F32, 0));
  loop_end(b);
}

/* sum [panel][c, taps][width] -> dw [panel, width][c, taps] */
static void write_out(GradWeight *w, const Panel *p, Expr *panel, Expr *first) {
  Tiling *t = &w->t;
  Builder *b = &t->l->b;
  Expr *j = loop_begin(b, "j", ex_int(b, 0), ex_int(b, w->in * w->taps), 1, FOR_VECTOR);
  Expr *m = loop_begin(b, "m", ex_int(b, 0), ex_int(b, p->width), 1, FOR_SEQ);
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
  Expr *panel = loop_begin(b, "panel", ex_int(b, 0), n, 1, FOR_SEQ);
  *first = let(b, "first", ex_add(b, ex_mul(b, ex_add(b, start, panel), ex_int(b, p->width)), ex_int(b, p->start)));
  return panel;
}

static void panel_group(GradWeight *w, const Panel *p) {
  Builder *b = &w->t.l->b;
  int64_t at_once = p->repeat < PANELS_AT_ONCE ? p->repeat : PANELS_AT_ONCE;
  Expr *panel, *first;
  Expr *start = loop_begin(b, "panels", ex_int(b, 0), ex_int(b, p->repeat), at_once, FOR_SEQ);
  Expr *n = ex_int(b, at_once);
  if (p->repeat % at_once) n = let(b, "count", ex_min(b, n, ex_sub(b, ex_int(b, p->repeat), start)));
  if (!w->one_block) clear_sums(w, p, n);
  for (int k = 0; k < w->cut; k++) w->pixel[k] = loop_begin(b, "block", ex_int(b, 0), ex_dim(b, w->size[k]), 1, FOR_SEQ);
  w->from = loop_begin(b, "from", ex_int(b, 0), ex_dim(b, w->size[w->cut]), w->chunk, FOR_SEQ);
  w->to = ex_add(b, w->from, ex_int(b, w->chunk));
  if (!dim_is_const(w->size[w->cut]) || w->size[w->cut].k % w->chunk) w->to = let(b, "to", ex_min(b, w->to, ex_dim(b, w->size[w->cut])));
  if (w->dy) {
    panel = panel_loop(w, p, start, n, &first);
    pack_dy(w, p, panel, first);
    loop_end(b);
  }
  panel = panel_loop(w, p, start, n, &first);
  all_tiles(w, p, panel, first);
  loop_end(b);
  for (int k = 0; k <= w->cut; k++) loop_end(b);
  panel = panel_loop(w, p, start, n, &first);
  write_out(w, p, panel, first);
  loop_end(b);
  loop_end(b);
}

/* Taps that become rows: all while there are few. */
static void choose_rows(GradWeight *w) {
  w->flat = w->spatial;
  w->rows = w->in;
  if (w->in >= 4) return;
  while (w->flat > 0 && (w->flat == w->spatial || w->rows * w->kernel[w->flat - 1] <= MAX_FLAT_ROWS)) w->rows *= w->kernel[--w->flat];
}

bool conv_grad_weight_generate(Lower *l, const Node *n) {
  Module *m = l->m;
  const Type *tx = &value_of(m, n->in[0])->type, *tdy = &value_of(m, n->in[1])->type, *tw = &value_of(m, n->out[0])->type;
  const Attr *pads = node_dims(n, "pads");
  int spatial = tx->rank - 2;
  if (l->target->lanes == 1 || tw->dtype != DT_F32 || !type_is_static(tw) || spatial > 3 || dim_is(type_count(tw), 0)) return false;
  for (int s = 0; s < 2 * spatial; s++) if (!dim_is(pads->dims[s], 0)) return false;
  int64_t group = node_int(n, "group", 1), in = tw->dims[1].k, out = tw->dims[0].k / group;
  bool depthwise = group > 1 && in == 1 && out == 1, contiguous = lower_contiguous(l, n->in[1], 1);
  if (depthwise ? !contiguous || !lower_contiguous(l, n->in[0], 1) : out < 4) return false;
  GradWeight w = {.spatial = spatial, .in = in, .taps = 1};
  w.t = (Tiling){.l = l, .n = n, .ty = tw, .cols = DIM(depthwise ? group : out), .kaxes = 1, .vector_a = depthwise, .row_stride = 4,
                 .strides = node_dims(n, "strides"), .dilations = node_dims(n, "dilations"), .group_out = out};
  w.size[0] = tdy->dims[0];
  int64_t bytes = 4 * in;
  for (int s = 0; s < spatial; s++) {
    w.size[1 + s] = tdy->dims[2 + s];
    w.kernel[s] = tw->dims[2 + s].k;
    w.taps *= w.kernel[s];
    if (bytes < l->target->l2 * 1024) bytes *= w.t.strides->dims[s].k;
  }
  choose_rows(&w);
  int64_t want = l->target->l2 * 512 / (bytes + 4 * (out < 64 ? out : 64));
  choose_blocks(&w, want < 64 ? 64 : want > 512 ? 512 : want);
  w.t.rows = DIM(w.rows);
  w.t.ksize[0] = DIM(pixels_of_block(&w));
  Panel p[8];
  int runs = tile_panels(&w.t, p, 8);
  int64_t widest = 0;
  for (int q = 0; q < runs; q++) {
    int64_t width = p[q].width * (p[q].repeat < PANELS_AT_ONCE ? p[q].repeat : PANELS_AT_ONCE);
    if (width > widest) widest = width;
  }
  w.sum = lower_scratch(l, "sum", DT_F32, DIM(widest * in * w.taps));
  if (!contiguous) w.dy = lower_scratch(l, "packed", DT_F32, DIM(widest * pixels_of_block(&w)));
  if (group > 1 && !depthwise) w.t.g = loop_begin(&l->b, "group", ex_int(&l->b, 0), ex_int(&l->b, group), 1, FOR_SEQ);
  for (int q = 0; q < runs; q++) panel_group(&w, &p[q]);
  if (w.t.g) loop_end(&l->b);
  return true;
}
