/* See symbols.h. */
#include "passes/symbols.h"
#include "base/intern.h"

typedef struct Bare { const char *symbol; bool other; } Bare;

static void *look(void *ctx, DimKind k, int64_t c, const char *symbol, void *x, void *y) {
  (void)c; (void)x; (void)y;
  Bare *b = ctx;
  if (k == DIM_SYMBOL && !b->symbol) b->symbol = symbol;
  else b->other = true;
  return ctx;
}

const char *dim_bare_symbol(Dim d) {
  if (dim_is_const(d) || d.k) return NULL;
  Bare b = {0};
  dim_fold(d, look, &b);
  return b.other ? NULL : b.symbol;
}

typedef struct Seen { void (*call)(const char *, void *); void *ctx; } Seen;

static void *see(void *ctx, DimKind k, int64_t c, const char *symbol, void *x, void *y) {
  (void)c; (void)x; (void)y;
  Seen *s = ctx;
  if (k == DIM_SYMBOL) s->call(symbol, s->ctx);
  return ctx;
}

void dim_symbols(Dim d, void (*seen)(const char *symbol, void *ctx), void *ctx) {
  Seen s = {seen, ctx};
  if (!dim_is_const(d)) dim_fold(d, see, &s);
}

void module_subst_symbol(Module *m, const char *symbol, Dim by) {
  for (int v = 1; v < m->values.len; v++) {
    Value *x = &m->values.at[v];
    for (int i = 0; i < x->type.rank; i++) x->type.dims[i] = dim_subst(x->type.dims[i], symbol, by);
  }
  for (int n = 1; n < m->nodes.len; n++) {
    Node *x = &m->nodes.at[n];
    for (int k = 0; !x->dead && k < x->nattr; k++) {
      Attr *a = &x->attr[k];
      if (a->kind != ATTR_DIMS) continue;
      Dim *d = NULL;
      for (int i = 0; i < a->n; i++) {
        Dim s = dim_subst(a->dims[i], symbol, by);
        if (dim_eq(s, a->dims[i])) continue;
        if (!d) d = arena_dup(&m->perm, a->dims, (size_t)a->n * sizeof *d);
        d[i] = s;
      }
      if (d) a->dims = d;
    }
  }
}
