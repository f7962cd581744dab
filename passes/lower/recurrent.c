/* lstm, gru, rnn. Axes: T steps, B batch, I features, H hidden, D directions, G gates.
 *
 * Per direction: the input projection of all steps is one matrix product into scratch, proj[T*B][G*H] =
 * x W^T + biases; then step by step gates[B][G*H] = h R^T by the same register tiles (R packed, so that it stays in
 * cache and is read front to back), and one vector loop over H for the cell. h and c live in scratch. Weights that
 * are constants are packed when compiling, others once per call.
 * In training the projection is written where the output `gates` lies, and a step replaces it by what its gates'
 * activations got.
 * Sequence lengths: step s of a sequence of length n works on t = s, or n-1-s backwards; beyond the end y is 0 and
 * the state stays. The formulas are those of ir/eval_recurrent.c. */
#include "passes/lower/recurrent.h"
#include "passes/lower/functions.h"

ValueId cell_output(const Cell *c, int k) {
  return k < c->n->nout && c->n->out[k] && value_is_stored(c->l->fusion, c->n->out[k]) ? c->n->out[k] : 0;
}

Expr *cell_read(Cell *c, int k, Expr *x, Expr *y, Expr *z) {
  Expr *i[3] = {x, y, z};
  return lower_read(c->l, cell_input(c, k), i);
}

Expr *cell_scratch(Cell *c, Expr *row, Dim width, Expr *j) {
  Builder *b = &c->l->b;
  return ex_add(b, ex_mul(b, row, ex_dim(b, width)), j);
}

Expr *cell_column(Cell *c, const At *at, int gate) {
  return ex_add(&c->l->b, at->j, ex_dim(&c->l->b, dim_mul(DIM(gate), c->H)));
}

/* Where the input's part of a gate is: in scratch, or in the output that keeps it. */
static Expr *proj_at(Cell *c, Expr *t, Expr *batch, Expr *col) {
  Builder *b = &c->l->b;
  Expr *i[4] = {t, c->d, batch, col};
  if (c->kept) return lower_index(c->l, c->kept, i);
  return cell_scratch(c, ex_add(b, ex_mul(b, t, ex_dim(b, c->B)), batch), c->GH, col);
}

/* ---- the two products ---- */

typedef struct Gate { const float *w; int64_t k, first; } Gate;

/* t first: callbacks cast back */
typedef struct Rows { Tiling t; Cell *c; int weight; Dim first; Buf *from, *to; Gate gate; } Rows;

static Expr *rows_a(Tiling *t, Expr *row, Expr **k, Expr *col) {
  Rows *r = (Rows *)t;
  Builder *b = &t->l->b;
  (void)col;
  if (r->from) return ex_load(b, r->from, cell_scratch(r->c, row, r->c->H, k[0]));
  if (t->flat)
    return dim_is(r->c->B, 1) ? cell_read(r->c, 0, row, ex_int(b, 0), k[0])
                              : cell_read(r->c, 0, ex_int(b, 0), row, k[0]);
  return cell_read(r->c, 0, t->ctx[0], row, k[0]);
}

static Expr *rows_b(Tiling *t, Expr **k, Expr *col) {
  Rows *r = (Rows *)t;
  return cell_read(r->c, r->weight, r->c->d, ex_add(&t->l->b, col, ex_dim(&t->l->b, r->first)), k[0]);
}

/* Biases of the input product: both halves, except the gate that GRU resets after its recurrent product. */
static Expr *rows_start(Tiling *t, Expr *col) {
  Rows *r = (Rows *)t;
  Cell *c = r->c;
  Builder *b = &t->l->b;
  if (r->from || !c->has_bias) return NULL;
  Expr *i[2] = {c->d, col}, *j[2] = {c->d, ex_add(b, col, ex_dim(b, c->GH))};
  Expr *w = lower_read(c->l, cell_input(c, 3), i), *u = lower_read(c->l, cell_input(c, 3), j);
  if (!c->linear_before_reset) return ex_add(b, w, u);
  Expr *keep = ex_lt(b, col, ex_dim(b, dim_mul(DIM(2), c->H)));
  return ex_add(b, w, ex_select(b, keep, u, ex_const(b, c->t, 0)));
}

static void rows_write(Tiling *t, Expr *row, Expr *col, Expr *acc) {
  Rows *r = (Rows *)t;
  Cell *c = r->c;
  Builder *b = &t->l->b;
  Expr *zero = ex_int(b, 0);
  col = ex_add(b, col, ex_dim(b, r->first));
  if (r->from) st_store(b, r->to, cell_scratch(c, row, c->GH, col), acc);
  else if (!t->flat) st_store(b, r->to, proj_at(c, t->ctx[0], row, col), acc);
  else if (dim_is(c->B, 1)) st_store(b, r->to, proj_at(c, row, zero, col), acc);
  else st_store(b, r->to, proj_at(c, zero, row, col), acc);
}

static void rows_outer(Tiling *t) {
  Rows *r = (Rows *)t;
  if (!r->from && !t->flat)
    t->ctx[0] = loop_begin(&t->l->b, "t", ex_int(&t->l->b, 0), ex_dim(&t->l->b, r->c->T), 1, FOR_PARALLEL);
}

static void rows_outer_end(Tiling *t) {
  Rows *r = (Rows *)t;
  if (!r->from && !t->flat) loop_end(&t->l->b);
}

static float gate_at(const void *ctx, int64_t k, int64_t col) {
  const Gate *g = ctx;
  return g->w[(g->first + col) * g->k + k];
}

/* The product of an operand (NULL: x) with rows [first, first + cols) of weight[dir], transposed, into those columns of
 * `to`. A weight that is computed is packed here, once; product_build runs it, in a loop or not. */
static Rows *product(Cell *c, int weight, Buf *from, Buf *to, Dim first, Dim cols, Dim ksize) {
  Lower *l = c->l;
  const Value *w = value_of(l->m, cell_input(c, weight));
  Rows *r = NEW(l->b.arena, Rows);
  *r = (Rows){.c = c, .weight = weight, .first = first, .from = from, .to = to};
  r->t = (Tiling){.l = l, .n = c->n, .rows = c->B, .cols = cols, .kaxes = 1, .a = rows_a, .b = rows_b,
                  .write = rows_write, .start = rows_start, .outer_begin = rows_outer, .outer_end = rows_outer_end};
  bool rows = !c->kept || (c->directions == 1 && axes_collapse(l, c->kept, 0, 2));
  // all steps at once: rows of one matrix
  if (!from && rows && (dim_is(c->B, 1) || axes_collapse(l, cell_input(c, 0), 0, 1))) {
    r->t.flat = true;
    r->t.rows = dim_mul(c->T, c->B);
  }
  r->t.ksize[0] = ksize;
  r->t.kname[0] = "k";
  if (w->constant && w->type.dtype == DT_F32) {
    r->gate = (Gate){(const float *)w->constant->data + c->dir * c->GH.k * ksize.k, ksize.k, first.k};
  } else {
    tile_pack_here(&r->t);
  }
  return r;
}

static void product_build(Rows *r) {
  if (r->gate.w) {
    if (gemm_rows(&r->t, gate_at, &r->gate)) return;
    r->t.pack = lower_weight(r->t.l, "weight", tile_pack(&r->t, r->gate.k, gate_at, &r->gate));
  }
  tile_build(&r->t);
}

/* ---- activations ---- */

Expr *cell_clip(Cell *c, Expr *x) {
  Builder *b = &c->l->b;
  double clip = node_float(c->n, "clip", 0);
  return clip > 0 ? ex_min(b, ex_const(b, c->t, clip), ex_max(b, ex_const(b, c->t, -clip), x)) : x;
}

Expr *cell_activation(Cell *c, int which, Expr *x) {
  Builder *b = &c->l->b;
  Activation f = recurrent_activation(c->n, c->dir, which);
  Expr *one = ex_const(b, c->t, 1), *zero = ex_const(b, c->t, 0);
  Expr *alpha = ex_const(b, c->t, f.alpha), *beta = ex_const(b, c->t, f.beta);
  x = let(b, "x", x);
  switch (f.kind) {
  case ACT_TANH:             return ex_scalar(b, S_TANH, x, NULL, NULL);
  case ACT_SIGMOID:          return ex_scalar(b, S_SIGMOID, x, NULL, NULL);
  case ACT_RELU:             return ex_scalar(b, S_RELU, x, NULL, NULL);
  case ACT_SOFTPLUS:         return ex_scalar(b, S_SOFTPLUS, x, NULL, NULL);
  case ACT_AFFINE:           return ex_add(b, ex_mul(b, alpha, x), beta);
  case ACT_LEAKY_RELU:       return ex_select(b, ex_lt(b, x, zero), ex_mul(b, alpha, x), x);
  case ACT_THRESHOLDED_RELU: return ex_select(b, ex_lt(b, alpha, x), x, zero);
  case ACT_SCALED_TANH:      return ex_mul(b, alpha, ex_scalar(b, S_TANH, ex_mul(b, beta, x), NULL, NULL));
  case ACT_HARD_SIGMOID:     return ex_min(b, one, ex_max(b, zero, ex_add(b, ex_mul(b, alpha, x), beta)));
  case ACT_ELU:
    return ex_select(b, ex_lt(b, x, zero), ex_mul(b, alpha, ex_scalar(b, S_EXPM1, x, NULL, NULL)), x);
  case ACT_SOFTSIGN:         return ex_scalar(b, S_DIV, x, ex_add(b, one, ex_scalar(b, S_ABS, x, NULL, NULL)), NULL);
  case ACT_COUNT:            break;
  }
  return NULL;
}

/* ---- one step of one sequence, over j in 0..H ---- */

static Expr *from_input(Cell *c, const At *at, int g) {
  return ex_load(&c->l->b, c->proj, proj_at(c, at->t, at->batch, cell_column(c, at, g)));
}

static Expr *from_state(Cell *c, const At *at, int g) {
  return ex_load(&c->l->b, c->mix, cell_scratch(c, at->batch, c->GH, cell_column(c, at, g)));
}

static Expr *gate(Cell *c, const At *at, int g) { return ex_add(&c->l->b, from_input(c, at, g), from_state(c, at, g)); }

static Expr *while_active(Cell *c, const At *at, Expr *x) {
  return at->active ? ex_select(&c->l->b, at->active, x, ex_const(&c->l->b, c->t, 0)) : x;
}

/* What gate g's activation gets, kept for training. */
static Expr *keep_gate(Cell *c, const At *at, int g, Expr *x) {
  x = let(&c->l->b, "x", x);
  if (c->kept) {
    Expr *i[4] = {at->t, c->d, at->batch, cell_column(c, at, g)};
    lower_write_to(c->l, c->kept, i, while_active(c, at, x));
  }
  return cell_clip(c, x);
}

static void keep_mid(Cell *c, const At *at, Expr *x) {
  Expr *i[4] = {at->t, c->d, at->batch, at->j};
  if (c->mid) lower_write_to(c->l, c->mid, i, while_active(c, at, x));
}

static Expr *peephole(Cell *c, const At *at, int which, Expr *x, Expr *cell) {
  if (!cell_input(c, 7)) return x;
  Expr *i[2] = {c->d, cell_column(c, at, which)};
  return ex_fma(&c->l->b, lower_read(c->l, cell_input(c, 7), i), cell, x);
}

static Expr *lstm_cell(Cell *c, const At *at, Expr **cell) {
  Builder *b = &c->l->b;
  Expr *old = let(b, "c", ex_load(b, c->cell, cell_state(c, at)));
  Expr *i = let(b, "i", cell_activation(c, 0, keep_gate(c, at, 0, peephole(c, at, 0, gate(c, at, 0), old))));
  bool coupled = node_int(c->n, "input_forget", 0);
  Expr *f = coupled && !c->kept ? NULL : keep_gate(c, at, 2, peephole(c, at, 2, gate(c, at, 2), old));
  f = coupled ? ex_sub(b, ex_const(b, c->t, 1), i) : cell_activation(c, 0, f);
  Expr *g = cell_activation(c, 1, keep_gate(c, at, 3, gate(c, at, 3)));
  Expr *next = *cell = let(b, "c", ex_fma(b, f, old, ex_mul(b, i, g)));
  Expr *o = let(b, "o", cell_activation(c, 0, keep_gate(c, at, 1, peephole(c, at, 1, gate(c, at, 1), next))));
  keep_mid(c, at, next);
  return ex_mul(b, o, cell_activation(c, 2, next));
}

static Expr *gru_cell(Cell *c, const At *at) {
  Builder *b = &c->l->b;
  Expr *h = let(b, "h", ex_load(b, c->state, cell_state(c, at)));
  Expr *z = let(b, "z", cell_activation(c, 0, keep_gate(c, at, 0, gate(c, at, 0))));
  Expr *x = from_input(c, at, 2), *r = from_state(c, at, 2);
  if (c->linear_before_reset) {
    if (c->has_bias) {
      Expr *i[2] = {c->d, ex_add(b, cell_column(c, at, 2), ex_dim(b, c->GH))};
      r = ex_add(b, r, lower_read(c->l, cell_input(c, 3), i));
    }
    r = let(b, "r", r);
    keep_mid(c, at, r);
    r = ex_mul(b, cell_activation(c, 0, keep_gate(c, at, 1, gate(c, at, 1))), r);
  }
  Expr *n = let(b, "n", cell_activation(c, 1, keep_gate(c, at, 2, ex_add(b, x, r))));
  return ex_fma(b, z, ex_sub(b, h, n), n);                // (1 - z) n + z h
}

static Expr *rnn_cell(Cell *c, const At *at) { return cell_activation(c, 0, keep_gate(c, at, 0, gate(c, at, 0))); }

/* ---- the layer ---- */

void cell_position(Cell *c, At *at, Expr *s) {
  Builder *b = &c->l->b;
  at->s = s;
  at->active = NULL;
  Expr *last = ex_sub(b, ex_dim(b, c->T), ex_int(b, 1));
  at->t = c->backwards ? ex_sub(b, last, s) : s;
  if (cell_input(c, c->lens)) {
    Expr *len = let(b, "len", ex_cast(b, DT_I64, lower_read(c->l, cell_input(c, c->lens), &at->batch)));
    at->active = let(b, "active", ex_lt(b, s, len));
    if (c->backwards) at->t = ex_select(b, at->active, ex_sub(b, ex_sub(b, len, ex_int(b, 1)), s), s);
  }
  at->t = let(b, "t", at->t);
}

Expr *cell_odd(Cell *c, Expr *s) {
  Builder *b = &c->l->b;
  return let(b, "odd", ex_lt(b, ex_int(b, 0), ex_rem(b, s, ex_int(b, 2))));
}

static void cell_loop(Cell *c, Expr *s) {
  Builder *b = &c->l->b;
  At at;
  Expr *cell = NULL;
  at.batch = loop_begin(b, "b", ex_int(b, 0), ex_dim(b, c->B), 1, FOR_PARALLEL);
  cell_position(c, &at, s);
  at.j = loop_begin(b, "j", ex_int(b, 0), ex_dim(b, c->H), 1, FOR_PARALLEL_VECTOR);
  Expr *h = let(b, "h", c->gates == 4 ? lstm_cell(c, &at, &cell) : c->gates == 3 ? gru_cell(c, &at) : rnn_cell(c, &at));
  Expr *y = while_active(c, &at, h);
  if (at.active) {
    h = ex_select(b, at.active, h, ex_load(b, c->state, cell_state(c, &at)));
    if (cell) cell = ex_select(b, at.active, cell, ex_load(b, c->cell, cell_state(c, &at)));
  }
  st_store(b, c->state, cell_state(c, &at), h);
  if (cell) st_store(b, c->cell, cell_state(c, &at), cell);
  Expr *i[4] = {at.t, c->d, at.batch, at.j};
  lower_write(c->l, i, y);
  loop_end(b);
  loop_end(b);
}

/* r * h for the second recurrent product of a GRU that resets before it */
static void reset_loop(Cell *c, Expr *s) {
  Builder *b = &c->l->b;
  At at;
  at.batch = loop_begin(b, "b", ex_int(b, 0), ex_dim(b, c->B), 1, FOR_PARALLEL);
  cell_position(c, &at, s);
  at.j = loop_begin(b, "j", ex_int(b, 0), ex_dim(b, c->H), 1, FOR_PARALLEL_VECTOR);
  Expr *h = ex_load(b, c->state, cell_state(c, &at));
  Expr *rh = let(b, "rh", ex_mul(b, cell_activation(c, 0, keep_gate(c, &at, 1, gate(c, &at, 1))), h));
  keep_mid(c, &at, rh);
  st_store(b, c->reset, cell_state(c, &at), rh);
  loop_end(b);
  loop_end(b);
}

void cell_directions(Cell *c, void (*direction)(Cell *c)) {
  Builder *b = &c->l->b;
  par_begin(b);
  for (c->dir = 0; c->dir < c->directions; c->dir++) {
    if (c->dir) par_next(b);
    c->d = ex_int(b, c->dir);
    c->backwards = recurrent_backwards(c->n, c->dir);
    direction(c);
  }
  par_end(b);
}

void cell_copy(Cell *c, Buf *buf, ValueId from, ValueId to) {
  Builder *b = &c->l->b;
  At at;
  at.batch = loop_begin(b, "b", ex_int(b, 0), ex_dim(b, c->B), 1, FOR_PARALLEL);
  at.j = loop_begin(b, "j", ex_int(b, 0), ex_dim(b, c->H), 1, FOR_PARALLEL_VECTOR);
  Expr *i[3] = {c->d, at.batch, at.j};
  if (to) lower_write_to(c->l, to, i, ex_load(b, buf, cell_state(c, &at)));
  else st_store(b, buf, cell_state(c, &at), from ? lower_read(c->l, from, i) : ex_const(b, c->t, 0));
  loop_end(b);
  loop_end(b);
}

/* A direction has scratch of its own: it knows nothing of the other, and may run beside it. */
static void scratch(Cell *c) {
  Lower *l = c->l;
  if (!c->kept) c->proj = lower_scratch(l, "proj", DT_F32, dim_mul(dim_mul(c->T, c->B), c->GH));
  c->mix = lower_scratch(l, "gates", DT_F32, dim_mul(c->B, c->GH));
  c->state = lower_scratch(l, "state", DT_F32, dim_mul(c->B, c->H));
  if (c->gates == 4) c->cell = lower_scratch(l, "cell", DT_F32, dim_mul(c->B, c->H));
  if (c->gates == 3 && !c->linear_before_reset) c->reset = lower_scratch(l, "reset", DT_F32, dim_mul(c->B, c->H));
}

static void direction(Cell *c) {
  Builder *b = &c->l->b;
  scratch(c);
  product_build(product(c, 1, NULL, c->proj, DIM(0), c->GH, c->I));
  cell_copy(c, c->state, cell_input(c, 5), 0);
  if (c->cell) cell_copy(c, c->cell, cell_input(c, 6), 0);
  Dim two = dim_mul(DIM(2), c->H);
  Rows *first = product(c, 2, c->state, c->mix, DIM(0), c->reset ? two : c->GH, c->H);
  Rows *second = c->reset ? product(c, 2, c->reset, c->mix, two, c->H, c->H) : NULL;
  Expr *s = loop_begin(b, "s", ex_int(b, 0), ex_dim(b, c->T), 1, FOR_SEQ);
  first->t.backwards = cell_odd(c, s);
  if (second) second->t.backwards = first->t.backwards;
  product_build(first);
  if (second) {
    reset_loop(c, s);
    product_build(second);
  }
  cell_loop(c, s);
  loop_end(b);
  if (cell_output(c, 1)) cell_copy(c, c->state, 0, cell_output(c, 1));
  if (c->cell && cell_output(c, 2)) cell_copy(c, c->cell, 0, cell_output(c, 2));
}

Cell cell_new(Lower *l, const Node *n, int r, int lens) {
  const Type *t = &value_of(l->m, n->in[r])->type;
  Cell c = {.l = l, .n = n, .gates = recurrent_gates(n), .lens = lens, .GH = t->dims[1], .H = t->dims[2], .t = DT_F32,
            .directions = recurrent_directions(n)};
  c.linear_before_reset = c.gates == 3 && node_int(n, "linear_before_reset", 0);
  return c;
}

static bool recurrent(Lower *l, const Node *n) {
  const Type *x = &value_of(l->m, n->in[0])->type;
  if (x->dtype != DT_F32) return lower_fail(l, "recurrent layers of type %s", dtype_info[x->dtype].text);
  Cell c = cell_new(l, n, 2, 4);
  c.T = x->dims[0], c.B = x->dims[1], c.I = x->dims[2];
  c.has_bias = cell_input(&c, 3);
  if (!dim_is_const(c.GH) || !dim_is_const(c.I)) return lower_fail(l, "the hidden size must be known");
  int states = c.gates == 4 ? 2 : 1;
  c.kept = cell_output(&c, 1 + states);
  c.mid = cell_output(&c, 2 + states);
  if (c.kept) {
    c.proj = lower_buf(l, c.kept);
    c.proj->role = BUF_INOUT;
  }
  cell_directions(&c, direction);
  return true;
}

bool lower_lstm(Lower *l, const Node *n) { return recurrent(l, n); }
bool lower_gru(Lower *l, const Node *n) { return recurrent(l, n); }
bool lower_rnn(Lower *l, const Node *n) { return recurrent(l, n); }
