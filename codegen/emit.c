/* The whole module: names, kernels (equal ones once), files. The parts are in emit_*.c. */
#include "base/intern.h"
#include "codegen/embed.h"
#include "codegen/emit_parts.h"
#include <ctype.h>
#include <stdlib.h>

enum { SPLIT_LINES = 4000 };

/* ---- files and names ---- */

void emit_file(Emit *e, const char *name, Text *t) {
  *vec_push(e->a, &e->out->at) = (EmitFile){.name = name, .data = arena_dup(e->a, t->at ? t->at : "", t->len + 1),
                                            .size = t->len};
  text_free(t);
}

const char *emit_name(Emit *e, const char *suffix) { return arena_printf(e->a, "%s%s", e->prefix, suffix); }

/* Would NAME.h or NAME.c hide a file that emitted code includes, or one that is written beside it? */
static bool hides_a_file(const char *name) {
  static const char *const files[] = {"assert", "ctype", "errno", "fcntl", "float", "inttypes", "limits", "math",
                                      "random", "signal", "stb_image", "stdarg", "stdbool", "stddef", "stdint",
                                      "stdio", "stdlib", "string", "time", "unistd"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    if (!strcmp(name, files[i])) return true;
  return !strncmp(name, "lt_", 3) || !strncmp(name, "op_", 3);
}

const char *emit_prefix(Arena *a, const char *path) {
  const char *base = strrchr(path, '/');
  base = base ? base + 1 : path;
  const char *dot = strrchr(base, '.');
  char *s = arena_printf(a, "%.*s", (int)(dot && dot != base ? dot - base : (long)strlen(base)), base);
  return c_identifier(a, hides_a_file(s) ? arena_printf(a, "net_%s", s) : s);
}

const char *emit_upper(Arena *a, const char *s) {
  char *r = arena_strdup(a, s);
  for (char *q = r; *q; q++) *q = (char)toupper((unsigned char)*q);
  return r;
}

static const char *fresh_name(Arena *a, const char *wish, const char **taken, int n) {
  const char *base = c_identifier(a, wish), *name = base;
  for (int i = 0, k = 2; i < n; i++)
    if (taken[i] == name) { name = intern(arena_printf(a, "%s_%d", base, k++)); i = -1; }
  return name;
}

static void find_names(Emit *e) {
  Module *m = e->p->m;
  // by the run function
  static const char *const used[] = {"weights", "arena", "state", "io", "pool", "c", "call", PART_SYMBOL, PARTS_SYMBOL,
                                     TOP_SYMBOL, BOTTOM_SYMBOL, FIRST_SYMBOL, "end"};
  enum { USED = sizeof used / sizeof *used };
  int nin = m->main->inputs.len, nout = m->main->outputs.len, n = 0;
  const char **taken = NEW_N(e->a, const char *, nin + nout + USED + symbol_count() + 1);
  e->in_name = NEW_N(e->a, const char *, nin + 1);
  e->out_name = NEW_N(e->a, const char *, nout + 1);
  for (int i = 0; i < nin; i++) {
    ValueId v = m->main->inputs.at[i];
    if (!graph_state_of_value(m, v)) taken[n] = e->in_name[i] = fresh_name(e->a, value_of(m, v)->name, taken, n), n++;
  }
  for (int i = 0; i < nout; i++) {
    ValueId v = m->main->outputs.at[i];
    if (!graph_state_of_value(m, v)) taken[n] = e->out_name[i] = fresh_name(e->a, value_of(m, v)->name, taken, n), n++;
  }
  for (int i = 0; i < USED; i++) taken[n++] = intern(used[i]);
  for (int i = 0; i < e->symbols.len; i++)
    taken[n] = e->symbols.at[i].c = fresh_name(e->a, e->symbols.at[i].name, taken, n), n++;
}

int emit_io_index(const char *const *name, int port) {
  int n = 0;
  for (int k = 0; k < port; k++) n += name[k] != NULL;
  return n;
}

/* ---- state ---- */

int64_t emit_state_offset(const Emit *e, int slot) {
  const char *name = e->p->m->state.at[slot].name;
  const StateTensor *t = bundle_find(e->o->bundle, name);
  if (!t) BUG("state '%s' is not in the bundle's table", name);
  return t->offset;
}

bool emit_writes_state(const Emit *e) {
  for (int k = 0; k < e->p->m->state.len; k++) if (e->p->m->state.at[k].next) return true;
  return false;
}

/* ---- symbols ---- */

static bool has_symbol(const Emit *e, const char *name) {
  for (int i = 0; i < e->symbols.len; i++)
    if (!strcmp(e->symbols.at[i].name, name)) return true;
  return false;
}

/* Those that steps of this kind set: SYMBOL shows them to the caller, LOOP does not. */
static void computed_symbols(Emit *e, Step *const *steps, int n, StepKind kind) {
  for (int i = 0; i < n; i++) {
    const Step *s = steps[i];
    if (s->kind == kind && s->symbol && !has_symbol(e, s->symbol)) {
      const Symbol *sym = symbol_find(s->symbol);
      *vec_push(e->a, &e->symbols) = (EmitSymbol){s->symbol, NULL, sym ? sym->lo : 0, sym ? sym->hi : INT32_MAX, -1, 0};
    }
    computed_symbols(e, s->then.at, s->then.len, kind);
    computed_symbols(e, s->other.at, s->other.len, kind);
  }
}

static void find_symbols(Emit *e) {
  Module *m = e->p->m;
  for (int i = 0; i < m->main->inputs.len; i++) {
    const Type *t = &value_of(m, m->main->inputs.at[i])->type;
    for (int k = 0; k < t->rank; k++)
      for (int s = 0; s < symbol_count(); s++) {
        const Symbol *sym = symbol_at(s);
        if (has_symbol(e, sym->name) || !dim_eq(t->dims[k], dim_symbol(sym->name, sym->lo, sym->hi))) continue;
        *vec_push(e->a, &e->symbols) = (EmitSymbol){sym->name, NULL, sym->lo, sym->hi, i, k};
      }
  }
  e->input_symbols = e->symbols.len;
  computed_symbols(e, e->p->steps.at, e->p->steps.len, STEP_SYMBOL);
  e->shown_symbols = e->symbols.len;
  computed_symbols(e, e->p->steps.at, e->p->steps.len, STEP_LOOP);
}

Dim emit_arena_bytes(const Emit *e) { return e->p->arena_bytes; }
Dim emit_part_bytes(const Emit *e) { return e->p->part_bytes; }

bool emit_is_parallel(const Emit *e) {
  return e->o->parallel && !(e->o->function && e->o->function->kind == FUNCTION_INIT);
}
const char *emit_run_parallel(Emit *e) { return arena_printf(e->a, "%s_parallel", e->run); }

void emit_add_file(Emit *e, const char *name) {
  for (int i = 0; i < e->out->at.len; i++)
    if (!strcmp(e->out->at.at[i].name, name)) return;
  const EmbedFile *f = embed_find(name);
  if (f) *vec_push(e->a, &e->out->at) = (EmitFile){.name = f->name, .data = f->text, .size = f->size};
}

/* The offsets of the plan, as constants named as their symbols, for emit_arena_bytes and the buffers. */
void emit_plan(Emit *e, Text *t) {
  for (int i = 0; i < e->p->plan.len; i++) {
    const PlanOffset *o = &e->p->plan.at[i];
    const char *c = c_identifier(e->a, o->symbol);
    text_printf(t, "  int64_t %s = %s;\n", c, emit_dim(e, o->below[0]).s);
    for (int k = 1; k < o->n; k++) {
      const char *end = emit_dim(e, o->below[k]).s;
      text_printf(t, "  if (%s < %s) %s = %s;\n", c, end, c, end);
    }
  }
}

/* ---- dims in C ---- */

typedef struct DimText { C c; bool natural; } DimText;         /* natural: never negative */

static void *dim_make(void *ctx, DimKind kind, int64_t k, const char *symbol, void *x, void *y) {
  Emit *e = ctx;
  DimText *r = NEW(e->a, DimText), *a = x, *b = y;
  r->natural = a && b && a->natural && b->natural;
  static const char *const op[] = {[DIM_ADD] = "+", [DIM_MUL] = "*", [DIM_FLOORDIV] = "/", [DIM_MOD] = "%%"};
  switch (kind) {
  case DIM_CONST: {
    const char *s = c_number(e->a, DT_I64, 0, k);
    *r = (DimText){{s, k < 0 ? P_UNARY : P_POSTFIX}, k >= 0};
    return r;
  }
  case DIM_SYMBOL: {
    const Symbol *sym = symbol_find(symbol);
    r->c = (C){c_identifier(e->a, symbol), P_POSTFIX};
    for (int i = 0; i < e->symbols.len; i++)
      if (!strcmp(e->symbols.at[i].name, symbol)) r->c.s = e->symbols.at[i].c;
    r->c.s = arena_printf(e->a, "%s%s", e->from, r->c.s);
    r->natural = sym && sym->lo >= 0;
    return r;
  }
  case DIM_ADD: case DIM_MUL: {
    int prec = kind == DIM_ADD ? P_ADD : P_MUL;
    const char *rhs = c_wrap(e->c, b->c, prec + 1), *lhs = c_wrap(e->c, a->c, prec);
    bool minus = kind == DIM_ADD && rhs[0] == '-';
    r->c = (C){arena_printf(e->a, "%s %s %s", lhs, minus ? "-" : op[kind], rhs + minus), prec};
    return r;
  }
  case DIM_FLOORDIV: case DIM_MOD:
    if (r->natural) {
      r->c = (C){arena_printf(e->a, kind == DIM_MOD ? "%s %% %s" : "%s / %s", c_wrap(e->c, a->c, P_MUL),
                              c_wrap(e->c, b->c, P_UNARY)), P_MUL};
    } else {
      const char *q = arena_printf(e->a, "(%s %% %s)", c_wrap(e->c, a->c, P_MUL), c_wrap(e->c, b->c, P_UNARY));
      const char *rem = arena_printf(e->a, "(%s < 0 ? %s + %s : %s)", q, q, c_wrap(e->c, b->c, P_ADD), q);
      r->c = kind == DIM_MOD ? (C){rem, P_POSTFIX}
                             : (C){arena_printf(e->a, "(%s - %s) / %s", c_wrap(e->c, a->c, P_ADD), rem,
                                                c_wrap(e->c, b->c, P_UNARY)), P_MUL};
    }
    return r;
  case DIM_MIN: case DIM_MAX:                      // functions of the header: as ?: each level would double the text
    r->c = (C){arena_printf(e->a, "%s_%s(%s, %s)", e->prefix, kind == DIM_MIN ? "min" : "max", a->c.s, b->c.s),
               P_POSTFIX};
    return r;
  }
  BUG("dim kind %d", kind);
}

C emit_dim(Emit *e, Dim d) {
  if (dim_is_const(d)) return (C){c_number(e->a, DT_I64, 0, d.k), d.k < 0 ? P_UNARY : P_POSTFIX};
  return ((DimText *)dim_fold(d, dim_make, e))->c;
}

/* ---- kernels ---- */

/* Two parameters of one call share memory: place puts an elementwise result over its dying input. */
static bool overlap(const Buffer *x, const Buffer *y) {
  if (x == y) return true;
  if (x->home != y->home) return false;
  if (x->home == HOME_INPUT || x->home == HOME_OUTPUT || x->home == HOME_STATE) return x->port == y->port;
  if (x->home != HOME_ARENA) return false;
  if (!dim_is_const(x->offset) || !dim_is_const(y->offset)) return dim_eq(x->offset, y->offset);
  int64_t xn = dim_hi(x->elems) * dtype_bytes(x->dtype), yn = dim_hi(y->elems) * dtype_bytes(y->dtype);
  return x->offset.k < y->offset.k + yn && y->offset.k < x->offset.k + xn;
}

int emit_kernel_of(const Emit *e, const Kernel *k) {
  for (int i = 0; i < e->p->kernels.len; i++)
    if (e->p->kernels.at[i] == k) return i;
  BUG("kernel %s is not in the program's list", k->name);
}

static void find_aliases(Emit *e, Step *const *steps, int n) {
  for (int i = 0; i < n; i++) {
    const Step *s = steps[i];
    find_aliases(e, s->then.at, s->then.len);
    find_aliases(e, s->other.at, s->other.len);
    if (s->kind != STEP_KERNEL) continue;
    EmitKernel *k = &e->kernel[emit_kernel_of(e, s->kernel)];
    int np = 0;
    for (int b = 0; b < s->kernel->bufs.len; b++) np += s->kernel->bufs.at[b]->role != BUF_LOCAL;
    for (int x = 0; x < np; x++)
      for (int y = 0; y < np; y++) {
        bool written = s->kernel->bufs.at[x]->role != BUF_IN;
        if (x != y && written && overlap(&e->p->buffers.at[s->buffer[x]], &e->p->buffers.at[s->buffer[y]]))
          k->aliased = true;
      }
  }
}

static int lines_of(const char *s) {
  int n = 0;
  for (; s && *s; s++) n += *s == '\n';
  return n;
}

/* Prints every kernel under a neutral name, finds equal ones, then names and prints those that stay. */
static int print_kernels(Emit *e) {
  const Program *p = e->p;
  int lines = 0;
  for (int i = 0; i < p->kernels.len; i++) {
    EmitKernel *k = &e->kernel[i];
    k->k = p->kernels.at[i];
    k->same_as = i;
    c_kernel(e->c, &k->code, k->k, "kernel", k->aliased);
    for (int j = 0; j < i && k->same_as == i; j++)
      if (e->kernel[j].same_as == j && e->kernel[j].code.len == k->code.len &&
          !memcmp(e->kernel[j].code.at, k->code.at, k->code.len))
        k->same_as = j;
    if (k->same_as == i) lines += lines_of(k->code.at);
  }
  e->split = lines > SPLIT_LINES && !e->o->single_file;
  const char **taken = NEW_N(e->a, const char *, p->kernels.len + 1);
  for (int i = 0; i < p->kernels.len; i++) {
    EmitKernel *k = &e->kernel[i];
    if (k->same_as != i) { k->name = e->kernel[k->same_as].name; continue; }
    const char *wish = e->split ? arena_printf(e->a, "%s_%s", e->prefix, k->k->name) : k->k->name;
    k->name = taken[i] = fresh_name(e->a, wish, taken, i);
    k->code.len = 0;
    c_kernel(e->c, &k->code, k->k, k->name, k->aliased);
  }
  return lines;
}

/* "also from ...": where another call comes from; what it does only where that has other words. */
static void also_from(Text *note, const char *first, const char *s) {
  int does = (int)strcspn(s, "\n");
  text_put(note, "\nalso");
  if (strncmp(first, s, (size_t)does + 1)) text_printf(note, " %.*s", does, s);
  const char *from = s[does] ? s + does + 1 : "";
  if (!strncmp(from, "from ", 5)) text_printf(note, " %.*s", (int)strcspn(from, "\n"), from);
}

static void kernel_comment(Emit *e, Text *t, int i) {
  Text note = {0};
  int also = 0;
  for (int j = i; j < e->p->kernels.len; j++) {
    if (e->kernel[j].same_as != i) continue;
    const char *s = e->kernel[j].k->note ? e->kernel[j].k->note : e->kernel[j].k->name;
    if (j != i && ++also > 12) continue;
    if (j == i) text_put(&note, s);
    else also_from(&note, e->kernel[i].k->note ? e->kernel[i].k->note : "", s);
  }
  if (also > 12) text_printf(&note, "\nand %d more", also - 12);
  Dim flops = e->kernel[i].k->flops;
  if (!dim_is(flops, 0)) text_printf(&note, "\n%s FLOP", dim_text(flops));
  if (e->kernel[i].k->choice) text_printf(&note, "\n%s", e->kernel[i].k->choice);
  c_comment(t, 0, note.at);
  text_free(&note);
}

static void put_kernels(Emit *e, Text *t, int from, int to) {
  for (int i = from; i < to; i++) {
    if (e->kernel[i].same_as != i) continue;
    kernel_comment(e, t, i);
    if (!e->split) text_put(t, "KERNEL ");
    text_bytes(t, e->kernel[i].code.at, e->kernel[i].code.len);
    text_put(t, "\n");
  }
}

static void includes(Emit *e, Text *t) {
  text_put(t, "#include <math.h>\n#include <stdint.h>\n#include <string.h>\n");
  if (e->c->calls.len) text_put(t, "#include \"lt_ops.h\"\n");
  if (!e->c->plain) {
    text_put(t, "\n/* Vectors are passed only between inline functions, so how an ABI would pass them does not matter. */\n"
                "#if defined(__GNUC__)\n#pragma GCC diagnostic ignored \"-Wpsabi\"\n#endif\n");
  }
  text_put(t, "\n");
}

static void parts_comment(Emit *e, Text *t) {
  if (e->shares) text_put(t, "/* A kernel with `part` and `parts` does the units [from, to) of its work, an equal share; parts 0 to parts - 1 do all. */\n");
}

/* Inlined into a step with parts, a kernel of nested loops comes out wrong from gcc 12 -O2 -fwrapv: its pass ivopts. */
static void kernel_macro(Emit *e, Text *t) {
  parts_comment(e, t);
  if (e->c->plain && e->shares) {
    text_put(t, "#if defined(__GNUC__)\n#define KERNEL static __attribute__((noinline))\n#else\n"
                "#define KERNEL static\n#endif\n\n");
    return;
  }
  text_printf(t, "#define KERNEL static%s\n\n", e->c->plain ? "" : " __attribute__((noinline))");
}

/* PREFIX_kernels.h: types, helpers and declarations; PREFIX_k1.c … hold the kernels, for a parallel build. */
static void split_files(Emit *e) {
  Text h = {0};
  const char *name = emit_name(e, "_kernels.h");
  emit_banner(e, &h, "vector types, helper functions and the kernels' declarations");
  text_printf(&h, "#ifndef %s_KERNELS_H\n#define %s_KERNELS_H\n", e->PREFIX, e->PREFIX);
  includes(e, &h);
  c_prelude(e->c, &h);
  parts_comment(e, &h);
  for (int i = 0; i < e->p->kernels.len; i++) {
    if (e->kernel[i].same_as != i) continue;
    c_kernel_signature(e->c, &h, e->kernel[i].k, "", e->kernel[i].name, e->kernel[i].aliased);
    text_put(&h, ";\n");
  }
  text_put(&h, "#endif\n");
  emit_file(e, name, &h);
  int part = 1;
  for (int from = 0; from < e->p->kernels.len; part++) {
    int to = from, lines = 0;
    while (to < e->p->kernels.len && (to == from || lines < SPLIT_LINES)) {
      if (e->kernel[to].same_as == to) lines += lines_of(e->kernel[to].code.at);
      to++;
    }
    Text t = {0};
    emit_banner(e, &t, "kernels");
    text_printf(&t, "#include \"%s\"\n\n", name);
    put_kernels(e, &t, from, to);
    emit_file(e, arena_printf(e->a, "%s_k%d.c", e->prefix, part), &t);
    from = to;
  }
}

/* ---- the module ---- */

static bool has_unsupported(Emit *e) {
  if (e->p->m->state.len && !e->o->function) {
    diag_error(e->d, "unsupported", NULL, "a function over a state ('%s') cannot be emitted alone: it belongs to the "
               ".lathe text it was dumped from", e->p->m->state.at[0].name);
    return true;
  }
  for (int i = 0; i < e->p->buffers.len; i++) {
    const Buffer *b = &e->p->buffers.at[i];
    DClass c = dtype_info[b->dtype].cls;
    if (c != CLASS_STRING && c != CLASS_COMPLEX) continue;
    diag_error(e->d, "unsupported", NULL, "'%s' is %s: such tensors cannot be emitted yet", b->name,
               dtype_info[b->dtype].text);
    return true;
  }
  return false;
}

static const char *amount(Arena *a, int64_t n, const char *unit) {
  double v = (double)n;
  return n < 10000 ? arena_printf(a, "%lld %s", (long long)n, unit)
       : v < 1e6 ? arena_printf(a, "%.1f k%s", v / 1e3, unit)
       : v < 1e9 ? arena_printf(a, "%.1f M%s", v / 1e6, unit) : arena_printf(a, "%.2f G%s", v / 1e9, unit);
}

void emit_banner(Emit *e, Text *t, const char *what) {
  const Target *g = e->o->target;
  const char *from = strrchr(e->p->m->path ? e->p->m->path : e->p->m->name, '/');
  from = from ? from + 1 : e->p->m->path ? e->p->m->path : e->p->m->name;
  text_printf(t, "/* %s: %s.\n *\n", e->prefix, what);
  text_printf(t, " *   made by   lathe, from %s\n", from);
  if (e->o->command) text_printf(t, " *   command   %s\n", e->o->command);
  text_printf(t, " *   target    %s (%s)\n", g->name, g->note);
  text_printf(t, " *   weights   %lld bytes, %s\n", (long long)e->p->weight_bytes, e->state_of_weights);
  if (e->p->plan.len) text_printf(t, " *   arena     at most %lld bytes\n", (long long)e->p->arena_bound);
  else text_printf(t, " *   arena     %s bytes\n", dim_text(emit_arena_bytes(e)));
  Dim flops = program_flops(e->p);
  text_printf(t, " *   work      %s\n", dim_is_const(flops) ? amount(e->a, flops.k, "FLOP")
              : arena_printf(e->a, "%s FLOP", dim_text(flops)));
  text_put(t, " */\n");
}

/* Is there a step that threads share? */
static bool shares(const StepList *steps) {
  bool any = false;
  for (int i = 0; i < steps->len && !any; i++) {
    const Step *s = steps->at[i];
    any = s->parts > 0 || (s->kernel && s->kernel->parts > 0) || shares(&s->then) || shares(&s->other);
  }
  return any;
}

bool emit_program(const Program *p, const EmitOptions *o, Arena *a, EmitFiles *out, Diags *d) {
  Emit e = {.p = p, .o = o, .a = a, .out = out, .d = d, .prefix = o->prefix, .PREFIX = emit_upper(a, o->prefix),
            .from = ""};
  if (has_unsupported(&e)) return false;
  e.state_of_weights = o->weights == WEIGHTS_BIN ? arena_printf(a, "in %s.bin", o->prefix)
                     : o->weights == WEIGHTS_LINK ? arena_printf(a, "linked in from %s.bin", o->prefix)
                     : arena_printf(a, "in %s_weights.c", o->prefix);
  find_symbols(&e);
  find_names(&e);
  e.shares = shares(&p->steps);
  e.run = o->function ? o->prefix : emit_name(&e, "_run");
  e.c = c_printer_new(a, o->target);
  e.c->sleef = o->sleef;
  e.kernel = NEW_N(a, EmitKernel, p->kernels.len + 1);
  find_aliases(&e, p->steps.at, p->steps.len);
  print_kernels(&e);

  emit_header(&e);
  Text t = {0};
  emit_banner(&e, &t, e.split ? "the run function" : "kernels and the run function");
  text_printf(&t, "#include \"%s.h\"\n", e.prefix);
  if (e.split) {
    split_files(&e);
    text_printf(&t, "#include \"%s_kernels.h\"\n\n", e.prefix);
  } else {
    includes(&e, &t);
    c_prelude(e.c, &t);
    kernel_macro(&e, &t);
    put_kernels(&e, &t, 0, p->kernels.len);
  }
  emit_run(&e, &t);
  emit_file(&e, emit_name(&e, ".c"), &t);
  if (!o->function || p->weight_bytes) emit_weights(&e);
  emit_calls(&e);
  if (emit_is_parallel(&e)) {
    emit_add_file(&e, "lt_pool.h");
    emit_add_file(&e, "lt_pool.c");
  }
  if (o->model_table && o->function) emit_function_table(&e);
  else if (o->model_table) emit_model(&e);
  for (int i = 0; i < p->kernels.len; i++) text_free(&e.kernel[i].code);
  text_free(&e.c->types);
  text_free(&e.c->helpers);
  return true;
}
