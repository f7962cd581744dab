/* lstm_grad, gru_grad, rnn_grad: back through time.
 *
 * Per direction, from the last step to the first: a vector loop over H turns dh (and dc) and what the forward step kept
 * into the gradients of the gates' sums, delta[B][G*H], which are also the output; then dh[B][H] = delta R by register
 * tiles, R packed once. gru has its reset gate between two products. Beyond the end of a sequence delta is 0 and dh
 * stays. The formulas are those of ir/eval_recurrent_grad.c. */
#include "passes/lower/recurrent.h"
#include "passes/lower/functions.h"

enum { IN_GATES, IN_R, IN_LENS, IN_DY, IN_DH, IN_MID };
enum { IN_C0 = 6, IN_P, IN_DC };                                /* of lstm_grad, whose IN_MID are the cells */
enum { IN_Y = 6, IN_H0 };                                       /* of gru_grad */

/* ---- dh = delta R ---- */

/* t first: callbacks cast back */
typedef struct BackRows { Tiling t; Cell *c; Dim first; Buf *to; bool carry; } BackRows;

static Expr *rows_a(Tiling *t, Expr *row, Expr **k, Expr *col) {
  BackRows *r = (BackRows *)t;
  Builder *b = &t->l->b;
  (void)col;
  return ex_load(b, r->c->mix, cell_scratch(r->c, row, r->c->GH, ex_add(b, k[0], ex_dim(b, r->first))));
}

static Expr *rows_b(Tiling *t, Expr **k, Expr *col) {
  BackRows *r = (BackRows *)t;
  return cell_read(r->c, IN_R, r->c->d, ex_add(&t->l->b, k[0], ex_dim(&t->l->b, r->first)), col);
}

static void rows_write(Tiling *t, Expr *row, Expr *col, Expr *acc) {
  BackRows *r = (BackRows *)t;
  Builder *b = &t->l->b;
  Expr *at = cell_scratch(r->c, row, r->c->H, col);
  st_store(b, r->to, at, r->carry ? ex_add(b, acc, ex_load(b, r->c->carry, at)) : acc);
}

typedef struct Matrix { const float *data; int64_t cols; } Matrix;

static float matrix_at(const void *ctx, int64_t k, int64_t col) {
  const Matrix *m = ctx;
  return m->data[k * m->cols + col];
}

/* to[B][H] = delta[:, first : first + rows] R[dir][first : first + rows, :] [+ carry] */
static BackRows *product(Cell *c, Dim first, Dim rows, Buf *to, bool carry) {
  Lower *l = c->l;
  const Value *w = value_of(l->m, cell_input(c, IN_R));
  BackRows *r = NEW(l->b.arena, BackRows);
  *r = (BackRows){.c = c, .first = first, .to = to, .carry = carry};
  r->t = (Tiling){.l = l, .n = c->n, .rows = c->B, .cols = c->H, .kaxes = 1, .a = rows_a, .b = rows_b,
                  .write = rows_write};
  r->t.ksize[0] = rows;
  r->t.kname[0] = "k";
  if (w->constant) {
    Matrix m = {(const float *)w->constant->data + (c->dir * c->GH.k + first.k) * c->H.k, c->H.k};
    r->t.pack = lower_weight(l, "weight", tile_pack(&r->t, rows.k, matrix_at, &m));
  } else {
    tile_pack_here(&r->t);
  }
  return r;
}

/* ---- slopes ---- */

static Expr *slope_at(Cell *c, int which, Expr *x, Expr *y) {
  Builder *b = &c->l->b;
  Activation f = recurrent_activation(c->n, c->dir, which);
  Expr *one = ex_const(b, c->t, 1), *zero = ex_const(b, c->t, 0), *alpha = ex_const(b, c->t, f.alpha), *u;
  switch (f.kind) {
  case ACT_TANH:             return ex_sub(b, one, ex_mul(b, y, y));
  case ACT_SIGMOID:          return ex_mul(b, y, ex_sub(b, one, y));
  case ACT_RELU:             return ex_select(b, ex_lt(b, zero, x), one, zero);
  case ACT_SOFTPLUS:         return ex_scalar(b, S_SIGMOID, x, NULL, NULL);
  case ACT_AFFINE:           return alpha;
  case ACT_LEAKY_RELU:       return ex_select(b, ex_lt(b, x, zero), alpha, one);
  case ACT_THRESHOLDED_RELU: return ex_select(b, ex_lt(b, alpha, x), one, zero);
  case ACT_SCALED_TANH:
    u = let(b, "u", ex_scalar(b, S_TANH, ex_mul(b, ex_const(b, c->t, f.beta), x), NULL, NULL));
    return ex_mul(b, ex_const(b, c->t, f.alpha * f.beta), ex_sub(b, one, ex_mul(b, u, u)));
  case ACT_HARD_SIGMOID:     return ex_select(b, ex_lt(b, zero, y), ex_select(b, ex_lt(b, y, one), alpha, zero), zero);
  case ACT_ELU:              return ex_select(b, ex_lt(b, x, zero), ex_add(b, y, alpha), one);      // alpha e^x
  case ACT_SOFTSIGN:
    u = let(b, "u", ex_sub(b, one, ex_scalar(b, S_ABS, y, NULL, NULL)));
    return ex_mul(b, u, u);
  case ACT_COUNT:            break;
  }
  return NULL;
}

/* Gate g's activation, worked out again from what it got, and its slope there. */
typedef struct BackGate { Expr *y, *slope; } BackGate;

static BackGate gate(Cell *c, const At *at, int g, int which, const char *name) {
  Builder *b = &c->l->b;
  Expr *i[4] = {at->t, c->d, at->batch, cell_column(c, at, g)};
  Expr *pre = let(b, "x", lower_read(c->l, cell_input(c, IN_GATES), i)), *x = let(b, "x", cell_clip(c, pre));
  BackGate v = {.y = let(b, name, cell_activation(c, which, x))};
  v.slope = slope_at(c, which, x, v.y);
  double clip = node_float(c->n, "clip", 0);
  if (clip > 0) {
    Expr *cut = ex_lt(b, ex_const(b, c->t, clip), ex_scalar(b, S_ABS, pre, NULL, NULL));
    v.slope = ex_select(b, cut, ex_const(b, c->t, 0), v.slope);
  }
  v.slope = let(b, "slope", v.slope);
  return v;
}

/* ---- one step of one sequence ---- */

static Expr *read_step(Cell *c, int input, Expr *t, const At *at) {
  Expr *i[4] = {t, c->d, at->batch, at->j};
  return lower_read(c->l, cell_input(c, input), i);
}

/* The state before this step: what the step before left in input `after`, or the initial one. */
static Expr *before(Cell *c, const At *at, int after, int initial) {
  Builder *b = &c->l->b;
  Expr *one = ex_int(b, 1), *t = c->backwards ? ex_add(b, at->t, one) : ex_sub(b, at->t, one);
  if (c->backwards && at->active) t = ex_min(b, t, ex_sub(b, ex_dim(b, c->T), one));       // beyond the end: any
  Expr *first = cell_input(c, initial) ? cell_read(c, initial, c->d, at->batch, at->j) : ex_const(b, c->t, 0);
  return let(b, "before", ex_select(b, ex_lt(b, at->s, one), first, read_step(c, after, t, at)));
}

static Expr *while_active(Cell *c, const At *at, Expr *x, Expr *otherwise) {
  return at->active ? ex_select(&c->l->b, at->active, x, otherwise) : x;
}

/* The gradient of gate g's sum: output, and operand of the product with R. */
static void give_gate(Cell *c, const At *at, int g, Expr *x) {
  Builder *b = &c->l->b;
  x = let(b, "d", while_active(c, at, x, ex_const(b, c->t, 0)));
  Expr *col = cell_column(c, at, g), *i[4] = {at->t, c->d, at->batch, col};
  st_store(b, c->mix, cell_scratch(c, at->batch, c->GH, col), x);
  lower_write(c->l, i, x);
}

static Expr *dh_here(Cell *c, const At *at) {
  Builder *b = &c->l->b;
  Expr *dh = ex_load(b, c->state, cell_state(c, at));
  return let(b, "dh", cell_input(c, IN_DY) ? ex_add(b, dh, read_step(c, IN_DY, at->t, at)) : dh);
}

/* What passes by the gates on its way to the step before. */
static void give_carry(Cell *c, const At *at, Expr *x) {
  if (!c->carry) return;
  Builder *b = &c->l->b;
  if (!x) x = ex_const(b, c->t, 0);
  st_store(b, c->carry, cell_state(c, at), while_active(c, at, x, ex_load(b, c->state, cell_state(c, at))));
}

static Expr *peephole(Cell *c, const At *at, int which) {
  Expr *i[2] = {c->d, cell_column(c, at, which)};
  return lower_read(c->l, cell_input(c, IN_P), i);
}

static void lstm_back(Cell *c, const At *at) {
  Builder *b = &c->l->b;
  bool coupled = node_int(c->n, "input_forget", 0), p = cell_input(c, IN_P) != 0;
  Expr *dh = dh_here(c, at), *old = before(c, at, IN_MID, IN_C0), *zero = ex_const(b, c->t, 0);
  Expr *cell = let(b, "c", read_step(c, IN_MID, at->t, at));
  BackGate i = gate(c, at, 0, 0, "i"), o = gate(c, at, 1, 0, "o"), f = {ex_sub(b, ex_const(b, c->t, 1), i.y), zero},
           g = gate(c, at, 3, 1, "g");
  if (!coupled) f = gate(c, at, 2, 0, "f");
  Expr *q = let(b, "q", cell_activation(c, 2, cell));
  Expr *d_o = let(b, "d_o", ex_mul(b, ex_mul(b, dh, q), o.slope));
  Expr *dc = ex_fma(b, ex_mul(b, dh, o.y), slope_at(c, 2, cell, q), ex_load(b, c->cell, cell_state(c, at)));
  if (p) dc = ex_fma(b, peephole(c, at, 1), d_o, dc);
  dc = let(b, "dc", dc);
  Expr *d_i = let(b, "d_i", ex_mul(b, ex_mul(b, dc, coupled ? ex_sub(b, g.y, old) : g.y), i.slope));
  Expr *d_f = coupled ? zero : let(b, "d_f", ex_mul(b, ex_mul(b, dc, old), f.slope));
  Expr *d_g = ex_mul(b, ex_mul(b, dc, i.y), g.slope);
  Expr *on = ex_mul(b, dc, f.y);
  if (p) on = ex_fma(b, peephole(c, at, 0), d_i, ex_fma(b, peephole(c, at, 2), d_f, on));
  give_gate(c, at, 0, d_i);
  give_gate(c, at, 1, d_o);
  give_gate(c, at, 2, d_f);
  give_gate(c, at, 3, d_g);
  st_store(b, c->cell, cell_state(c, at), while_active(c, at, on, ex_load(b, c->cell, cell_state(c, at))));
  give_carry(c, at, NULL);
}

/* All of gru's gates where the reset comes after the product; else all but the reset. */
static void gru_back(Cell *c, const At *at) {
  Builder *b = &c->l->b;
  Expr *dh = dh_here(c, at), *old = before(c, at, IN_Y, IN_H0);
  BackGate z = gate(c, at, 0, 0, "z"), n = gate(c, at, 2, 1, "n");
  Expr *d_n = let(b, "d_n", ex_mul(b, ex_mul(b, dh, ex_sub(b, ex_const(b, c->t, 1), z.y)), n.slope)), *rec = d_n;
  give_gate(c, at, 0, ex_mul(b, ex_mul(b, dh, ex_sub(b, old, n.y)), z.slope));
  give_gate(c, at, 2, d_n);
  if (c->linear_before_reset) {
    BackGate r = gate(c, at, 1, 0, "r");
    give_gate(c, at, 1, ex_mul(b, ex_mul(b, d_n, read_step(c, IN_MID, at->t, at)), r.slope));
    rec = let(b, "d", while_active(c, at, ex_mul(b, d_n, r.y), ex_const(b, c->t, 0)));
    // R sees the product's gradient
    st_store(b, c->mix, cell_scratch(c, at->batch, c->GH, cell_column(c, at, 2)), rec);
  }
  Expr *i[4] = {at->t, c->d, at->batch, at->j};
  if (c->mid) lower_write_to(c->l, c->mid, i, while_active(c, at, rec, ex_const(b, c->t, 0)));
  give_carry(c, at, ex_mul(b, dh, z.y));
}

/* The reset gate of a GRU that resets before the product: c->reset holds the gradient of r * h. */
static void reset_back(Cell *c, const At *at) {
  Builder *b = &c->l->b;
  Expr *old = before(c, at, IN_Y, IN_H0), *drh = let(b, "drh", ex_load(b, c->reset, cell_state(c, at)));
  BackGate r = gate(c, at, 1, 0, "r");
  give_gate(c, at, 1, ex_mul(b, ex_mul(b, drh, old), r.slope));
  Expr *carry = ex_load(b, c->carry, cell_state(c, at));
  st_store(b, c->carry, cell_state(c, at), while_active(c, at, ex_fma(b, r.y, drh, carry), carry));
}

static void rnn_back(Cell *c, const At *at) {
  Expr *dh = dh_here(c, at);
  give_gate(c, at, 0, ex_mul(&c->l->b, dh, gate(c, at, 0, 0, "y").slope));
  give_carry(c, at, NULL);
}

/* ---- the layer ---- */

static void over_batch(Cell *c, Expr *s, void (*step)(Cell *c, const At *at)) {
  Builder *b = &c->l->b;
  At at;
  at.batch = loop_begin(b, "b", ex_int(b, 0), ex_dim(b, c->B), 1, FOR_PARALLEL);
  cell_position(c, &at, s);
  at.j = loop_begin(b, "j", ex_int(b, 0), ex_dim(b, c->H), 1, FOR_PARALLEL_VECTOR);
  step(c, &at);
  loop_end(b);
  loop_end(b);
}

static void scratch(Cell *c) {
  Lower *l = c->l;
  c->mix = lower_scratch(l, "delta", DT_F32, dim_mul(c->B, c->GH));
  c->state = lower_scratch(l, "dh", DT_F32, dim_mul(c->B, c->H));
  if (c->gates == 4) c->cell = lower_scratch(l, "dc", DT_F32, dim_mul(c->B, c->H));
  if (c->gates == 3 || cell_input(c, IN_LENS)) c->carry = lower_scratch(l, "carry", DT_F32, dim_mul(c->B, c->H));
  if (c->gates == 3 && !c->linear_before_reset) c->reset = lower_scratch(l, "reset", DT_F32, dim_mul(c->B, c->H));
}

static void direction(Cell *c) {
  Builder *b = &c->l->b;
  scratch(c);
  cell_copy(c, c->state, cell_input(c, IN_DH), 0);
  if (c->cell) cell_copy(c, c->cell, cell_input(c, IN_DC), 0);
  Dim two = dim_mul(DIM(2), c->H);
  BackRows *inner = c->reset ? product(c, two, c->H, c->reset, false) : NULL;
  BackRows *outer = product(c, DIM(0), c->reset ? two : c->GH, c->state, c->carry != NULL);
  Expr *q = loop_begin(b, "step", ex_int(b, 0), ex_dim(b, c->T), 1, FOR_SEQ);
  Expr *s = let(b, "s", ex_sub(b, ex_sub(b, ex_dim(b, c->T), ex_int(b, 1)), q));
  outer->t.backwards = cell_odd(c, s);
  if (inner) inner->t.backwards = outer->t.backwards;
  over_batch(c, s, c->gates == 4 ? lstm_back : c->gates == 3 ? gru_back : rnn_back);
  if (inner) {
    tile_build(&inner->t);
    over_batch(c, s, reset_back);
  }
  tile_build(&outer->t);
  loop_end(b);
  ValueId dh0 = cell_output(c, c->gates == 3 ? 2 : 1), dc0 = c->cell ? cell_output(c, 2) : 0;
  if (dh0) cell_copy(c, c->state, 0, dh0);
  if (dc0) cell_copy(c, c->cell, 0, dc0);
}

static bool recurrent_grad(Lower *l, const Node *n) {
  const Type *gates = &value_of(l->m, n->in[IN_GATES])->type;
  if (gates->dtype != DT_F32) return lower_fail(l, "recurrent layers of type %s", dtype_info[gates->dtype].text);
  Cell c = cell_new(l, n, IN_R, IN_LENS);
  c.T = gates->dims[0], c.B = gates->dims[2];
  c.mid = c.gates == 3 ? cell_output(&c, 1) : 0;
  cell_directions(&c, direction);
  return true;
}

bool lower_lstm_grad(Lower *l, const Node *n) { return recurrent_grad(l, n); }
bool lower_gru_grad(Lower *l, const Node *n) { return recurrent_grad(l, n); }
bool lower_rnn_grad(Lower *l, const Node *n) { return recurrent_grad(l, n); }
