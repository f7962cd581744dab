/* PREFIX_run, PREFIX_error, PREFIX_open: the steps of the program in order. */
#include "codegen/emit_parts.h"

typedef struct Run { Emit *e; Text *t; int indent, kernels; bool weights, arena, state; } Run;

static void line(Run *r, const char *s) {
  r->e->c->out = r->t;
  r->e->c->indent = r->indent;
  c_line(r->e->c, "%s", s);
}

/* A buffer as a pointer expression. */
static const char *pointer(Run *r, int b, bool written) {
  const Buffer *x = &r->e->p->buffers.at[b];
  Arena *a = r->e->a;
  switch (x->home) {
  case HOME_INPUT:  return arena_printf(a, "io->%s", r->e->in_name[x->port]);
  case HOME_OUTPUT: return arena_printf(a, "io->%s", r->e->out_name[x->port]);
  case HOME_STATE:
    r->state = true;
    return arena_printf(a, "STATE(%s, %lld)", c_storage(x->dtype), (long long)emit_state_offset(r->e, x->port));
  case HOME_WEIGHT: r->weights = true; return arena_printf(a, "WEIGHT(%s, %s)", c_storage(x->dtype), emit_dim(r->e, x->offset).s);
  case HOME_ARENA:  r->arena = true; return arena_printf(a, "ARENA(%s, %s)", c_storage(x->dtype), emit_dim(r->e, x->offset).s);
  case HOME_NONE: break;
  }
  (void)written;
  BUG("buffer '%s' has no home", x->name);
}

static const char *element(Run *r, int b) { return arena_printf(r->e->a, "*%s", pointer(r, b, false)); }

static const char *symbol_name(Emit *e, const char *symbol) {
  for (int i = 0; i < e->symbols.len; i++)
    if (!strcmp(e->symbols.at[i].name, symbol)) return e->symbols.at[i].c;
  BUG("symbol %s comes from no input and no step", symbol);
}

static void call_kernel(Run *r, const Step *s) {
  Emit *e = r->e;
  Text t = {0};
  if (e->o->profile) line(r, arena_printf(e->a, "%s_profile(%d);", e->prefix, r->kernels++));
  text_printf(&t, "%s(", e->kernel[emit_kernel_of(e, s->kernel)].name);
  int n = 0;
  for (int i = 0; i < s->kernel->bufs.len; i++) {
    if (s->kernel->bufs.at[i]->role == BUF_LOCAL) continue;
    text_printf(&t, "%s%s", n ? ", " : "", pointer(r, s->buffer[n], s->kernel->bufs.at[i]->role != BUF_IN));
    n++;
  }
  for (int i = 0; i < s->kernel->dims.len; i++, n++) text_printf(&t, "%s%s", n ? ", " : "", symbol_name(e, s->kernel->dims.at[i]));
  text_put(&t, ");");
  line(r, t.at);
  text_free(&t);
}

static void steps(Run *r, Step *const *s, int n);

static void nested(Run *r, Step *const *s, int n) {
  r->indent++;
  steps(r, s, n);
  r->indent--;
}

/* The counter's name goes by depth, so that nested loops do not shadow. */
static void loop(Run *r, const Step *s) {
  Arena *a = r->e->a;
  const char *t = arena_printf(a, "t%d", r->indent), *end = arena_printf(a, "end%d", r->indent), *bound = emit_dim(r->e, s->trips).s;
  const char *cond = s->cond >= 0 ? arena_printf(a, " && %s", element(r, s->cond)) : "";
  const char *count = s->trip_buffer >= 0 ? element(r, s->trip_buffer) : bound;
  line(r, arena_printf(a, "for (int64_t %s = 0, %s = %s; %s < %s%s; %s++) {", t, end, count, t, end, cond, t));
  r->indent++;
  if (s->trip_buffer >= 0) line(r, arena_printf(a, "if (%s >= %s) return %d;", t, bound, 3 + r->e->shown_symbols));
  if (s->iter_buffer >= 0) line(r, arena_printf(a, "%s = %s;", element(r, s->iter_buffer), t));
  r->indent--;
  nested(r, s->then.at, s->then.len);
  line(r, "}");
}

static void symbol(Run *r, const Step *s) {
  Emit *e = r->e;
  const char *c = symbol_name(e, s->symbol);
  const Symbol *sym = symbol_find(s->symbol);
  if (s->local) { line(r, arena_printf(e->a, "const int64_t %s = %s;", c, element(r, s->cond))); return; }
  line(r, arena_printf(e->a, "%s = %s;", c, element(r, s->cond)));
  int code = 3;
  for (int i = 0; i < e->symbols.len; i++)
    if (e->symbols.at[i].c == c) code += i;
  if (sym) line(r, arena_printf(e->a, "if (%s < %lld || %s > %lld) return %d;", c, (long long)sym->lo, c, (long long)sym->hi, code));
  line(r, arena_printf(e->a, "if (io->%s) *io->%s = %s;", c, c, c));
}

static void steps(Run *r, Step *const *s, int n) {
  for (int i = 0; i < n; i++) {
    switch (s[i]->kind) {
    case STEP_KERNEL: call_kernel(r, s[i]); break;
    case STEP_SYMBOL: symbol(r, s[i]); break;
    case STEP_LOOP:   loop(r, s[i]); break;
    case STEP_IF:
      line(r, arena_printf(r->e->a, "if (%s) {", element(r, s[i]->cond)));
      nested(r, s[i]->then.at, s[i]->then.len);
      if (s[i]->other.len) {
        line(r, "} else {");
        nested(r, s[i]->other.at, s[i]->other.len);
      }
      line(r, "}");
      break;
    }
  }
}

/* ---- the functions around the steps ---- */

static void checks(Emit *e, Text *t, const Run *r) {
  Module *m = e->p->m;
  text_put(t, "  if (!io");
  for (int i = 0; i < m->main->inputs.len; i++) if (e->in_name[i]) text_printf(t, " || !io->%s", e->in_name[i]);
  for (int i = 0; i < m->main->outputs.len; i++) if (e->out_name[i]) text_printf(t, " || !io->%s", e->out_name[i]);
  if (r->weights && !e->o->function) text_put(t, " || !weights");
  if (r->arena) text_put(t, " || !arena");
  if (r->state) text_put(t, " || !state");
  text_put(t, ") return 1;\n");
  if (r->arena) text_put(t, "  if ((uintptr_t)arena % 64) return 2;\n");
  if (r->state) text_put(t, "  if ((uintptr_t)state % 64) return 2;\n");
  if (r->state && e->o->function->kind != FUNCTION_INIT) {
    text_printf(t, "  uint64_t layout;\n  memcpy(&layout, (const char *)state + 16, 8);\n");
    text_printf(t, "  if (layout != UINT64_C(0x%016llx)) return %d;\n", (unsigned long long)bundle_hash(e->o->bundle), 4 + e->shown_symbols);
  }
  for (int i = 0; i < e->shown_symbols; i++) {
    const EmitSymbol *s = &e->symbols.at[i];
    if (s->input < 0) { text_printf(t, "  int64_t %s = 0;\n", s->c); continue; }
    text_printf(t, "  const int64_t %s = io->%s;\n", s->c, s->c);
    text_printf(t, "  if (%s < %lld || %s > %lld) return %d;\n", s->c, (long long)s->lo, s->c, (long long)s->hi, 3 + i);
  }
}

static void error_function(Emit *e, Text *t) {
  text_printf(t, "const char *%s_error(int code) {\n  switch (code) {\n", e->prefix);
  text_printf(t, "  case 0: return \"done\";\n  case 1: return \"a pointer is NULL: io, one of its arrays, %s or arena\";\n"
              "  case 2: return \"%s not aligned to 64 bytes\";\n", e->o->function ? "state" : "weights",
              e->o->function ? "arena or state is" : "the arena is");
  for (int i = 0; i < e->shown_symbols; i++)
    text_printf(t, "  case %d: return \"%s is outside %lld to %lld\";\n", 3 + i, e->symbols.at[i].c, (long long)e->symbols.at[i].lo, (long long)e->symbols.at[i].hi);
  text_printf(t, "  case %d: return \"a loop runs longer than it was compiled for\";\n", 3 + e->shown_symbols);
  if (e->o->function) text_printf(t, "  case %d: return \"the state is not one of this network\";\n", 4 + e->shown_symbols);
  text_put(t, "  default: return \"unknown error\";\n  }\n}\n");
}

static void open_function(Emit *e, Text *t) {
  text_printf(t, "\n/* Header of %s.bin, 64 bytes: magic, version, header bytes, layout, data bytes, xxh64 of the data. */\n", e->prefix);
  text_printf(t, "const void *%s_open(const void *file, size_t bytes) {\n", e->prefix);
  text_put(t, "  static const char magic[8] = {'L', 'A', 'T', 'H', 'E', 'W', 'T', 'S'};\n"
              "  uint32_t head[2];\n  uint64_t layout[2];\n"
              "  if (!file || bytes < 64 || memcmp(file, magic, 8) != 0) return NULL;\n"
              "  memcpy(head, (const char *)file + 8, 8);\n  memcpy(layout, (const char *)file + 16, 16);\n");
  text_printf(t, "  if (head[0] != 1 || head[1] != 64 || layout[0] != UINT64_C(0x%016llx)) return NULL;\n", (unsigned long long)emit_layout_hash(e));
  text_printf(t, "  if (layout[1] != %s_WEIGHTS_BYTES || bytes - 64 < layout[1]) return NULL;\n  return (const char *)file + 64;\n}\n", e->PREFIX);
}

void emit_run(Emit *e, Text *t) {
  Text body = {0};
  Run r = {.e = e, .t = &body, .indent = 1};
  steps(&r, e->p->steps.at, e->p->steps.len);
  bool writes = emit_writes_state(e);

  if (r.weights) text_put(t, "#define WEIGHT(T, at) ((const T *)((const char *)weights + (at)))\n");
  if (r.arena) text_put(t, "#define ARENA(T, at) ((T *)((char *)arena + (at)))\n");
  if (r.state) text_printf(t, "#define STATE(T, at) ((%sT *)((%schar *)state + (at)))\n", writes ? "" : "const ", writes ? "" : "const ");
  if (r.weights || r.arena || r.state) text_put(t, "\n");
  if (e->o->profile) text_printf(t, "void (*%s_profile)(int step);\n\n", e->prefix);
  if (e->o->function) text_printf(t, "int %s(%svoid *state, void *arena, const %s_io *io) {\n", e->run, writes ? "" : "const ", e->prefix);
  else text_printf(t, "int %s(const void *weights, void *arena, const %s_io *io) {\n", e->run, e->prefix);
  if (e->o->function && r.weights) text_printf(t, "  const void *const weights = %s_weights;\n", e->prefix);
  checks(e, t, &r);
  if (r.arena) emit_plan(e, t);
  if (!r.weights && !e->o->function) text_put(t, "  (void)weights;\n");
  if (!r.state && e->o->function) text_put(t, "  (void)state;\n");
  if (!r.arena) text_put(t, "  (void)arena;\n");
  text_bytes(t, body.at ? body.at : "", body.len);
  if (e->o->profile) text_printf(t, "  %s_profile(-1);\n", e->prefix);
  text_put(t, "  return 0;\n}\n\n");
  text_free(&body);
  error_function(e, t);
  if (e->o->weights == WEIGHTS_BIN && !e->o->function) open_function(e, t);
}
