/* place: where every buffer is.
 *
 * Arena buffers have live ranges in steps. A kernel's result takes the place of an operand that dies there, when
 * every element is read just before the same element is written (in-place reuse). The rest is placed greedily,
 * largest first, at the lowest offset free over its whole range (sizes at the symbols' upper bounds).
 * With symbolic sizes an offset is then a formula: of two buffers alive together one lies below the other in the
 * plan at the bound, and it stays below for all values if offset(upper) = max(offset + size) over everything below
 * it that it meets. So the plan at the bound is one instance of the formulas, and they never need more.
 * Weights lie one after the other, each aligned to 64 bytes, equal tensors once. */
#include "passes/lower_program.h"
#include <stdlib.h>

enum { LINE = 64 };

typedef struct Item { int buffer; int first, last; int64_t size, at; Dim bytes, offset; } Item;

static Dim aligned(Dim bytes) { return dim_mul(dim_ceildiv(bytes, DIM(LINE)), DIM(LINE)); }

/* ---- live ranges ---- */

static void touch(Program *p, int b, int at) {
  if (b < 0) return;
  Buffer *x = &p->buffers.at[b];
  if (x->first < 0 || at < x->first) x->first = at;
  if (at > x->last) x->last = at;
}

static bool is_loop(const Step *s) { return s->kind == STEP_LOOP || s->kind == STEP_STRIPS; }

static void number_steps(Program *p, const StepList *steps, int *at) {
  for (int k = 0; k < steps->len; k++) {
    Step *s = steps->at[k];
    s->at = (*at)++;
    touch(p, s->cond, s->at);
    touch(p, s->trip_buffer, s->at);
    touch(p, s->iter_buffer, s->at);
    if (s->kind == STEP_KERNEL)
      for (int q = 0; q < s->kernel->bufs.len; q++)
        if (s->kernel->bufs.at[q]->role != BUF_LOCAL) touch(p, s->buffer[s->kernel->bufs.at[q]->index], s->at);
    number_steps(p, &s->then, at);
    number_steps(p, &s->other, at);
    if (is_loop(s)) (*at)++;                          // the end of the loop: what an iteration needs lives up to here
  }
}

/* A buffer written inside an arm or a loop and read after it, or written before a loop and read in it, must
 * survive the whole construct: its range grows to cover it. apart: scratch of an iteration is its own. */
static void cover(Program *p, int lo, int hi, bool loop, bool apart) {
  for (int b = 0; b < p->buffers.len; b++) {
    Buffer *x = &p->buffers.at[b];
    if (x->first < 0) continue;
    bool inside = x->first >= lo && x->last <= hi, meets = x->first <= hi && x->last >= lo;
    if (!meets || (inside && !loop)) continue;
    if (inside && x->first > lo && apart && x->value == 0) continue;
    if (x->first > lo) x->first = lo;
    if (x->last < hi) x->last = hi;
  }
}

static int last_number(const StepList *steps, int at) {
  for (int k = 0; k < steps->len; k++) {
    at = steps->at[k]->at;
    at = last_number(&steps->at[k]->then, at);
    at = last_number(&steps->at[k]->other, at) + is_loop(steps->at[k]);
  }
  return at;
}

static void cover_control(Program *p, const StepList *steps) {
  for (int k = 0; k < steps->len; k++) {
    Step *s = steps->at[k];
    if (s->kind != STEP_IF && !is_loop(s)) continue;
    cover_control(p, &s->then);
    cover_control(p, &s->other);
    int hi = last_number(&s->other, last_number(&s->then, s->at)) + is_loop(s);
    cover(p, s->at, hi, is_loop(s), s->iter_buffer >= 0 || s->kind == STEP_STRIPS);
  }
}

/* ---- in-place reuse ---- */

static int home_of(Program *p, int b) {
  while (p->buffers.at[b].shares >= 0) b = p->buffers.at[b].shares;
  return b;
}

static void share(Program *p, const Step *s) {
  if (s->in_place < 0) return;
  Buffer *out = &p->buffers.at[s->in_place];
  if (out->home != HOME_ARENA || out->first != s->at || out->shares >= 0) return;
  for (int q = 0; q < s->kernel->bufs.len; q++) {
    const Buf *buf = s->kernel->bufs.at[q];
    if (buf->role == BUF_LOCAL || s->elsewhere[buf->index]) continue;
    int b = s->buffer[buf->index];
    Buffer *in = &p->buffers.at[b];
    if (b == s->in_place || in->home != HOME_ARENA || !in->value) continue;
    if (dtype_bytes(in->dtype) != dtype_bytes(out->dtype) || !dim_eq(in->elems, out->elems)) continue;
    Buffer *root = &p->buffers.at[home_of(p, b)];
    if (root->last != s->at || in->last != s->at) continue;
    out->shares = b;
    root->last = out->last;                                     // the shared place lives on
    return;
  }
}

static void share_all(Program *p, const StepList *steps) {
  for (int k = 0; k < steps->len; k++) if (steps->at[k]->kind == STEP_KERNEL) share(p, steps->at[k]);
}

/* ---- placing ---- */

/* Sizes that depend on data are not known when the arena is asked for: such symbols count with their bound. */
static Dim bounded(Program *p, Dim d) {
  const Graph *g = p->m->main;
  for (int k = 0; k < symbol_count() && !dim_is_const(d); k++) {
    const Symbol *s = symbol_at(k);
    bool given = false;
    for (int i = 0; i < g->inputs.len && !given; i++) {
      const Type *t = &value_of(p->m, g->inputs.at[i])->type;
      for (int q = 0; q < t->rank; q++) given |= !dim_eq(dim_subst(t->dims[q], s->name, DIM(-1)), t->dims[q]);
    }
    if (!given) d = dim_subst(d, s->name, DIM(s->hi));
  }
  return d;
}

static int larger_first(const void *x, const void *y) {
  const Item *a = x, *b = y;
  if (a->size != b->size) return a->size > b->size ? -1 : 1;
  if (a->first != b->first) return a->first < b->first ? -1 : 1;
  return a->buffer - b->buffer;
}

static int lower_first(const void *x, const void *y) {
  const Item *a = x, *b = y;
  if (a->at != b->at) return a->at < b->at ? -1 : 1;
  return a->buffer - b->buffer;
}

static bool meet(const Item *a, const Item *b) { return a->first <= b->last && b->first <= a->last; }

/* The lowest gap that holds the item among those already placed that it meets. */
static int64_t lowest_gap(const Item *items, int n, const Item *x) {
  int64_t at = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (int k = 0; k < n; k++)
      if (meet(&items[k], x) && items[k].at < at + x->size && at < items[k].at + items[k].size) {
        at = items[k].at + items[k].size;
        moved = true;
      }
  }
  return at;
}

static bool is_below(const Item *items, int k, int q) {
  return meet(&items[q], &items[k]) && items[q].at + items[q].size <= items[k].at;
}

/* Does k rest on q: below it, with nothing between that is above q and below k? (That one keeps them apart already.) */
static bool rests_on(const Item *items, int k, int q) {
  if (!is_below(items, k, q)) return false;
  for (int r = q + 1; r < k; r++) if (is_below(items, k, r) && is_below(items, r, q)) return false;
  return true;
}

/* The largest of some ends: a constant, the only one, or an offset of the plan with a symbol of its own. */
static Dim highest(Program *p, Arena *a, const Dim *below, int n, int64_t bound) {
  Dim *kept = NEW_N(a, Dim, n + 1);
  int m = 0;
  for (int k = 0; k < n; k++) {
    bool more = true;
    for (int q = 0; q < n && more; q++)
      more = q == k || !dim_known_le(below[k], below[q]) || (q > k && dim_eq(below[k], below[q]));
    if (more) kept[m++] = below[k];
  }
  if (m == 0) return DIM(0);
  if (m == 1) return kept[0];
  PlanOffset *o = vec_push(a, &p->plan);
  Dim at = dim_fresh_symbol("at", 0, bound);
  *o = (PlanOffset){dim_text(at), kept, m};
  return at;
}

static void place_arena(Program *p, Arena *a, int steps) {
  Item *items = NEW_N(a, Item, p->buffers.len + 1);
  int n = 0;
  int64_t *live = NEW_N(a, int64_t, steps + 1);
  for (int b = 0; b < p->buffers.len; b++) {
    Buffer *x = &p->buffers.at[b];
    if (x->home != HOME_ARENA || x->shares >= 0 || x->first < 0) continue;
    Dim raw = dim_mul(bounded(p, x->elems), DIM(dtype_bytes(x->dtype))), bytes = aligned(raw);
    items[n++] = (Item){.buffer = b, .first = x->first, .last = x->last, .size = dim_hi(bytes), .bytes = bytes};
    for (int s = x->first; s <= x->last; s++) live[s] += dim_hi(raw);
  }
  for (int s = 0; s < steps; s++) if (live[s] > p->arena_lower) p->arena_lower = live[s];
  qsort(items, (size_t)n, sizeof *items, larger_first);
  for (int k = 0; k < n; k++) items[k].at = lowest_gap(items, k, &items[k]);
  qsort(items, (size_t)n, sizeof *items, lower_first);
  Dim *below = NEW_N(a, Dim, n + 1);
  for (int k = 0; k < n; k++) {
    int m = 0;
    for (int q = 0; q < k; q++) if (rests_on(items, k, q)) below[m++] = dim_add(items[q].offset, items[q].bytes);
    items[k].offset = highest(p, a, below, m, items[k].at);
    p->buffers.at[items[k].buffer].offset = items[k].offset;
  }
  int m = 0;
  int64_t top = 0;
  for (int q = 0; q < n; q++) {
    bool covered = false;                                       // something rests on it: its own end is not the top
    for (int k = q + 1; k < n && !covered; k++) covered = rests_on(items, k, q);
    if (!covered) below[m++] = dim_add(items[q].offset, items[q].bytes);
    if (items[q].at + items[q].size > top) top = items[q].at + items[q].size;
  }
  p->arena_bytes = highest(p, a, below, m, top);
  p->arena_bound = dim_hi(p->arena_bytes);
  for (int b = 0; b < p->buffers.len; b++)
    if (p->buffers.at[b].shares >= 0) p->buffers.at[b].offset = p->buffers.at[home_of(p, b)].offset;
}

static void place_weights(Program *p) {
  int64_t at = 0;
  for (int b = 0; b < p->buffers.len; b++) {
    Buffer *x = &p->buffers.at[b];
    if (x->home != HOME_WEIGHT || x->first < 0) continue;
    int same = 0;
    while (same < b &&
           !(p->buffers.at[same].home == HOME_WEIGHT && p->buffers.at[same].data == x->data &&
             p->buffers.at[same].first >= 0))
      same++;
    if (same < b) { x->offset = p->buffers.at[same].offset; continue; }
    x->offset = DIM(at);
    at += ((int64_t)tensor_bytes(x->data) + LINE - 1) / LINE * LINE;
  }
  p->weight_bytes = at;
}

bool place_program(Program *p, Arena *a) {
  for (int b = 0; b < p->buffers.len; b++) p->buffers.at[b].first = p->buffers.at[b].last = -1;
  int steps = 0;
  number_steps(p, &p->steps, &steps);
  cover_control(p, &p->steps);
  share_all(p, &p->steps);
  place_arena(p, a, steps);
  place_weights(p);
  return true;
}
