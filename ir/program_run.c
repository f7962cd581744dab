/* Runs a program with the loop interpreter, in the memory that `place` planned or with every buffer apart.
 *
 * Memory is poisoned before a buffer is born and after it died, where no other living buffer is, so that a plan
 * that lets two of them overlap, or a kernel that reads what it did not write, is seen. Symbols that inputs do
 * not fix (results of data-dependent ops) count at their upper bound until their step has run. */
#include "base/intern.h"
#include "ir/program.h"

typedef struct Place { char *data; int64_t bytes; } Place;

typedef struct ProgramRun {
  const Program *p;
  bool apart;
  int parts;                          /* at most so many for a kernel that threads may share */
  Arena *arena;                       /* of the outputs; everything else is in tmp */
  Arena tmp;
  Diags *d;
  VEC(struct { const char *symbol; int64_t value; }) symbols;
  Place *place;                       /* per buffer */
  Code **code;                        /* per kernel of the program */
} ProgramRun;

static bool fail(ProgramRun *r, const char *kind, const char *text) {
  diag_error(r->d, kind, NULL, "%s", text);
  return false;
}

/* ---- symbols ---- */

static void set_symbol(ProgramRun *r, const char *symbol, int64_t v) {
  for (int i = 0; i < r->symbols.len; i++)
    if (!strcmp(r->symbols.at[i].symbol, symbol)) { r->symbols.at[i].value = v; return; }
  vec_push(&r->tmp, &r->symbols);
  r->symbols.at[r->symbols.len - 1].symbol = symbol;
  r->symbols.at[r->symbols.len - 1].value = v;
}

static int64_t symbol_value(const char *symbol, void *ctx) {
  const ProgramRun *r = ctx;
  for (int i = 0; i < r->symbols.len; i++)
    if (!strcmp(r->symbols.at[i].symbol, symbol)) return r->symbols.at[i].value;
  const Symbol *s = symbol_find(symbol);
  return s ? s->hi : 0;
}

static int64_t eval(ProgramRun *r, Dim d) { return dim_is_const(d) ? d.k : dim_eval(d, symbol_value, r); }

static bool bind_input(ProgramRun *r, int k, const Tensor *t) {
  const Value *v = value_of(r->p->m, r->p->m->main->inputs.at[k]);
  const Type *y = &v->type;
  if (t->dtype != y->dtype || t->rank != y->rank)
    return fail(r, "shape", arena_printf(&r->tmp, "input '%s' is %s, not %s of rank %d", v->name, type_text(y),
                                         dtype_info[t->dtype].text, t->rank));
  for (int i = 0; i < t->rank; i++) {
    const char *name = dim_text(y->dims[i]);
    const Symbol *s = dim_is_const(y->dims[i]) ? NULL : symbol_find(name);
    if (s) set_symbol(r, s->name, t->dims[i]);
    if (s && (t->dims[i] < s->lo || t->dims[i] > s->hi))
      return fail(r, "shape", arena_printf(&r->tmp, "input '%s': %s = %lld is not in %lld..%lld", v->name, s->name,
                                           (long long)t->dims[i], (long long)s->lo, (long long)s->hi));
  }
  return true;
}

static bool check_input(ProgramRun *r, int k, const Tensor *t) {
  const Value *v = value_of(r->p->m, r->p->m->main->inputs.at[k]);
  for (int i = 0; i < t->rank; i++)
    if (eval(r, v->type.dims[i]) != t->dims[i])
      return fail(r, "shape", arena_printf(&r->tmp, "input '%s' is %s; dim %d is %lld", v->name, type_text(&v->type),
                                           i, (long long)t->dims[i]));
  return true;
}

/* ---- memory ---- */

static int64_t bytes_of(ProgramRun *r, const Buffer *b) { return eval(r, b->elems) * dtype_bytes(b->dtype); }

/* Symbols that only the run fixes count at their bound: that may be more memory than anyone has. */
static bool affordable(ProgramRun *r, int64_t bytes, const char *what) {
  if (bytes >= 0 && bytes <= (int64_t)1 << 32) return true;
  return fail(r, "memory", arena_printf(&r->tmp,
                                        "%s takes %lld bytes at the bounds of its dims; the interpreter stops at 4 GiB", what, (long long)bytes));
}

static Tensor *output_tensor(ProgramRun *r, int k) {
  const Type *y = &value_of(r->p->m, r->p->m->main->outputs.at[k])->type;
  int64_t dims[MAX_RANK];
  int64_t bytes = dtype_bytes(y->dtype);
  for (int i = 0; i < y->rank; i++) {
    dims[i] = eval(r, y->dims[i]);
    if (__builtin_mul_overflow(bytes, dims[i], &bytes)) bytes = -1;
  }
  if (!affordable(r, bytes, "an output")) return NULL;
  Tensor *t = tensor_new(r->arena, y->dtype, y->rank, dims);
  memory_poison(t->data, tensor_bytes(t));
  return t;
}

static int port_of(const ValueList *list, ValueId v) {
  for (int k = 0; k < list->len; k++) if (list->at[k] == v) return k;
  return -1;
}

/* What a slot is and what it becomes are one memory, which ends as the output; apart: the value keeps its own. */
static char *state_memory(ProgramRun *r, const Buffer *x, const Tensor *const *in, Tensor **out) {
  const Graph *g = r->p->m->main;
  const StateSlot *s = &r->p->m->state.at[x->port];
  int from = port_of(&g->inputs, s->value), to = port_of(&g->outputs, s->next);
  if (to < 0 || (r->apart && x->value == s->value)) return arena_dup(&r->tmp, in[from]->data, tensor_bytes(in[from]));
  if (from >= 0 && x->value == s->value) memcpy(out[to]->data, in[from]->data, tensor_bytes(in[from]));
  return out[to]->data;
}

static bool place_buffers(ProgramRun *r, const Tensor *const *in, Tensor **out) {
  const Program *p = r->p;
  for (int i = 0; i < p->plan.len; i++) {
    const PlanOffset *o = &p->plan.at[i];
    int64_t at = 0;
    for (int k = 0; k < o->n; k++) {
      int64_t end = eval(r, o->below[k]);
      if (end > at) at = end;
    }
    set_symbol(r, o->symbol, at);
  }
  int64_t total = eval(r, p->arena_bytes);
  if (!affordable(r, total, "the arena")) return false;
  char *arena = r->apart ? NULL : arena_alloc(&r->tmp, (size_t)total);
  if (arena) memory_poison(arena, (size_t)total);
  for (int b = 0; b < p->buffers.len; b++) {
    const Buffer *x = &p->buffers.at[b];
    Place *at = &r->place[b];
    at->bytes = bytes_of(r, x);
    switch (x->home) {
    case HOME_NONE: break;
    case HOME_INPUT: at->data = (char *)in[x->port]->data; break;
    case HOME_OUTPUT: at->data = out[x->port]->data; break;
    case HOME_STATE: at->data = state_memory(r, x, in, out); break;
    case HOME_WEIGHT:
      // a copy: a kernel that writes to it spoils only this run
      at->data = arena_dup(&r->tmp, x->data->data, tensor_bytes(x->data));
      at->bytes = (int64_t)tensor_bytes(x->data);
      break;
    case HOME_ARENA:
      if (r->apart) {
        at->data = arena_alloc(&r->tmp, (size_t)at->bytes);
        memory_poison(at->data, (size_t)at->bytes);
        break;
      }
      int64_t offset = eval(r, x->offset);
      if (offset < 0 || offset + at->bytes > total)
        return fail(r, "internal", arena_printf(&r->tmp, "buffer %s is at %lld..%lld of an arena of %lld bytes",
                                                x->name, (long long)offset, (long long)(offset + at->bytes),
                                                    (long long)total));
      at->data = arena + offset;
      break;
    }
  }
  return true;
}

/* Poison b unless a buffer that lives at any time in [from, to] has some of the same bytes. */
static void poison_unless_shared(ProgramRun *r, int b, int from, int to) {
  const Place *x = &r->place[b];
  for (int c = 0; c < r->p->buffers.len; c++) {
    const Buffer *o = &r->p->buffers.at[c];
    const Place *y = &r->place[c];
    if (c == b || o->home != HOME_ARENA || o->first < 0 || o->first > to || o->last < from) continue;
    if (y->data < x->data + x->bytes && x->data < y->data + y->bytes) return;
  }
  memory_poison(x->data, (size_t)x->bytes);
}

static void poison_births(ProgramRun *r, int at) {
  for (int b = 0; b < r->p->buffers.len; b++) {
    const Buffer *x = &r->p->buffers.at[b];
    if (x->home == HOME_ARENA && x->first == at && r->place[b].data) poison_unless_shared(r, b, at, at);
  }
}

static void poison_deaths(ProgramRun *r, int at) {
  for (int b = 0; b < r->p->buffers.len; b++) {
    const Buffer *x = &r->p->buffers.at[b];
    if (x->home == HOME_ARENA && x->last == at && r->place[b].data) poison_unless_shared(r, b, at + 1, at + 1);
  }
}

/* ---- steps ---- */

static bool run_steps(ProgramRun *r, const StepList *steps);

static Code *code_of(ProgramRun *r, const Kernel *k) {
  for (int i = 0; i < r->p->kernels.len; i++)
    if (r->p->kernels.at[i] == k) {
      if (!r->code[i]) r->code[i] = code_make(&r->tmp, k);
      return r->code[i];
    }
  return code_make(&r->tmp, k);
}

static bool run_kernel(ProgramRun *r, const Step *s) {
  const Kernel *k = s->kernel;
  Arena tmp = {0};
  int parts = k->parts < r->parts ? k->parts : r->parts;
  Memory **mem = NEW_N(&tmp, Memory *, parts + 1);
  if (parts < 1) parts = 1;
  int64_t *dims = NEW_N(&tmp, int64_t, k->dims.len);
  for (int i = 0; i < k->dims.len; i++) dims[i] = symbol_value(k->dims.at[i], r);
  for (int part = 0; part < parts; part++) {
    mem[part] = NEW_N(&tmp, Memory, k->bufs.len);
    for (int i = 0; i < k->bufs.len; i++) {
      const Buf *b = k->bufs.at[i];
      if (b->role == BUF_LOCAL) continue;
      const Place *at = &r->place[s->buffer[b->index]];
      char *data = part && b->private_to ? arena_alloc(&tmp, (size_t)at->bytes) : at->data;
      mem[part][b->index] = (Memory){data, at->bytes / dtype_bytes(b->dtype)};
    }
  }
  bool ok = code_run_parts(code_of(r, k), mem, dims, parts, r->d);
  arena_free(&tmp);
  return ok;
}

static int64_t read_int(ProgramRun *r, int buffer) {
  const Buffer *b = &r->p->buffers.at[buffer];
  Tensor t = {.dtype = b->dtype, .rank = 0, .data = r->place[buffer].data};
  return tensor_get_int(&t, 0);
}

static bool run_loop(ProgramRun *r, const Step *s) {
  int64_t bound = eval(r, s->trips), trips = s->trip_buffer >= 0 ? read_int(r, s->trip_buffer) : bound;
  for (int64_t i = 0; i < trips && (s->cond < 0 || read_int(r, s->cond)); i++) {
    if (i == bound) return fail(r, "internal", "a loop runs longer than its bound");
    if (s->iter_buffer >= 0) memcpy(r->place[s->iter_buffer].data, &i, sizeof i);
    if (s->symbol) set_symbol(r, s->symbol, i);
    if (!run_steps(r, &s->then)) return false;
  }
  return true;
}

/* ---- strips ---- */

/* What the kernels of strips make that is no window: in parts, elements that two of them touch are an error. */
typedef struct Shared { int buffer; char *before; bool *made; } Shared;
typedef VEC(Shared) SharedList;

static SharedList shared_of(ProgramRun *r, Arena *tmp, const Step *s) {
  SharedList all = {0};
  for (int i = 0; i < s->then.len; i++) {
    const Step *k = s->then.at[i];
    for (int q = 0; q < k->kernel->bufs.len; q++) {
      const Buf *b = k->kernel->bufs.at[q];
      if (b->role != BUF_OUT && b->role != BUF_INOUT) continue;
      int buffer = k->buffer[b->index];
      bool known = r->p->buffers.at[buffer].is_private;
      for (int n = 0; n < all.len; n++) known |= all.at[n].buffer == buffer;
      if (known) continue;
      const Place *at = &r->place[buffer];
      *vec_push(tmp, &all) = (Shared){buffer, arena_dup(tmp, at->data, (size_t)at->bytes), NEW_N(tmp, bool, at->bytes)};
    }
  }
  return all;
}

/* After a part, which ran on poison: puts what the others made beside what it made. */
static bool shared_join(ProgramRun *r, Shared *x) {
  char *now = r->place[x->buffer].data;
  int64_t bytes = r->place[x->buffer].bytes, size = dtype_bytes(r->p->buffers.at[x->buffer].dtype);
  char poison[16];
  memory_poison(poison, sizeof poison);
  for (int64_t i = 0; i < bytes; i += size) {
    bool made = memcmp(now + i, poison, (size_t)size) != 0;
    if (made && x->made[i])
      return fail(r, "internal", arena_printf(&r->tmp, "two parts of strips make element %lld of %s",
                                              (long long)(i / size), r->p->buffers.at[x->buffer].name));
    x->made[i] |= made;
    if (made) memcpy(x->before + i, now + i, (size_t)size);
  }
  memcpy(now, x->before, (size_t)bytes);
  return true;
}

static bool run_rows(ProgramRun *r, const Step *s, int part, int parts) {
  int64_t first, end;
  step_part(s, part, parts, &first, &end);
  set_symbol(r, FIRST_SYMBOL, first);
  for (int64_t top = first; top < end; top += s->rows) {
    set_symbol(r, TOP_SYMBOL, top);
    set_symbol(r, BOTTOM_SYMBOL, int64_min(top + s->rows, end));
    if (!run_steps(r, &s->then)) return false;
  }
  return true;
}

/* The last part first; each with memory of its own for windows and scratch. */
static bool run_strips(ProgramRun *r, const Step *s) {
  int parts = s->parts < r->parts ? s->parts : r->parts;
  if (parts < 2) return run_rows(r, s, 0, 1);
  Arena tmp = {0};
  SharedList shared = shared_of(r, &tmp, s);
  Place *keep = arena_dup(&tmp, r->place, sizeof *keep * (size_t)r->p->buffers.len);
  bool ok = true;
  for (int part = parts - 1; ok && part >= 0; part--) {
    for (int b = 0; b < r->p->buffers.len; b++) {
      Place *at = &r->place[b];
      if (!r->p->buffers.at[b].is_private || !at->data) continue;
      at->data = part ? arena_alloc(&tmp, (size_t)at->bytes) : keep[b].data;
      if (part) memory_poison(at->data, (size_t)at->bytes);
    }
    for (int i = 0; i < shared.len; i++) {
      const Place *at = &r->place[shared.at[i].buffer];
      memory_poison(at->data, (size_t)at->bytes);
    }
    ok = run_rows(r, s, part, parts);
    for (int i = 0; ok && i < shared.len; i++) ok = shared_join(r, &shared.at[i]);
  }
  memcpy(r->place, keep, sizeof *keep * (size_t)r->p->buffers.len);
  arena_free(&tmp);
  return ok;
}

static bool run_symbol(ProgramRun *r, const Step *s) {
  int64_t v = read_int(r, s->cond);
  const Symbol *y = symbol_find(s->symbol);
  if (y && (v < y->lo || v > y->hi))
    return fail(r, "internal", arena_printf(&r->tmp, "%s = %lld is not in %lld..%lld", s->symbol, (long long)v,
                                            (long long)y->lo, (long long)y->hi));
  set_symbol(r, s->symbol, v);
  return true;
}

static bool run_steps(ProgramRun *r, const StepList *steps) {
  for (int i = 0; i < steps->len; i++) {
    const Step *s = steps->at[i];
    bool ok = true;
    if (!r->apart) poison_births(r, s->at);
    switch (s->kind) {
    case STEP_KERNEL: ok = run_kernel(r, s); break;
    case STEP_IF: ok = run_steps(r, read_int(r, s->cond) ? &s->then : &s->other); break;
    case STEP_LOOP: ok = run_loop(r, s); break;
    case STEP_SYMBOL: ok = run_symbol(r, s); break;
    case STEP_STRIPS: ok = run_strips(r, s); break;
    }
    if (!ok) return false;
    if (!r->apart) poison_deaths(r, s->at);
  }
  return true;
}

static bool run(const Program *p, bool apart, int parts, const Tensor *const *in, Tensor **out, Arena *a, Diags *d) {
  calls_of_runtime();
  ProgramRun r = {.p = p, .apart = apart, .parts = parts, .arena = a, .d = d};
  const Graph *g = p->m->main;
  r.place = NEW_N(&r.tmp, Place, p->buffers.len + 1);
  r.code = NEW_N(&r.tmp, Code *, p->kernels.len + 1);
  bool ok = true;
  for (int k = 0; ok && k < g->inputs.len; k++) ok = bind_input(&r, k, in[k]);
  for (int k = 0; ok && k < g->inputs.len; k++) ok = check_input(&r, k, in[k]);
  for (int k = 0; ok && k < g->outputs.len; k++) ok = (out[k] = output_tensor(&r, k)) != NULL;
  ok = ok && place_buffers(&r, in, out) && run_steps(&r, &p->steps);
  for (int k = 0; ok && k < g->outputs.len; k++) {               // sizes that the run has found
    const Type *y = &value_of(p->m, g->outputs.at[k])->type;
    for (int i = 0; i < y->rank; i++) out[k]->dims[i] = eval(&r, y->dims[i]);
  }
  arena_free(&r.tmp);
  return ok;
}

bool program_run(const Program *p, const Tensor *const *in, Tensor **out, Arena *a, Diags *d) {
  return run(p, false, 1, in, out, a, d);
}

bool program_run_parts(const Program *p, int parts, const Tensor *const *in, Tensor **out, Arena *a, Diags *d) {
  return run(p, false, parts, in, out, a, d);
}

bool program_run_apart(const Program *p, const Tensor *const *in, Tensor **out, Arena *a, Diags *d) {
  return run(p, true, 1, in, out, a, d);
}
