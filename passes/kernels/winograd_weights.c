/* u = G g G' for weights that are computed, as those of a network that trains are: a vector of output channels at a
 * time, into the panels that the products read.
 *
 *   for panel of output channels, input channel, vector
 *     part = G g                      columns of g: 3 -> n
 *     u[i] = part G'                  its rows */
#include "passes/kernels/winograd.h"

static Expr *scaled(Builder *b, Expr *x, double by, Expr *to) {
  Expr *k = ex_splat(b, ex_const(b, DT_F32, by), x->lanes);
  return to ? ex_fma(b, k, x, to) : by == 1 ? x : ex_mul(b, k, x);
}

/* G x: rows for points +p and -p differ in the sign of the middle. */
static void transform(Builder *b, const Form *f, Expr *const *x, Expr **out) {
  out[0] = let(b, "u", scaled(b, x[0], f->g[0][0], NULL));
  for (int j = 1; j < f->n - 1; j += 2) {
    Expr *even = let(b, "even", scaled(b, x[2], f->g[j][2], scaled(b, x[0], f->g[j][0], NULL)));
    Expr *odd = let(b, "odd", scaled(b, x[1], f->g[j][1], NULL));
    out[j] = let(b, "u", ex_add(b, even, odd));
    out[j + 1] = let(b, "u", ex_sub(b, even, odd));
  }
  out[f->n - 1] = x[2];
}

typedef struct Weights { Tiling *w, *direct; const Form *f; bool flipped; Buf *u; } Weights;

static Expr *read_weight(Weights *s, int y, Expr *x, Expr *c, Expr *col) {
  Builder *b = &s->w->l->b;
  Expr *k[3] = {ex_int(b, s->flipped ? 2 - y : y), s->flipped ? ex_sub(b, ex_int(b, 2), x) : x, c};
  Expr *v = s->direct->b(s->direct, k, col);
  return let(b, "g", as_lanes(b, v, col->lanes));
}

/* Element [0][c][0] of the panel is at `to`; the vector's columns begin at `first` and there at `at`. */
static void transform_vector(Weights *s, Buf *part, Expr *first, Expr *to, Expr *c, int64_t at, int64_t plane,
                             int lanes) {
  Builder *b = &s->w->l->b;
  int n = s->f->n;
  Expr *x[3], *out[WINOGRAD_MAX], *col = lanes_at(b, ex_add(b, first, ex_int(b, at)), lanes);
  Expr *j = loop_begin(b, "x", ex_int(b, 0), ex_int(b, 3), 1, FOR_SEQ);
  for (int y = 0; y < 3; y++) x[y] = read_weight(s, y, j, c, col);
  transform(b, s->f, x, out);
  for (int i = 0; i < n; i++)
    st_store(b, part, lanes_at(b, ex_mul(b, ex_add(b, ex_int(b, i * 3), j), ex_int(b, lanes)), lanes), out[i]);
  loop_end(b);
  Expr *y = loop_begin(b, "y", ex_int(b, 0), ex_int(b, n), 1, FOR_SEQ);
  winograd_load(b, "g", part, ex_mul(b, y, ex_int(b, 3 * lanes)), lanes, 3, lanes, x);
  transform(b, s->f, x, out);
  to = ex_add(b, ex_add(b, to, ex_int(b, at)), ex_mul(b, y, ex_int(b, n * plane)));
  for (int k = 0; k < n; k++) st_store(b, s->u, lanes_at(b, ex_add(b, to, ex_int(b, k * plane)), lanes), out[k]);
  loop_end(b);
}

/* Where columns end within a vector zeros follow: their products are not written, but made. */
static void no_weights(Weights *s, Expr *to, int64_t at, int64_t plane, int lanes) {
  Builder *b = &s->w->l->b;
  Expr *zero = ex_splat(b, ex_const(b, DT_F32, 0), lanes);
  Expr *i = loop_begin(b, "i", ex_int(b, 0), ex_int(b, s->f->n * s->f->n), 1, FOR_SEQ);
  st_store(b, s->u, lanes_at(b, ex_add(b, ex_add(b, to, ex_int(b, at)), ex_mul(b, i, ex_int(b, plane))), lanes), zero);
  loop_end(b);
}

/* The panel's weights of input channel c, from `to` on: vectors, or halves of what there is. */
static void transform_panel(Weights *s, const Panel *p, Buf *part, Expr *first, Expr *to, Expr *c) {
  int64_t plane = s->w->ksize[0].k * p->width, at = 0;
  int whole = p->lanes[0], lanes;
  for (; at < p->cols; at += lanes) {
    for (lanes = whole; lanes > p->cols - at; lanes /= 2) {}
    transform_vector(s, part, first, to, c, at, plane, lanes);
  }
  for (; at < p->width; at += lanes) {
    for (lanes = whole; lanes > p->width - at; lanes /= 2) {}
    no_weights(s, to, at, plane, lanes);
  }
}

Buf *winograd_weights_here(Tiling *w, const Form *f, Tiling *direct, bool flipped) {
  Lower *l = w->l;
  Builder *b = &l->b;
  int64_t in = w->ksize[0].k, all = f->n * f->n, columns = 0;
  Weights s = {.w = w, .direct = direct, .f = f, .flipped = flipped};
  Panel p[8];
  int n = tile_panels(w, p, 8);
  for (int q = 0; q < n; q++) columns += p[q].width * p[q].repeat;
  s.u = lower_scratch(l, "transformed", DT_F32, DIM(all * in * columns));
  par_begin(b);
  for (int q = 0; q < n; q++) {
    if (q) par_next(b);
    Expr *panel = loop_begin(b, "panel", ex_int(b, 0), ex_int(b, p[q].repeat), 1, FOR_PARALLEL);
    Expr *first = let(b, "first", ex_add(b, ex_mul(b, panel, ex_int(b, p[q].width)), ex_int(b, p[q].start)));
    Expr *c = loop_begin(b, "c", ex_int(b, 0), ex_int(b, in), 1, FOR_PARALLEL);
    Buf *part = winograd_part(b, (int64_t)3 * f->n * l->target->lanes);
    Expr *to = let(b, "to", ex_add(b, ex_mul(b, first, ex_int(b, all * in)), ex_mul(b, c, ex_int(b, p[q].width))));
    transform_panel(&s, &p[q], part, first, to, c);
    loop_end(b);
    loop_end(b);
  }
  par_end(b);
  return s.u;
}
