/* From a path and options to a program: import, passes. */
#include "codegen/c.h"
#include "driver/bundle.h"
#include "driver/ports.h"
#include "frontend/language.h"
#include "runtime/lt_file.h"
#include <errno.h>
#include <stdlib.h>

void phase_time(const Options *o, const char *phase, double since) {
  if (o->time) fprintf(stderr, "%-10s %8.1f ms\n", phase, (seconds_now() - since) * 1e3);
}

const Target *options_target(const Options *o) {
  const char *name = o->target ? o->target : "native";
  const Target *t = target_find(name);
  if (t) return t;
  Text all = {0};
  for (int i = 0; i < target_count; i++) text_printf(&all, "%s%s", i ? ", " : "", targets[i].name);
  usage_error("unknown target '%s'; there are: %s", name, all.at);
}

/* ---- --dim, --bind and --list ---- */

static void dims_of(const Options *o, ImportOptions *io, Arena *a) {
  io->dims = arena_alloc(a, sizeof *io->dims * (size_t)(o->dim.len + 1));
  for (int i = 0; i < o->dim.len; i++) {
    const char *s = o->dim.at[i], *eq = strrchr(s, '=');
    char *end = NULL;
    errno = 0;
    long long lo = eq ? strtoll(eq + 1, &end, 10) : 0, hi = lo;
    bool ok = eq && eq != s && end != eq + 1;
    if (ok && !strncmp(end, "..", 2)) {
      const char *from = end + 2;
      hi = strtoll(from, &end, 10);
      ok = end != from;
    }
    if (!ok || *end || lo < 0 || hi < lo || errno == ERANGE) usage_error("--dim wants NAME=N or NAME=LOW..HIGH, not '%s'", s);
    io->dims[io->ndims].name = arena_printf(a, "%.*s", (int)(eq - s), s);
    io->dims[io->ndims].lo = lo;
    io->dims[io->ndims].hi = hi;
    io->ndims++;
  }
}

void language_dims(const Options *o, struct LanguageOptions *to, Arena *a) {
  ImportOptions io = {0};
  dims_of(o, &io, a);
  LanguageDim *dims = NEW_N(a, LanguageDim, io.ndims + 1);
  for (int i = 0; i < io.ndims; i++) dims[i] = (LanguageDim){io.dims[i].name, io.dims[i].lo, io.dims[i].hi};
  to->dims = dims;
  to->ndims = io.ndims;
}

const Tensor *tensor_of_file(Arena *a, const char *path, Diags *d) {
  lt_tensor f;
  char why[300];
  if (lt_file_load(path, &f, why, sizeof why)) { diag_error(d, "io", NULL, "%s", why); return NULL; }
  DType t = dtype_from_text(f.dtype);
  Tensor *r = NULL;
  if (t == DT_NONE || f.rank > MAX_RANK) diag_error(d, "io", NULL, "%s: %s of rank %d is not supported", path, f.dtype, f.rank);
  else {
    r = tensor_new(a, t, f.rank, f.dims);
    if (tensor_bytes(r)) memcpy(r->data, f.data, tensor_bytes(r));
  }
  lt_tensor_free(&f);
  return r;
}

/* "1,2,3": i64 when all are integers, else f32. The importer converts to the input's type. */
static Tensor *tensor_of_values(Arena *a, const char *s) {
  VEC(double) v = {0};
  bool whole = true;
  for (;;) {
    char *end;
    double x = strtod(s, &end);
    if (end == s || (*end && *end != ',')) return NULL;
    for (const char *q = s; q < end; q++) whole &= strchr("+-0123456789", *q) != NULL;
    *vec_push(a, &v) = x;
    if (!*end) break;
    s = end + 1;
  }
  int64_t n = v.len;
  Tensor *t = tensor_new(a, whole ? DT_I64 : DT_F32, n == 1 ? 0 : 1, &n);
  for (int i = 0; i < v.len; i++) tensor_set(t, i, v.at[i]);
  return t;
}

static bool binds_of(const Options *o, ImportOptions *io, Arena *a, Diags *d) {
  io->binds = arena_alloc(a, sizeof *io->binds * (size_t)(o->bind.len + 1));
  for (int i = 0; i < o->bind.len; i++) {
    const char *s = o->bind.at[i], *eq = strchr(s, '=');
    if (!eq) usage_error("--bind wants NAME=FILE or NAME=v,v,v, not '%s'", s);
    const Tensor *t = tensor_of_values(a, eq + 1);
    if (!t) t = tensor_of_file(a, eq + 1, d);
    if (!t) return false;
    io->binds[io->nbinds].name = arena_printf(a, "%.*s", (int)(eq - s), s);
    io->binds[io->nbinds].value = t;
    io->nbinds++;
  }
  return true;
}

static void lists_of(const Options *o, ImportOptions *io, Arena *a) {
  io->lists = arena_alloc(a, sizeof *io->lists * (size_t)(o->list.len + 1));
  for (int i = 0; i < o->list.len; i++) {
    const char *s = o->list.at[i], *eq = strrchr(s, '=');
    char *end = NULL;
    long n = eq ? strtol(eq + 1, &end, 10) : 0;
    bool none = eq && !strcmp(eq + 1, "none");
    if (!eq || (!none && (end == eq + 1 || *end || n < 0 || n > 4096))) usage_error("--list wants NAME=COUNT or NAME=none, not '%s'", s);
    io->lists[io->nlists].name = arena_printf(a, "%.*s", (int)(eq - s), s);
    io->lists[io->nlists++].n = none ? -1 : (int)n;
  }
}

/* ---- the phases ---- */

static const char *file_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* Which of the n names `word` is (NULL: the first); any other is a usage error. */
static int word_option(const char *option, const char *word, const char *const *names, int n) {
  for (int i = 0; i < n; i++) if (!word || !strcmp(word, names[i])) return i;
  Text t = {0};
  for (int i = 0; i < n; i++) text_printf(&t, "%s%s", i == 0 ? "" : i < n - 1 ? ", " : " or ", names[i]);
  usage_error("%s is %s, not '%s'", option, t.at, word);
}

static Winograd winograd_option(const Options *o) {
  static const char *const names[] = {[WINOGRAD_AUTO] = "auto", [WINOGRAD_OFF] = "off", [WINOGRAD_F2] = "f2",
                                      [WINOGRAD_F4] = "f4"};
  return (Winograd)word_option("--winograd", o->winograd, names, 4);
}

static Strassen strassen_option(const Options *o) {
  static const char *const names[] = {[STRASSEN_OFF] = "off", [STRASSEN_AUTO] = "auto", [STRASSEN_ALWAYS] = "always"};
  return (Strassen)word_option("--strassen", o->strassen, names, 3);
}

static int strips_option(const Options *o) {
  char *end;
  if (!o->strips || !strcmp(o->strips, "auto")) return 0;
  if (!strcmp(o->strips, "off")) return -1;
  long rows = strtol(o->strips, &end, 10);
  if (*end || rows < 1 || rows > MOST_STRIP_ROWS)
    usage_error("--strips is off, auto or a number of rows up to %d, not '%s'", MOST_STRIP_ROWS, o->strips);
  return (int)rows;
}

double options_part_cycles(const Options *o) { return o->parallel || o->threads > 1 ? o->part_cycles : 0; }

PassOptions pass_options(const Options *o) {
  return (PassOptions){.naive = o->naive, .winograd = winograd_option(o), .strassen = strassen_option(o),
                       .strips = strips_option(o),
                       .part_cycles = options_part_cycles(o), .verify = o->check, .tuning = o->tuning,
                       .dump_dir = o->dump_dir, .stop_after = o->stop_after,
                       .no_rule = o->no_rule.at, .nno_rule = o->no_rule.len,
                       .limited = o->rewrites >= 0, .rewrites = (int64_t)o->rewrites};
}

const char *canonical_command(const Options *o, const char *path, Arena *a) {
  Text t = {0};
  text_printf(&t, "lathe compile %s", file_of(path));
  if (o->target) text_printf(&t, " --target %s", o->target);
  if (o->prefix) text_printf(&t, " --prefix %s", o->prefix);
  if (o->naive) text_put(&t, " --naive");
  if (o->sleef) text_put(&t, " --math sleef");
  if (winograd_option(o)) text_printf(&t, " --winograd %s", o->winograd);
  if (strassen_option(o)) text_printf(&t, " --strassen %s", o->strassen);
  if (strips_option(o)) text_printf(&t, " --strips %s", o->strips);
  if (options_part_cycles(o) > 0) text_put(&t, " --parallel");
  if (options_part_cycles(o) > 0 && o->part_cycles != PART_CYCLES) text_printf(&t, " --part-cycles %g", o->part_cycles);
  if (o->weights) text_printf(&t, " --weights %s", o->weights);
  if (o->checkpoint) text_printf(&t, " --weights %s", file_of(o->checkpoint));
  if (o->net) text_printf(&t, " --net %s", o->net);
  if (o->tune) text_printf(&t, " --tune %s", file_of(o->tune));
  if (o->single_file) text_put(&t, " --single-file");
  for (int i = 0; i < o->dim.len; i++) text_printf(&t, " --dim %s", o->dim.at[i]);
  for (int i = 0; i < o->list.len; i++) text_printf(&t, " --list %s", o->list.at[i]);
  for (int i = 0; i < o->bind.len; i++) {
    const char *eq = strchr(o->bind.at[i], '='), *slash = eq ? strrchr(eq, '/') : NULL;
    if (slash) text_printf(&t, " --bind %.*s=%s", (int)(eq - o->bind.at[i]), o->bind.at[i], slash + 1);
    else text_printf(&t, " --bind %s", o->bind.at[i]);
  }
  const char *s = arena_strdup(a, t.at);
  text_free(&t);
  return s;
}

static bool give_up(Compiled *c) {
  compiled_free(c);                                            // prints the messages
  return false;
}

/* Graph IR text; its large constants are in constants.bin beside it, as --dump-dir leaves them. */
static Module *parse_ir(Compiled *c, const char *path) {
  char why[300];
  size_t n;
  char *text = file_load(path, &n, why, sizeof why);
  if (!text) { diag_error(&c->diags, "io", NULL, "%s", why); return NULL; }
  const char *slash = strrchr(path, '/');
  const char *weights = arena_printf(&c->arena, "%.*sconstants.bin", slash ? (int)(slash - path) + 1 : 0, path);
  FILE *f = fopen(weights, "rb");
  if (f) fclose(f);
  Module *m = module_parse(text, f ? weights : NULL, &c->diags);
  free(text);
  return m;
}

static bool is_ir(const char *path) {
  size_t n = strlen(path);
  return n > 3 && !strcmp(path + n - 3, ".ir");
}

/* A net of a .lathe text, its parameters from a checkpoint. */
static Module *import_language(Compiled *c, const char *path, const Options *o) {
  if (!o->checkpoint && !o->grad) {
    diag_error(&c->diags, "usage", NULL, "a network has no weights before it is trained");
    diag_note(&c->diags, "hint: --weights run/best.state takes those of a training run; `lathe build --train` makes a trainer");
    return NULL;
  }
  c->bundle = NEW(&c->arena, BundleBuild);
  Module *m = (o->grad ? bundle_step : bundle_infer)(c->bundle, path, o);
  if (!m) { c->bundle = NULL; c->diags.errors++; return NULL; }
  m->diags = &c->diags;
  return m;
}

bool model_import(Compiled *c, const char *path, const Options *o) {
  *c = (Compiled){.path = path};
  if (o->checkpoint && !is_language(path)) usage_error("--weights wants bin, link or array, not '%s'", o->checkpoint);
  c->diags.file = file_of(path);
  c->target = options_target(o);
  c->prefix = o->prefix ? c_identifier(&c->arena, o->prefix) : emit_prefix(&c->arena, path);
  if (o->prefix && strcmp(c->prefix, o->prefix)) usage_error("--prefix '%s' is not a C identifier that can be used", o->prefix);
  c->command = canonical_command(o, path, &c->arena);
  ImportOptions io = {.want_dims = o->want_dims};
  dims_of(o, &io, &c->arena);
  lists_of(o, &io, &c->arena);
  if (!binds_of(o, &io, &c->arena, &c->diags)) return give_up(c);
  if (o->ports) ports_options(o->ports, &c->arena, &io);
  bug_context = "import";
  double since = seconds_now();
  c->m = is_ir(path) ? parse_ir(c, path) : is_language(path) ? import_language(c, path, o) : onnx_import_file(path, &io, &c->diags);
  if (o->ports) ports_imported(o->ports);
  if (o->quiet && (!c->m || c->diags.errors)) return false;
  if (!c->m || c->diags.errors) return give_up(c);
  double *step = NEW_N(&c->arena, double, c->m->main->outputs.len + 1);
  for (int i = 0; i < c->m->main->outputs.len; i++) step[i] = quantised_step(c->m, c->m->main->outputs.at[i]);
  c->step = step;
  phase_time(o, "import", since);
  return true;
}

static bool run_listed(PassContext *pc, const char *list) {
  char name[60];
  Text why = {0};
  for (int n = 0; sscanf(list, "%50[^,]%n", name, &n) == 1; list += n + (list[n] == ',')) {
    const PassInfo *p = pass_find(name);
    if (!p) {
      for (int i = 0; i < pass_count; i++) text_printf(&why, "%s%s", i ? ", " : "", pass_info[i].name);
      usage_error("there is no pass '%s'; there are: %s", name, why.at);
    }
    if (!pass_may_run(pc, p, &why)) usage_error("-p: %s", why.at);
    if (!pass_run(pc, p)) return false;
  }
  return true;
}

bool model_passes(Compiled *c, const Options *o) {
  double since = seconds_now();
  bug_context = "passes";
  if (o->stop_after && !pass_find(o->stop_after)) usage_error("there is no pass '%s' to stop after", o->stop_after);
  if (o->dump_dir) make_dirs(o->dump_dir);
  PassOptions po = pass_options(o);
  PassContext pc;
  pass_begin(&pc, c->m, c->target, &po, &c->arena);
  bool ok = o->passes ? run_listed(&pc, o->passes) : passes_run(&pc);
  c->p = pc.program;
  c->rewrites = pc.rewrites;
  c->last_rule = pc.last_rule;
  c->last_where = pc.last_where;
  if (o->time) pass_report(&pc, stderr);
  pass_end(&pc);
  if (o->quiet && (!ok || c->diags.errors)) return false;
  if (!ok || c->diags.errors) return give_up(c);
  phase_time(o, "passes", since);
  return true;
}

bool model_compile(Compiled *c, const char *path, const Options *o) {
  if (!model_import(c, path, o) || !model_passes(c, o)) return false;
  bug_context = "emit";
  return true;
}

void compiled_drop(Compiled *c) {
  diags_free(&c->diags);
  if (c->m) module_free(c->m);
  c->m = NULL;
  arena_free(&c->samples);
  if (c->bundle) bundle_close(c->bundle);
  c->bundle = NULL;
  arena_free(&c->arena);
}

void compiled_free(Compiled *c) {
  diags_print(&c->diags, stderr);                              // warnings
  compiled_drop(c);
}
