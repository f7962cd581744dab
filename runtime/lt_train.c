/* The main of a trainer: `lathe build NET.lathe --train`. Compile with -DLT_BUNDLE=lt_bundle_PREFIX, together with the
 * emitted files, lt_trainer.c, lt_call.c, lt_pool.c, lt_loader.c, lt_run.c, lt_curves.c, lt_progress.c, lt_watch.c,
 * lt_state.c, lt_data*.c, lt_csv.c, lt_zip.c, lt_image.c, lt_file.c, random.c; -pthread -lm. */
#include "lt_data.h"
#include "lt_train_help.h"
#include "lt_trainer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const lt_bundle LT_BUNDLE;

static const lt_bundle *const b = &LT_BUNDLE;
static lt_options o;
static char last_state[4096];

static int complain(const char *what, const char *detail) {
  fprintf(stderr, "%s: %s%s; --help lists what there is\n", b->name, what, detail);
  return 2;
}

static void help(void) {
  int k;
  printf("usage: trainer of %s [options]\n\nTrains a network compiled by lathe for %s. Its data:\n", b->name,
         b->target);
  for (k = 0; k < b->columns; k++) printf("  %s = %s\n", b->column[k].name, b->column[k].call);
  printf("batches of %lld rows%s, %.0f%% held out\n\n%s", (long long)b->batch, b->shuffle ? ", shuffled" : "",
         100 * b->hold_out, lt_train_options);
}

static void help_data(void) {
  const lt_data_help *h;
  int k;
  for (k = 0; (h = lt_data_readers(k)); k++) printf("%s(%s)\n    %s\n", h->name, h->arguments, h->text);
}

/* "image=idx(…)" */
static int set_data(const char **call, const char *s) {
  int k;
  for (k = 0; k < b->columns; k++) {
    size_t n = strlen(b->column[k].name);
    if (!strncmp(s, b->column[k].name, n) && s[n] == '=') { call[k] = s + n + 1; return 0; }
  }
  return complain("--data wants NAME=CALL with the name of a column, not ", s);
}

/* A number of at least `least` with nothing behind it but, perhaps, `unit`; *unit_seen. */
static int set_number(double *to, const char *name, const char *s, double least, int integer, int *seconds) {
  char *end, text[100];
  double v = strtod(s, &end);
  if (seconds && end != s && *end == 's') { *seconds = 1; end++; integer = 0; }
  if (end != s && !*end && v >= least && v < 9e15 && (!integer || v == (double)(int64_t)v)) { *to = v; return 0; }
  snprintf(text, sizeof text, "%s wants %s of at least %g, not ", name, integer ? "an integer" : "a number", least);
  return complain(text, s);
}

typedef struct integer_row { const char *name; int64_t *to; double least; } integer_row;
static const integer_row integers[] = {
  {"--epochs", &o.epochs, 1}, {"--steps", &o.steps, 1}, {"--patience", &o.patience, 1}, {"--seed", &o.seed, 0},
  {"--threads", &o.threads, 1},
};

typedef struct text_row { const char *name; const char **to; } text_row;
static const text_row texts[] = {{"--data-dir", &o.data_dir}, {"--out", &o.out}, {"--weights", &o.weights},
  {"--best", &o.best}};

/* An option with a value: 0, or an exit code. */
static int set_option(const char **call, const char *name, const char *value) {
  size_t k;
  double v;
  int seconds = 0;
  for (k = 0; k < sizeof integers / sizeof *integers; k++)
    if (!strcmp(name, integers[k].name)) {
      if (set_number(&v, name, value, integers[k].least, 1, NULL)) return 2;
      *integers[k].to = (int64_t)v;
      return 0;
    }
  for (k = 0; k < sizeof texts / sizeof *texts; k++)
    if (!strcmp(name, texts[k].name)) {
      if (!*value) return complain(name, " wants a name, not an empty text");
      *texts[k].to = value;
      return 0;
    }
  if (!strcmp(name, "--data")) return set_data(call, value);
  if (!strcmp(name, "--lr")) return set_number(&o.lr, name, value, 0, 0, NULL);
  if (strcmp(name, "--save-every")) return complain("there is no option ", name);
  if (set_number(&v, name, value, 0, 1, &seconds)) return 2;
  if (seconds) o.save_seconds = v;
  else o.save_steps = (int64_t)v;
  return 0;
}

/* Options without a value, and --resume with or without; -1: none of them. */
static int set_flag(int argc, char **argv, int *i) {
  const char *s = argv[*i];
  if (!strcmp(s, "--quiet")) o.quiet = 1;
  else if (!strcmp(s, "--no-html")) o.html = 0;
  else if (!strcmp(s, "--resume")) o.resume = *i + 1 < argc && argv[*i + 1][0] != '-' ? argv[++*i] : "";
  else return -1;
  return 0;
}

int main(int argc, char **argv) {
  const char **call = calloc((size_t)b->columns + 1, sizeof *call);
  int i, bad;
  if (!call) return complain("no memory", "");
  if (b->version != LT_BUNDLE_VERSION) return complain("built with files of another version of lathe", "");
  o.epochs = o.steps = o.patience = o.seed = o.save_steps = o.threads = -1;
  o.lr = -1;
  o.save_seconds = 60;
  o.out = "run";
  o.html = 1;
  o.call = call;
  for (i = 0; i < b->columns; i++) call[i] = b->column[i].call;
  for (i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) { help(); free(call); return 0; }
    if (!strcmp(argv[i], "--data") && i + 1 < argc && !strcmp(argv[i + 1], "help")) {
      help_data();
      free(call);
      return 0;
    }
    if (!set_flag(argc, argv, &i)) continue;
    if (argv[i][0] != '-') return complain("an option was expected, not ", argv[i]);
    if (i + 1 == argc) return complain("an option is unknown or wants a value: ", argv[i]);
    bad = set_option(call, argv[i], argv[i + 1]);
    if (bad) return bad;
    i++;
  }
  if (o.resume && !*o.resume) {
    snprintf(last_state, sizeof last_state, "%s/last.state", o.out);
    o.resume = last_state;
  }
  bad = lt_trainer_run(b, &o);
  free(call);
  return bad;
}
