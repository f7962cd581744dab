/* lstm, gru, rnn. Axes: T steps, B batch, I features, H hidden, D directions, G gates.
 *
 * Per direction: the input projection of all steps is one matrix product into scratch, proj[T*B][G*H] =
 * x W^T + biases; then step by step gates[B][G*H] = h R^T by the same register tiles (R packed, so that it stays in
 * cache and is read front to back), and one vector loop over H for the cell. h and c live in scratch.
 * Sequence lengths: step s of a sequence of length n works on t = s, or n-1-s backwards; beyond the end y is 0 and
 * the state stays. The formulas are those of ir/eval_recurrent.c. */
#include "passes/kernels/tile.h"
#include "passes/lower/functions.h"
#include <string.h>
#include <strings.h>

typedef struct Cell {
  Lower *l;
  const Node *n;
  int gates, per_direction;
  const char *const *dflt;
  Dim T, B, I, H, GH;
  Buf *proj, *state, *cell, *mix, *reset;       /* mix: gates [B][G*H]; reset: r * h [B][H] */
  Expr *d;                                      /* current direction */
  int dir;
  bool backwards, has_bias, linear_before_reset;
  DType t;
} Cell;

static ValueId input(const Cell *c, int k) { return k < c->n->nin ? c->n->in[k] : 0; }

static Expr *read3(Cell *c, int k, Expr *x, Expr *y, Expr *z) {
  Expr *i[3] = {x, y, z};
  return lower_read(c->l, input(c, k), i);
}

static Expr *scratch_at(Cell *c, Buf *buf, Expr *row, Dim width, Expr *j) {
  Builder *b = &c->l->b;
  (void)buf;
  return ex_add(b, ex_mul(b, row, ex_dim(b, width)), j);
}

/* ---- the two products ---- */

typedef struct Rows { Tiling t; Cell *c; int weight; Dim first; Buf *from, *to; Dim to_width; } Rows;   /* t first: callbacks cast back */

static Expr *rows_a(Tiling *t, Expr *row, Expr **k, Expr *col) {
  Rows *r = (Rows *)t;
  Builder *b = &t->l->b;
  (void)col;
  if (r->from) return ex_load(b, r->from, scratch_at(r->c, r->from, row, r->c->H, k[0]));
  if (t->flat) return dim_is(r->c->B, 1) ? read3(r->c, 0, row, ex_int(b, 0), k[0]) : read3(r->c, 0, ex_int(b, 0), row, k[0]);
  return read3(r->c, 0, t->ctx[0], row, k[0]);
}

static Expr *rows_b(Tiling *t, Expr **k, Expr *col) {
  Rows *r = (Rows *)t;
  return read3(r->c, r->weight, r->c->d, ex_add(&t->l->b, col, ex_dim(&t->l->b, r->first)), k[0]);
}

/* Biases of the input product: both halves, except the gate that GRU resets after its recurrent product. */
static Expr *rows_start(Tiling *t, Expr *col) {
  Rows *r = (Rows *)t;
  Cell *c = r->c;
  Builder *b = &t->l->b;
  if (r->from || !c->has_bias) return NULL;
  Expr *i[2] = {c->d, col}, *j[2] = {c->d, ex_add(b, col, ex_dim(b, c->GH))};
  Expr *w = lower_read(c->l, input(c, 3), i), *u = lower_read(c->l, input(c, 3), j);
  if (!c->linear_before_reset) return ex_add(b, w, u);
  Expr *keep = ex_lt(b, col, ex_dim(b, dim_mul(DIM(2), c->H)));
  return ex_add(b, w, ex_select(b, keep, u, ex_const(b, c->t, 0)));
}

static void rows_write(Tiling *t, Expr *row, Expr *col, Expr *acc) {
  Rows *r = (Rows *)t;
  Builder *b = &t->l->b;
  Expr *at = row;
  if (!r->from && !t->flat) at = ex_add(b, ex_mul(b, t->ctx[0], ex_dim(b, r->c->B)), row);
  st_store(b, r->to, scratch_at(r->c, r->to, at, r->to_width, ex_add(b, col, ex_dim(b, r->first))), acc);
}

static void rows_outer(Tiling *t) {
  Rows *r = (Rows *)t;
  if (!r->from && !t->flat) t->ctx[0] = loop_begin(&t->l->b, "t", ex_int(&t->l->b, 0), ex_dim(&t->l->b, r->c->T), 1, FOR_SEQ);
}

static void rows_outer_end(Tiling *t) {
  Rows *r = (Rows *)t;
  if (!r->from && !t->flat) loop_end(&t->l->b);
}

typedef struct Gate { const float *w; int64_t k, first; } Gate;

static float gate_at(const void *ctx, int64_t k, int64_t col) {
  const Gate *g = ctx;
  return g->w[(g->first + col) * g->k + k];
}

/* to[rows][to_width] at columns [first, first + cols) = operand * weight[dir]^T, rows first.. of the weight */
static void product(Cell *c, int weight, Buf *from, Buf *to, Dim first, Dim cols, Dim ksize) {
  const Value *w = value_of(c->l->m, input(c, weight));
  Rows r = {.c = c, .weight = weight, .first = first, .from = from, .to = to, .to_width = c->GH};
  r.t = (Tiling){.l = c->l, .n = c->n, .rows = c->B, .cols = cols, .kaxes = 1, .a = rows_a, .b = rows_b, .write = rows_write,
                 .start = rows_start, .outer_begin = rows_outer, .outer_end = rows_outer_end};
  if (!from && (dim_is(c->B, 1) || axes_collapse(c->l, input(c, 0), 0, 1))) {   // all steps at once: rows of one matrix
    r.t.flat = true;
    r.t.rows = dim_mul(c->T, c->B);
  }
  r.t.ksize[0] = ksize;
  r.t.kname[0] = "k";
  if (w->constant && w->type.dtype == DT_F32) {
    Gate g = {(const float *)w->constant->data + c->dir * c->GH.k * ksize.k, ksize.k, first.k};
    r.t.pack = lower_weight(c->l, "weight", tile_pack(&r.t, ksize.k, gate_at, &g));
  }
  tile_build(&r.t);
}

/* ---- activations ---- */

static Expr *activation(Cell *c, int which, Expr *x) {
  Builder *b = &c->l->b;
  int k = c->dir * c->per_direction + which;
  const Attr *names = node_attr(c->n, "activations"), *al = node_attr(c->n, "alpha"), *be = node_attr(c->n, "beta");
  const char *f = names && k < names->n ? names->strs[k] : c->dflt[which];
  double clip = node_float(c->n, "clip", 0);
  if (clip > 0 && x) x = ex_min(b, ex_const(b, c->t, clip), ex_max(b, ex_const(b, c->t, -clip), x));
  bool has_a = al && k < al->n, has_b = be && k < be->n;
  Expr *one = ex_const(b, c->t, 1), *zero = ex_const(b, c->t, 0);
  Expr *alpha = ex_const(b, c->t, has_a ? al->floats[k] : 1), *beta = ex_const(b, c->t, has_b ? be->floats[k] : 0);
  if (!strcasecmp(f, "tanh")) return ex_scalar(b, S_TANH, x, NULL, NULL);
  if (!strcasecmp(f, "sigmoid")) return ex_scalar(b, S_SIGMOID, x, NULL, NULL);
  if (!strcasecmp(f, "relu")) return ex_scalar(b, S_RELU, x, NULL, NULL);
  if (!strcasecmp(f, "softplus")) return ex_scalar(b, S_SOFTPLUS, x, NULL, NULL);
  x = let(b, "x", x);
  Expr *negative = ex_lt(b, x, zero);
  if (!strcasecmp(f, "affine")) return ex_add(b, ex_mul(b, alpha, x), beta);
  if (!strcasecmp(f, "leakyrelu")) return ex_select(b, negative, ex_mul(b, has_a ? alpha : ex_const(b, c->t, 0.01), x), x);
  if (!strcasecmp(f, "thresholdedrelu")) return ex_select(b, ex_lt(b, alpha, x), x, zero);
  if (!strcasecmp(f, "scaledtanh"))
    return ex_mul(b, alpha, ex_scalar(b, S_TANH, ex_mul(b, has_b ? beta : one, x), NULL, NULL));
  if (!strcasecmp(f, "hardsigmoid")) {
    if (!has_a) alpha = ex_const(b, c->t, 0.2);
    if (!has_b) beta = ex_const(b, c->t, 0.5);
    return ex_min(b, one, ex_max(b, zero, ex_add(b, ex_mul(b, alpha, x), beta)));
  }
  if (!strcasecmp(f, "elu")) return ex_select(b, negative, ex_mul(b, alpha, ex_scalar(b, S_EXPM1, x, NULL, NULL)), x);
  return ex_scalar(b, S_DIV, x, ex_add(b, one, ex_scalar(b, S_ABS, x, NULL, NULL)), NULL);          // softsign
}

/* ---- one step of one sequence, over j in 0..H ---- */

typedef struct At { Expr *batch, *j, *t, *row; } At;      /* row: of proj */

static Expr *gate(Cell *c, const At *at, int g) {         /* input part + recurrent part */
  Builder *b = &c->l->b;
  Expr *j = ex_add(b, at->j, ex_dim(b, dim_mul(DIM(g), c->H)));
  return ex_add(b, ex_load(b, c->proj, scratch_at(c, c->proj, at->row, c->GH, j)),
                ex_load(b, c->mix, scratch_at(c, c->mix, at->batch, c->GH, j)));
}

static Expr *state_at(Cell *c, Buf *buf, const At *at) { return scratch_at(c, buf, at->batch, c->H, at->j); }

static Expr *peephole(Cell *c, const At *at, int which, Expr *x, Expr *cell) {
  Builder *b = &c->l->b;
  if (!input(c, 7)) return x;
  Expr *i[2] = {c->d, ex_add(b, at->j, ex_dim(b, dim_mul(DIM(which), c->H)))};
  return ex_fma(b, lower_read(c->l, input(c, 7), i), cell, x);
}

static Expr *lstm_cell(Cell *c, const At *at, Expr **cell) {
  Builder *b = &c->l->b;
  Expr *old = let(b, "c", ex_load(b, c->cell, state_at(c, c->cell, at)));
  Expr *i = let(b, "i", activation(c, 0, peephole(c, at, 0, gate(c, at, 0), old)));
  Expr *f = node_int(c->n, "input_forget", 0) ? ex_sub(b, ex_const(b, c->t, 1), i)
                                              : activation(c, 0, peephole(c, at, 2, gate(c, at, 2), old));
  Expr *g = activation(c, 1, gate(c, at, 3));
  Expr *next = *cell = let(b, "c", ex_fma(b, f, old, ex_mul(b, i, g)));
  Expr *o = let(b, "o", activation(c, 0, peephole(c, at, 1, gate(c, at, 1), next)));
  Cell unclipped = *c;
  Node plain = *c->n;                                     // the clip is on gates, not on the cell
  Attr *attrs = arena_dup(b->arena, plain.attr, sizeof *plain.attr * (size_t)plain.nattr);
  for (int k = 0; k < plain.nattr; k++) if (!strcmp(attrs[k].name, "clip")) attrs[k].f = 0;
  plain.attr = attrs;
  unclipped.n = &plain;
  return ex_mul(b, o, activation(&unclipped, 2, next));
}

static Expr *gru_cell(Cell *c, const At *at) {
  Builder *b = &c->l->b;
  Expr *h = let(b, "h", ex_load(b, c->state, state_at(c, c->state, at)));
  Expr *z = let(b, "z", activation(c, 0, gate(c, at, 0)));
  Expr *j = ex_add(b, at->j, ex_dim(b, dim_mul(DIM(2), c->H)));
  Expr *x = ex_load(b, c->proj, scratch_at(c, c->proj, at->row, c->GH, j));
  Expr *r = ex_load(b, c->mix, scratch_at(c, c->mix, at->batch, c->GH, j));
  if (c->linear_before_reset) {
    if (c->has_bias) {
      Expr *i[2] = {c->d, ex_add(b, j, ex_dim(b, c->GH))};
      r = ex_add(b, r, lower_read(c->l, input(c, 3), i));
    }
    r = ex_mul(b, activation(c, 0, gate(c, at, 1)), r);
  }
  Expr *n = let(b, "n", activation(c, 1, ex_add(b, x, r)));
  return ex_fma(b, z, ex_sub(b, h, n), n);                // (1 - z) n + z h
}

/* ---- the layer ---- */

static void position(Cell *c, At *at, Expr *s, Expr **active) {
  Builder *b = &c->l->b;
  *active = NULL;
  Expr *last = ex_sub(b, ex_dim(b, c->T), ex_int(b, 1));
  at->t = c->backwards ? ex_sub(b, last, s) : s;
  if (input(c, 4)) {
    Expr *len = let(b, "len", ex_cast(b, DT_I64, lower_read(c->l, input(c, 4), &at->batch)));
    *active = let(b, "active", ex_lt(b, s, len));
    if (c->backwards) at->t = ex_select(b, *active, ex_sub(b, ex_sub(b, len, ex_int(b, 1)), s), s);
  }
  at->t = let(b, "t", at->t);
  at->row = let(b, "row", ex_add(b, ex_mul(b, at->t, ex_dim(b, c->B)), at->batch));
}

static void cell_loop(Cell *c, Expr *s) {
  Builder *b = &c->l->b;
  At at;
  Expr *active, *cell = NULL;
  at.batch = loop_begin(b, "b", ex_int(b, 0), ex_dim(b, c->B), 1, FOR_SEQ);
  position(c, &at, s, &active);
  at.j = loop_begin(b, "j", ex_int(b, 0), ex_dim(b, c->H), 1, FOR_VECTOR);
  Expr *h = c->gates == 4 ? lstm_cell(c, &at, &cell) : c->gates == 3 ? gru_cell(c, &at) : activation(c, 0, gate(c, &at, 0));
  h = let(b, "h", h);
  Expr *y = h;
  if (active) {
    y = ex_select(b, active, h, ex_const(b, c->t, 0));
    h = ex_select(b, active, h, ex_load(b, c->state, state_at(c, c->state, &at)));
    if (cell) cell = ex_select(b, active, cell, ex_load(b, c->cell, state_at(c, c->cell, &at)));
  }
  st_store(b, c->state, state_at(c, c->state, &at), h);
  if (cell) st_store(b, c->cell, state_at(c, c->cell, &at), cell);
  Expr *i[4] = {at.t, c->d, at.batch, at.j};
  lower_write(c->l, i, y);
  loop_end(b);
  loop_end(b);
}

/* r * h for the second recurrent product of a GRU that resets before it */
static void reset_loop(Cell *c, Expr *s) {
  Builder *b = &c->l->b;
  At at;
  Expr *active;
  at.batch = loop_begin(b, "b", ex_int(b, 0), ex_dim(b, c->B), 1, FOR_SEQ);
  position(c, &at, s, &active);
  at.j = loop_begin(b, "j", ex_int(b, 0), ex_dim(b, c->H), 1, FOR_VECTOR);
  Expr *h = ex_load(b, c->state, state_at(c, c->state, &at));
  st_store(b, c->reset, state_at(c, c->reset, &at), ex_mul(b, activation(c, 0, gate(c, &at, 1)), h));
  loop_end(b);
  loop_end(b);
}

/* state <- initial value, or output <- state */
static void copy_state(Cell *c, Buf *buf, int from, ValueId to) {
  Builder *b = &c->l->b;
  At at;
  at.batch = loop_begin(b, "b", ex_int(b, 0), ex_dim(b, c->B), 1, FOR_SEQ);
  at.j = loop_begin(b, "j", ex_int(b, 0), ex_dim(b, c->H), 1, FOR_VECTOR);
  if (to) {
    Expr *i[3] = {c->d, at.batch, at.j};
    lower_write_to(c->l, to, i, ex_load(b, buf, state_at(c, buf, &at)));
  } else {
    st_store(b, buf, state_at(c, buf, &at), input(c, from) ? read3(c, from, c->d, at.batch, at.j) : ex_const(b, c->t, 0));
  }
  loop_end(b);
  loop_end(b);
}

static void direction(Cell *c) {
  Builder *b = &c->l->b;
  product(c, 1, NULL, c->proj, DIM(0), c->GH, c->I);
  copy_state(c, c->state, 5, 0);
  if (c->cell) copy_state(c, c->cell, 6, 0);
  Expr *s = loop_begin(b, "s", ex_int(b, 0), ex_dim(b, c->T), 1, FOR_SEQ);
  if (c->reset) {
    Dim two = dim_mul(DIM(2), c->H);
    product(c, 2, c->state, c->mix, DIM(0), two, c->H);
    reset_loop(c, s);
    product(c, 2, c->reset, c->mix, two, c->H, c->H);
  } else {
    product(c, 2, c->state, c->mix, DIM(0), c->GH, c->H);
  }
  cell_loop(c, s);
  loop_end(b);
  ValueId out[3] = {0};
  for (int k = 1; k < c->n->nout && k < 3; k++)
    if (c->n->out[k] && value_is_stored(c->l->fusion, c->n->out[k])) out[k] = c->n->out[k];
  if (out[1]) copy_state(c, c->state, 0, out[1]);
  if (out[2]) copy_state(c, c->cell, 0, out[2]);
}

static bool recurrent(Lower *l, const Node *n, int gates, int per_direction, const char *const *dflt) {
  const Type *x = &value_of(l->m, n->in[0])->type, *w = &value_of(l->m, n->in[1])->type, *r = &value_of(l->m, n->in[2])->type;
  if (x->dtype != DT_F32) return lower_fail(l, "recurrent layers of type %s", dtype_info[x->dtype].text);
  Cell c = {.l = l, .n = n, .gates = gates, .per_direction = per_direction, .dflt = dflt, .T = x->dims[0], .B = x->dims[1],
            .I = x->dims[2], .H = r->dims[2], .GH = w->dims[1], .t = DT_F32, .has_bias = n->nin > 3 && n->in[3],
            .linear_before_reset = gates == 3 && node_int(n, "linear_before_reset", 0)};
  if (!dim_is_const(c.GH) || !dim_is_const(c.I)) return lower_fail(l, "the hidden size must be known");
  const char *way = node_str(n, "direction", "forward");
  int directions = strcmp(way, "bidirectional") ? 1 : 2;
  c.proj = lower_scratch(l, "proj", DT_F32, dim_mul(dim_mul(c.T, c.B), c.GH));
  c.mix = lower_scratch(l, "gates", DT_F32, dim_mul(c.B, c.GH));
  c.state = lower_scratch(l, "state", DT_F32, dim_mul(c.B, c.H));
  if (gates == 4) c.cell = lower_scratch(l, "cell", DT_F32, dim_mul(c.B, c.H));
  if (gates == 3 && !c.linear_before_reset) c.reset = lower_scratch(l, "reset", DT_F32, dim_mul(c.B, c.H));
  for (c.dir = 0; c.dir < directions; c.dir++) {
    c.d = ex_int(&l->b, c.dir);
    c.backwards = c.dir == 1 || way[0] == 'r';
    direction(&c);
  }
  return true;
}

bool lower_lstm(Lower *l, const Node *n) { return recurrent(l, n, 4, 3, (const char *const[]){"sigmoid", "tanh", "tanh"}); }
bool lower_gru(Lower *l, const Node *n) { return recurrent(l, n, 3, 2, (const char *const[]){"sigmoid", "tanh"}); }
bool lower_rnn(Lower *l, const Node *n) { return recurrent(l, n, 1, 1, (const char *const[]){"tanh"}); }
