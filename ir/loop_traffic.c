/* How many bytes a kernel touches, told from its loops: of each parameter what it loads and what it stores, at most the
 * whole of it each, so that what is loaded again and again counts once. Both sides of an if are taken. */
#include "ir/loop.h"

typedef struct Count { const Kernel *k; double *loaded, *stored; } Count;     /* elements, per buffer of the kernel */

static void add(const Count *c, double *to, const Buf *b, double n) {
  for (int i = 0; i < c->k->bufs.len; i++)
    if (c->k->bufs.at[i] == b) to[i] += n;
}

static void visit_expr(const Count *c, const Expr *e, double times) {
  if (!e) return;
  if (e->kind == EX_LOAD) add(c, c->loaded, e->buf, times * e->lanes);
  for (int i = 0; i < 3; i++) visit_expr(c, e->arg[i], times);
}

/* At most: bounds that are not constant have an interval, a symbolic one a wide one. */
static double trips(const Stmt *s) {
  double n = ((double)s->hi->hi - (double)s->lo->lo) / (double)(s->step > 0 ? s->step : 1);
  return n > 1 ? n : 1;
}

static void visit(const Count *c, const Block *b, double times) {
  for (int i = 0; b && i < b->stmts.len; i++) {
    const Stmt *s = b->stmts.at[i];
    visit_expr(c, s->cond, times);
    visit_expr(c, s->index, times);
    visit_expr(c, s->value, times);
    if (s->kind == ST_STORE) add(c, c->stored, s->buf, times * s->index->lanes);
    for (int k = 0; s->kind == ST_CALL && k < s->nbufs; k++) {
      const Buf *x = s->bufs[k];
      if (x->role != BUF_OUT) add(c, c->loaded, x, 1e18);      // all of it
      if (x->role != BUF_IN) add(c, c->stored, x, 1e18);
    }
    double inner = s->kind == ST_FOR ? times * trips(s) : times;
    visit(c, s->body, inner);
    visit(c, s->other, times);
  }
}

double kernel_traffic(const Kernel *k, int64_t (*symbol)(const char *name, void *ctx), void *ctx) {
  Arena tmp = {0};
  Count c = {k, NEW_N(&tmp, double, k->bufs.len + 1), NEW_N(&tmp, double, k->bufs.len + 1)};
  double bytes = 0;
  visit(&c, k->body, 1);
  for (int i = 0; i < k->bufs.len; i++) {
    const Buf *b = k->bufs.at[i];
    if (b->role == BUF_LOCAL) continue;
    double size = (double)dim_eval(b->size, symbol, ctx);
    double loaded = c.loaded[i] < size ? c.loaded[i] : size, stored = c.stored[i] < size ? c.stored[i] : size;
    bytes += dtype_bytes(b->dtype) * (loaded + stored);
  }
  arena_free(&tmp);
  return bytes;
}
