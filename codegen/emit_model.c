/* PREFIX_model.c: the lt_model of runtime/lt_model.h, through which generic programs use a module. */
#include "codegen/emit_parts.h"

static const char *quoted(Arena *a, const char *s) {
  Text t = {0};
  text_put(&t, "\"");
  for (; *s; s++) {
    if (*s == '"' || *s == '\\') text_printf(&t, "\\%c", *s);
    else if ((unsigned char)*s < 32) text_printf(&t, "\\%03o", (unsigned)(unsigned char)*s);
    else text_bytes(&t, s, 1);
  }
  text_put(&t, "\"");
  const char *r = arena_strdup(a, t.at);
  text_free(&t);
  return r;
}

static void ports(Emit *e, Text *t, const char *name, const ValueList *v, const char *const *io) {
  Module *m = e->p->m;
  for (int i = 0; i < v->len; i++) {
    const Type *ty = &value_of(m, v->at[i])->type;
    if (!ty->rank || !io[i]) continue;
    text_printf(t, "static const int64_t %s_dims_%d[] = {", name, i);
    for (int k = 0; k < ty->rank; k++)
      text_printf(t, "%s%lld", k ? ", " : "", dim_is_const(ty->dims[k]) ? (long long)ty->dims[k].k : -1LL);
    text_printf(t, "};\nstatic const char *const %s_text_%d[] = {", name, i);
    for (int k = 0; k < ty->rank; k++) text_printf(t, "%s%s", k ? ", " : "", quoted(e->a, dim_text(ty->dims[k])));
    text_put(t, "};\n");
  }
  text_printf(t, "static const lt_port %s[] = {\n", name);
  for (int i = 0; i < v->len; i++) {
    if (!io[i]) continue;
    const Value *val = value_of(m, v->at[i]);
    const DTypeInfo *d = &dtype_info[val->type.dtype];
    text_printf(t, "  {%s, \"%s\", %d, %d, ", quoted(e->a, val->name), d->text, d->bytes, val->type.rank);
    if (val->type.rank) text_printf(t, "%s_dims_%d, %s_text_%d},\n", name, i, name, i);
    else text_put(t, "0, 0},\n");
  }
  if (!emit_io_index(io, v->len)) text_put(t, "  {0},\n");
  text_put(t, "};\n");
}

static void symbol_values(Emit *e, Text *t, int n) {
  for (int i = 0; i < n; i++) text_printf(t, "  const int64_t %s = symbols[%d];\n", e->symbols.at[i].c, i);
  for (int i = 0; i < n; i++) text_printf(t, "  (void)%s;\n", e->symbols.at[i].c);
  if (!n) text_put(t, "  (void)symbols;\n");
}

static void functions(Emit *e, Text *t) {
  Module *m = e->p->m;
  text_put(t, "\nstatic size_t arena_bytes(const int64_t *symbols) {\n");
  symbol_values(e, t, e->input_symbols);
  emit_plan(e, t);
  text_printf(t, "  return (size_t)(%s);\n}\n", emit_dim(e, emit_arena_bytes(e)).s);

  text_put(t, "\nstatic void out_dims(const int64_t *symbols, int port, int64_t *dims) {\n");
  symbol_values(e, t, e->shown_symbols);
  text_put(t, "  (void)dims;\n  switch (port) {\n");
  for (int i = 0; i < m->main->outputs.len; i++) {
    const Type *ty = &value_of(m, m->main->outputs.at[i])->type;
    if (!e->out_name[i]) continue;
    text_printf(t, "  case %d:\n", emit_io_index(e->out_name, i));
    for (int k = 0; k < ty->rank; k++) text_printf(t, "    dims[%d] = %s;\n", k, emit_dim(e, ty->dims[k]).s);
    text_put(t, "    break;\n");
  }
  text_put(t, "  default: break;\n  }\n}\n");

  const char *block = e->o->function ? "void *state" : "const void *weights";
  bool parallel = emit_is_parallel(e);
  text_printf(t, "\nstatic int run%s(%s, void *arena, int64_t *symbols, const void *const *in, void *const *out%s) {\n",
              parallel ? "_parallel" : "", block, parallel ? ", const lt_pool *pool" : "");
  text_printf(t, "  %s_io io;\n  (void)symbols;\n  (void)in;\n  (void)out;\n", e->prefix);
  if (!m->main->inputs.len && !m->main->outputs.len) text_put(t, "  io.nothing = 0;\n");
  for (int i = 0; i < m->main->inputs.len; i++)
    if (e->in_name[i]) text_printf(t, "  io.%s = in[%d];\n", e->in_name[i], emit_io_index(e->in_name, i));
  for (int i = 0; i < m->main->outputs.len; i++)
    if (e->out_name[i]) text_printf(t, "  io.%s = out[%d];\n", e->out_name[i], emit_io_index(e->out_name, i));
  for (int i = 0; i < e->shown_symbols; i++)
    text_printf(t, "  io.%s = %ssymbols[%d];\n", e->symbols.at[i].c, e->symbols.at[i].input < 0 ? "&" : "", i);
  const char *given = e->o->function ? "state" : "weights";
  if (!parallel) { text_printf(t, "  return %s(%s, arena, &io);\n}\n", e->run, given); return; }
  text_printf(t, "  return %s(%s, arena, &io, pool);\n}\n", emit_run_parallel(e), given);
  text_printf(t, "\nstatic int run(%s, void *arena, int64_t *symbols, const void *const *in, void *const *out) {\n"
                 "  return run_parallel(%s, arena, symbols, in, out, 0);\n}\n", block, given);
}

/* The last members of both tables. */
static const char *parallel_members(Emit *e) {
  return emit_is_parallel(e) ? arena_printf(e->a, "run_parallel, %s_PART_BYTES", e->PREFIX) : "0, 0";
}

static void tables(Emit *e, Text *t) {
  Module *m = e->p->m;
  ports(e, t, "inputs", &m->main->inputs, e->in_name);
  ports(e, t, "outputs", &m->main->outputs, e->out_name);
  if (!e->shown_symbols) return;
  text_put(t, "static const lt_symbol symbols[] = {\n");
  for (int i = 0; i < e->shown_symbols; i++) {
    const EmitSymbol *s = &e->symbols.at[i];
    int input = s->input < 0 ? -1 : emit_io_index(e->in_name, s->input);
    text_printf(t, "  {%s, %lld, %lld, %d, %d},\n", quoted(e->a, s->name), (long long)s->lo, (long long)s->hi,
                input, s->axis);
  }
  text_put(t, "};\n");
}

void emit_function_table(Emit *e) {
  static const char *const kind[] = {[FUNCTION_INIT] = "LT_INIT",
                                     [FUNCTION_STEP] = "LT_STEP",
                                     [FUNCTION_EVAL] = "LT_EVAL",
                                     [FUNCTION_INFER] = "LT_INFER"};
  Text t = {0};
  Module *m = e->p->m;
  const char *p = e->prefix;
  emit_banner(e, &t, "how trainers (lt_train.c) call it");
  text_printf(&t, "#include \"%s.h\"\n#include \"lt_train.h\"\n\n", p);
  tables(e, &t);
  functions(e, &t);
  text_printf(&t, "\nextern const lt_function lt_function_%s;\nconst lt_function lt_function_%s = {\n", p, p);
  text_printf(&t, "  %s, %s, %d, %d, %d,\n", quoted(e->a, e->o->function->name), kind[e->o->function->kind],
              emit_io_index(e->in_name, m->main->inputs.len), emit_io_index(e->out_name, m->main->outputs.len),
              e->shown_symbols);
  text_printf(&t, "  inputs, outputs, %s, arena_bytes, out_dims, run, %s_error, %s\n};\n",
              e->shown_symbols ? "symbols" : "0", p, parallel_members(e));
  emit_file(e, emit_name(e, "_table.c"), &t);
  emit_add_file(e, "lt_model.h");
  emit_add_file(e, "lt_train.h");
}

void emit_model(Emit *e) {
  Text t = {0};
  Module *m = e->p->m;
  const char *p = e->prefix;
  emit_banner(e, &t, "how generic programs (lt_main.c, lathe verify) call it");
  text_printf(&t, "#include \"%s.h\"\n#include \"lt_model.h\"\n\n", p);
  tables(e, &t);
  functions(e, &t);
  text_printf(&t, "\nextern const lt_model lt_model_%s;\nconst lt_model lt_model_%s = {\n", p, p);
  text_printf(&t, "  LT_MODEL_VERSION, \"%s\", \"%s\", %d, %d, %d,\n", p, e->o->target->name, m->main->inputs.len,
              m->main->outputs.len, e->shown_symbols);
  text_printf(&t, "  inputs, outputs, %s, %s_WEIGHTS_BYTES, ", e->shown_symbols ? "symbols" : "0", e->PREFIX);
  if (e->o->weights == WEIGHTS_BIN) text_printf(&t, "0,\n  %s_open,", p);
  else text_printf(&t, "&%s_weights,\n  0,", p);
  text_printf(&t, " arena_bytes, out_dims, run, %s_error, %d,\n  %s\n};\n", p, e->p->kernels.len, parallel_members(e));
  emit_file(e, emit_name(e, "_model.c"), &t);
  emit_add_file(e, "lt_model.h");
}
