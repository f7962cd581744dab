/* lathe: the command line. A verb, its arguments, options from driver/options.def.
 * Exit codes: 0 done, 1 the user's input or a failed check, 2 usage, 70 our bug. */
#include "driver/driver.h"
#include "runtime/lt_train_help.h"
#include <stdarg.h>
#include <stdlib.h>

const Verb verbs[] = {
    {"compile", "MODEL -o DIR", "C source, header and weights", verb_compile, 1, 1, false},
    {"build", "MODEL -o PROGRAM", "the same, compiled and linked with a main: a standalone program", verb_build, 1,
     1, false},
    {"run", "MODEL [[NAME=]FILE…]", "build in a cache, then run on files (.npy .pb .png .jpg raw)", verb_run, 1,
     1000, false},
    {"train", "NET.lathe|MODEL.onnx [OPTION…]",
     "build a trainer in a cache and run it: progress, validation, checkpoints", verb_train, 1, 1, true},
    {"export", "CHECKPOINT|MODEL [NET.lathe] -o FILE.onnx", "a trained network, or any model, as ONNX", verb_export,
     1, 2, false},
    {"verify", "MODEL", "emitted code against stored references and the evaluator", verb_verify, 1, 1, false},
    {"bench", "MODEL…", "time per call, GFLOP/s, share of this core's peak; --against other runtimes", verb_bench,
     1, 1000, false},
    {"inspect", "MODEL", "graph, shapes, FLOPs, memory plan", verb_inspect, 1, 1, false},
    {"opt", "MODEL", "the graph or program as text, after some or all passes", verb_opt, 1, 1, false},
    {"fmt", "FILE.lathe…", "a network's text in its usual form", verb_fmt, 1, 1000, false},
    {"functions", "", "functions of the network language", verb_functions, 0, 0, false},
    {"ops", "", "operators of the graph IR", verb_ops, 0, 0, false},
    {"targets", "", "what C can be emitted for", verb_targets, 0, 0, false},
};
const int verb_count = sizeof verbs / sizeof *verbs;

typedef enum { FLAG, TEXT, LIST, NUMBER } Kind;
typedef struct Row { const char *name; Kind kind; const char *arg, *verbs, *help; size_t at; } Row;
static const Row rows[] = {
#define OPTION(field, name, kind, arg, verbs, help) {name, kind, arg, verbs, help, offsetof(Options, field)},
#include "driver/options.def"
#undef OPTION
};
enum { ROWS = sizeof rows / sizeof *rows };

static const struct { const char *name, *others; } needs[] = {
#define OPTION(field, name, kind, arg, verbs, help)
#define NEEDS(name, others) {name, others},
#include "driver/options.def"
#undef OPTION
};

void usage_error(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fprintf(stderr, "lathe: ");
  vfprintf(stderr, fmt, ap);
  fprintf(stderr, "\n");
  va_end(ap);
  exit(EXIT_USAGE);
}

/* Is `word` in `list`, words with spaces between? */
static bool lists(const char *list, const char *word) {
  size_t n = strlen(word);
  for (const char *s = list; (s = strstr(s, word)); s += n)
    if ((s == list || s[-1] == ' ') && (s[n] == 0 || s[n] == ' ')) return true;
  return false;
}

static bool takes(const Row *r, const Verb *v) {
  return strcmp(r->verbs, "*") ? lists(r->verbs, v->name) : v->max_args > 0;
}

enum { PAGE = 100 };                                            /* columns of help */

/* Bytes of a UTF-8 text that take a column. */
static int columns(const char *s, int bytes) {
  int n = 0;
  for (int i = 0; i < bytes; i++) n += ((unsigned char)s[i] & 0xc0) != 0x80;
  return n;
}

/* `left` in a column `width` wide, or on a line of its own; `text` beside it, broken between words. */
static void help_row(FILE *to, const char *left, int width, const char *text) {
  int used = columns(left, (int)strlen(left)), at = width;
  fprintf(to, "  %s%*s", left, used < width ? width - used : 0, "");
  if (used >= width) fprintf(to, "\n  %*s", width, "");
  for (const char *s = text; *s;) {
    int bytes = (int)strcspn(s, " "), word = columns(s, bytes);
    if (at > width && at + 1 + word > PAGE) { fprintf(to, "\n  %*s", width, ""); at = width; }
    fprintf(to, "%s%.*s", at > width ? " " : "", bytes, s);
    at += word + (at > width);
    s += bytes + strspn(s + bytes, " ");
  }
  fprintf(to, "\n");
}

static void help_verb(const Verb *v) {
  printf("lathe %s %s\n  %s\n", v->name, v->args, v->help);
  bool any = false;
  for (int i = 0; i < ROWS; i++) {
    if (!takes(&rows[i], v)) continue;
    if (!any) printf("\n");
    any = true;
    char left[64];
    snprintf(left, sizeof left, "%s%s%s", rows[i].name, rows[i].arg ? " " : "", rows[i].arg ? rows[i].arg : "");
    help_row(stdout, left, 24, rows[i].help);
  }
  if (v->hands_on) printf("\nOther options are the trainer's: `lathe %s FILE --help` lists them.\n", v->name);
}

static void help(FILE *to) {
  fprintf(to, "lathe: from a network (ONNX) to readable C\n\n");
  for (int i = 0; i < verb_count; i++) {
    char left[80];
    snprintf(left, sizeof left, "lathe %-8s %s", verbs[i].name, verbs[i].args);
    help_row(to, left, 40, verbs[i].help);
  }
  fprintf(to,
          "\n`lathe VERB --help` lists a verb's options. Exit codes: 0 done, 1 failed, 2 usage, 70 a bug of lathe.\n");
}

static double number(const char *name, const char *s) {
  char *end;
  double v = strtod(s, &end);
  if (end == s || *end) usage_error("%s wants a number, not '%s'", name, s);
  return v;
}

/* "--name value" and "--name=value" */
static int option(Options *o, const Verb *v, char **argv, int i, Arena *a, bool *given) {
  const char *word = argv[i];
  const char *eq = word[1] == '-' ? strchr(word, '=') : NULL;
  size_t n = eq ? (size_t)(eq - word) : strlen(word);
  for (int k = 0; k < ROWS; k++) {
    const Row *r = &rows[k];
    if (strlen(r->name) != n || strncmp(r->name, word, n)) continue;
    if (!takes(r, v) && v->hands_on) break;
    if (!takes(r, v)) usage_error("`lathe %s` has no option %s", v->name, r->name);
    void *field = (char *)o + r->at;
    given[k] = true;
    if (r->kind == FLAG) {
      if (eq) usage_error("%s takes no value", r->name);
      *(bool *)field = true;
      return i;
    }
    const char *value = eq ? eq + 1 : argv[++i];
    if (!value) usage_error("%s wants %s", r->name, r->arg);
    if (r->kind == TEXT) *(const char **)field = value;
    if (r->kind == LIST) *vec_push(a, (Strings *)field) = value;
    if (r->kind == NUMBER) *(double *)field = number(r->name, value);
    return i;
  }
  if (v->hands_on) { *vec_push(a, &o->rest) = word; return i; }
  usage_error("unknown option %s; `lathe %s --help` lists them", word, v->name);
}

/* An option that would be ignored is a mistake of the caller's. */
static void check_needs(const bool *given) {
  for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
    bool here = false, other = false;
    for (int k = 0; k < ROWS; k++) {
      here |= given[k] && !strcmp(rows[k].name, needs[i].name);
      other |= given[k] && lists(needs[i].others, rows[k].name);
    }
    const char *space = strchr(needs[i].others, ' ');
    int first = (int)strcspn(needs[i].others, " ");
    if (here && !other)
      usage_error("%s is of use with %.*s%s%s only", needs[i].name, first, needs[i].others, space ? " or" : "",
                  space ? space : "");
  }
}

int main(int argc, char **argv) {
  if (argc < 2) { help(stderr); return EXIT_USAGE; }
  if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
    help(stdout);
    return EXIT_DONE;
  }
  const Verb *v = NULL;
  for (int i = 0; i < verb_count; i++)
    if (!strcmp(verbs[i].name, argv[1])) v = &verbs[i];
  if (!v) usage_error("there is no verb '%s'; `lathe --help` lists them", argv[1]);
  Arena a = {0};
  Options o = {.arena = &a,
               .rtol = 1e-4,
               .atol = 1e-5,
               .seed = 1,
               .rewrites = -1,
               .seconds = 1,
               .rounds = 7,
               .part_cycles = PART_CYCLES};
  bool only_args = false, given[ROWS] = {0};
  for (int i = 2; i < argc; i++) {
    bool asks = !only_args && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"));
    if (asks && !(v->hands_on && o.args.len)) { help_verb(v); return EXIT_DONE; }
    if (!only_args && !strcmp(argv[i], "--")) { only_args = true; continue; }
    if (only_args || argv[i][0] != '-' || !argv[i][1]) {
      *vec_push(&a, v->hands_on && o.args.len == v->max_args ? &o.rest : &o.args) = argv[i];
      continue;
    }
    i = option(&o, v, argv, i, &a, given);
  }
  check_needs(given);
  for (int i = 0; i < o.weights_of.len; i++) {
    const char *w = o.weights_of.at[i];
    bool mode = !strcmp(w, "bin") || !strcmp(w, "link") || !strcmp(w, "array");
    *(mode ? &o.weights : &o.checkpoint) = w;
  }
  o.sleef = o.math && !strcmp(o.math, "sleef");
  if (o.math && !o.sleef && strcmp(o.math, "inline")) usage_error("--math wants inline or sleef, not '%s'", o.math);
  if (o.threads < 0 || o.threads > MOST_PARTS || o.threads != (int)o.threads)
    usage_error("--threads wants a whole number, 1 to %d", MOST_PARTS);
  if (o.part_cycles < 1) usage_error("--part-cycles wants a number of cycles, 1 or more");
  if (o.args.len < v->min_args) usage_error("usage: lathe %s %s", v->name, v->args);
  if (o.args.len > v->max_args) usage_error("too many arguments: usage: lathe %s %s", v->name, v->args);
  int code = v->run(&o);
  arena_free(&a);
  return code;
}
