/* See twin.h. */
#include "tests/tools/twin.h"
#include "driver/driver.h"
#include "frontend/language.h"
#include "ir/eval.h"
#include "passes/pipeline.h"
#include "runtime/lt_pool.h"
#include "runtime/lt_state.h"
#include <dlfcn.h>
#include <stdlib.h>

enum { GUARD = 4096, GUARD_BYTE = 0xA5, ALIGN = 64, PARTS = 3 };

/* ---- compiling ---- */

/* Only init and steps are compiled. */
static void keep_training(Bundle *b) {
  int kept = 0;
  for (int k = 0; k < b->fn.len; k++) {
    Function f = b->fn.at[k];
    if (f.kind == FUNCTION_INIT || f.kind == FUNCTION_STEP) b->fn.at[kept++] = f;
    else module_free(f.m);
  }
  b->fn.len = kept;
}

static Bundle *load(Twin *t, const char *path, const char *text) {
  const LanguageOptions o = {0};
  Bundle *b = text ? lathe_language_text(path, text, strlen(text), &o, &t->diags)
                   : lathe_language_load(path, &o, &t->diags);
  if (b) keep_training(b);
  return b;
}

static bool compile(Twin *t, const Target *target, bool naive) {
  for (int k = 0; k < t->emitted->fn.len; k++) {
    Function *f = &t->emitted->fn.at[k];
    // Whatever can be shared has parts, however small: the second run takes three of each.
    const PassOptions po = {.naive = naive, .verify = true, .part_cycles = f->kind == FUNCTION_INIT ? 0 : 1};
    f->m->diags = &t->diags;
    f->p = compile_module(f->m, target, &po, &t->arena);
    if (!f->p || t->diags.errors) return false;
  }
  return true;
}

static bool link_in(Twin *t, const Target *target) {
  const char *prefix = "net";
  const EmitOptions eo = {.prefix = prefix, .target = target, .single_file = true, .model_table = true,
                          .parallel = true};
  const Options o = {.cflags = "-O1 -fexpensive-optimizations -Wall -Wextra -Werror"};   // with fma, as -O2
  Toolchain c = toolchain_of(&o, target, &t->arena);
  EmitFiles files = {0};
  if (!emit_bundle(t->emitted, &eo, &t->arena, &files, &t->diags) || t->diags.errors) return false;
  const char *so = toolchain_cached(&c, &files, "net.so", "", true, &t->arena, &t->diags);
  t->handle = so ? dlopen(so, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (so && !t->handle) diag_error(&t->diags, "io", NULL, "%s", dlerror());
  t->table = t->handle ? dlsym(t->handle, "lt_bundle_net") : NULL;
  return t->table != NULL;
}

bool twin_open(Twin *t, const char *path, const char *text, const Target *target, bool naive) {
  *t = (Twin){.diags = {.file = path}};
  symbols_reset();
  t->emitted = load(t, path, text);
  t->meant = t->emitted ? load(t, path, text) : NULL;
  if (!t->meant || !compile(t, target, naive) || !link_in(t, target)) return false;
  for (int k = 0; k < t->meant->fn.len; k++) {
    Module *m = t->meant->fn.at[k].m;
    m->diags = &t->diags;
    if (!module_expand(m, EXPAND_ALL) || t->diags.errors) return false;
  }
  t->memory = malloc(t->table->state_bytes + 2 * GUARD + ALIGN);
  t->state = (char *)t->memory + GUARD;
  t->state += (ALIGN - (uintptr_t)t->state % ALIGN) % ALIGN;
  memset(t->memory, GUARD_BYTE, t->table->state_bytes + 2 * GUARD + ALIGN);
  return true;
}

void twin_close(Twin *t) {
  if (t->handle) dlclose(t->handle);
  if (t->emitted) bundle_free(t->emitted);
  if (t->meant) bundle_free(t->meant);
  free(t->memory);
  diags_free(&t->diags);
  arena_free(&t->arena);
  *t = (Twin){0};
}

/* ---- guarded memory ---- */

typedef struct Guarded { char *raw, *at; size_t bytes; } Guarded;

static Guarded guarded(Arena *a, size_t bytes, int fill) {
  Guarded g = {.raw = arena_alloc(a, bytes + 2 * GUARD + ALIGN), .bytes = bytes};
  memset(g.raw, GUARD_BYTE, bytes + 2 * GUARD + ALIGN);
  g.at = g.raw + GUARD;
  g.at += (ALIGN - (uintptr_t)g.at % ALIGN) % ALIGN;
  memset(g.at, fill, bytes);
  return g;
}

static bool whole(const char *raw, const char *at, size_t bytes) {
  const char *end = raw + bytes + 2 * GUARD + ALIGN;
  for (const char *p = raw; p < at; p++) if ((unsigned char)*p != GUARD_BYTE) return false;
  for (const char *p = at + bytes; p < end; p++) if ((unsigned char)*p != GUARD_BYTE) return false;
  return true;
}

static bool broken(Twin *t, const lt_function *f, const char *what, const char *how) {
  diag_error(&t->diags, "memory", NULL, "%s: %s %s", f->name, what, how);
  return false;
}

static bool state_is_whole(Twin *t) { return whole(t->memory, t->state, t->table->state_bytes); }

/* ---- the emitted side ---- */

const lt_function *twin_step_at(const Twin *t, int k) {
  for (int i = 0; i < t->table->functions; i++)
    if (t->table->function[i]->kind == LT_STEP && !k--) return t->table->function[i];
  return NULL;
}

bool twin_init(Twin *t, uint64_t seed) {
  int64_t number = (int64_t)seed;
  const void *in[] = {&number};
  char why[200];
  for (int i = 0; i < t->table->functions; i++) {
    const lt_function *f = t->table->function[i];
    if (f->kind != LT_INIT) continue;
    if (f->run(t->state, NULL, NULL, in, NULL)) return broken(t, f, "init", "failed");
    if (!state_is_whole(t)) return broken(t, f, "something beside the state", "was written");
    if (lt_state_check(t->state, t->table->state_bytes, why, sizeof why)) return broken(t, f, "the state:", why);
  }
  return true;
}

static size_t port_bytes(const lt_port *p) {
  size_t n = (size_t)p->elem_bytes;
  for (int k = 0; k < p->rank; k++) n *= (size_t)p->dims[k];
  return n;
}

static bool may_write(const Twin *t, const lt_function *f, const char *tensor) {
  const Function *x = bundle_function(t->meant, FUNCTION_STEP, f->name);
  for (int k = 0; k < x->m->state.len; k++)
    if (!strcmp(x->m->state.at[k].name, tensor)) return x->m->state.at[k].next != 0;
  return false;
}

/* Header, table, gaps, and tensors that this step does not change, are as they were. */
static bool rest_is_same(Twin *t, const lt_function *f, const char *before) {
  size_t at = 0;
  for (int k = 0; k < t->table->tensors; k++) {
    const lt_state_tensor *s = &t->table->tensor[k];
    size_t n = (size_t)s->elem_bytes;
    for (int q = 0; q < s->rank; q++) n *= (size_t)s->dims[q];
    if (!may_write(t, f, s->name)) continue;
    if (memcmp(before + at, t->state + at, s->offset - at)) return broken(t, f, "something below", s->name);
    at = s->offset + n;
  }
  return !memcmp(before + at, t->state + at, t->table->state_bytes - at) ||
         broken(t, f, "the end of the state", "was written");
}

/* One after the other, the last part first. */
static int pool_threads(void *self) { (void)self; return PARTS; }
static void pool_wait(void *self) { (void)self; }
static void pool_start(void *self, lt_task *task, void *call, int parts) {
  (void)self;
  for (int part = parts - 1; part > 0; part--) task(call, part, parts);
}
static const lt_pool backwards = {NULL, pool_threads, pool_start, pool_wait};

typedef struct Round { Guarded arena, *in, *out; } Round;

static bool run_once(Twin *t, const lt_function *f, const Tensor *const *in, int poison, const lt_pool *pool, Round *r,
                     Arena *a) {
  int64_t none = 0;
  r->arena = guarded(a, f->arena_bytes(&none) + (pool ? (PARTS - 1) * f->part_bytes : 0), poison);
  r->in = NEW_N(a, Guarded, f->inputs + 1);
  r->out = NEW_N(a, Guarded, f->outputs + 1);
  const void **from = NEW_N(a, const void *, f->inputs + 1);
  void **to = NEW_N(a, void *, f->outputs + 1);
  for (int k = 0; k < f->inputs; k++) {
    r->in[k] = guarded(a, tensor_bytes(in[k]), 0);
    memcpy(r->in[k].at, in[k]->data, r->in[k].bytes);
    from[k] = r->in[k].at;
  }
  for (int k = 0; k < f->outputs; k++) to[k] = (r->out[k] = guarded(a, port_bytes(&f->out[k]), poison)).at;
  int code = pool ? f->run_parallel(t->state, r->arena.at, &none, from, to, pool)
                  : f->run(t->state, r->arena.at, &none, from, to);
  if (code) return broken(t, f, "failed:", f->error(code));
  if (!state_is_whole(t)) return broken(t, f, "something beside the state", "was written");
  if (!whole(r->arena.raw, r->arena.at, r->arena.bytes))
    return broken(t, f, "something beside the arena", "was written");
  for (int k = 0; k < f->inputs; k++)
    if (!whole(r->in[k].raw, r->in[k].at, r->in[k].bytes) || memcmp(r->in[k].at, in[k]->data, r->in[k].bytes))
      return broken(t, f, "an input was written:", f->in[k].name);
  for (int k = 0; k < f->outputs; k++)
    if (!whole(r->out[k].raw, r->out[k].at, r->out[k].bytes))
      return broken(t, f, "something beside an output was written:", f->out[k].name);
  return true;
}

bool twin_run(Twin *t, const lt_function *f, const Tensor *const *in, Tensor **out, Arena *a) {
  size_t bytes = t->table->state_bytes;
  char *before = arena_dup(a, t->state, bytes), *first = NULL;
  Round r[2];
  for (int round = 0; round < 2; round++) {
    memcpy(t->state, before, bytes);
    if (!run_once(t, f, in, round ? 0x3C : 0xFF, round ? &backwards : NULL, &r[round], a) ||
        !rest_is_same(t, f, before))
      return false;
    if (!round) first = arena_dup(a, t->state, bytes);
  }
  if (memcmp(first, t->state, bytes))
    return broken(t, f, "the new state", "depends on memory that nobody wrote, or on parts");
  for (int k = 0; k < f->outputs; k++) {
    const lt_port *p = &f->out[k];
    if (memcmp(r[0].out[k].at, r[1].out[k].at, r[0].out[k].bytes))
      return broken(t, f, p->name, "depends on memory that nobody wrote, or on parts");
    out[k] = tensor_new(a, dtype_from_text(p->dtype), p->rank, p->dims);
    memcpy(out[k]->data, r[1].out[k].at, r[1].out[k].bytes);
  }
  return true;
}

/* ---- the evaluator's side ---- */

static Tensor *copy(Arena *a, const Tensor *x) {
  Tensor *t = tensor_new(a, x->dtype, x->rank, x->dims);
  if (tensor_bytes(x)) memcpy(t->data, x->data, tensor_bytes(x));
  return t;
}

static const Tensor *of_block(Arena *a, const char *block, const char *name) {
  const lt_state_entry *e = lt_state_find(block, name);
  Tensor *t = tensor_new(a, dtype_from_text(e->dtype), (int)e->rank, e->dims);
  memcpy(t->data, block + e->offset, tensor_bytes(t));
  return t;
}

static const Tensor *input_named(const lt_function *f, const Tensor *const *in, const char *name) {
  for (int k = 0; k < f->inputs; k++) if (!strcmp(f->in[k].name, name)) return in[k];
  return NULL;
}

/* The outputs of a module that are no state, in order, are the function's. */
static bool outputs_of(Twin *t, const lt_function *f, Eval *e, Module *m, Tensor **out, Arena *a) {
  int n = 0;
  for (int k = 0; k < m->main->outputs.len; k++) {
    ValueId v = m->main->outputs.at[k];
    const StateSlot *s = graph_state_of_value(m, v);
    if (s && s->next == v) continue;
    if (n == f->outputs) return broken(t, f, "has fewer outputs", "than its module");
    out[n++] = copy(a, eval_value(e, v));
  }
  return n == f->outputs || broken(t, f, "has more outputs", "than its module");
}

bool twin_mean(Twin *t, const lt_function *f, const char *before, const Tensor *const *in, Tensor **out, Tensor **next,
               Arena *a) {
  Module *m = bundle_function(t->meant, FUNCTION_STEP, f->name)->m;
  Eval e;
  eval_begin(&e, m);
  bool ok = true;
  for (int k = 0; ok && k < m->main->inputs.len; k++) {
    ValueId v = m->main->inputs.at[k];
    const StateSlot *s = graph_state_of_value(m, v);
    const Tensor *x = s ? of_block(a, before, s->name) : input_named(f, in, value_of(m, v)->name);
    ok = x ? eval_bind_input(&e, k, x) : broken(t, f, "has no input", value_of(m, v)->name);
  }
  ok = ok && eval_graph(&e, m->main);
  ok = ok && outputs_of(t, f, &e, m, out, a);
  for (int k = 0; k < t->meant->state.len; k++) {
    next[k] = NULL;
    for (int i = 0; ok && i < m->state.len; i++)
      if (!strcmp(m->state.at[i].name, t->meant->state.at[k].name) && m->state.at[i].next)
        next[k] = copy(a, eval_value(&e, m->state.at[i].next));
  }
  eval_end(&e);
  return ok;
}
