/* The command line: what the verbs share. */
#ifndef DRIVER_DRIVER_H
#define DRIVER_DRIVER_H
#include "base/clock.h"
#include "base/vec.h"
#include "codegen/emit.h"
#include "ir/program.h"
#include "passes/pipeline.h"

typedef VEC(const char *) Strings;
typedef VEC(double) Numbers;
typedef struct Options {
#define FLAG bool
#define TEXT const char *
#define LIST Strings
#define NUMBER double
#define OPTION(field, name, kind, arg, verbs, help) kind field;
#include "driver/options.def"
#undef OPTION
#undef FLAG
#undef TEXT
#undef LIST
#undef NUMBER
  Strings rest;                        /* train: what the trainer is to be told */
  const char *weights, *checkpoint;    /* of --weights: bin, link or array; a file with the weights of a .lathe network */
  Strings args;                        /* everything that is not an option */
  Arena *arena;                        /* lives as long as the command */
  struct Tuning *tuning;               /* of --tune, once read; NULL: the cost model alone */
  struct Ports *ports;                 /* verify, run: what the data says of the inputs; NULL: nothing */
  bool sleef;                          /* --math sleef */
  bool flat_weights;                   /* the weights in one block of memory, for a model in this process */
  bool want_dims;                      /* the verb needs a size or a range for every free dim */
  bool quiet;                          /* do not print the errors of a failed import */
} Options;

enum { PART_CYCLES = 8000 };           /* default of --part-cycles */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_BUG = 70 };

typedef struct Verb { const char *name, *args, *help; int (*run)(Options *o); int min_args, max_args; bool hands_on; } Verb;   /* hands_on: other options are for what it starts */
extern const Verb verbs[];
extern const int verb_count;
int verb_compile(Options *o), verb_build(Options *o), verb_run(Options *o), verb_verify(Options *o),
    verb_bench(Options *o);
int verb_inspect(Options *o), verb_ops(Options *o), verb_targets(Options *o), verb_opt(Options *o);
int verb_fmt(Options *o), verb_functions(Options *o);
int verb_train(Options *o), verb_export(Options *o);
_Noreturn void usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A model on its way to C. Everything lives in `arena` and the module. */
struct BundleBuild;
typedef struct Compiled {
  Arena arena;
  struct BundleBuild *bundle;          /* of a .lathe network: holds what the module's names are made of */
  Diags diags;
  Module *m;
  const Target *target;
  Program *p;
  Arena samples;                       /* what model_compile_for read; constants of the module lie in it */
  const char *path, *prefix, *command;
  const double *step;                  /* quantised_step of each output */
  int64_t rewrites;                    /* of the graph, by named rules */
  const char *last_rule, *last_where;  /* the last of them; where is known with --rewrites */
} Compiled;

int verify_gradients(Options *o);        /* verify --grad */

/* options_target: NULL target names give native. Exits with a usage error on an unknown one. */
const Target *options_target(const Options *o);
/* import (ONNX; graph IR text when the path ends in .ir; .lathe: one function of it, see bundle.h); then passes. false: diags were printed. */
bool model_import(Compiled *c, const char *path, const Options *o);
bool model_compile(Compiled *c, const char *path, const Options *o);
/* --tune: reads its file into o->tuning, measures what that lacks and adds it. true without --tune; false: an error was printed. */
bool model_tune(const char *path, Options *o);
bool network_tune(const char *path, Options *o);              /* the same of a .lathe file: all functions */
bool model_passes(Compiled *c, const Options *o);      /* c->p stays NULL when they stop before lower */
/* The same for a model that gets these files from `from` on ([NAME=]FILE, as the compiled program takes them): they size
 * free dims, and a single integer that decides shapes is compiled in and leaves the list. */
bool model_compile_for(Compiled *c, const char *path, const Options *o, Strings *files, int from);
/* For what o->ports holds: o->quiet while attempts are made; binds single integers while that helps. */
struct Ports;
bool model_compile_ports(Compiled *c, const char *path, Options *o, struct Ports *p);
double quantised_step(Module *m, ValueId v);           /* between neighbours of a quantised value; 0: it is not one */
const Tensor *tensor_of_file(Arena *a, const char *path, Diags *d);   /* .npy or .pb */
void compiled_free(Compiled *c);
void compiled_drop(Compiled *c);                       /* frees without printing what it said: another attempt follows */
/* The network language. */
struct LanguageOptions;
bool is_language(const char *path);
void language_dims(const Options *o, struct LanguageOptions *to, Arena *a);   /* what --dim says (pipeline.c) */
int language_print(const char *path, const Options *o);                        /* its modules; an exit code */
PassOptions pass_options(const Options *o);
double options_part_cycles(const Options *o);          /* of PassOptions: 0 without --parallel or --threads */
/* The command as the emitted files quote it: without directories, so that it does not depend on the machine. */
const char *canonical_command(const Options *o, const char *path, Arena *a);
void phase_time(const Options *o, const char *phase, double since);

/* The module as files; `dflt`: how weights go when --weights does not say. `table`: with lt_model. */
bool model_emit(Compiled *c, const Options *o, WeightsMode dflt, bool table, EmitFiles *files);
void add_runtime(Arena *a, EmitFiles *files);    /* lt_main.c and what it needs */

/* ---- C compilers ---- */
typedef struct Toolchain {
  const char *cc;
  const char *flags;
  const Target *target;
  const char *link, *libs;
} Toolchain;
Toolchain toolchain_of(const Options *o, const Target *t, Arena *a);
/* Compiles every .c file of the list within `dir` and links them to `out`. `extra`: more flags; `shared`: a library. */
bool toolchain_build(const Toolchain *t, const char *dir, const EmitFiles *files, const char *out,
                     const char *extra, bool shared, Diags *d);
/* The same in `keep` or a folder of its own, then copied to `output`; `beside`: one of the files to go beside it, or NULL. */
bool toolchain_program(const Toolchain *t, const EmitFiles *files, const char *keep, const char *extra,
                       const char *output, bool shared, const char *beside, Diags *d);
bool files_write(const EmitFiles *f, const char *dir, Diags *d);
void files_remove(const EmitFiles *f, const char *dir);
void folder_remove(const char *dir);                   /* with all that is in it */
const char *json_quoted(Arena *a, const char *s);      /* "…" */
bool make_dirs(const char *path);
/* Asked before the work: can -o be written? Messages go to stderr. */
bool output_is_file(const char *path);
bool output_is_folder(const char *path);
const char *cache_root(Arena *a);                      /* $LATHE_CACHE, ~/.cache/lathe */
/* Builds `name` from the files, or finds it in the cache. Its path; NULL: d says why. */
const char *toolchain_cached(const Toolchain *t, const EmitFiles *f, const char *name, const char *extra,
                             bool shared, Arena *a, Diags *d);

/* ---- a compiled model in this process (verify, bench) ---- */
struct lt_model;
struct lt_pool;
typedef struct Loaded { void *handle; const struct lt_model *model; const char *weights; struct lt_pool *pool; } Loaded;   /* pool: of --threads, or NULL */
void model_unload(Loaded *l);
bool model_load(Loaded *l, Compiled *c, const Options *o);
#endif
