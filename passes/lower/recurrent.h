/* What recurrent.c (lstm, gru, rnn) and recurrent_grad.c (back through time) share. Axes: T steps, B batch, I features,
 * H hidden, D directions, G gates. */
#ifndef PASSES_LOWER_RECURRENT_H
#define PASSES_LOWER_RECURRENT_H
#include "ir/recurrent.h"
#include "passes/kernels/tile.h"

typedef struct Cell {
  Lower *l;
  const Node *n;
  int gates, lens;                              /* lens: which input says how long the sequences are */
  Dim T, B, I, H, GH;
  Buf *proj, *state, *cell, *mix, *reset, *carry;
  ValueId kept, mid;                            /* outputs for training that someone reads; 0: none */
  Expr *d;                                      /* current direction */
  int dir, directions;
  bool backwards, has_bias, linear_before_reset;
  DType t;
} Cell;

/* One element of one step: t is the place of step s in a sequence, `active` whether there is one (NULL: always). */
typedef struct At { Expr *batch, *j, *t, *s, *active; } At;

/* What both begin with; r, lens: which inputs are the recurrent weights [D, G*H, H] and the lengths. */
Cell cell_new(Lower *l, const Node *n, int r, int lens);
static inline ValueId cell_input(const Cell *c, int k) { return k < c->n->nin ? c->n->in[k] : 0; }
ValueId cell_output(const Cell *c, int k);      /* 0 unless someone reads it */
Expr *cell_read(Cell *c, int k, Expr *x, Expr *y, Expr *z);          /* input k, of rank 3 */
Expr *cell_scratch(Cell *c, Expr *row, Dim width, Expr *j);          /* index of [row][j] */
static inline Expr *cell_state(Cell *c, const At *at) { return cell_scratch(c, at->batch, c->H, at->j); }
Expr *cell_column(Cell *c, const At *at, int gate);                  /* gate * H + j */
/* Is step s odd? Then panels of weights are taken from the last to the first: weights larger than the L2 would
 * otherwise be evicted, each panel just before its next use. */
Expr *cell_odd(Cell *c, Expr *s);
void cell_position(Cell *c, At *at, Expr *s);   /* sets s, t, active; at->batch is given */
void cell_directions(Cell *c, void (*direction)(Cell *c));           /* one after the other, or at the same time */
void cell_copy(Cell *c, Buf *buf, ValueId from, ValueId to);         /* buf [B][H] <- from (0: zeros), or to <- buf */

Expr *cell_clip(Cell *c, Expr *x);              /* the layer's clip, which applies to what gates get */
Expr *cell_activation(Cell *c, int which, Expr *x);                  /* activation `which` of the current direction */
#endif
