/* The conformance ledger over emitted C: what `lathe compile` writes for every ONNX test case, compiled and run.
 *
 *   1. Every case is imported, compiled and emitted, in a process of its own. Its data sets share one program unless
 *      something had to be bound or fixed: then each set has its own.
 *   2. The C of BATCH cases at a time becomes one shared library, with all warnings as errors. If that fails, each of
 *      the batch's programs is compiled alone, so that the culprit has a name.
 *   3. Every case runs in a process of its own: buffers between guard bytes, arena and outputs poisoned, twice with
 *      different poison (driver/cases.c, as in `lathe verify`). */
#include "base/text.h"
#include "codegen/embed.h"
#include "driver/cases.h"
#include "passes/pipeline.h"
#include "tests/tools/conform.h"
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 40 };

/* What the emitting process reports. set_program: by data set, -1: none. */
typedef struct Emitted {
  Outcome o;
  bool is_random;
  int programs;
  int set_program[MAX_SETS];
  char note[200];
  bool needs[100];
} Emitted;

static const char *work_dir, *flags;
static const Target *target;
static int time_limit;
static Arena perm;

/* Set while a case is emitted. */
static int case_number, program_number;
static bool *runtime_needed;                                   // by number in embed_files
static bool emitted_random;

static double clock_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char *prefix_of(int at, int program) { return arena_printf(&perm, "c%d_%d", at, program); }

static bool write_file(const char *name, const char *data, size_t size) {
  char why[300];
  if (file_save(data, size, arena_printf(&perm, "%s/%s", work_dir, name), why, sizeof why)) return true;
  fprintf(stderr, "conform: %s\n", why);
  return false;
}

/* ---- 1. emit ---- */

static Outcome emit_attempt(const TestCase *c, const char *set, TestPorts *p, Diags *d) {
  (void)set;
  Module *m = test_import(p, c, d);
  if (!m) return outcome(UNSUPPORTED, "%s", first_error(d));
  if (!module_verify(m, d)) return outcome(FAIL, "the imported module is not valid: %s", first_error(d));
  emitted_random = module_is_random(m);
  Arena *a = &m->perm;
  PassOptions po = {0};
  Program *program = compile_module(m, target, &po, a);
  bool unsupported = d->len && !strcmp(d->at[0].kind, "unsupported");
  if (!program) return outcome(unsupported ? UNSUPPORTED : FAIL, "%s", first_error(d));
  const char *prefix = prefix_of(case_number, program_number);
  EmitOptions eo = {.prefix = prefix, .target = target, .weights = WEIGHTS_BIN, .single_file = true,
                    .model_table = true};
  EmitFiles files = {0};
  if (!emit_program(program, &eo, a, &files, d) || d->errors) return outcome(UNSUPPORTED, "%s", first_error(d));
  for (int i = 0; i < files.at.len; i++) {
    const EmitFile *f = &files.at.at[i];
    for (int k = 0; k < embed_count; k++)
      if (!strcmp(f->name, embed_files[k].name)) runtime_needed[k] = true;
    if (strncmp(f->name, prefix, strlen(prefix)) && !access(arena_printf(a, "%s/%s", work_dir, f->name), R_OK))
      continue;
    if (!write_file(f->name, f->data, f->size)) return outcome(FAIL, "the disk is full");
  }
  return outcome(PASS, "emitted");
}

static void emit_case(const TestCase *c, int at, Emitted *e) {
  case_number = at;
  runtime_needed = e->needs;
  bool shared = false;
  for (int k = 0; k < c->sets; k++) {
    if (k && shared) { e->set_program[k] = 0; continue; }
    Arena a = {0};
    TestPorts p;
    program_number = e->programs;
    e->o = attempt_rounds(c, c->set[k], &p, &a, emit_attempt);
    if (e->o.status != PASS) return;
    const char *note = test_note(&p, &a);
    if (!k) snprintf(e->note, sizeof e->note, "%s", note);
    shared = !*note;
    for (int i = 0; i < p.n; i++) shared &= p.at[i].kind == KIND_TENSOR;       // a list's length is compiled in
    e->set_program[k] = e->programs++;
    e->is_random |= emitted_random;
  }
  if (!c->sets) e->o = outcome(FAIL, "nothing to compare with");
}

/* ---- processes ---- */

/* Runs `job` in a process with a time limit and gives what it wrote into `result`. */
typedef struct Job { const TestCase *c; int at; Emitted *e; void *const *library; } Job;

static void apart(void (*job)(Job *, void *), Job *j, void *result, size_t size, Outcome *o) {
  int fd[2];
  if (pipe(fd)) { perror("pipe"); exit(2); }
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    close(fd[0]);
    // of work, whatever else the machine does
    setrlimit(RLIMIT_CPU, &(struct rlimit){(rlim_t)time_limit, (rlim_t)time_limit + 1});
    job(j, result);
    ssize_t wrote = write(fd[1], result, size);
    fflush(stdout);
    _exit(wrote != (ssize_t)size);
  }
  close(fd[1]);
  char *to = result;
  size_t got = 0;
  for (ssize_t n; got < size && (n = read(fd[0], to + got, size - got)) > 0;) got += (size_t)n;
  close(fd[0]);
  int how = 0;
  waitpid(pid, &how, 0);
  if (got == size) return;
  if (WIFSIGNALED(how) && (WTERMSIG(how) == SIGXCPU || WTERMSIG(how) == SIGKILL))
    *o = outcome(FAIL, "took longer than %d s", time_limit);
  else if (WIFSIGNALED(how)) *o = outcome(FAIL, "crashed (signal %d)", WTERMSIG(how));
  else *o = outcome(FAIL, "ended with code %d", WEXITSTATUS(how));
}

static void emit_job(Job *j, void *result) { emit_case(j->c, j->at, result); }

/* ---- 2. compile ---- */

/* One source file per program: fewer compiler starts. */
static void write_unit(int at, int program) {
  const char *p = prefix_of(at, program);
  const char *text = arena_printf(&perm, "#include \"%s.c\"\n#include \"%s_model.c\"\n", p, p);
  write_file(arena_printf(&perm, "%s_unit.c", p), text, strlen(text));
}

/* Compiles the programs of cases [from, to) to one library; its path, or NULL. Where the calls are `large`, better code
 * is worth the compiler's time. */
static const char *compile_library(const Emitted *e, int from, int to, bool large, const char *log) {
  Text cmd = {0};
  const char *so = arena_printf(&perm, "%s/batch_%d_%d.so", work_dir, from, to);
  text_printf(&cmd, "cd %s && %s %s %s -shared -fPIC -Wall -Wextra -Werror -o %s", work_dir, target->compiler,
              large ? "-O2" : "-O1", flags, strrchr(so, '/') + 1);
  int programs = 0;
  for (int i = from; i < to; i++)
    for (int k = 0; e[i].o.status == PASS && k < e[i].programs; k++, programs++)
      text_printf(&cmd, " %s_unit.c", prefix_of(i, k));
  for (int f = 0; f < embed_count; f++) {
    bool needed = false;
    for (int i = from; i < to; i++) needed |= e[i].needs[f];
    const char *name = embed_files[f].name;
    if (needed && !strcmp(name + strlen(name) - 2, ".c")) text_printf(&cmd, " %s", name);
  }
  text_printf(&cmd, " -lm 2>>%s", log);
  int status = programs ? system(cmd.at) : 1;
  text_free(&cmd);
  return status ? NULL : so;
}

static void compile_cases(const TestCase *cases, Emitted *e, int n, void **library) {
  for (int from = 0; from < n; from += BATCH) {
    int to = from + BATCH < n ? from + BATCH : n;
    bool large = strstr(cases[to - 1].title, "light_") != NULL;
    const char *so = compile_library(e, from, to, large, "cc.log");
    void *lib = so ? dlopen(so, RTLD_NOW | RTLD_LOCAL) : NULL;
    for (int i = from; i < to; i++) {
      library[i] = lib;
      if (lib || e[i].o.status != PASS) continue;
      so = compile_library(e, i, i + 1, large, "cc.log");
      library[i] = so ? dlopen(so, RTLD_NOW | RTLD_LOCAL) : NULL;
      if (!library[i]) e[i].o = outcome(FAIL, "the emitted C does not compile without warnings (%s/cc.log)", work_dir);
    }
  }
}

/* ---- 3. run ---- */

static Outcome run_program(const TestCase *c, const char *set, const lt_model *model, const char *prefix,
                           bool is_random) {
  char why[300];
  size_t bytes = 0;
  Compiled k = {.diags = {.file = c->model}};
  Arena *a = &k.arena;
  TestPorts p = {0};
  test_load(&p, c, set, a);
  Case x = {.name = set, .in = NEW_N(a, const Tensor *, model->inputs + 1)};
  for (int i = 0; i < model->inputs; i++)
    if (!(x.in[i] = test_input(&p, model->in[i].name)))
      return outcome(UNSUPPORTED, "there is no value for input '%s'", model->in[i].name);
  char *file = file_load(arena_printf(a, "%s/%s.bin", work_dir, prefix), &bytes, why, sizeof why);
  void *aligned = NULL;
  if (file && posix_memalign(&aligned, 64, bytes + 64)) return outcome(FAIL, "no memory for the weights");
  if (file) memcpy(aligned, file, bytes);
  free(file);
  Loaded l = {.model = model, .weights = file ? model->open(aligned, bytes) : NULL};
  if (file && !l.weights) return outcome(FAIL, "the weights are not accepted");
  Call call;
  if (!call_make(&call, &k, &l, &x)) return outcome(FAIL, "%s", first_error(&k.diags));
  const Tensor **got = NEW_N(a, const Tensor *, model->outputs + 1);
  double since = clock_seconds();
  for (int round = 0; round < 2; round++) {
    if (!call_run(&call, &k, round ? 0x3C : 0xFF)) return outcome(FAIL, "%s", first_error(&k.diags));
    for (int i = 0; i < model->outputs; i++) {
      const Tensor *t = call_output(&call, &k, i);
      if (round && tensor_bytes(t) && memcmp(t->data, got[i]->data, tensor_bytes(t)))
        return outcome(FAIL, "output '%s' depends on memory that nobody wrote", model->out[i].name);
      got[i] = t;
    }
    if (clock_seconds() - since > 2) break;                      // a large network: once is enough
  }
  return compare_outputs(&p, set, a, got, model->outputs, is_random);
}

static void run_job(Job *j, void *result) {
  Outcome *o = result;
  for (int k = 0; k < j->c->sets; k++) {
    const char *prefix = prefix_of(j->at, j->e->set_program[k]);
    const lt_model *model = dlsym(*j->library, arena_printf(&perm, "lt_model_%s", prefix));
    *o = model ? run_program(j->c, j->c->set[k], model, prefix, j->e->is_random) : outcome(FAIL, "the library has no table");
    if (o->status != PASS) return;
  }
}

/* ---- the ledger ---- */

/* Without numbers that another machine may compute otherwise. */
static void ledger_line(FILE *to, const TestCase *c, const Emitted *e, const Outcome *o) {
  static const char *const word[] = {"pass", "fail: ", "unsupported: "};
  const char *element = o->status == FAIL ? strstr(o->text, "element ") : NULL;
  fprintf(to, "%s  %s  %s%.*s%s\n", c->title, target->name, word[o->status],
          o->status == PASS ? 0
              : element     ? (int)(element - o->text)
                            : 300,
          o->text,
          o->status == PASS ? e->note
              : element     ? "wrong values"
                            : "");
}

bool run_emitted(const TestCase *cases, int n, const char *target_name, const char *dir, int seconds, bool verbose,
                 FILE *to, int *count) {
  (void)verbose;
  target = target_find(target_name);
  if (!target) { fprintf(stderr, "conform: there is no target '%s'\n", target_name); return false; }
  work_dir = dir, time_limit = seconds;
  flags = arena_printf(&perm, "%s %s",
                       target->lanes == 1
                           ? "-fwrapv"
                           : "-fno-math-errno -fno-trapping-math -ffp-contract=fast -fwrapv -Wno-psabi",
                       target->cflags);
  if (system(arena_printf(&perm, "mkdir -p %s && rm -f %s/*", dir, dir))) return false;
  Emitted *e = NEW_N(&perm, Emitted, n);
  void **library = NEW_N(&perm, void *, n);
  double since = clock_seconds();
  for (int i = 0; i < n; i++) {
    apart(emit_job, &(Job){&cases[i], i, &e[i], NULL}, &e[i], sizeof e[i], &e[i].o);
    for (int k = 0; e[i].o.status == PASS && k < e[i].programs; k++) write_unit(i, k);
  }
  double emitted = clock_seconds();
  compile_cases(cases, e, n, library);
  double compiled = clock_seconds();
  for (int i = 0; i < n; i++) {
    Outcome o = e[i].o;
    if (o.status == PASS) apart(run_job, &(Job){&cases[i], i, &e[i], &library[i]}, &o, sizeof o, &o);
    static const char *const status[] = {"pass", "fail", "unsupported"};
    printf("%-11s  %s  %s%s\n", status[o.status], cases[i].title, o.text, e[i].note);
    if (to) ledger_line(to, &cases[i], &e[i], &o);
    count[o.status]++;
  }
  printf("emit %.1f s, cc %.1f s, run %.1f s\n", emitted - since, compiled - emitted, clock_seconds() - compiled);
  return true;
}
