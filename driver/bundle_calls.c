/* Functions of a bundle, loaded and called (bundle_calls.h). */
#include "driver/bundle_calls.h"
#include <dlfcn.h>

static int64_t product(const int64_t *dims, int rank) {
  int64_t n = 1;
  for (int k = 0; k < rank; k++) n *= dims[k];
  return n;
}

/* Floats near 0; integers within the classes of their column. A free dim is the number of rows. */
static void *random_rows(const BundleCalls *c, const lt_port *p, unsigned *r) {
  const Bundle *b = c->x->b;
  int64_t dims[MAX_RANK], classes = 0;
  for (int k = 0; k < p->rank; k++) dims[k] = p->dims[k] < 0 ? b->batch : p->dims[k];
  for (int k = 0; k < b->column.len; k++)
    if (!strcmp(b->column.at[k].name, p->name)) classes = b->column.at[k].classes;
  int64_t n = product(dims, p->rank);
  Tensor *t = tensor_new(&c->x->arena, dtype_from_text(p->dtype), 1, &n);
  for (int64_t i = 0; i < n; i++) {
    *r = *r * 1664525u + 1013904223u;
    if (dtype_is_float(t->dtype)) tensor_set(t, i, (double)(*r >> 8) / (1 << 23) - 1);
    else tensor_set_int(t, i, (int64_t)(*r >> 8) % (classes ? classes : 10));
  }
  return t->data;
}

static void call_prepare(const BundleCalls *c, BundleCall *t, unsigned *r) {
  const lt_function *fn = t->fn;
  Arena *a = &c->x->arena;
  size_t others = c->pool ? (size_t)c->pool->threads(c->pool->self) - 1 : 0;
  t->symbols = NEW_N(a, int64_t, fn->symbols + 1);
  for (int k = 0; k < fn->symbols; k++) t->symbols[k] = c->x->b->batch;
  t->arena = arena_alloc(a, fn->arena_bytes(t->symbols) + others * fn->part_bytes);
  t->in = NEW_N(a, const void *, fn->inputs + 1);
  t->out = NEW_N(a, void *, fn->outputs + 1);
  for (int k = 0; k < fn->inputs; k++) t->in[k] = random_rows(c, &fn->in[k], r);
  for (int k = 0; k < fn->outputs; k++) {
    int64_t dims[MAX_RANK];
    fn->out_dims(t->symbols, k, dims);
    t->out[k] = arena_alloc(a, (size_t)product(dims, fn->out[k].rank) * (size_t)fn->out[k].elem_bytes);
  }
}

static const lt_bundle *load(BundleCalls *c, const Options *o) {
  BundleBuild *x = c->x;
  EmitFiles files = {0};
  if (!bundle_emit(x, o, true, &files)) return NULL;
  Toolchain t = toolchain_of(o, x->target, &x->arena);
  const char *so = toolchain_cached(&t, &files, "bundle.so", "", true, &x->arena, &x->diags);
  c->library = so ? dlopen(so, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (so && !c->library) diag_error(&x->diags, "io", NULL, "cannot load the compiled network: %s", dlerror());
  return c->library ? dlsym(c->library, arena_printf(&x->arena, "lt_bundle_%s", x->prefix)) : NULL;
}

bool bundle_calls_open(BundleCalls *c, BundleBuild *x, const Options *o) {
  static const FunctionKind kinds[] = {[LT_STEP] = FUNCTION_STEP, [LT_EVAL] = FUNCTION_EVAL, [LT_INFER] = FUNCTION_INFER};
  *c = (BundleCalls){.x = x};
  const lt_bundle *table = load(c, o);
  if (!table) return false;
  int64_t seed = (int64_t)o->seed;
  unsigned r = (unsigned)o->seed;
  c->state = arena_alloc(&x->arena, table->state_bytes);
  c->by = c->pool = o->threads > 1 ? lt_pool_open((int)o->threads) : NULL;
  c->at = NEW_N(&x->arena, BundleCall, table->functions + 1);
  bool ok = true;
  for (int k = 0; k < table->functions; k++) {
    const lt_function *fn = table->function[k];
    if (fn->kind == LT_INIT) ok = !fn->run(c->state, NULL, NULL, (const void *[]){&seed}, NULL);
    if (fn->kind == LT_INIT) continue;
    BundleCall *t = &c->at[c->n++];
    *t = (BundleCall){.f = bundle_function(x->b, kinds[fn->kind], fn->name), .fn = fn};
    call_prepare(c, t, &r);
  }
  if (!ok) diag_error(&x->diags, "internal", NULL, "init failed");
  return ok;
}

int bundle_call(const BundleCalls *c, const BundleCall *t) {
  if (c->by) return t->fn->run_parallel(c->state, t->arena, t->symbols, t->in, t->out, c->by);
  return t->fn->run(c->state, t->arena, t->symbols, t->in, t->out);
}

void bundle_calls_close(BundleCalls *c) {
  lt_pool_close(c->pool);
  if (c->library) dlclose(c->library);
}
