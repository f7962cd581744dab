/* conform DIR…: runs ONNX test cases and compares with the stored outputs: with the naive evaluator, which says whether
 * lathe knows the meaning of every operator, or with --emitted=TARGET through emitted and compiled C, which
 * says whether it keeps that meaning (conform_emitted.c).
 *
 * A case is a folder with a .onnx file and test_data_set_N/ (or STEM.data/set_N/) of input_K.pb and output_K.pb.
 * A folder without a .onnx file is searched for cases one level down. One line per case:
 *     pass  NAME  max error
 *     pass  NAME  max error (bound: shape)     with these inputs fixed at compile time
 *     pass  NAME  max error (fixed dims)       free dims do not go; with the dims of the test's inputs they do
 *     fail  NAME  why
 *     unsupported  NAME  why
 * Each case runs in a process of its own, with a time limit, so that a crash is one line as well.
 * Options: --import (no evaluation), --export (import, export, import: both modules give the same; =DIR leaves the
 * exported model there, with its inputs and lathe's outputs), --verbose (all diagnostics), --seconds N, --only TEXT
 * (cases with TEXT in their names), --work DIR (where --emitted works), --ledger FILE (lines for
 * tests/onnx/ledger.txt). Exit code 1 when a case failed. */
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/vec.h"
#include "base/text.h"
#include "frontend/import.h"
#include "frontend/onnx_export.h"
#include "frontend/onnx_model.h"
#include "ir/eval.h"
#include "passes/grad.h"
#include "tests/tools/conform.h"

static const char *const status_text[] = {"pass", "fail", "unsupported"};
static bool only_import, verbose, export;
static int seconds = 20, counts[STATUS_COUNT];
static const char *only, *export_to;
static Arena names;
static VEC(TestCase) cases;

/* How far floats may be from the reference: |a - b| <= abs + rel * |b|. References are f32 arithmetic in another
 * order (or a lower precision throughout); integers, bools and strings are exact. */
static void tolerance(DType t, double *rel, double *abs_) {
  *rel = 1e-3, *abs_ = 1e-5;                                   // the official suite's rtol
  if (t == DT_F64) *rel = 1e-7, *abs_ = 1e-9;
  if (t == DT_F16) *rel = 4e-3, *abs_ = 1e-3;
  if (t == DT_BF16) *rel = 2e-2, *abs_ = 1e-2;
}

Outcome outcome(int status, const char *fmt, ...) {
  Outcome o = {.status = status};
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(o.text, sizeof o.text, fmt, ap);
  va_end(ap);
  for (char *p = o.text; *p; p++)
    if (*p == '\n') *p = ';';
  return o;
}

/* ---- comparing ---- */
static const char *shape_text(const Tensor *t) {
  static char buf[2][200];
  static int which;
  char *s = buf[which ^= 1];
  int n = snprintf(s, 200, "%s[", dtype_info[t->dtype].text);
  for (int k = 0; k < t->rank && n < 180; k++)
    n += snprintf(s + n, 200 - (size_t)n, k ? ",%lld" : "%lld", (long long)t->dims[k]);
  snprintf(s + n, 200 - (size_t)n, "]");
  return s;
}

/* NULL when they agree, else what differs; *worst: the largest error so far. Random values agree in type only. */
static const char *compare(const Tensor *got, const Tensor *want, bool is_random, double *worst) {
  static char why[500];
  bool same = got->dtype == want->dtype && got->rank == want->rank;
  for (int k = 0; same && k < got->rank; k++) same = got->dims[k] == want->dims[k];
  if (!same) {
    snprintf(why, sizeof why, "is %s, should be %s", shape_text(got), shape_text(want));
    return why;
  }
  if (is_random) return NULL;
  double rel, abs_;
  tolerance(got->dtype, &rel, &abs_);
  int64_t n = tensor_count(got);
  DClass cls = dtype_info[got->dtype].cls;
  for (int64_t i = 0; i < n; i++) {
    if (cls == CLASS_STRING) {
      const char *a = ((const char *const *)got->data)[i], *b = ((const char *const *)want->data)[i];
      if (!strcmp(a ? a : "", b ? b : "")) continue;
      snprintf(why, sizeof why, "element %lld is \"%.60s\", should be \"%.60s\"", (long long)i, a ? a : "", b ? b : "");
      return why;
    }
    if (cls != CLASS_FLOAT) {
      if (!memcmp((char *)got->data + i * dtype_bytes(got->dtype), (char *)want->data + i * dtype_bytes(got->dtype),
                  (size_t)dtype_bytes(got->dtype)))
        continue;
      snprintf(why, sizeof why, "element %lld is %lld, should be %lld", (long long)i,
               (long long)tensor_get_int(got, i), (long long)tensor_get_int(want, i));
      return why;
    }
    double a = tensor_get(got, i), b = tensor_get(want, i);
    if (a == b || (isnan(a) && isnan(b))) continue;
    double e = fabs(a - b);
    if (e > *worst) *worst = e;
    if (e <= abs_ + rel * fabs(b)) continue;
    snprintf(why, sizeof why, "element %lld is %.9g, should be %.9g", (long long)i, a, b);
    return why;
  }
  return NULL;
}

/* ---- one case ---- */
const char *first_error(const Diags *d) {
  for (int k = 0; k < d->len; k++)
    if (!d->at[k].warning)
      return arena_printf((Arena *)(uintptr_t)&d->arena, "%s%s%s", d->at[k].where ? d->at[k].where : "",
                          d->at[k].where ? ": " : "", d->at[k].text);
  return "no message";
}

static TestPort port_of(const Onnx__ValueInfo *v) {
  ValueKind kind = !v->type    ? KIND_TENSOR
      : v->type->sequence_type ? KIND_SEQUENCE
      : v->type->optional_type ? KIND_OPTIONAL
                               : KIND_TENSOR;
  TestPort p = {.name = v->name ? v->name : "", .kind = kind};
  const Onnx__Shape *shape = v->type && v->type->tensor_type ? v->type->tensor_type->shape : NULL;
  for (size_t k = 0; shape && k < shape->n_dim && k < MAX_RANK; k++)
    p.dims[p.rank++] = shape->dim[k]->has_dim_value ? shape->dim[k]->dim_value : 1;
  return p;
}

/* The inputs that a caller feeds, those without an initializer, and the outputs. */
static void find_ports(const char *path, Arena *a, TestPorts *p, Diags *d) {
  OnnxBytes b;
  if (!onnx_bytes_open(&b, path, d)) return;
  const Onnx__Model *m = onnx_decode_model(a, b.at, b.len, d);
  onnx_bytes_close(&b);
  for (size_t k = 0; m && k < m->graph->n_input && p->n < MAX_PORTS; k++) {
    bool is_constant = false;
    for (size_t i = 0; i < m->graph->n_initializer; i++)
      is_constant |= m->graph->initializer[i]->name &&
          !strcmp(m->graph->initializer[i]->name, m->graph->input[k]->name);
    if (!is_constant) p->at[p->n++] = port_of(m->graph->input[k]);
  }
  for (size_t k = 0; m && k < m->graph->n_output && k < MAX_PORTS; k++)
    p->out[p->nout++] = port_of(m->graph->output[k]);
}

/* The inputs of onnx's "light" models are not stored: element i of n is i/n (onnx/backend/test/runner). */
static const Tensor *ramp(Arena *a, const TestPort *p) {
  Tensor *t = tensor_new(a, DT_F32, p->rank, p->dims);
  int64_t n = tensor_count(t);
  for (int64_t i = 0; i < n; i++) tensor_set(t, i, (double)i / (double)n);
  return t;
}

/* Loads a file into a port; false when it is missing or damaged. */
static bool load_port(Arena *a, TestPort *p, const char *set, const char *which, int k, Diags *d) {
  char path[1200];
  bool light = strstr(set, "/light_") != NULL;
  if (light && !strcmp(which, "input")) { p->value = ramp(a, p); return true; }
  snprintf(path, sizeof path, "%s%s%s_%d.pb", set, light ? "_" : "/", which, k);
  if (access(path, R_OK)) return false;
  if (p->kind != KIND_TENSOR) return onnx_load_list(a, path, p->kind, &p->list, &p->n, d);
  p->value = onnx_load_tensor(a, path, d);
  return p->value != NULL;
}

static Type type_of_tensor(const Tensor *t) {
  Dim dims[MAX_RANK] = {{0}};
  for (int k = 0; k < t->rank; k++) dims[k] = DIM(t->dims[k]);
  return type_of(t->dtype, t->rank, dims);
}

static void import_options(const TestPorts *p, ImportOptions *o, Arena *a) {
  o->binds = arena_alloc(a, sizeof *o->binds * MAX_PORTS);
  o->dims = arena_alloc(a, sizeof *o->dims * MAX_PORTS * MAX_RANK);
  o->lists = arena_alloc(a, sizeof *o->lists * MAX_PORTS);
  for (int k = 0; k < p->n; k++) {
    const TestPort *in = &p->at[k];
    if (in->bound && in->value) o->binds[o->nbinds].name = in->name, o->binds[o->nbinds++].value = in->value;
    for (int i = 0; p->fixed_dims && in->value && i < in->value->rank; i++, o->ndims++) {
      o->dims[o->ndims].name = arena_printf(a, "%s.%d", in->name, i);
      o->dims[o->ndims].lo = o->dims[o->ndims].hi = in->value->dims[i];
    }
    if (in->kind == KIND_TENSOR || !in->list) continue;
    Type *elem = NEW_N(a, Type, in->n + 2);
    for (int i = 0; i < in->n; i++) elem[i] = type_of_tensor(in->list[i]);
    o->lists[o->nlists].name = in->name, o->lists[o->nlists].n = in->n, o->lists[o->nlists++].elem = elem;
  }
}

void test_load(TestPorts *p, const TestCase *c, const char *set, Arena *a) {
  Diags d = {0}, quiet = {0};
  find_ports(c->model, a, p, &d);
  for (int k = 0; set && k < p->n; k++) load_port(a, &p->at[k], set, "input", k, &quiet);
}

Module *test_import(TestPorts *p, const TestCase *c, Diags *d) {
  ImportOptions o = {0};
  import_options(p, &o, &d->arena);
  return onnx_import_file(c->model, &o, d);
}

const Tensor *test_input(const TestPorts *p, const char *name) {
  for (int k = 0; k < p->n; k++) {
    if (!strcmp(p->at[k].name, name) && p->at[k].kind == KIND_TENSOR) return p->at[k].value;
    for (int i = 0; p->at[k].list && i < p->at[k].n; i++) {
      char part[300];
      snprintf(part, sizeof part, "%s_%d", p->at[k].name, i);
      if (!strcmp(part, name)) return p->at[k].list[i];
    }
  }
  return NULL;
}

/* Compares output k of the model; *at: the next output of the module. NULL when they agree. */
static const char *check_output(const TestPort *p, const Tensor *const *got, int nout, int *at, bool is_random,
                                double *worst) {
  static char why[700];
  int n = p->kind == KIND_TENSOR ? 1 : p->n;
  for (int i = 0; i < n; i++, ++*at) {
    if (*at >= nout) return "the list is too short";
    const char *differs = !got[*at]
        ? "was not computed"
        : compare(got[*at], p->kind == KIND_TENSOR ? p->value : p->list[i], is_random, worst);
    if (!differs) continue;
    snprintf(why, sizeof why, "'%s': %s", p->name, differs);
    return why;
  }
  return NULL;
}

bool module_is_random(const Module *m) {
  bool is_random = false;
  for (int k = 1; k < m->nodes.len; k++) is_random |= !m->nodes.at[k].dead && m->nodes.at[k].op == OP_RANDOM;
  return is_random;
}

Outcome compare_outputs(TestPorts *p, const char *set, Arena *a, const Tensor *const *got, int n, bool is_random) {
  double worst = 0;
  int compared = 0, at = 0;
  Diags d = {0};
  for (int k = 0; k < p->nout; k++) {
    if (!load_port(a, &p->out[k], set, "output", k, &d)) {
      if (d.errors) return outcome(UNSUPPORTED, "%s", first_error(&d));
      at++;                                                    // no file: not compared
      continue;
    }
    const char *why = check_output(&p->out[k], got, n, &at, is_random, &worst);
    if (why) return outcome(FAIL, "output %s", why);
    compared++;
  }
  if (!compared) return outcome(FAIL, "nothing to compare with");
  if (at != n) return outcome(FAIL, "has %d outputs, should have %d", n, at);
  return is_random ? outcome(PASS, "types only: random") : outcome(PASS, "%.3g", worst);
}

/* The outputs of m for the inputs of p. */
static Outcome outputs_of(Module *m, const TestPorts *p, Diags *d, const Tensor ***got) {
  if (!module_verify(m, d)) return outcome(FAIL, "the imported module is not valid: %s", first_error(d));
  if (!grad_resolve(m)) return outcome(UNSUPPORTED, "%s", first_error(d));
  Eval e;
  eval_begin(&e, m);
  for (int i = 0; i < m->main->inputs.len; i++) {
    const char *name = value_of(m, m->main->inputs.at[i])->name;
    const Tensor *t = test_input(p, name);
    if (!t) return outcome(UNSUPPORTED, "there is no value for input '%s'", name);
    if (!eval_bind_input(&e, i, t)) return outcome(FAIL, "%s", first_error(d));
  }
  if (!eval_graph(&e, m->main)) return outcome(FAIL, "evaluation: %s", first_error(d));
  int n = m->main->outputs.len;
  *got = NEW_N(&m->perm, const Tensor *, n + 1);
  for (int i = 0; i < n; i++) (*got)[i] = eval_value(&e, m->main->outputs.at[i]);
  return (Outcome){.status = PASS};
}

/* What another program needs to run the exported model: itself, its inputs, what came out here. */
static bool keep_export(const TestCase *c, const char *set, Module *m, const TestPorts *p, const Tensor *const *got,
                        const void *bytes, size_t size, Diags *d) {
  char why[300], *dir = arena_printf(&d->arena, "%s/%s-%s", export_to, c->title, strrchr(set, '/') + 1);
  for (char *s = dir + strlen(export_to) + 1; *s; s++) if (*s == '/') *s = '+';
  mkdir(export_to, 0777);
  mkdir(dir, 0777);
  if (!file_save(bytes, size, arena_printf(&d->arena, "%s/model.onnx", dir), why, sizeof why)) return false;
  for (int i = 0; i < m->main->inputs.len; i++) {
    const char *name = value_of(m, m->main->inputs.at[i])->name;
    if (!onnx_save_tensor(arena_printf(&d->arena, "%s/input_%d.pb", dir, i), name, test_input(p, name), d))
      return false;
  }
  for (int i = 0; i < m->main->outputs.len; i++)
    if (!onnx_save_tensor(arena_printf(&d->arena, "%s/output_%d.pb", dir, i), "", got[i], d)) return false;
  return true;
}

/* Import -> export -> import: both modules give the same. */
static Outcome round_trip(const TestCase *c, const char *set, TestPorts *p, Diags *d) {
  Module *m = test_import(p, c, d);
  if (!m) return outcome(UNSUPPORTED, "%s", first_error(d));
  if (!set) return outcome(UNSUPPORTED, "has no data");
  void *bytes;
  size_t size;
  if (!onnx_export(m, c->model, &d->arena, &bytes, &size, d)) return outcome(UNSUPPORTED, "export: %s", first_error(d));
  const Tensor **want, **got;
  Outcome o = outputs_of(m, p, d, &want);
  if (o.status != PASS) return o;
  if (export_to && !keep_export(c, set, m, p, want, bytes, size, d))
    return outcome(FAIL, "cannot write into %s", export_to);
  Module *back = onnx_import_bytes(bytes, size, "exported", &(ImportOptions){0}, d);
  if (!back) return outcome(FAIL, "the exported model is not read: %s", first_error(d));
  o = outputs_of(back, p, d, &got);
  if (o.status != PASS) return outcome(FAIL, "exported: %s", o.text);
  if (back->main->outputs.len != m->main->outputs.len)
    return outcome(FAIL, "has %d outputs, had %d", back->main->outputs.len, m->main->outputs.len);
  double worst = 0;
  for (int k = 0; k < m->main->outputs.len; k++) {
    const char *why = compare(got[k], want[k], module_is_random(m), &worst);
    if (why) return outcome(FAIL, "output '%s': %s", value_of(m, m->main->outputs.at[k])->name, why);
  }
  return outcome(PASS, "%.3g", worst);
}

static Outcome evaluate(const TestCase *c, const char *set, TestPorts *p, Diags *d) {
  Module *m = test_import(p, c, d);
  if (!m) return outcome(UNSUPPORTED, "%s", first_error(d));
  if (only_import || !set) return outcome(PASS, "imported, %d nodes", m->main->nodes.len);
  const Tensor **got;
  Outcome o = outputs_of(m, p, d, &got);
  return o.status == PASS ? compare_outputs(p, set, &m->perm, got, m->main->outputs.len, module_is_random(m)) : o;
}

/* Marks what the messages ask for ("--bind NAME=VALUES"); false when they ask for nothing new. */
static bool bind_asked(TestPorts *p, const Diags *d) {
  bool more = false;
  for (int i = 0; i < d->len; i++)
    for (const char *s = d->at[i].text; (s = strstr(s, "--bind ")) != NULL;) {
      s += 7;
      for (int k = 0; k < p->n; k++) {
        size_t n = strlen(p->at[k].name);
        if (!strncmp(s, p->at[k].name, n) && s[n] == '=' && !p->at[k].bound && p->at[k].value)
          p->at[k].bound = more = true;
      }
    }
  return more;
}

static bool run_time_only(const Diags *d) {
  for (int i = 0; i < d->len; i++)
    if (strstr(d->at[i].text, "exists only at run time")) return true;
  return false;
}

static bool missing_operator(const Diags *d) {
  for (int i = 0; i < d->len; i++)
    if (!strncmp(d->at[i].text, "operator ", 9)) return true;
  return false;
}

static bool bind_small(TestPorts *p, int rank) {
  bool more = false;
  for (int k = 0; k < p->n; k++)
    if (p->at[k].value && p->at[k].value->rank <= rank && !p->at[k].bound) p->at[k].bound = more = true;
  return more;
}

Outcome attempt_rounds(const TestCase *c, const char *set, TestPorts *p, Arena *a, Attempt attempt) {
  *p = (TestPorts){0};
  test_load(p, c, set, a);
  for (int round = 0;; round++) {
    Diags fresh = {.file = c->model};
    Outcome o = attempt(c, set, p, &fresh);
    if (verbose) diags_print(&fresh, stdout);
    if (o.status != UNSUPPORTED || round > 8 || missing_operator(&fresh)) return o;
    if (run_time_only(&fresh) && (bind_asked(p, &fresh) || bind_small(p, 1))) continue;
    if (!p->fixed_dims) p->fixed_dims = true;
    else if (!bind_small(p, 0)) return o;
  }
}

const char *test_note(const TestPorts *p, Arena *a) {
  const char *note = p->fixed_dims ? " (fixed dims" : "", *sep = p->fixed_dims ? "; bound: " : " (bound: ";
  for (int k = 0; k < p->n; k++)
    if (p->at[k].bound) note = arena_printf(a, "%s%s%.60s", note, sep, p->at[k].name), sep = ", ";
  return *note ? arena_printf(a, "%s)", note) : note;
}

static Outcome run_case(const TestCase *c) {
  Outcome o = {0};
  for (int k = 0; k < (c->sets ? c->sets : 1) && o.status == PASS; k++) {
    Arena a = {0};
    TestPorts p;
    o = attempt_rounds(c, c->sets ? c->set[k] : NULL, &p, &a, export ? round_trip : evaluate);
    size_t n = strlen(o.text);
    if (o.status == PASS) snprintf(o.text + n, sizeof o.text - n, "%s", test_note(&p, &a));
  }
  return o;
}

static void report(const char *name, Outcome o) {
  counts[o.status]++;
  printf("%-11s  %s  %s\n", status_text[o.status], name, o.text);
  fflush(stdout);
}

/* In a process of its own: symbols are per process, and a crash or an endless loop is a result, too. */
static void run_apart(const TestCase *c) {
  int fd[2];
  if (pipe(fd)) { perror("pipe"); exit(2); }
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    close(fd[0]);
    alarm((unsigned)seconds);
    Outcome o = run_case(c);
    ssize_t wrote = write(fd[1], &o, sizeof o);
    fflush(stdout);
    _exit(wrote != (ssize_t)sizeof o);
  }
  close(fd[1]);
  Outcome o;
  ssize_t got = read(fd[0], &o, sizeof o);
  close(fd[0]);
  int how = 0;
  waitpid(pid, &how, 0);
  if (got != (ssize_t)sizeof o) {
    if (WIFSIGNALED(how) && WTERMSIG(how) == 14) o = outcome(FAIL, "took longer than %d s", seconds);
    else if (WIFSIGNALED(how)) o = outcome(FAIL, "crashed (signal %d)", WTERMSIG(how));
    else o = outcome(FAIL, "ended with code %d", WEXITSTATUS(how));
  }
  report(c->title, o);
}

/* ---- finding cases ---- */
static bool ends_with(const char *s, const char *end) {
  size_t n = strlen(s), m = strlen(end);
  return n > m && !strcmp(s + n - m, end);
}

static void find_sets(TestCase *c, const char *dir, const char *prefix) {
  for (int k = 0; k < MAX_SETS && c->sets < MAX_SETS; k++) {
    struct stat st;
    const char *path = arena_printf(&names, "%s/%s%d", dir, prefix, k);
    if (!stat(path, &st) && S_ISDIR(st.st_mode)) c->set[c->sets++] = path;
  }
}

static void add_case(const char *dir, const char *title, const char *file, bool alone) {
  TestCase c = {.model = arena_printf(&names, "%s/%s", dir, file)};
  const char *stem = arena_printf(&names, "%.*s", (int)strlen(c.model) - 5, c.model);
  if (alone) find_sets(&c, dir, "test_data_set_");
  if (!c.sets) find_sets(&c, arena_printf(&names, "%s.data", stem), "set_");
  if (!c.sets && !access(arena_printf(&names, "%s_output_0.pb", stem), R_OK)) c.set[c.sets++] = stem;
  c.title = alone && !strcmp(file, "model.onnx") ? arena_strdup(&names, title)
                                                 : arena_printf(&names, "%s/%s", title, file);
  if (!only || strstr(c.title, only)) *vec_push(&names, &cases) = c;
}

/* title: the path from the folder that was given on the command line, that included */
static bool find_cases(const char *dir, const char *title, int depth) {
  struct dirent **entry;
  int n = scandir(dir, &entry, NULL, alphasort), models = 0;
  for (int i = 0; i < n; i++) models += ends_with(entry[i]->d_name, ".onnx");
  for (int i = 0; i < n; i++) {
    const char *name = entry[i]->d_name, *path = arena_printf(&names, "%s/%s", dir, name);
    struct stat st;
    if (ends_with(name, ".onnx")) add_case(dir, title, name, models == 1);
    else if (!models && depth < 2 && *name != '.' && !stat(path, &st) && S_ISDIR(st.st_mode))
      find_cases(path, arena_printf(&names, "%s/%s", title, name), depth + 1);
    free(entry[i]);
  }
  if (n >= 0) free(entry);
  return n >= 0;
}

int main(int argc, char **argv) {
  const char *target = NULL, *work = "build/conform.d", *ledger = NULL;
  bool ok = true;
  int given = 0;
  for (int k = 1; k < argc; k++) {
    if (!strcmp(argv[k], "--import")) only_import = true;
    else if (!strcmp(argv[k], "--export")) export = true;
    else if (!strncmp(argv[k], "--export=", 9)) export = true, export_to = argv[k] + 9;
    else if (!strcmp(argv[k], "--verbose")) verbose = true;
    else if (!strncmp(argv[k], "--emitted=", 10)) target = argv[k] + 10;
    else if (!strcmp(argv[k], "--seconds") && k + 1 < argc) seconds = atoi(argv[++k]);
    else if (!strcmp(argv[k], "--only") && k + 1 < argc) only = argv[++k];
    else if (!strcmp(argv[k], "--work") && k + 1 < argc) work = argv[++k];
    else if (!strcmp(argv[k], "--ledger") && k + 1 < argc) ledger = argv[++k];
    else {
      size_t n = strlen(argv[k]);
      while (n > 1 && argv[k][n - 1] == '/') argv[k][--n] = 0;
      const char *slash = strrchr(argv[k], '/');
      ok &= find_cases(argv[k], slash ? slash + 1 : argv[k], 0), given++;
    }
  }
  if (!given) {
    fprintf(stderr,
            "usage: conform [--import | --export[=DIR]] [--verbose] [--seconds N] [--only TEXT] [--emitted=TARGET [--work DIR] [--ledger FILE]] DIR...\n");
    return 2;
  }
  if (target) {
    FILE *to = ledger ? fopen(ledger, "w") : NULL;
    if (ledger && !to) { perror(ledger); return 2; }
    ok &= run_emitted(cases.at, cases.len, target, work, seconds, verbose, to, counts);
    if (to) ok &= fclose(to) == 0;
  } else for (int i = 0; i < cases.len; i++) run_apart(&cases.at[i]);
  printf("%d pass, %d fail, %d unsupported\n", counts[PASS], counts[FAIL], counts[UNSUPPORTED]);
  return ok && !counts[FAIL] ? 0 : 1;
}
