/* PREFIX_run, PREFIX_error, PREFIX_open: the steps of the program in order.
 *
 * Where threads share kernels, PREFIX_run_parallel does what PREFIX_run does otherwise: a step with parts is a function
 * of its own, which the pool calls for each part with all that the call knows, `struct call`; its members stand where
 * the arguments and symbols stand otherwise. The caller's thread goes through the steps and does part 0 of each. */
#include "codegen/emit_parts.h"

typedef struct Run {
  Emit *e;
  Text *t;                             /* where lines go */
  Text *shared;                        /* functions of steps with parts */
  int indent, kernels;
  bool weights, arena, state, own;     /* macros that are needed */
  bool strips;                         /* among the kernels of a strip */
} Run;

static void line(Run *r, const char *s) {
  r->e->c->out = r->t;
  r->e->c->indent = r->indent;
  c_line(r->e->c, "%s", s);
}

/* A buffer as a pointer expression. */
static const char *pointer(Run *r, int b) {
  const Buffer *x = &r->e->p->buffers.at[b];
  Arena *a = r->e->a;
  switch (x->home) {
  case HOME_INPUT:  return arena_printf(a, "%sio->%s", r->e->from, r->e->in_name[x->port]);
  case HOME_OUTPUT: return arena_printf(a, "%sio->%s", r->e->from, r->e->out_name[x->port]);
  case HOME_STATE:
    r->state = true;
    return arena_printf(a, "STATE(%s, %lld)", c_storage(x->dtype), (long long)emit_state_offset(r->e, x->port));
  case HOME_WEIGHT:
    r->weights = true;
    return arena_printf(a, "WEIGHT(%s, %s)", c_storage(x->dtype), emit_dim(r->e, x->offset).s);
  case HOME_ARENA:
    r->arena = true;
    return arena_printf(a, "ARENA(%s, %s)", c_storage(x->dtype), emit_dim(r->e, x->offset).s);
  case HOME_NONE: break;
  }
  BUG("buffer '%s' has no home", x->name);
}

static const char *element(Run *r, int b) { return arena_printf(r->e->a, "*%s", pointer(r, b)); }

static const char *symbol_name(Emit *e, const char *symbol) {
  for (int i = 0; i < e->symbols.len; i++)
    if (!strcmp(e->symbols.at[i].name, symbol)) return arena_printf(e->a, "%s%s", e->from, e->symbols.at[i].c);
  BUG("symbol %s comes from no input and no step", symbol);
}

/* Scratch that each part has for itself: the first has it in the arena, the others behind it. */
static const char *own_pointer(Run *r, int b) {
  const Buffer *x = &r->e->p->buffers.at[b];
  r->own = r->arena = true;
  return arena_printf(r->e->a, "OWN(%s, %s, %s)", c_storage(x->dtype), emit_dim(r->e, x->offset).s,
                      emit_dim(r->e, x->part_offset).s);
}

static const char *call_text(Run *r, const Step *s) {
  Emit *e = r->e;
  Text t = {0};
  text_printf(&t, "%s(", e->kernel[emit_kernel_of(e, s->kernel)].name);
  int n = 0;
  for (int i = 0; i < s->kernel->bufs.len; i++) {
    const Buf *b = s->kernel->bufs.at[i];
    if (b->role == BUF_LOCAL) continue;
    bool own = (s->kernel->parts || r->strips) && e->p->buffers.at[s->buffer[n]].is_private;
    const char *at = own ? own_pointer(r, s->buffer[n]) : pointer(r, s->buffer[n]);
    text_printf(&t, "%s%s", n ? ", " : "", at);
    n++;
  }
  for (int i = 0; i < s->kernel->dims.len; i++, n++) {
    const char *dim = s->kernel->dims.at[i];
    bool given = (s->kernel->parts && symbol_is_of_parts(dim)) || (r->strips && symbol_is_of_strips(dim));
    text_printf(&t, "%s%s", n ? ", " : "", given ? dim : symbol_name(e, dim));
  }
  text_put(&t, ");");
  const char *text = arena_strdup(e->a, t.at);
  text_free(&t);
  return text;
}

/* The call of a step with parts, and the function of the step: until part_end, lines go to it. */
static Run part_begin(Run *r, const char *step, int most) {
  Arena *a = r->e->a;
  line(r, arena_printf(a, "share(c, %s, %d);", step, most));
  Run part = *r;
  part.t = r->shared;
  part.indent = 0;
  line(&part, arena_printf(a, "static void %s(void *call, int part, int parts) {", step));
  part.indent = 1;
  line(&part, "const struct call *const c = call;");
  return part;
}

static void part_end(Run *r, Run *part) {
  part->indent = 0;
  line(part, "}");
  r->kernels = part->kernels;
  r->weights = part->weights, r->arena = part->arena, r->state = part->state, r->own = part->own;
}

static void call_kernel(Run *r, const Step *s) {
  Emit *e = r->e;
  int number = r->kernels++;
  const char *call = call_text(r, s);
  const char *once = r->strips && r->t == r->shared ? "if (part == 0) " : "";
  if (e->o->profile) line(r, arena_printf(e->a, "%s%s_profile(%d);", once, e->prefix, number));
  if (!s->kernel->parts) { line(r, call); return; }
  const char *op = strchr(s->kernel->name, '_');
  Run part = part_begin(r, arena_printf(e->a, "step%d%s", number, op ? op : ""), s->kernel->parts);
  line(&part, call);
  part_end(r, &part);
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
  const char *t = arena_printf(a, "t%d", r->indent), *end = arena_printf(a, "end%d", r->indent),
             *bound = emit_dim(r->e, s->trips).s;
  const char *cond = s->cond >= 0 ? arena_printf(a, " && %s", element(r, s->cond)) : "";
  const char *count = s->trip_buffer >= 0 ? element(r, s->trip_buffer) : bound;
  line(r, arena_printf(a, "for (int64_t %s = 0, %s = %s; %s < %s%s; %s++) {", t, end, count, t, end, cond, t));
  r->indent++;
  if (s->trip_buffer >= 0) line(r, arena_printf(a, "if (%s >= %s) return %d;", t, bound, 3 + r->e->shown_symbols));
  if (s->iter_buffer >= 0) line(r, arena_printf(a, "%s = %s;", element(r, s->iter_buffer), t));
  if (s->symbol)
    line(r, arena_printf(a, "%s%s = %s;", *r->e->from ? "" : "const int64_t ", symbol_name(r->e, s->symbol), t));
  r->indent--;
  nested(r, s->then.at, s->then.len);
  line(r, "}");
}

/* The kernels of each strip, for rows [first, end) of the result. */
static void strip_loop(Run *r, const Step *s, const char *end) {
  Arena *a = r->e->a;
  bool whole = !s->parts && s->count % s->rows == 0;            // strips of equal height
  line(r, arena_printf(a, "for (int64_t top = first; top < %s; top += %lld) {", end, (long long)s->rows));
  r->indent++;
  const char *next = arena_printf(a, "top + %lld", (long long)s->rows);
  line(r, whole ? arena_printf(a, "const int64_t bottom = %s;", next)
                : arena_printf(a, "const int64_t bottom = %s < %s ? %s : %s;", next, end, next, end));
  r->indent--;
  r->strips = true;
  nested(r, s->then.at, s->then.len);
  r->strips = false;
  line(r, "}");
}

static void strips(Run *r, const Step *s) {
  Arena *a = r->e->a;
  const char *note = arena_printf(a, "/* %s */", s->note);
  if (!s->parts) {
    line(r, note);
    line(r, "{");
    r->indent++;
    line(r, "const int64_t first = 0;");
    strip_loop(r, s, arena_printf(a, "%lld", (long long)s->count));
    r->indent--;
    line(r, "}");
    return;
  }
  Run part = part_begin(r, arena_printf(a, "step%d_strips", r->kernels), s->parts);
  line(&part, note);
  long long units = (s->count + s->unit - 1) / s->unit;
  const char *by = s->unit > 1 ? arena_printf(a, " * %lld", (long long)s->unit) : "";
  line(&part, arena_printf(a, "const int64_t first = %lld * part / parts%s;", units, by));
  const char *end = arena_printf(a, "%lld * (part + 1) / parts%s", units, by);
  if (units * s->unit > s->count) end = arena_printf(a, "part + 1 < parts ? %s : %lld", end, (long long)s->count);
  line(&part, arena_printf(a, "const int64_t end = %s;", end));
  strip_loop(&part, s, "end");
  part_end(r, &part);
}

static void symbol(Run *r, const Step *s) {
  Emit *e = r->e;
  const char *c = symbol_name(e, s->symbol);
  const Symbol *sym = symbol_find(s->symbol);
  line(r, arena_printf(e->a, "%s = %s;", c, element(r, s->cond)));
  int code = 3;
  const char *member = c + strlen(e->from);
  for (int i = 0; i < e->symbols.len; i++)
    if (!strcmp(e->symbols.at[i].c, member)) code += i;
  if (sym)
    line(r,
         arena_printf(e->a, "if (%s < %lld || %s > %lld) return %d;", c, (long long)sym->lo, c, (long long)sym->hi,
                      code));
  line(r, arena_printf(e->a, "if (io->%s) *io->%s = %s;", member, member, c));
}

static void steps(Run *r, Step *const *s, int n) {
  for (int i = 0; i < n; i++) {
    switch (s[i]->kind) {
    case STEP_KERNEL: call_kernel(r, s[i]); break;
    case STEP_SYMBOL: symbol(r, s[i]); break;
    case STEP_LOOP:   loop(r, s[i]); break;
    case STEP_STRIPS: strips(r, s[i]); break;
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
    text_printf(t, "  if (layout != UINT64_C(0x%016llx)) return %d;\n",
                (unsigned long long)bundle_hash(e->o->bundle), 4 + e->shown_symbols);
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
  text_printf(t, "  case 0: return \"done\";\n"
                 "  case 1: return \"a pointer is NULL: io, one of its arrays, %s or arena\";\n"
              "  case 2: return \"%s not aligned to 64 bytes\";\n", e->o->function ? "state" : "weights",
              e->o->function ? "arena or state is" : "the arena is");
  for (int i = 0; i < e->shown_symbols; i++)
    text_printf(t, "  case %d: return \"%s is outside %lld to %lld\";\n", 3 + i, e->symbols.at[i].c,
                (long long)e->symbols.at[i].lo, (long long)e->symbols.at[i].hi);
  text_printf(t, "  case %d: return \"a loop runs longer than it was compiled for\";\n", 3 + e->shown_symbols);
  if (e->o->function)
    text_printf(t, "  case %d: return \"the state is not one of this network\";\n", 4 + e->shown_symbols);
  text_put(t, "  default: return \"unknown error\";\n  }\n}\n");
}

static void open_function(Emit *e, Text *t) {
  text_printf(t, "\n/* Header of %s.bin, 64 bytes: magic, version, header bytes, layout, data bytes, xxh64 of the data. */\n", e->prefix);
  text_printf(t, "const void *%s_open(const void *file, size_t bytes) {\n", e->prefix);
  text_put(t, "  static const char magic[8] = {'L', 'A', 'T', 'H', 'E', 'W', 'T', 'S'};\n"
              "  uint32_t head[2];\n  uint64_t layout[2];\n"
              "  if (!file || bytes < 64 || memcmp(file, magic, 8) != 0) return NULL;\n"
              "  memcpy(head, (const char *)file + 8, 8);\n  memcpy(layout, (const char *)file + 16, 16);\n");
  text_printf(t, "  if (head[0] != 1 || head[1] != 64 || layout[0] != UINT64_C(0x%016llx)) return NULL;\n",
              (unsigned long long)emit_layout_hash(e));
  text_printf(t, "  if (layout[1] != %s_WEIGHTS_BYTES || bytes - 64 < layout[1]) return NULL;\n"
                 "  return (const char *)file + 64;\n}\n", e->PREFIX);
}

static const char *state_type(const Emit *e) { return emit_writes_state(e) ? "void" : "const void"; }

static void macros(Emit *e, Text *t, const Run *r) {
  const char *c = e->shares ? "c->" : "", *constant = emit_writes_state(e) ? "" : "const ";
  if (r->weights) text_printf(t, "#define WEIGHT(T, at) ((const T *)((const char *)%sweights + (at)))\n", c);
  if (r->arena) text_printf(t, "#define ARENA(T, at) ((T *)((char *)%sarena + (at)))\n", c);
  if (r->own)
    text_put(t,
             "/* What a part has for itself: the first within the arena, the others behind it. */\n"
             "#define OWN(T, at, behind) ((T *)(part ? c->own + (part - 1) * c->own_bytes + (behind) : (char *)c->arena + (at)))\n");
  if (r->state) text_printf(t, "#define STATE(T, at) ((%sT *)((%schar *)%sstate + (at)))\n", constant, constant, c);
  if (r->weights || r->arena || r->state) text_put(t, "\n");
}

/* Symbols and the plan's offsets; `each`: a format for a name. */
static void each_symbol(Emit *e, Text *t, const char *type, const char *of) {
  for (int i = 0; i < e->symbols.len; i++)
    if (!of || i < e->shown_symbols)
      text_printf(t, "  %s%s%s%s;\n", type, e->symbols.at[i].c, of ? " = " : "", of ? e->symbols.at[i].c : "");
  for (int i = 0; i < e->p->plan.len; i++) {
    const char *name = c_identifier(e->a, e->p->plan.at[i].symbol);
    text_printf(t, "  %s%s%s%s;\n", type, name, of ? " = " : "", of ? name : "");
  }
}

/* What steps with parts are given, and how they are run. */
static void call_struct(Emit *e, Text *t) {
  text_put(t, "/* A call, as the parts of its steps see it. */\nstruct call {\n  const void *weights;\n"
              "  void *arena;\n");
  if (e->o->function) text_printf(t, "  %s *state;\n", state_type(e));
  text_printf(t, "  const %s_io *io;\n"
                 "  char *own;              /* behind the arena: scratch of all threads but the first */\n"
                 "  int64_t own_bytes;\n", e->prefix);
  text_put(t, "  const lt_pool *pool;\n  int threads;\n");
  each_symbol(e, t, "int64_t ", NULL);
  text_put(t, "};\n\n");
}

static void share_function(Text *t) {
  text_put(t,
    "/* A step in as many parts as there are threads, at most `most`. */\n"
    "static void share(struct call *c, lt_task *step, int most) {\n"
    "  const int parts = c->threads < most ? c->threads : most;\n"
    "  if (parts < 2) { step(c, 0, 1); return; }\n"
    "  c->pool->start(c->pool->self, step, c, parts);\n"
    "  step(c, 0, parts);\n"
    "  c->pool->wait(c->pool->self);\n}\n\n");
}

static void call_begin(Emit *e, Text *t, const Run *r) {
  text_put(t, "  struct call call = {0}, *const c = &call;\n");
  text_printf(t, "  call.weights = %s;\n  call.arena = arena;\n", e->o->function && !r->weights ? "0" : "weights");
  if (e->o->function) text_put(t, "  call.state = state;\n");
  text_put(t, "  call.io = io;\n");
  if (r->own)
    text_printf(t, "  call.own = (char *)arena + %s;\n  call.own_bytes = %s_PART_BYTES;\n",
                emit_dim(e, emit_arena_bytes(e)).s, e->PREFIX);
  text_put(t, "  call.pool = pool;\n  call.threads = pool ? pool->threads(pool->self) : 1;\n");
  each_symbol(e, t, "call.", "");
}

static void run_function(Emit *e, Text *t, const Run *r, bool parallel) {
  const char *block = e->o->function ? arena_printf(e->a, "%s *state", state_type(e)) : "const void *weights";
  const char *given = e->o->function ? "state" : "weights";
  text_printf(t, "int %s(%s, void *arena, const %s_io *io%s) {\n", parallel ? emit_run_parallel(e) : e->run, block,
              e->prefix, parallel ? ", const lt_pool *pool" : "");
  if (e->o->function && r->weights) text_printf(t, "  const void *const weights = %s_weights;\n", e->prefix);
  checks(e, t, r);
  if (r->arena) emit_plan(e, t);
  if (e->shares) call_begin(e, t, r);
  if (!r->weights && !e->o->function) text_put(t, "  (void)weights;\n");
  if (!r->state && e->o->function) text_put(t, "  (void)state;\n");
  if (!r->arena) text_put(t, "  (void)arena;\n");
  if (parallel && !e->shares) text_put(t, "  (void)pool;\n");
  text_bytes(t, r->t->at ? r->t->at : "", r->t->len);
  if (e->o->profile) text_printf(t, "  %s_profile(-1);\n", e->prefix);
  text_put(t, "  return 0;\n}\n\n");
  if (!parallel) return;
  text_printf(t, "int %s(%s, void *arena, const %s_io *io) {\n  return %s(%s, arena, io, 0);\n}\n\n", e->run, block,
              e->prefix, emit_run_parallel(e), given);
}

void emit_run(Emit *e, Text *t) {
  Text body = {0}, shared = {0};
  Run r = {.e = e, .t = &body, .shared = &shared, .indent = 1};
  e->from = e->shares ? "c->" : "";
  steps(&r, e->p->steps.at, e->p->steps.len);
  e->from = "";
  if (e->shares) call_struct(e, t);
  macros(e, t, &r);
  if (e->o->profile) text_printf(t, "void (*%s_profile)(int step);\n\n", e->prefix);
  if (e->shares) {
    text_bytes(t, shared.at ? shared.at : "", shared.len);
    text_put(t, "\n");
    share_function(t);
  }
  run_function(e, t, &r, emit_is_parallel(e));
  text_free(&body);
  text_free(&shared);
  error_function(e, t);
  if (e->o->weights == WEIGHTS_BIN && !e->o->function) open_function(e, t);
}
