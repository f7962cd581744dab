/* strips: kernels that follow one another -> one step that runs all of them for a few rows, then for the next rows.
 *
 *   expand       x -> 112 x 112 x 96, 4.7 MB          for strip of rows of y:
 *   depthwise    -> 56 x 56 x 96, 1.2 MB                expand, depthwise, project: their rows of this strip
 *   project      -> y
 *
 * A value between that nobody else reads is then a window of its rows, which stays in the L2: it costs neither the
 * way to the L3 and back nor an arena of its size. Rows that the next strip needs again (a 3x3 window: two) stay: the
 * window is a ring. A value that others read, too, is stored whole, and read while it is near.
 *
 * Every element is computed once, by the same loops, so the result has the bits of the kernels one after the other.
 * Threads share the rows of the result; each has windows of its own, and computes what it needs before its first strip.
 *
 * What it saves are bytes from beyond the L2; what it costs are weights that are read again for every strip, and
 * calls. The chains of a list of steps are those that save most altogether.
 */
#include "passes/parallel.h"
#include "passes/passes.h"
#include "passes/strips.h"
#include <math.h>

enum { MOST_KERNELS = 16 };

typedef struct Chain {
  int first, last;                   /* steps */
  int64_t rows, count, unit;
  double gain;
  Span *span;                        /* per buffer */
} Chain;

/* Kernels that touch a buffer, and of these those that write to it. */
typedef struct Uses { int all, made; } Uses;

typedef struct Strips {
  PassContext *c;
  Program *p;
  const Target *target;
  RowShape *shape;                   /* per buffer */
  Uses *uses, *inside;               /* per buffer: in the program, in the chain at work */
  RowKernel *kernel;                 /* of the steps at work */
} Strips;

/* ---- who touches what ---- */

static void count_step(const Step *s, Uses *of) {
  const int condition[3] = {s->cond, s->trip_buffer, s->iter_buffer};
  for (int i = 0; i < 3; i++) if (condition[i] >= 0) of[condition[i]].all++;
  for (int i = 0; s->kernel && i < s->kernel->bufs.len; i++) {
    const Buf *b = s->kernel->bufs.at[i];
    if (b->role == BUF_LOCAL) continue;
    of[s->buffer[b->index]].all++;
    of[s->buffer[b->index]].made += b->role != BUF_IN;
  }
}

static void count_uses(const StepList *steps, Uses *of) {
  for (int i = 0; i < steps->len; i++) {
    count_step(steps->at[i], of);
    count_uses(&steps->at[i]->then, of);
    count_uses(&steps->at[i]->other, of);
  }
}

/* ---- rows ---- */

/* Loops that make several rows at once begin and end where their tiles do. */
static bool align(Chain *c, const RowLoop *l, Span *s) {
  const Stmt *loop = l->s;
  if (loop->step == 1) return true;
  if (loop->lo->kind != EX_CONST || s->scale * c->rows % loop->step) return false;
  c->unit = c->rows;
  while ((s->end - l->offset - loop->lo->lo) % loop->step) s->end++;
  while ((s->base - l->offset - loop->lo->lo) % loop->step) s->base--;
  return s->scale * c->count + s->end - l->offset >= loop->hi->hi;
}

static bool align_makers(Strips *x, Chain *c, int buffer) {
  Span *s = &c->span[buffer], before = *s;
  for (int turn = 0; turn < 2; turn++) {                        // what suits one may not suit another
    before = *s;
    for (int k = c->first; k <= c->last; k++)
      for (int i = 0; x->kernel[k].out == buffer && i < x->kernel[k].loops.len; i++)
        if (!align(c, &x->kernel[k].loops.at[i], s)) return false;
  }
  return before.base == s->base && before.end == s->end;
}

static bool need_rows(Strips *x, const Chain *c, const RowRead *r, const Span *out) {
  bool made = false;
  for (int k = c->first; k <= c->last; k++) made |= x->kernel[k].out == r->buffer;
  if (!made) return true;
  if (!r->scale) return false;
  Span *s = &c->span[r->buffer];
  int64_t base = r->scale * out->base + r->lo, end = r->scale * (out->end - 1) + r->hi + 1;
  if (!s->set) *s = (Span){.scale = r->scale * out->scale, .base = base, .end = end, .set = true};
  if (s->scale != r->scale * out->scale) return false;
  if (base < s->base) s->base = base;
  if (end > s->end) s->end = end;
  return true;
}

static int64_t strips_of(const Chain *c) { return (c->count + c->rows - 1) / c->rows; }

/* A window, or in the end all of a buffer that others read, too. */
static bool settle(Strips *x, const Chain *c, int buffer) {
  Span *s = &c->span[buffer];
  if (x->uses[buffer].made != x->inside[buffer].made) return false;
  s->window = x->p->buffers.at[buffer].home == HOME_ARENA && x->uses[buffer].all == x->inside[buffer].all;
  if (s->window) return true;
  s->base = int64_min(s->base, 0);                              // others may read the rows before those of the chain
  s->end = int64_max(s->end, x->shape[buffer].count - s->scale * c->count);
  return true;
}

static bool is_possible(const Strips *x, const Chain *c, int buffer) {
  const Span *s = &c->span[buffer];
  if (s->window) return span_rows(s, c->rows) < x->shape[buffer].count;
  bool shared = x->c->options->part_cycles > 0;                 // two threads would write the rows that both compute
  return !shared || !span_keeps(s);
}

/* Fills c->span; false: these kernels cannot run so. */
static bool plan(Strips *x, Chain *c) {
  int result = x->kernel[c->last].out;
  c->count = x->shape[result].count;
  c->unit = 1;
  if (c->count > MOST_IMAGE_ROWS) return false;
  memset(c->span, 0, sizeof(Span) * (size_t)x->p->buffers.len);
  c->span[result] = (Span){.scale = 1, .set = true};
  memset(x->inside, 0, sizeof(Uses) * (size_t)x->p->buffers.len);
  for (int k = c->first; k <= c->last; k++) count_step(x->kernel[k].step, x->inside);
  for (int k = c->last; k >= c->first; k--) {
    const RowKernel *r = &x->kernel[k];
    if (!c->span[r->out].set || (r->out != result && !settle(x, c, r->out))) return false;
    if (!align_makers(x, c, r->out)) return false;
    for (int i = 0; i < r->reads.len; i++) {
      for (int q = k; q <= c->last; q++) if (x->kernel[q].out == r->reads.at[i].buffer) return false;    // made later
      if (!need_rows(x, c, &r->reads.at[i], &c->span[r->out])) return false;
    }
  }
  if (c->span[result].base || c->span[result].end) return false;
  for (int b = 0; b < x->p->buffers.len; b++) if (c->span[b].set && !is_possible(x, c, b)) return false;
  return true;
}

/* ---- does it pay? ---- */

static double weight_bytes(const Strips *x, const RowKernel *r) {
  double bytes = 0;
  for (int i = 0; i < r->step->kernel->bufs.len; i++) {
    const Buf *b = r->step->kernel->bufs.at[i];
    if (b->role == BUF_LOCAL) continue;
    const Buffer *of = &x->p->buffers.at[r->step->buffer[b->index]];
    if (of->home == HOME_WEIGHT) bytes += (double)tensor_bytes(of->data);
  }
  return bytes;
}

static double row_bytes(const Strips *x, int buffer) {
  return (double)(x->shape[buffer].stride * dtype_bytes(x->p->buffers.at[buffer].dtype));
}

/* Cycles saved: what fits the L2 is near anyway. The kernels of a strip must leave each other's rows there. */
static double gain_of(Strips *x, const Chain *c) {
  enum { CALL = 150 };
  const Target *g = x->target;
  double far = 1.0 / g->from_far, near = 1.0 / g->from_l2, saved = 0, cost = 0, held = 0;
  double strips = (double)strips_of(c), weights = 0;
  for (int k = c->first; k <= c->last; k++) {
    weights += weight_bytes(x, &x->kernel[k]);
    cost += CALL * strips;
  }
  for (int b = 0; b < x->p->buffers.len; b++) {
    const Span *s = &c->span[b];
    if (!s->set) continue;
    double row = row_bytes(x, b), all = row * (double)x->shape[b].count;
    held += row * (double)span_rows(s, c->rows);
    if (b == x->kernel[c->last].out) continue;
    if (target_is_far(x->target, all)) saved += (far - near) * all * (s->window ? 2 : 1);
  }
  cost += near * weights * strips;
  return target_is_far(x->target, held + weights) ? -1 : saved - cost;
}

static bool try_chain(Strips *x, Chain *c) {
  int wanted = x->c->options->strips;
  int64_t count = x->shape[x->kernel[c->last].out].count, best = 0;
  double gain = 0;
  for (int64_t rows = 1; rows <= MOST_STRIP_ROWS && rows < count; rows++) {
    if (wanted > 0 && rows != wanted) continue;
    c->rows = rows;
    if (!plan(x, c)) continue;
    double now = wanted > 0 ? c->last - c->first : gain_of(x, c);
    if (now <= gain) continue;
    gain = now;
    best = rows;
  }
  c->rows = best;
  c->gain = gain;
  return best && plan(x, c);
}

/* ---- steps ---- */

/* "2.1 MB" */
static const char *size_text(Arena *a, double bytes) {
  return bytes < 1e6 ? arena_printf(a, "%.1f kB", bytes / 1e3) : arena_printf(a, "%.1f MB", bytes / 1e6);
}

/* "28 strips of 2 rows keep 6.2 MB from beyond the L2: 5 of 114 rows (218.9 kB of 5.0 MB), …" */
static const char *note_of(Strips *x, const Chain *c) {
  Arena *a = x->c->arena;
  const char *text = "", *between = ": ";
  double saved = 0;
  for (int b = 0; b < x->p->buffers.len; b++) {
    const Span *s = &c->span[b];
    if (!s->set || b == x->kernel[c->last].out) continue;
    double row = row_bytes(x, b), all = row * (double)x->shape[b].count;
    long long rows = (long long)span_rows(s, c->rows);
    if (target_is_far(x->target, all)) saved += all;
    text = s->window ? arena_printf(a, "%s%s%lld of %lld rows (%s of %s)", text, between, rows,
                                    (long long)x->shape[b].count, size_text(a, row * (double)rows), size_text(a, all))
                     : arena_printf(a, "%s%sall of %s", text, between, size_text(a, all));
    between = ", ";
  }
  const char *keep = saved > 0 ? arena_printf(a, " keep %s from beyond the L2", size_text(a, saved)) : "";
  return arena_printf(a, "%lld strips of %lld rows%s%s", (long long)strips_of(c), (long long)c->rows, keep, text);
}

static Step *strips_step(Strips *x, const Chain *c) {
  Step *made = step_new(x->c->arena, STEP_STRIPS);
  made->rows = c->rows, made->count = c->count, made->unit = c->unit, made->note = note_of(x, c);
  for (int b = 0; b < x->p->buffers.len; b++) {
    Buffer *of = &x->p->buffers.at[b];
    if (!c->span[b].window) continue;
    of->elems = DIM(x->shape[b].stride * span_rows(&c->span[b], c->rows));
    of->is_window = true;
  }
  double cost = 0, grain = x->c->options->part_cycles, units = (double)((c->count + c->unit - 1) / c->unit);
  for (int k = c->first; k <= c->last; k++) {
    cost += block_cost(x->kernel[k].step->kernel->body);
    row_kernel_cut(&x->kernel[k], x->c->arena, x->shape, c->span, c->rows, c->count);
    *vec_push(x->c->arena, &made->then) = x->kernel[k].step;
  }
  if (grain > 0 && cost >= 2 * grain) made->parts = (int)fmin(fmin(cost / grain, units), MOST_PARTS);
  return made;
}

/* The chains of a list that gain most: best[k] ends before step k. */
static void visit(Strips *x, StepList *steps) {
  Arena *tmp = &x->c->tmp;
  int n = steps->len;
  x->kernel = NEW_N(tmp, RowKernel, n + 1);
  double *best = NEW_N(tmp, double, n + 1);
  Chain *chain = NEW_N(tmp, Chain, n + 1);
  for (int k = 0; k < n; k++) x->kernel[k] = row_kernel(tmp, x->p, x->shape, steps->at[k]);
  for (int last = 0; last < n; last++) {
    best[last + 1] = best[last];
    for (int first = last - 1; first >= 0 && last - first < MOST_KERNELS; first--) {
      if (!x->kernel[last].ok || !x->kernel[first].ok) break;
      Chain c = {.first = first, .last = last, .span = NEW_N(tmp, Span, x->p->buffers.len + 1)};
      if (!try_chain(x, &c) || best[first] + c.gain <= best[last + 1]) continue;
      best[last + 1] = best[first] + c.gain;
      chain[last + 1] = c;
    }
  }
  Step **made = NEW_N(tmp, Step *, n + 1);
  int m = 0;
  for (int k = n; k > 0;) {
    bool in = chain[k].span && best[k] > best[k - 1];
    made[m++] = in ? strips_step(x, &chain[k]) : steps->at[k - 1];
    k = in ? chain[k].first : k - 1;
  }
  steps->len = 0;
  while (m) *vec_push(x->c->arena, steps) = made[--m];
  for (int k = 0; k < steps->len; k++) {
    if (steps->at[k]->kind == STEP_STRIPS) continue;
    visit(x, &steps->at[k]->then);
    visit(x, &steps->at[k]->other);
  }
}

bool pass_strips(PassContext *c) {
  if (c->options->strips < 0 || c->options->naive || !c->target) return true;
  Program *p = c->program;
  Strips x = {.c = c, .p = p, .target = c->target, .shape = NEW_N(&c->tmp, RowShape, p->buffers.len + 1),
              .uses = NEW_N(&c->tmp, Uses, p->buffers.len + 1), .inside = NEW_N(&c->tmp, Uses, p->buffers.len + 1)};
  for (int b = 0; b < p->buffers.len; b++) x.shape[b] = row_shape(p, b);
  count_uses(&p->steps, x.uses);
  visit(&x, &p->steps);
  return true;
}
