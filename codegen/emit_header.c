/* PREFIX.h: the interface of a compiled module. */
#include "codegen/emit_parts.h"

const char *emit_shape(Emit *e, const Type *t) { (void)e; return type_text(t); }

typedef struct Member { const char *decl, *note; } Member;

static void io_members(Emit *e, Member *to, int *n) {
  Module *m = e->p->m;
  Arena *a = e->a;
  for (int i = 0; i < m->main->inputs.len; i++) {
    if (!e->in_name[i]) continue;
    const Type *ty = &value_of(m, m->main->inputs.at[i])->type;
    to[(*n)++] = (Member){arena_printf(a, "const %s *%s;", c_storage(ty->dtype), e->in_name[i]),
                          arena_printf(a, "in   %s", emit_shape(e, ty))};
  }
  for (int i = 0; i < m->main->outputs.len; i++) {
    if (!e->out_name[i]) continue;
    const Type *ty = &value_of(m, m->main->outputs.at[i])->type;
    to[(*n)++] = (Member){arena_printf(a, "%s *%s;", c_storage(ty->dtype), e->out_name[i]),
                          arena_printf(a, "out  %s", emit_shape(e, ty))};
  }
  for (int i = 0; i < e->shown_symbols; i++) {
    const EmitSymbol *s = &e->symbols.at[i];
    to[(*n)++] = s->input >= 0
        ? (Member){arena_printf(a, "int64_t %s;", s->c),
                   arena_printf(a, "%lld to %lld", (long long)s->lo, (long long)s->hi)}
        : (Member){arena_printf(a, "int64_t *%s;", s->c),
                   arena_printf(a, "written: depends on the data; at most %lld. May be NULL", (long long)s->hi)};
  }
}

static void io_struct(Emit *e, Text *t) {
  Module *m = e->p->m;
  Member *member = NEW_N(e->a, Member, m->main->inputs.len + m->main->outputs.len + e->shown_symbols + 1);
  int n = 0, width = 0;
  io_members(e, member, &n);
  text_printf(t, "/* What a call reads and writes. Arrays are dense and row-major; the caller owns them. */\n"
                 "typedef struct %s_io {\n", e->prefix);
  for (int i = 0; i < n; i++) {
    int len = (int)strlen(member[i].decl);
    if (len > width && len <= 40) width = len;                  // a longer one stands out
  }
  for (int i = 0; i < n; i++) text_printf(t, "  %-*s    /* %s */\n", width, member[i].decl, member[i].note);
  if (!n) text_put(t, "  char nothing;\n");
  text_printf(t, "} %s_io;\n\n", e->prefix);
}

static void parallel_header(Emit *e, Text *t, const char *block) {
  if (!emit_is_parallel(e)) return;
  text_printf(t,
              "/* The same, by the threads of a pool (lt_pool.h) and with the same bits. `arena` is larger by threads - 1 times\n"
              " * %s_PART_BYTES, for as many threads as the pool says it has. pool NULL: the call above. */\n",
              e->PREFIX);
  text_printf(t, "int %s(%s, void *arena, const %s_io *io, const lt_pool *pool);\n", emit_run_parallel(e), block,
              e->prefix);
}

/* At the bounds of the symbols: scratch that each thread has for itself is small. */
static void part_bytes(Emit *e, Text *t) {
  if (emit_is_parallel(e))
    text_printf(t, "#define %s_PART_BYTES %lld    /* more arena for each thread but the first */\n", e->PREFIX, (long long)dim_hi(emit_part_bytes(e)));
}

static void sizes(Emit *e, Text *t) {
  Dim arena = emit_arena_bytes(e);
  if (e->symbols.len)
    text_printf(t,
                "static inline int64_t %s_min(int64_t a, int64_t b) { return a < b ? a : b; }\n"
                "static inline int64_t %s_max(int64_t a, int64_t b) { return a > b ? a : b; }\n\n",
                e->prefix, e->prefix);
  if (!e->o->function || e->p->weight_bytes)
    text_printf(t, "#define %s_WEIGHTS_BYTES %lld\n", e->PREFIX, (long long)e->p->weight_bytes);
  if (dim_is_const(arena)) {
    text_printf(t, "#define %s_ARENA_BYTES %lld\n", e->PREFIX, (long long)arena.k);
    part_bytes(e, t);
    text_put(t, "\n");
    return;
  }
  text_printf(t, "#define %s_ARENA_BYTES_MAX %lld\n", e->PREFIX, (long long)e->p->arena_bound);
  part_bytes(e, t);
  text_put(t, "\n");
  text_printf(t, "/* Bytes of arena that a call with these sizes needs. */\nstatic inline size_t %s_arena_bytes(", e->prefix);
  for (int i = 0; i < e->input_symbols; i++) text_printf(t, "%sint64_t %s", i ? ", " : "", e->symbols.at[i].c);
  text_put(t, ") {\n");
  const char *s = emit_dim(e, arena).s;
  for (int i = 0; i < e->input_symbols; i++) text_printf(t, "  (void)%s;\n", e->symbols.at[i].c);
  emit_plan(e, t);
  text_printf(t, "  return (size_t)(%s);\n}\n\n", s);
}

static void function_header(Emit *e, Text *t) {
  static const char *const does[] = {
    [FUNCTION_INIT] = "Fills the values of a new state; PREFIX_init of the bundle calls it.",
    [FUNCTION_STEP] = "One training step: forward, loss, backward and update, in place in the state.",
    [FUNCTION_EVAL] = "What a step reports, on data that is not learned from: the state stays as it is.",
    [FUNCTION_INFER] = "Runs the network with the parameters of the state.",
  };
  const char *p = e->prefix;
  text_printf(
      t,
      "/* %s\n * No allocation, no globals, no input or output. `state`: the block that %s_init made, `arena`: scratch memory,\n"
      " * both aligned to 64 bytes; calls on different states may run at once. Returns 0, or a code for %s_error. */\n",
      does[e->o->function->kind], e->o->bundle->name, p);
  const char *block = emit_writes_state(e) ? "void *state" : "const void *state";
  text_printf(t, "int %s(%s, void *arena, const %s_io *io);\n", e->run, block, p);
  parallel_header(e, t, block);
  text_printf(t, "const char *%s_error(int code);\n", p);
  if (e->p->weight_bytes) text_printf(t, "extern const void *const %s_weights;    /* constants, linked into the program */\n", p);
}

static void model_header(Emit *e, Text *t) {
  const char *p = e->prefix;
  text_printf(t,
    "/* Runs the network once. No allocation, no globals, no input or output: any number of calls may run at once,\n"
    " * each with an arena of its own. `weights` is read only; `arena` is scratch memory, aligned to 64 bytes, whose\n"
    " * contents need not survive. Returns 0, or a code that %s_error puts into words. */\n", p);
  text_printf(t, "int %s_run(const void *weights, void *arena, const %s_io *io);\n", p, p);
  parallel_header(e, t, "const void *weights");
  text_printf(t, "const char *%s_error(int code);\n\n", p);
  if (e->o->weights == WEIGHTS_BIN) {
    text_printf(
        t,
        "/* The weights within the bytes of %s.bin, loaded or mapped (aligned to 64 bytes); NULL when they are not those of\n"
        " * this code. Does not read the data itself: a full check compares the hash in the file's header.%s */\n",
        p,
        e->p->weight_bytes < 4 << 20
            ? ""
            : "\n * They are many: in huge pages (madvise with MADV_HUGEPAGE, before they are read) calls take a little less time.");
    text_printf(t, "const void *%s_open(const void *file, size_t bytes);\n", p);
  } else {
    text_printf(t, "/* The weights, linked into the program: for the call above. */\n"
                   "extern const void *const %s_weights;\n", p);
  }
}

void emit_header(Emit *e) {
  Text t = {0};
  emit_banner(e, &t, e->o->function ? "a function of a network that trains" : "a network compiled to C");
  text_printf(&t, "#ifndef %s_H\n#define %s_H\n#include <stddef.h>\n#include <stdint.h>\n%s\n#ifdef __cplusplus\n"
                  "extern \"C\" {\n#endif\n\n", e->PREFIX, e->PREFIX,
              emit_is_parallel(e) ? "#include \"lt_pool.h\"\n" : "");
  sizes(e, &t);
  io_struct(e, &t);
  if (e->o->function) function_header(e, &t);
  else model_header(e, &t);
  text_put(&t, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
  emit_file(e, emit_name(e, ".h"), &t);
}
