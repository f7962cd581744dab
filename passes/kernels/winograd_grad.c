/* Gradient of the weights of a 3x3 convolution with stride 1 by Winograd's transforms (winograd.h), channels last. The
 * filter is bilinear in weights and input, so the gradient of the weights g needs the same transforms, transposed:
 *   dg = G' [sum over tiles of (B' d B) . (A e A')] G             d: n x n pixels of x, e: m x m of dy
 * n*n products for a pair of channels and m*m pixels, not 9*m*m.
 *
 *   for block of tiles                (all of them where they are few)
 *     v[i][tile][c] = B' d B          in blocks of a vector of channels: [i][c / lanes][tile][lanes]
 *     for panel of output channels
 *       e[i][tile][width] = A e A'
 *       for i of n*n                  sum[i][c][width] += v[i]' e[i], a matrix product over the tiles
 *   for panel                         dw = G' sum G, transposed
 *
 * Where all tiles are one block the panels follow each other to the end: only one panel's e and sum exist at a time.
 * Tiles that stick out at the far border see zeros in dy, so what they see of x does not matter: pixels of its edge.
 * Padding was split off (passes/split_pads.c). */
#include "passes/conv.h"
#include "passes/kernels/winograd.h"
#include "passes/lower/functions.h"

/* tiles of a block; floats of v where one block has all */
enum { BLOCK = 128, MOST_AT_ONCE = 6 << 20 };

typedef struct Sums {
  Lower *l;
  const Node *n;
  const Type *x, *dy, *dw;
  Form f;
  int lanes, rows, columns;          /* of the register tile: channels of x, vectors of channels of dy */
  int64_t in, out, all;              /* channels; n*n */
  Dim tile[3];                       /* tiles along image, y, x */
  int64_t tiles, block;              /* all of them; those of a block */
  bool once;                         /* one block has all tiles */
  Buf *v, *e, *sum, *turned;
  Expr *from;                        /* the block's first tile */
} Sums;

typedef struct Run { int64_t start, repeat; int columns; } Run; /* panels of as many vectors, from channel `start` on */

/* Room for one of n*n matrices: all lie an odd number of cache lines apart, so that the same element of each is in
 * another set of the L1. */
static int64_t plane_of(int64_t elements) {
  int64_t lines = (elements + 15) / 16;
  return (lines | 1) * 16;
}

static int64_t width_of(const Sums *s, const Run *r) { return (int64_t)r->columns * s->lanes; }

/* ---- transforms of vectors ---- */

/* The sum of x[k] * by[k] over every second k from `first` on. */
static Expr *second_terms(Builder *b, Expr *const *x, const double *by, int first, int size) {
  Expr *sum = NULL;
  for (int k = first; k < size; k += 2) {
    Expr *scale = ex_splat(b, ex_const(b, DT_F32, by[k]), x[k]->lanes);
    sum = by[k] == 1 ? (sum ? ex_add(b, sum, x[k]) : x[k]) : sum ? ex_fma(b, scale, x[k], sum) : ex_mul(b, scale, x[k]);
  }
  return let(b, "t", sum);
}

/* A e: points +p and -p share the even and the odd terms. */
static void spread(Builder *b, const Form *f, Expr *const *e, Expr **out) {
  double power[WINOGRAD_MAX];
  out[0] = e[0];
  for (int j = 1; j < f->n - 1; j += 2) {
    for (int i = 0; i < f->m; i++) power[i] = f->a[i][j];
    Expr *even = second_terms(b, e, power, 0, f->m), *odd = second_terms(b, e, power, 1, f->m);
    out[j] = let(b, "t", ex_add(b, even, odd));
    out[j + 1] = let(b, "t", ex_sub(b, even, odd));
  }
  out[f->n - 1] = e[f->m - 1];
}

/* G' x: rows of G for +p and -p differ in the sign of the middle. */
static void fold(Builder *b, const Form *f, Expr *const *x, Expr **out) {
  for (int k = 0; k < 3; k++) {
    Expr *sum = k == 0 ? ex_mul(b, ex_splat(b, ex_const(b, DT_F32, f->g[0][0]), x[0]->lanes), x[0])
        : k == 2       ? x[f->n - 1]
                       : NULL;
    for (int j = 1; j < f->n - 1; j += 2) {
      Expr *pair = k == 1 ? ex_sub(b, x[j], x[j + 1]) : ex_add(b, x[j], x[j + 1]);
      Expr *scale = ex_splat(b, ex_const(b, DT_F32, f->g[j][k]), x[0]->lanes);
      sum = sum ? ex_fma(b, scale, pair, sum) : ex_mul(b, scale, pair);
    }
    out[k] = let(b, "t", sum);
  }
}

/* ---- transforms of tiles ---- */

/* A tile of the block: where it stands, and which of its pixels are there. */
typedef struct Place { Expr *image, *top, *left, *real; } Place;

static Place place_of(Sums *s, Expr *t) {
  Builder *b = &s->l->b;
  Expr *at[3], *tile = let(b, "tile", ex_add(b, s->from, t));
  Place p = {.real = s->tiles % s->block ? ex_lt(b, tile, ex_int(b, s->tiles)) : NULL};
  lower_unflatten(s->l, s->tile, 3, p.real ? ex_min(b, tile, ex_int(b, s->tiles - 1)) : tile, at);
  p.image = let(b, "image", at[0]);
  p.top = let(b, "top", ex_mul(b, at[1], ex_int(b, s->f.m)));
  p.left = let(b, "left", ex_mul(b, at[2], ex_int(b, s->f.m)));
  return p;
}

static Expr *both(Builder *b, Expr *x, Expr *y) { return !x ? y : !y ? x : ex_scalar(b, S_AND, x, y, NULL); }

/* Does pixel `at` of axis `axis` exist? NULL: always. */
static Expr *exists(Sums *s, const Type *t, int axis, Expr *at) {
  return t->dims[axis].k % s->f.m ? ex_lt(&s->l->b, at, ex_dim(&s->l->b, t->dims[axis])) : NULL;
}

/* Pixel (y, x) of the tile: of x at its edge if it does not exist, of dy zero. */
static Expr *pixel(Sums *s, bool of_dy, const Place *p, Expr *channel, Expr *y, Expr *x) {
  Builder *b = &s->l->b;
  const Type *t = of_dy ? s->dy : s->x;
  y = ex_add(b, p->top, y);
  x = ex_add(b, p->left, x);
  Expr *j[4] = {p->image, channel, ex_min(b, y, last_of(b, t->dims[2])), ex_min(b, x, last_of(b, t->dims[3]))};
  Expr *v = lower_read(s->l, s->n->in[of_dy], j);
  if (!of_dy) return v;
  Expr *there = both(b, p->real, both(b, exists(s, t, 2, y), exists(s, t, 3, x)));
  return there ? ex_select(b, ex_splat(b, there, v->lanes), v, ex_splat(b, ex_const(b, DT_F32, 0), v->lanes)) : v;
}

/* n x n values for a vector of channels; the i-th to buf[to + i * plane]. */
static void transform(Sums *s, bool of_dy, const Place *p, Expr *channel, Buf *part, Buf *buf, Expr *to,
                      int64_t plane) {
  Builder *b = &s->l->b;
  int size = of_dy ? s->f.m : s->f.n, n = s->f.n, lanes = s->lanes;
  void (*apply)(Builder *b, const Form *f, Expr *const *d, Expr **out) = of_dy ? spread : winograd_input;
  Expr *d[WINOGRAD_MAX], *out[WINOGRAD_MAX];
  Expr *x = loop_begin(b, "x", ex_int(b, 0), ex_int(b, size), 1, FOR_SEQ);
  for (int i = 0; i < size; i++) d[i] = let(b, "d", pixel(s, of_dy, p, channel, ex_int(b, i), x));
  apply(b, &s->f, d, out);
  for (int i = 0; i < n; i++)
    st_store(b, part, lanes_at(b, ex_mul(b, ex_add(b, ex_int(b, i * size), x), ex_int(b, lanes)), lanes), out[i]);
  loop_end(b);
  Expr *y = loop_begin(b, "y", ex_int(b, 0), ex_int(b, n), 1, FOR_SEQ);
  winograd_load(b, "d", part, ex_mul(b, y, ex_int(b, size * lanes)), lanes, size, lanes, d);
  apply(b, &s->f, d, out);
  to = ex_add(b, to, ex_mul(b, y, ex_int(b, n * plane)));
  for (int j = 0; j < n; j++) st_store(b, buf, lanes_at(b, ex_add(b, to, ex_int(b, j * plane)), lanes), out[j]);
  loop_end(b);
}

static Buf *part_of(Sums *s, int size) { return winograd_part(&s->l->b, (int64_t)s->f.n * size * s->lanes); }

static void transform_x(Sums *s) {
  Builder *b = &s->l->b;
  Expr *t = loop_begin(b, "t", ex_int(b, 0), ex_int(b, s->block), 1, FOR_PARALLEL);
  Buf *part = part_of(s, s->f.n);
  Place p = place_of(s, t);
  Expr *c = loop_begin(b, "c", ex_int(b, 0), ex_int(b, s->in), s->lanes, FOR_SEQ);
  Expr *to = ex_add(b, ex_mul(b, c, ex_int(b, s->block)), ex_mul(b, t, ex_int(b, s->lanes)));
  transform(s, false, &p, lanes_at(b, c, s->lanes), part, s->v, to, plane_of(s->in * s->block));
  loop_end(b);
  loop_end(b);
}

/* ---- panels: `columns` vectors, or what is left ---- */

static int runs_of(const Sums *s, Run *run) {
  int64_t vectors = s->out / s->lanes, whole = vectors / s->columns, rest = vectors % s->columns;
  int n = 0;
  if (whole) run[n++] = (Run){0, whole, s->columns};
  if (rest) run[n++] = (Run){whole * s->columns * s->lanes, 1, (int)rest};
  return n;
}

/* Opens the loop over panels; gives the first channel. */
static Expr *panel_begin(Sums *s, const Run *r) {
  Builder *b = &s->l->b;
  Expr *panel = loop_begin(b, "panel", ex_int(b, 0), ex_int(b, r->repeat), 1, FOR_PARALLEL);
  return let(b, "first", ex_add(b, ex_mul(b, panel, ex_int(b, (int64_t)r->columns * s->lanes)), ex_int(b, r->start)));
}

/* A panel's part of e or sum, of n*n times `size` rows; before it lie whole panels. */
static Expr *part_start(Sums *s, const Run *r, Expr *first, int64_t size) {
  Builder *b = &s->l->b;
  int64_t whole = (int64_t)s->columns * s->lanes, part = s->all * plane_of(size * whole);
  if (s->once) return ex_int(b, 0);
  if (r->start) return ex_int(b, r->start / whole * part);
  return let(b, "at", ex_mul(b, ex_div(b, first, ex_int(b, whole)), ex_int(b, part)));
}

/* All of e or sum, for blocks. */
static Dim parts_size(Sums *s, const Run *run, int runs, int64_t size) {
  int64_t n = 0;
  for (int q = 0; q < runs; q++) n += run[q].repeat * s->all * plane_of(size * width_of(s, &run[q]));
  return DIM(n);
}

static void transform_dy(Sums *s, const Run *r, Expr *first) {
  Builder *b = &s->l->b;
  int64_t width = width_of(s, r);
  Expr *start = part_start(s, r, first, s->block);
  Expr *t = loop_begin(b, "t", ex_int(b, 0), ex_int(b, s->block), 1, FOR_PARALLEL);
  Buf *part = part_of(s, s->f.m);
  Place p = place_of(s, t);
  Expr *v = loop_begin(b, "v", ex_int(b, 0), ex_int(b, width), s->lanes, FOR_SEQ);
  Expr *to = ex_add(b, ex_add(b, start, ex_mul(b, t, ex_int(b, width))), v);
  transform(s, true, &p, lanes_at(b, ex_add(b, first, v), s->lanes), part, s->e, to, plane_of(s->block * width));
  loop_end(b);
  loop_end(b);
}

/* ---- the products ---- */

/* `rows` channels of x from c on, a panel's columns, the i-th matrix. */
static void tile(Sums *s, const Run *r, Expr *e, Expr *sum, Expr *i, Expr *block, int64_t within) {
  Builder *b = &s->l->b;
  int64_t width = width_of(s, r);
  Expr *at[16][16], *w[16];
  Var *acc[16][16];
  Expr *c = ex_add(b, ex_mul(b, block, ex_int(b, s->lanes)), ex_int(b, within));
  Expr *row = ex_add(b, ex_add(b, sum, ex_mul(b, i, ex_int(b, plane_of(s->in * width)))),
                     ex_mul(b, c, ex_int(b, width)));
  for (int k = 0; k < s->rows; k++)
    for (int q = 0; q < r->columns; q++) {
      at[k][q] = lanes_at(b, ex_add(b, row, ex_int(b, k * width + q * s->lanes)), s->lanes);
      acc[k][q] = reg(b, "acc", s->once ? ex_splat(b, ex_const(b, DT_F32, 0), s->lanes) : ex_load(b, s->sum, at[k][q]));
    }
  Expr *vs = ex_add(b, ex_mul(b, i, ex_int(b, plane_of(s->in * s->block))),
                    ex_mul(b, block, ex_int(b, s->block * s->lanes)));
  Expr *es = ex_add(b, e, ex_mul(b, i, ex_int(b, plane_of(s->block * width))));
  vs = let(b, "vs", ex_add(b, vs, ex_int(b, within)));
  es = let(b, "es", es);
  Expr *t = loop_begin(b, "t", ex_int(b, 0), ex_int(b, s->block), 1, FOR_SEQ);
  for (int q = 0; q < r->columns; q++) {
    Expr *from = ex_add(b, ex_add(b, es, ex_mul(b, t, ex_int(b, width))), ex_int(b, q * s->lanes));
    w[q] = let(b, "w", ex_load(b, s->e, lanes_at(b, from, s->lanes)));
  }
  for (int k = 0; k < s->rows; k++) {
    Expr *a = let(b, "a", ex_load(b, s->v, ex_add(b, ex_add(b, vs, ex_mul(b, t, ex_int(b, s->lanes))), ex_int(b, k))));
    for (int q = 0; q < r->columns; q++)
      st_set(b, acc[k][q], ex_fma(b, ex_splat(b, a, s->lanes), w[q], ex_var(b, acc[k][q])));
  }
  loop_end(b);
  for (int k = 0; k < s->rows; k++)
    for (int q = 0; q < r->columns; q++) st_store(b, s->sum, at[k][q], ex_var(b, acc[k][q]));
}

static void products(Sums *s, const Run *r, Expr *first) {
  Builder *b = &s->l->b;
  Expr *e = part_start(s, r, first, s->block), *sum = part_start(s, r, first, s->in);
  Expr *i = loop_begin(b, "i", ex_int(b, 0), ex_int(b, s->all), 1, FOR_PARALLEL);
  Expr *block = loop_begin(b, "block", ex_int(b, 0), ex_int(b, s->in / s->lanes), 1, FOR_PARALLEL);
  par_begin(b);
  for (int within = 0; within < s->lanes; within += s->rows) {
    if (within) par_next(b);
    tile(s, r, e, sum, i, block, within);
  }
  par_end(b);
  loop_end(b);
  loop_end(b);
}

/* ---- dw = G' sum G ---- */

static void fold_sums(Sums *s, const Run *r, Expr *first, Buf *turned) {
  Builder *b = &s->l->b;
  int n = s->f.n, lanes = s->lanes;
  int64_t width = width_of(s, r), plane = plane_of(s->in * width);
  Expr *x[WINOGRAD_MAX], *out[3], *start = part_start(s, r, first, s->in);
  Expr *c = loop_begin(b, "c", ex_int(b, 0), ex_int(b, s->in), 1, FOR_PARALLEL);
  Buf *part = part_of(s, 3);
  Expr *v = loop_begin(b, "v", ex_int(b, 0), ex_int(b, width), lanes, FOR_SEQ);
  Expr *from = ex_add(b, ex_add(b, start, ex_mul(b, c, ex_int(b, width))), v);
  Expr *j = loop_begin(b, "x", ex_int(b, 0), ex_int(b, n), 1, FOR_SEQ);
  winograd_load(b, "s", s->sum, ex_add(b, from, ex_mul(b, j, ex_int(b, plane))), n * plane, n, lanes, x);
  fold(b, &s->f, x, out);
  for (int k = 0; k < 3; k++)
    st_store(b, part, lanes_at(b, ex_mul(b, ex_add(b, ex_int(b, k * n), j), ex_int(b, lanes)), lanes), out[k]);
  loop_end(b);
  Expr *y = loop_begin(b, "y", ex_int(b, 0), ex_int(b, 3), 1, FOR_SEQ);
  winograd_load(b, "s", part, ex_mul(b, y, ex_int(b, n * lanes)), lanes, n, lanes, x);
  fold(b, &s->f, x, out);
  Expr *tap = ex_add(b, ex_mul(b, c, ex_int(b, 9)), ex_mul(b, y, ex_int(b, 3)));
  for (int k = 0; k < 3; k++)
    st_store(b, turned, lanes_at(b, ex_add(b, ex_mul(b, ex_add(b, tap, ex_int(b, k)), ex_int(b, width)), v), lanes),
             out[k]);
  for (int k = 0; k < 3; k++) loop_end(b);
}

/* turned [c, taps][width] -> dw [width][c, taps] */
static void write_out(Sums *s, const Run *r, Expr *first, Buf *turned) {
  Builder *b = &s->l->b;
  int64_t width = width_of(s, r);
  Expr *j = loop_begin(b, "j", ex_int(b, 0), ex_int(b, s->in * 9), 1, FOR_PARALLEL_VECTOR);
  Expr *m = loop_begin(b, "m", ex_int(b, 0), ex_int(b, width), 1, FOR_PARALLEL);
  Expr **i = NEW_N(b->arena, Expr *, MAX_RANK);
  lower_unflatten(s->l, s->dw->dims + 1, 3, j, i + 1);
  i[0] = ex_add(b, first, m);
  lower_write(s->l, i, ex_load(b, turned, ex_add(b, ex_mul(b, j, ex_int(b, width)), m)));
  loop_end(b);
  loop_end(b);
}

static void panel_out(Sums *s, const Run *r, Expr *first) {
  Buf *turned = lower_scratch(s->l, "turned", DT_F32, DIM(s->in * 9 * width_of(s, r)));
  fold_sums(s, r, first, turned);
  write_out(s, r, first, turned);
}

/* ---- the two orders ---- */

static void all_at_once(Sums *s, const Run *run, int runs) {
  Builder *b = &s->l->b;
  s->from = ex_int(b, 0);
  transform_x(s);
  par_begin(b);
  for (int q = 0; q < runs; q++) {
    if (q) par_next(b);
    Expr *first = panel_begin(s, &run[q]);
    int64_t width = width_of(s, &run[q]);
    s->e = lower_scratch(s->l, "e", DT_F32, DIM(s->all * plane_of(s->block * width)));
    s->sum = lower_scratch(s->l, "sum", DT_F32, DIM(s->all * plane_of(s->in * width)));
    transform_dy(s, &run[q], first);
    products(s, &run[q], first);
    panel_out(s, &run[q], first);
    loop_end(b);
  }
  par_end(b);
}

static void by_blocks(Sums *s, const Run *run, int runs) {
  Builder *b = &s->l->b;
  Dim sums = parts_size(s, run, runs, s->in);
  s->e = lower_scratch(s->l, "e", DT_F32, parts_size(s, run, runs, s->block));
  s->sum = lower_scratch(s->l, "sum", DT_F32, sums);
  Expr *i = loop_begin(b, "i", ex_int(b, 0), ex_dim(b, sums), 1, FOR_PARALLEL_VECTOR);
  st_store(b, s->sum, i, ex_const(b, DT_F32, 0));
  loop_end(b);
  s->from = loop_begin(b, "from", ex_int(b, 0), ex_int(b, s->tiles), s->block, FOR_SEQ);
  transform_x(s);
  par_begin(b);
  for (int q = 0; q < runs; q++) {
    if (q) par_next(b);
    Expr *first = panel_begin(s, &run[q]);
    transform_dy(s, &run[q], first);
    products(s, &run[q], first);
    loop_end(b);
  }
  par_end(b);
  loop_end(b);
  par_begin(b);
  for (int q = 0; q < runs; q++) {
    if (q) par_next(b);
    panel_out(s, &run[q], panel_begin(s, &run[q]));
    loop_end(b);
  }
  par_end(b);
}

/* The register tile: rows divide a vector of channels; as many sums as there is room for, of as few loads as can be. */
static void choose_tile(Sums *s) {
  int most = 0;
  for (int rows = s->lanes > 8 ? 8 : s->lanes; rows >= 2; rows /= 2)
    for (int columns = 1; rows <= target_tile_rows(s->l->target, columns, 0) && columns <= s->out / s->lanes; columns++)
      if (rows * columns > most) {
        most = rows * columns;
        s->rows = rows;
        s->columns = columns;
      }
}

/* ---- does it pay? ---- */

/* Against every pixel of a tile under nine taps. The way of the sums back to nine taps counts three times, for dw has
 * another order. Sums that are added to block after block go to the L2 and back. */
static bool pays(const Sums *s) {
  const Target *g = s->l->target;
  const Form *f = &s->f;
  double in = (double)s->in, out = (double)s->out, pairs = in * out / s->lanes, tiles = (double)s->tiles,
         blocks = tiles / (double)s->block;
  double direct = tiles * f->m * f->m * 9 * pairs / g->fmas, here = tiles * s->all * pairs / g->fmas;
  here += tiles / s->lanes * (in * winograd_cycles(g, f, f->n, f->n) + out * winograd_cycles(g, f, f->m, f->n));
  here += pairs * (3 * winograd_cycles(g, f, f->n, 3) + blocks * s->all);
  return here < 0.8 * direct;
}

static bool applies(Lower *l, const Node *n, const Sums *s) {
  if (l->winograd == WINOGRAD_OFF || !conv_is_winograd(l->m, n) || !type_is_static(s->x) || !type_is_static(s->dy))
    return false;
  return s->dw->dims[0].k % s->lanes == 0 && s->dw->dims[1].k % s->lanes == 0 && lower_contiguous(l, n->in[0], 1) &&
      lower_contiguous(l, n->in[1], 1);
}

static void sizes(Sums *s, int m) {
  winograd_form(&s->f, m, 1);
  s->all = s->f.n * s->f.n;
  s->out = s->dw->dims[0].k;
  s->in = s->dw->dims[1].k;
  s->tile[0] = s->dy->dims[0];
  s->tiles = s->tile[0].k;
  for (int k = 0; k < 2; k++) {
    s->tile[1 + k] = dim_ceildiv(s->dy->dims[2 + k], DIM(s->f.m));
    s->tiles *= s->tile[1 + k].k;
  }
  int64_t blocks = (s->tiles + BLOCK - 1) / BLOCK;
  s->once = s->tiles <= BLOCK && s->all * s->tiles * s->in <= MOST_AT_ONCE;
  s->block = s->once ? s->tiles : (s->tiles + blocks - 1) / blocks;
  choose_tile(s);
}

bool winograd_grad_weight(Lower *l, const Node *n) {
  Module *m = l->m;
  Sums s = {.l = l, .n = n, .x = &value_of(m, n->in[0])->type, .dy = &value_of(m, n->in[1])->type,
            .dw = &value_of(m, n->out[0])->type, .lanes = l->target->lanes};
  if (!applies(l, n, &s)) return false;
  sizes(&s, l->winograd == WINOGRAD_F2 ? 2 : 4);
  if (s.tiles < 1 || (l->winograd == WINOGRAD_AUTO && !pays(&s))) return false;
  s.v = lower_scratch(l, "v", DT_F32, DIM(s.all * plane_of(s.in * s.block)));
  kernel_choice(l, (double)(s.tiles * s.all * s.in * s.out) / s.lanes / 2,
                "winograd F(%dx%d): tile %dx%d of %d lanes, blocks of %lld", s.f.m, s.f.m, s.rows, s.columns,
                s.lanes, (long long)s.block);
  Run run[2];
  int runs = runs_of(&s, run);
  if (s.once) all_at_once(&s, run, runs);
  else by_blocks(&s, run, runs);
  return true;
}
