/* Networks that train, on their way to C: a .lathe text becomes a bundle, every function of it goes through the passes,
 * and out come the emitted files, a trainer (build --train, train), or one function as a network for inference. */
#define _XOPEN_SOURCE 700                                       // realpath
#include "driver/bundle.h"
#include "codegen/c.h"
#include "codegen/embed.h"
#include "frontend/language.h"
#include "ir/eval.h"
#include "passes/pipeline.h"
#include "runtime/lt_data.h"
#include "runtime/lt_state.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { CHECK_ROWS = 2 };                                        /* verify --grad: the evaluator is slow */

/* ---- loading ---- */

static const char *folder_of(Arena *a, const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? arena_printf(a, "%.*s", (int)(slash - path) + (slash == path), path) : ".";
}

/* What the data block names, looked for in --data-dir, else beside the text. */
static bool peek(void *ctx, const char *call, Type *row, int64_t *classes, char *why, size_t why_len) {
  const BundleBuild *x = ctx;
  lt_data d;
  if (lt_data_open(call, x->data_dir, &d, why, why_len)) return false;
  *row = (Type){.dtype = dtype_from_text(d.dtype), .rank = d.rank};
  for (int k = 0; k < d.rank; k++) row->dims[k] = DIM(d.dims[k]);
  *classes = d.classes;
  lt_data_close(&d);
  return true;
}

/* The first line of run/net.lathe says where the text lay, so that what it names beside itself is found from there; a
 * trainer that finds its data elsewhere changes it (runtime/lt_trainer.c). Paths are whole: a comment of the user's that
 * begins so is a comment. */
typedef struct Origin { const char *path, *data_dir; } Origin;
#define ORIGIN_HEAD "# from "
#define ORIGIN_DATA ", data in "

static Origin origin_of(Arena *a, const char *text, const char *path) {
  const char *end = strchr(text, '\n'), *data = NULL;
  if (strncmp(text, ORIGIN_HEAD "/", strlen(ORIGIN_HEAD "/")) || !end) return (Origin){path, folder_of(a, path)};
  for (const char *s = text; (s = strstr(s, ORIGIN_DATA)) && s < end; s++) data = s;
  if (!data) return (Origin){path, folder_of(a, path)};
  text += strlen(ORIGIN_HEAD);
  data += strlen(ORIGIN_DATA);
  return (Origin){arena_printf(a, "%.*s", (int)(data - strlen(ORIGIN_DATA) - text), text),
      arena_printf(a, "%.*s", (int)(end - data), data)};
}

const char *whole_path(Arena *a, const char *path) {
  char *whole = realpath(path, NULL);
  const char *s = whole ? arena_strdup(a, whole) : path;
  free(whole);
  return s;
}

/* For the trainer's copy of the text. */
static void source_says_origin(BundleBuild *x) {
  if (!strncmp(x->b->source, ORIGIN_HEAD, strlen(ORIGIN_HEAD))) return;
  x->b->source = arena_printf(&x->b->arena, ORIGIN_HEAD "%s" ORIGIN_DATA "%s\n%s", whole_path(&x->arena, x->path),
                              whole_path(&x->arena, x->data_dir), x->b->source);
}

/* `path`: for messages; the text may come from elsewhere. */
static bool load_text(BundleBuild *x, const char *path, Origin from, const char *text, size_t size, const Options *o) {
  x->path = from.path;
  x->data_dir = o->data_dir ? o->data_dir : from.data_dir;
  LanguageOptions lo = {.peek = peek, .peek_ctx = x, .batch = o->grad ? CHECK_ROWS : 0};
  language_dims(o, &lo, &x->arena);
  bug_context = "language";
  double since = seconds_now();
  x->b = lathe_language_text(from.path, text, size, &lo, &x->diags);
  if (!x->b) { bundle_close(x); return false; }
  x->prefix = c_identifier(&x->arena, o->prefix ? o->prefix : x->b->name);
  x->command = canonical_command(o, path, &x->arena);
  phase_time(o, "language", since);
  return true;
}

bool bundle_load(BundleBuild *x, const char *path, const Options *o) {
  *x = (BundleBuild){.diags = {.file = path}};
  x->target = options_target(o);
  char why[300];
  size_t size;
  char *text = file_load(path, &size, why, sizeof why);
  if (!text) {
    diag_error(&x->diags, "io", NULL, "%s", why);
    bundle_close(x);
    return false;
  }
  bool ok = load_text(x, path, origin_of(&x->arena, text, path), text, size, o);
  free(text);
  return ok;
}

/* The text that the options describe, around an ONNX file; shown, because it is the user's from now on. */
static bool load_finetune(BundleBuild *x, const char *path, const Options *o) {
  Text text = {0};
  *x = (BundleBuild){.diags = {.file = path}};
  x->target = options_target(o);
  bool ok = finetune_text(o, path, &x->arena, &text);
  if (ok) {
    printf("%s\n", text.at);
    ok = load_text(x, path, (Origin){path, "."}, text.at, text.len, o);
  } else bundle_close(x);
  text_free(&text);
  return ok;
}

void bundle_close(BundleBuild *x) {
  diags_print(&x->diags, stderr);
  diags_free(&x->diags);
  if (x->b) bundle_free(x->b);
  x->b = NULL;
  arena_free(&x->arena);
}

/* ---- compiling ---- */

bool bundle_passes(BundleBuild *x, const Options *o) {
  double since = seconds_now();
  bug_context = "passes";
  PassOptions po = pass_options(o);
  for (int k = 0; k < x->b->fn.len; k++) {
    Function *f = &x->b->fn.at[k];
    po.part_cycles = f->kind == FUNCTION_INIT ? 0 : options_part_cycles(o);
    if (o->dump_dir) {
      po.dump_dir = arena_printf(&x->arena, "%s/%s", o->dump_dir, f->name);
      make_dirs(po.dump_dir);
    }
    f->m->diags = &x->diags;
    f->p = compile_module(f->m, x->target, &po, &x->arena);
    if (!f->p || x->diags.errors) return false;
  }
  phase_time(o, "passes", since);
  return true;
}

bool bundle_emit(BundleBuild *x, const Options *o, bool table, EmitFiles *files) {
  bug_context = "emit";
  EmitOptions eo = {.prefix = x->prefix,
                    .command = x->command,
                    .target = x->target,
                    .single_file = o->single_file,
                    .parallel = options_part_cycles(o) > 0,
                    .sleef = o->sleef,
                    .model_table = table,
                    .profile = o->layers || o->explain};
  return emit_bundle(x->b, &eo, &x->arena, files, &x->diags) && !x->diags.errors;
}

static bool has_file(const EmitFiles *files, const char *name) {
  for (int i = 0; i < files->at.len; i++) if (!strcmp(files->at.at[i].name, name)) return true;
  return false;
}

/* Everything of runtime/ that is named lt_ but the main of inference programs, and what a trainer takes from beside it. */
static void add_trainer(Arena *a, EmitFiles *files) {
  for (int i = 0; i < embed_count; i++) {
    const EmbedFile *f = &embed_files[i];
    bool wanted = (!strncmp(f->name, "lt_", 3) && strcmp(f->name, "lt_main.c")) || !strcmp(f->name, "stb_image.h") ||
        !strcmp(f->name, "random.c");
    if (wanted && !has_file(files, f->name))
      *vec_push(a, &files->at) = (EmitFile){.name = f->name, .data = f->text, .size = f->size};
  }
}

static bool compile(BundleBuild *x, const char *path, const Options *o, bool table, EmitFiles *files) {
  if (!bundle_load(x, path, o)) return false;
  if (bundle_passes(x, o) && bundle_emit(x, o, table, files)) return true;
  bundle_close(x);
  return false;
}

int bundle_compile(Options *o) {
  BundleBuild x;
  EmitFiles files = {0};
  if (!network_tune(o->args.at[0], o) || !compile(&x, o->args.at[0], o, o->with_main, &files)) return EXIT_FAILED;
  if (o->with_main) add_trainer(&x.arena, &files);
  bool ok = files_write(&files, o->output, &x.diags);
  for (int i = 0; ok && i < files.at.len; i++)
    printf("%s/%s  %zu bytes\n", o->output, files.at.at[i].name, files.at.at[i].size);
  bundle_close(&x);
  return ok ? EXIT_DONE : EXIT_FAILED;
}

/* The trainer's main is told its table; threads assemble batches. */
static const char *trainer_flags(BundleBuild *x) {
  return arena_printf(&x->arena, "-DLT_BUNDLE=lt_bundle_%s -pthread", x->prefix);
}

int bundle_build(Options *o) {
  BundleBuild x;
  EmitFiles files = {0};
  o->parallel = true;                                           // trainers use all cores
  if (!is_language(o->args.at[0]))
    usage_error("build --train wants a .lathe text; `lathe train %s` makes one around an ONNX file", o->args.at[0]);
  if (!network_tune(o->args.at[0], o) || !bundle_load(&x, o->args.at[0], o)) return EXIT_FAILED;
  source_says_origin(&x);
  if (!bundle_passes(&x, o) || !bundle_emit(&x, o, true, &files)) { bundle_close(&x); return EXIT_FAILED; }
  add_trainer(&x.arena, &files);
  Toolchain t = toolchain_of(o, x.target, &x.arena);
  double since = seconds_now();
  bool ok = toolchain_program(&t, &files, o->keep, trainer_flags(&x), o->output, false, NULL, &x.diags);
  phase_time(o, "cc", since);
  bundle_close(&x);
  return ok ? EXIT_DONE : EXIT_FAILED;
}

static bool train_load(BundleBuild *x, const char *path, const Options *o) {
  if (!is_language(path)) return load_finetune(x, path, o);
  if (o->loss || o->optimizer || o->over.len || o->freeze.len || o->batch || o->hold_out)
    usage_error("--loss, --optimizer, --over, --freeze, --batch and --hold-out are for ONNX files; %s says them itself",
                path);
  return bundle_load(x, path, o);
}

/* The trainer takes this process's place: signals and the terminal are its own. */
int verb_train(Options *o) {
  BundleBuild x;
  EmitFiles files = {0};
  const char *path = o->args.at[0];
  o->parallel = true;
  if (o->tune && !is_language(path)) usage_error("--tune wants a .lathe text here; `lathe train %s` prints the one it makes", path);
  if (!network_tune(path, o) || !train_load(&x, path, o)) return EXIT_FAILED;
  source_says_origin(&x);
  if (!bundle_passes(&x, o) || !bundle_emit(&x, o, true, &files)) { bundle_close(&x); return EXIT_FAILED; }
  add_trainer(&x.arena, &files);
  Toolchain t = toolchain_of(o, x.target, &x.arena);
  double since = seconds_now();
  const char *exe = toolchain_cached(&t, &files, x.prefix, trainer_flags(&x), false, &x.arena, &x.diags);
  if (!exe) { bundle_close(&x); return EXIT_FAILED; }
  phase_time(o, "cc", since);
  Strings argv = {0};
  *vec_push(&x.arena, &argv) = x.prefix;
  *vec_push(&x.arena, &argv) = "--data-dir";
  *vec_push(&x.arena, &argv) = x.data_dir;
  for (int i = 0; is_language(path) && i < o->data.len; i++) {
    *vec_push(&x.arena, &argv) = "--data";
    *vec_push(&x.arena, &argv) = o->data.at[i];
  }
  if (o->checkpoint) {
    *vec_push(&x.arena, &argv) = "--weights";
    *vec_push(&x.arena, &argv) = o->checkpoint;
  }
  for (int i = 0; i < o->rest.len; i++) *vec_push(&x.arena, &argv) = o->rest.at[i];
  *vec_push(&x.arena, &argv) = NULL;
  diags_print(&x.diags, stderr);
  fflush(stdout);
  execv(exe, (char *const *)argv.at);
  fprintf(stderr, "lathe: cannot run %s: %s\n", exe, strerror(errno));
  return EXIT_FAILED;
}

/* ---- one net for inference ---- */

static const Tensor *tensor_of_entry(Arena *a, const void *block, const lt_state_entry *e) {
  Tensor *t = tensor_new(a, dtype_from_text(e->dtype), (int)e->rank, e->dims);
  memcpy(t->data, lt_state_data(block, e), tensor_bytes(t));
  return t;
}

/* Averages stand in for parameters where the training kept them. */
static const lt_state_entry *entry_of(const void *block, const Bundle *b, const StateSlot *s) {
  for (int k = 0; k < b->state.len; k++)
    if (b->state.at[k].role == ROLE_AVERAGE && b->state.at[k].of && !strcmp(b->state.at[k].of, s->name))
      return lt_state_find(block, b->state.at[k].name);
  return lt_state_find(block, s->name);
}

static bool bind_state(BundleBuild *x, Module *m, const char *path) {
  char why[400];
  lt_state s;
  if (lt_state_load(path, &s, why, sizeof why)) { diag_error(&x->diags, "io", NULL, "%s", why); return false; }
  bool ok = true;
  for (int k = 0; k < m->state.len && ok; k++) {
    const StateSlot *slot = &m->state.at[k];
    const lt_state_entry *e = entry_of(s.block, x->b, slot);
    const StateTensor *want = bundle_find(x->b, slot->name);
    bool same = e && dtype_from_text(e->dtype) == want->type.dtype && (int)e->rank == want->type.rank;
    for (int q = 0; same && q < want->type.rank; q++) same = dim_is(want->type.dims[q], e->dims[q]);
    if (!same) {
      diag_error(&x->diags, "io", NULL, "%s is a checkpoint of another network: %s '%s', which should be %s", path,
                 e ? "it has another shape for" : "it lacks", slot->name, type_text(&want->type));
      ok = false;
      break;
    }
    graph_make_constant(m, slot->value, tensor_of_entry(&m->perm, s.block, e));
  }
  lt_state_free(&s);
  if (!ok) return false;
  int kept = 0;                                                 // what is constant now is no input
  for (int k = 0; k < m->main->inputs.len; k++)
    if (!graph_state_of_value(m, m->main->inputs.at[k])) m->main->inputs.at[kept++] = m->main->inputs.at[k];
  m->main->inputs.len = kept;
  m->state.len = 0;
  return true;
}

static Function *infer_of(BundleBuild *x, const char *name) {
  Bundle *b = x->b;
  Function *found = NULL;
  for (int k = 0; k < b->fn.len; k++) {
    Function *f = &b->fn.at[k];
    if (f->kind != FUNCTION_INFER || (name && strcmp(f->name, name))) continue;
    if (!found || (!name && !strcmp(f->name, b->name))) found = f;
  }
  if (found) return found;
  diag_error(&x->diags, "name", NULL, name ? "there is no net '%s'" : "there is no net to run", name);
  for (int k = 0; k < b->fn.len; k++)
    if (b->fn.at[k].kind == FUNCTION_INFER) diag_note(&x->diags, "there is: %s", b->fn.at[k].name);
  return NULL;
}

Module *bundle_infer(BundleBuild *x, const char *path, const Options *o) {
  if (!bundle_load(x, path, o)) return NULL;
  Function *f = infer_of(x, o->net);
  if (!f || !bind_state(x, f->m, o->checkpoint)) { bundle_close(x); return NULL; }
  Module *m = f->m;
  f->m = NULL;                                                  // the caller's from now on
  return m;
}

/* ---- one step, for verify --grad ---- */

Module *bundle_step(BundleBuild *x, const char *path, const Options *o) {
  if (!bundle_load(x, path, o)) return NULL;
  for (int k = 0; k < x->b->fn.len; k++) {
    Function *f = &x->b->fn.at[k];
    if (f->kind != FUNCTION_STEP || (o->net && strcmp(o->net, f->name))) continue;
    Module *m = f->m;
    f->m = NULL;
    return m;
  }
  if (o->net) diag_error(&x->diags, "name", NULL, "there is no training step '%s'", o->net);
  else diag_error(&x->diags, "usage", NULL, "has no training step");
  bundle_close(x);
  return NULL;
}

/* What init writes, by the evaluator. */
static const Tensor *initial_value(Eval *e, const Module *m, const char *name) {
  for (int k = 0; k < m->state.len; k++)
    if (!strcmp(m->state.at[k].name, name)) return eval_value(e, m->state.at[k].next);
  return NULL;
}

bool bundle_inputs(BundleBuild *x, Module *m, int64_t seed, const Tensor **in, Arena *a) {
  const Function *init = bundle_function(x->b, FUNCTION_INIT, NULL);
  Eval e;
  eval_begin(&e, init->m);
  Tensor *number = tensor_new(a, DT_I64, 1, (int64_t[]){1});
  tensor_set_int(number, 0, seed);
  bool ok = eval_bind_input(&e, 0, number) && eval_graph(&e, init->m->main);
  for (int k = 0; ok && k < m->main->inputs.len; k++) {
    const char *name = value_of(m, m->main->inputs.at[k])->name;
    const Tensor *t = initial_value(&e, init->m, name);
    Tensor *own = t ? tensor_new(a, t->dtype, t->rank, t->dims) : NULL;
    if (t) memcpy(own->data, t->data, tensor_bytes(t));
    if (t) in[k] = own;
    for (int c = 0; c < x->b->column.len; c++) {
      const DataColumn *col = &x->b->column.at[c];
      if (strcmp(col->name, name) || !col->classes || dtype_is_float(in[k]->dtype)) continue;
      own = tensor_new(a, in[k]->dtype, in[k]->rank, in[k]->dims);
      for (int64_t i = 0; i < tensor_count(own); i++) {
        int64_t v = tensor_get_int(in[k], i) % col->classes;
        tensor_set_int(own, i, v < 0 ? v + col->classes : v);
      }
      in[k] = own;
    }
  }
  eval_end(&e);
  return ok;
}
