/* A bundle: its functions by emit_program, and around them PREFIX.h (what an application includes), PREFIX.c (the
 * state block and init) and, for trainers, PREFIX_bundle.c (the table of runtime/lt_train.h). */
#include "codegen/c.h"
#include "codegen/emit_parts.h"

typedef struct Out { const Bundle *b; const EmitOptions *o; Arena *a; EmitFiles *files; const char *PREFIX; } Out;

static void put_file(Out *x, const char *name, Text *t) {
  *vec_push(x->a, &x->files->at) = (EmitFile){.name = name, .data = arena_dup(x->a, t->at, t->len + 1), .size = t->len};
  text_free(t);
}

/* "digits_step"; the init function's values are filled by PREFIX_init_values, behind PREFIX_init. */
const char *emit_function_prefix(Arena *a, const char *prefix, const Function *f) {
  if (f->kind == FUNCTION_INIT) return arena_printf(a, "%s_init_values", prefix);
  const char *name = c_identifier(a, f->name);
  return strcmp(name, prefix) ? arena_printf(a, "%s_%s", prefix, name) : arena_printf(a, "%s_infer", prefix);
}

static const char *function_prefix(Out *x, const Function *f) { return emit_function_prefix(x->a, x->o->prefix, f); }

static void banner(Out *x, Text *t, const char *what) {
  text_printf(t, "/* %s: %s.\n *\n *   made by   lathe\n", x->o->prefix, what);
  if (x->o->command) text_printf(t, " *   command   %s\n", x->o->command);
  text_printf(t, " *   target    %s (%s)\n *   state     %lld bytes\n */\n", x->o->target->name, x->o->target->note,
              (long long)x->b->state_bytes);
}

static int64_t parameters(const Bundle *b) {
  int64_t n = 0;
  for (int k = 0; k < b->state.len; k++)
    if (b->state.at[k].role == ROLE_PARAMETER) n += type_count(&b->state.at[k].type).k;
  return n;
}

static void header(Out *x) {
  Text t = {0};
  const Bundle *b = x->b;
  const char *p = x->o->prefix, *P = x->PREFIX;
  banner(x, &t, "a network that trains, compiled to C");
  text_printf(&t, "#ifndef %s_H\n#define %s_H\n#include <stddef.h>\n#include <stdint.h>\n", P, P);
  for (int k = 0; k < b->fn.len; k++)
    if (b->fn.at[k].kind != FUNCTION_INIT) text_printf(&t, "#include \"%s.h\"\n", function_prefix(x, &b->fn.at[k]));
  text_put(&t, "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
  text_printf(
      &t,
      "/* The state: everything that survives a call, in one block of the caller's, aligned to 64 bytes. It opens with a\n"
      " * header of 64 bytes (\"LATHESTA\", version, layout, sizes) and a table of 192 bytes per tensor (name, type, role, rank,\n"
      " * dims, offset, bytes); the tensors follow, dense and row-major. A checkpoint is this block, byte by byte.\n"
      " * %lld parameters. Offsets in bytes: */\n",
      (long long)parameters(b));
  text_printf(&t, "#define %s_STATE_BYTES %lld\n", P, (long long)b->state_bytes);
  const char **taken = NEW_N(x->a, const char *, b->state.len + 1);
  for (int k = 0; k < b->state.len; k++) {
    const StateTensor *s = &b->state.at[k];
    const char *name = emit_upper(x->a, c_identifier(x->a, s->name));
    taken[k] = name;
    bool again = false;
    for (int q = 0; q < k; q++) again |= !strcmp(taken[q], name);
    if (!again) text_printf(&t, "#define %s_AT_%s %lld    /* %s %s, %s */\n", P, name, (long long)s->offset, s->name, type_text(&s->type), state_role_text[s->role]);
  }
  text_printf(&t,
    "\n/* Makes `state` a new network: header, table, parameters drawn with this seed (equal seeds, equal bytes), everything\n"
    " * else zero. Returns 0, or 1 when `state` is NULL or not aligned to 64 bytes. */\n"
    "int %s_init(void *state, uint64_t seed);\n\n", p);
  text_printf(&t,
    "/* Is this block, of this many bytes, a state of this network? A checkpoint should be asked before it is used. */\n"
    "int %s_is_state(const void *state, size_t bytes);\n", p);
  text_put(&t, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
  put_file(x, arena_printf(x->a, "%s.h", p), &t);
}

static void c_string(Text *t, const char *s) {
  text_put(t, "\"");
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '\n') text_put(t, s[1] ? "\\n\"\n  \"" : "\\n");
    else if (c == '"' || c == '\\' || c == '?') text_printf(t, "\\%c", c);
    else if (c < 32 || c > 126) text_printf(t, "\\%03o", c);
    else text_bytes(t, s, 1);
  }
  text_put(t, "\"");
}

static void state_table(Out *x, Text *t) {
  const Bundle *b = x->b;
  text_put(t, "typedef struct entry {\n  char name[96], dtype[8];\n  uint32_t role, rank;\n  int64_t dims[8];\n"
              "  uint64_t offset, bytes;\n} entry;\n\n");
  text_printf(t, "static const entry table[%d] = {\n", b->state.len ? b->state.len : 1);
  for (int k = 0; k < b->state.len; k++) {
    const StateTensor *s = &b->state.at[k];
    text_put(t, "  {");
    c_string(t, s->name);
    text_printf(t, ", \"%s\", %d, %d, {", dtype_info[s->type.dtype].text, (int)s->role, s->type.rank);
    for (int q = 0; q < s->type.rank; q++) text_printf(t, "%s%lld", q ? ", " : "", (long long)s->type.dims[q].k);
    if (!s->type.rank) text_put(t, "0");
    text_printf(t, "}, %lld, %lld},\n", (long long)s->offset,
                (long long)(type_count(&s->type).k * dtype_bytes(s->type.dtype)));
  }
  if (!b->state.len) text_put(t, "  {{0}, {0}, 0, 0, {0}, 0, 0},\n");
  text_put(t, "};\n\n");
}

static void state_file(Out *x) {
  Text t = {0};
  const Bundle *b = x->b;
  const char *p = x->o->prefix, *P = x->PREFIX, *values = arena_printf(x->a, "%s_init_values", p);
  unsigned long long hash = bundle_hash(b);
  banner(x, &t, "its state");
  text_printf(&t, "#include \"%s.h\"\n#include \"%s.h\"\n#include <string.h>\n\n", p, values);
  state_table(x, &t);
  text_printf(&t, "static void head(unsigned char *to) {\n"
    "  const uint32_t version[2] = {1, 64}, tensors[2] = {%d, 0};\n"
    "  const uint64_t sizes[2] = {UINT64_C(0x%016llx), %s_STATE_BYTES};\n"
    "  memset(to, 0, 64);\n  memcpy(to, \"LATHESTA\", 8);\n  memcpy(to + 8, version, 8);\n"
    "  memcpy(to + 16, sizes, 16);\n  memcpy(to + 32, tensors, 8);\n}\n\n",
    b->state.len, hash, P);
  text_printf(&t, "int %s_init(void *state, uint64_t seed) {\n  const int64_t number = (int64_t)seed;\n  %s_io io;\n"
    "  if (!state || (uintptr_t)state %% 64) return 1;\n  memset(state, 0, %s_STATE_BYTES);\n  head(state);\n"
    "  memcpy((char *)state + 64, table, %d * sizeof *table);\n  io.seed = &number;\n  return %s(state, NULL, &io);\n"
    "}\n\n",
    p, values, P, b->state.len, values);
  text_printf(&t, "int %s_is_state(const void *state, size_t bytes) {\n  unsigned char want[64];\n  head(want);\n"
    "  return state && bytes >= %s_STATE_BYTES && memcmp(state, want, 64) == 0;\n}\n", p, P);
  put_file(x, arena_printf(x->a, "%s.c", p), &t);
}

static void dims_array(Text *t, const char *name, int k, const Type *ty) {
  if (!ty->rank) return;
  text_printf(t, "static const int64_t %s_%d[] = {", name, k);
  for (int q = 0; q < ty->rank; q++) text_printf(t, "%s%lld", q ? ", " : "", (long long)ty->dims[q].k);
  text_put(t, "};\n");
}

/* "f32", 4, … , rank, dims */
static const char *type_fields(Out *x, const Type *ty, const char *between, const char *name, int k) {
  const DTypeInfo *d = &dtype_info[ty->dtype];
  const char *dims = ty->rank ? arena_printf(x->a, "%s_%d", name, k) : "0";
  return arena_printf(x->a, "\"%s\", %d, %s%d, %s", d->text, d->bytes, between, ty->rank, dims);
}

static void init_function(Out *x, Text *t) {
  text_put(t,
    "static int init(void *state, void *arena, int64_t *symbols, const void *const *in, void *const *out) {\n"
    "  (void)arena;\n  (void)symbols;\n  (void)out;\n");
  text_printf(t, "  return %s_init(state, (uint64_t)*(const int64_t *)in[0]);\n}\n\n", x->o->prefix);
  text_put(t,
    "static size_t no_arena(const int64_t *symbols) {\n  (void)symbols;\n  return 0;\n}\n\n"
    "static void no_dims(const int64_t *symbols, int port, int64_t *dims) {\n  (void)symbols;\n  (void)port;\n"
    "  (void)dims;\n}\n\n"
    "static const char *init_error(int code) {\n"
    "  return code ? \"the state is NULL or not aligned to 64 bytes\" : \"done\";\n}\n\n"
    "static const int64_t seed_dims[] = {1};\nstatic const char *const seed_text[] = {\"1\"};\n"
    "static const lt_port seed[] = {{\"seed\", \"i64\", 8, 1, seed_dims, seed_text}};\n"
    "static const lt_function init_table = {\n"
    "  \"init\", LT_INIT, 1, 0, 0, seed, 0, 0, no_arena, no_dims, init, init_error, 0, 0\n};\n\n");
}

static bool is_frozen(const Bundle *b, const StateTensor *s) {
  for (int f = 0; f < b->fn.len; f++) {
    const Module *m = b->fn.at[f].m;
    if (b->fn.at[f].kind != FUNCTION_STEP) continue;
    for (int k = 0; k < m->state.len; k++)
      if (m->state.at[k].next && !strcmp(m->state.at[k].name, s->name)) return false;
  }
  return true;
}

static void bundle_table(Out *x) {
  Text t = {0};
  const Bundle *b = x->b;
  const char *p = x->o->prefix;
  banner(x, &t, "how trainers (lt_train.c) use it");
  text_printf(&t, "#include \"%s.h\"\n#include \"lt_train.h\"\n\n", p);
  init_function(x, &t);
  for (int k = 0; k < b->state.len; k++) dims_array(&t, "dims", k, &b->state.at[k].type);
  text_put(&t, "\nstatic const lt_state_tensor tensors[] = {\n");
  for (int k = 0; k < b->state.len; k++) {
    const StateTensor *s = &b->state.at[k];
    text_put(&t, "  {");
    c_string(&t, s->name);
    text_printf(&t, ", %s, %lld, %d},\n",
                type_fields(x, &s->type, arena_printf(x->a, "%d, ", (int)s->role), "dims", k), (long long)s->offset,
                is_frozen(b, s));
  }
  text_put(&t, "};\n\n");
  for (int k = 0; k < b->column.len; k++) dims_array(&t, "row", k, &b->column.at[k].row);
  text_put(&t, "static const lt_column columns[] = {\n");
  for (int k = 0; k < b->column.len; k++) {
    const DataColumn *c = &b->column.at[k];
    text_put(&t, "  {");
    c_string(&t, c->name);
    text_put(&t, ", ");
    c_string(&t, c->call);
    text_printf(&t, ", %s, %lld},\n", type_fields(x, &c->row, "", "row", k), (long long)c->classes);
  }
  if (!b->column.len) text_put(&t, "  {0},\n");
  text_put(&t, "};\n\n");
  for (int k = 0; k < b->fn.len; k++)
    if (b->fn.at[k].kind != FUNCTION_INIT)
      text_printf(&t, "extern const lt_function lt_function_%s;\n", function_prefix(x, &b->fn.at[k]));
  text_put(&t, "static const lt_function *const functions[] = {\n");
  for (int k = 0; k < b->fn.len; k++)
    if (b->fn.at[k].kind == FUNCTION_INIT) text_put(&t, "  &init_table,\n");
    else text_printf(&t, "  &lt_function_%s,\n", function_prefix(x, &b->fn.at[k]));
  text_printf(&t, "};\n\nextern const lt_bundle lt_bundle_%s;\nconst lt_bundle lt_bundle_%s = {\n"
                  "  LT_BUNDLE_VERSION, \"%s\", \"%s\",\n  ", p, p, p, x->o->target->name);
  c_string(&t, b->source ? b->source : "");
  text_printf(&t,
              ",\n  %s_STATE_BYTES, UINT64_C(0x%016llx), %d, %d, %d,\n"
              "  tensors, functions, columns, %lld, %lld, %d, %.17g, %.17g\n};\n",
              x->PREFIX, (unsigned long long)bundle_hash(b), b->state.len, b->fn.len, b->column.len,
              (long long)b->batch, (long long)b->epochs, b->shuffle, b->hold_out, b->lr);
  put_file(x, arena_printf(x->a, "%s_bundle.c", p), &t);
}

bool emit_bundle(const Bundle *b, const EmitOptions *o, Arena *a, EmitFiles *out, Diags *d) {
  Out x = {.b = b, .o = o, .a = a, .files = out, .PREFIX = emit_upper(a, o->prefix)};
  header(&x);
  state_file(&x);
  for (int k = 0; k < b->fn.len; k++) {
    const Function *f = &b->fn.at[k];
    EmitOptions fo = *o;
    fo.prefix = function_prefix(&x, f);
    fo.bundle = b;
    fo.function = f;
    fo.profile = o->profile && f->kind != FUNCTION_INIT;
    fo.model_table = o->model_table && f->kind != FUNCTION_INIT;
    fo.weights = f->p->weight_bytes > 65536 ? WEIGHTS_LINK : WEIGHTS_ARRAY;
    if (f->kind == FUNCTION_INIT && f->p->arena_bound) BUG("init of %s needs an arena", o->prefix);
    if (!emit_program(f->p, &fo, a, out, d)) return false;
  }
  if (o->model_table) bundle_table(&x);
  return true;
}
